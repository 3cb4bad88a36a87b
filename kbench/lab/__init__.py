"""Histories of the lab kernel with a known culprit. Read `create` first.

A lab is a folder with a git repository, two cases (a bug to find, and the fix of another one), their reproducers, and the
truth, which the repository does not tell. The same seed gives the same hashes everywhere.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kbench.errors import InputError
from kbench.lab.bugs import DETERMINISTIC, KINDS, Plan, draw_plan
from kbench.lab.compose import compose
from kbench.lab.graph import MIN_COMMITS, STRETCHES, Dice, History, draw_history
from kbench.lab.record import Lab, all_or_nothing
from kbench.lab.stream import write_repository
from kbench.resources import data_dir

_BUILT = frozenset({".o", ".d", ".elf", ".bin", ".new", ".config", ".flags", "config.h", "kallsyms.S"})

__all__ = ["DETERMINISTIC", "KINDS", "MIN_COMMITS", "Lab", "create", "read_kernel"]


def create(directory: Path | str, *, seed: int, kind: str = "uaf", commits: int = 300, rate: float = 0.3) -> Lab:
    """Make a lab: a repository with a planted culprit, and the case that bisects it.

    Parameters
    ----------
    directory : Path
        New or empty; it is there as a whole afterwards, or not at all.
    seed : int
        Decides everything; the same seed and parameters give the same commits, to the last bit of their hashes.
    kind : str
        What the bug is, one of KINDS. "race" is flaky by real timing, "rare" by a draw when the reproducer runs.
    commits : int
        Length of the history, MIN_COMMITS or more.
    rate : float
        For kind "rare": the share of boots in which the bug can be seen, 0.001 to 1.

    Raises
    ------
    InputError
        If a parameter is out of range, or the directory holds something.
    StorageError
        If there is no room, or no permission.
    MachineLacksError
        If git or the lab kernel's sources are missing.
    """
    directory = Path(directory).absolute()
    if kind not in KINDS:
        raise InputError(f"lab: kind must be one of {', '.join(KINDS)}, got {kind!r}; choose one of these")
    if not 0.001 <= rate <= 1:
        raise InputError(f"lab: rate must be from 0.001 to 1, got {rate:g}; it is the share of boots that show the bug")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"lab: need a new or an empty folder, {directory} holds something; choose another")
    base, executable, config = read_kernel(data_dir() / "labkernel")
    dice = Dice(f"kbench lab {kind} {seed} {commits}")
    history = draw_history(dice, commits)
    plan = draw_plan(dice, kind, rate)
    series = compose(dice, history, plan, base, executable=executable)
    with all_or_nothing(directory) as partial:
        hashes = write_repository(partial / "repo", series)
        truth = _truth(history, plan, hashes) | {"kind": kind, "seed": seed, "commits": commits}
        truth["rate"] = {"rare": rate, "race": None}.get(kind, 1.0)
        for name, text in _files(history, plan, kind, config).items():
            (partial / name).write_text(text, encoding="utf-8")
        (partial / "truth.json").write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
    return Lab.told_by(directory, truth)


def read_kernel(folder: Path) -> tuple[dict[str, str], frozenset[str], str]:
    """Read the lab kernel's sources.

    Returns
    -------
    files : dict of str to str
        Path below the folder: text. What a build in the source tree left behind is not among them.
    executable : frozenset of str
        Those that are programs.
    config : str
        The configuration it is shipped with.
    """
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix not in _BUILT and p.name not in _BUILT)
    files = {p.relative_to(folder).as_posix(): p.read_bytes().decode("utf-8") for p in paths}
    executable = frozenset(p.relative_to(folder).as_posix() for p in paths if p.stat().st_mode & 0o100)
    return files, executable, files["defconfig"]


def _files(history: History, plan: Plan, kind: str, config: str) -> dict[str, str]:
    bad = history.nodes[history.fix_bad].tag
    common = 'target = "lab"\nrepository = "repo"\nconfig = "config"\n'
    return {
        "config": config,
        "repro.txt": plan.reproducer,
        "fix-repro.txt": plan.wrong_turn.reproducer,
        "case.toml": f'name = "lab {kind}"\nkind = "cause"\n{common}bad = "main"\ntags = "v*"\nreproducer = "repro.txt"\n',
        "fix.toml": f'name = "lab {kind}, fix"\nkind = "fix"\n{common}bad = "{bad}"\ngood = ["main"]\n'
        'reproducer = "fix-repro.txt"\n',
    }


def _truth(history: History, plan: Plan, hashes: tuple[str, ...]) -> dict[str, Any]:
    stretches = []
    for name, (first, repair), planting in zip(STRETCHES, history.stretches, plan.stretches, strict=True):
        members = history.between(first, repair)
        stretches.append({"kind": name, "first": hashes[first], "last": hashes[members[-1]], "title": planting.title})
    return {
        "culprit": hashes[history.culprit],
        "title": plan.culprit.title,
        "fix": hashes[history.fix],
        "fix_title": plan.wrong_turn.title,
        "wrong_turn": hashes[history.wrong_turn],
        "stretches": stretches,
        "tags": [history.nodes[i].tag for i in history.tags],
    }
