"""/openapi.json: valid, complete, and a fuzzer that it drives finds nothing that it does not say."""
import json
import pathlib
import re
import subprocess

import pytest
from xebec_testing.gateway import one_model
from xebec_testing.http_client import ask_once
from xebec_testing.venv import client_python

FUZZER = pathlib.Path(__file__).with_name("clients") / "openapi_fuzz.toml"
VALIDATE = "import json, sys, openapi_spec_validator; openapi_spec_validator.validate(json.load(sys.stdin))"
SIGNATURES = {  # models; all of them are echoes
    "numbers": ({"x": ["FP32", [-1, 3]]}, {"y": ["FP32", [-1, 3]]}),
    "scalar": ({"x": ["INT16", [-1]]}, {"y": ["INT16", [-1]]}),
    "several": ({"age": ["UINT8", [-1]], "name's": ["BYTES", [-1], "TEXT"], "image": ["FP64", [-1, 2, 2]]},
                {"age": ["UINT8", [-1]], "name's": ["BYTES", [-1], "TEXT"], "image": ["FP64", [-1, 2, 2]]}),
}


def specs(tensors):
    words = {name: dict(zip(("datatype", "shape", "encoding"), tensor)) for name, tensor in tensors.items()}
    return {name: {**spec, **({"encoding": "text"} if "encoding" in spec else {})} for name, spec in words.items()}


@pytest.fixture
def described(new_puppet, start_gateway):
    """A gateway with an endpoint for each signature, `numbers` with a split, and its description."""
    config = one_model(["127.0.0.1:1"], mlflow="numbers")
    template = config["models"].pop("m")
    config["endpoints"] = {}
    for name, (inputs, outputs) in SIGNATURES.items():
        puppet = new_puppet(model=name, inputs=inputs, outputs=outputs)
        config["models"][name] = {**template, "input": specs(inputs), "output": specs(outputs),
                                  "versions": {"v1": {"replicas": [puppet.unix]}}}
        config["endpoints"][name] = {"slo": "30s", "model": f"{name}@v1"}
    config["endpoints"]["several"]["sticky"] = {"field": "user"}
    twin = new_puppet(model="numbers", version="2", inputs=SIGNATURES["numbers"][0], outputs=SIGNATURES["numbers"][1])
    config["models"]["numbers"]["versions"]["2"] = {"replicas": [twin.unix]}
    config["endpoints"]["numbers"] = {"slo": "30s", "sticky": {"header": "x-user-id"}, "arm_header": True, "split": [
        {"model": "numbers@v1", "weight": 1, "name": "old"}, {"model": "numbers@2", "weight": 1, "name": "new"}]}
    gateway = start_gateway(config).wait_ready()
    reply = ask_once(gateway.address, "GET", "/openapi.json")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    return gateway, reply.json()


def paths_of(name, verbs):
    of_tfs = ["", "/metadata", *verbs]
    by = ["", "/versions/{version}"]
    return {f"/{name}/predict", *(f"/v2/models/{name}{version}{verb}" for version in by
                                  for verb in ("", "/ready", "/config", "/stats", "/infer")),
            *(f"/v1/models/{name}{which}{verb}" for which in (*by, "/labels/{label}") for verb in of_tfs)}


def test_it_is_valid_and_has_every_path(described):
    _, document = described
    subprocess.run([client_python("openapi"), "-c", VALIDATE], input=json.dumps(document), text=True, check=True, timeout=60)
    assert set(document["paths"]) == {
        "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models", "/v2/models/stats", "/v2/repository/index", "/openapi.json",
        "/invocations", "/ping", "/health", "/version",
        *paths_of("numbers", [":predict", ":classify"]), *paths_of("scalar", [":predict"]),
        *paths_of("several", [":predict", ":classify"])}
    parameters = document["paths"]["/v2/models/numbers/versions/{version}/infer"]["parameters"]
    assert parameters[0]["schema"]["enum"] == ["v1", "numbers@v1", "2", "numbers@2"]


def test_its_examples_are_answered(described):
    gateway, document = described
    asked = 0
    for path, item in document["paths"].items():
        example = item.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
        if example:
            asked += 1
            reply = ask_once(gateway.address, "POST", path.replace("{version}", "v1"), example)
            assert reply.status == 200, (path, reply.body)
    assert asked == 3 * len(SIGNATURES)


def test_asking_for_it(described, start_gateway):
    gateway, document = described
    again = ask_once(gateway.address, "GET", "/openapi.json", headers=["Accept-Encoding: gzip"])
    assert again.headers["content-encoding"] == "gzip" and len(again.body) * 4 < len(json.dumps(document))
    assert ask_once(gateway.address, "POST", "/openapi.json", {}).headers["allow"] == "GET, HEAD"
    assert ask_once(gateway.address, "GET", "/openapi.json/more").status == 404
    config = json.loads(gateway.config_path.read_text())
    del config["endpoints"]["scalar"]
    gateway.config_path.write_text(json.dumps(config))
    assert gateway.ask_admin("/reload", "POST").status == 200
    paths = ask_once(gateway.address, "GET", "/openapi.json").json()["paths"]
    assert set(document["paths"]) - set(paths) == paths_of("scalar", [":predict"])


@pytest.mark.parametrize("promise", ["what is sent is refused or answered as described", "what is allowed is answered"])
def test_a_fuzzer_finds_nothing(described, promise, tmp_path):
    """The second for bodies of which a schema can say everything: not that 12.0 is no integer, nor that sizes agree."""
    gateway, _ = described
    exact = ["--include-operation-id-regex", r"^Clipper\.predict\.numbers|^Tfs\.(predict|classify)\.numbers|^Oip\.(?!infer)",
             "--checks", "positive_data_acceptance", "--mode", "positive"]
    checks = ["--checks", "status_code_conformance,content_type_conformance,response_headers_conformance,"
              "response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method"]
    done = subprocess.run(
        [client_python("openapi").with_name("schemathesis"), "--config-file", FUZZER, "run",
         f"http://127.0.0.1:{gateway.port}/openapi.json", *(exact if "allowed" in promise else checks)],
        capture_output=True, text=True, timeout=500, cwd=tmp_path)
    assert done.returncode == 0, (done.stdout + done.stderr)[-12000:]
    cases = re.search(r"(\d+) generated", done.stdout)
    assert cases and int(cases[1]) > 200, done.stdout[-2000:]
