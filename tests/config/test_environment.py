"""The environment variables of a configuration are found wherever a configuration may name them."""

from __future__ import annotations

from functools import partial
from typing import Any

import dagster as dg
import pytest
from canary import places

from dagster_restapi.config.environment import environment_of
from dagster_restapi.config.plan import plan
from dagster_restapi.config.source import RestApiConfig

NAMED = {kind: client for kind, client in places("http://h", "s", "p").items() if "CANARY" in str(client)}
ENDPOINTS: dict[str, dict[str, Any]] = {
    "path": {"path": "x/{env.CANARY}/y"},
    "params": {"params": {"tenant": "{env.CANARY}"}},
    "params by reference": {"params": {"tenant": {"env": "CANARY"}}},
    "params by EnvVar": {"params": {"tenant": dg.EnvVar("CANARY")}},
    "headers": {"headers": {"X-Team": "Team {env.CANARY}"}},
    "json": {"method": "POST", "json": {"a": [{"b": "{env.CANARY}"}]}},
    "a key of json": {"method": "POST", "json": {"{env.CANARY}": 1}},
    "data": {"method": "POST", "data": "q={env.CANARY}"},
    "auth": {"auth": {"token": "{env.CANARY}"}},
}
CLIENTS: dict[str, dict[str, Any]] = {
    "base_url": {"base_url": "{env.CANARY}"},
    "proxies": {"proxies": {"https": "http://me:{env.CANARY}@proxy:1"}},
    "verify": {"verify": "/etc/{env.CANARY}.pem"},
    "cert": {"cert": ("/etc/{env.CANARY}.crt", "/etc/key")},
}


def found(client: dict[str, Any], endpoint: dict[str, Any]) -> dict[str, str | None]:
    config = {"client": {"base_url": "http://h", **client}, "resources": [{"name": "items", "endpoint": endpoint}]}
    [one] = plan(RestApiConfig.parse(config)).values()
    return environment_of(one.client, one.endpoint)


@pytest.mark.parametrize("kind", [*NAMED, *CLIENTS, *ENDPOINTS])
def test_a_variable_is_found_in_every_place(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CANARY", "CANARY_PLAIN"):
        monkeypatch.setenv(name, "http://value")
    settings = found({**NAMED, **CLIENTS}.get(kind, {}), ENDPOINTS.get(kind, {"path": "items"}))
    assert settings
    assert set(settings) <= {"CANARY", "CANARY_PLAIN"}
    assert set(settings.values()) == {"http://value"}


def test_an_unset_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CANARY", raising=False)
    assert found({}, ENDPOINTS["params"]) == {"CANARY": None}
    assert found({}, {"path": "items"}) == {}


def test_the_arguments_of_a_function_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "x")
    assert environment_of(partial(print, "{env.CANARY}"), {"a": ({"b"}, partial(print, end=[1]))}) == {"CANARY": "x"}
