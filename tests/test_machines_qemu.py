"""Machines, real ones: every way a run can end, and that nothing of a machine is left, whatever happens to its owner."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kbench.errors import CaseError, InputError, LostMachineError, StorageError
from kbench.machines import Ending, Machine, MachineRun, boot, kvm_runs_guests, run, run_machine
from kbench.records import BuildSpec, KernelImage, MachineSpec, Target

pytestmark = pytest.mark.qemu

SOURCE = Path(__file__).parent / "data" / "tinyguest" / "tiny.c"
CFLAGS = ["-m32", "-ffreestanding", "-fno-pic", "-fno-stack-protector", "-O1", "-nostdlib", "-static"]
LDFLAGS = ["-Wl,-Ttext=0x100000,-N,--build-id=none"]
LINE = (
    "qemu-system-i386 -kernel tiny.elf -append {cmdline} -initrd {reproducer} -serial stdio -no-reboot "
    "-device pvpanic -device isa-debug-exit,iobase=0xf4,iosize=4"
)
SPEC = MachineSpec(
    tuple(LINE.split()), booted="^up$", done="^finished", test_failed="^no root", prompt="^tiny# $",
    boot_timeout_s=30, silence_s=20, timeout_s=60, memory_mib=16, kvm=False,
)  # fmt: skip


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> KernelImage:
    """The guest that obeys its command line."""
    image = tmp_path_factory.mktemp("tinyguest") / "tiny.elf"
    subprocess.run(["gcc", *CFLAGS, *LDFLAGS, str(SOURCE), "-o", str(image)], check=True)
    return KernelImage(image, None, "0" * 64, Target("tiny", BuildSpec((), "tiny.elf"), SPEC))


@pytest.fixture(autouse=True)
def nothing_left(tiny: KernelImage) -> Iterator[None]:
    """No QEMU of ours and no file descriptor is left by any test of this module."""
    run(asyncio.sleep(0))  # the loop's own descriptors are there to stay
    before = set(Path("/proc/self/fd").iterdir())
    yield
    gc.collect()
    wait_until(lambda: not machines(tiny))
    wait_until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= len(before))


def machines(tiny: KernelImage) -> list[int]:
    """Process ids of the machines that run this image, whoever started them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(tiny.path).encode() in entry.read_bytes() and b"qemu" in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def wait_until(holds: Any, limit_s: float = 10.0) -> None:
    """Return once `holds()`; fail when it does not in time."""
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def when_running(tiny: KernelImage, act: Callable[[], object], after_s: float = 0.0) -> None:
    """Do something from another thread once the machine is there."""

    def wait_and_act() -> None:
        wait_until(lambda: machines(tiny))
        time.sleep(after_s)
        act()

    threading.Thread(target=wait_and_act).start()


def once(tiny: KernelImage, words: str, **other: Any) -> MachineRun:
    """Run the guest with these words on its command line; `other` are fields of MachineSpec or arguments of run_machine."""
    arguments = {key: other.pop(key) for key in ("console", "reproducer", "console_cap") if key in other}
    return run(run_machine(replace(SPEC, cmdline=words, **other), tiny, **arguments))


@pytest.mark.parametrize(
    ("words", "ending", "detail"),
    [
        ("say:up say:finished poweroff", Ending.DONE, "finished"),
        ("say:up say:finished hang", Ending.DONE, "finished"),
        ("say:up say:finished reset", Ending.DONE, "finished"),
        ("say:up poweroff", Ending.SHUTDOWN, "powered off"),
        ("say:up exit:0", Ending.SHUTDOWN, "exit code 1"),
        ("say:up exit:16", Ending.SHUTDOWN, "exit code 33"),
        ("say:up reset", Ending.RESET, "triple fault"),
        ("say:up panic", Ending.PANICKED, "panicked"),
        ("say:up say:no_root_device hang", Ending.TEST_FAILED, "no root device"),
        ("say:up say:BUG:_KASAN:_uaf_in_f wait:50 say:_frame hang", Ending.CRASHED, "BUG: KASAN: uaf in f"),
        ("say:up say:Kernel_panic_-_not_syncing:_x panic", Ending.CRASHED, "Kernel panic - not syncing: x"),
        ("say:up say:finished say:BUG:_late hang", Ending.CRASHED, "BUG: late"),
        ("say:BIOS poweroff", Ending.NOT_BOOTED, "not up yet: guest powered off"),
        ("reset", Ending.NOT_BOOTED, "not up yet: guest reset"),
        ("say:Kernel_panic_-_not_syncing:_no_init hang", Ending.NOT_BOOTED, "no init"),
    ],
)
def test_endings(tiny: KernelImage, words: str, ending: Ending, detail: str) -> None:
    """What the guest did is told apart, and the console has all of it."""
    shown = once(tiny, words)
    assert (shown.ending, shown.booted) == (ending, "say:up" in words)
    assert detail in shown.detail
    assert shown.text.splitlines() == [word[4:].replace("_", " ") for word in words.split() if word.startswith("say:")]
    assert 0 <= shown.boot_s <= shown.elapsed_s < 20


