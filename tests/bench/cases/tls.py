"""What TLS costs: on the same rows, and for each handshake."""

import re
import socket
import subprocess
import sys

from .bench import floats_body, free_port, Gateway, lua_body, ROOT, row, wait_for
from .dialects import dialects, h2load

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
