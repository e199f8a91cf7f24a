"""Random sequences of runs against a simulated API, compared with the specification.

python -m model --sequences 200 --seed 1            make model SEEDS=200 SEED=1
python -m model --sequences 1000 --keep-going --jobs 2 --seconds 600
python -m model --replay 'Play(settings=..., steps=(...))'
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from model.fleet import Verdict, verdicts_of
from model.look import Wrong
from model.play import Play, play
from model.settings import Settings, Table
from model.steps import Step


@dataclass
class Report:
    """What was found."""

    counted: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, list[Verdict]] = field(default_factory=dict)
    seconds: float = 0.0

    def take(self, verdict: Verdict) -> None:
        self.counted[verdict.how] += 1
        self.seconds += verdict.seconds
        if verdict.how in ("wrong", "crash"):
            new = verdict.kind not in self.kinds
            self.kinds.setdefault(verdict.kind, []).append(verdict)
            if new:
                self._show(verdict)

    def _show(self, verdict: Verdict) -> None:
        print(f"\nseed {verdict.seed}: {verdict.told}")
        if verdict.sequence is not None:
            print(f"    python -m model --replay '{verdict.sequence!r}'", flush=True)

    def sum_up(self) -> None:
        print(
            f"\n{sum(self.counted.values())} sequences: " + ", ".join(f"{n} {how}" for how, n in self.counted.items())
        )
        print(f"{self.seconds / max(1, sum(self.counted.values())):.1f} s for each")
        for kind, verdicts in sorted(self.kinds.items(), key=lambda item: -len(item[1])):
            seeds = " ".join(str(verdict.seed) for verdict in verdicts[:6])
            print(f"{len(verdicts):4} x {kind}: seeds {seeds}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m model", description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="of the first sequence; the next ones count on")
    parser.add_argument("--seconds", type=float, default=3600, help="no new sequence begins after so many")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--keep-going", action="store_true", help="collect all kinds of differences")
    parser.add_argument("--shrink", type=float, default=60, help="seconds for making a sequence smaller; 0: not at all")
    parser.add_argument("--replay", help="plays one sequence, as a failure has told it")
    arguments = parser.parse_args()
    if arguments.replay:
        return replay(arguments.replay)
    report = Report()
    for verdict in verdicts_of(arguments):
        report.take(verdict)
        if report.kinds and not arguments.keep_going:
            break
    report.sum_up()
    return 1 if report.kinds else 0


def replay(told: str) -> int:
    """Plays a sequence from its text, or from a file that holds it."""
    logging.disable(logging.CRITICAL)
    text = Path(told).read_text() if len(told) < 200 and Path(told).exists() else told
    names = {"Play": Play, "Settings": Settings, "Table": Table, "Step": Step}
    sequence = eval(text, {"__builtins__": {}}, names)
    try:
        player = play(sequence, verbose=True)
    except Wrong as fault:
        print("\n".join([f"WRONG: {fault}", *getattr(fault, "__notes__", [])]))
        return 1
    print(f"fine, {player.runs} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
