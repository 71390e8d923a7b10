"""Rollouts are changed while the gateway runs: by hand, by other gateways. No request is lost, none goes astray, and all is kept."""
import json
import os
import pty
import random
import re
import socket
import subprocess
import threading
import time

import pytest
from xebec_testing.gateway import BINARY, one_model, run_xebec
from xebec_testing.http_client import ask_once
from xebec_testing.patience import wait_until
from xebec_testing.redis_server import RedisServer

BUSY = bool(os.environ.get("XEBEC_SANITIZE"))


@pytest.fixture
def two(new_puppet):
    return new_puppet(), new_puppet(version="v2")


@pytest.fixture
def redis(tmp_path):
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis").start()
    yield server
    server.kill()


def split_config(two, weights=(90, 10), **changes):
    config = one_model([two[0].unix], **changes)
    config["models"]["m"]["versions"]["v2"] = {"replicas": [two[1].unix]}
    config["endpoints"]["e"] = {"slo": "30s", "sticky": {"header": "u"},
                                "split": [{"model": f"m@v{i + 1}", "weight": weight} for i, weight in enumerate(weights)]}
    return config


def post(gateway, path, body=None, headers=()):
    return ask_once(gateway.admin, "POST", path, body, headers)


def set_weights(gateway, *weights, **words):
    reply = post(gateway, "/rollouts/e/set", {"weights": {f"m@v{i + 1}": w for i, w in enumerate(weights)}, **words})
    assert reply.status == 200, reply
    return reply.json()


def show(gateway, endpoint="e"):
    reply = gateway.ask_admin(f"/rollouts/{endpoint}")
    assert reply.status == 200, reply
    return reply.json()


def weights_of(gateway):
    return [arm["weight"] for arm in show(gateway)["arms"]]


def wait_weights(gateway, *weights):
    wait_until(lambda: weights_of(gateway) == list(weights), lambda: f"{weights}: {show(gateway)}")


def rewrite(gateway, config):
    fresh = gateway.config_path.with_suffix(".new")
    fresh.write_text(config if isinstance(config, str) else json.dumps(config))
    fresh.rename(gateway.config_path)


def reload(gateway, config):
    rewrite(gateway, config)
    reply = post(gateway, "/reload")
    assert reply.status == 200, reply


def arms_of(gateway, users):
    """{user: arm}; the header, the answering model and its version agree."""
    arms = {}
    with gateway.connect() as client:
        for user in users:
            reply = client.predict(headers=[f"u: {user}"], input=[1])
            assert reply.status == 200 and reply.headers["x-xebec-version"] == reply.json()["model"], reply
            arms[user] = reply.headers["x-xebec-arm"]
    return arms


USERS = [f"user-{number}" for number in range(100)]


# --- by hand ---------------------------------------------------------------------------------------------------


def test_weights_are_set_and_the_log_says_who_what_and_why(two, start_gateway):
    gateway = start_gateway(split_config(two)).wait_ready()
    assert show(gateway)["source"] == "file" and show(gateway)["changed"] is None
    said = set_weights(gateway, 0, 1, who="ada", why="v2 is better")
    assert said == show(gateway) and said["source"] == "set"
    assert [(arm["name"], arm["weight"], arm["file"], arm["buckets"], arm["ready"]) for arm in said["arms"]] == [
        ("m@v1", 0, 90, 0, True), ("m@v2", 1, 10, 10000, True)]
    assert said["kept"] is None and said["shared"] is None, "there is no state_dir, and no Redis"
    assert set(arms_of(gateway, USERS).values()) == {"m@v2"}
    line, = gateway.events("rollout_changed")
    assert (line["endpoint"], line["action"], line["who"], line["why"]) == ("e", "set", "ada (127.0.0.1)", "v2 is better")
    assert (line["before"], line["after"]) == ("m@v1=90 m@v2=10", "m@v1=0 m@v2=1")
    assert line["version"] == said["changed"]["version"] and said["changed"]["who"] == "ada (127.0.0.1)"
    assert post(gateway, "/rollouts/e/reset").json()["source"] == "file"
    assert weights_of(gateway) == [90, 10]
    assert gateway.events("rollout_changed")[1]["after"] == "m@v1=90 m@v2=10"


def test_arms_that_are_not_named_keep_their_weight(two, start_gateway):
    gateway = start_gateway(split_config(two)).wait_ready()
    assert post(gateway, "/rollouts/e/set", {"weights": {"m@v2": 0.5}}).status == 200
    assert weights_of(gateway) == [90, 0.5]


