"""The figures behind the README's claims, as ratios measured in one run: `make bench`.

Machines are noisy, so what is compared takes turns, and nothing here is asserted by a test.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import kbench
from kbench.host import usable_cores
from kbench.kernels import Builder, Store
from kbench.lab import create
from kbench.records import KernelImage, Outcome
from kbench.repository import Repository
from kbench.targets import LAB

RUNS, ROUNDS = 40, 5
#: Programs whose running time is the work itself; all else that a bisection spends is kbench's own.
WORK = ("git", "make", "gcc", "cc1", "as", "ld", "sh", "setpriv", "nm", "awk", "mawk", "objcopy", "collect2", "qemu-system")


def say(what: str, figure: str) -> None:
    print(f"{what + ':':<40}{figure}", flush=True)


def timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def bare_runs(kernel: KernelImage, reproducer: Path, runs: int) -> None:
    """The same runs without kbench: QEMU started by hand, as many at once, its output thrown away."""
    places = {"{image}": str(kernel.path), "{reproducer}": str(reproducer), "{cmdline}": ""}
    argv = [places.get(word, word) for word in LAB.machine.argv]
    argv += ["-accel", "tcg", "-nodefaults", "-nic", "none", "-display", "none", "-serial", "stdio", "-no-reboot"]

    def one(_: int) -> None:
        subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)

    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(one, range(runs)))


def bench_runs(kernel: KernelImage, reproducer: Path, folder: Path) -> None:
    """Runs per second against bare QEMU processes, in turns."""
    ratios, ours, bare = [], [], []
    kbench.repro(kernel, reproducer, runs=4, consoles=folder)
    for _ in range(ROUNDS):
        bare.append(timed(lambda: bare_runs(kernel, reproducer, RUNS)))
        started = time.monotonic()
        found = kbench.repro(kernel, reproducer, runs=RUNS, consoles=folder)
        ours.append(time.monotonic() - started)
        assert found.counts[Outcome.OK] == RUNS, found
        ratios.append(bare[-1] / ours[-1])
    a_second = f"{RUNS / statistics.median(ours):.1f} / {RUNS / statistics.median(bare):.1f}"
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    say("runs a second, kbench / bare QEMU", f"{statistics.median(ratios):.2f}  ({spread}; {a_second} a second; wanted: 0.90)")


def bench_builds(repository: Repository, commits: list[str], folder: Path) -> KernelImage:
    """Seconds a build: from nothing, from the objects of another revision, from the store."""
    store = Store(folder / "store")
    with Builder(repository, LAB, store=store) as builder:
        first = timed(lambda: builder.build(commits[0]))
        steps = [timed(partial(builder.build, commit)) for commit in commits[1:]]
        cached = [timed(partial(builder.build, commit)) for commit in commits]
        kernel = builder.build(commits[0])
    say("a build from nothing", f"{first:.2f} s  (wanted: 3)")
    say("a build after another revision", f"{statistics.median(steps):.2f} s  (median of {len(steps)}, at most {max(steps):.2f})")
    say("a build that was made before", f"{statistics.median(cached) * 1000:.0f} ms")
    return kernel


def bench_boot(kernel: KernelImage) -> None:
    """Seconds to user space."""
    boots = []
    for _ in range(10):
        with kbench.boot(kernel) as machine:
            boots.append(machine.boot_s)
    say("a boot to user space", f"{statistics.median(boots):.2f} s  (wanted: 0.50 without KVM)")


def working(pid: int) -> bool:
    """Whether git, a compiler or a machine is running below a process."""
    try:
        if Path(f"/proc/{pid}/comm").read_text().startswith(WORK):
            return True
        children = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    except OSError:  # it has just ended
        return False
    return any(working(int(child)) for child in children.split())


def bench_own_share(case: Path, folder: Path) -> None:
    """Share of a bisection's wall time in which neither git, a compiler nor a machine was running."""
    argv = [sys.executable, "-m", "kbench", "bisect", str(case), "--strategy", "git", "--output", str(folder / "share"), "--json"]
    started = time.monotonic()
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, env={**os.environ, "KBENCH_CACHE": str(folder / "fresh")}
    ) as process:
        samples: list[bool] = []

        def watch() -> None:
            while process.poll() is None:
                samples.append(working(process.pid))
                time.sleep(0.005)

        watcher = threading.Thread(target=watch)
        watcher.start()
        out, _ = process.communicate()
        watcher.join()
    wall = time.monotonic() - started
    found = json.loads(out)
    own = samples.count(False) / len(samples)
    cost = f"{wall:.1f} s, {found['builds']} builds and {found['runs']} runs"
    say("kbench's own share of a bisection", f"{own:.1%}  (of {cost}; wanted: 5%)")


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="kbench-bench-"))
    try:
        made = timed(lambda: create(folder / "lab", seed=1, kind="uaf"))
        say("a lab of 300 commits", f"{made:.2f} s")
        repository = Repository(folder / "lab" / "repo")
        history = repository.history("main")
        # Near enough to each other that an edit or two lies between them, as late in a bisection.
        commits = [str(history.commits[i]) for i in range(20, 60, 4)]
        kernel = bench_builds(repository, commits, folder)
        bench_boot(kernel)
        bench_runs(kernel, folder / "lab" / "repro.txt", folder / "consoles")
        bench_own_share(folder / "lab" / "case.toml", folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
