"""Before a bisection: rates follow from what was seen, simulated searches add up, advice says what the figures say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kbench import lab
from kbench.errors import InputError
from kbench.evidence import Priors
from kbench.evidence.priors import LOWEST_RATE
from kbench.history import History
from kbench.search import Costs
from kbench.study.advice import best
from kbench.study.preflight import MAX_COMMITS, MIN_TRIALS, Outlook, Preflight, draw_rates, preflight

COSTS = Costs(build=100.0, run=10.0, width=4)
LINE = History.from_parents([(), *((commit,) for commit in range(64))])


def rates(seen: tuple[int, int], n: int = 4000) -> np.ndarray:
    return draw_rates(seen, n, np.random.default_rng(0))


def outlook(found: Preflight, strategy: str) -> Outlook:
    return next(one for one in found.outlooks if one.strategy == strategy)


# Rates.


@pytest.mark.parametrize("seen", [(1, 20), (4, 20), (13, 20), (2, 3), (19, 20)])
def test_rates_have_the_posterior_of_the_mixed_prior(seen: tuple[int, int]) -> None:
    """Against brute force on a fine grid, even in the angle: both densities grow without bound at 0 and 1."""
    priors, (k, n) = Priors.default(), seen
    angle = (np.arange(200_000) + 0.5) / 200_000 * np.pi / 2
    grid, width = np.sin(angle) ** 2, 2 * np.sin(angle) * np.cos(angle)
    real = grid ** (priors.rate_a - 1) * (1 - grid) ** (priors.rate_b - 1) * width
    even = grid**-0.5 * (1 - grid) ** -0.5 * width
    prior = (1 - priors.p_rate_one) * real / real.sum() + even / even.sum()
    posterior = prior * grid**k * (1 - grid) ** (n - k)
    posterior /= posterior.sum()
    drawn = rates(seen)
    assert drawn.mean() == pytest.approx((posterior * grid).sum(), abs=0.005)
    quantiles = np.quantile(drawn, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(quantiles, np.interp([0.1, 0.5, 0.9], np.cumsum(posterior), grid), atol=0.01)


def test_a_bug_that_always_showed_may_still_be_rarer() -> None:
    few, many = ((rates((n, n)) == 1).mean() for n in (2, 50))
    assert 0.4 < few < many < 1
    assert rates((2, 2)).min() < 0.7 < rates((50, 50)).min()


def test_one_clean_run_rules_out_that_it_always_shows() -> None:
    assert rates((49, 50)).max() < 1


def test_rates_stay_where_somebody_runs_so_often() -> None:
    assert rates((0, 500)).min() == LOWEST_RATE


# Searches.


def test_costs_are_those_of_the_bisection_that_follows() -> None:
    """64 commits in a line take git six builds; the good end is a seventh, the original commit's kernel is there."""
    found = preflight(LINE, (5000, 5000), costs=COSTS, strategies=("git",), trials=5, jobs=1)
    (git,) = found.outlooks
    assert (found.candidates, git.right.estimate, git.wrong) == (64, 1.0, 0.0)
    assert (git.builds, git.runs) == (7, 90), "twenty of the original commit"
    assert git.hours * 3600 == pytest.approx(7 * 100 + 90 * 10)
    assert git.hours_wide * 3600 == pytest.approx(7 * 100 + (5 + 7 * 3) * 10)


def test_a_sure_reproducer_leaves_nothing_to_luck() -> None:
    found = preflight(200, (40, 40), costs=COSTS, trials=10, jobs=1)
    assert [one.strategy for one in found.outlooks] == ["bayes", "syzkaller", "git"]
    assert all(one.right.estimate == 1 for one in found.outlooks)
    assert found.advice == (f"take {best(found).strategy}: right in 100% of such searches",)


def test_a_rare_bug_misleads_git_and_not_bayes() -> None:
    found = preflight(200, (4, 30), costs=COSTS, trials=20)
    git, bayes = outlook(found, "git"), outlook(found, "bayes")
    assert git.right.estimate < 0.7 < bayes.right.estimate
    assert git.right.low < git.right.estimate < git.right.high
    assert any("take bayes" in text for text in found.advice)


def test_a_walk_over_releases_tests_some_of_them() -> None:
    walk = preflight(400, (5000, 5000), costs=COSTS, strategies=("git",), releases=8, trials=12, jobs=1)
    (git,) = walk.outlooks
    assert git.right.estimate == 1
    assert 50 < 2 ** (git.builds - 1) < 2000, "a release of 50 commits, and one release or more"


def test_the_same_numbers_give_the_same_answer_on_any_number_of_cores() -> None:
    one, two, other = (
        preflight(100, (5, 20), costs=COSTS, trials=6, seed=seed, jobs=jobs) for seed, jobs in ((3, 1), (3, 2), (4, 1))
    )
    assert one == two != other


