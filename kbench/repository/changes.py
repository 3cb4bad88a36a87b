"""What commits changed, as git's raw lists say it. Pure; read `parse_changes` first."""

from __future__ import annotations

from collections.abc import Iterator

from kbench.errors import RevisionError
from kbench.relevance import Change, CommitChange

#: Arguments of git whose output `parse_changes` reads; the commits come by standard input.
ARGUMENTS = (
    *("log", "--no-walk=unsorted", "--stdin", "-z", "--format=%H %P"),
    *("--raw", "--no-abbrev", "--no-renames", "--diff-merges=first-parent", "--no-show-signature", "--no-notes"),
    *("--no-ext-diff", "--no-textconv", "--no-mailmap", "--no-color", "--ignore-submodules=none"),
)


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


def _there(mode: str, blob: str) -> str:
    return f"{mode} {blob}" if mode.strip("0") else ""
