"""How likely is it that the culprit a log names is the true one? Read `judge` first."""

from __future__ import annotations

from dataclasses import dataclass

from kbench.errors import InputError
from kbench.opinion.model import Opinions, logistic
from kbench.opinion.rejudge import Rejudged, rejudge
from kbench.opinion.traits import commit_traits, never_right, search_traits, verdict_traits
from kbench.opinion.words import say
from kbench.syzbot import BisectionLog

_LEAST = 0.1  # a reason that moves the log odds by less is not worth a word


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that speaks for or against the named culprit."""

    words: str
    weight: float  # in log odds, against an average value in its place: 0.7 doubles the odds, -0.7 halves them


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be thought of an answer."""

    p_correct: float  # P(the named commit is the true one, or the named list holds it)
    reasons: tuple[Reason, ...]  # what moves it most first
    revisions: tuple[Rejudged, ...]  # the verdicts it rests on, weighed again

    def __str__(self) -> str:
        """The probability and the first three reasons."""
        return f"{self.p_correct:.0%}: " + "; ".join(reason.words for reason in self.reasons[:3])


def judge(log: BisectionLog, opinions: Opinions | None = None) -> Judgement:
    """Judge the answer of a cause bisection by its log alone.

    Parameters
    ----------
    log : BisectionLog
    opinions : Opinions, optional
        The fitted numbers; the shipped ones by default.

    Raises
    ------
    InputError
        The log names no culprit, or is of a fix bisection: none with a known truth was there to learn from.
    """
    if log.kind != "cause":
        raise InputError(
            "judge: expected the log of a cause bisection, got one of a fix bisection: none with a known answer was there to "
            "learn from; `kbench replay` draws it"
        )
    if not log.candidates:
        raise InputError(f"judge: expected a log that names a culprit, got {ending(log)!r}; `kbench replay` draws it")
    opinions = opinions or Opinions.default()
    revisions = rejudge(log, opinions)
    if why := never_right(log):
        return Judgement(opinions.p_never, (Reason(why, -5.0),), revisions)
    odds = crash_odds(revisions, opinions)
    values = search_traits(log, revisions) | verdict_traits(odds) | commit_traits(log, revisions)
    weights = opinions.culprit.weights(values)
    reasons = (Reason(say(name, values[name]), weight) for name, weight in weights.items() if abs(weight) >= _LEAST)
    ranked = sorted(reasons, key=lambda reason: -abs(reason.weight))
    return Judgement(logistic(opinions.culprit.log_odds(values)), tuple(ranked), revisions)


def crash_odds(revisions: tuple[Rejudged, ...], opinions: Opinions) -> list[float]:
    """Return the log odds that the bug was there, of each revision that was taken for crashing."""
    return [opinions.crash.log_odds(one.features) for one in revisions if one.features]


def ending(log: BisectionLog) -> str:
    """Return how a log ends, in a few words."""
    return (log.error.partition("\n")[0] or log.outcome or "nothing")[:80]
