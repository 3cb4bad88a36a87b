"""The Bayesian search: its posterior against brute force, its laws, and what it makes of titles, silence and skips."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbench.errors import InputError
from kbench.evidence import Priors, similarity
from kbench.history import History
from kbench.records import Verdict
from kbench.search import Costs, Observation, Search
from kbench.search.ancestry import Ancestry
from kbench.search.bayes import BayesStrategy
from kbench.search.question import Question, SearchResult
from kbench.search.suspects import suspicion
from kbench.study.graphs import draw_graph
from tests.test_search import drive, line, random_parents, seen, truth

TITLE = "WARNING in wp_page_copy"
PLAIN = Priors(p_drift=0.0, p_drift_one=0.0, p_silent_stretch=0.0, p_silent_range=0.0, p_silent_release=0.0)


def strategy(history: History, bad: int, priors: Priors = PLAIN, **changes: Any) -> BayesStrategy:
    return BayesStrategy(Question(history, bad, **({"good": (0,), "tags": ()} | changes)), priors)


def believed(search: BayesStrategy) -> np.ndarray:
    """P(culprit) of every member, P(everywhere), P(nowhere)."""
    belief = search._belief
    return np.array([*belief.culprit, belief.everywhere, belief.nowhere])


def brute_force(search: BayesStrategy, told: list[Observation], priors: Priors) -> np.ndarray:
    """The posterior by a loop over every culprit and every rate."""
    history, question = search.question.history, search.question
    members = np.flatnonzero(history.candidates(question.bad, question.good)).tolist()
    rates, log_weights = priors.rates()
    doubts = [
        priors.p_absent if any(o.commit == end for o in told) else priors.p_vouched for end in (question.good[0], question.bad)
    ]
    hypotheses: list[tuple[Any, float]] = [(member, (1 - doubts[1]) / len(members)) for member in members]
    hypotheses += [("everywhere", (1 - doubts[1]) * doubts[0]), ("nowhere", doubts[1])]
    p = []
    for hypothesis, prior in hypotheses:
        total = 0.0
        for rate, log_weight in zip(rates, log_weights, strict=True):
            likelihood = 1.0
            for o in told:
                k, n = o.crashed, o.crashed + o.passed
                bug = hypothesis == "everywhere" or (hypothesis != "nowhere" and history.is_ancestor(hypothesis, o.commit))
                if bug:
                    likelihood *= rate**k * (1 - rate) ** (n - k)
                elif k:
                    others = math.gamma(k + 1) * math.gamma(n - k + 1) / math.gamma(n + 2)
                    likelihood *= priors.p_own_without * others
                else:
                    likelihood *= 1 - priors.p_own_without
            total += math.exp(log_weight) * likelihood
        p.append(prior * total)
    return np.array(p) / sum(p)


def random_told(rng: np.random.Generator, n: int, commits: int) -> list[Observation]:
    told = [Observation(n - 1, crashes={TITLE: int(rng.integers(1, 6))}, passed=int(rng.integers(0, 6)))]
    for commit in rng.choice(n - 1, size=commits, replace=False).tolist():
        crashed = int(rng.integers(0, 3))
        told.append(Observation(commit, crashes={TITLE: crashed}, passed=int(rng.integers(1, 8))))
    return told


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_the_posterior_is_that_of_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    history = History.from_parents(random_parents(rng, 14))
    search, told = strategy(history, 13), random_told(rng, 14, 5)
    for observation in told:
        search.tell(observation)
    np.testing.assert_allclose(believed(search), brute_force(search, told, PLAIN), atol=1e-9)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_order_does_not_matter_and_independent_runs_add_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    history, priors = History.from_parents(random_parents(rng, 20)), Priors()
    told = random_told(rng, 20, 6)
    searches = [strategy(history, 19, priors) for _ in range(3)]
    for observation in told:
        searches[0].tell(observation)
    for place in rng.permutation(len(told)).tolist():
        searches[1].tell(told[place])
    for observation in told:  # in two halves
        searches[2].tell(replace(observation, crashes={}, passed=observation.passed))
        searches[2].tell(replace(observation, passed=0))
    for other in searches[1:]:
        np.testing.assert_allclose(believed(other), believed(searches[0]), atol=1e-12)
        assert other.ask(1) == searches[0].ask(1)
    belief = searches[0]._belief
    assert belief.shows.sum() + belief.everywhere + belief.nowhere == pytest.approx(1)
    assert belief.culprit.sum() + belief.everywhere + belief.nowhere <= 1 + 1e-9  # a silent bug may be older than all of these


def test_infra_and_skips_move_nothing() -> None:
    search = strategy(line(50), 49, Priors())
    search.tell(seen(49, "bad"))
    before = believed(search)
    search.tell(Observation(20, infra=10))
    search.tell(Observation(24, skip="boot", boot_failed=10))
    np.testing.assert_array_equal(believed(search), before)
    assert search.verdict(24) is Verdict.SKIP and search.verdict(20) is None
    assert all(experiment.commit != 24 for experiment in search.ask(8))


@pytest.mark.parametrize("seed", range(6))
def test_without_noise_it_asks_for_hardly_more_revisions_than_git_bisect(seed: int) -> None:
    rng = np.random.default_rng(seed)
    history = History.from_parents(random_parents(rng, 300))
    culprit = int(rng.choice(np.flatnonzero(history.candidates(299, [0]))))
    asked = {}
    for name in ("git", "bayes"):
        search = Search(history, bad=299, good=[0], strategy=name)
        search.tell(seen(299, "bad"))
        asked[name] = len({commit for commit, _ in drive(search, truth(history, culprit))})
        assert search.result.culprit == culprit
    assert asked["bayes"] <= asked["git"] + 2


def test_sums_are_those_over_all_ancestors() -> None:
    rng = np.random.default_rng(3)
    for n in (1, 2, 40, 200):
        history = History.from_parents(random_parents(rng, n))
        members = history.candidates(n - 1)
        ancestry, weights = Ancestry(history, members), rng.random((2, int(members.sum())))
        wanted = [weights[:, history.ancestors(commit)[members]].sum(axis=1) for commit in ancestry.commits.tolist()]
        np.testing.assert_allclose(ancestry.sums(weights), np.array(wanted).T)


def test_one_kernel_cannot_hold_the_culprit_between_its_commits() -> None:
    search = strategy(line(20), 19)
    search.tell(seen(19, "bad"))
    search.tell(Observation(5, passed=1, signature="a"))
    search.tell(Observation(15, signature="a"))
    belief = search._belief
    assert belief.culprit[5:15].sum() < 0.01  # commits 6 to 15
    assert belief.culprit[15:].sum() > 0.9


def test_silence_below_the_culprit_makes_it_doubtful_and_having_got_there_does_not() -> None:
    confidence = {}
    for reached in (None, True, False):
        search = strategy(line(20), 19, Priors(release=5.0), good=(), tags=(15, 10, 5))
        search.tell(seen(19, "bad"))
        for commit in (10, 9):
            search.tell(Observation(commit, passed=10, reached=reached))
        search.tell(seen(11, "bad"))
        confidence[reached] = search._belief.culprit[search._range.commits.tolist().index(11)]
    assert confidence[True] > 0.95 > confidence[None] > confidence[False]


def test_a_silent_stretch_between_crashes_is_seen_through() -> None:
    """Clean revisions with the bug on both sides: the culprit is older than all of them."""
    search = strategy(line(100), 99, Priors())
    search.tell(seen(99, "bad"))
    for commit in (60, 65, 70):
        search.tell(Observation(commit, passed=10))
    assert search._belief.culprit[70:].sum() > 0.9
    search.tell(seen(40, "bad"))
    assert search._belief.culprit[:40].sum() > 0.9


def test_another_title_is_weighed_by_its_likeness() -> None:
    p_bug = {}
    for title in (TITLE, "KASAN: use-after-free in wp_page_copy", "WARNING in frob", "INFO: task hung in sync_inodes"):
        search = strategy(line(20), 19, Priors())
        search.tell(Observation(19, crashes={TITLE: 10}))
        search.tell(Observation(10, crashes={title: 10}))
        p_bug[title] = search._belief.buggy[10]
    assert list(p_bug.values()) == sorted(p_bug.values(), reverse=True)
    assert p_bug[TITLE] > 0.99 and min(p_bug.values()) < 0.85
    assert similarity("a in f", ["b in f"]) > similarity("a in f", ["a in g"]) > similarity("a in f", ["b in g"])


def test_a_foreign_crash_here_and_there_does_not_mislead() -> None:
    search = strategy(line(200), 199, Priors())
    search.tell(Observation(199, crashes={TITLE: 10}))
    rng, found = np.random.default_rng(1), 120
    while experiments := search.ask(1):
        commit, runs = experiments[0].commit, experiments[0].runs
        if commit >= found:
            search.tell(Observation(commit, crashes={TITLE: runs}))
        else:
            other = int(rng.random() < 0.3)
            search.tell(
                Observation(commit, passed=runs - other, crashes={"BUG: sleeping in lock_sock_nested": other}, reached=True)
            )
    assert search.result.culprit == found


def commits_asked(shows: Any, reached: Any = lambda commit: None) -> tuple[set[int], BayesStrategy]:
    """Search a line of 2000 commits to the end: the title each commit's runs crash with, "" for none; which were asked for."""
    search = strategy(line(2000), 1999, Priors())
    search.tell(Observation(1999, crashes={TITLE: 10}))
    asked = set()
    while experiments := search.ask(1):
        commit, runs = experiments[0].commit, experiments[0].runs
        asked.add(commit)
        if title := shows(commit):
            search.tell(Observation(commit, crashes={title: runs}))
        else:
            search.tell(Observation(commit, passed=runs, reached=reached(commit)))
    return asked, search


