"""How often a step tries, and what it sends again: what will not pass fails at once, and a POST goes out once."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loopback import Api

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_assets

POLICY = dg.RetryPolicy(max_retries=2)
ALL = POLICY.max_retries + 1
IDEMPOTENT = {"retry": {"idempotent": True, "attempts": 1}}


@dataclass
class Tries:
    """One API's assets with a retry policy, and what became of each step."""

    api: Api
    instance: dg.DagsterInstance
    database: Path
    client: dict[str, Any] = field(default_factory=dict)
    manager: dict[str, Any] = field(default_factory=dict)

    def run(self, *resources: Mapping[str, Any], again: Any = None, only: str | None = None, **run_config: Any) -> Any:
        """Materializes, or with `again` re-executes that run from its failure on."""
        client = {"base_url": self.api.url, "retry": {"attempts": 1, "total": 5}, **self.client}
        assets = build_rest_api_assets({"client": client, "resources": list(resources)}, retry_policy=POLICY)
        io_manager = DuckDBRestApiIOManager(database=str(self.database), schema="s", **self.manager)
        if again is not None:
            job = dg.Definitions(
                assets, resources={"io_manager": io_manager}, executor=dg.in_process_executor
            ).resolve_implicit_global_asset_job_def()
            run = self.instance.create_run_for_job(
                job,
                tags={"dagster/is_resume_retry": "true"},
                parent_run_id=again.run_id,
                root_run_id=again.dagster_run.root_run_id or again.run_id,
            )
            return execute_run(InMemoryJob(job), run, self.instance, raise_on_error=False)
        return dg.materialize(
            assets,
            selection=dg.AssetSelection.assets(only) if only else None,
            instance=self.instance,
            resources={"io_manager": io_manager},
            run_config={"ops": {asset.op.name: {"config": run_config} for asset in assets}} if run_config else None,
            raise_on_error=False,
        )

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.execute(sql).fetchall()


def tries_of(result: Any) -> int:
    """Of the only step that was retried or failed."""
    return 1 + sum(event.event_type_value == "STEP_UP_FOR_RETRY" for event in result.all_events)


def failure_of(result: Any) -> Any:
    """What the run's failure event says."""
    assert not result.success
    [failed] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    return failed


def told(result: Any) -> str:
    """The run's failure in the words that the UI shows first."""
    failed = failure_of(result)
    return str(failed.user_failure_data.description) if failed.user_failure_data else str(failed.error.message)


@pytest.fixture
def tries(api: Api, tmp_path: Path) -> Iterator[Tries]:
    with dg.DagsterInstance.ephemeral(str(tmp_path)) as instance:
        yield Tries(api, instance, tmp_path / "data.duckdb")


def items(**endpoint: Any) -> dict[str, Any]:
    return {"name": "items", "primary_key": "id", "endpoint": {"data_selector": "rows", **endpoint}}


# ---- the table: answer, method and setting against tries and requests ------------------------------------------------
PASSES, STAYS, LIMIT = "passes", "stays", "limit"
ANSWERS: dict[str, tuple[Any, str, str]] = {
    "400": ((400, {}), STAYS, "status 400"),
    "401": ((401, {}), STAYS, "status 401"),
    "403": ((403, {}), STAYS, "status 403"),
    "404": ((404, {}), STAYS, "status 404"),
    "405": ((405, {}), STAYS, "status 405"),
    "410": ((410, {}), STAYS, "status 410"),
    "422": ((422, {}), STAYS, "status 422"),
    "408": ((408, {}), PASSES, "status 408"),
    "500": ((500, {}), PASSES, "status 500"),
    "503": ((503, {}), PASSES, "status 503"),
    "429": ((429, {}), LIMIT, "status 429"),
    "a limit as 403": ((403, {}, {"Retry-After": "60"}), LIMIT, "asks to wait 60 s"),
    "a limit as 503": ((503, {}, {"Retry-After": "60"}), LIMIT, "asks to wait 60 s"),
    "no answer": (Api.Reply(drop=True), PASSES, "the connection to"),
    "a redirect to nowhere": ((302, {}), STAYS, "status 302"),
    "another shape": ({"data": []}, STAYS, "no data at 'rows'"),
}


