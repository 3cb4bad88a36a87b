"""One event loop in one daemon thread, where all machines of this process live. Read `run` first.

Callers stay synchronous, a notebook's own loop is left alone, and every QEMU is forked by one thread that lives as long
as the process: the kernel's parent-death signal fires when the *forking thread* ends, not the process (prctl(2)).
A forked child starts a loop of its own; the machines stay its parent's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from kbench.errors import HeldError
from kbench.hold import Hold

T = TypeVar("T")

_loops: dict[int, asyncio.AbstractEventLoop] = {}  # by process id: after a fork the parent's is kept, unused and unclosed


def machine_loop() -> asyncio.AbstractEventLoop:
    """Return the running loop of this process, started on first use."""
    pid = os.getpid()
    if pid not in _loops:
        made = asyncio.new_event_loop()
        if _loops.setdefault(pid, made) is made:  # atomic; a lock could have been forked while it was held
            threading.Thread(target=made.run_forever, name="kbench-machines", daemon=True).start()
        else:
            made.close()
    return _loops[pid]


def run(coroutine: Coroutine[Any, Any, T], *, hold: Hold | None = None) -> T:
    """Run `coroutine` on the machines' loop and return what it returns.

    Any exception in the calling thread, KeyboardInterrupt above all, cancels the coroutine and is raised again only
    after it has cleaned up: no machine of its is left. So does a pause or stop of `hold`, as HeldError.
    """
    loop = machine_loop()
    with contextlib.suppress(RuntimeError):  # no loop runs in this thread: the usual case
        if asyncio.get_running_loop() is loop:
            coroutine.close()
            raise AssertionError("kbench.machines.loop.run() called on its own loop, would wait for itself")
    ended = threading.Event()

    async def guarded() -> T:
        try:
            return await coroutine
        finally:
            ended.set()

    future = asyncio.run_coroutine_threadsafe(guarded(), loop)
    hold = hold or Hold()

    def leave() -> None:
        if hold.interrupted:
            future.cancel()

    try:
        with hold.heard(leave):
            return future.result()
    except CancelledError:
        ended.wait()
        raise HeldError("boot: somebody paused or stopped this; it can be done later") from None
    except BaseException:
        if not future.done():
            future.cancel()
            ended.wait()
        raise
