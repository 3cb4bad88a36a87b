"""The commit git bisect tries next. Read `midpoint` first.

The rule of git 2.39 (bisect.c): weight = commits of the range that a commit contains; the commit whose weight is nearest
to half splits best. Once something was skipped, git orders all commits and steps aside by a fixed pseudo-random amount.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kbench.history import History, Mask

Weights = NDArray[np.int64]

_RANDOM_STEPS = 32768


def midpoint(history: History, remaining: Mask, skipped: Mask, bad: int | None) -> int | None:
    """Choose as git does.

    Parameters
    ----------
    history : History
    remaining : mask
        Commits that can be the first bad one; what git lists for good..bad.
    skipped : mask
        All commits marked skip, inside the range or not.
    bad : int or None
        The newest known bad commit of the range; never chosen.

    Returns
    -------
    int or None
        None when only `bad` and skipped commits are left.
    """
    members = np.flatnonzero(remaining)
    n = len(members)
    if not n:
        return None
    weights = history.weights(remaining)
    if skipped.any():
        distances = np.minimum(weights, n - weights)[members]
        ranked = members[np.lexsort((history.id_rank[members], -distances))]
        choice = _step_aside(ranked, skipped, bad)
    else:
        choice = _best(history, remaining, weights)
    return None if choice == bad else choice


def _best(history: History, remaining: Mask, weights: Weights) -> int:
    # Git's choice when nothing is skipped. It counts merges first, then single strands, and takes the first one that is near
    # enough to half; it never takes a root of the range this way. Else the first of those nearest to half.
    listed = history.listing(remaining)
    n = len(listed)
    off = np.abs(2 * weights - n)
    near = remaining & ((off <= 1) | (off < n // 1024))
    if near.any():
        inside = {c: [parent for parent in history.parents[c] if remaining[parent]] for c in listed.tolist()}
        for commit in listed[near[listed]].tolist():
            if len(inside[commit]) > 1:
                return int(commit)
        strands = _strands(inside)
        counted = [commit for commit in strands if near[commit]]
        if counted:
            return min(counted, key=strands.__getitem__)
    return int(listed[np.argmax(np.minimum(weights, n - weights)[listed])])


def _strands(inside: dict[int, list[int]]) -> dict[int, tuple[int, int]]:
    # When git counts each commit with a single parent: pass over its list, place in the list. Parents are counted first, so
    # a commit listed before its parent has to wait for the pass after the parent's.
    place = {commit: i for i, commit in enumerate(inside)}
    turn: dict[int, tuple[int, int]] = {}
    for commit in sorted(inside):
        if len(inside[commit]) == 1:
            parent = inside[commit][0]
            waits = parent in turn and place[parent] > place[commit]
            turn[commit] = (turn[parent][0] + waits if parent in turn else 0, place[commit])
    return turn


def _step_aside(ranked: Weights, skipped: Mask, bad: int | None) -> int | None:
    # Git's choice among all commits of the range, best first, when some commit is skipped.
    if not skipped[ranked[0]]:
        return int(ranked[0])
    testable = ranked[~skipped[ranked]]
    count = len(testable)
    if not count:
        return None
    random = _random(count)
    index = count * random // _RANDOM_STEPS * _square_root(random) // _square_root(_RANDOM_STEPS)
    if testable[index] == bad:
        index = max(index - 1, 0)
    return int(testable[index])


def _random(count: int) -> int:
    # The generator of "man 3 rand", seeded with the number of commits left.
    return (count * 1103515245 + 12345) % (1 << 32) // 65536 % _RANDOM_STEPS


def _square_root(value: int) -> int:
    # Newton's iteration in single precision, stopped early: the remainder of it decides git's choice.
    if not value:
        return 0
    x = np.float32(value)
    while True:
        y = (x + np.float32(value) / x) / np.float32(2)
        step, x = abs(y - x), y
        if step < 0.5:
            return int(x)
