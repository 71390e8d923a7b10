"""
Replicas found by name, which come, go, die and are replaced while clients ask: every answer is counted, and none is lost.

Replicas listen on loopback addresses of their own, on one port, as containers do on theirs; a name server of the test's
tells the gateway where they are.
"""
import collections
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time

import pytest
from xebec_testing.elsewhere import Elsewhere, why_nowhere
from xebec_testing.gateway import BINARY, one_model
from xebec_testing.http_client import encode_request
from xebec_testing.names import NameServer, in_its_own_world, why_no_world
from xebec_testing.patience import PATIENCE, wait_until
from xebec_testing.python_worker import PYTHON, SOURCES

ECHO = os.environ.get("XEBEC_ECHO", str(pathlib.Path(BINARY).parent / "bin/xebec-echo"))
WHY_NOT = why_no_world()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

SLOW_ECHO = """
import sys, time
from xebec_worker import Tensor, serve

def predict(x):
    time.sleep(0.005)
    return x

matrix = Tensor("FP32", [-1, -1])
serve(predict, model="m", version=sys.argv[2], inputs={"x": matrix}, outputs={"x": matrix}, listen=sys.argv[1], threads=2)
"""


ECHOED = {"x": {"datatype": "FP32", "shape": [-1, -1]}}  # an echo's output is its input


def free_port():
    """One that is free on every loopback address."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))
        return probe.getsockname()[1]


class Replica:
    """A worker at one address: the C echo, or the Python SDK with a model that takes 5 ms."""

    def __init__(self, directory, host, port, version="v1", slow=False, command=()):
        self.host, self.address = host, f"{host}:{port}"
        worker = [ECHO, "--listen", self.address, "--model", "m", "--version", version, "--input", "x:FP32:-1,-1"]
        if slow:
            script = directory / "slow_echo.py"
            script.write_text(SLOW_ECHO)
            worker = [PYTHON, str(script), self.address, version]
        with open(directory / f"replica-{host}.err", "ab") as errors:
            self.process = subprocess.Popen([*command, *worker], stderr=errors,
                                            env={**os.environ, "PYTHONPATH": ":".join(map(str, SOURCES))})

    def wait_listening(self):
        host, _, port = self.address.rpartition(":")

        def listens():
            assert self.process.poll() is None
            with socket.socket() as probe:
                return probe.connect_ex((host, int(port))) == 0
        wait_until(listens, f"{self.address} to listen")
        return self

    def end(self, number):
        """Sends a signal and sees the process out."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)


class Crowd:
    """with Crowd(gateway, clients) as crowd: they ask without a pause until the end; each answer is counted by what it was."""

    def __init__(self, gateway, clients=8, endpoint="e"):
        self.gateway, self.endpoint, self.leaving = gateway, endpoint, False
        self.tally, self.lock, self.answered = collections.Counter(), threading.Lock(), 0
        self.started = time.monotonic()
        self.threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.leaving = True
        for thread in self.threads:
            thread.join(2 * PATIENCE)

    def _ask(self, number):
        asked = 0
        try:
            with self.gateway.connect() as client:
                while not self.leaving:
                    asked += 1
                    started = time.monotonic()
                    reply = client.predict(self.endpoint, input=[number, asked])
                    self._count(reply, [number, asked], started)
        except Exception as problem:  # noqa: BLE001 - counted as what it is
            with self.lock:
                self.tally[f"client {number}: {problem!r}"] += 1

    def _count(self, reply, row, started):
        document, ended = reply.json(), time.monotonic()
        right = reply.status == 200 and document.get("output") == row and not document["default"]
        wrong = f"{reply.status} {document} to {row}, asked {started - self.started:.3f} s after the start, after {ended - started:.3f} s"
        with self.lock:
            self.answered += 1
            self.tally["right" if right else wrong] += 1

    def wait_for(self, more):
        """So many more answers."""
        goal = self.answered + more
        wait_until(lambda: self.answered >= goal, lambda: f"{more} answers: {self.tally}")

    def must_all_be_right(self):
        if set(self.tally) != {"right"} or self.tally["right"] != self.answered:
            pytest.fail(f"{self.answered} answers:\n" + "\n".join(f"{count} x {what}" for what, count in self.tally.most_common(20)) +
                        "\nwhat the gateway said:\n" + "\n".join(map(str, self.gateway.log()[-40:])), pytrace=False)


