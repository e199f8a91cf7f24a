"""`make bench`: measures everything, prints it, and writes it into the documentation."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.measure import REPOSITORY, Run, peers, run
from benchmarks.report import print_report, write_report
from benchmarks.results import Results
from benchmarks.server import Server
from benchmarks.workloads import WORKLOADS, Workload

CONTENDERS = {
    "dagster": ("contenders.dagster_run", False),
    "multiprocess": ("contenders.dagster_run", False),
    "plain": ("contenders.plain", False),
    "by_hand": ("contenders.by_hand", True),
    "dlt": ("contenders.dlt_rest_api", True),
    "empty": ("contenders.empty_step", False),
    "empty_multiprocess": ("contenders.empty_step", False),
}
"""Module, and whether it runs in the peers' environment."""

ENTRIES = {
    "flat": ("dagster", "by_hand", "plain", "multiprocess", "dlt", "empty", "empty_multiprocess"),
    "nested": ("dagster", "by_hand", "plain", "multiprocess", "dlt", "empty", "empty_multiprocess"),
    "million": ("dagster", "by_hand", "plain", "empty"),
    "merge": ("dagster", "by_hand", "empty"),
    "nothing_new": ("dagster", "empty"),
    "children": ("dagster", "by_hand", "dlt", "empty"),
    "pages": ("dagster", "by_hand", "dlt", "empty"),
}
"""Who takes part in what, in the order in which they take turns."""

PREPARED_BY = {
    "dagster": "dagster",
    "multiprocess": "dagster",
    "plain": "plain",
    "by_hand": "by_hand",
    "empty": "empty",
    "empty_multiprocess": "empty",
}
"""Who makes what a contender goes on from; an empty step, too, runs in a Dagster instance that has seen a run."""

COUNTS = (10, 100, 1_000)
LOCATIONS = {
    "ours": ("ours",),
    "plain_assets": ("plain",),
    "ours_checked": ("ours", "--checks"),
    "plain_checked": ("plain", "--checks"),
}
"""Code locations whose loading is measured: what is defined, and options."""


@dataclass(slots=True)
class Arena:
    """Where contenders run."""

    server: Server
    folder: Path
    peers: str
    _prepared: dict[tuple[str, str], Path] = field(default_factory=dict)

    def run(self, workload: Workload, contender: str) -> Run:
        """One contender, in a folder of its own that is gone afterwards.

        Raises:
            RuntimeError: The contender failed, or its table has another number of rows than it must have.
        """
        folder = self.folder / "run"
        shutil.rmtree(folder, ignore_errors=True)
        prepared = self._prepare(workload, contender)
        if prepared:
            shutil.copytree(prepared, folder)
        else:
            folder.mkdir()
        self.server.counts()
        done = self._start(workload, contender, folder)
        if not contender.startswith("empty") and done.told["rows"] != workload.rows:
            raise RuntimeError(f"{contender} loaded {done.told['rows']} rows of {workload.name}, not {workload.rows}")
        return replace(done, served=self.server.counts())

    def _prepare(self, workload: Workload, contender: str) -> Path | None:
        by = PREPARED_BY.get(contender)
        if not workload.prepare or by is None:
            return None
        if (workload.name, by) not in self._prepared:
            folder = self.folder / f"{workload.name}_{by}"
            folder.mkdir()
            self._start(workload, by, folder, "--prepare")
            self._prepared[workload.name, by] = folder
        return self._prepared[workload.name, by]

    def _start(self, workload: Workload, contender: str, folder: Path, *options: str) -> Run:
        module, with_peers = CONTENDERS[contender]
        environment = {"BENCHMARK_FOLDER": str(folder)}
        if contender.endswith("multiprocess"):
            environment["BENCHMARK_MULTIPROCESS"] = "yes"
        python = self.peers if with_peers else sys.executable
        arguments = (workload.name, self.server.url, str(folder), *options)
        return run(python, f"benchmarks.{module}", *arguments, environment=environment)


def measure(arena: Arena, names: list[str], repeat: int, without: list[str]) -> Iterator[tuple[str, str, Run]]:
    """Every run: workload, contender, and what came of it. Contenders of one workload take turns."""
    for name in names:
        workload = WORKLOADS[name]
        for path in workload.warm:
            arena.server.warm(path)
        turns = repeat * workload.rounds
        for number in range(turns):
            for contender in ENTRIES[name]:
                if contender not in without:
                    say(f"{workload.title}, {number + 1} of {turns}: {contender}")
                    yield name, contender, arena.run(workload, contender)


def measure_definitions(repeat: int) -> Iterator[tuple[str, str, Run]]:
    """How long code locations take to load."""
    module = "benchmarks.contenders.definitions"
    for _ in range(repeat):
        for count in COUNTS:
            for kind, options in LOCATIONS.items():
                say(f"loading {count} resources: {kind}")
                yield f"definitions_{count}", kind, run(sys.executable, module, options[0], str(count), *options[1:])


def say(text: str) -> None:
    """Progress, on the terminal."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*WORKLOADS, "definitions"], help="these workloads")
    parser.add_argument("--without", nargs="+", choices=list(CONTENDERS), default=[], help="not these contenders")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; their median counts")
    parser.add_argument("--quick", action="store_true", help="once, without dlt and the large ones; writes nothing")
    parser.add_argument("--write", type=Path, default=REPOSITORY / "docs", help="folder of performance.md")
    arguments = parser.parse_args()
    names, repeat, without = arguments.only or [*WORKLOADS, "definitions"], arguments.repeat, arguments.without
    if arguments.quick:
        names = arguments.only or ["flat", "nested", "nothing_new", "children", "pages"]
        repeat, without = 1, [*without, "dlt", "multiprocess", "empty_multiprocess"]
    results = Results()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, Server(seconds=14_400) as server:
        arena = Arena(server, Path(folder), peers(REPOSITORY / ".bench"))
        for workload, contender, done in measure(arena, [n for n in names if n in WORKLOADS], repeat, without):
            results.add(workload, contender, done)
    if "definitions" in names:
        for workload, contender, done in measure_definitions(repeat):
            results.add(workload, contender, done)
    print_report(results)
    if not arguments.quick and not arguments.only and not without:
        write_report(results, arguments.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
