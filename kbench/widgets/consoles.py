"""Consoles read from disk for the views: the one effect below `rows`. Read `of_steps` first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from kbench.records import Outcome, Run, Step
from kbench.text import clean, excerpt

_HEAD_BYTES = 256 * 1024  # read from a console's start; a console can have gigabytes
_TAIL_BYTES = 256 * 1024

# The run whose console tells most about a revision, by outcome.
_TELLING = (Outcome.CRASHED, Outcome.BOOT_FAILED, Outcome.TEST_FAILED, Outcome.OK, Outcome.INFRA)


def read_console(path: Path) -> bytes:
    """Return a console, of a long one its head and tail; an unreadable one says so in its place."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            size = file.seek(0, 2)
            if size <= _HEAD_BYTES + _TAIL_BYTES:
                file.seek(len(head))
                return head + file.read(_TAIL_BYTES)
            file.seek(-_TAIL_BYTES, 2)
            return head + f"\n[{size - len(head) - _TAIL_BYTES} bytes are not shown]\n".encode() + file.read(_TAIL_BYTES)
    except OSError as err:
        return f"[console: not readable, {err.strerror}: {path.name}]\n".encode()


@lru_cache(maxsize=512)
def _excerpt(path: Path, mtime_ns: int) -> tuple[str, int]:
    return excerpt(clean(read_console(path)))


def telling_run(runs: Sequence[Run]) -> int | None:
    """Return the index of the run whose console is shown: the first that crashed, else the next most telling one."""
    kept = [(_TELLING.index(run.outcome), index) for index, run in enumerate(runs) if run.console is not None]
    return min(kept)[1] if kept else None


def of_steps(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return one console a step, as the views draw it: `text`, `crash` (offset of its headline, -1) and `run` (index, or None).

    A revision that could not be built shows why in its console's place.
    """
    return [_of_step(step) for step in steps]


def _of_step(step: Step) -> dict[str, Any]:
    run = telling_run(step.runs)
    path = None if run is None else step.runs[run].console
    if path is None:
        text, crash = excerpt(clean(step.failure))
        return {"text": text, "crash": crash, "run": None}
    try:
        mtime_ns = path.stat().st_mtime_ns
    except OSError:
        mtime_ns = 0
    text, crash = _excerpt(path, mtime_ns)
    return {"text": text, "crash": crash, "run": run}
