"""Console text to a crash: its title, its type, the function to blame. Read `parse` first.

Pure, in linear time, and no text makes it fail. What the kinds of crashes are is data (`kinds.KINDS`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from itertools import chain, tee

from kbench.crash.blame import blame, blame_hang, blame_stall, names_of
from kbench.crash.console import Region, read_region
from kbench.crash.frames import base_name, pointer_of, stacks, top_frames, trace, trace_after
from kbench.crash.guilty import guilty_file
from kbench.crash.headlines import Headline, extent, headlines
from kbench.crash.kinds import KINDS, SUPPRESSED, Kind, Source
from kbench.crash.report import CrashReport
from kbench.crash.sameness import same_bug
from kbench.crash.titles import clean, type_of
from kbench.crash.trust import doubt, mixed_up, report_text

__all__ = ["CrashReport", "guilty_file", "parse", "parse_all", "same_bug"]

_EXECUTOR = re.compile(r"Comm: syz\.([0-9]{1,9})\.([0-9]{1,9})\b")
_NO_FUNCTION = "corrupted"


def parse(console: str) -> CrashReport | None:
    """Find the first crash in a console log; None if there is none.

    Lines end at a line feed; carriage returns, colours, time stamps and the printer's mark are taken off.
    """
    return next(_crashes(console), None)


def parse_all(console: str) -> list[CrashReport]:
    """Find every crash in a console log, in order; what continues a report that has begun is no crash of its own."""
    return list(_crashes(console))


def _crashes(console: str) -> Iterator[CrashReport]:
    (found,) = tee(headlines(console), 1)
    panicked = lost = None
    continued: set[int] = set()
    for headline in found:
        if headline.start in continued:
            continue
        if panicked is None or lost is None:  # not asked where nothing crashed
            panicked, lost = "Kernel panic - not syncing" in console, "serialport: VM disconnected." in console
        stop, more = extent(console, headline, copy(found))
        report = _read(console, headline, stop, panicked=panicked, lost=lost)
        continued = {start for start in (*continued, *more) if headline.start < start < report.end}
        yield report


def _read(console: str, headline: Headline, stop: int, *, panicked: bool, lost: bool) -> CrashReport:
    region = read_region(console, headline.at, stop)
    kind, groups = _kind_of(headline.text, region)
    since, above = _above(kind, region)
    lines = above + region.lines
    function, has_stack = _function(kind, groups, lines)
    function = function or (_NO_FUNCTION if kind.sources else "")
    raw = _titles(kind, groups, function)
    titles = list(dict.fromkeys(map(clean, raw)))
    report = report_text(region, since)
    executor = _EXECUTOR.search(report)
    return CrashReport(
        title=titles[0],
        alt_titles=tuple(titles[1:]),
        type=type_of(titles[0]),
        frame=titles[0].rpartition(" in ")[2] if kind.blames else "",
        corrupted=doubt(kind, raw[0], lines, named=function != _NO_FUNCTION, has_stack=has_stack, lost=lost),
        suppressed=any(text in report for text in SUPPRESSED) or "Attempted to kill init!" in titles[0],
        panicked=panicked,
        executor=f"proc={executor[1]}, id={executor[2]}" if executor else "",
        report=report,
        start=min(headline.start, since),
        end=region.end,
    )


def _above(kind: Kind, region: Region) -> tuple[int, list[str]]:
    # The lines that a kind has above its own, and the offset of the first of them.
    found = [i for i, (_, text) in enumerate(region.before) if kind.before and kind.before.match(text)]
    above = region.before[found[-1] :] if found else []
    return (above[0][0] if above else sys.maxsize), [text for _, text in above]


def _kind_of(headline: str, region: Region) -> tuple[Kind, dict[str, str]]:
    # The first kind whose patterns match, and what their groups hold; the last kind matches every line.
    for kind in KINDS:
        match = kind.pattern.match(headline)
        later = kind.later.search("\n".join(region.lines[: kind.within])) if match and kind.later else None
        if match and (later or not kind.later) and (not kind.before or _above(kind, region)[1]):
            groups = {name: text or "" for name, text in later.groupdict().items()} if later else {}
            return kind, groups | {name: text or "" for name, text in match.groupdict().items()}
    return KINDS[-1], {"rest": headline}


def _function(kind: Kind, groups: dict[str, str], lines: Sequence[str]) -> tuple[str, bool]:
    # The function to blame, and whether there is a stack trace at all.
    frames = trace(lines)
    first = next(frames, None)
    has_stack = first is not None
    frames = chain(filter(None, [first]), frames)
    if Source.LINE not in kind.sources and Source.POINTER not in kind.sources and mixed_up(lines):
        return "", has_stack
    if kind.sources == (Source.HANG,):
        return blame_hang(frames), has_stack
    if kind.sources == (Source.STALL,):
        return blame_stall(stacks(lines), timer=kind.title.startswith("INFO")), has_stack
    answers: dict[Source, Callable[[], Iterable[str]]] = {
        Source.LINE: lambda: [base_name(groups["function"])] if groups.get("function") else [],
        Source.POINTER: lambda: pointer_of(lines),
        Source.TRACE: lambda: frames,
        Source.TOP: lambda: top_frames(lines),
        Source.BELOW: lambda: trace_after(lines, kind.later) if kind.later else [],
    }
    for source in kind.sources:
        functions = answers[source]()
        if source is Source.TRACE and mixed_up(lines):
            return "", True
        if function := blame(functions, kind.skip):
            return function, has_stack
    return "", has_stack


def _titles(kind: Kind, groups: dict[str, str], function: str) -> list[str]:
    # The title first; the other names of the function make alternative titles.
    names = names_of(function, waits=bool({Source.HANG, Source.STALL} & set(kind.sources)))
    titles = [template.format_map({**groups, "function": name}) for name in names for template in (kind.title, *kind.alt)]
    return list(dict.fromkeys(titles))
