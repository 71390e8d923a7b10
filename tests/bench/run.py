"""Benchmarks: every figure is a ratio of the gateway to a named baseline, measured in turns in the same run.

    tests/bench/run.sh [--runs 5] [--seconds 3] [--only CASE ...] [--json FILE]

The load generators (wrk, h2load) and the HTTP baselines (nginx with one worker) are Debian's packages; the baseline of
the one-connection case is tests/bench/direct_call, a bare gRPC core client. Everything runs on this machine, over
loopback and unix sockets, so the generator, the gateway and the replica share its cores: read the ratios.
"""

import argparse
import base64
import json
import os
import re
import resource
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/release"
IDLE_CONNECTIONS = 10_000


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def find_binary(name):
    for path in BUILD.rglob(name):
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    raise SystemExit(f"bench: {name} is not built; run tests/bench/run.sh")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, probe, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if probe():
            return
        time.sleep(0.05)
    raise SystemExit(f"bench: {what} did not come up within {seconds} s")


class Processes:
    """Everything started is stopped, by pid, however the run ends."""

    def __init__(self, folder):
        self.folder, self.running = folder, []

    def start(self, name, *command):
        log = open(self.folder / f"{name}.log", "ab")
        process = subprocess.Popen(list(command), stdout=log, stderr=log)
        self.running.append(process)
        return process

    def stop(self, process):
        self.running.remove(process)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop_all(self):
        for process in list(reversed(self.running)):
            self.stop(process)


# --- what is measured --------------------------------------------------------------------------------------------


class Gateway:
    def __init__(self, bench, name, floats, replica, batching, cache, slo="1s", connections=16384, store="memory: 64MiB",
                 transport="nghttp2", shadow="", tensor="", shards=1, tls=None):
        """replica: an address, or a list of them. shadow: the address of m@next, which is asked every request of endpoint e, too. tensor: of x, instead of FP32. tls: its certificate and key."""
        self.processes, self.url = bench.processes, None
        port, admin = free_port(), free_port()
        replicas = json.dumps([replica] if isinstance(replica, str) else replica)
        config = bench.folder / f"{name}.yaml"
        config.write_text(f"""
listen: 127.0.0.1:{port}
admin: 127.0.0.1:{admin}
shards: {shards}
transport: {transport}
log: {{level: warn}}
limits: {{connections: {connections}}}
timeouts: {{idle: 10m}}
mlflow: e
{f"tls: {json.dumps(tls)}" if tls else ""}
cache: {{{store}}}
models:
  m:
    input: {{x: {{{tensor or f"datatype: FP32, shape: [-1, {floats}]"}}}}}
    versions: {{v: {{replicas: {replicas}}}{f', next: {{replicas: ["{shadow}"]}}' if shadow else ""}}}
    batching: {{{batching}}}
    cache: {{enabled: {"true" if cache else "false"}}}
endpoints:
  e: {{slo: {slo}, model: m@v{", shadow: [{model: m@next}]" if shadow else ""}}}
""")
        self.process = self.processes.start(name, str(find_binary("xebec")), "serve", "--config", str(config))
        self.port, self.url, self.admin = port, f"http{'s' if tls else ''}://127.0.0.1:{port}/e/predict", f"http://127.0.0.1:{admin}"
        wait_for(f"gateway {name}", lambda: status_of(self.admin + "/health/ready") == 200)

    def cpu_seconds(self):
        """What it has used of the processor, in user mode and in the kernel."""
        fields = open(f"/proc/{self.process.pid}/stat").read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise SystemExit("bench: no VmRSS")

    def stop(self):
        self.processes.stop(self.process)


def status_of(url):
    try:
        return urllib.request.urlopen(url, timeout=2).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


