"""The gdb stub: what QEMU says, and what something that is no QEMU may say."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbench.errors import LostMachineError
from kbench.host import leashed
from kbench.machines import run
from kbench.machines.gdbstub import MAX_PACKET, REGISTERS, GdbStub
from kbench.symbols import symbol_table

TINY = Path(__file__).parent / "data" / "tinyguest" / "tiny.c"
ARM = """
    .globl _start, before, after, never
    .type _start, %function; .type before, %function; .type after, %function; .type never, %function
_start: bl before
    bl after
    movz x0, #0x0008; movk x0, #0x8400, lsl #16; hvc #0   // PSCI: SYSTEM_OFF
    b .
before: ret
after: ret
never: ret
"""
BUILDS = {
    "EM_386": [
        *("gcc", "-m32", "-ffreestanding", "-fno-pic", "-fno-stack-protector", "-O1", "-fno-inline", "-nostdlib", "-static"),
        *("-Wl,-Ttext=0x100000,-N,--build-id=none", str(TINY)),
    ],
    "EM_AARCH64": ["aarch64-linux-gnu-gcc", "-nostdlib", "-static", "-Wl,-Ttext=0x40080000,--build-id=none"],
}
MACHINES = {
    "EM_386": ["qemu-system-i386", "-append", "say:up poweroff", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"],
    "EM_AARCH64": ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57"],
}


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of one connection: the stub's client has the first."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("machine", "entered", "never"),
    [
        ("EM_386", ["guest", "obey"], "echo"),
        pytest.param("EM_AARCH64", ["before", "after"], "never", marks=pytest.mark.linux),  # takes what that needs
    ],
)
def test_breakpoints_are_hit_in_order(
    machine: str, entered: list[str], never: str, tmp_path: Path, ends: tuple[socket.socket, socket.socket]
) -> None:
    """The machine waits for `c`, stops where it is told to, and tells when it ends."""
    image, ours, theirs = tmp_path / "kernel.elf", *ends
    source = [] if machine == "EM_386" else [str(tmp_path / "arm.s")]
    (tmp_path / "arm.s").write_text(ARM)
    subprocess.run([*BUILDS[machine], *source, "-o", str(image)], check=True)
    table = symbol_table(image)
    assert table.machine == machine
    at = {name: table.functions[name][0].address for name in (*entered, never)}
    argv = [*MACHINES[machine], "-kernel", str(image), "-S", "-nodefaults", "-display", "none"]
    argv += ["-chardev", f"socket,id=gdb,fd={theirs.fileno()}", "-gdb", "chardev:gdb"]

    async def debug() -> list[int | None]:
        stub = GdbStub(ours, REGISTERS[machine])
        await stub.open()
        for address in at.values():
            await stub.insert(address)
        stops = []
        for _ in range(len(entered)):
            stops.append(await stub.go_on())
            await stub.remove(stops[-1] or 0)
        return [*stops, await stub.go_on()]

    with subprocess.Popen(leashed(argv, "test"), pass_fds=[theirs.fileno()]) as process:
        theirs.close()
        try:
            stops = run(asyncio.wait_for(debug(), 60))
        finally:
            process.kill()
    assert stops == [*(at[name] for name in entered), None]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "hung up"),
        (b"+$OK#00", "damaged"),
        (b"x" * (MAX_PACKET + 1), "without end"),
        (b"+$E01#a6", "'E01'"),
        (b"+$#00", "''"),
    ],
)
def test_what_is_no_answer_is_a_lost_machine(said: bytes, why: str, ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends

    def say() -> None:
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)

    async def order() -> None:
        stub = GdbStub(ours, REGISTERS["EM_X86_64"])
        sending = asyncio.get_running_loop().run_in_executor(None, say)
        try:
            await stub.insert(0x1000)
        finally:
            ours.close()
            await asyncio.gather(sending, return_exceptions=True)

    with pytest.raises(LostMachineError, match=why):
        run(asyncio.wait_for(order(), 20))


def test_registers_that_are_none(ends: tuple[socket.socket, socket.socket]) -> None:
    """A stop at registers too short for a program counter is no address."""
    ours, theirs = ends
    theirs.sendall(b"$T05thread:01;#07+$00112233#8c")

    async def go_on() -> None:
        await GdbStub(ours, REGISTERS["EM_X86_64"]).go_on()

    with pytest.raises(LostMachineError, match="registers"):
        run(asyncio.wait_for(go_on(), 20))
