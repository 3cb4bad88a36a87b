"""Figures of the runs of one kernel. Read `draw` first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from kbench.flakiness import rate
from kbench.paper.style import BAD, BAND, DIM, GOOD, LINE, blank, chosen, for_paper, plain, safe
from kbench.records import Outcome, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {Outcome.CRASHED: BAD, Outcome.OK: GOOD}


def draw(runs: Sequence[Run], what: str = "rate", *, width_in: float = 7.0) -> Axes:
    """Draw "rate", as it became known run by run, or "outcomes", how many runs came to each, with titles.

    Raises
    ------
    InputError
        Another name, or a width that is not from 3.3 to 20 inches.
    """
    figure: Figure = chosen(what, {"rate": _rate_figure, "outcomes": _outcomes_figure})(runs)
    return for_paper(figure, width_in)


def _rate_figure(runs: Sequence[Run]) -> Figure:
    figure = blank(7.0, 2.7)
    axes = plain(figure.add_subplot(), x="runs, in order", y="crash rate of one run")
    crashed = list(accumulate(run.outcome is Outcome.CRASHED for run in runs))
    told = list(accumulate(run.outcome in _COLOURS for run in runs))
    rates = [rate(k, n) for k, n in zip(crashed, told, strict=True)]
    numbers = range(1, len(runs) + 1)
    axes.fill_between(numbers, [one.low for one in rates], [one.high for one in rates], color=BAND, alpha=0.2, linewidth=0,
                      label="95% interval", step="mid")  # fmt: skip
    axes.step(numbers, [one.estimate for one in rates], where="mid", color=BAND, linewidth=1.6, label="rate so far")
    # What each run showed, above and below: no mark hides another.
    for name, y, marker, colour, kinds in (
        ("crashed", 1.05, "D", BAD, {Outcome.CRASHED}),
        ("clean", -0.05, "o", GOOD, {Outcome.OK}),
        ("says nothing", -0.05, "x", DIM, set(Outcome) - set(_COLOURS)),
    ):
        places = [number for number, run in zip(numbers, runs, strict=True) if run.outcome in kinds]
        if places:
            axes.scatter(places, [y] * len(places), s=14, marker=marker, color=colour, linewidth=0.8, label=name)
    axes.set(ylim=(-0.1, 1.1), xlim=(0.3, len(runs) + 0.7))
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    return figure


def _outcomes_figure(runs: Sequence[Run]) -> Figure:
    from matplotlib.ticker import MaxNLocator

    counted = Counter((run.outcome, str(run)) for run in runs).most_common()
    figure = blank(7.0, 0.8 + 0.29 * max(len(counted), 2))
    axes = plain(figure.add_subplot(), x="runs")
    for y, ((kind, _), n) in enumerate(counted):
        axes.barh(y, n, height=0.62, color=_COLOURS.get(kind, DIM))
        axes.annotate(str(n), (n, y), (4, 0), textcoords="offset points", va="center", fontsize=8, color=DIM)
    axes.set_yticks(range(len(counted)), [safe(text) for (_, text), _ in counted], fontsize=8)
    axes.set(ylim=(max(len(counted), 1) - 0.4, -0.6), xlim=(0, 1.08 * max((n for _, n in counted), default=1)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    return figure
