"""What went wrong with a request, in words that help and carry no secret."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from http import HTTPStatus
from http.client import IncompleteRead
from typing import TYPE_CHECKING

import requests
import urllib3

from dagster_restapi.http.decode import excerpt

if TYPE_CHECKING:
    from dagster_restapi.http.exchange import Answer


@dataclass(frozen=True)
class Fault:
    """A request that got no usable answer.

    Attributes:
        what: One sentence.
        hint: What to do.
        transient: A later try may succeed.
        acted: The server may have carried the request out.
        broken: It is the answer that is at fault (a ResponseError), not the connection (a RequestError).
    """

    what: str
    hint: str | None = None
    transient: bool = True
    acted: bool = True
    broken: bool = False


def _causes(error: BaseException) -> list[BaseException]:
    """The exception and everything inside and behind it: requests and urllib3 nest them in their arguments."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop()
        if isinstance(item, BaseException) and not any(item is seen for seen in found):
            found.append(item)
            waiting += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
    return found


def connection_fault(error: Exception, host: str, timeout: tuple[float, float]) -> Fault:
    """Reads what requests or urllib3 raised. Their texts hold whole URLs, so none of them is passed on."""
    causes = _causes(error)
    if type(error) is OSError and "TLS" in str(error):  # requests looks for the files before it connects
        return Fault(
            "a file of TLS certificates or keys is not there",
            "Check the paths in `verify` and `cert` of the client, and REQUESTS_CA_BUNDLE where the run executes.",
            transient=False,
            acted=False,
        )

    def among(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if among(requests.exceptions.ProxyError, urllib3.exceptions.ProxyError):
        return Fault(
            "the proxy could not be reached, or refused to connect",
            "Check `proxies` of the client, or HTTP_PROXY, HTTPS_PROXY and NO_PROXY where the run executes.",
            acted=False,
        )
    if among(requests.exceptions.SSLError, urllib3.exceptions.SSLError, ssl.SSLError):
        return _tls_fault(causes, host)
    if among(urllib3.exceptions.NameResolutionError):
        return Fault(
            f"the host {host} is not known (DNS)",
            "Check base_url, and the network of the machine where the run executes.",
            acted=False,
        )
    if among(ConnectionRefusedError):
        return Fault(
            f"{host} refused the connection",
            "Check host and port of base_url, and that the API is running.",
            acted=False,
        )
    if among(urllib3.exceptions.NewConnectionError):  # before the next one, of which it is a subclass
        return Fault(f"{host} cannot be reached", "Check base_url and the network.", acted=False)
    if among(urllib3.exceptions.ConnectTimeoutError):
        return Fault(
            f"{host} could not be connected to within {timeout[0]:g} s",
            "Check base_url and the firewall, or raise `timeout` of the client.",
            acted=False,
        )
    if among(urllib3.exceptions.ReadTimeoutError, requests.exceptions.ReadTimeout, TimeoutError):
        return Fault(
            f"{host} sent nothing for {timeout[1]:g} s", "Raise `timeout` of the client if the API is this slow."
        )
    if among(IncompleteRead, urllib3.exceptions.IncompleteRead, urllib3.exceptions.InvalidChunkLength):
        return Fault(
            "the connection broke in the middle of the body", "The server, or a proxy between, cuts answers short."
        )
    if among(requests.exceptions.InvalidHeader, UnicodeEncodeError):
        return Fault(
            "a header holds characters that cannot be sent",
            "Check `headers` and `auth` for line breaks and for letters beyond Latin-1.",
            transient=False,
            acted=False,
        )
    if among(requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
        return Fault("this is no URL that can be requested", "Check base_url and path.", transient=False, acted=False)
    kind = _kind(causes)
    return Fault(f"the connection to {host} broke ({kind})", "The server, or a proxy between, closed the connection.")


def _kind(causes: list[BaseException]) -> str:
    """The innermost name that says something."""
    names = [type(cause).__name__ for cause in causes]
    return next((name for name in reversed(names) if name not in ("ConnectionError", "ProtocolError")), names[0])


def _tls_fault(causes: list[BaseException], host: str) -> Fault:
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Fault(
                f"the TLS certificate of {host} is not trusted: {cause.verify_message}",
                "For an authority of your own, give its certificate's path as `verify` of the client.",
                transient=False,
                acted=False,
            )
    reason = next((cause.reason for cause in causes if isinstance(cause, ssl.SSLError) and cause.reason), "")
    words = f": {reason.lower().replace('_', ' ')}" if reason else ""
    dropped = any(isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) for cause in causes)
    return Fault(
        f"no TLS connection to {host}{words}",
        "Check that base_url and port speak https, and `verify` and `cert` of the client.",
        transient=dropped,
        acted=dropped,
    )


_HINTS = {
    400: "The API does not understand the request: check the parameters and the body.",
    404: "Check base_url and path: nothing is there (some APIs also say so to those who may not see it).",
    405: "The path does not take this method.",
    406: 'The API has no JSON for this path: check the header "Accept".',
    410: "The path, or this version of the API, was removed.",
    413: "The request's body is too large for the API.",
    414: "The URL is too long for the API: send the values in the body, or fewer at once.",
    415: "The API wants another Content-Type: use `json` or `data`, or set the header.",
    422: "The API refuses the values of the request: check the parameters and the body.",
    429: "The API's rate limit is reached: set `rate_limit` of the client, or raise `retry: {attempts, total}`.",
}


def status_hint(status: int, credentials: str) -> str | None:
    """What to do about an HTTP error status. `credentials` says where they come from."""
    if status == 401:
        return f"The API does not accept the credentials ({credentials}): check that they are right and not expired."
    if status == 403:
        return f"The credentials ({credentials}) do not allow this, or a firewall stands before the API."
    if status == 202:
        return "The answer is not ready: raise `retry: {total}`, or set an error rule with `action: accept` if it is."
    if status < 200:
        return "The API, or a proxy between, wants to speak another protocol: check base_url and path."
    if status < 400:
        return "The API answers with a redirect that leads nowhere: check base_url, path, auth and conditional headers."
    if status >= 500:
        return "The fault is on the API's side; try again later, or raise `retry: {attempts, total}`."
    return _HINTS.get(status)


def status_words(answer: Answer) -> str:
    """The status, and the first words of the body."""
    words = excerpt(answer.text) if answer.body else ""
    try:
        named = f"status {answer.status} ({HTTPStatus(answer.status).phrase})"
    except ValueError:
        named = f"status {answer.status}"
    return f"{named}: “{words}”" if words else named
