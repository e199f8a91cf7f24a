"""A Dagster home of our own for the demo: its runs and events stay in one folder, and nothing is sent anywhere."""

from __future__ import annotations

import os
from pathlib import Path


def use_home(folder: Path, *, log_level: str = "DEBUG") -> None:
    """Makes `folder` the Dagster home of this process and those that it starts, without telemetry.

    Args:
        log_level: What runs print and keep; Dagster's own default is everything.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = f"telemetry:\n  enabled: false\nnux:\n  enabled: false\npython_logs:\n  python_log_level: {log_level}\n"
    (folder / "dagster.yaml").write_text(settings, encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(folder.resolve())
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"
