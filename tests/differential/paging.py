"""How one page leads to the next, which part of an answer is the data, and what is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from differential.scenario import Scenario, Served, answers, api

ROWS = [{"id": number, "v": f"r{number}"} for number in range(1, 6)]
PAGES = [ROWS[:2], ROWS[2:4], ROWS[4:]]
Answer = Callable[[Any, str], Any]


def paged(name: str, paginator: Any, answer: Answer, **more: Any) -> Scenario:
    """An endpoint `items` with a paginator; `answer` makes an answer of a request and the server's address."""
    endpoint = {"path": "items", **({"paginator": paginator} if paginator else {}), **more.pop("endpoint", {})}

    def serve(server: Served, load: int) -> None:
        server.route("/items", lambda request: answer(request, server.url))

    return Scenario(
        name=f"paging_{name}",
        config=api({"name": "items", "endpoint": endpoint}, **more.pop("defaults", {})),
        serve=serve,
        **{"loads": 1, **more},
    )


def number(request: Any, parameter: str, default: int = 0) -> int:
    """A number in the query."""
    return int(request.query.get(parameter, default))


def links(request: Any, url: str) -> dict[str, Any]:
    at = number(request, "at")
    return {"data": PAGES[at], "next": f"{url}/items?at={at + 1}" if at < 2 else None}


def relative_links(request: Any, url: str) -> dict[str, Any]:
    at = number(request, "at")
    return {"data": PAGES[at], "paging": {"next": f"/items?at={at + 1}"} if at < 2 else {}}


def headers(request: Any, url: str) -> Any:
    at = number(request, "at")
    more = {"Link": f'<{url}/items?at={at + 1}>; rel="next", <{url}/items?at=2>; rel="last"'} if at < 2 else {}
    return 200, PAGES[at], more


def header_cursors(request: Any, url: str) -> Any:
    at = number(request, "cursor")
    return 200, PAGES[at], {"next": str(at + 1)} if at < 2 else {}


def cursors(request: Any, url: str) -> dict[str, Any]:
    at = number(request, "cursor")
    return {"data": PAGES[at], "cursors": {"next": str(at + 1) if at < 2 else None}}


def body_cursors(request: Any, url: str) -> dict[str, Any]:
    at = int(request.json().get("page", {}).get("after", 0))
    return {"data": PAGES[at], "cursors": {"next": at + 1 if at < 2 else None}}


def offsets(total: bool = True, parameter: str = "offset", limit: str = "limit") -> Answer:
    def answer(request: Any, url: str) -> dict[str, Any]:
        begin, size = number(request, parameter), number(request, limit, 2)
        return {"data": ROWS[begin : begin + size], **({"total": len(ROWS)} if total else {})}

    return answer


def capped(request: Any, url: str) -> dict[str, Any]:
    begin = number(request, "offset")
    return {"data": ROWS[begin : begin + min(number(request, "limit"), 2)], "total": len(ROWS)}


def without_total(request: Any, url: str) -> dict[str, Any]:
    return {**offsets()(request, url), "total": None}


def broken(request: Any, url: str) -> Any:
    at = number(request, "at")
    return {"error": "busy"} if at else {"data": PAGES[0], "next": f"{url}/items?at=1"}


def gone(request: Any, url: str) -> Any:
    at = number(request, "at")
    return (410, {}) if at else {"data": PAGES[0], "next": f"{url}/items?at=1"}


def body_offsets(request: Any, url: str) -> dict[str, Any]:
    asked = request.json()
    begin, size = asked["from"], asked["size"]
    return {"data": ROWS[begin : begin + size], "total": len(ROWS)}


def numbered(base: int, total: bool = True, **more: Any) -> Answer:
    def answer(request: Any, url: str) -> dict[str, Any]:
        at = number(request, "page", base) - base
        rows = PAGES[at] if at < len(PAGES) else []
        return {"data": rows, **({"total": len(PAGES)} if total else {}), **more}

    return answer


def total_pages(base: int) -> Answer:
    def answer(request: Any, url: str) -> dict[str, Any]:
        at = number(request, "page", base)
        return {"data": PAGES[at - base] if at - base < 3 else [], "page": at, "total_pages": 3}

    return answer


def has_more(request: Any, url: str) -> dict[str, Any]:
    at = number(request, "page")
    return {"data": PAGES[at], "more": at < 2}


