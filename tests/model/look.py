"""What the database holds, in a form that a model can be compared with."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from model.errand import SCHEMA
from model.world import seconds_of

INCLUDED = "_items_title"  # what `include_from_parent: [title]` makes
_OWN = "_restapi_"


class Wrong(AssertionError):
    """Something differs from what the specification says.

    Attributes:
        kind: In a few words that are the same for all differences of one kind.
    """

    def __init__(self, kind: str, told: str = "") -> None:
        super().__init__(f"{kind}: {told}" if told else kind)
        self.kind = kind


# ---- contents --------------------------------------------------------------------------------------------------------
def canonical(value: Any) -> Any:
    """A value in the rendering in which equal tables are equal."""
    if isinstance(value, Mapping):
        parts = {key: canonical(one) for key, one in value.items()}
        return {key: one for key, one in parts.items() if one not in (None, [], {})}
    if isinstance(value, list):
        return [canonical(one) for one in value]
    if isinstance(value, bool) or value is None:
        return value if value is None else str(value).lower()
    if isinstance(value, (int, float)):
        return str(int(value)) if value == int(value) else repr(value)
    return _text(str(value))


def _text(text: str) -> str:
    if len(text) >= 16 and text[4:5] == "-":
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return text
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return moment.astimezone(UTC).isoformat()
    whole, _, rest = text.partition(".")
    return whole if rest and set(rest) == {"0"} and whole.lstrip("-").isdigit() else text


def content_of(record: Mapping[str, Any]) -> str:
    return json.dumps(canonical(record), sort_keys=True)


def without_included(content: str) -> str:
    record = json.loads(content)
    record.pop(INCLUDED, None)
    return json.dumps(record, sort_keys=True)


# ---- the database ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Stored:
    """One row of a root table."""

    part: str | None
    content: str
    open: bool
    load: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the ledger."""

    load: str
    asset: str
    part: str | None
    sequence: int
    run: str
    root: str
    cursor: int | None
    cursor_before: int | None
    told: Mapping[str, Any]  # LoadResult
    fetched: Mapping[str, Any]


@dataclass
class Seen:
    """Everything at one moment."""

    rows: dict[str, list[Stored]] = field(default_factory=dict)
    ledger: list[Entry] = field(default_factory=list)
    cursors: dict[tuple[str, str | None], dict[Any, int | None]] = field(default_factory=dict)

    def counted(self, asset: str) -> Counter[tuple[str | None, str, bool]]:
        return Counter((row.part, row.content, row.open) for row in self.rows.get(asset, ()))


def look(database: Path) -> Seen:
    """Reads all of it.

    Raises:
        Wrong: The tables do not fit together.
    """
    seen = Seen()
    if not database.exists():
        return seen
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        listed = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = ?", [SCHEMA]).fetchall()
        tables = {name for (name,) in listed}
        for asset in ("items", "notes"):
            if asset in tables:
                seen.rows[asset] = _rows(connection, asset, tables)
        if "_restapi_loads" in tables:
            seen.ledger = _ledger(connection)
        if "_restapi_cursors" in tables:
            seen.cursors = _cursors(connection)
    return seen


def _dicts(connection: duckdb.DuckDBPyConnection, table: str) -> list[dict[str, Any]]:
    result = connection.execute(f'SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {SCHEMA}."{table}"')
    names = [column[0] for column in result.description]
    return [dict(zip(names, values, strict=True)) for values in result.fetchall()]


def _rows(connection: duckdb.DuckDBPyConnection, asset: str, tables: set[str]) -> list[Stored]:
    roots = _dicts(connection, asset)
    ids = [row["_restapi_id"] for row in roots]
    if len(set(ids)) < len(ids):
        raise Wrong("two rows have one id", asset)
    labels = _lists(connection, f"{asset}__labels", set(ids)) if f"{asset}__labels" in tables else {}
    found = []
    for row in roots:
        record: dict[str, Any] = {}
        for name, value in row.items():
            if name.startswith(_OWN) or value is None:
                continue
            first, _, rest = name.partition("__") if not name.startswith("_") else (name, "", "")
            if rest:
                record.setdefault(first, {})[rest] = value
            else:
                record[name] = value
        record["labels"] = labels.get(row["_restapi_id"], [])
        is_open = row.get("_restapi_valid_to") is None
        found.append(Stored(row.get("_restapi_partition"), content_of(record), is_open, row["_restapi_load_id"]))
    _check_history(asset, roots)
    return found


def _lists(connection: duckdb.DuckDBPyConnection, table: str, roots: set[str]) -> dict[str, list[dict[str, Any]]]:
    """The items of the lists, by the row above, in their order."""
    by_row: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in _dicts(connection, table):
        above, index = row["_restapi_parent_id"], int(row["_restapi_index"])
        if above not in roots or row["_restapi_root_id"] not in roots:
            raise Wrong("a child row has no row above it", f"{table} {row}")
        if index in by_row[above]:
            raise Wrong("two child rows have one place", f"{table} {row}")
        by_row[above][index] = {name: value for name, value in row.items() if not name.startswith(_OWN)}
    for above, places in by_row.items():
        if sorted(places) != list(range(len(places))):
            raise Wrong("places of child rows are missing", f"{table} {above} {sorted(places)}")
    return {above: [places[index] for index in sorted(places)] for above, places in by_row.items()}


def _check_history(asset: str, roots: list[dict[str, Any]]) -> None:
    """Of one key and partition, each row holds from when the one before it ended, or later."""
    by_key: dict[Any, list[tuple[datetime, datetime | None]]] = defaultdict(list)
    for row in roots:
        if row.get("_restapi_valid_from"):
            start, end = (
                None if row[name] is None else datetime.fromisoformat(row[name])
                for name in ("_restapi_valid_from", "_restapi_valid_to")
            )
            assert start is not None
            by_key[row.get("_restapi_partition"), row["id"]].append((start, end))
    for key, spans in by_key.items():
        if sum(end is None for _, end in spans) > 1:
            raise Wrong("two rows of one key hold at once", f"{asset} {key}")
        for start, end in spans:
            if end is not None and end < start:
                raise Wrong("a row ends before it begins", f"{asset} {key}")


def _ledger(connection: duckdb.DuckDBPyConnection) -> list[Entry]:
    rows = connection.execute(
        "SELECT load_id, asset, partition, sequence, run_id, root_run_id, cursor, cursor_before, tell "
        f"FROM {SCHEMA}._restapi_loads ORDER BY sequence"
    ).fetchall()
    found = []
    for load, asset, part, sequence, run, root, cursor, before, tell in rows:
        told = json.loads(tell)
        found.append(
            Entry(
                load,
                asset,
                part,
                sequence,
                run,
                root,
                _cursor(cursor),
                _cursor(before),
                told.get("load") or {},
                told.get("fetched") or {},
            )
        )
    return found


def _cursor(text: str | None) -> int | None:
    return seconds_of(json.loads(text)["value"]) if text else None


def _cursors(
    connection: duckdb.DuckDBPyConnection,
) -> dict[tuple[str, str | None], dict[Any, int | None]]:
    found: dict[tuple[str, str | None], dict[Any, int | None]] = defaultdict(dict)
    rows = connection.execute(f"SELECT asset, partition, parent_key, value FROM {SCHEMA}._restapi_cursors").fetchall()
    for asset, part, key, value in rows:
        [one] = json.loads(key).values()
        found[asset, part][one] = seconds_of(json.loads(value))
    return dict(found)
