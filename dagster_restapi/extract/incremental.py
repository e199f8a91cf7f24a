"""The cursor window of one walk: which values a request asks for, which rows stay, how far the walk came."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pendulum

from dagster_restapi.config.jsonpath import MISSING, first
from dagster_restapi.errors import ExtractError
from dagster_restapi.extract.windows import Windows
from dagster_restapi.schema import instants

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_restapi.config.endpoint import IncrementalConfig
    from dagster_restapi.model import Slice

CursorKind = Literal["instant", "date", "number", "text"]

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII).fullmatch
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:[.,](\d+))?", re.ASCII).match
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII).fullmatch


class Rank(NamedTuple):
    """A cursor value in a form that compares as its kind does."""

    kind: CursorKind
    order: Any


def rank(value: Any) -> Rank | None:
    """How a cursor value compares; None where it cannot be a cursor (an object, a list, a boolean).

    Date-times compare as instants whatever their zone or spelling (without zone: UTC), numbers also when they come
    as text, anything else as text.
    """
    if type(value) is str:
        return _rank_text(value)
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return Rank("number", value)
    return None


@lru_cache(maxsize=4096)
def _rank_text(text: str) -> Rank:
    if _DATE(text):
        moment = _moment(text)
        if moment:
            return Rank("date", (moment, ""))
    match = _DATE_TIME(text)
    if match:
        moment = _moment(text)
        if moment:  # digits beyond microseconds decide between equal moments
            return Rank("instant", (moment, (match[1] or "")[6:].rstrip("0")))
    if _NUMBER(text):
        return Rank("number", Decimal(text))
    return Rank("text", text)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


_FAMILY = {"instant": "time", "date": "time", "number": "number", "text": "text"}


def compare(one: Rank, other: Rank) -> int:
    """-1, 0 or 1 as `one` lies before, at or behind `other`.

    Raises:
        TypeError: The two are of kinds that have no common order.
    """
    if _FAMILY[one.kind] != _FAMILY[other.kind]:
        raise TypeError(f"a cursor of kind {one.kind} does not compare with one of kind {other.kind}")
    return int(one.order > other.order) - int(one.order < other.order)


def lagged(value: Any, lag: float, direction: int) -> Any:
    """The value moved against the cursor's direction: by seconds for date-times, days for dates, units for numbers.

    Source: dlt's `lag`.
    """
    ranked = rank(value)
    if not lag or ranked is None or ranked.kind == "text":
        return value
    step = -lag * direction
    if ranked.kind == "number":
        if isinstance(value, str):
            return str(Decimal(value) + Decimal(str(step)))
        moved = value + step
        return int(moved) if isinstance(value, int) and moved == int(moved) else moved
    moment = pendulum.instance(ranked.order[0])
    if ranked.kind == "date":
        return moment.add(days=int(step)).to_date_string()
    return moment.add(seconds=step).in_timezone("UTC").isoformat().replace("+00:00", "Z")


@dataclass(slots=True)
class Range:
    """The part of a resource that one walk is to bring, and how far it has come. One per walk; not shared by threads.

    Attributes:
        start: Rows before it are dropped; None: no lower limit. As the API or the user spelled it.
        end: Rows at or behind it are dropped; None: no upper limit.
        last: The cursor before the run, without lag.
        furthest: The furthest value of the rows that were kept.
        windows: Of partitions: the rows within them stay, whatever the settings say of ranges and directions.
        places: Which of the windows each row of the last page that was kept lies in.
    """

    settings: IncrementalConfig
    where: str
    start: Any = None
    end: Any = None
    last: Any = None
    furthest: Any = None
    out_of_range: int = 0
    without_cursor: int = 0
    windows: Windows | None = None
    places: list[int] = field(default_factory=list)
    _start: Rank | None = field(default=None, init=False)
    _end: Rank | None = field(default=None, init=False)
    _furthest: Rank | None = field(default=None, init=False)
    _direction: int = field(default=1, init=False)
    _passed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._direction = -1 if self.settings.last_value_func == "min" else 1
        self._start = None if self.start is None else rank(self.start)
        self._end = None if self.end is None else rank(self.end)
        self._furthest = None if self.furthest is None else rank(self.furthest)

    @classmethod
    def of(cls, settings: IncrementalConfig, slice_: Slice, cursor: str | int | float | None, where: str) -> Range:
        """The range of a slice: a window by hand, else the partition's window, else on from the cursor's value."""
        settings = settings.filled()
        start, end, last = settings.initial_value, settings.end_value, settings.initial_value
        if slice_.by_hand:
            start = slice_.start_value if slice_.start_value is not None else start
            end = slice_.end_value if slice_.end_value is not None else end
        elif slice_.window:
            window = slice_.window
            windows = Windows([part for _, part in slice_.stretch] or [window])
            return cls(settings, where, window.start, window.end, window.start, windows=windows)
        elif cursor is not None and settings.end_value is None:
            direction = -1 if settings.last_value_func == "min" else 1
            start, last = lagged(cursor, settings.lag or 0, direction), cursor
        return cls(settings, where, start, end, last)

    def resume(self, furthest: Any, out_of_range: int, without_cursor: int) -> None:
        """Goes on with the counts of an earlier try."""
        self.out_of_range, self.without_cursor = out_of_range, without_cursor
        if furthest is not None:
            self.furthest, self._furthest = furthest, rank(furthest)

    @property
    def placeholders(self) -> dict[str, Any]:
        """The values of `{incremental.…}`, after `convert`."""
        values = {
            "start_value": self.start,
            "initial_value": self.settings.initial_value,
            "last_value": self.last,
            "end_value": self.end,
        }
        convert = self.settings.convert
        return {name: convert(value) if convert and value is not None else value for name, value in values.items()}

    @property
    def finished(self) -> bool:
        """Whether `row_order` says that no later page can hold a row within the range."""
        return self._passed

    def keep(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The records within the range, in their order; moves `furthest` and the counts.

        Raises:
            ExtractError: A record has no cursor value and `on_cursor_value_missing` is `raise`, or its kind does not
                compare with the others'.
        """
        values = list(map(first(self.settings.cursor_path), records))
        self.places = []
        if self._keeps_all(values):
            return records
        kept = []
        for record, value in zip(records, values, strict=True):
            if value is MISSING or value is None:
                if self._keep_without():
                    kept.append(record)
            elif self._keep(value):
                kept.append(record)
        return kept

    def not_beyond(self, position: str | float, records: list[dict[str, Any]]) -> list[int]:
        """1 for each of the records that does not lie beyond this position, else 0."""
        wanted, find = rank(position), first(self.settings.cursor_path)
        assert wanted is not None, "a cursor has a rank"
        ranks = (rank(find(record)) for record in records)
        return [int(one is None or compare(one, wanted) * self._direction <= 0) for one in ranks]

    def _keeps_all(self, values: list[Any]) -> bool:
        """Whether the least and the greatest value of a page lie within the range; then all do, and are taken at once.

        False also says that it takes a look at each of them.
        """
        order = _plain_order(values)
        if not order:
            return False
        if self.windows and (len(self.windows) > 1 or type(order[0]) is not datetime):
            return False  # what lies between two numbers may be of another unit, and of another time
        least, greatest = (values[order.index(end(order))] for end in (min, max))
        ranks = [rank(least), rank(greatest)]
        furthest, ranked = (greatest, ranks[1]) if self._direction > 0 else (least, ranks[0])
        assert ranked is not None
        try:
            if not all(one is not None and self._side(one) == 0 for one in ranks):
                return False
            if self._furthest is None or compare(ranked, self._furthest) * self._direction > 0:
                self.furthest, self._furthest = furthest, ranked
        except TypeError:
            return False
        self.places = [0] * len(values) if self.windows else []
        return True

    def _keep_without(self) -> bool:
        policy = self.settings.on_cursor_value_missing
        if policy == "raise":
            raise ExtractError(
                f"a record has no value at the cursor path {self.settings.cursor_path!r}",
                where=self.where,
                hint="Correct `cursor_path`, or set `on_cursor_value_missing` to include or exclude.",
            )
        self.without_cursor += 1
        return policy == "include"

    def _keep(self, value: Any) -> bool:
        ranked = rank(value)
        if ranked is None:
            raise ExtractError(
                f"the value at the cursor path {self.settings.cursor_path!r} is a {type(value).__name__}",
                where=self.where,
                hint="A cursor is a text or a number.",
            )
        try:
            if not self._within(ranked):
                self.out_of_range += 1
                return False
            if self._furthest is None or compare(ranked, self._furthest) * self._direction > 0:
                self.furthest, self._furthest = value, ranked
        except TypeError as error:
            hint = "Give `initial_value` and `end_value` the kind that the records have; `convert` shapes requests."
            if self.windows:
                hint = "Within time windows a cursor is a date-time, a date, or a number of seconds since 1970."
            fault = ExtractError(f"{error} at {self.settings.cursor_path!r}", where=self.where, hint=hint)
        else:
            return True
        raise fault

    def _within(self, ranked: Rank) -> bool:
        side = self._side(ranked)
        if side:
            below = side * (1 if self.windows else self._direction) < 0
            self._passed |= self.settings.row_order == ("desc" if below else "asc")
        elif self.windows:
            self.places.append(self.windows.place(ranked.kind, ranked.order))
        return not side

    def _side(self, ranked: Rank) -> int:
        """-1, 0 or 1 as a value lies before, within or behind the range."""
        if self.windows:
            place = self.windows.place(ranked.kind, ranked.order)
            return -1 if place < 0 else int(place >= len(self.windows))
        if self._start is not None:
            side = compare(ranked, self._start) * self._direction
            if side < 0 or (side == 0 and self.settings.range_start == "open"):
                return -1
        if self._end is not None:
            side = compare(ranked, self._end) * self._direction
            if side > 0 or (side == 0 and self.settings.range_end == "open"):
                return 1
        return 0


