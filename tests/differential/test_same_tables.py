"""The same configuration, the same server: tables and requests of dlt and of this library are equal, load after load.

What differs is declared in differences.yaml, under its line of docs/dlt.md: anything else is a defect, here or there.
"""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml
from differential.catalogue import SCENARIOS
from differential.database import DLT, HERE, differences, read
from differential.scenario import Scenario
from loopback import Api

Load = Callable[[Scenario, int, str, Path], str | None]
FOLDER = Path(__file__).resolve().parent
DOCUMENT = FOLDER.parent.parent / "docs" / "dlt.md"
DIFFERENCES: dict[str, dict[str, list[str]]] = yaml.safe_load((FOLDER / "differences.yaml").read_text())
"""The first cell of a line in docs/dlt.md -> scenario -> what it explains there."""
HEADERS = ("authorization", "cookie", "x-key", "x-trace")
"""Those that a configuration sets, here."""


class Loopback:
    """Answers as the scenario says."""

    def __init__(self, api: Api) -> None:
        self._api, self.url, self.route = api, api.url, api.route

    def requests(self) -> list[str]:
        """What was asked since the last time."""
        asked = [
            worded(r.method, r.path, [(name, value) for name, values in r.queries.items() for value in values], r.body)
            + "".join(f" {name}: {r.headers[name]}" for name in HEADERS if name in r.headers)
            for r in self._api.requests
        ]
        self._api.requests.clear()
        return asked


class Recorded:
    """The server of recorded answers; a scenario edits them."""

    def __init__(self, url: str) -> None:
        self.url, self._seen = url, 0

    def reset(self) -> None:
        """Drops all edits and the log."""
        self.edit("reset")
        self._seen = 0

    def edit(self, action: str, **query: Any) -> None:
        """Calls one of the server's controls."""
        asked = f"{self.url}/_{action}?{'&'.join(f'{name}={value}' for name, value in query.items())}"
        urllib.request.urlopen(urllib.request.Request(asked, method="POST"), timeout=30).close()

    def requests(self) -> list[str]:
        """What was asked since the last time."""
        with urllib.request.urlopen(f"{self.url}/_log", timeout=30) as answer:
            log = json.load(answer)
        new, self._seen = log[self._seen :], len(log)
        parts = [(entry, urlsplit(entry["path"])) for entry in new]
        return [worded(e["method"], p.path, parse_qsl(p.query, True), e["body"].encode()) for e, p in parts]


def worded(method: str, path: str, query: Iterable[tuple[str, str]], body: bytes) -> str:
    """A request, whatever the order of its parameters."""
    parameters = "&".join(f"{name}={value}" for name, value in sorted(query))
    text = body.decode()
    if text.startswith(("{", "[")):
        text = json.dumps(json.loads(body), sort_keys=True)
    return f"{method} {path}{'?' * bool(parameters)}{parameters} {text}".strip()


def unlike(dlt: list[str], here: list[str]) -> Iterator[str]:
    """Requests that only one side made, or made more often."""
    for where, more in (("only in dlt", Counter(dlt) - Counter(here)), ("only here", Counter(here) - Counter(dlt))):
        for asked, times in sorted(more.items()):
            yield f"request {where}: {asked}{f' ({times} times)' if times > 1 else ''}"


def found_in(scenario: Scenario, server: Any, folder: Path, dlt: Load, here: Load) -> Iterator[str]:
    """Loads on both sides, as often as the scenario says, and words each difference."""
    for number in range(1, scenario.loads + 1):
        errors, asked = [], []
        for load in (dlt, here):
            scenario.serve(server, number)
            server.requests()
            errors.append(load(scenario, number, server.url, folder))
            asked.append(server.requests())
        if bool(errors[0]) != bool(errors[1]) or all(errors) != (number in scenario.refused):
            yield f"{number}: {errors[0] or 'success'} in dlt, {errors[1] or 'success'} here"
        tables = [
            read(folder / f"{side}.duckdb", dialect, scenario.keys, scenario.ranked)
            for side, dialect in (("dlt", DLT), ("here", HERE))
        ]
        if not any(errors) and not (any(tables) and any(asked)):
            yield f"{number}: nothing was asked for, or nothing was loaded"
        for text in (*unlike(*asked), *differences(*tables)):
            yield f"{number}: {text}"


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_sides_do_the_same_but_for_what_is_documented(
    name: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    load_with_dlt: Load,
    load_with_dagster: Load,
) -> None:
    scenario = SCENARIOS[name]
    server: Any
    if scenario.recorded:
        server = Recorded(request.getfixturevalue("replay")())
    else:
        server = Loopback(request.getfixturevalue("api"))
    folder = tmp_path / "tables"
    folder.mkdir()

    found = list(found_in(scenario, server, folder, load_with_dlt, load_with_dagster))

    declared = Counter(text for shown in DIFFERENCES.values() for text in shown.get(name, ()))
    new, gone = Counter(found) - declared, declared - Counter(found)
    assert not new | gone, "\n".join(
        ["", *(f"not declared: {text}" for text in new.elements()), *(f"not found: {text}" for text in gone.elements())]
    )


def test_every_declared_difference_has_its_line_in_the_documentation() -> None:
    lines = {line.split(" | ")[0].removeprefix("| ") for line in DOCUMENT.read_text().splitlines()}
    assert [line for line in DIFFERENCES if line not in lines] == []
    assert [name for shown in DIFFERENCES.values() for name in shown if name not in SCENARIOS] == []
