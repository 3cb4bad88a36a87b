"""The dashboard of a running bisection in JupyterLab and voila: real machines, real clicks."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from kbench.lab import create
from tests.jupyter_browser import chromium, home, jupyter_lab, open_page, run_all, shoot, voila, write_watching

pytestmark = [pytest.mark.browser, pytest.mark.qemu]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as one:
        yield one


@pytest.mark.timeout(300)
def test_paused_marked_resumed_and_zoomed(browser: Any, tmp_path: Path) -> None:
    """What is clicked while a bisection runs takes effect at once; hostile words stay text."""
    lab = create(tmp_path / "lab", seed=6, kind="rare", commits=200)  # takes a while
    write_watching(tmp_path / "watch.ipynb")
    with (
        jupyter_lab(tmp_path, home(tmp_path)) as url,
        open_page(browser, url.format("watch.ipynb"), width=1300, height=1500) as watched,
    ):
        page = watched.page
        run_all(page)
        press(page, "Pause")
        page.get_by_text("Paused: nothing is started").wait_for(timeout=30_000)
        page.wait_for_timeout(1500)
        before = page.locator(".kb-search .kb-row").count()
        page.wait_for_timeout(1000)
        assert page.locator(".kb-search .kb-row").count() == before
        page.get_by_placeholder("revision").fill("<img src=x onerror=window.hacked=1>")
        press(page, "Mark")
        page.get_by_text("git has no such").or_(page.get_by_text("expected")).first.wait_for(timeout=30_000)
        shoot(page, "lab_dashboard_paused")
        page.get_by_placeholder("revision").fill(lab.culprit)
        page.locator(".widget-dropdown select").select_option("bad")
        press(page, "Mark")
        page.get_by_text("will be taken for bad").wait_for(timeout=30_000)
        press(page, "Resume")
        page.get_by_text("Ended.").wait_for(timeout=120_000)
        page.locator(".kb-search .kb-title", has_text=lab.culprit[:12]).first.wait_for(timeout=30_000)
        assert "marked bad" in page.locator(".kb-search").first.inner_text()
        canvas = page.locator(".kb-belief-canvas")
        assert lab.culprit[:12] in canvas.get_attribute("aria-label")
        open_from_the_belief(page, canvas, lab.culprit)
        whole = canvas.screenshot()
        canvas.focus()
        page.keyboard.press("+")
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(300)
        assert canvas.screenshot() != whole, "zoomed"
        assert not watched.hacked()
        assert watched.requests == []
        shoot(page, "lab_dashboard_ended")


@pytest.mark.skipif(find_spec("voila") is None, reason="no voila here: pip install 'kbench[voila]'")
@pytest.mark.timeout(300)
def test_in_voila(browser: Any, tmp_path: Path) -> None:
    """The same as a page of its own, which asks no other machine for anything."""
    lab = create(tmp_path / "lab", seed=6, kind="uaf", commits=60)
    write_watching(tmp_path / "watch.ipynb")
    with voila(tmp_path / "watch.ipynb", home(tmp_path)) as url, open_page(browser, url, width=1300, height=1500) as watched:
        page = watched.page
        press(page, "Pause")
        page.get_by_text("Paused: nothing is started").wait_for(timeout=60_000)
        shoot(page, "voila_paused")
        press(page, "Resume")
        page.get_by_text("Ended.").wait_for(timeout=120_000)
        page.locator(".kb-search .kb-title", has_text=lab.culprit[:12]).first.wait_for(timeout=30_000)
        assert lab.culprit[:12] in page.locator(".kb-belief-canvas").get_attribute("aria-label")
        assert watched.requests == []
        shoot(page, "voila_ended")


def open_from_the_belief(page: Any, canvas: Any, culprit: str) -> None:
    """By keyboard and by a click, a tested revision opens its row in the search below, with a console to read."""
    panel, picked = page.locator(".kb-search .kb-panel").first, page.locator(".kb-belief .kb-sub").last
    canvas.focus()
    page.keyboard.press("ArrowUp")  # the newest
    while not picked.inner_text().startswith(culprit[:12]):
        before = picked.inner_text()
        page.keyboard.press("ArrowDown")
        assert picked.inner_text() != before, "the culprit is among the tested revisions"
    assert picked.inner_text() == f"{culprit[:12]}: bad" and not panel.is_visible()
    page.keyboard.press("Enter")
    assert culprit[:12] in panel.locator(".kb-panel-head").inner_text()
    assert page.evaluate("document.activeElement.matches('.kb-search .kb-row')"), "the arrows now go through the rows"
    page.keyboard.press("Escape")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for x in range(0, int(box["width"]), 4):
        page.mouse.move(box["x"] + x, box["y"] + 28)
        if canvas.evaluate("canvas => canvas.style.cursor") == "pointer":
            break
    page.mouse.down()
    page.mouse.up()
    opened = panel.locator(".kb-panel-head").inner_text()
    assert picked.inner_text().split(":")[0] in opened and culprit[:12] not in opened, "the oldest one that was tested"
    assert panel.locator(".kb-console").inner_text().strip()
    shoot(page, "lab_belief_opened")


def press(page: Any, name: str) -> None:
    page.locator("button.jupyter-button", has_text=name).first.click()
