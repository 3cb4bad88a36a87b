"""Strategies a study knows besides those of `kbench.search`. Read `POLICIES` first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType
from typing import ClassVar

from kbench.evidence import SYZKALLER_RULE, Priors, VerdictRule
from kbench.search import STRATEGIES
from kbench.search.bayes import BayesStrategy
from kbench.search.question import Question, Strategy
from kbench.search.syzkaller import SyzkallerStrategy

# From 028c09511 (2019-03-22) until 01fe85726 (2023-06-28): any crash is bad; none, and at most two thirds failed
# otherwise, is good.
RULE_2019 = replace(
    SYZKALLER_RULE,
    name="syzkaller-2019",
    min_crashes=1,
    crash_share=Fraction(0),
    seen_share=Fraction(0),
    clean_share=Fraction(1, 3),
    clean_share_flaky=Fraction(1, 3),
    transient=(),
)


class Syzkaller2019(SyzkallerStrategy):
    """syzbot's policy of 2019 to 2023: ten runs, any crash is bad, release by release.

    It gave up after eight hours; one less here, for the four steps that a range of 14,000 commits takes more than one of 1000.
    """

    rule: ClassVar[VerdictRule] = RULE_2019
    n_runs_flaky: ClassVar[int] = 10
    limit_h: ClassVar[float] = 7.0


POLICIES: Mapping[str, type[Strategy]] = MappingProxyType({**STRATEGIES, "syzkaller-2019": Syzkaller2019})


def make_strategy(name: str, question: Question, priors: Priors) -> Strategy:
    """Return a fresh search by one of `POLICIES`; `priors` is for those that weigh evidence."""
    policy = POLICIES[name]
    return policy(question, priors) if issubclass(policy, BayesStrategy) else policy(question)