@pytest.mark.parametrize("title", ["WARNING in frob", "KASAN: use-after-free in wp_page_copy"])
def test_a_stretch_of_another_title_is_searched_at_its_ends(title: str) -> None:
    """Inside of it every revision shows the same: whether the bug's under another name or another bug's."""
    asked, search = commits_asked(lambda commit: TITLE if commit >= 1500 else title if commit >= 700 else "")
    assert len(asked) < 35
    assert sum(750 < commit < 1450 for commit in asked) <= 6
    listed = dict(search.result.candidates)
    assert max(listed, key=lambda commit: listed[commit]) in (700, 1500)


def test_a_stretch_seen_to_be_silent_is_searched_at_its_ends() -> None:
    """Where the reproducer is known not to get there clean runs say nothing, and would say nothing next to it."""
    asked, search = commits_asked(
        lambda commit: TITLE if commit >= 1500 or 400 <= commit < 700 else "", lambda commit: not 700 <= commit < 1500
    )
    assert search.result.culprit == 400
    assert len(asked) < 25 and sum(750 < commit < 1450 for commit in asked) <= 5


@pytest.mark.parametrize("run", [0.001, 0.2, 500.0])
def test_builds_may_cost_a_thousand_runs_or_less_than_one(run: float) -> None:
    """However little a second run of a built revision costs, it does not keep the search from what is left to build."""
    search = strategy(line(100), 99, Priors(), good=(), tags=(60, 20), costs=Costs(build=400.0, run=run))
    search.tell(seen(99, "bad"))
    drive_to_the_end(search, lambda commit: "skip" if 40 <= commit < 43 else "bad" if commit >= 30 else "good")
    assert (search.result.outcome, search.result.culprit) == ("culprit", 30)