@pytest.fixture
def names():
    server = NameServer()
    yield server
    server.close()


@pytest.fixture
def new_replica(tmp_path):
    """new_replica("127.0.0.2"): listening."""
    port, started = free_port(), []

    def new(host, **options):
        started.append(Replica(tmp_path, host, port, **options))
        return started[-1].wait_listening()

    new.port = port
    yield new
    for replica in started:
        replica.kill()


@pytest.fixture
def start_with(start_gateway, names, tmp_path, new_replica):
    """start_with("name", ...): a gateway that knows these names of replicas."""
    def start(*known, slo="10s", model=None, **options):
        replicas = [name if ":" in name else f"dns:{name}:{new_replica.port}" for name in known]
        model = {"discovery": {"interval": "200ms"}, "batching": {"policy": "fixed", "max_rows": 4}, **(model or {})}
        return start_gateway(one_model(replicas, slo=slo, outputs=ECHOED, model=model, **options),
                             in_its_own_world(tmp_path, names.address))
    return start


def wait_replicas(gateway, version="v1", **states):
    """Until the replicas are these: wait_replicas(gateway, ready=2, down=1)."""
    def count():
        return collections.Counter(each["state"] for each in gateway.replicas(version).values())
    wait_until(lambda: count() == states, lambda: f"{states}: {gateway.replicas(version)}")


def events_about(gateway, event, replica):
    return [line for line in gateway.events(event) if line["address"] == replica.address]


# --- a name has addresses ----------------------------------------------------------------------------------------

def test_every_address_of_a_name_is_a_replica(names, new_replica, start_with):
    hosts = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    names.names["model"] = hosts
    replicas = [new_replica(host) for host in hosts]
    gateway = start_with("model").wait_ready()
    wait_replicas(gateway, ready=3)
    with Crowd(gateway) as crowd:
        crowd.wait_for(300)
    crowd.must_all_be_right()
    for replica in replicas:
        shown = gateway.replicas()[replica.address]
        assert shown["calls"] > 0 and shown["source"] == f"dns:model:{new_replica.port}", shown
        assert len(events_about(gateway, "replica_added", replica)) == 1
    metrics = gateway.metrics()
    assert metrics.sum("xebec_replicas") == metrics.sum("xebec_replicas_up") == 3
    assert metrics.sum("xebec_replica_states", state="ready") == 3
    assert metrics.sum("xebec_discovery_lookups_total", outcome="found") >= 1
    version = gateway.status()["models"][0]["versions"][0]
    assert version["discovery"] == [{"name": f"dns:model:{new_replica.port}", "last": "found", "why": "",
                                     "addresses": 3, "left_out": 0}]


def test_names_and_fixed_addresses_mix_and_what_two_of_them_lead_to_is_one_replica(names, new_replica, start_with):
    names.names.update(model=["127.0.0.2", "127.0.0.3"], other=["127.0.0.3", "127.0.0.4"])
    for host in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
        new_replica(host)
    gateway = start_with("model", "other", f"127.0.0.2:{new_replica.port}").wait_ready()
    wait_replicas(gateway, ready=3)
    names.names.update(model=[], other=["127.0.0.4"])  # .2 is fixed, and .3 has no reason left
    del names.names["model"]
    names.names["model"] = ["127.0.0.4"]
    wait_replicas(gateway, ready=2)
    assert sorted(gateway.replicas()) == [f"127.0.0.2:{new_replica.port}", f"127.0.0.4:{new_replica.port}"]
    assert gateway.predict(input=[1]).status == 200


