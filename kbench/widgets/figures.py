"""Still pictures of a bisection, by matplotlib: for print, for logs of others, and where no code may run.

Each returns a `matplotlib.figure.Figure` that the caller saves (`save`) or a notebook shows. Read `plot` first.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kbench.errors import InputError
from kbench.host import storage
from kbench.records import BisectionView
from kbench.widgets import rows
from kbench.widgets.text import clean_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colour-blind safe palette (2008), and a shape each: the widgets' marks.
_MARKS: dict[str | None, dict[str, Any]] = {
    "bad": {"marker": "D", "color": "#d55e00", "s": 46},
    "good": {"marker": "o", "color": "#0072b2", "s": 58},
    "skip": {"marker": "s", "facecolor": "white", "edgecolor": "#767c84", "s": 48, "linewidth": 1.6},
    None: {"marker": "o", "facecolor": "white", "edgecolor": "#767c84", "s": 48},
}
_BAND, _DIM, _LINE = "#7a5fc7", "#5b636d", "#d5d9de"


def plot(view: BisectionView, what: str = "search", *, width_in: float = 7.0) -> Axes:
    """Draw a bisection for a paper and return the axes; `.figure` is a Figure of `width_in` inches, with text of 8 or 9 points.

    It has no title: a paper has a caption.

    Raises
    ------
    InputError
        `what` is not "search", "rates" or "costs", or the width is not from 6 to 20 inches.
    """
    drawn = {"search": search_figure, "rates": rates_figure, "costs": costs_figure}
    if what not in drawn:
        raise InputError(f"plot: expected one of {', '.join(drawn)}, seen {what!r}; choose among them")
    if not 6 <= width_in <= 20:
        raise InputError(f"plot: expected a width of 6 to 20 inches, got {width_in}; a page is 7 wide")
    figure = drawn[what](view)
    figure.suptitle("")
    figure.set_size_inches(width_in, figure.get_figheight())
    figure.axes[0].tick_params(axis="x", labelsize=8)
    return figure.axes[0]


def save(figure: Figure, path: Path | str) -> None:
    """Write a figure as its name ends, `.svg`, `.pdf` or `.png`: the same picture is the same file, text stays text in a PDF.

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
    with rc_context({"svg.hashsalt": "kbench", "pdf.fonttype": 42}), storage("plot", path.parent):
        figure.savefig(path, metadata=undated[path.suffix], dpi=300)


def search_figure(view: BisectionView) -> Figure:
    """Draw the search: tested revisions downward in time, over the history or, when that is not known, the candidates left."""
    found = rows.search_rows(view)
    axes, figure = _axes(len(found), rows.answer(view))
    shown = rows.extent(view)
    left = _filled([row["left"] for row in found])
    if shown:
        _draw_history(axes, view, found, shown)
    else:
        _draw_counts(axes, left)
    for y, row in enumerate(found):
        x = row["position"] if shown else left[y]
        if x is not None:
            axes.scatter([x], [y], zorder=4, **_MARKS[row["verdict"]])
            if row["culprit"]:
                axes.scatter([x], [y], s=190, facecolor="none", edgecolor="#d55e00", linewidth=1.4, zorder=3)
        counts = f"{row['crashed']}/{row['total']}" if row["total"] else "–"
        axes.annotate(counts, (1.012, y), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=_DIM)
    axes.set_yticks(range(len(found)), [_label(row) for row in found], fontsize=8)
    _legend(axes, found)
    return figure


def rates_figure(view: BisectionView) -> Figure:
    """Draw the crash rate of every tested revision, with its 95% interval."""
    found = rows.rate_rows(view)
    axes, figure = _axes(len(found), "How often each revision crashed")
    for y, row in enumerate(found):
        if row["rate"] is not None:
            colour = _MARKS[row["verdict"]].get("color", _DIM)
            axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=1.8, marker="|", markersize=8, zorder=3)
            axes.scatter([row["rate"]], [y], zorder=4, **_MARKS[row["verdict"]])
        counts = f"{row['crashed']}/{row['total']}" if row["total"] else "no run"
        axes.annotate(counts, (1.012, y), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=_DIM)
    axes.set_xlim(-0.02, 1.02)
    axes.grid(axis="x", color=_LINE, linewidth=0.8)
    axes.set_xlabel("crash rate of one run, 95% interval", fontsize=9, color=_DIM)
    labels = [f"{_safe(clean_line(row['subject'], 34))}   {row['commit'][:10]}" for row in found]
    axes.set_yticks(range(len(found)), labels, fontsize=8)
    _legend(axes, found)
    return figure


