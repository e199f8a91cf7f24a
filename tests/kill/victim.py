"""One real Dagster run in a process of its own, which may be told to kill itself at a named instant."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterInstance, ReexecutionOptions

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_assets
from dagster_restapi.assets import step
from dagster_restapi.demo.home import use_home
from dagster_restapi.extract.fetch import Fetch
from dagster_restapi.spool import Writer
from dagster_restapi.tables import ledger, load
from dagster_restapi.tables.stage import Staging, _Stager

ERRAND = "KILL_ERRAND"  # environment variable: step processes build the same job from it


@dataclass(frozen=True)
class Errand:
    """One run.

    Attributes:
        folder: Holds Dagster's home, the database, and what the process leaves for whoever sent it.
        instant: Where the process kills itself; None: nowhere.
        time_of: At which passage of that instant.
        again_of: The run that this one executes again, from its failure.
        in_steps: Every step is a process, and the one that dies is tried again by the run itself.
    """

    folder: str
    config: Mapping[str, Any]
    assets: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    instant: str | None = None
    time_of: int = 1
    again_of: str | None = None
    in_steps: bool = False
    max_concurrent: int = 2


# ---- named instants --------------------------------------------------------------------------------------------------
def _is_materialization(storage: Any, event: Any) -> bool:
    return bool(event.dagster_event and event.dagster_event.is_step_materialization)


def _always(*_: Any, **__: Any) -> bool:
    return True


@dataclass(frozen=True)
class Instant:
    """The moment before or after a call of a function."""

    owner: Any
    function: str
    after: bool = False
    counts: Callable[..., bool] = _always


LAST: list[str] = []  # the instant that this process has passed last


def _event_storage() -> type:
    from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

    return SqliteEventLogStorage


INSTANTS: dict[str, Instant] = {
    "before the first request": Instant(Fetch, "run"),
    "behind a page": Instant(Writer, "commit", after=True),
    "before stage": Instant(Staging, "staged"),
    "in stage": Instant(_Stager, "_check_keys"),
    "in the transaction": Instant(load, "write"),
    "before commit": Instant(ledger, "append", after=True),
    "after commit": Instant(ledger, "has", counts=lambda *_: LAST == ["before commit"]),
    "while the spool is removed": Instant(shutil, "rmtree"),
    "before the event": Instant(step, "event_metadata"),
    "after the event": Instant(_event_storage(), "store_event", after=True, counts=_is_materialization),
}
"""By name, in the order in which a step passes them. Found by patching: the library knows nothing of them."""


def arm(errand: Errand) -> None:
    """Makes this process leave a mark at every instant, and die at the one that the errand names."""
    for name, instant in INSTANTS.items():
        _patch(errand, name, instant)


def _patch(errand: Errand, name: str, instant: Instant) -> None:
    original = getattr(instant.owner, instant.function)
    passed = 0

    def pass_by(*args: Any, **kwargs: Any) -> None:
        nonlocal passed
        if not instant.counts(*args, **kwargs):
            return
        passed += 1
        LAST[:] = [name]
        _leave_mark(Path(errand.folder, "mark"), name)
        if name == errand.instant and passed == errand.time_of:
            if name == "while the spool is removed":
                _remove_half(Path(args[0]))
            _die(errand)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not instant.after:
            pass_by(*args, **kwargs)
        result = original(*args, **kwargs)
        if instant.after:
            pass_by(*args, **kwargs)
        return result

    setattr(instant.owner, instant.function, wrapped)


def _leave_mark(mark: Path, name: str) -> None:
    """Whole or not at all: a kill may come meanwhile. The steps of a run, and their threads, share the one mark."""
    own = mark.with_name(f"mark.{os.getpid()}.{threading.get_ident()}")
    own.write_text(name)
    own.replace(mark)


def _remove_half(folder: Path) -> None:
    for path in sorted(folder.iterdir())[::2]:
        path.unlink()


def _die(errand: Errand) -> None:
    """Once only: where the run itself tries the step again, the second try lives."""
    died = Path(errand.folder, "died")
    if not died.exists():
        died.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)


# ---- the run ---------------------------------------------------------------------------------------------------------
def make_job() -> dg.JobDefinition:
    """The errand's assets in one job."""
    errand = Errand(**json.loads(os.environ[ERRAND]))
    if errand.in_steps and os.environ.get("KILL_RUN_PROCESS") != str(os.getpid()):
        arm(errand)  # a step's process
    assets = build_rest_api_assets(errand.config, retry_policy=dg.RetryPolicy(max_retries=3, delay=0.05))
    parallel = dg.multiprocess_executor.configured(
        {"max_concurrent": errand.max_concurrent, "start_method": {"forkserver": {"preload_modules": [__name__]}}}
    )
    io_manager = DuckDBRestApiIOManager(database=str(Path(errand.folder, "t.duckdb")), schema="s", lock_timeout=300)
    return dg.Definitions(
        assets=assets,
        jobs=[dg.define_asset_job("job", selection=[dg.AssetKey(name) for name in errand.assets])],
        executor=parallel if errand.in_steps else dg.in_process_executor,
        resources={"io_manager": io_manager},
    ).resolve_job_def("job")


def run(errand: Errand) -> None:
    """What the process does. It ends with 1 where the run fails."""
    log = os.open(Path(errand.folder, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ[ERRAND] = json.dumps(asdict(errand))
    os.environ["KILL_RUN_PROCESS"] = str(os.getpid())
    use_home(Path(errand.folder, "home"), log_level="INFO")
    if not errand.in_steps:
        arm(errand)
    with DagsterInstance.get() as instance:
        again = None
        if errand.again_of and (parent := instance.get_run_by_id(errand.again_of)):
            instance.report_run_failed(parent)  # as Dagster's run monitoring does
            again = ReexecutionOptions.from_failure(parent.run_id, instance)
        Path(errand.folder, "ready").touch()
        with dg.execute_job(
            dg.reconstructable(make_job),
            instance,
            tags=dict(errand.tags),
            reexecution_options=again,
        ) as result:
            sys.exit(0 if result.success else 1)
