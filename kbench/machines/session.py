"""One machine under watch: its process, its console, and what follows from both. Read `Session` first."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbench.errors import CaseError, LostMachineError
from kbench.machines.child import Child
from kbench.machines.console import CAP, Console, Lines
from kbench.machines.emulator import Emulator
from kbench.machines.guest import told
from kbench.machines.processes import stopped
from kbench.machines.qemu import DEBUG_EXIT, qemu_argv
from kbench.machines.sandbox import sandbox
from kbench.machines.um import environment, is_process, launched, um_argv
from kbench.machines.watch import CRASH_LINE, Ending, Watch
from kbench.records import KernelImage, MachineSpec

SEED_BYTES = 32  # random, for each machine that goes on from a saved one
UNFINISHED_S = 0.05  # a line without an end counts as one after so long: prompts have none

# Endings that may as well be the machine's: one whose process somebody has stopped says nothing either.
UNANSWERED = frozenset({Ending.SILENT, Ending.TIMED_OUT, Ending.NOT_BOOTED})

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

    words: tuple[str, ...] = ()  # what a guest of kbench's is told besides
    saved: int | None = None  # file descriptor of a saved machine to go on from

    def argv(self, qmp_fd: int = 0) -> list[str]:
        """Build the machine's argv; CaseError for what cannot be honoured."""
        spec = told(self.spec, *self.words) if self.image.target.guest else self.spec
        if is_process(spec):
            return um_argv(spec, self.image, reproducer=self.reproducer)
        argv = qemu_argv(
            spec,
            self.image,
            reproducer=self.reproducer,
            accelerator=self.accelerator,
            qmp_fd=qmp_fd,
            sandbox=sandbox(spec.argv[0]),
        )
        return argv if self.saved is None else [*argv, "-incoming", f"fd:{self.saved}"]


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
        self._saved = job.saved is not None
        self._hear = hear  # None: nobody is there, the run goes by itself
        self._news = asyncio.Event()
        self.booted = asyncio.Event()
        self._exit_told = False
        self._unfinished: asyncio.TimerHandle | None = None
        self.lines = Lines()
        self.watch = Watch(
            spec,
            crash_pattern=job.crash_pattern,
            debug_exit=any(DEBUG_EXIT in word for word in spec.argv),
            process=is_process(spec),
            now=self.started,
        )
        self.argv = job.argv()  # complains before the console's file is there
        self.console = Console(job.console, cap=job.console_cap)
        self.monitor: Emulator | None = None
        try:
            self.child = self._start(job)
        except BaseException:
            self.console.close()
            raise

    def _start(self, job: Job) -> Child:
        if is_process(job.spec):
            return Child(
                launched(self.argv),
                on_console=self._printed,
                on_exit=self._news.set,
                env=environment(),
                one_console=True,
            )
        self.monitor = Emulator(
            job.argv,
            on_console=self._printed,
            on_event=self._told,
            on_exit=self._news.set,
            pass_fds=() if job.saved is None else (job.saved,),
        )
        self.argv = self.monitor.argv
        return self.monitor

    async def ending(self) -> tuple[Ending, str]:
        """Wait for the end; return it and what showed it.

        Raises
        ------
        LostMachineError
            The machine broke: it says nothing about the kernel.
        CaseError
            QEMU does not take its options.
        StorageError
            The console could not be written.
        """
        while True:
            self._news.clear()
            if self.child.exit_code is not None and not self._exit_told:
                self._exit_told = True
                if self.monitor is not None:
                    await self.monitor.events_drained()
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
        if self.child.exit_code is None and ending in UNANSWERED and stopped(self.child.pid):
            raise self._lost("a process of the machine was stopped")
        if self.monitor is None or self.monitor.negotiated or self.console.size:  # QEMU itself came up
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
        last_words = stderr or self.console.text.strip()
        return LostMachineError(
            f"boot: expected {'User-Mode Linux' if self.monitor is None else 'QEMU'} to go on, {what}, its last words "
            f"{last_words[-200:]!r}; try again, or run its argv by hand",
            argv=self.argv, qemu_exit_code=self.child.exit_code, stderr=stderr, console=self.console.text,
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
        if name == "RESUME":
            if self._saved:  # not before: what is typed while the machine is read in gets lost
                self.child.type(os.urandom(SEED_BYTES).hex().encode() + b"\n")
            return
        if name == "STOP" and self._hear is not None:
            return  # whoever attends the machine may stop it and go on
        self.watch.event(name, data, self._loop.time())
        self._news.set()
