"""What this machine has and lacks for kbench, and what to install. Read `examine`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from kbench.errors import KbenchError
from kbench.host import PACKAGES, cache_dir, usable_cores
from kbench.kernels.store import Store
from kbench.machines import kvm_runs_guests
from kbench.machines.kvm import DEVICE
from kbench.resources import data_dir

#: Less room than this and a bisection of a real kernel will not get far.
MIN_FREE_GIB = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    needed: bool  # without it nothing works; else it is only better to have
    found: str
    advice: str = ""  # what to install or do; "" when ok


# Programs, and whether nothing works without them.
_PROGRAMS = {
    "git": True,
    "make": True,
    "gcc": True,
    "ld": True,
    "qemu-system-i386": True,
    "setpriv": True,
    "qemu-system-x86_64": False,
    "ccache": False,
}


def examine() -> list[Check]:
    """Look at this machine; takes a few seconds the first time, as KVM is tried out by running a guest."""
    checks = [Check("python", True, True, sys.version.split()[0])]
    checks += [_program(name, needed) for name, needed in _PROGRAMS.items()]
    checks += [_check("kvm", _kvm, needed=False), _check("store", _store, needed=True), _check("lab kernel", _lab, needed=False)]
    checks.append(Check("cores", True, False, f"{usable_cores()} usable: as many machines at once"))
    return checks


def _program(name: str, needed: bool) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, False, needed, "not on PATH", f"apt-get install {PACKAGES.get(name, name)}")
    answer = subprocess.run(
        [path, "--version"], capture_output=True, text=True, check=False, errors="replace", stdin=subprocess.DEVNULL
    )
    return Check(name, True, needed, answer.stdout.partition("\n")[0].strip() or path)


def _check(name: str, look: Callable[[], tuple[bool, str, str]], *, needed: bool) -> Check:
    try:
        ok, found, advice = look()
    except KbenchError as error:
        return Check(name, False, needed, str(error), "see the message")
    return Check(name, ok, needed, found, "" if ok else advice)


def _kvm() -> tuple[bool, str, str]:
    if kvm_runs_guests():
        return True, "runs guests", ""
    openable = os.access(DEVICE, os.R_OK | os.W_OK)
    seen = "guests die in it" if openable else "/dev/kvm may not be opened" if DEVICE.exists() else "no /dev/kvm"
    return (
        False,
        f"{seen}: machines are emulated (TCG), several times slower",
        "usermod -aG kvm $USER" if DEVICE.exists() and not openable else "use a host with KVM for large kernels",
    )


def _store() -> tuple[bool, str, str]:
    free_gib = shutil.disk_usage(Store().root).free / 2**30
    return (
        free_gib >= MIN_FREE_GIB,
        f"{cache_dir()}, {free_gib:.1f} GiB free",
        f"free some room (wanted: {MIN_FREE_GIB:.0f} GiB) or set KBENCH_CACHE",
    )


def _lab() -> tuple[bool, str, str]:
    return True, f"in {data_dir().name}/labkernel", ""
