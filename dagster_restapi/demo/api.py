"""The sample API's paths: filters, sorting, and one paging style for each kind of list."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from dagster_restapi.demo.tracker import Collection, Row, Tracker

_LARGEST_PAGE = 100


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers


class Query:
    """The query parameters of one request, each checked when it is asked for."""

    def __init__(self, text: str) -> None:
        self.given = dict(parse_qsl(text, keep_blank_values=True))

    def number(self, name: str, default: int, least: int = 0) -> int:
        """A whole number of at least `least`."""
        text = self.given.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise Refused(422, f"{name} must be a whole number of at least {least}")
        return int(text)

    def size(self, name: str) -> int:
        """A page size; too large a one is cut to what the API allows, as most APIs do."""
        return min(self.number(name, 30, least=1), _LARGEST_PAGE)

    def choice(self, name: str, *choices: str) -> str:
        """One of the words; the first where nothing is given."""
        value = self.given.get(name, choices[0])
        if value not in choices:
            raise Refused(422, f"{name} must be one of {', '.join(choices)}")
        return value

    def instant(self, name: str) -> datetime | None:
        """A moment in ISO 8601; without zone it is UTC."""
        text = self.given.get(name)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text.replace(" ", "+"))  # a plus sign that nobody encoded
        except ValueError:
            raise Refused(422, f"{name} must be a date and time in ISO 8601, such as 2024-01-31T12:00:00Z") from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Api:
    """Turns a path and its query into an answer: a JSON value and headers."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def get(self, base: str, path: str, query: Query) -> tuple[Any, dict[str, str]]:
        """Answers a GET.

        Raises:
            Refused: There is no such path or row, or a parameter is wrong.
        """
        match [unquote(part) for part in path.strip("/").split("/")]:
            case ["repositories"]:
                return self._repositories(query)
            case ["repositories", name]:
                return self._named("repositories", "name", name), {}
            case ["issues"]:
                return self._issues(base + path, query, self.tracker.listing("issues"))
            case ["repositories", name, "issues"]:
                self._named("repositories", "name", name)
                rows = [row for row in self.tracker.listing("issues") if row["repository"] == name]
                return self._issues(base + path, query, rows)
            case ["repositories", name, "issues", number]:
                return self._issue(name, number), {}
            case ["repositories", name, "issues", number, "comments"]:
                issue = self._issue(name, number)
                wanted = (issue["repository"], issue["number"])
                rows = self.tracker.listing("comments")
                rows = [row for row in rows if (row["repository"], row["issue_number"]) == wanted]
                return _linked(base + path, query, _ordered(rows, query, "asc"))
            case ["comments"]:
                return _linked(base + path, query, _ordered(self.tracker.listing("comments"), query, "asc"))
            case ["events"]:
                return self._events(query), {}
            case ["users"]:
                return self._users(query), {}
            case ["users", login]:
                return self._named("users", "login", login), {}
        raise Refused(404, f"There is nothing at {path}")

    def _named(self, collection: Collection, field: str, value: str) -> Row:
        found = next((row for row in self.tracker.listing(collection) if row[field] == value), None)
        if found is None:
            raise Refused(404, f"There is no {value} in {collection}")
        return found

    def _issue(self, repository: str, number: str) -> Row:
        self._named("repositories", "name", repository)
        found = self.tracker.issue(repository, int(number)) if number.isascii() and number.isdigit() else None
        if found is None:
            raise Refused(404, f"There is no issue {number} in {repository}")
        return found

    def _repositories(self, query: Query) -> tuple[Any, dict[str, str]]:
        rows = self.tracker.listing("repositories")
        page, size = query.number("page", 1, least=1), query.size("per_page")
        items = rows[(page - 1) * size : page * size]
        return {"items": items, "page": page, "total_pages": _pages(rows, size), "total": len(rows)}, {}

    def _users(self, query: Query) -> Any:
        rows = self.tracker.listing("users")
        offset, limit = query.number("offset", 0), query.size("limit")
        return {"users": rows[offset : offset + limit], "offset": offset, "limit": limit, "total": len(rows)}

    def _issues(self, url: str, query: Query, rows: list[Row]) -> tuple[Any, dict[str, str]]:
        state = query.choice("state", "all", "open", "closed")
        if state != "all":
            rows = [row for row in rows if row["state"] == state]
        return _linked(url, query, _ordered(rows, query, "desc"))

    def _events(self, query: Query) -> Any:
        limit = query.size("limit")
        after = _event_id(query.given["cursor"]) if query.given.get("cursor") else query.number("since_id", 0) - 1
        rows = [row for row in _within(self.tracker.listing("events"), query, "created_at") if row["id"] > after]
        more = len(rows) > limit
        return {"events": rows[:limit], "next_cursor": _token(rows[limit - 1]["id"]) if more else None}


def _token(event_id: int) -> str:
    return base64.urlsafe_b64encode(f"event:{event_id}".encode()).decode()


def _event_id(token: str) -> int:
    try:
        kind, number = base64.urlsafe_b64decode(token).decode("ascii").split(":")
        if kind == "event":
            return int(number)
    except (ValueError, binascii.Error):
        pass
    raise Refused(422, "cursor must be the next_cursor of an earlier answer")


def _pages(rows: list[Row], size: int) -> int:
    return max(1, -(-len(rows) // size))


def _within(rows: list[Row], query: Query, field: str) -> list[Row]:
    since, until = query.instant("since"), query.instant("until")
    if since is None and until is None:
        return rows
    moments = ((row, datetime.fromisoformat(row[field])) for row in rows)
    return [row for row, at in moments if (since is None or at >= since) and (until is None or at < until)]


def _ordered(rows: list[Row], query: Query, direction: str) -> list[Row]:
    """Rows inside since and until, by `sort`; rows of one moment are in order of their ids."""
    field = query.choice("sort", "created", "updated") + "_at"
    other = "asc" if direction == "desc" else "desc"
    descending = query.choice("direction", direction, other) == "desc"
    rows = _within(rows, query, "updated_at")
    return sorted(rows, key=lambda row: (row[field], row["id"]), reverse=descending)


def _linked(url: str, query: Query, rows: list[Row]) -> tuple[Any, dict[str, str]]:
    """One page with a Link header (RFC 8288); none where everything fits on it, as GitHub does."""
    page, size = query.number("page", 1, least=1), query.size("per_page")
    last = _pages(rows, size)
    targets = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
    wanted = (["next", "last"] if page < last else []) + (["prev", "first"] if page > 1 else [])
    links = [f'<{url}?{urlencode({**query.given, "page": targets[rel]})}>; rel="{rel}"' for rel in wanted]
    return rows[(page - 1) * size : page * size], {"Link": ", ".join(links)} if links else {}
