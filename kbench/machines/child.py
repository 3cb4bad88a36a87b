"""One QEMU process: its start, its console, its monitor, its end. Read `Child` first.

Lives on the loop of `kbench.machines.loop`. It reports what happens and judges nothing. No path is shared with QEMU: the
console is a pair of pipes, the monitor an inherited socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from typing import IO, Any

from qemu.qmp import QMPClient, QMPError, Runstate

from kbench.errors import StorageError
from kbench.host import leashed

GO = b'{"execute": "qmp_capabilities"}\n{"execute": "cont"}\n'
BATCH_S = 0.002  # a serial port gives single bytes; reading them one by one would cost more than QEMU itself
CHUNK = 1 << 16  # bytes, what a pipe holds
DRAIN_READS = 8  # reads that empty a pipe; some may come back short
STDERR_TAIL = 4096
EVENTS = frozenset({"SHUTDOWN", "GUEST_PANICKED", "STOP"})

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


class Child:
    """A QEMU process, killed with everything of its own by `close`, and by the kernel when this process dies.

    Parameters
    ----------
    argv_for : callable
        Gives QEMU's argv for the number of the monitor's socket.
    on_console : callable
        Gets what the guest prints, as it comes. What it raises ends up in `failed`.
    on_event : callable
        Gets the name and the data of the events of QMP in `EVENTS`.
    on_exit : callable
        Called once, when the process has ended and all it printed has been handed over.

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
    ) -> None:
        self._on_console, self._on_event, self._on_exit = on_console, on_event, on_exit
        self._loop = asyncio.get_running_loop()
        self._stderr = b""
        self._closing: asyncio.Task[None] | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self.exit_code: int | None = None  # negative: the signal; None while it runs
        self.failed: Exception | None = None  # what on_console raised
        self._qmp = _Monitor("kbench")
        self._qmp.logger = _quiet
        self._qmp.events.event_filter = self._hear
        self._qmp.negotiate = False
        try:
            self._start(argv_for)
        except OSError as err:
            raise StorageError(f"boot: expected to start QEMU, {err.strerror}; end other programs or raise ulimit") from err

    def _start(self, argv_for: Callable[[int], list[str]]) -> None:
        self._monitor, theirs = socket.socketpair()
        # These wait in the socket for QEMU. It tells no event before the first, and does not start the guest before the
        # second: none is missed, and the guest does not wait for this process to be scheduled.
        self._monitor.send(GO)
        try:
            self.argv = argv_for(theirs.fileno())
            self._process = subprocess.Popen(
                leashed(self.argv, "boot"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(theirs.fileno(),),
                process_group=0,
            )
        except BaseException:
            self._monitor.close()
            raise
        finally:
            theirs.close()
        try:
            self._pidfd = os.pidfd_open(self._process.pid)
        except OSError:
            self.kill()
            self._reap()
            raise
        self._out, self._err = (_fileno(pipe) for pipe in (self._process.stdout, self._process.stderr))
        for fd in (_fileno(self._process.stdin), self._out, self._err):
            os.set_blocking(fd, False)
        self._loop.add_reader(self._out, self._console_ready)
        self._loop.add_reader(self._err, self._stderr_ready)
        self._loop.add_reader(self._pidfd, self._exited)
        self._connecting = self._loop.create_task(self._connect())

    @property
    def negotiated(self) -> bool:
        """Has QEMU answered? From then on it tells its events and lets the guest run."""
        return self._qmp.negotiated

    async def execute(self, command: str, arguments: Mapping[str, Any]) -> object:
        """Give QEMU a command of QMP; QMPError when it does not take it or has ended."""
        await self._connecting
        return await self._qmp.execute(command, dict(arguments))

    def type(self, text: bytes) -> None:
        """Write to the guest's console; a few hundred bytes at a time."""
        os.write(_fileno(self._process.stdin), text)

    @property
    def stderr(self) -> str:
        """The last of what QEMU itself had to say."""
        return self._stderr.decode("utf-8", "replace").strip()

    def drain(self) -> None:
        """Hand over what the guest printed and nobody has read yet: a pipe full, for the guest may be printing on."""
        for _ in range(DRAIN_READS):
            if self.exit_code is not None or not self._read_console():
                break

    async def gone(self) -> None:
        """Wait until the process has ended."""
        await asyncio.shield(self._gone)

    def kill(self) -> None:
        """End the process and all of its group at once; never raises."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def close(self) -> None:
        """Kill, wait until the process is gone, and give back every file descriptor; more than once is fine."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self.kill()
        await self._gone
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

    def _console_ready(self) -> None:
        if self._read_console():
            self._loop.remove_reader(self._out)
            self._loop.call_later(BATCH_S, self._read_on)

    def _read_on(self) -> None:
        if self.exit_code is None:
            self._loop.add_reader(self._out, self._console_ready)

    def _read_console(self) -> int:
        """Read once; how many bytes it was, 0 if there are none now or none will come."""
        try:
            chunk = os.read(self._out, CHUNK)
        except BlockingIOError:
            return 0
        if not chunk:
            self._loop.remove_reader(self._out)
        elif self.failed is None:
            try:
                self._on_console(chunk)
            except Exception as err:  # e.g. a full disk: whoever waits for this machine raises it
                self.failed = err
                self.kill()
        return len(chunk)

    def _stderr_ready(self) -> None:
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(self._err, CHUNK)
            self._stderr = (self._stderr + chunk)[-STDERR_TAIL:]
            if not chunk:
                self._loop.remove_reader(self._err)

    def _exited(self) -> None:
        self.drain()
        self._stderr_ready()
        for fd in (self._pidfd, self._out, self._err):
            self._loop.remove_reader(fd)
        os.close(self._pidfd)
        self._reap()
        self._gone.set_result(None)
        self._on_exit()

    def _reap(self) -> None:
        self.exit_code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def _fileno(pipe: IO[bytes] | None) -> int:
    if pipe is None:
        raise AssertionError("the process was started without pipes")
    return pipe.fileno()
