"""What the host says of a process and of those it started. One effect: /proc. Read `stopped`."""

from __future__ import annotations

import contextlib
from pathlib import Path

STOPPED = "T"  # by a signal; a process that is traced is "t" when it stops


def stopped(pid: int) -> bool:
    """Return whether a process, or one of those it started, was stopped by a signal and waits to go on."""
    states, parents = {}, {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            number = int(entry.parent.name)
            fields = entry.read_text().rpartition(")")[2].split()  # the name may have blanks and brackets of its own
            states[number], parents[number] = fields[0], int(fields[1])
    return any(state == STOPPED and _descends(number, pid, parents) for number, state in states.items())


def _descends(number: int, ancestor: int, parents: dict[int, int]) -> bool:
    seen = set()
    while number not in seen and number != ancestor and number in parents:
        seen.add(number)
        number = parents[number]
    return number == ancestor