NGINX = """
worker_processes 1; daemon off; master_process off; error_log stderr warn; pid {folder}/nginx-{port}.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_buffer_size 64k;
  client_body_temp_path {folder}/body-{port}; proxy_temp_path {folder}/proxy-{port};
  fastcgi_temp_path {folder}/f-{port}; uwsgi_temp_path {folder}/u-{port}; scgi_temp_path {folder}/s-{port};
  {upstream}
  server {{ listen 127.0.0.1:{port} reuseport; location / {{ {what} }} }}
}}
"""
REPLY = '{"query_id":1,"output":0,"default":false,"model":"m@v"}'


class Bench:
    def __init__(self, folder, runs, seconds):
        self.folder, self.runs, self.seconds = folder, runs, seconds
        self.processes = Processes(folder)

    def nginx(self, upstream_port=None):
        """One worker: `return 200` with a reply of ours, or, with upstream_port, a reverse proxy to that port."""
        port = free_port()
        upstream, what = "", f"default_type application/json; return 200 '{REPLY}';"
        if upstream_port:
            upstream = f"upstream u {{ server 127.0.0.1:{upstream_port}; keepalive 64; keepalive_requests 1000000000; }}"
            what = 'proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection "";'
        conf = self.folder / f"nginx-{port}.conf"
        conf.write_text(NGINX.format(folder=self.folder, port=port, upstream=upstream, what=what))
        self.processes.start(f"nginx-{port}", "/usr/sbin/nginx", "-p", str(self.folder), "-c", str(conf))
        url = f"http://127.0.0.1:{port}/e/predict"
        wait_for("nginx", lambda: status_of(url) == 200)
        return url, port

    def noop(self, floats):
        address = f"unix:{self.folder}/noop-{floats}.sock"
        self.processes.start(f"noop-{floats}", find_binary("xebec-noop"), "--listen", address, "--model", "m",
                             "--version", "v", "--input", f"x:FP32:-1,{floats}", "--max-rows", "65536", "--digest", "noop")
        return address

    def redis(self):
        """A redis-server on a unix socket: its process, and its path."""
        path = f"{self.folder}/redis.sock"
        process = self.processes.start("redis", "redis-server", "--port", "0", "--unixsocket", path, "--save", "",
                                       "--dir", str(self.folder), "--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lfu")
        wait_for("redis-server", lambda: redis_cli(path, "PING") == "PONG")
        return process, path

    def script(self, name, lua):
        path = self.folder / f"{name}.lua"
        path.write_text('wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n' + lua)
        return str(path)

    def wrk(self, url, script, connections, percentile=50):
        """One run: requests a second, p50 in microseconds (or another); a run with failed requests is an error."""
        out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{self.seconds}s", "--latency", "-s", script, url],
                             capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in out or "Socket errors" in out:
            raise SystemExit(f"bench: {url}: failed requests\n{out}")
        rps = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
        value, unit = re.search(rf"{percentile}%\s+([\d.]+)(us|ms|s)", out).groups()
        return rps, float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]

    def in_turns(self, *sides):
        """Each side measured once a run, in turns; the median of each."""
        samples = [[] for _ in sides]
        for side in sides:
            side()  # a warm-up that does not count
        for _ in range(self.runs):
            for values, side in zip(samples, sides):
                values.append(side())
        return [statistics.median(values) for values in samples]

    def rps_in_turns(self, script, *urls):
        """Requests a second of each, over 32 connections."""
        return self.in_turns(*(lambda url=url: self.wrk(url, script, 32)[0] for url in urls))


def floats_body(n):
    return json.dumps({"input": [round(0.001 * ((i * 7919) % 1000), 3) for i in range(n)]})


def lua_body(body):
    return f"wrk.body = [[{body}]]\n"


# A new row every request: the first number counts, the second is this second's, so that no run repeats another's rows.
LUA_NEW_ROWS = """
local n, run = 0, os.time() % 1000000
function request()
  n = n + 1
  return wrk.format(nil, nil, nil, string.format('{"input":[%d,%d,0.5,0.25]}', n, run))
end
"""


