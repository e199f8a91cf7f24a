"""The key beside the spools: made once, by whoever comes first, and what it hashes is not given away."""

from __future__ import annotations

import multiprocessing
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from dagster_restapi.errors import SpoolError
from dagster_restapi.spool import keyed_hash, sweep


def test_the_same_value_has_the_same_hash_under_one_key_only(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    first = keyed_hash(one, {"A": "x", "B": None})
    assert keyed_hash(one, {"A": "x", "B": None}) == first
    assert len({first, keyed_hash(one, {"A": "y", "B": None}), keyed_hash(one, {"A": "x"}), keyed_hash(other, {})}) == 4
    assert stat.S_IMODE((one / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE(one.stat().st_mode) == 0o700
    assert len((one / "key").read_bytes()) == 32


def is_empty(path: Path) -> None:
    path.write_bytes(b"")


def is_short(path: Path) -> None:
    path.write_bytes(b"x" * 31)


def is_a_folder(path: Path) -> None:
    path.unlink()
    (path / "inner").mkdir(parents=True)


@pytest.mark.parametrize("damage", [is_empty, is_short, is_a_folder])
def test_a_damaged_key_is_made_anew(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    before = keyed_hash(tmp_path, "value")
    damage(tmp_path / "key")
    after = keyed_hash(tmp_path, "value")
    assert after == keyed_hash(tmp_path, "value") != before


def test_sweeping_leaves_the_key_alone(tmp_path: Path) -> None:
    before = keyed_hash(tmp_path, "value")
    assert sweep(tmp_path, older_than=0) == []
    assert keyed_hash(tmp_path, "value") == before


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="cannot be written"):
        keyed_hash(tmp_path / "file" / "spools", "value")


def _hash(root: Path) -> str:
    return keyed_hash(root, "value")


@pytest.mark.parametrize("damaged", [False, True])
def test_processes_that_begin_at_once_agree_on_one_key(tmp_path: Path, damaged: bool) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        for number in range(20):
            root = tmp_path / f"{number}"
            if damaged:
                root.mkdir()
                (root / "key").write_bytes(b"damaged")
            assert len(set(pool.map(_hash, [root] * 8, chunksize=1))) == 1
        pool.close()
        pool.join()  # they end by themselves, also where SIGTERM is ignored
