"""One QEMU under watch: the child, its console, and what follows from both. Read `Session` first."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kbench.errors import CaseError, LostMachineError
from kbench.machines.child import Child
from kbench.machines.console import CAP, Console, Lines
from kbench.machines.qemu import DEBUG_EXIT, qemu_argv
from kbench.machines.watch import CRASH_LINE, Ending, Watch
from kbench.records import KernelImage, MachineSpec

UNFINISHED_S = 0.05  # a line without an end counts as one after so long: prompts have none

# What QEMU says on stderr when it ends before the guest has run: about an option of the line, or about the image.
BAD_OPTION = re.compile(r"^[^\s:]*qemu[^\s:]*: -(?!kernel|initrd)[\w-]+", re.MULTILINE)
BAD_IMAGE = re.compile(r"kernel|multiboot|\b(?:PVH|ELF|bios|rom|firmware)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run, and where its console goes."""

    spec: MachineSpec
    image: KernelImage
    reproducer: Path | None = None
    console: Path | None = None
    accelerator: str = "tcg"
    crash_pattern: str = CRASH_LINE
    console_cap: int = CAP  # bytes kept of the console's head and of its tail


class Session:
    """A machine from its start to its end; `close` it, whatever happened.

    Everything runs on the loop of `kbench.machines.loop`.

    Raises
    ------
    CaseError, MachineLacksError, StorageError
        From the constructor, before anything was started.
    """

    def __init__(self, job: Job, *, hear: Callable[[bytes], None] | None = None) -> None:
        spec = job.spec
        self._loop = asyncio.get_running_loop()
        self.started = self._loop.time()
        self.boot_timeout_s = spec.boot_timeout_s
        self._hear = hear  # None: nobody is there, the run goes by itself
        self._news = asyncio.Event()
        self.booted = asyncio.Event()
        self._exit_told = False
        self._unfinished: asyncio.TimerHandle | None = None
        self.lines = Lines()
        debug_exit = any(DEBUG_EXIT in word for word in spec.argv)
        self.watch = Watch(spec, crash_pattern=job.crash_pattern, debug_exit=debug_exit, now=self.started)
        argv_for = partial(_argv, job)
        argv_for(0)  # complains before the console's file is there
        self.console = Console(job.console, cap=job.console_cap)
        try:
            self.child = Child(argv_for, on_console=self._printed, on_event=self._told, on_exit=self._news.set)
        except BaseException:
            self.console.close()
            raise

    async def ending(self) -> tuple[Ending, str]:
        """Wait for the end; return it and what showed it.

        Raises
        ------
        LostMachineError
            QEMU broke: it says nothing about the kernel.
        CaseError
            QEMU does not take its options.
        StorageError
            The console could not be written.
        """
        while True:
            self._news.clear()
            if self.child.exit_code is not None and not self._exit_told:
                self._exit_told = True
                await self.child.events_drained()
                self._line(self.lines.partial)
                self.watch.exited(self.child.exit_code, self._loop.time())
            seen = self.watch.look(self._loop.time())
            if seen is not None and self.child.exit_code is None:
                self.child.drain()
                self._line(self.lines.partial)
                seen = self.watch.look(self._loop.time())
            if self.child.failed is not None:
                raise self.child.failed
            if seen is not None:
                return self._judged(*seen)
            alarm = self._loop.call_at(self.watch.deadline, self._news.set)
            await self._news.wait()
            alarm.cancel()

    async def close(self) -> None:
        """Leave nothing behind: no process, no file descriptor; the console's file is complete."""
        await self.child.close()
        if self._unfinished is not None:
            self._unfinished.cancel()
        self.console.close()

    def _judged(self, ending: Ending, detail: str) -> tuple[Ending, str]:
        stderr = self.child.stderr
        if self.child.negotiated or self.console.size:  # QEMU itself came up
            if ending is Ending.LOST:
                raise self._lost(detail)
            return ending, detail
        if self.child.exit_code != 1:
            raise self._lost(detail)
        if BAD_OPTION.search(stderr):
            raise CaseError(f"qemu: expected options it takes, {stderr[-200:]!r} seen; correct the case's line", stderr=stderr)
        if BAD_IMAGE.search(stderr):
            return Ending.NOT_BOOTED, stderr.splitlines()[-1]
        raise self._lost(detail)

    def _lost(self, what: str) -> LostMachineError:
        stderr = self.child.stderr
        return LostMachineError(
            f"boot: expected QEMU to go on, {what}, its last words {stderr[-200:]!r}; try again, or run its argv by hand",
            argv=self.child.argv, qemu_exit_code=self.child.exit_code, stderr=stderr, console=self.console.text,
        )  # fmt: skip

    def _printed(self, chunk: bytes) -> None:
        now = self._loop.time()
        self.console.feed(chunk)
        self.watch.output(now)
        for text in self.lines.feed(chunk):
            self._line(text)
        self._look_if_booted()
        if self._hear is not None:
            self._hear(chunk)
        if self._unfinished is not None:
            self._unfinished.cancel()
        self._unfinished = self._loop.call_later(UNFINISHED_S, lambda: self._line(self.lines.partial))

    def _line(self, text: str) -> None:
        if text and self.watch.line(text, self._loop.time()):
            self._news.set()
            self._look_if_booted()

    def _look_if_booted(self) -> None:
        if self.watch.booted_at is not None:
            self.booted.set()

    def _told(self, name: str, data: Mapping[str, Any]) -> None:
        if name == "STOP" and self._hear is not None:
            return  # whoever attends the machine may stop it and go on
        self.watch.event(name, data, self._loop.time())
        self._news.set()


def _argv(job: Job, qmp_fd: int) -> list[str]:
    return qemu_argv(job.spec, job.image, reproducer=job.reproducer, accelerator=job.accelerator, qmp_fd=qmp_fd)
