"""Flakiness: intervals, sample sizes, sequential tests, comparisons, drift, spread between machines, the closing proof."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise, permutations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from kbench.errors import InputError
from kbench.flakiness import (
    SequentialTest,
    clean_runs,
    compare,
    drift,
    interleaved,
    overdispersion,
    power,
    rate,
    runs_for_power,
    runs_for_width,
)
from kbench.flakiness.proof import time_p_value
from kbench.flakiness.rates import IntervalMethod
from kbench.records import Verdict

WRONG: Any = "wrong"
METHODS: list[IntervalMethod] = ["wilson", "jeffreys", "clopper-pearson"]


def test_import_is_light() -> None:
    code = "import sys, kbench.flakiness; print('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rate(3, 2), "rate: need 0 <= crashed"),
        (lambda: rate(-1, 2), "rate: need 0 <= crashed"),
        (lambda: rate(1, 2, level=95), "rate: need 0 < level < 1, got 95; give a share"),
        (lambda: rate(1, 2, method=WRONG), "rate: need a method of wilson, jeffreys, clopper-pearson, got 'wrong'"),
        (lambda: clean_runs(0.0), "clean runs: need 0 < crash rate"),
        (lambda: clean_runs(0.5, miss=0), "clean runs: need 0 < miss"),
        (lambda: runs_for_width(0), "runs for width: need 0 < width"),
        (lambda: runs_for_width(0.1, crash_rate=2), "runs for width: need a crash rate"),
        (lambda: SequentialTest(0.3, 0.3), "sequential test: need 0 <= rate_good < rate_bad"),
        (lambda: SequentialTest(0.1, 0.3, alpha=0.5, beta=0.5), r"alpha \+ beta < 1"),
        (lambda: SequentialTest(0.1, 0.3, max_runs=0), "max_runs of 1 or more"),
        (lambda: SequentialTest(0.1, 0.3).operating(1.1), "a crash rate from 0 to 1"),
        (lambda: compare((1, 2), (0, 0)), "compare: need 1 run or more of each, got 0"),
        (lambda: compare((1, 2), (0, 2), test=WRONG), "compare: need test one of boschloo"),
        (lambda: compare((1, 2), (0, 2), alternative=WRONG), "compare: need alternative one of two-sided"),
        (lambda: power(0.1, 0.1, 9), "power: need two different rates"),
        (lambda: power(0.1, 1.1, 9), "power: need rates from 0 to 1"),
        (lambda: power(0.1, 0.2, 0), "power: need 1 run"),
        (lambda: power(0.1, 0.2, 9, test=WRONG), "power: need a test of boschloo, fisher"),
        (lambda: runs_for_power(0.1, 0.11, max_runs=50), "power: need 0.8 within 50 runs each"),
        (lambda: drift([(1, 2), (3, 4)], [1]), "drift: need a position for each of 2"),
        (lambda: drift([(1, 2), (3, 4)], [0.1, 0.1]), "drift: need revisions at two positions"),
        (lambda: drift([(1, 2), (0, 0)]), "drift: need 2 revisions"),
        (lambda: overdispersion([(1, 2)]), "overdispersion: need 2 machines"),
        (lambda: overdispersion([(1, 1), (0, 1)]), "overdispersion: need a machine with two runs"),
        (lambda: interleaved([("parent", False)]), "got none of culprit"),
        (lambda: interleaved([(WRONG, False)]), "got 'wrong'"),
        (lambda: interleaved([], kind=WRONG), "need kind cause or fix"),
    ],
)
def test_refuses_what_makes_no_sense(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


# --- rates -----------------------------------------------------------------------------------------------------------


def test_rate_prints_estimate_and_interval() -> None:
    assert str(rate(7, 20)) == "0.35 [0.18, 0.57] 95%"
    assert str(rate(7, 20, level=0.995, method="jeffreys")) == "0.35 [0.12, 0.66] 99.5%"


def test_rate_of_no_runs_says_nothing() -> None:
    found = rate(0, 0)
    assert math.isnan(found.estimate)
    assert (found.n, found.k, found.low, found.high) == (0, 0, 0, 1)


@settings(deadline=None)  # the first call imports scipy
@given(total=st.integers(1, 300), share=st.floats(0, 1), level=st.sampled_from([0.8, 0.95]))
def test_intervals_solve_their_equations(total: int, share: float, level: float) -> None:
    """Wilson: each end p is z standard errors of p away from the estimate. Clopper and Pearson: P(so few, so many | end)
    is half of the rest. Jeffreys: half of the rest of the posterior lies beyond each end."""
    k, rest = round(share * total), (1 - level) / 2
    wilson, jeffreys, exact = (rate(k, total, method=method, level=level) for method in METHODS)
    for found in (wilson, jeffreys, exact):
        assert 0 <= found.low <= found.estimate <= found.high <= 1
    for end in (wilson.low, wilson.high):
        if 1e-9 < end < 1 - 1e-9:
            assert abs(k / total - end) / (end * (1 - end) / total) ** 0.5 == pytest.approx(stats.norm.isf(rest), rel=1e-4)
    if k > 0:
        assert stats.binom.sf(k - 1, total, exact.low) == pytest.approx(rest, rel=1e-6)
        assert stats.beta.cdf(jeffreys.low, k + 0.5, total - k + 0.5) == pytest.approx(rest, rel=1e-6)
    if k < total:
        assert stats.binom.cdf(k, total, exact.high) == pytest.approx(rest, rel=1e-6)
        assert stats.beta.sf(jeffreys.high, k + 0.5, total - k + 0.5) == pytest.approx(rest, rel=1e-6)


@pytest.mark.parametrize(
    ("method", "k", "n", "low", "high"),
    [  # Newcombe (1998), Statistics in Medicine 17, 857-872, table I; the last: Brown, Cai and DasGupta (2001), table 5
        ("wilson", 81, 263, 0.2553, 0.3662),
        ("wilson", 15, 148, 0.0624, 0.1605),
        ("wilson", 0, 20, 0.0, 0.1611),
        ("wilson", 1, 29, 0.0061, 0.1718),
        ("clopper-pearson", 81, 263, 0.2527, 0.3676),
        ("clopper-pearson", 15, 148, 0.0578, 0.1617),
        ("clopper-pearson", 0, 20, 0.0, 0.1684),
        ("clopper-pearson", 1, 29, 0.0009, 0.1776),
        ("jeffreys", 2, 10, 0.044, 0.503),
    ],
)
def test_published_intervals(method: IntervalMethod, k: int, n: int, low: float, high: float) -> None:
    found = rate(k, n, method=method)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-4 if method == "jeffreys" else 5.1e-5)


@pytest.mark.parametrize("n", [10, 50])
def test_intervals_hold_their_level(n: int) -> None:
    """Coverage without chance: sum P(k) over the intervals that hold the true rate."""
    true = np.linspace(0.01, 0.99, 197)
    pmf = stats.binom.pmf(np.arange(n + 1)[:, None], n, true)
    coverage = {}
    for method in METHODS:
        ends = np.array([(rate(k, n, method=method).low, rate(k, n, method=method).high) for k in range(n + 1)])
        coverage[method] = (pmf * ((ends[:, :1] <= true) & (true <= ends[:, 1:]))).sum(axis=0)
    assert coverage["clopper-pearson"].min() >= 0.95
    assert coverage["wilson"].mean() == pytest.approx(0.95, abs=0.01)
    assert coverage["jeffreys"].mean() == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("crash_rate", "miss", "n"),
    [
        (0.05, 0.05, 59),
        (0.01, 0.05, 299),
        (0.3, 0.05, 9),
        (0.5, 0.001, 10),
        (1.0, 0.01, 1),
    ],
)
def test_clean_runs(crash_rate: float, miss: float, n: int) -> None:
    """59 and 299 are the sample sizes of Wilks (1941) for one-sided 95/95 and 99/95 tolerance limits."""
    found = clean_runs(crash_rate, miss=miss)
    assert found.n == n
    assert found.miss == pytest.approx((1 - crash_rate) ** n)
    assert found.miss <= miss
    assert n == 1 or (1 - crash_rate) ** (n - 1) > miss


def test_clean_runs_of_an_uncertain_rate() -> None:
    """The risk is the average of (1 - p)^n over the posterior; the less is known, the more runs."""
    found = clean_runs(rate(3, 10))
    posterior = stats.beta(3.5, 7.5)
    average = integrate.quad(lambda p: posterior.pdf(p) * (1 - p) ** found.n, 0, 1)[0]
    assert found.miss == pytest.approx(average, rel=1e-6)
    assert clean_runs(0.3).n < clean_runs(rate(300, 1000)).n + 1 <= found.n
    assert str(clean_runs(0.3)) == "9 clean runs miss a crash rate of 0.3 in 4%"
    assert str(found) == "12 clean runs miss a crash rate of 0.30 [0.11, 0.60] 95% in 4.8%"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("width", "crash_rate"), [(0.3, 0.5), (0.25, 0.1), (0.25, 0.93), (0.2, 0.0), (0.99, 0.5)])
def test_runs_for_width(method: IntervalMethod, width: float, crash_rate: float) -> None:
    """From there on every interval fits, and one run fewer does not."""
    n = runs_for_width(width, crash_rate=crash_rate, method=method)

    def seen(total: int) -> float:
        few, many = math.floor(crash_rate * total + 1e-9), math.ceil(crash_rate * total - 1e-9)
        k = min((few, many), key=lambda k: abs(k - total / 2))
        return (found := rate(k, total, method=method)).high - found.low

    assert all(seen(total) <= width for total in range(n, 2 * n + 20))
    assert n == 1 or seen(n - 1) > width


# --- the sequential test ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.2, 0.4, 0.5, 0.6, 0.9])
def test_sequential_test_is_the_gamblers_ruin(p: float) -> None:
    """Rates 0.4 and 0.6 make every run a step of one: chance and length of the ruin are Feller (1968), XIV (2.4), (3.4)."""
    steps, odds = 5, (1 - p) / p
    alpha = 1 / (1 + 1.5**steps)
    found = SequentialTest(0.4, 0.6, alpha=alpha, beta=alpha).operating(p)
    p_up = 1 / (1 + odds**steps)
    length = steps**2 if p == 0.5 else (2 * steps * p_up - steps) / (2 * p - 1)
    assert (found.p_bad, found.p_good, found.mean_runs) == pytest.approx((p_up, 1 - p_up, length), rel=1e-8)


@pytest.mark.parametrize("ends", [(0.02, 0.3), (0.0, 0.3), (0.1, 1.0), (0.0, 1.0), (0.3, 0.5)])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.45, 1.0])
def test_truncated_test_equals_brute_force(ends: tuple[float, float], p: float) -> None:
    """All orders of ten runs, told one by one."""
    mean, p_bad, lengths = 0.0, 0.0, np.zeros(11)
    for order in product((False, True), repeat=10):
        test, n = SequentialTest(*ends, alpha=0.1, beta=0.1, max_runs=10), 0
        for crashed in order:
            test.tell(crashed)
            n += test.decision is None
        chance = p ** sum(order) * (1 - p) ** (10 - sum(order))
        mean += chance * (n + 1)
        lengths[n + 1] += chance
        p_bad += chance * (test.decision is Verdict.BAD)
    found = SequentialTest(*ends, alpha=0.1, beta=0.1, max_runs=10).operating(p)
    assert (found.mean_runs, found.p_bad, found.p_good) == pytest.approx((mean, p_bad, 1 - p_bad), abs=1e-9)
    assert found.runs_95 == np.flatnonzero(lengths.cumsum() >= 0.95 - 1e-12)[0]


@settings(deadline=None, max_examples=60)
@given(
    rates=st.tuples(st.floats(0.0, 0.4), st.floats(0.1, 1.0)).filter(lambda ends: ends[1] - ends[0] > 0.08),
    alpha=st.floats(0.001, 0.2),
    beta=st.floats(0.001, 0.2),
)
def test_errors_keep_walds_inequalities(rates: tuple[float, float], alpha: float, beta: float) -> None:
    """Wald (1945), (3.27) to (3.30): neither error passes its bound by much, nor their sum by anything."""
    test = SequentialTest(*rates, alpha=alpha, beta=beta)
    false_bad, false_good = test.operating(rates[0]).p_bad, test.operating(rates[1]).p_good
    assert false_bad <= alpha / (1 - beta) + 1e-9
    assert false_good <= beta / (1 - alpha) + 1e-9
    assert false_bad + false_good <= alpha + beta + 1e-9


def test_sequential_test_keeps_its_errors_and_length_in_simulation() -> None:
    rng, trials = np.random.default_rng(2), 2000
    for p in (0.05, 0.4):
        bad, lengths = 0, []
        for _ in range(trials):
            test = SequentialTest(0.05, 0.4)
            while test.decision is None:
                test.tell(rng.random() < p)
            bad += test.decision is Verdict.BAD
            lengths.append(test.n)
        expected = SequentialTest(0.05, 0.4).operating(p)
        assert abs(bad / trials - expected.p_bad) < 4 * (expected.p_bad * expected.p_good / trials) ** 0.5
        assert np.mean(lengths) == pytest.approx(expected.mean_runs, abs=4 * np.std(lengths) / trials**0.5)
        assert np.mean(np.array(lengths) <= expected.runs_95) >= 0.94
        assert (expected.p_bad if p < 0.1 else expected.p_good) <= 0.055


def test_sequential_test_needs_fewer_runs_than_a_fixed_number() -> None:
    """The fixed test with the same errors that takes the fewest runs is the binomial one."""
    test = SequentialTest(0.05, 0.4)
    good, bad = test.operating(0.05), test.operating(0.4)
    fixed = next(
        n
        for n in range(1, 100)
        if any(stats.binom.sf(c, n, 0.05) <= good.p_bad and stats.binom.cdf(c, n, 0.4) <= bad.p_good for c in range(n))
    )
    assert max(good.mean_runs, bad.mean_runs) < fixed


@pytest.mark.parametrize(("order", "decision"), [([0, 1, 0, 1], Verdict.GOOD), ([0, 1, 0, 1, 1], Verdict.BAD)])
def test_at_the_limit_the_likelier_is_taken(order: list[int], decision: Verdict) -> None:
    """Rates 0.3 and 0.7: with two crashes of four both are equally likely, and the verdict is good."""
    test = SequentialTest(0.3, 0.7, alpha=0.01, beta=0.01, max_runs=len(order))
    for crashed in order:
        assert test.decision is None
        test.tell(bool(crashed))
    assert test.decision is decision


def test_decision_stays() -> None:
    test = SequentialTest(0.02, 0.3)
    assert str(test) == "0:0, undecided (rate 0.02 or 0.3, alpha 0.05, beta 0.05)"
    for crashed in (False, True, True, *[False] * 50):
        test.tell(crashed)
    assert (test.decision, test.k, test.n) == (Verdict.BAD, 2, 53)
    assert str(test) == "2:53, bad (rate 0.02 or 0.3, alpha 0.05, beta 0.05)"
    point = SequentialTest(0.02, 0.3).operating(0.3)
    assert str(point) == "rate 0.3: bad in 95.2%, good in 4.78%, after 7.0 runs, in 95% at most 17"


# --- two rates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),  # Newcombe (1998), Statistics in Medicine 17, 873-890, table II, method 10
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_difference_has_newcombes_interval(first: tuple[int, int], second: tuple[int, int], low: float, high: float) -> None:
    found = compare(first, second)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    turned = compare(second, first)
    assert (turned.low, turned.high) == pytest.approx((-high, -low), abs=5e-5)
    assert turned.p_value == pytest.approx(found.p_value, rel=1e-3)


def test_comparison_on_published_tables() -> None:
    """Fisher's tea (1935), and Mehta and Senchaudhuri (2003), Conditional versus unconditional exact tests: 7:15 and 12:15."""
    assert compare((3, 4), (1, 4), test="fisher", alternative="greater").p_value == pytest.approx(17 / 70)
    assert compare((7, 15), (12, 15), test="fisher", alternative="less").p_value == pytest.approx(0.064, abs=5e-4)
    assert compare((7, 15), (12, 15), test="barnard", alternative="less").p_value == pytest.approx(0.034, abs=5e-4)


