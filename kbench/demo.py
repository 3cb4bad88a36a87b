"""The demonstrations behind `make demo` and `make demo-linux`: a lab, a notebook through papermill, and what came out.

Read `run_demo`.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kbench.errors import InputError
from kbench.host import storage
from kbench.lab import Lab
from kbench.notebook import execute
from kbench.resources import notebooks_dir

#: Written into a folder the demonstration made, so that it empties no other one.
MARKER = ".kbench-demo"


def run_demo(
    folder: Path,
    *,
    make_lab: Callable[[Path], Lab],
    notebook: str,
    say: Callable[[str], object],
    show: Callable[[Any], object] | None = None,
) -> int:
    """Make a lab, bisect it by a notebook, and say what was found; return 0 when it is the planted culprit, else 1.

    Parameters
    ----------
    folder : Path
        Where everything goes; emptied if an earlier demonstration made it.
    make_lab : callable
        Makes the lab in the folder it is given.
    notebook : str
        Which of kbench's notebooks; it takes `case` and `output`.
    say : callable
        Gets lines of text.
    show : callable, optional
        Gets the result as JSON values.

    Raises
    ------
    InputError
        The folder holds something else.
    """
    folder = folder.absolute()
    started = time.monotonic()
    if folder.exists() and not (folder / MARKER).is_file() and any(folder.iterdir()):
        raise InputError(
            f"demo: expected {folder} to be new or an earlier demonstration's, it holds something else; give another folder"
        )
    with storage("demo", folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / MARKER).touch()
    lab = make_lab(folder / "lab")
    say(f"lab: a git repository with a planted {lab.kind}, its culprit written down in {_short(lab.truth)}")
    say(f"bisecting it in real machines by notebooks/{notebook}.ipynb through papermill ...")
    executed, page = folder / f"{notebook}.ipynb", folder / f"{notebook}.html"
    found = execute(notebooks_dir() / f"{notebook}.ipynb", executed, {"case": lab.case, "output": folder / "bisection"})
    from kbench.widgets.export import export_html

    export_html(executed, page)
    truth = json.loads(Path(lab.truth).read_text(encoding="utf-8"))["culprit"]
    right = found["culprit"] == truth
    places = {
        "executed notebook": executed,
        "the same as a page": page,
        "HTML report": folder / "bisection" / "report.html",
        "journal": folder / "bisection" / "kbench.sqlite",
        "log": folder / "bisection" / "bisection.log",
    }
    say("\n" + places["log"].read_text(encoding="utf-8"))
    say(f"culprit: {found['culprit']}\nplanted: {truth}")
    say("They are the same.\n" if right else "They differ: the answer is wrong.\n")
    for what, path in places.items():
        say(f"{what + ':':<20}{_short(path)}")
    say(f"{found['builds']} revisions built, {found['runs']} machines booted, {time.monotonic() - started:.0f} s in all")
    if show:
        show(found | {"planted": truth, "right": right, "files": {what: str(path) for what, path in places.items()}})
    return 0 if right else 1


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
