"""What a configuration may say is obeyed: every setting is read by the code somewhere."""

import re
from pathlib import Path

import pytest

import dagster_restapi
from dagster_restapi.config.settings import Settings
from dagster_restapi.config.source import RestApiConfig  # noqa: F401  # so that all models are there

CODE = "".join(path.read_text() for path in Path(dagster_restapi.__file__).parent.rglob("*.py"))
DEFINITIONS = re.compile(r"^    \w+: .*$", re.MULTILINE)


def models(kind):
    for model in kind.__subclasses__():
        if model.__module__.startswith("dagster_restapi.config."):
            yield model
        yield from models(model)


FIELDS = sorted({(model.__name__, name) for model in models(Settings) for name in model.model_fields if name != "type"})


@pytest.mark.parametrize(("model", "name"), FIELDS)
def test_every_setting_is_read_somewhere(model, name):
    assert re.search(rf"\.{name}\b|\"{name}\"", CODE), f"{model}.{name} is accepted and never looked at"
