"""How well-known APIs page, and a client that walks them."""

from __future__ import annotations

import pytest

from dagster_restapi import errors
from dagster_restapi.config.client import ClientConfig
from dagster_restapi.errors import ConfigError, PagingError, RequestError
from dagster_restapi.http.client import RestClient


def rows(*ids):
    return [{"id": i} for i in ids]


def zendesk(api):
    """Incremental exports: always a next page; the last row comes again; the last page names itself."""
    tickets = [{"id": i, "updated": i * 10} for i in range(7)]

    def answer(request):
        start = request.whole("start_time", 0)
        shown = [ticket for ticket in tickets if ticket["updated"] >= start][:3]
        following = f"{api.url}/items?start_time={shown[-1]['updated']}"
        return {"tickets": shown, "next_page": following, "count": len(tickets), "end_of_stream": len(shown) < 3}

    return answer


def test_zendesk_ends_where_a_page_names_itself(api):
    api.answer = zendesk(api)
    paginator = {"type": "json_link", "next_url_path": "next_page", "stop_on_repeat": True}
    ids = [row["id"] for row in api.walk(paginator=paginator)]
    assert ids == [0, 1, 2, 2, 3, 4, 4, 5, 6, 6]  # boundary rows repeat: merge by primary key
    assert len(api.requests) == 4


def test_zendesk_without_that_option_ends_where_all_rows_have_come(api):
    api.answer = zendesk(api)
    pages = list(api.client().paginate("items"))
    assert {row["id"] for page in pages for row in page} == set(range(7))
    assert "7 rows, 10 came" in pages[-1].warnings[0]


def test_zendesk_without_total_names_the_option(api):
    answer = zendesk(api)
    api.answer = lambda request: {k: v for k, v in answer(request).items() if k != "count"}
    with pytest.raises(PagingError, match="stop_on_repeat"):
        api.walk()


def test_a_single_page_that_names_itself_is_taken_once(api):
    api.answer = lambda request: {"tickets": rows(1), "next_page": f"{api.url}/items?start_time=10"}
    paginator = {"type": "json_link", "next_url_path": "next_page", "stop_on_repeat": True}
    assert api.walk(paginator=paginator, params={"start_time": 10}) == rows(1)


def test_hubspot_pages_by_after_and_stops_at_its_own_limit(api):
    """Search answers at most 10,000 rows, with a 400 behind them: the load fails, and does not end quietly."""

    def answer(request):
        after = int(request.body.get("after", 0))
        if after >= 6:
            return 400, {"status": "error", "message": "ten thousand at most"}
        return {"total": 12, "results": rows(after, after + 1), "paging": {"next": {"after": str(after + 2)}}}

    api.answer = answer
    paginator = {"type": "cursor", "cursor_path": "paging.next.after", "cursor_body_path": "after"}
    with pytest.raises(RequestError, match="400"):
        api.walk("search", method="POST", json={"limit": 2}, paginator=paginator)


def test_relay_leaves_a_cursor_on_the_last_page(api):
    def answer(request):
        after = (request.body.get("variables") or {}).get("after")
        last = after is not None
        nodes = rows(3) if last else rows(1, 2)
        info = {"endCursor": "Z" if last else "Y", "hasNextPage": not last}
        return {"data": {"viewer": {"items": {"nodes": nodes, "pageInfo": info}}}}

    api.answer = answer
    paginator = {
        "type": "cursor",
        "cursor_path": "data.viewer.items.pageInfo.endCursor",
        "cursor_body_path": "variables.after",
        "has_more_path": "data.viewer.items.pageInfo.hasNextPage",
    }
    query = {"query": "{ … }", "variables": {"first": 2}}
    endpoint = {"method": "POST", "json": query, "paginator": paginator}
    assert api.walk("graphql", data_selector="data.viewer.items.nodes", **endpoint) == rows(1, 2, 3)
    assert len(api.requests) == 2
    first, *_ = api.client().paginate("graphql", **endpoint)  # too deep to be found
    assert "data_selector" in first.warnings[0]


