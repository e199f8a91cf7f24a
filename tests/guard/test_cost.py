"""What a load may cost, counted: requests, files opened, statements, bytes, memory, and work against a bare loop."""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import msgspec
import pytest
import requests
from dagster._core.storage.event_log import SqliteEventLogStorage
from guard.peak import measured

from benchmarks.pages import CHILDREN_EACH, FLAT_PER_PAGE, PARENTS, SLOW_PAGES, SLOW_PER_PAGE
from benchmarks.server import Server
from benchmarks.workloads import WORKLOADS
from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_assets
from dagster_restapi.config.plan import plan as make_plans
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.extract.fetch import Fetch
from dagster_restapi.extract.walker import Walker
from dagster_restapi.http.session import Session
from dagster_restapi.model import Slice
from dagster_restapi.spool import Spool
from dagster_restapi.tables.stage import Staging
from dagster_restapi.tables.target import Target


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Callable[[int], Spool]:
    """Fetches so many pages of the flat rows into a spool."""
    plans = make_plans(RestApiConfig.parse(WORKLOADS["flat"].source(server.url)))

    def fetched(pages: int) -> Spool:
        spool = Spool.open(tmp_path, f"{pages}-{time.monotonic_ns()}")
        with spool, Session(plans["flat"].client) as session:
            Fetch(Walker(plans, session), plans["flat"], Slice(asset="flat", max_pages=pages), spool).run()
        return spool

    return fetched


def materialize(server: Server, folder: Path, workload: str, instance: dg.DagsterInstance, *names: str) -> None:
    config = WORKLOADS[workload].source(server.url)
    io_manager = DuckDBRestApiIOManager(database=str(folder / "guard.duckdb"), schema="rows")
    selection = dg.AssetSelection.assets(*names)
    result = dg.materialize(
        build_rest_api_assets(config), selection=selection, resources={"io_manager": io_manager}, instance=instance
    )
    assert result.success


@contextmanager
def counted(owner: Any, name: str, counts: Counter[str]) -> Iterator[None]:
    """Counts the calls of a function."""
    original = getattr(owner, name)

    def counting(*args: Any, **options: Any) -> Any:
        counts[name] += 1
        return original(*args, **options)

    setattr(owner, name, counting)
    try:
        yield
    finally:
        setattr(owner, name, original)


def test_every_page_is_asked_for_once_and_written_once(server: Server, fetch: Callable[[int], Spool]) -> None:
    server.counts()
    spool = fetch(50)
    assert server.counts()["requests"] == 50
    assert spool.rows == 50 * FLAT_PER_PAGE
    received = sum(len(requests.get(f"{server.url}/flat?page={page}").content) for page in range(1, 51))
    assert spool.bytes < received * 1.4  # the hash of each row is 57 bytes of about 280
    assert len(spool.segments()) == 1


def test_one_request_for_each_parent(server: Server, tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        materialize(server, tmp_path, "children", instance, "parents")
        server.counts()
        materialize(server, tmp_path, "children", instance, "children")
        assert server.counts()["requests"] == PARENTS
    with duckdb.connect(str(tmp_path / "guard.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM rows.children").fetchone() == (PARENTS * CHILDREN_EACH,)


def test_a_run_with_nothing_new_costs_one_request_one_brief_read_and_no_log_of_other_runs(
    server: Server, tmp_path: Path
) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        materialize(server, tmp_path, "nothing_new", instance, "flat")
        for _ in range(3):
            materialize(server, tmp_path, "nothing_new", instance, "flat")
    counts: Counter[str] = Counter()
    shards: set[str] = set()
    run_connection = SqliteEventLogStorage.run_connection

    def watched(self: SqliteEventLogStorage, run_id: str | None = None) -> Any:
        shards.add(str(run_id))
        return run_connection(self, run_id)

    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance, pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqliteEventLogStorage, "run_connection", watched)
        server.counts()
        with (
            counted(Target, "read", counts),
            counted(Target, "write", counts),
            counted(Staging, "staged", counts),
        ):
            materialize(server, tmp_path, "nothing_new", instance, "flat")
        assert server.counts()["requests"] == 1
    assert counts == {"read": 1}, "the ledger is read, nothing is staged, and nothing written"
    assert len(shards) == 1, "only this run's own events are read"


def test_records_are_staged_once_and_most_of_them_while_others_come(
    server: Server, tmp_path: Path, staged_rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead: list[int] = []
    staged = Staging.staged

    def watched(self: Staging) -> Any:
        ahead.append(sum(staged_rows))
        return staged(self)

    monkeypatch.setattr(Staging, "staged", watched)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        materialize(server, tmp_path, "pages", instance, "slow")
    assert sum(staged_rows) == SLOW_PAGES * SLOW_PER_PAGE, "each once"
    assert ahead[0] > sum(staged_rows) / 2


def test_memory_of_a_fetch_does_not_grow_with_its_pages(fetch: Callable[[int], Spool]) -> None:
    def peak(pages: int) -> int:
        tracemalloc.start()
        try:
            fetch(pages)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(5)  # what is imported and cached once
    assert peak(200) < 1.5 * peak(20)


def test_peak_memory_of_a_step_is_bounded(server: Server) -> None:
    """`python -m tests.guard.peak` measures it for 10,000 and 1,000,000 rows."""
    (few, small), (many, large) = (measured(server.url, "flat", pages) for pages in (10, 500))
    assert (few, many) == (10 * FLAT_PER_PAGE, 500 * FLAT_PER_PAGE)
    assert large < small + 100  # MB; DuckDB is given about 55


def test_work_on_a_row_stays_near_that_of_a_bare_loop(server: Server, fetch: Callable[[int], Spool]) -> None:
    """CPU time of both, the least of three; the loop does no more than to parse and write. Measured: about 2."""

    def bare() -> None:
        with requests.Session() as session:
            for page in range(1, 101):
                rows = msgspec.json.decode(session.get(f"{server.url}/flat?page={page}").content)["results"]
                b"\n".join(map(msgspec.json.encode, rows))

    def cost(work: Callable[[], object]) -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    fetch(5)
    loops, ours = [], []
    for _ in range(3):
        loops.append(cost(bare))
        ours.append(cost(lambda: fetch(100)))
    assert min(ours) < 6 * min(loops)
