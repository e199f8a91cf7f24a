"""Bodies: exact numbers, JSON's neighbours, and one clear error for everything else."""

from __future__ import annotations

import json
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_restapi.errors import ResponseError
from dagster_restapi.http.decode import decode, exact_float


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, 2**70, -(2**63), -(2**127), 10**4000])
def test_integers_of_any_size_are_exact(number: int) -> None:
    assert decode(json.dumps({"n": number, "null": None}).encode()) == {"n": number, "null": None}


def test_an_integer_beyond_what_python_reads_stays_text() -> None:
    digits = "7" * 5000
    assert decode(f"[{digits}]".encode()) == [digits]


@pytest.mark.parametrize(
    "text", ["1e400", "-1e400", "0.1234567890123456789", "12345678901234567890.5", "1e-400", "1e-99999999999999999999"]
)
def test_numbers_that_a_double_cannot_hold_stay_text(text: str) -> None:
    assert decode(f"[{text}, 0.5]".encode()) == [text, 0.5]


@pytest.mark.parametrize("text", ["0.1", "0.10000000000000001", "1e308", "-0.0", "1.5e300", "0.0", "0e5", "5e-324"])
def test_numbers_that_a_double_holds_are_doubles(text: str) -> None:
    value = decode(f"[{text}]".encode())[0]
    assert isinstance(value, float)
    assert value == float(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_programs_print_for_a_double_is_that_double(number: float) -> None:
    assert exact_float(repr(number)) == number
    assert exact_float(f"{number:.17g}") == number


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**30), max_value=10**30))
def test_no_digit_is_ever_lost(number: Decimal) -> None:
    value = exact_float(f"{number:f}")
    assert Decimal(value) == number if isinstance(value, str) else Decimal(repr(value)) == number


def test_decimals_are_kept_where_they_are_asked_for() -> None:
    assert decode(b'{"price": 0.10}', exact_decimals=True) == {"price": Decimal("0.10")}
    assert str(decode(b"[0.10]", exact_decimals=True)[0]) == "0.10"


def test_nan_and_infinity_become_texts() -> None:
    assert decode(b"[NaN, Infinity, -Infinity, 1.5]") == ["NaN", "Infinity", "-Infinity", 1.5]


def test_of_duplicate_keys_the_last_one_counts() -> None:
    assert decode(b'{"a": 1, "a": 2}') == {"a": 2}


@pytest.mark.parametrize("body", [b"", b"  \n", b"\xef\xbb\xbf"])
def test_an_empty_body_is_nothing(body: bytes) -> None:
    assert decode(body) is None


def test_a_byte_order_mark_is_dropped() -> None:
    assert decode(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_other_unicode_encodings_are_read(encoding: str) -> None:
    assert decode('{"a": "é"}'.encode(encoding)) == {"a": "é"}


def test_the_content_type_may_name_another_encoding() -> None:
    assert decode('{"a": "é"}'.encode("latin-1"), content_type="application/json; charset=ISO-8859-1") == {"a": "é"}


def test_newline_delimited_json_becomes_a_list() -> None:
    assert decode(b'{"a": 1}\n{"a": 2.5}\n', content_type="application/x-ndjson") == [{"a": 1}, {"a": 2.5}]
    assert decode(b'{"a": 1}\n', content_type="application/x-ndjson") == [{"a": 1}]
    assert decode(b'{"a": 1}\r\n\r\n{"a": 2}', content_type="text/plain") == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/json"])
def test_line_separators_within_a_text_end_no_line(content_type: str) -> None:
    body = '{"a": "one\u2028line\x85"}\r\n{"a": "another\u2029"}\n'.encode()
    assert decode(body, content_type=content_type) == [{"a": "one\u2028line\x85"}, {"a": "another\u2029"}]


def test_newline_delimited_json_that_is_cut_off_is_an_error() -> None:
    with pytest.raises(ResponseError, match="no JSON"):
        decode(b'{"a": 1}\n{"a": ', content_type="application/x-ndjson")


def test_a_lone_surrogate_is_kept() -> None:
    assert decode(b'{"a": "\\ud800", "b": 18446744073709551616}') == {"a": "\ud800", "b": 2**64}


def test_a_wrong_content_type_does_no_harm() -> None:
    assert decode(b"[1]", content_type="text/html") == [1]


def test_invalid_utf8_is_one_clear_error() -> None:
    with pytest.raises(ResponseError, match=r"no valid UTF-8 \(byte 7 of 10\)"):
        decode(b'{"a": "\xff"}')


def test_deep_nesting_is_one_clear_error() -> None:
    with pytest.raises(ResponseError, match="nested too deeply"):
        decode(b"[" * 100_000 + b"]" * 100_000)


def test_a_cut_body_is_one_clear_error() -> None:
    with pytest.raises(ResponseError, match=r"no JSON: .* at character 12 of 12; it begins: “\[\{"):
        decode(b'[{"a": 1}, {')


def test_html_is_called_html_and_shows_its_first_words() -> None:
    page = b"<!DOCTYPE html><html><head><style>x{}</style><title>Log in</title></head><body>to go on</body></html>"
    with pytest.raises(ResponseError, match="an HTML page came instead of JSON: “Log in to go on”"):
        decode(page, content_type="text/html", where="resource x")


def test_xml_is_called_markup() -> None:
    with pytest.raises(ResponseError, match="XML or other markup"):
        decode(b"<?xml version='1.0'?><items/>")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_our_error(body: bytes) -> None:
    try:
        value = decode(body)
    except ResponseError:
        return
    assert value is None or isinstance(value, (dict, list, str, int, float, bool))
    assert not (isinstance(value, float) and math.isinf(value))
