"""What a sweep costs above the work of its notebooks: `python -m tests.bench_sweep` (two minutes).

Eight parameter sets of a notebook that computes for some seconds, side by side on all cores, against their share of the sum.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from kbench.host import usable_cores
from kbench.sweep import read_plan, run_sweep
from tests.bench import say

WORK = """\
import time
started, count = time.process_time(), 0
while time.process_time() - started < seconds:
    count += 1"""
SETS = 8


def swept(seconds: float) -> float:
    """Seconds that a sweep takes whose runs compute for so long."""
    with tempfile.TemporaryDirectory(prefix="kbench-bench-") as name:
        folder = Path(name)
        cell: dict[str, object] = {"cell_type": "code", "execution_count": None, "outputs": []}
        cells = [
            cell | {"source": "seconds: float = 1.0  # of work\nnumber: int = 0  # which", "metadata": {"tags": ["parameters"]}},
            cell | {"source": WORK, "metadata": {}},
        ]
        kernel = {"name": "python3", "language": "python", "display_name": "Python"}
        made = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}
        (folder / "work.ipynb").write_text(json.dumps(made))
        numbers = list(range(SETS))
        text = f'notebook = "work.ipynb"\n[parameters]\nseconds = {seconds}\n[grid]\nnumber = {numbers}\n'
        (folder / "sweep.toml").write_text(text)
        started = time.monotonic()
        run_sweep(read_plan(folder / "sweep.toml"))
        return time.monotonic() - started


def main() -> None:
    for seconds in (4.0, 10.0):  # the second is a short bisection of the lab kernel
        took, work = swept(seconds), SETS * seconds / usable_cores()
        say(
            f"{SETS} sets of {seconds:g} s / their work on {usable_cores()} cores",
            f"{took / work:.2f}  ({took:.1f} s / {work:.1f} s; wanted: 1.3)",
        )


if __name__ == "__main__":
    main()
