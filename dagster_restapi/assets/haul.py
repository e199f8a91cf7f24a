"""What one fetch brings, a slice or several windows that follow each other: stand, fetch, load."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from dagster_restapi.assets.partitions import Part
from dagster_restapi.assets.run_config import Parents
from dagster_restapi.assets.state import Past, Standing, stand
from dagster_restapi.config.columns import key_path
from dagster_restapi.config.environment import environment_of
from dagster_restapi.config.fingerprint import fingerprint
from dagster_restapi.errors import (
    CommitInDoubt,
    ConfigError,
    ExtractError,
    LedgerConflict,
    OutOfMemory,
    PartError,
    RowsError,
    TableError,
)
from dagster_restapi.extract.fetch import Fetch
from dagster_restapi.extract.incremental import fault_of_window, has_other_order
from dagster_restapi.extract.parents import Frozen, ParentRow, read_parents
from dagster_restapi.extract.walker import Walker
from dagster_restapi.http.session import Session
from dagster_restapi.model import (
    NO_CONDITIONS,
    Conditions,
    Fetched,
    JsonScalar,
    LoadResult,
    Parent,
    Plan,
    Slice,
    TablePlan,
    Window,
)
from dagster_restapi.slice_state import ParentKey, SliceRules
from dagster_restapi.spool import Spool, keyed_hash
from dagster_restapi.tables.ledger import cursor_summary, find_load, parent_cursors, read_back
from dagster_restapi.tables.load import check_layout, load, other_layout, root_exists, way_out
from dagster_restapi.tables.parents import copy_parent_rows
from dagster_restapi.tables.stage import Staged, Staging
from dagster_restapi.tables.standing import as_it_stands, brings_nothing
from dagster_restapi.tables.target import Target, Turns, may_pass

if TYPE_CHECKING:
    from dagster_restapi.assets.step import Step

_PARENTS: Mapping[Parents, Literal["all", "changed"] | None] = {
    Parents.default: None,
    Parents.all: "all",
    Parents.changed: "changed",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A slice that is in its tables.

    Attributes:
        together: How many partitions the numbers of `fetched` are for: those that one range of requests brought.
        stands: All that was fetched stood there already, so that there was no load: `result` tells of the newest one.
        owed: Parents whose rows are still to come.
    """

    part: Part
    standing: Standing
    fetched: Fetched
    result: LoadResult
    together: int = 1
    stands: bool = False
    owed: tuple[ParentKey, ...] = ()


