"""What to do before a bisection, as rules. Pure; read `RULES` first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kbench.flakiness import clean_runs

if TYPE_CHECKING:
    from kbench.study.preflight import Outlook, Preflight

WEAK = 0.3  # below, a reproducer is worth the work on it
ENOUGH = 0.8  # a strategy that is right less often is no good choice
_ALIKE = 0.05  # chances that differ by less do not decide
_FASTER = 0.1  # nor hours that differ by a smaller share
_WIDE = 0.4  # an interval of the rate so wide says little
_DAY_H = 24.0

# Of 1070 real bisections, 2019 to 2023, those that named commits: rate on the original commit up to, share that was right. It
# was 47% of those whose bug showed in every run.
RIGHT_IN_REALITY = ((0.1, 0.26), (0.25, 0.18))


@dataclass(frozen=True, slots=True)
class Rule:
    """When to say what; `says` has the fields of `_words`."""

    holds: Callable[[Preflight], bool]
    says: str


RULES = (
    Rule(
        lambda p: p.seen.k == 0,
        "the bug did not show in {n} runs: its rate is below {high:.2f}, or it is not there; do not bisect, raise the runs to "
        "{more} or make the reproducer stronger",
    ),
    Rule(
        lambda p: p.seen.k > 0 and p.seen.estimate < 0.05,
        "the bug shows in {rate:.0%} of the runs: do not bisect yet, one revision takes {clean} clean runs to be called good",
    ),
    Rule(
        lambda p: 0.05 <= p.seen.estimate < 0.2,
        "the bug shows in {rate:.0%} of the runs: above 20% is held to be worth bisecting (the kernel test robot's rule); one "
        "revision takes {clean} clean runs to be called good",
    ),
    Rule(
        lambda p: 0.2 <= p.seen.estimate < WEAK,
        "the bug shows in {rate:.0%} of the runs: worth bisecting, but ten clean runs on a revision miss it in {miss:.0%}",
    ),
    Rule(
        lambda p: p.seen.k > 0 and p.seen.estimate <= RIGHT_IN_REALITY[-1][0],
        "of real bisections at such a rate that named a commit, by syzkaller from 2019 to 2023, {real:.0%} were right; 47% of "
        "those whose bug showed in every run",
    ),
    Rule(
        lambda p: p.seen.k > 0 and p.seen.high - p.seen.low > _WIDE,
        "{k} of {n} runs say little, the rate is {low:.2f} to {high:.2f}: raise the runs to {more}",
    ),
    Rule(
        lambda p: p.seen.estimate < WEAK,
        "to make it stronger: run it in a loop or for longer (`repro_s`), several copies at once, give the guest more CPUs or "
        "memory (`memory_mib`), switch KASAN on, or off for its timing, start machines cold (`snapshot = false`)",
    ),
    Rule(
        lambda p: p.seen.k > 0 and max(one.right.estimate for one in p.outlooks) < ENOUGH,
        "no strategy is right in {enough:.0%} of such searches: make the reproducer stronger first",
    ),
    Rule(
        lambda p: p.seen.k > 0 and _better_than_git(p),
        "git is right in {git:.0%} of such searches: take bayes, right in {bayes:.0%}",
    ),
    Rule(
        lambda p: p.seen.k > 0 and not _better_than_git(p) and best(p).right.estimate >= ENOUGH,
        "take {best}: right in {best_right:.0%} of such searches",
    ),
    Rule(
        lambda p: p.seen.k > 0 and best(p).hours_wide > _DAY_H,
        "{best} takes {hours:.0f} hours, more than a day: give a newer `good`, or more cores",
    ),
)


def advise(planned: Preflight) -> tuple[str, ...]:
    """Return what the rules say, in their order."""
    words = _words(planned)
    return tuple(rule.says.format_map(words) for rule in RULES if rule.holds(planned))


def best(planned: Preflight) -> Outlook:
    """Return a fast one, the first named, of the strategies that are right about as often as the best."""
    top = max(one.right.estimate for one in planned.outlooks)
    good = [one for one in planned.outlooks if one.right.estimate >= top - _ALIKE]
    fastest = min(one.hours_wide for one in good)
    return next(one for one in good if one.hours_wide <= (1 + _FASTER) * fastest)


def _better_than_git(planned: Preflight) -> bool:
    chance = {one.strategy: one.right.estimate for one in planned.outlooks}
    return chance.get("git", 1.0) < min(ENOUGH, chance.get("bayes", 0.0))


def _words(planned: Preflight) -> dict[str, float | str]:
    seen, chosen = planned.seen, best(planned)
    chance = {one.strategy: one.right.estimate for one in planned.outlooks}
    return {
        "k": seen.k,
        "n": seen.n,
        "rate": seen.estimate,
        "low": seen.low,
        "high": seen.high,
        "more": 5 * seen.n,
        "clean": clean_runs(seen.estimate).n if seen.k else 0,
        "miss": (1 - seen.estimate) ** 10,
        "real": next((share for limit, share in RIGHT_IN_REALITY if seen.estimate <= limit), 0.0),
        "enough": ENOUGH,
        "git": chance.get("git", 0.0),
        "bayes": chance.get("bayes", 0.0),
        "best": chosen.strategy,
        "best_right": chosen.right.estimate,
        "hours": chosen.hours_wide,
    }
