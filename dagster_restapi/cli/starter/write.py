"""A starter as YAML: settings that all resources share stand once, and comments say what is guessed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from dagster_restapi.cli.starter.plan import CHANGE_ME, Auth, Param, Resource, Starter

_COMMENT = 110  # characters of a comment
_OPTIONAL = 12  # parameters that are listed as comments
_LEFT_OUT = 40  # lines

Shared = dict[str, Any]


def write(starter: Starter) -> str:
    """The text of the file, ending in a line break."""
    shared = _shared(starter.resources)
    lines = [*_head(starter), *_client(starter, shared), *_defaults(shared), "resources:"]
    for number, resource in enumerate(starter.resources):
        lines += [*([""] if number else []), *_resource(resource, shared)]
    if not starter.resources:
        lines += _example()
    if starter.left_out:
        rest = len(starter.left_out) - _LEFT_OUT
        lines += ["", "# Left out: these give no list of rows, as far as can be told."]
        lines += [comment(text, "#   ") for text in starter.left_out[:_LEFT_OUT]]
        lines += [f"#   and {rest} more"] if rest > 0 else []
    return "\n".join(lines) + "\n"


def _shared(resources: Sequence[Resource]) -> Shared:
    """What two or more resources all say alike."""
    if len(resources) < 2:
        return {}
    shared: Shared = {}
    first = resources[0]
    if first.paginator is not None and all(resource.paginator == first.paginator for resource in resources):
        shared["paginator"] = first.paginator
    if first.key and all(resource.key == first.key for resource in resources):
        shared["key"] = first.key
    if all(bool(resource.key) == bool(first.key) for resource in resources):
        shared["disposition"] = _disposition(first)
    return shared


def _disposition(resource: Resource) -> str:
    """Without a key every load takes the place of the one before; else rows would pile up."""
    return "merge" if resource.key else "replace"


def _head(starter: Starter) -> Iterator[str]:
    yield comment(starter.title, "# ")
    yield "# This is a start: what is marked CHANGE-ME has to be filled in, the rest is guessed. Try it with"
    yield "#   dagster-restapi check FILE"
    yield "#   dagster-restapi preview FILE RESOURCE"
    yield ""


def _client(starter: Starter, shared: Shared) -> Iterator[str]:
    yield "client:"
    yield entry("  ", "base_url", starter.base_url, starter.base_comment)
    yield from _auth(starter.auth)
    if starter.auth.headers:
        yield "  headers:"
        yield from (entry("    ", param.name, param.value, param.comment) for param in starter.auth.headers)
    if "paginator" in shared:
        yield f"  paginator: {flow(shared['paginator'])}{_remark(starter.resources[0].paging_comment)}"


def _auth(auth: Auth) -> Iterator[str]:
    mark = "  " if auth.active else "  # "
    if auth.options is not None:
        yield f"{mark}auth:{_remark(auth.comment)}"
        for name, value in auth.options.items():
            yield entry(f"{mark}  ", name, value)
    elif auth.comment:
        yield comment(auth.comment, "  # ")
    yield from (comment(f"or: {other}", "  # ") for other in auth.others)


def _defaults(shared: Shared) -> Iterator[str]:
    if "key" in shared or "disposition" in shared:
        yield ""
        yield "resource_defaults:"
        if "key" in shared:
            yield f"  primary_key: {_key(shared['key'])}"
        if "disposition" in shared:
            yield f"  write_disposition: {shared['disposition']}"
    yield ""


def _resource(resource: Resource, shared: Shared) -> Iterator[str]:
    if resource.summary:
        yield comment(resource.summary, "  # ")
    yield from (comment(note, "  # ") for note in resource.notes)
    yield f"  - name: {scalar(resource.name)}"
    if "key" not in shared:
        yield (
            f"    primary_key: {_key(resource.key)}" if resource.key else "    # primary_key: id # none was recognised"
        )
    if "disposition" not in shared:
        yield f"    write_disposition: {_disposition(resource)}"
    if resource.include_from_parent:
        yield f"    include_from_parent: {flow(list(resource.include_from_parent))}"
    yield "    endpoint:"
    yield entry("      ", "path", resource.path)
    yield from _params("headers", resource.headers)
    yield from _params("params", resource.params)
    if resource.selector is not None:
        yield entry("      ", "data_selector", resource.selector)
    if resource.paginator is not None and "paginator" not in shared:
        yield f"      paginator: {flow(resource.paginator)}{_remark(resource.paging_comment)}"
    elif resource.paginator is None and resource.paging_comment:
        yield comment(resource.paging_comment, "      # paginator: ")
    if resource.cursor is not None:
        hint = resource.cursor
        yield "      # incremental: # loads only what is new"
        yield entry("      #   ", "cursor_path", hint.cursor_path)
        yield entry("      #   ", "initial_value", hint.initial_value)
        yield entry("      #   ", "start_param", hint.start_param)


def _params(title: str, params: Sequence[Param]) -> Iterator[str]:
    active = [param for param in params if param.active]
    optional = [param for param in params if not param.active]
    if not params:
        return
    yield f"      {title}:" if active else f"      # {title}:"
    yield from (entry("        ", param.name, param.value, param.comment) for param in active)
    mark = "        # " if active else "      #   "
    yield from (entry(mark, param.name, param.value, param.comment) for param in optional[:_OPTIONAL])
    if len(optional) > _OPTIONAL:
        yield comment("and " + ", ".join(param.name for param in optional[_OPTIONAL:]), mark)


def _example() -> list[str]:
    return [
        f"  - name: items # {CHANGE_ME}: one entry for each endpoint that gives rows",
        "    # primary_key: id",
        "    # write_disposition: merge",
        "    endpoint:",
        "      path: items",
        "      # params: {per_page: 100}",
        "  # - name: comments # a child: one request for each row of its parent",
        "  #   endpoint:",
        '  #     path: "items/{resources.items.id}/comments"',
    ]


# ---- YAML ------------------------------------------------------------------------------------------------------------
def entry(indent: str, name: str, value: Any, remark: str = "") -> str:
    """`name: value # remark`, on one line; None is left open."""
    shown = "" if value is None else f" {flow(value)}"
    return f"{indent}{scalar(name)}:{shown}{_remark(remark)}"


def comment(text: str, mark: str) -> str:
    """One line of a comment, whatever the text holds."""
    return f"{mark}{_one_line(text)}".rstrip()


def _remark(text: str) -> str:
    line = _one_line(text)
    return f" # {line}" if line else ""


def _one_line(text: str) -> str:
    line = "".join(char for char in " ".join(text.split()) if char.isprintable())
    return line if len(line) <= _COMMENT else f"{line[: _COMMENT - 1].rstrip()}…"


def flow(value: Any) -> str:
    """Any plain value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return scalar(value)


def scalar(value: Any) -> str:
    """A text, number, boolean or null; a text is quoted where YAML would read it as something else."""
    text = _dumped(value, None)
    if isinstance(value, str) and (text[:1] in "'\"" or any(char in text for char in ",[]{}#:")):
        return _dumped(value, '"')
    return text


def _dumped(value: Any, style: str | None) -> str:
    text: str = yaml.safe_dump(value, default_style=style, width=float("inf"), allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _key(key: Sequence[str]) -> str:
    return flow(key[0] if len(key) == 1 else list(key))
