"""Figures of studies: accuracy, costs, calibration, and what a bisection may cost. Read `frontier_figure` first.

Each returns a `matplotlib.figure.Figure`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kbench.errors import InputError
from kbench.flakiness import rate
from kbench.paper.style import BAD, DIM, GOOD, INK, LINE, SERIES, blank, plain, safe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from kbench.study.frontier import Point
    from kbench.study.preflight import Preflight
    from kbench.study.scores import Band, Score

_NO_ANSWER = "#d5d9de"
_UNITS = (("hours", 1), ("minutes", 60), ("seconds", 3600))  # of an hour


def reliability_figure(series: Mapping[str, Sequence[Band]], *, title: str = "Is it right as often as it says?") -> Figure:
    """Draw what was said against what was right, with 95% intervals; each series has a name.

    Raises
    ------
    InputError
        More series than there are marks.
    """
    figure = blank(6.4, 6.2, title)
    axes = plain(figure.add_subplot(), x="said: probability that the answer is right", y="was: share of answers that are right")
    axes.plot([0, 1], [0, 1], color=DIM, linewidth=0.9, linestyle=(0, (5, 3)), label="as often as it says")
    for (name, bands), style in _styled(list(series.items())):
        if bands:
            shares = [rate(round(band.right * band.n), band.n) for band in bands]
            ends = [[max(band.right - share.low, 0) for band, share in zip(bands, shares, strict=True)],
                    [max(share.high - band.right, 0) for band, share in zip(bands, shares, strict=True)]]  # fmt: skip
            label = f"{safe(name)}, {sum(band.n for band in bands)} answers"
            axes.errorbar(
                [band.said for band in bands], [band.right for band in bands], yerr=ends, label=label, markersize=6,
                linewidth=0.9, elinewidth=1.0, capsize=2, **style,
            )  # fmt: skip
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.04, 1.04))
    axes.grid(color=LINE, linewidth=0.8)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def answers_figure(scores: Mapping[str, Sequence[Score]]) -> Figure:
    """Draw what the searches of each strategy came to, a bar each, by kind of worlds, with their mean hours."""
    rows = [(f"{world}   {one.strategy}", one) for world, of_world in scores.items() for one in of_world]
    figure = blank(9.6, 1.8 + 0.42 * max(len(rows), 2), "How the searches ended")
    axes = plain(figure.add_subplot(), x="share of the searches, with one standard error; mean hours of a search at the right")
    for y, (_, one) in enumerate(rows):
        left = 0.0
        for share, colour, ink in ((one.right, GOOD, "white"), (one.none, _NO_ANSWER, INK), (one.wrong, BAD, "white")):
            axes.barh(y, share, left=left, height=0.66, color=colour)
            if share >= 0.05:
                axes.annotate(f"{share:.0%}", (left + share / 2, y), ha="center", va="center", fontsize=8, color=ink)
            left += share
        # A standard error to both sides of where "right" ends.
        axes.errorbar(one.right, y, xerr=one.right_error, color=INK, capsize=2, linewidth=1.0)
        axes.annotate(f"{one.hours:.1f} h", (1.012, y), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=DIM)
    for name, colour in (("right", GOOD), ("no answer", _NO_ANSWER), ("wrong", BAD)):
        axes.barh(0, 0, color=colour, label=name)
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticks(range(len(rows)), [safe(label) for label, _ in rows], fontsize=9)
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def frontier_figure(points: Mapping[str, Sequence[Point]], bounds: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """Draw accuracy against hours, a picture for each kind of worlds; no search can be above and left of the bound.

    Parameters
    ----------
    points : mapping
        By kind of worlds, as `kbench.study.frontier.frontier` returns them.
    bounds : mapping
        Of the same kinds, the curves of `kbench.study.bound.bound`: (hours, share right); a kind may have none.
    """
    figure = blank(4.6 * max(len(points), 1) + 0.6, 4.6, "Accuracy against cost")
    names = list(dict.fromkeys(point.strategy for of_world in points.values() for point in of_world))
    styles = dict(_styled(names))
    for axes, (world, of_world) in zip(figure.subplots(1, len(points), squeeze=False)[0], points.items(), strict=True):
        plain(axes, x="mean hours of a search, one run after the other")
        _draw_bound(axes, bounds.get(world, ()))
        for name in names:
            own = sorted((point.score.hours, point.score.right, point) for point in of_world if point.strategy == name)
            if own:
                _draw_points(axes, [point for _, _, point in own], styles[name])
        axes.set_title(safe(world), fontsize=10, color=INK)
        axes.margins(x=0.08)
        axes.set(xlim=(0, None), ylim=(0, 1.03))
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.grid(color=LINE, linewidth=0.8)
    figure.axes[0].set_ylabel("share of searches that named the culprit", fontsize=9, color=DIM)
    handles = dict(zip(*reversed(figure.axes[0].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    return figure


def _draw_points(axes: Axes, points: Sequence[Point], style: Mapping[str, Any]) -> None:
    hours, right = [point.score.hours for point in points], [point.score.right for point in points]
    errors = [point.score.right_error for point in points]
    axes.errorbar(hours, right, yerr=errors, label=safe(points[0].strategy), markersize=6, linewidth=1.2, capsize=2, **style)
    for point in points:
        if point.confidence is not None:
            place = (point.score.hours, point.score.right)
            axes.annotate(f"{point.confidence:g}", place, (5, -11), textcoords="offset points", fontsize=8, color=DIM)


def _draw_bound(axes: Axes, curve: Sequence[tuple[float, float]]) -> None:
    if curve:
        hours, right = zip(*curve, strict=True)
        axes.plot(hours, right, color=INK, linewidth=1.4, label="bound: no search is above it")
        axes.fill_betweenx(right, 0, hours, color=LINE, alpha=0.6, linewidth=0)
        axes.fill_between([0, hours[-1]], right[-1], 1.03, color=LINE, alpha=0.6, linewidth=0)


def preflight_figure(planned: Preflight) -> Figure:
    """Draw how likely each strategy is right, with 95% intervals, against what it takes, in a unit that fits."""
    figure = blank(7.0, 3.4)
    unit, of_hour = next(
        (one for one in _UNITS if max(outlook.hours_wide for outlook in planned.outlooks) * one[1] >= 1), _UNITS[-1]
    )
    axes = plain(
        figure.add_subplot(),
        x=f"mean {unit} of a bisection, {planned.costs.width} at once",
        y="share that is right, 95% interval",
    )
    for outlook, style in _styled(planned.outlooks):
        share = outlook.right
        ends = [[share.estimate - share.low], [share.high - share.estimate]]
        label = f"{safe(outlook.strategy)}: {outlook.builds:.1f} builds, {outlook.runs:.0f} runs"
        axes.errorbar([outlook.hours_wide * of_hour], [share.estimate], yerr=ends, label=label, capsize=3, markersize=7, **style)
    axes.margins(x=0.12)
    axes.set(xlim=(0, None), ylim=(0, 1.03))
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.grid(color=LINE, linewidth=0.8)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _styled(series: Sequence[Any]) -> list[tuple[Any, dict[str, Any]]]:
    if len(series) > len(SERIES):
        raise InputError(f"figure: expected {len(SERIES)} series or fewer, got {len(series)}; draw them in two pictures")
    return list(zip(series, SERIES, strict=False))
