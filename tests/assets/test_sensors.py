"""Sensors ask cheaply, run only what is new, try failed runs again, and miss no event."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from dagster_restapi import build_rest_api_definitions, build_rest_api_sensor, new_materializations
from dagster_restapi.assets import poll
from dagster_restapi.demo import DEMO_TOKEN, SampleApi
from dagster_restapi.demo.config import demo_config
from dagster_restapi.errors import ConfigError, RestApiError


@dataclass
class Sensor:
    """A sensor between its ticks."""

    definition: dg.SensorDefinition
    instance: dg.DagsterInstance
    cursor: str | None = None
    definitions: dg.Definitions | None = None

    def tick(self) -> Any:
        context = dg.SensorEvaluationContext(  # as Dagster's gRPC server makes it
            instance_ref=self.instance.get_ref(),
            last_tick_completion_time=None,
            last_run_key=None,
            cursor=self.cursor,
            repository_name=None,
            repository_def=self.definitions.get_repository_def() if self.definitions else None,
            sensor_name=self.definition.name,
        )
        with context:
            result = self.definition.evaluate_tick(context)
        self.cursor = result.cursor
        for request in result.dynamic_partitions_requests or []:
            if isinstance(request, dg.AddDynamicPartitionsRequest):
                self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
            else:
                for key in request.partition_keys:
                    self.instance.delete_dynamic_partition(request.partitions_def_name, key)
        return result

    def launch(self, result: Any, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED) -> dg.DagsterRun:
        """What the daemon does with a request: a run with the request's tags, in the given state."""
        (request,) = result.run_requests
        return create_run_for_test(self.instance, job_name="job", tags=dict(request.tags), status=status)

    def end(self, run: dg.DagsterRun, status: dg.DagsterEventType) -> None:
        self.instance.report_dagster_event(dg.DagsterEvent(status.value, job_name="job"), run.run_id)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def watch(sample_api: SampleApi, instance: dg.DagsterInstance) -> Callable[..., Sensor]:
    def build(resource: str, **options: Any) -> Sensor:
        return Sensor(build_rest_api_sensor(demo_config(sample_api.url), resource, **options), instance)

    return build


def succeed(sensor: Sensor, result: Any) -> None:
    sensor.end(sensor.launch(result), dg.DagsterEventType.PIPELINE_SUCCESS)


# ---- something new ---------------------------------------------------------------------------------------------------
def test_an_unchanged_answer_costs_one_conditional_request_and_no_run(
    watch: Callable[..., Sensor], sample_api: SampleApi
) -> None:
    users = watch("users")
    first = users.tick()
    assert len(first.run_requests) == 1
    assert first.run_requests[0].run_key is None
    succeed(users, first)
    assert users.tick().skip_message == "a run has loaded it"
    sample_api.forget_log()
    assert users.tick().skip_message == "users has nothing new"
    assert [(entry["status"], "If-None-Match" in entry["headers"]) for entry in sample_api.log] == [(304, True)]


def test_a_change_requests_one_run_and_nothing_more_while_it_is_under_way(
    watch: Callable[..., Sensor], sample_api: SampleApi
) -> None:
    users = watch("users")
    succeed(users, users.tick())
    users.tick()
    sample_api.tracker.touch("users", 1, {"name": "Someone Else"})
    changed = users.tick()
    assert len(changed.run_requests) == 1
    run = users.launch(changed)
    assert users.tick().skip_message == "a run that loads it is under way"
    users.end(run, dg.DagsterEventType.PIPELINE_SUCCESS)
    assert users.tick().skip_message == "a run has loaded it"
    assert users.tick().skip_message == "users has nothing new"


def test_an_answer_that_was_there_before_is_new_again_after_another_one(
    watch: Callable[..., Sensor], sample_api: SampleApi
) -> None:
    users = watch("users")
    name = sample_api.tracker.listing("users")[0]["name"]
    for value in ("other", name, "other", name):
        succeed(users, users.tick())
        assert users.tick().skip_message == "a run has loaded it"
        sample_api.tracker.touch("users", 1, {"name": value})
    assert len(users.tick().run_requests) == 1


