"""The way to a replica: what a request costs over a bare call, and the two transports."""

import json
import subprocess

from .bench import find_binary, floats_body, Gateway, lua_body, row


def case_latency(bench):
    script = bench.script("one", lua_body(floats_body(4)))
    replica = bench.noop(4)
    direct = [find_binary("direct_call"), replica, "--rows", "1", "--floats", "4", "--seconds", str(bench.seconds),
              "--inflight", "1"]
    gateway = Gateway(bench, "latency", 4, replica, "policy: aimd", cache=False)

    def call_directly():
        line = subprocess.run(direct, capture_output=True, text=True, check=True).stdout.strip().splitlines()[-1]
        return float(json.loads(line)["p50_us"])

    ours, theirs = bench.in_turns(lambda: bench.wrk(gateway.url, script, 1)[1], call_directly)
    gateway.stop()
    return [row("one connection, no-op replica", "direct gRPC core call", "p50 us", ours, theirs, 2.0, at_most=True)]


def case_transport(bench):
    """The two transports to replicas: requests a second, and p50 at one connection."""
    rows, replicas = [], {floats: bench.noop(floats) for floats in (4, 784)}
    for floats, connections in ((4, 1), (4, 32), (4, 128), (784, 128)):
        script = bench.script(f"transport-{floats}", lua_body(floats_body(floats)))
        inside, core = (Gateway(bench, f"{kind}-{floats}-{connections}", floats, replicas[floats], "policy: aimd",
                                cache=False, transport=kind) for kind in ("nghttp2", "grpc"))
        what = 1 if connections == 1 else 0
        ours, theirs = bench.in_turns(*(lambda gateway=gateway: bench.wrk(gateway.url, script, connections)[what]
                                        for gateway in (inside, core)))
        inside.stop()
        core.stop()
        case = f"transport nghttp2, {floats} floats, {connections} connection{'s' if connections > 1 else ''}"
        rows.append(row(case, "transport grpc", "p50 us" if what else "rps", ours, theirs, at_most=bool(what)))
    return rows