@pytest.mark.parametrize("body, words", [
    (None, "needs weights"), ({"weights": {}}, "needs weights"), ({"weights": [1]}, "needs weights"),
    ({"weights": {"m@v3": 1}}, "endpoint e has: m@v1, m@v2"), ({"weights": {"m@v1": -1}}, "0 to 1000000"),
    ({"weights": {"m@v1": "7"}}, "0 to 1000000"), ({"weights": {"m@v1": 1e300}}, "0 to 1000000"),
    ({"weights": {"m@v1": 0, "m@v2": 0}}, "all weights would be 0"), (b"\xff\xfe{", "cannot be read"), (b"[" * 5000, "cannot be read"),
    (b'{"weights": {"m@v1": 1', "cannot be read"), (b'{"weights": {"m@v1": 1, "m@v1": 2}}', "cannot be read"),
])
def test_nonsense_changes_nothing(body, words, two, start_gateway):
    gateway = start_gateway(split_config(two)).wait_ready()
    reply = post(gateway, "/rollouts/e/set", body)
    assert reply.status == 400 and words in reply.json()["error"], reply
    assert weights_of(gateway) == [90, 10] and not gateway.events("rollout_changed")


def test_paths_and_methods(two, start_gateway):
    gateway = start_gateway(split_config(two)).wait_ready()
    assert [each["endpoint"] for each in gateway.ask_admin("/rollouts").json()["rollouts"]] == ["e"]
    assert gateway.ask_admin("/rollouts/f").status == 404
    assert gateway.ask_admin("/rolloutsx").status == 404
    assert gateway.ask_admin("/rollouts/e/set").status == 405
    assert post(gateway, "/rollouts/e").status == 405
    assert post(gateway, "/rollouts/e/sett", {}).status == 404
    assert post(gateway, "/rollouts/f/set", {"weights": {"m@v1": 1}}).status == 404


def test_changes_need_the_token_and_no_web_page(two, start_gateway, tmp_path):
    (tmp_path / "token").write_text("correct horse\n")
    gateway = start_gateway(split_config(two, admin_token_file=str(tmp_path / "token"))).wait_ready()
    body = {"weights": {"m@v2": 1}}
    assert post(gateway, "/rollouts/e/set", body).status == 401
    assert post(gateway, "/rollouts/e/set", body, ["Authorization: Bearer wrong"]).status == 401
    assert not gateway.events("rollout_changed") and show(gateway)["source"] == "file"
    assert post(gateway, "/rollouts/e/set", body, ["Authorization: Bearer correct horse"]).status == 200
    assert post(start_gateway(split_config(two)), "/rollouts/e/set", body, ["Origin: http://evil.example"]).status == 401


def test_weights_change_while_a_reload_waits_for_a_new_version(two, new_puppet, start_gateway):
    gateway = start_gateway(split_config(two)).wait_ready()
    config = split_config(two)
    config["models"]["m"]["versions"]["v3"] = {"replicas": ["unix:/nowhere/at/all.sock"]}
    rewrite(gateway, config)
    answers = []
    reloading = threading.Thread(target=lambda: answers.append(post(gateway, "/reload")))
    reloading.start()
    wait_until(lambda: gateway.metrics().sum("xebec_replicas", version="m@v3") == 1, "the new version to be warmed up")
    set_weights(gateway, 0, 1)
    assert reloading.is_alive() and set(arms_of(gateway, USERS).values()) == {"m@v2"}, "in force before the reload is done"
    reloading.join()
    assert answers[0].json() == {"reloaded": True, "without_replica": ["m@v3"]}
    assert weights_of(gateway) == [0, 1] and set(arms_of(gateway, USERS).values()) == {"m@v2"}, "and after it"


# --- the file, and what was set -----------------------------------------------------------------------------------


def test_what_was_set_stays_until_the_file_says_otherwise(two, start_gateway):
    gateway = start_gateway(split_config(two)).wait_ready()
    set_weights(gateway, 20, 80)
    reload(gateway, split_config(two, watch=True))
    assert weights_of(gateway) == [20, 80], "something else in the file changed"
    reload(gateway, split_config(two, (90, 10, 0)[:2]))
    assert weights_of(gateway) == [20, 80]
    reload(gateway, split_config(two, (70, 30)))
    assert weights_of(gateway) == [70, 30], "the file wins"
    wait_until(lambda: gateway.events("rollout_dropped"), "a line in the log")
    reload(gateway, split_config(two))
    assert weights_of(gateway) == [90, 10], "it does not come back with the file of then"


def test_an_arm_that_joins_with_nothing_changes_nothing_and_one_that_leaves_drops(two, start_gateway, new_puppet):
    third = new_puppet(version="v3")
    gateway = start_gateway(split_config(two)).wait_ready()
    set_weights(gateway, 20, 80)
    more = split_config(two)
    more["models"]["m"]["versions"]["v3"] = {"replicas": [third.unix]}
    more["endpoints"]["e"]["split"].append({"model": "m@v3", "weight": 0})
    reload(gateway, more)
    assert weights_of(gateway) == [20, 80, 0]
    fewer = split_config(two)
    fewer["endpoints"]["e"]["split"].pop()
    reload(gateway, fewer)
    assert weights_of(gateway) == [90]
    wait_until(lambda: gateway.events("rollout_dropped"), "a line in the log")