def selected(name: str, body: Any, selector: str | None = None, **more: Any) -> Scenario:
    """What of an answer becomes rows."""
    endpoint = {"path": "items", "paginator": "single_page", **({"data_selector": selector} if selector else {})}
    return Scenario(
        name=f"data_{name}",
        config=api({"name": "items", "endpoint": endpoint}),
        serve=answers(items=(body,)),
        loads=1,
        **more,
    )


def asked(name: str, endpoint: dict[str, Any], client: dict[str, Any] | None = None, **more: Any) -> Scenario:
    """What a request looks like."""
    return Scenario(
        name=f"request_{name}",
        config=api(
            {"name": "items", "endpoint": {"path": "items", "paginator": "single_page", **endpoint}},
            client=client or {},
        ),
        serve=answers(items=(ROWS,)),
        loads=1,
        **more,
    )


SCENARIOS = (
    paged("json_link", "json_link", links),
    paged("json_link_relative", {"type": "json_link", "next_url_path": "paging.next"}, relative_links),
    paged("header_link", "header_link", headers),
    paged("header_link_last", {"type": "header_link", "links_next_key": "last"}, headers),
    paged("header_cursor", "header_cursor", header_cursors),
    paged("cursor", {"type": "cursor", "cursor_param": "cursor"}, cursors),
    paged(
        "cursor_in_body",
        {"type": "cursor", "cursor_body_path": "page.after"},
        body_cursors,
        endpoint={"method": "POST", "json": {"query": "x"}},
    ),
    paged("offset", {"type": "offset", "limit": 2}, offsets()),
    paged("offset_without_total", {"type": "offset", "limit": 2, "total_path": None}, offsets(total=False)),
    paged(
        "offset_named",
        {"type": "offset", "limit": 2, "offset_param": "skip", "limit_param": "take"},
        offsets(parameter="skip", limit="take"),
    ),
    paged("offset_maximum", {"type": "offset", "limit": 2, "maximum_offset": 4, "total_path": None}, offsets()),
    paged("offset_from_1", {"type": "offset", "limit": 2, "offset": 1}, offsets()),
    paged(
        "offset_in_body",
        {"type": "offset", "limit": 2, "offset_body_path": "from", "limit_body_path": "size"},
        body_offsets,
        endpoint={"method": "POST", "json": {}},
    ),
    paged("offset_capped", {"type": "offset", "limit": 3}, capped),
    paged("offset_null_total", {"type": "offset", "limit": 2}, without_total),
    paged("data_missing_later", "json_link", broken, endpoint={"data_selector": "data"}),
    paged(
        "ignored_later",
        "json_link",
        gone,
        loads=2,
        endpoint={
            "response_actions": [{"status_code": 410, "action": "ignore"}],
            "params": {"since": "{incremental.start_value}"},
            "incremental": {"cursor_path": "id", "initial_value": 0},
        },
    ),
    paged("page_number", {"type": "page_number"}, numbered(0)),
    paged("page_number_from_1", {"type": "page_number", "base_page": 1}, numbered(1)),
    paged("page_number_without_total", {"type": "page_number", "total_path": None}, numbered(0, total=False)),
    paged("page_number_maximum", {"type": "page_number", "maximum_page": 2, "total_path": None}, numbered(0)),
    paged("page_number_later", {"type": "page_number", "base_page": 1, "page": 2}, numbered(1)),
    paged("page_number_more", {"type": "page_number", "total_path": None, "has_more_path": "more"}, has_more),
    paged("single_page", "single_page", links),
    paged("auto_link_header", None, headers),
    paged("auto_json_link", None, links),
    paged("auto_nested_json_link", None, relative_links),
    paged("auto_cursor", None, cursors),
    paged("auto_total_pages_from_1", None, total_pages(1)),
    paged("auto_total_pages_from_0", None, total_pages(0)),
    paged("auto_of_an_offset", None, offsets()),
    paged("auto_by_name", "auto", links),
    paged("of_the_defaults", None, offsets(), defaults={"endpoint": {"paginator": {"type": "offset", "limit": 2}}}),
    paged(
        "of_the_client",
        None,
        offsets(),
        defaults={"client": {"paginator": {"type": "offset", "limit": 2}}},
    ),
    # ---- data --------------------------------------------------------------------------------------------------------
    selected("list", ROWS),
    selected("under_results", {"count": 5, "results": ROWS}),
    selected("two_lists", {"errors_of_old": [{"id": 9}], "items": ROWS}),
    selected("unknown_names", {"meta": {"x": 1}, "first": [{"id": 1}], "second": [{"id": 2}]}),
    selected("deep", {"a": {"b": {"data": ROWS}}}),
    selected("too_deep", {"id": 1, "a": {"b": {"c": {"d": {"data": [{"x": 1}]}}}}}),
    selected("one_object", {"id": 1, "v": "x", "user": {"login": "a"}}),
    selected("one_object_with_a_list", {"id": 1, "tags": ["a", "b"]}, keys={"items": ("value",)}),
    selected("by_path", {"a": {"b": ROWS}, "items": [{"id": 9}]}, "a.b"),
    selected("by_several_matches", {"groups": [{"rows": ROWS[:2]}, {"rows": ROWS[2:]}]}, "groups[*].rows"),
    selected("by_items_of_matches", {"groups": [{"row": ROWS[0]}, {"row": ROWS[1]}]}, "groups[*].row"),
    selected("by_dollar", {"id": 1, "rows": [{"id": 2}]}, "$"),
    selected("null", {"data": None}, "data"),
    selected("empty", {"data": []}, "data"),
    selected("empty_body", (204, b"")),
    selected("missing", {"other": []}, "data"),
    selected("object_by_path", {"data": {"id": 1}}, "data"),
    selected("scalars_by_path", {"data": [1, 2]}, "data", keys={"items": ("value",)}),
    Scenario(
        name="data_of_a_single_entity",
        config=api(
            "items",
            {"name": "details", "endpoint": "items/{resources.items.id}"},
        ),
        serve=answers(
            items=([{"id": 1}, {"id": 2}],),
            **{f"items/{n}": ({"id": n, "parts": [{"x": n}], "data": [1]},) for n in (1, 2)},
        ),
        loads=1,
    ),
    # ---- requests ----------------------------------------------------------------------------------------------------
    asked(
        "params",
        {"params": {"a": 1, "b": "x y&z", "c": None, "d": True, "e": ["p", "q"], "f": 1.5, "g": "", "h": False}},
    ),
    asked("param_of_the_path", {"path": "{which}", "params": {"which": "items", "q": 1}}),
    asked("headers", {"headers": {"X-Trace": "endpoint"}}, {"headers": {"X-Trace": "client", "X-Key": "k"}}),
    asked("post_json", {"method": "POST", "json": {"a": 1, "b": [True, None], "c": {"d": "x"}}}),
    asked("post_form", {"method": "POST", "data": {"a": 1, "b": "x y"}}),
    asked("braces", {"params": {"filter": '{{"a": 1}}'}}),
    asked("bearer", {}, {"auth": {"type": "bearer", "token": "t"}}),
    asked("token_alone", {}, {"auth": {"token": "t"}}),
    asked("basic", {}, {"auth": {"type": "http_basic", "username": "u", "password": "p"}}),
    asked("api_key", {}, {"auth": {"type": "api_key", "name": "X-Key", "api_key": "k"}}),
    asked("api_key_in_query", {}, {"auth": {"type": "api_key", "name": "key", "api_key": "k", "location": "query"}}),
    asked("api_key_default", {}, {"auth": {"type": "api_key", "api_key": "k"}}),
    asked("auth_of_the_endpoint", {"auth": {"token": "e"}}, {"auth": {"token": "c"}}),
    Scenario(
        name="request_defaults",
        config=api(
            {"name": "items", "endpoint": {"params": {"own": 1, "both": "mine"}, "headers": {"X-Trace": "mine"}}},
            {"name": "others", "endpoint": {"path": "items"}, "write_disposition": "append"},
            "items/",
            endpoint={"params": {"both": "theirs", "each": 2}, "headers": {"X-Trace": "theirs"}},
            write_disposition="replace",
        ),
        serve=answers(**{"items": (ROWS,), "items/": (ROWS[:1],)}),
        loads=1,
    ),
    Scenario(
        name="request_defaults_taken_back",
        config=api(
            {"name": "items", "endpoint": {"params": None}},
            endpoint={"params": {"each": 1}},
        ),
        serve=answers(items=(ROWS,)),
        loads=1,
    ),
    Scenario(
        name="request_base_url_with_slashes",
        config=lambda url: {
            "client": {"base_url": f"{url}/v1/"},
            "resources": [{"name": "items", "endpoint": "/items"}, {"name": "whole", "endpoint": f"{url}/whole"}],
        },
        serve=answers(**{"v1/items": (ROWS,), "whole": (ROWS,)}),
        loads=1,
    ),
)
