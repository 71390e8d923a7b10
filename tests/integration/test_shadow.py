"""Shadows: asked after the client has its reply, compared, bounded, and never noticed."""
import json
import re
import threading

import pytest
from xebec_testing import REPOSITORY
from xebec_testing.gateway import one_model, run_xebec
from xebec_testing.http_client import ask_once
from xebec_testing.patience import wait_until


def shadow_config(primary, shadow, tensors=None, slo="30s", model=None, top=None, **keys):
    """Endpoint e: m@v1 answers, m@v2 is its shadow."""
    config = one_model([primary.unix], slo=slo, inputs=tensors, outputs=tensors and {"y": tensors["x"]}, model=model,
                       **(top or {}))
    config["models"]["m"]["versions"]["v2"] = {"replicas": [shadow.unix]}
    config["endpoints"]["e"]["shadow"] = [{"model": "m@v2", "noise": "0%", **keys}]
    return config


@pytest.fixture
def two(new_puppet):
    return new_puppet(), new_puppet(version="v2")


def told(gateway, endpoint="e"):
    reply = gateway.ask_admin(f"/shadows/{endpoint}")
    assert reply.status == 200, reply
    return reply.json()["shadows"][0]


def settled(gateway, rows, endpoint="e"):
    """What is told once so many rows were compared or dropped, and none is under way."""
    def there():
        now = told(gateway, endpoint)
        done = sum(now["outcomes"].values()) + sum(now["dropped"].values())
        return now if done >= rows and now["open"] == 0 else None
    return wait_until(there, lambda: f"{rows} rows settled: {told(gateway, endpoint)}")


def all_home(gateway, and_so=lambda now: True):
    """What is told once all that was sent has been compared or dropped: a reply is there a moment before its shadow sets out."""
    def there():
        now = told(gateway)
        home = sum(now["outcomes"].values()) + sum(now["dropped"].values())
        return now if now["open"] == 0 and home == now["sent"] and and_so(now) else None
    return wait_until(there, lambda: f"all rows home: {told(gateway)}")


def ask(gateway, count, first=0, width=2):
    """One row a request; every reply must be the primary's echo."""
    with gateway.connect() as client:
        for number in range(first, first + count):
            reply = client.predict(input=[float(number)] * width)
            assert reply.status == 200 and reply.json()["output"] == [float(number)] * width, reply
            assert reply.headers["x-xebec-version"] == "m@v1"


def outcomes(shadow):
    return {name: count for name, count in shadow["outcomes"].items() if count}


def drops(shadow):
    return {name: count for name, count in shadow["dropped"].items() if count}


# --- what is compared --------------------------------------------------------------------------------


def test_agreement_is_counted_exactly(two, start_gateway):
    two[1].play(version="v2", mode="skew", bad=3.0, by=0.5)
    gateway = start_gateway(shadow_config(*two, top_k=1)).wait_ready()
    ask(gateway, 8)
    shadow = settled(gateway, 8)
    assert outcomes(shadow) == {"agrees": 7, "tolerance": 1} and not drops(shadow), shadow
    assert shadow["sent"] == shadow["compared"] == 8 and shadow["disagreed"] == 1 and shadow["held_bytes"] == 0
    output, = shadow["outputs"]
    assert output["name"] == "y" and output["rows"] == 8 and output["rows_agree"] == 7 and output["numbers"] == 16
    assert output["error_max"] == 0.5 and output["error_mean"] == pytest.approx(1 / 16) and output["top_k_overlap"] == 1
    assert shadow["calls"]["requests"] == 8 and shadow["calls"]["shadow_mean_us"] > 0
    assert sorted(two[1].rows_seen()) == [float(number) for number in range(8)]


def outputs_counted(gateway):
    """{(family without its prefix, output, whatever label is left): value} of xebec_shadow_output_*"""
    prefix = "xebec_shadow_output_"
    found = {}
    for (name, pairs), value in gateway.metrics().samples.items():
        if name.startswith(prefix):
            labels = dict(pairs)
            assert (labels.pop("endpoint"), labels.pop("version")) == ("e", "m@v2"), (name, pairs)
            found[(name.removeprefix(prefix), labels.pop("output"), *labels.values())] = value
    return found


