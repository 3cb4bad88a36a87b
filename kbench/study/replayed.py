"""Real bisections with a known culprit, as rows of tested revisions and the truth about each. Read `read_revisions` first.

Reads a folder: logs.tar.xz (bisection logs), truth.csv (first wrong verdicts), bisections.csv (times). Source: Gu,
Zhang, Cao, Tan, Yang, How well industry-level cause bisection works in real-world, FSE Companion 2024.
"""

from __future__ import annotations

import csv
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kbench.crash.guilty import trace_files
from kbench.errors import InputError
from kbench.evidence.titles import similarity
from kbench.records import Outcome, Verdict
from kbench.syzbot import BisectionLog, Test, read_log

RUNS = 10  # of a test whose log says "all runs" and no number: until 2023 always ten, but for some first ones


@dataclass(frozen=True, slots=True)
class Tested:
    """One tested revision of a real bisection."""

    stage: str  # "A" original commit, "B" releases, "C" git bisect
    depth: int  # stage B: it is the depth-th release back from the original commit; else 0
    verdict: Verdict  # by the rule of 2019 to 2023: any crash is bad
    buggy: bool | None  # the truth; None: not known, or not testable
    wrong: bool  # the first verdict of its bisection that contradicts the truth
    later: bool  # told after that one, so chosen by it
    crashed: int
    clean: int
    own: int  # crashed with a title of the original commit
    titles: frozenset[str]
    alike: float  # the most alike that one of them is to one of the original commit; see `kbench.evidence.similarity`


@dataclass(frozen=True, slots=True)
class Replayed:
    """One real bisection, its tests in order."""

    name: str
    known: bool  # is the true culprit known?
    category: str  # "correct", "incorrect", "no output"; "" when the truth is not known
    failed_stage: str  # "A", "B", "C" or ""
    reason: str  # of a failure: "C1" time, "C2" older than the oldest release, "T1" no run, "T2" missed, "T3" false alarm
    version: str  # release before the original commit, "v5.4"
    tests: tuple[Tested, ...]
    named: str = ""  # what the one commit it named is: "merge", "touches" a file of the crash's trace, "other"; "" not known

    def of(self, stage: str) -> list[Tested]:
        """Its tests of one stage."""
        return [test for test in self.tests if test.stage == stage]


@dataclass(frozen=True, slots=True)
class Spent:
    """What one bisection took."""

    revisions: int
    build_s: float
    test_s: float


def read_costs(folder: Path) -> list[Spent]:
    """Return what bisections of six revisions or more took, from bisections.csv; errors as for `read_revisions`."""
    _check(folder, "bisections.csv")
    with (folder / "bisections.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    spent = [Spent(int(row["revs"] or 0), float(row["build_s"] or 0), float(row["test_s"] or 0)) for row in rows]
    return [one for one in spent if one.revisions > 5 and one.build_s and one.test_s]


def read_revisions(folder: Path) -> list[Replayed]:
    """Return all bisections of the folder, by name.

    Raises
    ------
    InputError
        A file is missing.
    """
    truth = read_truth(folder)
    return sorted((_replay(name, log, truth.get(name, {})) for name, log in read_logs(folder)), key=lambda one: one.name)


def read_truth(path: Path) -> dict[str, dict[str, str]]:
    """Return the rows of truth.csv, the file or its folder, by the name of the log; errors as for `read_revisions`."""
    file = path / "truth.csv" if path.is_dir() else path
    _check(file.parent, file.name)
    with file.open(encoding="utf-8", newline="") as lines:
        return {row["cause_bisect_log"]: row for row in csv.DictReader(lines)}


def read_logs(folder: Path) -> Iterator[tuple[str, BisectionLog]]:
    """Read the logs of logs.tar.xz one by one, with their names; errors as for `read_revisions`."""
    _check(folder, "logs.tar.xz")
    with tarfile.open(folder / "logs.tar.xz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                yield Path(member.name).stem, read_log(file.read().decode())


def _check(folder: Path, *names: str) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise InputError(f"study: expected {name} in {folder}, found none; name the folder of the real bisections")


def _replay(name: str, log: BisectionLog, truth: dict[str, str]) -> Replayed:
    rows: list[Tested] = []
    titles: frozenset[str] = frozenset()
    depth, reason, passed = 0, truth.get("reason", ""), False
    for test in log.tests:
        stage = "B" if test.stage.startswith("release") else {"original": "A", "bisect": "C"}.get(test.stage, "")
        if not stage:
            continue
        depth += stage == "B"
        row = _row(test, stage, depth if stage == "B" else 0, titles)
        titles = titles or (row.titles if stage == "A" else titles)
        wrong = not passed and bool(truth) and test.commit == truth["wrong_commit"] and row.verdict is not Verdict.SKIP
        rows.append(_with_truth(row, bool(truth), reason, wrong=wrong, passed=passed))
        passed |= wrong
    failed = truth.get("wrong_stage", "").removeprefix("Stage ").strip("/")
    version = truth.get("crash_commit_version", "")
    category, reason = truth.get("result_catergory", ""), reason.strip("/")
    return Replayed(name, bool(truth), category, failed, reason, version, tuple(rows), _named(log))


def _named(log: BisectionLog) -> str:
    files = trace_files(log.report)
    if not log.culprit or log.culprit_is_merge:
        return "merge" if log.culprit else ""
    return "" if not files or not log.culprit_files else "touches" if files & log.culprit_files else "other"


def _row(test: Test, stage: str, depth: int, titles: frozenset[str]) -> Tested:
    weight = RUNS if test.all_runs else 1
    counts: Counter[Outcome] = Counter()
    seen: Counter[str] = Counter()
    for run in test.runs:
        counts[run.outcome] += weight
        if run.outcome is Outcome.CRASHED:
            seen[run.title] += weight
    crashed, clean, total = counts[Outcome.CRASHED], counts[Outcome.OK], counts.total()
    # Since 2019-03-22: no crash, one clean run or more, and at most two thirds failed otherwise.
    good = clean and 3 * (total - clean) <= 2 * total
    verdict = Verdict.BAD if crashed else Verdict.GOOD if good else Verdict.SKIP
    own = crashed if stage == "A" else sum(seen[title] for title in titles & seen.keys())
    alike = max((similarity(title, titles) for title in seen), default=0.0)
    return Tested(stage, depth, verdict, None, False, False, crashed, clean, own, frozenset(seen), alike)


def _with_truth(row: Tested, known: bool, reason: str, *, wrong: bool, passed: bool) -> Tested:
    # Verdicts are right before the first wrong one. After a false alarm the search goes on among the ancestors of a
    # revision without the bug: all without it. After a missed bug nothing is known.
    if not known or row.verdict is Verdict.SKIP or (passed and reason != "T3"):
        buggy = None
    elif passed:
        buggy = False
    else:
        buggy = (row.verdict is Verdict.BAD) != wrong
    return replace(row, buggy=buggy, wrong=wrong, later=passed)
