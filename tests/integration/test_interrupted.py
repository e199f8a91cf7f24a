"""Runs that fail, are killed, or are terminated as from the UI: the next try goes on at the page where they stopped.

Every run is launched by Dagster's own launcher from a code server, in a process of its own, as `dagster dev` does it.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster._core.test_utils import create_run_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from loopback import Api

LOCATION = Path(__file__).with_name("location.py")
PAGES = 50
THREADS = {"by_cursor": 1, "by_number": 4, "by_parent": 4}  # as many requests an interruption may lose
ALL_ROWS = [(page * 10 + index,) for page in range(1, PAGES + 1) for index in range(10)]


@dataclass
class Pages:
    """`/items?cursor=N`: fifty pages of ten rows. What happens at `trouble` is `act`, until it is None."""

    api: Api
    trouble: int = 41
    act: Callable[[], Any] | None = None
    seen: threading.Event = field(default_factory=threading.Event)

    def __call__(self, request: Any) -> Any:
        number = int(request.query.get("cursor", 1))
        if number == self.trouble and self.act is not None:
            self.seen.set()
            return self.act()
        following = str(number + 1) if number < PAGES else None
        return {"next": following, "pages": PAGES, "rows": [{"id": number * 10 + index} for index in range(10)]}


@dataclass
class Dagster:
    """An instance with a code location, a launcher, and the API that its assets talk to."""

    workspace: WorkspaceProcessContext
    api: Api
    database: Path

    @property
    def instance(self) -> dg.DagsterInstance:
        return self.workspace.instance

    def serve(self, act: Callable[[], Any] | None = None) -> Pages:
        """Fifty pages from now on; the log of requests is empty again."""
        pages = Pages(self.api, act=act)
        self.api.route("/items", pages)
        self.api.requests.clear()
        return pages

    def launch(self, asset: str, job: str = "in_one_process", parent: dg.DagsterRun | None = None) -> str:
        """Launches a run of one asset, or executes another run again; gives its id."""
        context = self.workspace.create_request_context()
        (repository,) = context.get_code_location("location").get_repositories().values()
        remote = repository.get_full_job(job)
        run = create_run_for_test(
            self.instance,
            job_name=job,
            remote_job_origin=remote.get_remote_origin(),
            job_code_origin=remote.get_python_origin(),
            asset_selection=frozenset([dg.AssetKey(asset)]),
            parent_run_id=parent.run_id if parent else None,
            root_run_id=parent.run_id if parent else None,
        )
        self.instance.launch_run(run.run_id, context)
        return run.run_id

    def wait(self, run_id: str, seconds: float = 60) -> dg.DagsterRun:
        """The run, when it has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            run = self.instance.get_run_by_id(run_id)
            assert run is not None
            if run.is_finished:
                return run
            time.sleep(0.05)
        raise AssertionError(f"the run did not end within {seconds} s")

    def run(self, asset: str, **options: Any) -> dg.DagsterRunStatus:
        """Runs to the end."""
        return self.wait(self.launch(asset, **options)).status

    def processes_of(self, run_id: str, event: dg.DagsterEventType) -> set[int]:
        """The processes that such events of a run speak of: of a step, or of the run itself."""
        entries = self.instance.all_logs(run_id, of_type=event)
        told = [entry.dagster_event.engine_event_data.metadata for entry in entries if entry.dagster_event]
        return {int(str(metadata["pid"].value)) for metadata in told if "pid" in metadata}

    def rows(self, table: str) -> list[Any]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.execute(f"SELECT id FROM s.{table} ORDER BY id").fetchall()

    def spools(self) -> list[Path]:
        return list(Path(f"{self.database}.spool").glob("*/journal"))

    def forget(self) -> None:
        """Nothing is loaded, and nothing is left of earlier tries."""
        self.database.unlink(missing_ok=True)
        shutil.rmtree(f"{self.database}.spool", ignore_errors=True)


