"""What it costs to have a spool on disk: `python -m benchmarks.spool_sync FOLDER`, on the disk that matters.

500 pages of 100 rows by one walk, and 1,000 pages of 10 rows by eight threads, 20 to a unit; each without a sync, as it
is, and with a sync after every page. A page comes after 5 ms, as from a fast API.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dagster_restapi import spool as spool_module
from dagster_restapi.spool import Spool

LATENCY = 0.005
SYNC = {"never": float("inf"), "as it is": spool_module.SYNC_EVERY, "after every page": 0.0}


def page(number: int, rows: int) -> list[dict[str, Any]]:
    return [{"id": number * rows + index, "name": f"name {index}", "text": "x" * 150} for index in range(rows)]


def one_walk(spool: Spool) -> None:
    writer = spool.writer(0)
    for number in range(500):
        time.sleep(LATENCY)
        writer.write(page(number, 100))
        writer.commit({"page": number}, {"pages": number}, done=number == 499)


def families(spool: Spool) -> None:
    def family(number: int) -> None:
        writer = spool.writer(number)
        for index in range(20):
            time.sleep(LATENCY)
            writer.write(page(index, 10))
            writer.commit((index + 1, None), {"pages": index}, done=index == 19)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(family, range(50)))


def seconds(work: Any, folder: Path) -> float:
    with TemporaryDirectory(dir=folder) as name, Spool.open(Path(name), "spool") as spool:
        started = time.perf_counter()
        work(spool)
        spool.sync()
        return time.perf_counter() - started


def main(folder: Path) -> None:
    for work in (one_walk, families):
        least: dict[str, float] = {}
        for every, wait in SYNC.items():
            spool_module.SYNC_EVERY = wait
            spool_module._SYNC_SHARE = 0 if wait == 0 else 20
            least[every] = min(map(partial(seconds, work), [folder] * 3))
        told = ", ".join(f"{every} {took:.2f} s ({took / least['never']:.2f})" for every, took in least.items())
        sys.stdout.write(f"{work.__name__}: {told}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
