"""Types of columns: which one holds what was recorded, how two of them widen, and how a value gets from one to another.

A number in a text column is written in one way, whichever road it took there: integers by their digits, floats as
DuckDB writes them, without `.0` where they are whole and at most 2^53. Time stamps are written in UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import duckdb

from dagster_restapi.schema import Kind, Node
from dagster_restapi.tables.sql import literal, quote

if TYPE_CHECKING:
    from dagster_restapi.config.table import ColumnHint

INTEGERS = Kind.INT | Kind.LONG | Kind.HUGE | Kind.VAST
SCALARS = Kind.BOOL | INTEGERS | Kind.FLOAT | Kind.INSTANT | Kind.TEXT
_LARGEST_EXACT = 2**53  # beyond, a DOUBLE skips integers

_INTEGER_TYPES = (
    "TINYINT",
    "UTINYINT",
    "SMALLINT",
    "USMALLINT",
    "INTEGER",
    "UINTEGER",
    "BIGINT",
    "UBIGINT",
    "HUGEINT",
)
_FIRST_INSTANT, _LAST_INSTANT = "'0001-01-01 00:00:00+00'", "'9999-12-31 23:59:59.999999+00'"
_INSTANT_PATTERN = r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)?"


def scalar_type(mask: int) -> str | None:
    """The type for the scalars among these kinds; None where there are none."""
    kinds = mask & SCALARS
    if not kinds:
        return None
    if kinds == Kind.BOOL:
        return "BOOLEAN"
    if kinds == Kind.INSTANT:
        return "TIMESTAMPTZ"
    if not kinds & ~INTEGERS:
        return "VARCHAR" if kinds & Kind.VAST else "HUGEINT" if kinds & Kind.HUGE else "BIGINT"
    if not kinds & ~(Kind.INT | Kind.FLOAT):
        return "DOUBLE"
    return "VARCHAR"


def collides(node: Node) -> bool:
    """Whether DuckDB cannot tell this object's keys apart, or cannot name one of them."""
    return "" in node.fields or len({key.casefold() for key in node.fields}) < len(node.fields)


def native_type(node: Node, *, staged: bool = False) -> str:
    """The type that holds a value with all that is in it: STRUCT and LIST, or JSON where kinds mix.

    Fields that are only ever null are left out as long as there are others: what they become is seen later.

    Args:
        staged: As the value is read: a date-time is a text first.
    """
    kinds = node.mask & ~Kind.NULL
    if kinds == Kind.OBJECT and node.fields and not collides(node):
        known = {key: child for key, child in node.fields.items() if child.mask & ~Kind.NULL} or node.fields
        fields = (f"{quote(key)} {native_type(child, staged=staged)}" for key, child in known.items())
        return f"STRUCT({', '.join(fields)})"
    if kinds == Kind.LIST:
        return f"{native_type(node.items, staged=staged) if node.items else 'VARCHAR'}[]"
    if kinds & (Kind.OBJECT | Kind.LIST):
        return "JSON"
    kind = scalar_type(kinds) or "VARCHAR"
    return "VARCHAR" if staged and kind == "TIMESTAMPTZ" else kind


_BY_BITS = ((8, "TINYINT"), (16, "SMALLINT"), (32, "INTEGER"), (64, "BIGINT"), (128, "HUGEINT"))


def hinted_type(hint: ColumnHint | None) -> str | None:
    """The type that a hint asks for; None where it leaves the type open."""
    kind = hint.data_type if hint else None
    if hint is None or kind is None:
        return None
    if kind == "decimal":
        return f"DECIMAL({hint.precision or 38},{9 if hint.scale is None else hint.scale})"
    if kind == "wei":
        return f"DECIMAL({hint.precision or 38},{hint.scale or 0})"
    if kind == "timestamp":
        return "TIMESTAMP" if hint.timezone is False else "TIMESTAMPTZ"
    if kind == "bigint" and hint.precision:
        return next((name for bits, name in _BY_BITS if hint.precision <= bits), "HUGEINT")
    return {
        "text": "VARCHAR",
        "double": "DOUBLE",
        "bool": "BOOLEAN",
        "bigint": "BIGINT",
        "binary": "BLOB",
        "json": "JSON",
        "date": "DATE",
        "time": "TIME",
    }[kind]


