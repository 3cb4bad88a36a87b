"""The closing proof: culprit, parent and the culprit reverted, run in turns. Read `interleaved` first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise, product
from math import comb
from typing import Literal, get_args

from kbench.errors import InputError
from kbench.flakiness.comparison import Comparison, Counts, compare

Role = Literal["parent", "culprit", "reverted"]
Kind = Literal["cause", "fix"]


@dataclass(frozen=True, slots=True)
class Interleaved:
    """What the runs in turns showed; `str` of it is the proof in one line."""

    parent: Counts  # crashes, runs
    culprit: Counts
    reverted: Counts | None  # None: not run
    comparison: Comparison  # culprit against all others together, one-sided
    p_time: float  # P(crashes so bunched, or so evenly spread, in time | runs do not depend on each other)
    p_others: float | None  # P(parent and reverted so different | one rate for both); None without reverted

    @property
    def p_value(self) -> float:
        """P(counts so far apart | the culprit crashes as often as the others)."""
        return self.comparison.p_value

    def __str__(self) -> str:
        """`parent 0:60, culprit 41:60, reverted 0:60`: crashes of runs."""
        counts = {"parent": self.parent, "culprit": self.culprit, "reverted": self.reverted}
        return ", ".join(f"{role} {seen[0]}:{seen[1]}" for role, seen in counts.items() if seen)

    def doubts(self, *, alpha: float = 0.05) -> tuple[str, ...]:
        """What speaks against it."""
        doubts = []
        if self.p_time < alpha:
            doubts.append(f"results depend on time, p {self.p_time:.2g}")
        if self.p_others is not None and self.p_others < alpha:
            doubts.append(f"parent and reverted differ, p {self.p_others:.2g}")
        return tuple(doubts)

    def sentence(self, *, alpha: float = 0.05) -> str:
        """The line, its p-value, and what speaks against it, if anything does."""
        return "; ".join([f"{self}, p {self.p_value:.2g}", *self.doubts(alpha=alpha)])


def interleaved(runs: Iterable[tuple[Role, bool]], *, kind: Kind = "cause") -> Interleaved:
    """Sum up the runs of the closing proof.

    The p-value is Boschloo's, of the culprit against parent and reverted together, in the direction its kind says. Runs in
    turns see the same weather; whether there was any is tested within each revision: see `p_time`.

    Parameters
    ----------
    runs : iterable of (role, crashed)
        In the order they ran; runs that could not be carried out are left out.
    kind : "cause" or "fix"
        A cause crashes where the others do not, a fix does not crash where they do.

    Raises
    ------
    InputError
        An unknown role or kind, no run of the parent or of the culprit.
    """
    if kind not in get_args(Kind):
        raise InputError(f"interleaved: need kind cause or fix, got {kind!r}; name one of them")
    results: dict[str, list[bool]] = {role: [] for role in get_args(Role)}
    for role, crashed in runs:
        if role not in results:
            raise InputError(f"interleaved: need a role of {', '.join(results)}, got {role!r}; name one of them")
        results[role].append(bool(crashed))
    for role in ("parent", "culprit"):
        if not results[role]:
            raise InputError(f"interleaved: need runs of parent and culprit, got none of {role}; run it")
    parent, culprit, reverted = ((sum(found), len(found)) for found in results.values())
    others = (parent[0] + reverted[0], parent[1] + reverted[1])
    return Interleaved(
        parent,
        culprit,
        reverted if results["reverted"] else None,
        compare(culprit, others, alternative="greater" if kind == "cause" else "less"),
        time_p_value(results.values()),
        compare(parent, reverted).p_value if results["reverted"] else None,
    )


def time_p_value(sequences: Iterable[Iterable[bool]]) -> float:
    """Test whether results depend on those before them; exact, two-sided, within each sequence.

    Counts the stretches of equal results over all sequences. Too few: crashes come in bunches (a warm machine, a leftover of the
    run before); too many: they take turns. Given how often each sequence crashed, every order is equally likely: Wald and
    Wolfowitz (1940), On a test whether two samples are from the same population, Annals of Mathematical Statistics 11, 147-162.
    """
    seen, ways = 0, {0: 1}
    for sequence in map(list, sequences):
        if not sequence:
            continue
        seen += 1 + sum(a != b for a, b in pairwise(sequence))
        own = _orders_by_stretches(sum(sequence), len(sequence) - sum(sequence))
        together: Counter[int] = Counter()
        for (one, n_one), (two, n_two) in product(ways.items(), own.items()):
            together[one + two] += n_one * n_two
        ways = dict(together)
    few = sum(n for stretches, n in ways.items() if stretches <= seen)
    many = sum(n for stretches, n in ways.items() if stretches >= seen)
    return min(1.0, 2 * min(few, many) / sum(ways.values()))


def _orders_by_stretches(k: int, clean: int) -> dict[int, int]:
    # How many orders of k crashes and `clean` clean runs have so many stretches of equal results: Wald and Wolfowitz (1940).
    if not k or not clean:
        return {1: 1}
    orders = {}
    for m in range(1, min(k, clean) + 1):
        crash, rest = comb(k - 1, m - 1), comb(clean - 1, m - 1)  # ways to cut each into m stretches
        orders[2 * m] = 2 * crash * rest
        orders[2 * m + 1] = crash * comb(clean - 1, m) + comb(k - 1, m) * rest
    return orders
