"""One walk over a small API: rows in pages, a scheme that names the next page, and one answer that is odd."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Scheme = Literal[
    "pages", "pages of a total", "offset", "offset of a total", "link", "header", "cursor", "header cursor",
    "auto link", "auto header", "auto cursor", "auto pages", "auto odata", "auto odata 2", "auto hal", "auto fhir",
    "auto stripe", "auto scim", "auto jira", "auto spring",
]  # fmt: skip
SCHEMES: tuple[Scheme, ...] = Scheme.__args__  # type: ignore[attr-defined]
COUNTED = (
    "pages",
    "pages of a total",
    "offset",
    "offset of a total",
    "auto pages",
    "auto scim",
    "auto jira",
    "auto spring",
)
BLIND = ("pages", "offset")
"""Schemes whose answers say nothing of what follows: an empty page is their end."""

SIZE = 2
PAGINATORS: dict[str, Any] = {
    "pages": {"type": "page_number", "base_page": 1, "total_path": None},
    "pages of a total": {"type": "page_number", "base_page": 1, "total_path": "pages"},
    "offset": {"type": "offset", "limit": SIZE, "total_path": None},
    "offset of a total": {"type": "offset", "limit": SIZE, "total_path": "total"},
    "link": {"type": "json_link", "next_url_path": "paging.next"},
    "header": "header_link",
    "cursor": {"type": "cursor", "cursor_path": "after", "cursor_param": "after"},
    "header cursor": {"type": "header_cursor", "cursor_key": "X-After", "cursor_param": "after"},
}
LIST = {
    "auto odata": "value", "auto odata 2": "results", "auto hal": "items", "auto fhir": "entry",
    "auto scim": "Resources", "auto jira": "issues", "auto spring": "content",
}  # fmt: skip


@dataclass(frozen=True)
class Oddity:
    """What is odd about the answer for one page.

    Attributes:
        page: Which page, from 1 on.
        times: How often it comes; then the right answer does.
        status: In place of 200.
        body: A name out of `BODIES`.
        cut: Where a cut body ends, as a part of its length.
        headers: Further ones.
        interim: Statuses of answers on the way to the answer.
    """

    page: int = 1
    times: int = 1
    status: int = 200
    body: str = "right"
    cut: float = 0.5
    headers: tuple[tuple[str, str], ...] = ()
    interim: tuple[int, ...] = ()


@dataclass(frozen=True)
class World:
    """The API and the walk.

    Attributes:
        rows: How many there are.
        scheme: How a page names the next one, and how the walk is told of it.
        selector: Whether the walk is told where the rows are.
        sign: What the last page says of more to come, though its own scheme says that it is the last.
        total: How a total beside the rows is spelled.
        empty: The walk's `missing_data`.
    """

    rows: int = 5
    scheme: Scheme = "pages"
    selector: bool = True
    sign: str = "none"
    total: str = "none"
    empty: bool = False
    oddity: Oddity = field(default_factory=Oddity)

    @property
    def pages(self) -> int:
        return max(1, -(-self.rows // SIZE))


Body = Callable[[World, int, Any], Any]


def _list_place(world: World) -> str:
    return LIST.get(world.scheme, "data")


def _replaced(value: Any) -> Body:
    """The page with something else where the rows are."""

    def body(world: World, page: int, right: Any) -> Any:
        whole = json.loads(json.dumps(right))
        inner = whole["d"] if world.scheme == "auto odata 2" else whole
        inner = inner["_embedded"] if world.scheme == "auto hal" else inner
        inner[_list_place(world)] = value
        return whole

    return body


BODIES: dict[str, Body] = {
    "right": lambda world, page, right: right,
    "none": lambda world, page, right: b"",
    "blanks": lambda world, page, right: b" \r\n\t",
    "cut": lambda world, page, right: json.dumps(right).encode()[: int(len(json.dumps(right)) * world.oddity.cut)],
    "html": lambda world, page, right: b"<!doctype html><p>Maintenance</p>",
    "text": lambda world, page, right: b"upstream connect error",
    "null": lambda world, page, right: None,
    "{}": lambda world, page, right: {},
    "error": lambda world, page, right: {"error": {"code": 7, "message": "try later"}},
    "message": lambda world, page, right: {"message": "try later"},
    "rows null": _replaced(None),
    "rows text": _replaced("try later"),
    "rows number": _replaced(0),
    "rows object": _replaced({"message": "try later"}),
    "null for a row": lambda world, page, right: _replaced([None, *rows_of(world, page)[1:]])(world, page, right),
}
SIGNS: dict[str, dict[str, Any]] = {
    "none": {},
    "has_more": {"has_more": True},
    "hasMore": {"meta": {"hasMore": True}},
    "isLast": {"isLast": False},
    "last": {"last": False},
    "hasNextPage": {"pageInfo": {"hasNextPage": True}},
    "nextLink": {"nextLink": "/items?more=1"},
    "odata": {"@odata.nextLink": "/items?more=1"},
    "token": {"nextPageToken": "more"},
    "links": {"links": [{"rel": "self", "href": "/items"}, {"rel": "next", "href": "/items?more=1"}]},
    "hal": {"_links": {"next": {"href": "/items?more=1"}}},
    "total": {"total": 99},
    "total as text": {"meta": {"total_count": "99"}},
    "no more": {"has_more": False, "next_page_token": None, "hasNextPage": "false", "isLast": True, "next_link": ""},
    "other": {"nextBuildNumber": 9, "last_updated": False, "next_billing_date": "2024-02-01", "done_by": False},
}
HEADER_SIGNS = {"header total": ("X-Total-Count", "99"), "content-range": ("Content-Range", "items 0-1/99"),
                "header link": ("Link", '</items?more=1>; title="a, b"; Rel=NEXT')}  # fmt: skip
SAYS_MORE = frozenset((*SIGNS, *HEADER_SIGNS)) - {"none", "no more", "other"}


def rows_of(world: World, page: int) -> list[dict[str, Any]]:
    first = (page - 1) * SIZE
    return [{"id": number, "name": f"row {number}"} for number in range(first, min(first + SIZE, world.rows))]


def right(world: World, page: int) -> tuple[Any, dict[str, str]]:
    """Body and headers as the API means them."""
    rows, more = rows_of(world, page), page < world.pages
    following = f"/items?page={page + 1}"
    headers: dict[str, str] = {}
    body: dict[str, Any]
    match world.scheme:
        case "pages" | "offset":
            body = {"data": rows}
        case "pages of a total":
            body = {"data": rows, "pages": world.pages}
        case "offset of a total":
            body = {"data": rows, "total": world.rows}
        case "link":
            body = {"data": rows, "paging": {"next": following if more else None}}
        case "header" | "auto header":
            body = {"data": rows}
            headers = {"Link": f'<{following}>; rel="next", </items>; rel="first"'} if more else {}
        case "cursor":
            body = {"data": rows, "after": str(page + 1) if more else None}
        case "header cursor":
            body = {"data": rows}
            headers = {"X-After": str(page + 1)} if more else {}
        case "auto link":
            body = {"data": rows, "next": following if more else None}
        case "auto cursor":
            body = {"data": rows, "nextPageToken": str(page + 1) if more else None}
        case "auto pages":
            body = {"data": rows, "meta": {"page": page, "total_pages": world.pages}}
        case "auto odata":
            body = {"value": rows, **({"@odata.nextLink": following} if more else {})}
        case "auto odata 2":
            body = {"d": {"results": rows, **({"__next": following} if more else {})}}
        case "auto hal":
            body = {"_embedded": {"items": rows}, "_links": {"next": {"href": following}} if more else {}}
        case "auto fhir":
            link = [{"relation": "next", "url": following}] if more else []
            body = {"entry": rows, "link": [{"relation": "self", "url": "/items"}, *link]}
        case "auto stripe":
            body = {"object": "list", "has_more": more, "data": rows}
        case "auto scim":
            body = {
                "totalResults": world.rows,
                "startIndex": (page - 1) * SIZE + 1,
                "itemsPerPage": SIZE,
                "Resources": rows,
            }
        case "auto jira":
            body = {"startAt": (page - 1) * SIZE, "maxResults": SIZE, "total": world.rows, "issues": rows}
        case "auto spring":
            body = {"content": rows, "number": page - 1, "totalPages": world.pages, "last": not more}
    return {**body, **_told(world, rows)}, headers


def _told(world: World, rows: list[Any]) -> dict[str, Any]:
    """A total beside the rows, that nobody asked for."""
    match world.total:
        case "rows":
            return {"total_count": world.rows}
        case "text":
            return {"total_count": str(world.rows)}
        case "of the page":
            return {"count": len(rows)}
        case "unknown":
            return {"total_count": -1}
        case _:
            return {}


def page_asked(world: World, query: dict[str, str]) -> int:
    """Which page a request asks for."""
    match world.scheme:
        case "offset" | "offset of a total":
            return -(-int(query.get("offset", 0)) // SIZE) + 1
        case "auto scim":
            return -(-(int(query.get("startIndex", 1)) - 1) // SIZE) + 1
        case "auto jira":
            return -(-int(query.get("startAt", 0)) // SIZE) + 1
        case "auto stripe":
            return -(-(int(query["starting_after"]) + 1) // SIZE) + 1 if "starting_after" in query else 1
        case "auto spring":
            return int(query.get("page", 0)) + 1
        case "cursor" | "header cursor":
            return int(query.get("after", 1))
        case "auto cursor":
            return int(query["pageToken"]) if query.get("pageToken", "").isdigit() else 1
        case _:
            return int(query.get("page", 1))


@dataclass(frozen=True)
class Sent:
    """What goes over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes
    interim: tuple[int, ...] = ()