def test_suspects_share_half_and_merges_are_hardly_any() -> None:
    history = History.from_parents([(), (0,), (0,), (1, 2), (3,), (4,)])
    touching = np.array([False, False, True, True, False, False])
    weight = suspicion(history, touching)
    assert weight[2] == pytest.approx(weight.sum() * 0.5 + weight[1])
    assert weight[3] == pytest.approx(weight[1] / 10), "a merge touches what it merges"
    within = np.array([False, False, False, True, True, True])
    assert suspicion(history, touching, within).tolist() == [1, 1, 1, 0.1, 1, 1]
    within[2] = True
    weight = suspicion(history, touching, within)
    assert weight[2] == pytest.approx(weight[within].sum() * 0.5 + weight[4]) and weight[1] == 1


def test_those_that_mention_a_function_of_the_trace_have_half_of_that_half() -> None:
    history = line(6)
    touching, none = np.array([False, True, True, True, True, False]), np.zeros(6, dtype=np.bool_)
    mentioning = np.array([True, False, True, False, False, False])  # the first touches none
    weight = suspicion(history, touching, mentioning=mentioning)
    assert weight.sum() == pytest.approx(6)
    assert weight[touching].sum() == pytest.approx(6 * (0.5 + 0.5 * 4 / 6))
    assert weight[2] - weight[1] == pytest.approx(6 * 0.25) and weight[0] == weight[5] == pytest.approx(0.5)
    assert suspicion(history, touching, mentioning=none).tolist() == suspicion(history, touching).tolist()


def test_where_silence_begins_is_less_suspect_than_where_the_bug_does() -> None:
    """A suspect is named with more confidence than another commit that the same runs point at."""
    confidence = {}
    for suspect in (True, False):
        touching = np.zeros(1000, dtype=np.bool_)
        touching[[100, 300, 700]] = True
        touching[500] = suspect
        history = line(1000)
        search = strategy(history, 999, Priors(), prior=suspicion(history, touching))
        drive_to_the_end(search, lambda commit: "bad" if commit >= 500 else "good")
        confidence[suspect] = search._belief.culprit[search._range.commits.tolist().index(500)]
    assert confidence[True] > confidence[False]


