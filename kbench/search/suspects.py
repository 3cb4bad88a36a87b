"""Who is suspected before anything ran: the prior over culprits. Pure; read `suspicion` first."""

from __future__ import annotations

import numpy as np

from kbench.evidence.priors import FloatArray
from kbench.history import History, Mask

SHARE = 0.5  # of the belief, for commits that touch a file of the crash's trace: 62% of right culprits do
# Of that share, for those whose change is in a function of the trace or names one. In Firefox 59 to 67% of the functions that
# were mended after a crash stand in its trace (Wu et al. 2014, CrashLocator, ISSTA).
SHARE_MENTIONING = 0.5
MERGE_WEIGHT = 0.1  # of a merge against another commit: of 57 merges that were named as culprits none was right


def suspicion(
    history: History, touching: Mask, within: Mask | None = None, *, mentioning: Mask | None = None, share: float = SHARE
) -> FloatArray:
    """Return the weight of each commit as the culprit.

    Parameters
    ----------
    history : History
    touching : mask of shape (n,)
        Commits that touch a file of the crash's trace; merges among them are left out, they touch what they merge.
    within : mask of shape (n,), optional
        The range: commits that touch one share so much of its weight. All commits by default.
    mentioning : mask of shape (n,), optional
        Those of `touching` whose change is in a function of the trace, or names one. None by default.
    share : float
        The share of those that touch one; 0 when it says nothing.
    """
    merges = np.array([len(row) > 1 for row in history.parents], dtype=np.bool_)
    weight = np.where(merges, MERGE_WEIGHT, 1.0)
    inside = np.ones(len(history), dtype=np.bool_) if within is None else within
    whole = weight[inside].sum()
    touching = touching & inside & ~merges
    if touching.any():
        weight[inside] *= 1 - share
        weight[touching] += share * whole / touching.sum()
    if mentioning is not None and (mentioning & touching).any():
        mentioning = mentioning & touching
        weight[touching] -= SHARE_MENTIONING * share * whole / touching.sum()
        weight[mentioning] += SHARE_MENTIONING * share * whole / mentioning.sum()
    return weight
