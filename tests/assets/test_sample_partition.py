"""The partition that `check` and `preview` look at, found without Dagster, is one that Dagster has, window and all."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from dagster_restapi.assets.partitions import part_of, partitions_definition
from dagster_restapi.config.partitions import PartitionsConfig
from dagster_restapi.config.sample_partition import sample_partition
from dagster_restapi.errors import ConfigError

ZONES = ("UTC", "America/New_York", "Europe/Berlin")
OFFSETS: dict[str, list[dict[str, int]]] = {
    "hourly": [{}, {"minute_offset": 15}],
    "daily": [{}, {"hour_offset": 5, "minute_offset": 30}],
    "weekly": [{}, {"day_offset": 3}, {"hour_offset": 5}],
    "monthly": [{}, {"day_offset": 3}, {"hour_offset": 5}],
}


def parsed(**settings: Any) -> PartitionsConfig:
    return TypeAdapter(PartitionsConfig).validate_python(settings)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("end", [None, "2024-03-20"])
@pytest.mark.parametrize(("unit", "offsets"), [(unit, offsets) for unit in OFFSETS for offsets in OFFSETS[unit]])
def test_windows_are_those_of_dagster(unit: str, offsets: dict[str, int], end: str | None, zone: str) -> None:
    config = parsed(type=unit, start="2024-01-01", timezone=zone, **offsets, **({"end": end} if end else {}))
    definition = partitions_definition(config)
    keys = definition.get_partition_keys()
    for asked, key in [(None, keys[-1]), *((key, key) for key in keys[:: len(keys) // 7 or 1])]:
        found, expected = sample_partition(config, asked), part_of(definition, key)
        assert found is not None
        assert (found.key, found.window) == (expected.key, expected.window)


def test_keys_are_the_first_or_the_one_that_is_named() -> None:
    tenants = parsed(type="static", keys=["eu", "us"])
    assert [getattr(sample_partition(tenants, key), "key", None) for key in (None, "us")] == ["eu", "us"]
    with pytest.raises(ConfigError, match="there is no partition 'uk'"):
        sample_partition(tenants, "uk")
    repositories = parsed(type="dynamic", name="repositories")
    assert sample_partition(repositories) is None
    assert getattr(sample_partition(repositories, "anvil"), "key", None) == "anvil"


def test_two_dimensions_give_a_pair_as_dagster_writes_it() -> None:
    pairs = parsed(
        type="multi",
        dimensions={"tenant": {"type": "static", "keys": ["eu"]}, "day": {"type": "daily", "start": "2024-01-01"}},
    )
    found, expected = sample_partition(pairs, "2024-01-05|eu"), part_of(partitions_definition(pairs), "2024-01-05|eu")
    assert found is not None
    assert (found.key, found.window, found.keys) == (expected.key, expected.window, expected.keys)
    assert (getattr(sample_partition(pairs), "key", "") or "").endswith("|eu")
    with pytest.raises(ConfigError, match=r"day\|tenant"):
        sample_partition(pairs, "eu")
