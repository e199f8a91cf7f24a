"""Which paginator an API needs, read from its first answer: dlt's order, and the ways of a few well-known schemes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dagster_restapi.config.jsonpath import MISSING
from dagster_restapi.http.origin import joined
from dagster_restapi.http.paginators import PageFacts, State, read_number
from dagster_restapi.http.select import Choice, key_path, keys_of
from dagster_restapi.http.signs import Keys, Sign, is_link, is_next, signs

if TYPE_CHECKING:
    from dagster_restapi.http.session import Call

_TOTAL_PAGES = ("total_pages", "pages", "totalpages")
_PAGE_KEYS = (
    "page",
    "current_page",
    "currentpage",
    "page_number",
    "pagenumber",
    "page_no",
    "pageno",
    "current",
    "number",
)
_TOTAL_ROWS = (
    "total", "total_count", "totalcount", "total_results", "totalresults", "total_items", "totalitems", "total_records",
    "totalrecords", "totalelements", "total_elements", "total_rows", "totalrows", "recordstotal", "count",
)  # fmt: skip
_TOTAL_NAMES = frozenset(_TOTAL_ROWS)
_TOTAL_HEADERS = (
    "x-total-count",
    "x-total",
    "x-wp-total",
    "x-total-results",
    "total-count",
    "x-pagination-total-count",
)
_ENVELOPES = ("meta", "_meta", "metadata", "pagination", "paging", "page", "pageinfo", "page_info", "response_metadata")
_CONTENT_RANGE = re.compile(r"\s*(?:[\w-]+\s+)?(?:\d+-\d+|\*)/(\d+)\s*")
_STATED = {  # names under which an answer repeats offset and limit -> names of the parameters
    ("startIndex", "itemsPerPage"): ("startIndex", "count", "totalResults"),  # SCIM: RFC 7644, 3.4.2.4
    ("startAt", "maxResults"): ("startAt", "maxResults", "total"),  # Jira
}


@dataclass(frozen=True, slots=True)
class Guess:
    """What a first answer suggests.

    Attributes:
        paginator: As a configuration.
        state: What the first page would have had under it.
        place: Where the answer suggests it; None: nothing in it suggests more than one page.
        sure: The place has one of the usual names. Otherwise it may be something else, as `nextBuildNumber` is.
    """

    paginator: dict[str, Any]
    state: State
    place: str | None
    sure: bool = True


def detect_paginator(facts: PageFacts, call: Call, choice: Choice | None) -> Guess:
    """The paginator of an API, from the answer to a request that asked for no page in particular.

    dlt's order (`rest_client.detector`): a `Link` header with rel=next; a key that begins with `next` and holds a URL;
    a number of pages; any other key that begins with `next`, as a cursor. Beyond dlt: links and cursors under their
    usual names come before others, OData's and FHIR's too; a link of another name counts only if it leads to the path
    that was asked; a cursor's parameter has the name that the cursor has. The number of the page that came is read from
    the call or the answer, since an API may count from 1; where neither tells, the walk finds out. An offset is guessed
    only where the answer repeats it as SCIM and Jira do.

    Args:
        choice: Where the records stand.
    """
    if facts.answer.links.get("next", {}).get("url"):
        return Guess({"type": "header_link"}, {}, "the Link header")
    body = facts.body if isinstance(facts.body, dict) else {}
    usual = [sign for sign in signs(facts, keys_of(choice) or ()) if sign.place.startswith("$")]
    others = [sign for sign in _other_next(body, ()) if not is_next(sign.key)]
    link = next((sign for sign in usual if sign.kind == "url"), None)
    near = next((sign for sign in others if sign.kind == "url" and _same_path(sign.value, facts)), None)
    if link or near:
        place = (link or near).place  # type: ignore[union-attr]
        return Guess({"type": "json_link", "next_url_path": place}, {}, place, sure=link is not None)
    pages = next(_total_pages(body, ()), None)
    if pages is not None:
        page, base = _page_that_came(body, pages, call)
        place = key_path(pages)
        return Guess(
            {"type": "page_number", "total_path": place, "base_page": base}, {"page": page, "base": base}, place
        )
    cursor = next((sign for sign in usual if sign.kind == "cursor"), None)
    odd = next((sign for sign in others if sign.kind == "cursor"), None)
    if cursor or odd:
        return _by_cursor(cursor or odd, sure=cursor is not None)  # type: ignore[arg-type]
    return _by_last_id(body) or _by_stated_offset(body, facts) or Guess({"type": "single_page"}, {}, None)


def detect_total(facts: PageFacts) -> str | None:
    """Where the answer to the first request tells the number of rows in all pages: a JSONPath, or a header's name.

    A number under a usual name counts if it is at least the number of elements on the page; `count` only if it is more,
    since at many APIs it is the number on the page. On an empty page 0 tells nothing.
    """
    if facts.items is None:
        return None
    if isinstance(facts.body, dict):
        envelopes = [((), facts.body)] + [
            ((key,), value)
            for key, value in facts.body.items()
            if key.lower() in _ENVELOPES and isinstance(value, dict)
        ]
        found = [
            (_TOTAL_ROWS.index(name), (*keys, key))
            for keys, envelope in envelopes
            for key, value in envelope.items()
            if (name := key.lower()) in _TOTAL_NAMES
            and (number := read_number(value)) is not None
            and _is_total(name, number, facts.items)
        ]
        if found:
            return key_path(min(found, key=lambda entry: entry[0])[1])
    return next((name for name in (*_TOTAL_HEADERS, "content-range") if read_total(facts, name) is not None), None)


def _is_total(name: str, number: int, items: int) -> bool:
    if name == "count":
        return number > items > 0
    return number >= max(items, 1)


def read_total(facts: PageFacts, place: str) -> int | None:
    """The number of rows in all pages, at a place that `detect_total` has found."""
    if place.startswith("$"):
        return read_number(facts.find(place))
    header = facts.answer.headers.get(place, "")
    match = _CONTENT_RANGE.fullmatch(header) if place == "content-range" else None
    return read_number(match[1] if match else header)


def _same_path(link: str, facts: PageFacts) -> bool:
    asked = facts.answer.url
    return urlsplit(joined(asked, link)).path == urlsplit(asked).path


def _other_next(body: dict[str, Any], at: Keys) -> Iterator[Sign]:
    """Keys that begin with `next` and hold a text or number, depth first; in an object its `href*` or `url*`."""
    for key, value in body.items():
        if key.lower().startswith("next"):
            if isinstance(value, dict):
                for inner, link in value.items():
                    if inner.lower().startswith(("href", "url")) and is_link(link):
                        yield Sign("url", key_path((*at, key, inner)), link, inner)
            elif isinstance(value, str | int | float) and not isinstance(value, bool) and value:
                yield Sign("url" if is_link(value) else "cursor", key_path((*at, key)), value, key)
        if isinstance(value, dict):
            yield from _other_next(value, (*at, key))


def _by_cursor(sign: Sign, *, sure: bool) -> Guess:
    """The parameter is called what the cursor is called, without `next`: `pageToken` for `nextPageToken`."""
    name = sign.key
    rest = re.sub(r"^_*next[_.-]?", "", name, flags=re.IGNORECASE) if name.lower().startswith(("next", "_")) else name
    param = rest[:1].lower() + rest[1:] if sure and rest else "cursor"
    return Guess({"type": "cursor", "cursor_path": sign.place, "cursor_param": param}, {}, sign.place, sure)


def _by_last_id(body: dict[str, Any]) -> Guess | None:
    """Stripe's lists: whether there is more, and the last row's id to go on after."""
    rows = body.get("data")
    if body.get("object") != "list" or not isinstance(body.get("has_more"), bool) or not isinstance(rows, list):
        return None
    if not rows or not isinstance(rows[-1], dict) or not isinstance(rows[-1].get("id"), str | int):
        return None
    paginator = {"cursor_path": "data[-1].id", "cursor_param": "starting_after", "has_more_path": "has_more"}
    return Guess({"type": "cursor", **paginator}, {}, "has_more")


def _by_stated_offset(body: dict[str, Any], facts: PageFacts) -> Guess | None:
    for (offset_key, limit_key), (offset_param, limit_param, total) in _STATED.items():
        offset, limit = read_number(body.get(offset_key)), read_number(body.get(limit_key))
        if offset is None or not limit or not facts.items:
            continue
        told = read_number(body.get(total))
        paginator = {
            "type": "offset",
            "offset": offset,
            "base_offset": 1 if offset_key == "startIndex" else 0,
            "limit": limit,
            "offset_param": offset_param,
            "limit_param": limit_param,
            "total_path": total if told is not None else None,
        }
        return Guess(paginator, {"offset": offset}, offset_key)
    return None


def _total_pages(body: dict[str, Any], at: Keys) -> Iterator[Keys]:
    for key, value in body.items():
        if key.lower() in _TOTAL_PAGES and read_number(value) is not None:
            yield (*at, key)
        if isinstance(value, dict):
            yield from _total_pages(value, (*at, key))


def _page_that_came(body: dict[str, Any], pages: Keys, call: Call) -> tuple[int, int]:
    """Number of the page that came, and number of the API's first page; 0 and 0 where nothing tells."""
    asked = read_number((call.params or {}).get("page", MISSING))
    if asked is not None:
        return asked, min(asked, 1)
    beside: Any = body
    for key in pages[:-1]:
        beside = beside[key]
    for place in (beside, body):
        for name in _PAGE_KEYS:
            for key, value in place.items():
                number = read_number(value) if key.lower() == name else None
                if number is not None:
                    return number, min(number, 1)
    return 0, 0
