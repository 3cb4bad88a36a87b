"""The rules of others that turn run counts into one verdict. Read `decide` first.

The rules are data (`GIT_RULE`, `SYZKALLER_RULE`), `decide` applies one. Nothing here knows which revision comes next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction

from kbench.evidence.observation import Observation
from kbench.records import Verdict


@dataclass(frozen=True, slots=True)
class VerdictRule:
    """From run counts to a verdict. Shares of a number of runs are rounded down.

    Bad: `min_crashes` and `crash_share` of the runs that were carried out crashed, and `seen_share` of all runs crashed
    or ran clean. Good: none crashed, `min_clean` and `clean_share` of all runs were clean, and with `needs_reach` they are
    not known to have missed the code that crashes.
    """

    name: str
    min_crashes: int
    crash_share: Fraction
    seen_share: Fraction
    min_clean: int
    clean_share: Fraction
    clean_share_flaky: Fraction  # once the bug is known to be flaky
    own_titles: bool  # a crash is the bug only with a title of the bug; with another one the commit cannot be good either
    needs_reach: bool = False  # clean runs that did not enter the code that crashes make no commit good
    transient: tuple[str, ...] = ()  # starts of titles that count as useless runs, unless the bug has such a title


# git has no rule of its own: whoever calls it decides. One crash of the bug is enough, and so is one clean run.
GIT_RULE = VerdictRule(
    name="git",
    min_crashes=1,
    crash_share=Fraction(0),
    seen_share=Fraction(0),
    min_clean=1,
    clean_share=Fraction(0),
    clean_share_flaky=Fraction(0),
    own_titles=True,
    needs_reach=True,
)

#: Starts of titles that are no kernel's fault: the fuzzer's own crashes, a machine that was lost.
TRANSIENT = ("SYZFATAL:", "SYZFAIL", "lost connection to test machine")

# syzkaller's rule since e8709b21d (2024-07-15) and db79ee42a (2024-12-02): any title is the bug, but a crash of the fuzzer
# itself (SYZFATAL, SYZFAIL) or a lost connection is not. It does not ask whether the code was reached.
SYZKALLER_RULE = VerdictRule(
    name="syzkaller",
    min_crashes=2,
    crash_share=Fraction(1, 6),
    seen_share=Fraction(1, 2),
    min_clean=1,
    clean_share=Fraction(1, 2),
    clean_share_flaky=Fraction(3, 4),
    own_titles=False,
    transient=TRANSIENT,
)


def decide(seen: Observation, rule: VerdictRule, *, titles: Collection[str] = (), flaky: bool = False) -> Verdict | None:
    """Turn what was seen of one commit into a verdict; BAD means that the bug is there.

    Parameters
    ----------
    seen : Observation
        All runs of the commit, summed up.
    rule : VerdictRule
        Whose rule.
    titles : collection of str
        The bug's titles: those seen where it was found. Empty, or none but "": not known, any title is the bug's.
    flaky : bool
        Is the bug known to crash in some runs only?

    Returns
    -------
    Verdict or None
        None when it failed for want of runs that could be carried out: ask again.
    """
    if seen.skip is not None:
        return Verdict.SKIP
    known = {title for title in titles if title}
    own = other = transient = 0
    for title, count in seen.crashes.items():
        kinds = tuple(kind for kind in rule.transient if title.startswith(kind))
        if known and kinds and not any(name.startswith(kinds) for name in known):
            transient += count
        elif known and rule.own_titles and title not in known:
            other += count
        else:
            own += count
    clean_share = rule.clean_share_flaky if flaky else rule.clean_share
    if own >= max(rule.min_crashes, int((seen.total - seen.infra) * rule.crash_share)) and seen.passed + own >= int(
        seen.total * rule.seen_share
    ):
        return Verdict.BAD
    if seen.total and not own and not other and seen.passed >= max(rule.min_clean, int(seen.total * clean_share)):
        return Verdict.SKIP if rule.needs_reach and seen.reached is False else Verdict.GOOD
    useless = seen.boot_failed + seen.test_failed + transient + other
    return None if seen.infra > useless or not seen.total else Verdict.SKIP


@dataclass(frozen=True, slots=True)
class RepresentativeCrash:
    """The crash that stands for all crashes of one test."""

    title: str
    types: tuple[str, ...]  # crash types taken, most frequent first
    other: bool  # there were types not taken


def representative_crash(crashes: Sequence[tuple[str, str]]) -> RepresentativeCrash | None:
    """Choose the crash that stands for a test, as syzkaller does; None when nothing crashed.

    Parameters
    ----------
    crashes : sequence of (title, type)
        In order of the runs. Types are those of `kbench.crash`; "" is untyped.

    Notes
    -----
    Types by frequency until they cover (n + 2) * 2 / 3 crashes, three at most. Hangs below half of all crashes, and lost
    connections, are passed over when there is anything else.
    """
    counts = Counter(kind for _, kind in crashes)  # most_common keeps the order of first appearance within ties
    if not counts:
        return None
    minor = {"LOST_CONNECTION"} | ({"HANG"} if 2 * counts["HANG"] < len(crashes) else set())
    ranked = [kind for kind, _ in counts.most_common()]
    ranked = [kind for kind in ranked if kind not in minor] or ranked
    taken: list[str] = []
    for kind in ranked[:3]:
        if sum(counts[name] for name in taken) >= (len(crashes) + 2) * 2 // 3:
            break
        taken.append(kind)
    title = next(name for name, kind in crashes if kind == taken[0])
    return RepresentativeCrash(title, tuple(taken), other=len(taken) < sum(count > 0 for count in counts.values()))
