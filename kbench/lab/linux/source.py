"""A Linux source as the first commit of a repository, made once and kept in the cache. Read `base_repository` first.

The commit tells nothing of when or where it was made: the same files are the same hash on every machine, whether they
come from a folder, a tar file or a revision of a git repository.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kbench.errors import InputError, MachineLacksError, StorageError
from kbench.host import cache_dir, require, storage
from kbench.lab.stream import run_git
from kbench.leases import process_lease
from kbench.repository.command import GitCommand

PACKAGE = "linux-source-6.12"
SOURCE_VARIABLE = "KBENCH_LINUX_SOURCE"

_AUTHOR = "Source Import <source@example.org> 1735689600 +0000"  # 1 January 2025
_REVISION = re.compile(r"(?P<repository>.+)@(?P<revision>[^@]+)")
MAX_BYTES, MAX_FILES = 8 << 30, 1 << 20  # unpacked; Linux has 1.5 GB in 90,000 files
_FORMAT = "1"  # raise it when the same source would give another commit


@dataclass(frozen=True, slots=True)
class Base:
    """The source as a git repository with one commit."""

    repository: Path  # bare, in the cache
    commit: str  # 40 hex digits


@dataclass(frozen=True, slots=True)
class _Source:
    identity: str  # changes when the files may have changed
    entries: Callable[[], Iterator[bytes]]  # of the commit, as git fast-import reads them


def find_source() -> Path:
    """Return where Linux's source is: $KBENCH_LINUX_SOURCE, else what Debian's package unpacks or has packed.

    Raises
    ------
    MachineLacksError
        If it is nowhere.
    """
    if named := os.environ.get(SOURCE_VARIABLE):
        return Path(named)
    for place in (Path(f"/usr/src/{PACKAGE}"), Path(f"/usr/src/{PACKAGE}.tar.xz")):
        if place.exists():
            return place
    raise MachineLacksError(
        f"lab: expected {SOURCE_VARIABLE} or /usr/src/{PACKAGE}.tar.xz, found neither; apt-get install {PACKAGE}"
    )


def base_repository(source: Path | str | None = None) -> Base:
    """Return the repository that begins with a source; the second call finds it made.

    Parameters
    ----------
    source : path or str, optional
        An unpacked tree nobody has built in, a tar file, a git repository, or `repository@revision`; None: `find_source`.

    Raises
    ------
    InputError
        If it is none of these, or no Linux.
    MachineLacksError
        If there is no git, or no source.
    StorageError
        If there is no room in the cache.
    """
    named = str(source if source is not None else find_source())
    reader = _reader(named)
    key = hashlib.sha256(f"{_FORMAT} {reader.identity}".encode()).hexdigest()[:24]
    folder = cache_dir().absolute() / "sources"
    repository = folder / f"{key}.git"
    process_lease(folder.parent).hold(f"{folder.name}/{repository.name}")  # it stays while it is used
    with storage("lab", folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{key}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not repository.exists():
                _import(reader, folder / f"{key}.partial", repository, named)
        os.utime(repository)
    return Base(repository, run_git(["-C", str(repository), "rev-parse", "refs/heads/main"]).strip())


def _import(reader: _Source, partial: Path, repository: Path, named: str) -> None:
    # Under the lock. A partial folder is what a killed import has left; the repository has its name only when whole.
    shutil.rmtree(partial, ignore_errors=True)
    try:
        run_git(["init", "--quiet", "--bare", "--object-format=sha1", "--initial-branch=main", "--template=", str(partial)])
        # One pack, no deltas, hardly compressed: a source of 1.4 GB in a quarter of the time, and quick to check out.
        settings = ("-c", "core.compression=1", "-c", "fastimport.unpackLimit=0")
        run_git(["-C", str(partial), *settings, "fast-import", "--quiet", "--depth=0", "--date-format=raw"], _commit(reader))
        makefile = run_git(["-C", str(partial), "cat-file", "blob", "main:Makefile"])
        if not re.search(r"^VERSION = \d+$", makefile, re.M):
            raise InputError(f"lab: expected Linux's source in {named}, its Makefile has no VERSION; name another")
        partial.replace(repository)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _commit(reader: _Source) -> Iterator[bytes]:
    message = b"Linux, as it was released\n\nThe source this history begins with.\n"
    yield f"commit refs/heads/main\nauthor {_AUTHOR}\ncommitter {_AUTHOR}\ndata {len(message)}\n".encode() + message
    yield from reader.entries()
    yield b"\ndone\n"


def _reader(named: str) -> _Source:
    path = Path(named).absolute()
    if path.is_file():
        about = path.stat()
        return _Source(f"tar {path.name} {about.st_size} {about.st_mtime_ns}", lambda: _tar_file(path))
    if (path / ".git").exists() or (path / "objects").is_dir():
        return _revision(path, "HEAD")
    if (path / "Makefile").is_file():
        return _tree(path)
    split = _REVISION.fullmatch(named)
    if split and Path(split["repository"]).is_dir():
        return _revision(Path(split["repository"]).absolute(), split["revision"])
    raise InputError(f"lab: expected a source tree, a tar file or repository@revision, got {named!r}; name one of these")


def _tree(path: Path) -> _Source:
    if (path / ".config").exists() or (path / "include/config").exists():
        raise InputError(f"lab: expected a source nobody has built in, {path} has a build's files; run make mrproper there")
    files = sorted(file for file in path.rglob("*") if file.is_symlink() or file.is_file())
    rows = [f"{file.relative_to(path)} {(s := file.lstat()).st_size} {s.st_mtime_ns} {s.st_mode}" for file in files]
    digest = hashlib.sha256("\n".join(rows).encode(errors="surrogateescape")).hexdigest()

    def entries() -> Iterator[bytes]:
        for file in files:
            mode = file.lstat().st_mode
            contents = os.fsencode(file.readlink()) if stat.S_ISLNK(mode) else file.read_bytes()
            yield _entry(file.relative_to(path).as_posix(), mode, contents)

    return _Source(f"tree {digest}", entries)


def _revision(repository: Path, revision: str) -> _Source:
    argv = [require("git", "lab"), "-C", str(repository), "rev-parse", "--quiet", "--verify", f"{revision}^{{commit}}"]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"lab: expected {revision!r} in {repository}, git knows no such commit; name another revision")
    commit = done.stdout.strip()

    def entries() -> Iterator[bytes]:
        archive = [require("git", "lab"), "-C", str(repository), "archive", "--format=tar", commit]
        tame = GitCommand(repository).environment()  # or it would run the filters that the repository names
        with subprocess.Popen(archive, stdout=subprocess.PIPE, env=tame) as process:
            assert process.stdout is not None
            yield from _tar(process.stdout, strip=0)
        if process.returncode:
            raise StorageError(f"lab: git archive ended with {process.returncode} in {repository}; try git fsck there")

    return _Source(f"git {commit}", entries)


def _tar_file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as packed:
        yield from _tar(packed, strip=1)


def _tar(packed: IO[bytes], *, strip: int) -> Iterator[bytes]:
    # The commit's entries, from a tar read once from front to back; `strip` leading folders are not the source's.
    n_bytes = 0
    try:
        with tarfile.open(fileobj=packed, mode="r|*") as tar:
            for n_files, member in enumerate(tar, 1):
                n_bytes += member.size
                if n_bytes > MAX_BYTES or n_files > MAX_FILES:
                    raise InputError(
                        f"lab: expected {MAX_BYTES >> 30} GiB in {MAX_FILES} files at most, got more; name a source of Linux"
                    )
                name = _below(member.name, strip)
                if member.issym():
                    yield _entry(name, stat.S_IFLNK, os.fsencode(member.linkname))
                elif member.islnk():
                    yield b"C %s %s\n" % (_quoted(_below(member.linkname, strip)), _quoted(name))
                elif member.isfile() and (contents := tar.extractfile(member)):
                    yield _entry(name, member.mode, contents.read())
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"lab: expected a whole tar file, got {error}; fetch the source again") from error


def _below(name: str, strip: int) -> str:
    return "/".join(part for part in name.split("/") if part != ".").split("/", strip)[-1]


def _entry(name: str, mode: int, contents: bytes) -> bytes:
    kind = "120000" if stat.S_ISLNK(mode) else "100755" if mode & 0o100 else "100644"
    return b"M %s inline %s\ndata %d\n%s\n" % (kind.encode(), _quoted(name), len(contents), contents)


def _quoted(name: str) -> bytes:
    """A path as git fast-import reads it, whatever is in its name (git-fast-import, "filemodify")."""
    if {"", "..", ".git"}.intersection(name.split("/")):
        raise InputError(f"lab: expected files below the source's folder, got {name[:80]!r}; fetch the source again")
    escaped = name.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'.encode(errors="surrogateescape")