def sent(world: World, page: int, odd: bool) -> Sent:
    """The answer for a page: the right one, or the odd one."""
    body, headers = right(world, page)
    if page >= world.pages:
        body = {**body, **SIGNS.get(world.sign, {})}
        if world.sign in HEADER_SIGNS:
            name, value = HEADER_SIGNS[world.sign]
            headers = {**headers, name: value}
    if not odd:
        return Sent(200, headers, json.dumps(body).encode())
    oddity = world.oddity
    made = BODIES[oddity.body](world, page, body)
    data = made if isinstance(made, bytes) else json.dumps(made).encode()
    return Sent(oddity.status, {**headers, **dict(oddity.headers)}, data, oddity.interim)


# ---- the model: when may a walk end as complete ----------------------------------------------------------------------
def is_answer(world: World) -> bool | None:
    """Whether the odd answer is one: it has rows, or it says that it has none. None: that is left open here."""
    oddity = world.oddity
    if oddity.status in (204, 205):
        return oddity.page == 1 or world.empty
    if not 200 <= oddity.status < 300 or oddity.status == 202:
        return False
    match oddity.body:
        case "right" | "null for a row":
            return True
        case "none" | "blanks":
            return world.empty
        case "cut":
            return _is_json(sent(world, oddity.page, True).body)
        case "rows null":
            return True if world.selector or oddity.page > 1 else None
        case "rows text" | "rows number" | "rows object":
            return None if oddity.page == 1 else False
        case "message" | "null" | "{}":  # with `missing_data: empty` an answer without the rows' place is an empty page
            return None if oddity.page == 1 or world.empty else False
        case "error":
            return None if world.empty else False
        case _:
            return False


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def passes_by_itself(world: World) -> bool:
    """Whether another try of the same request may bring the right answer, so that it has to be made."""
    oddity = world.oddity
    if oddity.status in (202, 408, 425, 429) or oddity.status >= 500:
        return True
    if oddity.status in (204, 205):
        return True
    return 200 <= oddity.status < 300 and oddity.body in ("none", "blanks", "cut", "text")


