"""A machine to talk to. Read `boot`, then `Machine`."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import weakref
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from qemu.qmp import ExecuteError, QMPError

from kbench.errors import InputError, KbenchError, LostMachineError
from kbench.machines import kvm, loop
from kbench.machines.console import Console, Lines
from kbench.machines.guest import initramfs
from kbench.machines.session import UNFINISHED_S, Job, Session
from kbench.machines.watch import Ending
from kbench.records import KernelImage, MachineSpec

LONGEST_COMMAND = 1024  # bytes; a pipe takes it at once, and a guest's line is seldom longer


@dataclass(frozen=True, slots=True)
class Completed:
    """A command typed at the guest's prompt, and what came of it."""

    stdout: str  # what the guest printed until the next prompt; the command's echo is left out
    elapsed_s: float
    ending: Ending | None = None  # None: the prompt came back; TIMED_OUT: it did not; else how the machine ended


def boot(
    spec: MachineSpec,
    image: KernelImage,
    *,
    reproducer: Path | None = None,
    console: Path | None = None,
    accelerator: str | None = None,
) -> Machine:
    """Boot `image` and return the machine once it is up: at its prompt, or past `spec.booted` if it has none.

    Parameters
    ----------
    console : Path or None
        File for the console, written as it comes.
    accelerator : str or None
        "tcg" or "kvm"; None: what runs here.

    Raises
    ------
    LostMachineError
        It did not come up, or QEMU broke; the message says what was seen last. Carries `.console`.
    CaseError, MachineLacksError, StorageError
        As `run_machine`.
    """
    chosen = kvm.accelerator(spec) if accelerator is None else accelerator
    handed_in = initramfs(image.target, reproducer)
    # Who holds a machine decides how long it runs; only the way up is timed.
    attended = replace(spec, done=None, test_failed=None, silence_s=math.inf, timeout_s=math.inf)
    return Machine(Job(attended, image, handed_in, console, chosen))


class Machine:
    """A running guest; `boot` makes it. Use it in a with block: at its end, on any exception, and when nobody holds the
    machine any more, its process is gone.

    Not for several threads at once.
    """

    def __init__(self, job: Job) -> None:
        held: list[_Dialogue] = []
        self._closer = weakref.finalize(self, _abandon, held, os.getpid())
        self._dialogue: _Dialogue = loop.run(_start(job, held))
        session = self._dialogue.session
        self.boot_s: float = self._dialogue.up_at - session.started  # wall clock until the guest was up
        self.argv: tuple[str, ...] = tuple(session.argv)

    def run(self, command: str, *, timeout_s: float = 60.0) -> Completed:
        """Type one line at the guest's prompt and wait for the next prompt.

        Raises
        ------
        InputError
            The guest has no prompt, the machine has ended, or the command is no line of printable text.
        LostMachineError
            QEMU broke.
        """
        if self._dialogue.prompt is None:
            raise InputError("run: expected a machine with `prompt`, this one takes no commands; set prompt in the case")
        if not command.isprintable() or len(command.encode()) > LONGEST_COMMAND:
            raise InputError(f"run: expected a printable line of {LONGEST_COMMAND} bytes or less, {command[:40]!r} seen")
        return self._run(self._dialogue.command(command, timeout_s))

    def qmp(self, command: str, **arguments: Any) -> object:
        """Give QEMU a command of QMP, such as `machine.qmp("query-status")`, and return its answer.

        Raises
        ------
        InputError
            QEMU does not take the command, or has ended.
        """
        monitor = self._dialogue.session.monitor
        if monitor is None:
            raise InputError("qmp: expected a machine with a monitor, User-Mode Linux has none; use a target of QEMU")
        try:
            return self._run(monitor.execute(command, arguments))
        except ExecuteError as err:
            raise InputError(f"qmp: expected a command QEMU takes, {command!r} seen ({err}); see query-commands") from err
        except QMPError as err:
            raise InputError(f"qmp: expected a machine that runs, it has ended ({err}); boot another") from err

    @property
    def console(self) -> str:
        """What the guest has printed so far; head and tail when it was much."""
        return self._dialogue.session.console.text

    def close(self) -> None:
        """End the machine; more than once is fine."""
        if self._closer.detach():
            loop.run(self._dialogue.close())

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Machine up after {self.boot_s:.2f} s, {'running' if self._closer.alive else 'closed'}>"

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if not self._closer.alive:
            coroutine.close()
            raise InputError("run: expected a machine that runs, this one was closed; boot another")
        return loop.run(coroutine)


