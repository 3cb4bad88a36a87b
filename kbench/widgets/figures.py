"""Still pictures of a bisection, by matplotlib: for print, for logs of others, and where no code may run.

Each returns a `matplotlib.figure.Figure` that the caller saves (`kbench.paper.save`) or a notebook shows. Read `plot` first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kbench.paper.style import BAD, BAND, DIM, GOOD, LINE, MARKS, blank, chosen, for_paper, plain, safe
from kbench.records import BisectionView
from kbench.widgets import rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot(view: BisectionView, what: str = "search", *, width_in: float = 7.0) -> Axes:
    """Draw a bisection for a paper and return the axes; `.figure` is a Figure of `width_in` inches, with text of 8 or 9 points.

    It has no title: a paper has a caption.

    Raises
    ------
    InputError
        `what` is not "search", "rates" or "costs", or the width is not from 6 to 20 inches.
    """
    draw = chosen(what, {"search": search_figure, "rates": rates_figure, "costs": costs_figure})
    return for_paper(draw(view), width_in, least_in=6)  # its labels and counts take three inches


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
            axes.scatter([x], [y], zorder=4, **MARKS[row["verdict"]])
            if row["culprit"]:
                axes.scatter([x], [y], s=190, facecolor="none", edgecolor=BAD, linewidth=1.4, zorder=3)
        counts = f"{row['crashed']}/{row['total']}" if row["total"] else "–"
        axes.annotate(counts, (1.012, y), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=DIM)
    axes.set_yticks(range(len(found)), [_label(row) for row in found], fontsize=8)
    _legend(axes, found)
    return figure


def rates_figure(view: BisectionView) -> Figure:
    """Draw the crash rate of every tested revision, with its 95% interval."""
    found = rows.rate_rows(view)
    axes, figure = _axes(len(found), "How often each revision crashed")
    for y, row in enumerate(found):
        if row["rate"] is not None:
            colour = MARKS[row["verdict"]].get("color", DIM)
            axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=1.8, marker="|", markersize=8, zorder=3)
            axes.scatter([row["rate"]], [y], zorder=4, **MARKS[row["verdict"]])
        counts = f"{row['crashed']}/{row['total']}" if row["total"] else "no run"
        axes.annotate(counts, (1.012, y), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=DIM)
    axes.set_xlim(-0.02, 1.02)
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    axes.set_xlabel("crash rate of one run, 95% interval", fontsize=9, color=DIM)
    labels = [f"{safe(row['subject'], 34)}   {row['commit'][:10]}" for row in found]
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
    axes.barh(range(len(costs)), build, height=0.62, color=BAND, label="build")
    axes.barh(range(len(costs)), test, left=build, height=0.62, color=GOOD, label="test")
    for y in (y for y, was_there in enumerate(cached) if was_there):
        at = (build[y] + test[y], y)
        axes.annotate("cached", at, (4, 0), textcoords="offset points", va="center", fontsize=8, color=DIM)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    axes.set_xlabel("seconds", fontsize=9, color=DIM)
    axes.set_yticks(range(len(costs)), labels, fontsize=8)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -_below(len(costs))), ncols=2, frameon=False, fontsize=9)
    return figure


def _axes(n_rows: int, title: str) -> tuple[Axes, Figure]:
    figure = blank(9.6, 1.7 + 0.29 * max(n_rows, 3), title)
    axes = plain(figure.add_subplot())
    axes.set_ylim(max(n_rows, 1) - 0.4, -0.6)
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
            axes.fill_between([middle - wide / 2, middle + wide / 2], y, bottom, color=BAND, alpha=0.24, linewidth=0)
        axes.axhline(y, color=LINE, linewidth=0.7, zorder=0)
    tags = sorted(((name, position) for name, position in view.tags if first <= position <= last), key=lambda tag: tag[1])
    for _, position in tags:
        axes.axvline(position, color=LINE, linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)
    _tag_labels(axes, tags, width)
    culprit = rows.culprit_position(view)
    if culprit is not None:
        axes.axvline(culprit, color=BAD, linewidth=1.1, linestyle=(0, (5, 3)), zorder=1)
    axes.set_xlabel("commits, oldest to newest", fontsize=9, color=DIM)


def _tag_labels(axes: Axes, tags: list[tuple[str, int]], width: int) -> None:
    free = float("-inf")
    for name, position in tags:
        half = 0.009 * len(name) * width / 2
        if position - half >= free:
            axes.annotate(
                safe(name, 24), (position, 1.0), (0, 3), xycoords=("data", "axes fraction"),
                textcoords="offset points", ha="center", fontsize=8, color=DIM,
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
        axes.axhline(y, color=LINE, linewidth=0.7, zorder=0)
        bottom = y + (1 if y + 1 < len(left) else 0.6)
        axes.fill_between([0.85, count], y, bottom, color=BAND, alpha=0.24, linewidth=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("candidates left", fontsize=9, color=DIM)


def _legend(axes: Axes, found: list[rows.Row]) -> None:
    for verdict in ("bad", "good", "skip"):
        if any(row["verdict"] == verdict for row in found):
            axes.scatter([], [], label=verdict, **MARKS[verdict])
    if found:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -_below(len(found))), ncols=3, frameon=False, fontsize=9)


def _below(n_rows: int) -> float:
    # Room for the axis label, 0.5 inch, as a share of the axes' height.
    return 0.5 / (0.29 * max(n_rows, 3) + 0.4)


def _label(row: rows.Row) -> str:
    return f"{safe(row['stage'])}   {row['commit'][:10]}"
