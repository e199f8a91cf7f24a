"""Several partitions in one run, as a backfill has them: one range of requests where the API takes one, a load each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from timeline import DAILY, PAIRS, TENANTS, content, counts, data_versions, events, every, of_tenants, serve

from dagster_restapi.assets import haul, state, step
from dagster_restapi.errors import OutOfMemory
from dagster_restapi.tables import stage

FIRST, LAST = "2024-01-01", "2024-01-05"
WEEK = every(timedelta(hours=6), "2024-01-01T00:00+00:00", "2024-01-08T00:00+00:00")


tables_load = haul.load


def days(first: int, last: int) -> list[str]:
    return [f"2024-01-{day:02}" for day in range(first, last + 1)]


def per_day(api: Any, rows: list[dict[str, Any]], broken: str | None = None) -> dict[str, Any]:
    """An API that gives a day's rows at that day's own path."""
    for day in days(1, 7):
        found = [row for row in rows if row["at"].startswith(day)]
        api.route(f"/days/{day}", (500, {}) if day == broken else found)
    endpoint = {"path": "days/{partition.key}", "data_selector": "$"}
    return {"name": "events", "endpoint": endpoint, "partitions": DAILY}


# ---- one range ---------------------------------------------------------------------------------------------------
def test_time_windows_are_one_run_by_default_and_keys_a_run_each(source: Callable[..., Any]) -> None:
    [time] = source(events(DAILY)).assets()
    assert time.backfill_policy == dg.BackfillPolicy.single_run()
    [static] = source(events(TENANTS)).assets()
    assert static.backfill_policy is None, "Dagster then makes a run for each"
    several = source(events(DAILY), backfill_policy=dg.BackfillPolicy.multi_run(7)).assets()
    assert several[0].backfill_policy == dg.BackfillPolicy.multi_run(7)


def test_one_range_of_requests_brings_every_partition_and_each_gets_a_load_and_an_event(
    api: Any, source: Callable[..., Any]
) -> None:
    serve(api, WEEK)
    house = source(events(DAILY))
    told = house.each(house.run("events", between=(FIRST, LAST)), "events")
    [request] = api.requests
    assert request.query == {"since": "2024-01-01T00:00:00Z", "until": "2024-01-06T00:00:00Z"}
    assert list(told) == days(1, 5)
    for day, one in told.items():
        assert (one["rows_loaded"], one["dagster/partition_row_count"]) == (4, 4)
        assert one["window_start"] == f"{day}T00:00:00Z"
        assert (one["requests"], one["fetched_together"], one["rows_out_of_range"]) == (1, 5, 1)
        assert f"| {WEEK[days(1, 5).index(day) * 4]['id']} |" in one["preview"].replace("\\", ""), "its own rows"
    assert len({one["load_id"] for one in told.values()}) == 5
    assert counts(house) == dict.fromkeys(days(1, 5), 4)
    loads = house.query("SELECT partition, rows FROM tracker._restapi_loads ORDER BY partition")
    assert loads == [(day, 4) for day in days(1, 5)]


def test_a_range_that_needs_more_memory_goes_on_at_the_part_that_needed_it(
    api: Any, source: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def needy(*args: Any, **options: Any) -> Any:
        key = args[2].partition
        loaded.append(key)
        if loaded == days(1, 3):
            raise OutOfMemory("there was too little")
        return tables_load(*args, **options)

    monkeypatch.setattr(stage, "room_for", lambda schema, size: 4_000_000)  # too little already for what is staged
    monkeypatch.setattr(haul, "load", needy)
    serve(api, WEEK)
    house = source(events(DAILY))
    told = house.each(house.run("events", between=(FIRST, LAST)), "events")
    assert loaded == [*days(1, 3), *days(3, 5)]
    assert list(told) == days(1, 5)
    assert counts(house) == dict.fromkeys(days(1, 5), 4)
    assert len(api.requests) == 1


@pytest.mark.parametrize("disposition", ["append", "replace", "merge"])
def test_a_range_gives_what_its_partitions_give_one_by_one(
    api: Any, source: Callable[..., Any], disposition: str
) -> None:
    rows = [{**row, "tags": ["a", row["at"]], "by": {"id": row["id"]}} for row in WEEK]
    serve(api, rows)
    house = source(events(DAILY, write_disposition=disposition, primary_key="id"))
    house.each(house.run("events", between=(FIRST, LAST)), "events")
    wanted = "SELECT id, at, by__id, _restapi_row_hash, _restapi_partition FROM tracker.events ORDER BY ALL"
    below = "SELECT value, _restapi_index, _restapi_partition FROM tracker.events__tags ORDER BY ALL"
    together = house.query(wanted.replace(" at,", ' "at",')), house.query(below)
    house.instance.wipe_assets([dg.AssetKey("events")])
    for day in days(1, 5):
        house.load("events", partition=day)
    assert together == (house.query(wanted.replace(" at,", ' "at",')), house.query(below))


def test_a_range_three_times_changes_nothing(api: Any, source: Callable[..., Any]) -> None:
    serve(api, WEEK)
    house = source(events(DAILY))
    house.each(house.run("events", between=(FIRST, LAST)), "events")
    before, versions = content(house), data_versions(house)
    for _ in range(2):
        told = house.each(house.run("events", between=(FIRST, LAST)), "events")
        assert {one["rows_loaded"] for one in told.values()} == {0}
    assert content(house) == before
    assert data_versions(house) == versions


def test_only_the_partitions_that_changed_have_a_new_data_version(api: Any, source: Callable[..., Any]) -> None:
    serve(api, WEEK)
    house = source(events(DAILY))
    house.load("events", partition="2024-01-02")  # a version of its own
    house.each(house.run("events", between=(FIRST, LAST)), "events")
    before = data_versions(house)
    assert len(set(before.values())) == 2
    serve(api, [row for row in WEEK if row["id"] != 12])
    house.each(house.run("events", between=(FIRST, LAST)), "events")
    after = data_versions(house)
    assert {day for day in before if before[day] != after[day]} == {"2024-01-03"}


def test_rows_that_come_unsorted_and_on_many_pages_find_their_partitions(api: Any, source: Callable[..., Any]) -> None:
    rows = sorted(WEEK, key=lambda row: row["id"] * 7919 % 31)
    api.route("/events", lambda request: rows[int(request.query["page"]) * 3 :][:3])
    resource = events(DAILY)
    resource["endpoint"] |= {"paginator": {"type": "page_number", "total_path": None}, "data_selector": "$"}
    house = source(resource)
    house.each(house.run("events", between=(FIRST, LAST)), "events")
    assert counts(house) == dict.fromkeys(days(1, 5), 4)


def test_windows_with_the_same_key_beside_them_are_one_range(api: Any, source: Callable[..., Any]) -> None:
    for name in ("eu", "us"):
        serve(api, [{**row, "who": name} for row in WEEK], f"/{name}/events")
    house = source(
        of_tenants(PAIRS, write_disposition="merge", primary_key="id"),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    between = tuple(dg.MultiPartitionKey({"day": f"2024-01-0{day}", "tenant": "eu"}) for day in (1, 3))
    told = house.each(house.run("events", between=(between[0], "2024-01-03|us")), "events")
    assert len(told) == 6
    assert [request.path for request in api.requests] == ["/eu/events", "/us/events"]
    assert {request.query["until"] for request in api.requests} == {"2024-01-04T00:00:00Z"}
    assert counts(house) == {f"{day}|{name}": 4 for day in days(1, 3) for name in ("eu", "us")}
    [event] = house.instance.fetch_materializations(dg.AssetKey("events"), limit=1).records
    assert isinstance(event.partition_key, str)


# ---- a request set for each --------------------------------------------------------------------------------------
def test_a_request_that_names_the_partition_is_made_for_each(api: Any, source: Callable[..., Any]) -> None:
    house = source(per_day(api, WEEK))
    told = house.each(house.run("events", between=(FIRST, LAST)), "events")
    assert [request.path for request in api.requests] == [f"/days/{day}" for day in days(1, 5)]
    assert {one["requests"] for one in told.values()} == {1}
    assert not any("fetched_together" in one for one in told.values())
    assert counts(house) == dict.fromkeys(days(1, 5), 4)
    assert api.connections == 1, "one session for the whole run"


def test_rows_without_a_cursor_belong_to_the_request_that_brought_them(api: Any, source: Callable[..., Any]) -> None:
    """Then one range cannot tell whose they are."""
    api.route("/events", [{"id": 1, "at": None}, {"id": 2, "at": "2024-01-02T00:00:00Z"}])
    resource = events(DAILY)
    resource["endpoint"] = {
        "incremental": {**resource["endpoint"]["incremental"], "on_cursor_value_missing": "include"}
    }
    house = source(resource)
    house.each(house.run("events", between=(FIRST, "2024-01-02")), "events")
    assert len(api.requests) == 2
    assert counts(house) == {"2024-01-01": 1, "2024-01-02": 2}


def test_max_pages_counts_for_each_partition(api: Any, source: Callable[..., Any]) -> None:
    serve(api, WEEK)
    house = source(events(DAILY))
    house.each(house.run("events", between=(FIRST, LAST), max_pages=1), "events")
    assert counts(house) == dict.fromkeys(days(1, 5), 4)


# ---- failures ----------------------------------------------------------------------------------------------------
def test_a_failed_partition_leaves_the_finished_ones_done_with_their_events(
    api: Any, source: Callable[..., Any]
) -> None:
    house = source(per_day(api, WEEK, broken="2024-01-03"))
    assert not house.run("events", between=(FIRST, LAST)).success
    assert counts(house) == dict.fromkeys(days(1, 2), 4)
    found = house.instance.fetch_materializations(dg.AssetKey("events"), limit=10).records
    rows = {one.partition_key: one.asset_materialization.metadata["dagster/partition_row_count"].value for one in found}
    assert (rows, len(found)) == (dict.fromkeys(days(1, 2), 4), 2)
    assert set(data_versions(house)) == set(days(1, 2))


def test_a_load_that_fails_in_the_midst_of_a_range_leaves_those_before_it_done(
    api: Any, source: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(api, WEEK)
    house = source(events(DAILY))
    with monkeypatch.context() as patch:
        patch.setattr(haul, "load", _fails_at("2024-01-03"))
        failed = house.run("events", between=(FIRST, LAST))
    assert not failed.success
    assert counts(house) == dict.fromkeys(days(1, 2), 4)
    assert house.instance.get_materialized_partitions(dg.AssetKey("events")) == set(days(1, 2))
    house.each(house.run("events", between=(FIRST, LAST), again=failed, resume=True), "events")
    assert len(api.requests) == 1, "what was fetched is still there"
    assert counts(house) == dict.fromkeys(days(1, 5), 4)
    assert house.query("SELECT count(*) FROM tracker._restapi_loads") == [(5,)]
    assert not list(house.database.parent.glob("*.spool/*/journal"))


def _fails_at(partition: str) -> Callable[..., Any]:
    """The disk is full as soon as that partition is to be loaded."""

    def load(target: Any, plan: Any, slice_: Any, *args: Any, **options: Any) -> Any:
        if slice_.partition == partition:
            raise OSError(28, "No space left on device")
        return tables_load(target, plan, slice_, *args, **options)

    return load


def test_a_re_execution_from_the_failure_goes_on_behind_what_is_loaded(api: Any, source: Callable[..., Any]) -> None:
    house = source(per_day(api, WEEK, broken="2024-01-03"))
    failed = house.run("events", between=(FIRST, LAST))
    assert not failed.success
    per_day(api, WEEK)
    api.requests.clear()
    again = house.run("events", between=(FIRST, LAST), again=failed, resume=True)
    told = house.each(again, "events")
    assert [request.path for request in api.requests] == [f"/days/{day}" for day in days(3, 5)]
    assert counts(house) == dict.fromkeys(days(1, 5), 4)
    assert {day: one["dagster/partition_row_count"] for day, one in told.items()} == dict.fromkeys(days(1, 5), 4)
    api.requests.clear()
    house.each(house.run("events", between=(FIRST, LAST), again=failed), "events")
    assert len(api.requests) == 5, "all of it again asks again"


# ---- parents -----------------------------------------------------------------------------------------------------
def test_a_child_with_equal_partitions_reads_each_its_own_parent_partition(
    api: Any, source: Callable[..., Any]
) -> None:
    serve(api, WEEK, "/shops")
    for row in WEEK:
        serve(
            api,
            [{"shop": row["id"], "at": row["at"]}, {"shop": row["id"], "at": "2024-01-02T01:00:00Z"}],
            f"/shops/{row['id']}/sales",
        )
    shops = events(DAILY, name="shops")
    sales = events(DAILY, name="sales")
    sales["endpoint"] = {**sales["endpoint"], "path": "shops/{resources.shops.id}/sales", "data_selector": "$"}
    house = source(shops, sales)
    told = house.each(house.run("shops", "sales", between=(FIRST, "2024-01-03")), "sales")
    assert {day: one["parents"] for day, one in told.items()} == dict.fromkeys(days(1, 3), 4)
    found = house.query(
        "SELECT _restapi_partition, list(shop ORDER BY shop) FROM tracker.sales GROUP BY ALL ORDER BY ALL"
    )
    assert found == [
        ("2024-01-01", [1, 2, 3, 4]),
        ("2024-01-02", [5, 5, 6, 6, 7, 7, 8, 8]),
        ("2024-01-03", [9, 10, 11, 12]),
    ]


def test_sixty_daily_partitions_are_staged_once_and_need_few_reads(
    api: Any, source: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted, since a clock tells more of the machine than of the code."""
    rows = every(timedelta(hours=12), "2024-01-01T00:00+00:00", "2024-03-01T00:00+00:00")
    serve(api, rows)
    calls: dict[str, int] = {}

    def counted(module: Any, name: str) -> None:
        original = getattr(module, name)

        def counting(*args: Any, **options: Any) -> Any:
            calls[name] = calls.get(name, 0) + 1
            return original(*args, **options)

        monkeypatch.setattr(module, name, counting)

    for module, name in [
        (haul.Staging, "staged"),
        (haul, "load"),
        (step, "record_of"),
        (step, "previews"),
        (state, "newest_events"),
    ]:
        counted(module, name)
    house = source(events({**DAILY, "end": "2024-03-01"}))
    told = house.each(house.run("events", between=("2024-01-01", "2024-02-29")), "events")
    assert len(told) == 60
    assert len(api.requests) == 1
    assert calls == {"staged": 1, "load": 60, "record_of": 1, "previews": 1, "newest_events": 1}
    assert sum(counts(house).values()) == len(rows)
    assert max(one["locked_seconds"] for one in told.values()) < 2.0
    assert datetime.fromisoformat(told["2024-02-29"]["window_end"]).month == 3