def test_untestable_stretches_are_gone_around() -> None:
    broken = set(range(40, 60))
    search = strategy(line(100), 99, Priors())
    search.tell(seen(99, "bad"))
    asked = []
    while experiments := search.ask(1):
        commit = experiments[0].commit
        asked.append(commit)
        search.tell(seen(commit, "skip" if commit in broken else "bad" if commit >= 70 else "good"))
    assert search.result.culprit == 70
    assert sum(commit in broken for commit in asked) <= 3


def test_what_cannot_be_told_apart_is_named_as_a_set() -> None:
    search = strategy(line(100), 99, Priors())
    search.tell(seen(99, "bad"))
    drive_to_the_end(search, lambda commit: "skip" if 50 <= commit < 55 else "bad" if commit >= 52 else "good")
    assert (search.result.outcome, search.result.culprit) == ("inconclusive", None)
    assert {commit for commit, _ in search.result.candidates} >= {50, 51, 52, 53, 54, 55}
    assert len(search.result.candidates) <= 8


def drive_to_the_end(search: BayesStrategy, verdict: Any) -> None:
    for _ in range(200):
        if not (experiments := search.ask(1)):
            return
        search.tell(seen(experiments[0].commit, verdict(experiments[0].commit), experiments[0].runs))
    raise AssertionError("no end in sight")


def test_a_prior_moves_the_first_question_and_costs_little_when_it_misleads() -> None:
    history, prior = line(1000), np.ones(1000)
    prior[900:910] = 100.0
    first = Search(history, bad=999, good=[0], strategy="bayes", prior=prior)
    first.tell(seen(999, "bad"))
    assert 880 < first.ask()[0].commit < 920
    drive(first, truth(history, 123))
    assert first.result.culprit == 123


def test_several_experiments_at_once_are_apart() -> None:
    search = Search(line(1000), bad=999, good=[0], strategy="bayes")
    search.tell(seen(999, "bad"))
    commits = sorted(experiment.commit for experiment in search.ask(width=3))
    assert 150 < commits[0] < 350 < commits[1] < 650 < commits[2] < 850


@pytest.mark.parametrize("seed", range(4))
def test_several_at_once_cut_a_graph_into_parts_that_are_alike(seed: int) -> None:
    """Three commits of a graph with merges tell four parts of the range apart or more; none of them holds half of the belief."""
    history = draw_graph(np.random.default_rng(seed), [600]).history
    search = Search(history, bad=len(history) - 1, good=[0], strategy="bayes")
    search.tell(seen(len(history) - 1, "bad"))
    asked = [experiment.commit for experiment in search.ask(width=3)]
    assert len(set(asked)) == 3
    inside = np.flatnonzero(history.candidates(len(history) - 1, [0]))
    told = np.array([history.ancestors(commit)[inside] for commit in asked])
    _, sizes = np.unique(told, axis=1, return_counts=True)
    assert len(sizes) >= 4 and sizes.max() < 0.45 * len(inside)


def test_machines_of_some_width_are_kept_busy() -> None:
    search = Search(line(100), bad=99, good=[0], strategy="bayes", costs=Costs(width=10))
    assert all(experiment.runs % 10 == 0 for experiment in search.ask(width=3))


def test_a_fix_that_the_bug_is_younger_than_is_not_taken_for_one() -> None:
    """A clean commit that forked below the one that crashes says little about the fix."""
    history = History.from_parents([[], [0], [1], [1], [2, 3], [4]])  # 2 crashes; 3 left below it
    search = strategy(history, 5, Priors(), good=(2,), fix=True)
    search.tell(seen(2, "bad"))
    search.tell(Observation(5, passed=10))
    search.tell(Observation(3, passed=10))
    assert search._belief.culprit[search._range.commits.tolist().index(3)] < 0.75


