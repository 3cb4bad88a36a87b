"""Worlds like real bisections: releases, silence, intruders, deserts. Pure; read `draw_real` first.

A hidden commit makes each of these: the bug shows only where an "enabling" commit is in, with its own title only where a
"naming" commit is in, an intruder where its own culprit is in and its fix is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kbench.evidence import Priors
from kbench.history import History, Mask
from kbench.search.suspects import suspicion
from kbench.study.graphs import Graph, draw_graph
from kbench.study.specs import RARE, Intruder, Reality, WorldSpec
from kbench.study.stretches import no_skips, skip_kind, skip_stretches
from kbench.study.worlds import CHANGED_TITLES, SKIPS, TITLE, Foreign, World

_SHARE_NEWEST = (0.1, 1.0)  # the original commit is so far on the way to the next release


@dataclass(frozen=True, slots=True)
class _Windows:
    """Commits between releases: window k lies between the k-th release back and the one after it, window 1 is the newest."""

    history: History
    bad: int
    tags: tuple[int, ...]
    merges: Mask
    trace: Mask  # commits that touch a file of the crash's trace

    def commits(self, k: int) -> NDArray[np.int64]:
        """Commits of window k; k above the number of tags is all that is older."""
        newer = self.bad if k == 1 else self.tags[k - 2]
        if k > len(self.tags):
            return np.flatnonzero(self.history.ancestors(newer))[1:]
        return np.flatnonzero(self.history.candidates(newer, [self.tags[k - 1]]))


def draw_real(spec: WorldSpec, real: Reality, rng: np.random.Generator, seed: tuple[int, int]) -> World:
    """Return a world like the bisections that `real` describes."""
    n_tags = int(rng.choice(real.releases))
    sizes = [spec.commits] * (n_tags + 1)
    graph: Graph = draw_graph(rng, [*sizes[:-1], spec.commits, max(2, int(spec.commits * rng.uniform(*_SHARE_NEWEST)))])
    tags = graph.tags[:n_tags]
    history, bad = graph.history, len(graph.history) - 1
    merges = np.array([len(row) > 1 for row in history.parents], dtype=np.bool_)
    windows = _Windows(history, bad, tags, merges, draw_touching(rng, spec, history, np.arange(len(history))))
    depth = 1 + int(rng.choice(len(real.depth), p=np.array(real.depth) / sum(real.depth)))
    depth = min(depth, n_tags + 1)  # n_tags + 1: older than the oldest testable release
    culprit = _pick(rng, windows, depth, spec.p_touching, merges=False)
    buggy = history.descendants(culprit)
    shows = _shows(rng, real, windows, depth)
    skip = _skips(rng, real, windows, depth)
    skip[bad] = SKIPS.index("boot") if rng.random() < real.p_untested else 0
    return World(
        history=history,
        bad=bad,
        good=(),
        tags=tags,
        culprit=culprit,
        older=bool(buggy[tags[-1]]),
        buggy=buggy,
        live=shows if rng.random() < spec.liveness else None,
        priors=replace(Priors.default(), release=float(spec.commits)),
        rate=np.where(buggy & shows, _rates(rng, real, windows, depth), 0.0),
        changed=~_named(rng, real, windows, depth),
        changed_title=str(rng.choice(CHANGED_TITLES, p=_with_rest(real.p_changed_function, real.p_changed_kind))),
        second_title=bool(rng.random() < real.p_second_title),
        foreign=_foreign(rng, real, windows, depth),
        noise=real.noise,
        skip=skip,
        kernel=np.arange(len(history)),
        seed=seed,
        prior=suspicion(history, windows.trace, share=spec.prior) if spec.hands_prior else None,
        pace=float(rng.lognormal(0.0, real.sd_pace)),
        limit_h=spec.limit_h,
        first_runs=int(rng.choice(spec.first_runs)) if spec.first_runs else 0,
    )


def draw_touching(rng: np.random.Generator, spec: WorldSpec, history: History, commits: NDArray[np.int64]) -> Mask:
    """Draw which of the commits touch a file of the crash's trace: a share of them, no merge; shape (n,)."""
    touching = np.zeros(len(history), dtype=np.bool_)
    plain = np.array([commit for commit in commits.tolist() if len(history.parents[commit]) < 2], dtype=np.int64)
    touching[rng.choice(plain, size=round(spec.touching * len(commits)), replace=False)] = True
    return touching


