"""What the state of a slice promises, and what follows for a run: functions of values alone, asked by every room.

Source: docs/architecture.md, "What the state of a slice promises". The numbers here are those of the promises there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from dagster_restapi.model import NO_CONDITIONS, Conditions, Cursor, Fetched, LedgerRow, Plan, Slice
from dagster_restapi.schema import is_instant

ParentKey = Mapping[str, Any]

_sorted = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Which of the stored rows an append may bring again (5).

    Attributes:
        reach: `cursor`: those at the cursor's position; `loads`: those of `loads`; `slice`: any.
    """

    reach: Literal["nothing", "cursor", "loads", "slice"] = "nothing"
    loads: tuple[str, ...] = ()


AT_CURSOR = Overlap(reach="cursor")


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRules:
    """What one run may do with a slice, by the state that it finds.

    Attributes:
        asked: What the run asks for.
        newest: The ledger's newest row of the slice.
        conditions: Under which the newest load was made.
        rebuild: The load replaces the slice: a full refresh, a wipe, rows that the ledger knows nothing of.
        unreported: A load of which no event tells, though its run was of this Dagster instance.
        parent_has_cursor: Whether the parent is incremental, so that its loads tell which of its rows changed.
        parent_key: The parent and its fields that requests are made of, in words; "" without a parent.
    """

    plan: Plan
    asked: Slice
    newest: LedgerRow | None = None
    conditions: Conditions = NO_CONDITIONS
    rebuild: bool = False
    unreported: str | None = None
    parent_has_cursor: bool = False
    parent_key: str = ""

    # ---- where a run goes on -----------------------------------------------------------------------------------------
    @property
    def replaces_all(self) -> bool:
        """Every load takes the place of all rows: what lies before the cursor has to come again."""
        return self.plan.table.disposition == "replace"

    @property
    def has_no_cursor_of_its_own(self) -> bool:
        """A partition that is asked for whole by every run: a time window, or any without `incremental`."""
        return self.asked.window is not None or (self.asked.partition is not None and self.plan.incremental is None)

    @property
    def replaces_slice(self) -> bool:
        """Whether the load takes the place of the slice's rows (7).

        A partition without a cursor is replaced as a whole, but for the strategies that promise to leave rows alone.
        """
        table = self.plan.table
        keeps_rows = table.disposition == "merge" and table.strategy in ("scd2", "insert-only")
        return self.rebuild or (self.has_no_cursor_of_its_own and not keeps_rows)

    @property
    def has_other_parent(self) -> bool:
        """Whether the newest load asked for rows of another parent, or by other fields: its cursors say nothing (3).

        A load of a version that did not note its parent is taken for one of the same.
        """
        return self.conditions.parent not in (None, self.parent_key)

    @property
    def begins_anew(self) -> bool:
        """Whether the run goes on from no cursor that is there."""
        return self.rebuild or self.replaces_all or self.asked.window is not None or self.has_other_parent

    @property
    def goes_on_by_parent(self) -> bool:
        """Whether each parent's rows are asked for from a cursor of its own on."""
        return self.plan.incremental is not None and not self.begins_anew

    @property
    def cursor(self) -> Cursor | None:
        """Where requests begin; None: at `initial_value`."""
        return None if self.replaces_all else self.asked.cursor

    # ---- parents -----------------------------------------------------------------------------------------------------
    @property
    def asks_only_changed_parents(self) -> bool:
        """Whether only those rows of the parent are due that changed since the newest load, and what is owed."""
        if self.rebuild or self.has_no_cursor_of_its_own or self.replaces_all or self.plan.parent is None:
            return False
        if self.asked.parents is None:
            return self.parent_has_cursor
        return self.asked.parents == "changed"

    @property
    def parents_changed_since(self) -> str | None:
        """The load of the parent behind which its rows are due; None: all of them are."""
        if self.newest is None or not self.asks_only_changed_parents or self.has_other_parent:
            return None
        return self.newest.parent_load_id

    @property
    def owed_parents(self) -> tuple[ParentKey, ...]:
        """Keys whose rows were due and have not come (6). A rebuild asks for all there is, and owes nothing more."""
        if self.newest is None or self.rebuild or self.has_other_parent:
            return ()
        return self.newest.failed_parents

    # ---- the spool ---------------------------------------------------------------------------------------------------
    @property
    def another_run_may_resume(self) -> bool:
        """Whether nothing can pass what an earlier run fetched: the next run asks for all of it again (8).

        A row may be edited on a page that is fetched already: a cursor would pass it by the end, and a partition is
        asked for once. What single pages and records tell of it, the spool itself keeps.
        """
        return self.plan.incremental is None and self.asked.partition is None and not self.asked.stretch

    # ---- append ------------------------------------------------------------------------------------------------------
    @property
    def hashes_by_parent(self) -> bool:
        """Whether a child's row is told from one of the same content that another parent has.

        Only where content alone tells rows apart: by a key, a row stays what it is when its parent gets another key.
        Rows that an earlier version loaded were not: there, two ways to hash would make one record two.
        """
        table = self.plan.table
        has_key = bool(table.primary_key) or any(hint.primary_key for hint in table.hints.values())
        by_content = table.disposition == "append" or (table.strategy == "scd2" and not has_key)
        if self.plan.parent is None or not by_content:
            return False
        return self.newest is None or self.rebuild or self.conditions.hash_by_parent

    @property
    def overlap(self) -> Overlap:
        """Which stored rows the load may bring again (5)."""
        incremental, conditions = self.plan.incremental, self.conditions
        if self.replaces_slice or self.replaces_all:
            return Overlap()
        if incremental is None:
            return Overlap(reach="loads", loads=conditions.partial_loads)
        asks_further_back = bool(incremental.lag) or incremental.on_cursor_value_missing == "include"
        asks_further_back |= incremental.fixed_end is not None
        by_parent = self.plan.parent is not None and (self.hashes_by_parent or conditions.beyond_cursor)
        has_no_position = self.plan.parent is None and self.asked.cursor is None
        if self.asked.by_hand or asks_further_back or by_parent or has_no_position or conditions.beyond_cursor:
            return Overlap(reach="slice")
        return AT_CURSOR

    @property
    def repeated_load(self) -> str | None:
        """A complete load of `append` without a cursor that nobody was told of: the run brings its rows again (5)."""
        newest = self.newest
        if newest is None or self.unreported is None or self.plan.incremental is not None or self.replaces_slice:
            return None
        repeats = self.plan.table.disposition == "append" and newest.load_id not in self.conditions.partial_loads
        return self.unreported if repeats else None

    # ---- what the load leaves ----------------------------------------------------------------------------------------
    def conditions_after(self, fetched: Fetched, *, settings: str, tables: str, records: str) -> Conditions:
        """What the load notes of the conditions that it was made under (11).

        Args:
            settings: Fingerprint of all that changes requests, tables, or what is shown of them.
            tables: Of what is said of the tables.
            records: Of what shapes a record.
        """
        incremental = self.plan.incremental
        path = incremental.cursor_path if incremental else None
        direction: str | None = incremental.last_value_func if incremental else None
        format_ = incremental.cursor_format if incremental else None
        if incremental is None and not self.rebuild:  # so that who returns to it goes on from the cursor that is kept
            path, direction = self.conditions.cursor_path, self.conditions.cursor_direction
            format_ = self.conditions.cursor_format
        partial = is_partial(self.asked, fetched)
        earlier = () if self.replaces_slice or not partial else self.conditions.partial_loads
        return Conditions(
            settings=settings,
            tables=tables,
            records=records,
            parent=self.parent_key,
            cursor_path=path,
            cursor_direction=direction,
            cursor_format=format_,
            hash_by_parent=self.hashes_by_parent,
            beyond_cursor=self._leaves_rows_beyond_cursor(fetched),
            partial_loads=(*earlier, fetched.load_id) if partial else (),
        )

    def _leaves_rows_beyond_cursor(self, fetched: Fetched) -> bool:
        """Whether rows may be there that lie beyond the cursor, so that it asks for them again."""
        incremental = self.plan.incremental
        if incremental is None or incremental.fixed_end is not None or is_partial(self.asked, fetched):
            return True
        if fetched.held_back:
            return True
        # A complete walk from the cursor on has brought all that lay beyond; of parents, only those that were due.
        return self.plan.parent is not None and not self.rebuild and self.conditions.beyond_cursor

    def owed_after(self, fetched: Fetched) -> tuple[ParentKey, ...]:
        """The parents that are owed when the load is in (6)."""
        owed = {key_text(key): key for key in (*fetched.failed_parents, *fetched.owed_parents)}
        if not fetched.parents_complete:  # the parent's own walk was cut: of those it did not name, nothing is known
            came = {key_text(key) for key in fetched.settled_parents}
            owed |= {text: key for key in self.owed_parents if (text := key_text(key)) not in came | owed.keys()}
        return tuple(owed.values())


