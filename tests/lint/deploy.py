#!/usr/bin/python3
"""Checks that what operators copy fits together: Compose files, Kubernetes manifests, alerts, and the code they are about.

    deploy.py [ROOT]

No engine and no cluster is needed: names, ports, labels and times are compared where they stand. What runs is tested by
tests/compose/run.sh.
"""
import pathlib
import re
import sys

import yaml

DRAIN_S = 10  # timeouts.drain, unless the configuration says otherwise


class Tree:
    """The checkout: files as text, as YAML, as a list of YAML documents."""

    def __init__(self, root):
        self.root = pathlib.Path(root)

    def text(self, path):
        return (self.root / path).read_text(encoding="utf-8")

    def yaml(self, path):
        return yaml.safe_load(self.text(path))

    def manifests(self):
        base = self.root / "deploy/kubernetes/base"
        files = [base / name for name in self.yaml("deploy/kubernetes/base/kustomization.yaml")["resources"]]
        return [document for file in files for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


# --- alerts ------------------------------------------------------------------------------------------------------------

def check_alerts(tree):
    known = set(re.findall(r'"(xebec_\w+)"', tree.text("gateway/support/metrics.h")))
    tests = tree.text("tests/compose/alerts_test.yml")
    for rule in (rule for group in tree.yaml("deploy/prometheus/alerts.yml")["groups"] for rule in group["rules"]):
        for metric in re.findall(r"\bxebec_\w+", re.sub(r"endpoint:xebec_\w+:\w+", "", rule["expr"])):
            if re.sub(r"_(bucket|sum|count)$", "", metric) not in known:
                yield f"deploy/prometheus/alerts.yml: no metric {metric}"
        if "alert" in rule and not {"summary", "runbook"} <= rule.get("annotations", {}).keys():
            yield f"deploy/prometheus/alerts.yml: {rule['alert']} needs a summary and a runbook"
        if "alert" in rule and f'alertname="{rule["alert"]}"' not in tests:
            yield f"tests/compose/alerts_test.yml: {rule['alert']} is never made to fire"


# --- Compose and Swarm -------------------------------------------------------------------------------------------------

def names_in_config(tree):
    """Hosts that configs/compose.yaml looks up: replicas by dns:, and Redis."""
    text = tree.text("configs/compose.yaml")
    return set(re.findall(r'"dns:([\w.-]+):\d+"', text)), set(re.findall(r"redis://([\w.-]+):\d+", text))


def check_compose(tree):
    models, caches = names_in_config(tree)
    services = tree.yaml("docker-compose.yml")["services"]
    swarm = tree.yaml("deploy/compose/swarm.yml")["services"]
    if not models or not caches:
        yield "configs/compose.yaml: names no replicas by dns:, or no Redis"
    for name in models | caches:
        if name not in services:
            yield f"configs/compose.yaml: no service {name} in docker-compose.yml"
        elif swarm.get(name, {}).get("deploy", {}).get("endpoint_mode") != "dnsrr":
            yield f"deploy/compose/swarm.yml: {name} needs endpoint_mode: dnsrr, or its name is one virtual address"
    for path in sorted((tree.root / "deploy/compose").glob("*.yml")):
        for name, service in tree.yaml(path.relative_to(tree.root))["services"].items():
            if name not in services and "image" not in service:
                yield f"{path.relative_to(tree.root)}: no service {name} in docker-compose.yml"
    if int(services["gateway"]["stop_grace_period"].rstrip("s")) <= DRAIN_S:
        yield "docker-compose.yml: the gateway's stop_grace_period must be longer than its drain"


def stages_of(dockerfile):
    """Instructions without comments and blank lines."""
    return [line for line in dockerfile.splitlines() if line.strip() and not line.startswith("#")]


def check_digits_image(tree):
    """Its stages up to `sklearn` are those of the container that users start FROM."""
    container = stages_of(tree.text("containers/sklearn/Dockerfile"))
    last = max(i for i, line in enumerate(container) if line.startswith("FROM"))
    container[last] += " AS sklearn"
    if stages_of(tree.text("deploy/compose/digits/Dockerfile"))[:len(container)] != container:
        yield "deploy/compose/digits/Dockerfile: its first stages are not those of containers/sklearn/Dockerfile"


# --- Kubernetes ----------------------------------------------------------------------------------------------------------

def pod_of(deployment):
    return deployment["spec"]["template"]


def selects(selector, labels):
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", []))


def ports_of(deployment):
    return {port["name"]: port["containerPort"] for container in pod_of(deployment)["spec"]["containers"]
            for port in container["ports"]}


def check_deployment(deployment):
    name, pod = deployment["metadata"]["name"], pod_of(deployment)
    if not selects(deployment["spec"]["selector"], pod["metadata"]["labels"]):
        yield f"kubernetes: Deployment {name} does not select its own pods"
    for container in pod["spec"]["containers"]:
        for probe in (container.get(kind, {}) for kind in ("startupProbe", "readinessProbe", "livenessProbe")):
            port = (probe.get("httpGet") or probe.get("grpc") or probe.get("tcpSocket") or {}).get("port")
            if port is not None and port not in (*ports_of(deployment), *ports_of(deployment).values()):
                yield f"kubernetes: Deployment {name}: a probe asks port {port}, which it does not have"
        security = container["securityContext"]
        if not security["readOnlyRootFilesystem"] or security["allowPrivilegeEscalation"] or security["capabilities"] != {"drop": ["ALL"]}:
            yield f"kubernetes: Deployment {name}: {container['name']} may do more than it must"
        stop = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
        if pod["spec"].get("terminationGracePeriodSeconds", 30) <= int(stop[1]) + DRAIN_S:
            yield f"kubernetes: Deployment {name}: terminationGracePeriodSeconds leaves no time to drain"


def check_references(deployments, others):
    """Whatever points at pods or Deployments points at some."""
    pods = [pod_of(deployment)["metadata"]["labels"] for deployment in deployments.values()]
    for other in others:
        kind, name, spec = other["kind"], other["metadata"]["name"], other["spec"]
        if kind == "HorizontalPodAutoscaler":
            if spec["scaleTargetRef"]["name"] not in deployments or "replicas" in deployments[spec["scaleTargetRef"]["name"]]["spec"]:
                yield f"kubernetes: {kind} {name}: there is no such Deployment, or it sets its replicas itself"
            continue
        selector = {"matchLabels": spec["selector"]} if kind == "Service" else spec.get("selector") or spec["podSelector"]
        chosen = [deployment for deployment, labels in zip(deployments.values(), pods) if selects(selector, labels)]
        if not chosen:
            yield f"kubernetes: {kind} {name} selects no pod"
        for port in spec["ports"] if kind == "Service" else []:
            if any(port["targetPort"] not in ports_of(deployment) for deployment in chosen):
                yield f"kubernetes: Service {name}: no port {port['targetPort']}"


def check_kubernetes(tree):
    manifests = tree.manifests()
    deployments = {each["metadata"]["name"]: each for each in manifests if each["kind"] == "Deployment"}
    services = {each["metadata"]["name"]: each["spec"] for each in manifests if each["kind"] == "Service"}
    for deployment in deployments.values():
        yield from check_deployment(deployment)
    yield from check_references(deployments, [each for each in manifests if each["kind"] != "Deployment"])
    models, caches = names_in_config(tree)
    for name in models | caches:
        if name not in services:
            yield f"kubernetes: no Service {name}, which configs/compose.yaml names"
        elif name in models and services[name].get("clusterIP") != "None":
            yield f"kubernetes: Service {name} is not headless: its name is one virtual address"
    if tree.text("deploy/kubernetes/base/xebec.yaml") != tree.text("configs/compose.yaml"):
        yield "deploy/kubernetes/base/xebec.yaml: not as configs/compose.yaml; copy it"
    images = {image["name"] for image in tree.yaml("deploy/kubernetes/production/kustomization.yaml")["images"]}
    for image in (container["image"] for each in deployments.values() for container in pod_of(each)["spec"]["containers"]):
        if image.startswith("xebec/") and image not in images:
            yield f"deploy/kubernetes/production: says nowhere from where {image} comes"


def main():
    tree = Tree(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2])
    checks = [check_alerts, check_compose, check_digits_image, check_kubernetes]
    problems = [problem for check in checks for problem in check(tree)]
    print(*problems, f"{len(checks)} checks, {len(problems)} problems", sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
