"""`state reset` and `state rename` between real runs: what stays, what goes, and where the next run goes on."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
import yaml

AT = "2024-01-0{}T00:00:00Z"
INCREMENTAL = {"cursor_path": "at", "initial_value": AT.format(1), "start_param": "since"}
PARENTS = [{"id": number, "name": f"r{number}", "at": AT.format(number)} for number in (1, 2)]
ITEMS = [{"id": number, "v": "a", "at": AT.format(number), "l": [{"n": number}]} for number in (1, 2, 3)]


def disposition(kind: str) -> dict[str, Any]:
    return {"write_disposition": kind, **({"primary_key": "id"} if kind == "merge" else {})}


def items(name: str = "items", kind: str = "append", **options: Any) -> dict[str, Any]:
    endpoint = {"path": "items", "incremental": INCREMENTAL, "paginator": "single_page"}
    return {"name": name, "endpoint": endpoint, **disposition(kind), **options}


def family(parent: str = "repos", child: str = "issues", kind: str = "append") -> list[dict[str, Any]]:
    below = {
        "path": f"repos/{{resources.{parent}.name}}/issues",
        "incremental": INCREMENTAL,
        "paginator": "single_page",
    }
    above = {"path": "repos", "incremental": INCREMENTAL, "paginator": "single_page"}
    return [
        {"name": parent, "endpoint": above, **disposition("merge")},
        {"name": child, "endpoint": below, **disposition(kind)},
    ]


def by_key(name: str = "items") -> dict[str, Any]:
    """Of static partitions, each with a cursor."""
    return items(name, partitions={"type": "static", "keys": ["a", "b"]})


@pytest.fixture
def load(run: Any, api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs resources from a file `x.yaml` into `x.duckdb`; gives the rows of the output's table."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    api.pages["/items"] = ITEMS
    api.pages["/repos"] = PARENTS
    for parent in PARENTS:
        api.pages[f"/repos/{parent['name']}/issues"] = [
            {"id": f"{parent['name']}-{number}", "at": AT.format(number), "l": [number]} for number in (1, 2)
        ]

    def loaded(*resources: Any, options: tuple[Any, ...] = ()) -> Any:
        config = {"client": {"base_url": api.url}, "resources": list(resources)}
        Path("x.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        api.asked.clear()
        ran = run("run", "x.yaml", *options)
        assert ran.code == 0, ran.err
        return ran.table

    return loaded


@pytest.fixture
def state(run: Any) -> Callable[..., Any]:
    return lambda *arguments: run("state", "x.yaml", *arguments)


def query(sql: str) -> list[Any]:
    with duckdb.connect("x.duckdb", read_only=True) as connection:
        return connection.execute(sql).fetchall()


def everything() -> dict[str, Any]:
    names = query("SELECT DISTINCT schema_name, table_name FROM duckdb_columns() WHERE NOT internal")
    return {f"{schema}.{name}": query(f'SELECT * FROM "{schema}"."{name}" ORDER BY ALL') for schema, name in names}


def numbers(row: dict[str, str]) -> tuple[str, str, str, str]:
    return row["rows"], row["new"], row["changed"], row["gone"]


# ---- reset -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["append", "merge", "replace"])
def test_after_a_reset_all_comes_again_and_nothing_comes_twice(load: Any, state: Any, api: Any, kind: str) -> None:
    load(items(kind=kind))
    load(items(kind=kind))
    ran = state("reset", "items")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "items is reset. The rows stay; the next load starts at the beginning.\n"
    before = query("SELECT * FROM public.items ORDER BY id")
    assert len(before) == 3
    api.pages["/items"] = [*ITEMS, {"id": 4, "v": "late", "at": AT.format(1)}]  # lies before the cursor
    assert numbers(load(items(kind=kind))["items"])[:3] == ("4", "1" if kind != "replace" else "4", "0")
    assert f"since={AT.format(1).replace(':', '%3A')}" in api.asked[0]
    assert query("SELECT id FROM public.items ORDER BY id") == [(1,), (2,), (3,), (4,)]
    if kind != "replace":
        assert query("SELECT * FROM public.items WHERE id < 4 ORDER BY id") == before
        load(items(kind=kind))
        assert f"since={AT.format(3).replace(':', '%3A')}" in api.asked[0], "the cursor is back"


@pytest.mark.parametrize("kind", ["append", "merge"])
def test_a_reset_child_asks_all_parents_from_the_beginning(load: Any, state: Any, api: Any, kind: str) -> None:
    load(*family(kind=kind))
    assert state("reset", "issues").code == 0
    assert state().table["issues"]["cursor"] == "reset"
    again = load(*family(kind=kind))
    assert numbers(again["issues"]) == ("4", "0", "0", "0")
    asked = [path for path in api.asked if "/issues" in path]
    assert len(asked) == 2
    assert all("since=2024-01-01" in path for path in asked)


@pytest.mark.parametrize("kind", ["append", "merge"])
def test_one_parent_that_is_reset_brings_no_row_twice(load: Any, state: Any, api: Any, kind: str) -> None:
    load(*family(kind=kind))
    assert state("reset", "issues", "--parent", "r1").code == 0
    again = load(*family(kind=kind), options=("--parents", "all", "--select", "issues"))
    assert numbers(again["issues"]) == ("4", "0", "0", "0")
    assert [("r1" in path) for path in api.asked if "since=2024-01-01" in path] == [True]


def test_a_reset_of_an_asset_with_partitions_is_one_of_each(load: Any, state: Any) -> None:
    load(by_key())
    assert "items is reset (2 partitions)" in state("reset", "items").err
    assert query("SELECT partition, cursor FROM public._restapi_loads WHERE load_id LIKE 'reset-%' ORDER BY 1") == [
        ("a", None),
        ("b", None),
    ]
    assert numbers(load(by_key())["items"]) == ("6", "0", "0", "0")


def test_a_reset_keeps_the_owed_parents_the_wipe_the_layout_and_the_counts(load: Any, state: Any) -> None:
    load(items())
    kept = "failed_parents, wipe, coalesce(layout, ''), data_version, tell->'load'->>'row_count'"
    before = query(f"SELECT {kept} FROM public._restapi_loads")
    state("reset", "items")
    after = query(f"SELECT {kept} FROM public._restapi_loads ORDER BY sequence DESC LIMIT 1")
    assert after == before
    assert query("SELECT tell->'notes'->>'reset', parent_load_id, rows FROM public._restapi_loads "
                 "WHERE load_id LIKE 'reset-%'") == [("true", None, 0)]  # fmt: skip


@pytest.mark.parametrize(("of", "start"), [(items, 0), (family, "a")])
def test_after_a_reset_the_cursor_may_be_another_field(load: Any, state: Any, of: Any, start: Any) -> None:
    resources = of() if of is family else [of()]
    load(*resources)
    assert state("reset", resources[-1]["name"]).code == 0
    resources[-1]["endpoint"]["incremental"] = {**INCREMENTAL, "cursor_path": "id", "initial_value": start}
    assert load(*resources)[resources[-1]["name"]]["new"] == "0"


def test_a_run_after_a_reset_is_a_load_although_nothing_comes(load: Any, state: Any, api: Any) -> None:
    load(items())
    state("reset", "items")
    api.pages["/items"] = []
    load(items())
    assert state().table["items"]["loads"] == "2"
    assert query("SELECT count(*) FROM public.items") == [(3,)]


# ---- reset with the rows ---------------------------------------------------------------------------------------------
def test_rows_go_with_their_tables_and_loads(load: Any, state: Any) -> None:
    load(items(), *family())
    ran = state("reset", "items", "--drop-rows", "--yes")
    assert ran.code == 0
    assert ran.err.splitlines() == ["items: 3 rows", "items__l: 3 rows", "items: removed 6 rows and 1 load."]
    assert query("SELECT table_name FROM duckdb_tables() WHERE starts_with(table_name, 'items')") == []
    for table, column in (("loads", "asset"), ("tables", "root"), ("cursors", "asset"), ("columns", "table_name")):
        assert query(f"SELECT * FROM public._restapi_{table} WHERE starts_with({column}, 'items')") == []
    assert state().table["issues"]["loads"] == "1"
    assert numbers(load(items())["items"]) == ("3", "3", "0", "0")


def test_the_rows_of_one_partition_go_alone(load: Any, state: Any) -> None:
    load(by_key())
    assert state("reset", "items", "--partition", "a", "--drop-rows", "--yes").code == 0
    for table in ("items", "items__l"):
        assert query(f"SELECT DISTINCT _restapi_partition FROM public.{table}") == [("b",)]
    assert query("SELECT partition FROM public._restapi_loads") == [("b",)]
    assert numbers(load(by_key())["items"]) == ("6", "3", "0", "0")


def test_rows_are_not_removed_unasked(load: Any, state: Any) -> None:
    load(items())
    before = everything()
    ran = state("reset", "items", "--drop-rows")
    assert (ran.code, everything()) == (2, before)
    assert "--yes says so" in ran.err


@pytest.mark.parametrize(("answer", "left"), [("n", 3), ("y", 0)])
def test_a_person_is_asked_whether_rows_are_to_go(load: Any, answer: str, left: int) -> None:
    load(items())
    script = "from dagster_restapi.cli.main import main; main()"
    command = [sys.executable, "-c", script, "state", "x.yaml", "reset", "items", "--drop-rows"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True) as process:
        os.close(theirs)
        os.write(ours, f"{answer}\n".encode())
        told = b""
        with contextlib.suppress(OSError):  # the terminal is closed
            while part := os.read(ours, 1000):
                told += part
    os.close(ours)
    assert process.returncode == 0
    assert b"Remove them, and 1 load of items?" in told
    tables = query("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'items'")
    assert tables == [(1 if left else 0,)]


@pytest.mark.parametrize(
    "made_anew", ["DROP TABLE public.items; CREATE TABLE public.items AS SELECT 7 AS id",
                  "DROP TABLE public.items__l; CREATE VIEW public.items__l AS SELECT 7 AS id"],
    ids=["the root", "a list"],
)  # fmt: skip
@pytest.mark.parametrize("options", [(), ("--partition", "a")], ids=["all", "a partition"])
def test_a_table_that_somebody_made_anew_is_not_dropped(
    load: Any, state: Any, made_anew: str, options: tuple[str, ...]
) -> None:
    load(by_key())
    with duckdb.connect("x.duckdb") as connection:
        connection.execute(made_anew)
    before = everything()
    ran = state("reset", "items", "--drop-rows", "--yes", *options)
    assert (ran.code, everything()) == (1, before)
    assert "was not made by this library" in ran.err


# ---- rename ----------------------------------------------------------------------------------------------------------
CASES: dict[str, tuple[list[Any], list[Any], str, str]] = {
    "append": ([items()], [items("things")], "items", "things"),
    "append under the same table": ([items()], [items("things", table_name="items")], "items", "items"),
    "merge": ([items(kind="merge")], [items("things", "merge")], "items", "things"),
    "partitions": ([by_key()], [by_key("things")], "items", "things"),
    "its list's name": ([items()], [items("items__l")], "items", "items__l"),
    "another case of letters": ([items(naming="as_is", table_name="Items")], [items()], "Items", "items"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_renamed_asset_goes_on_where_it_was(load: Any, state: Any, api: Any, case: str) -> None:
    before, after, old, new = CASES[case]
    load(*before)
    rows = {name: query(f'SELECT * FROM public."{name}" ORDER BY ALL') for name in (old, f"{old}__l")}
    load_file = yaml.safe_dump({"client": {"base_url": api.url}, "resources": after})
    Path("x.yaml").write_text(load_file, encoding="utf-8")
    if old != new:
        ran = state("rename", old, after[0]["name"])
    else:
        ran = state("rename", old, after[0]["name"], "--key-prefix", "up", "--schema", "public")
    assert ran.code == 0, ran.err
    assert f"{old} is {new if old != new else 'up/items'} now" in ran.err
    for name, found in rows.items():
        assert query(f'SELECT * FROM public."{new}{name.removeprefix(old)}" ORDER BY ALL') == found
    assert {root for (root,) in query("SELECT root FROM public._restapi_tables")} == {new}
    options = () if old != new else ("--key-prefix", "up", "--schema", "public")
    api.pages["/items"] = [ITEMS[-1], {"id": 9, "v": "new", "at": AT.format(9), "l": [{"n": 9}]}]
    result = load(*after, options=options)[after[0]["name"]]
    parts = 2 if case == "partitions" else 1
    assert numbers(result) == (str(4 * parts), str(parts), "0", "0")
    assert all("since=2024-01-03" in path for path in api.asked)
    assert query(f'SELECT count(*) FROM public."{new}__l"') == [(4 * parts,)]


@pytest.mark.parametrize("kind", ["append", "merge"])
@pytest.mark.parametrize(("parent", "child"), [("repos", "tickets"), ("projects", "issues"), ("projects", "tickets")])
@pytest.mark.parametrize("first", ["repos", "issues"])
def test_a_family_that_is_renamed_asks_for_what_is_new_alone(
    load: Any, state: Any, api: Any, kind: str, parent: str, child: str, first: str
) -> None:
    load(*family(kind=kind))
    config = {"client": {"base_url": api.url}, "resources": family(parent, child, kind)}
    Path("x.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    names = {"repos": parent, "issues": child}
    for old in sorted(names, key=lambda name: name != first):
        if names[old] != old:
            assert state("rename", old, names[old]).code == 0
    changed, new = {**PARENTS[1], "v": "changed", "at": AT.format(5)}, {"id": 3, "name": "r3", "at": AT.format(6)}
    api.pages["/repos"] = [changed, new]
    api.pages["/repos/r2/issues"] = [*api.pages["/repos/r2/issues"], {"id": "r2-3", "at": AT.format(3)}]
    api.pages["/repos/r3/issues"] = [{"id": "r3-1", "at": AT.format(4)}]
    result = load(*family(parent, child, kind))
    assert numbers(result[child])[:2] == ("6", "2")
    asked = sorted(path for path in api.asked if "/issues" in path)
    assert [path.split("/")[2] for path in asked] == ["r2", "r3"], "r1 has not changed"
    assert "since=2024-01-02" in asked[0], "from the cursor on that it had under its former name"
    assert query(f"SELECT id FROM public.{child} ORDER BY id") == [
        (f"r{number}-{n}",) for number, n in ((1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 1))
    ]


def test_a_renamed_snapshot_is_not_taken_for_one_that_nobody_was_told_of(
    load: Any, state: Any, api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    plain = {"endpoint": {"path": "items", "paginator": "single_page"}, **disposition("append")}
    load({"name": "items", **plain})
    with dg.DagsterInstance.get() as instance:
        assert instance.get_latest_materialization_event(dg.AssetKey("items")) is not None
    config = {"client": {"base_url": api.url}, "resources": [{"name": "things", **plain}]}
    Path("x.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert state("rename", "items", "things").code == 0
    assert numbers(load({"name": "things", **plain})["things"]) == ("6", "3", "0", "0")


def test_the_command_of_the_error_works_as_it_stands(load: Any, run: Any, api: Any) -> None:
    load(items())
    arguments = ("--key-prefix", "up", "--schema", "public")
    api.asked.clear()
    refused = run("run", "x.yaml", *arguments)
    assert (refused.code, api.asked) == (1, []), "nothing is fetched for a table that is somebody else's"
    command = refused.err.rpartition("hand its tables over: dagster-restapi ")[2].strip()
    renamed = run(*command.replace("CONFIG", "x.yaml").split(" "))
    assert renamed.code == 0, renamed.err
    assert numbers(load(items(), options=arguments)["items"]) == ("3", "0", "0", "0")


@pytest.mark.parametrize(
    ("old", "in_the_way", "told"),
    [
        ("itms", "", "the ledger knows no load of an asset 'itms'"),
        ("items", "CREATE TABLE public.Things AS SELECT 7 AS id", "the table 'Things' stands where a table of things"),
        ("items", "CREATE VIEW public.things__l AS SELECT 7 AS id", "the view 'things__l' stands where a table of"),
        ("items", "DROP TABLE public.items; CREATE TABLE public.items AS SELECT 7 AS id", "was not made by"),
        ("items", "INSERT INTO public._restapi_loads (load_id, asset, sequence) VALUES ('l', 'things', 9)",
         "has loads of its own"),
    ],
)  # fmt: skip
def test_what_cannot_be_renamed_is_told_and_stays(
    load: Any, state: Any, api: Any, old: str, in_the_way: str, told: str
) -> None:
    load(items())
    with duckdb.connect("x.duckdb") as connection:
        connection.execute(in_the_way or "SELECT 1")
    before = everything()
    config = {"client": {"base_url": api.url}, "resources": [items("things")]}
    Path("x.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    ran = state("rename", old, "things")
    assert (ran.code, everything()) == (1, before)
    assert told in ran.err
    assert ran.err.count("\n") == 2, "with what to do"


@pytest.mark.parametrize(
    "words",
    [
        ("rename",),
        ("rename", "items"),
        ("rename", "a", "b", "c"),
        ("reset", "items", "--yes"),
        ("reset", "items", "--drop-rows", "--parent", "x"),
        ("items", "--drop-rows"),
        ("rename", "a", "items", "--partition", "x"),
    ],
)
def test_wrong_words_are_wrong_usage(load: Any, state: Any, words: tuple[str, ...]) -> None:
    load(items())
    assert state(*words).code == 2


# ---- whose table it is -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [(), ("--full-refresh",), ("--max-pages", "1"), ("--partition", "a")])
@pytest.mark.parametrize("stands", ["TABLE public.items", "TABLE public.ITEMS", "VIEW public.items"])
def test_a_run_refuses_the_users_table_before_it_asks_for_anything(
    load: Any, run: Any, api: Any, options: tuple[str, ...], stands: str
) -> None:
    load(*family())
    with duckdb.connect("x.duckdb") as connection:
        connection.execute(f"CREATE {stands} AS SELECT 7 AS id")
    before = everything()
    resource = by_key() if "--partition" in options else items()
    config = {"client": {"base_url": api.url}, "resources": [resource]}
    Path("x.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    api.asked.clear()
    ran = run("run", "x.yaml", *options)
    assert (ran.code, api.asked, everything()) == (1, [], before)
    assert "items' was not made by this library" in ran.err.lower()
