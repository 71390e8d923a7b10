"""Replicas that come late, go, return, lie, stall and die; and what clients are told meanwhile."""
import threading
import time

import pytest
from xebec_testing.gateway import one_model, run_xebec
from xebec_testing.http_client import encode_request
from xebec_testing.patience import wait_until


def ask_from_many(gateway, clients, requests, answer):
    """`clients` connections that each ask `requests` times; answer(reply, row) judges. -> what it returned."""
    results, problems = [], []

    def ask(client_number):
        try:
            with gateway.connect() as client:
                for number in range(requests):
                    row = [client_number, number]
                    results.append(answer(client.predict(input=row), row))
        except Exception as problem:  # noqa: BLE001 - shown by the test's own thread
            problems.append(repr(problem))
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems
    return results


FAIL_AT_ONCE = {"when_unready": "fail"}  # what it is to wait instead, and to spill, is test_discovery.py's


def must_be_right(reply, row):
    assert (reply.status, reply.json().get("output")) == (200, row), reply
    return True


# --- coming and going -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("shards", [1, 2])
def test_the_gateway_may_start_first(puppet, start_gateway, shards):
    puppet.kill()
    gateway = start_gateway(one_model([puppet.unix], shards=shards, endpoint=FAIL_AT_ONCE))
    ready = gateway.ask_admin("/health/ready")
    assert (ready.status, ready.json()["without_replica"]) == (503, ["m@v1"])
    refused = gateway.predict(input=[1])
    assert (refused.status, refused.json()["cause"]) == (503, "no_replica")
    assert "retry-after" in refused.headers
    puppet.start()
    gateway.wait_ready()
    assert gateway.predict(input=[1]).json()["output"] == [1]
    wait_until(lambda: gateway.events("replica_up"), "the line that says so")


def test_a_replica_may_go_and_come_back(puppet, gateway_for):
    gateway = gateway_for(puppet, endpoint=FAIL_AT_ONCE)
    for round_number in range(3):
        assert gateway.predict(input=[round_number]).status == 200
        puppet.kill()
        gateway.wait_replica(puppet.unix, "down", "connecting")
        wait_until(lambda: gateway.ask_admin("/health/ready").status == 503, "not ready")
        assert gateway.predict(input=[1]).status == 503
        puppet.start()
        gateway.wait_ready()
    assert len(gateway.events("replica_down")) >= 3


def test_several_addresses_share_the_load(new_puppet, gateway_for):
    puppets = [new_puppet(delay_ms=5) for _ in range(3)]
    gateway = gateway_for(*puppets, model={"batching": {"policy": "none"}})
    for puppet in puppets:
        gateway.wait_replica(puppet.unix, "ready")
    assert len(ask_from_many(gateway, 8, 25, must_be_right)) == 200
    counts = [len(puppet.calls()) for puppet in puppets]
    assert sum(counts) == 200 and min(counts) > 30, counts


def test_unix_and_tcp(new_puppet, start_gateway):
    near, far = new_puppet(delay_ms=5), new_puppet(delay_ms=5)
    gateway = start_gateway(one_model([near.unix, far.tcp], model={"batching": {"policy": "none"}})).wait_ready()
    gateway.wait_replica(near.unix, "ready")
    gateway.wait_replica(far.tcp, "ready")
    ask_from_many(gateway, 6, 10, must_be_right)
    assert near.calls() and far.calls()
    assert gateway.metrics().sum("xebec_replicas_up") == gateway.metrics().sum("xebec_replicas") == 2


# --- replicas that are not what the configuration says -----------------------------------------------------------

@pytest.mark.parametrize("script, word", [
    ({"model": "other"}, "other"),
    ({"version": "v9"}, "v9"),
    ({"inputs": {"x": ["FP64", [-1, -1]]}}, "FP64"),
    ({"inputs": {"x": ["FP32", [-1]]}}, "FP32[-1]"),
    ({"inputs": {"z": ["FP32", [-1, -1]]}}, "x"),
    ({"inputs": {"x": ["FP32", [-1, -1]], "w": ["FP32", [-1]]}}, "w"),
    ({"outputs": {"y": ["INT32", [-1, -1]]}}, "INT32"),
    ({"outputs": {"z": ["FP32", [-1, -1]]}}, "y"),
])
def test_a_replica_that_contradicts_the_configuration_is_refused(puppet, start_gateway, script, word):
    puppet.play(**script)
    gateway = start_gateway(one_model([puppet.unix], endpoint=FAIL_AT_ONCE))
    why = gateway.wait_replica(puppet.unix, "refused")["why"]
    assert word in why
    refusal = wait_until(lambda: gateway.events("replica_refused"), "the line that says so")[0]
    assert word in refusal["why"] and refusal["level"] == "warn"
    assert gateway.ask_admin("/health/ready").status == 503
    assert gateway.predict(input=[1]).status == 503
    puppet.kill()
    puppet.script = {}
    puppet.start()
    gateway.wait_ready()
    assert gateway.predict(input=[1]).status == 200


