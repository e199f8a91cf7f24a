"""`make ui` as a process: the sample API and Dagster's UI on the project's own definitions."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

from dagster_restapi.demo import DEMO_TOKEN

REPOSITORY = Path(__file__).resolve().parent.parent


class RunningUi:
    """The command in a folder of its own, until the block ends.

    Attributes:
        address: Of Dagster's UI.
        api: Of the sample API.
    """

    address: str
    api: str

    def __init__(self, folder: Path) -> None:
        for name in ("definitions.py", "workspace.yaml"):
            shutil.copy(REPOSITORY / name, folder / name)
        self.process = start(folder, free_port())

    def __enter__(self) -> Self:
        """Waits for both addresses."""
        assert self.process.stdout is not None
        found: list[str] = []
        while len(found) < 2:
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read() if self.process.stderr else ""
            found += re.findall(r"http://[\d.]+:\d+", line)
        self.address, self.api = found
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)

    def ask(self, query: str) -> Any:
        """An answer of the UI's GraphQL interface."""
        return post(f"{self.address}/graphql", {"query": query})["data"]

    def change(self, control: str, fields: dict[str, Any]) -> Any:
        """Changes the sample API's rows: `_touch/users/1`."""
        return post(f"{self.api}/{control}", fields)

    def get(self, path: str) -> Any:
        """What the sample API answers."""
        request = urllib.request.Request(f"{self.api}/{path}", headers={"Authorization": f"Bearer {DEMO_TOKEN}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def runs(self) -> dict[str, str]:
        """Status by id, of every run so far."""
        found = self.ask("{runsOrError {... on Runs {results {id status}}}}")["runsOrError"]["results"]
        return {run["id"]: run["status"] for run in found}

    def wait_for_runs(self, count: int, seconds: float = 120.0) -> dict[str, str]:
        """Waits until so many runs have ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            runs = self.runs()
            if len(runs) >= count and set(runs.values()) <= {"SUCCESS", "FAILURE", "CANCELED"}:
                return runs
            time.sleep(0.5)
        raise AssertionError(f"{count} runs have not ended after {seconds:.0f} s: {self.runs()}")

    def wait_for_backfill(self, seconds: float = 120.0) -> None:
        """Waits until the only backfill is done."""
        query = "{partitionBackfillsOrError {... on PartitionBackfills {results {status}}}}"
        deadline, states = time.monotonic() + seconds, []
        while states != ["COMPLETED_SUCCESS"]:
            states = [item["status"] for item in self.ask(query)["partitionBackfillsOrError"]["results"]]
            assert time.monotonic() < deadline, states
            time.sleep(0.5)


def post(url: str, body: Any) -> Any:
    """The JSON answer to JSON."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def start(folder: Path, port: int) -> subprocess.Popen[str]:
    """`python -m dagster_restapi.demo.ui` in a folder."""
    command = [sys.executable, "-m", "dagster_restapi.demo.ui", "--port", str(port), "--folder", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def free_port() -> int:
    """A port on loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
