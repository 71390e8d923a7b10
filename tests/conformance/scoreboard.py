"""The suite against Xebec and other servers of the protocol, all with the same models; the table of docs/conformance.md.

    tests/conformance/scoreboard.sh                      prints the table, as Markdown
    tests/conformance/scoreboard.sh --write              puts it into docs/conformance.md, between its marks
    tests/conformance/scoreboard.sh --only xebec triton --keep FOLDER

Servers are installed as tests/bench/peers.sh installs them, under build/peers. A clause holds for a server where it holds with each
model that gives occasion for it.
"""
import argparse
import datetime
import html
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests/bench"), str(HERE / "servers")]
from peers import mlserver, processes, triton  # noqa: E402
from peers.peer import Model, Peer, Run, free_port  # noqa: E402
from shapes import MODELS  # noqa: E402

PAGE = ROOT / "docs/conformance.md"
MARKS = ("<!-- scoreboard -->", "<!-- /scoreboard -->")
SIGNS = {"pass": "yes", "fail": "**no**", "n/a": "–"}
FAILS_FIRST = ("fail", "pass", "n/a")
PATIENCE = 90


class Xebec(Peer):
    """One xebec-echo for each model. It answers gRPC where it answers REST."""
    name, title = "xebec", "Xebec"

    def install(self):
        return False

    def start(self, run):
        config = {"listen": f"127.0.0.1:{run.port}", "admin": f"127.0.0.1:{run.spare_port()}", "log": {"level": "warn"}, "models": {}, "endpoints": {}}
        for model, inputs in MODELS.items():
            socket = f"unix:{run.folder}/{model}.sock"
            options = [word for name, datatype, shape in inputs for word in ("--input", f"{name}:{datatype}:{','.join(map(str, shape))}")]
            run.start(ROOT / "build/release/bin/xebec-echo", "--listen", socket, "--name", model, "--version", "v1", *options)
            tensors = {name: {"datatype": datatype, "shape": shape} for name, datatype, shape in inputs}
            config["models"][model] = {"input": tensors, "output": tensors, "versions": {"v1": {"replicas": [socket]}}}
            config["endpoints"][model] = {"slo": "5s", "model": f"{model}@v1"}
        run.write("xebec.yaml", config)
        run.start(ROOT / "build/release/xebec", "serve", "--config", run.folder / "xebec.yaml")
        run.grpc = run.port


class MLServer(mlserver.MLServer):
    title = "MLServer"

    def start(self, run):
        run.grpc = run.spare_port()
        run.write("settings.json", {"debug": False, "host": "127.0.0.1", "http_port": run.port, "grpc_port": run.grpc, "metrics_endpoint": None,
                                    "parallel_workers": 0})
        for model, inputs in MODELS.items():
            tensors = [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in inputs]
            run.write(f"{model}/model-settings.json", {"name": model, "implementation": "mlserver_echo.Echo", "inputs": tensors, "outputs": tensors,
                                                       "platform": "python_echo", "parameters": {"version": "v1"}})
        run.start(self.bin("mlserver"), "start", run.folder, PYTHONPATH=HERE / "servers")


class KServe(Peer):
    """It takes binary tensors, and does not say so in its metadata."""
    name, title = "kserve", "KServe"
    options = ["--extension", "binary_tensor_data"]
    requirements = [ROOT / "tests/integration/clients/kserve.txt"]

    def start(self, run):
        run.grpc = run.spare_port()
        run.start(self.bin("python"), HERE / "servers/kserve_echo.py", "--http_port", run.port, "--grpc_port", run.grpc, PYTHONPATH=HERE / "servers")


class Triton(triton.Triton):
    title = "Triton"

    def start(self, run):
        run.grpc = run.spare_port()
        for model, inputs in MODELS.items():
            config = ['backend: "python"\nmax_batch_size: 0\ninstance_group [ { kind: KIND_CPU count: 1 } ]']
            for name, datatype, shape in inputs:
                told = f'{{ name: "{name}" data_type: TYPE_{"STRING" if datatype == "BYTES" else datatype} dims: {shape} }}'
                config += [f"input [ {told} ]", f"output [ {told} ]"]
            run.write(f"repository/{model}/config.pbtxt", "\n".join(config))
            run.write(f"repository/{model}/1/model.py", (HERE / "servers/triton_echo.py").read_text())
        run.start(self.server / "bin/tritonserver", "--model-repository", run.folder / "repository", "--backend-directory", self.server / "backends",
                  "--http-address", "127.0.0.1", "--http-port", run.port, "--grpc-address", "127.0.0.1", "--grpc-port", run.grpc,
                  "--allow-metrics", "false", "--log-info", "false", PYTHONPATH=f"{self.packages}")


SERVERS = {each.name: each for each in (Xebec(), Triton(), MLServer(), KServe())}


# --- running ------------------------------------------------------------------------------------------------

def say(text):
    print(f"scoreboard: {text}", file=sys.stderr, flush=True)


