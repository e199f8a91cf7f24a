"""Whom credentials may be shown to, and URLs that can be shown to anyone."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from requests.models import PreparedRequest

from dagster_restapi.config.values import is_sensitive
from dagster_restapi.errors import RequestError
from dagster_restapi.secrets import MASK, redact

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: what a credential belongs to."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if _PORTS.get(self.scheme) == self.port else f":{self.port}")


def origin_of(url: str) -> Origin:
    """The origin of an absolute http(s) URL.

    Raises:
        RequestError: It is none.
    """
    head = _HEAD.match(url)
    origin = _origin_of(head[0] if head else url)
    if origin is None or "\\" in url.split("?", 1)[0]:
        raise RequestError(
            "this is no URL that can be requested",
            where=safe_url(url),
            hint="URLs begin with http:// or https:// and a host; check base_url, path, and the links in the answers.",
        )
    return origin


def named_origin(path: str) -> Origin | None:
    """The origin of a path that is a whole URL, where no placeholder and no user info stands in it; else None."""
    head = _NAMED.match(path)
    return _origin_of(head[1]) if head else None


_NAMED = re.compile(r"(https?://[^/?#{}@\\]+)(?:[/?#]|$)")
_HEAD = re.compile(r"[^/?#]*//[^/?#]*")  # scheme and authority: all that an origin depends on


@lru_cache(maxsize=256)
def _origin_of(head: str) -> Origin | None:
    try:
        parts = urlsplit(head)
        scheme, host, port = parts.scheme.lower(), (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return None
    if scheme not in _PORTS or not host:
        return None
    return Origin(scheme, host, _PORTS[scheme] if port is None else port)


def joined(url: str, link: str) -> str:
    """Where a link leads that stands on the page of a URL.

    Raises:
        RequestError: Nowhere: it cannot be read.
    """
    try:
        whole = urljoin(url, link)
        urlsplit(whole)
    except ValueError:
        whole = ""
    if not whole:
        raise RequestError("this is no URL that can be requested", where=redact(link.partition("?")[0][:200]))
    return whole


class Trust:
    """The API's own origin and the hosts that the configuration adds to it.

    Args:
        base_url: The client's base URL, filled in; may be empty.
        allowed_hosts: `host`, `host:port`, `*.domain`, each also with a scheme in front.
    """

    def __init__(self, base_url: str, allowed_hosts: Sequence[str]) -> None:
        self.home = origin_of(base_url) if base_url else None
        self._allowed = [_allowed(entry) for entry in allowed_hosts]

    def trusts(self, origin: Origin) -> bool:
        """Whether credentials may go there: the API's own origin (also https where it is http), or an allowed host."""
        home = self.home
        if home == origin:
            return True
        if home and home.host == origin.host and (home.scheme, origin.scheme) == ("http", "https"):
            return home.port == origin.port or (home.port, origin.port) == (80, 443)
        return any(_matches(entry, origin) for entry in self._allowed)

    def check(self, url: str, where: str) -> None:
        """Lets a request pass whose URL came from a link or a path.

        Raises:
            RequestError: It would go elsewhere, or from https to http.
        """
        origin = origin_of(url)
        self.check_scheme(origin, url, where)
        if self.trusts(origin):
            return
        raise RequestError(
            f"the request would go to {origin}, which is not the API's own address ({self.home or 'no base_url'})",
            where=f"{where} {safe_url(url)}".strip(),
            hint=f'If the credentials may be sent there, add "{_entry(origin)}" to the client\'s allowed_hosts.',
        )

    def check_scheme(self, origin: Origin, url: str, where: str) -> None:
        """Refuses http where the client is on https.

        Raises:
            RequestError: Just that.
        """
        if self.home and self.home.scheme == "https" and origin.scheme == "http":
            raise RequestError(
                "the request would go from https to http, where everyone can read it",
                where=f"{where} {safe_url(url)}".strip(),
                hint="The link or redirect comes from the API; if the API can really only do http, say so in base_url.",
            )


