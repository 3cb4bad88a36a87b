"""Stack traces: lines to functions, and where traces begin and end. Read `trace` first.

Functions that were inlined are passed over: a report names the same functions before and after it is symbolised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, pairwise, takewhile

from kbench.crash.mangled import demangled

_NAME = r"[A-Za-z_][\w.$]{0,400}"
_SIZE = r"\+0x[0-9a-f]{1,9}/0x[0-9a-f]{1,9}"
# `func+0x12/0x34`, `[<c0123456>] func+0x12/0x34`, `[c000000001] [c000000002] func+…` (ppc), `(func) from [<…>] (func+…)` and
# `func from func+…` (arm); "?" and "(unreliable)" are guesses of the unwinder.
_FRAME = re.compile(
    r"(?:[0-9]{1,2}:)?\s{0,20}(?:</?[A-Z]{2,12}> {1,4})?\(?(?:\[<?[0-9a-f ]{0,40}>?\] {0,2}){0,2}(\? )?"
    r"(?:\(?(" + _NAME + r")\)? from (?:\[<[0-9a-f]{0,16}>\] )?\(?)?(" + _NAME + r")" + _SIZE
)
GUESS = re.compile(r"\? |\(unreliable\)")
_AT = re.compile(r"at:?\s{1,20}(?:\[<[0-9a-f]{0,16}>\] )?(" + _NAME + r")" + _SIZE)
_POINTER = re.compile(
    r"\s{0,4}(?:[RE]?IP: (?:[0-9a-f]{4}:)?|EIP is at |[pP][cC] is at |pc : |NIP |epc : |Krnl PSW : .{0,60}\()"
    r"(?:\[<?[0-9a-f]*>?\] {0,2}){0,2}(?=(" + _NAME + r")\+0x)"
)
_NOWHERE = re.compile(r"(?:PC is at|pc :) (?:\[<0{1,16}>\]|0x0{1,16}\b)")  # jumped through a null pointer: the caller knows
_LINK = re.compile(r"(?:LR is at|lr :) (?:\[<[0-9a-f]*>\] )?(" + _NAME + r")\+0x")
_HEADING = re.compile(r"(?:(?:Call|call) [Tt]race|Backtrace|Stack backtrace|stack backtrace|Call Trace \(.{0,40}\)):")
# What comes after the trace of the crash itself: other traces, other matters.
NEXT_TRACE = re.compile(
    r"(?:(?:Allocated|Freed) by task|(?:Allocated|Freed):|Last potentially related|Second to last potentially|Uninit was|"
    r"Local variable|Memory state around|The buggy address|Showing all locks|NMI backtrace for cpu|"
    r"stack backtrace of|page last |page_owner|Modules linked in|---\[ end trace|Kernel panic - not syncing)"
)
_SUFFIX = re.compile(r"\.(?:isra|part|constprop|cold|llvm|lto_priv|kcsan|specialized)\b.*|\.\d.*")


def base_name(function: str) -> str:
    """The function as written in the source, without what the compiler added."""
    if function.startswith("_Z") or function.startswith("_R"):
        return demangled(function)
    return _SUFFIX.sub("", function) if "." in function else function


def is_heading(line: str) -> bool:
    """Whether a stack trace follows."""
    return "race" in line and bool(_HEADING.search(line))


@lru_cache(maxsize=4096)  # several steps ask for the same lines
def frame_of(line: str, guesses: bool = False) -> str | None:
    """The function of a line of a stack trace; None when it is none, or the unwinder only guesses."""
    frame = _FRAME.match(line) if "+0x" in line else None
    guessed = frame and (frame[1] or "(unreliable)" in line)
    return base_name(frame[2] or frame[3]) if frame and (guesses or not guessed) else None


def pointer_of(lines: Iterable[str]) -> list[str]:
    """The functions the faulting instruction is in, as the first register dump of the kernel names them."""
    functions = []
    pattern = _POINTER
    for line in lines:
        function = _pointer(line, pattern) if "+0x" in line else None
        if function:
            functions.append(function)
        elif functions:
            break
        elif pattern is _POINTER and _NOWHERE.match(line):
            pattern = _LINK
    return functions


def trace(lines: Sequence[str]) -> Iterator[str]:
    """The functions of the first call trace, innermost first; without a heading, of the first frames in a row."""
    start = next((i for i, line in enumerate(lines) if is_heading(line)), None)
    if start is not None:
        below = top_frames(lines[start:])
        first = next(below, None)
        yield from all_frames(lines[start + 1 :]) if first is None else chain([first], below)
        return
    frames = [frame_of(line) for line in lines[1:]]
    row = next((i for i, pair in enumerate(pairwise(frames)) if all(pair)), len(frames))  # one alone is no trace
    yield from (function for function in takewhile(bool, frames[row:]) if function)


def top_frames(lines: Sequence[str]) -> Iterator[str]:
    """The functions below a line, up to where other traces begin."""
    return all_frames(takewhile(lambda line: line.startswith(" ") or not NEXT_TRACE.match(line), lines[1:]))


def trace_after(lines: Sequence[str], heading: re.Pattern[str]) -> list[str]:
    """The functions of the trace below a heading, and those that lines about locks name."""
    start = next((i for i, line in enumerate(lines) if heading.search(line)), None)
    return [] if start is None else [name for line in lines[start + 1 :] if (name := frame_of(line) or _holder(line))]


def all_frames(lines: Iterable[str]) -> Iterator[str]:
    """The functions of all traces and register dumps, one after the other."""
    for line in lines:
        if "+0x" in line and (function := frame_of(line) or _pointer(line)):
            yield function


def stacks(lines: Iterable[str]) -> Iterator[list[str]]:
    """The functions of each trace there is, register dumps in front of it included."""
    stack: list[str] = []
    traced = False
    for line in lines:
        if traced and is_heading(line):
            yield stack
            stack, traced = [], False
        if "+0x" in line:
            stack += all_frames([line])
            traced = traced or frame_of(line) is not None
    if stack:
        yield stack


def _pointer(line: str, pattern: re.Pattern[str] = _POINTER) -> str | None:
    found = pattern.match(line)
    return base_name(found[1]) if found else None


def _holder(line: str) -> str | None:
    found = _AT.search(line) if "at:" in line else None
    return base_name(found[1]) if found else None
