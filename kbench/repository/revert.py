"""A commit undone on top of another one, as git revert does it, without a checkout. Read `revert` first.

Three commits of the trees alone (the commit, what it is undone on, its parent) are merged in the object store. No ref, no
index and no file of the user's is touched; objects that no ref names are removed by git's own housekeeping in time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from kbench.errors import RevisionError
from kbench.repository.command import GitCommand

#: What a user has configured must not make it another commit.
_RENAMES = ("-c", "merge.renames=true", "-c", "merge.directoryRenames=false", "-c", "merge.renameLimit=7000")


def revert(git: GitCommand, commit: str, on: str, *, parent: str, subject: str, time: int, keep: bool) -> str | None:
    """Return the hash of a child of `on` without the change of a commit; None where that conflicts or changes nothing.

    Parameters
    ----------
    git : GitCommand
    commit, on, parent : str
        Hashes; `parent` is the commit's only one.
    subject : str
        Of the commit, for the message.
    time : int
        Seconds since the epoch, for the new commit's dates: nothing in it depends on who makes it, or when.
    keep : bool
        Write it; otherwise only work out its hash.

    Raises
    ------
    RevisionError
        Git is older than 2.38, or lacks objects.
    """
    with tempfile.TemporaryDirectory(prefix="kbench-") as folder:
        environment = _beside(git, Path(folder), keep=keep)

        def made(tree: str, parents: list[str], message: str) -> str:
            return _commit(git, environment, tree, parents, message, time)

        trees = {name: git.text("rev-parse", "--verify", f"{name}^{{tree}}").strip() for name in (commit, on, parent)}
        base = made(trees[commit], [], "base")
        ours, theirs = made(trees[on], [base], "ours"), made(trees[parent], [base], "theirs")
        arguments = (*_RENAMES, "merge-tree", "--write-tree", "--name-only", "--no-messages", ours, theirs)
        status, out, messages = git.attempt(*arguments, cwd=Path(folder), environment=environment)
        if status not in (0, 1):
            raise RevisionError(
                f"git: expected git merge-tree as of 2.38 to undo {commit[:12]}, status {status}, {messages.strip()[:200]!r}; "
                "install a newer git"
            )
        tree = out.decode("ascii", "replace").split("\n", 1)[0]
        if status or tree == trees[on]:
            return None
        return made(tree, [on], f'Revert "{subject}"\n\nThis reverts commit {commit}.')


def _beside(git: GitCommand, folder: Path, *, keep: bool) -> Mapping[str, str]:
    # Work in an empty folder: attributes then come from the trees that are merged, not from whatever is checked out.
    absolute = ("rev-parse", "--path-format=absolute")
    git_dir, objects = git.text(*absolute, "--git-dir", "--git-path", "objects").splitlines()
    environment = {"GIT_DIR": git_dir, "GIT_WORK_TREE": str(folder)}
    if not keep:
        quoted = objects.replace("\\", r"\\").replace('"', r"\"")  # git(1): such a list takes paths quoted as C has it
        environment |= {"GIT_OBJECT_DIRECTORY": str(folder), "GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{quoted}"'}
    return environment


def _commit(git: GitCommand, environment: Mapping[str, str], tree: str, parents: list[str], message: str, time: int) -> str:
    who = f"kbench <kbench@localhost> {time} +0000"
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {who}", f"committer {who}", "", message, ""]
    given = "\n".join(lines).encode()
    out = git.run("hash-object", "-t", "commit", "-w", "--stdin", stdin=given, environment=environment)
    return out.decode("ascii").strip()
