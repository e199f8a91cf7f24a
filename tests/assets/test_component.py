"""The component in a project: YAML becomes assets, a wrong line is named, and secrets stay names."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value
from dagster.components.testing import create_defs_folder_sandbox

from dagster_restapi import RestApiComponent
from dagster_restapi.assets.component_template import SETTINGS_OF_AUTH
from dagster_restapi.config import auth
from dagster_restapi.config.settings import Settings
from dagster_restapi.demo import DEMO_TOKEN, SampleApi
from dagster_restapi.errors import ConfigError
from dagster_restapi.secrets import Secret

CANARY = "canary-77-of-a-secret"
HEAD = "type: dagster_restapi.RestApiComponent\nattributes:\n"

TRACKER = """\
  client:
    base_url: "{{ env.TRACKER_URL }}"
    auth: {type: bearer, token: "{{ env.TRACKER_TOKEN }}"}
    timeout: "{{ env.TRACKER_TIMEOUT }}"
  resource_defaults:
    primary_key: id
    write_disposition: merge
  resources:
    - name: repositories
      endpoint:
        path: repositories
        data_selector: items
        paginator: {type: page_number, base_page: 1, total_path: total_pages}
    - name: issues
      endpoint:
        path: repositories/{resources.repositories.name}/issues
        params: {since: "{incremental.start_value}", sort: updated, direction: asc}
        incremental: {cursor_path: updated_at, initial_value: "2024-01-01T00:00:00Z"}
        paginator: header_link
  key_prefix: tracker
  io_manager:
    database: "{{ context.project_root }}/tracker.duckdb"