def test_errors_by_output_are_metrics_too(two, start_gateway):
    two[1].play(version="v2", mode="skew", bad=3.0, by=0.5)
    gateway = start_gateway(shadow_config(*two, top_k=1)).wait_ready()
    ask(gateway, 8)
    settled(gateway, 8)
    assert outputs_counted(gateway) == {
        ("rows_total", "y", "agrees"): 7, ("rows_total", "y", "differs"): 1,
        ("error_sum", "y"): 1, ("error_count", "y"): 16, ("error_max", "y"): 0.5,
        ("top_k_overlap_sum", "y"): 8, ("top_k_overlap_count", "y"): 8}
    two[1].play(version="v2", mode="skew", bad=9.0, by="nan")
    ask(gateway, 2, first=8)
    settled(gateway, 10)
    counted = outputs_counted(gateway)
    assert counted["nan_total", "y", "shadow"] == 2 and ("nan_total", "y", "primary") not in counted, counted
    assert counted["rows_total", "y", "differs"] == 2 and counted["error_count", "y"] == 18 and counted["error_max", "y"] == 0.5


def test_a_reload_that_ends_a_shadow_keeps_its_counts_and_forgets_its_largest_error(two, start_gateway):
    two[1].play(version="v2", mode="skew", by=0.5)
    gateway = start_gateway(shadow_config(*two)).wait_ready()
    ask(gateway, 4)
    settled(gateway, 4)
    reload(gateway, shadow_config(*two, tolerance={"absolute": 1}))
    assert told(gateway)["compared"] == 0, "another shadow"
    two[1].play(version="v2", mode="skew", by=0.25)
    ask(gateway, 2, first=4)
    settled(gateway, 2)
    counted = outputs_counted(gateway)
    assert counted["error_count", "y"] == 12 and counted["error_sum", "y"] == 4 * 2 * 0.5 + 2 * 2 * 0.25, counted
    wait_until(lambda: outputs_counted(gateway)["error_max", "y"] == 0.25, "the largest error of this shadow")


def test_a_tolerance_is_what_the_file_says(two, start_gateway):
    two[1].play(version="v2", mode="skew", by=0.5)
    gateway = start_gateway(shadow_config(*two, tolerance={"absolute": 0.5, "relative": 0})).wait_ready()
    ask(gateway, 4)
    assert outcomes(settled(gateway, 4)) == {"agrees": 4}


def test_labels_that_differ_and_numbers_that_are_none(two, new_puppet, start_gateway):
    integers = {"x": {"datatype": "INT64", "shape": [-1, 1]}}
    shape = {"inputs": {"x": ["INT64", [-1, 1]]}, "outputs": {"y": ["INT64", [-1, 1]]}}
    two[0].play(**shape)
    two[1].play(version="v2", mode="skew", bad=2, by=1, **shape)
    gateway = start_gateway(shadow_config(*two, tensors=integers)).wait_ready()
    for number in range(5):
        assert gateway.predict(input=[number]).json()["output"] == [number]
    assert outcomes(settled(gateway, 5)) == {"agrees": 4, "label": 1}

    liar = new_puppet(version="v2", mode="skew", bad=1.0, by="nan")
    primary = new_puppet()
    gateway = start_gateway(shadow_config(primary, liar)).wait_ready()
    ask(gateway, 3)
    shadow = settled(gateway, 3)
    assert outcomes(shadow) == {"agrees": 2, "not_finite": 1} and shadow["outputs"][0]["shadow_nan"] == 2, shadow
    assert gateway.metrics().sum("xebec_shadow_rows_total", outcome="not_finite", endpoint="e", version="m@v2") == 1
    assert shadow["examples"][0]["shadow"] == {"y": ["NaN", "NaN"]}


