"""`make ui` brings up the sample API and Dagster's UI on the project's own definitions, and ends both together."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(folder: Path, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dagster_restapi.demo.ui", "--port", str(port), "--folder", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def ui(tmp_path: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """The command, in a folder of its own with the project's definitions and workspace."""
    for name in ("definitions.py", "workspace.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    process = start(tmp_path, port)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def ask(address: str, query: str) -> Any:
    """An answer of the UI's GraphQL interface."""
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


def listens(address: str) -> bool:
    host, port = address.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def read_addresses(process: subprocess.Popen[str]) -> list[str]:
    """What it prints until both addresses are there."""
    assert process.stdout is not None
    found: list[str] = []
    while len(found) < 2:
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        found += re.findall(r"http://[\d.]+:\d+", line)
    return found


@pytest.mark.slow
def test_the_ui_shows_every_asset_and_both_servers_end_together(ui: subprocess.Popen[str]) -> None:
    addresses = read_addresses(ui)

    nodes = ask(addresses[0], "{assetNodes {assetKey {path} dependencyKeys {path}}}")["assetNodes"]
    parents = {node["assetKey"]["path"][-1]: [key["path"][-1] for key in node["dependencyKeys"]] for node in nodes}
    assert parents == {
        "repositories": [],
        "issues": ["repositories"],
        "comments": ["issues"],
        "events": [],
        "users": [],
        "activity": [],
    }

    ui.send_signal(signal.SIGINT)
    assert ui.wait(timeout=60) == 0
    deadline = time.monotonic() + 10
    while any(map(listens, addresses)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(listens, addresses))


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(tmp_path, port)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"port {port} is taken" in errors
