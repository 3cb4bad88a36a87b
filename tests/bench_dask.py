"""What a cluster gains, and how far it goes: `python -m tests.bench_dask` (some five minutes; SCALING.md has what it printed).

The workers are processes of this machine, so what they carry out waits rather than computes. The plan is a simulation of
the queues of a large cluster, with what a task costs the scheduler measured here.
"""

from __future__ import annotations

import heapq
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from distributed import Client

import kbench
from kbench.bisection.cluster import ClusterLaboratory
from kbench.execution import Cluster, Task
from kbench.history import History
from kbench.host import usable_cores
from kbench.repository import Repository
from kbench.search import Costs, Observation, Search
from tests.bench import say, timed
from tests.fast_import import Commit, make_repository
from tests.hosts import hosts, waiting, waits

WORKERS, N_BUILDS, N_RUNS, WAIT_S = (1, 2, 4), 8, 24, 1.5
N_COMMITS, N_SEARCHES, RATES = 1000, 40, (1.0, 0.5)
N_TASKS, CROWDS, SLOTS = 2000, (10, 100, 1000), 4
DAY_S = 86_400.0
PROOF = 2, 24  # builds and runs of the closing proof: the parent and the reverted culprit, eight runs of each of three kernels


def bench_workers(folder: Path) -> None:
    """The same builds and runs on 1, 2 and 4 workers that carry out one of each at a time."""
    alone = 0.0
    for n_workers in WORKERS:
        builds_s, runs_s = carried_out(folder / str(n_workers), n_workers)
        alone = alone or builds_s + runs_s
        share = alone / (builds_s + runs_s) / n_workers
        figures = f"{N_BUILDS} builds {builds_s:.1f} s, {N_RUNS} runs {runs_s:.1f} s"
        say(f"workers: {n_workers}", f"{share:.2f} of linear  ({figures}; wanted: 0.9)")


def carried_out(folder: Path, n_workers: int) -> tuple[float, float]:
    """Return the seconds that the builds and that the runs take."""
    content = [waits(WAIT_S) + b"# %d\n" % number for number in range(N_BUILDS + n_workers)]
    commits = make_repository(folder / "repo", [Commit([i - 1] if i else [], files={"kernel": c}) for i, c in enumerate(content)])
    spare, wanted = commits[:n_workers], commits[n_workers:]
    with hosts(folder, apart=False) as cluster:
        cluster.start(n_workers, resources="build=1 machine=1", threads=2)
        target, repository = waiting(folder / "built", WAIT_S), Repository(folder / "repo")
        lab = ClusterLaboratory(cluster.scheduler, repository, target, artefacts=cluster.artefacts, tips=commits[-1:])
        lab.check()
        build_all(lab, spare)  # a worker's first task takes its time
        list(lab.run(lab.build(spare[0]), range(3 * n_workers), lambda number: folder / f"first-{number}"))
        builds_s = timed(lambda: build_all(lab, wanted))
        kernel = lab.build(wanted[0])
        runs_s = timed(lambda: list(lab.run(kernel, range(N_RUNS), lambda number: folder / f"console-{number}")))
        lab.close()
    return builds_s, runs_s


def build_all(lab: ClusterLaboratory, commits: Sequence[str]) -> None:
    """Build commits side by side."""
    lab.expect([(commit, 0) for commit in commits])
    for commit in commits:
        lab.build(commit)


