"""All that the drawing code reads for one picture, consoles included. Read `of` first."""

from __future__ import annotations

from typing import Any

from kbench.records import BisectionView
from kbench.widgets import consoles, rows

NAMES = ("picture", "head", "rows", "consoles")
PICTURES = ("search", "rates")
BELIEF = ("picture", "size", "tags", "tested", "next", "words")  # what the picture "belief" reads, besides
BELIEF_BYTES = ("belief", "commits")  # these, of bytes


def of(picture: str, view: BisectionView) -> dict[str, Any]:
    """Return the values of a picture, one of `PICTURES`, by name; JSON can carry them."""
    search = picture == "search"
    return {
        "picture": picture,
        "head": rows.head_row(view),
        "rows": rows.search_rows(view) if search else rows.rate_rows(view),
        "consoles": consoles.of_steps(view.steps) if search else [],
    }
