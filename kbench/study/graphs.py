"""Commit graphs shaped like Linux: a mainline that merges topic branches. Pure; read `draw_graph` first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kbench.history import History

_LENGTHS = (4, 21)  # commits of a topic branch, the second excluded: one merge to 12 others, 8% of all; Linux has 4 to 8%
_NEAR = (1, 6)  # a branch forks off one of the last so many commits of the mainline
_P_FAR = 0.05  # or, this often, off a point up to two releases back


@dataclass(frozen=True, slots=True)
class Graph:
    """A history and the places of its releases."""

    history: History
    tags: tuple[int, ...]  # releases, newest first; the last commit is none


def draw_graph(rng: np.random.Generator, sizes: Sequence[int]) -> Graph:
    """Draw a history of one release after the other.

    Parameters
    ----------
    rng : numpy.random.Generator
    sizes : sequence of int
        Commits of each stretch between two releases, oldest first; each ends in a release but the last. The first commit
        of all is one more.

    Returns
    -------
    Graph
        With one stretch there is no release. With more, some branches fork off before the release before.
    """
    parents: list[tuple[int, ...]] = [()]
    mainline, tags = [0], [0]
    for size in sizes:
        stop = len(parents) + size
        while len(parents) < stop:
            _add_branch(rng, parents, mainline, stop, far=tags[-2] if len(tags) > 1 else None)
        tags.append(mainline[-1])
    return Graph(History.from_parents(parents), tuple(tags[-2:0:-1]))


def _add_branch(
    rng: np.random.Generator, parents: list[tuple[int, ...]], mainline: list[int], stop: int, *, far: int | None
) -> None:
    # A topic branch and its merge, or one commit on the mainline where there is no room for them.
    tip, room = mainline[-1], stop - len(parents)
    length = min(int(rng.integers(*_LENGTHS)), room - 1)
    if length < 2:
        parents.append((tip,))
    else:
        first = mainline[-min(int(rng.integers(*_NEAR)), len(mainline))]
        if far is not None and rng.random() < _P_FAR:
            old = [commit for commit in mainline[-200:] if commit >= far]
            first = old[int(rng.integers(len(old)))]
        for _ in range(length):
            parents.append((first,))
            first = len(parents) - 1
        parents.append((tip, first))
    mainline.append(len(parents) - 1)
