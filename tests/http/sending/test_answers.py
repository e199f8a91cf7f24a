"""Hostile or broken answers, and connections that cannot be had: refused in one clear error, or read."""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from dlt_lookalikes import client_session

from dagster_restapi.config.actions import ResponseAction
from dagster_restapi.errors import RequestError, ResponseError
from dagster_restapi.http.session import Answer, Call, Session

Connect = Callable[..., Session]
ROWS = [{"id": number} for number in range(50)]
BODY = b'[{"id": 1}]'


def send(session: Session, path: str = "items", method: str = "GET") -> Answer:
    answer = session.send(Call(method, session.url(path)), where="resource items")
    assert answer is not None
    return answer


# ---- compression and size ----------------------------------------------------------------------------------------
RAW_DEFLATE = zlib.compressobj(wbits=-15)
ENCODED = {
    "gzip": ("gzip", gzip.compress(BODY)),
    "x-gzip": ("x-gzip", gzip.compress(BODY)),
    "gzip-members": ("gzip", gzip.compress(BODY[:4]) + gzip.compress(BODY[4:])),
    "deflate": ("deflate", zlib.compress(BODY)),
    "raw-deflate": ("deflate", RAW_DEFLATE.compress(BODY) + RAW_DEFLATE.flush()),
    "twice": ("gzip, gzip", gzip.compress(gzip.compress(BODY))),
    "twice-said-once": ("gzip", gzip.compress(gzip.compress(BODY))),
    "unannounced": (None, gzip.compress(BODY)),
    "announced-but-plain": ("gzip", BODY),
    "identity": ("identity", BODY),
}


@pytest.mark.parametrize("name", ENCODED)
@pytest.mark.parametrize("chunked", [False, True])
def test_compressed_bodies_are_read(api: Any, connect: Connect, name: str, chunked: bool) -> None:
    encoding, body = ENCODED[name]
    headers = {"Content-Encoding": encoding} if encoding else {}
    api.route("/items", api.Reply(body, headers=headers, chunked=chunked))
    session = connect()
    assert send(session).json() == [{"id": 1}]
    assert session.meter.bytes == len(body)


def test_a_body_larger_than_the_limit_is_refused_before_it_is_read(api: Any, connect: Connect) -> None:
    api.route("/items", api.Reply(b"[" + b"1," * 50_000 + b"1]"))
    with pytest.raises(ResponseError, match=r"max_response_bytes \(10,000 bytes\)"):
        send(connect(max_response_bytes=10_000))
    assert len(api.requests) == 1


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}], ids=["chunked", "chunked-gzip"])
def test_a_body_without_a_length_is_bounded_too(api: Any, connect: Connect, headers: dict[str, str]) -> None:
    body = gzip.compress(b" " * 2**24) if headers else b" " * 100_000
    api.route("/items", api.Reply(body, headers=headers, chunked=True))
    with pytest.raises(ResponseError, match="max_response_bytes"):
        send(connect(max_response_bytes=20_000))


