"""Walks the pages of one endpoint: each page once, to a known end or an error, and from any page on in any process."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import count
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec

from dagster_restapi.config import paginators as settings
from dagster_restapi.config.jsonpath import MISSING
from dagster_restapi.errors import PagingError, RequestError, ResponseError, RestApiError
from dagster_restapi.http.circles import Trail, fingerprint, fingerprint_of_page
from dagster_restapi.http.detect import detect_paginator, detect_total, read_total
from dagster_restapi.http.faults import Fault
from dagster_restapi.http.origin import relative
from dagster_restapi.http.paginators import Ahead, End, PageFacts, Paginator, State, Total, build
from dagster_restapi.http.select import Choice, Selection, keys_of, select
from dagster_restapi.http.signs import signs

if TYPE_CHECKING:
    from dagster_restapi.config.client import RetryConfig
    from dagster_restapi.http.rules import AnyRule
    from dagster_restapi.http.session import Answer, Call, Session

_EMPTY_PAGES = 1000  # in a row, before a walk counts as endless
_COMPARED = 64  # records of a page, where it is to be told from another that may have changed
_NEARBY = 256  # pages fetched out of order whose content is kept for comparison


@dataclass(frozen=True, slots=True)
class Page:
    """One page of records. Iterable and sized over them.

    Attributes:
        records: As the API sent them: objects, or whatever stands in its list.
        number: 1 for the walk's first page.
        next: The state of the page after this one: JSON, and all that a walk in another process needs to go on there.
            None: the walk ends here. On the last page of a walk cut off by `max_pages` it is not None.
        ahead: The states of further pages, in order, where the API tells how many there are: `Walk.page` may fetch them
            in any order. The first is the page after this one. It is offered once two pages have shown that the API
            heeds the page asked for.
        expected: How many elements this page must have for the pages after it to be where `ahead` says. With fewer, go
            on from this page's `next`. `elements` says how many it has.
        elements: How many the API counts on this page; None where a selector hides it.
        total: Number of rows in all pages, as the API tells it.
        total_pages: Number of pages, as the API tells it.
        bytes: Size of the body.
        complete: False where an `ignore` rule cut the walk short, or where it ended though the answer says that more
            follows.
        warnings: What a person should know.
        url: Where the page came from, secrets masked.
        content: Fingerprint of the records, where two pages in a row may not be the same.
        by_position: Further pages are asked for by where they stand: what is added or removed before them shifts them.
    """

    records: list[Any]
    number: int
    next: State | None = None
    ahead: Ahead | None = None
    expected: int | None = None
    elements: int | None = None
    total: int | None = None
    total_pages: int | None = None
    bytes: int = 0
    complete: bool = True
    warnings: tuple[str, ...] = ()
    url: str = ""
    content: str | None = None
    by_position: bool = False

    def __iter__(self) -> Iterator[Any]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def fits(self) -> bool:
        """Whether the pages after this one are where `ahead` said."""
        return self.expected is None or self.elements == self.expected


class _Position(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Between two pages: what `Page.next` holds, as JSON."""

    number: int = 1  # of the page to fetch
    at: dict[str, Any] | None = None  # the paginator's own state; None: ask it for the first
    paginator: dict[str, Any] | None = None  # as detected; None: as configured
    guess: str | None = None  # the place in the first answer that suggested the paginator
    sure: bool = True  # that place has a usual name
    choice: Choice | None = None
    total_path: str | None = None  # as detected: a JSONPath or a header
    told: Total | None = None  # the newest total
    told_first: int | None = None
    rows: int | None = 0  # elements so far; None: a page could not be counted
    pages: int = 0  # pages so far, those that were only repeated left out
    last: str | None = None  # fingerprint of the page before
    first: tuple[str, ...] = ()  # of records of the first page, while a guess has yet to prove itself
    tokens: Trail = Trail()
    contents: Trail = Trail()
    empty: int = 0  # empty pages in a row
    seen: bool = False  # the configured place of the next page was in an answer
    said: bool = False  # the paginator's remark


@dataclass(frozen=True, slots=True)
class _Memory:
    """What a running walk remembers beyond its position: a longer trail."""

    tokens: set[str] = field(default_factory=set)
    contents: set[str] = field(default_factory=set)


