"""Fixtures for every room: the sample API, and the server that plays recorded answers of GitHub and PokeAPI."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from dagster_restapi import secrets
from dagster_restapi.demo import SampleApi

os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"  # before Dagster is imported: tests talk to this machine only

pytest_plugins = ["loopback"]

# The gate tries the same inputs every time, so that what it says is about the change; `make fuzz` looks for new ones.
settings.register_profile(
    "gate",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # machines are shared
)
settings.register_profile("fuzz", deadline=None, print_blob=True)
settings.load_profile("gate")

REPOSITORY = Path(__file__).resolve().parent.parent
Replay = Callable[..., str]


@pytest.fixture(autouse=True)
def secrets_of_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test has concealed is no secret to the next: short passwords stand in ordinary words."""
    for name in ("_values", "_forms", "_plain_forms", "_edges"):
        monkeypatch.setattr(secrets, name, copy(getattr(secrets, name)))


@pytest.fixture
def sample_api() -> Iterator[SampleApi]:
    """A sample API of its own for one test."""
    with SampleApi(seconds=600) as api:
        yield api


@pytest.fixture
def replay() -> Iterator[Replay]:
    """Starts the server of recorded answers and gives its address: `replay("--latency", "0.03")`.

    Its folder is `DAGSTER_RESTAPI_REPLAY`, else `../shared/replay` seen from this repository. Without it the test is
    skipped.
    """
    folder = Path(os.environ.get("DAGSTER_RESTAPI_REPLAY", REPOSITORY.parent / "shared" / "replay"))
    script = folder / "serve.py"
    if not script.exists():
        pytest.skip(f"no recorded answers: {script} is not there (DAGSTER_RESTAPI_REPLAY names its folder)")
    with ExitStack() as servers:

        def start(*options: str) -> str:
            command = [sys.executable, str(script), "--port", "0", "--seconds", "600", *options]
            server = servers.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            servers.callback(server.kill)
            assert server.stdout is not None
            line = server.stdout.readline()
            found = re.search(r"http://[\d.]+:\d+", line)
            assert found, f"the server of recorded answers did not start: {line!r}"
            return found[0]

        yield start


@pytest.fixture
def staged_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records every statement has read into the root table."""
    from dagster_restapi.tables import stage

    rows: list[int] = []
    fill = stage._Stager.fill

    def watched(self: Any, segments: Any) -> None:
        before = self._scratch.begun.segments if self.goes_on(segments) else []
        fill(self, segments)
        rows.append(sum(segment.rows for segment in self._scratch.begun.segments[len(before) :]))

    monkeypatch.setattr(stage._Stager, "fill", watched)
    return rows