def fault_of_window(settings: IncrementalConfig, slice_: Slice, like: Any) -> str:
    """Why no row can lie in a window that is given by hand; "" where one can.

    Args:
        like: A value that those of the records compare with, as far as one is known.
    """
    range_ = Range.of(settings, slice_, None, "")
    for name, value in (("start_value", range_.start), ("end_value", range_.end)):
        one, other = rank(value), rank(like)
        if one and other and _FAMILY[one.kind] != _FAMILY[other.kind]:
            return f"{name} {value!r} is of the kind {one.kind}, and {like!r} of the kind {other.kind}"
        like = value if like is None else like
    start, end = rank(range_.start), rank(range_.end)
    side = compare(start, end) * range_._direction if start and end else -1
    if side > 0 or (side == 0 and settings.range_end == "open"):
        return f"the window from {range_.start!r} to {range_.end!r} has no room for a row"
    return ""


def _plain_order(values: list[Any]) -> list[Any] | None:
    """A page's values in a form that compares as their ranks do; None where it takes a look at each of them."""
    kinds = set(map(type, values))
    if kinds <= {int, float}:
        return values
    moments = instants(values) if kinds == {str} else None
    return moments if moments and len({moment.tzinfo is None for moment in moments}) == 1 else None


def furthest_of(values: Mapping[Any, Any] | list[Any], settings: IncrementalConfig) -> Any:
    """The furthest of several cursor values, by the settings' direction; None of none."""
    direction = -1 if settings.last_value_func == "min" else 1
    best: tuple[Any, Rank] | None = None
    for value in values:
        ranked = None if value is None else rank(value)
        if ranked is not None and (best is None or compare(ranked, best[1]) * direction > 0):
            best = (value, ranked)
    return best[0] if best else None


def nearest_of(value: Any, limit: Any, settings: IncrementalConfig) -> Any:
    """The one of two cursor values that comes first by the settings' direction; None where one of them is None."""
    if value is None or limit is None:
        return None
    return limit if furthest_of([limit, value], settings) == value else value
