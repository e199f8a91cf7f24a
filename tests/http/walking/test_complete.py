"""A walk is complete, or it is an error, or it says that it is not complete."""

from __future__ import annotations

import time

import pytest

from dagster_restapi import RestClient
from dagster_restapi.errors import IgnoreResponse, PagingError, RequestError, ResponseError


def rows(*ids):
    return [{"id": i} for i in ids]


def numbered(last, per_page=2):
    """Pages 1 to `last`, as their paginator wants them."""

    def answer(request):
        page = request.whole("page", 1)
        return {"data": rows(*range(page * per_page, (page + 1) * per_page)) if page <= last else []}

    return answer


PAGES = {"type": "page_number", "base_page": 1, "total_path": None}


@pytest.mark.parametrize("body", [{"code": 300, "message": "no"}, {"success": False}, {"data2": []}, "busy", 5])
def test_another_body_in_mid_walk_is_an_error_that_names_the_way_out(api, body):
    good = numbered(5)
    api.answer = lambda request: body if request.whole("page", 1) == 3 else good(request)
    with pytest.raises(ResponseError) as caught:
        api.walk(paginator=PAGES)
    assert len(api.requests) == 3
    assert "page 3" in str(caught.value)
    assert "error_rules" in str(caught.value)


def test_a_missing_data_path_is_an_error_that_names_the_option(api):
    api.answer = lambda request: {"data": None, "errors": [{"message": "no such field"}]}
    with pytest.raises(ResponseError, match="missing_data: empty"):
        api.walk(data_selector="data.items", paginator="single_page")


def test_missing_data_empty_takes_it_for_a_page_without_rows(api):
    api.answer = lambda request: {"meta": {}}
    assert api.walk(data_selector="data.items", paginator="single_page", missing_data="empty") == []


NOTHING = [{"data": []}, {"data": None, "next": None, "total": 0}, {"data": {}, "next": None}, (204, b"")]


@pytest.mark.parametrize(
    ("selector", "body"),
    [(selector, body) for selector in ("data", "data[*]", None) for body in NOTHING] + [(None, b"null"), (None, [])],
)
def test_null_nothing_and_an_empty_list_are_empty_pages(api, body, selector):
    api.answer = lambda request: body
    assert api.walk(data_selector=selector) == []
    assert len(api.requests) == 1


NOT_SAID = [(200, b""), (200, b" \n"), (201, b""), (204, b""), (205, b""), (206, b"")]


@pytest.mark.parametrize("answer", NOT_SAID, ids=str)
@pytest.mark.parametrize("number", [1, 3])
def test_an_answer_without_a_body_does_not_say_that_there_are_no_rows(api, answer, number):
    """But for 204 and 205 to the first request, which say so."""
    good = numbered(9)
    api.answer = lambda request: answer if request.whole("page", 1) == number else good(request)
    if number == 1 and answer[0] in (204, 205):
        assert api.walk(paginator=PAGES) == []
    else:
        with pytest.raises(ResponseError, match=f"status {answer[0]} came without a body.*\n.*missing_data: empty"):
            api.walk(paginator=PAGES)
    assert len(api.walk(paginator=PAGES, missing_data="empty")) == (number - 1) * 2


@pytest.mark.parametrize(
    "broken", [b"", b'{"data": [{"id": 4}, {"i', b'{"data": [{"id"', b"null and void", b"\x00", b'[{"n": "Gr\xc3']
)
def test_what_is_no_whole_answer_is_asked_for_again(api, broken):
    good, seen = numbered(5), []

    def answer(request):
        seen.append(request.whole("page", 1))
        return broken if seen == [1, 2] else good(request)

    api.answer = answer
    client = api.client(retry={"attempts": 2, "backoff": 0})
    assert len([row for page in client.paginate("items", paginator=PAGES) for row in page]) == len(
        api.walk(paginator=PAGES)
    )
    assert seen[:4] == [1, 2, 2, 3]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<html>Please log in</html>", "Please log in"),
        (b"<?xml version='1.0'?><rows/>", "XML or other markup"),
        ('[{"n": "Größe"}]'.encode("latin-1"), "no valid UTF-8"),
    ],
)
def test_a_whole_answer_of_another_kind_is_not_asked_for_again(api, body, told):
    api.answer = lambda request: body
    with pytest.raises(ResponseError, match=told):
        list(api.client(retry={"attempts": 3, "backoff": 0}).paginate("items"))
    assert len(api.requests) == 1


