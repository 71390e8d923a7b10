"""The suite itself: it finds nothing wrong with a server that is right, and each fault of one that is wrong is found by one clause."""
import json
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
prepared = subprocess.run([HERE / "run.sh", "--prepare"], capture_output=True, text=True, timeout=400)
if prepared.returncode:
    pytest.skip(f"pip can't reach a package index: {prepared.stderr.strip().splitlines()[-1]}", allow_module_level=True)
python = pathlib.Path(prepared.stdout.strip().splitlines()[-1])
sys.path[:0] = [str(HERE), *map(str, python.parents[1].glob("lib/python3*/site-packages"))]
from oip import __main__ as command  # noqa: E402
from oip.clauses import FAIL, NOT_APPLICABLE, clauses, judge  # noqa: E402
from oip.rpc import Rpc  # noqa: E402
from oip.target import Target  # noqa: E402
from wrong_server import WrongServer  # noqa: E402

clauses.sort(key=lambda each: command.ORDER.index(each.check.__module__))
HALVES = ("infer.datatype.FP16", "infer.datatype.BF16")  # of what only the model Halves has


def run(model="Echo", fault=None, only=("*",)):
    with WrongServer(fault) as server:
        target = Target(server.url, model, Rpc(server.grpc, 5), timeout=5)
        try:
            return judge(target, only)
        finally:
            target.rpc.channel.close()


def names(results, verdict):
    return {each.clause.name: each.reason for each in results if each.verdict == verdict}


@pytest.mark.parametrize("model", ["Echo", "Halves"])
def test_nothing_is_wrong_with_a_right_server(model):
    results = run(model)
    assert names(results, FAIL) == {}
    if model == "Echo":
        assert set(names(results, NOT_APPLICABLE)) == set(HALVES), "every other clause is tried"


@pytest.mark.parametrize("fault", [each.name for each in clauses])
def test_a_fault_is_found_by_its_clause_alone(fault):
    assert set(names(run("Halves" if fault in HALVES else "Echo", fault), FAIL)) == {fault}


def ask(*arguments):
    return subprocess.run([HERE / "run.sh", *arguments], capture_output=True, text=True, timeout=120)


def test_the_command(tmp_path):
    with WrongServer("infer.id.any") as server:
        done = ask("--url", server.url, "--grpc", server.grpc, "--model", "Echo", "--json", tmp_path / "report.json")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "MUST that fail: infer.id.any\n" in done.stdout and "'Grüße" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["counts"]["MUST"]["fail"] == 1 and report["counts"]["SHOULD"]["fail"] == 0
    found = next(each for each in report["clauses"] if each["name"] == "infer.id.any")
    assert found["verdict"] == "fail" and found["section"] and "Gr" in found["exchanges"][-1]["received"]


def test_a_should_is_no_must_and_grpc_need_not_be_there():
    with WrongServer("error.type") as server:
        done = ask("--url", server.url, "--model", "Echo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no --grpc was given" in done.stdout and "SHOULD that fail: error.type\n" in done.stdout


def test_inputs_that_are_told():
    with WrongServer("metadata.inputs") as server:
        told = ask("--url", server.url, "--model", "Halves", "--input", "in_FP16:FP16:-1,3", "--input", "in_BF16:BF16:-1,3", "--only", "infer.*")
        untold = ask("--url", server.url, "--model", "Halves", "--only", "infer.*")
    assert "pass  MUST    infer.status" in told.stdout and "n/a   MUST    infer.status" in untold.stdout


def test_nobody_is_there():
    done = ask("--url", "http://127.0.0.1:1", "--model", "m")
    assert done.returncode == 2 and "no answer" in done.stderr
