"""The files of a base commit, read one by one as they are wanted. Read `BaseTree` first."""

from __future__ import annotations

import os
import subprocess
from functools import cached_property
from types import TracebackType
from typing import Self

from kbench.errors import StorageError
from kbench.host import require
from kbench.lab.linux.source import Base
from kbench.lab.stream import run_git


class BaseTree:
    """Reads a source's files from its repository; a context manager, as it holds a git process."""

    def __init__(self, base: Base) -> None:
        self._base = base
        argv = [require("git", "lab"), "-C", str(base.repository), "cat-file", "--batch"]
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        self._reader = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._reader.communicate()

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Every file of the source, sorted."""
        listed = run_git(["-C", str(self._base.repository), "ls-tree", "-r", "-z", "--name-only", self._base.commit])
        return tuple(sorted(path for path in listed.split("\0") if path))

    def read(self, path: str) -> str:
        """Return the text of a file; empty if there is none, or if it is no UTF-8."""
        stdin, stdout = self._reader.stdin, self._reader.stdout
        if "\n" in path or stdin is None or stdout is None:
            return ""
        try:
            stdin.write(f"{self._base.commit}:{path}\n".encode())
            stdin.flush()
            header = stdout.readline().split()
            if len(header) != 3:
                return ""
            contents = stdout.read(int(header[2]) + 1)[:-1]
        except OSError as error:
            raise StorageError(f"lab: expected to read {path}, git has ended: {error}; remove {self._base.repository}") from error
        try:
            return contents.decode()
        except UnicodeDecodeError:
            return ""
