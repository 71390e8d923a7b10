"""Batching, as replicas see it: whose rows travel together, how many, and when."""
import contextlib

import pytest
from xebec_testing.gateway import one_model
from xebec_testing.http_client import encode_request


@contextlib.contextmanager
def clients_waiting(gateway, puppet, *rows, endpoints=None):
    """Holds up the replica (first call stalls, one at a time), then sends each row on a connection of its own."""
    with contextlib.ExitStack() as stack:
        blocker = stack.enter_context(gateway.connect())
        blocker.send(encode_request("POST", "/patient/predict", {"input": [-1]}))
        puppet.wait_calls(1)
        clients = []
        for i, row in enumerate(rows):
            clients.append(stack.enter_context(gateway.connect()))
            path = f"/{endpoints[i] if endpoints else 'e'}/predict"
            clients[-1].send(encode_request("POST", path, {"input": row}))
            gateway.wait_metric(i + 1, "xebec_queue_rows")
        yield clients


@pytest.fixture
def hold_up(new_puppet, start_gateway):
    """A gateway whose replica stalls at the first call; batches as given, endpoints e and others by their SLO."""
    def start(slo="30s", shards=2, others=(), **batching):
        puppet = new_puppet(mode="stall", times=1)
        config = one_model([puppet.unix], slo=slo, shards=shards,
                           model={"batching": {"policy": "fixed", "calls": 1, **batching}})
        for name, objective in {"patient": "60s", **dict(others)}.items():
            config["endpoints"][name] = {"slo": objective, "model": "m@v1"}
        return puppet, start_gateway(config).wait_ready()
    return start


@pytest.mark.parametrize("shards", [1, 2])
def test_rows_of_many_clients_share_a_batch(hold_up, shards):
    puppet, gateway = hold_up(shards=shards)
    with clients_waiting(gateway, puppet, *[[n, n * n] for n in range(10)]) as clients:
        puppet.release()
        assert [client.read_reply().json()["output"] for client in clients] == [[n, n * n] for n in range(10)]
    assert [call["rows"] for call in puppet.calls()] == [1, 10]
    metrics = gateway.metrics()
    assert metrics.sum("xebec_batches_total") == 2
    assert dict(metrics.buckets("xebec_batch_rows"))[1] == 1
    assert metrics.sum("xebec_batch_rows_sum") == 11


def test_max_rows(hold_up):
    puppet, gateway = hold_up(max_rows=4)
    with clients_waiting(gateway, puppet, *[[n] for n in range(10)]) as clients:
        puppet.release()
        assert [client.read_reply().json()["output"] for client in clients] == [[n] for n in range(10)]
    assert [call["rows"] for call in puppet.calls()] == [1, 4, 4, 2]
    assert gateway.metrics().sum("xebec_batches_total", reason="full") == 2


def test_max_rows_of_the_replica(puppet, gateway_for):
    puppet.play(max_rows=3)
    gateway = gateway_for(puppet, model={"batching": {"policy": "fixed", "max_rows": 100}})
    reply = gateway.predict(input_batch=[[n] for n in range(10)])
    assert [each["output"] for each in reply.json()["batch_predictions"]] == [[n] for n in range(10)]
    assert max(call["rows"] for call in puppet.calls()) <= 3


@pytest.mark.parametrize("shards", [1, 2])
def test_a_large_request_is_cut_and_put_together_again(puppet, gateway_for, shards):
    gateway = gateway_for(puppet, shards=shards, model={"batching": {"policy": "fixed", "max_rows": 7}})
    reply = gateway.predict(input_batch=[[n, -n] for n in range(200)])
    assert [each["output"] for each in reply.json()["batch_predictions"]] == [[n, -n] for n in range(200)]
    assert max(call["rows"] for call in puppet.calls()) == 7
    assert sorted(puppet.rows_seen()) == list(range(200))


def test_policy_none_sends_rows_alone(puppet, gateway_for):
    gateway = gateway_for(puppet, model={"batching": {"policy": "none"}})
    assert gateway.predict(input_batch=[[n] for n in range(6)]).status == 200
    assert [call["rows"] for call in puppet.calls()] == [1] * 6


def test_policy_aimd_learns_larger_batches(puppet, gateway_for):
    gateway = gateway_for(puppet, model={"batching": {"policy": "aimd"}})
    with gateway.connect() as client:
        for _ in range(10):
            assert client.predict(input_batch=[[n] for n in range(200)]).status == 200
    sizes = [call["rows"] for call in puppet.calls()]
    assert max(sizes[-5:]) > sizes[0]
    assert gateway.metrics().sum("xebec_batch_limit_rows") > 1


