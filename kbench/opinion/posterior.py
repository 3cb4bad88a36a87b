"""Where the bug begins to show, by the runs of a log instead of its verdicts. Read `Posterior` first.

The evidence model weighs all runs together, on the line that stands for the commit graph: the bug shows from some point of it
on, anywhere between two tested revisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kbench.evidence import Evidence, Observation, Priors, weigh
from kbench.evidence.priors import NEWEST, RELEASE
from kbench.opinion.course import Tested, course
from kbench.records import Outcome
from kbench.syzbot import BisectionLog

FloatArray = NDArray[np.float64]

_PLACES = 1 << 20  # places are whole numbers; two revisions a fraction of a commit apart do not share one
_DEEPEST = 60  # releases of the prior


@dataclass(frozen=True, slots=True)
class Posterior:
    """P(the bug begins to show between two tested revisions), for each two that lie next to each other.

    Entry i of `p` is between `revisions[i - 1]` and `revisions[i]`; the first is older than all of them, the last means that it
    does not show where it was found.

    Attributes
    ----------
    revisions : tuple of Tested
        Those whose runs tell something, oldest first; n of them.
    log_p : array of shape (n + 1,)
        Log P, up to a constant; -inf where it is supposed not to be.
    odds : array of shape (n,)
        Log P(runs | the bug shows) / P(runs | it does not), of each revision's own runs.
    """

    revisions: tuple[Tested, ...]
    log_p: FloatArray
    odds: FloatArray

    @property
    def p(self) -> FloatArray:
        """The probabilities, shape (n + 1,); they sum to 1."""
        p = np.exp(self.log_p - np.logaddexp.reduce(self.log_p))
        return np.asarray(p / p.sum())

    @property
    def shows(self) -> FloatArray:
        """P(the bug is there and shows), of each revision; shape (n,)."""
        return np.minimum(np.cumsum(self.p)[: len(self.revisions)], 1.0)

    @property
    def named(self) -> int | None:
        """The entry where the log puts the culprit: just before the oldest revision it took for crashing; None: there is none."""
        return next((row for row, one in enumerate(self.revisions) if one.crashing), None)

    def row(self, one: Tested) -> int | None:
        """Return the place of a tested revision in `revisions`; None when its runs tell nothing."""
        place = _place(one)
        rows = (row for row, known in enumerate(self.revisions) if _place(known) == place)
        return next(rows, None) if one.step.runs else None

    def p_wrong(self, row: int) -> float:
        """Return P(a revision's verdict is wrong): of a crashing one, that the bug does not show there."""
        shows = float(self.shows[row])
        return 1 - shows if self.revisions[row].crashing else shows

    def if_wrong(self, row: int) -> Posterior:
        """Return what follows if a revision's verdict is wrong, and all runs are what they were."""
        entries = np.arange(len(self.log_p))
        possible = entries > row if self.revisions[row].crashing else entries <= row
        return replace(self, log_p=np.where(possible, self.log_p, -np.inf))


def posterior(log: BisectionLog) -> Posterior:
    """Return what the runs of a log say; of a fix bisection, where the bug ends to show, as seen from its fixed end."""
    tested = course(log)
    return weigh_line(tested, own_titles(tested))


def own_titles(tested: Sequence[Tested]) -> frozenset[str]:
    """Return the titles seen on the original commit."""
    return frozenset(tested[0].step.titles) if tested and tested[0].step.stage == "original" else frozenset()


def weigh_line(tested: Sequence[Tested], titles: frozenset[str]) -> Posterior:
    """Weigh the runs of tested revisions; `titles` are those of the bug."""
    priors = Priors.default()
    at = {_place(one): one for one in tested}
    seen = {place: _observation(one) for place, one in at.items()}
    evidence = weigh(seen, titles, priors, live=[0] if titles else [])
    log_all = _log_joint(evidence, priors)
    return Posterior(
        tuple(at[int(place)] for place in evidence.commits),
        np.asarray(np.logaddexp.reduce(log_all, axis=1)),
        _odds(evidence, log_all),
    )


def _place(one: Tested) -> int:
    return -round(one.age * _PLACES)


def _observation(one: Tested) -> Observation:
    counts = one.step.counts
    return Observation(_place(one), passed=counts[Outcome.OK], crashes=dict(one.step.titles))


def _log_joint(evidence: Evidence, priors: Priors) -> FloatArray:
    # Log P(it shows from the i-th revision on, world, all runs), shape (n + 1, worlds).
    n, worlds = evidence.with_bug.shape
    older = _p_newer(-evidence.commits / _PLACES, priors)
    ends = [max(1 - older[0], 1e-3)] if n else []
    weights = np.concatenate([ends, older[:-1] - older[1:], [priors.p_absent]]).clip(1e-12)
    below = np.vstack([np.zeros((1, worlds)), np.cumsum(evidence.without, axis=0)])
    above = np.vstack([np.cumsum(evidence.with_bug[::-1], axis=0)[::-1], np.zeros((1, worlds))])
    return below + above + np.log(weights)[:, None] + evidence.log_weights


def _odds(evidence: Evidence, log_all: FloatArray) -> FloatArray:
    log_worlds = np.logaddexp.reduce(log_all, axis=0)
    there, absent = (np.logaddexp.reduce(log_worlds + table, axis=1) for table in (evidence.with_bug, evidence.without))
    return np.nan_to_num(there - absent)


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
