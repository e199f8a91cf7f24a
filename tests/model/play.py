"""Plays a sequence: runs, disturbances and changes, and the comparison with the model behind each of them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
from model.errand import Errand, Outcome, Process, home_of, perform
from model.look import Entry, Seen, Wrong, look
from model.settings import TENANT, Settings
from model.spec import Asset, Key, Load, Slice, Walk, due_parents, rows_after, slice_after
from model.steps import Step, alter, change, fault_of
from model.walks import Ask, by_parent, held, include_of, walk_of
from model.world import EPOCH, Row, Sent, World, spelled

from dagster_restapi.errors import ConfigError

State = Mapping[str, Asset]
_T = TypeVar("_T")
_BUSY = ("LedgerConflict", "SpoolError", "LockTimeout")


class Skip(Exception):
    """The library refuses the settings."""


@dataclass(frozen=True, slots=True)
class Play:
    """Settings and steps: all that it takes to play it again."""

    settings: Settings
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run under way or done."""

    errand: Errand
    step: Step
    settings: Settings
    state: State  # before it
    tenant: str
    sent_before: int  # length of the API's log
    again: bool = False
    overlaps: bool = False
    elsewhere: bool = False

    @property
    def label(self) -> str:
        return self.errand.label

    @property
    def root(self) -> str:
        return self.errand.root or self.errand.run_id

    @property
    def parts(self) -> tuple[str, ...]:
        return self.errand.parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """What attempts without a load have fetched of an asset.

    Attributes:
        labels: The attempts, oldest first.
        parents, titles: Of the parent's rows when the keys were taken.
    """

    asset: str
    parts: tuple[str, ...]
    made_of: str
    newest: Mapping[str | None, str]
    root: str
    labels: tuple[str, ...]
    wipes: int
    refused: bool
    parents: Mapping[Key, tuple[str, ...]]
    titles: Mapping[Key, str]


