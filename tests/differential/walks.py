"""Parents and children, cursors, actions on answers, and steps over rows."""

from __future__ import annotations

import importlib
import json
from typing import Any

from differential.scenario import Scenario, Served, answers, api

REPOS = [{"id": 1, "name": "a", "owner": {"login": "o"}, "tags": ["x"]}, {"id": 2, "name": "b", "owner": None}]
ISSUES = {
    f"repos/{name}/issues": ([{"id": 10 * n + i, "number": i} for i in (1, 2)],) for n, name in ((1, "a"), (2, "b"))
}
DAYS = [
    {"id": 1, "at": "2024-01-01T00:00:00Z", "v": "a"},
    {"id": 2, "at": "2024-01-02T00:00:00Z", "v": "b"},
    {"id": 3, "at": "2024-01-03T00:00:00Z", "v": "c"},
]
LATER = [
    {"id": 3, "at": "2024-01-03T00:00:00Z", "v": "c"},
    {"id": 4, "at": "2024-01-03T00:00:00Z", "v": "tie"},
    {"id": 5, "at": "2024-01-04T00:00:00Z", "v": "e"},
]
SINCE = {"cursor_path": "at", "initial_value": "2024-01-01T00:00:00Z"}


def incremental(name: str, first: Any = DAYS, second: Any = LATER, **settings: Any) -> Scenario:
    """An endpoint that is asked since its cursor; options of the scenario and the resource are taken out."""
    own = {key: settings.pop(key) for key in ("keys", "refused", "loads") if key in settings}
    resource = {key: settings.pop(key) for key in ("write_disposition", "primary_key") if key in settings}
    endpoint = {"path": "items", **settings.pop("endpoint", {"params": {"since": "{incremental.start_value}"}})}
    return Scenario(
        name=f"incremental_{name}",
        config=api({"name": "items", **resource, "endpoint": {**endpoint, "incremental": {**SINCE, **settings}}}),
        serve=answers(items=(first, second)),
        **own,
    )


def family(name: str, child: dict[str, Any], parent: Any = "repos", **more: Any) -> Scenario:
    """A parent and its child."""
    served = {"repos": (REPOS,), **ISSUES, **more.pop("served", {})}
    return Scenario(
        name=f"family_{name}",
        config=api(parent, {"name": "issues", **child}),
        serve=answers(**served),
        **{"loads": 1, **more},
    )


def acted(name: str, actions: list[dict[str, Any]], *replies: Any, **more: Any) -> Scenario:
    """What an answer of a status or content leads to."""

    def serve(server: Served, load: int) -> None:
        server.route("/items", replies[min(load, len(replies)) - 1])

    return Scenario(
        name=f"action_{name}",
        config=api({"name": "items", "endpoint": {"path": "items", "response_actions": actions}}),
        serve=serve,
        loads=len(replies),
        **more,
    )


def rename(response: Any, *args: Any, **kwargs: Any) -> Any:
    """A response action: renames a field of every row."""
    body = [{"id": row["id"], "renamed": row["v"]} for row in response.json()]
    response._content = json.dumps(body).encode()
    return response


def stepped(name: str, steps: list[dict[str, Any]], **more: Any) -> Scenario:
    return Scenario(
        name=f"steps_{name}",
        config=api({"name": "items", "processing_steps": steps}),
        serve=answers(items=(DAYS,)),
        loads=1,
        **more,
    )


def dlts(module: str, name: str) -> Any:
    """A class of dlt's where dlt is, else one that looks like it."""
    try:
        return getattr(importlib.import_module(f"dlt.{module}"), name)
    except ModuleNotFoundError:
        return getattr(importlib.import_module("dlt_lookalikes"), name)


def incremental_object(**settings: Any) -> Any:
    """A `dlt.sources.incremental(…)`."""
    return dlts("extract.incremental", "Incremental")(**settings)


def refuse_gone(response: Any, *args: Any, **kwargs: Any) -> None:
    """A response action: has some answers ignored."""
    if response.status_code == 410:
        raise dlts("sources.helpers.rest_client.exceptions", "IgnoreResponseException")


def two_pages(request: Any) -> Any:
    """A list of two pages under a path that looks like that of one thing."""
    if "page" in request.query:
        return {"data": DAYS[2:]}
    return {"data": DAYS[:2], "next": f"{request.path}?page=2"}


