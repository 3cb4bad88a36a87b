"""Real git repositories for tests, made in one call of `git fast-import`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

EPOCH = 1_700_000_000
ENVIRONMENT = os.environ | {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}


@dataclass
class Commit:
    """A commit to make; parents are places in the list of commits."""

    parents: Sequence[int] = ()
    message: bytes = b"a commit\n"
    files: Mapping[str, bytes] = field(default_factory=dict)
    date: int | None = None  # seconds after EPOCH; None: one minute after the one before


def git(path: Path, *arguments: str, check: bool = True) -> str:
    done = subprocess.run(["git", *arguments], cwd=path, env=ENVIRONMENT, capture_output=True, check=check)
    return done.stdout.decode("utf-8", "replace")


def make_repository(
    path: Path, commits: Sequence[Commit], tags: Mapping[str, int] | None = None, *, bare: bool = True
) -> list[str]:
    """Make a repository of `commits`, parents first, its HEAD at the last one; return their hashes."""
    subprocess.run(["git", "init", "-q", *(["--bare"] if bare else []), "-b", "master", str(path)], check=True, env=ENVIRONMENT)
    stream = bytearray()
    for mark, commit in enumerate(commits, 1):
        ref = b"refs/heads/master" if mark == len(commits) else b"refs/heads/part"
        when = EPOCH + (60 * mark if commit.date is None else commit.date)
        stream += b"reset %s\ncommit %s\nmark :%d\n" % (ref, ref, mark)
        stream += b"author Ada <ada@example.org> %d +0100\ncommitter Ada <ada@example.org> %d +0100\n" % (when, when)
        stream += b"data %d\n%s\n" % (len(commit.message), commit.message)
        for parent, word in zip(commit.parents, [b"from"] + [b"merge"] * len(commit.parents)):
            stream += b"%s :%d\n" % (word, parent + 1)
        for name, content in commit.files.items():
            stream += b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(content), content)
        stream += b"\n"
    for name, place in (tags or {}).items():
        stream += b"reset refs/tags/%s\nfrom :%d\n\n" % (name.encode(), place + 1)
    marks = path / "marks"
    command = ["git", "fast-import", "--quiet", "--force", f"--export-marks={marks}"]
    subprocess.run(command, cwd=path, input=bytes(stream), check=True, env=ENVIRONMENT)
    lines = [line.split() for line in marks.read_text().splitlines()]
    marks.unlink()
    hashes = {int(mark.removeprefix(":")): name for mark, name in lines}
    return [hashes[mark] for mark in range(1, len(commits) + 1)]
