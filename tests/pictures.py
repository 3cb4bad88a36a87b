"""Draw the README's pictures: real bisections of flaky labs, photographed in Chromium. `make pictures`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import kbench
from kbench.lab import create
from tests.jupyter_browser import chromium, home, jupyter_lab, launcher, open_page, run_all, write_watching

PICTURES = Path(__file__).parents[1] / "data" / "pictures"


def draw(place: Any, name: str) -> None:
    place.screenshot(path=PICTURES / f"{name}.png")
    print(f"drawn: {PICTURES.name}/{name}.png")


def draw_report(browser: Any, folder: Path) -> None:
    """The search and the rates, from a report page."""
    report = kbench.bisect(create(folder / "lab", seed=2, kind="race").case)
    print(repr(report))
    with open_page(browser, report.report_path.as_uri(), width=1000) as watched:
        for name in ("search", "rates"):
            place = watched.page.locator(f"section:has([data-kbench=kbench-{name}])")
            place.locator("svg").first.wait_for()
            draw(place, name)


def draw_lab(browser: Any, folder: Path) -> None:
    """The launcher's entries, and the dashboard of a bisection that is paused on its way."""
    create(folder / "lab", seed=6, kind="race", commits=200)
    write_watching(folder / "watch.ipynb")
    with jupyter_lab(folder, home(folder)) as url:
        with open_page(browser, url.format(""), width=1200, height=1000) as watched:
            launcher(watched.page).locator(".jp-LauncherCard").first.wait_for(timeout=60_000)
            draw(launcher(watched.page), "launcher")
        with open_page(browser, url.format("watch.ipynb"), width=1300, height=1500) as watched:
            page = watched.page
            run_all(page)
            page.locator(".kb-search .kb-row").nth(4).wait_for(timeout=120_000)
            page.locator("button.jupyter-button", has_text="Pause").first.click()
            page.get_by_text("Paused: nothing is started").wait_for(timeout=60_000)
            page.wait_for_timeout(2000)  # the runs that had begun
            draw(page.locator(".jp-OutputArea-child").first, "dashboard")


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with chromium() as browser:
        for each in (draw_report, draw_lab):
            with tempfile.TemporaryDirectory() as folder:
                each(browser, Path(folder))


if __name__ == "__main__":
    main()
