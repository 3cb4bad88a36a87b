"""Machines, as far as they are pure: the command line as text, the console, the end of a run; and the loop they live on."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import struct
import threading
import time
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbench.errors import CaseError, MachineLacksError, StorageError
from kbench.host import require
from kbench.machines import Ending, loop
from kbench.machines.console import LINE_LIMIT, Console, Lines
from kbench.machines.kvm import probe_image
from kbench.machines.qemu import qemu_argv
from kbench.machines.watch import CRASH_LINE, DONE_QUIET_S, QUIET_S, SETTLE_S, Watch
from kbench.records import BuildSpec, KernelImage, MachineSpec, Target

OURS = "-display none -monitor none -nic none -no-reboot -S"


def argv(line: str, image: str = "/store/ab12", reproducer: str = "", accelerator: str = "tcg", cmdline: str = "") -> str:
    """What becomes of somebody's line, as one text."""
    spec = MachineSpec(tuple(line.split()), cmdline=cmdline)
    kernel = KernelImage(Path(image), None, "0" * 64, Target("own", BuildSpec((), "build/kernel.elf"), spec))
    handed_in = PurePath(reproducer) if reproducer else None
    return " ".join(qemu_argv(spec, kernel, reproducer=handed_in, accelerator=accelerator, qmp_fd=7))


def test_a_makefiles_line_is_made_ours() -> None:
    """The line of many a teaching kernel: the image is known by its file name, the rest is replaced."""
    assert argv("qemu-system-i386 -kernel kernel.elf -serial stdio -display none -no-reboot -s") == (
        "qemu-system-i386 -chardev stdio,id=kbench-console,signal=off -kernel /store/ab12 -serial chardev:kbench-console "
        f"-accel tcg -m 64 -chardev socket,id=kbench-qmp,fd=7 -mon chardev=kbench-qmp,mode=control {OURS}"
    )


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("-kernel {image} -initrd {reproducer} -smp 2", "-kernel /store/ab12 -smp 2"),  # no reproducer: no option
        ("-cdrom out/kernel.elf", "-cdrom /store/ab12"),
        ("-drive file=build/kernel.elf,format=raw -nographic", "-drive file=/store/ab12,format=raw"),
        ("kernel.elf -curses", "/store/ab12"),
        ("-no-shutdown build/kernel.elf", "/store/ab12"),
        ("-kernel {image} -monitor telnet:127.0.0.1:1,server,nowait -gdb tcp::1 -daemonize -pidfile p -S", "-kernel /store/ab12"),
        ("-kernel {image} -d int,cpu_reset -D qemu.log -action panic=pause", "-kernel /store/ab12"),
        ("--kernel {image} -net none", "-kernel /store/ab12"),
        ("-kernel {image} -append {cmdline}", "-kernel /store/ab12"),  # an empty command line needs no option
        ("-kernel {image} -machine q35,accel=tcg -cpu host,+smap", "-kernel /store/ab12 -machine q35 -cpu max,+smap"),
    ],
)
def test_options_that_stay(line: str, kept: str) -> None:
    """What is not ours to say stands, in its order."""
    options = argv(f"qemu-system-i386 {line}").split(" ", 3)[3]
    assert options.split(" -accel")[0].replace(" -serial chardev:kbench-console", "") == kept


@pytest.mark.parametrize(
    ("line", "ports"),
    [
        ("", ["-serial chardev:kbench-console"]),
        ("-serial mon:stdio -serial file:second.log", ["-serial chardev:kbench-console", "-serial null"]),
        ("-serial null -serial stdio", ["-serial null", "-serial chardev:kbench-console"]),
        ("-debugcon stdio", ["-debugcon chardev:kbench-console", "-serial null"]),
        ("-debugcon file:x -serial file:y", ["-debugcon null", "-serial chardev:kbench-console"]),
        ("-chardev stdio,id=c,mux=on,logfile=l -serial chardev:c -mon chardev=c", ["-serial chardev:kbench-console"]),
    ],
)
def test_console_is_the_port_on_stdio(line: str, ports: list[str]) -> None:
    """Else the first serial port; the other ports are there, and go nowhere."""
    assert re.findall(r"-(?:serial|debugcon) \S+", argv(f"qemu-system-i386 -kernel {{image}} {line}")) == ports


def test_console_of_a_virtio_port() -> None:
    """A character device wired to a device of the user's keeps its name and becomes our console."""
    text = argv("qemu-system-x86_64 -kernel {image} -chardev stdio,id=c -device virtio-serial -device virtconsole,chardev=c")
    assert "-chardev stdio,id=c,signal=off -device virtio-serial -device virtconsole,chardev=c" in text
    assert "-serial null" in text


