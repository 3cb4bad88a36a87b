"""Our notebooks in JupyterLab's launcher, as `pip install` puts them there: seen, chosen, copied."""

from __future__ import annotations

import json
from importlib.metadata import distribution
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from kbench.resources import notebooks_dir
from kbench.widgets.launcher import entries
from tests.jupyter_browser import chromium, home, jupyter_lab, launcher, open_page, shoot


def test_every_notebook_has_an_entry() -> None:
    """A title and a question each, no title twice; the first one to read comes first."""
    found = entries(notebooks_dir())
    assert {one["name"] for one in found} == {path.stem for path in notebooks_dir().glob("*.ipynb")}
    assert len({one["title"] for one in found}) == len(found)
    assert all(one["question"].endswith("?") for one in found)
    assert (found[0]["name"], found[-1]["name"]) == ("00_start_here", "student_lab")


@pytest.mark.browser
@pytest.mark.timeout(180)
def test_an_entry_opens_a_copy(tmp_path: Path) -> None:
    """In the folder that is open, whatever it is called and beside an older copy; ours stays as it was."""
    folder, shipped = tmp_path / "my work & <b>", notebooks_dir() / "bisect.ipynb"
    folder.mkdir()
    before = shipped.read_bytes()
    with (
        chromium() as browser,
        jupyter_lab(tmp_path, home(tmp_path)) as url,
        open_page(browser, url.format("my%20work%20%26%20%3Cb%3E"), width=1300, height=1000) as watched,
    ):
        page = watched.page
        section = launcher(page)
        cards = section.locator(".jp-LauncherCard")
        cards.first.wait_for(timeout=60_000)
        assert cards.locator(".jp-LauncherCard-label").all_inner_texts() == [one["title"] for one in entries(notebooks_dir())]
        assert cards.locator("svg").count() == cards.count()
        section.scroll_into_view_if_needed()
        shoot(page, "lab_launcher")
        cards.get_by_text("Bisection", exact=True).click()
        page.locator(".lm-TabBar-tab.lm-mod-current", has_text="bisect.ipynb").first.wait_for(timeout=60_000)
        page.get_by_role("heading", name="Which commit broke the kernel?").wait_for(timeout=60_000)
        shoot(page, "lab_launched")
        assert page.evaluate(_POST, {"name": "bisect", "folder": folder.name}) == [201, f"{folder.name}/bisect-1.ipynb"]
        for copy in ("bisect.ipynb", "bisect-1.ipynb"):
            assert json.loads((folder / copy).read_text())["cells"] == json.loads(before)["cells"]
        with pytest.raises(HTTPError, match="403"):
            urlopen(f"{url.partition('/lab/')[0]}/kbench/notebooks")
        for name in ("../bisect", None):
            assert page.evaluate(_POST, {"name": name, "folder": ""}) == [404, None]
        assert page.evaluate(_POST, {"name": "bisect", "folder": "../.."})[0] >= 400
        assert watched.requests == []
    assert shipped.read_bytes() == before


# A request as the page makes it, of whatever it likes.
_POST = """async (asked) => {
  const xsrf = document.cookie.match(/_xsrf=([^;]*)/)?.[1] ?? '';
  const init = {method: 'POST', headers: {'X-XSRFToken': xsrf}, body: JSON.stringify(asked)};
  const answer = await fetch('/kbench/notebooks', init);
  return [answer.status, (await answer.json()).path ?? null];
}"""


def test_what_jupyter_reads_is_installed() -> None:
    """Both halves are among the installed files, where JupyterLab and its server look."""
    files = {str(path) for path in distribution("kbench").files or ()}
    for name in ("share/jupyter/labextensions/kbench/static/launcher.js", "etc/jupyter/jupyter_server_config.d/kbench.json"):
        assert any(path.endswith(name) for path in files), name