@dataclass
class Player:
    """A sequence under way."""

    settings: Settings
    folder: Path
    persistent: bool
    world: World = field(init=False)
    state: dict[str, Asset] = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)
    pending: list[Pending] = field(default_factory=list)
    told: set[str] = field(default_factory=set)  # loads of which an event of the home tells
    homes: set[str] = field(default_factory=set)  # runs of the home
    wipes: dict[str, int] = field(default_factory=dict)
    failed: Attempt | None = None  # the newest run that may be executed again
    excused: set[tuple[str, str | None, int, int]] = field(default_factory=set)
    tenant: str = "a"
    parents_came: bool = False  # whether the table of the parent ever had a row
    runs: int = 0
    notes: list[str] = field(default_factory=list)
    verbose: bool = False
    bend: Any = None  # a deliberate fault, of the tests of this very check

    def __post_init__(self) -> None:
        self.world = World(self.settings)
        self.state = {"items": Asset(), "notes": Asset()}
        self.home = home_of(self.folder) if self.persistent else dg.DagsterInstance.ephemeral(str(self.folder))
        self._elsewhere: dg.DagsterInstance | None = None

    def close(self) -> None:
        self.world.close()
        self.home.dispose()
        if self._elsewhere:
            self._elsewhere.dispose()

    @property
    def database(self) -> Path:
        return self.folder / "t.duckdb"

    # ---- steps -------------------------------------------------------------------------------------------------------
    def play(self, step: Step) -> None:
        """Plays one step.

        Raises:
            Wrong: What it led to is not what the specification says.
            Skip: The library refuses the settings.
        """
        getattr(self, f"_{step.kind}")(step)

    def _change(self, step: Step) -> None:
        if step.asset == "notes" and self.settings.notes is None:
            return
        for row in change(self.world, step):
            self._excuse(step.asset, row)

    def _fail(self, step: Step) -> None:
        self.world.faults[fault_of(self.world, step)] = 0

    def _heal(self, step: Step) -> None:
        self.world.faults.clear()

    def _tenant(self, step: Step) -> None:
        self.tenant = step.what

    def _wipe(self, step: Step) -> None:
        if step.asset not in self.settings.assets:
            return
        key = dg.AssetKey(step.asset)
        if self.home.get_asset_records([key]):
            self.home.wipe_assets([key])
            time.sleep(0.002)
            self.state[step.asset] = replace(self.state[step.asset], wiped=True)
            self.wipes[step.asset] = self.wipes.get(step.asset, 0) + 1

    def _alter(self, step: Step) -> None:
        if step.asset not in self.settings.assets:
            return
        changed = alter(self.settings, step)
        self._try(changed)
        self.settings = self.world.settings = changed
        for asset in self.settings.assets:
            for row in self.world.rows(asset).values():
                self._excuse(asset, row)

    def _try(self, settings: Settings) -> None:
        from dagster_restapi import build_rest_api_assets

        try:
            build_rest_api_assets(settings.config(self.world.url))
        except (ConfigError, dg.DagsterInvalidDefinitionError) as error:
            raise Skip(str(error)) from error

    def _run(self, step: Step) -> None:
        attempt = self._attempt(step)
        if attempt is not None:
            self._settle([(attempt, self._here(attempt))])

    def _again(self, step: Step) -> None:
        last = self.failed
        if last is None or not set(last.errand.assets) <= set(self.settings.assets):
            return
        run = self.home.get_run_by_id(last.errand.run_id)
        if run is None:
            return
        if not run.is_finished:
            self.home.report_run_failed(run)
        attempt = self._attempt(last.step, again=last)
        if attempt is not None:
            self._settle([(attempt, self._here(attempt))])

    def _killed(self, step: Step) -> None:
        attempt = self._attempt(step, signal_=signal.SIGKILL)
        if attempt is None:
            return
        process = Process(attempt.errand)
        process.wait_ready()
        if step.what == "at random":
            process.process.join(step.pick / 1000)
            process.kill()
        outcome = process.end()
        self._settle([(attempt, outcome)])

    def _stopped(self, step: Step) -> None:
        attempt = self._attempt(step, signal_=signal.SIGSTOP)
        if attempt is None or step.then is None:
            return
        process = Process(attempt.errand)
        try:
            stopped = process.wait_stopped()
            other = self._attempt(step.then)
            done = [] if other is None else [(replace(other, overlaps=True), self._here(other))]
            if stopped:
                process.go_on()
            outcome = process.end()
        finally:
            with contextlib.suppress(ValueError):
                process.kill()
        self._settle([(replace(attempt, overlaps=True), outcome), *done])

    def _together(self, step: Step) -> None:
        attempt = self._attempt(step)
        if attempt is None or step.then is None:
            return
        process = Process(attempt.errand)
        try:
            process.wait_ready()
            other = self._attempt(step.then)
            done = [] if other is None else [(replace(other, overlaps=True), self._here(other))]
            outcome = process.end()
        finally:
            with contextlib.suppress(ValueError):
                process.kill()
        self._settle([(replace(attempt, overlaps=True), outcome), *done])

    # ---- runs --------------------------------------------------------------------------------------------------------
    def _attempt(self, step: Step, again: Attempt | None = None, signal_: int = 0) -> Attempt | None:
        settings = self.settings
        assets = tuple(name for name in settings.assets if step.asset in ("", name))
        if again is not None:
            assets = again.errand.assets
        if not assets:
            return None
        self.runs += 1
        errand = Errand(
            folder=str(self.folder),
            config=settings.config(self.world.url),
            assets=assets,
            label=f"r{self.runs}",
            parts=self._parts(step, assets) if again is None else again.parts,
            run_config={name: self._run_config(step, name, assets) for name in assets},
            run_id=str(uuid.uuid4()),
            root=again.root if again else "",
            again_of=again.errand.run_id if again else "",
            env={TENANT: self.tenant},
            instant=step.what if signal_ and step.what != "at random" else "",
            passage=step.times or 1,
            signal=signal_ or signal.SIGKILL,
        )
        elsewhere = step.elsewhere and again is None and not signal_
        if not elsewhere:
            self.homes.add(errand.run_id)
        return Attempt(
            errand=errand,
            step=step,
            settings=settings,
            state=dict(self.state),
            tenant=self.tenant if settings.tenant else "",
            sent_before=len(self.world.log),
            again=again is not None,
            elsewhere=elsewhere,
        )

    def _parts(self, step: Step, assets: Sequence[str]) -> tuple[str, ...]:
        cut = [name for name in assets if self.settings.keys(name) != (None,)]
        if not cut:
            return ()
        keys = [str(key) for key in self.settings.keys(cut[0])]
        first = step.part % len(keys)
        last = min(first + step.span - 1, len(keys) - 1) if self.settings.partitions == "daily" else first
        return (keys[first],) if first == last else (keys[first], keys[last])

    def _run_config(self, step: Step, asset: str, assets: Sequence[str]) -> dict[str, Any]:
        config: dict[str, Any] = {}
        if step.full_refresh:
            config["full_refresh"] = True
        if step.max_pages:
            config["max_pages"] = step.max_pages
        if step.parents and asset == "notes":
            config["parents"] = step.parents
        if len(assets) == 1:
            for name, bound in zip(("start_value", "end_value"), step.bounds, strict=True):
                if bound is not None:
                    config[name] = str(spelled(bound, 0, instants=self.settings.instants))
        return config

    def _here(self, attempt: Attempt) -> Outcome:
        instance = self.home
        if attempt.elsewhere:
            if self._elsewhere is None:
                (self.folder / "elsewhere").mkdir(exist_ok=True)
                self._elsewhere = dg.DagsterInstance.ephemeral(str(self.folder / "elsewhere"))
            instance = self._elsewhere
        return perform(attempt.errand, instance)

    # ---- the comparison ----------------------------------------------------------------------------------------------
    def _settle(self, done: Sequence[tuple[Attempt, Outcome]]) -> None:
        """Compares what the runs have left with what they may leave; the model follows them."""
        if self.bend is not None:
            self.bend(self.database)
        if self.verbose:
            for attempt, outcome in done:
                show(self, attempt, outcome)
        Judge(self, done).judge()

    # ---- the end -----------------------------------------------------------------------------------------------------
    def converge(self) -> None:
        """Heals the API, runs everything plainly, and compares the tables with the API itself."""
        if not self.world.items and not self.parents_came:
            return  # a parent that never had a row has no columns, and its child fails
        self.world.faults.clear()
        for asset in ("items", "notes"):
            table = self.settings.items if asset == "items" else self.settings.notes
            if table is not None and table.incremental and table.missing == "raise":
                rows = self.world.rows(asset)
                for uid in [uid for uid, row in rows.items() if row.at is None]:
                    del rows[uid]
        self._load_in_a_new_form()
        goes_on = bool(self.pending)  # where a run goes on with older pages, the next one asks for all of them
        green = self._run_all()
        if (goes_on or not green) and not self._run_all():
            raise Wrong("a healed API is not loaded within two runs", "; ".join(self.notes[-2:]))
        for asset in self.settings.assets:
            for part in self.settings.keys(asset):
                self._check_truth(asset, part)

    def _load_in_a_new_form(self) -> None:
        """Where what shapes a record has changed, an append asks for a full refresh, and gets it."""
        for asset in self.settings.assets:
            table, shape = self.settings.table(asset), shape_of(self.settings, asset, self.world.url, self.tenant)
            others = {known for one in self.state[asset].slices.values() for known in one.shapes} - {shape}
            if table.write != "append" or not table.incremental or not others:
                continue
            for part in range(len(self.settings.keys(asset))):
                attempt = self._attempt(Step(kind="run", asset=asset, part=part, full_refresh=True))
                assert attempt is not None
                self._settle([(attempt, self._here(attempt))])

    def _run_all(self) -> bool:
        parts: Sequence[int] = (0, 1) if self.settings.partitions == "static" else (0,)
        green = True
        for part in parts:
            step = Step(kind="run", part=part, span=3, parents="all")
            attempt = self._attempt(step)
            assert attempt is not None
            outcome = self._here(attempt)
            self._settle([(attempt, outcome)])
            green = green and set(outcome.green) == set(attempt.errand.assets)
        return green

    def _check_truth(self, asset: str, part: str | None) -> None:
        table, held_ = self.settings.table(asset), self.state[asset].rows
        mine = [row for row in held_ if row.part == part and row.open]
        truth = [(row, held(row, "", part, included), included) for row, included in self._truth(asset, part)]
        twins = Counter(want.key for _, want, _ in truth)
        for row, want, included in truth:
            if (asset, part, row.uid, row.born) in self.excused:
                continue
            if table.merges and twins[want.key] > 1:  # one of them is enough: the last one that came
                there = any(one.key == want.key for one in mine)
            elif table.write == "insert-only":
                there = any(one.key == want.key for one in (held_ if self.settings.windows(asset) else mine))
            elif row.at is None and self.settings.windows(asset):
                there = any(one.base == want.base for one in held_)
            elif self.settings.keyed_cursor(asset) or included is None:
                there = any(one.base == want.base for one in mine)
            else:
                there = any(one.content == want.content for one in mine)
            if not there:
                raise Wrong("at the end a row of the API is not there", f"{asset} {part}: {want.content}")

    def _truth(self, asset: str, part: str | None) -> Iterator[tuple[Row, str | None]]:
        """The rows that the API has for a slice, with what is included of their parents."""
        settings, table = self.settings, self.settings.table(asset)
        ask = ask_of(settings, asset, part, Step(kind="run"))
        day = part if settings.windows(asset) and not table.incremental else None
        group = part if settings.partitions == "static" and table.cut else None
        if asset == "items":
            rows = self.world._choose("items", group, day, None, None, None)
            yield from ((row, None) for row in rows if ask.takes(row))
            return
        _, titles = parents_of(self, self.state, part)
        for key in titles:
            owner = self.world._owner(str(key))
            if owner is None:
                continue
            own = None if settings.items.cut else group
            for row in self.world._choose("notes", own, day, None, None, owner):
                if ask.takes(row):
                    yield row, include_of(settings, titles, key)

    def _excuse(self, asset: str, row: Row) -> None:
        """A row that appears before the cursor of its slice may never come."""
        if asset not in self.settings.assets or not self.settings.keyed_cursor(asset) or row.at is None:
            return
        table = self.settings.table(asset)
        for part in self.settings.keys(asset):
            slice_ = self.state[asset].slice(part)
            reach = [slice_.cursor, *self._fetched_ahead(asset, part)]
            if asset == "notes" and row.parent in self.world.items:
                record = self.world.items[row.parent].record
                reach.append(slice_.cursors.get(record[self.settings.field]))
            elif asset == "notes":
                reach += slice_.cursors.values()
            there = any(one.base == held(row).base for one in self.state[asset].rows)
            furthest = max((at for at in reach if at is not None), default=None)
            if furthest is not None and row.at < furthest - table.lag and not there:
                self.excused.add((asset, part, row.uid, row.born))

    def _fetched_ahead(self, asset: str, part: str | None) -> Iterator[int | None]:
        labels = {label for one in self.pending if one.asset == asset for label in one.labels}
        for sent in self.world.log:
            if sent.label in labels and sent.asset == asset and sent.rows:
                yield max((row.at for row in sent.rows if row.at is not None), default=None)


