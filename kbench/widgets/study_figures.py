"""Still pictures of studies and second opinions, by matplotlib. Read `path_figure` and `frontier_figure` first.

Each returns a `matplotlib.figure.Figure`, as those of `kbench.widgets.figures` do, in the same colours and marks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kbench.errors import InputError
from kbench.flakiness import rate
from kbench.opinion import Posterior, Rejudged, doubt
from kbench.records import Outcome
from kbench.widgets.figures import _BAND, _DIM, _LINE, _MARKS, _safe
from kbench.widgets.text import clean_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from kbench.study import Band, Score
    from kbench.study.frontier import Point

# Okabe and Ito's palette again, with a shape each: the fourth strategy too is told apart without colours.
_SERIES: tuple[dict[str, Any], ...] = (
    {"color": "#0072b2", "marker": "o"},
    {"color": "#d55e00", "marker": "D"},
    {"color": "#009e73", "marker": "s"},
    {"color": "#cc79a7", "marker": "^"},
    {"color": "#7a5fc7", "marker": "v"},
    {"color": "#5b636d", "marker": "P"},
)
_RIGHT, _WRONG, _NONE = "#0072b2", "#d55e00", "#d5d9de"
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
    figure = _figure(12.0, 3.3 + 0.27 * max(len(shown), 4), title)
    path, bars = figure.subplots(2, 1, sharex=True, height_ratios=(0.27 * max(len(shown), 4), 1.7))
    _draw_path(path, shown, posterior, row)
    _draw_posterior(bars, posterior, turned)
    return figure


def reliability_figure(series: Mapping[str, Sequence[Band]], *, title: str = "Is it right as often as it says?") -> Figure:
    """Draw what was said against what was right, with 95% intervals; each series has a name.

    Raises
    ------
    InputError
        More series than there are marks.
    """
    figure = _figure(6.4, 6.2, title)
    axes = _plain(figure.add_subplot())
    axes.plot([0, 1], [0, 1], color=_DIM, linewidth=0.9, linestyle=(0, (5, 3)), label="as often as it says")
    for (name, bands), style in _styled(series):
        if bands:
            shares = [rate(round(band.right * band.n), band.n) for band in bands]
            ends = [[max(band.right - share.low, 0) for band, share in zip(bands, shares, strict=True)],
                    [max(share.high - band.right, 0) for band, share in zip(bands, shares, strict=True)]]  # fmt: skip
            label = f"{_name(name)}, {sum(band.n for band in bands)} answers"
            axes.errorbar(
                [band.said for band in bands], [band.right for band in bands], yerr=ends, label=label, markersize=6,
                linewidth=0.9, elinewidth=1.0, capsize=2, **style,
            )  # fmt: skip
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.04, 1.04))
    axes.set_xlabel("said: probability that the answer is right", fontsize=9, color=_DIM)
    axes.set_ylabel("was: share of answers that are right", fontsize=9, color=_DIM)
    axes.grid(color=_LINE, linewidth=0.8)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def answers_figure(scores: Mapping[str, Sequence[Score]]) -> Figure:
    """Draw what the searches of each strategy came to, a bar each, by kind of worlds, with their mean hours."""
    rows = [(f"{world}   {one.strategy}", one) for world, of_world in scores.items() for one in of_world]
    figure = _figure(9.6, 1.8 + 0.42 * max(len(rows), 2), "How the searches ended")
    axes = _plain(figure.add_subplot())
    for y, (_, one) in enumerate(rows):
        left = 0.0
        for share, colour, ink in ((one.right, _RIGHT, "white"), (one.none, _NONE, "#1f2328"), (one.wrong, _WRONG, "white")):
            axes.barh(y, share, left=left, height=0.66, color=colour)
            if share >= 0.05:
                axes.annotate(f"{share:.0%}", (left + share / 2, y), ha="center", va="center", fontsize=8, color=ink)
            left += share
        # A standard error to both sides of where "right" ends.
        axes.errorbar(one.right, y, xerr=one.right_error, color="#1f2328", capsize=2, linewidth=1.0)
        axes.annotate(f"{one.hours:.1f} h", (1.012, y), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=_DIM)
    for name, colour in (("right", _RIGHT), ("no answer", _NONE), ("wrong", _WRONG)):
        axes.barh(0, 0, color=colour, label=name)
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticks(range(len(rows)), [_name(label) for label, _ in rows], fontsize=9)
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_xlabel("share of the searches, with one standard error; mean hours of a search at the right", fontsize=9, color=_DIM)
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
    figure = _figure(4.6 * max(len(points), 1) + 0.6, 4.6, "Accuracy against cost")
    names = list(dict.fromkeys(point.strategy for of_world in points.values() for point in of_world))
    styles = dict(_styled({name: name for name in names}, names_only=True))
    for axes, (world, of_world) in zip(figure.subplots(1, len(points), squeeze=False)[0], points.items(), strict=True):
        _plain(axes)
        _draw_bound(axes, bounds.get(world, ()))
        for name in names:
            own = sorted((point.score.hours, point.score.right, point) for point in of_world if point.strategy == name)
            if own:
                _draw_points(axes, [point for _, _, point in own], styles[name])
        axes.set_title(_name(world), fontsize=10, color="#1f2328")
        axes.set(xlim=(0, None), ylim=(0, 1.03))
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.grid(color=_LINE, linewidth=0.8)
        axes.set_xlabel("mean hours of a search, one run after the other", fontsize=9, color=_DIM)
    figure.axes[0].set_ylabel("share of searches that named the culprit", fontsize=9, color=_DIM)
    handles = dict(zip(*reversed(figure.axes[0].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    return figure


def _draw_points(axes: Axes, points: Sequence[Point], style: Mapping[str, Any]) -> None:
    hours, right = [point.score.hours for point in points], [point.score.right for point in points]
    errors = [point.score.right_error for point in points]
    axes.errorbar(hours, right, yerr=errors, label=_name(points[0].strategy), markersize=6, linewidth=1.2, capsize=2, **style)
    for point in points:
        if point.confidence is not None:
            place = (point.score.hours, point.score.right)
            axes.annotate(f"{point.confidence:g}", place, (5, -11), textcoords="offset points", fontsize=8, color=_DIM)


def _draw_bound(axes: Axes, curve: Sequence[tuple[float, float]]) -> None:
    if curve:
        hours, right = zip(*curve, strict=True)
        axes.plot(hours, right, color="#1f2328", linewidth=1.4, label="bound: no search is above it")
        axes.fill_betweenx(right, 0, hours, color=_LINE, alpha=0.6, linewidth=0)
        axes.fill_between([0, hours[-1]], right[-1], 1.03, color=_LINE, alpha=0.6, linewidth=0)


def _draw_path(axes: Axes, shown: Sequence[Rejudged], posterior: Posterior, turned_row: int | None) -> None:
    _plain(axes)
    places = [_column(one, posterior) for one in shown]
    axes.plot(places, range(len(shown)), color=_LINE, linewidth=1.0, zorder=1)
    if posterior.named is not None:
        axes.axvspan(posterior.named - 1, posterior.named, color=_BAND, alpha=0.14, linewidth=0, zorder=0)
    for y, (one, x) in enumerate(zip(shown, places, strict=True)):
        verdict = None if one.tested.step.verdict is None else {True: "bad", False: "good", None: "skip"}[one.tested.crashing]
        axes.scatter([x], [y], zorder=4, **_MARKS[verdict])
        words = doubt(one)
        if words:
            axes.scatter([x], [y], s=170, facecolor="none", edgecolor="#1f2328", linewidth=1.5, zorder=3)
        if turned_row is not None and posterior.row(one.tested) == turned_row:
            axes.annotate("turned over", (x, y), (9, 0), textcoords="offset points", va="center", fontsize=8, fontweight="bold")
        label = f"{_counts(one):>6}" + (f"   {one.p_right:.0%} right: {clean_line(words, _WORDS)}" if words else "")
        axes.annotate(_safe(label), (1.012, y), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=_DIM)
    labels = [f"{_safe(clean_line(one.tested.step.stage, 24))}   {one.tested.step.commit[:10]}" for one in shown]
    axes.set_yticks(range(len(shown)), labels, fontsize=8)
    axes.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    axes.set_xlim(-1.1, len(posterior.revisions) + 0.1)
    for verdict, name in (("bad", "crashes"), ("good", "clean"), ("skip", "not testable")):
        axes.scatter([], [], label=name, **_MARKS[verdict])
    axes.scatter([], [], s=120, facecolor="none", edgecolor="#1f2328", linewidth=1.5, label="doubtful")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, frameon=False, fontsize=8, borderpad=0)


def _draw_posterior(axes: Axes, posterior: Posterior, turned: Posterior | None) -> None:
    _plain(axes)
    places = [entry - 0.5 for entry in range(len(posterior.log_p))]
    if posterior.named is not None:
        axes.axvspan(posterior.named - 1, posterior.named, color=_BAND, alpha=0.14, linewidth=0, label="where the log puts it")
    axes.bar(places, posterior.p, width=0.86, color="#0072b2", label="by all runs", zorder=2)
    if turned is not None:
        high = [(place, p) for place, p in zip(places, turned.p, strict=True) if p > _LEAST]
        style: dict[str, Any] = {"facecolor": "none", "edgecolor": "#d55e00", "linewidth": 1.6, "hatch": "///", "zorder": 3}
        axes.bar([place for place, _ in high], [p for _, p in high], width=0.56, label="if that verdict is wrong", **style)
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_ylabel("P(bug begins here)", fontsize=9, color=_DIM)
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    axes.set_xticks(
        range(len(posterior.revisions)), [_tick(one.step.stage) for one in posterior.revisions], rotation=90, fontsize=8
    )
    axes.set_xlabel(
        "tested revisions, oldest to newest; the first bar is older than all, the last is nowhere", fontsize=9, color=_DIM
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
    return _safe(clean_line(stage.removeprefix("release "), 12)) if stage != "bisect" else ""


def _styled(series: Mapping[str, Any], *, names_only: bool = False) -> list[tuple[Any, dict[str, Any]]]:
    if len(series) > len(_SERIES):
        raise InputError(f"figure: expected {len(_SERIES)} series or fewer, got {len(series)}; draw them in two pictures")
    items = list(series) if names_only else list(series.items())
    return list(zip(items, _SERIES, strict=False))


def _name(text: str) -> str:
    return _safe(clean_line(text, 60))


def _figure(width: float, height: float, title: str) -> Figure:
    from matplotlib.figure import Figure  # no pyplot: no global state
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1), facecolor="white")
    figure.suptitle(_safe(clean_line(title, 120)), x=0.012, ha="left", fontsize=11, fontweight="bold")
    return figure


def _plain(axes: Axes) -> Axes:
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    axes.tick_params(length=0, labelcolor="#1f2328", labelsize=8)
    return axes