class _Dialogue:
    # The half of a Machine that lives on the loop; the other half may be collected any time.

    def __init__(self, job: Job) -> None:
        self.prompt = None if job.spec.prompt is None else re.compile(job.spec.prompt)
        self.up_at = 0.0
        self._answer, self._lines = Console(None), Lines()
        self._prompted = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self.session = Session(job, hear=self._hear)
        self._end: asyncio.Task[tuple[Ending, str]] | None = None

    async def start(self) -> None:
        self._end = asyncio.create_task(self.session.ending())
        up = self.session.booted if self.prompt is None else self._prompted
        limit = None if self.prompt is None else self.session.boot_timeout_s
        if await self._first(up, limit):
            self.up_at = asyncio.get_running_loop().time()
            return
        ending, detail = self._end.result() if self._end.done() else (Ending.NOT_BOOTED, "no prompt")
        tail = self.session.console.text[-120:]
        raise LostMachineError(
            f"boot: expected the guest to come up, {ending.value}: {detail}, console ends {tail!r}; read its console",
            console=self.session.console.text, argv=self.session.argv,
        )  # fmt: skip

    async def command(self, text: str, timeout_s: float) -> Completed:
        clock = asyncio.get_running_loop()
        began = clock.time()
        if self._end is None or self._end.done():
            raise InputError("run: expected a machine that runs, this one has ended; boot another")
        self._answer, self._lines = Console(None), Lines()
        self._prompted.clear()
        with contextlib.suppress(BrokenPipeError):  # it ends now: seen below
            self.session.child.type(text.encode() + b"\n")
        back = await self._first(self._prompted, timeout_s)
        ending = None if back else self._end.result()[0] if self._end.done() else Ending.TIMED_OUT
        return Completed(self._stdout(text, back), clock.time() - began, ending)

    async def close(self) -> None:
        if self._end is not None:
            self._end.cancel()
            with contextlib.suppress(asyncio.CancelledError, KbenchError):
                await self._end
        if self._alarm is not None:
            self._alarm.cancel()
        await self.session.close()

    async def _first(self, event: asyncio.Event, timeout_s: float | None) -> bool:
        # True if the event came before the machine's end and before the limit.
        waiting = asyncio.create_task(event.wait())
        try:
            await asyncio.wait({waiting, self._end}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]  # start() has set _end
            return event.is_set()
        finally:
            waiting.cancel()

    def _hear(self, chunk: bytes) -> None:
        self._answer.feed(chunk)
        for _ in self._lines.feed(chunk):
            pass
        if self._alarm is not None:
            self._alarm.cancel()
        if self.prompt is not None and self.prompt.search(self._lines.partial):
            self._alarm = asyncio.get_running_loop().call_later(UNFINISHED_S, self._prompted.set)

    def _stdout(self, command: str, prompt_came: bool) -> str:
        lines = self._answer.text.replace("\r", "").split("\n")
        if lines and lines[0].strip() == command.strip():
            del lines[0]
        if lines and prompt_came:
            lines[-1] = ""
        return "\n".join(lines)


async def _start(job: Job, held: list[_Dialogue]) -> _Dialogue:
    dialogue = _Dialogue(job)
    held.append(dialogue)
    try:
        await dialogue.start()
    except BaseException:
        await dialogue.close()
        raise
    return dialogue


def _abandon(held: list[_Dialogue], owner: int) -> None:
    # The machine was collected, or Python ends. A fork of the owner has no say.
    if os.getpid() == owner:
        for dialogue in held:
            asyncio.run_coroutine_threadsafe(dialogue.close(), loop.machine_loop())
