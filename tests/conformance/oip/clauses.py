"""Clauses: what the protocol says, one sentence each, and a function that asks a server whether it is so.

A clause's function gets the Target. It returns when the clause holds, calls fail() when it does not, and not_applicable() when this
server or model gives no occasion to tell, or when another clause that failed already is the reason. Every clause judges one
thing, so that a server with one fault fails one clause.
"""
import dataclasses
import fnmatch
import time

MUST, SHOULD = "MUST", "SHOULD"
PASS, FAIL, NOT_APPLICABLE = "pass", "fail", "n/a"

REST = "OIP v2 REST"
GRPC = "OIP v2 gRPC"
BINARY = "Triton, binary tensor data extension"
HTTP = "RFC 9110/9112"
PRACTICE = "not in the specification; what clients rely on"

clauses = []


@dataclasses.dataclass
class Clause:
    name: str
    level: str
    section: str  # where it is written
    says: str     # what is written there, in our own words
    check: object


@dataclasses.dataclass
class Result:
    clause: Clause
    verdict: str
    reason: str = ""
    exchanges: list = dataclasses.field(default_factory=list)
    seconds: float = 0.0


class Failed(Exception):
    pass


class NotApplicable(Exception):
    pass


def clause(name, level, section, says):
    """Decorates the function that checks it."""
    def register(check):
        assert name not in (each.name for each in clauses), name
        clauses.append(Clause(name, level, section, says, check))
        return check
    return register


def fail(words):
    raise Failed(words)


def expect(condition, words):
    if not condition:
        raise Failed(words)


def not_applicable(words):
    raise NotApplicable(words)


def judge(target, only=("*",), seen=lambda result: None):
    """The Results of all clauses that match one of the patterns, in order; seen() is told of each as it is there."""
    results = []
    for each in clauses:
        if not any(fnmatch.fnmatchcase(each.name, pattern) for pattern in only):
            continue
        target.transcript.clear()
        began = time.monotonic()
        verdict, reason = _verdict(each, target)
        results.append(Result(each, verdict, reason, list(target.transcript), time.monotonic() - began))
        seen(results[-1])
    return results


def _verdict(each, target):
    try:
        each.check(target)
    except Failed as why:
        return FAIL, str(why)
    except NotApplicable as why:
        return NOT_APPLICABLE, str(why)
    return PASS, ""
