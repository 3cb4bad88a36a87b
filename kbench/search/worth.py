"""What an experiment is worth: bits about the culprit for each second it costs. Read `Worth` first.

One experiment tells through one thing only whether a revision has the bug, so its information is that of a noisy channel with
two inputs. Lindley (1956), On a measure of the information provided by an experiment; that one looks a single step ahead.
"""

from __future__ import annotations

import numpy as np

from kbench.evidence.priors import FloatArray
from kbench.search.question import Costs

STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # batches of runs that are weighed against each other
AT_ONCE = (1, 2, 3, 4, 6, 8)  # the same in multiples of a machine's width


def batches(costs: Costs) -> np.ndarray:
    """Return the numbers of runs that are weighed; shape (K,)."""
    return np.array(STEPS if costs.width <= 1 else AT_ONCE) * max(costs.width, 1)


def information(p_bug: FloatArray, p_clean: FloatArray, p_crash_without: FloatArray) -> FloatArray:
    """Return the bits a batch of runs tells about whether a revision has the bug.

    Parameters
    ----------
    p_bug : array
        P(the revision has the bug).
    p_clean : array, broadcast with `p_bug`
        P(no run shows it | it has the bug).
    p_crash_without : array, broadcast with `p_bug`
        P(a run shows it | it has not).
    """
    shown = p_bug * (1 - p_clean) + (1 - p_bug) * p_crash_without
    return np.maximum(_entropy(shown) - p_bug * _entropy(p_clean) - (1 - p_bug) * _entropy(p_crash_without), 0.0)


def seconds(p_bug: FloatArray, p_clean: FloatArray, runs: np.ndarray, costs: Costs) -> FloatArray:
    """Return the expected seconds of batches of runs that end with the first crash; shape (..., K).

    Parameters
    ----------
    p_bug : array of shape (...)
    p_clean : array of shape (..., K)
        P(no run of a batch shows the bug | the revision has it).
    runs : array of shape (K,)
        Sizes of the batches, smallest first.
    """
    rounds = np.ceil(runs / max(costs.width, 1))
    before = np.concatenate((np.ones((*p_clean.shape[:-1], 1)), p_clean[..., :-1]), axis=-1)  # P(goes on to this batch | bug)
    with_bug = np.cumsum(np.diff(rounds, prepend=0.0) * before, axis=-1)
    return (p_bug[..., None] * with_bug + (1 - p_bug[..., None]) * rounds) * costs.run


def _entropy(p: FloatArray) -> FloatArray:
    inside = np.clip(p, 1e-12, 1 - 1e-12)
    return -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside))
