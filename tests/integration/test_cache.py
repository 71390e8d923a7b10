"""The cache from outside: whether the replica was asked again tells whether the answer came from memory."""
import pytest
from xebec_testing.gateway import one_model
from xebec_testing.http_client import encode_request
from xebec_testing.patience import wait_until

ON = {"memory": "16MiB"}


@pytest.fixture
def cached(puppet, gateway_for):
    return gateway_for(puppet, cache=ON)


def answer(reply):
    assert reply.status == 200, reply
    return reply.json()["output"]


@pytest.mark.parametrize("shards", [1, 2])
def test_hit(puppet, gateway_for, shards):
    gateway = gateway_for(puppet, cache=ON, shards=shards)
    for _ in range(8):  # connections of both shards
        assert answer(gateway.predict(input=[1, 2])) == [1, 2]
    assert answer(gateway.predict(input=[1, 3])) == [1, 3]
    assert puppet.rows_seen() == [1, 1]
    metrics = gateway.metrics()
    assert (metrics.sum("xebec_cache_hits_total"), metrics.sum("xebec_cache_misses_total")) == (7, 2)
    assert metrics.sum("xebec_cache_rows") == 2
    assert 0 < metrics.sum("xebec_cache_bytes") <= 16 << 20


def test_query_ids_differ_even_for_hits(cached):
    assert len({cached.predict(input=[1]).json()["query_id"] for _ in range(3)}) == 3


def test_rows_are_cached_one_by_one(puppet, gateway_for):
    cached = gateway_for(puppet, cache=ON, model={"batching": {"policy": "fixed"}})
    assert cached.predict(input_batch=[[1], [2]]).status == 200
    reply = cached.predict(input_batch=[[3], [2], [4], [1]])
    assert [each["output"] for each in reply.json()["batch_predictions"]] == [[3], [2], [4], [1]]
    assert [call["first"] for call in puppet.calls()] == [[1, 2], [3, 4]]


def test_equal_rows_of_one_request_are_computed_once(puppet, cached):
    reply = cached.predict(input_batch=[[5], [5], [6], [5]])
    assert [each["output"] for each in reply.json()["batch_predictions"]] == [[5], [5], [6], [5]]
    assert sorted(puppet.rows_seen()) == [5, 6]


def test_what_is_nearly_equal_is_not_equal(puppet, cached):
    rows = [[0], [-0.0], [0, 0], [1e-45]]
    for row in rows:
        assert answer(cached.predict(input=row)) == row
    assert len(puppet.calls()) == len(rows)


def test_time_to_live(puppet, gateway_for):
    gateway = gateway_for(puppet, cache=ON, model={"cache": {"ttl": "300ms"}})
    gateway.predict(input=[1])
    gateway.predict(input=[1])
    first = len(puppet.calls())
    wait_until(lambda: answer(gateway.predict(input=[1])) and len(puppet.calls()) > first, "the answer to expire")
    assert first in (1, 2)  # 2 only where the two requests were more than the 300 ms apart


@pytest.mark.parametrize("changes", [{"cache": False}, {"cache": ON, "model": {"cache": False}},
                                     {"cache": {"memory": 0}}, {"cache": ON, "model": {"cache": {"enabled": False}}}],
                         ids=["off", "model off", "no memory", "model not enabled"])
def test_off(puppet, gateway_for, changes):
    gateway = gateway_for(puppet, **changes)
    for _ in range(3):
        assert answer(gateway.predict(input=[1])) == [1]
    assert len(puppet.calls()) == 3


# --- identical rows in flight ---------------------------------------------------------------------------------

@pytest.mark.parametrize("shards", [1, 2])
def test_single_flight(puppet, gateway_for, shards):
    gateway = gateway_for(puppet.play(mode="stall"), cache=ON, shards=shards)
    clients = [gateway.connect() for _ in range(12)]
    for client in clients:
        client.send(encode_request("POST", "/e/predict", {"input": [7, 7]}))
    gateway.wait_metric(11, "xebec_cache_joins_total")
    puppet.wait_calls(1)
    puppet.release()
    assert [answer(client.read_reply()) for client in clients] == [[7, 7]] * 12
    assert puppet.rows_seen() == [7]
    for client in clients:
        client.close()


def test_those_who_joined_a_failure_share_it(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="raise_all", delay_ms=700, times=1, words="no"), cache=ON)
    clients = [gateway.connect() for _ in range(3)]
    for client in clients:
        client.send(encode_request("POST", "/e/predict", {"input": [7]}))
    replies = [client.read_reply() for client in clients]
    joined = int(gateway.metrics().sum("xebec_cache_joins_total"))
    assert [reply.status for reply in replies].count(500) == 1 + joined
    assert all(reply.json()["error"] == "no" for reply in replies if reply.status == 500)
    assert answer(gateway.predict(input=[7])) == [7]  # and a failure is not kept
    for client in clients:
        client.close()


def test_the_leader_hangs_up_and_a_follower_leads(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="stall", times=1), cache=ON)
    with gateway.connect() as leader, gateway.connect() as follower:
        leader.send(encode_request("POST", "/e/predict", {"input": [7]}))
        puppet.wait_calls(1)
        follower.send(encode_request("POST", "/e/predict", {"input": [7]}))
        gateway.wait_metric(1, "xebec_cache_joins_total")
        leader.close()
        assert answer(follower.read_reply()) == [7]
    assert puppet.rows_seen() == [7, 7]


