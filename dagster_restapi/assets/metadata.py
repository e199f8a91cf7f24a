"""What a materialization tells: numbers as numbers, the cursor before and after, the columns, a few rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_IS_USER_PROVIDED_TAG, DATA_VERSION_TAG

from dagster_restapi.assets.haul import Loaded
from dagster_restapi.assets.translator import PREFIX
from dagster_restapi.config.naming import normalize
from dagster_restapi.model import Column, Cursor, Parent, Plan

_CELLS = (40, 24, 12)  # characters of a value that the preview shows
_IN_PLACE = 1000  # characters from which on Dagster's UI shows Markdown behind a link only
_COLUMNS = 8
_OWN = {
    "_restapi_load_id": "The load that last changed the row.",
    "_restapi_row_hash": "Of the row's content: a merge leaves rows alone whose content did not change.",
    "_restapi_id": "The row's id, to which the tables of its lists refer.",
    "_restapi_request_fields": "What the requests of children are made of, as the API spelled it.",
    "_restapi_partition": "The partition that the row belongs to.",
}


def event_metadata(
    plan: Plan,
    loaded: Loaded,
    *,
    table: str,
    preview: str,
    cursors: Mapping[str, Any] | None = None,
    parent_key: dg.AssetKey | None = None,
) -> dict[str, Any]:
    """The metadata of one load's event. Keys: DESIGN, "Metadata of a materialization".

    Args:
        table: schema.table of the root table.
        preview: A few rows to show, as Markdown; empty where the preview is off.
        cursors: Count, minimum and maximum, where the cursor is one per parent key.
        parent_key: The asset that `include_from_parent` copies columns from.
    """
    fetched, result = loaded.fetched, loaded.result
    metadata: dict[str, Any] = {  # in the order in which a person reads it
        **_partition_metadata(loaded),
        f"{PREFIX}/rows_loaded": result.rows_loaded,
        f"{PREFIX}/rows_inserted": result.rows_inserted,
        f"{PREFIX}/rows_updated": result.rows_updated,
        f"{PREFIX}/rows_deleted": result.rows_deleted,
    }
    if plan.incremental is not None:
        metadata |= _cursor_metadata(loaded, cursors)
    if plan.parent is not None:
        metadata[f"{PREFIX}/parents"] = fetched.parents or 0
        metadata[f"{PREFIX}/failed_parent_count"] = len(fetched.failed_parents)
        metadata[f"{PREFIX}/skipped_parents"] = fetched.skipped_parents
        metadata[f"{PREFIX}/owed_parent_count"] = len(loaded.owed)
    metadata |= {
        f"{PREFIX}/failed_parents": [dict(key) for key in fetched.failed_parents[:100]],
        **({f"{PREFIX}/owed_parents": [dict(key) for key in loaded.owed[:100]]} if loaded.owed else {}),
        f"{PREFIX}/requests": fetched.requests,
        f"{PREFIX}/retries": fetched.retries,
        f"{PREFIX}/waited_seconds": round(fetched.waited_seconds, 3),
        f"{PREFIX}/bytes": fetched.bytes,
        f"{PREFIX}/pages": fetched.pages,
        f"{PREFIX}/fetch_seconds": round(fetched.seconds, 3),
        f"{PREFIX}/stage_seconds": round(result.stage_seconds, 3),
        f"{PREFIX}/lock_wait_seconds": round(result.wait_seconds, 3),
        f"{PREFIX}/locked_seconds": round(result.locked_seconds, 3),
        "dagster/table_name": table,
        "dagster/column_schema": table_schema(result.columns),
        f"{PREFIX}/child_tables": dict(result.tables),
        f"{PREFIX}/schema_changes": list(result.schema_changes),
        f"{PREFIX}/load_id": result.load_id,
    }
    if plan.parent is not None and plan.parent.include and parent_key is not None:
        metadata["dagster/column_lineage"] = lineage(plan, plan.parent, parent_key, result.columns)
    if fetched.out_of_range:
        metadata[f"{PREFIX}/rows_out_of_range"] = fetched.out_of_range
    if fetched.without_cursor:
        metadata[f"{PREFIX}/rows_without_cursor"] = fetched.without_cursor
    if not fetched.complete:
        metadata[f"{PREFIX}/complete"] = False
    warnings = [*fetched.warnings, *result.warnings]
    if warnings:
        metadata[f"{PREFIX}/warnings"] = warnings
    if fetched.url:
        metadata[f"{PREFIX}/url"] = dg.MetadataValue.url(fetched.url)
    if preview:
        metadata["preview"] = dg.MetadataValue.md(preview)
    return metadata


def _partition_metadata(loaded: Loaded) -> dict[str, Any]:
    """The rows of the whole table, or of the partition; and where a range was fetched at once, that it was."""
    part, result = loaded.part, loaded.result
    if part.key is None:
        return {"dagster/row_count": result.row_count}
    metadata: dict[str, Any] = {"dagster/partition_row_count": result.partition_row_count or 0}
    if part.window is not None:
        metadata[f"{PREFIX}/window_start"] = part.window.start
        metadata[f"{PREFIX}/window_end"] = part.window.end
    if loaded.together > 1:
        metadata[f"{PREFIX}/fetched_together"] = loaded.together
    return metadata


def _cursor_metadata(loaded: Loaded, cursors: Mapping[str, Any] | None) -> dict[str, Any]:
    result = loaded.result
    metadata: dict[str, Any] = {f"{PREFIX}/cursor_source": loaded.standing.source}
    if cursors is not None:
        return metadata | {f"{PREFIX}/cursors": dict(cursors)}
    for name, cursor in (("cursor", result.cursor), ("cursor_before", result.cursor_before)):
        if cursor is not None:
            metadata[f"{PREFIX}/{name}"] = cursor_value(cursor)
    return metadata


def data_version_tags(version: str) -> dict[str, str]:
    """The tags by which Dagster knows the data version of an event that it does not make itself."""
    return {DATA_VERSION_TAG: version, DATA_VERSION_IS_USER_PROVIDED_TAG: "true"}


def cursor_value(cursor: Cursor) -> Any:
    """The cursor for metadata: an integer beyond int64 as text, since Dagster's database holds no larger one."""
    value = cursor.value
    return str(value) if isinstance(value, int) and not -(2**63) <= value < 2**63 else value


