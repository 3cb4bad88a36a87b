"""Searches: laws of every strategy, git against the real `git bisect`, syzkaller against its scenarios."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbench.errors import SearchError
from kbench.history import History
from kbench.records import Verdict
from kbench.repository import Repository
from kbench.repository.releases import pick_release_tags, sort_release_tags
from kbench.search import STRATEGIES, Costs, Experiment, Observation, Search
from tests.fast_import import Commit, git, make_repository

SHARED = Path(__file__).parents[1].parent / "shared"
TITLE = "KASAN: use-after-free in f"
Verdicts = Callable[[int], str]  # commit to "good", "bad" or "skip"


def line(n: int) -> History:
    return History.from_parents([[i - 1] if i else [] for i in range(n)])


def random_parents(rng: np.random.Generator, n: int) -> list[list[int]]:
    """A graph with merges and branches; one root, commits near each other."""
    parents: list[list[int]] = [[]]
    for i in range(1, n):
        near = rng.integers(max(0, i - 8), i, size=1 + (rng.random() < 0.35))
        parents.append(list(dict.fromkeys(int(p) for p in near)))
    return parents


def seen(commit: int, verdict: str, runs: int = 10) -> Observation:
    """What a machine without noise would show, where the reproducer gets to the code that crashes."""
    if verdict == "skip":
        return Observation(commit, skip="build")
    bad = verdict == "bad"
    return Observation(commit, crashes={TITLE: runs}) if bad else Observation(commit, passed=runs, reached=True)


def drive(search: Search, verdict: Verdicts, limit: int = 200) -> list[tuple[int, str]]:
    """Answer until the search ends; return what was asked and answered."""
    steps = []
    while experiments := search.ask():
        commit, runs = experiments[0].commit, experiments[0].runs
        steps.append((commit, verdict(commit)))
        search.tell(seen(commit, verdict(commit), runs))
        assert len(steps) < limit
    return steps


def truth(history: History, culprit: int, skips: Sequence[int] = ()) -> Verdicts:
    return lambda commit: "skip" if commit in skips else "bad" if history.is_ancestor(culprit, commit) else "good"


# Laws of every strategy.


@pytest.fixture(params=sorted(STRATEGIES))
def strategy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def a_search(strategy: str, **changes: Any) -> Search:
    history = History.from_parents(random_parents(np.random.default_rng(5), 60))
    good = [int(np.flatnonzero(history.ancestors(59))[1])]
    ends: dict[str, Any] = {"bad": 59, "good": good} | changes
    search = Search(history, strategy=strategy, **ends)
    search.tell(Observation(search.ask()[0].commit if strategy == "syzkaller" else 59, crashes={TITLE: 20}))
    return search


def test_asking_changes_nothing(strategy: str) -> None:
    search = a_search(strategy)
    before = search.remaining.copy()
    assert [search.ask() for _ in range(3)] == [search.ask()] * 3
    assert search.ask(width=4)[:1] == search.ask()
    np.testing.assert_array_equal(search.remaining, before)


def test_telling_again_in_order_rebuilds_the_state(strategy: str) -> None:
    rng = np.random.default_rng(11)
    search, told = a_search(strategy), []
    while experiments := search.ask():
        crashed = min(int(rng.integers(0, 4)), experiments[0].runs)
        told.append(Observation(experiments[0].commit, passed=experiments[0].runs - crashed, crashes={TITLE: crashed}))
        search.tell(told[-1])
    again = a_search(strategy)
    for observation in told:
        again.tell(observation)
    assert again.result == search.result == search.result
    np.testing.assert_array_equal(again.remaining, search.remaining)


def test_a_skip_moves_nothing_and_is_not_asked_again(strategy: str) -> None:
    search = a_search(strategy)
    before, asked = search.remaining.copy(), set()
    while experiments := search.ask():
        assert experiments[0].commit not in asked
        asked.add(experiments[0].commit)
        search.tell(Observation(experiments[0].commit, skip="build"))
        np.testing.assert_array_equal(search.remaining, before)
    assert search.result.outcome == "inconclusive"
    named = {commit for commit, _ in search.result.candidates}
    assert named <= set(np.flatnonzero(before).tolist()) and len(named) >= 0.9 * before.sum()


def test_infra_moves_nothing_and_is_asked_again_twice(strategy: str) -> None:
    search = a_search(strategy)
    question, before = search.ask(), search.remaining.copy()
    for _ in range(2):
        search.tell(Observation(question[0].commit, infra=10))
        assert search.ask() == question and search.verdict(question[0].commit) is None
        np.testing.assert_array_equal(search.remaining, before)
    search.tell(Observation(question[0].commit, infra=10))
    assert search.verdict(question[0].commit) is Verdict.SKIP
    assert search.ask() and search.ask() != question
    np.testing.assert_array_equal(search.remaining, before)


def test_runs_of_one_commit_add_up(strategy: str) -> None:
    search = a_search(strategy)
    commit = search.ask()[0].commit
    search.tell(Observation(commit, passed=10))
    assert search.verdict(commit) is Verdict.GOOD
    search.tell(Observation(commit, crashes={TITLE: 10}))
    assert search.verdict(commit) is Verdict.BAD


@given(st.integers(0, 10_000), st.sampled_from(sorted(STRATEGIES)), st.data())
@settings(max_examples=40, deadline=None)
def test_the_order_of_good_and_bad_does_not_matter(seed: int, strategy: str, data: st.DataObject) -> None:
    history = History.from_parents(random_parents(np.random.default_rng(seed), 30))
    culprit = data.draw(st.integers(1, 29).filter(lambda c: history.is_ancestor(c, 29)))
    commits = data.draw(st.lists(st.integers(0, 29), unique=True, max_size=6))
    orders = [commits, data.draw(st.permutations(commits))]
    masks = []
    for order in orders:
        search = Search(history, bad=29, good=[0], strategy=strategy)
        for commit in order:
            search.tell(seen(commit, truth(history, culprit)(commit)))
        masks.append(search.remaining)
    np.testing.assert_array_equal(masks[0], masks[1])
    assert masks[0][culprit]


@given(st.integers(2, 200), st.sampled_from(sorted(STRATEGIES)), st.data())
@settings(max_examples=60, deadline=None)
def test_a_line_takes_the_logarithm_of_steps(n: int, strategy: str, data: st.DataObject) -> None:
    culprit = data.draw(st.integers(1, n - 1))
    history = line(n)
    search = Search(history, bad=n - 1, good=[0], strategy=strategy)
    search.tell(seen(n - 1, "bad", 20))
    steps = drive(search, truth(history, culprit))
    assert len({commit for commit, _ in steps}) <= math.ceil(math.log2(n)) + (2 if strategy == "bayes" else 1)
    assert (search.result.outcome, search.result.culprit) == ("culprit", culprit)
    assert search.result.candidates[0] == (culprit, search.result.confidence)
    assert search.stage == "" and search.ask() == []


@pytest.mark.parametrize("seed", range(8))
def test_a_search_among_many_finds_the_culprit_on_merges(strategy: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    history = History.from_parents(random_parents(rng, 80))
    culprit = int(rng.choice(np.flatnonzero(history.candidates(79, [0]))))
    search = Search(history, bad=79, good=[0], strategy=strategy)
    drive(search, truth(history, culprit))
    assert search.result.culprit == culprit


def test_a_fork_can_be_told_something_else(strategy: str) -> None:
    search = a_search(strategy)
    other = search.fork()
    other.tell(Observation(other.ask()[0].commit, passed=10))
    assert search.remaining.sum() > other.remaining.sum()
    assert other.history is search.history


# Input.


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"strategy": "bogo"}, "strategy must be one of .*git.*syzkaller.*, got 'bogo'"),
        ({"bad": 10}, "bad end must be from 0 to 9, got 10"),
        ({"good": [-1]}, "good end must be from 0 to 9, got -1"),
        ({"good": [9]}, "swap the ends"),
        ({"good": [], "tags": []}, "need a good end, or tags"),
        ({"good": [], "tags": [4], "fix": True}, "need an older end that crashes"),
        ({"confidence": 1.0}, "confidence must lie between"),
    ],
)
def test_wrong_questions_are_refused(changes: dict[str, Any], words: str) -> None:
    ends: dict[str, Any] = {"bad": 9, "good": [0]} | changes
    with pytest.raises(SearchError, match=words):
        Search(line(10), **ends)


def test_observations_of_unknown_commits_are_refused() -> None:
    with pytest.raises(SearchError, match="observed commit must be from 0 to 9, got 10"):
        Search(line(10), bad=9, good=[0]).tell(Observation(10, passed=1))


def test_the_default_is_bayes_and_numpy_indices_are_welcome() -> None:
    bad: Any = np.int64(9)
    search = Search(line(10), bad=bad, good=np.array([0]), costs=Costs(build=1.0), rng=np.random.default_rng(0))
    assert search.ask() == Search(line(10), bad=9, good=[0], costs=Costs(build=1.0), strategy="bayes").ask()
    assert search.ask()[0].commit not in (0, 9) and search.stage == "bisect"
    search.tell(Observation(bad, crashes={TITLE: 20}))
    assert search.verdict(bad) is Verdict.BAD


# Ends, releases and outcomes.


def test_git_does_not_ask_for_the_bad_end_and_learns_from_being_told() -> None:
    search = Search(line(10), bad=9, good=[0], strategy="git")
    assert search.ask() == [Experiment(4, 10)] and search.stage == "bisect"
    search.tell(Observation(4, passed=9, crashes={"foreign": 1}))
    assert search.verdict(4) is Verdict.BAD  # any title, as long as none is known
    search.tell(Observation(9, crashes={TITLE: 3}, passed=17))
    assert search.verdict(4) is Verdict.SKIP
    search.tell(Observation(0, passed=10))
    assert search.remaining.sum() == 9


def test_a_bad_end_that_does_not_crash_is_not_reproduced(strategy: str) -> None:
    search = Search(line(10), bad=9, good=[0], strategy=strategy)
    search.tell(Observation(9, passed=20))
    steps = drive(search, lambda commit: "good")
    assert strategy == "bayes" or not steps  # that one wants to be surer
    assert (search.result.outcome, search.result.culprit) == ("not reproduced", None)
    assert len(search.result.candidates) == 9


def test_a_good_end_that_crashes_means_that_the_bug_is_older(strategy: str) -> None:
    search = Search(line(10), bad=9, good=[2], strategy=strategy)
    search.tell(Observation(9, crashes={TITLE: 20}))
    search.tell(Observation(2, crashes={TITLE: 10}))
    assert search.result.outcome == "older than range"


def test_the_walk_over_releases_passes_over_what_cannot_be_tested(strategy: str) -> None:
    history = line(100)
    search = Search(history, bad=99, tags=[99, 80, 60, 40, 20], strategy=strategy)
    search.tell(seen(99, "bad", 20))
    steps = drive(search, truth(history, 47, skips=[60]))
    assert search.result.culprit == 47
    assert [commit for commit, _ in steps].count(60) <= 1
    if strategy != "bayes":  # to that one a release is a commit like any other
        assert steps[:3] == [(80, "bad"), (60, "skip"), (40, "good")]
        assert all(40 < commit < 80 for commit, _ in steps[3:])


@pytest.mark.parametrize(
    ("skips", "outcome"), [([], "older than range"), ([20], "inconclusive"), ([80, 60, 40, 20], "inconclusive")]
)
def test_a_walk_without_a_good_release(strategy: str, skips: list[int], outcome: str) -> None:
    history = line(100)
    search = Search(history, bad=99, tags=[80, 60, 40, 20], strategy=strategy)
    search.tell(seen(99, "bad", 20))
    drive(search, truth(history, 5, skips))
    assert (search.result.outcome, search.result.culprit) == (outcome, None)
    assert search.result.candidates
    if outcome == "inconclusive":
        assert 0 < sum(p for _, p in search.result.candidates) <= 1 + 1e-9


@pytest.mark.parametrize(("culprit", "outcome"), [(1, "not in range"), (4, "culprit"), (5, "culprit")])
def test_a_good_end_on_another_branch_has_its_merge_base_tested(strategy: str, culprit: int, outcome: str) -> None:
    history = History.from_parents([[], [0], [1], [1], [3], [4]])  # 2 leaves at 1
    search = Search(history, bad=5, good=[2], strategy=strategy)
    search.tell(seen(5, "bad", 20))
    assert strategy == "bayes" or (search.ask()[0].commit == 1 and search.stage == "merge base")
    drive(search, truth(history, culprit))
    assert search.result.outcome == outcome
    assert search.result.culprit == (culprit if outcome == "culprit" else None)


@pytest.mark.parametrize("fixed", [3, 57, 99])
def test_a_fix_is_the_first_clean_commit(strategy: str, fixed: int) -> None:
    history = line(100)
    search = Search(history, bad=99, good=[0], strategy=strategy, fix=True)
    steps = drive(search, lambda commit: "good" if commit >= fixed else "bad")
    assert search.result.culprit == fixed
    assert all(search.verdict(commit) is (Verdict.GOOD if commit >= fixed else Verdict.BAD) for commit, _ in steps)
    if strategy == "syzkaller":
        assert steps[:2] == [(0, "bad"), (99, "good")]


@pytest.mark.parametrize(
    ("ends", "outcome"),
    [({0: "good"}, "not reproduced"), ({0: "bad", 99: "bad"}, "not in range"), ({0: "bad", 99: "skip"}, "inconclusive")],
)
def test_a_fix_needs_its_ends(strategy: str, ends: dict[int, str], outcome: str) -> None:
    search = Search(line(100), bad=99, good=[0], strategy=strategy, fix=True)
    for commit, verdict in ends.items():
        search.tell(seen(commit, verdict))
    steps = drive(search, lambda commit: ends.get(commit, "good" if outcome == "not reproduced" else "skip"))
    assert strategy == "bayes" or not steps
    assert search.result.outcome == outcome


# git: the real one.


def bisect_for_real(
    path: Path, names: Sequence[str], bad: int, good: Sequence[int], verdict: Verdicts
) -> tuple[list[int], set[int]]:
    """Drive `git bisect`; return the commits it asked for, and those it says the first bad one is among."""
    number = {name: i for i, name in enumerate(names)}
    said = git(path, "bisect", "start", "--no-checkout", names[bad], *(names[end] for end in good), check=False)
    asked: list[int] = []
    while True:
        if "is the first bad commit" in said:
            return asked, {number[said.split(" is the first bad commit")[0].split()[-1]]}
        if "There are only 'skip'ped commits left to test." in said:
            listed = said.split("could be any of:\n")[1].split("\nWe cannot")[0].split()
            return asked, {number[name] for name in listed}
        current = git(path, "rev-parse", "BISECT_HEAD").strip()
        asked.append(number[current])
        said = git(path, "bisect", verdict(asked[-1]), check=False)
        if not said:  # the merge base is bad: git says so as an error
            return asked, set()


def random_graph(rng: np.random.Generator, commits: list[Commit]) -> tuple[int, History, list[int], bool]:
    """Add a graph to `commits`; return where it starts, the graph, good ends, and whether one is no ancestor of the tip."""
    parents = random_parents(rng, int(rng.integers(20, 110)))
    step, offset, tip, oldest = int(rng.integers(1, 6)), len(commits), len(parents) - 1, len(parents) // 4
    dates = [60 * (offset + i // step * step) for i in range(len(parents))]  # steps of commits of one date
    commits += [Commit([offset + p for p in row], b"%d of %d\n" % (i, offset), date=dates[i]) for i, row in enumerate(parents)]
    history = History.from_parents(parents, dates=dates)
    anywhere, contained = rng.random() < 0.3, history.ancestors(tip)
    ends = [end for end in range(oldest) if rng.random() < 2 / oldest and (anywhere or contained[end])] or [0]
    return offset, history, ends, not contained[ends].all()


def test_git_asks_what_git_bisect_asks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Random graphs with merges, forks, equal dates and skips: every question and every answer is git's own."""
    rng = np.random.default_rng(2024)
    commits: list[Commit] = []
    graphs = [random_graph(rng, commits) for _ in range(20)]
    names = make_repository(tmp_path / "repo", commits)
    n_steps = n_skips = n_forks = 0
    for offset, whole, ends, forked in graphs:
        mine = names[offset : offset + len(whole)]
        if forked:
            history = History.from_parents(whole.parents, mine, whole.dates)
        else:
            history = Repository(tmp_path / "repo").history(mine[-1], [mine[end] for end in ends])
        bad, good = history.commits.index(mine[-1]), [history.commits.index(mine[end]) for end in ends]
        scripted = truth(history, int(rng.integers(0, bad + 1)))
        p_skip = rng.choice([0, 0.3])
        verdicts = ["skip" if rng.random() < p_skip else scripted(commit) for commit in range(len(history))]
        asked, left = bisect_for_real(tmp_path / "repo", history.commits, bad, good, verdicts.__getitem__)
        search = Search(history, bad=bad, good=good, strategy="git")
        steps = drive(search, verdicts.__getitem__)
        assert [commit for commit, _ in steps] == asked
        if left:
            assert {commit for commit, _ in search.result.candidates} == left
            assert search.result.outcome == ("culprit" if len(left) == 1 else "inconclusive")
        else:
            assert search.result.outcome == "not in range"
        n_steps += len(steps)
        n_skips += sum(verdict == "skip" for _, verdict in steps)
        n_forks += forked
    assert n_steps > 80 and n_skips > 10 and n_forks > 1
    with capsys.disabled():
        print(
            f"\ngit bisect: {len(graphs)} graphs ({n_forks} with a forked good end), {n_steps} steps ({n_skips} skips), all agree"
        )


