"""Sums over all that a commit contains, for many weights fast. Read `Ancestry.sums`.

A commit contains what its first parent contains, itself, and what it merges. So a sum over all it contains is a sum along its
first parents, once what each merge brings is known; that is worked out once for a range.
"""

from __future__ import annotations

import numpy as np

from kbench.evidence.priors import FloatArray
from kbench.history import History, Mask


class Ancestry:
    """Containment within some commits of a history, the members; m of them, in the order of the history.

    Parameters
    ----------
    history : History
    members : mask
        Parents outside are not followed, so what lies between members has to be a member.

    Attributes
    ----------
    commits : array of shape (m,)
        Indices of the members in the history.
    """

    def __init__(self, history: History, members: Mask) -> None:
        self.commits = np.flatnonzero(members)
        rows = history.parents_within(members)
        self._first = np.array([row[0] if row else -1 for row in rows], dtype=np.int64)
        self._owners, self._brought = _brought(rows)

    def __len__(self) -> int:
        return len(self.commits)

    def sums(self, weights: FloatArray) -> FloatArray:
        """Return for each member the sum of the weights of all members it contains, itself included.

        Parameters
        ----------
        weights : array of shape (..., m)

        Returns
        -------
        array of the same shape
            Pointers double along the first parents: m log m operations, and one for each commit a merge brings.
        """
        flat = weights.reshape(-1, len(self))
        total = np.zeros((len(flat), len(self) + 1))  # the last column is what lies outside
        total[:, :-1] = flat
        for row, own in zip(total, flat, strict=True):
            row[:-1] += np.bincount(self._owners, weights=own[self._brought], minlength=len(self))
        up = np.append(np.where(self._first < 0, len(self), self._first), len(self))
        while (up[:-1] < len(self)).any():
            total += total[:, up]
            up = up[up]
        return total[:, :-1].reshape(weights.shape)


def _brought(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    # For each merge the commits that its other parents contain and its first does not: (merge, commit) pairs as two arrays.
    # Sets of commits are whole numbers, a bit each.
    contained: list[int] = []
    owners, brought = [], []
    for commit, row in enumerate(rows):
        bits = contained[row[0]] if row else 0
        if len(row) > 1:
            first = bits
            for parent in row[1:]:
                bits |= contained[parent]
            news = _places(bits & ~first)
            owners.append(np.full(len(news), commit))
            brought.append(news)
        contained.append(bits | 1 << commit)
    if not owners:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return np.concatenate(owners), np.concatenate(brought)


def _places(bits: int) -> np.ndarray:
    low = (bits & -bits).bit_length() - 1 if bits else 0
    low -= low % 8
    raw = np.frombuffer((bits >> low).to_bytes((bits.bit_length() - low + 7) // 8 or 1, "little"), dtype=np.uint8)
    return np.flatnonzero(np.unpackbits(raw, bitorder="little")) + low
