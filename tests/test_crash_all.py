"""Crash parsing beyond the first crash: regions, every crash of a log, doubts, architectures, and whether two are one bug."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbench import crash
from kbench.crash.blame import blame_stall
from kbench.crash.frames import frame_of, pointer_of, trace
from kbench.crash.headlines import ANCHORS
from kbench.crash.kinds import MARKERS
from kbench.crash.mangled import demangled

CONSOLES = Path(__file__).parent / "data" / "console"

# What User-Mode Linux 6.1 prints; 6.12 differs in the lines below the panic only.
UML = """\
[    0.130000] kbench: reproducer started
[    0.160000] Pid: 18, comm: reproducer Not tainted 6.1.195
[    0.160000] RIP: 0033:aio_ring_mremap+0x11/0x52
[    0.160000] RSP: 0000000070a4bd08  EFLAGS: 00010246
[    0.160000] RAX: 00000000709fc940 RBX: 00000000709fc940 RCX: 0000000000000000
[    0.160000] RDX: 0000000000000000 RSI: 0000000000000000 RDI: 00000000709fbd28
[    0.160000] RBP: 0000000070a4bda0 R08: 000000007014c640 R09: 0000000000000000
[    0.160000] R10: 0000000000000000 R11: 00000000000000cc R12: 0000000040000000
[    0.160000] R13: 0000000000001000 R14: 00000000709fbd28 R15: 0000000040001000
[    0.160000] Kernel panic - not syncing: Kernel mode fault at addr 0x10, ip 0x600f5cd2
[    0.160000] CPU: 0 PID: 18 Comm: reproducer Not tainted 6.1.195 #0
[    0.160000] Call Trace:
[    0.160000]  [<6009f9fa>] ? move_vma.constprop.0+0x255/0x466
[    0.160000]  [<600a02ac>] __do_sys_mremap+0x6a1/0x71e
[    0.160000]  [<600a0339>] sys_mremap+0x10/0x12
"""


def warning(function: str, printer: str = "", at: float = 1.0) -> str:
    """A warning as a kernel prints it."""
    lines = (f"WARNING: CPU: 0 PID: 7 at fs/a.c:5 {function}+0x1/0x2", f"RIP: 0010:{function}+0x1/0x2", "Call Trace:",
             f" {function}+0x1/0x2", " do_that+0x3/0x4", " vfs_write+0x5/0x6")  # fmt: skip
    return "".join(f"[{at:12.6f}]{printer and f'[{printer:>6}]'} {line}\n" for line in lines)


def test_user_mode_linux_names_the_function() -> None:
    """The registers stand above the panic; the report begins with them, and begins there when it is parsed again."""
    found = crash.parse(UML)
    assert found is not None and not found.corrupted
    assert found.title == "kernel panic: Kernel mode fault in aio_ring_mremap" and found.frame == "aio_ring_mremap"
    assert found.report.startswith("RIP: ")
    again = crash.parse(UML[found.start :])
    assert again is not None and (again.title, again.start) == (found.title, 0)
    unknown = crash.parse(UML.replace("aio_ring_mremap+0x11/0x52", "0x600f5cd2"))
    assert unknown is not None and unknown.title == "kernel panic: Kernel mode fault at addr 0x10, ip ADDR"


@pytest.mark.parametrize("path", sorted(CONSOLES.glob("lab-lkdtm-*.txt")), ids=lambda path: path.stem)
def test_regions(path: Path) -> None:
    """A report holds what it was read from: again from its start it is the same, and from its end it is gone."""
    console = path.read_bytes().decode(errors="replace")
    found = crash.parse(console)
    assert found is not None and 0 <= found.start < found.end <= len(console)
    again, alone = crash.parse(console[found.start :]), crash.parse(console[found.start : found.end])
    assert again is not None and alone is not None
    assert (again.title, again.start, again.end) == (found.title, 0, found.end - found.start)
    assert alone.title == found.title
    after = crash.parse(console[found.end :])
    assert after is None or after.title != found.title


def test_every_crash_of_a_log() -> None:
    """Crashes one after the other and crashes of several tasks at once; what follows from a crash is none of its own."""
    first, second = warning("one_fn", "T7"), warning("two_fn", "T8")
    both = ["WARNING in one_fn", "WARNING in two_fn"]
    assert [one.title for one in crash.parse_all(first + "[    2.000000] quiet\n" + second)] == both
    woven = crash.parse_all("".join(map("".join, zip(first.splitlines(True), second.splitlines(True), strict=True))))
    assert [one.title for one in woven] == both and not any(one.corrupted for one in woven)
    panic = "[    1.000001][    T7] Kernel panic - not syncing: panic_on_warn set ...\n"
    end = "[    1.000002][    T7] Rebooting in 1 seconds..\n"
    assert [one.title for one in crash.parse_all(first + panic + end)] == both[:1]
    assert crash.parse_all("") == []


def test_second_boot_begins_where_the_kernel_last_spoke() -> None:
    """From its start a reboot is seen again."""
    console = "[    1.000000] up\n[    9.000000] the last line\nfirmware\nBooting the kernel.\n[    0.000000] up again\n"
    found = crash.parse(console)
    assert found is not None and console[found.start :].startswith("[    9.0")
    again = crash.parse(console[found.start :])
    assert again is not None and (again.title, again.start) == (found.title, 0)


@pytest.mark.parametrize(
    ("console", "reason"),
    [
        (warning("one_fn"), ""),
        ("[    1.000000] WARNING: CPU: 0 PID: 7 at fs/a.c:5 one_fn+0x1/0x2\n", "no stack trace"),
        ("BUG: KASAN: wild-memory-access in \n", "what the kernel says about it is missing"),
        (warning("one_fn") + "serialport: VM disconnected.\n", "the machine was lost"),
        ("[    1.000000] WARNING: a driver [    1.000001] says\n", "its first line is mixed up with another"),
    ],
)
def test_doubts_have_reasons(console: str, reason: str) -> None:
    """What cannot be trusted says why."""
    found = crash.parse(console)
    assert found is not None and found.corrupted == reason


@pytest.mark.parametrize(
    ("line", "function"),
    [
        (" f+0x1/0x2", "f"),
        (" [<ffffffff81234567>] f.isra.0+0x1/0x2", "f"),
        ("[<c0123456>] (f) from [<c0234567>] (g+0x1/0x2)", "f"),
        (" f from g+0x1/0x2", "f"),
        ("[c000000001bb3a10] [c0000000005f8868] f+0x188/0x2a0", "f"),
        (" <IRQ>  [<ffffffff8170cafa>] f+0x1/0x2", "f"),
        ("[<ffffffff80014264>] f+0x44c/0xbc0", "f"),
        (" ? f+0x1/0x2", None),
        ("[c000000001bb3530] [c000000001bb35a0] f+0x308828/0x345288 (unreliable)", None),
        (" f fs/a.c:12 [inline]", None),
    ],
)
def test_frames_of_architectures_and_eras(line: str, function: str | None) -> None:
    """One line of a trace; guesses and inlined functions are none."""
    assert frame_of(line) == function


@pytest.mark.parametrize(
    ("lines", "function"),
    [
        (["RIP: 0010:f+0x1/0x2"], "f"),
        (["RIP: 0010:[<ffffffff84352ab6>]  [<ffffffff84352ab6>] f+0x1/0x2"], "f"),
        (["EIP: f+0x1/0x2"], "f"),
        (["IP: [<ffffffff810a376f>] f+0x1/0x2"], "f"),
        (["PC is at f+0x1/0x2"], "f"),
        (["pc : f+0x1/0x2"], "f"),
        (["NIP [c00000000022d79c] f+0x1ac/0x5f0"], "f"),
        (["epc : f+0x1/0x2"], "f"),
        (["PC is at 0x0", "LR is at g+0x1/0x2"], "g"),
    ],
)
def test_pointers_of_architectures(lines: list[str], function: str) -> None:
    """The faulting instruction; the caller of a null pointer."""
    assert pointer_of(lines) == [function]


def test_a_function_alone_is_no_trace() -> None:
    """Without a heading two frames in a row make a trace."""
    assert list(trace(["WARNING: x", " f+0x1/0x2", "", " g+0x1/0x2"])) == []
    assert list(trace(["WARNING: x", " f+0x1/0x2", " g+0x1/0x2", "end"])) == ["f", "g"]


def test_stalls_are_blamed_on_what_a_dispatcher_called() -> None:
    """Above the timer's interrupt; without one a stall says nothing."""
    stack = ["tick_fn", "apic_timer_interrupt", "loop_body", "driver_ioctl", "vfs_ioctl", "do_syscall_64"]
    assert blame_stall([stack], timer=True) == "driver_ioctl"
    assert blame_stall([stack[2:]], timer=True) == ""
    assert blame_stall([stack[2:]], timer=False) == "driver_ioctl"


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("_Z8fakeNameiii", "fakeName"),
        ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
        ("_RNvMs3_NtCshgDM7dBCdno_11rust_binder7processNtB5_7Process10update_ref", "<rust_binder::process::Process>::update_ref"),
        ("_RNvNtCs9jEwPDbx20M_4core9panicking9panic_fmt", "core::panicking::panic_fmt"),
        *((text, text) for text in ("_R", "_Z", "_RB_", "_RNvB_1a", "_Z9", "_ZN3", "plain", "_R" + "Nv" * 200)),
    ],
)
def test_mangled_names(symbol: str, name: str) -> None:
    """C++ and Rust as people write them; what is not understood stays."""
    assert demangled(symbol) == name


