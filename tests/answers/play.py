"""Plays a walk against its world over real connections, and says what the model has against how it ended."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from answers.world import (
    LIST,
    PAGINATORS,
    SAYS_MORE,
    World,
    ends_with_a_sign,
    ids_that_come,
    is_answer,
    page_asked,
    passes_by_itself,
    sent,
)

from dagster_restapi.errors import RestApiError
from dagster_restapi.http.client import RestClient

TRIES = 3
_MOST = 200  # requests of one walk


@dataclass
class Stage:
    """The world that the server plays, and how often its odd answer has come."""

    world: World = field(default_factory=World)
    odd: int = 0
    asked: Counter[int] = field(default_factory=Counter)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    stage: Stage

    def do_GET(self) -> None:
        stage, world = self.stage, self.stage.world
        page = page_asked(world, dict(parse_qsl(urlsplit(self.path).query)))
        stage.asked[page] += 1
        odd = page == world.oddity.page and stage.odd < world.oddity.times and stage.asked.total() < _MOST
        stage.odd += odd
        answer = sent(world, page, odd)
        for status in answer.interim:
            self.send_response_only(status)
            self.send_header("Link", '</style.css>; rel="preload"')
            self.end_headers()
        without_body = answer.status in (204, 304)
        self.send_response_only(answer.status)
        headers = {"Content-Type": "application/json", **answer.headers}
        for name, value in headers.items() if without_body else {**headers, "Content-Length": len(answer.body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if not without_body:
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def theatre() -> Iterator[tuple[str, Stage]]:
    """A server on loopback, and the stage that it plays."""
    stage = Stage()
    handler = type("Handler", (_Handler,), {"stage": stage})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", stage
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Outcome:
    """How a walk ended."""

    ids: list[int | None]
    pages: int
    complete: bool
    warnings: tuple[str, ...]
    error: str | None


def play(url: str, stage: Stage, world: World) -> Outcome:
    """One walk."""
    stage.world, stage.odd, stage.asked = world, 0, Counter()
    place = {"auto odata 2": "d.results", "auto hal": "_embedded.items"}.get(
        world.scheme, LIST.get(world.scheme, "data")
    )
    pages, error = [], None
    retry = {"attempts": TRIES, "backoff": 0, "jitter": 0, "total": 20}
    with RestClient(url, retry=retry) as client:
        walk = client.paginate(
            "items",
            paginator=PAGINATORS.get(world.scheme, "auto"),
            data_selector=place if world.selector else None,
            missing_data="empty" if world.empty else "fail",
        )
        try:
            pages.extend(walk)
        except RestApiError as fault:
            error = str(fault)
    ids = [row.get("id") if isinstance(row, dict) else None for page in pages for row in page]
    complete = error is None and all(page.complete for page in pages)
    return Outcome(ids, len(pages), complete, tuple(text for page in pages for text in page.warnings), error)


def objection(world: World, outcome: Outcome, asked: Counter[int]) -> str | None:
    """What the model has against it; None: nothing."""
    odd_came = asked[world.oddity.page] > 0
    known = [number for number in outcome.ids if number is not None]
    if len(known) != len(set(known)):
        return "a row came twice"
    if asked.total() >= _MOST:
        return "the walk would not end"
    answer = is_answer(world)
    if outcome.complete and answer is not None:
        if not answer and odd_came and world.oddity.times > TRIES:
            return "complete, though an answer neither had rows nor said that there are none"
        if outcome.ids not in ids_that_come(world):
            return f"complete with other rows: {outcome.ids}"
    last_is_odd = outcome.pages == world.oddity.page and 0 < asked[world.oddity.page] <= world.oddity.times
    if outcome.complete and answer is not None and ends_with_a_sign(world, outcome.pages, odd=last_is_odd):
        return "complete, though the last answer says that more follows"
    fine = 200 <= world.oddity.status < 300 and world.oddity.status not in (204, 205)
    right = not odd_came or (world.oddity.body == "right" and fine and answer)
    passed = world.oddity.times < TRIES and passes_by_itself(world) and not answer
    if right or passed:
        if outcome.error is not None and world.sign not in SAYS_MORE:
            return "an error, though every answer was right in the end"
        if not outcome.complete and world.sign not in SAYS_MORE:
            return "incomplete, though every answer was right in the end, and none says that more follows"
    return None
