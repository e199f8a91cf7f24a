"""Rows that stand at the cursor: an API that is asked from there on sends them again, and that alone needs no load."""

from __future__ import annotations

from collections import Counter

import duckdb

from dagster_restapi.config.columns import key_path
from dagster_restapi.model import Cursor, Fetched, LedgerRow, LoadResult, TablePlan
from dagster_restapi.spool import Spool
from dagster_restapi.tables.evolve import PARTITION, Written
from dagster_restapi.tables.keys import merge_key, primary_key
from dagster_restapi.tables.ledger import read_back
from dagster_restapi.tables.marks import is_reset
from dagster_restapi.tables.sql import Space, literal, quote

_MOST = 64  # hashes that the ledger keeps: at a cursor of whole days there may be any number of rows
_KEYED = frozenset({"delete-insert", "upsert", "insert-only"})


def hashes_at(
    connection: duckdb.DuckDBPyConnection,
    space: Space,
    plan: TablePlan,
    root: Written,
    cursor: Cursor | None,
    partition: str | None,
) -> list[str] | None:
    """The content hashes of the rows at the cursor's very position, each as often as it stands there.

    None where they say nothing of what a load would do, where there are many, or where to look for them would take a
    look at each value of a large table.
    """
    column, kind = root.by_path.get(key_path(plan.cursor_path), ("", "")) if plan.cursor_path else ("", "")
    if cursor is None or not _leaves_alone_what_stands(plan) or not _is_found_by_range(cursor, kind):
        return None
    where = f"{quote(column)} = TRY_CAST({literal(str(cursor.value))} AS {kind})"
    where += "" if partition is None else f" AND {PARTITION} = {literal(partition)}"
    found = connection.execute(
        f"SELECT replace(CAST(_restapi_row_hash AS VARCHAR), '-', '') FROM {space.table(root.name)} "
        f"WHERE {where} LIMIT {_MOST + 1}"
    ).fetchall()
    return [text for (text,) in found] if len(found) <= _MOST else None


def _leaves_alone_what_stands(plan: TablePlan) -> bool:
    """Whether a record that stands in the table with the same content changes nothing, neither its row nor others."""
    if plan.disposition == "append":
        return True
    keyed = bool(primary_key(plan)) and not merge_key(plan)
    return plan.disposition == "merge" and plan.strategy in _KEYED and keyed


def _is_found_by_range(cursor: Cursor, kind: str) -> bool:
    """Whether DuckDB passes over most of the table by the least and greatest value of each row group."""
    if cursor.kind == "instant":
        return kind == "TIMESTAMPTZ"
    return kind in ("BIGINT", "HUGEINT", "DOUBLE") and not isinstance(cursor.value, str)


def brings_nothing(spool: Spool, fetched: Fetched, newest: LedgerRow) -> bool:
    """Whether all that was fetched stands at the cursor where the slice's newest load left it."""
    if is_reset(newest):  # the load that follows says that the slice is no longer to begin again
        return False
    if not fetched.rows:
        return True
    known = newest.tell.get("standing")
    if known is None or fetched.rows > len(known):
        return False
    return not Counter(spool.hashes()) - Counter(known)


def as_it_stands(fetched: Fetched, newest: LedgerRow, last: LedgerRow) -> LoadResult:
    """What there is to tell of tables that need no load.

    Args:
        newest: Of the slice.
        last: The newest load of the asset, whatever its partition: it knows the whole table.
    """
    table = read_back(last)
    return LoadResult(
        load_id=newest.load_id,
        rows_unchanged=fetched.rows,
        row_count=table.row_count,
        row_count_before=table.row_count,
        partition_row_count=read_back(newest).partition_row_count,
        columns=table.columns,
        cursor=newest.cursor,
        cursor_before=newest.cursor,
        data_version=newest.data_version,
    )
