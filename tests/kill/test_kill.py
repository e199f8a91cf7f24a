"""A run that is killed at any instant and run again leaves the rows of an undisturbed one. `make kill` tries more."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from kill.harness import Harness
from kill.kinds import KINDS
from kill.victim import INSTANTS


def instants(kind: str) -> itertools.cycle[str]:
    """Every kind begins at another instant, so that all kinds together pass them all more than once."""
    names = list(INSTANTS)
    first = list(KINDS).index(kind) * 3
    return itertools.cycle([names[first % len(names)], "random", names[(first + 1) % len(names)]])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_and_nothing_comes_twice(kind: str, tmp_path: Path) -> None:
    harness = Harness(tmp_path, random.Random(kind), loads=2)
    harness.disturb(kind, instants(kind))
    assert harness.outcome.kills + harness.outcome.missed >= 2


@pytest.mark.parametrize("instant", ["after commit", "after the event"])
def test_a_step_process_that_dies_is_tried_again_by_its_run_and_loads_once(instant: str, tmp_path: Path) -> None:
    harness = Harness(tmp_path, random.Random(1), loads=1)
    harness.disturb("append", iter([f"step: {instant}"]))
    assert harness.outcome.steps == {instant: 1}
