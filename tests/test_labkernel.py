"""The lab kernel is built from scratch and booted: it says what it should, crashes as Linux does, and stands abuse."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from kbench.errors import ReproducerError
from kbench.reproducer import check
from kbench.targets import LAB
from tests.test_reproducer import BAD, GOOD

pytestmark = pytest.mark.qemu

SOURCE = Path(__file__).parents[1] / "data" / "labkernel"
MAX_LINES = 1500


@dataclass(frozen=True)
class Machine:
    """One machine that has ended."""

    console: str
    exit_code: int

    def has(self, pattern: str | None) -> bool:
        return re.search(pattern or "", self.console, re.MULTILINE) is not None


def build(source: Path, build_dir: Path | None, jobs: int = 2) -> list[str]:
    """Run make; returns the source files it compiled."""
    argv = ["make", "-C", str(source), f"-j{jobs}", *([f"O={build_dir}"] if build_dir else [])]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return re.findall(r"^  CC +(\S+)", done.stdout, re.MULTILINE)


def boot(image: Path, reproducer: Path | None = None, *, typed: bytes = b"", cmdline: str = "", machine: str = "") -> Machine:
    """Boot with the argv of LAB, the console on stdin and stdout."""
    argv = list(LAB.machine.argv)
    if reproducer is None:
        at = argv.index("-initrd")
        del argv[at : at + 2]
    if machine:
        argv[argv.index("-M") + 1] = machine
    argv = [word.format(image=image, reproducer=reproducer, cmdline=cmdline) for word in argv]
    argv += ["-nodefaults", "-nic", "none", "-display", "none", "-serial", "stdio", "-no-reboot"]
    done = subprocess.run(argv, input=typed, capture_output=True, timeout=60, check=False)
    return Machine((done.stdout + done.stderr).decode(errors="replace").replace("\r\n", "\n"), done.returncode)


def loaded_segments(image: Path) -> list[tuple[int, bytes]]:
    with image.open("rb") as file:
        return [(s["p_paddr"], s.data()) for s in ELFFile(file).iter_segments() if s["p_type"] == "PT_LOAD"]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernel as defconfig has it."""
    build_dir = tmp_path_factory.mktemp("lab")
    build(SOURCE, build_dir)
    return build_dir / LAB.build.image


