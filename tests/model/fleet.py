"""Many sequences, in processes that end after some of them."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import queue
import random
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

from model.look import Wrong
from model.play import Play, Skip, play
from model.settings import draw
from model.shrink import shrink
from model.steps import draw_steps

_PER_PROCESS = 40  # sequences, so that what Dagster and DuckDB keep of them goes away


def sequence_of(seed: int) -> Play:
    """The sequence of a seed."""
    chance = random.Random(seed)
    settings = draw(chance)
    return Play(settings, draw_steps(chance, settings))


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a sequence ended: `fine`, `refused`, `wrong`, `crash`."""

    seed: int
    how: str
    kind: str = ""
    told: str = ""
    sequence: Play | None = None
    seconds: float = 0.0


def try_one(seed: int, shrink_seconds: float, known: frozenset[str]) -> Verdict:
    """Plays the sequence of a seed, and makes it smaller where it goes wrong in a way that is new."""
    logging.disable(logging.CRITICAL)
    began = time.monotonic()
    sequence = sequence_of(seed)
    try:
        play(sequence)
    except Skip as refusal:
        return Verdict(seed, "refused", told=str(refusal), seconds=time.monotonic() - began)
    except Wrong as fault:
        seconds = time.monotonic() - began
        if shrink_seconds and fault.kind not in known:
            sequence = shrink(sequence, fault.kind, seconds=shrink_seconds)
            try:
                play(sequence)
            except Wrong as smaller:
                smaller.__notes__ = getattr(smaller, "__notes__", [])
                told = "\n".join([str(smaller), *smaller.__notes__])
                return Verdict(seed, "wrong", fault.kind, told, sequence, seconds)
            except Skip:
                sequence = sequence_of(seed)
        told = "\n".join([str(fault), *getattr(fault, "__notes__", [])])
        return Verdict(seed, "wrong", fault.kind, told, sequence, seconds)
    except Exception:  # noqa: BLE001 - a fault of the check itself, told like the others
        return Verdict(seed, "crash", "the check itself failed", traceback.format_exc(), sequence)
    return Verdict(seed, "fine", seconds=time.monotonic() - began)


def _work(seeds: multiprocessing.Queue, verdicts: multiprocessing.Queue, arguments: argparse.Namespace) -> None:
    known: set[str] = set()
    for _ in range(_PER_PROCESS):
        seed = seeds.get()
        if seed is None:
            break
        verdict = try_one(seed, arguments.shrink, frozenset(known))
        known.add(verdict.kind)
        verdicts.put(verdict)
    verdicts.put(None)


def verdicts_of(arguments: argparse.Namespace) -> Iterator[Verdict]:
    """Of all seeds, until somebody has seen enough."""
    made = multiprocessing.get_context("spawn")
    seeds, verdicts = made.Queue(), made.Queue()
    until = time.monotonic() + arguments.seconds
    upcoming = iter(range(arguments.seed, arguments.seed + arguments.sequences))
    asked = done = 0
    workers: list[BaseProcess] = []

    def ask() -> None:
        nonlocal asked
        seed = next(upcoming, None) if time.monotonic() < until else None
        if seed is not None:
            seeds.put(seed)
            asked += 1

    def start() -> None:
        worker = made.Process(target=_work, args=(seeds, verdicts, arguments))
        worker.start()
        workers.append(worker)

    for _ in range(arguments.jobs):
        ask()
        start()
    try:
        while asked:
            try:
                verdict = verdicts.get(timeout=2)
            except queue.Empty:
                died = [worker for worker in workers if worker.exitcode not in (None, 0)]
                if died:
                    raise RuntimeError(f"a process ended with {died[0].exitcode}") from None
                continue
            if verdict is None:
                start()
                continue
            asked -= 1
            done += 1
            if done % 10 == 0:
                print(f"{done} sequences", file=sys.stderr, flush=True)
            ask()
            yield verdict
    finally:
        for _ in workers if not asked else ():
            seeds.put(None)
        for worker in workers:
            worker.join(0 if asked else 10)
            worker.terminate()
            worker.join()