def test_long_ranges_are_cut_short() -> None:
    found = preflight(5 * MAX_COMMITS, (20, 20), costs=COSTS, strategies=("git",), trials=200)
    (git,) = found.outlooks
    assert MIN_TRIALS <= found.trials < 40 and found.candidates == 5 * MAX_COMMITS
    assert git.builds == pytest.approx(np.log2(MAX_COMMITS) + 1, abs=1)


# Advice.


@pytest.mark.parametrize(
    ("seen", "said", "not_said"),
    [
        ((0, 20), ["did not show in 20 runs", "raise the runs to 100", "memory_mib"], ["take "]),
        ((1, 40), ["do not bisect yet", "26% were right", "KASAN"], ["did not show"]),
        ((3, 30), ["above 20%", "29 clean runs", "26% were right"], ["do not bisect"]),
        ((5, 22), ["worth bisecting", "18% were right", "miss it in 8%", "snapshot"], ["above 20%"]),
        ((18, 40), [], ["stronger", "were right"]),
        ((2, 4), ["2 of 4 runs say little", "raise the runs to 20"], []),
    ],
)
def test_advice_follows_the_rate(seen: tuple[int, int], said: list[str], not_said: list[str]) -> None:
    advice = "\n".join(preflight(40, seen, costs=COSTS, trials=4, jobs=1).advice)
    assert all(text in advice for text in said), advice
    assert not any(text in advice for text in not_said), advice


def test_more_than_a_day_is_said() -> None:
    slow = Costs(build=4 * 3600.0, run=60.0)
    assert any("more than a day" in text for text in preflight(300, (20, 20), costs=slow, trials=4, jobs=1).advice)


def test_the_table_is_for_people_and_the_json_for_programs() -> None:
    found = preflight(100, (10, 20), costs=COSTS, trials=4, jobs=1)
    lines = str(found).splitlines()
    assert lines[0].startswith("100 commits; 10 of 20 runs crashed, rate 0.50 [0.29, 0.71]")
    assert [line.split()[0] for line in lines[3:6]] == ["bayes", "syzkaller", "git"] and "4 at once" in lines[2]
    assert all(f"- {text}" in lines for text in found.advice)
    told = json.loads(json.dumps(found.to_json()))
    assert told["seen"]["k"] == 10 and len(told["outlooks"]) == 3 and told["costs"]["build"] == 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": 0}, "candidate"),
        ({"seen": (3, 2)}, "3 of 2"),
        ({"seen": (0, 0)}, "run it first"),
        ({"trials": 0}, "trial"),
        ({"strategies": ("git", "guess")}, "guess"),
        ({"strategies": ("git", "git")}, "each once"),
        ({"candidates": LINE, "releases": 2}, "history"),
    ],
)
def test_wrong_input_is_told(change: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"candidates": 10, "seen": (1, 2), "costs": COSTS} | change
    with pytest.raises(InputError, match=message):
        preflight(**given)  # type: ignore[arg-type]  # that is the point


# The command.


def kbench(*words: object, cache: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "kbench", "preflight", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=os.environ | {"KBENCH_CACHE": str(cache)})


@pytest.mark.parametrize(
    ("words", "message"),
    [(["gone.toml"], "gone.toml"), (["--strategies", "guess"], "'guess'"), (["--runs", 0], "1 run"), (["--trials", 0], "trial")],
)
def test_wrong_words_are_one_clear_line_before_anything_is_built(tmp_path: Path, words: list[object], message: str) -> None:
    made = lab.create(tmp_path / "lab", seed=1, kind="uaf", commits=120)
    done = kbench(*(words if "gone" in str(words[0]) else [made.case, *words]), cache=tmp_path / "cache")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert message in done.stderr
    assert not (tmp_path / "cache" / "builds").exists() or not list((tmp_path / "cache" / "builds").iterdir())


@pytest.mark.qemu
def test_the_original_commit_is_measured_and_kept(tmp_path: Path) -> None:
    """A second time its kernel is there; nothing is left beside the case."""
    made = lab.create(tmp_path / "lab", seed=41, kind="uaf", commits=120)
    before = sorted(made.directory.iterdir())
    first, again = (kbench(made.case, "--runs", 4, "--trials", 4, *more, cache=tmp_path) for more in ([], ["--json"]))
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert "4 of 4 runs crashed" in first.stdout and "not measured" not in first.stdout
    told = json.loads(again.stdout)
    assert (told["seen"]["k"], told["build_measured"]) == (4, False)
    assert told["releases"] == len(json.loads(made.truth.read_text())["tags"])
    assert 0 < told["costs"]["run"] < 60
    assert sorted(made.directory.iterdir()) == before


@pytest.mark.qemu
def test_a_bug_that_does_not_show_is_not_bisected(tmp_path: Path) -> None:
    made = lab.create(tmp_path / "lab", seed=42, kind="rare", commits=120, rate=0.001)
    done = kbench(made.case, "--runs", 2, "--trials", 2, "--strategies", "git", cache=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "did not show in 2 runs" in done.stdout
