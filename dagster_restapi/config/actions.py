"""What an answer means beyond its status: dlt's `response_actions` and our `error_rules`, both made into one `Rule`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_serializer, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from dagster_restapi.config import jsonpath
from dagster_restapi.config.settings import Settings

Action = Literal["fail", "retry", "ignore", "refresh", "accept", "empty"]


@dataclass(frozen=True)
class Rule:
    """One condition on an answer and what follows from it. All parts that are given must hold.

    Attributes:
        statuses: Exact statuses, or hundreds as negative numbers (-4 is 4xx); empty: any.
        headers: Header name → text that must stand in its value (lower case both).
        path: JSONPath into the body; its first match is tested by `test`.
        test: Whether the first match (or MISSING) fulfils the condition.
        text: Text that must stand in the body.
        action: What to do; None where `calls` decide.
        calls: Functions that get the `requests.Response` and may give another one.
        message: JSONPath of the API's own message, for the error.
        origin: How the configuration calls it, for errors.
    """

    statuses: frozenset[int] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str | None = None
    test: Callable[[Any], bool] | None = None
    text: str | None = None
    action: Action | None = None
    calls: tuple[Callable[..., Any], ...] = ()
    message: str | None = None
    origin: str = "response_actions"


def _statuses(value: Any) -> frozenset[int]:
    found = set()
    for item in value if isinstance(value, (list, tuple, set, frozenset)) else [value]:
        if isinstance(item, int) and not isinstance(item, bool) and 100 <= item <= 599:
            found.add(item)
        elif isinstance(item, str) and len(item) == 3 and item[0] in "12345" and item[1:].lower() == "xx":
            found.add(-int(item[0]))
        else:
            raise ValueError('a status is a number from 100 to 599, without quotes, or a hundred such as "4xx"')
    return frozenset(found)


class ResponseAction(Settings):
    """dlt's `response_actions` entry: what to do with an answer of this status and content."""

    status_code: int | None = None
    """The HTTP status that it is for; any, where it is not given."""
    content: str | None = None
    """A text that stands in the body; together with `status_code`, both must hold."""
    action: Any = Field(
        default=None,
        json_schema_extra={"anyOf": [{"const": "ignore"}, {"type": "null"}], "type": None},
    )
    """`"ignore"` takes the answer for no rows. In Python also a function, or a list of them, that gets the
    `requests.Response` and may give another one."""

    @field_validator("status_code", mode="before")
    @classmethod
    def _status(cls, value: Any) -> Any:
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 100 <= value <= 599):
            raise ValueError("give a number from 100 to 599, without quotes")
        return value

    @field_validator("action")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if isinstance(value, str) and value != "ignore":
            raise ValueError('the only action with a name is "ignore"; see `error_rules` for fail, retry and refresh')
        calls = value if isinstance(value, list) else [value]
        if value is None or not (value == "ignore" or (calls and all(callable(call) for call in calls))):
            raise ValueError('give "ignore", a function, or a list of functions')
        return value

    @model_validator(mode="after")
    def _conditional(self) -> ResponseAction:
        if self.action is None:
            raise ValueError('`action` is missing: give "ignore", a function, or a list of functions')
        if self.action == "ignore" and self.status_code is None and not self.content:
            raise ValueError('"ignore" needs `status_code` or `content`: without them every answer would be ignored')
        return self

    @field_serializer("action")
    def _named(self, value: Any) -> Any:
        calls = value if isinstance(value, list) else [value]
        names = [
            call if isinstance(call, str) else getattr(call, "__qualname__", type(call).__name__) for call in calls
        ]
        return names if isinstance(value, list) else names[0]

    @cached_property
    def rule(self) -> Rule:
        """This entry as a rule."""
        calls = self.action if isinstance(self.action, list) else [self.action]
        return Rule(
            statuses=frozenset() if self.status_code is None else frozenset({self.status_code}),
            text=self.content or None,
            action="ignore" if self.action == "ignore" else None,
            calls=() if self.action == "ignore" else tuple(calls),
        )


def _action_from(value: Any) -> Any:
    return {"action": value} if callable(value) and not isinstance(value, type) else value


AnyAction = Annotated[ResponseAction, BeforeValidator(_action_from, json_schema_input_type=ResponseAction)]
"""An entry of `response_actions` in any spelling: a function alone is for every answer."""


class ErrorRule(Settings):
    """How the API tells of a fault in its own way, and what to do then. All conditions that are given must hold."""

    status: Annotated[int | str | list[int | str] | None, BeforeValidator(lambda value: value)] = None
    """A status, a list of them, or a hundred such as `"4xx"`."""
    header: dict[str, str] | None = None
    """Header name → a text that must stand in its value, without regard to case; `""`: the header must be there."""
    jsonpath: str | None = None
    """JSONPath into the body. Alone it holds where the first match is there and says something: not null, not false,
    not 0 and not empty."""
    equals: Any = None
    """The value (or a list of values) that the match of `jsonpath` must have; null counts when it is written."""
    not_equals: Any = None
    """The value (or a list of values) that the match of `jsonpath` must not have; it must be there."""
    text: str | None = None
    """A text that must stand in the body."""
    action: Action = "fail"
    """`fail`: an error at once. `retry`: try again with the retry settings. `refresh`: get a new token and send it once
    more. `ignore`: there is nothing to have here, and pages that may follow are given up (after the retries, where the
    status is one that is retried). `empty`: the answer is a page without rows, as behind the last one. `accept`: it is
    an answer like any other, whatever its status."""
    message: str | None = None
    """JSONPath of the API's own message, shown in the error."""

    @field_validator("status")
    @classmethod
    def _status(cls, value: Any) -> Any:
        if value is not None:
            _statuses(value)
        return value

    @field_validator("jsonpath", "message")
    @classmethod
    def _path(cls, value: str | None) -> str | None:
        return jsonpath.checked(value)

    @model_validator(mode="after")
    def _conditional(self) -> ErrorRule:
        if self.status is None and not self.header and self.jsonpath is None and not self.text:
            raise ValueError("a rule needs a condition: `status`, `header`, `jsonpath` or `text`")
        compared = self.model_fields_set & {"equals", "not_equals"}
        if self.jsonpath is None and compared:
            raise ValueError("`equals` and `not_equals` need a `jsonpath`")
        if len(compared) == 2:
            raise ValueError("`equals` and `not_equals` exclude each other")
        return self

    @cached_property
    def rule(self) -> Rule:
        """This entry as a rule."""
        return Rule(
            statuses=frozenset() if self.status is None else _statuses(self.status),
            headers={name.lower(): text.lower() for name, text in (self.header or {}).items()},
            path=self.jsonpath,
            test=self._test() if self.jsonpath is not None else None,
            text=self.text or None,
            action=self.action,
            message=self.message,
            origin="error_rules",
        )

    def _test(self) -> Callable[[Any], bool]:
        if "equals" in self.model_fields_set:
            return lambda found: found is not jsonpath.MISSING and _same(found, self.equals)
        if "not_equals" in self.model_fields_set:
            return lambda found: found is not jsonpath.MISSING and not _same(found, self.not_equals)
        return lambda found: found is not jsonpath.MISSING and bool(found)


def _same(found: Any, wanted: Any) -> bool:
    """JSON equality (true is not 1); one of a list, where a list is wanted and a scalar was found."""
    if isinstance(wanted, list) and not isinstance(found, list):
        return any(_same(found, item) for item in wanted)
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)


AnyRule = ResponseAction | ErrorRule | SkipJsonSchema[Rule]
