"""The smallest set of options that still shows the bug, by asking and telling. Read `Minimiser` first.

Pure: what an option is, who closes a set under its dependencies and who runs the test is the caller's. `CrashRule` turns
the runs of one set into a verdict, or asks for more of them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from kbench.errors import SearchError
from kbench.records import Verdict

Item = TypeVar("Item", bound=Hashable)


class Keep(Enum):
    """Why an item is still there."""

    NEEDED = "needed"  # without it, and what depends on it, the bug does not show
    HELD = "held by another"  # it comes back when it is left out
    UNTESTABLE = "untestable without"  # the kernel then does not build, or its runs say nothing
    UNTESTED = "not tried"  # the budget was spent before


class Minimiser(Generic[Item]):
    """Delta debugging over items that are closed under dependencies: drops what the bug does not need.

    Zeller and Hildebrandt (2002), Simplifying and isolating failure-inducing input, IEEE TSE 28(2), 183-200; of their
    ddmin the reduction to complements, chunks halved breadth first. A set that was asked for becomes another one once
    it is closed (what lacks its dependencies goes, what others select comes back), so sets are told as they really are,
    and equal ones are tested once:

        while (asked := minimiser.ask()) is not None:
            effective = close(asked)
            verdict = minimiser.recall(effective) or test(effective)
            minimiser.tell(asked, effective, verdict)

    The search takes the bug to be monotone (what does not show with some items does not show with fewer); at the end
    every single item left is tried without that assumption, so that the result is 1-minimal. For k items needed of n,
    dependencies included, and g groups, a monotone bug takes g + 2 + 2 k ceil(log2 n) + k tests at most.

    Parameters
    ----------
    items : iterable
        The set that is known to show the bug; neighbours are tried together.
    groups : sequence of collections of items
        Tried first: all of them at once, then each.
    builds : int
        Tests at most; those that `recall` answers are free.

    Raises
    ------
    SearchError
        An item twice, a group with another one, or a budget below 0.
    """

    def __init__(self, items: Iterable[Item], *, groups: Sequence[Collection[Item]] = (), builds: int = 30) -> None:
        self.items = tuple(items)
        self.builds = 0  # tests told so far
        self._all = frozenset(self.items)
        self._max_builds = builds
        if len(self._all) < len(self.items) or builds < 0 or not self._all.issuperset(item for group in groups for item in group):
            raise SearchError(
                f"minimise: expected {len(self.items)} different items, groups of them and 0 builds or more, "
                f"seen {len(self._all)} and {builds}; correct the items"
            )
        self._current = self._all  # the smallest set known to show the bug
        self._verdicts: dict[frozenset[Item], Verdict] = {self._all: Verdict.BAD}  # by effective set
        self._closed: dict[frozenset[Item], frozenset[Item]] = {}  # asked to effective
        self._why: dict[Item, Keep] = {}
        self._checked: frozenset[Item] | None = None  # the set whose single items were tried without taking anything for given
        chunks = [frozenset(group) for group in groups if group]
        together = [frozenset[Item]().union(*chunks)] if len(chunks) > 1 else []
        self._queue: deque[frozenset[Item]] = deque((*together, *chunks))  # chunks to leave out
        self._grouped = len(self._queue)  # of them, those that are not halved
        self._chunk: frozenset[Item] = frozenset()
        self._advance()

    @property
    def kept(self) -> tuple[Item, ...]:
        """The smallest set known to show the bug, in the order of the items."""
        return tuple(item for item in self.items if item in self._current)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to try: but for what is held or untestable, `kept` is 1-minimal."""
        return not self._chunk

    def why(self, item: Item) -> Keep:
        """Return why an item is still there."""
        return self._why.get(item, Keep.UNTESTED)

    def ask(self) -> frozenset[Item] | None:
        """Return the set to test next; None when there is none, or the budget is spent. Changes nothing."""
        return self._current - self._chunk if self._chunk and self.builds < self._max_builds else None

    def recall(self, effective: Collection[Item]) -> Verdict | None:
        """Return the verdict on a set, as told or as it follows; None when it has to be tested. Changes nothing."""
        seen = frozenset(effective)
        known = self._verdicts.get(seen)
        if known is None and not self._checking:
            inside = seen & self._all
            clean = (other for other, verdict in self._verdicts.items() if verdict is Verdict.GOOD)
            return Verdict.GOOD if any(inside <= other for other in clean) else None
        return known

    def tell(self, asked: Collection[Item], effective: Collection[Item], verdict: Verdict) -> None:
        """Take in what a set showed.

        Parameters
        ----------
        asked : collection of items
            As `ask` returned it.
        effective : collection of items
            What it became; may have items that nobody asked for.
        verdict : Verdict
            BAD: the bug shows; GOOD: it does not; SKIP: that cannot be said.

        Raises
        ------
        SearchError
            `asked` is not the question.
        """
        question, seen = frozenset(asked), frozenset(effective)
        if question != self.ask():
            raise SearchError(f"minimise: expected an answer for the set asked for, got one for {len(question)} items; ask first")
        self._closed[question] = seen
        if self.recall(seen) is None:
            self.builds += 1
            self._verdicts[seen] = verdict
        self._learn(seen, verdict)
        self._advance()

    @property
    def _checking(self) -> bool:
        return self._checked == self._current

    def _learn(self, seen: frozenset[Item], verdict: Verdict) -> None:
        # What leaving the chunk out came to.
        left = seen & self._all
        if verdict is Verdict.BAD and len(left) < len(self._current):
            self._current = left
            self._why = {item: why for item, why in self._why.items() if item in left and why is not Keep.HELD}
        elif left >= self._current:
            self._why |= dict.fromkeys(self._chunk, Keep.HELD)
        elif len(self._chunk) == 1:
            reasons = {Verdict.BAD: Keep.HELD, Verdict.GOOD: Keep.NEEDED, Verdict.SKIP: Keep.UNTESTABLE}
            self._why |= dict.fromkeys(self._chunk, reasons[verdict])
        elif self._grouped < 0:
            ordered = [item for item in self.items if item in self._chunk]
            middle = len(ordered) // 2
            self._queue += (frozenset(ordered[:middle]), frozenset(ordered[middle:]))

    def _advance(self) -> None:
        # Find the next chunk whose answer is not known, and take in the answers of those before it.
        while self._next_chunk():
            seen = self._closed.get(self._current - self._chunk)
            verdict = None if seen is None else self.recall(seen)
            if seen is None or verdict is None:
                return
            self._learn(seen, verdict)

    def _next_chunk(self) -> bool:
        # What is queued, then all that nothing is known of, then each single item left.
        while True:
            while self._queue:
                self._grouped -= 1
                chunk = self._queue.popleft() & self._current
                self._chunk = chunk if self._checking else frozenset(item for item in chunk if item not in self._why)
                if self._chunk:
                    return True
            self._chunk = frozenset()
            unknown = frozenset(item for item in self._current if item not in self._why)
            if unknown:
                self._queue.append(unknown)
            elif self._checking:
                return False
            else:
                self._checked = self._current
                self._queue += (frozenset([item]) for item in self.kept if self._why[item] is not Keep.HELD)


