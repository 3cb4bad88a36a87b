"""Which commits make the same kernel, told from the files that went into one. Pure. Read `Relevance` first.

A commit whose change cannot reach the kernel makes its parent's kernel. Whatever is in doubt keeps a commit apart: one
kernel too many costs a build, one too few could lose the culprit.
"""

from __future__ import annotations

import functools
import hashlib
import operator
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kbench.history import History, Mask

#: What a source tree holds that no build reads unless it is compiled, included or named by a Makefile.
SOURCE_SUFFIXES = (".c", ".h", ".S", ".rst", ".txt", ".md")
DOCUMENTATION = ("Documentation", "doc", "docs")
#: Files of this kind are found by their own path only; of any other, one of the same name may be found instead.
_NOT_SEARCHED = (".c", ".S")


class Change(NamedTuple):
    """One path that a commit changed against its first parent."""

    path: str  # bytes that are not UTF-8 are surrogates
    before: str  # mode and hash of the content, "" when the path was not there
    after: str


class CommitChange(NamedTuple):
    """What a commit changed."""

    parent: str  # its first parent, "" for a root
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Fold:
    """A history folded into kernels, numbered like its first commits: oldest first."""

    history: History  # of the kernels; `commits` and `dates` are those of their first commits
    kernels: NDArray[np.int64]  # kernel of each commit; shape (number of commits,)
    first: NDArray[np.int64]  # first commit of each kernel; shape (number of kernels,)
    own: Mask  # kernels that differ from their parents', as far as known; the others were only named; shape of `first`


def decides(path: str) -> bool:
    """Tell whether a file can decide what is built without being compiled, in a tree nothing is known of.

    Everything can but documentation, C and assembler: those are compiled or included, and the build then names them.
    """
    parts = PurePosixPath(path).parts
    name = parts[-1] if parts else ""
    if name.startswith(("Makefile", "Kconfig", "Kbuild", "CMakeLists")) or name.endswith((".mk", ".cmake")):
        return True
    return parts[0] not in DOCUMENTATION and not name.endswith(SOURCE_SUFFIXES) if parts else True


class Relevance:
    """Which paths matter, and the changes of a history by which its commits are told apart.

    Parameters
    ----------
    history : History
    changes : mapping of str to CommitChange
        What each commit with a parent in `history` changed, by hash. A commit that is missing is a kernel of its own.
    newest : collection of str
        The paths of the newest tree. What is not there was removed or renamed, and nobody can tell where it went in.
    decides : callable
        Whether a path decides what is built without being compiled.
    """

    def __init__(
        self,
        history: History,
        changes: Mapping[str, CommitChange],
        newest: Collection[str],
        decides: Callable[[str], bool] = decides,
    ) -> None:
        self._history = history
        place = {commit: index for index, commit in enumerate(history.commits)}
        self._first_parents = [-1] * len(history)
        self._deltas: list[list[tuple[int, int]]] = [[] for _ in history.commits]  # (path, change of the content's sum)
        paths: dict[str, int] = {}
        moved: set[int] = set()  # added or removed at some time
        for index, commit in enumerate(history.commits):
            if commit not in changes or not history.parents[index]:
                continue
            self._first_parents[index] = place.get(changes[commit].parent, -1)
            for path, before, after in changes[commit].changes:
                number = paths.setdefault(path, len(paths))
                self._deltas[index].append((number, _content(path, after) - _content(path, before)))
                if not before or not after:
                    moved.add(number)
        self._paths = list(paths)
        self._moved = [number in moved for number in range(len(paths))]
        # Broken names are not compared: a build may spell them another way.
        self._always = [path not in newest or not path.isprintable() or decides(path) for path in paths]

    def touching(self, files: Collection[str]) -> Mask:
        """Tell which commits change one of some files against their first parent; shape (number of commits,)."""
        wanted = {number for number, path in enumerate(self._paths) if path in files}
        return np.array([any(path in wanted for path, _ in deltas) for deltas in self._deltas], dtype=np.bool_)

    def matters(self, files: Collection[str]) -> list[bool]:
        """Tell of each changed path whether a change of it can reach a kernel that is made of `files`."""
        names = {name for name in map(_base_name, files) if not name.endswith(_NOT_SEARCHED)}
        return [
            always or path in files or (moved and _base_name(path) in names)
            for path, always, moved in zip(self._paths, self._always, self._moved, strict=True)
        ]

    def fold(self, files: Collection[str], *, keep: Iterable[int] = (), within: Mask | None = None) -> Fold:
        """Fold the commits into kernels made of `files`, those that went into any kernel built so far; see `fold`."""
        return fold(self._history, self._contents(self.matters(files)), keep=keep, within=within)

    def _contents(self, matters: list[bool]) -> list[Hashable]:
        # Of each commit (root, sum of what matters): commits that share a root are equal when their sums are. A commit
        # whose first parent is not known is a root.
        contents: list[tuple[int, int]] = []
        for index, parent in enumerate(self._first_parents):
            root, total = contents[parent] if parent >= 0 else (index, 0)
            if parent >= 0:
                total += sum(delta for path, delta in self._deltas[index] if matters[path])
            contents.append((root, total % _MODULUS))
        return list(contents)


