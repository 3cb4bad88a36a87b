"""The Bayesian search in whole bisections: what it asks the laboratory for, and that nothing is lost when it is killed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kbench.bisection import Bisection
from kbench.records import Run
from tests.laboratories import CRASH, OK, Killed, TableLaboratory
from tests.test_bisection import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def bisection(bench: Bench, laboratory: TableLaboratory, output: str = "case.kbench", **keys: object) -> Bisection:
    return bench.bisection(laboratory, output, **{"strategy": "bayes", "good": "v1.0"} | keys)


def flaky(bench: Bench, rate: float) -> TableLaboratory:
    """Runs that crash at a rate, decided by commit and number."""

    def shows(commit: str, number: int) -> Run:
        draw = int.from_bytes(hashlib.sha256(f"{commit} {number}".encode()).digest()[:4], "little") / 2**32
        return CRASH if bench.index[commit] >= bench.culprit and draw < rate else OK

    return TableLaboratory(shows)


def test_a_vouched_good_end_is_not_built_and_a_crash_ends_the_runs(bench: Bench) -> None:
    laboratory = flaky(bench, 1.0)
    found = bisection(bench, laboratory)
    result = found.run()
    assert result.culprit == bench.commits[21]
    assert result.confidence is not None and result.confidence > 0.9
    assert bench.commits[5] not in laboratory.built
    crashed = [step for step in found.steps if step.titles and step.stage == "bisect"]
    assert crashed and all(len(step.runs) <= laboratory.width for step in crashed)


def test_a_good_end_that_crashes_is_found_out(bench: Bench) -> None:
    found = bisection(bench, flaky(bench, 1.0), good="v1.2")
    result = found.run()
    assert (result.outcome, result.culprit) == ("older than range", None)
    assert any(step.commit == bench.commits[30] and step.titles for step in found.steps)


@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_flaky_bugs_are_found(bench: Bench, rate: float) -> None:
    assert bisection(bench, flaky(bench, rate)).run().culprit == bench.commits[21]


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("kill_after", [3, 11, 14, 19])
def test_a_kill_in_any_place_changes_nothing(bench: Bench, kill_after: int, at_once: int) -> None:
    laboratory = flaky(bench, 0.5)
    laboratory.kill_after = kill_after
    with pytest.raises(Killed):
        bisection(bench, laboratory, at_once=at_once).run()
    laboratory.kill_after = 10**9
    again = bisection(bench, laboratory, at_once=at_once)
    result = again.run()
    assert result.culprit == bench.commits[21]
    assert len(laboratory.ran) == result.runs  # none is lost, none is run again
    read = bisection(bench, TableLaboratory(lambda commit, number: None), at_once=at_once)
    assert read.read() == result


def test_revisions_side_by_side_are_said_beforehand(bench: Bench) -> None:
    """The laboratory hears of five at a time before the first is built, and a release among them is called one."""
    laboratory = flaky(bench, 1.0)
    found = bench.bisection(laboratory, strategy="bayes", at_once=5)
    assert found.run().culprit == bench.commits[21]
    assert max(map(len, laboratory.expected)) == 5
    asked = [commit for batch in laboratory.expected for commit, _ in batch]
    built = [step.commit for step in found.steps if step.stage.startswith(("bisect", "release"))]
    assert set(built) <= set(asked)
    releases = {bench.commits[5]: "v1.0", bench.commits[15]: "v1.1", bench.commits[30]: "v1.2"}
    walked = [(step.stage, releases[step.commit]) for step in found.steps if step.stage.startswith("release")]
    assert walked
    assert all(stage == f"release {name}" for stage, name in walked)


def test_a_budget_is_kept(bench: Bench) -> None:
    result = bisection(bench, flaky(bench, 1.0), max_builds=3).run()
    assert (result.outcome, result.culprit, result.builds) == ("budget spent", None, 3)


def test_releases_are_walked_by_the_same_rule(bench: Bench) -> None:
    found = bench.bisection(TableLaboratory(bench.shows), strategy="bayes")
    result = found.run()
    assert result.candidates[0][0] == bench.commits[21]
    assert len(result.candidates) == 1


def test_one_kernel_is_run_once(bench: Bench) -> None:
    """Commits that make one kernel lend their runs; that is said once, not twice."""
    laboratory = flaky(bench, 1.0)
    laboratory.signature = lambda commit: f"{bench.index[commit] // 3:064x}"  # 21, 22 and 23 are one
    found = bisection(bench, laboratory)
    assert found.run().culprit == bench.commits[21]
    assert all(step.verdict is not None for step in found.steps)