@pytest.mark.parametrize("tables", [((3, 6), (0, 4)), ((5, 5), (2, 7)), ((2, 3), (2, 9)), ((4, 8), (1, 8))])
def test_boschloo_equals_brute_force(tables: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """The largest P(Fisher's p as small), over all rates the two may share."""
    (k, n), (j, m) = tables

    def fisher(a: int, b: int) -> float:
        return float(stats.hypergeom.sf(a - 1, n + m, a + b, n))

    common = np.linspace(0, 1, 4001)
    extreme = [(a, b) for a in range(n + 1) for b in range(m + 1) if fisher(a, b) <= fisher(k, j) * (1 + 1e-9)]
    chance = np.zeros_like(common)
    for a, b in extreme:
        chance += stats.binom.pmf(a, n, common) * stats.binom.pmf(b, m, common)
    assert compare(*tables, alternative="greater").p_value == pytest.approx(chance.max(), rel=1e-4)
    assert compare(*tables, alternative="greater").p_value <= compare(*tables, test="fisher", alternative="greater").p_value


def test_comparison_reads_well() -> None:
    found = compare((41, 60), (0, 120), alternative="greater")
    assert str(found) == "41:60 against 0:120, difference 0.68 [0.55, 0.79] 95%, p 8.2e-27"


# --- power -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("test", "two_sided"), [("boschloo", True), ("boschloo", False), ("fisher", False)])
def test_power_equals_brute_force(test: Any, two_sided: bool) -> None:
    """Every table of six runs each through `compare`; its probability, if the test rejects there."""
    n, first, second = 6, 0.15, 0.85
    alternative: Any = "two-sided" if two_sided else "less"
    rejected = sum(
        stats.binom.pmf(a, n, first) * stats.binom.pmf(b, n, second)
        for a, b in product(range(n + 1), repeat=2)
        if compare((a, n), (b, n), test=test, alternative=alternative).p_value <= 0.05
    )
    assert 0.3 < rejected < 0.95
    assert power(first, second, n, test=test, two_sided=two_sided).power == pytest.approx(rejected, abs=1e-9)
    assert power(second, first, n, test=test, two_sided=two_sided).power == pytest.approx(rejected, abs=1e-9)


@pytest.mark.parametrize("n", [7, 20, 60])
@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_size_is_kept_and_better_used_than_by_fisher(n: int, alpha: float) -> None:
    """Rates that hardly differ: the power is the size, at most alpha whatever the rate."""
    for p in np.linspace(0.01, 0.98, 30):
        boschloo, fisher = (power(p, p + 1e-9, n, alpha=alpha, test=test).power for test in ("boschloo", "fisher"))
        assert fisher <= boschloo <= alpha * (1 + 1e-6)


@pytest.mark.parametrize(("first", "second"), [(0.02, 0.4), (0.0, 0.25), (0.35, 0.1)])
def test_runs_for_power_is_the_smallest_number(first: float, second: float) -> None:
    found = runs_for_power(first, second)
    assert found.power >= 0.8
    assert all(power(first, second, n).power < 0.8 for n in range(1, found.n))


def test_power_in_simulation() -> None:
    """Share of simulated pairs that the test of `compare` tells apart."""
    rng, plan = np.random.default_rng(3), runs_for_power(0.1, 0.7)
    pairs = rng.binomial(plan.n, [0.1, 0.7], size=(4000, 2))
    p_values = {(a, b): compare((a, plan.n), (b, plan.n)).p_value for a, b in {(int(a), int(b)) for a, b in pairs}}
    assert np.mean([p_values[int(a), int(b)] <= 0.05 for a, b in pairs]) == pytest.approx(plan.power, abs=0.025)
    assert str(runs_for_power(0.4, 0.02, two_sided=False)) == "14 runs each tell 0.02 from 0.4 with power 0.82, alpha 0.05"


# --- drift -----------------------------------------------------------------------------------------------------------


def test_drift_on_a_published_table() -> None:
    """Agresti (2002), Categorical Data Analysis, 3.4.4: alcohol and malformation; X2 = 12.1 on 4 degrees, M2 = 6.57."""
    found = drift([(48, 17114), (38, 14502), (5, 793), (1, 127), (1, 38)], [0, 0.5, 1.5, 4, 7])
    assert stats.chi2.isf(found.p_trend, 1) == pytest.approx(6.57, abs=0.005)
    assert stats.chi2.isf(found.p_equal, 4) == pytest.approx(12.1, abs=0.05)
    assert str(found).startswith("93:32574 over 5 revisions, slope 0.0017 [")


@settings(deadline=None)
@given(one=st.tuples(st.integers(1, 9), st.integers(10, 40)), two=st.tuples(st.integers(0, 9), st.integers(10, 40)))
def test_drift_of_two_revisions_is_their_difference(one: tuple[int, int], two: tuple[int, int]) -> None:
    """With two groups trend and heterogeneity are one and the same; the unit of position only scales the slope."""
    found = drift([one, (0, 0), two], [3, 4, 13])
    assert found.slope == pytest.approx((two[0] / two[1] - one[0] / one[1]) / 10)
    assert found.p_trend == pytest.approx(found.p_equal, rel=1e-6)
    assert (found.n_revisions, found.n, found.k) == (2, one[1] + two[1], one[0] + two[0])


def test_no_drift_where_all_runs_agree() -> None:
    for counts in ([(0, 10)] * 5, [(10, 10)] * 5):
        assert (drift(counts).slope, drift(counts).p_trend, drift(counts).p_equal) == (0, 1, 1)


def test_drift_keeps_its_level_and_finds_the_slope() -> None:
    rng = np.random.default_rng(4)
    found = [drift([(int(k), 10) for k in rng.binomial(10, 0.3, size=8)]) for _ in range(1500)]
    for p_values in ([one.p_trend for one in found], [one.p_equal for one in found]):
        assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.02)
    assert all((one.low <= 0 <= one.high) == (one.p_trend >= 0.05) for one in found)
    rising = [drift([(int(k), 10) for k in rng.binomial(10, np.linspace(0.2, 0.55, 8))]) for _ in range(300)]
    assert np.mean([one.slope for one in rising]) == pytest.approx(0.05, abs=0.003)
    assert np.mean([one.low <= 0.05 <= one.high for one in rising]) == pytest.approx(0.95, abs=0.03)


