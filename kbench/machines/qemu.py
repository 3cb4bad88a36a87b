"""The QEMU command line: somebody's own, as it stands in a Makefile, made ours. Read `qemu_argv` first.

Pure text; nothing is started here. What is done with an option is a row of `OPTIONS`; an option without a row stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath

from kbench.errors import CaseError
from kbench.records import KernelImage, MachineSpec

MONITOR = "kbench-qmp"
CONSOLE = "kbench-console"
ROOTFS = "kbench-rootfs"
MMIO_MACHINES = frozenset({"microvm", "virt"})  # machine types whose virtio devices are not on PCI
DEBUG_EXIT = "isa-debug-exit"  # a device with which a guest ends QEMU with an exit code of its choice


class Treatment(Enum):
    """What becomes of an option of the user's."""

    FLAG = "stands, and takes no value"
    DROP_FLAG = "is ours to say, and takes no value"
    DROP = "is ours to say"
    REFUSE = "cannot be honoured"
    HOST = "lets the guest, or QEMU itself, at files and programs of this host"
    OBJECT = "is refused unless it is harmless to this host"
    PORT = "is where the console may be"
    CHARDEV = "may be what the console goes to"
    NETWORK = "is refused unless it says none"
    ACCELERATOR = "chooses the accelerator"
    MACHINE = "may choose the accelerator"
    CPU = "may need KVM"
    DISK = "may name the image; is written to a snapshot"
    LOADED = "may name the image"


