#!/usr/bin/python3
"""What operators do, and what happens to them, in a real engine, under load; every answer is counted.

    drive.py [SCENARIO ...]      all of them, in this order, or these: `drive.py --list`

Images are there already (run.sh builds them). Environment: XEBEC_IMAGES, COMPOSE (docker-compose, or "docker compose").
"""
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from engine import ROOT, Gateway, Project, Stack, docker, run, wait
from load import Load, ask_each, bodies
from xebec_testing.certificates import Authority  # engine knows where

IMAGES = os.environ.get("XEBEC_IMAGES", "xebec")
FOREST, LINEAR = "digits@forest", "digits@linear"
SCENARIOS = []


def scenario(what):
    def register(function):
        SCENARIOS.append((function.__name__, what, function))
        return function
    return register


def free_port():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        return reserved.getsockname()[1]


class System:
    """The project under test, with a second gateway where a scenario asks for it."""

    def __init__(self):
        self.ports = [free_port(), free_port()]
        self.both_gateways = [("127.0.0.1", port) for port in self.ports]
        self.first_gateway = self.both_gateways[:1]
        self.played = 0  # scenarios
        self.loads = []  # of the one that is played
        self.configs = pathlib.Path(shutil.copytree(ROOT / "configs", tempfile.mkdtemp() + "/configs"))
        self.configs.parent.chmod(0o755)  # the gateway is another user
        environment = {"XEBEC_PORT": self.ports[0], "XEBEC_PORT_2": self.ports[1], "PROMETHEUS_PORT": free_port(),
                       "XEBEC_CONFIGS": self.configs}
        self.one = Project("xebec-test", **environment)
        self.two = Project("xebec-test", "deploy/compose/two-gateways.yml", **environment)
        self.certificates = self.configs.parent / "certificates"
        self.secured = Project("xebec-test", "deploy/compose/tls.yml", XEBEC_TLS=self.certificates, **environment)
        self.hardened = Project("xebec-test", "deploy/compose/production.yml", **environment)
        self.prometheus_port = environment["PROMETHEUS_PORT"]

    @property
    def gateway(self):
        return self.one.container("gateway", Gateway)

    def load(self, endpoint, where=None, **how):
        """Loads side by side ask for the same rows, those of another scenario for others, which no cache knows."""
        self.loads.append(Load(where or self.first_gateway, endpoint, seed=self.played, **how))
        return self.loads[-1]

    def wait_forests(self, count, gateway=None):
        gateway = gateway or self.gateway
        wait(lambda: len(gateway.ready(FOREST)) == count, lambda: f"{count} replicas of {FOREST}: {gateway.ask_admin('/status')}")

    def scale_forest(self, count):
        self.one("up", "-d", "--no-build", "--scale", f"digits-forest={count}")

    def up(self):
        """As every scenario finds it: one of each, healthy."""
        self.one("up", "-d", "--no-build", "--remove-orphans", "--scale", "digits-forest=1")
        self.one.wait_healthy(4)
        self.wait_forests(1)


def nothing_lost(*loads):
    for load in loads:
        assert load.lost == 0 and not load.errors and not load.defaults, load.describe()
        assert load.answers > 0, load.describe()


# --- scenarios: each returns the remark for the summary -------------------------------------------------------------------

@scenario("up from nothing: healthy, and the README's curl line is answered")
def up(system):
    system.one("down", "-v", "--remove-orphans")
    started = time.monotonic()
    said = system.one("up", "-d", "--no-build")
    assert "WARNING" not in said and "not supported" not in said, said
    system.one.wait_healthy(4)
    seconds = time.monotonic() - started
    curl = re.search(r"^    (curl -s http://127\.0\.0\.1:8080/digits/predict --json '.*?')$", (ROOT / "README.md").read_text(), re.M | re.S)[1]
    reply = json.loads(run("bash", "-c", curl.replace(":8080", f":{system.ports[0]}")))
    assert reply["output"] == 0 and reply["default"] is False and reply["model"] in (LINEAR, FOREST), reply
    ended = subprocess.run(["docker", "exec", system.gateway.id, "xebec", "health"], capture_output=True, text=True)
    assert ended.returncode == 0 and json.loads(ended.stdout)["serving"] is True, ended
    return f"healthy after {seconds:.0f} s"


