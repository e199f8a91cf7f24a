"""A look at one resource: a few requests without retries, what was sent and answered, and what was found in it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from dagster_restapi.config.client import ClientConfig, RetryConfig
from dagster_restapi.config.paginators import AutoPaginator
from dagster_restapi.config.sample_partition import sample_partition
from dagster_restapi.errors import ExtractError, RequestError, RestApiError
from dagster_restapi.extract.incremental import Range
from dagster_restapi.extract.parents import ParentRow, included, parent_rows
from dagster_restapi.extract.steps import process, rows_of
from dagster_restapi.extract.walker import Walker
from dagster_restapi.http.detect import detect_paginator
from dagster_restapi.http.origin import safe_url
from dagster_restapi.http.paginators import PageFacts
from dagster_restapi.http.select import Choice, as_object, select
from dagster_restapi.http.session import Answer, Call, Session
from dagster_restapi.http.walk import Page
from dagster_restapi.model import Plan, Slice

_PATIENCE = RetryConfig(attempts=1, total=30)  # a person waits for the answer
_PARENTS = 5  # rows of the parent that are asked with until one has rows


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and how it was answered.

    Attributes:
        url: For messages: secrets are masked.
        status: None where no answer came.
        bytes: Size of the body.
        outcome: `ok`, `ignored` (a rule says so), or `failed`.
        seconds: Until the answer was there.
    """

    method: str
    url: str
    status: int | None
    bytes: int
    outcome: str
    seconds: float


class WatchedSession(Session):
    """A session that tells of every exchange, and keeps the last call and answer.

    Args:
        config: The client's settings.
        tell: Is called after each exchange.
    """

    def __init__(self, config: ClientConfig, tell: Callable[[Exchange], None]) -> None:
        super().__init__(config.model_copy(update={"retry": _PATIENCE}))
        self._on_exchange = tell
        self.last: tuple[Call, Answer] | None = None

    def send(self, call: Call, **settings: Any) -> Answer | None:
        """Sends as a session does; a resource's own retry settings do not count here."""
        started = time.perf_counter()
        answer: Answer | None = None
        status, outcome = None, "failed"
        try:
            answer = super().send(call, **{**settings, "retry": None})
            outcome = "ok" if answer else "ignored"
        except RequestError as error:
            status = error.status
            raise
        finally:
            url = answer.safe_url if answer else safe_url(_whole(call))
            status, length = (answer.status, len(answer.body)) if answer else (status, 0)
            self._on_exchange(Exchange(call.method, url, status, length, outcome, time.perf_counter() - started))
        if answer is not None:
            self.last = (call, answer)
        return answer


def _whole(call: Call) -> str:
    params = {name: value for name, value in call.params.items() if value is not None}
    mark = "&" if "?" in call.url else "?"
    return f"{call.url}{mark}{urlencode(params, doseq=True)}" if params else call.url


@dataclass(frozen=True, slots=True)
class Seen:
    """One page of a resource.

    Attributes:
        page: As the walk gave it; None for a resource with rows of its own.
        records: Its records after the processing steps and within the cursor's window.
        parent: The parent's row that it was asked with.
        paginator: Type and main option, as configured or as found.
        selector: JSONPath of the records, as configured or as found.
        found: Which of the two were found and not configured.
    """

    page: Page | None
    records: list[dict[str, Any]]
    parent: ParentRow | None = None
    paginator: str | None = None
    selector: str | None = None
    found: frozenset[str] = frozenset()


class NothingToAskWith(ExtractError):
    """No row of the parent and no partition is known, so there is nothing to ask with."""


