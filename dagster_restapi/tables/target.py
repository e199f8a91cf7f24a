"""The database that tables live in: how to open it, how to wait for its lock, and who holds it."""

from __future__ import annotations

import logging
import os
import random
import re
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import duckdb

from dagster_restapi.errors import LockTimeout, TableError
from dagster_restapi.tables.sql import Space, literal

Log = Callable[[str], None]

_HOLDER = re.compile(r"held in (?P<program>.+?) \(PID (?P<pid>\d+)\)(?: by user (?P<user>[^\s.]+))?")
_BUSY = re.compile(
    r"Could not set lock|different configuration|already attached|being used by another|conflicting", re.I
)
_WILL_NOT_PASS = re.compile(
    r"(Conversion|Constraint|Binder|Catalog|Parser|Syntax|Invalid Input|Out of Range|Mismatch Type|Permission) Error|"
    r"permission denied|read-only|not a valid DuckDB|no such file|is a directory|not a directory",
    re.I,
)
_HELD = 0.3  # seconds for which short transactions share the open file
_FIRST_NEWS, _NEWS_EVERY = 1.0, 15.0  # seconds of waiting before a log line, and between two
_SIZE = re.compile(r"\s*(?P<number>\d+(\.\d+)?)\s*(?P<prefix>[KMGT]?)(?P<binary>i?)B?\s*", re.I)
_MEMORY_OF_THREAD = 128 * 2**20
_USUAL = 512 * 10**6  # bytes of memory for whatever is no load: frames, checks, what parents are asked for
_MORE = 4  # times as much memory, when it was not enough
_KEPT = 4  # engines that wait for their next use; each holds some 5 MB, and threads
_LEFT_OVER = 86_400.0  # seconds after which a temporary folder that nobody writes is what a kill has left

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Engine:
    """A DuckDB that files are attached to, and the folder of its own for what does not fit into memory.

    Of its own: in a folder that two processes share, DuckDB 1.4 writes over the other one's files.
    """

    connection: duckdb.DuckDBPyConnection
    temporary: Path

    @classmethod
    def make(cls, database: str, config: Mapping[str, Any], limits: Mapping[str, Any]) -> Self:
        _sweep(Path(database))
        temporary = Path(f"{database}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        settings = {"temp_directory": str(temporary), **config, **limits}
        return cls(duckdb.connect(":memory:", config=settings), temporary)

    def close(self) -> None:
        """Closes the file with it, and removes the folder."""
        self.connection.close()
        shutil.rmtree(self.temporary, ignore_errors=True)


_memory: dict[tuple[str, str, str | None], duckdb.DuckDBPyConnection] = {}
_engines: dict[tuple[object, ...], _Engine] = {}
_coming: dict[tuple[object, ...], threading.Thread] = {}  # those that are about to be made
_CATALOG = "restapi_target"  # of a file, while it is open
_turns: dict[str, threading.RLock] = {}
_guard = threading.Lock()


@dataclass(frozen=True)
class Target:
    """A DuckDB database and a schema in it.

    Attributes:
        database: A file. `:memory:` is one database per process and Target, for tests.
        schema: Made by the first load. May have the same name as the file.
        memory_limit: Of each connection, as DuckDB spells sizes. None: what the work needs, see `room_for`.
        lock_timeout: Seconds to wait for another process that has the file open.
        config: Further DuckDB settings of each connection.
    """

    database: str
    schema: str = "main"
    memory_limit: str | None = None
    lock_timeout: float = 120.0
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.database.startswith(("md:", "motherduck:", "ducklake:")):
            raise TableError(
                "only a DuckDB file can be a target so far",
                where=self.database.partition("?")[0],
                hint="Set `database` to a file's path.",
            )

    @property
    def in_memory(self) -> bool:
        """Whether the database lives and dies with this process."""
        return self.database.startswith(":memory:")

    @property
    def exists(self) -> bool:
        """Whether there is anything to read."""
        return self._memory_key in _memory if self.in_memory else Path(self.database).exists()

    @property
    def _memory_key(self) -> tuple[str, str, str | None]:
        return self.database, self.schema, self.memory_limit

    @property
    def _engine_key(self) -> tuple[object, ...]:
        settings = {**self._config(), **self._limits(None)}
        return (os.getpid(), self.database, *sorted((name, repr(value)) for name, value in settings.items()))

    @contextmanager
    def engine(self, room: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A DuckDB that this database is attached to when it is read or written, for staging and writing in one.

        To make one takes ten times as long as to open a file in it, so those of the databases that were used last wait
        for their next use.
        Nobody else uses it meanwhile, but for `:memory:`. After an error it is closed, and every file with it.

        Args:
            room: Bytes of memory that it may take, where `memory_limit` does not say it. None: the usual amount.
        """
        if self.in_memory:
            with _guard:
                if self._memory_key not in _memory:
                    _memory[self._memory_key] = duckdb.connect(
                        ":memory:", config={**self._limits(None), **self._config()}
                    )
            yield _memory[self._memory_key]
            return
        key = self._engine_key
        with _guard:
            coming = _coming.pop(key, None)
        if coming:
            coming.join()
        with _guard:
            engine = _engines.pop(key, None)
        engine = engine or _Engine.make(self.database, self._config(), self._limits(None))
        try:
            self.limit(engine.connection, room)
            yield engine.connection
        except BaseException:
            engine.close()
            raise
        self._keep(engine)

    def limit(self, engine: duckdb.DuckDBPyConnection, room: int | None) -> None:
        """Sets how much memory an engine may take from now on, and with it how many threads; see `engine`."""
        if not self.in_memory:
            for name, value in self._limits(room).items():
                engine.execute(f"SET GLOBAL {name} = {literal(str(value))}")

    def warm(self) -> None:
        """Makes the first engine in a thread, while Dagster prepares a step. It takes DuckDB some 20 ms."""
        if self.in_memory:
            return
        with _guard:
            if self._engine_key in _engines or self._engine_key in _coming:
                return
            _coming[self._engine_key] = threading.Thread(target=self._make_ahead, name="dagster_restapi-duckdb")
            _coming[self._engine_key].start()

    def _make_ahead(self) -> None:
        try:
            engine = _Engine.make(self.database, self._config(), self._limits(None))
        except (duckdb.Error, OSError) as error:  # whoever needs an engine meets the fault again, and tells it
            _logger.debug("no engine could be made ahead for %s: %s", self.database, error)
            return
        self._keep(engine)

    def _keep(self, engine: _Engine) -> None:
        """Puts an engine where its next user finds it, unless there is one already; the oldest of many is closed."""
        closed = []
        with _guard:
            if engine.temporary.exists() or _engines.setdefault(self._engine_key, engine) is not engine:
                closed.append(engine)
            ours = [key for key in _engines if key[0] == os.getpid()]  # a fork has its parent's, without their threads
            closed += [_engines.pop(key) for key in ours[:-_KEPT]]
        for one in closed:
            one.close()

    @contextmanager
    def write(
        self, *, engine: duckdb.DuckDBPyConnection | None = None, log: Log | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for writing; nobody else has the file open meanwhile.

        Args:
            engine: What `engine` gave, so that what was staged in it is in reach.

        Raises:
            LockTimeout: Another process kept the file for longer than `lock_timeout`; the message names it.
            TableError: The file cannot be opened: no permission, no space, no database.
        """
        deadline = time.monotonic() + self.lock_timeout
        with (
            nullcontext(engine) if engine else self.engine() as chosen,
            self._turn(deadline),
            self._opened(chosen, read_only=False, deadline=deadline, log=log) as connection,
        ):
            yield connection

    def turns(self, engine: duckdb.DuckDBPyConnection, log: Log) -> Turns:
        """The target for several short transactions one after another: it is opened for a number of them at once."""
        return Turns(self, engine, log)

    @contextmanager
    def read(self, *, log: Log | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection for reading. Be brief: it keeps writers out.

        Raises:
            LockTimeout: Another process kept the file for longer than `lock_timeout`; the message names it.
            TableError: There is no such file, or it is no database.
        """
        if not self.exists:
            raise TableError(
                "the database does not exist yet",
                where=self.database,
                hint="Materialize the asset that makes it first.",
            )
        deadline = time.monotonic() + self.lock_timeout
        with (
            self.engine() as engine,
            self._opened(engine, read_only=True, deadline=deadline, log=log) as connection,
        ):
            yield connection

    @contextmanager
    def copying(self, *, log: Log | None = None) -> Iterator[tuple[duckdb.DuckDBPyConnection, Space]]:
        """A private in-memory connection that sees the database until the block ends, and lives on without it.

        Raises:
            LockTimeout: Another process kept the file for longer than `lock_timeout`; the message names it.
            TableError: There is no such file, or it is no database.
        """
        engine = _Engine.make(self.database, self._config(), self._limits(None))
        connection = engine.connection
        try:
            connection.execute("SET TimeZone = 'UTC'")
            path = literal(str(Path(self.database)))
            self._patiently(
                lambda: connection.execute(f"ATTACH {path} AS source (READ_ONLY)"),
                time.monotonic() + self.lock_timeout,
                log or _logger.info,
            )
            yield connection, Space("source", self.schema)
            connection.execute("DETACH source")
        except BaseException:
            engine.close()
            raise

    def table_name(self, table: str) -> str:
        """A table's name with catalog and schema, for people."""
        catalog = "memory" if self.in_memory else Path(self.database).stem
        return f"{catalog}.{self.schema}.{table}"

    def space(self, connection: duckdb.DuckDBPyConnection) -> Space:
        """The target's schema as names in SQL need it."""
        [(catalog,)] = connection.execute("SELECT current_database()").fetchall()
        return Space(catalog, self.schema)

    @contextmanager
    def _turn(self, deadline: float) -> Iterator[None]:
        """One writer at a time within this process; between processes the file's lock decides."""
        name = self.database if self.in_memory else str(Path(self.database).absolute())
        with _guard:
            turn = _turns.setdefault(name, threading.RLock())
        if not turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise LockTimeout(
                f"the database was busy for {self.lock_timeout:g} s",
                where=self.database,
                hint="Another thread of this process is writing. Raise `lock_timeout`, or run fewer assets at once.",
            )
        try:
            yield
        finally:
            turn.release()

    @contextmanager
    def _opened(
        self, engine: duckdb.DuckDBPyConnection, *, read_only: bool, deadline: float, log: Log | None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        if self.in_memory:
            with session(engine) as connection:
                yield connection
            return
        attach = f"ATTACH {literal(self.database)} AS {_CATALOG}{' (READ_ONLY)' if read_only else ''}"
        self._patiently(lambda: engine.execute(attach), deadline, log or _logger.info)
        with session(engine) as connection:
            connection.execute(f"USE {_CATALOG}")
            yield connection
        engine.execute(f"DETACH {_CATALOG}")

    def _config(self) -> dict[str, Any]:
        return {**self.config, "preserve_insertion_order": "true"}  # a staged row's number is its place in the spool

    def _limits(self, room: int | None) -> dict[str, Any]:
        limit = self.memory_limit or f"{room or _USUAL}B"
        limits = {"memory_limit": limit, **_threads(limit)}
        return {name: value for name, value in limits.items() if name not in self.config}

    def more_room(self, room: int) -> int | None:
        """More bytes of memory for what did not get by with so many; None where that is not ours to take."""
        if self.in_memory or self.memory_limit or "memory_limit" in self.config:
            return None
        with duckdb.connect() as connection:  # by itself, DuckDB takes four fifths of what the machine or container has
            [(most,)] = connection.execute("SELECT current_setting('memory_limit')").fetchall()
        most = _bytes(most) or 0
        return min(room * _MORE, most) if room < most else None

    def _patiently(
        self, opening: Callable[[], duckdb.DuckDBPyConnection], deadline: float, log: Log
    ) -> duckdb.DuckDBPyConnection:
        """Opens the file as soon as nobody else keeps it from us."""
        started = time.monotonic()
        news, pause, holder = started + _FIRST_NEWS, 0.01, "another process"
        while True:
            fault = ""
            try:
                return opening()
            except duckdb.Error as error:
                fault = str(error)
            if not _BUSY.search(fault):
                raise _cannot_open(self.database, fault)
            holder = _name_holder(fault)
            now = time.monotonic()
            if now >= deadline:
                raise LockTimeout(
                    f"the database was locked for {self.lock_timeout:g} s by {holder}",
                    where=self.database,
                    hint="End that process, or raise `lock_timeout` of the IO manager.",
                )
            if now >= news:
                log(f"waiting for {self.database}, which is held by {holder} ({now - started:.0f} s so far)")
                news = now + _NEWS_EVERY
            time.sleep(min(pause * random.uniform(0.5, 1.5), max(0.0, deadline - now)))
            pause = min(pause * 1.5, 0.4)


class Turns:
    """A target that stays open for writing over several short transactions, and is let go every so often.

    To open the file and to write it back when it is closed takes longer than a transaction of a few rows.
    """

    def __init__(self, target: Target, engine: duckdb.DuckDBPyConnection, log: Log) -> None:
        self._target, self._engine, self._log = target, engine, log
        self._open: ExitStack | None = None
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._since = 0.0

    @contextmanager
    def turn(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The connection, for one transaction. After an error it is closed."""
        if self._open is None:
            self._open = ExitStack()
            self._connection = self._open.enter_context(self._target.write(engine=self._engine, log=self._log))
            self._since = time.monotonic()
        assert self._connection is not None
        try:
            yield self._connection
        except BaseException:
            if not self._close(*sys.exc_info()):
                raise
        if time.monotonic() - self._since >= _HELD:
            self._close(None, None, None)

    def _close(self, *error: Any) -> bool | None:
        opened, self._open, self._connection = self._open, None, None
        return opened.__exit__(*error) if opened else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        self._close(*error)


def _threads(memory_limit: str) -> dict[str, int]:
    """As many threads as the memory is enough for: each one that reads JSON holds up to two buffers of 32 MB.

    A second thread makes DuckDB slower, not faster, where it has to give memory back for it.
    """
    size = _bytes(memory_limit)
    return {} if size is None else {"threads": max(1, min(os.cpu_count() or 1, size // _MEMORY_OF_THREAD))}


def _bytes(size: str) -> int | None:
    """A size as DuckDB spells it; None: a share of the machine's memory."""
    match = _SIZE.fullmatch(size)
    if match is None:
        return None
    power = "KMGT".index(match["prefix"].upper()) + 1 if match["prefix"] else 0
    return int(float(match["number"]) * (1024 if match["binary"] else 1000) ** power)


def _sweep(database: Path) -> None:
    """Removes the temporary folders of processes that were killed more than a day ago."""
    ours = re.compile(re.escape(database.name) + r"\.(\d+-[0-9a-f]{8}\.)?tmp").fullmatch
    for folder in database.parent.glob("*.tmp"):
        try:
            if ours(folder.name) and time.time() - max(path.stat().st_mtime for path in (folder, *folder.iterdir())) > (
                _LEFT_OVER
            ):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # another process removes it at this moment, or it is none of ours


@contextmanager
def catalog_ahead(engine: duckdb.DuckDBPyConnection) -> Iterator[threading.Thread]:
    """A thread that looks through an engine's catalog, as a load does: the first look takes DuckDB some 20 ms."""
    connection = engine.cursor()

    def look() -> None:
        with connection, suppress(duckdb.Error):  # whoever looks again meets the fault, and tells it
            for catalog in ("duckdb_tables", "duckdb_columns"):
                connection.execute(f"SELECT count(*) FROM {catalog}()")

    thread = threading.Thread(target=look, name="dagster_restapi-catalog")
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


@contextmanager
def session(engine: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own, with its own temporary tables."""
    connection = engine.cursor()
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def _name_holder(fault: str) -> str:
    match = _HOLDER.search(fault)
    if match is None:
        return "another connection of this process" if "configuration" in fault else "another process"
    user = f", user {match['user']}" if match["user"] else ""
    return f"{match['program']} (PID {match['pid']}{user})"


def may_pass(fault: str) -> bool:
    """Whether DuckDB may do later what it refused now: locks, memory and disks pass, what it cannot mean does not."""
    return not _WILL_NOT_PASS.search(fault) or fault.startswith("TransactionContext Error")


def _cannot_open(database: str, fault: str) -> TableError:
    return TableError(
        f"the database cannot be opened: {fault.splitlines()[0]}",
        where=database,
        hint="Check that the path is a DuckDB file, and that it and its folder can be written.",
        transient=may_pass(fault),
    )
