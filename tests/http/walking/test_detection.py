"""What is found from the first answer: the paginator, and the data."""

from __future__ import annotations

import json

import pytest

from dagster_restapi.errors import PagingError, RequestError, ResponseError
from dagster_restapi.http.select import as_object, detect_data, select


def rows(*ids):
    return [{"id": i} for i in ids]


def found(api, body, headers=None, params=None):
    """The paginator that the first answer leads to, and what it then asks for."""
    api.answer = lambda request: (200, headers or {}, body)
    page = next(iter(api.client().paginate("items", params=params)))
    return page.next and {**page.next["paginator"], "at": page.next["at"]}


CURSOR, TOKEN = {"type": "cursor", "cursor_param": "cursor"}, {"type": "cursor", "cursor_param": "token"}
LINK = {"Link": '</items?p=2>; rel="next", </items?p=9>; rel="last"'}


@pytest.mark.parametrize(
    ("body", "headers", "paginator"),
    [
        ({"data": rows(1), "next": "/other", "total_pages": 3}, LINK, {"type": "header_link"}),
        (rows(1), LINK, {"type": "header_link"}),
        ({"data": rows(1), "next": "/i?p=2", "pages": 3}, {}, {"type": "json_link", "next_url_path": '$["next"]'}),
        (
            {"data": rows(1), "paging": {"NextPage": "http://{host}/i"}},
            {},
            {"type": "json_link", "next_url_path": '$["paging"]["NextPage"]'},
        ),
        (
            {"data": rows(1), "_links": {"next": {"href": "/i?p=2"}}},
            {},
            {"type": "json_link", "next_url_path": '$["_links"]["next"]["href"]'},
        ),
        (
            {"data": rows(1), "next": {"url": "/i", "id": 4}},
            {},
            {"type": "json_link", "next_url_path": '$["next"]["url"]'},
        ),
        (
            {"data": rows(1), "meta": {"total_pages": 3, "next_page": 2}},
            {},
            {"type": "page_number", "total_path": '$["meta"]["total_pages"]', "base_page": 0},
        ),
        (
            {"data": rows(1), "totalPages": "3", "number": 0},
            {},
            {"type": "page_number", "total_path": '$["totalPages"]', "base_page": 0},
        ),
        (
            {"data": rows(1), "pages": 3, "page": 1},
            {},
            {"type": "page_number", "total_path": '$["pages"]', "base_page": 1},
        ),
        ({"data": rows(1), "next.cursor": "abc"}, {}, {**CURSOR, "cursor_path": '$["next.cursor"]'}),
        ({"data": rows(1), "meta": {"nextToken": 17}}, {}, {**TOKEN, "cursor_path": '$["meta"]["nextToken"]'}),
    ],
)
def test_the_paginator_is_found_in_dlts_order(api, body, headers, paginator):
    body = json.loads(json.dumps(body).replace("{host}", api.url.removeprefix("http://")))
    seen = found(api, body, headers)
    assert {key: value for key, value in seen.items() if key != "at"} == paginator


@pytest.mark.parametrize(
    "body",
    [rows(1), {"data": rows(1)}, {"data": rows(1), "next": None}, {"data": rows(1), "total": 90, "offset": 0},
     {"data": [{"next": "/in/a/record"}]}, {"pages": True, "data": rows(1)}],
)  # fmt: skip
def test_else_there_is_one_page_and_an_offset_is_never_guessed(api, body):
    assert found(api, body) is None


@pytest.mark.parametrize(
    ("body", "params", "page"),
    [
        ({"page": 1}, None, 2),
        ({"page": 0}, None, 1),
        ({"current_page": 1}, None, 2),
        ({"pageNumber": 0}, None, 1),
        ({}, {"page": 1}, 2),
        ({}, {"page": "4"}, 5),
        ({"page": 4}, None, 5),
    ],
)
def test_the_number_of_the_page_that_came_is_read(api, body, params, page):
    seen = found(api, {**body, "data": rows(1), "total_pages": 9}, params=params)
    assert seen["at"]["page"] == page


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("pages", [1, 2, 5])
def test_where_nothing_tells_the_first_number_no_page_comes_twice_and_the_last_comes(api, base, pages):
    def answer(request):
        page = max(request.whole("page", base), base) - base
        return {"data": rows(page * 2, page * 2 + 1) if page < pages else [], "total_pages": pages}

    api.answer = answer
    walked = list(api.client().paginate("items"))
    assert [row["id"] for page in walked for row in page] == list(range(2 * pages))
    assert len(api.requests) == pages + (1 if base == 1 and pages > 1 else 0)
    assert [w for page in walked for w in page.warnings if "tells" in w] == []