"""


class Project:
    """A Dagster project whose definitions are components."""

    def __init__(self, sandbox: Any) -> None:
        self.sandbox = sandbox
        self.root: Path = sandbox.project_root

    def write(self, attributes: str, name: str = "api") -> Path:
        folder: Path = self.sandbox.defs_folder_path / name
        folder.mkdir(exist_ok=True)
        (folder / "defs.yaml").write_text(HEAD + attributes)
        return folder

    def load(self) -> dg.Definitions:
        with self.sandbox.build_all_defs() as definitions:
            return definitions  # type: ignore[no-any-return]

    def component(self, attributes: str) -> RestApiComponent:
        with self.sandbox.load_component_and_build_defs(self.write(attributes)) as (component, _):
            return component  # type: ignore[no-any-return]


@pytest.fixture
def project() -> Iterator[Project]:
    with create_defs_folder_sandbox() as sandbox:
        yield Project(sandbox)


@pytest.fixture
def tracker(sample_api: SampleApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKER_URL", sample_api.url)
    monkeypatch.setenv("TRACKER_TOKEN", DEMO_TOKEN)
    monkeypatch.setenv("TRACKER_TIMEOUT", "30")


def run(definitions: dg.Definitions, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return definitions.get_implicit_global_asset_job_def().execute_in_process(instance=instance)


# ---- what it makes ---------------------------------------------------------------------------------------------------
def test_yaml_becomes_assets_that_load_their_tables(project: Project, sample_api: SampleApi, tracker: None) -> None:
    project.write(TRACKER)
    definitions = project.load()
    graph = definitions.resolve_asset_graph()
    repositories, issues = dg.AssetKey(["tracker", "repositories"]), dg.AssetKey(["tracker", "issues"])
    assert graph.get(issues).parent_keys == {repositories}
    with dg.DagsterInstance.ephemeral() as instance:
        result = run(definitions, instance)
        counts = sample_api.tracker.counts()
        rows = {
            event.asset_key: event.materialization.metadata["dagster/row_count"].value
            for event in result.get_asset_materialization_events()
        }
    assert rows == {repositories: counts["repositories"], issues: counts["issues"]}
    assert (project.root / "tracker.duckdb").exists()


def test_the_scaffolded_example_runs_as_it_stands(project: Project, replay: Any) -> None:
    folder = project.sandbox.scaffold_component(RestApiComponent, "pokemon")
    file = folder / "defs.yaml"
    text = file.read_text()
    assert "dagster_restapi" in text
    file.write_text(text.replace("https://pokeapi.co/", f"{replay()}/"))
    with dg.DagsterInstance.ephemeral() as instance:
        result = run(project.load(), instance)
    keys = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
    assert keys == {"pokemon/berries", "pokemon/berry_details"}


def test_the_scaffolder_takes_a_base_url_and_writes_python_too(project: Project) -> None:
    params = {"base_url": "https://x.test", "resource": "v1/items"}
    project.sandbox.scaffold_component(RestApiComponent, "one", scaffold_params=params)
    project.sandbox.scaffold_component(RestApiComponent, "two", scaffold_format="python")
    definitions = project.load()
    keys = {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}
    assert keys == {"one/v1_items", "two/berries", "two/berry_details"}
    assert set(definitions.get_repository_def().get_top_level_resources()) == {"one_io_manager", "two_io_manager"}


def test_components_share_the_projects_io_manager_where_they_have_none(project: Project) -> None:
    project.write("  client: {base_url: https://x.test}\n  resources: [a]\n", "one")
    project.write("  client: {base_url: https://x.test}\n  resources: [b]\n", "two")
    shared = "import dagster as dg\nfrom dagster_restapi import DuckDBRestApiIOManager\n"
    shared += "defs = dg.Definitions(resources={'io_manager': DuckDBRestApiIOManager(database='x.duckdb')})\n"
    (project.sandbox.defs_folder_path / "resources.py").write_text(shared)
    assert set(project.load().get_repository_def().get_top_level_resources()) == {"io_manager"}


def test_sensors_poll_the_resources_that_are_named(project: Project) -> None:
    project.write("  client: {base_url: https://x.test}\n  resources: [a, b]\n  key_prefix: p\n  sensors: [b]\n")
    assert [sensor.name for sensor in project.load().sensors or []] == ["p__b_sensor"]


def test_schedules_tick_for_the_resources_that_are_named(project: Project) -> None:
    project.write(
        "  client: {base_url: https://x.test}\n  resources: [a, b]\n  key_prefix: p\n"
        '  schedules: {b: "0 6 * * *"}\n  schedule_timezone: Europe/Berlin\n'
    )
    [schedule] = project.load().schedules or []
    assert (schedule.name, schedule.cron_schedule, schedule.execution_timezone) == (
        "p_0_6_x_x_x_schedule",
        "0 6 * * *",
        "Europe/Berlin",
    )


def test_translation_changes_every_asset(project: Project) -> None:
    project.write(
        "  client: {base_url: https://x.test}\n"
        "  resources: [a, {name: b, endpoint: 'a/{resources.a.id}/b'}]\n"
        "  translation:\n"
        '    key: "raw/{{ resource }}_v2"\n'
        "    owners: [team:ingestion]\n"
        '    tags: {path: "{{ plan.endpoint.method }}"}\n'
    )
    graph = project.load().resolve_asset_graph()
    child = graph.get(dg.AssetKey(["raw", "b_v2"]))
    assert child.parent_keys == {dg.AssetKey(["raw", "a_v2"])}
    assert list(child.owners) == ["team:ingestion"]
    assert child.tags["path"] == "GET"


def test_an_asset_links_to_the_line_of_its_resource(project: Project, tracker: None) -> None:
    folder = project.write(TRACKER)
    metadata = project.load().resolve_asset_graph().get(dg.AssetKey(["tracker", "issues"])).metadata
    references = metadata["dagster/code_references"].code_references
    assert (references[0].file_path, references[0].line_number) == (str(folder / "defs.yaml"), 16)


def test_a_subclass_may_add_fields_and_change_specs() -> None:
    class Ours(RestApiComponent):
        team: str

        def get_asset_spec(self, data: Any) -> dg.AssetSpec:
            return super().get_asset_spec(data).replace_attributes(owners=[f"team:{self.team}"])

    component = Ours.resolve_from_yaml("client: {base_url: https://x.test}\nresources: [a]\nteam: data\n")
    tree = dg.ComponentTree.for_test()
    assert list(component.build_defs(tree.load_context).resolve_asset_graph().get(dg.AssetKey("a")).owners) == [
        "team:data"
    ]
    with pytest.raises(ConfigError, match="baseurl"):
        Ours(client={"baseurl": "x"}, resources=["a"], team="data")


# ---- mistakes --------------------------------------------------------------------------------------------------------
WRONG = """\
  client:
    base_url: https://x.test
    auth: {type: bearer, tokn: abc}
    rate_limit: {requests: ten}
  resources:
    - name: a
      write_disposition: mrge
    - name: b
      endpoint: {path: "a/{resources.c.id}", incremental: {cursor_pth: x}}
