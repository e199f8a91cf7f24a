"""How one page leads to the next: paginators without memory. A state goes in, the next one comes out, as JSON."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, overload
from urllib.parse import parse_qsl, unquote_plus, urlsplit, urlunsplit

from dagster_restapi.config import jsonpath
from dagster_restapi.config import paginators as settings
from dagster_restapi.config.jsonpath import MISSING
from dagster_restapi.errors import ConfigError, PagingError, RequestError
from dagster_restapi.http.origin import absolute, joined, query_names

if TYPE_CHECKING:
    from dagster_restapi.http.session import Answer, Call

State = dict[str, Any]
_TRUE, _FALSE = {"yes", "true", "t", "y", "1"}, {"no", "false", "f", "n", "0"}  # as dlt reads has_more


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What a paginator may know of an answer.

    Attributes:
        answer: Status, headers, links, and the URL it came from in the end.
        body: The decoded body; MISSING where there is none.
        items: How many elements the API itself counts on this page, whatever the selector makes of them; None where
            that cannot be told. Never None with an empty page.
    """

    answer: Answer
    body: Any
    items: int | None

    def find(self, path: str | None) -> Any:
        """The first match of a JSONPath in the body, or MISSING."""
        return MISSING if path is None or self.body is MISSING else jsonpath.first(path)(self.body)


@dataclass(frozen=True, slots=True)
class End:
    """The walk ends here.

    Attributes:
        short: Why this may not be all there is, where the answer itself says that more follows.
        chosen: The configuration's own maximum was reached: what may follow is not wanted.
        told: A flag that the configuration names says that nothing follows: links elsewhere in the answer do not count.
        sure: Where the walk has been tells that this is the end: neither do flags.
    """

    short: str | None = None
    chosen: bool = False
    told: bool = False
    sure: bool = False


@dataclass(frozen=True, slots=True)
class Total:
    """How much the API says there is, from where this walk began.

    Attributes:
        asked: The configuration says where it stands; else it was found under a usual name, and may be another number,
            such as that of the rows on this page.
        spare: How many more it may be, where it is not known from which number the API counts.
    """

    value: int
    unit: Literal["rows", "pages", "either"]
    asked: bool = True
    spare: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """Pages that a counter addresses without asking: what a paginator tells of the pages ahead.

    Attributes:
        key: The key of the paginator's state that counts.
        numbers: Its values, one a page.
        items: How many elements every page but the last must have.
        last: How many the last must have; None where that is not known.
    """

    key: str
    numbers: range
    items: int
    last: int | None = None


