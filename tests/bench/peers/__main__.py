"""Xebec beside other model servers: the same models, machine and client, in turns; one table.

    tests/bench/peers.sh --smoke                       each server starts, answers rightly, and stands a short run
    tests/bench/peers.sh [--only PEER ...] [--model M ...] [--rounds 2] [--seconds 2] [--json FILE]

Every server runs alone, from start to stop, once for each model and round; then the next one. Rounds are repeated in
another order, and the median of each figure counts. What is compared and how each server is tuned: docs/peers.md.
"""
import argparse
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import processes
from .bentoml import BentoML
from .fastapi import FastAPI
from .litserve import LitServe
from .load import Failed, Load, measure
from .mlflow import MLflow
from .mlserver import MLServer
from .models import install_models
from .peer import Run, free_port
from .ray import RayServe
from .table import print_table
from .triton import Triton
from .xebec import Xebec, XebecC

SERVERS = (Xebec(), XebecC(), FastAPI(), LitServe(), MLServer(), BentoML(), RayServe(), MLflow(), Triton())
PEERS = {peer.name: peer for peer in SERVERS}
MODELS = ("noop", "svm", "forest", "cnn")


def say(text):
    print(f"peers: {text}", file=sys.stderr, flush=True)


def main():
    args = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("peers: stopped"))
    processes.adopt_orphans()
    for name in args.only:
        if PEERS[name].install():
            say(f"{name}: installed")
    models = [model for model in install_models(say) if model.name in args.model]
    with tempfile.TemporaryDirectory(prefix="xebec-peers-", ignore_cleanup_errors=True) as tempfile.tempdir:
        try:
            return smoke(args, models) if args.smoke else compare(args, models)
        finally:
            processes.stop([])  # whoever is left, if we were interrupted while stopping one


def parse():
    parser = argparse.ArgumentParser(prog="tests/bench/peers.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS), metavar="PEER", help=", ".join(PEERS))
    parser.add_argument("--model", nargs="+", choices=MODELS, default=list(MODELS), metavar="M", help=", ".join(MODELS))
    parser.add_argument("--rounds", type=int, default=2, help="times that every server is measured (default 2)")
    parser.add_argument("--seconds", type=int, default=2, help="length of a run (default 2)")
    parser.add_argument("--smoke", action="store_true", help="no figures: does everything work?")
    parser.add_argument("--json", type=Path, help="write every round's figures to this file, too")
    return parser.parse_args()


def compare(args, models):
    results, began = {}, time.monotonic()
    for number in range(args.rounds):
        for model in models:
            for name in turned(args.only, number):
                if model.name in PEERS[name].models:
                    one(results, name, model, args, f"round {number + 1}")
    ordered = {(name, model.name): results[name, model.name]
               for model in models for name in args.only if (name, model.name) in results}
    print_table(ordered, models)
    if args.json:
        args.json.write_text(json.dumps(as_json(ordered, models, args), indent=1) + "\n")
    say(f"took {(time.monotonic() - began) / 60:.1f} minutes")
    return any(isinstance(found, str) for found in results.values())


def one(results, name, model, args, when):
    """One server with one model, for one round. One that failed is not tried again."""
    if isinstance(results.get((name, model.name)), str):
        return
    began = time.monotonic()
    try:
        with serving(PEERS[name], model) as load:
            figures = measure(load, args.seconds)
    except Failed as why:
        say(f"{when}, {model.name}, {name}: failed: {why}")
        results[name, model.name] = "failed"
        return
    results.setdefault((name, model.name), []).append(figures)
    say(f"{when}, {model.name}, {name}: peak {figures.peak_rps:,.0f}, {figures.slo_rps:,.0f} within the objective "
        f"({time.monotonic() - began:.0f} s)")


def smoke(args, models):
    failed = False
    for model in models:
        for name in (name for name in args.only if model.name in PEERS[name].models):
            try:
                began = time.monotonic()
                with serving(PEERS[name], model) as load:
                    ready = time.monotonic() - began
                    done = load.drive(0, 2, connections=16)
                    if not done["good"]:
                        raise Failed(f"no good answer within 2 s: {done}\n{load.run.log()}")
                    print(f"ok      {model.name:<7} {name:<9} {ready:4.1f} s to start, {done['good']:,} right answers, "
                          f"{processes.rss_mib():,.0f} MiB", flush=True)
            except Failed as why:
                failed = True
                print(f"FAILED  {model.name:<7} {name:<9} {why}", flush=True)
    return failed


class serving:
    """with serving(peer, model) as load: a server that answers rightly; afterwards, none of its processes is left."""

    def __init__(self, peer, model):
        self.peer, self.run = peer, Run(model, Path(tempfile.mkdtemp(prefix=peer.name)), free_port())

    def __enter__(self):
        try:
            self.peer.start(self.run)
            load = Load(self.peer, self.run)
            load.wait_ready()
            return load
        except BaseException as why:
            log = self.run.log()
            self.__exit__()
            if isinstance(why, subprocess.CalledProcessError):
                raise Failed(f"{why}\n{log}") from why
            raise

    def __exit__(self, *_):
        processes.stop(self.run.roots)
        shutil.rmtree(self.run.folder, ignore_errors=True)


def turned(names, by):
    """Another one first in every round, so that nobody always follows the same one."""
    by %= len(names)
    return names[by:] + names[:by]


def as_json(results, models, args):
    return {"seconds": args.seconds, "cores": os.cpu_count(), "bare_us": {model.name: model.bare_us for model in models},
            "figures": [{"server": name, "model": model, "rounds": found if isinstance(found, str) else
                         [dataclasses.asdict(figures) for figures in found]} for (name, model), found in results.items()]}


if __name__ == "__main__":
    sys.exit(main())