# --- restarts -------------------------------------------------------------------------------------------------------


def state_file(folder):
    return folder / "rollouts"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


def test_a_change_survives_a_kill_at_once(two, start_gateway, folder):
    config = split_config(two, state_dir=str(folder))
    gateway = start_gateway(config).wait_ready()
    said = set_weights(gateway, 35, 65, who="ada")
    assert said["kept"] is True
    seen = arms_of(gateway, USERS)
    gateway.kill()
    gateway.ended = True
    assert state_file(folder).stat().st_mode & 0o777 == 0o600 and folder.stat().st_mode & 0o777 == 0o700
    again = start_gateway(config).wait_ready()
    assert weights_of(again) == [35, 65] and show(again)["changed"] == said["changed"]
    assert arms_of(again, USERS) == seen, "nobody changes sides over a restart"
    reload(again, {**config, "watch": True})
    assert arms_of(again, USERS) == seen, "nor over a reload"


def test_a_file_that_changed_while_the_gateway_was_down_wins(two, start_gateway, folder):
    gateway = start_gateway(split_config(two, state_dir=str(folder))).wait_ready()
    set_weights(gateway, 35, 65)
    gateway.stop()
    again = start_gateway(split_config(two, (80, 20), state_dir=str(folder))).wait_ready()
    assert weights_of(again) == [80, 20]
    wait_until(lambda: again.events("rollout_dropped"), "a line in the log")
    again.stop()
    assert weights_of(start_gateway(split_config(two, state_dir=str(folder)))) == [90, 10]


@pytest.mark.parametrize("harm", ["cut", "changed", "foreign", "empty"])
def test_a_state_of_no_use_is_set_aside_and_said(harm, two, start_gateway, folder):
    config = split_config(two, state_dir=str(folder))
    gateway = start_gateway(config).wait_ready()
    set_weights(gateway, 35, 65)
    gateway.stop()
    good = state_file(folder).read_bytes()
    bad = {"cut": good[:-20], "changed": good.replace(b"35", b"36"), "empty": b"",
           "foreign": good.replace(b"xebec-rollouts 1", b"xebec-rollouts 2")}[harm]
    state_file(folder).write_bytes(bad)
    again = start_gateway(config).wait_ready()
    assert weights_of(again) == [90, 10]
    line, = again.events("rollouts_set_aside")
    assert "rollouts.bad" in line["why"] and (harm != "foreign" or "another format" in line["why"]), line
    assert (folder / "rollouts.bad").read_bytes() == bad
    assert set_weights(again, 1, 1)["kept"] is True


def test_a_disk_that_refuses_holds_nothing_up(two, start_gateway, folder):
    config = split_config(two, state_dir=str(folder))
    gateway = start_gateway(config).wait_ready()
    blocker = folder / "rollouts.new"  # a folder where the file would be written: it can be made by root, too
    blocker.mkdir()
    assert set_weights(gateway, 0, 1)["kept"] is False
    assert set(arms_of(gateway, USERS).values()) == {"m@v2"}, "in force all the same"
    assert len(gateway.events("rollouts_not_kept")) == 1
    blocker.rmdir()
    wait_until(lambda: show(gateway)["kept"], "it to be tried again")
    gateway.kill()
    gateway.ended = True
    assert weights_of(start_gateway(config)) == [0, 1]


def test_a_folder_that_cannot_be_made_is_told_at_the_start(two, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(split_config(two, state_dir=str(tmp_path / "a" / "b"))))
    done = run_xebec("serve", "--config", path)
    assert done.returncode == 1 and "cannot be made" in done.stderr, done


# --- several gateways ---------------------------------------------------------------------------------------------


def shared_config(two, redis, weights=(90, 10), **changes):
    timeout = {"connect": "1s", "command": "1s"}
    return split_config(two, weights, cache={"memory": 0, "redis": {"url": redis.url, "timeout": timeout}}, **changes)


def shared_ready(gateway):
    gateway.wait_ready()
    wait_until(lambda: {"rollouts"} <= {line.get("use") for line in gateway.events("redis_up")} or
               gateway.metrics().sum("xebec_redis_breakers", use="rollouts", state="closed") == 1, "Redis")
    return gateway


@pytest.fixture
def pair(two, redis, start_gateway):
    return [shared_ready(start_gateway(shared_config(two, redis))) for _ in range(2)]


