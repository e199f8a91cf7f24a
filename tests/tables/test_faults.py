"""Disks that are full or read-only: a clear error, and the tables as they were."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dagster_restapi.errors import TableError
from dagster_restapi.model import TablePlan
from dagster_restapi.tables.target import Target

PLAN = TablePlan(resource="t", table="t", disposition="merge", primary_key=("id",))


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Stands for a full disk: the kernel refuses to let any file of this process grow further."""
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_table_as_it_was(loads: Any) -> None:
    loads(PLAN, [{"id": 1, "v": "old"}])
    records = [{"id": number, "v": "long and the same " * 50} for number in range(6000)]
    with pytest.raises(TableError) as caught, no_file_larger_than(3_000_000):
        loads(PLAN, records, pages=4)
    assert "Free some space" in str(caught.value)
    assert loads.rows("t", "id, v") == [(1, "old")]
    loads(PLAN, records)
    assert len(loads.rows("t", "id")) == 6000


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_a_clear_error(tmp_path: Any) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(TableError, match="cannot be opened"), Target(str(folder / "t.duckdb")).write():
        pass


def test_a_missing_folder_is_a_clear_error(tmp_path: Any) -> None:
    with pytest.raises(TableError, match="cannot be opened"), Target(str(tmp_path / "no" / "t.duckdb")).write():
        pass


def test_the_error_of_a_failed_load_leaves_no_scratch_file(loads: Any) -> None:
    with pytest.raises(TableError):
        loads(PLAN, [{"id": None}])
    assert not list(loads.folder.rglob("stage*"))


@pytest.mark.parametrize("pages", [1, 3, 50])
def test_records_in_many_small_files_fit_into_the_default_memory(make_loader: Any, tmp_path: Path, pages: int) -> None:
    """DuckDB holds buffers of 32 MB, and of several files at a time: a limit that is too small fails now and then."""
    loads = make_loader(tmp_path, Target(str(tmp_path / "t.duckdb"), schema="s"))
    for number in range(6):
        loads(TablePlan(resource="t", table=f"t{number}"), [{"id": row} for row in range(500)], pages=pages)
