"""Generated answers (status, headers, body, place in the walk) against a model of when a walk may end.

python -m answers --worlds 10000 --seed 1            make answers WORLDS=10000 SEED=1
python -m answers --replay 'World(rows=3, ...)'
"""

from __future__ import annotations

import argparse
import logging
import random
import time
from collections import Counter

from answers import world as worlds
from answers.play import objection, play, theatre


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m answers", description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first world; the next ones count on")
    parser.add_argument("--replay", help="a world as this prints it")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    began, ends, wrong = time.monotonic(), Counter[str](), Counter[str]()
    with theatre() as (url, stage):
        if options.replay:
            given = eval(options.replay, vars(worlds))
            outcome = play(url, stage, given)
            print(outcome, dict(stage.asked), objection(given, outcome, stage.asked), sep="\n")
            return 0
        for seed in range(options.seed, options.seed + options.worlds):
            world = worlds.random_world(random.Random(seed))
            outcome = play(url, stage, world)
            ends["an error" if outcome.error else "complete" if outcome.complete else "incomplete"] += 1
            against = objection(world, outcome, stage.asked)
            if against:
                wrong[against.partition(":")[0]] += 1
                if wrong.total() <= 20:
                    print(f"seed {seed}: {against}\n    {world!r}\n    {outcome!r}", flush=True)
    print(f"{options.worlds} walks in {time.monotonic() - began:.0f} s: {dict(ends)}; differences: {dict(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
