"""How requests prove who they are: dlt's auth types, more of our own, and the types that a user registers."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema
from requests.auth import AuthBase

from dagster_restapi.config.dlt_objects import what_auth_lacks
from dagster_restapi.config.settings import Settings
from dagster_restapi.config.values import Duration, Value, Values
from dagster_restapi.errors import ConfigError
from dagster_restapi.secrets import MASK, Secret


class NoAuth(Settings):
    """No credentials, also where the client has some."""

    type: Literal["none"] = "none"
    """`none`"""


class BearerAuth(Settings):
    """A fixed token in the Authorization header (dlt: `bearer`)."""

    type: Literal["bearer"] = "bearer"
    """`bearer`; may be left out beside `token`"""
    token: Secret
    """The token, best as `"{env.NAME}"`."""


class _NamedUser(Settings):
    """A literal user name shows in no repr and no JSON. In texts it is not masked by its value, as the password is: it
    may be an ordinary word, and a link that asks for the user's own rows would lose it."""

    @field_serializer("username", when_used="json", check_fields=False)
    def _shown_user(self, value: Any) -> str:
        return _masked_user(value)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, _masked_user(value) if name == "username" else value


def _masked_user(value: Any) -> str:
    return str(value) if isinstance(value, Secret) or "{env." in value else MASK


class HttpBasicAuth(_NamedUser):
    """User name and password (dlt: `http_basic`)."""

    type: Literal["http_basic"] = "http_basic"
    """`http_basic`"""
    username: Value
    """The user's name."""
    password: Secret
    """The password; may be empty."""


class HttpDigestAuth(_NamedUser):
    """User name and password by HTTP Digest (RFC 7616), as requests does it."""

    type: Literal["http_digest"] = "http_digest"
    """`http_digest`"""
    username: Value
    """The user's name."""
    password: Secret
    """The password."""


class ApiKeyAuth(Settings):
    """A key under a name in a header, the query, or a cookie (dlt: `api_key`)."""

    type: Literal["api_key"] = "api_key"
    """`api_key`"""
    name: str = "Authorization"
    """Name of the header, query parameter or cookie."""
    api_key: Secret
    """The key."""
    location: Literal["header", "query", "param", "cookie"] = "header"
    """Where the key goes; `param` is dlt's other word for `query`."""


class OAuth2ClientCredentialsAuth(Settings):
    """OAuth 2.0 client credentials (RFC 6749, 4.4; dlt: `oauth2_client_credentials`). One token for all threads."""

    type: Literal["oauth2_client_credentials"] = "oauth2_client_credentials"
    """`oauth2_client_credentials`"""
    access_token_url: Value
    """Where tokens are issued."""
    client_id: Value
    """The client's id."""
    client_secret: Secret
    """The client's secret."""
    access_token_request_data: Values = Field(default_factory=dict)
    """More form fields for the token request, such as `scope` or `audience`."""
    default_token_expiration: Duration = 3600.0
    """How long a token holds when the answer has no `expires_in`."""
    client_auth: Literal["body", "basic"] = "body"
    """Whether id and secret go into the form or into a Basic header."""


class OAuth2RefreshTokenAuth(Settings):
    """OAuth 2.0 refresh token (RFC 6749, 6). A rotated refresh token is kept in `store`."""

    type: Literal["oauth2_refresh_token"] = "oauth2_refresh_token"
    """`oauth2_refresh_token`"""
    access_token_url: Value
    """Where tokens are issued."""
    refresh_token: Secret
    """The first refresh token."""
    client_id: Value | None = None
    """The client's id."""
    client_secret: Secret | None = None
    """The client's secret."""
    access_token_request_data: Values = Field(default_factory=dict)
    """More form fields for the token request."""
    default_token_expiration: Duration = 3600.0
    """How long a token holds when the answer has no `expires_in`."""
    client_auth: Literal["body", "basic"] = "body"
    """Whether id and secret go into the form or into a Basic header."""
    store: Annotated[Any, WithJsonSchema({"type": ["string", "null"]})] = None
    """Keeps the newest refresh token for later runs: the path of a file (mode 0600, locked while it is used), or in
    Python an object with `load() -> str | None`, `save(token: str)` and a context manager that locks it."""


