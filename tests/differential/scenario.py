"""What both sides load. Imports nothing that dlt's environment may lack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Served(Protocol):
    """The server that both sides ask."""

    @property
    def url(self) -> str:
        """Its address."""

    def route(self, path: str, answer: Any) -> None:
        """Answers a path with what a function gives, or always with the same."""


Config = Callable[[str], dict[str, Any]]
Serve = Callable[[Any, int], None]
Rows = Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One configuration, and the answers that it meets in one load after another.

    Attributes:
        config: The configuration for the server's address; called in both environments, once a load.
        later: The configuration from the second load on, where it is another one.
        serve: Makes the server answer as it does in the load of that number, from 1.
        keys: Table -> columns that tell its rows apart; elsewhere it is `id`.
        ranked: Columns that hold the time of a load: only the order of their values counts.
        refused: Loads that both sides refuse.
    """

    name: str
    config: Config
    serve: Serve
    later: Config | None = None
    loads: int = 2
    recorded: bool = False
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ranked: tuple[str, ...] = ()
    refused: tuple[int, ...] = ()

    def written(self, url: str, load: int) -> dict[str, Any]:
        """The configuration of a load."""
        return (self.later if self.later and load > 1 else self.config)(url)


def api(*resources: Any, **settings: Any) -> Config:
    """A configuration of these resources; keywords are `resource_defaults`, but for `client`."""
    client = settings.pop("client", {})
    defaults = {"resource_defaults": settings} if settings else {}
    return lambda url: {"client": {"base_url": url, **client}, **defaults, "resources": list(resources)}


def answers(**paths: Rows) -> Serve:
    """One answer a load for each path: `answers(items=([first], [second]))`; the last one stays."""

    def serve(server: Served, load: int) -> None:
        for path, bodies in paths.items():
            server.route(f"/{path}", bodies[min(load, len(bodies)) - 1])

    return serve