def test_the_leader_has_less_time_than_its_follower(puppet, start_gateway):
    config = one_model([puppet.play(mode="stall", times=1).unix], slo="700ms", cache=ON)
    config["endpoints"]["patient"] = {"slo": "30s", "model": "m@v1"}
    gateway = start_gateway(config).wait_ready()
    with gateway.connect() as leader, gateway.connect() as follower:
        leader.send(encode_request("POST", "/e/predict", {"input": [7]}))
        puppet.wait_calls(1)
        follower.send(encode_request("POST", "/patient/predict", {"input": [7]}))
        assert leader.read_reply().status == 504
        assert answer(follower.read_reply()) == [7]


def test_the_follower_has_less_time_than_its_leader(puppet, start_gateway):
    config = one_model([puppet.play(mode="stall", times=1).unix], cache=ON)
    config["endpoints"]["hasty"] = {"slo": "300ms", "model": "m@v1"}
    gateway = start_gateway(config).wait_ready()
    with gateway.connect() as leader, gateway.connect() as follower:
        leader.send(encode_request("POST", "/e/predict", {"input": [7]}))
        puppet.wait_calls(1)
        follower.send(encode_request("POST", "/hasty/predict", {"input": [7]}))
        assert follower.read_reply().status == 504
        puppet.release()
        assert answer(leader.read_reply()) == [7]
        assert answer(follower.predict("hasty", input=[7])) == [7]
    assert puppet.rows_seen() == [7]


# --- what is never kept --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("script", [{"mode": "raise_all"}, {"mode": "wrong_rows"}, {"mode": "raise_rows", "bad": 7}])
def test_failures_are_not_kept(puppet, gateway_for, script):
    gateway = gateway_for(puppet.play(times=1, **script), cache=ON)
    assert gateway.predict(input=[7]).status in (500, 502)
    assert answer(gateway.predict(input=[7])) == [7]
    assert answer(gateway.predict(input=[7])) == [7]
    assert len(puppet.calls()) == 2


def test_defaults_are_not_kept(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="stall", times=1), cache=ON, slo="400ms", endpoint={"default": {"y": [-1]}})
    reply = gateway.predict(input=[7])
    assert (reply.json()["default"], reply.json()["output"]) == (True, [-1])
    puppet.release()
    wait_until(lambda: gateway.predict(input=[7]).json()["output"] == [7], "the model's own answer")


# --- whose answer it is ------------------------------------------------------------------------------------------------

def test_a_new_digest_starts_anew(puppet, cached):
    assert answer(cached.predict(input=[7])) == [7]
    puppet.play(digest="d2")
    puppet.kill()
    cached.wait_replica(puppet.unix, "down", "connecting")
    puppet.start()
    cached.wait_ready()
    assert cached.replicas()[puppet.unix]["digest"] == "d2"
    assert answer(cached.predict(input=[7])) == [7]
    assert answer(cached.predict(input=[7])) == [7]
    assert puppet.rows_seen() == [7]  # by the new process: the old answer was not used, the new one was kept


def test_a_restart_with_the_same_digest_keeps_answers(puppet, cached):
    assert answer(cached.predict(input=[7])) == [7]
    puppet.kill()
    cached.wait_replica(puppet.unix, "down", "connecting")
    puppet.start()
    cached.wait_ready()
    assert answer(cached.predict(input=[7])) == [7]
    assert puppet.calls() == []


def test_an_old_models_answer_is_not_kept_as_the_new_ones(new_puppet, gateway_for):
    """In the middle of a rollout: keys are the new model's, and a replica of the old one answers."""
    old, new = new_puppet(), new_puppet(digest="d2")
    new.kill()
    gateway = gateway_for(old, new, cache=ON)
    new.start()
    gateway.wait_replica(new.unix, "ready")
    new.play(serving=False)
    gateway.wait_replica(new.unix, "unhealthy")
    for _ in range(2):
        assert answer(gateway.predict(input=[7])) == [7]
    assert (old.rows_seen(), new.calls()) == ([7, 7], [])


def test_versions_do_not_answer_for_each_other(new_puppet, start_gateway):
    first, second = new_puppet(), new_puppet(version="v2")
    config = one_model([first.unix], cache=ON)
    config["models"]["m"]["versions"]["v2"] = {"replicas": [second.unix]}
    config["endpoints"]["other"] = {"slo": "30s", "model": "m@v2"}
    config["endpoints"]["same"] = {"slo": "30s", "model": "m@v1"}
    gateway = start_gateway(config).wait_ready()
    assert [gateway.predict(name, input=[7]).json()["model"] for name in ("e", "other", "same")] == ["m@v1", "m@v2", "m@v1"]
    assert (first.rows_seen(), second.rows_seen()) == ([7], [7])


def test_memory_is_bounded(puppet, gateway_for):
    gateway = gateway_for(puppet, cache={"memory": "1MiB"})
    with gateway.connect() as client:
        for start in range(0, 20_000, 2000):
            assert client.predict(input_batch=[[start + n] * 8 for n in range(2000)]).status == 200
            assert gateway.metrics().sum("xebec_cache_bytes") <= 1 << 20
    assert gateway.metrics().sum("xebec_cache_evictions_total") > 1000