def test_a_choice_is_made_on_the_first_answer_and_kept_in_another_process(api):
    def answer(request):
        if "cursor" not in request.query:
            return {"things": rows(1), "next_cursor": "b"}
        return {"next": "/never", "things": rows(2), "data": rows(9), "next_cursor": None}

    api.answer = answer
    first = next(iter(api.client().paginate("items")))
    (second,) = api.client().paginate("items", state=json.loads(json.dumps(first.next)))
    assert second.records == rows(2)
    assert api.requests[-1].raw_query == "cursor=b"


# ---- data ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("body", "path"),
    [
        (rows(1), "$"),
        ({"a": [], "items": []}, '$["items"]'),
        ({"a": [1], "b": [2]}, '$["a"]'),
        ({"response": {"data": {"rows": [1]}}, "zones": []}, '$["response"]["data"]["rows"]'),
        ({"a": {"b": {"c": {"data": []}}}}, "$"),
        ({"links": [], "meta": {"results": []}}, '$["meta"]["results"]'),
        ({"Items": [1], "x": [2]}, '$["Items"]'),
        ({"x": [2], "Items": [1]}, '$["x"]'),
        ({"id": 1, "name": "one"}, "$"),
        (None, "$"),
        ({"errors": [], "list": [1]}, '$["list"]'),
        ({"total": 0, "items": None, "next": None}, '$["items"]'),
        ({"id": 1, "content": None}, "$"),
    ],
)
def test_the_data_is_found_by_dlts_rule(body, path):
    assert detect_data(body).path == path


@pytest.mark.parametrize(
    "body",
    ["busy", 3, True, {"ok": False, "error": "ratelimited"}, {"success": False, "data": []}, {"errors": [{"m": "x"}]},
     {"error": {"code": 1}}],
)  # fmt: skip
def test_an_answer_that_says_it_failed_is_never_taken_for_data(body):
    with pytest.raises(ResponseError, match="data_selector"):
        select(body, None)


@pytest.mark.parametrize(
    ("selector", "records"),
    [
        ("data", [{"id": 1, "tags": ["a"]}, {"id": 2, "tags": []}]),
        ("$.data", [{"id": 1, "tags": ["a"]}, {"id": 2, "tags": []}]),
        ("data[*]", [{"id": 1, "tags": ["a"]}, {"id": 2, "tags": []}]),
        ("data[*].id", [1, 2]),
        ("data[*].tags", ["a"]),
        ("data[0]", [{"id": 1, "tags": ["a"]}]),
        ("data[?@.id > 1]", [{"id": 2, "tags": []}]),
        ("data[?@.id > 5]", []),
        ("['odd key'].list", [3]),
        ("one", [{"x": 1}]),
        ("nothing", []),
        ("scalars", ["a", None, 3]),
        ("..x", [{"y": 2}, 1]),
        ("data | scalars", None),
    ],
)
def test_an_explicit_selector_takes_what_it_matches(api, selector, records):
    body = {
        "data": [{"id": 1, "tags": ["a"]}, {"id": 2, "tags": []}],
        "odd key": {"list": [3]},
        "one": {"x": 1},
        "nothing": None,
        "scalars": ["a", None, 3],
        "deep": {"x": {"y": 2}},
    }
    api.answer = lambda request: body
    walked = api.walk(data_selector=selector)
    if records is None:
        assert len(walked) == 4
    elif selector == "..x":
        assert sorted(map(str, walked)) == sorted(map(str, records))
    else:
        assert walked == records