def search_once(culprit: int, rate: float, at_once: int, rng: np.random.Generator) -> tuple[int, int, int, bool]:
    """Search a line of commits with `at_once` experiments at a time; rounds, builds, runs, and whether it was found."""
    history = History.from_parents([[i - 1] if i else [] for i in range(N_COMMITS)])
    search = Search(history, bad=N_COMMITS - 1, good=[0], costs=Costs(), strategy="bayes")
    crashed = int(rng.binomial(10, rate))
    search.tell(Observation(N_COMMITS - 1, passed=10 - crashed, crashes={"a bug": crashed}))
    rounds, runs, built = 0, 10, {N_COMMITS - 1}
    while experiments := search.ask(at_once):
        rounds += 1
        for one in experiments:
            built.add(one.commit)
            wanted = one.at_most or one.runs
            shows = rng.random(wanted) < rate if one.commit >= culprit else np.zeros(wanted, dtype=bool)
            done = int(np.argmax(shows)) + 1 if one.at_most and shows.any() else wanted  # a crash ends the runs
            crashed, runs = int(shows[:done].sum()), runs + done
            search.tell(Observation(one.commit, passed=done - crashed, crashes={"a bug": crashed} if crashed else {}))
    return rounds, len(built), runs, search.result.culprit == culprit


def bench_speculation() -> tuple[float, float]:
    """Rounds of a search with one and with two experiments at a time; return builds and runs of a bisection, its proof too."""
    builds, runs = list[int](), list[int]()
    for rate in RATES:
        rounds: dict[int, list[int]] = {1: [], 2: []}
        right, spent = Counter[int](), Counter[int]()
        for seed in range(N_SEARCHES):
            culprit = int(np.random.default_rng(seed).integers(1, N_COMMITS))
            for at_once, seen in rounds.items():
                n_rounds, n_builds, n_runs, found = search_once(culprit, rate, at_once, np.random.default_rng(seed))
                seen.append(n_rounds)
                right[at_once] += found
                spent[at_once] += n_builds
                if at_once == 1:
                    builds.append(n_builds)
                    runs.append(n_runs)
        one, two = (statistics.mean(rounds[at_once]) for at_once in (1, 2))
        figures = f"{two:.1f} / {one:.1f} rounds, {spent[2] / spent[1]:.2f} of the builds, right {right[2]} / {right[1]}"
        say(f"two at a time, rate {rate}", f"{two / one:.2f} of the steps  ({figures}; wanted: 0.7)")
    return statistics.mean(builds) + PROOF[0], statistics.mean(runs) + PROOF[1]


def nothing(number: int) -> int:
    """A task that is all overhead."""
    return number


def bench_scheduler(folder: Path) -> float:
    """Processor time of a real scheduler for each task, by the number of workers; return that of the most, in seconds."""
    each = 0.0
    for n_workers in CROWDS:
        with hosts(folder / f"scheduler-{n_workers}", apart=False) as cluster:
            cluster.settings = {}  # these workers send no heartbeats
            cluster.start(0)
            crowd = subprocess.Popen([sys.executable, "-m", "tests.crowd", cluster.scheduler, str(n_workers), str(SLOTS)])
            try:
                each = measure(cluster.scheduler, cluster.scheduler_pid, n_workers)
            finally:
                crowd.kill()
                crowd.wait()
    return each


