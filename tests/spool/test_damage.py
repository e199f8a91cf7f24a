"""A damaged spool: it resumes with exactly what was committed, or it starts empty; it never raises, and never lies."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_restapi import spool as spool_module
from dagster_restapi.errors import SpoolError
from dagster_restapi.spool import Spool, encode_records, sweep

State = tuple[Any, ...]
EMPTY: State = ([], {}, {}, {})


def state_of(spool: Spool) -> State:
    """What a spool holds: records, notes, how far its units are, and the files beside them."""
    units = {n: (unit.state, unit.facts, unit.done) for n, unit in spool.units.items() if unit.state or unit.done}
    return list(spool.records()), dict(spool.notes), units, {n: (spool.directory / n).read_text() for n in spool._kept}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of two pages or so, few of them until they are joined, and every line on disk at once."""
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 300)
    monkeypatch.setattr(spool_module, "SMALL_SEGMENTS", 3)
    monkeypatch.setattr(spool_module, "SYNC_EVERY", 0.0)
    monkeypatch.setattr(spool_module, "_SYNC_SHARE", 0)


def fetch(root: Path, chance: random.Random) -> list[State]:
    """One attempt that does some of all that can be done, and is interrupted; the states that it went through."""
    states: list[State] = []
    with Spool.open(root, "slice") as spool:
        for _ in range(chance.randrange(8)):
            number = chance.randrange(4)
            match chance.randrange(12):
                case 0:
                    spool.note(**{chance.choice("ab"): chance.random()})
                case 1:
                    spool.discard(chance.randrange(1, 5))
                case 2:
                    (spool.directory / "kept.ndjson").write_text(str(chance.random()) * 5)
                    spool.keep(spool.directory / "kept.ndjson")
                case 3 if all(unit.done for unit in spool.units.values()):
                    spool.seal()
                case _ if number not in spool.units or not spool.units[number].done:
                    writer = spool.writer(number)
                    writer.write([{"id": chance.random(), "text": "x" * chance.randrange(90)} for _ in range(2)])
                    if chance.random() < 0.2:
                        writer.rollback()
                    writer.commit(chance.random(), {"pages": 1}, done=chance.random() < 0.3)
                    writer.write([{"id": "never committed"}] * chance.randrange(2))
                    writer.close()
            states.append(state_of(spool))
    return states


def any_file(folder: Path, chance: random.Random) -> Path | None:
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name not in ("lock", "journal"))
    return chance.choice(files) if files else None


def change(path: Path, chance: random.Random) -> None:
    """Cuts, adds to, or flips a bit of a file."""
    data = bytearray(path.read_bytes())
    match chance.randrange(3):
        case 0:
            data = data[: chance.randrange(len(data) + 1)]
        case 1:
            data += chance.randbytes(chance.randrange(1, 9)) + b"\n" * chance.randrange(2)
        case _ if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def damage_files(folder: Path, chance: random.Random) -> None:
    one, other = any_file(folder, chance), any_file(folder, chance)
    if one is None or other is None:
        return
    match chance.randrange(5):
        case 0:
            one.unlink()
        case 1:
            first, second = one.read_bytes(), other.read_bytes()
            one.write_bytes(second)
            other.write_bytes(first)
        case 2:
            one.unlink()
            one.mkdir()
        case _:
            change(one, chance)


def damage_journal(folder: Path, chance: random.Random) -> None:
    path = folder / "journal"
    lines = path.read_bytes().splitlines(keepends=True)
    at = chance.randrange(len(lines))
    match chance.randrange(6):
        case 0:
            del lines[at : at + chance.randrange(1, 4)]
        case 1:
            lines.insert(at, chance.choice(lines))
        case 2:
            chance.shuffle(lines)
        case 3:
            lines[at] = chance.randbytes(20) + b"\n"
        case 4:
            return path.unlink()
        case _:
            return change(path, chance)
    path.write_bytes(b"".join(lines))
    return None


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), in_journal=st.booleans())
def test_whatever_is_damaged_nothing_is_resumed_that_was_not_committed(seed: int, in_journal: bool) -> None:
    chance = random.Random(seed)
    with TemporaryDirectory() as name:
        root, states = Path(name), [EMPTY]
        for _ in range(chance.randrange(1, 4)):
            states += fetch(root, chance)
        (damage_journal if in_journal else damage_files)(root / "slice", chance)
        with Spool.open(root, "slice") as spool:
            found = state_of(spool)
            # What the journal lost at its end it has as after a kill at that moment.
            assert found in ([*states] if in_journal else [EMPTY, states[-1]])
            assert spool.resumed == (found != EMPTY)
            if not in_journal and found != states[-1]:
                assert spool.discarded
            writer = spool.writer(9)
            writer.write([{"id": "new"}])
            writer.commit("on", {}, done=True)
        with Spool.open(root, "slice") as spool:
            assert spool.resumed
            assert list(spool.records()) == [*found[0], {"id": "new"}]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_an_undamaged_spool_is_resumed_as_it_was(seed: int) -> None:
    chance = random.Random(seed)
    with TemporaryDirectory() as name:
        states = [EMPTY]
        for _ in range(4):
            states += fetch(Path(name), chance)
            with Spool.open(Path(name), "slice") as spool:
                assert (state_of(spool), spool.discarded) == (states[-1], "")


