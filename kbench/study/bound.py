"""What no search can beat: hours and accuracy, by information alone. Pure; read `fewest_hours` first.

A search that names one of n equally likely commits and is right with probability a has learnt at least
log2 n - h(a) - (1 - a) log2(n - 1) bits: Fano's inequality (Cover and Thomas, Elements of Information Theory, 2.10). A build
shows one commit, good or bad: one bit at most. A run of a bad commit crashes at the rate p, one of a good commit never does:
a Z-channel, whose capacity feedback does not raise (Burnashev 1976, Data transmission over a discrete channel with feedback).
"""

from __future__ import annotations

import math

from kbench.errors import InputError
from kbench.search import Costs
from kbench.study.specs import WorldSpec


def fewest_hours(spec: WorldSpec, right: float, costs: Costs) -> float:
    """Return the least mean hours, one run after the other, of a search that is right so often.

    Parameters
    ----------
    spec : WorldSpec
        Worlds with a uniform culprit. False alarms and skips make it harder still: the bound holds, and is not reached.
    right : float
        Share of searches that name the culprit.
    costs : Costs

    Raises
    ------
    InputError
        Worlds whose culprits are not equally likely.
    """
    if not has_bound(spec):
        raise InputError(f"study: expected worlds with a uniform culprit, got {spec.name!r}; draw the bound for 'kernel'")
    bits = needed_bits(spec.commits, right)
    return (bits * costs.build + bits / capacity(spec.rate) * costs.run) / 3600


def needed_bits(n: int, right: float) -> float:
    """Return how many bits tell one of n commits, right with this probability; 0 where guessing is as good."""
    if right <= 1 / n:
        return 0.0
    wrong = 1 - right
    entropy = -sum(p * math.log2(p) for p in (right, wrong) if p > 0)
    return max(math.log2(n) - entropy - wrong * math.log2(max(n - 1, 1)), 0.0)


def capacity(rate: float) -> float:
    """Return the bits a run can tell: the capacity of a Z-channel that misses a crash with probability 1 - rate."""
    miss = 1 - rate
    return math.log2(1 + rate * miss ** (miss / rate)) if miss > 0 else 1.0


def has_bound(spec: WorldSpec) -> bool:
    """Return whether every commit is as likely the culprit, so that the bound holds."""
    return not (spec.reality or spec.touching or spec.noops)


def bound(spec: WorldSpec, costs: Costs) -> list[tuple[float, float]]:
    """Return the curve for drawing, as (hours, share right); empty for worlds that have none."""
    return [(fewest_hours(spec, right / 100, costs), right / 100) for right in range(101)] if has_bound(spec) else []