def ids_that_come(world: World) -> list[list[int]]:
    """The ids that a complete walk may have brought: all of them, or those up to an answer that says it is the end."""
    oddity, pages = world.oddity, range(1, world.pages + 1)
    of = {page: [row["id"] for row in rows_of(world, page)] for page in pages}
    whole = [number for page in pages for number in of[page]]
    if not is_answer(world) or (oddity.body in ("right", "cut") and oddity.status not in (204, 205)):
        return [whole]
    before = [number for page in pages if page < oddity.page for number in of[page]]
    behind = [number for page in pages if page > oddity.page for number in of[page]]
    if oddity.body == "null for a row" and oddity.status not in (204, 205):
        return [whole, before + of.get(oddity.page, [])[1:] + behind]
    told = before if not _contradicted(world, len(before)) else whole
    names_next = oddity.body == "rows null" and oddity.status not in (204, 205) and world.scheme not in COUNTED
    names_next = names_next or world.scheme in ("header", "header cursor", "auto header")
    return [whole, before + behind if names_next else told]


def _contradicted(world: World, came: int) -> bool:
    """Whether a total that was told speaks against an end after so many rows."""
    oddity = world.oddity
    seen = oddity.page > 1 or (oddity.body == "rows null" and oddity.status not in (204, 205))
    if world.scheme in ("pages of a total", "auto pages", "auto spring"):
        return seen and oddity.page < world.pages
    by_rows = world.total in ("rows", "text") or world.scheme in ("offset of a total", "auto scim", "auto jira")
    return seen and by_rows and came < world.rows


