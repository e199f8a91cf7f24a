"""`make big-spool GB=5`: loads a spool much larger than DuckDB's memory limit, and tells memory, disk and times."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dagster_restapi.model import Fetched, Slice, TablePlan
from dagster_restapi.spool import Spool
from dagster_restapi.tables.load import load
from dagster_restapi.tables.read import row_count
from dagster_restapi.tables.target import Target

_PAGE = 1_000  # records
_TEXT = "The same steps as in the last release, but now every second one fails with a message that says nothing. " * 9


def say(line: str) -> None:
    """Writes a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make big-spool", description=__doc__)
    parser.add_argument("--gb", type=float, default=5.0, help="size of the spool")
    parser.add_argument("--memory", default="512MB", help="DuckDB's memory limit; auto: what the load needs")
    parser.add_argument("--disposition", choices=("append", "merge"), default="merge")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        return load_it(arguments.folder, arguments.memory, arguments.disposition)
    folder = Path(tempfile.mkdtemp(prefix="restapi-big-"))
    try:
        return measure(folder, arguments)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, arguments: argparse.Namespace) -> int:
    """Writes the spool, loads it in a process of its own, and prints what that took."""
    began = time.monotonic()
    rows = write(folder, int(arguments.gb * 10**9))
    say(f"A spool of {arguments.gb:g} GB, {rows:,} records, written in {time.monotonic() - began:.0f} s.")
    command = [sys.executable, "-m", "benchmarks.big_spool", "--folder", str(folder)]
    command += ["--memory", arguments.memory, "--disposition", arguments.disposition]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        say(f"The load failed ({status}).")
        return 1
    told = json.loads(text)
    if told["rows"] != rows:
        say(f"{told['rows']:,} rows were loaded.")
        return 1
    size = (folder / "big.duckdb").stat().st_size / 10**9
    left = sorted(path.name for path in folder.iterdir())
    say(
        f"{arguments.disposition}, memory_limit {arguments.memory}: {told['rows']:,} rows, child tables "
        f"{told['tables']}.\nStaged in {told['stage_seconds']:.0f} s, the database was locked for "
        f"{told['locked_seconds']:.0f} s. Peak memory of the process {usage.ru_maxrss / 1024:.0f} MB, "
        f"processor time {usage.ru_utime + usage.ru_stime:.0f} s.\n"
        f"The database has {size:.1f} GB; beside it: {', '.join(left)}."
    )
    return 0


def write(folder: Path, size: int) -> int:
    """Writes a spool of this many bytes; gives its records."""
    rows = 0
    with Spool.open(folder / "spools", "big") as spool:
        writer = spool.writer(0)
        while spool.bytes < size:
            writer.write([issue(number) for number in range(rows, rows + _PAGE)])
            rows += _PAGE
            writer.commit(None, {})
        writer.commit(None, {}, done=True)
    return rows


def issue(number: int) -> dict[str, Any]:
    """A record like one of GitHub's issues, of about 1.8 KB."""
    at = f"2024-{number % 12 + 1:02d}-{number % 28 + 1:02d}T{number % 24:02d}:{number % 60:02d}:00Z"
    person = {"id": number % 5_000, "login": f"person-{number % 5_000}", "type": "User", "site_admin": False}
    return {
        "id": number,
        "title": f"Issue {number} of many",
        "body": f"{number} {_TEXT[number % 90 :]}",
        "state": "open" if number % 3 else "closed",
        "user": person,
        "labels": [{"id": label, "name": f"label-{label}"} for label in range(number % 4)],
        "assignees": list(people(number, number % 3)),
        "reactions": {"total": number % 17, "heart": number % 5, "rocket": number % 7, "score": number / 8},
        "created_at": at,
        "updated_at": at,
        "closed_at": None if number % 3 else at,
    }


def people(number: int, count: int) -> Iterator[dict[str, Any]]:
    for index in range(count):
        yield {"id": (number + index) % 5_000, "login": f"person-{(number + index) % 5_000}"}


def load_it(folder: Path, memory: str, disposition: Any) -> int:
    """Loads the spool; prints what the load tells."""
    target = Target(str(folder / "big.duckdb"), schema="big", memory_limit=None if memory == "auto" else memory)
    plan = TablePlan(resource="issues", table="issues", disposition=disposition, primary_key=("id",))
    with Spool.open(folder / "spools", "big") as spool:
        fetched = Fetched(load_id=spool.load_id, rows=spool.rows)
        result = load(target, plan, Slice(asset="issues"), spool, fetched, cursor=None, expected=None)
        spool.remove()
    told = {"rows": row_count(target, "issues"), "tables": dict(result.tables)}
    say(json.dumps(told | {"stage_seconds": result.stage_seconds, "locked_seconds": result.locked_seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
