"""The user space of a Linux guest: what the kernel is given to unpack. Read `initramfs` first.

Two archives, one after the other: kbench's init with a busybox, made once, and the reproducer. Nothing is rebuilt for a new
reproducer, and the kernel is never built with an initramfs in it: its signature stays its own. What was made is kept by
content.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from kbench.errors import MachineLacksError, ReproducerError
from kbench.machines import cpio
from kbench.machines.compiled import compiled, guests_dir, keep, taken
from kbench.machines.elf import Program, read_program
from kbench.machines.um import is_process
from kbench.records import GuestSpec, MachineSpec, Target
from kbench.resources import data_dir

PLACE = "kbench"  # where init expects the reproducer (data/linux/init.c: SECOND_ARCHIVE)
OFFERED = "/run/kbench"  # where it is when it runs, in a disk image too (OFFERED there)
FOLDERS = ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", PLACE)
CFLAGS = ("-O1", "-static", "-pthread", "-w")
INIT_CFLAGS = ("-O2", "-static", "-s", "-Wl,--build-id=none")
DISK, PROCESS_DISK = "/dev/vda", "/dev/ubda"  # what a disk image is in an emulator's guest, and in User-Mode Linux
BUSYBOX = "KBENCH_BUSYBOX"  # environment variable: a static busybox for another architecture than the host's
SYZKALLER = "SYZKALLER"  # environment variable: syzkaller's checkout, with its bin/
MAX_REPRODUCER_BYTES = 64 << 20

# A call of a syzkaller program: `r0 = openat$ptmx(0xffffffffffffff9c, …)`; its header is a comment with options as JSON.
SYZ_HEADER = re.compile(r"^#\s*\{.*(?:procs|threaded|sandbox|repeat)", re.IGNORECASE)
SYZ_CALL = re.compile(r"^(?:r\d+ = )?[a-z_][\w$]*\(.*\)(?: \(.*\))?\s*$")
C_WORDS = re.compile(r"^\s*#\s*include\b|\bmain\s*\(", re.MULTILINE)

# Where syzkaller puts its programs for an architecture: bin/linux_ARCH, by the machine of the ELF header.
SYZ_ARCHS = {62: "amd64", 183: "arm64", 243: "riscv64", 3: "386", 40: "arm"}


def initramfs(target: Target, reproducer: Path | None, folder: Path | None = None) -> Path | None:
    """Return what goes to a machine of `target` as {reproducer}.

    For a target with a guest, an archive with kbench's init, a busybox if there is one for its architecture, and the
    reproducer, made to run there; else the reproducer itself.

    Parameters
    ----------
    reproducer : path or None
        A C program, a shell script, a syzkaller program or a static executable, told apart by content; None: a guest that
        waits for commands. An archive, such as one this function made, is what goes to the machine already.
    folder : path, optional
        Where archives are kept, by content; below the user's cache folder by default.

    Raises
    ------
    ReproducerError
        It cannot be read, is none of these, or does not compile: the message has the compiler's first error.
    MachineLacksError
        The compiler, syzkaller's programs or a busybox is missing, and needed for this reproducer.
    """
    if target.guest is None or (reproducer is not None and _is_archive(reproducer)):
        return reproducer
    base = _base(target.guest)
    second = b"" if reproducer is None else cpio.archive(_reproducer(target.guest, reproducer))
    content = base + second
    name = f"{hashlib.sha256(content).hexdigest()[:32]}.cpio"
    path = taken(guests_dir() / name) if folder is None else folder / name
    if not path.is_file():
        keep(path, content)
    return path


def _is_archive(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(cpio.MAGIC)) == cpio.MAGIC
    except OSError as error:
        raise ReproducerError(f"reproducer: expected a file at {path}, {error.strerror}; check the path") from error


def told(spec: MachineSpec, *words: str) -> MachineSpec:
    """Return `spec` with the words on its command line by which init is told what it asks of the guest (pure)."""
    asked = [f"kbench.limit={max(1, round(spec.repro_s))}"] if spec.repro_s else []
    asked += [f"kbench.root={PROCESS_DISK if is_process(spec) else DISK}"] if spec.rootfs else []
    return replace(spec, cmdline=" ".join([*asked, *words, *spec.cmdline.split()]))


# ------------------------------------------------------------------ the base


def _base(guest: GuestSpec) -> bytes:
    init = _init(guest)
    members = [*map(cpio.folder, FOLDERS), cpio.character_device("dev/console", 5, 1), cpio.program("init", init)]
    if busybox := _busybox(read_program(init)):
        members += [cpio.program("bin/busybox", busybox), cpio.link("bin/sh", "busybox")]
        members += [cpio.link(f"bin/{name}", "busybox") for name in _applets(busybox)]
    return cpio.archive(members)


def _busybox(like: Program | None) -> bytes | None:
    """A static busybox for the architecture of `like`; None when this machine has none."""
    for path in filter(None, (os.environ.get(BUSYBOX), shutil.which("busybox"))):
        try:
            content = _read_cached(path, Path(path).stat().st_mtime_ns)
        except OSError as error:
            raise MachineLacksError(f"guest: expected a busybox at {path}, {error.strerror}; correct {BUSYBOX}") from error
        found = read_program(content)
        if found and like and found.static and found.machine == like.machine:
            return content
    return None


@functools.lru_cache(maxsize=8)
def _read_cached(path: str, _changed_ns: int) -> bytes:
    return Path(path).read_bytes()


def _applets(busybox: bytes) -> tuple[str, ...]:
    """The commands reproducers use most; busybox's shell finds all others by itself."""
    names = "cat cp dd dmesg echo ln ls mkdir mknod mount mv rm sleep sync true umount uname"
    return tuple(name for name in names.split() if name.encode() in busybox)


