"""A person's hand on a running bisection: pause, resume, stop, marks, more runs. Read `Control`."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from kbench.errors import InputError, StoppedError
from kbench.records import Verdict

#: Stages of what a person orders; the journal keeps them like any other question.
MORE = "more runs"
MARKS = {f"marked {verdict.value}": verdict for verdict in (Verdict.GOOD, Verdict.BAD, Verdict.SKIP)}
BY_HAND = (MORE, *MARKS)


@dataclass(frozen=True, slots=True)
class Order:
    """What a person wants asked next."""

    commit: int  # position in the history
    stage: str  # one of BY_HAND
    runs: int = 0  # 0: a mark


class Control:
    """Given to a `Bisection`, used from any thread.

    A pause takes effect when the next run ends: machines that still run are ended, and their runs made later. Orders
    are asked before the search's next question.
    """

    def __init__(self) -> None:
        self._go = threading.Event()
        self._go.set()
        self._stopped = False
        self._orders: deque[Order] = deque()

    @property
    def paused(self) -> bool:
        """Whether nothing is started."""
        return not self._go.is_set()

    @property
    def interrupted(self) -> bool:
        """Whether what runs is to be left: paused or stopped."""
        return self.paused or self._stopped

    def pause(self) -> None:
        """Start nothing more until `resume`."""
        self._go.clear()

    def resume(self) -> None:
        """Go on."""
        self._go.set()

    def stop(self) -> None:
        """End the bisection; started again, it goes on where it stood."""
        self._stopped = True
        self._go.set()

    def order(self, commit: int, stage: str, runs: int = 0) -> None:
        """Have a revision marked, or run more.

        Raises
        ------
        InputError
            An unknown stage, or a number of runs that does not go with it.
        """
        if stage not in BY_HAND or (runs < 1) == (stage == MORE):
            raise InputError(f"bisection: expected one of {', '.join(MARKS)}, or {MORE} with 1 run or more, got {stage}, {runs}")
        self._orders.append(Order(commit, stage, runs))

    def next_order(self) -> Order | None:
        """Take the oldest order that was not asked yet."""
        return self._orders.popleft() if self._orders else None

    def wait(self) -> None:
        """Return once nothing is paused; StoppedError when the bisection is to end."""
        self._go.wait()
        if self._stopped:
            raise StoppedError("bisection: stopped by hand; start it again to go on")
