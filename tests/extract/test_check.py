"""`check_connection`: one request, and what it needs; every fault is an answer, none an exception."""

from __future__ import annotations

import time
from typing import Any

import pytest

from dagster_restapi import check_connection
from dagster_restapi.errors import ConfigError

PARENT = {
    "name": "parents",
    "endpoint": {"paginator": {"type": "page_number", "base_page": 1}, "data_selector": "rows"},
}


def source(api: Any, *resources: Any, **client: Any) -> dict[str, Any]:
    return {"client": {"base_url": api.url, **client}, "resources": list(resources or ["items"])}


def test_one_request_is_enough(api: Any) -> None:
    api.route("/items", (200, [{"id": 1}], {"Link": f'<{api.url}/items?page=2>; rel="next"'}))
    assert check_connection(source(api), "items") == (True, "")
    assert len(api.requests) == 1


def test_a_token_and_one_page_of_each_parent_where_they_are_needed(api: Any) -> None:
    api.route("/token", {"access_token": "an-access-token"})
    api.route("/parents", {"rows": [{"id": None}, {"id": 7}, {"id": 8}]})
    api.route("/parents/7/children", [{"n": 3}])
    api.route("/children/3/leaves", [])
    auth = {
        "type": "oauth2_client_credentials",
        "access_token_url": f"{api.url}/token",
        "client_id": "me",
        "client_secret": "a-client-secret",
    }
    config = source(
        api,
        PARENT,
        {"name": "children", "endpoint": "parents/{resources.parents.id}/children"},
        {"name": "leaves", "endpoint": "children/{resources.children.n}/leaves"},
        auth=auth,
    )
    assert check_connection(config, "leaves") == (True, "")
    assert [request.path for request in api.requests] == [
        "/token",
        "/parents",
        "/parents/7/children",
        "/children/3/leaves",
    ]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ((401, {"message": "bad credentials"}), "status 401"),
        ((403, {}), "status 403"),
        ((404, {}), "Check base_url and path"),
        ((500, {}), "status 500"),
        ("<html><body>Log in</body></html>", "an HTML page came instead of JSON: “Log in”"),
        ("not json", "no JSON"),
        (b"[" * 5000, "nested too deeply"),
        ({"ok": False, "error": "invalid_auth"}, "the answer tells of an error"),
        ({"error": {"code": 7}}, "the answer tells of an error"),
        ("5", "no object or list"),
    ],
)
def test_every_fault_of_an_answer_is_told(api: Any, reply: Any, told: str) -> None:
    api.route("/items", reply)
    right, why = check_connection(source(api), "items")
    assert not right
    assert told in why
    assert "resource items" in why
    assert len(api.requests) == 1


@pytest.mark.parametrize("reply", [[], (204, b""), [{"id": 1}], [1], [None], {"data": None, "total": 0}])
def test_an_answer_without_rows_is_no_fault(api: Any, reply: Any) -> None:
    api.route("/items", reply)
    assert check_connection(source(api), "items") == (True, "")


@pytest.mark.parametrize("reply", [{}, b""])
def test_an_answer_that_says_nothing_is_a_fault(api: Any, reply: Any) -> None:
    api.route("/items", reply)
    right, why = check_connection(source(api), "items")
    assert not right
    assert "no rows" in why


@pytest.mark.parametrize(
    ("client", "told"),
    [
        ({"base_url": "http://nowhere.invalid"}, "is not known (DNS)"),
        ({"base_url": "http://127.0.0.1:9"}, "refused the connection"),
        ({"auth": {"token": "{env.NOT_SET_ANYWHERE}"}}, "NOT_SET_ANYWHERE is not set"),
        ({"base_url": "https://127.0.0.1:9", "verify": "/nowhere.pem"}, "TLS certificates"),
    ],
)
def test_what_cannot_be_reached_is_told(api: Any, client: dict[str, Any], told: str) -> None:
    right, why = check_connection(source(api, **client), "items")
    assert not right
    assert told in why


def test_nobody_waits_an_hour_for_the_answer(api: Any) -> None:
    api.route("/items", (429, {}, {"Retry-After": "3000"}))
    started = time.monotonic()
    right, why = check_connection(source(api), "items")
    assert (right, "asks to wait 3000 s" in why) == (False, True)
    api.route("/items", (500, {}))
    endpoint = {"retry": {"attempts": 9, "backoff": "30s"}}
    assert not check_connection(source(api, {"name": "items", "endpoint": endpoint}), "items")[0]
    assert time.monotonic() - started < 5


def test_a_parent_without_rows_is_told(api: Any) -> None:
    api.route("/parents", {"rows": []})
    config = source(api, PARENT, {"name": "children", "endpoint": "parents/{resources.parents.id}/children"})
    right, why = check_connection(config, "children")
    assert not right
    assert "has no row to ask with" in why


def test_an_unknown_resource_is_a_mistake_of_the_caller(api: Any) -> None:
    with pytest.raises(ConfigError, match=r"no resource 'item'\nDid you mean items"):
        check_connection(source(api), "item")