def test_etc_hosts_counts(new_replica, start_gateway, names, tmp_path):
    new_replica("127.0.0.2"), new_replica("127.0.0.3")
    world = in_its_own_world(tmp_path, names.address, "127.0.0.2 elsewhere\n127.0.0.3 elsewhere\n")
    gateway = start_gateway(one_model([f"dns:elsewhere:{new_replica.port}"], outputs=ECHOED), world).wait_ready()
    wait_replicas(gateway, ready=2)


def test_of_a_name_with_both_families_the_ipv4_addresses_count(names, new_replica, start_with):
    names.names["model"] = ["::1", "127.0.0.2"]
    replica = new_replica("127.0.0.2")
    gateway = start_with("model").wait_ready()
    assert list(gateway.replicas()) == [replica.address]


def test_more_addresses_than_a_version_may_have(names, new_replica, start_with):
    names.names["model"] = [f"127.1.{i // 200}.{i % 200 + 1}" for i in range(299)] + ["127.0.0.2"]
    new_replica("127.0.0.2")
    gateway = start_with("model").wait_ready()  # which it would not be without DNS over TCP
    wait_until(lambda: len(gateway.replicas()) == 256, lambda: f"256: {len(gateway.replicas())}")
    gateway.wait_metric(44, "xebec_replicas_left_out")
    wait_until(lambda: gateway.events("replicas_left_out"), "the line that says so")
    assert gateway.predict(input=[1]).json()["output"] == [1]
    names.names["model"] = ["127.0.0.2"]
    wait_replicas(gateway, ready=1)
    gateway.wait_metric(0, "xebec_replicas_left_out")


# --- scaling ------------------------------------------------------------------------------------------------------

def test_scaling_up_and_down_under_load_loses_nothing(names, new_replica, start_with):
    names.names["model"] = ["127.0.0.2"]
    new_replica("127.0.0.2", slow=True)
    gateway = start_with("model").wait_ready()
    with Crowd(gateway) as crowd:
        crowd.wait_for(50)
        late = [new_replica(host, slow=True) for host in ("127.0.0.3", "127.0.0.4")]
        names.names["model"] = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
        for replica in late:
            wait_until(lambda r=replica: gateway.replicas().get(r.address, {}).get("calls"), "calls to a new replica")
        crowd.wait_for(100)
        names.names["model"] = ["127.0.0.4"]  # two leave with calls in flight
        wait_replicas(gateway, ready=1)
        crowd.wait_for(100)
    crowd.must_all_be_right()
    assert len(events_about(gateway, "replica_leaving", late[0])) == 1
    assert gateway.metrics().sum("xebec_retries_total") == 0, "calls in flight finish where they are"
    assert gateway.metrics().sum("xebec_replicas") == 1


