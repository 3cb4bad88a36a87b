"""Why a build failed: the line that says it, and the source file to blame. Pure. Read `root_cause` first."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

# What names the cause of a failed build, strongest first: a compiler's or linker's own words, then make's.
_STRONG = (
    ": error: ", ": fatal error: ", "Error: ", "ERROR: ", ": undefined reference to", ": multiple definition of",
    "No rule to make target", "FAILED unresolved symbol", "cannot find -l", "error: ",
)  # fmt: skip
# Kconfig's and make's own words about their languages, with a position.
_LANGUAGE = re.compile(
    r"^\S+:\d+: \*\*\* |^\S*Kconfig\S*:\d+: (?:syntax error|unknown|invalid|missing|unexpected|recursive|can't open|.* redefined)"
)
# The source tree is at fault, or whoever left it so.
_TREE = "*** The source tree is not clean"
_WEAK = re.compile(r"^make(\[\d+\])?: \*\*\*|^Killed$|: not found$|: No such file or directory$")
_POSITION = re.compile(
    r"^(?:\S+: )?([^\s:()]+\.(?:[chS]|inc|ld|lds|asm|rs|cpp|cc)|[^\s:()]*(?:Kconfig|Makefile|Kbuild)[^\s:()/]*):\d+"
)


def root_cause(output: str, roots: Iterable[Path] = ()) -> tuple[str, str]:
    """Return the line that says why a build failed and the source file to blame ("" when none is named).

    The first line in a compiler's or linker's words wins over make's last one.

    Parameters
    ----------
    output : str
    roots : iterable of Path
        The source tree, and the folder of objects: names below the first are given relative to it, however spelt.
    """
    lines = [_relative(line.strip(), list(roots)) for line in output.splitlines()]
    strong = next((line for line in lines if _is_strong(line)), "")
    weak = next((line for line in lines if _WEAK.search(line)), "")
    cause = strong or weak or next((line for line in reversed(lines) if line), "")
    position = _POSITION.match(cause)
    return cause[:300], position[1].removeprefix("./") if position else ""


def _is_strong(line: str) -> bool:
    return any(mark in line for mark in _STRONG) or _LANGUAGE.match(line) is not None or _TREE in line


def _relative(line: str, roots: list[Path]) -> str:
    """Shorten names of files of the tree, which the compiler spells from the root or from the folder of objects."""
    if not roots:
        return line
    tree = os.fspath(roots[0])
    spelt = [tree, *(os.path.relpath(tree, root) for root in roots[1:])]
    for prefix in spelt:
        line = re.sub(rf"(^|[\s'\"`(]){re.escape(prefix)}/", r"\1", line)
    return line
