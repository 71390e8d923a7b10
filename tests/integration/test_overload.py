"""More is asked than the model can answer: who is refused, when, and with what words; who goes first; nothing is lost."""
import contextlib
import json

import pytest
from xebec_testing.gateway import one_model
from xebec_testing.http_client import encode_request

KNOWN_CALLS = 10  # after eight the gateway knows what calls take well enough to refuse somebody for it


# One row in each dialect: the path and the body; and the words of an error in its shape.

def clipper(number, endpoint="e"):
    return f"/{endpoint}/predict", {"input": [number]}


def oip(number, endpoint="e"):
    return f"/v2/models/{endpoint}/infer", {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [number]}]}


def tfs(number, endpoint="e"):
    return f"/v1/models/{endpoint}:predict", {"instances": [[number]]}


def mlflow(number, endpoint="e"):
    assert endpoint == "e", "the configuration's"
    return "/invocations", {"inputs": [[number]]}


DIALECTS = {clipper: {"error", "cause"}, oip: {"error"}, tfs: {"error"}, mlflow: {"error_code", "message"}}
IN_EVERY_DIALECT = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.__name__)


def words_of(dialect, reply):
    """Of an error, which has the members that the dialect gives one."""
    document = reply.json()
    assert DIALECTS[dialect] <= set(document) and not {"outputs", "predictions"} & set(document), document
    return document.get("error") or document["message"]


class Crowd:
    """Clients that wait side by side for a replica that stalls. Each sends one row, whose number says who it is."""

    def __init__(self, gateway, stack):
        self.gateway, self.stack, self.clients = gateway, stack, {}

    def send(self, number, endpoint="e", headers=(), dialect=clipper):
        client = self.clients[number] = self.stack.enter_context(self.gateway.connect())
        path, body = dialect(number, endpoint)
        client.send(encode_request("POST", path, body, ["Content-Type: application/json", *headers]))

    def queue(self, number, rows, endpoint="e", headers=(), dialect=clipper):
        """Sends, and waits until so many rows are queued: who came first is known."""
        self.send(number, endpoint, headers, dialect)
        self.gateway.wait_metric(rows, "xebec_queue_rows")

    def reply(self, number):
        return self.clients[number].read_reply()


@pytest.fixture
def crowd(puppet, start_gateway):
    """crowd(endpoints=..., **batching): the replica has taken a call of row -1, and stalls."""
    with contextlib.ExitStack() as stack:
        def gather(endpoints=(), taught=False, call_ms=0, slo="60s", **batching):
            config = one_model([puppet.unix], slo=slo, shards=1, mlflow="e",
                               model={"batching": {"policy": "none", "calls": 1, **batching},
                                      "health": {"interval": "30s", "timeout": "30s"}})
            for name, more in dict(endpoints).items():
                config["endpoints"][name] = {"slo": slo, "model": "m@v1", **more}
            gateway = start_gateway(config).wait_ready()
            puppet.play(delay_ms=call_ms)
            for _ in range(KNOWN_CALLS if taught else 0):
                assert gateway.predict(input=[0]).status == 200
            puppet.play(mode="stall", times=1).forget()
            people = Crowd(gateway, stack)
            people.send(-1)
            puppet.wait_calls(1)
            return people
        yield gather


def served(puppet):
    """Row numbers in the order in which the model got them."""
    return [int(first) for first in puppet.rows_seen()]


def assert_refused(reply):
    assert (reply.status, reply.json()["cause"]) == (429, "overloaded")
    assert int(reply.headers["retry-after"]) >= 1


def assert_answered(reply, number):
    assert (reply.status, reply.json()["output"]) == (200, [number])


def test_high_before_normal_before_batch(crowd, puppet):
    people = crowd({"bulk": {"priority": "batch"}, "urgent": {"priority": "high"}})
    arrivals = [(1, "bulk", ()), (2, "e", ()), (3, "urgent", ()), (4, "bulk", ["X-Xebec-Priority: high"]), (5, "e", ()),
                (6, "urgent", ["X-Xebec-Priority: batch"])]
    for rows, (number, endpoint, headers) in enumerate(arrivals, 1):
        people.queue(number, rows, endpoint, headers)
    puppet.release()
    for number in [-1, 1, 2, 3, 4, 5, 6]:
        assert_answered(people.reply(number), number)
    assert served(puppet) == [-1, 3, 4, 2, 5, 1, 6]


def test_within_a_priority_the_shortest_deadline_goes_first(crowd, puppet):
    people = crowd()
    people.queue(1, 1)
    people.queue(2, 2, headers=["X-Xebec-Deadline-Ms: 50000"])
    people.queue(3, 3, headers=["X-Xebec-Deadline-Ms: 40000"])
    puppet.release()
    for number in [-1, 1, 2, 3]:
        assert_answered(people.reply(number), number)
    assert served(puppet) == [-1, 3, 2, 1]


