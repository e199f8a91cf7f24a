"""The simulated API: its records are Python objects that the model looks at, and it remembers every row it has sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

from loopback import Api, Reply, Request
from model.settings import DAYS, GROUPS, Settings

LABEL = "x-model-run"  # a header by which the server knows which run asks
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
_FIRST = int(EPOCH.timestamp())


@dataclass(frozen=True, slots=True)
class Row:
    """One record at one time; an edit makes another one.

    Attributes:
        uid: Of the record, whatever its id becomes; decides the order of pages.
        at: Seconds behind EPOCH: the cursor; None: it has none.
        parent: uid of the item that a note lies below.
        body: What is sent.
        born: The number of the change that made this version of it.
    """

    uid: int
    at: int | None
    group: str
    parent: int | None
    body: str  # JSON
    born: int

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def day(self) -> str:
        return DAYS[min(self.at or 0, len(DAYS) * 86400 - 1) // 86400]


def spelled(at: int, how: int, *, instants: bool) -> str | int:
    """A cursor value as the API writes it."""
    if not instants:
        return _FIRST + at
    moment = EPOCH + timedelta(seconds=at)
    zones = (UTC, timezone(timedelta(hours=2)), timezone(timedelta(hours=-5)))
    text = moment.astimezone(zones[how % 3]).isoformat()
    return text.replace("+00:00", "Z" if how % 2 else ".000Z") if how % 3 == 0 else text


def seconds_of(value: Any) -> int | None:
    """The other way round: of any spelling."""
    if value is None:
        return None
    if isinstance(value, (int, float)):
        return int(value) - _FIRST
    if value.lstrip("-").isdigit():
        return int(value) - _FIRST
    moment = datetime.fromisoformat(value)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return int((moment - EPOCH).total_seconds())


@dataclass(frozen=True, slots=True)
class Fault:
    """Which requests fail: of a resource, of one parent (uid) or any, on one page of each walk, so many times.

    Attributes:
        kind: `500`, `404`, `cut`.
        times: None: for good.
    """

    asset: str
    kind: str
    page: int = 0
    parent: int | None = None
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """One answer.

    Attributes:
        label: The run that asked.
        part: The group or the day that was asked for, or None.
        parent: The parent's key as it stands in the path.
        token: The page that was asked for; None: the first one.
        next: The page behind it; None: it was the last one.
        rows: None: the request failed.
        ignored: An `ignore` rule takes this answer for an empty one.
    """

    label: str
    asset: str
    part: str | None
    parent: str | None
    since: int | None
    until: int | None
    tenant: str | None
    token: str | None
    next: str | None
    rows: tuple[Row, ...] | None
    ignored: bool = False


@dataclass
class World:
    """What the API has, and how it fails."""

    settings: Settings
    items: dict[int, Row] = field(default_factory=dict)
    notes: dict[int, Row] = field(default_factory=dict)
    faults: dict[Fault, int] = field(default_factory=dict)  # how often each has struck
    log: list[Sent] = field(default_factory=list)
    changes: int = 0
    uids: int = 0
    now: int = 0  # the clock of an API without windows
    latency: float = 0.0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._server = Api()
        self._server.reply = self._reply  # type: ignore[method-assign]
        self.url = self._server.url

    def close(self) -> None:
        self._server.close()

    def rows(self, asset: str) -> dict[int, Row]:
        return self.items if asset == "items" else self.notes

    # ---- answers -----------------------------------------------------------------------------------------------------
    def _reply(self, request: Request) -> Reply:
        with self._lock:
            return self._answer(request)

    def _answer(self, request: Request) -> Reply:
        steps = request.path.strip("/").split("/")
        query = request.query
        group = steps.pop(0) if steps[0] in GROUPS else query.get("group")
        asset, parent = ("items", None) if len(steps) == 1 else ("notes", steps[1])
        day = query["day"][:10] if "day" in query else None
        since, until = seconds_of(query.get("since")), seconds_of(query.get("until"))
        owner = None if parent is None else self._owner(parent)
        number, token, wanted = self._page_of(query)
        sent = Sent(
            request.headers.get(LABEL, ""),
            asset,
            group or day,
            parent,
            since,
            until,
            query.get("tenant"),
            token,
            None,
            None,
        )
        fault = self._fault(asset, owner, number)
        if fault:
            kind = fault.kind
            ignored = kind == "404" and self.settings.ignore
            self.log.append(replace(sent, rows=() if ignored else None, ignored=ignored))
            if kind == "cut":
                return Reply({"data": [{"id": "cut"}] * 9}, cut=20)
            return Reply({"message": "as told"}, int(kind))
        chosen = self._choose(asset, group, day, since, until, owner)
        rows, following, body = self._page(chosen, number, token, wanted, request)
        self.log.append(replace(sent, rows=tuple(rows), next=following))
        return Reply(body)

    def _owner(self, key: str) -> int | None:
        for row in self.items.values():
            record = row.record
            if key in (str(record["id"]), record["code"]):
                return row.uid
        return None

    def _fault(self, asset: str, owner: int | None, number: int) -> Fault | None:
        for fault, struck in self.faults.items():
            if fault.asset != asset or fault.page != number or (fault.parent not in (None, owner)):
                continue
            if fault.times is None or struck < fault.times:
                self.faults[fault] = struck + 1
                return fault
        return None

    def _choose(
        self, asset: str, group: str | None, day: str | None, since: int | None, until: int | None, owner: int | None
    ) -> list[Row]:
        found = [
            row
            for row in self.rows(asset).values()
            if (group is None or row.group == group)
            and (day is None or row.day == day)
            and (asset == "items" or (owner is not None and row.parent == owner))
            and (row.at is None or since is None or row.at >= since)
            and (row.at is None or until is None or row.at <= until)
        ]
        return sorted(found, key=self._place)

    def _place(self, row: Row) -> tuple[int, int]:
        return (0 if self.settings.by == "id" else -1 if row.at is None else row.at, row.uid)

    def _page_of(self, query: Mapping[str, str]) -> tuple[int, str | None, int]:
        """The number of the page that is asked for, from 0; its token in the log; the place where it begins."""
        size = self.settings.size
        if self.settings.paging == "page":
            number = int(query.get("page", "1")) - 1
        elif self.settings.paging == "offset":
            number = int(query.get("offset", "0")) // size
        else:
            token = query.get("cursor")
            return (int(token.split("~")[0]) if token else 0), token, 0
        return number, str(number) if number else None, number * size

    def _page(
        self, chosen: list[Row], number: int, token: str | None, start: int, request: Request
    ) -> tuple[list[Row], str | None, dict[str, Any]]:
        size = self.settings.size
        body: dict[str, Any] = {}
        if self.settings.paging in ("page", "offset"):
            rows, more = chosen[start : start + size], len(chosen) > start + size
            following = str(number + 1) if more else None
            body = {"total": len(chosen), "pages": -(-len(chosen) // size)}
        else:
            behind = tuple(map(int, token.split("~")[1:])) if token else (-2, -1)
            left = [row for row in chosen if self._place(row) > behind]
            rows, more = left[:size], len(left) > size
            following = "~".join(map(str, (number + 1, *self._place(rows[-1])))) if more else None
            body["next"] = following
            if following and self.settings.paging == "link":
                query = {name: values for name, values in request.query.items() if name != "cursor"}
                body["next"] = f"{request.path}?{urlencode({**query, 'cursor': following})}"
        return rows, following, {"data": [row.record for row in rows], **body}
