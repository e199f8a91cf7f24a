"""The specification as a program: what the tables must hold after a load, written from docs/architecture.md alone.

It knows nothing of spools or SQL: only what the API has sent, what was there before, and the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from model.look import Wrong
from model.settings import Table

Key = str | int  # a parent's key as the API wrote it


@dataclass(frozen=True, slots=True)
class Held:
    """One row that a table must hold.

    Attributes:
        base: The content without what is included of the parent.
        key: The primary key as text.
        load: The load that brought it.
        parent: Of a child's row: the key that it was asked by. Two parents may have rows of the same content.
        open: Of `scd2`: whether it holds still.
    """

    part: str | None
    content: str
    base: str
    key: str
    at: int | None
    load: str
    open: bool = True
    parent: Key | None = None


@dataclass(frozen=True, slots=True)
class Walk:
    """All pages of one walk that a load is made of.

    Attributes:
        state: `complete`; `cut` by max_pages or an `ignore` rule; `broken`: a page is missing.
        first: The furthest cursor value of what the first attempt had fetched, where a later one went on; else None.
        resumed: Whether pages come of several attempts.
    """

    rows: tuple[Held, ...]
    state: str
    resumed: bool = False
    first: int | None = None

    @property
    def furthest(self) -> int | None:
        return max((row.at for row in self.rows if row.at is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One load, as far as the rules ask.

    Attributes:
        walks: By parent key; under None that of a resource without parents.
        whole: All parents were asked.
        parents: The parent's rows at the moment when the keys were taken: contents by key; None without parent.
        full_refresh: A person said that the rows are to be replaced.
        anew: The slice begins anew: a full refresh, the first load behind a wipe.
        drops: All partitions of the asset begin anew.
        cut: `max_pages` or an incomplete parent.
        missing: Owed parents whose absence was known before.
        silent: A complete load of which no event tells, and which this one repeats.
    """

    id: str
    asset: str
    part: str | None
    window: bool
    walks: Mapping[Key | None, Walk]
    whole: bool = True
    parents: Mapping[Key, tuple[str, ...]] | None = None
    full_refresh: bool = False
    anew: bool = False
    drops: bool = False
    by_hand: bool = False
    max_pages: bool = False
    parent_cut: bool = False
    silent: str = ""

    @property
    def rows(self) -> list[Held]:
        return [row for walk in self.walks.values() if walk.state != "broken" for row in walk.rows]

    @property
    def complete(self) -> bool:
        return not self.parent_cut and all(walk.state != "cut" for walk in self.walks.values())

    @property
    def plain(self) -> bool:
        return self.complete and not self.by_hand

    @property
    def failed(self) -> frozenset[Key]:
        return frozenset(key for key, walk in self.walks.items() if walk.state == "broken" and key is not None)

    @property
    def resumed(self) -> bool:
        return any(walk.resumed for walk in self.walks.values())


@dataclass(frozen=True, slots=True)
class Slice:
    """Where one slice stands.

    Attributes:
        newest: The ledger's newest load.
        root: Its root run.
        cursor: Without parent.
        cursors: By parent key.
        owed: Parents whose rows were due and have not come.
        parents: Of the newest complete plain load: the parent's rows that it knew.
        partial: Loads that were partial, since the newest complete one.
        complete: Whether the newest load was complete.
        field: What parents were asked by.
        shapes: What the API was asked and what was done with its records, of all loads since the slice began anew.
        include: Whether records included something of the parent.
        incremental: Whether the newest load had a cursor.
    """

    newest: str = ""
    root: str = ""
    cursor: int | None = None
    cursors: Mapping[Key, int] = field(default_factory=dict)
    owed: frozenset[Key] = frozenset()
    parents: Mapping[Key, tuple[str, ...]] | None = None
    partial: frozenset[str] = frozenset()
    complete: bool = True
    field: str = "id"
    shapes: frozenset[str] = frozenset()
    include: bool = False
    incremental: bool = False


@dataclass(frozen=True, slots=True)
class Asset:
    """What an asset must hold."""

    rows: tuple[Held, ...] = ()
    slices: Mapping[str | None, Slice] = field(default_factory=dict)
    wiped: bool = False  # since the newest load that knows of it

    def slice(self, part: str | None) -> Slice:
        return self.slices.get(part, Slice())

    def counted(self) -> Counter[tuple[str | None, str, bool]]:
        return Counter((row.part, row.content, row.open) for row in self.rows)


# ---- rows ------------------------------------------------------------------------------------------------------------
def rows_after(table: Table, asset: Asset, load: Load, *, replaces: bool) -> tuple[Held, ...]:
    """The rows of the asset behind a load.

    Args:
        replaces: The slice is a time window, or a partition without a cursor: what the load brings takes its place.

    Raises:
        Wrong: The load had to be refused.
    """
    held = () if load.drops else asset.rows
    mine = tuple(row for row in held if row.part == load.part)
    others = tuple(row for row in held if row.part != load.part)
    brought = [replace(row, part=load.part, load=load.id) for row in load.rows]
    if table.merges:
        brought = list({row.key: row for row in brought}.values())
    empty_kept = load.part is None and not brought and not table.allow_empty
    leaves_rows = table.write in ("scd2", "insert-only")
    if load.anew or table.write == "replace" or (replaces and not leaves_rows):
        _check_whole(asset.slice(load.part), load, mine)
        if empty_kept:
            return held
        if not leaves_rows:
            return (*_left_of(others, brought, table, load), *brought)
        held, mine = others, ()  # the rows of other slices keep what the strategy promises
    if table.write == "append":
        return (*others, *_append(table, asset.slice(load.part), mine, brought, load))
    reach = held if load.window else mine
    out_of_reach = () if load.window else others
    if table.write == "insert-only":
        known = {row.key for row in reach}
        return (*held, *(row for row in brought if row.key not in known))
    if table.write == "scd2":
        return (*out_of_reach, *_history(table, reach, brought, load, replaces=replaces))
    keys = {row.key for row in brought}
    return (*out_of_reach, *_merged(reach, brought, keys))


