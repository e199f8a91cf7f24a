"""The two example programs, run as Dagster runs against recorded answers of PokéAPI and GitHub."""

from __future__ import annotations

import importlib.util
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from dagster_restapi import RestApiConfig

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
Run = Callable[..., dict[str, dict[str, Any]]]


def fetch(url: str, method: str = "GET", token: str = "") -> Any:
    """A JSON answer, without any code of this project."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers), timeout=30) as answer:
        return json.load(answer)


def fetch_pages(url: str, token: str = "") -> list[Any]:
    """All records of a GitHub list, page by page until one is empty."""
    records: list[Any] = []
    while page := fetch(f"{url}&per_page=100&page={len(records) // 100 + 1}", token=token):
        records += page
        if len(page) < 100:
            break
    return records


def load(name: str) -> Any:
    """The module of an example, as its environment is at this moment."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert isinstance(module.defs, dg.Definitions)
    return module


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Sets the environment, runs assets of an example, and gives the metadata of each."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:

        def materialize(name: str, *assets: str, **environment: str) -> dict[str, dict[str, Any]]:
            for variable, value in environment.items():
                monkeypatch.setenv(variable, value)
            job = load(name).defs.resolve_implicit_global_asset_job_def()
            selection = [dg.AssetKey(asset) for asset in assets] or None
            result = job.execute_in_process(instance=instance, asset_selection=selection)
            return {
                event.asset_key.path[-1]: {key: value.value for key, value in event.materialization.metadata.items()}
                for event in result.get_asset_materialization_events()
                if event.asset_key
            }

        yield materialize


def query(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def paths(server: str) -> list[str]:
    """Every path that was asked for so far, without its query."""
    return [entry["path"].partition("?")[0] for entry in fetch(f"{server}/_log")]


def stored_issues(database: Path) -> tuple[set[Any], set[Any]]:
    """What the tables say of issues and their labels."""
    issues = query(
        database,
        "SELECT number, title, state, user__login, comments, body, strftime(updated_at, '%Y-%m-%dT%H:%M:%SZ') "
        "FROM github_data.issues",
    )
    labels = query(
        database,
        "SELECT i.number, l.name, l._restapi_index FROM github_data.issues i "
        "JOIN github_data.issues__labels l ON l._restapi_parent_id = i._restapi_id",
    )
    return set(issues), set(labels)


def served_issues(server: str, repository: str, token: str = "") -> tuple[set[Any], set[Any]]:
    """The same of what the API says."""
    records = fetch_pages(f"{server}/repos/{repository}/issues?state=all", token)
    fields = ("number", "title", "state", "user", "comments", "body", "updated_at")
    issues = {tuple(r[name]["login"] if name == "user" else r[name] for name in fields) for r in records}
    return issues, {(r["number"], label["name"], at) for r in records for at, label in enumerate(r["labels"])}


def test_the_yaml_example_is_the_github_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "a-canary-token")
    for name in ("REPO", "STATE", "SINCE", "PER_PAGE", "API_URL"):
        monkeypatch.delenv(f"GITHUB_{name}", raising=False)
    written, read = RestApiConfig(**load("github").config), RestApiConfig.from_yaml(EXAMPLES / "example.yaml")
    assert (read.client, read.resource_defaults, read.resources) == (
        written.client,
        written.resource_defaults,
        written.resources,
    )


