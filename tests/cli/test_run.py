"""`dagster-restapi run`: a configuration is loaded without any Python, and `state` tells where it stands."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
import yaml
from click.testing import CliRunner

from dagster_restapi.cli.main import main
from dagster_restapi.demo import SampleApi
from dagster_restapi.demo.config import demo_config


@pytest.fixture(autouse=True)
def no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without an instance of Dagster's own, in an empty folder."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tracker(sample_api: SampleApi, tmp_path: Path) -> str:
    """The file of the sample API's configuration."""
    (tmp_path / "tracker.yaml").write_text(yaml.safe_dump(demo_config(sample_api.url)), encoding="utf-8")
    return "tracker.yaml"


def rows(query: str, database: str = "tracker.duckdb") -> list[Any]:
    with duckdb.connect(database, read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_loads_every_resource_into_a_file_named_like_the_configuration(
    run: Any, tracker: str, sample_api: SampleApi
) -> None:
    ran = run("run", tracker)
    assert (ran.code, ran.err) == (0, "")
    counts = sample_api.tracker.counts()
    assert {name: int(row["rows"]) for name, row in ran.table.items()} == dict(counts)
    assert ran.table["events"]["cursor"] == str(counts["events"])
    assert rows("SELECT count(*) FROM public.issues") == [(counts["issues"],)]


def test_the_next_run_goes_on_where_the_last_one_ended(run: Any, tracker: str, sample_api: SampleApi) -> None:
    run("run", tracker, "--select", "events")
    sample_api.tracker.touch("issues", 3, {"title": "new"})
    sample_api.forget_log()
    ran = run("run", tracker, "--select", "events")
    assert ran.table["events"]["new"] == ran.table["events"]["requests"] == "1"
    assert len(sample_api.paths()) == 1


def test_only_the_selected_resource_or_with_its_parents(run: Any, tracker: str) -> None:
    assert list(run("run", tracker, "--select", "users").table) == ["users"]
    assert list(run("run", tracker, "--select", "+issues").table) == ["repositories", "issues"]


def test_a_full_refresh_replaces_what_was_appended(run: Any, tracker: str, sample_api: SampleApi) -> None:
    run("run", tracker, "--select", "events")
    ran = run("run", tracker, "--select", "events", "--full-refresh")
    assert ran.table["events"]["rows"] == str(sample_api.tracker.counts()["events"])


def test_a_window_by_hand_leaves_the_cursor_alone(run: Any, tracker: str) -> None:
    run("run", tracker, "--select", "events")
    ran = run("run", tracker, "--select", "events", "--start-value", 5, "--end-value", 8)
    assert (ran.table["events"]["new"], ran.table["events"]["cursor"]) == ("0", "1129"), "they are there already"


def test_few_pages_to_try_things_out(run: Any, tracker: str) -> None:
    assert run("run", tracker, "--select", "users", "--max-pages", 1).table["users"]["rows"] == "25"


def test_schema_and_asset_key_follow_the_key_prefix(run: Any, tracker: str) -> None:
    assert run("run", tracker, "--select", "users", "--key-prefix", "raw/github", "--database", "x.duckdb").code == 0
    assert rows("SELECT asset FROM github._restapi_loads", "x.duckdb") == [("raw/github/users",)]
    assert run("state", tracker, "--key-prefix", "raw/github", "--database", "x.duckdb").table["users"]["loads"] == "1"


def test_a_failed_resource_is_told_in_its_own_words_and_those_behind_it_are_skipped(
    run: Any, tracker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEMO_API_TOKEN", "canary-5d20-canary")
    ran = run("run", tracker, "--select", "+comments")
    assert ran.code == 1
    results = {name: row["result"] for name, row in ran.table.items()}
    assert results == {"repositories": "failed", "issues": "skipped", "comments": "skipped"}
    assert ran.err.startswith("repositories: status 401 (Unauthorized)")
    assert "Traceback" not in ran.err
    assert "canary-5d20" not in ran.out + ran.err


def test_a_failed_resource_does_not_stop_its_neighbours(run: Any, api: Any) -> None:
    api.pages["/good"] = [{"id": 1}]
    config = {"client": {"base_url": api.url}, "resources": ["bad", "good"]}
    Path("two.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    ran = run("run", "two.yaml")
    assert {name: row["result"] for name, row in ran.table.items()} == {"bad": "failed", "good": "loaded"}


def test_an_error_of_the_users_own_code_is_told_with_its_class(
    run: Any, api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.pages["/items"] = [{"id": 1}]
    Path("own.py").write_text(
        "def broken(row):\n    raise ValueError('the vault is closed')\n"
        f"config = {{'client': {{'base_url': '{api.url}'}},\n"
        "    'resources': [{'name': 'items', 'processing_steps': [{'map': broken}]}]}\n"
    )
    ran = run("run", "own.py:config")
    assert (ran.code, ran.err.splitlines()[0]) == (1, "items: ValueError: the vault is closed")
    assert "Traceback" not in ran.err
    assert "own.py" in run("run", "own.py:config", "--verbose").err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--select", "isues"], "there is no resource 'isues'"),
        (["--select", "users", "--start-value", "1"], "need a resource with `incremental`"),
    ],
)
def test_a_wish_that_cannot_be_is_told_before_anything_runs(
    run: Any, tracker: str, options: list[str], told: str
) -> None:
    ran = run("run", tracker, *options)
    assert (ran.code, ran.out) == (1, "")
    assert told in ran.err
    assert not Path("tracker.duckdb").exists()


def test_a_terminal_gets_bars_and_a_table(run: Any, tracker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    ran = run("run", tracker, "--select", "users")
    assert ran.code == 0
    assert "\x1b[" in ran.out
    assert "60" in ran.out.splitlines()[-1]


def test_events_go_to_the_instance_of_dagster_home(
    run: Any, tracker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    assert run("run", tracker, "--select", "users").code == 0
    with dg.DagsterInstance.get() as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("users"))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["dagster_restapi/requests"].value == 3


def test_an_interrupted_run_says_so_and_leaves_the_tables(sample_api: SampleApi, tracker: str) -> None:
    sample_api.latency = 0.5
    script = "from dagster_restapi.cli.main import main; main()"
    command = [sys.executable, "-c", script, "run", tracker, "--select", "events"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not sample_api.paths() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "interrupted" in err or "Aborted" in err
    assert "Traceback" not in err
    assert "loaded" not in out


# ---- state -----------------------------------------------------------------------------------------------------------
LOADED = ("repositories", "issues", "events", "users")


@pytest.fixture(scope="module")
def loaded_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SampleApi, Path]]:
    """A sample API with its loaded database, for tests that start from a copy."""
    folder = tmp_path_factory.mktemp("loaded")
    with SampleApi(seconds=600) as api:
        (folder / "tracker.yaml").write_text(yaml.safe_dump(demo_config(api.url)), encoding="utf-8")
        options = [option for name in LOADED for option in ("--select", name)]
        command = ["run", str(folder / "tracker.yaml"), "--database", str(folder / "tracker.duckdb"), *options]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
        yield api, folder


@pytest.fixture
def loaded(run: Any, loaded_once: tuple[SampleApi, Path]) -> Callable[..., Any]:
    """Runs `state` on a copy of the loaded database."""
    for name in ("tracker.yaml", "tracker.duckdb"):
        shutil.copy(loaded_once[1] / name, name)
    loaded_once[0].forget_log()
    return lambda *arguments: run("state", "tracker.yaml", *arguments)


def test_state_shows_cursors_and_last_loads(loaded: Any) -> None:
    table = loaded().table
    assert list(table) == ["repositories", "issues", "comments", "events", "users"]
    assert (table["events"]["cursor"], table["events"]["loads"], table["events"]["rows"]) == ("1129", "1", "1129")
    assert table["issues"]["cursor"].startswith("12 cursors, 2024-")
    assert table["users"]["last load"].endswith("Z")
    assert table["comments"]["cursor"] == "not loaded"


def test_state_of_one_resource_is_its_loads_and_its_cursors_for_each_parent(loaded: Any) -> None:
    history, cursors = loaded("issues").out.split("\n\n")
    assert len(history.splitlines()) == 2
    assert len(cursors.splitlines()) == 1 + 12
    assert cursors.splitlines()[1].split("\t")[1] == '{"name":"anvil"}'


def test_a_reset_resource_starts_again_and_keeps_its_rows(
    run: Any, loaded: Any, loaded_once: tuple[SampleApi, Path]
) -> None:
    api = loaded_once[0]
    ran = loaded("reset", "issues")
    assert (ran.code, ran.out) == (0, "")
    assert loaded().table["issues"]["cursor"] == "reset"
    assert loaded().table["issues"]["loads"] == "1"
    again = run("run", "tracker.yaml", "--select", "issues").table["issues"]
    assert again["rows"] == str(api.tracker.counts()["issues"])
    assert (again["new"], again["changed"], again["gone"]) == ("0", "0", "0")
    assert all("since=2024-01-01T00" in path for path in api.paths())


def test_one_parent_is_reset_alone(run: Any, loaded: Any, loaded_once: tuple[SampleApi, Path]) -> None:
    assert loaded("reset", "issues", "--parent", "anvil").code == 0
    run("run", "tracker.yaml", "--select", "issues")
    fresh = [path for path in loaded_once[0].paths() if "since=2024-01-01T00" in path]
    assert [path.split("/")[2] for path in fresh] == ["anvil"]


@pytest.mark.parametrize("spelling", ["anvil", "name=anvil", '{"name":"anvil"}'])
def test_a_parent_is_named_by_its_key_in_several_spellings(loaded: Any, spelling: str) -> None:
    assert loaded("reset", "issues", "--parent", spelling).code == 0
    assert "anvil" not in loaded("issues").out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["reset", "comments", "--parent", "1"], "keeps no cursor for each row of a parent"),
        (["reset", "issues", "--parent", "nobody"], "no cursors of 'issues' are for a parent 'nobody'"),
        (["reset", "users", "--partition", "2024"], "the ledger knows no load of partition 2024 of users"),
        (["reset", "user"], "there is no resource 'user'"),
    ],
)
def test_what_cannot_be_reset_is_told(loaded: Any, arguments: list[str], told: str) -> None:
    ran = loaded(*arguments)
    assert ran.code == 1
    assert told in ran.err


