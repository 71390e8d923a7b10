"""What an operator sees: health, status, metrics, logs, signals, words on the command line."""
import datetime
import json
import signal
import socket
import subprocess
import time

import pytest
from xebec_testing.gateway import BINARY, one_model, run_xebec
from xebec_testing.http_client import encode_request
from xebec_testing.patience import PATIENCE, wait_until


# --- the operators' listener ------------------------------------------------------------------------------------

def test_health(puppet, start_gateway):
    puppet.kill()
    gateway = start_gateway(one_model([puppet.unix]))
    assert gateway.ask_admin("/health/live").status == 200
    ready = gateway.ask_admin("/health/ready")
    assert (ready.status, ready.json()) == (503, {"ready": False, "draining": False, "without_replica": ["m@v1"]})
    puppet.start()
    gateway.wait_ready()
    assert gateway.ask_admin("/health/ready").json() == {"ready": True, "draining": False, "without_replica": []}


def test_serving_begins_when_every_version_has_had_a_replica_and_lasts(puppet, start_gateway):
    puppet.kill()
    gateway = start_gateway(one_model([puppet.unix]))
    serving = gateway.ask_admin("/health/serving")
    assert (serving.status, serving.json()) == (503, {"serving": False, "draining": False, "without_replica": ["m@v1"]})
    puppet.start()
    wait_until(lambda: gateway.ask_admin("/health/serving").status == 200, "serving")
    puppet.kill()
    wait_until(lambda: gateway.ask_admin("/health/ready").status == 503, "the replica's loss to be noticed")
    serving = gateway.ask_admin("/health/serving")
    assert (serving.status, serving.json()) == (200, {"serving": True, "draining": False, "without_replica": ["m@v1"]})


def test_serving_does_not_wait_for_ever(puppet, start_gateway):
    puppet.kill()
    gateway = start_gateway(one_model([puppet.unix], timeouts={"start": "200ms"}))
    wait_until(lambda: gateway.ask_admin("/health/serving").status == 200, "serving")
    assert gateway.ask_admin("/health/ready").status == 503


def test_status(puppet, gateway_for):
    gateway = gateway_for(puppet, shards=2)
    gateway.predict(input=[1])
    status = gateway.status()
    assert (status["shards"], status["draining"], status["config"]) == (2, False, str(gateway.config_path))
    assert status["uptime_s"] >= 0
    model, = status["models"]
    assert (model["name"], model["inputs"]) == ("m", [{"name": "x", "datatype": "FP32", "shape": [-1, -1]}])
    version, = model["versions"]
    assert (version["version"], version["ready"], version["replicas_up"]) == ("v1", True, 1)
    replica, = version["replicas"]
    assert (replica["address"], replica["state"], replica["digest"]) == (puppet.unix, "ready", "d1")
    assert (replica["calls"], replica["failures"], replica["in_flight"]) == (1, 0, 0)
    assert status["endpoints"] == [{"name": "e", "slo_us": 30_000_000, "default": False,
                                    "when_unready": "spill", "sticky": None,
                                    "split": [{"model": "m@v1", "name": "m@v1", "weight": 1, "buckets": 10000}]}]


@pytest.mark.parametrize("method, path, status", [("GET", "/", 200), ("GET", "/nothing", 404), ("POST", "/metrics", 405)])
def test_other_pages(puppet, gateway_for, method, path, status):
    gateway = gateway_for(puppet)
    assert gateway.ask_admin(path, method).status == status


@pytest.mark.parametrize("policy", ["none", "fixed", "aimd", "quantile", "adaptive"])
def test_status_tells_the_policy(puppet, gateway_for, policy):
    gateway = gateway_for(puppet, model={"batching": {"policy": policy}})
    assert gateway.status()["models"][0]["batching"] == {"policy": policy, "max_rows": 1024}


