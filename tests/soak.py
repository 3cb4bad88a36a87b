"""Does anything grow? `python -m tests.soak [ROUNDS [AT_ONCE]]`: so many bisections in a row in one process, then some at a time.

All of the lab kernel, in real machines, each from the first question to the report. Said every 25: memory, open files, threads,
child processes, and the disk that cache and temporary files take; then the slope of each over the second half of the rounds, by
least squares: in the first, caches of a limited size fill. One that is steeper than its limit fails.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import kbench
from kbench.lab import create
from tests.bench import say

ROUNDS, AT_ONCE, SHOWN = 300, 20, 25
#: What a round may add on average; of what is counted, less than one in all rounds.
LIMITS = {"memory KiB": 16.0, "open files": 0.002, "threads": 0.002, "processes": 0.002, "disk KiB": 1.0}


def figures(folder: Path) -> dict[str, float]:
    """What this process takes now, with what it keeps below a folder."""
    gc.collect()
    said = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    children = [thread / "children" for thread in Path("/proc/self/task").iterdir()]
    disk = sum(path.lstat().st_blocks for path in folder.rglob("*")) / 2
    return {
        "memory KiB": float(said["VmRSS"].split()[0]),
        "open files": len([*Path("/proc/self/fd").iterdir()]),
        "threads": float(said["Threads"]),
        "processes": sum(len(path.read_text().split()) for path in children if path.exists()),
        "disk KiB": disk,
    }


def slopes(seen: list[dict[str, float]]) -> dict[str, float]:
    """Growth of each figure a round, in the second half of the rounds."""
    kept = seen[len(seen) // 2 :]
    return {name: float(np.polyfit(range(len(kept)), [each[name] for each in kept], 1)[0]) for name in LIMITS}


def row(round_: int, now: dict[str, float]) -> None:
    say(f"after {round_}", "  ".join(f"{value:.0f} {name}" for name, value in now.items()))


def bisected(lab: Path, output: Path, settings: dict[str, Any], culprit: str) -> None:
    """Bisect to the end, and take away what it left in its case directory."""
    result = kbench.bisect(lab / "case.toml", output=output, **settings).result
    assert result is not None and result.culprit == culprit, result
    shutil.rmtree(output)


def bisected_at_once(lab: Path, folder: Path, settings: dict[str, Any], culprit: str, n: int) -> None:
    running = [kbench.start(lab / "case.toml", output=folder / f"beside-{number}", **settings) for number in range(n)]
    for number, bisection in enumerate(running):
        result = bisection.wait().result
        assert result is not None and result.culprit == culprit, result
        shutil.rmtree(folder / f"beside-{number}")


@contextmanager
def place() -> Iterator[Path]:
    """A folder for everything, cache and temporary files too."""
    with tempfile.TemporaryDirectory(prefix="kbench-soak-") as name:
        (Path(name) / "tmp").mkdir()
        os.environ |= {"KBENCH_CACHE": f"{name}/cache", "TMPDIR": f"{name}/tmp"}
        tempfile.tempdir = None  # read $TMPDIR again
        yield Path(name)


def short_range(lab: Path) -> tuple[dict[str, Any], str]:
    """The releases around the culprit as settings of the case, and the culprit."""
    culprit = json.loads((lab / "truth.json").read_text())["culprit"]
    git = ["git", "-C", str(lab / "repo")]
    before = subprocess.run([*git, "describe", "--tags", "--abbrev=0", f"{culprit}^"], capture_output=True, text=True, check=True)
    after = subprocess.run([*git, "tag", "--contains", culprit, "--sort=v:refname"], capture_output=True, text=True, check=True)
    return {"good": before.stdout.strip(), "bad": after.stdout.split()[0]}, culprit


def main(rounds: int = ROUNDS, at_once: int = AT_ONCE) -> int:
    with place() as folder:
        lab, started = folder / "lab", time.monotonic()
        create(lab, seed=3, kind="uaf", commits=60)
        settings, culprit = short_range(lab)
        seen = []
        for number in range(1, rounds + 1):
            bisected(lab, folder / "out", settings, culprit)
            seen.append(figures(folder))
            if number % SHOWN == 0 or number in (1, rounds):
                row(number, seen[-1])
        say("a bisection", f"{(time.monotonic() - started) / rounds:.1f} s")
        grown, before = slopes(seen), seen[-1]
        if at_once:
            bisected_at_once(lab, folder, settings, culprit, at_once)  # the slots of so many come to stay
            between = figures(folder)
            row(rounds + at_once, between)
            bisected_at_once(lab, folder, settings, culprit, at_once)
            after = figures(folder)
            row(rounds + 2 * at_once, after)
            assert after["processes"] == before["processes"]
        for name, slope in grown.items():
            say(f"{name} a round", f"{slope:+.4f}  (wanted: {LIMITS[name]:g} at most)")
        return int(any(grown[name] > limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
