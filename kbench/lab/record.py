"""A lab as it lies on disk, and how it gets there as a whole. Read `Lab` first."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbench.errors import StorageError


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab as it lies on disk, with its truth."""

    directory: Path
    repository: Path
    case: Path  # cause bisection: find the culprit
    fix_case: Path  # fix bisection: find the fix
    truth: Path
    kind: str
    seed: int
    rate: float | None  # share of runs that crash on a bad commit; None: real timing decides, measure it
    culprit: str  # 40 hex digits
    fix: str
    stretches: tuple[Mapping[str, Any], ...]  # kind, first, last, title: commits that cannot be tested, or crash otherwise
    tags: tuple[str, ...]  # oldest first

    @classmethod
    def told_by(cls, directory: Path, truth: Mapping[str, Any]) -> Lab:
        """Return the lab in a folder whose truth this is."""
        return cls(
            directory,
            directory / "repo",
            directory / "case.toml",
            directory / "fix.toml",
            directory / "truth.json",
            truth["kind"],
            truth["seed"],
            truth["rate"],
            truth["culprit"],
            truth["fix"],
            tuple(truth["stretches"]),
            tuple(truth["tags"]),
        )


@contextmanager
def all_or_nothing(directory: Path) -> Iterator[Path]:
    """Hold a sibling folder that takes the directory's place when all went well.

    Raises
    ------
    StorageError
        If there is no room, or no permission.
    """
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as err:
        raise StorageError(f"lab: need to write in {directory.parent}, got {err.strerror}; choose another folder") from err
    try:
        yield partial
        partial.chmod(0o755)
        partial.replace(directory)
    except OSError as err:
        raise StorageError(f"lab: could not write {directory}, {err.strerror}; make room or choose another folder") from err
    finally:
        shutil.rmtree(partial, ignore_errors=True)
