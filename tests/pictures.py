"""Draw the README's pictures: a real bisection of a flaky lab, photographed in Chromium. `make pictures`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import kbench
from kbench.lab import create
from tests.jupyter_browser import chromium, open_page

PICTURES = Path(__file__).parents[1] / "data" / "pictures"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        lab = create(Path(folder) / "lab", seed=2, kind="race")
        report = kbench.bisect(lab.case)
        print(repr(report))
        with chromium() as browser, open_page(browser, report.report_path.as_uri(), width=1000) as watched:
            for name in ("search", "rates"):
                place = watched.page.locator(f"section:has([data-kbench=kbench-{name}])")
                place.locator("svg").first.wait_for()
                PICTURES.mkdir(exist_ok=True)
                place.screenshot(path=PICTURES / f"{name}.png")
                print(f"drawn: {PICTURES.name}/{name}.png")


if __name__ == "__main__":
    main()
