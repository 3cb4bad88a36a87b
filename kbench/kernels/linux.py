"""What building Linux takes besides running make, worked out before anything runs. Read `plan` and `decides` first.

Nothing here runs make: `configure` writes the config, `builder` does the rest.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from kbench.host import cache_dir
from kbench.kernels.fragments import is_whole, render, settings
from kbench.kernels.releases import Release, compiler_version, fixups, release_of
from kbench.kernels.toolchain import Compiler, banner, choose
from kbench.records import LinuxSpec, Target
from kbench.resources import data_dir


@dataclass(frozen=True, slots=True)
class Plan:
    """How one revision of Linux is configured and made."""

    release: Release | None
    compiler: Compiler
    linker: str  # first line of its --version: the kernel's own banner names it
    asked: Mapping[str, str]  # options, in the end
    given: frozenset[str]  # those of them that the case itself names
    whole: bool  # `asked` is a whole .config, to be completed; else the base and what was put on top
    notes: tuple[str, ...]

    @property
    def key(self) -> dict[str, object]:
        """What decides the kernel besides its source, as JSON."""
        return {"compiler": self.compiler.banner, "linker": self.linker, "whole": self.whole, "config": render(self.asked)}


def plan(target: Target, linux: LinuxSpec, config: str | None, makefile: str) -> Plan:
    """Return how to build a revision.

    Parameters
    ----------
    target : Target
    linux : LinuxSpec
        `target.build.linux`.
    config : str, optional
        The case's: fragments, one below the other, to put on top of the base, or a whole .config.
    makefile : str
        Text of the revision's top Makefile, for its release.

    Raises
    ------
    MachineLacksError
        The compiler it takes is not on this machine.
    """
    spec, release = target.build, release_of(makefile)
    compiler, stood_in = choose(spec.compiler, compiler_version(release), linux.cross)
    own = settings(config or "")
    whole = is_whole(config or "")
    asked = dict(own) if whole else settings("\n".join((base_config(linux, disk=bool(target.machine.rootfs)), config or "")))
    notes = [stood_in] if stood_in else []
    for option in () if spec.host_access else linux.refused:
        if own.get(option, "n") != "n":
            notes.append(
                f"config: {option} was asked for and is off: it lets the guest at the host; host_access = true permits it"
            )
        asked[option] = "n"
    for fixup in fixups(release, asked):
        if asked.get(fixup.option, fixup.value) != fixup.value and fixup.option in own:
            notes.append(
                f"config: {fixup.option}={own[fixup.option]} was asked for and is {fixup.value} at this release: {fixup.why}"
            )
        asked[fixup.option] = fixup.value
    linker = linux.cross + "ld"
    return Plan(release, compiler, banner(linker) if shutil.which(linker) else "", asked, frozenset(own), whole, tuple(notes))


def base_config(linux: LinuxSpec, *, disk: bool = False) -> str:
    """Return the text of the config kbench ships for an architecture, with what a disk image of the user's takes on top."""
    names = [linux.base, *([f"{linux.base}-disk"] if disk else [])]
    return "\n".join((data_dir() / "linux" / f"{name}.config").read_text(encoding="utf-8") for name in names)


def with_linux_words(target: Target, prepared: Plan) -> Target:
    """Return the target with the variables on each make's command line that Linux is built by."""
    linux = target.build.linux
    if linux is None:
        return target
    words = make_words(linux, prepared.compiler)
    commands = tuple((*argv, *words) if argv[0] == "make" else argv for argv in target.build.commands)
    return replace(target, build=replace(target.build, commands=commands))


def make_words(linux: LinuxSpec, compiler: Compiler) -> tuple[str, ...]:
    """Return the variables for make's command line: the architecture, the compilers, and no local version.

    LOCALVERSION, set and empty, keeps scripts/setlocalversion from adding a "+" because git is around.
    """
    launcher = "ccache " if shutil.which("ccache") else ""
    native = "gcc" if linux.cross else compiler.program  # programs that the build itself runs
    return (
        f"ARCH={linux.arch}",
        f"CROSS_COMPILE={linux.cross}",
        f"CC={launcher}{compiler.program}",
        f"HOSTCC={launcher}{native}",
        "LOCALVERSION=",
    )


#: The first versions that take -fmacro-prefix-map.
_MAPS_MACROS = {"gcc": 8, "clang": 10}


