"""A folder for what lasts as long as this process. One effect: the folder for temporary files. Read `process_folder`."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
from pathlib import Path

from kbench.host import storage

PREFIX = "kbench-process-"


def process_folder() -> Path:
    """Return a folder that goes when this process ends; when it is made, those go of processes that were killed.

    Raises
    ------
    StorageError
        No room, or no permission.
    """
    return _folder(os.getpid())


@functools.cache
def _folder(pid: int) -> Path:
    place = Path(tempfile.gettempdir())
    with storage("temporary files", place):
        for path in place.glob(f"{PREFIX}*"):
            _remove_abandoned(path)
        # Under another name until it is locked: nobody takes it for a dead process's.
        made = Path(tempfile.mkdtemp(prefix="kbench-", dir=place))
        fcntl.flock(os.open(made, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_EX)  # and never closed: the end of the process does
        path = made.rename(place / f"{PREFIX}{made.name}")
    atexit.register(_remove, path, pid)
    return path


def _remove_abandoned(path: Path) -> None:
    with contextlib.suppress(OSError):  # another user's, or one that goes just now
        file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_uid == os.getuid():
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(file)


def _remove(path: Path, owner: int) -> None:
    # A fork of the owner has no say.
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)
