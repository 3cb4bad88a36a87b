"""Draw worlds of a kind. Pure; read `draw_world` first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kbench.history import History, Mask
from kbench.search.suspects import suspicion
from kbench.study.graphs import draw_graph
from kbench.study.nature import draw_real, draw_touching
from kbench.study.specs import WorldSpec
from kbench.study.stretches import no_skips, skip_stretches
from kbench.study.worlds import World


def draw_world(spec: WorldSpec, seed: int, trial: int) -> World:
    """Return world number `trial` of a kind; the same for the same numbers."""
    rng = np.random.default_rng((seed, trial))
    if spec.reality is not None:
        return draw_real(spec, spec.reality, rng, (seed, trial))
    graph = draw_graph(rng, [spec.commits])
    history, bad = graph.history, len(graph.history) - 1
    candidates = np.flatnonzero(history.candidates(bad, [0]))
    trace = draw_touching(rng, spec, history, candidates)
    culprit = _culprit(rng, spec, history, candidates, trace)
    buggy = history.descendants(culprit)
    skip = no_skips(len(history))
    if spec.skips:
        skip_stretches(rng, skip, candidates, spec.skips, spare=[culprit, bad, *history.parents[culprit]])
    return World(
        history=history,
        bad=bad,
        good=(0,),
        tags=(),
        culprit=culprit,
        older=False,
        buggy=buggy,
        rate=np.where(buggy, spec.rate, 0.0),
        changed=np.zeros(len(history), dtype=np.bool_),
        changed_title="",
        second_title=False,
        foreign=(),
        noise=spec.false_alarms,
        skip=skip,
        kernel=_kernels(rng, history, spec.noops, skip, culprit),
        seed=(seed, trial),
        limit_h=spec.limit_h,
        first_runs=int(rng.choice(spec.first_runs)) if spec.first_runs else 0,
        prior=suspicion(history, trace, share=spec.prior) if spec.hands_prior and spec.touching else None,
    )


def _culprit(rng: np.random.Generator, spec: WorldSpec, history: History, candidates: NDArray[np.int64], trace: Mask) -> int:
    # Where files count, a culprit is no merge: none of the real ones was.
    if not trace.any():
        return int(rng.choice(candidates))
    inside = rng.random() < spec.p_touching
    plain = np.array([len(history.parents[commit]) < 2 for commit in candidates])
    return int(rng.choice(candidates[plain & (trace[candidates] == inside)]))


def _kernels(rng: np.random.Generator, history: History, noops: float, skip: NDArray[np.int8], culprit: int) -> NDArray[np.int64]:
    # Commits that make their parent's kernel: not the culprit, no merge, and none that changes whether it can be tested.
    kernel = np.arange(len(history))
    if noops:
        for commit in np.flatnonzero(rng.random(len(history)) < noops).tolist():
            parents = history.parents[commit]
            if len(parents) == 1 and commit != culprit and skip[commit] == skip[parents[0]]:
                kernel[commit] = kernel[parents[0]]
    return kernel
