"""User-Mode Linux: the kernel as a process of this host. Read `um_argv` first.

For reproducers one trusts. There is no wall between the guest and this machine but the kernel under test, and that is the
one with the bug: a reproducer that takes over the guest's kernel is a program of the user who started kbench. What kbench
does is to take away what such a program would need: privileges, capabilities and the network (data/linux/launch.c), and
every word of the command line by which a guest is handed the host's files, terminals, sockets and network devices.
`host_access = true` in a case gives those words back.

The command line is pure text; `launched` puts the program before it that starts it.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path, PurePath

from kbench.errors import CaseError
from kbench.machines.compiled import compiled
from kbench.records import KernelImage, MachineSpec
from kbench.resources import data_dir

IMAGE = "{image}"  # as argv[0]: the kernel is the process
LAUNCHER_CFLAGS = ("-O2", "-static", "-s")
SHIM_CFLAGS = ("-O2", "-shared", "-fPIC", "-s")
ENVIRONMENT = ("PATH", "TMPDIR")  # what of this process's environment goes on: TMPDIR has room for the guest's memory

# What kbench says of every machine. The console is what the process prints and reads. There is no folder for a control
# socket: User-Mode Linux goes on without it, and so leaves nothing in the home folder.
OURS = ("noreboot", "uml_dir=/dev/null", "con=null", "con0=fd:0,fd:1", "ssl=null")

# Words of the command line that are User-Mode Linux's own, by how they begin (arch/um: __setup, __uml_setup, and the
# parameters of its drivers). All but those of HARMLESS concern the host.
HOST_WORDS = re.compile(
    r"""(?:eth\d | vec\d | ubd | udb | fake_ide | con\d | con= | ssl | mconsole | xterm= | hostfs | humfs | dtb= | iomem=
    | umid= | uml_dir= | dsp= | mixer= | initrd= | port | pty | tty\d*= | stderr= | hostaudio | mmapper | watchdog | gprof
    | virtio_uml\. | um_rtc | vfio | uml_vfio | uml_pci | pcap | tuntap | slirp | vde | daemon | time-travel | rootfstype=hostfs
    | rootflags= | seccomp= | --)""",
    re.VERBOSE,
)
HARMLESS = re.compile(r"time-travel(?:=inf-cpu)?$|time-travel-start=\d+$")
# A value that is a path is one of the guest's only here; anywhere else it may be the host's.
GUEST_PATHS = re.compile(r"(?:init|rdinit|root|resume|kbench\.root)=/|firmware_class\.path=/|core_pattern=/")
DISK_ENDS = re.compile(r"[,:\s]")  # where User-Mode Linux takes the path of a disk image to end
PATH_VALUE = re.compile(r"=[^=]*(?:/|\b(?:fd|file|port|pts|pty|tty|xterm|unix):)")


def is_process(spec: MachineSpec) -> bool:
    """Is the kernel a process by itself, not loaded by an emulator?"""
    return spec.argv[:1] == (IMAGE,)


def um_argv(spec: MachineSpec, image: KernelImage, *, reproducer: PurePath | None) -> list[str]:
    """Build the argv of one machine: what `spec.argv` says, its memory, disk and console added.

    Parameters
    ----------
    reproducer : path or None
        None: a word that asks for {reproducer} is left out.

    Raises
    ------
    CaseError
        A word that would let the guest at the host, unless the image's target says `host_access`; no {reproducer} where one
        is to be run; a disk image whose path cannot be said.
    """
    line = " ".join(spec.argv[1:])
    line = line if "{cmdline}" in line else f"{line} {{cmdline}}"
    theirs = line.replace("{cmdline}", spec.cmdline).split()
    if reproducer is not None and not any("{reproducer}" in word for word in theirs):
        raise CaseError("um: expected {reproducer} in the line, none seen; add for instance: initrd={reproducer}")
    ours = list(OURS)
    if not any(word.startswith("mem=") for word in theirs):
        ours.append(f"mem={spec.memory_mib}M")
    if found := DISK_ENDS.search(spec.rootfs):
        raise CaseError(f"um: expected a disk image's path without {found[0]!r}, {spec.rootfs!r} seen; rename it")
    if spec.rootfs:
        ours.append(f"ubd0r={spec.rootfs}")
    if not image.target.build.host_access:
        for word in theirs:
            _refuse(word)
    placed = [word for word in theirs if reproducer is not None or "{reproducer}" not in word]
    return [str(image.path), *(word.replace("{reproducer}", str(reproducer)) for word in placed), *ours]


def _refuse(word: str) -> None:
    bare = word.replace('"', "").replace("'", "")  # the kernel takes quotes off
    if bare == "initrd={reproducer}" or HARMLESS.match(bare) or GUEST_PATHS.match(bare):
        return
    if HOST_WORDS.match(bare) or PATH_VALUE.search(bare):
        raise CaseError(
            f"um: expected words that keep the guest from the host, {word!r} seen; remove it, or set host_access = true "
            "for a reproducer you trust with this machine's files and network"
        )


def launched(argv: list[str]) -> list[str]:
    """Return the argv that starts `argv` as a machine of this process, which it does not outlive.

    Raises
    ------
    MachineLacksError
        There is no compiler to make the program that does so.
    """
    return [str(_program("launch.c", LAUNCHER_CFLAGS)), str(os.getpid()), *argv]


def environment() -> dict[str, str]:
    """Return the environment of a machine; errors as for `launched`."""
    ours = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    return ours | {"LD_PRELOAD": str(_program("xstate.c", SHIM_CFLAGS))}


@functools.cache
def _program(source: str, flags: tuple[str, ...]) -> Path:
    return compiled("gcc", data_dir() / "linux" / source, flags, stage="boot")
