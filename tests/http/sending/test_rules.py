"""What an answer means beyond its status: response_actions and error_rules."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import requests
from dlt_lookalikes import IgnoreResponseException
from pydantic import ValidationError

from dagster_restapi.config.actions import ErrorRule, ResponseAction
from dagster_restapi.config.client import ClientConfig
from dagster_restapi.errors import IgnoreResponse, RequestError, ResponseError
from dagster_restapi.http.session import Answer, Call, Session

Connect = Callable[..., Session]


def send(session: Session, *rules: Any) -> Answer | None:
    return session.send(Call("GET", session.url("items")), rules=rules)


@pytest.mark.parametrize(
    ("action", "status", "body", "ignored"),
    [
        ({"status_code": 404}, 404, {}, True),
        ({"status_code": 404}, 200, {}, False),
        ({"content": "no rows"}, 200, "there are no rows here", True),
        ({"content": "é"}, 200, {"message": "é"}, True),
        ({"status_code": 404, "content": "no rows"}, 404, "no rows", True),
        ({"status_code": 404, "content": "no rows"}, 200, "no rows", False),
    ],
)
def test_ignore_drops_an_answer_where_both_hold(
    api: Any, connect: Connect, action: dict[str, Any], status: int, body: Any, ignored: bool
) -> None:
    api.route("/items", (status, body))
    answer = send(connect(), ResponseAction(action="ignore", **action))
    assert (answer is None) is ignored


def test_a_content_that_is_not_in_an_error_leaves_the_error(api: Any, connect: Connect) -> None:
    api.route("/items", (404, "gone"))
    with pytest.raises(RequestError, match="status 404"):
        send(connect(), ResponseAction(status_code=404, content="no rows", action="ignore"))


def test_functions_get_the_response_and_give_another_one(api: Any, connect: Connect) -> None:
    api.route("/items", {"rows": [1]})
    calls: list[str] = []

    def note(response: requests.Response) -> None:
        calls.append(f"{response.status_code} {response.json()}")

    def wrap(response: requests.Response, *args: Any, **kwargs: Any) -> requests.Response:
        response._content = b'{"rows": [2]}'
        return response

    answer = send(connect(), ResponseAction(action=[note, wrap]), ResponseAction(status_code=200, action=note))
    assert answer is not None
    assert answer.json() == {"rows": [2]}
    assert calls == ["200 {'rows': [1]}", "200 {'rows': [2]}"]


def test_an_error_status_is_raised_after_the_functions_unless_they_change_it(api: Any, connect: Connect) -> None:
    api.route("/items", (404, {"rows": []}))

    def accept(response: requests.Response) -> requests.Response:
        response.status_code = 200
        return response

    with pytest.raises(RequestError, match="status 404"):
        send(connect(), ResponseAction(action=lambda response: None))
    assert send(connect(), ResponseAction(action=accept)) is not None


class Unwelcome(IgnoreResponseException):
    """Of a class of one's own."""


@pytest.mark.parametrize("signal", [IgnoreResponse, IgnoreResponse("no rows"), IgnoreResponseException(), Unwelcome()])
@pytest.mark.parametrize("status", [200, 404])
def test_a_function_that_raises_ignore_has_the_answer_ignored(
    api: Any, connect: Connect, signal: Any, status: int
) -> None:
    api.route("/items", (status, {"rows": [1]}))
    after: list[Any] = []

    def ignore(response: requests.Response) -> None:
        raise signal

    session = connect()
    rules = [ResponseAction(action=[ignore, after.append]), ResponseAction(action=after.append)]
    assert send(session, *rules) is None
    assert (len(api.requests), after) == (1, [])
    with pytest.raises(RequestError, match="status 404") if status == 404 else nullcontext():
        send(session, ResponseAction(status_code=201, action=ignore))


def test_a_function_that_raises_ignore_is_asked_again_where_the_status_may_pass(api: Any, connect: Connect) -> None:
    def ignore(response: requests.Response) -> None:
        if response.status_code == 503:
            raise IgnoreResponse

    api.replies("/items", (503, {}), [1])
    answer = send(connect(), ResponseAction(action=ignore))
    assert answer is not None
    assert answer.json() == [1]


def test_whatever_else_a_function_raises_is_an_error(api: Any, connect: Connect) -> None:
    class IgnoreResponseException(Exception):
        """Of the same name, and not dlt's."""

    def fail(response: requests.Response) -> None:
        raise IgnoreResponseException

    api.route("/items", [1])
    with pytest.raises(IgnoreResponseException):
        send(connect(), ResponseAction(action=fail))


def test_the_first_rule_that_holds_decides(api: Any, connect: Connect) -> None:
    api.route("/items", (404, {"code": 7}))
    ignore = ResponseAction(status_code=404, action="ignore")
    fail = ErrorRule(jsonpath="code", equals=7, action="fail")
    assert send(connect(), ignore, fail) is None
    with pytest.raises(RequestError, match="matches a rule of error_rules"):
        send(connect(), fail, ignore)


