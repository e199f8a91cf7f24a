"""The order of a cursor's values: how two of them compare, how one is moved by `lag`, where they lie in time."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from dagster_restapi.config.time_format import TimeFormat, is_of_no_order

CursorKind = Literal["instant", "date", "number", "text"]

SKEW = timedelta(minutes=5)
"""How far two clocks may be apart."""
_EARLIEST_ZONE = timedelta(hours=14)  # where a day begins first (Pacific/Kiritimati)

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII).fullmatch
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:[.,](\d+))?", re.ASCII).match
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII).fullmatch
_FAMILY = {"instant": "time", "date": "time", "number": "number", "text": "text"}


class Rank(NamedTuple):
    """A cursor value in a form that compares as its kind does."""

    kind: CursorKind
    order: Any


class CursorValueError(ValueError):
    """A value that has no place in the cursor's order; `hint` says which setting gives it one."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what, self.hint = what, hint


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


def _rank_text(text: str) -> Rank:
    if _DATE(text):
        moment = iso_moment(text)
        if moment:
            return Rank("date", (moment, ""))
    match = _DATE_TIME(text)
    if match:
        moment = iso_moment(text)
        if moment:  # digits beyond microseconds decide between equal moments
            return Rank("instant", (moment, (match[1] or "")[6:].rstrip("0")))
    if _NUMBER(text):
        return Rank("number", Decimal(text))
    return Rank("text", text)


def iso_moment(text: str) -> datetime | None:
    """The moment that ISO 8601 spells, without a zone one of UTC; None of any other text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def compare(one: Rank, other: Rank) -> int:
    """-1, 0 or 1 as `one` lies before, at or behind `other`.

    Raises:
        TypeError: The two are of kinds that have no common order.
    """
    if family(one) != family(other):
        raise TypeError(f"a cursor of kind {one.kind} does not compare with one of kind {other.kind}")
    return int(one.order > other.order) - int(one.order < other.order)


def family(ranked: Rank) -> str:
    """What a kind compares with: `time`, `number` or `text`."""
    return _FAMILY[ranked.kind]


@dataclass(frozen=True, slots=True)
class CursorOrder:
    """The order that `cursor_format` gives the values of a cursor.

    Attributes:
        format: How they spell moments; None: ISO 8601, numbers, and texts that sort by themselves.
        as_text: Texts compare as texts, whatever they look like.
    """

    format: TimeFormat | None = None
    as_text: bool = False

    @staticmethod
    @lru_cache(maxsize=256)
    def of(cursor_format: str | None) -> CursorOrder:
        """The order of a setting that is valid."""
        if cursor_format is None or cursor_format == "text":
            return CursorOrder(as_text=cursor_format is not None)
        return CursorOrder(TimeFormat.of(cursor_format))

    def rank(self, value: Any) -> Rank | None:
        """How a value compares; None where it cannot be a cursor.

        Raises:
            CursorValueError: It is a text of no known order, or not of the cursor's format.
        """
        if self.format is not None:
            is_scalar = isinstance(value, (str, int, float, Decimal)) and not isinstance(value, bool)
            return _rank_formatted(self.format, value) if is_scalar else None
        if self.as_text and type(value) is str:
            return Rank("text", value)
        return _rank_that_sorts(value) if type(value) is str else rank(value)

    def moment(self, ranked: Rank) -> datetime | None:
        """The moment that a value stands for; None where it is not known to be one."""
        if ranked.kind in ("instant", "date"):
            moment: datetime = ranked.order[0]
            return moment
        if ranked.kind == "number" and self.format is not None:
            return self.format.moment(ranked.order)
        return None

    def ahead(self, ranked: Rank, now: datetime) -> timedelta | None:
        """How far a value lies ahead of the clock, a difference of clocks forgiven; None where it does not."""
        moment = self.moment(ranked)
        if moment is None:
            return None
        distance = moment - now - (timedelta(0) if ranked.kind == "date" else SKEW)
        return distance if distance > timedelta(0) else None

    def is_from_future(self, ranked: Rank, now: datetime) -> bool:
        """Whether a value lies ahead of every clock: a day does not where it has begun in any zone."""
        distance = self.ahead(ranked, now)
        return distance is not None and (ranked.kind != "date" or distance > _EARLIEST_ZONE)

    def shifted(self, value: Any, lag: float, direction: int) -> Any:
        """The value moved against the cursor's direction: by seconds for date-times, days for dates, else by units.

        Source: dlt's `lag`.

        Raises:
            CursorValueError: It is a text, or the calendar ends before that.
        """
        ranked = self.rank(value)
        if not lag or ranked is None:
            return value
        try:
            return self._shifted(value, ranked, -lag * direction)
        except (OverflowError, ValueError):
            pass
        raise CursorValueError(
            f"`lag` {lag:g} cannot be taken from the cursor {value!r}",
            "It is seconds for date-times, days for dates, units for numbers. For texts that spell moments, "
            "say how by `cursor_format`; others have no distance.",
        )

    def _shifted(self, value: Any, ranked: Rank, step: float) -> Any:
        step = int(step) if step == int(step) else step
        if ranked.kind == "number":
            step *= (self.format.unit if self.format else 0) or 1
            if isinstance(value, str):
                return str(Decimal(value) + Decimal(str(step)))
            moved = value + step
            return int(moved) if isinstance(value, int) and moved == int(moved) else moved
        moment = self.moment(ranked)
        if moment is None:
            raise ValueError("a text")
        if ranked.kind == "date":
            moved = moment + timedelta(days=math.copysign(math.ceil(abs(step)), step))
            return self.format.spell(moved) if self.format else moved.date().isoformat()
        moved = moment + timedelta(seconds=step)
        if self.format:
            return self.format.spell(moved, up=step > 0)
        return moved.astimezone(UTC).isoformat().replace("+00:00", "Z")

    def spelled(self, value: Any, *, up: bool = False) -> Any:
        """A value that a person or a partition gives, as records spell theirs.

        Raises:
            CursorValueError: It is neither of the cursor's format nor ISO 8601.
        """
        if self.format is None:
            return value
        try:
            self.rank(value)
        except CursorValueError:
            moment = iso_moment(value) if isinstance(value, str) else None
            if moment is None:
                raise
            return self.format.spell(moment, up=up)
        return value


@lru_cache(maxsize=4096)
def _rank_that_sorts(text: str) -> Rank:
    ranked = _rank_text(text)
    if ranked.kind == "text" and is_of_no_order(text):
        raise CursorValueError(
            f"{text!r} looks like a date, and texts of this spelling do not sort by time",
            "Say by `cursor_format` how it is spelled: a strptime pattern such as %d-%m-%Y, or http_date; or `text`, "
            "where it is no date and sorts as it is.",
        )
    return ranked


@lru_cache(maxsize=4096, typed=True)
def _rank_formatted(format_: TimeFormat, value: str | int | float | Decimal) -> Rank:
    try:
        moment = format_.moment(value)
    except ValueError as error:
        hint = "Correct `cursor_format`: it says how the cursor's values in the records are spelled."
        raise CursorValueError(str(error), hint) from None
    if format_.unit:
        return Rank("number", Decimal(value) if isinstance(value, str) else value)
    return Rank("date" if format_.days_only else "instant", (moment, ""))
