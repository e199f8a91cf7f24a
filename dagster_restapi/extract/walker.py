"""From plans to walks: renders requests, and walks a resource in memory with the parents that it needs."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dagster_restapi.config.placeholders import Placeholder, Scope, render, render_path
from dagster_restapi.errors import ExtractError
from dagster_restapi.extract.incremental import Range
from dagster_restapi.extract.parents import Frozen, ParentRow, Unseen, freeze_rows, included, parent_rows
from dagster_restapi.extract.steps import process, rows_of
from dagster_restapi.http.origin import named_origin
from dagster_restapi.http.session import Call, Session
from dagster_restapi.http.walk import Walk
from dagster_restapi.model import Parent, Plan, Slice
from dagster_restapi.secrets import guard_logger

_log = logging.getLogger("dagster_restapi.extract")
guard_logger(_log.name)


class Walker:
    """Walks the resources of one source with one session.

    Args:
        plans: All resources of the source, by name.
        session: Shared by every thread of the step.
        stored: Reads the rows of a parent from its table; None: every parent is walked in memory.
    """

    def __init__(
        self,
        plans: Mapping[str, Plan],
        session: Session,
        stored: Callable[[Plan, Parent], Iterator[ParentRow]] | None = None,
    ) -> None:
        self.plans, self.session, self._stored = plans, session, stored

    def walk(self, plan: Plan, slice_: Slice, row: ParentRow | None, range_: Range | None) -> Walk:
        """The walk over one resource's pages, for one row of its parent where it has one."""
        endpoint = plan.endpoint
        assert endpoint is not None, f"{plan.name} has rows of its own, and no endpoint"
        return Walk(
            self.session,
            self.call(plan, slice_, row, range_),
            paginator=endpoint.paginator,
            data_selector=endpoint.data_selector,
            rules=endpoint.rules,
            missing_data=endpoint.missing_data or "fail",
            on_short_total=endpoint.on_short_total or "warn",
            retry=endpoint.retry,
            key=plan.table.primary_key,
            where=f"resource {plan.name}" + (f", parent {row.label}" if row else ""),
        )

    def call(self, plan: Plan, slice_: Slice, row: ParentRow | None, range_: Range | None) -> Call:
        """The first request, its placeholders replaced."""
        endpoint = plan.endpoint
        assert endpoint is not None, f"{plan.name} has rows of its own, and no endpoint"
        scope = Scope(
            resources={plan.parent.resource: row.key} if plan.parent and row else {},
            incremental=range_.placeholders if range_ else {},
            partition=partition_values(slice_),
        )
        path, encoded = render_path(endpoint.path or "", scope)
        return Call(
            method=endpoint.method,
            url=self.session.url(path),
            params=render(endpoint.params or {}, scope),
            headers=render(endpoint.headers or {}, scope),
            json=render(endpoint.json_body, scope),
            data=render(endpoint.data, scope),
            auth=endpoint.auth,
            named=named_origin(endpoint.path or ""),
            object_params=endpoint.object_params,
            remark=_slash_remark(encoded[0]) if encoded else "",
        )

    def records(self, plan: Plan, slice_: Slice, *, max_pages: int | None = None) -> Iterator[dict[str, Any]]:
        """The records of a resource one after another, parents walked in memory; nothing is kept.

        What a person should know of a page, such as that a rule cut the walk short, is logged as a warning.

        Args:
            max_pages: Pages of each walk at the most.
        """
        where = f"resource {plan.name}"
        if plan.endpoint is None:
            for page in rows_of(plan.rows, where):
                yield from process(page, plan.steps, {}, where)
            return
        for row in self._parents(plan, slice_):
            range_ = Range.of(plan.endpoint.incremental, slice_, None, where) if plan.endpoint.incremental else None
            for answer in self.walk(plan, slice_, row, range_).pages(max_pages=max_pages):
                for warning in answer.warnings:
                    _log.warning("%s: %s", plan.name, warning)
                records = process(answer.records, plan.steps, included(plan.parent, row), where)
                yield from range_.keep(records) if range_ else records
                if range_ and range_.finished:
                    break

    def first_page(self, plan: Plan, slice_: Slice) -> list[dict[str, Any]]:
        """The records of one page, for the first row on the first page of the parent where there is one.

        Raises:
            RestApiError: That page, or one that it needs, cannot be had.
        """
        where = f"resource {plan.name}"
        if plan.endpoint is None:
            return process(next(rows_of(plan.rows, where), []), plan.steps, {}, where)
        row = None
        if plan.parent:
            records = self.first_page(self.plans[plan.parent.resource], slice_)
            row = next(filter(None, parent_rows(records, plan.parent)), None)
            if row is None:
                raise ExtractError(
                    f"the first page of the parent {plan.parent.resource!r} has no row to ask with",
                    where=where,
                    hint=f"Check {plan.parent.resource!r} first.",
                )
        range_ = Range.of(plan.endpoint.incremental, slice_, None, where) if plan.endpoint.incremental else None
        page = self.walk(plan, slice_, row, range_).page()
        return process(page.records, plan.steps, included(plan.parent, row), where)

    def freeze_stored(self, plan: Plan, parent: Parent, path: Path) -> Frozen:
        """Copies all rows of a stored parent into a file, for a resource that is fetched within a step of its child."""
        assert self._stored, "a stored parent is read from its table"
        return freeze_rows(self._stored(plan, parent), path)

    def _parents(self, plan: Plan, slice_: Slice) -> Iterator[ParentRow | None]:
        """One row per distinct key of the parent; a single None where there is no parent."""
        parent = plan.parent
        if parent is None:
            yield None
            return
        if parent.stored and self._stored:
            yield from self._stored(plan, parent)
            return
        seen: set[tuple[Any, ...]] = set()
        fresh = dataclasses.replace(slice_, cursor=None, start_value=None, end_value=None)
        absent = Unseen(parent)
        for row in parent_rows(self.records(self.plans[parent.resource], fresh), parent, absent):
            if row is not None:
                key = tuple(map(repr, row.key.values()))
                if key not in seen:
                    seen.add(key)
                    yield row
        for warning in absent.warnings():
            _log.warning("%s: %s", plan.name, warning)


def _slash_remark(placeholder: Placeholder) -> str:
    several = placeholder._replace(reserved=True)
    return (
        f"the value of {placeholder} in the path holds a slash, which is sent encoded (%2F), as one segment; "
        f"where it is several segments, write {several}."
    )


def partition_values(slice_: Slice) -> dict[str, Any]:
    """What `{partition.…}` stands for in the requests of a slice."""
    values: dict[str, Any] = {}
    if slice_.partition is not None:
        values["key"] = slice_.partition
    if slice_.partition_keys:
        values["keys"] = dict(slice_.partition_keys)
    if slice_.window:
        values["start"], values["end"] = slice_.window.start, slice_.window.end
    return values
