"""What each paginator sends, and what a configuration may write."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from dagster_restapi.config import paginators as config
from dagster_restapi.config.paginators import PaginatorConfig, parse_paginator, register_paginator
from dagster_restapi.errors import ConfigError, PagingError, RequestError, RestApiError
from dagster_restapi.http.paginators import Paginator, with_param
from dagster_restapi.secrets import Secret


def rows(*ids):
    return [{"id": i} for i in ids]


# ---- configuration ---------------------------------------------------------------------------------------------
DEFAULTS = {
    "json_link": {"next_url_path": "next"},
    "header_link": {"links_next_key": "next"},
    "header_cursor": {"cursor_key": "next", "cursor_param": "cursor"},
    "cursor": {"cursor_path": "cursors.next", "stop_after_empty_page": False, "has_more_path": None},
    "page_number": {"base_page": 0, "page": None, "total_path": "total", "maximum_page": None,
                    "stop_after_empty_page": True, "has_more_path": None},
    "single_page": {},
    "auto": {},
}  # fmt: skip


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_bare_string_is_a_paginator_with_dlts_defaults(name):
    paginator = parse_paginator(name)
    assert paginator.type == name
    assert {key: getattr(paginator, key) for key in DEFAULTS[name]} == DEFAULTS[name]
    assert parse_paginator({"type": name}) == paginator == parse_paginator(paginator)


def test_offset_has_dlts_defaults_and_needs_a_limit():
    paginator = parse_paginator({"type": "offset", "limit": 10})
    assert (paginator.offset, paginator.total_path, paginator.maximum_offset) == (0, "total", None)
    assert (paginator.stop_after_empty_page, paginator.has_more_path) == (True, None)
    with pytest.raises(ValidationError, match="limit"):
        parse_paginator("offset")


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("json_response", {"type": "json_link"}),
        ({"type": "json_response", "next_key": "a.b"}, {"type": "json_link", "next_url_path": "a.b"}),
        ({"type": "header_link", "next_key": "more"}, {"type": "header_link", "links_next_key": "more"}),
        ({"type": "page_number", "initial_page": 1}, {"type": "page_number", "base_page": 1}),
        ({"type": "offset", "initial_limit": 5, "initial_offset": 2}, {"type": "offset", "limit": 5, "offset": 2}),
        ({"type": "page_number", "base_page": None, "page_param": None}, "page_number"),
        ({}, "auto"),
    ],
)
def test_older_spellings_mean_the_same(older, newer):
    assert parse_paginator(older) == parse_paginator(newer)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("page_numbr", "did you mean 'page_number'"),
        ({"type": "offset", "limit": 0}, "greater than 0"),
        ({"type": "json_link", "next_url_pth": "x"}, "next_url_pth"),
        ({"type": "json_link", "next_url_path": "a[["}, "JSONPath"),
        ({"type": "cursor", "cursor_param": "a", "cursor_body_path": "b"}, "not both"),
        ({"type": "page_number", "page_param": "a", "page_body_path": "b"}, "not both"),
        ({"type": "page_number", "page_param": ""}, "cannot be empty"),
        ({"type": "page_number", "total_path": None, "stop_after_empty_page": False}, "nothing would end"),
        ({"type": "offset", "limit": 1, "total_path": None, "stop_after_empty_page": False}, "nothing would end"),
        ({"limit": 10}, "no `type`"),
        (17, "derive it from"),
    ],
)
def test_a_mistake_is_named(wrong, said):
    with pytest.raises(ValueError, match=said) as caught:
        parse_paginator(wrong)
    assert len(getattr(caught.value, "errors", lambda: [1])()) == 1


def test_the_json_schema_describes_every_paginator():
    schema = json.dumps(TypeAdapter(PaginatorConfig).json_schema())
    for model in ("JSONLinkPaginator", "OffsetPaginator", "PageNumberPaginator", "JSONResponseCursorPaginator"):
        assert model in schema
    for field in config.PageNumberPaginator.model_fields.values():
        assert field.description or field.default == "page_number"


class Since(Paginator):
    """Asks for what comes after the last id."""

    def __init__(self, param: str = "since") -> None:
        self.param = param

    def apply(self, call, state):
        return with_param(call, self.param, state["since"]) if state else call

    def advance(self, state, facts):
        return {"since": facts.body[-1]["id"]} if facts.items else None


class Stateful:
    """In the manner of dlt."""

    def init_request(self, request):
        pass

    def update_state(self, response, data=None):
        pass

    def update_request(self, request):
        pass


def test_a_paginator_of_ones_own_walks_resumes_and_is_guarded(api):
    register_paginator("since", Since)
    api.answer = lambda request: rows(*range(request.whole("after", 0) + 1, 8)[:3])
    own = {"type": "since", "param": "after"}
    assert api.walk(paginator=own) == rows(1, 2, 3, 4, 5, 6, 7)
    assert api.walk(paginator=Since("after")) == rows(1, 2, 3, 4, 5, 6, 7)
    first = next(iter(api.client().paginate("items", paginator=own)))
    rest = api.client().paginate("items", paginator=own, state=json.loads(json.dumps(first.next)))
    assert [row["id"] for page in rest for row in page] == [4, 5, 6, 7]
    api.answer = lambda request: rows(request.whole("after", 0) ^ 1)
    with pytest.raises(PagingError):
        api.walk(paginator=own)
    with pytest.raises(ConfigError, match="does not take these options"):
        api.walk(paginator={"type": "since", "wrong": 1})


def test_a_paginator_that_keeps_its_position_in_itself_is_refused_with_a_hint():
    with pytest.raises(ConfigError, match=r"http\.paginators\.Paginator"):
        register_paginator("mine", Stateful)
    with pytest.raises(ValueError, match="as dlt's do"):
        parse_paginator(Stateful())
    with pytest.raises(ConfigError, match="no first"):
        register_paginator("mine", dict)
    with pytest.raises(ConfigError, match="built in"):
        register_paginator("offset", Since)


def test_an_instance_of_dlts_own_paginators_is_read():
    attributes = {"param_name": "p", "param_body_path": None, "initial_value": 2, "base_index": 1, "maximum_value": 9,
                  "total_path": None, "stop_after_empty_page": True, "has_more_path": None}  # fmt: skip
    module = "dlt.sources.helpers.rest_client.paginators"
    instance = type("PageNumberPaginator", (), {"__module__": module, "update_state": None})()
    vars(instance).update(attributes)
    paginator = parse_paginator(instance)
    assert (paginator.type, paginator.base_page, paginator.page, paginator.page_param) == ("page_number", 1, 2, "p")
    assert (paginator.maximum_page, paginator.total_path) == (9, None)


# ---- requests --------------------------------------------------------------------------------------------------
def test_page_offset_and_limit_are_sent_from_the_first_request_on(api):
    api.answer = lambda request: []
    api.walk(paginator={"type": "page_number", "base_page": 1, "page_param": "p"})
    api.walk(paginator={"type": "offset", "limit": 7, "offset_param": "skip", "limit_param": "take"})
    assert [request.query for request in api.requests] == [{"p": "1"}, {"skip": "0", "take": "7"}]


def test_a_cursor_is_sent_from_the_second_request_on(api):
    api.answer = lambda request: {"data": rows(len(request.query)), "cursors": {"next": "" if request.query else "b"}}
    api.walk(paginator="cursor")
    assert [request.query for request in api.requests] == [{}, {"cursor": "b"}]


def test_positions_go_into_the_json_body_by_path(api):
    def answer(request):
        at = request.body["page"]["number"]
        return {"data": rows(at) if at < 3 else []}

    api.answer = answer
    body = {"query": {"state": "open"}, "page": {"size": 5}}
    paginator = {"type": "page_number", "base_page": 1, "page_body_path": "page.number"}
    assert api.walk(method="POST", json=body, paginator=paginator) == rows(1, 2)
    assert [r.body["page"] for r in api.requests] == [{"size": 5, "number": n} for n in (1, 2, 3)]
    assert all(r.query == {} and r.body["query"] == {"state": "open"} for r in api.requests)
    assert body == {"query": {"state": "open"}, "page": {"size": 5}}


def test_offset_and_limit_go_into_a_body_that_was_not_there(api):
    api.answer = lambda request: {"data": rows(*range(5))[request.body["o"] :][: request.body["paging"]["l"]]}
    paginator = {"type": "offset", "limit": 2, "offset_body_path": "o", "limit_body_path": "$.paging.l"}
    assert api.walk(method="POST", paginator=paginator) == rows(*range(5))


@pytest.mark.parametrize("body", [{"data": "a=1"}, {"json": [1]}, {"json": {"page": "text"}}])
def test_a_body_that_cannot_take_a_position_is_an_error(api, body):
    with pytest.raises(ConfigError, match=r"page\.number"):
        api.walk(method="POST", paginator={"type": "page_number", "page_body_path": "page.number"}, **body)


def test_a_link_replaces_the_whole_url_and_keeps_method_headers_and_body(api):
    def answer(request):
        more = "page" not in request.query
        return {"data": rows(len(request.raw_query)), "next": f"{api.url}/items?per_page=2&page=2" if more else None}

    api.answer = answer
    api.walk(
        "items", method="POST", json={"q": 1}, params={"per_page": 2, "state": "all"}, headers={"X-A": "b"},
        paginator="json_link",
    )  # fmt: skip
    first, second = api.requests
    assert first.raw_query == "per_page=2&state=all"
    assert second.raw_query == "per_page=2&page=2"
    assert (second.method, second.body, second.headers["X-A"]) == ("POST", {"q": 1}, "b")


def test_a_parameter_that_stands_in_the_path_is_not_sent_twice(api):
    api.answer = lambda request: rows(request.whole("page", 9)) if request.whole("page", 9) < 2 else []
    api.walk("items?page=7&state=all", paginator="page_number")
    assert [r.raw_query for r in api.requests] == ["state=all&page=0", "state=all&page=1", "state=all&page=2"]


@pytest.mark.parametrize(
    "link", ["?p=2", "items?p=2", "/v1/items?p=2", "//{host}/v1/items?p=2", " {base}/v1/items?p=2 "]
)
def test_a_relative_link_is_resolved_against_the_url_it_came_from(api, link):
    link = link.format(base=api.url, host=api.url.removeprefix("http://"))
    api.answer = lambda request: {"data": rows(len(request.query)), "next": None if "p" in request.query else link}
    assert api.walk("v1/items", params={"a": 1, "b": 2}, paginator="json_link") == rows(2, 1)
    assert [r.path for r in api.requests] == ["/v1/items", "/v1/items"]


@pytest.mark.parametrize("link", [None, "", False])
def test_no_link_is_the_end(api, link):
    api.answer = lambda request: {"data": rows(1), "next": link}
    assert api.walk(paginator="json_link") == rows(1)


@pytest.mark.parametrize("link", [{"href": "/items?p=2"}, 2, ["/items"]])
def test_a_link_that_is_no_text_is_an_error(api, link):
    api.answer = lambda request: {"data": rows(1), "next": link}
    with pytest.raises(PagingError, match="no text"):
        api.walk(paginator="json_link")


@pytest.mark.parametrize("link", ["http://[::1", "javascript:alert(1)", "file:///etc/passwd", "http://x:y/", "\ud800"])
def test_a_link_that_nobody_can_follow_is_one_clear_error(api, link):
    api.answer = lambda request: {"data": rows(len(api.requests)), "next": link} if len(api.requests) < 2 else (404, {})
    with pytest.raises(RestApiError) as caught:
        api.walk(paginator="json_link")
    assert str(caught.value).encode()


def test_a_link_elsewhere_is_refused_and_the_error_names_allowed_hosts(api):
    api.answer = lambda request: {"data": rows(1), "next": "http://elsewhere.example/items?page=2"}
    with pytest.raises(RequestError, match="allowed_hosts"):
        api.client(auth={"token": "s3cret-token"}).walk("items", paginator="json_link").page(
            next(iter(api.client().paginate("items", paginator="json_link"))).next
        )
    assert len(api.requests) == 1


def test_credentials_that_a_link_echoes_are_neither_kept_nor_sent_twice(api):
    key = "canary-key-123456"

    def answer(request):
        more = "page" not in request.query
        return {"data": rows(len(api.requests)), "next": f"{api.url}/items?token={key}&page=2" if more else None}

    api.answer = answer
    client = api.client(auth={"type": "api_key", "name": "token", "api_key": key, "location": "query"})
    pages = list(client.paginate("items", paginator="json_link"))
    assert key not in json.dumps(pages[0].next)
    assert key not in repr(pages)
    assert api.requests[1].raw_query.count(key) == 1


@pytest.mark.parametrize(("empty", "asked"), [("end", [None]), ("send", [None, "", "z"])])
@pytest.mark.parametrize("kind", ["cursor", "header_cursor"])
def test_an_empty_cursor_is_the_end_or_a_cursor_as_configured(api, empty, asked, kind):
    def answer(request):
        following = {None: "", "": "z"}.get(request.query.get("cursor"))
        headers = {} if following is None else {"next": following}
        return 200, headers, {"data": rows(len(api.requests)), "cursors": {"next": following}}

    api.answer = answer
    api.walk(paginator={"type": kind, "empty_cursor": empty})
    assert api.asked("cursor") == asked


def test_maximum_page_and_maximum_offset_are_exclusive_and_no_cause_for_a_warning(api):
    api.answer = lambda request: {
        "data": rows(*range(request.whole("offset", 0) * 10, request.whole("offset", 0) * 10 + 2)),
        "total": 100,
    }
    pages = list(api.client().paginate("items", paginator={"type": "offset", "limit": 2, "maximum_offset": 6}))
    assert api.asked("offset") == ["0", "2", "4"]
    assert [page.warnings for page in pages] == [(), (), ()]
    api.answer = lambda request: {"data": rows(request.whole("page", 0))}
    paginator = {"type": "page_number", "base_page": 1, "maximum_page": 3}
    assert api.walk(paginator=paginator) == rows(1, 2)


@pytest.mark.parametrize(("yes", "no"), [(True, False), ("true", "False"), ("1", "0"), (1, 0), ("yes", "n")])
def test_has_more_ends_a_walk(api, yes, no):
    api.answer = lambda request: {
        "data": rows(request.whole("page", 0)),
        "more": yes if request.whole("page", 0) < 2 else no,
    }
    assert api.walk(paginator={"type": "page_number", "total_path": None, "has_more_path": "more"}) == rows(0, 1, 2)


def test_stop_after_empty_page_false_goes_on_behind_an_empty_page(api):
    def answer(request):
        page = request.whole("page", 0)
        return {"data": [] if page == 1 else rows(page), "total": 3}

    api.answer = answer
    assert api.walk(paginator={"type": "page_number", "stop_after_empty_page": False}) == rows(0, 2)
    assert api.walk(paginator="page_number") == rows(0)


def test_a_first_page_other_than_the_base_counts_into_the_total(api):
    api.answer = lambda request: {"data": rows(request.whole("page", 0)), "pages": 4}
    paginator = {"type": "page_number", "base_page": 1, "page": 3, "total_path": "pages"}
    pages = list(api.client().paginate("items", paginator=paginator))
    assert [page.records for page in pages] == [rows(3), rows(4)]
    assert pages[-1].warnings == ()


def test_pages_ahead_stay_small_whatever_their_number(api):
    api.answer = lambda request: {"data": rows(request.whole("offset", 0)), "total": 1_000_000}
    walk = api.client().walk("items", paginator={"type": "offset", "limit": 1})
    ahead = walk.page(walk.page().next).ahead
    assert len(ahead) == 999_998
    assert len(json.dumps(ahead.to_json())) < 1000
    assert ahead[-1]["at"]["offset"] == 999_999
    assert walk.page(ahead[500_000:][7]).records == rows(500_009)
    block = ahead[100:110][3:]
    assert [state["at"]["offset"] for state in block] == [105, 106, 107, 108, 109, 110, 111]
    assert block.expected == 1


def test_a_total_that_may_count_rows_tells_only_of_the_pages_there_are_in_any_case(api):
    """dlt's default `total` is a number of pages; many APIs mean rows."""

    def answer(request):
        page = request.whole("page", 1)
        return {"data": rows(*range(page * 10, page * 10 + 10)) if page <= 5 else [], "total": 50}

    api.answer = answer
    walk = api.client().walk("items", paginator={"type": "page_number", "base_page": 1})
    second = walk.page(walk.page().next)
    assert [state["at"]["page"] for state in second.ahead] == [3, 4, 5]
    last = walk.page(second.ahead[2])
    assert (last.next, last.complete, last.warnings) == (None, True, ())  # as many rows as it tells, on several pages


