"""Console text as lines of one printer: prefixes, colours and carriage returns gone. Read `report_lines` first.

Nothing printed by a guest is trusted: lines are cut at a fixed length, a report at a fixed number of lines, and every
pattern here is anchored and bounded, so the time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_LINE = 2000  # characters; no kernel prints longer lines
MAX_LINES = 1000  # of a report

_ANSI = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")
# `<6>[   12.345678][ T123] text`, after a login prompt or printk's own note about dropped messages.
_PREFIX = re.compile(
    r"(?:\*\* [0-9]{1,9} printk messages dropped \*\* ?|.{0,80}? login: )?"
    r"(?:<[0-9]{1,2}>)?\[ {0,8}[0-9]{1,8}\.[0-9]{1,9}\](?:\[ {0,8}([CT][0-9]{1,9})\])?(?: |$)"
)


@dataclass(frozen=True, slots=True)
class ConsoleLine:
    """One line, cleaned."""

    text: str
    printer: str  # the task or CPU that printed it, "T123" or "C0"; "" when the kernel does not say


def read_line(line: str) -> ConsoleLine:
    """Take the prefixes off a line."""
    text = _ANSI.sub("", line[:MAX_LINE]).replace("\r", "")
    prefix = _PREFIX.match(text)
    return ConsoleLine(text[prefix.end() :], prefix[1] or "") if prefix else ConsoleLine(text, "")


def line_around(console: str, position: int) -> tuple[int, int]:
    """Where the line at a position starts and ends."""
    end = console.find("\n", position)
    return console.rfind("\n", 0, position) + 1, len(console) if end < 0 else end


def report_lines(console: str, start: int) -> Iterator[str]:
    """The lines from a position on, of whoever printed the first of them, and those nobody signed."""
    printer = None
    for _ in range(MAX_LINES):
        end = console.find("\n", start)
        line = read_line(console[start : min(start + MAX_LINE, end if end >= 0 else len(console))])
        printer = line.printer if printer is None else printer
        if not printer or line.printer in ("", printer):
            yield line.text
        if end < 0:
            return
        start = end + 1