def test_a_shadow_that_fails_and_one_that_breaks_its_contract(two, start_gateway):
    two[1].play(version="v2", mode="raise_rows", bad=1.0)
    gateway = start_gateway(shadow_config(*two)).wait_ready()
    ask(gateway, 3)
    assert outcomes(settled(gateway, 3)) == {"agrees": 2, "shadow_failed": 1}
    two[1].play(version="v2", mode="wrong_size", times=1)
    ask(gateway, 1)
    assert outcomes(settled(gateway, 4)) == {"agrees": 2, "shadow_failed": 2}


def test_a_primary_that_fails_is_said_to(two, start_gateway):
    two[0].play(mode="raise_rows", bad=1.0)
    gateway = start_gateway(shadow_config(*two)).wait_ready()
    assert gateway.predict(input=[1.0]).status == 500
    assert outcomes(settled(gateway, 1)) == {"primary_failed": 1}


def test_a_request_of_many_rows_is_compared_row_by_row(two, start_gateway):
    two[1].play(version="v2", mode="skew", bad=7.0)
    gateway = start_gateway(shadow_config(*two)).wait_ready()
    reply = gateway.predict(input_batch=[[float(number)] for number in range(10)])
    assert [each["output"] for each in reply.json()["batch_predictions"]] == [[float(number)] for number in range(10)]
    assert outcomes(settled(gateway, 10)) == {"agrees": 9, "tolerance": 1}


def test_an_answer_from_the_cache_is_compared_and_a_shadow_fills_none(two, start_gateway):
    two[1].play(version="v2", mode="skew")
    config = shadow_config(*two, top={"cache": {"memory": "1MiB"}})
    config["endpoints"]["direct"] = {"slo": "30s", "model": "m@v2"}
    gateway = start_gateway(config).wait_ready()
    for _ in range(3):
        assert gateway.predict(input=[1.0]).json()["output"] == [1.0]
    shadow = settled(gateway, 3)
    assert outcomes(shadow) == {"tolerance": 3} and len(two[0].rows_seen()) == 1 and len(two[1].rows_seen()) == 3
    assert shadow["calls"]["requests"] == 1, "what a cache answered says nothing of latency"
    assert gateway.predict("direct", input=[1.0]).json()["output"] == [2.0]
    assert len(two[1].rows_seen()) == 4, "asked anew: the shadow's answers went to no cache"


def test_the_noise_floor_of_a_model_that_is_never_the_same(two, start_gateway):
    two[0].play(mode="moody")
    gateway = start_gateway(shadow_config(*two, noise="100%")).wait_ready()
    for _ in range(6):
        assert gateway.predict(input=[1.0]).status == 200
    shadow = wait_until(lambda: (now := told(gateway))["noise"]["compared"] == 6 and now,
                        lambda: f"6 rows of noise: {told(gateway)}")
    assert shadow["noise"]["disagreed"] == 6
    assert gateway.metrics().sum("xebec_shadow_noise_rows_total", outcome="tolerance") == 6
    assert len(two[0].rows_seen()) == 12


def test_a_model_that_is_always_the_same_has_no_noise(two, start_gateway):
    gateway = start_gateway(shadow_config(*two, noise="100%", model={"cache": {"ttl": "1h"}})).wait_ready()
    ask(gateway, 5)
    shadow = wait_until(lambda: (now := told(gateway))["noise"]["compared"] == 5 and now,
                        lambda: f"5 rows of noise: {told(gateway)}")
    assert shadow["noise"]["disagreed"] == 0 and outcomes(settled(gateway, 5)) == {"agrees": 5}


def test_a_sample_is_a_sample(two, start_gateway):
    gateway = start_gateway(shadow_config(*two, sample="25%")).wait_ready()
    ask(gateway, 400)
    shadow = all_home(gateway, lambda now: now["sent"] == len(two[1].rows_seen()))
    assert not drops(shadow)
    assert 52 <= shadow["sent"] <= 152, shadow