def test_two_gateways_go_by_one_state(pair, redis, two, start_gateway):
    one, other = pair
    said = set_weights(one, 35, 65, who="ada", why="more")
    wait_until(lambda: show(one)["shared"], "Redis to have it")
    wait_weights(other, 35, 65)
    assert show(other)["changed"] == said["changed"], "who, when and why are the same"
    line = wait_until(lambda: other.events("rollout_changed"), "a line in the log")[0]
    assert (line["action"], line["who"], line["before"]) == ("adopted", "ada (127.0.0.1)", "m@v1=90 m@v2=10")
    assert arms_of(one, USERS) == arms_of(other, USERS), "the same client, the same arm"
    set_weights(other, 10, 90)
    wait_weights(one, 10, 90)
    third = shared_ready(start_gateway(shared_config(two, redis)))
    wait_weights(third, 10, 90)
    assert arms_of(third, USERS) == arms_of(one, USERS)
    assert post(third, "/rollouts/e/reset").status == 200
    wait_weights(one, 90, 10)
    wait_weights(other, 90, 10)


def test_without_redis_a_change_counts_where_it_was_made_and_the_later_one_wins(pair, redis):
    one, other = pair
    set_weights(one, 50, 50)
    wait_weights(other, 50, 50)
    redis.kill()
    for gateway in pair:
        wait_until(lambda: not gateway.metrics().sum("xebec_redis_breakers", use="rollouts", state="closed"), "it to be missed")
    assert set_weights(one, 1, 99)["shared"] is False
    time.sleep(0.01)
    assert set_weights(other, 2, 98)["shared"] is False
    assert weights_of(one) == [1, 99] and weights_of(other) == [2, 98]
    redis.start()
    wait_weights(one, 2, 98)
    wait_until(lambda: show(one)["shared"] and show(other)["shared"], "both to agree")
    assert weights_of(other) == [2, 98]


def test_a_redis_that_lost_everything_is_told_again(pair, redis):
    one, other = pair
    set_weights(one, 50, 50)
    wait_weights(other, 50, 50)
    assert redis.ask("FLUSHALL") == "OK"
    wait_until(lambda: redis.ask("GET", "xebec:rollouts:1:e"), "the record to be back")
    assert weights_of(one) == weights_of(other) == [50, 50]


@pytest.mark.parametrize("value", [b"", b"nonsense", b"9" * 33 + b"\n{", b"9" * 16 + b" " + b"f" * 16 + b'\n{"endpoint": "e"}'])
def test_a_record_that_is_none_is_left_alone(value, pair, redis):
    one, _ = pair
    redis.ask("SET", "xebec:rollouts:1:e", value)
    wait_until(lambda: one.events("rollout_not_understood"), "it to be noticed")
    assert weights_of(one) == [90, 10]
    set_weights(one, 3, 4)
    assert weights_of(one) == [3, 4]


def test_a_record_counts_only_where_the_file_is_the_one_it_was_made_for(two, redis, start_gateway):
    """A new configuration reaches one gateway before the other."""
    one = shared_ready(start_gateway(shared_config(two, redis, (50, 50))))
    other = shared_ready(start_gateway(shared_config(two, redis)))
    set_weights(one, 30, 70)
    wait_until(lambda: show(other)["changed"], "it to be heard")
    assert weights_of(other) == [90, 10], "its file is another"
    reload(other, shared_config(two, redis, (50, 50)))
    assert weights_of(other) == [30, 70]


# --- canaries -------------------------------------------------------------------------------------------------------


def canary_config(two, steps=("50%", "100%"), dwell="200ms", **changes):
    config = split_config(two, **changes)
    config["endpoints"]["e"] = {"slo": "30s", "canary": {
        "baseline": "m@v1", "candidate": "m@v2", "steps": list(steps), "dwell": dwell, "min_requests": 20,
        "gates": {"errors": "40%", "latency": "off"}}}
    return re.sub(r'"(\d+%|off)"', r"\1", json.dumps(config, indent=1))  # these are not quoted in YAML


def canary_of(gateway):
    return show(gateway)["canary"]


def wait_phase(gateway, phase):
    wait_until(lambda: (canary_of(gateway) or {}).get("phase") == phase, lambda: f"{phase}: {show(gateway)}", 60)


class Traffic:
    """Requests of nobody in particular, for as long as a canary takes; errors are its business."""

    def __init__(self, *gateways):
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(gateway,)) for gateway in gateways]

    def _ask(self, gateway):
        with gateway.connect() as client:
            while not self.stop.is_set():
                client.predict(input=[random.random()])  # answers from a cache say nothing of a version

    def __enter__(self):
        for thread in self.threads:
            thread.start()

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def test_a_good_candidate_takes_over_step_by_step(two, start_gateway):
    gateway = start_gateway(canary_config(two, steps=["10%", "50%", "100%"])).wait_ready()
    with Traffic(gateway, gateway):
        wait_phase(gateway, "promoted")
    assert weights_of(gateway) == [0, 1] and show(gateway)["source"] == "canary"
    lines = gateway.events("rollout_changed")
    assert {line["who"] for line in lines} == {"canary"} and all("errors p=" in line["why"] for line in lines), lines
    after = [float(line["after"].split("m@v2=")[1]) for line in lines]
    assert after == sorted(after) and {0.1, 0.5, 1.0} <= set(after), lines
    assert gateway.metrics().sum("xebec_canary_phase", endpoint="e", phase="promoted") == 1


