"""`kbench cache`: what is kept to be faster the next time, and how to have less of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from kbench.cli.output import json_option, print_json, print_table
from kbench.errors import InputError

if TYPE_CHECKING:
    from kbench.kernels.cache import Item

_ABOUT = {
    "kernels": "built kernels: the next build of the same source takes no time",
    "build slots": "worktrees and objects: the next build compiles only what differs",
    "guests": "what Linux guests start with",
    "sources": "Linux sources that labs begin with",
    "mirrors": "repositories that a cluster's worker builds from",
    "ccache": "compiled files, by ccache",
    "other": "locks and folders, and what is not for kbench to remove by itself",
}


@click.command()
@click.option("--prune", "prune", is_flag=True, help="Remove what was not used for longest, down to the limit.")
@click.option("--size", help="Prune to this size instead, such as 20G or 5% (of the disk).")
@click.option("--clear", is_flag=True, help="Remove everything that nobody uses right now.")
@json_option
def cache(*, prune: bool, size: str | None, clear: bool, as_json: bool) -> int:
    """Show what kbench keeps for later, by kind and size; safe beside running bisections.

    The limit is $KBENCH_CACHE_SIZE, such as 20G or 5%, else a tenth of the disk; builds see to it once an hour.
    """
    import shutil

    from kbench.kernels import Store
    from kbench.kernels import cache as kept

    root = Store().root
    if clear and (prune or size):
        raise InputError("cache: expected --clear or --prune, both seen; choose one")
    most = kept.limit(root) if size is None else kept.parse_size(size, shutil.disk_usage(root).total)
    pruned = kept.prune(root, 0, grace_s=0.0) if clear else kept.prune(root, most) if prune or size else None
    found = kept.survey(root)
    total = kept.size_of(root)
    kinds = _kinds(found, total)
    if as_json:
        print_json({"root": root, "limit": most, "size": total, "kinds": kinds, "pruned": pruned and asdict(pruned)})
        return 0
    rows = [(k["kind"], k["n"], gib(k["size"]), _ago(k["used"]), _ABOUT[k["kind"]]) for k in kinds]
    print_table(("kind", "number", "size", "last used", "what it is"), rows)
    click.echo(f"\n{gib(total)} of {gib(most)} in {root}")
    if pruned is not None:
        click.echo(f"removed {pruned.removed}, {gib(pruned.freed)}" + (f"; kept {pruned.in_use} in use" if pruned.in_use else ""))
    return 0


def gib(size: int) -> str:
    """Return a size in the unit that fits it."""
    unit = next((unit for unit in (30, 20) if size >= 1 << unit), 10)
    return f"{size / (1 << unit):.1f} {'GMK'[(30 - unit) // 10]}iB"


def _kinds(found: Sequence[Item], total: int) -> list[dict[str, Any]]:
    """The rows of the table; what is no item, such as folders and locks, is among "other", so that they add up."""
    rows = []
    for kind in _ABOUT:
        of = [item for item in found if item.kind == kind]
        size = sum(item.size for item in of)
        if kind == "other":
            size = total - sum(item.size for item in found if item.kind != "other")
        if of or kind == "other":
            rows.append({"kind": kind, "n": len(of), "size": size, "used": max((one.used for one in of or found), default=0.0)})
    return rows


def _ago(used: float) -> str:
    seconds = max(time.time() - used, 0)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if (n := int(seconds // length)) > 0:
            return f"{n} {unit}{'s' if n > 1 else ''} ago"
    return "just now"
