"""Foreign logs in one SQLite file, as the journal keeps a bisection. One effect: SQLite. Read `import_logs` first.

logs.sqlite
├── collection   the format
├── logs         a row per log: how it ended, what it cost, what is thought of its answer
├── tests        a row per tested revision: stage, verdict, counts of runs, titles
└── failures     what could not be imported, and why
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbench.errors import InputError, JournalError, KbenchError, StorageError
from kbench.opinion import judge
from kbench.records import Outcome, Step
from kbench.resources import data_dir
from kbench.study.archive import Found, parse, read_files
from kbench.syzbot import BisectionLog, damage, steps

FILE_NAME = "logs.sqlite"
FORMAT = 1

_SCHEMA = f"""
CREATE TABLE collection (format INTEGER NOT NULL);
CREATE TABLE logs (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, kind TEXT NOT NULL, start TEXT NOT NULL,
    started TEXT NOT NULL, outcome TEXT NOT NULL, error TEXT NOT NULL, culprit TEXT NOT NULL, subject TEXT NOT NULL,
    candidates INTEGER NOT NULL, revisions INTEGER NOT NULL, total_s REAL NOT NULL, build_s REAL NOT NULL, test_s REAL NOT NULL,
    title TEXT NOT NULL, p_correct REAL, reasons TEXT NOT NULL, damage TEXT NOT NULL);
CREATE TABLE tests (
    log INTEGER NOT NULL REFERENCES logs ON DELETE CASCADE, number INTEGER NOT NULL, commit_id TEXT NOT NULL, stage TEXT NOT NULL,
    verdict TEXT, crashed INTEGER NOT NULL, clean INTEGER NOT NULL, boot_failed INTEGER NOT NULL, test_failed INTEGER NOT NULL,
    infra INTEGER NOT NULL, titles TEXT NOT NULL, signature TEXT, failure TEXT NOT NULL, UNIQUE (log, number));
CREATE TABLE failures (name TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, reason TEXT NOT NULL);
INSERT INTO collection VALUES ({FORMAT});
"""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    new: int
    known: int  # there already, with the same content
    failed: dict[str, str]  # name: why


def import_logs(paths: Iterable[Path], folder: Path, *, show: Callable[[str], None] = lambda name: None) -> Imported:
    """Read logs into the collection of a folder; those that are there already are passed over.

    Parameters
    ----------
    paths : iterable of Path
        Logs, archives of logs, folders of both.
    folder : Path
        Made when missing.
    show : callable
        Told the name of each file before it is read.

    Raises
    ------
    InputError
        A path that is not there.
    JournalError, StorageError
        Another kind of file at that place; no room or no permission.
    """
    new = known = 0
    failed: dict[str, str] = {}
    fitted = (data_dir() / "judge.json").read_bytes()  # with other numbers other answers are to be trusted: all is read again
    with _open(folder) as database:
        for found in read_files(paths, but=folder / FILE_NAME):
            show(found.name)
            digest = hashlib.sha256(fitted + found.content).hexdigest()
            if database.execute("SELECT 1 FROM logs WHERE digest = ?", (digest,)).fetchone():
                known += 1
                continue
            try:
                _add(database, found, digest)
                new += 1
            except KbenchError as error:
                failed[found.name] = str(error)
                _fail(database, found.name, digest, str(error))
    return Imported(new, known, failed)


def read_rows(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of logs and of tests, by name and number.

    Raises
    ------
    InputError
        There is no collection.
    """
    if not (folder / FILE_NAME).is_file():
        raise InputError(f"study: expected {FILE_NAME} in {folder}, found none; run `kbench study import` first")
    with _open(folder) as database:
        database.row_factory = sqlite3.Row
        logs = database.execute("SELECT * FROM logs ORDER BY name").fetchall()
        tests = database.execute("SELECT * FROM tests ORDER BY log, number").fetchall()
        return [dict(row) for row in logs], [dict(row) | {"titles": json.loads(row["titles"])} for row in tests]


@contextlib.contextmanager
def _open(folder: Path) -> Iterator[sqlite3.Connection]:
    path = folder / FILE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as database:
            database.execute("PRAGMA foreign_keys = ON")
            _prepare(database, path)
            yield database
    except sqlite3.OperationalError as error:
        raise StorageError(f"study: expected to use {path}, {error}; free some room or choose another folder") from error
    except sqlite3.DatabaseError as error:
        raise JournalError(f"study: expected an SQLite file in {path}, {error}; move it away or choose another folder") from error
    except OSError as error:
        raise StorageError(f"study: expected to use {path}, {error.strerror or error}; choose another folder") from error


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    if not _is_prepared(database):  # asked before anything is written: what is there can be read on a full disk
        with database:
            database.execute("BEGIN IMMEDIATE")  # all tables or none, whenever it is killed and whoever else is at it
            for statement in _SCHEMA.split(";") if not _is_prepared(database) else ():
                database.execute(statement)
    (seen,) = database.execute("SELECT format FROM collection").fetchone()
    if seen != FORMAT:
        raise JournalError(
            f"study: expected a collection of format {FORMAT} in {path}, saw {seen}; import its logs again elsewhere"
        )


def _is_prepared(database: sqlite3.Connection) -> bool:
    return bool(database.execute("SELECT name FROM sqlite_master WHERE name = 'collection'").fetchone())


def _add(database: sqlite3.Connection, found: Found, digest: str) -> None:
    log = parse(found)
    row = (found.name, digest, *_log_row(log))
    with database:
        database.execute("DELETE FROM logs WHERE name = ?", (found.name,))
        database.execute("DELETE FROM failures WHERE name = ?", (found.name,))
        added = database.execute(f"INSERT INTO logs VALUES (NULL, {', '.join('?' * len(row))})", row)
        rows = [(added.lastrowid, number, *_test_row(step)) for number, step in enumerate(steps(log))]
        database.executemany(f"INSERT INTO tests VALUES ({', '.join('?' * 13)})", rows)


def _fail(database: sqlite3.Connection, name: str, digest: str, reason: str) -> None:
    with database:
        database.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?)", (name, digest, reason))


def _log_row(log: BisectionLog) -> Sequence[Any]:
    culprit, costs = log.culprit or ("", ""), log.costs
    judged = judge(log) if log.kind == "cause" and log.candidates else None
    reasons = [(reason.words, reason.weight) for reason in judged.reasons] if judged else []
    return (
        log.kind, log.start, log.started, log.outcome or "", log.error, *culprit, len(log.candidates),
        costs.revisions if costs else len(log.tests), costs.total_s if costs else 0.0, costs.build_s if costs else 0.0,
        costs.test_s if costs else 0.0, log.crash_title, judged.p_correct if judged else None, json.dumps(reasons),
        json.dumps(damage(log)),
    )  # fmt: skip


def _test_row(step: Step) -> Sequence[Any]:
    counts = step.counts
    outcomes = (Outcome.CRASHED, Outcome.OK, Outcome.BOOT_FAILED, Outcome.TEST_FAILED, Outcome.INFRA)
    verdict = step.verdict.value if step.verdict else None
    return (
        step.commit, step.stage, verdict, *(counts[outcome] for outcome in outcomes), json.dumps(step.titles), step.signature,
        step.failure,
    )  # fmt: skip
