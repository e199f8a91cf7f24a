"""The answers of the benchmark's API, as bytes: made once, so that serving one costs next to nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache
from typing import Any

FLAT_ROWS, FLAT_PER_PAGE = 50_000, 100
NESTED_ROWS, NESTED_PER_PAGE = 50_000, 100
MILLION_ROWS, MILLION_PER_PAGE = 1_000_000, 1_000
CHANGED_EVERY = 10  # of the million rows, one in so many is changed afterwards
PARENTS, PARENTS_PER_PAGE, CHILDREN_EACH = 1_000, 100, 5
SLOW_PAGES, SLOW_PER_PAGE = 500, 100

_COUNTRIES = ("de", "fr", "gb", "it", "jp", "us")
_WORDS = [
    "asset",
    "partition",
    "cursor",
    "retry",
    "schema",
    "sensor",
    "schedule",
    "table",
    "column",
    "backfill",
    "upstream",
    "downstream",
    "config",
    "resource",
    "run",
    "launcher",
    "executor",
    "daemon",
    "webserver",
    "metadata",
    "event",
    "log",
    "storage",
    "process",
    "thread",
    "memory",
    "answer",
    "request",
    "page",
    "token",
]


def moment(seconds: int) -> str:
    """An instant as APIs write it, so many seconds after the benchmark's beginning of time."""
    day, second = divmod(seconds, 86_400)
    return f"{_day(day)}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"


@cache
def _day(number: int) -> str:
    return (date(2024, 1, 1) + timedelta(days=number)).isoformat()


def flat_row(number: int, changed: bool = False) -> str:
    """One row of ten scalars, about 210 bytes of JSON."""
    seconds = number + (MILLION_ROWS if changed else 0)
    note = "null" if number % 3 else f'"note {number}"'
    return (
        f'{{"id":{number},"name":"Customer {number}","email":"customer{number}@example.com",'
        f'"country":"{_COUNTRIES[number % 6]}","active":{"true" if number % 4 else "false"},'
        f'"score":{number % 1000 / 8 + changed},"visits":{number * 7 % 1000},"note":{note},'
        f'"created_at":"{moment(number)}","updated_at":"{moment(seconds)}"}}'
    )


def _user(draw: random.Random) -> dict[str, Any]:
    number = draw.randrange(2_000)
    url = f"https://api.example.com/users/user{number}"
    return {
        "login": f"user{number}",
        "id": number,
        "avatar_url": f"https://avatars.example.com/u/{number}?v=4",
        "url": url,
        "followers_url": f"{url}/followers",
        "repos_url": f"{url}/repos",
        "type": "User",
        "site_admin": False,
    }


def _label(draw: random.Random) -> dict[str, Any]:
    number = draw.randrange(60)
    return {
        "id": number,
        "url": f"https://api.example.com/repos/example/tracker/labels/{number}",
        "name": f"area: {_WORDS[number % len(_WORDS)]}",
        "color": f"{number * 4099:06x}",
        "default": number % 7 == 0,
        "description": None if number % 3 else f"Everything about {_WORDS[number % len(_WORDS)]}",
    }


@cache
def _people() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    draw = random.Random(7)
    return [_user(draw) for _ in range(500)], [_label(draw) for _ in range(200)]


