"""A canary in every place where a secret can stand, and every place where it must not be seen."""

from __future__ import annotations

import contextlib
import html
import io
import json
import logging
import re
import traceback
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from canary import MARK, assert_clean, places
from hypothesis import assume, given
from hypothesis import strategies as st

from dagster_restapi import secrets
from dagster_restapi.config.client import ClientConfig
from dagster_restapi.errors import RestApiError
from dagster_restapi.http.session import Call, Meter, Session
from dagster_restapi.secrets import MASK, conceal, redact
from dagster_restapi.secrets import _unescaped as unescaped


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that any logger says at DEBUG, as a handler on the root sees it."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(before)


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that hangs on it."""
    waiting: list[BaseException | None] = [error]
    while waiting:
        item = waiting.pop()
        if item is not None:
            yield item
            waiting += [item.__cause__, item.__context__]


def seen(error: BaseException) -> str:
    texts = [f"{item!r} {item} {item.args} {vars(item)}" for item in chain(error)]
    return "".join(texts) + "".join(traceback.format_exception(error))


FAULTS = ["fine", "401", "404", "500", "echo", "cut", "drop", "refused", "not-json", "stranger", "redirect", "slow"]


def prepare(api: Any, fault: str, secret: str, plain: str) -> None:
    """Makes the API answer every path with a fault that shows as much as it can."""

    def answer(request: Any) -> Any:
        echo = f"{request.path} {request.queries} {request.headers} {request.body.decode(errors='replace')}"
        replies = {
            "fine": [1],
            "401": (401, {"echo": echo}),
            "404": (404, {"echo": echo}),
            "500": (500, {"echo": echo}),
            "echo": api.Reply(f"<html>{echo}</html>", type="text/html"),
            "cut": api.Reply({"echo": echo}, cut=3),
            "drop": api.Reply(drop=True),
            "not-json": api.Reply(f"! {echo}"),
            "redirect": (302, {}, {"Location": f"/again?echo={quote(echo)}"}),
            "slow": api.Reply([1], delay=0.15),
        }
        return replies.get(fault, [1])

    for path in ("/items", f"/bot{plain}/items"):
        api.route(path, answer)
    api.route("/again", (500, {}))
    api.route("/token", {"access_token": f"{plain}-issued", "id": f"{plain}-id", "refresh_token": f"{secret}-rotated"})


@pytest.mark.parametrize("fault", FAULTS)
def test_the_canary_is_seen_nowhere(
    api: Any, stranger: Any, client: Callable[..., ClientConfig], log: io.StringIO, monkeypatch: Any, fault: str
) -> None:
    for number, place in enumerate(places(api.url, "", "")):
        secret, plain = f"{MARK}/{number} &+ü={fault}", f"{MARK}-{number}-{fault}"
        settings = places(api.url, secret, plain)[place]
        monkeypatch.setenv("CANARY", secret)
        monkeypatch.setenv("CANARY_PLAIN", plain)
        prepare(api, fault, secret, plain)
        config = client(retry={"attempts": 2, "backoff": 0.001}, timeout=0.1 if fault == "slow" else 5, **settings)
        assert_clean(repr(config) + str(config), f"the repr of the settings, {place}")
        assert_clean(json.dumps(config.model_dump(mode="json")), f"the dump of the settings, {place}")
        meter = Meter()
        with contextlib.closing(Session(config, meter=meter)) as session:
            url = session.url("items")
            if fault == "refused":
                url = url.replace(api.host, "127.0.0.1:9")
                session = Session(client(retry={"attempts": 2, "backoff": 0.001}, **{**settings, "base_url": url}))
            elif fault == "stranger":
                url = f"{stranger.url}/items"
            texts = [repr(session)]
            try:
                answer = session.send(Call("GET", url), where="resource items")
                texts.append(repr(answer))
                assert answer is not None
                answer.json()
            except RestApiError as error:
                texts.append(seen(error))
            assert fault == "fine" or len(texts) > 1
            texts += [repr(made) + repr(vars(made)) for _, made in session._credentials]
            assert_clean(" ".join([*texts, *meter.notes, *meter.warnings]), f"{place}, {fault}")
    assert_clean(log.getvalue(), f"the log, {fault}")


def test_a_literal_credential_in_the_query_is_masked_by_its_name(
    api: Any, connect: Callable[..., Session], log: io.StringIO
) -> None:
    api.route("/items", (404, {}))
    with pytest.raises(RestApiError) as caught:
        connect().send(
            Call("GET", f"{api.url}/items?api_key={MARK}-in-url", params={"appid": f"{MARK}-in-params", "page": 7})
        )
    assert_clean(seen(caught.value) + log.getvalue(), "log or error")
    assert "page=7" in str(caught.value)


def test_paging_tokens_are_not_taken_for_credentials(
    api: Any, connect: Callable[..., Session], log: io.StringIO
) -> None:
    api.route("/items", (404, {}))
    with pytest.raises(RestApiError, match="page_token=abcdef"):
        connect().send(Call("GET", f"{api.url}/items", params={"page_token": "abcdef"}))
    assert "page_token=abcdef" in log.getvalue()


@pytest.mark.parametrize("kind", ["http_basic", "http_digest"])
def test_the_name_of_a_user_is_in_no_repr_and_no_dump(client: Callable[..., ClientConfig], kind: str) -> None:
    auth = {"type": kind, "username": MARK, "password": "s3cret"}
    for config in (client(auth=auth), client(auth=auth).auth):
        assert config is not None
        assert_clean(f"{config!r} {config} {config.model_dump_json()}", "a text of the settings")
    assert "{env.USER_NAME}" in repr(client(auth={**auth, "username": "{env.USER_NAME}"}))
    conceal_only("nothing else")
    assert redact(f"rows of {MARK}") == f"rows of {MARK}"  # an ordinary word may be a name


def test_a_name_without_a_password_is_a_key(api: Any, connect: Callable[..., Session]) -> None:
    api.route("/items", lambda request: (404, {"key": MARK}))
    with pytest.raises(RestApiError) as caught:
        connect(auth={"type": "http_basic", "username": MARK, "password": ""}).send(Call("GET", f"{api.url}/items"))
    assert_clean(seen(caught.value), "the error")


# ---- spellings --------------------------------------------------------------------------------------------------
def lower(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), text)


def pair(user: str) -> Callable[[str], str]:
    return lambda value: b64encode(f"{user}:{value}".encode()).decode()


WHOLE: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "percent": lambda value: quote(value, safe=""),
    "percent, lower": lambda value: lower(quote(value, safe="")),
    "percent, with /": quote,
    "percent, plus": quote_plus,
    "percent, plus, lower": lambda value: lower(quote_plus(value)),
    "percent, twice": lambda value: quote(quote(value, safe=""), safe=""),
    "percent, twice, lower": lambda value: lower(quote(lower(quote(value, safe="")), safe="")),
    "json": lambda value: json.dumps(value)[1:-1],
    "json, utf-8": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "json of PHP": lambda value: json.dumps(value)[1:-1].replace("/", "\\/"),
    "html": html.escape,
    "base64": lambda value: b64encode(value.encode()).decode(),
    "base64, no padding": lambda value: b64encode(value.encode()).decode().rstrip("="),
    "base64, for URLs": lambda value: urlsafe_b64encode(value.encode()).decode(),
    "base64 of a pair": pair("me"),
    "base64 of a pair, shifted": pair("you"),
    "base64 of a pair, shifted again": pair("user"),
}
MIXED: dict[str, Callable[[str], str]] = {
    "json, every letter": lambda value: "".join(
        f"\\u{unit:04x}" for unit in memoryview(value.encode("utf-16-le")).cast("H")
    ),
    "percent, every byte": lambda value: "".join(f"%{byte:02x}" for byte in value.encode()),
    "html, every letter": lambda value: "".join(f"&#x{ord(letter):x};" for letter in value),
    "html in percent": lambda value: quote(html.escape(value), safe=""),
    "json in json": lambda value: json.dumps(json.dumps(value).replace("/", "\\/"))[3:-3],
    "base64 in percent": lambda value: lower(quote(pair("me")(value), safe="")),
    "every other letter": lambda value: "".join(
        letter if number % 2 else quote(letter, safe="") for number, letter in enumerate(value)
    ),
}
SECRET = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('/+ %&é"\\=a:'), min_size=4, max_size=24
)


def conceal_only(secret: str) -> None:
    """What an example before this one concealed is no secret any more."""
    secrets._values, secrets._forms, secrets._plain_forms = frozenset(), (), ()
    secrets._edges.clear()
    conceal(secret)


def assert_gone(secret: str, spelled: str, text: str) -> None:
    assert spelled not in text or spelled in MASK
    assert secret not in text or secret in MASK
    for data in re.findall("[A-Za-z0-9+/]{4,}", text.translate(str.maketrans("-_", "+/"))):
        for start in range(4):
            part = data[start:]
            decoded = b64decode(part[: len(part) // 4 * 4])
            assert secret.encode() not in decoded


@pytest.mark.parametrize("spelling", WHOLE)
@given(secret=SECRET, before=st.text(max_size=12), after=st.text(max_size=12))
def test_no_usual_spelling_of_a_secret_is_left_in_any_text(spelling: str, secret: str, before: str, after: str) -> None:
    assume(secret not in before + after)
    conceal_only(secret)
    spelled = WHOLE[spelling](secret)
    masked = redact(f"{before}{spelled}{after}")
    assert MASK in masked
    assert_gone(secret, spelled, masked)


@pytest.mark.parametrize("spelling", MIXED)
@given(secret=SECRET, before=st.text("ab .:=/", max_size=12), after=st.text("xy .:=", max_size=12))
def test_no_mixed_spelling_of_a_secret_is_left(spelling: str, secret: str, before: str, after: str) -> None:
    assume(len(unescaped(secret).strip()) >= 4)
    conceal_only(secret)
    spelled = MIXED[spelling](secret)
    masked = redact(f"{before}{spelled}{after}")
    assert MASK in masked
    assert_gone(secret, spelled, masked)


@given(st.text(st.characters() | st.sampled_from("%&\\;u0x+="), max_size=60))
def test_a_text_without_a_secret_stays_as_it_is(text: str) -> None:
    conceal("a/secret+that is nowhere", "ünother")
    assert redact(text) == text


def test_only_the_secret_is_masked() -> None:
    conceal("s3cr/t +é")
    basic = b64encode(b"somebody:s3cr/t +\xc3\xa9:and more").decode()
    assert redact(f"Basic {basic}, next") == f"Basic {basic[:12]}***{basic[26:]}, next"
    assert redact("https://api/x?a=%25&key=s3cr%2ft+%2B%C3%A9&b=%2f") == "https://api/x?a=%25&key=***&b=%2f"
    assert redact('{"a": "\\u00e9", "key": "s3cr\\/t \\u002b\\u00E9"}') == '{"a": "\\u00e9", "key": "***"}'
    assert redact("&lt;s3cr&#47;t&nbsp;&lt;s3cr&#47;t &plus;&eacute;&gt;") == "&lt;s3cr&#47;t&nbsp;&lt;***&gt;"
