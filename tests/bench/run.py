"""Benchmarks: every figure is a ratio of the gateway to a named baseline, measured in turns in the same run.

    tests/bench/run.sh [--runs 5] [--seconds 3] [--only CASE ...] [--json FILE]

The load generators (wrk, h2load) and the HTTP baselines (nginx with one worker) are Debian's packages; the baseline of
the one-connection case is tests/bench/direct_call, a bare gRPC core client. Everything runs on this machine, over
loopback and unix sockets, so the generator, the gateway and the replica share its cores: read the ratios.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

from cases import CASES
from cases.bench import Bench, say


def print_table(rows):
    head = ["case", "xebec", "baseline", "", "unit", "ratio", "asked", ""]
    lines = [head] + [[r["case"], f"{r['xebec']:,}", f"{r['baseline_value']:,}", r["baseline"], r["unit"], f"{r['ratio']}x",
                       r["asked"], {None: "", True: "met", False: "MISSED"}[r["met"]]] for r in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        print("  ".join(cell.rjust(width) if i in (1, 2, 5) else cell.ljust(width)
                        for i, (cell, width) in enumerate(zip(line, widths))).rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="runs of each side; the median counts (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="length of a run (default 3)")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="these cases only")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    args = parser.parse_args()
    rows = []
    for name in args.only:
        say(f"{name} ...")
        with tempfile.TemporaryDirectory(prefix="xebec-bench-") as folder:
            bench = Bench(Path(folder), args.runs, args.seconds)
            try:
                rows += CASES[name](bench)
            finally:
                bench.processes.stop_all()
    print_table(rows)
    figures = {"runs": args.runs, "seconds": args.seconds, "cores": os.cpu_count(), "cases": rows}
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    else:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
