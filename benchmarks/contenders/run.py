"""What every contender's process has in common: its arguments, and the line that it answers with."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.workloads import WORKLOADS, Workload


@dataclass(frozen=True, slots=True)
class Task:
    """What a contender is to do.

    Attributes:
        folder: Everything that the contender keeps is in here.
        prepare: Only load what the workload wants prepared.
    """

    workload: Workload
    url: str
    folder: Path
    prepare: bool

    @property
    def database(self) -> Path:
        """The file that the tables go into."""
        return self.folder / "tables.duckdb"


@dataclass(frozen=True, slots=True)
class Done:
    """What a contender tells of its run.

    Attributes:
        seconds: Of the work itself, with everything imported and defined.
        rows: Of the table afterwards.
        marks: Moments in seconds since 1970.
        phases: Seconds by what was done in them.
    """

    seconds: float
    rows: int
    marks: dict[str, float] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)


def contend(work: Callable[[Task], Done]) -> None:
    """Reads the arguments, does the work, and prints the result as the last line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=sorted(WORKLOADS))
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prepare", action="store_true")
    arguments = parser.parse_args()
    os.environ["TZ"] = "UTC"
    task = Task(WORKLOADS[arguments.workload], arguments.url, arguments.folder.resolve(), arguments.prepare)
    print(f"\n{json.dumps(asdict(work(task)))}", flush=True)  # noqa: T201  # read by the one who started this


def count_rows(task: Task, schema: str, table: str) -> int:
    """Rows of a table, once all other connections are closed."""
    import duckdb

    with duckdb.connect(str(task.database), read_only=True) as connection:
        row = connection.execute(f'SELECT count(*) FROM "{schema}"."{table}"').fetchone()
    assert row is not None
    return int(row[0])
