"""The same records in any order and any split into loads end in the same tables, after one canonical rendering."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_restapi.model import TablePlan
from dagster_restapi.tables.target import Target

EXAMPLES = int(os.environ.get("RESTAPI_EXAMPLES", "4"))
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 2**70, 2**127, -(2**63)]),
    st.sampled_from([0.0, 1.0, 1.5, -2.25, 1e17, 1e-7, 1e300, 9007199254740992.0]),
    st.sampled_from(["", "x", "1", "1.50", "true", "2024-01-01", "n/a", "🙂", "007", "[1", "null"]),
    st.sampled_from(["2024-01-01T10:00:00Z", "2024-01-01T10:00:00.25+02:00", "2024-01-01T10:00", "2024-06-01T10:00Z"]),
)
_keys = st.sampled_from(["a", "b", "aB", "value"])
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_keys, inner, max_size=3)),
    max_leaves=6,
)
_records = st.lists(st.dictionaries(_keys, _values, max_size=4), min_size=1, max_size=7)


@pytest.mark.parametrize("mode", [{"nested": "tables"}, {"nested": "json"}, {"nested": "native"}, {"max_nesting": 1}])
def test_any_order_and_any_split_give_equal_tables(mode: dict[str, Any], make_loader: Any) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(records=_records, data=st.data())
    def check(records: list[dict[str, Any]], data: st.DataObject) -> None:
        numbered = [{**record, "number": number} for number, record in enumerate(records)]
        shuffled = data.draw(st.permutations(numbered))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=3)))
        with tempfile.TemporaryDirectory() as folder:
            loads = make_loader(Path(folder), Target(f"{folder}/t.duckdb"))
            once = TablePlan(resource="t", table="once", disposition="merge", primary_key=("number",), **mode)
            parts = TablePlan(resource="t", table="parts", disposition="merge", primary_key=("number",), **mode)
            loads(once, numbered, asset="once")
            for start, end in zip([0, *cuts], [*cuts, len(shuffled)], strict=True):
                loads(parts, shuffled[start:end], asset="parts")
            assert loads.canonical("once") == loads.canonical("parts")

    check()