def test_an_arm_may_be_a_shadow_but_not_of_itself(two, start_gateway):
    config = shadow_config(*two)
    endpoint = config["endpoints"]["e"]
    del endpoint["model"]
    endpoint["split"] = [{"model": "m@v1", "weight": 1}, {"model": "m@v2", "weight": 1}]
    gateway = start_gateway(config).wait_ready()
    with gateway.connect() as client:
        versions = [client.predict(input=[1.0]).headers["x-xebec-version"] for _ in range(40)]
    assert 0 < versions.count("m@v1") < 40
    assert settled(gateway, versions.count("m@v1"))["compared"] == versions.count("m@v1")


def test_a_candidate_that_disagrees_as_a_shadow_is_rolled_back(two, start_gateway):
    two[1].play(version="v2", mode="skew")
    config = shadow_config(*two)
    endpoint = config["endpoints"]["e"]
    del endpoint["model"]
    endpoint["canary"] = {"baseline": "m@v1", "candidate": "m@v2", "steps": ["1%", "100%"], "dwell": "1h",
                          "gates": {"errors": "10%", "latency": False, "disagreement": "5%"}}
    gateway = start_gateway(config).wait_ready()

    def rolled_back():
        with gateway.connect() as client:
            for number in range(20):
                assert client.predict(input=[float(number)]).status == 200
        return gateway.ask_admin("/rollouts/e").json()["canary"]["phase"] == "rolled_back"
    wait_until(rolled_back, lambda: f"a verdict: {gateway.ask_admin('/rollouts/e').json()}")
    assert "disagree" in json.dumps(gateway.ask_admin("/rollouts/e").json()["canary"])


# --- a shadow that is unwell, and its bounds ----------------------------------------------------------


@pytest.mark.parametrize("how", ["dead", "stalling", "frozen", "slow", "crashing", "raising"])
def test_no_client_notices_what_befalls_a_shadow(how, two, start_gateway):
    gateway = start_gateway(shadow_config(*two, timeout="300ms")).wait_ready()
    ask(gateway, 1)
    settled(gateway, 1)
    if how == "dead":
        two[1].kill()
    elif how == "frozen":
        two[1].freeze()
    else:
        two[1].play(version="v2", **{"stalling": {"mode": "stall"}, "slow": {"delay_ms": 500},
                                     "crashing": {"mode": "die_mid_call"}, "raising": {"mode": "raise_all"}}[how])
    ask(gateway, 40)
    shadow = settled(gateway, 41)
    expected = {"dead": {"no_replica"}, "stalling": {"deadline"}, "frozen": {"deadline", "no_replica"},
                "slow": {"deadline"}, "crashing": {"no_replica", "deadline"}, "raising": set()}[how]
    assert set(drops(shadow)) <= expected, shadow
    assert outcomes(shadow).get("agrees", 0) < 41 and shadow["held_bytes"] == 0
    assert bool(drops(shadow)) == (how != "raising")
    if how == "raising":
        assert outcomes(shadow) == {"agrees": 1, "shadow_failed": 40}
    assert gateway.metrics().sum("xebec_shadow_dropped_rows_total") == sum(drops(shadow).values())


def test_rows_under_way_are_bounded(two, start_gateway):
    two[1].play(version="v2", mode="stall")
    gateway = start_gateway(shadow_config(*two, max_rows=3, timeout="60s")).wait_ready()
    ask(gateway, 10)
    wait_until(lambda: drops(told(gateway)) == {"rows_limit": 7}, lambda: f"7 dropped: {told(gateway)}")
    assert told(gateway)["open"] == 3
    two[1].play(version="v2")
    two[1].release()
    assert outcomes(settled(gateway, 10)) == {"agrees": 3}


def test_memory_for_them_is_bounded(two, start_gateway):
    two[1].play(version="v2", mode="stall")
    gateway = start_gateway(shadow_config(*two, held="256KiB", timeout="60s")).wait_ready()
    ask(gateway, 12, width=4000)
    shadow = wait_until(lambda: (now := told(gateway))["dropped"]["held_limit"] + now["open"] == 12 and now,
                        lambda: f"12 admitted or dropped: {told(gateway)}")
    assert 0 < shadow["open"] < 12 and 2 * 16000 * shadow["open"] < shadow["held_bytes"] <= 256 << 10, shadow
    two[1].play(version="v2")
    two[1].release()
    assert settled(gateway, 12)["held_bytes"] == 0