@pytest.mark.parametrize(
    ("line", "chosen"),
    [
        ("", "kvm"),
        ("-enable-kvm", "kvm"),
        ("-accel tcg,thread=single", "tcg,thread=single"),
        ("-M pc,accel=tcg", "tcg"),
        ("-M pc,accel=kvm:tcg", "kvm"),
    ],
)
def test_a_users_accelerator_stands_but_for_kvm(line: str, chosen: str) -> None:
    """KVM in a line is a wish: whether it works here is known elsewhere."""
    assert f"-accel {chosen} " in argv(f"qemu-system-i386 -kernel {{image}} {line}", accelerator="kvm")
    assert argv(f"qemu-system-i386 -kernel {{image}} {line}", accelerator="tcg").count("kvm") == 0


def test_files_are_filled_in() -> None:
    """Commas of a path are doubled inside key=value lists, and nowhere else."""
    line = "qemu-system-i386 -kernel {image} -append root={reproducer} -drive file={reproducer},format=raw"
    text = argv(line, image="/a,b/k", reproducer="/r,1")
    assert "-kernel /a,b/k -append root=/r,1 -drive file=/r,,1,format=raw" in text
    assert "-snapshot" in text  # a disk stays as it is
    assert "-snapshot" not in argv("qemu-system-i386 -kernel {image}")


def test_cmdline_joins_the_lines_own() -> None:
    """The case's `cmdline` comes after what the line itself appends."""
    assert "-append quiet panic=1" in argv("qemu-system-i386 -kernel {image} -append quiet", cmdline="panic=1")
    assert "-m 512" in argv("qemu-system-i386 -kernel {image} -m 512")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("qemu-system-i386 -kernel {image} -netdev user,id=n", "-netdev"),
        ("qemu-system-i386 -kernel {image} -nic user", "-nic"),
        ("qemu-system-i386 -kernel {image} -readconfig q.cfg", "-readconfig"),
        ("qemu-system-i386 -kernel {image} -incoming defer", "-incoming"),
        ("qemu-system-i386 -kernel {image} -version", "-version"),
        ("qemu-system-i386 -kernel", "-kernel"),
        ("qemu-system-i386 -kernel other.elf", "kernel.elf"),
        ("qemu-system-i386 -kernel {image} | tee log", "'|'"),
        ("sudo qemu-system-i386 -kernel {image}", "'sudo'"),
    ],
)
def test_what_cannot_be_honoured_is_named(line: str, named: str) -> None:
    """One clear line, before anything is started."""
    with pytest.raises(CaseError, match=re.escape(named)):
        argv(line)


def test_a_reproducer_that_would_not_be_used_is_refused() -> None:
    """Else every run would be clean."""
    with pytest.raises(CaseError, match=r"\{reproducer\}"):
        argv("qemu-system-i386 -kernel {image}", reproducer="/r")


@given(st.lists(st.binary(max_size=40), max_size=30), st.integers(1, 30))
def test_console_keeps_head_and_tail(chunks: list[bytes], cap: int) -> None:
    """Whatever the pieces: short output byte for byte, long output as its two ends and the number of bytes between."""
    console = Console(None, cap=cap)
    for chunk in chunks:
        console.feed(chunk)
    whole = b"".join(chunks)
    missing = len(whole) - 2 * cap
    expected = whole if missing <= 0 else whole[:cap] + b"\n[%d bytes left out]\n" % missing + whole[-cap:]
    assert console.text == expected.decode("utf-8", "replace")


def test_console_file_is_live_and_as_printed(tmp_path: Path) -> None:
    """The head is there at once; carriage returns, binary and ANSI are not touched; the tail follows on close."""
    console = Console(tmp_path / "console", cap=8)
    console.feed(b"\x00\xff\r\n\x1b[31")
    assert (tmp_path / "console").read_bytes() == b"\x00\xff\r\n\x1b[31"
    console.feed(b"m" + b"x" * 100)
    console.close()
    assert (tmp_path / "console").read_bytes() == b"\x00\xff\r\n\x1b[31\n[93 bytes left out]\nxxxxxxxx"


def test_console_takes_no_more_memory_than_its_cap() -> None:
    """200 MB in pieces of one size, then of one byte."""
    console = Console(None, cap=1000)
    for _ in range(3000):
        console.feed(b"x" * 65536)
    for _ in range(5000):
        console.feed(b"y")
    assert console.size == 3000 * 65536 + 5000
    assert len(console._tail) <= 2 * 1000 + 65536
    assert console.text.endswith("y" * 1000)


