"""Shape: objects flatten, lists become child tables, and no name ever hides another."""

from __future__ import annotations

import json
from hashlib import md5
from typing import Any

import pytest

from dagster_restapi.errors import TableError
from dagster_restapi.model import TablePlan

PLAN = TablePlan(resource="issues", table="issues", disposition="merge", primary_key=("id",))


def _md5(*parts: object) -> str:
    return md5(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()


def test_objects_flatten_and_lists_become_child_tables_at_any_depth(loads: Any) -> None:
    result = loads(
        PLAN,
        [
            {
                "id": 7,
                "user": {"login": "ada", "address": {"city": "X"}},
                "labels": [{"name": "bug", "tags": ["q", "w"]}, {"name": "ui", "tags": []}, None],
                "matrix": [[1, 2], [3]],
                "user2": {"keys": [1]},
            }
        ],
    )
    assert loads.rows("issues", "id, user__login, user__address__city") == [(7, "ada", "X")]
    assert loads.rows("issues__labels", "_restapi_index, name") == [(0, "bug"), (1, "ui"), (2, None)]
    assert loads.rows("issues__labels__tags", "_restapi_index, value") == [(0, "q"), (1, "w")]
    assert loads.rows("issues__matrix__list", "_restapi_index, value") == [(0, 1), (0, 3), (1, 2)]
    assert loads.rows("issues__user2__keys", "value") == [(1,)]
    assert result.tables["issues__labels"] == 3


def test_ids_are_md5_over_documented_arrays(loads: Any) -> None:
    loads(PLAN, [{"id": 7, "user": {"tags": [{"n": 1}]}}])
    root = _md5("issues", "7")
    assert loads.rows("issues", "_restapi_id") == [(root,)]
    assert loads.rows("issues__user__tags", "_restapi_id, _restapi_parent_id, _restapi_root_id, _restapi_index") == [
        (_md5(root, "user.tags", 0), root, root, 0)
    ]
    plain = TablePlan(resource="plain", table="plain")
    load_id = loads(plan := plain, [{"a": 1}, {"a": 2}]).load_id
    ids = loads.rows(plan.table, "a, _restapi_id")
    assert ids == [(1, _md5(load_id, "0")), (2, _md5(load_id, "1"))]


@pytest.mark.parametrize(
    ("levels", "tables", "columns"),
    [
        (0, {"t"}, {"o": "JSON", "l": "JSON"}),
        (1, {"t", "t__l"}, {"o__a": "JSON"}),
        (2, {"t", "t__l", "t__l__m", "t__o__a__n"}, None),
    ],
)
def test_max_nesting_keeps_the_rest_as_json(
    loads: Any, levels: int, tables: set[str], columns: dict[str, str] | None
) -> None:
    plan = TablePlan(resource="t", table="t", max_nesting=levels)
    loads(plan, [{"o": {"a": {"n": [{"z": [1]}]}}, "l": [{"m": [{"k": {"y": 1}}]}]}])
    if columns is not None:
        assert loads.tables() == tables
        assert loads.types("t") == columns
    else:
        assert {"t", "t__l", "t__l__m"} <= loads.tables()


@pytest.mark.parametrize(("levels", "whole"), [(1, True), (2, True), (3, False)])
def test_a_list_in_a_list_counts_as_two_levels(loads: Any, levels: int, whole: bool) -> None:
    loads(TablePlan(resource="t", table="t", max_nesting=levels), [{"matrix": [[1, 2], [3]]}])
    if whole:
        assert loads.tables() == {"t", "t__matrix"}
        assert loads.rows("t__matrix", "_restapi_index, value") == [(0, "[1,2]"), (1, "[3]")]
    else:
        assert loads.rows("t__matrix__list", "_restapi_index, value") == [(0, 1), (0, 3), (1, 2)]


def test_keys_with_two_underscores_are_paths_already(loads: Any) -> None:
    loads(PLAN, [{"id": 1, "user__homeTown": "X", "__typename": "Issue", "labels__all": [1]}])
    assert loads.rows("issues", "id, user__home_town, typename") == [(1, "X", "Issue")]
    assert loads.rows("issues__labels__all", "value") == [(1,)]


def test_lists_in_lists_that_are_too_deep_stay_json_beside_objects(loads: Any) -> None:
    apart, at_once = (TablePlan(resource=name, table=name, max_nesting=1) for name in ("apart", "once"))
    for items in ([[1]], [{"x": 1}], ["s"], [{}], [[]]):
        loads(apart, [{"l": items}])
    loads(at_once, [{"l": items} for items in ([[1]], [{"x": 1}], ["s"], [{}], [[]])])
    assert loads.canonical("apart") == loads.canonical("once")
    assert loads.rows("once__l", "value, x", order="rowid") == [
        ("[1]", None), (None, 1), ('"s"', None), (None, None), ("[]", None),
    ]  # fmt: skip


def test_json_mode_keeps_objects_and_lists_whole(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t", nested="json")
    loads(plan, [{"o": {"b": 1, "a": [None, "x"]}, "l": [], "s": 1, "m": {"x": 1}}, {"o": None, "m": "text"}])
    assert loads.types("t") == {"o": "JSON", "l": "JSON", "s": "BIGINT", "m": "JSON"}
    assert loads.rows("t", "o, l, m", order="rowid") == [
        ('{"a":[null,"x"],"b":1}', "[]", '{"x":1}'),
        (None, None, '"text"'),
    ]


def test_native_mode_makes_structs_and_lists_that_grow(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t", nested="native")
    loads(plan, [{"o": {"a": 1, "at": "2024-01-01T10:00Z"}, "l": [{"x": 1}], "e": []}])
    loads(plan, [{"o": {"a": "q", "b": [2.5]}, "l": [{"x": 1, "y": [True]}], "e": [1]}])
    assert loads.rows("t", "o.a, o.b, l", order="rowid") == [
        ("1", None, [{"x": 1, "y": None}]),
        ("q", [2.5], [{"x": 1, "y": [True]}]),
    ]
    loads(plan, [{"o": "text", "l": [{"x": {"deep": 1}}], "e": [{"k": 1}]}])
    assert json.loads(loads.rows("t", "o", order="rowid")[0][0])["a"] == "1"
    assert json.loads(loads.rows("t", "o", order="rowid")[2][0]) == "text"
    changes = loads(plan, [{"o": {"a": 1}, "l": [{"x": 1}]}]).schema_changes
    assert changes == ()


def test_values_inside_native_columns_are_kept_like_those_outside(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t", nested="native")
    loads(
        plan, [{"o": {"blank": None, "big": 2**53 + 1, "small": 1}, "l": [], "at": {"x": "2024-01-01T12:00:00+02:00"}}]
    )
    loads(plan, [{"o": {"blank": 5, "big": 0.5, "small": 0.5}, "l": [True], "at": "soon"}])
    assert loads.types("t")["o"] == "STRUCT(big VARCHAR, small DOUBLE, blank BIGINT)"
    assert loads.rows("t", "o, l", order="rowid") == [
        ({"big": str(2**53 + 1), "blank": None, "small": 1.0}, []),
        ({"big": "0.5", "blank": 5, "small": 0.5}, [True]),
    ]
    assert loads.rows("t", '"at"', order="rowid") == [('{"x":"2024-01-01T10:00:00Z"}',), ('"soon"',)]


ODD_KEYS = [
    "select", "order", "group by", 'quo"te', "it's", "semi;colon", "🙂", "🙃", "", " ", "a.b", "a/b", "a~b", "%", "$",
    "*", "x" * 200, "rowid", "_restapi_id", "_restapi_load_id", "record", "0", "1st", "é", "tab\tbed", "-- comment",
]  # fmt: skip


@pytest.mark.parametrize("naming", ["snake_case", "as_is"])
def test_any_key_becomes_a_column_of_its_own(loads: Any, naming: Any) -> None:
    plan = TablePlan(resource="odd", table="odd", naming=naming)
    record = {key: f"value of {number}" for number, key in enumerate(ODD_KEYS)}
    for _ in range(2):
        loads(plan, [record])
    values = [set(row) for row in loads.rows("odd")]
    assert all(set(record.values()) <= row for row in values)
    nested = TablePlan(resource="inner", table="inner", naming=naming)
    loads(nested, [{"o": record, "l": [record]}])
    assert set(record.values()) <= set(loads.rows("inner")[0])
    assert set(record.values()) <= set(loads.rows("inner__l")[0])


def test_keys_that_differ_only_in_case_are_both_kept(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t")
    result = loads(plan, [{"userId": 1, "user_id": 2, "USER_ID": 3, "o": {"a": 1, "A": 2}, "l": [{"b": 1, "B": 2}]}])
    row = dict(zip(loads.types("t"), loads.rows("t")[0], strict=False))
    assert row["user_id"] == 2
    assert {value for name, value in row.items() if name.startswith("user_id_")} == {1, 3}
    assert {value for name, value in row.items() if name.startswith("o__a")} == {1, 2}
    assert {1, 2} <= set(loads.rows("t__l")[0])
    assert any("another field has its name" in warning for warning in result.warnings)
    loads(plan, [{"userId": 5}])
    assert loads.rows("t", "user_id", order="rowid")[1] == (None,)


def test_scalars_objects_and_lists_at_one_path_have_places_of_their_own(loads: Any) -> None:
    values: list[Any] = [1, "x", {"b": 1, "0": 2}, [3, {"c": 4}], None, {}, []]
    apart, at_once = TablePlan(resource="apart", table="apart"), TablePlan(resource="once", table="once")
    for value in values:
        loads(apart, [{"a": value}])
    loads(at_once, [{"a": value} for value in values])
    assert loads.canonical("apart") == loads.canonical("once")
    assert loads.rows("once", "a, a__b", order="rowid") == [
        ("1", None), ("x", None), (None, 1), (None, None), (None, None), (None, None), (None, None),
    ]  # fmt: skip
    assert loads.rows("once__a", "value, c", order="rowid") == [(3, None), (None, 4)]


def test_hundreds_of_columns_load(loads: Any) -> None:
    plan = TablePlan(resource="wide", table="wide")
    loads(plan, [{f"c{number}": number for number in range(600)}])
    assert len(loads.types("wide")) == 600


def test_an_empty_first_load_makes_a_usable_table(loads: Any) -> None:
    loads(PLAN, [])
    assert loads.rows("issues") == []
    loads(PLAN, [{"id": 1}])
    assert loads.rows("issues", "id") == [(1,)]


def test_a_record_without_any_key_is_a_row(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t")
    loads(plan, [{}, {}])
    assert len(loads.rows("t")) == 2


@pytest.mark.parametrize("nested", ["tables", "native", "json"])
def test_keys_like_our_own_names_lose_nothing(loads: Any, nested: str) -> None:
    names = [f"_restapi_{name}" for name in ("place", "row_hash", "id", "load_id", "partition", "root_id", "index")]
    names += ["_hash", "_part", "_id", "_ord", "_at_cursor", "record", "json", "c0", "l0", "item"]
    spelled = [form for name in names for form in (name, name.upper(), name.title())]
    for table, keys in (("plain", names), ("cases", spelled)):
        record = {key: f"{key} above" for key in keys}
        record |= {"inner": {key: f"{key} inside" for key in keys}, "list": [{key: f"{key} below" for key in keys}]}
        loads(TablePlan(resource=table, table=table, nested=nested), [record])
        stored = " ".join(str(row) for name in loads.tables() if name.startswith(table) for row in loads.rows(name))
        wanted = [f"{key} {place}" for key in keys for place in ("above", "inside", "below")]
        assert [text for text in wanted if text not in stored] == []


def test_a_child_table_never_takes_another_assets_name(loads: Any) -> None:
    loads(TablePlan(resource="a__b", table="a__b"), [{"x": 1}])
    loads(TablePlan(resource="a", table="a"), [{"b": [{"y": 1}]}])
    assert loads.rows("a__b", "x") == [(1,)]
    [other] = loads.tables() - {"a", "a__b"}
    assert loads.rows(other, "y") == [(1,)]


def test_two_assets_cannot_share_a_table(loads: Any) -> None:
    plan = TablePlan(resource="t", table="t")
    loads(plan, [{"x": 1}], asset="one/t")
    with pytest.raises(TableError, match="belongs to the asset one/t"):
        loads(plan, [{"x": 1}], asset="two/t")


def test_a_record_larger_than_duckdbs_default_limit_loads(loads: Any) -> None:
    loads(TablePlan(resource="t", table="t"), [{"v": "x" * 20_000_000}, {"v": "y"}])
    assert loads.rows("t", "length(v)") == [(1,), (20_000_000,)]
