"""Walks the pages of one endpoint: each page once, to a known end or an error, and from any page on in any process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from dagster_restapi.config import paginators as settings
from dagster_restapi.config.jsonpath import MISSING
from dagster_restapi.errors import PagingError, ResponseError
from dagster_restapi.http.circles import Trail, fingerprint, fingerprint_of_page
from dagster_restapi.http.detect import detect_paginator, detect_total
from dagster_restapi.http.origin import relative
from dagster_restapi.http.paginators import Ahead, End, PageFacts, Paginator, State, Total, build, read_number
from dagster_restapi.http.select import Choice, Selection, select

if TYPE_CHECKING:
    from dagster_restapi.config.client import RetryConfig
    from dagster_restapi.http.rules import AnyRule
    from dagster_restapi.http.session import Answer, Call, Session

_EMPTY_PAGES = 1000  # in a row, before a walk counts as endless
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
        complete: False where an `ignore` rule cut the walk short.
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
    choice: Choice | None = None
    total_path: str | None = None  # as detected
    told: Total | None = None  # the newest total
    told_first: int | None = None
    rows: int | None = 0  # elements so far; None: a page could not be counted
    pages: int = 0  # pages so far, those that were only repeated left out
    last: str | None = None  # fingerprint of the page before
    tokens: Trail = Trail()
    contents: Trail = Trail()
    empty: int = 0  # empty pages in a row
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
        on_short_total: What it means that another number of rows came than the API told: a warning (default), or an
            error.
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
        on_short_total: Literal["warn", "fail"] | None = None,
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
        self._on_short_total: Literal["warn", "fail"] = on_short_total or "warn"
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
        answer = self._session.send(request, rules=self._rules, retry=self._retry, where=where)
        if answer is None:
            return _ignored(position)
        where = f"{where}, {answer.safe_url}"
        body = _body(answer, where)
        choice = position.choice or (Choice(self._selector) if self._selector else None)
        selection = select(body, choice, missing_data=self._missing_data, where=where)
        facts = PageFacts(answer, body, selection.items)
        if paginator is None:
            found, at = detect_paginator(facts, self._call)
            allowed = {"repeated_page": "allow"} if self._repeated_page == "allow" else {}
            config = settings.parse_paginator({**found, **allowed})
            paginator = build(config)
            assert paginator is not None
            position = msgspec.structs.replace(position, paginator=config.model_dump(exclude_unset=True))
        try:
            arrived = _Arrived(
                position, paginator, at, facts, selection, self._on_short_total, self._kept_url, self._key
            )
            return arrived.page(memory)
        except PagingError as error:
            fault = error
        raise PagingError(fault.what, where=fault.where or where, hint=fault.hint)

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
    on_short_total: Literal["warn", "fail"]
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
        if content is not None and content == position.last:
            corrected = self.paginator.same_again(at)
            if self.paginator.stop_on_repeat:
                return self._page([], End(), position, warnings)
            if corrected is None:
                raise PagingError(SAME_ROWS, hint=SAME_PAGE)
            warnings.append("pages 0 and 1 are the same page, taken once: this API counts from 1 (set base_page: 1)")
            at, records, items = corrected, [], 0
        remark = None if position.said else self.paginator.remark(at, self.facts)
        total_path = position.total_path
        if position.number == 1 and self.selection.choice is not None and self.selection.choice.listed:
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
            empty=position.empty + 1 if self.selection.items == 0 else 0,
            said=position.said or remark is not None,
        )
        warnings += [remark] if remark else []
        end = self.paginator.advance(at, self.facts) or End()
        if not isinstance(end, End):
            return self._go_on(records, at, end, after, memory, warnings)
        return self._page(records, end, after, warnings)

    def _total(self, at: State, total_path: str | None) -> Total | None:
        told = self.paginator.total(at, self.facts)
        if told is None and total_path is not None:
            value = read_number(self.facts.find(total_path))
            told = None if value is None else Total(value, "either")
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
            return End()
        raise PagingError(
            "the answer names a next page that was fetched already, though this one has rows",
            hint="The API pages in circles. If it ends by naming the last page again, set `stop_on_repeat: true`.",
        )

    def _page(self, records: list[Any], step: _Position | End, after: _Position, warnings: list[str]) -> Page:
        """The finished page. At the end, what came is compared with what was told."""
        told, following, ahead = after.told, None, None
        if isinstance(step, End):
            short = None if step.chosen else step.short or self._mismatch(after)
            if short and self.on_short_total == "fail":
                raise PagingError(short, hint="The load is refused because of `on_short_total: fail`.")
            warnings += [short] if short else []
        else:
            following, ahead = _write(step), self._ahead(step)
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
            warnings=tuple(warnings),
            url=self.facts.answer.safe_url,
            content=self.content,
            by_position=self.paginator.by_position,
        )

    def _mismatch(self, after: _Position) -> str | None:
        told, rows, pages = after.told, after.rows, after.pages
        if told is None or rows is None:
            return None
        if told.unit == "pages":
            return None if told.value == pages else f"the API tells of {told.value} pages, {pages} came"
        if told.value == rows or (told.unit == "either" and told.value == pages):
            if told.value == after.told_first or self.paginator.token(after.at or {}) is not None:
                return None
            return f"the total went from {after.told_first} to {told.value} while paging: rows may be twice or missing"
        text = f"the API tells of {told.value} rows, {rows} came"
        if after.paginator and after.paginator["type"] == "single_page":
            return f"{text}: how this API pages was not recognised, so set its paginator"
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


def _body(answer: Answer, where: str) -> Any:
    """The decoded body; MISSING where there is none."""
    if answer.status in (204, 205) or not answer.body or answer.body.isspace():
        return MISSING
    try:
        return answer.json()
    except ResponseError as error:
        fault = error
    raise ResponseError(fault.what, where=where, hint=fault.hint)


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