def test_a_failed_run_is_requested_again_after_a_pause_that_doubles(
    watch: Callable[..., Sensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    users = watch("users", minimum_interval_seconds=60)
    pauses = []
    result = users.tick()
    for _ in range(3):
        users.end(users.launch(result), dg.DagsterEventType.PIPELINE_FAILURE)
        told = users.tick().skip_message
        assert "failed; the next try is in" in told
        pauses.append(int(told.split(" in ")[1].split()[0]))
        later = time.time() + pauses[-1] + 2
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda moment=later: moment)
            result = users.tick()
        assert len(result.run_requests) == 1
    assert [round(pause, -1) for pause in pauses] == [60, 120, 240]


def test_new_is_what_lies_behind_the_assets_own_cursor(
    watch: Callable[..., Sensor], instance: dg.DagsterInstance, sample_api: SampleApi
) -> None:
    events = watch("events")
    assert len(events.tick().run_requests) == 1
    last = sample_api.tracker.listing("events")[-1]["id"]
    instance.report_runless_asset_event(
        dg.AssetMaterialization("events", metadata={"dagster_restapi/cursor": last, "dagster_restapi/load_id": "1"})
    )
    instance.report_runless_asset_event(dg.AssetMaterialization("events"))  # "report materialization"
    assert events.tick().skip_message == "events has nothing new"
    sample_api.forget_log()
    assert events.tick().skip_message == "events has nothing new"
    (entry,) = sample_api.log
    assert (entry["status"], f"since_id={last}" in entry["path"]) == (304, True)
    sample_api.tracker.add("events", {})
    assert len(events.tick().run_requests) == 1


def test_a_row_that_changes_at_the_very_cursor_is_new(
    watch: Callable[..., Sensor], instance: dg.DagsterInstance, sample_api: SampleApi
) -> None:
    events = watch("events")
    last = sample_api.tracker.listing("events")[-1]["id"]
    instance.report_runless_asset_event(dg.AssetMaterialization("events", metadata={"dagster_restapi/cursor": last}))
    assert events.tick().skip_message == "events has nothing new"
    sample_api.tracker.touch("events", last, {"actor": "another"})
    assert len(events.tick().run_requests) == 1


def test_a_row_from_the_future_that_holds_the_cursor_back_is_not_new_for_ever(
    instance: dg.DagsterInstance, api: Any
) -> None:
    rows = [{"id": 1, "at": "28-01-2024"}, {"id": 2, "at": "01-01-2999"}]
    api.route("/items", lambda request: rows)
    endpoint = {"path": "items", "incremental": {"cursor_path": "at", "cursor_format": "%d-%m-%Y"}}
    config = {"client": {"base_url": api.url}, "resources": [{"name": "items", "endpoint": endpoint}]}
    items = Sensor(build_rest_api_sensor(config, "items"), instance)
    instance.report_runless_asset_event(
        dg.AssetMaterialization("items", metadata={"dagster_restapi/cursor": "28-01-2024"})
    )
    assert [items.tick().skip_message for _ in range(2)] == ["items has nothing new"] * 2
    rows.append({"id": 3, "at": "05-02-2024"})
    assert len(items.tick().run_requests) == 1


def test_without_marks_of_the_server_the_rows_are_compared(
    instance: dg.DagsterInstance, sample_api: SampleApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_etag(answer: Any) -> Any:
        answer.headers.pop("ETag")
        answer.headers.pop("Content-Length", None)
        return answer

    config = demo_config(sample_api.url)
    config["resources"][4]["endpoint"]["response_actions"] = [{"status_code": 200, "action": no_etag}]
    users = Sensor(build_rest_api_sensor(config, "users"), instance)
    succeed(users, users.tick())
    users.tick()
    assert users.tick().skip_message == "users has nothing new"
    sample_api.tracker.touch("users", 1, {"name": "Someone Else"})
    assert len(users.tick().run_requests) == 1


def test_the_poll_can_be_made_cheaper_by_parameters(watch: Callable[..., Sensor], sample_api: SampleApi) -> None:
    repositories = watch("repositories", params={"per_page": 1})
    repositories.tick()
    assert [entry["path"] for entry in sample_api.log] == ["/repositories?per_page=1&page=1"]


def test_the_cursor_is_small_and_holds_no_secret(watch: Callable[..., Sensor]) -> None:
    users = watch("users")
    users.tick()
    assert users.cursor is not None
    assert len(users.cursor) < 600
    assert DEMO_TOKEN not in users.cursor


def test_a_request_that_fails_fails_the_tick_and_keeps_the_cursor(
    instance: dg.DagsterInstance, sample_api: SampleApi
) -> None:
    config = demo_config(sample_api.url)
    config["client"]["auth"] = {"token": "wrong-and-secret"}
    users = Sensor(build_rest_api_sensor(config, "users"), instance)
    with pytest.raises(RestApiError, match="401") as caught:
        users.tick()
    assert "wrong-and-secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("timeout", "most", "hint"),
    [
        (0.2, 20.0, "sent nothing for 0.2 s;[\\s\\S]*Raise `timeout` of the client"),
        ((5, 0.2), 20.0, "sent nothing for 0.2 s;[\\s\\S]*Raise `timeout` of the client"),
        (60, 0.2, "(sent nothing for 0.2 s|no answer had come)[\\s\\S]*A sensor waits 0.2 s at most"),
    ],
)
def test_a_tick_waits_as_long_as_the_client_and_a_sensor_both_allow(
    instance: dg.DagsterInstance, api: Any, monkeypatch: pytest.MonkeyPatch, timeout: Any, most: float, hint: str
) -> None:
    api.route("/users", api.Reply([], delay=1))
    monkeypatch.setattr(poll, "_SECONDS", most)
    config = {"client": {"base_url": api.url, "timeout": timeout, "retry": {"attempts": 1}}, "resources": ["users"]}
    with pytest.raises(RestApiError, match=hint):
        Sensor(build_rest_api_sensor(config, "users"), instance).tick()
    assert len(api.seen("/users")) == 1


def test_a_cursor_of_something_else_counts_as_none(watch: Callable[..., Sensor]) -> None:
    users = watch("users")
    users.cursor = "1234"
    assert len(users.tick().run_requests) == 1


@pytest.mark.parametrize(
    ("resource", "options", "words"),
    [
        ("issues", {}, "takes many requests to poll"),
        ("issue", {}, "there is no resource 'issue'"),
        ("users", {"partitions": "tenants"}, "no asset is cut into the dynamic partitions 'tenants'"),
    ],
)
def test_what_cannot_be_polled_is_refused_when_the_sensor_is_built(
    sample_api: SampleApi, resource: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        build_rest_api_sensor(demo_config(sample_api.url), resource, **options)


DAILY = {"type": "daily", "start": "2024-01-01"}


def test_a_resource_cut_into_partitions_is_not_polled(sample_api: SampleApi) -> None:
    config = demo_config(sample_api.url)
    config["resources"][4]["partitions"] = DAILY
    with pytest.raises(ConfigError, match="cut into partitions") as caught:
        build_rest_api_sensor(config, "users")
    assert "a schedule" in str(caught.value)


# ---- with the definitions --------------------------------------------------------------------------------------------
def names_of(definitions: dg.Definitions) -> set[str]:
    return {sensor.name for sensor in definitions.sensors or []}


def test_definitions_bring_a_sensor_for_whatever_one_request_can_poll() -> None:
    config = demo_config("http://127.0.0.1:1")
    assert names_of(build_rest_api_definitions(config)) == set()
    assert names_of(build_rest_api_definitions(config, sensors=["users"])) == {"users_sensor"}
    config["resources"].append({"name": "by_day", "endpoint": "events", "partitions": DAILY})
    everything = build_rest_api_definitions(config, sensors=True)
    assert names_of(everything) == {"repositories_sensor", "events_sensor", "users_sensor"}
    assert {sensor.default_status for sensor in everything.sensors or []} == {dg.DefaultSensorStatus.STOPPED}
    with pytest.raises(ConfigError, match="takes many requests to poll"):
        build_rest_api_definitions(config, sensors=["issues"])


def test_where_every_asset_gets_partitions_none_is_polled() -> None:
    config, daily = (
        {"client": {"base_url": "http://x.test"}, "resources": ["a"]},
        dg.DailyPartitionsDefinition("2024-01-01"),
    )
    assert not names_of(build_rest_api_definitions(config, sensors=True, partitions_def=daily))
    with pytest.raises(ConfigError, match="has to name a partition"):
        build_rest_api_definitions(config, sensors=["a"], partitions_def=daily)


def test_sources_with_the_same_resource_names_share_a_code_location() -> None:
    sources = [
        build_rest_api_definitions(
            demo_config(f"http://{place}.test"), key_prefix=["raw", place], sensors=True, io_manager_key=f"{place}_io"
        )
        for place in ("east-1", "west")
    ]
    definitions = dg.Definitions.merge(*sources)
    assert {"raw__east_1__users_sensor", "raw__west__users_sensor"} < names_of(definitions)


# ---- partitions ------------------------------------------------------------------------------------------------------
@pytest.fixture
def list_of(watch: Callable[..., Sensor]) -> Callable[..., Sensor]:
    """A sensor on the listing of repositories, beside an asset with a partition for each of them."""

    @dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="repositories"))
    def by_repository() -> None: ...

    def build(**options: Any) -> Sensor:
        sensor = watch(
            "repositories", partitions="repositories", partition_key="name", target=[by_repository], **options
        )
        sensor.definitions = dg.Definitions(assets=[by_repository], sensors=[sensor.definition])
        return sensor

    return build


