"""What a second load does to the rows of the first, by disposition; contracts; new columns and changed types."""

from __future__ import annotations

from typing import Any

from differential.scenario import Scenario, answers, api

KEYED = {"primary_key": "id"}
FIRST = [
    {"id": 1, "name": "a", "tags": ["x", "y"], "user": {"login": "u"}, "at": "2024-01-01T00:00:00Z"},
    {"id": 2, "name": "b", "tags": [], "user": {"login": "v"}, "at": "2024-01-02T00:00:00Z"},
    {"id": 3, "name": "c", "tags": ["z"], "user": {"login": "w"}, "at": "2024-01-03T00:00:00Z"},
]
EDITED = [  # one edited, with a new column and a shorter list; one unchanged; one gone; one new
    {"id": 1, "name": "A", "tags": ["x"], "user": {"login": "u", "age": 7}, "at": "2024-02-01T00:00:00Z", "new": 1.5},
    {"id": 2, "name": "b", "tags": [], "user": {"login": "v"}, "at": "2024-01-02T00:00:00Z"},
    {"id": 4, "name": "d", "tags": ["q", "r"], "user": None, "at": "2024-02-02T00:00:00Z"},
]


def two_loads(name: str, first: Any = FIRST, second: Any = EDITED, **options: Any) -> Scenario:
    """A resource `items`; options of a scenario are taken out, the rest is the resource's."""
    own = {key: options.pop(key) for key in ("keys", "ranked", "refused", "loads") if key in options}
    return Scenario(name=name, config=api({"name": "items", **options}), serve=answers(items=(first, second)), **own)


def merge(strategy: str, **more: Any) -> dict[str, Any]:
    return {"disposition": "merge", "strategy": strategy, **more}


SCD2 = merge("scd2", validity_column_names=["valid_from", "valid_to"])
HISTORY = ("valid_from", "valid_to")
FLAT = [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}]


def changed(first: Any, second: Any) -> list[Any]:
    return [[{"id": 1, "v": first}], [{"id": 2, "v": second}]]


def contract(entity: str, mode: str, second: list[dict[str, Any]], **more: Any) -> Scenario:
    return two_loads(f"contract_{entity}_{mode}", FLAT, second, schema_contract={entity: mode}, **more)


