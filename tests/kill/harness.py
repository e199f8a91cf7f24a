"""Kills real runs with SIGKILL and compares what they leave with what undisturbed runs leave, row for row."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from kill import victim
from kill.kinds import KINDS, LOADS, Kind, change, small_tracker
from kill.victim import INSTANTS, Errand

from dagster_restapi.demo import SampleApi
from dagster_restapi.spool import sweep

LATENCY = 0.008  # seconds that the API takes for a page
_PATIENCE = 240  # seconds for one run
Rows = Mapping[tuple[str, str | None], list[Any]]  # of each table and partition


class Loss(AssertionError):
    """Rows were lost or doubled, or the ledger and the events tell different stories."""


# ---- processes -------------------------------------------------------------------------------------------------------
def context() -> ForkServerContext:
    """Processes that have imported Dagster and the library already, and nothing else."""
    tests = str(Path(__file__).resolve().parent.parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if tests not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [tests, *paths]))
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload([victim.__name__])
    return made


@dataclass(frozen=True)
class Death:
    """How a process ended.

    Attributes:
        killed: By SIGKILL; else it came to its end before.
        where: The last instant that it had passed.
    """

    killed: bool
    where: str
    seconds: float


def send(errand: Errand, *, kill_after: float | None = None) -> Death:
    """Runs the errand in a process, and kills it so many seconds after the run has begun.

    Raises:
        Loss: The process failed without being killed.
    """
    folder = Path(errand.folder)
    for name in ("ready", "mark", "died"):
        (folder / name).unlink(missing_ok=True)
    process = context().Process(target=victim.run, args=(errand,))
    process.start()
    while not (folder / "ready").exists() and process.is_alive():
        time.sleep(0.002)
    began = time.monotonic()
    if kill_after is not None:
        process.join(kill_after)
        process.kill()
    process.join(_PATIENCE)
    seconds = time.monotonic() - began
    code, mark = process.exitcode, folder / "mark"
    process.close() if code is not None else process.kill()
    died_in_step = errand.in_steps and (folder / "died").exists()
    if code not in (0, -signal.SIGKILL):
        raise Loss(f"a run of {errand.assets} failed by itself ({code}):\n{(folder / 'log').read_text()[-6000:]}")
    where = mark.read_text() if mark.exists() else "before anything"
    return Death(code == -signal.SIGKILL or died_in_step, where, seconds)


# ---- what is in the database -----------------------------------------------------------------------------------------
@dataclass
class Book:
    """Which load belongs to which of the life's loads, and which loads were told of."""

    number_of: dict[str, int] = field(default_factory=dict)

    def loads(self, number: int) -> int:
        """How many loads are of this number."""
        return list(self.number_of.values()).count(number)

    def enter(self, connection: duckdb.DuckDBPyConnection, number: int) -> None:
        """All loads that were not there before are of this number."""
        for (load_id,) in connection.execute("SELECT load_id FROM s._restapi_loads").fetchall():
            self.number_of.setdefault(load_id, number)


def rows_of(database: Path, kind: Kind, number: int, book: Book) -> Rows:
    """All rows that the database holds, in a form that does not depend on when and by which load they came."""
    if not database.exists():
        return {}
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        if not connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = '_restapi_loads'").fetchall():
            return {}
        book.enter(connection, number)
        roots, found = {}, {}
        tables = connection.execute("SELECT table_name, root FROM s._restapi_tables ORDER BY length(path)").fetchall()
        for table, root in tables:
            rows = _dicts(connection, table)
            if table == root:
                roots[table] = {row["_restapi_id"]: str(row["_restapi_row_hash"]) for row in rows}
                if len(roots[table]) < len(rows):
                    raise Loss(f"{table} has {len(rows)} rows, but only {len(roots[table])} ids")
            found[table] = [_timeless(row, roots[root], book) for row in rows]
        _rank_instants(found)
        if kind.repeats:
            _take_copies_away(connection, found, book)
    parts: dict[tuple[str, str | None], list[Any]] = {}
    for table, rows in found.items():
        for row in rows:
            shown = sorted((key, repr(value)) for key, value in row.items() if value is not None)
            parts.setdefault((table, row.get("_restapi_partition")), []).append(shown)
    return {key: sorted(rows) for key, rows in parts.items()}