def _allowed(entry: str) -> tuple[str | None, str, int | None]:
    scheme, _, rest = entry.rstrip("/").rpartition("://")
    parts = urlsplit(f"//{rest.removeprefix('*')}")
    host = (parts.hostname or "").lower()
    return scheme.lower() or None, f"*{host}" if rest.startswith("*") else host, parts.port


def _matches(entry: tuple[str | None, str, int | None], origin: Origin) -> bool:
    scheme, host, port = entry
    named = origin.host.endswith(host[1:]) if host.startswith("*") else origin.host == host
    return named and scheme in (None, origin.scheme) and port in (None, origin.port)


def _entry(origin: Origin) -> str:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return host if _PORTS[origin.scheme] == origin.port else f"{host}:{origin.port}"


def without_userinfo(url: str) -> tuple[str, str | None]:
    """The URL without `user:password@`, and what stood there."""
    scheme, separator, rest = url.partition("://")
    end = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
    userinfo, at, host = rest[:end].rpartition("@")
    if not separator or not at:
        return url, None
    return f"{scheme}://{host}{rest[end:]}", userinfo


_QUERY_VALUE = re.compile(r"(([^&=#]+)=)[^&#]*")
_LOGGED_QUERY = re.compile(r"([?&]([^&=#\s\"]+)=)[^&#\s\"]*")


def safe_url(url: str) -> str:
    """The URL for messages: no user info, no value of a parameter that is named like a credential, no known secret."""
    url, _ = without_userinfo(url)
    head, mark, query = url.partition("?")
    if mark:
        query = _QUERY_VALUE.sub(lambda m: f"{m[1]}{MASK}" if is_sensitive(m[2]) else m[0], query)
    return redact(f"{head}{mark}{query}")


class _UrlFilter(logging.Filter):
    """Masks the values of parameters that are named like credentials, in whatever URL a message holds."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        masked = _LOGGED_QUERY.sub(lambda m: f"{m[1]}{MASK}" if is_sensitive(m[2]) else m[0], message)
        if masked != message:
            record.msg, record.args = masked, ()
        return True


def guard_urls(logger: logging.Logger) -> None:
    """Masks parameters that are named like credentials in what a logger writes: urllib3 logs every URL at DEBUG."""
    if not any(isinstance(item, _UrlFilter) for item in logger.filters):
        logger.addFilter(_UrlFilter())


def without_secrets(url: str, names: frozenset[str]) -> str:
    """The URL without those query parameters that carry a known secret or have one of the names.

    For a redirect to a stranger, and for URLs that are kept: the credentials are put in again when a request is sent.
    """
    parts: SplitResult = urlsplit(url)
    if not parts.query:
        return url
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if name not in names and redact(value) == value]
    return url if len(kept) == len(pairs) else urlunsplit(parts._replace(query=urlencode(kept)))


def relative(url: str, base: str) -> str:
    """The URL as seen from a base on the same host (RFC 3986, 5.2 backwards), so that it holds no part of the base's
    path; as it is, where it is elsewhere or cannot be written so."""
    there, here = urlsplit(url), urlsplit(_prepared(base))
    if (there.scheme, there.netloc) != (here.scheme, here.netloc):
        return url
    if there.path == here.path and there.query:
        return f"?{there.query}"
    start, goal = here.path.split("/")[:-1], there.path.split("/")
    shared = next((n for n, pair in enumerate(zip(start, goal[:-1], strict=False)) if pair[0] != pair[1]), len(start))
    shared = min(shared, len(goal) - 1)
    path = "../" * (len(start) - shared) + "/".join(goal[shared:])
    short = urlunsplit(("", "", f"./{path}", there.query, ""))
    return short if absolute(short, base) == url else url


def absolute(url: str, base: str) -> str:
    """The URL that `relative` was given."""
    return urljoin(_prepared(base), url)


def _prepared(url: str) -> str:
    """The URL as requests sends it."""
    request = PreparedRequest()
    request.prepare_url(url, None)
    return request.url or url
