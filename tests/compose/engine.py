"""The engine from a test's side: Compose projects, their containers, and the gateways in them."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
from xebec_testing.patience import wait_until  # noqa: E402
from xebec_testing.prometheus import Metrics  # noqa: E402

PATIENCE_S = 90  # for containers to come and go on a busy machine
COMPOSE = os.environ.get("COMPOSE", "docker-compose" if shutil.which("docker-compose") else "docker compose").split()


def run(*command, check=True, **options):
    """-> what it printed, standard error included."""
    ran = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         timeout=900, cwd=ROOT, **options)
    assert not check or ran.returncode == 0, f"{' '.join(map(str, command))}: status {ran.returncode}\n{ran.stdout[-4000:]}"
    return ran.stdout


def docker(*arguments, **options):
    return run("docker", *arguments, **options)


def wait(condition, what, seconds=PATIENCE_S):
    return wait_until(condition, what, seconds)


class Container:
    def __init__(self, identity):
        self.id = identity

    def __eq__(self, other):
        return self.id == other.id

    def inspect(self):
        return json.loads(docker("inspect", self.id))[0]

    @property
    def name(self):
        return self.inspect()["Name"].lstrip("/")

    @property
    def health(self):
        state = self.inspect()["State"]
        return state.get("Health", {}).get("Status", state["Status"])

    @property
    def pid(self):
        return self.inspect()["State"]["Pid"]

    def kill(self):
        """As a crash would, or the kernel when memory is short; `docker kill` would tell the engine not to restart it."""
        os.kill(self.pid, signal.SIGKILL)


class Gateway(Container):
    """Its operators' listener is not published: it is asked from within its network."""

    def ask_admin(self, path):
        return run("nsenter", "--net", "--target", self.pid, "curl", "-sS", "--max-time", "5", f"http://127.0.0.1:8081{path}")

    def ready(self, version):
        """The addresses of a version's ready replicas, and how often each was called."""
        status = json.loads(self.ask_admin("/status"))
        replicas = [replica for model in status["models"] for each in model["versions"]
                    if f"{model['name']}@{each['version']}" == version for replica in each["replicas"]]
        return {replica["address"]: replica["calls"] for replica in replicas if replica["state"] == "ready"}

    def digests(self, version):
        status = json.loads(self.ask_admin("/status"))
        return {replica["digest"] for model in status["models"] for each in model["versions"]
                if f"{model['name']}@{each['version']}" == version for replica in each["replicas"] if replica["state"] == "ready"}

    def metric(self, name, **labels):
        return Metrics(self.ask_admin("/metrics")).sum(name, **labels)

    def events(self, name):
        lines = [line for line in docker("logs", self.id).splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line["event"] == name]


class Project:
    """A Compose project of docker-compose.yml and overrides."""

    def __init__(self, name, *overrides, **environment):
        self.name = name
        self.files = [word for file in ("docker-compose.yml", *overrides) for word in ("-f", file)]
        self.environment = {**os.environ, "COMPOSE_PROJECT_NAME": name, "DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0",
                            **{key: str(value) for key, value in environment.items()}}

    def __call__(self, *arguments, **options):
        return run(*COMPOSE, *self.files, *arguments, env=self.environment, **options)

    def containers(self, service=None, kind=Container):
        labels = [f"label=com.docker.compose.project={self.name}"]
        labels += [f"label=com.docker.compose.service={service}"] if service else []
        listed = docker("ps", "-q", "--no-trunc", *(word for label in labels for word in ("--filter", label)))
        return [kind(identity) for identity in listed.split()]

    def container(self, service, kind=Container):
        found = self.containers(service, kind)
        assert len(found) == 1, f"{service}: {len(found)} containers"
        return found[0]

    def wait_healthy(self, services=0):
        def all_healthy():
            found = self.containers()
            return len(found) >= services and all(one.health in ("healthy", "running") for one in found)
        wait(all_healthy, lambda: self("ps") + self("logs", "--tail", "20"))


class Stack:
    """The same file on a Swarm of this one host, deployed as deploy/compose/swarm.yml says; both are gone at the end."""

    def __init__(self, name, **environment):
        self.name = name
        self.environment = {**os.environ, **{key: str(value) for key, value in environment.items()}}
        self.own_swarm = "inactive" in docker("info", "--format", "{{.Swarm.LocalNodeState}}")

    def __enter__(self):
        lines = (ROOT / "deploy/compose/swarm.yml").read_text().splitlines()
        start = next(i for i, line in enumerate(lines) if line.startswith("#   grep"))
        command = " ".join(line.strip("# ") for line in lines[start:start + 2])
        assert command.endswith(" xebec"), command
        if self.own_swarm:
            docker("swarm", "init", "--advertise-addr", "127.0.0.1")
        run("bash", "-o", "pipefail", "-c", command.removesuffix("xebec") + self.name, env=self.environment)
        return self

    def __exit__(self, *_):
        docker("stack", "rm", self.name)
        wait(lambda: not docker("ps", "-q", "--filter", f"label=com.docker.stack.namespace={self.name}").split(), "the stack to go")
        if self.own_swarm:
            docker("swarm", "leave", "--force")
        volumes = docker("volume", "ls", "-q", "--filter", f"label=com.docker.stack.namespace={self.name}").split()
        for volume in volumes:
            docker("volume", "rm", volume, check=False)

    def containers(self, service, kind=Container):
        listed = docker("ps", "-q", "--no-trunc", "--filter", f"label=com.docker.swarm.service.name={self.name}_{service}")
        return [kind(identity) for identity in listed.split()]

    def gateways(self):
        """Where clients are answered: the Swarm's balancer; on a kernel without IPVS, which has none, each gateway."""
        if pathlib.Path("/proc/net/ip_vs").exists():
            return [("127.0.0.1", int(self.environment["XEBEC_PORT"]))]
        listed = docker("ps", "-q", "--no-trunc", "--filter", f"label=com.docker.swarm.service.name={self.name}_gateway",
                        "--filter", "health=healthy").split()
        bridge = json.loads(docker("network", "inspect", "docker_gwbridge"))[0]["Containers"]
        return [(bridge[one]["IPv4Address"].split("/")[0], 8080) for one in listed if one in bridge]

    def wait_running(self, **services):
        """Each of the service's tasks runs, and is healthy where it says so."""
        def as_wanted():
            for service, count in services.items():
                found = self.containers(service.replace("_", "-"))
                if len(found) != count or any(one.health not in ("healthy", "running") for one in found):
                    return False
            return True
        wait(as_wanted, lambda: docker("stack", "ps", "--no-trunc", self.name))

    def scale(self, service, count):
        docker("service", "scale", "--detach", f"{self.name}_{service}={count}")

    def update(self, service):
        """Replaces every task of a service, as a new image would."""
        docker("service", "update", "--force", f"{self.name}_{service}")
