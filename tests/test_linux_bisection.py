"""Whole bisections of real Linux: planted culprits found, stretches crossed, by User-Mode Linux and by QEMU."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from math import ceil, log2
from pathlib import Path

import pytest

from kbench.bisection import Bisection, BisectionResult, load_case
from kbench.bisection.report import bisection_log
from kbench.bisection.view import view
from kbench.lab import Lab
from kbench.lab.linux import Shares, create_linux
from kbench.records import Outcome, Step, Verdict
from kbench.repository import Repository
from tests.conftest import linux_base

pytestmark = [pytest.mark.linux, pytest.mark.timeout(1500)]
COMMITS = 60
SHARES = Shares(headers=0.0)  # what everything includes takes minutes to build again
#: Kind, seed, strategy. Six culprits under User-Mode Linux; where a stretch has to be met the seeds are such that git's midpoints
#: meet it.
NO_BUILD = ("pipe-flags", 14, "git")
NO_BOOT = ("keyring-leak", 3, "git")
WALK = ("aio-mremap", 2, "git")
SILENT = ("tee-merge", 14, "git")
OTHERS = (("unix-oob", 1, "bayes"), ("pipe-close", 1, "syzkaller"))  # the last is flaky by nature
ON_QEMU = (("aio-mremap", 1, "bayes"), ("fs-context", 1, "bayes"), ("tee-merge", 1, "git"))


@dataclass(frozen=True)
class Found:
    """A bisection that has ended, and what is true."""

    lab: Lab
    bisection: Bisection
    result: BisectionResult

    @property
    def steps(self) -> list[Step]:
        return self.bisection.steps

    def members(self, kind: str) -> set[str]:
        """The commits of a stretch."""
        stretch = next(stretch for stretch in self.lab.stretches if stretch["kind"] == kind)
        words = ["git", "-C", str(self.lab.repository), "rev-list", "--ancestry-path", f"{stretch['first']}..{stretch['last']}"]
        return {stretch["first"], *subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()}


def run(
    folder: Path,
    kind: str,
    seed: int,
    strategy: str,
    *,
    target: str = "um",
    silent: bool = False,
    walk: bool = False,
    **keys: object,
) -> Found:
    """Make a lab, bring its history into the repository of all tests, so that it builds in their slot, and bisect it there."""
    lab = create_linux(folder / "lab", seed=seed, kind=kind, commits=COMMITS, target=target, shares=SHARES, silent=silent)
    shared, name = linux_base().repository, f"{target}-{kind}-{seed}-{silent}"
    theirs = [f"+main:refs/heads/{name}", *(["+refs/tags/*:refs/tags/*"] if walk else [])]  # labs give the same names to releases
    subprocess.run(["git", "-C", str(shared), "fetch", "-q", "--no-tags", str(lab.repository), *theirs], check=True)
    ends = {} if walk else {"good": Repository(lab.repository).resolve(lab.tags[0])}
    bisection = Bisection(load_case(lab.case, repository=str(shared), bad=name, strategy=strategy, **ends, **keys))
    return Found(lab, bisection, bisection.run())


@pytest.mark.parametrize(("kind", "seed", "strategy"), OTHERS, ids=str)
def test_planted_culprits_are_found_under_user_mode_linux(tmp_path: Path, kind: str, seed: int, strategy: str) -> None:
    """With the culprit's kernel unlike its parent's, and with no more builds than the kernels that differ ask for."""
    found = run(tmp_path, kind, seed, strategy, proof=0)
    assert found.result.culprit == found.lab.culprit
    assert found.result.noop is False
    assert found.result.n_kernels is not None
    assert found.result.n_kernels < found.result.n_commits / 2
    skipped = sum(step.verdict is Verdict.SKIP for step in found.steps)
    assert found.result.builds - skipped <= ceil(log2(found.result.n_kernels)) + 3


@pytest.mark.qemu
@pytest.mark.parametrize(("kind", "seed", "strategy"), ON_QEMU, ids=str)
def test_planted_culprits_are_found_in_qemu(tmp_path: Path, kind: str, seed: int, strategy: str) -> None:
    found = run(tmp_path, kind, seed, strategy, target="qemu-x86_64", runs=4, proof=0)
    assert found.result.culprit == found.lab.culprit
    assert found.result.noop is False


def test_a_stretch_that_does_not_build_is_crossed(tmp_path: Path) -> None:
    """The error names the compiler's own words and the file to blame."""
    found = run(tmp_path, *NO_BUILD)
    failed = [step for step in found.steps if step.failure]
    assert failed
    assert {step.commit for step in failed} <= found.members("no build")
    assert all(step.verdict is Verdict.SKIP and "error" in step.failure for step in failed)
    assert found.result.culprit == found.lab.culprit


def test_a_stretch_that_does_not_boot_is_crossed(tmp_path: Path) -> None:
    found = run(tmp_path, *NO_BOOT)
    failed = [step for step in found.steps if step.counts[Outcome.BOOT_FAILED]]
    assert failed
    assert {step.commit for step in failed} <= found.members("no boot")
    assert all(step.verdict is Verdict.SKIP for step in failed)
    assert found.result.culprit == found.lab.culprit


def test_releases_are_walked_back_and_the_report_says_who_to_tell(tmp_path: Path) -> None:
    """Without a good end; the crash's report has file and line, and get_maintainer.pl's own answer goes with it."""
    found = run(tmp_path, *WALK, walk=True)
    walked = [step for step in found.steps if step.stage.startswith("release ")]
    assert [step.verdict for step in walked] == [*[Verdict.BAD] * (len(walked) - 1), Verdict.GOOD]
    assert len(walked) > 1
    assert found.result.culprit == found.lab.culprit
    seen = view(found.bisection)
    assert "aio_ring_mremap+" in seen.crash_report and " fs/aio.c:" in seen.crash_report
    assert "linux-aio@kvack.org" in " ".join(seen.recipients)
    assert "linux-aio@kvack.org" in bisection_log(found.bisection, seen)


def test_a_silent_stretch_is_not_called_good(tmp_path: Path) -> None:
    """The reproducer goes silent with the bug inside: runs that did not get there say nothing, and without that they lie."""
    found = run(tmp_path, *SILENT, silent=True)
    silent = [step for step in found.steps if step.commit in found.members("silent")]
    assert silent
    assert all(step.reached is False and step.verdict is Verdict.SKIP for step in silent), [step.reach for step in silent]
    assert found.result.culprit == found.lab.culprit
    believed = run(tmp_path / "believed", *SILENT, silent=True, liveness=False)
    assert believed.result.culprit != believed.lab.culprit
