"""Histories of real Linux with a known culprit. Read `create_linux` first.

The source is the first commit; what comes on top is made up, but for the culprits: each takes a fix of Linux's own back. A
lab is a clone of its own, so it outlives the cache, and it has no files checked out: 90 000 of them, which only get in the way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kbench.errors import InputError
from kbench.lab.bugs import Planting
from kbench.lab.graph import STRETCHES as STRETCH_KINDS
from kbench.lab.graph import Dice, History, draw_history, lawful, open_stretches
from kbench.lab.linux.compose import Shares, compose, named_releases, plantings_at
from kbench.lab.linux.culprits import CULPRITS, KINDS, Culprit
from kbench.lab.linux.places import COMPILED, HEADERS
from kbench.lab.linux.plantings import SILENT, STRETCHES, WRONG_TURNS
from kbench.lab.linux.source import Base, base_repository, find_source
from kbench.lab.linux.tree import BaseTree
from kbench.lab.patch import Patch
from kbench.lab.record import Lab, all_or_nothing
from kbench.lab.stream import Commit, append_commits, run_git

__all__ = ["KINDS", "Shares", "base_repository", "create_linux", "find_source"]

_TRIES = 50
_BEFORE = """
/* Left of the longer program this was reduced from. */
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((constructor)) static void before(void)
{
	%s;
}
"""
_FIX = """\
// Reduced from a longer program.
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	%s;
	return 0;
}
"""


@dataclass(frozen=True, slots=True)
class _Plan:
    culprit: Culprit
    stretches: tuple[Planting, ...]  # in the order of the history's
    kinds: tuple[str, ...]  # what each of them is
    wrong_turn: Planting

    @property
    def reproducer(self) -> str:
        """Shows the culprit's bug, and those of the stretches that crash."""
        return self.culprit.reproducer + "".join(_BEFORE % one.reproducer for one in self.stretches if one.reproducer)


def create_linux(
    directory: Path | str,
    *,
    source: Path | str | None = None,
    seed: int,
    kind: str = "pipe-flags",
    commits: int = 120,
    target: str = "um",
    shares: Shares | None = None,
    silent: bool = False,
) -> Lab:
    """Make a lab of real Linux: a repository with a planted culprit, and the case that bisects it.

    Parameters
    ----------
    directory : Path
        New or empty; it is there as a whole afterwards, or not at all.
    source : Path or str, optional
        An unpacked tree, a tar file, a git repository or `repository@revision`; None: `find_source`. Made ready once and
        kept in the cache.
    seed : int
        Decides everything; the same source, seed and parameters give the same commits, to the last bit of their hashes.
    kind : str
        Which fix of Linux's own is taken back, one of KINDS.
    commits : int
        Length of the history, the source included; kbench.lab.MIN_COMMITS or more.
    target : str
        The kind of kernel and machine the case asks for.
    shares : Shares, optional
        How many commits touch what a small config compiles; None: one in ten, as in Linux's own history.
    silent : bool
        Plant a stretch of commits that have the bug, but on which the reproducer does not get to it.

    Raises
    ------
    InputError
        If a parameter is out of range, the directory holds something, or the source does not have what a culprit needs.
    StorageError
        If there is no room, or no permission.
    MachineLacksError
        If git or the source is missing.
    """
    directory = Path(directory).absolute()
    _check(directory, kind, target, silent=silent)
    shares = shares or Shares()
    base = base_repository(source)
    dice = Dice(f"kbench linux {kind} {seed} {commits} {silent} {shares}")
    history = _draw_history(dice, commits, silent=silent)
    with BaseTree(base) as tree:
        plan = _draw_plan(dice, kind, tree, silent=silent)
        history = named_releases(history, tree.read("Makefile"))
        planted = plantings_at(history, plan.culprit.patch, plan.stretches, plan.wrong_turn)
        series = compose(dice, history, planted, tree.paths, tree.read, shares)
    with all_or_nothing(directory) as partial:
        hashes = append_commits(_clone(base, partial / "repo"), base.commit, series)
        truth = _truth(history, plan, target, hashes) | {"kind": kind, "seed": seed, "commits": commits, "target": target}
        truth |= {"base": base.commit, "touching": _touching(series, planted), "silent": silent}
        files = _files(history, plan, target) | {"truth.json": json.dumps(truth, indent=2) + "\n"}
        for name, text in files.items():
            (partial / name).write_text(text, encoding="utf-8")
    return Lab.told_by(directory, truth)


