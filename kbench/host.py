"""What this host offers: programs, cores, room on a disk, and a leash for what is started. Read `require` first."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from kbench.errors import MachineLacksError, StorageError

# Debian's packages by program.
PACKAGES = {
    "prlimit": "util-linux",
    "setpriv": "util-linux",
    "qemu-system-i386": "qemu-system-x86",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-arm": "qemu-system-arm",
    "qemu-system-riscv64": "qemu-system-misc",
    "qemu-system-riscv32": "qemu-system-misc",
    **{
        name: name for name in ("git", "make", "gcc", "clang", "nasm", "bison", "flex", "bc", "perl", "cpio", "xorriso", "ccache")
    },
    "mcopy": "mtools",
    "grub-mkrescue": "grub-common",
    "cc": "gcc",
    "ld": "binutils",
    "as": "binutils",
    "objcopy": "binutils",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "busybox": "busybox-static",
    "depmod": "kmod",
}

# Debian's packages by what a failed build says it cannot include: headers for the programs a kernel build makes for itself.
HEADERS = {
    "gelf.h": "libelf-dev",
    "libelf.h": "libelf-dev",
    "openssl/": "libssl-dev",
}

#: Debian's packages by compiler: the C library it makes programs with, static ones too.
LIBC = {"gcc": "libc6-dev", "clang": "libc6-dev", "aarch64-linux-gnu-gcc": "libc6-dev-arm64-cross"}

# setpriv has the kernel send a signal when the thread that forked it ends; the shell then looks whether that thread was
# gone before setpriv had said so. Each replaces itself by the next: one process, 2 ms, no code run between fork and exec.
_LEASH = ("--", "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')


def require(program: str, stage: str) -> str:
    """Return the path of a program; MachineLacksError, with the package that has it, if there is none."""
    path = _which(program, os.environ.get("PATH", os.defpath))
    if path is None:
        _which.cache_clear()  # it may be installed the next time
        package = PACKAGES.get(program)
        advice = f"apt-get install {package}" if package else "install it, or correct the name"
        raise MachineLacksError(f"{stage}: expected {program} on PATH, found none; {advice}")
    return path


@functools.cache
def _which(program: str, path: str) -> str | None:
    return shutil.which(program, path=path)


def usable_cores() -> int:
    """Return how many cores this process may use: so many machines run at once."""
    return len(os.sched_getaffinity(0))


def cache_dir() -> Path:
    """Return the folder for what can be made again: $KBENCH_CACHE, else kbench in the user's cache folder.

    Raises
    ------
    StorageError
        There is none, or another user may write there: what is in it is run.
    """
    if named := os.environ.get("KBENCH_CACHE"):
        return trusted(Path(named))
    try:
        return trusted(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kbench")
    except RuntimeError as error:
        raise StorageError("store: expected a home folder, this user has none; set KBENCH_CACHE to a folder") from error


def trusted(folder: Path) -> Path:
    """Return a folder, made when missing, of ours or root's; StorageError when others have put something there, or could.

    In one that all may write to, as /tmp is and a container's volumes are, what is there is what counts.
    """
    own = {0, os.geteuid()}
    with storage("store", folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = folder.stat()
        open_to_all = bool(seen.st_mode & stat.S_IWOTH)
        others = {owner for path in folder.iterdir() if (owner := _owner(path)) not in own} if open_to_all else set()
    moved = open_to_all and not seen.st_mode & stat.S_ISVTX and seen.st_uid != os.geteuid()
    if seen.st_uid not in own or others or moved:
        raise StorageError(
            f"store: expected a folder that nobody else writes to, {folder} is of user {seen.st_uid}, mode "
            f"{stat.S_IMODE(seen.st_mode):o}; set KBENCH_CACHE to a new folder, for instance below that one"
        )
    return folder


def _owner(path: Path) -> int:
    try:
        return path.lstat().st_uid
    except FileNotFoundError:  # gone meanwhile
        return 0


def leashed(argv: Sequence[str], stage: str, *, signal: str = "KILL") -> list[str]:
    """Return an argv whose process gets a signal when the thread that starts it ends, whatever that dies of.

    `argv[0]` is looked up unless it is a path.
    """
    program = argv[0] if "/" in argv[0] else require(argv[0], stage)
    return [require("setpriv", stage), "--pdeathsig", signal, *_LEASH, str(os.getpid()), program, *argv[1:]]


@contextlib.contextmanager
def storage(what: str, folder: Path) -> Iterator[None]:
    """Turn a full disk or a missing permission into a StorageError that names the folder."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(
            f"{what}: expected to write below {folder}, {reason}; free some room or choose another folder"
        ) from error
