"""One simulated truth, and what runs show in it. Pure; read `World` first, `kbench.study.draw` makes one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kbench.evidence import Priors
from kbench.history import History, Mask
from kbench.search import Costs, Observation

#: Titles of the bug; every world knows the first.
TITLE, SECOND_TITLE = "KASAN: use-after-free Read in the_bug", "general protection fault in the_bug"
#: Titles it may change to: of the same function, of the same kind, of neither; so are those of other bugs, but for the first.
CHANGED_TITLES = (
    "BUG: unable to handle kernel paging request in the_bug",
    "KASAN: use-after-free Read in elsewhere",
    "WARNING in elsewhere",
)
NOISE_TITLES = ("INFO: rcu detected stall in somewhere", "WARNING in kvm_wait", "no output from test machine")
SKIPS = ("", "build", "boot", "test")

_DRAWS = 4  # numbers a run takes, besides one for each intruder


@dataclass(frozen=True, slots=True)
class Foreign:
    """Another bug the reproducer sets off."""

    title: str
    there: Mask  # on which commits, shape (n,)
    rate: float


@dataclass(frozen=True, slots=True)
class World:
    """One simulated truth over a history of n commits; all arrays have shape (n,).

    What run i on a kernel shows is fixed by the seed, the kernel and i, whoever asks and in whatever order.
    """

    history: History
    bad: int
    good: tuple[int, ...]
    tags: tuple[int, ...]
    culprit: int
    older: bool  # the oldest commit that may be tested has the bug
    buggy: Mask
    rate: NDArray[np.float64]  # P(crash) of a run by the bug; 0 without it and where it is silent
    changed: Mask  # where the bug shows with another title than on the original commit
    changed_title: str  # that one
    second_title: bool  # half of its crashes have its second title
    foreign: tuple[Foreign, ...]
    noise: float  # of a run: a crash that has nothing to do with anything
    skip: NDArray[np.int8]  # index in SKIPS
    kernel: NDArray[np.int64]  # the commit whose kernel this one makes: its own, or an ancestor's
    seed: tuple[int, int]
    pace: float = 1.0  # builds and runs take so many times the usual
    limit_h: float = 100.0  # a search that spent so many hours, one run after the other, is stopped
    first_runs: int = 0  # of the original commit, told before anything is asked
    live: Mask | None = None  # where the reproducer gets to the code that crashes, if the laboratory looks; None: it does not
    priors: Priors = field(default_factory=Priors.default)  # for searches that have any
    prior: NDArray[np.float64] | None = None  # weight of each commit as culprit, handed to the search

    @property
    def findable(self) -> bool:
        """Whether runs, however many, can tell the culprit from every other commit.

        They cannot where the bug is older than what may be tested or silent on the culprit, or where that or a parent cannot be
        tested: the commit from which on the bug shows is then another one.
        """
        near = [self.culprit, *self.history.parents[self.culprit], self.bad]
        return not self.older and self.rate[self.culprit] > 0 and not self.skip[near].any()


@dataclass
class Laboratory:
    """Answers experiments in one world and adds up what they cost."""

    world: World
    built: set[int] = field(default_factory=set)
    n_runs: int = 0
    waves: int = 0  # of runs, `width` at a time
    shown: bool = False  # has the bug shown on the original commit?
    _ran: Counter[int] = field(default_factory=Counter)

    def observe(self, commit: int, runs: int, *, width: int = 1) -> Observation:
        """Build the commit, unless it was built before, and run it so often."""
        world, kernel = self.world, int(self.world.kernel[commit])
        self.built.add(commit)
        signature = f"{kernel:064x}"
        skip = SKIPS[world.skip[kernel]]
        if skip == "build":
            return Observation(commit, skip="build")
        self.n_runs += runs
        self.waves += -(-runs // width)
        if skip:
            boot, test = (runs, 0) if skip == "boot" else (0, runs)
            return Observation(commit, boot_failed=boot, test_failed=test, signature=signature)
        crashes = _crashes(world, kernel, self._ran[kernel], runs)
        self._ran[kernel] += runs
        self.shown |= commit == world.bad and bool(crashes.keys() & {TITLE, SECOND_TITLE, world.changed_title})
        clean = runs - crashes.total()
        reached = bool(world.live[kernel]) if world.live is not None and clean else None
        return Observation(commit, passed=clean, crashes=crashes, signature=signature, reached=reached)

    def hours(self, costs: Costs, *, wide: bool = False) -> float:
        """Hours so far, one run after the other, or those of each experiment `width` at once."""
        usual_s = len(self.built) * costs.build + (self.waves if wide else self.n_runs) * costs.run
        return self.world.pace * usual_s / 3600


def _crashes(world: World, kernel: int, first: int, runs: int) -> Counter[str]:
    # Runs first to first + runs - 1 of a kernel, by title. One stream of numbers a kernel (Philox, Salmon et al. 2011).
    bits = np.random.Philox(key=np.array([(world.seed[0] << 32) + world.seed[1], kernel], dtype=np.uint64))
    draws = np.random.Generator(bits).random((first + runs, _DRAWS + len(world.foreign)))[first:]
    crashes: Counter[str] = Counter()
    for draw in draws:
        if title := _title(world, kernel, draw):
            crashes[title] += 1
    return crashes


def _title(world: World, kernel: int, draw: NDArray[np.float64]) -> str:
    if draw[0] < world.rate[kernel]:
        if world.changed[kernel]:
            return world.changed_title
        return SECOND_TITLE if world.second_title and draw[1] < 0.5 else TITLE
    for number, other in zip(draw[_DRAWS:], world.foreign, strict=True):
        if other.there[kernel] and number < other.rate:
            return other.title
    return NOISE_TITLES[int(draw[3] * len(NOISE_TITLES))] if draw[2] < world.noise else ""