def test_a_bad_candidate_is_rolled_back_and_stays_so_over_a_kill(two, start_gateway, folder):
    two[1].play(mode="raise", version="v2")
    config = canary_config(two, state_dir=str(folder))
    gateway = start_gateway(config).wait_ready()
    with Traffic(gateway, gateway):
        wait_phase(gateway, "rolled_back")
    assert weights_of(gateway) == [1, 0]
    last = gateway.events("rollout_changed")[-1]
    assert (last["action"], last["who"], last["after"]) == ("rolled_back", "canary", "m@v1=1 m@v2=0"), last
    gateway.kill()
    gateway.ended = True
    again = start_gateway(config).wait_ready()
    assert canary_of(again)["phase"] == "rolled_back" and weights_of(again) == [1, 0]
    reload(again, canary_config(two, state_dir=str(folder), watch=True))
    assert canary_of(again)["phase"] == "rolled_back", "nor does a reload begin it anew"


def test_people_have_the_last_word(two, start_gateway):
    gateway = start_gateway(canary_config(two, dwell="1h")).wait_ready()
    wait_until(lambda: weights_of(gateway) == [0.5, 0.5], "the first step")
    assert post(gateway, "/rollouts/e/set", {"weights": {"m@v2": 1}}).status == 400
    assert post(gateway, "/rollouts/e/resume").status == 400, "it is not paused"
    for action, phase, weights in [("pause", "paused", [0.5, 0.5]), ("resume", "running", [0.5, 0.5]),
                                   ("promote", "promoted", [0, 1]), ("rollback", "rolled_back", [1, 0])]:
        said = post(gateway, f"/rollouts/e/{action}", {"who": "ada", "why": f"to {action}"})
        assert said.status == 200 and said.json()["canary"]["phase"] == phase, said
        assert weights_of(gateway) == weights
        line = gateway.events("rollout_changed")[-1]
        assert (line["action"], line["who"], line["why"]) == (action, "ada (127.0.0.1)", f"to {action}")
    assert post(gateway, "/rollouts/e/reset").json()["canary"]["phase"] == "running", "from its beginning"


def test_only_canaries_are_promoted(two, start_gateway):
    gateway = start_gateway(split_config(two)).wait_ready()
    for action in ("promote", "rollback", "pause", "resume"):
        reply = post(gateway, f"/rollouts/e/{action}")
        assert reply.status == 400 and "no canary" in reply.json()["error"], reply


def shared_canary(two, redis, **changes):
    cache = {"memory": 0, "redis": {"url": redis.url, "timeout": {"connect": "1s", "command": "1s"}}}
    return canary_config(two, cache=cache, **changes)


def test_of_two_gateways_one_judges_and_both_follow(two, redis, start_gateway):
    pair = [shared_ready(start_gateway(shared_canary(two, redis))) for _ in range(2)]
    with Traffic(*pair):
        for gateway in pair:
            wait_phase(gateway, "promoted")
    for gateway in pair:
        wait_weights(gateway, 0, 1)
    verdicts = [[line for line in gateway.events("rollout_changed") if line["action"] == "promoted"] for gateway in pair]
    assert sorted(len(each) for each in verdicts) == [0, 1], "one of them decided"


def test_a_person_at_the_gateway_that_does_not_judge_is_obeyed(two, redis, start_gateway):
    pair = [shared_ready(start_gateway(shared_canary(two, redis, dwell="1h"))) for _ in range(2)]
    for gateway in pair:
        wait_weights(gateway, 0.5, 0.5)
    holder = wait_until(lambda: redis.ask("GET", "xebec:judge:1"), "a judge").decode()
    names = [gateway.events("rollout_changed")[0] for gateway in pair]
    other = pair[0] if names[0]["action"] == "adopted" else pair[1]
    assert post(other, "/rollouts/e/rollback", {"who": "ada"}).json()["canary"]["phase"] == "rolled_back"
    for gateway in pair:
        wait_phase(gateway, "rolled_back")
        wait_weights(gateway, 1, 0)
    assert len(holder) == 16


