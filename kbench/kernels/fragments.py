"""Kernel configs as text: read, merge, write. Pure. Read `settings` first.

Names are without CONFIG_; values are as in a .config, quotes included, and "n" for what is not set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_SET = re.compile(r'^CONFIG_(\w+)=("(?:[^"\\]|\\.)*"|[^\s#]*)\s*(?:#.*)?$', re.ASCII)
_UNSET = re.compile(r"^#\s*CONFIG_(\w+) is not set\b", re.ASCII)
# What `conf` writes above every whole config, in all releases: "# Linux/x86 6.12.0 Kernel Configuration".
_WHOLE = re.compile(r"^# (?:Linux.* Kernel Configuration|Linux kernel version: )", re.MULTILINE)


def settings(text: str) -> dict[str, str]:
    """Return the options a config or fragment sets, in the order of their last mention; later lines win."""
    found: dict[str, str] = {}
    for line in map(str.strip, text.splitlines()):
        if match := _SET.match(line):
            name, value = match[1], match[2] or "n"
        elif match := _UNSET.match(line):
            name, value = match[1], "n"
        else:
            continue
        found.pop(name, None)
        found[name] = value
    return found


def is_whole(text: str) -> bool:
    """Tell whether a config says everything, as a .config does: it is then completed, not put on top of a base."""
    return _WHOLE.search(text[:2000]) is not None


def render(options: Mapping[str, str]) -> str:
    """Return the text of a config with these options."""
    return "".join(
        f"# CONFIG_{name} is not set\n" if value == "n" else f"CONFIG_{name}={value}\n" for name, value in options.items()
    )


def unlike(asked: Mapping[str, str], final: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the options that did not come out as asked for: name to what was asked and what it is ("" when not there)."""
    return {
        name: (value, final.get(name, ""))
        for name, value in asked.items()
        if final.get(name, "n") != value and not (value == '""' and name not in final)
    }
