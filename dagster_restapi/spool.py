"""The spool: the records of one slice on local disk, with a journal that lets a later try go on where one died.

A spool is a directory, mode 0700:

    journal         one JSON object a line: the header first, then one line per committed page. Only ever appended to
    lock            held while a process uses the spool
    00000000-0000.ndjson …   segments: unit and part, so that their names give the order of the records
    parents.ndjson  (optional) the frozen rows of the parent

A unit is a walk that runs by itself: the whole resource, one parent's children, or a block of pages. What the journal
does not mention is cut off or deleted when the spool is opened again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import msgspec
from filelock import FileLock, Timeout
from xxhash import xxh3_128_hexdigest

from dagster_restapi.errors import ResponseError, SpoolError
from dagster_restapi.schema import Node, Recorder

HASH_FIELD = "_restapi_row_hash"
# Of a spool for several partitions: the number of the one that a record goes into. Of a child: 1 where a record does
# not lie beyond the cursor of its parent.
PLACE_FIELD = "_restapi_place"
# Of a resource that has children: what their requests need of the record, as JSON, in a text that DuckDB leaves alone.
REQUEST_FIELD = "_restapi_request_fields"
DEEPEST = 64  # levels of objects and lists in a record: deeper ones are an attack or a mistake, and make no tables
SEGMENT_BYTES = 8 * 2**20  # DuckDB reads up to 32 MB of a file at once, in each of its threads
SMALL_SEGMENTS = 64  # DuckDB opens a file in about 0.4 ms: when more than so many are not full, they are joined

_FORMAT = 1
_LONE = re.compile("[\ud800-\udfff]")
_SEGMENT = re.compile(r"\d{9}-\d{4}\.ndjson")
_LINE = b'{"%s":"%%b",%%b\n' % HASH_FIELD.encode()
_EMPTY_LINE = b'{"%s":"%%b"%%b\n' % HASH_FIELD.encode()
_BEHIND_HASH = len(HASH_FIELD) + 6 + 32  # where `_LINE` goes on behind the hash: `{"…":"` + 32 digits + `"`
_OWN = "own"  # the note of `keep_from_others`
_PLACE = b',"%s":%%d' % PLACE_FIELD.encode()
_REQUEST = b',"%s":%%b' % REQUEST_FIELD.encode()
# Decimals are texts: DuckDB reads every JSON number with a fraction as a DOUBLE before it becomes a DECIMAL.
_encode = msgspec.json.Encoder(order="sorted", decimal_format="string").encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Segment:
    """A finished file of records: newline-delimited JSON, each line with `_restapi_row_hash` as its first key."""

    path: Path
    bytes: int
    rows: int


@dataclass(slots=True)
class Unit:
    """How far one walk has come."""

    state: Any = None  # what the walk needs to go on; JSON
    facts: dict[str, Any] = field(default_factory=dict)  # what it has learnt so far; JSON
    done: bool = False
    parts: dict[str, tuple[int, int]] = field(default_factory=dict)  # segment name -> (bytes, rows)


def encode_records(records: Sequence[Mapping[str, Any]], salt: bytes = b"") -> list[bytes]:
    """The lines of a segment: keys sorted, so that equal records give equal bytes and hashes.

    The hash is XXH3 of 128 bits: it tells contents apart at a tenth of MD5's cost, and nothing here needs more.

    Args:
        salt: What else tells rows apart; it goes into the hash alone.
    """
    try:
        return _hashed(map(_encode, records), salt)
    except UnicodeEncodeError:
        return _hashed(map(_encode_slowly, records), salt)


def _hashed(lines: Iterable[bytes], salt: bytes) -> list[bytes]:
    return [
        (_LINE if len(line) > 2 else _EMPTY_LINE) % (xxh3_128_hexdigest(line + salt).encode(), line[1:])
        for line in lines
    ]


def without_hash(record: dict[str, Any]) -> dict[str, Any]:
    """A record of a spool as it was written; the given one is changed."""
    record.pop(HASH_FIELD, None)
    record.pop(PLACE_FIELD, None)
    record.pop(REQUEST_FIELD, None)
    return record


def _placed(line: bytes, place: int) -> bytes:
    return line[:_BEHIND_HASH] + _PLACE % place + line[_BEHIND_HASH:]


def _with_request_fields(line: bytes, values: Mapping[str, Any]) -> bytes:
    text = _encode(_encode_slowly(values).decode())
    return line[:_BEHIND_HASH] + _REQUEST % text + line[_BEHIND_HASH:]


def _encode_slowly(record: Mapping[str, Any]) -> bytes:
    try:
        return _encode(record)
    except UnicodeEncodeError:  # a lone surrogate, which neither UTF-8 nor DuckDB can hold: its escape stays, as text
        text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
        return _LONE.sub(lambda match: f"\\\\u{ord(match[0]):04x}", text).encode()


class Spool:
    """One slice's records on disk. Open it with `Spool.open`, write through `writer`.

    Attributes:
        load_id: Born with the spool; the ledger's key.
        units: What earlier tries committed, by unit number.
        notes: Facts about the whole slice, kept by `note`.
        resumed: Whether an earlier try left something to go on from.
        longest: Bytes of the longest line, at least.
    """

    def __init__(self, directory: Path, lock: FileLock) -> None:
        self.directory, self._file_lock = directory, lock
        self.load_id = ""
        self.units: dict[int, Unit] = {}
        self.notes: dict[str, Any] = {}
        self.resumed = False
        self.longest = 0
        self._recorder = Recorder()
        self._written_version = self._written_longest = 0
        self._journal: IO[bytes] | None = None
        self._mutex = threading.Lock()

    # ---- life ----------------------------------------------------------------------------------------------------
    @classmethod
    def open(cls, root: Path, name: str, *, root_run_id: str = "", resume_within: float = 86_400.0) -> Self:
        """Opens the spool of a slice, and goes on from what an earlier try left there.

        Args:
            root: Where spools lie; made if it does not exist, mode 0700.
            name: The slice's own name, a hash.
            root_run_id: The same root run resumes whatever the spool's age.
            resume_within: Seconds for which another run may resume it.

        Raises:
            SpoolError: Another process uses this very slice, or the directory cannot be written.
        """
        directory = root / name
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(directory / "lock", timeout=0, mode=0o600)
            lock.acquire()
        except Timeout:
            raise SpoolError(
                "another process is loading the same slice at this moment",
                where=str(directory),
                hint="Wait for it to end; this run then goes on from its result.",
            ) from None
        except OSError as error:
            raise SpoolError(
                f"the spool cannot be written: {error.strerror}",
                where=str(directory),
                hint="Free some space there, or set `spool_dir` of the IO manager to a folder that can be written.",
            ) from None
        spool = cls(directory, lock)
        try:
            spool._resume(root_run_id, resume_within)
        except BaseException:
            spool.close()
            raise
        return spool

    def _resume(self, root_run_id: str, resume_within: float) -> None:
        journal = self.directory / "journal"
        length = 0
        if journal.exists():
            young = time.time() - journal.stat().st_mtime < resume_within
            length = self._read(journal, root_run_id, young)
        if not length:
            self._clear()
            self.load_id = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:12]}"
        else:
            os.truncate(journal, length)
            self._cut()
        self._journal = open(os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb", buffering=0)
        if not length:
            self._append({"format": _FORMAT, "load_id": self.load_id, "root_run_id": root_run_id})
        self.resumed = bool(length) and bool(self.units or self.notes)

    def _read(self, journal: Path, root_run_id: str, young: bool) -> int:
        """Replays the journal; gives the length of its whole lines, or 0 where it is not to be resumed."""
        length, ours = 0, True
        with journal.open("rb") as lines:
            for number, line in enumerate(lines):
                if not line.endswith(b"\n"):
                    break  # torn by a kill
                entry = _decode(line)
                if number == 0:
                    if entry.get("format") != _FORMAT or not (young or entry["root_run_id"] == root_run_id):
                        return 0
                    self.load_id, ours = entry["load_id"], entry["root_run_id"] == root_run_id
                else:
                    self._replay(entry)
                length += len(line)
        if self.notes.get(_OWN) and not ours:
            self.units, self.notes, self.longest, self._recorder = {}, {}, 0, Recorder()
            return 0
        return length

    def _replay(self, entry: dict[str, Any]) -> list[str]:
        """Brings one line of the journal into `units`, `notes` and the schema; gives segments that it made needless."""
        dropped: list[str] = []
        if "schema" in entry:
            self._recorder.root.merge(Node.from_json(entry["schema"]))
        self.longest = max(self.longest, entry.get("longest", 0))
        if "note" in entry:
            self.notes.update(entry["note"])
        if "discard" in entry:
            for number in [number for number in self.units if number >= entry["discard"]]:
                dropped += self.units.pop(number).parts
        if "join" in entry:  # joined segments take the place of what they were made of
            dropped += [name for unit in self.units.values() for name in unit.parts]
            self.units = {
                int(number): Unit(done=True, facts=self.units[int(number)].facts) for number in entry["join"]["units"]
            }
            first = min(self.units, default=0)
            self.units.setdefault(first, Unit(done=True)).parts = {
                name: (size, rows) for name, size, rows in entry["join"]["parts"]
            }
        if "unit" in entry:
            self._replay_unit(entry)
        return dropped

    def _replay_unit(self, entry: dict[str, Any]) -> None:
        unit = self.units.setdefault(entry["unit"], Unit())
        unit.state, unit.facts, unit.done = entry["state"], entry["facts"], entry["done"]
        if entry["part"]:
            name, size, rows = entry["part"]
            unit.parts[name] = (size, rows)

    def _cut(self) -> None:
        known = {name: size for unit in self.units.values() for name, (size, _) in unit.parts.items()}
        for path in self.directory.iterdir():
            if _SEGMENT.fullmatch(path.name):
                if path.name not in known:
                    path.unlink()
                elif path.stat().st_size < known[path.name]:
                    raise SpoolError("a segment is shorter than its journal says", where=str(path))
                else:
                    os.truncate(path, known[path.name])

    def _clear(self) -> None:
        for path in self.directory.iterdir():
            if path.name == "lock":
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def close(self) -> None:
        """Lets go of the spool and keeps what is committed, for a later try."""
        if self._journal:
            self._journal.close()
            self._journal = None
        self._file_lock.release()

    def remove(self) -> None:
        """Deletes the spool: its load stands in the ledger."""
        (self.directory / "journal").unlink(missing_ok=True)  # first: half a spool is never resumed
        self.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- writing -------------------------------------------------------------------------------------------------
    def _append(self, entry: dict[str, Any]) -> None:
        """Adds one line to the journal; the caller holds the mutex, or is alone."""
        assert self._journal is not None, "the spool is closed"
        length = os.fstat(self._journal.fileno()).st_size
        try:
            _write(self._journal, msgspec.json.encode(entry) + b"\n")
        except OSError as error:
            os.ftruncate(self._journal.fileno(), length)  # a torn line would spoil the next one
            raise disk_fault(error, self.directory) from None

    def note(self, **facts: Any) -> None:
        """Keeps facts about the whole slice (JSON), so that a later try knows them in `notes`."""
        with self._mutex:
            self.notes.update(facts)
            self._append({"note": facts})

    def keep_from_others(self) -> None:
        """From now on, only the same root run goes on from what is here; others fetch it anew."""
        if not self.notes.get(_OWN):
            self.note(**{_OWN: True})

    def writer(self, number: int) -> Writer:
        """A writer for one unit, going on behind what is committed of it."""
        with self._mutex:
            unit = self.units.setdefault(number, Unit())
        return Writer(self, number, unit)

    def discard(self, first: int) -> None:
        """Forgets all units from this number on, and deletes their records."""
        with self._mutex:
            entry = {"discard": first}
            self._append(entry)
            for name in self._replay(entry):
                (self.directory / name).unlink(missing_ok=True)

    def _commit(
        self, number: int, state: Any, facts: dict[str, Any], part: tuple[str, int, int] | None, *, done: bool
    ) -> None:
        with self._mutex:
            entry: dict[str, Any] = {"unit": number, "state": state, "facts": facts, "done": done, "part": part}
            if self._recorder.version != self._written_version:
                entry["schema"] = self._recorder.root.to_json()
                self._written_version = self._recorder.version
            if self.longest != self._written_longest:
                entry["longest"] = self._written_longest = self.longest
            self._append(entry)
            self._replay_unit(entry)

    def _observe(self, records: list[dict[str, Any]], longest: int) -> None:
        with self._mutex:
            self.longest = max(self.longest, longest)
            version = self._recorder.version
            try:
                self._recorder.observe(records)
                too_deep = self._recorder.version != version and _is_deeper(self._recorder.root, DEEPEST)
            except RecursionError:
                too_deep = True
        if too_deep:
            raise ResponseError(
                f"a record is nested more than {DEEPEST} levels deep",
                hint="Cut it, or make a text of what lies deep in it, by a `map` in the resource's processing_steps.",
            )

    # ---- reading -------------------------------------------------------------------------------------------------
    @property
    def schema(self) -> Node:
        """The recorded schema of all records."""
        return self._recorder.root

    @property
    def rows(self) -> int:
        """Records committed."""
        return sum(rows for unit in self.units.values() for _, rows in unit.parts.values())

    @property
    def bytes(self) -> int:
        """Bytes committed."""
        return sum(size for unit in self.units.values() for size, _ in unit.parts.values())

    def segments(self) -> list[Segment]:
        """The segments that hold records, in the records' order."""
        parts = {name: part for unit in self.units.values() for name, part in unit.parts.items()}
        return [Segment(self.directory / name, *parts[name]) for name in sorted(parts) if parts[name][1]]

    def finished(self) -> list[Segment]:
        """The first of the segments, as far as nothing is added to them or put between them any more."""
        found: list[Segment] = []
        with self._mutex:
            for expected, (number, unit) in enumerate(sorted(self.units.items())):
                if number != expected:
                    break
                parts = sorted(unit.parts.items())
                found += [
                    Segment(self.directory / name, size, rows)
                    for name, (size, rows) in (parts if unit.done else parts[:-1])
                    if rows
                ]
                if not unit.done:
                    break
        return found

    def schema_so_far(self) -> Node:
        """A copy of the recorded schema, while other threads still write."""
        with self._mutex:
            return Node.from_json(self._recorder.root.to_json())

    def records(self) -> Iterator[dict[str, Any]]:
        """The records in order, as they were written, their hash included."""
        for segment in self.segments():
            with segment.path.open("rb") as lines:
                for line in lines:
                    yield _decode(line)

    def seal(self) -> None:
        """Joins many small segments into few, so that staging opens few files. All units must be done."""
        segments = self.segments()
        if len(segments) - self.bytes // SEGMENT_BYTES <= SMALL_SEGMENTS:
            return
        joined: list[tuple[str, int, int]] = []
        for number, group in enumerate(_by_size(segments)):
            name = f"{999_000_000 + number:09d}-0000.ndjson"
            with open(os.open(self.directory / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
                for segment in group:
                    with segment.path.open("rb") as source:
                        shutil.copyfileobj(source, target, 2**20)
            joined.append((name, sum(s.bytes for s in group), sum(s.rows for s in group)))
        with self._mutex:
            entry = {"join": {"units": sorted(self.units), "parts": joined}}
            self._append(entry)
            for needless in self._replay(entry):
                (self.directory / needless).unlink(missing_ok=True)


class Writer:
    """Writes one unit's records. Nothing counts before `commit`."""

    def __init__(self, spool: Spool, number: int, unit: Unit) -> None:
        self._spool, self._number, self._unit = spool, number, unit
        self._file: IO[bytes] | None = None
        self._part = max(0, len(unit.parts) - 1)
        self._name = self._segment_name()
        self._size, self._rows = unit.parts.get(self._name, (0, 0))

    def _segment_name(self) -> str:
        return f"{self._number:09d}-{self._part:04d}.ndjson"

    @property
    def state(self) -> Any:
        """Where an earlier try stopped; None at the start."""
        return self._unit.state

    @property
    def facts(self) -> dict[str, Any]:
        """What an earlier try had learnt."""
        return self._unit.facts

    def write(
        self,
        records: list[dict[str, Any]],
        places: Sequence[int] | None = None,
        request_fields: Sequence[Mapping[str, Any]] | None = None,
        *,
        salt: bytes = b"",
    ) -> None:
        """Appends records; they are in the page cache when this returns, and count after `commit`.

        Args:
            places: What `PLACE_FIELD` says of each record.
            request_fields: What `REQUEST_FIELD` keeps of each record: values by path. They are no part of its hash.
            salt: What tells these records from others of the same content.

        Raises:
            ResponseError: A record is nested too deeply.
            SpoolError: The disk is full or read-only.
        """
        if not records:
            return
        lines = encode_records(records, salt)
        if places is not None:
            lines = list(map(_placed, lines, places))
        if request_fields is not None:
            lines = list(map(_with_request_fields, lines, request_fields))
        block = b"".join(lines)
        self._spool._observe(records, longest=max(map(len, lines)))
        try:
            if self._file is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
                self._file = open(os.open(self._spool.directory / self._name, flags, 0o600), "ab", buffering=0)
            _write(self._file, block)
        except OSError as error:
            raise disk_fault(error, self._spool.directory) from None
        self._size += len(block)
        self._rows += len(records)

    def commit(self, state: Any, facts: dict[str, Any], *, done: bool = False) -> None:
        """Makes what was written count, together with the state that a later try goes on from."""
        part = (self._name, self._size, self._rows) if self._rows else None
        self._spool._commit(self._number, state, facts, part, done=done)
        if done:
            self.close()
        elif self._size >= SEGMENT_BYTES:
            self.close()
            self._part += 1
            self._name, self._size, self._rows = self._segment_name(), 0, 0

    def rollback(self) -> None:
        """Cuts off what was written since the last commit."""
        self.close()
        self._size, self._rows = self._unit.parts.get(self._name, (0, 0))
        path = self._spool.directory / self._name
        if path.exists():
            os.truncate(path, self._size)

    def close(self) -> None:
        """Closes the file; uncommitted records are cut off when the spool is opened again."""
        if self._file:
            self._file.close()
            self._file = None


def _write(file: IO[bytes], data: bytes) -> None:
    """Writes all of it: an unbuffered file on a disk that is about to be full takes a part, and says so only once."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def disk_fault(error: OSError, directory: Path) -> SpoolError:
    """What a full or read-only disk means here."""
    return SpoolError(
        f"the spool cannot be written: {error.strerror}",
        where=str(directory),
        hint="Free some space there, or set `spool_dir` of the IO manager to another disk; the next try goes on here.",
    )


def sweep(root: Path, *, older_than: float = 86_400.0, except_of: str = "") -> list[str]:
    """Removes spools that nobody uses and nobody has written for `older_than` seconds; gives their names.

    A directory without a journal is what a kill left while a spool was removed.

    Args:
        except_of: A root run whose spools stay, whatever their age.
    """
    removed = []
    for directory in sorted(root.iterdir()) if root.exists() else ():
        journal = directory / "journal"
        try:
            journaled = journal.exists()
            written = (journal if journaled else directory).stat().st_mtime
            if not directory.is_dir() or time.time() - written < older_than:
                continue
            if journaled and _root_run(journal) == except_of != "":
                continue
            with FileLock(directory / "lock", timeout=0, mode=0o600):
                journal.unlink(missing_ok=True)
        except (Timeout, OSError):
            continue
        shutil.rmtree(directory, ignore_errors=True)
        removed.append(directory.name)
    return removed


def _is_deeper(root: Node, levels: int) -> bool:
    """Whether a schema has more than so many levels; without recursion, since it may have very many."""
    level = [root]
    while level and levels:
        level = [
            child
            for node in level
            for child in (*node.fields.values(), *([node.items] if node.items else ()))
            if child.fields or child.items
        ]
        levels -= 1
    return bool(level)


def _root_run(journal: Path) -> str:
    """Of which root run a journal is; empty where its first line is torn."""
    with journal.open("rb") as lines:
        header = lines.readline()
    return str(_decode(header)["root_run_id"]) if header.endswith(b"\n") else ""


def _by_size(segments: list[Segment]) -> Iterator[list[Segment]]:
    group: list[Segment] = []
    size = 0
    for segment in segments:
        if group and size + segment.bytes > SEGMENT_BYTES:
            yield group
            group, size = [], 0
        group.append(segment)
        size += segment.bytes
    if group:
        yield group