@pytest.mark.parametrize(
    ("verdicts", "culprits"),
    [("bbb", {1}), ("ggg", {4}), ("ssg", {4}), ("sss", {1, 2, 3, 4}), ("gss", {2, 3, 4}), ("ssb", {1, 2, 3})],
)
def test_five_commits(verdicts: str, culprits: set[int]) -> None:
    words = {"b": "bad", "g": "good", "s": "skip"}
    search = Search(line(5), bad=4, good=[0], strategy="git")
    drive(search, lambda commit: words[verdicts[commit - 1]])
    assert {commit for commit, _ in search.result.candidates} == culprits


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the corpus")
def test_the_corpus_of_git_bisect() -> None:
    for case in json.loads((SHARED / "corpus" / "bisect_tables_dev.json").read_text())["tables"]["git_bisect"]["cases"]:
        search = Search(line(5), bad=4, good=[0], strategy="git")
        verdicts = case["input"]["verdicts"]
        drive(search, lambda commit, known=verdicts: known[f"commit {commit}"])  # type: ignore[misc]  # a bound default
        assert {f"commit {commit}" for commit, _ in search.result.candidates} == set(case["expect"]["commits"])


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shapes of real graphs")
def test_real_shapes_are_halved_quickly() -> None:
    shape = json.loads(gzip.decompress((SHARED / "dag" / "git3126.json.gz").read_bytes()))
    history = History.from_parents([[i - back for back in row] for i, row in enumerate([[], *shape["parents_back"]])])
    bad = len(history) - 1
    inside = np.flatnonzero(history.candidates(bad, [0]))
    for culprit in inside[:: len(inside) // 6].tolist():
        search = Search(history, bad=bad, good=[0], strategy="git")
        assert len(drive(search, truth(history, culprit))) <= math.log2(len(inside)) + 4
        assert search.result.culprit == culprit


# syzkaller.


def test_syzkaller_runs_more_often_once_the_bug_is_flaky() -> None:
    search = Search(line(40), bad=39, good=[0], strategy="syzkaller")
    assert search.ask() == [Experiment(39, 20)]
    search.tell(Observation(39, crashes={TITLE: 10}, passed=10))
    assert search.ask()[0].runs == 10
    search.tell(Observation(search.ask()[0].commit, crashes={TITLE: 3}, passed=7))
    assert search.ask()[0].runs == 20


def test_syzkaller_confidence() -> None:
    """p starts at 6/20, is 0.25 after a bad verdict of 2/10; then two good verdicts of 20 clean runs."""
    search = Search(line(9), bad=8, good=[0], strategy="syzkaller")
    search.tell(Observation(8, crashes={TITLE: 6}, passed=14))
    assert search.result.confidence == 0.0
    search.tell(Observation(search.ask()[0].commit, crashes={TITLE: 4}, passed=16))
    while experiments := search.ask():
        search.tell(Observation(experiments[0].commit, passed=experiments[0].runs))
    assert search.result.outcome == "culprit"
    assert search.result.confidence == pytest.approx((1 - 0.75**20) ** 2)


def scenario_history() -> tuple[History, list[str], dict[str, int]]:
    operations = json.loads((SHARED / "corpus" / "bisect_scenarios_dev.json").read_text())["history"]["operations"]
    titles: list[str] = []
    parents, tags = [], {}
    for operation in operations:
        if operation["op"] == "commit":
            parents.append([titles.index(parent) for parent in operation["parents"]])
            titles.append(operation["title"])
        elif operation["op"] == "tag":
            tags[operation["name"]] = titles.index(operation["at"])
    return History.from_parents(parents), titles, tags


def simulate(history: History, titles: list[str], given_case: dict[str, Any], commit: int, runs: int) -> Observation:
    """The simulated kernel of the scenarios, for one configuration."""

    def within(span: list[int] | None) -> bool:
        return span is not None and titles[commit].isdigit() and span[0] <= int(titles[commit]) <= span[1]

    def contains(title: str | None) -> bool:
        return title in titles and history.is_ancestor(titles.index(str(title)), commit)

    if within(given_case["broken"]):
        return Observation(commit, boot_failed=runs)
    if (given_case["introduced"] is None or contains(given_case["introduced"])) and not contains(given_case["fix_commit"]):
        crashed = max(2, runs // 6) if given_case["flaky"] else runs
        title = "SYZFATAL: crashes" if given_case["report_type"] else "crashes at crash occurs"
        return Observation(commit, crashes={title: crashed}, passed=runs - crashed)
    if given_case["inject_syz_failure"]:
        return Observation(commit, crashes={"SYZFATAL: test": 1}, passed=runs - 1)
    if given_case["inject_lost_connection"]:
        return Observation(commit, crashes={"lost connection to test machine": runs // 3}, passed=runs - runs // 3)
    return Observation(commit, passed=runs)


def scenarios() -> list[Any]:
    path = SHARED / "corpus" / "bisect_scenarios_dev.json"
    every = json.loads(path.read_text())["scenarios"] if path.exists() else []
    # What a configuration does to a bisection is no matter of the search.
    return [pytest.param(case, id=case["name"]) for case in every if case["input"]["baseline_config"] is None]


@pytest.mark.parametrize("case", scenarios())
def test_syzkaller_scenarios(case: dict[str, Any]) -> None:
    history, titles, tags = scenario_history()
    start, head = titles.index(str(case["input"]["start_commit"])), titles.index("905")
    newest_first = [tags[name] for name in pick_release_tags(sort_release_tags(tags))]
    ends: dict[str, Any] = (
        {"bad": head, "good": [start], "fix": True} if case["input"]["fix"] else {"bad": start, "tags": newest_first}
    )
    search = Search(history, strategy="syzkaller", **ends)
    while experiments := search.ask():
        search.tell(simulate(history, titles, case["input"], experiments[0].commit, experiments[0].runs))
    result, expect = search.result, case["expect"]
    if expect["error"] or expect["commit_count"] != 1:
        assert result.culprit is None
        assert result.outcome == "inconclusive"
        if "candidates" in expect:
            assert {titles[commit] for commit, _ in result.candidates} == set(expect["candidates"])
        return
    assert result.culprit is not None and titles[result.culprit] == expect["commit"]
    for bound, limit in (expect["confidence"] or {}).items():
        assert result.confidence > limit if bound == "greater_than" else result.confidence < limit


@pytest.mark.parametrize("known", [True, False])
def test_a_fix_is_not_confused_with_a_branch_older_than_the_bug(known: bool) -> None:
    """The bug came with 1 and went with 8. The branch 4-5-6 left at 0 and is clean because it never had the bug."""
    parents = [[], [0], [1], [2], [0], [4], [5], [3], [7], [8, 6], [9]]
    if not known:  # the history does not reach back to the merge base
        parents = [[]] + [[p for p in row if p > 1] for row in parents[1:]]
        parents[2] = parents[4] = []
    history = History.from_parents(parents)
    clean = {0, 4, 5, 6, 8, 9, 10}
    search = Search(history, bad=10, good=[2], fix=True, strategy="syzkaller")
    steps = drive(search, lambda commit: "good" if commit in clean else "bad")
    asked = [commit for commit, _ in steps]
    if known:
        assert search.result.culprit == 8 and 0 in asked and not {4, 5, 6} & set(asked)
    else:
        assert search.result.culprit == 4  # the price: nothing says that the branch is older than the bug
