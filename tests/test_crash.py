"""Crash parsing: consoles the lab kernel printed, kinds as data, conformance, and text nobody should trust."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbench import crash
from kbench.crash.guilty import trace_files, trace_functions
from kbench.crash.kinds import KINDS, MARKERS
from kbench.crash.titles import MAX_TITLE, clean, type_of

CONSOLES = Path(__file__).parent / "data" / "console"
CORPUS = Path(__file__).parents[1].parent / "shared" / "corpus"

# Every console in the folder: its title and type; None: no crash.
LAB = {
    "lab-clean": None,
    "lab-lkdtm-bug": ("kernel BUG in lkdtm_bug", "BUG"),
    "lab-lkdtm-warning": ("WARNING in lkdtm_warning", "WARNING"),
    "lab-lkdtm-panic": ("kernel panic: dumptest", "DoS"),
    "lab-lkdtm-null": ("BUG: unable to handle kernel NULL pointer dereference in lkdtm_null", "NULL-POINTER-DEREFERENCE"),
    "lab-lkdtm-fault": ("BUG: unable to handle kernel paging request in lkdtm_fault", "MEMORY_SAFETY_BUG"),
    "lab-lkdtm-gpf": ("general protection fault in lkdtm_gpf", "DoS"),
    "lab-lkdtm-read-after-free": ("KASAN: use-after-free Read in lkdtm_read_after_free", "KASAN-USE-AFTER-FREE-READ"),
    "lab-lkdtm-write-after-free": ("KASAN: use-after-free Write in lkdtm_write_after_free", "KASAN-USE-AFTER-FREE-WRITE"),
    "lab-lkdtm-out-of-bounds": ("KASAN: slab-out-of-bounds Write in lkdtm_out_of_bounds", "KASAN-WRITE"),
    "lab-lkdtm-double-free": ("KASAN: invalid-free in lkdtm_double_free", "KASAN-INVALID-FREE"),
    "lab-lkdtm-hung-task": ("INFO: task hung in lkdtm_hung_task", "HANG"),
    "lab-lkdtm-soft-lockup": ("BUG: soft lockup in lkdtm_soft_lockup", "HANG"),
}

OOPS = """\
[   12.345678][  T123] BUG: kernel NULL pointer dereference, address: 00000008\r
[   12.345679][   T99] a line of another task
[   12.345680][  T123] CPU: 0 PID: 123 Comm: syz.3.17 Not tainted 6.1.0
[   12.345681][  T123] \x1b[31mEIP: memcpy+0x12/0x20\x1b[0m
[   12.345682][  T123] Call Trace:
[   12.345683][  T123]  ? guessed_by_the_unwinder+0x1/0x10
[   12.345684][  T123]  pipe_write.isra.0+0x34/0x80
[   12.345685][  T123]  __ia32_sys_write+0x10/0x20
"""


@pytest.mark.parametrize("path", sorted(CONSOLES.glob("*.txt")), ids=lambda path: path.stem)
def test_consoles_of_the_lab_kernel(path: Path) -> None:
    """Each console is named as syzkaller would name it, and its report is whole."""
    assert path.stem in LAB, "say in LAB what this console shows"
    expected = LAB[path.stem]
    found = crash.parse(path.read_bytes().decode(errors="replace"))
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert (found.title, found.type) == expected
    assert found.frame == (found.title.rpartition(" in ")[2] if " in " in found.title else "")
    assert found.panicked and not found.corrupted and not found.suppressed


def test_report_of_one_task() -> None:
    """The report holds the lines of the task that crashed, without prefixes, colours and carriage returns."""
    found = crash.parse("boot\n" + OOPS)
    assert found is not None
    assert found.title == "BUG: unable to handle kernel NULL pointer dereference in pipe_write"
    assert found.alt_titles == ("bad-access in pipe_write",) == found.alt
    assert (found.frame, found.executor) == ("pipe_write", "proc=3, id=17")
    assert found.report.startswith("BUG: kernel NULL") and "another task" not in found.report
    assert not set("\r\x1b") & set(found.report)
    assert not found.panicked and not found.corrupted


def test_a_system_call_goes_by_its_shortest_name() -> None:
    """The other names of a system call make the other titles."""
    found = crash.parse("WARNING: CPU: 0 PID: 1 at fs/read_write.c:5 f+0x1/0x2\nCall Trace:\n __do_sys_write+0x10/0x20\n")
    assert found is not None
    assert found.title == "WARNING in write"
    assert set(found.alt_titles) == {"WARNING in __do_sys_write"}


def test_the_first_crash_counts() -> None:
    """A later crash neither names the first nor lends it a stack trace."""
    text = "BUG: unable to handle page fault for address: 12345678\n" + OOPS
    found = crash.parse(text)
    assert found is not None
    assert found.title == "BUG: unable to handle kernel paging request in corrupted" and found.corrupted
    assert "NULL pointer" not in found.report


@pytest.mark.parametrize(
    "text",
    ["", "hello\n", "INFO: lockdep is turned off.\n", "DEBUG: all is well\n", "Booting the kernel.\n",
     "traps: a.out[3615] general protection fault ip:7feb sp:20 error:0\n"],
)  # fmt: skip
def test_harmless_text(text: str) -> None:
    """What only looks like a crash is none, a first boot included."""
    assert crash.parse(text) is None


def test_unexpected_reboot() -> None:
    """A kernel that boots after it has run has rebooted."""
    found = crash.parse("[   10.000000] running\nDecompressing Linux... done.\nBooting the kernel.\n")
    assert found is not None and (found.title, found.type) == ("unexpected kernel reboot", "REBOOT")


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("Kernel panic - not syncing: Fatal exception in interrupt", "kernel panic: Fatal exception"),
        ("Kernel panic - not syncing: no init at 0x12345678, CPU#3", "kernel panic: no init at ADDR, CPU"),
        ("VFS: Busy inodes after unmount of sda1", "VFS: Busy inodes after unmount (use-after-free)"),
        ("SYZFATAL: executor 0 failed 11 times", "SYZFATAL: executor NUM failed NUM times"),
        ("WARNING: some driver at 192.0.2.1 in fs/a.c:12", "WARNING: some driver at IP in fs/a.c:LINE"),
        ("BUG:", "BUG: corrupted"),
    ],
)
def test_titles_of_lines_without_a_trace(line: str, title: str) -> None:
    """The line alone names the crash; numbers, addresses and places are gone."""
    found = crash.parse(f"[    1.000000] {line}\n")
    assert found is not None and found.title == title


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.title)
def test_a_kind_fills_its_own_title(kind: Any) -> None:
    """Every placeholder of a title is a group of the kind's patterns, or the function."""
    groups = set(kind.pattern.groupindex) | (set(kind.later.groupindex) if kind.later else set()) | {"function"}
    for template in (kind.title, *kind.alt):
        template.format_map(dict.fromkeys(groups, "x"))
    assert ("{function}" in kind.title) == bool(kind.sources)


@given(st.text())
def test_cleaning_is_done_once(text: str) -> None:
    """A clean title is plain, short and one line."""
    title = clean(text)
    assert len(title) <= MAX_TITLE and title.isascii() and title == title.strip() and "\n" not in title
    assert type_of(title) == type_of(clean(title)) or title != clean(title)


LINES = st.one_of(
    st.sampled_from(OOPS.split("\n")),
    st.sampled_from(MARKERS),
    st.sampled_from(["Call Trace:", " a+0x1/0x2", "Read of size 4", "is trying to acquire lock", "at: b+0x1/0x2", "backtrace:"]),
    st.text(max_size=40),
)


@given(st.lists(LINES, max_size=30).map("\n".join))
def test_no_text_breaks_the_parser(text: str) -> None:
    """Any text gives a report or none, and the report stands for itself."""
    found = crash.parse(text)
    if found is not None:
        assert found.title
        assert "\r" not in found.report
    crash.guilty_file(text)


@given(st.binary(max_size=300))
def test_binary_breaks_nothing(content: bytes) -> None:
    """Binary bytes, read as the consoles are."""
    crash.parse(content.decode(errors="replace"))
    crash.parse("BUG: KASAN: " + content.decode(errors="surrogateescape"))


@pytest.mark.parametrize(
    "text",
    ["a" * 10**7, "BUG: " * 2 * 10**6, "INFO: lockdep is turned off.\n" * 10**5, "Booting the kernel.\n" * 10**5,
     "possible circular locking dependency detected is trying to acquire lock at " * 10**5, " f+0x1/0x2\n" * 10**6,
     "BUG: KASAN: x in f+0x1/0x2\n" + "is trying to acquire lock" * 10**5, "WARNING: " + "/a.c:1" * 10**6,
     "[" + " " * 10**7, "\x1b[" * 10**6, "WARNING: possible circular locking\n" + "is trying to acquire lock at: \n" * 10**5],
    ids=lambda text: text[:30].encode().hex()[:16],
)  # fmt: skip
@pytest.mark.timeout(300)
def test_ten_megabytes_come_to_an_end(text: str) -> None:
    """Whatever the text resembles: what went over it more than once for each line would take hours."""
    crash.parse(text)
    crash.guilty_file(text)


def test_what_a_trace_names() -> None:
    report = (
        "BUG: KASAN: use-after-free in inode_get+0x19/0x27 fs/ramfs.c:11\n"
        "RIP: 0010:pipe_lock fs/pipe.c:69 [inline]\nRIP: 0010:pipe_write.isra.0+0x1c/0x2b ./fs/pipe.c:468\n"
        " kzalloc+0x14/0x33 include/linux/slab.h:3\n start+0x1/0x2\n"
        "WARNING: CPU: 0 PID: 1 at fs/pipe.c:9 pipe_poll+0x1/0x2 fs/pipe.c:9\n irq event stamp: by f+0x1/0x2 fs/file.c:1\n"
    )
    assert trace_functions(report) == {"inode_get", "pipe_lock", "pipe_write", "pipe_poll"}
    assert trace_files(report) == {"fs/ramfs.c", "fs/pipe.c"}


def test_guilty_file() -> None:
    """The first file that is not generic; a deeper one below the same folder is preferred; "" when none is named."""
    report = " memcpy lib/string.c:3 [inline]\n usb_probe drivers/usb/core.c:5\n hso_probe drivers/usb/net/hso.c:7\n"
    assert crash.guilty_file(report) == "drivers/usb/net/hso.c"
    assert crash.guilty_file(" f lib/string.c:3\n g ./include/linux/mm.h:5\n") == "lib/string.c"
    assert crash.guilty_file("nothing") == ""


def corpus(name: str) -> Iterator[Any]:
    """Cases of the conformance data."""
    with gzip.open(CORPUS / name, "rt") as lines:
        yield from map(json.loads, lines)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the conformance data is not here")
def test_conformance() -> None:
    """Titles, types and clean logs of syzkaller's own tests; the floors are what was reached, less a little."""
    cases = [case for case in corpus("linux_reports_dev.jsonl.gz") if case["log"] is not None]
    found = [(case, crash.parse(case["log"])) for case in cases]
    crashes = [(case, report) for case, report in found if case["title"]]
    assert all(report is None for case, report in found if not case["title"])
    read = [(case, report) for case, report in crashes if report]
    assert sum(report.title == case["title"] for case, report in read) > 0.98 * len(crashes)
    assert sum(report.type == case["type"] for case, report in read) > 0.99 * len(crashes)
    assert sum(bool(report.corrupted) == case["corrupted"] for case, report in read) > 0.98 * len(crashes)
    assert sum(sorted(report.alt) == case["alt"] for case, report in read) > 0.98 * len(crashes)
    assert all(report.report == case["report"] for case, report in read if case["report"])
    for case, report in read:
        again, after = crash.parse(case["log"][report.start :]), crash.parse(case["log"][report.end :])
        assert again is not None and (again.title, again.start) == (report.title, 0)
        assert after is None or after.title != report.title or len(crash.parse_all(case["log"])) > 1
    guilty = list(corpus("linux_guilty_dev.jsonl.gz"))
    assert sum(crash.guilty_file(case["log"]) == case["file"] for case in guilty) > 0.95 * len(guilty)