def test_not_serving_replicas_get_nothing(new_puppet, gateway_for):
    well, ill = new_puppet(), new_puppet(serving=False)
    gateway = gateway_for(well, ill)
    ask_from_many(gateway, 4, 10, must_be_right)
    assert ill.calls() == []
    ill.play()
    gateway.wait_replica(ill.unix, "ready")
    well.play(serving=False)
    gateway.wait_replica(well.unix, "unhealthy")
    well.forget()
    ask_from_many(gateway, 4, 10, must_be_right)
    assert ill.calls() and well.calls() == []


# --- replicas that die and stall -----------------------------------------------------------------------------------

@pytest.mark.parametrize("shards", [1, 2])
def test_a_replica_that_dies_under_calls_costs_no_answer(new_puppet, gateway_for, shards):
    puppets = [new_puppet(delay_ms=10) for _ in range(2)]
    gateway = gateway_for(*puppets, shards=shards, model={"batching": {"policy": "none"}})
    for puppet in puppets:
        gateway.wait_replica(puppet.unix, "ready")
    killer = threading.Thread(target=lambda: (puppets[0].wait_calls(20), puppets[0].kill()))
    killer.start()
    assert len(ask_from_many(gateway, 6, 30, must_be_right)) == 180
    killer.join()
    assert not puppets[0].is_alive()


def test_a_call_that_kills_its_replica_is_sent_elsewhere(new_puppet, gateway_for):
    deadly, well = new_puppet(mode="die_mid_call"), new_puppet()
    gateway = gateway_for(deadly, well)
    for puppet in (deadly, well):
        gateway.wait_replica(puppet.unix, "ready")
    ask_from_many(gateway, 4, 5, must_be_right)
    deadly.wait_dead()
    assert gateway.metrics().sum("xebec_retries_total") >= 1


def test_the_only_replica_dies(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="die_mid_call"), endpoint=FAIL_AT_ONCE)
    reply = gateway.predict(input=[1])
    assert (reply.status, reply.json()["cause"]) == (503, "no_replica")
    puppet.wait_dead()
    puppet.script = {}
    puppet.start()
    gateway.wait_ready()
    assert gateway.predict(input=[1]).status == 200


def test_a_replica_that_sheds_is_passed_over(new_puppet, gateway_for):
    busy, well = new_puppet(mode="shed"), new_puppet()
    gateway = gateway_for(busy, well, model={"retry": {"budget": "100%"}})
    for puppet in (busy, well):
        gateway.wait_replica(puppet.unix, "ready")
    ask_from_many(gateway, 2, 10, must_be_right)


def test_a_frozen_replica_is_found_out(new_puppet, gateway_for):
    frozen, well = new_puppet(), new_puppet()
    gateway = gateway_for(frozen, well, slo="3s", model={"health": {"interval": "100ms", "timeout": "300ms"}})
    for puppet in (frozen, well):
        gateway.wait_replica(puppet.unix, "ready")
    frozen.freeze()
    why = gateway.wait_replica(frozen.unix, "unhealthy", "down", "connecting")["why"]
    assert why
    ask_from_many(gateway, 4, 10, must_be_right)
    frozen.thaw()
    gateway.wait_replica(frozen.unix, "ready")


def test_a_stalled_call_does_not_hold_up_others(new_puppet, gateway_for):
    slow, well = new_puppet(mode="stall", times=1), new_puppet(mode="stall", times=1)
    gateway = gateway_for(slow, well, model={"batching": {"policy": "none"}})
    for puppet in (slow, well):
        gateway.wait_replica(puppet.unix, "ready")
    with gateway.connect() as waiting:
        waiting.send(encode_request("POST", "/e/predict", {"input": [0, 0]}))
        wait_until(lambda: slow.calls() or well.calls(), "the first call")
        (well if slow.calls() else slow).play()
        ask_from_many(gateway, 4, 10, must_be_right)
        slow.release()
        well.release()
        assert waiting.read_reply().json()["output"] == [0, 0]