def plain(kind: str) -> str:
    """A type as this room spells it, however DuckDB's catalog or we ourselves wrote it."""
    if nested(kind):
        kind = str(duckdb.sqltype(kind))
    return kind.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")


# ---- text ------------------------------------------------------------------------------------------------------------
def number_text(sql: str) -> str:
    """A DOUBLE as text. It tries, as DuckDB 1.5 casts the field of a STRUCT while it scans, before any condition."""
    whole = f"abs({sql}) <= {_LARGEST_EXACT} AND {sql} = trunc({sql})"
    return f"CASE WHEN {whole} THEN CAST(TRY_CAST({sql} AS BIGINT) AS VARCHAR) ELSE CAST({sql} AS VARCHAR) END"


def instant_text(sql: str) -> str:
    """A TIMESTAMPTZ as ISO 8601 text in UTC; the session's TimeZone is UTC."""
    return f"replace(strftime({sql}, '%Y-%m-%dT%H:%M:%S.%fZ'), '.000000Z', 'Z')"


def instant(sql: str, *, lenient: bool = False) -> str:
    """A TIMESTAMPTZ from ISO 8601 text. DuckDB 1.4 does not read minutes without seconds before a zone."""
    cast = "TRY_CAST" if lenient else "CAST"
    return f"COALESCE(TRY_CAST({sql} AS TIMESTAMPTZ), {cast}({sql}[1:16] || ':00' || {sql}[17:] AS TIMESTAMPTZ))"


def beyond_calendar(sql: str) -> str:
    """True for a TIMESTAMPTZ out of the years 1 to 9999, where few programs can read it."""
    return f"({sql}) NOT BETWEEN TIMESTAMPTZ {_FIRST_INSTANT} AND TIMESTAMPTZ {_LAST_INSTANT}"


def key_text(sql: str, kind: str) -> str:
    """A value as keys compare it: equal values give equal texts, whatever type their column has widened to."""
    if kind != "VARCHAR":
        return as_text(sql, kind)
    dated = f"length({sql}) >= 16 AND {sql}[11] = 'T' AND regexp_full_match({sql}, {literal(_INSTANT_PATTERN)})"
    return f"CASE WHEN {dated} THEN COALESCE({instant_text(instant(sql, lenient=True))}, {sql}) ELSE {sql} END"


def as_text(sql: str, kind: str) -> str:
    """A scalar of any type as text."""
    if kind == "VARCHAR":
        return sql
    if kind in ("DOUBLE", "FLOAT"):
        return number_text(sql)
    if kind == "TIMESTAMPTZ":
        return instant_text(sql)
    if kind == "BLOB":
        return f"to_base64({sql})"
    if nested(kind):
        return f"CAST({_json(sql, kind)} AS VARCHAR)"
    return f"CAST({sql} AS VARCHAR)"


def _json(sql: str, kind: str) -> str:
    """A value of any type as JSON; a time stamp is its ISO 8601 text, inside a STRUCT or LIST as well."""
    if kind == "TIMESTAMPTZ":
        return f"to_json({instant_text(sql)})"
    if nested(kind) and "TIMESTAMPTZ" in kind:
        texts = plain(kind.replace("TIMESTAMPTZ", "VARCHAR"))
        sql = _convert_nested(sql, duckdb.sqltype(kind), duckdb.sqltype(texts), depth=0)
    return f"to_json({sql})"


# ---- what a hint asks for --------------------------------------------------------------------------------------------
_MIDNIGHT = r"\s*\d{4}[-/]\d{1,2}[-/]\d{1,2}([T ][0:.]+ ?(Z|[+-]\d\d(:?\d\d)?)?)?\s*"
_TIME_OF_DAY = r"\s*\d{1,2}:\d\d(:\d\d(\.\d{1,6}0*)?)?(Z|[+-]00(:?00)?)?\s*"


