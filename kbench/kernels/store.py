"""What was built is kept by content, so nothing is built twice. One effect: a folder.

    ROOT/builds/KEY.json     what a build came to: its files and figures, or why it failed
    ROOT/objects/SHA256      images and symbol files, read-only, shared by all builds that made the same bytes
    ROOT/slots/OWNER/N/      where builds happen: a worktree and its objects, locked while in use

KEY is a hash over everything that decides a build: the tree, the commands, the config, the compiler. Any number of
processes may use one store: files appear whole (written aside, then renamed) and are never changed. `kbench.kernels.cache`
removes what was not used for longest when there is too much; what a `Store` has found or added stays as long as there is
the `Store`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kbench.errors import StorageError
from kbench.host import cache_dir, storage, trusted
from kbench.kernels import cache
from kbench.leases import Lease

MAX_SLOTS = 64


@dataclass(frozen=True, slots=True)
class Slot:
    """A place to build in, ours alone until its lock is let go."""

    path: Path

    @property
    def tree(self) -> Path:
        """The worktree."""
        return self.path / "tree"

    @property
    def build_dir(self) -> Path:
        """Objects; kept from build to build when the target's build is incremental."""
        return self.path / "build"

    @property
    def temporary(self) -> Path:
        """Temporary files of the compiler: who is killed leaves them."""
        return self.path / "tmp"

    @property
    def interrupted(self) -> Path:
        """Present while a build runs: found later, objects may be half-written."""
        return self.path / "interrupted"

    def prepare(self, *, clean: bool, made_by: str) -> None:
        """Make the folder for objects; empty it when asked to, and when make might wrongly keep what is there.

        It might when the last build was cut off, or made in another way, or when the clock was set back since.
        """
        mark = self.path / "made-by"
        with storage("build", self.path):
            other = not mark.is_file() or mark.read_text() != made_by
            if clean or other or self.interrupted.exists() or _from_the_future(self.build_dir):
                shutil.rmtree(self.build_dir, ignore_errors=True)
            shutil.rmtree(self.temporary, ignore_errors=True)
            for folder in (self.build_dir, self.temporary):
                folder.mkdir(parents=True, exist_ok=True)
            self.interrupted.touch()
            mark.write_text(made_by)


class Store:
    """Builds by content below one folder.

    Parameters
    ----------
    root : Path, optional
        Made when missing; by default the user's cache folder.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = (trusted(root) if root else cache_dir()).absolute()
        self._lease = Lease(self.root)
        with storage("store", self.root):
            for name in ("builds", "objects", "slots"):
                (self.root / name).mkdir(parents=True, exist_ok=True)

    @staticmethod
    def key(**decides: Any) -> str:
        """Return the key of a build that these values decide, all of them JSON."""
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def find(self, key: str) -> dict[str, Any] | None:
        """Return what the build came to, None if it was never made, or its image is gone or damaged."""
        path = self.root / "builds" / f"{key}.json"
        try:
            entry: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):
            return None
        cache.touch(path)
        return entry if all(self._whole(name) for name in cache.objects_of(entry)) else None

    def _whole(self, name: str) -> bool:
        """Whether an object is there and is what its name says, and stays there; a damaged one is removed."""
        self._lease.hold(f"objects/{name}")
        cache.touch(self.object(name))
        try:
            whole = hashlib.sha256(self.object(name).read_bytes()).hexdigest() == name
        except OSError:
            return False
        if not whole:
            self.object(name).unlink(missing_ok=True)
        return whole

    def keep(self, key: str, entry: dict[str, Any]) -> None:
        """Write down what a build came to."""
        self._write(self.root / "builds" / f"{key}.json", json.dumps(entry, sort_keys=True).encode())

    def add(self, path: Path) -> str:
        """Copy a file in and return its name among the objects."""
        with storage("store", self.root):
            data = path.read_bytes()
        name = hashlib.sha256(data).hexdigest()
        if not self._whole(name):
            self._write(self.object(name), data)
        return name

    def object(self, name: str) -> Path:
        """Return where the object of that name is."""
        return self.root / "objects" / name

    def _write(self, target: Path, data: bytes) -> None:
        with storage("store", self.root):
            handle, aside = tempfile.mkstemp(dir=target.parent, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    os.fchmod(handle, 0o555)  # a User-Mode Linux kernel is a program
                Path(aside).replace(target)
            except BaseException:
                Path(aside).unlink(missing_ok=True)
                raise

    @contextlib.contextmanager
    def slot(self, owner: str) -> Iterator[Slot]:
        """Hold a free build slot of an owner; slots used before come first, so builds stay incremental."""
        cache.relieve(self.root)
        name = hashlib.sha256(owner.encode()).hexdigest()[:16]
        for number in range(MAX_SLOTS):
            path = self.root / "slots" / name / str(number)
            with storage("store", self.root):
                path.mkdir(parents=True, exist_ok=True)
                lock = FileLock(path / "lock")
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    continue
            try:
                cache.touch(path / "lock")
                yield Slot(path)
            finally:
                lock.release()
            return
        raise StorageError(
            f"store: expected a free build slot below {self.root}, all {MAX_SLOTS} are in use; end another bisection"
        )


def _from_the_future(folder: Path) -> bool:
    # Sources that are checked out from now on would be older than these objects, and make would keep them.
    now = time.time()
    return any(Path(place, name).lstat().st_mtime > now for place, _, names in os.walk(folder) for name in names)


@functools.cache
def lasting_store(root: Path) -> Store:
    """Return a store whose kernels stay as long as this process: for those that are handed to somebody who may come back."""
    return Store(root)