def _dicts(connection: duckdb.DuckDBPyConnection, table: str) -> list[dict[str, Any]]:
    result = connection.execute(f'FROM s."{table}"')
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _timeless(row: dict[str, Any], roots: Mapping[str, str], book: Book) -> dict[str, Any]:
    row = dict(row)
    row["_restapi_load_id"] = book.number_of[row["_restapi_load_id"]]
    row.pop("_restapi_id")
    row.pop("_restapi_parent_id", None)
    if "_restapi_root_id" in row:
        root = roots.get(row.pop("_restapi_root_id"))
        if root is None:
            raise Loss(f"a child row has no root: {row}")
        row["root"] = root
    return row


def _rank_instants(found: Mapping[str, list[dict[str, Any]]]) -> None:
    """History in the order of its instants: the clock differs between two lives."""
    for rows in found.values():
        names = [name for name in ("_restapi_valid_from", "_restapi_valid_to") if rows and name in rows[0]]
        instants: list[datetime] = sorted({row[name] for row in rows for name in names if row[name] is not None})
        for row in rows:
            for name in names:
                row[name] = None if row[name] is None else instants.index(row[name])


def _take_copies_away(
    connection: duckdb.DuckDBPyConnection, found: Mapping[str, list[dict[str, Any]]], book: Book
) -> None:
    """Where every load adds all rows, each row must stand there as often as its load was repeated."""
    there = connection.execute("SELECT load_id FROM s._restapi_loads").fetchall()
    loads = Counter(book.number_of[load_id] for (load_id,) in there)
    for table, rows in found.items():
        counted = Counter(json.dumps(row, sort_keys=True, default=str) for row in rows)
        kept = []
        for row in rows:
            text = json.dumps(row, sort_keys=True, default=str)
            copies = loads[row["_restapi_load_id"]]
            if counted.get(text, copies) != copies:
                raise Loss(f"{table} has {counted[text]} copies of a row that {copies} loads brought: {text}")
            if counted.pop(text, None):
                kept.append(row)
        found[table][:] = kept


def types_of(database: Path) -> list[Any]:
    """Tables, columns and their types."""
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 's' ORDER BY ALL"
        ).fetchall()


# ---- lives -----------------------------------------------------------------------------------------------------------
@dataclass
class Calm:
    """What an undisturbed life of a kind leaves behind each load."""

    rows: list[Rows]
    loads: list[int]  # how many rows of the ledger each made
    types: list[Any]
    seconds: float  # of a run


