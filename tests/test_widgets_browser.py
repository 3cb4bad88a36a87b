"""The views as a person sees them: in Chromium, offline, from a disk, and in JupyterLab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import nbformat
import pytest

from kbench import notebook
from kbench.bisection import Bisection
from kbench.bisection.case import load_case
from kbench.bisection.control import Control
from kbench.lab import create
from kbench.records import BisectionView
from kbench.running import RunningBisection
from kbench.widgets import Dashboard
from kbench.widgets import page as report
from kbench.widgets.export import export_html
from tests import views
from tests.jupyter_browser import CHROMIUM, chromium, jupyter_lab, open_page, run_all, shoot

pytestmark = pytest.mark.browser

REPOSITORY = Path(__file__).parents[1]
SETUP = "pause_s: float = 0.0  # seconds, between two steps\nfolder: str = ''  # folder, for the consoles"
LIVE = """
import pathlib, time
from tests import views
from kbench.widgets import LiveView, RatesWidget, SearchWidget
from kbench.notebook import leave_result
folder = pathlib.Path(folder)
live = LiveView(views.make_view(folder, steps=0))
for step in range(1, 12):
    live.update(views.make_view(folder, steps=step, running=True))
    time.sleep(pause_s)
    live.update(views.make_view(folder, steps=step))
view = views.make_view(folder)
live.update(view)
"""
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
STILL = "SearchWidget(view)"
LEAVE = "leave_result({'culprit': view.culprit})"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    assert Path(CHROMIUM).exists(), "browser tests: expected Chromium, found none; apt-get install chromium"
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> BisectionView:
    return views.make_view(tmp_path_factory.mktemp("view"))


@pytest.fixture(scope="module")
def report_url(view: BisectionView, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report.html_report(view, log_text=views.ATTACK, facts={"reproducer": views.ATTACK}), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def jupyter_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Jupyter's folders of this module: a notebook is trusted where the key that signed it is."""
    home = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTERLAB_SETTINGS_DIR"):
            patch.setenv(name, str(home / name))
        patch.setenv("JUPYTERLAB_WORKSPACES_DIR", str(home / "workspaces"))
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        yield home


@pytest.fixture(scope="module")
def executed(jupyter_home: Path) -> Path:
    """A notebook that watched a bisection to its end, run by papermill and signed."""
    code = [nbformat.v4.new_code_cell(SETUP, metadata={"tags": ["parameters"]})]
    code += [nbformat.v4.new_code_cell(source) for source in (LIVE, STILL, LEAVE)]
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(nbformat.v4.new_notebook(cells=code, metadata={"kernelspec": spec}), jupyter_home / "live.ipynb")
    output = jupyter_home / "executed.ipynb"
    consoles = str(jupyter_home / "consoles")
    result = notebook.execute(jupyter_home / "live.ipynb", output, {"folder": consoles, "pause_s": 0.02}, timeout_s=120)
    assert result["culprit"] == views.commit(views.CULPRIT)
    return output


def wait_restored(page: Any) -> None:
    """Wait for the widgets of a reopened notebook.

    JupyterLab's widget manager (3.0.17) restores twice, from the notebook and once more when the kernel has connected; when
    the second ends first it says "model not found" and never looks again. A reader reloads the page, and so does this.
    """
    for _ in range(6):
        page.wait_for_selector(".kb-rates .kb-picture, :text('model not found')", timeout=60_000)
        if page.locator(".kb-rates .kb-picture").count():
            return
        page.reload()
    raise AssertionError("JupyterLab: expected the saved widgets, seen 'model not found' 6 times")


def open_row(page: Any, index: int) -> None:
    """Click a revision's row of the first search."""
    page.locator(".kb-search").first.locator(".kb-row").nth(index).click(force=True)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1180), ("dark", 1180), ("light", 600)])
def test_report_opens_from_disk(browser: Any, report_url: str, scheme: str, width: int) -> None:
    """No request, no error; a click shows the console, and what is in it is text."""
    with open_page(browser, report_url, scheme=scheme, width=width) as watched:
        page = watched.page
        page.wait_for_selector(".kb-rates .kb-picture")
        assert page.locator(".kb-search .kb-row").count() == 11
        assert page.locator(".kb-rates .kb-row").count() == 10
        assert page.locator(".kb-search .kb-mark.kb-bad").count() == 7 + 1  # and the legend's
        open_row(page, 7)
        assert "BUG: KASAN: use-after-free in pipe_read" in page.locator(".kb-console mark").inner_text()
        assert "<script>window.hacked = 1</script>" in page.locator(".kb-console").inner_text()
        shoot(page, f"report_{scheme}_{width}")
        open_row(page, 5)
        assert "'ring' undeclared" in page.locator(".kb-console").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert not watched.hacked()
        assert (watched.errors, watched.requests) == ([], [])


