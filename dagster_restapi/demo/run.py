"""`make demo`: loads the sample API through real Dagster runs, changes it, loads again, and checks every row."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from rich.console import Console
from rich.table import Table

from dagster_restapi.demo import SampleApi
from dagster_restapi.demo.config import DATABASE_ENV, SCHEMA, TOKEN_ENV, URL_ENV
from dagster_restapi.demo.home import use_home
from dagster_restapi.demo.job import demo_job
from dagster_restapi.demo.tracker import COLLECTIONS, Collection

_PLAIN_WIDTH = 118  # columns where the output is no terminal


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one run did to one asset."""

    asset: Collection
    metadata: Mapping[str, Any]
    seconds: float

    def number(self, name: str) -> int:
        """A count from the event's metadata."""
        return int(self.metadata.get(f"dagster_restapi/{name}", 0))

    @property
    def rows(self) -> int:
        """Rows of the table after the run."""
        return int(self.metadata["dagster/row_count"])

    @property
    def cursor(self) -> str:
        """Where the next run goes on."""
        if cursors := self.metadata.get("dagster_restapi/cursors"):
            return f"{cursors['count']} cursors, newest {cursors['maximum']}"
        return _shown(self.metadata.get("dagster_restapi/cursor"))


def _shown(value: object) -> str:
    return "–" if value is None else str(value)


def materialize(instance: dg.DagsterInstance) -> dict[Collection, Loaded]:
    """One run of the job: a process for each asset, as in production.

    Raises:
        SystemExit: A step failed; its error is printed.
    """
    start = {"forkserver": {"preload_modules": [demo_job.__module__]}}  # imports Dagster once, not once a step
    config = {"execution": {"config": {"max_concurrent": min(4, os.cpu_count() or 1), "start_method": start}}}
    with dg.execute_job(dg.reconstructable(demo_job), instance, run_config=config, raise_on_error=False) as result:
        if not result.success:
            raise SystemExit(f"the run {result.run_id} failed: see the messages above")
        times = {stats.step_key: stats for stats in instance.get_run_step_stats(result.run_id)}
        events = {
            event.asset_key.path[-1]: (event.step_key, event.materialization.metadata)
            for event in result.get_asset_materialization_events()
            if event.asset_key
        }
    loaded: dict[Collection, Loaded] = {}
    for asset in COLLECTIONS:
        step, metadata = events[asset]
        stats = times[str(step)]
        seconds = (stats.end_time or 0.0) - (stats.start_time or 0.0)
        loaded[asset] = Loaded(asset, {name: value.value for name, value in metadata.items()}, seconds)
    return loaded


def change(api: SampleApi) -> None:
    """Edits two issues, one of them with a field that no issue had; adds an issue, and comments on another."""
    tracker = api.tracker
    tracker.touch("issues", 40, {"title": "An edited title", "severity": 3})
    tracker.touch("issues", 7, {"state": "closed", "closed_at": "2024-02-01T09:00:00Z"})
    tracker.add("issues", {"repository": "anvil", "title": "A new issue"})
    for _ in range(3):
        tracker.add("comments", {"repository": "anvil", "issue_number": 1})


CHANGES = "2 issues edited (one has a new field, severity), 1 issue added, 3 comments added to 1 old issue"
CHANGED_ISSUES = 4
VERDICT = (
    "After both runs every table holds the API's rows, none twice and none missing, "
    "and the metadata tells as many requests as the API has served."
)


def table(title: str, run: Mapping[Collection, Loaded], before: Mapping[Collection, Loaded] | None) -> Table:
    """What a run did, a line for each asset."""
    drawn = Table(title=title, title_justify="left", title_style="bold")
    drawn.add_column("asset")
    for name in ("rows", "inserted", "updated", "requests"):
        drawn.add_column(name, justify="right")
    drawn.add_column("cursor before")
    drawn.add_column("cursor after")
    drawn.add_column("seconds", justify="right")
    for asset, loaded in run.items():
        counts = (loaded.rows, *(loaded.number(name) for name in ("rows_inserted", "rows_updated", "requests")))
        cursor_before = before[asset].cursor if before else "–"
        drawn.add_row(asset, *(f"{count:,}" for count in counts), cursor_before, loaded.cursor, f"{loaded.seconds:.1f}")
    return drawn


def served(api: SampleApi) -> Counter[str]:
    """Requests that the API has served, by the asset that must have sent them."""
    parts = (path.partition("?")[0].strip("/").split("/") for path in api.paths())
    return Counter(next(part for part in reversed(names) if part in COLLECTIONS) for names in parts)