def exact(text: str, wanted: str) -> str:
    """A text as the type that a hint asks for; NULL where something of it would be lost.

    DuckDB's casts make 2 of 1.5, and forget a date's time of day and a time's zone. A fraction becomes the nearest
    DOUBLE, and of a time stamp, what is behind its microseconds is cut.
    """
    if wanted in ("TIMESTAMPTZ", "TIMESTAMP"):
        return moment(instant(text, lenient=True), wanted)
    if wanted == "BLOB":
        return f"TRY(from_base64({text}))"
    cast = f"TRY_CAST({text} AS {wanted})"
    if wanted == "BOOLEAN":
        return cast
    if wanted == "DOUBLE":
        whole = f"TRY_CAST({cast} AS HUGEINT) = TRY_CAST({text} AS HUGEINT)"
        return (
            f"CASE WHEN regexp_full_match({text}, '\\s*[+-]?\\d{{16,}}\\s*') THEN CASE WHEN {whole} THEN {cast} END "
            f"WHEN isfinite({cast}) OR NOT regexp_matches({text}, '\\d') THEN {cast} END"
        )
    if wanted in ("DATE", "TIME"):
        fits = _MIDNIGHT if wanted == "DATE" else _TIME_OF_DAY
        return f"CASE WHEN regexp_full_match({text}, {literal(fits)}) THEN {cast} END"
    scale = int(wanted.partition(",")[2].removesuffix(")") or 0)
    short = f"regexp_full_match({text}, '-?\\d+(\\.\\d{{0,{scale}}})?')"  # told in a fifth of the time
    return f"CASE WHEN {short} THEN {cast} WHEN {same_digits(text, f'CAST({cast} AS VARCHAR)')} THEN {cast} END"


def moment(sql: str, wanted: str) -> str:
    """A TIMESTAMPTZ as the kind of time stamp that a hint asks for; NULL beyond the calendar."""
    zone = "" if wanted == "TIMESTAMPTZ" else " AT TIME ZONE 'UTC'"
    return f"CASE WHEN NOT ({beyond_calendar(sql)}) THEN ({sql}){zone} END"


def same_digits(text: str, other: str) -> str:
    """True for two texts of one number: what was rounded has other digits."""
    return f"({_digits(text)} = {_digits(other)})"


def _digits(text: str) -> str:
    """The digits of a number's text, without exponent and the zeros around them."""
    return f"trim(regexp_replace(split_part(lower({text}), 'e', 1), '\\D', '', 'g'), '0')"


# ---- from one type to another ----------------------------------------------------------------------------------------
def parts(kind: duckdb.sqltypes.DuckDBPyType) -> dict[str, duckdb.sqltypes.DuckDBPyType]:
    """The fields of a STRUCT, or the item of a LIST as `child`."""
    return {name: inner for name, inner in kind.children if isinstance(inner, duckdb.sqltypes.DuckDBPyType)}


def nested(kind: str) -> bool:
    """Whether a type is a STRUCT, a LIST or the like."""
    return kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION"))


def convert(sql: str, source: str, wanted: str, *, lenient: bool = False) -> str:
    """A value of one type as another one that can hold it.

    Args:
        lenient: NULL where the value does not fit, instead of an error.
    """
    if source == wanted:
        return sql
    if wanted == "JSON":
        return _json(sql, source)
    if wanted == "VARCHAR":
        return as_text(sql, source)
    if source == "JSON":
        sql, source = f"json_extract_string({sql}, '$')", "VARCHAR"
    if nested(wanted) and nested(source):
        return _convert_nested(sql, duckdb.sqltype(source), duckdb.sqltype(wanted), depth=0)
    if source == "VARCHAR" and wanted == "TIMESTAMPTZ":
        return instant(sql, lenient=lenient)
    return f"{'TRY_CAST' if lenient else 'CAST'}({sql} AS {wanted})"


def _convert_nested(
    sql: str, source: duckdb.sqltypes.DuckDBPyType, wanted: duckdb.sqltypes.DuckDBPyType, *, depth: int
) -> str:
    if source == wanted:
        return sql
    if source.id == wanted.id == "list":
        item = f"item{depth}"
        inner = _convert_nested(item, parts(source)["child"], parts(wanted)["child"], depth=depth + 1)
        return f"list_transform({sql}, lambda {item}: {inner})"
    if source.id == wanted.id == "struct":
        have = parts(source)
        fields = (
            f"{quote(key)} := "
            + (
                _convert_nested(f"struct_extract({sql}, {literal(key)})", have[key], kind, depth=depth)
                if key in have
                else f"CAST(NULL AS {kind})"
            )
            for key, kind in parts(wanted).items()
        )
        return f"CASE WHEN {sql} IS NOT NULL THEN struct_pack({', '.join(fields)}) END"
    return convert(sql, plain(str(source)), plain(str(wanted)))