@pytest.mark.parametrize("shards", [1, 2])
def test_metrics_agree_with_what_was_sent(puppet, gateway_for, shards):
    gateway = gateway_for(puppet.play(mode="raise_rows", bad=13), shards=shards, cache={"memory": "1MiB"})
    for number in range(5):
        gateway.predict(input=[number])
    gateway.predict(input_batch=[[0], [1], [20], [21]])
    gateway.predict(input=[13])
    gateway.predict(input_batch=[[13], [22]])
    gateway.predict(input="nonsense")
    gateway.predict("nobody", input=[1])
    metrics = gateway.metrics()

    def count(name, **labels):
        return metrics.sum(name, **labels)
    assert count("xebec_requests_total", endpoint="e") == 9
    assert {outcome: count("xebec_requests_total", endpoint="e", outcome=outcome)
            for outcome in ("ok", "model_error", "partial", "invalid_input")} == \
        {"ok": 6, "model_error": 1, "partial": 1, "invalid_input": 1}
    assert (count("xebec_rows_total", version="m@v1", outcome="ok"), count("xebec_rows_total", outcome="model_error")) == (10, 2)
    assert count("xebec_request_seconds_count", endpoint="e") == 9
    assert count("xebec_rpcs_total") == count("xebec_rpc_seconds_count") == len(puppet.calls())
    assert count("xebec_batch_rows_sum") == len(puppet.rows_seen()) == 5 + 2 + 1 + 2
    assert count("xebec_batches_total") == count("xebec_batch_rows_count") == len(puppet.calls())
    assert count("xebec_queue_seconds_count") > 0
    assert (count("xebec_cache_hits_total"), count("xebec_cache_misses_total")) == (2, 10)
    assert (count("xebec_queue_rows"), count("xebec_requests_open"), count("xebec_replicas_up")) == (0, 0, 1)
    assert metrics.type["xebec_request_seconds"] == "histogram"
    buckets = metrics.buckets("xebec_request_seconds", endpoint="e")
    assert [n for _, n in buckets] == sorted(n for _, n in buckets)
    assert buckets[-1] == (float("inf"), 9)


def test_every_metric_has_help_and_a_unit(puppet, gateway_for):
    metrics = gateway_for(puppet).metrics()
    assert len(metrics.help) >= 20
    for name, words in metrics.help.items():
        assert name.startswith("xebec_") and words and name in metrics.type
        assert metrics.type[name] != "counter" or name.endswith("_total")
        assert metrics.type[name] != "histogram" or name.endswith(("_seconds", "_rows"))


def test_requests_that_http_refused_are_counted(puppet, gateway_for):
    gateway = gateway_for(puppet, limits={"header": "1KiB"})
    with gateway.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 3000)
        client.read_end()
    assert gateway.metrics().sum("xebec_http_errors_total", cause="header_too_large") == 1


def test_the_admin_listener_answers_while_clients_wait(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="stall"), shards=1, model={"batching": {"calls": 1}})
    with gateway.connect() as client:
        client.send(encode_request("POST", "/e/predict", {"input_batch": [[n] for n in range(50)]}))
        puppet.wait_calls(1)
        puppet.play()
        assert gateway.status()["models"][0]["versions"][0]["replicas"][0]["in_flight"] >= 1
        puppet.release()
        assert client.read_reply().status == 200


# --- logs ------------------------------------------------------------------------------------------------------------

def test_log_lines(puppet, gateway_for):
    gateway = gateway_for(puppet)
    puppet.kill()
    gateway.wait_replica(puppet.unix, "down", "connecting")
    gateway.stop()
    log = gateway.log()
    names = [line["event"] for line in log]
    assert [name for name in names if name in ("serving", "draining", "stopped")] == ["serving", "draining", "stopped"]
    assert "replica_up" in names and "replica_down" in names
    assert all({"ts", "level", "event"} <= line.keys() and line["level"] in ("debug", "info", "warn", "error") for line in log)
    assert all(datetime.datetime.strptime(line["ts"], "%Y-%m-%dT%H:%M:%S.%fZ") for line in log)


@pytest.mark.parametrize("where", ["file", "stdout"])
def test_access_log(puppet, gateway_for, tmp_path, where):
    path = tmp_path / "access.log"
    # one shard, for each gathers its own lines
    gateway = gateway_for(puppet, shards=1, log={"access": "stdout" if where == "stdout" else str(path)})
    gateway.predict(input=[1])
    gateway.predict(input="nonsense")
    gateway.predict("nobody\"\\", input=[1])
    with gateway.connect() as client:
        client.send(b"nonsense\r\n\r\n")
        client.read_end()
    gateway.stop()
    lines = [json.loads(line) for line in (gateway.stdout_path if where == "stdout" else path).read_text().splitlines()]
    assert [line["status"] for line in lines] == [200, 400, 404, 400]
    assert (lines[0]["method"], lines[0]["path"]) == ("POST", "/e/predict")
    assert lines[2]["path"] == "/nobody\"\\/predict"


