"""The spool: the records of one slice on local disk, with a journal that lets a later attempt go on where one ended.

A spool is a directory, mode 0700:

    journal         one line per committed page, the header first. Only ever appended to
    lock            held while a process uses the spool
    00000000-0000.ndjson …   segments: unit and part, so that their names give the order of the records
    parents.ndjson, cursors.ndjson   (optional) the frozen rows of the parent, and the cursors by parent

A unit is a walk that runs by itself: the whole resource, one parent's children, or a block of pages. The journal names
every file that counts, with its length and a digest of its bytes, and each of its lines ends with a checksum of all
lines up to it. When the spool is opened again, what the journal does not name is cut off or deleted; and where
something that it names is missing or changed, all of the spool is thrown away.

Beside the spools lies `key`, 32 random bytes, where a spool's name depends on values that may be secret.
"""

from __future__ import annotations

import errno
import hmac
import json
import os
import re
import secrets
import shutil
import stat
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

import msgspec
from filelock import FileLock, Timeout
from xxhash import xxh3_64, xxh3_128, xxh3_128_hexdigest

from dagster_restapi.errors import ResponseError, SpoolError
from dagster_restapi.schema import Node, Recorder

DEEPEST = 64  # levels of objects and lists in a record: deeper ones are an attack or a mistake, and make no tables
SEGMENT_BYTES = 8 * 2**20  # DuckDB reads up to 32 MB of a file at once, in each of its threads
SMALL_SEGMENTS = 64  # DuckDB opens a file in about 0.4 ms: when more than so many are not full, they are joined

_FORMAT = 2
_SEGMENT = re.compile(r"\d{9}-\d{4}\.ndjson")
_OWNER = "owner"  # the note of `keep_from_others`
_KEY, _KEY_BYTES = "key", 32
# What a power cut may do to a file is found by its digest, so that nothing wrong is ever loaded. To have files on disk
# only saves requests, and is worth a bounded price: at most once a second, and a twentieth of the time. Measured by
# benchmarks/spool_sync.py on ext4, a page every 5 ms: 500 pages of 100 rows take 1.00 to 1.04 times as long as without,
# 1,000 small pages of eight threads 0.99 to 1.01. With a sync after every page it is 1.1 to 2.1, and 1.05 to 3.7.
SYNC_EVERY = 1.0
_SYNC_SHARE = 20
_REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT})
# Neither UTF-8 nor DuckDB can hold a lone surrogate: its escape stays, behind a character that Unicode gives no meaning
# and that is itself escaped. So no two texts become one.
_MARK = "\uffff"
_MARK_BYTES = _MARK.encode()
_UNSAFE = re.compile(f"[\ud800-\udfff{_MARK}]")
# Decimals are texts: DuckDB reads every JSON number with a fraction as a DOUBLE before it becomes a DECIMAL.
_encode = msgspec.json.Encoder(order="sorted", decimal_format="string").encode
_decode = msgspec.json.Decoder().decode