# --- replicas that lie and raise -------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", ["wrong_rows", "wrong_type", "wrong_name", "wrong_size", "garbage_bytes", "wrong_error_row"])
def test_lies_are_502(puppet, gateway_for, mode):
    gateway = gateway_for(puppet.play(mode=mode, times=1), model={"batching": {"policy": "fixed"}})
    reply = gateway.predict(input_batch=[[1], [2]])
    assert (reply.status, reply.json()["cause"]) == (502, "replica_contract"), reply
    assert len(puppet.calls()) == 1  # a lie is an answer: not asked again
    gateway.wait_ready()
    assert gateway.predict(input=[1]).json()["output"] == [1]
    assert gateway.metrics().sum("xebec_rpcs_total", outcome="replica_contract") == 1


def test_what_the_model_says_when_it_raises(puppet, gateway_for):
    words = 'ValueError: no root of -1, "quoted"\n\\ \u00e9\u4e16'
    gateway = gateway_for(puppet.play(mode="raise_all", words=words, times=1))
    reply = gateway.predict(input=[1])
    assert (reply.status, reply.json()["cause"], reply.json()["error"]) == (500, "model_error", words)
    assert len(puppet.calls()) == 1
    assert gateway.predict(input=[1]).status == 200


def test_one_bad_row_of_a_batch_fails_alone(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="raise_rows", bad=13, words="unlucky"))
    reply = gateway.predict(input_batch=[[12], [13], [14]])
    assert reply.status == 207
    good, bad, also_good = reply.json()["batch_predictions"]
    assert (good["output"], also_good["output"]) == ([12], [14])
    assert (bad["error"], bad["cause"]) == ("unlucky", "model_error") and "output" not in bad


def test_one_bad_row_does_not_touch_other_clients(new_puppet, gateway_for):
    puppet = new_puppet(mode="stall", times=1)
    gateway = gateway_for(puppet, model={"batching": {"policy": "fixed", "calls": 1}})
    with gateway.connect() as blocker, gateway.connect() as well, gateway.connect() as ill:
        blocker.send(encode_request("POST", "/e/predict", {"input": [0]}))
        puppet.wait_calls(1)
        well.send(encode_request("POST", "/e/predict", {"input": [12]}))
        ill.send(encode_request("POST", "/e/predict", {"input": [13]}))
        gateway.wait_metric(2, "xebec_queue_rows")
        puppet.play(mode="raise_rows", bad=13, words="unlucky")
        puppet.release()
        assert blocker.read_reply().status == 200
        reply = ill.read_reply()
        assert (reply.status, reply.json()["error"]) == (500, "unlucky")
        assert well.read_reply().json()["output"] == [12]
    assert puppet.calls()[1]["rows"] == 2


def test_every_row_bad_is_500(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="raise_rows", bad=13, words="unlucky"))
    reply = gateway.predict(input_batch=[[13], [13]])
    assert (reply.status, reply.json()["error"]) == (500, "unlucky")


# --- replicas that are late, and silent ------------------------------------------------------------------------------

USUAL = {"batching": {"policy": "none"}, "hedge": {"budget": "5%"}, "health": {"interval": "200ms", "timeout": "5s"}}


