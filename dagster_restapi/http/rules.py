"""Which rule holds for an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dagster_restapi.config.actions import ErrorRule, ResponseAction, Rule
from dagster_restapi.config.jsonpath import MISSING, first
from dagster_restapi.errors import ResponseError

if TYPE_CHECKING:
    from dagster_restapi.http.exchange import Answer

AnyRule = ResponseAction | ErrorRule | Rule


def as_rules(entries: Sequence[AnyRule]) -> tuple[Rule, ...]:
    """Configuration entries as rules, in order."""
    return tuple(entry if isinstance(entry, Rule) else entry.rule for entry in entries)


def holds(rule: Rule, answer: Answer) -> bool:
    """Whether every condition of a rule holds."""
    return (
        _status_holds(rule.statuses, answer.status)
        and (not rule.headers or _headers_hold(rule.headers, answer.headers))
        and (rule.text is None or _text_holds(rule.text, answer))
        and (rule.path is None or _path_holds(rule, answer))
    )


def _status_holds(statuses: frozenset[int], status: int) -> bool:
    return not statuses or status in statuses or -(status // 100) in statuses


def _headers_hold(wanted: Mapping[str, str], headers: Mapping[str, str]) -> bool:
    return all(name in headers and text in headers[name].lower() for name, text in wanted.items())


def _text_holds(text: str, answer: Answer) -> bool:
    """As it stands in the body, or as JSON escapes it (`\\u00e9` for é)."""
    return text.encode() in answer.body or (not text.isascii() and json.dumps(text)[1:-1].encode() in answer.body)


def _path_holds(rule: Rule, answer: Answer) -> bool:
    assert rule.path is not None
    assert rule.test is not None
    try:
        value = answer.json()
    except ResponseError:  # no JSON: no such path in it; whoever needs the JSON gets the error
        return False
    return rule.test(MISSING if value is None else first(rule.path)(value))


def message_of(rule: Rule, answer: Answer) -> str | None:
    """The API's own words, where the rule says where they are."""
    if rule.message is None:
        return None
    try:
        value = first(rule.message)(answer.json())
    except ResponseError:
        return None
    return None if value is MISSING or value is None else str(value)