# ---- what a run asks for ---------------------------------------------------------------------------------------------
def ask_of(settings: Settings, asset: str, part: str | None, step: Step) -> Ask:
    """The rows that a run is to bring of one slice."""
    table, low, high = settings.table(asset), *step.bounds
    if settings.windows(asset) and part is not None:
        low = int((datetime.fromisoformat(f"{part}T00:00:00+00:00") - EPOCH).total_seconds())
        high = low + 86400
    return Ask(
        asset=asset,
        part=part,
        window=settings.windows(asset),
        incremental=table.incremental,
        missing=table.missing,
        low=low,
        high=high,
        ordered=table.ordered,
        pages=step.max_pages,
    )


def parents_of(player: Player, state: State, part: str | None) -> tuple[dict[Key, tuple[str, ...]], dict[Key, str]]:
    """The rows of the stored parent that a child reads: contents and titles by key, in the order of the table."""
    settings = player.settings
    if not settings.stored:
        ask = ask_of(settings, "items", None, Step(kind="run"))
        rows = [held(row) for row in player.world._choose("items", None, None, None, None, None) if ask.takes(row)]
    else:
        rows = [row for row in state["items"].rows if row.open]
        notes = settings.notes
        if settings.items.cut and notes is not None and notes.cut and settings.partitions != "none":
            rows = [row for row in rows if row.part == part]
    return parents_in([json.loads(row.content) for row in rows], [row.content for row in rows], settings)


def parents_in(
    records: Sequence[Mapping[str, Any]], contents: Sequence[str], settings: Settings
) -> tuple[dict[Key, tuple[str, ...]], dict[Key, str]]:
    found: dict[Key, list[str]] = {}
    titles: dict[Key, str] = {}
    for record, content in zip(records, contents, strict=True):
        text = str(record[settings.field])
        key: Key = int(text) if text.isdigit() else text
        found.setdefault(key, []).append(content)
        titles[key] = record["title"]
    return {key: tuple(sorted(texts)) for key, texts in found.items()}, titles


def shape_of(settings: Settings, asset: str, url: str, tenant: str) -> str:
    """What shapes an asset's records: the request, and what is included of the parent."""
    [found] = [one for one in settings.config(url)["resources"] if one["name"] == asset]
    endpoint = {name: value for name, value in found["endpoint"].items() if name != "incremental"}
    return json.dumps([endpoint, found.get("include_from_parent"), settings.tenant and tenant], sort_keys=True)


def made_of(settings: Settings, asset: str, url: str, tenant: str) -> str:
    """All that an asset's requests and tables are made of."""
    config = settings.config(url)
    names = {asset} | (set() if settings.stored else {"items"})
    aside = ("on_error", "concurrency")  # no request is made of them
    resources = [
        {name: value for name, value in one.items() if name not in aside}
        for one in config["resources"]
        if one["name"] in names
    ]
    return json.dumps([config["client"], resources, tenant], sort_keys=True)


