"""Where the culprit may be: the belief in every commit of a history as heat. Read `BeliefWidget`."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets

from kbench.paper.style import BAND, DIM, INK, LINE, MARKS, blank, plain, safe
from kbench.text import clean_line
from kbench.widgets import assets

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from kbench.bisection import Bisection

_NAME_BYTES = 6  # of a commit's hash


class BeliefWidget(anywidget.AnyWidget):
    """The posterior over a history of any length, with zoom and pan; `update` shows a later moment of the bisection.

    20,000 commits are 80 kB an update. A saved notebook shows the last one; where nothing runs, a still picture.
    """

    _esm = assets.BELIEF
    _css = assets.STYLE
    picture = traitlets.Unicode("belief").tag(sync=True)
    size = traitlets.Int(0).tag(sync=True)  # commits
    belief = traitlets.Bytes().tag(sync=True)  # float32, one a commit, oldest first
    commits = traitlets.Bytes().tag(sync=True)  # the first six bytes of their hashes
    tags: Any = traitlets.List().tag(sync=True)
    tested: Any = traitlets.List().tag(sync=True)  # (position, verdict)
    next = traitlets.Int(-1).tag(sync=True)  # position of what is asked next; -1: nothing is
    words = traitlets.Unicode().tag(sync=True)  # the picture for who cannot see it

    def __init__(self, bisection: Bisection, *, now: bool = True) -> None:
        history = bisection.plan.history
        names = b"".join(bytes.fromhex(commit[: 2 * _NAME_BYTES]) for commit in history.commits)
        tags = sorted(((clean_line(name, 40), index) for name, index in bisection.plan.tags), key=lambda tag: tag[1])
        super().__init__(size=len(history), commits=names, tags=[list(tag) for tag in tags])
        if now:
            self.update(bisection)

    def update(self, bisection: Bisection) -> None:
        """Take the belief of now; from the thread that bisects, or when it has ended."""
        belief = bisection.belief
        asked = [] if bisection.result else bisection.search.ask()
        tested = {step.position: step.verdict.value for step in bisection.steps if step.verdict and step.position is not None}
        with self.hold_sync():
            self.belief = belief.astype(np.float32).tobytes()
            self.tested = [[position, verdict] for position, verdict in tested.items()]
            self.next = asked[0].commit if asked else -1
            self.words = _words(belief, bisection.plan.history.commits, len(tested))

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Add a still picture, for viewers that do not run a notebook's code."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        file = io.BytesIO()
        belief = np.frombuffer(self.belief, dtype=np.float32)
        belief_figure(belief, self.tested, self.tags, asked=self.next).savefig(file, format="png", dpi=96)
        data["text/plain"], data["image/png"] = self.words, base64.b64encode(file.getvalue()).decode("ascii")
        return data, metadata


def belief_figure(
    belief: NDArray[np.floating[Any]],
    tested: Sequence[Sequence[Any]] = (),
    tags: Sequence[Sequence[Any]] = (),
    *,
    before: NDArray[np.floating[Any]] | None = None,
    asked: int = -1,
) -> Figure:
    """Return the same as a figure for papers.

    Parameters
    ----------
    belief : array of shape (n,)
        P(this commit is the culprit), oldest first.
    tested : sequence of (position, verdict)
    tags : sequence of (name, position)
    before : array of shape (n,), optional
        An earlier belief, as a line.
    asked : int
        Position of what is asked next; -1: nothing is.
    """
    figure = blank(7.0, 2.4)
    axes = plain(figure.add_subplot(), x="commit, oldest to newest", y="√ P(culprit)")
    places = np.arange(len(belief))
    axes.fill_between(places, np.sqrt(belief), step="mid", color=BAND, alpha=0.7, linewidth=0.8)
    if before is not None and not np.array_equal(before, belief):
        axes.step(places, np.sqrt(before), where="mid", color=INK, linewidth=0.9, linestyle=(0, (3, 2)), label="at first")
    for verdict in ("bad", "good", "skip"):
        at = [position for position, told in tested if told == verdict]
        if at:
            axes.scatter(at, [1.08] * len(at), label=verdict, clip_on=False, **{**MARKS[verdict], "s": 20})
    if asked >= 0:
        axes.scatter([asked], [0.04], marker="^", s=34, color=INK, clip_on=False, label="next")
    for name, position in tags:
        axes.axvline(position, color=LINE, linewidth=0.8, zorder=0)
        axes.annotate(safe(str(name), 24), (position, 0), rotation=90, fontsize=6, color=DIM, va="bottom")
    axes.set(ylim=(-0.02, 1.02), xlim=(-0.5, max(len(belief) - 0.5, 0.5)))
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside right center", fontsize=8, frameon=False)
    return figure


def _words(belief: NDArray[np.floating[Any]], names: Sequence[str], n_tested: int) -> str:
    best = np.argsort(belief)[::-1][:3]
    likely = ", ".join(f"{names[index][:12]} {belief[index]:.1%}" for index in best.tolist() if belief[index] > 0)
    n = int((belief > 0).sum())
    return f"{n} candidate{'s' * (n != 1)}, {n_tested} revision{'s' * (n_tested != 1)} tested. Most likely: {likely or 'none'}."
