"""The workloads: what is loaded, by whom, and what a right result is. Imports nothing that a contender may lack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.pages import (
    CHILDREN_EACH,
    FLAT_ROWS,
    MILLION_ROWS,
    NESTED_ROWS,
    PARENTS,
    SLOW_PAGES,
    SLOW_PER_PAGE,
)
from benchmarks.server import LATENCY

_LINKED = {"paginator": {"type": "json_link", "next_url_path": "next"}, "data_selector": "results"}
_COUNTED = {
    "paginator": {"type": "page_number", "base_page": 1, "total_path": "total_pages"},
    "data_selector": "results",
}
_CHANGES = {
    "primary_key": "id",
    "write_disposition": "merge",
}
_SINCE = {"incremental": {"cursor_path": "updated_at", "start_param": "since", "initial_value": "2024-01-01T00:00:00Z"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One task, the same for every contender.

    Attributes:
        resources: As dlt's `rest_api` and this library take them; the last one is measured.
        prepare: Contenders first load this in a run that is not measured; names of resources. Every measured run starts
            from a copy of its result.
        rows: Of the last resource's table afterwards.
        warm: Paths that the server makes before anyone asks for them.
        seconds: Latency × calls ÷ workers, where latency is what counts.
        rounds: How often it takes its turn while others do once: what is short is noisy.
    """

    name: str
    title: str
    resources: tuple[Mapping[str, Any], ...]
    rows: int
    prepare: tuple[str, ...] = ()
    warm: tuple[str, ...] = ()
    seconds: float | None = None
    rounds: int = 1

    @property
    def resource(self) -> str:
        """The resource that is measured."""
        return str(self.resources[-1]["name"])

    def source(self, url: str) -> dict[str, Any]:
        """The configuration."""
        return {"client": {"base_url": url}, "resources": [dict(resource) for resource in self.resources]}


CHILD_WORKERS, PAGE_WORKERS = 16, 8

_flat = {"name": "flat", "endpoint": {"path": "flat", **_LINKED}}
_nested = {"name": "nested", "endpoint": {"path": "nested", **_LINKED}}
_million = {"name": "million", "endpoint": {"path": "million", **_LINKED}}
_parents = {"name": "parents", "endpoint": {"path": "parents", **_LINKED}}
_children = {
    "name": "children",
    "endpoint": {
        "path": "parents/{resources.parents.id}/children",
        "paginator": "single_page",
        "data_selector": "results",
    },
}

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(name="flat", title="50,000 flat rows, 500 pages", resources=(_flat,), rows=FLAT_ROWS, warm=("flat",)),
        Workload(
            name="nested",
            title="50,000 nested records of 1.8 kB, two child tables",
            resources=(_nested,),
            rows=NESTED_ROWS,
            warm=("nested",),
        ),
        Workload(
            name="million",
            title="1,000,000 flat rows, 1,000 pages",
            resources=(_million,),
            rows=MILLION_ROWS,
            warm=("million",),
        ),
        Workload(
            name="merge",
            title="100,000 changed rows merged into 1,000,000",
            resources=({**_million, **_CHANGES, "endpoint": {"path": "million", **_LINKED, **_SINCE}},),
            prepare=("million",),
            rows=MILLION_ROWS,
            warm=("million",),
        ),
        Workload(
            name="nothing_new",
            title="incremental run with nothing new",
            rounds=3,
            resources=({**_flat, **_CHANGES, "endpoint": {"path": "flat", **_LINKED, **_SINCE}},),
            prepare=("flat",),
            rows=FLAT_ROWS,
            warm=("flat",),
        ),
        Workload(
            name="children",
            title=f"1,000 children at 30 ms, {CHILD_WORKERS} workers",
            resources=(_parents, {**_children, "parallelized": True}),
            prepare=("parents",),
            rows=PARENTS * CHILDREN_EACH,
            warm=("parents", *(f"parents/{parent}/children" for parent in range(PARENTS))),
            seconds=LATENCY * PARENTS / CHILD_WORKERS,
        ),
        Workload(
            name="pages",
            title=f"500 pages at 30 ms, {PAGE_WORKERS} workers",
            resources=({"name": "slow", "endpoint": {"path": "slow", **_COUNTED}},),
            rows=SLOW_PAGES * SLOW_PER_PAGE,
            warm=("slow",),
            seconds=LATENCY * SLOW_PAGES / PAGE_WORKERS,
        ),
    )
}
