"""How records become tables: nesting, lists, names, types, hints."""

from __future__ import annotations

from typing import Any

from differential.scenario import Scenario, answers, api

DEEP = {
    "id": 1,
    "user": {"login": "a", "place": {"city": "X", "point": {"lat": 1.5, "lon": 2.5}}},
    "tags": ["a", "b"],
    "matrix": [[1, 2], [3]],
    "lines": [{"sku": "s", "parts": [{"n": 1, "notes": ["x", "y"]}, {"n": 2}]}, {"sku": "t", "parts": []}],
}
LONG = "a_name_of_two_hundred_letters_" * 7


def rows(*values: Any, key: str = "v") -> list[dict[str, Any]]:
    """Records that have one field each beside their id."""
    return [{"id": number, key: value} for number, value in enumerate(values, 1)]


def nested_to(levels: int) -> Scenario:
    return Scenario(
        name=f"max_table_nesting_{levels}",
        config=api("items", max_table_nesting=levels),
        serve=answers(items=([DEEP], [{**DEEP, "id": 2}])),
    )


def hinted(name: str, hint: dict[str, Any], *values: Any, **more: Any) -> Scenario:
    return Scenario(
        name=f"hint_{name}",
        config=api("items", columns={"v": hint}),
        serve=answers(items=(rows(*values),)),
        loads=1,
        **more,
    )