def wait_ready(run):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and not run.ended():
        try:
            if all(urllib.request.urlopen(f"http://127.0.0.1:{run.port}/v2/models/{model}/ready", timeout=2).status == 200 for model in MODELS):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"scoreboard: it does not become ready:\n{run.log(40)}")


def judge(peer, keep):
    """{model: report}"""
    with tempfile.TemporaryDirectory(prefix=f"conformance-{peer.name}") as folder:
        run = Run(Model("echo", [], [], 0), Path(folder), free_port())
        try:
            peer.start(run)
            wait_ready(run)
            options = ["--grpc", f"127.0.0.1:{run.grpc}", *getattr(peer, "options", [])]
            return {model: ask(run, model, options, keep / f"{peer.name}-{model}") for model in MODELS}
        finally:
            processes.stop(run.roots)


def ask(run, model, options, base):
    report = base.with_suffix(".json")
    command = [HERE / "run.sh", "--url", f"http://127.0.0.1:{run.port}", "--model", model, "--json", report, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    base.with_suffix(".txt").write_text(done.stdout + done.stderr + "\n--- the server's last words ---\n" + run.log(60))
    if done.returncode not in (0, 1):
        raise SystemExit(f"scoreboard: {done.stderr}")
    return json.loads(report.read_text())


# --- the table ----------------------------------------------------------------------------------------------

def merged(reports):
    """[(clause, verdict, reason)] over a server's models: the worst, and its reason."""
    lists = [report["clauses"] for report in reports.values()]
    found = []
    for several in zip(*lists):
        worst = min(several, key=lambda each: FAILS_FIRST.index(each["verdict"]))
        found.append((worst, worst["verdict"], worst["reason"]))
    return found


def table(results):
    """Markdown: how many hold, then every clause that somebody fails, with a note for each."""
    names = list(results)
    board = {name: {clause["name"]: (verdict, reason) for clause, verdict, reason in merged(results[name])} for name in names}
    clauses = [clause for clause, _, _ in merged(results[names[0]])]
    lines = ["| | " + " | ".join(f"{SERVERS[name].title} {next(iter(results[name].values()))['server']['version']}" for name in names) + " |", "|---|" + "---|" * len(names)]
    for part, prefix in (("REST", ""), ("binary tensors", "binary."), ("gRPC", "grpc.")):
        for level in ("MUST", "SHOULD"):
            mine = [clause for clause in clauses if clause["level"] == level and part_of(clause["name"]) == prefix]
            lines.append(f"| {part}, {level} | " + " | ".join(score(board[name], mine) for name in names) + " |")
    lines += ["", "Clauses that hold everywhere they apply, " + str(sum(all(board[name][each["name"]][0] != "fail" for name in names) for each in clauses))
              + f" of {len(clauses)}, are left out of this table; – where a clause does not apply.", ""]
    lines += ["| clause | | " + " | ".join(SERVERS[name].title for name in names) + " |", "|---|---|" + "---|" * len(names)]
    notes = []
    for clause in clauses:
        row = [board[name][clause["name"]] for name in names]
        if any(verdict == "fail" for verdict, _ in row):
            cells = [cell(verdict, reason, SERVERS[name].title, clause["name"], notes) for name, (verdict, reason) in zip(names, row)]
            lines.append(f"| `{clause['name']}` {html.escape(clause['says'], quote=False)} | {clause['level']} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *notes])


def part_of(name):
    return next((prefix for prefix in ("binary.", "grpc.") if name.startswith(prefix)), "")


def score(board, clauses):
    verdicts = [board[each["name"]][0] for each in clauses]
    applied = sum(verdict != "n/a" for verdict in verdicts)
    return f"{verdicts.count('pass')} of {applied}" if applied else "–"


def cell(verdict, reason, title, clause, notes):
    if verdict != "fail":
        return SIGNS[verdict]
    notes.append(f"{len(notes) + 1}. {title}, `{clause}`: {plain(reason)}")
    return f"{SIGNS[verdict]} ({len(notes)})"


def plain(reason):
    """One line, without what Markdown would take for its own."""
    line = " ".join(reason.split())
    return "`" + (line if len(line) <= 200 else line[:200] + " ...").replace("`", "'") + "`"


def write(text):
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    PAGE.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(prog="tests/conformance/scoreboard.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SERVERS, default=list(SERVERS), metavar="SERVER", help=", ".join(SERVERS))
    parser.add_argument("--keep", type=Path, default=ROOT / "build/conformance", help="where the reports go (default build/conformance)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/conformance.md")
    args = parser.parse_args()
    processes.adopt_orphans()
    args.keep.mkdir(parents=True, exist_ok=True)
    results = {}
    for name in args.only:
        peer = SERVERS[name]
        if peer.install():
            say(f"{name}: installed")
        began = time.monotonic()
        results[name] = judge(peer, args.keep)
        say(f"{name}: {time.monotonic() - began:.0f} s, reports in {args.keep}")
    text = f"Measured on {datetime.date.today():%Y-%m-%d}.\n\n{table(results)}"
    write(text) if args.write else print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
