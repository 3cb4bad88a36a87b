"""Delta debugging: laws of `Minimiser` on random dependencies, and how often `CrashRule` is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbench.errors import SearchError
from kbench.records import Verdict
from kbench.search.ddmin import CrashRule, Keep, Minimiser

Options = frozenset[int]


@dataclass
class World:
    """Options 0 to n - 1, what they depend on and select (lower ones), and the bug; answers as a build would."""

    n: int
    depends: dict[int, set[int]] = field(default_factory=dict)
    selects: dict[int, set[int]] = field(default_factory=dict)
    shows: Callable[[Options], bool] = lambda _: True
    builds: list[Options] = field(default_factory=list)

    def close(self, asked: Collection[int]) -> Options:
        """What is set after `make olddefconfig`: nothing without its dependencies, everything selected."""
        present = set[int]()
        for option in range(self.n):  # dependencies are lower
            if option in asked and self.depends.get(option, set()) <= present:
                present.add(option)
        for option in range(self.n - 1, -1, -1):
            if option in present:
                present |= self.selects.get(option, set())
        return frozenset(present)

    def minimise(self, minimiser: Minimiser[int]) -> Options:
        """Answer until the end; return what is left."""
        while (asked := minimiser.ask()) is not None:
            effective = self.close(asked)
            verdict = minimiser.recall(effective)
            if verdict is None:
                assert effective not in self.builds, "one set was built twice"
                self.builds.append(effective)
                verdict = Verdict.BAD if self.shows(effective) else Verdict.GOOD
            minimiser.tell(asked, effective, verdict)
        return frozenset(minimiser.kept)


@st.composite
def worlds(draw: st.DrawFn, *, selects: bool = False) -> tuple[World, Options]:
    """A world whose bug needs a subset of the options, and that subset with all it depends on."""
    n = draw(st.integers(1, 40))
    lower = st.dictionaries(st.integers(1, n), st.sets(st.integers(0, n - 1), min_size=1, max_size=2), max_size=n)
    edges = {option: {other for other in others if other < option} for option, others in draw(lower).items()}
    needed = draw(st.sets(st.integers(0, n - 1), max_size=4))
    world = World(n, {} if selects else edges, edges if selects else {}, lambda options: needed <= options)
    whole, more = set[int](), set(needed)
    while more:
        whole |= more
        more = {other for option in more for other in edges.get(option, ())} - whole
    return world, frozenset(needed if selects else whole)


@settings(max_examples=150, deadline=None)
@given(worlds(), st.lists(st.sets(st.integers(0, 39), max_size=5), max_size=3))
def test_what_is_left_is_what_the_bug_needs(case: tuple[World, Options], groups: list[set[int]]) -> None:
    """A bug that needs some options and what they depend on: exactly these are left, within the bound."""
    world, needed = case
    groups = [{option for option in group if option < world.n} for group in groups]
    minimiser = Minimiser(range(world.n), groups=groups, builds=10_000)
    assert world.minimise(minimiser) == needed
    assert minimiser.complete and all(minimiser.why(option) is Keep.NEEDED for option in needed)
    k = len(needed)
    assert minimiser.builds == len(world.builds) <= len(groups) + 2 + 2 * k * math.ceil(math.log2(world.n or 1)) + k


@settings(max_examples=150, deadline=None)
@given(worlds(selects=True))
def test_what_others_select_is_held(case: tuple[World, Options]) -> None:
    """Options that come back are no reason to build, and nothing that could go alone is left."""
    world, needed = case
    minimiser = Minimiser(range(world.n), builds=10_000)
    # The whole set is closed, as a real .config is.
    left = world.minimise(minimiser)
    assert needed <= left
    for option in left:
        without = world.close(left - {option})
        assert option in without or not world.shows(without)
        assert minimiser.why(option) is (Keep.HELD if option in without else Keep.NEEDED)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 12), st.randoms(use_true_random=False))
def test_any_bug_comes_out_one_minimal(n: int, random: object) -> None:
    """A bug that is not monotone at all: no single option can go, whatever the search took for given."""
    table: dict[Options, bool] = {}

    def shows(options: Options) -> bool:
        return table.setdefault(options, bool(random.random() < 0.5))  # type: ignore[attr-defined]

    world = World(n, shows=shows)
    left = world.minimise(Minimiser(range(n), builds=10_000))
    assert left == frozenset(range(n)) or shows(left)
    assert not any(shows(left - {option}) for option in left)


@settings(max_examples=100, deadline=None)
@given(worlds(), st.integers(0, 12))
def test_a_budget_ends_with_the_smallest_set_that_crashed(case: tuple[World, Options], builds: int) -> None:
    world, needed = case
    minimiser = Minimiser(range(world.n), builds=builds)
    left = world.minimise(minimiser)
    assert needed <= left and len(world.builds) <= builds
    assert left == min([frozenset(range(world.n)), *filter(world.shows, world.builds)], key=len)
    assert minimiser.complete or len(world.builds) == builds
    assert not any(minimiser.why(option) is Keep.NEEDED for option in left - needed)


def test_groups_are_tried_first() -> None:
    """All groups at once, then each, then everything."""
    minimiser = Minimiser(range(6), groups=[[1, 2], [4, 5]])
    asked = []
    for _ in range(4):
        question = minimiser.ask()
        assert question is not None and question == minimiser.ask()
        asked.append(sorted(question))
        minimiser.tell(question, question, Verdict.SKIP)
    assert asked == [[0, 3], [0, 3, 4, 5], [0, 1, 2, 3], []]


def test_untestable_options_stay() -> None:
    """What does not build is halved like what does not crash, and named for it."""
    minimiser = Minimiser(range(8))
    while (asked := minimiser.ask()) is not None:
        minimiser.tell(asked, asked, Verdict.BAD if 5 in asked else Verdict.SKIP)
    assert minimiser.kept == (5,) and minimiser.why(5) is Keep.UNTESTABLE


def test_wrong_input_is_refused() -> None:
    with pytest.raises(SearchError, match="different items"):
        Minimiser([1, 1])
    with pytest.raises(SearchError, match="groups of them"):
        Minimiser([1], groups=[[2]])
    with pytest.raises(SearchError, match="the set asked for"):
        Minimiser([1, 2]).tell([1, 2], [1, 2], Verdict.GOOD)


# The rule for runs.

RELIABLE = CrashRule(share=1.0, lowest=0.84)


@pytest.mark.parametrize(
    ("rule", "crashed", "clean", "useless", "verdict"),
    [
        (RELIABLE, 5, 0, 0, Verdict.BAD),
        (RELIABLE, 3, 2, 0, Verdict.BAD),
        (RELIABLE, 0, 5, 0, Verdict.GOOD),
        (RELIABLE, 1, 4, 0, Verdict.GOOD),  # a share of 1/5 is below 1/3
        (RELIABLE, 2, 3, 0, None),  # chance would do that
        (RELIABLE, 0, 0, 5, Verdict.SKIP),
        (RELIABLE, 1, 1, 3, Verdict.SKIP),
        (CrashRule(share=0.3, lowest=0.145), 0, 5, 0, None),  # a flaky bug may well be silent five times
        (CrashRule(share=0.3, lowest=0.145), 0, 20, 0, Verdict.GOOD),
        (CrashRule(share=0.2, lowest=0.08), 1, 4, 0, None),  # as the original, but one crash may be another's
        (CrashRule(share=0.2, lowest=0.08), 3, 12, 0, Verdict.BAD),
        (CrashRule(share=0.2, lowest=0.08), 1, 59, 0, Verdict.GOOD),
    ],
)
def test_crash_rule(rule: CrashRule, crashed: int, clean: int, useless: int, verdict: Verdict | None) -> None:
    assert rule.judge(crashed, clean, useless) is verdict


def run_until_decided(rule: CrashRule, p_crash: float, rng: np.random.Generator) -> tuple[Verdict, int]:
    crashed = n = 0
    while True:
        crashed, n = crashed + int(rng.binomial(5, p_crash)), n + 5
        if verdict := rule.judge(crashed, n - crashed):
            return verdict, n


# Lowest: of 20 runs. A bug that shows in one run of ten is too rare for 60 runs to always tell it from a foreign crash.
@pytest.mark.parametrize(
    ("share", "lowest", "power"), [(1.0, 0.84, 0.99), (0.5, 0.30, 0.95), (0.2, 0.08, 0.9), (0.1, 0.028, 0.7)]
)
def test_sets_without_the_bug_are_told_apart_from_flaky_ones(share: float, lowest: float, power: float) -> None:
    """At the foreign rate the rule allows for, BAD comes as rarely as its risk says; a set as good as the original passes."""
    rule, rng, times = CrashRule(share=share, lowest=lowest, risk=0.01), np.random.default_rng(7), 4000
    wrong = sum(run_until_decided(rule, rule.p_other, rng)[0] is Verdict.BAD for _ in range(times))
    assert wrong <= times * rule.risk + 3 * math.sqrt(times * rule.risk)
    right = sum(run_until_decided(rule, share, rng)[0] is Verdict.BAD for _ in range(1000))
    assert right >= 1000 * power


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_a_flaky_bug_loses_no_needed_option(share: float) -> None:
    """Whole searches: a needed option is lost in 5% of them at most, by the bound over 30 sets; few others are kept."""
    rng, lost, kept, times = np.random.default_rng(11), 0, 0, 200
    for _ in range(times):
        needed = frozenset(rng.choice(40, size=2, replace=False).tolist())
        minimiser, rule = Minimiser(range(40), builds=30), CrashRule(share=share, lowest=share * 0.6)
        while (asked := minimiser.ask()) is not None:
            verdict = minimiser.recall(asked)
            p_crash = share if needed <= asked else rule.p_other
            minimiser.tell(asked, asked, verdict or run_until_decided(rule, p_crash, rng)[0])
        lost += not needed <= set(minimiser.kept)
        kept += len(set(minimiser.kept) - needed)
    assert lost <= 0.05 * times
    assert kept / times < 1.0
