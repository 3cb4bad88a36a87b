"""What is believed before anything ran, as numbers. Read `Priors`.

The numbers come from real bisections: data/priors.json has them with their source, kbench/study/fit.py made it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbench.errors import InputError
from kbench.resources import data_dir

FloatArray = NDArray[np.float64]

LOWEST_RATE = 0.01  # a bug that shows more seldom counts as absent: nobody runs that often
RELEASE = 7500.0  # commits from release to release where the priors were measured, as git counts a range
NEWEST = 0.55  # share of a release that the newest one has on average when a bug is found in it
_N_RATES = 24  # points of the rate below 1


@dataclass(frozen=True, slots=True)
class Priors:
    """Beliefs before a bisection; `Priors.default()` are those of real ones. P() of a revision unless it says otherwise.

    Raises
    ------
    InputError
        A probability outside of [0, 1], a shape that is not above 0.
    """

    p_rate_one: float = 0.72  # P(the bug shows in every run)
    rate_a: float = 0.8  # else its rate is Beta(rate_a, rate_b)
    rate_b: float = 1.0
    p_drift: float = 0.05  # the rate on this revision is another one, Beta(drift_a, drift_b)
    p_drift_one: float = 0.015  # the same of a bug that otherwise shows in every run
    drift_a: float = 1.0
    drift_b: float = 1.0
    p_own_without: float = 0.004  # a title of the bug shows where the bug is not
    p_changed: float = 0.27  # of a bisection: somewhere the bug shows with other titles only
    p_intruder: float = 0.19  # of a bisection: somewhere without the bug another one shows
    p_silent_stretch: float = 0.03  # of a bisection: the bug is silent in some stretch between revisions that show it
    release: float = RELEASE
    p_silent_range: float = 0.09  # of a range of a release with a given good end: the bug goes silent in it, going back
    p_silent_release: tuple[float, ...] = (
        0.17,
        0.06,
    )  # of the k-th whole release back, the last for all others: it goes silent there
    p_silent_suspect: float = 0.5  # where it goes silent is as much a suspect as a culprit is, else any commit
    p_vouched: float = 0.005  # of an end that was named and not run: it is not what it is said to be
    p_forked: float = 0.1  # of a good end on another branch: it lacks a bug that is older than the fork
    p_absent: float = 0.05  # of a bisection: the bug does not show where it was found
    p_skip: float = 0.11  # cannot be tested, before any was seen
    p_skip_near: float = 0.69  # cannot be tested, next to one that could not
    depth: tuple[float, ...] = field(default=(0.5, 0.12, 0.08, 0.06, 0.05, 0.04))  # P(culprit in the k-th release back)
    depth_tail: float = 0.85  # what is left is in later releases, each with this share of the one before

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            numbers = value if isinstance(value, tuple) else (value,)
            shape = item.name.endswith(("_a", "_b")) or item.name == "release"
            if not all(number > 0 if shape else 0 <= number <= 1 for number in numbers) or not numbers:
                wanted = "above 0" if shape else "from 0 to 1"
                raise InputError(f"priors: {item.name} must be {wanted}, got {value}; see data/priors.json")

    @classmethod
    def default(cls) -> Priors:
        """Return the priors of real bisections."""
        return _shipped()

    @classmethod
    def from_json(cls, numbers: Mapping[str, Any]) -> Priors:
        """Return priors from names and values; those that are not named keep their defaults.

        Raises
        ------
        InputError
            A name that is none of a prior.
        """
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(numbers) - known):
            raise InputError(f"priors: expected names of {', '.join(sorted(known))}, got {unknown[0]!r}; choose among them")
        given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in numbers.items()}
        return cls(**given)

    def depths(self, n: int) -> FloatArray:
        """Return P(the culprit is in the k-th release back), k from 0 to n - 1; shape (n,). The rest to 1 lies further back."""
        listed = np.array(self.depth) / max(sum(self.depth), 1.0)
        further = (1 - listed.sum()) * (1 - self.depth_tail) * self.depth_tail ** np.arange(n)
        return np.concatenate((listed, further))[:n]

    def rates(self) -> tuple[FloatArray, FloatArray]:
        """Return the points of the rate and their log weights; both of shape (J,), the last point is 1."""
        return _rates(self.p_rate_one, self.rate_a, self.rate_b)


@cache
def _rates(p_one: float, a: float, b: float) -> tuple[FloatArray, FloatArray]:
    # Points even in the square root: a rate of 0.05 differs from 0.1 as much as 0.5 does from 0.7.
    edges = np.linspace(LOWEST_RATE**0.5, 1.0, _N_RATES + 1) ** 2
    points = (edges[1:] + edges[:-1]) / 2
    weights = points ** (a - 1) * (1 - points) ** (b - 1) * np.diff(edges)
    points, weights = np.append(points, 1.0), np.append((1 - p_one) * weights / weights.sum(), p_one)
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    points.flags.writeable = log_weights.flags.writeable = False
    return points, log_weights


@cache
def _shipped() -> Priors:
    path = data_dir() / "priors.json"
    return Priors.from_json(json.loads(path.read_text(encoding="utf-8"))["priors"]) if path.is_file() else Priors()