class Walk:
    """The pages of one endpoint. It keeps no position of its own: threads may share it.

    Args:
        session: Sends the requests.
        call: The request, without paging.
        paginator: As `config.paginators.parse_paginator` gives it; None: `auto`.
        data_selector: JSONPath of the records; None: found on the first page.
        rules: Response actions and error rules, for `Session.send`.
        missing_data: What an answer without the data path is: an error (default), or an empty page.
        on_short_total: What it means that an answer tells of more than came, by a total, a flag or a link: a warning on
            a page that is not complete (default), an error, or nothing.
        retry: Overrides the client's retry settings.
        key: Fields that tell records apart (the resource's primary key): pages with the same keys are the same page,
            though a time stamp or a signed link in them may differ.
        where: Names the resource in errors.
    """

    def __init__(
        self,
        session: Session,
        call: Call,
        *,
        paginator: Any = None,
        data_selector: str | None = None,
        rules: Sequence[AnyRule] = (),
        missing_data: Literal["fail", "empty"] | None = None,
        on_short_total: Literal["warn", "fail", "ignore"] | None = None,
        retry: RetryConfig | None = None,
        key: Sequence[str] = (),
        where: str = "",
    ) -> None:
        self._session, self._call, self._rules, self._retry = session, call, tuple(rules), retry
        self._key = tuple(key)
        self._paginator = build(paginator) if paginator is not None else None
        self._repeated_page = paginator.repeated_page if isinstance(paginator, settings.AutoPaginator) else "fail"
        self._selector = data_selector
        self._missing_data: Literal["fail", "empty"] = missing_data or "fail"
        self._on_short_total: Literal["warn", "fail", "ignore"] = on_short_total or "warn"
        self._where, self._nearby, self._lock = where, dict[int, str](), threading.Lock()

    def pages(self, state: State | None = None, max_pages: int | None = None) -> Iterator[Page]:
        """The pages in order.

        Args:
            state: `Page.next` of an earlier walk over the same endpoint; None: from the first page.
            max_pages: How many pages to fetch at the most, from `state` on.

        Raises:
            PagingError: The walk would not end, or the answers contradict each other.
            ResponseError: An answer is not what it must be.
            RequestError: A request was not answered.
        """
        position, memory = _read(state), _Memory()
        for _ in count() if max_pages is None else range(max_pages):
            page = self._fetch(position, memory)
            yield page
            if page.next is None:
                return
            position = _read(page.next)

    def page(self, state: State | None = None) -> Page:
        """One page by its state: `Page.next`, or one of `Page.ahead`. Raises what `pages` raises.

        Pages ahead are compared with their neighbours as far as this object has fetched those; the rest can be told
        from `Page.content`.
        """
        position = _read(state)
        page = self._fetch(position, None)
        if page.content is not None and position.number > 1:
            if position.last is None and page.content in map(self._nearby.get, (page.number - 1, page.number + 1)):
                raise PagingError(SAME_ROWS, where=f"{self._where}, page {page.number}, {page.url}", hint=SAME_PAGE)
            with self._lock:
                self._nearby[page.number] = page.content
                if len(self._nearby) > _NEARBY:
                    del self._nearby[next(iter(self._nearby))]
        return page

    def _fetch(self, position: _Position, memory: _Memory | None) -> Page:
        where = ", ".join(filter(None, (self._where, f"page {position.number}")))
        paginator = self._paginator
        if position.paginator is not None:
            paginator = build(settings.parse_paginator(position.paginator))
        at = position.at
        if at is None:
            at = paginator.first(self._call) if paginator else {}
        request = paginator.apply(self._call, at) if paginator else self._call
        try:
            facts, selection = self._asked(request, position, where)
        except RestApiError as error:
            if position.guess is None or position.pages != 1:
                raise
            fault: RestApiError = error
        else:
            return self._arrived(position, paginator, at, facts, selection, memory, where)
        return self._taken_back(fault, position)

    def _asked(self, request: Call, position: _Position, where: str) -> tuple[PageFacts | None, Selection]:
        """The answer to a request, and the records in it; no answer where a rule says to ignore it."""
        answer = self._session.send(
            request, rules=self._rules, retry=self._retry, where=where, fault_in=partial(self._not_whole, position)
        )
        if answer is None:
            return None, Selection([], 0, position.choice)
        where = f"{where}, {answer.safe_url}"
        if answer.status == 304 and not answer.empty:
            raise ResponseError(
                "status 304: the API keeps its rows to itself, as they have not changed",
                where=where,
                hint="Leave If-None-Match and If-Modified-Since out of `headers`: a sensor sends them by itself.",
            )
        body = MISSING if answer.empty or not _has_body(answer) else answer.json()
        choice = position.choice or (Choice(self._selector) if self._selector else None)
        selection = select(body, choice, missing_data=self._missing_data, where=where)
        return PageFacts(answer, body, selection.items), selection

    def _not_whole(self, position: _Position, answer: Answer) -> Fault | None:
        """Why an answer says neither what rows there are nor that there are none: it is asked for once more."""
        if answer.empty:
            return None
        if _has_body(answer):
            try:
                answer.json()
            except ResponseError as error:
                return Fault(error.what, error.hint, transient=error.transient, broken=True)
            return None
        said = answer.status in (204, 205) and position.number == 1
        if said or self._missing_data == "empty":
            return None
        return Fault(
            f"status {answer.status} came without a body: it does not say that there are no rows",
            "If that is how the API says it, set `missing_data: empty`, or an error rule with `action: empty`.",
            broken=True,
        )

    def _arrived(
        self,
        position: _Position,
        paginator: Paginator | None,
        at: State,
        facts: PageFacts | None,
        selection: Selection,
        memory: _Memory | None,
        where: str,
    ) -> Page:
        if facts is None:
            return _ignored(position)
        where = f"{where}, {facts.answer.safe_url}"
        if paginator is None:
            guess = detect_paginator(facts, self._call, selection.choice)
            at = guess.state
            allowed = {"repeated_page": "allow"} if self._repeated_page == "allow" else {}
            config = settings.parse_paginator({**guess.paginator, **allowed})
            paginator = build(config)
            assert paginator is not None
            found = config.model_dump(exclude_unset=True)
            position = msgspec.structs.replace(position, paginator=found, guess=guess.place, sure=guess.sure)
        try:
            arrived = _Arrived(
                position, paginator, at, facts, selection, self._on_short_total, self._kept_url, self._key
            )
            return arrived.page(memory)
        except PagingError as error:
            fault = error
        placed = PagingError(fault.what, where=fault.where or where, hint=fault.hint)
        raise placed.advised(_named(position)) if position.pages <= 1 else placed

    def _taken_back(self, fault: RestApiError, position: _Position) -> Page:
        """The page that a guess asked for cannot be had: where the guess was a wild one, it is taken back.

        Raises:
            RestApiError: The fault, with the guess named.
        """
        status = fault.status if isinstance(fault, RequestError) else None
        if not position.sure and (isinstance(fault, PagingError) or (status is not None and 400 <= status < 429)):
            return Page([], position.number, elements=0, warnings=(_wrong_guess(position),))
        raise fault.advised(_named(position))

    def _kept_url(self, url: str, paginator: Paginator) -> str:
        """A link as a state may hold it: without secrets in its query, and without those in the path that we asked."""
        bare = self._session.bare_url(url, self._call)
        return relative(bare, self._call.url) if paginator.takes_links else bare


