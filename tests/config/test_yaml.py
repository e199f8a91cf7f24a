"""Configurations in YAML files."""

import os
import sys
import time

import pytest
import yaml

from dagster_restapi.config.plan import plan
from dagster_restapi.config.source import RestApiConfig
from dagster_restapi.errors import ConfigError

GOOD = """\
client:
  base_url: https://api.example.com
  auth: {token: "{env.TOKEN}"}
  rate_limit: {requests: 50, per: 1s}
resource_defaults:
  primary_key: id
resources:
  - repos
  - name: issues
    write_disposition: merge
    preview: off
    endpoint:
      path: repos/{resources.repos.name}/issues
      incremental: {cursor_path: updated_at, initial_value: 2024-01-01, start_param: since}
    processing_steps:
      - map: os.path:basename
  - name: made
    rows: os:listdir
"""


@pytest.fixture
def write(tmp_path):
    def file(text):
        path = tmp_path / "source.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return file


def test_a_file_means_what_the_mapping_means(write):
    config = RestApiConfig.from_yaml(write(GOOD))
    plans = plan(config)
    assert list(plans) == ["repos", "issues", "made"]
    assert plans["issues"].incremental.initial_value == "2024-01-01"
    assert plans["issues"].endpoint.params == {"since": "{incremental.start_value}"}
    assert plans["issues"].preview.rows == 0
    assert plans["issues"].steps[0].map is os.path.basename
    assert plans["made"].rows is os.listdir
    assert RestApiConfig.parse(str(write(GOOD))) == config
    assert config.origin.line_of(("resources", 1, "endpoint", "path")) == 13


@pytest.mark.parametrize(
    ("text", "told", "line"),
    [
        ("a: [1\nb: 2\n", "no valid YAML", 2),
        ("a:\n\t- b\n", "no valid YAML", 2),
        ("client: {}\n---\nclient: {}\n", "no valid YAML", 2),
        ("client: !!python/object/apply:os.system [ls]\n", "no valid YAML", 1),
        ("client:\n  base_url: https://x\n  base_url: https://y\n", "client.base_url: the key stands there twice", 3),
        ("client:\n  auth:\n    token: {env.TOKEN}\n", "client.auth.token: a placeholder without quotes", 3),
        ("resources: &all\n  - *all\n", "an alias leads back", 1),
        ("- a\n- b\n", "a configuration is a mapping", 1),
        ("", "a configuration is a mapping", 1),
        ("just text\n", "a configuration is a mapping", 1),
        ("client:\n  base_url: https://x\nresources:\n  - a\n  - nam: b\n", "resources[1].nam: unknown key", 5),
        (GOOD.replace("updated_at", "'a['"), "resources[1].endpoint.incremental.cursor_path: 'a[' is no", 14),
        (GOOD.replace("repos.name", "repo.name"), "resources[1].endpoint.path: there is no resource 'repo'", 13),
        (GOOD.replace("os:listdir", "os:nothing"), "resources[2].rows: the module os has no nothing", 18),
        (GOOD.replace("preview: off", "automation: eagr"), "resources[1].automation: must be one of", 11),
    ],
)
def test_a_mistake_names_its_line(write, text, told, line):
    path = write(text)
    with pytest.raises(ConfigError) as error:
        RestApiConfig.from_yaml(path)
    assert told in str(error.value)
    assert f"{path}:{line}]" in str(error.value)
    assert error.value.__context__ is None


@pytest.mark.parametrize("content", [b"\xff\xfe\xfa", b"a: 2024-99-99", b"\x00", b"[" * 5000])
def test_what_cannot_be_read_is_a_config_error(write, content):
    with pytest.raises(ConfigError, match=r"source\.yaml"):
        RestApiConfig.from_yaml(write(content))


def test_a_missing_file_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be read: No such file.*nowhere\.yaml"):
        RestApiConfig.parse(tmp_path / "nowhere.yaml")


def test_what_plans_find_wrong_names_its_line_too(write):
    with pytest.raises(ConfigError, match=r"source\.yaml:2\]"):
        plan(RestApiConfig.from_yaml(write("resources:\n  - {name: a, endpoint: {params: {p: '{partition.key}'}}}\n")))


def bomb(levels, width, kind):
    """YAML of a few lines, whose aliases make width ** levels values."""
    lines = ["a0: &a0 [x]" if kind != "merges" else "a0: &a0 {k: x}"]
    for level in range(1, levels + 1):
        aliases = [f"*a{level - 1}"] * width
        body = {
            "lists": f"[{', '.join(aliases)}]",
            "mappings": "{" + ", ".join(f"k{n}: {alias}" for n, alias in enumerate(aliases)) + "}",
            "merges": f"{{<<: [{', '.join(aliases)}]}}",
        }[kind]
        lines.append(f"a{level}: &a{level} {body}")
    return "\n".join([*lines, f"resources: [*a{levels}]"])


@pytest.mark.parametrize("kind", ["lists", "mappings", "merges"])
@pytest.mark.parametrize("levels", [6, 40])
def test_aliases_of_aliases_are_refused_at_once(write, kind, levels):
    started = time.process_time()
    told = "nested more than 64 levels" if (kind, levels) == ("merges", 40) else "repeat more than 100,000 values"
    with pytest.raises(ConfigError, match=rf"{told} .*source\.yaml.*\n.*[Aa]lias"):
        RestApiConfig.from_yaml(write(bomb(levels, 10, kind)))
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "text",
    [
        "[" * 70 + "]" * 70,
        "[" * 5000,
        "{a: " * 70 + "}" * 70,
        "\n".join(" " * n + "-" for n in range(3000)),
        "\n".join(["a0: &a0 x", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 3000))]),  # deep by aliases alone
    ],
    ids=["lists", "open", "mappings", "block", "aliases"],
)
def test_what_is_nested_without_end_is_refused_at_once(write, text):
    started = time.process_time()
    with pytest.raises(ConfigError, match=r"nested more than 64 levels deep .*source\.yaml"):
        RestApiConfig.from_yaml(write(text))
    assert time.process_time() - started < 5


def test_aliases_and_merges_as_people_write_them_are_fine(write):
    config = RestApiConfig.from_yaml(
        write(
            "resource_defaults: {endpoint: &page {params: &size {per_page: 100}}}\n"
            "resources:\n" + "".join(f"  - {{name: r{n}, endpoint: {{<<: *page, path: r{n}}}}}\n" for n in range(200))
        )
    )
    assert len(config.resources) == 200


@pytest.mark.parametrize("part", ["processing_steps: [{map: MODULE:f}]", "rows: MODULE:f"])
def test_a_file_of_somebody_else_imports_nothing(write, tmp_path, monkeypatch, part):
    (tmp_path / "bait_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = f"resources:\n  - {{name: a, {part.replace('MODULE', 'bait_module')}}}\n"
    with pytest.raises(ConfigError, match=r"`allow_functions: false` forbids it.*\n?.*source\.yaml:2"):
        RestApiConfig.from_yaml(write(text), allow_functions=False)
    with pytest.raises(ConfigError, match="forbids it"):
        RestApiConfig.model_validate(yaml.safe_load(text), allow_functions=False)
    assert "bait_module" not in sys.modules
    with pytest.raises(SystemExit, match="imported"):
        RestApiConfig.from_yaml(write(text))
    assert RestApiConfig.from_yaml(write(GOOD)).resources
    RestApiConfig.model_validate({"resources": [{"name": "a", "rows": os.listdir}]}, allow_functions=False)