@scenario("scale up: 1 -> 3 replicas join, each is used, the gateway stays")
def scale_up(system):
    gateway, restarts = system.gateway, system.gateway.inspect()["RestartCount"]
    with system.load("digits") as both, system.load("digits-forest", clients=8) as forest:
        forest.wait_answers(100)
        system.scale_forest(3)
        system.wait_forests(3)
        wait(lambda: all(calls > 0 for calls in gateway.ready(FOREST).values()), lambda: f"calls to each: {gateway.ready(FOREST)}")
        forest.wait_answers(200)
    assert system.gateway == gateway and gateway.inspect()["RestartCount"] == restarts
    nothing_lost(both, forest)
    return "calls: " + ", ".join(map(str, gateway.ready(FOREST).values()))


@scenario("scale down: 3 -> 1 replica, two drain and leave")
def scale_down(system):
    system.scale_forest(3)
    system.wait_forests(3)
    with system.load("digits") as both, system.load("digits-forest", clients=8) as forest:
        forest.wait_answers(100)
        system.scale_forest(1)
        system.wait_forests(1)
        forest.wait_answers(200)
    nothing_lost(both, forest)
    return "1 replica left"


@scenario("kill -9 of one replica of two: the other answers, it comes back")
def kill_replica(system):
    system.scale_forest(2)
    system.wait_forests(2)
    with system.load("digits") as both, system.load("digits-forest", clients=8) as forest:
        for victim in system.one.containers("digits-forest"):
            forest.wait_answers(100)
            before = victim.pid
            victim.kill()
            wait(lambda: victim.pid not in (0, before), "the engine to start it again")
            system.wait_forests(2)
        forest.wait_answers(100)
    nothing_lost(both, forest)
    return "both killed, one after the other"


@scenario("kill -9 of the only replica: its requests wait, or go to the other version")
def kill_only_replica(system):
    victim = system.one.container("digits-forest")
    with system.load("digits") as both, system.load("digits-forest") as forest:
        both.wait_answers(100)
        before = victim.pid
        victim.kill()
        wait(lambda: victim.pid not in (0, before), "the engine to start it again")
        system.wait_forests(1)
        forest.wait_answers(50)
    nothing_lost(both, forest)
    return f"slowest {forest.quantile_ms(1):.0f} ms where requests wait, {both.quantile_ms(1):.0f} ms where they spill"


@scenario("a new image of one version: `up -d` of that service, old replies until new ones")
def upgrade(system):
    image = f"{IMAGES}/digits-forest"
    old = system.gateway.digests(FOREST)
    docker("tag", f"{image}:latest", f"{image}:before")
    try:
        docker("build", "-q", "-t", f"{image}:latest", "-", input=RETRAINED.format(image=f"{image}:before"))
        with system.load("digits") as both, system.load("digits-forest") as forest:
            forest.wait_answers(50)
            system.one("up", "-d", "--no-build", "--no-deps", "digits-forest")
            wait(lambda: (new := system.gateway.digests(FOREST)) and new.isdisjoint(old), "the new model")
            forest.wait_answers(50)
        new = system.gateway.digests(FOREST)
        system.one("up", "-d", "--no-build", "--no-deps", "digits-forest")  # and it is not replaced again without a reason
        assert system.gateway.digests(FOREST) == new
    finally:
        docker("tag", f"{image}:before", f"{image}:latest")
    nothing_lost(both, forest)
    return f"slowest {forest.quantile_ms(1):.0f} ms where requests wait, {both.quantile_ms(1):.0f} ms where they spill"


RETRAINED = """
FROM {image}
RUN ["python", "-c", "import joblib; from sklearn.datasets import load_digits; f = '/model/forest.joblib'; \\
m = joblib.load(f).set_params(random_state=99).fit(*load_digits(return_X_y=True)); joblib.dump(m, '/tmp/forest.joblib')"]
USER root
RUN ["mv", "/tmp/forest.joblib", "/model/forest.joblib"]
USER 10001:10001
"""


