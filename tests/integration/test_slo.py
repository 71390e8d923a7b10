"""The latency objective: whatever a replica does, a client gets its answer when it was promised."""
import time

import pytest
from xebec_testing.gateway import one_model
from xebec_testing.http_client import encode_request

SLO_EXPLANATION = "Failed to retrieve a prediction response within the specified latency SLO"
NO_MODEL_EXPLANATION = "No connected models found for query"
ON_TIME = 3.0  # seconds that a reply due after 0.4 may take here: the test machine stalls, too


def timed(gateway, **body):
    start = time.monotonic()
    reply = gateway.predict(**body)
    return reply, time.monotonic() - start


@pytest.mark.parametrize("shards", [1, 2])
def test_504_on_time(puppet, gateway_for, shards):
    gateway = gateway_for(puppet.play(mode="stall"), slo="400ms", shards=shards)
    reply, seconds = timed(gateway, input=[1])
    assert (reply.status, reply.json()["cause"]) == (504, "slo_missed")
    assert 0.39 <= seconds < ON_TIME


def test_504_on_time_from_a_frozen_replica(puppet, gateway_for):
    gateway = gateway_for(puppet, slo="400ms", model={"health": {"interval": "30s", "timeout": "30s"}})
    puppet.freeze()
    for _ in range(3):
        reply, seconds = timed(gateway, input=[1])
        assert reply.status == 504
        assert 0.39 <= seconds < ON_TIME
    puppet.thaw()


def test_the_replica_is_told_to_stop(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="stall"), slo="300ms")
    assert gateway.predict(input=[1]).status == 504
    deadline = time.monotonic() + 10
    while puppet.calls()[0]["ended"] != "cancelled":
        assert time.monotonic() < deadline, puppet.calls()


def test_default_when_the_objective_is_missed(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="stall"), slo="400ms", endpoint={"default": {"y": [-1]}})
    reply, seconds = timed(gateway, input=[1])
    assert reply.status == 200 and 0.39 <= seconds < ON_TIME
    answer = reply.json()
    assert isinstance(answer.pop("query_id"), int)
    assert answer.pop("model", "m@v1") == "m@v1"
    assert answer == {"output": [-1], "default": True, "default_explanation": SLO_EXPLANATION, "cause": "slo_missed"}
    assert gateway.metrics().sum("xebec_requests_total", outcome="default") == 1


@pytest.mark.parametrize("when_unready, slo", [("fail", "30s"), ("wait", "100ms")])
def test_default_when_there_is_no_replica(puppet, start_gateway, when_unready, slo):
    puppet.kill()
    endpoint = {"default": {"y": [-1]}, "when_unready": when_unready}
    gateway = start_gateway(one_model([puppet.unix], slo=slo, endpoint=endpoint))
    answer = gateway.predict(input=[1]).json()
    assert (answer["default"], answer["output"]) == (True, [-1])
    assert (answer["default_explanation"], answer["cause"]) == (NO_MODEL_EXPLANATION, "no_replica")


def test_default_when_the_model_raises(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="raise_all", words="ValueError: no"), endpoint={"default": {"y": [-1]}})
    reply = gateway.predict(input=[1])
    answer = reply.json()
    assert (reply.status, answer["default"], answer["cause"]) == (200, True, "model_error")
    assert "ValueError: no" in answer["default_explanation"]


def test_defaults_of_a_batch_are_row_by_row(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="raise_rows", bad=13), endpoint={"default": {"y": [-1]}})
    reply = gateway.predict(input_batch=[[12], [13]])
    assert reply.status == 200
    assert [(each["output"], each["default"]) for each in reply.json()["batch_predictions"]] == [([12], False), ([-1], True)]


def test_a_default_does_not_hide_the_clients_mistakes(puppet, gateway_for):
    gateway = gateway_for(puppet, endpoint={"default": {"y": [-1]}})
    assert gateway.predict(input="nonsense").status == 400


def test_nor_does_it_where_the_model_finds_them(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="reject", words="no such digit"), endpoint={"default": {"y": [-1]}})
    reply = gateway.predict(input=[1])
    assert (reply.status, reply.json()["cause"]) == (400, "invalid_input")
    assert "no such digit" in reply.json()["error"]


def test_a_late_answer_never_arrives(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="stall", times=1), slo="400ms")
    with gateway.connect() as client:
        assert client.predict(input=[1]).status == 504
        puppet.release()
        for number in range(2, 12):
            reply = client.predict(input=[number])
            assert reply.status == 504 or reply.json()["output"] == [number]
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client._more()
    gateway.wait_metric(0, "xebec_requests_open")


def test_what_is_there_in_time_is_given(puppet, gateway_for):
    """A batch of which one row is in the cache and the other never comes: each row ends its own way."""
    gateway = gateway_for(puppet, slo="1s", cache={"memory": "1MiB"})
    assert gateway.predict(input=[1]).status == 200
    puppet.play(mode="stall")
    reply, seconds = timed(gateway, input_batch=[[1], [2]])
    assert reply.status == 207 and seconds < 1 + ON_TIME
    there, late = reply.json()["batch_predictions"]
    assert there["output"] == [1] and late["cause"] == "slo_missed"


def test_the_clock_starts_with_the_first_byte(puppet, gateway_for):
    """A client that takes longer than the objective to send its request has missed it."""
    gateway = gateway_for(puppet, slo="300ms")
    with gateway.connect() as client:
        request = encode_request("POST", "/e/predict", {"input": [1]})
        client.send(request[:20])
        time.sleep(0.5)
        client.send(request[20:])
        assert client.read_reply().status == 504
        assert client.predict(input=[2]).status == 200  # its own first byte, not the first request's
