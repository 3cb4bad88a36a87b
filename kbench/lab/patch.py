"""Changes to a tree of text files: what an edit is, and patches written by hand. Read `Patch` and `apply_patch` first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kbench.errors import KbenchError

Files = Mapping[str, str]  # path below the tree: text


class AnchorError(KbenchError):
    """A patch does not fit the lab kernel as it is shipped; a fault of kbench, not of its user."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One commit's change: the files it writes, and what its message says."""

    area: str  # "pipe", "x86/trap": the subject's prefix
    subject: str  # without the prefix
    body: str
    files: Files


@dataclass(frozen=True, slots=True)
class Change:
    """One place in one file; `old` has to be there exactly once."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Patch:
    """A change written by hand."""

    area: str
    subject: str
    body: str
    changes: tuple[Change, ...]


def apply_patch(files: Files, patch: Patch) -> Edit:
    """Make a patch's change to a tree.

    Raises
    ------
    AnchorError
        If the text it replaces is not there exactly once: the lab kernel has changed, and the patch has to follow.
    """
    new: dict[str, str] = {}
    for change in patch.changes:
        text = new.get(change.path, files.get(change.path, ""))
        if (seen := text.count(change.old)) != 1:
            where = f"{change.old.strip().splitlines()[0]!r} once in {change.path}"
            raise AnchorError(
                f"lab: expected {where}, found it {seen} times; adapt '{patch.area}: {patch.subject}' to the lab kernel"
            )
        new[change.path] = text.replace(change.old, change.new)
    return Edit(patch.area, patch.subject, patch.body, new)
