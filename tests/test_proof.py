"""The closing proof, on real repositories: runs in turns, the culprit reverted, doubts, resuming, what it does to confidence."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kbench import syzbot
from kbench.bisection import Bisection, make_case
from kbench.bisection.proof import MAX_RUNS, MIN_RUNS, P_CLEAR, P_HIDES, P_REMAINS, Proof, runs_needed
from kbench.bisection.report import bisection_log
from kbench.bisection.view import view
from kbench.errors import RevisionError
from kbench.evidence import Priors
from kbench.records import KernelImage, Outcome, Run, Verdict
from kbench.repository import Repository
from kbench.widgets.page import html_report
from tests.fast_import import Commit, git, make_repository
from tests.laboratories import CRASH, OK, Killed, TableLaboratory

FOREIGN = Run(Outcome.CRASHED, "INFO: task hung in blorp")
Shows = Callable[[str, int], Run | None]


class StoredKernels(TableLaboratory):
    """Kernels are there already: what a build costs here, in real time, then changes no question."""

    def build(self, commit: str) -> KernelImage:
        return replace(super().build(commit), cached=True)


def lines(*changed: int, word: str = "new") -> bytes:
    """Thirty lines, some of them changed."""
    return b"".join(f"{word if n in changed else 'old'} line {n}\n".encode() for n in range(30))


class Bench:
    """A linear history c0..c20; c11 puts the bug into line 1 of `f`, all others change a file of their own."""

    culprit = 11

    def __init__(self, folder: Path, *, later: bytes | None = None, merge: bool = False) -> None:
        self.folder = folder
        rows = [Commit([i - 1] if i else [], f"area: change {i}\n".encode(), {f"f{i}": b"%d" % i}) for i in range(21)]
        rows[0].files = {"f": lines()}
        rows[self.culprit].files = {"f": lines(1)}
        if later is not None:
            rows[15].files = {"f": later}
        if merge:
            rows[self.culprit].parents = [10, 8]
        self.commits = make_repository(folder / "repo", rows, bare=False)
        self.index = {commit: i for i, commit in enumerate(self.commits)}
        self.repository = Repository(folder / "repo")

    @property
    def reverted(self) -> str:
        found = self.repository.reverted(self.commits[self.culprit], self.commits[-1], keep=False)
        assert found
        return found

    def has_bug(self, commit: str) -> bool:
        return self.index.get(commit, 0) >= self.culprit  # reverted: not in the history

    def shows(self, commit: str, _: int) -> Run | None:
        return CRASH if self.has_bug(commit) else OK

    def bisection(self, shows: Shows, *, laboratory: TableLaboratory | None = None, **keys: Any) -> Bisection:
        given = {"repository": "repo", "bad": self.commits[-1], "good": self.commits[2], "strategy": "bayes", "name": "demo"}
        build = {"build": "true", "image": "kernel", "qemu": "qemu-system-i386"}
        case = make_case({**given, **build, **keys}, folder=self.folder)
        return Bisection(case, laboratory=laboratory or StoredKernels(shows), output=self.folder / "case.kbench")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def stages(bisection: Bisection) -> list[str]:
    return [step.stage.removeprefix("proof ") for step in bisection.steps if step.stage.startswith("proof ")]


# The whole of it.


def test_a_sure_bug_takes_few_runs(bench: Bench) -> None:
    laboratory = StoredKernels(bench.shows)
    bisection = bench.bisection(bench.shows, laboratory=laboratory)
    before = git(bench.folder / "repo", "for-each-ref"), git(bench.folder / "repo", "status", "--short")
    result = bisection.run()
    assert result.culprit == bench.commits[11]
    assert result.proof == "parent 0:6, culprit 6:6, reverted 0:6"
    assert result.proof_p is not None and result.proof_p < P_CLEAR
    assert stages(bisection) == ["parent", "culprit", "reverted"] * 2
    assert {step.commit for step in bisection.steps if step.stage == "proof reverted"} == {bench.reverted}
    assert bisection.steps[-1].subject == 'Revert "area: change 11"'
    assert bisection.steps[-1].verdict is Verdict.GOOD
    assert result.runs == len(laboratory.ran)
    assert not any("closing proof" in note for note in result.notes)
    assert (git(bench.folder / "repo", "for-each-ref"), git(bench.folder / "repo", "status", "--short")) == before


def test_it_is_told_and_weighed(bench: Bench) -> None:
    """The same culprit, surer by what its parent and it show, and surer still by the revert."""
    plain = bench.bisection(bench.shows, proof=0).run()
    proved = bench.bisection(bench.shows).run()
    assert plain.culprit == proved.culprit == bench.commits[11]
    assert (plain.proof, plain.proof_p) == ("", None)
    assert plain.confidence is not None and proved.confidence is not None
    odds = proved.confidence / (1 - proved.confidence) * (1 - plain.confidence) / plain.confidence
    assert odds > 0.8 * (1 - P_REMAINS) / P_HIDES
    assert dict(proved.candidates)[bench.commits[11]] == pytest.approx(proved.confidence)


def test_flaky(bench: Bench) -> None:
    rng = random.Random(7)
    table = {(commit, n): rng.random() < 0.5 for commit in (*bench.commits, bench.reverted) for n in range(200)}
    counts: dict[str, int] = {}

    def shows(commit: str, _: int) -> Run:
        counts[commit] = counts.get(commit, 0) + 1  # the numbers of runs begin anew with every question
        return CRASH if bench.has_bug(commit) and table[commit, counts[commit]] else OK

    bisection = bench.bisection(shows)
    result = bisection.run()
    assert result.culprit == bench.commits[11]
    culprit = [step for step in bisection.steps if step.stage == "proof culprit"]
    n, k = sum(len(step.runs) for step in culprit), sum(step.counts[Outcome.CRASHED] for step in culprit)
    assert MIN_RUNS < n < MAX_RUNS and 0 < k < n
    assert result.proof == f"parent 0:{n}, culprit {k}:{n}, reverted 0:{n}"
    assert result.proof_p is not None and result.proof_p < 0.01


def test_a_given_number_is_run_whole(bench: Bench) -> None:
    result = bench.bisection(bench.shows, proof=10).run()
    assert result.proof == "parent 0:10, culprit 10:10, reverted 0:10"


@pytest.mark.parametrize(("strategy", "proof"), [("git", ""), ("syzkaller", "")])
def test_other_strategies_have_none_unless_asked(bench: Bench, strategy: str, proof: str) -> None:
    assert bench.bisection(bench.shows, strategy=strategy).run().proof == proof
    asked = bench.bisection(bench.shows, strategy=strategy, proof=5).run()
    assert (asked.proof, asked.culprit) == ("parent 0:5, culprit 5:5, reverted 0:5", bench.commits[11])


def test_fix(bench: Bench) -> None:
    def shows(commit: str, _: int) -> Run:
        return OK if bench.index[commit] >= 11 else CRASH

    bisection = bench.bisection(shows, kind="fix", bad=bench.commits[2], good=bench.commits[-1])
    result = bisection.run()
    assert result.culprit == bench.commits[11]
    assert result.proof == "parent 6:6, culprit 0:6"
    assert result.proof_p is not None and result.proof_p < P_CLEAR
    assert not result.notes
    assert "proof" not in bisection_log(bisection, view(bisection))


# What stands against it.


def test_reverted_still_crashes(bench: Bench) -> None:
    plain = bench.bisection(bench.shows, proof=0).run()
    result = bench.bisection(lambda commit, n: CRASH if commit == bench.reverted else bench.shows(commit, n)).run()
    assert result.culprit == plain.culprit == bench.commits[11]
    assert result.proof == "parent 0:7, culprit 7:7, reverted 7:7"
    assert result.confidence is not None and plain.confidence is not None and result.confidence < plain.confidence
    assert any("shows with the culprit reverted too" in note for note in result.notes)


def test_a_foreign_crash_of_the_reverted_tells_nothing(bench: Bench) -> None:
    result = bench.bisection(lambda commit, n: FOREIGN if commit == bench.reverted else bench.shows(commit, n)).run()
    assert "reverted 0:0" in result.proof
    assert not any("reverted too" in note for note in result.notes)


@pytest.mark.parametrize("later", [lines(0, 1, word="other"), lines()], ids=["conflict", "gone already"])
def test_not_revertible(tmp_path: Path, later: bytes) -> None:
    bench = Bench(tmp_path, later=later)
    bisection = bench.bisection(bench.shows)
    result = bisection.run()
    assert (result.culprit, result.proof) == (bench.commits[11], "parent 0:6, culprit 6:6")
    assert "closing proof: the culprit does not revert cleanly on top of the newer end" in result.notes
    assert bench.repository.reverted(bench.commits[11], bench.commits[-1]) is None


def test_merge(tmp_path: Path) -> None:
    bench = Bench(tmp_path, merge=True)
    result = bench.bisection(bench.shows, strategy="git", proof=6).run()
    assert (result.culprit, result.proof) == (bench.commits[11], "parent 0:6, culprit 6:6")


def test_culprit_at_the_newer_end(bench: Bench) -> None:
    result = bench.bisection(bench.shows, bad=bench.commits[11]).run()
    assert (result.culprit, result.proof) == (bench.commits[11], "parent 0:6, culprit 6:6")


def test_one_kernel_has_no_proof(bench: Bench) -> None:
    same = {bench.commits[10]: "0" * 64, bench.commits[11]: "0" * 64}
    laboratory = StoredKernels(bench.shows, signature=lambda commit: same.get(commit, commit + "0" * 24))
    result = bench.bisection(bench.shows, laboratory=laboratory, strategy="git", proof=6, lend=False).run()
    assert (result.culprit, result.noop, result.proof) == (bench.commits[11], True, "")
    assert "closing proof: none, culprit and parent are one kernel" in result.notes


def test_equal_kernels_lend_a_proof_nothing(bench: Bench) -> None:
    laboratory = StoredKernels(bench.shows, signature=lambda commit: f"{bench.has_bug(commit):064}")
    bisection = bench.bisection(bench.shows, laboratory=laboratory, lend=True)
    result = bisection.run()
    assert result.proof == "parent 0:6, culprit 6:6, reverted 0:6"
    assert any(step.same_as for step in bisection.steps)
    assert all(step.same_as is None for step in bisection.steps if step.stage.startswith("proof "))


def test_reverted_does_not_build(bench: Bench) -> None:
    result = bench.bisection(lambda commit, n: None if commit == bench.reverted else bench.shows(commit, n)).run()
    assert result.proof_p is not None and result.proof_p < P_CLEAR
    assert any("no run of reverted tells anything, fs/pipe.c" in note for note in result.notes)


def test_a_kernel_that_cannot_be_run_ends_it(bench: Bench) -> None:
    """A culprit named although its parent does not boot: nobody runs that sixty times."""
    broken = Run(Outcome.BOOT_FAILED, "no init")

    def shows(commit: str, n: int) -> Run | None:
        proving = any(step.stage.startswith("proof ") for step in bisection.steps)
        return broken if commit == bench.commits[10] and proving else bench.shows(commit, n)

    bisection = bench.bisection(shows)
    result = bisection.run()
    assert (result.culprit, result.proof, result.proof_p) == (bench.commits[11], "parent 0:0", None)
    assert stages(bisection) == ["parent"]
    assert "closing proof: no run of parent tells anything" in result.notes


def test_the_search_goes_on_when_the_parent_crashes(bench: Bench) -> None:
    """A parent whose bug was missed before shows it in the proof; the true culprit is proved instead."""

    def shows(commit: str, _: int) -> Run | None:
        proving = any(step.stage.startswith("proof ") for step in bisection.steps)
        return OK if commit == bench.commits[11] and not proving else bench.shows(commit, 0)

    bisection = bench.bisection(shows)
    result = bisection.run()
    assert result.culprit == bench.commits[11]
    assert any("the closing proof spoke against" in note for note in result.notes)
    assert result.proof.startswith("parent 0:")


# Resuming and budgets.


@pytest.mark.parametrize("runs_left", [1, 3, 5, 9])
def test_killed_in_the_proof_and_resumed(bench: Bench, runs_left: int, tmp_path: Path) -> None:
    whole = StoredKernels(bench.shows)
    expected = bench.bisection(bench.shows, laboratory=whole)
    result = expected.run()
    (bench.folder / "case.kbench").rename(bench.folder / "whole.kbench")
    killed = StoredKernels(bench.shows, kill_after=len(whole.ran) - runs_left)
    with pytest.raises(Killed):
        bench.bisection(bench.shows, laboratory=killed).run()
    rest = StoredKernels(bench.shows)
    resumed = bench.bisection(bench.shows, laboratory=rest)
    again = resumed.run()
    assert (again.proof, again.proof_p, again.confidence) == (result.proof, result.proof_p, result.confidence)
    assert len(killed.ran) + len(rest.ran) == len(whole.ran)
    assert stages(resumed) == stages(expected)


def test_reading_writes_nothing(bench: Bench) -> None:
    result = bench.bisection(bench.shows).run()
    path = bench.folder / "repo"
    git(path, "prune", "--expire=now")  # as if somebody had cleaned up
    objects = git(path, "count-objects")
    read = bench.bisection(bench.shows).read()
    assert read is not None and (read.proof, read.confidence) == (result.proof, result.confidence)
    assert git(path, "count-objects") == objects


def test_budget(bench: Bench) -> None:
    searched = bench.bisection(bench.shows, proof=0).run().runs
    result = bench.bisection(bench.shows, max_runs=searched + 5).run()
    assert result.culprit == bench.commits[11]
    assert result.proof == "parent 0:3, culprit 3:3"
    assert "closing proof: cut short, a budget is spent" in result.notes


# Shown.


def test_views_show_it_and_the_log_does_not(bench: Bench) -> None:
    bisection = bench.bisection(bench.shows)
    result = bisection.run()
    seen = view(bisection)
    log = bisection_log(bisection, seen)
    assert "proof" not in log and bench.reverted not in log
    assert syzbot.view(syzbot.read_log(log)).culprit == bench.commits[11]
    assert f"{result.proof}, p {result.proof_p:.2g}" in html_report(seen, log_text=log)
    assert result.to_json()["proof"] == result.proof


# The pure part.


def test_runs_needed() -> None:
    needed = [runs_needed((k, 20)) for k in (20, 10, 5, 1)]
    assert needed == sorted(needed)
    assert MIN_RUNS <= needed[0] < 8 and needed[-1] == MAX_RUNS


def test_infra_ends_a_proof_too() -> None:
    proof = Proof((20, 20), ["bug"], runs=6)
    lost = [Run(Outcome.INFRA, "QEMU died")] * 2
    rounds = 0
    while not proof.done:
        rounds += 1
        for role in ("parent", "culprit", "reverted"):
            proof.tell(role, proof.ask(role), lost)
    assert rounds == 3
    assert proof.summary is None
    assert proof.weighed(0.9) == pytest.approx(0.9)


@pytest.mark.parametrize(("k", "n"), [(0, 12), (12, 12), (3, 12)])
def test_weighed_is_bayes_rule(k: int, n: int) -> None:
    """Against the sum over the two hypotheses, written out with the rate on a grid."""
    proof = Proof((10, 20), [CRASH.title], runs=n)
    proof.tell("reverted", n, [CRASH] * k + [OK] * (n - k))
    grid = [(i + 0.5) / 5000 for i in range(5000)]
    prior = [r**9.5 * (1 - r) ** 9.5 for r in grid]
    with_bug = sum(w * r**k * (1 - r) ** (n - k) for w, r in zip(prior, grid)) / sum(prior)
    p_own = Priors.default().p_own_without
    without = p_own * sum(r**k * (1 - r) ** (n - k) for r in grid) / len(grid) if k else 1 - p_own
    right = P_REMAINS * with_bug + (1 - P_REMAINS) * without
    wrong = (1 - P_HIDES) * with_bug + P_HIDES * without
    assert proof.weighed(0.9) == pytest.approx(0.9 * right / (0.9 * right + 0.1 * wrong), rel=2e-2)


# The revert.


def test_revert_is_the_same_every_time_and_is_git_reverts(bench: Bench) -> None:
    path, culprit = bench.folder / "repo", bench.commits[11]
    made = bench.repository.reverted(culprit, bench.commits[-1])
    assert made == bench.reverted == bench.repository.reverted(culprit, bench.commits[-1])
    git(path, "reset", "-q", "--hard")
    git(path, "revert", "--no-edit", culprit)
    assert git(path, "rev-parse", "HEAD^{tree}").strip() == bench.repository.tree(made)
    assert bench.repository.parents(made) == (bench.commits[-1],)


def test_revert_follows_a_renamed_file(tmp_path: Path) -> None:
    rows = [Commit([], b"0\n", {"f": lines()}), Commit([0], b"1\n", {"f": lines(1)}), Commit([1], b"2\n", {"g": lines(1, 20)})]
    commits = make_repository(tmp_path / "repo", rows, bare=False)
    git(tmp_path / "repo", "reset", "-q", "--hard")
    git(tmp_path / "repo", "rm", "-q", "f")
    git(tmp_path / "repo", "commit", "-q", "-m", "3")
    repository = Repository(tmp_path / "repo")
    made = repository.reverted(commits[1], "HEAD")
    assert made and git(tmp_path / "repo", "show", f"{made}:g").encode() == lines(20)


def test_what_cannot_be_reverted(bench: Bench) -> None:
    assert bench.repository.reverted(bench.commits[0], bench.commits[-1]) is None, "a root"
    with pytest.raises(RevisionError):
        bench.repository.reverted("nothing", bench.commits[-1])


def test_a_checkout_or_merge_driver_does_not_change_a_revert(bench: Bench) -> None:
    path, marker = bench.folder / "repo", bench.folder / "ran"
    git(path, "config", "merge.mine.driver", f"touch {marker}")
    (path / ".gitattributes").write_text("* merge=mine\n")
    assert Repository(path).reverted(bench.commits[11], bench.commits[-1], keep=False) == bench.reverted
    assert not marker.exists()
