"""What commits changed, as git's raw lists and its diffs say it. Pure; read `parse_changes` first."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from kbench.errors import RevisionError
from kbench.relevance import Change, CommitChange

#: Arguments of git whose output `parse_changes` reads; the commits come by standard input.
ARGUMENTS = (
    *("log", "--no-walk=unsorted", "--stdin", "-z", "--format=%H %P"),
    *("--raw", "--no-abbrev", "--no-renames", "--diff-merges=first-parent", "--no-show-signature", "--no-notes"),
    *("--no-ext-diff", "--no-textconv", "--no-mailmap", "--no-color", "--ignore-submodules=none"),
)

#: Those whose output `parse_mentions` reads: a hunk's heading names the function it lies in, not a label.
DIFF_ARGUMENTS = (
    *("-c", "diff.default.xfuncname=!^[A-Za-z_][A-Za-z_0-9]*:[[:space:]]*($|/)\n^[A-Za-z_].*$"),
    *("diff-tree", "--stdin", "--root", "-r", "-p", "--unified=0", "--no-renames", "--no-ext-diff", "--no-textconv"),
    *("--no-color", "--ignore-submodules=all"),
)
_COMMIT = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_HUNK = re.compile(rb"@@ [-+,0-9 ]{1,80} @@")
_WORD = re.compile(rb"[A-Za-z_]\w*")


def parse_changes(listed: bytes) -> Iterator[tuple[str, CommitChange]]:
    """Yield each commit's hash with its change against its first parent.

    Fields end in NUL: a line with the hashes of a commit and its parents, then for each path `:mode mode hash hash letter`
    and the path (git-diff, "Raw output format"). A path may hold any byte but NUL.

    Raises
    ------
    RevisionError
        The list breaks off, or has another form.
    """
    fields = iter(listed.decode("utf-8", "surrogateescape").split("\0"))
    commit, parent = "", ""
    changes: list[Change] = []
    for field in map(str.lstrip, fields):
        if field.startswith(":"):
            try:
                mode_before, mode_after, before, after, _ = field[1:].split(" ")
                path = next(fields)
            except (ValueError, StopIteration):
                raise RevisionError(
                    f"git: expected a change and its path, got {field[:80]!r}; see git log --raw {commit}"
                ) from None
            changes.append(Change(path, _there(mode_before, before), _there(mode_after, after)))
        elif field:
            if commit:
                yield commit, CommitChange(parent, tuple(changes))
            commit, parent, *_ = [*field.split(), "", ""]
            changes = []
    if commit:
        yield commit, CommitChange(parent, tuple(changes))


def parse_mentions(diffs: bytes, functions: Collection[str]) -> Iterator[str]:
    """Yield the hash of each commit that changes a line in one of some functions, or a line that names one."""
    wanted = {name.encode() for name in functions}
    commit, found = "", False
    for line in diffs.split(b"\n"):
        if _COMMIT.fullmatch(line):
            commit, found = line.decode(), False
        elif not found and (line.startswith((b"+", b"-")) or _HUNK.match(line)) and not wanted.isdisjoint(_WORD.findall(line)):
            found = True
            yield commit


def _there(mode: str, blob: str) -> str:
    return f"{mode} {blob}" if mode.strip("0") else ""
