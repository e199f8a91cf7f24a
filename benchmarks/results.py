"""What was measured, and the goals that it is held against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from benchmarks.measure import Run
from benchmarks.workloads import WORKLOADS

EMPTY = {"dagster": "empty", "multiprocess": "empty_multiprocess"}
"""What is taken off the time of a contender: a Dagster step that does nothing."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal, and how near the measurement came."""

    text: str
    value: float
    limit: float
    unit: str
    at_least: bool = False

    @property
    def reached(self) -> bool:
        """Whether it is fulfilled."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(slots=True)
class Results:
    """All runs, by workload and contender. Whatever is asked of several runs is their median."""

    runs: dict[tuple[str, str], list[Run]] = field(default_factory=dict)

    def add(self, workload: str, contender: str, done: Run) -> None:
        """One more run."""
        self.runs.setdefault((workload, contender), []).append(done)

    def has(self, *entries: tuple[str, str]) -> bool:
        """Whether all of these were measured."""
        return all(entry in self.runs for entry in entries)

    def contenders(self, workload: str) -> list[str]:
        """Who ran a workload, empty steps left out."""
        return [who for name, who in self.runs if name == workload and not who.startswith("empty")]

    def seconds(self, workload: str, contender: str) -> float:
        """Of the work; with the empty Dagster step's taken off, where it ran in one."""
        whole = median(run.seconds for run in self.runs[workload, contender])
        empty = EMPTY.get(contender)
        return whole - self.seconds(workload, empty) if empty and self.has((workload, empty)) else whole

    def spread(self, workload: str, contender: str) -> tuple[float, float]:
        """The fastest and the slowest run, nothing taken off."""
        seconds = [run.seconds for run in self.runs[workload, contender]]
        return min(seconds), max(seconds)

    def process_seconds(self, workload: str, contender: str) -> float:
        """From the start of the process to its end."""
        return median(run.process_seconds for run in self.runs[workload, contender])

    def peak_mb(self, workload: str, contender: str) -> float:
        """Of the process tree; the largest of all runs."""
        return max(run.peak_mb for run in self.runs[workload, contender])

    def process_peak_mb(self, workload: str, contender: str) -> float:
        """Of one process; the largest of all runs."""
        return max(run.process_peak_mb for run in self.runs[workload, contender])

    def requests(self, workload: str, contender: str) -> float:
        """That the server saw."""
        return median(run.served["requests"] for run in self.runs[workload, contender])

    def own_part(self, workload: str) -> float:
        """Seconds of a step before its first request and after its load."""

        def part(run: Run) -> float:
            marks = run.told["marks"]
            return float(run.served["first"] - marks["began"] + marks["ended"] - marks["loaded"])

        return median(part(run) for run in self.runs[workload, "dagster"])

    def phases(self, workload: str) -> dict[str, float]:
        """Seconds by what was done in them, of the runs without Dagster."""
        runs = self.runs[workload, "plain"]
        return {name: median(run.told["phases"][name] for run in runs) for name in runs[0].told["phases"]}

    def goals(self) -> Iterator[Goal]:
        """Every goal that these results can tell of."""
        for name, faster, slower in (("flat", 15, 1.5), ("nested", 20, 2), ("million", None, 1.5)):
            title = WORKLOADS[name].title
            if faster and self.has((name, "dlt"), (name, "dagster")):
                ratio = self.seconds(name, "dlt") / self.seconds(name, "dagster")
                yield Goal(f"{title}: times as fast as dlt", ratio, faster, "×", at_least=True)
            if self.has((name, "by_hand"), (name, "dagster")):
                ratio = self.seconds(name, "dagster") / self.seconds(name, "by_hand")
                yield Goal(f"{title}: against the script written by hand", ratio, slower, "×")
        for name, workload in WORKLOADS.items():
            if workload.seconds and self.has((name, "dagster")):
                ratio = self.seconds(name, "dagster") / workload.seconds
                text = f"{workload.title}: against latency × calls ÷ workers"
                if self.has((name, "by_hand")):
                    text += f" (written by hand: {self.seconds(name, 'by_hand') / workload.seconds:.2f}×)"
                yield Goal(text, ratio, 1.25, "×")
        yield from self._small_goals()
        yield from self._memory_goals()

    def _small_goals(self) -> Iterator[Goal]:
        if self.has(("nothing_new", "dagster"), ("nothing_new", "empty")):
            whole = median(run.seconds for run in self.runs["nothing_new", "dagster"])
            title = WORKLOADS["nothing_new"].title
            yield Goal(f"{title}: requests", self.requests("nothing_new", "dagster"), 2, "")
            yield Goal(f"{title}: against an empty step", whole / self.seconds("nothing_new", "empty"), 1.2, "×")
        for name in ("flat", "nothing_new"):
            if self.has((name, "dagster")):
                text = f"{WORKLOADS[name].title}: before the first request and after the load"
                yield Goal(text, self.own_part(name) * 1000, 50, " ms")
        for ours, plain, what in (
            ("ours", "plain_assets", "against plain assets"),
            ("ours_checked", "plain_checked", "with checks, against plain assets with one check each"),
        ):
            if self.has(("definitions_1000", ours), ("definitions_1000", plain)):
                ratio = self.seconds("definitions_1000", ours) / self.seconds("definitions_1000", plain)
                yield Goal(f"loading 1,000 resources: {what}", ratio, 1.5, "×")

    def _memory_goals(self) -> Iterator[Goal]:
        measured = [entry for entry in self.runs if entry[1] in EMPTY]
        if measured:
            most = max(measured, key=lambda entry: self.process_peak_mb(*entry))
            text = f"peak memory of the hungriest process ({WORKLOADS[most[0]].title})"
            yield Goal(text, self.process_peak_mb(*most), 400, " MB")
        if self.has(("million", "dagster"), ("flat", "dagster")):
            ratio = self.peak_mb("million", "dagster") / self.peak_mb("flat", "dagster")
            yield Goal("peak memory of 1,000,000 flat rows against 50,000", ratio, 1.2, "×")
