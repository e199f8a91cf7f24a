"""The benchmark's server: speed is guarded by counting, since a clock tells more of the machine than of the code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `benchmarks` is no part of the package

from benchmarks.server import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The benchmark's API."""
    with Server(seconds=600) as server:
        server.warm("flat")
        yield server