@pytest.mark.parametrize("status", [300, 304, 305, 306, 310, 399, 400, 404])
@pytest.mark.parametrize("number", [1, 3])
def test_another_status_than_success_is_no_answer(api, status, number):
    good = numbered(9)
    body = b"" if status == 304 else {"data": []}
    api.answer = lambda request: (status, body) if request.whole("page", 1) == number else good(request)
    with pytest.raises(RequestError, match=f"status {status}"):
        api.walk(paginator=PAGES)
    empty = [{"status": status, "action": "empty"}]
    pages = list(api.client().paginate("items", paginator=PAGES, error_rules=empty))
    assert (sum(map(len, pages)), pages[-1].complete) == ((number - 1) * 2, True)
    ignored = list(
        api.client().paginate("items", paginator=PAGES, error_rules=[{"status": status, "action": "ignore"}])
    )
    assert (sum(map(len, ignored)), ignored[-1].complete) == ((number - 1) * 2, number == 1)


def test_what_a_rule_accepts_is_an_answer_whatever_its_status(api):
    api.answer = lambda request: (404, {"data": rows(1), "next": None})
    assert api.walk(error_rules=[{"status": 404, "action": "accept"}]) == rows(1)


@pytest.mark.parametrize("after", [None, "0.05"])
def test_what_is_not_ready_is_waited_for(api, after):
    seen = []

    def answer(request):
        seen.append(time.monotonic())
        return (202, {"Retry-After": after} if after else {}, {"data": []}) if len(seen) < 4 else {"data": rows(1)}

    api.answer = answer
    client = api.client(retry={"attempts": 1, "backoff": 0.05})
    assert [row for page in client.paginate("items") for row in page] == rows(1)
    assert seen[-1] - seen[0] >= 0.15
    api.answer = lambda request: (202, {"Retry-After": "30"}, b"")
    with pytest.raises(RequestError, match=r"(?s)asks to wait 30 s .status 202.*action: accept"):
        list(api.client(retry={"attempts": 1, "total": 20}).paginate("items"))


@pytest.mark.parametrize("after", [{}, {"Retry-After": "0.01"}])
def test_a_post_that_is_not_ready_is_not_sent_again_on_its_own(api, after):
    api.answer = lambda request: (202, after, {"job": 1})
    with pytest.raises(RequestError, match="idempotent"):
        api.walk(method="POST")
    assert len(api.requests) == 1


def test_html_with_status_200_is_one_clear_error(api):
    api.answer = lambda request: (200, {"Content-Type": "text/html"}, b"<html><body>Please log in</body></html>")
    with pytest.raises(ResponseError) as caught:
        api.walk()
    assert "log in" in str(caught.value).lower()


def test_an_error_status_in_mid_walk_is_an_error(api):
    good = numbered(5)
    api.answer = lambda request: (404, {"message": "gone"}) if request.whole("page", 1) == 3 else good(request)
    with pytest.raises(RequestError, match="404"):
        api.walk(paginator=PAGES)


def test_ignore_on_the_first_page_means_no_rows(api):
    api.answer = lambda request: (404, {"message": "no such repository"})
    pages = list(api.client().paginate("items", response_actions=[{"status_code": 404, "action": "ignore"}]))
    assert [page.records for page in pages] == [[]]
    assert pages[0].complete
    assert pages[0].next is None


def test_ignore_on_a_later_page_is_no_complete_walk(api):
    good = numbered(5)
    api.answer = lambda request: (404, {}) if request.whole("page", 1) == 3 else good(request)
    actions = [{"status_code": 404, "action": "ignore"}]
    pages = list(api.client().paginate("items", paginator=PAGES, response_actions=actions))
    assert [page.complete for page in pages] == [True, True, False]
    assert pages[-1].next is None
    assert "page 3 was ignored" in pages[-1].warnings[0]


def test_a_list_that_becomes_an_object_is_an_error(api):
    api.answer = lambda request: rows(1) if request.whole("page", 1) == 1 else {"message": "try later"}
    with pytest.raises(ResponseError, match="had a list"):
        api.walk(paginator=PAGES)
    with pytest.raises(ResponseError, match="had a list"):
        api.walk(paginator=PAGES, data_selector="$")


