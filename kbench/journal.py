"""The journal of one case: every observation is on disk before the next question. One effect: SQLite.

One file a case directory, in write-ahead mode, one writer at a time (a lock beside it). It holds one or more
bisections of that case (a strategy each); an experiment is written when it is asked, each of its runs when it ends.

    kbench.sqlite
    ├── journal       the case this file belongs to
    ├── bisections    a row per strategy tried, with its result once there is one
    ├── experiments   commit, runs and stage in the order asked, with the build and its cost, and what was found besides
    └── runs          outcome, title, seconds and console of every run

Open it with `Journal.open`. What it returns is plain records; what they mean is the driver's business.

A case directory may come from anybody: nothing is written through a link in it, and a file with views or triggers, which are
SQL of somebody else's that SQLite runs, is no journal.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from kbench.errors import JournalError, StorageError
from kbench.foreign import check_links, check_plain, mapping, typed
from kbench.records import Outcome, Run

FILE_NAME = "kbench.sqlite"
FORMAT = 2
#: What there is in a case directory.
KEPT = (
    *(FILE_NAME, f"{FILE_NAME}.lock", f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", f"{FILE_NAME}-journal"),
    *("consoles", "minimise", "reproducer", "config.min", "bisection.log", "result.json", "report.html"),
)

_SCHEMA = """
CREATE TABLE journal (format INTEGER NOT NULL, inputs TEXT NOT NULL, case_name TEXT NOT NULL);
CREATE TABLE bisections (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, inputs TEXT NOT NULL, started TEXT NOT NULL, result TEXT);
CREATE TABLE experiments (
    id INTEGER PRIMARY KEY, bisection INTEGER NOT NULL REFERENCES bisections, number INTEGER NOT NULL,
    commit_id TEXT NOT NULL, runs INTEGER NOT NULL, stage TEXT NOT NULL,
    build TEXT, findings TEXT, test_s REAL NOT NULL DEFAULT 0, complete INTEGER NOT NULL DEFAULT 0,
    UNIQUE (bisection, number));
CREATE TABLE runs (
    experiment INTEGER NOT NULL REFERENCES experiments, number INTEGER NOT NULL, outcome TEXT NOT NULL, title TEXT NOT NULL,
    boot_s REAL NOT NULL, elapsed_s REAL NOT NULL, console TEXT, UNIQUE (experiment, number));
