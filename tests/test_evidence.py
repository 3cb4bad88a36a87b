"""From run counts to verdicts: the rules of git's users and of syzkaller."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbench.errors import SearchError
from kbench.evidence import GIT_RULE, SYZKALLER_RULE, Observation, Priors, VerdictRule, decide, representative_crash
from kbench.records import Verdict

TABLES = Path(__file__).parents[1].parent / "shared" / "corpus" / "bisect_tables_dev.json"
RULES = (GIT_RULE, SYZKALLER_RULE)
GOOD, BAD, SKIP = Verdict.GOOD, Verdict.BAD, Verdict.SKIP
counts = st.integers(0, 25)


def cases(table: str) -> list[Any]:
    return (
        [pytest.param(c, id=c["name"]) for c in json.loads(TABLES.read_text())["tables"][table]["cases"]]
        if TABLES.exists()
        else []
    )


@pytest.mark.parametrize(
    ("seen", "flaky", "verdict"),
    [
        (Observation(0, passed=10), False, GOOD),
        (Observation(0, passed=8, crashes={"A": 2}), False, BAD),
        (Observation(0, passed=9, crashes={"A": 1}), False, SKIP),  # since 2024-07-15 one crash is an outlier
        (Observation(0, passed=17, crashes={"A": 3}), False, BAD),  # 3 >= 20 / 6, rounded down
        (Observation(0, passed=18, crashes={"A": 2}), False, SKIP),
        (Observation(0, passed=9, crashes={"A": 1, "B": 2}, infra=8), False, BAD),  # 3 of the 12 carried out; any title
        (Observation(0, passed=2, crashes={"A": 2}, boot_failed=6), False, SKIP),  # fewer than half of the runs told anything
        (Observation(0, passed=5, boot_failed=5), False, GOOD),
        (Observation(0, passed=10, boot_failed=10), True, SKIP),  # flaky: three quarters must be clean
        (Observation(0, passed=15, test_failed=5), True, GOOD),
        (Observation(0, boot_failed=10), False, SKIP),
        (Observation(0, passed=4, infra=6), False, None),
        (Observation(0, passed=1, boot_failed=5, infra=4), False, SKIP),
        (Observation(0), False, None),
        (Observation(0, skip="build"), False, SKIP),
    ],
)
def test_syzkaller(seen: Observation, flaky: bool, verdict: Verdict | None) -> None:
    assert decide(seen, SYZKALLER_RULE, flaky=flaky) is verdict


def test_syzkaller_does_not_count_crashes_of_the_fuzzer_unless_that_is_the_bug() -> None:
    seen = Observation(0, passed=7, crashes={"lost connection to test machine": 3})
    assert decide(seen, SYZKALLER_RULE) is BAD  # titles of the bug not known
    assert decide(seen, SYZKALLER_RULE, titles={"KASAN: use-after-free in f"}) is GOOD
    assert decide(seen, SYZKALLER_RULE, titles={"lost connection to test machine"}) is BAD


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (Observation(0, passed=9, crashes={"mine": 1}), BAD),
        (Observation(0, crashes={"mine": 1, "other": 9}), BAD),
        (Observation(0, passed=9, crashes={"other": 1}), SKIP),
        (Observation(0, passed=1, boot_failed=9), GOOD),
        (Observation(0, test_failed=10), SKIP),
        (Observation(0, passed=1, infra=9), GOOD),
        (Observation(0, infra=9, boot_failed=1), None),
        (Observation(0, crashes={"": 1}), SKIP),  # a crash nobody named is not known to be the bug
        (Observation(0, skip="boot"), SKIP),
    ],
)
def test_git(seen: Observation, verdict: Verdict | None) -> None:
    assert decide(seen, GIT_RULE, titles={"mine", ""}) is verdict


def test_any_title_is_the_bugs_when_none_is_known() -> None:
    assert decide(Observation(0, passed=9, crashes={"other": 1}), GIT_RULE) is BAD
    assert decide(Observation(0, passed=9, crashes={"other": 1}), GIT_RULE, titles={""}) is BAD


@given(passed=counts, crashed=counts, failed=counts, infra=counts, rule=st.sampled_from(RULES), flaky=st.booleans())
def test_infra_runs_alone_decide_nothing(
    passed: int, crashed: int, failed: int, infra: int, *, rule: VerdictRule, flaky: bool
) -> None:
    """Runs that could not be carried out take certainty away; they never turn good into bad or bad into good."""
    without = decide(Observation(0, passed=passed, crashes={"A": crashed}, boot_failed=failed), rule, flaky=flaky)
    verdict = decide(Observation(0, passed=passed, crashes={"A": crashed}, boot_failed=failed, infra=infra), rule, flaky=flaky)
    assert {without, verdict} != {GOOD, BAD}
    assert decide(Observation(0, infra=infra), rule, flaky=flaky) is None


def test_observations_of_one_commit_add_up() -> None:
    first = Observation(3, passed=4, crashes={"A": 1}, infra=2, signature="s", reached=True)
    both = first.merged(Observation(3, passed=1, crashes={"A": 2, "B": 1}, test_failed=3))
    assert both == Observation(3, passed=5, crashes={"A": 3, "B": 1}, test_failed=3, infra=2, signature="s", reached=True)
    assert (both.crashed, both.total, both.share) == (4, 14, 4 / 9)
    assert Observation(3, skip="build").merged(Observation(3, infra=4)).skip == "build"
    assert Observation(3, skip="build").merged(Observation(3, passed=4)).skip is None  # it did build after all
    assert pickle.loads(pickle.dumps(both)) == copy.deepcopy(both) == both


def test_wrong_observations_are_refused() -> None:
    with pytest.raises(SearchError, match="counts of runs are 0 or more, got -1 for commit 3"):
        Observation(3, passed=-1)
    with pytest.raises(SearchError, match="got -2"):
        Observation(3, crashes={"A": -2})
    with pytest.raises(SearchError, match="skip is None"):
        Observation(3, skip="weather")


@pytest.mark.parametrize(
    ("kinds", "title", "types", "other"),
    [
        (["K", "K", "HANG", "HANG", "HANG", "HANG"], "2", {"HANG", "K"}, False),
        (["", "", "HANG", "", "HANG", ""], "0", {""}, True),
        (["LOST_CONNECTION"] * 3, "0", {"LOST_CONNECTION"}, False),
        (["LOST_CONNECTION", "LOST_CONNECTION", "K"], "2", {"K"}, True),
        (["HANG", "LOST_CONNECTION", "LOST_CONNECTION"], "1", {"LOST_CONNECTION", "HANG"}, False),
        (["A", "B", "C", "D"], "0", {"A", "B", "C"}, True),
    ],
)
def test_representative_crash(kinds: list[str], title: str, types: set[str], other: bool) -> None:
    found = representative_crash([(str(i), kind) for i, kind in enumerate(kinds)])
    assert found is not None
    assert (found.title, set(found.types), found.other) == (title, types, other)


def test_no_crash_has_no_representative() -> None:
    assert representative_crash([]) is None


@pytest.mark.parametrize("case", cases("verdict"))
def test_verdicts_of_the_corpus(case: Any) -> None:
    given_runs = case["input"]
    seen = Observation(
        0, passed=given_runs["good"], crashes={"A": given_runs["bad"]}, boot_failed=given_runs["skip"], infra=given_runs["infra"]
    )
    assert seen.total == given_runs["total"]
    verdict = decide(seen, SYZKALLER_RULE, flaky=given_runs["flaky"])
    assert (verdict.value if verdict else "infra error") == case["expect"]


@pytest.mark.parametrize("case", cases("representative_crash"))
def test_representative_crashes_of_the_corpus(case: Any) -> None:
    found = representative_crash([(title, kind) for title, kind in case["input"]])
    assert found is not None
    expect = case["expect"]
    assert (found.title, set(found.types), found.other) == (expect["report"], set(expect["types"]), expect["other"])


def test_clean_runs_that_never_got_there_make_no_commit_good() -> None:
    """By git's rule; syzkaller's own does not ask. A crash is a crash wherever it was."""
    for reached, verdict in ((True, Verdict.GOOD), (None, Verdict.GOOD), (False, Verdict.SKIP)):
        assert decide(Observation(1, passed=10, reached=reached), GIT_RULE) is verdict
        assert decide(Observation(1, passed=10, reached=reached), SYZKALLER_RULE) is Verdict.GOOD
    assert decide(Observation(1, passed=9, crashes={"BUG": 1}, reached=False), GIT_RULE, titles=["BUG"]) is Verdict.BAD


def test_depths_are_shares_of_all() -> None:
    """What is listed keeps its share, the rest lies further back: no release takes belief from those before it."""
    priors = Priors.default()
    p = priors.depths(500)
    assert p.sum() == pytest.approx(1.0, abs=1e-6)
    assert p[: len(priors.depth)].tolist() == pytest.approx(list(priors.depth))
    assert Priors(depth=(0.9, 0.3)).depths(9).tolist() == pytest.approx([0.75, 0.25, *[0.0] * 7])
