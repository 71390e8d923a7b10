"""What was found: for people, and as JSON."""
import os
import sys
import textwrap

from .clauses import FAIL, MUST, NOT_APPLICABLE, PASS, SHOULD

COLOURS = {PASS: "32", FAIL: "31", NOT_APPLICABLE: "2"}


def painted(text, verdict, out):
    return f"\033[{COLOURS[verdict]}m{text}\033[0m" if out.isatty() and "NO_COLOR" not in os.environ else text


def show(result, verbose=False, out=None):
    """One line; why, and what went over the wire, where it failed."""
    out = out or sys.stdout
    each = result.clause
    print(f"{painted(f'{result.verdict:<4}', result.verdict, out)}  {each.level:<6}  {each.name:<28}  {each.says}", file=out)
    if result.verdict == PASS and not verbose:
        return
    if result.reason:
        print(textwrap.indent(f"{result.reason}", " " * 14), file=out)
    if result.verdict == FAIL:
        print(f"{' ' * 14}written in: {each.section}", file=out)
    if result.verdict == FAIL or verbose:
        for exchange in result.exchanges if verbose else result.exchanges[-1:]:
            print(textwrap.indent(exchange["sent"], " " * 14 + "> ", lambda line: True), file=out)
            print(textwrap.indent(exchange["received"], " " * 14 + "< ", lambda line: True), file=out)


def counted(results):
    """{level: {verdict: how many}}"""
    return {level: {verdict: sum(1 for each in results if (each.clause.level, each.verdict) == (level, verdict))
                    for verdict in (PASS, FAIL, NOT_APPLICABLE)} for level in (MUST, SHOULD)}


def conclude(target, results, out=None):
    out = out or sys.stdout
    told = ", ".join(f"{each.name} {each.datatype}{list(each.shape)}" for each in inputs_of(target))
    print(f"\nmodel {target.model}: inputs {told or 'unknown'}", file=out)
    for level, counts in counted(results).items():
        applied = counts[PASS] + counts[FAIL]
        line = f"{level:<6}  {counts[PASS]} of {applied} hold"
        print(painted(line, FAIL if counts[FAIL] else PASS, out) + f", {counts[NOT_APPLICABLE]} do not apply", file=out)
    failed = [each for each in results if each.verdict == FAIL]
    for level in (MUST, SHOULD):
        names = [each.clause.name for each in failed if each.clause.level == level]
        if names:
            print(f"{level} that fail: {', '.join(names)}", file=out)


def inputs_of(target):
    try:
        return target.inputs
    except Exception:
        return []


def as_json(target, results):
    server = target._object("v2") if target.url else {}
    return {
        "protocol": "OIP v2", "url": target.url, "grpc": target.rpc.address if target.rpc else None, "model": target.model,
        "server": {"name": server.get("name"), "version": server.get("version")},
        "inputs": [{"name": each.name, "datatype": each.datatype, "shape": list(each.shape)} for each in inputs_of(target)],
        "counts": counted(results),
        "clauses": [{"name": each.clause.name, "level": each.clause.level, "section": each.clause.section, "says": each.clause.says,
                     "verdict": each.verdict, "reason": each.reason, "seconds": round(each.seconds, 4),
                     "exchanges": each.exchanges if each.verdict == FAIL else []} for each in results],
    }
