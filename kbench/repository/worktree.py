"""A checkout of kbench's own, beside the user's. Read `Worktree` first."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from kbench.errors import InputError, RevisionError, StorageError
from kbench.repository.command import GitCommand


class Worktree:
    """A checkout of kbench's own, beside the user's; made by `Repository.worktree`."""

    def __init__(self, git: GitCommand, path: Path) -> None:
        self.path = path
        self._git = git

    def __repr__(self) -> str:
        return f"Worktree({str(self.path)!r})"

    def open(self) -> None:
        """Make the worktree, or take over the one that is there."""
        # No prune: it would also forget a worktree of the user's whose disk is not plugged in.
        self._git.attempt("worktree", "unlock", str(self.path))  # killed while it was added, it stays locked
        if self._usable():
            return
        if self.path.exists() or self.path.is_symlink():
            self._clear()
        # Not --all, which reads the HEAD of every worktree: that of one that is just being added names nothing yet.
        commit = self._git.text("rev-list", "--max-count=1", "--glob=*").strip() or self._head()
        if not commit:
            raise RevisionError(f"git: expected a commit in {self._git.path}, it has none; give another repository")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise StorageError(f"git: expected to make {self.path}, got {err.strerror}; make room or give another place") from err
        # --force twice: the path may still be on git's list, even as locked.
        self._git.run("worktree", "add", "--force", "--force", "--detach", "--no-checkout", str(self.path), commit)

    def _head(self) -> str:
        status, out, _ = self._git.attempt("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        return "" if status else out.decode().strip()

    def checkout(self, commit: str, clean: bool = False) -> None:
        """Make the files those of a commit; only files that differ are touched.

        Parameters
        ----------
        commit : str
            40 hex digits, or any revision.
        clean : bool
            Remove everything git does not track, ignored files included. Otherwise it stays, for incremental builds.
        """
        if commit.startswith("-"):
            raise RevisionError(f"git: expected a commit, {commit[:100]!r} names none; see git log --oneline")
        self._unlock()
        self._git.run("checkout", "--force", "--detach", "--quiet", "--no-recurse-submodules", commit, "--", cwd=self.path)
        if clean:
            self._git.run("clean", "-xffdq", cwd=self.path)

    def outline(self, commit: str, files: Iterable[str]) -> None:
        """Make all folders of a commit and, of its files, only these; for programs that look a tree over and read little.

        Files the commit does not have are left out.
        """
        listed = self._git.run("ls-tree", "-r", "-t", "-z", "--full-tree", "--format=%(objecttype) %(path)", commit)
        entries = [line.partition(" ") for line in listed.decode("utf-8", "surrogateescape").split("\0") if line]
        self._unlock()
        self._git.run("update-ref", "--no-deref", "HEAD", commit, cwd=self.path)
        for kind, _, path in entries:
            if kind == "tree":
                if ".." in Path(path).parts or ".git" in Path(path).parts:
                    raise RevisionError(
                        f"git: expected folders below the tree in {commit[:12]}, {path[:80]!r} seen; see git fsck"
                    )
                (self.path / path).mkdir(exist_ok=True)
        wanted = {path for kind, _, path in entries if kind == "blob"}.intersection(files)
        if wanted:
            paths = "\0".join(sorted(wanted)).encode("utf-8", "surrogateescape")
            given = ("--pathspec-from-file=-", "--pathspec-file-nul")
            self._git.run("--literal-pathspecs", "checkout", "--quiet", commit, *given, cwd=self.path, stdin=paths)

    def remove(self) -> None:
        """Remove folder and entry; an entry that git cannot remove is used again, or left to the user's next prune."""
        status, _, _ = self._git.attempt("worktree", "remove", "--force", "--force", str(self.path))
        if status:
            shutil.rmtree(self.path, ignore_errors=True)

    def _usable(self) -> bool:
        # Is a worktree of this very repository there, with a commit checked out?
        if not (self.path / ".git").is_file():
            return False
        common = "--path-format=absolute", "--git-common-dir"
        ours = self._git.attempt("rev-parse", *common)
        theirs = self._git.attempt("rev-parse", *common, cwd=self.path)
        head, _, _ = self._git.attempt("rev-parse", "--verify", "--quiet", "HEAD^{commit}", cwd=self.path)
        return theirs[0] == 0 and ours[1] == theirs[1] and head == 0

    def _clear(self) -> None:
        # Only what a broken worktree left: an empty folder, or one whose .git names a worktree of this repository.
        link = self.path / ".git"
        named = link.read_bytes()[:4096].decode("utf-8", "replace").strip() if link.is_file() else ""
        common = self._git.text("rev-parse", "--path-format=absolute", "--git-common-dir").strip()
        ours = named.startswith(f"gitdir: {common}/worktrees/")
        if self.path.is_symlink() or not self.path.is_dir() or (any(self.path.iterdir()) and not ours):
            raise InputError(f"git: expected {self.path} free for a worktree, something else is there; give another path")
        try:
            shutil.rmtree(self.path)
        except OSError as err:
            raise StorageError(f"git: expected to remove {self.path}, got {err.strerror}; remove it by hand") from err

    def _unlock(self) -> None:
        # A killed git leaves a lock on the index. The worktree has one holder, so nobody else's is removed.
        status, out, _ = self._git.attempt("rev-parse", "--path-format=absolute", "--git-dir", cwd=self.path)
        if status == 0:
            for name in ("index.lock", "HEAD.lock"):
                (Path(out.decode("utf-8", "surrogateescape").strip()) / name).unlink(missing_ok=True)