def test_when_the_judge_dies_another_takes_over(two, redis, start_gateway):
    pair = [shared_ready(start_gateway(shared_canary(two, redis, dwell="6s"))) for _ in range(2)]
    for gateway in pair:
        wait_weights(gateway, 0.5, 0.5)
    judge, other = sorted(pair, key=lambda gateway: gateway.events("rollout_changed")[0]["action"] == "adopted")
    judge.kill()
    judge.ended = True
    with Traffic(other, other):
        wait_phase(other, "promoted")


# --- hard stops, which any gateway may see ----------------------------------------------------------------------------


def judge_first(pair):
    """The gateway that judges, then the other one, once both give the candidate its share."""
    for gateway in pair:
        wait_weights(gateway, 0.5, 0.5)
    return sorted(pair, key=lambda gateway: gateway.events("rollout_changed")[0]["action"] == "adopted")


def shared_record(redis):
    """(version, gateway, the record) as it lies in Redis."""
    head, _, record = redis.ask("GET", "xebec:rollouts:1:e").decode().partition("\n")
    version, gateway = head.split(" ")
    return int(version), gateway, json.loads(record)


@pytest.fixture
def judge_and_other(two, redis, start_gateway):
    return judge_first([shared_ready(start_gateway(shared_canary(two, redis, dwell="1h"))) for _ in range(2)])


@pytest.mark.parametrize("script, words, fault", [
    ({"mode": "wrong_rows"}, "broke its contract", "contract"),
    ({"mode": "die_mid_call"}, "lost with calls in flight", "crash"),
    ({"mode": "skew", "by": "nan"}, "answered with a NaN", "nan")])
def test_a_hard_stop_that_only_the_gateway_that_does_not_judge_sees_counts(script, words, fault, judge_and_other, two, redis):
    judge, other = judge_and_other
    two[1].play(version="v2", **script)
    with Traffic(other):
        for gateway in (other, judge):
            wait_phase(gateway, "rolled_back")
            wait_weights(gateway, 1, 0)
    assert canary_of(judge)["why"].startswith("hard stop: ") and words in canary_of(judge)["why"]
    said = other.events("rollout_changed")[-1]
    assert (said["action"], said["who"], said["after"]) == ("rolled_back", "canary", "m@v1=1 m@v2=0") and words in said["why"]
    assert said["before"] == "m@v1=0.5 m@v2=0.5"
    heard = judge.events("rollout_changed")[-1]
    assert heard["action"] == "adopted" and (heard["gateway"], heard["why"]) == (said["gateway"], said["why"]), heard
    assert shared_record(redis)[1] == said["gateway"] != redis.ask("GET", "xebec:judge:1").decode()
    assert other.metrics().sum("xebec_canary_faults", endpoint="e", fault=fault) > 0
    # not so at the judge: a crash is one for all, the rest is what it was asked itself
    assert fault == "crash" or judge.metrics().sum("xebec_canary_faults") == 0


def test_a_record_of_the_judge_that_comes_between_does_not_undo_a_hard_stop(judge_and_other, two, redis):
    judge, other = judge_and_other
    _, writer, running = shared_record(redis)
    two[1].play(version="v2", mode="wrong_rows")
    with Traffic(other):
        wait_phase(other, "rolled_back")
    for gateway in (judge, other):
        wait_phase(gateway, "rolled_back")
    version = shared_record(redis)[0] + 5
    record = json.dumps({**running, "version": version}, separators=(",", ":"))
    redis.ask("SET", "xebec:rollouts:1:e", f"{version:016} {writer}\n{record}")  # as if it had written at the same moment, and won
    wait_until(lambda: shared_record(redis)[0] > version, "the hard stop to be told again")
    for gateway in (judge, other):
        wait_phase(gateway, "rolled_back")
        wait_weights(gateway, 1, 0)
    wait_until(lambda: [line["action"] for line in other.events("rollout_changed")][-2:] == ["adopted", "rolled_back"],
               lambda: other.events("rollout_changed"))


def test_a_canary_that_is_begun_anew_does_not_pay_for_the_last_one(judge_and_other, two):
    judge, other = judge_and_other
    two[1].play(version="v2", mode="skew", by="nan")
    with Traffic(other):
        wait_phase(other, "rolled_back")
        two[1].play(version="v2")
        assert post(judge, "/rollouts/e/reset").status == 200
        wait_phase(judge, "running")
        for gateway in (judge, other):
            wait_weights(gateway, 0.5, 0.5)
        seen = len(two[1].rows_seen())
        wait_until(lambda: len(two[1].rows_seen()) > seen + 200, "the candidate to be asked")
        assert canary_of(other)["phase"] == canary_of(judge)["phase"] == "running"
    assert other.metrics().sum("xebec_canary_faults") == 0


