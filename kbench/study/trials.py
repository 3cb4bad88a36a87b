"""One search of one world, written down. Read `Trial` and `run_trial` first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kbench.records import Verdict
from kbench.search import Costs, Observation, SearchResult
from kbench.search.question import Question, Strategy
from kbench.study.policies import make_strategy
from kbench.study.worlds import Laboratory, World

LIST = 10  # an inconclusive answer of so many commits or fewer is an answer
_STAGES = {"original": "A", "release": "B"}
_MAX_STEPS = 1000  # a search that asks more often is stopped


@dataclass(frozen=True, slots=True)
class Trial:
    """What one strategy answered in one world, and what it cost."""

    strategy: str
    number: int
    answer: str  # "right", "wrong" or "none": no commit, or a list of more than ten
    outcome: str  # of the search
    truth: str  # "in range" or "older than range"
    outcome_right: bool  # the outcome is the truth: the culprit, a set that holds it, or why there is none
    confidence: float  # P(the outcome is right), by the strategy
    listed: int  # candidates at the end
    holds: bool  # they hold the culprit
    holds_90: bool  # the most likely 90% of them do
    failed_stage: str  # "A" original commit, "B" releases, "C" range: where a failure began; "" when right
    failed_by: str  # "missed" a revision with the bug, "false alarm"; "" when no verdict was wrong, or it was right
    builds: int
    runs: int
    hours: float  # one run after the other
    hours_wide: float  # `width` runs at once


class Watch(Protocol):
    """Told of every observation: the search that asked, before it is told, the stage, what was seen."""

    def __call__(self, search: Strategy, stage: str, seen: Observation) -> None:
        """Take note of it."""


def run_trial(
    world: World, strategy: str, number: int, *, confidence: float, costs: Costs, watch: Watch = lambda search, stage, seen: None
) -> Trial:
    """Let one strategy search one world, to its end or until it has spent too much; `watch` is told what it sees."""
    question = Question(
        world.history,
        world.bad,
        world.good,
        world.tags,
        confidence=confidence,
        costs=costs,
        prior=world.prior,
        rng=np.random.default_rng(number),
    )
    search, laboratory = make_strategy(strategy, question, world.priors), Laboratory(world)
    stage, failed = "original", ("", "")
    if world.first_runs:
        seen = laboratory.observe(world.bad, world.first_runs, width=costs.width)
        watch(search, stage, seen)
        search.tell(seen)
        failed = _contradicts(world, search, world.bad, "original")
    limit_h = min(world.limit_h, getattr(search, "limit_h", world.limit_h))
    for _ in range(_MAX_STEPS):
        experiments = search.ask(1) if laboratory.hours(costs) < limit_h else []
        if not experiments:
            break
        stage = search.stage
        for experiment in experiments:
            seen = laboratory.observe(experiment.commit, experiment.runs, width=costs.width)
            watch(search, stage, seen)
            search.tell(seen)
            failed = failed if failed[0] else _contradicts(world, search, experiment.commit, stage)
    return _judge(world, strategy, number, search.result, laboratory, failed if failed[0] else (stage, ""), costs)


def _contradicts(world: World, search: Strategy, commit: int, stage: str) -> tuple[str, str]:
    # The stage and the kind of mistake, when the verdict on the commit contradicts the truth.
    verdict = search.verdict(commit)
    if world.buggy[commit]:
        return (stage, "missed") if verdict is Verdict.GOOD else ("", "")
    return (stage, "false alarm") if verdict is Verdict.BAD else ("", "")


def _judge(
    world: World, strategy: str, number: int, result: SearchResult, laboratory: Laboratory, failed: tuple[str, str], costs: Costs
) -> Trial:
    truth = "older than range" if world.older else "in range"
    listed = [commit for commit, _ in result.candidates]
    named = [result.culprit] if result.culprit is not None else listed if result.outcome == "inconclusive" else []
    answer = "none" if not 0 < len(named) <= LIST else "right" if world.culprit in named else "wrong"
    outcome = result.outcome or "budget spent"
    told = {
        "culprit": result.culprit == world.culprit,
        "inconclusive": truth == "in range" and world.culprit in listed,
        "not reproduced": not laboratory.shown,
    }
    shares = np.cumsum([p for _, p in result.candidates])
    held = int(np.searchsorted(shares, 0.9 * shares[-1])) + 1 if len(shares) else 0
    return Trial(
        strategy=strategy,
        number=number,
        answer=answer,
        outcome=outcome,
        truth=truth,
        outcome_right=told.get(outcome, outcome == truth),
        confidence=result.confidence,
        listed=len(listed),
        holds=world.culprit in listed,
        holds_90=world.culprit in listed[:held],
        failed_stage="" if answer == "right" else _STAGES.get(failed[0], "B" if world.older else "C"),
        failed_by="" if answer == "right" else failed[1],
        builds=len(laboratory.built),
        runs=laboratory.n_runs,
        hours=laboratory.hours(costs),
        hours_wide=laboratory.hours(costs, wide=True),
    )
