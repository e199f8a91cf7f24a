"""dlt's side: a process in an environment of its own that loads one scenario after another into DuckDB files."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"

import dlt
from differential.catalogue import SCENARIOS
from dlt.sources.rest_api import rest_api_source


def load(scenario: str, number: int, url: str, folder: Path) -> None:
    """Runs the scenario's configuration of a load; the pipeline's state lives in the folder."""
    pipeline = dlt.pipeline(
        scenario,
        destination=dlt.destinations.duckdb(str(folder / "dlt.duckdb")),
        dataset_name="data",
        pipelines_dir=str(folder / "pipelines"),
    )
    pipeline.run(rest_api_source(SCENARIOS[scenario].written(url, number))).raise_on_failed_jobs()


def cause(error: BaseException) -> BaseException:
    """What an error comes from in the end."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return error


def main() -> None:
    """Answers each line, a request in JSON, with a line: the error's name, or null."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed goes to the log
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        told: dict[str, Any] = {"error": None, "text": ""}
        try:
            load(asked["scenario"], asked["load"], asked["url"], Path(asked["folder"]))
        except Exception as error:  # noqa: BLE001  # reported, and compared
            told = {"error": type(cause(error)).__name__, "text": str(error)}
        print(json.dumps(told), file=answers, flush=True)


if __name__ == "__main__":
    main()
