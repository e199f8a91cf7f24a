"""The spool: what is committed survives, what is not is cut, and equal records give equal hashes."""

from __future__ import annotations

import os
import resource
import signal
import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_restapi import spool as spool_module
from dagster_restapi.errors import SpoolError
from dagster_restapi.schema import Kind, Node, Recorder, is_instant
from dagster_restapi.spool import SMALL_SEGMENTS, Spool, encode_records, sweep


def test_a_later_try_goes_on_behind_the_last_commit(tmp_path: Path) -> None:
    with Spool.open(tmp_path, "slice") as spool:
        first_id = spool.load_id
        writer = spool.writer(0)
        writer.write([{"id": 1}])
        writer.commit({"page": 2}, {"pages": 1})
        writer.write([{"id": 2}])  # never committed
        writer.close()
    with Spool.open(tmp_path, "slice") as spool:
        assert (spool.resumed, spool.load_id) == (True, first_id)
        writer = spool.writer(0)
        assert (writer.state, writer.facts) == ({"page": 2}, {"pages": 1})
        writer.write([{"id": 3}])
        writer.commit(None, {}, done=True)
        assert list(spool.records()) == [{"id": 1}, {"id": 3}]


def test_a_torn_last_line_of_the_journal_is_cut_off(tmp_path: Path) -> None:
    with Spool.open(tmp_path, "slice") as spool:
        writer = spool.writer(0)
        writer.write([{"id": 1}])
        writer.commit("a", {})
        writer.close()
    with (tmp_path / "slice" / "journal").open("ab") as journal:
        journal.write(b'{"unit":0,"sta')
    with Spool.open(tmp_path, "slice") as spool:
        assert spool.writer(0).state == "a"
        spool.note(fact=1)
    with Spool.open(tmp_path, "slice") as spool:
        assert spool.notes == {"fact": 1}


def test_only_the_same_root_run_resumes_an_old_spool(tmp_path: Path) -> None:
    with Spool.open(tmp_path, "slice", root_run_id="one") as spool:
        spool.note(fact=1)
    journal = tmp_path / "slice" / "journal"
    os.utime(journal, (1, 1))
    with Spool.open(tmp_path, "slice", root_run_id="one") as spool:
        assert spool.resumed
    os.utime(journal, (1, 1))
    with Spool.open(tmp_path, "slice", root_run_id="two") as spool:
        assert not spool.resumed
        assert spool.notes == {}


def test_what_is_kept_from_others_only_its_own_root_run_resumes(tmp_path: Path) -> None:
    with Spool.open(tmp_path, "slice", root_run_id="one") as spool:
        first_id, writer = spool.load_id, spool.writer(0)
        writer.write([{"id": 1}])
        writer.commit("a", {})
        spool.keep_from_others()
        writer.close()
    with Spool.open(tmp_path, "slice", root_run_id="one") as spool:
        assert (spool.resumed, spool.load_id, spool.rows) == (True, first_id, 1)
    with Spool.open(tmp_path, "slice", root_run_id="two") as spool:
        assert (spool.resumed, spool.notes, spool.units, spool.rows) == (False, {}, {}, 0)
        assert spool.load_id != first_id
        assert not spool.schema.fields
        assert not spool.segments()


def test_a_spool_in_use_is_refused(tmp_path: Path) -> None:
    with Spool.open(tmp_path, "slice"), pytest.raises(SpoolError, match="another process is loading the same slice"):
        Spool.open(tmp_path, "slice")


def test_everything_in_a_spool_is_its_owners_alone(tmp_path: Path) -> None:
    with Spool.open(tmp_path, "slice") as spool:
        writer = spool.writer(0)
        writer.write([{"id": 1}])
        writer.commit(None, {}, done=True)
        assert stat.S_IMODE(spool.directory.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in spool.directory.iterdir()} == {0o600}


def test_segments_are_in_the_order_of_units_whoever_wrote_first(tmp_path: Path) -> None:
    with Spool.open(tmp_path, "slice") as spool:
        for number in reversed(range(SMALL_SEGMENTS + 40)):
            writer = spool.writer(number)
            writer.write([{"id": number}])
            writer.commit(None, {"unit": number}, done=True)
        expected = [{"id": number} for number in range(SMALL_SEGMENTS + 40)]
        assert list(spool.records()) == expected
        spool.seal()
        assert len(spool.segments()) == 1
        assert list(spool.records()) == expected
        assert spool.rows == SMALL_SEGMENTS + 40
    with Spool.open(tmp_path, "slice") as spool:
        assert list(spool.records()) == expected
        assert spool.units[7].facts == {"unit": 7}


def test_finished_are_the_segments_that_nothing_is_added_to_or_put_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 1)
    with Spool.open(tmp_path, "slice") as spool:

        def finished() -> list[str]:
            return [segment.path.stem for segment in spool.finished()]

        writers = [spool.writer(number) for number in (0, 1, 3)]

        def page(unit: int, *, done: bool = False) -> None:
            writers[unit].write([{"id": 1}])
            writers[unit].commit(None, {}, done=done)

        page(0)
        assert finished() == [], "a later commit may add to it"
        page(0)
        assert finished() == ["000000000-0000"]
        page(1, done=True)
        assert finished() == ["000000000-0000"], "more of unit 0 comes before it"
        page(0, done=True)
        assert finished() == ["000000000-0000", "000000000-0001", "000000000-0002", "000000001-0000"]
        page(2, done=True)
        assert len(finished()) == 4, "unit 2 has not begun"
        spool.writer(2).commit(None, {}, done=True)
        assert spool.finished() == spool.segments()


