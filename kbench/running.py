"""A bisection that runs in the background, with a hand on it. Read `start` first."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kbench.bisection import Bisection
from kbench.bisection.case import load_case
from kbench.bisection.control import MORE, Control
from kbench.bisection.view import view
from kbench.errors import InputError, StoppedError
from kbench.primitives import BisectionReport
from kbench.records import BisectionView, Verdict

if TYPE_CHECKING:
    from kbench.widgets.dashboard import Dashboard

STATES = ("running", "paused", "stopped", "ended", "failed")


def start(
    case: Path | str,
    *,
    output: Path | str | None = None,
    jobs: int | None = None,
    **overrides: Any,
) -> RunningBisection:
    """Begin to bisect a case, or go on where its journal stands, and return at once; see `kbench.bisect` for the arguments.

    In a notebook, end a cell with what this returns to see a dashboard, and a later one with `await bisection` where its end
    is needed.

    Raises
    ------
    InputError
        Something in the case is wrong; nothing was written.
    """
    control = Control()
    loaded = load_case(case, **overrides)
    running = RunningBisection(
        Bisection(
            loaded, output=Path(output) if output else None, jobs=jobs, control=control, on_change=lambda _: running.changed()
        ),
        control,
    )
    # The context holds the cell's message: without it a front end cannot tell which cell an update is of.
    threading.Thread(target=copy_context().run, args=(running.run,), daemon=True, name="bisection").start()
    return running


class RunningBisection:
    """What `start` returns; all of it may be used from any thread.

    `await` it, or `wait` for it, to get the `BisectionReport`; errors of the bisection are raised there.
    """

    def __init__(self, bisection: Bisection, control: Control) -> None:
        self.bisection, self._control = bisection, control
        self._listeners: list[Callable[[RunningBisection], object]] = []
        self._over = False
        self._ended = threading.Event()  # and everybody was told
        self._error: BaseException | None = None
        self.view: BisectionView = view(bisection)
        self.next = ""  # what the search asks next, and why

    @property
    def state(self) -> str:
        """One of `STATES`."""
        if self._over:
            return "ended" if self._error is None else "stopped" if isinstance(self._error, StoppedError) else "failed"
        return "paused" if self._control.paused else "running"

    @property
    def report(self) -> BisectionReport | None:
        """The bisection as `kbench.bisect` returns it; None while it runs."""
        return BisectionReport(self.bisection) if self._over else None

    def pause(self) -> None:
        """Leave everything as it is, at once: a build stands still, machines are ended and their runs made later."""
        self._control.pause()

    def resume(self) -> None:
        """Go on."""
        self._control.resume()

    def stop(self) -> None:
        """End it at once; nothing is lost but a build or runs under way, `start` goes on."""
        self._control.stop()

    def mark(self, revision: str, verdict: Verdict | str) -> None:
        """Tell the search what you know of a revision: "good", "bad" or "skip"; kept in the journal.

        Raises
        ------
        InputError
            Not a revision of this history, or none of the three.
        """
        name = verdict.value if isinstance(verdict, Verdict) else verdict
        self._control.order(self._position(revision), f"marked {name}")

    def more(self, revision: str, runs: int = 10) -> None:
        """Have a revision run more often, before anything else is asked.

        Raises
        ------
        InputError
            Not a revision of this history, or less than one run.
        """
        self._control.order(self._position(revision), MORE, runs)

    def wait(self, timeout_s: float | None = None) -> BisectionReport:
        """Return the report when the bisection has ended.

        Raises
        ------
        TimeoutError
            It has not ended in so many seconds; it goes on.
        StoppedError
            Somebody stopped it.
        KbenchError
            What `kbench.bisect` raises.
        """
        if not self._ended.wait(timeout_s):
            raise TimeoutError(f"bisection: expected an end within {timeout_s} s, it goes on; wait longer, or stop it")
        if self._error is not None:
            raise self._error
        return BisectionReport(self.bisection)

    def __await__(self) -> Generator[Any, None, BisectionReport]:
        return asyncio.to_thread(self.wait).__await__()

    def listen(self, listener: Callable[[RunningBisection], object]) -> None:
        """Have a function called with this after every change of the bisection, from its thread, which may ask the search."""
        self._listeners.append(listener)

    def dashboard(self) -> Dashboard:
        """Return a widget that shows it live and has its buttons."""
        from kbench.widgets.dashboard import Dashboard

        return Dashboard(self)

    def run(self) -> None:
        """Bisect to the end; `start` calls it in its thread."""
        try:
            self.bisection.run()
            BisectionReport(self.bisection).write()
        except BaseException as error:
            self._error = error
        finally:
            self._over = True
            self.next = ""
            self._tell()
            self._ended.set()

    def changed(self) -> None:
        """Take in a change of the bisection; called from its thread."""
        steps = self.bisection.steps
        if steps and (steps[-1].verdict is not None) and len(steps) != len(self.view.steps):
            self.next = self._why()
        self._tell()

    def _tell(self) -> None:
        self.view = view(self.bisection)
        for listener in tuple(self._listeners):
            listener(self)

    def _why(self) -> str:
        # What the search asks next: asking changes nothing.
        asked = self.bisection.search.ask()
        if not asked:
            return ""
        history, candidates = self.bisection.plan.history, self.bisection.search.result.candidates
        one = asked[0]
        inside = history.ancestors(one.commit)
        p = [p for commit, p in candidates if inside[commit]]
        share = float(np.sum(p)) / max(sum(p for _, p in candidates), 1e-9)
        built = self.bisection.plan.hash(one.commit) in self.bisection.answers.builds
        runs = f"{one.at_most or one.runs} runs{' at most' if one.at_most else ''}"
        return (
            f"{self.bisection.plan.hash(one.commit)[:12]}, {runs}: {share:.0%} of the belief in {len(candidates)} candidates "
            f"lies at or below it{', and it is built' if built else ''}"
        )

    def _position(self, revision: str) -> int:
        name = self.bisection.repository.resolve(revision)
        position = self.bisection.position(name)
        if position is None:
            raise InputError(
                f"bisection: expected a revision of this history, {revision!r} is none; take one that is a candidate"
            )
        return position

    def __repr__(self) -> str:
        return f"<{self.state}: {len(self.view.steps)} revisions so far>"

    def _ipython_display_(self) -> None:
        from IPython.display import display  # loaded already: this is a notebook

        display(self.dashboard())  # type: ignore[no-untyped-call]  # IPython has no types