def test_every_marker_is_searched_for() -> None:
    """The console is searched for fewer words than there are markers; each marker has one of them."""
    assert [marker for marker in MARKERS if not any(anchor in marker for anchor in ANCHORS)] == []


def test_same_bug() -> None:
    """A title in common settles it; else the function, then the kind, then the traces count."""
    one, other = crash.parse(warning("one_fn")), crash.parse(warning("two_fn"))
    access = crash.CrashReport("KASAN: use-after-free Read in f", ("bad-access in f",))
    assert one and other
    assert crash.same_bug(one, one) > 0.9
    assert crash.same_bug(access, crash.CrashReport("general protection fault in f", ("bad-access in f",))) > 0.9
    elsewhere = crash.CrashReport("memory leak in h", report="memory leak\nCall Trace:\n h+0x1/0x2\n i+0x1/0x2\n")
    assert crash.same_bug(one, elsewhere) < crash.same_bug(one, other) < crash.same_bug(one, one)
    assert crash.same_bug(one, other) == crash.same_bug(other, one)
    lost = crash.CrashReport("WARNING in corrupted")
    assert crash.same_bug(lost, lost) < 0.9  # of many bugs


def test_many_tasks_at_once() -> None:
    """Crashes of as many tasks as there are crashes are found, each with its own lines."""
    console = "".join(warning(f"f{i}", f"T{i}") for i in range(200))
    assert len({one.title for one in crash.parse_all(console)}) == 200