class Looker:
    """Looks at the resources of one source; what a parent gave is kept for its children.

    Args:
        plans: All resources of the source, by name.
        tell: Is called after each exchange.
        partition: The key that a partitioned resource is asked with. Default: the newest window, or the first key.
    """

    def __init__(
        self, plans: Mapping[str, Plan], tell: Callable[[Exchange], None], partition: str | None = None
    ) -> None:
        self.plans, self._partition = plans, partition
        self._session: WatchedSession | None = None
        self._first_pages: dict[str, list[dict[str, Any]]] = {}
        self._tell = tell

    def pages(self, plan: Plan, *, limit: int) -> Iterator[Seen]:
        """At most `limit` pages of a resource. A child is asked with the rows of its parent's first page.

        Raises:
            RestApiError: A page, or one of a parent that it needs, cannot be had.
        """
        where = f"resource {plan.name}"
        if plan.endpoint is None:
            for rows in itertools.islice(rows_of(plan.rows, where), limit):
                yield Seen(None, process(rows, plan.steps, {}, where))
            return
        session = self._session = self._session or WatchedSession(plan.client, self._tell)
        walker = Walker(self.plans, session)
        slice_ = self._slice(plan)
        left = limit
        for row in itertools.islice(self._parents(plan), max(limit, _PARENTS)):
            incremental = plan.endpoint.incremental
            range_ = Range.of(incremental, slice_, None, where) if incremental else None
            for page in walker.walk(plan, slice_, row, range_).pages(max_pages=left):
                raw = [as_object(record) for record in page.records]
                records = process(raw, plan.steps, included(plan.parent, row), where)
                yield _seen(plan, page, range_.keep(records) if range_ else records, row, session.last)
                left -= bool(page.records)
                if left <= 0 or (range_ and range_.finished):
                    break
            if left <= 0:
                return

    def _slice(self, plan: Plan) -> Slice:
        """All of a resource, or one of its partitions."""
        if plan.partitions is None:
            return Slice(asset=plan.name)
        part = sample_partition(plan.partitions, self._partition)
        if part is None:
            raise NothingToAskWith(
                "its partitions are keys that are added while Dagster runs",
                where=f"resource {plan.name}",
                hint=f"See one of them: dagster-restapi preview … {plan.name} --partition KEY",
            )
        return Slice(asset=plan.name, partition=part.key, partition_keys=part.keys, window=part.window)

    def first_page(self, plan: Plan) -> Seen:
        """The first page with records, or the last one without. Raises what `pages` raises."""
        seen = Seen(None, [])
        for seen in self.pages(plan, limit=1):
            if seen.records:
                break
        self._first_pages.setdefault(plan.name, seen.records)
        return seen

    def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            self._session.close()

    def _parents(self, plan: Plan) -> Iterator[ParentRow | None]:
        if plan.parent is None:
            yield None
            return
        parent = self.plans[plan.parent.resource]
        if parent.name not in self._first_pages:
            self.first_page(parent)
        asked: list[ParentRow] = []
        for row in parent_rows(self._first_pages[parent.name], plan.parent):
            if row is not None and row not in asked:
                asked.append(row)
                yield row
        if not asked:
            raise NothingToAskWith(
                f"the first page of the parent {parent.name!r} has no row to ask with", where=f"resource {plan.name}"
            )


def _seen(
    plan: Plan, page: Page, records: list[dict[str, Any]], row: ParentRow | None, last: tuple[Call, Answer] | None
) -> Seen:
    """What the answer of a page tells. Where nothing was configured, the same rules find it as in the walk."""
    endpoint = plan.endpoint
    assert endpoint is not None
    detected = isinstance(endpoint.paginator, AutoPaginator)
    selector, paginator = endpoint.data_selector, None if detected else _spelled(endpoint.paginator)
    body = last[1].json() if last else None
    if last is not None and body is not None and page.number == 1:
        call, answer = last
        choice = select(body, Choice(selector) if selector else None).choice
        assert choice is not None, "an answer with a body has its records somewhere"
        selector = selector or plain_path(choice.path)
        if detected:
            paginator = _named(detect_paginator(PageFacts(answer, body, page.elements), call, choice).paginator)
    found = {"selector"} if endpoint.data_selector is None else set[str]()
    return Seen(page, records, row, paginator, selector, frozenset(found | ({"paginator"} if detected else set())))


_MAIN_OPTIONS = ("cursor_path", "next_url_path", "total_path", "cursor_key", "has_more_path")


def _spelled(paginator: Any) -> str:
    return _named(paginator.model_dump(exclude_none=True))


def _named(options: Mapping[str, Any]) -> str:
    """`cursor (meta.next)`: the type, and what it reads."""
    option = next((options[name] for name in _MAIN_OPTIONS if options.get(name)), None)
    return f"{options['type']} ({plain_path(option)})" if option else str(options["type"])


def plain_path(path: str) -> str:
    """`$["data"]["items"]` as people write it, `data.items`, where the keys are plain words."""
    parts = path.removeprefix('$["').removesuffix('"]').split('"]["') if path.startswith('$["') else []
    return ".".join(parts) if parts and all(part.isidentifier() for part in parts) else path


def attempt(look: Callable[[], Seen]) -> tuple[Seen, RestApiError | None]:
    """What a look gave, and the error that ended it."""
    try:
        return look(), None
    except RestApiError as error:
        fault = error
    return Seen(None, []), fault


def fields_of(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of all fields, in the order of appearance."""
    return list(dict.fromkeys(name for record in records for name in record))
