"""How an API spells moments: a strptime pattern, or a word; and which texts are moments that do not sort."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import Any

UNITS = {"epoch": 1, "epoch_ms": 1000}
"""Words for numbers that count from 1970: how many of them are a second."""
HTTP_DATE = "http_date"
"""The word for dates as HTTP headers spell them (RFC 9110, 5.6.7)."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SAMPLE = datetime(2011, 11, 23, 16, 45, 56, 123456, tzinfo=UTC)  # no two of its parts are alike, nor a default
_COARSE = tuple(timedelta(**part) for part in ({"seconds": 1}, {"minutes": 1}, {"hours": 1})) + tuple(
    timedelta(days=days) for days in (1, 31, 366)
)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII).fullmatch
_DIRECTIVE = re.compile(r"%(-?[a-zA-Z%])")


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """One spelling of moments. A moment without a zone is one of UTC.

    Attributes:
        text: As the user wrote it.
        days_only: It tells a day, a month or a year, and no time of day.
        has_zone: What it spells names its offset from UTC, or is always in UTC.
    """

    text: str
    days_only: bool = False
    has_zone: bool = True

    @staticmethod
    @lru_cache(maxsize=256)
    def of(text: str) -> TimeFormat:
        """The format that a text names.

        Raises:
            ValueError: It is no word for one and no pattern, or what the pattern spells cannot be read as one moment.
        """
        if text in UNITS or text == HTTP_DATE:
            return TimeFormat(text)
        directives = _DIRECTIVE.findall(text)
        if not directives:
            raise ValueError(f"give a strptime pattern such as %d-%m-%Y, or one of {', '.join([*UNITS, HTTP_DATE])}")
        if "Z" in directives:
            raise ValueError("a zone's name is no offset: write UTC or GMT itself into the pattern, or take %z")
        if _SAMPLE.strftime(text) == _SAMPLE.replace(year=2012).strftime(text):
            raise ValueError(f"{text!r} does not tell the year")
        days_only = _SAMPLE.strftime(text) == _SAMPLE.replace(hour=4, minute=1, second=2, microsecond=3).strftime(text)
        found = TimeFormat(text, days_only, "z" in directives)
        try:
            read = found.moment(_SAMPLE.strftime(text))
        except ValueError:
            raise ValueError(f"{text!r} is no pattern that strptime reads") from None
        if read not in _shortened(_SAMPLE):
            raise ValueError(f"{text!r} leaves out a part of the moment: two that are far apart are spelled alike")
        return found

    @property
    def unit(self) -> int:
        """Of numbers that count from 1970, how many are a second; 0 of all others."""
        return UNITS.get(self.text, 0)

    def moment(self, value: Any) -> datetime:
        """The moment that a value spells.

        Raises:
            ValueError: It is not of this format, or lies outside the calendar.
        """
        try:
            return self._moment(value)
        except (ValueError, TypeError, ArithmeticError):
            raise ValueError(f"{value!r} is not spelled as {self.text!r}") from None

    def _moment(self, value: Any) -> datetime:
        if self.unit:
            if isinstance(value, bool) or not _NUMBER(str(value) if not isinstance(value, float) else f"{value:f}"):
                raise ValueError("no number")
            return _EPOCH + timedelta(microseconds=int(Decimal(str(value)) * 1_000_000 / self.unit))
        if type(value) is not str:
            raise ValueError("no text")
        if self.text == HTTP_DATE:
            moment = parsedate_to_datetime(value)
        else:
            moment = datetime.strptime(value, self.text.replace("%-", "%"))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment

    def spell(self, moment: datetime, *, up: bool = False) -> str | int:
        """The moment in this format; where the format is too coarse for it, the one before it, or behind it (`up`).

        A day is the one of the moment's own zone, a time of day without a zone that of UTC.

        Raises:
            ValueError: The calendar does not have it.
        """
        try:
            return self._spell(moment, up=up)
        except OverflowError:
            raise ValueError(f"{moment.isoformat()} cannot be spelled as {self.text!r}") from None

    def _spell(self, moment: datetime, *, up: bool) -> str | int:
        if self.unit:
            spelled = (moment - _EPOCH) // timedelta(microseconds=1) * self.unit
            return -(-spelled // 1_000_000) if up else spelled // 1_000_000
        if self.days_only:
            moment = moment.replace(tzinfo=UTC)
        elif not self.has_zone or self.text == HTTP_DATE:
            moment = moment.astimezone(UTC)
        found = self._text(moment)
        if up and self.moment(found) < moment:
            return next(text for step in _COARSE if self.moment(text := self._text(moment + step)) >= moment)
        return found

    def _text(self, moment: datetime) -> str:
        return format_datetime(moment, usegmt=True) if self.text == HTTP_DATE else moment.strftime(self.text)


def _shortened(moment: datetime) -> set[datetime]:
    """The moment, and what is left of it without its smallest parts."""
    second = moment.replace(microsecond=0)
    minute = second.replace(second=0)
    hour = minute.replace(minute=0)
    day = hour.replace(hour=0)
    month = day.replace(day=1)
    return {moment, second, minute, hour, day, month, month.replace(month=1)}


# ---- texts that look like dates ------------------------------------------------------------------------------------
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?"
)
_TIME = r"\d{1,2}:\d\d(?::\d\d)?(?:[.,]\d+)?"
_DAY, _OF_MONTH, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:\d{4}|\d\d)"
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"