def case_noop(bench):
    script = bench.script("four", lua_body(floats_body(4)))
    _, backend = bench.nginx()
    proxy, _ = bench.nginx(upstream_port=backend)
    gateway = Gateway(bench, "noop", 4, bench.noop(4), "policy: aimd", cache=False)
    ours, theirs = bench.rps_in_turns(script, gateway.url, proxy)
    gateway.stop()
    return [row("no-op replica, 4 floats, 32 connections", "nginx reverse proxy", "rps", ours, theirs, 1.5)]


def case_cached(bench):
    script = bench.script("cached", lua_body(floats_body(4)))
    plain, _ = bench.nginx()
    gateway = Gateway(bench, "cached", 4, bench.noop(4), "policy: aimd", cache=True)
    ours, theirs = bench.rps_in_turns(script, gateway.url, plain)
    gateway.stop()
    return [row("cached row, 4 floats", "nginx return 200", "rps", ours, theirs, 0.8)]


def case_json784(bench):
    script = bench.script("json784", lua_body(floats_body(784)))
    plain, _ = bench.nginx()
    gateway = Gateway(bench, "json784", 784, bench.noop(784), "policy: aimd", cache=False)
    ours, theirs = bench.rps_in_turns(script, gateway.url, plain)
    gateway.stop()
    return [row("784 floats as JSON, no-op replica", "nginx return 200", "rps", ours, theirs, 0.35)]


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


IMAGE_FLOATS = 12_288
TENSOR_BYTES = {"an image of 12,288 floats": 4 * IMAGE_FLOATS, "1 MiB": 1 << 20, "4 MiB": 4 << 20, "16 MiB": (16 << 20) - 4096}


def megabytes(rps, size):
    return rps * size / 1e6


def call_directly(replica, floats, seconds, in_flight):
    """Calls a second of so many floats, straight to the replica."""
    line = subprocess.run([find_binary("direct_call"), replica, "--rows", "1", "--floats", str(floats), "--seconds", str(seconds),
                           "--inflight", str(in_flight)], capture_output=True, text=True, check=True).stdout.strip().splitlines()[-1]
    return float(json.loads(line)["calls_per_s"])


