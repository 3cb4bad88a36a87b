"""The compilers of this machine, by version. One effect: it asks each for its --version. Read `choose` first."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from kbench.errors import MachineLacksError

#: What a Makefile takes from the environment and a kernel depends on: part of a build's key.
DECIDES = (
    *("ARCH", "CROSS_COMPILE", "CC", "LD", "AS", "AR", "LLVM", "HOSTCC", "CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH"),
    *("CFLAGS", "CPPFLAGS", "LDFLAGS", "ASFLAGS", "KCFLAGS", "KCPPFLAGS", "KAFLAGS"),
)
_NAME = re.compile(r"(gcc|clang)(?:-(\d{1,3}))?", re.ASCII)
_VERSION = re.compile(r"\b(\d{1,3})\.\d+\.\d+")


@dataclass(frozen=True, slots=True)
class Compiler:
    """One compiler of this machine."""

    program: str  # on PATH: "gcc-11", "aarch64-linux-gnu-gcc"
    family: str  # "gcc" or "clang"
    major: int
    banner: str  # first line of its --version


def toolchain() -> dict[str, str]:
    """Return what decides a build besides its source: the compiler, and what the environment asks of it."""
    return {"compiler": compiler()} | {name: os.environ[name] for name in DECIDES if name in os.environ}


def compiler() -> str:
    """Return the first line of the default compiler's --version; "" when there is none."""
    for name in (os.environ.get("CC", ""), "gcc", "clang", "cc"):
        if name and (path := shutil.which(name)):
            return banner(path)
    return ""


@functools.cache
def banner(program: str) -> str:
    """Return the first line a program's --version prints."""
    answer = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}, errors="replace"
    )
    return answer.stdout.partition("\n")[0].strip()


def installed(cross: str = "") -> tuple[Compiler, ...]:
    """Return the compilers on PATH whose names begin with a prefix, plain names before numbered ones."""
    names = set()
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if folder and Path(folder).is_dir():
            names |= {
                name
                for name in (each.name for each in Path(folder).iterdir())
                if name.startswith(cross) and _NAME.fullmatch(name[len(cross) :])
            }
    found = [_identify(name, cross) for name in sorted(names, key=lambda name: (len(name), name))]
    return tuple(one for one in found if one)


def _identify(program: str, cross: str) -> Compiler | None:
    path, name = shutil.which(program), _NAME.fullmatch(program[len(cross) :])
    if path is None or name is None:
        return None
    line = banner(path)
    version = _VERSION.search(line.rpartition(")")[2]) or _VERSION.search(line)
    return Compiler(program, name[1], int(version[1]), line) if version else None


def choose(wanted: str, version: int, cross: str = "") -> tuple[Compiler, str]:
    """Return the compiler to build with, and a note when it stands in for another.

    Parameters
    ----------
    wanted : str
        By name, without the prefix: "gcc-11"; "" for what fits a release.
    version : int
        What fits: gcc's major version, 0 for the machine's own.
    cross : str
        Prefix of another architecture's compilers.

    Raises
    ------
    MachineLacksError
        There is none, or not the one that is wanted.
    """
    compilers = installed(cross)
    if wanted:
        named = next((one for one in compilers if one.program == cross + wanted.removeprefix(cross)), None)
        if named is None:
            raise _lacking(cross, wanted.removeprefix(cross), [one.program for one in compilers])
        return named, ""
    gccs = [one for one in compilers if one.family == "gcc"]
    if not gccs:
        raise _lacking(cross, "gcc", [])
    if not version:
        return gccs[0], ""
    nearest = min(gccs, key=lambda one: (abs(one.major - version), one.major))
    stood_in = f"compiler: gcc {version} fits this release, {nearest.program} (gcc {nearest.major}) stands in for it"
    return nearest, "" if nearest.major == version else stood_in


def _lacking(cross: str, name: str, seen: list[str]) -> MachineLacksError:
    # Debian puts the architecture last: gcc-11-aarch64-linux-gnu has aarch64-linux-gnu-gcc-11.
    package = "-".join(filter(None, (name, cross.rstrip("-"))))
    found = ", ".join(seen) or "none"
    return MachineLacksError(f"build: expected {cross}{name} on PATH, found {found}; apt-get install {package}")