@pytest.fixture
def run(image: Path, tmp_path: Path) -> Callable[[str], Machine]:
    """Boots the kernel with a reproducer."""

    def run_text(text: str) -> Machine:
        path = tmp_path / "reproducer"
        path.write_text(text)
        return boot(image, path)

    return run_text


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the source, to be changed."""
    return Path(shutil.copytree(SOURCE, tmp_path / "tree"))


# --- the console protocol


def test_a_run_ends_well(run: Callable[[str], Machine]) -> None:
    """Booted, tested, done, powered off: in this order, and nothing else that looks like an event."""
    machine = run('fd = open("/tmp/a", 1)\nprint("descriptor", fd)\n')
    events = re.findall(r"^(init: .*|repro: .*|descriptor.*)$", machine.console, re.MULTILINE)
    assert events == ["init: started", "init: basic tests passed", "repro: started", "descriptor 1", "repro: done"]
    assert machine.console.rstrip().endswith("reboot: Power down")
    assert machine.exit_code == 0
    assert machine.has(LAB.machine.booted)
    assert machine.has(LAB.machine.done)
    assert not machine.has(LAB.machine.test_failed)


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_other_machines_boot_it(image: Path, tmp_path: Path, machine: str) -> None:
    """PVH needs no microvm, and power off works there, too."""
    (tmp_path / "reproducer").write_text("ps()\n")
    assert boot(image, tmp_path / "reproducer", machine=machine).has("Power down")


def test_shell_answers(image: Path) -> None:
    """Without a reproducer there is a prompt; it takes calls, bare names, and mistakes."""
    typed = b'help\rfd = open("/tmp/a", 1)\rwrite(fd, "hello", 5)\rls\rread(99, buf, 1)\rfoo(\rnope()\rpoweroff\r'
    console = boot(image, typed=typed).console
    for answer in ("= 1", "= 5", "      5 /tmp/a", "= -9", "sh: line 1: expected an argument", "sh: line 1: no nope"):
        assert answer in console
    assert re.search(LAB.machine.prompt or "", console, re.MULTILINE)


def test_guest_agrees_about_the_language(image: Path) -> None:
    """What the host refuses the guest refuses, and runs what the host lets pass; texts of one line, typed into the shell."""
    texts = [text for text in (*GOOD.values(), *BAD) if text.isascii() and text.isprintable() and 0 < len(text) < 200]
    console = boot(image, typed=b"".join(text.encode() + b"\r" for text in [*texts, "poweroff"])).console
    answers = console.split("lab# ")[1:-1]
    assert len(answers) == len(texts)
    for text, answer in zip(texts, answers, strict=True):
        try:
            check(text if "(" in text else f"{text}()")
            refused = False
        except ReproducerError as error:
            refused = "one of the calls" not in str(error) and "a statement" not in str(error)
        assert ("expected" in answer) == refused, f"{text!r}: {answer!r}"


# --- crashes

CRASHES = {
    "BUG": (r"kernel BUG at kernel/lkdtm.c:\d+!", "invalid opcode: 0000"),
    "WARNING": (r"WARNING: CPU: 0 PID: \d+ at kernel/lkdtm.c:\d+ lkdtm_warning\+0x", r"not syncing: panic_on_warn set"),
    "PANIC": ("Kernel panic - not syncing: dumptest",),
    "NULL": ("BUG: kernel NULL pointer dereference, address: 00000008", r"EIP: lkdtm_null\+0x"),
    "FAULT": ("BUG: unable to handle page fault for address: 6b6b6b6b", r"EIP: lkdtm_fault\+0x"),
    "GPF": ("general protection fault: 0000", r"EIP: lkdtm_gpf\+0x"),
    "READ_AFTER_FREE": (r"BUG: KASAN: use-after-free in lkdtm_read_after_free\+0x", "Read of size 4", "Freed by task"),
    "OUT_OF_BOUNDS": (r"BUG: KASAN: slab-out-of-bounds in lkdtm_out_of_bounds\+0x", "Write of size 1", "Allocated by task"),
    "DOUBLE_FREE": (r"BUG: KASAN: double-free in lkdtm_double_free\+0x", "Freed by task"),
    "HUNG_TASK": (r"INFO: task repro:\d+ blocked for more than 1 seconds", r"lkdtm_hung_task\+0x"),
    "SOFT_LOCKUP": (r"watchdog: BUG: soft lockup - CPU#0 stuck for 1s! \[repro:\d+\]", r"EIP: lkdtm_soft_lockup\+0x"),
}


@pytest.mark.parametrize("kind", CRASHES)
def test_crashes_read_as_in_linux(run: Callable[[str], Machine], kind: str) -> None:
    """The headline, the function, the trace down to the system call, and the panic that ends it."""
    machine = run(f'thread {{\n  lkdtm("{kind}")\n}}\nwait()\n')
    for pattern in (*CRASHES[kind], r"Call Trace:\n.*(\n.*)* entry_INT80_32\+0x", "Kernel panic - not syncing: "):
        assert machine.has(pattern), machine.console
    assert not machine.has(LAB.machine.done)


def test_reset_is_not_power_off(run: Callable[[str], Machine]) -> None:
    """With -no-reboot both end QEMU; on the console they differ, and over QMP."""
    assert run("reboot()\n").console.rstrip().endswith("reboot: Restarting system")


# --- abuse

ABUSE = {
    "64 threads": ("repeat 70 {\n  thread {\n    for 20 ticks {\n      yield()\n    }\n  }\n}\n", "no thread"),
    "64 KiB": ("# " + "x" * 65524 + "\nps()\n", " R init"),
    "8192 statements": ("ticks()\n" * 7000, ""),
    "descriptors": (
        'repeat 40 {\n  fd = open("/tmp/a", 1)\n}\nprint(fd)\nr, w = pipe()\nprint(w)\nfd = dup(5)\nprint(fd)\n',
        "^ -24\n -24\n -24$",
    ),
    "memory": (
        "".join(f'f = open("/{i}", 1)\nx = write(f, buf, 1)\nclose(f)\n' for i in range(1300)) + "print(x)\n",
        "^ -(9|12)$",
    ),
    "pointers": (
        "a = open(0, 1)\nprint(a)\na = write(0, 0x403fffff, 2)\nprint(a)\na = read(0, -1, 9)\nprint(a)\n",
        "^ -14\n -14\n -14$",
    ),
    "a thread that crashes": ("clone(1, 2)\n", r"traps: repro\[\d+\] page fault ip:1"),
    "a thread that never ends": ("r, w = pipe()\nthread {\n  read(r, buf, 1)\n}\n", ""),
    "an unknown call": ("ps()\nnope(1)\n", "^repro: line 2: no nope$"),
    "a lock under 62 threads": (
        "repeat 31 {\n  thread {\n    for 1200 ticks {\n      getpid()\n    }\n  }\n  thread {\n    for 1200 ticks {\n"
        '      fd = open("/tmp/a", 3)\n      write(fd, "hello", 5)\n      close(fd)\n    }\n  }\n}\n',
        "",
    ),
}


@pytest.mark.parametrize("name", ABUSE)
def test_abuse_is_survived(run: Callable[[str], Machine], name: str) -> None:
    """No crash, no hang: the run is done."""
    text, pattern = ABUSE[name]
    machine = run(text)
    assert machine.has(LAB.machine.done), machine.console[-2000:]
    assert machine.has(pattern), machine.console[-2000:]


# --- building


def test_build_is_reproducible(image: Path, tree: Path, tmp_path: Path) -> None:
    """Another folder, another time, in the tree and beside it: the machine loads the same bytes."""
    build(tree, None)
    build(tree, tmp_path / "elsewhere", jobs=8)
    assert loaded_segments(tree / LAB.build.image) == loaded_segments(image)
    assert loaded_segments(tmp_path / "elsewhere" / LAB.build.image) == loaded_segments(image)


@contextmanager
def changed(path: Path, old: str, new: str) -> Iterator[None]:
    """A file with an edit in it, for a while."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    yield
    path.write_text(text)


