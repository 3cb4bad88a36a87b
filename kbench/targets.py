"""The kernels kbench knows how to build and run without being told. Read `LAB` first.

A target is data: a case names one, and its own keys replace single values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from kbench import reproducer
from kbench.records import BuildSpec, MachineSpec, Target

LAB = Target(
    name="lab",
    build=BuildSpec(
        commands=(("make", "O={build_dir}", "-j{jobs}"),),
        image="labkernel.elf",
        config=".config",
        clean=False,  # its Makefile knows what every object depends on
        timeout_s=120.0,
    ),
    machine=MachineSpec(
        # microvm starts by the kernel's PVH note: no PCI, no option ROMs, and the shortest way to user space.
        argv=(
            *("qemu-system-i386", "-M", "microvm", "-m", "64"),
            *("-kernel", "{image}", "-initrd", "{reproducer}", "-append", "{cmdline}"),
            *("-device", "pvpanic"),
        ),
        booted=r"^init: started",
        done=r"^repro: done",
        test_failed=r"^init: basic test failed: (?P<title>[^\r\n]*)",
        prompt=r"^lab# ",
        boot_timeout_s=20.0,
        silence_s=15.0,  # both watchdogs of the kernel speak after a second of the guest's own time
        timeout_s=60.0,
        memory_mib=64,
    ),
)

TARGETS: Mapping[str, Target] = MappingProxyType({LAB.name: LAB})

#: By target: what its reproducers have to pass before any machine is started.
REPRODUCER_CHECKS: Mapping[str, Callable[[str], None]] = MappingProxyType({LAB.name: reproducer.check})