"""

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_RUN = (int, int, str, str, float, float, str | None)
_EXPERIMENT = (int, int, str, int, str, str | None, str | None, float, int)


@dataclass(frozen=True, slots=True)
class Entry:
    """One experiment as the journal has it."""

    id: int
    number: int  # 0 is the first question
    commit: str
    runs: int  # asked for
    stage: str
    build: Mapping[str, Any] | None  # what the driver wrote of the build; None: not built yet
    findings: Mapping[str, Any] | None  # what the driver wrote of what the runs mean; None: not looked at yet
    test_s: float
    complete: bool
    done: tuple[tuple[int, Run], ...]  # (number, run), in the order of their numbers


class Journal:
    """The open journal of one bisection; close it, or use it in a with block.

    Use `Journal.open`; the initialiser takes what that found.
    """

    def __init__(self, path: Path, database: sqlite3.Connection, lock: FileLock, bisection: int) -> None:
        self.path = path
        self._database, self._lock, self._bisection = database, lock, bisection

    @classmethod
    def open(
        cls, folder: Path, *, case_inputs: Mapping[str, Any], case_name: str, key: str, inputs: Mapping[str, Any], started: str
    ) -> Journal:
        """Open or make the journal in a case directory and take it over for writing.

        Last questions that only broken machines answered are forgotten: whoever starts again has mended them.

        Parameters
        ----------
        folder : Path
            The case directory, made when missing.
        case_inputs : mapping
            What the case is, JSON; a journal of another case is refused.
        case_name : str
            For messages.
        key : str
            Which bisection of the case (its strategy and settings); continued if it is there.
        inputs : mapping
            JSON; kept with a new bisection for the reader.
        started : str
            Time of the start; kept with a new bisection.

        Raises
        ------
        JournalError
            Another case's, in use by another process, or damaged.
        StorageError
            No room or no permission.
        """
        path = folder / FILE_NAME
        lock = FileLock(folder / f"{FILE_NAME}.lock")
        with _translated(path):
            folder.mkdir(parents=True, exist_ok=True)
            check_links(folder, KEPT)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise JournalError(
                    f"journal: expected {path} to be free, another bisection is writing it; wait for it, or give another --output"
                ) from None
        try:
            with _translated(path):
                database = _connect(path, case_inputs, case_name)
                bisection = _bisection(database, key, json.dumps(inputs, sort_keys=True), started)
                _forget_infra(database, bisection)
        except BaseException:
            lock.release()
            raise
        return cls(path, database, lock, bisection)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file and the lock."""
        self._database.close()
        self._lock.release()

    @property
    def started(self) -> str:
        """When this bisection was started first."""
        with _translated(self.path):
            return str(self._database.execute("SELECT started FROM bisections WHERE id = ?", (self._bisection,)).fetchone()[0])

    def entries(self) -> list[Entry]:
        """Return all experiments of this bisection in the order they were asked."""
        with _translated(self.path):
            return _entries(self._database, self._bisection, self.path.parent)

    def ask(self, number: int, commit: str, runs: int, stage: str) -> int:
        """Write down a question and return its id."""
        return self._write(
            "INSERT INTO experiments (bisection, number, commit_id, runs, stage) VALUES (?, ?, ?, ?, ?)",
            (self._bisection, number, commit, runs, stage),
        )

    def built(self, experiment: int, build: Mapping[str, Any]) -> None:
        """Write down what the build of an experiment came to (JSON)."""
        self._write("UPDATE experiments SET build = ? WHERE id = ?", (json.dumps(build), experiment))

    def found(self, experiment: int, findings: Mapping[str, Any]) -> None:
        """Write down what was found out about the runs of an experiment (JSON)."""
        self._write("UPDATE experiments SET findings = ? WHERE id = ?", (json.dumps(findings), experiment))

    def ran(self, experiment: int, number: int, run: Run, seconds: float) -> None:
        """Write down one run and the wall clock since the one before; its console is kept relative to the case directory."""
        console = str(run.console.relative_to(self.path.parent)) if run.console else None
        with _translated(self.path), self._database:
            self._database.execute(
                "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)",
                (experiment, number, run.outcome.value, run.title, run.boot_s, run.elapsed_s, console),
            )
            self._database.execute("UPDATE experiments SET test_s = test_s + ? WHERE id = ?", (seconds, experiment))

    def complete(self, experiment: int) -> None:
        """Mark an experiment as answered."""
        self._write("UPDATE experiments SET complete = 1 WHERE id = ?", (experiment,))

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write down the bisection's result (JSON)."""
        self._write("UPDATE bisections SET result = ? WHERE id = ?", (json.dumps(result), self._bisection))

    def _write(self, statement: str, values: tuple[Any, ...]) -> int:
        with _translated(self.path), self._database:
            return int(self._database.execute(statement, values).lastrowid or 0)