# ---- power cuts ------------------------------------------------------------------------------------------------------
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_a_power_cut_leaves_a_state_that_there_was(seed: int) -> None:
    """On disk is what was synced; the cut may come between any two of these."""
    chance, disk, cuts, sync = random.Random(seed), {}, [], os.fsync
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:

        def synced(descriptor: int) -> None:
            sync(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if path.is_file():
                disk[path.name] = path.read_bytes()
                cuts.append(dict(disk))

        patch.setattr(os, "fsync", synced)
        states = [EMPTY]
        for _ in range(3):
            states += fetch(Path(name) / "before", chance)
        patch.undo()
        for number, cut in enumerate(cuts):
            folder = Path(name) / f"{number}" / "slice"
            folder.mkdir(parents=True)
            for file, data in cut.items():
                (folder / file).write_bytes(data)
            with Spool.open(folder.parent, "slice") as spool:
                assert state_of(spool) in states
        if cuts:
            assert state_of(spool) == states[-1], "and of a whole sync, the last state"


def test_disks_are_asked_about_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "SYNC_EVERY", 0.2)
    monkeypatch.setattr(spool_module, "_SYNC_SHARE", 20)
    syncs: list[float] = []
    monkeypatch.setattr(Spool, "_sync", counted(Spool._sync, syncs))
    with Spool.open(tmp_path, "slice") as spool:
        began = time.monotonic()
        while time.monotonic() < began + 1:
            writer = spool.writer(0)
            writer.write([{"id": 1}])
            writer.commit("on", {})
    assert 2 <= len(syncs) <= 5
    assert min(later - earlier for earlier, later in pairwise(syncs)) >= 0.2


def counted(sync: Callable[[Spool], None], times: list[float]) -> Callable[[Spool], None]:
    def counting(spool: Spool) -> None:
        times.append(time.monotonic())
        sync(spool)

    return counting


