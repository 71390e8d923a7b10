#!/usr/bin/python3
"""Plants what each lint is there to find, and checks that it is found: a lint that cannot fail is none."""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

LINT = pathlib.Path(__file__).parent
ROOT = LINT.parents[1]

# A gateway of headers alone: one a layer.
HEADERS = ["config/config.h", "config/keys.h", "shard.h", "edge/conn.h", "infer/route.h", "judge/canary.h", "replica/tensor.h",
           "replica/rpc.h", "rollouts/rollouts.h", "support/arena.h"]

#        file              include              part of what must be said; None: allowed
LAYERS = [
    ("main.c",           '"shard.h"',         None),
    ("shard.c",          '"edge/conn.h"',     None),
    ("edge/conn.c",      '"infer/route.h"',   None),
    ("edge/conn.c",      '"config/config.h"', None),
    ("edge/conn.c",      "<event2/event.h>",  None),
    ("replica/tensor.c", '"support/arena.h"', None),
    ("replica/tensor.c", '"replica/rpc.h"',   None),
    ("config/config.c",  '"replica/tensor.h"', None),
    ("config/yaml.c",    "<yaml.h>",          None),
    ("support/arena.c",  "<string.h>",        None),
    ("replica/worker_judge.c", '"worker.pb-c.h"', None),
    ("support/arena.c",  '"replica/tensor.h"', "support is below replica"),
    ("support/arena.c",  '"config/config.h"', "support knows nothing of configuration"),
    ("replica/rpc.c",    '"infer/route.h"',   "replica is below infer"),
    ("infer/route.c",    '"edge/conn.h"',     "infer is below edge"),
    ("edge/conn.c",      '"shard.h"',         "edge is below top"),
    ("edge/conn.c",      '"config/keys.h"',   "config.h and document.h are the headers"),
    ("rollouts/rollouts.c", '"shard.h"',      None),
    ("edge/conn.c",      '"rollouts/rollouts.h"', "edge is below top"),
    ("infer/route.c",    '"judge/canary.h"',  None),
    ("judge/canary.c",   '"infer/route.h"',   "judge is below infer"),
    ("config/config.c",  '"replica/rpc.h"',   "config may include"),
    ("edge/conn.c",      '"nothing.h"',       "no such header"),
    ("edge/http1.c",     "<event2/event.h>",  "this library's home is"),
    ("edge/conn.c",      "<http_parser.h>",   "this library's home is edge/http1.c"),
    ("replica/pool.c",   "<grpc/grpc.h>",     "this library's home is replica/rpc_core.c"),
    ("replica/rpc_h2.c", "<nghttp2/nghttp2.h>", "this library's home is edge/http2.c, replica/rpc_h2_session.c"),
    ("replica/rpc.c",    '"worker.pb-c.h"',   "this library's home is"),
    ("edge/conn.c",      "<simdjson.h>",      "this library's home is infer/codec_json.hh"),
    ("config/config.c",  "<yaml.h>",          "this library's home is config/yaml.c"),
    ("replica/rpc.c",    "<sodium.h>",        "this library's home is"),
]


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr

