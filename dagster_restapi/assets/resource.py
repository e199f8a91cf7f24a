"""The client of one API as a Dagster resource, for assets that are written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self

import dagster as dg
from pydantic import Field, PrivateAttr, ValidationError

from dagster_restapi.config.auth import RegisteredAuth
from dagster_restapi.config.client import ClientConfig
from dagster_restapi.config.functions import function_name
from dagster_restapi.config.mistakes import ConfigMistakes, Mistake, mistakes_of
from dagster_restapi.config.settings import Settings
from dagster_restapi.http.client import RestClient
from dagster_restapi.http.meter import Meter
from dagster_restapi.http.origin import without_userinfo
from dagster_restapi.secrets import Secret, redact

_OWN = ("data_selector",)  # fields that are not the client's


def _described(name: str, default: Any = None) -> Any:
    """A field with the text that the configuration's own field has."""
    return Field(default=default, description=ClientConfig.model_fields[name].description)


class RestApiResource(dg.ConfigurableResource[Any]):
    """One API for assets that are written by hand: paging, retries, rate limits, credentials and redaction as in a
    configuration. What may be given to a field is what a configuration's `client` takes.

    A secret is best named: `dg.EnvVar("GITHUB_TOKEN")` or `"{env.GITHUB_TOKEN}"`; it is read when a request is made.
    A literal one is kept out of everything that Dagster stores or shows of a resource.

    Raises:
        ConfigError: A field is wrong; each mistake is named with its path.

    Example:
        @dg.asset
        def stars(github: RestApiResource) -> pd.DataFrame:
            pages = github.get_client().paginate("repos/dagster-io/dagster/stargazers", params={"per_page": 100})
            return pd.DataFrame(row for page in pages for row in page)

        github = RestApiResource(
            base_url="https://api.github.com", auth={"type": "bearer", "token": dg.EnvVar("GITHUB_TOKEN")}
        )
        defs = dg.Definitions(assets=[stars], resources={"github": github})
    """

    base_url: str = _described("base_url", "")
    auth: Any = _described("auth")
    headers: dict[str, Any] | None = _described("headers")
    paginator: Any = _described("paginator")
    data_selector: str | None = Field(
        default=None, description="JSONPath of the records in every answer. By default it is found on the first page."
    )
    retry: Any = _described("retry")
    rate_limit: Any = _described("rate_limit")
    timeout: Any = _described("timeout")
    verify: Any = _described("verify")
    cert: Any = _described("cert")
    proxies: dict[str, Any] | None = _described("proxies")
    allowed_hosts: list[str] | None = _described("allowed_hosts")
    max_redirects: int | None = _described("max_redirects")
    max_response_bytes: int | None = _described("max_response_bytes")
    error_rules: list[Any] | None = _described("error_rules")

    _clients: list[RestClient] = PrivateAttr(default_factory=list)
    _log: Any = PrivateAttr(default=None)

    def __init__(self, **data: Any) -> None:
        client = _client_config(data)
        super().__init__(**{name: _shown(_parsed(name, value, client)) for name, value in data.items()})

    def get_client(self) -> RestClient:
        """A client. In a run it is closed when the run's step ends; elsewhere, whoever asks for it closes it."""
        client = RestClient.from_config(
            _client_config(dict(self)), data_selector=self.data_selector, meter=Meter(on_note=self._tell)
        )
        self._clients.append(client)
        return client

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """From now on long waits are told to the run's log."""
        self._log = context.log

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Closes the clients, and tells the run's log what they had to go through."""
        while self._clients:
            client = self._clients.pop()
            client.close()
            for warning in client.meter.warnings:
                self._tell(warning)
            meter = client.meter
            if self._log is not None and meter.requests:
                self._log.info(
                    f"{redact(client.config.base_url)}: {meter.requests} requests, {meter.retries} retries, "
                    f"{meter.waited_seconds:.1f} s waited, {meter.bytes} bytes"
                )

    def _tell(self, text: str) -> None:
        if self._log is not None:
            self._log.warning(text)


class _Held(str):
    """A text that stands for an object wherever Dagster stores or shows a resource's configuration."""

    held: Any

    def __new__(cls, shown: str, held: Any) -> Self:
        self = super().__new__(cls, shown)
        self.held = held
        return self


def _client_config(data: Mapping[str, Any]) -> ClientConfig:
    given = {name: _given(value) for name, value in data.items() if name not in _OWN and value is not None}
    url = given.get("base_url")
    if type(url) is str and without_userinfo(url)[1] is not None:
        raise ConfigMistakes([Mistake(("base_url",), "a password in a URL would be shown to everybody", "Use `auth`.")])
    found: list[Mistake] = []
    try:
        return ClientConfig.model_validate(given)
    except ValidationError as error:
        found = mistakes_of(error, given, ClientConfig)
    raise ConfigMistakes(found)


def _given(value: Any) -> Any:
    """What was given, behind the texts that stand for it."""
    if isinstance(value, _Held):
        return value.held
    if isinstance(value, Mapping):
        return {key: _given(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_given(item) for item in value]
    return value


def _parsed(name: str, value: Any, client: ClientConfig) -> Any:
    """A field as the configuration reads it, where that tells what in it is secret."""
    if value is not None and name in ("auth", "headers", "proxies"):
        return getattr(client, name)
    return value


def _shown(value: Any) -> Any:
    """The value in types that Dagster can store, with nothing secret in them."""
    if isinstance(value, Secret):
        return {"env": value.env} if value.env else _Held(str(value), value)
    if isinstance(value, RegisteredAuth):  # nobody knows which of its arguments are secret
        return {"type": value.type, "arguments": _hidden(value.arguments)}
    if isinstance(value, Settings):
        return {name: _shown(getattr(value, name)) for name in value.model_fields_set}
    if isinstance(value, Mapping):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(item) for item in value]
    if isinstance(value, timedelta):
        return value.total_seconds()
    if value is None or isinstance(value, (str, int, float)):
        return value
    if hasattr(value, "get_secret_value"):
        return _shown(Secret.parse(value))
    return _Held(f"<{function_name(value)}>", value)


def _hidden(value: Any) -> Any:
    """The value with every literal text in it as a secret."""
    if isinstance(value, Mapping):
        return {key: _hidden(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hidden(item) for item in value]
    return _shown(Secret(value) if isinstance(value, str) and "{env." not in value else value)
