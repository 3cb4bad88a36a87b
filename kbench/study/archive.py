"""Logs out of files: plain, packed, in archives, in folders. One effect: reading. Read `read_files` first."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from kbench.errors import InputError, LogError
from kbench.syzbot import BisectionLog, read_log

MAX_BYTES = 64 << 20  # of one log, unpacked; the longest known one has 3 MB
MAX_ARCHIVE_BYTES, MAX_MEMBERS = 2 << 30, 200_000  # of one archive, unpacked
_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"
_BROKEN = (OSError, EOFError, lzma.LZMAError, tarfile.TarError, zlib.error)


@dataclass(frozen=True, slots=True)
class Found:
    """A file, or a member of an archive; either what it holds or why that could not be read."""

    name: str  # below the folder or in the archive that was named: what tells logs apart
    content: bytes = b""
    problem: str = ""


def read_files(paths: Iterable[Path], *, but: Path | None = None) -> Iterator[Found]:
    """Read files, those in folders and in archives, one by one; what cannot be read does not end it.

    The file `but` is left out, and what SQLite keeps beside it.

    Raises
    ------
    InputError
        A path that is not there.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"log: expected a file or a folder at {path}, found none; name logs, archives of them or folders")
        for file in sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]:
            if but is None or not str(file.resolve()).startswith(str(but.resolve())):
                yield from _read_file(file, file.relative_to(path).as_posix() if path.is_dir() else path.name)


def parse(found: Found) -> BisectionLog:
    """Read what was found as a log; bytes that are no text become U+FFFD.

    Raises
    ------
    LogError
        It could not be read, is empty, is an HTML page, or is no log.
    """
    if found.problem:
        raise LogError(f"log: expected to read {found.name}, {found.problem}; get it again")
    start = found.content[:1000].lstrip().lower()
    if not start:
        raise LogError(f"log: expected text in {found.name}, it is empty; get it again")
    if start.startswith((b"<!doctype html", b"<html")):
        raise LogError(f"log: expected plain text in {found.name}, saw an HTML page; save the raw log instead of the page")
    return read_log(found.content.decode(errors="replace"))


def _read_file(path: Path, name: str) -> Iterator[Found]:
    try:
        if _is_archive(path):
            yield from _read_archive(path)
        else:
            with _unpacked(path) as file:
                yield _bounded(name, file)
    except _BROKEN as error:
        yield Found(name, problem=_words(error))


def _words(error: Exception) -> str:
    # In one line, without the path: the name says which file it is.
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    return " ".join(reason.split())


def _unpacked(path: Path) -> IO[bytes]:
    if not path.is_file():  # a pipe can be read once
        return path.open("rb")
    with path.open("rb") as file:
        start = file.read(len(_XZ))
    if start.startswith(_GZIP):
        return cast(IO[bytes], gzip.open(path))
    return cast(IO[bytes], lzma.open(path)) if start == _XZ else path.open("rb")


def _is_archive(path: Path) -> bool:
    # By the magic number of POSIX.1-1988: tarfile takes a file of zeros for an archive, and looks at every block of it.
    if not path.is_file():
        return False
    try:
        with _unpacked(path) as file:
            return file.read(tarfile.BLOCKSIZE)[257:262] == b"ustar"
    except _BROKEN:
        return False


def _read_archive(path: Path) -> Iterator[Found]:
    with _unpacked(path) as file, tarfile.open(fileobj=cast(IO[bytes], _Bounded(file)), mode="r:") as archive:
        unpacked = 0
        for number, member in enumerate(archive):
            unpacked += member.size  # of a sparse file, much more than its archive has
            if number == MAX_MEMBERS or unpacked > MAX_ARCHIVE_BYTES:
                raise tarfile.ReadError(_TOO_MUCH)
            content = archive.extractfile(member) if member.isfile() else None
            if content:
                yield _bounded(_text(member.name.removeprefix("./")), content)


_TOO_MUCH = f"it unpacks to more than {MAX_ARCHIVE_BYTES >> 20} MiB or {MAX_MEMBERS} members: unpack it, and name the folder"


class _Bounded:
    """An archive that is read so far and no further: tarfile skips a member by unpacking it, and reads headers of any size."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        if size > MAX_BYTES:
            raise tarfile.ReadError(f"it has a part of more than {MAX_BYTES >> 20} MiB")
        return self._file.read(size)

    def seek(self, position: int) -> int:
        if position > MAX_ARCHIVE_BYTES:
            raise tarfile.ReadError(_TOO_MUCH)
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()


def _text(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _bounded(name: str, file: IO[bytes]) -> Found:
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        return Found(name, problem=f"it has more than {MAX_BYTES >> 20} MiB")
    return Found(name, content)