def test_a_full_disk_is_a_storage_error() -> None:
    """Not a short console, and not a verdict."""
    console = Console(Path("/dev/full"))
    with pytest.raises(StorageError, match="No space left on device"):
        console.feed(b"x")
    console.close()


def test_a_console_that_cannot_be_opened(tmp_path: Path) -> None:
    """The folder is missing."""
    with pytest.raises(StorageError, match="No such file"):
        Console(tmp_path / "none" / "console")


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_lines_do_not_depend_on_the_pieces(text: bytes, cuts: list[int]) -> None:
    """However a stream is cut, its lines are the same."""
    whole, pieces = Lines(), Lines()
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    seen = [line for a, b in itertools.pairwise(bounds) for line in pieces.feed(text[a:b])]
    assert (seen, pieces.partial) == (list(whole.feed(text)), whole.partial)


def test_a_line_without_end_is_read_in_pieces() -> None:
    """A gigabyte without a newline is neither kept nor matched as one."""
    lines = Lines()
    seen = [piece for _ in range(100) for piece in lines.feed(b"x" * 10_000)]
    assert {len(piece) for piece in seen} == {LINE_LIMIT}
    assert sum(map(len, seen)) + len(lines.partial) == 1_000_000


SPEC = MachineSpec(("qemu",), booted="up", done="finished", test_failed="no root", boot_timeout_s=10, silence_s=20, timeout_s=100)


def ending_of(*facts: tuple[float, str], at: float, spec: MachineSpec = SPEC, debug_exit: bool = False) -> Ending | None:
    """How a run ends that showed `facts` (time; console line, <REASON of shutdown>, <panic>, <stop> or <exit N>), seen `at`."""
    watch = Watch(spec, debug_exit=debug_exit, now=0.0)
    for now, fact in facts:
        if fact == "<panic>":
            watch.event("GUEST_PANICKED", {"action": "pause"}, now)
        elif fact == "<stop>":
            watch.event("STOP", {}, now)
        elif fact.startswith("<exit"):
            watch.exited(int(fact[6:-1]), now)
        elif fact.startswith("<"):
            watch.event("SHUTDOWN", {"reason": fact[1:-1], "guest": True}, now)
        else:
            watch.output(now)
            watch.line(fact, now)
    judged = watch.look(at)
    return judged and judged[0]


def test_endings_by_what_was_seen() -> None:
    """Each way to end, and what wins when several hold."""
    up = (1.0, "up")
    assert ending_of(up, at=2) is None
    assert ending_of(up, (2, "finished"), at=2) is None  # a crash may follow
    assert ending_of(up, (2, "finished"), at=2.01 + DONE_QUIET_S) is Ending.DONE
    assert ending_of(up, (2, "finished"), (2.01, "<guest-shutdown>"), at=2.01) is Ending.DONE
    assert ending_of(up, (2, "finished"), (2.01, "<guest-reset>"), at=2.01) is Ending.DONE
    assert ending_of(up, (2, "finished"), (2.05, "BUG: KASAN: x in y"), at=3) is Ending.CRASHED
    assert ending_of(up, (2, "<guest-shutdown>"), at=2) is Ending.SHUTDOWN
    assert ending_of(up, (2, "<guest-reset>"), at=2) is Ending.RESET
    assert ending_of(up, (2, "<panic>"), (2, "<stop>"), (2, "<guest-panic>"), at=2) is Ending.PANICKED
    assert ending_of(up, (2, "Kernel panic - not syncing: x"), (2, "<panic>"), (2, "<guest-panic>"), at=2) is Ending.CRASHED
    assert ending_of(up, (2, "no root"), at=3) is Ending.TEST_FAILED
    assert ending_of(up, (2, "<stop>"), at=3) is Ending.LOST  # KVM could not go on
    assert ending_of(up, (2, "<host-signal>"), (2, "<exit 0>"), at=2) is Ending.LOST
    assert ending_of(up, (2, "<exit -9>"), at=2) is Ending.LOST
    assert ending_of(up, (2, "<exit 33>"), at=2) is Ending.LOST
    assert ending_of(up, (2, "<exit 33>"), at=2, debug_exit=True) is Ending.SHUTDOWN
    assert ending_of(up, (2, "<guest-shutdown>"), (2, "<exit 0>"), at=2) is Ending.SHUTDOWN


