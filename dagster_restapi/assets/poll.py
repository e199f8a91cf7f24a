"""One cheap request: has an endpoint anything that was not there the last time?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

import msgspec

from dagster_restapi.config.jsonpath import MISSING, first
from dagster_restapi.config.paginators import OffsetPaginator
from dagster_restapi.errors import ConfigError, ExtractError, RequestError
from dagster_restapi.extract.cursor_order import compare
from dagster_restapi.extract.incremental import Range
from dagster_restapi.extract.steps import process
from dagster_restapi.extract.walker import Walker
from dagster_restapi.http.session import Answer, Call, Session
from dagster_restapi.http.walk import Page, Walk
from dagster_restapi.model import Cursor, Plan, Slice

_SECONDS = 20.0  # a sensor's tick has 60 by default


class Seen(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the last poll saw: small, and fit to be shown to anyone.

    Attributes:
        at: The position from which on rows were asked for; None: none.
        etag: The answer's `ETag`.
        modified: The answer's `Last-Modified`.
        mark: What the answer was: it changes when the answer does.
        single: Whether the first page was the only one.
    """

    at: str | int | float | None = None
    etag: str | None = None
    modified: str | None = None
    mark: str | None = None
    single: bool = True


def can_poll(plan: Plan) -> bool:
    """Whether one request can tell of news: the resource needs neither a row of a parent nor a partition."""
    return plan.endpoint is not None and plan.parent is None and plan.partitions is None


class Poll:
    """Asks one endpoint whether there is news.

    Args:
        plan: A resource without a parent.
        params: Query parameters that go over the resource's own: `{"per_page": 1, "sort": "updated"}`.

    Raises:
        ConfigError: The resource has no endpoint, or one that has to know a row of its parent or a partition.
    """

    def __init__(self, plan: Plan, params: Mapping[str, Any] | None = None) -> None:
        where = f"resource {plan.name}"
        if plan.endpoint is None:
            raise ConfigError("rows that Python gives cannot be polled", where=where)
        if plan.parent is not None:
            raise ConfigError(
                "a resource with a parent takes many requests to poll",
                where=where,
                hint=f"Poll {plan.parent.resource!r}, and let this one follow it with `automation: eager`.",
            )
        if plan.partitions is not None:
            raise ConfigError(
                "no request polls a resource that is cut into partitions: it is about one of them",
                where=where,
                hint="Follow time windows by a schedule; poll a listing of keys with `partitions`.",
            )
        endpoint = plan.endpoint.model_copy(update={"params": {**(plan.endpoint.params or {}), **(params or {})}})
        newest_first = plan.incremental is not None and plan.incremental.row_order == "desc"
        if newest_first and isinstance(endpoint.paginator, OffsetPaginator):
            endpoint = endpoint.model_copy(update={"paginator": endpoint.paginator.model_copy(update={"limit": 1})})
        retry, timeout = plan.client.retry, plan.client.timeout
        short = {"attempts": min(2, retry.attempts), "total": min(_SECONDS, retry.total)}
        timeout = (_short(timeout[0]), _short(timeout[1])) if isinstance(timeout, tuple) else _short(timeout)
        client = plan.client.model_copy(update={"retry": retry.model_copy(update=short), "timeout": timeout})
        self.plan, self._where = replace(plan, endpoint=endpoint, client=client), where

    def news(self, seen: Seen, at: Cursor | None) -> tuple[Seen, bool]:
        """What the endpoint shows now, and whether it shows rows behind the position, or has none to compare with.

        Args:
            seen: What the last poll saw.
            at: The asset's cursor; None where it has none.

        Raises:
            RestApiError: The request failed, or the answer is not what the configuration says.
        """
        position = at.value if at else None
        session = _ConditionalSession(self.plan, seen if seen.at == position else Seen())
        with session:
            range_ = self._range(at)
            page = self._first(self._walk(session, range_))
            if page is None:
                return seen, False
            rows = process(page.records, self.plan.steps, {}, self._where)
            kept = range_.keep(rows) if range_ else rows
            now = session.seen(position, page, kept)
            return now, bool(kept) if range_ is None or at is None else _beyond(range_, at)

    def keys(self, seen: Seen, path: str) -> tuple[Seen, list[str] | None, bool]:
        """The keys of all rows, in order; None where the answer is the last one's. And whether all of them came.

        Args:
            seen: What the last poll saw.
            path: JSONPath of the key in a row.

        Raises:
            RestApiError: As `news`; also where a row has no key.
        """
        find, found, complete = first(path), dict[str, None](), True
        session = _ConditionalSession(self.plan, seen if seen.single else Seen())
        with session:
            walk = self._walk(session, self._range(None))
            page = self._first(walk)
            if page is None:
                return seen, None, True
            now = session.seen(None, page, page.records)
            for other in _with_rest(walk, page):
                complete = complete and other.complete
                for row in process(other.records, self.plan.steps, {}, self._where):
                    found[self._key(find(row), path)] = None
            return now, list(found), complete

    def _key(self, value: Any, path: str) -> str:
        if value is MISSING or not isinstance(value, (str, int)) or isinstance(value, bool) or value == "":
            raise ExtractError(
                f"a row has no text or whole number at {path!r} to name a partition",
                where=self._where,
                hint="Set `partition_key` to the field that names one.",
            )
        return str(value)

    def _range(self, at: Cursor | None) -> Range | None:
        settings = self.plan.incremental
        if settings is None:
            return None
        return Range.of(settings, Slice(asset=self.plan.name), at.value if at else None, self._where)

    def _walk(self, session: Session, range_: Range | None) -> Walk:
        return Walker({self.plan.name: self.plan}, session).walk(self.plan, Slice(asset=self.plan.name), None, range_)

    @staticmethod
    def _first(walk: Walk) -> Page | None:
        """The first page; None where the server says that it is the one that was seen."""
        try:
            return walk.page()
        except _NotModified:
            return None


