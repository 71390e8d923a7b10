"""What clients feel of a shadow."""

from .bench import find_binary, floats_body, Gateway, row

SHADOW_RPS, PRIMARY_US, STALL_US = 1000, 1000, 10**9


def shadow_model(bench, name, version, sleep_us):
    address = f"unix:{bench.folder}/{name}.sock"
    return bench.processes.start(name, find_binary("slow_model"), address, version, str(sleep_us)), address


def quantiles(bench, url, body, rps):
    """p50 and p99 in microseconds of an open loop in which every request must be answered."""
    times, asked = bench.open_loop(url, body, rps, 20)
    if len(times) < asked:
        raise SystemExit(f"bench: {url}: only {len(times)} of {asked} requests were answered well")
    if asked < 0.9 * rps * bench.seconds:
        raise SystemExit(f"bench: {url}: {asked} requests in {bench.seconds} s, {rps} a second were due: the machine is too busy")
    return times[len(times) // 2], times[int(len(times) * 0.99)]


CONTROL = "none, once more: the noise"  # of this machine, now: what is closer to 1 than this says nothing


def case_shadow(bench):
    """What clients feel of a shadow that is well, dead, stalling, or slow: nothing, it is hoped."""
    body = bench.folder / "four.json"
    body.write_text(floats_body(4))
    _, primary = shadow_model(bench, "primary", "v", PRIMARY_US)
    gateways = {"none": Gateway(bench, "no-shadow", 4, primary, "policy: aimd", cache=False),
                CONTROL: Gateway(bench, "control", 4, primary, "policy: aimd", cache=False)}
    for kind, sleep_us in (("as quick", PRIMARY_US), ("100 times slower", 100 * PRIMARY_US), ("stalling", STALL_US),
                           ("dead", PRIMARY_US)):
        name = kind.replace(" ", "-")
        process, address = shadow_model(bench, name, "next", sleep_us)
        gateways[kind] = Gateway(bench, f"shadow-{name}", 4, primary, "policy: aimd", cache=False, shadow=address)
        if kind == "dead":
            process.kill()
    medians = dict(zip(gateways, bench.in_turns(*(lambda gateway=gateway: quantiles(bench, gateway.url, body, SHADOW_RPS)
                                                  for gateway in gateways.values()))))
    for gateway in gateways.values():
        gateway.stop()
    return [row(f"primary of 1 ms with a shadow {kind}, {SHADOW_RPS} requests a second", "no shadow", f"p{percentile} us",
                medians[kind][which], medians["none"][which], 1.05 if percentile == 99 and kind != CONTROL else None, at_most=True)
            for kind in gateways if kind != "none" for which, percentile in enumerate((50, 99))]
