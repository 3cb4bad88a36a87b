"""A teaching kernel that knows nothing of kbench, with its own Makefile and history, bisected with a case file alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fast_import import Commit, make_repository

pytestmark = pytest.mark.qemu

SOURCE = Path(__file__).parent / "data" / "tinyos"
CASE = """
repository = "tinyos"
bad = "master"
good = "v0.1"
build = "make"
image = "tinyos.bin"
qemu = "qemu-system-i386 -kernel tinyos.bin -serial stdio -display none -no-reboot"
booted = "^TinyOS"
done = "^all tests passed"
crashed = '!! self test broken: (?P<title>.*)'
strategy = "git"
runs = 2
timeout_s = 20
"""
CULPRIT = 13


def history() -> list[Commit]:
    """Twenty commits: small edits, one that does not build, one that does not boot, and an off-by-one that stays."""
    files = {path.name: path.read_text() for path in sorted(SOURCE.iterdir())}
    commits = []
    for number in range(20):
        if number == 0:
            subject = "tinyos: import"
        elif number == 6:
            subject = "list: forget a semicolon"
            files["list.c"] = files["list.c"].replace("int sum = 0;", "int sum = 0")
        elif number == 7:
            subject = "list: remember the semicolon"
            files["list.c"] = files["list.c"].replace("int sum = 0", "int sum = 0;")
        elif number == 9:
            subject = "kernel: greet after the work"
            files["kernel.c"] = files["kernel.c"].replace('\tprint("TinyOS 0.1\\n");\n', "\tfor (;;)\n\t\t;\n")
        elif number == 10:
            subject = "kernel: greet first again"
            files["kernel.c"] = files["kernel.c"].replace("\tfor (;;)\n\t\t;\n", '\tprint("TinyOS 0.1\\n");\n')
        elif number == CULPRIT:
            subject = "list: use all of the room"  # the header alone changes for list.c: a stale object would hide it
            files["list.h"] = files["list.h"].replace("#define CAPACITY 8", "#define CAPACITY 8\n#define LIMIT (CAPACITY + 1)")
            files["list.c"] = files["list.c"].replace("list->n == CAPACITY", "list->n == LIMIT")
        else:
            subject = f"kernel: reword comment {number}"
            files["kernel.c"] += f"/* {number} */\n"
        commits.append(Commit([number - 1] if number else [], f"{subject}\n".encode(), {k: v.encode() for k, v in files.items()}))
    return commits


@pytest.fixture
def case(tmp_path: Path) -> tuple[Path, list[str]]:
    commits = make_repository(tmp_path / "tinyos", history(), {"v0.1": 2})
    (tmp_path / "case.toml").write_text(CASE)
    return tmp_path / "case.toml", commits


def kbench(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "kbench", *map(str, words)], capture_output=True, text=True, check=False)


def test_case_file_alone(case: tuple[Path, list[str]]) -> None:
    path, commits = case
    done = kbench("bisect", path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["culprit"] == commits[CULPRIT]
    log = (path.parent / "case.kbench" / "bisection.log").read_text()
    assert "crashed: list takes too much" in log
    assert "list.c" in log
    assert found["noop"] is False


def test_reasons_of_untestable_revisions(case: tuple[Path, list[str]]) -> None:
    """A revision that does not build shows the compiler's words, one that does not boot its last line."""
    path, commits = case
    log = kbench(
        "bisect", path, "--set", f"bad={commits[CULPRIT]}", "--set", f"good={commits[5]}", "--set", "boot_timeout_s=2"
    ).stdout
    assert f"first bad commit: {commits[CULPRIT]}" in log
    assert f"# git bisect skip {commits[9]}" in log
    assert "boot failed: " in log
    broken = kbench("bisect", path, "--output", path.parent / "out", "--set", f"bad={commits[6]}", "--set", f"good={commits[5]}")
    assert broken.returncode == 1
    assert re.search(r"^list\.c:\d+:\d+: error: expected", broken.stdout, re.MULTILINE)


def test_wrong_line_is_one_clear_line(case: tuple[Path, list[str]]) -> None:
    path, _ = case
    for setting, message, code in (
        ("qemu=qemu-system-vax -kernel tinyos.bin", "qemu-system-vax", 3),
        ("build=mkae", "mkae", 3),
        ("qemu=qemu-system-i386 -kernel tinyos.bin -netdev user,id=n", "-netdev", 2),
    ):
        done = kbench("bisect", path, "--set", setting)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
        assert message in done.stderr
        assert not (path.parent / "case.kbench" / "report.html").exists()