def test_a_gzip_bomb_is_not_blown_up(api: Any, connect: Connect) -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 2**25))
    api.route("/items", api.Reply(bomb, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(ResponseError, match="max_response_bytes"):
        send(connect(max_response_bytes=2**20))


@pytest.mark.parametrize("padding", [b"", b"\0" * 20_000])
def test_a_body_of_very_many_gzip_members_costs_no_more_than_its_length(
    api: Any, connect: Connect, padding: bytes
) -> None:
    body = (
        gzip.compress(b"") * 100_000 + padding + gzip.compress(BODY[:4]) + padding + gzip.compress(BODY[4:]) + padding
    )
    api.route("/items", api.Reply(body, headers={"Content-Encoding": "gzip"}))
    started = time.process_time()
    assert send(connect()).json() == [{"id": 1}]
    assert time.process_time() - started < 2  # each member used to cost a copy of all that lay behind it


def test_a_large_compressed_body_is_whole(api: Any, connect: Connect) -> None:
    rows = [{"id": number, "noise": f"{number * 2654435761 % 2**32:x}"} for number in range(50_000)]
    for encoding, compress in {"gzip": gzip.compress, "deflate": zlib.compress}.items():
        api.route("/items", api.Reply(compress(json.dumps(rows).encode()), headers={"Content-Encoding": encoding}))
        assert send(connect()).json() == rows


def test_an_encoding_that_nobody_asked_for_is_named(api: Any, connect: Connect) -> None:
    api.route("/items", api.Reply(b"xyz", headers={"Content-Encoding": "br"}))
    with pytest.raises(ResponseError, match="compressed as br"):
        send(connect())


# ---- what is no JSON ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("reply", [(204, b""), (200, b""), (200, b"  "), (304, b"")])
def test_an_empty_body_is_no_value(api: Any, connect: Connect, reply: Any) -> None:
    api.route("/items", reply)
    assert send(connect()).json() is None


def test_a_head_request_has_no_body(api: Any, connect: Connect) -> None:
    api.route("/items", ROWS)
    answer = send(connect(), method="HEAD")
    assert (answer.status, answer.body) == (200, b"")


def test_html_with_200_says_what_came_and_from_where(api: Any, connect: Connect) -> None:
    api.route("/items", api.Reply("<html><h1>Please log in</h1></html>", type="text/html"))
    with pytest.raises(ResponseError, match=rf"HTML page .*“Please log in”.*{api.url}/items"):
        send(connect()).json()


def test_json_of_another_type_is_read(api: Any, connect: Connect) -> None:
    api.route("/items", api.Reply([1], type="text/html"))
    assert send(connect()).json() == [1]


def test_link_headers_are_read(api: Any, connect: Connect) -> None:
    api.route("/items", (200, [], {"Link": '<https://x/?page=2>; rel="next", <https://x/?page=9>; rel="last"'}))
    links = send(connect()).links
    assert {name: link["url"] for name, link in links.items()} == {
        "next": "https://x/?page=2",
        "last": "https://x/?page=9",
    }


# ---- connections ---------------------------------------------------------------------------------------------------
def test_a_refused_connection(connect: Connect) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with pytest.raises(RequestError, match=r"refused the connection.*\[resource items GET .*\]\nCheck host and port"):
        send(connect(base_url=f"http://127.0.0.1:{port}", retry={"attempts": 2}))


def test_an_unknown_host(connect: Connect) -> None:
    with pytest.raises(RequestError, match=r"nowhere.invalid is not known \(DNS\)"):
        send(connect(base_url="http://nowhere.invalid", retry={"attempts": 1}))


def test_a_host_that_does_not_answer(connect: Connect) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        address = sock.getsockname()
        fillers = [socket.socket() for _ in range(4)]  # fill the queue: further connections hang
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        with pytest.raises(RequestError, match=r"could not be connected to within 0.2 s|sent nothing for 0.2 s"):
            send(connect(base_url=f"http://127.0.0.1:{address[1]}", timeout=0.2, retry={"attempts": 1}))
        for filler in fillers:
            filler.close()


def test_a_proxy_that_is_not_there(connect: Connect, monkeypatch: Any) -> None:
    monkeypatch.setenv("http_proxy", "http://me:proxy-word@127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(RequestError, match="the proxy could not be reached") as caught:
        send(connect(base_url="http://api.example", retry={"attempts": 1}))
    assert "proxy-word" not in str(caught.value)


def test_a_proxy_is_used_with_its_password(make_api: Any, connect: Connect, monkeypatch: Any) -> None:
    proxy = make_api()
    proxy.route("http://api.example/items", [1])
    proxy.route("/items", [1])
    monkeypatch.setenv("PROXY_WORD", "proxy-word")
    proxies = {"http": f"http://me:{{env.PROXY_WORD}}@{proxy.host}"}
    assert send(connect(base_url="http://api.example", proxies=proxies)).json() == [1]
    assert proxy.requests[0].headers["proxy-authorization"].startswith("Basic ")


def test_https_with_an_authority_of_ones_own(secure_api: Any, connect: Connect, authority_file: str) -> None:
    secure_api.route("/items", [1])
    assert send(connect(base_url=secure_api.url, verify=authority_file)).json() == [1]
    assert send(connect(base_url=secure_api.url, verify=False)).json() == [1]


def test_https_with_an_unknown_authority_names_the_remedy(secure_api: Any, connect: Connect) -> None:
    with pytest.raises(RequestError, match=r"certificate of .* is not trusted: .*\n.*`verify`"):
        send(connect(base_url=secure_api.url))


def test_https_spoken_to_a_server_that_speaks_http(api: Any, connect: Connect) -> None:
    with pytest.raises(RequestError, match="no TLS connection"):
        send(connect(base_url=api.url.replace("http:", "https:")))


def test_a_client_certificate_is_shown(secure_api: Any, connect: Connect, authority: Any, tmp_path: Path) -> None:
    mine = authority.issue_cert("me@example.org")
    path = tmp_path / "me.pem"
    mine.private_key_and_cert_chain_pem.write_to_path(str(path))
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    secure_api.route("/items", [1])
    assert send(connect(base_url=secure_api.url, verify=str(ca), cert=str(path))).json() == [1]
    with pytest.raises(RequestError, match="a file of TLS certificates or keys is not there"):
        send(connect(base_url=secure_api.url, verify=str(ca), cert=str(tmp_path / "missing.pem")))


def test_a_404_says_where_and_what_to_check(api: Any, connect: Connect) -> None:
    with pytest.raises(RequestError, match=rf"404.*no such path.*GET {api.url}/nothing\]\nCheck base_url and path"):
        send(connect(), "nothing")


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("https://x/v1", "items", "https://x/v1/items"),
        ("https://x/v1/", "/items", "https://x/v1/items"),
        ("https://x/v1/", "", "https://x/v1/"),
        ("https://x/v1", "items/", "https://x/v1/items/"),
        ("https://x/v1", "http://y/z", "http://y/z"),
        ("", "items", "items"),
    ],
)
def test_urls_are_joined_as_dlt_does(connect: Connect, base: str, path: str, url: str) -> None:
    assert connect(base_url=base).url(path) == url


def test_the_base_url_may_come_from_the_environment(api: Any, connect: Connect, monkeypatch: Any) -> None:
    monkeypatch.setenv("THE_API", api.url)
    monkeypatch.setenv("THE_HOST", api.host)
    session = connect(base_url="{env.THE_API}/v1")
    assert session.url("items") == f"{api.url}/v1/items"
    assert connect(base_url="http://{env.THE_HOST}").url("x") == f"{api.url}/x"
    with pytest.raises(RequestError, match=f"{api.url}/v1/items"):  # an address is no secret
        send(session)


def test_parameters_headers_and_bodies_arrive_as_given(api: Any, connect: Connect) -> None:
    api.route("/items", [])
    session = connect(headers={"X-A": "client", "X-B": "client"})
    params = {"q": "a b&c", "list": [1, 2], "none": None}
    session.send(Call("PATCH", session.url("items"), params=params, headers={"x-b": 7}, json={"ü": [1.5]}))
    (request,) = api.requests
    assert request.queries == {"q": ["a b&c"], "list": ["1", "2"]}
    assert (request.headers["x-a"], request.headers["x-b"]) == ("client", "7")
    assert request.json() == {"ü": [1.5]}
    assert request.method == "PATCH"


def test_an_encoded_path_segment_stays_one_segment(api: Any, connect: Connect) -> None:
    api.route("/items/a%2Fb%3Fx%23y", [1])
    assert send(connect(), "items/a%2Fb%3Fx%23y").json() == [1]


def test_a_header_that_cannot_be_sent_is_an_error(api: Any, connect: Connect) -> None:
    session = connect()
    with pytest.raises(RequestError, match="cannot be made"):
        session.send(Call("GET", session.url("items"), headers={"X": "a\r\nInjected: 1"}))
    with pytest.raises(RequestError, match="characters that cannot be sent"):
        session.send(Call("GET", session.url("items"), headers={"X": "a łetter"}))
    assert not api.requests


def test_a_users_session_sends_with_its_own_adapter(api: Any, connect: Connect) -> None:
    used: list[str] = []

    class Own(requests.adapters.HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            used.append(request.url)
            return super().send(request, *args, **kwargs)

    own = requests.Session()
    own.mount("http://", Own())
    api.route("/items", [1])
    session = connect(session=own)
    assert send(session).json() == [1]
    assert used == [f"{api.url}/items"]


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_session_of_dlts_sends_and_only_our_own_retries_count(api: Any, connect: Connect, attempts: int) -> None:
    own = client_session(attempts=5)
    own.headers["X-Own"] = "1"
    api.route("/items", (503, {}))
    session = connect(session=own, retry={"attempts": attempts, "backoff": 0})
    with pytest.raises(RequestError, match="status 503"):
        send(session)
    assert [request.headers["x-own"] for request in api.requests] == ["1"] * attempts
    assert session.meter.requests == attempts
    api.route("/items", (404, {}))
    rules = [ResponseAction(status_code=404, action="ignore")]
    assert session.send(Call("GET", session.url("items")), rules=rules) is None
