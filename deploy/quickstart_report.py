#!/usr/bin/python3
"""Asks a running gateway about held-out digits and reports: quickstart_report.py URL HELD-OUT.npz ENDPOINT...

Prints one digit as text art with what each endpoint makes of it, then accuracy and latency of each endpoint,
then a curl line. Exit status 1 where an endpoint is right less often than LEAST_ACCURACY.
"""
import http.client
import json
import sys
import time
import urllib.parse

import numpy

LEAST_ACCURACY = 0.9
SHADES = " .:-=+*#%@"
INK_MAX = 16


def main():
    url, held_out, *endpoints = sys.argv[1:]
    digits = numpy.load(held_out)
    pixels, labels = digits["pixels"], digits["labels"]
    reports = [ask(url, endpoint, pixels, labels) for endpoint in endpoints]
    shown = shown_digit(reports, labels)
    print_digit(pixels[shown], labels[shown], [(report, report["answers"][shown]) for report in reports])
    print_table(reports)
    print_curl(url, endpoints[0], pixels[shown])
    return all([is_good(report) for report in reports])


def ask(url, endpoint, pixels, labels):
    """Every digit, one after the other on one connection."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=10)
    answers, seconds, trouble, model = [], [], None, "?"
    progress = Progress(endpoint, len(labels))
    for row in pixels:
        progress.tick(len(answers))
        body = json.dumps({"input": row.tolist()})
        start = time.perf_counter()
        connection.request("POST", f"/{endpoint}/predict", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read().decode()
        seconds.append(time.perf_counter() - start)
        reply = json.loads(text) if response.status == 200 else {}
        if not reply or reply.get("default"):
            trouble = trouble or f"{response.status} {text.strip()}"
        model = reply.get("model", model)
        answers.append(None if reply.get("default") else label_of(reply.get("output")))
    progress.end()
    connection.close()
    right = sum(answer == label for answer, label in zip(answers, labels.tolist()))
    return {"endpoint": endpoint, "model": model, "answers": answers, "right": right, "accuracy": right / len(labels),
            "p50": numpy.percentile(seconds, 50), "p99": numpy.percentile(seconds, 99), "trouble": trouble}


def label_of(output):
    """Models with several outputs answer {name: value}."""
    return output.get("label") if isinstance(output, dict) else output


class Progress:
    """On a terminal, from the second second on: how far it is. Elsewhere a line every ten seconds."""

    def __init__(self, what, total):
        self.what, self.total, self.start, self.shown = what, total, time.monotonic(), 0
        self.terminal = sys.stdout.isatty()

    def tick(self, done):
        elapsed = time.monotonic() - self.start
        if elapsed - self.shown < (1 if self.terminal else 10):
            return
        self.shown = elapsed
        print(f"\r\033[K  {self.what}: {done} of {self.total} digits" if self.terminal
              else f"  {self.what}: {done} of {self.total} digits, {elapsed:.0f} s", end="" if self.terminal else "\n", flush=True)

    def end(self):
        if self.terminal and self.shown:
            print("\r\033[K", end="", flush=True)


def shown_digit(reports, labels):
    """The first digit that all are right about."""
    for number, label in enumerate(labels.tolist()):
        if all(report["answers"][number] == label for report in reports):
            return number
    return 0


def print_digit(pixels, label, answers):
    print()
    for line in pixels.reshape(8, 8):
        shades = (SHADES[int(ink * (len(SHADES) - 1) / INK_MAX)] for ink in line)
        print("      " + "".join(2 * shade for shade in shades).rstrip())
    print(f"\n  true label {label}")
    for report, answer in answers:
        print(f"  predicted  {'nothing' if answer is None else answer}   {report['endpoint']}, by {report['model']}")


def print_table(reports):
    head = ["endpoint", "model", "digits", "right", "accuracy", "p50", "p99"]
    rows = [[report["endpoint"], report["model"], str(len(report["answers"])), str(report["right"]),
             f"{report['accuracy']:.3f}", f"{report['p50'] * 1e3:.2f} ms", f"{report['p99'] * 1e3:.2f} ms"]
            for report in reports]
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    print()
    for row in [head, *rows]:
        left = "  ".join(cell.ljust(width) for cell, width in zip(row[:2], widths))
        print("  " + left + "  " + "  ".join(cell.rjust(width) for cell, width in zip(row[2:], widths[2:])))


def print_curl(url, endpoint, pixels):
    numbers = json.dumps([int(ink) for ink in pixels], separators=(",", ":"))
    print(f"\nTry it:\n\ncurl -s {url}/{endpoint}/predict --json '{{\"input\":{numbers}}}'\n")


def is_good(report):
    if report["trouble"]:
        unanswered = report["answers"].count(None)
        print(f"{report['endpoint']}: {unanswered} digits were not answered; the first: {report['trouble']}", file=sys.stderr)
    if report["accuracy"] < LEAST_ACCURACY:
        print(f"{report['endpoint']}: accuracy {report['accuracy']:.3f} is under {LEAST_ACCURACY}", file=sys.stderr)
    return report["accuracy"] >= LEAST_ACCURACY


if __name__ == "__main__":
    try:
        sys.exit(0 if main() else 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, http.client.HTTPException, ValueError) as error:
        sys.exit(f"quickstart_report.py: {type(error).__name__}: {error}")
