"""Generated answers against the model, in small; `make answers` plays ten thousand. And that the model can object."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from answers.play import Stage, objection, play, theatre
from answers.world import random_world

from dagster_restapi.http import walk as walks
from dagster_restapi.http.paginators import HeaderLink
from dagster_restapi.http.session import Session

WORLDS = 600
Theatre = tuple[str, Stage]


@pytest.fixture(scope="module")
def server() -> Iterator[Theatre]:
    with theatre() as found:
        yield found


def objections(server: Theatre, seeds: range) -> list[str]:
    url, stage = server
    found = []
    for seed in seeds:
        world = random_world(random.Random(seed))
        against = objection(world, play(url, stage, world), stage.asked)
        found += [f"seed {seed}: {against}: {world!r}"] if against else []
    return found


def test_a_walk_ends_only_where_the_answers_say_so(server: Theatre) -> None:
    assert objections(server, range(1, WORLDS)) == []


def as_before(name: str, patch: pytest.MonkeyPatch) -> None:
    """The faults that the model is for, planted."""
    sent: Any = Session._sent
    faults: dict[str, tuple[Any, str, Any]] = {
        "an empty body is an empty page": (walks.Walk, "_not_whole", lambda self, position, answer: None),
        "no look at the signs": (walks, "signs", lambda facts, data: ()),
        "no total is looked for": (walks, "detect_total", lambda facts: None),
        "a link is never followed": (HeaderLink, "following", lambda self, facts: None),
        "nothing is tried again": (
            Session,
            "_sent",
            lambda *a: sent(*a[:4], a[4].model_copy(update={"attempts": 1}), *a[5:]),
        ),
    }
    patch.setattr(*faults[name])


@pytest.mark.parametrize(
    "fault",
    [
        "an empty body is an empty page",
        "no look at the signs",
        "no total is looked for",
        "a link is never followed",
        "nothing is tried again",
    ],
)
def test_the_model_can_object(server: Theatre, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    as_before(fault, monkeypatch)
    assert objections(server, range(1, 250))