# The largest part comes first, each with all its digits, and the zone is always the same: as texts, they sort.
_SORTS = re.compile(
    r"\d{4}([-/.]?)\d\d(?:\1\d\d)?(?:[T _]?\d\d:?\d\d(?::?\d\d(?:[.,]\d+)?)?)?\s?(?:Z|UTC|GMT|[+-]00:?00)?",
    re.ASCII | re.IGNORECASE,
).fullmatch
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d|$)", re.ASCII).match
_OF_NO_ORDER = re.compile(
    rf"""
      {_DAY}(?P<one>[-/]){_OF_MONTH}(?P=one){_YEAR}(?![^\WT]|(?P=one)\d)  # 28-01-2024, 28/1/24
    | {_OF_MONTH}(?P<two>[-/]){_DAY}(?P=two){_YEAR}(?![^\WT]|(?P=two)\d)  # 01/28/2024
    | {_DAY}\.\s?{_OF_MONTH}\.\s?\d{{4}}(?![^\WT]|\.\d)                 # 28.1.2024
    | \d\d\.\d\d\.\d\d(?![\w.])                                         # 28.01.24
    | {_OF_MONTH}[-/]\d{{4}}$                                           # 01/2024
    | \d{{4}}(?P<three>[-/.])(?:\d(?P=three)\d{{1,2}}|\d\d(?P=three)\d)(?![\w.-])   # 2024-1-5
    | {_WEEKDAY}\d{{1,2}}(?:st|nd|rd|th)?[\s./-]*{_MONTH}[\s.,/-]*{_YEAR}(?![^\W_])  # Mon, 28 Jan 2024; 28-JAN-24
    | {_WEEKDAY}{_MONTH}[\s.,/-]*\d{{1,4}}(?!\w)                        # Jan 5, 2024; Sun Jan 28 10:00:00 2024
    | {_MONTH}[\s.,/-]*\d{{1,2}}(?:st|nd|rd|th)\b                       # January 5th
    | \d{{4}}[\s./-]*{_MONTH}(?![^\W_])                                 # 2024-Jan-28
    | \d{{1,2}}\.?\s(?:de\s)?[^\W\d_]{{3,}}\.?\s(?:de\s)?\d{{4}}\b      # 28 janv. 2024
    | \d:\d\d(?::\d\d)?$                                                # 9:05
    | {_TIME}\s?[ap]\.?m\b                                              # 10:15 PM
    | \d+\s\w+\sago$                                                    # 2 hours ago
    | \d{{4}}(?P<four>[-/.]?)\d\d(?P=four)\d\d[T\s_]?(?:                # 2024-01-28
          \d:\d\d                                                       #   9:05
        | \d\d:?\d\d(?::?\d\d(?:[.,]\d+)?)?\s?(?:
              [ap]\.?m\b                                                #   10:00 PM
            | [+-]\d\d(?::?\d\d)?(?![\w.-])                             #   10:00 +0200
            | [a-z]{{2,5}}$                                             #   10:00 CET
          )
      )
    """,
    re.ASCII | re.IGNORECASE | re.VERBOSE,
).match


def is_of_no_order(text: str) -> bool:
    """Whether a text looks like a date or a time whose spelling does not sort: `28-01-2024`, `Jan 5 2024`, `9:05 PM`.

    Other texts may be identifiers, and sort as their maker meant them to.
    """
    text = text.strip()
    return bool(_OF_NO_ORDER(text)) and not _SORTS(text) and not _is_iso(text)


def _is_iso(text: str) -> bool:
    """Whether a text is ISO 8601 with hyphens and colons, which compares as the moment that it is."""
    if not _ISO(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