def test_endings_by_the_clock(tiny: KernelImage) -> None:
    """Silence, the limit of a run, and a guest that talks but does not come up."""
    silent = once(tiny, "say:up hang", silence_s=1)
    assert (silent.ending, silent.detail) == (Ending.SILENT, "no output for 1 s, last line 'up'")
    looping = once(tiny, "say:up loop", timeout_s=2)
    assert looping.ending is Ending.TIMED_OUT
    assert 2 <= looping.elapsed_s < 4
    stuck = once(tiny, "loop", boot_timeout_s=1.5)
    assert (stuck.ending, stuck.booted) == (Ending.NOT_BOOTED, False)
    assert once(tiny, "hang", boot_timeout_s=1, booted=None).ending is Ending.NOT_BOOTED


def test_a_done_line_without_an_end(tiny: KernelImage) -> None:
    """A pattern may be a prompt's: it counts when nothing follows."""
    assert once(tiny, "say:up echo", done="^tiny# $").ending is Ending.DONE


def test_the_reproducer_is_handed_in(tiny: KernelImage, tmp_path: Path) -> None:
    """As the file it is, binary included."""
    (tmp_path / "repro").write_bytes(b"open\n\xff\x00end\n")
    shown = once(tiny, "say:up reproducer say:finished poweroff", reproducer=tmp_path / "repro", console=tmp_path / "console")
    assert (tmp_path / "console").read_bytes() == b"up\nopen\n\xff\x00end\nfinished\n"
    assert shown.ending is Ending.DONE
    assert shown.text == "up\nopen\n\ufffd\0end\nfinished\n"


def test_binary_is_kept_as_printed(tiny: KernelImage, tmp_path: Path) -> None:
    """All 256 bytes, and the line after them still counts."""
    shown = once(tiny, "say:up binary say:finished poweroff", console=tmp_path / "console")
    assert shown.ending is Ending.DONE
    assert (tmp_path / "console").read_bytes() == b"up\n" + bytes(range(256)) + b"\nfinished\n"


def test_a_flood_is_kept_at_both_ends(tiny: KernelImage, tmp_path: Path) -> None:
    """More than the cap: nothing of what is kept is lost on the way, and the end is seen."""
    cap = 1 << 16
    shown = once(tiny, "say:up flood:200 say:finished poweroff", console=tmp_path / "console", console_cap=cap)
    assert shown.ending is Ending.DONE
    whole = b"up\n" + b"".join(b"%015d\n" % i for i in range(200 * 64)) + b"finished\n"
    missing = len(whole) - 2 * cap
    expected = whole[:cap] + b"\n[%d bytes left out]\n" % missing + whole[-cap:]
    assert (tmp_path / "console").read_bytes() == expected
    assert shown.text == expected.decode()


def test_a_full_disk_is_no_verdict(tiny: KernelImage) -> None:
    """The run ends with StorageError as soon as the console cannot be written."""
    with pytest.raises(StorageError, match="No space left"):
        once(tiny, "say:up loop", console=Path("/dev/full"))


def test_a_machine_that_is_killed_is_lost(tiny: KernelImage) -> None:
    """It says nothing about the kernel; the error says how it went."""
    when_running(tiny, lambda: os.kill(machines(tiny)[0], signal.SIGKILL), after_s=0.3)
    with pytest.raises(LostMachineError, match="signal 9") as lost:
        once(tiny, "say:up loop")
    assert lost.value.qemu_exit_code == -9
    assert lost.value.argv[0] == "qemu-system-i386"


