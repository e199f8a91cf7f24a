"""The README is the way to every page, its links lead somewhere, and what it shows works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "README.md", REPOSITORY / "examples" / "README.md"])


def anchors(page: Path) -> set[str]:
    """The names by which GitHub and its like link to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def links(page: Path) -> list[tuple[Path, str]]:
    """Files of this repository that a page links to, with the heading."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    own = (target.partition("#") for target in targets if "://" not in target)
    return [((page.parent / file).resolve() if file else page, heading) for file, _, heading in own]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for file, heading in links(page):
        assert file.exists(), f"{page.name} links to {file.name}"
        assert not heading or heading in anchors(file), f"{page.name} links to {file.name}#{heading}"


def test_every_page_is_linked() -> None:
    linked = {file for file, _ in links(REPOSITORY / "README.md")}
    assert {page for page in PAGES if page.name != "README.md"} <= linked
    assert set((REPOSITORY / "docs" / "images").glob("*")) <= linked


def test_pictures_are_small() -> None:
    for picture in (REPOSITORY / "docs" / "images").glob("*"):
        assert picture.stat().st_size < 200_000, picture.name


def test_the_example_makes_two_assets_with_an_edge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "defs =" in block)
    scope: dict[str, Any] = {}
    exec(code, scope)
    graph = scope["defs"].resolve_asset_graph()
    assert graph.get(dg.AssetKey("comments")).parent_keys == {dg.AssetKey("issues")}
    assert graph.get_all_asset_keys() == {dg.AssetKey("issues"), dg.AssetKey("comments")}
