"""Large tensors: bodies of 16 MiB, replies as large, and the bounds on both, over each transport."""
import base64
import contextlib
import json
import random

import pytest
from xebec_testing.gateway import TRANSPORT, one_model
from xebec_testing.http_client import encode_request

MIB = 1 << 20
IMAGE_FLOATS = 12_288
TRANSPORTS = ["nghttp2", "grpc"]
BYTES = {"datatype": "BYTES", "shape": [-1], "encoding": "base64"}
RAW = {"inputs": {"x": ["BYTES", [-1], "BASE64"]}, "outputs": {"y": ["BYTES", [-1], "BASE64"]}}


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    return request.param


def ask(gateway, body):
    with gateway.connect() as client:
        client.send(encode_request("POST", "/e/predict", body))
        return client.read_reply()


def body_of(size):
    """{"input": [...]} of exactly so many bytes, and its numbers: seven digits each, none of them rounded in FP32."""
    dice = random.Random(size)
    numbers = [dice.randrange(1_000_000, 10_000_000) for _ in range((size - 12) // 8)]
    body = b'{"input":[' + b",".join(b"%d" % number for number in numbers) + b"]}"
    return body + b" " * (size - len(body)), numbers


def test_an_image_as_json_and_as_bytes(puppet, new_puppet, gateway_for, transport):
    gateway = gateway_for(puppet, transport=transport)
    row = [number / 4 for number in range(IMAGE_FLOATS)]
    assert gateway.predict(input=row).json()["output"] == row
    raw = gateway_for(new_puppet(**RAW), inputs={"x": BYTES}, outputs={"y": BYTES}, transport=transport)
    image = base64.b64encode(random.Random(7).randbytes(4 * IMAGE_FLOATS)).decode()
    assert raw.predict(input=image).json()["output"] == image


def test_a_body_of_16_mib_and_a_reply_as_large(puppet, gateway_for, transport):
    gateway = gateway_for(puppet, transport=transport)
    body, numbers = body_of(16 * MIB)
    assert len(body) == 16 * MIB
    reply = ask(gateway, body)
    assert (reply.status, reply.json()["output"] == numbers) == (200, True)


def test_a_body_above_the_limit_is_refused_by_its_length(puppet, gateway_for):
    gateway = gateway_for(puppet)
    with gateway.connect() as client:
        client.send(b"POST /e/predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (16 * MIB + 1))
        reply = client.read_reply()
    assert (reply.status, reply.json()["cause"]) == (413, "too_large")
    assert str(16 * MIB) in reply.json()["error"]
    assert puppet.calls() == []


def test_memory_stays_bounded_and_is_given_back(puppet, gateway_for):
    """Twelve large requests, one after another, cost what one costs: nothing of them stays."""
    gateway = gateway_for(puppet)
    body, _ = body_of(16 * MIB)
    before = gateway.resident_mib()
    ask(gateway, body)
    once = gateway.resident_mib()
    for _ in range(11):
        assert ask(gateway, body).status == 200
    assert gateway.resident_mib() < max(once, before) + 200


# --- limits.message ----------------------------------------------------------------------------------

def test_a_row_above_the_limit_is_not_sent(puppet, gateway_for, transport):
    gateway = gateway_for(puppet, limits={"message": "64KiB"}, transport=transport)
    reply = gateway.predict(input=[1] * 20_000)
    assert (reply.status, reply.json()["cause"]) == (413, "too_large")
    assert "limits.message, 65536 bytes" in reply.json()["error"]
    assert puppet.calls() == []
    assert gateway.predict(input=[1, 2]).json()["output"] == [1, 2]


def test_rows_that_fit_alone_travel_in_calls_that_fit(puppet, gateway_for, transport):
    gateway = gateway_for(puppet, limits={"message": "64KiB"}, transport=transport,
                          model={"batching": {"policy": "fixed", "max_rows": 64}})
    rows = [[number] * 4_000 for number in range(20)]  # 16,000 bytes each: three to a call
    reply = gateway.predict(input_batch=rows).json()
    assert [each["output"] for each in reply["batch_predictions"]] == rows
    assert sorted(call["rows"] for call in puppet.calls()) == [2, 3, 3, 3, 3, 3, 3]


@pytest.mark.parametrize("size", [2 * MIB, 1 << 30])
def test_a_reply_above_the_limit_breaks_the_contract(new_puppet, gateway_for, transport, size):
    """Nor does it cost more memory than replies may have: its prefix says its size, and gRPC core has a quota for what it reads."""
    puppet = new_puppet(mode="bulky", size=size)
    gateway = gateway_for(puppet, limits={"message": "64KiB"}, transport=transport)
    before = gateway.resident_mib()
    reply = gateway.predict(input=[1, 2])
    assert (reply.status, reply.json()["cause"]) == (502, "replica_contract")
    assert "larger than max" in reply.json()["error"] and "65536" in reply.json()["error"]
    assert gateway.resident_most_mib() < before + 40
    puppet.play()
    gateway.wait_ready()
    assert gateway.predict(input=[1, 2]).json()["output"] == [1, 2]


def test_many_replies_as_large_as_they_may_be(new_puppet, gateway_for, transport):
    """More at a time than gRPC core's quota begins with: it is for those that are larger."""
    floats = 2 * MIB
    puppet = new_puppet(mode="vast", size=floats)
    gateway = gateway_for(puppet, limits={"message": "9MiB"}, transport=transport,
                          model={"batching": {"policy": "none", "calls": 12}})
    body = json.dumps({"input": [1]}).encode()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(gateway.connect()) for _ in range(12)]
        for client in clients:
            client.send(encode_request("POST", "/e/predict", body))
        for client in clients:
            reply = client.read_reply()
            assert (reply.status, reply.body[-80:]) == (200, reply.body[-80:]) and b"%d]" % (floats - 1) in reply.body[-120:]


def test_the_limit_changes_with_the_configuration(puppet, start_gateway):
    config = one_model([puppet.unix], limits={"message": "64KiB"}, transport=TRANSPORT)
    gateway = start_gateway(config).wait_ready()
    assert gateway.predict(input=[1] * 20_000).status == 413
    gateway.config_path.write_text(json.dumps({**config, "limits": {"message": "1MiB"}}))
    assert gateway.ask_admin("/reload", "POST").status == 200
    gateway.wait_ready()
    assert gateway.predict(input=[1] * 20_000).status == 200
