"""The same row, said in each dialect, over HTTP/2; and gRPC against nghttp2 alone."""

import json
import re
import struct
import subprocess

from .bench import find_binary, floats_body, free_port, Gateway, row


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
