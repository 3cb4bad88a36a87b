"""A Dask cluster of real processes, each on a host of its own: shared, killed, cut off."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbench.bisection import Bisection, load_case
from kbench.bisection.cluster import ClusterLaboratory
from kbench.errors import BuildError, MachineLacksError
from kbench.journal import FILE_NAME
from kbench.kernels import Store
from kbench.lab import create
from kbench.records import Outcome, Target
from kbench.repository import Repository
from tests.fast_import import Commit, make_repository
from tests.hosts import Host, Hosts, hosts, ip, until, waiting, waits

dask = pytest.importorskip("dask", reason="Dask is an extra: pip install 'kbench[dask]'")
pytestmark = pytest.mark.qemu

N_HOSTS = 3
KERNEL = waits(0.3)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    try:
        with hosts(tmp_path_factory.mktemp("d"), apart=True) as made:
            made.start(N_HOSTS)
            yield made
    except PermissionError as error:
        pytest.skip(str(error))
    until(lambda: made.bridge not in ip("-br", "link") + ip("netns", "list"), "links and namespaces to go with the hosts")


def laboratory(cluster: Hosts, repository: Path, target: Target, tips: list[str]) -> ClusterLaboratory:
    return ClusterLaboratory(cluster.scheduler, Repository(repository), target, artefacts=cluster.artefacts, tips=tips)


@pytest.mark.timeout(120)
def test_bisections_share_builds_and_machines(cluster: Hosts, tmp_path: Path) -> None:
    """One build for all who want it, though its kernel be damaged on the way; and no bisection waits until another is done."""
    built = tmp_path / "built"
    rows = [Commit(files={"kernel": KERNEL}), Commit([0], files={"kernel": b"broken"})]
    commit, broken = commits = make_repository(tmp_path / "repo", rows)
    mine, theirs = (laboratory(cluster, tmp_path / "repo", waiting(built), commits[1:]) for _ in range(2))
    try:
        kernels = []
        for one in (mine, theirs):
            one.check()
        askers = [threading.Thread(target=lambda one=one: kernels.append(one.build(commit))) for one in (mine, theirs)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert built.read_text() == "built\n"
        assert kernels[0].signature == kernels[1].signature
        with pytest.raises(BuildError, match="sh exited with 1"):
            mine.build(broken)

        ended: list[str] = []

        def run(name: str, one: ClusterLaboratory, runs: int) -> None:
            for number, run in one.run(kernels[0], range(runs), lambda number: tmp_path / name / str(number)):
                assert (run.outcome, run.console) == (Outcome.OK, tmp_path / name / str(number))
                assert (tmp_path / name / str(number)).read_text() == "up\nfinished\n"
                ended.append(name)

        run("first", mine, 9)  # a worker's first run takes its time
        long = threading.Thread(target=run, args=("long", mine, 30))
        long.start()
        until(lambda: "long" in ended, "the first runs")
        before = len(ended)
        run("short", theirs, 6)
        assert ended[before:].count("long") <= 15, "a short batch does not wait for a long one"
        long.join()
        assert (ended.count("long"), ended.count("short")) == (30, 6)

        artefact = Path(cluster.artefacts) / "objects" / kernels[0].path.name
        artefact.write_bytes(KERNEL[:-5])
        for worker in cluster.workers:
            (worker.folder / "cache" / "objects" / kernels[0].path.name).unlink(missing_ok=True)
        [(_, again)] = mine.run(kernels[0], [0], lambda _: tmp_path / "again")
        assert again.outcome is Outcome.OK
        assert artefact.read_bytes() == KERNEL, "thrown away, and built again"
        assert built.read_text().count("\n") == 3  # with the one that does not build
    finally:
        for one in (mine, theirs):
            one.close()


@pytest.mark.timeout(120)
def test_lost_workers_cost_no_answer(cluster: Hosts, tmp_path: Path) -> None:
    """One worker is killed and one cut off in the middle of a bisection: the right answer, and nothing told twice."""
    lab = create(tmp_path / "lab", seed=3, kind="uaf", commits=60)
    case = load_case(lab.case, executor="dask", scheduler=cluster.scheduler, artefacts=cluster.artefacts, at_once=2)
    bisection = Bisection(case, output=tmp_path / "out", store=Store(tmp_path / "cache"))
    lost: list[Host] = []

    def lose() -> None:
        for step, how in ((3, Host.kill), (6, Host.cut_off)):
            until(lambda step=step: len(bisection.steps) >= step or bisection.result, f"step {step}")  # type: ignore[misc]
            busy: list[Host] = []
            while not busy and not bisection.result:  # a worker by itself is one process
                busy = [host for host in cluster.workers if host not in lost and len(host.processes()) > 1]
            if busy:
                how(busy[0])
                lost.append(busy[0])

    breaking = threading.Thread(target=lose)
    breaking.start()
    result = bisection.run()
    breaking.join()
    assert result.culprit == json.loads((tmp_path / "lab" / "truth.json").read_text())["culprit"]
    assert len(lost) == 2
    with sqlite3.connect(tmp_path / "out" / FILE_NAME) as journal:
        asked = journal.execute(
            "SELECT e.runs, e.complete, COUNT(r.number) FROM experiments e LEFT JOIN runs r ON r.experiment = e.id GROUP BY e.id"
        ).fetchall()
        assert all(complete and done <= runs for runs, complete, done in asked)
        assert not journal.execute("SELECT title FROM runs WHERE outcome = ?", (Outcome.INFRA.value,)).fetchall()
    until(lambda: not lost[0].processes(), "machines and compilers to go with their worker")
    until(lambda: not lost[1].processes(), "the worker that was cut off to give up")


@pytest.mark.timeout(60)
def test_scheduler_is_lost(cluster: Hosts, tmp_path: Path) -> None:
    """The scheduler is killed under a run: one line that says what to do."""
    [commit] = make_repository(tmp_path / "repo", [Commit(files={"kernel": waits(20)})])
    one = laboratory(cluster, tmp_path / "repo", waiting(tmp_path / "built"), [commit])
    one.check()
    try:
        kernel = one.build(commit)
        killing = threading.Timer(1, cluster.kill_scheduler)
        killing.start()
        with pytest.raises(MachineLacksError, match=r"expected the scheduler at tcp://.*, lost it.*nothing is lost"):
            list(one.run(kernel, [0], lambda _: tmp_path / "console"))
        killing.join()
    finally:
        one.close()


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    """Nobody at the address: exit 3, and what to do."""
    [commit] = make_repository(tmp_path / "repo", [Commit(files={"kernel": KERNEL})])
    nobody = ClusterLaboratory(
        "tcp://127.0.0.1:9", Repository(tmp_path / "repo"), waiting(tmp_path), artefacts=str(tmp_path / "a"), tips=[commit]
    )
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(MachineLacksError, match=r"cluster: expected a Dask scheduler at tcp://127\.0\.0\.1:9"),
    ):
        nobody.check()
