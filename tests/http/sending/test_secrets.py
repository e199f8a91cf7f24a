"""A canary in every place where a secret can stand, and every place where it must not be seen."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from canary import MARK, assert_clean, places

from dagster_restapi.config.client import ClientConfig
from dagster_restapi.errors import RestApiError
from dagster_restapi.http.session import Call, Meter, Session


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
