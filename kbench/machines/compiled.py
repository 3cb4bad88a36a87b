"""Small C programs, compiled once and kept by content. One effect: the compiler. Read `compiled`."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

from kbench.errors import MachineLacksError, ReproducerError
from kbench.host import LIBC, cache_dir, require, storage
from kbench.leases import process_lease

FORMAT = 1  # of what is kept; raised when the same inputs are to give something else
COMPILE_S = 120.0
MAX_MEMORY_BYTES, MAX_PROGRAM_BYTES = 4 << 30, 256 << 20
LOCAL_INCLUDE = re.compile(rb'^\s*#\s*include\s*"', re.MULTILINE)
ERROR = re.compile(r"^[^\n]*(?:error: |undefined reference|cannot find)[^\n]*", re.MULTILINE)
#: A compiler without a C library: any program needs these.
NO_LIBC = re.compile(r"fatal error: (?:ctype|errno|stdio|stdlib|string|unistd)\.h: No such file|cannot find (?:-lc\b|crt1\.o)")


def guests_dir() -> Path:
    """Return the folder for what guests are made of."""
    return cache_dir() / "guests"


def taken(path: Path) -> Path:
    """Return a path in `guests_dir`, which from now on is there as long as this process, or was removed before."""
    process_lease(cache_dir().absolute()).hold(f"{guests_dir().name}/{path.name}")
    with contextlib.suppress(OSError):
        os.utime(path)  # what was not used for longest is removed first
    return path


def compiled(compiler: str, source: Path, flags: tuple[str, ...], *, stage: str = "reproducer") -> Path:
    """Return the program a C file makes; compiled anew only if it or the compiler has changed, or it includes own files.

    Raises
    ------
    MachineLacksError
        There is no such compiler, or no C library for it.
    ReproducerError
        It does not compile: the message has the compiler's first error, `.log` all it said.
    """
    path = require(compiler, stage)
    text = source.read_bytes()
    decides = "\0".join([str(FORMAT), _version(path), *flags]).encode() + b"\0" + text
    kept = taken(guests_dir() / f"{hashlib.sha256(decides).hexdigest()[:32]}.elf")
    if LOCAL_INCLUDE.search(text) or not kept.is_file():
        keep(kept, _compile(path, source, flags))
    return kept


def keep(path: Path, content: bytes) -> None:
    """Write a file that appears whole, and can be executed."""
    with storage("guest", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                os.fchmod(handle, 0o555)
            Path(aside).replace(path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise


def _compile(compiler: str, source: Path, flags: tuple[str, ...]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="kbench-guest-") as place:
        made = Path(place) / "program"
        argv = [compiler, "-x", "c", str(source.absolute()), *flags, "-o", str(made)]
        process = subprocess.Popen(
            [*_bounds(), *argv], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, process_group=0
        )
        try:
            _, stderr = process.communicate(timeout=COMPILE_S)
        except subprocess.TimeoutExpired as error:
            raise ReproducerError(f"reproducer: expected {source.name} compiled in {COMPILE_S:g} s; shorten it") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what the compiler itself has started, too
            process.wait()
        if process.returncode:
            said = stderr.decode("utf-8", "replace")
            if NO_LIBC.search(said):
                package = LIBC.get(Path(compiler).name, "its C library")
                raise MachineLacksError(f"reproducer: expected a C library for {compiler}, found none; apt-get install {package}")
            first = ERROR.search(said)
            raise ReproducerError(
                f"reproducer: expected {source.name} to compile, {first[0] if first else said.strip()[-200:]!r} seen; correct it",
                log=said, argv=argv,
            )  # fmt: skip
        return made.read_bytes()


def _bounds() -> list[str]:
    """What a compiler may take: a few lines of C can ask for all the memory, or all the disk, there is."""
    limits = (f"--as={MAX_MEMORY_BYTES}", f"--fsize={MAX_PROGRAM_BYTES}", f"--cpu={COMPILE_S:.0f}", "--core=0")
    return [require("prlimit", "reproducer"), *limits, "--"]


@functools.cache
def _version(compiler: str) -> str:
    ended = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return ended.stdout.partition("\n")[0]
