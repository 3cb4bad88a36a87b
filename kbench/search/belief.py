"""What is believed about the culprit after all that was told. Read `Belief` and `Range.belief` first.

Every commit of the range is a hypothesis: the bug first shows there. Commits that all tested revisions tell alike are one
class, so tables have as many rows as there are classes, and Bayes' rule is one product of matrices. Two more hypotheses have
the bug on every revision and on none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kbench.evidence import Evidence, Observation, Priors, weigh
from kbench.evidence.priors import FloatArray
from kbench.history import Mask
from kbench.search.question import Question

P_SAME_KERNEL_DIFFERS = 1e-4  # P(the bug starts between two revisions with one signature), for its share of the range


@dataclass(frozen=True, slots=True)
class Belief:
    """Probabilities; those of `shows`, `everywhere` and `nowhere` sum to 1.

    Attributes
    ----------
    shows : array of shape (m,)
        P(the bug first shows at this member); of a fix, P(it stops showing).
    culprit : array of shape (m,)
        P(this member is the culprit): it need not be where the bug first shows, for that may have been silent below.
    everywhere, nowhere : float
        P(every revision has the bug, the ends included), P(none shows it).
    classes : array of shape (m,)
        Class of each member.
    rates : array of shape (classes + 1, J)
        P(rate | class), of the bug; the last row is that of a bug that is everywhere.
    tested : array of shape (T,)
        Tested revisions that said something, by index in the history.
    tested_rates : array of shape (T, J)
        P(the tested revision has the bug and is not silent, and rate).
    tested_silent : array of shape (T,)
        P(the tested revision has the bug and is silent).
    """

    shows: FloatArray
    culprit: FloatArray
    everywhere: float
    nowhere: float
    classes: NDArray[np.int64]
    rates: FloatArray
    tested: NDArray[np.int64]
    tested_rates: FloatArray
    tested_silent: FloatArray

    @property
    def buggy(self) -> dict[int, float]:
        """P(bug) of each tested revision."""
        p_bug = self.tested_rates.sum(axis=1) + self.tested_silent
        return dict(zip(self.tested.tolist(), p_bug.tolist(), strict=True))


class Range:
    """The hypotheses of a question, with what is believed of each before anything is told.

    Attributes
    ----------
    members : mask over the history
        Commits that can be the culprit.
    commits : array of shape (m,)
        Their indices.
    releases : array of shape (m,)
        How many releases back each lies; 0 without a walk.
    ends : tuple of int
        Commits outside that have the bug only if every member has it; of good ends on branches of their own also what both
        grew from.
    forked : bool
        Whether there are such: the bug may then be older than the fork, and fixed on the other branch.
    """

    def __init__(self, question: Question, priors: Priors) -> None:
        self.question, self.priors = question, priors
        self.walks = not question.good
        history = question.history
        below = question.tags[-1:] if self.walks else question.good
        self.members = history.candidates(question.bad, below)
        forked = () if question.fix or self.walks else history.merge_bases(question.bad, self._forked(below))
        self.ends = (*dict.fromkeys((*below, *forked)),)
        self.forked = bool(forked)
        self.commits = np.flatnonzero(self.members)
        self.releases = np.zeros(len(self.commits), dtype=np.int64)
        if self.walks:
            for tag in question.tags:
                self.releases += ~history.ancestors(tag)[self.commits]
            self.releases = len(question.tags) - self.releases
        self._contained: dict[int, Mask] = {}
        self._weigh()

    def _forked(self, ends: tuple[int, ...]) -> list[int]:
        inside = self.question.history.ancestors(self.question.bad)
        return [end for end in ends if not inside[end]]

    def _weigh(self) -> None:
        # The weights of all hypotheses, and of those that look like another one because the bug is silent below it.
        n_back = np.bincount(self.releases, minlength=1)
        if self.walks:
            p_release = self._depths(n_back)
            everywhere = max(1 - p_release.sum(), 1e-3)
            p_silent = np.array(self.priors.p_silent_release)[np.minimum(self.releases, len(self.priors.p_silent_release) - 1)]
            p_silent = p_silent * np.minimum(n_back[self.releases] / self.priors.release, 1)  # what is nearer has changed less
        else:
            everywhere = 0.0
            p_silent = np.full(len(self.commits), self.priors.p_silent_range * min(len(self.commits) / self.priors.release, 1))
            p_release = np.array([1 - everywhere])
        given = self.question.prior
        own = np.ones(len(self.commits)) if given is None else np.maximum(np.asarray(given, dtype=np.float64)[self.commits], 0)
        shares = np.bincount(self.releases, weights=own, minlength=len(n_back))
        place = own / np.where(shares > 0, shares, 1)[self.releases]
        # A suspect counts as much as it stands out of all commits: what is in another release is suspected less for it.
        own = own / max(own.mean(), 1e-300) * (p_release / np.maximum(n_back, 1))[self.releases]
        total = own.sum() + everywhere
        self._own, self._everywhere = own / total, everywhere / total
        # In a walk the bug may be silent from any commit on, downwards; the culprit is then anywhere below.
        order = self._own if self.question.fix else self._own[::-1]
        below = (1 - np.cumsum(order)) if self.question.fix else (1 - np.cumsum(order))[::-1]
        self._below = np.maximum(below, 1e-9)  # P(the culprit is below this member)
        anywhere = 1 / np.maximum(n_back, 1)[self.releases]
        alike = self.priors.p_silent_suspect
        self._silent = self._below * p_silent * (alike * place + (1 - alike) * anywhere)

    def _depths(self, n_back: NDArray[np.int64]) -> FloatArray:
        # P(the culprit is in the k-th release back). The priors are those of releases of some size. What is tagged more often,
        # a release candidate or a toy, is no release in that sense: there a commit is as likely as any other.
        p = self.priors.depths(len(n_back))
        whole = min(float(np.median(n_back[1:])) / self.priors.release, 1.0) if len(n_back) > 1 else 1.0
        return whole * p + (1 - whole) * p.sum() * n_back / max(n_back.sum(), 1)

    def contains(self, commit: int) -> Mask:
        """Members that a commit contains; shape (m,)."""
        if commit not in self._contained:
            self._contained[commit] = self.question.history.ancestors(commit)[self.commits]
        return self._contained[commit]

    def belief(self, told: Mapping[int, Observation], live: frozenset[int], titles: frozenset[str]) -> Belief:
        """Weigh all that was told. `live` and `titles`: see `kbench.evidence.weigh`."""
        early = frozenset(np.flatnonzero(self.early(told, titles)).tolist())
        evidence = weigh(told, titles, self.priors, live=live, early=early)
        tested = evidence.commits.tolist()
        groups = same_kernels(told)
        apart = [self.contains(commit) for commit in tested], [self.contains(commit) for group in groups for commit in group]
        labels, first = _classes([*apart[0], *apart[1]], len(self.commits))
        has_bug = np.array([mask[first] != self.question.fix for mask in apart[0]], dtype=np.bool_).reshape(-1, len(first))
        own, silent = (np.bincount(labels, weights=w, minlength=len(first)) for w in (self._own, self._silent))
        everywhere, p_absent = self._beside(told, live)
        # Silence below a class needs every revision there to be clean for want of reach.
        reached = np.array([told[commit].reached is True for commit in tested], dtype=np.bool_)
        silent = np.where((reached[:, None] & ~has_bug).any(axis=0), 0.0, silent)
        weights = np.append(np.append(own + silent, everywhere) * (1 - p_absent), p_absent)
        for group in groups:
            inside = np.array([self.contains(commit)[first] for commit in group])
            weights[:-2][inside.any(axis=0) & ~inside.all(axis=0)] *= P_SAME_KERNEL_DIFFERS
        rows = np.concatenate((has_bug, np.ones((len(tested), 1), np.bool_), np.zeros((len(tested), 1), np.bool_)), axis=1)
        p = _posterior(weights, rows, evidence)
        of_class, buggy = p.sum(axis=1), rows[:, :-1] @ p[:-1]
        p_rates = p[:-1].reshape(len(first) + 1, -1, evidence.n_rates).sum(axis=1)
        per_weight = (of_class[:-2] / np.maximum(own + silent, 1e-300))[labels]
        silenced = per_weight * self._silent * (silent > 0)[labels]
        return Belief(
            shows=per_weight * self._own + silenced,
            culprit=per_weight * self._own + self._own * self._above(silenced / self._below),
            everywhere=float(of_class[-2]),
            nowhere=float(of_class[-1]),
            classes=labels,
            rates=p_rates / np.maximum(p_rates.sum(axis=1, keepdims=True), 1e-300),
            tested=evidence.commits,
            tested_rates=(buggy * ~evidence.silent)
            .reshape(len(tested), p.shape[1] // evidence.n_rates, evidence.n_rates)
            .sum(axis=1),
            tested_silent=(buggy * evidence.silent).sum(axis=1),
        )

    def _above(self, weights: FloatArray) -> FloatArray:
        # Of each member: the sum over those it lies below, in the order of the history.
        return np.cumsum(weights) - weights if self.question.fix else np.cumsum(weights[::-1])[::-1] - weights

    def _beside(self, told: Mapping[int, Observation], live: frozenset[int]) -> tuple[float, float]:
        # P(the bug is everywhere) and P(it is nowhere) before anything ran. Of an end that nobody tested somebody is sure.
        priors, clean = self.priors, self.ends if not self.question.fix else (self.question.bad,)
        nowhere = priors.p_absent if any(commit in told for commit in live) else priors.p_vouched
        if self.walks:
            return self._everywhere, nowhere
        if self.forked:
            return priors.p_forked, nowhere
        return priors.p_absent if any(commit in told for commit in clean) else priors.p_vouched, nowhere

    def early(self, told: Mapping[int, Observation], titles: frozenset[str]) -> Mask:
        """Commits of the history that may lack the bug because they are older, when a fix is searched.

        They contain none that is known to show it.
        """
        question = self.question
        if not question.fix:
            return np.zeros(len(question.history), dtype=np.bool_)
        shown = [commit for commit, seen in told.items() if titles.intersection(seen.crashes)]
        return ~question.history.descendants(*question.crashing, *shown)


def _posterior(weights: FloatArray, rows: Mask, evidence: Evidence) -> FloatArray:
    # P(class, world | all runs), shape (classes, worlds). An impossible run is a very unlikely one: zero times infinity is none.
    ratio = np.maximum(evidence.with_bug - evidence.without, -1e6)
    with np.errstate(divide="ignore"):
        log_p = np.log(weights)[:, None] + evidence.log_weights[None, :]
    log_p = log_p + evidence.without.sum(axis=0) + rows.T.astype(np.float64) @ ratio
    p = np.exp(log_p - log_p.max())
    return p / p.sum()


def _classes(masks: list[Mask], m: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    # Members that all masks tell alike: a label for each member, and one member of each class.
    if not masks:
        return np.zeros(m, dtype=np.int64), np.zeros(1, dtype=np.int64)
    packed = np.ascontiguousarray(np.packbits(np.array(masks), axis=0).T)
    _, first, labels = np.unique(
        packed.view(np.dtype((np.void, packed.shape[1]))).ravel(), return_index=True, return_inverse=True
    )
    return labels.ravel(), first


def same_kernels(told: Mapping[int, Observation]) -> list[list[int]]:
    """Return the tested revisions that are one kernel with others, together."""
    groups: dict[str, list[int]] = {}
    for commit in sorted(told):
        if signature := told[commit].signature:
            groups.setdefault(signature, []).append(commit)
    return [group for group in groups.values() if len(group) > 1]
