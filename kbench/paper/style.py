"""How every figure looks: its size, colours, marks, labels and files. Read `blank`, `for_paper` and `save` first."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kbench.errors import InputError
from kbench.host import storage
from kbench.text import clean_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colour-blind safe palette (2008), and a shape each: the widgets' marks.
MARKS: Mapping[str | None, dict[str, Any]] = {
    "bad": {"marker": "D", "color": "#d55e00", "s": 46},
    "good": {"marker": "o", "color": "#0072b2", "s": 58},
    "skip": {"marker": "s", "facecolor": "white", "edgecolor": "#767c84", "s": 48, "linewidth": 1.6},
    None: {"marker": "o", "facecolor": "white", "edgecolor": "#767c84", "s": 48},
}
# The palette again, for strategies: the fourth too is told apart without colours.
SERIES: tuple[dict[str, Any], ...] = (
    {"color": "#0072b2", "marker": "o"},
    {"color": "#d55e00", "marker": "D"},
    {"color": "#009e73", "marker": "s"},
    {"color": "#cc79a7", "marker": "^"},
    {"color": "#7a5fc7", "marker": "v"},
    {"color": "#5b636d", "marker": "P"},
)
INK, DIM, LINE, BAND = "#1f2328", "#5b636d", "#d5d9de", "#7a5fc7"
GOOD, BAD = "#0072b2", "#d55e00"


def blank(width_in: float, height_in: float, title: str = "") -> Figure:
    """Return an empty figure of so many inches."""
    from matplotlib.figure import Figure  # no pyplot: no global state
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(width_in, height_in), layout=layout, facecolor="white")
    figure.suptitle(safe(title, 120), x=0.012, ha="left", fontsize=11, fontweight="bold")
    return figure


def plain(axes: Axes, *, x: str = "", y: str = "") -> Axes:
    """Leave one line of the frame and set the labels, each with its unit."""
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.tick_params(length=0, labelcolor=INK, labelsize=8)
    axes.set_xlabel(x, fontsize=9, color=DIM)
    axes.set_ylabel(y, fontsize=9, color=DIM)
    return axes


def for_paper(figure: Figure, width_in: float, *, least_in: float = 3.3) -> Axes:
    """Take the title away, a paper has a caption; set the width and return the first axes. Text keeps its 8 and 9 points.

    Raises
    ------
    InputError
        The width is not from `least_in` to 20 inches.
    """
    if not least_in <= width_in <= 20:
        raise InputError(f"plot: expected a width of {least_in:g} to 20 inches, got {width_in}; a page is 7 wide")
    figure.suptitle("")
    figure.set_size_inches(width_in, figure.get_figheight())
    axes: Any = figure.axes[0]
    axes._repr_png_ = partial(_png, figure)  # axes that pyplot did not make show nothing in a notebook
    return axes


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()


def chosen(what: str, drawn: Mapping[str, Any]) -> Any:
    """Return what is drawn under a name; InputError for a name that is not there."""
    if what not in drawn:
        raise InputError(f"plot: expected one of {', '.join(drawn)}, seen {what!r}; choose among them")
    return drawn[what]


def safe(text: str, limit: int = 60) -> str:
    """Return a kernel's or a commit's text as one line that is drawn as it is: "$" would start a formula, and one can fail."""
    return clean_line(text, limit).replace("$", r"\$")


def save(drawn: Axes | Figure, path: Path | str) -> None:
    """Write a figure as the file's name ends: `.svg`, `.pdf` or `.png`. The same picture is the same file, text stays text.

    Raises
    ------
    InputError
        Another ending.
    """
    from matplotlib import rc_context

    path = Path(path)
    undated: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}
    if path.suffix not in undated:
        raise InputError(f"plot: expected a file named {', '.join(undated)}, seen {path.name!r}; name it so")
    figure: Any = drawn.get_figure(root=True)
    for axes in figure.axes:  # a layout goes on from where the last one left it, and would never be quite the same
        if place := axes.get_subplotspec():
            axes.set_subplotspec(place)
    # An SVG's ids are hashed with a salt; its text would become outlines, as would a PDF's in Type 3.
    with (
        rc_context({"svg.hashsalt": "kbench", "svg.fonttype": "none", "pdf.fonttype": 42}),
        storage("plot", path.parent),
    ):
        figure.savefig(path, metadata=undated[path.suffix], dpi=300)
