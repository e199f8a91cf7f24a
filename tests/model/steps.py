"""What happens in a sequence: changes of the API, runs of every kind, and what disturbs them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from model.settings import DAYS, GROUPS, Settings
from model.world import Fault, Row, World, spelled

INSTANTS = (
    "before the first request",
    "behind a page",
    "before stage",
    "in the transaction",
    "before commit",
    "after commit",
    "while the spool is removed",
    "before the event",
    "after the event",
)
PAUSES = ("before the first request", "behind a page", "before stage", "before the event", "after the event")
CHANGES = {
    "insert": 6,
    "edit": 5,
    "edit in place": 2,  # at the very cursor value
    "tie": 2,  # a new record at the newest cursor value
    "delete": 2,
    "move": 2,  # below another parent
    "shift": 1,  # into another partition or window
    "late": 1,  # a new record whose cursor value is an old one
    "no cursor": 1,
    "twin": 1,  # the same record once more
    "new field": 1,
    "text for number": 1,
    "text for instant": 0.5,
    "text for id": 0.7,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step; `kind` says which of the others mean something.

    Attributes:
        kind: `change`, `fail`, `heal`, `run`, `again`, `killed`, `stopped`, `together`, `wipe`, `alter`, `tenant`.
        what: Of a change, a fault or an alteration: which one. Of a disturbed run: the instant.
        asset: The resource; of a run "" for all.
        pick: Chooses among what there is.
        part: Of a run: number of the partition.
        span: Of a run: how many windows.
        times: Of a fault: how often. Of a disturbed run: at which passage of the instant.
        bounds: Of a run: a window by hand, in seconds.
        elsewhere: The run has an instance of its own, which knows no events.
        then: Of a disturbed run: what happens meanwhile.
    """

    kind: str
    what: str = ""
    asset: str = ""
    pick: int = 0
    part: int = 0
    span: int = 1
    times: int | None = None
    full_refresh: bool = False
    bounds: tuple[int | None, int | None] = (None, None)
    max_pages: int | None = None
    parents: str = ""
    elsewhere: bool = False
    then: Step | None = None

    def __repr__(self) -> str:
        told = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"Step({', '.join(told)})"

    @property
    def in_process(self) -> bool:
        return self.kind in ("killed", "stopped", "together")


# ---- drawing ---------------------------------------------------------------------------------------------------------
def draw_steps(chance: random.Random, settings: Settings) -> tuple[Step, ...]:
    """A sequence of steps; the first ones fill the API."""
    steps = [Step(kind="change", what="insert", asset="items", pick=chance.randrange(10**6)) for _ in range(3)]
    if settings.notes:
        steps += [Step(kind="change", what="insert", asset="notes", pick=chance.randrange(10**6)) for _ in range(3)]
    processes = chance.random() < 0.3
    for number in range(chance.randint(4, 8)):
        steps += [_draw_change(chance, settings) for _ in range(chance.choice((0, 1, 1, 2, 3)))]
        if chance.random() < 0.2:
            steps.append(_draw_fault(chance, settings))
        elif chance.random() < 0.2:
            steps.append(Step(kind="heal"))
        steps.append(_draw_act(chance, settings, first=number == 0, processes=processes))
    return tuple(steps)


def _draw_change(chance: random.Random, settings: Settings) -> Step:
    what = chance.choices(list(CHANGES), list(CHANGES.values()))[0]
    asset = chance.choice(("items", "notes")) if settings.notes else "items"
    return Step(kind="change", what=what, asset=asset, pick=chance.randrange(10**6))


def _draw_fault(chance: random.Random, settings: Settings) -> Step:
    asset = chance.choice(("items", "notes", "notes")) if settings.notes else "items"
    kind = chance.choices(("500", "404", "cut"), (3, 2, 1))[0]
    of_one = chance.random() < 0.7
    return Step(
        kind="fail",
        what=kind,
        asset=asset,
        pick=chance.randrange(1, 10**6) if of_one else 0,
        part=chance.choice((0, 0, 1)),
        times=chance.choice((None, 1, 2)),
    )