@pytest.mark.parametrize(
    ("numbers", "words"), [({"p_skip": 2.0}, "from 0 to 1, got 2.0"), ({"rate_a": 0.0}, "above 0"), ({"bogus": 1}, "'bogus'")]
)
def test_wrong_priors_are_refused(numbers: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Priors.from_json(numbers)


def test_the_shipped_priors_are_read() -> None:
    assert Priors.default() is Priors.default()
    rates, log_weights = Priors.default().rates()
    assert np.exp(log_weights).sum() == pytest.approx(1) and rates[-1] == 1
    assert all(a < b for a, b in itertools.pairwise(rates))


def test_the_ten_most_likely_are_listed_when_they_hold_most() -> None:
    """Nothing between two tested revisions can be tested; much of the belief may be in a few suspects there."""

    def end(broken: range, share: float) -> SearchResult:
        touching = np.zeros(400, dtype=np.bool_)
        touching[[60, 70, 80]] = True
        history = line(400)
        search = strategy(history, 399, Priors(), prior=suspicion(history, touching, share=share))
        search.tell(seen(399, "bad"))
        drive_to_the_end(search, lambda commit: "skip" if commit in broken else "bad" if commit >= 100 else "good")
        result = search.result
        assert result.outcome == "inconclusive" and result.culprit is None
        assert result.confidence == pytest.approx(sum(p for _, p in result.candidates))
        return result

    ten = end(range(50, 300), 0.8)
    assert len(ten.candidates) == 10 and ten.confidence >= 0.6
    assert {60, 70, 80} == {commit for commit, _ in ten.candidates[:3]}
    whole = end(range(50, 300), 0.0)
    assert len(whole.candidates) > 200 and whole.confidence >= 0.95, "ten hold too little"
    some = end(range(50, 130), 0.4)
    assert 50 < len(some.candidates) <= 81 and some.confidence >= 0.95, "few enough to look at"


def test_another_bug_that_stays_tells_where_this_one_begins() -> None:
    """The other one shows on 20 to 59, and is there above as well, behind this one: that begins at 60 and not below."""
    search = strategy(line(100), 99, Priors())
    search.tell(Observation(99, crashes={TITLE: 10}))
    for commit, title in ((59, "BUG: sleeping in lock_sock"), (60, TITLE), (19, ""), (20, "BUG: sleeping in lock_sock")):
        search.tell(Observation(commit, crashes={title: 4}) if title else Observation(commit, passed=4))
    p = dict(zip(search._range.commits.tolist(), search._belief.culprit.tolist(), strict=True))
    assert p[60] > 40 * p[40], "hidden below, the other one would end just there"
    assert p[20] > p[21], "unless its title is this one's as well"


def test_suspects_stand_out_of_the_whole_range() -> None:
    """A lone suspect in an old release counts more than what is no suspect in a newer one; each release has as much else."""
    history = line(301)
    touching = np.zeros(301, dtype=np.bool_)
    touching[150] = True
    search = strategy(
        history, 300, Priors(release=100.0), good=(), tags=(200, 100, 1), prior=suspicion(history, touching, share=0.5)
    )
    p = dict(zip(search._range.commits.tolist(), search._range._own.tolist(), strict=True))
    assert p[150] == pytest.approx(300 * p[149], rel=0.02)
    assert p[250] / p[149] == pytest.approx(Priors().depths(2)[0] / Priors().depths(2)[1], rel=0.02)


@pytest.mark.parametrize(("release", "even"), [(100.0, False), (1e6, True)])
def test_tags_that_lie_close_are_no_releases(release: float, even: bool) -> None:
    search = strategy(line(301), 300, Priors(release=release), good=(), tags=(200, 100, 1))
    own = search._range._own
    assert (own.max() < 1.01 * own.min()) == even


def test_what_lies_between_equal_kernels_is_not_asked_for() -> None:
    search = strategy(line(100), 99, Priors())
    search.tell(Observation(99, crashes={TITLE: 10}))
    search.tell(Observation(40, crashes={TITLE: 2}, signature="a"))
    search.tell(Observation(70, crashes={TITLE: 2}, signature="a", lent=True))
    while experiments := search.ask(1):
        asked = experiments[0].commit
        assert not 40 < asked <= 70, "the kernel of both"
        search.tell(Observation(asked, **({"crashes": {TITLE: 1}} if asked >= 35 else {"passed": experiments[0].runs})))
    assert search.result.culprit == 35


def test_equal_kernels_that_do_not_boot_are_gone_around() -> None:
    """A boot that failed as another commit's is no sign that one can test there."""
    search = strategy(line(100), 99, Priors())
    search.tell(Observation(99, crashes={TITLE: 10}))
    for commit in range(42, 60, 2):
        search.tell(Observation(commit, boot_failed=1, signature=f"{commit}", lent=commit != 50))
    assert abs(search.ask(1)[0].commit - 50) > 15, "far from all that does not boot"