def answers_wipe(row: LedgerRow, wipe: str | None) -> bool:
    """Whether a load was made after the asset's wipe that the run knows of, or there is none (2).

    Every Dagster instance has wipes of its own, and knows nothing of those of others.
    """
    return wipe is None or wipe in (row.wipe or "").split()


def wipes_answered(last: LedgerRow | None, wipe: str | None) -> str | None:
    """The wipes that the next load of the asset answers: those that its newest one did, and the run's own."""
    known = (last.wipe or "").split() if last else []
    return " ".join(dict.fromkeys([*known, *([wipe] if wipe else [])])) or None


def is_partial(asked: Slice, fetched: Fetched) -> bool:
    """Whether a load is only a part of what its slice has: cut short, or of a window given by hand (4)."""
    return asked.by_hand or not fetched.complete


def is_snapshot(asked: Slice, fetched: Fetched) -> bool:
    """Whether the load holds all that the slice has, so that absence means deletion (7)."""
    return fetched.complete and fetched.whole and not asked.by_hand and asked.max_pages is None


def cursor_after(asked: Slice, fetched: Fetched, before: Cursor | None) -> Cursor | None:
    """The position that the slice is loaded up to when the load is in: only a complete plain one moves it (3)."""
    if is_partial(asked, fetched) or fetched.cursor_value is None or fetched.cursor_kind is None:
        return before
    return Cursor(value=fetched.cursor_value, kind=fetched.cursor_kind, load_id=fetched.load_id)


def key_text(key: ParentKey) -> str:
    """A parent key as one text: JSON with sorted keys, as `_restapi_cursors` spells it."""
    return _sorted(key).decode()


def key_value(key: ParentKey) -> str:
    """A parent key as a text that does not depend on how its values are spelled, or typed in a column.

    `1`, `1.0` and `"1"` are the same, and so are two spellings of one instant.
    """
    return key_text({name: _value_of(value) for name, value in key.items()})


def _value_of(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return str(int(value))
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str) and is_instant(value):
        moment = datetime.fromisoformat(value)
        try:
            return (moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
        except OverflowError:  # a zone carries it out of the calendar: it was a text in every column
            return value
    return value


def newly_failed(fetched: Fetched, newest: LedgerRow | None) -> Sequence[ParentKey]:
    """Parents that failed and were not owed before: rows of theirs may be there, which a replacement would lose (4)."""
    before = {key_text(key) for key in (*(newest.failed_parents if newest else ()), *fetched.owed_parents)}
    return [key for key in fetched.failed_parents if key_text(key) not in before]
