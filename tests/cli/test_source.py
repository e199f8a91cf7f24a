"""The CONFIG argument, and what all commands have in common: errors, exit codes, help."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from dagster_restapi.cli.main import main

PYTHON = """
from dagster_restapi import RestApiConfig

config = {{"client": {{"base_url": "{url}"}}, "resources": ["items"]}}
parsed = RestApiConfig(**config)
number = 5


def made():
    return config


class Holder:
    inner = config


def broken():
    raise ValueError("the vault is closed")
"""


@pytest.fixture
def folder(api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a Python file of configurations."""
    api.pages["/items"] = [{"id": 1}]
    (tmp_path / "sources_of_test.py").write_text(PYTHON.format(url=api.url), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "sources_of_test", raising=False)
    return tmp_path


@pytest.mark.parametrize("place", ["sources_of_test", "sources_of_test.py"])
@pytest.mark.parametrize("attribute", ["config", "parsed", "made", "Holder.inner"])
def test_a_configuration_in_python_is_named_by_module_or_file(
    run: Any, folder: Path, place: str, attribute: str
) -> None:
    assert run("check", f"{place}:{attribute}").table["items"]["result"] == "ok"


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("sources_of_test.py:nothing", "Error: sources_of_test.py has no nothing"),
        ("sources_of_test.py:number", "Error: this is a int, not a configuration"),
        ("sources_of_test.py:broken", "Error: it cannot be read: ValueError: the vault is closed"),
        ("sources_of_test.py", "Error: which configuration in this file?"),
        ("missing.py:config", "Error: there is no such file"),
        ("no_such_module:config", "Error: it cannot be read: ModuleNotFoundError"),
        ("missing.yaml", "Error: the configuration file cannot be read"),
    ],
)
def test_what_is_no_configuration_is_one_clear_error(run: Any, folder: Path, config: str, told: str) -> None:
    ran = run("check", config)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(told)
    assert "Traceback" not in ran.err


def test_a_mistake_is_told_with_its_line(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "source.yaml"
    file.write_text("client: {base_url: 'http://127.0.0.1:1'}\nresources:\n  - name: a\n    endpiont: a\n")
    ran = run("check", file)
    assert ran.code == 1
    assert f"{file}:4" in ran.err
    assert "endpoint" in ran.err


def test_no_functions_imports_nothing(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "theirs.yaml"
    file.write_text("resources:\n  - {name: a, rows: module_that_is_not_there:rows}\n")
    assert "module_that_is_not_there" in run("check", str(file)).err
    refused = run("--no-functions", "check", str(file))
    assert refused.code == 1
    assert "`allow_functions: false` forbids it" in refused.err
    assert "module_that_is_not_there cannot be imported" in run("check", str(file)).err  # for that one call alone


@pytest.mark.parametrize("arguments", [["check"], ["preview", "x.yaml"], ["preview", "x", "y", "--pages", "0"], ["no"]])
def test_wrong_usage_has_the_exit_code_2(run: Any, arguments: list[str]) -> None:
    assert run(*arguments).code == 2


def test_help_names_every_command(run: Any) -> None:
    ran = run("--help")
    assert ran.code == 0
    for command in ("check", "init", "preview", "run", "schema", "state"):
        assert f"  {command} " in ran.out


def test_the_schema_is_a_json_schema_of_a_configuration(run: Any) -> None:
    schema = json.loads(run("schema").out)
    assert schema["properties"].keys() >= {"client", "resources", "resource_defaults"}
    assert schema["$schema"].startswith("https://json-schema.org/")


def test_the_console_script_leads_to_the_command() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["scripts"]["dagster-restapi"].partition(":")
    assert getattr(importlib.import_module(module), name) is main


def test_help_comes_without_loading_what_commands_need() -> None:
    script = "import sys; import dagster_restapi.cli.main\n"
    script += "print(*sorted({'dagster', 'duckdb', 'requests', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")