@pytest.mark.parametrize("slow", [True, False], ids=["python", "c"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
@pytest.mark.parametrize("calls", [2, 32])
def test_a_replica_that_ends_under_load_loses_nothing(names, new_replica, start_with, slow, number, calls):
    hosts = ["127.0.0.2", "127.0.0.3"]
    names.names["model"] = hosts
    first, second = (new_replica(host, slow=slow) for host in hosts)
    gateway = start_with("model", model={"batching": {"policy": "none", "calls": calls}}).wait_ready()
    wait_replicas(gateway, ready=2)
    with Crowd(gateway, clients=24) as crowd:
        crowd.wait_for(200)
        first.end(number)
        crowd.wait_for(200)
        names.names["model"] = hosts[1:]
        wait_replicas(gateway, ready=1)
        again = new_replica(hosts[0], slow=slow)
        names.names["model"] = hosts
        wait_replicas(gateway, ready=2)
        crowd.wait_for(200)
        second.end(number)
        crowd.wait_for(200)
    crowd.must_all_be_right()
    assert gateway.replicas()[again.address]["calls"] > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_the_only_replica_is_replaced_under_load_and_nothing_is_lost(names, new_replica, start_with, number):
    names.names["model"] = ["127.0.0.2"]
    old = new_replica("127.0.0.2", slow=True)
    gateway = start_with("model").wait_ready()
    with Crowd(gateway) as crowd:
        crowd.wait_for(100)
        del names.names["model"]  # as a container engine does: first it is not there any more
        old.end(number)
        wait_replicas(gateway)
        new_replica("127.0.0.3", slow=True)
        names.names["model"] = ["127.0.0.3"]
        crowd.wait_for(100)
    crowd.must_all_be_right()


@pytest.mark.parametrize("transport", ["nghttp2", "grpc"])
def test_a_host_that_vanishes_without_a_word_loses_nothing(names, new_replica, start_with, transport):
    """No reset, no goodbye: what was sent there is not acknowledged, and goes elsewhere before the objective is missed."""
    if why := why_nowhere():
        pytest.skip(why)
    with Elsewhere() as host:
        hosts = ["127.0.0.2", host.address]
        near, far = new_replica(hosts[0], slow=True), new_replica(hosts[1], slow=True, command=host.command)
        names.names["model"] = hosts
        gateway = start_with("model", slo="20s", transport=transport).wait_ready()
        wait_replicas(gateway, ready=2)
        with Crowd(gateway) as crowd:
            crowd.wait_for(100)
            host.vanish()
            gateway.wait_replica(far.address, "down", "connecting")
            crowd.wait_for(100)
        crowd.must_all_be_right()
        assert gateway.replicas()[near.address]["state"] == "ready"


# --- names that fail ------------------------------------------------------------------------------------------------

def test_no_such_name_closes_only_who_is_not_ready(names, new_replica, start_with):
    names.names["model"] = ["127.0.0.2", "127.0.0.3"]
    new_replica("127.0.0.2")
    gateway = start_with("model").wait_ready()
    wait_until(lambda: len(gateway.replicas()) == 2, "both to be known")
    del names.names["model"]
    wait_replicas(gateway, ready=1)
    gateway.wait_metric(1, "xebec_replicas")
    lookups = gateway.metrics().sum("xebec_discovery_lookups_total", outcome="no_such_name")
    wait_until(lambda: gateway.metrics().sum("xebec_discovery_lookups_total", outcome="no_such_name") > lookups + 2,
               "it to be asked again")
    wait_replicas(gateway, ready=1)
    assert len(gateway.events("discovery_failed")) == 1
    names.names["model"] = ["127.0.0.2"]
    wait_until(lambda: gateway.events("discovery_recovered"), "the name to be found again")


def test_a_name_that_appears_late(names, new_replica, start_with):
    gateway = start_with("model")
    wait_until(lambda: gateway.events("discovery_failed"), "the name to be missed")
    assert gateway.ask_admin("/health/ready").status == 503
    new_replica("127.0.0.2")
    names.names["model"] = ["127.0.0.2"]
    gateway.wait_ready()
    assert gateway.predict(input=[1]).status == 200


@pytest.mark.parametrize("mode", ["servfail", "silent"])
def test_a_name_server_that_fails_changes_nothing(names, new_replica, start_with, mode):
    names.names["model"] = ["127.0.0.2", "127.0.0.3"]
    dead, well = new_replica("127.0.0.2"), new_replica("127.0.0.3")
    gateway = start_with("model").wait_ready()
    wait_replicas(gateway, ready=2)
    with Crowd(gateway, clients=4) as crowd:
        names.mode = mode
        wait_until(lambda: gateway.metrics().sum("xebec_discovery_lookups_total", outcome="failed") >= 2,
                   "two questions in vain")
        crowd.wait_for(100)
        wait_replicas(gateway, ready=2)
        dead.end(signal.SIGKILL)  # and it is not forgotten, for it may come back
        gateway.wait_replica(dead.address, "down", "connecting")
        names.mode = "answer"
        names.names["model"] = ["127.0.0.3"]
        wait_replicas(gateway, ready=1)
        crowd.wait_for(100)
    crowd.must_all_be_right()
    wait_until(lambda: gateway.events("discovery_failed") and gateway.events("discovery_recovered"), "both lines")
    assert list(gateway.replicas()) == [well.address]


# --- nobody is ready: spill, wait, fail ---------------------------------------------------------------------------------

def with_split(weights, when_unready=None, **changes):
    """Versions v1, v2, ... and an endpoint split among them."""
    def config(port):
        document = one_model([f"127.0.0.2:{port}"], outputs=ECHOED, **changes)
        document["models"]["m"]["versions"] = {
            f"v{i + 1}": {"replicas": [f"127.0.0.{i + 2}:{port}"]} for i in range(len(weights))}
        endpoint = document["endpoints"]["e"]
        del endpoint["model"]
        endpoint["split"] = [{"model": f"m@v{i + 1}", "weight": weight} for i, weight in enumerate(weights)]
        if when_unready:
            endpoint["when_unready"] = when_unready
        return document
    return config


def start_split(new_replica, start_gateway, weights, *up, **changes):
    gateway = start_gateway(with_split(weights, **changes)(new_replica.port))
    replicas = {version: new_replica(f"127.0.0.{int(version[1:]) + 1}", version=version) for version in up}
    for version in up:
        wait_replicas(gateway, version, ready=1)
    return gateway, replicas


def test_requests_spill_by_the_weights_of_the_arms_that_are_ready(new_replica, start_gateway):
    gateway, _ = start_split(new_replica, start_gateway, [60, 30, 10, 0], "v2", "v3", "v4")
    with gateway.connect() as client:
        replies = [client.predict(input=[number]) for number in range(600)]
    assert {reply.status for reply in replies} == {200}
    answered = collections.Counter(reply.json()["model"] for reply in replies)
    assert set(answered) == {"m@v2", "m@v3"}, "an arm of weight 0 gets nothing"
    assert 0.6 < answered["m@v2"] / 600 < 0.9, answered  # 75 %
    spilled = gateway.metrics().sum("xebec_spilled_total", endpoint="e", version="m@v1")
    assert 250 < spilled < 470, spilled  # 60 %
    assert gateway.metrics().sum("xebec_requests_total", version="m@v1") == 0, "counted where they were answered"


def test_an_arm_that_dies_under_load_costs_no_answer(new_replica, start_gateway):
    gateway, replicas = start_split(new_replica, start_gateway, [50, 50], "v1", "v2", slo="10s")
    with Crowd(gateway) as crowd:
        crowd.wait_for(500)
        replicas["v1"].end(signal.SIGKILL)
        crowd.wait_for(500)
        new_replica("127.0.0.2", version="v1")
        wait_replicas(gateway, "v1", ready=1)
        crowd.wait_for(500)
        replicas["v2"].end(signal.SIGTERM)
        crowd.wait_for(500)
    crowd.must_all_be_right()
    assert gateway.metrics().sum("xebec_spilled_total", version="m@v1") > 0


def test_a_version_asked_for_by_name_is_not_exchanged(new_replica, start_gateway):
    gateway, _ = start_split(new_replica, start_gateway, [50, 50], "v2", slo="300ms")
    reply = gateway.predict(input=[1], version="v1")
    assert (reply.status, reply.json()["cause"]) == (503, "no_replica")
    assert gateway.predict(input=[1], version="v2").status == 200


@pytest.mark.parametrize("when_unready", ["spill", "wait"])
def test_rows_wait_for_a_replica_until_the_slo_is_over(new_replica, start_gateway, when_unready):
    gateway, _ = start_split(new_replica, start_gateway, [50, 0], "v2", slo="300ms", when_unready=when_unready)
    start = time.monotonic()
    reply = gateway.predict(input=[1])
    assert (reply.status, reply.json()["cause"]) == (503, "no_replica")
    assert time.monotonic() - start >= 0.3
    assert "retry-after" in reply.headers


def test_rows_that_wait_are_answered_by_the_replica_that_comes(new_replica, start_gateway):
    gateway, _ = start_split(new_replica, start_gateway, [50, 50], slo="20s")
    with Crowd(gateway, clients=4) as crowd:
        gateway.wait_metric(4, "xebec_queue_rows")
        new_replica("127.0.0.2", version="v1")
        new_replica("127.0.0.3", version="v2")
        crowd.wait_for(20)
    crowd.must_all_be_right()


@pytest.mark.parametrize("when_unready", ["spill", "fail"])
def test_rows_that_wait_for_a_replica_hold_up_nobody_who_asks_for_the_same(new_replica, start_gateway, when_unready):
    """Identical rows are computed once; but not when that means to wait for a replica, and who asks would rather not."""
    def config(port):
        document = with_split([99, 1], when_unready, slo="60s", cache={"memory": "1MiB"})(port)
        document["endpoints"]["patient"] = {"model": "m@v1", "slo": "60s", "when_unready": "wait"}
        return document
    gateway = start_gateway(config(new_replica.port))
    lost, _ = (new_replica(f"127.0.0.{number + 1}", version=f"v{number}") for number in (1, 2))
    for version in ("v1", "v2"):
        wait_replicas(gateway, version, ready=1)  # rows of a version that was never there are not cached
    lost.end(signal.SIGKILL)
    wait_until(lambda: gateway.replicas("v1")[lost.address]["state"] in ("down", "connecting"), "v1 to be missed")
    rows = [[number] for number in range(20)]
    waiting = [gateway.connect() for _ in rows]
    try:
        for client, row in zip(waiting, rows):
            client.send(encode_request("POST", "/patient/predict", {"input": row}))
        gateway.wait_metric(len(rows), "xebec_queue_rows", version="m@v1")
        with gateway.connect() as client:
            replies = [client.predict(input=row) for row in rows]
        answers = [(reply.status, reply.json().get("model")) for reply in replies]
        if when_unready == "spill":
            assert set(answers) == {(200, "m@v2")}, answers
        else:
            assert (503, None) in answers and {status for status, _ in answers} <= {200, 503}, answers
        new_replica(lost.host)
        assert [client.read_reply().json()["output"] for client in waiting] == rows
    finally:
        for client in waiting:
            client.close()


def test_fail_fails_at_once(new_replica, start_gateway):
    gateway, _ = start_split(new_replica, start_gateway, [100, 0], "v2", slo="60s", when_unready="fail")
    start = time.monotonic()
    reply = gateway.predict(input=[1])
    assert (reply.status, reply.json()["cause"]) == (503, "no_replica")
    assert time.monotonic() - start < 30
    assert gateway.metrics().sum("xebec_spilled_total") == 0


# --- everything at once ---------------------------------------------------------------------------------------------------

def test_a_turbulent_deployment_loses_nothing(names, new_replica, start_with):
    """Replicas come, leave, are stopped and die at random, but one is always there. Seeded, as far as time allows."""
    dice = random.Random(7)
    hosts = [f"127.0.0.{number}" for number in range(2, 7)]
    running = {hosts[0]: new_replica(hosts[0])}
    names.names["model"] = hosts[:1]
    gateway = start_with("model").wait_ready()
    with Crowd(gateway) as crowd:
        for _ in range(25):
            ready = [host for host in running
                     if gateway.replicas().get(running[host].address, {}).get("state") == "ready"]
            host = dice.choice(hosts)
            if host not in running:
                running[host] = new_replica(host)
            elif len(set(ready) - {host}) >= 1:
                if dice.random() < 0.5:
                    names.names["model"] = [other for other in running if other != host]
                running.pop(host).end(dice.choice([signal.SIGTERM, signal.SIGKILL]))
            names.names["model"] = list(running)
            crowd.wait_for(50)
            wait_until(lambda: any(each["state"] == "ready" for each in gateway.replicas().values()), "one to be ready")
    crowd.must_all_be_right()
