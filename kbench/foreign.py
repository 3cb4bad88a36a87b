"""Folders and databases that may be somebody else's: what is looked at before they are used. Read `check_links` first.

Folders of cases are passed on. Who makes one may know where the files of its reader are, and what SQLite runs by itself.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kbench.errors import JournalError


def check_links(folder: Path, names: Iterable[str]) -> None:
    """Raise JournalError when the folder, one of these names in it, or what is below that, is a symbolic link."""
    kept = [folder / name for name in names]
    below = (Path(place, name) for path in kept for place, folders, files in os.walk(path) for name in (*folders, *files))
    if found := next((path for path in (folder, *kept, *below) if path.is_symlink()), None):
        raise JournalError(
            f"journal: expected no symbolic link in {folder}, {found.name[:100]!r} is one; give where it leads as --output"
        )


def check_plain(path: Path, database: sqlite3.Connection) -> None:
    """Raise JournalError when a database has more than tables; what is computed in them may do no harm from now on."""
    database.execute("PRAGMA trusted_schema = OFF")
    row = database.execute(
        "SELECT type FROM sqlite_master WHERE type IN ('view', 'trigger') OR sql LIKE 'CREATE VIRTUAL%'"
    ).fetchone()
    if row:
        raise JournalError(f"journal: expected tables in {path}, seen a {row[0]} too; take a journal of your own")


def typed(row: tuple[Any, ...], types: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row of these types, as in `isinstance`; ValueError for another: a column of SQLite keeps values of any."""
    if not all(map(isinstance, row, types)):
        raise ValueError(f"a row {str(row)[:60]}")
    return row


def mapping(text: str) -> dict[str, Any]:
    """Return what a text has as a JSON object; ValueError, TypeError or RecursionError for anything else."""
    loaded = json.loads(text)
    if not isinstance(loaded, dict):
        raise ValueError(text[:60])
    return loaded