def read_journal(folder: Path, *, case_inputs: Mapping[str, Any], case_name: str, key: str) -> tuple[str, list[Entry]]:
    """Return start time and experiments of a bisection without taking its journal over, while it runs or later.

    Raises
    ------
    JournalError
        There is no journal, it is another case's, or it does not have this bisection.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise JournalError(f"journal: expected one at {path}, found none; run `kbench bisect` first, or give its --output")
    with _translated(path):
        check_links(folder, KEPT)
    with (
        _translated(path),
        contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)) as database,
    ):
        check_plain(path, database)
        _check_owner(path, database.execute("SELECT format, inputs, case_name FROM journal").fetchone(), case_inputs, case_name)
        found = database.execute("SELECT id, started FROM bisections WHERE key = ?", (key,)).fetchone()
        if found is None:
            raise JournalError(
                f"journal: expected a bisection with this strategy in {path}, found none; give its --strategy and settings"
            )
        return str(found[1]), _entries(database, int(found[0]), folder)


def _entries(database: sqlite3.Connection, bisection: int, folder: Path) -> list[Entry]:
    runs: dict[int, list[tuple[int, Run]]] = {}
    for row in database.execute(
        "SELECT r.* FROM runs r JOIN experiments e ON e.id = r.experiment WHERE e.bisection = ? ORDER BY r.number", (bisection,)
    ):
        experiment, number, outcome, title, boot_s, elapsed_s, console = typed(row, _RUN)
        if console and not (folder / console).resolve().is_relative_to(folder.resolve()):  # views show what is there
            raise JournalError(f"journal: expected consoles below {folder}, seen {console[:100]!r}; take a journal of your own")
        run = Run(Outcome(outcome), title, boot_s, elapsed_s, folder / console if console else None)
        runs.setdefault(experiment, []).append((number, run))
    rows = database.execute(
        "SELECT id, number, commit_id, runs, stage, build, findings, test_s, complete FROM experiments "
        "WHERE bisection = ? ORDER BY number",
        (bisection,),
    )
    entries = []
    for row in rows.fetchall():
        id_, number, commit, asked, stage, build, findings, test_s, complete = typed(row, _EXPERIMENT)
        if not _COMMIT.fullmatch(commit):  # folders are named after it
            raise ValueError(f"commit {commit[:40]}")
        done = tuple(runs.get(id_, ()))
        told = build and mapping(build), findings and mapping(findings)
        entries.append(Entry(id_, number, commit, asked, stage, *told, test_s, bool(complete), done))
    return entries


def _check_owner(path: Path, found: tuple[Any, ...] | None, case_inputs: Mapping[str, Any], case_name: str) -> None:
    if found is None or found[0] != FORMAT:
        raise JournalError(f"journal: expected format {FORMAT}, {path} has {found[0] if found else None}; give another --output")
    theirs, ours = mapping(found[1]), json.loads(json.dumps(case_inputs))
    differ = [
        f"{name} (now {_short(ours[name])}, was {_short(theirs.get(name))})" for name in ours if theirs.get(name) != ours[name]
    ]
    if differ:
        raise JournalError(
            f"journal: expected the journal of case {case_name!r}, {path} is of case {found[2]!r} with other inputs: "
            f"{', '.join(differ)}; give another --output, remove that folder, or give the old inputs by name"
        )


def _short(value: Any) -> str:
    """Return an input for a message; hashes are cut."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{28,52}\b", r"\1", str(value))


def _connect(path: Path, case_inputs: Mapping[str, Any], case_name: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=10)
    try:
        check_plain(path, database)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")  # WAL: a killed process loses nothing, a power cut at most the last run
        with database:
            database.execute("BEGIN IMMEDIATE")
            if not database.execute("SELECT name FROM sqlite_master WHERE name = 'journal'").fetchone():
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
                database.execute("INSERT INTO journal VALUES (?, ?, ?)", (FORMAT, json.dumps(case_inputs), case_name))
        _check_owner(path, database.execute("SELECT format, inputs, case_name FROM journal").fetchone(), case_inputs, case_name)
    except BaseException:
        database.close()
        raise
    return database


def _bisection(database: sqlite3.Connection, key: str, inputs: str, started: str) -> int:
    with database:
        database.execute("INSERT OR IGNORE INTO bisections (key, inputs, started) VALUES (?, ?, ?)", (key, inputs, started))
    return int(database.execute("SELECT id FROM bisections WHERE key = ?", (key,)).fetchone()[0])


def _forget_infra(database: sqlite3.Connection, bisection: int) -> None:
    last = "SELECT id FROM experiments WHERE bisection = ? ORDER BY number DESC LIMIT 1"
    outcomes = "SELECT DISTINCT outcome FROM runs WHERE experiment = ?"
    with database:
        while (row := database.execute(last, (bisection,)).fetchone()) and database.execute(outcomes, row).fetchall() == [
            (Outcome.INFRA.value,)
        ]:
            database.execute("DELETE FROM runs WHERE experiment = ?", row)
            database.execute("DELETE FROM experiments WHERE id = ?", row)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if any(sign in str(error) for sign in ("no such table", "no such column", "Could not decode")):
            raise JournalError(f"journal: expected a journal of kbench in {path}, {error}; give another --output") from error
        raise StorageError(f"journal: expected to use {path}, {error}; free some room or choose another --output") from error
    except sqlite3.DatabaseError as error:
        raise JournalError(
            f"journal: expected an SQLite file in {path}, {error}; move it away or give another --output"
        ) from error
    except (ValueError, TypeError, RecursionError) as error:  # text that is none, or no JSON: others than were written
        raise JournalError(
            f"journal: expected {path} as it was written, {str(error)[:100]!r}; move it away or give another --output"
        ) from error
    except OSError as error:
        raise StorageError(f"journal: expected to use {path}, {error.strerror or error}; choose another --output") from error
