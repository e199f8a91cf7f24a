"""One run, in this process or in one of its own that may kill or stop itself at a named instant."""

from __future__ import annotations

import functools
import http.client
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from kill.victim import INSTANTS, LAST, Instant

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_assets
from dagster_restapi.demo.home import use_home

SCHEMA = "s"
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One run.

    Attributes:
        label: By which the API knows its requests.
        parts: The partitions: none, one, or the first and the last of a range.
        root: The root run that this one is of; "" for itself.
        again_of: The run that this one executes again, from its failure on.
        instant: Where the process kills or stops itself.
        passage: At which passage of that instant.
        signal: What it sends itself there.
    """

    folder: str
    config: Mapping[str, Any]
    assets: tuple[str, ...]
    label: str
    parts: tuple[str, ...] = ()
    run_config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    run_id: str = ""
    root: str = ""
    again_of: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    instant: str = ""
    passage: int = 1
    signal: int = signal.SIGKILL


@dataclass(frozen=True, slots=True)
class Told:
    """One event: the metadata, with the library's prefix taken away."""

    asset: str
    part: str | None
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        ended: False: the process was killed.
        green: The assets whose steps succeeded.
        red: The assets whose steps failed, with the names of the errors' classes and their texts.
        told: The events, in their order.
    """

    ended: bool = False
    green: tuple[str, ...] = ()
    red: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    told: tuple[Told, ...] = ()


# ---- requests tell who sends them ------------------------------------------------------------------------------------
_label = ""
_PLAIN = (str, int, float, list, dict, type(None))
_endheaders = http.client.HTTPConnection.endheaders


def _labelled(self: http.client.HTTPConnection, *args: Any, **kwargs: Any) -> None:
    self.putheader("X-Model-Run", _label)
    _endheaders(self, *args, **kwargs)


http.client.HTTPConnection.endheaders = _labelled  # type: ignore[method-assign]


# ---- the run ---------------------------------------------------------------------------------------------------------
def perform(errand: Errand, instance: dg.DagsterInstance) -> Outcome:
    """Runs it in this process.

    Raises:
        ConfigError: The configuration is refused.
    """
    global _label
    _label = errand.label
    os.environ.update(errand.env)
    definitions = build_rest_api_assets(errand.config, retry_policy=None)
    chosen = [asset for asset in definitions if asset.key.path[-1] in errand.assets]
    ops = {
        asset.op.name: {"config": dict(errand.run_config[asset.key.path[-1]])}
        for asset in chosen
        if errand.run_config.get(asset.key.path[-1])
    }
    io_manager = DuckDBRestApiIOManager(database=str(Path(errand.folder, "t.duckdb")), schema=SCHEMA, lock_timeout=15)
    job = dg.Definitions(
        assets=definitions,
        jobs=[dg.define_asset_job("job", selection=[asset.key for asset in chosen])],
        executor=dg.in_process_executor,
        resources={"io_manager": io_manager},
    ).resolve_job_def("job")
    tags = {}
    if len(errand.parts) == 1:
        tags["dagster/partition"] = errand.parts[0]
    elif errand.parts:
        tags = dict(zip(_RANGE, errand.parts, strict=True))
    if errand.again_of:
        tags["dagster/is_resume_retry"] = "true"
    run = instance.create_run_for_job(
        job,
        run_id=errand.run_id,
        run_config={"ops": ops} if ops else {},
        tags=tags,
        root_run_id=errand.root or None,
        parent_run_id=errand.again_of or None,
    )
    result = execute_run(InMemoryJob(job), run, instance, raise_on_error=False)
    return _outcome(result)


def _outcome(result: Any) -> Outcome:
    green, red, told = [], {}, []
    for event in result.all_events:
        if event.is_step_success:
            green.append(event.step_key)
        elif event.is_step_failure:
            causes, error = [], event.step_failure_data.error
            while error:
                causes.append((error.cls_name or "", error.message))
                error = error.cause
            red[event.step_key] = tuple(causes)
        elif event.is_step_materialization and event.asset_key:
            metadata = event.materialization.metadata
            plain = {key.removeprefix("dagster_restapi/"): value.value for key, value in metadata.items()}
            told.append(Told(event.asset_key.path[-1], event.partition, plain))
    return Outcome(True, tuple(green), red, tuple(told))


# ---- processes -------------------------------------------------------------------------------------------------------
def context() -> ForkServerContext:
    """Processes that have imported Dagster and the library already, and nothing else."""
    tests = str(Path(__file__).resolve().parent.parent)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if tests not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [tests, *paths]))
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload([__name__])
    return made


def home_of(folder: Path) -> dg.DagsterInstance:
    """The instance that processes share. It has one event log: to set one up for each run took a sixth of the time."""
    home = folder / "home"
    if not home.exists():  # made by the first process, before any other begins
        use_home(home, log_level="ERROR")
        with (home / "dagster.yaml").open("a", encoding="utf-8") as settings:
            settings.write(_EVENT_LOG.format(folder=home / "events"))
    os.environ["DAGSTER_HOME"] = str(home.resolve())
    return dg.DagsterInstance.from_config(str(home))


_EVENT_LOG = """event_log_storage:
  module: dagster._core.storage.event_log.sqlite.consolidated_sqlite_event_log
  class: ConsolidatedSqliteEventLogStorage
  config:
    base_dir: {folder}
