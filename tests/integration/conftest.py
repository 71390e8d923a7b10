"""Fixtures: a gateway with a configuration (started and stopped for each test), and puppets (kept between tests)."""
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from xebec_testing import REPOSITORY  # noqa: E402
from xebec_testing.gateway import Gateway, one_model  # noqa: E402
from xebec_testing.puppet import Puppet  # noqa: E402


@pytest.fixture(scope="session")
def puppet_shop(tmp_path_factory):
    """Puppets that nobody holds. Starting one costs more than a test, so they go from test to test."""
    generated = tmp_path_factory.mktemp("proto")
    subprocess.run(["protoc", f"--python_out={generated}", f"-I{REPOSITORY}/proto", "worker.proto", "health.proto"],
                   check=True)
    idle, made = [], []

    def take():
        if not idle:
            made.append(Puppet(tmp_path_factory.mktemp("puppet"), generated))
            idle.append(made[-1])
        return idle.pop()

    yield take, idle.append
    for puppet in made:
        puppet.kill()


@pytest.fixture
def new_puppet(puppet_shop):
    """new_puppet(**script): another replica."""
    take, give_back = puppet_shop
    held = []

    def new(**script):
        puppet = take()
        held.append(puppet)
        return puppet.play(**script)

    yield new
    for puppet in held:
        if puppet.is_alive():
            puppet.thaw()
            puppet.release()
            puppet.forget()
        else:
            puppet.wait_dead()
            puppet.script = {}
            puppet.start()
        give_back(puppet)


@pytest.fixture
def puppet(new_puppet):
    return new_puppet()


@pytest.fixture
def start_gateway(tmp_path, new_puppet):  # new_puppet: replicas outlive gateways
    """start_gateway(config): serving, not waited for. Each must end well: exit 0, no sanitizer's report."""
    started = []

    def start(config, command=()):
        directory = tmp_path / f"gateway{len(started)}"
        directory.mkdir()
        started.append(Gateway(directory, config, command))
        return started[-1]

    yield start
    problems = []
    for gateway in started:
        try:
            gateway.stop()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)


@pytest.fixture
def gateway_for(start_gateway):
    """gateway_for(puppets..., **changes to one_model()): serving and ready."""
    def serve(*puppets, **changes):
        return start_gateway(one_model([puppet.unix for puppet in puppets], **changes)).wait_ready()
    return serve


@pytest.fixture
def gateway_before(start_gateway):
    """gateway_before(worker): a gateway whose configuration is what a Worker says of itself."""
    def serve(worker):
        from xebec_testing.python_worker import configured  # needs protoc and numpy, which not every suite does
        described = worker.describe()
        return start_gateway(one_model([worker.listen], inputs=configured(described.inputs),
                                       outputs=configured(described.outputs))).wait_ready()
    return serve