def test_without_redis_every_gateway_guards(judge_and_other, two, redis):
    judge, other = judge_and_other
    redis.kill()
    wait_until(lambda: show(other)["shared"] is not None and not other.metrics().sum(
        "xebec_redis_breakers", use="rollouts", state="closed"), "Redis to be missed")
    two[1].play(version="v2", mode="wrong_rows")
    with Traffic(other):
        wait_phase(other, "rolled_back")
    assert canary_of(judge)["phase"] == "running", "it cannot know"
    redis.start()
    wait_phase(judge, "rolled_back")
    for gateway in (judge, other):
        wait_weights(gateway, 1, 0)


# --- under load -----------------------------------------------------------------------------------------------------


class Load:
    """Clients that ask and check every answer: status, headers, and the model that answered: m@v2 negates its input."""

    def __init__(self, gateways, clients=4):
        self.answers, self.wrong, self.stop = 0, [], threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._ask, args=(gateways[i % len(gateways)], i)) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def _ask(self, gateway, number):
        count, wrong = 0, []
        try:
            with gateway.connect() as client:
                while not self.stop.is_set():
                    count += 1
                    version = ["m@v1", "m@v2"][count // 10 % 2]
                    forced = count % 10 == 0
                    reply = client.predict(headers=[f"u: {number}-{count % 50}"] + ([f"X-Xebec-Arm: {version}"] if forced else []),
                                           input=[count])
                    arm, said = reply.headers.get("x-xebec-arm"), reply.headers.get("x-xebec-version")
                    answered = {count: "m@v1", -count: "m@v2"}.get(reply.json()["output"][0])
                    if reply.status != 200 or not arm == said == answered or (forced and arm != version):
                        wrong.append(repr(reply))
        except Exception as problem:  # noqa: BLE001: whatever it is, it is a failed request
            wrong.append(repr(problem))
        with self.lock:
            self.answers += count
            self.wrong += wrong

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        return self


def test_a_thousand_flips_and_a_thousand_reloads_lose_and_misroute_nothing(two, start_gateway, folder):
    times = 200 if BUSY else 1000
    two[1].play(version="v2", mode="negated")
    config = split_config(two, state_dir=str(folder))
    gateway = start_gateway(config).wait_ready()
    load, failed = Load([gateway]), []

    def flip():
        for turn in range(times):
            weights = [(1, 0), (0, 1), (50, 50), (99, 1)][turn % 4]
            if [arm["weight"] for arm in set_weights(gateway, *weights)["arms"]] != list(weights):
                failed.append(weights)

    def reload_again():
        for turn in range(times):
            reload(gateway, {**config, "watch": bool(turn % 2)})
    workers = [threading.Thread(target=flip), threading.Thread(target=reload_again)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    load.end()
    assert not load.wrong, load.wrong[:3]
    assert not failed and load.answers > 1000 and len(gateway.events("rollout_changed")) == times
    assert len(gateway.events("reloaded")) == times
    gateway.wait_metric(load.answers, "xebec_requests_total", outcome="ok")
    # no request that a puppet saw went to an arm that its reply did not name: both counts agree, version by version
    for version, puppet in (("m@v1", two[0]), ("m@v2", two[1])):
        assert gateway.metrics().sum("xebec_requests_total", version=version) == sum(c["rows"] for c in puppet.calls())
    print(f"{load.answers} answers, {times} flips, {times} reloads")


def test_clients_stay_over_restarts_reloads_and_two_gateways(pair, two, redis, start_gateway):
    set_weights(pair[0], 40, 60)
    wait_weights(pair[1], 40, 60)
    seen = arms_of(pair[0], USERS)
    assert arms_of(pair[1], USERS) == seen and 20 < list(seen.values()).count("m@v2") < 95
    for gateway in pair:
        reload(gateway, shared_config(two, redis, watch=True))
        assert arms_of(gateway, USERS) == seen
    pair[1].kill()
    pair[1].ended = True
    again = shared_ready(start_gateway(shared_config(two, redis)))
    wait_weights(again, 40, 60)
    assert arms_of(again, USERS) == seen


# --- the command line -----------------------------------------------------------------------------------------------


def admin_of(gateway):
    return f"--admin=127.0.0.1:{gateway.admin_port}"


def columns_of(table):
    """[[cell, ...], ...] of a table whose headings stand over their columns; every row must be aligned."""
    return [re.split(r"\s{2,}", line.strip()) for line in table.splitlines() if line.startswith("  ")]


def test_the_command_line_shows_and_changes(two, start_gateway):
    gateway = start_gateway(split_config(two)).wait_ready()
    done = run_xebec("rollout", "set", "e", "m@v1=1", "m@v2=3", "--why", "half a \"test\"", admin_of(gateway))
    assert done.returncode == 0 and done.stderr == "" and "set at run time" in done.stdout, done
    assert weights_of(gateway) == [1, 3]
    line, = gateway.events("rollout_changed")
    assert line["why"] == 'half a "test"' and line["who"].endswith(" (127.0.0.1)") and "@" in line["who"], line
    done = run_xebec("rollout", "list", admin_of(gateway))
    heads, first, second = columns_of(done.stdout)
    assert heads == ["ENDPOINT", "ARM", "VERSION", "READY", "WEIGHT", "SHARE", "STATE"], done.stdout
    assert first[:5] == ["e", "m@v1", "m@v1", "yes", "1"] and first[6].startswith("set by "), done.stdout
    assert second[:4] == ["m@v2", "m@v2", "yes", "3"] and "\033" not in done.stdout, done.stdout
    lines = done.stdout.splitlines()
    ends = [line.index("%") for line in lines[1:]]
    assert len(set(ends)) == 1 and lines[0].index("SHARE") + 4 == ends[0], "numbers stand one below the other"
    assert run_xebec("rollout", "reset", "e", admin_of(gateway)).returncode == 0
    assert weights_of(gateway) == [90, 10]
    status = run_xebec("status", admin_of(gateway))
    assert status.returncode == 0 and "1/1" in status.stdout and "header u" in status.stdout, status.stdout
    assert run_xebec("reload", admin_of(gateway)).returncode == 0


def test_json_is_what_the_gateway_said(two, start_gateway):
    gateway = start_gateway(split_config(two)).wait_ready()
    assert json.loads(run_xebec("rollout", "show", "e", "--json", admin_of(gateway)).stdout) == show(gateway)
    assert json.loads(run_xebec("status", "--json", admin_of(gateway)).stdout)["config"] == str(gateway.config_path)
    refused = run_xebec("rollout", "set", "e", "m@v9=1", "--json", admin_of(gateway))
    assert refused.returncode == 1 and json.loads(refused.stdout)["cause"] == "invalid_input"


def test_a_refusal_is_one_line_and_its_status_says_whose_fault(two, start_gateway, tmp_path):
    (tmp_path / "token").write_text("correct horse\n")
    gateway = start_gateway(split_config(two, admin_token_file=str(tmp_path / "token"))).wait_ready()
    change = ("rollout", "set", "e", "m@v2=90", admin_of(gateway))
    refused = run_xebec(*change)
    assert refused.returncode == 1 and "token" in refused.stderr and refused.stdout == ""
    assert run_xebec(*change, "--token-file", tmp_path / "nothing").returncode == 1
    assert run_xebec(*change, "--token-file", tmp_path / "token").returncode == 0
    assert run_xebec(*change, env={**os.environ, "XEBEC_ADMIN_TOKEN_FILE": str(tmp_path / "token")}).returncode == 0
    rewrite(gateway, "listen: nowhere")
    bad = run_xebec("reload", admin_of(gateway), "--token-file", tmp_path / "token")
    assert bad.returncode == 1 and "line 1, column" in bad.stderr, bad


@pytest.mark.parametrize("words", [["rollout", "frobnicate"], ["rollout", "show"], ["rollout", "set", "e"], ["rollout", "set", "e", "m@v1"],
                                   ["rollout", "set", "e", "m@v1=x"], ["rollout", "show", "a/b"], ["status", "x"], ["reload", "--why", "x"],
                                   ["status", "--admin"]])
def test_wrong_usage(words):
    done = run_xebec(*words)
    assert done.returncode == 2 and "--help" in done.stderr and done.stdout == "", done


@pytest.mark.parametrize("answer, words", [
    (b"", "does not answer as"), (b"SSH-2.0-OpenSSH\r\n", "does not answer as"), (b"HTTP/1.1 200 OK\r\n\r\n{}", "does not answer as"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "does not answer as"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"a\": [[[", "cannot be read"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\xfd\xfc", "cannot be read"),
    (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno", "answered 500"),
])
def test_who_answers_nonsense_is_no_gateway(answer, words):
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            client, _ = server.accept()
            with client:
                client.recv(1 << 16)
                client.sendall(answer)
        thread = threading.Thread(target=serve)
        thread.start()
        done = run_xebec("rollout", "list", "--admin", f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert done.returncode == 1 and words in done.stderr and done.stdout == "", done


def test_a_terminal_gets_colours_and_a_name_cannot_forge_them(two, start_gateway):
    gateway = start_gateway(split_config(two)).wait_ready()
    set_weights(gateway, 1, 1, who="eve\033[2J\u009b")
    leader, follower = pty.openpty()
    subprocess.run([BINARY, "rollout", "list", admin_of(gateway)], stdout=follower, check=True, timeout=20,
                   env={**os.environ, "TERM": "xterm", "NO_COLOR": ""})
    os.close(follower)
    said = os.read(leader, 1 << 16).decode()
    os.close(leader)
    assert "\033[33mset by eve" in said and "\033[2J" not in said and "\u009b" not in said, said
    assert "\033" not in run_xebec("rollout", "list", admin_of(gateway)).stdout