def _draw_act(chance: random.Random, settings: Settings, *, first: bool, processes: bool) -> Step:
    if not first and chance.random() < 0.12:
        return Step(kind="wipe", asset=chance.choice(settings.assets))
    if not first and chance.random() < 0.1:
        asset = chance.choice(settings.assets)
        return Step(kind="alter", what=chance.choice(ALTERATIONS), asset=asset, pick=chance.randrange(10**6))
    if settings.tenant and chance.random() < 0.15:
        return Step(kind="tenant", what=chance.choice("ab"))
    if not first and chance.random() < 0.15:
        return Step(kind="again")
    run = _draw_run(chance, settings)
    if processes and chance.random() < 0.5:
        kind = chance.choices(("killed", "stopped", "together"), (5, 3, 1))[0]
        run = replace(run, elsewhere=False)
        if kind == "killed":
            what = chance.choice((*INSTANTS, "at random"))
            return replace(run, kind=kind, what=what, times=chance.choice((1, 1, 1, 2, 3)), pick=chance.randrange(800))
        other = replace(_draw_run(chance, settings), elsewhere=False)
        return replace(run, kind=kind, what=chance.choice(PAUSES), times=chance.choice((1, 1, 2)), then=other)
    return run


def _draw_run(chance: random.Random, settings: Settings) -> Step:
    asset = chance.choice(settings.assets) if chance.random() < 0.45 else ""
    run = Step(
        kind="run", asset=asset, part=chance.randrange(3), span=chance.choice((1, 1, 2, 3)), times=None,
        elsewhere=chance.random() < 0.08,
    )  # fmt: skip
    special = chance.random()
    if special < 0.12:
        return replace(run, full_refresh=True)
    if special < 0.24:
        return replace(run, max_pages=chance.choice((1, 1, 2)))
    if special < 0.34 and asset and settings.keyed_cursor(asset):
        low, high = chance.randrange(0, 120), chance.randrange(1, 120)
        bounds = chance.choice(((low, low + high), (low, None), (None, high)))
        return replace(run, bounds=bounds)
    if special < 0.45 and asset == "notes":
        return replace(run, parents=chance.choice(("all", "all", "changed")))
    return run


# ---- changes of the API ----------------------------------------------------------------------------------------------
def change(world: World, step: Step) -> list[Row]:
    """Makes the change; gives the rows that are new versions."""
    chance = random.Random(step.pick)
    world.changes += 1
    world.now += chance.choice((0, 5, 10))
    found = _change(world, step, chance)
    for row in found:
        world.rows(step.asset)[row.uid] = row
    return found


def _moment(world: World, chance: random.Random, group: str = "") -> int:
    """A cursor value of now: behind all others, within a day at random where there are windows."""
    world.now += 1 + chance.randrange(10)
    if world.settings.partitions == "daily":
        return chance.randrange(len(DAYS)) * 86400 + world.now
    return world.now


def _record(world: World, asset: str, at: int | None, parent: int | None, chance: random.Random) -> dict[str, Any]:
    world.uids += 1
    uid = world.uids
    record: dict[str, Any] = {"id": uid, "title": f"{asset} {uid}", "size": chance.randrange(5)}
    if asset == "items":
        record |= {"code": f"c{uid}", "owner": {"login": chance.choice("xyz"), "rank": chance.randrange(3)}}
    else:
        assert parent is not None
        record["item"] = world.items[parent].record["id"]
    record["labels"] = [{"name": chance.choice("pqr"), "n": n} for n in range(chance.randrange(3))]
    if at is not None:
        record["updated_at"] = spelled(at, chance.randrange(6), instants=world.settings.instants)
    return record


def _insert(world: World, asset: str, at: int | None, chance: random.Random) -> list[Row]:
    parent = None
    if asset == "notes":
        if not world.items:
            return []
        parent = chance.choice(sorted(world.items))
    record = _record(world, asset, at, parent, chance)
    group = chance.choice(GROUPS) if parent is None else world.items[parent].group
    return [Row(world.uids, at, group, parent, json.dumps(record), world.changes)]


