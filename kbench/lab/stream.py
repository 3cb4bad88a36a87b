"""Commits into a git repository, by one `git fast-import`. Read `write_repository` first.

Nothing of the user's git configuration, of the clock or of the machine gets in: the same commits have the same hashes
everywhere.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kbench.errors import MachineLacksError, StorageError


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit as it goes into the repository; parents are positions in the list of commits."""

    parents: tuple[int, ...]
    author: str  # Name <mail>
    committer: str
    authored: str  # seconds since 1970, and the zone: "1614585600 +0100"
    committed: str
    message: str
    files: Mapping[str, bytes]  # what differs from the first parent: path, contents
    tag: str | None = None
    executable: frozenset[str] = frozenset()  # those of the files that are


def write_repository(folder: Path, commits: Sequence[Commit]) -> tuple[str, ...]:
    """Make a repository with a work tree, the last commit checked out on branch main.

    Parameters
    ----------
    folder : Path
        Must not exist.

    Returns
    -------
    tuple of str
        The hash of every commit, 40 hex digits, in the order given.

    Raises
    ------
    MachineLacksError
        If there is no git.
    StorageError
        If git could not write all of it.
    """
    marks = folder.with_name(f"{folder.name}.marks")
    _git(["init", "--quiet", "--object-format=sha1", "--initial-branch=main", "--template=", str(folder)])
    _git(
        ["-C", str(folder), "fast-import", "--quiet", "--date-format=raw", f"--export-marks={marks}"],
        stdin=b"".join(_stream(commits)),
    )
    _git(["-C", str(folder), "-c", "core.autocrlf=false", "reset", "--quiet", "--hard", "main"])
    rows = (line.split() for line in marks.read_text().splitlines())
    hashes = {int(mark[1:]): commit for mark, commit in rows}
    marks.unlink()
    return tuple(hashes[i + 1] for i in range(len(commits)))


def _stream(commits: Iterable[Commit]) -> Iterator[bytes]:
    for index, commit in enumerate(commits):
        yield f"commit refs/heads/main\nmark :{index + 1}\n".encode()
        yield f"author {commit.author} {commit.authored}\ncommitter {commit.committer} {commit.committed}\n".encode()
        yield _data(commit.message.encode())
        for word, parent in zip(("from", "merge"), commit.parents, strict=False):
            yield f"{word} :{parent + 1}\n".encode()
        for path, contents in sorted(commit.files.items()):
            yield f"M {'100755' if path in commit.executable else '100644'} inline {path}\n".encode() + _data(contents)
        yield b"\n"
    for index, commit in enumerate(commits):
        if commit.tag:
            yield f"tag {commit.tag}\nfrom :{index + 1}\ntagger {commit.committer} {commit.committed}\n".encode()
            yield _data(commit.message.encode())


def _data(contents: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(contents), contents)


def _git(arguments: list[str], *, stdin: bytes = b"") -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env = inherited | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    try:
        subprocess.run(["git", *arguments], input=stdin, env=env, check=True, capture_output=True)
    except FileNotFoundError as err:
        raise MachineLacksError("lab: need git, found none on PATH; install the package git") from err
    except subprocess.CalledProcessError as err:
        last = err.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
        raise StorageError(
            f"lab: git {arguments[0]} ended with {err.returncode}, last line {last[0]!r}; is there room left?", argv=err.cmd
        ) from err
