"""How a described endpoint seems to page, from its parameters, its answer's fields and its headers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagster_restapi.cli.starter.openapi import Document, Shape, spell
from dagster_restapi.cli.starter.plan import Param
from dagster_restapi.config.naming import normalize

_PAGE = ("page", "page_number", "page_no", "page_num", "page_index", "pagenumber", "current_page", "p", "pg")
_SIZE = (
    "per_page", "perpage", "page_size", "pagesize", "limit", "page_limit", "max_results", "maxresults", "size",
    "results_per_page", "items_per_page", "max_items", "take", "top", "count", "num_results", "rows", "first",
)  # fmt: skip
_OFFSET = ("offset", "page_offset", "skip", "start", "start_at", "startat", "start_index", "startindex", "from")
_CURSOR = (
    "cursor", "page_token", "pagetoken", "next_token", "nexttoken", "next_page_token", "next_cursor", "page_cursor",
    "after_cursor", "continuation_token", "continuation", "starting_after", "page_after", "after", "start_cursor",
    "marker", "bookmark", "scroll_id", "next",
)  # fmt: skip
_NEXT_CURSOR = (
    "next_cursor", "next_page_token", "next_token", "nexttoken", "nextpagetoken", "next_page_cursor", "next_marker",
    "next_continuation_token", "continuation_token", "continuation", "end_cursor", "scroll_id", "bookmark", "next_page",
    "next", "after", "cursor",
)  # fmt: skip
_NEXT_LINK = ("next_url", "next_link", "next_page_url", "next_page_link", "next_href", "odata_next_link")
_TOTAL_PAGES = ("total_pages", "totalpages", "page_count", "pages", "last_page", "num_pages", "nb_pages")
_TOTAL_ROWS = (
    "total", "total_count", "totalcount", "total_results", "total_items", "total_records", "total_elements",
    "total_rows", "total_size", "count",
)  # fmt: skip
_HAS_MORE = ("has_more", "hasmore", "has_next", "has_next_page", "more", "more_results")
_LARGEST = 1000  # rows in a page that are asked for without being told to


@dataclass(frozen=True, slots=True)
class Paging:
    """A guess.

    Attributes:
        paginator: As in a configuration; None: there is no telling.
        comment: What led to it, or what is missing.
        params: Parameters that belong to the paging.
        size: The parameter for the page's size, with the value to ask for.
    """

    paginator: dict[str, Any] | None
    comment: str
    params: frozenset[str] = field(default_factory=frozenset)
    size: Param | None = None


def guess_paging(document: Document, queries: dict[str, Shape], answer: Shape, headers: Iterable[str]) -> Paging:
    """How an endpoint pages.

    Args:
        queries: Its query parameters.
        answer: The shape of its answer.
        headers: Names of the answer's headers.
    """
    facts = _Facts(document, queries, answer, frozenset(name.lower() for name in headers))
    ways = (_header_link, _marked_link, _cursor, _named_link, _last_id, _page_number, _offset)
    found = next(filter(None, (way(facts) for way in ways)), None)
    paginator, reason = found or (None, "")
    size = facts.param(_SIZE, numbers=True)
    mine = {name for name in (facts.param(_PAGE), facts.param(_OFFSET, numbers=True), facts.param(_CURSOR)) if name}
    if paginator is None:
        if facts.param(_CURSOR):
            reason = f"{facts.param(_CURSOR)!r} looks like a cursor, but where the next one stands is not described"
        elif not mine and not size:
            reason = "auto # no paging is described"
        else:
            reason = "auto # detection has to find it"
    sized = None if size is None or (paginator or {}).get("type") == "offset" else _page_size(size, queries[size])
    mine |= {size} if size else set()
    return Paging(paginator, reason, frozenset(mine), sized)


@dataclass(frozen=True, slots=True)
class _Facts:
    document: Document
    queries: dict[str, Shape]
    answer: Shape
    headers: frozenset[str]

    def param(self, names: Sequence[str], *, numbers: bool = False) -> str | None:
        """The first query parameter that has one of the names; the names' order decides."""
        spelled = {plain(name): name for name in reversed(self.queries)}
        for name in names:
            found = spelled.get(name)
            if found and (not numbers or not self.queries[found].kinds - {"integer", "number"}):
                return found
        return None

    def field(self, names: Sequence[str], kinds: set[str]) -> str | None:
        """The first field of the answer, beside its rows, that has one of the names and kinds."""
        found: dict[str, str] = {}
        for keys, shape in self.scalars():
            if not shape.kinds or shape.kinds & kinds:
                found.setdefault(plain(keys[-1]), spell(keys))
        return next((found[name] for name in names if name in found), None)

    def scalars(self) -> Iterator[tuple[tuple[str, ...], Shape]]:
        return self.document.scalars_in(self.answer)


