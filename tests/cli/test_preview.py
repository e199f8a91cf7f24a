"""`dagster-restapi preview`: requests, rows and columns of one resource."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from dagster_restapi.demo import SampleApi
from dagster_restapi.demo.config import demo_config


def written(folder: Path, config: dict[str, Any]) -> Path:
    file = folder / "source.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


def test_shows_requests_rows_and_columns(run: Any, sample_api: SampleApi, tmp_path: Path) -> None:
    ran = run("preview", written(tmp_path, demo_config(sample_api.url)), "users", "--pages", 2, "--rows", 3)
    assert ran.code == 0
    requests, rows, columns = ran.out.split("\n\n")
    head, *lines = requests.splitlines()
    assert head.split("\t") == ["method", "status", "bytes", "seconds", "url"]
    assert [line.split("\t")[-1] for line in lines] == [
        f"{sample_api.url}/users?offset=0&limit=25",
        f"{sample_api.url}/users?offset=25&limit=25",
    ]
    assert [json.loads(line)["id"] for line in rows.splitlines()] == [1, 2, 3]
    assert "created_at\tinstant" in columns.splitlines()


def test_the_columns_of_all_fetched_rows_are_shown_with_every_kind(run: Any, api: Any, tmp_path: Path) -> None:
    api.pages["/items"] = [
        {"id": 1, "tags": [], "meta": {"a": 1.5}},
        {"id": "x", "tags": [{"n": None}], "meta": None},
        {"id": 2**70},
    ]
    file = written(tmp_path, {"client": {"base_url": api.url}, "resources": ["items"]})
    ran = run("preview", file, "items", "--rows", 0)
    columns = ran.out[ran.out.index("column\t") :].splitlines()
    assert columns == [
        "column\tvalues",
        "id\tint, huge, text",
        "tags\tlist",
        "tags[]\tobject",
        "tags[].n\tnull",
        "meta\tnull, object",
        "meta.a\tfloat",
    ]


def test_a_child_goes_through_its_parents_first_page_until_it_has_its_pages(
    run: Any, sample_api: SampleApi, tmp_path: Path
) -> None:
    ran = run("preview", written(tmp_path, demo_config(sample_api.url)), "comments", "--pages", 2, "--rows", 1)
    assert ran.code == 0
    asked = [path for path in sample_api.paths() if "/comments" in path]
    assert asked[0].startswith("/repositories/anvil/issues/1/comments")
    assert len(sample_api.paths()) < 15


def test_an_unknown_resource_is_an_error_with_the_nearest_name(run: Any, tmp_path: Path) -> None:
    file = written(tmp_path, {"client": {"base_url": "http://127.0.0.1:1"}, "resources": ["issues"]})
    ran = run("preview", file, "isues")
    assert ran.code == 1
    assert ran.err == "Error: there is no resource 'isues'\nDid you mean issues?\n"


def test_a_page_that_fails_leaves_the_requests_and_the_error(run: Any, api: Any, tmp_path: Path) -> None:
    api.pages["/items"] = {"data": [{"id": 1}], "next": f"{api.url}/more"}
    file = written(tmp_path, {"client": {"base_url": api.url}, "resources": ["items"]})
    ran = run("preview", file, "items", "--pages", 2)
    assert ran.code == 1
    statuses = [line.split("\t")[1] for line in ran.out.splitlines()]
    assert statuses[:3] == ["status", "200", "404"]
    assert ran.err.startswith("Error: ")
    assert "Traceback" not in ran.err


def test_a_secret_that_the_api_sends_back_is_masked(
    run: Any, api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "canary-9b1c-canary")
    api.pages["/items"] = [{"id": 1, "your_key": "canary-9b1c-canary"}]
    client = {"base_url": api.url, "auth": {"token": "{env.CANARY}"}, "headers": {"X-Key": "{env.CANARY}"}}
    ran = run("preview", written(tmp_path, {"client": client, "resources": ["items"]}), "items")
    assert ran.code == 0
    assert "canary-9b1c" not in ran.out + ran.err
    assert '"your_key": "***"' in ran.out


def test_on_a_terminal_there_is_a_table_of_the_columns_that_fit(
    run: Any, api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    api.pages["/items"] = [{"id": 1, **{f"column_{n}": "x" * 30 for n in range(9)}}]
    ran = run("preview", written(tmp_path, {"client": {"base_url": api.url}, "resources": ["items"]}), "items")
    assert "\x1b[" in ran.out
    assert "and 8 more columns: column_1, " in ran.out
    assert "1 rows fetched, 1 shown" in ran.out
