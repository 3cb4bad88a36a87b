"""From the keys of a case to its target: how the kernel is built and run. Read `target_of` first.

Keys that say nothing for a kind of kernel are refused there: a key that is quietly without effect would mislead.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kbench.errors import CaseError
from kbench.patterns import LinePattern
from kbench.records import BuildSpec, MachineSpec, Target
from kbench.resources import data_dir
from kbench.targets import TARGETS

if TYPE_CHECKING:
    from kbench.bisection.case import Case

#: Keys of the machine that are values of `MachineSpec` as they are.
_MACHINE_KEYS = (
    *("cmdline", "memory_mib", "booted", "done", "crashed", "test_failed", "boot_timeout_s", "silence_s", "timeout_s"),
    *("kvm", "linux_crashes", "boot_failure", "repro_s", "snapshot"),
)
_PATTERNS = ("booted", "done", "crashed", "test_failed")


def target_of(case: Case) -> Target:
    """Return how a case's kernel is built and run: its target with the case's own keys on top.

    Raises
    ------
    CaseError
        An unknown target, keys that are needed without one and missing, or keys that this kind of kernel does not take.
    """
    base = _named_target(case.target) if case.target else _own_target(case)
    _check_keys(case, base)
    build = _override(
        base.build,
        commands=_commands(case.build) if case.build else None,
        image=case.image or None,
        symbols=case.symbols or None,
        clean=case.clean_build,
        timeout_s=case.build_timeout_s,
        compiler=case.compiler or None,
        backports=tuple(_list(case.backports)) or None,
        host_access=case.host_access,
    )
    machine = _override(
        base.machine,
        argv=_argv(case, base) if case.qemu or case.machine else None,
        rootfs=_image(case) if case.rootfs else None,
        **{name: getattr(case, name) for name in _MACHINE_KEYS},
    )
    for name in filter(None, (case.image, case.symbols)):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise CaseError(f"case: expected `image` and `symbols` below the build folder, {name!r} is not; give a relative path")
    for name in _PATTERNS:
        LinePattern(getattr(machine, name) or "", name)  # says what is wrong with it
    return replace(base, build=build, machine=machine)


def shipped_config(name: str) -> Path | None:
    """Return the base config kbench ships under a name, None when there is none."""
    return data_dir() / "linux" / f"{name}.config" if name in shipped_configs() else None


def disk_config(case: Case, configs: Sequence[str]) -> list[str]:
    """Return the config that a disk image takes on top of shipped ones; none on top of a user's own, which is left alone."""
    linux = _named_target(case.target).build.linux if case.rootfs and case.target else None
    if linux is None or any(name not in shipped_configs() for name in configs):
        return []
    return [f"{linux.base}-disk"]


def shipped_configs() -> list[str]:
    """Return the names of the base configs kbench ships."""
    return sorted(path.stem for path in (data_dir() / "linux").glob("*.config"))


def _check_keys(case: Case, target: Target) -> None:
    """Refuse keys that have no effect on this kind of kernel."""
    linux = [name for name in ("compiler", "backports", "host_access") if getattr(case, name) not in ("", [], None)]
    guest = [name for name in ("rootfs", "snapshot", "repro_s", "liveness") if getattr(case, name) not in ("", False, None)]
    for names, fits, kinds in (
        (linux, target.build.linux is not None, (other for other in TARGETS.values() if other.build.linux)),
        (guest, target.guest is not None, (other for other in TARGETS.values() if other.guest)),
        (
            ["snapshot"] if "snapshot" in guest else [],
            "{" not in target.machine.argv[0],
            (other for other in TARGETS.values() if other.guest and "{" not in other.machine.argv[0]),
        ),
    ):
        if names and not fits:
            raise CaseError(
                f"case: expected `{names[0]}` with a target of {_names(kinds)}, got {target.name!r}; leave the key out, "
                "or choose such a target"
            )
    if len(case.configs) > 1 and target.build.linux is None:
        raise CaseError(f"case: expected one config for target {target.name!r}, got {len(case.configs)}; join the files")


def _names(targets: Iterable[Target]) -> str:
    return ", ".join(sorted(target.name for target in targets))


def _own_target(case: Case) -> Target:
    needed = ("build", case.build), ("image", case.image), ("qemu", case.qemu or case.machine)
    missing = [key for key, value in needed if not value]
    if missing:
        names = ", ".join(sorted(TARGETS))
        raise CaseError(
            f"case: expected `target` ({names}) or else build, image and qemu, missing {', '.join(missing)}; add them"
        )
    return Target(
        name="custom",
        build=BuildSpec(commands=_commands(case.build), image=case.image, config=".config" if case.config else None),
        machine=MachineSpec(argv=_argv(case, None)),
    )


def _argv(case: Case, base: Target | None) -> tuple[str, ...]:
    if case.qemu:
        return _split("qemu", case.qemu)
    if base is not None and base.guest is not None:
        if "-M" not in base.machine.argv:
            raise CaseError(f"case: expected `machine` with a target that runs in QEMU, {base.name!r} does not; leave it out")
        at = base.machine.argv.index("-M") + 1
        return (*base.machine.argv[:at], case.machine, *base.machine.argv[at + 1 :])
    line = ["qemu-system-x86_64", "-M", case.machine, "-kernel", "{image}", "-initrd", "{reproducer}"]
    return (*line, "-append", "{cmdline}") if case.cmdline else tuple(line)


def _image(case: Case) -> str:
    path = case.path(case.rootfs)
    if not path.is_file():
        raise CaseError(
            f"case: expected a disk image at rootfs = {case.rootfs!r}, found none; paths are relative to {case.folder}"
        )
    return str(path.resolve())


def _named_target(name: str) -> Target:
    try:
        return TARGETS[name]
    except KeyError:
        raise CaseError(
            f"case: expected a target of {', '.join(sorted(TARGETS))}, seen {name!r}; or leave it out and give build, image, qemu"
        ) from None


def _override(spec: Any, **values: Any) -> Any:
    return replace(spec, **{name: value for name, value in values.items() if value is not None})


def _list(words: str | list[str]) -> list[str]:
    return [words] if isinstance(words, str) else words


def _commands(build: str | list[str | list[str]]) -> tuple[tuple[str, ...], ...]:
    commands = tuple(_split("build", command) for command in ([build] if isinstance(build, str) else build))
    if not all(commands):
        raise CaseError(f"case: expected commands at 'build', one of {build!r} is empty; remove it")
    return commands


def _split(key: str, command: str | list[str]) -> tuple[str, ...]:
    if isinstance(command, list):
        return tuple(command)
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise CaseError(
            f"case: expected a command line at {key!r}, {str(error).lower()} in {command!r}; correct the quotes"
        ) from error