Way = tuple[dict[str, Any], str] | None


def _header_link(facts: _Facts) -> Way:
    return ({"type": "header_link"}, "the answer has a Link header") if "link" in facts.headers else None


def _link_fields(facts: _Facts) -> Iterator[tuple[str, bool]]:
    """Fields that may hold the next page's URL, and whether the description says that they do."""
    for keys, shape in facts.scalars():
        if shape.kinds and "string" not in shape.kinds:
            continue
        name, above = plain(keys[-1]), [plain(key) for key in keys[:-1]]
        marked = shape.about.get("format") in ("uri", "url", "uri-reference") or str(
            shape.about.get("example", "")
        ).startswith(("http", "/"))
        inside = name in ("href", "url") and above[-1:] == ["next"]
        if inside or name in _NEXT_LINK or (name in ("next", "next_page") and (marked or "links" in above)):
            yield spell(keys), marked or inside


def _marked_link(facts: _Facts) -> Way:
    path = next((path for path, marked in _link_fields(facts) if marked), None)
    return ({"type": "json_link", "next_url_path": path}, f"{path} is a URL") if path else None


def _named_link(facts: _Facts) -> Way:
    path = next((path for path, _ in _link_fields(facts)), None)
    return ({"type": "json_link", "next_url_path": path}, f"{path} seems to be a URL") if path else None


def _cursor(facts: _Facts) -> Way:
    param, path = facts.param(_CURSOR), facts.field(_NEXT_CURSOR, {"string", "integer"})
    if not param or not path:
        return None
    options = {"type": "cursor", "cursor_path": path, "cursor_param": param}
    return _with_more(options, facts), f"parameter {param}, field {path}"


def _last_id(facts: _Facts) -> Way:
    """The next page begins behind the last row's id, as at Stripe."""
    param, more = facts.param(("starting_after",)), facts.field(_HAS_MORE, {"boolean"})
    rows = next((keys for keys, row in facts.document.lists_in(facts.answer) if "id" in row.fields), None)
    if not param or not more or not rows:
        return None
    options = {"type": "cursor", "cursor_path": f"{spell(rows)}[-1].id", "cursor_param": param, "has_more_path": more}
    return options, f"parameter {param} takes the last row's id"


def _page_number(facts: _Facts) -> Way:
    param = facts.param(_PAGE, numbers=True)
    if not param:
        return None
    about = facts.queries[param].about
    base = next((about[key] for key in ("default", "minimum") if about.get(key) in (0, 1)), 1)
    options: dict[str, Any] = {"type": "page_number", "base_page": int(base)}
    options |= {} if param == "page" else {"page_param": param}
    options["total_path"] = facts.field(_TOTAL_PAGES, {"integer", "number"})
    return _with_more(options, facts), f"parameter {param}"


def _offset(facts: _Facts) -> Way:
    param, size = facts.param(_OFFSET, numbers=True), facts.param(_SIZE, numbers=True)
    if not param or not size:
        return None
    options: dict[str, Any] = {"type": "offset", "limit": _page_size(size, facts.queries[size]).value}
    options |= {} if param == "offset" else {"offset_param": param}
    options |= {} if size == "limit" else {"limit_param": size}
    options["total_path"] = facts.field(_TOTAL_ROWS, {"integer", "number"})
    return _with_more(options, facts), f"parameters {param} and {size}"


def _with_more(options: dict[str, Any], facts: _Facts) -> dict[str, Any]:
    more = facts.field(_HAS_MORE, {"boolean"})
    return {**options, "has_more_path": more} if more else options


def _page_size(name: str, shape: Shape) -> Param:
    """The largest page that the API allows, as far as it says."""
    maximum, default = _whole(shape.about.get("maximum")), _whole(shape.about.get("default"))
    if maximum:
        return Param(name, min(maximum, _LARGEST), f"at most {maximum}")
    told = re.search(
        r"\b(?:max(?:imum)?|up to|at most)\D{0,12}(\d{2,4})\b", str(shape.about.get("description", "")), re.I
    )
    if told and 0 < int(told[1]) <= _LARGEST:
        return Param(name, int(told[1]), f"at most {told[1]}, as described")
    return Param(name, default or 100, "the API's default" if default else "a guess")


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def plain(name: str) -> str:
    """A name of a parameter or field for comparison: `page[number]`, `pageNumber` and `$pageNumber` are page_number."""
    words = re.sub(r"\W+", "_", name).strip("_")
    return re.sub(r"_+", "_", normalize(words)).strip("_") if words else ""
