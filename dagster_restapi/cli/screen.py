"""What a run shows: bars on a terminal, and a row for each resource as it is done."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from dagster_restapi.cli.output import Output, clean, size
from dagster_restapi.extract.progress import Progress

_COLUMNS = ("resource", "result", "rows", "new", "changed", "gone", "requests", "cursor", "seconds")
_STYLES = {"loaded": "green", "failed": "bold red", "skipped": "yellow"}

INTERRUPTED = "interrupted; the next run goes on with what is fetched already"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load did.

    Attributes:
        rows: Of the table, or of the partitions that were loaded, afterwards.
        cursor: Where the next load goes on.
    """

    rows: int | None
    inserted: int
    updated: int
    deleted: int
    requests: int
    cursor: str


class Screen:
    """Shows a run over the named resources.

    Args:
        names: The resources of the run, in its order.
    """

    def __init__(self, output: Output, names: Sequence[str]) -> None:
        self._output, self._names = output, list(names)
        self._rows: dict[str, tuple[object, ...]] = {}
        self._errors: dict[str, str] = {}
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}

    @property
    def failures(self) -> Collection[str]:
        """The resources that have failed so far."""
        return self._errors

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the bars while it lasts; the head of the table where it is no terminal."""
        if self._output.plain:
            self._output.cells(*_COLUMNS)
            yield
            return
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[told]}"))
        with Bars(*columns, console=self._output.terminal, transient=True) as self._bars:
            for name in self._names:
                self._tasks[name] = self._bars.add_task(clean(name), start=False, total=None, told="waiting")
            yield

    def start(self, name: str) -> None:
        """The resource is being loaded."""
        if self._bars is not None:
            self._bars.start_task(self._tasks[name])
            self._bars.update(self._tasks[name], told="starting")

    def progress(self, progress: Progress) -> None:
        """How far the fetch of a resource has come."""
        if self._bars is None or progress.name not in self._tasks:
            return
        parts = (progress.expected_walks, progress.walks) if progress.expected_walks else None
        total, completed = parts or (progress.expected_rows, progress.rows)
        told = f"{progress.pages:,} pages, {progress.rows:,} rows, {size(progress.bytes)}"
        if parts:
            told += f", {progress.walks:,} of {progress.expected_walks:,} parents"
        self._bars.update(self._tasks[progress.name], total=total, completed=completed, told=told)

    def done(self, name: str, loaded: Loaded, seconds: float) -> None:
        """The resource is in its tables."""
        changes = (loaded.inserted, loaded.updated, loaded.deleted)
        self._end(name, "loaded", loaded.rows, *changes, loaded.requests, loaded.cursor, f"{seconds:.1f}")

    def not_due(self, name: str) -> None:
        """All partitions of the resource were loaded before, or it has none."""
        self._end(name, "not due", *[None] * 7)

    def failed(self, name: str, error: str, seconds: float) -> None:
        """The resource was not loaded: its tables are as they were."""
        self._errors[name] = error
        self._end(name, "failed", *[None] * 6, f"{seconds:.1f}")

    def finish(self) -> int:
        """Prints what is not shown yet: the table on a terminal, skipped resources, errors. Gives the exit code."""
        skipped = [name for name in self._names if name not in self._rows]
        for name in skipped:
            self._end(name, "skipped", *[None] * 7)
        if not self._output.plain:
            rows = [self._rows[name] for name in self._names]
            numbers = ("rows", "new", "changed", "gone", "requests", "seconds")
            self._output.table(_COLUMNS, rows, right=numbers, styles=_STYLES)
        for name, error in self._errors.items():
            self._output.note(f"{name}: {error}", "red")
        if skipped:
            reason = "since a resource before it failed" if self._errors else INTERRUPTED
            self._output.note(f"skipped, {reason}: {', '.join(skipped)}", "yellow")
        return 1 if self._errors or skipped else 0

    def _end(self, name: str, *cells: object) -> None:
        self._rows[name] = (name, *cells)
        if self._output.plain:
            self._output.cells(name, *cells)
        elif self._bars is not None:
            self._bars.update(self._tasks[name], total=1, completed=1, told=str(cells[0]))
