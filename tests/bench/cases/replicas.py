"""More replicas, and more shards."""

import time

from .bench import find_binary, floats_body, Gateway, lua_body, row, say

REPLICA_CALL_US, REPLICA_ROW_US = 20_000, 100
REPLICA_CONNECTIONS = 256


def case_replicas(bench):
    """1, 2 and 4 replicas of a model that sleeps 20 ms a call and 0.1 ms a row: the machine is not what bounds them."""
    script = bench.script("replicas", lua_body(floats_body(4)))
    addresses = [f"unix:{bench.folder}/sleeper-{i}.sock" for i in range(4)]
    for i, address in enumerate(addresses):
        bench.processes.start(f"sleeper-{i}", find_binary("slow_model"), address, "v", str(REPLICA_CALL_US), str(REPLICA_ROW_US))
    gateways = {n: Gateway(bench, f"replicas-{n}", 4, addresses[:n], "policy: fixed, max_rows: 16, admission: false", cache=False,
                           slo="10s") for n in (1, 2, 4)}
    rates = dict(zip(gateways, bench.in_turns(*(lambda gateway=gateway: bench.wrk(gateway.url, script, REPLICA_CONNECTIONS)[0]
                                                for gateway in gateways.values()))))
    for gateway in gateways.values():
        gateway.stop()
    return [row(f"{n} replicas that sleep {REPLICA_CALL_US / 1000:g} ms a call, batches of 16", f"{n} times one", "rps", rates[n],
                n * rates[1], 0.95) for n in (2, 4)]


SHARDS_ON_PAPER = (1, 2, 4, 8, 16)


def case_shards(bench):
    """Two shards against one: requests a second, and what a request costs the gateway in processor time."""
    replica, script = bench.noop(4), bench.script("shards", lua_body(floats_body(4)))
    gateways = [Gateway(bench, f"shards-{n}", 4, replica, "policy: adaptive", cache=False, shards=n) for n in (1, 2)]

    def measure(gateway):
        before, start = gateway.cpu_seconds(), time.monotonic()
        rps = bench.wrk(gateway.url, script, 64)[0]
        return rps, (gateway.cpu_seconds() - before) / (rps * (time.monotonic() - start)) * 1e6

    (one_rps, one_us), (two_rps, two_us) = bench.in_turns(*(lambda gateway=gateway: measure(gateway) for gateway in gateways))
    for gateway in gateways:
        gateway.stop()
    say(f"on paper (docs/replicas.md says how): one shard {one_us:.1f} us a request, half of them crossing {two_us:.1f} us")
    crossing_us = max(0.0, 2 * (two_us - one_us))
    for n in SHARDS_ON_PAPER:
        cost_us = one_us + crossing_us * (n - 1) / n
        say(f"on paper: {n:2} shards, {n} free cores: {cost_us:6.1f} us a request, {n * 1e6 / cost_us:10,.0f} requests/s, "
            f"{n * one_us / cost_us:5.1f} times one")
    return [row("2 shards, no-op replica, 4 floats, 64 connections", "1 shard", "rps", two_rps, one_rps),
            row("2 shards, processor time of the gateway a request", "1 shard", "us", two_us, one_us)]
