"""The limit: a script that somebody wrote for exactly these pages, with requests, orjson and DuckDB's `read_json`.

It knows every column and type beforehand, keeps no state, retries nothing, and can neither resume nor take a new
column. It makes the same tables as the library: same names, same types, child tables, ids, load id and content hash.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import orjson
import requests
from requests.adapters import HTTPAdapter
from xxhash import xxh3_128_hexdigest

from benchmarks.contenders.run import Done, Task, contend, count_rows
from benchmarks.pages import PARENTS, SLOW_PAGES
from benchmarks.workloads import CHILD_WORKERS, PAGE_WORKERS

_FLAT = {
    "id": "BIGINT",
    "name": "VARCHAR",
    "email": "VARCHAR",
    "country": "VARCHAR",
    "active": "BOOLEAN",
    "score": "DOUBLE",
    "visits": "BIGINT",
    "note": "VARCHAR",
    "created_at": "TIMESTAMPTZ",
    "updated_at": "TIMESTAMPTZ",
}
_USER = (
    "STRUCT(login VARCHAR, id BIGINT, avatar_url VARCHAR, url VARCHAR, followers_url VARCHAR, repos_url VARCHAR, "
    "type VARCHAR, site_admin BOOLEAN)"
)
_NESTED = {
    "id": "BIGINT",
    "number": "BIGINT",
    "url": "VARCHAR",
    "comments_url": "VARCHAR",
    "events_url": "VARCHAR",
    "title": "VARCHAR",
    "user": _USER,
    "labels": 'STRUCT(id BIGINT, url VARCHAR, name VARCHAR, color VARCHAR, "default" BOOLEAN, description VARCHAR)[]',
    "state": "VARCHAR",
    "locked": "BOOLEAN",
    "assignees": f"{_USER}[]",
    "milestone": "STRUCT(number BIGINT, title VARCHAR, due_on TIMESTAMPTZ)",
    "comments": "BIGINT",
    "created_at": "TIMESTAMPTZ",
    "updated_at": "TIMESTAMPTZ",
    "closed_at": "TIMESTAMPTZ",
    "author_association": "VARCHAR",
    "reactions": 'STRUCT(url VARCHAR, total_count BIGINT, "+1" BIGINT, "-1" BIGINT, laugh BIGINT, heart BIGINT, '
    "share DOUBLE)",
    "body": "VARCHAR",
}
_LOAD = "20240101T000000-0123456789ab"


def pages(url: str) -> Iterator[list[dict[str, object]]]:
    """The records, page by page, from link to link."""
    with requests.Session() as session:
        link: str | None = url
        while link:
            answer = session.get(link, timeout=60)
            answer.raise_for_status()
            page = orjson.loads(answer.content)
            yield page["results"]
            link = page["next"]


def pages_at_once(urls: list[str], workers: int) -> Iterator[list[dict[str, object]]]:
    """The records of many pages, in order, from a few threads."""
    with requests.Session() as session, ThreadPoolExecutor(workers) as pool:
        session.mount("http://", HTTPAdapter(pool_maxsize=workers))
        yield from pool.map(lambda url: orjson.loads(session.get(url, timeout=60).content)["results"], urls)


def fetch(found: Iterator[list[dict[str, object]]], path: Path) -> None:
    """Writes the records to a file, one a line, each with its hash."""
    with path.open("wb") as file:
        for records in found:
            lines = map(orjson.dumps, records)
            file.writelines(b'{"_hash":"%b",%b\n' % (xxh3_128_hexdigest(line).encode(), line[1:]) for line in lines)


def read(path: Path, columns: dict[str, str]) -> str:
    """The file as a table function."""
    types = ", ".join(f"'{name}': '{kind}'" for name, kind in {"_hash": "VARCHAR", **columns}.items())
    return f"read_json('{path}', format = 'newline_delimited', columns = {{{types}}})"


def identity(ordinal: str = "row_number() OVER ()") -> str:
    """System columns of a root row without a key."""
    return (
        f"'{_LOAD}' AS _restapi_load_id, _hash AS _restapi_row_hash, "
        f"md5('[\"{_LOAD}\",' || {ordinal} || ']') AS _restapi_id"
    )


def load_flat(connection: duckdb.DuckDBPyConnection, table: str, path: Path) -> None:
    """Rows of scalars."""
    connection.execute(
        f"CREATE TABLE bench.{table} AS SELECT {', '.join(_FLAT)}, {identity()} FROM {read(path, _FLAT)}"
    )


def load_nested(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Objects flattened, lists as child tables."""
    connection.execute(f"CREATE TEMP TABLE raw AS SELECT *, {identity()} FROM {read(path, _NESTED)}")
    user = "login, id, avatar_url, url, followers_url, repos_url, type, site_admin"
    columns = [
        "id, number, url, comments_url, events_url, title",
        *(f'"user".{name} AS user__{name}' for name in user.split(", ")),
        "state, locked",
        *(f"milestone.{name} AS milestone__{name}" for name in ("number", "title", "due_on")),
        "comments, created_at, updated_at, closed_at, author_association",
        *(f"reactions.{name} AS reactions__{name}" for name in ("url", "total_count")),
        'reactions."+1" AS reactions__x1, reactions."-1" AS reactions___1',
        *(f"reactions.{name} AS reactions__{name}" for name in ("laugh", "heart", "share")),
        "body, _restapi_load_id, _restapi_row_hash, _restapi_id",
    ]
    connection.execute(f"CREATE TABLE bench.nested AS SELECT {', '.join(columns)} FROM raw")
    for name, items in (("assignees", user), ("labels", 'id, url, name, color, "default", description')):
        columns = [f"item.{column}" for column in items.split(", ")]
        connection.execute(
            f"CREATE TABLE bench.nested__{name} AS SELECT {', '.join(columns)}, '{_LOAD}' AS _restapi_load_id, "
            f"md5(_restapi_id || '{name}' || _restapi_index) AS _restapi_id, _restapi_id AS _restapi_parent_id, "
            "_restapi_id AS _restapi_root_id, _restapi_index FROM (SELECT _restapi_id, unnest("
            f"{name}) AS item, generate_subscripts({name}, 1) - 1 AS _restapi_index FROM raw)"
        )