@dataclass(frozen=True)
class _Arrived:
    """One page that has come, on its way to becoming a `Page`."""

    position: _Position
    paginator: Paginator
    at: State
    facts: PageFacts
    selection: Selection
    on_short_total: Literal["warn", "fail", "ignore"]
    kept_url: Callable[[str, Paginator], str]
    key: tuple[str, ...]

    @cached_property
    def content(self) -> str | None:
        """Fingerprint of the records; None without any, or where pages may repeat."""
        records = self.selection.records
        if not records or self.paginator.repeated_page != "fail":
            return None
        return fingerprint_of_page(_keys(records, self.key))

    def page(self, memory: _Memory | None) -> Page:
        position, items = self.position, self.selection.items
        records, at, warnings = self.selection.records, self.at, list[str]()
        content = self.content
        if self.selection.nulls:
            warnings.append("nulls in the list of rows were left out")
        same = content is not None and content == position.last
        if same or self._is_first_again:
            corrected = self.paginator.same_again(at)
            if self.paginator.stop_on_repeat:
                return self._page([], End(sure=True), position, warnings)
            if (corrected is None or not same) and position.guess and position.pages == 1:
                short = f"{_wrong_guess(position)}, and more may follow" if position.sure else None
                return self._page([], End(short, sure=True), position, [] if short else [_wrong_guess(position)])
            if corrected is None:
                raise PagingError(SAME_ROWS, hint=SAME_PAGE)
            warnings.append("pages 0 and 1 are the same page, taken once: this API counts from 1 (set base_page: 1)")
            at, records, items = corrected, [], 0
        remark = None if position.said else self.paginator.remark(at, self.facts)
        total_path = position.total_path
        if total_path is None and self._data is not None:
            total_path = detect_total(self.facts)
        told = self._total(at, total_path) or position.told
        after = msgspec.structs.replace(
            position,
            number=position.number + 1,
            choice=self.selection.choice,
            total_path=total_path,
            told=told,
            told_first=told.value if told and position.told_first is None else position.told_first,
            rows=None if position.rows is None or items is None else position.rows + items,
            pages=position.pages + (at is self.at),
            last=content,
            first=self._fingerprints if self._has_to_prove_itself else (),
            empty=position.empty + 1 if self.selection.items == 0 else 0,
            seen=position.seen or self.paginator.names_next(self.facts),
            said=position.said or remark is not None,
        )
        warnings += [remark] if remark else []
        end = self.paginator.advance(at, self.facts) or End()
        if not isinstance(end, End) and not self._all_came(after):
            return self._go_on(records, at, end, after, memory, warnings)
        return self._page(records, end if isinstance(end, End) else End(), after, warnings)

    @property
    def _data(self) -> tuple[str | int, ...] | None:
        """The keys of the records in the body; None where the whole body is one."""
        keys = keys_of(self.selection.choice)
        return () if keys is None and not self.selection.records else keys

    @property
    def _has_to_prove_itself(self) -> bool:
        """Whether the next page is asked for by a parameter that an API may not know: a link is its own word."""
        return self.position.number == 1 and bool(self.position.guess) and not self.paginator.takes_links

    @cached_property
    def _fingerprints(self) -> tuple[str, ...]:
        """Of the keys of some records, else of their ids, where those are all different; none otherwise."""
        records = self.selection.records[:_COMPARED]
        keys = _keys(records, self.key or ("id",))
        found = tuple(map(fingerprint, keys)) if keys is not records else ()
        return found if len(set(found)) == len(found) else ()

    @property
    def _is_first_again(self) -> bool:
        """Whether the page that a guess has brought is the first one, though some of its records have changed."""
        first = self.position.first
        if not first or self.selection.items != self.position.rows:  # so far, those of the first page
            return False
        again = set(self._fingerprints)
        return 2 * len(again.intersection(first)) >= min(len(first), len(again)) > 0

    def _all_came(self, after: _Position) -> bool:
        """Whether a counter may end at a total that nobody has vouched for: it may be that of the rows on this page.

        It cannot be where it is the number of the rows on several pages, or of one that is not full.
        """
        told = after.told
        if told is None or told.asked or not self.paginator.by_position or after.rows != told.value:
            return False
        return after.pages > 1 or not _may_be_full(self.selection.items, self.facts.answer.url, _ROUND_SIZES)

    def _total(self, at: State, total_path: str | None) -> Total | None:
        told = self.paginator.total(at, self.facts)
        if told is None and total_path is not None:
            value = read_total(self.facts, total_path)
            told = None if value is None else Total(value, "either", asked=False)
        return told

    def _go_on(
        self,
        records: list[Any],
        at: State,
        following: State,
        after: _Position,
        memory: _Memory | None,
        warnings: list[str],
    ) -> Page:
        """Another page is named. Is it one where the walk has not been?"""
        if isinstance(following.get("url"), str):  # an API may echo credentials in its links: the state holds none
            following = {**following, "url": self.kept_url(following["url"], self.paginator)}
        token = self.paginator.token(following)
        if token is not None:
            step, known = fingerprint(token), memory.tokens if memory else None
            if after.tokens.knows(step, known):
                return self._page(records, self._repeated(at, token, after), after, warnings)
            after = msgspec.structs.replace(after, tokens=after.tokens.extended(step, known))
        before = self.position.last
        if after.last is not None and before is not None and after.last != before:
            step, known = fingerprint((before, after.last)), memory.contents if memory else None
            if after.contents.knows(step, known):
                raise PagingError("the pages come round again: two in a row were here before", hint=SAME_PAGE)
            after = msgspec.structs.replace(after, contents=after.contents.extended(step, known))
        if after.empty > _EMPTY_PAGES:
            raise PagingError(
                f"{_EMPTY_PAGES} empty pages in a row", hint="Set stop_after_empty_page on the paginator."
            )
        after = msgspec.structs.replace(after, at=following)
        choice = self.selection.choice
        if self.position.number == 1 and choice and choice.detected and choice.path == "$" and not choice.listed:
            warnings.append("no list was found in the answer, so each page is one row: set data_selector")
        return self._page(records, after, after, warnings)

    def _repeated(self, at: State, token: Any, after: _Position) -> End:
        """The next page was asked for before: the end if this one is empty or names itself, else a circle."""
        told, itself = after.told, token == self.paginator.token(at)
        all_came = told is not None and told.unit != "pages" and after.rows is not None and after.rows >= told.value
        if self.selection.items == 0 or (itself and (all_came or self.paginator.stop_on_repeat)):
            return End(sure=True)
        raise PagingError(
            "the answer names a next page that was fetched already, though this one has rows",
            hint="The API pages in circles. If it ends by naming the last page again, set `stop_on_repeat: true`.",
        )

    def _page(self, records: list[Any], step: _Position | End, after: _Position, warnings: list[str]) -> Page:
        """The finished page. At the end, what came is compared with what was told."""
        told, following, ahead, complete = after.told, None, None, True
        if not isinstance(step, End):
            following, ahead = _write(step), self._ahead(step)
        elif not step.chosen and self.on_short_total != "ignore":
            short = step.short or self._short(step, after)
            odd = None if short else self._odd(after)
            if (short or odd) and self.on_short_total == "fail":
                raise PagingError(short or odd or "", hint="The load is refused because of `on_short_total: fail`.")
            warnings += [f"{short}: {INCOMPLETE}"] if short else [odd] if odd else []
            complete = not short
        rows = told.value if told and told.unit != "pages" and (after.rows or 0) <= told.value else None
        return Page(
            records,
            self.position.number,
            following,
            ahead,
            self.at.get("expected"),
            self.selection.items,
            total=rows,
            total_pages=told.value if told and told.unit == "pages" else None,
            bytes=len(self.facts.answer.body),
            complete=complete,
            warnings=tuple(warnings),
            url=self.facts.answer.safe_url,
            content=self.content,
            by_position=self.paginator.by_position,
        )

    def _short(self, end: End, after: _Position) -> str | None:
        """How the answers say that more follows than came, and what to do about it."""
        told, rows, pages = after.told, after.rows, after.pages
        unknown = after.paginator is not None and after.paginator["type"] == "single_page"
        remedy = "how this API pages was not recognised, so set its paginator" if unknown else "check the paginator"
        if told is not None and told.unit == "pages" and told.value > pages:
            return f"the API tells of {told.value} pages, {pages} came"
        by_pages = told is not None and told.unit == "either" and told.value == pages and bool(rows)
        if told is not None and told.unit != "pages" and rows is not None and told.value > rows and not by_pages:
            return f"the API tells of {told.value} rows, {rows} came; {remedy if unknown else 'some may have moved'}"
        if end.sure or self._data is None:
            return None
        # An empty page, or one that says it is the last, may have a link all the same: to itself, or to what will come.
        kinds = ("flag",) if end.told or self.selection.items == 0 else ("flag", "url", "cursor")
        sign = next((sign for sign in signs(self.facts, self._data) if sign.kind in kinds), None)
        if sign is not None:
            return f"the walk ended, though {sign} in the last answer; {remedy}"
        if end.told:
            return None
        place = None if after.seen else self.paginator.next_place
        if place is not None and _may_be_full(self.selection.items, self.facts.answer.url, _USUAL_SIZES):
            return f"{place} was in no answer, and the page looks full ({self.selection.items} rows); {remedy}"
        return None

    def _odd(self, after: _Position) -> str | None:
        """How the total differs from what came, where nothing says that anything is missing."""
        told, rows, pages = after.told, after.rows, after.pages
        if told is None or rows is None:
            return None
        if told.unit == "pages":
            return None if told.value == pages else f"the API tells of {told.value} pages, {pages} came"
        if told.value <= rows <= told.value + told.spare or (told.unit == "either" and told.value == pages):
            if told.value == after.told_first or self.paginator.token(after.at or {}) is not None:
                return None
            return f"the total went from {after.told_first} to {told.value} while paging: rows may be twice or missing"
        if not told.asked and told.value <= (self.selection.items or 0):
            return None  # it counts the rows of the page
        text = f"the API tells of {told.value} rows, {rows} came"
        return f"{text}: rows were added or removed while paging, or pages overlap"

    def _ahead(self, step: _Position) -> Ahead | None:
        """The further pages, once two different pages have shown that the API heeds what it is asked for."""
        heeded = step.pages >= 2 and (step.last is None or step.last != self.position.last)
        if not heeded or not self.selection.items or step.at is None:
            return None
        span = self.paginator.ahead(step.at, self.facts)
        if span is None:
            return None
        return Ahead(_write(step), span)


