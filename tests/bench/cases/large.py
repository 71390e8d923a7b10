"""Large tensors: as JSON numbers, as base64, and as they are."""

import base64
import json
import subprocess

from .bench import find_binary, floats_body, Gateway, lua_body, row

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