"""


def victim(errand: Errand) -> None:
    """What a process does."""
    folder = Path(errand.folder)
    log = os.open(folder / f"log-{errand.label}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    with home_of(folder) as instance:
        if errand.instant in INSTANTS:
            _arm(errand)
        Path(folder, f"ready-{errand.label}").touch()
        outcome = perform(errand, instance)
    part = folder / f"part-{errand.label}"
    part.write_bytes(pickle.dumps(_plain(outcome)))
    part.replace(folder / f"outcome-{errand.label}")
    sys.stdout.flush()


def _plain(outcome: Outcome) -> Outcome:
    """Without objects of Dagster's that another process may not be able to read."""
    told = tuple(
        Told(one.asset, one.part, {key: value for key, value in one.metadata.items() if isinstance(value, _PLAIN)})
        for one in outcome.told
    )
    return Outcome(outcome.ended, outcome.green, outcome.red, told)


@dataclass
class Process:
    """An errand under way."""

    errand: Errand
    process: BaseProcess = field(init=False)

    def __post_init__(self) -> None:
        self.process = context().Process(target=victim, args=(self.errand,))
        self.process.start()

    @property
    def _folder(self) -> Path:
        return Path(self.errand.folder)

    def wait_ready(self) -> None:
        """Until the run begins."""
        ready = self._folder / f"ready-{self.errand.label}"
        while not ready.exists() and self.process.is_alive():
            time.sleep(0.002)

    def wait_stopped(self, patience: float = 60) -> bool:
        """Until it has stopped itself (True), or come to its end."""
        until = time.monotonic() + patience
        while self.process.is_alive() and time.monotonic() < until:
            try:
                state = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                return False
            if state == "T":
                return True
            time.sleep(0.005)
        return False

    def go_on(self) -> None:
        assert self.process.pid
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()

    def end(self, patience: float = 90) -> Outcome:
        """Waits for the end; a process that does not come to it is killed."""
        self.process.join(patience)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        code = self.process.exitcode
        self.process.close()
        told = self._folder / f"outcome-{self.errand.label}"
        if told.exists():
            found: Outcome = pickle.loads(told.read_bytes())
            return found
        if code != -signal.SIGKILL:
            log = (self._folder / f"log-{self.errand.label}").read_text()
            raise RuntimeError(f"a process ended with {code}:\n{log[-4000:]}")
        return Outcome()


def _arm(errand: Errand) -> None:
    """Makes this process send itself a signal at the instant that the errand names."""
    for name, instant in INSTANTS.items():
        _patch(errand, name, instant)


def _patch(errand: Errand, name: str, instant: Instant) -> None:
    original, passed = getattr(instant.owner, instant.function), 0

    def pass_by(*args: Any) -> None:
        nonlocal passed
        if not instant.counts(*args):
            return
        passed += 1
        LAST[:] = [name]
        if name == errand.instant and passed == errand.passage:
            os.kill(os.getpid(), errand.signal)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not instant.after:
            pass_by(*args)
        result = original(*args, **kwargs)
        if instant.after:
            pass_by(*args)
        return result

    setattr(instant.owner, instant.function, wrapped)
