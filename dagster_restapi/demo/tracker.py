"""The sample API's data: a small issue tracker, the same for the same seed, that can be changed while it is served."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

Row = dict[str, Any]
Collection = Literal["repositories", "users", "issues", "comments", "events"]
COLLECTIONS: tuple[Collection, ...] = get_args(Collection)

_ISO = "%Y-%m-%dT%H:%M:%SZ"
_START = datetime(2024, 1, 1, 8, tzinfo=UTC)
_LANGUAGES = ("Python", "Rust", "Go", "SQL", None)
_TOPICS = ("cli", "database", "docs", "http", "parser", "scheduler", "ui")
_LABELS = (("bug", "d73a4a"), ("documentation", "0075ca"), ("enhancement", "a2eeef"), ("performance", "fbca04"))
_VERBS = ("crashes", "hangs", "is slow", "loses a row", "prints twice", "forgets its settings", "rounds down")
_MOMENTS = ("on start", "after an upgrade", "with an empty file", "behind a proxy", "on a full disk", "at midnight")
# fmt: off
_REPOSITORIES = (
    "anvil", "bellows", "crucible", "drawbar", "easel", "flywheel", "gimbal", "hinge", "ingot", "jig", "keel", "lathe",
    "mallet", "nozzle", "outrigger", "pulley", "quiver", "ratchet", "spindle", "trowel",
)
_GIVEN = ("Ada", "Bela", "Chidi", "Dilnoza", "Emre", "Freja", "Goro", "Hana", "Inés", "Jonas", "Kaito", "Lena", "Noor")
_FAMILY = ("Arslan", "Brandt", "Castillo", "Dvořák", "Eze", "Grönlund", "Hoang", "Ivanova", "Jensen", "Kim", "Olu")
_WORDS = (
    "steps", "and", "logs", "are", "below", "it", "worked", "in", "the", "last", "release", "but", "fails", "every",
    "time", "since", "then",
)
# fmt: on


class Tracker:
    """Rows of every collection, in order of their ids, behind one lock.

    Its clock never asks the machine: every change is one second later than the newest row.

    Args:
        seed: Chooses the data; the same seed gives the same rows on every machine.
        repositories: How many repositories, at most 20.
        issues_per_repository: On average; real numbers differ by half.
        users: How many users.
    """

    def __init__(
        self, *, seed: int = 1, repositories: int = 12, issues_per_repository: int = 30, users: int = 60
    ) -> None:
        if not 1 <= repositories <= len(_REPOSITORIES):
            raise ValueError(f"repositories must be between 1 and {len(_REPOSITORIES)}")
        if users < 1 or issues_per_repository < 0:
            raise ValueError("users must be at least 1 and issues_per_repository at least 0")
        self.lock = threading.RLock()
        self._seed, self._sizes = seed, (repositories, issues_per_repository, users)
        self.reset()

    def reset(self) -> None:
        """Forgets every change."""
        with self.lock:
            self._dice = random.Random(self._seed)
            self._now = _START
            self._numbers: dict[str, int] = {}  # repository -> its newest issue's number
            self.rows: dict[Collection, dict[int, Row]] = {name: {} for name in COLLECTIONS}
            repositories, issues, users = self._sizes
            for _ in range(users):
                self._new_user()
            for name in _REPOSITORIES[:repositories]:
                self._new_repository(name)
            sizes = [self._dice.randint(issues // 2, issues + issues // 2) for _ in range(repositories)]
            order = [name for name, size in zip(_REPOSITORIES, sizes, strict=False) for _ in range(size)]
            self._dice.shuffle(order)
            for repository in order:
                self._live_through(self._new_issue(repository))

    # ---- reading -------------------------------------------------------------------------------------------------
    def counts(self) -> dict[str, int]:
        """How many rows each collection has."""
        with self.lock:
            return {name: len(rows) for name, rows in self.rows.items()}

    def listing(self, collection: Collection) -> list[Row]:
        """The rows in order of their ids; a changed row is a new dict, so a listing never changes."""
        with self.lock:
            return list(self.rows[collection].values())

    def issue(self, repository: str, number: int) -> Row | None:
        """One issue by its repository and number."""
        with self.lock:
            found = (r for r in self.rows["issues"].values() if (r["repository"], r["number"]) == (repository, number))
            return next(found, None)

    # ---- changing ------------------------------------------------------------------------------------------------
    def add(self, collection: Collection, fields: Mapping[str, Any]) -> Row:
        """Adds a row; what `fields` leaves out is made up.

        Adding an issue or a comment is also told as an event, and a comment touches its issue, as in a real tracker.

        Raises:
            LookupError: `fields` names a repository or an issue that does not exist.
            ValueError: A time stamp in `fields` is none.
        """
        with self.lock:
            self._move_clock(fields)
            row = self._make(collection, fields)
            row = self.rows[collection][row["id"]] = {**row, **fields, "id": row["id"]}
            return row

    def touch(self, collection: Collection, row_id: int, fields: Mapping[str, Any]) -> Row:
        """Changes a row. Unless `fields` has an `updated_at` (a tie, or the past), it is the newest plus one second.

        Raises:
            LookupError: There is no such row.
            ValueError: A time stamp in `fields` is none.
        """
        with self.lock:
            row = self._row(collection, row_id)
            self._move_clock(fields)
            stamp = {"updated_at": self._tick()} if "updated_at" in row and "updated_at" not in fields else {}
            changed = self.rows[collection][row_id] = {**row, **stamp, **fields, "id": row_id}
            if collection == "issues":
                self._tell("edited", changed, {"fields": sorted(fields)})
            return changed

    def delete(self, collection: Collection, row_id: int) -> Row:
        """Removes a row, and leaves what points to it.

        Raises:
            LookupError: There is no such row.
        """
        with self.lock:
            row = self._row(collection, row_id)
            del self.rows[collection][row_id]
            return row

    def _row(self, collection: Collection, row_id: int) -> Row:
        row = self.rows[collection].get(row_id)
        if row is None:
            raise LookupError(f"there is no row {row_id} in {collection}")
        return row

    def _make(self, collection: Collection, fields: Mapping[str, Any]) -> Row:
        if collection == "users":
            return self._new_user()
        if collection == "repositories":
            number = len(self.rows["repositories"]) + 1
            return self._new_repository(str(fields.get("name", f"workshop-{number}")))
        if collection == "issues":
            return self._new_issue(self._repository_named(fields.get("repository")))
        issue = self._issue_of(fields)
        if collection == "comments":
            return self._new_comment(issue)
        return self._tell(str(fields.get("type", "pinged")), issue, {})

    def _repository_named(self, name: object) -> str:
        names = [str(row["name"]) for row in self.rows["repositories"].values()]
        if name is None:
            return names[0]
        if name not in names:
            raise LookupError(f"there is no repository {name}")
        return str(name)

    def _issue_of(self, fields: Mapping[str, Any]) -> Row:
        if "issue_number" not in fields:
            return next(reversed(self.rows["issues"].values()))
        found = self.issue(self._repository_named(fields.get("repository")), int(fields["issue_number"]))
        if found is None:
            raise LookupError(f"there is no issue {fields['issue_number']} in {fields.get('repository')}")
        return found

    # ---- making rows ---------------------------------------------------------------------------------------------
    def _tick(self, seconds: float = 1.0) -> str:
        self._now += timedelta(seconds=seconds)
        return self._now.strftime(_ISO)

    def _move_clock(self, fields: Mapping[str, Any]) -> None:
        """No later change is older than a time stamp that was given by hand."""
        for name in ("created_at", "updated_at"):
            if name in fields:
                given = datetime.fromisoformat(str(fields[name]))
                given = given if given.tzinfo else given.replace(tzinfo=UTC)
                self._now = max(self._now, given.astimezone(UTC))

    def _next_id(self, collection: Collection) -> int:
        return max(self.rows[collection], default=0) + 1

    def _person(self) -> Row:
        user = self._dice.choice(list(self.rows["users"].values()))
        return {"id": user["id"], "login": user["login"], "type": user["type"]}

    def _some(self, choices: Iterable[Any], most: int) -> list[Any]:
        choices = list(choices)
        return sorted(self._dice.sample(choices, self._dice.randint(0, min(most, len(choices)))))

    def _new_user(self) -> Row:
        user_id = self._next_id("users")
        given, family = self._dice.choice(_GIVEN), self._dice.choice(_FAMILY)
        bot = user_id % 20 == 0
        login = f"{given.lower()}-{user_id}" if not bot else f"robot-{user_id}"
        row = {
            "id": user_id,
            "login": login,
            "type": "Bot" if bot else "User",
            "name": None if bot else f"{given} {family}",
            "email": f"{login}@example.org" if self._dice.random() < 0.6 else None,
            "site_admin": user_id == 1,
            "created_at": self._tick(3600),
        }
        self.rows["users"][user_id] = row
        return row

    def _new_repository(self, name: str) -> Row:
        repository_id = self._next_id("repositories")
        created = self._tick(3600)
        row = {
            "id": repository_id,
            "name": name,
            "owner": self._person(),
            "description": f"Everything about the {name}",
            "language": self._dice.choice(_LANGUAGES),
            "topics": self._some(_TOPICS, 3),
            "private": False,
            "stars": int(self._dice.paretovariate(0.7) * 10),
            "created_at": created,
            "updated_at": created,
        }
        self.rows["repositories"][repository_id] = row
        return row

    def _new_issue(self, repository: str) -> Row:
        issue_id = self._next_id("issues")
        created = self._tick(self._dice.randint(600, 7200))
        number = self._numbers[repository] = self._numbers.get(repository, 0) + 1
        row = {
            "id": issue_id,
            "number": number,
            "repository": repository,
            "title": f"{repository.capitalize()} {self._dice.choice(_VERBS)} {self._dice.choice(_MOMENTS)}",
            "body": None if self._dice.random() < 0.1 else self._text(),
            "state": "open",
            "locked": False,
            "user": self._person(),
            "labels": [
                {"id": label_id, "name": label, "color": color}
                for label_id, (label, color) in self._some(enumerate(_LABELS, start=1), 3)
            ],
            "assignees": [self._person() for _ in range(self._dice.choice((0, 0, 1, 2)))],
            "milestone": {"title": f"v{self._dice.randint(1, 4)}.0"} if self._dice.random() < 0.3 else None,
            "reactions": {"total": (hearts := self._dice.randint(0, 5)) + 2, "heart": hearts, "rocket": 2},
            "comments": 0,
            "created_at": created,
            "updated_at": created,
            "closed_at": None,
        }
        self.rows["issues"][issue_id] = row
        self._tell("opened", row, {"title": row["title"]})
        return row

    def _new_comment(self, issue: Row) -> Row:
        comment_id = self._next_id("comments")
        created = self._tick(self._dice.randint(1, 600))
        row = {
            "id": comment_id,
            "repository": issue["repository"],
            "issue_number": issue["number"],
            "user": self._person(),
            "body": self._text(),
            "created_at": created,
            "updated_at": created,
        }
        self.rows["comments"][comment_id] = row
        touched = {**issue, "comments": issue["comments"] + 1, "updated_at": created}
        self.rows["issues"][issue["id"]] = touched
        self._tell("commented", touched, {"comment": {"id": comment_id, "words": len(row["body"].split())}})
        return row

    def _tell(self, kind: str, issue: Row, payload: Row) -> Row:
        event_id = self._next_id("events")
        row = {
            "id": event_id,
            "type": kind,
            "repository": issue["repository"],
            "issue_number": issue["number"],
            "actor": self._person(),
            "payload": payload,
            "created_at": self._now.strftime(_ISO),
        }
        self.rows["events"][event_id] = row
        return row

    def _live_through(self, issue: Row) -> None:
        """What happens to an issue: a few comments, and for most of them the end."""
        for _ in range(self._dice.choice((0, 0, 1, 1, 2, 3, 5))):
            self._new_comment(self.rows["issues"][issue["id"]])
        if self._dice.random() < 0.6:
            closed = self._tick(60)
            row = self.rows["issues"][issue["id"]]
            self.rows["issues"][issue["id"]] = {**row, "state": "closed", "closed_at": closed, "updated_at": closed}
            self._tell("closed", issue, {"reason": self._dice.choice(("completed", "not planned"))})

    def _text(self) -> str:
        return " ".join(self._dice.sample(_WORDS, self._dice.randint(6, len(_WORDS)))).capitalize() + "."
