"""What this machine has and lacks for kbench, and what to install. Read `examine`, then `install_line`.

How fast it is says `kbench.speed`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from kbench.errors import KbenchError
from kbench.host import PACKAGES, cache_dir, usable_cores
from kbench.kernels import cache
from kbench.kernels.store import Store
from kbench.kernels.toolchain import Compiler, installed
from kbench.machines import kvm_runs_guests
from kbench.machines.elf import read_program
from kbench.machines.guest import BUSYBOX, SYZKALLER, find_syzkaller
from kbench.machines.kvm import DEVICE
from kbench.machines.sandbox import sandbox
from kbench.resources import data_dir

#: Less room than this and a bisection of a real kernel will not get far.
MIN_FREE_GIB = 2.0
#: A compiler of Linux under KASAN and the machines of two cores.
MIN_MEMORY_GIB = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    needed: bool  # without it nothing works; else it is only better to have
    found: str
    advice: str = ""  # what to install or do; "" when ok
    package: str = ""  # what has it, by Debian's name; "" when ok, or when no package has it
    group: str = ""


_BASE, _LINUX, _MACHINES, _HOST, _NOTEBOOKS = "to build and run", "to build Linux", "machines", "this machine", "notebooks"
# Programs, and whether nothing works without them.
_PROGRAMS = {
    **dict.fromkeys(("git", "make", "gcc", "ld", "qemu-system-i386", "setpriv"), (_BASE, True)),
    **dict.fromkeys(("ccache", "flex", "bison", "bc", "perl", "aarch64-linux-gnu-gcc"), (_LINUX, False)),
    **dict.fromkeys(("qemu-system-x86_64", "qemu-system-aarch64"), (_MACHINES, False)),
}
# Versions of gcc that old releases of Linux take (data/linux/releases.toml) and a distribution has.
_GCCS = (11, 12)
# What a Linux tree's own programs (objtool, sign-file) and kbench's guests are compiled with, and the package that has it.
_COMPILES = {
    "libelf.h": (("-fsyntax-only",), "#include <libelf.h>\n", "libelf-dev"),
    "openssl/opensslv.h": (("-fsyntax-only",), "#include <openssl/opensslv.h>\n", "libssl-dev"),
    "static C library": (("-static", "-o", "/dev/null"), "int main(void) { return 0; }\n", "libc6-dev"),
}
# Fedora's names where they differ from Debian's; "": it has none.
_FEDORA = {
    "binutils": "binutils",
    "busybox-static": "busybox",
    "gcc-11": "",
    "gcc-12": "",
    "libc6-dev": "glibc-static",
    "libelf-dev": "elfutils-libelf-devel",
    "libssl-dev": "openssl-devel",
    "perl": "perl-interpreter",
    "qemu-system-arm": "qemu-system-aarch64-core",
    "qemu-system-x86": "qemu-system-x86-core",
}
_VERSION = re.compile(r"\d{1,4}\.\d{1,4}(?:\.\d{1,4})?")


def examine() -> list[Check]:
    """Look at this machine; takes a few seconds the first time, as KVM is tried out by running a guest."""
    checks = [Check("python", True, True, sys.version.split()[0], group=_BASE)]
    checks += [_program(name, group, needed) for name, (group, needed) in _PROGRAMS.items()]
    checks += [_gcc(major, installed()) for major in _GCCS]
    checks += [_compiles(name) for name in _COMPILES]
    checks += [
        _look("compilers", _LINUX, _compilers),
        _look("busybox", _MACHINES, _busybox),
        _look("kvm", _MACHINES, _kvm),
        _look("User-Mode Linux", _MACHINES, _user_mode_linux),
        _look("sandbox", _MACHINES, _sandbox),
        _look("syzkaller", _MACHINES, _syzkaller),
        _look("lab kernel", _MACHINES, lambda: (True, f"in {data_dir().name}/labkernel", "")),
        _look("cores", _HOST, lambda: (True, f"{usable_cores()} usable: as many machines at once", "")),
        _look("memory", _HOST, _memory),
        _look("store", _HOST, _store, needed=True),
        _look("jupyterlab", _NOTEBOOKS, _jupyterlab),
        _look("chromium", _NOTEBOOKS, _chromium),
    ]
    order = [_BASE, _LINUX, _MACHINES, _HOST, _NOTEBOOKS]
    return sorted((_advised(check) for check in checks), key=lambda check: order.index(check.group))


def install_line(checks: Iterable[Check]) -> str:
    """Return the one line that installs what is missing; "" when no package would help."""
    packages = sorted({name for check in checks if check.package and (name := _named_here(check.package))})
    return f"{'' if os.geteuid() == 0 else 'sudo '}{_installer()} {' '.join(packages)}" if packages else ""


def _installer() -> str:
    return "apt-get install" if shutil.which("apt-get") or not shutil.which("dnf") else "dnf install"


def _named_here(package: str) -> str:
    return package if _installer().startswith("apt") else _FEDORA.get(package, package)


def _advised(check: Check) -> Check:
    named = _named_here(check.package) if check.package else ""
    advice = f"{_installer()} {named}" if named else check.advice or f"build {check.name} from source"
    return check if check.ok else replace(check, advice=advice)


def _program(name: str, group: str, needed: bool) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, False, needed, "not on PATH", "", PACKAGES.get(name, name), group)
    answer = subprocess.run(
        [path, "--version"], capture_output=True, text=True, check=False, errors="replace", stdin=subprocess.DEVNULL
    )
    version = _VERSION.search(answer.stdout)
    return Check(name, True, needed, version[0] if version else path, group=group)


def _gcc(major: int, compilers: tuple[Compiler, ...]) -> Check:
    name = f"gcc-{major}"
    found = next((one for one in compilers if one.family == "gcc" and one.major == major), None)
    if found:
        return Check(name, True, False, found.banner, group=_LINUX)
    return Check(name, False, False, "not on PATH: the nearest stands in for it", "", name, _LINUX)


def _compilers() -> tuple[bool, str, str]:
    """All that can be named in a case."""
    found = [*installed(), *installed("aarch64-linux-gnu-")]
    names = ", ".join(f"{one.program} ({one.major})" if one.program[-1].isalpha() else one.program for one in found)
    return bool(found), names or "none", "apt-get install gcc"


def _compiles(name: str) -> Check:
    options, text, package = _COMPILES[name]
    if _succeeds("gcc", *options, "-x", "c", "-", stdin=text):
        return Check(name, True, False, "compiles", group=_LINUX)
    return Check(name, False, False, "not found", "", package, _LINUX)


def _look(name: str, group: str, look: Callable[[], tuple[bool, str, str]], *, needed: bool = False) -> Check:
    try:
        ok, found, advice = look()
    except KbenchError as error:
        return Check(name, False, needed, str(error), "see the message", group=group)
    package = advice.removeprefix("apt-get install ")
    return Check(name, ok, needed, found, "" if ok else advice, "" if ok or package == advice else package, group)


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


def _sandbox() -> tuple[bool, str, str]:
    program = next(filter(shutil.which, ("qemu-system-i386", "qemu-system-x86_64")), None)
    if program and sandbox(program):
        return True, "QEMU gives up starting programs and gaining privileges", ""
    return False, "QEMU runs without a seccomp filter", "use a QEMU built with seccomp, as distributions do"


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


def _memory() -> tuple[bool, str, str]:
    free_gib = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    if "MemAvailable" in lines:
        free_gib = int(lines["MemAvailable"].split()[0]) / 2**20
    total_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        free_gib >= MIN_MEMORY_GIB,
        f"{total_gib:.1f} GiB, {free_gib:.1f} GiB available",
        f"end other programs (wanted: {MIN_MEMORY_GIB:.0f} GiB), or run fewer machines at once with --jobs",
    )


def _store() -> tuple[bool, str, str]:
    root = Store().root
    free_gib = shutil.disk_usage(root).free / 2**30
    return (
        free_gib >= MIN_FREE_GIB,
        f"{cache_dir()}, {free_gib:.1f} GiB free; keeps {cache.limit(root) / 2**30:.1f} GiB at most",
        f"free some room (wanted: {MIN_FREE_GIB:.0f} GiB) or set KBENCH_CACHE",
    )


def _jupyterlab() -> tuple[bool, str, str]:
    try:
        return True, metadata.version("jupyterlab"), ""
    except metadata.PackageNotFoundError:
        return False, "not installed", "pip install jupyterlab"


def _chromium() -> tuple[bool, str, str]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return path is not None, path or "not found: no tests of the views", "apt-get install chromium"
