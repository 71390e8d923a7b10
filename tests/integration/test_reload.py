"""A configuration is changed while the gateway runs: by SIGHUP, by POST /reload, by the file itself. No request is lost."""
import json
import os
import signal
import threading

import pytest
from xebec_testing.gateway import TRANSPORT, one_model
from xebec_testing.http_client import ask_once, encode_request
from xebec_testing.patience import wait_until


def rewrite(gateway, config):
    """Replaces the file in one step, as an editor or Kubernetes would."""
    fresh = gateway.config_path.with_suffix(".new")
    fresh.write_text(config if isinstance(config, str) else json.dumps(config))
    fresh.rename(gateway.config_path)


def reload(gateway, config, headers=()):
    rewrite(gateway, config)
    return ask_once(gateway.admin, "POST", "/reload", headers=headers)


def config_of(gateway):
    return json.loads(gateway.config_path.read_text())


def two_versions(one, other, weights=(1, 0), **changes):
    config = one_model([one.unix], **changes)
    config["models"]["m"]["versions"]["v2"] = {"replicas": [other.unix]}
    config["endpoints"]["e"] = {"slo": "30s", "split": [{"model": "m@v1", "weight": weights[0]},
                                                        {"model": "m@v2", "weight": weights[1]}]}
    return config


def rows_seen(puppet):
    return sum(call["rows"] for call in puppet.calls())


@pytest.mark.parametrize("how", ["post", "hangup"])
def test_weights_change_and_connections_stay(how, new_puppet, start_gateway):
    one, other = new_puppet(), new_puppet(version="v2")
    gateway = start_gateway(two_versions(one, other)).wait_ready()
    assert gateway.predict(input=[1]).status == 200
    before = gateway.replicas()[one.unix]["calls"]
    changed = two_versions(one, other, (0, 1))
    if how == "post":
        reply = reload(gateway, changed)
        assert reply.status == 200 and reply.json() == {"reloaded": True, "without_replica": []}, reply
    else:
        rewrite(gateway, changed)
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: gateway.events("reloaded"), "reloaded")
        assert gateway.events("reloaded")[0]["who"] == "SIGHUP"
    assert gateway.predict(input=[2]).status == 200
    assert rows_seen(other) == 1
    assert gateway.replicas()[one.unix]["calls"] == before, "the same replica, not a new connection to it"
    assert len(gateway.events("replica_up")) == 2, "nobody had to connect again"


def test_a_bad_file_changes_nothing_and_the_answer_says_what_is_wrong(puppet, gateway_for):
    gateway = gateway_for(puppet)
    good = gateway.config_path.read_text()
    reply = reload(gateway, good.replace('"slo": "30s"', '"slo": "soon"').replace('"shards": 2', '"shards": 0'))
    said = reply.json()
    assert reply.status == 400 and said["reloaded"] is False and said["cause"] == "invalid_input", reply
    assert [("shards" in p["what"] or "slo" in p["what"] or "soon" in p["what"]) for p in said["problems"]], said
    assert len(said["problems"]) == 2 and all(p["line"] > 0 and p["column"] > 0 for p in said["problems"]), said
    assert gateway.predict(input=[1]).status == 200
    assert gateway.events("reload_refused")[0]["problems"] == 2
    gateway.config_path.unlink()
    reply = ask_once(gateway.admin, "POST", "/reload")
    assert reply.status == 400 and "cannot be read" in reply.json()["problems"][0]["what"], reply
    assert gateway.predict(input=[2]).status == 200
    rewrite(gateway, good)
    assert ask_once(gateway.admin, "POST", "/reload").status == 200


@pytest.mark.parametrize("key, value", [("listen", "127.0.0.1:1"), ("admin", "unix:/tmp/x"), ("shards", 3),
                                        ("transport", {"nghttp2": "grpc", "grpc": "nghttp2"}[TRANSPORT]),
                                        ("cache", {"memory": "1MiB"}), ("log", {"access": "/dev/null"})])
def test_what_only_a_restart_can_change_is_refused_by_name(key, value, puppet, gateway_for):
    gateway = gateway_for(puppet)
    reply = reload(gateway, {**config_of(gateway), key: value})
    assert reply.status == 400 and key in reply.json()["error"] and "restart" in reply.json()["error"], reply
    assert gateway.predict(input=[1]).status == 200


def test_endpoints_and_models_come_and_go(new_puppet, start_gateway):
    one, other = new_puppet(), new_puppet(version="v2")
    gateway = start_gateway(one_model([one.unix])).wait_ready()
    assert gateway.predict("f", input=[1]).status == 404
    more = two_versions(one, other)
    more["endpoints"]["f"] = {"slo": "30s", "model": "m@v2"}
    assert reload(gateway, more).json() == {"reloaded": True, "without_replica": []}
    assert gateway.predict("f", input=[1]).status == 200, "m@v2 was ready before anybody could ask for it"
    less = one_model([one.unix])
    assert reload(gateway, less).status == 200
    assert gateway.predict("f", input=[1]).status == 404
    assert [m["versions"] for m in gateway.status()["models"]][0][0]["version"] == "v1"
    assert len(gateway.status()["models"][0]["versions"]) == 1
    wait_until(lambda: gateway.metrics().sum("xebec_replicas", version="m@v2") == 0, "m@v2's replicas to be let go")
    assert gateway.predict(input=[3]).status == 200