def test_two_calls_in_flight_by_default(new_puppet, gateway_for):
    puppet = new_puppet(mode="stall", times=2)
    gateway = gateway_for(puppet, model={"batching": {"policy": "none"}})
    with gateway.connect() as client:
        client.send(encode_request("POST", "/e/predict", {"input_batch": [[n] for n in range(5)]}))
        puppet.wait_calls(2)
        gateway.wait_metric(3, "xebec_queue_rows")
        assert len(puppet.calls()) == 2
        puppet.release()
        assert client.read_reply().status == 200


# --- when a batch is released -------------------------------------------------------------------------------

def test_a_full_batch_does_not_wait(puppet, gateway_for):
    gateway = gateway_for(puppet, model={"batching": {"policy": "fixed", "max_rows": 3, "max_delay": "20s"}})
    with gateway.connect() as a, gateway.connect() as b, gateway.connect() as c:
        for client, row in ((a, 1), (b, 2), (c, 3)):
            client.send(encode_request("POST", "/e/predict", {"input": [row]}))
        assert [client.read_reply().json()["output"] for client in (a, b, c)] == [[1], [2], [3]]
    assert [call["rows"] for call in puppet.calls()] == [3]
    assert gateway.metrics().sum("xebec_batches_total", reason="full") == 1


def test_a_lone_row_waits_no_longer_than_max_delay(puppet, gateway_for):
    gateway = gateway_for(puppet, model={"batching": {"policy": "fixed", "max_rows": 3, "max_delay": "200ms"}})
    assert gateway.predict(input=[1]).status == 200
    assert gateway.metrics().sum("xebec_batches_total", reason="delay") == 1
    assert gateway.metrics().sum("xebec_queue_seconds_sum") >= 0.19


def test_a_lone_row_goes_at_once_without_max_delay(puppet, gateway_for):
    gateway = gateway_for(puppet, model={"batching": {"policy": "fixed", "max_rows": 3}})
    assert gateway.predict(input=[1]).status == 200
    assert gateway.metrics().sum("xebec_batches_total", reason="idle") == 1


def test_company_is_not_waited_for_past_the_objective(puppet, gateway_for):
    """A delay longer than the SLO must not make every row miss it."""
    gateway = gateway_for(puppet, slo="1s", model={"batching": {"policy": "fixed", "max_rows": 3, "max_delay": "30s"}})
    with gateway.connect() as client:
        for number in (1, 2):
            assert client.predict(input=[number]).status == 200
    assert gateway.metrics().sum("xebec_batches_total", reason="deadline") == 2


# --- who may share, and who goes first ------------------------------------------------------------------------

def test_different_shapes_never_share(hold_up):
    puppet, gateway = hold_up()
    rows = [[1], [2, 2], [3], [4, 4], [5, 5, 5]]
    with clients_waiting(gateway, puppet, *rows) as clients:
        puppet.release()
        assert [client.read_reply().json()["output"] for client in clients] == rows
    shapes = [call["inputs"]["x"][1] for call in puppet.calls()]
    assert sorted(shapes) == [[1, 1], [1, 3], [2, 1], [2, 2]]


def test_the_earliest_deadline_goes_first(hold_up):
    puppet, gateway = hold_up(others={"hasty": "20s"}, policy="none")
    names = ["patient", "e", "hasty", "patient", "hasty"]
    with clients_waiting(gateway, puppet, *[[n] for n in range(5)], endpoints=names) as clients:
        puppet.release()
        assert all(client.read_reply().status == 200 for client in clients)
    assert puppet.rows_seen() == [-1, 2, 4, 1, 0, 3]


# --- too much, too late ----------------------------------------------------------------------------------------

def test_a_full_queue_refuses(hold_up):
    puppet, gateway = hold_up(max_queued_rows=3)
    with clients_waiting(gateway, puppet, [1], [2], [3]) as clients:
        refused = gateway.predict(input=[4])
        assert (refused.status, refused.json()["cause"]) == (429, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        puppet.release()
        assert [client.read_reply().status for client in clients] == [200] * 3
    assert puppet.rows_seen() == [-1, 1, 2, 3]
    assert gateway.predict(input=[5]).status == 200
    assert gateway.metrics().sum("xebec_requests_total", outcome="overloaded") == 1


def test_rows_that_expired_are_not_sent(hold_up):
    puppet, gateway = hold_up(slo="400ms")
    with clients_waiting(gateway, puppet, [1], [2]) as clients:
        replies = [client.read_reply() for client in clients]
        assert [(reply.status, reply.json()["cause"]) for reply in replies] == [(504, "slo_missed")] * 2
        gateway.wait_metric(0, "xebec_queue_rows")
        puppet.release()
    assert gateway.predict(input=[3]).status == 200
    assert puppet.rows_seen() == [-1, 3]
