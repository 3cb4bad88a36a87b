"""May machines use KVM here? Read `accelerator`.

That /dev/kvm opens, or even makes a virtual machine, says little: inside some clouds its guests hang in the firmware. So
a guest of a few bytes is run on the very machine type most kernels are run on, and asked for an exit code.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import struct
import subprocess
import threading
from pathlib import Path

from kbench.host import cache_dir, leashed
from kbench.records import MachineSpec

PROBE_S = 3.0  # a guest that runs takes 0.3 s
PROGRAMS = ("qemu-system-i386", "qemu-system-x86_64")
PROBE_OPTIONS = (
    *("-accel", "kvm", "-m", "16", "-display", "none", "-nic", "none", "-serial", "none", "-monitor", "none", "-no-reboot"),
    *("-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
)
DEVICE = Path("/dev/kvm")
EXIT_VALUE = 0x2A
_once = threading.Lock()  # whoever comes second waits for the answer instead of trying again


def accelerator(spec: MachineSpec) -> str:
    """Return "kvm" if `spec` allows it and it runs guests here, else "tcg"."""
    with _once:
        return "kvm" if spec.kvm and kvm_runs_guests() else "tcg"


@functools.cache
def kvm_runs_guests() -> bool:
    """Return whether KVM has run a guest on this host; tried once a boot of it, 3 s at most, then remembered."""
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return False
    note = _note()
    with contextlib.suppress(OSError):
        return note.read_text() == "yes"
    program = next(filter(shutil.which, PROGRAMS), None)
    works = program is not None and _probe(program)
    with contextlib.suppress(OSError):  # only a memory: no room for it is no trouble
        note.parent.mkdir(parents=True, exist_ok=True)
        aside = note.with_suffix(f".{os.getpid()}")
        aside.write_text("yes" if works else "no")
        aside.replace(note)
    return works


def probe_image() -> bytes:
    """Return a multiboot kernel without ELF that leaves QEMU through isa-debug-exit.

    Multiboot Specification 0.6.96, section 3.1: flag 16 says that the header tells the addresses.
    """
    base, flags, magic = 0x100000, 1 << 16, 0x1BADB002
    code = bytes([0xB0, EXIT_VALUE, 0xE6, 0xF4, 0xF4])  # mov al, VALUE; out 0xf4, al; hlt
    size = 32 + len(code)
    header = struct.pack("<3I5I", magic, flags, -(magic + flags) & 0xFFFFFFFF, base, base, base + size, base + size, base + 32)
    return header + code


def _probe(program: str) -> bool:
    with os.fdopen(os.memfd_create("kbench-probe"), "wb", buffering=0) as image:
        image.write(probe_image())
        argv = leashed([program, *PROBE_OPTIONS, "-kernel", f"/proc/self/fd/{image.fileno()}"], "kvm")
        try:
            ended = subprocess.run(
                argv, pass_fds=[image.fileno()], timeout=PROBE_S, check=False, stdin=subprocess.DEVNULL, capture_output=True
            )
        except subprocess.TimeoutExpired:
            return False
    return ended.returncode == EXIT_VALUE << 1 | 1


def _note() -> Path:
    """Where the answer is remembered: it holds until the host boots again, for this QEMU or any other."""
    return cache_dir() / f"kvm-{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
