"""Many threads load one file at once: all succeed, exactly. Processes and Dagster's executor: tests/kill."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dagster_restapi.errors import LedgerConflict
from dagster_restapi.model import LoadResult, TablePlan
from dagster_restapi.tables.read import read_table


def test_threads_of_one_process_take_turns(loads: Any, tmp_path: Path, make_loader: Any) -> None:
    def work(number: int) -> int:
        loader = make_loader(tmp_path / str(number), loads.target)
        plan = TablePlan(resource=f"t{number}", table=f"t{number}")
        for _ in range(3):
            loader(plan, [{"id": number}])
        return int(read_table(loads.target, plan.table).num_rows)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [3, 3, 3, 3]


def test_two_loads_of_one_slice_at_once_are_never_both_applied(loads: Any, tmp_path: Path, make_loader: Any) -> None:
    plan = TablePlan(resource="t", table="t")
    first = loads(plan, [{"id": 0}]).load_id

    def work(number: int) -> LoadResult | LedgerConflict:
        try:
            return make_loader(tmp_path / str(number), loads.target)(plan, [{"id": number}], expected=first)
        except LedgerConflict as conflict:
            return conflict

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(work, (1, 2)))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["LedgerConflict", "LoadResult"]
    assert len(loads.rows("t", "id")) == 2
