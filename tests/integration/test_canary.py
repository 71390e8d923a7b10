"""A canary with real replicas under load: bad ones go back, good ones take over, and every answer is accounted for."""
import collections
import threading

import pytest
from xebec_testing import REPOSITORY
from xebec_testing.gateway import one_model
from xebec_testing.http_client import ask_once
from xebec_testing.patience import wait_until

PHASES = ("running", "paused", "promoted", "rolled_back", "stopped")


@pytest.fixture
def two(new_puppet):
    return new_puppet(), new_puppet(version="v2")


def canary_config(two, canary=None, endpoint=None, **top):
    config = one_model([two[0].unix], **top)
    config["models"]["m"]["versions"]["v2"] = {"replicas": [two[1].unix]}
    config["endpoints"]["e"] = {
        "slo": "30s",
        "canary": {"baseline": "m@v1", "candidate": "m@v2", "steps": ["20%", "50%", "100%"], "dwell": "1s",
                   "min_requests": 20, "gates": {"errors": "10%", "latency": False}, **(canary or {})},
        **(endpoint or {})}
    return config


class Load:
    """Clients that ask all the time, and count how each arm answered."""

    def __init__(self, gateway, threads=4):
        self.gateway, self.answers, self.lock, self.over = gateway, collections.Counter(), threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def _ask(self):
        count = 0
        with self.gateway.connect() as client:
            while not self.over.is_set():
                reply = client.predict(input=[count % 5])
                count += 1
                arm = reply.headers.get("x-xebec-arm")
                assert arm == reply.headers.get("x-xebec-version"), reply
                with self.lock:
                    self.answers[arm, reply.status] += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


def show(gateway):
    reply = gateway.ask_admin("/rollouts/e")
    assert reply.status == 200, reply
    return reply.json()["canary"]


def wait_phase(gateway, phase):
    wait_until(lambda: show(gateway)["phase"] == phase, lambda: f"{phase}: {show(gateway)}")
    return show(gateway)


def expect_counted(gateway, answers):
    """What the gateway says of each arm is what clients saw."""
    for (arm, status), count in answers.items():
        cause = {200: "ok", 500: "model_error", 502: "replica_contract", 503: "no_replica"}[status]
        gateway.wait_metric(count, "xebec_arm_requests_total", endpoint="e", arm=arm, outcome=cause)
    assert gateway.metrics().sum("xebec_arm_requests_total") == sum(answers.values())


def expect_all_at(gateway, arm):
    with gateway.connect() as client:
        assert {client.predict(input=[1]).headers["x-xebec-arm"] for _ in range(50)} == {arm}
    gateway.wait_metric(10000, "xebec_arm_buckets", endpoint="e", arm=arm)


def test_a_good_candidate_takes_over_and_keeps_it_over_a_restart(two, start_gateway, tmp_path):
    config = canary_config(two, state_dir=str(tmp_path))
    gateway = start_gateway(config).wait_ready()
    with Load(gateway) as load:
        canary = wait_phase(gateway, "promoted")
    assert {status for _, status in load.answers} == {200} and canary["weight"] == 1, (load.answers, canary)
    assert load.answers["m@v1", 200] and load.answers["m@v2", 200]
    expect_counted(gateway, load.answers)
    expect_all_at(gateway, "m@v2")
    for phase in PHASES:
        gateway.wait_metric(phase == "promoted", "xebec_canary_phase", endpoint="e", phase=phase)
    gateway.stop()
    again = start_gateway(config).wait_ready()
    assert show(again)["phase"] == "promoted"
    expect_all_at(again, "m@v2")


def test_one_that_raises_for_a_fifth_of_the_rows_goes_back(two, start_gateway):
    two[1].play(version="v2", mode="raise_rows", bad=0)
    gateway = start_gateway(canary_config(two)).wait_ready()
    with Load(gateway) as load:
        canary = wait_phase(gateway, "rolled_back")
        before = load.answers["m@v1", 200]
        wait_until(lambda: load.answers["m@v1", 200] > before + 200, "the baseline to serve on")
    assert canary["weight"] == 0 and canary["why"].startswith("errors: "), canary
    assert {answer for answer in load.answers if answer[1] != 200} == {("m@v2", 500)}, load.answers
    expect_counted(gateway, load.answers)
    expect_all_at(gateway, "m@v1")


