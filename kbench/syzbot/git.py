"""What git says of a bisection, and is told. Read `git_left` and `git_verdict`."""

from __future__ import annotations

from kbench.records import Verdict
from kbench.syzbot.forms import Line

_GIT_WORDS = {"cause": (Verdict.GOOD, Verdict.BAD), "fix": (Verdict.BAD, Verdict.GOOD)}


def git_verdict(kind: str, *, crashed: bool) -> Verdict:
    """What git is told about a revision: in a fix bisection "bad" is the revision that does not crash any more."""
    return _GIT_WORDS[kind][crashed]


def git_steps(candidates: int) -> int:
    """Steps git announces for so many candidates (at least 1), the bad end counted: its estimate_bisect_steps()."""
    if candidates < 3:
        return 0
    n = candidates.bit_length() - 1
    power = 1 << n
    return n if power < 3 * (candidates - power) else n - 1


def git_left(revisions: int, steps: int) -> str:
    """Git's line before each step; see `git_steps`."""
    s = ("" if revisions == 1 else "s", "" if steps == 1 else "s")
    return str(Line("left", (str(revisions), s[0], str(steps), s[1])))
