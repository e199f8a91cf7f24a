"""Random sequences of runs leave what the specification says, and the comparison notices what it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from model.errand import SCHEMA
from model.fleet import sequence_of
from model.look import Wrong
from model.play import Play, play
from model.settings import Settings, Table
from model.shrink import shrink
from model.steps import Step

QUIET = (17, 19, 21, 23, 37)
"""Seeds of sequences without processes: `make model` tries many more."""
DISTURBED = (26, 43)
"""Seeds of sequences in which runs are killed or stopped."""

_ITEMS = [Step(kind="change", what="insert", asset="items", pick=pick) for pick in (1, 2, 3)]
_NOTES = [Step(kind="change", what="insert", asset="notes", pick=pick) for pick in (1, 2, 3)]


@pytest.mark.parametrize("seed", QUIET)
def test_a_random_sequence_leaves_what_the_specification_says(seed: int) -> None:
    play(sequence_of(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", DISTURBED)
def test_runs_that_are_killed_and_stopped_leave_what_the_specification_says(seed: int) -> None:
    sequence = sequence_of(seed)
    assert any(step.in_process for step in sequence.steps)
    play(sequence)


def test_a_seed_always_means_the_same_sequence() -> None:
    assert sequence_of(7) == sequence_of(7)
    assert eval(repr(sequence_of(7)), {"Play": Play, "Settings": Settings, "Table": Table, "Step": Step}) == (
        sequence_of(7)
    )


# ---- the check itself can fail ---------------------------------------------------------------------------------------
def _after_run(number: int, *statements: str) -> Callable[[Path], None]:
    """Changes the database behind a run, as a fault of the library would."""
    runs: Iterator[int] = iter(range(100))

    def bend(database: Path) -> None:
        if next(runs) == number:
            with duckdb.connect(str(database)) as connection:
                for statement in statements:
                    connection.execute(statement.format(s=SCHEMA))

    return bend


_ONE = "(SELECT min(_restapi_id) FROM {s}.items WHERE _restapi_id <> 'again')"
_CURSOR = 'regexp_replace(cursor, \'"value":"[^"]*"\', \'"value":"2024-01-01T00:00:01Z"\')'
FAULTS = {
    "a row is lost": (
        f"DELETE FROM {{s}}.items__labels WHERE _restapi_root_id = {_ONE};"
        f"DELETE FROM {{s}}.items WHERE _restapi_id = {_ONE}",
        "rows are missing",
    ),
    "a row is there twice": (
        "INSERT INTO {s}.items SELECT * REPLACE ('again' AS _restapi_id) FROM {s}.items "
        f"WHERE _restapi_id = {_ONE};"
        "INSERT INTO {s}.items__labels SELECT * REPLACE ('again' AS _restapi_root_id, 'again' AS _restapi_parent_id) "
        f"FROM {{s}}.items__labels WHERE _restapi_root_id = {_ONE}",
        "rows are there twice",
    ),
    "a row has one id with another": (
        "INSERT INTO {s}.items SELECT * FROM {s}.items LIMIT 1",
        "two rows have one id",
    ),
    "a row has another value": (f"UPDATE {{s}}.items SET title = 'bent' WHERE _restapi_id = {_ONE}", "rows differ"),
    "the cursor is shifted": (f"UPDATE {{s}}._restapi_loads SET cursor = {_CURSOR}", "the cursor is behind"),
    "the rows below a row stay": (
        "UPDATE {s}.items__labels SET _restapi_parent_id = 'nobody'",
        "a child row has no row above it",
    ),
    "a place in a list is missing": (
        "UPDATE {s}.items__labels SET _restapi_index = _restapi_index + 1",
        "places of child rows are missing",
    ),
    "two loads have one number": ("UPDATE {s}._restapi_loads SET sequence = 1", "two loads have one number"),
    "a load is forgotten": ("DELETE FROM {s}._restapi_loads WHERE sequence = 2", "a run made no load"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_comparison_reports(name: str) -> None:
    statement, kind = FAULTS[name]
    settings = Settings(items=Table(write="delete-insert", key=True, incremental=True))
    steps = (*_ITEMS, Step(kind="run"), *_ITEMS, Step(kind="run"), Step(kind="run"))
    play(Play(settings, steps))
    at = 1 if name in ("two loads have one number", "a load is forgotten") else 0
    with pytest.raises(Wrong) as raised:
        play(Play(settings, steps), bend=_after_run(at, statement))
    assert raised.value.kind.startswith(kind)


def test_the_comparison_reports_the_cursor_of_a_parent() -> None:
    settings = Settings(items=Table(), notes=Table(write="delete-insert", key=True, incremental=True))
    steps = (*_ITEMS, *_NOTES, Step(kind="run"))
    play(Play(settings, steps))
    statement = "UPDATE {s}._restapi_cursors SET value = '\"2024-01-01T09:00:00Z\"'"
    with pytest.raises(Wrong, match="the cursor of a parent differs"):
        play(Play(settings, steps), bend=_after_run(0, statement))


def test_the_end_reports_a_row_that_never_came() -> None:
    settings = Settings(items=Table(write="insert-only", key=True, incremental=True))
    late = Step(kind="change", what="late", asset="items", pick=5)
    play(Play(settings, (*_ITEMS, Step(kind="run"), late)))  # the model knows that this one may be missed
    lagging = Settings(items=Table(write="insert-only", key=True, incremental=True, lag=1000))
    play(Play(lagging, (*_ITEMS, Step(kind="run"), late)))


@pytest.mark.parametrize("write", ["scd2", "insert-only", "delete-insert"])
def test_a_record_that_is_in_several_windows_is_no_difference(write: str) -> None:
    settings = Settings(items=Table(write=write, key=True, incremental=True, missing="include"), partitions="daily")
    everywhere = Step(kind="change", what="no cursor", asset="items", pick=1)
    refresh = Step(kind="run", part=1, full_refresh=True)
    play(Play(settings, (*_ITEMS, everywhere, Step(kind="run", span=3), everywhere, refresh, refresh)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stopped", "together"])
def test_a_run_may_go_on_with_what_one_that_failed_meanwhile_has_fetched(kind: str) -> None:
    settings = Settings(items=Table(write="delete-insert", key=True), notes=Table())
    fails = Step(kind="fail", what="500", asset="items", part=1, times=1)
    both = Step(kind=kind, what="after the event", asset="items", times=1, then=Step(kind="run"))
    play(Play(settings, (*_ITEMS, *_NOTES, fails, both)))


@pytest.mark.parametrize("missing", ["include", "exclude"])
def test_the_end_asks_for_no_rows_of_a_parent_that_is_left_out(missing: str) -> None:
    items = Table(write="delete-insert", key=True, incremental=True, missing=missing)
    settings = Settings(items=items, notes=Table(write="append"), stored=False)
    without = Step(kind="change", what="no cursor", asset="items", pick=1)
    moves = [Step(kind="change", what="move", asset="notes", pick=pick) for pick in range(4)]
    play(Play(settings, (*_ITEMS, *_NOTES, without, *moves)))


def test_a_sequence_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    def plays(sequence: Play) -> None:
        if any(step.full_refresh for step in sequence.steps):
            raise Wrong("a row too many")

    monkeypatch.setattr("model.shrink.play", plays)
    refresh = Step(kind="run", full_refresh=True, max_pages=1)
    sequence = Play(Settings(paging="offset", notes=Table()), (*_ITEMS, Step(kind="run"), refresh, *_NOTES))
    smaller = shrink(sequence, "a row too many (items)")
    assert smaller.steps == (Step(kind="run", full_refresh=True),)
    assert smaller.settings == Settings()