def test_report_without_javascript(browser: Any, report_url: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report_url)
    assert "is the first bad commit" in page.locator("h1").inner_text()
    assert page.locator("tbody tr.culprit").count() == 1
    assert "The table below" in page.locator("noscript").inner_text()
    context.close()


def test_search_by_keyboard_and_pointer(browser: Any, report_url: str, view: BisectionView) -> None:
    with open_page(browser, report_url) as watched:
        page = watched.page
        rows = page.locator(".kb-search .kb-row")
        rows.first.focus()
        for key in ("ArrowDown", "ArrowDown", "Enter"):
            page.keyboard.press(key)
        assert view.steps[2].commit[:12] in page.locator(".kb-panel-head").inner_text()
        page.keyboard.press("End")
        assert view.steps[10].commit[:12] in page.locator(".kb-panel-head").inner_text()
        assert rows.nth(10).get_attribute("aria-selected") == "true"
        page.keyboard.press("Escape")
        assert not page.locator(".kb-panel").first.is_visible()
        rows.nth(4).hover(force=True)
        assert "5 ok, 5 crashed" in page.locator(".kb-search .kb-tip").inner_text()


def test_zoom_gives_the_last_steps_room(browser: Any, report_url: str) -> None:
    """The candidates left at the end take more of the picture than their share of the history."""
    with open_page(browser, report_url) as watched:
        page = watched.page
        widths = []
        for button in (0, 1):
            page.locator(".kb-search .kb-switch button").nth(button).click()
            widths.append(float(page.locator(".kb-search .kb-canvas .kb-band").nth(7).get_attribute("width")))
        assert widths[1] > 3 * widths[0]
        page.locator(".kb-rates .kb-switch button").nth(1).click()
        labels = page.locator(".kb-rates .kb-hash").all_text_contents()
        assert labels[0] == views.commit(120)[:10]
        shoot(page, "report_zoomed")


def test_foreign_log_is_drawn_by_what_is_left(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "foreign.html"
    path.write_text(report.html_report(views.foreign_view(tmp_path), log_text=""), encoding="utf-8")
    with open_page(browser, path.as_uri()) as watched:
        page = watched.page
        marks = page.locator(".kb-search .kb-canvas .kb-mark")
        places = [marks.nth(index).bounding_box()["x"] for index in range(3, 10)]
        assert places == sorted(places)
        assert not page.locator(".kb-search .kb-switch").is_visible()
        shoot(page, "foreign")
        assert (watched.errors, watched.requests) == ([], [])


def test_exported_notebook_works_without_kernel_and_network(browser: Any, executed: Path, tmp_path: Path) -> None:
    """Both live widgets in their last state, and one that was shown; a click opens a console from the saved state."""
    path = tmp_path / "executed.html"
    export_html(executed, path)
    with open_page(browser, path.as_uri()) as watched:
        page = watched.page
        page.wait_for_selector(".kb-rates .kb-picture")
        assert page.locator(".kb-search").count() == 2
        assert "is the first bad commit, 97.3% sure" in page.locator(".kb-search .kb-title").first.inner_text()
        assert page.locator(".kb-search").first.locator(".kb-row").count() == 11
        open_row(page, 7)
        assert "BUG: KASAN" in page.locator(".kb-console").inner_text()
        shoot(page, "export")
        assert not watched.hacked()
        assert (watched.errors, watched.requests) == ([], [])


def test_exported_dashboard_draws_the_belief(browser: Any, tmp_path: Path) -> None:
    """Its pictures, without its buttons; the belief is zoomed, and tells each commit's, from the notebook's bytes."""
    create(tmp_path / "lab", seed=2, commits=60)
    bisection = Bisection(load_case(tmp_path / "lab" / "case.toml"), output=tmp_path / "out")
    running = RunningBisection(bisection, Control())
    dashboard = Dashboard(running)
    running.changed()  # as the bisection's thread says it
    state = ipywidgets.Widget.get_manager_state(widgets=None)
    data = {WIDGET_VIEW: {"model_id": dashboard.model_id, "version_major": 2, "version_minor": 0}}
    output = nbformat.v4.new_output("display_data", data=data)  # type: ignore[no-untyped-call]
    cell = nbformat.v4.new_code_cell("dashboard", outputs=[output])  # type: ignore[no-untyped-call]
    metadata = {"widgets": {"application/vnd.jupyter.widget-state+json": state}}
    made = nbformat.v4.new_notebook(cells=[cell], metadata=metadata)  # type: ignore[no-untyped-call]
    nbformat.write(made, tmp_path / "made.ipynb")  # type: ignore[no-untyped-call]
    export_html(tmp_path / "made.ipynb", tmp_path / "made.html")
    best = int(bisection.belief.argmax())
    with open_page(browser, (tmp_path / "made.html").as_uri()) as watched:
        page = watched.page
        canvas = page.locator(".kb-belief-canvas")
        assert (page.locator(".kb").count(), canvas.count()) == (3, 1)
        assert "candidates, 0 revisions tested" in canvas.get_attribute("aria-label")
        whole = canvas.screenshot()
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + box["width"] * (best + 0.5) / len(bisection.belief), box["y"] + 70)
        assert canvas.get_attribute("title") == f"{bisection.plan.hash(best)[:12]}: {100 * bisection.belief[best]:.2g}%"
        page.mouse.move(0, 0)
        canvas.focus()
        page.keyboard.press("+")
        page.wait_for_timeout(200)
        assert canvas.screenshot() != whole
        shoot(page, "export_belief")
        assert (watched.errors, watched.requests) == ([], [])


