"""What every case is given: processes, gateways, baselines, load generators, and measuring in turns."""

import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / "build/release"


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


def median_of(values):
    if isinstance(values[0], tuple):
        return tuple(statistics.median(each) for each in zip(*values))
    return statistics.median(values)


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

    def open_loop(self, url, body, rps, clients):
        """
        One run of h2load at a fixed rate, requests due whether or not earlier ones are answered (as long as a client is free).
        The microseconds of those answered 200, sorted, and how many were asked.
        """
        log = self.folder / "h2load.log"
        log.unlink(missing_ok=True)
        subprocess.run(["h2load", "--h1", "-t1", f"-c{clients}", f"--rps={max(1, round(rps / clients))}", f"-D{self.seconds}", f"-d{body}",
                        "-H", "content-type: application/json", f"--log-file={log}", url],
                       capture_output=True, text=True, check=True)
        done = [line.split("\t") for line in log.read_text().splitlines()]
        return sorted(int(us) for _, status, us, *_ in done if status == "200"), len(done)

    def in_turns(self, *sides):
        """Each side measured once a run, in turns; the median of each, or where it has several figures a tuple of medians."""
        samples = [[] for _ in sides]
        for side in sides:
            side()  # a warm-up that does not count
        for _ in range(self.runs):
            for values, side in zip(samples, sides):
                values.append(side())
        return [median_of(values) for values in samples]

    def rps_in_turns(self, script, *urls):
        """Requests a second of each, over 32 connections."""
        return self.in_turns(*(lambda url=url: self.wrk(url, script, 32)[0] for url in urls))


def redis_cli(path, *words):
    return subprocess.run(["redis-cli", "-s", path, *words], capture_output=True, text=True).stdout.strip()


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


def row(case, baseline, unit, ours, theirs, asked=None, at_most=False):
    """asked None: a figure to know, of which nothing is asked."""
    ratio = ours / theirs
    return {"case": case, "baseline": baseline, "unit": unit, "xebec": round(ours, 1), "baseline_value": round(theirs, 1),
            "ratio": round(ratio, 2), "asked": "" if asked is None else f"{'<=' if at_most else '>='} {asked}",
            "met": None if asked is None else ratio <= asked if at_most else ratio >= asked}
