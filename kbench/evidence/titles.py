"""How alike the titles of two crashes are, and what that says. Read `similarity` and `log_odds`."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

import numpy as np

SAME_FUNCTION, SAME_KIND = 0.9, 0.5  # likenesses; the same words without either count for less than both
# How much more often a crash of the bug under another title is so much like its titles than another bug's crash is: 29% of the
# first and 1% of the second have its function (not many were seen), 29% and 23% only its kind, 43% and 76% neither.
_LIKENESS, _ODDS = (0.0, SAME_KIND, SAME_FUNCTION), (0.56, 1.24, 15.0)

_WORDS = re.compile(r"\w+")


@lru_cache(maxsize=4096)
def likeness(one: str, other: str) -> float:
    """Return how alike two titles are, from 0 to 1: the same title, the same function, the same kind, similar words."""
    if one == other:
        return 1.0
    (kind, _, function), (other_kind, _, other_function) = one.rpartition(" in "), other.rpartition(" in ")
    if function and kind and other_kind and function == other_function:
        return SAME_FUNCTION
    words, other_words = set(_WORDS.findall(one.lower())), set(_WORDS.findall(other.lower()))
    shared = len(words & other_words) / max(len(words | other_words), 1)
    return max(SAME_KIND if kind and kind == other_kind else 0.0, SAME_KIND * shared)


def similarity(title: str, titles: Collection[str]) -> float:
    """Return how alike a title is to the nearest of some; 0 when there are none."""
    return max((likeness(title, known) for known in titles), default=0.0)


def log_odds(title: str, titles: Collection[str]) -> float:
    """Log of P(so alike | the bug's) to P(so alike | another bug's), of a title that is none of the bug's known ones."""
    return float(np.interp(similarity(title, titles), _LIKENESS, np.log(_ODDS)))
