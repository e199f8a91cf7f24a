"""Credentials from a description's security schemes; every secret becomes the name of an environment variable."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from dagster_restapi.cli.starter.openapi import Document, mapping, sequence
from dagster_restapi.cli.starter.plan import Auth, Param

_COMMON = ("api", "www", "rest", "app", "gateway", "data", "developer", "developers")
_SECOND_LEVEL = ("co", "com", "org", "net", "gov", "ac", "edu")


def prefix_of(base_url: str) -> str:
    """The beginning of the environment variables' names: `GITHUB` for https://api.github.com."""
    host = urlsplit(base_url).hostname or ""
    labels = [label for label in host.split(".") if label]
    if len(labels) < 2 or re.fullmatch(r"[\d.]+|.*:.*", host):
        return "API"
    labels = labels[:-1]
    if labels[-1] in _SECOND_LEVEL and len(labels) > 1:
        labels = labels[:-1]
    name = labels[-1] if labels[-1] not in _COMMON or len(labels) == 1 else labels[-2]
    name = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    return name if re.match(r"[A-Z]", name) else f"API_{name}"


def guess_auth(document: Document, base_url: str) -> Auth:
    """The first way in that the whole description, or its first operation with any, asks for; the rest as remarks."""
    schemes = {
        str(name): document.node(scheme)
        for name, scheme in mapping(mapping(document.root.get("components")).get("securitySchemes")).items()
    }
    wanted = next((names for names in _requirements(document) if names and set(names) <= schemes.keys()), None)
    chosen = wanted or list(schemes)[:1]
    if not chosen:
        return Auth()
    prefix = prefix_of(base_url)
    first, *beside = sorted(chosen, key=lambda name: _is_header(schemes[name]))
    options, remark = _options(schemes[first], prefix, base_url)
    headers = tuple(
        Param(str(schemes[name].get("name")), f"{{env.{prefix}_{_env(name)}}}", f"also asked for ({name})")
        for name in beside
        if _is_header(schemes[name])
    )
    others = [f"{name}: {_told(scheme)}" for name, scheme in schemes.items() if name not in chosen]
    return Auth(
        options=options,
        comment=f"{first}: {remark or _told(schemes[first])}",
        active=wanted is not None and options is not None,
        headers=headers,
        others=tuple(others),
    )


def _requirements(document: Document) -> Iterator[list[str]]:
    """The security requirements: of the whole description, then of each operation."""
    for requirement in sequence(document.root.get("security")):
        yield list(mapping(requirement))
    for item in mapping(document.root.get("paths")).values():
        operation = mapping(document.node(item).get("get"))
        for requirement in sequence(operation.get("security")):
            yield list(mapping(requirement))


def _is_header(scheme: Mapping[str, Any]) -> bool:
    return scheme.get("type") == "apiKey" and scheme.get("in") == "header"


def _env(name: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).upper()).strip("_") or "KEY"


def _options(scheme: Mapping[str, Any], prefix: str, base_url: str) -> tuple[dict[str, Any] | None, str]:
    """The scheme as `auth` of a configuration, and what to say of it where it is not the same thing."""
    token = {"type": "bearer", "token": f"{{env.{prefix}_TOKEN}}"}
    password = {"username": f"{{env.{prefix}_USER}}", "password": f"{{env.{prefix}_PASSWORD}}"}
    match str(scheme.get("type")), str(scheme.get("scheme", "")).lower():
        case "http", "bearer":
            return token, ""
        case "http", "basic":
            return {"type": "http_basic", **password}, ""
        case "http", "digest":
            return {"type": "http_digest", **password}, ""
        case "apiKey", _:
            location = scheme.get("in") if scheme.get("in") in ("header", "query", "cookie") else "header"
            key = f"{{env.{prefix}_API_KEY}}"
            return {"type": "api_key", "name": str(scheme.get("name")), "api_key": key, "location": location}, ""
        case "oauth2", _:
            return _oauth2(mapping(scheme.get("flows")), prefix, base_url)
        case "openIdConnect", _:
            return token, "OpenID Connect; a token that was issued elsewhere"
    return None, f"{_told(scheme)}, which has to be set by hand"


def _oauth2(flows: Mapping[str, Any], prefix: str, base_url: str) -> tuple[dict[str, Any], str]:
    flow = mapping(flows.get("clientCredentials"))
    if not flow:
        token = {"type": "bearer", "token": f"{{env.{prefix}_TOKEN}}"}
        return token, f"OAuth 2 ({', '.join(map(str, flows)) or 'no flow'}); a token that was issued elsewhere"
    options: dict[str, Any] = {
        "type": "oauth2_client_credentials",
        "access_token_url": urljoin(base_url, str(flow.get("tokenUrl") or "")),
        "client_id": f"{{env.{prefix}_CLIENT_ID}}",
        "client_secret": f"{{env.{prefix}_CLIENT_SECRET}}",
    }
    scopes = " ".join(map(str, mapping(flow.get("scopes"))))
    return ({**options, "access_token_request_data": {"scope": scopes}} if scopes else options), ""


def _told(scheme: Mapping[str, Any]) -> str:
    """A scheme in a few words."""
    parts = [str(scheme[key]) for key in ("type", "scheme", "in", "name") if isinstance(scheme.get(key), str)]
    text = str(scheme.get("description") or "").strip().partition("\n")[0]
    return " ".join(parts) + (f" ({text[:60]})" if text else "")