#: A set that crashes less often than this, and less often than the whole set, is of no use: syzkaller's bound.
USEFUL_SHARE = 1 / 3


@dataclass(frozen=True, slots=True)
class CrashRule:
    """When runs of one set say that the bug shows: syzkaller's rule for smaller configs, with as many runs as it takes.

    Syzkaller rejects a set whose share of crashes in 5 runs is below 1/3 and below the share of the original. Here that
    holds as well, but nothing is decided while chance would explain what was seen: more runs are asked for.

    - BAD: it crashed often enough, and the likelihood of a share of min(1/3, `share`) against one of `p_other` has come to
      1 / `risk`. By Ville's inequality (1939) the latter happens with probability `risk` at most where the bug is not,
      however often one looks.
    - GOOD: it crashed too rarely, and as rarely with probability `risk_missed` at most if it did at the original's rate; or
      `max_runs` are spent without an answer, which keeps an option and loses none.
    """

    share: float  # of crashes among the runs of the original
    lowest: float  # lower end of that rate's interval
    risk: float = 0.05 / 30  # of calling a set BAD that is not: 0.05 over 30 sets
    risk_missed: float = 0.05
    p_other: float = 0.01  # rate at which a run without the bug crashes with the bug's title
    max_runs: int = 60

    def judge(self, crashed: int, clean: int, useless: int = 0) -> Verdict | None:
        """Return the verdict on a set, None when more runs are needed.

        Parameters
        ----------
        crashed, clean : int
            Runs that ended with the bug's crash, and without any.
        useless : int
            Runs that say nothing: no boot, another crash, a machine that broke.
        """
        told = crashed + clean
        if useless > told:
            return Verdict.SKIP
        spent = told + useless >= self.max_runs
        wanted = min(USEFUL_SHARE, self.lowest if spent else self.share)  # at the end as rarely as the original may crash
        rare = told == 0 or crashed / told < wanted
        p_bug = max(min(USEFUL_SHARE, self.share), 3 * self.p_other)
        log_ratio = crashed * math.log(p_bug / self.p_other) + clean * math.log((1 - p_bug) / (1 - self.p_other))
        if not rare and log_ratio >= -math.log(self.risk):
            return Verdict.BAD
        unlikely = rare and _p_at_most(crashed, told, self.lowest) <= self.risk_missed
        return Verdict.GOOD if spent or unlikely else None


def _p_at_most(k: int, n: int, p: float) -> float:
    # P(at most k of n) at rate p.
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))
