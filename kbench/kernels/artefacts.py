"""Builds shared between machines, by content, in one place that all of them reach. Read `SharedStore` first. One effect: fsspec.

    URL/objects/SHA256       images, symbol files, git packs; never changed
    URL/entries/KEY.json     what a build came to, or where a pack is

URL is what fsspec takes: a folder all machines mount, `s3://bucket/kbench`, `memory://kbench` (one process: tests). An object
is read only as bytes and an entry only as JSON: nothing is unpickled or run to read them. What arrives is checked against the
hash that is its name; what does not fit is thrown away, and made again. Who may write here can plant kernels, as who may
write to the machines can: give it the same guards.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kbench.errors import InputError, StorageError
from kbench.host import storage
from kbench.kernels.store import Store
from kbench.records import KernelImage

_SHA256 = re.compile("[0-9a-f]{64}")
#: Where a file appears whole when its writing ends; elsewhere it is written aside and renamed.
_APPEAR_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})
_BUILT = {"image": str, "signature": str, "compiler": str, "notes": list, "build_s": float | int}
_FAILED = {"error": str, "file": str, "log": str}
MAX_ENTRY_BYTES = 8 << 20
#: What is fetched leaves so much room.
SPARE_BYTES = 64 << 20


class Artefacts:
    """Objects and entries below one URL.

    Parameters
    ----------
    url : str
        As fsspec takes it; credentials are found as its file systems find them.

    Raises
    ------
    InputError
        No URL that fsspec knows, or its package for such URLs is not installed.
    """

    def __init__(self, url: str) -> None:
        import fsspec  # late: only clusters need it

        try:
            self._fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False)  # others write there too
        except (ImportError, ValueError) as error:
            raise InputError(f"artefacts: expected a folder or a URL of fsspec, {url!r} is not: {error}; correct it") from error
        self.url, self._root = url, root.rstrip("/")
        kinds = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        self._whole = bool(kinds & _APPEAR_WHOLE)

    def find(self, key: str) -> dict[str, Any] | None:
        """Return an entry; None when there is none, or none that can be read."""
        path = self._place("entries", key) + ".json"
        with self._reached():
            if not self._fs.exists(path) or self._fs.size(path) > MAX_ENTRY_BYTES:
                return None
            text = self._fs.cat_file(path)
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError):
            return None
        return entry if isinstance(entry, dict) else None

    def keep(self, key: str, entry: Mapping[str, Any]) -> None:
        """Write an entry down, after the objects it names."""
        with tempfile.TemporaryDirectory(prefix="kbench-") as folder:
            path = Path(folder) / "entry"
            path.write_text(json.dumps(entry, sort_keys=True))
            self._put(path, self._place("entries", key) + ".json")

    def send(self, path: Path) -> str:
        """Copy a file there, unless it is there already, and return its name."""
        with storage("artefacts", path):
            name = _sha256(path)
        target = self._place("objects", name)
        with self._reached():
            there = self._fs.exists(target) and self._fs.size(target) == path.stat().st_size
        if not there:
            self._put(path, target)
        return name

    def has(self, name: str) -> bool:
        """Whether an object is there."""
        with self._reached():
            return bool(self._fs.exists(self._place("objects", name)))

    @contextlib.contextmanager
    def fetched(self, name: str) -> Iterator[Path | None]:
        """Hold a copy of an object in a file here; None when it is not there, or was not what its name says: then it is gone.

        StorageError when there is no room for it.
        """
        source = self._place("objects", name)
        with tempfile.TemporaryDirectory(prefix="kbench-") as folder:
            path = Path(folder) / "object"
            with contextlib.suppress(FileNotFoundError), self._reached():
                size, free = int(self._fs.size(source) or 0), shutil.disk_usage(folder).free
                if size > free - SPARE_BYTES:
                    raise StorageError(
                        f"artefacts: expected room for {name[:12]} of {size >> 20} MiB, {free >> 20} are free below {folder}; "
                        f"make some, or set TMPDIR, or remove it below {self.url} if that is no size of a kernel"
                    )
                self._fs.get_file(source, str(path))
                if _sha256(path) != name:
                    path.unlink()
                    self._fs.rm_file(source)
            yield path if path.is_file() else None

    def _place(self, kind: str, name: str) -> str:
        if not _SHA256.fullmatch(name):  # an entry may name anything
            raise InputError(f"artefacts: expected 64 hex digits, seen {name[:100]!r}; remove that entry below {self.url}")
        return f"{self._root}/{kind}/{name}"

    def _put(self, path: Path, target: str) -> None:
        aside = target if self._whole else f"{target.rpartition('/')[0]}/.new-{uuid.uuid4().hex}"
        with self._reached():
            if aside != target:
                self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            try:
                self._fs.put_file(str(path), aside)
                if aside != target:
                    self._fs.mv(aside, target)
            except BaseException:
                with contextlib.suppress(Exception):
                    self._fs.rm_file(aside)
                raise

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn what goes wrong with the place into a StorageError; each file system has errors of its own besides OSError."""
        try:
            yield
        except (FileNotFoundError, StorageError):
            raise
        except Exception as error:
            raise StorageError(
                f"artefacts: expected to use {self.url}, {type(error).__name__}: {error}; correct `artefacts`, or make room"
            ) from error


class SharedStore(Store):
    """The store of one of many machines: what it does not have it asks the shared place for, what it makes goes there too.

    Parameters
    ----------
    artefacts : Artefacts
    root : Path, optional
        As for `Store`.
    """

    def __init__(self, artefacts: Artefacts, root: Path | None = None) -> None:
        super().__init__(root)
        self.artefacts = artefacts

    def find(self, key: str) -> dict[str, Any] | None:
        """Return what the build came to, here or on another machine, with its files here."""
        own = super().find(key)
        if own is not None:
            return own
        entry = self.artefacts.find(key)
        if entry is None or not _is_sound(entry) or not all(map(self._here, _objects(entry))):
            return None
        super().keep(key, entry)
        return entry

    def keep(self, key: str, entry: dict[str, Any]) -> None:
        """Write down what a build came to, for all."""
        super().keep(key, entry)
        for name in _objects(entry):
            self.artefacts.send(self.object(name))
        self.artefacts.keep(key, entry)

    def located(self, kernel: KernelImage) -> KernelImage | None:
        """Return a kernel of another machine with its files here; None when they are gone."""
        image, *others = kernel.path, kernel.symbols, kernel.config
        if not all(self._here(path.name) for path in (image, *others) if path is not None):
            return None
        symbols, config = (path and self.object(path.name) for path in others)
        return replace(kernel, path=self.object(image.name), symbols=symbols, config=config)

    def _here(self, name: str) -> bool:
        if not _SHA256.fullmatch(name):
            return False
        if self._whole(name):
            return True
        with self.artefacts.fetched(name) as path:
            return path is not None and self.add(path) == name


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _objects(entry: Mapping[str, Any]) -> list[str]:
    return [entry[name] for name in ("image", "symbols", "config") if entry.get(name)]


def _is_sound(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of another machine has what is read of it."""
    fields = _FAILED if "error" in entry else _BUILT
    files = entry.get("files")
    return (
        all(isinstance(entry.get(name), kind) for name, kind in fields.items())
        and all(name in entry for name in (() if "error" in entry else ("symbols", "config", "files")))
        and all(isinstance(name, str) and _SHA256.fullmatch(name) for name in _objects(entry))
        and (files is None or (isinstance(files, list) and all(isinstance(file, str) for file in files)))
    )
