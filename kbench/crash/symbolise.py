"""Crash reports with file and line: what is to be looked up, and how it is written in. Read `places`, then `rendered`.

Pure. The form is syzkaller's: a frame keeps its line and gets its place after it; each function inlined there stands on a
line of its own before it. Addresses that stand alone are `named` first. Lines that are too long, and lines after the first
thousands, stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from kbench.crash.console import MAX_LINE

MAX_FRAME_LINES = 5000  # of a report

# `f+0x12/0x34`; what is in square brackets behind it names a module, which has symbols of its own.
_PLACE = re.compile(
    r"(?<![\w.$+])([A-Za-z_][\w.$]{0,200})\+0x([0-9a-f]{1,8})/0x([0-9a-f]{1,8})(?![\w/+])(?! \[\w)(?! \S{1,200}\.\w{1,3}:[0-9])"
)
# The instruction itself, not the one after a call: registers, as the architectures name them.
_POINTER = re.compile(r"\b(?:[RE]IP: |EIP is at |[Pp][Cc] is at |pc : |NIP |epc : |Krnl PSW |mode fault at addr )")
# User-Mode Linux names no function where the kernel faulted: arch/um/kernel/trap.c, segv().
_NAMELESS = re.compile(r"Kernel mode fault at addr 0x[0-9a-f]{1,16}, ip 0x([0-9a-f]{1,16})(?= *$)")
_WARNED = re.compile(r"WARNING: (?:CPU: [0-9]{1,4} PID: [0-9]{1,9} )?at (\S{1,300}):([0-9]{1,7}) ")


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the code, as a kernel prints it."""

    function: str
    offset: int
    size: int
    returns: bool  # where a call returns to: the call itself is before it


@dataclass(frozen=True, slots=True)
class Location:
    """A place in the source."""

    function: str
    file: str
    line: int


def named(report: str, name: Callable[[int], str]) -> str:
    """Return the report with functions written behind addresses that stand alone; `name(address)` is `f+0x1/0x2` or ""."""

    def written(line: str) -> str:
        match = _NAMELESS.search(line) if len(line) <= MAX_LINE else None
        function = name(int(match[1], 16)) if match else ""
        return f"{line.rstrip()} {function}" if function else line

    lines = _lines(report)
    return "\n".join([*map(written, lines[:MAX_FRAME_LINES]), *lines[MAX_FRAME_LINES:]])


def places(report: str) -> Iterator[Place]:
    """Yield the places of a report, as often as they are there."""
    for line in _lines(report)[:MAX_FRAME_LINES]:
        match = _frame(line)
        if match:
            yield from _meant(line, match)


def rendered(report: str, locations: Mapping[Place, tuple[Location, ...]]) -> str:
    """Return the report with what is known of its places written in."""
    lines = _lines(report)
    written = [text for line in lines[:MAX_FRAME_LINES] for text in _written(line, locations)]
    return "\n".join([*written, *lines[MAX_FRAME_LINES:]])


def _lines(report: str) -> list[str]:
    return report.split("\n")


def _frame(line: str) -> re.Match[str] | None:
    return _PLACE.search(line) if len(line) <= MAX_LINE else None


def _meant(line: str, match: re.Match[str]) -> list[Place]:
    # How a warning came about, by a trap or by a call, is not told: both, the likelier first.
    function, offset, size = match[1], int(match[2], 16), int(match[3], 16)
    exact, after_call = Place(function, offset, size, returns=False), Place(function, offset, size, returns=True)
    if _WARNED.search(line):
        return [exact, after_call]
    return [exact] if _POINTER.search(line[: match.start()]) else [after_call]


def _written(line: str, locations: Mapping[Place, tuple[Location, ...]]) -> list[str]:
    match = _frame(line)
    where = _chosen(line, [locations.get(place, ()) for place in _meant(line, match)]) if match else ()
    if not match or not where:
        return [line]
    before = line[: match.start()]
    inlined = [f"{before}{one.function} {one.file}:{one.line} [inline]" for one in where[:-1]]
    place = f" {where[-1].file}:{where[-1].line}"
    return [*inlined, line[: match.end()] + place + line[match.end() :]]


def _chosen(line: str, found: list[tuple[Location, ...]]) -> tuple[Location, ...]:
    warned = _WARNED.search(line)
    for where in found:
        if warned and where and where[0].line == int(warned[2]) and warned[1].endswith(where[0].file):
            return where
    return found[-1] or found[0]
