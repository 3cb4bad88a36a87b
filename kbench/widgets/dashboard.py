"""The dashboard of a running bisection: its pictures, and buttons for whoever watches it. Read `Dashboard`.

Labels and text fields show what they are given as text; nothing here makes HTML of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import ipywidgets

from kbench.bisection import Bisection
from kbench.errors import KbenchError
from kbench.records import BisectionView
from kbench.text import clean_line
from kbench.widgets.belief import BeliefWidget
from kbench.widgets.live import Pictures


class Running(Protocol):
    """What is shown; see `kbench.running.RunningBisection`."""

    bisection: Bisection
    view: BisectionView
    next: str

    @property
    def state(self) -> str: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def stop(self) -> None: ...

    def mark(self, revision: str, verdict: str) -> None: ...

    def more(self, revision: str, runs: int) -> None: ...

    def listen(self, listener: Callable[[Any], object]) -> None: ...


_WORDS = {
    "running": "Running",
    "paused": "Paused: nothing is started until it is resumed",
    "stopped": "Stopped: start it again to go on",
    "ended": "Ended",
    "failed": "Failed",
}


class Dashboard(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Pause, resume, stop, mark a revision, have more runs; below them the search and the rates, live."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._state, self._next, self._said = ipywidgets.Label(), ipywidgets.Label(), ipywidgets.Label()
        self._pause = self._button("Pause", "pause", lambda: running.resume() if running.state == "paused" else running.pause())
        self._stop = self._button("Stop", "stop", running.stop, "End it; started again, it goes on")
        self._revision = ipywidgets.Combobox(placeholder="revision", ensure_option=False, layout={"width": "340px"})
        self._verdict = ipywidgets.Dropdown(options=["good", "bad", "skip"], layout={"width": "90px"})
        self._runs = ipywidgets.BoundedIntText(10, min=1, max=1000, layout={"width": "80px"})
        mark = self._button("Mark", "tag", self._mark, "Tell the search what you know of this revision")
        more = self._button("Run more", "plus", self._more, "Run this revision more often, before anything else")
        self._controls = (self._pause, self._stop, mark, more)
        for words in (self._next, self._said):
            words.add_class("kb-words")
        self._pictures = Pictures(running.view)
        rows = [
            ipywidgets.HBox([self._pause, self._stop, self._state]),
            ipywidgets.HBox([self._revision, self._verdict, mark, self._runs, more]),
            self._next,
            self._said,
        ]
        self._belief = BeliefWidget(running.bisection, now=running.state not in ("running", "paused"))
        self._steps = -1
        super().__init__([*rows, self._belief, *self._pictures.widgets])
        self._label(running)
        running.listen(self._show)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Say what it is, for viewers that do not run a notebook's code."""
        data = dict(super()._repr_mimebundle_(**kwargs) or {})
        name = clean_line(self._running.view.name)
        return {**data, "text/plain": f"{name}, while it was bisected: live where the notebook is trusted"}

    def _button(self, words: str, icon: str, press: Callable[[], None], tooltip: str = "") -> Any:
        button = ipywidgets.Button(description=words, icon=icon, tooltip=tooltip or words, layout={"width": "auto"})
        button.on_click(lambda _: self._press(press))
        return button

    def _press(self, press: Callable[[], None]) -> None:
        try:
            press()
        except KbenchError as error:
            self._said.value = clean_line(str(error))
        self._label(self._running)

    def _mark(self) -> None:
        revision = self._chosen()
        self._running.mark(revision, self._verdict.value)
        self._said.value = f"{revision} will be taken for {self._verdict.value} before the next question"

    def _more(self) -> None:
        revision = self._chosen()
        self._running.more(revision, self._runs.value)
        self._said.value = f"{revision} will be run {self._runs.value} times more before the next question"

    def _chosen(self) -> str:
        return str(self._revision.value).split(" ")[0]

    def _show(self, running: Running) -> None:
        # In the bisection's thread: nobody tells the search anything meanwhile.
        self._label(running)
        told = sum(step.verdict is not None for step in running.view.steps)
        if told != self._steps or running.state not in ("running", "paused"):
            self._steps = told
            self._belief.update(running.bisection)
        self._pictures.update(running.view)

    def _label(self, running: Running) -> None:
        state, view = running.state, running.view
        spent = f"{len(view.steps)} revision{'s' * (len(view.steps) != 1)}, {view.build_s + view.test_s:.0f} s of builds and runs"
        self._state.value = f"{_WORDS[state]}. {spent}."
        self._next.value = f"Next: {running.next}" if running.next and state != "ended" else ""
        paused, over = state == "paused", state in ("ended", "stopped", "failed")
        self._pause.description, self._pause.icon = ("Resume", "play") if paused else ("Pause", "pause")
        for control in self._controls:
            control.disabled = over
        options = [f"{step.commit[:12]} {clean_line(step.subject, 60)}" for step in reversed(view.steps)]
        self._revision.options = list(dict.fromkeys(options))