def issue(number: int) -> dict[str, Any]:
    """One record like an issue of GitHub's: three objects, two lists of objects, about 1.8 kB of JSON."""
    draw = random.Random(number)
    users, labels = _people()
    url = f"https://api.example.com/repos/example/tracker/issues/{number}"
    closed = draw.random() < 0.6
    return {
        "id": 10_000_000 + number,
        "number": number,
        "url": url,
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "title": " ".join(draw.choices(_WORDS, k=7)),
        "user": draw.choice(users),
        "labels": draw.sample(labels, draw.randrange(5)),
        "state": "closed" if closed else "open",
        "locked": draw.random() < 0.02,
        "assignees": draw.sample(users, draw.choice((0, 0, 1, 1, 2))),
        "milestone": {"number": draw.randrange(20), "title": "next", "due_on": moment(number * 90)}
        if draw.random() < 0.3
        else None,
        "comments": draw.randrange(40),
        "created_at": moment(number * 60),
        "updated_at": moment(number * 61),
        "closed_at": moment(number * 62) if closed else None,
        "author_association": draw.choice(("NONE", "MEMBER", "CONTRIBUTOR")),
        "reactions": {
            "url": f"{url}/reactions",
            "total_count": draw.randrange(9),
            "+1": draw.randrange(9),
            "-1": 0,
            "laugh": 0,
            "heart": draw.randrange(3),
            "share": draw.randrange(1, 100) / 8,
        },
        "body": " ".join(draw.choices(_WORDS, k=36)),
    }


def _answer(body: str) -> bytes:
    data = body.encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data)


def _page(rows: list[str], more: str) -> bytes:
    return _answer(f'{{"results":[{",".join(rows)}]{more}}}')


def linked(url: str, rows: Iterator[str], total: int, per_page: int) -> list[bytes]:
    """Pages that name the next one by its URL.

    Args:
        url: Of the collection, with a `?` and whatever parameters its links keep.
    """
    pages = -(-total // per_page)
    links = [f',"next":"{url}page={number + 1}"' for number in range(1, pages)] + [',"next":null']
    return [
        _page([next(rows) for _ in range(min(per_page, total - at * per_page))], link) for at, link in enumerate(links)
    ]


class Pages:
    """Every answer of the benchmark's API, by path; a path is made when it is first asked for.

    Args:
        url: Of the server, for the links.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    @cache  # noqa: B019  # one object a process
    def collection(self, name: str, since: str | None) -> list[bytes]:
        """The pages of a collection.

        Args:
            since: The cursor that was asked from, inclusive as GitHub has it; None: all rows.

        Raises:
            LookupError: There is no such collection.
        """
        match name:
            case "flat":
                return self._flat(since)
            case "nested":
                rows = (json.dumps(issue(number), separators=(",", ":")) for number in range(NESTED_ROWS))
                return linked(f"{self._url}/nested?", rows, NESTED_ROWS, NESTED_PER_PAGE)
            case "million":
                return self._million(since)
            case "parents":
                rows = (f'{{"id":{number},"name":"Parent {number}"}}' for number in range(PARENTS))
                return linked(f"{self._url}/parents?", rows, PARENTS, PARENTS_PER_PAGE)
            case "slow":
                counted = f',"total_pages":{SLOW_PAGES}'
                numbers = (range(at * SLOW_PER_PAGE, (at + 1) * SLOW_PER_PAGE) for at in range(SLOW_PAGES))
                return [_page([flat_row(number) for number in page], counted) for page in numbers]
        raise LookupError(name)

    @cache  # noqa: B019
    def children(self, parent: int) -> bytes:
        """The only page of one parent's children."""
        first = parent * CHILDREN_EACH
        return _page([flat_row(number) for number in range(first, first + CHILDREN_EACH)], "")

    def _flat(self, since: str | None) -> list[bytes]:
        url = f"{self._url}/flat?"
        if since is None or since < moment(FLAT_ROWS - 1):
            return linked(url, map(flat_row, range(FLAT_ROWS)), FLAT_ROWS, FLAT_PER_PAGE)
        return [_page([flat_row(FLAT_ROWS - 1)], ',"next":null')]

    def _million(self, since: str | None) -> list[bytes]:
        url = f"{self._url}/million?"
        if since is None or since < moment(MILLION_ROWS - 1):
            return linked(url, map(flat_row, range(MILLION_ROWS)), MILLION_ROWS, MILLION_PER_PAGE)
        rows = (flat_row(number, changed=True) for number in range(0, MILLION_ROWS, CHANGED_EVERY))
        return linked(f"{url}since={since}&", rows, MILLION_ROWS // CHANGED_EVERY, MILLION_PER_PAGE)