@pytest.fixture(scope="module")
def code_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagster]:
    """One code server for all tests: it takes seconds to start."""
    folder, api = tmp_path_factory.mktemp("interrupted"), Api()
    settings = {
        "API_URL": api.url,
        "DATABASE": str(folder / "data.duckdb"),
        "DAGSTER_HOME": str(folder),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        target = PythonFileTarget(str(LOCATION), None, str(folder), "location")
        with dg.DagsterInstance.get() as instance, WorkspaceProcessContext(instance, target) as workspace:
            yield Dagster(workspace, api, folder / "data.duckdb")
    api.close()


@pytest.fixture
def dagster(code_server: Dagster) -> Iterator[Dagster]:
    """Dagster, with nothing loaded."""
    code_server.forget()
    yield code_server
    assert not code_server.spools(), "a spool goes with its load"


def ended(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("asset", ["by_cursor", "by_parent"])
def test_a_step_whose_process_is_killed_on_page_41_of_50_is_retried_and_goes_on_there(
    dagster: Dagster, asset: str
) -> None:
    released = threading.Event()

    def wait() -> Any:
        released.wait(20)
        return 500, {}

    pages = dagster.serve(wait)
    run_id = dagster.launch(asset, job="in_processes")
    assert pages.seen.wait(30)
    pages.act = None
    for process in dagster.processes_of(run_id, dg.DagsterEventType.STEP_WORKER_STARTED):
        os.kill(process, signal.SIGKILL)
    released.set()
    assert dagster.wait(run_id).status is dg.DagsterRunStatus.SUCCESS
    assert len(dagster.api.requests) <= PAGES + THREADS[asset]
    assert dagster.rows(asset) == ALL_ROWS


@pytest.mark.parametrize("asset", ["by_cursor", "by_number"])
def test_a_run_that_failed_on_page_41_of_50_goes_on_there_when_it_is_executed_again(
    dagster: Dagster, asset: str
) -> None:
    pages = dagster.serve(lambda: (500, {}))
    failed = dagster.wait(dagster.launch(asset))
    assert failed.status is dg.DagsterRunStatus.FAILURE
    assert len(dagster.spools()) == 1
    pages.act = None
    for journal in dagster.spools():  # so old that only the same root run may go on with it
        os.utime(journal, (1, 1))
    assert dagster.run(asset, parent=failed) is dg.DagsterRunStatus.SUCCESS
    assert len(dagster.api.requests) <= PAGES + 2 * THREADS[asset]  # its retry policy had tried it twice
    assert dagster.rows(asset) == ALL_ROWS


@pytest.mark.parametrize(
    ("asset", "job", "again"),
    [
        ("by_cursor", "in_one_process", False),
        ("by_number", "in_processes", True),
        ("by_number", "in_processes", False),
        ("by_parent", "in_processes", False),
    ],
)
def test_a_terminated_run_ends_within_five_seconds_and_the_next_run_goes_on(
    dagster: Dagster, asset: str, job: str, again: bool
) -> None:
    """Whether it is the same one again or another; of pages by position, whose rows may move, only the same one."""
    pages = dagster.serve(lambda: Api.Reply([], delay=30))  # every thread that reads it would wait that long
    run_id = dagster.launch(asset, job=job)
    assert pages.seen.wait(30)
    time.sleep(0.3)
    processes = dagster.processes_of(run_id, dg.DagsterEventType.STEP_WORKER_STARTED) or dagster.processes_of(
        run_id, dg.DagsterEventType.ENGINE_EVENT
    )
    assert processes
    started = time.monotonic()
    assert dagster.instance.run_launcher.terminate(run_id)
    while not all(map(ended, processes)):  # and with them all their threads
        assert time.monotonic() - started < 5
        time.sleep(0.05)
    terminated = dagster.wait(run_id)
    assert terminated.status is dg.DagsterRunStatus.CANCELED
    assert len(dagster.spools()) == 1
    pages.act = None
    before = len(dagster.api.requests)
    assert dagster.run(asset, parent=terminated if again else None) is dg.DagsterRunStatus.SUCCESS
    goes_on = again or asset != "by_number"
    assert len(dagster.api.requests) <= PAGES + (THREADS[asset] if goes_on else before)
    assert (len(dagster.api.requests) - before < PAGES) == goes_on
    assert dagster.rows(asset) == ALL_ROWS


@pytest.mark.parametrize("job", ["in_one_process", "in_processes"])
def test_a_run_that_is_terminated_while_duckdb_is_at_work_ends_within_five_seconds(dagster: Dagster, job: str) -> None:
    hold, held = (dagster.database.with_name(name) for name in ("hold", "held"))
    hold.touch()
    held.unlink(missing_ok=True)
    dagster.serve()
    run_id = dagster.launch("by_cursor", job=job)
    deadline = time.monotonic() + 30
    while not held.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
    assert dagster.instance.run_launcher.terminate(run_id)
    assert dagster.wait(run_id, seconds=5).status is dg.DagsterRunStatus.CANCELED
    assert not dagster.instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_UP_FOR_RETRY)
    hold.unlink()
    assert dagster.run("by_cursor") is dg.DagsterRunStatus.SUCCESS
    assert len(dagster.api.requests) == PAGES, "nothing was fetched twice"
    assert dagster.rows("by_cursor") == ALL_ROWS


def test_a_killed_run_leaves_its_checkpoint_to_the_next_one(dagster: Dagster) -> None:
    released = threading.Event()

    def wait() -> Any:
        released.wait(20)
        return 500, {}

    pages = dagster.serve(wait)
    run_id = dagster.launch("by_cursor", job="in_one_process")
    assert pages.seen.wait(30)
    pages.act = None
    for process in dagster.processes_of(run_id, dg.DagsterEventType.ENGINE_EVENT):
        os.kill(process, signal.SIGKILL)
    released.set()
    assert dagster.run("by_cursor") is dg.DagsterRunStatus.SUCCESS
    assert len(dagster.api.requests) <= PAGES + THREADS["by_cursor"]
    assert dagster.rows("by_cursor") == ALL_ROWS
