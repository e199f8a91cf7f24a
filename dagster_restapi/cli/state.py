"""`state`: what the ledger knows of a configuration's resources, how to begin again, and how to rename an asset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from dagster_restapi.cli.output import Output
from dagster_restapi.config.placeholders import nearest
from dagster_restapi.config.plan import plan as make_plans
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.errors import ConfigError
from dagster_restapi.extract.preview import named
from dagster_restapi.model import Cursor, LedgerRow, Plan
from dagster_restapi.tables.ledger import cursor_summary, loads, parent_cursors
from dagster_restapi.tables.marks import is_mark, is_reset
from dagster_restapi.tables.owner import Claim
from dagster_restapi.tables.rename import assets, rename
from dagster_restapi.tables.reset import drop_rows, reset, reset_parent, what_would_go
from dagster_restapi.tables.target import Target

_HISTORY = 20  # loads that are listed


class State:
    """The ledger, seen from one configuration.

    Args:
        prefix: Parts before the resource's name in the asset keys.
    """

    def __init__(self, config: RestApiConfig, target: Target, prefix: Sequence[str], output: Output) -> None:
        self._plans = {name: plan for name, plan in make_plans(config).items() if plan.selected}
        self._target, self._prefix, self._output = target, list(prefix), output

    def show(self) -> None:
        """A row for each resource, and for each of its partitions."""
        self._check_database()
        columns = ("resource", "partition", "cursor", "loads", "rows", "last load", "load id")
        self._output.table(columns, self._overview(), right=("loads", "rows"))

    def show_one(self, name: str) -> None:
        """The newest loads of a resource, and its cursors where it keeps one for each row of its parent."""
        self._check_database()
        plan = named(self._plans, name)
        history = loads(self._target, self._asset(plan))[-_HISTORY:]
        self._output.table(
            ("committed at", "partition", "rows", "cursor before", "cursor", "load id", "run id"),
            [
                (
                    row.committed_at,
                    row.partition,
                    row.rows,
                    _value(row.cursor_before),
                    _value(row.cursor),
                    row.load_id,
                    row.run_id,
                )
                for row in history
            ],
            right=("rows",),
        )
        if _per_parent(plan):
            self._output.line()
            cursors = [
                (partition, key, value)
                for partition in dict.fromkeys(row.partition for row in history)
                for key, value in self._parent_cursors(plan, partition).items()
            ]
            self._output.table(("partition", "parent", "cursor"), cursors)

    def reset(self, name: str, partition: str | None, parent: str | None) -> None:
        """Makes a resource begin again, or one of its partitions, or one row of its parent; rows stay.

        Raises:
            ConfigError: There is nothing to reset.
        """
        self._check_database()
        plan = named(self._plans, name)
        if parent is not None:
            self._reset_parent(plan, partition, parent)
            return
        count = reset(self._target, self._asset(plan), partition)
        what = name if partition is None else f"partition {partition} of {name}"
        if not count:
            raise ConfigError(f"the ledger knows no load of {what}", where=self._target.database)
        told = f" ({count} partitions)" if count > 1 else ""
        self._output.note(f"{what} is reset{told}. The rows stay; the next load starts at the beginning.")

    def _reset_parent(self, plan: Plan, partition: str | None, parent: str) -> None:
        if not _per_parent(plan):
            raise ConfigError(f"the resource {plan.name!r} keeps no cursor for each row of a parent")
        keys = self._parent_cursors(plan, partition)
        found = [key for key in keys if parent in _spellings(key)]
        if len(found) != 1:
            raise ConfigError(
                f"{'several' if found else 'no'} cursors of {plan.name!r} are for a parent {parent!r}",
                hint=f"See `dagster-restapi state … {plan.name}`; write the whole key as it stands there.",
            )
        reset_parent(self._target, self._asset(plan), found[0], partition)
        self._output.note(
            f"{plan.name}: the cursor for {found[0]} is forgotten. The next load that asks with it starts at the "
            "beginning; `run --parents all` asks with every row of the parent."
        )

    def drop_rows(self, name: str, partition: str | None, agrees: Callable[[str], bool]) -> None:
        """Takes a resource's tables and loads away, or the rows and loads of one partition.

        Args:
            agrees: Asks the person whether that is to be done.

        Raises:
            ConfigError: There is nothing to take away.
            TableError: A table is not the resource's own.
        """
        self._check_database()
        plan = named(self._plans, name)
        claim = Claim(plan.table.table, self._asset(plan), plan.name, self._target.database)
        what = name if partition is None else f"partition {partition} of {name}"
        found = what_would_go(self._target, claim, partition)
        if not found.loads and not any(found.rows.values()):
            raise ConfigError(f"there are neither rows nor loads of {what}", where=self._target.database)
        for table, rows in found.rows.items():
            self._output.note(f"{table}: {_many(rows, 'row')}")
        if not agrees(f"Remove them, and {_many(found.loads, 'load')} of {what}?"):
            self._output.note("Nothing was removed.")
            return
        gone = drop_rows(self._target, claim, partition)
        self._output.note(f"{what}: removed {_many(sum(gone.rows.values()), 'row')} and {_many(gone.loads, 'load')}.")

    def rename(self, old: str, name: str) -> None:
        """Hands everything of an asset over to a resource of the configuration.

        Raises:
            ConfigError: The ledger knows no such asset.
            TableError: The resource has loads of its own, or a table is in the way.
        """
        self._check_database()
        plan = named(self._plans, name)
        new, known = self._asset(plan), assets(self._target)
        if old not in known:
            raise ConfigError(
                f"the ledger knows no load of an asset {old!r}",
                where=f"schema {self._target.schema} of {self._target.database}",
                hint=nearest(old, known) or f"It knows {', '.join(known) or 'none'}.",
            )
        done = rename(self._target, old, new, plan.table)
        for before, now in done.tables.items():
            self._output.note(f"table {before} is {now} now")
        self._output.note(f"{old} is {new} now: {_many(done.loads, 'load')}. The next run goes on from there.")

    # ---- reading -------------------------------------------------------------------------------------------------
    def _check_database(self) -> None:
        if not self._target.exists:
            raise ConfigError("there is no such database yet", where=self._target.database, hint="Name it: --database")

    def _asset(self, plan: Plan) -> str:
        return "/".join([*self._prefix, plan.table.table])

    def _overview(self) -> Iterator[tuple[object, ...]]:
        known: dict[str, dict[str | None, list[LedgerRow]]] = {}
        for row in loads(self._target):
            known.setdefault(row.asset, {}).setdefault(row.partition, []).append(row)
        for name, plan in self._plans.items():
            slices = known.get(self._asset(plan), {})
            for partition, rows in slices.items():
                cursor = self._summary(plan, partition) if _per_parent(plan) else _value(rows[-1].cursor)
                if not cursor and is_reset(rows[-1]):
                    cursor = "reset"
                done = [row for row in rows if not is_mark(row)] or rows
                newest = done[-1]
                yield name, partition, cursor, len(done), newest.rows, newest.committed_at, newest.load_id
            if not slices:
                yield name, None, "not loaded", 0, None, None, None

    def _summary(self, plan: Plan, partition: str | None) -> str:
        format_ = plan.incremental.cursor_format if plan.incremental else None
        summary = cursor_summary(self._target, self._asset(plan), partition, cursor_format=format_)
        return f"{summary.count} cursors, {summary.minimum} to {summary.maximum}" if summary.count else ""

    def _parent_cursors(self, plan: Plan, partition: str | None) -> Mapping[str, object]:
        with self._target.read() as connection:
            found = parent_cursors(connection, self._target.space(connection), self._asset(plan), partition)
        return {key: value for key, (value, _) in sorted(found.items())}


def _per_parent(plan: Plan) -> bool:
    return plan.incremental is not None and plan.parent is not None


def _value(cursor: Cursor | None) -> object:
    return None if cursor is None else cursor.value


def _many(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _spellings(key: str) -> tuple[str, ...]:
    """How a person may write a parent key: as JSON, its values alone, or with their names."""
    values = msgspec.json.decode(key)
    alone = "/".join(map(str, values.values()))
    return key, alone, ", ".join(f"{name}={value}" for name, value in values.items())
