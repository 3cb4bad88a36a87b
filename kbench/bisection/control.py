"""A person's hand on a running bisection: pause, resume, stop, marks, more runs. Read `Control`."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from kbench.errors import InputError
from kbench.hold import Hold
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


class Control(Hold):
    """Given to a `Bisection`, used from any thread.

    A pause takes effect at once: a build stands still and goes on later, machines are ended and their runs made later; what
    a cluster builds is finished there. Orders are asked before the search's next question.
    """

    def __init__(self) -> None:
        super().__init__()
        self._orders: deque[Order] = deque()

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