def ends_with_a_sign(world: World, pages_walked: int, *, odd: bool) -> bool:
    """Whether the answer that ended the walk says that more follows.

    Args:
        odd: Whether that is the odd answer.
    """
    if world.sign not in SAYS_MORE or pages_walked < world.pages:
        return False
    if world.sign in _TOTALS and (world.total in ("rows", "text") or world.scheme in _WITH_TOTAL):
        return False  # the first total counts: another one beside it counts something else
    in_body = world.oddity.body in ("right", "rows null", "null for a row") and world.oddity.status not in (204, 205)
    if odd and not in_body and world.sign not in HEADER_SIGNS:
        return False
    if odd and (not in_body or world.oddity.body == "rows null"):
        return world.sign not in _LINKS
    if world.sign in _LINKS and world.scheme.startswith("auto"):
        return False  # it was followed, or is
    empty = world.rows == 0 or world.scheme in BLIND
    return not (empty or world.scheme == "auto stripe") or world.sign not in _LINKS


_TOTALS = frozenset(("total", "total as text", "header total", "content-range"))
_WITH_TOTAL = ("pages of a total", "offset of a total", "auto pages", "auto scim", "auto jira", "auto spring")
_LINKS = frozenset(("nextLink", "odata", "token", "links", "hal", "header link"))
"""Signs that an empty page, or one with `has_more: false`, may have for other reasons."""


def random_world(random_: random.Random) -> World:
    """Any of them."""
    rows = random_.choice((0, 1, 2, 3, 4, 5, 6, 7))
    world = World(
        rows=rows,
        scheme=random_.choice(SCHEMES),
        selector=random_.random() < 0.5,
        sign=random_.choice((*(["none"] * 12), *SIGNS, *HEADER_SIGNS)),
        total=random_.choice(("none", "none", "rows", "text", "of the page", "unknown")),
        empty=random_.random() < 0.15,
    )
    if random_.random() < 0.2:
        return world
    body = random_.choice(tuple(BODIES)) if random_.random() < 0.7 else "right"
    status = random_.choice((*([200] * 4), *_STATUSES)) if random_.random() < 0.7 or body == "right" else 200
    headers = random_.choice(((), (), (("Retry-After", random_.choice(_AFTER)),), (("Content-Type", "text/html"),)))
    interim = random_.choice(((), (), (), (100,), (103,), (102, 103), (100, 103, 100)))
    oddity = Oddity(
        page=random_.randint(1, world.pages + (world.scheme in BLIND)),
        times=random_.choice((1, 1, 99)),
        status=status,
        body=body,
        cut=random_.random(),
        headers=headers,
        interim=interim,
    )
    return World(**{**world.__dict__, "oddity": oddity})


_STATUSES = (
    201, 202, 203, 204, 205, 206, 207, 226, 299, 300, 301, 302, 303, 304, 305, 306, 307, 308, 310, 399, 400, 401, 403,
    404, 405, 408, 409, 410, 418, 422, 425, 429, 451, 499, 500, 501, 502, 503, 504, 507, 511, 520, 522, 599, 600, 700,
    999,
)  # fmt: skip
_AFTER = ("0", "0.001", "-5", "Wed, 21 Oct 2015 07:28:00 GMT", "soon", "")