class Part(NamedTuple):
    """What the journal says of a file: how much of it counts, and the digest of that."""

    bytes: int
    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A finished file of records: newline-delimited JSON, each line with `Own.hash` as its first key."""

    path: Path
    bytes: int
    rows: int


@dataclass(slots=True)
class Unit:
    """How far one walk has come."""

    state: Any = None  # what the walk needs to go on; JSON
    facts: dict[str, Any] = field(default_factory=dict)  # what it has learnt so far; JSON
    done: bool = False
    parts: dict[str, Part] = field(default_factory=dict)  # by the segment's name


@dataclass(frozen=True, slots=True)
class Own:
    """Names of the fields that a spool puts beside those of a record. They end in a random text of this spool, so that
    no API can send a field of the same name.

    Attributes:
        hash: XXH3 of 128 bits over the record: it tells contents apart at a tenth of MD5's cost, and nothing here needs
            more.
        place: In a spool for several partitions, the number of the one that the record goes into. Of a child, 1 where
            the record does not lie beyond the cursor of its parent.
        request_fields: Of a resource that has children, what their requests need of the record, as JSON, in a text that
            DuckDB leaves alone.
    """

    hash: str
    place: str
    request_fields: str

    @classmethod
    def of(cls, load_id: str) -> Self:
        """Those of a spool: the same for every attempt that resumes it."""
        suffix = load_id.rpartition("-")[2]
        return cls(f"_hash_{suffix}", f"_place_{suffix}", f"_request_fields_{suffix}")

    def lines(
        self,
        records: Sequence[bytes],
        places: Sequence[int] | None = None,
        request_fields: Sequence[Mapping[str, Any]] | None = None,
        salt: bytes = b"",
    ) -> list[bytes]:
        """The lines of a segment, made of encoded records.

        Args:
            salt: What else tells rows apart; it goes into the hash alone.
        """
        head = b'{"%s":"%%b"' % self.hash.encode()
        full, empty = head + b"%b,%b\n", head + b"%b%b\n"
        return [
            (full if len(one) > 2 else empty) % (xxh3_128_hexdigest(one + salt).encode(), more, one[1:])
            for one, more in zip(records, self._beside(places, request_fields), strict=False)
        ]

    def _beside(
        self, places: Sequence[int] | None, request_fields: Sequence[Mapping[str, Any]] | None
    ) -> Iterable[bytes]:
        """What stands between each record's hash and its own fields."""
        kept = [b',"%s":%%d' % self.place.encode() % place for place in places] if places is not None else None
        if request_fields is None:
            return repeat(b"") if kept is None else kept
        form = b'%%b,"%s":%%b' % self.request_fields.encode()
        texts = (_encode(_text(values)) for values in request_fields)
        return [form % pair for pair in zip(repeat(b"") if kept is None else kept, texts, strict=False)]


def _text(values: Mapping[str, Any]) -> str:
    """Values as JSON, in the API's own spelling as far as UTF-8 can hold it."""
    try:
        return _encode(values).decode()
    except UnicodeEncodeError:
        return _encode(_escaped(values)).decode()


def encode_records(records: list[dict[str, Any]]) -> list[bytes]:
    """Records as JSON, keys sorted, so that equal records give equal bytes and hashes, and others give others."""
    return _encoded(records)[1]


def _encoded(records: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[bytes]]:
    """The records in a form that UTF-8 can hold, and their JSON."""
    with suppress(UnicodeEncodeError):
        lines = list(map(_encode, records))
        block = b"".join(lines)
        if _MARK_BYTES[:1] not in block or _MARK_BYTES not in block:  # to look for one byte takes no time
            return records, lines
    records = [_escaped(record) for record in records]
    return records, list(map(_encode, records))


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSAFE.sub(lambda match: f"{_MARK}u{ord(match[0]):04x}", value)
    if isinstance(value, Mapping):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list | tuple) else value


class _Unusable(Exception):
    """Why a spool is not resumed."""