BASE = "deploy/kubernetes/base"
DEPLOY = [  # a file, what stands there, what shall, and what is said of it
    ("deploy/prometheus/alerts.yml", "xebec_retries_total", "xebec_retried_total", "no metric xebec_retried_total"),
    ("deploy/prometheus/alerts.yml", "runbook:", "runbock:", "needs a summary and a runbook"),
    ("tests/compose/alerts_test.yml", 'alertname="XebecRedisAway"', 'alertname="XebecRedisBack"', "XebecRedisAway is never made to fire"),
    ("docker-compose.yml", "digits-forest:", "digits-trees:", "no service digits-forest in docker-compose.yml"),
    ("docker-compose.yml", "stop_grace_period: 20s", "stop_grace_period: 5s", "must be longer than its drain"),
    ("deploy/compose/swarm.yml", "endpoint_mode: dnsrr", "endpoint_mode: vip", "needs endpoint_mode: dnsrr"),
    ("containers/sklearn/Dockerfile", "USER 10001", "USER 10002", "are not those of containers/sklearn/Dockerfile"),
    (f"{BASE}/gateway.yaml", "selector: {matchLabels: {app.kubernetes.io/name: gateway}}",
     "selector: {matchLabels: {app.kubernetes.io/name: gate}}", "does not select its own pods"),
    (f"{BASE}/gateway.yaml", "port: admin}, periodSeconds: 2", "port: operators}, periodSeconds: 2", "a probe asks port operators"),
    (f"{BASE}/gateway.yaml", "terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 15", "leaves no time to drain"),
    (f"{BASE}/gateway.yaml", "targetPort: http", "targetPort: web", "Service gateway: no port web"),
    (f"{BASE}/gateway.yaml", "kind: Deployment, name: gateway", "kind: Deployment, name: gate", "there is no such Deployment"),
    (f"{BASE}/digits.yaml", "clusterIP: None", "type: ClusterIP", "is not headless"),
    (f"{BASE}/redis.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "may do more than it must"),
    (f"{BASE}/network.yaml", "podSelector: {matchLabels: {app.kubernetes.io/name: gateway}}",
     "podSelector: {matchLabels: {app.kubernetes.io/name: gate}}", "NetworkPolicy gateway selects no pod"),
    (f"{BASE}/xebec.yaml", "shards: 2", "shards: 3", "not as configs/compose.yaml"),
    ("deploy/kubernetes/production/kustomization.yaml", "name: xebec/gateway,", "name: xebec/gate,", "from where xebec/gateway comes"),
]

DOCS = [  # what stands in a page, what shall, and what is said of it
    ("README.md", "(docs/a.md#the-log)", "(docs/b.md)", "README.md: links to docs/b.md, which is not there"),
    ("README.md", "#the-log)", "#the-logs)", "README.md: links to docs/a.md#the-logs; that page has no such heading"),
    ("README.md", "[r](docs/rest.md)", "", "README.md: does not link to docs/rest.md"),
    ("README.md", "gateway/support/err.h", "gateway/support/error.h", "names gateway/support/error.h, which is not there"),
    ("README.md", "| 1.5x |", "| 2.5x |", "README.md: no-op | 2.5x: a row of neither docs/benchmarks.md nor docs/peers.md"),
    ("README.md", "| 3.5x |", "| 4.5x |", "README.md: svm | 4.5x: a row of neither docs/benchmarks.md nor docs/peers.md"),
    ("docs/operating.md", "`xebec_rows_total`", "`xebec_rows`", "metric xebec_rows is not known"),
    ("docs/operating.md", "`xebec_rows_total`", "rows", "metric xebec_rows_total is missing"),
    ("docs/operating.md", "`replica_up`", "`replica_off`", "event replica_up is missing"),
    ("docs/operating.md", "| `stopped`", "| `serving`, `stopped`", "event serving is not known"),
    ("docs/rest.md", "| 503 |", "| 500 |", "cause 503 draining is missing"),
    ("deploy/prometheus/alerts.yml", "xebec_rows_total", "xebec_lines_total", "alerts.yml: metric xebec_lines_total is not known"),
]


class Planted(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="xebec-lint-"))
        self.addCleanup(shutil.rmtree, self.root)

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def test_layers(self):
        for header in HEADERS:
            self.write(f"gateway/{header}", "")
        for path, include, expected in LAYERS:
            with self.subTest(path=path, include=include):
                file = self.write(f"gateway/{path}", f"/* first line */\n#include {include}\n")
                code, said = run(sys.executable, LINT / "layers.py", self.root)
                file.unlink()
                self.assertEqual(code, 1 if expected else 0, said)
                if expected:
                    self.assertIn(f"gateway/{path}:2: {include[1:-1]}: ", said)
                    self.assertIn(expected, said)

    def test_layers_of_nothing(self):
        code, _ = run(sys.executable, LINT / "layers.py", self.root)
        self.assertEqual(code, 1)

    def config_docs(self, documented, sample):
        xebec = self.write("xebec", "#!/bin/sh\nprintf 'limits.rows\\tinteger\\t16\\trows\\nmodels.NAME.ttl\\tduration\\t10m\\ttime\\n'\n")
        xebec.chmod(0o755)
        self.write("docs/configuration.md", documented)
        self.write("configs/reference.yaml", sample)
        return run(sys.executable, LINT / "config_docs.py", xebec, self.root)

    def test_config_docs(self):
        documented = "| `limits.rows` | integer | `16` | Rows |\n| `models.NAME.ttl` | duration | `10m` | Time |\n"
        sample = "limits:\n  rows: 16 # rows\nmodels:\n  digits:\n    ttl: 10m\n"
        self.assertEqual(self.config_docs(documented, sample)[0], 0)
        for page, file, expected in [
            (documented.replace("16", "17"), sample, "limits.rows is integer | 17, the gateway says integer | 16"),
            (documented.splitlines()[0], sample, "docs/configuration.md: key models.NAME.ttl is missing"),
            (documented + "| `redis` | text | none | No |\n", sample, "key redis is not known"),
            (documented, sample.replace("16", "17"), "limits.rows is 17, the default is 16"),
            (documented, sample.replace("ttl: 10m", "tll: 10m"), "key models.digits.tll is not known"),
            (documented, "limits:\n  rows: 16\n", "reference.yaml: key models.NAME.ttl is missing"),
        ]:
            with self.subTest(expected=expected):
                code, said = self.config_docs(page, file)
                self.assertEqual(code, 1, said)
                self.assertIn(expected, said)

    def test_docs(self):
        self.write("README.md", "# X\n\n[log](docs/a.md#the-log), [b](docs/benchmarks.md), [o](docs/operating.md), [r](docs/rest.md), [p](docs/peers.md), see gateway/support/err.h, `[no](link)`\n\n## How fast\n\n| no-op | 1.5x |\n| svm | 3.5x |\n")
        self.write("docs/a.md", "# A\n\n## The `log`!\n\n```\n[no](link)\n```\n")
        self.write("docs/benchmarks.md", "| no-op | 1.5x |\n")
        self.write("docs/peers.md", "| svm | 3.5x |\n")
        self.write("docs/operating.md", "## The log\n\n| `replica_up` | info |\n| `stopped` | info |\n\n## More\n\n`xebec_rows_total`\n")
        self.write("docs/rest.md", "## Errors\n\n| 503 | `draining` | |\n")
        self.write("deploy/prometheus/alerts.yml", "expr: rate(xebec_rows_total[1m])\n")
        self.write("gateway/support/metrics.h", 'X(METRIC_ROWS, COUNTER, "xebec_rows_total", "Rows.")\n')
        self.write("gateway/support/err.h", 'X(GW_E_DRAINING, 503, 14, "draining", "the gateway is shutting down")\n')
        self.write("gateway/main.c", 'log_info("stopped");\n{"replica_up", LOG_INFO_LEVEL}\nlog_debug("not_told");\n')
        code, said = run(sys.executable, LINT / "docs.py", self.root)
        self.assertEqual(code, 0, said)
        for path, old, new, expected in DOCS:
            with self.subTest(expected=expected):
                was = (self.root / path).read_text(encoding="utf-8")
                self.assertIn(old, was)
                self.write(path, was.replace(old, new, 1))
                code, said = run(sys.executable, LINT / "docs.py", self.root)
                self.write(path, was)
                self.assertEqual(code, 1, said)
                self.assertIn(expected, said)

    def test_format(self):
        for text, expected in [("int main(void)\n{\n    return 0;\n}\n", 0), ("int main(void){return 0;}\n", 1)]:
            with self.subTest(text=text):
                self.write(".clang-format", (ROOT / ".clang-format").read_text(encoding="utf-8"))
                file = self.write("gateway/main.c", text)
                code, said = run("sh", LINT / "format.sh", file)
                self.assertEqual(code, expected, said)
                self.assertEqual(str(file) in said, bool(expected), said)

    def test_deploy(self):
        for folder in ("deploy", "configs", "containers/sklearn", "tests/compose"):
            shutil.copytree(ROOT / folder, self.root / folder)
        self.write("docker-compose.yml", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
        self.write("gateway/support/metrics.h", (ROOT / "gateway/support/metrics.h").read_text(encoding="utf-8"))
        self.assertEqual(run(sys.executable, LINT / "deploy.py", self.root)[0], 0)
        for path, old, new, expected in DEPLOY:
            with self.subTest(expected=expected):
                was = (self.root / path).read_text(encoding="utf-8")
                self.assertIn(old, was)
                self.write(path, was.replace(old, new, 1))
                code, said = run(sys.executable, LINT / "deploy.py", self.root)
                self.write(path, was)
                self.assertEqual(code, 1, said)
                self.assertIn(expected, said)


if __name__ == "__main__":
    unittest.main()