def test_wrong_words_are_wrong_usage(run: Any, tracker: str) -> None:
    assert run("state", tracker, "reset").code == 2
    assert run("state", tracker, "forget", "users").code == 2
    assert run("state", tracker, "--parent", "x").code == 2


def test_without_a_database_there_is_no_state(run: Any, tracker: str) -> None:
    ran = run("state", tracker)
    assert ran.code == 1
    assert "there is no such database yet [tracker.duckdb]" in ran.err


# ---- partitions ------------------------------------------------------------------------------------------------------
@pytest.fixture
def by_day(sample_api: SampleApi, tmp_path: Path) -> str:
    """The file of a configuration with days, fixed keys, and keys that come and go."""
    config = demo_config(sample_api.url, by_day=True)
    issues = {"path": "repositories/{partition.key}/issues", "paginator": "header_link"}
    of_keys = [
        {"name": "some", "partitions": {"type": "static", "keys": ["anvil", "bellows"]}, "endpoint": issues},
        {"name": "any", "partitions": {"type": "dynamic", "name": "repository"}, "endpoint": issues},
    ]
    config["resources"] = [config["resources"][0], config["resources"][-1], *of_keys]
    (tmp_path / "tracker.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return "tracker.yaml"


def test_windows_are_loaded_once_and_keys_every_time(run: Any, by_day: str, sample_api: SampleApi) -> None:
    first, second = run("run", by_day), run("run", by_day)
    assert (first.code, second.code) == (0, 0)
    not_due = [{name for name, row in ran.table.items() if row["result"] == "not due"} for ran in (first, second)]
    assert not_due == [{"any"}, {"activity", "any"}]
    events = sample_api.tracker.counts()["events"]
    assert (first.table["activity"]["rows"], first.table["activity"]["requests"]) == (str(events), "31")
    assert (second.table["activity"]["requests"], second.table["some"]["requests"]) == ("", "3")
    told = "no partition is due; --partition loads one by its key"
    assert second.err.splitlines() == [f"activity: {told}", f"any: {told}"]
    assert rows("SELECT DISTINCT _restapi_partition FROM public.some ORDER BY 1") == [("anvil",), ("bellows",)]


def test_a_partition_that_was_reset_is_due_again(run: Any, by_day: str) -> None:
    run("run", by_day, "--select", "activity")
    for day in ("2024-01-08", "2024-01-10", "2024-01-11"):
        assert "is reset. The rows stay" in run("state", by_day, "reset", "activity", "--partition", day).err
    assert run("run", by_day, "--select", "activity").table["activity"]["requests"] == "3"


def test_partitions_are_named_by_a_key_or_by_two(run: Any, by_day: str) -> None:
    week = run("run", by_day, "--select", "activity", "--partition", "2024-01-08...2024-01-14")
    assert week.table["activity"]["requests"] == "7"
    assert rows("SELECT count(DISTINCT _restapi_partition) FROM public.activity") == [(7,)]
    one = run("run", by_day, "--select", "any", "--partition", "keel")
    assert (one.code, one.table["any"]["requests"]) == (0, "1")
    wrong = run("run", by_day, "--select", "activity", "--partition", "2023-12-31")
    assert (wrong.code, wrong.out) == (1, "")
    assert "there is no partition '2023-12-31' [resource activity]\nThere are 2024-01-01 to 2024-01-31." in wrong.err
    assert (
        "needs a resource with `partitions`" in run("run", by_day, "--select", "repositories", "--partition", "x").err
    )
