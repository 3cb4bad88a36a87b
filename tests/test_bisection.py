"""The driver, with real git and a real journal: answers, resuming, budgets, reports. Machines come in test_bisection_qemu."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbench import syzbot
from kbench.bisection import Bisection, make_case
from kbench.bisection.report import bisection_log
from kbench.bisection.view import view
from kbench.errors import CaseError, JournalError, RevisionError
from kbench.records import Outcome, Run, Verdict
from tests.fast_import import Commit, make_repository
from tests.laboratories import CRASH, OK, Killed, TableLaboratory

KEYS = {"strategy": "syzkaller", "build": "true", "image": "kernel", "qemu": "qemu-system-i386"}


class Bench:
    """A linear history c0..c40 with releases v1.0 (c5), v1.1 (c15), v1.2 (c30), and a culprit."""

    def __init__(self, folder: Path, culprit: int = 21, n: int = 41) -> None:
        self.folder = folder
        rows = [Commit([i - 1] if i else [], f"area: change {i}\n\nWhy.\n".encode(), {"f": str(i).encode()}) for i in range(n)]
        self.commits = make_repository(folder / "repo", rows, {"v1.0": 5, "v1.1": 15, "v1.2": 30})
        self.index = {commit: i for i, commit in enumerate(self.commits)}
        self.culprit = culprit

    def shows(self, commit: str, _: int) -> Run | None:
        return CRASH if self.index[commit] >= self.culprit else OK

    def bisection(self, laboratory: TableLaboratory, output: str = "case.kbench", **keys: Any) -> Bisection:
        case = make_case({"repository": "repo", "bad": "master", "name": "demo", **KEYS, **keys}, folder=self.folder)
        return Bisection(case, laboratory=laboratory, output=self.folder / output)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("strategy", ["git", "syzkaller"])
def test_walks_back_and_names_the_culprit(bench: Bench, strategy: str) -> None:
    laboratory = TableLaboratory(bench.shows)
    bisection = bench.bisection(laboratory, strategy=strategy)
    result = bisection.run()
    assert (result.outcome, result.culprit) == ("culprit", bench.commits[21])
    assert [step.stage for step in bisection.steps][:3] == ["original", "release v1.2", "release v1.1"]
    assert (result.release, result.noop, result.culprit_subject) == ("v1.1", False, "area: change 21")
    assert len(set(laboratory.ran)) == len(laboratory.ran) == result.runs
    assert len(bisection.steps[0].runs) == 20


def test_given_good_end_is_checked(bench: Bench) -> None:
    laboratory = TableLaboratory(bench.shows)
    assert bench.bisection(laboratory, good="v1.0").run().culprit == bench.commits[21]
    result = bench.bisection(TableLaboratory(bench.shows), good="v1.2", output="other").run()
    assert (result.outcome, result.culprit) == ("older than range", None)


def test_fix_bisection(bench: Bench) -> None:
    def shows(commit: str, _: int) -> Run:
        return OK if bench.index[commit] >= 33 else CRASH

    bisection = bench.bisection(TableLaboratory(shows), kind="fix", bad="v1.0")
    assert bisection.run().culprit == bench.commits[33]
    log = bisection_log(bisection, view(bisection))
    assert log.splitlines()[1] == f"bisecting fixing commit since {bench.commits[5]}"
    assert f"first good commit: {bench.commits[33]} area: change 33" in log
    read = syzbot.read_log(log)
    assert (read.kind, syzbot.view(read).culprit) == ("fix", bench.commits[33])


@pytest.mark.parametrize(
    ("shows", "outcome"),
    [(lambda *_: OK, "not reproduced"), (lambda *_: CRASH, "older than range"), (lambda *_: None, "not reproduced")],
)
def test_answers_without_a_culprit(bench: Bench, shows: Callable[..., Run | None], outcome: str) -> None:
    bisection = bench.bisection(TableLaboratory(shows))
    result = bisection.run()
    assert (result.outcome, result.culprit) == (outcome, None)
    assert result.candidates, "there is always a list"
    assert syzbot.read_log(bisection_log(bisection, view(bisection)))


def test_skipped_culprit_is_inconclusive(bench: Bench) -> None:
    def shows(commit: str, n: int) -> Run | None:
        return None if 20 <= bench.index[commit] <= 22 else bench.shows(commit, n)

    bisection = bench.bisection(TableLaboratory(shows), strategy="git")
    result = bisection.run()
    assert result.outcome == "inconclusive"
    assert {commit for commit, _ in result.candidates} == set(bench.commits[20:24])
    log = bisection_log(bisection, view(bisection))
    assert "There are only 'skip'ped commits left to test." in log
    assert "fs/pipe.c:7:1: error: 'tail' undeclared" in log


def test_a_release_that_is_the_same_kernel_is_not_good(bench: Bench) -> None:
    """One kernel has one answer: it is run once, and every commit that makes it lends those runs."""
    laboratory = TableLaboratory(bench.shows, signature=lambda _: "0" * 64)
    bisection = bench.bisection(laboratory, lend=True)
    result = bisection.run()
    assert (result.outcome, result.runs, len(laboratory.ran)) == ("older than range", 20, 20)
    assert [step.same_as for step in bisection.steps] == [None, *[bench.commits[40]] * 3]
    assert all(step.runs == bisection.steps[0].runs and step.verdict is Verdict.BAD for step in bisection.steps)
    assert syzbot.read_log(bisection_log(bisection, view(bisection)))


def test_infra_is_never_a_crash(bench: Bench) -> None:
    lost = Run(Outcome.INFRA, "QEMU died")

    def shows(commit: str, n: int) -> Run | None:
        return lost if n % 3 == 0 else bench.shows(commit, n)

    assert bench.bisection(TableLaboratory(shows)).run().culprit == bench.commits[21]


def test_nothing_but_infra_is_not_reproduced(bench: Bench) -> None:
    """An end is asked for again, and never believed when none of its runs could be carried out."""
    for strategy in ("git", "syzkaller"):
        laboratory = TableLaboratory(lambda *_: Run(Outcome.INFRA, "QEMU died"))
        result = bench.bisection(laboratory, strategy=strategy).run()
        assert (result.outcome, result.culprit, result.runs) == ("not reproduced", None, 60)


def test_budget(bench: Bench) -> None:
    few = bench.bisection(TableLaboratory(bench.shows), max_runs=15, good="v1.0", output="few").run()
    assert (few.outcome, few.runs) == ("budget spent", 20), "an experiment that was begun is ended"
    result = bench.bisection(TableLaboratory(bench.shows), max_builds=4).run()
    assert (result.outcome, result.builds, result.culprit) == ("budget spent", 4, None)
    assert bench.commits[21] in {commit for commit, _ in result.candidates}


def without_times(log: str) -> str:
    return re.sub(r"total time: .*|bisection .* UTC|starts .*", "", log)


@pytest.mark.parametrize("seed", range(3))
def test_killed_anywhere_it_goes_on(tmp_path: Path, seed: int) -> None:
    """Killed at random moments and started again: the same answer and log as undisturbed, and no run twice."""
    whole = Bench(tmp_path / "whole")
    reference = TableLaboratory(whole.shows)
    undisturbed = whole.bisection(reference)
    undisturbed.run()
    rng = np.random.default_rng(seed)
    broken = Bench(tmp_path / "broken")
    ran: list[tuple[str, int]] = []
    for _ in range(100):
        laboratory = TableLaboratory(broken.shows, kill_after=int(rng.integers(0, 12)), kill_at_build=int(rng.integers(1, 5)))
        bisection = broken.bisection(laboratory)
        try:
            bisection.run()
        except Killed:
            ran += laboratory.ran
            continue
        ran += laboratory.ran
        break
    assert bisection.result and undisturbed.result
    assert bisection.result.culprit == undisturbed.result.culprit
    assert sorted(ran) == sorted(reference.ran)
    assert without_times(bisection_log(bisection, view(bisection))) == without_times(
        bisection_log(undisturbed, view(undisturbed))
    )


def test_ended_bisection_runs_nothing_again(bench: Bench) -> None:
    first = bench.bisection(TableLaboratory(bench.shows)).run()
    idle = TableLaboratory(bench.shows)
    again = bench.bisection(idle).run()
    assert again == first
    assert (idle.ran, idle.built) == ([], [])


def test_culprit_merge_is_compared_with_its_first_parent(tmp_path: Path) -> None:
    """Also when that parent is older than the good end, and so not in the range."""
    rows = [
        Commit(),
        Commit([0], files={"a": b"1"}),
        Commit([0], files={"b": b"1"}),
        Commit([1, 2]),
        Commit([3], files={"c": b""}),
    ]
    commits = make_repository(tmp_path / "repo", rows)
    case = make_case({"repository": "repo", "bad": "master", "good": [commits[1], commits[2]], **KEYS}, folder=tmp_path)
    laboratory = TableLaboratory(lambda commit, _: CRASH if commit in commits[3:] else OK)
    bisection = Bisection(case, laboratory=laboratory)
    assert bisection.run().culprit == commits[3]
    assert (bisection.parent, bisection.result and bisection.result.noop) == (commits[1], False)


def test_noop_culprit_is_told(tmp_path: Path) -> None:
    """Its parent is older than the good end and was not tested: the two being one kernel speaks against the answer."""
    rows = [Commit(), Commit([0], files={"a": b"1"}), Commit([0], files={"b": b"1"}), Commit([1, 2], files={"b": b"1"})]
    commits = make_repository(tmp_path / "repo", rows)
    case = make_case({"repository": "repo", "bad": "master", "good": commits[1], **KEYS}, folder=tmp_path)
    same = TableLaboratory(
        lambda commit, _: CRASH if commit in commits[2:] else OK,
        signature=lambda commit: "0" * 64 if commit in (commits[0], commits[2]) else commit,
    )
    result = Bisection(case, laboratory=same).run()
    assert (result.culprit, result.noop) == (commits[2], True)


def test_the_reproducer_of_the_start_is_used_to_the_end(bench: Bench) -> None:
    (bench.folder / "repro").write_text("first")
    bisection = bench.bisection(TableLaboratory(bench.shows), reproducer="repro")
    (bench.folder / "repro").write_text("changed meanwhile")
    bisection.run()
    assert (bisection.output / "reproducer").read_text() == "first"
    with pytest.raises(JournalError, match="with other inputs"):
        bench.bisection(TableLaboratory(bench.shows), reproducer="repro").run()


def test_reading_a_journal_changes_nothing(bench: Bench) -> None:
    with pytest.raises(JournalError):
        bench.bisection(TableLaboratory(bench.shows)).read()
    with pytest.raises(Killed):
        bench.bisection(TableLaboratory(bench.shows, kill_after=33)).run()
    reader = bench.bisection(TableLaboratory(bench.shows))
    assert reader.read() is None
    assert [len(step.runs) for step in reader.steps] == [20, 10, 3]
    assert view(reader).outcome is None
    ended = bench.bisection(TableLaboratory(bench.shows)).run()
    assert bench.bisection(TableLaboratory(bench.shows)).read() == ended


def test_other_inputs_other_journal(bench: Bench) -> None:
    bench.bisection(TableLaboratory(bench.shows)).run()
    with pytest.raises(JournalError, match="with other inputs"):
        bench.bisection(TableLaboratory(bench.shows), bad="v1.2").run()
    assert bench.bisection(TableLaboratory(bench.shows), strategy="git").run().culprit == bench.commits[21]


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"bad": "nonsense"}, RevisionError, "nonsense"),
        ({"good": "nonsense"}, RevisionError, "nonsense"),
        ({"good": "master", "bad": "v1.0"}, RevisionError, "swap the ends"),
        ({"tags": "w*"}, RevisionError, "'w*'"),
        ({"oldest": "v9.9"}, RevisionError, "v9.9"),
        ({"bad": "v1.0", "tags": "v*"}, RevisionError, "release tags"),
        ({"kind": "fix", "good": ["v1.1", "v1.2"], "bad": "v1.0"}, CaseError, "one `good`"),
        ({"reproducer": "gone"}, CaseError, "gone"),
        ({"config": "gone"}, CaseError, "gone"),
    ],
)
def test_bad_input_writes_nothing(bench: Bench, keys: dict[str, Any], error: type[Exception], message: str) -> None:
    before = sorted(bench.folder.iterdir())
    with pytest.raises(error) as caught:
        bench.bisection(TableLaboratory(bench.shows), **keys).run()
    assert message in str(caught.value)
    assert sorted(bench.folder.iterdir()) == before


def test_result_is_json(bench: Bench) -> None:
    values = bench.bisection(TableLaboratory(bench.shows)).run().to_json()
    assert {"culprit", "confidence", "outcome", "candidates", "builds", "runs", "seconds"} <= set(json.loads(json.dumps(values)))


def test_log_reads_back(bench: Bench) -> None:
    bisection = bench.bisection(TableLaboratory(bench.shows))
    bisection.run()
    text = bisection_log(bisection, view(bisection))
    log = syzbot.read_log(text)
    assert syzbot.render(log) == text
    steps = syzbot.steps(log)
    assert [step.commit for step in steps] == [step.commit for step in bisection.steps]
    assert [s.verdict for s in steps if s.stage == "bisect"] == [s.verdict for s in bisection.steps if s.stage == "bisect"]
    assert "Bisecting: 7 revisions left to test after this (roughly 3 steps)" in text
    assert f"# git bisect start {bench.commits[30]} {bench.commits[15]}" in text
    assert {step.verdict for step in bisection.steps} <= {Verdict.GOOD, Verdict.BAD, None}
