"""The house rules: which room may import which, what is loaded when, and how files may be called."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "dagster_restapi"
SINGLE_FILES = ("model", "errors", "secrets", "schema", "slice_state", "spool")
MAY_IMPORT = {
    "config": {"config"},
    "http": {"http", "config"},
    "extract": {"extract", "http", "config"},
    "tables": {"tables", "config"},
    "assets": {"assets", "extract", "http", "tables", "config"},
}
FORBIDDEN = {
    "config": {"dagster", "duckdb"},
    "http": {"dagster", "dagster_duckdb", "duckdb"},
    "extract": {"dagster", "dagster_duckdb"},
    "tables": {"dagster", "dagster_duckdb", "requests"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """The room of a file; a single file is its own room."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def runtime_imports(node: ast.AST, *, inside_functions: bool = True) -> Iterator[tuple[str, int]]:
    """Every module that is imported at run time, with its line; `if TYPE_CHECKING:` is left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, child.lineno) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: a relative import"
            module = str(child.module)
            yield module, child.lineno
            if module == "dagster_restapi":
                yield from ((f"dagster_restapi.{alias.name}", child.lineno) for alias in child.names)
        elif isinstance(child, ast.If) and is_type_checking(child.test):
            for other in child.orelse:
                yield from runtime_imports(other, inside_functions=inside_functions)
        elif inside_functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from runtime_imports(child, inside_functions=inside_functions)


def imports_of(path: Path, *, inside_functions: bool = True) -> list[tuple[str, str]]:
    """Imported modules of a file, each with where it stands."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    place = path.relative_to(PACKAGE.parent)
    found = runtime_imports(tree, inside_functions=inside_functions)
    return [(module, f"{place}:{line}") for module, line in found]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_between_rooms_point_one_way(room: str) -> None:
    allowed = MAY_IMPORT[room] | set(SINGLE_FILES)
    wrong = [
        f"{place} imports {module}"
        for path in FILES
        if room_of(path) == room
        for module, place in imports_of(path)
        if module.startswith("dagster_restapi.") and module.split(".")[1] not in allowed
    ]
    assert not wrong


@pytest.mark.parametrize("room", FORBIDDEN)
def test_rooms_do_without_the_libraries_of_others(room: str) -> None:
    wrong = [
        f"{place} imports {module}"
        for path in FILES
        if room_of(path) == room
        for module, place in imports_of(path)
        if module.split(".")[0] in FORBIDDEN[room]
    ]
    assert not wrong


def test_single_files_import_no_room() -> None:
    wrong = [
        f"{place} imports {module}"
        for name in SINGLE_FILES
        for module, place in imports_of(PACKAGE / f"{name}.py")
        if module.startswith("dagster_restapi.") and module.split(".")[1] not in SINGLE_FILES
    ]
    assert not wrong


def test_frames_are_imported_only_where_they_are_used() -> None:
    wrong = [
        f"{place} imports {module}"
        for path in FILES
        for module, place in imports_of(path, inside_functions=False)
        if module.split(".")[0] in ("pandas", "polars")
    ]
    assert not wrong


def test_no_file_is_a_drawer() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
    assert not [str(path) for path in FILES if path.stem.strip("_") in drawers]


def test_every_file_says_what_it_is_for() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in FILES}
    assert not [str(path) for path, text in texts.items() if text and not ast.get_docstring(ast.parse(text))]


@pytest.mark.parametrize(
    ("rooms", "unwanted"),
    [
        ([], {"dagster", "duckdb", "pandas", "polars", "requests", "pydantic"}),
        (["http", "extract"], {"dagster", "pandas", "polars"}),
        (["tables"], {"dagster", "requests", "pandas", "polars"}),
        (["demo"], {"dagster", "duckdb", "requests", "pandas", "polars"}),
    ],
)
def test_importing_a_room_loads_no_more_than_it_needs(rooms: list[str], unwanted: set[str]) -> None:
    """In a fresh interpreter; with every file of the room, but of the demo only what serves the sample API."""
    modules = ["dagster_restapi"]
    for room in rooms:
        stems = [path.stem for path in sorted((PACKAGE / room).glob("*.py")) if path.stem != "__init__"]
        modules += [f"dagster_restapi.{room}"] + [f"dagster_restapi.{room}.{stem}" for stem in stems if room != "demo"]
    script = f"import sys, {', '.join(modules)}; print(*sorted(set(sys.modules) & {unwanted!r}))"
    command = [sys.executable, "-c", script]
    loaded = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.split() == []


def test_every_direct_dependency_is_pinned_and_has_its_reason() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    extras, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    wanted = [project["project"]["dependencies"], *extras.values(), *groups.values()]
    names = {re.split(r"[\[<>=~ ;]", requirement)[0].lower() for group in wanted for requirement in group}
    lines = (PACKAGE.parent / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0] for line in lines if "==" in line}
    told = set(re.findall(r"[a-z0-9-]+", (PACKAGE.parent / "docs" / "dependencies.md").read_text(encoding="utf-8")))
    assert not names - pinned, "run `make lock`"
    assert not names - told, "docs/dependencies.md says what each one is for"