def test_a_secret_parameter_goes_along_with_every_link_and_stands_in_no_state(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_OF_THE_API", "canary-in-a-parameter")
    secret = Secret(env="KEY_OF_THE_API").reveal()

    def answer(request: Any) -> Any:
        page = request.whole("page", 1)
        link = f"{api.url}/items?page={page + 1}&key={request.query['key']}" if page < 3 else None
        return {"next": link, "items": [page]}

    api.answer = answer
    pages = list(api.client().paginate("items", params={"key": secret}, paginator="json_link"))
    assert [page.records for page in pages] == [[1], [2], [3]]
    assert api.asked("key") == [secret] * 3
    assert not [page for page in pages if secret in str(page.next)]


@pytest.mark.parametrize(
    "cursor", ["acme:{n}", "x-acme-{n}", "acme{n}", "{n}/acme%2Fus", "{n}&team=acme-eu", "YWNtZQ&n={n}"]
)
@pytest.mark.parametrize("echoed", [True, False])
def test_a_cursor_that_happens_to_hold_a_secret_goes_back_whole(
    api: Any, monkeypatch: pytest.MonkeyPatch, cursor: str, echoed: bool
) -> None:
    monkeypatch.setenv("THE_ORG", "acme")
    asked: list[str] = []

    def answer(request: Any) -> Any:
        asked.append(request.raw_query)
        page = len(asked)
        link = f"{api.url}/items?after={cursor.format(n=page)}{'&org=acme' if echoed else ''}"
        return {"next": link if page < 3 else None, "items": [page]}

    api.answer = answer
    org = Secret(env="THE_ORG").reveal()
    pages = list(api.client().paginate("items", params={"org": org}, paginator="json_link"))
    assert [page.records for page in pages] == [[1], [2], [3]]
    assert asked == ["org=acme", *(f"after={cursor.format(n=page)}&org=acme" for page in (1, 2))]


def test_a_link_that_gives_a_secret_parameter_another_value_has_it_its_own_way(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_ORG", "acme")
    org = Secret(env="THE_ORG").reveal()

    def answer(request: Any) -> Any:
        page = int(request.query["after"].partition(":")[2])
        return {"next": f"{api.url}/items?after=acme:{page + 1}" if page < 3 else None, "items": [page]}

    api.answer = answer
    pages = list(api.client().paginate("items", params={"after": f"{org}:0"}, paginator="json_link"))
    assert [page.records for page in pages] == [[0], [1], [2], [3]]
    assert [request.raw_query for request in api.requests] == [
        f"after=acme%3A{n}" if not n else f"after=acme:{n}" for n in range(4)
    ]


@pytest.mark.parametrize(("pages", "warned"), [(1, False), (2, True), (3, True)])
def test_the_only_page_may_be_empty(api, pages, warned):
    def answer(request):
        return 200, {}, {"data": [1] if pages > 2 and request.query["p"] == "1" else [], "pages": pages}

    api.answer = answer
    paginator = {"type": "page_number", "page_param": "p", "base_page": 1, "total_path": "pages"}
    found = list(api.client().paginate("items", paginator=paginator, data_selector="data"))
    assert any("is empty, though" in warning for page in found for warning in page.warnings) is warned


@pytest.mark.parametrize("path", ["items", "items?view=open&size=1"])
@pytest.mark.parametrize("kind", ["json_link", "header_link"])
def test_links_that_forget_what_was_asked_are_reminded(api, path, kind):
    def answer(request):
        page = request.whole("page", 1)
        if (request.query.get("view"), request.query.get("size")) != ("open", "1"):
            return 422, {"error": "what size?"}
        link = f"/items?page={page + 1}{'&size=1' if page == 2 else ''}" if page < 3 else None
        return 200, {"Link": f"<{link}>; rel=next"} if link else {}, {"data": rows(page), "next": link}

    api.answer = answer
    params = {} if "?" in path else {"view": "open", "size": 1}
    assert api.walk(path, params=params, paginator={"type": kind, "keep_params": True}) == rows(1, 2, 3)
    assert all(request.raw_query.count("size=") == 1 for request in api.requests)
