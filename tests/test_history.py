"""The commit graph against brute force, and against real shapes."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kbench.errors import SearchError
from kbench.history import History

SHAPES = Path(__file__).parents[1].parent / "shared" / "dag"


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    n = draw(st.integers(1, 12))
    return [draw(st.lists(st.integers(0, i - 1), max_size=3)) if i else [] for i in range(n)]


def closure(parents: list[list[int]]) -> list[set[int]]:
    """Ancestors of each commit, itself included, by definition."""
    contained: list[set[int]] = []
    for commit, row in enumerate(parents):
        contained.append({commit}.union(*(contained[parent] for parent in row)))
    return contained


def members(mask: np.ndarray) -> set[int]:
    return set(np.flatnonzero(mask).tolist())


@given(graphs(), st.data())
@settings(max_examples=150, deadline=None)
def test_agrees_with_the_definitions(parents: list[list[int]], data: st.DataObject) -> None:
    history, contained = History.from_parents(parents), closure(parents)
    commit = st.integers(0, len(parents) - 1)
    bad, good = data.draw(commit), data.draw(st.lists(commit, max_size=3))
    excluded = set().union(*(contained[end] for end in good))
    assert members(history.ancestors(bad)) == contained[bad]
    assert members(history.candidates(bad, good)) == contained[bad] - excluded
    assert all(history.is_ancestor(other, bad) == (other in contained[bad]) for other in range(len(parents)))
    common = contained[bad] & excluded
    bases = {base for base in common if not any(base in contained[other] for other in common - {base})}
    assert history.merge_bases(bad, good) == tuple(sorted(bases, reverse=True))
    mask = history.candidates(bad, good)
    weights = history.weights(mask)
    assert weights.tolist() == [len(contained[c] - excluded) if mask[c] else 0 for c in range(len(parents))]


@given(st.lists(st.booleans(), max_size=20).map(np.array))
def test_spans_cover_the_mask_and_nothing_else(mask: np.ndarray) -> None:
    history = History.from_parents([[]])
    spans = history.spans(mask.astype(bool))
    assert [i for start, end in spans for i in range(start, end + 1)] == np.flatnonzero(mask).tolist()
    assert all(end + 1 < start for (_, end), (start, _) in itertools.pairwise(spans))


def test_weights_do_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    parents = [
        sorted({int(p) for p in rng.integers(max(0, i - 30), i, size=rng.integers(1, 3))}) if i else [] for i in range(700)
    ]
    history = History.from_parents(parents)
    mask = history.candidates(699, [20])
    whole = history.weights(mask)
    monkeypatch.setattr("kbench.history._BLOCK_BYTES", 700 * 8 * 2)
    np.testing.assert_array_equal(history.weights(mask), whole)


def test_hashes_are_given_or_made() -> None:
    assert History.from_parents([[], [0]], ["b" * 40, "a" * 40]).id_rank.tolist() == [1, 0]
    made = History.from_parents([[], [0]]).commits
    assert [len(name) for name in made] == [40, 40] and made[0] < made[1]


@pytest.mark.parametrize(
    ("parents", "commits", "words"),
    [
        ([], None, "need 1 commit or more, got none"),
        ([[], [1]], None, "parents of commit 1 must be from 0 to 0, got 1"),
        ([[], [-1]], None, "got -1"),
        ([[], [0]], ["a"], "need a hash for each of 2 commits, got 1"),
        ([[], [0]], ["a", "a"], "occurs twice"),
    ],
)
def test_wrong_graphs_are_refused(parents: list[list[int]], commits: list[str] | None, words: str) -> None:
    with pytest.raises(SearchError, match=words):
        History.from_parents(parents, commits)


def test_wrong_commits_are_refused() -> None:
    history = History.from_parents([[], [0]])
    for wrong in (2, -1, "HEAD", 0.5):
        with pytest.raises(SearchError, match="history: commit must be"):
            history.ancestors(wrong)  # type: ignore[arg-type]  # what a caller may hand over
    assert history.is_ancestor(np.int64(0), np.int32(1))  # type: ignore[arg-type]  # numpy's integers are integers


def test_sixteen_thousand_commits_are_weighed() -> None:
    rng = np.random.default_rng(7)
    parents = [
        [i - 1, int(rng.integers(max(0, i - 400), i))] if i > 1 and rng.random() < 0.1 else [i - 1] * (i > 0)
        for i in range(16_000)
    ]
    history = History.from_parents(parents)
    weights = history.weights(history.candidates(15_999, [0]))
    assert weights.max() == 15_999


@pytest.mark.skipif(not SHAPES.is_dir(), reason="needs the shapes of real graphs")
@pytest.mark.parametrize("name", ["git734", "git1490", "git3126"])
def test_real_shapes(name: str) -> None:
    shape = json.loads(gzip.decompress((SHAPES / f"{name}.json.gz").read_bytes()))
    parents = [[i - back for back in row] for i, row in enumerate([[], *shape["parents_back"]])]
    history = History.from_parents(parents)
    weights = history.weights(np.ones(len(history), dtype=np.bool_))
    for commit in range(0, len(history), len(history) // 20):
        assert weights[commit] == history.ancestors(commit).sum()
