"""A bisection as one file that another machine opens. Read `pack` and `unpack`.

A zip archive: the view, the log, the journal, the case with its reproducer and config, the consoles, and a manifest with the
checksum of each. What is opened may come from anybody: nothing in it is run, and the journal (SQLite) is carried, not read.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
import re
import sqlite3
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from kbench import __version__
from kbench.bisection import Bisection
from kbench.errors import InputError
from kbench.host import storage
from kbench.journal import FILE_NAME
from kbench.records import BisectionView, Step

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMAT = 1
#: What an archive may hold at most; more is no bisection.
MAX_MEMBERS, MAX_BYTES = 100_000, 4 << 30
_MANIFEST, _VIEW, _LOG = "manifest.json", "view.json", "bisection.log"
_MAX_TEXT_BYTES = 256 << 20  # of what is read into memory
_NAME = re.compile(r"[A-Za-z0-9_][\w.+@-]{0,150}(/[A-Za-z0-9_][\w.+@-]{0,150}){0,7}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's first day: the same bisection makes the same file


class _Manifest(msgspec.Struct):
    format: int
    kbench: str
    python: str
    sha256: dict[str, str]  # by member


@dataclass(frozen=True, slots=True)
class PackedBisection:
    """A bisection of another machine, to look at: what `kbench.bisect` returns, without what runs."""

    view: BisectionView
    folder: Path
    kbench: str  # the version that packed it

    def log(self) -> str:
        """Return the text of the log."""
        return (self.folder / _LOG).read_text(encoding="utf-8", errors="replace")

    def plot(self, what: str = "search", *, width_in: float = 7.0) -> Axes:
        """Draw it for a paper; see `kbench.widgets.figures.plot`."""
        from kbench.widgets.figures import plot

        return plot(self.view, what, width_in=width_in)

    def write(self) -> Path:
        """Write the report, one HTML page, into the folder and return its path."""
        from kbench.widgets.page import html_report

        path = self.folder / "report.html"
        with storage("unpack", self.folder):
            path.write_text(html_report(self.view, log_text=self.log()), encoding="utf-8", errors="replace")
        return path

    def _repr_html_(self) -> str:
        from kbench.widgets.page import summary_html

        return summary_html(self.view)


def pack(bisection: Bisection, view: BisectionView, log: str, file: Path) -> Path:
    """Write a bisection, ended or not, into one file and return its path.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    contents: dict[str, bytes] = {_LOG: log.encode("utf-8", "surrogateescape"), FILE_NAME: _journal(bisection.journal_path)}
    steps, consoles = _with_member_names(view.steps)
    contents[_VIEW] = msgspec.json.encode(replace(view, steps=steps), enc_hook=str)
    case, plan = bisection.case, bisection.plan
    for name, content in (("case/reproducer", plan.reproducer), ("case/config", plan.config)):
        if content is not None:
            contents[name] = content
    written = case.folder / f"{case.stem}.toml"
    if written.is_file():
        contents["case/case.toml"] = written.read_bytes()
    result = bisection.result
    contents["result.json"] = msgspec.json.encode(result.to_json() if result else None)
    partial = file.with_name(f".{file.name}.partial")
    with storage("pack", file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(partial, contents, consoles)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
    return file


def unpack(file: Path, folder: Path) -> PackedBisection:
    """Open what `pack` wrote into a new folder.

    Raises
    ------
    InputError
        It is no such file, damaged, holds more or other things than a bisection does, or the folder is there already.
    StorageError
        No room.
    """
    if folder.exists():
        raise InputError(f"unpack: expected a new folder, {folder} is there; give another --output")
    with storage("unpack", folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as aside:
            with _hostile(file), _opened(file) as archive:
                manifest = _extract(archive, Path(aside) / "new")
                view = _read_view(Path(aside) / "new", folder, manifest)
            (Path(aside) / "new").rename(folder)
    return PackedBisection(view, folder, manifest.kbench[:40])


def _journal(path: Path) -> bytes:
    """Return a whole copy of the journal, also while it is written."""
    with (
        contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as source,
        contextlib.closing(sqlite3.connect(":memory:")) as copy,
    ):
        source.backup(copy)
        return copy.serialize()


def _with_member_names(steps: tuple[Step, ...]) -> tuple[tuple[Step, ...], dict[str, Path]]:
    """Return the steps with consoles as members, and where those are; runs that were lent have one console."""
    names: dict[Path, str] = {}
    renamed = []
    for step in steps:
        runs = []
        for run in step.runs:
            there = run.console if run.console is not None and run.console.is_file() else None
            name = names.setdefault(there, f"consoles/{len(names):06d}.txt") if there else None
            runs.append(replace(run, console=Path(name) if name else None))
        renamed.append(replace(step, runs=tuple(runs)))
    return tuple(renamed), {name: path for path, name in names.items()}


def _write(path: Path, contents: dict[str, bytes], consoles: dict[str, Path]) -> None:
    sums = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, content: bytes) -> None:
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
            sums[name] = hashlib.sha256(content).hexdigest()

        for name, content in contents.items():
            add(name, content)
        for name, console in consoles.items():
            add(name, console.read_bytes())
        manifest = _Manifest(FORMAT, __version__, platform.python_version(), dict(sums))
        add(_MANIFEST, msgspec.json.encode(manifest))


@contextlib.contextmanager
def _hostile(file: Path) -> Iterator[None]:
    """Turn whatever a damaged archive makes of its readers into one line."""
    try:
        yield
    except (
        zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, KeyError, RecursionError,
        msgspec.MsgspecError,
    ) as error:  # fmt: skip
        raise InputError(f"unpack: expected a packed bisection, {file} is damaged ({str(error)[:100]}); pack it again") from error


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(file)
    except OSError as error:
        raise InputError(
            f"unpack: expected a file at {file}, {(error.strerror or str(error)).lower()}; check the path"
        ) from error
    with archive:
        yield archive


def _extract(archive: zipfile.ZipFile, folder: Path) -> _Manifest:
    """Write the members below a new folder, each checked for name, kind, size and checksum."""
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_BYTES:
        raise ValueError(f"more than {MAX_MEMBERS} members or {MAX_BYTES} bytes")
    if len(set(names)) < len(names):
        raise ValueError("a member is there twice")
    for member in members:
        kind = member.external_attr >> 28  # of st_mode: 8 a plain file, 0 not told
        if not _NAME.fullmatch(member.filename) or kind not in (0, 8) or ".." in PurePosixPath(member.filename).parts:
            raise ValueError(f"member {member.filename[:40]!r} is no plain file below the archive")
    if any(archive.getinfo(name).file_size > _MAX_TEXT_BYTES for name in (_MANIFEST, _VIEW, _LOG)):
        raise ValueError("its texts are too long")
    manifest = msgspec.json.decode(archive.read(_MANIFEST), type=_Manifest)
    if manifest.format != FORMAT:
        raise ValueError(f"format {manifest.format}, this kbench reads {FORMAT}")
    if set(manifest.sha256) != set(names) - {_MANIFEST}:
        raise ValueError("its manifest lists other members")
    for member in members:
        found = _copy(archive, member, folder / member.filename)
        if member.filename != _MANIFEST and found != manifest.sha256[member.filename]:
            raise ValueError(f"member {member.filename[:40]!r} has another checksum")
    return manifest


def _copy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> str:
    """Write a member and return its checksum; no more is read than its size, which was checked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with archive.open(member) as source, path.open("xb") as target:
        while block := source.read(1 << 20):
            digest.update(block)
            target.write(block)
    return digest.hexdigest()


def _read_view(folder: Path, final: Path, manifest: _Manifest) -> BisectionView:
    """Return the view in a folder that was extracted, its consoles where they will be."""
    view = msgspec.json.decode((folder / _VIEW).read_bytes(), type=BisectionView, dec_hook=_path)
    commits = [step.commit for step in view.steps] + [commit for commit, _ in view.candidates]
    if not all(map(_COMMIT.fullmatch, commits + ([view.culprit] if view.culprit else []))):
        raise ValueError("a commit is no hash")
    if view.kind not in ("cause", "fix"):
        raise ValueError(f"kind {view.kind[:20]!r}")
    steps = []
    for step in view.steps:
        consoles = [run.console for run in step.runs]
        if any(str(console) not in manifest.sha256 for console in consoles if console):
            raise ValueError("a console is not in it")
        runs = (replace(run, console=final / run.console if run.console else None) for run in step.runs)
        steps.append(replace(step, runs=tuple(runs)))
    return replace(view, steps=tuple(steps))


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise ValueError(f"{kind.__name__} expected")
