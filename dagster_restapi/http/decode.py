"""From the bytes of a body to values: exact numbers, and one clear error for everything that is no JSON.

What the parser does with what JSON leaves open: of duplicate keys the last one counts; integers are exact at any size
(beyond 4,300 digits they stay text); a number with a fraction or an exponent that a double cannot hold (1e400, more
digits than it has) stays the text that it was; NaN and Infinity, which are no JSON but occur, become texts; a lone
surrogate is kept; a byte order mark is dropped; newline-delimited JSON becomes a list.
"""

from __future__ import annotations

import codecs
import html
import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from dagster_restapi.errors import ResponseError
from dagster_restapi.secrets import redact

_CHARSET = re.compile(r"charset\s*=\s*\"?([\w.:-]+)", re.IGNORECASE)
_LINES = re.compile(r"ndjson|jsonl|json-lines|jsonlines|json-seq|stream\+json", re.IGNORECASE)
_TAG = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_SURE_DIGITS = 15  # so many decimal digits always survive a double


def exact_float(text: str) -> float | str:
    """The double that a JSON number stands for, or the text itself where a double cannot hold it.

    It holds what Python prints for it; what other programs print for it with up to 17 digits (0.10000000000000001 for
    0.1); and its exact value.
    """
    value = float(text)
    if len(text) <= _SURE_DIGITS and "e" not in text and "E" not in text:
        return value
    if value in (float("inf"), float("-inf")):
        return text
    written = exact_decimal(text)
    if isinstance(written, str):
        return text
    if not written or Decimal(repr(value)) == written:
        return value
    digits = len(written.as_tuple().digits)
    if digits <= 17:
        return value if Decimal(f"{value:.{digits - 1}e}") == written else text
    return value if Decimal(value) == written else text


def exact_decimal(text: str) -> Decimal | str:
    """The number as a Decimal, or the text itself where its exponent is beyond reason."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


def _exact_int(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:  # more digits than Python turns into a number (sys.set_int_max_str_digits)
        return text


_decoder = msgspec.json.Decoder(float_hook=exact_float)
_decimal_decoder = msgspec.json.Decoder(float_hook=exact_decimal)


def decode(body: bytes, *, content_type: str = "", exact_decimals: bool = False, where: str | None = None) -> Any:
    """The value of a body; None for an empty one.

    Args:
        body: The bytes, already decompressed.
        content_type: The header of that name: it tells newline-delimited JSON and an encoding other than UTF-8.
            A wrong one (JSON sent as text/html) does no harm.
        exact_decimals: Numbers with a fraction become `decimal.Decimal`, not float.
        where: Resource and URL, for the error.

    Raises:
        ResponseError: The body is no JSON; the text says what it is instead.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body or body.isspace():
        return None
    decoder = _decimal_decoder if exact_decimals else _decoder
    if _LINES.search(content_type):
        lines = _attempt(decoder.decode_lines, body.replace(b"\x1e", b""))
        if lines is not _FAILED:
            return lines
    value = _attempt(decoder.decode, body)
    return _decode_slowly(body, content_type, exact_decimals, where) if value is _FAILED else value


_FAILED: Any = object()


def _attempt(parse: Callable[[bytes], Any], body: bytes) -> Any:
    try:
        return parse(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _FAILED


def _decode_slowly(body: bytes, content_type: str, exact_decimals: bool, where: str | None) -> Any:
    """With the standard library, which takes more than JSON; and if that fails too, the error that says why."""
    text = _text(body, content_type, where)
    try:
        return _tolerant(text, exact_decimals)
    except RecursionError:
        failure = "the JSON is nested too deeply"
    except json.JSONDecodeError as error:
        failure = f"the body is no JSON: {error.msg} at character {error.pos} of {len(text)}"
    lines = _lines(text, exact_decimals)
    if lines is not _FAILED:
        return lines
    raise _no_json(text, failure, where)


def _tolerant(text: str, exact_decimals: bool) -> Any:
    parse_float = exact_decimal if exact_decimals else exact_float
    return json.loads(text, parse_float=parse_float, parse_int=_exact_int, parse_constant=str)


def _lines(text: str, exact_decimals: bool) -> Any:
    """Newline-delimited JSON that was not announced: every line an object or a list, more than one of them."""
    lines = [line for line in text.split("\n") if line.strip()]  # other line ends may stand within texts
    if len(lines) < 2 or not all(line.lstrip()[0] in "{[" for line in lines):
        return _FAILED
    try:
        return [_tolerant(line, exact_decimals) for line in lines]
    except (json.JSONDecodeError, RecursionError):
        return _FAILED


def _text(body: bytes, content_type: str, where: str | None) -> str:
    named = _CHARSET.search(content_type)
    encoding: str = json.detect_encoding(body)
    if encoding == "utf-8" and named and named[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        encoding = named[1]
    place, cut = None, False
    try:
        return body.decode(encoding)
    except LookupError:
        failure = f"the body is said to be in the encoding {encoding}, which nobody knows"
    except UnicodeDecodeError as error:
        failure, place = f"the body is no valid {encoding.upper()}", error.start
        cut = error.end == len(body) and "end" in error.reason  # in the middle of a letter
    at = f" (byte {place} of {len(body)})" if place is not None else ""
    raise ResponseError(
        f"{failure}{at}",
        where=where,
        hint="The API must send UTF-8, or name the encoding in the Content-Type header.",
        transient=cut,
    )


def excerpt(text: str, length: int = 160) -> str:
    """The first words of a body, without markup, line breaks and secrets."""
    plain = html.unescape(_TAG.sub(" ", redact(text[:65_536])))
    masked = " ".join(redact(plain).split())  # before the cut: half a secret would not be recognised
    return masked if len(masked) <= length else f"{masked[:length]}…"


def _no_json(text: str, failure: str, where: str | None) -> ResponseError:
    start = text.lstrip()[:100].lower()
    if start.startswith(("<!doctype html", "<html", "<head", "<body")):
        return ResponseError(
            f"an HTML page came instead of JSON: “{excerpt(text)}”",
            where=where,
            hint="Check base_url and path; it may also be the page of a login, a proxy or a maintenance.",
            transient=False,
        )
    if start.startswith("<"):
        return ResponseError(
            f"XML or other markup came instead of JSON: “{excerpt(text)}”",
            where=where,
            hint='Ask the API for JSON, for example with the header Accept: "application/json" or a parameter.',
            transient=False,
        )
    return ResponseError(f"{failure}; it begins: “{excerpt(text)}”", where=where)