Inner = tuple[str | None, ...]
"""A place inside a value: keys of STRUCTs, and None for the items of a LIST."""


def widen(stored: str, staged: str, decided: Mapping[Inner, str] | None = None) -> str:
    """The narrowest type that holds the values of both.

    Integers beside floats become DOUBLE here; whether all of them are exact in it, the caller knows.

    Args:
        decided: Types of places inside, where the values that are there say more than the two types.
    """
    decided = decided or {}
    if () in decided:
        return decided[()]
    if stored == staged:
        return stored
    if "JSON" in (stored, staged):
        return "JSON"
    if stored in _INTEGER_TYPES and staged in _INTEGER_TYPES:
        return _wider_integer(stored, staged)
    if _number(stored) and _number(staged):
        return "DOUBLE"
    if nested(stored) or nested(staged):
        return _widen_nested(stored, staged, decided)
    return "VARCHAR"


def _number(kind: str) -> bool:
    return kind in ("DOUBLE", "FLOAT") or kind in _INTEGER_TYPES


def _wider_integer(one: str, other: str) -> str:
    kind = max(one, other, key=_INTEGER_TYPES.index)
    return kind if "U" not in (one[0], other[0]) else "HUGEINT" if "UBIGINT" in (one, other) else "BIGINT"


def _widen_nested(stored: str, staged: str, decided: Mapping[Inner, str]) -> str:
    if not (nested(stored) and nested(staged)):
        return "JSON"

    def inner(step: str | None) -> dict[Inner, str]:
        return {place[1:]: kind for place, kind in decided.items() if place[0] == step}

    one, other = _parts_of(stored), _parts_of(staged)
    if one.keys() == other.keys() == {None}:
        return plain(f"{widen(one[None], other[None], inner(None))}[]")
    if None in (*one, *other):
        return "JSON"
    kinds = dict(one)
    spelled = {str(key).casefold(): key for key in kinds}
    for key, kind in other.items():
        if spelled.setdefault(str(key).casefold(), key) != key:
            return "JSON"
        kinds[key] = widen(kinds[key], kind, inner(key)) if key in kinds else kind
    return plain(f"STRUCT({', '.join(f'{quote(str(key))} {kind}' for key, kind in kinds.items())})")


def _parts_of(kind: str) -> dict[str | None, str]:
    """The types of a STRUCT's fields, or of a LIST's items under None."""
    found = duckdb.sqltype(kind)
    if found.id == "list":
        return {None: plain(str(parts(found)["child"]))}
    return {name: plain(str(part)) for name, part in parts(found).items()}


def differences(one: str, other: str) -> Iterator[tuple[Inner, str, str]]:
    """The places inside two nested types where they differ, with both types."""
    if one == other:
        return
    if nested(one) and nested(other):
        mine, theirs = _parts_of(one), _parts_of(other)
        if (None in mine) == (None in theirs):
            for key, kind in mine.items():
                for place, here, there in differences(kind, theirs.get(key, kind)):
                    yield (key, *place), here, there
            return
    yield (), one, other


def any_inside(sql: str, place: Inner, condition: Callable[[str], str], depth: int = 0) -> str:
    """True where a value meets a condition at a place inside it."""
    if not place:
        return condition(sql)
    key, *rest = place
    if key is not None:
        return any_inside(f"struct_extract({sql}, {literal(key)})", tuple(rest), condition, depth)
    item = f"item{depth}"
    inner = any_inside(item, tuple(rest), condition, depth + 1)
    return f"len(list_filter({sql}, lambda {item}: {inner})) > 0"


def loses_integers(stored: str, staged: str) -> bool:
    """Whether the two widen to DOUBLE from a type whose integers may not be exact in it."""
    return widen(stored, staged) == "DOUBLE" and bool({stored, staged} & {"BIGINT", "UBIGINT", "HUGEINT"})


def inexact(sql: str) -> str:
    """True for an integer that a DOUBLE cannot hold exactly."""
    return f"{sql} NOT BETWEEN -{_LARGEST_EXACT} AND {_LARGEST_EXACT}"
