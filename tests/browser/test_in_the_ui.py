"""What a person sees in Dagster's UI, driven through Chromium: `make ui-test`. Each test goes on where the last ended.

Pictures go to the folder in the environment variable UI_PICTURES.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running_ui import RunningUi

sync_api = pytest.importorskip("playwright.sync_api", reason="make ui-test installs it")

pytestmark = pytest.mark.browser

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
WAIT = 60_000  # milliseconds

Picture = Callable[[str], None]

expect = sync_api.expect
expect.set_options(timeout=WAIT)


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUi]:
    with RunningUi(tmp_path_factory.mktemp("ui")) as running:
        yield running


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A page of a browser that has never been anywhere, and goes nowhere but to this machine."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "no chromium: apt-get install chromium, or CHROMIUM=/path/to/it"
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("browser")),
            executable_path=chromium,
            args=FLAGS,
            viewport={"width": 1400, "height": 900},
        )
        context.set_default_timeout(WAIT)
        elsewhere: list[str] = []
        context.on("request", lambda request: elsewhere.append(request.url) if is_elsewhere(request.url) else None)
        yield context.pages[0]
        context.close()
    assert elsewhere == []


def is_elsewhere(url: str) -> bool:
    return re.match(r"(https?|wss?)://(?!127\.0\.0\.1)", url) is not None


@pytest.fixture
def picture(page: Any) -> Picture:
    """Keeps what the page shows, if somebody wants it."""
    folder = os.environ.get("UI_PICTURES")

    def take(name: str) -> None:
        page.wait_for_timeout(700)  # until nothing moves any more
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=str(Path(folder) / f"{name}.png"))

    return take


def button(page: Any, text: str) -> Any:
    """The button of this text, with or without an icon; of several the last one, which a dialog brings."""
    return page.get_by_role("button").filter(has_text=re.compile(rf"^\W*{re.escape(text)}…?$")).last


def row_of(page: Any, name: str) -> Any:
    """The row of a metadata table that begins with this name."""
    return page.locator("tr").filter(has=page.locator("td").first.get_by_text(name, exact=True)).first


def materialize(page: Any, ui: RunningUi, asset: str) -> None:
    """Presses the button of an asset, and waits for its run."""
    before = len(ui.runs())
    page.goto(f"{ui.address}/assets/{asset}")
    button(page, "Materialize").click()
    assert set(ui.wait_for_runs(before + 1).values()) == {"SUCCESS"}


@dataclass(frozen=True)
class Node:
    """An asset in the graph."""

    text: str
    left: float
    right: float
    top: float
    bottom: float

    def holds(self, x: float, y: float) -> bool:
        """Whether a place is in it; the heads of arrows stand a little before it."""
        return self.left - 9 < x < self.right + 9 and self.top < y < self.bottom


def graph_of(page: Any) -> tuple[dict[str, Node], set[tuple[str, str]]]:
    """The assets by name, and from which to which an arrow is drawn."""
    nodes = {}
    for item in page.locator("foreignObject").all():
        x, y, width, height = (float(item.get_attribute(name)) for name in ("x", "y", "width", "height"))
        text = item.text_content()
        nodes[text.partition("Latest event")[0]] = Node(text, x, x + width, y, y + height)

    def at(x: float, y: float) -> str:
        (found,) = (
            name for name, node in nodes.items() if node.left - 9 < x < node.right + 9 and node.top < y < node.bottom
        )
        return found

    edges = set()
    for path in page.locator("path[marker-end]").all():
        numbers = [float(number) for number in re.findall(r"[\d.]+", path.get_attribute("d"))]
        edges.add((at(*numbers[:2]), at(*numbers[-2:])))
    return nodes, edges


def test_the_graph_shows_parents_children_kinds_and_checks(page: Any, ui: RunningUi, picture: Picture) -> None:
    for asset in ("repositories", "issues", "comments"):
        materialize(page, ui, asset)
    page.goto(f"{ui.address}/asset-groups")
    expect(page.locator("foreignObject").filter(has_text="comments")).to_contain_text("4 / 4 Passed")
    picture("graph")
    nodes, edges = graph_of(page)
    assert set(nodes) == {"repositories", "issues", "comments", "events", "users", "activity"}
    assert edges == {("repositories", "issues"), ("issues", "comments")}
    assert all("DuckDB" in node.text and "restapi" in node.text for node in nodes.values())
    assert "5 / 5 Passed" in nodes["issues"].text
    assert "31 partitions" in nodes["activity"].text


def test_the_page_of_an_asset_tells_what_it_is(page: Any, ui: RunningUi, picture: Picture) -> None:
    page.goto(f"{ui.address}/assets/issues")
    expect(page.get_by_text("Issues of every repository, merged by id")).to_be_visible()
    expect(page.get_by_text("tracker.issues", exact=True).first).to_be_visible()
    expect(row_of(page, "user__login")).to_contain_text("VARCHAR")
    expect(row_of(page, "id")).to_contain_text("The issue's number over all repositories")
    expect(row_of(page, "_restapi_load_id")).to_contain_text("The load that last changed the row")
    expect(row_of(page, "dagster_restapi/disposition")).to_contain_text("merge")
    expect(row_of(page, "dagster_restapi/primary_key")).to_have_text(re.compile(r"id$"))
    expect(row_of(page, "dagster_restapi/url")).to_contain_text("/repositories/{resources.repositories.name}/issues")
    picture("asset")
    page.goto(f"{ui.address}/assets/users")
    expect(row_of(page, "dagster_restapi/url").get_by_role("link").first).to_have_attribute("href", f"{ui.api}/users")


def test_a_materialization_tells_numbers_and_shows_a_few_rows(page: Any, ui: RunningUi, picture: Picture) -> None:
    first = ui.get("issues?per_page=1")[0]
    ui.change(f"_touch/issues/{first['id']}", {"title": "Edited in between"})
    materialize(page, ui, "issues")
    page.goto(f"{ui.address}/assets/issues?view=events")
    expect(row_of(page, "dagster_restapi/rows_updated")).to_contain_text("1")
    expect(row_of(page, "dagster_restapi/rows_inserted")).to_contain_text("0")
    expect(row_of(page, "dagster_restapi/cursor_source")).to_contain_text("metadata")
    preview = row_of(page, "preview").locator("table")
    expect(preview.locator("th").first).to_have_text("id")
    expect(preview.locator("tbody tr")).to_have_count(5)
    picture("event")
    preview.scroll_into_view_if_needed()
    picture("preview")
    expect(page.get_by_text("demo-token")).to_have_count(0)


def test_numbers_are_plotted(page: Any, ui: RunningUi, picture: Picture) -> None:
    page.goto(f"{ui.address}/assets/issues")
    button(page, "Plots").click()
    for name in ("dagster/row_count", "dagster_restapi/rows_updated", "dagster_restapi/requests"):
        expect(page.get_by_text(name, exact=True)).to_be_visible()
    expect(page.get_by_text("dagster_restapi/load_id", exact=True)).to_have_count(0)
    assert page.locator("canvas").count() >= 10
    page.get_by_text("dagster/row_count", exact=True).scroll_into_view_if_needed()
    picture("plots")


def test_checks_are_green_and_say_what_they_counted(page: Any, ui: RunningUi, picture: Picture) -> None:
    page.goto(f"{ui.address}/assets/issues?view=checks")
    for check in ("child_tables", "cursor", "primary_key", "row_count", "schema"):
        expect(page.get_by_text(check, exact=True).first).to_be_visible()
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(5)
    page.get_by_text("row_count", exact=True).first.click()
    expect(page.get_by_text("The number of rows stays within the bounds of its history.")).to_be_visible()
    expect(row_of(page, "rows")).to_contain_text("338")
    picture("checks")


def test_full_refresh_is_chosen_in_the_launchpad(page: Any, ui: RunningUi, picture: Picture) -> None:
    page.goto(f"{ui.address}/assets/issues")
    button(page, "Materialize").locator("xpath=following::button[1]").click()
    page.get_by_text("Open launchpad").click()
    config = page.locator(".CodeMirror")
    expect(config).to_contain_text("full_refresh: false")
    expect(config).to_contain_text("parents: default")
    config.get_by_text("false", exact=True).dblclick()
    page.keyboard.type("true")
    expect(config).to_contain_text("full_refresh: true")
    expect(page.get_by_text("No errors")).to_be_visible()
    picture("launchpad")
    before = len(ui.runs())
    button(page, "Materialize").click()
    assert set(ui.wait_for_runs(before + 1).values()) == {"SUCCESS"}
    page.goto(f"{ui.address}/assets/issues?view=events")
    expect(row_of(page, "dagster_restapi/cursor_source")).to_contain_text("full_refresh")
    expect(row_of(page, "dagster_restapi/rows_loaded")).to_contain_text("338")


def test_a_month_is_filled_by_a_backfill_in_one_run(page: Any, ui: RunningUi, picture: Picture) -> None:
    before = len(ui.runs())
    page.goto(f"{ui.address}/assets/activity?view=partitions")
    expect(page.get_by_text("Missing (31)")).to_be_visible()
    button(page, "Materialize").click()
    expect(page.get_by_text("Backfill only failed and missing partitions")).to_be_visible()
    button(page, "All").click()
    expect(page.get_by_text("Backfills all partitions in a single run.")).to_be_visible()
    picture("backfill")
    button(page, "Launch backfill").click()
    ui.wait_for_backfill()
    runs = ui.runs()
    assert (len(runs) - before, set(runs.values())) == (1, {"SUCCESS"})
    expect(page.get_by_text("Materialized (31)")).to_be_visible()
    page.get_by_text("2024-01-08", exact=True).first.click()
    events = ui.get("events?since=2024-01-08&until=2024-01-09&limit=100")["events"]
    expect(row_of(page, "dagster/partition_row_count")).to_contain_text(str(len(events)))
    picture("partitions")
    page.goto(f"{ui.address}/runs")
    expect(page.get_by_text("31 partitions").first).to_be_visible()
    expect(page.get_by_text("Success", exact=True)).to_have_count(len(runs))
    picture("runs")


def test_a_sensor_that_is_switched_on_launches_a_run(page: Any, ui: RunningUi, picture: Picture) -> None:
    before = len(ui.runs())
    page.goto(f"{ui.address}/automation")
    expect(page.get_by_text("users_sensor", exact=True)).to_be_visible()
    page.get_by_text("users_sensor", exact=True).click()
    page.locator("label").filter(has=page.locator("input[type=checkbox]")).first.click()
    ui.wait_for_runs(before + 1)
    expect(page.get_by_text("1 run requested").first).to_be_visible()
    picture("sensor")
    page.goto(f"{ui.address}/assets/users")
    expect(page.get_by_text("Row count")).to_be_visible()
    expect(page.get_by_text("60", exact=True).first).to_be_visible()
    picture("after_the_sensor")