def merge(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Changed rows by key: delete, then insert."""
    connection.execute(
        f"CREATE TEMP TABLE changed AS SELECT {', '.join(_FLAT)}, '{_LOAD}' AS _restapi_load_id, "
        "_hash AS _restapi_row_hash, md5('[\"million\",\"' || id || '\"]') AS _restapi_id "
        f"FROM {read(path, _FLAT)}"
    )
    connection.execute("BEGIN")
    connection.execute("DELETE FROM bench.million WHERE id IN (SELECT id FROM changed)")
    connection.execute("INSERT INTO bench.million BY NAME SELECT * FROM changed")
    connection.execute("COMMIT")


def work(task: Task) -> Done:
    """Fetches to a file, and loads that."""
    if task.workload.name == "children" and task.prepare:
        return Done(0.0, 0)
    name = task.workload.resource
    path, began = task.folder / "rows.ndjson", time.perf_counter()
    since = ""
    if task.workload.name == "merge" and not task.prepare:
        with duckdb.connect(str(task.database), read_only=True) as connection:
            row = connection.execute("SELECT strftime(max(updated_at), '%Y-%m-%dT%H:%M:%SZ') FROM bench.million")
            since = f"?since={row.fetchall()[0][0]}"
    if name == "children":
        found = pages_at_once([f"{task.url}/parents/{number}/children" for number in range(PARENTS)], CHILD_WORKERS)
    elif name == "slow":
        found = pages_at_once([f"{task.url}/slow?page={number + 1}" for number in range(SLOW_PAGES)], PAGE_WORKERS)
    else:
        found = pages(f"{task.url}/{name}{since}")
    fetch(found, path)
    fetched = time.perf_counter()
    with duckdb.connect(str(task.database), config={"memory_limit": "512MB"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE SCHEMA IF NOT EXISTS bench")
        if since:
            merge(connection, path)
        elif name == "nested":
            load_nested(connection, path)
        else:
            load_flat(connection, name, path)
    path.unlink()
    seconds = time.perf_counter() - began
    phases = {"fetching, as a whole": fetched - began, "writing": seconds - fetched + began}
    return Done(seconds, count_rows(task, "bench", name), phases=phases)


if __name__ == "__main__":
    contend(work)
