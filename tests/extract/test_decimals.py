"""Digits: columns with a `decimal` hint keep them all, and the hint changes nothing elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_restapi.config.plan import plan as make_plans
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.extract.decimals import Decimals
from dagster_restapi.http.decode import decode

EXACT = {"data_type": "decimal", "precision": 38, "scale": 20}
NUMBERS = st.one_of(
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,25})\.[0-9]{1,25}\Z"),
    st.from_regex(r"\A-?[1-9](\.[0-9]{1,20})?[eE][+-]?[0-9]{1,3}\Z"),
    st.integers().map(str),
)
DOCUMENTS = st.recursive(
    NUMBERS | st.sampled_from(["null", "true", '"1.50"']),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(
            lambda fields: "{" + ",".join(f'"{key}":{value}' for key, value in fields.items()) + "}"
        )
    ),
    max_leaves=8,
)


def decimals(columns: Mapping[str, Any] | None = None, **settings: Any) -> Decimals:
    resource = {"name": "t", "columns": columns or {}, **({"endpoint": "t"} | settings)}
    resource = {name: value for name, value in resource.items() if value is not None}
    config = {"client": {"base_url": "http://127.0.0.1"}, "resources": [resource]}
    return Decimals(make_plans(RestApiConfig.parse(config))["t"])


def by_value(value: Any) -> Any:
    """Every value with its type; texts of numbers as the number, since 1E400 may be spelled 1E+400."""
    if isinstance(value, dict):
        return {key: by_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [by_value(item) for item in value]
    return type(value), Decimal(value) if isinstance(value, str) else value


@given(document=DOCUMENTS, price=NUMBERS)
def test_what_has_no_hint_is_as_if_there_were_none_at_all(document: str, price: str) -> None:
    body = f'{{"x": {document}, "price": {price}}}'.encode()
    exact = decode(body, exact_decimals=True)
    [settled] = decimals({"price": EXACT}).settled([exact])
    assert by_value(settled["x"]) == by_value(decode(body)["x"])
    assert settled["price"] == exact["price"] == Decimal(price)


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("price", {"price": Decimal("0.10")}),
        ("o.price", {"o": {"price": Decimal("0.10")}}),
        ("$.o['unit price']", {"o": {"unit price": Decimal("0.10")}}),
        ("o__unit_price", {"o": {"unitPrice": Decimal("0.10")}}),
    ],
)
def test_a_hint_is_found_by_path_and_by_column(name: str, record: dict[str, Any]) -> None:
    assert decimals({name: EXACT}).settled([record]) == [record]
    assert decimals({"other": EXACT}).settled([record]) == json.loads(json.dumps([record], default=float))


@pytest.mark.parametrize("form", [{"nested": "json"}, {"nested": "native"}, {"max_table_nesting": 0}])
def test_a_hint_changes_nothing_inside_a_column(form: Mapping[str, Any]) -> None:
    hints = {"o__price": EXACT}  # may be a key at the top as well
    records = [{"o": {"price": Decimal("0.10")}, "o__price": Decimal("0.10")}]
    [settled] = decimals(hints, **form).settled(records)
    assert settled == {"o": {"price": 0.1}, "o__price": Decimal("0.10")}


def test_decimals_that_a_step_makes_are_numbers_and_the_record_itself_is_left_alone() -> None:
    steps = [{"map": lambda row: row}]
    record = {"a": [Decimal("1.5"), {"b": Decimal("NaN")}], "c": Decimal("12345678901234567890.5"), "d": Decimal(3)}
    [settled] = decimals(processing_steps=steps).settled([record])
    assert settled == {"a": [1.5, {"b": "NaN"}], "c": "12345678901234567890.5", "d": 3.0}
    assert isinstance(record["a"][0], Decimal)


def test_rows_of_pythons_own_values_come_as_an_answer_would_have_brought_them() -> None:
    record = {"a": float("nan"), "b": [float("inf"), -float("inf"), 1.5], "c": ("x", ("y", {"d": (1,)}))}
    [settled] = decimals(endpoint=None, rows=[{}]).settled([record])
    assert settled == {"a": "NaN", "b": ["Infinity", "-Infinity", 1.5], "c": ["x", ["y", {"d": [1]}]]}
