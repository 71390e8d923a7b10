"""docs/protocols.md: every example is run, and answers what the page says."""
import os
import re
import subprocess

import pytest
from xebec_testing import REPOSITORY
from xebec_testing.gateway import one_model
from xebec_testing.patience import PATIENCE
from xebec_testing.venv import client_python

PAGE = (REPOSITORY / "docs/protocols.md").read_text(encoding="utf-8")
EXAMPLES = [example for block in re.findall(r"```console\n(.*?)```", PAGE, re.S)
            for example in re.findall(r"^\$ (.*)\n(.*)$", block, re.M)]
GRPCURL = [example for example in EXAMPLES if example[0].startswith("grpcurl ")]
CURL = [example for example in EXAMPLES if example not in GRPCURL]
PYTHON, = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.fixture
def sums(puppet, start_gateway):
    spec = {"inputs": {"x": {"datatype": "FP32", "shape": [-1, 3]}}, "outputs": {"y": {"datatype": "FP32", "shape": [-1]}}}
    puppet.play(mode="sums", inputs={"x": ["FP32", [-1, 3]]}, outputs={"y": ["FP32", [-1]]})
    config = one_model([puppet.kill() or puppet.start().unix], **spec, mlflow="sums")
    config["endpoints"]["sums"] = config["endpoints"].pop("e")
    return start_gateway(config).wait_ready()


def run(gateway, examples, **environment):
    for command, answer in examples:
        done = subprocess.run(["bash", "-c", command.replace("localhost:8080", f"127.0.0.1:{gateway.port}")], capture_output=True,
                              text=True, timeout=PATIENCE, env={**os.environ, **environment})
        assert (done.returncode, done.stdout) == (0, answer), command + done.stderr


def test_every_dialect_has_examples():
    assert (len(CURL), len(GRPCURL)) == (12, 3)
    for path in ("/v2/", "/v1/", "/invocations"):
        assert any(path in command for command, _ in CURL)


def test_curl(sums):
    run(sums, CURL)


def test_grpcurl(sums, tmp_path):
    built = subprocess.run([REPOSITORY / "tests/support/grpcurl.sh", "build"], capture_output=True, text=True, timeout=500)
    if built.returncode == 77:
        pytest.skip(built.stderr.strip())
    (tmp_path / "grpcurl").symlink_to(built.stdout.strip())
    run(sums, GRPCURL, PATH=f"{tmp_path}:{os.environ['PATH']}")


def test_tritonclient(sums):
    program = PYTHON.replace("localhost:8080", f"127.0.0.1:{sums.port}")
    done = subprocess.run([client_python("triton_grpc"), "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout.strip()) == (0, re.search(r"print\(.*# (.*)$", PYTHON, re.M)[1]), done.stderr
