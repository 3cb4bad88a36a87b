"""Our notebooks in JupyterLab's launcher: what there is, and a copy of one to work in. Read `entries` and `NotebooksHandler`.

A server extension, which JupyterLab finds by `labextension/server.json`; its other half is `labextension/static/launcher.js`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import ensure_async, url_path_join
from tornado import web

from kbench.resources import notebooks_dir

# As one meets them; others come after.
_ORDER = (
    "00_start_here", "bisect", "linux", "flakiness", "compare_strategies", "accuracy_study", "second_opinion", "what_if",
    "student_lab",
)  # fmt: skip


def entries(folder: Path) -> list[dict[str, str]]:
    """Return the notebooks of a folder: `name`, `title` and the `question` each opens with."""
    order = {name: place for place, name in enumerate(_ORDER)}
    paths = sorted(folder.glob("*.ipynb"), key=lambda path: (order.get(path.stem, len(order)), path.stem))
    return [{"name": path.stem, **_words(path)} for path in paths]


def _words(path: Path) -> dict[str, str]:
    notebook = _read(path)
    question = "".join(notebook["cells"][0]["source"]).partition("\n")[0].removeprefix("# ")
    return {"title": notebook["metadata"].get("title", path.stem), "question": question}


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


class NotebooksHandler(APIHandler):
    """GET lists the notebooks; POST of {name, folder} puts a copy into that folder of the server's and says its path."""

    auth_resource = "contents"

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with `entries`."""
        self.finish(json.dumps(entries(notebooks_dir())))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Make a copy beside those that are there already; nothing is written over."""
        asked = self.get_json_body() or {}
        paths = {path.stem: path for path in notebooks_dir().glob("*.ipynb")}
        path, folder = paths.get(str(asked.get("name"))), str(asked.get("folder", ""))
        if path is None:
            raise web.HTTPError(404, f"launcher: expected one of {', '.join(sorted(paths))}; reload the page")
        contents: Any = self.contents_manager
        free = await ensure_async(contents.increment_filename(path.name, folder, insert="-"))
        model = {"type": "notebook", "format": "json", "content": _read(path)}
        saved = await ensure_async(contents.save(model, url_path_join(folder, free)))
        self.set_status(201)
        self.finish(json.dumps({"path": saved["path"]}))


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: Any) -> None:
    route = url_path_join(server.web_app.settings["base_url"], "kbench", "notebooks")
    server.web_app.add_handlers(".*$", [(route, NotebooksHandler)])