# ---- judging ---------------------------------------------------------------------------------------------------------
@dataclass
class Judge:
    """What some runs have left, compared with what they may leave."""

    player: Player
    done: Sequence[tuple[Attempt, Outcome]]
    faults: list[Wrong] = field(default_factory=list)
    maybe: dict[tuple[str, str | None], dict[Key, set[int | None]]] = field(default_factory=dict)
    settled: set[tuple[str, str, str | None]] = field(default_factory=set)  # label, asset, partition
    new: Sequence[Entry] = ()  # loads of these runs

    def judge(self) -> None:
        player = self.player
        now = look(player.database)
        before = {entry.load for entry in player.seen.ledger}
        self.new = new = [entry for entry in now.ledger if entry.load not in before]
        self._check_ledger(player.seen.ledger, now.ledger, new)
        states: list[State] = [dict(player.state)]
        passed = [states[0]]  # all states between
        for entry in new:
            found = [after for state in states for after in self._after_load(state, entry, passed)]
            if not found:
                raise self._fault("a load that must not be")
            states = _distinct(found)
            passed += [state for state in states if state["items"] is not passed[-1]["items"]]
        self._check_silent(states, new)
        player.state = dict(self._fitting(states, now))
        self._take_over(now, new)

    def _fault(self, otherwise: str) -> Wrong:
        return self.faults[0] if self.faults else Wrong(otherwise)

    def _check_ledger(self, before: Sequence[Entry], now: Sequence[Entry], new: Sequence[Entry]) -> None:
        sequences = [entry.sequence for entry in now]
        if len(set(sequences)) < len(sequences):
            raise Wrong("two loads have one number")
        left = {entry.load for entry in now}
        last = max((entry.sequence for entry in before if entry.load in left), default=0)
        if new and new[0].sequence <= last:
            raise Wrong("the number of a load does not grow")
        runs = {attempt.errand.run_id for attempt, _ in self.done}
        for entry in new:
            if entry.run not in runs:
                raise Wrong("a load of a run that is over", entry.asset)
        per_run = [(entry.run, entry.asset, entry.part) for entry in new]
        if len(set(per_run)) < len(per_run):
            raise Wrong("one run loaded a slice twice")

    # ---- one load ----------------------------------------------------------------------------------------------------
    def _after_load(self, state: State, entry: Entry, passed: Sequence[State]) -> Iterator[State]:
        attempt = next(one for one, _ in self.done if one.errand.run_id == entry.run)
        self.settled.add((attempt.label, entry.asset, entry.part))
        told = entry.told
        for load in self._loads(state, attempt, entry.asset, entry.part, entry.load, passed):
            try:
                after = self._with_load(state, attempt, load, entry)
            except Wrong as fault:
                self.faults.append(fault)
                continue
            if len(after[entry.asset].rows) != entry.told["row_count"]:
                self.faults.append(
                    Wrong(
                        f"a load left another number of rows ({_named(attempt, entry.asset)})",
                        f"{entry.asset} {entry.part}: {entry.told['row_count']} instead of "
                        f"{len(after[entry.asset].rows)} ({attempt.step!r}); there were {len(state[entry.asset].rows)}",
                    )
                )
                continue
            if told["row_count"] - told["row_count_before"] != told["rows_inserted"] - told["rows_deleted"]:
                counts = {name: told[name] for name in told if name.startswith("row")}
                self.faults.append(Wrong("the counts of a load contradict each other", f"{entry.asset} {counts}"))
                continue
            yield after

    def _with_load(self, state: State, attempt: Attempt, load: Load, entry: Entry | None) -> State:
        settings = attempt.settings
        table, asset = settings.table(load.asset), state[load.asset]
        slice_ = asset.slice(load.part)
        replaces = load.window or (load.part is not None and not table.incremental)
        self._check_shape(attempt, slice_, asset, load, table)
        rows = rows_after(table, asset, load, replaces=replaces)
        keeps = settings.keyed_cursor(load.asset)
        after = slice_after(
            table,
            slice_,
            load,
            keeps=keeps,
            root=attempt.root,
            field_=settings.field,
            shape=shape_of(settings, load.asset, self.player.world.url, attempt.tenant),
            include=settings.include,
        )
        if entry is not None and load.asset == "items" and keeps:
            after = self._check_cursor(attempt, slice_, after, load, entry, table.ordered)
        if keeps and load.asset == "notes":
            self._note_cursors(slice_, load, table.write == "replace")
        slices = {} if load.drops else dict(asset.slices)
        slices[load.part] = after
        return {**state, load.asset: replace(asset, rows=rows, slices=slices, wiped=asset.wiped and attempt.elsewhere)}

    def _check_shape(self, attempt: Attempt, slice_: Slice, asset: Asset, load: Load, table: Any) -> None:
        """Append: what is there in another shape cannot be known again, and must not come a second time."""
        if table.write != "append" or load.anew or load.window or load.asset != "notes" or not table.incremental:
            return
        if slice_.newest and (slice_.include, slice_.field) != (attempt.settings.include, attempt.settings.field):
            mine = {row.base for row in asset.rows if row.part == load.part}
            if any(row.base in mine for row in load.rows):
                raise Wrong("append took records a second time, in another shape", f"{load.asset} {load.part}")

    def _check_cursor(
        self, attempt: Attempt, before: Slice, after: Slice, load: Load, entry: Entry, ordered: bool
    ) -> Slice:
        told, most = entry.cursor, after.cursor
        allowed = {most}
        if load.anew and not load.rows:
            allowed |= {None, before.cursor}
        walk = load.walks[None]
        if attempt.settings.items.write == "replace" and load.plain:
            allowed.add(walk.furthest)  # of rows that are all of this load; nothing goes on from it
        if told in allowed:
            return replace(after, cursor=told)
        if load.resumed and load.plain and told is not None:
            limit = most if ordered else max((at for at in (walk.first, before.cursor) if at is not None), default=None)
            least = before.cursor
            if (limit is None or told <= limit) and (least is None or told >= least):
                return replace(after, cursor=told)
        kind = "the cursor is behind" if most is not None and (told is None or told < most) else "the cursor is too far"
        raise Wrong(
            f"{kind} ({_named(attempt, load.asset)}, {'resumed' if load.resumed else load_kind(load)})",
            f"{load.asset} {load.part}: {told} instead of {most}, before {before.cursor} ({attempt.step!r})",
        )

    def _note_cursors(self, before: Slice, load: Load, lenient: bool) -> None:
        """Cursors of parents that may be as they were, or as the walk came."""
        found: dict[Key, set[int | None]] = {}
        for key, walk in load.walks.items():
            if key is not None and walk.state == "broken" and load.by_hand:
                found[key] = {None}  # such a parent may be asked from the beginning on
            if key is None or walk.state != "complete" or load.by_hand:
                continue
            if not load.plain or load.resumed or lenient:
                old = before.cursors.get(key)
                found[key] = {old, walk.furthest, walk.first}
                if walk.resumed:
                    found[key] |= {row.at for row in walk.rows}
        self.maybe.setdefault((load.asset, load.part), {}).update(found)

    # ---- what a load is made of --------------------------------------------------------------------------------------
    def _loads(
        self, state: State, attempt: Attempt, asset: str, part: str | None, id_: str, passed: Sequence[State]
    ) -> Iterator[Load]:
        """The loads that this one may be: fetched by this attempt alone, or gone on with."""
        own = (attempt.label,)
        options: list[tuple[tuple[str, ...], Pending | None, bool]] = [(own, None, True)]
        for pending in (*self._left_meanwhile(attempt, asset), *reversed(self.player.pending)):
            if pending.asset == asset and pending.parts == self._parts_of(attempt, asset):
                allowed = self._may_resume(attempt, asset, pending, state)
                options.append(((*pending.labels, *own), pending, allowed))
        for labels, pending, allowed in sorted(options, key=lambda option: not option[2]):
            frozen = _distinct(parents_of(self.player, one, part) for one in reversed(passed))
            if pending is not None:
                frozen.insert(0, (dict(pending.parents), dict(pending.titles)))
            for parents, titles in frozen if asset == "notes" else frozen[:1]:
                try:
                    load = self._load(state, attempt, asset, part, id_, labels, parents, titles)
                except Wrong as fault:
                    self.faults.append(fault)
                    continue
                if allowed:
                    yield load
                elif load.resumed:  # nothing that is allowed has fitted, or this would not matter any more
                    kind = f"a run went on with what it must not go on with ({_named(attempt, asset)})"
                    self.faults.insert(0, Wrong(kind, f"{asset} {part}: {labels} ({attempt.step!r})"))

    def _left_meanwhile(self, attempt: Attempt, asset: str) -> list[Pending]:
        """What runs at the same time have fetched of an asset without a load: one may be over before another begins."""
        rivals = [(other, outcome) for other, outcome in self.done if other is not attempt]
        found = [self._left_by(other, outcome, asset) for other, outcome in rivals if asset in other.errand.assets]
        return [one for one in found if one is not None]

    def _may_resume(self, attempt: Attempt, asset: str, pending: Pending, state: State) -> bool:
        player, settings = self.player, attempt.settings
        if (pending.asset, pending.parts) != (asset, self._parts_of(attempt, asset)):
            return False
        if pending.made_of != self._made_of(attempt, asset) or pending.wipes != player.wipes.get(asset, 0):
            return False
        if pending.root == attempt.root:
            return True
        table = settings.table(asset)
        moves = settings.paging in ("page", "offset") and any(
            sent.next is not None for sent in player.world.log if sent.label in pending.labels and sent.asset == asset
        )
        free = not table.incremental and not pending.parts and not moves
        same = all(state[asset].slice(part).newest == load for part, load in pending.newest.items())
        return free and same and not pending.refused

    def _parts_of(self, attempt: Attempt, asset: str) -> tuple[str, ...]:
        return attempt.parts if attempt.settings.keys(asset) != (None,) else ()

    def _made_of(self, attempt: Attempt, asset: str) -> str:
        config = json.dumps(attempt.errand.run_config.get(asset), sort_keys=True)
        return made_of(attempt.settings, asset, self.player.world.url, attempt.tenant) + config

    def _load(
        self,
        state: State,
        attempt: Attempt,
        asset: str,
        part: str | None,
        id_: str,
        labels: tuple[str, ...],
        parents: dict[Key, tuple[str, ...]],
        titles: dict[Key, str],
    ) -> Load:
        settings, step = attempt.settings, attempt.step
        table, slice_ = settings.table(asset), state[asset].slice(part)
        answers = [sent for sent in self.player.world.log if sent.label in labels]
        self._check_tenant(attempt, asset, answers)
        ask = ask_of(
            settings, asset, part, step if len(attempt.errand.assets) == 1 else replace(step, bounds=(None, None))
        )
        mine = by_parent(sent for sent in answers if ask.is_answered_by(sent))
        wiped = state[asset].wiped and not attempt.elsewhere
        anew = step.full_refresh or (wiped and not settings.windows(asset)) or not slice_.newest
        by_hand = ask.incremental and not ask.window and step.bounds != (None, None) and len(attempt.errand.assets) == 1
        walks: dict[Key | None, Walk] = {}
        parent_cut, whole = False, True
        if asset == "items":
            walks[None] = walk_of(mine.get(None, []), ask, attempt.label, None)
        else:
            if not settings.stored:
                parents, titles, parent_cut = self._unstored(attempt, answers)
            everything = (
                anew
                or table.write == "replace"
                or ask.window
                or (part is not None and not table.incremental)
                or slice_.field != settings.field
                or not settings.stored
                or step.parents == "all"
                or (step.parents == "" and not settings.items.incremental)
            )
            if unknown := set(mine) - set(parents):
                raise Wrong("a parent was asked that is not there", f"{asset} {part}: {sorted(unknown, key=str)}")
            due, whole = due_parents(table, slice_, parents, everything=everything)
            if missing := due - set(mine):
                kind = "an owed parent" if missing & set(slice_.owed) else "a parent"
                raise Wrong(f"{kind} was not asked", f"{asset} {part}: {sorted(missing, key=str)} ({step!r})")
            for key, sent in mine.items():
                walks[key] = walk_of(sent, ask, attempt.label, include_of(settings, titles, key), key)
            order = {key: place for place, key in enumerate(parents)}
            walks = dict(sorted(walks.items(), key=lambda item: order.get(item[0], -1)))
        self._check_walks(attempt, asset, ask, walks, mine, slice_, anew, by_hand)
        if (
            table.incremental
            and table.missing == "raise"
            and any(row.at is None for w in walks.values() for row in w.rows)
        ):
            raise Wrong("a record without a cursor value was taken", asset)
        load = Load(
            id=id_,
            asset=asset,
            part=part,
            window=ask.window,
            walks=walks,
            whole=whole,
            parents=parents if asset == "notes" else None,
            full_refresh=step.full_refresh,
            anew=anew,
            drops=wiped and part is not None,
            by_hand=by_hand,
            max_pages=step.max_pages is not None,
            parent_cut=parent_cut,
        )
        return replace(load, silent=self._silent(attempt, asset, slice_, load))

    def _silent(self, attempt: Attempt, asset: str, slice_: Slice, load: Load) -> str:
        """A complete load without a cursor of which no event tells: a run repeats it."""
        known = slice_.newest in self.player.told or attempt.elsewhere
        if known or not slice_.complete or slice_.incremental or attempt.settings.table(asset).incremental:
            return ""
        entry = next((one for one in self.player.seen.ledger if one.load == slice_.newest), None)
        return slice_.newest if entry is not None and entry.run in self.player.homes else ""

    def _unstored(
        self, attempt: Attempt, answers: Sequence[Sent]
    ) -> tuple[dict[Key, tuple[str, ...]], dict[Key, str], bool]:
        ask = replace(ask_of(attempt.settings, "items", None, Step(kind="run")), pages=None)
        walk = walk_of([sent for sent in answers if sent.asset == "items"], ask, attempt.label, None)
        if walk.state == "broken":
            raise Wrong("green without all pages of the parent")
        records = [json.loads(row.content) for row in walk.rows]
        parents, titles = parents_in(records, [row.content for row in walk.rows], attempt.settings)
        return parents, titles, walk.state == "cut"

    def _check_tenant(self, attempt: Attempt, asset: str, answers: Sequence[Sent]) -> None:
        if len({sent.tenant for sent in answers if sent.asset == asset}) > 1:
            raise Wrong("one load is made of requests with different environment variables", asset)

    def _check_walks(
        self,
        attempt: Attempt,
        asset: str,
        ask: Ask,
        walks: Mapping[Key | None, Walk],
        mine: Mapping[Key | None, Sequence[Sent]],
        slice_: Slice,
        anew: bool,
        by_hand: bool,
    ) -> None:
        settings, table = attempt.settings, attempt.settings.table(asset)
        for key, walk in walks.items():
            if walk.state == "broken" and (asset == "items" or settings.on_error == "fail"):
                raise Wrong(
                    f"green without all pages ({_named(attempt, asset)})",
                    f"{asset} {ask.part} {key} ({attempt.step!r})",
                )
            if by_hand or ask.window or not table.incremental:
                continue
            position = slice_.cursor if key is None else slice_.cursors.get(key)
            if anew or table.write == "replace" or (key is not None and slice_.field != settings.field):
                position = None
            starts = [sent.since for sent in mine.get(key, ()) if sent.token is None and sent.label == attempt.label]
            most = None if position is None else position - table.lag
            if any(since is not None and (most is None or since > most) for since in starts):
                raise Wrong(
                    f"a walk begins behind its cursor ({_named(attempt, asset)})", f"{asset} {key}: {starts} for {most}"
                )
        failed = {key for key, walk in walks.items() if walk.state == "broken"}
        if walks and failed == set(walks) and not failed <= set(slice_.owed):
            raise Wrong("green although all requests failed", asset)

    # ---- runs without a load -----------------------------------------------------------------------------------------
    def _check_silent(self, states: Sequence[State], new: Sequence[Entry]) -> None:
        """Slices of the runs that have no new load: told of again, unchanged, refused, or not reached."""
        for attempt, outcome in self.done:
            for asset in attempt.errand.assets:
                if asset in outcome.red:
                    self._check_red(attempt, asset, outcome, states[-1]["items"])
                for part in self._slices(attempt, asset):
                    if asset in outcome.green and (attempt.label, asset, part) not in self.settled:
                        self._check_no_load(states, attempt, asset, part, new)

    def _slices(self, attempt: Attempt, asset: str) -> tuple[str | None, ...]:
        keys = attempt.settings.keys(asset)
        if keys == (None,):
            return keys
        first, last = keys.index(attempt.parts[0]), keys.index(attempt.parts[-1])
        return keys[first : last + 1]

    def _check_no_load(
        self, states: Sequence[State], attempt: Attempt, asset: str, part: str | None, new: Sequence[Entry]
    ) -> None:
        slice_ = attempt.state[asset].slice(part)
        if (attempt.again or attempt.overlaps) and slice_.root == attempt.root:
            return  # an earlier attempt has loaded: this one only tells
        table, rival = attempt.settings.table(asset), {(entry.asset, entry.part) for entry in new}
        if attempt.overlaps and table.write == "append" and not table.incremental and (asset, part) in rival:
            return  # the other run has repeated this load, of which no event told yet
        if not attempt.settings.keyed_cursor(asset) or asset == "notes":
            raise Wrong(f"green without a load ({_named(attempt, asset)})", f"{asset} {part} ({attempt.step!r})")
        for state in states:
            for load in self._loads(state, attempt, asset, part, "none", states):
                try:
                    after = self._with_load(state, attempt, load, None)
                except Wrong as fault:
                    self.faults.append(fault)
                    continue
                same = after[asset].counted() == state[asset].counted()
                if same and after[asset].slice(part).cursor == state[asset].slice(part).cursor:
                    return
                self.faults.append(
                    Wrong(f"a run made no load, though it had news ({_named(attempt, asset)})", f"{asset} {part}")
                )
        raise self._fault("green without a load")

    def _check_red(self, attempt: Attempt, asset: str, outcome: Outcome, items: Asset) -> None:
        names = [name for name, _ in outcome.red[asset]]
        text = " <- ".join(f"{name}: {message.strip()[:300]}" for name, message in outcome.red[asset])
        self.player.notes.append(f"{attempt.label} {asset} red: {text[:400]}")
        settings, step = attempt.settings, attempt.step
        table = settings.table(asset)
        labels = {attempt.label} | {label for one in self.player.pending for label in one.labels}
        answers = [sent for sent in self.player.world.log if sent.label in labels]
        failing = any(sent.rows is None or sent.ignored for sent in answers)
        without = any(row.at is None for sent in answers for row in sent.rows or ())
        inherits = table.incremental and table.missing == "raise"
        inherits |= not settings.stored and settings.items.incremental and settings.items.missing == "raise"
        slices = [attempt.state[asset].slice(part) for part in self._slices(attempt, asset)]
        shape = shape_of(settings, asset, self.player.world.url, attempt.tenant)
        reshaped = any(one.shapes - {shape} for one in slices)
        reasons = {
            "RequestError": failing,
            "ResponseError": failing,
            "PagingError": failing,
            "PartError": failing or step.max_pages is not None or step.bounds != (None, None),
            "ExtractError": (inherits and without) or "has no table yet" in text or "no table" in text,
            "ConfigError": step.bounds != (None, None),
            "TableError": ("append" in table.write and reshaped)
            or "does not exist yet" in text
            or "has no partitions" in text
            or ("has no column for" in text and not (items.rows and attempt.state["items"].rows)),
            **dict.fromkeys(_BUSY, attempt.overlaps),
        }
        if not any(reasons.get(name, False) for name in names) and not (reshaped and table.write == "append"):
            own = next((name for name in names if name in reasons), names[-1] if names else "?")
            message = next((m for n, m in outcome.red[asset] if n == own), "").strip().splitlines()
            first = message[0][:100] if message else ""
            raise Wrong(f"red without a reason ({_named(attempt, asset)}): {own}: {_blurred(first)}", text)

    # ---- the tables --------------------------------------------------------------------------------------------------
    def _fitting(self, states: Sequence[State], now: Seen) -> State:
        """The first state that the tables are in."""
        faults = []
        for state in states:
            try:
                return self._compared(state, now)
            except Wrong as fault:
                faults.append(fault)
        raise faults[0]

    def _compared(self, state: State, now: Seen) -> State:
        found = dict(state)
        for asset in self.player.settings.assets:
            self._compare_rows(asset, state[asset], now)
            if asset == "notes":
                found[asset] = self._compare_cursors(state[asset], now)
        return found

    def _compare_rows(self, asset: str, want: Asset, now: Seen) -> None:
        expected, got = want.counted(), now.counted(asset)
        if expected == got:
            return
        missing, extra = expected - got, got - expected
        attempt = self.done[0][0]
        if missing and extra:
            kind = "rows differ"
        elif missing:
            kind = "rows are missing"
        else:
            kind = "rows are there twice" if all(expected[one] for one in extra) else "rows are there that must not be"
        steps = "+".join(sorted({attempt.step.kind + (" again" if attempt.again else "") for attempt, _ in self.done}))
        raise Wrong(
            f"{kind} ({_named(attempt, asset)}, {steps})",
            f"{asset}: missing {_shown(missing)}, too many {_shown(extra)} ({attempt.step!r})",
        )

    def _compare_cursors(self, asset: Asset, now: Seen) -> Asset:
        settings = self.player.settings
        if not settings.keyed_cursor("notes"):
            return asset
        slices = dict(asset.slices)
        for part, slice_ in asset.slices.items():
            got, want = now.cursors.get(("notes", part), {}), slice_.cursors
            allowed = self.maybe.get(("notes", part), {})
            for key in set(got) | set(want):
                told = got.get(key)
                if told != want.get(key) and told not in allowed.get(key, ()):
                    if (key in want) != (key in got) and str(key) in set(map(str, got)) & set(map(str, want)):
                        raise Wrong("the key of a parent's cursor has another type than the API's", f"{key!r}")
                    raise Wrong(
                        f"the cursor of a parent differs ({_named(self.done[0][0], 'notes')})",
                        f"{part} {key}: {told} instead of {want.get(key)} ({self.done[0][0].step!r})",
                    )
            slices[part] = replace(slice_, cursors={key: at for key, at in got.items() if at is not None})
        return replace(asset, slices=slices)

    # ---- afterwards --------------------------------------------------------------------------------------------------
    def _take_over(self, now: Seen, new: Sequence[Entry]) -> None:
        player = self.player
        for attempt, outcome in self.done:
            if not attempt.elsewhere:
                self._hear(attempt, outcome, now, new)
            self._check_told(attempt, outcome, now)
            if set(outcome.green) != set(attempt.errand.assets) and not attempt.elsewhere:
                player.failed = attempt
            for asset in attempt.errand.assets:
                self._keep_pending(attempt, outcome, asset)
        player.seen = now
        player.parents_came = player.parents_came or bool(now.rows.get("items"))

    def _hear(self, attempt: Attempt, outcome: Outcome, now: Seen, new: Sequence[Entry]) -> None:
        player = self.player
        if outcome.ended:
            player.told |= {str(one.metadata.get("load_id")) for one in outcome.told}
            return
        for asset in attempt.errand.assets:  # the process was killed: ask the instance
            filter_ = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset))
            for record in player.home.fetch_materializations(filter_, limit=20).records:
                metadata = record.asset_materialization.metadata if record.asset_materialization else {}
                if "dagster_restapi/load_id" in metadata:
                    player.told.add(str(metadata["dagster_restapi/load_id"].value))

    def _check_told(self, attempt: Attempt, outcome: Outcome, now: Seen) -> None:
        """Every event names a load of the ledger and tells what the ledger tells."""
        by_load = {entry.load: entry for entry in now.ledger}
        for one in outcome.told:
            entry = by_load.get(str(one.metadata.get("load_id")))
            if entry is None:
                if not attempt.overlaps:
                    raise Wrong("an event names a load that the ledger does not have", one.asset)
                continue
            if entry.run != attempt.errand.run_id:
                continue
            for name in ("rows_loaded", "rows_inserted", "rows_updated", "rows_deleted"):
                if one.metadata[name] != entry.told[name]:
                    raise Wrong("an event tells other counts than the ledger", f"{one.asset} {name}")
            self._check_owed(one.asset, one.part, one.metadata, attempt)

    def _check_owed(self, asset: str, part: str | None, metadata: Mapping[str, Any], attempt: Attempt) -> None:
        if asset != "notes" or "owed_parents" not in metadata or attempt.overlaps:
            return
        told = {next(iter(key.values())) for key in metadata["owed_parents"]}
        owed = set(self.player.state[asset].slice(part).owed)
        if told != owed:
            raise Wrong("an event tells of other owed parents", f"{sorted(told, key=str)} instead of {owed}")

    def _keep_pending(self, attempt: Attempt, outcome: Outcome, asset: str) -> None:
        left, used = self._left_by(attempt, outcome, asset), self._used_by(attempt, asset)
        self.player.pending = [one for one in self.player.pending if one not in used] + ([left] if left else [])

    def _used_by(self, attempt: Attempt, asset: str) -> list[Pending]:
        """What the run went on with, or threw away."""
        return [one for one in self.player.pending if self._may_resume(attempt, asset, one, attempt.state)]

    def _left_by(self, attempt: Attempt, outcome: Outcome, asset: str) -> Pending | None:
        """What the run has fetched without a load."""
        player, slices = self.player, self._slices(attempt, asset)
        loaded = {entry.part for entry in self.new if entry.run == attempt.errand.run_id and entry.asset == asset}
        names = [name for name, _ in outcome.red.get(asset, ())]
        if loaded >= set(slices) or asset in outcome.green or "PartError" in names:
            return None
        state = {**attempt.state, "items": player.state["items"]}
        earlier = next(reversed(self._used_by(attempt, asset)), None)
        parents, titles = parents_of(player, state, slices[0]) if asset == "notes" else ({}, {})
        return Pending(
            asset=asset,
            parts=self._parts_of(attempt, asset),
            made_of=self._made_of(attempt, asset),
            newest={part: attempt.state[asset].slice(part).newest for part in slices},
            root=earlier.root if earlier else attempt.root,
            labels=(*(earlier.labels if earlier else ()), attempt.label),
            wipes=player.wipes.get(asset, 0),
            refused="TableError" in names or "RowsError" in names or "ContractError" in names,
            parents=earlier.parents if earlier else parents,
            titles=earlier.titles if earlier else titles,
        )