def test_builds_what_a_change_needs(tree: Path, tmp_path: Path) -> None:
    """A file alone, what includes a header, what an option or a flag means, and nothing twice."""
    out = tmp_path / "out"
    everything = build(tree, out)
    assert build(tree, out) == []
    with changed(tree / "fs" / "pipe.c", "PIPE_SIZE 2048", "PIPE_SIZE 1024"):
        assert build(tree, out) == ["fs/pipe.c"]
    with changed(tree / "include" / "fs.h", "NR_OPEN 32", "NR_OPEN 16"):
        rebuilt = build(tree, out)
        assert {"fs/file.c", "fs/ramfs.c", "arch/x86/console.c"} <= set(rebuilt) < set(everything)
    (tree / "include" / "extra.h").write_text("#define EXTRA 1\n")
    with changed(tree / "fs" / "pipe.c", '#include "fs.h"', '#include "fs.h"\n#include "extra.h"'):
        assert "fs/pipe.c" in build(tree, out)
    (tree / "include" / "extra.h").unlink()
    assert "fs/pipe.c" in build(tree, out)
    with changed(out / ".config", "CONFIG_PIPE=y", "CONFIG_PIPE=n"):
        assert "fs/pipe.c" not in build(tree, out)
        (tmp_path / "reproducer").write_text("pipe()\n")
        machine = boot(out / LAB.build.image, tmp_path / "reproducer")
        assert machine.has("^init: basic tests passed$"), machine.console
        assert machine.has("^repro: line 1: no pipe$")
    with changed(tree / "Makefile", "-O1", "-O1 -DTRIED"):
        assert sorted(build(tree, out)) == sorted(everything)


OPTIONS = re.findall(r"^(CONFIG_\w+)=y", (SOURCE / "defconfig").read_text(), re.MULTILINE)


@pytest.mark.parametrize("off", [OPTIONS, OPTIONS[::2], OPTIONS[1::2]], ids=["all", "even", "odd"])
def test_options_can_be_off(tree: Path, tmp_path: Path, off: list[str]) -> None:
    """A kernel without them builds, passes its tests and runs a reproducer."""
    out = tmp_path / "out"
    out.mkdir()
    lines = (tree / "defconfig").read_text().splitlines()
    (out / ".config").write_text("".join(f"{line.partition('=')[0]}=n\n" if line[:-2] in off else f"{line}\n" for line in lines))
    build(tree, out)
    (tmp_path / "reproducer").write_text('fd = open("/tmp/a", 1)\nwrite(fd, "hello", 5)\n')
    machine = boot(out / LAB.build.image, tmp_path / "reproducer")
    assert machine.has("^init: basic tests passed$"), machine.console
    assert machine.has(LAB.machine.done), machine.console


def test_use_after_free_shows_without_kasan(tree: Path, tmp_path: Path) -> None:
    """A second free is found all the same, and poison is what a late reader sees."""
    out = tmp_path / "out"
    out.mkdir()
    (out / ".config").write_text((tree / "defconfig").read_text().replace("CONFIG_KASAN=y", "CONFIG_KASAN=n"))
    build(tree, out)
    (tmp_path / "reproducer").write_text('lkdtm("DOUBLE_FREE")\n')
    assert boot(out / LAB.build.image, tmp_path / "reproducer").has(r"kernel BUG at mm/heap.c:\d+!")


def test_warning_goes_on_when_told_so(tree: Path, tmp_path: Path) -> None:
    """Without CONFIG_PANIC_ON_WARN the kernel warns and runs on."""
    out = tmp_path / "out"
    out.mkdir()
    (out / ".config").write_text((tree / "defconfig").read_text().replace("PANIC_ON_WARN=y", "PANIC_ON_WARN=n"))
    build(tree, out)
    (tmp_path / "reproducer").write_text('lkdtm("WARNING")\n')
    machine = boot(out / LAB.build.image, tmp_path / "reproducer")
    assert machine.has(r"WARNING: CPU: 0 PID: 1 at kernel/lkdtm.c:\d+ ")
    assert machine.has(LAB.machine.done)


def test_failed_basic_test_is_said(tree: Path, tmp_path: Path) -> None:
    """And why, in the group that names it."""
    with changed(tree / "fs" / "file.c", "NR_OPEN) return -EBADF;", "NR_OPEN) return 0;"):
        build(tree, tmp_path / "out")
    (tmp_path / "reproducer").write_text("ps()\n")
    machine = boot(tmp_path / "out" / LAB.build.image, tmp_path / "reproducer")
    failed = re.search(LAB.machine.test_failed or "", machine.console, re.MULTILINE)
    assert failed, machine.console
    assert "close" in failed["title"]


def test_kernel_stays_small() -> None:
    """Lines of C: all sources and headers, the user program's too, without blank lines and lines of comment alone."""
    text = "\n".join(path.read_text() for path in sorted(SOURCE.rglob("*.[ch]")))
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= MAX_LINES
