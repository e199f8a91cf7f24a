"""What was measured, as text, as a page of the documentation, and as a picture."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from string import Template

from benchmarks.measure import REPOSITORY
from benchmarks.results import Results
from benchmarks.workloads import WORKLOADS

NAMES = {
    "dagster": "dagster_restapi",
    "multiprocess": "dagster_restapi, multiprocess run",
    "plain": "dagster_restapi without Dagster",
    "by_hand": "written by hand",
    "dlt": "dlt rest_api",
}
_COLOURS = {"dagster": "#4f43dd", "by_hand": "#8a8f98", "dlt": "#e2a03f"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; every column but the first is aligned to the right."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seconds(value: float) -> str:
    """As many digits as mean something."""
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def times_table(results: Results) -> str:
    """Every workload and contender."""
    rows = []
    for name, workload in WORKLOADS.items():
        for who in results.contenders(name):
            fastest, slowest = results.spread(name, who)
            ratio = ""
            if who != "dagster" and results.has((name, "dagster")):
                ratio = f"{results.seconds(name, who) / results.seconds(name, 'dagster'):.2f}"
            rows.append(
                (
                    workload.title,
                    NAMES[who],
                    seconds(results.seconds(name, who)),
                    ratio,
                    f"{fastest:.2f}–{slowest:.2f} s",
                    seconds(results.process_seconds(name, who)),
                    f"{results.peak_mb(name, who):.0f} MB",
                    f"{results.requests(name, who):,.0f}",
                )
            )
    head = ("workload", "", "work", "÷ ours", "fastest–slowest", "whole process", "peak memory", "requests")
    return table(head, rows)


def empty_table(results: Results) -> str:
    """The steps that do nothing."""
    rows = []
    for who, title in (("empty", "in this process"), ("empty_multiprocess", "in a multiprocess run")):
        names = [name for name, entrant in results.runs if entrant == who]
        if names:
            values = sorted(results.seconds(name, who) for name in names)
            peak = max(results.peak_mb(name, who) for name in names)
            rows.append((title, seconds(values[len(values) // 2]), f"{peak:.0f} MB"))
    return table(("an empty Dagster step", "seconds", "peak memory"), rows)


def goals_table(results: Results) -> str:
    """Goals and how near they are."""
    rows = []
    for goal in results.goals():
        limit = f"{'at least' if goal.at_least else 'at most'} {goal.limit:g}{goal.unit}"
        digits = 0 if goal.limit >= 50 or not goal.unit else 2
        rows.append((goal.text, f"{goal.value:.{digits}f}{goal.unit}", limit, "yes" if goal.reached else "**no**"))
    return table(("goal", "measured", "wanted", "reached"), rows)


def phases_table(results: Results) -> str:
    """Where the time goes, without Dagster."""
    measured = [name for name in WORKLOADS if results.has((name, "plain"))]
    phases = {name: results.phases(name) for name in measured}
    kinds = dict.fromkeys(kind for found in phases.values() for kind in found)
    rows = [(kind, *(seconds(phases[name].get(kind, 0.0)) for name in measured)) for kind in kinds]
    return table(("", *(WORKLOADS[name].title for name in measured)), rows)


def definitions_table(results: Results) -> str:
    """How long code locations take to load."""
    rows = []
    for name in sorted(
        {name for name, _ in results.runs if name.startswith("definitions_")}, key=lambda n: (len(n), n)
    ):
        for checked, ours, plain in (("", "ours", "plain_assets"), (", with checks", "ours_checked", "plain_checked")):
            one, other = results.seconds(name, ours), results.seconds(name, plain)
            count = int(name.partition("_")[2])
            rows.append((f"{count:,}{checked}", seconds(one), seconds(other), f"{one / other:.2f}"))
    return table(("resources", "dagster_restapi", "plain assets", "ratio"), rows)


def machine() -> str:
    """What the numbers were measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("duckdb", "dagster"))
    return f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, {packages}"


def print_report(results: Results) -> None:
    """Everything, on the terminal."""
    parts = [times_table(results), empty_table(results), goals_table(results)]
    if any(name.startswith("definitions_") for name, _ in results.runs):
        parts.append(definitions_table(results))
    if any(who == "plain" for _, who in results.runs):
        parts.append(phases_table(results))
    print("\n\n".join(parts), file=sys.stdout)  # noqa: T201


def write_report(results: Results, folder: Path) -> None:
    """`performance.md`, its picture, and the raw numbers."""
    template = Template((REPOSITORY / "benchmarks" / "performance.md").read_text())
    repeats = min(len(runs) for runs in results.runs.values())
    peers = (REPOSITORY / "benchmarks" / "requirements.txt").read_text().splitlines()
    page = template.substitute(
        goals=goals_table(results),
        times=times_table(results),
        empty=empty_table(results),
        phases=phases_table(results),
        definitions=definitions_table(results),
        machine=machine(),
        repeats=repeats,
        dlt=next(line for line in peers if line.startswith("dlt")).partition("==")[2],
    )
    folder.mkdir(exist_ok=True)
    (folder / "performance.md").write_text(page)
    (folder / "performance.svg").write_text(picture(results))
    runs = {f"{name}/{who}": [asdict(run) for run in found] for (name, who), found in results.runs.items()}
    (folder / "performance.json").write_text(json.dumps(runs, indent=1) + "\n")


def picture(results: Results) -> str:
    """Bars of seconds, an SVG: one group for each workload, scaled by its slowest contender."""
    shown = [name for name in WORKLOADS if results.has((name, "dagster"))]
    parts, top = [], 16
    for name in shown:
        values = {who: results.seconds(name, who) for who in _COLOURS if results.has((name, who))}
        longest = max(values.values())
        parts.append(f'<text x="8" y="{top + 6}" font-weight="bold">{WORKLOADS[name].title}</text>')
        top += 16
        for who, value in values.items():
            width = max(2, 430 * value / longest)
            parts.append(f'<rect x="170" y="{top}" width="{width:.0f}" height="13" fill="{_COLOURS[who]}"/>')
            parts.append(f'<text x="164" y="{top + 11}" text-anchor="end">{NAMES[who]}</text>')
            parts.append(f'<text x="{176 + width:.0f}" y="{top + 11}">{seconds(value)}</text>')
            top += 17
        top += 18
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 {top}" font-family="sans-serif" font-size="12" '
        f'fill="currentColor" color="#444">\n{body}\n</svg>\n'
    )