def costs_figure(view: BisectionView) -> Figure:
    """Draw what each tested revision cost: build against test time."""
    costs = [(_label(row), row["build_s"], row["test_s"], row["cached"]) for row in rows.search_rows(view)]
    if not any(build or test for _, build, test, _ in costs):  # a foreign log tells the sums alone
        costs = [("all revisions", view.build_s, view.test_s, False)]
    labels, build, test, cached = zip(*costs, strict=True)
    axes, figure = _axes(len(costs), f"Build {view.build_s:.0f} s, test {view.test_s:.0f} s")
    axes.barh(range(len(costs)), build, height=0.62, color=_BAND, label="build")
    axes.barh(range(len(costs)), test, left=build, height=0.62, color="#0072b2", label="test")
    for y in (y for y, was_there in enumerate(cached) if was_there):
        at = (build[y] + test[y], y)
        axes.annotate("cached", at, (4, 0), textcoords="offset points", va="center", fontsize=8, color=_DIM)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=_LINE, linewidth=0.8)
    axes.set_xlabel("seconds", fontsize=9, color=_DIM)
    axes.set_yticks(range(len(costs)), labels, fontsize=8)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -_below(len(costs))), ncols=2, frameon=False, fontsize=9)
    return figure


def _axes(n_rows: int, title: str) -> tuple[Axes, Figure]:
    from matplotlib.figure import Figure  # no pyplot: no global state
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(9.6, 1.7 + 0.29 * max(n_rows, 3)), layout=layout, facecolor="white")
    axes = figure.add_subplot()
    # A title is a kernel's or a commit's text: "$" would start a formula, and a formula can fail.
    figure.suptitle(_safe(clean_line(title, 110)), x=0.012, ha="left", fontsize=11, fontweight="bold")
    axes.set_ylim(max(n_rows, 1) - 0.4, -0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    axes.tick_params(length=0, labelcolor="#1f2328")
    return axes, figure


def _draw_history(axes: Axes, view: BisectionView, found: list[rows.Row], shown: list[int]) -> None:
    first, last = shown
    width = last - first
    axes.set_xlim(first - 0.015 * width, last + 0.015 * width)
    spans: list[list[int]] = []
    for y, row in enumerate(found):
        spans = row["spans"] or spans
        for start, end in spans:
            wide = max(end - start + 1, 0.003 * width)
            bottom = y + (1 if y + 1 < len(found) else 0.6)
            middle = (start + end) / 2
            axes.fill_between([middle - wide / 2, middle + wide / 2], y, bottom, color=_BAND, alpha=0.24, linewidth=0)
        axes.axhline(y, color=_LINE, linewidth=0.7, zorder=0)
    tags = sorted(((name, position) for name, position in view.tags if first <= position <= last), key=lambda tag: tag[1])
    for _, position in tags:
        axes.axvline(position, color=_LINE, linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)
    _tag_labels(axes, tags, width)
    culprit = rows.culprit_position(view)
    if culprit is not None:
        axes.axvline(culprit, color="#d55e00", linewidth=1.1, linestyle=(0, (5, 3)), zorder=1)
    axes.set_xlabel("commits, oldest to newest", fontsize=9, color=_DIM)


def _tag_labels(axes: Axes, tags: list[tuple[str, int]], width: int) -> None:
    free = float("-inf")
    for name, position in tags:
        half = 0.009 * len(name) * width / 2
        if position - half >= free:
            axes.annotate(
                _safe(clean_line(name, 24)), (position, 1.0), (0, 3), xycoords=("data", "axes fraction"),
                textcoords="offset points", ha="center", fontsize=8, color=_DIM,
            )  # fmt: skip
            free = position + half + 0.01 * width


def _filled(left: list[int | None]) -> list[int]:
    # A step that says nothing of the range (a release, the parent) stands where the range was before it.
    known = [max(count, 1) for count in left if count is not None]
    filled = [max(known, default=2)]
    for count in left:
        filled.append(filled[-1] if count is None else max(count, 1))
    return filled[1:]


def _draw_counts(axes: Axes, left: list[int]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(max(left, default=2) * 1.25, 0.85)
    for y, count in enumerate(left):
        axes.axhline(y, color=_LINE, linewidth=0.7, zorder=0)
        bottom = y + (1 if y + 1 < len(left) else 0.6)
        axes.fill_between([0.85, count], y, bottom, color=_BAND, alpha=0.24, linewidth=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("candidates left", fontsize=9, color=_DIM)


def _legend(axes: Axes, found: list[rows.Row]) -> None:
    for verdict in ("bad", "good", "skip"):
        if any(row["verdict"] == verdict for row in found):
            axes.scatter([], [], label=verdict, **_MARKS[verdict])
    if found:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -_below(len(found))), ncols=3, frameon=False, fontsize=9)


def _below(n_rows: int) -> float:
    # Room for the axis label, 0.5 inch, as a share of the axes' height.
    return 0.5 / (0.29 * max(n_rows, 3) + 0.4)


def _label(row: rows.Row) -> str:
    return f"{_safe(row['stage'])}   {row['commit'][:10]}"


def _safe(text: str) -> str:
    return text.replace("$", r"\$")
