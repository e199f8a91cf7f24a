"""A canary in every place where a secret can stand, through real Dagster runs: in nothing that they leave behind.

Looked at: every file of the instance (event log, run storage, compute logs), of the database and of the spool; all that
any logger says at DEBUG; the definitions as Dagster shows them. The API sends no secret back but in its errors.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from canary import FORMS, MARK, assert_clean, places
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value
from loopback import as_reply

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_definitions

MANAGED = ["urllib3", "dagster_restapi"]  # Python loggers that Dagster records as well
CONTROL = "sent-by-the-api-itself"  # shows that the search would find something
LINKS = {"type": "json_link", "next_url_path": "next"}


def endpoints(variable: str, plain: str) -> dict[str, dict[str, Any]]:
    """Endpoints with the canary in each part of a request."""
    secret, name = f"{{env.{variable}}}", f"{{env.{variable}_PLAIN}}"
    return {
        "params": {"params": {"anything": secret}},
        "params-reference": {"params": {"anything": dg.EnvVar(variable)}},
        "params-literal": {"params": {"api_key": f"{plain}-literal"}},
        "endpoint-header": {"headers": {"X-Any": name}},
        "json": {"method": "POST", "json": {"deep": [{"word": secret}]}},
        "form": {"method": "POST", "data": {"word": secret}},
        "path": {"path": f"bot{name}/items"},
        "path-segment": {"path": f"bot{secret}/items"},
        "endpoint-auth": {"auth": {"token": name}},
    }


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that any logger says at DEBUG."""
    text, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(text)
    before = {name: logging.getLogger(name).level for name in (None, *MANAGED)}  # Dagster leaves them at its own level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def definitions(api: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dg.Definitions:
    """One asset for each place, all in one database. Environment variables have their values, too."""
    io_manager = DuckDBRestApiIOManager(database=str(tmp_path / "data.duckdb"), schema="s")
    parts = []
    number = 0

    def values() -> tuple[str, str, str]:
        nonlocal number
        number += 1
        variable, secret, plain = f"CANARY_{number}", f"{MARK}/{number} &+ü=", f"{MARK}-{number}-plain"
        monkeypatch.setenv(variable, secret)
        monkeypatch.setenv(f"{variable}_PLAIN", plain)
        return variable, secret, plain

    def add(name: str, client: dict[str, Any], endpoint: dict[str, Any]) -> None:
        resource = {"name": name.replace("-", "_"), "endpoint": {"path": "items", "paginator": LINKS, **endpoint}}
        client = {"base_url": api.url, "retry": {"attempts": 1, "idempotent": True}, **client}
        config = {"client": client, "resources": [resource]}
        parts.append(build_rest_api_definitions(config, checks=False, retry_policy=None))

    for place in places("", "", ""):
        variable, secret, plain = values()
        add(place, places(api.url, secret, plain, variable)[place], {})
    for place in endpoints("", ""):
        variable, secret, plain = values()
        add(place, {}, endpoints(variable, plain)[place])
    return dg.Definitions.merge(*parts, dg.Definitions(resources={"io_manager": io_manager}))


def serve(api: Any, second: Callable[[Any], Any]) -> None:
    """Two pages under every path; the second one is what is given. Tokens are issued to everyone."""

    def answer(request: Any) -> Any:
        if request.path.endswith("/token"):
            form = request.body.decode(errors="replace")
            return {
                "access_token": f"{MARK}-issued",
                "id": f"{MARK}-id",
                "refresh_token": f"{MARK}-{len(form)}-rotated",
            }
        if request.query.get("page") == "2":
            return second(request)
        return {"rows": [{"id": 1, "word": CONTROL}], "next": "?page=2"}

    api.reply = lambda request: as_reply(answer(request))


def found_in(folder: Path) -> Iterator[str]:
    """Every file below a folder that holds the canary."""
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for form in FORMS:
                at = data.find(form.encode())
                if at >= 0:
                    yield f"{path.relative_to(folder)}: {data[max(0, at - 150) : at + 80]!r}"


def run(definitions: dg.Definitions, folder: Path) -> dg.ExecuteInProcessResult:
    logs = {"managed_python_loggers": ["root", *MANAGED], "python_log_level": "DEBUG"}
    (folder / "dagster.yaml").write_text(json.dumps({"python_logs": logs, "telemetry": {"enabled": False}}))
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(instance=instance, raise_on_error=False)


def test_runs_that_succeed_leave_no_secret_behind(
    api: Any, definitions: dg.Definitions, log: io.StringIO, tmp_path: Path
) -> None:
    serve(api, lambda request: {"rows": [{"id": 2}], "next": None})
    result = run(definitions, tmp_path)
    assert result.success
    assert list(found_in(tmp_path)) == []
    assert_clean(log.getvalue(), "the log")
    assert any(CONTROL.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_runs_that_fail_leave_no_secret_behind_not_even_one_that_the_error_echoes(
    api: Any, definitions: dg.Definitions, log: io.StringIO, tmp_path: Path
) -> None:
    def echo(request: Any) -> Any:
        said = f"{request.path} {request.queries} {request.headers} {request.body.decode(errors='replace')}"
        return 403, {"you_sent": said}

    serve(api, echo)
    result = run(definitions, tmp_path)
    failures = [event for event in result.all_events if event.is_step_failure]
    assert len(failures) == len(definitions.resolve_asset_graph().get_all_asset_keys())
    assert all("403" in event.step_failure_data.error.to_string() for event in failures)
    assert list(found_in(tmp_path)) == []
    assert_clean(log.getvalue(), "the log")
    assert len(list(tmp_path.glob("data.duckdb.spool/*/journal"))) == len(failures)  # they were looked into as well


def test_definitions_show_no_secret(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    assert_clean(str(serialize_value(RepositorySnap.from_def(repository))), "what the UI is shown")
    assert_clean(repr(repository.assets_defs_by_key), "the definitions' repr")
