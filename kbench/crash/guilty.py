"""The source file a crash report points at. Read `guilty_file` first."""

from __future__ import annotations

import posixpath
import re
from itertools import takewhile
from pathlib import PurePosixPath

_FILE = re.compile(
    r"(?<![\w/.+-])((?:\.{0,2}[\w+-][\w.+-]{0,80}/|\.{1,2}/){1,16}[\w+-][\w.+-]{0,80}\.(?:c|h|S|rs)):[0-9]{1,7}(?![0-9])"
)
# What the compiler adds to a name begins with a dot.
_OFFSET = r"(?:\.[\w.]{1,60})?\+0x[0-9a-f]{1,16}/0x[0-9a-f]{1,16}"
_CALL = re.compile(rf"(?<![\w.])([A-Za-z_]\w{{0,120}})({_OFFSET})? {{1,4}}{_FILE.pattern}( \[inline\])?")

# Where bugs show and not where they are.
_GENERIC = re.compile(
    r".*\.h$|(?:virt/)?lib/|rust/|mm/(?:k[am]san|kfence|kcsan|kmemleak|sl[aou]b|slab_common|util|memory\.c|vmalloc|page_alloc|mempool|maccess|usercopy|"
    r"debug|percpu|failslab|mm_init|folio-compat|gup|mempolicy|fault)|kernel/(?:k[cm]sa|kcov|locking|rcu|sched|printk|panic|softirq|time/|"
    r"workqueue|stacktrace|exit|fork|kthread|hung_task|watchdog|irq|notifier|bug|entry|context_tracking|events/core\.c|debug|dump|task_work|"
    r"kcsan)|arch/[a-z0-9_]+/(?:kernel/(?:traps|dumpstack|stacktrace|unwind|process|irq|apic|smp|entry|fpu|time|debug|sys)|mm/|lib/|"
    r"entry|include|crypto)|net/core/(?:dev|sock|skbuff)\.c|fs/proc/generic\.c|drivers/usb/core/urb\.c|tools/|security/security\.c"
)
_NO_PLACE = re.compile(
    r"(?:hard|soft)irqs last |last (?:en|dis)abled |irq event stamp|#[0-9]{1,2}: |^R(?!IP)[A-Z0-9]{2}: |^CPU: |^Code: |"
    r"Modules linked|at: "
)
_STALL = re.compile(r"rcu.{0,60}detected.{0,20} stall")
_INTERRUPT = re.compile(r"apic_timer_interrupt|asm_sysvec|el1_irq|</IRQ>")


def guilty_file(report: str) -> str:
    """The file to blame, relative to the source tree: the first in the trace that is not generic; "" if none is named.

    A file further down that lies deeper below the same directory is preferred: the driver, not its bus.
    """
    lines = _lines(report)
    if any(_STALL.search(line) for line in takewhile(lambda line: "+0x" not in line, lines)):
        start = next((i for i, line in enumerate(lines) if _INTERRUPT.search(line)), 0)
        lines = lines[start:]
    files = _files(lines)
    telling = [file for file in files if not _GENERIC.match(file)]
    if not telling:
        return files[0] if files else ""
    folder = PurePosixPath(telling[0]).parent
    deeper = (file for file in telling[1:] if folder in PurePosixPath(file).parent.parents)
    return next(deeper, telling[0])


def trace_files(report: str) -> frozenset[str]:
    """The files that a report names and that are not generic, relative to the source tree."""
    return frozenset(file for file in _files(_lines(report)) if not _GENERIC.match(file))


def trace_functions(report: str) -> frozenset[str]:
    """The functions that a report names together with such a file: `pipe_write+0x1c/0x2b fs/pipe.c:468`."""
    found = (match.groups() for line in _lines(report) if not _NO_PLACE.search(line) for match in _CALL.finditer(line))
    return frozenset(
        name for name, offset, file, inline in found if (offset or inline) and not _GENERIC.match(posixpath.normpath(file))
    )


def _lines(report: str) -> list[str]:
    return [line[:2000] for line in report.split("\n")[:5000]]


def _files(lines: list[str]) -> list[str]:
    return [posixpath.normpath(match[1]) for line in lines if not _NO_PLACE.search(line) for match in _FILE.finditer(line)]
