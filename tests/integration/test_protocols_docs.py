"""docs/protocols.md: every example is run, and answers what the page says."""
import re
import subprocess

import pytest
from xebec_testing import REPOSITORY
from xebec_testing.gateway import one_model
from xebec_testing.patience import PATIENCE

PAGE = (REPOSITORY / "docs/protocols.md").read_text(encoding="utf-8")
EXAMPLES = [example for block in re.findall(r"```console\n(.*?)```", PAGE, re.S)
            for example in re.findall(r"^\$ (.*)\n(.*)$", block, re.M)]


@pytest.fixture
def sums(puppet, start_gateway):
    spec = {"inputs": {"x": {"datatype": "FP32", "shape": [-1, 3]}}, "outputs": {"y": {"datatype": "FP32", "shape": [-1]}}}
    puppet.play(mode="sums", inputs={"x": ["FP32", [-1, 3]]}, outputs={"y": ["FP32", [-1]]})
    config = one_model([puppet.kill() or puppet.start().unix], **spec, mlflow="sums")
    config["endpoints"]["sums"] = config["endpoints"].pop("e")
    return start_gateway(config).wait_ready()


def test_every_dialect_has_examples():
    assert len(EXAMPLES) == 12
    for path in ("/v2/", "/v1/", "/invocations"):
        assert any(path in command for command, _ in EXAMPLES)


def test_examples(sums):
    for command, answer in EXAMPLES:
        done = subprocess.run(["bash", "-c", command.replace("localhost:8080", f"127.0.0.1:{sums.port}")], capture_output=True,
                              text=True, timeout=PATIENCE)
        assert (done.returncode, done.stdout) == (0, answer), command
