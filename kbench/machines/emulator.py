"""QEMU: a process with a console and a monitor. Read `Emulator`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qemu.qmp import QMPClient, QMPError, Runstate

from kbench.errors import StorageError
from kbench.host import leashed
from kbench.machines.child import Child

GO = b'{"execute": "qmp_capabilities"}\n{"execute": "cont"}\n'
EVENTS = frozenset({"SHUTDOWN", "GUEST_PANICKED", "STOP", "RESUME"})

# A machine that ends hangs up: no news for a log.
_quiet = logging.getLogger("qemu.qmp.qmp_client").getChild("kbench")
_quiet.setLevel(logging.CRITICAL + 1)


class _Monitor(QMPClient):
    # The hooks of QMPClient format every message for a log nobody reads; that is a tenth of what a run costs here.
    negotiated = False

    def _cb_inbound(self, msg: Any) -> Any:
        self.negotiated = self.negotiated or "QMP" not in msg  # QEMU's main loop runs: it answered
        return msg

    def _cb_outbound(self, msg: Any) -> Any:
        return msg


class Emulator(Child):
    """A QEMU process, killed with everything of its own by `close`, and by the kernel when this process dies.

    No path is shared with QEMU: the monitor is an inherited socket.

    Parameters
    ----------
    argv_for : callable
        Gives QEMU's argv for the number of the monitor's socket.
    on_event : callable
        Gets the name and the data of the events of QMP in `EVENTS`.
    on_console, on_exit, pass_fds
        As for `Child`.

    Raises
    ------
    MachineLacksError
        QEMU or setpriv is not installed.
    StorageError
        No process or no file descriptor can be had.
    """

    def __init__(
        self,
        argv_for: Callable[[int], list[str]],
        *,
        on_console: Callable[[bytes], None],
        on_event: Callable[[str, Mapping[str, Any]], None],
        on_exit: Callable[[], None],
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._on_event = on_event
        self._qmp = _Monitor("kbench")
        self._qmp.logger = _quiet
        self._qmp.events.event_filter = self._hear
        self._qmp.negotiate = False
        try:
            self._monitor, theirs = socket.socketpair()
        except OSError as err:
            raise StorageError(f"boot: expected a socket for QEMU, {err.strerror}; end other programs or raise ulimit") from err
        # These wait in the socket for QEMU. It tells no event before the first, and does not start the guest before the
        # second: none is missed, and the guest does not wait for this process to be scheduled.
        self._monitor.send(GO)
        try:
            self.argv = argv_for(theirs.fileno())
            super().__init__(
                leashed(self.argv, "boot"), on_console=on_console, on_exit=on_exit, pass_fds=(theirs.fileno(), *pass_fds)
            )
        except BaseException:
            self._monitor.close()
            raise
        finally:
            theirs.close()
        self._connecting = self._loop.create_task(self._connect())

    @property
    def negotiated(self) -> bool:
        """Has QEMU answered? From then on it tells its events and lets the guest run."""
        return self._qmp.negotiated

    async def execute(self, command: str, arguments: Mapping[str, Any]) -> object:
        """Give QEMU a command of QMP; QMPError when it does not take it or has ended."""
        await self._connecting
        return await self._qmp.execute(command, dict(arguments))

    async def hand_over(self, name: str, file: int) -> None:
        """Give QEMU an open file, which commands of QMP then know by name; QMPError when it has ended."""
        await self._connecting
        self._qmp.send_fd_scm(file)  # waits in the socket for the command that takes it
        await self._qmp.execute("getfd", {"fdname": name})

    async def _close(self) -> None:
        await super()._close()
        self._connecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._connecting
        with contextlib.suppress(QMPError, EOFError, OSError):
            await self._qmp.disconnect()
        self._monitor.close()

    async def events_drained(self) -> None:
        """After the end of the process: wait until its last events have been heard."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):  # a fork of this process may hold the socket open: no end of file then
                await asyncio.shield(self._connecting)
                while self._qmp.runstate is Runstate.RUNNING:
                    await self._qmp.runstate_changed()

    async def _connect(self) -> None:
        # An end of QEMU is seen by its process. AssertionError: connect() insists on a session that still runs, and with a
        # short run all of it has been read by then.
        with contextlib.suppress(QMPError, EOFError, OSError, AssertionError):
            await self._qmp.connect(self._monitor)

    def _hear(self, event: Mapping[str, Any]) -> bool:
        if event["event"] in EVENTS:
            self._on_event(event["event"], event.get("data", {}))
        return False  # heard; nothing is queued
