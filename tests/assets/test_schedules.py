"""Jobs and schedules of a source: what a tick requests, for assets of every kind of partitions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from timeline import DAILY, PAIRS, TENANTS

from dagster_restapi import DuckDBRestApiIOManager, build_rest_api_definitions
from dagster_restapi.errors import ConfigError


def definitions(schedules: Any, *resources: Any, **options: Any) -> dg.Definitions:
    config = {"client": {"base_url": "https://api.example.com"}, "resources": list(resources)}
    return build_rest_api_definitions(config, schedules=schedules, **options)


def tick(defs: dg.Definitions, name: str, at: str, instance: dg.DagsterInstance | None = None) -> list[dg.RunRequest]:
    """The runs that a schedule requests at a moment."""
    repository = defs.get_repository_def()
    schedule = repository.get_schedule_def(name)
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime.fromisoformat(at).replace(tzinfo=UTC),
        repository_def=repository,
    )
    return list(schedule.evaluate_tick(context).run_requests or ())


def daily(name: str) -> dict[str, Any]:
    return {"name": name, "partitions": {"type": "daily", "start": "2024-01-01"}}


def test_assets_without_partitions_run_together() -> None:
    defs = definitions("0 6 * * *", "users", "items", schedule_timezone="Europe/Berlin")
    schedule = defs.get_repository_def().get_schedule_def("api_example_com_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 6 * * *", "Europe/Berlin")
    assert len(tick(defs, schedule.name, "2024-03-05T05:00")) == 1
    job = defs.resolve_job_def("api_example_com_job")
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == {"users", "items"}


def test_time_windows_are_loaded_once_they_have_ended() -> None:
    defs = definitions("30 6 * * *", daily("events"), key_prefix="shop")
    schedule = defs.get_repository_def().get_schedule_def("shop_daily_schedule")
    assert schedule.cron_schedule == "30 6 * * *"
    [request] = tick(defs, schedule.name, "2024-03-05T06:30")
    assert request.partition_key == "2024-03-04"


def test_each_kind_of_partitions_has_a_job_of_its_own() -> None:
    defs = definitions(
        "0 6 * * *", "users", daily("events"), daily("visits"), {"name": "orders", "partitions": TENANTS}
    )
    jobs = {job.name for job in defs.get_repository_def().get_all_jobs()}
    assert {"api_example_com_job", "api_example_com_daily_job", "api_example_com_static_job"} <= jobs
    assert len(tick(defs, "api_example_com_schedule", "2024-03-05T06:00")) == 1
    [request] = tick(defs, "api_example_com_daily_schedule", "2024-03-05T06:00")
    assert request.partition_key == "2024-03-04"
    requests = tick(defs, "api_example_com_static_schedule", "2024-03-05T06:00")
    assert [request.partition_key for request in requests] == ["eu", "us"]


def test_a_schedule_for_some_resources_by_name() -> None:
    defs = definitions({"users": "0 6 * * *", "items": "*/5 * * * *"}, "users", "items", "others")
    schedules = {schedule.cron_schedule for schedule in defs.get_repository_def().schedule_defs}
    assert schedules == {"0 6 * * *", "*/5 * * * *"}


def names(defs: dg.Definitions) -> dict[str, set[str]]:
    """The resources of each schedule."""
    repository = defs.get_repository_def()
    return {
        schedule.name.removesuffix("_schedule"): {
            key.path[-1] for key in repository.get_job(schedule.job_name).asset_layer.executable_asset_keys
        }
        for schedule in repository.schedule_defs
    }


def test_a_schedule_keeps_its_name_and_its_assets_whatever_others_there_are() -> None:
    crons = {"users": "0 6 * * *", "items": "*/5 * * * *", "days": "0  6 * * *", "more": "0 6 * * 1-5"}
    resources = ("users", "items", daily("days"), "more")
    before = names(definitions({"items": "*/5 * * * *"}, *resources, key_prefix="shop"))
    found = names(definitions(crons, *resources, key_prefix="shop"))
    assert before == {"shop_x_by_5_x_x_x_x": {"items"}}
    assert found == {
        "shop_0_6_x_x_x": {"users"},
        "shop_x_by_5_x_x_x_x": {"items"},
        "shop_0_6_x_x_x_daily": {"days"},
        "shop_0_6_x_x_1_to_5": {"more"},
    }
    turned = dict(reversed(crons.items()))
    assert names(definitions(turned, *reversed(resources), key_prefix="shop")) == found


def test_groups_of_one_kind_of_partitions_are_named_by_a_resource() -> None:
    later = {"name": "visits", "partitions": {"type": "daily", "start": "2025-01-01"}}
    for resources in ((daily("orders"), later, daily("events")), (later, daily("events"), daily("orders"))):
        assert names(definitions("30 6 * * *", *resources, key_prefix="shop")) == {
            "shop_daily_events": {"events", "orders"},
            "shop_daily_visits": {"visits"},
        }


def test_dynamic_keys_are_those_of_the_moment() -> None:
    defs = definitions("0 6 * * *", {"name": "orders", "partitions": {"type": "dynamic", "name": "tenants"}})
    with dg.DagsterInstance.local_temp() as instance:
        assert tick(defs, "api_example_com_dynamic_schedule", "2024-03-05T06:00", instance) == []
        instance.add_dynamic_partitions("tenants", ["a", "b"])
        requests = tick(defs, "api_example_com_dynamic_schedule", "2024-03-05T06:00", instance)
    assert [request.partition_key for request in requests] == ["a", "b"]
    assert len({request.run_key for request in requests}) == 2


def test_of_two_dimensions_the_window_that_ended_with_every_key() -> None:
    pairs = {**PAIRS, "dimensions": {**PAIRS["dimensions"], "day": {"type": "daily", "start": "2024-01-01"}}}
    defs = definitions("0 6 * * *", {"name": "events", "partitions": pairs})
    requests = tick(defs, "api_example_com_daily_static_schedule", "2024-03-05T06:00")
    assert sorted(str(request.partition_key) for request in requests) == ["2024-03-04|eu", "2024-03-04|us"]


@pytest.mark.parametrize("cron", ["*/5 * * * *", "0 6 * * 1", "0 6 1 * *"])
def test_a_schedule_that_misses_windows_is_refused(cron: str) -> None:
    with pytest.raises(ConfigError, match="does not tick once for each time window") as error:
        definitions(cron, {"name": "events", "partitions": DAILY})
    assert "Write it like '30 6 * * *'" in str(error.value)


def test_a_resource_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="no asset for a resource 'user'"):
        definitions({"user": "0 6 * * *"}, "users")


def test_two_sources_with_the_same_resources_are_one_code_location() -> None:
    one = definitions("0 6 * * *", "users", daily("events"), key_prefix="one")
    two = definitions("0 7 * * *", "users", daily("events"), key_prefix="two")

    @dg.asset(deps=[dg.AssetKey(["one", "users"])])
    def report() -> None: ...

    merged = dg.Definitions.merge(
        one, two, dg.Definitions(assets=[report], resources={"io_manager": DuckDBRestApiIOManager(database=":memory:")})
    )
    repository = merged.get_repository_def()
    assert len(repository.schedule_defs) == 4
    assert len(repository.asset_graph.get_all_asset_keys()) == 5
