"""The verdicts of a log weighed again, as probabilities. Read `rejudge` first.

The evidence model weighs all runs of a log together, on the line that stands for the commit graph: the bug shows from some
point of it on, anywhere between two tested revisions. What that cannot know (which titles are in everybody's way, how far
back a walk went wrong) comes from a logistic model on top.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kbench.evidence import Evidence, Observation, Priors, similarity, weigh
from kbench.evidence.priors import NEWEST, RELEASE
from kbench.evidence.titles import SAME_FUNCTION, SAME_KIND
from kbench.opinion.course import Tested, course
from kbench.opinion.model import Opinions, logistic
from kbench.records import Outcome
from kbench.syzbot import BisectionLog

FloatArray = NDArray[np.float64]

_PLACES = 1 << 20  # places are whole numbers; two revisions a fraction of a commit apart do not share one
_DEEPEST = 60  # releases of the prior
# Parts of the names of functions that say nothing about where in the kernel they are.
_COMMON = re.compile(
    "read|write|free|alloc|get|put|init|release|destroy|add|remove|corrupted|work|timer|create|open|close|net|dev|device|register|"
    "unregister|lock|the|set|del|sock|fill|super|check|list|ioctl|sys|page|start|stop|bug|skb"
)


@dataclass(frozen=True, slots=True)
class Rejudged:
    """A tested revision and what its runs say, in the light of all others."""

    tested: Tested
    p_shows: float | None  # P(the bug is there and shows | all runs of the log); None: no run told anything
    log_odds: float | None  # log P(its own runs | the bug shows) / P(its own runs | it does not)
    features: dict[str, float]  # of a crashing one
    p_bug: float | None  # P(the bug is there), of a revision that was taken for crashing; else None


def rejudge(log: BisectionLog, opinions: Opinions | None = None, *, own: frozenset[str] = frozenset()) -> tuple[Rejudged, ...]:
    """Weigh every verdict of a log again, in order.

    Parameters
    ----------
    log : BisectionLog
    opinions : Opinions, optional
        The fitted numbers; the shipped ones by default.
    own : frozenset of str
        Foreign titles of this very log that were counted among the notorious; for the fit.
    """
    opinions = opinions or Opinions.default()
    tested = course(log)
    titles = own_titles(tested)
    evidence = weigh({_place(one): _observation(one) for one in tested}, titles, Priors.default(), live=[0] if titles else [])
    shows, odds = _posterior(evidence, Priors.default())
    rows = {int(place): row for row, place in enumerate(evidence.commits)}
    found = []
    for one in tested:
        row = rows.get(_place(one)) if one.step.runs else None
        if row is None:
            found.append(Rejudged(one, None, None, {}, None))
            continue
        features = _features(one, titles, shows[row], odds[row], opinions, own) if one.crashing and one.age else {}
        p_bug = logistic(opinions.crash.log_odds(features)) if features and opinions.crash.terms else None
        found.append(Rejudged(one, float(shows[row]), float(odds[row]), features, p_bug))
    return tuple(found)


def own_titles(tested: Sequence[Tested]) -> frozenset[str]:
    """Return the titles seen on the original commit."""
    return frozenset(tested[0].step.titles) if tested and tested[0].step.stage == "original" else frozenset()


def _place(one: Tested) -> int:
    return -round(one.age * _PLACES)


def _observation(one: Tested) -> Observation:
    counts = one.step.counts
    return Observation(_place(one), passed=counts[Outcome.OK], crashes=dict(one.step.titles))


def _posterior(evidence: Evidence, priors: Priors) -> tuple[FloatArray, FloatArray]:
    # P(the bug shows) of each revision, and the log odds its own runs add. Hypothesis i: it shows from the i-th revision on.
    n, worlds = evidence.with_bug.shape
    if not n:
        return np.zeros(0), np.zeros(0)
    older = _p_newer(-evidence.commits / _PLACES, priors)
    weights = np.concatenate([[max(1 - older[0], 1e-3)], older[:-1] - older[1:], [priors.p_absent]]).clip(1e-12)
    below = np.vstack([np.zeros((1, worlds)), np.cumsum(evidence.without, axis=0)])
    above = np.vstack([np.cumsum(evidence.with_bug[::-1], axis=0)[::-1], np.zeros((1, worlds))])
    log_all = below + above + np.log(weights)[:, None] + evidence.log_weights
    posterior = np.exp(log_all - log_all.max())
    posterior /= posterior.sum()
    with np.errstate(divide="ignore"):
        log_worlds = np.log(posterior.sum(axis=0))
    there, absent = (np.logaddexp.reduce(log_worlds + table, axis=1) for table in (evidence.with_bug, evidence.without))
    return np.minimum(np.cumsum(posterior.sum(axis=1))[:n], 1.0), np.nan_to_num(there - absent)


def _p_newer(ages: FloatArray, priors: Priors) -> FloatArray:
    # P(the point from which the bug shows is newer than this), by releases: the culprit is there, or the bug goes silent.
    depth = priors.depths(_DEEPEST)
    depth /= depth.sum()
    silent = np.array([priors.p_silent_release[min(k, len(priors.p_silent_release) - 1)] for k in range(_DEEPEST)])
    silent[0] *= NEWEST
    hazard = depth / (1 - np.concatenate([[0.0], np.cumsum(depth)[:-1]]))
    passed = np.cumprod((1 - hazard.clip(max=1.0)) * (1 - silent))
    edges = np.concatenate([[0.0], RELEASE * (NEWEST + np.arange(_DEEPEST))])
    return np.asarray(np.interp(ages, edges, np.concatenate([[0.0], 1 - passed])))


def _features(
    one: Tested, titles: frozenset[str], shows: float, odds: float, opinions: Opinions, own: frozenset[str]
) -> dict[str, float]:
    seen = one.step.titles
    crashed, clean = seen.total(), one.step.counts[Outcome.OK]
    foreign = not titles & seen.keys()
    alike = max((similarity(title, titles) for title in seen), default=0.0)
    others = [opinions.notoriety(title, without=own) for title in seen] if foreign else [0]
    stems = frozenset().union(*map(_stems, titles))
    walked = not one.of_search
    p = min(max(shows, 1e-4), 1 - 1e-4)
    values = {
        "odds of its runs": min(max(odds, -8.0), 4.0),
        "evidence": math.log(p / (1 - p)),
        "own title": not foreign,
        "same function": alike >= SAME_FUNCTION,
        "same kind": SAME_KIND <= alike < SAME_FUNCTION,
        "same part": foreign and any(stems & _stems(title) for title in seen),
        "notorious": math.log1p(max(others)),
        "all notorious": math.log1p(min(others)),
        "one crash": crashed == 1 and clean > 1,
        "share": crashed / (crashed + clean),
        "foreign, first release": foreign and walked and one.depth == 1,
        "foreign, search": foreign and one.of_search,
        "foreign, later release": foreign and walked and one.depth > 2,
        "notorious, later release": math.log1p(max(others)) * (walked and one.depth > 1),
        "search": one.of_search,
        "depth": min(one.depth, 12) * walked,
    }
    return {name: float(value) for name, value in values.items()}


def _stems(title: str) -> frozenset[str]:
    function = title.rpartition(" in ")[2].rpartition("/")[2] if " in " in title else ""
    return frozenset(word for word in re.findall(r"[^\W_]{3,}", function) if not _COMMON.fullmatch(word))
