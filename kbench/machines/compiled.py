"""Small C programs, compiled once and kept by content. One effect: the compiler. Read `compiled`.

What is compiled may come from anybody, and what it reads comes back in a console: no file goes in but those of the source's
own folder and of the compiler's, and of others not even an error message shows a line. So the text is preprocessed, compiled and
assembled one by one, and what each step has read is looked at before the next one, or anybody, sees what it made.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from kbench.errors import MachineLacksError, ReproducerError
from kbench.host import LIBC, cache_dir, require, storage
from kbench.leases import process_lease

FORMAT = 2  # of what is kept; raised when the same inputs are to give something else
COMPILE_S = 120.0
MAX_MEMORY_BYTES, MAX_PROGRAM_BYTES = 4 << 30, 256 << 20
#: What may bring in files of its own, which are not asked whether they have changed: by name, or by a macro.
LOCAL_INCLUDE = re.compile(rb"^\s*#\s*(?:include(?:_next)?|import|embed)\s*[^<\s]|\.inc(?:bin|lude)\b", re.MULTILINE)
INCLUDED = re.compile(r"^\.+ (.+)$", re.MULTILINE)  # what -H prints of a file as it is opened
PREREQUISITE = re.compile(r"(?:\\[ #\\]|\$\$|[^\s\\]|\\(?=\S))+")  # in a make dependency file
SEARCHED = re.compile(r"^ (/.*)$", re.MULTILINE)
# No plugin of the linker: sections of an object would tell it what to run. No lines of files that a line marker names.
GUARDS = ("-fno-lto", "-fno-use-linker-plugin", "-fno-diagnostics-show-caret")
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
    source = source.absolute()
    flags = (*flags, *GUARDS, *(("-fno-integrated-as",) if "clang" in Path(compiler).name else ()))
    with tempfile.TemporaryDirectory(prefix="kbench-guest-") as name:
        place = Path(name)

        def step(*argv: str) -> subprocess.CompletedProcess[str]:
            return _bounded([compiler, *flags, *argv], place, source)

        seen = step("-x", "c", "-E", "-H", "-MD", "-MF", "read", "-o", "program.i", str(source))
        # A list is written only when all went well; -H says what was opened whatever becomes of it.
        _check_read([*INCLUDED.findall(seen.stderr), *_listed(place / "read")], compiler, source, place)
        _check_ended(seen, source)
        if b"pch_preprocess" in (place / "program.i").read_bytes():
            raise ReproducerError(f"reproducer: expected C, {source.name} brings a precompiled header; remove that pragma")
        _check_ended(step("-x", "cpp-output", "-S", "-o", "program.s", "program.i"), source)
        words = ("-I", str(source.parent), "--MD", "assembled")  # inline assembly reads files too
        asked = [word for option in words for word in ("-Xassembler", option)]
        seen = step("-x", "assembler", *asked, "-o", "program", "program.s")
        _check_read(_listed(place / "assembled"), compiler, source, place)
        if not (place / "assembled").exists():  # then nobody knows whose lines the assembler shows
            line = re.search(rf"^{re.escape(str(source))}:(\d+): ", seen.stderr, re.MULTILINE)
            seen.returncode, seen.stderr = 1, f"error: inline assembly{f' in line {line[1]}' if line else ''}"
        _check_ended(seen, source)
        return (place / "program").read_bytes()


def _bounded(argv: list[str], place: Path, source: Path) -> subprocess.CompletedProcess[str]:
    """Run a compiler in a folder; it ends with all it has started."""
    process = subprocess.Popen(
        [*_bounds(), *argv], cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        process_group=0,
    )  # fmt: skip
    try:
        _, stderr = process.communicate(timeout=COMPILE_S)
    except subprocess.TimeoutExpired as error:
        raise ReproducerError(f"reproducer: expected {source.name} compiled in {COMPILE_S:g} s; shorten it") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return subprocess.CompletedProcess(argv, process.returncode, "", stderr.decode("utf-8", "replace"))


def _check_ended(seen: subprocess.CompletedProcess[str], source: Path) -> None:
    if not seen.returncode:
        return
    said, compiler = INCLUDED.sub("", seen.stderr), seen.args[0]
    if NO_LIBC.search(said):
        package = LIBC.get(Path(compiler).name, "its C library")
        raise MachineLacksError(f"reproducer: expected a C library for {compiler}, found none; apt-get install {package}")
    first = ERROR.search(said)
    raise ReproducerError(
        f"reproducer: expected {source.name} to compile, {first[0] if first else said.strip()[-200:]!r} seen; correct it",
        log=said, argv=seen.args,
    )  # fmt: skip


def _check_read(names: Iterable[str], compiler: str, source: Path, place: Path) -> None:
    """Raise ReproducerError for a file that is neither the source's nor the compiler's."""
    own = source.parent.resolve(), source.resolve(), place.resolve()
    for name in names:
        path = place / name
        # A link among the compiler's headers leads where the machine's owner wants it to, any other is followed.
        is_own = any(path.resolve().is_relative_to(folder) for folder in own)
        if not is_own and not any(Path(os.path.normpath(path)).is_relative_to(folder) for folder in _include_folders(compiler)):
            raise ReproducerError(
                f"reproducer: expected {source.name} to need files of its folder and system headers, it reads {name[:200]!r}; "
                "copy that file beside it"
            )


def _listed(path: Path) -> list[str]:
    """The prerequisites in a make dependency file; none when there is no such file."""
    if not path.is_file():
        return []
    text = path.read_text(errors="surrogateescape").replace("\\\n", " ")
    words = PREREQUISITE.findall(text.partition(": ")[2])
    return [re.sub(r"\\([ #\\])", r"\1", word).replace("$$", "$") for word in words]


@functools.cache
def _include_folders(compiler: str) -> Sequence[Path]:
    """The folders a compiler looks for <headers> in."""
    argv = [compiler, "-x", "c", "-E", "-v", os.devnull]
    asked = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False, stdin=subprocess.DEVNULL)
    listed = asked.stderr.partition("search starts here:")[2].partition("End of search list")[0]
    return [Path(os.path.normpath(name)) for name in SEARCHED.findall(listed)]


def _bounds() -> list[str]:
    """What a compiler may take: a few lines of C can ask for all the memory, or all the disk, there is."""
    limits = (f"--as={MAX_MEMORY_BYTES}", f"--fsize={MAX_PROGRAM_BYTES}", f"--cpu={COMPILE_S:.0f}", "--core=0")
    return [require("prlimit", "reproducer"), *limits, "--"]


@functools.cache
def _version(compiler: str) -> str:
    ended = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return ended.stdout.partition("\n")[0]
