"""Which staged columns are keys: what makes two records the same row, and what to do with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from dagster_restapi.config.columns import column_name, key_path
from dagster_restapi.errors import RowsError
from dagster_restapi.model import TablePlan
from dagster_restapi.tables.shape import Field, Shape


@dataclass(frozen=True, slots=True)
class Keys:
    """Columns of the staged root table that have a part in replacing rows.

    Attributes:
        primary: Of a merge: one row per key. Empty where the disposition knows no key.
        merge: Of a merge: rows with the same value are replaced together.
        identity: What `_restapi_id` is made of; empty: of the load and the row's place in it.
        twins: Tells rows of one load apart, as SQL over the staged root; None: all of them stay.
        hard_delete: Marks rows that are to be deleted.
        dedup_sort: Which twin stays: column and direction, the first stays.
        cursor: The column of the resource's cursor.
    """

    primary: tuple[Field, ...] = ()
    merge: tuple[Field, ...] = ()
    identity: tuple[Field, ...] = ()
    twins: str | None = None
    hard_delete: Field | None = None
    dedup_sort: tuple[Field, str] | None = None
    cursor: Field | None = None


def primary_key(plan: TablePlan) -> tuple[str, ...]:
    """The primary key's columns, wherever the plan names them."""
    return plan.primary_key or tuple(name for name, hint in plan.hints.items() if hint.primary_key)


def merge_key(plan: TablePlan) -> tuple[str, ...]:
    """The merge key's columns, wherever the plan names them."""
    return plan.merge_key or tuple(name for name, hint in plan.hints.items() if hint.merge_key)


def find_keys(plan: TablePlan, root: Shape, *, rows: int) -> Keys:
    """Looks the plan's keys up among the staged columns.

    Raises:
        TableError: There are records, and none of them has the key.
    """
    merging = plan.disposition == "merge"
    history = merging and plan.strategy == "scd2"
    primary = _required(plan, root, primary_key(plan), "primary key", rows)
    merge = _required(plan, root, merge_key(plan), "merge key", rows) if merging else ()
    identity = primary if plan.disposition == "replace" or (merging and not history) else ()
    twins = None
    if merging and primary:
        twins = f"({', '.join(staged_column(root, field) for field in primary)})" if history else "_id"
    elif history:
        twins = "_hash"
    sort = next(((name, hint.dedup_sort) for name, hint in plan.hints.items() if hint.dedup_sort), None)
    sort_field = _find(plan, root, sort[0]) if sort else None
    delete = next((name for name, hint in plan.hints.items() if hint.hard_delete), None)
    return Keys(
        primary=primary if merging else (),
        merge=merge if plan.strategy in ("delete-insert", "scd2") else (),
        identity=identity,
        twins=twins,
        hard_delete=_find(plan, root, delete) if delete and merging and not history else None,
        dedup_sort=(sort_field, str(sort[1]).upper()) if sort and sort_field else None,
        cursor=_find(plan, root, plan.cursor_path) if plan.cursor_path else None,
    )


def staged_column(root: Shape, field: Field) -> str:
    """The field's column in the scratch tables."""
    return f"c{root.fields.index(field)}"


def _find(plan: TablePlan, root: Shape, name: str) -> Field | None:
    path = key_path(name)
    for field in root.fields:
        if field.path == path:
            return field
    return next((field for field in root.fields if column_name(plan, field.path) == name), None)


def _required(plan: TablePlan, root: Shape, names: Sequence[str], what: str, rows: int) -> tuple[Field, ...]:
    fields = [(name, _find(plan, root, name)) for name in names]
    missing = [name for name, field in fields if field is None]
    if missing and rows and plan.disposition == "merge":
        known = [".".join(field.path) for field in root.fields]
        near = get_close_matches(missing[0], known, n=3)
        raise RowsError(
            f"no record has the {what} {missing[0]!r}",
            where=plan.resource,
            hint=f"The records have {', '.join(near or known[:10])}.",
        )
    return () if missing else tuple(field for _, field in fields if field)