class SessionLoginAuth(Settings):
    """A request that yields a token or a session cookie, sent before the first request and when that has expired."""

    type: Literal["session_login"] = "session_login"
    """`session_login`"""
    url: Value
    """Path below the client's `base_url`, or a whole URL."""
    method: str = "POST"
    """The method of the login request."""
    headers: Values = Field(default_factory=dict)
    """Headers of the login request."""
    params: Values = Field(default_factory=dict)
    """Query of the login request."""
    json_body: Values = Field(
        default=None, validation_alias=AliasChoices("json", "json_body"), serialization_alias="json"
    )
    """JSON body of the login request (written `json`)."""
    data: Values = None
    """Form body of the login request."""
    token_path: str | None = None
    """JSONPath of the token in the answer; without it, the answer's cookies are the session."""
    location: Literal["header", "query", "cookie"] = "header"
    """Where the token goes."""
    name: str = "Authorization"
    """Name of the header, query parameter or cookie."""
    template: Value = "Bearer {token}"
    """What is sent; `{token}` stands for the token. In the query or a cookie the token is sent alone."""
    expiration: Duration | None = None
    """How long the session holds; without it, until the API answers 401."""

    @model_validator(mode="after")
    def _consistent(self) -> SessionLoginAuth:
        if self.json_body is not None and self.data is not None:
            raise ValueError("`json` and `data` exclude each other")
        if isinstance(self.template, str) and "{token}" not in self.template:
            raise ValueError("`template` must hold {token}")
        return self


class JwtBearerAuth(Settings):
    """A JSON Web Token signed here: sent as it is, or exchanged for an access token (RFC 7523; dlt's OAuthJWTAuth).

    Needs PyJWT (`pip install "dagster-restapi[jwt]"`).
    """

    type: Literal["jwt_bearer"] = "jwt_bearer"
    """`jwt_bearer`"""
    private_key: Secret
    """The private key in PEM form, or the shared secret of an HS algorithm."""
    private_key_passphrase: Secret | None = None
    """The passphrase of the private key."""
    algorithm: str = "RS256"
    """The signature algorithm."""
    key_id: Value | None = None
    """`kid` of the token's header."""
    client_id: Value | None = None
    """`iss` and `sub` of the token."""
    claims: Values = Field(default_factory=dict)
    """More claims; they go over the ones above."""
    lifetime: Duration = 600.0
    """How long a signed token holds."""
    access_token_url: Value | None = Field(
        default=None, validation_alias=AliasChoices("access_token_url", "auth_endpoint")
    )
    """Where the signed token is exchanged for an access token; without it, the signed token itself is sent."""
    scopes: Value | list[Value] | None = None
    """`scope` of the token."""
    headers: Values = Field(default_factory=dict)
    """Headers of the token request."""
    default_token_expiration: Duration = 3600.0
    """How long an exchanged token holds when the answer has no `expires_in`."""

    @model_validator(mode="after")
    def _signs(self) -> JwtBearerAuth:
        if importlib.util.find_spec("jwt") is None:
            raise ValueError('auth "jwt_bearer" needs PyJWT: pip install "dagster-restapi[jwt]"')
        return self


class RegisteredAuth(Settings):
    """A type that was made known with `register_auth`."""

    type: str
    """The registered name."""
    arguments: Values = Field(default_factory=dict)
    """What its class is called with."""


class GivenAuth(Settings):
    """A `requests.auth.AuthBase` object, or anything else that is called with a prepared request."""

    type: Literal["given"] = "given"
    """`given`"""
    auth: SkipJsonSchema[Any] = Field(repr=False, exclude=True)
    """The object."""

    @field_validator("auth")
    @classmethod
    def _has_credentials(cls, value: Any) -> Any:
        if lacking := what_auth_lacks(value):
            raise ValueError(lacking)
        return value


_TYPES: dict[str, type[Settings]] = {
    "none": NoAuth,
    "bearer": BearerAuth,
    "http_basic": HttpBasicAuth,
    "http_digest": HttpDigestAuth,
    "api_key": ApiKeyAuth,
    "oauth2_client_credentials": OAuth2ClientCredentialsAuth,
    "oauth2_refresh_token": OAuth2RefreshTokenAuth,
    "session_login": SessionLoginAuth,
    "jwt_bearer": JwtBearerAuth,
}
_ALIASES = {  # the names of dlt's classes
    "BearerTokenAuth": "bearer",
    "APIKeyAuth": "api_key",
    "HttpBasicAuth": "http_basic",
    "OAuth2ClientCredentials": "oauth2_client_credentials",
    "OAuthJWTAuth": "jwt_bearer",
}
_AS_WRITTEN = {"name", "method", "algorithm", "token_path", "location", "client_auth"}  # of our own types
_registered: dict[str, type[Any]] = {}


