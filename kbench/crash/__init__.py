"""Console text to a crash: its title, its type, the function to blame. Read `parse` first.

Pure, in linear time, and no text makes it fail. What the kinds of crashes are is data (`kinds.KINDS`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from kbench.crash.console import MAX_LINE, line_around, read_line, report_lines
from kbench.crash.frames import (
    SYSCALL_PREFIXES,
    all_frames,
    base_name,
    blame,
    blame_hang,
    blame_stall,
    pointer_of,
    trace,
    trace_after,
)
from kbench.crash.guilty import guilty_file
from kbench.crash.kinds import FOREIGN, HARMLESS, KINDS, MARKERS, REPORT_END, SAME_CRASH, SUPPRESSED, Kind, Source
from kbench.crash.titles import clean, type_of

__all__ = ["CrashReport", "guilty_file", "parse"]

_TIMESTAMP = re.compile(r"\[ {0,8}[0-9]{1,8}\.[0-9]{6}\]")
_MARKER = re.compile("|".join(map(re.escape, MARKERS)))
_EXECUTOR = re.compile(r"Comm: syz\.([0-9]{1,9})\.([0-9]{1,9})\b")
_LATER_SPAN = 20_000  # characters of the report a later pattern is searched in
_NO_FUNCTION = "corrupted"
_BOOT = "Booting the kernel."  # of a second boot; the first one is no crash


@dataclass(frozen=True, slots=True)
class CrashReport:
    """The first crash of a console log."""

    title: str  # normalised, as syzbot would call it
    alt_titles: tuple[str, ...] = ()  # two crashes that share a title of any sort are one bug
    type: str = ""  # "KASAN-USE-AFTER-FREE-READ", "WARNING", …; "" when untyped
    frame: str = ""  # the function to blame
    corrupted: bool = False  # truncated, mixed up with another one, or otherwise unreliable
    suppressed: bool = False  # the program under test had no memory: not worth a report
    panicked: bool = False  # the kernel panicked
    executor: str = ""  # the test process, "proc=P, id=N"
    report: str = ""  # the text, console prefixes taken off

    @property
    def alt(self) -> tuple[str, ...]:
        """The alternative titles, under the name the conformance data has for them."""
        return self.alt_titles


def parse(console: str) -> CrashReport | None:
    """Find the first crash in a console log; None if there is none.

    Lines end at a line feed; carriage returns, colours, time stamps and the printer's mark are taken off.
    """
    found = _first_crash(console)
    if found is None:
        return None
    start, headline = found
    all_lines = list(report_lines(console, start))
    kind, groups = _kind_of(headline, "\n".join(all_lines)[:_LATER_SPAN])
    lines = _until_end(all_lines, kind)
    function, has_stack = _function(kind, groups, lines)
    function = function or (_NO_FUNCTION if kind.sources else "")
    titles = _titles(kind, groups, function)
    report = "\n".join(lines)
    return CrashReport(
        title=titles[0],
        alt_titles=tuple(titles[1:]),
        type=type_of(titles[0]),
        frame=titles[0].rpartition(" in ")[2] if function else "",
        corrupted=kind.corrupted
        or function == _NO_FUNCTION
        or (kind.needs_stack and not has_stack)
        or "serialport: VM disconnected." in console
        or bool(_TIMESTAMP.search(titles[0])),
        suppressed=bool(SUPPRESSED.search(report)) or "Attempted to kill init!" in titles[0],
        panicked="Kernel panic - not syncing" in console,
        executor=_executor(report),
        report=report,
    )


def _first_crash(console: str) -> tuple[int, str] | None:
    # Where the line of the first crash starts, and its text from the marker on.
    present = [marker for marker in MARKERS if marker in console]
    if not present:
        return None
    ran = _TIMESTAMP.search(console)
    done = 0
    for marker in re.finditer("|".join(map(re.escape, present)), console):
        if marker.start() < done or HARMLESS.match(console, marker.start(), marker.start() + MAX_LINE):
            continue
        start, done = line_around(console, marker.start())
        line = console[max(start, marker.start() - MAX_LINE // 2) : min(done, marker.start() + MAX_LINE // 2)]
        headline = _headline(read_line(line).text)
        first_boot = headline.startswith(_BOOT) and not (ran and ran.start() < start)
        if headline and not first_boot:
            return start, headline
    return None


def _headline(line: str) -> str:
    # The line from its first marker on, unless that is harmless.
    for marker in _MARKER.finditer(line):
        headline = line[marker.start() :]
        if not HARMLESS.match(headline) and not FOREIGN.search(line[max(0, marker.start() - 100) : marker.start()]):
            return headline
    return ""


def _until_end(lines: Iterable[str], kind: Kind) -> list[str]:
    # A report ends with the kernel, or where another crash begins.
    kept: list[str] = []
    for line in lines:
        headline = _headline(line) if kept else ""
        if headline and not SAME_CRASH.match(headline) and not kind.pattern.match(headline):
            break
        kept.append(line)
        if REPORT_END.search(line) and len(kept) > 1:
            break
    return kept


def _kind_of(headline: str, following: str) -> tuple[Kind, dict[str, str]]:
    # The first kind whose patterns match, and what their groups hold; the last kind matches every line.
    for kind in KINDS:
        match = kind.pattern.match(headline)
        later = kind.later.search(following) if match and kind.later else None
        if match and (later or not kind.later):
            groups = {f"later {name}": text or "" for name, text in later.groupdict().items()} if later else {}
            groups |= {name.removeprefix("later "): text for name, text in groups.items() if name != "later function"}
            return kind, groups | {name: text or "" for name, text in match.groupdict().items()}
    return KINDS[-1], {"rest": headline}


def _function(kind: Kind, groups: dict[str, str], lines: list[str]) -> tuple[str, bool]:
    # The function to blame, and whether there is a stack trace at all.
    frames = trace(lines)
    if any(frame.startswith("should_fail") for frame in frames):
        return "", True  # fault injection prints a trace of its own, which mixes with the crash's
    answers = {
        Source.LINE: lambda: [base_name(groups["function"])] if groups.get("function") else [],
        Source.LATER: lambda: [base_name(groups["later function"])],
        Source.POINTER: lambda: pointer_of(lines),
        Source.TRACE: lambda: frames,
        Source.BELOW: lambda: trace_after(lines, kind.later) if kind.later else [],
    }
    if kind.sources == (Source.HANG,):
        return blame_hang(frames), bool(frames)
    if kind.sources == (Source.STALL,):
        return blame_stall(list(all_frames(lines))), bool(frames)
    functions = [function for source in kind.sources for function in answers[source]()]
    return blame(functions), bool(frames)


def _titles(kind: Kind, groups: dict[str, str], function: str) -> list[str]:
    # The title first. A system call goes by its shortest name; the others make alternative titles.
    names = [function] + [function[len(prefix) :] for prefix in SYSCALL_PREFIXES if function.startswith(prefix)]
    names = sorted((name for name in names if name), key=len) or [""]
    titles = [clean(template.format_map({**groups, "function": name})) for name in names for template in (kind.title, *kind.alt)]
    return list(dict.fromkeys(titles))


def _executor(report: str) -> str:
    found = _EXECUTOR.search(report)
    return f"proc={found[1]}, id={found[2]}" if found else ""
