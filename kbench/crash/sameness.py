"""Whether two crashes are one bug. Read `same_bug`."""

from __future__ import annotations

import math

from kbench.crash.frames import trace
from kbench.crash.functions import GENERIC
from kbench.crash.report import CrashReport

_SHARED_TITLE = 0.99
_FRAMES = 8  # functions of a trace that are compared
# Odds of one bug to two by the share of functions two traces have in common: chosen, not measured.
_APART, _TOGETHER = 0.4, 20.0
_NAMELESS = " in corrupted"


def same_bug(one: CrashReport, other: CrashReport) -> float:
    """How likely two crashes are one bug, from 0 to 1, when either was as likely before.

    A title in common settles it. Else the titles' likeness and the traces' are weighed as if neither told of the other.
    """
    from kbench.evidence.titles import log_odds  # not needed to parse

    titles, others = _titles(one), _titles(other)
    if titles & others:
        return _SHARED_TITLE
    likeness = max(log_odds(_plain(one.title), others), log_odds(_plain(other.title), titles))
    functions, theirs = _functions(one), _functions(other)
    if not functions or not theirs:
        return _probability(likeness)
    shared = len(functions & theirs) / len(functions | theirs)
    return _probability(likeness + (1 - shared) * math.log(_APART) + shared * math.log(_TOGETHER))


def _titles(report: CrashReport) -> set[str]:
    # A title without a function is of many bugs.
    return {title for title in (report.title, *report.alt_titles) if not title.endswith(_NAMELESS)}


def _plain(title: str) -> str:
    return title.removesuffix(_NAMELESS)


def _functions(report: CrashReport) -> set[str]:
    named = [function for function in trace(report.report.split("\n")) if not GENERIC.match(function)]
    return set(named[:_FRAMES])


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