def test_discarded_and_rolled_back_records_are_gone(tmp_path: Path) -> None:
    with Spool.open(tmp_path, "slice") as spool:
        for number in range(3):
            writer = spool.writer(number)
            writer.write([{"id": number}])
            writer.commit(None, {}, done=True)
        spool.discard(1)
        writer = spool.writer(1)
        writer.write([{"id": "kept"}])
        writer.commit("state", {})
        writer.write([{"id": "not kept"}])
        writer.rollback()
        writer.write([{"id": "after"}])
        writer.commit(None, {}, done=True)
        expected = [{"id": 0}, {"id": "kept"}, {"id": "after"}]
        assert list(spool.records()) == expected
    with Spool.open(tmp_path, "slice") as spool:
        assert list(spool.records()) == expected


def test_a_read_only_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SpoolError, match="cannot be written"):
        Spool.open(tmp_path / "file", "slice")


def test_a_disk_that_fills_up_in_the_midst_of_a_line_spoils_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Spool.open(tmp_path, "slice") as spool:
        writer = spool.writer(0)
        writer.write([{"id": 1}])
        writer.commit("state", {})
        journal = (tmp_path / "slice" / "journal").stat().st_size
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (journal + 20, before[1]))  # the kernel writes 20 bytes of it
            with pytest.raises(SpoolError, match="Free some space"):
                spool.note(long="x" * 1_000)
            with pytest.raises(SpoolError, match="Free some space"):
                writer.write([{"id": "x" * 1_000}])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        spool.note(later=1)
    with Spool.open(tmp_path, "slice") as spool:
        assert spool.notes == {"later": 1}
        assert list(spool.records()) == [{"id": 1}]


def test_old_spools_that_nobody_uses_are_swept(tmp_path: Path) -> None:
    for name in ("old", "young", "used", "ours"):
        with Spool.open(tmp_path, name, root_run_id=name) as spool:
            spool.note(fact=1)
    for name in ("old", "used", "ours"):
        os.utime(tmp_path / name / "journal", (1, 1))
    with Spool.open(tmp_path, "used", resume_within=1e12):
        os.utime(tmp_path / "used" / "journal", (1, 1))
        assert sweep(tmp_path, except_of="ours") == ["old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "used", "young"]


def test_what_a_kill_has_left_of_a_spool_that_was_being_removed_is_swept(tmp_path: Path) -> None:
    for name in ("old", "young"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "000000000-0000.ndjson").write_text("{}")
    (tmp_path / "a file").write_text("of somebody else")
    os.utime(tmp_path / "a file", (1, 1))
    os.utime(tmp_path / "old", (1, 1))
    assert sweep(tmp_path) == ["old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a file", "young"]


def test_a_lone_surrogate_is_kept() -> None:
    assert msgspec.json.decode(encode_records([{"a": 1}])[0])["a"] == 1
    assert [b"ud800" in line for line in encode_records([{"a": 1}, {"a": "\ud800"}])] == [False, True]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
records = st.dictionaries(st.text(), json_values, max_size=5)


@given(record=records)
def test_the_hash_does_not_depend_on_the_order_of_keys(record: dict) -> None:
    turned = dict(reversed(list(record.items())))
    assert encode_records([record]) == encode_records([turned])


@given(rows=st.lists(records, max_size=8), cut=st.integers(0, 8))
def test_schemas_of_parts_merge_to_the_schema_of_the_whole(rows: list[dict], cut: int) -> None:
    whole, one, other = Recorder(), Recorder(), Recorder()
    whole.observe(rows)
    one.observe(rows[:cut])
    other.observe(rows[cut:])
    one.root.merge(other.root)
    assert comparable(one.root) == comparable(whole.root)
    assert Node.from_json(whole.root.to_json()).to_json() == whole.root.to_json()


def comparable(node: Node) -> object:
    """Once a text was seen that is no date-time, whether date-times were seen as well is not recorded."""
    mask = node.mask & ~Kind.INSTANT if node.mask & Kind.TEXT else node.mask
    return (
        mask,
        {key: comparable(child) for key, child in node.fields.items()},
        comparable(node.items) if node.items else None,
    )


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, Kind.NULL),
        (True, Kind.BOOL),
        (2**53, Kind.INT),
        (2**53 + 1, Kind.LONG),
        (-(2**63), Kind.LONG),
        (2**63, Kind.HUGE),
        (2**127, Kind.VAST),
        (0.5, Kind.FLOAT),
        ("2024-01-01T00:00:00Z", Kind.INSTANT),
        ("2024-01-01T00:00:00.123456789Z", Kind.TEXT),
        ("2024-02-30T00:00:00Z", Kind.TEXT),
        ("2024-01-01", Kind.TEXT),
        ({}, Kind.OBJECT),
        ([], Kind.LIST),
    ],
)
def test_each_kind_has_its_bit(value: object, kind: Kind) -> None:
    recorder = Recorder()
    recorder.observe([{"x": value}])
    assert recorder.root.fields["x"].mask == kind


def test_instants_are_date_times_with_a_t() -> None:
    assert is_instant("2024-01-01T12:30+02:00")
    assert is_instant("2024-01-01T12:30:00.5")
    assert not is_instant("2024-01-01 12:30:00")
    assert not is_instant("not a date-time at all")