def test_stock_export_shows_the_still_picture(executed: Path) -> None:
    """What viewers that run no widget take: nbconvert without the saved state, GitHub, an untrusted notebook."""
    outputs = [output for cell in nbformat.read(executed, as_version=4).cells for output in cell.get("outputs", [])]
    shown = [output.data for output in outputs if "application/vnd.jupyter.widget-view+json" in output.get("data", {})]
    assert len(shown) == 3
    assert "image/png" in shown[-1]
    assert "first bad commit" in shown[-1]["text/plain"]


def test_jupyterlab(browser: Any, executed: Path, jupyter_home: Path) -> None:
    """Reopened, our signed notebook has its widgets and an unsigned copy a still picture; run, it is live."""
    copy = nbformat.read(executed, as_version=4)
    copy.cells[0].source += "\n"  # another notebook, so not the one that was signed
    nbformat.write(copy, jupyter_home / "unsigned.ipynb")
    slow = (jupyter_home / "live.ipynb").read_text().replace("float = 0.0", "float = 0.25")
    (jupyter_home / "run.ipynb").write_text(slow.replace("str = ''", f"str = '{jupyter_home / 'consoles'}'"))
    with jupyter_lab(jupyter_home, {}) as url:
        with open_page(browser, url.format("executed.ipynb")) as watched:
            wait_restored(watched.page)
            open_row(watched.page, 7)
            assert "BUG: KASAN" in watched.page.locator(".kb-console").inner_text()
            assert not watched.hacked()
            assert watched.requests == []
            shoot(watched.page, "lab_reopened")
        with open_page(browser, url.format("unsigned.ipynb")) as watched:
            watched.page.wait_for_selector(".jp-OutputArea-output img", timeout=60_000)
            assert watched.page.locator(".kb").count() == 0
            shoot(watched.page, "lab_unsigned")
        with open_page(browser, url.format("run.ipynb"), height=1400) as watched:
            page = watched.page
            run_all(page)
            search = page.locator(".kb-search").first
            search.locator(".kb-running").wait_for(timeout=60_000, state="attached")
            early = search.locator(".kb-row").count()
            open_row(page, 0)
            page.locator(".kb-search .kb-title", has_text="is the first bad commit").first.wait_for(timeout=60_000)
            assert 0 < early < search.locator(".kb-row").count() == 11
            assert views.commit(299)[:12] in page.locator(".kb-panel-head").first.inner_text()  # stays open
            assert watched.requests == []
            page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
            page.wait_for_selector("body[data-jp-theme-light='false']", state="attached")
            shoot(page, "lab_dark")
