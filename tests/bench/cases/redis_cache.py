"""The cache's second level: rows found in Redis, rows that are not, and a Redis that hangs."""

import json
import re
import signal
import subprocess
import urllib.request

from .bench import floats_body, Gateway, lua_body, LUA_NEW_ROWS, redis_cli, row, wait_for


def redis_get(bench, path, size, connections):
    """redis-benchmark's GET of a value of this size: requests a second, p50 in microseconds."""
    requests = str(8000 * bench.seconds * (4 if connections > 1 else 1))
    out = subprocess.run(["redis-benchmark", "-s", path, "-t", "get", "-d", str(size), "-c", str(connections), "-n", requests,
                          "--csv"], capture_output=True, text=True, check=True).stdout
    rps, p50_ms = re.search(r'"GET","([\d.]+)","[\d.]+","[\d.]+","([\d.]+)"', out).groups()
    return float(rps), float(p50_ms) * 1000


def case_redis_hit(bench):
    """Nothing is kept in memory, so that every request is a lookup in Redis; the model is asked once."""
    _, path = bench.redis()
    script = bench.script("redis-hit", lua_body(floats_body(4)))
    gateway = Gateway(bench, "redis-hit", 4, bench.noop(4), "policy: aimd", cache=True,
                      store=f'memory: 0, redis: "unix:{path}"')
    wait_for("a value in Redis", lambda: bench.wrk(gateway.url, script, 1) and redis_cli(path, "KEYS", "xebec:*@*"))
    size = int(redis_cli(path, "STRLEN", redis_cli(path, "KEYS", "xebec:*@*")))
    subprocess.run(["redis-benchmark", "-s", path, "-t", "set", "-d", str(size), "-n", "1", "-q"], capture_output=True)
    ours, theirs = bench.in_turns(lambda: bench.wrk(gateway.url, script, 32)[0],
                                  lambda: redis_get(bench, path, size, 32)[0])
    ours_p50, theirs_p50 = bench.in_turns(lambda: bench.wrk(gateway.url, script, 1)[1],
                                          lambda: redis_get(bench, path, size, 1)[1])
    seen = urllib.request.urlopen(gateway.admin + "/metrics").read().decode()
    hits, misses = (sum(float(n) for n in re.findall(rf'xebec_cache_redis_rows_total{{.*outcome="{how}".*}} (\S+)', seen))
                    for how in ("hit", "miss"))
    if hits < 0.999 * (hits + misses):
        raise SystemExit(f"bench: {hits:.0f} hits and {misses:.0f} misses: this is not about hits")
    gateway.stop()
    base = f"redis-benchmark GET, {size} bytes"
    return [row("row found in Redis, 32 connections", base, "rps", ours, theirs),
            row("row found in Redis, one connection", base, "p50 us", ours_p50, theirs_p50, at_most=True)]


def case_redis_miss(bench):
    _, path = bench.redis()
    script = bench.script("redis-new", LUA_NEW_ROWS)
    on = Gateway(bench, "redis-on", 4, bench.noop(4), "policy: aimd", cache=True,
                 store=f'memory: 64MiB, redis: "unix:{path}"')
    off = Gateway(bench, "redis-off", 4, f"unix:{bench.folder}/noop-4.sock", "policy: aimd", cache=True)
    ours, theirs = bench.rps_in_turns(script, on.url, off.url)
    on.stop()
    off.stop()
    return [row("Redis on, every row new", "memory alone", "rps", ours, theirs, 0.9)]


def case_redis_paused(bench):
    """Rows that were found in Redis, until it was stopped; after the breaker has opened."""
    process, path = bench.redis()
    script = bench.script("redis-paused", lua_body(floats_body(4)))
    on = Gateway(bench, "redis-paused", 4, bench.noop(4), "policy: aimd", cache=True,
                 store=f'memory: 0, redis: "unix:{path}"')
    off = Gateway(bench, "redis-none", 4, f"unix:{bench.folder}/noop-4.sock", "policy: aimd", cache=False)
    wait_for("a value in Redis", lambda: bench.wrk(on.url, script, 1) and redis_cli(path, "KEYS", "xebec:*@*"))
    process.send_signal(signal.SIGSTOP)
    try:
        wait_for("the breaker to open", lambda: bench.wrk(on.url, script, 1) and not breaker_is_closed(on))
        ours, theirs = bench.in_turns(lambda: bench.wrk(on.url, script, 32, 99)[1],
                                      lambda: bench.wrk(off.url, script, 32, 99)[1])
    finally:
        process.send_signal(signal.SIGCONT)
    on.stop()
    off.stop()
    return [row("Redis paused, 32 connections", "no Redis", "p99 us", ours, theirs, 1.2, at_most=True)]


def breaker_is_closed(gateway):
    status = json.load(urllib.request.urlopen(gateway.admin + "/status"))
    return any(shard["breaker"] == "closed" for shard in status["redis"]["shards"])
