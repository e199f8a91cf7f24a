"""A step against an API that errs: what is refused, marked, and tried again, and what stands in the event."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from loopback import Api

from dagster_restapi import DuckDBRestApiIOManager, RestApiError, build_rest_api_assets, iter_records

PAGES = {"type": "page_number", "base_page": 1, "total_path": None}
ITEMS = {
    "name": "items",
    "primary_key": "id",
    "write_disposition": "merge",
    "endpoint": {
        "data_selector": "rows",
        "paginator": PAGES,
        "params": {"since": "{incremental.start_value}"},
        "incremental": {"cursor_path": "at", "initial_value": 0},
    },
}
PARENTS = {
    "name": "parents",
    "primary_key": "id",
    "write_disposition": "merge",
    "endpoint": {
        "data_selector": "rows",
        "paginator": "single_page",
        "params": {"since": "{incremental.start_value}"},
        "incremental": {"cursor_path": "at", "initial_value": 0},
    },
}
CHILDREN = {
    "name": "children",
    "include_from_parent": ["id"],
    "primary_key": ["_parents_id", "n"],
    "write_disposition": "merge",
    "on_error": "skip",
    "endpoint": {
        "path": "parents/{resources.parents.id}/children",
        "data_selector": "rows",
        "paginator": "single_page",
    },
}


@dataclass
class House:
    """An instance, a database, and an API that answers as a test says."""

    api: Api
    instance: dg.DagsterInstance
    database: Path

    def run(self, *resources: Mapping[str, Any], only: str | None = None, **client: Any) -> dg.ExecuteInProcessResult:
        client = {"base_url": self.api.url, "retry": {"attempts": 1, "backoff": "10ms"}, **client}
        assets = build_rest_api_assets({"client": client, "resources": list(resources)}, retry_policy=None)
        return dg.materialize(
            assets,
            selection=dg.AssetSelection.assets(only) if only else None,
            instance=self.instance,
            resources={"io_manager": DuckDBRestApiIOManager(database=str(self.database), schema="s")},
            raise_on_error=False,
        )

    def load(self, *resources: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """Runs, and gives the last event's metadata."""
        result = self.run(*resources, **options)
        assert result.success, self.failure(result)
        metadata = result.get_asset_materialization_events()[-1].materialization.metadata
        return {name.removeprefix("dagster_restapi/"): value.value for name, value in metadata.items()}

    def failure(self, result: dg.ExecuteInProcessResult) -> str:
        texts = []
        for event in result.all_events:
            error = event.step_failure_data.error if event.is_step_failure else None
            while error:
                texts.append(error.to_string())
                error = error.cause
        return "\n".join(texts)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def house(api: Api, tmp_path: Path) -> Iterator[House]:
    with dg.DagsterInstance.ephemeral(str(tmp_path)) as instance:
        yield House(api, instance, tmp_path / "data.duckdb")


def rows(*ids: int) -> list[dict[str, int]]:
    return [{"id": number, "at": number} for number in ids]


def pages(third: Any) -> Callable[[Any], Any]:
    """Five pages of two rows; the third is what is given."""

    def page(request: Any) -> Any:
        number = int(request.query["page"])
        good = {"rows": rows(number * 2, number * 2 + 1) if number < 6 else []}
        return third if number == 3 and third is not None else good

    return page