def teach(gateway, requests=60):
    """So many answers that the gateway knows what a call takes."""
    ask_from_many(gateway, 2, requests // 2, must_be_right)


def seconds_of(gateway, requests):
    """One client's requests, one after the other, each answered rightly: what each took."""
    taken = []
    with gateway.connect() as client:
        for number in range(requests):
            start = time.monotonic()
            must_be_right(client.predict(input=[7, number]), [7, number])
            taken.append(time.monotonic() - start)
    return taken


def state_of(gateway, puppet):
    return next(replica["state"] for model in gateway.status()["models"] for version in model["versions"]
                for replica in version["replicas"] if replica["address"] == puppet.unix)


def test_a_frozen_replica_costs_little_time_and_no_request_and_comes_back_by_itself(new_puppet, gateway_for):
    """Its health checks would find it out after 5 s only."""
    frozen, well = new_puppet(delay_ms=10), new_puppet(delay_ms=10)
    gateway = gateway_for(frozen, well, slo="10s", model=USUAL)
    for puppet in (frozen, well):
        gateway.wait_replica(puppet.unix, "ready")
    teach(gateway)
    frozen.freeze()
    taken = seconds_of(gateway, 100)
    assert max(taken) < 2, f"all are answered long before the objective and the health check: {max(taken)}"
    ejected = gateway.events("replica_ejected")[0]
    assert ejected["address"] == frozen.unix and "calls without an answer" in ejected["why"]
    assert state_of(gateway, frozen) == "ejected"
    assert "ejected: " in run_xebec("status", f"--admin=127.0.0.1:{gateway.admin_port}").stdout
    metrics = gateway.metrics()
    assert metrics.sum("xebec_ejections_total") == 1
    assert 1 <= metrics.sum("xebec_hedges_total", outcome="won") <= 10 + 0.05 * metrics.sum("xebec_batches_total")
    assert metrics.sum("xebec_requests_total", outcome="ok") == 160
    frozen.thaw()

    def is_back():
        seconds_of(gateway, 5)
        return state_of(gateway, frozen) == "ready"
    wait_until(is_back, "the thawed replica to be trusted again")
    frozen.forget()
    ask_from_many(gateway, 4, 10, must_be_right)
    assert frozen.calls(), "and it works"


def test_one_late_call_is_asked_twice_and_answered_once(new_puppet, gateway_for):
    first, second = new_puppet(delay_ms=10), new_puppet(delay_ms=10)
    gateway = gateway_for(first, second, slo="20s", model=USUAL)
    for puppet in (first, second):
        gateway.wait_replica(puppet.unix, "ready")
    teach(gateway)
    hedged = gateway.metrics().sum("xebec_hedges_total")
    for puppet in (first, second):
        puppet.forget()
    first.play(mode="stall", times=1, delay_ms=10)
    taken = seconds_of(gateway, 6)
    assert max(taken) < 5
    assert gateway.metrics().sum("xebec_hedges_total") > hedged
    first.release()
    assert gateway.metrics().sum("xebec_retries_total") == 0


def test_hedges_keep_their_budget(new_puppet, gateway_for):
    """Half of the calls of one of two replicas are far too late: more than the budget covers."""
    uneven, well = new_puppet(delay_ms=5), new_puppet(delay_ms=5)
    gateway = gateway_for(uneven, well, slo="10s", model=USUAL)
    for puppet in (uneven, well):
        gateway.wait_replica(puppet.unix, "ready")
    teach(gateway)
    for _ in range(30):
        uneven.play(delay_ms=60)
        seconds_of(gateway, 3)
        uneven.play(delay_ms=5)
        seconds_of(gateway, 3)
    metrics = gateway.metrics()
    assert metrics.sum("xebec_hedges_total") <= 10 + 0.05 * metrics.sum("xebec_batches_total")
    assert metrics.sum("xebec_requests_total", outcome="ok") == metrics.sum("xebec_batches_total") == 240


def test_hedges_can_be_turned_off(new_puppet, gateway_for):
    frozen, well = new_puppet(delay_ms=10), new_puppet(delay_ms=10)
    gateway = gateway_for(frozen, well, slo="400ms", model={**USUAL, "hedge": {"budget": "0%"}})
    for puppet in (frozen, well):
        gateway.wait_replica(puppet.unix, "ready")
    teach(gateway)
    frozen.freeze()
    with gateway.connect() as client:
        statuses = [client.predict(input=[1, number]).status for number in range(40)]
    assert set(statuses) == {200, 504} and statuses.count(504) <= 4, f"it is ejected all the same: {statuses}"
    assert gateway.metrics().sum("xebec_hedges_total") == 0
    assert gateway.metrics().sum("xebec_ejections_total") == 1
    frozen.thaw()


def test_a_replica_killed_with_one_of_two_copies_costs_nothing(new_puppet, gateway_for):
    dying, well = new_puppet(delay_ms=10), new_puppet(delay_ms=10)
    gateway = gateway_for(dying, well, slo="10s", model=USUAL)
    for puppet in (dying, well):
        gateway.wait_replica(puppet.unix, "ready")
    teach(gateway)
    dying.freeze()
    killer = threading.Timer(0.1, dying.kill)
    killer.start()
    assert max(seconds_of(gateway, 60)) < 5
    killer.join()
