"""What every test of the command line needs: the command itself, and a server that answers as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner

from dagster_restapi.cli.main import main


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def table(self) -> dict[str, dict[str, str]]:
        """The first table of the output, by the first cell of each row."""
        lines = self.out.split("\n\n")[0].splitlines()
        names = lines[0].split("\t")
        rows = [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]
        return {row[names[0]]: row for row in rows}


Run = Callable[..., Ran]


@pytest.fixture
def run() -> Run:
    """Runs `dagster-restapi` with arguments, as in a pipe. Only errors of the program itself get through."""

    def ran(*arguments: object) -> Ran:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="dagster-restapi")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return ran


@dataclass
class Api:
    """A server: `pages` maps a path to its answer: JSON, text, (status, JSON), or (status, JSON, headers)."""

    url: str = ""
    pages: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def api() -> Iterator[Api]:
    """A server without pages."""
    made = Api()

    class Handler(BaseHTTPRequestHandler):
        timeout = 30

        def do_GET(self) -> None:
            made.asked.append(self.path)
            found = made.pages.get(self.path, made.pages.get(self.path.partition("?")[0], (404, {"message": "no"})))
            status, body, headers = (*found, {})[:3] if isinstance(found, tuple) else (200, found, {})
            data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", "Content-Length": len(data), **headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()
