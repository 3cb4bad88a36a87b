"""Still pictures of second opinions, by matplotlib; those of studies are here by name. Read `path_figure` first.

Each returns a `matplotlib.figure.Figure`, as those of `kbench.widgets.figures` do, in the same colours and marks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kbench.opinion import Posterior, Rejudged, doubt
from kbench.paper.style import BAD, BAND, DIM, GOOD, INK, LINE, MARKS, blank, plain, safe
from kbench.records import Outcome
from kbench.study.figures import answers_figure, frontier_figure, reliability_figure
from kbench.text import clean_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["answers_figure", "frontier_figure", "path_figure", "reliability_figure"]

_MAX_ROWS = 60  # of a path; a longer one is drawn without the revisions that could not be tested
_WORDS = 74  # characters of a reason
_LEAST = 0.004  # a lower bar is not seen


def path_figure(
    title: str, revisions: Sequence[Rejudged], posterior: Posterior, *, turned: Posterior | None = None, row: int | None = None
) -> Figure:
    """Draw the path of a bisection over the order of its revisions, doubtful steps marked, and where the bug begins below.

    Parameters
    ----------
    title : str
    revisions : sequence of Rejudged
        As the log has them, in order.
    posterior : Posterior
        What the runs say.
    turned : Posterior, optional
        What they say if one verdict is wrong.
    row : int, optional
        That revision's place in `posterior.revisions`.
    """
    shown = [one for one in revisions if len(revisions) <= _MAX_ROWS or one.tested.crashing is not None]
    figure = blank(12.0, 3.3 + 0.27 * max(len(shown), 4), title)
    path, bars = figure.subplots(2, 1, sharex=True, height_ratios=(0.27 * max(len(shown), 4), 1.7))
    _draw_path(path, shown, posterior, row)
    _draw_posterior(bars, posterior, turned)
    return figure


def _draw_path(axes: Axes, shown: Sequence[Rejudged], posterior: Posterior, turned_row: int | None) -> None:
    plain(axes)
    places = [_column(one, posterior) for one in shown]
    axes.plot(places, range(len(shown)), color=LINE, linewidth=1.0, zorder=1)
    if posterior.named is not None:
        axes.axvspan(posterior.named - 1, posterior.named, color=BAND, alpha=0.14, linewidth=0, zorder=0)
    for y, (one, x) in enumerate(zip(shown, places, strict=True)):
        verdict = None if one.tested.step.verdict is None else {True: "bad", False: "good", None: "skip"}[one.tested.crashing]
        axes.scatter([x], [y], zorder=4, **MARKS[verdict])
        words = doubt(one)
        if words:
            axes.scatter([x], [y], s=170, facecolor="none", edgecolor=INK, linewidth=1.5, zorder=3)
        if turned_row is not None and posterior.row(one.tested) == turned_row:
            axes.annotate("turned over", (x, y), (9, 0), textcoords="offset points", va="center", fontsize=8, fontweight="bold")
        label = f"{_counts(one):>6}" + (f"   {one.p_right:.0%} right: {clean_line(words, _WORDS)}" if words else "")
        axes.annotate(safe(label), (1.012, y), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=DIM)
    labels = [f"{safe(one.tested.step.stage, 24)}   {one.tested.step.commit[:10]}" for one in shown]
    axes.set_yticks(range(len(shown)), labels, fontsize=8)
    axes.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    axes.set_xlim(-1.1, len(posterior.revisions) + 0.1)
    for verdict, name in (("bad", "crashes"), ("good", "clean"), ("skip", "not testable")):
        axes.scatter([], [], label=name, **MARKS[verdict])
    axes.scatter([], [], s=120, facecolor="none", edgecolor=INK, linewidth=1.5, label="doubtful")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, frameon=False, fontsize=8, borderpad=0)


def _draw_posterior(axes: Axes, posterior: Posterior, turned: Posterior | None) -> None:
    plain(axes)
    places = [entry - 0.5 for entry in range(len(posterior.log_p))]
    if posterior.named is not None:
        axes.axvspan(posterior.named - 1, posterior.named, color=BAND, alpha=0.14, linewidth=0, label="where the log puts it")
    axes.bar(places, posterior.p, width=0.86, color=GOOD, label="by all runs", zorder=2)
    if turned is not None:
        high = [(place, p) for place, p in zip(places, turned.p, strict=True) if p > _LEAST]
        style: dict[str, Any] = {"facecolor": "none", "edgecolor": BAD, "linewidth": 1.6, "hatch": "///", "zorder": 3}
        axes.bar([place for place, _ in high], [p for _, p in high], width=0.56, label="if that verdict is wrong", **style)
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_ylabel("P(bug begins here)", fontsize=9, color=DIM)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_xticks(
        range(len(posterior.revisions)), [_tick(one.step.stage) for one in posterior.revisions], rotation=90, fontsize=8
    )
    axes.set_xlabel(
        "tested revisions, oldest to newest; the first bar is older than all, the last is nowhere", fontsize=9, color=DIM
    )
    axes.legend(loc="upper left", bbox_to_anchor=(1.005, 1.0), frameon=False, fontsize=8)


def _column(one: Rejudged, posterior: Posterior) -> float:
    # Its place in the order; one that tells nothing stands between two that do.
    row = posterior.row(one.tested)
    if row is not None:
        return float(row)
    return sum(known.age > one.tested.age for known in posterior.revisions) - 0.5


def _counts(one: Rejudged) -> str:
    counts = one.tested.step.counts
    told = counts[Outcome.CRASHED] + counts[Outcome.OK]
    return f"{counts[Outcome.CRASHED]}/{told}" if told else "–"


def _tick(stage: str) -> str:
    return safe(stage.removeprefix("release "), 12) if stage != "bisect" else ""
