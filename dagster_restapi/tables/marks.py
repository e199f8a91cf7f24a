"""Rows of the ledger that are no load: they say from where the next one goes on, and leave the tables alone.

The ledger decides over Dagster's events, so such a row is all that it takes: a reset slice begins again without being
rebuilt, and a renamed asset goes on although no event tells of it under its new name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal
from uuid import uuid4

import duckdb

from dagster_restapi.model import LedgerRow
from dagster_restapi.tables import ledger
from dagster_restapi.tables.sql import Space

Kind = Literal["reset", "rename"]


def is_mark(row: LedgerRow) -> bool:
    """Whether a row of the ledger is no load."""
    return is_reset(row) or row.load_id.startswith("rename-")


def is_reset(row: LedgerRow) -> bool:
    """Whether a slice was reset, and not loaded since."""
    return row.load_id.startswith("reset-")


def mark(
    connection: duckdb.DuckDBPyConnection,
    space: Space,
    newest: LedgerRow,
    kind: Kind,
    *,
    notes: Mapping[str, Any],
    **changes: Any,
) -> None:
    """Appends a row behind a slice's newest one, with the same settings, owed parents and counts of rows.

    It is of no run: whether an event tells of it says nothing.

    Args:
        notes: What is noted otherwise than in the newest row.
        changes: Further fields of the row.
    """
    load_id = f"{kind}-{uuid4().hex}"
    row = replace(
        newest,
        load_id=load_id,
        run_id="",
        root_run_id="",
        sequence=ledger.next_sequence(connection, space),
        rows=0,
        cursor_before=newest.cursor,
        format_version=ledger.FORMAT,
        **changes,
    )
    counts = replace(
        ledger.read_back(newest),
        load_id=load_id,
        already_loaded=False,
        rows_loaded=0,
        rows_inserted=0,
        rows_updated=0,
        rows_deleted=0,
        rows_unchanged=0,
        tables={},
        schema_changes=(),
        warnings=(),
        cursor=row.cursor,
        cursor_before=row.cursor_before,
    )
    counts = replace(counts, row_count_before=counts.row_count)
    noted = {**(newest.tell.get("notes") or {}), **notes}
    tell = {"load": counts, "notes": noted, "standing": newest.tell.get("standing") if row.cursor else None}
    ledger.append(connection, space, replace(row, tell=tell))