def _change(world: World, step: Step, chance: random.Random) -> list[Row]:
    rows, asset = world.rows(step.asset), step.asset
    if step.what == "insert":
        return _insert(world, asset, _moment(world, chance), chance)
    if step.what == "no cursor":
        return _insert(world, asset, None, chance)
    if step.what == "tie":
        moments = [row.at for row in rows.values() if row.at is not None]
        return _insert(world, asset, max(moments, default=0), chance)
    if step.what == "late":
        moments = [row.at for row in rows.values() if row.at is not None]
        return _insert(world, asset, max(0, max(moments, default=0) - chance.randrange(1, 60)), chance)
    if not rows:
        return []
    row = rows[chance.choice(sorted(rows))]
    if step.what == "delete":
        del rows[row.uid]
        return []
    if step.what == "twin":
        world.uids += 1
        return [replace(row, uid=world.uids, born=world.changes)]
    record = row.record
    at = row.at
    if step.what != "edit in place":
        at = _moment(world, chance)
        if world.settings.partitions == "daily" and step.what != "shift" and row.at is not None:
            at = row.at // 86400 * 86400 + world.now
        record["updated_at"] = spelled(at, chance.randrange(6), instants=world.settings.instants)
    group, parent = row.group, row.parent
    if step.what in ("edit", "edit in place"):
        record["title"] = f"{asset} {row.uid}, edited {world.changes}"
        record["labels"] = record["labels"][1:] or [{"name": "new", "n": world.changes}]
    elif step.what == "move":
        if asset == "items" or not world.items:
            return []
        parent = chance.choice(sorted(world.items))
        record["item"], group = world.items[parent].record["id"], world.items[parent].group
    elif step.what == "shift":
        group = chance.choice(GROUPS)
        record["title"] = f"{asset} {row.uid}, shifted {world.changes}"
    elif step.what == "new field":
        record["extra"] = world.changes
    elif step.what == "text for number":
        record["size"] = f"n{world.changes}"
    elif step.what == "text for instant":
        record["seen"] = "2024-05-05T05:05:05Z" if chance.random() < 0.5 else f"never {world.changes}"
    elif step.what == "text for id":
        record["id"] = f"x{row.uid}"
    return [Row(row.uid, at, group, parent, json.dumps(record), world.changes)]


def fault_of(world: World, step: Step) -> Fault:
    """The fault that a step means."""
    parent = None
    if step.asset == "notes" and step.pick and world.items:
        parent = sorted(world.items)[step.pick % len(world.items)]
    return Fault(step.asset, step.what, step.part, parent, step.times)


# ---- changes of the settings -----------------------------------------------------------------------------------------
ALTERATIONS = ("lag", "write", "incremental", "field", "include", "size", "on_error")


def alter(settings: Settings, step: Step) -> Settings:
    """The settings after an alteration."""
    table, chance = settings.table(step.asset), random.Random(step.pick)
    if step.what == "lag" and table.incremental:
        table = replace(table, lag=0 if table.lag else 25)
    elif step.what == "write":
        plain = ("append", "replace", "delete-insert", "upsert")
        if table.write in plain:
            table = replace(table, write=chance.choice([way for way in plain if way != table.write]), key=True)
    elif step.what == "incremental":
        table = replace(table, incremental=not table.incremental, lag=0, ordered=False)
    elif step.what == "field":
        return replace(settings, field="code" if settings.field == "id" else "id")
    elif step.what == "include" and settings.notes:
        return replace(settings, include=not settings.include)
    elif step.what == "size":
        return replace(settings, size=5 - settings.size)
    elif step.what == "on_error" and settings.notes:
        return replace(settings, on_error="skip" if settings.on_error == "fail" else "fail")
    return replace(settings, **{step.asset: table})


def simpler(step: Step) -> Iterator[Step]:
    """The same step with less to it."""
    for field in fields(Step):
        if field.name in ("kind", "what", "asset", "pick", "then"):
            continue
        if getattr(step, field.name) != field.default:
            yield replace(step, **{field.name: field.default})
    if step.in_process and step.kind != "together":
        yield replace(step, kind="run", what="", times=None, then=None)
