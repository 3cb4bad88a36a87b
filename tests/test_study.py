"""Studies: worlds are what their kind says, runs are paired, costs and calibration add up, priors follow from the data."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kbench.errors import InputError
from kbench.evidence import Observation, Priors, decide
from kbench.records import Verdict
from kbench.resources import data_dir
from kbench.search import Costs
from kbench.study import WORLDS, Trial, World, WorldSpec, calibrate, compare, draw_world, run_trials, score, world_spec
from kbench.study.estimators import fit_intervals, fit_mixture
from kbench.study.fit import fit, fit_times
from kbench.study.graphs import draw_graph
from kbench.study.policies import RULE_2019
from kbench.study.replayed import read_costs, read_revisions
from kbench.study.worlds import TITLE, Laboratory

SHARED = Path(__file__).parents[1].parent / "shared" / "syzbot"
SMALL = replace(WORLDS["kernel"], commits=60)
NOISY = replace(WORLDS["noisy"], commits=200)
SYZBOT = replace(world_spec("syzbot"), commits=30)


def worlds(spec: WorldSpec, n: int = 60) -> list[World]:
    return [draw_world(spec, 1, number) for number in range(n)]


# Graphs.


def test_a_graph_merges_like_linux() -> None:
    graph = draw_graph(np.random.default_rng(0), [1000] * 5)
    parents = graph.history.parents
    assert 0.06 < np.mean([len(row) == 2 for row in parents]) < 0.1
    assert len(graph.tags) == 4 and list(graph.tags) == sorted(graph.tags, reverse=True)
    assert graph.history.ancestors(len(graph.history) - 1).all()


def test_some_branches_fork_off_before_the_release_before() -> None:
    graph = draw_graph(np.random.default_rng(0), [300] * 8)
    far = 0
    for tag in graph.tags:
        inside = graph.history.ancestors(tag)
        later = np.flatnonzero(~inside)
        far += sum(inside[parent] and parent < tag - 100 for commit in later for parent in graph.history.parents[commit])
    assert far > 0


def test_descendants_are_the_commits_that_contain_it() -> None:
    history = draw_graph(np.random.default_rng(2), [120]).history
    for commit in (0, 17, 60, 120):
        expected = [history.is_ancestor(commit, other) for other in range(len(history))]
        np.testing.assert_array_equal(history.descendants(commit), expected)


# Worlds and runs.


@pytest.mark.parametrize("spec", [SMALL, NOISY, SYZBOT], ids=lambda spec: str(spec.name))
def test_a_world_and_its_runs_are_fixed_by_their_numbers(spec: WorldSpec) -> None:
    one, same, other = draw_world(spec, 1, 4), draw_world(spec, 1, 4), draw_world(spec, 1, 5)
    assert one.history.parents == same.history.parents != other.history.parents
    assert Laboratory(one).observe(one.bad, 30) == Laboratory(same).observe(same.bad, 30)


def test_runs_are_the_same_in_whatever_order_and_portions() -> None:
    world = draw_world(NOISY, 3, 0)
    whole, parts = Laboratory(world), Laboratory(world)
    commits = np.flatnonzero(world.skip == 0)[[3, 90, -1]].tolist()
    at_once = {commit: whole.observe(commit, 12) for commit in commits}
    for runs in (5, 7):
        for commit in reversed(commits):
            seen = parts.observe(commit, runs)
            at_once[commit] = replace(at_once[commit], passed=at_once[commit].passed - seen.passed)
    assert all(seen.passed == 0 for seen in at_once.values())


def test_a_kernel_goes_on_where_another_commit_of_it_stopped() -> None:
    world = draw_world(replace(NOISY, rate=0.5, skips=0.0), 3, 0)
    noop = next(commit for commit in range(world.bad, 0, -1) if world.kernel[commit] != commit and world.buggy[commit])
    shared, alone = Laboratory(world), Laboratory(world)
    first, second = shared.observe(noop, 20), shared.observe(int(world.kernel[noop]), 20)
    assert first.signature == second.signature and first.crashes != second.crashes
    assert alone.observe(noop, 40).passed == first.passed + second.passed


def test_rates_and_false_alarms_are_those_of_the_kind() -> None:
    world = draw_world(replace(NOISY, rate=0.3, skips=0.0), 1, 1)
    with_bug, without = Laboratory(world).observe(world.bad, 4000), Laboratory(world).observe(0, 4000)
    assert with_bug.crashes[TITLE] == pytest.approx(0.3 * 4000, rel=0.1)
    assert TITLE not in without.crashes and without.crashed == pytest.approx(0.02 * 4000, rel=0.4)


def test_skips_and_noops_are_those_of_the_kind() -> None:
    for world in worlds(NOISY, 20):
        assert 0.03 < (world.skip > 0).mean() < 0.11
        testable = [world.culprit, world.bad, *world.history.parents[world.culprit]]
        assert not world.skip[testable].any()
        noops = world.kernel != np.arange(len(world.kernel))
        assert 0.3 < noops.mean() < 0.6 and not noops[world.culprit]
        np.testing.assert_array_equal(world.buggy, world.buggy[world.kernel])
        np.testing.assert_array_equal(world.skip, world.skip[world.kernel])


def test_the_prior_points_at_the_culprit_or_away() -> None:
    def prior(world: World) -> float:
        assert world.prior is not None
        return float(world.prior[world.culprit]) * len(world.history) / float(world.prior.sum())

    touching = [prior(world) > 2 for world in worlds(WORLDS["trace"], 40)]
    assert 0.4 < np.mean(touching) < 0.85
    assert not any(prior(world) > 2 for world in worlds(WORLDS["misleading"], 40))
    assert draw_world(replace(WORLDS["trace"], hands_prior=False), 0, 0).prior is None


def test_a_syzbot_world_has_releases_and_no_good_end() -> None:
    drawn = worlds(SYZBOT)
    for world in drawn:
        assert not world.good and list(world.tags) == sorted(world.tags, reverse=True)
        assert world.buggy[world.culprit] and world.buggy[world.bad]
        assert world.older == world.buggy[list(world.tags)].all()
        assert not (world.rate[~world.buggy] > 0).any()
    assert 0.05 < np.mean([world.older for world in drawn]) < 0.35
    silent = [(world.buggy & (world.rate == 0)).any() for world in drawn]
    assert 0.1 < np.mean(silent) < 0.6, "in some the reproducer does not get to the bug on old revisions"


def test_a_findable_culprit_is_what_all_runs_of_all_commits_tell() -> None:
    counts = Counter[tuple[bool, bool]]()
    for world in worlds(replace(SYZBOT, commits=8), 30):
        tested, history = world.skip == 0, world.history
        shows = tested & (world.rate > 0)
        # Commits that leave the bug on just the revisions that show it, by what can be tested from the oldest release on.
        inside = np.flatnonzero(history.candidates(world.bad, [world.tags[-1]])).tolist()
        fits = [commit for commit in inside if np.array_equal(history.descendants(commit) & tested, shows)]
        counts[world.findable, bool(shows[world.bad]) and fits == [world.culprit]] += 1
    assert counts[True, False] == 0
    assert counts[False, True] <= 2, "an untestable culprit is told only where branches leave it"
    assert min(counts[True, True], counts[False, False]) > 5


@pytest.mark.parametrize("change", [{"rate": 0.0}, {"rate": 2.0}, {"commits": 1}, {"skips": 1.0}, {"prior": 1.0}])
def test_numbers_out_of_range_are_named(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        replace(SMALL, **change)  # type: ignore[arg-type]  # that is the point


def test_unknown_names_are_told() -> None:
    with pytest.raises(InputError, match="'moon'"):
        world_spec("moon")
    with pytest.raises(InputError, match="'guess'"):
        compare(["git", "guess"], SMALL, trials=1)
    with pytest.raises(InputError, match="trials"):
        compare(["git"], SMALL, trials=0)


# Trials.


def test_the_laboratory_adds_up_what_was_paid() -> None:
    world, costs = draw_world(SMALL, 1, 1), Costs(build=100.0, run=10.0, width=4)
    laboratory = Laboratory(world)
    for commit, runs in ((3, 10), (3, 2), (4, 4)):
        laboratory.observe(commit, runs, width=costs.width)
    assert laboratory.hours(costs) == pytest.approx((200 + 160) / 3600)
    assert laboratory.hours(costs, wide=True) == pytest.approx((200 + 10 * (3 + 1 + 1)) / 3600)


def test_without_noise_every_strategy_is_right() -> None:
    for one in compare(["git", "syzkaller", "bayes"], SMALL, trials=10, jobs=1):
        assert (one.right, one.wrong, one.none) == (1.0, 0.0, 0.0), one.strategy


def test_git_misses_rare_bugs_and_is_seen_to() -> None:
    (one,) = compare(["git"], replace(SMALL, rate=0.1), trials=40, jobs=1)
    assert one.right < 0.6 and one.failed == {"A": 0.0, "B": 0.0, "C": 1.0}
    found = run_trials(["git"], replace(SMALL, rate=0.1), trials=40, jobs=1)
    assert {trial.failed_by for trial in found if trial.answer != "right"} == {"missed"}


def test_false_alarms_are_seen_to_be() -> None:
    spec = replace(SMALL, false_alarms=0.3)
    found = run_trials(["syzkaller-2019"], spec, trials=20, jobs=1)
    assert {trial.failed_by for trial in found if trial.answer == "wrong"} == {"false alarm"}
    assert sum(trial.answer == "wrong" for trial in found) > 10


def test_the_original_commit_is_told_and_paid_for() -> None:
    plain, told = (run_trials(["git"], spec, trials=5, jobs=1) for spec in (SMALL, replace(SMALL, first_runs=(20,))))
    assert [after.runs - before.runs for before, after in zip(plain, told, strict=True)] == [20] * 5
    assert [after.builds - before.builds for before, after in zip(plain, told, strict=True)] == [1] * 5


def test_a_search_that_spends_too_much_is_stopped() -> None:
    (found,) = run_trials(["git"], replace(SMALL, limit_h=0.5), trials=1, jobs=1)
    assert (found.outcome, found.answer) == ("budget spent", "none")


def test_processes_change_nothing() -> None:
    one, two = (run_trials(["git", "syzkaller"], NOISY, trials=4, jobs=jobs) for jobs in (1, 2))
    assert one == two


def test_the_policy_of_2019() -> None:
    crashed = {"any title": 1}
    assert decide(Observation(0, passed=9, crashes=crashed), RULE_2019, titles=["the bug"]) is Verdict.BAD
    assert decide(Observation(0, passed=4, boot_failed=6), RULE_2019) is Verdict.GOOD
    assert decide(Observation(0, passed=2, boot_failed=8), RULE_2019) is Verdict.SKIP


# Scores.


def trial(answer: str = "right", confidence: float = 0.9, **changes: object) -> Trial:
    fields = {
        "strategy": "s",
        "number": 0,
        "answer": answer,
        "outcome": "culprit",
        "truth": "in range",
        "outcome_right": answer == "right",
        "confidence": confidence,
        "listed": 1,
        "holds": answer == "right",
        "holds_90": answer == "right",
        "failed_stage": "" if answer == "right" else "C",
        "failed_by": "",
        "builds": 10,
        "runs": 100,
        "hours": 2.0,
        "hours_wide": 1.0,
    }
    return Trial(**(fields | changes))  # type: ignore[arg-type]  # checked by what follows


def test_a_score_adds_up() -> None:
    lists = [trial("none", outcome="inconclusive", listed=n, holds=n > 20, outcome_right=n > 20) for n in (20, 30, 40)]
    found = score([trial(), trial("wrong"), *lists], width=10)
    assert (found.right, found.wrong, found.none) == (0.2, 0.2, 0.6)
    assert (found.n_lists, found.listed) == (3, 30)
    assert found.lists_hold == pytest.approx(2 / 3)
    assert found.failed == {"A": 0, "B": 0, "C": 1}
    assert (found.builds, found.hours, found.hours_wide) == (10, 2, 1)


def test_calibration_by_hand() -> None:
    claims = [trial(confidence=0.9)] * 3 + [trial("wrong", confidence=0.9)] + [trial(confidence=0.6)]
    found = calibrate([*claims, trial("none", outcome="inconclusive"), trial("none", outcome="budget spent", holds_90=True)])
    assert (found.n, found.right) == (5, 0.8)
    assert found.said == pytest.approx(0.84)
    assert found.brier == pytest.approx((3 * 0.01 + 0.81 + 0.16) / 5)
    assert found.log_loss == pytest.approx(-(3 * np.log(0.9) + np.log(0.1) + np.log(0.6)) / 5)
    assert [(band.low, band.n, band.right) for band in found.bands] == [(0.5, 1, 1.0), (0.9, 4, 0.75)]
    assert found.bands[1].error == pytest.approx(0.15)
    assert found.n_sets == 6 and found.coverage_90 == pytest.approx(4 / 6)


def test_a_forecast_that_is_right_is_seen_to_be() -> None:
    rng = np.random.default_rng(0)
    said = rng.uniform(0.5, 1, 4000)
    found = calibrate([trial("right" if rng.random() < p else "wrong", confidence=float(p)) for p in said])
    assert all(abs(band.said - band.right) < 4 * band.error for band in found.bands)
    assert found.brier == pytest.approx(float((said * (1 - said)).mean()), abs=0.01)


# Estimates.


def test_a_mixture_is_found_again() -> None:
    rng = np.random.default_rng(1)
    rates = np.where(rng.random(4000) < 0.7, 1.0, rng.beta(2.0, 1.0, 4000))
    crashed = rng.binomial(20, rates)
    crashed = crashed[crashed > 0].tolist()
    w, a, b = fit_mixture(crashed, [20] * len(crashed), [float(k == 20) for k in crashed])
    np.testing.assert_allclose((w, a, b), (0.3, 2.0, 1.0), rtol=0.25)


def test_intervals_known_to_the_number_are_counted() -> None:
    numbers = [1, 1, 1, 2, 5]
    np.testing.assert_allclose(fit_intervals([n - 1 for n in numbers], list(numbers), 5), [0.6, 0.2, 0, 0, 0.2, 0], atol=1e-6)


def test_censored_intervals_go_where_the_others_are() -> None:
    p = fit_intervals([0, 0, 1, 2], [1, 1, None, 3], 4)
    np.testing.assert_allclose(p[[0, 1, 2]], [0.5, 0, 0.5], atol=0.01)


# Priors.


def test_the_priors_shipped_are_read() -> None:
    figures = json.loads((data_dir() / "priors.json").read_text(encoding="utf-8"))
    assert Priors.default() == Priors.from_json(figures["priors"])
    assert all("about" in figures["measured"][name] for name in figures["measured"])


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/syzbot")
def test_the_priors_shipped_follow_from_the_data() -> None:
    figures = json.loads((data_dir() / "priors.json").read_text(encoding="utf-8"))
    again = json.loads(json.dumps(fit(read_revisions(SHARED), fit_times(read_costs(SHARED)))))
    assert again == figures


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/syzbot")
def test_real_bisections_keep_their_published_counts() -> None:
    known = [one for one in read_revisions(SHARED) if one.known]
    assert len(known) == 579
    counts = [sum(one.category == category for one in known) for category in ("correct", "incorrect", "no output")]
    assert counts == [189, 242, 148]
    assert sum(test.wrong for one in known for test in one.tests) == 308, (
        "two first wrong verdicts are on revisions without a run"
    )
