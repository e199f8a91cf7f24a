"""Rows that stand at the cursor: a run that is said to need no load would have changed nothing by it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_restapi.model import Cursor, Fetched, TablePlan
from dagster_restapi.spool import Spool
from dagster_restapi.tables.ledger import newest_load
from dagster_restapi.tables.standing import brings_nothing
from dagster_restapi.tables.target import Target

PLANS = {
    "append": TablePlan(resource="t", table="t", cursor_path="at"),
    **{
        strategy: TablePlan(
            resource="t", table="t", cursor_path="at", disposition="merge", strategy=strategy, primary_key=("id",)
        )
        for strategy in ("delete-insert", "upsert", "insert-only")
    },
}
FIRST = [{"id": number, "at": number // 3, "name": "a", "tags": ["x"]} for number in range(9)]
CURSOR = {"cursor_value": 2, "cursor_kind": "number"}
ROWS = st.lists(
    st.builds(
        lambda id_, at, name, tags: {"id": id_, "at": at, "name": name, "tags": tags},
        st.integers(5, 10),
        st.integers(2, 3),
        st.sampled_from(["a", "a", "a", "b"]),
        st.sampled_from([["x"], ["x"], ["x"], []]),
    ),
    max_size=5,
)


def needs_no_load(load: Any, records: list[dict[str, Any]]) -> bool:
    newest = newest_load(load.target, "t")
    assert newest is not None
    with Spool.open(load.folder / "spools", "asked") as spool:
        writer = spool.writer(0)
        writer.write(records)
        writer.commit(None, {}, done=True)
        found = brings_nothing(spool, Fetched(load_id=spool.load_id, rows=len(records)), newest)
        spool.remove()
    return found


@pytest.mark.parametrize("name", PLANS)
def test_what_needs_no_load_would_have_changed_nothing(name: str, make_loader: Any) -> None:
    plan, seen = PLANS[name], Counter[bool]()

    @settings(max_examples=15, deadline=None)
    @given(batches=st.lists(ROWS, min_size=1, max_size=3))
    def compare(batches: list[list[dict[str, Any]]]) -> None:
        with TemporaryDirectory() as folder:
            load = make_loader(Path(folder), Target(f"{folder}/t.duckdb", schema="s"))
            load(plan, FIRST, fetched=CURSOR)
            for records in [FIRST[6:], *batches]:
                newest = newest_load(load.target, "t")
                assert newest is not None
                said, before = needs_no_load(load, records), load.canonical("t")
                at = max([newest.cursor.value if newest.cursor else 0, *(row["at"] for row in records)], key=float)
                moved = {"cursor_value": at, "cursor_kind": "number"}
                told = load(plan, records, cursor=newest.cursor, fetched=moved)
                seen[said] += 1
                if said:
                    assert (told.rows_loaded, told.rows_inserted, told.rows_updated, told.rows_deleted) == (0, 0, 0, 0)
                    assert load.canonical("t") == before
                    assert told.cursor is not None
                    assert told.cursor.value == at

    compare()
    assert all(seen[said] for said in (True, False)), "both answers were given"


def test_each_row_counts_as_often_as_it_stands(loads: Any) -> None:
    row = {"at": 2, "name": "twice"}
    loads(PLANS["append"], [row, row], fetched=CURSOR)
    assert needs_no_load(loads, [row])
    assert needs_no_load(loads, [row, row])
    assert not needs_no_load(loads, [row, row, row])


@pytest.mark.parametrize(
    "plan",
    [
        TablePlan(resource="t", table="t", cursor_path="at", disposition="replace"),
        TablePlan(resource="t", table="t", cursor_path="at", disposition="merge", strategy="scd2"),
        TablePlan(resource="t", table="t", cursor_path="at", disposition="merge", merge_key=("name",)),
    ],
    ids=["replace", "scd2", "merge_key"],
)
def test_where_rows_that_stand_may_change_others_there_is_a_load(plan: TablePlan, loads: Any) -> None:
    loads(plan, FIRST, fetched=CURSOR)
    assert not needs_no_load(loads, FIRST[6:])


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        ("2024-01-02T03:04:05.678901Z", "instant"),
        ("2024-01-02T05:04:05+02:00", "instant"),
        (7, "number"),
        (0.5, "number"),
    ],
)
def test_instants_and_numbers_are_found_at_the_cursor(at: Any, kind: Any, loads: Any) -> None:
    rows = [{"id": 1, "at": at}]
    loads(PLANS["upsert"], rows, fetched={"cursor_value": at, "cursor_kind": kind})
    assert needs_no_load(loads, rows)
    assert not needs_no_load(loads, [{"id": 2, "at": at}])


def test_of_many_rows_at_the_cursor_nothing_is_kept(loads: Any) -> None:
    rows = [{"id": number, "at": 2} for number in range(65)]
    loads(PLANS["upsert"], rows, fetched=CURSOR)
    assert not needs_no_load(loads, rows[:1])
    loads(PLANS["upsert"], [], cursor=Cursor(value=2, kind="number", load_id="x"))
    assert needs_no_load(loads, []), "an empty answer needs none"