def twice(row: dict[str, Any]) -> Any:
    yield {**row, "half": 1}
    yield {**row, "id": row["id"] + 100, "half": 2}


NAMED = {"path": "repos/{resources.repos.name}/issues"}

SCENARIOS = (
    family("path", {"endpoint": NAMED}),
    family("include_from_parent", {"endpoint": NAMED, "include_from_parent": ["id", "name"]}),
    family(
        "include_objects_and_lists",
        {"endpoint": NAMED, "include_from_parent": ["owner", "tags"]},
        served={"repos": ([{"id": 1, "name": "a", "owner": {"login": "o"}, "tags": ["x", "y"]}],)},
    ),
    family(
        "resolve",
        {
            "endpoint": {
                "path": "repos/{repo}/issues",
                "params": {"repo": {"type": "resolve", "resource": "repos", "field": "name"}, "q": 1},
            },
            "include_from_parent": ["name"],
        },
    ),
    family(
        "resolve_nested_field",
        {
            "endpoint": {
                "path": "owners/{who}",
                "params": {"who": {"type": "resolve", "resource": "repos", "field": "owner.login"}},
            }
        },
        served={"repos": (REPOS[:1],), "owners/o": ({"id": 5},)},
    ),
    family(
        "nested_field",
        {"endpoint": "owners/{resources.repos.owner.login}/x"},
        served={"repos": (REPOS[:1],), "owners/o/x": ([{"id": 5}],)},
    ),
    family(
        "params_json_and_headers",
        {
            "endpoint": {
                "path": "search",
                "method": "POST",
                "params": {"repo": "{resources.repos.name}"},
                "json": {"id": "{resources.repos.id}", "text": "repo {resources.repos.name}"},
                "headers": {"X-Key": "{resources.repos.name}"},
            }
        },
        served={"search": ([{"id": 1}],)},
    ),
    family(
        "selected_false",
        {"endpoint": NAMED, "include_from_parent": ["name"]},
        {"name": "repos", "selected": False},
    ),
    Scenario(
        name="family_of_three",
        config=api(
            "repos",
            {"name": "issues", "endpoint": NAMED, "include_from_parent": ["name"]},
            {
                "name": "comments",
                "endpoint": "repos/{resources.issues._repos_name}/issues/{resources.issues.number}/comments",
                "include_from_parent": ["number", "_repos_name"],
            },
        ),
        serve=answers(
            repos=(REPOS,),
            **ISSUES,
            **{f"repos/{r}/issues/{i}/comments": ([{"id": f"{r}{i}"}],) for r in "ab" for i in (1, 2)},
        ),
        loads=1,
    ),
    family("parents_with_one_key", {"endpoint": NAMED}, served={"repos": ([REPOS[0], REPOS[0]],)}),
    family(
        "keys_that_are_not_plain",
        {"endpoint": NAMED},
        served={"repos": ([{"id": 1, "name": "a b"}],), "repos/a%20b/issues": ([{"id": 1}],)},
    ),
    family(
        "keys_with_slashes",
        {"endpoint": NAMED},
        served={
            "repos": ([{"id": 1, "name": "a/b"}],),
            "repos/a/b/issues": ([{"id": 1}],),
            "repos/a%2Fb/issues": ([{"id": 1}],),
        },
    ),
    family(
        "null_keys",
        {"endpoint": NAMED},
        served={"repos": ([{"id": 1, "name": "a"}, {"id": 2, "name": None}],), "repos/None/issues": ([{"id": 99}],)},
    ),
    family("included_field_is_missing", {"endpoint": NAMED, "include_from_parent": ["nothing"]}, refused=(1,)),
    family(
        "two_loads",
        {"endpoint": NAMED, "write_disposition": "merge", "primary_key": "id"},
        {"name": "repos", "write_disposition": "merge", "primary_key": "id"},
        loads=2,
    ),
    family(
        "child_fails",
        {"endpoint": {**NAMED, "response_actions": [{"status_code": 404, "action": "ignore"}]}},
        served={"repos": ([*REPOS, {"id": 3, "name": "none"}],)},
    ),
    Scenario(
        name="family_of_an_incremental_parent",
        config=api(
            {
                "name": "repos",
                "primary_key": "id",
                "write_disposition": "merge",
                "endpoint": {"path": "repos", "params": {"since": "{incremental.start_value}"}, "incremental": SINCE},
            },
            {"name": "issues", "endpoint": NAMED, "write_disposition": "merge", "primary_key": "id"},
        ),
        serve=answers(
            repos=(
                [{"id": 1, "name": "a", "at": "2024-01-01T00:00:00Z"}],
                [{"id": 2, "name": "b", "at": "2024-01-02T00:00:00Z"}],
            ),
            **ISSUES,
        ),
    ),
    Scenario(
        name="family_of_incremental_children",
        config=api(
            "repos",
            {
                "name": "issues",
                "endpoint": {
                    **NAMED,
                    "params": {"since": "{incremental.start_value}"},
                    "incremental": {"cursor_path": "at", "initial_value": "2024-01-01T00:00:00Z"},
                },
            },
        ),
        serve=answers(
            **{
                "repos": (REPOS,),
                "repos/a/issues": (
                    [{"id": 1, "at": "2024-03-01T00:00:00Z"}],
                    [{"id": 1, "at": "2024-03-01T00:00:00Z"}, {"id": 2, "at": "2024-03-02T00:00:00Z"}],
                ),
                "repos/b/issues": (
                    [{"id": 3, "at": "2024-02-01T00:00:00Z"}],
                    [{"id": 3, "at": "2024-02-01T00:00:00Z"}, {"id": 4, "at": "2024-02-02T00:00:00Z"}],
                ),
            }
        ),
    ),
    Scenario(
        name="family_of_rows",
        config=lambda url: {
            "client": {"base_url": url},
            "resources": [
                {"name": "repos", "endpoint": "repos", "selected": False},
                {"name": "issues", "endpoint": {**NAMED, "params": {"n": "{resources.repos.id}"}}},
            ],
        },
        serve=answers(repos=(REPOS,), **ISSUES),
        loads=1,
    ),
    # ---- cursors -----------------------------------------------------------------------------------------------------
    incremental("append"),
    incremental("append_with_a_key", primary_key="id"),
    incremental("merge", write_disposition="merge", primary_key="id"),
    incremental("replace", second=[*DAYS, *LATER[1:]], write_disposition="replace"),
    incremental(
        "edited_at_the_cursor",
        second=[{"id": 3, "at": "2024-01-03T00:00:00Z", "v": "edited"}, {"id": 6, "at": "2024-01-05T00:00:00Z"}],
        write_disposition="merge",
        primary_key="id",
    ),
    incremental(
        "edited_at_the_cursor_append",
        second=[{"id": 3, "at": "2024-01-03T00:00:00Z", "v": "edited"}],
    ),
    incremental("nothing_new", second=[], write_disposition="merge", primary_key="id"),
    incremental("all_again", second=DAYS, write_disposition="merge", primary_key="id"),
    incremental("older_rows_are_dropped", second=[*DAYS, *LATER[1:]]),
    incremental("initial_value", initial_value="2024-01-02T00:00:00Z"),
    incremental("end_value", end_value="2024-01-03T00:00:00Z"),
    incremental("range_start_open", range_start="open"),
    incremental("range_end_closed", end_value="2024-01-02T00:00:00Z", range_end="closed"),
    incremental("lag", lag=86400, write_disposition="merge", primary_key="id"),
    incremental(
        "missing_include",
        [*DAYS, {"id": 9, "v": "none"}, {"id": 8, "at": None, "v": "null"}],
        on_cursor_value_missing="include",
    ),
    incremental("missing_exclude", [*DAYS, {"id": 9, "v": "none"}], on_cursor_value_missing="exclude"),
    incremental("missing_raise", [*DAYS, {"id": 9, "v": "none"}], refused=(1,), loads=1),
    incremental(
        "numbers",
        [{"id": 1, "at": 1}, {"id": 2, "at": 5}],
        [{"id": 2, "at": 5}, {"id": 3, "at": 5}, {"id": 4, "at": 9}],
        initial_value=0,
    ),
    incremental(
        "of_a_nested_path",
        [{"id": 1, "m": {"t": 1}}],
        [{"id": 2, "m": {"t": 2}}],
        cursor_path="m.t",
        initial_value=0,
    ),
    incremental(
        "last_value_func_min",
        [{"id": 3, "at": 30}, {"id": 2, "at": 20}],
        [{"id": 2, "at": 20}, {"id": 1, "at": 10}, {"id": 4, "at": 40}],
        initial_value=100,
        last_value_func="min",
    ),
    incremental("start_param", endpoint={}, start_param="since"),
    incremental(
        "start_and_end_param", endpoint={}, start_param="since", end_param="until", end_value="2024-02-01T00:00:00Z"
    ),
    Scenario(
        name="incremental_as_a_param",
        config=api(
            {"name": "items", "endpoint": {"params": {"since": {"type": "incremental", **SINCE}}}},
        ),
        serve=answers(items=(DAYS, LATER)),
    ),
    Scenario(
        name="incremental_object_as_a_param",
        config=lambda url: api({"name": "items", "endpoint": {"params": {"since": incremental_object(**SINCE)}}})(url),
        serve=answers(items=(DAYS, LATER)),
    ),
    incremental("transform", endpoint={}, start_param="since", transform=str),
    incremental(
        "settings_in_placeholders",
        lag=86400,
        endpoint={"params": {"lag": "{incremental.lag}", "sort": "{incremental.cursor_path}:asc"}},
        write_disposition="merge",
        primary_key="id",
    ),
    incremental(
        "placeholders_in_json",
        endpoint={
            "method": "POST",
            "json": {"from": "{incremental.start_value}", "text": "since {incremental.last_value}"},
        },
    ),
    incremental("without_initial_value", endpoint={"path": "items"}, initial_value=None),
    incremental(
        "zones_and_precision",
        [{"id": 1, "at": "2024-01-01T12:00:00+02:00"}, {"id": 2, "at": "2024-01-01T10:30:00Z"}],
        [{"id": 3, "at": "2024-01-01T12:45:00+02:00"}, {"id": 4, "at": "2024-01-01T10:30:00.000Z"}],
    ),
    incremental(
        "dates",
        [{"id": 1, "at": "2024-01-01"}, {"id": 2, "at": "2024-01-02"}],
        [{"id": 3, "at": "2024-01-02"}, {"id": 4, "at": "2024-01-03"}],
        initial_value="2024-01-01",
    ),
    incremental(
        "row_order_desc",
        list(reversed(DAYS)),
        [*reversed(LATER), *reversed(DAYS[:2])],
        row_order="desc",
        endpoint={"path": "items"},
    ),
    # ---- actions and steps -------------------------------------------------------------------------------------------
    acted("none_404", [], (404, {"message": "no"}), refused=(1,)),
    acted("ignore_404", [{"status_code": 404, "action": "ignore"}], (404, {"message": "no"}), DAYS),
    acted("ignore_content", [{"content": "nothing here", "action": "ignore"}], {"message": "nothing here"}),
    acted(
        "ignore_both",
        [{"status_code": 404, "content": "nothing here", "action": "ignore"}],
        (404, {"message": "nothing here"}),
    ),
    acted("ignore_one_of_both", [{"status_code": 404, "content": "x", "action": "ignore"}], (404, {}), refused=(1,)),
    acted("function", [{"action": rename}], DAYS),
    acted("functions_of_a_status", [{"status_code": 200, "action": [rename]}], DAYS),
    acted("function_alone", [rename], DAYS),
    acted("function_that_ignores", [refuse_gone], (410, {"message": "gone"}), DAYS),
    Scenario(
        name="path_name_with_a_space_pages_on",
        config=api({"name": "items", "endpoint": {"path": "items/{user id}", "params": {"user id": 5}}}),
        serve=lambda server, load: server.route("/items/5", two_pages),
        loads=1,
    ),
    stepped("filter", [{"filter": lambda row: row["id"] > 1}]),
    stepped("map", [{"map": lambda row: {**row, "n": row["id"] * 2}}]),
    stepped("yield_map", [{"yield_map": twice}]),
    stepped(
        "in_order",
        [{"map": lambda row: {**row, "n": 1}}, {"yield_map": twice}, {"filter": lambda row: row["half"] == 2}],
    ),
)