def _keys(records: list[Any], key: tuple[str, ...]) -> list[Any]:
    """The keys of the records; the records themselves where one of them has none."""
    if not key:
        return records
    try:
        keys = [[record[name] for name in key] for record in records]
    except (KeyError, TypeError, IndexError):
        return records
    return records if any(None in values for values in keys) else keys


def _named(position: _Position) -> str:
    """For errors: what the page was asked by, where that is a guess."""
    if position.guess is None or position.paginator is None:
        return ""
    return (
        f"How this API pages is a guess ({position.paginator['type']}, for {position.guess} in the first answer): "
        "if it is wrong, set the paginator."
    )


def _wrong_guess(position: _Position) -> str:
    assert position.paginator is not None, "a guess has a paginator"
    return (
        f"{position.guess} in the first answer was taken for the way to page ({position.paginator['type']}), "
        "but led to no other page: set the paginator"
    )


_USUAL_SIZES = frozenset((10, 20, 25, 30, 50, 100, 200, 250, 500, 1000))  # of pages, where nobody asks for one
_ROUND_SIZES = frozenset((*range(10, 101, 5), *range(100, 1001, 50), *range(1000, 10_001, 500)))
_SIZE_PARAMS = frozenset(
    ("limit", "pagesize", "perpage", "top", "count", "maxresults", "size", "rows", "first", "take", "pagelimit", "n")
)