def test_github_has_no_link_on_a_single_page(api):
    api.answer = lambda request: rows(1, 2)
    assert api.walk("repos/a/b/issues") == rows(1, 2)
    assert api.walk("repos/a/b/issues", paginator="header_link") == rows(1, 2)


# ---- the client ------------------------------------------------------------------------------------------------
def test_a_client_needs_nothing_but_an_address(api):
    api.answer = lambda request: {"ok": True, "asked": request.query, "sent": request.body}
    with RestClient(api.url, headers={"X-Team": "data"}) as client:
        assert client.get("health", {"a": 1}).json() == {"ok": True, "asked": {"a": "1"}, "sent": None}
        assert client.post("items", {"b": 2}).json()["sent"] == {"b": 2}
        assert client.request("items", "put", data={"c": 3}).json()["sent"] == "c=3"
        assert client.meter.requests == 3
    assert {request.headers["X-Team"] for request in api.requests} == {"data"}


def test_a_page_is_iterable_sized_and_knows_where_it_came_from(api):
    api.answer = lambda request: {"data": rows(1, 2), "total": 2}
    (page,) = api.client().paginate("items")
    assert (list(page), len(page), page.number, page.total) == (rows(1, 2), 2, 1, 2)
    assert page.url == f"{api.url}/items"
    assert page.bytes > 20


def test_the_clients_paginator_and_selector_hold_until_a_call_has_its_own(api):
    api.answer = lambda request: (
        {"a": rows(request.whole("page", 7)), "b": rows(8)} if request.whole("page", 0) < 2 else {"a": []}
    )
    client = api.client(paginator={"type": "page_number", "base_page": 1}, data_selector="a")
    assert [list(page) for page in client.paginate("items")] == [rows(1), []]
    assert [list(page) for page in client.paginate("items", paginator="single_page", data_selector="b")] == [rows(8)]


def test_from_config_takes_a_validated_client(api):
    api.answer = lambda request: rows(1)
    config = ClientConfig.model_validate({"base_url": api.url, "auth": {"token": "a-token"}})
    with RestClient.from_config(config) as client:
        assert [list(page) for page in client.paginate("items")] == [rows(1)]
    assert api.requests[0].headers["Authorization"] == "Bearer a-token"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"paginator": "offsett"}, "did you mean 'offset'"),
        ({"timeout": "soon"}, "timeout"),
        ({"base_urll": 1}, "base_urll"),
        ({"data_selector": "a[["}, "JSONPath"),
    ],
)
def test_a_wrong_setting_is_a_configuration_error(settings, said):
    with pytest.raises(ConfigError, match=said):
        RestClient("http://localhost", **settings)


@pytest.mark.parametrize(
    "endpoint",
    [{"paginator": {"type": "offset"}}, {"response_actions": [{"status_code": "404", "action": "ignore"}]},
     {"response_actions": [{"status_code": 404, "action": "ingore"}]}, {"json": {}, "data": {}},
     {"retry": {"attempts": 0}}, {"error_rules": [{"action": "fail"}]}, {"data_selector": ""}],
)  # fmt: skip
def test_a_wrong_argument_is_a_configuration_error_before_any_request(api, endpoint):
    with pytest.raises(ConfigError):
        list(api.client().paginate("items", **endpoint))
    assert api.requests == []


def test_an_ignored_answer_to_a_single_request_is_an_error(api):
    api.answer = lambda request: (404, {})
    client = api.client(error_rules=[{"status": 404, "action": "ignore"}])
    with pytest.raises(errors.RequestError, match="ignored"):
        client.get("items")


def test_a_state_of_something_else_is_refused(api):
    with pytest.raises(PagingError, match="no state of a walk"):
        list(api.client().paginate("items", state={"number": "one"}))
