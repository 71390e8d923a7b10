"""The table, as people read it in a terminal and as Markdown keeps it."""
import statistics
from dataclasses import fields

from .load import Figures

HEAD = ["server", "peak rps", "rps at p99 <= 20 ms", "p50 ms", "p99 ms", "added ms", "CPU s / 1,000", "RSS MiB"]


def print_table(results, models):
    """results: {(peer, model): [Figures, ...] or why there are none}."""
    for model in models:
        rows = [[peer] + cells(found) for (peer, name), found in results.items() if name == model.name]
        print(f"\n**{model.name}** (bare model: {model.bare_us:,.1f} us a call)\n")
        print_rows([HEAD] + rows)


def cells(found):
    if isinstance(found, str):
        return [found] + [""] * (len(HEAD) - 2)
    figure = {field.name: statistics.median(getattr(figures, field.name) for figures in found) for field in fields(Figures)}
    return [f"{figure['peak_rps']:,.0f}", f"{figure['slo_rps']:,.0f}" if figure["slo_rps"] else "none", f"{figure['p50_ms']:.2f}",
            f"{figure['p99_ms']:.2f}", f"{figure['added_ms']:.2f}", f"{figure['cpu_seconds']:.3f}", f"{figure['rss_mib']:,.0f}"]


def print_rows(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    rows = rows[:1] + [["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]] + rows[1:]
    for name, *rest in rows:
        print("| " + " | ".join([name.ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(rest, widths[1:])]) + " |")