def test_an_option_qemu_does_not_take_is_the_cases_fault(tiny: KernelImage) -> None:
    """QEMU's own words are in the message."""
    with pytest.raises(CaseError, match="nonsense"):
        once(tiny, "say:up", argv=(*SPEC.argv, "-nonsense", "1"))


def test_an_image_qemu_cannot_load_does_not_boot(tiny: KernelImage, tmp_path: Path) -> None:
    """That is the revision's fault, neither the machine's nor the case's."""
    (tmp_path / "tiny.elf").write_bytes(b"\x7fELF" + bytes(2000))
    spec = replace(SPEC, argv=("qemu-system-i386", "-M", "microvm", "-kernel", "{image}"))
    shown = run(run_machine(spec, replace(tiny, path=tmp_path / "tiny.elf")))
    assert shown.ending is Ending.NOT_BOOTED
    assert "kernel" in shown.detail or "ELF" in shown.detail


def test_many_runs_leave_nothing(tiny: KernelImage) -> None:
    """Twenty runs, two at a time; the fixture looks for what is left."""
    ways = ["say:up say:finished poweroff", "say:up reset", "say:up exit:3", "say:up say:BUG:_x hang"]

    async def many() -> list[MachineRun]:
        gate = asyncio.Semaphore(2)

        async def one(i: int) -> MachineRun:
            async with gate:
                return await run_machine(replace(SPEC, cmdline=ways[i % len(ways)]), tiny)

        return await asyncio.gather(*map(one, range(20)))

    endings = [shown.ending for shown in run(many())]
    assert endings == [Ending.DONE, Ending.RESET, Ending.SHUTDOWN, Ending.CRASHED] * 5


def test_no_event_of_a_short_run_is_missed(tiny: KernelImage) -> None:
    """Guests that end within milliseconds, more at once than there are cores: QEMU's last event is always heard."""
    argv = ("qemu-system-i386", "-M", "microvm", "-kernel", "{image}", "-append", "{cmdline}")

    async def many() -> list[MachineRun]:
        gate = asyncio.Semaphore(4)

        async def one() -> MachineRun:
            async with gate:
                return await run_machine(replace(SPEC, argv=argv, cmdline="say:up reset"), tiny)

        return await asyncio.gather(*(one() for _ in range(60)))

    assert {shown.ending for shown in run(many())} == {Ending.RESET}


