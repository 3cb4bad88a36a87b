"""QEMU's gdb stub, spoken to over a socket: breakpoints, go on, where did it stop. Read `GdbStub` first.

Little of gdb's remote serial protocol is enough, and nothing of the guest's help: a breakpoint is QEMU's own, at a virtual
address, and holds from the first instruction on. Source: "GDB Remote Serial Protocol", appendix E of gdb's manual.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from kbench.errors import LostMachineError

REPLY_S = 30.0  # QEMU answers at once, unless its host has no time for it
MAX_PACKET = 1 << 16  # bytes; the registers of no machine take more


@dataclass(frozen=True, slots=True)
class Registers:
    """Where the program counter is in an answer to `g`, and the length of an instruction a breakpoint covers."""

    offset: int  # bytes
    size: int
    kind: int = 1


# By the machine of the kernel's ELF header. Source: gdb-xml/ of QEMU, in the order of its register numbers.
REGISTERS: Mapping[str, Registers] = {
    "EM_X86_64": Registers(offset=16 * 8, size=8),
    "EM_386": Registers(offset=8 * 4, size=4),
    "EM_AARCH64": Registers(offset=32 * 8, size=8, kind=4),
}


class HangUpError(LostMachineError):
    """The machine ended in the middle of a conversation."""


class GdbStub:
    """One conversation with the stub of a machine that waits to be started.

    Parameters
    ----------
    connection : socket
        Connected; what is at its other end is QEMU's. It stays the caller's to close.
    registers : Registers
        Of the guest.

    Raises
    ------
    LostMachineError
        From every method: QEMU is gone, or does not answer as gdb's manual says.
    """

    def __init__(self, connection: socket.socket, registers: Registers) -> None:
        connection.setblocking(False)
        self._connection, self._registers = connection, registers
        self._received = bytearray()
        self._acknowledges = True

    async def open(self) -> None:
        """Begin; nothing is acknowledged from now on if QEMU knows how, for the socket loses nothing."""
        if "QStartNoAckMode+" in await self._ask("qSupported"):
            await self._order("QStartNoAckMode")
            self._acknowledges = False

    async def insert(self, address: int) -> None:
        """Stop where the instruction at `address` is about to be executed.

        A breakpoint of the processor's, which needs no memory yet; with KVM there are four of them.
        """
        await self._order(f"Z1,{address:x},{self._registers.kind}")

    async def remove(self, address: int) -> None:
        """Stop there no more."""
        await self._order(f"z1,{address:x},{self._registers.kind}")

    async def go_on(self) -> int | None:
        """Let the machine run until it stops; return the address it stopped at, None when it has ended."""
        try:
            await self._send("c")
            stopped = await self._packet()
        except HangUpError:
            return None
        if stopped[:1] in ("W", "X"):
            return None
        if stopped[:1] not in ("T", "S"):
            raise self._lost(f"{stopped[:40]!r} as why it stopped")
        return await self._program_counter()

    async def _program_counter(self) -> int:
        answer = await self._ask("g")
        start, size = 2 * self._registers.offset, 2 * self._registers.size
        try:
            return int.from_bytes(bytes.fromhex(answer[start : start + size].ljust(size, "?")), "little")
        except ValueError:
            raise self._lost(f"{answer[:40]!r} as its registers") from None

    async def _order(self, command: str) -> None:
        if (answer := await self._ask(command)) != "OK":
            raise self._lost(f"{answer[:40]!r} to {command!r}")

    async def _ask(self, command: str) -> str:
        try:
            async with asyncio.timeout(REPLY_S):
                await self._send(command)
                return await self._packet()
        except TimeoutError:
            raise self._lost(f"no answer to {command!r} in {REPLY_S:g} s") from None

    async def _send(self, command: str) -> None:
        text = command.encode("ascii")
        try:
            await asyncio.get_running_loop().sock_sendall(self._connection, b"$%s#%02x" % (text, sum(text) % 256))
        except OSError as err:
            raise self._lost(str(err.strerror)) from err

    async def _packet(self) -> str:
        """The next packet, `$TEXT#CHECKSUM`; what stands between packets are acknowledgements."""
        while True:
            start = self._received.find(b"$")
            end = self._received.find(b"#", start)
            if start >= 0 and end >= 0 and end + 3 <= len(self._received):
                break
            if len(self._received) > MAX_PACKET:
                raise self._lost("a packet without end")
            self._received += await self._read()
        text, checksum = bytes(self._received[start + 1 : end]), bytes(self._received[end + 1 : end + 3])
        del self._received[: end + 3]
        if checksum.lower() != b"%02x" % (sum(text) % 256):
            raise self._lost(f"a damaged packet {text[:40]!r}")
        if self._acknowledges:
            with contextlib.suppress(OSError):  # the last packet of a machine that has ended: nobody reads it
                await asyncio.get_running_loop().sock_sendall(self._connection, b"+")
        return text.decode("ascii", "replace")

    async def _read(self) -> bytes:
        try:
            chunk = await asyncio.get_running_loop().sock_recv(self._connection, 4096)
        except OSError as err:
            raise self._lost(str(err.strerror)) from err
        if not chunk:
            raise HangUpError("gdb stub: expected QEMU to answer, it hung up; try again")
        return chunk

    def _lost(self, seen: str) -> LostMachineError:
        return LostMachineError(f"gdb stub: expected QEMU to answer, {seen}; try again")