def test_a_request_larger_than_the_bound_is_left_out(two, start_gateway):
    gateway = start_gateway(shadow_config(*two, max_rows=4)).wait_ready()
    assert gateway.predict(input_batch=[[1.0]] * 5).status == 200
    assert drops(settled(gateway, 5)) == {"rows_limit": 5}
    assert gateway.predict(input_batch=[[1.0]] * 4).status == 200
    assert outcomes(settled(gateway, 9)) == {"agrees": 4}


def test_clients_of_a_shadowed_version_go_first(two, start_gateway):
    """m@v2 serves clients of its own: with its one slot to spare taken, shadow rows wait, clients' do not."""
    two[1].play(version="v2", mode="stall")
    config = shadow_config(*two, timeout="60s", max_rows=64)
    config["endpoints"]["direct"] = {"slo": "30s", "model": "m@v2"}
    gateway = start_gateway(config).wait_ready()
    ask(gateway, 10)
    two[1].wait_calls(1)
    wait_until(lambda: gateway.metrics().sum("xebec_queue_background_rows", version="m@v2") == 9,
               lambda: f"9 rows in the background: {gateway.metrics().sum('xebec_queue_background_rows')}")
    two[1].play(version="v2")
    assert gateway.predict("direct", input=[77.0]).json()["output"] == [77.0], "the slot that was left over"
    two[1].release()
    assert outcomes(settled(gateway, 10)) == {"agrees": 10}
    assert two[1].rows_seen().index(77.0) == 1, "before nine rows that had waited longer"


def test_calls_in_flight_are_bounded(two, start_gateway):
    two[1].play(version="v2", mode="stall")
    batching = {"batching": {"policy": "none", "calls": 8}}
    gateway = start_gateway(shadow_config(*two, model=batching, calls=3, timeout="60s")).wait_ready()
    ask(gateway, 8)
    two[1].wait_calls(3)
    wait_until(lambda: gateway.metrics().sum("xebec_queue_background_rows", version="m@v2") == 5, "5 rows to wait")
    assert len(two[1].calls()) == 3
    two[1].play(version="v2")
    two[1].release()
    assert outcomes(settled(gateway, 8)) == {"agrees": 8}


# --- what operators see -------------------------------------------------------------------------------


def disagreeing(two, start_gateway, **keys):
    two[1].play(version="v2", mode="skew", by=1.0, bad=5.0)
    gateway = start_gateway(shadow_config(*two, examples=2, **keys)).wait_ready()
    two[0].forget()
    ask(gateway, 5, first=3)
    return gateway, settled(gateway, 5)


def test_the_worst_examples_are_kept(two, start_gateway):
    gateway, shadow = disagreeing(two, start_gateway)
    example, = shadow["examples"]
    assert example["input"] == {"x": [5, 5]} and example["primary"] == {"y": [5, 5]} and example["shadow"] == {"y": [6, 6]}
    assert example["outcome"] == "tolerance" and example["request"].isdigit() and example["input_bytes"] == 8
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", example["at"])
    two[1].play(version="v2", mode="skew", by=100.0)
    ask(gateway, 3)
    worst = settled(gateway, 8)["examples"]
    assert [each["shadow"]["y"][0] - each["primary"]["y"][0] for each in worst] == [100, 100], "the worst first, two of them"


@pytest.mark.parametrize("inputs", ["hashed", "omitted"])
def test_inputs_can_be_kept_out_of_sight(inputs, two, start_gateway):
    _, shadow = disagreeing(two, start_gateway, inputs=inputs)
    example, = shadow["examples"]
    assert example["input"] is None and example["shadow"] == {"y": [6, 6]}
    assert ("input_hash" in example) == (inputs == "hashed")


