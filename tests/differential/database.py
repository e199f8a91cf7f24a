"""Reads what a load left in a DuckDB file, in a form that does not depend on who loaded it; compares two of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

Row = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the system columns of one side are called."""

    prefix: str
    id: str
    parent: str
    index: str


DLT = Dialect("_dlt_", "_dlt_id", "_dlt_parent_id", "_dlt_list_idx")
HERE = Dialect("_restapi_", "_restapi_id", "_restapi_parent_id", "_restapi_index")


@dataclass(frozen=True, slots=True)
class Table:
    """One table without its system columns.

    Attributes:
        types: Type by column.
        rows: By label: the values of the row's key, or of its root's, and then its places in lists. More than one where
            rows share a label; then in the order of their values.
    """

    types: dict[str, str]
    rows: dict[str, list[Row]] = field(default_factory=dict)


def read(
    file: Path, dialect: Dialect, keys: Mapping[str, tuple[str, ...]], ranked: tuple[str, ...]
) -> dict[str, Table]:
    """All tables of schema `data`; values as DuckDB writes them."""
    if not file.exists():
        return {}
    with duckdb.connect(str(file), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        columns = connection.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'data' ORDER BY ALL"
        ).fetchall()
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for table, column, kind in columns:
            if not table.startswith(dialect.prefix):
                found[table][column] = kind
        rows = {table: _rows(connection, table, list(types)) for table, types in found.items()}
    for name, listed in rows.items():
        _rank(listed, [column for column in ranked if column in found[name]])
    labels = _labels(rows, dialect, keys)
    tables = {}
    for name, types in found.items():
        plain = {column: kind for column, kind in types.items() if not column.startswith(dialect.prefix)}
        tables[name] = Table(plain, _grouped(rows[name], labels[name], list(plain)))
    return tables


def _rows(connection: duckdb.DuckDBPyConnection, table: str, columns: list[str]) -> list[Row]:
    listed = ", ".join(f'CAST("{column}" AS VARCHAR)' for column in columns)
    return [
        {column: _visible(value) for column, value in zip(columns, row, strict=True)}
        for row in connection.execute(f'SELECT {listed} FROM "data"."{table}"').fetchall()
    ]


def _visible(value: str | None) -> str | None:
    return value if value is None or value.isprintable() else repr(value)


def _labels(
    rows: Mapping[str, list[Row]], dialect: Dialect, keys: Mapping[str, tuple[str, ...]]
) -> dict[str, list[str]]:
    above = {row[dialect.id]: (table, row) for table, listed in rows.items() for row in listed if dialect.id in row}

    def label(table: str, row: Row) -> str:
        if dialect.parent not in row:
            return ",".join(str(row.get(key)) for key in keys.get(table, ("id",)))
        parent = above.get(row[dialect.parent])
        return f"{label(*parent) if parent else 'orphan'}/{row[dialect.index]}"

    return {table: [label(table, row) for row in listed] for table, listed in rows.items()}


def _rank(rows: list[Row], columns: list[str]) -> None:
    """Replaces values by their place in the order of all values of these columns."""
    values = sorted({value for row in rows for column in columns if (value := row[column]) is not None})
    for row in rows:
        for column in columns:
            value = row[column]
            row[column] = None if value is None else f"instant {values.index(value) + 1}"


def _grouped(rows: list[Row], labels: list[str], columns: list[str]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for label, row in zip(labels, rows, strict=True):
        grouped[label].append({column: row[column] for column in columns})
    for same in grouped.values():
        same.sort(key=lambda row: [(value is not None, value or "") for value in row.values()])
    return dict(grouped)


def differences(dlt: Mapping[str, Table], here: Mapping[str, Table]) -> Iterator[str]:
    """All in which two databases differ, one line each."""
    for name in sorted(dlt.keys() | here.keys()):
        if name not in here:
            yield f"table {name} only in dlt, {_count(dlt[name])}"
        elif name not in dlt:
            yield f"table {name} only here, {_count(here[name])}"
        else:
            yield from _of_table(name, dlt[name], here[name])


def _count(table: Table) -> str:
    count = sum(map(len, table.rows.values()))
    return f"{count} row{'s' * (count != 1)}: {', '.join(table.types) or 'no columns'}"


def _of_table(name: str, dlt: Table, here: Table) -> Iterator[str]:
    for column in sorted(dlt.types.keys() | here.types.keys()):
        theirs, ours = dlt.types.get(column), here.types.get(column)
        if ours is None or theirs is None:
            side, table = ("only in dlt", dlt) if ours is None else ("only here", here)
            yield f"column {name}.{column} {side}, {table.types[column]}: {_shown(table, column)}"
        elif theirs != ours:
            yield f"type of {name}.{column}: {theirs} in dlt, {ours} here"
    shared = sorted(dlt.types.keys() & here.types.keys())
    for label in sorted(dlt.rows.keys() | here.rows.keys()):
        yield from _of_rows(f"{name}[{label}]", shared, dlt.rows.get(label, []), here.rows.get(label, []))


def _shown(table: Table, column: str) -> str:
    values = [(label, row[column]) for label, rows in table.rows.items() for row in rows if row[column] is not None]
    return ", ".join(f"[{label}] {value}" for label, value in sorted(values)) or "all null"


def _of_rows(place: str, columns: list[str], dlt: list[Row], here: list[Row]) -> Iterator[str]:
    theirs, ours = _unshared(dlt, here, columns)
    if len(dlt) != len(here):
        for side, rows in (("only in dlt", theirs), ("only here", ours)):
            yield from (f"row {place} {side}: {', '.join(f'{name}={row[name]}' for name in columns)}" for row in rows)
        return
    for left, right in zip(theirs, ours, strict=True):
        for column in columns:
            if left[column] != right[column]:
                yield f"value {place}.{column}: {left[column]} in dlt, {right[column]} here"


def _unshared(dlt: list[Row], here: list[Row], columns: list[str]) -> tuple[list[Row], list[Row]]:
    """The rows that the other side does not have."""
    left, right = list(dlt), list(here)
    for row in dlt:
        twin = next((other for other in right if all(other[column] == row[column] for column in columns)), None)
        if twin is not None:
            left.remove(row)
            right.remove(twin)
    return left, right