def fold(history: History, contents: Sequence[Hashable], *, keep: Iterable[int] = (), within: Mask | None = None) -> Fold:
    """Fold each commit into a parent of equal content, where that hides no branch.

    Its other parents must not contain anything that this parent does not contain as well, counted in kernels. So one commit
    contains another exactly if its kernel contains the other's, as long as that other one is the first commit of its kernel;
    and a commit that changes anything that matters, against each of its parents, is.

    Parameters
    ----------
    history : History
    contents : sequence
        Equal for two commits only if they make one kernel.
    keep : iterable of int
        Commits that stay kernels of their own: those the search speaks of.
    within : mask, optional
        Commits that may fold, and that containing is about, besides those of `keep`; all by default.
    """
    kept = frozenset(keep)
    inside = np.ones(len(history), dtype=np.bool_) if within is None else within
    kernels: list[int] = []
    first: list[int] = []
    own: list[bool] = []
    parents: list[list[int]] = []  # of each kernel
    contained: list[int] = []  # kernels each kernel contains, itself included, as bits: `bit` is the next one's
    bit = 1
    for commit, (row, may_fold) in enumerate(zip(history.parents, inside.tolist(), strict=True)):
        above = list(dict.fromkeys(kernels[parent] for parent in row))
        union = functools.reduce(operator.or_, (contained[kernel] for kernel in above), 0)
        equal = [kernels[parent] for parent in row if contents[parent] == contents[commit]] if may_fold else []
        into = next((kernel for kernel in equal if contained[kernel] == union), None)
        if into is not None and commit not in kept:
            kernels.append(into)
            continue
        if may_fold or commit in kept:
            union, bit = union | bit, bit << 1
        kernels.append(len(first))
        contained.append(union)
        first.append(commit)
        own.append(into is None)
        parents.append(above)
    return Fold(
        History.from_parents(parents, [history.commits[c] for c in first], [history.dates[c] for c in first]),
        np.array(kernels, dtype=np.int64),
        np.array(first, dtype=np.int64),
        np.array(own, dtype=np.bool_),
    )


def unfolded(history: History) -> Fold:
    """Return a history in which every commit is a kernel of its own."""
    each = np.arange(len(history))
    return Fold(history, each, each, np.ones(len(history), dtype=np.bool_))


_MODULUS = 1 << 128


@functools.lru_cache(maxsize=1 << 17)
def _content(path: str, blob: str) -> int:
    # A number for this content at this path; sums of such numbers are equal by accident once in 2^128.
    if not blob:
        return 0
    text = f"{path}\0{blob}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")


def _base_name(path: str) -> str:
    return path.rpartition("/")[2]