def stored_rows(connection: duckdb.DuckDBPyConnection, asset: Collection, stamp: str) -> list[tuple[int, str]]:
    """Id and time stamp of every row of a table, written as the API writes them."""
    text = f"strftime({stamp} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ')"
    return connection.execute(f"SELECT id, {text} FROM {SCHEMA}.{asset} ORDER BY id").fetchall()


def faults(api: SampleApi, database: Path, run: Mapping[Collection, Loaded]) -> list[str]:
    """What the tables or the metadata say differently from the API; nothing, if all is well."""
    found = []
    requests = served(api)
    with duckdb.connect(str(database), read_only=True) as connection:
        for asset, loaded in run.items():
            rows = api.tracker.listing(asset)
            stamp = "updated_at" if "updated_at" in rows[0] else "created_at"
            stored, expected = stored_rows(connection, asset, stamp), [(row["id"], row[stamp]) for row in rows]
            if stored != expected:
                wrong = f"{len(set(stored) ^ set(expected))} ids or time stamps differ"
                found.append(f"{asset}: {len(stored)} rows are stored, the API has {len(expected)}; {wrong}")
            if loaded.rows != len(expected):
                found.append(f"{asset}: its metadata tells {loaded.rows} rows, the API has {len(expected)}")
            if (told := loaded.number("requests")) != requests[asset]:
                found.append(f"{asset}: its metadata tells {told} requests, the API served {requests[asset]}")
    return found


def tables_of(database: Path) -> list[tuple[str, int, int]]:
    """Name, rows and columns of every table of the API's rows; the library's own ones are left out."""
    with duckdb.connect(str(database), read_only=True) as connection:
        query = "SELECT table_name, column_count FROM duckdb_tables() WHERE schema_name = ?"
        found = connection.execute(query, [SCHEMA]).fetchall()
        names = sorted((name, columns) for name, columns in found if not name.startswith("_"))
        counts = [connection.execute(f'SELECT count(*) FROM {SCHEMA}."{name}"').fetchall()[0][0] for name, _ in names]
    return [(name, count, columns) for (name, columns), count in zip(names, counts, strict=True)]


def demonstrate(folder: Path, console: Console) -> int:
    """Runs the demo in a folder; gives the exit code."""
    database, home = folder / "demo.duckdb", folder / ".demo" / "dagster"
    for old in (database, database.with_name("demo.duckdb.wal")):
        old.unlink(missing_ok=True)
    shutil.rmtree(home, ignore_errors=True)
    with SampleApi() as api:
        os.environ |= {URL_ENV: api.url, TOKEN_ENV: str(api.token), DATABASE_ENV: str(database)}
        use_home(home, log_level="ERROR")
        sizes = ", ".join(f"{count:,} {name}" for name, count in api.tracker.counts().items())
        console.print(f"The sample API runs on {api.url}: {sizes}.\n")
        with dg.DagsterInstance.get() as instance:
            first = materialize(instance)
            console.print(table("First run: everything", first, None))
            wrong = faults(api, database, first)
            change(api)
            api.forget_log()
            console.print(f"\nChanged at the API: {CHANGES}.\n")
            second = materialize(instance)
        console.print(table("Second run: only what is new", second, first))
        wrong += faults(api, database, second)
    asked = second["comments"].number("requests")
    if asked != CHANGED_ISSUES:
        wrong.append(f"comments: asked for {asked} issues in the second run; {CHANGED_ISSUES} had changed")
    for loaded in second.values():
        for news in loaded.metadata.get("dagster_restapi/schema_changes", []):
            console.print(f"Schema change in {loaded.asset}: {news}")
    return report(wrong, database, console)


def report(wrong: list[str], database: Path, console: Console) -> int:
    """Prints the tables and the verdict; gives the exit code."""
    drawn = Table(title=f"\nTables in {database.name}", title_justify="left", title_style="bold")
    drawn.add_column("table")
    drawn.add_column("rows", justify="right")
    drawn.add_column("columns", justify="right")
    for name, rows, columns in tables_of(database):
        drawn.add_row(f"{SCHEMA}.{name}", f"{rows:,}", str(columns))
    console.print(drawn)
    if wrong:
        console.print("\n[bold red]Something is off:[/]")
        for line in wrong:
            console.print(f"  {line}", markup=False)
        return 1
    console.print(f"\n[bold green]All is well.[/] {VERDICT}")
    console.print("[bold]make ui[/] shows the same assets in Dagster's UI.")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m dagster_restapi.demo.run", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where demo.duckdb and .demo/ go")
    folder = parser.parse_args(arguments).folder.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=_PLAIN_WIDTH)
    return demonstrate(folder, console)


if __name__ == "__main__":
    sys.exit(main())
