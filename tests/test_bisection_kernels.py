"""The driver on kernels: commits that make one kernel, wrong folds, kernels tested already, runs that never got there."""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbench import syzbot
from kbench.bisection import Bisection, make_case
from kbench.bisection.laboratory import CrashFindings
from kbench.bisection.report import bisection_log
from kbench.bisection.view import view
from kbench.errors import BuildError, JournalError
from kbench.journal import FORMAT, Journal
from kbench.records import KernelImage, Run, Verdict
from tests.fast_import import Commit, make_repository
from tests.laboratories import CRASH, OK, Killed, TableLaboratory

KEYS = {"build": "true", "image": "kernel", "qemu": "qemu-system-i386"}
COMPILED = ("kernel/a.c", "kernel/b.c", "include/a.h")


@dataclass
class World:
    """A linear history c0 (v1.0) to the newest; `touched[i]` is the file that commit i changes."""

    folder: Path
    touched: list[str]
    culprit: int
    told: tuple[str, ...] = COMPILED  # files the builds name; `hidden` goes in as well and no build tells
    hidden: tuple[str, ...] = ()
    commits: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        every = dict.fromkeys((*COMPILED, *self.hidden, *self.touched), b"0")
        rows = [Commit(message=b"base\n", files=every)]
        rows += [Commit([i - 1], f"change {i}\n".encode(), {path: str(i).encode()}) for i, path in enumerate(self.touched[1:], 1)]
        self.commits = make_repository(self.folder / "repo", rows, {"v1.0": 0})
        self.index = {commit: i for i, commit in enumerate(self.commits)}

    def shows(self, commit: str, _: int) -> Run | None:
        return CRASH if self.index[commit] >= self.culprit else OK

    def signature(self, commit: str) -> str:
        """Of what goes in: the last commits that changed a compiled file."""
        last = {path: i for i, path in enumerate(self.touched[: self.index[commit] + 1]) if path in (*self.told, *self.hidden)}
        return hashlib.sha256(repr(sorted(last.items())).encode()).hexdigest()

    def laboratory(self, **kwargs: Any) -> TableLaboratory:
        return TableLaboratory(self.shows, **({"signature": self.signature, "files": lambda _: self.told} | kwargs))

    def bisection(self, laboratory: TableLaboratory, output: str = "case.kbench", **keys: Any) -> Bisection:
        """A bisection of a kernel nothing is known of, by default: no guest, and relevance has to be asked for."""
        kind = KEYS | {"relevance": True} if "target" not in keys else {}
        given = {"repository": "repo", "bad": "master", "good": "v1.0", "runs": 2, "name": "demo", "strategy": "git"}
        case = make_case({**given, **kind, **keys}, folder=self.folder)
        return Bisection(case, laboratory=laboratory, output=self.folder / output)

    def linux_bisection(self, laboratory: TableLaboratory, output: str = "case.kbench", **keys: Any) -> Bisection:
        """A bisection of User-Mode Linux: relevance and liveness without being asked for."""
        (self.folder / "repro.c").write_text("int main(void) { return 0; }\n")
        return self.bisection(laboratory, output, target="um", reproducer="repro.c", **keys)


def touched(n: int, relevant: set[int], seed: int = 0) -> list[str]:
    """One file a commit: compiled ones at the places `relevant`."""
    rng = np.random.default_rng(seed)
    return [COMPILED[int(rng.integers(3))] if i in relevant else f"drivers/d{int(rng.integers(9))}.c" for i in range(n)]


