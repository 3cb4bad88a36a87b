"""How alike the titles of two crashes are. Read `similarity`."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

SAME_FUNCTION, SAME_KIND = 0.9, 0.5  # likenesses; the same words without either count for less than both

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
