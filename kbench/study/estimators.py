"""Estimates from counts: beta-binomial mixtures, interval-censored times. Pure; read `fit_mixture` first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def fit_mixture(crashed: Sequence[int], total: Sequence[int], usual: Sequence[float]) -> tuple[float, float, float]:
    """Fit P(crashes) = (1 - w) usual + w BetaBinomial(a, b) to tests that crashed once or more; return w, a, b.

    Parameters
    ----------
    crashed, total : sequences of int
        Runs of each test; 1 <= crashed <= total. Both parts are truncated at one crash.
    usual : sequence of float
        Likelihood of each test under the part that has no unknowns, truncated too.

    Notes
    -----
    Over the logit of w and the logarithms of a and b, these with a standard normal prior: truncated counts that pile up
    at one crash would else drive a to 0.
    """
    from scipy.optimize import minimize
    from scipy.special import expit
    from scipy.stats import betabinom

    k, n, known = np.asarray(crashed), np.asarray(total), np.asarray(usual)

    def loss(x: FloatArray) -> float:
        w, a, b = expit(x[0]), np.exp(x[1]), np.exp(x[2])
        other = betabinom.pmf(k, n, a, b) / (1 - betabinom.pmf(0, n, a, b))
        return float((x[1] ** 2 + x[2] ** 2) / 2 - np.log((1 - w) * known + w * other).sum())

    found = minimize(loss, np.array([-2.0, 0.5, 0.5]), method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-3})
    return float(expit(found.x[0])), float(np.exp(found.x[1])), float(np.exp(found.x[2]))


def fit_intervals(low: Sequence[int], high: Sequence[int | None], cells: int) -> FloatArray:
    """Estimate a distribution of whole numbers known only to lie in (low, high]; shape (cells + 1,), sums to 1.

    Parameters
    ----------
    low, high : sequences
        Ends of each observation's interval; None: no upper end.
    cells : int
        Entry k - 1 is P(k); the last entry is P(above cells).

    Notes
    -----
    The self-consistent estimate of Turnbull (1976), The empirical distribution function with arbitrarily grouped,
    censored and truncated data, JRSS B 38, 290-295; 2000 rounds of EM from the uniform distribution.
    """
    place = np.arange(1, cells + 2)
    upper = np.array([cells + 1 if end is None else end for end in high])
    inside = (place > np.asarray(low)[:, None]) & (place <= upper[:, None])
    p = np.full(cells + 1, 1 / (cells + 1))
    for _ in range(2000):
        shares = inside * p
        p = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
    return p