def _distinct(found: Iterable[_T]) -> list[_T]:
    """Each of several equal ones once."""
    kept: list[_T] = []
    for one in found:
        if one not in kept:
            kept.append(one)
    return kept


def _named(attempt: Attempt, asset: str) -> str:
    """The kind of an asset, for telling kinds of differences apart."""
    settings, table = attempt.settings, attempt.settings.table(asset)
    words = [asset, table.write]
    words += ["cursor"] if table.incremental else []
    words += ["lag"] if table.lag else []
    words += [settings.partitions] if settings.partitions != "none" and table.cut else []
    return " ".join(words)


def show(player: Player, attempt: Attempt, outcome: Outcome) -> None:
    """What a run did, for whoever looks for its fault."""
    print(f"    {attempt.label} {attempt.errand.assets} {attempt.parts}: ended {outcome.ended}, green {outcome.green}")
    for asset, causes in outcome.red.items():
        print(f"      red {asset}: {causes[-1][0]}: {causes[-1][1][:300]}")
    for sent in player.world.log[attempt.sent_before :]:
        rows = sent.rows if sent.rows is None else [(row.record["id"], row.at) for row in sent.rows]
        where = f"{sent.asset} {sent.part or ''} {sent.parent or ''} since {sent.since} until {sent.until}"
        print(f"      {sent.label} asked {where} page {sent.token}: {rows}, next {sent.next}")
    for entry in look(player.database).ledger:
        if entry.run == attempt.errand.run_id:
            counts = {name: entry.told[name] for name in ("rows_inserted", "rows_updated", "rows_deleted", "row_count")}
            print(f"      load {entry.asset} {entry.part}: cursor {entry.cursor} {counts}")