def _may_be_full(items: int | None, url: str, sizes: frozenset[int]) -> bool:
    """Whether a page has as many rows as were asked for, or one of the sizes: a server may cap what it is asked for."""
    if not items:
        return items is None
    for name, value in parse_qsl(urlsplit(url).query):
        if re.sub(r"[^a-z]", "", name.lower()) in _SIZE_PARAMS and value == str(items):
            return True
    return items in sizes


def _has_body(answer: Answer) -> bool:
    return answer.status not in (204, 205) and bool(answer.body) and not answer.body.isspace()


INCOMPLETE = "this load is incomplete, and no cursor moves. If that is all there is, set `on_short_total: ignore`"
SAME_ROWS = "the page has the same rows as the one before it"
SAME_PAGE = (
    "The server seems to ignore what asks for the next page, or repeats its last one: check the parameters, "
    "and where paging starts and ends. If rows may be alike, set `repeated_page: allow` on the paginator."
)


def _ignored(position: _Position) -> Page:
    """A response action or error rule said `ignore`: no rows on the first page, a cut-off walk on a later one."""
    if position.number == 1:
        return Page([], 1, elements=0)
    text = f"page {position.number} was ignored by a rule: what follows it was not fetched"
    return Page([], position.number, elements=0, complete=False, warnings=(text,))


def _write(position: _Position) -> State:
    state: State = msgspec.to_builtins(position)
    return state


def _read(state: State | None) -> _Position:
    if state is None:
        return _Position()
    try:
        return msgspec.convert(state, _Position)
    except msgspec.ValidationError as error:
        text = str(error)
    raise PagingError(f"this is no state of a walk: {text}", hint="Start the walk again, without a state.")