@pytest.mark.parametrize("odd", [{"id": 3}, {"message": "try later"}, "try later", 5, True, {"0": 1}], ids=str)
@pytest.mark.parametrize("selector", ["data", "$.data", None])
def test_where_lists_came_nothing_else_is_taken_for_a_record(api, odd, selector):
    api.answer = lambda request: {"data": rows(1, 2) if request.whole("page", 1) == 1 else odd}
    with pytest.raises(ResponseError, match="had a list"):
        api.walk(paginator=PAGES, data_selector=selector)


@pytest.mark.parametrize("selector", ["data", "data[*]", None])
def test_lists_that_php_wrote_as_objects_are_lists(api, selector):
    parts = [rows(1, 2), {"1": {"id": 4}, "0": {"id": 3}}, {"7": {"id": 5}, "12": {"id": 6}}, {}]
    api.answer = lambda request: {"data": parts[request.whole("page", 1) - 1], "next": None}
    if selector == "data[*]":  # takes the values as they come
        assert sorted(row["id"] for row in api.walk(paginator=PAGES, data_selector=selector)) == [1, 2, 3, 4, 5, 6]
    else:
        assert api.walk(paginator=PAGES, data_selector=selector) == rows(1, 2, 3, 4, 5, 6)


def test_objects_under_numbers_are_a_list_or_an_error_but_no_record(api):
    api.answer = lambda request: {"data": {"0": {"id": 1}, "2": {"id": 2}}, "next": None}
    assert api.walk(data_selector="data") == api.walk() == rows(1, 2)
    api.answer = lambda request: {"data": {"2023": {"n": 1}, "2024": {"n": 2}}, "next": None}
    with pytest.raises(ResponseError, match=r"a list with gaps, or a map.*\n.*'data\.\*'"):
        api.walk(data_selector="data")
    assert api.walk(data_selector="data.*") == [{"n": 1}, {"n": 2}]
    api.answer = lambda request: {"data": {"2023": 5, "2024": 6}, "next": None}
    assert api.walk(data_selector="data") == [{"2023": 5, "2024": 6}]


def test_nulls_among_records_are_counted_and_left_out(api):
    api.answer = lambda request: {"data": [{"id": 1}, None, {"id": 2}], "total": 3}
    (page,) = api.client().paginate("items")
    assert (page.records, page.elements, page.complete) == (rows(1, 2), 3, True)
    assert page.warnings == ("nulls in the list of rows were left out",)
    api.answer = lambda request: ["a", None]
    assert api.walk() == ["a", None]


# ---- totals ----------------------------------------------------------------------------------------------------
OFFSET = {"type": "offset", "limit": 2}


@pytest.mark.parametrize("total", [None, "missing", -1, "many", {"value": 5}, 10**400, "9" * 5000, True, 5.5])
def test_a_total_that_says_nothing_is_no_error(api, total):
    def answer(request):
        start = request.whole("offset", 0)
        body = {"data": rows(*range(start, min(5, start + 2)))}
        return body if total == "missing" else {**body, "total": total}

    api.answer = answer
    assert api.walk(paginator=OFFSET) == rows(0, 1, 2, 3, 4)
    assert api.asked("offset") == ["0", "2", "4", "5"]


@pytest.mark.parametrize("total", [5, "5", 5.0])
def test_a_total_ends_the_walk(api, total):
    api.answer = lambda request: {
        "data": rows(*range(request.whole("offset", 0), min(5, request.whole("offset", 0) + 2))),
        "total": total,
    }
    assert len(api.walk(paginator=OFFSET)) == 5
    assert api.asked("offset") == ["0", "2", "4"]
    assert api.asked("limit") == ["2", "2", "2"]


def test_a_capped_limit_loses_no_rows_and_is_warned_of_once(api):
    def answer(request):
        start, limit = request.whole("offset", 0), min(3, request.whole("limit", 0))
        return {"data": rows(*range(start, min(10, start + limit))), "total": 10}

    api.answer = answer
    pages = list(api.client().paginate("items", paginator={"type": "offset", "limit": 5}))
    assert [row["id"] for page in pages for row in page] == list(range(10))
    assert api.asked("offset") == ["0", "3", "6", "9"]
    warnings = [warning for page in pages for warning in page.warnings]
    assert len(warnings) == 1
    assert "3 rows where 5 were asked for" in warnings[0]


