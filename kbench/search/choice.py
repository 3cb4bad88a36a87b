"""Which experiments are worth most now. Read `Chooser.choose` first."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kbench.evidence import P_NOT_THERE_YET, P_STAYS, Observation, Priors, log_clean, log_masked
from kbench.evidence.priors import FloatArray
from kbench.history import Mask
from kbench.search.ancestry import Ancestry
from kbench.search.belief import Belief, Range, same_kernels
from kbench.search.question import Experiment
from kbench.search.worth import batches, information, seconds

MAX_MEMBERS = 40_000  # of a longer range only the releases are asked for, until it is shorter
MIN_BITS = 0.02  # what cannot tell so much, however often it is run, is not worth asking, however cheap
N_MASKED = 10  # runs that all crashed elsewhere: more will as well
P_BATCH_ENDS = 0.25  # a batch that would end early more often than this is asked for in parts
MAX_BRANCHES = 16  # answers that are thought through when several experiments go on at once


@dataclass(frozen=True, slots=True)
class Branch:
    """One way the experiments chosen so far may turn out: its probability, and what is then believed."""

    p: float
    shows: FloatArray
    everywhere: float
    nowhere: float


@dataclass(frozen=True, slots=True)
class _Masked:
    """Where another bug crashes first, or the reproducer does not get there.

    Attributes
    ----------
    p : array of shape (a, K)
        P(no run of a batch can show the bug), of everything that can be asked for.
    behind : array of shape (a,)
        Of what lies between a revision with another bug and one with this the place of the former, else -1.
    """

    p: FloatArray
    behind: NDArray[np.int64]


class Chooser:
    """Chooses experiments of one range; keeps nothing but what never changes.

    What can be asked for are the members of the range and the ends, or, of a range too long, its releases and the ends.
    """

    def __init__(self, within: Range, priors: Priors) -> None:
        self._range, self._priors, question = within, priors, within.question
        self._costs, self._batches = question.costs, batches(question.costs)
        ends = list(within.ends)
        self._ancestry = Ancestry(question.history, within.members) if len(within.commits) <= MAX_MEMBERS else None
        inside = within.commits if self._ancestry else np.array([question.bad, *question.tags[:-1]], dtype=np.int64)
        self._askable = np.concatenate((inside, np.array(ends, dtype=np.int64)))
        self._n_ends = len(ends)
        parents = question.history.parents
        self._parents = np.array([parents[commit][0] if parents[commit] else commit for commit in within.commits.tolist()])
        self._place = {commit: place for place, commit in enumerate(self._askable.tolist())}

    def choose(
        self, width: int, belief: Belief, told: Mapping[int, Observation], titles: frozenset[str], refused: frozenset[int]
    ) -> list[Experiment]:
        """Return up to `width` experiments, the first the best alone, each next the best beside those before it.

        Parameters
        ----------
        belief : Belief
        told : mapping
            What was told of each revision.
        titles : frozenset of str
            The bug's: a revision that showed one is not run again. Empty: not known.
        refused : frozenset of int
            Commits that cannot be tested.
        """
        p_testable = 1 - self._untestable(told, refused)
        early = self._range.early(told, titles)
        p_testable[early[self._askable]] *= 1 - P_NOT_THERE_YET  # clean, they say half as much
        built = [commit for commit, seen in told.items() if seen.total > seen.infra]
        build = np.where(np.isin(self._askable, built), 0.0, self._costs.build) * (1 - self._closing(belief))
        done = {commit for commit, seen in told.items() if any(not titles or title in titles for title in seen.crashes)}
        done |= {commit for commit, seen in told.items() if early[commit] and seen.passed}
        done |= {commit for commit, seen in told.items() if seen.crashed >= N_MASKED and not seen.passed}
        done |= self._same(told)
        masked, disguised = self._masked(told, titles), self._disguised(told, titles)
        branches, chosen = [Branch(1.0, belief.shows, belief.everywhere, belief.nowhere)], list[Experiment]()
        while len(chosen) < width:
            p_bug, p_clean, bits = self._average(branches, belief, told, masked, disguised)
            bits *= p_testable[:, None]
            bits[np.isin(self._askable, sorted(done)) | (bits.max(axis=1) < MIN_BITS)] = 0.0
            if not bits.any():
                break
            price = self._costs.ask + build[:, None] + p_testable[:, None] * seconds(p_bug, p_clean, self._batches, self._costs)
            place, size = map(int, np.unravel_index(int(np.argmax(bits / np.maximum(price, 1e-9))), bits.shape))
            commit = int(self._askable[place])
            done.add(commit)
            runs = self._part(float(p_bug[place]), p_clean[place], size)
            chosen.append(Experiment(commit, runs, int(self._batches[size])))
            if len(chosen) < width:
                branches = self._split(branches, commit, float(p_clean[place, size]))
        return chosen

    def _average(
        self,
        branches: list[Branch],
        belief: Belief,
        told: Mapping[int, Observation],
        masked: _Masked,
        disguised: FloatArray,
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        # P(bug), P(clean | bug) and bits over all branches, of everything that can be asked for.
        shape = len(self._askable), len(self._batches)
        p_bug, bug_and_clean, bits = np.zeros(shape[0]), np.zeros(shape), np.zeros(shape)
        for branch in branches:
            there, clean = self._channel(branch, belief, told)
            p_bug += branch.p * there
            bug_and_clean += branch.p * there[:, None] * (1 - (1 - clean) * (1 - masked.p))
            # What hides the bug is seen to: then nothing is learnt, else as much as if nothing could. Next to this bug the other
            # one that shows says that this one is not there, unless it was already where the other one was seen.
            already = np.where(masked.behind < 0, 1.0, np.minimum(there[masked.behind] / np.maximum(there, 1e-300), 1.0))
            erased, hidden = masked.p * (masked.behind < 0)[:, None], masked.p * (masked.behind >= 0)[:, None] * already[:, None]
            told_apart = information(there[:, None], 1 - (1 - clean) * (1 - hidden), disguised[:, None])
            bits += branch.p * (1 - erased) * told_apart
        return p_bug, bug_and_clean / np.maximum(p_bug, 1e-300)[:, None], bits

    def _channel(self, branch: Branch, belief: Belief, told: Mapping[int, Observation]) -> tuple[FloatArray, FloatArray]:
        # P(bug), shape (a,), and P(no run of a batch shows it | bug), shape (a, K), of everything that can be asked for. That
        # the bug is here says something of its rate: it is low if what contains this was clean.
        fix = self._range.question.fix
        fresh = np.exp([log_clean(int(runs), self._priors) for runs in self._batches])
        clean = np.concatenate((np.ones((1, len(belief.rates))), fresh @ belief.rates.T))  # of each class; no run at all first
        there = branch.shows * clean[:, belief.classes]
        everywhere = branch.everywhere * clean[:, -1:]
        contained = self._contained(there)
        whole = everywhere + there.sum(axis=1, keepdims=True)
        inside = whole - contained if fix else everywhere + contained
        ends = np.tile(whole if fix else everywhere, self._n_ends)
        table = np.maximum(np.concatenate((inside, ends), axis=1), 1e-300)
        p_bug, p_clean = table[0], (table[1:] / table[0]).T
        for commit, rates, p_silent in zip(belief.tested.tolist(), belief.tested_rates, belief.tested_silent, strict=True):
            # Runs of this very revision have taught about its own rate, which may have drifted.
            if commit in self._place and (total := rates.sum() + p_silent) > 0:
                passed = told[commit].passed
                more = np.exp([log_clean(int(runs), self._priors, passed) for runs in self._batches])
                p_clean[self._place[commit]] = (more @ rates + p_silent) / total
        return np.clip(p_bug, 0.0, 1.0), np.clip(p_clean, 0.0, 1.0)

    def _masked(self, told: Mapping[int, Observation], titles: frozenset[str]) -> _Masked:
        # The more likely the nearer a revision lies to one where that was seen; between two such it is nearly sure.
        seen, n = _ran(told), len(self._askable)
        if not titles or not seen:
            return _Masked(np.zeros((n, len(self._batches))), np.full(n, -1))
        counts = [(0, 1), *_pooled([_hidden(one, titles) for one in seen])]  # before all history nothing hides anything
        masked = np.array([[_p_hidden(*count, runs) for runs in self._batches.tolist()] for count in counts])
        older, newer, share = self._between(np.array([-1, *(one.commit for one in seen)]))
        shows = _shows(seen, titles)
        other = np.array([False, *(bool(one.crashed) for one in seen)]) & ~shows
        places = np.array([-1, *(self._place.get(one.commit, -1) for one in seen)])
        behind = np.where(other[older] & shows[newer], places[older], np.where(shows[older] & other[newer], places[newer], -1))
        return _Masked((1 - share[:, None]) * masked[older] + share[:, None] * masked[newer], behind)

    def _disguised(self, told: Mapping[int, Observation], titles: frozenset[str]) -> FloatArray:
        # P(a run shows a title of the bug | the bug is not there), shape (a,). Next to a revision that shows it, and then would
        # not have the bug either, it is likely the same again: another bug under this one's title stays for a stretch.
        seen, without = _ran(told), np.full(len(self._askable), self._priors.p_own_without)
        if not titles or not seen:
            return without
        shown = _shows(seen, titles)
        older, newer, share = self._between(np.array([-1, *(one.commit for one in seen)]))
        near = P_STAYS * (shown[newer] * share if self._range.question.fix else shown[older] * (1 - share))
        return np.maximum(without, near)

    def _between(self, commits: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
        # Of everything that can be asked for: its neighbours among some commits, and how much of the way to the newer it is.
        newer = np.searchsorted(commits, self._askable)
        older = np.where(np.isin(self._askable, commits), newer, newer - 1)
        newer = newer.clip(max=len(commits) - 1)
        to_older, to_newer = np.abs(self._askable - commits[older]), np.abs(self._askable - commits[newer])
        return older, newer, to_older / np.maximum(to_older + to_newer, 1)

    def _contained(self, weights: FloatArray) -> FloatArray:
        # Of each commit that can be asked for, ends excepted: the sum of the weights of the members it contains.
        if self._ancestry:
            return self._ancestry.sums(weights)
        inside = self._askable[: len(self._askable) - self._n_ends].tolist()
        return np.stack([weights[:, self._range.contains(commit)].sum(axis=1) for commit in inside], axis=1)

    def _untestable(self, told: Mapping[int, Observation], refused: frozenset[int]) -> FloatArray:
        # P(cannot be tested): what lies next to a revision that could not be is suspect, what lies next to one that could
        # is not; in between by distance.
        priors = self._priors
        skipped = np.array(sorted(refused), dtype=np.int64)
        tested = np.array(sorted(set(told) - refused), dtype=np.int64)
        p = np.full(len(self._askable), priors.p_skip)
        if len(skipped):
            to_skip, to_tested = _distance(self._askable, skipped), _distance(self._askable, tested)
            near = 1 - (1 - priors.p_skip_near) / np.maximum(_neighbours(self._askable, skipped, tested), 1)
            p += (near - priors.p_skip) * to_tested / np.maximum(to_tested + to_skip, 1)
        p[np.isin(self._askable, tested)] = 0.0
        p[np.isin(self._askable, skipped)] = 1.0
        return p

    def _closing(self, belief: Belief) -> FloatArray:
        # P(it is built in the end whatever is asked now), shape (a,): the culprit and its first parent are, to be compared.
        needed = np.zeros(len(self._range.question.history))
        needed[self._range.commits] = belief.culprit
        np.add.at(needed, self._parents, belief.culprit)
        return np.clip(needed[self._askable], 0.0, 1.0)

    def _same(self, told: Mapping[int, Observation]) -> set[int]:
        # Commits that are the kernel of a tested one, as far as can be known: its runs are theirs.
        same, history = {commit for commit, seen in told.items() if seen.lent}, self._range.question.history
        for group in same_kernels(told):
            newer = np.logical_or.reduce([history.ancestors(commit) for commit in group])
            same.update(np.flatnonzero(newer & history.descendants(*group)).tolist())
            same.difference_update(commit for commit in group if not told[commit].lent)
        return same

    def _part(self, p_bug: float, p_clean: FloatArray, size: int) -> int:
        # The runs of a batch to ask for now: all, or as many as likely go on to the end.
        ends_early = np.append(0.0, p_bug * (1 - p_clean[:size]))
        return int(self._batches[max(int((ends_early <= P_BATCH_ENDS).sum()) - 1, 0)])

    def _split(self, branches: list[Branch], commit: int, p_clean: float) -> list[Branch]:
        fix, without = self._range.question.fix, self._priors.p_own_without
        contains: Mask = self._range.contains(commit)
        split = []
        for branch in branches:
            for with_bug, elsewhere in ((p_clean, 1 - without), (1 - p_clean, without)):
                shows = branch.shows * np.where(contains != fix, with_bug, elsewhere)
                everywhere, nowhere = branch.everywhere * with_bug, branch.nowhere * elsewhere
                p = shows.sum() + everywhere + nowhere
                if p > 0:
                    split.append(Branch(branch.p * p, shows / p, everywhere / p, nowhere / p))
        return sorted(split, key=lambda branch: -branch.p)[:MAX_BRANCHES]


def _ran(told: Mapping[int, Observation]) -> list[Observation]:
    return [told[commit] for commit in sorted(told) if told[commit].passed + told[commit].crashed]


def _shows(seen: list[Observation], titles: frozenset[str]) -> Mask:
    # Which revisions show the bug; before all history nothing does.
    return np.array([False, *(bool(titles.intersection(one.crashes)) for one in seen)])


def _hidden(seen: Observation, titles: frozenset[str]) -> tuple[int, int]:
    # Runs that could not show the bug, and those that could.
    if titles.intersection(seen.crashes):
        return 0, 1
    return (seen.crashed + seen.passed, 0) if seen.reached is False else (seen.crashed, seen.passed)


def _pooled(counts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    # What hides the bug in neighbours is one thing: they have the sums of all of them.
    pooled = []
    for hidden, group in itertools.groupby(counts, lambda count: count[0] > 0):
        rows = list(group)
        pooled += [(sum(row[0] for row in rows), sum(row[1] for row in rows))] * len(rows) if hidden else rows
    return pooled


def _p_hidden(hidden: int, shown: int, runs: int) -> float:
    # P(none of the next runs can show it); what hid it in every run so far will in all or in none.
    return math.exp(log_masked(hidden, shown, runs if shown else 1))


def _distance(commits: np.ndarray, marks: np.ndarray) -> FloatArray:
    # How far each commit is from the nearest mark, in places of the history.
    if not len(marks):
        return np.full(len(commits), float(commits.max() + 1))
    after = np.searchsorted(marks, commits).clip(0, len(marks) - 1)
    before = (after - 1).clip(0)
    return np.minimum(np.abs(marks[after] - commits), np.abs(marks[before] - commits)).astype(np.float64)


def _neighbours(commits: np.ndarray, skipped: np.ndarray, tested: np.ndarray) -> FloatArray:
    # How many skipped commits lie between the tested ones next to each commit: the more, the less hope.
    place = np.searchsorted(tested, commits)
    edges = np.concatenate(([-1], tested, [np.iinfo(np.int64).max]))
    return (np.searchsorted(skipped, edges[place + 1]) - np.searchsorted(skipped, edges[place], side="right")).astype(np.float64)
