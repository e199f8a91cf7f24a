"""What an asset's events say of the table that its frame is in: proof for a table that the registry does not know.

Earlier versions of this library wrote no entry for a frame, and dagster-duckdb's own IO manager writes none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import dagster as dg

from dagster_restapi.assets.translator import PREFIX
from dagster_restapi.tables.target import Target

DATABASE = f"{PREFIX}/database"
"""Metadata of a frame's materialization: the file that its table is in."""
_NAMES = ("dagster/table_name", "dagster/relation_identifier")  # now, and in older versions of Dagster
_BACK = 50  # events that are looked through for one that names a table: "report materialization" makes others


def is_told(context: dg.OutputContext, target: Target, table: str) -> bool:
    """Whether the asset's newest event that names a table says that its frame is in this one."""
    if not context.has_asset_key:
        return False
    found = context.step_context.instance.fetch_materializations(context.asset_key, limit=_BACK)
    for record in found.records:
        event = record.asset_materialization
        metadata = {name: value.value for name, value in event.metadata.items()} if event else {}
        if any(name in metadata for name in _NAMES):
            return _names(metadata, target, table)
    return False


def _names(metadata: Mapping[str, Any], target: Target, table: str) -> bool:
    """Whether an event is about this table; dagster-duckdb writes the file in front, we wrote none for some time."""
    if f"{PREFIX}/load_id" in metadata:  # of a resource that had the asset's key
        return False
    told, here = str(next(metadata[name] for name in _NAMES if name in metadata)), f"{target.schema}.{table}"
    if told == here:
        return DATABASE not in metadata or _same_file(str(metadata[DATABASE]), target.database)
    return told.endswith(f".{here}") and _same_file(told.removesuffix(f".{here}"), target.database)


def _same_file(one: str, other: str) -> bool:
    return one == other or os.path.realpath(one) == os.path.realpath(other)
