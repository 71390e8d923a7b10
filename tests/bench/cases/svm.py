"""A model as people have them: what batching is worth, and whether the objective is kept."""

import os
import re
import subprocess

from .bench import floats_body, Gateway, lua_body, median_of, ROOT, row


def train_svm(bench):
    import joblib
    import numpy
    from sklearn.svm import LinearSVC

    random = numpy.random.default_rng(7)
    x = random.random((2000, 784), dtype=numpy.float32)
    y = (x @ random.standard_normal((784, 10))).argmax(axis=1)
    path = bench.folder / "svm.joblib"
    joblib.dump(LinearSVC(dual=False, max_iter=50, random_state=7).fit(x, y), path)
    return path


def start_svm(bench, name, path):
    address = f"unix:{bench.folder}/{name}.sock"
    os.environ["PYTHONPATH"] = f"{ROOT}/containers/python/src:{ROOT}/containers/sklearn/src:{ROOT}/containers/sklearn"
    bench.processes.start(name, "/usr/bin/python3", "-m", "xebec_sklearn", "--model-file", str(path), "--name", "m",
                          "--version", "v", "--listen", address, "--method", "predict", "--input", "x:FP32:-1,784")
    return address


def tail(bench, url, body, rps):
    """p99 in milliseconds, and the share that was answered well."""
    times, asked = bench.open_loop(url, body, rps, 200)
    return times[int(len(times) * 0.99)] / 1e3 if times else float("inf"), len(times) / max(1, asked)


def case_svm(bench):
    path = train_svm(bench)
    script = bench.script("svm", lua_body(floats_body(784)))
    body = bench.folder / "svm.json"
    body.write_text(floats_body(784))
    batched = Gateway(bench, "svm-aimd", 784, start_svm(bench, "svm1", path), "policy: aimd", cache=False, slo="20ms")
    single = Gateway(bench, "svm-none", 784, start_svm(bench, "svm2", path), "policy: none", cache=False, slo="2s")
    settle(bench, batched.url, script)
    ours, theirs = bench.in_turns(lambda: goodput(bench, batched.url, script, 256), lambda: goodput(bench, single.url, script, 256))
    p99, good = median_of([tail(bench, batched.url, body, 0.8 * ours) for _ in range(bench.runs)])
    batched.stop()
    single.stop()
    return [row("linear SVM, 784 floats, Python replica, SLO 20 ms: aimd", "policy none", "rps", ours, theirs, 15),
            row(f"the same at 80 % of its peak, open loop ({good:.1%} answered in time)", "the SLO, 20 ms", "p99 ms", p99, 20.0,
                1.0, at_most=True)]


def goodput(bench, url, script, connections):
    """Requests a second that were answered 200."""
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{bench.seconds}s", "--latency", "-s", script, url],
                         capture_output=True, text=True, check=True).stdout
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    total = int(re.search(r"(\d+) requests in", out)[1])
    seconds = float(re.search(r"requests in ([\d.]+)s", out)[1])
    return (total - int(failed[1] if failed else 0)) / seconds


def settle(bench, url, script):
    """The policy learns its limit before anything counts."""
    for _ in range(2):
        goodput(bench, url, script, 256)
