"""The shape of a lab history, drawn from a seed: who forks from whom, and where what is planted.

Pure: numbers only, no text and no git. Read `draw_history` first. A history is drawn and then held against `lawful`;
one that breaks a law is thrown away whole and the next one drawn. So every place is as likely as any other that keeps
the laws, and nothing is arranged around the culprit: the foreign stretch, say, lies between the good release and the
culprit in as many seeds as chance has it, and there it misleads a policy that does not look at titles.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from kbench.errors import InputError

T = TypeVar("T")

MIN_COMMITS = 60  # below, the laws leave next to no history to draw
STRETCHES = ("no build", "no boot", "foreign")
_TRIES = 20_000
_MAX_STRETCH = 16  # commits; a longer one would leave no room for forks


class Dice:
    """Random draws that are the same in every Python: only `random()` is promised to be, so all is made from it."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def fraction(self, low: float = 0.0, high: float = 1.0) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self._random.random()

    def integer(self, low: int, high: int) -> int:
        """Uniform over low, …, high."""
        return low + int(self._random.random() * (high - low + 1))

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices, all equally likely."""
        return choices[self.integer(0, len(choices) - 1)]

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return self._random.random() < p


@dataclass(frozen=True, slots=True)
class Node:
    """One commit, before it has a tree: parents are indices, the first one is the line it was made on."""

    parents: tuple[int, ...]
    topic: int | None = None  # number of the topic branch it was made on; None: the mainline
    tag: str | None = None  # "v1.0" …: a release

    @property
    def plain(self) -> bool:
        """Neither the root, nor a merge, nor a release: it may carry any edit."""
        return len(self.parents) == 1 and self.tag is None


@dataclass(frozen=True)
class History:
    """A graph with what is planted in it; indices are topological and in order of time, 0 the root, the last one main."""

    nodes: tuple[Node, ...]
    culprit: int
    stretches: tuple[tuple[int, int], ...]  # fault and repair, in the order of STRETCHES
    wrong_turn: int  # brings the bug of the fix case
    fix: int
    fix_bad: int  # a release between the two

    @cached_property
    def ancestors(self) -> tuple[int, ...]:
        """Bit j of entry i: j is i, or an ancestor of it."""
        return _ancestors(self.nodes)

    @property
    def tags(self) -> list[int]:
        """The releases, oldest first."""
        return [i for i, node in enumerate(self.nodes) if node.tag]

    def between(self, first: int, repair: int) -> list[int]:
        """The commits that contain `first` and not `repair`, in order."""
        return [i for i, has in enumerate(self.ancestors) if has >> first & 1 and not has >> repair & 1]


def draw_history(dice: Dice, commits: int) -> History:
    """Draw a lawful history.

    Parameters
    ----------
    commits : int
        Number of commits in all, merges and releases included; MIN_COMMITS or more.

    Raises
    ------
    InputError
        If there are too few commits for all that has to be planted.
    """
    if commits < MIN_COMMITS:
        raise InputError(f"lab: need {MIN_COMMITS} commits or more, got {commits}; raise --commits")
    for attempt in range(_TRIES):
        if attempt % 50 == 0:
            nodes = _draw_graph(dice, commits)
            ancestors = _ancestors(nodes)
        history = _plant(dice, nodes, ancestors)
        if history and lawful(history):
            return history
    raise InputError(f"lab: no lawful history of {commits} commits in {_TRIES} tries; take another seed or more commits")


def lawful(history: History) -> bool:
    """True if the planted truth is what a bisection can find, whatever else is in its way.

    The bad end, the releases, the culprit, the fix and their neighbours can be tested; the stretches lie apart, each
    unbroken on the mainline; a topic branch without the good release is merged in the range; and in the range of the fix
    case every commit without the bug comes after the fix.
    """
    nodes, has = history.nodes, history.ancestors
    faulty = [history.between(first, repair) for first, repair in history.stretches]
    broken = [i for members in faulty for i in members]
    repairs = [repair for _, repair in history.stretches]
    planted = [history.culprit, history.wrong_turn, history.fix, *repairs]
    near = [*planted, *(p for i in (history.culprit, history.fix) for p in nodes[i].parents)]
    near += [i for i, node in enumerate(nodes) if history.culprit in node.parents]
    near += [*history.tags, len(nodes) - 1]
    if len(set(broken)) < len(broken) or set(broken) & set(near) or len(set(planted)) < len(planted):
        return False
    if any(nodes[i].topic is not None for i in broken):
        return False
    good = max((tag for tag in history.tags if not has[tag] >> history.culprit & 1), default=0)
    bad = min((tag for tag in history.tags if tag > good), default=len(nodes) - 1)
    side = [i for i, node in enumerate(nodes) if node.topic is not None and i > good and has[bad] >> i & 1]
    if good <= history.tags[0] or all(has[i] >> good & 1 for i in side):
        return False
    unfixed = [i for i in range(len(nodes)) if not has[history.fix_bad] >> i & 1]
    return all(has[i] >> history.wrong_turn & 1 for i in unfixed)


def _plant(dice: Dice, nodes: Sequence[Node], ancestors: Sequence[int]) -> History | None:
    n = len(nodes)
    plain = [i for i, node in enumerate(nodes) if node.plain]
    main = [i for i in plain if nodes[i].topic is None]
    culprit = dice.pick([i for i in plain if i > n // 4])
    stretches = []
    for kind in STRETCHES:
        share = 0.03 if kind == "no boot" else dice.fraction(0.03, 0.05)
        places = open_stretches(nodes, min(_MAX_STRETCH, max(2, round(n * share))))
        if not places:
            return None
        stretches.append(dice.pick(places))
    wrong_turn = dice.pick([i for i in main if n // 20 < i < n // 2])
    fix = dice.pick([i for i in main if i > wrong_turn])
    crashing = [i for i, node in enumerate(nodes) if node.tag and ancestors[i] >> wrong_turn & 1 and not ancestors[i] >> fix & 1]
    if not crashing or (fix - wrong_turn) * 5 < n:
        return None
    return History(tuple(nodes), culprit, tuple(stretches), wrong_turn, fix, dice.pick(crashing))


def open_stretches(nodes: Sequence[Node], length: int) -> list[tuple[int, int]]:
    """Fault and repair of every stretch of that length, on a mainline from which nothing forks and nothing is released."""
    line = [i for i, node in enumerate(nodes) if node.topic is None]
    closed = {node.parents[0] for node in nodes if node.topic is not None} | {i for i, node in enumerate(nodes) if node.tag}
    runs = zip(*(line[k:] for k in range(length + 1)), strict=False)
    return [(run[0], run[-1]) for run in runs if nodes[run[0]].plain and nodes[run[-1]].plain and not closed & set(run[:-1])]


def _draw_graph(dice: Dice, n: int) -> tuple[Node, ...]:
    # Releases first, then topic branches on the free places, each a fork, its commits and its merge; what is left is mainline.
    n_tags = dice.integer(6, 8)
    releases = {round(n * (k + 0.3 + dice.fraction(0, 0.4)) / (n_tags + 0.3)): f"v1.{k}" for k in range(n_tags)}
    taken = {0, n - 1, *releases, *(i + 1 for i in releases)}
    slots: dict[int, tuple[int, int]] = {}  # index: topic, commits still to come on it (0: this is its merge)
    forks: list[int] = []
    target = round(n * dice.fraction(0.08, 0.10))
    while len(forks) < target:
        fork = dice.integer(2, n - 4)
        length = dice.pick((1, 1, 2, 2, 3, 4, 5, 6))
        free = [i for i in range(fork + 1, min(n - 1, fork + 2 * length + dice.integer(2, 24))) if i not in taken]
        if fork in taken or len(free) < length + 2:  # + 2: the mainline goes on meanwhile
            continue
        while len(free) > length + 1:
            free.pop(dice.integer(0, len(free) - 1))
        for left, index in enumerate(reversed(free)):
            slots[index] = (len(forks), left)
        taken |= {fork, *free}
        forks.append(fork)
    return _connect(n, releases, slots, forks)


def _connect(n: int, releases: dict[int, str], slots: dict[int, tuple[int, int]], forks: Sequence[int]) -> tuple[Node, ...]:
    nodes: list[Node] = [Node(())]
    main = 0
    heads: dict[int, int] = {}
    for index in range(1, n):
        topic, left = slots.get(index, (None, 0))
        if topic is None:
            nodes.append(Node((main,), tag=releases.get(index)))
            main = index
        elif left:
            nodes.append(Node((heads[topic],), topic=topic))
            heads[topic] = index
        else:
            nodes.append(Node((main, heads[topic])))
            main = index
        heads |= {k: main for k, fork in enumerate(forks) if fork == index}
    return tuple(nodes)


def _ancestors(nodes: Sequence[Node]) -> tuple[int, ...]:
    masks: list[int] = []
    for index, node in enumerate(nodes):
        mask = 1 << index
        for parent in node.parents:
            mask |= masks[parent]
        masks.append(mask)
    return tuple(masks)