SCENARIOS = (
    two_loads("append", write_disposition="append"),
    two_loads("append_with_a_key", write_disposition="append", **KEYED),
    two_loads("replace", write_disposition="replace"),
    two_loads("replace_with_a_key", write_disposition="replace", **KEYED),
    two_loads("replace_by_nothing", FIRST, [], write_disposition="replace"),
    two_loads("merge_by_primary_key", write_disposition="merge", **KEYED),
    two_loads("merge_by_nothing", FIRST, [], write_disposition="merge", **KEYED),
    two_loads("merge_without_a_key", write_disposition="merge"),
    two_loads(
        "merge_by_merge_key",
        [{"id": 1, "day": "a"}, {"id": 2, "day": "a"}, {"id": 3, "day": "b"}],
        [{"id": 4, "day": "a"}],
        write_disposition="merge",
        merge_key="day",
    ),
    two_loads(
        "merge_by_both_keys",
        [{"id": 1, "day": "a"}, {"id": 2, "day": "a"}, {"id": 3, "day": "b"}],
        [{"id": 3, "day": "a"}, {"id": 5, "day": "c"}],
        write_disposition="merge",
        merge_key="day",
        **KEYED,
    ),
    two_loads(
        "merge_by_compound_key",
        [{"id": 1, "part": "a", "v": 1, "l": [1]}, {"id": 1, "part": "b", "v": 2, "l": [2]}],
        [{"id": 1, "part": "b", "v": 3, "l": [3, 4]}, {"id": 2, "part": "a", "v": 4, "l": []}],
        write_disposition="merge",
        primary_key=["id", "part"],
        keys={"items": ("id", "part")},
    ),
    two_loads(
        "merge_by_compound_merge_key",
        [{"id": 1, "a": 1, "b": 1}, {"id": 2, "a": 1, "b": 2}],
        [{"id": 3, "a": 1, "b": 2}],
        write_disposition="merge",
        merge_key=["a", "b"],
    ),
    two_loads(
        "merge_by_hinted_key", write_disposition="merge", columns={"id": {"primary_key": True, "data_type": "bigint"}}
    ),
    two_loads(
        "merge_by_nested_key",
        [{"id": 1, "user": {"key": 1}, "v": 1}, {"id": 2, "user": {"key": 2}, "v": 2}],
        [{"id": 3, "user": {"key": 2}, "v": 3}],
        write_disposition="merge",
        primary_key="user__key",
    ),
    two_loads(
        "merge_by_camel_case_key",
        [{"id": 1, "userId": 1}, {"id": 2, "userId": 2}],
        [{"id": 3, "userId": 2}],
        write_disposition="merge",
        primary_key="userId",
    ),
    two_loads(
        "merge_by_text_key",
        [{"id": "a", "v": 1}, {"id": "b", "v": 2}],
        [{"id": "b", "v": 3}],
        write_disposition="merge",
        **KEYED,
    ),
    two_loads("merge_key_changes_type", FLAT, [{"id": "1", "v": "c"}], write_disposition="merge", **KEYED),
    two_loads("merge_null_key", FLAT, [{"id": None, "v": "c"}], write_disposition="merge", refused=(2,), **KEYED),
    two_loads("upsert", write_disposition=merge("upsert"), **KEYED),
    two_loads("insert_only", write_disposition=merge("insert-only"), **KEYED),
    two_loads(
        "twins_in_one_load",
        [{"id": 1, "v": "a"}, {"id": 1, "v": "b"}, {"id": 2, "v": "c"}],
        [{"id": 2, "v": "d"}, {"id": 2, "v": "e"}],
        write_disposition="merge",
        **KEYED,
    ),
    *(
        two_loads(
            f"dedup_sort_{order}",
            [{"id": 1, "v": "a", "n": 1}, {"id": 1, "v": "b", "n": 3}, {"id": 1, "v": "c", "n": 2}],
            [{"id": 1, "v": "d", "n": 1}, {"id": 1, "v": "e", "n": 2}],
            write_disposition="merge",
            columns={"n": {"dedup_sort": order, "data_type": "bigint"}},
            **KEYED,
        )
        for order in ("asc", "desc")
    ),
    two_loads(
        "hard_delete_by_bool",
        [{"id": 1, "gone": False, "l": [1]}, {"id": 2, "gone": False, "l": [2]}, {"id": 3, "gone": True, "l": [3]}],
        [{"id": 1, "gone": True, "l": [1]}, {"id": 2, "gone": None, "l": [2]}, {"id": 9, "gone": True, "l": []}],
        write_disposition="merge",
        columns={"gone": {"hard_delete": True, "data_type": "bool"}},
        **KEYED,
    ),
    two_loads(
        "hard_delete_by_time",
        [{"id": 1, "deleted_at": None}, {"id": 2, "deleted_at": None}],
        [{"id": 1, "deleted_at": "2024-01-01T00:00:00Z"}],
        write_disposition="merge",
        columns={"deleted_at": {"hard_delete": True, "data_type": "timestamp"}},
        **KEYED,
    ),
    two_loads(
        "hard_delete_of_a_twin",
        [{"id": 1, "gone": False, "n": 1}],
        [{"id": 1, "gone": False, "n": 3}, {"id": 1, "gone": True, "n": 2}],
        write_disposition="merge",
        columns={
            "gone": {"hard_delete": True, "data_type": "bool"},
            "n": {"dedup_sort": "desc", "data_type": "bigint"},
        },
        **KEYED,
    ),
    two_loads(
        "hard_delete_upsert",
        [{"id": 1, "gone": False, "l": [1]}, {"id": 2, "gone": False, "l": [2]}],
        [{"id": 1, "gone": True, "l": [1]}, {"id": 3, "gone": False, "l": [5]}],
        write_disposition=merge("upsert"),
        columns={"gone": {"hard_delete": True, "data_type": "bool"}},
        **KEYED,
    ),
    # ---- history -----------------------------------------------------------------------------------------------------
    Scenario(
        name="scd2",
        config=api({"name": "items", "write_disposition": SCD2}),
        serve=answers(
            items=(
                FLAT,
                [{"id": 1, "v": "A"}, {"id": 3, "v": "c"}],
                [{"id": 1, "v": "A"}, {"id": 2, "v": "b"}],
            )
        ),
        loads=3,
        keys={"items": ("id", "v")},
        ranked=HISTORY,
    ),
    Scenario(
        name="scd2_with_a_key",
        config=api({"name": "items", "write_disposition": SCD2, **KEYED}),
        serve=answers(items=(FLAT, [{"id": 1, "v": "A"}], [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}])),
        loads=3,
        keys={"items": ("id", "v")},
        ranked=HISTORY,
    ),
    Scenario(
        name="scd2_with_a_merge_key",
        config=api({"name": "items", "write_disposition": SCD2, "merge_key": "id"}),
        serve=answers(items=(FLAT, [{"id": 1, "v": "A"}], [{"id": 2, "v": "B"}])),
        loads=3,
        keys={"items": ("id", "v")},
        ranked=HISTORY,
    ),
    Scenario(
        name="scd2_with_lists",
        config=api({"name": "items", "write_disposition": SCD2}),
        serve=answers(
            items=(
                [{"id": 1, "l": [1, 2]}, {"id": 2, "l": [3]}],
                [{"id": 1, "l": [1]}, {"id": 2, "l": [3]}],
            )
        ),
        keys={"items": ("id", "valid_from")},
        ranked=HISTORY,
    ),
    Scenario(
        name="scd2_with_a_new_column",
        config=api({"name": "items", "write_disposition": SCD2}),
        serve=answers(items=(FLAT, [{"id": 1, "v": "a", "n": None}, {"id": 2, "v": "b", "n": 5}])),
        keys={"items": ("id", "valid_from")},
        ranked=HISTORY,
    ),
    # ---- evolution ---------------------------------------------------------------------------------------------------
    *(
        two_loads(f"type_changes_{name}", *changed(first, second))
        for name, (first, second) in {
            "integer_to_float": (1, 2.5),
            "integer_to_whole_float": (1, 2.0),
            "float_to_integer": (2.5, 1),
            "integer_to_text": (1, "x"),
            "integer_to_number_text": (1, "2"),
            "text_to_integer": ("x", 1),
            "text_to_float": ("x", 2.5),
            "text_to_bool": ("x", True),
            "bool_to_integer": (True, 7),
            "bool_to_text": (True, "x"),
            "time_to_text": ("2024-01-02T03:04:05Z", "soon"),
            "text_to_time": ("soon", "2024-01-02T03:04:05Z"),
            "scalar_to_object": (1, {"a": 1}),
            "object_to_scalar": ({"a": 1}, 1),
            "scalar_to_list": (1, [1]),
            "list_to_scalar": ([1], 1),
            "text_to_list_of_objects": ("x", [{"a": 1}]),
            "null_to_integer": (None, 1),
            "integer_to_null": (1, None),
        }.items()
    ),
    two_loads("column_disappears", FLAT, [{"id": 3}]),
    two_loads("list_gets_columns", [{"id": 1, "l": [{"a": 1}]}], [{"id": 2, "l": [{"a": 2, "b": "x"}]}]),
    two_loads("list_changes_type", [{"id": 1, "l": [1]}], [{"id": 2, "l": ["x", None]}]),
    # ---- contracts ---------------------------------------------------------------------------------------------------
    *(
        contract("columns", mode, [{"id": 3, "v": "c", "n": 1}, {"id": 4, "v": "d"}], **more)
        for mode, more in {"evolve": {}, "freeze": {"refused": (2,)}, "discard_row": {}, "discard_value": {}}.items()
    ),
    *(
        contract("data_type", mode, [{"id": 3, "v": "c"}, {"id": "x", "v": "d"}], **more)
        for mode, more in {"evolve": {}, "freeze": {"refused": (2,)}, "discard_row": {}, "discard_value": {}}.items()
    ),
    *(
        Scenario(
            name=f"contract_tables_{mode}",
            config=api("items"),
            later=api({"name": "items", "schema_contract": {"tables": mode}}),
            serve=answers(items=(FLAT, [{"id": 3, "v": "c", "l": [1]}, {"id": 4, "v": "d", "l": []}])),
            **more,
        )
        for mode, more in {"evolve": {}, "freeze": {"refused": (2,)}, "discard_row": {}, "discard_value": {}}.items()
    ),
    two_loads("contract_on_the_first_load", FLAT, FLAT, schema_contract={"tables": "discard_row"}),
    two_loads(
        "contract_of_a_list",
        [{"id": 1, "l": [{"a": 1}]}],
        [{"id": 2, "l": [{"a": 2, "b": 3}, {"a": 4}]}],
        schema_contract={"columns": "discard_row"},
    ),
)
