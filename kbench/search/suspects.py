"""Who is suspected before anything ran: the prior over culprits. Pure; read `suspicion` first."""

from __future__ import annotations

import numpy as np

from kbench.evidence.priors import FloatArray
from kbench.history import History, Mask

SHARE = 0.5  # of the belief, for commits that touch a file of the crash's trace: 62% of right culprits do
MERGE_WEIGHT = 0.1  # of a merge against another commit: of 57 merges that were named as culprits none was right


def suspicion(history: History, touching: Mask, within: Mask | None = None, *, share: float = SHARE) -> FloatArray:
    """Return the weight of each commit as the culprit.

    Parameters
    ----------
    history : History
    touching : mask of shape (n,)
        Commits that touch a file of the crash's trace; merges among them are left out, they touch what they merge.
    within : mask of shape (n,), optional
        The range: commits that touch one share so much of its weight. All commits by default.
    share : float
        That share; 0 when it says nothing.
    """
    merges = np.array([len(row) > 1 for row in history.parents], dtype=np.bool_)
    weight = np.where(merges, MERGE_WEIGHT, 1.0)
    inside = np.ones(len(history), dtype=np.bool_) if within is None else within
    touching = touching & inside & ~merges
    if touching.any():
        whole = weight[inside].sum()
        weight[inside] *= 1 - share
        weight[touching] += share * whole / touching.sum()
    return weight
