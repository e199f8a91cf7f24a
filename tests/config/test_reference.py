"""The pages on configuration speak of every key, and their YAML is right."""

import re
from pathlib import Path

from dagster_restapi.config.plan import plan
from dagster_restapi.config.source import RestApiConfig

DOCS = Path(__file__).parents[2] / "docs"


def test_every_key_has_a_place_in_the_reference():
    words = set(
        re.findall(r"[A-Za-z_0-9]+", (DOCS / "configuration.md").read_text() + (DOCS / "paging.md").read_text())
    )
    schema = RestApiConfig.model_json_schema()
    keys = {
        (kind, key)
        for kind, model in schema["$defs"].items()
        for key in model.get("properties", {})
        if key != "options"
    }
    assert sorted((kind, key) for kind, key in keys if key not in words) == []


def test_the_first_example_is_a_source(tmp_path):
    example = re.search(r"```yaml\n(.*?)```", (DOCS / "configuration.md").read_text(), re.DOTALL)[1]
    path = tmp_path / "github.yaml"
    path.write_text(example)
    plans = plan(RestApiConfig.from_yaml(path))
    assert list(plans) == ["issues", "comments", "labels"]
    assert plans["comments"].parent.include == ("number",)
