"""Commits into kernels: what folds, what never does, and that no search on kernels loses a culprit."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kbench.history import History
from kbench.relevance import Change, CommitChange, Fold, Relevance, decides, unfolded
from kbench.repository import Repository
from kbench.search import STRATEGIES, Observation, Search
from tests.fast_import import Commit, make_repository

COMPILED = ("kernel/a.c", "kernel/b.c", "include/a.h")
NOISE = ("drivers/x.c", "drivers/y.c", "README.md")
Tree = dict[str, str]


def relevance(parents: list[list[int]], trees: list[Tree], **kwargs: Any) -> tuple[History, Relevance]:
    """The history of commits with these trees, and its changes as git tells them."""
    history = History.from_parents(parents)
    changes = {}
    for index, row in enumerate(parents):
        before = trees[row[0]] if row else {}
        differ = sorted(path for path in {*before, *trees[index]} if before.get(path) != trees[index].get(path))
        found = tuple(Change(path, before.get(path, ""), trees[index].get(path, "")) for path in differ)
        changes[history.commits[index]] = CommitChange(history.commits[row[0]] if row else "", found)
    return history, Relevance(history, changes, frozenset(trees[-1]), **kwargs)


def linear(*touched: str) -> tuple[History, Relevance]:
    """A base with every file, and a commit for each of `touched`."""
    trees = [dict.fromkeys((*COMPILED, *NOISE), "0")]
    for number, path in enumerate(touched, 1):
        trees.append(trees[-1] | {path: str(number)})
    return relevance([[i - 1] if i else [] for i in range(len(trees))], trees)


def kernels(fold: Fold) -> list[int]:
    return [int(kernel) for kernel in fold.kernels]


def test_a_commit_that_touches_nothing_compiled_is_its_parent() -> None:
    _, found = linear("drivers/x.c", "kernel/a.c", "README.md", "drivers/y.c", "include/a.h")
    folded = found.fold(COMPILED)
    assert kernels(folded) == [0, 0, 1, 1, 1, 2]
    assert folded.first.tolist() == [0, 2, 5]
    assert folded.history.parents == ((), (0,), (1,))
    assert folded.own.all()


def test_outside_of_the_range_nothing_is_folded() -> None:
    history, found = linear("drivers/x.c", "README.md", "README.md")
    assert kernels(found.fold(COMPILED, within=np.array([False, False, True, True]))) == [0, 1, 1, 1]
    assert kernels(unfolded(history)) == [0, 1, 2, 3]


def test_what_is_named_stays_apart_and_is_marked() -> None:
    _, found = linear("kernel/a.c", "drivers/x.c", "README.md", "drivers/x.c")
    folded = found.fold(COMPILED, keep=[3])
    assert kernels(folded) == [0, 1, 1, 2, 2]
    assert folded.own.tolist() == [True, True, False]


def test_a_file_that_is_gone_later_matters() -> None:
    """It may have been compiled while it was there."""
    full = dict.fromkeys((*COMPILED, "drivers/old.c"), "0")
    trees = [full, full | {"drivers/old.c": "1"}, {path: blob for path, blob in full.items() if path != "drivers/old.c"}]
    _, found = relevance([[], [0], [1]], trees)
    assert kernels(found.fold(COMPILED)) == [0, 1, 2]


def test_a_new_file_in_front_of_a_header_matters() -> None:
    """One of the same name may be found first among the folders of headers; a new C file is only compiled if named."""
    full = dict.fromkeys((*COMPILED, *NOISE), "0")
    shadow = full | {"drivers/a.h": "1"}
    _, found = relevance([[], [0], [1]], [full, shadow, shadow | {"drivers/a.c": "1"}])
    assert kernels(found.fold(COMPILED)) == [0, 1, 1]


def test_back_and_forth_is_one_kernel_only_through_parents() -> None:
    """A revert is no child of what it goes back to."""
    full = dict.fromkeys(COMPILED, "0")
    _, found = relevance([[], [0], [1]], [full, full | {"kernel/a.c": "1"}, full])
    assert kernels(found.fold(COMPILED)) == [0, 1, 2]


def test_merges_fold_where_no_branch_is_hidden() -> None:
    full = dict.fromkeys((*COMPILED, *NOISE), "0")
    noise, real, other = full | {"drivers/x.c": "1"}, full | {"kernel/a.c": "1"}, full | {"kernel/b.c": "1"}
    parents = [[], [0], [0], [1, 2]]
    _, found = relevance(parents, [full, noise, real, noise | real | {"drivers/x.c": "1"}])
    assert kernels(found.fold(COMPILED)) == [0, 0, 1, 1], "into its second parent: the first is the base, as a kernel"
    _, found = relevance(parents, [full, other, real, other | {"kernel/a.c": "1"}])
    assert kernels(found.fold(COMPILED)) == [0, 1, 2, 3]
    _, found = relevance(parents, [full, other, real, other])
    assert kernels(found.fold(COMPILED)) == [0, 1, 2, 3], "a merge that drops a side still contains it"


def test_what_decides_in_an_unknown_tree() -> None:
    for path in ("Makefile", "kernel/Makefile.lib", "Kconfig", "scripts/gen.py", "a.lds", "fs/table.tbl", "CMakeLists.txt"):
        assert decides(path), path
    for path in ("kernel/x.c", "include/x.h", "arch/x.S", "README.md", "Documentation/logo.svg", "docs/a.py"):
        assert not decides(path), path


def test_names_that_are_no_text_are_not_compared() -> None:
    _, found = linear("kernel/\udcff.c")
    assert kernels(found.fold(COMPILED)) == [0, 1]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[list[int]], list[Tree], int]:
    """A graph with a tree for each commit, and a culprit: one that gives a compiled file a content nobody else has."""
    n = draw(st.integers(3, 24))
    parents: list[list[int]] = [[]]
    trees: list[Tree] = [dict.fromkeys((*COMPILED, *NOISE), "0")]
    culprit = draw(st.integers(1, n - 1))
    for index in range(1, n):
        row = draw(st.lists(st.integers(max(0, index - 4), index - 1), min_size=1, max_size=3, unique=True))
        tree = {path: trees[draw(st.sampled_from(row))][path] for path in trees[0]}
        for path in draw(st.lists(st.sampled_from((*NOISE, *NOISE, *COMPILED)), max_size=2)):
            tree[path] = draw(st.sampled_from("0123"))
        if index == culprit:
            tree[draw(st.sampled_from(COMPILED))] = "bug"
        parents.append(row)
        trees.append(tree)
    return parents, trees, culprit


@settings(max_examples=150, deadline=None)
@given(worlds(), st.sampled_from(sorted(STRATEGIES)), st.data())
def test_a_search_on_kernels_finds_the_culprit(
    world: tuple[list[list[int]], list[Tree], int], strategy: str, data: st.DataObject
) -> None:
    parents, trees, culprit = world
    history, found = relevance(parents, trees)
    bad = data.draw(st.sampled_from(np.flatnonzero([history.is_ancestor(culprit, c) for c in range(len(history))]).tolist()))
    folded = found.fold(COMPILED, keep=[0, bad])
    assert folded.first[folded.kernels[culprit]] == culprit
    search = Search(folded.history, bad=folded.kernels[bad], good=[folded.kernels[0]], strategy=strategy)
    search.tell(Observation(int(folded.kernels[bad]), crashes={"BUG": 10}))
    asked = 0
    while questions := search.ask():
        asked += 1
        for kernel, runs in ((question.commit, question.runs) for question in questions):
            crashes = {"BUG": runs} if history.is_ancestor(culprit, int(folded.first[kernel])) else {}
            search.tell(Observation(kernel, passed=0 if crashes else runs, crashes=crashes))
    result = search.result
    assert (result.outcome, result.culprit) == ("culprit", folded.kernels[culprit])
    assert asked <= len(folded.first) + 1


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_one_commit_contains_another_as_their_kernels_do(world: tuple[list[list[int]], list[Tree], int]) -> None:
    parents, trees, _ = world
    history, found = relevance(parents, trees)
    folded = found.fold(COMPILED)
    for first in folded.first.tolist():
        for commit in range(len(history)):
            kernel, other = int(folded.kernels[commit]), int(folded.kernels[first])
            assert history.is_ancestor(first, commit) == folded.history.is_ancestor(other, kernel)


@settings(max_examples=60, deadline=None)
@given(worlds(), st.sets(st.sampled_from(COMPILED)))
def test_more_files_only_tell_more_apart(world: tuple[list[list[int]], list[Tree], int], fewer: set[str]) -> None:
    """So a commit that was asked for stays the first of its kernel."""
    parents, trees, _ = world
    _, found = relevance(parents, trees)
    coarse, fine = found.fold(fewer), found.fold({*fewer, *COMPILED})
    assert set(coarse.first.tolist()) <= set(fine.first.tolist())


def test_changes_come_from_git(tmp_path: Path) -> None:
    """Names with spaces and bytes that are no text, a merge against its first parent, a root, a mode."""
    rows = [
        Commit(files={"a b.c": b"1", "keep": b"1"}),
        Commit([0], files={"a b.c": b"2"}),
        Commit([0], files={r'"side\nway"': b"1"}),
        Commit([1, 2], files={r'"side\nway"': b"1"}),
        Commit([3]),
    ]
    commits = make_repository(tmp_path / "repo", rows)
    repository = Repository(tmp_path / "repo")
    found = dict(repository.changes(commits))
    assert list(found) == commits
    assert [change.path for change in found[commits[0]].changes] == ["a b.c", "keep"]
    assert found[commits[0]].parent == ""
    ((path, before, after),) = found[commits[1]].changes
    assert (path, before[:6], after[:6], before != after) == ("a b.c", "100644", "100644", True)
    assert found[commits[2]].changes[0].before == ""
    assert (found[commits[3]].parent, [c.path for c in found[commits[3]].changes]) == (commits[1], ["side\nway"])
    assert found[commits[4]].changes == ()
    assert repository.paths(commits[3]) == {"a b.c", "keep", "side\nway"}
    assert repository.differing(commits[1], commits[3]) == {"side\nway"}


def test_commits_that_mention_a_function_come_from_git(tmp_path: Path) -> None:
    """A hunk's function is the one it lies in, no label; other files, contexts and messages do not count."""
    body = "int get(int n)\n{\n\tn++;\n%s\nout:\n\tn--;\n%s\n\treturn n;\n}\n\nint put(int n)\n{\n%s\n\treturn get(n);\n}\n"
    fills = [("", "", ""), ("\tn = 2;", "", ""), ("\tn = 2;", "\tn = 3;", ""), ("\tn = 2;", "\tn = 3;", "\tlock();")]
    texts = [(body % fill).encode() for fill in fills]
    texts.append(texts[-1].replace(b"get(n);", b"got(n);"))
    rows = [Commit([i - 1] if i else [], b"speaks of get\n", {"fs/a b.c": text}) for i, text in enumerate(texts)]
    rows.append(Commit([4], files={"other.c": b"int get(int n) { return n; }\n"}))
    commits = make_repository(tmp_path / "repo", rows)

    def mentioning(*functions: str, files: tuple[str, ...] = ("fs/a b.c", "*.c")) -> list[int]:
        return [commits.index(one) for one in Repository(tmp_path / "repo").mentioning(commits, files, functions)]

    assert mentioning("get") == [0, 1, 2, 4], "made, above the label, below it, no longer called"
    assert mentioning("put", "nobody") == [0, 3, 4]
    assert mentioning("out") == [0]
    assert mentioning("get", files=("other.c",)) == [5]
    assert mentioning() == mentioning("get", files=()) == []


