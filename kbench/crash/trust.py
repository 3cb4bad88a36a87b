"""Whether a report can be trusted, and the text of it that is worth reading. Read `doubt` first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from kbench.crash.console import MAX_BEFORE_OTHERS, STAMP, Region
from kbench.crash.frames import GUESS, NEXT_TRACE, frame_of
from kbench.crash.kinds import Kind

_CALLS = re.compile(r"(?:Call [Tt]race|Backtrace): ?$")
_MAX_MIXED = 100  # lines of a report; those below are not used
_MAX_GAP = 15  # lines between the heading of a trace and its first function
# Traces the kernel prints for other reasons, of other tasks: they mix with the crash's.
_INTRUDERS = ("vmalloc: allocation failure", "page allocation failure")
_CONSEQUENCES = ("Kernel panic - not syncing", "Disabling lock debugging due to kernel taint")


def doubt(kind: Kind, title: str, lines: Sequence[str], *, named: bool, has_stack: bool, lost: bool) -> str:
    """The reason not to trust a report; "" when there is none."""
    reasons = (
        (kind.corrupted, "what the kernel says about it is missing"),
        (STAMP.search(title), "its first line is mixed up with another"),
        (kind.needs_stack and not has_stack, "no stack trace"),
        (not named, "no function to blame"),
        (kind.needs_stack and _empty_trace(lines), "a stack trace without functions"),
        (lost, "the machine was lost"),
    )
    return next((reason for found, reason in reasons if found), "")


def mixed_up(lines: Sequence[str]) -> bool:
    """Whether another trace was printed in between."""
    text = "\n".join(lines[:_MAX_MIXED])
    injected = "should_fail" in text and any((frame_of(line) or "").startswith("should_fail") for line in lines[:_MAX_MIXED])
    return injected or any(words in text for words in _INTRUDERS)


def report_text(region: Region, since: int) -> str:
    """What was printed about a crash: the panic that follows from it and guesses of the unwinder are left out.

    `since`: offset of the first line that is known to be about it.
    """
    kept: list[str] = []
    traced = False
    for line in region.lines:
        if "+0x" in line:
            if GUESS.search(line) and frame_of(line, guesses=True) and not frame_of(line):
                continue
            traced = traced or frame_of(line) is not None
        elif traced and line.startswith(_CONSEQUENCES):
            break
        kept.append(line)
    nearest = 0 if region.of_task else max(0, len(region.before) - MAX_BEFORE_OTHERS)
    before = [text for i, (at, text) in enumerate(region.before) if i >= nearest or at >= since]
    return "\n".join([*before, *kept, ""])


def _empty_trace(lines: Sequence[str]) -> bool:
    start = next((i for i, line in enumerate(lines) if _CALLS.match(line)), None)
    if start is None:
        return False
    below = takewhile(lambda line: not _CALLS.match(line) and not NEXT_TRACE.match(line), lines[start + 1 : start + _MAX_GAP])
    return not any(frame_of(line, guesses=True) for line in below)
