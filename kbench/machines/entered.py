"""Was a function of the kernel entered while the reproducer ran? One run under a debugger. Read `watch_functions`.

No help of the guest's is needed, and nothing it prints is believed: breakpoints stand where the reproducer begins, then in
the functions asked about and where the guest ends. On QEMU they are its gdb stub's; User-Mode Linux, a process, is traced by
a small program (data/linux/entered.c).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from kbench.errors import StorageError
from kbench.host import leashed
from kbench.machines.child import Child
from kbench.machines.compiled import compiled
from kbench.machines.gdbstub import REGISTERS, GdbStub
from kbench.machines.session import Job
from kbench.machines.um import environment, is_process, launched
from kbench.records import KernelImage
from kbench.resources import data_dir

MAX_TEXT = 1 << 20  # bytes of the console that are kept
TRACER_CFLAGS = ("-O2", "-static", "-s")
STUB = "kbench-gdb"


@dataclass(frozen=True, slots=True)
class Breakpoints:
    """Addresses in the kernel."""

    begin: Collection[int]  # passed right before the reproducer starts; those below are looked at from then on
    functions: Collection[int]
    outer: Collection[int]  # looked at as well, unless they are passed before the begin: any program gets there
    end: Collection[int]  # passed when the guest has done all it was to do


@dataclass(frozen=True, slots=True)
class Entered:
    """What a debugger saw of one run."""

    began: bool  # the reproducer was about to start
    address: int | None  # the first breakpoint passed then, one of the end included; None: the machine ended otherwise
    text: str  # console, decoded, as far as it went


def can_watch(kernel: KernelImage, machine: str) -> bool:
    """Is there a debugger for this kernel, by the machine of its ELF header ("EM_X86_64")?"""
    return machine == "EM_X86_64" if is_process(kernel.target.machine) else machine in REGISTERS


async def watch_functions(
    kernel: KernelImage, reproducer: Path | None, breakpoints: Breakpoints, *, machine: str, accelerator: str = "tcg"
) -> Entered:
    """Run the reproducer once, until a breakpoint is passed after its begin; on the machines' loop.

    Parameters
    ----------
    reproducer : path or None
        What takes the place of {reproducer}: see `kbench.machines.initramfs`.
    machine : str
        Of the kernel's ELF header; `can_watch` has said yes.

    Raises
    ------
    LostMachineError
        QEMU has no stub that answers.
    CaseError, MachineLacksError, StorageError
        As for every run.
    """
    spec = kernel.target.machine
    printed = bytearray()

    def keep(chunk: bytes) -> None:
        printed.extend(chunk[: MAX_TEXT - len(printed)])

    job = Job(spec, kernel, reproducer, accelerator=accelerator)
    if is_process(spec):
        began, address = await _trace(job, breakpoints, keep)
    else:
        began, address = await _debug(job, breakpoints, keep, machine)
    return Entered(began, address, printed.decode("utf-8", "replace"))


async def _trace(job: Job, breakpoints: Breakpoints, keep: Callable[[bytes], None]) -> tuple[bool, int | None]:
    tracer = compiled("gcc", data_dir() / "linux" / "entered.c", TRACER_CFLAGS, stage="boot")
    ours, theirs = _pipe()
    try:
        lists = (",".join(f"{address:x}" for address in which) for which in _parts(breakpoints))
        child = Child(
            launched([str(tracer), str(theirs), *lists, *job.argv()]),
            on_console=keep,
            on_exit=lambda: None,
            pass_fds=(theirs,),
            env=environment(),
            one_console=True,
        )
        os.close(theirs)
        theirs = -1
        try:
            async with asyncio.timeout(job.spec.timeout_s):
                await child.gone()
        except TimeoutError:
            return False, None
        finally:
            await child.close()
        began, _, address = os.read(ours, 4096).decode("ascii", "replace").partition("\n")
        return began == "began", int(address, 16) if address.strip() else None
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)


async def _debug(job: Job, breakpoints: Breakpoints, keep: Callable[[bytes], None], machine: str) -> tuple[bool, int | None]:
    ours, theirs = _sockets()
    monitor, their_monitor = _sockets()  # nothing is said there: the debugger lets the guest go
    with ours, theirs, monitor, their_monitor:
        fds = (their_monitor.fileno(), theirs.fileno())
        stub = ["-chardev", f"socket,id={STUB},fd={fds[1]}", "-gdb", f"chardev:{STUB}"]
        child = Child(leashed([*job.argv(fds[0]), *stub], "boot"), on_console=keep, on_exit=lambda: None, pass_fds=fds)
        theirs.close()
        their_monitor.close()
        try:
            async with asyncio.timeout(job.spec.timeout_s):
                return await _watch(GdbStub(ours, REGISTERS[machine]), breakpoints)
        except TimeoutError:
            return False, None
        finally:
            await child.close()


async def _watch(stub: GdbStub, breakpoints: Breakpoints) -> tuple[bool, int | None]:
    await stub.open()
    for address in {*breakpoints.begin, *breakpoints.outer}:
        await stub.insert(address)
    while (at := await stub.go_on()) not in breakpoints.begin:
        if at is None or at not in breakpoints.outer:
            return False, None
        await stub.remove(at)
    for address in breakpoints.begin:
        await stub.remove(address)
    for address in {*breakpoints.functions, *breakpoints.end}:
        await stub.insert(address)
    return True, await stub.go_on()


def _parts(breakpoints: Breakpoints) -> tuple[Collection[int], ...]:
    return breakpoints.begin, breakpoints.functions, breakpoints.outer, breakpoints.end


def _pipe() -> tuple[int, int]:
    try:
        return os.pipe()
    except OSError as err:
        raise StorageError(f"boot: expected a pipe, {err.strerror}; end other programs or raise ulimit") from err


def _sockets() -> tuple[socket.socket, socket.socket]:
    try:
        return socket.socketpair()
    except OSError as err:
        raise StorageError(f"boot: expected a socket for QEMU, {err.strerror}; end other programs or raise ulimit") from err
