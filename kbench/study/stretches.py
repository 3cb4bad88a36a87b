"""Stretches of history that cannot be tested. Pure; read `skip_stretches` first."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from kbench.study.worlds import SKIPS

Skips = NDArray[np.int8]

_KINDS = (SKIPS.index("build"), SKIPS.index("boot"), SKIPS.index("boot"), SKIPS.index("test"))  # as often as in real ones


def no_skips(n: int) -> Skips:
    """Return an array that lets every commit be tested."""
    return np.zeros(n, dtype=np.int8)


def skip_kind(rng: np.random.Generator) -> int:
    """Draw why a stretch cannot be tested."""
    return int(rng.choice(_KINDS))


def skip_stretches(
    rng: np.random.Generator, skip: Skips, commits: NDArray[np.int64], share: float, *, spare: Collection[int] = ()
) -> None:
    """Mark a share of `commits`, in one to three stretches of neighbours, as not testable; none of `spare`."""
    parts = int(rng.integers(1, 4))
    for width in rng.multinomial(round(share * len(commits)), rng.dirichlet(np.full(parts, 3.0))).tolist():
        start = int(rng.integers(0, len(commits) - width + 1))
        skip[commits[start : start + width]] = skip_kind(rng)
    skip[list(spare)] = 0