class Spool:
    """One slice's records on disk. Open it with `Spool.open`, write through `writer`.

    Attributes:
        load_id: Born with the spool; the ledger's key.
        own: Names of the fields that it puts beside those of a record.
        units: What earlier attempts committed, by unit number.
        notes: Facts about the whole slice, kept by `note`.
        resumed: Whether an earlier attempt left something to go on from.
        discarded: Why what an earlier attempt had left was thrown away; "" where nothing was.
        longest: Bytes of the longest line, at least.
    """

    def __init__(self, directory: Path, lock: FileLock) -> None:
        self.directory, self._file_lock = directory, lock
        self.resumed, self.discarded = False, ""
        self._root_run_id = ""
        self._journal: IO[bytes] | None = None
        self._mutex = threading.Lock()
        self._unsynced: set[str] = set()  # files with bytes that may not be on disk
        self._sync_at, self._syncs = time.monotonic() + SYNC_EVERY, 0
        self._forget()

    def _forget(self) -> None:
        self.load_id, self.own = "", Own.of("")
        self.units: dict[int, Unit] = {}
        self.notes: dict[str, Any] = {}
        self.longest = 0
        self._kept: dict[str, Part] = {}
        self._recorder = Recorder()
        self._written_version = self._written_longest = 0
        self._chain = xxh3_64()  # over all lines of the journal

    # ---- life ----------------------------------------------------------------------------------------------------
    @classmethod
    def open(
        cls, root: Path, name: str, *, root_run_id: str = "", resume_within: float = 86_400.0, shared: bool = True
    ) -> Self:
        """Opens the spool of a slice, and goes on from what an earlier attempt left there.

        Whatever is damaged there is thrown away; `discarded` says so.

        Args:
            root: Where spools lie; made if it does not exist, mode 0700.
            name: The slice's own name, a hash.
            root_run_id: The same root run resumes whatever the spool's age.
            resume_within: Seconds for which another run may resume it.
            shared: Whether another run may resume it at all.

        Raises:
            SpoolError: Another process uses this very slice, or the directory cannot be written.
        """
        directory = root / name
        try:
            spool = cls(directory, _locked(directory))
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
        fault: SpoolError | None = None
        try:
            spool._begin(root_run_id, resume_within if shared else 0.0)
        except OSError as error:
            fault = disk_fault(error, directory)
        except BaseException:
            spool.close()
            raise
        if fault:
            spool.close()
            raise fault
        return spool

    def _begin(self, root_run_id: str, resume_within: float) -> None:
        self._root_run_id = root_run_id
        journal = self.directory / "journal"
        try:
            resumes = self._resume(journal, resume_within)
        except _Unusable as reason:
            resumes, self.discarded = False, str(reason)
        if not resumes:
            self._forget()
            self._clear()
            self.load_id = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:12]}"
        self.own = Own.of(self.load_id)
        self._journal = open(os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb", buffering=0)
        if not resumes:
            self._append({"format": _FORMAT, "load_id": self.load_id, "root_run_id": root_run_id})
        self.resumed = resumes and bool(self.units or self.notes or self._kept)

    def _resume(self, journal: Path, resume_within: float) -> bool:
        """Whether it goes on from what is there; then everything that the journal names is there and whole.

        Raises:
            _Unusable: There is something, and it cannot be used.
            OSError: The folder refuses this process, or has no room.
        """
        reason = ""
        try:
            length, root_run_id = self._read(journal)
            if not length:
                if any(_SEGMENT.fullmatch(path.name) for path in self.directory.iterdir()):
                    raise _Unusable("its journal is missing or empty")
                return False
            reason = self._not_for_us(root_run_id, journal, resume_within)
            if reason:
                if self.units:
                    raise _Unusable(reason)
                return False
            self._verify()
            os.truncate(journal, length)
            self._cut()
        except OSError as error:
            if error.errno in _REFUSALS:
                raise
            reason = f"it cannot be read: {error.strerror}"
        except (msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            reason = "its journal says what no journal of this version says"
        if reason:
            raise _Unusable(reason)
        return True

    def _not_for_us(self, root_run_id: str, journal: Path, resume_within: float) -> str:
        """Why this run may not go on from what another one left; "" where it may."""
        owner = self.notes.get(_OWNER, root_run_id)
        if owner == self._root_run_id:
            return ""
        if not resume_within or _OWNER in self.notes:
            return "it is of another run, and what that one has fetched may have changed since"
        if time.time() - journal.stat().st_mtime >= resume_within:
            return f"it is of another run, and older than {resume_within:,.0f} s"
        return ""

    def _read(self, journal: Path) -> tuple[int, str]:
        """Replays the journal; gives the length of its whole lines, 0 where it has none, and its root run."""
        length, root_run_id = 0, ""
        if not os.path.lexists(journal):
            return 0, ""
        with journal.open("rb") as lines:
            for number, line in enumerate(lines):
                if not line.endswith(b"\n"):
                    break  # torn by a kill
                text = self._checked(line, number)
                try:
                    entry = _decode(text)
                except msgspec.DecodeError:  # a lone surrogate
                    entry = json.loads(text)
                if number:
                    self._replay(entry)
                elif entry["format"] != _FORMAT:
                    raise _Unusable("it was written by another version of this library")
                else:
                    self.load_id, root_run_id = entry["load_id"], entry["root_run_id"]
                length += len(line)
        return length, root_run_id

    def _checked(self, line: bytes, number: int) -> bytes:
        text, tab, checksum = line[:-1].rpartition(b"\t")
        if not tab and not number and b'"format":1,' in line:
            raise _Unusable("it was written by another version of this library")
        self._chain.update(text)
        if checksum != self._chain.hexdigest().encode():
            raise _Unusable(f"line {number + 1} of its journal is damaged")
        return text

    def _replay(self, entry: dict[str, Any]) -> list[str]:
        """Brings one line of the journal into the attributes; gives segments that it made needless."""
        dropped: list[str] = []
        if "schema" in entry:
            self._recorder.root.merge(Node.from_json(entry["schema"]))
        self.longest = max(self.longest, entry.get("longest", 0))
        if "note" in entry:
            self.notes.update(entry["note"])
        if "keep" in entry:
            name, size, digest = entry["keep"]
            self._kept[name] = Part(size, 0, digest)
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
                name: Part(*part) for name, *part in entry["join"]["parts"]
            }
        if "unit" in entry:
            self._replay_unit(entry)
        return dropped

    def _replay_unit(self, entry: dict[str, Any]) -> None:
        unit = self.units.setdefault(entry["unit"], Unit())
        unit.state, unit.facts, unit.done = entry["state"], entry["facts"], entry["done"]
        if entry["part"]:
            name, *part = entry["part"]
            unit.parts[name] = Part(*part)

    @property
    def _parts(self) -> dict[str, Part]:
        return {name: part for unit in self.units.values() for name, part in unit.parts.items()}

    def _verify(self) -> None:
        """Compares every file that the journal names with what it says of it. A segment may be longer."""
        parts = self._parts
        for name, part in (parts | self._kept).items():
            path = self.directory / name
            try:
                found = path.lstat()
            except FileNotFoundError:
                raise _Unusable(f"its file {name} is missing") from None
            if not stat.S_ISREG(found.st_mode):
                raise _Unusable(f"its file {name} is none")
            if found.st_size < part.bytes:
                raise _Unusable(f"its file {name} is shorter than it was")
            if (name not in parts and found.st_size > part.bytes) or _digest(path, part.bytes) != part.digest:
                raise _Unusable(f"its file {name} was changed")

    def _cut(self) -> None:
        """Brings the directory to what the journal names. Folders are spools of their own."""
        parts = self._parts
        for path in self.directory.iterdir():
            if path.name in parts:
                os.truncate(path, parts[path.name].bytes)
            elif path.name not in ("journal", "lock") and path.name not in self._kept and not _is_folder(path):
                path.unlink()

    def _clear(self) -> None:
        for path in self.directory.iterdir():
            if path.name != "lock":
                _delete(path)

    def close(self) -> None:
        """Lets go of the spool and keeps what is committed, for a later attempt."""
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
        text = _journal_text(entry)
        chain = self._chain.copy()
        chain.update(text)
        try:
            _write(self._journal, b"%b\t%b\n" % (text, chain.hexdigest().encode()))
        except OSError as error:
            os.ftruncate(self._journal.fileno(), length)  # a torn line would spoil the next one
            raise disk_fault(error, self.directory) from None
        self._chain = chain
        if time.monotonic() >= self._sync_at:
            self._sync()

    def _sync(self) -> None:
        """Brings to disk what is committed, in the order in which it relies on each other; the caller holds the mutex.

        While it lasts nobody commits: else lines would come to disk whose segments do not.
        """
        assert self._journal is not None, "the spool is closed"
        started = time.monotonic()
        try:
            for name in self._unsynced:
                with suppress(FileNotFoundError):  # it was needless in the meantime
                    _sync_file(self.directory / name)
            os.fsync(self._journal.fileno())
        except OSError as error:
            raise disk_fault(error, self.directory) from None
        if self._unsynced:  # they may be new
            _sync_folder(self.directory)
        if not self._syncs:
            _sync_folder(self.directory.parent)
            _sync_folder(self.directory.parent.parent)
        self._unsynced.clear()
        self._syncs += 1
        ended = time.monotonic()
        self._sync_at = ended + max(SYNC_EVERY, _SYNC_SHARE * (ended - started))

    def sync(self) -> None:
        """Brings to disk what is committed, at the end of a fetch. What took less than a second is not worth it."""
        with self._mutex:
            if self._syncs:
                self._sync()

    def note(self, **facts: Any) -> None:
        """Keeps facts about the whole slice (JSON), so that a later attempt knows them in `notes`."""
        with self._mutex:
            self.notes.update(facts)
            self._append({"note": facts})

    def keep(self, path: Path) -> None:
        """Takes a finished file of the directory for a part of the spool: it is there as it is now, or nothing is."""
        size = path.stat().st_size
        entry = {"keep": (path.name, size, _digest(path, size))}
        with self._mutex:
            self._unsynced.add(path.name)
            self._append(entry)
            self._replay(entry)

    def keep_from_others(self) -> None:
        """From now on, only this root run goes on from what is here; others fetch it anew."""
        if _OWNER not in self.notes:
            self.note(**{_OWNER: self._root_run_id})

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
            self._drop(self._replay(entry))

    def _drop(self, needless: Iterable[str]) -> None:
        """Deletes segments. The line that says so is on disk before, so that it is not missed if they are gone."""
        needless = list(needless)
        if needless and self._syncs:
            self._sync()
        for name in needless:
            (self.directory / name).unlink(missing_ok=True)

    def _commit(self, number: int, state: Any, facts: dict[str, Any], part: tuple[Any, ...] | None, done: bool) -> None:
        with self._mutex:
            entry: dict[str, Any] = {"unit": number, "state": state, "facts": facts, "done": done, "part": part}
            if self._recorder.version != self._written_version:
                entry["schema"] = self._recorder.root.to_json()
                self._written_version = self._recorder.version
            if self.longest != self._written_longest:
                entry["longest"] = self._written_longest = self.longest
            if part:
                self._unsynced.add(part[0])
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
            raise _too_deep()

    # ---- reading -------------------------------------------------------------------------------------------------
    @property
    def schema(self) -> Node:
        """The recorded schema of all records."""
        return self._recorder.root

    @property
    def rows(self) -> int:
        """Records committed."""
        return sum(part.rows for part in self._parts.values())

    @property
    def bytes(self) -> int:
        """Bytes committed."""
        return sum(part.bytes for part in self._parts.values())

    def segments(self) -> list[Segment]:
        """The segments that hold records, in the records' order."""
        return [
            Segment(self.directory / name, part.bytes, part.rows)
            for name, part in sorted(self._parts.items())
            if part.rows
        ]

    def finished(self) -> list[Segment]:
        """The first of the segments, as far as nothing is added to them or put between them any more."""
        found: list[Segment] = []
        with self._mutex:
            for expected, (number, unit) in enumerate(sorted(self.units.items())):
                if number != expected:
                    break
                parts = sorted(unit.parts.items())
                found += [
                    Segment(self.directory / name, part.bytes, part.rows)
                    for name, part in (parts if unit.done else parts[:-1])
                    if part.rows
                ]
                if not unit.done:
                    break
        return found

    def schema_so_far(self) -> Node:
        """A copy of the recorded schema, while other threads still write."""
        with self._mutex:
            return Node.from_json(self._recorder.root.to_json())

    def records(self) -> Iterator[dict[str, Any]]:
        """The records in order, as they were written."""
        for record in self._lines():
            record.pop(self.own.hash)
            record.pop(self.own.place, None)
            record.pop(self.own.request_fields, None)
            yield record

    def hashes(self) -> Iterator[str]:
        """The hashes of the records' contents, in order."""
        return (record[self.own.hash] for record in self._lines())

    def _lines(self) -> Iterator[dict[str, Any]]:
        for segment in self.segments():
            left = segment.bytes  # what is behind is not committed
            with segment.path.open("rb") as lines:
                while left > 0 and (line := lines.readline()):
                    left -= len(line)
                    yield _decode(line)

    def seal(self) -> None:
        """Joins many small segments into few, so that staging opens few files. All units must be done."""
        segments = self.segments()
        if len(segments) - self.bytes // SEGMENT_BYTES <= SMALL_SEGMENTS:
            return
        joined: list[tuple[str, int, int, str]] = []
        for number, group in enumerate(_by_size(segments)):
            name = f"{999_000_000 + number:09d}-0000.ndjson"
            digest = _join(group, self.directory / name)
            joined.append((name, sum(s.bytes for s in group), sum(s.rows for s in group), digest))
        with self._mutex:
            entry = {"join": {"units": sorted(self.units), "parts": joined}}
            self._unsynced.update(name for name, *_ in joined)
            self._append(entry)
            self._drop(self._replay(entry))


class Writer:
    """Writes one unit's records. Nothing counts before `commit`."""

    def __init__(self, spool: Spool, number: int, unit: Unit) -> None:
        self._spool, self.number, self._unit = spool, number, unit
        self._file: IO[bytes] | None = None
        self._part = max(0, len(unit.parts) - 1)
        self._begin_part()

    def _begin_part(self) -> None:
        """Goes on behind what is committed of a segment, which may be nothing."""
        self._name = f"{self.number:09d}-{self._part:04d}.ndjson"
        self._size, self._rows, _ = self._unit.parts.get(self._name, Part(0, 0, ""))
        self._hash = _hashed(self._spool.directory / self._name, self._size) if self._size else xxh3_128()
        self._committed = self._hash.copy()

    @property
    def state(self) -> Any:
        """Where an earlier attempt stopped; None at the start."""
        return self._unit.state

    @property
    def facts(self) -> dict[str, Any]:
        """What an earlier attempt had learnt."""
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
            places: What `Own.place` says of each record.
            request_fields: What `Own.request_fields` keeps of each record: values by path, no part of its hash.
            salt: What tells these records from others of the same content.

        Raises:
            ResponseError: A record is nested too deeply.
            SpoolError: The disk is full or read-only.
        """
        if not records:
            return
        too_deep = False
        try:
            records, texts = _encoded(records)
        except RecursionError:
            too_deep = True
        if too_deep:
            raise _too_deep()
        lines = self._spool.own.lines(texts, places, request_fields, salt)
        block = b"".join(lines)
        self._spool._observe(records, longest=max(map(len, lines)))
        try:
            _write(self._open(), block)
        except OSError as error:
            raise disk_fault(error, self._spool.directory) from None
        self._hash.update(block)
        self._size += len(block)
        self._rows += len(records)

    def _open(self) -> IO[bytes]:
        if self._file is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            descriptor = os.open(self._spool.directory / self._name, flags, 0o600)
            self._file = open(descriptor, "ab", buffering=0)
            os.ftruncate(descriptor, self._size)  # of a writer that was closed before it had committed
        return self._file

    def commit(self, state: Any, facts: dict[str, Any], *, done: bool = False) -> None:
        """Makes what was written count, together with the state that a later attempt goes on from."""
        part = (self._name, self._size, self._rows, self._hash.hexdigest()) if self._rows else None
        self._spool._commit(self.number, state, facts, part, done)
        self._committed = self._hash.copy()
        if done:
            self.close()
        elif self._size >= SEGMENT_BYTES:
            self.close()
            self._part += 1
            self._begin_part()

    def rollback(self) -> None:
        """Cuts off what was written since the last commit."""
        self.close()
        self._size, self._rows, _ = self._unit.parts.get(self._name, Part(0, 0, ""))
        self._hash = self._committed.copy()
        path = self._spool.directory / self._name
        if path.exists():
            os.truncate(path, self._size)

    def close(self) -> None:
        """Closes the file; uncommitted records are cut off when the spool is opened again."""
        if self._file:
            self._file.close()
            self._file = None


def _too_deep() -> ResponseError:
    return ResponseError(
        f"a record is nested more than {DEEPEST} levels deep",
        hint="Cut it, or make a text of what lies deep in it, by a `map` in the resource's processing_steps.",
        transient=False,
    )


# ---- files -----------------------------------------------------------------------------------------------------------
def _locked(directory: Path) -> FileLock:
    """The directory's lock, held; what stands in their places and cannot be used is deleted."""
    if not directory.is_dir() and os.path.lexists(directory):
        directory.unlink()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (directory / "lock").is_dir() or (directory / "lock").is_symlink():
        _delete(directory / "lock")
    lock = FileLock(directory / "lock", timeout=0, mode=0o600)
    lock.acquire()
    return lock


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _delete(path: Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _blocks(file: IO[bytes], size: int) -> Iterator[bytes]:
    """The first so many bytes of a file."""
    while size > 0 and (block := file.read(min(size, 2**20))):
        size -= len(block)
        yield block


def _hashed(path: Path, size: int) -> xxh3_128:
    state = xxh3_128()
    with path.open("rb") as file:
        for block in _blocks(file, size):
            state.update(block)
    return state


def _digest(path: Path, size: int) -> str:
    return _hashed(path, size).hexdigest()


def _join(segments: Sequence[Segment], path: Path) -> str:
    """Writes segments one behind the other; gives the digest of the whole."""
    state = xxh3_128()
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
        for segment in segments:
            with segment.path.open("rb") as source:
                for block in _blocks(source, segment.bytes):
                    state.update(block)
                    target.write(block)
    return state.hexdigest()


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    """Brings the names of new files to disk, where the system can."""
    with suppress(OSError):
        _sync_file(path)


def _journal_text(entry: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(entry)
    except UnicodeEncodeError:  # a lone surrogate in a cursor or a state
        return json.dumps(entry, default=str).encode()


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
        hint="Free some space there, or set `spool_dir` of the IO manager to another disk; the next attempt goes on.",
    )


# ---- beside the spools -----------------------------------------------------------------------------------------------
def keyed_hash(root: Path, value: Any) -> str:
    """A hash of something secret (JSON), as 64 hexadecimal digits, that tells nothing of it to whoever lacks the key.

    The key is a random one, in a file of the folder where spools lie, made by whoever needs it first.

    Raises:
        SpoolError: The folder cannot be written.
    """
    return hmac.new(_key(root), _journal_text({"value": value}), "sha256").hexdigest()


def _key(root: Path) -> bytes:
    path = root / _KEY
    key = _read_key(path)
    if key:
        return key
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(root / f"{_KEY}.lock", mode=0o600):
            return _read_key(path) or _make_key(path)
    except OSError as error:
        raise disk_fault(error, root) from None


def _read_key(path: Path) -> bytes:
    """The key; empty where there is none that can be used."""
    try:
        key = path.read_bytes()
    except OSError:
        return b""
    return key if len(key) == _KEY_BYTES else b""


def _make_key(path: Path) -> bytes:
    """Another key only means that nothing which was fetched under the old one is resumed."""
    key, part = secrets.token_bytes(_KEY_BYTES), path.with_suffix(".part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    if _is_folder(path):
        shutil.rmtree(path)
    part.replace(path)
    return key


def sweep(root: Path, *, older_than: float = 86_400.0, except_of: str = "") -> list[str]:
    """Removes spools that nobody uses and nobody has written for `older_than` seconds; gives their names.

    A directory without a journal is what a kill left while a spool was removed. Whatever else lies there, and whatever
    state it is in, is no reason for a run to fail.

    Args:
        except_of: A root run whose spools stay, whatever their age.
    """
    try:
        directories = sorted(path for path in root.iterdir() if _is_folder(path))
    except OSError:
        return []
    return [directory.name for directory in directories if _swept(directory, older_than, except_of)]


def _swept(directory: Path, older_than: float, except_of: str) -> bool:
    journal = directory / "journal"
    try:
        journaled = journal.exists()
        written = (journal if journaled else directory).stat().st_mtime
        if time.time() - written < older_than or (journaled and _root_run(journal) == except_of != ""):
            return False
        with FileLock(directory / "lock", timeout=0, mode=0o600):
            _delete(journal)
    except (Timeout, OSError):
        return False
    shutil.rmtree(directory, ignore_errors=True)
    return True


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
    """Of which root run a journal is; empty where its first line does not say."""
    try:
        with journal.open("rb") as lines:
            text, _, _ = lines.readline().rpartition(b"\t")
        return str(_decode(text)["root_run_id"])
    except (OSError, msgspec.MsgspecError, ValueError, LookupError, TypeError):
        return ""


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
