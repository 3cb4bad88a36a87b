"""The fitted numbers: two logistic models and the titles that show up everywhere. Read `Opinions` first."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from kbench.errors import InputError
from kbench.resources import data_dir


@dataclass(frozen=True, slots=True)
class Logistic:
    """P = 1 / (1 + exp(-(intercept + sum of coefficient * (value - mean) / scale)))."""

    intercept: float
    terms: Mapping[str, tuple[float, float, float]]  # name: coefficient, mean and scale

    def weights(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return what each value adds to the log odds of an average case.

        Raises
        ------
        InputError
            A value is missing.
        """
        if missing := sorted(self.terms.keys() - values.keys()):
            raise InputError(f"opinion: expected a value for {missing[0]!r}, got none; fit data/judge.json again")
        return {name: weight * (values[name] - mean) / scale for name, (weight, mean, scale) in self.terms.items()}

    def log_odds(self, values: Mapping[str, float]) -> float:
        """Return log(P / (1 - P))."""
        return self.intercept + sum(self.weights(values).values())


@dataclass(frozen=True, slots=True)
class Opinions:
    """All that was fitted."""

    crash: Logistic  # is a revision that crashed one with the bug?
    culprit: Logistic  # is the named culprit the true one?
    p_never: float  # of a culprit of a kind that was never the true one
    notorious: Mapping[str, int]  # titles of other bugs, and in how many bisections each got in the way

    @classmethod
    def default(cls) -> Opinions:
        """Return those fitted to real bisections."""
        return _shipped()

    @classmethod
    def from_json(cls, numbers: Mapping[str, Any]) -> Opinions:
        """Return what a file like data/judge.json holds."""
        crash, culprit = (
            Logistic(numbers[name]["intercept"], {term: (c, m, s) for term, (c, m, s) in numbers[name]["terms"].items()})
            for name in ("crash", "culprit")
        )
        return cls(crash, culprit, numbers["p_never"], numbers["notorious"])

    def notoriety(self, title: str, *, without: Collection[str] = ()) -> int:
        """Return in how many bisections a title got in the way; `without` those of one bisection."""
        count = self.notorious.get(title, 0) - (title in without)
        return count if count > 1 else 0


def logistic(x: float) -> float:
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


@cache
def _shipped() -> Opinions:
    return Opinions.from_json(json.loads((data_dir() / "judge.json").read_text(encoding="utf-8")))