# Every option of QEMU 7 to 10 that takes no value has to be here, or it would swallow the word after it.
OPTIONS: dict[str, Treatment] = {
    name: treatment
    for treatment, names in {
        Treatment.FLAG: "nodefaults no-user-config no-acpi no-hpet no-fd-bootchk usb win2k-hack mem-prealloc singlestep "
        "one-insn-per-tb enable-sync-profile async-teardown only-migratable xen-attach xen-domid-restrict",
        Treatment.DROP_FLAG: "S s no-reboot no-shutdown nographic curses sdl full-screen no-quit no-frame alt-grab ctrl-grab "
        "portrait daemonize snapshot",
        Treatment.DROP: "display monitor qmp qmp-pretty mon gdb pidfile action watchdog-action spice vnc rotate "
        "d D dfilter trace msg echr sandbox",
        Treatment.REFUSE: "incoming loadvm readconfig writeconfig preconfig add-fd blockdev chroot runas run-with h help version",
        Treatment.HOST: "semihosting semihosting-config plugin virtfs virtfs_synth fsdev tpmdev audiodev usbdevice mem-path "
        "perfmap jitdump dump-vmstate set",
        Treatment.OBJECT: "object",
        Treatment.PORT: "serial debugcon parallel",
        Treatment.CHARDEV: "chardev",
        Treatment.NETWORK: "net nic netdev",
        Treatment.ACCELERATOR: "accel enable-kvm",
        Treatment.MACHINE: "machine M",
        Treatment.CPU: "cpu",
        Treatment.DISK: "hda hdb hdc hdd fda fdb cdrom drive mtdblock pflash sd",
        Treatment.LOADED: "kernel bios initrd device",
    }.items()
    for name in names.split()
}
VALUELESS = {name for name, what in OPTIONS.items() if what in (Treatment.FLAG, Treatment.DROP_FLAG)}
VALUELESS |= {"semihosting", "perfmap", "jitdump", "enable-kvm", "preconfig", "h", "help", "version"}
OBJECTS = frozenset({"iothread", "memory-backend-memfd", "memory-backend-ram", "rng-builtin", "throttle-group"})
# Devices of the host, of another process, or a folder of files; and a machine that writes a file when it starts.
HOST_DEVICES = re.compile(
    r"vfio-|vhost-|usb-(?:host|mtp|redir)|ivshmem-|pci-assign|ccid-card-|virtio-9p|scsi-(?:block|generic)|u2f-pass"
)
HOST_MACHINE = re.compile(r"\bdumpdtb\b")
SHELL_WORDS = frozenset(["|", "||", "&", "&&", ";", ">", ">>", "<", "2>&1", "&>"])


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command line, or a disk image that stands alone (`name` is "")."""

    name: str
    value: str | None

    @property
    def words(self) -> list[str]:
        """The option as QEMU takes it."""
        return ([f"-{self.name}"] if self.name else []) + ([] if self.value is None else [self.value])


def qemu_argv(
    spec: MachineSpec,
    image: KernelImage,
    *,
    reproducer: PurePath | None,
    accelerator: str,
    qmp_fd: int,
    sandbox: tuple[str, ...] = (),
) -> list[str]:
    """Build the argv of one machine: what `spec.argv` says, with console, monitor and the like replaced by ours.

    The console is the port that `spec.argv` puts on stdio, else the first serial port; it comes out of stdout and
    reads stdin. The machine waits for `cont` over QMP. Disks are written to a snapshot. There is no network.

    Parameters
    ----------
    reproducer : path or None
        None: an option whose value asks for {reproducer} is left out.
    accelerator : str
        "tcg" or "kvm"; used unless `spec.argv` chooses another than KVM.
    qmp_fd : int
        A connected socket the QEMU process inherits.
    sandbox : tuple of str
        Options that lock QEMU in; see `kbench.machines.sandbox`.

    Raises
    ------
    CaseError
        Naming the option that cannot be honoured, or the placeholder that is missing.
    """
    program, options = _parse(spec.argv)
    _refuse(options)
    options = _place_files(options, spec, image, reproducer)
    options = _place_console(options)
    chosen, options = _accelerate(options, accelerator)
    argv = [program]
    for option in options:
        argv += option.words
    argv += ["-accel", chosen, *([] if _named(options, "m") else ["-m", str(spec.memory_mib)])]
    argv += _rootfs(options, spec.rootfs)
    if any(not option.name or OPTIONS.get(option.name) is Treatment.DISK for option in options):
        argv += ["-snapshot"]
    argv += ["-chardev", f"socket,id={MONITOR},fd={qmp_fd}", "-mon", f"chardev={MONITOR},mode=control"]
    return [*argv, *sandbox, "-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot", "-S"]


def _parse(argv: tuple[str, ...]) -> tuple[str, list[Option]]:
    if not argv or "qemu" not in PurePath(argv[0]).name:
        raise CaseError(f"qemu: expected a QEMU command first, such as qemu-system-i386, {argv[0] if argv else 'nothing'!r} seen")
    for word in argv:
        if word in SHELL_WORDS:
            raise CaseError(f"qemu: expected options of QEMU, {word!r} is for a shell; remove it")
    return argv[0], list(_options(argv[1:]))


def _options(words: tuple[str, ...]) -> Iterator[Option]:
    rest = iter(words)
    for word in rest:
        name = word.removeprefix("-").removeprefix("-")
        if not word.startswith("-"):
            yield Option("", word)
        elif name in VALUELESS:
            yield Option(name, None)
        else:
            value = next(rest, None)
            if value is None:
                raise CaseError(f"qemu: expected a value after {word}, the line ends; correct it")
            yield Option(name, value)


def _refuse(options: list[Option]) -> None:
    for option in options:
        what = OPTIONS.get(option.name)
        network = what is Treatment.NETWORK and option.value != "none"
        if what is Treatment.REFUSE or network:
            reason = "machines have no network" if network else "it cannot be honoured here"
            raise CaseError(f"qemu: expected a line that can run unattended, -{option.name} seen; remove it, {reason}")
        if what is Treatment.HOST or _reaches_host(option.name, option.value or ""):
            shown = " ".join(option.words)[:80]
            raise CaseError(f"qemu: expected a line that keeps the guest from this host, {shown!r} seen; remove it")


def _reaches_host(name: str, value: str) -> bool:
    kind = value.removeprefix("qom-type=").removeprefix("driver=").partition(",")[0]
    if OPTIONS.get(name) is Treatment.OBJECT:
        return kind not in OBJECTS
    if OPTIONS.get(name) is Treatment.MACHINE:
        return HOST_MACHINE.search(value) is not None
    # JSON may name the driver anywhere.
    return name == "device" and (HOST_DEVICES.match(kind) is not None or value.lstrip().startswith("{"))


def _place_files(options: list[Option], spec: MachineSpec, image: KernelImage, reproducer: PurePath | None) -> list[Option]:
    """Fill the placeholders, and the image in where its file name stands."""
    if reproducer is not None and not any("{reproducer}" in (option.value or "") for option in options):
        raise CaseError("qemu: expected {reproducer} in the line, none seen; add for instance: -initrd {reproducer}")
    if not any("{image}" in (option.value or "") for option in options):
        options = _name_image(options, image)
    handed_in = None if reproducer is None else str(reproducer)
    filled = {"{image}": str(image.path), "{reproducer}": handed_in, "{cmdline}": spec.cmdline}
    placed = [option for option in (_fill(option, filled) for option in options) if option is not None]
    if not spec.cmdline or any("{cmdline}" in (option.value or "") for option in options):
        return placed
    theirs = [option.value for option in _named(placed, "append")]
    joined = " ".join(filter(None, [*theirs, spec.cmdline]))
    return [*(option for option in placed if option.name != "append"), Option("append", joined)]


def _name_image(options: list[Option], image: KernelImage) -> list[Option]:
    names = {image.path.name, PurePath(image.target.build.image).name}
    found = False

    def replaced(option: Option) -> Option:
        nonlocal found
        if option.value is None or (option.name and OPTIONS.get(option.name) not in (Treatment.DISK, Treatment.LOADED)):
            return option
        parts = option.value.split(",")
        for i, part in enumerate(parts):
            key, equals, path = part.rpartition("=")
            if PurePath(path).name in names:
                parts[i], found = f"{key}{equals}{{image}}", True
        return Option(option.name, ",".join(parts))

    options = [replaced(option) for option in options]
    if not found:
        wanted = " or ".join(sorted(names))
        raise CaseError(f"qemu: expected {{image}}, or an option that loads {wanted}, none seen; add: -kernel {{image}}")
    return options


def _fill(option: Option, filled: dict[str, str | None]) -> Option | None:
    """The option with its placeholders filled; None if one of them has no value."""
    value = option.value
    for placeholder, text in filled.items():
        if value is None or placeholder not in value:
            continue
        if text is None or (not text and value == placeholder):
            return None
        # In a list of key=value a comma of the path itself is written twice (qemu(1), -drive).
        whole = value == placeholder or option.name == "append"
        value = value.replace(placeholder, text if whole else text.replace(",", ",,"))
    return Option(option.name, value)


def _place_console(options: list[Option]) -> list[Option]:
    """Drop what concerns screens, monitors and debuggers, and bring the console to stdio."""
    stdio = {_chardev_id(option) for option in _named(options, "chardev") if (option.value or "").startswith("stdio")}
    ports = [i for i, option in enumerate(options) if OPTIONS.get(option.name) is Treatment.PORT]
    wired = any(f"chardev={name}" in (option.value or "") for name in stdio for option in _named(options, "device"))
    on_stdio = [i for i in ports if _goes_to_stdio(options[i].value or "", stdio)]
    console = next(iter(on_stdio or [i for i in ports if options[i].name == "serial"]), None)
    placed: list[Option] = [] if wired else [Option("chardev", f"stdio,id={CONSOLE},signal=off")]
    for i, option in enumerate(options):
        what = OPTIONS.get(option.name)
        if what is Treatment.PORT:
            placed.append(Option(option.name, f"chardev:{CONSOLE}" if i == console and not wired else "null"))
        elif what is Treatment.CHARDEV:
            name = _chardev_id(option)
            ours = wired and name == min(stdio)
            placed.append(Option("chardev", f"stdio,id={name},signal=off" if ours else f"null,id={name}"))
        elif what not in (Treatment.DROP, Treatment.DROP_FLAG, Treatment.NETWORK):
            placed.append(option)
    if not _named(placed, "serial"):
        placed.append(Option("serial", "null" if wired or console is not None else f"chardev:{CONSOLE}"))
    return placed


def _goes_to_stdio(backend: str, stdio: set[str]) -> bool:
    return backend.removeprefix("mon:") == "stdio" or backend.removeprefix("chardev:") in stdio


def _chardev_id(option: Option) -> str:
    parts = (option.value or "").split(",")
    return next((part.removeprefix("id=") for part in parts if part.startswith("id=")), "")


def _accelerate(options: list[Option], accelerator: str) -> tuple[str, list[Option]]:
    """What to accelerate with, and the options without the user's choice. A choice of KVM is a wish: it may not work here."""
    chosen = [option.value or "kvm" for option in options if OPTIONS.get(option.name) is Treatment.ACCELERATOR]
    rest: list[Option] = []
    for option in options:
        what, value = OPTIONS.get(option.name), option.value or ""
        if what is Treatment.MACHINE:
            parts = value.split(",")
            chosen += [part.removeprefix("accel=") for part in parts if part.startswith("accel=")]
            kept = ",".join(part for part in parts if not part.startswith("accel="))
            rest += [Option(option.name, kept)] if kept else []
        elif what is not Treatment.ACCELERATOR:
            rest.append(option)
    if chosen and not chosen[0].startswith("kvm"):
        accelerator = chosen[0].split(":")[0]
    if accelerator != "kvm":  # -cpu host exists under KVM only; max is the most an emulated processor can do
        rest = [_emulated(option) if OPTIONS.get(option.name) is Treatment.CPU else option for option in rest]
    return accelerator, rest


def _emulated(cpu: Option) -> Option:
    model, comma, features = (cpu.value or "").partition(",")
    return Option(cpu.name, f"{'max' if model == 'host' else model}{comma}{features}")


def _rootfs(options: list[Option], image: str) -> list[str]:
    """A disk nobody writes to, on the bus the machine has."""
    if not image:
        return []
    machine = next((option.value or "" for option in [*_named(options, "M"), *_named(options, "machine")]), "")
    bus = "device" if machine.split(",")[0] in MMIO_MACHINES else "pci"
    drive = f"id={ROOTFS},if=none,format=raw,readonly=on,file={image.replace(',', ',,')}"
    return ["-drive", drive, "-device", f"virtio-blk-{bus},drive={ROOTFS}"]


def _named(options: list[Option], name: str) -> list[Option]:
    return [option for option in options if option.name == name]
