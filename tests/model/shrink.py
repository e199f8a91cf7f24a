"""A smaller sequence that goes wrong in the same way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from model import settings as settings_
from model import steps as steps_
from model.look import Wrong
from model.play import Play, play


def fault_of(sequence: Play) -> Wrong | None:
    """What goes wrong in it."""
    try:
        play(sequence)
    except Wrong as fault:
        return fault
    except Exception:  # noqa: BLE001 - refused settings, or another fault: not what is looked for
        return None
    return None


def shrink(sequence: Play, kind: str, *, seconds: float = 60) -> Play:
    """Leaves out steps and simplifies what is left, as long as the same kind of difference comes back."""
    until = time.monotonic() + seconds
    smaller = True
    while smaller:
        smaller = False
        for candidate in _candidates(sequence):
            if time.monotonic() > until:
                return sequence
            fault = fault_of(candidate)
            if fault is not None and family(fault.kind) == family(kind):
                sequence, smaller = candidate, True
                break
    return sequence


def family(kind: str) -> str:
    """The kind without what it says of the asset: simpler settings may change that."""
    return kind.partition(" (")[0]


def _candidates(sequence: Play) -> Iterator[Play]:
    steps = sequence.steps
    size = max(1, len(steps) // 2)
    while size:
        for start in range(len(steps) - size, -1, -size):
            yield replace(sequence, steps=steps[:start] + steps[start + size :])
        size //= 2
    for settings in settings_.simpler(sequence.settings):
        yield replace(sequence, settings=settings)
    for number, step in enumerate(steps):
        for simpler in steps_.simpler(step):
            yield replace(sequence, steps=(*steps[:number], simpler, *steps[number + 1 :]))
