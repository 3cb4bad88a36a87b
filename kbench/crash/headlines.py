"""Where crashes begin: the lines with a marker that are not known to be harmless. Read `headlines` first."""

from __future__ import annotations

import heapq
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from kbench.crash.console import MAX_LINE, MAX_LINES, STAMP, line_around, read_line
from kbench.crash.kinds import CONTINUATIONS, FOREIGN, HARMLESS, MARKERS, REPORT_END

_MARKER = re.compile("|".join(map(re.escape, MARKERS)))
# What every marker contains and few other lines do: far fewer searches of the whole console, the longer the faster.
ANCHORS = (
    "BUG", "WARNING:", "INFO:", "UBSAN: ", "Unable to handle kernel", " fault", "stack segment: ", "panic", "rror:",
    ": 0000 [#", "Booting the kernel.", "unregister_netdevice: waiting for", "VFS: Close: file count is 0",
    "VFS: Busy inodes after unmount", "Alignment trap:", "SYZFA",
)  # fmt: skip
_MAX_OTHERS = 8  # headlines of others within one report
_BOOT = "Booting the kernel."  # of a second boot; the first one is no crash


@dataclass(frozen=True, slots=True)
class Headline:
    """A line that says that something is wrong."""

    at: int  # offset of the line
    start: int  # offset a parser has to start at to take it for a crash as well: of the line, or where the kernel ran before it
    text: str  # from the marker on
    printer: str


def headlines(console: str) -> Iterator[Headline]:
    """Yield the headlines of a console in their order; every anchor is searched for once, so the time is linear."""
    heap = [(position, anchor) for anchor in ANCHORS if (position := console.find(anchor)) >= 0]
    heapq.heapify(heap)
    start = end = done = asked = 0
    ran = -1
    while heap:
        position, anchor = heap[0]
        if position >= done:
            if position >= end:
                start, end = line_around(console, position)
            done = min(end, position + MAX_LINE // 2)  # of a longer line the rest is looked at as well
            shown, printer, _ = read_line(console[max(start, position - MAX_LINE // 2) : done])
            text = headline_of(shown)
            done = end if text else done
            since = start
            if text.startswith(_BOOT):  # where the last line of the kernel before it starts
                stamped = deque(STAMP.finditer(console, asked, start), maxlen=1)
                ran = line_around(console, stamped[0].start())[0] if stamped else ran
                asked, since = start, ran
            if text and since >= 0:
                yield Headline(start, since, text, printer)
        following = console.find(anchor, max(done, position + 1))
        if following >= 0:
            heapq.heapreplace(heap, (following, anchor))
        else:
            heapq.heappop(heap)


def headline_of(line: str) -> str:
    """The line from its first marker on that is not harmless; "" when there is none."""
    for marker in _MARKER.finditer(line):
        headline = line[marker.start() :]
        if not HARMLESS.match(headline) and not FOREIGN.search(line[max(0, marker.start() - 100) : marker.start()]):
            return headline
    return ""


def extent(console: str, headline: Headline, following: Iterator[Headline]) -> tuple[int, list[int]]:
    """Where the report below a headline ends at the latest, and where headlines start that only continue it."""
    stop = min(len(console), headline.at + MAX_LINES * MAX_LINE)
    more: list[int] = []
    others = 0
    for other in following:
        if other.at >= stop:
            break
        if other.printer and headline.printer and other.printer != headline.printer:
            others += 1  # a crash of its own, in between
        elif _continues(headline, other):
            more.append(other.start)
        else:
            others = _MAX_OTHERS
        if others == _MAX_OTHERS:
            stop = other.at
    ends = (console.find(text, headline.at, stop) for text in REPORT_END)
    lines = [line_around(console, end)[1] + 1 for end in ends if end >= 0]
    return min([stop, *lines]), more


def _continues(headline: Headline, other: Headline) -> bool:
    return any(
        began.match(headline.text) and goes_on.match(other.text) and (headline.printer or not of_one)
        for began, goes_on, of_one in CONTINUATIONS
    )