def _check_whole(slice_: Slice, load: Load, mine: tuple[Held, ...]) -> None:
    """A part never takes the place of rows, unless a full refresh says that this is meant."""
    if load.full_refresh or not mine or load.drops:
        return
    if load.by_hand or not load.complete:
        if not load.anew:
            raise Wrong("a partial load took the place of rows", f"{load.asset} {load.part}")
    elif load.failed - slice_.owed and not load.anew:
        raise Wrong("a load without the rows of failed parents took the place of rows", f"{load.asset} {load.part}")


def _left_of(others: tuple[Held, ...], brought: list[Held], table: Table, load: Load) -> Iterable[Held]:
    """The rows of other slices: one that moved into a window leaves its old one."""
    keys = {row.key for row in brought} if load.window and table.merges else set()
    return (row for row in others if row.key not in keys)


def _merged(reach: tuple[Held, ...], brought: list[Held], keys: set[str]) -> list[Held]:
    same = {}
    for row in reach:
        same.setdefault((row.part, row.key, row.content), row)
    kept = [row for row in reach if row.key not in keys]
    return kept + [same.get((row.part, row.key, row.content), row) for row in brought]


def _append(table: Table, slice_: Slice, mine: tuple[Held, ...], brought: list[Held], load: Load) -> list[Held]:
    there = [row for row in mine if not (load.silent and row.load == load.silent)]
    if table.incremental:
        known = Counter(map(_same, there))  # of any position: the same content is at the same one
    else:
        known = Counter(_same(row) for row in there if row.load in slice_.partial)
    new = []
    for row in brought:
        if known[_same(row)]:
            known[_same(row)] -= 1
        else:
            new.append(row)
    return there + new


def _same(row: Held) -> tuple[str, Key | None]:
    """What is the same in two rows that are one record."""
    return row.content, row.parent


def _history(table: Table, reach: tuple[Held, ...], brought: list[Held], load: Load, *, replaces: bool) -> list[Held]:
    everything = load.plain and load.whole and not load.failed and not load.max_pages
    snapshot = everything and (replaces or not table.incremental)
    if load.part is None and not brought and not table.allow_empty:
        snapshot = False  # an empty answer wipes no table
    coming = {row.key: row for row in brought}
    found: list[Held] = []
    standing = set()
    for row in reach:
        new = coming.get(row.key)
        absent = new is None and snapshot and row.part == load.part
        if row.open and new is not None and (row.content, row.part) == (new.content, new.part):
            standing.add(row.key)
            found.append(row)
        elif row.open and (new is not None or absent):
            found.append(replace(row, open=False))
        else:
            found.append(row)
    return found + [row for row in brought if row.key not in standing]


# ---- the state beside the rows ---------------------------------------------------------------------------------------
def slice_after(
    table: Table, before: Slice, load: Load, *, keeps: bool, root: str, field_: str, shape: str, include: bool
) -> Slice:
    """Where the slice stands behind a load; the cursor is as far as it may come.

    Args:
        keeps: The slice keeps a cursor that later loads go on from.
    """
    forgets = load.anew or (before.field != field_ and load.parents is not None)
    cursor = None if load.anew else before.cursor
    cursors = {} if forgets else dict(before.cursors)
    if keeps and load.plain:
        for key, walk in load.walks.items():
            if walk.state == "broken" or walk.furthest is None:
                continue
            if key is None:
                cursor = walk.furthest if cursor is None else max(cursor, walk.furthest)
            else:
                cursors[key] = max(cursors.get(key, walk.furthest), walk.furthest)
    owed = set() if forgets else set(before.owed)
    for key, walk in load.walks.items():
        if walk.state == "complete" and not load.by_hand and key is not None:
            owed.discard(key)
    owed |= load.failed
    if load.parents is not None:
        owed &= set(load.parents)
    return Slice(
        newest=load.id,
        root=root,
        cursor=cursor,
        cursors=cursors,
        owed=frozenset(owed),
        parents=load.parents if load.plain else (None if forgets else before.parents),
        partial=frozenset() if load.plain else (frozenset() if load.anew else before.partial) | {load.id},
        complete=load.complete and not load.by_hand,
        field=field_,
        shapes=(frozenset() if load.anew else before.shapes) | {shape},
        include=include,
        incremental=table.incremental,
    )


def due_parents(
    table: Table,
    slice_: Slice,
    parents: Mapping[Key, tuple[str, ...]],
    *,
    everything: bool,
) -> tuple[set[Key], bool]:
    """The parents that a load has to ask, and whether these are all of them."""
    if everything or slice_.parents is None:
        return set(parents), True
    changed = {key for key, contents in parents.items() if slice_.parents.get(key) != contents}
    return (changed | set(slice_.owed)) & set(parents), False
