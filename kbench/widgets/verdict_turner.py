"""What if a verdict of a bisection were wrong? Choose one, and see where the runs put the bug then. Read `VerdictTurner`."""

from __future__ import annotations

import base64
import io
from typing import Any

import ipywidgets

from kbench.errors import InputError
from kbench.opinion import Posterior, doubt, most_doubtful, posterior, rejudge
from kbench.syzbot import BisectionLog
from kbench.text import clean_line
from kbench.widgets import study_figures


class VerdictTurner(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """A menu of the verdicts of a log, the path drawn with the chosen one turned over, and a line that says what follows.

    Parameters
    ----------
    log : BisectionLog
    step : int
        The verdict to begin with, counted from 0; below 0: the one least likely right.
    title : str

    Raises
    ------
    InputError
        No run of the log tells anything, or those of that step do not.
    """

    def __init__(self, log: BisectionLog, *, step: int = -1, title: str = "") -> None:
        self.revisions, self.posterior = rejudge(log), posterior(log)
        self._title = title
        doubtful = most_doubtful(self.revisions)
        steps = [number for number, one in enumerate(self.revisions) if one.p_right is not None]
        chosen = step if step >= 0 else doubtful
        if doubtful is None or chosen not in steps:
            known = f"one of {steps[0]} to {steps[-1]}" if steps else "a log with runs"
            raise InputError(f"what if: expected {known}, got step {step}, whose runs tell nothing; choose another")
        self._menu = ipywidgets.Dropdown(
            options=[(self._name(number), number) for number in steps], value=chosen, description="turn over",
            layout={"width": "52em"},
        )  # fmt: skip
        self._line, self._picture = ipywidgets.Label(), ipywidgets.Image(format="png")
        self._menu.observe(lambda change: self._show(), "value")
        super().__init__([self._menu, self._line, self._picture])
        self._show()

    @property
    def step(self) -> int:
        """The verdict that is turned over, counted from 0; may be set."""
        return int(self._menu.value)

    @step.setter
    def step(self, number: int) -> None:
        self._menu.value = number

    @property
    def turned(self) -> Posterior:
        """Where the bug begins if that verdict is wrong."""
        return self.posterior.if_wrong(self._row)

    @property
    def words(self) -> str:
        """What follows, in a line."""
        row, now, then = self._row, self.posterior, self.turned
        named = now.named
        wrong = f"By the runs alone this verdict is wrong with probability {_percent(now.p_wrong(row))}"
        if named is None:
            return wrong
        by_runs, if_wrong = _percent(now.p[named]), _percent(then.p[named])
        return f"{wrong}; the bug begins where the log says with {by_runs}, and if the verdict is wrong with {if_wrong}"

    def figure(self) -> Any:
        """Return the picture, as a matplotlib figure."""
        return study_figures.path_figure(self._title, self.revisions, self.posterior, turned=self.turned, row=self._row)

    def to_json(self) -> dict[str, Any]:
        """Return the chosen verdict and what follows, as JSON values."""
        row, now, named = self._row, self.posterior, self.posterior.named
        return {
            "step": self.step,
            "doubtful": [number for number, one in enumerate(self.revisions) if doubt(one)],
            "p_verdict_wrong": now.p_wrong(row),
            "p_named": None if named is None else float(now.p[named]),
            "p_named_if_wrong": None if named is None else float(self.turned.p[named]),
        }

    @property
    def _row(self) -> int:
        row = self.posterior.row(self.revisions[self.step].tested)
        assert row is not None  # those without are not in the menu
        return row

    def _name(self, number: int) -> str:
        one = self.revisions[number].tested
        took = "crashes" if one.crashing else "clean"
        return f"{number}: {clean_line(one.step.stage, 40)} {one.step.commit[:12]}, taken for {took}"

    def _show(self) -> None:
        self._line.value = self.words
        self._picture.value = self._still()

    def _still(self) -> bytes:
        file = io.BytesIO()
        self.figure().savefig(file, format="png", dpi=80)
        return file.getvalue()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Add the still picture, for viewers that do not run a notebook's code."""
        data = dict(super()._repr_mimebundle_(**kwargs) or {})
        return {**data, "text/plain": self.words, "image/png": base64.b64encode(self._picture.value).decode("ascii")}


def _percent(p: float) -> str:
    return "< 0.1%" if p < 0.001 else "> 99.9%" if p > 0.999 else f"{p:.1%}"
