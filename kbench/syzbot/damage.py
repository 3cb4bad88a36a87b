"""What could not be read of a log, in words. Read `damage` first."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kbench.syzbot.forms import Line
from kbench.syzbot.log import BisectionLog

_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\ufffd]")
_STARTS = ("cause", "fix", "cause, 2018", "fix, 2018")
_TEST = ("test with", "test", "test plain")
_HASH = re.compile(r"[0-9a-f]{40}")


def damage(log: BisectionLog) -> tuple[str, ...]:
    """Say what is missing or out of place in a log: it was cut, spliced or overwritten; () when nothing is."""
    return tuple(_damage(log))


def _damage(log: BisectionLog) -> Iterator[str]:
    if log.cut and not log.report:
        yield f"line {len(log.lines)}, the last one, is cut off"
    if log.costs is None:
        yield "the log ends before its conclusion"
    no_text = [number for number, line in enumerate(log.lines, 1) if _NO_TEXT.search(str(line))]
    if no_text:
        yield f"{_lines(no_text)} no text"
    heads = [number for number, line in enumerate(log.lines, 1) if line.form in _STARTS]
    if len(heads) > 1:
        yield f"another log begins in line {heads[1]}"
    yield from _missing_runs(log.lines)
    yield from _missing_tests(log)


def _lines(numbers: list[int]) -> str:
    return f"line {numbers[0]} is" if len(numbers) == 1 else f"{len(numbers)} lines, the first of them line {numbers[0]}, are"


def _missing_runs(lines: tuple[Line, ...]) -> Iterator[str]:
    # Runs are numbered from 0, within a test.
    commit, expected = "", 0
    for line in lines:
        if line.form in _TEST:
            commit, expected = line.values[0], 0
        elif line.form in ("run", "run, 2018"):
            if int(line.values[0]) != expected:
                yield f"test of {commit[:12]}: run {expected} was expected, run {line.values[0]} follows"
            expected = int(line.values[0]) + 1


def _missing_tests(log: BisectionLog) -> Iterator[str]:
    # What git was told about was tested just before, but for a revision older than the bug, when a fix is searched.
    tested: set[str] = set()
    assumed = False
    for line in log.lines:
        if line.form in _TEST:
            tested.add(line.values[0])
        assumed |= line.form in ("not reached", "reached", "reach by merge base")
        if line.form == "bisect":
            if line.values[1] not in tested and not assumed:
                yield f"git was told {line.values[0]} of {line.values[1][:12]}, and no test of it is there"
            assumed = False
    named = log.culprit[0] if log.culprit else ""
    if named and _HASH.fullmatch(named) and not any(line.form == "first" and line.values[0] == named for line in log.lines):
        yield f"culprit {named[:12]}: git's own answer is not there"
