"""Machines saved once they are up, for runs that go on from there. Read `saved_machine`.

The guest waits for a line on its console right before the reproducer starts. There it is written to a file without
a name, which lives as long as this process. Each run reads that file and types random bytes of its own, which stir
the guest's random state: all else is the same from run to run, memory layout and the time since boot included, so runs from
one saved machine are less independent than cold ones. `kbench.runs.snapshot_effect` measures what that does to a crash rate.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import replace

from qemu.qmp import QMPError

from kbench.errors import CaseError, LostMachineError, StorageError
from kbench.machines.emulator import Emulator
from kbench.machines.session import Job, Session
from kbench.machines.um import is_process

WAITING = r"(?:^|\] ?)kbench: waiting$"
WORDS = ("kbench.wait",)
POLL_S = 0.02
FILE = "kbench-saved"  # as QEMU knows it
BYTES_PER_S = 1 << 40  # as fast as it goes; QEMU's own limit is for networks

_saved: dict[tuple[int, ...], asyncio.Task[int | None]] = {}  # by process and machine; a fork makes its own


async def saved_machine(job: Job) -> int | None:
    """Return the file descriptor of the saved machine of `job`, made on first use; None if the guest never came to wait.

    On the loop of `kbench.machines.loop`. The file starts anew for whoever opens /proc/self/fd of it.

    Raises
    ------
    CaseError
        The target has no guest of kbench's, or is no emulator's.
    LostMachineError, StorageError
        QEMU broke, or there was no room.
    """
    if job.image.target.guest is None or is_process(job.spec):
        raise CaseError("case: expected snapshot = true with a Linux target of QEMU, this one cannot be saved; leave it out")
    key = (os.getpid(), hash((job.image.signature, *job.argv())))
    if key not in _saved:
        _saved[key] = asyncio.create_task(_save(replace(job, console=None, words=WORDS)))
    try:
        return await asyncio.shield(_saved[key])
    except Exception:
        _saved.pop(key, None)  # the next one tries again
        raise


def opened(saved: int) -> int:
    """Return a new file descriptor at the begin of a saved machine; the caller closes it."""
    try:
        return os.open(f"/proc/self/fd/{saved}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"boot: expected to open a saved machine, {error.strerror}; raise ulimit -n") from error


async def _save(job: Job) -> int | None:
    spec = replace(job.spec, booted=WAITING, done=None)
    session = Session(replace(job, spec=spec), hear=lambda _: None)
    try:
        ending, waiting = asyncio.create_task(session.ending()), asyncio.create_task(session.booted.wait())
        try:
            await asyncio.wait({ending, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not session.booted.is_set() or session.monitor is None:
                return None
            return await _write(session.monitor)
        finally:
            ending.cancel()
            waiting.cancel()
            await asyncio.gather(ending, waiting, return_exceptions=True)
    finally:
        await session.close()


async def _write(monitor: Emulator) -> int:
    try:
        with tempfile.TemporaryFile(prefix="kbench-machine-") as file:
            await monitor.execute("migrate-set-parameters", {"max-bandwidth": BYTES_PER_S})
            # Not stopped before: it would be stopped when it is read back, too.
            await monitor.hand_over(FILE, file.fileno())
            await monitor.execute("migrate", {"uri": f"fd:{FILE}"})
            while (now := await monitor.execute("query-migrate", {})) and isinstance(now, dict):
                if now.get("status") == "completed":
                    return os.dup(file.fileno())
                if now.get("status") in ("failed", "cancelled"):
                    raise StorageError(
                        f"boot: expected to save a machine, {now.get('error-desc', 'it failed')!r} seen; make room"
                    )
                await asyncio.sleep(POLL_S)
            raise LostMachineError("boot: expected QEMU to say how saving goes, it did not; try again")
    except QMPError as error:
        raise LostMachineError(f"boot: expected QEMU to save a machine, {error}; try again") from error
    except OSError as error:
        raise StorageError(f"boot: expected room for a saved machine, {error.strerror}; make room in $TMPDIR") from error