"""


def test_a_mistake_is_told_with_its_line_when_definitions_load(project: Project) -> None:
    file = project.write(WRONG) / "defs.yaml"
    with pytest.raises(Exception, match="Error while loading component") as caught:
        project.load()
    fault = caught.value.__cause__
    assert isinstance(fault, ConfigError)
    text = str(fault)
    for path, line in [
        ("client.auth.tokn: unknown key", 5),
        ("client.rate_limit.requests: must be", 6),
        ("resources[0].write_disposition: must be one of", 9),
        ("resources[1].endpoint.incremental.cursor_pth: unknown key", 11),
    ]:
        assert any(path in told and f"{file}:{line}]" in told for told in text.splitlines()), (path, text)


def test_what_is_wrong_between_the_parts_has_its_line_too(project: Project) -> None:
    file = project.write(
        "  client: {base_url: https://x.test}\n  resources:\n    - name: a\n    - name: b\n"
        '      endpoint: "a/{resources.c.id}"\n'
    )
    with pytest.raises(Exception, match="Error while loading component") as caught:
        project.load()
    assert "there is no resource 'c'" in str(caught.value.__cause__)
    assert f"{file / 'defs.yaml'}:7]" in str(caught.value.__cause__)


def test_the_schema_names_the_wrong_place_and_takes_templates_anywhere() -> None:
    import jsonschema
    import yaml

    model = RestApiComponent.get_model_cls()
    assert model is not None
    validator = jsonschema.Draft202012Validator(model.model_json_schema())
    assert not list(validator.iter_errors(yaml.safe_load(textwrap.dedent(TRACKER))))
    wrong = yaml.safe_load(textwrap.dedent(WRONG)) | {"key_prefx": "x", "io_manager": {"databas": "x"}}
    errors = list(validator.iter_errors(wrong))
    found = {(".".join(map(str, error.absolute_path)), error.message.split("(")[0].strip()) for error in errors}
    assert {
        ("", "Additional properties are not allowed"),
        ("client.auth", "Additional properties are not allowed"),
        ("client.rate_limit.requests", "'ten' is not of type 'integer'"),
        ("resources.0.write_disposition", "'mrge' is not one of ['append', 'replace', 'merge']"),
        ("resources.1.endpoint.incremental", "Additional properties are not allowed"),
        ("io_manager", "Additional properties are not allowed"),
    } <= found
    template = "{{ anything }}"
    anywhere: list[Any] = [
        {"client": template, "resource_defaults": template, "resources": template, "io_manager": template},
        {
            "client": {"auth": template, "rate_limit": {"requests": template}, "retry": template, "timeout": template},
            "resources": [template, {"name": "a", "write_disposition": template, "columns": template}],
        },
    ]
    assert not [error.message for given in anywhere for error in validator.iter_errors(given)]


@pytest.fixture
def dg_command(tmp_path: Path) -> Callable[..., str]:
    """The real command, in a project as `dg` makes it."""
    pytest.importorskip("dagster_dg_cli", reason="make dg-test installs it")
    package = tmp_path / "src" / "shop"
    (package / "defs").mkdir(parents=True)
    for folder in (package, package / "defs"):
        (folder / "__init__.py").touch()
    load = "from pathlib import Path\nimport dagster as dg\n\n\n@dg.definitions\ndef defs():\n"
    load += "    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)\n"
    (package / "definitions.py").write_text(load)
    project = '[project]\nname = "shop"\nversion = "0"\n\n[tool.dg]\ndirectory_type = "project"\n\n'
    (tmp_path / "pyproject.toml").write_text(project + '[tool.dg.project]\nroot_module = "shop"\n')

    def run_dg(*arguments: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-m", "dagster_dg_cli.cli", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "src"), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return ran.stdout + ran.stderr

    return run_dg


@pytest.mark.dg
def test_dg_names_the_wrong_line(dg_command: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "src" / "shop" / "defs" / "api"
    folder.mkdir()
    (folder / "defs.yaml").write_text(HEAD + WRONG)
    told = dg_command("check", "yaml")
    for line, place in [
        (5, "attributes.client.auth.tokn"),
        (6, "attributes.client.rate_limit.requests"),
        (9, "attributes.resources.0.write_disposition"),
        (11, "attributes.resources.1.endpoint.incremental.cursor_pth"),
    ]:
        assert f"defs.yaml:{line} - dagster_restapi.RestApiComponent {place} " in told, told


@pytest.mark.dg
def test_dg_lists_scaffolds_checks_and_runs_the_component(
    dg_command: Callable[..., str], tmp_path: Path, replay: Any
) -> None:
    assert "dagster_restapi.RestApiComponent" in dg_command("list", "components", "--json")
    assert "resource_defaults" in dg_command("utils", "inspect-component", "dagster_restapi.RestApiComponent")
    dg_command("scaffold", "defs", "dagster_restapi.RestApiComponent", "github")
    file = tmp_path / "src" / "shop" / "defs" / "github" / "defs.yaml"
    file.write_text(file.read_text().replace("https://pokeapi.co/", f"{replay()}/"))
    assert "validated successfully" in dg_command("check", "yaml")
    assert "loaded successfully" in dg_command("check", "defs")
    assert '"github/berry_details"' in dg_command("list", "defs", "--json")
    ran = dg_command("launch", "--assets", "*")
    assert "RUN_SUCCESS" in ran, ran
    assert (tmp_path / "github.duckdb").exists()


# ---- secrets ---------------------------------------------------------------------------------------------------------
SECRETS = """\
  client:
    base_url: https://x.test/{{ env.CANARY }}
    headers:
      X-Key: "{{ env.CANARY }}"
      X-Quiet: "Token {{ env('CANARY') }} {{ env.CANARY | upper }}"
    auth: {type: bearer, token: "{{ env.CANARY }}"}
    proxies: {https: "http://user:{{ env.CANARY }}@proxy.test"}
  resources:
    - name: a
      endpoint:
        path: "accounts/{{ env.CANARY }}/rows"
        params: {account: "{{ env.CANARY }}", region: "{{ env('NOT_SET', 'eu') }}", quiet: "{{ env.CANARY ~ '!' }}"}
        json: {token: "{{ env.CANARY }}"}
        headers: {X-Other: "{{ env.CANARY }}"}
    - name: b
      endpoint: "{{ env.CANARY }}/rows"
