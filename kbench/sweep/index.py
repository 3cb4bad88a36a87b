"""The page of a sweep: one row a run, with the first picture of its notebook. Read `write_index`."""

from __future__ import annotations

import base64
import functools
import html
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kbench.host import storage
from kbench.sweep.plan import Plan, Row
from kbench.sweep.records import Record, flat
from kbench.text import clean_line
from kbench.widgets import assets

PAGE = "index.html"
_THUMBNAIL = 240, 120  # pixels at most
_MAX_VALUES = 8  # of a result
_MAX_TEXT = 60  # characters of a value
_MAX_PICTURE = 8_000_000  # characters
_STYLE = """
.sweep img { max-width: 240px; max-height: 120px; background: #fff; border-radius: 4px; }
.sweep td { min-width: 60px; max-width: 260px; overflow-wrap: break-word; }
.sweep td:first-child { white-space: nowrap; }
.sweep td a { color: inherit; }
"""


def write_index(plan: Plan, records: Mapping[str, Record]) -> Path:
    """Write a page that works from a disk and loads nothing; links lead to the executed notebooks."""
    named = sorted({name for row in plan.rows for name in row.varied})
    found = [flat(record.result) for record in records.values() if record.status == "done"]
    shown = _telling(found)
    heads = "".join(f"<th>{_text(name)}</th>" for name in ("run", "", *named, "seconds", *shown))
    lines = "\n".join(_line(row, records.get(row.id), named, shown) for row in plan.rows)
    counts = Counter(records[row.id].status if row.id in records else "open" for row in plan.rows)
    told = ", ".join(f"{counts[status]} {status}" for status in ("done", "failed", "open") if counts[status])
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{_text(plan.name)}: {told}</title>
<style>{assets.style("page.css")}{_STYLE}</style>
</head>
<body>
<header><p class="over">sweep of {_text(plan.notebook.name)}</p><h1>{_text(plan.name)}: {told}</h1></header>
<section class="wide"><table class="sweep"><thead><tr>{heads}</tr></thead><tbody>
{lines}
</tbody></table></section>
</body>
</html>
"""
    path = plan.folder / PAGE
    with storage("sweep", plan.folder):
        partial = path.with_suffix(".partial")
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    return path


def _telling(found: Sequence[Mapping[str, Any]]) -> list[str]:
    # The first values of the results that are short enough for a table, those that differ between runs before the others.
    names = dict.fromkeys(name for values in found for name in values)
    columns = {name: [values[name] for values in found if name in values] for name in names}
    short = [name for name, column in columns.items() if any(column) and all(map(_short, column))]
    differ = [name for name in short if len(set(map(str, columns[name]))) > 1]
    return [*differ, *(name for name in short if name not in differ)][:_MAX_VALUES]


def _short(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= _MAX_TEXT and "/" not in value[:1])


def _line(row: Row, record: Record | None, named: Sequence[str], shown: Sequence[str]) -> str:
    status = record.status if record else "open"
    css = {"done": "good", "failed": "bad"}.get(status, "note")
    link = f'<a href="{row.id}/notebook.ipynb">{row.id}</a>' if record else row.id
    cells = [f'{link}<br><span class="{css}">{status}</span>', _picture(row) if record else ""]
    cells += [_text(_words(row.varied[name])) if name in row.varied else "" for name in named]
    cells.append(f"{record.seconds:.1f}" if record else "")
    values = flat(record.result) if record else {}
    if record and record.error:
        return "<tr>" + _cells(cells) + f'<td class="text" colspan="{max(len(shown), 1)}">{_text(record.error)}</td></tr>'
    return "<tr>" + _cells([*cells, *(_text(_words(values[name])) if name in values else "" for name in shown)]) + "</tr>"


def _cells(cells: Sequence[str]) -> str:
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _picture(row: Row) -> str:
    # The first picture of the executed notebook, small.
    try:
        picture = _small_picture(row.notebook, row.notebook.stat().st_mtime_ns)
    except OSError:
        return ""
    return f'<img alt="first picture of run {row.id}" src="data:image/png;base64,{picture}">' if picture else ""


@functools.cache  # the page is written again and again
def _small_picture(path: Path, _changed_ns: int) -> str:
    from PIL import Image  # matplotlib's

    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        outputs = (output for cell in notebook["cells"] for output in cell.get("outputs", []))
        picture = next(output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {}))
        small = _thumbnail(base64.b64decode("".join(picture)[:_MAX_PICTURE]))
    except (OSError, ValueError, KeyError, TypeError, StopIteration, Image.DecompressionBombError):
        return ""  # a cut-off notebook has none
    return base64.b64encode(small).decode()


def _thumbnail(picture: bytes) -> bytes:
    from PIL import Image  # matplotlib's

    with Image.open(io.BytesIO(picture), formats=["PNG"]) as image:
        image.thumbnail((2 * _THUMBNAIL[0], 2 * _THUMBNAIL[1]))  # screens have two pixels a pixel
        small = io.BytesIO()
        image.save(small, "PNG")
    return small.getvalue()


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _text(text: str) -> str:
    return html.escape(clean_line(text), quote=True)
