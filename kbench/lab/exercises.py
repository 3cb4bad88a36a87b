"""A lab as a lesson: find its culprit by hand, against the search; exercises that check themselves. Read `HandSearch` first."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kbench.bisection.case import load_case
from kbench.errors import BuildError, InputError
from kbench.flakiness import clean_runs
from kbench.kernels import Builder
from kbench.lab.record import Lab
from kbench.records import Outcome, count_outcomes, count_titles
from kbench.repository import Repository
from kbench.runs import repro
from kbench.search import Costs, Observation, Search
from kbench.targets import TARGETS

if TYPE_CHECKING:
    import pandas as pd

OPEN = "not answered yet"


@dataclass(frozen=True, slots=True)
class Exercise:
    """A question with an answer that can be checked.

    Attributes
    ----------
    right : callable
        Tells whether an answer is right; errors of it count as wrong.
    hint : str
        For who answered wrong.
    """

    question: str
    right: Callable[[object], bool]
    hint: str

    def check(self, answer: object) -> str:
        """Return "right", "not answered yet" for nothing (0, "", None), or what to think about."""
        if not answer:
            return OPEN
        try:
            right = self.right(answer)
        except (TypeError, ValueError):
            right = False
        return "right" if right else f"not right: {self.hint}"


class HandSearch:
    """Commits of a lab between its oldest release and its newest commit, numbered, oldest first; `test` builds and runs one.

    Attributes
    ----------
    told : list of Observation
        What was tested so far, in order.
    builds, runs : int
        What that took.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._repository = Repository(lab.repository)
        self.history = self._repository.history(bad="main", good=[lab.tags[0]])
        self._commits = [str(commit) for commit in self.history.commits]
        self._subjects = self._repository.subjects(self._commits)
        self.bad, self.good = self.number("main"), self.number(lab.tags[0])
        self.told: list[Observation] = []
        self.builds = self.runs = 0
        self._built: set[int] = set()

    def number(self, revision: str) -> int:
        """The number of a revision.

        Raises
        ------
        InputError
            It is not one of these commits.
        """
        name = self._repository.resolve(revision)
        if name not in self._commits:
            raise InputError(f"lab: expected a commit from {self.lab.tags[0]} to main, {revision!r} is none; take a number")
        return self._commits.index(name)

    def test(self, commit: int, runs: int = 3) -> str:
        """Build a commit, run the reproducer so often on fresh machines, and say what was seen.

        Raises
        ------
        InputError
            No such number, or less than one run.
        """
        if not 0 <= commit < len(self._commits) or runs < 1:
            last = len(self._commits) - 1
            raise InputError(f"lab: expected a commit from 0 to {last} and 1 run or more, got {commit}, {runs}; take others")
        self.builds += commit not in self._built
        self._built.add(commit)
        case, name = load_case(self.lab.case), self._commits[commit]
        config = case.path(case.config).read_text(encoding="utf-8") if isinstance(case.config, str) and case.config else None
        try:
            with Builder(self._repository, TARGETS["lab"], config=config) as builder:
                found = repro(builder.build(name), case.path(case.reproducer), runs=runs).runs
        except BuildError:
            self.told.append(Observation(commit, skip="build"))
            return f"{commit} {name[:12]} does not build"
        self.runs += runs
        counts, titles = count_outcomes(found), count_titles(found)
        failed = counts[Outcome.BOOT_FAILED]
        self.told.append(
            Observation(commit, passed=counts[Outcome.OK], crashes=dict(titles), boot_failed=failed, infra=counts[Outcome.INFRA])
        )
        shown = ", ".join(f"{n} × {title}" for title, n in titles.most_common()) or ("does not boot" if failed else "clean")
        return f"{commit} {name[:12]}: {sum(titles.values())} of {runs} crashed ({shown})"

    def play(self, strategy: str = "bayes") -> list[str]:
        """Let the search test commits until it is sure; return what `test` said of each, and its answer."""
        said = [self.test(self.bad, 6)]
        search = Search(self.history, bad=self.bad, good=[self.good], strategy=strategy, costs=Costs(build=1.0, run=0.1))
        search.tell(self.told[-1])
        while asked := search.ask():
            for one in asked:
                said.append(self.test(one.commit, one.at_most or one.runs))
                search.tell(self.told[-1])
        found = search.result
        answer = "no culprit" if found.culprit is None else f"{found.culprit} {self._commits[found.culprit][:12]}"
        return [*said, f"answer: {answer}, {found.confidence or 0:.0%} sure"]

    def table(self) -> pd.DataFrame:
        """What was tested so far, oldest commit first: number, runs, crashes, subject."""
        import pandas as pd  # a second of import

        rows = [
            {
                "commit": seen.commit,
                "runs": seen.total,
                "crashed": seen.crashed,
                "subject": "does not build" if seen.skip else self._subjects[self._commits[seen.commit]],
            }
            for seen in sorted(self.told, key=lambda seen: seen.commit)
        ]
        return pd.DataFrame(rows, columns=["commit", "runs", "crashed", "subject"])

    def exercises(self, *, rate: float = 0.5, miss: float = 0.05) -> dict[str, Exercise]:
        """The exercises of this lab, by name."""
        inside = int(np.sum(self.history.candidates(self.bad, [self.good])))
        enough, halvings = clean_runs(rate, miss=miss).n, math.ceil(math.log2(inside))
        return {
            "clean_runs": Exercise(
                f"A bug crashes in {rate:.0%} of the runs. How many clean runs in a row do you want to see before you call a "
                f"commit good, if you may be wrong in {miss:.0%} of the cases?",
                lambda answer: answer == enough,
                f"a bad commit is clean n times with probability (1 - {rate})ⁿ; take the smallest n that is not above {miss}",
            ),
            "halvings": Exercise(
                f"There are {inside} candidates. How many commits do you have to test at least, to be sure of finding any "
                "culprit, when each test says good or bad and never lies?",
                lambda answer: answer == halvings,
                f"each test halves what is left, at best: how often can {inside} be halved until one is left?",
            ),
            "culprit": Exercise(
                "Which commit broke it? Its number, or the first digits of its hash.",
                self._is_culprit,
                "the culprit crashes and its parent does not; test both, often enough",
            ),
        }

    def _is_culprit(self, answer: object) -> bool:
        if isinstance(answer, int):
            return 0 <= answer < len(self._commits) and self._commits[answer] == self.lab.culprit
        text = str(answer).strip().lower()
        if text.isdecimal() and len(text) < 7:
            return self._is_culprit(int(text))
        return len(text) >= 7 and self.lab.culprit.startswith(text)