@scenario("the configuration changes: 90:10 becomes 10:90 by SIGHUP, a bad file changes nothing")
def reload(system):
    file = system.configs / "compose.yaml"
    was, gateway = file.read_text(), system.gateway
    try:
        with system.load("digits") as load:
            load.wait_answers(200)
            file.write_text(was.replace("weight: 10", "weight: ten"))
            system.one("kill", "-s", "HUP", "gateway")
            wait(lambda: gateway.events("reload_refused"), "a refusal")
            assert "split[1].weight" in gateway.events("reload_refused")[0]["first"], gateway.events("reload_refused")
            before = dict(load.ok)
            assert before[LINEAR] > 3 * before[FOREST], before
            file.write_text(was.replace("weight: 90", "weight: 1").replace("weight: 10", "weight: 9"))
            system.one("kill", "-s", "HUP", "gateway")
            wait(lambda: gateway.events("reloaded"), "the change")
            before = dict(load.ok)
            load.wait_answers(400)
            assert load.ok[FOREST] - before[FOREST] > 3 * (load.ok[LINEAR] - before[LINEAR]), (before, load.ok)
    finally:
        file.write_text(was)
        system.one("kill", "-s", "HUP", "gateway")
    nothing_lost(load)
    return "the same container all the while"


@scenario("TLS by its override and one line: certificates read-only, renewed by SIGHUP; a pair that does not fit changes nothing")
def tls(system):
    file, gateway_user = system.configs / "compose.yaml", 10001
    was, authority = file.read_text(), Authority(tempfile.mkdtemp(dir=system.configs.parent))
    system.certificates.mkdir()

    def shown():
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(system.first_gateway[0]))

    def put(certificate, key):
        shutil.copy(certificate, system.certificates / "server.crt")
        shutil.copy(key, system.certificates / "server.key")
        (system.certificates / "server.key").chmod(0o400)
        os.chown(system.certificates / "server.key", gateway_user, gateway_user)
        return ssl.PEM_cert_to_DER_cert(certificate.read_text())

    def reloaded(event):
        seen = len(system.gateway.events(event))
        system.secured("kill", "-s", "HUP", "gateway")
        wait(lambda: len(system.gateway.events(event)) > seen, event)

    first = authority.issue("server")
    first_shown = put(first.certificate, first.key)
    try:
        file.write_text(was + "\ntls: {certificate: /etc/xebec-tls/server.crt, key: /etc/xebec-tls/server.key}\n")
        system.secured("up", "-d", "--no-build", "--scale", "digits-forest=1")
        system.secured.wait_healthy(4)
        system.wait_forests(1)
        assert shown() == first_shown
        reply = json.loads(run("curl", "-s", "--cacert", authority.certificate, f"https://127.0.0.1:{system.ports[0]}/digits/predict",
                               "--json", json.dumps({"input": [0] * 64})))
        assert reply["default"] is False, reply
        mounts = {mount["Destination"]: mount["RW"] for mount in system.gateway.inspect()["Mounts"]}
        assert mounts["/etc/xebec-tls"] is False, mounts
        second = authority.issue("server")
        second_shown = put(second.certificate, second.key)
        reloaded("reloaded")
        assert shown() == second_shown != first_shown
        put(second.certificate, authority.issue("other").key)
        reloaded("reload_refused")
        assert shown() == second_shown
    finally:
        file.write_text(was)
    return "the same container all the while"


@scenario("Redis killed, stopped, paused: predictions go on, and it is used again afterwards")
def redis(system):
    redis = system.one.container("redis")
    with system.load("digits") as load:
        load.wait_answers(300)
        before = redis.pid
        redis.kill()
        wait(lambda: redis.pid not in (0, before), "the engine to start Redis again")
        load.wait_answers(300)
        system.one("stop", "redis")
        load.wait_answers(300)
        system.one("start", "redis")
        load.wait_answers(300)
        docker("pause", redis.id)
        load.wait_answers(600)
        docker("unpause", redis.id)
        docker("exec", redis.id, "redis-cli", "flushall")
        wait(lambda: keys_in(redis) > 100, "new answers in Redis")
        load.wait_answers(300)
    nothing_lost(load)
    return f"slowest {load.quantile_ms(1):.0f} ms; {keys_in(redis)} answers in Redis since"


def keys_in(redis):
    return int(docker("exec", redis.id, "redis-cli", "dbsize").split()[-1])