# --- spread between machines -----------------------------------------------------------------------------------------

# Boys among the first 12 children of 6115 families in Saxony, 1876 to 1885: Geissler (1889); Lindsey and Altham (1998),
# Analysis of the human sex ratio by using overdispersion models, Applied Statistics 47, 149-157.
BOYS = [3, 24, 104, 286, 670, 1033, 1343, 1112, 829, 478, 181, 45, 7]


def test_overdispersion_on_a_published_table() -> None:
    """Maximum likelihood at 34.096, 31.572; -2 log likelihood falls from 25068.34 to 24985.74."""
    found = overdispersion([(boys, 12) for boys, families in enumerate(BOYS) for _ in range(families)])
    assert (found.alpha, found.beta) == pytest.approx((34.096, 31.572), rel=1e-3)
    assert (found.n, found.k, found.n_machines) == (73380, 38100, 6115)
    assert 0.5 * stats.chi2.sf(25068.34 - 24985.74, 1) == pytest.approx(found.p_value, rel=0.01)


@pytest.mark.parametrize("counts", [[(9, 10), (2, 10), (8, 10), (10, 10), (3, 9)], [(1, 4), (3, 4), (0, 7), (2, 2)]])
def test_fit_is_the_highest_point_of_the_likelihood(counts: list[tuple[int, int]]) -> None:
    k, n = np.array(counts).T
    found = overdispersion(counts)

    def log_likelihood(mean: float, rho: float) -> float:
        scale = (1 - rho) / rho
        return float(stats.betabinom.logpmf(k, n, mean * scale, (1 - mean) * scale).sum())

    best = log_likelihood(found.mean, found.rho)
    grid = np.linspace(0.01, 0.99, 99)
    assert all(log_likelihood(mean, rho) <= best + 1e-7 for mean in grid for rho in grid)
    gain = best - stats.binom.logpmf(k, n, k.sum() / n.sum()).sum()
    assert found.p_value == pytest.approx(0.5 * stats.chi2.sf(2 * gain, 1), rel=1e-5)


