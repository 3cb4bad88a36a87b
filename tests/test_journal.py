"""The journal: what is written is there after a kill, one writer at a time, one case a file."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from kbench.errors import JournalError, StorageError
from kbench.journal import FILE_NAME, Journal, read_journal
from kbench.records import Outcome, Run

COMMIT = "ab" * 20


def opened(folder: Path, *, case: str = "case", key: str = "git") -> Journal:
    return Journal.open(
        folder, case_inputs={"bad": case}, case_name="demo", key=key, inputs={}, started="2026-01-01T00:00:00+00:00"
    )


def test_everything_comes_back(tmp_path: Path) -> None:
    run = Run(Outcome.CRASHED, "BUG in f", 0.25, 1.5, tmp_path / "consoles" / "run.txt")
    with opened(tmp_path) as journal:
        first = journal.ask(0, COMMIT, 20, "original")
        journal.built(first, {"signature": "s", "error": ""})
        journal.ran(first, 1, run, 0.75)
        journal.ran(first, 0, Run(Outcome.OK), 0.5)
        assert journal.entries()[0].findings is None
        journal.found(first, {"reached": False, "reach": "never entered"})
    with opened(tmp_path) as journal:
        (entry,) = journal.entries()
        assert entry.findings == {"reached": False, "reach": "never entered"}
        assert entry.build == {"signature": "s", "error": ""}
        assert entry.done == ((0, Run(Outcome.OK)), (1, run))
        assert (entry.test_s, entry.complete, entry.runs, entry.stage) == (1.25, False, 20, "original")
        journal.complete(entry.id)
        assert journal.entries()[0].complete
    assert read_journal(tmp_path, case_inputs={"bad": "case"}, case_name="demo", key="git")[1] != []


def test_a_run_is_written_once(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        first = journal.ask(0, COMMIT, 20, "original")
        journal.ran(first, 0, Run(Outcome.OK), 0.5)
        with pytest.raises(JournalError):
            journal.ran(first, 0, Run(Outcome.OK), 0.5)
        assert journal.entries()[0].test_s == 0.5, "the time of a refused run is not counted either"


def test_strategies_share_a_file_and_nothing_else(tmp_path: Path) -> None:
    with opened(tmp_path, key="git") as journal:
        journal.ask(0, COMMIT, 20, "original")
    with opened(tmp_path, key="syzkaller") as journal:
        assert journal.entries() == []


def test_another_case_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(JournalError, match="with other inputs") as caught:
        opened(tmp_path, case="another")
    assert caught.value.exit_code == 2
    opened(tmp_path).close()  # the lock was let go


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(JournalError, match="another bisection is writing it"):
        opened(tmp_path)
    opened(tmp_path).close()


def test_a_reader_needs_no_lock(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.ask(0, COMMIT, 20, "original")
        assert len(read_journal(tmp_path, case_inputs={"bad": "case"}, case_name="demo", key="git")[1]) == 1
    with pytest.raises(JournalError, match="found none"):
        read_journal(tmp_path / "elsewhere", case_inputs={"bad": "case"}, case_name="demo", key="git")
    with pytest.raises(JournalError, match="--strategy"):
        read_journal(tmp_path, case_inputs={"bad": "case"}, case_name="demo", key="syzkaller")


def test_rubbish_and_no_permission(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database, it is rubbish" * 100)
    with pytest.raises(JournalError, match="SQLite"):
        opened(tmp_path)
    with pytest.raises((StorageError, JournalError)):
        opened(Path("/proc/kbench"))


def test_killed_writer_loses_nothing_written(tmp_path: Path) -> None:
    """SIGKILL between two runs: all runs whose call had returned are there, and the file opens."""
    code = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from kbench.journal import Journal
        from kbench.records import Outcome, Run
        given = dict(case_inputs={{"bad": "case"}}, case_name="demo", key="git", inputs={{}}, started="")
        journal = Journal.open(Path({str(tmp_path)!r}), **given)
        first = journal.ask(0, "{COMMIT}", 1000, "original")
        for n in range(1000):
            journal.ran(first, n, Run(Outcome.OK), 0.1)
            print(n, flush=True)
    """)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        told = -1
        for line in child.stdout:
            told = int(line)
            if told == 50:
                os.kill(child.pid, signal.SIGKILL)
    with opened(tmp_path) as journal:
        written = [number for number, _ in journal.entries()[0].done]
    assert written[: told + 1] == list(range(told + 1))
    assert len(written) <= told + 2
    assert sqlite3.connect(tmp_path / FILE_NAME).execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("name", ["", FILE_NAME, f"{FILE_NAME}.lock", "reproducer", "consoles", "consoles/001-abc", "minimise/x"])
def test_nothing_is_written_through_a_link(name: str, tmp_path: Path) -> None:
    """A case directory may come from anybody, who knows where the files of its reader are."""
    folder, elsewhere = tmp_path / "case.kbench", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / FILE_NAME).write_text("")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(elsewhere / FILE_NAME if name.startswith(FILE_NAME) or name == "reproducer" else elsewhere)
    (tmp_path / "linux").symlink_to(elsewhere)  # not ours, and nothing to us
    with pytest.raises(JournalError, match="symbolic link"):
        opened(folder)
    assert (elsewhere / FILE_NAME).read_text() == ""
    assert [path.name for path in elsewhere.iterdir()] == [FILE_NAME]
    with opened(tmp_path):
        pass


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON experiments BEGIN DELETE FROM runs; END",
        "DROP TABLE runs; CREATE VIEW runs AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n",
        "DROP TABLE journal; CREATE VIEW journal AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT x FROM n",
        "CREATE VIRTUAL TABLE v USING fts5(x)",
    ],
)
def test_sql_of_somebody_else_is_not_run(statement: str, tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        journal.ask(0, COMMIT, 20, "original")
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        database.executescript(statement)
    with pytest.raises(JournalError, match="expected tables"):
        opened(tmp_path)
    with pytest.raises(JournalError, match="expected tables"):
        read_journal(tmp_path, case_inputs={"bad": "case"}, case_name="demo", key="git")


def test_values_of_somebody_else(tmp_path: Path) -> None:
    """SQLite keeps any kind of value in any column."""
    with opened(tmp_path / "case.kbench") as journal:
        first = journal.ask(0, COMMIT, 20, "original")
        journal.ran(first, 0, Run(Outcome.OK), 0.5)
    changes = (
        *("experiments SET build = ?", "experiments SET commit_id = ?", "experiments SET test_s = ?"),
        *("runs SET outcome = ?", "runs SET boot_s = ?", "journal SET inputs = ?"),
    )
    values = ("[" * 100_000, b"\xff", "../../../x")
    for change, value in [*itertools.product(changes, values), (changes[0], "7"), (changes[-1], "7")]:
        shutil.copytree(tmp_path / "case.kbench", tmp_path / "copy")
        with contextlib.closing(sqlite3.connect(tmp_path / "copy" / FILE_NAME)) as database, database:
            database.execute(f"UPDATE {change}", (value,))
        with pytest.raises(JournalError, match="as it was written"):
            read_journal(tmp_path / "copy", case_inputs={"bad": "case"}, case_name="demo", key="git")
        shutil.rmtree(tmp_path / "copy")