class Haul:
    """Fetches one slice, or windows that follow each other by one range of requests; loads them one by one.

    Args:
        parts: The slice, or the windows in their order.
        past: What is known of the asset from before the run.
        session: Of the step.
        stop: Ends the fetch.
    """

    def __init__(self, step: Step, parts: Sequence[Part], past: Past, session: Session, stop: threading.Event) -> None:
        self._step, self._parts, self._past, self._session, self._stop = step, parts, past, session, stop
        self._plan, self._config = step.plan, step.config
        self._first = parts[0]
        self._by_window = self._first.window is not None
        self._standings = {
            part.key: stand(past, part.key, by_window=self._by_window, full_refresh=self._config.full_refresh)
            for part in parts
        }
        self._rules = {part.key: self._rules_of(part) for part in parts}

    def run(self) -> Iterator[Loaded]:
        """Fetches and loads; of a load that an earlier try of this run has committed it only tells."""
        due = []
        for number, part in enumerate(self._parts):
            standing = self._standings[part.key]
            if standing.told and standing.newest is not None:
                newest = standing.newest
                self._step.say(f"{self._plan.name}: load {newest.load_id} of this run is in the tables already")
                fetched = msgspec.convert(newest.tell["fetched"], Fetched)
                yield Loaded(part, standing, fetched, read_back(newest), len(self._parts), owed=newest.failed_parents)
            else:
                due.append((number, part))
        if due:
            yield from self._fetch_and_load(due)
        elif (self._step.io.spool_root / self._spool_name).exists():  # the try was stopped before it could remove it
            self._open_spool().remove()

    # ---- the slice -----------------------------------------------------------------------------------------------
    def _rules_of(self, part: Part) -> SliceRules:
        standing, parent = self._standings[part.key], self._plan.parent
        return SliceRules(
            plan=self._plan,
            asked=self._asked(part),
            newest=standing.newest,
            conditions=standing.newest.conditions if standing.newest else NO_CONDITIONS,
            rebuild=standing.rebuild,
            unreported=standing.unreported,
            parent_has_cursor=parent is not None and self._step.plans[parent.resource].incremental is not None,
            parent_key=", ".join(f"{parent.resource}.{name}" for name in sorted(parent.fields)) if parent else "",
        )

    def _slice(self, part: Part) -> Slice:
        rules = self._rules[part.key]
        return replace(rules.asked, cursor=rules.cursor)

    def _asked(self, part: Part) -> Slice:
        """What the run asks for, with the cursor as the slice has it."""
        standing, config = self._standings[part.key], self._config
        return Slice(
            asset=self._step.asset,
            partition=part.key,
            partition_keys=part.keys,
            window=part.window,
            scope=part.scope,
            layout=self._step.layout,
            cursor=standing.cursor,
            start_value=config.start_value,
            end_value=config.end_value,
            full_refresh=config.full_refresh,
            max_pages=config.max_pages,
            parents=_PARENTS[config.parents],
            run_id=self._past.run_id,
            root_run_id=self._past.root_run_id,
            wipe=standing.wipe,
        )

    def _whole(self) -> Slice:
        """The slice that is fetched: of several windows, the time from the first to the last."""
        first = self._slice(self._first)
        stretch = tuple((str(part.key), part.window) for part in self._parts if part.window)
        if len(stretch) <= 1:
            return first
        window = Window(start=stretch[0][1].start, end=stretch[-1][1].end)
        keys = {name: key for name, key in self._first.keys.items() if name != self._first.clock}
        return replace(first, partition=None, partition_keys=keys, window=window, stretch=stretch)

    @cached_property
    def _spool_name(self) -> str:
        """The name of the spool: what it is fetched for, without secrets. The same for every try of one run."""
        config, before = self._config, self._past.record.before
        identity = [
            self._step.asset,
            [(part.key, before.get(part.key)) for part in self._parts],
            self._plan.fingerprint,
            self._plan.table.request_fields,
            self._step.layout,
            self._past.wipe,
            config.start_value,
            config.end_value,
            config.full_refresh,
            config.max_pages,
            config.parents.value,
            *self._environment,
        ]
        return sha256(msgspec.json.encode(identity)).hexdigest()[:32]

    @property
    def _environment(self) -> list[str]:
        """The environment variables that requests are made of, with their values as a hash that gives none away.

        An attempt that finds other values asks another address, tenant or account: nothing that was fetched before
        belongs to what it fetches.
        """
        values = environment_of(self._plan.client, *(plan.endpoint for plan in self._fetched_plans))
        return [keyed_hash(self._step.io.spool_root, values)] if values else []

    @property
    def _fetched_plans(self) -> list[Plan]:
        """The plans of all that the slice is asked for with: its own, and those of parents without a table."""
        plans = [self._plan]
        while (parent := plans[-1].parent) and not parent.stored:
            plans.append(self._step.plans[parent.resource])
        return plans

    @property
    def _may_fetch_again(self) -> bool:
        """Whether a further try may send again what is not kept: no POST that nobody called idempotent is among it."""
        endpoints = [plan.endpoint for plan in self._fetched_plans if plan.endpoint]
        return all(self._session.may_repeat(endpoint.method, endpoint.retry) for endpoint in endpoints)

    def _open_spool(self) -> Spool:
        """The slice's spool; what another run left in it only where the rules say so."""
        io = self._step.io
        return Spool.open(
            io.spool_root,
            self._spool_name,
            root_run_id=self._past.root_run_id,
            resume_within=io.resume_within,
            shared=self._rules[self._first.key].another_run_may_resume,
        )

    def _since(self, slice_: Slice) -> str:
        """Where the slice goes on and who said so, in words."""
        if self._plan.incremental is None or self._plan.parent is not None or slice_.window:
            return ""
        at = f"from {slice_.cursor.value} on" if slice_.cursor else "from the beginning on"
        at = "in the window given by hand" if slice_.by_hand else at
        return f"{at} ({self._standings[self._first.key].source})"

    # ---- before the first request --------------------------------------------------------------------------------
    def _check(self, due: Sequence[tuple[int, Part]]) -> None:
        """What would fail, or load the wrong rows, once everything is fetched."""
        last = self._past.record.last
        if last is not None:
            check_layout(self._slice(self._first), last)
        for _, part in due:
            self._check_cursor_path(self._rules[part.key])
            self._check_by_hand(part)

    def _check_cursor_path(self, rules: SliceRules) -> None:
        """A cursor says nothing of the values at another path, or beyond it: rows would be out of range for ever.

        A load of a version that did not note path and direction is taken for one of the same.
        """
        settings, before = self._plan.incremental, rules.conditions
        if settings is None or rules.begins_anew or not (rules.asked.cursor or self._plan.parent):
            return
        fault = ""
        if before.cursor_path is not None and key_path(settings.cursor_path) != key_path(before.cursor_path):
            fault = (
                f"the cursor is a value at {before.cursor_path!r}, and `cursor_path` is {settings.cursor_path!r} now"
            )
        elif before.cursor_direction not in (None, settings.last_value_func):
            fault = f"the cursor is the {before.cursor_direction} of the values, and `last_value_func` is "
            fault += f"{settings.last_value_func!r} now"
        elif has_other_order(settings, before.cursor_format, rules.asked.cursor):
            known = "text" if before.cursor_format is None else repr(before.cursor_format)
            fault = f"the cursor was found among values compared as {known}, and `cursor_format` is "
            fault += f"{settings.cursor_format!r} now" if settings.cursor_format else "not set now"
        if fault:
            raise ExtractError(
                fault,
                where=f"asset {self._step.asset}",
                hint="Run it with `full_refresh: true`, or put the setting back.",
            )

    def _check_by_hand(self, part: Part) -> None:
        """An API that is asked for an impossible window tends to answer with no rows, which looks like success."""
        incremental, slice_ = self._plan.incremental, self._slice(part)
        if incremental is None or not slice_.by_hand:
            return
        settings = incremental.filled()
        cursor = self._standings[part.key].cursor
        stored = cursor.value if cursor else cursor_summary(self._step.target, slice_.asset, part.key).maximum
        fault = fault_of_window(settings, slice_, settings.initial_value if stored is None else stored)
        if fault:
            raise ConfigError(fault, where=f"run config of {slice_.asset}")

    # ---- fetch and load ------------------------------------------------------------------------------------------
    def _fetch_and_load(self, due: Sequence[tuple[int, Part]]) -> Iterator[Loaded]:
        self._check(due)
        slice_ = self._whole()
        target, say = self._step.target, self._step.say
        with self._open_spool() as spool, Staging(target, self._plan.table, slice_, spool, say) as staging:
            walker = Walker(
                self._step.plans, self._session, stored=lambda child, parent: self._stored_rows(child, parent, spool)
            )
            fetched = Fetch(
                walker,
                self._plan,
                slice_,
                spool,
                stored_parents=self._copy_parents,
                cursors=self._cursors_by_parent,
                owed=self._rules[self._first.key].owed_parents,
                hash_by_parent=self._rules[self._first.key].hashes_by_parent,
                since=self._since(slice_),
                tell=say,
                stop=self._stop,
                meanwhile=staging.advance,
            ).run()
            stands = self._as_it_stands(slice_, spool, fetched)
            if stands:
                yield stands
            else:
                yield from self._load_with_room(due, slice_, spool, fetched, staging)
            spool.remove()

    def _as_it_stands(self, slice_: Slice, spool: Spool, fetched: Fetched) -> Loaded | None:
        """The result without a load, where one of this spool would leave all rows as the newest load left them.

        Such a run leaves the database alone: nobody waits for its lock, and the ledger stays short.
        """
        standing, last = self._standings[self._first.key], self._past.record.last
        newest, plain = standing.newest, self._plan.incremental is not None and self._plan.parent is None
        if newest is None or last is None or self._by_window or not plain or not fetched.complete or slice_.by_hand:
            return None
        rules = self._rules[self._first.key]
        replaces = standing.rebuild or rules.replaces_all
        same = newest.conditions == self._conditions(rules, fetched) and not other_layout(slice_, last)
        if replaces or not same or not brings_nothing(spool, fetched, newest):
            return None
        return Loaded(self._first, standing, fetched, as_it_stands(fetched, newest, last), stands=True)

    def _conditions(self, rules: SliceRules, fetched: Fetched) -> Conditions:
        plan = self._plan
        return rules.conditions_after(
            fetched,
            settings=fingerprint(plan.fingerprint, plan.preview, *plan.table.request_fields),
            tables=fingerprint(plan.table),
            records=fingerprint(_shapes_records(plan)),
        )

    def _load_with_room(
        self, due: Sequence[tuple[int, Part]], slice_: Slice, spool: Spool, fetched: Fetched, staging: Staging
    ) -> Iterator[Loaded]:
        left = list(due)
        while left:
            try:
                yield from self._load_all(left, slice_, spool, fetched, staging)
            except OutOfMemory as error:
                staging.more_room(error)
            except CommitInDoubt as error:
                yield self._settled(left, fetched, error)
            except RowsError:
                spool.keep_from_others()  # the API may have mended them by the next run
                raise
            except PartError as error:
                passes = not fetched.failed_parents or any(unit.facts.get("may_pass") for unit in spool.units.values())
                error.transient &= passes and self._may_fetch_again
                spool.remove()  # what is missing in it is asked for by the next try
                raise
            except LedgerConflict as error:
                error.transient &= self._may_fetch_again
                raise

    def _load_all(
        self, left: list[tuple[int, Part]], slice_: Slice, spool: Spool, fetched: Fetched, staging: Staging
    ) -> Iterator[Loaded]:
        """Loads part after part, and takes those that are done off the list."""
        with staging.staged() as staged, self._step.target.turns(staged.engine, self._step.say) as turns:
            while left:
                number, part = left[0]
                if slice_.stretch:
                    own = staged.only(number)
                    name = f"{spool.load_id}-{number:04d}"
                    share = replace(fetched, load_id=name, rows=own.rows[()] + own.twins)
                    loaded = self._load(part, spool, share, own, turns)
                else:
                    loaded = self._load(part, spool, fetched, staged)
                left.pop(0)
                yield loaded

    def _settled(self, left: list[tuple[int, Part]], fetched: Fetched, doubt: CommitInDoubt) -> Loaded:
        """What became of a load whose commit met a fault, by the ledger (2).

        Raises:
            TableError: It is not in the tables; or the ledger cannot be read, so that this is not known.
        """
        fault = doubt.fault.splitlines()[0]
        try:
            row = find_load(self._step.target, doubt.load_id)
        except TableError as error:
            self._step.say(f"{self._plan.name}: the ledger cannot be read: {error.what}")
            raise doubt from None
        if row is None:
            kept = "The tables are as they were, and the spool is kept, so that nothing is fetched again."
            hint, passes = way_out(doubt.fault, kept), may_pass(doubt.fault)
            raise TableError(f"the load failed: {fault}", where=doubt.where, hint=hint, transient=passes) from None
        self._step.say(f"{self._plan.name}: the database reported a fault, and the load is in the tables: {fault}")
        _, part = left.pop(0)
        share = msgspec.convert(row.tell["fetched"], Fetched)
        loaded, owed = read_back(row), row.failed_parents
        return Loaded(part, self._standings[part.key], share, loaded, len(self._parts), owed=owed)

    def _load(self, part: Part, spool: Spool, fetched: Fetched, staged: Staged, turns: Turns | None = None) -> Loaded:
        standing, rules = self._standings[part.key], self._rules[part.key]
        owed = rules.owed_after(fetched)
        result = load(
            self._step.target,
            self._plan.table,
            self._slice(part),
            spool,
            fetched,
            cursor=standing.cursor,
            expected=standing.newest.load_id if standing.newest else None,
            replace=rules.replaces_slice,
            remove_load=rules.repeated_load,
            conditions=self._conditions(rules, fetched),
            owed=owed,
            overlap=rules.overlap,
            forget_cursors=rules.has_other_parent,
            staged=staged,
            turns=turns,
            log=self._step.say,
        )
        return Loaded(part, standing, fetched, result, len(self._parts), owed=owed)

    # ---- parents -------------------------------------------------------------------------------------------------
    @property
    def _partition_of_parent(self) -> str | None:
        return self._first.key if self._step.by_partition else None

    def _copy_parents(self, parent: Parent, path: Path) -> Frozen:
        """The stored rows of the parent that are due, into a file of the spool."""
        rules = self._rules[self._first.key]
        since, by_parent = rules.parents_changed_since, rules.goes_on_by_parent
        if rules.has_other_parent:
            self._step.say(f"{self._plan.name}: its parent has changed, all rows of {parent.resource} are due")
        target, plan = self._parent_table(parent)
        rows = copy_parent_rows(
            target,
            plan,
            fields=parent.fields,
            include=parent.include,
            elements=parent.elements,
            destination=path,
            partition=self._partition_of_parent,
            newer_than=since,
            also=rules.owed_parents,
            cursors_of=self._step.asset if by_parent else None,
            cursors_partition=self._first.key,
        )
        return Frozen(
            rows.keys,
            rows.skipped_null,
            rows.newest_load_id,
            since,
            whole=since is None,
            cursors=by_parent,
            warnings=rows.warnings,
            beside=rows.beside,
        )

    def _cursors_by_parent(self) -> Mapping[str, JsonScalar]:
        """How far the tables are for each parent, by its key as JSON."""
        target = self._step.target
        if not self._rules[self._first.key].goes_on_by_parent or not target.exists:
            return {}
        with target.read() as connection:
            kept = parent_cursors(connection, target.space(connection), self._step.asset, self._first.key)
        return {key: value for key, (value, _) in kept.items()}

    def _parent_table(self, parent: Parent) -> tuple[Target, TablePlan]:
        table, plan = self._step.parents[parent.resource], self._step.plans[parent.resource].table
        if not root_exists(table.target, plan):
            raise ExtractError(
                f"the parent {parent.resource!r} has no table yet",
                where=f"asset {self._step.asset}",
                hint=f"Materialize the asset {table.key.to_user_string()} first.",
            )
        return table.target, plan

    def _stored_rows(self, child: Plan, parent: Parent, spool: Spool) -> Iterator[ParentRow]:
        """All rows of the stored parent of a resource that is walked in memory."""
        path = spool.directory / f"parents-of-{child.table.table}.ndjson"
        target, plan = self._parent_table(parent)
        rows = copy_parent_rows(
            target,
            plan,
            fields=parent.fields,
            include=parent.include,
            elements=parent.elements,
            destination=path,
            partition=self._partition_of_parent,
        )
        for warning in rows.warnings:
            self._step.say(f"{child.name}: {warning}")
        return read_parents(path)


def _shapes_records(plan: Plan) -> list[object]:
    """The settings that give a row of the API its form, as far as paging and cursor leave it alone."""
    endpoint = plan.endpoint
    request = endpoint and endpoint.model_copy(update={"incremental": None, "paginator": None})
    return [request, plan.rows, plan.steps, plan.parent.include if plan.parent else (), plan.table.exact]
