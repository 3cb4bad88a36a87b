"""The fitted numbers: logistic models and the titles that show up everywhere. Read `Opinions` first."""

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
class Answer:
    """P(the named culprit is the true one): two things must not have happened.

    P = P(no crash on the way was another bug's) * P(no clean revision had the bug | so), a logistic model each; the log odds
    of the product are stretched and shifted. What a search met tells the first, what the culprit is the second as well.
    """

    alarms: Logistic  # no crash on the way was another bug's
    misses: Logistic  # no clean revision had the bug
    slope: float = 1.0
    shift: float = 0.0

    def log_odds(self, values: Mapping[str, float]) -> float:
        """Return log(P / (1 - P))."""
        return self._joined(self.alarms.log_odds(values), self.misses.log_odds(values))

    def weights(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return by how much each value moves the log odds from where an average one would leave them."""
        alarms, misses = self.alarms.weights(values), self.misses.weights(values)
        no_alarm, no_miss = self.alarms.log_odds(values), self.misses.log_odds(values)
        whole = self._joined(no_alarm, no_miss)
        names = dict.fromkeys((*alarms, *misses))
        return {n: whole - self._joined(no_alarm - alarms.get(n, 0.0), no_miss - misses.get(n, 0.0)) for n in names}

    def _joined(self, one: float, other: float) -> float:
        # 1 / P - 1 = (1 + exp(-one)) * (1 + exp(-other)) - 1, of which the log odds are minus the logarithm.
        parts = (-one, -other, -one - other)
        most = max(parts)
        return self.shift - self.slope * (most + math.log(sum(math.exp(part - most) for part in parts)))


@dataclass(frozen=True, slots=True)
class Opinions:
    """All that was fitted."""

    crash: Logistic  # is a revision that crashed one with the bug?
    culprit: Answer  # is the named culprit the true one?
    p_never: float  # of a culprit of a kind that was never the true one
    notorious: Mapping[str, int]  # titles of other bugs, and in how many bisections each got in the way

    @classmethod
    def default(cls) -> Opinions:
        """Return those fitted to real bisections."""
        return _shipped()

    @classmethod
    def from_json(cls, numbers: Mapping[str, Any]) -> Opinions:
        """Return what a file like data/judge.json holds."""
        culprit = numbers["culprit"]
        answer = Answer(_read(culprit["alarms"]), _read(culprit["misses"]), culprit["slope"], culprit["shift"])
        return cls(_read(numbers["crash"]), answer, numbers["p_never"], numbers["notorious"])

    def notoriety(self, title: str, *, without: Collection[str] = ()) -> int:
        """Return in how many bisections a title got in the way; `without` those of one bisection."""
        count = self.notorious.get(title, 0) - (title in without)
        return count if count > 1 else 0


def logistic(x: float) -> float:
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def _read(numbers: Mapping[str, Any]) -> Logistic:
    return Logistic(numbers["intercept"], {name: (c, m, s) for name, (c, m, s) in numbers["terms"].items()})


@cache
def _shipped() -> Opinions:
    return Opinions.from_json(json.loads((data_dir() / "judge.json").read_text(encoding="utf-8")))
