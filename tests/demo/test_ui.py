"""`make ui` brings up the sample API and Dagster's UI on the project's own definitions, and ends both together."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest
from running_ui import RunningUi, start


def listens(address: str) -> bool:
    host, port = address.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.mark.slow
def test_the_ui_shows_every_asset_and_both_servers_end_together(tmp_path: Path) -> None:
    with RunningUi(tmp_path) as ui:
        nodes = ui.ask("{assetNodes {assetKey {path} dependencyKeys {path}}}")["assetNodes"]
        parents = {node["assetKey"]["path"][-1]: [key["path"][-1] for key in node["dependencyKeys"]] for node in nodes}
        assert parents == {
            "repositories": [],
            "issues": ["repositories"],
            "comments": ["issues"],
            "events": [],
            "users": [],
            "activity": [],
        }

        ui.process.send_signal(signal.SIGINT)
        assert ui.process.wait(timeout=60) == 0
        deadline = time.monotonic() + 10
        while any(map(listens, (ui.address, ui.api))) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not any(map(listens, (ui.address, ui.api)))


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(tmp_path, port)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"port {port} is taken" in errors