class _NotModified(Exception):
    """Status 304: what was seen is what there is."""


class _ConditionalSession(Session):
    """Asks for the first page only if it is not the one that was seen."""

    def __init__(self, plan: Plan, seen: Seen) -> None:
        super().__init__(plan.client)
        self._seen = seen
        self._first: Answer | None = None

    def send(self, call: Call, **options: Any) -> Answer | None:
        if self._first is not None:
            return super().send(call, **options)
        conditions = {"If-None-Match": self._seen.etag}
        if not self._seen.etag:  # a server that knows both must look at If-None-Match alone (RFC 9110, 13.2.2)
            conditions = {"If-Modified-Since": self._seen.modified}
        headers = {**call.headers, **{name: value for name, value in conditions.items() if value}}
        answer = self._told(replace(call, headers=headers), options)
        if answer is not None and answer.status == 304:
            raise _NotModified
        self._first = answer
        return answer

    def _told(self, call: Call, options: Mapping[str, Any]) -> Answer | None:
        """Sends; an error that asks for a longer `timeout` than a tick has says what else to do."""
        try:
            return super().send(call, **options)
        except RequestError as error:
            timeout = self.config.timeout
            longest = max(timeout) if isinstance(timeout, tuple) else timeout
            late = any(setting in (error.hint or "") for setting in ("`timeout`", "`retry: {total}`"))
            if longest < _SECONDS or not late:
                raise
            fault = error
        hint = f"A sensor waits {_SECONDS:g} s at most: make its request cheaper by `params`, or take a schedule."
        raise RequestError(fault.what, where=fault.where, hint=hint, status=fault.status)

    def seen(self, at: str | int | float | None, page: Page, rows: list[Any]) -> Seen:
        """The first answer, for the next poll: by the server's own marks, else by the rows."""
        headers: Mapping[str, str] = self._first.headers if self._first else {}
        etag, modified = headers.get("etag"), headers.get("last-modified")
        content = etag or modified or sha256(msgspec.json.encode(rows, order="deterministic")).hexdigest()[:32]
        return Seen(at, etag, modified, f"{'' if at is None else at}|{content}"[:300], page.next is None)


def _short(seconds: float) -> float:
    return min(seconds, _SECONDS)


def _with_rest(walk: Walk, page: Page) -> Iterator[Page]:
    yield page
    if page.next is not None:
        yield from walk.pages(page.next)


def _beyond(range_: Range, at: Cursor) -> bool:
    """Whether a row lies behind the position, not only at it: APIs like to send the last row again."""
    furthest, position = range_.order.rank(range_.furthest), range_.order.rank(at.value)
    if furthest is None or position is None:
        return False
    direction = -1 if range_.settings.last_value_func == "min" else 1
    return compare(furthest, position) * direction > 0
