"""Priors from real bisections: `python -m kbench.study.fit FOLDER` writes data/priors.json. Read `fit` first.

In the file `priors` are those that `kbench.evidence.priors.Priors` reads, `measured` is all, each with what it counts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from kbench.errors import InputError
from kbench.evidence.priors import NEWEST
from kbench.evidence.titles import SAME_FUNCTION, SAME_KIND
from kbench.records import Verdict
from kbench.resources import data_dir
from kbench.search.suspects import SHARE
from kbench.study.estimators import fit_intervals, fit_mixture
from kbench.study.meanings import MEANINGS
from kbench.study.replayed import RUNS, Replayed, Spent, Tested, read_costs, read_revisions

SOURCE = (
    "1178 syzbot cause bisections, 2019-03 to 2023-03, 579 of them with a known culprit: Gu, Zhang, Cao, Tan, Yang, How well "
    "industry-level cause bisection works in real-world, FSE Companion 2024"
)
DEPTHS = 36  # releases back that are told apart; no log walks further
_BLOCKS = (1, 2, 3, 4, 5, 6, 8, 12, 24, DEPTHS)  # few culprits are further back: to there, releases are taken together
_OLDEST = 6  # v4.6, the oldest release tested in most of these logs, counted from v4.0
_MAJORS = {4: 0, 5: 21, 6: 41}  # place of v4.0, v5.0, v6.0 in that count: v4.20 and v5.19 were the last of their majors
# The logs tell what a bisection met, not what was there to be met: in worlds with so many times the silence measured, the policy
# of 2019 to 2023 meets as much as it did. Of a release but the first, and of a range.
_HIDDEN, _HIDDEN_RANGE = 1.1, 1.25
_PLAIN = ("touches", "other")  # commits that can be told by the files they touch
_P_ABSENT = 0.01  # at least: who starts a bisection has seen the bug before, but not every setup shows it

Figures = dict[str, Any]


def fit(bisections: Sequence[Replayed], times: Figures) -> Figures:
    """Return all figures, as the file has them."""
    known = [one for one in bisections if one.known]
    rate = _rate(known)
    measured: Figures = {
        "rate": rate,
        "drift": _drift(known),
        "own_title": _own_title(known),
        "intruder": {"all": _intruder(known, "BC"), "B": _intruder(known, "B"), "C": _intruder(known, "C")},
        "silence": _silence(known),
        "trace": _trace(known),
        "skip": {"B": _skip(bisections, "B"), "C": _skip(bisections, "C")},
        "depth": _depth(known),
        "not_reproduced": _not_reproduced(known, rate),
        "times": times,
    }
    explained = {name: {"about": MEANINGS[name]} | figures for name, figures in measured.items()}
    return {"source": SOURCE, "made_by": "kbench/study/fit.py", "priors": _flat(measured), "measured": explained}


def fit_times(costs: Sequence[Spent]) -> Figures:
    """Return what a build and a run take, as the file has it."""
    build = np.log([one.build_s / one.revisions for one in costs])
    run = np.log([one.test_s / one.revisions / RUNS for one in costs])
    return {
        "build": {"mu": _round(build.mean()), "sd": _round(build.std())},
        "run": {"mu": _round(run.mean()), "sd": _round(run.std())},
        "n": len(costs),
    }


def _flat(measured: Figures) -> Figures:
    # What these logs cannot tell (a silent stretch inside of a range, a good end somebody vouched for) keeps its default.
    rate, drift, title = measured["rate"], measured["drift"], measured["own_title"]
    skip, depth, trace = measured["skip"]["C"], measured["depth"], measured["trace"]
    # Fewer culprits are believed to touch the trace than do. What that takes from those that do and gives to the others, where
    # the bug falls silent is given as well: so that one against the other is weighed as measured.
    hedge = SHARE * trace["p_missed"] / trace["p"] + (1 - SHARE) * (1 - trace["p_missed"]) / (1 - trace["p"])
    return {
        "p_rate_one": rate["p_one"],
        "rate_a": rate["a"],
        "rate_b": rate["b"],
        "p_drift": drift["p"],
        "drift_a": drift["a"],
        "drift_b": drift["b"],
        "p_own_without": title["p_without"],
        "p_changed": title["p_bisection"],
        "p_intruder": measured["intruder"]["all"]["p_bisection"],
        "p_silent_range": _round(hedge * _HIDDEN_RANGE * measured["silence"]["p_range"]),
        "p_silent_release": _by_release(measured["silence"], hedge),
        "p_silent_suspect": _round(trace["p_missed"] / trace["p"] / hedge),
        "p_absent": measured["not_reproduced"]["p_absent"],
        "p_skip": skip["p_after_tested"],
        "p_skip_near": skip["p_after_skip"],
        "depth": depth["smooth"],
        "depth_tail": depth["tail"],
    }


def _rate(known: Sequence[Replayed]) -> Figures:
    first = [test for one in known for test in one.of("A") if test.crashed]
    crashed, total = [test.crashed for test in first], [test.crashed + test.clean for test in first]
    w, a, b = fit_mixture(crashed, total, [float(k == n) for k, n in zip(crashed, total, strict=True)])
    return {
        "p_one": _round(1 - w),
        "a": _round(a),
        "b": _round(b),
        "n": len(first),
    }


def _drift(known: Sequence[Replayed]) -> Figures:
    sure = [_shown(one) for one in known if _is_sure(one)]
    flaky = [test for one in known if not _is_sure(one) for test in _shown(one)]
    crashed = [test.crashed for tests in sure for test in tests]
    total = [test.crashed + test.clean for tests in sure for test in tests]
    w, a, b = fit_mixture(crashed, total, [float(k == n) for k, n in zip(crashed, total, strict=True)])
    steps = [(before.clean > 0, test.clean > 0) for tests in sure for before, test in pairwise(tests)]
    return {
        "p": _round(w),
        "a": _round(a),
        "b": _round(b),
        "p_again": _share(later for before, later in steps if before),
        "p_after_full": _share(later for before, later in steps if not before),
        "p_full_flaky": _share(not test.clean for test in flaky),
        "n": len(crashed),
    }


def _shown(one: Replayed) -> list[Tested]:
    return [test for test in _judged(one, "BC") if test.buggy and test.crashed]


def _own_title(known: Sequence[Replayed]) -> Figures:
    bad = [_shown(one) for one in known]
    steps = [(not before.own, not test.own) for tests in bad for before, test in pairwise(tests)]
    rows = [test for tests in bad for test in tests]
    free = [test for one in known for test in _judged(one, "BC") if test.buggy is False]
    return {
        "p": _share(test.own > 0 for test in rows),
        "p_changed": _share(not test.own for test in rows),
        "p_bisection": _share(any(not test.own for test in tests) for tests in bad if tests),
        "p_changed_releases": _share(not test.own for test in rows if test.stage == "B"),
        "p_changed_bisect": _share(not test.own for test in rows if test.stage == "C"),
        "p_changed_again": _share(later for before, later in steps if before),
        "p_changed_after_own": _share(later for before, later in steps if not before),
        "share": _round(sum(test.own for test in rows) / sum(test.crashed for test in rows if test.own)),
        "p_without": _share(test.own > 0 for test in free),
        "p_kind": _share(test.alike >= SAME_KIND for test in rows if not test.own),
        "p_function": _share(test.alike >= SAME_FUNCTION for test in rows if not test.own),
        "p_two": _share(len(test.titles) > 1 for one in known for test in one.of("A") if test.crashed),
        "n": len(rows),
    }


def _intruder(known: Sequence[Replayed], stages: str) -> Figures:
    met = [[test for test in _judged(one, stages) if test.buggy is False] for one in known]
    free = [test for tests in met for test in tests]
    alarms = [test for test in free if test.wrong]
    once = [test for test in alarms if test.crashed == 1 and test.clean >= 9]
    many = [test for test in alarms if test.crashed > 1]
    crashed, total = [test.crashed for test in many], [test.crashed + test.clean for test in many]
    _, a, b = fit_mixture(crashed, total, [1e-12] * len(many))
    failed = [one for one in known if one.reason == "T3" and one.failed_stage in tuple(stages)]
    later = [[test for test in one.tests if test.later and test.verdict is not Verdict.SKIP] for one in failed]
    shared = [
        bool(test.titles & first.titles)
        for one, tests in zip(failed, later, strict=True)
        for first in one.tests
        if first.wrong
        for test in tests
        if test.crashed
    ]
    return {
        "p": _share(test.wrong for test in free),
        "p_bisection": _share(any(test.wrong and not test.own for test in tests) for tests in met if tests),
        "p_once": _round(len(once) / len(alarms)),
        "a": _round(a),
        "b": _round(b),
        "p_own": _share(test.own > 0 for test in alarms),
        "p_kind": _share(test.alike >= SAME_KIND for test in alarms if not test.own),
        "p_function": _share(test.alike >= SAME_FUNCTION for test in alarms if not test.own),
        "p_next": _share(tests[0].crashed > 0 for tests in later if tests),
        "p_again": _share(test.crashed > 0 for tests in later for test in tests),
        "p_same_title": _share(shared),
        "n": len(free),
    }


def _silence(known: Sequence[Replayed]) -> Figures:
    sure = [one for one in known if _is_sure(one)]
    releases = [test for one in sure for test in _judged(one, "B") if test.buggy]
    by_depth = [[test.wrong for test in releases if _near(test.depth, depth)] for depth in range(1, 13)]
    bisected = [test for one in sure for test in _judged(one, "C") if test.buggy]
    right = [one for one in sure if one.of("C") and one.failed_stage != "B"]
    walked = [one for one in sure if any(test.buggy for test in _judged(one, "B"))]
    everyone = [test for one in known for test in _judged(one, "BC") if test.buggy]
    return {
        "p_release": _share(test.wrong for test in releases),
        "by_release": [_share(flags) for flags in by_depth],
        "hidden": {"later": _HIDDEN, "range": _HIDDEN_RANGE, "newest": NEWEST},
        "n_by_release": [len(flags) for flags in by_depth],
        "p_revision": _share(test.wrong for test in bisected),
        "p_range": _share(one.failed_stage == "C" and one.reason == "T2" for one in right),
        "p_walk": _share(any(test.wrong for test in one.of("B") if test.buggy) for one in walked),
        "p_all": _share(test.wrong for test in everyone),
        "n": len(releases) + len(bisected),
    }


def _trace(known: Sequence[Replayed]) -> Figures:
    ends = {
        "": [one for one in known if one.category == "correct"],
        "_missed": [one for one in known if one.category == "incorrect" and one.reason == "T2"],
        "_alarm": [one for one in known if one.category == "incorrect" and one.reason == "T3"],
    }
    touches = {f"p{name}": _share(one.named == "touches" for one in of if one.named in _PLAIN) for name, of in ends.items()}
    merges = [_share(one.named == "merge" for one in of if one.named) for of in ends.values()]
    return touches | {"merges": merges, "n": sum(one.named in _PLAIN for of in ends.values() for one in of)}


def _is_sure(one: Replayed) -> bool:
    # Did all runs of the original commit crash?
    return any(test.crashed and not test.clean for test in one.of("A"))


def _near(depth: int, wanted: int) -> bool:
    return depth == wanted if wanted < 12 else depth >= wanted


def _skip(bisections: Sequence[Replayed], stage: str) -> Figures:
    skips = [[test.verdict is Verdict.SKIP for test in one.of(stage)] for one in bisections if one.of(stage)]
    right = [[test.verdict is Verdict.SKIP for test in one.of(stage) if not test.later] for one in bisections if one.known]
    steps = [pair for flags in skips for pair in pairwise(flags)]
    shares = [float(np.mean(flags)) for flags in skips]
    return {
        "p_first": _share(flags[0] for flags in skips),
        "p_after_skip": _share(later for before, later in steps if before),
        "p_after_tested": _share(later for before, later in steps if not before),
        "p": _share(flag for flags in skips for flag in flags),
        "p_none": _share(not any(flags) for flags in skips),
        "shares": _tenths(shares),
        "shares_known": _tenths([float(np.mean(flags)) for flags in right if flags]),
        "p_after_tested_known": _share(later for flags in right for before, later in pairwise(flags) if not before),
        "n": sum(map(len, skips)),
    }


def _depth(known: Sequence[Replayed]) -> Figures:
    low, high, releases = [], [], []
    for one in known:
        walk = _judged(one, "B")
        if not walk:
            continue
        with_bug = [test.depth for test in walk if test.buggy]
        without = [test.depth for test in walk if test.buggy is False]
        low.append(max(with_bug, default=0))
        high.append(min(without, default=None))
        releases.append(_releases_before(one.version))
    p = fit_intervals(low, high, DEPTHS)
    reach = np.cumsum(p)[np.minimum(releases, DEPTHS) - 1]
    smooth = np.concatenate([np.full(end - start, p[start:end].mean()) for start, end in pairwise((0, *_BLOCKS))])
    # A geometric tail with the mean of what lies beyond; what is beyond the last cell counts as one cell further.
    mean = float((np.arange(len(p) - 6) * p[6:]).sum() / p[6:].sum())
    return {
        "smooth": [_round(share) for share in smooth],
        "tail": _round(mean / (1 + mean)),
        "all": [_round(share) for share in p],
        "p_older": _round(float(np.mean(1 - reach))),
        "releases": [round(n) for n in _tenths(releases)],
        "n": len(low),
    }


def _releases_before(version: str) -> int:
    # How many releases from the one before the original commit down to the oldest that can be tested.
    major, minor = (int(number) for number in version.removeprefix("v").split(".")[:2])
    return _MAJORS[major] + minor - _OLDEST + 1


def _not_reproduced(known: Sequence[Replayed], rate: Figures) -> Figures:
    from scipy.stats import betabinom

    runs = [test.crashed + test.clean for one in known for test in one.of("A") if test.verdict is not Verdict.SKIP]
    p_luck = (1 - rate["p_one"]) * float(np.mean(betabinom.pmf(0, runs, rate["a"], rate["b"])))
    p_clean = _share(one.failed_stage == "A" and one.reason == "T2" for one in known)
    return {
        "p_clean": p_clean,
        "p_luck": _round(p_luck),
        "p_absent": _round(max(p_clean - p_luck, _P_ABSENT)),
        "p_untested": _share(one.failed_stage == "A" and one.reason == "T1" for one in known),
        "n": len(known),
    }


def _judged(one: Replayed, stages: str) -> list[Tested]:
    # Tests whose truth is known, up to the first wrong verdict: what comes later was chosen by it.
    return [test for test in one.tests if test.stage in stages and test.buggy is not None and not test.later]


def _by_release(silence: dict[str, Any], hedge: float) -> list[float]:
    """P(silent) of the first release back, were it a whole one, and of each later one."""
    first, *later = silence["by_release"]
    return [_round(hedge * first / NEWEST), *(_round(hedge * _HIDDEN * p) for p in later)]


def _share(flags: Iterable[bool]) -> float:
    values = list(flags)
    return _round(np.mean(values)) if values else 0.0


def _tenths(values: Sequence[float]) -> list[float]:
    # The 5th, 15th, … 95th percentile: ten equally likely values.
    return [_round(value) for value in np.quantile(values, np.arange(0.05, 1, 0.1))]


def _round(value: Any) -> float:
    return round(float(value), 4)


def main(words: Sequence[str]) -> None:
    """Read the folder named, write data/priors.json."""
    if len(words) != 1:
        raise InputError("study: expected one folder with logs.tar.xz and truth.csv; name it")
    folder = Path(words[0])
    figures = fit(read_revisions(folder), fit_times(read_costs(folder)))
    (data_dir() / "priors.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