def register_auth(name: str, cls: type[Any]) -> None:
    """Makes a class usable as `auth: {type: <name>, …}`; the other keys are its constructor's arguments.

    An instance is called with each `requests.PreparedRequest` and gives it back, as `requests.auth.AuthBase` does. If
    it has a method `refresh()`, that is called once when the API answers 401, and the request is sent again.

    Raises:
        ConfigError: The name is one of our own, or the class makes objects that cannot be called.
    """
    if name in _TYPES or name in _ALIASES:
        raise ConfigError(f"the auth type {name!r} exists already", hint="Register your class under another name.")
    if not (isinstance(cls, type) and _makes_auth(cls)):
        raise ConfigError(
            f"the class registered as auth type {name!r} has no __call__(request)",
            hint="Derive it from requests.auth.AuthBase.",
        )
    _registered[name] = cls


def _makes_auth(cls: type[Any]) -> bool:
    """Whether the class's objects can be called. The class itself always can, and requests' AuthBase only raises."""
    call = next((vars(base)["__call__"] for base in cls.__mro__ if "__call__" in vars(base)), None)
    return callable(call) and call is not AuthBase.__call__


def registered_auth(name: str) -> type[Any]:
    """The class behind a registered name."""
    return _registered[name]


def _parse(value: Any) -> Any:
    """Brings every spelling into the form of one of the models."""
    if value is None or isinstance(value, Settings):
        return value
    if isinstance(value, str) and type(value) is str:
        return _from_name(value)
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return {"type": "http_basic", "username": value[0], "password": value[1]}
    if callable(value) and not isinstance(value, type):
        return {"type": "given", "auth": value}
    if isinstance(value, Mapping):
        return _from_mapping(dict(value))
    raise ValueError("auth is a mapping with `type`, the name of a type, or a requests.auth.AuthBase object")


def _from_name(name: str) -> dict[str, Any]:
    name = _known(name)
    if name in _registered:
        return _from_mapping({"type": name})
    fields = _TYPES[name].model_fields
    required = [key for key, info in fields.items() if info.is_required()]
    if required:
        example = ", ".join(f'{key}: "{{env.{key.upper()}}}"' for key in required)
        raise ValueError(f"auth {name!r} also needs {', '.join(required)}: write {{type: {name}, {example}}}")
    return {"type": name}


def _from_mapping(value: dict[str, Any]) -> dict[str, Any]:
    if "type" not in value:
        if set(value) == {"token"}:
            return {"type": "bearer", **value}
        raise ValueError(f"auth needs a `type`: one of {', '.join([*_TYPES, *_registered])}")
    if not isinstance(value["type"], str):
        raise ValueError("the `type` of auth is a text")  # noqa: TRY004 - pydantic adds the path
    value["type"] = name = _known(value["type"])
    if name not in _registered:
        for key in sorted(_AS_WRITTEN & set(value)):
            if isinstance(value[key], str) and "{env." in value[key]:
                raise ValueError(f"`{key}` is taken as it is written: it cannot hold an environment variable")
        return value
    value.pop("type")
    if isinstance(value.get("arguments"), Mapping) and len(value) == 1:  # as the model itself writes it
        value = dict(value["arguments"])
    try:
        inspect.signature(_registered[name]).bind(**value)
    except TypeError as error:
        raise ValueError(f"auth type {name!r} is not called like this: {error}") from None
    return {"type": name, "arguments": value}


def _known(name: str) -> str:
    name = _ALIASES.get(name, name)
    if name in _TYPES or name in _registered or name == "given":
        return name
    known = [*_TYPES, *_registered]
    near = difflib.get_close_matches(name, known, n=1)
    if not near and "{env." in name:
        raise ValueError('a token alone is written {token: "{env.NAME}"}')
    what = (
        f"there is no auth type {name!r}" if name.isidentifier() else "there is no such auth type"
    )  # it may be a token
    raise ValueError(
        f"{what}; did you mean {near[0]!r}?"
        if near
        else f"{what}; the types are {', '.join(known)}, and `register_auth` adds more"
    )


def _tag(value: Any) -> str:
    name = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return str(name) if name in _TYPES or name == "given" else "registered"


AuthConfig = Annotated[
    Annotated[NoAuth, Tag("none")]
    | Annotated[BearerAuth, Tag("bearer")]
    | Annotated[HttpBasicAuth, Tag("http_basic")]
    | Annotated[HttpDigestAuth, Tag("http_digest")]
    | Annotated[ApiKeyAuth, Tag("api_key")]
    | Annotated[OAuth2ClientCredentialsAuth, Tag("oauth2_client_credentials")]
    | Annotated[OAuth2RefreshTokenAuth, Tag("oauth2_refresh_token")]
    | Annotated[SessionLoginAuth, Tag("session_login")]
    | Annotated[JwtBearerAuth, Tag("jwt_bearer")]
    | Annotated[RegisteredAuth, Tag("registered")]
    | SkipJsonSchema[Annotated[GivenAuth, Tag("given")]],
    Discriminator(_tag),
    BeforeValidator(_parse),
]
"""Every way to prove who we are; see the classes above for each."""
