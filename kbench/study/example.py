"""Bisection logs of simulated worlds: the text of a bisection whose true culprit is known. Read `write_logs` first.

The worlds are like syzbot's, and so is the policy. Commits, files and people are made up; the format is the one of today.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from kbench import syzbot
from kbench.errors import InputError
from kbench.history import Mask
from kbench.host import storage
from kbench.records import Outcome, Run, Verdict
from kbench.search import Costs, Observation
from kbench.search.question import Strategy
from kbench.study.draw import draw_world
from kbench.study.specs import WorldSpec, world_spec
from kbench.study.trials import Trial, run_trial
from kbench.study.worlds import TITLE, World
from kbench.syzbot import BisectionLog

POLICY = "syzkaller-2019"  # a verdict of one crash: the policy whose answers are in doubt
_CATEGORIES = {"right": "correct", "wrong": "incorrect", "none": "no output"}
_REASONS = {"missed": "T2", "false alarm": "T3"}
_COLUMNS = ("cause_bisect_log", "result_catergory", "wrong_stage", "reason", "wrong_commit", "ground_truth")  # as published
_REPORT = f"BUG: {TITLE}\n the_bug+0x12/0x80 mm/the_bug.c:120\n somewhere+0x44/0x90 mm/slab.c:77\n"


def write_logs(folder: Path, n: int, *, seed: int = 0, spec: WorldSpec | None = None) -> Path:
    """Write the logs of so many simulated bisections, and their truth into truth.csv beside them; return the folder.

    Parameters
    ----------
    folder : Path
        Made when missing.
    n : int
        How many; the folder has "world-0.txt" and so on.
    seed : int
    spec : WorldSpec, optional
        The kind of worlds; those like syzbot's by default.

    Raises
    ------
    InputError
        n below 1.
    StorageError
        No room, or no permission.
    """
    if n < 1:
        raise InputError(f"study: expected one log or more, got {n}; 40 fill a table")
    rows = []
    with storage("study", folder):
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(n):
            log, truth = simulate_log(spec or world_spec("syzbot"), seed, number)
            (folder / f"world-{number}.txt").write_text(syzbot.render(log), encoding="utf-8")
            rows.append({"cause_bisect_log": f"world-{number}", **truth})
        with (folder / "truth.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, _COLUMNS)
            table.writeheader()
            table.writerows(rows)
    return folder


def simulate_log(spec: WorldSpec, seed: int, number: int) -> tuple[BisectionLog, dict[str, str]]:
    """Return the log of a search of one world by `POLICY`, and its row of the truth, in the words of the published ones."""
    world = draw_world(spec, seed, number)
    told, costs = _Told(world), Costs()
    trial = run_trial(world, POLICY, number, confidence=0.95, costs=costs, watch=told.watch)
    truth = {
        "result_catergory": _CATEGORIES[trial.answer],
        "wrong_stage": trial.failed_stage,
        "reason": _reason(world, trial),
        "wrong_commit": told.first_wrong,
        "ground_truth": _hash(world, world.culprit),
    }
    return told.log(trial, costs), truth


def _reason(world: World, trial: Trial) -> str:
    if trial.answer == "right":
        return ""
    return _REASONS.get(trial.failed_by, "C2" if world.older else "C1")


@dataclass
class _Told:
    """What a search was told, in order."""

    world: World
    seen: list[tuple[str, Observation, Mask]] = field(default_factory=list)  # stage, what was seen, candidates before
    search: Strategy | None = None

    def watch(self, search: Strategy, stage: str, seen: Observation) -> None:
        """Write a test down."""
        self.search = search
        self.seen.append((stage, seen, search.remaining))

    @property
    def first_wrong(self) -> str:
        """The first revision whose verdict contradicts the truth; "" when none does."""
        for _, seen, _ in self.seen:
            verdict = self._verdict(seen.commit)
            if verdict is not Verdict.SKIP and (verdict is Verdict.BAD) != bool(self.world.buggy[seen.commit]):
                return _hash(self.world, seen.commit)
        return ""

    def log(self, trial: Trial, costs: Costs) -> BisectionLog:
        """Return the whole as a log."""
        world, result = self.world, self._search.result
        named, outcome = result.culprit, result.outcome
        build_s = trial.builds * costs.build * world.pace
        parents = world.history.parents[named] if named is not None else ()
        return syzbot.compose(
            kind="cause",
            start=_hash(world, world.bad),
            tests=[self._test(*one) for one in self.seen],
            ends=self._ends(),
            culprit=None if named is None else (_hash(world, named), _subject(world, named)),
            culprit_text="" if named is None else _git_show(world, named),
            candidates=[_hash(world, commit) for commit, _ in result.candidates] if outcome == "inconclusive" else [],
            culprit_signature="" if named is None else _signature(world, named),
            parent_signature=_signature(world, parents[0]) if parents else "",
            total_s=trial.hours * 3600,
            build_s=build_s,
            test_s=trial.hours * 3600 - build_s,
            outcome=outcome or "budget spent",
            crash_title=TITLE,
            report=_REPORT,
        )

    def _test(self, stage: str, seen: Observation, candidates: Mask) -> syzbot.Test:
        world, n = self.world, int(candidates.sum())
        fields: dict[str, Any] = {}
        if stage == "bisect":
            older = int((candidates & world.history.ancestors(seen.commit)).sum())
            fields = {
                "verdict": self._verdict(seen.commit),
                "revisions_left": max(n - older - 1, 0),
                "steps_left": syzbot.git_steps(n),
            }
        return syzbot.tested(
            _hash(world, seen.commit),
            f"release v1.{len(world.tags) - world.tags.index(seen.commit)}" if stage == "release" else stage,
            _runs(seen),
            subject=_subject(world, seen.commit),
            toolchain="gcc",
            signature=_signature(world, seen.commit),
            failure="" if seen.skip is None else "make: *** [Makefile:1] Error 2",
            **fields,
        )

    def _ends(self) -> tuple[str, str] | None:
        # The last release but one and the one the walk ended with; None when the search was not reached.
        walk = [seen.commit for stage, seen, _ in self.seen if stage == "release"]
        if not walk or not any(stage == "bisect" for stage, _, _ in self.seen):
            return None
        bad = next((commit for commit in reversed(walk) if self._verdict(commit) is Verdict.BAD), self.world.bad)
        return _hash(self.world, bad), _hash(self.world, walk[-1])

    def _verdict(self, commit: int) -> Verdict:
        return self._search.verdict(commit) or Verdict.SKIP

    @property
    def _search(self) -> Strategy:
        assert self.search is not None  # it was told of the original commit
        return self.search


def _runs(seen: Observation) -> list[Run]:
    runs = [Run(Outcome.CRASHED, title) for title, count in seen.crashes.items() for _ in range(count)]
    runs += repeat(Run(Outcome.OK), seen.passed)
    runs += repeat(Run(Outcome.BOOT_FAILED, "lost connection to test machine"), seen.boot_failed)
    return [*runs, *repeat(Run(Outcome.TEST_FAILED, "failed to copy the test binary"), seen.test_failed)]


def _signature(world: World, commit: int) -> str:
    return f"{int(world.kernel[commit]):064x}"


def _hash(world: World, commit: int) -> str:
    return hashlib.sha1(f"{world.seed} {commit}".encode(), usedforsecurity=False).hexdigest()


def _touches(world: World, commit: int) -> bool:
    # Commits that touch the trace have a larger weight in the prior; merges have a smaller one.
    return world.prior is not None and bool(world.prior[commit] > 2 * np.median(world.prior))


def _subject(world: World, commit: int) -> str:
    if len(world.history.parents[commit]) > 1:
        return f"Merge branch 'topic-{commit}'"
    return f"mm/the_bug: change {commit}" if _touches(world, commit) else f"subsystem-{commit % 97}: change {commit}"


def _git_show(world: World, commit: int) -> str:
    file = "mm/the_bug.c" if _touches(world, commit) else f"drivers/subsystem-{commit % 97}/main.c"
    parents = world.history.parents[commit]
    merge = f"Merge: {' '.join(_hash(world, parent)[:12] for parent in parents)}\n" if len(parents) > 1 else ""
    return (
        f"commit {_hash(world, commit)}\n{merge}Author: A <a@example.org>\nDate:   Mon Jan 4 10:00:00 2021 +0000\n\n"
        f"    {_subject(world, commit)}\n\n {file} | 12 +++++++-----\n 1 file changed, 7 insertions(+), 5 deletions(-)"
    )