@scenario("Redis full (maxmemory, noeviction): predictions go on")
def redis_full(system):
    redis = system.one.container("redis")
    for setting in ("maxmemory-policy noeviction", "maxmemory 1mb"):
        docker("exec", redis.id, "redis-cli", "config", "set", *setting.split())
    with system.load("digits") as load:
        load.wait_answers(1500)
    full = "OOM" in docker("exec", redis.id, "redis-cli", "set", "one", "more", check=False)
    docker("restart", redis.id)  # as docker-compose.yml starts it
    assert full, "Redis was not full"
    nothing_lost(load)
    return f"slowest {load.quantile_ms(1):.0f} ms"


@scenario("two gateways on one Redis: what one has answered, the other knows")
def shared_answers(system):
    system.two("up", "-d", "--no-build", "--force-recreate", "--scale", "digits-forest=1")
    system.two.wait_healthy(5)
    second, redis, rows = system.two.container("gateway-2", Gateway), system.two.container("redis"), bodies(100, seed=3)
    first = ask_each(system.both_gateways[0], "digits-forest", rows)
    wait(lambda: keys_in(redis) > 90, lambda: f"answers of the first gateway in Redis: {keys_in(redis)}")
    again = ask_each(system.both_gateways[1], "digits-forest", rows)
    assert again == first, "the answers differ"
    computed = second.metric("xebec_batch_rows_sum")
    assert computed < len(rows) / 2, f"the second gateway had {computed:.0f} of {len(rows)} rows computed"
    return f"{len(rows) - computed:.0f} of {len(rows)} rows from Redis"


@scenario("a gateway replaced while another stands beside it: no answer lost")
def replace_gateway(system):
    system.two("up", "-d", "--no-build", "--scale", "digits-forest=1")
    system.two.wait_healthy(5)
    with system.load("digits", system.both_gateways, clients=8) as load:
        load.wait_answers(200)
        for service, other in ("gateway", "gateway-2"), ("gateway-2", "gateway"):
            old = system.two.container(service, Gateway)
            system.two("up", "-d", "--no-build", "--no-deps", "--force-recreate", service)
            wait(lambda: (new := system.two.containers(service)) and new[0] != old and new[0].health == "healthy", f"a new {service}")
            load.wait_answers(200)
    nothing_lost(load)
    system.one("up", "-d", "--no-build", "--remove-orphans", "--scale", "digits-forest=1")
    return f"{load.tried_elsewhere} connections closed on the way, tried elsewhere"


@scenario("production overrides: read-only, no privileges, limits; and it serves")
def production(system):
    system.hardened("up", "-d", "--no-build", "--remove-orphans", "--scale", "digits-forest=1")
    system.hardened.wait_healthy(4)
    for container in system.hardened.containers():
        host = container.inspect()["HostConfig"]
        assert host["ReadonlyRootfs"] and host["CapDrop"] and host["Memory"] and host["NanoCpus"] and host["PidsLimit"], container.name
        assert host["SecurityOpt"] == ["no-new-privileges:true"] and host["LogConfig"]["Config"]["max-size"], container.name
        assert container.inspect()["Config"]["User"] not in ("", "root", "0"), container.name
    system.wait_forests(1)
    with system.load("digits") as load:
        load.wait_answers(500)
    nothing_lost(load)
    return "4 containers, none runs as root"


@scenario("Prometheus finds the gateway, and an alert fires for a version without replicas")
def monitoring(system):
    system.one("--profile", "monitoring", "up", "-d", "--no-build", "--scale", "digits-forest=1")

    def ask(query):
        said = run("curl", "-s", "-G", f"http://127.0.0.1:{system.prometheus_port}/api/v1/query", "--data-urlencode", f"query={query}")
        return json.loads(said)["data"]["result"] if said.startswith("{") else []
    wait(lambda: [one["value"][1] for one in ask('up{job="xebec"}')] == ["1"], lambda: ask("up"))
    system.one("stop", "digits-linear")
    wait(lambda: ask('ALERTS{alertname="XebecVersionWithoutReplica",version="digits@linear",alertstate="firing"}'), lambda: ask("ALERTS"))
    system.one("start", "digits-linear")
    wait(lambda: not ask('ALERTS{alertname="XebecVersionWithoutReplica"}'), lambda: ask("ALERTS"))
    return "fired, and was over"


