"""The figures about real Linux, as ratios measured in one run: `make bench-linux` (about forty minutes on two cores).

What is compared uses the same sources, config, culprit and machine, and takes turns where it is short. Nothing here is
asserted by a test.
"""

from __future__ import annotations

import math
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import kbench
from kbench.bisection import Bisection, load_case
from kbench.host import usable_cores
from kbench.kernels import Builder, Store
from kbench.lab import Lab
from kbench.lab.linux import create_linux
from kbench.machines import initramfs
from kbench.machines.session import Job
from kbench.machines.um import environment
from kbench.records import KernelImage, Outcome
from kbench.repository import Repository
from kbench.runs import repro
from kbench.targets import TARGETS
from tests.bench import say, timed

KIND, SEED, COMMITS = "aio-mremap", 1, 500
RUNS, ROUNDS = 100, 3
CLEAN = "#include <unistd.h>\nint main(void) { usleep(10000); return 0; }\n"
CRASHES = "BUG: |WARNING: |Kernel panic|Oops|blocked for more than"

# What somebody writes who has `git bisect run` and no kbench: one folder, incremental make, boot, ten runs.
SCRIPT = """#!/bin/sh
make -s O={build} ARCH=um -j{jobs} CC={cc} linux >/dev/null 2>&1 || exit 125
for run in 1 2 3 4 5 6 7 8 9 10; do
    timeout 90 {boot} </dev/null >{log} 2>&1
    grep -aqE '{crashes}' {log} && exit 1
    grep -aq 'kbench: done' {log} || exit 125
done
exit 0
"""


