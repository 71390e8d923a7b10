"""tests/conformance, the suite for the Open Inference Protocol, against the gateway: nothing fails, and nothing is left out unnoticed."""
import json
import subprocess

import pytest
from xebec_testing import REPOSITORY
from xebec_testing.gateway import one_model

DATATYPES = ("FP32", "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP64", "BYTES")
HALVES = ("FP16", "BF16")
# Clauses that no model with these tensors gives occasion for.
ONLY_PLAIN = {f"infer.datatype.{each}" for each in HALVES}
ONLY_HALVES = {f"infer.datatype.{each}" for each in DATATYPES} | {"refuse.data.range", "refuse.data.word", "binary.refuse.element"} | {
    f"grpc.{each}" for each in ("infer.typed", "infer.datatypes.typed", "refuse.shape.typed", "refuse.both", "refuse.field")}


@pytest.fixture
def judged(puppet, start_gateway, tmp_path):
    """judged(datatypes): the report on a gateway before a model that gives back inputs of them all."""
    def judge(datatypes):
        tensors = {f"{way}_{each}": [each, [-1, 4 if each == "FP32" else 3]] for way in ("in", "out") for each in datatypes}
        inputs, outputs = ({name: spec for name, spec in tensors.items() if name.startswith(way)} for way in ("in_", "out_"))
        puppet.play(inputs=inputs, outputs=outputs)
        gateway = start_gateway(one_model([puppet.unix], inputs=configured(inputs), outputs=configured(outputs))).wait_ready()
        report = tmp_path / "report.json"
        done = subprocess.run([REPOSITORY / "tests/conformance/run.sh", "--url", f"http://127.0.0.1:{gateway.port}", "--model", "e",
                               "--grpc", f"127.0.0.1:{gateway.port}", "--json", report, "--timeout", "60"], capture_output=True, text=True, timeout=400)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.stdout, json.loads(report.read_text())["clauses"]
    return judge


def configured(tensors):
    return {name: {"datatype": datatype, "shape": shape} for name, (datatype, shape) in tensors.items()}


@pytest.mark.parametrize("datatypes, inapplicable", [(DATATYPES, ONLY_PLAIN), (HALVES, ONLY_HALVES)], ids=["whole", "halves"])
def test_every_clause_holds(judged, datatypes, inapplicable):
    printed, clauses = judged(datatypes)
    assert [each["name"] for each in clauses if each["verdict"] == "fail"] == [], printed
    left_out = {each["name"] for each in clauses if each["verdict"] == "n/a"}
    assert left_out <= inapplicable | {"infer.response.parameters"}, printed
