"""The dashboard of a running bisection in JupyterLab: real machines, real clicks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from kbench.lab import create
from tests.jupyter_browser import chromium, jupyter_lab, open_page, run_all, shoot

pytestmark = [pytest.mark.browser, pytest.mark.qemu]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as one:
        yield one


@pytest.mark.timeout(300)
def test_paused_marked_resumed_and_zoomed(browser: Any, tmp_path: Path) -> None:
    """What is clicked while a bisection runs takes effect at once; hostile words stay text."""
    lab = create(tmp_path / "lab", seed=6, kind="rare", commits=200)  # takes a while
    code = 'import kbench\nbisection = kbench.start("lab/case.toml")\nbisection'
    cells = [nbformat.v4.new_code_cell(code)]  # type: ignore[no-untyped-call]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    made = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})  # type: ignore[no-untyped-call]
    nbformat.write(made, tmp_path / "watch.ipynb")  # type: ignore[no-untyped-call]
    home = {name: str(tmp_path / "home" / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    with jupyter_lab(tmp_path, home) as url, open_page(browser, url.format("watch.ipynb"), width=1300, height=1500) as watched:
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
        whole = canvas.screenshot()
        canvas.focus()
        page.keyboard.press("+")
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(300)
        assert canvas.screenshot() != whole, "zoomed"
        assert not watched.hacked()
        assert watched.requests == []
        shoot(page, "lab_dashboard_ended")


def press(page: Any, name: str) -> None:
    page.locator("button.jupyter-button", has_text=name).first.click()
