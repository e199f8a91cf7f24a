"""Disks that are full or read-only: a clear error, and the tables as they were."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dagster_restapi.errors import OutOfMemory, SpoolError, TableError
from dagster_restapi.model import TablePlan
from dagster_restapi.tables import stage
from dagster_restapi.tables.target import Target

PLAN = TablePlan(resource="t", table="t", disposition="merge", primary_key=("id",))


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Stands for a full disk: the kernel refuses to let any file of this process grow further."""
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_really_full_leaves_the_table_as_it_was(
    small_disk: Path, tmp_path: Path, make_loader: Any
) -> None:
    loads = make_loader(tmp_path, Target(str(small_disk / "t.duckdb"), schema="s", memory_limit="256MB"))
    loads(PLAN, [{"id": 1, "v": "old"}])
    records = [{"id": number, "v": os.urandom(2_000).hex()} for number in range(3_000)]
    with pytest.raises(TableError, match="Free some space"):
        loads(PLAN, records)
    assert loads.rows("t", "id, v") == [(1, "old")]
    full = make_loader(small_disk, Target(str(tmp_path / "t.duckdb"), schema="s"))
    with pytest.raises(SpoolError, match="Free some space"):
        full(PLAN, records)
    shutil.rmtree(small_disk / "spools")
    loads(PLAN, records[:20])
    assert len(loads.rows("t", "id")) == 20


@pytest.fixture
def shelf() -> Iterator[Path]:
    """A folder that everybody may enter: pytest's own are for their owner alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def nobody() -> Iterator[None]:
    """Root may write everywhere; whoever runs the tests as root becomes somebody else meanwhile."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_what_cannot_be_written_is_a_clear_error_and_the_table_is_left(shelf: Path, make_loader: Any) -> None:
    data, spools = shelf / "data", shelf / "spools"
    data.mkdir()
    spools.mkdir()
    loads = make_loader(shelf, Target(str(data / "t.duckdb"), schema="s"))
    loads(PLAN, [{"id": 1, "v": "old"}])
    (data / "t.duckdb").chmod(0o444)
    data.chmod(0o555)
    spools.chmod(0o777)
    with pytest.raises(TableError, match="can be written"), nobody():
        loads(PLAN, [{"id": 1, "v": "new"}])
    with pytest.raises(TableError, match="can be written"), nobody(), Target(str(data / "new.duckdb")).write():
        pass
    spools.chmod(0o555)
    with pytest.raises(SpoolError, match="spool cannot be written"), nobody():
        loads(PLAN, [{"id": 1, "v": "new"}])
    with nobody():
        assert loads.rows("t", "id, v") == [(1, "old")]
    data.chmod(0o755)
    (data / "t.duckdb").chmod(0o644)


def test_a_missing_folder_is_a_clear_error(tmp_path: Any) -> None:
    with pytest.raises(TableError, match="cannot be opened"), Target(str(tmp_path / "no" / "t.duckdb")).write():
        pass


def test_nothing_stays_staged_behind_a_load(loads: Any) -> None:
    def attached() -> list[str]:
        with loads.target.engine() as engine:
            return [name for (name,) in engine.execute("SELECT database_name FROM duckdb_databases()").fetchall()]

    before = attached()
    loads(PLAN, [{"id": 1}])
    assert attached() == before
    with pytest.raises(TableError):
        loads(PLAN, [{"id": None}])
    assert attached() == before


def test_a_load_that_needs_more_memory_gets_it(loads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "room_for", lambda schema, size: 4_000_000)
    lines: list[str] = []
    records = [{"id": row, "tags": [{"name": f"tag {row} {n}"} for n in range(3)]} for row in range(20_000)]
    loads(PLAN, records, log=lines.append)
    assert "4 MB of memory were not enough for DuckDB: once more with 16 MB" in lines
    assert loads.rows("t", "count(*), count(DISTINCT id)") == [(20_000, 20_000)]
    assert loads.rows("t__tags", "count(*), count(DISTINCT _restapi_id)") == [(60_000, 60_000)]
    assert loads.rows("_restapi_loads", "count(*)") == [(1,)]


def test_a_memory_limit_is_kept_and_named_where_it_is_too_low(make_loader: Any, tmp_path: Path) -> None:
    loads = make_loader(tmp_path, Target(str(tmp_path / "t.duckdb"), schema="s", memory_limit="8MB"))
    with pytest.raises(OutOfMemory, match="Raise `memory_limit`"):
        loads(PLAN, [{"id": row} for row in range(20_000)])


def test_records_with_many_columns_load_as_they_are(make_loader: Any, tmp_path: Path) -> None:
    loads = make_loader(tmp_path, Target(str(tmp_path / "t.duckdb"), schema="s"))
    records = [{"id": row, **{f"c{n}": f"value {row} {n}" for n in range(600)}} for row in range(3_000)]
    loads(PLAN, records)
    assert loads.rows("t", "count(*), count(c599)") == [(3_000, 3_000)]


@pytest.mark.parametrize("pages", [1, 3, 50])
def test_records_in_many_small_files_fit_into_the_default_memory(
    make_loader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    """DuckDB holds buffers of 32 MB, and of several files at a time: a limit that is too small fails now and then."""
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    loads = make_loader(tmp_path, Target(str(tmp_path / "t.duckdb"), schema="s"))
    for number in range(6):
        loads(TablePlan(resource="t", table=f"t{number}"), [{"id": row} for row in range(500)], pages=pages)
