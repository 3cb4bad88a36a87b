"""Second opinions and studies as a user meets them: the path of a log, what if, the pictures, the bound, three notebooks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbench import syzbot
from kbench.errors import InputError
from kbench.notebook import execute
from kbench.opinion import doubt, judge, most_doubtful, posterior, rejudge
from kbench.records import Outcome, Run
from kbench.resources import notebooks_dir
from kbench.search import Costs
from kbench.study import WORLDS, compare, world_spec
from kbench.study import judge as study_judge
from kbench.study.bound import bound, capacity, fewest_hours, needed_bits
from kbench.study.example import simulate_log, write_logs
from kbench.study.frontier import frontier
from kbench.study.opinions import collect, fifths, measured, opinion
from kbench.widgets import study_figures, study_tables
from kbench.widgets.verdict_turner import VerdictTurner
from tests.test_opinion import OK, OTHER, C, E, make_log

ATTACK = "<script>alert(1)</script> $\\frac$ \x1b[31m\u202e"
SMALL = replace(world_spec("syzbot"), commits=60)


# --- the posterior of a log ------------------------------------------------------------------------------------------


def test_runs_say_where_the_bug_begins() -> None:
    """Where the log says when all crashes are the bug's; elsewhere when the last one is another bug's."""
    believed, doubted = posterior(make_log()), posterior(make_log(at_culprit=[OTHER] + [OK] * 9))
    assert believed.named is not None and believed.p.sum() == pytest.approx(1) and believed.p.argmax() == believed.named
    assert believed.revisions[believed.named].step.commit == E
    assert doubted.named is not None and doubted.p[doubted.named] < 0.1
    assert doubted.revisions[int(doubted.p.argmax())].step.commit == C
    told = {one.tested.step.commit: one.p_shows for one in rejudge(make_log())}
    assert [told[one.step.commit] for one in believed.revisions] == pytest.approx(believed.shows)


def test_a_verdict_turned_over_is_bayes_rule() -> None:
    """What is left of the probabilities, and how much that was; turned over again nothing is left."""
    log = make_log()
    now = posterior(log)
    for row, one in enumerate(now.revisions):
        then = now.if_wrong(row)
        possible = np.arange(len(now.p)) > row if one.crashing else np.arange(len(now.p)) <= row
        assert now.p_wrong(row) == pytest.approx(now.p[possible].sum(), abs=1e-9)
        assert not then.p[~possible].any() and then.p.sum() == pytest.approx(1)
        if now.p_wrong(row) > 1e-9:
            np.testing.assert_allclose(then.p[possible], now.p[possible] / now.p[possible].sum(), rtol=1e-6)
        assert then.p_wrong(row) == pytest.approx(1, abs=1e-9)


def test_doubts_are_said() -> None:
    """The crash of another bug, with what speaks against it; nothing where nothing is wrong."""
    revisions = rejudge(make_log(at_culprit=[OTHER] + [OK] * 9))
    place = most_doubtful(revisions)
    assert place is not None and revisions[place].tested.step.commit == E
    words = doubt(revisions[place])
    assert OTHER.title in words and "1 crash in 10 runs" in words and "seen as another bug's in" in words
    assert not any(map(doubt, rejudge(make_log())))
    assert most_doubtful(()) is None


def test_the_contract_of_judge() -> None:
    """It takes a log and gives a probability with reasons; what it declines is said why, and drawn all the same."""
    assert study_judge is judge
    judgement = study_judge(make_log())
    assert 0 < judgement.p_correct < 1 and judgement.reasons[0].words
    fix = make_log(kind="fix")
    assert opinion(fix).p_correct is None and "fix bisection" in opinion(fix).words
    assert VerdictTurner(fix).words.startswith("By the runs alone")
    nothing = syzbot.compose(kind="cause", start=C, tests=[], outcome="not reproduced")
    with pytest.raises(InputError, match="a log with runs"):
        VerdictTurner(nothing)


# --- simulated logs --------------------------------------------------------------------------------------------------


def test_simulated_logs_are_logs_with_a_truth(tmp_path: Path) -> None:
    """What is written reads back undamaged, is the same for the same seed, and the truth is that of the world."""
    for number in range(6):
        log, truth = simulate_log(SMALL, 0, number)
        assert syzbot.read_log(syzbot.render(log)) == log and syzbot.damage(log) == ()
        assert simulate_log(SMALL, 0, number) == (log, truth)
        named_right = truth["ground_truth"] in log.candidates
        assert named_right or truth["result_catergory"] != "correct"
        assert bool(truth["wrong_commit"]) <= (truth["wrong_commit"] in {test.commit for test in log.tests})
    found = collect(write_logs(tmp_path / "logs", 12, spec=SMALL), tmp_path / "kept")
    assert (found.imported.new, found.imported.failed, len(found.truth)) == (12, {}, 12)
    assert [one.p_correct for one in found.ranking()] == sorted(one.p_correct for one in found.ranking())
    assert {table.title for table in found.tables()} >= {"How they ended", "Where and why they went wrong"}
    assert sum(band.n for band in found.reliability()) == sum(one.right is not None for one in found.ranking())
    assert found.log()[0] == found.ranking()[0].name
    with pytest.raises(InputError, match="gone"):
        found.log("gone")
    with pytest.raises(InputError, match="one log or more"):
        write_logs(tmp_path / "none", 0)


# --- the bound -------------------------------------------------------------------------------------------------------


def test_bits_and_capacity_in_closed_form() -> None:
    """All bits for certainty, none for a guess; a run that always crashes tells one bit."""
    assert needed_bits(1024, 1.0) == 10 and needed_bits(1024, 1 / 1024) == 0
    assert needed_bits(2, 0.89) == pytest.approx(1 - 0.4999, abs=1e-3)  # a binary symmetric channel
    assert capacity(1.0) == 1 and capacity(0.5) == pytest.approx(np.log2(1.25))
    rates = np.linspace(0.02, 0.98, 9)
    share = np.linspace(0.001, 0.999, 999)[:, None]  # of runs that meet a bad commit
    crash = share * rates
    entropy = -(crash * np.log2(crash) + (1 - crash) * np.log2(1 - crash))
    lost = -share * (rates * np.log2(rates) + (1 - rates) * np.log2(1 - rates))
    np.testing.assert_allclose((entropy - lost).max(axis=0), [capacity(rate) for rate in rates], atol=1e-4)


def test_no_strategy_beats_the_bound() -> None:
    """Each takes longer than is possible; a kind of worlds whose culprits are not equally likely has no bound."""
    spec, costs = replace(WORLDS["kernel"], commits=64, rate=0.5), Costs()
    points = frontier(spec, ["git", "syzkaller", "bayes"], [0.8, 0.99], trials=20, jobs=1)
    assert [(point.strategy, point.confidence) for point in points] == [
        ("git", None), ("syzkaller", None), ("bayes", 0.8), ("bayes", 0.99),
    ]  # fmt: skip
    assert all(point.least_hours is not None and point.score.hours > point.least_hours > 0 for point in points)
    axes = points.plot(width_in=4.0)
    assert axes.figure.get_size_inches()[0] == 4.0
    assert "bound: no search is above it" in axes.get_legend_handles_labels()[1]
    hours = [hour for hour, _ in bound(spec, costs)]
    assert hours == sorted(hours) and hours[0] == 0
    assert bound(WORLDS["trace"], costs) == []
    with pytest.raises(InputError, match="uniform culprit"):
        fewest_hours(WORLDS["trace"], 0.9, costs)


# --- pictures and tables ---------------------------------------------------------------------------------------------


def test_pictures_draw_whatever_there_is(tmp_path: Path) -> None:
    """Titles that try to break out, a log of one revision, no answer with a known truth, worlds without a bound."""
    odd = Run(Outcome.CRASHED, f"WARNING in {ATTACK}")
    alone = syzbot.compose(kind="cause", start=C, tests=[syzbot.tested(C, "original", [OK])])
    for log in (make_log(at_culprit=[odd] + [OK] * 9), alone):
        turner = VerdictTurner(log, title=ATTACK)
        turner.figure().savefig(tmp_path / "path.svg")
        tables = study_tables.verdicts_table(turner.revisions), study_tables.posterior_table(turner.posterior, turner.turned)
        shown = (tmp_path / "path.svg").read_text() + "".join(table.to_html() for table in tables)
        assert "<script" not in shown and "\x1b" not in shown
    study_figures.reliability_figure({"measured": measured(), "none": fifths([], [])}).savefig(tmp_path / "reliability.svg")
    scores = {"noisy": compare(["git", "syzkaller"], replace(WORLDS["noisy"], commits=40), trials=4, jobs=1)}
    study_figures.answers_figure(scores).savefig(tmp_path / "answers.svg")
    points = {"trace": frontier(replace(WORLDS["trace"], commits=100), ["git", "bayes"], [0.9], trials=3, jobs=1)}
    study_figures.frontier_figure(points, {}).savefig(tmp_path / "frontier.svg")
    assert list(study_tables.frontier_table(points)["of the bound"].isna()) == [True, True]
    assert list(study_tables.scores_table(scores)["strategy"]) == list(study_tables.failures_table(scores)["strategy"])
    with pytest.raises(InputError, match="two pictures"):
        study_figures.reliability_figure({str(number): () for number in range(9)})


def test_a_verdict_is_chosen_in_the_menu() -> None:
    """The picture and the line follow; the least likely right one comes first; a skip cannot be turned over."""
    turner = VerdictTurner(make_log(at_culprit=[OTHER] + [OK] * 9))
    assert turner.step == 4 and turner.to_json()["doubtful"] == [4]
    before, words = turner.children[2].value, turner.words
    turner.step = 2
    assert turner.children[2].value != before and turner.children[1].value == turner.words != words
    bundle = turner._repr_mimebundle_()
    assert bundle["text/plain"] == turner.words and bundle["image/png"]
    with pytest.raises(InputError, match="step 99"):
        VerdictTurner(make_log(), step=99)


# --- notebooks -------------------------------------------------------------------------------------------------------


FEW = {"trials": 3, "commits": 60, "jobs": 1}


@pytest.mark.parametrize(
    ("name", "parameters", "keys"),
    [
        ("second_opinion", {"simulated": 4, "step": 0}, {"log", "logs", "p_correct", "p_named", "step"}),
        ("accuracy_study", {"worlds": ["noisy"], "strategies": ["git", "bayes"], **FEW}, {"noisy"}),
        ("compare_strategies", {"rates": [1.0], "confidences": [0.9], **FEW}, {"crashes in 100% of the runs"}),
    ],
    ids=["second_opinion", "accuracy_study", "compare_strategies"],
)
def test_notebooks_run(
    name: str, parameters: dict[str, Any], keys: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From their parameters to their result, pictures on the way, in two megabytes at most."""
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "executed.ipynb"
    result = execute(notebooks_dir() / f"{name}.ipynb", output, parameters, timeout_s=120)
    assert keys <= result.keys()
    assert output.stat().st_size < 2 << 20
    outputs = [out for cell in json.loads(output.read_text())["cells"] for out in cell.get("outputs", [])]
    assert any("image/png" in out.get("data", {}) for out in outputs)