def test_overdispersion_at_its_ends() -> None:
    alike = overdispersion([(5, 10), (5, 10), (5, 10)])
    assert (alike.rho, alike.p_value, alike.effective_runs, alike.alpha, alike.beta) == (0, 1, 30, math.inf, math.inf)
    apart = overdispersion([(10, 10), (0, 10), (10, 10), (0, 0)])
    assert (apart.mean, apart.rho, apart.effective_runs) == pytest.approx((2 / 3, 1, 3), rel=1e-4)
    silent = overdispersion([(0, 10), (0, 10)])
    assert (silent.mean, silent.rho, silent.p_value) == (0, 0, 1)
    assert str(overdispersion([(9, 10), (2, 10), (8, 10), (10, 10), (3, 10), (9, 10)])) == (
        "41:60 on 6 machines, mean 0.68, correlation 0.32, p 7.7e-05; worth 15 independent runs"
    )


def test_overdispersion_recovers_the_truth_and_keeps_its_level() -> None:
    rng = np.random.default_rng(5)
    found = overdispersion([(int(k), 20) for k in rng.binomial(20, rng.beta(2, 3, size=400))])
    assert (found.mean, found.rho) == pytest.approx((0.4, 1 / 6), abs=0.03)
    false = [overdispersion([(int(k), 15) for k in rng.binomial(15, 0.3, size=12)]).p_value < 0.05 for _ in range(150)]
    assert np.mean(false) <= 0.08


