"""What the cache holds, and what goes when it is too much. Read `survey` and `prune` first. One effect: the cache folder.

What was not used for longest goes first. What is in use stays (`kbench.leases`, and the locks of build slots), whoever uses
it. Killed at any moment this leaves a sound store: a file goes at once, a folder is first renamed to what nobody looks for,
and a build whose image is gone is a build that was never made.

ccache goes by its own rules, down to a quarter of what all may take. What kbench does not know is left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kbench.errors import InputError
from kbench.host import storage
from kbench.leases import removing

SIZE_VARIABLE = "KBENCH_CACHE_SIZE"
#: Of the disk, when the user names no size; and between what bounds.
SHARE, AT_LEAST, AT_MOST = 0.1, 2 << 30, 100 << 30
#: What prunes by itself does so this often at most, and then this far below the limit, so as not to be back at once.
PAUSE_S, RELIEF = 3600.0, 0.8
#: A kernel may be handed from one process to the next: what was used a moment ago still is.
GRACE_S = 3600.0
CCACHE_SHARE = 0.25
ASIDE_S = 3600.0  # a file that has been written for so long belongs to nobody
FOLDERS = ("guests", "sources", "mirrors")  # what is in them goes as it is
OURS = frozenset({"builds", "objects", "slots", "leases", *FOLDERS})
GONE = ".gone-"  # begins the name of a folder that is being removed
ASIDE = ".new-"  # of a file that is being written
_SIZE = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*(?:([KMGT])(?:i?B)?|(%)|B)?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Item:
    """Something that goes as a whole, or stays."""

    kind: str  # "kernels", "build slots", one of `FOLDERS`; or "ccache" and "other", which are not removed one by one
    path: Path
    size: int  # bytes on disk
    used: float  # seconds since the epoch
    objects: tuple[Path, ...] = ()  # of a kernel: those that no kernel used more recently has too


@dataclass(frozen=True, slots=True)
class Pruned:
    """What pruning came to."""

    removed: int  # things
    freed: int  # bytes
    in_use: int  # things that would have gone, but for somebody who uses them


def limit(root: Path) -> int:
    """Return how many bytes the cache may take: $KBENCH_CACHE_SIZE, such as 20G or 5%, else a tenth of the disk.

    Raises
    ------
    InputError
        $KBENCH_CACHE_SIZE is no size.
    """
    with storage("cache", root):
        disk = shutil.disk_usage(root).total
    named = os.environ.get(SIZE_VARIABLE, "")
    return parse_size(named, disk) if named else round(min(max(SHARE * disk, AT_LEAST), AT_MOST))


def parse_size(text: str, disk: int) -> int:
    """Return bytes for `20G`, `500 MiB`, `5%` of a disk or a plain number (pure); InputError for anything else."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InputError(f"cache: expected a size such as 20G or 5%, {text[:40]!r} seen; correct {SIZE_VARIABLE}")
    number, unit, percent = match.groups()
    return round(float(number) * (disk / 100 if percent else 1 << 10 * (" KMGT".index(unit.upper()) if unit else 0)))


def objects_of(entry: Mapping[str, Any]) -> list[str]:
    """Return the names of the objects an entry of the store has, each once (pure)."""
    named = (entry.get(name) for name in ("image", "symbols", "config"))
    return list(dict.fromkeys(name for name in named if isinstance(name, str) and name))


def touch(path: Path) -> None:
    """Note that something was used just now."""
    with contextlib.suppress(OSError):
        os.utime(path)


def survey(root: Path) -> list[Item]:
    """Return what is there, least recently used first."""
    found = [*_kernels(root), *_slots(root), *(item for name in FOLDERS for item in _flat(name, root / name))]
    for item in _flat("other", root):
        if item.path.name == "ccache":
            found.append(replace(item, kind="ccache"))
        elif item.path.name not in OURS:
            found.append(item)
    return sorted(found, key=lambda item: item.used)


def prune(root: Path, goal: int, *, grace_s: float = GRACE_S) -> Pruned:
    """Remove what was not used for longest until the cache takes `goal` bytes, or all that is left is in use.

    Safe beside anything that uses the cache. Of two that prune, one waits for the other.

    Parameters
    ----------
    grace_s : float
        What was used so recently counts as in use.

    Raises
    ------
    StorageError
        No permission.
    """
    with storage("cache", root), FileLock(root / "prune.lock"):
        _sweep(root)
        _trim_ccache(root, round(CCACHE_SHARE * goal))
        items = survey(root)
        total = sum(item.size for item in items if item.kind != "other")
        removed = freed = in_use = 0
        for item in items:
            if total - freed <= goal:
                break
            if item.kind in ("ccache", "other"):
                continue
            if item.used > time.time() - grace_s or not _remove(root, item):
                in_use += 1
            else:
                removed, freed = removed + 1, freed + item.size
        return Pruned(removed, freed, in_use)


