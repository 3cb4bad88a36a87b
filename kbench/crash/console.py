"""Console text as lines of one printer: prefixes, colours and carriage returns gone. Read `read_region` first.

Nothing printed by a guest is trusted: lines are cut at a fixed length, a report at a fixed number of lines, and every
pattern here is anchored and bounded, so the time is linear in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LINE = 2000  # characters; no kernel prints longer lines
MAX_LINES = 1000  # of a report
MAX_BEFORE = 25  # lines before a crash that its task printed, and
MAX_BEFORE_OTHERS = 5  # those an interrupt or nobody signed: they need not be about it

STAMP = re.compile(r"\[ {0,8}[0-9]{1,8}\.[0-9]{6}\]")
_ANSI = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
# `<6>[   12.345678][ T123] text`.
_PREFIX = re.compile(r"(?:<[0-9]{1,2}>)?\[ {0,8}[0-9]{1,8}\.[0-9]{1,9}\](?:\[ {0,8}([CT][0-9]{1,9})\])?(?: |$)")
# What may stand before the prefix: printk's own note about dropped messages, a login prompt.
_BEFORE = re.compile(r"(?:\*\* [0-9]{1,9} printk messages dropped \*\* ?|.{0,80}? login: )(?=<?[0-9]{0,2}>?\[)")
# From here on other CPUs tell where they are, because the first asked them to.
_ASKED = re.compile(r"NMI backtrace for cpu")


# One line, cleaned; the task or CPU that printed it, "T123" or "C0", "" when the kernel does not say; whether it has the time, as
# the kernel prints it.
ConsoleLine = tuple[str, str, bool]


@dataclass(frozen=True, slots=True)
class Region:
    """What was printed from a crash on."""

    before: list[tuple[int, str]]  # lines of the same printer before it, and their offsets
    of_task: bool  # a task printed it: so they are about it
    lines: list[str]
    end: int  # offset behind the last line


def read_line(line: str) -> ConsoleLine:
    """Take the prefixes off a line."""
    text = line[:MAX_LINE]
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    if "\r" in text:
        text = text.replace("\r", "")
    prefix = _PREFIX.match(text)
    if not prefix and "[" in text and (before := _BEFORE.match(text)):
        prefix = _PREFIX.match(text, before.end())
    return (text[prefix.end() :], prefix[1] or "", True) if prefix else (text, "", False)


def line_around(console: str, position: int) -> tuple[int, int]:
    """Where the line at a position starts and ends."""
    end = console.find("\n", position)
    return console.rfind("\n", 0, position) + 1, len(console) if end < 0 else end


def read_region(console: str, start: int, stop: int) -> Region:
    """Read the lines from one offset to another, of whoever printed the first of them.

    Lines that nobody signed may be anybody's and are taken; those without a time are not the kernel's where it prints times.
    """
    parts = console[start:stop].split("\n", MAX_LINES)
    cut = parts.pop() if len(parts) > MAX_LINES else ""
    if not parts[-1] and len(parts) > 1:
        parts.pop()  # the text ends with a line feed
    read = list(map(read_line, parts))
    first = read[0]
    mine = {"", first[1]} if first[1] else {printer for _, printer, _ in read}
    mine |= {printer for text, printer, _ in read if printer not in mine and _ASKED.match(text)}
    lines = [text for text, printer, stamped in read if printer in mine and (stamped or not first[2])]
    return Region(_before(console, start, first[1]), first[1].startswith("T"), lines, stop - len(cut))


def _before(console: str, start: int, wanted: str) -> list[tuple[int, str]]:
    kept: list[tuple[int, str]] = []
    end = start - 1
    for _ in range(MAX_BEFORE):
        if end < 0:
            break
        begin = console.rfind("\n", max(0, end - MAX_LINE), end) + 1
        text, printer, stamped = read_line(console[begin:end])
        if stamped and printer == wanted:
            kept.append((begin, text))
        end = begin - 1 if begin else -1
    return kept[::-1]
