"""The recorded schema is the same whether a batch was walked in Python or recognised as known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dagster_restapi import schema
from dagster_restapi.schema import Kind, Known, Node, Recorder, is_instant

Record = dict[str, Any]

numbers = st.sampled_from(
    [0, -1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**63, 2**64, 2**127, -(2**127) - 1, 2**200]
)
fractions = st.sampled_from([0.5, 1.0, -0.0, 2.0**53, 1e300])
texts = st.sampled_from(
    [
        "",
        "text",
        "\ud800",
        "2024-01-01",
        "2024-01-01T00:00:00Z",
        "2024-02-29T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-01-31T12:30+02:00",
        "2024-04-31T12:30+02:00",
        "2024-01-01T00:00:00.123456",
        "2024-01-01T00:00:00.1234567Z",
        "2024-01-01 00:00:00Z",
        "2024-01-01T00:00:00Z\n",
        "٢٠٢٤-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999-23:59",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:00:00+24:00",
    ]
)
scalars = st.none() | st.booleans() | numbers | fractions | texts
keys = st.sampled_from(["a", "b", "A", "", "+1", "an odd key", "ü"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
batches = st.lists(st.lists(st.dictionaries(keys, values, max_size=4), max_size=3), max_size=4)


def walked(records: list[Record]) -> Node:
    """The schema as the loop in Python finds it."""
    recorder = Recorder()
    for record in records:
        recorder._object(recorder.root, record)
    return recorder.root


def comparable(node: Node) -> object:
    """Narrower kinds beside those that hold them are not always recorded."""
    mask = node.mask
    for wide, narrow in (
        (Kind.TEXT, Kind.INSTANT),
        (Kind.VAST, Kind.INT | Kind.LONG | Kind.HUGE),
        (Kind.HUGE, Kind.INT | Kind.LONG),
        (Kind.LONG, Kind.INT),
        (Kind.FLOAT, Kind.INT),
    ):
        if mask & wide:
            mask &= ~narrow
    return mask, {key: comparable(child) for key, child in node.fields.items()}, node.items and comparable(node.items)


INSTANTS = Known.of(walked([{"at": "2024-01-01T00:00:00Z"}]))
assert INSTANTS


@given(batches=batches)
@example(batches=[[{"a": 1}], [{"a": 2}], [{"a": 1.0}], [{"a": 2}]])
def test_known_batches_change_nothing(batches: list[list[Record]]) -> None:
    recorder = Recorder()
    for batch in batches:
        for _ in range(3):  # the second time it is known, the third time it is recognised
            recorder.observe(batch)
    assert comparable(recorder.root) == comparable(walked([record for batch in batches for record in batch]))


@given(known=batches, new=st.lists(st.dictionaries(keys, values, max_size=4), min_size=1, max_size=3))
def test_what_fits_brings_nothing_new(known: list[list[Record]], new: list[Record]) -> None:
    before = [record for batch in known for record in batch]
    form = Known.of(walked(before))
    if form and form.fits(new):
        assert comparable(walked(before + new)) == comparable(walked(before))


@given(text=texts | st.datetimes(timezones=st.timezones() | st.none()).map(lambda moment: moment.isoformat()))
def test_a_recognised_instant_is_one(text: str) -> None:
    if INSTANTS.fits([{"at": text}]):
        assert is_instant(text)


@pytest.mark.parametrize(
    "text",
    ["2024-12-31T23:59:59Z", "2024-02-29T00:00:00", "2024-06-30T12:00:00.5+0200", "2024-02-28T12:00:00.123456-01:00"],
)
def test_common_spellings_of_instants_are_recognised(text: str) -> None:
    assert INSTANTS.fits([{"at": text}])


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """The records that were walked in Python."""
    seen: list[Record] = []
    original = schema.Recorder._object

    def watched(self: Recorder, node: Node, record: Record) -> None:
        seen.append(record)
        original(self, node, record)

    monkeypatch.setattr(schema.Recorder, "_object", watched)
    return seen


def test_records_of_a_known_schema_are_not_walked(looked_at: list[Record]) -> None:
    recorder = Recorder()
    rows = [{"id": number, "name": f"n{number}", "tags": ["x"]} for number in range(100)]
    for _ in range(50):
        recorder.observe(rows)
    assert len(looked_at) == 200  # the first batch is new, the second shows that nothing else comes


def test_keys_that_are_data_make_no_type(looked_at: list[Record]) -> None:
    recorder = Recorder()
    wide = {f"key {number}": number for number in range(schema._MOST_PATHS)}
    for _ in range(3):
        recorder.observe([wide])
    assert recorder._known[1] is None
    assert len(recorder.root.fields) == schema._MOST_PATHS


@pytest.mark.parametrize("key", ['a "quoted" key', "back\\slash", "a\ttab", "a\x00zero", "a\nline"])
def test_a_key_that_a_struct_cannot_have_is_recorded_all_the_same(key: str) -> None:
    recorder = Recorder()
    for value in (1, 2, "text"):  # the second time the schema is known, the third time it is not
        recorder.observe([{key: value, "nested": {key: [value]}}])
    assert recorder.root.fields[key].mask == Kind.INT | Kind.TEXT
    assert recorder.root.fields["nested"].fields[key].items is not None
