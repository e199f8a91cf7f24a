"""The cursor window: instants compare as instants, rows outside are dropped, nulls follow the policy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_restapi.config.endpoint import IncrementalConfig
from dagster_restapi.errors import ExtractError
from dagster_restapi.extract import incremental
from dagster_restapi.extract.cursor_order import CursorOrder, compare, rank
from dagster_restapi.extract.incremental import Range
from dagster_restapi.extract.windows import Windows
from dagster_restapi.model import Slice, Window


def settings(**options: Any) -> IncrementalConfig:
    return IncrementalConfig(cursor_path="at", **options)


def kept(range_: Range, *values: Any) -> list[Any]:
    return [
        record.get("at") for record in range_.keep([{} if value == "absent" else {"at": value} for value in values])
    ]


def range_of(cursor: Any = None, slice_: Slice | None = None, **options: Any) -> Range:
    return Range.of(settings(**options), slice_ or Slice(asset="a"), cursor, "resource r")


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2024-01-01T01:00:00+02:00", "2024-01-01T00:00:00Z"),
        ("2024-01-01T00:00:00", "2024-01-01T00:00:00.000001Z"),
        ("2024-01-01T00:00:00.000000001Z", "2024-01-01T00:00:00.000000002Z"),
        ("2024-01-01", "2024-01-01T00:00:01Z"),
        ("2024-01-01 10:00:00", "2024-01-01T11:00:00Z"),
        (9, 10),
        ("9", "10"),
        (0, 0.5),
        (2**53, 2**53 + 1),
        (9.5, "10"),
        ("a", "b"),
    ],
)
def test_cursor_values_have_their_kinds_own_order(earlier: Any, later: Any) -> None:
    one, other = rank(earlier), rank(later)
    assert one is not None
    assert other is not None
    assert (compare(one, other), compare(other, one), compare(one, one)) == (-1, 1, 0)


@given(
    moments=st.lists(
        st.tuples(
            st.datetimes(datetime(1970, 1, 2), datetime(2020, 1, 1)),
            st.integers(-12, 12).map(lambda hours: timezone(timedelta(hours=hours))),
        ),
        min_size=1,
    )
)
def test_the_furthest_value_is_the_latest_instant_in_any_zone(moments: list[tuple[datetime, timezone]]) -> None:
    zoned = [moment.replace(tzinfo=zone) for moment, zone in moments]
    range_ = range_of()
    kept(range_, *[moment.isoformat() for moment in zoned])
    assert datetime.fromisoformat(range_.furthest) == max(zoned)


MOMENTS = st.one_of(
    st.integers(0, 120).map(lambda second: f"2024-03-0{1 + second // 40}T10:00:{second % 40:02}Z"),
    st.integers(0, 59).map(lambda second: f"2024-03-01T12:00:{second:02}+02:00"),
    st.integers(0, 59).map(lambda second: f"2024-03-02T10:00:{second:02}"),
    st.sampled_from(["2024-03-01", "2024-03-01T10:00:00.1234567Z", "2024-03-01 10:00:07", "2024-02-31T10:00:00Z"]),
    st.just("soon"),
)
NUMBERS = st.one_of(st.integers(0, 9), st.floats(0, 9))
VALUES = st.one_of(st.lists(MOMENTS), st.lists(st.integers(-3, 40)), st.lists(NUMBERS))
LIMITS = st.sampled_from(["2024-02-01T00:00:00Z", "2024-03-01T10:00:05Z", "2024-03-02", "0", 0, 5, None])


@given(
    values=VALUES,
    start=LIMITS,
    end=LIMITS,
    options=st.fixed_dictionaries(
        {
            "range_start": st.sampled_from(["open", "closed"]),
            "range_end": st.sampled_from(["open", "closed"]),
            "last_value_func": st.sampled_from(["min", "max"]),
            "row_order": st.sampled_from(["asc", "desc", None]),
        }
    ),
    window=st.booleans(),
    holds_back=st.booleans(),
)
def test_a_page_taken_at_once_is_what_a_look_at_each_row_takes(
    values: list[Any], start: Any, end: Any, options: dict[str, Any], window: bool, holds_back: bool
) -> None:
    day = Window(start="2024-03-01T00:00:00Z", end="2024-03-02T00:00:00Z")

    def outcome() -> tuple[Any, ...]:
        windows = Windows([day]) if window else None
        holds = holds_back and not window and options["last_value_func"] == "max"
        range_ = Range(settings(**options), "resource r", start, end, windows=windows, holds_back=holds)
        try:
            taken = kept(range_, *values)
        except ExtractError as error:
            return (str(error),)
        return taken, range_.furthest, range_.ahead, range_.out_of_range, range_.places, range_.finished

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental, "_now", lambda: datetime(2024, 3, 1, 10, 0, 20, tzinfo=UTC))
        at_once = outcome()
        patch.setattr(incremental, "_plain_order", lambda values: None)
        assert at_once == outcome()


def test_rows_below_the_cursor_are_dropped_and_counted_and_the_boundary_stays() -> None:
    range_ = range_of(cursor="2024-01-02T00:00:00Z")
    assert kept(range_, "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z") == [
        "2024-01-02T00:00:00Z",
        "2024-01-03T00:00:00Z",
    ]
    assert (range_.out_of_range, range_.furthest) == (1, "2024-01-03T00:00:00Z")


def test_a_window_is_half_open() -> None:
    window = Window(start="2024-01-01T00:00:00+00:00", end="2024-01-02T00:00:00+00:00")
    range_ = range_of(cursor="2030-01-01T00:00:00Z", slice_=Slice(asset="a", window=window))
    assert kept(range_, "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z") == ["2024-01-01T00:00:00Z"]


def test_open_and_closed_ends_are_as_configured() -> None:
    range_ = range_of(cursor=1, end_value=None, range_start="open")
    assert kept(range_, 1, 2) == [2]
    range_ = range_of(initial_value=1, end_value=3, range_end="closed")
    assert kept(range_, 0, 1, 3, 4) == [1, 3]


def test_with_an_end_value_the_cursor_is_not_used() -> None:
    assert range_of(cursor=5, initial_value=1, end_value=9).start == 1


def test_zero_is_a_cursor() -> None:
    range_ = range_of(cursor=0)
    assert kept(range_, -1, 0) == [0]
    assert range_.placeholders["start_value"] == 0


def test_values_by_hand_are_text_of_any_kind() -> None:
    range_ = range_of(slice_=Slice(asset="a", start_value="5", end_value="7"))
    assert kept(range_, 4, 5, 6, 7) == [5, 6]


def test_min_moves_downwards() -> None:
    range_ = range_of(cursor=5, last_value_func="min")
    assert kept(range_, 6, 5, 4) == [5, 4]
    assert range_.furthest == 4


@pytest.mark.parametrize("direction", ["min", "max"])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_paging_stops_only_where_the_rest_is_out_of_range(direction: str, order: str) -> None:
    values = sorted(range(10), reverse=order == "desc")
    range_, taken = range_of(cursor=5, last_value_func=direction, row_order=order), []
    for value in values:
        taken += kept(range_, value)
        if range_.finished:
            break
    assert sorted(taken) == [value for value in range(10) if (value <= 5 if direction == "min" else value >= 5)]
    assert range_.finished is ((direction == "min") is (order == "asc"))


@pytest.mark.parametrize(("policy", "rows"), [("include", [None, None, 1]), ("exclude", [1])])
def test_rows_without_a_cursor_follow_the_policy_and_are_counted(policy: str, rows: list[Any]) -> None:
    range_ = range_of(on_cursor_value_missing=policy)
    assert kept(range_, None, "absent", 1) == rows
    assert range_.without_cursor == 2


def test_a_row_without_a_cursor_is_an_error_by_default() -> None:
    with pytest.raises(ExtractError, match="no value at the cursor path 'at'"):
        kept(range_of(), None)


@pytest.mark.parametrize("value", [{"a": 1}, [1], True])
def test_a_cursor_that_is_no_scalar_is_an_error(value: Any) -> None:
    with pytest.raises(ExtractError, match="the value at the cursor path"):
        kept(range_of(), value)


def test_kinds_without_a_common_order_are_an_error() -> None:
    with pytest.raises(ExtractError, match="does not compare"):
        kept(range_of(initial_value="2024-01-01T00:00:00Z"), 1704067200)


def test_descending_order_ends_the_walk_at_the_first_older_row() -> None:
    range_ = range_of(cursor=5, row_order="desc")
    kept(range_, 7, 5)
    assert not range_.finished
    kept(range_, 4)
    assert range_.finished


def test_ascending_order_ends_the_walk_behind_the_window() -> None:
    range_ = range_of(initial_value=0, end_value=5, row_order="asc")
    kept(range_, 4)
    assert not range_.finished
    kept(range_, 5)
    assert range_.finished


@pytest.mark.parametrize(
    ("value", "lag", "moved"),
    [
        ("2024-01-01T01:00:00Z", 3600, "2024-01-01T00:00:00Z"),
        ("2024-03-01", 1, "2024-02-29"),
        (10, 3, 7),
        ("10", 3, "7"),
        (1.5, 0.5, 1.0),
    ],
)
def test_lag_moves_the_start_back(value: Any, lag: float, moved: Any) -> None:
    assert CursorOrder().shifted(value, lag, 1) == moved


def test_convert_shapes_requests_only() -> None:
    range_ = range_of(cursor=5, convert=lambda value: f"n{value}")
    assert range_.placeholders["start_value"] == "n5"
    assert kept(range_, 5) == [5]