def test_endings_by_the_clock() -> None:
    """Each limit at its time, not before."""
    up, ticks = (1.0, "up"), [(float(t), "tick") for t in range(2, 100, 10)]
    assert ending_of(at=9.9) is None
    assert ending_of(at=10) is Ending.NOT_BOOTED
    assert ending_of((1, "BIOS"), (2, "<guest-reset>"), at=2) is Ending.NOT_BOOTED
    assert ending_of((1, "Kernel panic - not syncing: no init"), at=3) is Ending.NOT_BOOTED
    assert ending_of(up, at=20.9) is None
    assert ending_of(up, at=21) is Ending.SILENT
    assert ending_of(up, *ticks, at=99.9) is None
    assert ending_of(up, *ticks, at=100) is Ending.TIMED_OUT
    assert ending_of((1, "anything"), at=30, spec=MachineSpec(("qemu",), silence_s=20)) is Ending.SILENT  # any output is up


def test_a_crash_report_is_read_to_its_end() -> None:
    """As long as lines keep coming, up to the limit; then silence for a moment is the end."""
    report = [(2 + i / 10, f" frame{i}+0x1/0x2") for i in range(30)]
    assert ending_of((1, "up"), (2, "BUG: KASAN: x in y"), *report[:8], at=2.8) is None
    assert ending_of((1, "up"), (2, "BUG: KASAN: x in y"), *report[:8], at=2.71 + QUIET_S) is Ending.CRASHED
    assert ending_of((1, "up"), (2, "BUG: KASAN: x in y"), *report, at=2 + SETTLE_S) is Ending.CRASHED


def test_the_deadline_is_when_something_changes() -> None:
    """Looking at the deadline is enough: nothing ends between now and then."""
    watch = Watch(SPEC, now=0.0)
    assert watch.deadline == 10
    watch.line("up", 1.0)
    assert watch.deadline == 20
    watch.output(90.0)
    assert watch.deadline == 100
    assert watch.look(watch.deadline) is not None


@pytest.mark.parametrize(
    "line",
    [
        "[    1.234567][  T123] BUG: KASAN: slab-use-after-free in foo+0x12/0x34",
        "WARNING: CPU: 0 PID: 1 at mm/memory.c:12 foo+0x1/0x2",
        "general protection fault, probably for non-canonical address 0xdead: 0000 [#1]",
        "kernel BUG at mm/slab.c:3!",
        "INFO: task init:1 blocked for more than 143 seconds.",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 22s!",
        "Kernel panic - not syncing: Attempted to kill init!",
        "Oops: 0000 [#1] SMP",
        "BUG: unable to handle page fault for address: 0000",
        "Unable to handle kernel NULL pointer dereference at virtual address 0",
    ],
)
def test_crash_lines_of_linux(line: str) -> None:
    """The lines that begin a report."""
    assert re.search(CRASH_LINE, line)


@pytest.mark.parametrize("line", ["DEBUG: x", "Linux version 6.1", "INFO: task init started", "warning: x", "done: no BUG found"])
def test_lines_that_are_no_crash(line: str) -> None:
    """Near misses."""
    assert not re.search(CRASH_LINE, line)


def test_a_pattern_that_is_none_is_the_cases_fault() -> None:
    """It names the key."""
    with pytest.raises(CaseError, match="done"):
        Watch(MachineSpec(("qemu",), done="("), now=0.0)


def test_probe_image_is_multiboot() -> None:
    """Magic, flags and checksum add up to 0 (Multiboot Specification 0.6.96, section 3.1.2)."""
    assert sum(struct.unpack("<3I", probe_image()[:12])) % 2**32 == 0


def test_a_program_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Says what to install."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MachineLacksError, match=r"boot: expected qemu-system-i386 .*apt-get install qemu-system-x86"):
        require("qemu-system-i386", "boot")


def test_an_interrupted_caller_waits_for_the_clean_up() -> None:
    """Ctrl-C in the calling thread: the coroutine is cancelled, cleans up, and then the exception goes on."""
    cleaned: list[str] = []

    async def works() -> None:
        try:
            threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.05)
            cleaned.append("yes")

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        loop.run(works())
    assert cleaned == ["yes"]
    assert time.monotonic() - began < 10


def test_the_loop_serves_a_running_loop_and_a_fork() -> None:
    """From inside somebody's own loop (a notebook), and in a forked child, which gets a loop of its own."""

    async def value() -> int:
        return os.getpid()

    async def notebook() -> int:
        return loop.run(value())

    assert asyncio.run(notebook()) == os.getpid()
    child = os.fork()
    if child == 0:
        os._exit(0 if loop.run(value()) == os.getpid() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert loop.run(value()) == os.getpid()
