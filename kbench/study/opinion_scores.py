"""How well probabilities did, as figures by name. Read `score_culprits` first. Needs scikit-learn (the extra "fit")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Figures = dict[str, Any]


def score_culprits(p: FloatArray, truth: NDArray[np.bool_]) -> Figures:
    """Return how well P(the named culprit is the true one) does; fifths are of the answers, least believed first."""
    order = np.argsort(-p, kind="stable")
    right = np.cumsum(truth[order])
    at = int(np.searchsorted(right, 0.8 * truth.sum()))
    return {
        "n": len(p),
        "auc": _auc(p, truth),
        "brier": float(np.mean((p - truth) ** 2)),
        "log_loss": _log_loss(p, truth),
        "precision_at_recall_80": float(right[at] / (at + 1)),
        "said_by_fifth": [float(p[part].mean()) for part in np.array_split(order[::-1], 5)],
        "was_by_fifth": [float(truth[part].mean()) for part in np.array_split(order[::-1], 5)],
    }


def score_crashes(p: FloatArray, truth: NDArray[np.bool_]) -> Figures:
    """Return how well P(a crash on the way was the bug's) does; the threshold keeps 96% of those that were."""
    least = float(np.quantile(p[truth], 0.04, method="lower"))
    order = np.argsort(p, kind="stable")
    return {
        "n": len(p),
        "n_false": int((~truth).sum()),
        "auc": _auc(p, truth),
        "log_loss": _log_loss(p, truth),
        "log_loss_base": _log_loss(np.full(len(p), truth.mean()), truth),
        "threshold": least,
        "kept": float((p[truth] >= least).mean()),
        "let_through": float((p[~truth] >= least).mean()),
        "said_by_fifth": [float(p[part].mean()) for part in np.array_split(order, 5)],
        "was_by_fifth": [float(truth[part].mean()) for part in np.array_split(order, 5)],
    }


def _auc(p: FloatArray, truth: NDArray[np.bool_]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, p))


def _log_loss(p: FloatArray, truth: NDArray[np.bool_]) -> float:
    p = p.clip(1e-9, 1 - 1e-9)
    return float(-np.mean(np.where(truth, np.log(p), np.log1p(-p))))


def mean(scores: Sequence[Figures]) -> Figures:
    """Return the mean of each figure, to four digits."""
    return {name: np.round(np.mean([score[name] for score in scores], axis=0), 4).tolist() for name in scores[0]}