@pytest.mark.parametrize("mode, words", [("wrong_rows", "broke its contract"), ("die_mid_call", "lost with calls in flight")])
def test_what_cannot_be_right_stops_it_at_once(mode, words, two, start_gateway):
    two[1].play(version="v2", mode=mode)
    gateway = start_gateway(canary_config(two, {"dwell": "1h"})).wait_ready()
    with Load(gateway) as load:
        canary = wait_phase(gateway, "rolled_back")
    assert canary["why"].startswith("hard stop: ") and words in canary["why"], canary
    assert {arm for arm, status in load.answers if status != 200} <= {"m@v2"}, load.answers
    expect_counted(gateway, load.answers)
    expect_all_at(gateway, "m@v1")


def test_a_slow_one_goes_back(two, start_gateway):
    two[0].play(delay_ms=2)
    two[1].play(version="v2", delay_ms=40)
    gates = {"errors": "10%", "latency": {"quantile": "50%", "slower": "100%"}}
    gateway = start_gateway(canary_config(two, {"dwell": "1h", "gates": gates})).wait_ready()
    with Load(gateway) as load:
        canary = wait_phase(gateway, "rolled_back")
    assert canary["why"].startswith("latency: "), canary
    assert {status for _, status in load.answers} == {200}, load.answers


def test_it_waits_for_its_candidate(two, start_gateway):
    two[1].play(version="v2", serving=False)
    gateway = start_gateway(canary_config(two))
    gateway.wait_replica(two[0].unix, "ready")
    with Load(gateway) as load:
        wait_until(lambda: load.answers["m@v1", 200] > 300, "the baseline to serve")
        canary = show(gateway)
        assert canary["weight"] == 0 and "a ready replica" in canary["waits_for"], canary
        assert ("m@v2", 200) not in load.answers
        two[1].play(version="v2")
        wait_phase(gateway, "promoted")
    assert {status for _, status in load.answers} == {200}, load.answers


def test_people_pause_it_resume_it_and_take_it_back(two, start_gateway):
    gateway = start_gateway(canary_config(two)).wait_ready()

    def order(what):
        reply = ask_once(gateway.admin, "POST", f"/rollouts/e/{what}", {"why": "a test"})
        assert reply.status == 200, reply
    with Load(gateway) as load:
        wait_until(lambda: load.answers["m@v2", 200], "the candidate to be asked")
        order("pause")
        paused = wait_phase(gateway, "paused")
        seen = load.answers["m@v2", 200]
        wait_until(lambda: load.answers["m@v2", 200] > seen + 50, "the candidate to keep its share")
        assert show(gateway)["weight"] == paused["weight"] > 0
        order("resume")
        wait_phase(gateway, "promoted")
        order("rollback")
        wait_phase(gateway, "rolled_back")
    assert {status for _, status in load.answers} == {200}, load.answers
    expect_counted(gateway, load.answers)
    expect_all_at(gateway, "m@v1")


def test_the_sample_is_one(two, start_gateway, tmp_path):
    """configs/canary.yaml, with the test's replicas and a dwell that a test can wait for."""
    text = (REPOSITORY / "configs/canary.yaml").read_text()
    spec = {"inputs": {"pixels": ["FP32", [-1, 64]]}, "outputs": {"label": ["INT64", [-1]]}, "model": "digits"}
    for puppet, version in zip(two, ("linear", "forest")):
        puppet.play(version=version, mode="raise_all", **spec)
        text = text.replace(f"unix:/tmp/xebec/digits-{version}.sock", puppet.unix)
    two[1].play(version="forest", mode="garbage_bytes", **spec)
    changes = {"127.0.0.1:8080": "127.0.0.1:0", "127.0.0.1:8081": "127.0.0.1:0", "/var/lib/xebec": str(tmp_path),
               "[1%, 5%, 25%, 50%, 100%]": "[50%, 100%]"}
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    gateway = start_gateway(text).wait_ready()
    with gateway.connect() as client:
        wait_until(lambda: client.predict("digits", input=[0] * 64).status == 200 and
                   ask_once(gateway.admin, "GET", "/rollouts/digits").json()["canary"]["phase"] == "rolled_back",
                   "what breaks its contract to go back")
        assert {client.predict("digits", input=[0] * 64).headers["x-xebec-arm"] for _ in range(20)} == {"digits@linear"}