@pytest.mark.parametrize("strategy", ["git", "syzkaller"])
@pytest.mark.parametrize("seed", range(3))
def test_only_kernels_are_searched(tmp_path: Path, strategy: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    relevant = set(rng.choice(np.arange(1, 200), 20, replace=False).tolist())
    culprit = int(rng.choice(sorted(relevant)))
    world = World(tmp_path, touched(200, relevant), culprit)
    laboratory = world.laboratory()
    bisection = world.bisection(laboratory, strategy=strategy)
    result = bisection.run()
    assert (result.culprit, result.noop) == (world.commits[culprit], False)
    assert (result.n_commits, result.n_kernels) == (199, 20)
    assert len(laboratory.built) == result.builds <= math.ceil(math.log2(20)) + 3
    asked = [step for step in bisection.steps if step.stage == "bisect"]
    assert {world.index[step.commit] for step in asked} <= relevant
    assert asked[-1].candidates_left == 1
    for step in asked:
        left = {commit for first, last in step.spans for commit in range(first, last + 1)}
        assert left <= relevant | {199}, "the first commits of kernels, and the end that was named"
        assert len(left) == step.candidates_left
    shown = view(bisection)
    assert (shown.n_commits, shown.n_kernels) == (199, 20)
    log = syzbot.read_log(bisection_log(bisection, shown))
    assert [step.commit for step in syzbot.steps(log)] == [step.commit for step in bisection.steps]


@pytest.mark.parametrize("strategy", ["git", "syzkaller"])
def test_a_fix_is_searched_among_kernels(tmp_path: Path, strategy: str) -> None:
    """Clean runs are not asked whether they got there: a fix is what may keep them from it."""
    relevant = set(range(5, 100, 10))
    world = World(tmp_path, touched(100, relevant), culprit=65)

    def shows(commit: str, _: int) -> Run:
        return OK if world.index[commit] >= 65 else CRASH

    laboratory = TableLaboratory(shows, signature=world.signature, files=lambda _: COMPILED)
    bisection = world.linux_bisection(laboratory, kind="fix", bad="v1.0", good="master", strategy=strategy)
    result = bisection.run()
    assert (result.culprit, result.n_kernels, result.noop) == (world.commits[65], 10, False)
    assert laboratory.probed == []


def test_a_merged_side_branch_is_searched_too(tmp_path: Path) -> None:
    """Noise on the main line, the culprit and more on a branch; the merge is the branch's kernel and not asked for."""
    every = dict.fromkeys((*COMPILED, "drivers/x.c"), b"0")
    rows = [Commit(message=b"base\n", files=every)]
    rows += [Commit([i - 1], b"noise\n", {"drivers/x.c": b"%d" % i}) for i in range(1, 10)]
    rows += [Commit([0 if i == 10 else i - 1], b"real\n", {"kernel/a.c": b"%d" % i}) for i in range(10, 20)]
    rows += [Commit([9, 19], b"merge\n", {"kernel/a.c": b"19"})]
    rows += [Commit([i - 1], b"noise\n", {"drivers/x.c": b"%d" % i}) for i in range(21, 30)]
    commits = make_repository(tmp_path / "repo", rows, {"v1.0": 0})
    index = {commit: i for i, commit in enumerate(commits)}
    kernel = [0 if i < 10 else min(i, 19) for i in range(30)]
    laboratory = TableLaboratory(
        lambda commit, _: CRASH if kernel[index[commit]] >= 14 else OK,
        signature=lambda commit: f"{kernel[index[commit]]:064d}",
        files=lambda _: COMPILED,
    )
    case = make_case(
        {"repository": "repo", "bad": "master", "good": "v1.0", "relevance": True, "strategy": "git", **KEYS}, folder=tmp_path
    )
    bisection = Bisection(case, laboratory=laboratory)
    result = bisection.run()
    assert (result.culprit, result.n_commits, result.n_kernels) == (commits[14], 29, 10)
    assert {index[step.commit] for step in bisection.steps if step.stage == "bisect"} <= set(range(10, 20))


def test_a_function_of_the_trace_points_at_few(tmp_path: Path) -> None:
    """Of fifty commits that touch the file one is in the function that crashes; another two name it."""
    rows = [Commit(message=b"base\n", files={"fs/pipe.c": b"", "kernel/a.c": b"0"})]
    lines = [f"int f{i}(void) {{ return 0; }}\n" for i in range(60)]
    for i in range(1, 51):
        text = "".join(lines[: i + 1])
        if i >= 7:
            text = text.replace("int f3(void) { return 0; }", "int f3(void) { return 1; }")
        rows.append(Commit([i - 1], f"change {i}\n".encode(), {"fs/pipe.c": text.encode()}))
    commits = make_repository(tmp_path / "repo", rows, {"v1.0": 0})

    class Laboratory(TableLaboratory):
        def explain(self, kernel: KernelImage, crashed: Run) -> CrashFindings:
            return CrashFindings(f"BUG: in {self.function}+0x1/0x2 fs/pipe.c:3\n")

        function = "f3"

    def built(function: str) -> int:
        laboratory = Laboratory(
            lambda commit, _: CRASH if commits.index(commit) >= 7 else OK, files=lambda _: ("fs/pipe.c", "kernel/a.c")
        )
        laboratory.function = function
        given = {"repository": "repo", "bad": "master", "good": "v1.0", "relevance": True, "name": "demo", "proof": 0, **KEYS}
        bisection = Bisection(make_case(given, folder=tmp_path), laboratory=laboratory, output=tmp_path / function)
        assert bisection.run().culprit == commits[7]
        return len(laboratory.built)

    assert built("f3") < built("nobody")


def test_without_relevance_commits_are_counted(tmp_path: Path) -> None:
    world = World(tmp_path, touched(40, {20}), 20)
    result = world.bisection(world.laboratory(), output="off", relevance=False).run()
    assert (result.culprit, result.n_kernels) == (world.commits[20], None)
    result = world.bisection(world.laboratory(files=lambda _: None), output="untold").run()
    assert (result.culprit, result.n_kernels) == (world.commits[20], None), "a build that does not tell folds nothing"


def test_a_build_that_stops_telling_undoes_the_fold(tmp_path: Path) -> None:
    world = World(tmp_path, touched(40, {5, 10, 20, 30}), 20)
    silent = world.commits[10:30]
    result = world.bisection(world.laboratory(files=lambda commit: None if commit in silent else COMPILED)).run()
    assert (result.culprit, result.n_kernels) == (world.commits[20], None)


def test_new_files_tell_more_commits_apart(tmp_path: Path) -> None:
    """A file that only older kernels have makes the commits that touch it candidates again."""
    paths = touched(60, {10, 20, 30, 40, 50})
    paths[25] = paths[35] = "fs/old.c"
    world = World(tmp_path, paths, 25, hidden=("fs/old.c",))
    only_old = lambda commit: (*COMPILED, "fs/old.c") if world.index[commit] < 40 else COMPILED  # noqa: E731
    result = world.bisection(world.laboratory(files=only_old)).run()
    assert result.culprit == world.commits[25]
    assert result.n_kernels == 7


def test_a_wrong_fold_is_found_and_the_search_goes_on(tmp_path: Path) -> None:
    """No build names the culprit's file. Its effect is blamed on the next kernel, whose parent is not what was tested."""
    paths = touched(80, set(range(8, 80, 8)))
    paths[37] = "gen/table.c"
    world = World(tmp_path, paths, 37, hidden=("gen/table.c",))
    bisection = world.bisection(world.laboratory())
    result = bisection.run()
    assert (result.culprit, result.noop, result.confidence) == (world.commits[37], False, 1.0)
    assert any("told apart" in note for note in result.notes)
    assert [step.stage for step in bisection.steps].count("parent") >= 1
    assert world.bisection(world.laboratory()).read() == result


def test_what_broke_a_build_counts(tmp_path: Path) -> None:
    """A stretch that does not build ends with a commit that touches only the file at fault."""

    class Broken(TableLaboratory):
        def build(self, commit: str) -> Any:
            if 15 <= world.index[commit] < 30:
                self.built.append(commit)
                raise BuildError("fs/new.c:7:1: error: oops", log="", file="fs/new.c", timed_out=False)
            return super().build(commit)

    paths = touched(60, {10, 15, 20, 45})
    paths[30] = "fs/new.c"
    world = World(tmp_path, paths, 30)
    result = world.bisection(Broken(world.shows, signature=world.signature, files=lambda _: COMPILED)).run()
    assert world.commits[30] in {commit for commit, _ in result.candidates}


def test_a_kernel_is_run_once(tmp_path: Path) -> None:
    """Comments in compiled files: relevant by name, but the build shows that they are not."""
    paths = touched(64, set(range(64)))
    world = World(tmp_path, paths, 40)

    def blocks(commit: str) -> str:
        return hashlib.sha256(b"%d" % (world.index[commit] // 20)).hexdigest()

    laboratory = world.laboratory(signature=blocks)
    bisection = world.bisection(laboratory)
    result = bisection.run()
    assert result.culprit == world.commits[40]
    twins = [step for step in bisection.steps if step.same_as]
    assert twins
    for step in twins:
        original = next(other for other in bisection.steps if other.commit == step.same_as)
        assert (step.runs, step.verdict, step.signature) == (original.runs, original.verdict, original.signature)
        assert step.test_s == 0
    assert len({commit for commit, _ in laboratory.ran}) == len({blocks(commit) for commit, _ in laboratory.ran})
    assert result.runs == len(laboratory.ran)
    assert world.bisection(world.laboratory(signature=blocks)).read() == result


def test_unreached_is_not_good(tmp_path: Path) -> None:
    """Between 20 and 40 the reproducer goes silent; those clean runs neither count nor mislead."""
    paths = touched(80, set(range(1, 80)))
    world = World(tmp_path, paths, 17)
    silent = range(20, 40)

    def shows(commit: str, n: int) -> Run | None:
        return OK if world.index[commit] in silent else world.shows(commit, n)

    misled = TableLaboratory(shows, signature=world.signature)
    assert world.bisection(misled, output="misled").run().culprit == world.commits[40]
    assert misled.probed == [], "not asked for by default where there is no guest"
    laboratory = TableLaboratory(
        shows, signature=world.signature, reached=lambda commit: False if world.index[commit] in silent else None
    )
    bisection = world.linux_bisection(laboratory)
    result = bisection.run()
    assert result.culprit == world.commits[17]
    unreached = [step for step in bisection.steps if step.reached is False]
    assert unreached
    assert all(step.verdict is Verdict.SKIP and step.reach == "as the table says" for step in unreached)
    assert any("did not get to the code" in note for note in result.notes)
    assert laboratory.explained == [world.commits[79]]
    assert set(laboratory.probed) == {step.commit for step in bisection.steps if step.runs and not step.titles}


def test_a_good_end_that_was_not_reached_stays_the_end(tmp_path: Path) -> None:
    world = World(tmp_path, touched(40, set(range(1, 40))), 17)
    laboratory = TableLaboratory(world.shows, signature=world.signature, reached=lambda commit: world.index[commit] > 0)
    bisection = world.linux_bisection(laboratory)
    result = bisection.run()
    assert result.culprit == world.commits[17]
    assert any(note.startswith("release v1.0 is taken for good") for note in result.notes)


def test_report_and_recipients_need_no_kernel_again(tmp_path: Path) -> None:
    world = World(tmp_path, touched(40, {20}), 20)
    bisection = world.bisection(world.laboratory())
    result = bisection.run()
    assert result.recipients == ("Pat <pat@example.org>",)
    reader = world.bisection(world.laboratory())
    assert reader.read() == result
    assert view(reader).crash_report == "WARNING in frob at fs/pipe.c:7"
    assert view(reader).recipients == result.recipients
    assert '"ada@example.org" "pat@example.org"' in bisection_log(reader, view(reader))


def writes_of(bisection: Bisection, monkeypatch: pytest.MonkeyPatch, stop: int, *, before: bool) -> int:
    """Run a bisection and kill it at a write of the journal, just before or just after it; return how many were done."""
    count = 0

    def killing(write: Any) -> Any:
        def wrapped(*args: Any) -> Any:
            nonlocal count
            if count == stop and before:
                raise Killed
            found = write(*args)
            count += 1
            if count > stop and not before:
                raise Killed
            return found

        return wrapped

    with monkeypatch.context() as patch:
        for name in ("ask", "built", "ran", "found", "complete", "finish"):
            patch.setattr(Journal, name, killing(getattr(Journal, name)))
        with contextlib.suppress(Killed):
            bisection.run()
    return count


@pytest.fixture
def hard(tmp_path: Path) -> World:
    """All at once: a fold that is wrong, a kernel tested twice, a file only older kernels have."""
    paths = touched(60, set(range(6, 60, 6)))
    paths[27], paths[20] = "gen/table.c", "fs/old.c"
    return World(tmp_path, paths, 27, hidden=("gen/table.c",))


def hard_laboratory(world: World) -> TableLaboratory:
    same = (world.commits[6], world.commits[12])
    return world.laboratory(
        signature=lambda commit: world.signature(world.commits[0] if commit in same else commit),
        files=lambda commit: (*COMPILED, "fs/old.c") if world.index[commit] < 20 else COMPILED,
        reached=lambda commit: None,
    )


def without_times(log: str) -> str:
    return re.sub(r"total time: .*|bisection .* UTC|starts .*", "", log)


def moments() -> Iterator[tuple[int, bool]]:
    for place in range(64):
        yield place, bool(place % 2)


def test_killed_at_any_write_it_asks_the_same(hard: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of every kernel, its twin and its findings are read back, and so is the fold that was wrong."""
    undisturbed = hard.linux_bisection(hard_laboratory(hard), "whole")
    expected = undisturbed.run()
    assert expected.culprit == hard.commits[27]
    assert any("told apart" in note for note in expected.notes)
    assert any(step.same_as for step in undisturbed.steps)
    log = without_times(bisection_log(undisturbed, view(undisturbed)))
    for place, before in moments():
        output = f"killed-{place}"
        first = hard.linux_bisection(hard_laboratory(hard), output)
        done = writes_of(first, monkeypatch, place, before=before)
        again = hard.linux_bisection(hard_laboratory(hard), output)
        result = again.run()
        assert without_times(bisection_log(again, view(again))) == log, (place, before)
        assert (result.culprit, result.builds, result.runs) == (expected.culprit, expected.builds, expected.runs)
        if done < place:  # it ended before
            return
    pytest.fail("the bisection was never left to its end")


def test_a_journal_of_an_older_format_is_refused(hard: World) -> None:
    import sqlite3

    hard.bisection(hard_laboratory(hard)).run()
    with sqlite3.connect(hard.folder / "case.kbench" / "kbench.sqlite") as database:
        database.execute("UPDATE journal SET format = ?", (FORMAT - 1,))
    with pytest.raises(JournalError, match=f"expected format {FORMAT}"):
        hard.bisection(hard_laboratory(hard)).run()