@dataclass
class Life:
    """Some loads of one kind into one database, disturbed or not."""

    kind: Kind
    folder: Path
    api: SampleApi
    book: Book = field(default_factory=Book)

    @property
    def database(self) -> Path:
        return self.folder / "t.duckdb"

    @property
    def spools(self) -> Path:
        return self.folder / "t.duckdb.spool"

    def errand(self, number: int) -> Errand:
        """The run that makes the load of this number."""
        config = self.kind.config(self.api.url)
        return Errand(str(self.folder), config, self.kind.assets, dict(self.kind.tags[number]))

    def rows(self, number: int) -> Rows:
        """What the database holds now."""
        return rows_of(self.database, self.kind, number, self.book)

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """The Dagster instance of all runs."""
        with dg.DagsterInstance.from_config(str(self.folder / "home")) as instance:
            yield instance

    def last_run(self) -> str | None:
        """The newest run, if it can be executed again from where it failed."""
        with self.instance() as instance:
            for record in instance.get_run_records(limit=1):
                run = record.dagster_run
                events = [log.dagster_event_type for log in instance.all_logs(run.run_id)]
                begun = dg.DagsterEventType.STEP_START in events
                steps = len(run.step_keys_to_execute or self.kind.assets)
                if begun and events.count(dg.DagsterEventType.STEP_SUCCESS) < steps:
                    return run.run_id
        return None

    def check_calm(self) -> None:
        """Nothing is left over, the newest event is of the newest load, and it tells what is there."""
        sweep(self.spools, older_than=0)  # a day later
        left = [path.name for path in self.folder.iterdir() if path.name.endswith(".tmp")]
        left += [path.name for path in self.spools.iterdir() if path.is_dir()] if self.spools.exists() else []
        if left:
            raise Loss(f"left over: {left}")
        with duckdb.connect(str(self.database), read_only=True) as connection:
            ledger = connection.execute(
                "SELECT asset, partition, load_id FROM s._restapi_loads ORDER BY sequence"
            ).fetchall()
            newest = {(asset, partition): load_id for asset, partition, load_id in ledger}
            if len({load_id for _, _, load_id in ledger}) < len(ledger):
                raise Loss("a load stands in the ledger twice")
            with self.instance() as instance:
                for (asset, partition), load_id in newest.items():
                    self._check_event(instance, connection, asset, partition, load_id)

    def _check_event(self, instance: Any, connection: Any, asset: str, partition: str | None, load_id: str) -> None:
        wanted = dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(asset.split("/")), asset_partitions=[partition] if partition else None
        )
        record = instance.fetch_materializations(wanted, limit=1).records[0]
        told = {name: value.value for name, value in record.asset_materialization.metadata.items()}
        if told["dagster_restapi/load_id"] != load_id:
            raise Loss(f"the newest event of {asset} {partition} is not of the ledger's newest load")
        where = f"WHERE _restapi_partition = '{partition}'" if partition else ""
        [(count,)] = connection.execute(f'SELECT count(*) FROM s."{asset}" {where}').fetchall()
        name = "dagster/partition_row_count" if partition else "dagster/row_count"
        if told[name] != count:
            raise Loss(f"the event of {asset} {partition} tells {told[name]} rows, the table has {count}")

    def check_truth(self) -> None:
        """The table holds what the API has, each row once."""
        query = f"""SELECT id, strftime(coalesce(updated_at, created_at), '%Y-%m-%dT%H:%M:%SZ')
                    FROM s."{self.kind.table}" WHERE {self.kind.current} ORDER BY ALL"""
        if self.kind.table in ("events", "users"):
            query = query.replace("coalesce(updated_at, created_at)", "created_at")
        if self.kind.repeats:  # the last load's rows
            newest = "(SELECT max_by(load_id, sequence) FROM s._restapi_loads)"
            query = query.replace(" ORDER", f" AND _restapi_load_id = {newest} ORDER")
        with duckdb.connect(str(self.database), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            found = connection.execute(query).fetchall()
        if found != self.kind.truth(self.api.tracker):
            raise Loss(f"{self.kind.table} holds {len(found)} rows that are not those of the API")


@dataclass
class Outcome:
    """What was tried."""

    kills: int = 0
    missed: int = 0  # the process came to its end before
    named: Counter[str] = field(default_factory=Counter)
    random: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)  # of step processes, which the run itself tried again
    kinds: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)  # whether the kill left the load undone or done


