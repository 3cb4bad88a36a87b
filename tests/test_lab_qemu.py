"""The truth of a lab, held against real machines: its commits are built, booted, and shown the reproducer."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbench import lab
from kbench.errors import BuildError
from kbench.kernels import Builder
from kbench.records import KernelImage, Outcome
from kbench.repository import Repository
from kbench.runs import RunSet, repro
from kbench.targets import LAB

pytestmark = pytest.mark.qemu


class Bench:
    """Builds the commits of one lab, and runs its reproducers on them."""

    def __init__(self, made: lab.Lab, builder: Builder) -> None:
        self.lab, self.truth, self._builder = made, json.loads(made.truth.read_text()), builder

    def list(self, *revisions: str) -> list[str]:
        """Commits, newest first."""
        argv = ["git", "-C", str(self.lab.repository), "rev-list", *revisions]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()

    def build(self, revision: str) -> KernelImage:
        return self._builder.build(self.list("-1", revision)[0])

    def runs(self, revision: str, *, reproducer: str = "repro.txt", n: int = 2) -> RunSet:
        return repro(self.build(revision), self.lab.directory / reproducer, runs=n)

    def clean(self, revision: str, **options: object) -> bool:
        return set(self.runs(revision, **options).counts) == {Outcome.OK}  # type: ignore[arg-type]  # passed through

    def only_crash(self, revision: str, title: str, **options: object) -> bool:
        shown = self.runs(revision, **options)  # type: ignore[arg-type]  # passed through
        return set(shown.counts) == {Outcome.CRASHED} and set(shown.titles) == {title}


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    kind, seed = request.param
    made = lab.create(tmp_path / "lab", seed=seed, kind=kind, commits=120, rate=0.5)
    with Builder(Repository(made.repository), LAB, config=(made.directory / "config").read_text()) as builder:
        yield Bench(made, builder)


@pytest.mark.parametrize("bench", [("null", 21), ("uaf", 22), ("warning", 23), ("hang", 24)], indirect=True, ids=lambda p: p[0])
def test_culprit_brings_the_bug(bench: Bench) -> None:
    """Every run crashes from the culprit on, none before it."""
    truth = bench.truth
    assert bench.only_crash("main", truth["title"])
    assert bench.only_crash(truth["culprit"], truth["title"])
    assert bench.clean(f"{truth['culprit']}^")
    assert bench.clean(truth["tags"][0])


@pytest.mark.parametrize("bench", [("race", 25), ("rare", 26)], indirect=True, ids=lambda p: p[0])
def test_flaky_culprit(bench: Bench) -> None:
    """Some runs crash, some do not, with one title; before the culprit none does."""
    truth = bench.truth
    shown = bench.runs(truth["culprit"], n=30)
    assert set(shown.counts) == {Outcome.OK, Outcome.CRASHED} and set(shown.titles) == {truth["title"]}
    assert bench.clean(f"{truth['culprit']}^", n=6)


@pytest.mark.parametrize("bench", [("uaf", 27)], indirect=True)
def test_stretches_are_what_they_say(bench: Bench) -> None:
    no_build, no_boot, foreign = bench.truth["stretches"]
    for end in ("first", "last"):
        with pytest.raises(BuildError, match=r"kernel/\w+\.c:\d+:\d+: error:"):
            bench.build(no_build[end])
        assert set(bench.runs(no_boot[end]).counts) == {Outcome.BOOT_FAILED}
        assert bench.only_crash(foreign[end], foreign["title"])
    assert foreign["title"] != bench.truth["title"]


@pytest.mark.parametrize("bench", [("warning", 28)], indirect=True)
def test_fix_case(bench: Bench) -> None:
    """The bug of the fix case is there up to the commit before the fix, and has gone with it."""
    truth = bench.truth
    assert bench.clean(f"{truth['wrong_turn']}^", reproducer="fix-repro.txt")
    assert bench.only_crash(truth["wrong_turn"], truth["fix_title"], reproducer="fix-repro.txt")
    assert bench.only_crash(f"{truth['fix']}^", truth["fix_title"], reproducer="fix-repro.txt")
    assert bench.clean(truth["fix"], reproducer="fix-repro.txt") and bench.clean("main", reproducer="fix-repro.txt")


@pytest.mark.parametrize("bench", [("null", 29)], indirect=True)
def test_ordinary_commits_build_and_pass(bench: Bench) -> None:
    """The edits in between leave the kernel and its basic tests alone: a sample of what comes before the culprit."""
    before = bench.list("--no-merges", f"{bench.truth['culprit']}^")
    broken = {commit for s in bench.truth["stretches"] for commit in bench.list("--first-parent", f"{s['first']}^..{s['last']}")}
    sample = [commit for commit in before if commit not in broken][::10]
    assert len(sample) >= 3
    for commit in sample:
        assert bench.clean(commit)
