"""Fetching one resource of a scripted API into a spool."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dagster_restapi.config.plan import plan as make_plans
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.extract.fetch import Fetch
from dagster_restapi.extract.walker import Walker
from dagster_restapi.http.session import Session
from dagster_restapi.model import Fetched, Slice
from dagster_restapi.spool import Spool


@dataclass
class Run:
    """What a fetch left."""

    fetched: Fetched
    rows: list[dict[str, Any]]
    files: dict[str, str]
    lines: list[str]


@pytest.fixture
def fetch(api: Any, tmp_path: Path) -> Callable[..., Run]:
    """Fetches `name` of the given resources; the spool stays: a second call goes on where the first one died."""

    def run(
        name: str,
        *resources: Any,
        slice_: Slice | None = None,
        stop: threading.Event | None = None,
        stored: Any = None,
        spool_name: str = "slice",
        tell: Callable[[str], None] | None = None,
        **client: Any,
    ) -> Run:
        retry = {"attempts": 1, "backoff": "10ms", **client.pop("retry", {})}
        config = {"client": {"base_url": api.url, "retry": retry, **client}, "resources": list(resources)}
        plans = make_plans(RestApiConfig.parse(config))
        lines: list[str] = []
        stop = stop or threading.Event()
        with Spool.open(tmp_path, spool_name) as spool, Session(plans[name].client, stop=stop) as session:
            walker = Walker(plans, session)
            fetched = Fetch(
                walker,
                plans[name],
                slice_ or Slice(asset=name),
                spool,
                tell=tell or lines.append,
                stop=stop,
                stored_parents=stored,
            ).run()
            rows = list(spool.records())
            files = {path.name: path.read_text() for path in spool.directory.glob("*.ndjson") if path.stem.isalpha()}
        return Run(fetched, rows, files, lines)

    return run