def _pick(rng: np.random.Generator, windows: _Windows, k: int, p_touching: float, *, merges: bool = True) -> int:
    # A commit of window k; with P(touching) one that touches the trace, else any, merges only where they may be.
    commits = windows.commits(k)
    touching = commits[windows.trace[commits]]
    plain = commits[~windows.merges[commits]]
    if len(touching) and rng.random() < p_touching:
        return int(rng.choice(touching))
    return int(rng.choice(commits if merges or not len(plain) else plain))


def _since(rng: np.random.Generator, windows: _Windows, k: int, p_touching: float) -> Mask:
    # Commits that contain a commit drawn from window k.
    return windows.history.descendants(_pick(rng, windows, k, p_touching))


def _shows(rng: np.random.Generator, real: Reality, windows: _Windows, depth: int) -> Mask:
    # Where the bug can show. Releases 1 to depth - 1 have it.
    newest = len(windows.commits(1)) / len(windows.commits(2)) if windows.tags else 1.0
    for k in range(1, depth):
        if rng.random() < real.silent_release[min(k, len(real.silent_release)) - 1] * (newest if k == 1 else 1.0):
            return _since(rng, windows, k, real.touching_missed)
    if rng.random() < real.silent_range and depth <= len(windows.tags):
        return _since(rng, windows, depth, real.touching_missed)
    return np.ones(len(windows.history), dtype=np.bool_)


def _named(rng: np.random.Generator, real: Reality, windows: _Windows, depth: int) -> Mask:
    # Where the bug shows with the titles of the original commit.
    for k in range(1, depth):
        if rng.random() < real.changed_release:
            return _since(rng, windows, k, real.touching_missed)
    if rng.random() < real.changed_range and depth <= len(windows.tags):
        return _since(rng, windows, depth, real.touching_missed)
    return np.ones(len(windows.history), dtype=np.bool_)


def _rates(rng: np.random.Generator, real: Reality, windows: _Windows, depth: int) -> NDArray[np.float64]:
    rate = 1.0 if rng.random() < real.p_one else rng.beta(real.rate_a, real.rate_b)
    rates = np.full(len(windows.history), rate)
    if rng.random() < real.p_drift:
        since = _since(rng, windows, int(rng.integers(1, min(depth, len(windows.tags)) + 1)), real.touching_missed)
        rates[~since] = rng.beta(real.drift_a, real.drift_b)
    return rates


def _foreign(rng: np.random.Generator, real: Reality, windows: _Windows, depth: int) -> tuple[Foreign, ...]:
    # One that the first release without the bug has, back to some earlier one; one that came in after that release.
    n = len(windows.tags)
    found = []
    if depth <= n and rng.random() < real.intruder_release.p:
        first = depth + int(rng.geometric(1 - real.p_again))
        there = _since(rng, windows, min(first, n + 1), real.touching_alarm)
        found.append(_intrude(rng, real, real.intruder_release, there, windows.bad))
    if depth <= n and rng.random() < real.intruder_range.p:
        found.append(_intrude(rng, real, real.intruder_range, _since(rng, windows, depth, real.touching_alarm), windows.bad))
    return tuple(found)


def _intrude(rng: np.random.Generator, real: Reality, kind: Intruder, since: Mask, bad: int) -> Foreign:
    # Not on the original commit: that one was chosen because it showed this bug.
    there = since.copy()
    there[bad] = False
    rate = rng.uniform(0, RARE) if rng.random() < kind.p_rare else rng.beta(kind.a, kind.b)
    kinds = TITLE, f"KASAN: use-after-free Read in intruder_{rng.integers(1000)}", f"WARNING in intruder_{rng.integers(1000)}"
    title = rng.choice(kinds, p=_with_rest(real.p_disguised, (1 - real.p_disguised) * real.p_intruder_kind))
    return Foreign(str(title), there, float(rate))


def _with_rest(*shares: float) -> list[float]:
    return [*shares, 1 - sum(shares)]


def _skips(rng: np.random.Generator, real: Reality, windows: _Windows, depth: int) -> NDArray[np.int8]:
    skip = no_skips(len(windows.history))
    share = float(rng.choice(real.untestable_range))
    if share and depth <= len(windows.tags):
        ends = [windows.bad, *windows.tags]
        skip_stretches(rng, skip, windows.commits(depth), share, spare=ends)
    for k in range(2, len(windows.tags) + 1):
        if rng.random() < real.untestable_release:
            skip[: int(rng.choice(windows.commits(k)))] = skip_kind(rng)
            break
    return skip