@scenario("down: every process ends well, nothing is left")
def down(system):
    gateway, containers = system.gateway, system.one.containers()
    with system.load("digits") as load:
        load.wait_answers(100)
    system.one("stop")
    said = gateway.events("stopped")
    assert [line["clean"] for line in said[-1:]] == [True], said
    for container in containers:
        assert container.inspect()["State"]["ExitCode"] == 0, f"{container.name}: {container.inspect()['State']}"
    system.one("--profile", "monitoring", "down", "-v", "--remove-orphans")
    assert not docker("ps", "-aq", "--filter", "label=com.docker.compose.project=xebec-test").split()
    return f"{len(containers)} containers ended with status 0"


@scenario("the same file as a stack on a Swarm: scaled, updated, gateways replaced")
def swarm(system):
    system.one("down", "-v", "--remove-orphans", "--timeout", "5")
    with Stack("xebec-test-swarm", XEBEC_PORT=system.ports[0], PROMETHEUS_PORT=system.prometheus_port) as stack:
        stack.wait_running(gateway=2, redis=1, digits_linear=2, digits_forest=2, prometheus=1)
        gateway = stack.containers("gateway", Gateway)[0]
        system.wait_forests(2, gateway)  # dnsrr: replicas, not one virtual address
        with system.load("digits", stack.gateways, tries=4) as both, \
                system.load("digits-forest", stack.gateways, tries=4) as forest:
            forest.wait_answers(50)
            stack.scale("digits-forest", 3)
            system.wait_forests(3, gateway)
            forest.wait_answers(50)
            stack.scale("digits-forest", 1)
            system.wait_forests(1, gateway)
            forest.wait_answers(50)
            stack.update("digits-forest")
            stack.update("gateway")
            forest.wait_answers(50)
        nothing_lost(both, forest)
    return f"{both.tried_elsewhere + forest.tried_elsewhere} connections closed on the way, tried again"


# --- the summary -------------------------------------------------------------------------------------------------------

def row_of(name, seconds, loads, verdict, remark):
    def count(of):
        return sum(of(load) for load in loads)
    slow = f"{max((load.quantile_ms(0.99) for load in loads), default=0):.0f}" if loads else ""
    return (name, f"{seconds:.0f}", count(lambda load: load.asked), count(lambda load: sum(load.ok.values())),
            count(lambda load: sum(load.defaults.values())), count(lambda load: sum(load.errors.values())),
            count(lambda load: load.lost), slow, verdict, remark)


def print_summary(rows):
    head = ("scenario", "s", "asked", "ok", "default", "error", "lost", "p99 ms", "", "")
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    print()
    for row in [head, *rows]:
        cells = [f"{cell:<{width}}" if i in (0, 8, 9) else f"{cell:>{width}}" for i, (cell, width) in enumerate(zip(row, widths))]
        print("  " + "  ".join(cells).rstrip())


def play(system, name, what, function):
    print(f"{name}: {what} ...", flush=True)
    started, verdict, remark = time.monotonic(), "ok", ""
    system.played += 1
    system.loads.clear()
    try:
        if name not in ("up", "swarm"):
            system.up()
        remark = function(system)
    except Exception as error:  # the other scenarios have something to say, too
        verdict = "FAILED"
        print(f"{name}: FAILED: {type(error).__name__}: {error}\n{system.one('logs', '--tail', '15', '--no-color', check=False)}")
        for failed in (one for load in system.loads for one in load.describe_failed()):
            print(f"{name}: not answered: {failed}")
    row = row_of(name, time.monotonic() - started, system.loads, verdict, remark)
    print(f"{name}: {verdict}, {row[1]} s; {remark}", flush=True)
    return row


def main():
    wanted = sys.argv[1:]
    if wanted == ["--list"]:
        print(*(f"{name:<20} {what}" for name, what, _ in SCENARIOS), sep="\n")
        return 0
    unknown = set(wanted) - {name for name, _, _ in SCENARIOS}
    if unknown:
        sys.exit(f"drive.py: no scenario {', '.join(sorted(unknown))}; --list lists them")
    system = System()
    try:
        rows = [play(system, *one) for one in SCENARIOS if not wanted or one[0] in wanted]
    finally:
        system.one("--profile", "monitoring", "down", "-v", "--remove-orphans", "--timeout", "5", check=False)
        shutil.rmtree(system.configs.parent)
    print_summary(rows)
    failed = [row for row in rows if row[8] != "ok"]
    print(f"\n{len(rows) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
