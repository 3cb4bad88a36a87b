"""The closing proof of one culprit: it, its parent, and it reverted on top of the newer end, run in turns. Pure; read `Proof`.

Three figures decide nothing that the search has not decided; they show it to a reader who believes no model. Parent and
culprit are told to the search like any other runs. The reverted kernel is not in the history: `Proof.weighed` has its say.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import get_args

from kbench.errors import InputError
from kbench.evidence import Priors
from kbench.flakiness import Interleaved, interleaved, runs_for_power
from kbench.flakiness.proof import Kind, Role
from kbench.records import Outcome, Run, Step, Verdict

Counts = tuple[int, int]  # runs that show the bug, runs that tell

ROUNDS = 3  # the weather of a machine changes slowly: few turns do
MIN_RUNS, MAX_RUNS = 4, 60  # of each kernel, when their number is not given
P_CLEAR = 0.001  # no more runs are needed below
P_REACHED = 0.8  # P(the runs planned get there)

P_REMAINS = 0.05  # P(the bug shows with its culprit reverted): later commits came to depend on it, or brought the bug again
P_HIDES = 0.1  # P(the bug does not show with another commit reverted): that one made room for it, or a reproducer's way
P_BELOW = 0.5  # P(a parent below the range has the bug | another commit is the culprit)


class Proof:
    """The runs in turns, and what they come to.

    Parameters
    ----------
    seen : (int, int)
        How often the bug has shown where it is: sets the number of runs, and the weight of clean ones.
    titles : collection of str
        Its titles; a crash with another one tells nothing here.
    runs : int, optional
        Of each kernel, exactly; by default as many as it takes, and fewer when it is clear before.
    kind : "cause" or "fix"
    """

    def __init__(self, seen: Counts, titles: Collection[str], *, runs: int | None = None, kind: Kind = "cause") -> None:
        self.notes: list[str] = []  # doubts of whoever carries it out
        self.parent_told = True  # the search was told the parent's runs
        self._seen, self._titles, self._kind, self._fixed = seen, frozenset(titles), kind, runs is not None
        self.runs = runs_needed(seen) if runs is None else runs
        self._asked = dict.fromkeys(get_args(Role), 0)
        self._found: list[tuple[Role, bool]] = []

    def __str__(self) -> str:
        """`parent 0:12, culprit 9:12, reverted 0:12`: runs that show the bug, of those that tell."""
        told = {role: self.counts(role) for role in get_args(Role) if self._asked[role]}
        return ", ".join(f"{role} {shown}:{runs}" for role, (shown, runs) in told.items())

    def ask(self, role: Role) -> int:
        """How many runs of a kernel are next; 0 when it had its share."""
        return min(-(-self.runs // ROUNDS), self.runs - self._asked[role])

    def tell(self, role: Role, asked: int, runs: Iterable[Run]) -> None:
        """Take in the runs of one turn."""
        self._asked[role] += asked
        self._found += [(role, shows) for shows in self._told(runs)]

    def counts(self, role: Role) -> Counts:
        """Runs of a kernel that show the bug, and that tell."""
        told = [shows for other, shows in self._found if other == role]
        return sum(told), len(told)

    def verdict(self, runs: Iterable[Run]) -> Verdict:
        """What runs of a kernel that the search does not know come to."""
        told = self._told(runs)
        return Verdict.SKIP if not told else Verdict.BAD if any(told) else Verdict.GOOD

    @property
    def summary(self) -> Interleaved | None:
        """Counts and p-value; None while parent or culprit have no run that tells."""
        told = all(self.counts(role)[1] for role in ("parent", "culprit"))
        return interleaved(self._found, kind=self._kind) if told else None

    @property
    def done(self) -> bool:
        """Whether no more runs are wanted, seen after a whole round."""
        if not any(self.ask(role) for role in ("parent", "culprit")):
            return True
        if self._fixed or min(self.counts(role)[1] for role in ("parent", "culprit")) < MIN_RUNS:
            return False
        return self.summary is not None and self.summary.p_value < P_CLEAR

    def weighed(self, confidence: float) -> float:
        """P(the culprit is right), given what the search believed without the runs it was not told.

        Bayes' rule, with the odds that the untold kernels have the bug where the culprit is right and where it is not.
        """
        ratio = self._ratio("reverted", P_REMAINS, 1 - P_HIDES)
        if not self.parent_told and self._kind == "cause":
            ratio *= self._ratio("parent", 0.0, P_BELOW)
        return confidence * ratio / (confidence * ratio + 1 - confidence) if confidence < 1 else confidence

    def doubts(self) -> list[str]:
        """What a reader should know of it."""
        found = list(self.notes)
        if self._kind == "cause" and (shown := self.counts("reverted"))[0]:
            found.append(f"the bug shows with the culprit reverted too, in {shown[0]} of {shown[1]} runs")
        found += self.summary.doubts() if self.summary else ()
        return [f"closing proof: {doubt}" for doubt in found]

    def _told(self, runs: Iterable[Run]) -> list[bool]:
        # Of each run that tells: does it show the bug?
        crashed = Outcome.CRASHED
        own = (run for run in runs if run.outcome is Outcome.OK or (run.outcome is crashed and run.title in self._titles))
        return [run.outcome is crashed for run in own]

    def _ratio(self, role: Role, p_right: float, p_wrong: float) -> float:
        # P(its runs | culprit right) / P(its runs | another one), the kernel having the bug with these probabilities.
        k, n = self.counts(role)
        p_own = Priors.default().p_own_without
        a, b = self._seen[0] + 0.5, self._seen[1] - self._seen[0] + 0.5
        with_bug = math.exp(_log_beta(a + k, b + n - k) - _log_beta(a, b))  # in this order, at the rate learnt
        without = p_own * math.exp(_log_beta(k + 1, n - k + 1)) if k else 1 - p_own
        right, wrong = (p * with_bug + (1 - p) * without for p in (p_right, p_wrong))
        return right / wrong if n and wrong else 1.0


def runs_needed(seen: Counts) -> int:
    """Return how many runs of each kernel make P_CLEAR likely at the rate seen so far."""
    crash_rate = (seen[0] + 0.5) / (seen[1] + 1)  # the mean of Jeffreys' posterior
    try:
        enough = runs_for_power(0.0, crash_rate, wanted=P_REACHED, alpha=P_CLEAR, two_sided=False, max_runs=MAX_RUNS)
    except InputError:
        return MAX_RUNS
    return max(MIN_RUNS, enough.n)


def shown_where_it_is(steps: Iterable[Step], culprit: str) -> tuple[frozenset[str], Counts]:
    """Return the titles of the bug, and how often it has shown on revisions that have it.

    Its titles are the first revision's; those of the culprit where that shows none of them: it was named by these.
    """
    steps = list(steps)
    titles = next((frozenset(step.titles) for step in steps if step.titles), frozenset())
    own = frozenset(title for step in steps if step.commit == culprit for title in step.titles)
    if own and not own & titles:
        titles = own
    shown = [(sum(step.titles[title] for title in titles), step.counts[Outcome.OK]) for step in steps if _has_bug(step, titles)]
    crashed = sum(k for k, _ in shown)
    return titles, (crashed, crashed + sum(clean for _, clean in shown))


def _has_bug(step: Step, titles: frozenset[str]) -> bool:
    return step.same_as is None and any(title in titles for title in step.titles)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