def relieve(root: Path) -> None:
    """Prune if the cache has grown over its limit; looks once in `PAUSE_S`, and leaves it to whoever is at it already."""
    most, looked = limit(root), root / "looked.lock"
    with contextlib.suppress(Timeout, OSError), FileLock(root / "relieve.lock", timeout=0):
        if looked.exists() and looked.stat().st_mtime > time.time() - PAUSE_S:
            return
        looked.touch()
        if sum(item.size for item in survey(root) if item.kind != "other") > most:
            prune(root, round(RELIEF * most))


# ------------------------------------------------------------------ what is there


def _kernels(root: Path) -> Iterator[Item]:
    entries = sorted(_children(root / "builds"), key=_used, reverse=True)
    objects = {path.name: path for path in _children(root / "objects")}
    for path in entries:
        own = tuple(objects.pop(name) for name in _read(path) if name in objects)
        yield Item("kernels", path, sum(map(_size, (path, *own))), max(map(_used, (path, *own))), own)
    for path in objects.values():  # nobody's: a process died before it could say what they are, or while it removed them
        yield Item("kernels", path, _size(path), _used(path))


def _read(entry: Path) -> list[str]:
    try:
        return objects_of(json.loads(entry.read_text()))
    except (OSError, ValueError, AttributeError, RecursionError):
        return []


def _slots(root: Path) -> Iterator[Item]:
    for owner in _children(root / "slots"):
        for slot in _children(owner):
            size = sum(map(size_of, _contents(slot)))
            if size:
                yield Item("build slots", slot, size, _used(slot / "lock"))


def _contents(slot: Path) -> list[Path]:
    return [path for path in _children(slot, hidden=True) if path.name != "lock"]  # others may be waiting for the lock


def _flat(kind: str, folder: Path) -> Iterator[Item]:
    for path in _children(folder):
        if path.suffix != ".lock":
            yield Item(kind, path, size_of(path), _used(path))


def _children(folder: Path, *, hidden: bool = False) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if hidden or not path.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _used(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.lstat().st_mtime
    return 0.0


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.lstat().st_blocks * 512
    return 0


def size_of(path: Path) -> int:
    """Return the bytes on disk of a file, or of a folder with all there is in it, as `du` counts them."""
    total, folders = _size(path), [path] if path.is_dir() and not path.is_symlink() else []
    linked: set[tuple[int, int]] = set()  # files of several names are on disk once
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    seen = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    elif seen.st_nlink > 1:
                        if (seen.st_dev, seen.st_ino) in linked:
                            continue
                        linked.add((seen.st_dev, seen.st_ino))
                    total += seen.st_blocks * 512
    return total


# ------------------------------------------------------------------ what goes


def _remove(root: Path, item: Item) -> bool:
    """Remove an item; whether it was not in use."""
    if item.kind == "build slots":
        return _empty_slot(item.path)
    names = [path.relative_to(root).as_posix() for path in (item.path, *item.objects)]
    with removing(root) as used:
        if used.intersection(names):
            return False
        if item.path.is_dir():
            gone = _set_aside(item.path)
        else:
            gone = None
            for name in names:  # the entry goes first
                (root / name).unlink(missing_ok=True)
    if gone is not None:
        shutil.rmtree(gone, ignore_errors=True)
    return True


def _empty_slot(slot: Path) -> bool:
    try:
        with FileLock(slot / "lock", timeout=0):
            record = _git_record(slot / "tree")
            for gone in [_set_aside(path) for path in _contents(slot)]:
                if gone.is_dir() and not gone.is_symlink():
                    shutil.rmtree(gone, ignore_errors=True)
                else:
                    gone.unlink(missing_ok=True)
            if record is not None:
                shutil.rmtree(record, ignore_errors=True)
    except Timeout:
        return False
    return True


def _set_aside(path: Path) -> Path:
    """Rename, so that what is half removed is nowhere taken for whole."""
    return path.rename(path.with_name(f"{GONE}{os.urandom(6).hex()}"))


def _git_record(tree: Path) -> Path | None:
    """Where the repository keeps what it knows of a worktree, as long as that is about this one."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        link = tree / ".git"
        record = Path(link.read_text().removeprefix("gitdir:").strip())
        if record.parent.name == "worktrees" and (record / "gitdir").read_text().strip() == str(link):
            return record
    return None


def _sweep(root: Path) -> None:
    """Remove what killed processes left half written or half removed."""
    for folder in (root / name for name in ("builds", "objects", *FOLDERS)):
        for path in _children(folder, hidden=True):
            if path.name.startswith(GONE):
                shutil.rmtree(path, ignore_errors=True)
            elif path.name.startswith(ASIDE) and _used(path) < time.time() - ASIDE_S:
                path.unlink(missing_ok=True)


def _trim_ccache(root: Path, size: int) -> None:
    folder, ccache = root / "ccache", shutil.which("ccache")
    if folder.is_dir() and size_of(folder) > size:
        if ccache is None:
            shutil.rmtree(folder, ignore_errors=True)
            return
        environment = os.environ | {"CCACHE_DIR": str(folder), "CCACHE_MAXSIZE": f"{size >> 10}Ki"}
        subprocess.run([ccache, "--cleanup" if size else "--clear"], env=environment, capture_output=True, check=False)