def test_twenty_thousand_commits_fold(n: int = 20_000) -> None:
    """Each commit that touches a compiled file is a kernel, and few besides; the time it takes is printed."""
    rng = np.random.default_rng(7)
    parents: list[list[int]] = [[]] + [
        [i - 1] if i % 10 or i < 50 else [i - 1, i - int(rng.integers(2, 40))] for i in range(1, n)
    ]
    history = History.from_parents(parents)
    touched = rng.integers(0, 60_000, (n, 3))
    changes = {
        commit: CommitChange(
            history.commits[index - 1] if index else "",
            tuple(Change(f"d{number % 997}/f{number}.c", str(index), str(index + 1)) for number in touched[index].tolist()),
        )
        for index, commit in enumerate(history.commits)
    }
    every = frozenset(change.path for row in changes.values() for change in row.changes)
    started = time.perf_counter()
    compiled = {path for path in every if path.endswith("0.c")}
    found = Relevance(history, changes, every)
    folded = found.fold(compiled)
    print(f"{n} commits, {len(folded.first)} kernels: {time.perf_counter() - started:.2f} s")
    relevant = {
        index for index in range(1, n) if any(change.path in compiled for change in changes[history.commits[index]].changes)
    }
    assert relevant <= set(folded.first.tolist())
    assert len(folded.first) - 1 <= len(relevant) + sum(len(row) > 1 for row in parents)
