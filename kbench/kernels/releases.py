"""What a release of Linux needs to build and boot: data/linux/releases.toml, as records. Read `fixups` first."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from kbench.resources import data_dir


class Release(NamedTuple):
    """The release a tree says it is; compares in the order of releases."""

    version: int
    patchlevel: int
    sublevel: int
    candidate: int  # n of -rcn, FINAL for a release and what follows it

    def __str__(self) -> str:
        """As a tag: v6.12, v6.12.3, v6.12-rc3."""
        patch = f".{self.sublevel}" if self.sublevel else ""
        return f"v{self.version}.{self.patchlevel}{patch}" + ("" if self.candidate == FINAL else f"-rc{self.candidate}")


FINAL = 1 << 30
_LINE = re.compile(r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION)[ \t]*=[ \t]*(\S{0,40})", re.MULTILINE)
_TAG = re.compile(r"v(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?(?:-rc(\d{1,9}))?", re.ASCII)


def release_of(makefile: str) -> Release | None:
    """Return the release the text of a tree's top Makefile names, None when it names none."""
    named = dict(_LINE.findall(makefile))
    candidate = re.match(r"-rc(\d{1,9})", named.get("EXTRAVERSION", ""))
    try:
        version, patchlevel, sublevel = int(named["VERSION"]), int(named["PATCHLEVEL"]), int(named.get("SUBLEVEL") or 0)
        return Release(version, patchlevel, sublevel, int(candidate[1]) if candidate else FINAL)
    except (KeyError, ValueError):
        return None


def has_tag(release: Release | None, tag: str) -> bool:
    """Tell whether a revision contains a release's tag, by the release its Makefile names; one that names none is new.

    On mainline the two are the same: only the commit that is tagged takes -rcN away, and a merge keeps the newer Makefile.
    So neither tags nor a walk over the history are needed.
    """
    match = _TAG.fullmatch(tag)
    if release is None or match is None:
        return True
    version, patchlevel, sublevel, candidate = (int(part) if part else -1 for part in match.groups())
    return release >= Release(version, patchlevel, max(sublevel, 0), candidate if candidate >= 0 else FINAL)


class Fixup(NamedTuple):
    """One option that a release wants otherwise than it may be asked for."""

    option: str
    value: str  # as in a .config, "n" for off
    why: str


def fixups(release: Release | None, asked: Mapping[str, str]) -> list[Fixup]:
    """Return the options to set at a release, over what was asked for."""
    table = facts()
    found = [
        Fixup(row["option"], "n", row["why"])
        for row in table["off"]
        if "before" not in row or not has_tag(release, row["before"])
    ]
    found += [Fixup(row["option"], row["value"], row["why"]) for row in table["value"]]
    for row in table["replaced"]:
        if asked.get(row["option"], "n") != "n" and not has_tag(release, row["before"]):
            found += [Fixup(row["option"], "n", row["why"]), Fixup(row["by"], "y", row["why"])]
    return found


def compiler_version(release: Release | None, family: str = "gcc") -> int:
    """Return the major version of the compiler that fits a release, 0 for the newest."""
    rows = [row for row in facts()["compiler"] if row["family"] == family]
    return next(int(row["version"]) for row in rows if "since" not in row or has_tag(release, row["since"]))


def unneeded_checks(crash_types: Collection[str]) -> tuple[dict[str, str], str]:
    """Return what to turn off when only crashes of some types matter: options (all "n"), and words for the kernel's cmdline.

    Parameters
    ----------
    crash_types : collection of str
        In the words of the table, which are syzkaller's: "KASAN-READ", "WARNING", "HANG", ...
    """
    rows = [row for row in facts()["instrumentation"] if not set(row["needed_for"]) & set(crash_types)]
    return {option: "n" for row in rows for option in row["options"]}, " ".join(
        row["cmdline"] for row in rows if "cmdline" in row
    )


class Backport(NamedTuple):
    """A fix to cherry-pick where it is missing."""

    fix: str  # hash of the commit, or what names it
    title: str = ""
    guilty: str = ""  # only where this commit is contained


def backports() -> tuple[Backport, ...]:
    """Return the known fixes of builds and boots."""
    return tuple(Backport(row["fix"], row["title"], row.get("guilty", "")) for row in facts()["backport"])


@functools.cache
def facts() -> Mapping[str, Any]:
    """Return the table, as read."""
    return tomllib.loads((data_dir() / "linux" / "releases.toml").read_text(encoding="utf-8"))