def test_requests_in_flight_finish_by_the_old_configuration(new_puppet, start_gateway):
    one, other = new_puppet(mode="stall"), new_puppet()
    gateway = start_gateway(one_model([one.unix])).wait_ready()
    with gateway.connect() as client:
        client.send(encode_request("POST", "/e/predict", {"input": [7]}))
        one.wait_calls(1)
        moved = one_model([other.unix])
        assert reload(gateway, moved).status == 200
        assert gateway.predict(input=[8]).status == 200
        assert rows_seen(other) == 1
        one.play()
        one.release()
        assert client.read_reply().status == 200, "the version that it is away with outlives the change"
    wait_until(lambda: list(gateway.replicas()) == [other.unix], "the old replica to be gone")


def test_a_client_that_leaves_after_the_change_takes_the_old_version_along(new_puppet, start_gateway):
    one, other = new_puppet(mode="stall"), new_puppet()
    gateway = start_gateway(one_model([one.unix])).wait_ready()
    client = gateway.connect()
    client.send(encode_request("POST", "/e/predict", {"input": [7]}))
    one.wait_calls(1)
    assert reload(gateway, one_model([other.unix])).status == 200
    client.close()
    gateway.wait_metric(0, "xebec_requests_open")
    one.release()
    assert gateway.predict(input=[8]).status == 200


def test_limits_change_for_the_next_message(puppet, gateway_for):
    gateway = gateway_for(puppet)
    with gateway.connect() as client:
        assert client.ask("POST", "/e/predict", {"input": [0.5] * 1000}).status == 200
        assert reload(gateway, {**config_of(gateway), "limits": {"body": "1KiB"}}).status == 200
        assert client.ask("POST", "/e/predict", {"input": [0.5] * 1000}).status == 413
    assert gateway.predict(input=[1]).status == 200


def test_counters_go_on(puppet, gateway_for):
    gateway = gateway_for(puppet)
    for number in range(5):
        gateway.predict(input=[number])
        assert ask_once(gateway.admin, "POST", "/reload").status == 200
    gateway.wait_metric(5, "xebec_requests_total", endpoint="e", outcome="ok")
    text = gateway.ask_admin("/metrics").body.decode()
    assert text.count('xebec_requests_total{endpoint="e",version="m@v1",outcome="ok"}') == 1


def test_the_file_is_watched_where_it_is_asked_for(puppet, gateway_for):
    gateway = gateway_for(puppet, watch=True)
    rewrite(gateway, "no configuration at all")
    wait_until(lambda: gateway.events("reload_refused"), "the bad file to be refused")
    config = one_model([puppet.unix], watch=True)
    config["endpoints"]["new"] = {"slo": "1s", "model": "m@v1"}
    rewrite(gateway, config)
    wait_until(lambda: gateway.predict("new", input=[1]).status == 200, "the new endpoint")
    said = wait_until(lambda: gateway.events("reloaded"), "the line that says so")
    assert said[0]["who"] == "watch"
    assert len(gateway.events("reload_refused")) == 1, "a bad file is read once"


def test_changes_from_a_web_page_are_refused(puppet, gateway_for):
    gateway = gateway_for(puppet)
    reply = ask_once(gateway.admin, "POST", "/reload", headers=["Origin: http://evil.example"])
    assert reply.status == 401 and reply.json()["cause"] == "unauthenticated", reply
    assert ask_once(gateway.admin, "GET", "/reload").status == 405


def test_a_token_is_asked_for_and_may_be_changed(puppet, gateway_for, tmp_path):
    token = tmp_path / "token"
    token.write_text("correct horse\n")
    gateway = gateway_for(puppet, admin_token_file=str(token))

    def ask(*headers):
        return ask_once(gateway.admin, "POST", "/reload", headers=headers).status
    assert ask() == 401
    assert ask("Authorization: Bearer correct hors") == 401
    assert ask("Authorization: Bearer correct horse!") == 401
    assert ask("Authorization: Basic correct horse") == 401
    assert ask("Authorization: Bearer correct horse") == 200
    token.write_text("battery staple")
    assert ask("Authorization: Bearer correct horse") == 401
    assert ask("Authorization: Bearer battery staple") == 200
    token.unlink()
    assert ask("Authorization: Bearer battery staple") == 401
    assert gateway.ask_admin("/status").status == 200, "reading needs none"


def test_hundreds_of_changes_under_load_lose_no_request(new_puppet, start_gateway):
    one, other = new_puppet(), new_puppet(version="v2")
    gateway = start_gateway(two_versions(one, other, (1, 0))).wait_ready()
    answers, stop = [], threading.Event()

    def ask():
        with gateway.connect() as client:
            number = 0
            while not stop.is_set():
                number += 1
                answers.append(client.ask("POST", "/e/predict", {"input": [number]}).status)
    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    memory = []
    for turn in range(200):
        # the objective belongs to the version too: every second change makes new versions, which connect first
        config = two_versions(one, other, (turn % 2, 1 - turn % 2))
        config["endpoints"]["e"]["slo"] = ["30s", "31s"][turn // 2 % 2]
        assert reload(gateway, config).json() == {"reloaded": True, "without_replica": []}
        if turn in (50, 199):
            memory.append(gateway.resident_mib())
    stop.set()
    for asker in askers:
        asker.join()
    assert len(answers) > 100 and set(answers) == {200}, {status: answers.count(status) for status in set(answers)}
    if not os.environ.get("XEBEC_SANITIZE"):
        assert memory[1] < memory[0] + 16, memory
    gateway.wait_metric(len(answers), "xebec_requests_total", outcome="ok")