FAULTS = {
    "error body with 200": ({"success": False, "error": "expired"}, "no data at 'rows'"),
    "an error beside null": ({"rows": None, "error": {"code": 12, "message": "quota"}}, "quota"),
    "missing data path": ({"items": []}, "missing_data: empty"),
    "HTML": (Api.Reply("<html><body>Log in</body></html>", type="text/html"), "an HTML page came instead of JSON"),
    "no JSON": (Api.Reply(b"oops"), "no JSON"),
    "a body cut off": (Api.Reply({"rows": rows(6, 7)}, cut=9), "broke in the middle of the body"),
    "a chunked body cut off": (Api.Reply({"rows": rows(6, 7)}, cut=9, chunked=True), "the connection"),
    "401": ((401, {}), "status 401"),
    "404": ((404, {}), "status 404"),
    "500": ((500, {}), "status 500"),
    "the page before": ({"rows": rows(4, 5)}, "the same rows as the one before"),
    "too deep": (Api.Reply('{"rows": [{"at": 6, "a": ' + "[" * 990 + "]" * 990 + "}]}"), "nested too deeply"),
    "a cursor missing": ({"rows": [{"id": 6}]}, "no value at the cursor path"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_mid_walk_leaves_tables_and_cursor_as_they_were(house: House, fault: str) -> None:
    answer, told = FAULTS[fault]
    house.api.route("/items", {"rows": rows(1)})
    house.load({**ITEMS, "endpoint": {**ITEMS["endpoint"], "paginator": "single_page"}})
    before = house.query("FROM s.items"), house.query("SELECT sequence FROM s._restapi_loads")
    house.api.route("/items", pages(answer))
    result = house.run(ITEMS)
    assert not result.success
    assert told in house.failure(result)
    assert (house.query("FROM s.items"), house.query("SELECT sequence FROM s._restapi_loads")) == before
    house.api.route("/items", pages(None))
    assert house.load(ITEMS)["cursor"] == 11
    assert house.query("SELECT id FROM s.items ORDER BY id") == [(number,) for number in range(1, 12)]


def test_ignore_in_mid_walk_marks_the_load_incomplete_and_moves_no_cursor(house: House) -> None:
    ignoring = {**ITEMS["endpoint"], "response_actions": [{"status_code": 404, "action": "ignore"}]}
    house.api.route("/items", pages((404, {})))
    told = house.load({**ITEMS, "endpoint": ignoring})
    assert (told["complete"], "cursor" in told) == (False, False)
    assert "page 3 was ignored by a rule" in told["warnings"][0]
    house.api.route("/items", pages(None))
    told = house.load({**ITEMS, "endpoint": ignoring})
    assert (told["cursor"], told["dagster/row_count"]) == (11, 10)


@pytest.mark.parametrize("answer", [(204, b""), {"rows": []}, {"rows": None}, {"rows": {}}])
def test_an_empty_answer_is_an_empty_page(house: House, answer: Any) -> None:
    house.api.route("/items", answer)
    assert house.load(ITEMS)["dagster/row_count"] == 0


def test_records_that_are_no_objects_have_a_value(house: House) -> None:
    house.api.route("/words", ["a", "b"])
    house.load({"name": "words"})
    assert house.query("SELECT value FROM s.words ORDER BY 1") == [("a",), ("b",)]


def test_an_unreachable_host_is_one_clear_error(house: House) -> None:
    text = house.failure(house.run({"name": "items"}, base_url="http://127.0.0.1:9"))
    assert "127.0.0.1:9 refused the connection" in text
    assert "Check host and port of base_url" in text
    assert not house.database.exists()


@pytest.mark.parametrize("policy", ["warn", "fail"])
def test_a_total_that_does_not_match_is_a_warning_or_an_error(house: House, policy: str) -> None:
    house.api.route("/items", {"total": 9, "rows": [{"id": 1}]})
    resource = {"name": "items", "endpoint": {"data_selector": "rows", "on_short_total": policy}}
    if policy == "warn":
        assert "tells of 9 rows, 1 came" in house.load(resource)["warnings"][0]
    else:
        assert "tells of 9 rows, 1 came" in house.failure(house.run(resource))


def test_waiting_is_counted_in_the_event_and_a_long_wait_is_told_in_the_log(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_restapi.http.session._LONG", 0.5)
    house.api.replies("/items", (429, {}, {"Retry-After": "1"}), {"rows": [{"id": 1}]})
    result = house.run({"name": "items", "endpoint": {"data_selector": "rows"}})
    (event,) = result.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    assert metadata["dagster_restapi/waited_seconds"] == pytest.approx(1, abs=0.5)
    assert (metadata["dagster_restapi/requests"], metadata["dagster_restapi/retries"]) == (2, 1)
    lines = [entry.user_message for entry in house.instance.all_logs(result.run_id)]
    assert any("waiting 1 s because the API asks for it (status 429, Retry-After: 1)" in line for line in lines)


def test_children_that_fail_are_listed_and_tried_again_on_the_next_run(house: House) -> None:
    keys = (1, 2, 2, None, "a/b?x#y")
    parents = [{"id": key, "row": number, "at": 1} for number, key in enumerate(keys)]
    house.api.route("/parents", lambda request: {"rows": parents if request.query["since"] == "0" else []})
    house.api.route("/parents/1/children", {"rows": [{"n": 1}]})
    house.api.route("/parents/2/children", (500, {}))
    house.api.route("/parents/a%2Fb%3Fx%23y/children", {"rows": [{"n": 3}]})
    resources = ({**PARENTS, "primary_key": "row"}, {**CHILDREN, "concurrency": 1})
    told = house.load(*resources)
    assert (told["parents"], told["skipped_parents"], told["failed_parent_count"]) == (3, 1, 1)
    assert told["failed_parents"] == [{"id": 2}], "as the API spells it, not as the column does"
    skipped = "1 of 3 rows of parents were skipped, for their requests failed; the next run asks for them again: id=2"
    assert told["warnings"] == [skipped]
    logged = [entry for entry in house.instance.all_logs(house.instance.get_runs()[0].run_id) if entry.level == 30]
    assert [entry.user_message for entry in logged] == [f"children: {skipped}"]
    assert len(house.api.seen("/parents/2/children")) == 1, "one call for a key that is there twice"
    assert house.query("SELECT n FROM s.children ORDER BY n") == [(1,), (3,)]
    house.api.requests.clear()
    house.api.route("/parents/2/children", {"rows": [{"n": 2}]})
    told = house.load(*resources)
    assert [request.path for request in house.api.requests] == ["/parents", "/parents/2/children"]
    assert (told["parents"], told["failed_parent_count"]) == (1, 0)
    assert "warnings" not in told
    assert house.query("SELECT n FROM s.children ORDER BY n") == [(1,), (2,), (3,)]


def test_a_parent_that_fails_takes_no_rows_out_of_a_table_that_is_replaced(house: House) -> None:
    children = {**CHILDREN, "write_disposition": "replace"}
    house.api.route("/parents", lambda r: {"rows": [{"id": 1, "at": 1}, {"id": 2, "at": 1}]})
    for number in (1, 2):
        house.api.route(f"/parents/{number}/children", {"rows": [{"n": number}]})
    house.load(PARENTS, children)
    house.api.route("/parents/2/children", (500, {}))
    assert "the requests of 1 parents failed" in house.failure(house.run(PARENTS, children))
    assert house.query("SELECT n FROM s.children ORDER BY n") == [(1,), (2,)]
    house.api.route("/parents/2/children", {"rows": [{"n": 3}]})
    assert house.load(PARENTS, children)["parents"] == 2, "nothing of the refused part is left"
    assert house.query("SELECT n FROM s.children ORDER BY n") == [(1,), (3,)]


def test_children_whose_walk_was_cut_are_asked_again_though_their_parent_did_not_change(house: House) -> None:
    ignoring = {**CHILDREN["endpoint"], "response_actions": [{"status_code": 404, "action": "ignore"}]}
    child = {**CHILDREN, "endpoint": {**ignoring, "paginator": {"type": "cursor", "cursor_path": "next"}}}
    house.api.route("/parents", lambda r: {"rows": [{"id": 1, "at": 1}] if r.query["since"] == "0" else []})
    second = {"answer": (404, {})}
    house.api.route(
        "/parents/1/children",
        lambda request: second["answer"] if request.query else {"rows": [{"n": 1}], "next": "two"},
    )
    assert house.load(PARENTS, child)["complete"] is False
    second["answer"] = {"rows": [{"n": 2}]}  # type: ignore[assignment]
    told = house.load(PARENTS, child)
    assert "complete" not in told
    assert house.query("SELECT n FROM s.children ORDER BY n") == [(1,), (2,)]


def test_a_token_that_dies_in_mid_walk_is_renewed_once_and_the_page_asked_again(house: House) -> None:
    issued: list[str] = []

    def token(request: Any) -> Any:
        issued.append(f"token-{len(issued) + 1}")
        return {"access_token": issued[-1], "expires_in": 3600}

    def page(request: Any) -> Any:
        number = int(request.query["page"])
        wanted = "Bearer token-1" if number < 3 else "Bearer token-2"
        return pages(None)(request) if request.headers.get("authorization") == wanted else (401, {})

    house.api.route("/token", token)
    house.api.route("/items", page)
    auth = {
        "type": "oauth2_client_credentials",
        "access_token_url": f"{house.api.url}/token",
        "client_id": "me",
        "client_secret": "a-client-secret",
    }
    assert house.load(ITEMS, auth=auth)["dagster/row_count"] == 10
    assert issued == ["token-1", "token-2"]
    assert [request.query["page"] for request in house.api.seen("/items")] == ["1", "2", "3", "3", "4", "5", "6"]


def test_iter_records_refuses_the_same_faults_and_logs_a_cut(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    config = {"client": {"base_url": api.url, "retry": {"attempts": 1}}, "resources": [ITEMS]}
    for answer, told in FAULTS.values():
        api.route("/items", pages(answer))
        with pytest.raises(RestApiError, match=re.escape(told)):
            list(iter_records(config, "items"))
    ignoring = {**ITEMS["endpoint"], "response_actions": [{"status_code": 404, "action": "ignore"}]}
    api.route("/items", pages((404, {})))
    with caplog.at_level(logging.WARNING):
        taken = list(iter_records({**config, "resources": [{**ITEMS, "endpoint": ignoring}]}, "items"))
    assert len(taken) == 4
    assert "items: page 3 was ignored by a rule" in caplog.text


# ---- what a failed run leaves ----------------------------------------------------------------------------------------
def test_rows_that_were_refused_are_asked_for_again_by_the_next_run(house: House) -> None:
    house.api.route("/items", lambda request: {"rows": [{"id": None, "at": 1}] if request.query["page"] == "1" else []})
    assert "have no value for 'id'" in house.failure(house.run(ITEMS))
    house.api.route("/items", lambda request: {"rows": rows(1) if request.query["page"] == "1" else []})
    assert house.load(ITEMS)["rows_loaded"] == 1
    assert house.query("SELECT id FROM s.items") == [(1,)]


def test_a_later_run_does_not_go_on_behind_pages_whose_rows_have_moved(house: House) -> None:
    stored = {number: number for number in range(1, 9)}  # id -> at; listed by `at`, two a page
    fails = {3}

    def page(request: Any) -> Any:
        number, since = int(request.query["page"]), int(request.query["since"])
        if number in fails:
            return (500, {})
        listed = sorted((at, id_) for id_, at in stored.items() if at >= since)
        return {"rows": [{"id": id_, "at": at} for at, id_ in listed[number * 2 - 2 : number * 2]]}

    house.api.route("/items", page)
    assert not house.run(ITEMS).success
    stored.update({1: 11, 2: 12})  # what was on page 1 is now on the last one, and page 3 on page 2
    fails.clear()
    house.load(ITEMS)
    assert house.query("SELECT id FROM s.items ORDER BY 1") == [(number,) for number in range(1, 9)]
    assert [request.query["page"] for request in house.api.seen("/items")][3:5] == ["1", "2"]
