"""Where the culprit may be: the belief in every commit of a history as heat. Read `BeliefWidget`."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets

from kbench.widgets import assets
from kbench.widgets.text import clean_line

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
        belief_figure(np.frombuffer(self.belief, dtype=np.float32), self.tested, self.tags).savefig(file, format="png", dpi=96)
        data["text/plain"], data["image/png"] = self.words, base64.b64encode(file.getvalue()).decode("ascii")
        return data, metadata


def belief_figure(
    belief: NDArray[np.floating[Any]], tested: Sequence[Sequence[Any]] = (), tags: Sequence[Sequence[Any]] = ()
) -> Figure:
    """Return the same as a figure for papers.

    Parameters
    ----------
    belief : array of shape (n,)
        P(this commit is the culprit), oldest first.
    tested : sequence of (position, verdict)
    tags : sequence of (name, position)
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 1.9), layout="constrained")
    axes = figure.add_subplot()
    axes.fill_between(np.arange(len(belief)), np.sqrt(belief), step="mid", color="#7a5fc7", alpha=0.7, linewidth=0.8)
    for verdict, marker, colour in (("bad", "D", "#d55e00"), ("good", "o", "#0072b2"), ("skip", "s", "#767c84")):
        places = [position for position, told in tested if told == verdict]
        axes.plot(places, [1.06] * len(places), marker, color=colour, markersize=4, label=verdict, clip_on=False, linewidth=0)
    for name, position in tags:
        axes.axvline(position, color="#d5d9de", linewidth=0.8, zorder=0)
        axes.annotate(str(name).replace("$", r"\$"), (position, 0), rotation=90, fontsize=6, color="#5b636d", va="bottom")
    axes.set(xlabel="commit, oldest to newest", ylabel="√ P(culprit)", ylim=(0, 1.02), xlim=(-0.5, max(len(belief) - 0.5, 0.5)))
    if tested:
        axes.legend(loc="upper left", fontsize=7, frameon=False)
    return figure


def _words(belief: NDArray[np.floating[Any]], names: Sequence[str], n_tested: int) -> str:
    best = np.argsort(belief)[::-1][:3]
    likely = ", ".join(f"{names[index][:12]} {belief[index]:.1%}" for index in best.tolist() if belief[index] > 0)
    n = int((belief > 0).sum())
    return f"{n} candidate{'s' * (n != 1)}, {n_tested} revision{'s' * (n_tested != 1)} tested. Most likely: {likely or 'none'}."