SCENARIOS = (
    Scenario(
        name="nested_lists",
        config=api("items"),
        serve=answers(items=([DEEP], [{**DEEP, "id": 2}, {"id": 3, "user": {"login": "z"}}])),
    ),
    Scenario(
        name="lists_of_lists_of_lists",
        config=api("items"),
        serve=answers(items=([{"id": 1, "cube": [[[1], [2, 3]], [[4]]], "mixed": [[1], []]}],)),
    ),
    Scenario(
        name="lists_with_nulls",
        config=api("items"),
        serve=answers(items=([{"id": 1, "tags": ["a", None, "b"], "objects": [{"x": 1}, None], "nulls": [None]}],)),
        loads=1,
    ),
    Scenario(
        name="lists_of_mixed_scalars",
        config=api("items"),
        serve=answers(items=([{"id": 1, "v": [1, 2]}, {"id": 2, "v": [3, "x", 4.5, True]}],)),
        loads=1,
    ),
    Scenario(
        name="lists_of_objects_and_scalars",
        config=api("items"),
        serve=answers(items=([{"id": 1, "v": [{"a": 1}, "x"]}, {"id": 2, "v": [[1], {"a": 2}]}],)),
        loads=1,
    ),
    Scenario(
        name="empty_objects_and_lists",
        config=api("items"),
        serve=answers(
            items=(
                [{"id": 1, "o": {}, "l": [], "n": {"o": {}, "l": []}}],
                [{"id": 2, "o": {"a": 1}, "l": [1], "n": {"o": {"b": 1}, "l": [{"c": 1}]}}],
            )
        ),
    ),
    Scenario(
        name="null_only",
        config=api("items"),
        serve=answers(
            items=(
                [{"id": 1, "number": None, "object": None, "list": None, "inner": {"x": None}, "never": None}],
                [{"id": 2, "number": 5, "object": {"a": 1}, "list": ["a"], "inner": {"x": True}, "never": None}],
            )
        ),
    ),
    Scenario(
        name="null_in_every_list_item",
        config=api("items"),
        serve=answers(items=([{"id": 1, "l": [{"a": None}, {"a": None, "b": 1}]}],)),
        loads=1,
    ),
    Scenario(
        name="records_that_are_scalars",
        config=api("items"),
        serve=answers(items=(["a", "b"],)),
        loads=1,
        keys={"items": ("value",)},
    ),
    Scenario(
        name="names_of_lists",
        config=api("items"),
        serve=answers(items=([{"id": 1, "a__b": [1], "__c": [{"d__e": [2]}], "f": {"g__h": [3]}, "List-Of": [4]}],)),
        loads=1,
    ),
    *(nested_to(levels) for levels in (0, 1, 2, 3)),
    Scenario(
        name="nullable_objects",
        config=api("items"),
        serve=answers(
            items=(
                [{"id": 1, "who": {"name": "a"}, "tags": ["x"]}, {"id": 2, "who": None, "tags": None}],
                [{"id": 3, "who": None, "tags": None}],
            )
        ),
    ),
    # ---- names -------------------------------------------------------------------------------------------------------
    Scenario(
        name="names_in_every_style",
        config=api("items"),
        serve=answers(
            items=(
                [
                    {
                        "id": 1,
                        "camelCase": 1,
                        "PascalCase": 2,
                        "HTTPServer": 3,
                        "userID": 4,
                        "1st": 5,
                        "two words": 6,
                        "kebab-case": 7,
                        "@type": "a",
                        "$ref": "b",
                        "dotted.name": 8,
                        "trailing_": 9,
                        "trailing__": 10,
                        "_leading": 11,
                        "__dunder__": 12,
                        "a__b": 13,
                        "100%": 14,
                        "a+b": 15,
                        "a*b": 16,
                        "a|b": 17,
                        "a/b": 18,
                        "SCREAMING_CASE": 19,
                        "x2y": 20,
                        "v1Beta": 21,
                        " padded ": 22,
                    }
                ],
            )
        ),
        loads=1,
    ),
    Scenario(
        name="names_that_are_sql",
        config=api("items"),
        serve=answers(
            items=(
                [
                    {
                        "id": 1,
                        "select": 1,
                        "from": 2,
                        "order": 3,
                        "group": 4,
                        "table": 5,
                        "rowid": 6,
                        "null": 7,
                        'a"b': 8,
                    }
                ],
            )
        ),
        loads=1,
    ),
    Scenario(
        name="names_beyond_ascii",
        config=api("items"),
        serve=answers(items=([{"id": 1, "straße": 1, "größe": 2, "🚀": 3, "ключ": 4, "é": 5}],)),
        loads=1,
    ),
    Scenario(
        name="names_of_200_letters",
        config=api("items"),
        serve=answers(items=([{"id": 1, LONG: 1, "list": [{LONG: 2, LONG + "x": [1]}]}],)),
        loads=1,
    ),
    Scenario(
        name="names_that_are_empty",
        config=api("items"),
        serve=answers(items=([{"id": 1, "": 5}],)),
        loads=1,
    ),
    Scenario(
        name="names_that_meet",
        config=api("items"),
        serve=answers(items=([{"id": 1, "userId": 1, "user_id": 2}, {"id": 2, "user_id": 3}],)),
        loads=1,
    ),
    Scenario(
        name="names_that_meet_across_levels",
        config=api("items"),
        serve=answers(items=([{"id": 1, "a": {"b": 1}}, {"id": 2, "a__b": 2}],)),
        loads=1,
    ),
    Scenario(
        name="names_of_tables",
        config=api(
            {"name": "My-Resource", "endpoint": "items"},
            {"name": "orderLines", "endpoint": "items"},
            {"name": "2nd", "endpoint": "items"},
            {"name": "given", "endpoint": "items", "table_name": "Other Name"},
        ),
        serve=answers(items=([{"id": 1, "subItems": [1], "Big-List": [{"x": 1}]}],)),
        loads=1,
    ),
    # ---- types -------------------------------------------------------------------------------------------------------
    Scenario(
        name="types_of_scalars",
        config=api("items"),
        serve=answers(
            items=(
                [
                    {
                        "id": 1,
                        "integer": 7,
                        "negative": -(2**63),
                        "largest": 2**63 - 1,
                        "float": 1.5,
                        "whole_float": 2.0,
                        "tiny": 1e-300,
                        "bool": True,
                        "text": "x",
                        "empty": "",
                        "lines": "a\nb\tc\u0000d",
                        "emoji": "🚀 ß",
                        "number_text": "12",
                        "zeros": "007",
                        "bool_text": "true",
                        "uuid": "0190A3B4-0000-7000-8000-0000000000AB",
                        "json_text": '{"a": 1}',
                        "url": "https://example.com/?a=b",
                    }
                ],
            )
        ),
        loads=1,
    ),
    Scenario(
        name="types_of_times",
        config=api("items"),
        serve=answers(
            items=(
                [
                    {
                        "id": 1,
                        "utc": "2024-01-02T03:04:05Z",
                        "offset": "2024-01-02T03:04:05+05:30",
                        "naive": "2024-01-02T03:04:05",
                        "milli": "2024-01-02T03:04:05.123Z",
                        "micro": "2024-01-02T03:04:05.123456Z",
                        "nano": "2024-01-02T03:04:05.123456789Z",
                        "minutes": "2024-01-02T03:04Z",
                        "short_offset": "2024-01-02T03:04:05+05",
                        "space": "2024-01-02 03:04:05",
                        "date": "2024-01-02",
                        "time": "03:04:05",
                        "basic": "20240102T030405Z",
                        "week": "2024-W01-2",
                        "year": "2024",
                        "month": "2024-01",
                        "duration": "P3D",
                        "epoch": 1704164645,
                        "rfc": "Tue, 02 Jan 2024 03:04:05 GMT",
                        "no_such_day": "2024-02-30T00:00:00Z",
                        "leap_second": "2016-12-31T23:59:60Z",
                        "year_one": "0001-01-01T00:00:00Z",
                        "year_9999": "9999-12-31T23:59:59Z",
                    }
                ],
            )
        ),
        loads=1,
    ),
    Scenario(
        name="integers_beyond_64_bits",
        config=api("items"),
        serve=answers(items=(rows(2**63, 2**64, None),)),
        loads=1,
    ),
    Scenario(
        name="integers_beyond_a_double",
        config=api("items"),
        serve=answers(items=(rows(2**53 + 1, None, -(2**53) - 1),)),
        loads=1,
    ),
    *(
        Scenario(
            name=f"mixed_{name}",
            config=api("items"),
            serve=answers(items=(rows(*values),)),
            loads=1,
        )
        for name, values in {
            "integer_float": (1, 2.5, 3.0),
            "float_integer": (2.5, 1, 3),
            "integer_text": (1, "x", "2"),
            "text_integer": ("x", 1, 2.5),
            "integer_bool": (1, True, False),
            "bool_integer": (True, 1, 0),
            "bool_text": (True, "x", "true"),
            "text_bool": ("x", True),
            "time_text": ("2024-01-02T03:04:05Z", "soon"),
            "text_time": ("soon", "2024-01-02T03:04:05Z"),
            "time_integer": ("2024-01-02T03:04:05Z", 5),
            "integer_time": (5, "2024-01-02T03:04:05Z"),
            "scalar_object": (1, {"a": 1}),
            "object_scalar": ({"a": 1}, 1),
            "scalar_list": (1, [1, 2]),
            "list_scalar": ([1, 2], 1),
            "object_list": ({"a": 1}, [{"a": 2}]),
            "list_object": ([{"a": 2}], {"a": 1}),
        }.items()
    ),
    # ---- hints -------------------------------------------------------------------------------------------------------
    hinted("text_of_numbers", {"data_type": "text"}, 1, 2.5, True, None),
    hinted("decimal", {"data_type": "decimal"}, 0.1, "12.345", 7),
    hinted("decimal_precise", {"data_type": "decimal", "precision": 10, "scale": 2}, 0.1, "12.34", 7),
    hinted("double", {"data_type": "double"}, 1, "2.5", 3),
    hinted("bigint_of_text", {"data_type": "bigint"}, "1", 2, "-3"),
    hinted("bigint_small", {"data_type": "bigint", "precision": 16}, 1, 2),
    hinted("bool", {"data_type": "bool"}, True, "true", "no", 0),
    hinted("timestamp_of_seconds", {"data_type": "timestamp"}, 1704164645, "2024-01-02T03:04:05Z", 1704164645.5),
    hinted("timestamp_with_a_space", {"data_type": "timestamp"}, "2024-01-02 03:04:05", "2024-01-02 03:04:05+02"),
    hinted("timestamp_of_nanoseconds", {"data_type": "timestamp"}, "2024-01-02T03:04:05.123456789Z"),
    hinted("timestamp_without_signs", {"data_type": "timestamp"}, "20240102T030405Z"),
    hinted("timestamp_of_date", {"data_type": "timestamp"}, "2024-01-02"),
    hinted("timestamp_without_zone", {"data_type": "timestamp", "timezone": False}, "2024-01-02T03:04:05+02:00"),
    hinted("timestamp_of_seconds_only", {"data_type": "timestamp", "precision": 0}, "2024-01-02T03:04:05Z"),
    hinted("date", {"data_type": "date"}, "2024-01-02", None),
    hinted("time", {"data_type": "time"}, "03:04:05", "03:04:05.123"),
    hinted("binary", {"data_type": "binary"}, "aGVsbG8="),
    hinted("json", {"data_type": "json"}, {"a": [1, 2]}, [1, {"b": 2}], None),
    hinted("complex", {"data_type": "complex"}, {"a": [1, 2]}, [1, {"b": 2}]),
    hinted("wei", {"data_type": "wei"}, 10**20, 1),
    hinted("not_null", {"data_type": "bigint", "nullable": False}, 1, 2),
    hinted("not_null_but_null", {"data_type": "bigint", "nullable": False}, 1, None, refused=(1,)),
    Scenario(
        name="hint_of_a_column_that_never_comes",
        config=api("items", columns={"later": {"data_type": "timestamp"}}),
        serve=answers(items=(rows(1),)),
        loads=1,
    ),
    Scenario(
        name="hint_of_a_flattened_column",
        config=api("items", columns={"user__age": {"data_type": "text"}}),
        serve=answers(items=([{"id": 1, "user": {"age": 5}}],)),
        loads=1,
    ),
)