# --- signals -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("shards", [1, 2])
def test_draining_finishes_what_is_in_flight(puppet, gateway_for, stop, shards):
    gateway = gateway_for(puppet.play(mode="stall"), shards=shards)
    with gateway.connect() as idle, gateway.connect() as busy:
        assert idle.ask("GET", "/").status == 404
        busy.send(encode_request("POST", "/e/predict", {"input": [1]}))
        puppet.wait_calls(1)
        gateway.process.send_signal(stop)
        assert idle.read_end() == b""  # idle connections close
        ready = gateway.ask_admin("/health/ready")
        assert (ready.status, ready.json()["draining"]) == (503, True)
        with pytest.raises(OSError):
            with gateway.connect() as late:
                late.predict(input=[2])
                raise AssertionError("accepted while draining")
        assert gateway.process.poll() is None
        puppet.release()
        reply = busy.read_reply()
        assert (reply.status, reply.json()["output"], reply.headers["connection"]) == (200, [1], "close")
    log = gateway.wait(0)
    assert log[-1]["event"] == "stopped" and log[-1]["clean"] is True


def test_draining_is_bounded(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="stall"), timeouts={"drain": "300ms"})
    with gateway.connect() as client:
        client.send(encode_request("POST", "/e/predict", {"input": [1]}))
        puppet.wait_calls(1)
        gateway.terminate()
        client.read_end()
        log = gateway.wait(1)
    assert log[-1]["clean"] is False


def test_a_second_signal_stops_at_once(puppet, gateway_for):
    gateway = gateway_for(puppet.play(mode="stall"), timeouts={"drain": "1h"})
    with gateway.connect() as client:
        client.send(encode_request("POST", "/e/predict", {"input": [1]}))
        puppet.wait_calls(1)
        gateway.terminate()
        wait_until(lambda: gateway.events("draining"), "draining")
        gateway.terminate()
        gateway.wait(1)


@pytest.mark.parametrize("shards", [1, 2])
def test_idle_costs_nothing(puppet, gateway_for, shards):
    gateway = gateway_for(puppet, shards=shards, model={"health": {"interval": "2s", "timeout": "1s"}})
    gateway.predict(input=[1])
    time.sleep(0.3)
    before = gateway.cpu_ticks()
    time.sleep(3)
    assert gateway.cpu_ticks() - before <= 3, "ticks of 10 ms in 3 s: more than 1 %"


# --- xebec health ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("where", ["tcp", "tcp6", "unix"])
def test_health_asks_the_admin_listener(puppet, start_gateway, tmp_path, where):
    admin = {"tcp": "127.0.0.1:0", "tcp6": "[::1]:0", "unix": f"unix:{tmp_path}/admin.sock"}[where]
    gateway = start_gateway(one_model([puppet.unix], admin=admin))
    address = admin.replace(":0", f":{gateway.admin_port}") if where != "unix" else admin
    wait_until(lambda: run_xebec("health", address).returncode == 0, lambda: run_xebec("health", address))
    ended = run_xebec("health", address)
    assert (ended.returncode, json.loads(ended.stdout)["serving"], ended.stderr) == (0, True, "")


def test_health_of_a_gateway_that_waits_and_of_one_that_drains(puppet, start_gateway):
    puppet.kill()
    gateway = start_gateway(one_model([puppet.unix], timeouts={"drain": "1h"}))
    address = f"127.0.0.1:{gateway.admin_port}"
    ended = run_xebec("health", address)
    assert (ended.returncode, json.loads(ended.stdout)["without_replica"]) == (1, ["m@v1"])
    puppet.start()
    gateway.wait_ready()
    puppet.play(mode="stall")
    with gateway.connect() as client:
        client.send(encode_request("POST", "/e/predict", {"input": [1]}))
        puppet.wait_calls(1)
        gateway.terminate()
        wait_until(lambda: gateway.events("draining"), "draining")
        ended = run_xebec("health", address)
        assert (ended.returncode, json.loads(ended.stdout)["draining"]) == (1, True)
        puppet.release()
        assert client.read_reply().status == 200
        gateway.wait()


