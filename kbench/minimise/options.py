"""Options as items of a search: where two configs differ, and what some crashes do not need. Pure; read `differences` first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from kbench.kernels.fragments import render

#: The first line of a config that says everything, as a .config does: nothing is put below it.
WHOLE = "# Linux Kernel Configuration\n"

#: Instrumentation, and how the crash types begin that need it; for all others it is the first to go.
# Source: what syzkaller switches off before it bisects, pkg/vcs/linux_configs.go.
INSTRUMENTATION: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("RCU_STALL_COMMON", "LOCKUP_DETECTOR", "SOFTLOCKUP_DETECTOR", "HARDLOCKUP_DETECTOR", "DETECT_HUNG_TASK"), ("HANG",)),
    (("DEBUG_KMEMLEAK",), ("LEAK",)),
    (("UBSAN",), ("UBSAN", "MEMORY_SAFETY_UBSAN")),
    (("BUG",), ("BUG", "MEMORY_SAFETY_BUG", "NULL-POINTER-DEREFERENCE", "WARNING", "REFCOUNT_WARNING")),
    (("KASAN",), ("KASAN",)),
    (("LOCKDEP", "PROVE_LOCKING"), ("LOCKDEP",)),
    (("DEBUG_ATOMIC_SLEEP",), ("ATOMIC_SLEEP",)),
)


class Setting(NamedTuple):
    """An option, without CONFIG_, and the value in which it differs from the baseline; "n" when it is not set."""

    option: str
    value: str

    def __str__(self) -> str:
        return f"{self.option}={self.value}"


def differences(config: Mapping[str, str], baseline: Mapping[str, str]) -> tuple[Setting, ...]:
    """Return where a config differs from a baseline, in the order of the config; an option it does not name is "n"."""
    there = [Setting(option, value) for option, value in config.items() if value != baseline.get(option, "n")]
    gone = [Setting(option, "n") for option, value in baseline.items() if option not in config and value != "n"]
    return (*there, *gone)


def instrumentation(items: Collection[Setting], types: Collection[str]) -> list[frozenset[Setting]]:
    """Return the settings of each kind of instrumentation that crashes of these types do not need."""
    unneeded = [options for options, needed in INSTRUMENTATION if not any(kind.startswith(needed) for kind in types)]
    groups = [frozenset(item for item in items if item.option in options) for options in unneeded]
    return [group for group in groups if group]


def config_of(asked: Collection[Setting], *, full: Mapping[str, str], bare: Mapping[str, str]) -> str:
    """Return the text of the baseline `bare` with some settings of the config `full`.

    What is left out of `full` is switched off by name: by their defaults some of these options would come back.
    """
    return WHOLE + render({**dict.fromkeys(full, "n"), **bare, **dict(asked)})