"""


def test_a_secret_from_the_environment_is_in_nothing_that_dagster_stores(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", CANARY)
    project.write(SECRETS)
    definitions = project.load()
    repository = definitions.get_repository_def()
    everything = serialize_value(RepositorySnap.from_def(repository))
    component = project.component(SECRETS)
    everything += f"{component!r}{component}{component.model_dump()}"
    everything += f"{component.config!r}{component.config.model_dump()}"
    for spec in definitions.resolve_all_asset_specs():
        everything += f"{spec.metadata}{spec.code_version}{spec.description}{spec.tags}"
    assert CANARY not in everything
    assert CANARY.upper() not in everything


def test_the_environment_may_be_empty_when_definitions_load_and_its_values_change_no_code_version(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = SECRETS.replace(" {{ env.CANARY | upper }}", "").replace(", quiet: \"{{ env.CANARY ~ '!' }}\"", "")
    versions = []
    for value in (None, CANARY, "another"):
        if value:
            monkeypatch.setenv("CANARY", value)
        project.write(named)
        versions.append({spec.key: spec.code_version for spec in project.load().resolve_all_asset_specs()})
    assert versions[0] == versions[1] == versions[2]


def test_what_is_sent_stays_a_name_and_settings_are_read_at_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "1e5")
    monkeypatch.setenv("SECONDS", "7")
    component = project.component(
        "  client:\n"
        '    base_url: "https://{{ env.HOST }}/v1"\n'
        '    timeout: "{{ env.SECONDS }}"\n'
        '    auth: {type: api_key, name: "X-{{ env.SECONDS }}", api_key: "{{ env.TOKEN }}"}\n'
        '    headers: {A: "{{ env.TOKEN ~ env.SECONDS }}", B: "007", C: "{{ 3 }}"}\n'
        "  resources: [{name: a, endpoint: {params: {x: '010', y: '1e3', z: 'None'}}}]\n"
    )
    client = component.config.client
    assert client.base_url == "https://{env.HOST}/v1"
    assert client.timeout == 7.0
    assert client.auth is not None
    assert (client.auth.name, client.auth.api_key) == ("X-7", Secret(env="TOKEN"))  # type: ignore[union-attr]
    assert client.headers["A"] == Secret("1e57")
    assert (client.headers["B"], client.headers["C"]) == ("007", "3")
    assert component.config.resources[0].endpoint.params == {"x": "010", "y": "1e3", "z": "None"}  # type: ignore[union-attr]


def test_an_expression_over_the_environment_in_a_path_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", CANARY)
    project.write(SECRETS.replace("{{ env.CANARY }}/rows", "{{ env.CANARY | lower }}/rows"))
    with pytest.raises(Exception, match="Error while loading component") as caught:
        project.load()
    assert "in a path would be stored with the asset" in str(caught.value.__cause__)
    assert CANARY not in str(caught.value.__cause__)


def test_every_setting_of_auth_that_takes_no_reference_is_read_when_definitions_load() -> None:
    """A new field of an auth model belongs in the list, or its `{{ env.X }}` would be sent as the text `{env.X}`."""

    def takes_reference(model: type[Settings], name: str) -> bool:
        annotation = model.model_fields[name].annotation
        return annotation is Any or "Secret" in str(annotation)

    models = [item for item in vars(auth).values() if isinstance(item, type) and issubclass(item, Settings)]
    models = [model for model in models if model not in (Settings, auth.GivenAuth)]
    settings = {name for model in models for name in model.model_fields if not takes_reference(model, name)}
    assert settings | {"store"} == SETTINGS_OF_AUTH