@pytest.fixture
def listing(list_of: Callable[..., Sensor]) -> Sensor:
    return list_of(params={"per_page": 100})


def materialize(instance: dg.DagsterInstance, *keys: str) -> None:
    for key in keys:
        instance.report_runless_asset_event(dg.AssetMaterialization("by_repository", partition=key))


def test_partitions_come_and_go_with_the_listing_and_new_ones_get_a_run(
    listing: Sensor, sample_api: SampleApi, instance: dg.DagsterInstance
) -> None:
    names = [row["name"] for row in sample_api.tracker.listing("repositories")]
    first = listing.tick()
    assert instance.get_dynamic_partitions("repositories") == names
    assert [request.partition_key for request in first.run_requests] == names
    materialize(instance, *names)
    sample_api.forget_log()
    assert listing.tick().skip_message == f"{len(names)} partitions, none of them new"
    assert [entry["status"] for entry in sample_api.log] == [304]

    gone = sample_api.tracker.listing("repositories")[0]
    sample_api.tracker.delete("repositories", gone["id"])
    added = sample_api.tracker.add("repositories", {"name": "brand-new"})
    second = listing.tick()
    assert [request.partition_key for request in second.run_requests] == [added["name"]]
    assert set(instance.get_dynamic_partitions("repositories")) == {*names, added["name"]} - {gone["name"]}