def test_a_capped_limit_without_total_is_warned_of_once_more_rows_come(api):
    def answer(request):
        start = request.whole("offset", 0)
        return {"data": rows(*range(start, min(7, start + 3)))}

    api.answer = answer
    pages = list(api.client().paginate("items", paginator={"type": "offset", "limit": 5}))
    assert [row["id"] for page in pages for row in page] == list(range(7))
    assert [len(page.warnings) for page in pages] == [0, 1, 0, 0]


def test_a_short_last_page_is_no_warning(api):
    api.answer = lambda request: {
        "data": rows(*range(request.whole("offset", 0), min(7, request.whole("offset", 0) + 5)))
    }
    pages = list(api.client().paginate("items", paginator={"type": "offset", "limit": 5}))
    assert [page.warnings for page in pages] == [(), (), ()]


@pytest.mark.parametrize("found", [True, False])
def test_rows_that_move_while_paging_are_warned_of(api, found):
    def answer(request):
        start = request.whole("offset", 0)
        ids = list(range(10)) if start == 0 else [99, *range(10)]  # a new row comes in at the head
        total = len(ids) if found else None
        return {"data": rows(*ids[start : start + 4]), "total": total, "rows_in_all": len(ids)}

    api.answer = answer
    path = "total" if found else "rows_in_all"
    pages = list(api.client().paginate("items", paginator={"type": "offset", "limit": 4, "total_path": path}))
    ids = [row["id"] for page in pages for row in page]
    assert ids == [0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9]  # 3 twice, 99 not at all, and yet as many as were told in the end
    assert "went from 10 to 11 while paging" in pages[-1].warnings[0]


def test_a_total_that_does_not_match_is_a_warning(api):
    api.answer = lambda request: {
        "data": rows(1, 2) if "cursor" not in request.query else rows(3),
        "total": 7,
        "cursors": {"next": None if "cursor" in request.query else "b"},
    }
    pages = list(api.client().paginate("items", paginator={"type": "cursor", "total_path": "total"}))
    assert pages[-1].warnings[0].startswith("the API tells of 7 rows, 3 came")
    assert "`on_short_total: ignore`" in pages[-1].warnings[0]
    assert pages[0].total == 7
    assert [page.complete for page in pages] == [True, False]
    client = api.client()
    cursor = {"type": "cursor", "total_path": "total"}
    ignored = list(client.paginate("items", paginator=cursor, on_short_total="ignore"))
    assert [(page.complete, page.warnings) for page in ignored] == [(True, ()), (True, ())]


def test_on_short_total_fail_refuses_a_total_that_does_not_match(api):
    api.answer = lambda request: {"data": rows(1, 2) if request.whole("offset", 0) == 0 else [], "total": 7}
    with pytest.raises(PagingError, match="empty, though the answer tells of 7 rows"):
        api.walk(paginator={**OFFSET, "total_path": "total"}, on_short_total="fail")
    with pytest.raises(PagingError, match="tells of 7 rows, 2 came"):
        api.walk(paginator=OFFSET, on_short_total="fail")
    api.answer = lambda request: {"count": 5, "next": None, "results": rows(1, 2)}
    with pytest.raises(PagingError, match="5 rows, 2 came"):
        api.walk(on_short_total="fail")


def test_a_total_is_looked_for_where_no_path_is_given(api):
    def answer(request):
        page = request.whole("page", 1)
        return {"count": 9, "next": "/items?page=2" if page == 1 else None, "results": rows(page, page + 10)}

    api.answer = answer
    pages = list(api.client().paginate("items"))
    assert "9 rows, 4 came" in pages[-1].warnings[0]
    api.answer = lambda request: {**answer(request), "count": 2}  # the rows of this page
    assert [page.warnings for page in api.client().paginate("items")] == [(), ()]


def test_one_page_of_many_that_no_paginator_was_found_for_is_warned_of(api):
    api.answer = lambda request: {"data": rows(*range(20)), "total": 250}
    (page,) = api.client().paginate("items")
    assert "was not recognised" in page.warnings[0]


def test_an_empty_page_that_says_more_follows_is_warned_of(api):
    api.answer = lambda request: {"data": rows(1) if request.whole("page", 0) == 0 else [], "more": True}
    paginator = {"type": "page_number", "total_path": None, "has_more_path": "more"}
    pages = list(api.client().paginate("items", paginator=paginator))
    assert "says that more follows" in pages[-1].warnings[0]


