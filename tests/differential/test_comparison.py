"""The comparison itself: what it takes for equal, and that it notices everything else."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from differential.database import DLT, HERE, Dialect, differences, read

MOMENT = "2024-01-01 00:00:00+00"


def write(file: Path, dialect: Dialect, *changes: str) -> Path:
    """Two rows with lists, as one side leaves them; ids and loads are that side's own."""
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE SCHEMA data; SET schema = 'data'")
        connection.execute(
            f"CREATE TABLE items ({dialect.id} VARCHAR, id BIGINT, moment TIMESTAMPTZ, {dialect.prefix}x INT)"
        )
        system = f"{dialect.id} VARCHAR, {dialect.parent} VARCHAR, {dialect.index} INT"
        connection.execute(f"CREATE TABLE items__tags ({system}, value VARCHAR)")
        connection.execute(f"CREATE TABLE {dialect.prefix}loads (n INT)")
        mark = dialect.prefix
        connection.execute(f"INSERT INTO items VALUES ('{mark}1', 1, '2024-01-01T00:00Z', 5), ('{mark}2', 2, NULL, 6)")
        connection.execute(f"INSERT INTO items__tags VALUES ('a', '{mark}1', 0, 'x'), ('b', '{mark}1', 1, 'y')")
        for change in changes:
            connection.execute(change)
    return file


def found(folder: Path, *changes: str) -> list[str]:
    """The differences, after changes on our side."""
    sides = (write(folder / "dlt.duckdb", DLT), DLT), (write(folder / "here.duckdb", HERE, *changes), HERE)
    return list(differences(*(read(file, dialect, {}, ()) for file, dialect in sides)))


def test_ids_loads_and_the_order_of_rows_do_not_count(tmp_path: Path) -> None:
    again = "CREATE TABLE sorted AS FROM items ORDER BY id DESC; DROP TABLE items; ALTER TABLE sorted RENAME TO items"
    assert found(tmp_path, again) == []


@pytest.mark.parametrize(
    ("change", "texts"),
    [
        (
            "UPDATE items SET id = 7 WHERE id = 2",
            ["row items[2] only in dlt: id=2, moment=None", "row items[7] only here: id=7, moment=None"],
        ),
        ("UPDATE items SET moment = NULL", ["value items[1].moment: 2024-01-01 00:00:00+00 in dlt, None here"]),
        ("ALTER TABLE items ALTER id TYPE INTEGER", ["type of items.id: BIGINT in dlt, INTEGER here"]),
        ("ALTER TABLE items ADD COLUMN n INT", ["column items.n only here, INTEGER: all null"]),
        (
            "ALTER TABLE items DROP COLUMN moment",
            [f"column items.moment only in dlt, TIMESTAMP WITH TIME ZONE: [1] {MOMENT}"],
        ),
        ("DROP TABLE items__tags", ["table items__tags only in dlt, 2 rows: value"]),
        ("UPDATE items__tags SET value = 'z' WHERE value = 'y'", ["value items__tags[1/1].value: y in dlt, z here"]),
        (
            "UPDATE items__tags SET _restapi_index = 5 WHERE value = 'y'",
            ["row items__tags[1/1] only in dlt: value=y", "row items__tags[1/5] only here: value=y"],
        ),
        (
            "UPDATE items__tags SET _restapi_parent_id = '_restapi_2' WHERE value = 'x'",
            ["row items__tags[1/0] only in dlt: value=x", "row items__tags[2/0] only here: value=x"],
        ),
        (
            "DELETE FROM items WHERE id = 1",
            [
                "row items[1] only in dlt: id=1, moment=2024-01-01 00:00:00+00",
                "row items__tags[1/0] only in dlt: value=x",
                "row items__tags[1/1] only in dlt: value=y",
                "row items__tags[orphan/0] only here: value=x",
                "row items__tags[orphan/1] only here: value=y",
            ],
        ),
        ("INSERT INTO items FROM items WHERE id = 2", ["row items[2] only here: id=2, moment=None"]),
    ],
)
def test_whatever_differs_is_told(tmp_path: Path, change: str, texts: list[str]) -> None:
    assert found(tmp_path, change) == texts