def load_kind(load: Load) -> str:
    if load.by_hand:
        return "by hand"
    return "anew" if load.anew else "plain" if load.plain else "incomplete"


def _shown(rows: Mapping[Any, int]) -> str:
    texts = [
        f"{count} x {part} {content[:160]} {'' if is_open else 'closed'}"
        for (part, content, is_open), count in rows.items()
    ]
    return f"[{'; '.join(texts[:3])}{' …' if len(texts) > 3 else ''}]"


def _blurred(text: str) -> str:
    return "".join("#" if character.isdigit() else character for character in text)


# ---- a whole sequence ------------------------------------------------------------------------------------------------
def play(sequence: Play, bend: Any = None, *, verbose: bool = False) -> Player:
    """Plays a sequence in a folder of its own.

    Raises:
        Wrong: Something is not as the specification says; the step stands in its notes.
        Skip: The library refuses the settings.
    """
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="restapi-model-", dir=base))
    persistent = any(step.in_process for step in sequence.steps)
    player = None
    try:
        player = Player(sequence.settings, folder, persistent, bend=bend, verbose=verbose)
        player._try(sequence.settings)
        for number, step in enumerate(sequence.steps):
            if verbose:
                print(f"{number:3} {step!r}")
            try:
                player.play(step)
            except Wrong as fault:
                fault.add_note(f"in step {number}: {step!r}")
                raise
        player.converge()
        return player
    finally:
        if player is not None:
            player.close()
        shutil.rmtree(folder, ignore_errors=True)
