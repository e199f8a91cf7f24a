"""Where the values of a parent's rows lead: one segment, several, or a whole URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dagster_restapi.config.mistakes import ConfigMistakes
from dagster_restapi.errors import RequestError
from dagster_restapi.extract.preview import iter_records

Fetching = Callable[..., Any]


def parent(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"name": "p", "rows": list(rows), "selected": False}


def child(path: Any, **endpoint: Any) -> dict[str, Any]:
    return {"name": "items", "endpoint": {"path": path, **endpoint}}


def test_a_whole_url_is_asked_as_it_is(api: Any, fetch: Fetching) -> None:
    api.route("/deep/1", {"id": 1})
    run = fetch("items", parent({"url": f"{api.url}/deep/1?full=%20yes"}), child("{resources.p.url}"))
    assert run.rows == [{"id": 1}]
    assert [(request.path, request.query) for request in api.requests] == [("/deep/1", {"full": " yes"})]


def test_a_whole_url_of_another_host_is_not_shown_the_credentials(api: Any, stranger: Any, fetch: Fetching) -> None:
    with pytest.raises(RequestError, match="allowed_hosts"):
        fetch("items", parent({"url": f"{stranger.url}/x"}), child("{resources.p.url}"), auth={"token": "hush-hush"})
    assert stranger.requests == []


def test_a_plus_keeps_the_slashes_of_a_value(api: Any, fetch: Fetching) -> None:
    api.route("/repos/me/lib/issues", [{"id": 1}])
    run = fetch("items", parent({"name": "me/lib"}), child("repos/{+resources.p.name}/issues"))
    assert run.rows == [{"id": 1}]
    assert run.fetched.warnings == ()


@pytest.mark.parametrize("ignored", [True, False])
def test_a_404_for_an_encoded_slash_says_what_to_write(api: Any, fetch: Fetching, ignored: bool) -> None:
    api.route("/repos/me%2Flib/issues", (404, {}))
    rules = [{"status_code": 404, "action": "ignore"}] if ignored else []
    resources = parent({"name": "me/lib"}), child("repos/{resources.p.name}/issues", response_actions=rules)
    if ignored:
        (warning,) = fetch("items", *resources).fetched.warnings
    else:
        with pytest.raises(RequestError) as error:
            fetch("items", *resources)
        warning = str(error.value)
    assert "404" in warning
    assert "{+resources.p.name}" in warning


def test_a_404_of_its_own_says_nothing_of_slashes(api: Any, fetch: Fetching) -> None:
    api.route("/repos/me/issues", (404, {}))
    rules = [{"status_code": 404, "action": "ignore"}]
    run = fetch("items", parent({"name": "me"}), child("repos/{resources.p.name}/issues", response_actions=rules))
    assert run.fetched.warnings == ()


@pytest.mark.parametrize("value", [".", "..", "%2e%2E", ""])
def test_a_value_that_leads_elsewhere_is_refused_for_its_row_alone(api: Any, fetch: Fetching, value: str) -> None:
    api.route("/a/ok/b", [{"id": 1}])
    run = fetch("items", parent({"x": value}, {"x": "ok"}), {**child("a/{resources.p.x}/b"), "on_error": "skip"})
    assert run.rows == [{"id": 1}]
    assert run.fetched.failed_parents == ({"x": value},)
    assert [request.path for request in api.requests] == ["/a/ok/b"]


def test_what_a_parent_gives_for_a_parameter_has_jsons_spelling(api: Any, fetch: Fetching) -> None:
    api.route("/items", [])
    fetch("items", parent({"x": True}), child("items", params={"x": "{resources.p.x}"}))
    assert [request.query for request in api.requests] == [{"x": "true"}]


def test_an_object_of_a_parent_is_refused_or_spelled_as_the_endpoint_says(api: Any, fetch: Fetching) -> None:
    api.route("/items", [])
    page = parent({"x": {"size": 2}})
    with pytest.raises(RequestError, match="object_params"):
        fetch("items", page, child("items", params={"page": "{resources.p.x}"}))
    assert api.requests == []
    settings = {"params": {"page": "{resources.p.x}"}, "object_params": "brackets"}
    fetch("items", page, child("items", **settings), spool_name="other")
    assert [request.query for request in api.requests] == [{"page[size]": "2"}]


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [
        ({"params": {"page": {"size": 2}}}, "params.page"),
        ({"params": {"sort": [{"f": "x"}]}}, "params.sort"),
        ({"method": "POST", "data": {"page": {"size": 2}}}, "data.page"),
        ({"method": "POST", "data": ["a"]}, "endpoint.data"),
        ({"path": "a/{x}", "params": {"x": {"a": 1}}}, "params.x"),
        ({"params": {"x": "{+env.X}"}}, "params.x"),
    ],
)
def test_what_cannot_be_sent_is_a_mistake_of_the_configuration(endpoint: dict[str, Any], place: str) -> None:
    config = {"client": {"base_url": "https://api.example.com"}, "resources": [{"name": "a", "endpoint": endpoint}]}
    with pytest.raises(ConfigMistakes, match=place):
        next(iter_records(config, "a"))
