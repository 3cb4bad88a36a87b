"""One process with a console: its start, its output, its end. Read `Child` first.

Lives on the loop of `kbench.machines.loop`. It reports what happens and judges nothing. No path is shared with the process:
the console is a pair of pipes. What an emulator has besides is in `kbench.machines.emulator`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from kbench.errors import StorageError

BATCH_S = 0.002  # a serial port gives single bytes; reading them one by one would cost more than QEMU itself
CHUNK = 1 << 16  # bytes read at once, what a pipe holds
STDERR_TAIL = 4096
WIDE_PIPE = 1 << 20  # bytes; what a user may ask for (/proc/sys/fs/pipe-max-size)
DRAIN_READS = 2 * WIDE_PIPE // CHUNK  # that empty a pipe; some come back short


class Child:
    """A process, killed with everything of its own by `close`; whoever gives its argv sees to it that it ends with this one.

    Parameters
    ----------
    argv : sequence of str
        Its first word is a path.
    on_console : callable
        Gets what it prints, as it comes. What it raises ends up in `failed`.
    on_exit : callable
        Called once, when the process has ended and all it printed has been handed over.
    pass_fds : sequence of int
        File descriptors it inherits.
    env : mapping or None
        Its environment; None: this process's.
    one_console : bool
        What it says on stderr is part of the console; else `stderr` has the last of it. The pipe is wide then: a kernel that
        prints by itself does not wait for a reader, it loses what does not fit.

    Raises
    ------
    StorageError
        No process or no file descriptor can be had.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        on_console: Callable[[bytes], None],
        on_exit: Callable[[], None],
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        one_console: bool = False,
    ) -> None:
        self._on_console, self._on_exit = on_console, on_exit
        self._loop = asyncio.get_running_loop()
        self._stderr = b""
        self._closing: asyncio.Task[None] | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self.exit_code: int | None = None  # negative: the signal; None while it runs
        self.failed: Exception | None = None  # what on_console raised
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if one_console else subprocess.PIPE,
                bufsize=0,
                pass_fds=pass_fds,
                env=env,
                process_group=0,
            )
            try:
                self._pidfd = os.pidfd_open(self._process.pid)
            except OSError:
                self.kill()
                self._reap()
                raise
        except OSError as err:
            raise StorageError(f"boot: expected to start {argv[0]}, {err.strerror}; end other programs or raise ulimit") from err
        self._out = _fileno(self._process.stdout)
        self._err = None if one_console else _fileno(self._process.stderr)
        if one_console:
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._out, fcntl.F_SETPIPE_SZ, WIDE_PIPE)
        os.set_blocking(_fileno(self._process.stdin), False)
        self._watch(self._out, self._console_ready)
        if self._err is not None:
            self._watch(self._err, self._stderr_ready)
        self._loop.add_reader(self._pidfd, self._exited)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def type(self, text: bytes) -> None:
        """Write to the guest's console; a few hundred bytes at a time."""
        os.write(_fileno(self._process.stdin), text)

    @property
    def stderr(self) -> str:
        """The last of what the process had to say besides."""
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

    def _watch(self, fd: int, ready: Callable[[], None]) -> None:
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, ready)

    def _console_ready(self) -> None:
        if 0 < self._read_console() < CHUNK:  # more than that is a flood: no time to lose
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
        if self._err is None:
            return
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(self._err, CHUNK)
            self._stderr = (self._stderr + chunk)[-STDERR_TAIL:]
            if not chunk:
                self._loop.remove_reader(self._err)

    def _exited(self) -> None:
        self.drain()
        self._stderr_ready()
        for fd in filter(None, (self._pidfd, self._out, self._err)):
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
