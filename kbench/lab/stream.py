"""Commits into a git repository, by one `git fast-import`. Read `write_repository` first.

Nothing of the user's git configuration, of the clock or of the machine gets in: the same commits have the same hashes
everywhere.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kbench.errors import StorageError
from kbench.host import require


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
    run_git(["init", "--quiet", "--object-format=sha1", "--initial-branch=main", "--template=", str(folder)])
    run_git(
        ["-C", str(folder), "fast-import", "--quiet", "--date-format=raw", f"--export-marks={marks}"],
        _stream(commits),
    )
    run_git(["-C", str(folder), "-c", "core.autocrlf=false", "reset", "--quiet", "--hard", "main"])
    hashes = _read_marks(marks)
    return tuple(hashes[i + 1] for i in range(len(commits)))


def append_commits(repository: Path, root: str, commits: Sequence[Commit]) -> tuple[str, ...]:
    """Add commits to a bare repository whose branch main ends at `root`; errors as for `write_repository`.

    Parameters
    ----------
    root : str
        Hash of the commit that stands at position 0; the first of `commits` is at position 1.

    Returns
    -------
    tuple of str
        The hash at every position, `root` among them.
    """
    marks = repository.with_name(f"{repository.name}.marks")
    options = ["--quiet", "--date-format=raw", f"--export-marks={marks}"]
    run_git(["-C", str(repository), "fast-import", *options], _stream(commits, root))
    hashes = _read_marks(marks)
    return (root, *(hashes[i + 1] for i in range(1, len(commits) + 1)))


def _read_marks(marks: Path) -> dict[int, str]:
    rows = (line.split() for line in marks.read_text().splitlines())
    hashes = {int(mark[1:]): commit for mark, commit in rows}
    marks.unlink()
    return hashes


def _stream(commits: Iterable[Commit], root: str | None = None) -> Iterator[bytes]:
    # Position p has mark p + 1; a root that is there already has none.
    numbered = list(enumerate(commits, start=0 if root is None else 1))
    for index, commit in numbered:
        yield f"commit refs/heads/main\nmark :{index + 1}\n".encode()
        yield f"author {commit.author} {commit.authored}\ncommitter {commit.committer} {commit.committed}\n".encode()
        yield _data(commit.message.encode())
        for word, parent in zip(("from", "merge"), commit.parents, strict=False):
            yield f"{word} {root if root and not parent else f':{parent + 1}'}\n".encode()
        for path, contents in sorted(commit.files.items()):
            yield f"M {'100755' if path in commit.executable else '100644'} inline {path}\n".encode() + _data(contents)
        yield b"\n"
    for index, commit in numbered:
        if commit.tag:
            yield f"tag {commit.tag}\nfrom :{index + 1}\ntagger {commit.committer} {commit.committed}\n".encode()
            yield _data(commit.message.encode())


def _data(contents: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(contents), contents)


def run_git(arguments: Sequence[str], stdin: Iterable[bytes] = (), *, stage: str = "lab") -> str:
    """Run git apart from the user's configuration and environment; return what it printed.

    Parameters
    ----------
    stdin : iterable of bytes
        What git reads, written as it is made: a whole source tree need not be in memory.

    Raises
    ------
    MachineLacksError
        If there is no git.
    StorageError
        If git ended with an error.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env = inherited | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    argv = [require("git", stage), *arguments]
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as printed:
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=printed, stderr=errors, env=env) as process:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # git has ended early, and says below why
                for piece in stdin:
                    process.stdin.write(piece)
                process.stdin.close()
        errors.seek(0)
        printed.seek(0)
        if process.returncode:
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
            verb = next((word for word in arguments if not word.startswith(("-", "/")) and "=" not in word), "")
            raise StorageError(
                f"{stage}: git {verb} ended with {process.returncode}, last line {last[0]!r}; is there room left?", argv=argv
            )
        return printed.read().decode(errors="replace")