def test_a_full_queue_refuses_and_the_model_never_sees_who_was_refused(crowd, puppet):
    people = crowd(max_queued_rows=3)
    for number in [1, 2, 3]:
        people.queue(number, number)
    for number in [4, 5]:
        people.send(number)
        assert_refused(people.reply(number))
    puppet.release()
    for number in [-1, 1, 2, 3]:
        assert_answered(people.reply(number), number)
    assert served(puppet) == [-1, 1, 2, 3]
    metrics = people.gateway.metrics()
    assert metrics.sum("xebec_refused_rows_total", reason="full") == 2
    assert metrics.sum("xebec_requests_total", outcome="overloaded") == 2
    assert metrics.sum("xebec_queue_rows") == 0


def test_in_a_full_queue_lower_priorities_give_way_the_newest_first(crowd, puppet):
    people = crowd({"bulk": {"priority": "batch"}}, max_queued_rows=3)
    for number in [1, 2, 3]:
        people.queue(number, number, "bulk")
    for number, displaced in [(4, 3), (5, 2)]:
        people.send(number)
        assert_refused(people.reply(displaced))
    people.send(6, "bulk")
    assert_refused(people.reply(6))
    puppet.release()
    for number in [-1, 1, 4, 5]:
        assert_answered(people.reply(number), number)
    assert served(puppet) == [-1, 4, 5, 1]
    assert people.gateway.metrics().sum("xebec_refused_rows_total", reason="yielded") == 2


def test_a_full_queue_is_shared_by_weight(crowd, puppet):
    """The one who came first had all of it; the other, whose share is three quarters, gets six rows of eight."""
    people = crowd({"small": {"share": 3}}, max_queued_rows=8)
    for number in range(1, 9):
        people.queue(number, number)
    for number in range(11, 17):
        people.send(number, "small")
        assert_refused(people.reply(19 - number))
    people.send(17, "small")
    assert_refused(people.reply(17))
    people.send(9)
    assert_refused(people.reply(9))
    puppet.release()
    for number in [-1, 1, 2, *range(11, 17)]:
        assert_answered(people.reply(number), number)
    assert sorted(served(puppet)) == [-1, 1, 2, *range(11, 17)]


def test_who_would_be_late_behind_a_replica_that_stalls_is_refused(crowd, puppet):
    """A call that is late is expected to be as late again: at last a row with little time is not let in any more."""
    people = crowd(taught=True)
    people.queue(1, 1)
    number, refused = 1, None
    while not refused:  # each asks for 1 s; those let in have their 504 then, and the stall grows older meanwhile
        number += 1
        people.send(number, headers=["X-Xebec-Deadline-Ms: 1000"])
        reply = people.reply(number)
        assert reply.status in (429, 504), reply
        refused = reply if reply.status == 429 else None
    assert_refused(refused)
    assert people.gateway.metrics().sum("xebec_refused_rows_total", reason="late") == 1
    puppet.release()
    for patient in [-1, 1]:
        assert_answered(people.reply(patient), patient)
    assert served(puppet) == [-1, 1], "neither the refused nor the late"


def test_a_call_that_is_stuck_does_not_hold_up_a_replica_that_takes_another(crowd, puppet):
    """Of a model that is not so quick that it gets one call at a time."""
    people = crowd(taught=True, call_ms=2, policy="adaptive", calls=2)
    people.send(1)
    assert_answered(people.reply(1), 1)
    puppet.release()
    assert_answered(people.reply(-1), -1)


def test_without_admission_all_wait_for_their_objective(crowd, puppet):
    people = crowd(taught=True, admission=False)
    people.queue(1, 1)
    for number in [2, 3, 4]:
        people.send(number, headers=["X-Xebec-Deadline-Ms: 500"])
        assert people.reply(number).status == 504
    puppet.release()
    assert_answered(people.reply(1), 1)
    assert people.gateway.metrics().sum("xebec_refused_rows_total") == 0


def test_the_refused_get_the_default_where_there_is_one(crowd, puppet):
    people = crowd({"kind": {"default": {"y": [-7]}}}, max_queued_rows=1)
    people.queue(1, 1)
    people.send(2, "kind")
    reply = people.reply(2)
    assert reply.status == 200
    answer = reply.json()
    assert (answer["output"], answer["default"], answer["cause"]) == ([-7], True, "overloaded")
    puppet.release()
    assert_answered(people.reply(1), 1)
    assert served(puppet) == [-1, 1]


