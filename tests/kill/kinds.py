"""What is loaded while it is killed: one configuration for each disposition, and what its table must hold then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dagster_restapi.demo.tracker import Tracker

LOADS = 3  # of each life; the API changes between them
Marks = list[tuple[int, str]]  # id and time stamp of rows


def small_tracker() -> Tracker:
    """A sample API that is served in a few pages."""
    return Tracker(repositories=4, issues_per_repository=10, users=16)


def change(tracker: Tracker, number: int) -> None:
    """What happens at the API before the load of this number: rows come, change, and go; types change."""
    if number == 1:
        tracker.touch("issues", 3, {"title": "edited", "severity": 5})
        tracker.touch("issues", 7, {"labels": [], "matrix": [[1], [2, 3]]})
        tracker.delete("issues", 5)
        tracker.delete("comments", 2)
        tracker.touch("comments", 4, {"body": "edited", "updated_at": tracker.rows["comments"][4]["updated_at"]})
    elif number == 2:
        tracker.touch("issues", 3, {"severity": "high"})
        tracker.touch("issues", 9, {"labels": [{"id": "x", "name": "odd"}]})
        tracker.touch("comments", 4, {"likes": 3, "updated_at": tracker.rows["comments"][4]["updated_at"]})
        tracker.delete("users", 2)
    if number:
        tracker.add("issues", {"repository": "anvil"})
        tracker.add("comments", {"repository": "anvil", "issue_number": 1})
        tracker.touch("users", 3, {"name": f"name {number}"})


def _marks(rows: Sequence[Mapping[str, Any]]) -> Marks:
    return sorted((row["id"], row.get("updated_at") or row["created_at"]) for row in rows)


def _all_of(collection: Any) -> Callable[[Tracker], Marks]:
    return lambda tracker: _marks(tracker.listing(collection))


def _all_but_deleted(tracker: Tracker) -> Marks:
    """A merge by cursor learns of no deletion."""
    return [mark for mark in _marks(tracker.listing("issues")) if mark[0] != 5]


@dataclass(frozen=True)
class Kind:
    """One way to load.

    Attributes:
        resource: What is killed while it loads.
        before: Resources that it needs, loaded in the same run.
        tags: Of the run of each load: which partitions.
        truth: What the API says that the table holds at the end.
        current: The rows of the table that this is about, as SQL.
        repeats: Every load adds all rows again, so that a run more is a copy more.
    """

    resource: Mapping[str, Any]
    truth: Callable[[Tracker], Marks]
    before: tuple[Mapping[str, Any], ...] = ()
    tags: tuple[Mapping[str, str], ...] = ({},) * LOADS
    current: str = "true"
    repeats: bool = False
    assets: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        names = tuple(resource["name"] for resource in (*self.before, self.resource))
        object.__setattr__(self, "assets", names)

    @property
    def table(self) -> str:
        """The table that is looked at."""
        return str(self.resource["name"])

    def config(self, url: str) -> dict[str, Any]:
        """The configuration of a source with this resource."""
        return {"client": {"base_url": url}, "resources": [*self.before, self.resource]}


def _issues(**settings: Any) -> dict[str, Any]:
    endpoint = {
        "path": "issues",
        "params": {"sort": "created", "direction": "asc", "per_page": 10},
        "paginator": "header_link",
        **settings.pop("endpoint", {}),
    }
    return {"name": "issues", "primary_key": "id", "endpoint": endpoint, **settings}


_SINCE = {
    "params": {"sort": "updated", "direction": "asc", "since": "{incremental.start_value}", "per_page": 10},
    "incremental": {"cursor_path": "updated_at", "initial_value": "2024-01-01T00:00:00Z"},
}
_REPOSITORIES = {
    "name": "repositories",
    "primary_key": "id",
    "write_disposition": "replace",
    "endpoint": {
        "path": "repositories",
        "params": {"per_page": 2},
        "data_selector": "items",
        "paginator": {"type": "page_number", "base_page": 1, "total_path": "total_pages"},
    },
}
_DAYS = {"dagster/asset_partition_range_start": "2024-01-03", "dagster/asset_partition_range_end": "2024-01-06"}


def _in_days(tracker: Tracker) -> Marks:
    return [mark for mark in _marks(tracker.listing("comments")) if "2024-01-03" <= mark[1] < "2024-01-07"]


def _of_anvil(tracker: Tracker) -> Marks:
    """The last load was of this partition; a merge by cursor learns of no deletion."""
    return _marks([row for row in tracker.listing("issues") if row["repository"] == "anvil"])


KINDS: dict[str, Kind] = {
    "append by cursor": Kind(
        {
            "name": "events",
            "write_disposition": "append",
            "endpoint": {
                "path": "events",
                "params": {"since_id": "{incremental.start_value}", "limit": 20},
                "data_selector": "events",
                "paginator": {"type": "cursor", "cursor_path": "next_cursor", "cursor_param": "cursor"},
                "incremental": {"cursor_path": "id", "initial_value": 0},
            },
        },
        _all_of("events"),
    ),
    "append": Kind(
        {
            "name": "users",
            "write_disposition": "append",
            "endpoint": {
                "path": "users",
                "data_selector": "users",
                "paginator": {"type": "offset", "limit": 4, "total_path": "total"},
            },
        },
        lambda tracker: _marks(tracker.listing("users")),
        repeats=True,
    ),
    "replace": Kind(_issues(write_disposition="replace"), _all_of("issues")),
    "merge": Kind(_issues(write_disposition="merge", endpoint=_SINCE), _all_but_deleted, current="id <> 5"),
    "scd2": Kind(
        _issues(write_disposition={"disposition": "merge", "strategy": "scd2"}),
        _all_of("issues"),
        current="_restapi_valid_to IS NULL",
    ),
    "partition": Kind(
        _issues(
            write_disposition="merge",
            partitions={"type": "static", "keys": ["anvil", "bellows"]},
            endpoint=_SINCE | {"path": "repositories/{partition.key}/issues"},
        ),
        _of_anvil,
        tags=tuple({"dagster/partition": key} for key in ("bellows", "anvil", "anvil")),
        current="_restapi_partition = 'anvil' AND id NOT IN (5)",
    ),
    "range of windows": Kind(
        {
            "name": "comments",
            "write_disposition": "merge",
            "primary_key": "id",
            "partitions": {"type": "daily", "start": "2024-01-01"},
            "endpoint": {
                "path": "comments",
                "params": {"since": "{partition.start}", "until": "{partition.end}", "per_page": 5},
                "paginator": "header_link",
            },
        },
        _in_days,
        tags=(_DAYS,) * LOADS,
    ),
    "children": Kind(
        _issues(
            write_disposition="merge",
            endpoint=_SINCE | {"path": "repositories/{resources.repositories.name}/issues"},
            concurrency=2,
        ),
        _all_but_deleted,
        before=(_REPOSITORIES,),
        current="id <> 5",
    ),
}
