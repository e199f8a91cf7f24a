"""Recorded answers of GitHub and PokeAPI, and configurations as they are written for dlt, older spellings included."""

from __future__ import annotations

from typing import Any

from differential.scenario import Scenario

OPEN_FRAMEWORKS, PYGITHUB = "openframeworks/openFrameworks", "PyGithub/PyGithub"


def untouched(server: Any, load: int) -> None:
    """Both loads meet the same answers."""


def edited(repository: str, *numbers: int) -> Any:
    """Before the second load, these issues are edited and another one is added."""

    def serve(server: Any, load: int) -> None:
        server.reset()
        if load > 1:
            for number in numbers:
                server.edit("touch", repo=repository, number=number, title="Edited", updated_at="2030-01-01T00:00:00Z")
            server.edit("add", repo=repository, title="Added", updated_at="2030-01-01T00:00:00Z")

    return serve


def github(repository: str, issues: dict[str, Any], *others: dict[str, Any], **defaults: Any) -> Any:
    """Issues of a repository, and what hangs on them."""
    return lambda url: {
        "client": {"base_url": f"{url}/repos/{repository}/", "auth": {"type": "bearer", "token": "any"}},
        "resource_defaults": {"primary_key": "id", "write_disposition": "merge", **defaults},
        "resources": [{"name": "issues", **issues}, *others],
    }


def pokeapi(*resources: Any, **defaults: Any) -> Any:
    return lambda url: {
        "client": {"base_url": f"{url}/api/v2/"},
        "resource_defaults": defaults,
        "resources": list(resources),
    }


SINCE = {"cursor_path": "updated_at", "initial_value": "2000-01-01T00:00:00Z"}
COMMENTS = {
    "name": "comments",
    "endpoint": {"path": "issues/{resources.issues.number}/comments"},
    "include_from_parent": ["number"],
}
NAMED = {"keys": {"pokemon": ("name",), "berry": ("name",), "location": ("name",)}}

SCENARIOS = (
    Scenario(
        name="recorded_pokeapi",
        config=pokeapi(
            "pokemon", "berry", "location", write_disposition="replace", endpoint={"params": {"limit": 1000}}
        ),
        serve=untouched,
        recorded=True,
        **NAMED,
    ),
    Scenario(
        name="recorded_pokeapi_details",
        config=pokeapi(
            {"name": "berry", "endpoint": {"params": {"limit": 1000}}},
            {
                "name": "berry_details",
                "primary_key": "id",
                "write_disposition": "merge",
                "endpoint": "berry/{resources.berry.name}",
            },
            {
                "name": "pokemon_types",
                "primary_key": "id",
                "write_disposition": "merge",
                "endpoint": "type/{resources.types.name}",
            },
            {"name": "types", "endpoint": {"path": "type", "params": {"limit": 1000}}, "selected": False},
            write_disposition="replace",
        ),
        serve=untouched,
        recorded=True,
        **NAMED,
    ),
    Scenario(
        name="recorded_github_issues",
        config=github(
            OPEN_FRAMEWORKS,
            {
                "endpoint": {
                    "path": "issues",
                    "params": {"state": "all", "per_page": 50, "sort": "updated", "direction": "asc"},
                }
            },
        ),
        serve=edited(OPEN_FRAMEWORKS, 6155, 6157),
        recorded=True,
    ),
    Scenario(
        name="recorded_github_incremental",
        config=github(
            OPEN_FRAMEWORKS,
            {
                "endpoint": {
                    "path": "issues",
                    "params": {
                        "state": "all",
                        "per_page": 50,
                        "sort": "updated",
                        "direction": "asc",
                        "since": "{incremental.start_value}",
                    },
                    "incremental": SINCE,
                }
            },
        ),
        serve=edited(OPEN_FRAMEWORKS, 6155, 6157),
        recorded=True,
    ),
    Scenario(
        name="recorded_github_comments",
        config=github(
            PYGITHUB,
            {"endpoint": {"path": "issues", "params": {"state": "all", "per_page": 50}}},
            COMMENTS,
        ),
        serve=untouched,
        recorded=True,
    ),
    Scenario(
        name="recorded_github_append",
        config=github(
            PYGITHUB,
            {"endpoint": {"path": "issues", "params": {"state": "open", "per_page": 100}}},
            write_disposition="append",
        ),
        serve=untouched,
        recorded=True,
    ),
    # ---- older spellings ---------------------------------------------------------------------------------------------
    Scenario(
        name="older_spellings_github",
        config=lambda url: {
            "client": {"base_url": f"{url}/repos/{PYGITHUB}/", "auth": {"token": "any"}, "paginator": "header_link"},
            "resource_defaults": {
                "primary_key": "id",
                "write_disposition": "merge",
                "endpoint": {"params": {"per_page": 100}},
            },
            "resources": [
                {
                    "name": "issues",
                    "endpoint": {
                        "path": "issues",
                        "params": {
                            "sort": "updated",
                            "direction": "desc",
                            "state": "all",
                            "since": {
                                "type": "incremental",
                                "cursor_path": "updated_at",
                                "initial_value": "2000-01-25T11:21:28Z",
                            },
                        },
                    },
                },
                {
                    "name": "issue_comments",
                    "endpoint": {
                        "path": "issues/{issue_number}/comments",
                        "params": {"issue_number": {"type": "resolve", "resource": "issues", "field": "number"}},
                    },
                    "include_from_parent": ["id"],
                },
            ],
        },
        serve=edited(PYGITHUB, 3372),
        recorded=True,
    ),
    Scenario(
        name="older_spellings_pokeapi",
        config=lambda url: {
            "client": {
                "base_url": f"{url}/api/v2/",
                "paginator": {"type": "json_response", "next_url_path": "next"},
            },
            "resource_defaults": {"write_disposition": "replace"},
            "resources": [
                {"name": "berry", "endpoint": {"path": "berry", "params": {"limit": 1000}}, "parallelized": True},
                {
                    "name": "berry_list",
                    "write_disposition": {"disposition": "merge", "strategy": "upsert"},
                    "primary_key": ["name"],
                    "endpoint": {
                        "path": "berry",
                        "data_selector": "results",
                        "paginator": {"type": "offset", "limit": 20, "total_path": "count"},
                    },
                },
                {
                    "name": "berry_details",
                    "endpoint": {
                        "path": "berry/{name}",
                        "params": {"name": {"type": "resolve", "resource": "berry", "field": "name"}},
                        "paginator": "single_page",
                        "data_selector": "$",
                    },
                },
            ],
        },
        serve=untouched,
        recorded=True,
        keys={**NAMED["keys"], "berry_list": ("name",)},
    ),
    Scenario(
        name="keyset_paging",
        config=lambda url: {
            "client": {"base_url": url},
            "resources": [
                {"name": "users", "endpoint": {"params": {"per_page": 30}}},
                {"name": "repositories", "endpoint": {"params": {"per_page": 30}}},
            ],
        },
        serve=untouched,
        recorded=True,
        loads=1,
    ),
)
