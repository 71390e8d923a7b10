"""Asks a server whether it speaks the Open Inference Protocol, version 2, clause by clause.

    tests/conformance/run.sh --url http://127.0.0.1:8080 --model NAME
    tests/conformance/run.sh --url http://127.0.0.1:8080 --grpc 127.0.0.1:8081 --model NAME --json report.json

Inputs are made from the model's metadata, so any model will do; one that gives back what it gets tells most. Exit status: 0 where
every MUST holds, 1 where one does not, 2 where the server cannot be asked.
"""
import argparse
import json
import sys
from pathlib import Path

from . import report
from .clauses import FAIL, MUST, clauses, judge
from .rpc import Rpc
from .target import Target
from .tensors import parse_spec
from . import rest, rest_refusals, rest_http, rest_binary  # noqa: F401  their clauses
from .wire import NoAnswer

# REST, then what is under it, then the extension, then gRPC.
ORDER = ("oip.rest", "oip.rest_refusals", "oip.rest_http", "oip.rest_binary", "oip.rpc")


def parse():
    parser = argparse.ArgumentParser(prog="tests/conformance/run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="where it speaks REST; what is in front of /v2")
    parser.add_argument("--grpc", metavar="HOST:PORT", help="where it speaks gRPC, without TLS; without it gRPC's clauses do not apply")
    parser.add_argument("--model", help="the model to ask")
    parser.add_argument("--input", action="append", default=[], type=parse_spec, metavar="NAME:DATATYPE:SIZE,...",
                        help="an input, where the metadata does not tell; -1 for sizes that vary; may be given again")
    parser.add_argument("--extension", action="append", default=[], metavar="NAME",
                        help="an extension that the server has and does not list (binary_tensor_data); may be given again")
    parser.add_argument("--only", action="append", metavar="PATTERN", help="clauses of these names alone ('refuse.*'); may be given again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there, too")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="how long an answer may take (default 10)")
    parser.add_argument("--verbose", action="store_true", help="show every exchange, not only those that went wrong")
    parser.add_argument("--list", action="store_true", help="list the clauses and where they are written, and end")
    args = parser.parse_args()
    if not args.list and not (args.model and (args.url or args.grpc)):
        parser.error("--model and one of --url and --grpc are needed")
    return args


def main():
    args = parse()
    clauses.sort(key=lambda each: ORDER.index(each.check.__module__))
    if args.list:
        for each in clauses:
            print(f"{each.level:<6}  {each.name:<28}  {each.says}\n{' ' * 38}{each.section}")
        return 0
    target = Target(args.url, args.model, Rpc(args.grpc, args.timeout) if args.grpc else None, args.input, args.extension, args.timeout)
    if args.url:
        try:
            target.ask("GET", "v2/health/live")
        except NoAnswer as why:
            print(f"conformance: {args.url}: {why}", file=sys.stderr)
            return 2
    if not args.grpc:
        print("no --grpc was given: the clauses of gRPC do not apply")
    results = judge(target, args.only or ("*",), lambda result: report.show(result, args.verbose))
    report.conclude(target, results)
    if args.json:
        args.json.write_text(json.dumps(report.as_json(target, results), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if any((each.clause.level, each.verdict) == (MUST, FAIL) for each in results) else 0


if __name__ == "__main__":
    sys.exit(main())