def test_has_more_without_a_next_cursor_is_an_error(api):
    api.answer = lambda request: {"data": rows(1), "more": True, "cursors": {"next": None}}
    with pytest.raises(PagingError, match="names none"):
        api.walk(paginator={"type": "cursor", "has_more_path": "more"})


@pytest.mark.parametrize("more", [None, "perhaps", {}])
def test_a_has_more_that_says_nothing_is_an_error(api, more):
    api.answer = lambda request: {"data": rows(1), "more": more}
    with pytest.raises(PagingError, match="has_more_path 'more'"):
        api.walk(paginator={"type": "page_number", "has_more_path": "more", "total_path": None})


def test_a_short_page_ahead_shows_that_the_others_are_elsewhere(api):
    def answer(request):
        start = request.whole("offset", 0)
        ids = list(range(20))
        del ids[9]  # gone once the walk has passed it
        shown = list(range(20)) if start < 8 else ids
        return {"data": rows(*shown[start : start + (3 if start == 12 else 4)]), "total": 20}

    api.answer = answer
    walk = api.client().walk("items", paginator={"type": "offset", "limit": 4})
    second = walk.page(walk.page().next)
    pages = [walk.page(state) for state in second.ahead]
    assert [page.fits for page in pages] == [True, False, False]
    assert [page.expected for page in pages] == [4, 4, 4]
    rest = list(walk.pages(pages[1].next))
    assert [row["id"] for page in rest for row in page] == [16, 17, 18, 19]


def test_neighbours_ahead_with_the_same_rows_are_an_error(api):
    def answer(request):
        page = request.whole("page", 1)
        return {"data": rows(min(page, 4), 100 + min(page, 4)), "pages": 9}

    api.answer = answer
    walk = api.client().walk("items", paginator={"type": "page_number", "base_page": 1, "total_path": "pages"})
    second = walk.page(walk.page().next)
    with pytest.raises(PagingError, match="same rows"):
        list(map(walk.page, second.ahead))


def test_a_function_alone_acts_on_every_answer_and_may_have_one_ignored(api):
    def drop(response):
        if response.json() == {"message": "gone"}:
            raise IgnoreResponse
        response._content = response.content.replace(b"id", b"key")

    good = numbered(9)
    api.answer = lambda request: {"message": "gone"} if request.whole("page", 1) == 3 else good(request)
    pages = list(api.client().paginate("items", paginator=PAGES, response_actions=[drop]))
    assert [[*page] for page in pages] == [[{"key": 2}, {"key": 3}], [{"key": 4}, {"key": 5}], []]
    assert [page.complete for page in pages] == [True, True, False]


def test_a_walk_stays_on_the_host_that_its_path_names(api):
    def answer(request):
        page = request.whole("page", 1)
        return {"data": rows(page), "next": "http://third.example/items" if page == 3 else f"/items?page={page + 1}"}

    api.answer = answer
    with RestClient("http://api.example") as client:
        pages = client.paginate(f"{api.url}/items", paginator="json_link")
        assert [[*next(pages)] for _ in range(3)] == [rows(1), rows(2), rows(3)]
        with pytest.raises(RequestError, match=r"would go to http://third\.example"):
            next(pages)
    assert [request.path for request in api.requests] == ["/items"] * 3


@pytest.mark.parametrize(
    ("count", "params", "full"),
    [
        (100, {}, True),
        (20, {}, True),
        (15, {}, False),
        (3, {}, False),
        (7, {"limit": 7}, True),
        (50, {"limit": 99}, True),
    ],
)
@pytest.mark.parametrize(
    "paginator", [{"type": "cursor", "cursor_path": "nxt"}, {"type": "json_link", "next_url_path": "nxt"}]
)
def test_a_place_that_was_in_no_answer_is_told_of_where_the_page_looks_full(api, paginator, count, params, full):
    api.answer = lambda request: {"data": rows(*range(count)), "marker": "abc"}
    (page,) = api.client().paginate("items", params=params, paginator=paginator)
    assert page.complete is not full
    assert ["'nxt' was in no answer" in warning for warning in page.warnings] == [True] * full
    api.answer = lambda request: {"data": rows(*range(count)), "nxt": None}
    (page,) = api.client().paginate("items", params=params, paginator=paginator)
    assert (page.complete, page.warnings) == (True, ())
