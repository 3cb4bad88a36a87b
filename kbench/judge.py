"""What a machine showed becomes the outcome of a run here and nowhere else. Pure. Read `judge` first."""

from __future__ import annotations

from kbench import crash
from kbench.crash.titles import clean
from kbench.machines import Ending, MachineRun
from kbench.patterns import LinePattern
from kbench.records import MachineSpec, Outcome

#: Titles of crashes that print nothing, in syzkaller's words.
SILENT_TITLES = {
    Ending.SILENT: "no output from test machine",
    Ending.RESET: "unexpected kernel reboot",
    Ending.SHUTDOWN: "lost connection to test machine",
    Ending.TIMED_OUT: "test machine timed out",
}
MAX_TITLE = 120  # characters
LONGEST_LINE = 4096  # characters a case's pattern looks at, so that a costly one ends


def judge(shown: MachineRun, spec: MachineSpec) -> tuple[Outcome, str]:
    """Return the outcome of what a machine showed, and its crash title or the reason of its failure (pure).

    Without a `done` pattern nobody can say when the reproducer has ended: a machine that goes quiet, powers off or runs
    on to the time limit is then a clean run.
    """
    match shown.ending:
        case Ending.CRASHED | Ending.PANICKED:
            return Outcome.CRASHED, crash_title(shown, spec)
        case Ending.NOT_BOOTED:
            report = crash.parse(shown.text)
            title = report.title if report else shown.detail
            if spec.boot_failure == "crash":  # the last line differs from run to run; the bug is one
                return Outcome.CRASHED, report.title if report else "boot failed"
            return Outcome.BOOT_FAILED, title
        case Ending.TEST_FAILED:
            return Outcome.TEST_FAILED, shown.detail.strip()[:MAX_TITLE]
        case Ending.DONE:
            return Outcome.OK, ""
        case Ending.RESET:
            return Outcome.CRASHED, SILENT_TITLES[Ending.RESET]
        case ending if spec.done is not None and ending in SILENT_TITLES:
            return Outcome.CRASHED, SILENT_TITLES[ending]
        case _:
            return Outcome.OK, ""


def crash_title(shown: MachineRun, spec: MachineSpec) -> str:
    """Return the title of a crash: the case's own pattern's first, then what kbench.crash reads, then the line itself."""
    line = ""
    if spec.crashed is not None:
        pattern = LinePattern(spec.crashed, "crashed")
        found = next((match for text in shown.text.splitlines() if (match := pattern.search(text[:LONGEST_LINE]))), None)
        if found and "title" in pattern.groups and (title := found["title"]):
            return clean(title)
        line = found.string if found else ""
    report = crash.parse(shown.text) if spec.linux_crashes else None
    return report.title if report else clean(line or shown.detail)
