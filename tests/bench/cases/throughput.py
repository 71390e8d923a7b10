"""Requests a second: against nginx, and against itself with the cache off."""

from .bench import floats_body, Gateway, lua_body, LUA_NEW_ROWS, row


def case_noop(bench):
    script = bench.script("four", lua_body(floats_body(4)))
    _, backend = bench.nginx()
    proxy, _ = bench.nginx(upstream_port=backend)
    gateway = Gateway(bench, "noop", 4, bench.noop(4), "policy: aimd", cache=False)
    ours, theirs = bench.rps_in_turns(script, gateway.url, proxy)
    gateway.stop()
    return [row("no-op replica, 4 floats, 32 connections", "nginx reverse proxy", "rps", ours, theirs, 1.5)]


def beside_return_200(bench, name, floats, cache, case, asked):
    plain, _ = bench.nginx()
    gateway = Gateway(bench, name, floats, bench.noop(floats), "policy: aimd", cache=cache)
    ours, theirs = bench.rps_in_turns(bench.script(name, lua_body(floats_body(floats))), gateway.url, plain)
    gateway.stop()
    return [row(case, "nginx return 200", "rps", ours, theirs, asked)]


def case_cached(bench):
    return beside_return_200(bench, "cached", 4, True, "cached row, 4 floats", 0.8)


def case_json784(bench):
    return beside_return_200(bench, "json784", 784, False, "784 floats as JSON, no-op replica", 0.35)


def case_all_miss(bench):
    script = bench.script("new", LUA_NEW_ROWS)
    on = Gateway(bench, "miss-on", 4, bench.noop(4), "policy: aimd", cache=True)
    off = Gateway(bench, "miss-off", 4, f"unix:{bench.folder}/noop-4.sock", "policy: aimd", cache=False)
    ours, theirs = bench.rps_in_turns(script, on.url, off.url)
    on.stop()
    off.stop()
    return [row("cache on, every row new", "cache off", "rps", ours, theirs, 0.95)]
