"""Stack traces, and the function to blame. Read `blame` first.

A function is generic when it is where bugs show and not where they are: allocators, string and memory helpers, locks,
sanitizers, printk, the code that dumps stacks. The first function that is not generic names the crash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from kbench.crash.functions import DISPATCHERS, GENERIC, HANG_BUCKETS, INTERRUPTS, ROOTS, SLEEPING, STALL_BUCKETS, WAITING

# `func+0x12/0x34`, also `[<c0123456>] func+0x12/0x34`, or symbolized `func file.c:12 [inline]`; "?" is a guess.
_FRAME = re.compile(
    r"(?:[0-9]{1,2}:)?\s{0,20}(?:\[<[0-9a-f ]{0,40}>\] ?)?(?:\([^()\n]{0,40}\) ?)?(\? )?"
    r"(?:\([^()\n]{0,40}\) from )?(?:\[<[0-9a-f]{0,16}>\] )?\(?"
    r"([A-Za-z_<][\w.$<>:]{0,200})"
    r"(?:\+0x[0-9a-f]{1,9}/0x[0-9a-f]{1,9}| \S{1,200}\.(?:c|h|S|rs):[0-9]{1,7}(?= |$))"
)
_POINTER = re.compile(
    r"(?:RIP: (?:e033|00[0-2][0-9a-f]):(?:\[<[0-9a-f]*>\] {0,2}){0,2}|EIP: (?:00[0-9a-f]{2}:)?(?:\[<[0-9a-f]*>\] )?|EIP is at |"
    r"[pP][cC] is at |pc : (?:\[<[0-9a-f]*>\] ?)?|NIP \[[0-9a-f]*\] |epc : |PC is at |Krnl PSW : .{0,60}\()"
    r"(?=([A-Za-z_][\w.$]{0,200})(?:\+0x| \S{1,200}:[0-9]))"
)
_HEADING = re.compile(r"(?:Call [Tt]race|Backtrace|Stack backtrace|stack backtrace|Call Trace \(.{0,40}\)):")
# What comes after the trace of the crash itself: other traces, other matters.
_NEXT_TRACE = re.compile(
    r"(?:Allocated|Freed) by task|(?:Allocated|Freed):|Last potentially related|Second to last potentially|Uninit was|"
    r"Local variable|Memory state around|The buggy address|Showing all locks|NMI backtrace for cpu|which belongs to|"
    r"stack backtrace of|page last |page_owner|Modules linked in|---\[ end trace|Kernel panic - not syncing"
)
_SUFFIX = re.compile(r"\.(?:isra|part|constprop|cold|llvm|lto_priv|kcsan|specialized)\b.*|\.\d.*")

SYSCALL_PREFIXES = (
    "SYSC_", "SyS_", "sys_", "__x64_", "__ia32_", "__arm64_", "____sys_", "___sys_", "__sys_", "__se_", "__se_sys_",
    "__do_sys_", "compat_SYSC_", "compat_SyS_", "ksys_",
)  # fmt: skip


def base_name(function: str) -> str:
    """The function as written in the source, without what the compiler added."""
    return _SUFFIX.sub("", function)


def frame_of(line: str) -> str | None:
    """The function of a line of a stack trace; None when it is none, or the unwinder only guesses."""
    frame = _FRAME.match(line)
    return base_name(frame[2]) if frame and not frame[1] else None


def pointer_of(lines: Iterable[str]) -> list[str]:
    """The functions the faulting instruction is in, as the first register dump of the kernel names them."""
    functions = []
    for line in lines:
        pointer = _POINTER.search(line)
        if pointer:
            functions.append(base_name(pointer[1]))
        elif functions:
            break
    return functions


def trace(lines: Sequence[str]) -> list[str]:
    """The functions of the first call trace, innermost first; without a heading, of all frames there are."""
    start = next((i for i, line in enumerate(lines) if _HEADING.search(line)), None)
    if start is None:
        return list(all_frames(takewhile(lambda line: not _NEXT_TRACE.search(line), lines[1:])))
    found = list(all_frames(takewhile(lambda line: not _NEXT_TRACE.search(line), lines[start + 1 :])))
    return found or list(all_frames(lines[start + 1 :]))


def trace_after(lines: Sequence[str], heading: re.Pattern[str]) -> list[str]:
    """The functions of the trace below a heading."""
    start = next((i for i, line in enumerate(lines) if heading.search(line)), None)
    return [] if start is None else list(all_frames(lines[start + 1 :]))


def all_frames(lines: Iterable[str]) -> Iterator[str]:
    """The functions of all traces and register dumps, one after the other."""
    for line in lines:
        function = frame_of(line) or next(iter(pointer_of([line])), None)
        if function:
            yield function


def blame(functions: Iterable[str], skip: re.Pattern[str] | None = None) -> str:
    """The first function that is not generic; "" when there is none."""
    for function in functions:
        if not GENERIC.match(function) and not (skip and skip.match(function)):
            return function
    return ""


def blame_hang(functions: Sequence[str]) -> str:
    """The function that waits, or the lock half the kernel waits for."""
    for function in functions:
        for names, bucket in HANG_BUCKETS:
            if names.match(function):
                return bucket
        if not WAITING.match(function) and not GENERIC.match(function):
            return function
    return ""


def blame_stall(functions: Sequence[str]) -> str:
    """The function a dispatcher called, above the interrupt that found it still running, in the first stack that runs."""
    stack = next((stack for stack in _stacks(functions) if not SLEEPING.match(stack[0])), [])
    interrupts = (i for i, function in enumerate(stack) if INTERRUPTS.match(function))
    below = ""
    for function in stack[next(interrupts, 0) :]:
        bucket = next((bucket for names, bucket in STALL_BUCKETS if names.match(function)), None)
        if bucket:
            return bucket
        if not DISPATCHERS.match(function):
            below = below if INTERRUPTS.match(function) else function
        elif below:
            return below
    return below


def _stacks(functions: Iterable[str]) -> Iterator[list[str]]:
    # Traces printed one after the other, cut at their roots.
    stack: list[str] = []
    for function in functions:
        stack.append(function)
        if ROOTS.match(function):
            yield stack
            stack = []
    if stack:
        yield stack