def case_large(bench):
    """
    Large tensors over both transports, against the same tensor sent straight to the replica: an image as JSON numbers and as
    base64 of its bytes, and tensors of 48 KiB to 16 MiB as they are (OIP's binary data).
    """
    return large_texts(bench) + [line for name, size in TENSOR_BYTES.items() for line in large_tensor(bench, name, size // 4)]


def large_texts(bench):
    body = floats_body(IMAGE_FLOATS)
    raw = json.dumps({"input": base64.b64encode(b"\x3d" * (4 * IMAGE_FLOATS)).decode()})
    replica, rows = bench.noop(IMAGE_FLOATS), []
    bytes_replica = f"unix:{bench.folder}/noop-bytes.sock"
    bench.processes.start("noop-bytes", find_binary("xebec-noop"), "--listen", bytes_replica, "--model", "m", "--version", "v",
                          "--input", "x:BYTES:-1", "--max-rows", "65536", "--digest", "noop")
    for transport in ("nghttp2", "grpc"):
        as_json = Gateway(bench, f"large-json-{transport}", IMAGE_FLOATS, replica, "policy: aimd", cache=False, transport=transport)
        as_bytes = Gateway(bench, f"large-bytes-{transport}", IMAGE_FLOATS, bytes_replica, "policy: aimd", cache=False,
                           transport=transport, tensor="datatype: BYTES, shape: [-1], encoding: base64")
        scripts = [bench.script(f"large-{kind}", lua_body(text)) for kind, text in (("json", body), ("bytes", raw))]
        text_rps, bytes_rps, direct_rps = bench.in_turns(lambda: bench.wrk(as_json.url, scripts[0], 32)[0],
                                                         lambda: bench.wrk(as_bytes.url, scripts[1], 32)[0],
                                                         lambda: call_directly(replica, IMAGE_FLOATS, bench.seconds, 32))
        as_json.stop()
        as_bytes.stop()
        for kind, rps, text in (("JSON", text_rps, body), ("BYTES, base64", bytes_rps, raw)):
            rows.append(row(f"{IMAGE_FLOATS:,} floats as {kind}, {megabytes(rps, len(text)):,.0f} MB/s, transport {transport}",
                            f"direct gRPC core call, {megabytes(direct_rps, 4 * IMAGE_FLOATS):,.0f} MB/s", "rps", rps, direct_rps))
    return rows


def large_tensor(bench, name, floats, connections=4):
    replica, size = bench.noop(floats), 4 * floats
    head = json.dumps({"inputs": [{"name": "x", "shape": [1, floats], "datatype": "FP32", "parameters": {"binary_data_size": size}}]})
    path = bench.folder / f"tensor-{floats}"
    path.write_bytes(head.encode() + bytes(size))
    script = bench.script(f"tensor-{floats}", f"""
wrk.headers["Content-Type"] = "application/octet-stream"
wrk.headers["Inference-Header-Content-Length"] = "{len(head)}"
wrk.body = io.open("{path}", "rb"):read("*a")
""")
    transports = ("nghttp2", "grpc")
    gateways = [Gateway(bench, f"tensor-{floats}-{transport}", floats, replica, "policy: aimd", cache=False, slo="10s",
                        transport=transport) for transport in transports]
    *ours, direct = bench.in_turns(*(lambda port=gateway.port: bench.wrk(f"http://127.0.0.1:{port}/v2/models/e/infer", script, connections)[0]
                                     for gateway in gateways),
                                   lambda: call_directly(replica, floats, bench.seconds, connections))
    for gateway in gateways:
        gateway.stop()
    return [row(f"{name}, {connections} connections, {megabytes(rps, size):,.0f} MB/s, transport {transport}",
                f"direct gRPC core call, {megabytes(direct, size):,.0f} MB/s", "rps", rps, direct)
            for transport, rps in zip(transports, ours)]


def train_svm(bench):
    import joblib
    import numpy
    from sklearn.svm import LinearSVC

    random = numpy.random.default_rng(7)
    x = random.random((2000, 784), dtype=numpy.float32)
    y = (x @ random.standard_normal((784, 10))).argmax(axis=1)
    path = bench.folder / "svm.joblib"
    joblib.dump(LinearSVC(dual=False, max_iter=50, random_state=7).fit(x, y), path)
    return path


def start_svm(bench, name, path):
    address = f"unix:{bench.folder}/{name}.sock"
    os.environ["PYTHONPATH"] = f"{ROOT}/containers/python/src:{ROOT}/containers/sklearn/src:{ROOT}/containers/sklearn"
    bench.processes.start(name, "/usr/bin/python3", "-m", "xebec_sklearn", "--model-file", str(path), "--name", "m",
                          "--version", "v", "--listen", address, "--method", "predict", "--input", "x:FP32:-1,784")
    return address


def open_loop(bench, url, body_file, rps, clients=200):
    """h2load at a fixed rate, requests due whether or not earlier ones are answered (as long as a client is free)."""
    log = bench.folder / "h2load.log"
    log.unlink(missing_ok=True)
    per_client = max(1, round(rps / clients))
    subprocess.run(["h2load", "--h1", "-t1", f"-c{clients}", f"--rps={per_client}", f"-D{bench.seconds}", f"-d{body_file}",
                    "-H", "content-type: application/json", f"--log-file={log}", url],
                   capture_output=True, text=True, check=True)
    done = [line.split("\t") for line in log.read_text().splitlines()]
    times = sorted(int(us) for _, status, us, *_ in done if status == "200")
    good = len(times) / max(1, len(done))
    return times[int(len(times) * 0.99)] / 1e3 if times else float("inf"), good, len(done) / bench.seconds


def case_svm(bench):
    path = train_svm(bench)
    script = bench.script("svm", lua_body(floats_body(784)))
    body = bench.folder / "svm.json"
    body.write_text(floats_body(784))
    batched = Gateway(bench, "svm-aimd", 784, start_svm(bench, "svm1", path), "policy: aimd", cache=False, slo="20ms")
    single = Gateway(bench, "svm-none", 784, start_svm(bench, "svm2", path), "policy: none", cache=False, slo="2s")
    settle(bench, batched.url, script)
    ours, theirs = bench.in_turns(lambda: goodput(bench, batched.url, script, 256), lambda: goodput(bench, single.url, script, 256))
    tails = [open_loop(bench, batched.url, body, 0.8 * ours) for _ in range(bench.runs)]
    p99 = statistics.median(tail[0] for tail in tails)
    good = statistics.median(tail[1] for tail in tails)
    batched.stop()
    single.stop()
    return [row("linear SVM, 784 floats, Python replica, SLO 20 ms: aimd", "policy none", "rps", ours, theirs, 15),
            row(f"the same at 80 % of its peak, open loop ({good:.1%} answered in time)", "the SLO, 20 ms", "p99 ms", p99, 20.0,
                1.0, at_most=True)]


def goodput(bench, url, script, connections):
    """Requests a second that were answered 200."""
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{bench.seconds}s", "--latency", "-s", script, url],
                         capture_output=True, text=True, check=True).stdout
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    total = int(re.search(r"(\d+) requests in", out)[1])
    seconds = float(re.search(r"requests in ([\d.]+)s", out)[1])
    return (total - int(failed[1] if failed else 0)) / seconds


def settle(bench, url, script):
    """The policy learns its limit before anything counts."""
    for _ in range(2):
        goodput(bench, url, script, 256)


def case_all_miss(bench):
    script = bench.script("new", LUA_NEW_ROWS)
    on = Gateway(bench, "miss-on", 4, bench.noop(4), "policy: aimd", cache=True)
    off = Gateway(bench, "miss-off", 4, f"unix:{bench.folder}/noop-4.sock", "policy: aimd", cache=False)
    ours, theirs = bench.rps_in_turns(script, on.url, off.url)
    on.stop()
    off.stop()
    return [row("cache on, every row new", "cache off", "rps", ours, theirs, 0.95)]


def redis_cli(path, *words):
    return subprocess.run(["redis-cli", "-s", path, *words], capture_output=True, text=True).stdout.strip()


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


SHADOW_RPS, PRIMARY_US, STALL_US = 1000, 1000, 10**9


def shadow_model(bench, name, version, sleep_us):
    address = f"unix:{bench.folder}/{name}.sock"
    return bench.processes.start(name, find_binary("slow_model"), address, version, str(sleep_us)), address


def quantiles(bench, url, body, rps):
    """p50 and p99 in microseconds of an open loop in which every request must be answered."""
    log = bench.folder / "h2load.log"
    log.unlink(missing_ok=True)
    subprocess.run(["h2load", "--h1", "-t1", "-c20", f"--rps={rps // 20}", f"-D{bench.seconds}", f"-d{body}",
                    "-H", "content-type: application/json", f"--log-file={log}", url],
                   capture_output=True, text=True, check=True)
    done = [line.split("\t") for line in log.read_text().splitlines()]
    times = sorted(int(us) for _, status, us, *_ in done if status == "200")
    if len(times) < len(done):
        raise SystemExit(f"bench: {url}: only {len(times)} of {len(done)} requests were answered well")
    if len(done) < 0.9 * rps * bench.seconds:
        raise SystemExit(f"bench: {url}: {len(done)} requests in {bench.seconds} s, {rps} a second were due: the machine is too busy")
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
    samples = {kind: [] for kind in gateways}
    for gateway in gateways.values():
        quantiles(bench, gateway.url, body, SHADOW_RPS)  # a warm-up that does not count
    for _ in range(bench.runs):
        for kind, gateway in gateways.items():
            samples[kind].append(quantiles(bench, gateway.url, body, SHADOW_RPS))
    medians = {kind: [statistics.median(each) for each in zip(*values)] for kind, values in samples.items()}
    for gateway in gateways.values():
        gateway.stop()
    return [row(f"primary of 1 ms with a shadow {kind}, {SHADOW_RPS} requests a second", "no shadow", f"p{percentile} us",
                medians[kind][which], medians["none"][which], 1.05 if percentile == 99 and kind != CONTROL else None, at_most=True)
            for kind in gateways if kind != "none" for which, percentile in enumerate((50, 99))]


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

    samples = [[] for _ in gateways]
    for gateway in gateways:
        measure(gateway)  # a warm-up that does not count
    for _ in range(bench.runs):
        for values, gateway in zip(samples, gateways):
            values.append(measure(gateway))
    (one_rps, one_us), (two_rps, two_us) = ([statistics.median(each) for each in zip(*values)] for values in samples)
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


# --- dialects: the same row, said in each, over HTTP/2 ---


def varint(number):
    return bytes([number | 0x80 if number > 0x7f else number]) if number < 0x80 else bytes([number & 0x7f | 0x80]) + varint(number >> 7)


def member(field, value):
    """A string, bytes or message in protobuf."""
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def dialects(n):
    """One row of n floats: {dialect: (path, body, headers)}."""
    numbers = json.loads(floats_body(n))["input"]
    raw, shape = struct.pack(f"<{n}f", *numbers), [1, n]
    binary = json.dumps({"inputs": [{"name": "x", "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}],
                         "parameters": {"binary_data_output": True}}).encode()
    tensor = member(1, "x") + member(2, "FP32") + member(3, b"".join(varint(size) for size in shape))
    message = member(1, "e") + member(5, tensor) + member(7, raw)
    as_json, grpc = ["content-type: application/json"], ["content-type: application/grpc", "te: trailers"]
    return {
        "Clipper JSON": ("/e/predict", json.dumps({"input": numbers}).encode(), as_json),
        "OIP JSON": ("/v2/models/e/infer", json.dumps({"inputs": [{"name": "x", "shape": shape, "datatype": "FP32", "data": numbers}]}).encode(),
                     as_json),
        "OIP binary": ("/v2/models/e/infer", binary + raw, [f"inference-header-content-length: {len(binary)}"]),
        "OIP gRPC": ("/inference.GRPCInferenceService/ModelInfer", b"\0" + struct.pack(">I", len(message)) + message, grpc),
        "TF Serving": ("/v1/models/e:predict", json.dumps({"instances": [numbers]}).encode(), as_json),
        "MLflow": ("/invocations", json.dumps({"instances": [numbers]}).encode(), as_json),
    }


def h2load(bench, port, name, ask, scheme="http"):
    """Requests a second: 8 connections, 16 streams each. gRPC's errors are 200s, so that the length of what comes back is looked at, too."""
    path, body, headers = ask
    file = bench.folder / f"{name.replace(' ', '-')}.body"
    file.write_bytes(body)
    out = subprocess.run(["h2load", "-t1", "-c8", "-m16", f"-D{bench.seconds}", f"-d{file}", *(word for header in headers for word in ("-H", header)),
                          f"{scheme}://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True).stdout
    good = int(re.search(r"status codes: (\d+) 2xx", out)[1])
    data = int(re.search(r"\((\d+)\) data", out)[1])
    if " 0 4xx, 0 5xx" not in out or data < 5 * good or not good:
        raise SystemExit(f"bench: {name}: failed requests\n{out}")
    return good / bench.seconds


def case_dialects(bench):
    rows = []
    for floats in (4, 784):
        gateway, asks = Gateway(bench, f"dialects-{floats}", floats, bench.noop(floats), "policy: aimd", cache=False), dialects(floats)
        native, *others = bench.in_turns(*(lambda name=name: h2load(bench, gateway.port, name, asks[name]) for name in asks))
        gateway.stop()
        for name, rps in zip(list(asks)[1:], others):
            quick = floats == 784 and name in ("OIP binary", "OIP gRPC")
            rows.append(row(f"{floats} floats, no-op replica: {name}", "Clipper JSON", "rps", rps, native, 1.3 if quick else 0.9))
    return rows + cached_call(bench)


def cached_call(bench):
    """A unary infer of a row in the cache, against nghttp2 alone that sends the message back."""
    port = free_port()
    bench.processes.start("grpc_echo", find_binary("grpc_echo"), str(port))
    gateway = Gateway(bench, "grpc-cached", 4, bench.noop(4), "policy: aimd", cache=True)
    ask = dialects(4)["OIP gRPC"]
    ours, theirs = bench.in_turns(lambda: h2load(bench, gateway.port, "gRPC", ask), lambda: h2load(bench, port, "echo", ask))
    gateway.stop()
    return [row("4 floats, cached: OIP gRPC", "nghttp2's echo of the same frames", "rps", ours, theirs, 0.7)]


NGINX_TLS = """
worker_processes 1; daemon off; master_process off; error_log stderr warn; pid {folder}/nginx-tls.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; location / {{ return 200; }} }}
}}
"""
HANDSHAKERS = 4  # at once: one alone mostly waits


def nginx_tls(bench, tls):
    """A server that does handshakes with the same certificate -> its port."""
    port, conf = free_port(), bench.folder / "nginx-tls.conf"
    conf.write_text(NGINX_TLS.format(folder=bench.folder, port=port, **tls))
    bench.processes.start("nginx-tls", "/usr/sbin/nginx", "-p", str(bench.folder), "-c", str(conf))
    wait_for("nginx", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
    return port


def handshakes(bench, port, how):
    """A second, TLS 1.2. how: -new, each in full; or -reuse, each but the first resumed."""
    command = ["openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-tls1_2", how, "-time", str(bench.seconds)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(HANDSHAKERS)]
    said = [run.communicate()[0] for run in runs]
    return sum(int(re.search(r"(\d+) connections in \d+ real seconds", text)[1]) for text in said) / bench.seconds


def tls_rows(bench, tls, floats):
    """The same row by https and http: HTTP/1.1 kept alive, and HTTP/2."""
    replica, ask = bench.noop(floats), dialects(floats)["Clipper JSON"]
    script = bench.script(f"tls-{floats}", lua_body(floats_body(floats)))
    sealed, plain = (Gateway(bench, f"tls-{floats}-{bool(pair)}", floats, replica, "policy: aimd", cache=False, tls=pair) for pair in (tls, None))
    rps = bench.rps_in_turns(script, sealed.url, plain.url)
    p50 = bench.in_turns(*(lambda url=url: bench.wrk(url, script, 1)[1] for url in (sealed.url, plain.url)))
    h2 = bench.in_turns(lambda: h2load(bench, sealed.port, "tls", ask, "https"), lambda: h2load(bench, plain.port, "plain", ask))
    sealed.stop()
    plain.stop()
    return [row(f"TLS, {floats} floats, HTTP/1.1, 32 connections", "without TLS", "rps", *rps),
            row(f"TLS, {floats} floats, HTTP/1.1, 1 connection", "without TLS", "p50 us", *p50, at_most=True),
            row(f"TLS, {floats} floats, HTTP/2, 8 connections of 16 streams", "without TLS", "rps", *h2)]


def tls_handshakes(bench, tls):
    gateway, port = Gateway(bench, "tls-handshakes", 4, bench.noop(4), "policy: aimd", cache=False, tls=tls), nginx_tls(bench, tls)
    rows = []
    for name, how in (("full", "-new"), ("resumed", "-reuse")):
        ours, theirs = bench.in_turns(lambda: handshakes(bench, gateway.port, how), lambda: handshakes(bench, port, how))
        rows.append(row(f"TLS 1.2 handshakes a second, {name}", "nginx, one worker", "per s", ours, theirs))
    gateway.stop()
    return rows


def case_tls(bench):
    """https against http on the same rows, and what a handshake costs."""
    sys.path.insert(0, str(ROOT / "tests/support"))
    from xebec_testing.certificates import Authority
    tls = Authority(bench.folder).issue("server").tls
    return tls_rows(bench, tls, 4) + tls_rows(bench, tls, 784) + tls_handshakes(bench, tls)


def case_memory(bench):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    gateway = Gateway(bench, "memory", 4, bench.noop(4), "policy: aimd", cache=True)
    idle = gateway.rss_mib()
    sockets = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(IDLE_CONNECTIONS)]
    body = floats_body(4)
    request = (f"POST /e/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
               f"Content-Length: {len(body)}\r\n\r\n{body}").encode()
    for client in sockets:  # each has been used once, and is kept alive
        client.sendall(request)
    for client in sockets:
        client.recv(4096)
    used = gateway.rss_mib()
    for client in sockets:
        client.close()
    gateway.stop()
    return [row("memory: idle RSS", "25 MiB", "MiB", idle, 25.0, 1.0, at_most=True),
            row(f"memory: {IDLE_CONNECTIONS:,} idle connections", "120 MiB", "MiB", used, 120.0, 1.0, at_most=True)]


CASES = {"noop": case_noop, "cached": case_cached, "json784": case_json784, "latency": case_latency,
         "transport": case_transport, "large": case_large, "svm": case_svm, "all_miss": case_all_miss,
         "redis_hit": case_redis_hit, "redis_miss": case_redis_miss, "redis_paused": case_redis_paused,
         "shadow": case_shadow, "replicas": case_replicas, "shards": case_shards,
         "dialects": case_dialects, "tls": case_tls, "memory": case_memory}


def row(case, baseline, unit, ours, theirs, asked=None, at_most=False):
    """asked None: a figure to know, of which nothing is asked."""
    ratio = ours / theirs
    return {"case": case, "baseline": baseline, "unit": unit, "xebec": round(ours, 1), "baseline_value": round(theirs, 1),
            "ratio": round(ratio, 2), "asked": "" if asked is None else f"{'<=' if at_most else '>='} {asked}",
            "met": None if asked is None else ratio <= asked if at_most else ratio >= asked}


def print_table(rows):
    head = ["case", "xebec", "baseline", "", "unit", "ratio", "asked", ""]
    lines = [head] + [[r["case"], f"{r['xebec']:,}", f"{r['baseline_value']:,}", r["baseline"], r["unit"], f"{r['ratio']}x",
                       r["asked"], {None: "", True: "met", False: "MISSED"}[r["met"]]] for r in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        print("  ".join(cell.rjust(width) if i in (1, 2, 5) else cell.ljust(width)
                        for i, (cell, width) in enumerate(zip(line, widths))).rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="runs of each side; the median counts (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="length of a run (default 3)")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="these cases only")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    args = parser.parse_args()
    rows = []
    for name in args.only:
        say(f"{name} ...")
        with tempfile.TemporaryDirectory(prefix="xebec-bench-") as folder:
            bench = Bench(Path(folder), args.runs, args.seconds)
            try:
                rows += CASES[name](bench)
            finally:
                bench.processes.stop_all()
    print_table(rows)
    figures = {"runs": args.runs, "seconds": args.seconds, "cores": os.cpu_count(), "cases": rows}
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    else:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