def test_what_is_large_is_left_out_of_examples(two, start_gateway):
    _, shadow = disagreeing(two, start_gateway, example_size="7B")
    example, = shadow["examples"]
    assert example["input"] is example["primary"] is example["shadow"] is None and example["outcome"] == "tolerance"


def test_examples_need_the_token_and_the_list_does_not(two, start_gateway, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    gateway = start_gateway(shadow_config(*two, top={"admin_token_file": str(token)})).wait_ready()
    brief, = gateway.ask_admin("/shadows").json()["shadows"]
    assert brief["endpoint"] == "e" and brief["version"] == "m@v2" and "examples" not in brief
    assert gateway.ask_admin("/shadows/e").status == 401
    reply = ask_once(gateway.admin, "GET", "/shadows/e", headers=["Authorization: Bearer secret"])
    assert reply.status == 200 and "examples" in reply.json()["shadows"][0]
    assert ask_once(gateway.admin, "GET", "/shadows/nobody", headers=["Authorization: Bearer secret"]).status == 404
    assert gateway.ask_admin("/shadows", method="POST").status == 405


# --- reload and the end -------------------------------------------------------------------------------


def reload(gateway, config):
    gateway.config_path.write_text(json.dumps(config))
    reply = gateway.ask_admin("/reload", method="POST")
    assert reply.status == 200, reply


def test_numbers_go_on_over_a_reload_that_changes_nothing_of_it(two, start_gateway):
    config = shadow_config(*two)
    gateway = start_gateway(config).wait_ready()
    ask(gateway, 3)
    settled(gateway, 3)
    reload(gateway, {**config, "limits": {"rows": 1000}})
    ask(gateway, 2)
    assert settled(gateway, 5)["compared"] == 5
    config["endpoints"]["e"]["shadow"][0]["top_k"] = 2
    reload(gateway, config)
    assert told(gateway)["sent"] == 0, "another question, other numbers"


def test_shadows_under_way_outlive_a_reload_that_removes_them(two, start_gateway):
    two[1].play(version="v2", mode="stall")
    config = shadow_config(*two, timeout="60s")
    gateway = start_gateway(config).wait_ready()
    ask(gateway, 5)
    two[1].wait_calls(1)
    reload(gateway, one_model([two[0].unix]))
    ask(gateway, 5)
    assert gateway.ask_admin("/shadows").json() == {"shadows": []}
    two[1].play(version="v2")
    two[1].release()
    gateway.wait_metric(5, "xebec_shadow_rows_total", outcome="agrees")
    wait_until(lambda: gateway.metrics().sum("xebec_replicas", version="m@v2") == 0, "the version to be gone")


def test_clients_readers_and_reloads_at_once(two, start_gateway):
    """Whatever happens side by side, every reply is the primary's, and no row is counted twice or never."""
    two[1].play(version="v2", mode="skew", bad=3.0)
    config = shadow_config(*two, noise="10%", sample="50%")
    gateway = start_gateway(config).wait_ready()
    clients = [threading.Thread(target=ask, args=(gateway, 150), kwargs={"first": 1000 * number}) for number in range(4)]
    failures = []
    threading.excepthook = lambda failure: failures.append(failure.exc_value)
    for client in clients:
        client.start()
    rounds = 0
    while any(client.is_alive() for client in clients) or rounds < 4:
        rounds += 1
        reload(gateway, {**config, "limits": {"rows": 1000 + rounds}})
        shadow = told(gateway)
        assert sum(shadow["outcomes"].values()) <= shadow["sent"], shadow
    for client in clients:
        client.join()
    threading.excepthook = threading.__excepthook__
    assert not failures
    shadow = all_home(gateway)
    assert not drops(shadow)
    assert 200 < shadow["sent"] < 400 and shadow["noise"]["disagreed"] == 0 < shadow["noise"]["compared"], shadow


@pytest.mark.parametrize("how", ["stall", "freeze"])
def test_a_gateway_does_not_wait_for_shadows_at_its_end(how, two, start_gateway):
    gateway = start_gateway(shadow_config(*two, timeout="60s", top={"timeouts": {"drain": "60s"}})).wait_ready()
    two[1].play(version="v2", mode="stall") if how == "stall" else two[1].freeze()
    ask(gateway, 20)
    wait_until(lambda: told(gateway)["open"] == 20, lambda: f"20 under way: {told(gateway)}")
    gateway.terminate()
    gateway.wait()


def test_the_sample_is_one(two, start_gateway):
    """configs/shadow.yaml, with the test's replicas, which add up pictures, and every request shadowed."""
    text = (REPOSITORY / "configs/shadow.yaml").read_text()
    changes = {"label: {datatype: INT64": "label: {datatype: FP32", "sample: 25%": "sample: 100%", ":8080": ":0", ":8081": ":0",
               "      probabilities: {datatype: FP32, shape: [-1, 10]}\n": ""}
    for puppet, version in zip(two, ("linear", "next")):
        puppet.play(version=version, model="digits", inputs={"pixels": ["FP32", [-1, 64]]}, outputs={"label": ["FP32", [-1]]},
                    mode="sums")
        changes[f"unix:/tmp/xebec/digits-{version}.sock"] = puppet.unix
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    gateway = start_gateway(text).wait_ready()
    with gateway.connect() as client:
        for number in range(20):
            assert client.predict("digits", input=[number] * 64).json()["output"] == 64 * number
    assert outcomes(settled(gateway, 20, "digits")) == {"agrees": 20}


# --- the file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shadow, complaint", [
    ({"model": "m@v9"}, 'no version "m@v9"; model m has: v1, v2'),
    ({"model": "m@v1"}, "m@v1 answers this endpoint itself; name another version"),
    ({"model": "other@v1"}, 'm@v1 and other@v1 differ in "x"; a shadow must take and answer the same tensors'),
    ({"top_k": 3}, "needs model"),
    ({"model": "m@v2", "sample": "101%"}, "expected 0% to 100%, got"),
    ({"model": "m@v2", "sample": 0.5}, "expected a percentage such as 0.5%"),
    ({"model": "m@v2", "tolerance": {"absolute": "-1"}}, "expected a number such as 0.001"),
    ({"model": "m@v2", "tolerence": {}}, 'did you mean "tolerance"?'),
    ({"model": "m@v2", "inputs": "secret"}, "expected one of kept, hashed, omitted"),
])
def test_a_shadow_that_cannot_be_is_refused_with_its_place(shadow, complaint, tmp_path):
    config = one_model(["127.0.0.1:1"])
    config["models"]["m"]["versions"]["v2"] = {"replicas": ["127.0.0.1:2"]}
    config["models"]["other"] = {"input": {"x": {"datatype": "FP32", "shape": [-1, 9]}},
                                 "output": config["models"]["m"]["output"], "versions": {"v1": {"replicas": ["127.0.0.1:3"]}}}
    config["endpoints"]["e"]["shadow"] = [shadow]
    path = tmp_path / "xebec.yaml"
    path.write_text(json.dumps(config, indent=1))
    result = run_xebec("check", "--config", path)
    assert result.returncode != 0 and complaint in result.stdout + result.stderr, result
    assert re.search(r"xebec.yaml:\d+:\d+: endpoints\.e\.shadow|unknown key", result.stdout + result.stderr), result


def test_a_shadow_twice_is_refused(tmp_path):
    config = one_model(["127.0.0.1:1"])
    config["models"]["m"]["versions"]["v2"] = {"replicas": ["127.0.0.1:2"]}
    config["endpoints"]["e"]["shadow"] = [{"model": "m@v2"}, {"model": "m@v2"}]
    path = tmp_path / "xebec.yaml"
    path.write_text(json.dumps(config, indent=1))
    assert "m@v2 is a shadow of this endpoint already; remove one" in "".join(
        [(result := run_xebec("check", "--config", path)).stdout, result.stderr])
