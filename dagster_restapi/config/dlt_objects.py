"""Objects of dlt's within a configuration, known by the names of their classes: dlt need not be there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dagster_restapi.errors import IgnoreResponse

_AUTH = "dlt.sources.helpers.rest_client.auth"
_NEEDED = {  # the class whose `__call__` is used: what it cannot do without
    "BearerTokenAuth": ("token",),
    "APIKeyAuth": ("api_key",),
    "HttpBasicAuth": ("username", "password"),
    "OAuth2AuthBase": ("access_token",),
    "OAuth2ClientCredentials": ("access_token_url", "client_id", "client_secret"),
    "OAuthJWTAuth": ("client_id", "private_key", "auth_endpoint"),
}
_SETTINGS = (
    "cursor_path",
    "initial_value",
    "end_value",
    "last_value_func",
    "primary_key",
    "row_order",
    "allow_external_schedulers",
    "on_cursor_value_missing",
    "lag",
    "range_start",
    "range_end",
)


def is_dlt(value: Any) -> bool:
    """Whether a value is an object of dlt's, or of a class that is derived from one of its own."""
    return any(True for _ in _classes(value))


def is_incremental(value: Any) -> bool:
    """Whether a value is a `dlt.sources.incremental(…)`. It is a mapping too, of some of its settings."""
    return "Incremental" in _classes(value)


def settings_of(incremental: Any) -> dict[str, Any]:
    """The arguments that a `dlt.sources.incremental(…)` was made with, without those that are None. Its state within
    dlt is not wanted."""
    found = {name: getattr(incremental, name, None) for name in _SETTINGS}
    return {name: value for name, value in found.items() if value is not None}


def means_ignore(error: BaseException) -> bool:
    """Whether a function of `response_actions` raised this to have the answer ignored: in dlt's word or our own."""
    return isinstance(error, IgnoreResponse) or "IgnoreResponseException" in _classes(error)


def what_auth_lacks(auth: Any) -> str | None:
    """Why an auth object of dlt's would send the word None for a credential, or None where it has all that it needs.

    dlt fills such an object from its own secrets; nobody does so here.
    """
    owner = next((kind for kind in type(auth).__mro__ if "__call__" in vars(kind)), object)
    needed = _NEEDED.get(owner.__name__, ()) if owner.__module__ == _AUTH else ()
    lacking = [name for name in needed if (value := getattr(auth, name, None)) is None or is_dlt(value)]
    if not lacking:
        return None
    return (
        f"dlt's {type(auth).__name__} has no {' and no '.join(lacking)}, and dlt's secrets are not looked up here: "
        f'write a mapping with `type`, and "{{env.NAME}}" for what is secret'
    )


def what_session_loses(session: Any) -> str | None:
    """Why a session of dlt's `Client` cannot be used without its own retries, or None where it can: a condition of the
    user's decides there what is no good answer, and taken away it would let such answers pass."""
    wrapped = (getattr(call, "retry", None) for call in (session.send, session.request))  # the latter in older versions
    conditions = [one for retrying in wrapped for one in getattr(getattr(retrying, "retry", None), "retries", ())]
    if all(type(condition).__name__ != "retry_if_predicate" for condition in conditions):
        return None
    return (
        "the session's own retries are not used here, and a `retry_condition` is one of them: "
        "write it as `error_rules` with `action: retry`"
    )


def _classes(value: Any) -> Iterator[str]:
    """The names of dlt's classes that a value is an instance of."""
    return (kind.__name__ for kind in type(value).__mro__ if str(kind.__module__).partition(".")[0] == "dlt")