def test_an_interrupt_leaves_nothing(tiny: KernelImage) -> None:
    """Ctrl-C during a run: QEMU is gone before the exception is seen."""
    when_running(tiny, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        once(tiny, "say:up loop")
    assert machines(tiny) == []


OWNER = """
import sys, time
sys.path.insert(0, {root!r})
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_machines_qemu import *
tiny = KernelImage(Path({image!r}), None, "0" * 64, Target("tiny", BuildSpec((), "tiny.elf"), SPEC))
{then}
"""


@pytest.mark.parametrize("moment_s", [0.0, 0.02, 0.2])
def test_a_killed_owner_leaves_nothing(tiny: KernelImage, moment_s: float) -> None:
    """kill -9 of the process that started the machines, early and late; the fixture looks for what is left."""
    then = "print('go', flush=True)\nwhile True: once(tiny, 'say:up say:finished poweroff')"
    with owner(tiny, then) as process:
        assert process.stdout is not None
        process.stdout.readline()
        if moment_s:
            wait_until(lambda: machines(tiny))
        time.sleep(moment_s)
        process.kill()


def owner(tiny: KernelImage, then: str) -> subprocess.Popen[str]:
    """Another Python that owns machines."""
    tests = Path(__file__).parent
    code = OWNER.format(root=str(tests.parent), tests=str(tests), image=str(tiny.path), then=then)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_a_fork_leaves_its_parents_machine_alone(tiny: KernelImage) -> None:
    """A forked child that ends as Python ends, exit handlers and all, has no say over the parent's machine."""
    then = (
        "machine = boot(replace(SPEC, cmdline='say:up echo'), tiny)\n"
        "child = os.fork()\n"
        "if child == 0: sys.exit()\n"
        "os.waitpid(child, 0)\n"
        "print(machine.run('still there').stdout, flush=True)"
    )
    with owner(tiny, then) as process:
        assert process.stdout is not None
        assert process.stdout.read().split() == ["answer"]
        assert process.wait() == 0


@pytest.fixture
def machine(tiny: KernelImage) -> Iterator[Machine]:
    """A machine at its prompt."""
    with boot(replace(SPEC, cmdline="say:up echo"), tiny) as attended:
        yield attended


def test_commands_are_typed_and_answered(machine: Machine) -> None:
    """The answer comes without echo and prompt, more than once."""
    assert machine.run("uname -r").stdout == "answer\n"
    again = machine.run("x" * 300)
    assert (again.stdout, again.ending) == ("answer\n", None)
    assert machine.console.startswith("up\ntiny# uname -r\nanswer\ntiny# xxx")
    assert machine.boot_s > 0


def test_a_command_that_takes_too_long(tiny: KernelImage) -> None:
    """The prompt does not come back in time, or the guest ends: told, not raised."""
    with boot(replace(SPEC, cmdline="say:up echo", prompt="^(tiny# |finished)$"), tiny) as machine:
        machine.qmp("stop")
        assert machine.run("hello", timeout_s=0.3).ending is Ending.TIMED_OUT
        machine.qmp("cont")
        machine.qmp("system_reset")  # under -no-reboot the end of the machine
        wait_until(lambda: not machines(tiny))
        with pytest.raises(InputError, match="ended"):
            machine.run("hello")


def test_qmp_commands(machine: Machine) -> None:
    """What QEMU answers, and what it does not take."""
    assert machine.qmp("query-status") == {"running": True, "singlestep": False, "status": "running"}
    with pytest.raises(InputError, match="nonsense"):
        machine.qmp("nonsense")


@pytest.mark.parametrize("command", ["two\nlines", "\x1b[31m", "x" * 2000])
def test_only_lines_are_typed(machine: Machine, command: str) -> None:
    """Nothing that a terminal would act on."""
    with pytest.raises(InputError, match="printable line"):
        machine.run(command)


def test_a_machine_that_takes_no_commands(tiny: KernelImage) -> None:
    """Without a prompt it is up at the booted line."""
    with boot(replace(SPEC, cmdline="say:up loop", prompt=None), tiny) as machine:
        with pytest.raises(InputError, match="prompt"):
            machine.run("uname")
        assert machine.console.startswith("up\n")
    with pytest.raises(InputError, match="closed"):
        machine.qmp("query-status")


def test_a_guest_that_does_not_come_up(tiny: KernelImage) -> None:
    """The error says what was seen last."""
    with pytest.raises(LostMachineError, match=r"guest reset.*no disk"):
        boot(replace(SPEC, cmdline="say:no_disk reset"), tiny)
    with pytest.raises(LostMachineError, match="no prompt"):
        boot(replace(SPEC, cmdline="say:up loop", boot_timeout_s=1), tiny)


def test_leaving_the_block_by_an_exception(tiny: KernelImage) -> None:
    """The machine is gone when the exception is seen outside."""
    with pytest.raises(ZeroDivisionError), boot(replace(SPEC, cmdline="say:up echo"), tiny):
        raise ZeroDivisionError
    assert machines(tiny) == []


def test_a_forgotten_machine_ends(tiny: KernelImage) -> None:
    """Nobody holds it any more; the fixture looks for what is left."""
    boot(replace(SPEC, cmdline="say:up echo"), tiny)


def test_kvm_is_answered_in_time() -> None:
    """Yes or no, in seconds, and the same the second time."""
    began = time.monotonic()
    kvm_runs_guests.cache_clear()
    first = kvm_runs_guests()
    assert time.monotonic() - began < 10
    kvm_runs_guests.cache_clear()
    assert kvm_runs_guests() is first


def test_a_run_under_kvm_if_it_runs_guests(tiny: KernelImage) -> None:
    """Where KVM does not, the emulation is asked for the same."""
    kind = "kvm" if kvm_runs_guests() else "tcg"
    assert run(run_machine(replace(SPEC, cmdline="say:up poweroff"), tiny, accelerator=kind)).ending is Ending.SHUTDOWN