def test_a_partition_whose_run_failed_is_tried_again_and_one_under_way_is_left_alone(
    listing: Sensor, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = listing.tick()
    failing, running, *rest = first.run_requests
    materialize(instance, *(request.partition_key for request in rest))
    tags = {"dagster/partition": failing.partition_key, **failing.tags}
    failed = create_run_for_test(instance, job_name="job", tags=tags, status=dg.DagsterRunStatus.STARTED)
    listing.end(failed, dg.DagsterEventType.PIPELINE_FAILURE)
    tags = {"dagster/partition": running.partition_key, **running.tags}
    create_run_for_test(instance, job_name="job", tags=tags, status=dg.DagsterRunStatus.STARTED)
    assert not listing.tick().run_requests
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    assert [request.partition_key for request in listing.tick().run_requests] == [failing.partition_key]


def test_a_tick_requests_no_more_runs_than_it_may(list_of: Callable[..., Sensor]) -> None:
    assert len(list_of(max_runs=3).tick().run_requests) == 3


def test_an_empty_listing_removes_nothing(listing: Sensor, sample_api: SampleApi, instance: dg.DagsterInstance) -> None:
    listing.tick()
    for row in sample_api.tracker.listing("repositories"):
        sample_api.tracker.delete("repositories", row["id"])
    before = instance.get_dynamic_partitions("repositories")
    listing.tick()
    assert instance.get_dynamic_partitions("repositories") == before


def test_a_listing_of_several_pages_is_walked_whole_each_time(
    list_of: Callable[..., Sensor], sample_api: SampleApi, instance: dg.DagsterInstance
) -> None:
    names = [row["name"] for row in sample_api.tracker.listing("repositories")]
    listing = list_of()
    listing.tick()
    assert instance.get_dynamic_partitions("repositories") == names
    sample_api.tracker.add("repositories", {"name": "brand-new"})
    listing.tick()
    assert instance.get_dynamic_partitions("repositories") == [*names, "brand-new"]


# ---- for sensors of other assets -------------------------------------------------------------------------------------
def test_no_event_of_an_upstream_asset_is_missed_between_two_ticks(instance: dg.DagsterInstance) -> None:
    def news(cursor: str | None, **options: Any) -> Any:
        with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
            return new_materializations(context, ["up/a", dg.AssetKey("b")], **options)

    assert news(None).events == ()
    for day in range(12):
        event = dg.AssetMaterialization(["up", "a"], partition=f"2024-01-{day + 1:02}")
        instance.report_runless_asset_event(event)
    instance.report_runless_asset_event(dg.AssetMaterialization("b", metadata={"n": 1}))
    found = news(None)
    assert [event.partition for event in found.events] == [*(f"2024-01-{day + 1:02}" for day in range(12)), None]
    assert found.events[-1].metadata == {"n": 1}
    assert not found.more
    assert news(found.cursor).events == ()
    part = news(None, limit=5)
    assert part.more
    assert len(part.events) + len(news(part.cursor).events) == 13
    assert news(None, from_now=True).events == ()
    instance.report_runless_asset_event(dg.AssetMaterialization("b"))
    later = news(found.cursor)
    assert [event.key.path for event in later.events] == [["b"]]
    assert set(json.loads(later.cursor)) == {"up/a", "b"}


def test_a_load_without_a_change_can_be_told_from_one_with(instance: dg.DagsterInstance) -> None:
    for updated in (0, 2):
        counts = {f"dagster_restapi/rows_{what}": 0 for what in ("inserted", "deleted")}
        metadata = {**counts, "dagster_restapi/rows_updated": updated}
        instance.report_runless_asset_event(dg.AssetMaterialization("a", metadata=metadata))
    instance.report_runless_asset_event(dg.AssetMaterialization("a"))
    with dg.build_sensor_context(instance=instance) as context:
        assert [event.changed for event in new_materializations(context, ["a"]).events] == [False, True, True]