class Ahead(Sequence[State]):
    """The states of pages that may be fetched in any order: computed when asked for, never stored.

    Slices are of the same kind, so that pages can be fetched in blocks; `to_json` is a few lines whatever the length.

    Attributes:
        state: The walk's state at the first of these pages.
        span: What its paginator told.
        skipped: How many pages lie between `state` and the first page of this slice.
        expected: How many elements every page but the last must have.
    """

    __slots__ = ("expected", "skipped", "span", "state")

    def __init__(self, state: State, span: Span, skipped: int = 0) -> None:
        self.state, self.span, self.skipped = state, span, skipped
        self.expected = span.items

    def __len__(self) -> int:
        return len(self.span.numbers)

    @overload
    def __getitem__(self, index: int) -> State: ...
    @overload
    def __getitem__(self, index: slice) -> Ahead: ...
    def __getitem__(self, index: int | slice) -> State | Ahead:
        if isinstance(index, slice):
            return self._slice(*index.indices(len(self)))
        index = range(len(self))[index]
        behind = self.skipped + index
        at = {**self.state["at"], self.span.key: self.span.numbers[index]}
        expected = self.span.last if index == len(self) - 1 else self.span.items
        if behind:
            at.pop("short", None)
        state = {
            **self.state,
            "number": self.state["number"] + behind,
            "pages": self.state["pages"] + behind,
            "at": at if expected is None else {**at, "expected": expected},
        }
        if behind:  # the pages in between are not known: nothing can be said of the page before
            state.pop("last", None)
            state.pop("contents", None)
        if state.get("rows", 0) is not None:
            state["rows"] = self.state.get("rows", 0) + behind * self.span.items
        return state

    def _slice(self, start: int, stop: int, step: int) -> Ahead:
        if step != 1:
            raise ValueError("pages ahead are sliced in order, without gaps")
        last = self.span.last if stop >= len(self) else self.span.items
        numbers = self.span.numbers[start:stop]
        return Ahead(self.state, replace(self.span, numbers=numbers, last=last), self.skipped + start)

    def to_json(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        numbers = self.span.numbers
        return {
            "state": self.state,
            "key": self.span.key,
            "numbers": [numbers.start, numbers.stop, numbers.step],
            "items": self.span.items,
            "last": self.span.last,
            "skipped": self.skipped,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Ahead:
        """What `to_json` gave, in any process."""
        span = Span(data["key"], range(*data["numbers"]), data["items"], data["last"])
        return cls(data["state"], span, data["skipped"])


class Paginator(ABC):
    """A paging scheme. One instance serves any number of walks and threads: it keeps nothing between calls.

    Derive a scheme of your own from it and give it a name with `register_paginator`:

        class Since(Paginator):
            def first(self, call):
                return {"since": 0}
            def apply(self, call, state):
                return with_param(call, "since", state["since"])
            def advance(self, state, facts):
                return {"since": facts.body["last_id"]} if facts.items else None

    Attributes:
        stop_on_repeat: A page that names itself as the next one is the end, not an error.
        repeated_page: Whether a page may have the same rows as the one before it.
        takes_links: Whether a state's `url` may be relative to the URL of the call.
        by_position: Whether a page is asked for by where it stands, so that rows which come and go before it shift it.
        next_place: Where the configuration says that the answer names the next page, in words; None: nowhere, or where
            an answer without a next page has nothing.
    """

    next_place: str | None = None
    takes_links = False
    by_position = False
    stop_on_repeat = False
    repeated_page: Literal["fail", "allow"] = "fail"

    def first(self, call: Call) -> State:
        """The state that asks for the first page. JSON, as every state."""
        return {}

    @abstractmethod
    def apply(self, call: Call, state: State) -> Call:
        """The request of the page at `state`."""

    @abstractmethod
    def advance(self, state: State, facts: PageFacts) -> State | End | None:
        """The state of the page after this one, or the end (None is `End()`).

        Raises:
            PagingError: The answer does not say how to go on.
        """

    def token(self, state: State) -> Any:
        """What the API gave to ask for the page at `state`; the same twice is a walk in circles. None: a counter."""
        return state or None

    def ahead(self, state: State, facts: PageFacts) -> Span | None:
        """The pages from `state` on, as far as the answer before them tells of them."""
        return None

    def total(self, state: State, facts: PageFacts) -> Total | None:
        """How much there is in all, as this answer tells."""
        return None

    def names_next(self, facts: PageFacts) -> bool:
        """Whether the answer has anything at `next_place`, be it that there is none."""
        return True

    def remark(self, state: State, facts: PageFacts) -> str | None:
        """What a person should know of this page; said once in a walk."""
        return None

    def same_again(self, state: State) -> State | None:
        """The page at `state` has the content of the page before it: the state this page should have had, if that is
        how the API counts. None: no explanation."""
        return None


def with_param(call: Call, name: str, value: Any) -> Call:
    """The call with one query parameter set; one of that name that stands in the URL already is taken out of it."""
    parts = urlsplit(call.url)
    if parts.query:
        kept = [item for item in parts.query.split("&") if unquote_plus(item.partition("=")[0]) != name]
        call = replace(call, url=urlunsplit(parts._replace(query="&".join(kept))))
    return replace(call, params={**(call.params or {}), name: value})


def with_body(call: Call, path: str, value: Any) -> Call:
    """The call with one value set in its JSON body, at names joined by dots (dlt's `*_body_path`), or in its form."""
    if isinstance(call.data, Mapping):
        return replace(call, data={**call.data, path.removeprefix("$."): value})
    if call.data:
        raise ConfigError(
            f"a paginator cannot put {path!r} into a text body", hint="Give `data` as a mapping, or `json`."
        )
    body = copy.deepcopy(call.json) if call.json is not None else {}
    *outer, last = path.removeprefix("$.").split(".")
    at = body
    for name in outer:
        if isinstance(at, dict):
            at = at.setdefault(name, {})
    if not isinstance(at, dict):
        raise ConfigError(
            f"a paginator cannot put {path!r} into this JSON body", hint="Its path must lead along objects."
        )
    at[last] = value
    return replace(call, json=body)


def _place(call: Call, param: str, body_path: str | None, value: Any) -> Call:
    return with_body(call, body_path, value) if body_path else with_param(call, param, value)


def read_number(value: Any) -> int | None:
    """A count as APIs write it: 250, "250", 250.0. None: no count; -1 stands for unknown, and 10^15 is no count."""
    if isinstance(value, str) and len(value) < 30 and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**15 or value % 1:
        return None
    return int(value)


def _more(facts: PageFacts, path: str | None) -> bool | None:
    """What `has_more_path` says; None where none is configured. An empty page may leave it out."""
    value = facts.find(path)
    if path is None or (facts.items == 0 and value in (MISSING, None)):
        return None
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if value not in (MISSING, None) and text in _TRUE | _FALSE:
        return text in _TRUE
    told = "is not in the answer" if value in (MISSING, None) else "is neither true nor false in the answer"
    raise PagingError(f"has_more_path {path!r} {told}", hint="Correct the path, or leave has_more_path out.")


class SinglePage(Paginator):
    """One request, and no more."""

    def apply(self, call: Call, state: State) -> Call:
        return call

    def advance(self, state: State, facts: PageFacts) -> None:
        return None


class _Reference(Paginator):
    """What links and cursors have in common: the answer names the next page, or does not."""

    def __init__(
        self,
        config: settings.JSONLinkPaginator
        | settings.HeaderLinkPaginator
        | settings.HeaderCursorPaginator
        | settings.JSONResponseCursorPaginator,
    ) -> None:
        self.config = config
        self.stop_on_repeat, self.repeated_page = config.stop_on_repeat, config.repeated_page

    def advance(self, state: State, facts: PageFacts) -> State | End:
        config = self.config
        more = _more(facts, config.has_more_path)
        following = self.following(facts)
        if config.stop_after_empty_page and facts.items == 0:
            return End(short="an empty page says that more follows" if more else None)
        if more is False:
            return End(told=True)
        if following is None:
            if more:
                raise PagingError(
                    f"{config.has_more_path!r} says that more pages follow, but the answer names none",
                    hint=f"Check where the next page stands: {self.source}.",
                )
            return End()
        return following

    def total(self, state: State, facts: PageFacts) -> Total | None:
        value = read_number(facts.find(self.config.total_path))
        return None if value is None else Total(value, "rows")

    source = ""

    def following(self, facts: PageFacts) -> State | None:
        """The state that the answer names, or None."""
        raise NotImplementedError


class _Link(_Reference):
    """A link replaces the whole URL, query included; method, headers and body stay."""

    config: settings.JSONLinkPaginator | settings.HeaderLinkPaginator
    takes_links = True

    def apply(self, call: Call, state: State) -> Call:
        if not state:
            return call
        url = absolute(state["url"], call.url)
        named = query_names(url)  # links are kept without secrets: those go along again, unless the link has its own
        own = dict(parse_qsl(urlsplit(call.url).query)) | dict(call.params) if self.config.keep_params else {}
        along = {**own, **call.secret_params}
        return replace(call, url=url, params={k: v for k, v in along.items() if k not in named})

    def token(self, state: State) -> Any:
        return state.get("url")

    def _resolved(self, link: Any, facts: PageFacts) -> State | None:
        if link is MISSING or link is None or link is False or link == "":
            return None
        if not isinstance(link, str):
            raise PagingError(
                f"the next page's link is no text but {type(link).__name__} [{self.source}]",
                hint="Point the paginator at the URL itself, such as next_url_path: next.href.",
            )
        try:
            return {"url": joined(facts.answer.url, link.strip())}
        except RequestError as error:
            fault = error
        raise PagingError(fault.what, where=fault.where, hint=f"It is the next page's link: {self.source}.")


class JsonLink(_Link):
    """The URL of the next page stands in the body."""

    config: settings.JSONLinkPaginator

    @property
    def source(self) -> str:  # type: ignore[override]
        return f"next_url_path {self.config.next_url_path!r}"

    @property
    def next_place(self) -> str:  # type: ignore[override]
        return self.source

    def names_next(self, facts: PageFacts) -> bool:
        return facts.find(self.config.next_url_path) is not MISSING

    def following(self, facts: PageFacts) -> State | None:
        return self._resolved(facts.find(self.config.next_url_path), facts)


class HeaderLink(_Link):
    """The URL of the next page stands in the `Link` header."""

    config: settings.HeaderLinkPaginator

    @property
    def source(self) -> str:  # type: ignore[override]
        return f"Link header, rel={self.config.links_next_key!r}"

    def following(self, facts: PageFacts) -> State | None:
        return self._resolved(facts.answer.links.get(self.config.links_next_key.lower(), {}).get("url"), facts)


class HeaderCursor(_Reference):
    """The cursor of the next page stands in a header."""

    config: settings.HeaderCursorPaginator

    @property
    def source(self) -> str:  # type: ignore[override]
        return f"header {self.config.cursor_key!r}"

    def apply(self, call: Call, state: State) -> Call:
        return with_param(call, self.config.cursor_param, state["cursor"]) if state else call

    def token(self, state: State) -> Any:
        return state.get("cursor")

    def following(self, facts: PageFacts) -> State | None:
        cursor = facts.answer.headers.get(self.config.cursor_key)
        if cursor is None or (cursor == "" and self.config.empty_cursor == "end"):
            return None
        return {"cursor": cursor}


class BodyCursor(_Reference):
    """The cursor of the next page stands in the body."""

    config: settings.JSONResponseCursorPaginator

    @property
    def source(self) -> str:  # type: ignore[override]
        return f"cursor_path {self.config.cursor_path!r}"

    @property
    def next_place(self) -> str:  # type: ignore[override]
        return self.source

    def names_next(self, facts: PageFacts) -> bool:
        return facts.find(self.config.cursor_path) is not MISSING

    def apply(self, call: Call, state: State) -> Call:
        if not state:
            return call
        return _place(call, self.config.cursor_param or "cursor", self.config.cursor_body_path, state["cursor"])

    def token(self, state: State) -> Any:
        return state.get("cursor")

    def following(self, facts: PageFacts) -> State | None:
        cursor = facts.find(self.config.cursor_path)
        if not cursor and not (cursor == "" and self.config.empty_cursor == "send"):
            return None
        if isinstance(cursor, dict | list) and not self.config.cursor_body_path:
            raise PagingError(
                f"the cursor is {'an object' if isinstance(cursor, dict) else 'a list'} [{self.source}]",
                hint="Point cursor_path at the value inside it, or send it in the JSON body: `cursor_body_path`.",
            )
        return {"cursor": cursor}


class PageNumber(Paginator):
    """Pages by number. State: the page to ask for, and the number of the API's first page as far as it is known."""

    by_position = True

    def __init__(self, config: settings.PageNumberPaginator) -> None:
        self.config, self.repeated_page, self.stop_on_repeat = config, config.repeated_page, config.stop_on_repeat
        self._counts_pages = _is_asked(config)

    def first(self, call: Call) -> State:
        config = self.config
        return {"page": config.base_page if config.page is None else config.page, "base": config.base_page}

    def apply(self, call: Call, state: State) -> Call:
        return _place(call, self.config.page_param or "page", self.config.page_body_path, state["page"])

    def token(self, state: State) -> Any:
        return None

    def advance(self, state: State, facts: PageFacts) -> State | End:
        config, page, base = self.config, state["page"], state["base"]
        total, more = read_number(facts.find(config.total_path)), _more(facts, config.has_more_path)
        if config.stop_after_empty_page and facts.items == 0:
            missed = self._counts_pages and total is not None and base + (total == 1) <= page < base + total
            if missed:
                return End(short=f"page {page} is empty, though the answer tells of {total} pages")
            return End(short=f"page {page} is empty, but says that more follows" if more else None)
        if self._counts_pages and total is not None and page + 1 >= base + total:
            return End(short=f"page {page} is the last of {total}, but says that more follows" if more else None)
        if config.maximum_page is not None and page + 1 >= config.maximum_page:
            return End(chosen=True)
        if more is False:
            return End(told=True)
        _must_end(total, config.maximum_page, more, config.stop_after_empty_page)
        return {"page": page + 1, "base": base}

    def total(self, state: State, facts: PageFacts) -> Total | None:
        value = read_number(facts.find(self.config.total_path))
        skipped = 0 if self.config.page is None else self.config.page - self.config.base_page
        if value is None or (skipped and not self._counts_pages):
            return None
        return Total(value - skipped, "pages") if self._counts_pages else Total(value, "either", asked=False)

    def ahead(self, state: State, facts: PageFacts) -> Span | None:
        value, items = read_number(facts.find(self.config.total_path)), facts.items
        if not value or not items:
            return None
        pages = value if self._counts_pages else -(-value // items)  # the default `total` may count rows: the fewer
        stop = state["base"] + pages
        if self.config.maximum_page is not None:
            stop = min(stop, self.config.maximum_page)
        return Span("page", range(state["page"], stop), items) if stop - state["page"] > 1 else None

    def remark(self, state: State, facts: PageFacts) -> str | None:
        return _no_total(facts, self.config.total_path)

    def same_again(self, state: State) -> State | None:
        """Page 1 repeats page 0 where the API counts from 1 and takes 0 for 1."""
        return {"page": 1, "base": 1} if state["page"] == 1 and state["base"] == 0 else None


class Offset(Paginator):
    """Rows by offset and limit. The offset grows by what came, so that an API which caps `limit` loses nothing."""

    by_position = True

    def __init__(self, config: settings.OffsetPaginator) -> None:
        self.config, self.repeated_page, self.stop_on_repeat = config, config.repeated_page, config.stop_on_repeat
        self._asked = _is_asked(config)
        # Where nobody says from which number the API counts: as if from 1, so that the last row is asked for too.
        self._base = min(config.offset, 1) if config.base_offset is None else config.base_offset

    def first(self, call: Call) -> State:
        return {"offset": self.config.offset}

    def apply(self, call: Call, state: State) -> Call:
        config = self.config
        call = _place(call, config.offset_param or "offset", config.offset_body_path, state["offset"])
        return _place(call, config.limit_param or "limit", config.limit_body_path, config.limit)

    def token(self, state: State) -> Any:
        return None

    def advance(self, state: State, facts: PageFacts) -> State | End:
        config, offset = self.config, state["offset"]
        total, more = read_number(facts.find(config.total_path)), _more(facts, config.has_more_path)
        following = offset + (facts.items or config.limit)
        if config.stop_after_empty_page and facts.items == 0:
            if total is not None and offset < total + (config.base_offset or 0) and self._asked:
                return End(short=f"the page at offset {offset} is empty, though the answer tells of {total} rows")
            return End(short=f"the page at offset {offset} is empty, but says that more follows" if more else None)
        if self._asked and total is not None and following - self._base >= total:
            return End(short=f"all {total} rows have come, but the answer says that more follows" if more else None)
        if config.maximum_offset is not None and following >= config.maximum_offset:
            return End(chosen=True)
        if more is False:
            return End(told=True)
        _must_end(total, config.maximum_offset, more, config.stop_after_empty_page)
        short = {"short": facts.items} if facts.items and facts.items < config.limit else {}
        return {"offset": following, **short}

    def total(self, state: State, facts: PageFacts) -> Total | None:
        value = read_number(facts.find(self.config.total_path))
        if value is None:
            return None
        skipped, spare = self.config.offset - (self.config.base_offset or 0), int(self.config.base_offset is None)
        return Total(max(value - skipped, 0), "rows", self._asked, spare if self.config.offset else 0)

    def ahead(self, state: State, facts: PageFacts) -> Span | None:
        total, step = read_number(facts.find(self.config.total_path)), facts.items
        if not total or not step:
            return None
        maximum, stop = self.config.maximum_offset, total + self._base
        offsets = range(state["offset"], stop if maximum is None else min(stop, maximum), step)
        return Span("offset", offsets, step, min(step, stop - offsets[-1])) if len(offsets) > 1 else None

    def remark(self, state: State, facts: PageFacts) -> str | None:
        limit, items = self.config.limit, facts.items
        total = read_number(facts.find(self.config.total_path))
        more_follow = items and items < limit and total is not None and state["offset"] + items < total
        short = items if more_follow else items and state.get("short")
        if short:
            return f"the API gave {short} rows where {limit} were asked for, though more follow: went on after those"
        return _no_total(facts, self.config.total_path)


def _is_asked(config: settings.OffsetPaginator | settings.PageNumberPaginator) -> bool:
    """Whether the total is to end the walk: its place was given, or an empty page is not to."""
    given = "total_path" in config.model_fields_set or not config.stop_after_empty_page
    return given and config.total_path is not None


def _must_end(total: int | None, maximum: int | None, more: bool | None, stop_after_empty_page: bool) -> None:
    if total is None and maximum is None and more is None and not stop_after_empty_page:
        raise PagingError(
            "nothing says when this walk ends: the answer has no total",
            hint="Correct total_path, or set stop_after_empty_page, has_more_path or a maximum.",
        )


def _no_total(facts: PageFacts, path: str | None) -> str | None:
    value = facts.find(path)
    if value in (MISSING, None) or read_number(value) is not None or value == -1:
        return None
    return f"total_path {path!r} leads to no number: paging goes on without it"


_CLASSES: Mapping[type, type[Paginator]] = {
    settings.JSONLinkPaginator: JsonLink,
    settings.HeaderLinkPaginator: HeaderLink,
    settings.HeaderCursorPaginator: HeaderCursor,
    settings.JSONResponseCursorPaginator: BodyCursor,
    settings.OffsetPaginator: Offset,
    settings.PageNumberPaginator: PageNumber,
}


def build(config: Any) -> Paginator | None:
    """The paginator of a validated configuration; None for `auto`, which the first answer decides."""
    if isinstance(config, settings.AutoPaginator):
        return None
    if isinstance(config, settings.SinglePagePaginator):
        return SinglePage()
    if isinstance(config, settings.CustomPaginator):
        built: Paginator = config.build()
        return built
    paginator_class: Any = _CLASSES[type(config)]
    paginator: Paginator = paginator_class(config)
    return paginator
