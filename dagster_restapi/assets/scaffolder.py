"""What `dg scaffold defs dagster_restapi.RestApiComponent <name>` writes: an example that runs as it stands."""

from __future__ import annotations

from textwrap import dedent, indent
from typing import Any

from dagster.components.scaffold.scaffold import Scaffolder, ScaffoldRequest
from pydantic import BaseModel, Field


class RestApiScaffoldParams(BaseModel):
    """Options of the scaffold command."""

    base_url: str | None = Field(default=None, description="Where the API's paths begin. Default: a public example.")
    resource: str | None = Field(default=None, description="The first resource: its name, and its path below base_url.")


class RestApiScaffolder(Scaffolder[RestApiScaffoldParams]):
    """Writes `defs.yaml`, or `component.py` with `--format python`."""

    @classmethod
    def get_scaffold_params(cls) -> type[RestApiScaffoldParams]:
        """The options."""
        return RestApiScaffoldParams

    def scaffold(self, request: ScaffoldRequest[RestApiScaffoldParams]) -> None:
        """Writes the file."""
        name = request.target_path.parent.name if request.append else request.target_path.name
        if request.scaffold_format == "python":
            path = request.target_path / "component.py"
            path.write_text(_python(name, request.params), encoding="utf-8")
        elif request.append:
            with open(request.target_path, "a", encoding="utf-8") as file:
                file.write(f"---\n{_yaml(request.type_name, name, request.params)}")
        else:
            path = request.target_path / "defs.yaml"
            path.write_text(_yaml(request.type_name, name, request.params), encoding="utf-8")


_EXAMPLE_URL = "https://pokeapi.co/api/v2/"
_EXAMPLE = """\
- name: berries
  primary_key: name
  write_disposition: replace
  endpoint:
    path: berry
    params: {limit: 100}
    data_selector: results
    paginator: {type: json_link, next_url_path: next}
# A child: one request for each row of its parent. Its asset depends on the parent's.
- name: berry_details
  primary_key: id
  write_disposition: merge
  endpoint: berry/{resources.berries.name}
"""


def _resource(name: str) -> str:
    return f"- name: {name.strip('/').replace('/', '_')}\n  endpoint: {name}\n"


def _yaml(type_name: str, name: str, params: RestApiScaffoldParams) -> str:
    resources = _resource(params.resource or "items") if params.base_url or params.resource else _EXAMPLE
    return dedent(
        """\
        type: {type_name}

        attributes:
          client:
            base_url: {base_url}
            # A secret stays a name until a request is made:
            # auth: {{type: bearer, token: "{{{{ env.API_TOKEN }}}}"}}
          # resource_defaults:
          #   write_disposition: merge
          #   primary_key: id
          resources:
        {resources}
          key_prefix: {name}
          group_name: {group}
          io_manager:
            database: "{{{{ context.project_root }}}}/{name}.duckdb"
        """
    ).format(
        type_name=type_name,
        base_url=params.base_url or _EXAMPLE_URL,
        resources=indent(resources, "    ").rstrip(),
        name=name,
        group=name,
    )


def _python(name: str, params: RestApiScaffoldParams) -> str:
    example: list[Any] = [
        {
            "name": "berries",
            "primary_key": "name",
            "write_disposition": "replace",
            "endpoint": {"path": "berry", "params": {"limit": 100}, "data_selector": "results"},
        },
        {
            "name": "berry_details",
            "primary_key": "id",
            "write_disposition": "merge",
            "endpoint": "berry/{resources.berries.name}",
        },
    ]
    given = params.base_url or params.resource
    return f"""\
import dagster as dg
from dagster_restapi import RestApiComponent


@dg.component_instance
def load(context: dg.ComponentLoadContext) -> RestApiComponent:
    return RestApiComponent(
        client={{"base_url": {params.base_url or _EXAMPLE_URL!r}}},
        resources={[params.resource or "items"] if given else example!r},
        key_prefix={name!r},
        group_name={name!r},
        io_manager={{"database": f"{{context.project_root}}/{name}.duckdb"}},
    )
"""
