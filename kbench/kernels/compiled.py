"""Which files of a source tree went into a build, from what the build leaves behind. Read `compiled_files` first."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

# kbuild's .X.cmd: the command, then `source_X := file` and `deps_X := ...`, one a line (scripts/basic/fixdep.c). Commands
# that list nothing end with the first line.
_LISTS = b"\nsource_"
# Words of a command that can be files: an option has its file behind a space or "=".
_WORD = re.compile(rb"[^\s'\"()=;|&<>,]+")
_KCONFIG = re.compile(r"^\t(\S+?)(?: \\)?$", re.MULTILINE)
#: Kbuild's list of the Kconfig files that were read, written when the config is (scripts/kconfig/confdata.c).
KCONFIG_LIST = "include/config/auto.conf.cmd"


def dependencies(text: str) -> set[str]:
    """Return the prerequisites named in a make dependency file (`gcc -MD`), as written."""
    found: set[str] = set()
    for rule in text.replace("\\\n", " ").splitlines():
        _, colon, prerequisites = rule.partition(":")
        if colon:
            found.update(prerequisites.split())
    return found


def compiled_files(build_dir: Path, source_tree: Path) -> tuple[str, ...] | None:
    """Return the files of the source tree that went into a build, by its dependency files; None when it left none.

    The result is sorted and relative to the source tree; files made by the build are left out.
    """
    found = list(build_dir.rglob("*.d")) or list(source_tree.rglob("*.d"))
    named = set().union(*(dependencies(path.read_text(errors="replace")) for path in found if path.is_file()))
    return _of_tree(named, source_tree, (source_tree,)) if named else None


def linux_files(build_dir: Path, source_tree: Path) -> tuple[str, ...] | None:
    """Return the files of a Linux tree that a build read: sources, headers, scripts and tables, and the Kconfig files.

    From the .cmd files of every object, programs of the host included; of a command without a list of what it read, from its
    words. What an earlier build left of objects that are no longer made counts as well. None when there is nothing to go by.
    """
    named: set[bytes] = set()
    for folder, _, names in os.walk(build_dir):
        for name in names:
            if name.startswith(".") and name.endswith(".cmd"):
                with open(os.path.join(folder, name), "rb") as file:  # noqa: PTH118, PTH123 thousands of them
                    text = file.read()
                command, _, listed = text.partition(_LISTS)
                # Words that are no names of files do no harm; looking at each line would take five times as long.
                named.update(listed.split() if listed else _WORD.findall(command))
    if not named:
        return None
    spelt = {name.decode("utf-8", "surrogateescape") for name in named if b"$" not in name and not name.endswith(b")")}
    return _of_tree(spelt | kconfig_files(build_dir), source_tree, (build_dir, source_tree))


def kconfig_files(build_dir: Path) -> set[str]:
    """Return the Kconfig files the last config was made by, as kbuild lists them; empty before the first."""
    path = build_dir / KCONFIG_LIST
    return set(_KCONFIG.findall(path.read_text(errors="replace"))) if path.is_file() else set()


def _of_tree(named: Iterable[str], source_tree: Path, bases: Iterable[Path]) -> tuple[str, ...]:
    """Those names that are files of the tree, sorted and relative to it; relative ones may be meant from any of the bases."""
    root, roots = os.fspath(source_tree) + os.sep, [os.fspath(base) for base in bases]
    candidates: set[str] = set()
    for name in named:
        for base in roots[:1] if name.startswith("/") else roots:
            path = os.path.normpath(os.path.join(base, name))  # noqa: PTH118 pathlib takes 20 times as long
            if path.startswith(root):
                candidates.add(path)
    return tuple(sorted(path.removeprefix(root) for path in candidates if os.path.isfile(path)))  # noqa: PTH113
