"""Whole bisections of the lab kernel in real machines: kinds, kills, a second instance, a full disk, orphans."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kbench import syzbot
from kbench.journal import FILE_NAME
from kbench.lab import create
from kbench.repository import Repository

pytestmark = pytest.mark.qemu


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "kbench", *map(str, words)]


def kbench(*words: object, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload, no-any-return]


def truth(folder: Path) -> dict[str, object]:
    return json.loads((folder / "truth.json").read_text())  # type: ignore[no-any-return]


# What this process starts has it in its environment; other tests run machines at the same time.
MARK = f"KBENCH_TEST={os.getpid()}"
os.environ["KBENCH_TEST"] = str(os.getpid())


def machines() -> list[str]:
    """Command lines of the QEMU processes that were started from here, by whatever is alive or dead by now."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            marked = MARK.encode() in (process / "environ").read_bytes().split(b"\0")
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if marked and "qemu-system" in line.split(" ")[0]:
                found.append(line)
    return found


def wait_for_a_run(journal: Path) -> None:
    """Until a bisection has its first run in the journal: from there on it can be disturbed."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        with (
            contextlib.suppress(sqlite3.OperationalError),  # not there yet
            contextlib.closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as database,
        ):
            if database.execute("SELECT COUNT(*) FROM runs").fetchone() != (0,):
                return
        time.sleep(0.02)
    raise AssertionError(f"no run in {journal} after two minutes")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labs") / "uaf"
    create(folder, seed=3, kind="uaf", commits=150)
    return folder


@pytest.mark.parametrize(("kind", "strategy"), [("null", "git"), ("warning", "syzkaller"), ("hang", "git")])
def test_kinds_are_found(tmp_path: Path, kind: str, strategy: str) -> None:
    create(tmp_path / "lab", seed=5, kind=kind, commits=120)
    done = kbench("bisect", tmp_path / "lab" / "case.toml", "--strategy", strategy, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["culprit"] == truth(tmp_path / "lab")["culprit"]
    assert found["noop"] is False


def test_rare_is_found_at_half(tmp_path: Path) -> None:
    create(tmp_path / "lab", seed=1, kind="rare", rate=0.6, commits=100)
    found = json.loads(kbench("bisect", tmp_path / "lab" / "case.toml", "--strategy", "syzkaller", "--json").stdout)
    assert found["culprit"] == truth(tmp_path / "lab")["culprit"]


def test_fix_is_found(lab: Path) -> None:
    found = json.loads(kbench("bisect", lab / "fix.toml", "--json", "--output", lab / "fix-out").stdout)
    assert found["culprit"] == truth(lab)["fix"]


def test_report_is_complete(lab: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = kbench("bisect", lab / "case.toml", "--output", output)
    assert done.returncode == 0, done.stderr
    log = (output / "bisection.log").read_text()
    assert done.stdout == log
    assert syzbot.render(syzbot.read_log(log)) == log
    culprit = str(truth(lab)["culprit"])
    assert f"first bad commit: {culprit} {Repository(lab / 'repo').subject(culprit)}" in log
    assert "BUG: KASAN: use-after-free" in log
    page = (output / "report.html").read_text()
    assert culprit in page
    assert json.loads((output / "result.json").read_text())["culprit"] == culprit
    again = kbench("report", lab / "case.toml", "--output", output)
    assert again.stdout == log
    replayed = json.loads(kbench("replay", output / "bisection.log", "--json").stdout)
    assert replayed["culprit"] == culprit
    assert not machines()


def test_killed_at_random_it_ends_the_same(lab: Path, tmp_path: Path) -> None:
    """kill -9 again and again: same answer, every run made once, nothing left running."""
    output, dice = tmp_path / "out", random.Random(20)
    environment = os.environ | {"KBENCH_CACHE": str(tmp_path / "cache")}
    words = command("bisect", lab / "case.toml", "--strategy", "git", "--output", output, "--json")
    kills = 0
    for _ in range(60):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        try:
            out, err = process.communicate(timeout=dice.uniform(0.5, 3.0) if kills < 8 else 120)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            time.sleep(0.05)
            assert not machines(), "the machines die with the process that started them"
            continue
        assert process.returncode == 0, err
        break
    assert kills >= 3
    assert json.loads(out)["culprit"] == truth(lab)["culprit"]
    with sqlite3.connect(output / FILE_NAME) as journal:
        made = journal.execute(
            "SELECT e.runs, COUNT(r.number) FROM experiments e LEFT JOIN runs r ON r.experiment = e.id GROUP BY e.id"
        ).fetchall()
        assert all(done in (0, wanted) for wanted, done in made)
    undisturbed = json.loads(
        kbench("bisect", lab / "case.toml", "--strategy", "git", "--output", tmp_path / "whole", "--json").stdout
    )
    mine = json.loads(out)
    assert {key: mine[key] for key in ("culprit", "outcome", "candidates", "builds", "runs")} == {
        key: undisturbed[key] for key in ("culprit", "outcome", "candidates", "builds", "runs")
    }


def test_interrupted_by_the_keyboard(lab: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("bisect", lab / "case.toml", "--output", tmp_path / "out"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_a_run(tmp_path / "out" / FILE_NAME)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, "start it again" in err) == (130, True), err
    assert not machines()
    read = kbench("report", lab / "case.toml", "--output", tmp_path / "out", "--json")
    assert (read.returncode, json.loads(read.stdout)["outcome"]) == (1, None), read.stderr
    assert (tmp_path / "out" / "report.html").is_file()


def test_second_instance_is_refused(lab: Path, tmp_path: Path) -> None:
    words = command("bisect", lab / "case.toml", "--output", tmp_path / "out")
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        while not (tmp_path / "out" / FILE_NAME).exists():
            time.sleep(0.05)
        second = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (second.returncode, second.stderr.count("\n")) == (2, 1), second.stderr
        assert "another bisection is writing it" in second.stderr
        assert first.poll() is None
        first.kill()


def test_missing_programs(lab: Path, tmp_path: Path) -> None:
    """Without QEMU or a compiler: what to install, exit code 3, nothing written."""
    for missing, package in (("qemu-system-i386", "qemu-system-x86"), ("make", "make")):
        few = tmp_path / f"without-{missing}"
        few.mkdir()
        for folder in ("/usr/bin", "/bin"):
            for program in Path(folder).iterdir():
                if program.name != missing and not (few / program.name).exists():
                    (few / program.name).symlink_to(program)
        done = kbench("bisect", lab / "case.toml", "--output", tmp_path / "out", env=os.environ | {"PATH": str(few)})
        assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
        assert f"apt-get install {package}" in done.stderr
        assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk needs root to be mounted")
def test_full_disk(lab: Path, tmp_path: Path) -> None:
    """A disk that fills up while it runs: one clear line, exit code 3, and with room it goes on to the right answer."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("mount is not allowed here")
    try:
        done = kbench("bisect", lab / "case.toml", "--output", small / "out")
        assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
        assert not machines()
        subprocess.run(["mount", "-o", "remount,size=100m", str(small)], check=True)
        done = kbench("bisect", lab / "case.toml", "--output", small / "out", "--json")
        assert json.loads(done.stdout)["culprit"] == truth(lab)["culprit"]
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