def test_health_when_nobody_is_there():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        ended = run_xebec("health", address)
    assert (ended.returncode, ended.stdout) == (1, f"no answer from {address}: Connection refused\n")


@pytest.mark.parametrize("says, words", [
    (b"", "Connection timed out"), (b"SSH-2.0-OpenSSH_9.2\r\n", "does not answer as the admin listener"),
    (b"HTTP/1.1 200 OK\r\n", "does not answer as the admin listener"), (b"\0" * 9000, "does not answer as the admin"),
])
def test_health_of_a_listener_that_is_none(says, words):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        asking = subprocess.Popen([BINARY, "health", address], stdout=subprocess.PIPE, text=True)
        accepted, _ = listener.accept()
        with accepted:
            accepted.recv(1000)
            if says:
                accepted.sendall(says)
                accepted.shutdown(socket.SHUT_WR)
            started = time.monotonic()
            said, _ = asking.communicate(timeout=PATIENCE)
            assert asking.returncode == 1 and words in said
            assert time.monotonic() - started < PATIENCE / 2


@pytest.mark.parametrize("address", ["", "8081", ":8081", "[]:8081", "]:8081", "localhost:8081", "127.0.0.1:", "127.0.0.1:http",
                                     "unix:", "unix:" + "x" * 200, "9" * 200 + ":1"])
def test_health_of_what_is_no_address(address):
    ended = run_xebec("health", address)
    assert (ended.returncode, ended.stderr) == (1, "") and ended.stdout.startswith(f"{address} is no address")


# --- the command line -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("listener", ["listen", "admin"])
def test_port_taken(puppet, tmp_path, listener):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        path = tmp_path / "taken.yaml"
        path.write_text(json.dumps(one_model([puppet.unix], **{listener: address})))
        ended = run_xebec("serve", "--config", path)
    assert ended.returncode == 1
    assert f"cannot listen on {address}: " in ended.stderr and "in use" in ended.stderr


def test_check_says_ok(puppet, tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(json.dumps(one_model([puppet.unix])))
    ended = run_xebec("check", "--config", path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{path}: ok: 1 model, 1 version, 1 endpoint\n", "")


def test_check_reports_every_problem_with_its_place_and_fix(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("lissten: 127.0.0.1:0\n"
                    "shards: many\n"
                    "models:\n"
                    "  m:\n"
                    "    input: {x: {datatype: FP23, shape: [-1]}}\n"
                    "    versions: {v1: {replicas: [unix:/r.sock]}}\n"
                    "endpoints:\n"
                    "  e: {slo: 20, model: m@v2}\n")
    for command in ("check", "serve"):
        ended = run_xebec(command, "--config", path)
        assert (ended.returncode, ended.stdout) == (2, "")
        lines = ended.stderr.splitlines()
        places = [line.split(": ")[0].removeprefix(str(path)) for line in lines]
        assert places == [":1:1", ":2:9", ":5:27", ":8:12", ":8:23"], ended.stderr
        for line, word in zip(lines, ["listen", "shards", "FP32", "20ms", "v1"]):
            assert word in line, line


def test_check_of_a_file_that_is_not_there(tmp_path):
    ended = run_xebec("check", "--config", tmp_path / "nothing.yaml")
    assert ended.returncode == 2 and "nothing.yaml" in ended.stderr


@pytest.mark.parametrize("arguments, words", [
    (["--help"], "xebec COMMAND --help"), (["serve", "--help"], "usage: xebec serve --config FILE"),
    (["check", "--help"], "usage: xebec check --config FILE"), (["version", "--help"], "usage: xebec version"),
    (["health", "--help"], "usage: xebec health [ADDRESS]"), (["version"], "xebec 0."), (["check", "--keys"], "models.NAME.batching.policy\t"),
])
def test_help(arguments, words):
    ended = run_xebec(*arguments)
    assert ended.returncode == 0 and words in ended.stdout and ended.stderr == ""


@pytest.mark.parametrize("arguments", [[], ["srve"], ["serve"], ["serve", "--config"], ["serve", "--konfig", "x"],
                                       ["health", "a", "b"], ["health", "--admin"]])
def test_wrong_usage(arguments):
    ended = run_xebec(*arguments)
    assert ended.returncode == 2 and ended.stdout == "" and "xebec" in ended.stderr