def test_every_request_of_a_flood_has_one_answer_as_specified(puppet, start_gateway):
    """Far more than a slow replica can: 200, 429 or 504, and what was computed was computed once, for who asked."""
    puppet.play(delay_ms=20)
    config = one_model([puppet.unix], slo="400ms", shards=2,
                       model={"batching": {"max_rows": 4}, "health": {"interval": "30s", "timeout": "30s"}})
    config["endpoints"]["bulk"] = {**config["endpoints"]["e"], "priority": "batch"}
    gateway = start_gateway(config).wait_ready()
    answered, statuses = set(), []
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(gateway.connect()) for _ in range(64)]
        for turn in range(12):
            numbers = [turn * len(clients) + i for i in range(len(clients))]
            for number, client in zip(numbers, clients):
                client.send(encode_request("POST", f"/{('e', 'bulk')[number % 2]}/predict", {"input": [number]}))
            for number, client in zip(numbers, clients):
                reply = client.read_reply()
                statuses.append(reply.status)
                if reply.status == 200:
                    assert json.loads(reply.body)["output"] == [number]
                    answered.add(number)
                elif reply.status == 429:
                    assert_refused(reply)
                else:
                    assert (reply.status, reply.json()["cause"]) == (504, "slo_missed")
    assert len(statuses) == 768 and answered
    seen = served(puppet)
    assert len(seen) == len(set(seen)), "no row was sent twice"
    assert answered <= set(seen)
    metrics = gateway.metrics()
    assert metrics.sum("xebec_requests_total", outcome="overloaded") == statuses.count(429)
    assert metrics.sum("xebec_refused_rows_total") == statuses.count(429)
    assert len(seen) <= 768 - statuses.count(429), "the refused never reached the model"
    gateway.wait_metric(0, "xebec_queue_rows")


def test_what_was_learned_outlives_a_reload(puppet, start_gateway):
    gateway = start_gateway(one_model([puppet.unix])).wait_ready()
    for _ in range(KNOWN_CALLS):
        assert gateway.predict(input=[0]).status == 200
    learned = [gateway.metrics().sum(f"xebec_learned_{what}") for what in ("call_us", "row_ns", "tail_percent")]
    assert learned[0] + learned[1] > 0 and learned[2] > 100
    config = json.loads(gateway.config_path.read_text())
    config["endpoints"]["another"] = {"slo": "30s", "model": "m@v1"}
    gateway.config_path.write_text(json.dumps(config))
    assert gateway.ask_admin("/reload", "POST").status == 200
    assert [gateway.metrics().sum(f"xebec_learned_{what}") for what in ("call_us", "row_ns", "tail_percent")] == learned
    assert gateway.predict("another", input=[0]).status == 200


# --- the headers that say so, and those that are answered, in every dialect ------------------------------

@IN_EVERY_DIALECT
def test_a_deadline_of_the_request(puppet, gateway_for, dialect):
    """The endpoint would wait for a minute; whoever says 300 ms has its 504, and the model is told."""
    gateway = gateway_for(puppet.play(mode="stall"), slo="60s", mlflow="e")
    people = Crowd(gateway, contextlib.ExitStack())
    with people.stack:
        people.send(1, headers=["X-Xebec-Deadline-Ms: 300"], dialect=dialect)
        reply = people.reply(1)
        assert reply.status == 504 and words_of(dialect, reply), reply
    puppet.release()


@IN_EVERY_DIALECT
@pytest.mark.parametrize("header", ["X-Xebec-Deadline-Ms: soon", "X-Xebec-Deadline-Ms: 0", "X-Xebec-Priority: urgent"])
def test_headers_that_say_nothing_are_refused(puppet, gateway_for, dialect, header):
    people = Crowd(gateway_for(puppet, mlflow="e"), contextlib.ExitStack())
    with people.stack:
        people.send(1, headers=[header], dialect=dialect)
        reply = people.reply(1)
        assert reply.status == 400
        assert header.split(":")[0].lower() in words_of(dialect, reply)
    assert puppet.calls() == []


def test_high_goes_before_batch_whatever_the_dialects(crowd, puppet):
    people = crowd()
    askers = [(priority, dialect) for priority in ("batch", "high") for dialect in DIALECTS]
    for number, (priority, dialect) in enumerate(askers, 1):
        people.queue(number, number, headers=[f"X-Xebec-Priority: {priority}"], dialect=dialect)
    puppet.release()
    assert [people.reply(number).status for number in people.clients] == [200] * (1 + len(askers))
    assert served(puppet) == [-1, 5, 6, 7, 8, 1, 2, 3, 4]


def test_every_dialect_says_when_there_will_be_room(crowd, puppet):
    """Twelve calls of a fifth of a second are ahead, and what the one that stalls will still take."""
    people = crowd(taught=True, call_ms=200, max_queued_rows=12)
    for number in range(1, 13):
        people.queue(number, number)
    for number, dialect in enumerate(DIALECTS, 13):
        people.send(number, dialect=dialect)
        reply = people.reply(number)
        assert reply.status == 429 and words_of(dialect, reply), reply
        assert 2 <= int(reply.headers["retry-after"]) <= 60
    puppet.release()
    for number in range(1, 13):
        assert_answered(people.reply(number), number)
