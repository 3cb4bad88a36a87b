"""Paused, let go on, stopped: builds, machines, and what is left when kbench is killed meanwhile; real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import kbench
from kbench.errors import BuildError, HeldError, StoppedError
from kbench.hold import Hold, current, under
from kbench.kernels.make import run_commands
from kbench.lab import create
from kbench.machines.processes import stopped

# A build that writes a line a tenth of a second.
STEPS = 'for n in 1 2 3 4 5 6 7 8 9 10; do echo $n >>steps; sleep 0.1; done; [ "$1" ] || exit 0; sleep 1000'


def until(true: Callable[[], object]) -> None:
    while not true():  # the test's own time limit ends it
        time.sleep(0.01)


class Work(threading.Thread):
    """A build under a hold, in a thread of its own."""

    def __init__(self, folder: Path, *words: str, timeout_s: float = 60.0) -> None:
        super().__init__(daemon=True)
        self.hold, self.error = Hold(), None
        self._folder, self._argv, self._timeout_s = folder, ["sh", "-c", STEPS, "sh", *words], timeout_s
        self.error: BaseException | None = None
        self.start()

    @property
    def steps(self) -> int:
        file = self._folder / "steps"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def run(self) -> None:
        try:
            with under(self.hold):
                run_commands([self._argv], cwd=self._folder, env=dict(os.environ), timeout_s=self._timeout_s)
        except Exception as error:
            self.error = error


def test_a_build_stands_still_and_goes_on(tmp_path: Path) -> None:
    """It loses nothing, and the time it stood still is not its own."""
    work = Work(tmp_path, timeout_s=5.0)
    until(lambda: work.steps)
    work.hold.pause()
    until(lambda: stopped(os.getpid()))
    seen = work.steps
    time.sleep(5.5)
    assert work.steps == seen
    assert work.is_alive()
    work.hold.resume()
    work.join()
    assert (work.steps, work.error) == (10, None)
    assert work.hold.paused_s > 5


def test_time_runs_out_for_a_build_that_was_paused(tmp_path: Path) -> None:
    work = Work(tmp_path, "endless", timeout_s=1.0)
    work.hold.pause()
    work.hold.resume()
    work.join()
    assert isinstance(work.error, BuildError)


@pytest.mark.parametrize("paused", [False, True])
def test_a_build_is_ended_by_a_stop(tmp_path: Path, paused: bool) -> None:
    work = Work(tmp_path, "endless")
    until(lambda: work.steps)
    if paused:
        work.hold.pause()
        until(lambda: stopped(os.getpid()))
    work.hold.stop()
    work.join()
    assert isinstance(work.error, StoppedError)
    assert not sleepers()


def test_kbench_is_killed_while_a_build_stands_still(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tests.test_hold import Work\n"
        "work = Work(Path(sys.argv[1]), 'endless')\n"
        "while not work.steps: time.sleep(0.01)\n"
        "work.hold.pause(); print('paused', flush=True); work.join()"
    )
    # In a session of its own: a shell that had started it would be in another one than whoever adopts its children.
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "paused\n"
    until(lambda: stopped(process.pid))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    until(lambda: not sleepers())


def sleepers() -> list[str]:
    """What is left of builds of this file."""
    lines = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if "echo $n >>steps" in line and "ps -eo" not in line]


@pytest.mark.qemu
def test_a_pause_ends_the_machines_that_run(tmp_path: Path) -> None:
    """The bug hangs and nobody would look before two minutes are over; the run is made again."""
    lab = create(tmp_path / "lab", seed=3, kind="hang", commits=60)
    running = kbench.start(lab.case, output=tmp_path / "out", silence_s=120.0, timeout_s=120.0, runs=1)
    until(lambda: list(tmp_path.glob("out/consoles/*/run-00.txt")))
    until(machines)
    running.pause()
    until(lambda: not machines())
    assert running.state == "paused"
    assert not any(step.runs for step in running.view.steps)
    running.resume()
    until(machines)
    running.stop()
    with pytest.raises(StoppedError):
        running.wait()
    until(lambda: not machines())


def machines() -> list[str]:
    """The emulators that this process runs."""
    lines = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True, check=False).stdout
    return [line for line in lines.splitlines() if "qemu-system" in line]


def test_nobody_holds_what_nobody_has_a_hand_on() -> None:
    assert not current().interrupted
    hold = Hold()
    with under(hold):
        assert current() is hold
    assert current() is not hold


def test_what_happened_before_is_heard() -> None:
    hold, heard = Hold(), list[bool]()
    hold.pause()
    with hold.heard(lambda: heard.append(hold.paused)):
        hold.pause()
        hold.resume()
    hold.pause()
    assert heard == [True, False]


def test_a_hold_that_was_stopped_cannot_be_paused() -> None:
    hold = Hold()
    hold.stop()
    hold.pause()
    assert not hold.paused
    with pytest.raises(StoppedError):
        hold.wait()


def test_a_call_on_the_machines_loop_is_left() -> None:
    import asyncio

    from kbench.machines import run

    hold, left = Hold(), list[bool]()

    async def endless() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0.05)
            left.append(True)

    threading.Timer(0.1, hold.pause).start()
    with pytest.raises(HeldError):
        run(endless(), hold=hold)
    assert left, "and has cleaned up"
