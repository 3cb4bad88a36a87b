"""Archives a Linux kernel unpacks as its first file system. Pure; read `archive` first.

The format is "newc" of Documentation/driver-api/early-userspace/buffer-format.rst: archives may follow one another, and
each adds to what those before it brought. The same members give the same bytes: times are 0, owners are root.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

MAGIC = b"070701"
TRAILER = "TRAILER!!!"
ALIGNMENT = 512  # bytes an archive is filled up to; the next may follow after any number of zeros that keeps it at 4


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive; `path` is relative to the root, and its folders come before it."""

    path: str
    mode: int  # type and permissions, as in stat(2)
    content: bytes = b""  # of a regular file; the target of a symbolic link
    device: tuple[int, int] = (0, 0)  # major and minor of a device node


def folder(path: str) -> Member:
    """Return a folder."""
    return Member(path, stat.S_IFDIR | 0o755)


def program(path: str, content: bytes) -> Member:
    """Return a file that can be executed."""
    return Member(path, stat.S_IFREG | 0o755, content)


def text(path: str, content: str) -> Member:
    """Return a file that cannot."""
    return Member(path, stat.S_IFREG | 0o644, content.encode())


def link(path: str, to: str) -> Member:
    """Return a symbolic link."""
    return Member(path, stat.S_IFLNK | 0o777, to.encode())


def character_device(path: str, major: int, minor: int) -> Member:
    """Return a node of a character device."""
    return Member(path, stat.S_IFCHR | 0o600, device=(major, minor))


def archive(members: Iterable[Member]) -> bytes:
    """Return the archive of `members`, in their order."""
    packed = b"".join(_pack(member, inode) for inode, member in enumerate(members, 1))
    packed += _pack(Member(TRAILER, 0), 0)
    return packed + bytes(-len(packed) % ALIGNMENT)


def _pack(member: Member, inode: int) -> bytes:
    name = member.path.encode() + b"\0"
    fields = (inode, member.mode, 0, 0, 1, 0, len(member.content), 0, 0, *member.device, len(name), 0)
    head = MAGIC + b"".join(b"%08X" % field for field in fields) + name
    head += bytes(-len(head) % 4)
    return head + member.content + bytes(-len(member.content) % 4)
