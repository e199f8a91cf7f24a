"""The sample API behaves like the real ones that it stands for."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests

from dagster_restapi.demo import DEMO_TOKEN, SampleApi, Tracker


class Caller:
    """A session that knows the address and the token."""

    def __init__(self, api: SampleApi) -> None:
        self.api, self.session = api, requests.Session()
        self.session.headers["Authorization"] = f"Bearer {api.token}"

    def get(self, path: str, status: int = 200, **params: Any) -> requests.Response:
        url = path if path.startswith("http") else f"{self.api.url}/{path}"
        answer = self.session.get(url, params=params, timeout=10)
        assert answer.status_code == status, answer.text
        return answer

    def walk(self, path: str, **params: Any) -> list[Any]:
        """All rows of a list that pages by Link header."""
        answer = self.get(path, **params)
        rows = list(answer.json())
        while "next" in answer.links:
            answer = self.get(answer.links["next"]["url"])
            rows += answer.json()
        return rows

    def control(self, path: str, fields: dict[str, Any] | None = None, status: int = 200) -> Any:
        answer = requests.post(f"{self.api.url}/{path}", json=fields, timeout=10)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def caller(sample_api: SampleApi) -> Iterator[Caller]:
    caller = Caller(sample_api)
    with caller.session:
        yield caller


def ids(rows: list[Any]) -> list[int]:
    return [row["id"] for row in rows]


# ---- data ------------------------------------------------------------------------------------------------------------
def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    assert Tracker(seed=3).rows == Tracker(seed=3).rows
    assert Tracker(seed=3).rows != Tracker(seed=4).rows


def test_issues_are_numbered_within_their_repository_and_counted_comments_exist() -> None:
    tracker = Tracker()
    issues, comments = tracker.listing("issues"), tracker.listing("comments")
    assert len({(issue["repository"], issue["number"]) for issue in issues}) == len(issues)
    assert sum(issue["comments"] for issue in issues) == len(comments) > 0
    assert {type(issue["body"]) for issue in issues} == {str, type(None)}
    assert any(len(issue["labels"]) > 1 for issue in issues)
    assert any(issue["assignees"] for issue in issues)
    assert {issue["state"] for issue in issues} == {"open", "closed"}


@pytest.mark.parametrize(
    "size", [{"repositories": 0}, {"repositories": 99}, {"users": 0}, {"issues_per_repository": -1}]
)
def test_sizes_that_cannot_be_made_are_refused(size: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be|at least"):
        Tracker(**size)


# ---- paging ----------------------------------------------------------------------------------------------------------
def test_repositories_page_by_number_and_tell_their_totals(caller: Caller) -> None:
    first = caller.get("repositories", per_page=5).json()
    assert (first["page"], first["total_pages"], first["total"]) == (1, 3, 12)
    pages = [caller.get("repositories", per_page=5, page=page).json()["items"] for page in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [5, 5, 2, 0]
    assert [row["id"] for page in pages for row in page] == list(range(1, 13))


def test_issues_page_by_link_header_which_keeps_the_query(caller: Caller) -> None:
    answer = caller.get("issues", per_page=100, state="all", sort="updated", direction="asc")
    assert set(answer.links) == {"next", "last"}
    assert "sort=updated" in answer.links["next"]["url"]
    rows = caller.walk("issues", per_page=100, sort="updated", direction="asc")
    assert sorted(ids(rows)) == ids(caller.api.tracker.listing("issues"))
    assert [row["updated_at"] for row in rows] == sorted(row["updated_at"] for row in rows)


def test_a_single_page_has_no_link_header(caller: Caller) -> None:
    assert "Link" not in caller.get("repositories/anvil/issues", per_page=100).headers


def test_a_page_size_that_is_too_large_is_cut(caller: Caller) -> None:
    assert len(caller.get("issues", per_page=5000).json()) == 100


def test_users_page_by_offset_and_tell_their_total(caller: Caller) -> None:
    first = caller.get("users", limit=25).json()
    assert (len(first["users"]), first["offset"], first["limit"], first["total"]) == (25, 0, 25, 60)
    assert ids(caller.get("users", limit=25, offset=50).json()["users"]) == list(range(51, 61))
    assert caller.get("users", limit=25, offset=75).json()["users"] == []


def test_events_page_by_cursor_until_it_is_null(caller: Caller) -> None:
    page = caller.get("events", limit=100).json()
    seen = ids(page["events"])
    while page["next_cursor"]:
        page = caller.get("events", limit=100, cursor=page["next_cursor"]).json()
        seen += ids(page["events"])
    assert seen == list(range(1, caller.api.tracker.counts()["events"] + 1))


def test_since_id_of_events_is_inclusive(caller: Caller) -> None:
    newest = caller.api.tracker.counts()["events"]
    assert ids(caller.get("events", since_id=newest).json()["events"]) == [newest]
    assert caller.get("events", since_id=newest + 1).json() == {"events": [], "next_cursor": None}


# ---- filters ---------------------------------------------------------------------------------------------------------
def test_since_is_inclusive_and_until_is_not(caller: Caller) -> None:
    rows = caller.walk("issues", sort="updated", direction="asc")
    since, until = rows[40]["updated_at"], rows[60]["updated_at"]
    assert caller.walk("issues", sort="updated", direction="asc", since=since, until=until) == rows[40:60]


def test_since_takes_any_zone(caller: Caller) -> None:
    newest = caller.get("issues", sort="updated", per_page=1).json()
    moment = datetime.fromisoformat(newest[0]["updated_at"]).astimezone(timezone(timedelta(hours=-7)))
    assert caller.get("issues", since=moment.isoformat()).json() == newest


def test_state_filters_and_everything_is_the_default(caller: Caller) -> None:
    closed, opened = caller.walk("issues", state="closed"), caller.walk("issues", state="open")
    assert {row["state"] for row in closed} == {"closed"}
    assert sorted(ids(closed + opened)) == sorted(ids(caller.walk("issues")))


def test_one_issue_and_its_comments(caller: Caller) -> None:
    issue = next(row for row in caller.api.tracker.listing("issues") if row["comments"] > 2)
    path = f"repositories/{issue['repository']}/issues/{issue['number']}"
    assert caller.get(path).json() == issue
    assert len(caller.walk(f"{path}/comments", per_page=2)) == issue["comments"]


@pytest.mark.parametrize(
    ("path", "params", "name"),
    [
        ("issues", {"since": "yesterday"}, "since"),
        ("issues", {"per_page": "many"}, "per_page"),
        ("issues", {"state": "shut"}, "state"),
        ("issues", {"sort": "title"}, "sort"),
        ("repositories", {"page": "0"}, "page"),
        ("users", {"offset": "-1"}, "offset"),
        ("events", {"cursor": "bm9uc2Vuc2U="}, "cursor"),
        ("events", {"cursor": "é"}, "cursor"),
    ],
)
def test_a_wrong_parameter_is_named(caller: Caller, path: str, params: dict[str, str], name: str) -> None:
    assert caller.get(path, 422, **params).json()["message"].startswith(name)


@pytest.mark.parametrize(
    "path", ["nothing", "repositories/none", "repositories/none/issues", "repositories/anvil/issues/x"]
)
def test_what_is_not_there_is_404_in_json(caller: Caller, path: str) -> None:
    assert "no" in caller.get(path, 404).json()["message"]


# ---- HTTP ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}])
def test_without_the_token_nothing_is_told_but_how_to_send_it(sample_api: SampleApi, headers: dict[str, str]) -> None:
    answer = requests.get(f"{sample_api.url}/issues", headers=headers, timeout=10)
    assert answer.status_code == 401
    assert "Authorization: Bearer" in answer.json()["message"]
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_log_keeps_no_token(caller: Caller) -> None:
    caller.get("users")
    entry = requests.get(f"{caller.api.url}/_log", timeout=10).json()[-1]
    assert (entry["method"], entry["path"], entry["status"]) == ("GET", "/users", 200)
    assert DEMO_TOKEN not in str(entry)


def test_an_unchanged_answer_is_304_and_a_change_ends_that(caller: Caller) -> None:
    etag = caller.get("users").headers["ETag"]
    caller.session.headers["If-None-Match"] = etag
    unchanged = caller.get("users", 304)
    assert (unchanged.content, unchanged.headers["ETag"]) == (b"", etag)
    caller.control("_touch/users/3", {"name": "Someone Else"})
    assert caller.get("users").headers["ETag"] != etag


def test_other_methods_are_refused_and_head_has_no_body(caller: Caller) -> None:
    assert caller.session.put(f"{caller.api.url}/users", json={}, timeout=10).status_code == 405
    head = caller.session.head(f"{caller.api.url}/users", timeout=10)
    assert (head.status_code, head.content) == (200, b"")
    assert caller.get("users").json()["total"] == 60


def test_latency_can_be_set_while_it_serves(caller: Caller) -> None:
    caller.control("_latency?seconds=0.2")
    began = time.monotonic()
    caller.get("users")
    assert time.monotonic() - began >= 0.2
    assert "seconds" in caller.control("_latency?seconds=-1", status=422)["message"]


def test_many_callers_at_once_get_whole_answers(sample_api: SampleApi) -> None:
    def walk(_: int) -> list[int]:
        caller = Caller(sample_api)
        with caller.session:
            return ids(caller.walk("issues", per_page=50))

    with ThreadPoolExecutor(16) as pool:
        walks = list(pool.map(walk, range(32)))
    assert all(rows == walks[0] for rows in walks)


# ---- controls --------------------------------------------------------------------------------------------------------
def test_touching_an_issue_makes_it_the_newest_and_tells_an_event(caller: Caller) -> None:
    newest = caller.get("issues", sort="updated", per_page=1).json()[0]
    touched = caller.control("_touch/issues/7", {"title": "Another title"})
    assert touched["updated_at"] > newest["updated_at"]
    assert caller.walk("issues", since=touched["updated_at"]) == [touched]
    event = caller.api.tracker.listing("events")[-1]
    assert (event["type"], event["payload"]) == ("edited", {"fields": ["title"]})


def test_touching_can_make_a_tie_and_new_fields(caller: Caller) -> None:
    newest = caller.get("issues", sort="updated", per_page=1).json()[0]
    tie = caller.control("_touch/issues/7", {"updated_at": newest["updated_at"], "severity": {"level": 3}})
    assert tie["severity"] == {"level": 3}
    assert sorted(ids(caller.walk("issues", since=newest["updated_at"]))) == sorted([7, newest["id"]])


def test_a_new_issue_has_the_next_number_and_a_new_comment_touches_its_issue(caller: Caller) -> None:
    issue = caller.control("_add/issues", {"repository": "bellows", "title": "New"})
    numbers = [row["number"] for row in caller.walk("repositories/bellows/issues")]
    assert (issue["title"], issue["number"]) == ("New", max(numbers))
    comment = caller.control("_add/comments", {"repository": "bellows", "issue_number": issue["number"]})
    after = caller.get(f"repositories/bellows/issues/{issue['number']}").json()
    assert (after["comments"], after["updated_at"]) == (1, comment["created_at"])


def test_deleting_and_reset(caller: Caller) -> None:
    before = caller.api.tracker.counts()
    caller.control("_delete/issues/7")
    assert 7 not in ids(caller.walk("issues"))
    caller.control("_add/users")
    assert caller.control("_reset") == before
    assert 7 in ids(caller.walk("issues"))
    assert caller.api.tracker.rows == Tracker().rows


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("_touch/issues/99999", {}, 404),
        ("_touch/issues/x", {}, 422),
        ("_delete/users/99999", {}, 404),
        ("_add/issues", {"repository": "none"}, 404),
        ("_touch/issues/7", {"updated_at": "soon"}, 422),
        ("_add/labels", {}, 404),
        ("_add/issues/7", {}, 404),
        ("_nothing", {}, 404),
    ],
)
def test_a_wrong_control_is_refused_and_changes_nothing(
    caller: Caller, path: str, fields: dict[str, Any], status: int
) -> None:
    assert caller.control(path, fields, status)["message"]
    assert caller.api.tracker.rows == Tracker().rows


# ---- its life --------------------------------------------------------------------------------------------------------
def test_it_stops_with_its_block_and_by_itself() -> None:
    with SampleApi(seconds=0.2) as api:
        began = time.monotonic()
        api.wait()
        assert time.monotonic() - began < 5
    with pytest.raises(requests.ConnectionError):
        requests.get(api.url, timeout=5)


def test_the_command_prints_its_address_and_stops_after_its_seconds() -> None:
    command = [sys.executable, "-m", "dagster_restapi.demo", "--port", "0", "--seconds", "20", "--token", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        assert requests.get(f"{address}/users", timeout=10).json()["total"] == 60
        server.terminate()
        assert server.wait(timeout=10) == 0