def test_effective_runs_give_the_spread_of_the_mean() -> None:
    """The mean over machines varies as that of so many independent runs would."""
    rng = np.random.default_rng(6)
    means = rng.binomial(10, rng.beta(2, 3, size=(20000, 6))).sum(axis=1) / 60
    effective = 60 / (1 + 9 / 6)  # rho = 1 / (2 + 3 + 1)
    assert np.var(means) == pytest.approx(0.24 / effective, rel=0.05)
    counts = [(int(k), 10) for k in rng.binomial(10, rng.beta(2, 3, size=3000))]
    assert overdispersion(counts).effective_runs == pytest.approx(500 * effective, rel=0.07)


# --- the closing proof -----------------------------------------------------------------------------------------------


def in_turns(culprit: list[bool], *, reverted: bool = True) -> list[Any]:
    roles = ("parent", "culprit", "reverted") if reverted else ("parent", "culprit")
    return [(role, role == "culprit" and crashed) for crashed in culprit for role in roles]


def test_proof_reads_as_counts() -> None:
    crashed = (np.random.default_rng(7).permutation(60) < 41).tolist()
    found = interleaved(in_turns(crashed))
    assert str(found) == "parent 0:60, culprit 41:60, reverted 0:60"
    assert found.p_value == compare((41, 60), (0, 120), alternative="greater").p_value < 1e-25
    assert found.sentence() == "parent 0:60, culprit 41:60, reverted 0:60, p 8.2e-27"
    short = interleaved(in_turns(crashed, reverted=False))
    assert str(short) == "parent 0:60, culprit 41:60"
    assert short.p_others is None


