"""Who goes to which arm: by weight, by client, by name; the same in every gateway and after every restart."""
import json
import math

import pytest
from xebec_testing import REPOSITORY
from xebec_testing.gateway import one_model
from xebec_testing.http_client import ask_once


def split_config(one, other, weights=(50, 50), sticky=None, names=(None, None), **endpoint):
    config = one_model([one.unix])
    config["models"]["m"]["versions"]["v2"] = {"replicas": [other.unix]}
    arms = [{"model": f"m@v{i + 1}", "weight": weight, **({"name": names[i]} if names[i] else {})}
            for i, weight in enumerate(weights)]
    config["endpoints"]["e"] = {"slo": "30s", "split": arms, **({"sticky": sticky} if sticky else {}), **endpoint}
    return config


@pytest.fixture
def two(new_puppet):
    return new_puppet(), new_puppet(version="v2")


def arm_of(client, headers=(), **body):
    reply = client.predict(headers=headers, **{"input": [1], **body})
    assert reply.status == 200, reply
    assert reply.headers["x-xebec-version"] == reply.json()["model"], "the header and the body agree"
    return reply.headers["x-xebec-arm"]


@pytest.mark.parametrize("weights, share", [((75, 25), 0.25), ((0.3, 0.1), 0.25), ((1, 0), 0), ((0, 0.001), 1)])
def test_requests_of_nobody_are_drawn_by_weight(weights, share, two, start_gateway):
    gateway = start_gateway(split_config(*two, weights)).wait_ready()
    with gateway.connect() as client:
        arms = [arm_of(client) for _ in range(1000)]
    second = arms.count("m@v2")
    assert abs(second - 1000 * share) <= 6 * math.sqrt(1000 * share * (1 - share)) + (30 if 0 < share < 1 else 0), second
    buckets = [arm["buckets"] for arm in gateway.status()["endpoints"][0]["split"]]
    assert sum(buckets) == 10000 and abs(buckets[1] - 10000 * share) <= 250, buckets


BY = {
    "header": ({"header": "X-User-Id"}, lambda user: {"headers": [f"x-user-ID: {user}"]}),
    "cookie": ({"cookie": "id"}, lambda user: {"headers": [f"Cookie: other=1; id={user};x=id"]}),
    "field": ({"field": "user"}, lambda user: {"user": user}),
}


@pytest.mark.parametrize("by", BY)
def test_a_client_stays_at_its_arm_in_every_gateway_and_after_a_restart(by, two, start_gateway):
    sticky, told = BY[by]
    config = split_config(*two, sticky=sticky)
    users, seen = [f"user-{number}" for number in range(60)], []
    for _ in range(2):
        gateway = start_gateway(config).wait_ready()
        with gateway.connect() as client:
            seen += [[arm_of(client, **told(user)) for user in users] for _ in range(2)]
    assert seen[0] == seen[1] == seen[2] == seen[3]
    assert 10 < seen[0].count("m@v2") < 50


def test_a_number_is_a_client_too_and_null_is_none(two, start_gateway):
    gateway = start_gateway(split_config(*two, sticky={"field": "user"})).wait_ready()
    with gateway.connect() as client:
        assert len({arm_of(client, user=4711) for _ in range(40)}) == 1
        assert arm_of(client, user=4711) == arm_of(client, user="4711")
        assert len({arm_of(client, user=None) for _ in range(60)}) == 2
        assert len({arm_of(client) for _ in range(60)}) == 2
        assert client.predict(input=[1], user=[1]).status == 400


def test_an_address_is_a_client(two, start_gateway):
    gateway = start_gateway(split_config(*two, sticky={"client": True})).wait_ready()
    with gateway.connect() as client:
        assert len({arm_of(client) for _ in range(40)}) == 1


def test_a_growing_arm_takes_clients_and_gives_none_back(two, start_gateway):
    gateway = start_gateway(split_config(*two, (99, 1), sticky={"header": "u"})).wait_ready()
    users, there = [f"{number}" for number in range(200)], set()
    for weight in (1, 5, 20, 50, 90, 100):
        gateway.config_path.write_text(json.dumps(split_config(*two, (100 - weight, weight), sticky={"header": "u"})))
        assert ask_once(gateway.admin, "POST", "/reload").status == 200
        with gateway.connect() as client:
            now = {user for user in users if arm_of(client, headers=[f"u: {user}"]) == "m@v2"}
        assert there <= now, "who was there stays there"
        there = now
    assert there == set(users)


def test_an_arm_may_be_asked_for_by_name(two, start_gateway):
    gateway = start_gateway(split_config(*two, (1, 0), names=("control", "dark"))).wait_ready()
    with gateway.connect() as client:
        assert {arm_of(client) for _ in range(20)} == {"control"}
        assert arm_of(client, headers=["X-Xebec-Arm: dark"]) == "dark"
        assert arm_of(client, headers=["X-Xebec-Arm: gone"]) == "control", "what is no arm any more is no reason to fail"
        assert client.predict(headers=["X-Xebec-Arm: control"], input=[1], version="v2").headers["x-xebec-arm"] == "dark"


def test_asking_can_be_switched_off(two, start_gateway):
    gateway = start_gateway(split_config(*two, (1, 0), arm_header=False)).wait_ready()
    with gateway.connect() as client:
        assert arm_of(client, headers=["X-Xebec-Arm: m@v2"]) == "m@v1"


def test_the_sample_is_one(two, start_gateway):
    """configs/split.yaml, with the test's replicas, which add up pictures."""
    text = (REPOSITORY / "configs/split.yaml").read_text().replace("label: {datatype: INT64", "label: {datatype: FP32")
    for puppet, version in zip(two, ("linear", "forest")):
        puppet.play(version=version, model="digits", inputs={"pixels": ["FP32", [-1, 64]]}, outputs={"label": ["FP32", [-1]]},
                    mode="sums")
        text = text.replace(f"unix:/tmp/xebec/digits-{version}.sock", puppet.unix)
    gateway = start_gateway(text.replace(":8080", ":0").replace(":8081", ":0")).wait_ready()

    def arm(client, user):
        reply = client.predict("digits", headers=[f"X-User-Id: {user}"], input=[1] * 64)
        assert reply.status == 200 and reply.json()["output"] == 64, reply
        return reply.headers["x-xebec-arm"]
    with gateway.connect() as client:
        arms = [arm(client, user) for user in range(300)]
        assert arms == [arm(client, user) for user in range(300)]
    assert 5 < arms.count("digits@forest") < 70


def test_errors_name_the_arm_too(two, start_gateway):
    two[0].play(mode="raise")
    gateway = start_gateway(split_config(*two, (1, 0))).wait_ready()
    reply = gateway.predict(input=[1])
    assert reply.status == 500 and reply.headers["x-xebec-version"] == "m@v1", reply
    assert "x-xebec-arm" not in gateway.predict(input="?").headers, "nothing was chosen"