class Harness:
    """Lives of every kind, disturbed by kills; every choice comes from the seed.

    Args:
        folder: Where databases and Dagster homes go.
        chance: Makes the choices.
        loads: How many loads a life has.
    """

    def __init__(self, folder: Path, chance: random.Random, *, loads: int = LOADS) -> None:
        self.folder, self.chance, self.loads = folder, chance, loads
        self.outcome = Outcome()
        self._calm: dict[str, Calm] = {}
        self._number = 0

    @contextmanager
    def _life(self, kind: Kind) -> Iterator[Life]:
        self._number += 1
        folder = self.folder / f"{self._number:04d}"
        folder.mkdir(parents=True)
        template = self.folder / "home"
        if not template.exists():
            template.mkdir()
            with dg.DagsterInstance.from_config(str(template)) as instance:
                instance.get_runs_count()
        shutil.copytree(template, folder / "home")
        with SampleApi(token=None, latency=LATENCY, tracker=small_tracker()) as api:
            yield Life(kind, folder, api)
        shutil.rmtree(folder)  # kept where something went wrong

    def calm(self, name: str) -> Calm:
        """An undisturbed life of a kind."""
        if name not in self._calm:
            with self._life(KINDS[name]) as life:
                rows, loads, seconds = [], [], 0.0
                for number in range(self.loads):
                    change(life.api.tracker, number)
                    seconds = max(seconds, send(life.errand(number)).seconds)
                    rows.append(life.rows(number))
                    loads.append(life.book.loads(number))
                    life.check_calm()
                life.check_truth()
                self._calm[name] = Calm(rows, loads, types_of(life.database), seconds)
        return self._calm[name]

    def disturb(self, name: str, plan: Iterator[str]) -> None:
        """One life of a kind.

        Args:
            plan: For each kill the instant; "random" for any moment; behind "step: " the step's process alone dies.
        """
        calm, kind = self.calm(name), KINDS[name]
        with self._life(kind) as life:
            for number in range(self.loads):
                change(life.api.tracker, number)
                before = calm.rows[number - 1] if number else {}
                self._disturbed_load(life, name, number, before, calm, plan)
            life.check_truth()
            if types_of(life.database) != calm.types:
                raise Loss(f"{name}: the types differ")

    def _disturbed_load(
        self, life: Life, name: str, number: int, before: Rows, calm: Calm, plan: Iterator[str]
    ) -> None:
        done = False
        for how in itertools.islice(plan, self.chance.choice((1, 1, 2))):
            again_of = life.last_run() if self.chance.random() < 0.5 else None
            loads = life.book.loads(number)
            done = self._kill(replace(life.errand(number), again_of=again_of), name, how, calm.seconds)
            now = life.rows(number)
            if how.startswith("step: ") and life.book.loads(number) - loads > calm.loads[number]:
                raise Loss(f"{name}, load {number}, killed {how}: the run has loaded twice")
            self._compare(f"{name}, load {number}, killed {how}", now, before, calm.rows[number], done=done)
            if done:
                break
        if not done:
            again_of = life.last_run() if self.chance.random() < 0.5 else None
            send(replace(life.errand(number), again_of=again_of))
        life.check_calm()
        self._compare(f"{name}, load {number}, run again", life.rows(number), before, calm.rows[number], done=True)

    def _kill(self, errand: Errand, name: str, how: str, seconds: float) -> bool:
        """Gives whether the load must be complete now, since the run came to its end."""
        if how == "random":
            death = send(errand, kill_after=self.chance.uniform(0, seconds))
        else:
            in_steps = how.startswith("step: ")
            time_of = self.chance.choice((1, 2, 3)) if "page" in how else self.chance.choice((1, 1, 2))
            death = send(
                replace(errand, instant=how.removeprefix("step: "), time_of=time_of, in_steps=in_steps, again_of=None)
                if in_steps
                else replace(errand, instant=how, time_of=time_of)
            )
        if not death.killed:
            self.outcome.missed += 1
            return True
        self.outcome.kills += 1
        self.outcome.kinds[name] += 1
        counted = self.outcome.random if how == "random" else self.outcome.named
        if how.startswith("step: "):
            self.outcome.steps[how.removeprefix("step: ")] += 1
            return True
        counted[death.where if how == "random" else how] += 1
        return False

    def _compare(self, what: str, now: Rows, before: Rows, after: Rows, *, done: bool) -> None:
        """Every table of every partition is as it was before the load, or as it is after it."""
        keys = {*now, *before, *after}
        late = {key for key in keys if now.get(key) == after.get(key)}
        wrong = keys - late if done else {key for key in keys - late if now.get(key) != before.get(key)}
        if not done:
            self.outcome.after["after" if late == keys and before != after else "before"] += 1
        for key in sorted(wrong, key=repr):
            have, want = now.get(key, []), after.get(key, [])
            lost, more = [row for row in want if row not in have], [row for row in have if row not in want]
            raise Loss(f"{what}: {key} has {len(have)} rows, not {len(want)}; lost {lost[:2]}, unwanted {more[:2]}")


def plan_of() -> Iterator[str]:
    """Half of the kills at named instants, one after another; four of ten at random; a tenth in step processes."""
    names = list(INSTANTS)
    for number in itertools.count():
        if number % 2 == 0:
            yield names[number // 2 % len(names)]
        else:
            yield f"step: {names[number // 10 % len(names)]}" if number % 10 == 9 else "random"
