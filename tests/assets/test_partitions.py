"""Partitions: windows and keys in requests, each partition replaced alone, whatever the calendar does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from timeline import (
    DAILY,
    PAIRS,
    SINCE_UNTIL,
    TENANTS,
    between,
    content,
    counts,
    data_versions,
    events,
    every,
    of_tenants,
    serve,
)

from dagster_restapi import build_rest_api_assets
from dagster_restapi.errors import ConfigError


# ---- windows and keys in requests --------------------------------------------------------------------------------
def test_the_window_becomes_the_start_and_end_of_the_cursor(api: Any, source: Callable[..., Any]) -> None:
    serve(api, every(timedelta(hours=6), "2024-01-01T00:00+00:00", "2024-01-05T00:00+00:00"))
    house = source(events(DAILY))
    told = house.load("events", partition="2024-01-02")
    [request] = api.requests
    assert request.query == {"since": "2024-01-02T00:00:00Z", "until": "2024-01-03T00:00:00Z"}
    assert told["dagster/partition_row_count"] == 4
    assert told["rows_out_of_range"] == 1, "the API's own `until` is inclusive"
    assert (told["window_start"], told["window_end"]) == ("2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z")
    assert told["cursor_source"] == "partition"
    assert counts(house) == {"2024-01-02": 4}


def test_placeholders_bring_the_partition_into_path_params_headers_and_body(
    api: Any, source: Callable[..., Any]
) -> None:
    api.route("/days/2024-01-02/find", [{"id": 1}])
    endpoint = {
        "path": "days/{partition.key}/find",
        "method": "POST",
        "params": {"to": "{partition.end}"},
        "headers": {"X-Day": "{partition.key}"},
        "json": {"from": "{partition.start}", "{partition.key}": True},
        "data_selector": "$",
    }
    house = source({"name": "found", "endpoint": endpoint, "partitions": DAILY})
    assert house.load("found", partition="2024-01-02")["dagster/partition_row_count"] == 1
    [request] = api.requests
    assert request.query == {"to": "2024-01-03T00:00:00Z"}
    assert request.headers["x-day"] == "2024-01-02"
    assert request.json() == {"from": "2024-01-02T00:00:00Z", "2024-01-02": True}


def test_convert_shapes_a_window_for_the_request(api: Any, source: Callable[..., Any]) -> None:
    seconds = {"cursor_path": "at", "start_param": "since", "end_param": "until", "convert": _seconds}
    api.route("/events", [{"id": 1, "at": 1704153600}, {"id": 2, "at": 1704240000}])
    house = source({"name": "events", "endpoint": {"incremental": seconds}, "partitions": DAILY})
    assert house.load("events", partition="2024-01-02")["dagster/partition_row_count"] == 1
    assert api.requests[0].query == {"since": "1704153600", "until": "1704240000"}


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


@pytest.mark.parametrize(
    ("partitions", "key", "window"),
    [
        (
            {"type": "hourly", "start": "2024-01-01-00:00", "minute_offset": 30},
            "2024-01-02-05:30",
            ("2024-01-02T05:30:00Z", "2024-01-02T06:30:00Z"),
        ),
        (
            {"type": "daily", "start": "2024-01-01", "timezone": "Europe/Berlin", "hour_offset": 6},
            "2024-01-02",
            ("2024-01-02T06:00:00+01:00", "2024-01-03T06:00:00+01:00"),
        ),
        (
            {"type": "weekly", "start": "2024-01-01", "day_offset": 1},
            "2024-01-08",
            ("2024-01-08T00:00:00Z", "2024-01-15T00:00:00Z"),
        ),
        ({"type": "weekly", "start": "2024-01-01"}, "2024-01-07", ("2024-01-07T00:00:00Z", "2024-01-14T00:00:00Z")),
        ({"type": "monthly", "start": "2024-01-01"}, "2024-02-01", ("2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z")),
        (
            {"type": "monthly", "start": "2024-01-01", "day_offset": 15},
            "2024-02-15",
            ("2024-02-15T00:00:00Z", "2024-03-15T00:00:00Z"),
        ),
    ],
)
def test_windows_of_every_length_with_timezone_and_offsets(
    api: Any, source: Callable[..., Any], partitions: dict[str, Any], key: str, window: tuple[str, str]
) -> None:
    serve(api, [{"id": 1, "at": window[0]}, {"id": 2, "at": window[1]}])
    house = source(events(partitions))
    house.load("events", partition=key)
    assert (api.requests[0].query["since"], api.requests[0].query["until"]) == window
    assert counts(house) == {key: 1}


def test_end_and_end_offset_say_which_partitions_there_are(api: Any, source: Callable[..., Any]) -> None:
    def keys(**more: Any) -> list[str]:
        [asset] = source(events({"type": "daily", "start": "2024-01-01", **more})).assets()
        found: list[str] = list(
            asset.partitions_def.get_partition_keys(current_time=datetime(2024, 1, 4, 12, tzinfo=UTC))
        )
        return found

    assert keys() == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert keys(end_offset=1)[-1] == "2024-01-04"
    assert keys(end_offset=-1)[-1] == "2024-01-02"
    assert keys(end="2024-01-03")[-1] == "2024-01-02"


WEEKDAYS = dg.TimeWindowPartitionsDefinition(
    start="2024-01-01", end="2024-01-20", cron_schedule="0 9 * * 1-5", fmt="%Y-%m-%d", timezone="Europe/Berlin"
)


@pytest.mark.parametrize("range_", [None, ("2024-01-04", "2024-01-08")])
def test_a_definition_of_dagsters_with_a_cron_schedule(
    api: Any, source: Callable[..., Any], range_: tuple[str, str] | None
) -> None:
    serve(api, every(timedelta(hours=1), "2024-01-01T00:00+00:00", "2024-01-15T00:00+00:00"))
    house = source(events(), partitions_def=WEEKDAYS)
    result = house.run("events", partition=None if range_ else "2024-01-05", between=range_)
    house.each(result, "events")
    assert api.requests[0].query["since"] == f"2024-01-0{4 if range_ else 5}T09:00:00+01:00"
    assert counts(house) == ({"2024-01-04": 24, "2024-01-05": 72, "2024-01-08": 24} if range_ else {"2024-01-05": 72})


# ---- replaced alone ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("disposition", ["append", "replace", "merge"])
def test_a_partition_run_replaces_exactly_that_partition(
    api: Any, source: Callable[..., Any], disposition: str
) -> None:
    rows = every(timedelta(hours=6), "2024-01-01T00:00+00:00", "2024-01-04T00:00+00:00")
    serve(api, rows)
    house = source(events(DAILY, write_disposition=disposition, primary_key="id"))
    for day in ("2024-01-01", "2024-01-02", "2024-01-03"):
        house.load("events", partition=day)
    others = house.query("SELECT * FROM tracker.events WHERE _restapi_partition <> '2024-01-02' ORDER BY ALL")
    serve(api, [row for row in rows if row["id"] != 6] + [{"id": 99, "at": "2024-01-02T01:00:00Z"}])
    told = house.load("events", partition="2024-01-02")
    assert (told["rows_deleted"], told["rows_inserted"], told["dagster/partition_row_count"]) == (4, 4, 4)
    assert house.query("SELECT id FROM tracker.events WHERE _restapi_partition = '2024-01-02' ORDER BY id") == [
        (5,),
        (7,),
        (8,),
        (99,),
    ]
    assert others == house.query("SELECT * FROM tracker.events WHERE _restapi_partition <> '2024-01-02' ORDER BY ALL")
    serve(api, [])
    assert house.load("events", partition="2024-01-02")["dagster/partition_row_count"] == 0
    assert counts(house) == {"2024-01-01": 4, "2024-01-03": 4}


def test_a_record_that_moved_leaves_its_old_window(api: Any, source: Callable[..., Any]) -> None:
    serve(api, [{"id": 1, "at": "2024-01-01T05:00:00Z"}, {"id": 2, "at": "2024-01-01T06:00:00Z"}])
    house = source(events(DAILY, write_disposition="merge", primary_key="id"))
    house.load("events", partition="2024-01-01")
    serve(api, [{"id": 1, "at": "2024-01-03T05:00:00Z"}, {"id": 2, "at": "2024-01-01T06:00:00Z"}])
    house.load("events", partition="2024-01-03")
    assert counts(house) == {"2024-01-01": 1, "2024-01-03": 1}


def test_nothing_is_written_and_the_data_version_stays_where_a_partition_is_the_same(
    api: Any, source: Callable[..., Any]
) -> None:
    serve(api, every(timedelta(hours=6), "2024-01-01T00:00+00:00", "2024-01-03T00:00+00:00"))
    house = source(events(DAILY))
    house.load("events", partition="2024-01-02")
    before, version = content(house), data_versions(house)
    told = house.load("events", partition="2024-01-02")
    assert (told["rows_loaded"], told["rows_deleted"], told["dagster/partition_row_count"]) == (0, 0, 4)
    assert content(house) == before, "load ids included"
    assert data_versions(house) == version
    serve(api, [{"id": 1, "at": "2024-01-02T00:00:00Z"}])
    house.load("events", partition="2024-01-02")
    assert data_versions(house) != version


# ---- the calendar ------------------------------------------------------------------------------------------------
SPRING = ("2024-03-08T00:00-05:00", "2024-03-13T00:00-04:00")  # New York: 2024-03-10 has 23 hours
AUTUMN = ("2024-11-01T00:00-04:00", "2024-11-06T00:00-05:00")  # and 2024-11-03 has 25


@pytest.mark.parametrize(
    ("span", "key", "rows"),
    [
        (SPRING, "2024-03-09", 48),
        (SPRING, "2024-03-10", 46),
        (SPRING, "2024-03-11", 48),
        (AUTUMN, "2024-11-02", 48),
        (AUTUMN, "2024-11-03", 50),
        (AUTUMN, "2024-11-04", 48),
    ],
)
@pytest.mark.parametrize("spelling", ["offset", "utc"])
def test_new_york_days_around_the_change_of_the_clocks_run_three_times(
    api: Any, source: Callable[..., Any], span: tuple[str, str], key: str, rows: int, spelling: str
) -> None:
    found = every(timedelta(minutes=30), *span)
    if spelling == "utc":
        for row in found:
            row["at"] = datetime.fromisoformat(row["at"]).astimezone(UTC).isoformat().replace("+00:00", "Z")
    serve(api, found)
    house = source(
        events({"type": "daily", "start": span[0][:10], "end": span[1][:10], "timezone": "America/New_York"})
    )
    contents = []
    for _ in range(3):
        house.load("events", partition=key)
        contents.append(content(house))
    assert counts(house) == {key: rows}
    assert contents[0] == contents[1] == contents[2]
    [(kind,)] = house.query('SELECT DISTINCT typeof("at") FROM tracker.events')
    assert kind == "TIMESTAMP WITH TIME ZONE"
    assert house.query(
        """SELECT DISTINCT strftime("at" AT TIME ZONE 'America/New_York', '%Y-%m-%d') FROM tracker.events"""
    ) == [(key,)]


def test_every_hour_of_the_night_in_which_the_clocks_go_back(api: Any, source: Callable[..., Any]) -> None:
    serve(api, every(timedelta(minutes=20), "2024-11-03T00:00-04:00", "2024-11-03T05:00-05:00"))
    hourly = {"type": "hourly", "start": "2024-11-03-00:00", "end": "2024-11-03-05:00", "timezone": "America/New_York"}
    house = source(events(hourly))
    [asset] = house.assets()
    keys = asset.partitions_def.get_partition_keys()
    assert keys[1:3] == ["2024-11-03-01:00", "2024-11-03-01:00-0500"], "the hour that comes twice"
    for key in [*keys, *keys[::-1], *keys]:
        house.load("events", partition=key)
    assert counts(house) == dict.fromkeys(keys, 3)
    one_by_one = content(house)
    house.each(house.run("events", between=(keys[0], keys[-1])), "events")
    assert content(house) == one_by_one


def test_the_hour_that_does_not_exist_has_no_partition_and_loses_no_row(api: Any, source: Callable[..., Any]) -> None:
    rows = every(timedelta(minutes=20), "2024-03-10T00:00-05:00", "2024-03-10T05:00-04:00")
    serve(api, rows)
    hourly = {"type": "hourly", "start": "2024-03-10-00:00", "end": "2024-03-10-05:00", "timezone": "America/New_York"}
    house = source(events(hourly))
    [asset] = house.assets()
    keys = asset.partitions_def.get_partition_keys()
    assert keys == [f"2024-03-10-0{hour}:00" for hour in (0, 1, 3, 4)]
    house.each(house.run("events", between=(keys[0], keys[-1])), "events")
    assert counts(house) == dict.fromkeys(keys, 3)
    assert len(content(house)) == len(rows)


def test_a_date_is_a_day_of_the_partitions_own_time_zone(api: Any, source: Callable[..., Any]) -> None:
    api.route("/events", [{"id": day, "at": f"2024-03-{day:02}"} for day in range(8, 14)])
    partitions = {"type": "daily", "start": "2024-03-01", "timezone": "America/New_York"}
    house = source(events(partitions))
    for day in ("2024-03-10", "2024-03-11"):
        house.load("events", partition=day)
    assert house.query("SELECT _restapi_partition, id FROM tracker.events ORDER BY ALL") == [
        ("2024-03-10", 10),
        ("2024-03-11", 11),
    ]


# ---- keys --------------------------------------------------------------------------------------------------------
def per_tenant(api: Any, rows: dict[str, list[dict[str, Any]]]) -> None:
    """An API with a path for each tenant, from a cursor on."""
    for tenant, listed in rows.items():
        api.route(f"/{tenant}/orders", lambda request, listed=listed: between(listed, request.query.get("since"), None))


def orders(partitions: dict[str, Any], **more: Any) -> dict[str, Any]:
    incremental = {"cursor_path": "at", "start_param": "since"}
    endpoint = {"path": "{partition.key}/orders", "incremental": incremental}
    return {"name": "orders", "endpoint": endpoint, "partitions": partitions, **more}


def test_static_partitions_each_carry_a_cursor_of_their_own(api: Any, source: Callable[..., Any]) -> None:
    eu = every(timedelta(days=1), "2024-01-01T00:00+00:00", "2024-01-04T00:00+00:00")
    us = every(timedelta(days=1), "2023-01-01T00:00+00:00", "2023-01-03T00:00+00:00")
    per_tenant(api, {"eu": eu, "us": us})
    house = source(orders(TENANTS))
    first = house.load("orders", partition="eu")
    assert (first["cursor_source"], first["cursor"]) == ("initial", "2024-01-03T00:00:00Z")
    assert house.load("orders", partition="us")["cursor"] == "2023-01-02T00:00:00Z"
    eu.append({"id": 4, "at": "2024-01-09T00:00:00Z"})
    again = house.load("orders", partition="eu")
    assert (again["cursor_source"], again["cursor_before"]) == ("metadata", "2024-01-03T00:00:00Z")
    assert (again["rows_loaded"], again["dagster/partition_row_count"]) == (1, 4)
    assert [request.query for request in api.seen("/eu/orders")] == [{}, {"since": "2024-01-03T00:00:00Z"}]
    assert house.load("orders", partition="us")["cursor_before"] == "2023-01-02T00:00:00Z"
    assert counts(house, "orders") == {"eu": 4, "us": 2}


def test_several_static_partitions_in_one_run_go_on_from_their_own_cursors(
    api: Any, source: Callable[..., Any]
) -> None:
    eu = every(timedelta(days=1), "2024-01-01T00:00+00:00", "2024-01-04T00:00+00:00")
    us = every(timedelta(days=1), "2023-01-01T00:00+00:00", "2023-01-03T00:00+00:00")
    per_tenant(api, {"eu": eu, "us": us})
    house = source(orders(TENANTS), backfill_policy=dg.BackfillPolicy.single_run())
    house.each(house.run("orders", between=("eu", "us")), "orders")
    us.append({"id": 3, "at": "2023-01-03T00:00:00Z"})
    versions = data_versions(house, "orders")
    told = house.each(house.run("orders", between=("eu", "us")), "orders")
    assert {key: one["cursor_source"] for key, one in told.items()} == {"eu": "metadata", "us": "metadata"}
    assert {key: one["rows_loaded"] for key, one in told.items()} == {"eu": 0, "us": 1}
    after = data_versions(house, "orders")
    assert after["eu"] == versions["eu"], "nothing new: its children need not wake"
    assert after["us"] != versions["us"]


def test_keys_of_a_merge_count_within_a_static_partition(api: Any, source: Callable[..., Any]) -> None:
    per_tenant(api, {name: [{"id": 1, "at": "2024-01-01T00:00:00Z", "who": name}] for name in ("eu", "us")})
    house = source(orders(TENANTS, write_disposition="merge", primary_key="id"))
    for tenant in ("eu", "us", "eu"):
        house.load("orders", partition=tenant)
    assert house.query("SELECT _restapi_partition, who FROM tracker.orders ORDER BY ALL") == [
        ("eu", "eu"),
        ("us", "us"),
    ]


def test_dynamic_partitions_come_and_go(api: Any, source: Callable[..., Any]) -> None:
    per_tenant(api, {"a/b": [], "new": [{"id": 1, "at": "2024-01-01T00:00:00Z"}]})
    api.route("/a%2Fb/orders", [{"id": 7, "at": "2024-01-01T00:00:00Z"}])
    house = source(orders({"type": "dynamic", "name": "tenants"}))
    house.instance.add_dynamic_partitions("tenants", ["a/b", "new"])
    for key in ("a/b", "new"):
        house.load("orders", partition=key)
    assert counts(house, "orders") == {"a/b": 1, "new": 1}
    assert house.load("orders", partition="new")["cursor_source"] == "metadata"


def test_a_child_of_static_partitions_keeps_a_cursor_per_parent_and_partition(
    api: Any, source: Callable[..., Any]
) -> None:
    for tenant in ("eu", "us"):
        api.route(f"/{tenant}/shops", [{"id": 1}])
        api.route(
            f"/{tenant}/shops/1/sales",
            lambda request, tenant=tenant: between(
                [{"id": 1, "at": "2024-01-01T00:00:00Z" if tenant == "eu" else "2023-01-01T00:00:00Z"}],
                request.query.get("since"),
                None,
            ),
        )
    shops = {"name": "shops", "endpoint": "{partition.key}/shops", "partitions": TENANTS, "primary_key": "id"}
    shops["endpoint"] = {"path": "{partition.key}/shops", "data_selector": "$"}
    sales = {
        "name": "sales",
        "partitions": TENANTS,
        "endpoint": {
            "path": "{partition.key}/shops/{resources.shops.id}/sales",
            "incremental": {"cursor_path": "at", "start_param": "since"},
        },
    }
    house = source(shops, sales)
    for tenant in ("eu", "us", "eu"):
        house.load("shops", "sales", partition=tenant)
    since = [request.query.get("since") for request in api.requests if request.path.endswith("/sales")]
    assert since == [None, None, "2024-01-01T00:00:00Z"]
    assert counts(house, "sales") == {"eu": 1, "us": 1}


# ---- two dimensions ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("tenant", ["tenant", "a_tenant"])
def test_two_dimensions_window_and_key(api: Any, source: Callable[..., Any], tenant: str) -> None:
    rows = every(timedelta(hours=12), "2024-01-01T00:00+00:00", "2024-01-04T00:00+00:00")
    for name in ("eu", "us"):
        serve(api, [{**row, "who": name} for row in rows], f"/{name}/events")
    resource = of_tenants({"type": "multi", "dimensions": {"day": DAILY, tenant: TENANTS}})
    resource |= {"write_disposition": "merge", "primary_key": "id"}
    resource["endpoint"]["path"] = f"{{partition.keys.{tenant}}}/events"
    house = source(resource)

    def key(day: str, name: str) -> dg.MultiPartitionKey:
        return dg.MultiPartitionKey({"day": day, tenant: name})

    for day, name in [("2024-01-01", "eu"), ("2024-01-01", "us"), ("2024-01-02", "us"), ("2024-01-01", "eu")]:
        told = house.load("events", partition=key(day, name))
        assert told["dagster/partition_row_count"] == 2
    assert api.seen("/us/events")[1].query == {"since": "2024-01-02T00:00:00Z", "until": "2024-01-03T00:00:00Z"}
    assert counts(house) == {
        str(key(*pair)): 2 for pair in [("2024-01-01", "eu"), ("2024-01-01", "us"), ("2024-01-02", "us")]
    }
    ids = house.query("SELECT count(DISTINCT _restapi_id), count(*) FROM tracker.events")
    assert ids == [(6, 6)], "a key is one within its tenant"


def test_a_record_that_moved_leaves_the_window_of_its_own_tenant_alone(api: Any, source: Callable[..., Any]) -> None:
    for name in ("eu", "us"):
        serve(api, [{"id": 1, "at": "2024-01-01T05:00:00Z"}], f"/{name}/events")
    house = source(of_tenants(PAIRS, write_disposition="merge", primary_key="id"))
    for name in ("eu", "us"):
        house.load("events", partition=dg.MultiPartitionKey({"day": "2024-01-01", "tenant": name}))
    serve(api, [{"id": 1, "at": "2024-01-02T05:00:00Z"}], "/eu/events")
    house.load("events", partition=dg.MultiPartitionKey({"day": "2024-01-02", "tenant": "eu"}))
    assert counts(house) == {"2024-01-01|us": 1, "2024-01-02|eu": 1}


def test_two_dimensions_without_a_window_carry_a_cursor_each(api: Any, source: Callable[..., Any]) -> None:
    api.route(
        "/eu/orders",
        lambda request: between([{"id": 1, "at": "2024-01-01T00:00:00Z"}], request.query.get("since"), None),
    )
    pairs = dg.MultiPartitionsDefinition(
        {"kind": dg.StaticPartitionsDefinition(["a", "b"]), "tenant": dg.StaticPartitionsDefinition(["eu", "us"])}
    )
    endpoint = {
        "path": "{partition.keys.tenant}/orders",
        "params": {"kind": "{partition.keys.kind}"},
        "incremental": {"cursor_path": "at", "start_param": "since"},
    }
    house = source({"name": "orders", "endpoint": endpoint}, partitions_def=pairs)
    for kind in ("a", "b", "a"):
        house.load("orders", partition=dg.MultiPartitionKey({"kind": kind, "tenant": "eu"}))
    assert [request.query for request in api.requests] == [
        {"kind": "a"},
        {"kind": "b"},
        {"kind": "a", "since": "2024-01-01T00:00:00Z"},
    ]


# ---- pairs of parent and child -----------------------------------------------------------------------------------
def family(of_parent: Any, of_child: Any) -> list[dict[str, Any]]:
    parent = {"name": "shops", "endpoint": {"path": "shops", "incremental": SINCE_UNTIL}}
    child = {"name": "sales", "endpoint": {"path": "shops/{resources.shops.id}/sales", "data_selector": "$"}}
    return [
        {**parent, **({"partitions": of_parent} if of_parent else {})},
        {**child, **({"partitions": of_child} if of_child else {})},
    ]


def test_parent_and_child_with_equal_partitions_map_one_to_one(api: Any, source: Callable[..., Any]) -> None:
    serve(api, every(timedelta(hours=12), "2024-01-01T00:00+00:00", "2024-01-04T00:00+00:00"), "/shops")
    for number in range(1, 7):
        api.route(f"/shops/{number}/sales", [{"shop": number}])
    house = source(*family(DAILY, DAILY))
    house.load("shops", partition="2024-01-01")
    house.load("shops", partition="2024-01-02")
    told = house.load("sales", partition="2024-01-02")
    assert told["parents"] == 2
    assert house.query("SELECT shop, _restapi_partition FROM tracker.sales ORDER BY ALL") == [
        (3, "2024-01-02"),
        (4, "2024-01-02"),
    ]
    house.each(house.run("shops", "sales", between=("2024-01-01", "2024-01-03")), "sales")
    assert house.query("SELECT shop, _restapi_partition FROM tracker.sales ORDER BY ALL") == [
        (shop, f"2024-01-0{(shop + 1) // 2}") for shop in range(1, 7)
    ]


def test_a_partitioned_child_asks_with_every_row_of_a_parent_without_partitions(
    api: Any, source: Callable[..., Any]
) -> None:
    api.route("/shops", [{"id": 1}, {"id": 2}])
    rows = every(timedelta(hours=12), "2024-01-01T00:00+00:00", "2024-01-04T00:00+00:00")
    for number in (1, 2):
        serve(api, rows, f"/shops/{number}/sales")
    child = {
        "name": "sales",
        "partitions": DAILY,
        "endpoint": {"path": "shops/{resources.shops.id}/sales", "incremental": SINCE_UNTIL, "data_selector": "$"},
    }
    house = source("shops", child)
    house.load("shops")
    assert house.load("sales", partition="2024-01-02")["dagster/partition_row_count"] == 4
    told = house.each(house.run("sales", between=("2024-01-01", "2024-01-03")), "sales")
    assert counts(house, "sales") == {"2024-01-01": 4, "2024-01-02": 4, "2024-01-03": 4}
    assert {one["requests"] for one in told.values()} == {2}, "one range for each parent, and none for each day"


def test_a_child_without_partitions_asks_with_every_row_of_all_partitions(api: Any, source: Callable[..., Any]) -> None:
    serve(api, every(timedelta(hours=12), "2024-01-01T00:00+00:00", "2024-01-03T00:00+00:00"), "/shops")
    for number in range(1, 5):
        api.route(f"/shops/{number}/sales", [{"shop": number}])
    house = source(*family(DAILY, None))
    house.each(house.run("shops", between=("2024-01-01", "2024-01-02")), "shops")
    assert house.load("sales")["dagster/row_count"] == 4


@pytest.mark.parametrize(
    ("of_parent", "of_child"),
    [
        (DAILY, {"type": "monthly", "start": "2024-01-01"}),
        (DAILY, TENANTS),
        (TENANTS, {"type": "static", "keys": ["eu"]}),
        (DAILY, PAIRS),
        ({"type": "dynamic", "name": "a"}, {"type": "dynamic", "name": "b"}),
        (DAILY, {**DAILY, "timezone": "Europe/Berlin"}),
    ],
)
def test_wrong_pairs_are_refused_with_the_reason_when_the_definitions_load(of_parent: Any, of_child: Any) -> None:
    config = {"client": {"base_url": "https://x"}, "resources": family(of_parent, of_child)}
    with pytest.raises(ConfigError, match="'sales' and its parent 'shops' are partitioned in different ways") as error:
        build_rest_api_assets(config)
    assert "Give both the same `partitions`, or only one of them." in str(error.value)


# ---- layout ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        (DAILY, {**DAILY, "timezone": "Europe/Berlin"}, "2024-01-02"),
        (DAILY, {**DAILY, "hour_offset": 6}, "2024-01-02"),
        (DAILY, {"type": "weekly", "start": "2024-01-01"}, "2024-01-07"),
        (DAILY, {"type": "hourly", "start": "2024-01-01-00:00"}, "2024-01-01-05:00"),
        (None, DAILY, "2024-01-02"),
        (DAILY, None, None),
    ],
)
def test_another_layout_of_partitions_asks_for_a_full_refresh(
    api: Any, source: Callable[..., Any], failure_of: Callable[..., str], before: Any, after: Any, key: str | None
) -> None:
    serve(api, every(timedelta(hours=1), "2024-01-01T00:00+00:00", "2024-01-09T00:00+00:00"))
    source(events(before)).load("events", partition="2024-01-01" if before else None)
    house = source(events(after))
    rows = content(house)
    api.requests.clear()
    result = house.run("events", partition=key)
    assert "the partitions have changed" in failure_of(result)
    assert api.requests == [], "nothing is fetched that no load would take"
    assert "full_refresh: true" in failure_of(result)
    assert content(house) == rows
    house.load("events", partition=key, full_refresh=True)
    assert set(house.query("SELECT DISTINCT _restapi_partition FROM tracker.events") if key else [(None,)]) == {(key,)}
    house.load("events", partition=key)


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        (DAILY, {**DAILY, "start": "2023-06-01"}, "2023-12-31"),
        (DAILY, {**DAILY, "end": "2025-01-01", "end_offset": 1}, "2024-02-05"),
        (TENANTS, {"type": "static", "keys": ["us", "eu", "asia"]}, "asia"),
    ],
)
def test_more_windows_and_more_keys_are_the_same_layout(
    api: Any, source: Callable[..., Any], before: Any, after: Any, key: str
) -> None:
    serve(api, [])
    source(events(before)).load("events", partition="2024-01-01" if before is DAILY else "eu")
    source(events(after)).load("events", partition=key)


def test_a_full_refresh_of_one_partition_leaves_the_others(api: Any, source: Callable[..., Any]) -> None:
    serve(api, every(timedelta(hours=12), "2024-01-01T00:00+00:00", "2024-01-03T00:00+00:00"))
    house = source(events(DAILY))
    for day in ("2024-01-01", "2024-01-02"):
        house.load("events", partition=day)
    told = house.load("events", partition="2024-01-02", full_refresh=True)
    assert told["cursor_source"] == "full_refresh"
    assert counts(house) == {"2024-01-01": 2, "2024-01-02": 2}


# ---- wipes, other instances, memory ------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["time", "static"])
def test_a_wipe_means_a_clean_rebuild_of_every_partition(api: Any, source: Callable[..., Any], kind: str) -> None:
    rows = every(timedelta(hours=12), "2024-01-01T00:00+00:00", "2024-01-03T00:00+00:00")
    serve(api, rows)
    per_tenant(api, {"eu": rows, "us": rows})
    house = source(events(DAILY) if kind == "time" else orders(TENANTS, name="events"))
    one, two = ("2024-01-01", "2024-01-02") if kind == "time" else ("eu", "us")
    for key in (one, two):
        house.load("events", partition=key)
    size = counts(house)[one]
    house.instance.wipe_assets([dg.AssetKey("events")])
    told = house.load("events", partition=two)
    assert told["cursor_source"] == ("partition" if kind == "time" else "wiped")
    assert counts(house) == {two: size}, "the first load after the wipe begins anew"
    house.load("events", partition=one)
    assert counts(house) == {one: size, two: size}
    assert house.load("events", partition=two)["dagster/partition_row_count"] == size


def test_a_wipe_is_answered_once_in_a_run_of_many_partitions(api: Any, source: Callable[..., Any]) -> None:
    serve(api, every(timedelta(hours=12), "2024-01-01T00:00+00:00", "2024-01-04T00:00+00:00"))
    house = source(events(DAILY))
    house.each(house.run("events", between=("2024-01-01", "2024-01-03")), "events")
    house.instance.wipe_assets([dg.AssetKey("events")])
    house.each(house.run("events", between=("2024-01-02", "2024-01-03")), "events")
    assert counts(house) == {"2024-01-02": 2, "2024-01-03": 2}


def test_a_new_instance_goes_on_from_the_ledger_of_each_partition(api: Any, source: Callable[..., Any]) -> None:
    per_tenant(api, {"eu": every(timedelta(days=1), "2024-01-01T00:00+00:00", "2024-01-03T00:00+00:00")})
    house = source(orders(TENANTS))
    house.load("orders", partition="eu")
    with dg.DagsterInstance.ephemeral() as other:
        told = house.load("orders", partition="eu", instance=other)
    assert (told["cursor_source"], told["rows_loaded"]) == ("ledger", 0)


def test_partitions_work_in_memory_and_on_an_ephemeral_instance(api: Any, tmp_path: Any) -> None:
    from dagster_restapi import DuckDBRestApiIOManager

    serve(api, every(timedelta(hours=6), "2024-01-01T00:00+00:00", "2024-01-04T00:00+00:00"))
    config = {"client": {"base_url": api.url}, "resources": [events(DAILY)]}
    manager = DuckDBRestApiIOManager(database=":memory:", schema=f"m{api.port}", spool_dir=str(tmp_path))
    tags = {"dagster/asset_partition_range_start": "2024-01-01", "dagster/asset_partition_range_end": "2024-01-03"}
    for options in ({"partition_key": "2024-01-02"}, {"tags": tags}):
        result = dg.materialize(build_rest_api_assets(config), resources={"io_manager": manager}, **options)
        told = [event.materialization.metadata for event in result.get_asset_materialization_events()]
        assert [one["dagster/partition_row_count"].value for one in told] == [4] * len(told)


def test_an_asset_without_partitions_runs_once_in_a_run_of_several(api: Any, source: Callable[..., Any]) -> None:
    serve(api, every(timedelta(hours=6), "2024-01-01T00:00+00:00", "2024-01-04T00:00+00:00"))
    api.route("/shops", [{"id": 1}])
    house = source(events(DAILY), "shops")
    house.each(house.run("shops", "events", between=("2024-01-01", "2024-01-02")), "events")
    assert len(api.seen("/shops")) == 1
    assert house.query("SELECT count(*) FROM tracker.shops") == [(1,)]


def test_a_run_without_a_partition_is_refused(
    api: Any, source: Callable[..., Any], failure_of: Callable[..., str]
) -> None:
    house = source(events(DAILY))
    assert "the asset has partitions, and the run names none" in failure_of(house.run("events"))
    assert api.requests == []