def table_schema(columns: Sequence[Column]) -> dg.TableSchema:
    """The root table's columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.type,
                description=column.description or _OWN.get(column.name),
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in columns
        ]
    )


def lineage(plan: Plan, parent: Parent, parent_key: dg.AssetKey, columns: Sequence[Column]) -> dg.TableColumnLineage:
    """Which columns were copied from the parent's table."""
    spelled = normalize if plan.table.naming == "snake_case" else str
    here = {column.name for column in columns}
    pairs = {spelled(f"_{parent.resource}_{name}"): spelled(name.replace(".", "__")) for name in parent.include}
    return dg.TableColumnLineage(
        deps_by_column={
            name: [dg.TableColumnDep(asset_key=parent_key, column_name=source)]
            for name, source in pairs.items()
            if name in here
        }
    )


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A few rows as a Markdown table; many columns are cut, and values as far as it takes to show it in place."""
    tables = (_table(rows, cell) for cell in _CELLS)
    return next((table for table in tables if len(table) < _IN_PLACE), None) or _table(rows, _CELLS[0])


def _table(rows: Sequence[Mapping[str, Any]], cell: int) -> str:
    names = list(rows[0])[:_COLUMNS]
    lines = [" | ".join(_cell(name, _CELLS[0]) for name in names), " | ".join("---" for _ in names)]
    lines += [" | ".join(_cell(row.get(name), cell) for name in names) for row in rows]
    text = "\n".join(f"| {line} |" for line in lines)
    more = len(rows[0]) - len(names)
    return f"{text}\n\n… and {more} more columns" if more > 0 else text


def _cell(value: Any, longest: int) -> str:
    text = "" if value is None else str(value)
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    for character in "\\`|*_[]<>#":
        text = text.replace(character, "\\" + character)
    return text.replace("\r", " ").replace("\n", " ")