# ---- single kinds of damage ------------------------------------------------------------------------------------------
@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of a spool with three units, of two pages each, and a file beside them."""
    with Spool.open(tmp_path, "slice") as spool:
        for number in range(3):
            writer = spool.writer(number)
            for page in range(2):
                writer.write([{"id": number * 10 + page}])
                writer.commit({"page": page}, {})
            writer.close()
        (spool.directory / "kept.ndjson").write_text("1\n")
        spool.keep(spool.directory / "kept.ndjson")
    yield tmp_path / "slice"
    shutil.rmtree(tmp_path, ignore_errors=True)


def flip_a_digit(folder: Path) -> None:
    path = folder / "journal"
    path.write_bytes(path.read_bytes().replace(b'"page":0', b'"page":1', 1))


def older_format(folder: Path) -> None:
    (folder / "journal").write_text('{"format":1,"load_id":"x","root_run_id":""}\n{"note":{"fetched":{}}}\n')


def later_format(folder: Path) -> None:
    journal = (folder / "journal").read_bytes()
    text = journal.splitlines()[0].rpartition(b"\t")[0].replace(b'"format":2', b'"format":3')
    (folder / "journal").write_bytes(text + b"\t" + spool_module.xxh3_64(text).hexdigest().encode() + b"\n")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a segment is missing": (lambda at: (at / "000000001-0000.ndjson").unlink(), "000000001-0000.ndjson is missing"),
    "a segment is cut": (lambda at: os.truncate(at / "000000001-0000.ndjson", 9), "is shorter than it was"),
    "a segment is another": (
        lambda at: shutil.copy(at / "000000002-0000.ndjson", at / "000000001-0000.ndjson"),
        "000000001-0000.ndjson was changed",
    ),
    "what is kept is missing": (lambda at: (at / "kept.ndjson").unlink(), "kept.ndjson is missing"),
    "what is kept is longer": (lambda at: (at / "kept.ndjson").write_text("1\n2\n"), "kept.ndjson was changed"),
    "a digit of the journal": (flip_a_digit, "line 2 of its journal is damaged"),
    "the first line": (lambda at: (at / "journal").write_bytes(b"\0" * 99 + b"\n"), "line 1 of its journal is damaged"),
    "no journal": (lambda at: (at / "journal").unlink(), "its journal is missing or empty"),
    "a folder for a journal": (lambda at: ((at / "journal").unlink(), (at / "journal").mkdir()), "cannot be read"),
    "an older format": (older_format, "another version of this library"),
    "a later format": (later_format, "another version of this library"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_spool_starts_anew_and_says_why(folder: Path, kind: str) -> None:
    damage, told = DAMAGE[kind]
    before = [path.name for path in folder.iterdir()]
    damage(folder)
    with Spool.open(folder.parent, "slice") as spool:
        assert told in spool.discarded
        assert (spool.resumed, state_of(spool)) == (False, EMPTY)
        assert sorted(path.name for path in folder.iterdir()) == ["journal", "lock"]
    assert len(before) == 6
    with Spool.open(folder.parent, "slice") as spool:
        assert spool.discarded == "", "it is told once"


def test_a_folder_where_the_lock_should_be_is_no_hindrance(folder: Path) -> None:
    (folder / "lock").unlink()
    (folder / "lock" / "inner").mkdir(parents=True)
    with Spool.open(folder.parent, "slice") as spool:
        assert spool.rows == 6


def test_a_file_where_the_spool_should_be_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "slice").write_text("of somebody else")
    with Spool.open(tmp_path, "slice") as spool:
        assert not spool.resumed


def test_a_full_disk_is_an_error_and_no_damage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "truncate", full)
        with pytest.raises(SpoolError, match="No space left"):
            Spool.open(folder.parent, "slice")
    with Spool.open(folder.parent, "slice") as spool:
        assert spool.rows == 6


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_sweeping_survives_whatever_lies_there(seed: int) -> None:
    chance = random.Random(seed)
    with TemporaryDirectory() as name:
        root = Path(name) / "spools"
        for number in range(4):
            with Spool.open(root, f"s{number}", root_run_id="ours") as spool:
                spool.note(fact=1)
            damage_journal(root / f"s{number}", chance)
        for number in range(2):
            (root / f"garbage{number}" / "journal").mkdir(parents=True)
            (root / f"garbage{number}" / "lock").write_bytes(b"\xff")
        (root / "locked" / "lock").mkdir(parents=True)
        (root / "a file").write_bytes(chance.randbytes(9))
        (root / "nowhere").symlink_to(root / "not there")
        for path in root.glob("*/journal"):
            os.utime(path, (1, 1))
        removed = sweep(root, except_of="ours")
        assert {"garbage0", "garbage1"} <= set(removed)
        assert (root / "a file").exists()
        assert sweep(root / "a file") == sweep(root / "not there") == []


# ---- texts -----------------------------------------------------------------------------------------------------------
odd = st.text(st.sampled_from("\ud800\udfff\uffffud80fx\\\U0001f642"), max_size=12)
odd_values = st.recursive(odd, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(odd, inner, max_size=2))


@settings(max_examples=500)
@given(one=st.dictionaries(odd, odd_values, max_size=3), other=st.dictionaries(odd, odd_values, max_size=3))
def test_different_records_are_written_differently(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = encode_records([one]), encode_records([other])
    assert (first == second) == (one == other)
    assert encode_records([one, other]) == [*first, *second], "whatever else is on the page"


@given(texts=st.lists(odd, min_size=2, max_size=2, unique=True))
def test_names_that_differ_stay_two_names(texts: list[str]) -> None:
    [line] = encode_records([dict.fromkeys(texts, 1)])
    assert len(msgspec.json.decode(line)) == 2


def test_an_escape_that_an_api_spells_out_is_left_alone() -> None:
    [line] = encode_records([{"a": "\\ud800"}])
    assert msgspec.json.decode(line) == {"a": "\\ud800"}


def test_lone_surrogates_survive_in_names_states_and_facts(tmp_path: Path) -> None:
    for _ in range(2):
        with Spool.open(tmp_path, "slice") as spool:
            if spool.resumed:
                assert spool.writer(0).state == {"next": "\udc00a"}
                assert list(spool.schema.fields) == ["\uffffud800", "\\ud800"]
                continue
            writer = spool.writer(0)
            writer.write([{"\ud800": 1, "\\ud800": 2}])
            writer.commit({"next": "\udc00a"}, {"furthest": "\ud800"})
