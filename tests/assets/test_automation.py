"""`automation` and `freshness` of a configuration become what Dagster obeys."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from dagster_restapi import build_rest_api_definitions
from dagster_restapi.assets.automation import automation_condition, freshness_policy
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.demo import SampleApi
from dagster_restapi.demo.config import demo_config
from dagster_restapi.errors import ConfigError


def resource(**settings: Any) -> Any:
    return RestApiConfig(client={"base_url": "https://x.test"}, resources=[{"name": "a", **settings}]).resources[0]


def test_words_become_conditions() -> None:
    assert automation_condition(resource().automation, "a") is None
    assert automation_condition(resource(automation="eager").automation, "a") == dg.AutomationCondition.eager()
    assert (
        automation_condition(resource(automation="on_missing").automation, "a") == dg.AutomationCondition.on_missing()
    )
    cron = {"type": "on_cron", "cron": "0 6 * * *", "timezone": "Europe/Berlin"}
    assert automation_condition(resource(automation=cron).automation, "a") == dg.AutomationCondition.on_cron(
        "0 6 * * *", "Europe/Berlin"
    )


def test_windows_and_deadlines_become_policies() -> None:
    assert freshness_policy(resource().freshness, "a") is None
    assert freshness_policy(resource(freshness="24h").freshness, "a") == dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=24)
    )
    window = {"fail_window": "24h", "warn_window": "12h"}
    assert freshness_policy(resource(freshness=window).freshness, "a") == dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=24), warn_window=timedelta(hours=12)
    )
    cron = {"deadline_cron": "0 6 * * *", "lower_bound_delta": "1h", "timezone": "Europe/Berlin"}
    assert freshness_policy(resource(freshness=cron).freshness, "a") == dg.FreshnessPolicy.cron(
        deadline_cron="0 6 * * *", lower_bound_delta=timedelta(hours=1), timezone="Europe/Berlin"
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"automation": {"type": "on_cron", "cron": "at six"}}, "invalid cron schedule: at six"),
        ({"freshness": {"deadline_cron": "at six", "lower_bound_delta": "1h"}}, "invalid cron string"),
        ({"freshness": "5s"}, "cannot be less than 1 minute"),
        ({"freshness": {"deadline_cron": "*/5 * * * *", "lower_bound_delta": "1h"}}, "smallest cron interval"),
    ],
)
def test_what_dagster_refuses_names_the_resource(settings: dict[str, Any], words: str) -> None:
    given = resource(**settings)

    def build() -> object:
        return automation_condition(given.automation, "a"), freshness_policy(given.freshness, "a")

    with pytest.raises(ConfigError, match="resource a, ") as caught:
        build()
    assert words in str(caught.value)
    assert caught.value.__context__ is None


def test_an_eager_child_follows_its_parent_and_no_other_does(sample_api: SampleApi) -> None:
    config = demo_config(sample_api.url)
    config["resources"][1]["automation"] = "eager"
    definitions = build_rest_api_definitions(config, checks=False)

    def requested(cursor: Any = None) -> Any:
        return dg.evaluate_automation_conditions(definitions, instance=instance, cursor=cursor)

    with dg.DagsterInstance.ephemeral() as instance:
        before = requested()
        instance.report_runless_asset_event(dg.AssetMaterialization("repositories"))
        instance.report_runless_asset_event(dg.AssetMaterialization("users"))
        after = requested(before.cursor)
    assert (before.total_requested, after.total_requested) == (0, 1)
    assert after.get_num_requested(dg.AssetKey("issues")) == 1