def processor_s(pid: int) -> float:
    """Return the processor time a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(address: str, pid: int, n_workers: int) -> float:
    """Hand in tasks as bisections do, one message each, and see what the scheduler spends on them."""
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(n_workers, timeout=120)
        cluster = Cluster(client)
        before, started = processor_s(pid), time.monotonic()
        tasks = ((number, Task("machine", nothing, (number,), place=number % 10)) for number in range(N_TASKS))
        assert sum(1 for _ in cluster.batch(tasks, SLOTS * n_workers)) == N_TASKS
        took, spent = time.monotonic() - started, processor_s(pid) - before
    each = spent / N_TASKS
    figures = f"{1e3 * each:.2f} ms of its processor a task; {N_TASKS / took:.0f} tasks/s seen here"
    say(f"scheduler, {n_workers} workers", f"{1 / each:.0f} tasks/s at most  ({figures})")
    return each


@dataclass
class Queue:
    """A resource of all workers together: what is in use, and who waits, in the order they came."""

    slots: int
    busy: int = 0
    used_s: float = 0.0
    waiting: deque[tuple[int, float]] = field(default_factory=deque)  # (bisection, seconds)


def simulate(a_day: int, n_workers: int, shape: tuple[float, float], task_s: float, days: float = 0.5) -> dict[str, float]:
    """Simulate so many bisections a day, each in steps of one build and then runs side by side; return shares and times.

    Builds take 387 s and runs 46 s in the median (log-normal, sigma 0.5). A task goes through the scheduler, one at a time.
    """
    rng = np.random.default_rng(1)
    n_builds, runs_each = round(shape[0]), max(round(shape[1] / shape[0]), 1)
    queues = {"build": Queue(n_workers), "machine": Queue(4 * n_workers)}
    left: dict[int, list[int]] = {}  # by bisection: steps, runs of this step
    began, took = dict[int, float](), list[float]()
    arrivals = np.cumsum(rng.exponential(DAY_S / a_day, int(a_day * days)))
    events: list[tuple[float, int, str, int, float]] = [(when, i, "arrive", i, 0.0) for i, when in enumerate(arrivals.tolist())]
    number, free_at, scheduler_s = itertools.count(len(events)), 0.0, 0.0
    heapq.heapify(events)

    def begin(now: float, kind: str) -> None:
        nonlocal free_at, scheduler_s
        queue = queues[kind]
        while queue.waiting and queue.busy < queue.slots:
            bisection, seconds = queue.waiting.popleft()
            free_at = max(free_at, now) + task_s
            queue.busy, queue.used_s, scheduler_s = queue.busy + 1, queue.used_s + seconds, scheduler_s + task_s
            heapq.heappush(events, (free_at + seconds, next(number), kind, bisection, seconds))

    while events:
        now, _, kind, bisection, _ = heapq.heappop(events)
        if kind == "arrive":
            began[bisection], left[bisection] = now, [n_builds, 0]
        elif kind == "build":
            queues["build"].busy -= 1
            left[bisection][1] = runs_each
            queues["machine"].waiting.extend((bisection, s) for s in (46 * rng.lognormal(0, 0.5, runs_each)).tolist())
        else:
            queues["machine"].busy -= 1
            left[bisection][1] -= 1
        if kind != "build" and left[bisection][1] == 0:
            left[bisection][0] -= 1
            if left[bisection][0] < 0:
                took.append(now - began.pop(bisection))
            else:
                queues["build"].waiting.append((bisection, 387 * float(rng.lognormal(0, 0.5))))
        begin(now, "build")
        begin(now, "machine")
    whole = float(arrivals[-1])
    return {
        "build": queues["build"].used_s / whole / queues["build"].slots,
        "machine": queues["machine"].used_s / whole / queues["machine"].slots,
        "scheduler": scheduler_s / whole,
        "median_h": statistics.median(took) / 3600,
        "p95_h": float(np.quantile(took, 0.95)) / 3600,
        "tasks_s": scheduler_s / task_s / whole,
    }


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="kbench-bench-") as name:
        bench_workers(Path(name))
        shape = bench_speculation()
        task_s = bench_scheduler(Path(name))
    say("a bisection", f"{shape[0]:.1f} builds, {shape[1]:.0f} runs  (mean of the searches above, one at a time, and the proof)")
    for a_day in (5_000, 10_000, 15_000, 20_000):
        seen = simulate(a_day, 1_000, shape, task_s)
        busy = ", ".join(f"{what} {100 * seen[what]:.0f} %" for what in ("build", "machine", "scheduler"))
        figures = f"{seen['median_h']:.1f} h, 95 % in {seen['p95_h']:.1f} h  ({busy}; {seen['tasks_s']:.1f} tasks/s)"
        say(f"{a_day} bisections a day, 1000 workers", figures)


if __name__ == "__main__":
    print(f"kbench {kbench.__version__}, {usable_cores()} cores, Python {sys.version.split()[0]}")
    main()
