"""A Dagster home of our own for the demo: its runs and events stay in one folder, and nothing is sent anywhere."""

from __future__ import annotations

import os
from pathlib import Path


def use_home(folder: Path) -> None:
    """Makes `folder` the Dagster home of this process and those that it starts, without telemetry."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n", encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(folder.resolve())
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"
