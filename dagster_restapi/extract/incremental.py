"""The cursor window of one walk: which values a request asks for, which rows stay, how far the walk came."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dagster_restapi.config.jsonpath import MISSING, first, is_plain, select
from dagster_restapi.config.time_format import UNITS, TimeFormat
from dagster_restapi.errors import ExtractError
from dagster_restapi.extract.cursor_order import CursorOrder, CursorValueError, Rank, compare, family
from dagster_restapi.extract.windows import Windows
from dagster_restapi.schema import instants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dagster_restapi.config.endpoint import IncrementalConfig
    from dagster_restapi.model import Cursor, Slice


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Range:
    """The part of a resource that one walk is to bring, and how far it has come. One per walk; not shared by threads.

    Attributes:
        start: Rows before it are dropped; None: no lower limit. As the API or the user spelled it.
        end: Rows at or behind it are dropped; None: no upper limit.
        last: The cursor before the run, without lag.
        furthest: The furthest value of the rows that were kept, those that lie ahead of the clock left out.
        ahead: The furthest value of those, where a cursor is to move: it would pass all that comes until then.
        windows: Of partitions: the rows within them stay, whatever the settings say of ranges and directions.
        holds_back: Whether rows that lie ahead of the clock leave the cursor behind.
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
    holds_back: bool = False
    ahead: Any = None
    places: list[int] = field(default_factory=list)
    order: CursorOrder = field(init=False)
    _start: Rank | None = field(default=None, init=False)
    _end: Rank | None = field(default=None, init=False)
    _furthest: Rank | None = field(default=None, init=False)
    _ahead: Rank | None = field(default=None, init=False)
    _direction: int = field(default=1, init=False)
    _passed: bool = field(default=False, init=False)
    _clock: datetime = field(default_factory=_now, init=False)

    def __post_init__(self) -> None:
        self._direction, self.order = direction(self.settings), order_of(self.settings)
        if self.windows is None:
            with _faults(self.where):
                self._start = None if self.start is None else self.order.rank(self.start)
                self._end = None if self.end is None else self.order.rank(self.end)

    @classmethod
    def of(
        cls,
        settings: IncrementalConfig,
        slice_: Slice,
        cursor: str | int | float | None,
        where: str,
        now: datetime | None = None,
    ) -> Range:
        """The range of a slice: a window by hand, else the partition's window, else on from the cursor's value.

        Args:
            now: What `end_value: now` stands for; default: the present.

        Raises:
            ExtractError: A value of it has no place in the cursor's order, or `lag` cannot be taken from it.
        """
        with _faults(where):
            return cls._of(settings.filled(), slice_, cursor, where, now or _now())

    @classmethod
    def _of(cls, settings: IncrementalConfig, slice_: Slice, cursor: Any, where: str, now: datetime) -> Range:
        order, towards = order_of(settings), direction(settings)
        start, end = settings.initial_value, settings.end_value
        if settings.ends_now:
            end = now.isoformat(timespec="seconds").replace("+00:00", "Z")
        if slice_.by_hand:
            start = slice_.start_value if slice_.start_value is not None else start
            end = slice_.end_value if slice_.end_value is not None else end
        elif slice_.window:
            window = slice_.window
            windows = Windows([part for _, part in slice_.stretch] or [window])
            return cls(settings, where, window.start, window.end, window.start, windows=windows)
        start, end = order.spelled(start, up=towards < 0), order.spelled(end, up=towards > 0)
        if slice_.by_hand or settings.fixed_end is not None:
            return cls(settings, where, start, end, start)
        last = start
        if cursor is not None:
            start, last = order.shifted(cursor, settings.lag or 0, towards), cursor
        return cls(settings, where, start, end, last, holds_back=towards > 0)

    def resume(self, furthest: Any, out_of_range: int, without_cursor: int, ahead: Any = None) -> None:
        """Goes on with the counts of an earlier try."""
        self.out_of_range, self.without_cursor = out_of_range, without_cursor
        if furthest is not None:
            self.furthest, self._furthest = furthest, self.order.rank(furthest)
        if ahead is not None:
            self.ahead, self._ahead = ahead, self.order.rank(ahead)

    @property
    def placeholders(self) -> dict[str, Any]:
        """The values of `{incremental.…}`; those of the cursor after `convert`, or as `param_format` spells them.

        Raises:
            ExtractError: A value is no moment, and `param_format` is one of moments.
        """
        values = {
            "start_value": self.start,
            "initial_value": self.settings.initial_value,
            "last_value": self.last,
            "end_value": self.end,
        }
        with _faults(self.where):
            values = {
                name: value if value is None else self._for_request(value, up=(name == "end_value") == self._upwards)
                for name, value in values.items()
            }
        lag = self.settings.lag
        plain = int(lag) if lag is not None and lag.is_integer() else lag  # 60 as it was written, not 60.0
        return {**values, "lag": plain, "cursor_path": self.settings.cursor_path}

    @property
    def _upwards(self) -> bool:
        return self._direction > 0 or self.windows is not None

    def _for_request(self, value: Any, *, up: bool) -> Any:
        value = self.order.spelled(value, up=up)
        if self.settings.convert is not None:
            return self.settings.convert(value)
        if self.settings.param_format is None:
            return value
        ranked = self.order.rank(value)
        moment = self.order.moment(ranked) if ranked else None
        if moment is None:
            raise CursorValueError(
                f"`param_format` spells moments, and the cursor's value {value!r} is not known to be one",
                "Say by `cursor_format` how the records spell theirs: `epoch`, `epoch_ms` or a strptime pattern.",
            )
        return _in_days_of_both(
            TimeFormat.of(self.settings.param_format), moment, up=up, clock=self.windows is not None
        )

    @property
    def finished(self) -> bool:
        """Whether `row_order` says that no later page can hold a row within the range."""
        return self._passed

    def keep(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The records within the range, in their order; moves `furthest` and the counts.

        Raises:
            ExtractError: A record has no cursor value and `on_cursor_value_missing` is `raise`, its value has no order,
                or its kind does not compare with the others'.
        """
        self.places, self._clock = [], _now()
        with self._faults_of_values():
            values = list(map(self._value, records))
            if self._keeps_all(values):
                return records
            return [record for record, value in zip(records, values, strict=True) if self._keep(value)]

    def not_beyond(self, position: str | float, records: list[dict[str, Any]]) -> list[int]:
        """1 for each of the records that does not lie beyond this position, else 0."""
        wanted = self.order.rank(position)
        assert wanted is not None, "a cursor has a rank"
        find = self._value
        ranks = (self.order.rank(find(record)) for record in records)
        return [int(one is None or compare(one, wanted) * self._direction <= 0) for one in ranks]

    @property
    def _value(self) -> Callable[[Any], Any]:
        """Finds the cursor's value of a record: of many that its path matches, the furthest."""
        path = self.settings.cursor_path
        if is_plain(path):
            return first(path)
        matches = select(path)

        def furthest_match(record: Any) -> Any:
            found = [value for value in matches(record) if value is not None]
            if len(found) < 2:
                return found[0] if found else MISSING
            return _furthest(found, self.order, self._direction)

        return furthest_match

    def _keeps_all(self, values: list[Any]) -> bool:
        """Whether the least and the greatest value of a page lie within the range; then all do, and are taken at once.

        False also says that it takes a look at each of them.
        """
        order = None if self.order.format and not self.order.format.unit else _plain_order(values)
        if not order:
            return False
        if self.windows and (len(self.windows) > 1 or type(order[0]) is not datetime):
            return False  # what lies between two numbers may be of another unit, and of another time
        least, greatest = (values[order.index(end(order))] for end in (min, max))
        try:
            ranks = [self.order.rank(least), self.order.rank(greatest)]
            furthest, ranked = (greatest, ranks[1]) if self._direction > 0 else (least, ranks[0])
            assert ranked is not None
            if not all(one is not None and self._side(one) == 0 for one in ranks) or self._is_ahead(ranked):
                return False
            if self._furthest is None or compare(ranked, self._furthest) * self._direction > 0:
                self.furthest, self._furthest = furthest, ranked
        except (TypeError, CursorValueError):
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
        if value is MISSING or value is None:
            return self._keep_without()
        ranked = self.order.rank(value)
        if ranked is None:
            raise ExtractError(
                f"the value at the cursor path {self.settings.cursor_path!r} is a {type(value).__name__}",
                where=self.where,
                hint="A cursor is a text or a number.",
            )
        if ranked.kind == "text" and self.settings.lag and not self.windows:
            self.order.shifted(value, self.settings.lag, self._direction)  # says why it cannot be
        if not self._within(ranked):
            self.out_of_range += 1
            return False
        if self._furthest is None or compare(ranked, self._furthest) * self._direction > 0:
            if not self._is_ahead(ranked):
                self.furthest, self._furthest = value, ranked
            elif self._ahead is None or compare(ranked, self._ahead) > 0:
                self.ahead, self._ahead = value, ranked
        return True

    def _is_ahead(self, ranked: Rank) -> bool:
        return self.holds_back and self.order.ahead(ranked, self._clock) is not None

    @contextmanager
    def _faults_of_values(self) -> Iterator[None]:
        """Says of what is wrong with a record's value where it stands."""
        place = f"the cursor path {self.settings.cursor_path!r}"
        try:
            yield
        except CursorValueError as error:
            fault = ExtractError(f"{error.what}, at {place}", where=self.where, hint=error.hint)
        except TypeError as error:
            hint = "Give `initial_value` and `end_value` the kind that the records have; `convert` shapes requests."
            if self.settings.ends_now:
                hint = "`end_value: now` is a moment: where the cursor counts from 1970, set `cursor_format`."
            if self.windows:
                hint = "Within time windows a cursor is a date-time, a date, or a number of seconds since 1970."
            fault = ExtractError(f"{error}, at {place}", where=self.where, hint=hint)
        else:
            return
        raise fault

    def _within(self, ranked: Rank) -> bool:
        side = self._side(ranked)
        if side:
            below = side * (1 if self.windows else self._direction) < 0
            self._passed |= self.settings.row_order == ("desc" if below else "asc")
        elif self.windows:
            self.places.append(self._window(self.windows, ranked))
        return not side

    def _side(self, ranked: Rank) -> int:
        """-1, 0 or 1 as a value lies before, within or behind the range."""
        if self.windows:
            place = self._window(self.windows, ranked)
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

    def _window(self, windows: Windows, ranked: Rank) -> int:
        if ranked.kind == "number" and self.order.format:  # its unit is told, and needs no guess
            return windows.place("instant", (self.order.moment(ranked), ""))
        return windows.place(ranked.kind, ranked.order)


def direction(settings: IncrementalConfig) -> int:
    """1 where the cursor moves up, -1 where it moves down."""
    return -1 if settings.last_value_func == "min" else 1


def order_of(settings: IncrementalConfig) -> CursorOrder:
    """The order of the cursor's values."""
    return CursorOrder.of(settings.cursor_format)


@contextmanager
def _faults(where: str) -> Iterator[None]:
    try:
        yield
    except CursorValueError as error:
        fault = ExtractError(error.what, where=where, hint=error.hint)
    else:
        return
    raise fault


def _in_days_of_both(format_: TimeFormat, moment: datetime, *, up: bool, clock: bool) -> str | int:
    """The moment for a request, so that nothing is left out.

    Of a day, the API's zone may be the value's own or UTC: the one that asks for more is taken. A window's day is the
    one of its own zone (`clock`).
    """
    own = format_.spell(moment, up=up)
    if clock or not format_.days_only:
        return own
    other = format_.spell(moment.astimezone(UTC), up=up)
    first_one, last_one = sorted((own, other), key=format_.moment)
    return last_one if up else first_one


def has_other_order(settings: IncrementalConfig, before: str | None, cursor: Cursor | None) -> bool:
    """Whether a cursor was found in another order than the settings give its values: it may have passed rows.

    Args:
        before: The `cursor_format` that it was found with.
        cursor: The position; None: those of a child's parents, whose kinds are not known.
    """
    now = settings.cursor_format
    if before == now:
        return False
    if before is None and now == "text":
        return cursor is not None and cursor.kind != "text"
    if cursor is not None and cursor.kind == "number":  # numbers compare as numbers, whatever they count
        return not {before, now} <= {None, *UNITS}
    return not (cursor is not None and before is None and cursor.kind in ("instant", "date"))


def fault_of_window(settings: IncrementalConfig, slice_: Slice, like: Any) -> str:
    """Why no row can lie in a window that is given by hand; "" where one can.

    Args:
        like: A value that those of the records compare with, as far as one is known.
    """
    try:
        range_ = Range.of(settings, slice_, None, "")
        wanted = range_.order.rank(range_.order.spelled(like)) if like is not None else None
    except (ExtractError, CursorValueError) as error:
        return error.what
    start, end = range_._start, range_._end
    for name, value, one in (("start_value", range_.start, start), ("end_value", range_.end, end)):
        if one and wanted and family(one) != family(wanted):
            return f"{name} {value!r} is of the kind {one.kind}, and {like!r} of the kind {wanted.kind}"
        like, wanted = (value, one) if wanted is None else (like, wanted)
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


def furthest_of(values: Iterable[Any], settings: IncrementalConfig) -> Any:
    """The furthest of several cursor values, by the settings' direction; None of none."""
    return _furthest(values, order_of(settings), direction(settings))


def _furthest(values: Iterable[Any], order: CursorOrder, towards: int) -> Any:
    best: tuple[Any, Rank] | None = None
    for value in values:
        ranked = None if value is None else order.rank(value)
        if ranked is not None and (best is None or compare(ranked, best[1]) * towards > 0):
            best = (value, ranked)
    return best[0] if best else None


def nearest_of(value: Any, limit: Any, settings: IncrementalConfig) -> Any:
    """The one of two cursor values that comes first by the settings' direction; None where one of them is None."""
    if value is None or limit is None:
        return None
    return limit if furthest_of([limit, value], settings) == value else value