def test_a_range_that_is_killed_goes_on_where_it_was_and_loads_every_partition_once(api: Any, tmp_path: Path) -> None:
    rows = every(timedelta(hours=6), "2024-01-01T00:00+00:00", "2024-01-11T00:00+00:00")
    points = ("in the fetch", "before load 4", "behind load 4", "before it tells")
    for number in range(len(points)):
        api.route(f"/{number}/events", lambda request: rows[(int(request.query["page"]) - 1) * 5 :][:5])
    script = Path(__file__).with_name("killed_ranges.py")
    done = subprocess.run([sys.executable, script, tmp_path, api.url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for number, point in enumerate(points):
        asked = [int(request.query["page"]) for request in api.seen(f"/{number}/events")]
        assert sorted(set(asked)) == list(range(1, 10)), point
        assert len(asked) <= 10, f"killed {point}: one page at the most is asked for twice"
        with duckdb.connect(str(tmp_path / str(number) / "events.duckdb"), read_only=True) as connection:
            found = connection.execute(
                "SELECT _restapi_partition, count(*) FROM tracker.events GROUP BY ALL ORDER BY 1"
            )
            assert found.fetchall() == [(day, 4) for day in days(1, 10)], point
            loads = connection.execute("SELECT count(DISTINCT partition), count(*) FROM tracker._restapi_loads")
            assert loads.fetchone() == (10, 10), point
        with dg.DagsterInstance.local_temp(str(tmp_path / str(number))) as instance:
            told = instance.fetch_materializations(dg.AssetKey("events"), limit=50).records
            assert {one.partition_key for one in told} == set(days(1, 10)), point
        assert not list((tmp_path / str(number)).glob("*.spool/*/journal")), point
