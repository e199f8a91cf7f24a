"""What requests of children are made of: the same from a stored parent as from one that is walked in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dagster_restapi.config.jsonpath import kept_as
from dagster_restapi.errors import TableError
from dagster_restapi.extract.parents import freeze_parents, parent_rows
from dagster_restapi.http.decode import decode
from dagster_restapi.model import Contract, Parent, TablePlan
from dagster_restapi.spool import Spool
from dagster_restapi.tables.parents import copy_parent_rows
from dagster_restapi.tables.spelling import RESPELLED_FILE, Respelled, match
from dagster_restapi.tables.target import Target

FIELDS, INCLUDE = ("k", "o['a/b~c']", "l[0].x"), ("v", "o")
PARENT = Parent(resource="p", fields=FIELDS, include=INCLUDE)
PLAN = TablePlan(resource="p", table="p", request_fields=tuple(sorted({*FIELDS, *INCLUDE})))
STAMPS = ["2024-01-02T03:04:05.000+0100", "2024-01-02T02:04:05Z", "2024-01-02T03:04:05.100Z", "2024-01-02"]
LITERALS = [
    "1",
    "1.0",
    "1.10",
    "1e2",
    "-0.0",
    "0",
    "18446744073709551617",
    "0.1000000000000000055511151231257827",
    "1e400",
]
numbers = (
    st.sampled_from(LITERALS)
    | st.integers(-(2**70), 2**70).map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
)
texts = st.sampled_from([*STAMPS, "1", "1.0", "true", "null", "NaN", "", "\ud800", "a\0b", "😀'\"\\/"]) | st.text(
    max_size=5
)
scalars = numbers | texts.map(json.dumps) | st.sampled_from(["true", "false"])
objects = st.lists(
    st.tuples(st.sampled_from("zay"), scalars | st.just("null")), max_size=3, unique_by=lambda item: item[0]
)
values = scalars | st.just("null") | st.lists(scalars, max_size=2).map(lambda items: f"[{','.join(items)}]")


def record(key: str, v: str = "1") -> dict[str, Any]:
    found: dict[str, Any] = decode(f'{{"k":{key},"o":{{"a/b~c":{key}}},"l":[{{"x":{key}}}],"v":{v}}}'.encode())
    return found


@st.composite
def records(draw: st.DrawFn) -> str:
    """A record as an API may write it."""
    inner = "".join(f',"{name}":{value}' for name, value in draw(objects))
    keys = [draw(scalars) for _ in range(3)]
    return f'{{"k":{keys[0]},"o":{{"a/b~c":{keys[1]}{inner}}},"l":[{{"x":{keys[2]}}}],"v":{draw(values)}}}'


def walked(folder: Path, pages: Sequence[list[dict[str, Any]]]) -> dict[str, Any]:
    """What a child gets of a parent that is walked in memory, whose records pass through a spool: values by key.

    Of rows with one key, the last one gives what is included, as it does where they are stored.
    """
    with Spool.open(folder, "walked") as spool:
        for number, page in enumerate(pages):
            writer = spool.writer(number)
            writer.write(page)
            writer.commit(None, {}, done=True)
        rows = list(parent_rows(spool.records(), PARENT))
    return {exactly(row.key): exactly(row.include) for row in rows if row}


def copied(loads: Any, plan: TablePlan, **options: Any) -> list[Any]:
    path = Path(loads.folder) / "parents.ndjson"
    options = {"fields": FIELDS, "include": INCLUDE, **options}
    copy_parent_rows(loads.target, plan, destination=path, **options)
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def exactly(value: Any) -> str:
    """A form in which 1, 1.0, "1" and true differ."""
    return json.dumps(value, sort_keys=True)


WIDENS_IN_A_STRUCT = [  # integers of 128 bits, then a float beyond those of 64
    ['{"k":1,"o":{"a/b~c":1,"y":18446744073709551617},"l":[{"x":1}],"v":1}'],
    [
        '{"k":1,"o":{"a/b~c":1},"l":[{"x":1}],"v":1}',
        '{"k":1,"o":{"a/b~c":1,"y":9.223372036854776e+18},"l":[{"x":1}],"v":1}',
    ],
]


@pytest.mark.parametrize("nested", ["tables", "json", "native"])
@example(pages=WIDENS_IN_A_STRUCT)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pages=st.lists(st.lists(records(), min_size=1, max_size=3), min_size=1, max_size=3))
def test_a_stored_parent_gives_what_one_in_memory_gives(
    tmp_path_factory: pytest.TempPathFactory, make_loader: Any, nested: Any, pages: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("parents")
    plan = replace(PLAN, nested=nested)
    loads = make_loader(folder, Target(str(folder / "p.duckdb")))
    bodies = [decode(f"[{','.join(page)}]".encode()) for page in pages]
    for page in bodies:  # each a load that may widen the columns of those before
        loads(plan, page)
    stored = [(exactly(line["key"]), exactly(line["include"])) for line in copied(loads, plan)]
    assert stored == list(walked(folder, bodies).items())


ELEMENTS = Parent(
    resource="p", fields=("k", "o.l[*].x", "o.l[*]"), include=("o.l[*].y", "v"), elements="$['o']['l'][*]"
)
_MISSING = "missing"
maybe = scalars | st.sampled_from(["null", _MISSING])
elements = st.tuples(maybe, maybe).map(lambda pair: _object_of(x=pair[0], y=pair[1])) | scalars | st.just("null")
lists = st.lists(elements, max_size=3).map(lambda items: f"[{','.join(items)}]") | st.sampled_from(["null", _MISSING])


def _object_of(**members: str) -> str:
    return "{" + ",".join(f'"{name}":{value}' for name, value in members.items() if value != _MISSING) + "}"


@st.composite
def records_with_lists(draw: st.DrawFn) -> str:
    o = _object_of(l=draw(lists), z=draw(maybe))
    return _object_of(k=draw(maybe), v=draw(maybe), o=draw(st.sampled_from([o, o, o, "null", _MISSING])))


@pytest.mark.parametrize("fields", [("k", "o.l[*].x"), ("o.l[*].x",), ("o.l[*]",), ("o['l'].*", "$.o.l[*].x")])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pages=st.lists(st.lists(records_with_lists(), min_size=1, max_size=3), min_size=1, max_size=3))
def test_elements_of_a_stored_parent_are_those_of_one_in_memory(
    tmp_path_factory: pytest.TempPathFactory, make_loader: Any, fields: tuple[str, ...], pages: list[list[str]]
) -> None:
    folder = tmp_path_factory.mktemp("parents")
    parent = replace(ELEMENTS, fields=fields)
    kept = sorted({kept_as(path, parent.elements) for path in (*parent.fields, *parent.include)})
    plan = replace(PLAN, nested="json", request_fields=tuple(kept))
    loads = make_loader(folder, Target(str(folder / "p.duckdb")))
    bodies = [decode(f"[{','.join(page)}]".encode()) for page in pages]
    for page in bodies:
        loads(plan, page)
    stored = folder / "stored.ndjson"
    found = copy_parent_rows(
        loads.target, plan, fields=fields, include=parent.include, elements=parent.elements, destination=stored
    )
    walked = folder / "walked.ndjson"
    with Spool.open(folder, "walked") as spool:
        for number, page in enumerate(bodies):
            writer = spool.writer(number)
            writer.write(page)
            writer.commit(None, {}, done=True)
        frozen = freeze_parents(spool.records(), parent, walked, {})
    assert (found.keys, found.skipped_null) == (frozen.keys, frozen.skipped_null)
    assert [_line(line) for line in stored.read_bytes().splitlines()] == [
        _line(line) for line in walked.read_bytes().splitlines()
    ]


def _line(text: bytes) -> str:
    line = json.loads(text)
    return exactly([line["key"], line["include"]])


def test_an_explicit_null_is_no_reason_to_look_into_the_columns(loads: Any) -> None:
    loads(PLAN, [record("1", v="null"), record("null")])
    assert [line["include"]["v"] for line in copied(loads, PLAN)] == [None]


def test_what_a_contract_leaves_out_of_the_columns_is_sent_all_the_same(loads: Any) -> None:
    plan = replace(PLAN, contract=Contract(columns="discard_value"), request_fields=("id", "k"))
    loads(plan, [{"id": 1}])
    loads(plan, [{"id": 2, "k": 1.0}])
    lines = copied(loads, plan, fields=("id",), include=("k",))
    assert [exactly(line) for line in lines] == [
        '{"include": {"k": null}, "key": {"id": 1}}',
        '{"include": {"k": 1.0}, "key": {"id": 2}}',
    ]


def test_a_path_that_no_column_can_have_is_kept_as_well(loads: Any) -> None:
    plan = replace(PLAN, request_fields=("l[-1]", "k"))
    loads(plan, [{"k": 1, "l": [1, 2.0]}])
    assert copied(loads, plan, fields=("l[-1]",), include=()) == [{"key": {"l[-1]": 2.0}, "include": {}}]
    with pytest.raises(TableError, match="cannot be read from a stored table"):
        copied(loads, plan, fields=("l[-2]",), include=())


@pytest.mark.parametrize("whole", [False, True])
def test_rows_of_both_kinds_are_one_parent(loads: Any, whole: bool) -> None:
    """Rows that an earlier version appended, and later ones of the same parents with other content."""
    stamp = "2024-01-02T03:04:05.000+0100"
    loads(replace(PLAN, request_fields=()), [{"k": stamp, "v": 1}, {"k": "2024-05-05T00:00:00+0000", "v": 1}])
    plan = replace(PLAN, request_fields=("k", "v") if whole else ("k",))
    loads(plan, [{"k": stamp, "v": 2}])
    keys = [line["key"]["k"] for line in copied(loads, plan, fields=("k",), include=("v",))]
    assert keys == [stamp, "2024-05-05T00:00:00Z"]


def test_partitions_and_windows_keep_it(loads: Any) -> None:
    for day in ("mon", "tue"):
        loads(PLAN, [record("1.0", v=f'"{day}"')], partition=day)
    assert [exactly(line["key"]["k"]) for line in copied(loads, PLAN, partition="tue")] == ["1.0"]


def test_keys_that_collide_in_columns_keep_it(loads: Any) -> None:
    """Such records are read as a whole."""
    plan = replace(PLAN, request_fields=("ID", "id"))
    loads(plan, [{"id": 1.0, "ID": "\ud800"}])
    (line,) = copied(loads, plan, fields=("id", "ID"), include=())
    assert exactly(line["key"]) == exactly({"id": 1.0, "ID": "\uffffud800"})


# ---- spellings of earlier versions -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("old", "rows", "found"),
    [
        (["1"], [("1", "1")], {"1": ["1"]}),
        (['"1"'], [("1", '"1"')], {'"1"': ["1"]}),
        (["1"], [("1.0", '"1"')], {"1": ["1.0"]}),
        (['"1"'], [("1", '"1"'), ('"1"', '"1"')], {'"1"': ["1", '"1"']}),
        (["1", '"1"'], [("1", '"1"')], {'"1"': ["1"], "1": []}),
        (["1"], [("1.0", '"1"'), ('"1"', '"1"')], {}),
        (["1", "1.0"], [('"1"', '"1"')], {}),
        (["1"], [("1", "1.0"), ("1.0", "1.0")], {"1": ["1"]}),
        (
            ['"2024-01-02T02:04:05Z"'],
            [('"2024-01-02T03:04:05.000+0100"', "null")],
            {"": ['"2024-01-02T03:04:05.000+0100"']},
        ),
        (["true"], [('"true"', '"true"')], {"true": ['"true"']}),
        (["9"], [("1", "1")], {}),
    ],
)
def test_what_an_old_spelling_stands_for(
    old: list[str], rows: list[tuple[str, str]], found: dict[str, list[str]]
) -> None:
    def key(value: str) -> str:
        return f'{{"k":{value}}}'

    expected = {key(one or old[0]): {key(value) for value in values} for one, values in found.items()}
    assert match(set(map(key, old)), [(key(api), key(typed)) for api, typed in rows]) == expected


def test_what_a_load_has_to_know_survives_in_its_folder(tmp_path: Path) -> None:
    told = Respelled({"a": {"b", "c"}, "d": set()}, frozenset("g"))
    (tmp_path / RESPELLED_FILE).write_bytes(told.to_json())
    assert Respelled.read(tmp_path) == told
    assert not Respelled.read(tmp_path / "nowhere")
