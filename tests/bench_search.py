"""What a search costs by itself: time for each question, and a range out of a million commits (`make bench-search`)."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import kbench
from kbench.history import History
from kbench.host import usable_cores
from kbench.repository import Repository
from kbench.search import Observation, Search
from kbench.study.graphs import draw_graph
from tests.bench import say
from tests.fast_import import ENVIRONMENT, EPOCH, git

WANTED_MS = {1_000: 20, 7_000: 150, 16_000: 500}
MILLION, RANGE = 1_000_000, 15_000
RATE = 0.3


def bench_questions(n: int, wanted_ms: int) -> None:
    """Mean and worst time of `ask` plus `tell` over a whole search with a flaky bug."""
    rng = np.random.default_rng(5)
    history = draw_graph(rng, [n]).history
    bad = len(history) - 1
    culprit = int(rng.choice(np.flatnonzero(history.candidates(bad, [0]))))
    search, took = Search(history, bad=bad, good=[0], strategy="bayes"), list[float]()
    contains = history.is_ancestor
    while True:
        started = time.monotonic()
        experiments = search.ask()
        asked = time.monotonic() - started
        if not experiments:
            break
        commit, runs = experiments[0].commit, experiments[0].runs
        crashed = int(rng.binomial(runs, RATE)) if contains(culprit, commit) else 0
        started = time.monotonic()
        search.tell(Observation(commit, passed=runs - crashed, crashes={"a bug": crashed}))
        took.append(asked + time.monotonic() - started)
    figures = f"{1e3 * statistics.mean(took):.1f} ms, worst {1e3 * max(took):.1f} ms over {len(took)}"
    say(f"ask and tell, {n} candidates", f"{figures}  (wanted: {wanted_ms})")


def million(path: Path) -> None:
    """A repository of a million commits without files: a mainline that merges short topic branches."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "master", str(path)], check=True, env=ENVIRONMENT)
    command = ["git", "fast-import", "--quiet", "--force"]
    with subprocess.Popen(command, cwd=path, stdin=subprocess.PIPE, env=ENVIRONMENT) as importer:
        assert importer.stdin is not None
        tip, made = 0, 0
        while made < MILLION:
            side = list(range(made + 1, made + 12))
            parents = [[tip], *([mark] for mark in side[:-1]), [tip, side[-1]]]
            for mark, of in zip((*side, side[-1] + 1), parents, strict=True):
                words = b"".join(
                    b"%s :%d\n" % (word, parent) for word, parent in zip((b"from", b"merge"), of, strict=False) if parent
                )
                when = b"Ada <ada@example.org> %d +0000" % (EPOCH + mark)
                importer.stdin.write(
                    b"commit refs/heads/master\nmark :%d\nauthor %s\ncommitter %s\ndata 2\na\n%s\n" % (mark, when, when, words)
                )
            tip = made = side[-1] + 1
    git(path, "commit-graph", "write", "--reachable")


def bench_range(folder: Path) -> None:
    """Reading a range, and the first question, against `git rev-list --bisect`."""
    path = folder / "million"
    million(path)
    good = git(path, "rev-list", "--first-parent", f"--skip={RANGE // 12}", "--max-count=1", "master").strip()
    reads, ours, theirs = list[float](), list[float](), list[float]()
    history: History | None = None
    for _ in range(3):
        started = time.monotonic()
        history = Repository(path).history("master", good=[good])
        reads.append(time.monotonic() - started)
        started = time.monotonic()
        bad, first = len(history) - 1, history.commits.index(good)
        Search(history, bad=bad, good=[first], strategy="bayes").ask()
        ours.append(time.monotonic() - started)
        started = time.monotonic()
        git(path, "rev-list", "--bisect", "master", f"^{good}")
        theirs.append(time.monotonic() - started)
    assert history is not None
    say(f"a range of {len(history)} out of {MILLION}", f"{statistics.median(reads):.2f} s  (wanted: 2)")
    ratio = statistics.median(ours) / statistics.median(theirs)
    figures = f"{statistics.median(ours):.2f} s / {statistics.median(theirs):.2f} s"
    say("first question / git rev-list --bisect", f"{ratio:.2f}  ({figures}; wanted: 1)")


def main() -> None:
    for n, wanted_ms in WANTED_MS.items():
        bench_questions(n, wanted_ms)
    say("memory", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB  (wanted: 1024)")
    with tempfile.TemporaryDirectory(prefix="kbench-bench-") as name:
        bench_range(Path(name))


if __name__ == "__main__":
    print(f"kbench {kbench.__version__}, {usable_cores()} cores, Python {sys.version.split()[0]}")
    main()
