"""Run a build: commands in a source tree, with a time limit. One effect: the compiler's processes.

What went wrong is read from what it prints: `causes`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kbench.errors import BuildError, MachineLacksError, StorageError
from kbench.hold import Hold, current
from kbench.host import HEADERS, leashed, require
from kbench.kernels.causes import root_cause

#: Less room than this is a full disk; with more, "No space left" is about an image the build fills.
FULL_BYTES = 32 << 20
#: A build's output is kept up to this size; what a broken Makefile prints beyond it is dropped from the middle.
OUTPUT_CAP_BYTES = 1 << 20
_NO_MEMORY = ("Killed signal terminated program", "Cannot allocate memory", "virtual memory exhausted")
# SIGKILL comes from outside, and of a build of ours mostly from who is out of memory.
_KILLED = re.compile(r"^make(?:\[\d+\])?: \*\*\* \[.{1,300}\] (?:Killed|Error 137)$", re.MULTILINE)
_DIED = re.compile(
    r"internal compiler error: "
    r"|^make(?:\[\d+\])?: \*\*\* \[.{1,300}\] (?:Segmentation fault|Aborted|Bus error|Illegal instruction|Error 13[2-9])\b",
    re.MULTILINE,
)
_MISSING = re.compile(
    r"(?:make(?:\[\d+\])?: |sh: (?:line )?(?:\d+: )?)(\S+?): (?:command )?(?:not found|No such file or directory)$", re.MULTILINE
)
_HEADER = re.compile(r": fatal error: (\S{1,200}): No such file or directory$", re.MULTILINE)


def run_commands(
    commands: Iterable[Sequence[str]],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout_s: float,
    interrupted: Path | None = None,
    roots: Sequence[Path] = (),
) -> str:
    """Run commands one after the other without a shell and return what they printed.

    They end with this process, however it ends (`setpriv --pdeathsig`); make gets SIGTERM, so it removes half-written targets.

    Parameters
    ----------
    commands : iterable of argv
    cwd : Path
        Where they run.
    env : mapping
        The whole environment; what is left in its TMPDIR is the caller's to remove.
    timeout_s : float
        For all of them together; while a hold pauses them it does not run.
    interrupted : Path, optional
        Removed when all have ended by themselves; if it is still there later, objects may be half-written.
    roots : sequence of Path
        The source tree, and the folder of objects: what is blamed is named relative to the first.

    Raises
    ------
    BuildError
        A command failed, the compiler of its own accord (`.died`), or time ran out (`.timed_out`); `.log` has the output, `.file`
        the source file to blame or "".
    MachineLacksError
        A program is not there: the machine's fault, not the revision's.
    StoppedError
        Somebody stopped the work of this thread; see `kbench.hold`.
    StorageError
        The disk is full.
    """
    output, clock = "", _Clock(timeout_s)
    for argv in commands:
        code, text = _run(argv, cwd=cwd, env=env, clock=clock)
        output += text
        if code is None:
            raise BuildError(
                f"build: expected an end within {timeout_s:.0f} s, none came; raise build_timeout_s",
                log=output,
                file="",
                timed_out=True,
                died=False,
            )
        if code != 0:
            _blame_machine(text, (cwd, Path(env.get("TMPDIR") or tempfile.gettempdir())))
            line, file = root_cause(text, roots)
            if interrupted and code > 0:
                interrupted.unlink(missing_ok=True)
            raise BuildError(
                line or f"{argv[0]} exited with {code} and said nothing",
                log=output,
                file=file,
                timed_out=False,
                died=_DIED.search(text) is not None,
            )
    if interrupted:
        interrupted.unlink(missing_ok=True)
    return output


class _Clock:
    """Counts down while nobody holds this thread's work."""

    def __init__(self, timeout_s: float) -> None:
        self.hold = current()
        self._end = time.monotonic() + timeout_s - self.hold.paused_s

    @property
    def left_s(self) -> float:
        return self._end + self.hold.paused_s - time.monotonic()


def _run(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], clock: _Clock) -> tuple[int | None, str]:
    """Run one command; its exit code is None when time ran out.

    It stands still while somebody holds this thread's work. Should this process die then, the kernel wakes it to end it: its
    group is an orphan (setpgid(2)).
    """
    process = subprocess.Popen(
        leashed(argv, "build", signal="TERM"),  # make then removes the targets it had half written
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    )
    output = _Output(process)
    code: int | None = None
    try:
        with clock.hold.heard(lambda: _follow(process, clock.hold)):
            while code is None and clock.left_s > 0:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(timeout=clock.left_s)
                if code is None:
                    clock.hold.wait()
    finally:
        _end(process)
    if clock.hold.stopped:
        clock.hold.wait()
    return code, output.text()


def _follow(process: subprocess.Popen[bytes], hold: Hold) -> None:
    """Freeze a build, let it go on, or end it."""
    with contextlib.suppress(ProcessLookupError):
        if hold.stopped:
            os.killpg(process.pid, signal.SIGTERM)
        os.killpg(process.pid, signal.SIGSTOP if hold.paused else signal.SIGCONT)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a build, and whatever of it is still running after it has ended."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            os.killpg(process.pid, signal.SIGCONT)  # one that stands still ends when it goes on
            process.wait(timeout=2.0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _Output:
    """What a command prints, read as it comes; head and tail are kept."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._pipe = process.stdout
        self._head, self._tail, self._size = bytearray(), bytearray(), 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._pipe is not None  # it is a PIPE
        half = OUTPUT_CAP_BYTES // 2
        while chunk := os.read(self._pipe.fileno(), 1 << 16):
            room = max(half - len(self._head), 0)
            self._head += chunk[:room]
            self._tail = (self._tail + chunk[room:])[-half:]
            self._size += len(chunk)

    def text(self) -> str:
        """All of it, once the command has ended; something it left running elsewhere may hold the pipe open: not waited for."""
        self._reader.join(timeout=2.0)
        left_out = self._size - len(self._head) - len(self._tail)
        gap = f"\n[{left_out} bytes left out]\n".encode() if left_out > 0 else b""
        return bytes(self._head + gap + self._tail).decode("utf-8", "replace")


def _blame_machine(output: str, written: Iterable[Path]) -> None:
    """Raise when a build failed for reasons that are not the revision's."""
    full = any(shutil.disk_usage(place).free < FULL_BYTES for place in written)
    if "Disk quota exceeded" in output or ("No space left on device" in output and full):
        raise StorageError(
            "build: expected room for objects, the disk is full; free some, or set KBENCH_CACHE to another disk",
            log=output,
        )
    if any(sign in output for sign in _NO_MEMORY) or _KILLED.search(output):
        raise MachineLacksError("build: expected memory for the compiler, it got none; free some, or lower the jobs", log=output)
    for header in _HEADER.findall(output):
        package = next((HEADERS[known] for known in HEADERS if header.startswith(known)), "")
        if package:
            raise MachineLacksError(f"build: expected the header {header}, found none; apt-get install {package}", log=output)
    missing = _MISSING.search(output)
    if missing and "/" not in missing[1]:
        require(missing[1], "build")
