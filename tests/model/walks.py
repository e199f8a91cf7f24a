"""From what the API has sent to the walks that a load is made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from model.look import INCLUDED, content_of
from model.settings import Settings
from model.spec import Held, Key, Walk
from model.world import Row, Sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What the walks of one slice are to bring.

    Attributes:
        low, high: Rows of this range, of a window or by hand; `high` does not belong to it.
        ordered: The resource says that rows come in the order of the cursor.
        pages: At most so many of each walk.
    """

    asset: str
    part: str | None
    window: bool
    incremental: bool
    missing: str
    low: int | None = None
    high: int | None = None
    ordered: bool = False
    pages: int | None = None

    def takes(self, row: Row) -> bool:
        """Whether a row that was sent belongs to the load."""
        if not self.incremental:
            return True
        if row.at is None:
            return self.missing == "include"
        return (self.low is None or row.at >= self.low) and (self.high is None or row.at < self.high)

    def is_answered_by(self, sent: Sent) -> bool:
        """Whether an answer is one to this slice."""
        if sent.asset != self.asset:
            return False
        if self.window and self.incremental:
            return (
                sent.since is not None and sent.until is not None and self.low is not None and self.high is not None
                and sent.since <= self.low and sent.until >= self.high
            )  # fmt: skip
        return sent.part in (None, self.part)


def key_of(path: str) -> Key:
    """A parent's key of a request's path, as the API wrote it."""
    text = unquote(path)
    return int(text) if text.isdigit() else text


def by_parent(answers: Iterable[Sent]) -> Mapping[Key | None, list[Sent]]:
    found: dict[Key | None, list[Sent]] = defaultdict(list)
    for sent in answers:
        found[None if sent.parent is None else key_of(sent.parent)].append(sent)
    return found


def held(
    row: Row, load: str = "", part: str | None = None, included: str | None = None, parent: Key | None = None
) -> Held:
    """A row as a table must hold it."""
    record = row.record
    base = content_of(record)
    content = base if included is None else content_of({**record, INCLUDED: included})
    return Held(part, content, base, str(record["id"]), row.at, load, True, parent)


def walk_of(answers: Sequence[Sent], ask: Ask, label: str, included: str | None, parent: Key | None = None) -> Walk:
    """The pages of a walk, from the last time that its first page came."""
    starts = [index for index, sent in enumerate(answers) if sent.token is None and sent.rows is not None]
    if not starts:
        return Walk((), "broken", any(sent.label != label for sent in answers))
    pages = {sent.token: sent for sent in answers[starts[-1] :]}
    rows: list[Row] = []
    labels, first = [], None
    token: str | None = None
    for number in range(10_000):
        sent = pages.get(token)
        if sent is None or sent.rows is None:
            state = "broken"
            break
        rows += sent.rows
        labels.append(sent.label)
        if sent.label == labels[0]:
            first = max((row.at for row in rows if row.at is not None), default=None)
        if sent.ignored:
            state = "cut" if number else "complete"
            break
        if sent.next is None or _is_behind(rows, ask):
            state = "complete"
            break
        if ask.pages is not None and number + 1 >= ask.pages:
            state = "cut"
            break
        token = sent.next
    chosen = tuple(held(row, "", ask.part, included, parent) for row in rows if ask.takes(row))
    resumed = any(one != label for one in labels)
    return Walk(chosen, state, resumed, first if resumed else None)


def _is_behind(rows: Sequence[Row], ask: Ask) -> bool:
    """Whether the order says that no later page has a row of the range."""
    moments = [row.at for row in rows if row.at is not None]
    return ask.ordered and ask.high is not None and bool(moments) and max(moments) >= ask.high


def include_of(settings: Settings, titles: Mapping[Key, str], key: Key | None) -> str | None:
    """What is included of a parent."""
    return titles.get(key) if settings.include and key is not None else None
