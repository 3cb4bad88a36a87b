"""What this machine has and lacks for kbench, and what to install. Read `examine`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kbench.errors import KbenchError
from kbench.host import PACKAGES, cache_dir, usable_cores
from kbench.kernels.store import Store
from kbench.machines import kvm_runs_guests
from kbench.machines.elf import read_program
from kbench.machines.guest import BUSYBOX, SYZKALLER, find_syzkaller
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
    # for Linux
    "flex": False,
    "bison": False,
    "bc": False,
    "perl": False,
    "gcc-11": False,
    "gcc-12": False,
    "qemu-system-aarch64": False,
    "aarch64-linux-gnu-gcc": False,
}
# Headers a Linux tree's own programs (objtool, sign-file) are compiled with, and the package that has each.
_HEADERS = {"libelf.h": "libelf-dev", "openssl/opensslv.h": "libssl-dev"}
# Packages of programs that are not called as their package is.
_PACKAGES = {"aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu"}


def examine() -> list[Check]:
    """Look at this machine; takes a few seconds the first time, as KVM is tried out by running a guest."""
    checks = [Check("python", True, True, sys.version.split()[0])]
    checks += [_program(name, needed) for name, needed in _PROGRAMS.items()]
    checks += [_header(name, package) for name, package in _HEADERS.items()]
    checks += [
        _check("busybox", _busybox, needed=False),
        _check("User-Mode Linux", _user_mode_linux, needed=False),
        _check("syzkaller", _syzkaller, needed=False),
    ]
    checks += [_check("kvm", _kvm, needed=False), _check("store", _store, needed=True), _check("lab kernel", _lab, needed=False)]
    checks.append(Check("cores", True, False, f"{usable_cores()} usable: as many machines at once"))
    return checks


def _program(name: str, needed: bool) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, False, needed, "not on PATH", f"apt-get install {PACKAGES.get(name, _PACKAGES.get(name, name))}")
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


def _header(name: str, package: str) -> Check:
    there = _succeeds("gcc", "-fsyntax-only", "-x", "c", "-", stdin=f"#include <{name}>\n")
    return Check(name, there, False, "compiles" if there else "not found", "" if there else f"apt-get install {package}")


def _succeeds(*argv: str, stdin: str = "") -> bool:
    if shutil.which(argv[0]) is None:
        return False
    return subprocess.run(argv, input=stdin, text=True, capture_output=True, check=False).returncode == 0


def _busybox() -> tuple[bool, str, str]:
    path = os.environ.get(BUSYBOX) or shutil.which("busybox")
    program = read_program(Path(path).read_bytes()) if path and Path(path).is_file() else None
    if program is None or not program.static:
        seen = f"{path} is not static" if program else "not found"
        return False, f"{seen}: no shell in Linux guests", "apt-get install busybox-static"
    return True, f"{path}, static", ""


def _user_mode_linux() -> tuple[bool, str, str]:
    parts = ("--net", "--pid", "--ipc", "--fork", "true")
    if _succeeds("unshare", *parts) or _succeeds("unshare", "--user", *parts):
        return True, "machines get a network and processes of their own", ""
    return (
        False,
        "machines run, but with this user's network: namespaces are not allowed here",
        "sysctl kernel.unprivileged_userns_clone=1, or allow unshare in the container",
    )


def _syzkaller() -> tuple[bool, str, str]:
    found = [find_syzkaller(name) for name in ("syz-execprog", "syz-executor")]
    if all(found):
        return True, str(found[0]), ""
    return False, "not found: no syzkaller programs as reproducers", f"build syzkaller and set {SYZKALLER} to its folder"


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
