"""How fast this machine is, and what that makes of a bisection. Read `measure`, then `bisection_of_linux`.

The lab kernel is built, booted and run. What Linux takes follows by proportion from figures that were measured on one machine
for both; a real history is not as regular as that, so the answer is a range and says what it rests on.
"""

from __future__ import annotations

import math
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kbench.host import usable_cores
from kbench.kernels import Store, compile_tree
from kbench.kernels.builder import image_of
from kbench.kernels.store import Slot
from kbench.machines import accelerator
from kbench.resources import data_dir
from kbench.runs import repro
from kbench.targets import LAB, UM

BUILDS, RUNS_A_CORE = 3, 6
#: A reproducer that ends at once: what is left is the machine.
REPRODUCER = "yield()\n"

# Measured side by side on one machine, gcc 12, nothing from ccache: processor time of compiling the lab kernel; of compiling
# Linux 6.12 from nothing with the config kbench ships for User-Mode Linux (KASAN, file and line); how many times as long a run
# of that takes as one of the lab kernel in QEMU, both with a reproducer that ends at once.
LAB_CPU_S, LINUX_CPU_S, LINUX_FILES, LINUX_RUN = 2.0, 486.0, 540, 0.9
# Share of the files compiled again from one revision of a bisection to the next: few change, or a header that all include did.
AGAIN = (0.05, 1.0)
# Runs of each revision, and how long each: a bug that shows at once and always; one in four runs of a reproducer that goes on
# until the guest ends it.
RUNS, REPRODUCER_S = (5, 20), (0.0, UM.machine.repro_s)
COMMITS = 1000
CLOSING = 4  # revisions besides those of the search: both ends, the parent, the culprit reverted


@dataclass(frozen=True, slots=True)
class Speed:
    """What the lab kernel takes here."""

    cores: int
    accelerator: str  # "kvm" or "tcg"
    build_s: float  # wall clock, from nothing, on all cores
    build_cpu_s: float  # processor time of the same
    boot_s: float  # wall clock until user space, with a machine a core at once
    run_s: float  # wall clock of a whole run, so too
    runs_per_s: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long something takes."""

    low_s: float
    high_s: float
    rests_on: str

    def __str__(self) -> str:
        """As `8 minutes to 2.1 hours`."""
        return f"{words(self.low_s)} to {words(self.high_s)}"


def measure(on_step: Callable[[str], None] = lambda _: None) -> Speed:
    """Build, boot and run the lab kernel, in some ten seconds, below a folder of its own.

    Raises
    ------
    MachineLacksError
        There is no compiler, or no QEMU.
    """
    cores, kind = usable_cores(), accelerator(LAB.machine)
    with tempfile.TemporaryDirectory(prefix="kbench-speed-") as name:
        folder, store = Path(name), Store(Path(name) / "store")
        builds = []
        for number in range(BUILDS):
            on_step(f"build {number + 1} of {BUILDS}")
            place = folder / f"build-{number}"
            place.mkdir()
            began, spent = time.monotonic(), _spent()
            entry = compile_tree(data_dir() / "labkernel", Slot(place), LAB, config=None, store=store, jobs=cores)
            builds.append((time.monotonic() - began, _spent() - spent))
        kernel = image_of(store, LAB, entry, commit=None, cached=False)
        reproducer = folder / "reproducer"
        reproducer.write_text(REPRODUCER)
        n = RUNS_A_CORE * cores
        on_step(f"{n} runs")
        repro(kernel, reproducer, runs=cores, consoles=folder / "consoles")  # the first find nothing in the page cache
        began = time.monotonic()
        runs = repro(kernel, reproducer, runs=n, consoles=folder / "consoles").runs
        elapsed_s = time.monotonic() - began
    return Speed(
        cores=cores,
        accelerator=kind,
        build_s=min(wall for wall, _ in builds),  # others on this machine only ever add
        build_cpu_s=min(cpu for _, cpu in builds),
        boot_s=statistics.median(run.boot_s for run in runs),
        run_s=statistics.median(run.elapsed_s for run in runs),
        runs_per_s=n / elapsed_s,
    )


def bisection_of_linux(speed: Speed, *, commits: int = COMMITS) -> Estimate:
    """Return how long a bisection of a range of Linux takes on such a machine (pure).

    Revisions: halving, and `CLOSING` more. Each is built and run. The first is compiled whole; of the others each file again,
    or few. Compiler time goes by that of the lab kernel, spread over the cores; the time of a run by that of a run.
    """
    revisions = math.ceil(math.log2(commits)) + CLOSING
    whole_s = LINUX_CPU_S * speed.build_cpu_s / LAB_CPU_S / speed.cores
    run_s = LINUX_RUN / speed.runs_per_s
    low_s, high_s = (
        whole_s * (1 + (revisions - 1) * again) + revisions * runs * (run_s + reproducer_s / speed.cores)
        for again, runs, reproducer_s in zip(AGAIN, RUNS, REPRODUCER_S, strict=True)
    )
    often, seldom = RUNS
    return Estimate(
        low_s,
        high_s,
        f"{commits} commits, {revisions} revisions of Linux under User-Mode Linux, a minimal config of {LINUX_FILES} files: "
        f"{words(whole_s)} to compile from nothing; then {AGAIN[0]:.0%} of the files again, or all; "
        f"{often} runs of {words(run_s * speed.cores)}, or {seldom} with a reproducer of {REPRODUCER_S[1]:.0f} s, "
        f"{speed.cores} at once",
    )


def words(seconds: float) -> str:
    """Return a duration as people say it (pure)."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _spent() -> float:
    """Processor time of processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
