"""What if another thing had been seen? Change, drop or add an observation of a bisection. Read `WhatIf`."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ipywidgets
import numpy as np

from kbench.evidence import Observation, Priors
from kbench.history import History
from kbench.search.bayes import BayesStrategy
from kbench.search.question import Question, SearchResult
from kbench.widgets.belief import belief_figure

TITLE = "the bug"


class WhatIf(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A line of controls an observation and one for the priors, the belief drawn, and a line that says what is asked next.

    Parameters
    ----------
    history : History
    bad : int
    good : sequence of int
    observations : sequence of Observation
        As they were made; of crashes only their number is kept.
    """

    def __init__(self, history: History, *, bad: int, good: Sequence[int], observations: Sequence[Observation]) -> None:
        self._question = Question(history, bad, tuple(good), ())
        self._rows: list[ipywidgets.HBox] = []
        self._suspect = ipywidgets.BoundedIntText(value=bad, min=0, max=len(history) - 1, description="suspect")
        self._weight = ipywidgets.FloatLogSlider(value=1, min=0, max=3, description="weight", readout_format=".0f")
        self._always = ipywidgets.FloatSlider(
            value=Priors.default().p_rate_one, min=0.01, max=0.99, step=0.01, description="P(rate is 1)"
        )
        self._add = ipywidgets.Button(description="Add an observation")
        self._list, self._line, self._picture = ipywidgets.VBox(), ipywidgets.Label(), ipywidgets.Image(format="png")
        for control in (self._suspect, self._weight, self._always):
            control.observe(lambda change: self._show(), "value")
        self._add.on_click(lambda button: self.add(Observation(bad // 2, passed=1)))
        priors = ipywidgets.HBox([self._suspect, self._weight, self._always])
        super().__init__([self._list, self._add, priors, self._line, self._picture])
        for observation in observations:
            self._append(observation)
        self._show()

    def add(self, observation: Observation) -> None:
        """Put in one more."""
        self._append(observation)
        self._show()

    def change(self, row: int, *, crashed: int | None = None, passed: int | None = None, keep: bool | None = None) -> None:
        """Set controls of an observation, as a hand would."""
        for control, value in zip(self._rows[row].children[1:], (crashed, passed, keep), strict=True):
            if value is not None:
                control.value = value

    def believe(self, *, suspect: int | None = None, weight: float | None = None, p_rate_one: float | None = None) -> None:
        """Set the priors: one commit counts `weight` times the others; the probability that the bug shows in every run."""
        for control, value in ((self._suspect, suspect), (self._weight, weight), (self._always, p_rate_one)):
            if value is not None:
                control.value = value

    @property
    def result(self) -> SearchResult:
        """What the search knows with the observations as they stand."""
        return self._search.result

    @property
    def belief(self) -> np.ndarray:
        """P(this commit is the culprit) of the candidates that count, shape (n,)."""
        p = np.zeros(len(self._question.history))
        for commit, probability in self.result.candidates:
            p[commit] = probability
        return p

    @property
    def words(self) -> str:
        """The most likely culprit and the next question, in a line."""
        result, asked = self.result, self._search.ask(1)
        commit, p = result.candidates[0]
        asks = f"next: commit {asked[0].commit}, runs: {asked[0].runs}" if asked else f"ended: {result.outcome}"
        return f"Most likely: commit {commit}, {p:.1%}; {asks}"

    def _append(self, observation: Observation) -> None:
        last = len(self._question.history) - 1
        row = ipywidgets.HBox([
            ipywidgets.BoundedIntText(value=observation.commit, min=0, max=last, description="commit"),
            ipywidgets.BoundedIntText(value=observation.crashed, min=0, max=999, description="crashed"),
            ipywidgets.BoundedIntText(value=observation.passed, min=0, max=999, description="clean"),
            ipywidgets.Checkbox(value=True, description="counts"),
        ])  # fmt: skip
        for control in row.children:
            control.observe(lambda change: self._show(), "value")
        self._rows.append(row)
        self._list.children = tuple(self._rows)

    def _told(self) -> list[Observation]:
        values = [[control.value for control in row.children] for row in self._rows]
        return [Observation(c, passed=clean, crashes={TITLE: k}) for c, k, clean, keep in values if keep and k + clean]

    def _show(self) -> None:
        prior = np.ones(len(self._question.history))
        prior[self._suspect.value] = self._weight.value
        priors = replace(Priors.default(), p_rate_one=self._always.value)
        self._search = BayesStrategy(replace(self._question, prior=prior), priors)
        told = self._told()
        for observation in told:
            self._search.tell(observation)
        self._line.value = self.words
        file = io.BytesIO()
        belief_figure(self.belief, [[one.commit, "bad" if one.crashed else "good"] for one in told]).savefig(file, dpi=80)
        self._picture.value = file.getvalue()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Add the still picture, for viewers that do not run a notebook's code."""
        shown = dict(super()._repr_mimebundle_(**kwargs) or {})
        return {**shown, "text/plain": self.words, "image/png": base64.b64encode(self._picture.value).decode("ascii")}
