"""What the tests of tables share: loading records through a real spool into a DuckDB file, and reading them back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dagster_restapi.extract.parents import RequestFields
from dagster_restapi.model import Cursor, Fetched, LoadResult, Slice, TablePlan, Window
from dagster_restapi.spool import Spool
from dagster_restapi.tables.ledger import newest_load
from dagster_restapi.tables.load import load
from dagster_restapi.tables.target import Target

Records = Sequence[Mapping[str, Any]]


@dataclass
class Loader:
    """Loads lists of records, one after another, as steps would."""

    folder: Path
    target: Target
    loads: int = field(default=0)

    def __call__(
        self,
        plan: TablePlan,
        records: Records,
        *,
        asset: str | None = None,
        partition: str | None = None,
        window: Window | None = None,
        cursor: Cursor | None = None,
        pages: int = 1,
        cursors: Records = (),
        at_cursor: Sequence[int] | None = None,
        fetched: Mapping[str, Any] | None = None,
        slice_: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> LoadResult:
        """One load of these records, spread over some pages. `at_cursor`: 1 for those at their own parent's cursor."""
        self.loads += 1
        asset = asset or plan.resource
        with Spool.open(self.folder / "spools", f"{self.loads:06d}") as spool:
            if at_cursor is not None:
                spool.note(parents={"cursors": True})
            for number in range(pages):
                writer = spool.writer(number)
                part = [dict(record) for record in records[number::pages]] if pages > 1 else list(records)
                writer.write(part, at_cursor, RequestFields(plan.request_fields).of(part))
                writer.commit(None, {}, done=True)
            if cursors:
                lines = "".join(json.dumps(line) + "\n" for line in cursors)
                (spool.directory / "cursors.ndjson").write_text(lines)
            newest = newest_load(self.target, asset, partition)
            told = Fetched(load_id=spool.load_id, rows=len(records), **(fetched or {}))
            where = Slice(asset=asset, partition=partition, window=window, cursor=cursor, **(slice_ or {}))
            options.setdefault("expected", newest.load_id if newest else None)
            result = load(self.target, plan, where, spool, told, cursor=cursor, **options)
            spool.remove()
        return result

    def rows(self, table: str, columns: str = "*", order: str | None = None) -> list[tuple[Any, ...]]:
        """Rows of a table as tuples, in the order of a column or of all of them."""
        with self.target.read() as connection:
            name = self.target.space(connection).table(table)
            return connection.execute(f"SELECT {columns} FROM {name} ORDER BY {order or 'ALL'}").fetchall()

    def types(self, table: str) -> dict[str, str]:
        """Column -> type, without system columns."""
        with self.target.read() as connection:
            rows = connection.execute(
                "SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = ? AND table_name = ? "
                "AND NOT starts_with(column_name, '_restapi_') ORDER BY column_index",
                [self.target.schema, table],
            ).fetchall()
        return dict(rows)

    def tables(self) -> set[str]:
        """Names of all tables of the schema, without system tables."""
        with self.target.read() as connection:
            rows = connection.execute(
                "SELECT table_name FROM duckdb_tables() "
                "WHERE schema_name = ? AND NOT starts_with(table_name, '_restapi_')",
                [self.target.schema],
            ).fetchall()
        return {row[0] for row in rows}

    def canonical(self, root: str) -> dict[str, list[Any]]:
        """All tables of a root after the canonical rendering that docs/tables.md states: comparable over any route."""
        with self.target.read() as connection:
            return canonical(connection, self.target, root)


def canonical(connection: duckdb.DuckDBPyConnection, target: Target, root: str) -> dict[str, list[Any]]:
    """Every value as text under its path in the record; columns and tables without any value do not count."""
    space = target.space(connection)
    tables = connection.execute(
        f"SELECT table_name, path FROM {space.table('_restapi_tables')} WHERE root = ? ORDER BY path", [root]
    ).fetchall()
    found: dict[str, list[Any]] = {}
    for table, path in tables:
        columns = connection.execute(
            f"SELECT column_name, path FROM {space.table('_restapi_columns')} WHERE table_name = ? ORDER BY path",
            [table],
        ).fetchall()
        rows = connection.execute(f"SELECT * FROM {space.table(table)}")
        names = [column[0] for column in rows.description]
        lines = []
        for row in rows.fetchall():
            values = dict(zip(names, row, strict=True))
            shown = {place: render(values[name]) for name, place in columns if values[name] is not None}
            if path != "[]":
                shown["index"] = str(values["_restapi_index"])
            lines.append(sorted(shown.items()))
        if lines:
            found[path] = sorted(lines)
    return found


def render(value: Any) -> str:
    """One value as text: numbers without needless fraction, date-times in UTC, JSON as its content without nulls."""
    if isinstance(value, dict):
        return json.dumps({key: render(inner) for key, inner in value.items() if inner is not None}, sort_keys=True)
    if isinstance(value, list):
        return json.dumps([None if item is None else render(item) for item in value])
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value == int(value) and abs(value) <= 2**53 else repr(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, str):
        if value[:1] in '{["' or value in ("true", "false"):
            try:
                inner = json.loads(value)
            except ValueError:
                return value
            return render(inner)
        try:
            if len(value) >= 16 and value[10] == "T":
                moment = datetime.fromisoformat(value)
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
            number = float(value)
            if "e" in value or "." in value:
                return render(number)
        except (ValueError, OverflowError):
            return value
        return value
    return str(value)


@pytest.fixture
def target(tmp_path: Path) -> Target:
    """A database file whose schema has the file's own name."""
    return Target(str(tmp_path / "github.duckdb"), schema="github", lock_timeout=60)


@pytest.fixture
def loads(tmp_path: Path, target: Target) -> Loader:
    """Loads records into `target`."""
    return Loader(tmp_path, target)


@pytest.fixture(scope="session")
def make_loader() -> type[Loader]:
    """Makes a loader for a folder and a target."""
    return Loader