def test_proof_of_a_fix_looks_the_other_way() -> None:
    runs: list[Any] = [(role, role != "culprit") for _ in range(20) for role in ("parent", "culprit", "reverted")]
    assert str(interleaved(runs, kind="fix")) == "parent 20:20, culprit 0:20, reverted 20:20"
    assert interleaved(runs, kind="fix").p_value < 1e-12
    assert interleaved(runs).p_value > 0.99


def test_proof_names_what_speaks_against_it() -> None:
    runs: list[Any] = in_turns([False] * 30 + [True] * 30)
    assert "; results depend on time, p " in interleaved(runs).sentence()
    runs = [(role, role != "parent") for _ in range(20) for role in ("parent", "culprit", "reverted")]
    assert "; parent and reverted differ, p " in interleaved(runs).sentence()


@pytest.mark.parametrize("parts", [("aaabb",), ("aaaabbb",), ("ab", "aab"), ("aabb", "abbb"), ("aaaa", "abb"), ("a", "")])
def test_time_equals_brute_force(parts: tuple[str, ...]) -> None:
    """All orders of each sequence: how many have so few, and so many, changes; and the test never rejects too often."""
    orders = [set(permutations([letter == "b" for letter in part])) for part in parts]
    together = list(product(*orders))

    def changes(sequences: tuple[tuple[bool, ...], ...]) -> int:
        return sum(a != b for sequence in sequences for a, b in pairwise(sequence))

    all_changes = np.array([changes(sequences) for sequences in together])
    p_values = np.array([time_p_value(sequences) for sequences in together])
    for seen, p_value in zip(all_changes, p_values):
        tails = np.mean(all_changes <= seen), np.mean(all_changes >= seen)
        assert p_value == pytest.approx(min(1, 2 * min(tails)))
    assert all(np.mean(p_values <= p) <= p + 1e-12 for p in p_values)


def test_time_finds_a_machine_that_warms_up() -> None:
    rng, warm = np.random.default_rng(8), np.repeat([0.1, 0.9], 30)
    assert np.mean([time_p_value([(rng.random(60) < warm).tolist()]) < 0.05 for _ in range(100)]) > 0.9
    assert np.mean([time_p_value([(rng.random(60) < 0.5).tolist()]) < 0.05 for _ in range(400)]) < 0.07
