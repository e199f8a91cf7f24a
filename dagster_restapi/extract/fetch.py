"""From a slice to a complete spool: one walk, many pages at once, or many parents at once, resumable at any page."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dagster_restapi.errors import Cancelled, ExtractError, PagingError, RequestError, ResponseError, RestApiError
from dagster_restapi.extract.decimals import Decimals
from dagster_restapi.extract.facts import Facts
from dagster_restapi.extract.incremental import Range, furthest_of, nearest_of, order_of
from dagster_restapi.extract.parents import FILE, Frozen, ParentRow, RequestFields, freeze_parents, included, parse_row
from dagster_restapi.extract.progress import Progress
from dagster_restapi.extract.side_by_side import Item, side_by_side
from dagster_restapi.extract.steps import process, rows_of
from dagster_restapi.http.origin import safe_url
from dagster_restapi.http.paginators import Ahead
from dagster_restapi.model import Fetched
from dagster_restapi.slice_state import ParentKey, key_text, key_value
from dagster_restapi.spool import Spool

if TYPE_CHECKING:
    from dagster_restapi.config.endpoint import IncrementalConfig
    from dagster_restapi.extract.cursor_order import CursorOrder
    from dagster_restapi.extract.walker import Walker
    from dagster_restapi.http.walk import Page, Walk
    from dagster_restapi.model import JsonScalar, Parent, Plan, Slice
    from dagster_restapi.spool import Writer

CURSORS_FILE = "cursors.ndjson"

_log = logging.getLogger("dagster_restapi.extract")
_BLOCK = 64  # pages, or parents, that one unit takes at the most
_REST = 500_000_000  # the unit behind every block of pages


@dataclass(frozen=True, slots=True)
class Spread:
    """Pages that can be fetched in any order: by one walk for all threads, which compares pages side by side."""

    walk: Walk
    pages: Ahead
    shares: int


class Fetch:
    """Fetches one slice of one resource into its spool. Use once.

    Args:
        walker: Knows the plans and sends the requests.
        plan: The resource.
        slice_: What the run asks of it.
        spool: Open; what an earlier try left in it is not asked again.
        stored_parents: Copies the rows of a parent that has a table into the given file; gives the parent's newest
            load with the counts.
        cursors: How far the child of a parent without a table is loaded, by the parent's key as JSON with sorted keys.
        owed: Keys of parents that earlier loads left out.
        hash_by_parent: Tell rows of the same content apart by the parent that they belong to.
        since: Where the slice goes on, in words for the log.
        tell: Takes lines for the run's log.
        stop: Set from outside, it ends every thread at its next page; the spool keeps what is committed.
        meanwhile: What the calling thread does about five times a second while others fetch.
    """

    def __init__(
        self,
        walker: Walker,
        plan: Plan,
        slice_: Slice,
        spool: Spool,
        *,
        stored_parents: Callable[[Parent, Path], Frozen] | None = None,
        cursors: Callable[[], Mapping[str, JsonScalar]] = dict,
        owed: Iterable[ParentKey] = (),
        hash_by_parent: bool = False,
        since: str = "",
        tell: Callable[[str], None] = _log.info,
        stop: threading.Event | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self._walker, self._plan, self._slice, self._spool = walker, plan, slice_, spool
        self._stored_parents, self._cursors, self._tell = stored_parents, cursors, tell
        self._owed, self._hash_by_parent = frozenset(map(key_text, owed)), hash_by_parent
        self._decimals, self._request_fields = Decimals(plan), RequestFields(plan.table.request_fields)
        self._stop, self._meanwhile = stop or threading.Event(), meanwhile
        self._progress = Progress(plan.name, tell, since)
        self._where = f"resource {plan.name}"
        self._notes = 0  # of the session's, told so far
        self._first_failure: RestApiError | None = None
        self._uneven = ""

    def run(self) -> Fetched:
        """Fetches what is missing.

        Raises:
            RestApiError: A request failed for good, a page is not what it must be, or the run was stopped.
        """
        if "fetched" in self._spool.notes:  # an earlier try failed behind this point
            return msgspec.convert(self._spool.notes["fetched"], Fetched)
        if self._spool.discarded:
            self._tell(
                f"{self._plan.name}: an earlier attempt is thrown away and fetched anew: {self._spool.discarded}"
            )
        if self._spool.resumed:
            self._note_clamps()
            self._tell(f"{self._plan.name}: resuming after {self._spool.rows:,} rows from an earlier attempt")
            done = [Facts.parse(unit.facts) for unit in self._spool.units.values()]
            self._progress.goes_on(
                walks=sum(facts.walks for facts in done),
                received=sum(facts.received for facts in done),
                pages=sum(facts.pages for facts in done),
            )
        if self._plan.incremental and self._plan.incremental.ends_now and "now" not in self._spool.notes:
            self._spool.note(now=datetime.now(UTC).isoformat())
        started, before = time.monotonic(), _spent(self._walker)
        self._notes = len(self._walker.session.meter.notes)
        try:
            if self._plan.parent:
                self._children(self._plan.parent)
            elif self._plan.endpoint is None:
                self._rows()
            else:
                self._pages()
        finally:
            self._note_spent(before, time.monotonic() - started)
        fetched = self._fetched()
        self._spool.note(fetched=msgspec.to_builtins(fetched))
        self._spool.sync()
        self._tell(self._progress.line())
        return fetched

    # ---- one resource --------------------------------------------------------------------------------------------
    def _rows(self) -> None:
        """A resource that is a list or a callable: never resumed, since its order is not ours to know."""
        if self._done(0):
            return
        self._spool.discard(0)
        writer, facts = self._spool.writer(0), Facts()
        for records in rows_of(self._plan.rows, self._where):
            self._check_stop()
            settled = self._decimals.settled(process(records, self._plan.steps, {}, self._where))
            writer.write(settled, request_fields=self._request_fields.of(settled))
            facts.received += len(records)
            facts.pages += 1
            self._progress.page(len(records), 0)
        writer.commit(None, facts.to_json(), done=True)

    def _pages(self) -> None:
        """Page after page in unit 0; or, where a page tells where all others are, those in blocks side by side."""
        self._run_all(self._walk_alone, [(0, None)], 1)
        spread = self._spread()
        if spread and "rest" not in self._spool.notes:
            self._run_all(self._block, self._blocks(spread), self._plan.concurrency)
            if self._uneven:
                self._tell(f"{self._plan.name}: {self._uneven}; from here on its pages come one after another")
                self._spool.discard(1)
                self._spool.note(rest=spread.pages[0])
            else:
                last = max(number for number in self._spool.units if number < _REST)
                self._spool.note(rest=self._spool.units[last].facts.get("rest"))
        rest = self._spool.notes.get("rest")
        if rest is not None:
            self._run_all(self._walk_alone, [(_REST, rest)], 1)

    def _walk_alone(self, item: tuple[int, Any]) -> None:
        number, start = item
        if self._done(number):
            return
        writer = self._spool.writer(number)
        facts = Facts.parse(writer.facts or {"walk_pages": self._pages_fetched()})
        state = start if writer.state is None else writer.state
        self._walk(None, writer, facts, state, lambda next_page: next_page, spread=number == 0)
        writer.commit(None, facts.to_json(), done=True)

    # ---- pages side by side --------------------------------------------------------------------------------------
    def _may_spread(self, page: Page) -> bool:
        """Whether the pages behind this one can be fetched in any order."""
        incremental = self._plan.incremental
        ordered = incremental is not None and incremental.row_order is not None
        return bool(page.ahead) and self._plan.parent is None and self._plan.concurrency > 1 and not ordered

    def _note_spread(self, ahead: Ahead, number: int) -> None:
        wanted = len(ahead)
        if self._slice.max_pages is not None:
            wanted = min(wanted, self._slice.max_pages - number)
        self._spool.note(spread={"ahead": ahead[:wanted].to_json(), "shares": self._plan.concurrency * 2})

    def _spread(self) -> Spread | None:
        """The pages to fetch side by side, if there are any."""
        noted = self._spool.notes.get("spread")
        if not noted:
            return None
        walk = self._walker.walk(self._plan, self._slice, None, self._range(None, Facts()))
        return Spread(walk, Ahead.from_json(noted["ahead"]), noted["shares"])

    def _blocks(self, spread: Spread) -> Iterator[tuple[int, Spread, range]]:
        """Pages that follow each other, one unit each; fewer and fewer, so that no worker stands idle at the end."""
        start, pages = 0, len(spread.pages)
        for number in itertools.count(1):
            stop = min(pages, start + max(1, min(_BLOCK, (pages - start) // spread.shares)))
            if start == stop:
                return
            if not self._done(number):
                yield number, spread, range(start, stop)
            start = stop

    def _block(self, item: tuple[int, Spread, range]) -> None:
        number, spread, indexes = item
        writer = self._spool.writer(number)
        facts = Facts.parse(writer.facts)
        range_ = self._range(None, facts)
        self._check_unsent(facts, None)
        for index in indexes[facts.pages :]:
            self._check_stop()
            page = self._asked(partial(spread.walk.page, spread.pages[index]), writer, facts, None)
            assert page is not None
            is_last = index == len(spread.pages) - 1
            if not is_last and not page.fits:  # the next pages cannot be addressed by number
                self._uneven = f"page {page.number} has {page.elements} rows where {page.expected} were due"
            if self._uneven:
                return
            self._take(page, None, writer, facts, range_)
            facts.rest = page.next if is_last else None
            writer.commit(None, facts.to_json(), done=index == indexes[-1])

    # ---- many parents --------------------------------------------------------------------------------------------
    def _children(self, parent: Parent) -> None:
        path = self._spool.directory / FILE
        if "parents" not in self._spool.notes:
            self._freeze(parent, path)
        keys = self._progress.expected_walks = self._spool.notes["parents"]["keys"]
        if self._all_failed(keys):
            self._spool.discard(0)  # the last attempt ended by this: it asks nobody, and would call it a success
        self._run_all(self._family, self._families(path), self._plan.concurrency)
        if self._first_failure and self._all_failed(keys):
            raise self._first_failure
        self._write_cursors()

    def _freeze(self, parent: Parent, path: Path) -> None:
        """Copies the parent's rows beside the spool, so that a later try asks for the same ones."""
        if parent.stored:
            assert self._stored_parents, "a stored parent is read from its table"
            frozen = self._stored_parents(parent, path)
        else:
            frozen = self._fetch_parent(parent, path)
        for file in (path, *frozen.beside):
            self._spool.keep(file)
        self._spool.note(
            parents={
                "keys": frozen.keys,
                "skipped": frozen.skipped_null,
                "load_id": frozen.load_id,
                "since": frozen.since,
                "whole": frozen.whole,
                "cursors": frozen.cursors,
                "complete": frozen.complete,
                "warnings": frozen.warnings,
                "shares": self._plan.concurrency * 2,
            }
        )
        if frozen.skipped_null:
            self._tell(f"{self._plan.name}: skipped {frozen.skipped_null} rows of {parent.resource} without a key")

    def _fetch_parent(self, parent: Parent, path: Path) -> Frozen:
        """Fetches a parent that has no table, into a spool within this one: side by side, and resumable like any other.

        It is asked for everything, whatever the child's own cursor or limits are.
        """
        plan = self._walker.plans[parent.resource]
        slice_ = replace(self._slice, cursor=None, start_value=None, end_value=None, max_pages=None)
        root = self._spool.directory / "parent"
        with Spool.open(root, "spool", root_run_id=slice_.root_run_id, resume_within=float("inf")) as spool:
            stored = partial(self._walker.freeze_stored, plan)
            fetched = Fetch(
                self._walker, plan, slice_, spool, stored_parents=stored, tell=self._tell, stop=self._stop
            ).run()
            frozen = freeze_parents(spool.records(), parent, path, self._cursors())
            spool.remove()
        told = [f"{parent.resource}: {warning}" for warning in fetched.warnings]
        complete = fetched.complete and not fetched.failed_parents
        return replace(frozen, complete=complete, warnings=(*frozen.warnings, *told))

    def _families(self, path: Path) -> Iterator[tuple[int, list[bytes]]]:
        """Rows of the parent that follow each other; one unit walks them one after another.

        They become fewer and fewer: large families make few files, and small ones at the end let no worker stand idle.
        """
        left, shares = self._spool.notes["parents"]["keys"], self._spool.notes["parents"]["shares"]
        with path.open("rb") as lines:
            for number in itertools.count():
                family = list(itertools.islice(lines, max(1, min(_BLOCK, left // shares))))
                if not family:
                    return
                left -= len(family)
                if not self._done(number):
                    yield number, family

    def _family(self, item: tuple[int, list[bytes]]) -> None:
        number, lines = item
        writer = self._spool.writer(number)
        facts = Facts.parse(writer.facts)
        at, state = writer.state or (0, None)
        for index in range(at, len(lines)):
            facts = self._one_parent(parse_row(lines[index]), index, writer, facts, state)
            state = None
            writer.commit((index + 1, None), facts.to_json(), done=index == len(lines) - 1)
            self._progress.walk()

    def _one_parent(self, row: ParentRow, index: int, writer: Writer, facts: Facts, state: Any) -> Facts:
        before = facts.to_json()
        cuts, owed = facts.cuts, row.owed or (bool(self._owed) and key_text(row.key) in self._owed)
        try:
            self._walk(row, writer, facts, state, lambda next_page: (index, next_page))
        except (RequestError, ResponseError, PagingError) as error:
            if self._plan.on_error == "fail":
                raise
            self._first_failure = self._first_failure or error
            self._progress.say(f"skipped {row.label}: {error}")
            writer.rollback()
            facts = Facts.parse(before)
            facts.failed.append(row.key)
            facts.may_pass += error.transient
            facts.owed += [row.key] if owed else []
        else:
            whole = facts.cuts == cuts
            furthest = self._clamped_of(writer.number, index, facts.furthest)
            if furthest is not None and whole:
                facts.cursors.append((row.key, self._not_back(furthest, row.cursor)))
            facts.held_back |= furthest != facts.furthest
            if owed:  # of a window that is given by hand, the rest is due all the same
                (facts.settled if whole and not self._slice.by_hand else facts.owed).append(row.key)
        facts.furthest, facts.walk_pages, facts.sent = None, 0, ""
        facts.walks += 1
        return facts

    def _all_failed(self, keys: int) -> bool:
        """Whether no parent that was asked has answered: that is no matter of single parents.

        Where only those are asked that failed before, and fail once more, it still may be.
        """
        known = sum(len(unit.facts.get("owed", ())) for unit in self._spool.units.values())
        return 0 < keys == len(self._failed()) > known

    def _failed(self) -> list[dict[str, Any]]:
        return [key for _, unit in sorted(self._spool.units.items()) for key in unit.facts.get("failed", ())]

    def _write_cursors(self) -> None:
        """One line per parent key: how far the child is loaded for it. The load brings them beside the ledger.

        A parent that failed in a window given by hand is owed that window: it is asked from the beginning on.
        """
        settings = self._plan.incremental
        if settings is None or self._slice.window:
            return
        path = self._spool.directory / CURSORS_FILE
        part = path.with_suffix(".part")
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as lines:
            lines.writelines(msgspec.json.encode(line) + b"\n" for line in self._new_cursors(order_of(settings)))
        part.replace(path)
        self._spool.keep(path)

    def _new_cursors(self, order: CursorOrder) -> Iterator[dict[str, Any]]:
        if self._slice.by_hand:
            yield from ({"key": key, "value": None, "kind": "text"} for key in self._failed())
            return
        for _, unit in sorted(self._spool.units.items()):
            for key, value in unit.facts.get("cursors", ()):
                ranked = order.rank(value)
                yield {"key": key, "value": value, "kind": ranked.kind if ranked else "text"}

    # ---- one walk ------------------------------------------------------------------------------------------------
    def _walk(
        self,
        row: ParentRow | None,
        writer: Writer,
        facts: Facts,
        state: Any,
        resume_at: Callable[[Any], Any],
        *,
        spread: bool = False,
    ) -> None:
        """Walks to the end, committing behind every page but the last: that one the caller commits.

        Args:
            state: The page to begin with; None: the first.
            resume_at: Makes the unit's state of a page's state.
            spread: End where the further pages can be fetched side by side.
        """
        range_ = self._range(row, facts)
        walk = self._walker.walk(self._plan, self._slice, row, range_)
        wanted = self._slice.max_pages
        pages = walk.pages(state, max_pages=None if wanted is None else max(0, wanted - facts.walk_pages))
        at = resume_at(state)
        self._check_unsent(facts, row)
        while (page := self._asked(partial(next, pages, None), writer, facts, at)) is not None:
            if not self._sends_once:  # else what has come is kept: it is not asked for again
                self._check_stop()
            facts.walk_pages += 1
            self._take(page, row, writer, facts, range_)
            if page.next is None or (range_ is not None and range_.finished):
                return
            if page.ahead and spread and self._may_spread(page):
                self._note_spread(page.ahead, page.number)
                return
            if self._by_page:
                at = resume_at(page.next)
                writer.commit(at, facts.to_json())
        facts.cuts += 1  # `max_pages` ended it while more follow

    # ---- requests that are sent once -------------------------------------------------------------------------------
    @cached_property
    def _sends_once(self) -> bool:
        """Whether a request of the resource must not be sent twice: a POST that nobody called idempotent."""
        endpoint = self._plan.endpoint
        return endpoint is not None and not self._walker.session.may_repeat(endpoint.method, endpoint.retry)

    @property
    def _by_page(self) -> bool:
        """Whether pages are committed one by one; with `on_error: skip`, all pages of a parent are."""
        return self._plan.on_error == "fail" or self._plan.parent is None

    @property
    def _root_run(self) -> str:
        return self._slice.root_run_id or "-"

    def _check_unsent(self, facts: Facts, row: ParentRow | None) -> None:
        """Refuses to go on where an earlier try of this run has sent a request, and its page did not get here.

        Another run does not go on from this one: it asks for it in its own name.
        """
        if self._sends_once and facts.sent == self._root_run:
            method = self._plan.endpoint.method if self._plan.endpoint else ""
            raise ExtractError(
                f"an earlier try of this run was interrupted after it had sent a {method}, which is not sent again",
                where=self._where + (f", parent {row.label}" if row else ""),
                hint="Set `retry: {idempotent: true}` of the endpoint, if it does no harm to send it twice, as with a "
                "search; or start a new run, which asks for everything that is missing.",
            )
        facts.sent = ""

    def _asked(self, ask: Callable[[], Page | None], writer: Writer, facts: Facts, at: Any) -> Page | None:
        """A page. If its request is one that is sent once, the journal says so from before it goes out until it is in.

        Args:
            at: The unit's state before the page.
        """
        if not self._sends_once:
            return ask()
        if not facts.sent:
            facts.sent = self._root_run
            writer.commit(at, facts.to_json())
        try:
            page = ask()
        except RestApiError as error:
            if error.acted:
                error.transient = False
            elif self._by_page:
                facts.sent = ""
                writer.commit(at, facts.to_json())
            raise
        if self._by_page:
            facts.sent = ""  # in the journal as soon as the page is
        return page

    def _take(self, page: Page, row: ParentRow | None, writer: Writer, facts: Facts, range_: Range | None) -> None:
        """One page into the spool."""
        processed = process(page.records, self._plan.steps, included(self._plan.parent, row), self._where)
        records, places = self._decimals.settled(processed), None
        if range_ is not None:
            records = range_.keep(records)
            places = range_.places if self._slice.stretch else None
            if row is not None and row.cursor is not None:
                places = range_.not_beyond(row.cursor, records)
            facts.furthest, facts.ahead = range_.furthest, range_.ahead
            facts.out_of_range, facts.without_cursor = range_.out_of_range, range_.without_cursor
        fault: ResponseError | None = None
        try:
            writer.write(records, places, self._request_fields.of(records), salt=self._salt(row))
        except ResponseError as error:
            fault = error
        if fault:
            where = f"{self._where}, page {page.number}, {page.url}"
            raise ResponseError(fault.what, where=where, hint=fault.hint, transient=fault.transient)
        if page.by_position and page.next:
            self._spool.keep_from_others()  # a run of tomorrow would go on behind rows that have moved
        facts.pages += 1
        facts.received += len(page.records)
        facts.cuts += not page.complete
        facts.warnings += [warning for warning in page.warnings if warning not in facts.warnings]
        self._progress.page(len(records), page.bytes, received=len(page.records))
        if self._plan.parent is None:
            self._progress.expected_rows = page.total or self._progress.expected_rows
            self._progress.expected_pages = page.total_pages or self._progress.expected_pages

    def _salt(self, row: ParentRow | None) -> bytes:
        return key_value(row.key).encode() if row and self._hash_by_parent else b""

    def _range(self, row: ParentRow | None, facts: Facts) -> Range | None:
        settings = self._plan.incremental
        if settings is None:
            return None
        cursor = self._slice.cursor.value if self._slice.cursor else None
        range_ = Range.of(settings, self._slice, row.cursor if row else cursor, self._where, self._now)
        range_.resume(facts.furthest, facts.out_of_range, facts.without_cursor, facts.ahead)
        return range_

    @property
    def _now(self) -> datetime | None:
        """The start of the first attempt, where requests end there: a page of a later one is of the same range."""
        noted = self._spool.notes.get("now")
        return datetime.fromisoformat(noted) if noted else None

    # ---- threads and ends ----------------------------------------------------------------------------------------
    def _run_all(self, work: Callable[[Item], None], items: Iterator[Item] | list[Item], workers: int) -> None:
        try:
            side_by_side(work, items, workers=workers, stop=self._stop, tick=self._wait)
        finally:
            self._tick()

    def _wait(self) -> None:
        self._tick()
        self._meanwhile()

    def _tick(self) -> None:
        """Tells what threads have said and waited for. The run's log is written by the thread of the step alone."""
        notes = self._walker.session.meter.notes
        for note in notes[self._notes :]:
            self._progress.say(note)
        self._notes = len(notes)
        self._progress.tick()

    def _done(self, number: int) -> bool:
        unit = self._spool.units.get(number)
        return unit is not None and unit.done

    def _pages_fetched(self) -> int:
        return sum(unit.facts.get("pages", 0) for unit in self._spool.units.values())

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise Cancelled("the run was stopped", hint="Re-execute it: it goes on where it stopped.")

    def _note_spent(self, before: dict[str, float], seconds: float) -> None:
        """Adds what this try has cost to what earlier ones did; the session may have served other fetches before."""
        known = self._spool.notes.get("spent", {})
        now = {name: value - before[name] for name, value in _spent(self._walker).items()} | {"seconds": seconds}
        self._spool.note(spent={name: value + known.get(name, 0) for name, value in now.items()})

    def _fetched(self) -> Fetched:
        all_facts = [Facts.parse(unit.facts) for _, unit in sorted(self._spool.units.items())]
        parents = self._spool.notes.get("parents", {})
        furthest = self._cursor_moves_to(all_facts)
        settings = self._plan.incremental
        ranked = order_of(settings).rank(furthest) if settings and furthest is not None else None
        failed = tuple(self._failed())
        complete = all(facts.complete for facts in all_facts) and parents.get("complete", True)
        moves = complete and not self._slice.by_hand
        return Fetched(
            load_id=self._spool.load_id,
            rows=self._spool.rows,
            pages=sum(facts.pages for facts in all_facts),
            cursor_value=furthest,
            cursor_kind=ranked.kind if ranked else None,
            complete=complete,
            whole=complete and not failed and parents.get("whole", True) and self._asks_for_everything,
            out_of_range=sum(facts.out_of_range for facts in all_facts),
            without_cursor=sum(facts.without_cursor for facts in all_facts),
            parents=parents.get("keys"),
            failed_parents=failed,
            owed_parents=tuple(key for facts in all_facts for key in facts.owed),
            settled_parents=tuple(key for facts in all_facts for key in facts.settled),
            parents_complete=parents.get("complete", True),
            held_back=any(facts.held_back or facts.ahead is not None for facts in all_facts)
            or self._is_held_back(all_facts),
            skipped_parents=parents.get("skipped", 0),
            parent_load_id=parents.get("load_id" if moves else "since"),
            warnings=self._warnings(all_facts),
            url=self._url,
            **self._spool.notes["spent"],
        )

    @property
    def _url(self) -> str | None:
        if self._plan.endpoint is None or self._plan.parent is not None:
            return None
        call = self._walker.call(self._plan, self._slice, None, self._range(None, Facts()))
        return safe_url(call.url).partition("?")[0]

    @property
    def _asks_for_everything(self) -> bool:
        """Whether the slice is asked for all that it has; a time window is, whatever its rows are told by."""
        return (self._plan.incremental is None or self._slice.window is not None) and self._slice.max_pages is None

    def _cursor_moves_to(self, all_facts: list[Facts]) -> Any:
        """The furthest value that a complete walk on from the cursor saw; None: the cursor stays where it is."""
        settings = self._plan.incremental
        if settings is None or self._plan.parent is not None or settings.fixed_end is not None:
            return None
        if self._slice.by_hand or self._slice.window or not all(facts.complete for facts in all_facts):
            return None
        furthest, clamp = self._seen_up_to(all_facts, settings), self._spool.notes.get("clamp")
        moved = nearest_of(furthest, clamp["at"], settings) if clamp else furthest
        return self._not_back(moved, self._slice.cursor.value if self._slice.cursor else None)

    def _not_back(self, moved: Any, before: Any) -> Any:
        """A cursor never moves back: with `lag`, all that came may lie before it, for what was there is deleted."""
        settings = self._plan.incremental
        if moved is None or before is None or settings is None:
            return moved
        return furthest_of([moved, before], settings)

    def _seen_up_to(self, all_facts: list[Facts], settings: IncrementalConfig) -> Any:
        return furthest_of([facts.furthest for facts in all_facts], settings)

    # ---- what a resumed load may say of the cursor -----------------------------------------------------------------
    # A row on a page that was fetched before the interruption may have been edited since, at a cursor value beyond all
    # that had been seen by then; a later page may hold a value that lies even further. The cursor would pass the edit.
    def _note_clamps(self) -> None:
        """Notes how far what is fetched had come when the attempt before ended; the first such note of a walk stays."""
        settings = self._plan.incremental
        if settings is None or settings.in_order or self._slice.window:
            return
        if self._plan.parent is None:
            seen = [Facts.parse(unit.facts) for unit in self._spool.units.values()]
            if "clamp" not in self._spool.notes and any(facts.received for facts in seen):
                self._spool.note(clamp={"at": self._seen_up_to(seen, settings)})
            return
        known = self._spool.notes.get("clamps", {})
        clamps = dict(known)
        for number, unit in self._spool.units.items():
            index, page = unit.state or (0, None)
            if page is not None and clamps.get(str(number), [None])[0] != index:
                clamps[str(number)] = [index, unit.facts.get("furthest")]
        if clamps != known:
            self._spool.note(clamps=clamps)

    def _is_held_back(self, all_facts: list[Facts]) -> bool:
        """Whether the cursor moves less far than rows came."""
        settings = self._plan.incremental
        if settings is None or "clamp" not in self._spool.notes:
            return False
        return bool(self._cursor_moves_to(all_facts) != self._seen_up_to(all_facts, settings))

    def _clamped_of(self, number: int, index: int, furthest: Any) -> Any:
        """Where the cursor of a parent moves to; None: it stays where it is."""
        of, at = self._spool.notes.get("clamps", {}).get(str(number), (None, None))
        settings = self._plan.incremental
        return nearest_of(furthest, at, settings) if settings and of == index else furthest

    def _warnings(self, all_facts: list[Facts]) -> tuple[str, ...]:
        """Each warning once; at most ten, since a thousand parents may say the same."""
        of_parents = self._spool.notes.get("parents", {}).get("warnings", ())
        of_pages = (warning for facts in all_facts for warning in facts.warnings)
        of_session = self._walker.session.meter.warnings
        own = (*self._skipped(), *self._from_future(all_facts))
        distinct = list(dict.fromkeys((*own, *of_session, *of_parents, *of_pages)))
        more = [f"and {len(distinct) - 10} more warnings"] if len(distinct) > 10 else []
        return (*distinct[:10], *more)

    def _from_future(self, all_facts: list[Facts]) -> list[str]:
        """What there is to say of cursors that lie in the future, where the load goes on from one or found one."""
        settings, now = self._plan.incremental, datetime.now(UTC)
        if settings is None or settings.last_value_func == "min" or settings.fixed_end is not None:
            return []
        order, told = order_of(settings), list[str]()
        found = furthest_of([facts.ahead for facts in all_facts], settings)
        before = self._slice.cursor.value if self._slice.cursor and not self._slice.by_hand else None
        for value, consequence in (
            (before, "the load went on from there, and passed what lies before: begin anew by `full_refresh: true`"),
            (found, "the row is loaded, and the cursor stays behind, so that it passes nothing that comes until then"),
        ):
            ranked = None if value is None else order.rank(value)
            if ranked is not None and order.is_from_future(ranked, now):
                told.append(f"the cursor value {value!r} lies in the future: {consequence}")
        return told

    def _skipped(self) -> list[str]:
        """How many parents `on_error: skip` left out, and which, in one warning; the log has each with its error."""
        failed, parent = self._failed(), self._plan.parent
        if not failed or parent is None:
            return []
        some = "; ".join(ParentRow(key).label for key in failed[:5])
        keys = self._spool.notes["parents"]["keys"]
        return [
            f"{len(failed)} of {keys} rows of {parent.resource} were skipped, for their requests failed; "
            f"the next run asks for them again: {some}{' …' if len(failed) > 5 else ''}"
        ]


def _spent(walker: Walker) -> dict[str, float]:
    """What the session has cost so far."""
    meter = walker.session.meter
    return {
        "requests": meter.requests,
        "retries": meter.retries,
        "waited_seconds": meter.waited_seconds,
        "bytes": meter.bytes,
    }
