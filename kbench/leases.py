"""What of a cache is in use, told from process to process. Read `Lease` first. One effect: files below the cache.

    ROOT/leases/NAME   what one process uses, a path below ROOT a line; locked for as long as it does
    ROOT/leases.lock   shared by whoever takes something into use, exclusive to whoever removes something

The locks are the kernel's (flock): who is killed lets go of them.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from kbench.host import storage


class Lease:
    """What is used below one root; let go by `close`, when nobody has the lease any more, and when the process ends.

    Parameters
    ----------
    root : Path
        Of a cache; made when missing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._mutex = threading.Lock()
        self._told: set[str] = set()
        self._file = -1
        self.close: Callable[[], object] = lambda: None  # nothing is held yet

    def hold(self, *names: str) -> None:
        """Take files into use, named by their paths below the root.

        When this returns, what is there stays until the lease is let go; what is not there was removed before.

        Raises
        ------
        StorageError
            No room, or no permission.
        """
        with self._mutex:
            new = {name for name in names if name not in self._told}
            if not new:
                return
            with storage("store", self._root), _locked(self._root, fcntl.LOCK_SH):
                if self._file < 0:
                    self._open()
                os.write(self._file, "".join(f"{name}\n" for name in sorted(new)).encode())
            self._told |= new

    def _open(self) -> None:
        # Under the shared lock: nobody who removes sees the file before it is locked, and takes it for a dead process's.
        folder = self._root / "leases"
        folder.mkdir(parents=True, exist_ok=True)
        self._file, path = tempfile.mkstemp(dir=folder, prefix=f"{os.getpid()}-")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self.close = weakref.finalize(self, _let_go, self._file, Path(path), os.getpid())


@functools.cache
def process_lease(root: Path) -> Lease:
    """Return the lease of what this process uses until it ends."""
    return Lease(root)


@contextlib.contextmanager
def removing(root: Path) -> Iterator[frozenset[str]]:
    """Keep everybody from taking something into use, and yield what is in use; be quick about it.

    What is not among that may be removed inside of the block.
    """
    with storage("store", root), _locked(root, fcntl.LOCK_EX):
        yield frozenset(name for path in (root / "leases").glob("*") for name in _held(path))


def _held(path: Path) -> list[str]:
    """What a lease holds; one nobody has any more is removed."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().decode("utf-8", "replace").splitlines()
        path.unlink(missing_ok=True)
    return []


@contextlib.contextmanager
def _locked(root: Path, how: int) -> Iterator[None]:
    root.mkdir(parents=True, exist_ok=True)
    with (root / "leases.lock").open("ab") as file:
        fcntl.flock(file, how)
        yield


def _let_go(file: int, path: Path, owner: int) -> None:
    # A fork of the owner has no say.
    if os.getpid() == owner:
        path.unlink(missing_ok=True)
        os.close(file)
