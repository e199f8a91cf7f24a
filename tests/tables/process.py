"""A process that loads: `python process.py FOLDER DATABASE JOB…`, each job a JSON object. Used by the tests of kills
and of many at once; a job whose load stands in the ledger already is skipped, as a step would.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from dagster_restapi.model import Fetched, Slice, TablePlan
from dagster_restapi.spool import Spool
from dagster_restapi.tables.ledger import loads, newest_load
from dagster_restapi.tables.load import load
from dagster_restapi.tables.target import Target


def run(folder: Path, database: str, job: dict[str, Any]) -> None:
    """One load: goes on with the spool that an earlier try left, and removes it behind the commit."""
    target = Target(database, schema="s", memory_limit="256MB", lock_timeout=120)
    plan = TablePlan(resource="t", table="t", **job["plan"])
    newest = newest_load(target, "t", job.get("partition"))
    if job["name"] in {row.tell["notes"]["name"] for row in loads(target)}:
        with Spool.open(folder, job["name"]) as left:
            left.remove()
        return
    with Spool.open(folder, job["name"], root_run_id="run") as spool:
        if not spool.resumed:
            writer = spool.writer(0)
            writer.write(job["records"])
            writer.commit(None, {}, done=True)
            spool.seal()
        load(
            target,
            plan,
            Slice(asset="t", partition=job.get("partition")),
            spool,
            Fetched(load_id=spool.load_id),
            cursor=None,
            expected=newest.load_id if newest else None,
            replace=job.get("replace", False),
            notes={"name": job["name"]},
        )
        spool.remove()


if __name__ == "__main__":
    print("ready", flush=True)
    for text in sys.argv[3:]:
        run(Path(sys.argv[1]), sys.argv[2], json.loads(text))