@pytest.mark.parametrize("kind", ["GET", "POST", "POST that is idempotent"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_only_what_may_pass_and_does_no_harm_is_tried_again(tries: Tries, answer: str, kind: str) -> None:
    reply, outcome, words = ANSWERS[answer]
    tries.api.route("/items", reply)
    tries.client = {"auth": {"token": "a-wrong-token"}}
    result = tries.run(items(method=kind.split()[0], **(IDEMPOTENT if "idempotent" in kind else {})))
    expected = {PASSES: 1 if kind == "POST" else ALL, STAYS: 1, LIMIT: ALL}[outcome]
    assert (tries_of(result), len(tries.api.requests)) == (expected, expected)
    assert words in told(result)
    assert ("idempotent: true" in told(result)) is (outcome == PASSES and kind == "POST")
    if expected == 1:
        first_line = failure_of(result).error.to_string().splitlines()[0]
        assert first_line.startswith("dagster._core.definitions.events.Failure: ")
        assert words in first_line


def test_what_passes_is_healed_by_the_steps_policy(tries: Tries) -> None:
    tries.api.replies("/items", (500, {}), Api.Reply(drop=True), {"rows": [{"id": 1}]})
    result = tries.run(items())
    assert result.success
    assert tries_of(result) == ALL
    assert tries.query("SELECT id FROM s.items") == [(1,)]


def test_the_failure_is_its_cause_in_one_look_and_the_traceback_is_in_the_debug_log(tries: Tries) -> None:
    tries.api.route("/items", (404, {}))
    result = tries.run(items())
    error = failure_of(result).error
    assert error.cause.cls_name == "RequestError"
    assert not error.cause.stack
    logs = [entry for entry in tries.instance.all_logs(result.run_id) if "Traceback" in entry.user_message]
    assert [entry.level for entry in logs] == [10]


# ---- other faults that stay ------------------------------------------------------------------------------------------
def test_a_missing_environment_variable_fails_at_once(tries: Tries) -> None:
    tries.client = {"auth": {"token": "{env.NO_SUCH_VARIABLE_HERE}"}}
    result = tries.run(items())
    assert (tries_of(result), len(tries.api.requests)) == (1, 0)
    assert "the environment variable NO_SUCH_VARIABLE_HERE is not set" in told(result)


@pytest.mark.parametrize(
    ("run_config", "words"),
    [({"max_pages": 0}, "max_pages: Input should be greater"), ({"start_value": "1"}, "need a resource with")],
)
def test_a_bad_run_config_fails_at_once(tries: Tries, run_config: dict[str, Any], words: str) -> None:
    result = tries.run(items(), **run_config)
    assert (tries_of(result), len(tries.api.requests)) == (1, 0)
    assert words in told(result)
    assert "run config of items" in told(result)


def test_a_parent_without_a_table_fails_at_once(tries: Tries) -> None:
    child = {"name": "children", "endpoint": "items/{resources.items.id}/children"}
    result = tries.run(items(), child, only="children")
    assert (tries_of(result), len(tries.api.requests)) == (1, 0)
    assert "the parent 'items' has no table yet" in told(result)
    assert "Materialize the asset items first" in told(result)


REFUSED: dict[str, tuple[dict[str, Any], list[dict[str, Any]], str]] = {
    "contract": ({"schema_contract": "freeze"}, [{"id": 2, "new": 1}], "new"),
    "null key": ({}, [{"id": None}], "have no value for 'id'"),
    "no such key": ({"primary_key": "uuid"}, [{"id": 2}], "uuid"),
    "hint": ({"columns": {"at": {"data_type": "bigint"}}}, [{"id": 2, "at": "x"}], "at"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_rows_fail_at_once(tries: Tries, kind: str) -> None:
    settings, rows, words = REFUSED[kind]
    tries.api.route("/items", {"rows": [{"id": 1, "at": 1}]})
    assert tries.run(items()).success
    tries.api.requests.clear()
    tries.api.route("/items", {"rows": rows})
    result = tries.run({**items(), "write_disposition": "merge", **settings})
    assert (tries_of(result), len(tries.api.requests)) == (1, 1)
    assert words in told(result)


def test_a_database_that_is_none_fails_at_once(tries: Tries) -> None:
    tries.database.write_bytes(b"this is no database" * 1000)
    tries.api.route("/items", {"rows": [{"id": 1}]})
    result = tries.run(items())
    assert tries_of(result) == 1
    assert "the database cannot be opened" in told(result)


def test_a_locked_database_is_tried_again_and_nothing_is_asked_twice(tries: Tries) -> None:
    tries.manager = {"lock_timeout": 0.2}
    hold = f"import duckdb; c = duckdb.connect({str(tries.database)!r}); print('held', flush=True); input()"
    holders: list[subprocess.Popen[str]] = []

    def answer(request: Any) -> Any:
        """Somebody else opens the database while we ask."""
        holder = subprocess.Popen(
            [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        holders.append(holder)
        assert holder.stdout is not None
        holder.stdout.readline()
        return {"rows": [{"id": 1}]}

    tries.api.route("/items", answer)
    try:
        result = tries.run(items(method="POST"))
    finally:
        for holder in holders:
            holder.communicate("\n")
    assert tries_of(result) == ALL
    assert "was locked for 0.2 s" in told(result)
    assert tries.run(items(method="POST"), again=result).success
    assert len(tries.api.requests) == 1
    assert tries.query("SELECT id FROM s.items") == [(1,)]


@pytest.mark.parametrize(("status", "expected"), [(404, 1), (500, ALL)])
def test_a_part_that_would_replace_rows_is_asked_for_again_where_that_may_help(
    tries: Tries, status: int, expected: int
) -> None:
    children = {
        "name": "children",
        "on_error": "skip",
        "write_disposition": "replace",
        "endpoint": {"path": "items/{resources.items.id}/children", "data_selector": "rows"},
    }
    parents = {**items(), "selected": False}
    tries.api.route("/items", {"rows": [{"id": 1}, {"id": 2}]})
    for number in (1, 2):
        tries.api.route(f"/items/{number}/children", {"rows": [{"n": number}]})
    assert tries.run(parents, children).success
    tries.api.route("/items/2/children", (status, {}))
    result = tries.run(parents, children)
    assert tries_of(result) == expected
    assert "the requests of 1 parents failed" in told(result)


# ---- tokens ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("issued", "sent"), [(["one", "one"], 1), (["one", "two"], 2)])
def test_a_refused_token_goes_out_once_and_once_more_only_as_another_one(
    tries: Tries, issued: list[str], sent: int
) -> None:
    tries.api.replies("/token", *({"access_token": f"token-{name}", "expires_in": 3600} for name in issued))
    tries.api.route("/items", (401, {}))
    tries.client = {
        "auth": {
            "type": "oauth2_client_credentials",
            "access_token_url": f"{tries.api.url}/token",
            "client_id": "me",
            "client_secret": "a-client-secret",
        }
    }
    result = tries.run(items())
    used = Counter(request.headers["authorization"] for request in tries.api.seen("/items"))
    assert (tries_of(result), len(tries.api.seen("/token"))) == (1, 2)
    assert (sum(used.values()), set(used.values())) == (sent, {1})


def test_a_wrong_client_secret_goes_out_once(tries: Tries) -> None:
    tries.api.route("/token", (401, {"error": "invalid_client"}))
    tries.client = {
        "auth": {
            "type": "oauth2_client_credentials",
            "access_token_url": f"{tries.api.url}/token",
            "client_id": "me",
            "client_secret": "a-wrong-secret",
        }
    }
    result = tries.run(items())
    assert (tries_of(result), len(tries.api.requests)) == (1, 1)
    assert "invalid_client" in told(result)


def test_a_login_that_gives_no_token_goes_out_once(tries: Tries) -> None:
    tries.api.route("/login", {"error": "wrong password"})
    tries.client = {"auth": {"type": "session_login", "url": "login", "token_path": "token"}}
    result = tries.run(items())
    assert (tries_of(result), len(tries.api.requests)) == (1, 1)


# ---- a POST goes out once --------------------------------------------------------------------------------------------
PAGES = {"paginator": {"type": "cursor", "cursor_path": "next", "cursor_body_path": "after"}, "json": {"q": 1}}
SEARCH = items(method="POST", **PAGES)


def page_of(request: Any) -> int:
    return int(request.json().get("after", 1))


@dataclass
class Search:
    """Three pages of a row each, found by POST; what is planned for a page comes once, in place of it."""

    plan: dict[int, list[Any]] = field(default_factory=dict)
    acted: Counter[int] = field(default_factory=Counter)

    def __call__(self, request: Any) -> Any:
        number = page_of(request)
        planned = self.plan.get(number)
        page = {"rows": [{"id": number}], "next": str(number + 1) if number < 3 else None}
        reply = planned.pop(0) if planned else page
        if not (isinstance(reply, tuple) and 400 <= reply[0] < 500 and reply[0] != 408):
            self.acted[number] += 1
        return reply


def test_pages_that_came_and_the_page_that_failed_are_not_asked_for_again(tries: Tries) -> None:
    search = Search({2: [(502, {})]})
    tries.api.route("/items", search)
    failed = tries.run(SEARCH)
    assert tries_of(failed) == 1
    assert search.acted == {1: 1, 2: 1}
    again = tries.run(SEARCH, again=failed)
    assert search.acted == {1: 1, 2: 1}, "a re-execution from the failure belongs to the same run"
    assert "sent a POST, which is not sent again" in told(again)
    assert "idempotent: true" in told(again)
    idempotent = {**SEARCH, "endpoint": {**SEARCH["endpoint"], **IDEMPOTENT}}
    assert tries.run(idempotent, again=failed).success
    assert search.acted == {1: 1, 2: 2, 3: 1}
    assert tries.query("SELECT id FROM s.items ORDER BY id") == [(1,), (2,), (3,)]


def test_a_new_run_asks_in_its_own_name(tries: Tries) -> None:
    search = Search({2: [(502, {})]})
    tries.api.route("/items", search)
    assert not tries.run(SEARCH).success
    assert tries.run(SEARCH).success
    assert tries.query("SELECT id FROM s.items ORDER BY id") == [(1,), (2,), (3,)]


def test_a_refused_post_may_go_out_again_when_its_cause_is_mended(tries: Tries) -> None:
    search = Search({2: [(401, {})]})
    tries.api.route("/items", search)
    failed = tries.run(SEARCH)
    assert tries_of(failed) == 1
    assert tries.run(SEARCH, again=failed).success
    assert search.acted == {1: 1, 2: 1, 3: 1}


def test_a_fault_of_ones_own_code_behind_an_answer_sends_no_post_again(tries: Tries) -> None:
    search = Search()
    tries.api.route("/items", search)

    def fails(row: dict[str, Any]) -> bool:
        return bool(row["no such field"])

    result = tries.run({**SEARCH, "processing_steps": [{"filter": fails}]})
    assert not result.success
    assert search.acted == {1: 1}


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_children_by_post_go_out_once_for_each_parent(tries: Tries, on_error: str) -> None:
    tries.api.route("/items", {"rows": [{"id": number} for number in range(1, 7)]})
    asked: Counter[int] = Counter()

    def children(request: Any) -> Any:
        number = request.json()["id"]
        asked[number] += 1
        return (500, {}) if number == 4 else {"rows": [{"n": number}]}

    tries.api.route("/children", children)
    resource = {
        "name": "children",
        "on_error": on_error,
        "write_disposition": "append",
        "endpoint": {
            "path": "children",
            "method": "POST",
            "data_selector": "rows",
            "json": {"id": "{resources.items.id}"},
        },
    }
    result = tries.run({**items(), "selected": False}, resource)
    assert result.success is (on_error == "skip")
    assert tries_of(result) == 1
    assert asked[4] == 1
    if on_error == "fail":
        tries.run({**items(), "selected": False}, resource, again=result)
    assert max(asked.values()) == 1


REPLIES = [
    (429, {}),
    (500, {}),
    (401, {}),
    {"data": []},
    Api.Reply(drop=True),
    Api.Reply(b"{oops"),
    Api.Reply({"rows": []}, cut=4),
]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.dictionaries(st.integers(1, 3), st.lists(st.sampled_from(REPLIES), min_size=1, max_size=2), max_size=2))
def test_whatever_goes_wrong_no_post_that_may_have_acted_is_sent_again(
    api: Api, tmp_path_factory: pytest.TempPathFactory, plan: dict[int, list[Any]]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    search = Search({number: list(replies) for number, replies in plan.items()})
    api.route("/items", search)
    with dg.DagsterInstance.ephemeral(str(folder)) as instance:
        tries = Tries(api, instance, folder / "data.duckdb")
        result = tries.run(SEARCH)
        for _ in range(2):
            if not result.success:
                result = tries.run(SEARCH, again=result)
        assert max(search.acted.values(), default=0) <= 1
        if result.success:
            assert tries.query("SELECT id FROM s.items ORDER BY id") == [(1,), (2,), (3,)]