def _check(directory: Path, kind: str, target: str, *, silent: bool) -> None:
    if kind not in CULPRITS:
        raise InputError(f"lab: kind must be one of {', '.join(KINDS)}, got {kind!r}; choose one of these")
    targets = CULPRITS[kind].targets
    if target not in targets:
        raise InputError(f"lab: {kind} was seen on {', '.join(targets)}, got target {target!r}; choose one of these")
    if silent and kind not in SILENT:
        raise InputError(f"lab: silent stretches are known for {', '.join(SILENT)}, got {kind!r}; choose one of these")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"lab: need a new or an empty folder, {directory} holds something; choose another")


def _draw_history(dice: Dice, commits: int, *, silent: bool) -> History:
    # A silent stretch is one more that keeps the laws; it has the culprit in it, or nobody would be misled.
    for _ in range(_TRIES):
        history = draw_history(dice, commits)
        if not silent:
            return history
        places = open_stretches(history.nodes, max(2, commits // 25))
        after = [place for place in places if history.ancestors[place[0]] >> history.culprit & 1]
        wider = [replace(history, stretches=(*history.stretches, place)) for place in after]
        kept = [one for one in wider if lawful(one)]
        if kept:
            return dice.pick(kept)
    raise InputError(f"lab: no place for a silent stretch among {commits} commits; take another seed or more commits")


def _draw_plan(dice: Dice, kind: str, tree: BaseTree, *, silent: bool) -> _Plan:
    # Of each sort one that fits the source; none shares a file with the culprit, and a culprit that does not fit is told later.
    def draw(pool: Sequence[Planting]) -> Planting:
        fitting = [one for one in pool if all(tree.read(c.path).count(c.old) == 1 for c in one.patch.changes)]
        return dice.pick(fitting or pool)

    stretches = [draw(pool) for pool in STRETCHES]
    kinds = (*STRETCH_KINDS, "silent") if silent else STRETCH_KINDS
    return _Plan(CULPRITS[kind], (*stretches, SILENT[kind]) if silent else tuple(stretches), kinds, draw(WRONG_TURNS))


def _clone(base: Base, repository: Path) -> Path:
    # Hard links where the cache is on the same disk, copies elsewhere; nothing points back to the cache.
    run_git(["clone", "--quiet", "--bare", "--template=", str(base.repository), str(repository)])
    run_git(["-C", str(repository), "remote", "remove", "origin"])
    return repository


def _files(history: History, plan: _Plan, target: str) -> dict[str, str]:
    culprit, bad = plan.culprit, history.nodes[history.fix_bad].tag
    common = f'target = "{target}"\nrepository = "repo"\n'
    config = 'config = "config"\n' if culprit.config else ""
    files = {
        "repro.c": plan.reproducer,
        "fix-repro.c": _FIX % plan.wrong_turn.reproducer,
        "case.toml": f'name = "Linux, {culprit.kind}"\nkind = "cause"\n{common}{config}bad = "main"\ntags = "v*"\n'
        'reproducer = "repro.c"\n',
        "fix.toml": f'name = "Linux, {culprit.kind}, fix"\nkind = "fix"\n{common}bad = "{bad}"\ngood = ["main"]\n'
        'reproducer = "fix-repro.c"\n',
    }
    return files | ({"config": culprit.config} if culprit.config else {})


def _truth(history: History, plan: _Plan, target: str, hashes: Sequence[str]) -> dict[str, Any]:
    stretches = []
    for name, (first, repair), planting in zip(plan.kinds, history.stretches, plan.stretches, strict=True):
        members = history.between(first, repair)
        stretches.append({"kind": name, "first": hashes[first], "last": hashes[members[-1]], "title": planting.title})
    culprit = plan.culprit
    return {
        "culprit": hashes[history.culprit],
        "title": culprit.title_on(target),
        "rate": culprit.rate,
        "takes_back": {"commit": culprit.fix, "subject": culprit.fix_subject},
        "fix": hashes[history.fix],
        "fix_title": plan.wrong_turn.title,
        "wrong_turn": hashes[history.wrong_turn],
        "stretches": stretches,
        "tags": [history.nodes[i].tag for i in history.tags],
    }


def _touching(series: Sequence[Commit], planted: Mapping[int, Patch]) -> Mapping[str, int]:
    # What the commits touch, merges and releases not counted: they bring nothing of their own.
    own = [set(commit.files) for commit in series if len(commit.parents) == 1 and not commit.tag]
    built = {*COMPILED, *(change.path for patch in planted.values() for change in patch.changes)}
    headers = sum(bool(paths & HEADERS.keys()) for paths in own)
    compiled = sum(bool(paths & built) for paths in own)
    return {"headers": headers, "compiled": compiled, "noise": len(own) - headers - compiled}
