"""`dagster-restapi check`: what it tells of each endpoint, and its exit code."""

from __future__ import annotations

import subprocess
import sys
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


def test_tells_of_every_endpoint_how_it_pages_and_what_it_holds(
    run: Any, sample_api: SampleApi, tmp_path: Path
) -> None:
    ran = run("check", written(tmp_path, demo_config(sample_api.url)))
    assert (ran.code, ran.err) == (0, "")
    assert list(ran.table) == ["repositories", "issues", "comments", "events", "users"]
    assert {name: row["result"] for name, row in ran.table.items()} == dict.fromkeys(ran.table, "ok")
    assert ran.table["repositories"]["paginator"] == "page_number (total_pages)"
    assert ran.table["events"]["data"] == "events"
    assert ran.table["users"]["total"] == "60"
    assert ran.table["users"]["fields"] == "id, login, type, name, email, site_admin, created_at"


def test_asks_each_endpoint_once_and_a_child_with_its_parents_first_row(
    run: Any, sample_api: SampleApi, tmp_path: Path
) -> None:
    run("check", written(tmp_path, demo_config(sample_api.url)))
    assert len(sample_api.paths()) == 5
    assert any(path.startswith("/repositories/anvil/issues/1/comments") for path in sample_api.paths())


def test_only_the_named_resources_and_the_parents_that_they_need(
    run: Any, sample_api: SampleApi, tmp_path: Path
) -> None:
    ran = run("check", written(tmp_path, demo_config(sample_api.url)), "issues")
    assert list(ran.table) == ["issues"]
    assert len(sample_api.paths()) == 2


def test_finds_what_the_configuration_leaves_open(run: Any, api: Any, tmp_path: Path) -> None:
    rows = [{"user_id": 7, "uuid": f"u{n}", "name": "same"} for n in range(3)]
    api.pages["/users"] = {"meta": {"next_cursor": "abc"}, "payload": {"rows": rows}}
    ran = run("check", written(tmp_path, {"client": {"base_url": api.url}, "resources": ["users"]}))
    row = ran.table["users"]
    assert row["paginator"] == "cursor (meta.next_cursor) (found)"
    assert row["data"] == "payload.rows (found)"
    assert row["key"] == "uuid (found)"  # user_id is likelier by its name, but it is not unique
    assert row["rows"] == "3"


def test_a_failed_endpoint_is_told_in_full_and_the_exit_code_is_1(run: Any, api: Any, tmp_path: Path) -> None:
    api.pages["/good"] = [{"id": 1}]
    ran = run("check", written(tmp_path, {"client": {"base_url": api.url}, "resources": ["good", "bad"]}))
    assert ran.code == 1
    assert (ran.table["good"]["result"], ran.table["bad"]["result"]) == ("ok", "failed")
    assert ran.table["bad"]["status"] == "404"
    assert ran.err.startswith("bad: ")
    assert f"{api.url}/bad" in ran.err
    assert "Traceback" not in ran.err


def test_a_broken_server_is_not_asked_again_and_again(run: Any, api: Any, tmp_path: Path) -> None:
    api.pages["/items"] = (503, {})
    ran = run("check", written(tmp_path, {"client": {"base_url": api.url}, "resources": ["items"]}))
    assert (ran.code, len(api.asked)) == (1, 1)


def test_a_child_looks_on_until_a_parent_has_rows(run: Any, api: Any, tmp_path: Path) -> None:
    api.pages |= {"/boards": [{"id": 1}, {"id": 2}], "/boards/1/cards": [], "/boards/2/cards": [{"id": 5, "text": "x"}]}
    cards = {"name": "cards", "endpoint": {"path": "boards/{resources.boards.id}/cards"}}
    ran = run("check", written(tmp_path, {"client": {"base_url": api.url}, "resources": ["boards", cards]}))
    assert ran.table["cards"]["fields"] == "id, text"


def test_a_child_of_an_empty_parent_is_not_asked_which_is_no_failure(run: Any, api: Any, tmp_path: Path) -> None:
    api.pages["/boards"] = []
    cards = {"name": "cards", "endpoint": {"path": "boards/{resources.boards.id}/cards"}}
    ran = run("check", written(tmp_path, {"client": {"base_url": api.url}, "resources": ["boards", cards]}))
    assert ran.code == 0
    assert (ran.table["boards"]["result"], ran.table["cards"]["result"]) == ("empty", "not asked")


def test_a_configured_key_that_does_not_hold_is_told(run: Any, api: Any, tmp_path: Path) -> None:
    api.pages["/items"] = [{"id": 1}, {"id": 1}]
    config = {"client": {"base_url": api.url}, "resources": [{"name": "items", "primary_key": "id"}]}
    ran = run("check", written(tmp_path, config))
    assert ran.code == 0
    assert "the primary_key id does not hold on the first page: two rows have the same id" in ran.err


def test_no_secret_is_shown(run: Any, api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "canary-7f3a-canary")
    api.pages["/items"] = (401, {"message": "the key canary-7f3a-canary is wrong"})
    auth = {"type": "api_key", "name": "k", "api_key": "{env.CANARY}", "location": "query"}
    ran = run("check", written(tmp_path, {"client": {"base_url": api.url, "auth": auth}, "resources": ["items"]}))
    assert ran.code == 1
    assert "canary-7f3a" not in ran.out + ran.err
    assert "canary-7f3a" in api.asked[0]


def test_what_an_api_answers_cannot_steer_the_terminal(run: Any, api: Any, tmp_path: Path) -> None:
    api.pages["/items"] = [{"\x1b[2Jid\tx\ny": 1}]
    ran = run("check", written(tmp_path, {"client": {"base_url": api.url}, "resources": ["items"]}))
    assert ran.table["items"]["fields"] == "\\x1b[2Jid x y"


def test_neither_dagster_nor_duckdb_is_loaded(api: Any, tmp_path: Path) -> None:
    api.pages["/items"] = [{"id": 1}]
    file = written(tmp_path, {"client": {"base_url": api.url}, "resources": ["items"]})
    script = f"""if True:
        import sys
        from dagster_restapi.cli.main import main
        for command in (["check", {str(file)!r}], ["preview", {str(file)!r}, "items"]):
            try:
                main(command, standalone_mode=False)
            except SystemExit as end:
                assert not end.code
        print(*sorted({{"dagster", "duckdb", "pandas", "polars"}} & set(sys.modules)), file=sys.stderr)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_a_partitioned_resource_is_asked_with_one_partition(run: Any, tmp_path: Path, sample_api: SampleApi) -> None:
    config = demo_config(sample_api.url, by_day=True)
    config["resources"][-1]["partitions"]["end"] = "2024-01-09"
    listed = {"name": "any", "endpoint": "users/{partition.key}", "partitions": {"type": "dynamic", "name": "users"}}
    config["resources"].append(listed)
    ran = run("check", written(tmp_path, config), "activity", "any")
    assert (ran.code, ran.table["activity"]["result"], ran.table["any"]["result"]) == (0, "ok", "not asked")
    assert "since=2024-01-08T00%3A00%3A00Z&until=2024-01-09T00%3A00%3A00Z" in sample_api.paths()[-1]
    seen = run("preview", written(tmp_path, config), "activity", "--partition", "2024-01-05", "--rows", 1)
    assert '"created_at": "2024-01-05T' in seen.out
    assert "there is no partition" not in run("preview", written(tmp_path, config), "any", "--partition", "ada-1").err
    assert "has no partitions" in run("preview", written(tmp_path, config), "users", "--partition", "x").err
