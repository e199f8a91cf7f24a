"""Many processes and threads load one file at once: all succeed, exactly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dagster_restapi.errors import LedgerConflict
from dagster_restapi.model import LoadResult, TablePlan
from dagster_restapi.tables.read import read_table, row_count
from dagster_restapi.tables.target import Target

PROCESS = Path(__file__).with_name("process.py")
PROCESSES = int(os.environ.get("RESTAPI_PROCESSES", "6"))


def test_processes_load_partitions_of_one_table_while_another_reads(tmp_path: Path) -> None:
    database = str(tmp_path / "t.duckdb")
    workers = []
    for number in range(PROCESSES):
        records = [{"id": row, f"only_{number}": row, "l": [row]} for row in range(100 + number)]
        job = {"name": f"p{number}", "records": records, "plan": {}, "partition": f"p{number}", "replace": True}
        command = [sys.executable, str(PROCESS), str(tmp_path / "spools"), database, json.dumps(job)]
        workers.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
    target = Target(database, schema="s", lock_timeout=60)
    seen = 0
    while any(worker.poll() is None for worker in workers):
        seen = max(seen, row_count(target, "t"))
    for worker in workers:
        _, errors = worker.communicate()
        assert worker.returncode == 0, errors.decode()
    with target.read() as connection:
        name = target.space(connection).table("t")
        found = connection.execute(f"SELECT _restapi_partition, count(*) FROM {name} GROUP BY ALL").fetchall()
    assert dict(found) == {f"p{number}": 100 + number for number in range(PROCESSES)}
    assert seen <= sum(100 + number for number in range(PROCESSES))


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
