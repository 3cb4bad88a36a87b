"""What the runs of many revisions say about one bug, as likelihoods instead of verdicts. Read `weigh` first.

Where the bug is, a run shows it at the bug's rate: unknown, learnt from all revisions together, and free to drift on any of
them. A clean revision may still have the bug: bad luck (the rate), or silence (the reproducer does not get there, in a stretch
of history). Another title is the bug's own or another bug's: one hypothesis a title, the same for all revisions.
All of that, whatever is unknown besides the culprit, is a `world`; the likelihoods are tables of revisions by worlds.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from kbench.evidence.observation import Observation
from kbench.evidence.priors import FloatArray, Priors
from kbench.evidence.titles import log_odds
from kbench.evidence.verdicts import TRANSIENT

MAX_TITLES = 3  # foreign titles that get a hypothesis of their own; others say nothing
P_FIRST = 0.995  # P(what crashes is the bug) while none of its titles is known
P_NOT_THERE_YET = 0.5  # P(a clean revision that contains none known to crash is older than the bug)
INTRUDER_A, INTRUDER_B = 0.4, 0.2  # another bug's crash shows at a rate that is Beta(a, b): often once, or always
P_STAYS = 0.7  # another bug is there right beside a revision that shows it, seen or not
SCATTERED_A, SCATTERED_B = 0.5, 20.0  # or now and then, in any run of all


@dataclass(frozen=True, slots=True)
class Evidence:
    """Log likelihoods of what was seen. T revisions, Z worlds; the logarithm's zero is "says nothing".

    Attributes
    ----------
    commits : array of shape (T,)
        The revisions, by index.
    with_bug, without : array of shape (T, Z)
        Log P(runs | the bug is there, world), and without it.
    silent : mask of shape (T, Z)
        Where the bug is silent on the revision in a world: more runs would tell nothing.
    log_weights : array of shape (Z,)
        Log P(world) before the runs.
    n_rates : int
        Worlds are in groups of so many, which differ in nothing but the rate; see `Priors.rates`.
    """

    commits: NDArray[np.int64]
    with_bug: FloatArray
    without: FloatArray
    silent: NDArray[np.bool_]
    log_weights: FloatArray
    n_rates: int


def weigh(
    told: Mapping[int, Observation],
    titles: Collection[str],
    priors: Priors,
    *,
    live: Collection[int] = (),
    early: Collection[int] = (),
) -> Evidence:
    """Return what all runs say.

    Parameters
    ----------
    told : mapping of int to Observation
        All runs of each revision, summed up.
    titles : collection of str
        The bug's titles: those seen where it was found. Empty: not known.
    priors : Priors
    live : collection of int
        Revisions on which the bug is known not to be silent: the ends that show it.
    early : collection of int
        Revisions that may be older than the bug, when a fix is searched: clean runs say less there.
    """
    seen = [told[commit] for commit in sorted(told) if _tells(told[commit])]
    foreign = _foreign(seen, titles)
    points, log_points = priors.rates()
    silent, log_silent = _silent(seen, titles, live, priors)
    with_bug, without, weights = [], [], []
    for owned in itertools.product((False, True), repeat=len(foreign)):
        own = frozenset((*titles, *itertools.compress(foreign, owned)))
        log_title = _log_owned(foreign, own, seen, titles, priors)
        hidden, unseen = _log_behind([title for title in foreign if title not in own], own, seen, priors)
        tables = [_one(one, own, priors, P_NOT_THERE_YET * (one.commit in early)) for one in seen]
        shown = np.array([table[0] for table in tables]).reshape(len(seen), 1, len(points)) + hidden[:, None, None]
        if_silent = np.array([table[1] for table in tables]).reshape(len(seen), 1, 1) + unseen[:, None, None]
        absent = np.array([table[2] for table in tables]).reshape(len(seen), 1, 1) + unseen[:, None, None]
        with_bug.append(np.where(silent.T[:, :, None], if_silent, shown))
        without.append(np.broadcast_to(absent, with_bug[-1].shape))
        weights.append(log_title + log_silent[:, None] + log_points[None, :])
    shape = (len(seen), -1) if seen else (0, weights[0].size * len(weights))
    return Evidence(
        np.array([one.commit for one in seen], dtype=np.int64),
        np.stack(with_bug, axis=1).reshape(shape),
        np.stack(without, axis=1).reshape(shape),
        np.tile(np.repeat(silent.T, len(points), axis=1), len(weights)),
        np.stack(weights).reshape(-1),
        len(points),
    )


def log_clean(runs: int, priors: Priors, passed: int = 0) -> FloatArray:
    """Log P(no more run of so many shows the bug | it is there, and so many before were clean), of each rate of the priors."""
    return _log_shown(0, passed + runs, priors) - _log_shown(0, passed, priors)


def log_masked(crashed: int, passed: int, runs: int) -> float:
    """Log P(another bug crashes each of so many more runs before they tell of this one | it crashed so many, others passed)."""
    if not crashed:
        return -math.inf
    masked, free = crashed + INTRUDER_A, passed + INTRUDER_B
    return _log_beta(masked + runs, free) - _log_beta(masked, free)


def _tells(one: Observation) -> bool:
    return one.skip is None and not one.lent and one.passed + one.crashed > 0


def _foreign(seen: Sequence[Observation], titles: Collection[str]) -> list[str]:
    # The most frequent titles that are not known to be the bug's.
    counts = Counter[str]()
    for one in seen:
        counts.update({title: count for title, count in one.crashes.items() if title not in titles})
    for title in [title for title in counts if titles and title.startswith(TRANSIENT)]:
        if not any(own.startswith(TRANSIENT) for own in titles):
            del counts[title]
    return sorted(counts, key=lambda title: (-counts[title], title))[:MAX_TITLES]


def _log_owned(
    foreign: Sequence[str], own: frozenset[str], seen: Sequence[Observation], titles: Collection[str], priors: Priors
) -> float:
    # Log P(of these titles those in `own` are the bug's and the others are not). While none is known to be, any may be the one it
    # is known by, and the others are compared with that.
    def log_title(title: str, known: Collection[str]) -> float:
        # That a title is the bug's, and this is the first of it; or another bug's, which then has to show wherever it does.
        if title in own:
            return log_odds(title, known) + math.log(priors.p_changed) + _log_change(title, seen, known)
        return float(np.logaddexp(*_log_intrusion(title, own, seen, priors)))

    if titles or not foreign:
        return sum(log_title(title, titles) for title in foreign)
    mains = [title for title in foreign if title in own]
    ways = [] if mains else [math.log(1 - P_FIRST) + sum(log_title(title, ()) for title in foreign)]
    for main in mains:
        compared = sum(log_title(title, (main,)) for title in foreign if title != main)
        ways.append(math.log(P_FIRST / len(foreign)) + compared)
    return float(np.logaddexp.reduce(ways))


def _log_intrusion(title: str, own: frozenset[str], seen: Sequence[Observation], priors: Priors) -> tuple[float, float]:
    # Log P(another bug shows in these runs and in no others): in a stretch of history, at a rate of its own; or now and then, in
    # any run of all. The stretch begins and ends within a release or so; for its ends next to this bug see `_log_behind`.
    counts = [(one.crashes.get(title, 0), one.passed + one.crashed) for one in seen]
    of_stretch = [count for count in counts if count[0]]
    ends = [p for place, beside, p in _ends(title, seen, _span(seen, priors)) if not own.intersection(seen[beside].crashes)]
    stays = math.log(priors.p_intruder) + _log_rate(of_stretch, INTRUDER_A, INTRUDER_B) + sum(map(math.log, ends))
    return stays, _log_rate(counts, SCATTERED_A, SCATTERED_B)


def _log_behind(
    others: Sequence[str], own: frozenset[str], seen: Sequence[Observation], priors: Priors
) -> tuple[FloatArray, FloatArray]:
    # Of revisions that show another bug, next to one that shows this: log P(that | this bug is here as well), and if it is not;
    # each of shape (T,). Where this bug begins the other one may go on unseen behind it. If this one was here already, hidden,
    # the other one has to end just there.
    hidden, unseen = np.zeros(len(seen)), np.zeros(len(seen))
    for title in others:
        stays, scattered = _log_intrusion(title, own, seen, priors)
        share = 1 / (1 + math.exp(min(scattered - stays, 700.0)))
        for place, beside, p in _ends(title, seen, _span(seen, priors)):
            if own.intersection(seen[beside].crashes):
                hidden[place] += math.log(share * p + 1 - share)
                unseen[place] += math.log(share * (P_STAYS + (1 - P_STAYS) * p) + 1 - share)
    return hidden, unseen


def _log_change(title: str, seen: Sequence[Observation], titles: Collection[str]) -> float:
    # Log P(these crashes of the bug have this title and the others one of its known ones): it changed with a stretch of history,
    # or comes up for some share of them.
    known = [sum(one.crashes.get(other, 0) for other in titles) for one in seen]
    counts = [(one.crashes.get(title, 0), one.crashes.get(title, 0) + other) for one, other in zip(seen, known, strict=True)]
    crashed = [one for one, (_, n) in zip(seen, counts, strict=True) if n]
    span = crashed[-1].commit - crashed[0].commit
    changes = sum(math.log(p) for _, _, p in _ends(title, crashed, span))
    return float(np.logaddexp(changes, _log_rate(counts, 1.0, 1.0)) - math.log(2))


def _ends(title: str, seen: Sequence[Observation], span: float) -> Iterator[tuple[int, int, float]]:
    # Where a title begins or ends to show: place of the revision that shows it, of the one beside it that does not, and P(it
    # is just between the two), when that may be anywhere in a span of commits.
    for older, newer in itertools.pairwise(range(len(seen))):
        if (title in seen[older].crashes) != (title in seen[newer].crashes):
            p = min((seen[newer].commit - seen[older].commit) / max(span, 1), 1.0)
            yield (older, newer, p) if title in seen[older].crashes else (newer, older, p)


def _span(seen: Sequence[Observation], priors: Priors) -> float:
    return min(seen[-1].commit - seen[0].commit, priors.release)


def _log_rate(counts: Sequence[tuple[int, int]], a: float, b: float) -> float:
    # Log P(k of n given runs, summed over revisions), at one rate that is Beta(a, b).
    k, n = sum(count for count, _ in counts), sum(runs for _, runs in counts)
    return _log_beta(k + a, n - k + b) - _log_beta(a, b)


def _silent(
    seen: Sequence[Observation], titles: Collection[str], live: Collection[int], priors: Priors
) -> tuple[NDArray[np.bool_], FloatArray]:
    # Which revisions are silent: none, or those of one stretch of clean revisions between two that show a title of the bug; shape
    # (stretches + 1, T), and the log weights. The ends of a stretch may lie anywhere. What is clean below the oldest of these
    # revisions needs no stretch: silence and the absence of the bug look alike there, and the search weighs them itself.
    shows = [place for place, one in enumerate(seen) if any(not titles or title in titles for title in one.crashes)]
    stretches = [(older, newer) for older, newer in itertools.pairwise(shows) if newer > older + 1]
    silent = np.zeros((len(stretches) + 1, len(seen)), dtype=np.bool_)
    weights = np.zeros(len(silent))
    for row, (older, newer) in enumerate(stretches, 1):
        silent[row, older + 1 : newer] = [seen[place].commit not in live for place in range(older + 1, newer)]
        span = seen[-1].commit - seen[0].commit
        gaps = (seen[older + 1].commit - seen[older].commit) * (seen[newer].commit - seen[newer - 1].commit)
        weights[row] = priors.p_silent_stretch * gaps / span**2
    weights[0] = 1 - weights.sum()
    with np.errstate(divide="ignore"):
        return silent, np.log(weights)


def _one(one: Observation, own: Collection[str], priors: Priors, p_clean: float) -> tuple[FloatArray, float, float]:
    # Of one revision: log P(runs | bug, rate), log P(runs | bug, silent), log P(runs | no bug). `p_clean`: P(clean all the same).
    shown = sum(count for title, count in one.crashes.items() if title in own)
    n = one.passed + shown
    if not n or (one.reached is False and not shown):
        return np.zeros(len(priors.rates()[0])), 0.0, 0.0
    by_others = math.log(priors.p_own_without) + _log_beta(shown + 1, n - shown + 1)  # any rate alike
    elsewhere = by_others if shown else math.log1p(-priors.p_own_without)
    silent = -np.inf if one.reached and not shown else elsewhere
    log_shown = _log_shown(shown, n, priors)
    if p_clean:
        log_shown = np.logaddexp(math.log(p_clean) + elsewhere, math.log1p(-p_clean) + log_shown)
    return log_shown, silent, elsewhere


@lru_cache(maxsize=1 << 14)
def _log_shown(k: int, n: int, priors: Priors) -> FloatArray:
    # Log P(k of n given runs show the bug | rate), of each rate: that of the bug, or with P(drift) another one; without the
    # binomial coefficient, which every world has alike.
    rates = priors.rates()[0]
    with np.errstate(divide="ignore"):
        steady = k * np.log(rates) + (n - k) * np.log1p(-rates) if k < n else k * np.log(rates)
        p_drift = np.where(rates < 1, priors.p_drift, priors.p_drift_one)
        drifted = _log_beta(k + priors.drift_a, n - k + priors.drift_b) - _log_beta(priors.drift_a, priors.drift_b)
        shown = np.logaddexp(np.log1p(-p_drift) + steady, np.log(p_drift) + drifted)
    shown.flags.writeable = False
    return shown


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
