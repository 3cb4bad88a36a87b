"""What if another thing had been seen? Change, drop or add an observation of a bisection. Read `WhatIf` and `recorded`."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np

from kbench.bisection import Bisection, load_case
from kbench.bisection.control import MARKS
from kbench.bisection.result import marked, observation
from kbench.errors import InputError
from kbench.evidence import Observation, Priors
from kbench.evidence.priors import FloatArray
from kbench.history import History
from kbench.paper.style import safe
from kbench.search.bayes import BayesStrategy
from kbench.search.question import Question, SearchResult
from kbench.text import clean_line
from kbench.widgets.belief import belief_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "the bug"
RATE_RUNS = 200  # a rate that is given is as sure as so many runs make it: the search knows rates as points of a grid


class WhatIf(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A line of controls an observation, one for what is believed before, the belief drawn, and what is asked next.

    Parameters
    ----------
    history : History
    bad : int
    good : sequence of int
    observations : sequence of Observation
        As they were made, one a commit.
    prior : array of shape (n,), optional
        Weight of each commit before anything ran; all alike by default.
    names : sequence of str, optional
        What each commit is called; its index by default.
    **question
        Other fields of the `kbench.search.question.Question`: tags, fix, confidence.
    """

    def __init__(
        self,
        history: History,
        *,
        bad: int,
        good: Sequence[int],
        observations: Sequence[Observation],
        prior: FloatArray | None = None,
        names: Sequence[str] = (),
        **question: Any,
    ) -> None:
        question = {"tags": (), **question}
        self._question = Question(history, bad, tuple(good), **question)
        self._prior, self._names = np.ones(len(history)) if prior is None else prior, names
        self._rows: list[tuple[Observation, ipywidgets.HBox]] = []
        self._quiet = True
        self._suspect = ipywidgets.BoundedIntText(value=bad, min=0, max=len(history) - 1, description="suspect")
        self._weight = ipywidgets.FloatLogSlider(value=1, min=0, max=3, description="weight", readout_format=".0f")
        self._rate = ipywidgets.FloatSlider(value=0, min=0, max=1, step=0.01, description="rate (0: learnt)", style=_WIDE)
        self._always = ipywidgets.FloatSlider(
            value=Priors.default().p_rate_one, min=0.01, max=0.99, step=0.01, description="P(rate is 1)"
        )
        beliefs = [self._suspect, self._weight, self._rate, self._always]
        for control in beliefs:
            control.observe(lambda change: self._show(), "value")
        add = ipywidgets.Button(description="Add an observation")
        add.on_click(lambda button: self.add(Observation(bad // 2, passed=1)))
        self._list, self._line = ipywidgets.VBox(), ipywidgets.Label()
        self._picture = ipywidgets.Image(format="png", layout=_PICTURE)
        super().__init__([self._list, add, ipywidgets.HBox(beliefs), self._line, self._picture])
        for one in observations:
            self._append(one)
        self._before: FloatArray | None = None
        self._quiet = False
        self._show()
        self._before = self.belief

    @classmethod
    def of(cls, bisection: Bisection) -> WhatIf:
        """Return the controls of a bisection, as far as it has come."""
        plan, told = bisection.plan, dict[int, Observation]()
        for step in bisection.steps:
            if step.position is not None and step.candidates_left is not None:  # the search was told of it
                title = next(iter(_titles(told.values())), TITLE)
                found = marked(step.position, step.stage, title) if step.stage in MARKS else observation(step.position, step)
                before = told.get(step.position)
                told[step.position] = before.merged(found) if before else found
        subjects = bisection.repository.subjects(plan.history.commits)
        names = [f"{commit[:12]} {subjects.get(commit, '')}" for commit in plan.history.commits]
        return cls(
            plan.history,
            bad=plan.bad,
            good=plan.good,
            tags=[index for _, index in plan.tags],
            fix=plan.fix,
            confidence=plan.case.confidence,
            observations=list(told.values()),
            prior=bisection.search.prior,
            names=[clean_line(name, 60) for name in names],
        )

    def add(self, one: Observation) -> None:
        """Put in one more."""
        self._append(one)
        self._show()

    def change(self, row: int, *, crashed: int | None = None, passed: int | None = None, keep: bool | None = None) -> None:
        """Set controls of an observation, as a hand would; `row` counts from 0, -1 is the last."""
        self._set(zip(self._rows[row][1].children[1:], (crashed, passed, keep), strict=False))

    def believe(
        self,
        *,
        suspect: int | None = None,
        weight: float | None = None,
        rate: float | None = None,
        p_rate_one: float | None = None,
    ) -> None:
        """Set what is believed before: one commit counts `weight` times what it did; P(crash) of one run, 0: it is learnt from
        the runs, and 1 with probability `p_rate_one`.
        """
        self._set(zip((self._suspect, self._weight, self._rate, self._always), (suspect, weight, rate, p_rate_one), strict=True))

    @property
    def result(self) -> SearchResult:
        """What the search knows with the observations as they stand."""
        return self._search.result

    @property
    def belief(self) -> FloatArray:
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
        asks = f"next: {self._name(asked[0].commit)}, runs: {asked[0].runs}" if asked else f"ended: {result.outcome}"
        return f"Most likely: {self._name(commit)}, {p:.1%}; {asks}"

    def figure(self) -> Figure:
        """Return the picture: the belief now, a line where it was at first, the tested revisions, what is asked next."""
        asked = self._search.ask(1)
        tested = [[one.commit, _verdict(one)] for one in self._told()]
        figure = belief_figure(self.belief, tested, before=self._before, asked=asked[0].commit if asked else -1)
        likely, _, then = self.words.rpartition("; ")
        figure.suptitle(f"{safe(likely, 110)}\n{safe(then, 110)}", x=0.01, ha="left", fontsize=8)
        return figure

    def _name(self, commit: int) -> str:
        return self._names[commit] if self._names else f"commit {commit}"

    def _append(self, one: Observation) -> None:
        last = len(self._question.history) - 1
        name = ipywidgets.Label((f"not testable ({one.skip}): " if one.skip else "") + self._name(one.commit))
        commit = ipywidgets.BoundedIntText(value=one.commit, min=0, max=last, description="commit", layout=_NARROW)
        controls = [
            commit,
            ipywidgets.BoundedIntText(value=one.crashed, min=0, max=999, description="crashed", layout=_NARROW),
            ipywidgets.BoundedIntText(value=one.passed, min=0, max=999, description="clean", layout=_NARROW),
            ipywidgets.Checkbox(value=True, description="counts", indent=False, layout={"width": "80px"}),
        ]
        commit.observe(lambda change: setattr(name, "value", self._name(change.new)), "value")
        for control in controls:
            control.observe(lambda change: self._show(), "value")
        self._rows.append((one, ipywidgets.HBox([*controls, name])))
        self._list.children = tuple(row for _, row in self._rows)

    def _set(self, values: Any) -> None:
        # All at once: in between, controls that belong together do not.
        self._quiet = True
        for control, value in values:
            if value is not None:
                control.value = value
        self._quiet = False
        self._show()

    def _told(self) -> list[Observation]:
        title = next(iter(_titles(one for one, _ in self._rows)), TITLE)
        told = []
        for one, row in self._rows:
            commit, crashed, passed, keep = (control.value for control in row.children[:4])
            if keep:
                told.append(_changed(one, commit, crashed, passed, title))
        return [one for one in told if one.total or one.skip]

    def _priors(self) -> Priors:
        rate = self._rate.value
        if not rate:
            return replace(Priors.default(), p_rate_one=self._always.value)
        shape = {} if rate == 1 else {"rate_a": RATE_RUNS * rate, "rate_b": RATE_RUNS * (1 - rate)}
        return replace(Priors.default(), p_rate_one=float(rate == 1), **shape)

    def _show(self) -> None:
        if self._quiet:
            return
        self._always.disabled = self._rate.value > 0
        prior = self._prior.copy()
        prior[self._suspect.value] *= self._weight.value
        self._search = BayesStrategy(replace(self._question, prior=prior), self._priors())
        for one in self._told():
            self._search.tell(one)
        self._line.value = self.words
        file = io.BytesIO()
        self.figure().savefig(file, format="png", dpi=100)
        self._picture.value = file.getvalue()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Add the still picture, for viewers that do not run a notebook's code."""
        shown = dict(super()._repr_mimebundle_(**kwargs) or {})
        return {**shown, "text/plain": self.words, "image/png": base64.b64encode(self._picture.value).decode("ascii")}


def recorded(folder: Path | str, **overrides: Any) -> WhatIf:
    """Return the controls of a bisection on disk, ended or not; nothing is built, run or written.

    Parameters
    ----------
    folder : path
        `CASE.kbench`, with `CASE.toml` beside it.
    **overrides
        Keys of the case that the bisection was started with.

    Raises
    ------
    InputError
        No such folder, no case file beside it.
    JournalError
        It holds no journal of that case.
    """
    folder = Path(folder)
    case = folder.with_suffix(".toml")
    if not folder.is_dir() or not case.is_file():
        raise InputError(f"what if: expected a folder CASE.kbench with CASE.toml beside it, seen {folder}; give such a path")
    bisection = Bisection(load_case(case, **overrides), output=folder)
    bisection.read()
    return WhatIf.of(bisection)


_WIDE: Mapping[str, str] = {"description_width": "initial"}
_NARROW: Mapping[str, str] = {"width": "170px", "flex": "0 0 auto"}
_PICTURE: Mapping[str, str] = {"width": "700px", "max_width": "100%"}


def _changed(one: Observation, commit: int, crashed: int, passed: int, title: str) -> Observation:
    # What is known besides the counts holds only while they do.
    if (commit, crashed, passed) == (one.commit, one.crashed, one.passed):
        return one
    return Observation(commit, passed=passed, crashes={title: crashed} if crashed else {})


def _titles(told: Any) -> list[str]:
    # Most frequent first.
    counts: dict[str, int] = {}
    for one in told:
        for title, count in one.crashes.items():
            counts[title] = counts.get(title, 0) + count
    return sorted(counts, key=lambda title: -counts[title])


def _verdict(one: Observation) -> str:
    return "bad" if one.crashed else "good" if one.passed else "skip"
