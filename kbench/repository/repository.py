"""Git: revisions, the history between two ends, release tags, worktrees. Read `Repository` first.

Reads and never writes, except for worktrees at paths of ours, which git lists while they are used, and for commits with
another one undone, which no ref names. The user's checkout, branches and HEAD are not touched. Text of commits is untrusted:
control characters and broken UTF-8 come back as U+FFFD.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from kbench.errors import RevisionError
from kbench.history import History
from kbench.relevance import CommitChange
from kbench.repository.changes import ARGUMENTS, DIFF_ARGUMENTS, parse_changes, parse_mentions
from kbench.repository.command import GitCommand
from kbench.repository.releases import parse_release_tag, sort_release_tags
from kbench.repository.revert import revert
from kbench.repository.worktree import Worktree

_CONTROL = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
_LINE_BREAKS = {ord("\n"): "\ufffd", ord("\t"): " "}
_ADDRESS = re.compile(
    r"^\s*(?:[A-Za-z-]{1,30}-by|Cc):[^<\n]{0,200}<([^<>\s]{3,200}@[^<>\s]{1,200})>", re.MULTILINE | re.IGNORECASE
)
_HASH = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_DESCRIPTION_LIMIT = 64 << 10  # characters
_CHANGES_AT_ONCE = 4096  # commits: bounds what is in memory
_ALIKE = 100  # commits with a line that is somebody's subject: the line may be anywhere in their message
_TEXT_OPTIONS = (
    "--no-color",
    "--no-notes",
    "--no-show-signature",
    "--no-mailmap",
    "--no-ext-diff",
    "--no-textconv",
    "--encoding=UTF-8",
)


class Repository:
    """A git repository, bare or with a checkout.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    InputError
        No repository there, or one of another user that git refuses to touch.
    MachineLacksError
        No git program.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._git = GitCommand(self.path)

    def __repr__(self) -> str:
        return f"Repository({str(self.path)!r})"

    def resolve(self, revision: str) -> str:
        """Return the hash of the commit a revision names; RevisionError when it names none."""
        wrong = not revision or revision.startswith("-") or any(ord(char) in _CONTROL or char in "\n\t" for char in revision)
        status, out, _ = (
            (1, b"", "") if wrong else self._git.attempt("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        )
        if status:
            shown = revision.translate(_CONTROL)[:100]
            raise RevisionError(f"git: expected a commit of {self.path}, {shown!r} names none; see git log --oneline and git tag")
        return out.decode("ascii").strip()

    def history(self, bad: str, good: Sequence[str] = (), oldest: str | None = None, *, forks: bool = False) -> History:
        """Read the commit graph of a range.

        Parameters
        ----------
        bad : str
            The newest end, the last commit of the history.
        good : sequence of str
            Older ends. The history has what `bad` contains and they do not, and themselves.
        oldest : str, optional
            Reach back to this commit, for a walk over releases: what `bad` contains and `oldest` does not, and `oldest`.
        forks : bool
            Reach back to where every branch in the range left the history of the good ends, so that merge bases are
            known, and accept good ends that are not ancestors.

        Returns
        -------
        History
            By date, oldest first, parents before children. Parents outside are dropped; `commits` are the hashes.

        Raises
        ------
        RevisionError
            An end git does not have, or one that is not an ancestor of `bad`.
        """
        tip, ends = self.resolve(bad), [self.resolve(end) for end in good]
        cut = [self.resolve(oldest)] if oldest is not None else ends
        if not forks:
            self.check_ancestors(tip, [*ends, *cut])
            return self._walk([tip], cut, ends)
        bases = self._fork_point(tip, ends) if ends and oldest is None else cut
        return self._walk([tip, *ends], bases, ends)

    def check_ancestors(self, bad: str, good: Iterable[str]) -> None:
        """Raise RevisionError, with the merge base, unless `bad` contains every good end and is none of them."""
        tip = self.resolve(bad)
        for name in dict.fromkeys(good):
            end = self.resolve(name)
            if end == tip:
                raise RevisionError(f"git: expected a good end older than the bad end, both are {tip[:12]}; give an older one")
            if self.is_ancestor(end, tip):
                continue
            base = self.merge_base(end, tip)
            if base == tip:
                raise RevisionError(
                    f"git: expected good {end[:12]} before bad {tip[:12]}, it is after it; swap the ends", merge_base=base
                )
            seen = f"their merge base is {base}; try that as good" if base else "they share no commit; give ends of one history"
            raise RevisionError(f"git: expected good {end[:12]} to be an ancestor of bad {tip[:12]}, {seen}", merge_base=base)

    def subject(self, commit: str) -> str:
        """First line of a commit's message."""
        return next(iter(self.subjects([commit]).values()))

    def subjects(self, commits: Iterable[str]) -> dict[str, str]:
        """First lines of the messages of many commits (hashes), in one call."""
        names = [name if _HASH.fullmatch(name) else self.resolve(name) for name in commits]
        if not names:
            return {}
        given = "".join(f"{name}\n" for name in names).encode()
        out = self._git.text("log", "--no-walk=unsorted", "-z", "--format=%H%x00%s", *_TEXT_OPTIONS, "--stdin", stdin=given)
        fields = out.split("\0")
        return dict(zip(fields[0::2], (_printable(text, one_line=True) for text in fields[1::2])))

    def find_subject(self, subject: str, tip: str) -> str | None:
        """Return the newest commit that `tip` contains whose message begins with this line; None when there is none.

        A commit that was rebased keeps its subject.
        """
        pattern = re.sub(r"([\\^$.*\[\]])", r"\\\1", subject.strip())
        wanted = ("--format=%H%x00%s", f"--max-count={_ALIKE}", "--basic-regexp", f"--grep=^{pattern}$", *_TEXT_OPTIONS)
        lines = self._git.text("log", *wanted, self.resolve(tip), "--").split("\n")  # the one break that no subject has
        found = (line.partition("\0") for line in lines)
        return next((commit for commit, _, line in found if line.strip() == subject.strip()), None)

    def is_ancestor(self, ancestor: str, commit: str) -> bool:
        """Whether `commit` contains `ancestor`; a commit contains itself."""
        return self._git.attempt("merge-base", "--is-ancestor", ancestor, commit)[0] == 0

    def merge_base(self, one: str, other: str) -> str | None:
        """Return the commit two commits grew from; None when they share none."""
        status, out, _ = self._git.attempt("merge-base", one, other)
        return out.decode("ascii").strip() if status == 0 else None

    def describe(self, commit: str) -> str:
        """Author, date, message and diffstat, as git bisect prints them below "is the first bad commit"."""
        shown = ("--stat", "--summary", "--no-abbrev-commit", "--date=default", "--diff-merges=first-parent", "--format=medium")
        return _printable(self._git.text("show", *shown, *_TEXT_OPTIONS, self.resolve(commit), "--"))[:_DESCRIPTION_LIMIT]

    def parents(self, commit: str) -> tuple[str, ...]:
        """Parents of a commit, first parent first; those a shallow clone lacks are left out."""
        return tuple(self._git.text("rev-list", "--parents", "--max-count=1", self.resolve(commit), "--").split()[1:])

    def reverted(self, commit: str, on: str, *, keep: bool = True) -> str | None:
        """Return `on` with the change of a commit undone, as a commit that no ref names and whose hash is always the same.

        None for a merge and a root, and where it conflicts or changes nothing. Without `keep` nothing is written: the hash is
        what the commit would have. RevisionError with a git older than 2.38.
        """
        name, newer = self.resolve(commit), self.resolve(on)
        parents = self.parents(name)
        if len(parents) != 1:
            return None
        time = int(self._git.text("show", "-s", "--format=%ct", *_TEXT_OPTIONS, newer, "--"))
        return revert(self._git, name, newer, parent=parents[0], subject=self.subject(name), time=time, keep=keep)

    def tree(self, commit: str) -> str:
        """Hash of a commit's tree: equal trees are equal sources."""
        name = commit if _HASH.fullmatch(commit) else self.resolve(commit)
        return self._git.text("rev-parse", "--verify", f"{name}^{{tree}}").strip()

    def changes(self, commits: Iterable[str]) -> Iterator[tuple[str, CommitChange]]:
        """Yield what each of the commits (hashes) changed against its first parent; renames count as removed and added."""
        remaining = iter(commits)
        while names := list(islice(remaining, _CHANGES_AT_ONCE)):
            yield from parse_changes(self._git.run(*ARGUMENTS, stdin="".join(f"{name}\n" for name in names).encode()))

    def mentioning(self, commits: Iterable[str], files: Iterable[str], functions: Collection[str]) -> Iterator[str]:
        """Yield those of the commits (hashes, no merges) whose change of some files is in one of the functions, or names one."""
        remaining, paths = iter(commits), [f":(literal){file}" for file in sorted(files)]
        while paths and functions and (names := list(islice(remaining, _CHANGES_AT_ONCE))):
            listed = "".join(f"{name}\n" for name in names).encode()
            yield from parse_mentions(self._git.run(*DIFF_ARGUMENTS, "--", *paths, stdin=listed), functions)

    def paths(self, commit: str) -> frozenset[str]:
        """Paths of all files of a commit's tree; bytes that are not UTF-8 come as surrogates."""
        listed = self._git.run("ls-tree", "-r", "-z", "--name-only", "--full-tree", self.resolve(commit))
        return frozenset(listed.decode("utf-8", "surrogateescape").split("\0")) - {""}

    def differing(self, old: str, new: str) -> frozenset[str]:
        """Paths that differ between the trees of two commits."""
        ends = self.resolve(old), self.resolve(new)
        listed = self._git.run("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--ignore-submodules=none", *ends)
        return frozenset(listed.decode("utf-8", "surrogateescape").split("\0")) - {""}

    def recipients(self, commit: str) -> tuple[str, ...]:
        """Mail addresses of a commit's author and of everybody in its trailers (Signed-off-by, Cc, ...), each once."""
        shown = ("-s", "--format=%ae%x00%B")
        author, _, message = self._git.text("show", *shown, *_TEXT_OPTIONS, self.resolve(commit), "--").partition("\0")
        once: dict[str, str] = {}
        for address in [author.strip(), *_ADDRESS.findall(message)]:
            if address:
                once.setdefault(address.lower(), _printable(address, one_line=True))
        return tuple(once.values())

    def release_tags(
        self, pattern: str = "v*", reachable_from: str | None = None, include_rc: bool = False, *, include_own: bool = False
    ) -> list[tuple[str, str]]:
        """Release tags with their commits, newest first.

        Parameters
        ----------
        pattern : str
            Glob of tag names. If none of them has the form of a release tag (v6.1, v6.1.3), all count, by commit date.
        reachable_from : str, optional
            Only tags this commit contains, and without its own unless `include_own`.
        include_rc : bool
            Release candidates too.
        """
        tip = self.resolve(reachable_from) if reachable_from is not None else None
        listed = "%(refname:strip=2)%00%(objectname)%00%(objecttype)%00%(*objectname)%00%(*objecttype)"
        merged = [f"--merged={tip}"] if tip else []
        out = self._git.text(
            "for-each-ref",
            "--sort=-committerdate",
            "--sort=-*committerdate",
            f"--format={listed}",
            *merged,
            f"refs/tags/{pattern}",
        )
        commits: dict[str, str] = {}
        for line in filter(None, out.split("\n")):  # a name may have what Python takes for a line's end besides
            name, direct, kind, peeled, peeled_kind = line.split("\0")
            if "commit" in (kind, peeled_kind):
                commits[name] = peeled if peeled_kind == "commit" else direct
        if tip and not include_own:
            commits = {name: commit for name, commit in commits.items() if commit != tip}
        released = sort_release_tags(commits, include_rc)
        unreleased = [name for name in commits if not any(parse_release_tag(other) for other in commits)]
        return [(name, commits[name]) for name in released or unreleased]

    def release_at(self, commit: str, pattern: str = "v*") -> str:
        """Return the release tag that names a commit; "" when none does."""
        tags = self.release_tags(pattern, reachable_from=commit, include_own=True)
        return next((name for name, tagged in tags if tagged == commit), "")

    @contextmanager
    def worktree(self, path: str | Path, *, keep: bool = False) -> Iterator[Worktree]:
        """Hold a worktree at a path of ours, for checking out one commit after the other.

        What a killed process left there is used again. At the end folder and entry are removed; with `keep` both stay, so
        that the next holder touches only files that differ.

        Raises
        ------
        InputError
            The path holds something that is not a worktree of this repository.
        StorageError
            No room, or no permission.
        """
        worktree = Worktree(self._git, Path(path).absolute())
        worktree.open()
        try:
            yield worktree
        finally:
            if not keep:
                worktree.remove()

    def _walk(self, tips: list[str], cut: list[str], roots: list[str]) -> History:
        shown = ("--timestamp", "--parents", "--date-order", "--reverse")
        rows = [line.split() for line in self._git.text("rev-list", *shown, *tips, "--not", *cut, "--").splitlines()]
        inside = {row[1] for row in rows}
        first = [commit for commit in dict.fromkeys([*cut, *roots]) if commit not in inside]
        if first:
            ends = self._git.text("rev-list", "--timestamp", "--no-walk=unsorted", *first, "--").splitlines()
            rows = [line.split() for line in ends] + rows
        index = {row[1]: i for i, row in enumerate(rows)}
        parents = [[index[parent] for parent in row[2:] if parent in index] for row in rows]
        return History.from_parents(parents, list(index), [int(row[0]) for row in rows])

    def _fork_point(self, bad: str, good: list[str]) -> list[str]:
        # The oldest of the commits where a branch of the range left the history of the good ends.
        listed = self._git.run("rev-list", "--boundary", bad, "--not", *good, "--").decode("ascii").splitlines()
        borders = "".join(f"{line[1:]}\n" for line in listed if line.startswith("-"))
        if not borders:
            return []
        return self._git.text("rev-list", "--no-walk=sorted", "--stdin", stdin=borders.encode()).split()[-1:]


def _printable(text: str, one_line: bool = False) -> str:
    printable = text.replace("\r\n", "\n").translate(_CONTROL)
    return printable.translate(_LINE_BREAKS) if one_line else printable
