"""Configurations in YAML files."""

import pytest

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
    import os

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