ERRORS_WITH_200 = [
    ({"code": 300, "message": "Token expired"}, {"jsonpath": "code", "not_equals": 200, "message": "message"}),
    (
        {"success": False, "error": {"info": "Token expired"}},
        {"jsonpath": "success", "equals": False, "message": "error.info"},
    ),
    ({"errors": [{"m": "Token expired"}]}, {"jsonpath": "$.errors", "message": "errors[0].m"}),
    ({"a": [{"level": 3, "m": "Token expired"}]}, {"jsonpath": "$.a[?@.level > 2]", "message": "$.a[?@.level > 2].m"}),
    ("Token expired, sorry", {"text": "Token expired"}),
]


@pytest.mark.parametrize(("body", "rule"), ERRORS_WITH_200)
def test_an_error_that_comes_with_200_is_an_error(api: Any, connect: Connect, body: Any, rule: dict[str, Any]) -> None:
    api.route("/items", body)
    with pytest.raises(ResponseError, match="error_rules") as caught:
        send(connect(error_rules=[rule]))
    if "message" in rule:
        assert "Token expired" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({"errors": []}, {"jsonpath": "errors"}),
        ({"errors": None}, {"jsonpath": "errors"}),
        ({}, {"jsonpath": "errors"}),
        ({"ok": 1}, {"jsonpath": "ok", "equals": True}),
        ({}, {"jsonpath": "code", "not_equals": 200}),
        ([], {"jsonpath": "code"}),
        ("no JSON", {"jsonpath": "code"}),
    ],
)
def test_a_rule_that_does_not_hold_does_nothing(api: Any, connect: Connect, body: Any, rule: dict[str, Any]) -> None:
    api.route("/items", body)
    assert send(connect(error_rules=[rule])) is not None


def test_retry_by_rule(api: Any, connect: Connect) -> None:
    api.replies("/items", {"state": "busy"}, {"state": "busy"}, {"state": "done"})
    session = connect(error_rules=[{"jsonpath": "state", "equals": ["busy", "queued"], "action": "retry"}])
    answer = send(session)
    assert answer is not None
    assert answer.json() == {"state": "done"}
    assert session.meter.retries == 2


def test_retry_by_rule_ends_with_an_error(api: Any, connect: Connect) -> None:
    api.route("/items", {"state": "busy"})
    with pytest.raises(ResponseError, match="gave up after 5 tries"):
        send(connect(error_rules=[{"jsonpath": "state", "equals": "busy", "action": "retry"}]))


def test_rules_by_header_and_by_hundred(api: Any, connect: Connect) -> None:
    api.route("/items", (418, {}, {"X-Reason": "Maintenance window"}))
    assert send(connect(), ErrorRule(status="4xx", header={"x-reason": "maintenance"}, action="ignore")) is None
    assert send(connect(), ErrorRule(status=[403, "4xx"], action="ignore")) is None
    with pytest.raises(RequestError, match="418"):
        send(connect(), ErrorRule(status="5xx", action="ignore"))


def test_refresh_by_rule_renews_the_token_once(api: Any, connect: Connect) -> None:
    tokens = iter(["one", "two", "three"])
    api.route("/login", lambda request: {"token": next(tokens)})
    api.route("/items", lambda r: [1] if r.headers["authorization"] == "Bearer two" else {"code": 124})
    auth = {"type": "session_login", "url": "login", "token_path": "token"}
    session = connect(auth=auth, error_rules=[{"jsonpath": "code", "equals": 124, "action": "refresh"}])
    answer = send(session)
    assert answer is not None
    assert answer.json() == [1]
    api.route("/items", {"code": 124})
    with pytest.raises(ResponseError, match="auth session_login"):
        send(session)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"status_code": "404", "action": "ignore"}, "without quotes"),
        ({"status_code": 4040, "action": "ignore"}, "from 100 to 599"),
        ({"status_code": True, "action": "ignore"}, "without quotes"),
        ({"status_code": 404, "action": "ignroe"}, 'the only action with a name is "ignore"'),
        ({"status_code": 404, "action": "retry"}, "error_rules"),
        ({"status_code": 404}, "action"),
        ({"status_code": 404, "action": ["ignore"]}, "list of functions"),
        ({"action": "ignore"}, "every answer would be ignored"),
        ({"status": 404, "action": "ignore"}, "Extra inputs"),
    ],
)
def test_a_wrong_action_is_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ResponseAction.model_validate(entry)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"status": "404"}, "without quotes"),
        ({"status": [404, "9xx"]}, "without quotes"),
        ({"status": 404, "action": "skip"}, "'fail', 'retry', 'ignore' or 'refresh'"),
        ({"action": "fail"}, "needs a condition"),
        ({"equals": 1, "status": 200}, "need a `jsonpath`"),
        ({"jsonpath": "a", "equals": 1, "not_equals": 2}, "exclude each other"),
        ({"jsonpath": "a[?"}, "jsonpath"),
    ],
)
def test_a_wrong_rule_is_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ClientConfig.model_validate({"error_rules": [entry]})
