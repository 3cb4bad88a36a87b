"""Commits on their way to a machine that does not have the repository. Read `Mirror` first.

`packed` writes what a commit needs into a git pack; a `Mirror` is a bare repository of ours that takes packs in, fetches from
the repository's URL, or borrows the objects of a repository the machine sees as a folder. Git checks every object against its
hash as it comes in. Nothing is taken for a commit but 40 hex digits.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from kbench.errors import MachineLacksError, RevisionError
from kbench.host import require, storage
from kbench.repository.command import GitCommand
from kbench.repository.repository import Repository

_HASH = re.compile("[0-9a-f]{40}")


def packed(repository: Repository, commits: Iterable[str], folder: Path, *, without: Iterable[str] = ()) -> Path:
    """Write a pack of all that `commits` have and `without` do not (40 hex digits each) into a folder; return its path."""
    tips = [*map(repository.resolve, commits), *(f"^{repository.resolve(commit)}" for commit in without)]
    given = "".join(f"{tip}\n" for tip in tips).encode()
    named = GitCommand(repository.path).run("pack-objects", "--revs", "--quiet", str(folder / "pack"), stdin=given)
    return folder / f"pack-{named.decode('ascii').strip()}.pack"


class Mirror:
    """A bare repository of commits that come from elsewhere; any number of processes may share one.

    Parameters
    ----------
    path : Path
        Made when missing.
    source : str
        The repository's URL, fetched from for what is missing, or its path on this machine, whose objects are borrowed; "":
        there are only packs.

    Raises
    ------
    StorageError, MachineLacksError
        No room, or no git program.
    """

    def __init__(self, path: Path, source: str = "") -> None:
        self.path, self._source = path, source
        with storage("git", path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(f"{path}.lock")
        with self._lock:
            if not (path / "HEAD").is_file():
                subprocess.run([require("git", "git"), "init", "--quiet", "--bare", str(path)], check=True, capture_output=True)
            if objects := _objects(source):
                (path / "objects" / "info" / "alternates").write_text(f"{objects}\n")
        self._git = GitCommand(path)

    def has(self, commit: str) -> bool:
        """Whether a commit is here, under a ref of ours, with its files."""
        return self._git.attempt("rev-parse", "--verify", "--quiet", f"refs/kbench/{_checked(commit)}^{{tree}}")[0] == 0

    def receive(self, pack: Path, commit: str) -> None:
        """Take a pack in, for a commit it completes."""
        with self._lock, pack.open("rb") as file:
            argv = [require("git", "git"), "-C", str(self.path), "index-pack", "--stdin", "--fix-thin"]
            done = subprocess.run(argv, stdin=file, capture_output=True, text=True, errors="replace", check=False)
            if done.returncode:
                raise RevisionError(
                    f"git: expected a pack with {commit[:12]}, index-pack says {done.stderr[-300:]!r}; start again"
                )
        self._name(commit)

    def find(self, commit: str) -> bool:
        """Look for a commit here, then at the source; whether it is here now."""
        if self.has(commit) or self._name(commit):
            return True
        if not self._source or _objects(self._source):
            return False
        with self._lock:
            fetch = "fetch", "--quiet", "--force", "--no-tags", "--end-of-options", self._source
            if self._git.attempt(*fetch, commit)[0]:  # a server may only give what a ref names
                status, _, said = self._git.attempt(
                    *fetch, *(f"+refs/{kind}/*:refs/fetched/{kind}/*" for kind in ("heads", "tags"))
                )
                if status:
                    raise MachineLacksError(f"git: expected to fetch from {self._source}, {said[-300:]!r}; correct `source`")
        return self._name(commit)

    def _name(self, commit: str) -> bool:
        # Refs keep what is here from being collected, and tell a worktree that there is something to check out.
        return self._git.attempt("update-ref", f"refs/kbench/{_checked(commit)}", commit)[0] == 0


def _objects(source: str) -> Path | None:
    """Return the folder of a local repository's objects."""
    if not source or "://" in source or not Path(source).is_dir():
        return None
    said = GitCommand(Path(source)).text("rev-parse", "--path-format=absolute", "--git-common-dir").strip()
    return Path(said) / "objects"


def _checked(commit: str) -> str:
    if not _HASH.fullmatch(commit):
        raise RevisionError(f"git: expected 40 hex digits, seen {commit[:100]!r}; resolve the revision first")
    return commit
