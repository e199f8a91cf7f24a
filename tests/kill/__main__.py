"""`make kill KILLS=200 SEED=1`: so many runs are killed, and every row is compared."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from kill.harness import Harness, Loss, plan_of
from kill.kinds import KINDS


def main() -> int:
    parser = argparse.ArgumentParser(prog="make kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many runs are killed")
    parser.add_argument("--seed", type=int, default=1, help="decides where and when")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    plan, names = plan_of(), list(KINDS)
    folder = Path(tempfile.mkdtemp(prefix="restapi-kill-"))
    harness = Harness(folder, chance)
    began, lives = time.monotonic(), 0
    while harness.outcome.kills < arguments.kills:
        name = names[lives % len(names)]
        lives += 1
        try:
            harness.disturb(name, plan)
        except Loss as loss:
            print(f"LOSS in life {lives} ({name}), kept in {folder}:\n{loss}")
            return 1
        print(f"{time.monotonic() - began:7.0f} s  {harness.outcome.kills:4} kills  {name}", flush=True)
    report(harness, lives, time.monotonic() - began)
    return 0


def report(harness: Harness, lives: int, seconds: float) -> None:
    """What was tried; nothing was lost, or it had ended before."""
    outcome = harness.outcome
    print(f"\n{outcome.kills} kills in {lives} lives of {len(KINDS)} kinds, {seconds:.0f} s.")
    print(f"{outcome.missed} processes came to their end before they could be killed.")

    def show(title: str, counted: Counter[str]) -> None:
        print(f"{title}: " + ", ".join(f"{name} {count}" for name, count in counted.most_common()))

    show("At named instants", outcome.named)
    show("At random, the last instant that was passed", outcome.random)
    show("Step processes, tried again by their own run", outcome.steps)
    show("Kinds", outcome.kinds)
    show("Right after a kill the tables were as before or after the load", outcome.after)
    print("Nothing lost, nothing twice: all tables are row for row those of undisturbed runs, and the API's.")


if __name__ == "__main__":
    sys.exit(main())