def environment(source_tree: Path, build_dir: Path, compiler: Compiler) -> dict[str, str]:
    """Return what a build's environment needs so that neither folder shows in the kernel, and ccache hits from any.

    Names of source files are relative to the tree in the debug information and in what the kernel prints, also where ccache
    gives the compiler another spelling than the kernel's Makefile expects. ccache reads paths below the common folder
    as relative, so that another slot's objects fit; that it looks at content, not at times, is right for a checkout.
    """
    tree, objects = os.fspath(source_tree), os.fspath(build_dir)
    beside = os.path.relpath(tree, objects)
    options = [f"-fdebug-prefix-map={old}=." for old in (tree, beside, objects)]
    if compiler.major >= _MAPS_MACROS.get(compiler.family, 0):
        options += [f"-fmacro-prefix-map={old}/=" for old in (tree, beside)]
    maps = " ".join(options)
    flags = {name: f"{os.environ.get(name, '')} {maps}".strip() for name in ("KCFLAGS", "KAFLAGS")}
    return flags | {
        "CCACHE_DIR": os.environ.get("CCACHE_DIR") or os.fspath(cache_dir().absolute() / "ccache"),
        "CCACHE_BASEDIR": os.path.commonpath([tree, objects]),
        "CCACHE_NOHASHDIR": "1",
        "CCACHE_SLOPPINESS": "include_file_ctime,include_file_mtime",
    }


def kconfig_variables(linux: LinuxSpec) -> dict[str, str]:
    """Return what the tree's Kconfig files call its architectures."""
    first, last = linux.source_archs[0], linux.source_archs[-1]
    return {"SRCARCH": first, "HEADER_ARCH": last, "SUBARCH": last, "ARCH": linux.arch}


#: Folders nothing of which is read for a kernel. Kconfig files in them are, and a build's list of files has those.
_OUTSIDE = frozenset(("Documentation", "LICENSES", "samples", ".git", ".github"))
#: Files of scripts/ that people run, not builds.
_BY_HAND = re.compile(
    r"scripts/(?:coccinelle/|gdb/|package/|kernel-doc|checkpatch|get_maintainer|get_feat|get_abi|spelling\.txt|tags\.sh|ver_linux"
    r"|cleanfile|cleanpatch|checkkconfigsymbols|bloat-o-meter|faddr2line|decode|spdx|stackusage|sphinx"
    r"|documentation-file-ref-check|const_structs\.checkpatch|bootgraph|dev-needs|diffconfig|extract_xc3028|objdiff|stackdelta"
    r"|show_delta|namespace|parse-maintainers|profile2linkerlist|export_report|patch-kernel|ksymoops/|tracing/|headerdep|headers_check"
    r"|config$|ver_linux|checkversion|checkincludes|checkdeclares|includecheck|versioncheck|find-unused-docs|git\.orderFile)"
)  # fmt: skip
#: Folders of tools/ whose programs take part in builds: objtool, resolve_btfids, and what they are made of.
_TOOLS = ("arch", "bpf/resolve_btfids", "build", "include", "lib", "objtool", "scripts")
#: Compiled or included, and then among the files of the build; or read by people.
_LISTED = frozenset((".c", ".h", ".S", ".rs", ".rst", ".txt", ".md", ".dts", ".dtsi", ".dtso", ".yaml", ".xml"))
_NAMES = re.compile(r"(?:Makefile|Kbuild|Kconfig|.*\.lds\b|.*\.mk$|.*_shipped$|localversion|default_cpio_list|.*\.tbl$)")
_READ_BY_PEOPLE = frozenset(("MAINTAINERS", "CREDITS", "COPYING", "README", "TODO", "NOTES", "LICENSE", "Changes", "ChangeLog"))


def decides(path: str, source_archs: Sequence[str]) -> bool:
    """Tell whether a file can decide what a kernel is without being compiled into it.

    Makefiles, Kconfig files, linker scripts, syscall tables, the build's own scripts and tools, and any other file that is
    neither a source nor a text for people: what a build reads in ways its lists do not tell has such a form. In doubt the
    answer is yes: that costs a build. A source that is added, and then found instead of another of its name, is not seen here.

    Parameters
    ----------
    path : str
        Relative to the tree.
    source_archs : sequence of str
        Folders below arch/ whose files go in.
    """
    parts = PurePosixPath(path).parts
    if not parts or parts[0] in _OUTSIDE or _other_architecture(parts, source_archs):
        return False
    name = parts[-1]
    if parts[0] == "scripts":
        return not _BY_HAND.match(path) and name != ".gitignore"
    if parts[0] == "tools":
        return path == "tools/Makefile" or any(path.startswith(f"tools/{folder}/") for folder in _TOOLS)
    if _NAMES.match(name):
        return True
    if name.startswith(".") or name in _READ_BY_PEOPLE:
        return False
    if "configs" in parts and (name.endswith(("defconfig", ".config")) or parts[0] == "arch"):
        return False  # only make defconfig and the like read them
    return PurePosixPath(name).suffix not in _LISTED


def _other_architecture(parts: Sequence[str], source_archs: Collection[str]) -> bool:
    depth = 1 if parts[0] == "arch" else 2 if parts[:2] == ("tools", "arch") else 0
    return depth > 0 and len(parts) > depth + 1 and parts[depth] not in source_archs
