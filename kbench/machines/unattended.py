"""One unattended run of a kernel. Read `run_machine` first."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from pathlib import Path

from kbench.machines.console import CAP
from kbench.machines.session import Job, Session
from kbench.machines.snapshot import WORDS, opened, saved_machine
from kbench.machines.watch import CRASH_LINE, Ending
from kbench.records import KernelImage, MachineSpec


@dataclass(frozen=True, slots=True)
class MachineRun:
    """How one run went. What that says about the kernel is for others to judge."""

    ending: Ending
    detail: str  # the line, the event or the limit that ended it
    booted: bool
    boot_s: float  # wall clock from the machine's start until the guest was up; 0 if it never was
    elapsed_s: float  # wall clock, the machine's own start and end included
    text: str  # console, decoded; head and tail when it was long
    console: Path | None  # the same, byte for byte
    argv: tuple[str, ...]


async def run_machine(
    spec: MachineSpec,
    image: KernelImage,
    *,
    reproducer: Path | None = None,
    console: Path | None = None,
    accelerator: str = "tcg",
    crash_pattern: str = CRASH_LINE,
    console_cap: int = CAP,
) -> MachineRun:
    """Boot `image` once and wait for the end; on the loop of `kbench.machines.loop`, see `run` there.

    With `spec.snapshot` the run goes on from a machine saved by the first such run of this process.

    Parameters
    ----------
    console : Path or None
        File for the console, written as it comes.
    accelerator : str
        "tcg" or "kvm"; see `kbench.machines.accelerator`.
    crash_pattern : str
        Regular expression of lines that begin a crash report; `spec.crashed` is added.
    console_cap : int
        Bytes kept of the console's head and, again, of its tail.

    Raises
    ------
    LostMachineError
        The machine broke, with `.argv`, `.qemu_exit_code`, `.stderr` and `.console` (text): says nothing about the kernel.
    StorageError
        The console could not be written, or no process be started.
    CaseError
        The line of `spec` cannot be honoured, or QEMU does not take it.
    MachineLacksError
        QEMU or setpriv is not installed.
    """
    job = Job(spec, image, reproducer, console, accelerator, crash_pattern, console_cap)
    whole = await saved_machine(job) if spec.snapshot else None
    if whole is not None:
        job = replace(job, saved=opened(whole), words=WORDS)
    try:
        session = Session(job)
        try:
            ending, detail = await session.ending()
        finally:
            await session.close()
    finally:
        if job.saved is not None:
            os.close(job.saved)
    booted_at = session.watch.booted_at
    return MachineRun(
        ending=ending,
        detail=detail,
        booted=booted_at is not None,
        boot_s=0.0 if booted_at is None else booted_at - session.started,
        elapsed_s=asyncio.get_running_loop().time() - session.started,
        text=session.console.text,
        console=console,
        argv=tuple(session.argv),
    )