# ------------------------------------------------------------------ the reproducer


def _reproducer(guest: GuestSpec, path: Path) -> list[cpio.Member]:
    try:
        if path.stat().st_size > MAX_REPRODUCER_BYTES:
            raise ReproducerError(f"reproducer: expected {MAX_REPRODUCER_BYTES} bytes at most, {path} has more; shorten it")
        content = path.read_bytes()
    except OSError as error:
        raise ReproducerError(f"reproducer: expected a file at {path}, {error.strerror}; check the path") from error
    return [cpio.folder(PLACE), *MAKERS[kind(path.name, content)](guest, path, content)]


def kind(name: str, content: bytes) -> str:
    """Return what a reproducer is, a key of `MAKERS`: by its content, then by how its name ends (pure).

    Raises
    ------
    ReproducerError
        It is none of them.
    """
    if content.startswith(b"\x7fELF"):
        return "program"
    text = content.decode("utf-8", "replace")
    suffix = Path(name).suffix
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    if text.startswith("#!") or suffix == ".sh":
        return "shell"
    if suffix in (".syz", ".prog") or any(SYZ_HEADER.match(line) for line in text.splitlines()[:5]):
        return "syzkaller"
    if suffix == ".c" or C_WORDS.search(text):
        return "c"
    if SYZ_CALL.match(first):
        return "syzkaller"
    raise ReproducerError(
        f"reproducer: expected C, a shell script, a syzkaller program or a static executable, {name} is none of them; "
        "name it .c, .sh or .syz"
    )


def _from_c(guest: GuestSpec, path: Path, _content: bytes) -> list[cpio.Member]:
    return [cpio.program(f"{PLACE}/reproducer", compiled(guest.compiler, path, CFLAGS).read_bytes())]


def _from_shell(guest: GuestSpec, path: Path, content: bytes) -> list[cpio.Member]:
    if _busybox(_init_program(guest)) is None:
        raise MachineLacksError(
            f"guest: expected a static busybox to run {path.name} with, found none for {guest.compiler}'s architecture; "
            + (f"set {BUSYBOX} to one" if guest.emulated else "apt-get install busybox-static")
        )
    script = content if content.startswith(b"#!") else b"#!/bin/sh\n" + content
    return [cpio.program(f"{PLACE}/reproducer", script)]


def _from_program(guest: GuestSpec, path: Path, content: bytes) -> list[cpio.Member]:
    found, wanted = read_program(content), _init_program(guest)
    if found is None or not found.static:
        raise ReproducerError(f"reproducer: expected a static executable, {path.name} is not; link it with -static")
    if wanted and found.machine != wanted.machine:
        raise ReproducerError(
            f"reproducer: expected a program of ELF machine {wanted.machine}, {path.name} is of {found.machine}; compile it with "
            f"{guest.compiler}"
        )
    return [cpio.program(f"{PLACE}/reproducer", content)]


def _from_syzkaller(guest: GuestSpec, _path: Path, content: bytes) -> list[cpio.Member]:
    wanted = _init_program(guest)
    arch = SYZ_ARCHS.get(wanted.machine if wanted else 0, "amd64")
    arguments = [f"-executor={OFFERED}/syz-executor", "-repeat=0", "-procs=1", "-cover=0", f"{OFFERED}/program"]
    return [
        cpio.program(f"{PLACE}/reproducer", _syzkaller("syz-execprog", arch)),
        cpio.program(f"{PLACE}/syz-executor", _syzkaller("syz-executor", arch)),
        cpio.text(f"{PLACE}/arguments", "\n".join(arguments) + "\n"),
        cpio.text(f"{PLACE}/program", content.decode("utf-8", "replace")),
    ]


MAKERS: Mapping[str, Callable[[GuestSpec, Path, bytes], list[cpio.Member]]] = {
    "c": _from_c,
    "shell": _from_shell,
    "syzkaller": _from_syzkaller,
    "program": _from_program,
}


def find_syzkaller(name: str, arch: str = "amd64") -> str | None:
    """Return where a program of syzkaller's is, for one of its architectures."""
    checkout = os.environ.get(SYZKALLER)
    places = [*([str(Path(checkout) / "bin" / f"linux_{arch}")] if checkout else []), os.environ.get("PATH", os.defpath)]
    return shutil.which(name, path=os.pathsep.join(places))


def _syzkaller(name: str, arch: str) -> bytes:
    path = find_syzkaller(name, arch)
    if path is None:
        raise MachineLacksError(
            f"guest: expected {name} on PATH or in ${SYZKALLER}/bin/linux_{arch}, found none; build syzkaller for {arch} "
            f"(make TARGETARCH={arch} execprog executor) and set {SYZKALLER} to its folder"
        )
    return Path(path).read_bytes()


def _init(guest: GuestSpec) -> bytes:
    return compiled(guest.compiler, data_dir() / "linux" / "init.c", INIT_CFLAGS, stage="guest").read_bytes()


def _init_program(guest: GuestSpec) -> Program | None:
    return read_program(_init(guest))