def test_pokeapi_lists_are_whole_and_every_berry_has_its_details(
    run: Run, replay: Callable[..., str], tmp_path: Path
) -> None:
    server, database = replay(), tmp_path / "pokeapi.duckdb"
    counts = {name: fetch(f"{server}/api/v2/{name}/?limit=1")["count"] for name in ("pokemon", "berry", "location")}
    asked_before = len(paths(server))

    told = run("pokeapi", POKEAPI_URL=f"{server}/api/v2/", POKEAPI_DATABASE=str(database))

    expected = counts | {"berry_details": counts["berry"]}
    stored = {name: query(database, f"SELECT count(*) FROM pokemon_data.{name}")[0][0] for name in expected}
    assert stored == expected
    assert {name: metadata["dagster/row_count"] for name, metadata in told.items()} == expected
    requests = {name: metadata["dagster_restapi/requests"] for name, metadata in told.items()}
    assert requests == {
        "pokemon": -(-counts["pokemon"] // 1000),
        "berry": 1,
        "location": 2,
        "berry_details": counts["berry"],
    }
    assert len(paths(server)) - asked_before == sum(requests.values())
    assert query(database, "SELECT id, name, firmness__name FROM pokemon_data.berry_details ORDER BY id LIMIT 1") == [
        (1, "cheri", "soft")
    ]
    for name, count in counts.items():
        listed = fetch(f"{server}/api/v2/{name}/?limit={count}")["results"]
        rows = query(database, f"SELECT name, url FROM pokemon_data.{name}")
        assert sorted(rows) == sorted((row["name"], row["url"]) for row in listed)
    details = [
        fetch(f"{server}/api/v2/berry/{name}/") for (name,) in query(database, "SELECT name FROM pokemon_data.berry")
    ]
    flavors = query(
        database,
        "SELECT b.name, f.flavor__name, f.potency FROM pokemon_data.berry_details b "
        "JOIN pokemon_data.berry_details__flavors f ON f._restapi_parent_id = b._restapi_id",
    )
    assert sorted(flavors) == sorted(
        (berry["name"], flavor["flavor"]["name"], flavor["potency"]) for berry in details for flavor in berry["flavors"]
    )


def test_github_issues_are_merged_and_a_second_run_takes_what_changed_and_nothing_else(
    run: Run, replay: Callable[..., str], tmp_path: Path
) -> None:
    token = "a-canary-token"
    server, database = replay("--token", token), tmp_path / "github.duckdb"
    repository = "openframeworks/openFrameworks"
    environment = {
        "GITHUB_API_URL": server,
        "GITHUB_REPO": repository,
        "GITHUB_TOKEN": token,
        "GITHUB_PER_PAGE": "50",
        "GITHUB_SINCE": "2000-01-01T00:00:00Z",
        "GITHUB_DATABASE": str(database),
    }

    first = run("github", "issues", **environment)["issues"]

    assert (first["dagster/row_count"], first["dagster_restapi/requests"]) == (170, 4)
    assert stored_issues(database) == served_issues(server, repository, token)
    before = dict(query(database, "SELECT number, _restapi_load_id FROM github_data.issues"))
    numbers = sorted(before)[10:12]
    for number in numbers:
        touched = fetch(f"{server}/_touch?repo={repository}&number={number}&title=Edited", "POST")

    second = run("github", "issues", **environment)["issues"]

    after = dict(query(database, "SELECT number, _restapi_load_id FROM github_data.issues"))
    assert sorted(number for number in after if after[number] != before[number]) == numbers
    assert query(database, "SELECT number FROM github_data.issues WHERE title = 'Edited' ORDER BY number") == [
        (number,) for number in numbers
    ]
    assert stored_issues(database) == served_issues(server, repository, token)
    assert (second["dagster/row_count"], second["dagster_restapi/requests"]) == (170, 1)
    assert (second["dagster_restapi/rows_updated"], second["dagster_restapi/rows_inserted"]) == (2, 0)
    assert second["dagster_restapi/cursor_before"] == first["dagster_restapi/cursor"]
    assert second["dagster_restapi/cursor"] == touched["updated_at"]
    assert token.encode() not in database.read_bytes()


def test_github_comments_carry_the_number_of_their_issue(run: Run, replay: Callable[..., str], tmp_path: Path) -> None:
    server, database = replay(), tmp_path / "github.duckdb"
    repository = f"{server}/repos/PyGithub/PyGithub"
    environment = {
        "GITHUB_API_URL": server,
        "GITHUB_REPO": "PyGithub/PyGithub",
        "GITHUB_SINCE": "2000-01-01T00:00:00Z",
        "GITHUB_DATABASE": str(database),
    }

    told = run("github", **environment)

    issues = fetch(f"{repository}/issues?state=all&per_page=100")
    numbers = {issue["number"] for issue in issues}
    comments = fetch(f"{repository}/issues/comments?per_page=100")
    expected = {comment["id"]: int(comment["issue_url"].rpartition("/")[2]) for comment in comments}
    expected = {comment: number for comment, number in expected.items() if number in numbers}
    assert (len(issues), len(expected)) == (73, 12)
    assert told["issues"]["dagster/row_count"] == len(issues)
    assert told["comments"]["dagster/row_count"] == len(expected)
    assert told["comments"]["dagster_restapi/requests"] == len(numbers)
    assert dict(query(database, "SELECT id, _issues_number FROM github_data.comments")) == expected

    again = run("github", **environment)

    assert again["comments"]["dagster_restapi/requests"] == 0
    assert again["comments"]["dagster/row_count"] == len(expected)
