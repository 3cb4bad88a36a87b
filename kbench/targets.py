"""The kernels kbench knows how to build and run without being told. Read `LAB` first, then `UM`.

A target is data: a case names one, and its own keys replace single values. Another architecture is one more entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from kbench import reproducer
from kbench.records import BuildSpec, GuestSpec, LinuxSpec, MachineSpec, Target

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

# The lines of data/linux/init.c: records of the kernel's log, after a time stamp, and after whatever line of the reproducer's
# has no end. A pattern that begins with plain text is many times quicker to look for than one that allows for what may come
# before; a reproducer that says these words itself is believed.
_SAYS = "kbench: "
_LINUX = MachineSpec(
    argv=(),
    booted=f"{_SAYS}up$",
    done=f"{_SAYS}done$",
    test_failed=f"{_SAYS}(?P<title>basic test failed: [^\\r\\n]*)",
    prompt=r"^kbench# $",
)

# The words a panic needs to end the machine at once, and a clean reading of what came before it.
_LINUX_WORDS = "panic=-1 printk.time=1"

UM = Target(
    name="um",
    build=BuildSpec(
        commands=(("make", "O={build_dir}", "ARCH=um", "-j{jobs}", "linux"),),
        image="linux",
        symbols="linux",
        config=".config",
        clean=False,
        linux=LinuxSpec(
            arch="um",
            source_archs=("um", "x86"),
            base="um",
            refused=(
                # the host's files, in the guest or by the guest's console
                *("HOSTFS", "MCONSOLE", "XTERM_CHAN", "PORT_CHAN", "PTY_CHAN", "TTY_CHAN", "MMAPPER", "UML_IOMEM_EMULATION"),
                # the host's network
                *("UML_NET", "UML_NET_ETHERTAP", "UML_NET_TUNTAP", "UML_NET_SLIP", "UML_NET_DAEMON", "UML_NET_VECTOR"),
                *("UML_NET_VDE", "UML_NET_MCAST", "UML_NET_PCAP", "UML_NET_SLIRP"),
                # the host's devices and other processes
                *("VIRTIO_UML", "UML_PCI_OVER_VIRTIO", "UML_PCI_OVER_VFIO", "UML_SOUND", "HOSTAUDIO", "UML_WATCHDOG"),
            ),
        ),
    ),
    machine=replace(
        _LINUX,
        # Measuring how often a loop runs in a jiffy takes most of the boot; nothing here waits by counting loops for a device.
        argv=("{image}", "initrd={reproducer}", "lpj=10000000", *_LINUX_WORDS.split(), "{cmdline}"),
        boot_timeout_s=20.0,
        repro_s=20.0,
        silence_s=40.0,  # more than repro_s: a reproducer that says nothing is ended by the guest before it counts as a hang
        timeout_s=90.0,
        memory_mib=128,
        kvm=False,
    ),
    guest=GuestSpec(compiler="gcc"),
)

QEMU_X86_64 = Target(
    name="qemu-x86_64",
    build=BuildSpec(
        commands=(("make", "O={build_dir}", "ARCH=x86_64", "-j{jobs}", "vmlinux"),),
        image="vmlinux",
        symbols="vmlinux",
        config=".config",
        clean=False,
        linux=LinuxSpec(arch="x86_64", source_archs=("x86",), base="x86_64"),
    ),
    machine=replace(
        _LINUX,
        # As for the lab kernel: microvm, and vmlinux itself by its PVH note. `machine = "q35"` in a case runs the same file.
        argv=(
            *("qemu-system-x86_64", "-M", "microvm,acpi=off,rtc=on", "-cpu", "max"),
            *("-kernel", "{image}", "-initrd", "{reproducer}"),
            *("-append", f"console=ttyS0 {_LINUX_WORDS} reboot=t kbench.reboot {{cmdline}}"),
        ),
        boot_timeout_s=60.0,
        repro_s=30.0,
        silence_s=60.0,
        timeout_s=150.0,
        memory_mib=256,
    ),
    guest=GuestSpec(compiler="gcc"),
)

QEMU_AARCH64 = Target(
    name="qemu-aarch64",
    build=BuildSpec(
        commands=(("make", "O={build_dir}", "ARCH=arm64", "-j{jobs}", "Image"),),
        image="arch/arm64/boot/Image",
        symbols="vmlinux",
        config=".config",
        clean=False,
        linux=LinuxSpec(arch="arm64", source_archs=("arm64",), base="aarch64", cross="aarch64-linux-gnu-"),
    ),
    machine=replace(
        _LINUX,
        argv=(
            *("qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57"),
            *("-kernel", "{image}", "-initrd", "{reproducer}"),
            *("-append", f"console=ttyAMA0 {_LINUX_WORDS} {{cmdline}}"),
        ),
        boot_timeout_s=120.0,
        repro_s=45.0,
        silence_s=90.0,
        timeout_s=240.0,
        memory_mib=256,
        kvm=False,
    ),
    guest=GuestSpec(compiler="aarch64-linux-gnu-gcc", emulated=True),
)

TARGETS: Mapping[str, Target] = MappingProxyType({target.name: target for target in (LAB, UM, QEMU_X86_64, QEMU_AARCH64)})

#: By target: what its reproducers have to pass before any machine is started.
REPRODUCER_CHECKS: Mapping[str, Callable[[str], None]] = MappingProxyType({LAB.name: reproducer.check})
