"""The function to blame, of those a trace names. Read `blame` first.

A function is generic when it is where bugs show and not where they are: allocators, string and memory helpers, locks,
sanitizers, printk, the code that dumps stacks. The first function that is not generic names the crash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from kbench.crash.functions import DISPATCHERS, GENERIC, HANG_BUCKETS, INTERRUPTS, SLEEPING, STALL_BUCKETS, WAITING

SYSCALL_PREFIXES = (
    "SYSC_", "SyS_", "sys_", "__x64_", "__ia32_", "__arm64_", "____sys_", "___sys_", "__sys_", "__se_", "__se_sys_",
    "__do_sys_", "compat_SYSC_", "compat_SyS_", "ksys_",
)  # fmt: skip


def names_of(function: str, *, waits: bool) -> list[str]:
    """All names a function goes by: a system call without its prefixes, the shortest first; before them what half the kernel
    waits in, when it waits."""
    names = [function] + [function[len(prefix) :] for prefix in SYSCALL_PREFIXES if function.startswith(prefix)]
    names = sorted((name for name in names if name), key=len)
    buckets = [bucket for pattern, bucket in (*HANG_BUCKETS, *STALL_BUCKETS) if waits and pattern.match(function)]
    return list(dict.fromkeys(buckets[:1] + names)) or [""]


@lru_cache(maxsize=4096)
def _generic(function: str) -> bool:
    return bool(GENERIC.match(function))


def blame(functions: Iterable[str], skip: re.Pattern[str] | None = None) -> str:
    """The first function that is not generic; "" when there is none."""
    for function in functions:
        if not _generic(function) and not (skip and skip.match(function)):
            return function
    return ""


def blame_hang(functions: Iterable[str]) -> str:
    """The function that waits, or the lock half the kernel waits for."""
    for function in functions:
        if any(names.match(function) for names, _ in HANG_BUCKETS):
            return function
        if not WAITING.match(function) and not _generic(function):
            return function
    return ""


def blame_stall(stacks: Iterable[Sequence[str]], *, timer: bool) -> str:
    """The function a dispatcher called, above the interrupt that found it still running, in the first stack that runs.

    `timer`: only a stack that shows the interrupt counts.
    """
    for stack in stacks:
        if (timer or not SLEEPING.match(stack[0])) and (function := _called(stack, timer)):
            return function
    return ""


def _called(stack: Sequence[str], timer: bool) -> str:
    interrupted = next((i for i, function in enumerate(stack) if INTERRUPTS.match(function)), -1)
    if timer and interrupted < 0:
        return ""
    below = ""
    for function in stack[interrupted + 1 :]:
        if any(names.match(function) for names, _ in STALL_BUCKETS):
            return function
        if INTERRUPTS.match(function):
            continue
        if below and DISPATCHERS.match(function):
            return below
        below = function
    return ""