def test_a_scalar_becomes_a_row_with_one_value():
    assert [as_object(record) for record in ["a", None, [1], {"id": 1}]] == [
        {"value": "a"}, {"value": None}, {"value": [1]}, {"id": 1},
    ]  # fmt: skip


def test_a_filter_that_picks_nothing_does_not_end_the_walk(api):
    """The API counts the elements of its list, not what a selector leaves of them."""

    def answer(request):
        start = request.whole("offset", 0)
        return {"data": [{"id": i, "open": i >= 4} for i in range(start, min(7, start + 2))]}

    api.answer = answer
    assert api.walk(paginator={"type": "offset", "limit": 2}, data_selector="data[?@.open == true]") == [
        {"id": i, "open": True} for i in (4, 5, 6)
    ]
    assert api.asked("offset") == ["0", "2", "4", "6", "7"]


def test_records_of_nested_lists_do_not_move_the_offset_too_far(api):
    def answer(request):
        start = request.whole("offset", 0)
        return {"groups": [{"members": rows(i * 10, i * 10 + 1, i * 10 + 2)} for i in range(start, min(5, start + 2))]}

    api.answer = answer
    records = api.walk(paginator={"type": "offset", "limit": 2}, data_selector="groups[*].members")
    assert records == [{"id": i * 10 + j} for i in range(5) for j in range(3)]


def test_an_empty_object_is_neither_rows_nor_none(api):
    api.answer = lambda request: {}
    with pytest.raises(ResponseError, match="empty object"):
        api.walk()
    assert api.walk(data_selector="$") == [{}]


# ---- guesses that turn out wrong -------------------------------------------------------------------------------
@pytest.mark.parametrize("key", ["nextBuildNumber", "next_billing_date", "next_check"])
@pytest.mark.parametrize("changed", [False, True], ids=["the same", "some of it changed"])
@pytest.mark.parametrize("status", [200, 400, 404, 422])
def test_a_wild_guess_is_taken_back(api, key, changed, status):
    def answer(request):
        if "cursor" in request.query and status != 200:
            return status, {"error": "unknown parameter"}
        last = [{"id": 4, "at": len(api.requests) if changed else 0}]
        return {"builds": rows(1, 2, 3) + last, key: 43}

    api.answer = answer
    first, second = api.client().paginate("items")
    assert ([row["id"] for row in first], second.records, second.complete) == ([1, 2, 3, 4], [], True)
    assert key in second.warnings[0]


@pytest.mark.parametrize(
    "body", [{"nextPageToken": "t"}, {"total_pages": 3}, {"next_cursor": "c"}, {"nextLink": "/items?p=2"}]
)
def test_a_guess_by_a_usual_name_that_leads_nowhere_is_a_sign_of_more(api, body):
    api.answer = lambda request: {"data": rows(1, 2), **body}
    pages = list(api.client().paginate("items"))
    assert [row for page in pages for row in page] == rows(1, 2)
    assert not pages[-1].complete
    assert next(iter(body)) in pages[-1].warnings[0]
    with pytest.raises(PagingError, match=next(iter(body))):
        api.walk(on_short_total="fail")


def test_an_error_of_a_guessed_page_names_the_guess(api):
    api.answer = lambda request: (
        (500, {}) if "page_token" in request.query else {"data": rows(1), "next_page_token": "t"}
    )
    with pytest.raises(RequestError, match=r"guess \(cursor, for \$\[\"next_page_token\"\] in the first answer\)"):
        api.walk()


def test_a_link_that_leads_elsewhere_under_an_unusual_name_is_not_followed(api):
    api.answer = lambda request: {"events": rows(1), "next_event_url": "http://127.0.0.1:9/events/5"}
    (page,) = api.client().paginate("items")
    assert (page.complete, page.warnings) == (True, ())


def test_a_list_that_comes_late_is_refused(api):
    api.answer = lambda request: (
        {"thing": None, "next": "/items?p=2"} if "p" not in request.query else {"thing": rows(1)}
    )
    with pytest.raises(ResponseError, match="taken for a record"):
        api.walk()