def shell(words: list[str], cwd: Path, more: Mapping[str, str] = MappingProxyType({}), given: str | None = None) -> str:
    environment = os.environ | {"LC_ALL": "C"} | dict(more)
    done = subprocess.run(words, cwd=cwd, check=False, capture_output=True, text=True, env=environment, input=given)
    if done.returncode:
        sys.exit(f"{words}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def bare_line(kernel: KernelImage, initrd: Path, image: Path) -> str:
    """The shell command that starts a kernel as kbench does, without kbench."""
    words = [str(image), *Job(kernel.target.machine, kernel, initrd).argv()[1:]]
    return shlex.join(["env", *(f"{name}={value}" for name, value in environment().items()), *words])


class Plain:
    """What somebody has who has no kbench: a clone, a folder to build in, `make`."""

    def __init__(self, lab: Lab, kernel: KernelImage, folder: Path) -> None:
        self.folder, self.tree, self.build = folder, folder / "tree", folder / "build"
        self.build.mkdir(parents=True)
        shell(["git", "clone", "-q", str(lab.repository), str(self.tree)], folder)
        assert kernel.config is not None
        shutil.copyfile(kernel.config, self.build / ".config")
        shell(["make", "-s", f"O={self.build}", "ARCH=um", "olddefconfig"], self.tree)
        self.first = timed(self.make)

    def make(self) -> None:
        shell(["make", "-s", f"O={self.build}", "ARCH=um", f"-j{usable_cores()}", "linux"], self.tree)

    def bisect(self, good: str, kernel: KernelImage, initrd: Path) -> tuple[float, str, int]:
        """`git bisect run`: seconds, culprit, revisions tested."""
        boot, script = bare_line(kernel, initrd, self.build / "linux"), self.folder / "script.sh"
        log = self.folder / "log"
        script.write_text(SCRIPT.format(build=self.build, jobs=usable_cores(), cc="gcc", boot=boot, log=log, crashes=CRASHES))
        script.chmod(0o755)
        shell(["git", "bisect", "start", "main", good], self.tree)
        started = time.monotonic()
        said = shell(["git", "bisect", "run", str(script)], self.tree)
        took = time.monotonic() - started
        culprit = said.split(" is the first bad commit")[0].split()[-1] if " is the first bad commit" in said else "none"
        shell(["git", "bisect", "reset"], self.tree)
        return took, culprit, said.count("running ")


def our_bisection(lab: Lab, good: str, store: Store, folder: Path) -> tuple[float, Bisection]:
    """The same by kbench, its first build made already; git bisect proves nothing at the end, so neither does this."""
    bisection = Bisection(load_case(lab.case, good=good, proof=0), output=folder / "bisection", store=store)
    return timed(bisection.run), bisection


def prepare(folder: Path) -> tuple[Lab, KernelImage, Plain]:
    """A lab and the first build of it, by kbench and by hand."""
    lab = create_linux(folder / "lab", source=None, seed=SEED, kind=KIND, commits=COMMITS, target="um")
    repository = Repository(lab.repository)
    with Builder(repository, TARGETS["um"], store=Store(folder / "store")) as builder:
        first = timed(lambda: builder.build(repository.resolve("main")))
        kernel = builder.build(repository.resolve("main"))
    plain = Plain(lab, kernel, folder / "plain")
    say("first build, kbench / plain make", f"{first:.0f} s / {plain.first:.0f} s")
    return lab, kernel, plain


def bench_bisection(lab: Lab, kernel: KernelImage, by_hand: Plain, folder: Path) -> None:
    """A whole bisection against `git bisect run`."""
    case, good = load_case(lab.case), Repository(lab.repository).resolve(lab.tags[0])
    initrd = initramfs(kernel.target, case.path(case.reproducer), folder)
    assert initrd is not None
    plain, theirs, tested = by_hand.bisect(good, kernel, initrd)
    ours, bisection = our_bisection(lab, good, Store(folder / "store"), folder)
    result = bisection.result
    assert result is not None
    say("whole bisection, kbench / git bisect run", f"{ours / plain:.2f}  ({ours:.0f} s / {plain:.0f} s; wanted: 0.5)")
    say("culprit right, kbench / git bisect run", f"{result.culprit == lab.culprit} / {theirs == lab.culprit}")
    kernels = result.n_kernels or 0
    limit = math.log2(max(kernels, 1)) + 3
    say("revisions built, kbench / git bisect run", f"{result.builds} / {tested}  ({result.n_commits} commits, "
        f"{kernels} kernels; wanted: {limit:.1f})")  # fmt: skip


def bare_runs(kernel: KernelImage, initrd: Path) -> None:
    """The same runs without kbench: `linux` processes started from a shell loop, as many at once as there are cores."""
    line = shlex.join(Job(kernel.target.machine, kernel, initrd).argv())
    loop = f"for n in $(seq {RUNS // usable_cores()}); do {line} </dev/null >/dev/null 2>&1; done"
    processes = [subprocess.Popen(["sh", "-c", loop], env=environment()) for _ in range(usable_cores())]
    for process in processes:
        process.wait()


def bench_runs(kernel: KernelImage, folder: Path) -> None:
    """Runs a second under User-Mode Linux against bare processes, in turns."""
    reproducer = folder / "clean.c"
    reproducer.write_text(CLEAN)
    initrd = initramfs(kernel.target, reproducer, folder)
    assert initrd is not None
    ratios, ours, bare = [], [], []
    repro(kernel, reproducer, runs=4, consoles=folder / "consoles")
    for _ in range(ROUNDS):
        bare.append(timed(lambda: bare_runs(kernel, initrd)))
        started = time.monotonic()
        found = repro(kernel, reproducer, runs=RUNS, consoles=folder / "consoles")
        ours.append(time.monotonic() - started)
        assert found.counts[Outcome.OK] == RUNS, found
        ratios.append(bare[-1] / ours[-1])
    a_second = f"{RUNS / statistics.median(ours):.1f} / {RUNS / statistics.median(bare):.1f}"
    say("runs a second, kbench / bare linux", f"{statistics.median(ratios):.2f}  ({a_second} a second; wanted: 0.85)")


def bench_snapshot(lab: Lab, folder: Path) -> None:
    """Runs a second from a saved QEMU machine against cold boots."""
    target = TARGETS["qemu-x86_64"]
    repository, reproducer = Repository(lab.repository), folder / "clean.c"
    with Builder(repository, target, store=Store(folder / "store")) as builder:
        kernel = builder.build(repository.resolve("main"))
    saved = replace(kernel, target=replace(target, machine=replace(target.machine, snapshot=True)))
    rates = []
    for image in (kernel, saved) * 2:
        started = time.monotonic()
        found = repro(image, reproducer, runs=RUNS // 4, consoles=folder / "consoles")
        rates.append(RUNS / 4 / (time.monotonic() - started))
        assert found.counts[Outcome.OK] == RUNS // 4, found
    cold, restored = statistics.mean(rates[::2]), statistics.mean(rates[1::2])
    say("runs a second, saved machine / cold boot", f"{restored / cold:.1f}  ({restored:.1f} / {cold:.1f}; wanted: 2.5)")


def comment_commit(repository: Path) -> str:
    """A commit on top of main that rewords a comment and moves no line."""
    text = shell(["git", "show", "main:lib/sort.c"], repository)
    blob = shell(["git", "hash-object", "-w", "--stdin"], repository, given=text.replace(" * ", " *  ", 1)).strip()
    index = {"GIT_INDEX_FILE": str(repository / "comment-index")}
    shell(["git", "read-tree", "main"], repository, index)
    shell(["git", "update-index", "--cacheinfo", f"100644,{blob},lib/sort.c"], repository, index)
    tree = shell(["git", "write-tree"], repository, index).strip()
    name = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    return shell(["git", *name, "commit-tree", "-p", "main", "-m", "sort: reword a comment", tree], repository).strip()


def bench_comment(lab: Lab, by_hand: Plain, folder: Path) -> None:
    """What it costs to see that a comment-only change is the same kernel, and to go back to what was built."""
    commit = comment_commit(lab.repository)
    repository = Repository(lab.repository)
    main = repository.resolve("main")
    shell(["git", "checkout", "-q", "--force", "main"], by_hand.tree)
    by_hand.make()
    shell(["git", "fetch", "-q", str(lab.repository), commit], by_hand.tree)
    shell(["git", "checkout", "-q", "--detach", "FETCH_HEAD"], by_hand.tree)
    plain = timed(by_hand.make)
    with Builder(repository, TARGETS["um"], store=Store(folder / "store-comment")) as builder:
        first = builder.build(main)
        ours = timed(lambda: builder.build(commit))
        same = builder.build(commit)
        back = timed(lambda: builder.build(main))
    say("comment-only change is the same kernel", f"{same.signature == first.signature}")
    say("  seconds, kbench / plain make", f"{ours:.1f} / {plain:.1f}  (wanted: one more)")
    say("  seconds to go back", f"{back:.2f}")


def main() -> None:
    chosen = set(sys.argv[1:]) or {"bisection", "runs", "snapshot", "comment"}
    with tempfile.TemporaryDirectory(prefix="kbench-bench-") as name:
        folder = Path(name)
        lab, kernel, by_hand = prepare(folder)
        benches: dict[str, Callable[[], None]] = {
            "bisection": lambda: bench_bisection(lab, kernel, by_hand, folder),
            "runs": lambda: bench_runs(kernel, folder),
            "snapshot": lambda: bench_snapshot(lab, folder),
            "comment": lambda: bench_comment(lab, by_hand, folder),
        }
        for what, bench in benches.items():
            if what in chosen:
                bench()


if __name__ == "__main__":
    print(f"kbench {kbench.__version__}, {usable_cores()} cores")
    main()
