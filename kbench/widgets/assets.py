"""The drawing code that Jupyter and the HTML pages share, and data put beside it in a page. Read `data_script` first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parent / "static"
MODULE = STATIC / "bisection.js"
BELIEF = STATIC / "belief.js"
STYLE = STATIC / "bisection.css"


@cache
def page_module() -> str:
    """Return the module that draws every placeholder of a page that has no Jupyter."""
    drawing = [f"{{\n{_without_export(path)}{names} = render;\n}}\n" for path, names in _DRAWS.items()]
    standalone = (STATIC / "standalone.js").read_text(encoding="utf-8")
    return _fit_for_script("".join(["const draw = {};\n", *drawing, standalone]))


@cache
def style(*names: str) -> str:
    """Return style sheets by file name, one after the other."""
    return "".join((STATIC / name).read_text(encoding="utf-8") for name in names)


def data_script(name: str, values: Mapping[str, Any]) -> str:
    """Return a script element that holds `values` as JSON and can neither run nor end early.

    `<`, `>` and `&` are written as escapes, so that neither `</script` nor `<!--` occurs; so is all that is not ASCII
    (U+2028 ends a line in JavaScript).
    """
    text = json.dumps(values, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{name}">{text}</script>'


def placeholder(name: str, values: Mapping[str, Any]) -> str:
    """Return the element that `page_module` draws into, with its data; `name` is unique in the page."""
    return f'<div data-kbench="{name}"></div>\n{data_script(name, values)}'


# Each module is a block of the page's: their names are their own. What it draws, by the name of the picture.
_DRAWS = {MODULE: "draw.search = draw.rates", BELIEF: "draw.belief"}


def _without_export(path: Path) -> str:
    code, export, rest = path.read_text(encoding="utf-8").partition("export default { render };\n")
    if not export or rest:
        raise ValueError(f"assets: need a module that ends by exporting render, {path.name} does not; end it so")
    return code


def _fit_for_script(code: str) -> str:
    if "</script" in code or "<!--" in code:
        raise ValueError("assets: need a module that can be inlined, it has '</script' or '<!--'; write it apart")
    return code
