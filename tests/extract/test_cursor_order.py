"""A cursor has an order: texts that do not sort are refused, formats give them one, what lies ahead holds it back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dagster_restapi.config.endpoint import IncrementalConfig
from dagster_restapi.config.time_format import TimeFormat, is_of_no_order
from dagster_restapi.errors import ExtractError, RestApiError
from dagster_restapi.extract.cursor_order import CursorOrder
from dagster_restapi.extract.incremental import Range, has_other_order
from dagster_restapi.model import Cursor, Slice, Window

FORMATS = ("%d-%m-%Y %H:%M:%S", "%-d/%-m/%Y %I:%M:%S %p", "%b %d, %Y %H:%M:%S %z", "http_date", "epoch", "epoch_ms")
DAYS = ("%d-%m-%Y", "%-m/%-d/%Y", "%B %d, %Y", "%d%b%y")
SECONDS = st.integers(0, 1_700_000_000).map(lambda second: datetime.fromtimestamp(second, UTC))


def range_of(cursor: Any = None, slice_: Slice | None = None, path: str = "at", **options: Any) -> Range:
    return Range.of(IncrementalConfig(cursor_path=path, **options), slice_ or Slice(asset="a"), cursor, "resource r")


def kept(range_: Range, *values: Any) -> list[Any]:
    return [record["at"] for record in range_.keep([{"at": value} for value in values])]


# ---- which texts have an order ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        *("28-01-2024", "01/02/2024", "1/2/2024", "28/1/24", "12-31-99", "28.01.2024", "28.1.2024 10:00", "28.01.24"),
        *("01/2024", "2024-1-5", "2024/1/15", "28-01-2024T10:00:00Z", "01/28/2024 10:00:00 AM"),
        *("Jan 5 2024", "Jan 5, 2024", "January 2024", "5th March 2024", "28JAN24", "28-Jan-2024", "2024-Jan-28"),
        *("28 janv. 2024", "28 de enero de 2024", "Mar-24", "Sun Nov  6 08:49:37 1994"),
        *("Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT"),
        *("9:05", "10:15 PM", "2024-01-28 9:05", "2024-01-28 10:00 PM", "2 hours ago"),
        *("2024-01-28 10:00:00 CET", "2024/01/28 10:00:00 -07:00", "20240128T101500+0200"),
        "2024-01-28T10:00:00+01:00[Europe/Berlin]",
    ],
)
def test_texts_that_look_like_dates_and_do_not_sort_are_refused(text: str) -> None:
    with pytest.raises(ExtractError, match=r"looks like a date.*at the cursor path 'at'") as error:
        kept(range_of(), text)
    assert "`cursor_format`" in str(error.value)
    with pytest.raises(ValidationError, match="`cursor_format`"):
        IncrementalConfig(cursor_path="at", initial_value=text)
    assert kept(range_of(cursor_format="text"), text) == [text]


@pytest.mark.parametrize(
    "text",
    [
        *("2024-01-28", "2024-01-28T10:00:00+02:00", "2024-01-28 10:00:00 UTC", "2024-01-28 10:00:00 +0200"),
        *("2024/01/28", "2024/01/28 10:00:00", "20240128", "20240128T101500Z", "2024-01", "2024-W05-3", "2024-Q1"),
        *("01ARZ3NDEKTSV4RRFFQ69G5DEC", "28MAR24XYZ", "550e8400-e29b-41d4-a716-446655440000", "000123", "v12", "abc"),
        *("10.0.12.7", "1.10.2", "2024-01-28-000123", "01-02-2024-0007", "12-34-5678", "marble-12", "dec0ffee", "1/2"),
        *("/Date(1704067200000)/", "10:15:30", "12:345", "INV-2024-01"),
    ],
)
def test_other_texts_keep_the_order_that_they_had(text: str) -> None:
    assert kept(range_of(), text) == [text]


@given(moment=SECONDS, zone=st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours))))
def test_no_spelling_of_iso_8601_is_refused(moment: datetime, zone: timezone) -> None:
    there = moment.astimezone(zone)
    spellings = [there.isoformat(sep) for sep in "T "]
    spellings += [
        there.strftime("%Y-%m-%dT%H:%M:%S.123%z"),
        there.date().isoformat(),
        moment.strftime("%Y%m%dT%H%M%SZ"),
    ]
    assert [text for text in spellings if is_of_no_order(text)] == []


@given(moments=st.lists(SECONDS, min_size=2, max_size=6))
def test_a_spelling_that_does_not_sort_is_never_taken_for_one_that_does(moments: list[datetime]) -> None:
    for pattern in ("%d-%m-%Y", "%m/%d/%Y %H:%M", "%b %d %Y", "%a, %d %b %Y %H:%M:%S GMT", "%d %B %Y", "%d.%m.%y"):
        texts = [moment.strftime(pattern) for moment in moments]
        assert all(map(is_of_no_order, texts)), texts


# ---- cursor_format ---------------------------------------------------------------------------------------------------
def respelled(format_: str, moment: datetime) -> Any:
    """The moment as another program than ours would spell it."""
    if format_ == "http_date":
        return format_datetime(moment, usegmt=True)
    units = {"epoch": 1, "epoch_ms": 1000}
    return int(moment.timestamp()) * units[format_] if format_ in units else moment.strftime(format_)


@given(moments=st.lists(SECONDS, min_size=1, max_size=8), format_=st.sampled_from((*FORMATS, *DAYS)), data=st.data())
def test_values_of_a_format_are_compared_as_moments_and_kept_as_they_are_spelled(
    moments: list[datetime], format_: str, data: st.DataObject
) -> None:
    start = data.draw(st.sampled_from(moments))
    days = format_ in DAYS
    values = [respelled(format_, moment) for moment in moments]
    range_ = range_of(respelled(format_, start), cursor_format=format_)
    wanted = [moment.date() if days else moment for moment in moments]
    limit = start.date() if days else start
    assert kept(range_, *values) == [value for value, moment in zip(values, wanted, strict=True) if moment >= limit]
    assert range_.furthest in [value for value, moment in zip(values, wanted, strict=True) if moment == max(wanted)]
    assert range_.placeholders["start_value"] == respelled(format_, start)


@given(moment=SECONDS, format_=st.sampled_from(FORMATS), lag=st.integers(1, 10**6))
def test_lag_is_seconds_in_any_format_of_moments(moment: datetime, format_: str, lag: int) -> None:
    range_ = range_of(respelled(format_, moment), cursor_format=format_, lag=lag)
    assert TimeFormat.of(format_).moment(range_.start) == moment - timedelta(seconds=lag)
    assert type(range_.start) is type(range_.last)


@pytest.mark.parametrize("format_", DAYS)
def test_lag_is_days_in_a_format_of_days(format_: str) -> None:
    day = datetime(2024, 3, 1, tzinfo=UTC)
    range_ = range_of(day.strftime(format_), cursor_format=format_, lag=1)
    assert range_.start == (day - timedelta(days=1)).strftime(format_)


@pytest.mark.parametrize(("value", "kept_as"), [("1704067200", "1704067140"), (1704067200.5, 1704067140.5)])
def test_lag_leaves_numbers_in_their_own_spelling(value: Any, kept_as: Any) -> None:
    assert range_of(value, cursor_format="epoch", lag=60).start == kept_as


@pytest.mark.parametrize(
    ("format_", "wanted"), [("%d-%m-%Y", "01-02-2024"), ("epoch", 1706745600), ("epoch_ms", 1706745600000)]
)
def test_a_start_in_iso_8601_is_spelled_as_the_records_are(format_: str, wanted: Any) -> None:
    for start in ("2024-02-01", "2024-02-01T00:00:00Z"):
        assert range_of(initial_value=start, cursor_format=format_).placeholders["start_value"] == wanted
    by_hand = Slice(asset="a", start_value="2024-02-01")
    assert range_of(slice_=by_hand, cursor_format=format_).placeholders["start_value"] == wanted


def test_a_value_of_another_spelling_is_refused_by_its_name() -> None:
    with pytest.raises(ExtractError, match="'2024-01-28' is not spelled as '%d-%m-%Y', at the cursor path 'at'"):
        kept(range_of(cursor_format="%d-%m-%Y"), "28-01-2024", "2024-01-28")
    with pytest.raises(ExtractError, match="1704067200000000 is not spelled as 'epoch'"):
        kept(range_of(cursor_format="epoch"), 1704067200000000)


WINDOW = Window(start="2024-03-10T00:00:00+01:00", end="2024-03-11T00:00:00+01:00")


@pytest.mark.parametrize(
    ("format_", "inside", "outside"),
    [
        ("%d-%m-%Y", "10-03-2024", "11-03-2024"),
        ("%d-%m-%Y %H:%M", "09-03-2024 23:00", "10-03-2024 23:00"),
        ("epoch", 1710025200, 1710111600),
        ("epoch_ms", 1710025200000, 1710111600000),
        ("epoch_ms", "1710025200000", "1710111600000"),
        ("http_date", "Sat, 09 Mar 2024 23:00:00 GMT", "Sun, 10 Mar 2024 23:00:00 GMT"),
    ],
)
def test_time_windows_hold_values_of_a_format_and_are_asked_for_in_it(format_: str, inside: Any, outside: Any) -> None:
    range_ = range_of(slice_=Slice(asset="a", window=WINDOW), cursor_format=format_)
    assert kept(range_, inside, outside) == [inside]
    asked = range_.placeholders
    assert (str(asked["start_value"]), str(asked["end_value"])) == (str(inside), str(outside))


def test_a_small_number_of_a_told_unit_is_not_taken_for_another() -> None:
    window = Window(start="1970-01-02T00:00:00Z", end="1970-01-03T00:00:00Z")
    assert kept(range_of(slice_=Slice(asset="a", window=window), cursor_format="epoch_ms"), 100_000_000, 100_000) == [
        100_000_000
    ]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"cursor_format": "%d-%m"}, "does not tell the year"),
        ({"cursor_format": "iso"}, "give a strptime pattern"),
        ({"cursor_format": "%d-%m-%Y %Z"}, "write UTC or GMT itself"),
        ({"cursor_format": "%d-%m-%Y %I:%M"}, "leaves out a part"),
        ({"cursor_format": "%Y-%d"}, "leaves out a part"),
        ({"cursor_format": "%Y-%m-%d %s"}, "no pattern that strptime reads"),
        ({"param_format": "text"}, "give a strptime pattern"),
        ({"param_format": "epoch", "convert": str}, "leave one of the two out"),
        ({"param_format": "epoch", "initial_value": 0}, "`param_format` spells moments, and `initial_value` 0 is none"),
        ({"param_format": "epoch", "cursor_format": "text"}, "texts are none"),
        ({"convert": "epoch"}, "goes into `param_format`"),
        ({"cursor_format": "epoch", "initial_value": "soon"}, "`initial_value` 'soon' is neither"),
        ({"cursor_format": "text", "lag": 1}, "`lag` has no distance"),
        ({"initial_value": "v12", "lag": 1}, "`lag` cannot be taken from 'v12'"),
        ({"end_value": "now", "last_value_func": "min"}, "does not end at `now`"),
        (
            {"cursor_format": "%d-%m-%Y", "initial_value": "05-02-2024", "end_value": "28-01-2024"},
            "leave no range between them",
        ),
    ],
)
def test_formats_that_cannot_work_are_refused_at_once(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        IncrementalConfig(cursor_path="at", **settings)


# ---- lag -------------------------------------------------------------------------------------------------------------
def test_lag_is_refused_at_the_first_value_that_it_cannot_be_taken_from() -> None:
    with pytest.raises(ExtractError, match="`lag` 3 cannot be taken from the cursor 'abc'"):
        kept(range_of(lag=3), "abc")
    with pytest.raises(ExtractError, match="`lag` 3 cannot be taken from the cursor 'abc'"):
        range_of("abc", lag=3)
    with pytest.raises(ExtractError, match="days for dates"):
        range_of("2024-01-01", lag=timedelta(days=30))


def test_a_part_of_a_day_goes_back_a_whole_one() -> None:
    assert range_of("2024-01-02", lag=0.5).start == "2024-01-01"


def test_lag_is_exact_for_large_numbers() -> None:
    assert range_of(2**60 + 1, lag=1).start == 2**60


# ---- many values -----------------------------------------------------------------------------------------------------
@given(
    records=st.lists(st.lists(st.one_of(st.integers(0, 40), st.none()), max_size=4), max_size=6),
    start=st.integers(0, 40),
    down=st.booleans(),
)
def test_of_many_values_the_furthest_is_the_records_cursor(
    records: list[list[int | None]], start: int, down: bool
) -> None:
    rows = [{"id": number, "history": [{"at": at} for at in ats]} for number, ats in enumerate(records)]
    best: Callable[..., int] = min if down else max
    range_ = range_of(
        start, path="history[*].at", on_cursor_value_missing="exclude", last_value_func="min" if down else "max"
    )
    own = {number: best(at for at in ats if at is not None) for number, ats in enumerate(records) if any_of(ats)}
    wanted = {number: at for number, at in own.items() if (at <= start if down else at >= start)}
    assert [row["id"] for row in range_.keep(rows)] == list(wanted)
    assert range_.furthest == (best(wanted.values()) if wanted else None)
    assert range_.not_beyond(start, [row for row in rows if row["id"] in own]) == [
        int(at >= start if down else at <= start) for at in own.values()
    ]


def any_of(values: list[int | None]) -> bool:
    return any(value is not None for value in values)


# ---- from the future -------------------------------------------------------------------------------------------------
NOW = datetime(2024, 5, 6, 8, 0, tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagster_restapi.extract.incremental._now", lambda: NOW)


@pytest.mark.parametrize("paged", ["at once", "one by one"])
@pytest.mark.parametrize(
    ("format_", "past", "future"),
    [
        (None, "2024-05-06T07:59:00Z", "2024-05-06T08:06:00Z"),
        (None, "2024-05-06T08:04:00Z", "2999-01-01T00:00:00Z"),  # clocks may be apart
        (None, "2024-05-06T10:02:00+02:00", "2024-05-06T10:06:00+02:00"),
        (None, "2024-05-06", "2024-05-07"),
        ("%d.%m.%Y", "06.05.2024", "07.05.2024"),
        ("http_date", "Mon, 06 May 2024 08:01:00 GMT", "Mon, 06 May 2024 09:01:00 GMT"),
        ("epoch", 1714982400, 1714989600),
        ("epoch_ms", 1714982400000, 1714989600000),
    ],
)
def test_a_value_ahead_of_the_clock_is_kept_and_holds_the_cursor_back(
    clock: None, format_: str | None, past: Any, future: Any, paged: str
) -> None:
    range_ = range_of(cursor_format=format_)
    pages = [[past, future]] if paged == "at once" else [[past], [future]]
    assert [value for page in pages for value in kept(range_, *page)] == [past, future]
    assert (range_.furthest, range_.ahead) == (past, future)


@pytest.mark.parametrize(
    "range_",
    [
        pytest.param(lambda: range_of(last_value_func="min"), id="downwards"),
        pytest.param(lambda: range_of(slice_=Slice(asset="a", start_value="2024-01-01")), id="by hand"),
        pytest.param(lambda: range_of(initial_value="2024-01-01", end_value="3000-01-01"), id="a fixed range"),
    ],
)
def test_nothing_is_held_back_where_no_cursor_moves_up(clock: None, range_: Callable[[], Range]) -> None:
    found = range_()
    kept(found, "2999-01-01T00:00:00Z")
    assert (found.furthest, found.ahead) == ("2999-01-01T00:00:00Z", None)


@pytest.mark.parametrize("value", [4_000_000_000, "99999999999", "zzz"])
def test_numbers_of_no_told_unit_and_texts_are_no_moments(clock: None, value: Any) -> None:
    range_ = range_of()
    kept(range_, value)
    assert (range_.furthest, range_.ahead) == (value, None)


@pytest.mark.parametrize(
    ("value", "future"), [("2024-05-07", False), ("2024-05-08", True), ("2024-05-06T11:06:00Z", True)]
)
def test_a_day_is_of_the_future_only_where_it_has_begun_in_no_zone(value: str, future: bool) -> None:
    order = CursorOrder()
    ranked = order.rank(value)
    assert ranked is not None
    assert order.is_from_future(ranked, NOW.replace(hour=11)) is future


# ---- how requests spell it -------------------------------------------------------------------------------------------
@given(moment=SECONDS, format_=st.sampled_from((*FORMATS, *DAYS)), end=st.integers(1, 10**6))
def test_a_request_in_another_format_leaves_nothing_of_the_range_out(moment: datetime, format_: str, end: int) -> None:
    first, last = moment.isoformat(), (moment + timedelta(seconds=end, microseconds=1)).isoformat()
    asked = range_of(initial_value=first, end_value=last, param_format=format_).placeholders
    read = TimeFormat.of(format_).moment
    assert read(asked["start_value"]) <= moment
    assert read(asked["end_value"]) >= moment + timedelta(seconds=end, microseconds=1)
    assert moment - read(asked["start_value"]) < timedelta(days=1)


def test_of_a_day_the_zone_is_taken_that_asks_for_more() -> None:
    assert range_of("2024-01-02T00:30:00+02:00", param_format="%Y-%m-%d").placeholders["start_value"] == "2024-01-01"
    assert range_of("2024-01-01T22:00:00-05:00", param_format="%Y-%m-%d").placeholders["start_value"] == "2024-01-01"
    window = Window(start="2024-03-10T00:00:00+01:00", end="2024-03-11T00:00:00+01:00")
    asked = range_of(slice_=Slice(asset="a", window=window), param_format="%Y/%m/%d").placeholders
    assert (asked["start_value"], asked["end_value"]) == ("2024/03/10", "2024/03/11")


def test_downwards_a_start_is_an_upper_bound() -> None:
    range_ = range_of("2024-01-05T10:00:00Z", param_format="%Y-%m-%d", last_value_func="min")
    assert range_.placeholders["start_value"] == "2024-01-06"


def test_a_number_of_no_told_unit_is_spelled_as_no_moment() -> None:
    with pytest.raises(ExtractError, match="`param_format` spells moments") as error:
        _ = range_of(1704067200, param_format="%Y-%m-%d").placeholders
    assert "`cursor_format`" in str(error.value)
    asked = range_of(1704067200, param_format="%Y-%m-%d", cursor_format="epoch").placeholders
    assert asked["start_value"] == "2024-01-01"


def test_a_range_that_ends_now_keeps_its_cursor() -> None:
    settings = IncrementalConfig(cursor_path="at", end_value="now")
    range_ = Range.of(settings, Slice(asset="a"), "2024-05-01T00:00:00Z", "r", NOW)
    assert range_.placeholders["end_value"] == "2024-05-06T08:00:00Z"
    assert kept(range_, "2024-05-02T00:00:00Z", "2024-05-06T08:00:00Z") == ["2024-05-02T00:00:00Z"]


# ---- another order ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("before", "now", "kind", "other"),
    [
        (None, None, "text", False),
        (None, "text", "text", False),
        (None, "%d-%m-%Y", "text", True),
        (None, "epoch", "number", False),
        ("epoch", "epoch_ms", "number", False),
        (None, "%Y-%m-%d", "date", False),
        (None, "text", "date", True),
        ("%d-%m-%Y", "%m-%d-%Y", "date", True),
        ("%d-%m-%Y", None, "date", True),
        ("%d-%m-%Y", "%d-%m-%Y", None, False),
        (None, "%d-%m-%Y", None, True),
    ],
)
def test_a_cursor_of_another_order_is_known(before: str | None, now: str | None, kind: Any, other: bool) -> None:
    cursor = Cursor(value="x", kind=kind, load_id="l") if kind else None
    settings = IncrementalConfig(cursor_path="at", cursor_format=now)
    assert has_other_order(settings, before, cursor) is other


# ---- in a fetch ------------------------------------------------------------------------------------------------------
def items(**incremental: Any) -> dict[str, Any]:
    params = {"since": "{incremental.start_value}", "until": "{incremental.end_value}"}
    return {"name": "items", "endpoint": {"params": params, "incremental": {"cursor_path": "at", **incremental}}}


def test_a_cursor_that_lies_in_the_future_already_is_told_of_and_moves_nowhere(api: Any, fetch: Any) -> None:
    api.route("/items", {"items": []})
    cursor = Cursor(value="2999-01-01T00:00:00Z", kind="instant", load_id="before")
    fetched = fetch("items", items(), slice_=Slice(asset="items", cursor=cursor)).fetched
    assert fetched.cursor_value is None
    (warning,) = fetched.warnings
    assert "'2999-01-01T00:00:00Z' lies in the future" in warning
    assert "`full_refresh: true`" in warning


def test_a_row_that_has_met_its_time_by_the_end_holds_the_cursor_back_without_a_word(
    clock: None, api: Any, fetch: Any
) -> None:
    api.route("/items", {"items": [{"at": "2024-05-06"}, {"at": "2024-05-07"}]})
    fetched = fetch("items", items()).fetched
    assert (fetched.cursor_value, fetched.held_back, fetched.warnings) == ("2024-05-06", True, ())


def test_an_attempt_that_goes_on_ends_where_the_first_one_did(
    api: Any, fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = {"": {"items": [{"at": "2024-05-01"}], "next_page": "2"}, "2": {"items": [{"at": "2024-05-02"}]}}
    broken = [True]

    def answer(request: Any) -> Any:
        page = request.query.get("cursor", "")
        return (500, {}) if page and broken else pages[page]

    api.route("/items", answer)
    resource = items(end_value="now")
    resource["endpoint"]["paginator"] = {"type": "cursor", "cursor_path": "next_page"}
    with pytest.raises(RestApiError):
        fetch("items", resource)
    broken.clear()
    monkeypatch.setattr("dagster_restapi.extract.incremental._now", lambda: datetime(2035, 1, 1, tzinfo=UTC))
    run = fetch("items", resource)
    assert [row["at"] for row in run.rows] == ["2024-05-01", "2024-05-02"]
    assert len({request.query["until"] for request in api.requests}) == 1
