"""A load that is killed at any instant and run again gives what an undisturbed one gives."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dagster_restapi.tables.target import Target

PROCESS = Path(__file__).with_name("process.py")
KILLS = int(os.environ.get("RESTAPI_KILLS", "1"))  # per disposition
SEED = int(os.environ.get("RESTAPI_KILL_SEED", "7"))

PLANS: dict[str, dict[str, Any]] = {
    "append": {"plan": {}},
    "replace": {"plan": {"disposition": "replace"}},
    "merge": {"plan": {"disposition": "merge", "primary_key": ["id"]}},
    "scd2": {"plan": {"disposition": "merge", "strategy": "scd2", "primary_key": ["id"]}},
    "partitioned": {"plan": {}, "partition": "eu", "replace": True},
}


def _jobs(kind: str) -> list[str]:
    first = [{"id": number, "v": number % 7, "l": [number, 1]} for number in range(400)]
    second = [{"id": number, "v": str(number % 5), "l": [number], "new": {"x": 1.5}} for number in range(200, 600)]
    return [
        json.dumps({"name": name, "records": records, **PLANS[kind]})
        for name, records in (("one", first), ("two", second))
    ]


def _start(folder: Path, jobs: list[str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, str(PROCESS), str(folder / "spools"), str(folder / "t.duckdb"), *jobs],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def _finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()


def _state(make_loader: Any, folder: Path) -> tuple[Any, Any]:
    loader = make_loader(folder, Target(str(folder / "t.duckdb"), schema="s"))
    tables = {name: loader.rows(name, "count(*)", order="1") for name in sorted(loader.tables())}
    return loader.canonical("t"), tables


@pytest.mark.parametrize("kind", PLANS)
def test_a_kill_at_any_instant_leaves_before_or_after_and_a_rerun_completes(
    kind: str, tmp_path: Path, make_loader: Any
) -> None:
    jobs = _jobs(kind)
    calm = tmp_path / "calm"
    calm.mkdir()
    started = time.monotonic()
    _finish(_start(calm, jobs))
    seconds = time.monotonic() - started
    expected = _state(make_loader, calm)
    chance = random.Random(f"{SEED} {kind}")
    for number in range(KILLS):
        folder = tmp_path / f"kill{number}"
        folder.mkdir()
        for _ in range(2):  # the rerun is killed as well
            process = _start(folder, jobs)
            time.sleep(chance.uniform(0, seconds))
            process.kill()
            process.communicate()
        _finish(_start(folder, jobs))
        assert _state(make_loader, folder) == expected
        assert not list((folder / "spools").glob("*/journal"))
