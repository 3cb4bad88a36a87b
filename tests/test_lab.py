"""Histories with a known culprit: the graph's laws, the repository git makes of it, and that the truth stays outside."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from kbench import lab, reproducer
from kbench.errors import InputError, StorageError
from kbench.lab import bugs, edits
from kbench.lab.additions import ADDITIONS
from kbench.lab.graph import STRETCHES, Dice, History, draw_history
from kbench.lab.patch import AnchorError, Change, Patch, apply_patch
from kbench.resources import data_dir

KERNEL = data_dir() / "labkernel"


def git(repository: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(repository), *arguments], check=True, capture_output=True, text=True).stdout


def lines(repository: Path, *arguments: str) -> list[str]:
    return git(repository, *arguments).split("\n")[:-1]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> lab.Lab:
    return lab.create(tmp_path_factory.mktemp("labs") / "uaf", seed=1, kind="uaf")


def reachable(history: History, start: int) -> set[int]:
    """The ancestors of a commit and itself, by walking."""
    seen, todo = set(), [start]
    while todo:
        index = todo.pop()
        if index not in seen:
            seen.add(index)
            todo += history.nodes[index].parents
    return seen


@pytest.mark.parametrize("commits", [60, 300, 700])
@pytest.mark.parametrize("seed", range(8))
def test_graph_keeps_its_promises(seed: int, commits: int) -> None:
    """Whatever the seed: a culprit a bisection can isolate, and every hindrance where the truth says."""
    history = draw_history(Dice(f"test {seed}"), commits)
    nodes, end = history.nodes, commits - 1
    before = [reachable(history, i) for i in range(commits)]
    assert len(nodes) == commits and before[end] == set(range(commits))
    assert all(parent < i for i, node in enumerate(nodes) for parent in node.parents)
    assert 0.07 <= sum(len(node.parents) > 1 for node in nodes) / commits <= 0.11
    assert 6 <= len(history.tags) <= 8
    bad = {i for i in range(commits) if history.culprit in before[i]}
    faulty = [
        {i for i in range(commits) if first in before[i] and repair not in before[i]} for first, repair in history.stretches
    ]
    assert not any(one & other for k, one in enumerate(faulty) for other in faulty[:k])
    for members in faulty:
        assert 2 <= len(members) <= max(3, 0.06 * commits)
        assert not members & {
            history.culprit,
            *nodes[history.culprit].parents,
            history.fix,
            *nodes[history.fix].parents,
            *history.tags,
            end,
        }
    good = max(tag for tag in history.tags if tag not in bad)
    assert good > history.tags[0]
    assert any(good not in before[i] for i in range(good, end) if nodes[i].topic is not None)
    without_bug = [i for i in range(commits) if history.wrong_turn not in before[i] or history.fix in before[i]]
    assert all(history.fix in before[i] for i in without_bug if i not in before[history.fix_bad])
    assert (
        history.fix_bad in history.tags
        and history.wrong_turn in before[history.fix_bad]
        and history.fix not in before[history.fix_bad]
    )


def test_culprits_are_on_branches_too() -> None:
    names = [f"kbench lab {kind} {seed} 300" for seed in range(1, 11) for kind in lab.KINDS]
    histories = [draw_history(Dice(name), 300) for name in names]
    topics = [history.nodes[history.culprit].topic for history in histories]
    assert 0.1 < sum(topic is not None for topic in topics) / len(topics) < 0.7


def test_same_seed_same_hashes(made: lab.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the user's git configuration nor the environment nor the time gets in."""
    (tmp_path / ".gitconfig").write_text(
        "[core]\n\tautocrlf = true\n[init]\n\tdefaultBranch = trunk\n[user]\n\tname = Somebody\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    again = lab.create(tmp_path / "again", seed=1, kind="uaf")
    monkeypatch.delenv("GIT_DIR")
    assert again.truth.read_text() == made.truth.read_text()
    assert git(again.repository, "rev-parse", "main") == git(made.repository, "rev-parse", "main")
    assert git(again.repository, "status", "--porcelain") == ""


def test_other_seeds_differ(made: lab.Lab, tmp_path: Path) -> None:
    other = lab.create(tmp_path / "other", seed=2, kind="uaf")
    place = [lines(one.repository, "rev-list", "--count", one.culprit) for one in (made, other)]
    subjects = [set(lines(one.repository, "log", "--format=%s")) for one in (made, other)]
    assert place[0] != place[1]
    assert len(subjects[1] - subjects[0]) > 50


def test_repository_is_an_ordinary_one(made: lab.Lab) -> None:
    git(made.repository, "fsck", "--strict")
    assert lines(made.repository, "rev-list", "--count", "main") == ["300"]
    assert lines(made.repository, "symbolic-ref", "HEAD") == ["refs/heads/main"]
    assert git(made.repository, "status", "--porcelain") == ""
    refs = lines(made.repository, "for-each-ref", "--format=%(refname)")
    assert refs == ["refs/heads/main", *(f"refs/tags/{tag}" for tag in made.tags)]
    for tag in made.tags:
        assert lines(made.repository, "diff", "--name-only", f"{tag}^", tag) == ["include/version.h"]


def test_small_believable_commits(made: lab.Lab) -> None:
    subjects = lines(made.repository, "log", "--no-merges", "--format=%s")
    assert len(set(subjects)) > 0.9 * len(subjects)
    shaped = [s for s in subjects if re.fullmatch(r"[\w/.-]+: .+", s)]
    assert len(shaped) > 0.95 * len(subjects)
    changed = [
        int(n)
        for n in re.findall(
            r"(\d+) insertion", git(made.repository, "log", "--no-merges", "--shortstat", "--format=", "main~200..main")
        )
    ]
    assert max(changed) < 30
    noop = [
        c
        for c in git(made.repository, "log", "--no-merges", "--name-only", "--format=%x00", "main~200..main").split("\0")[1:]
        if all(f.startswith(("Documentation", "arch/riscv", "drivers", "MAINTAINERS", "TODO")) for f in c.split())
    ]
    assert 0.25 < len(noop) / len(lines(made.repository, "rev-list", "--no-merges", "main~200..main")) < 0.6


def test_truth_is_true_in_git(made: lab.Lab) -> None:
    truth = json.loads(made.truth.read_text())
    assert (truth["culprit"], truth["kind"], truth["seed"], truth["commits"]) == (made.culprit, "uaf", 1, 300)
    assert re.fullmatch("[0-9a-f]{40}", truth["culprit"]) and re.fullmatch("[0-9a-f]{40}", truth["fix"])
    assert [s["kind"] for s in truth["stretches"]] == list(STRETCHES)
    git(made.repository, "merge-base", "--is-ancestor", made.culprit, "main")
    for stretch in truth["stretches"]:
        git(made.repository, "merge-base", "--is-ancestor", stretch["first"], stretch["last"])
        assert 2 <= len(lines(made.repository, "rev-list", "--first-parent", f"{stretch['first']}^..{stretch['last']}")) <= 16
    bad = tomllib.loads(made.fix_case.read_text())["bad"]
    unfixed = set(lines(made.repository, "rev-list", f"{bad}..main")) - set(
        lines(made.repository, "rev-list", "--ancestry-path", f"{truth['fix']}..main")
    )
    turned = set(lines(made.repository, "rev-list", "--ancestry-path", f"{truth['wrong_turn']}..main"))
    assert unfixed - {truth["fix"]} <= turned


@pytest.mark.parametrize("kind", lab.KINDS)
def test_repository_does_not_tell(kind: str, tmp_path: Path) -> None:
    made = lab.create(tmp_path / "lab", seed=3, kind=kind, commits=120)
    everything = git(made.repository, "log", "--format=%B%an%cn%d", "--all").lower()
    assert not re.search(
        r"culprit|planted|kbench|bisect(?!\.)|foreign|wrong turn|fixes:", everything.replace("to break and to bisect", "")
    )
    assert sorted(p.name for p in made.directory.iterdir()) == [
        "case.toml",
        "config",
        "fix-repro.txt",
        "fix.toml",
        "repo",
        "repro.txt",
        "truth.json",
    ]


@pytest.mark.parametrize("kind", lab.KINDS)
def test_cases(kind: str, tmp_path: Path) -> None:
    """Both case files are flat, name files that are there, and reproducers that parse."""
    made = lab.create(tmp_path / "lab", seed=5, kind=kind, commits=120, rate=0.4)
    for path, case_kind in ((made.case, "cause"), (made.fix_case, "fix")):
        case = tomllib.loads(path.read_text())
        assert case["kind"] == case_kind and case["target"] == "lab"
        assert (made.directory / case["repository"] / ".git").is_dir() and (made.directory / case["config"]).is_file()
        reproducer.check((made.directory / case["reproducer"]).read_text())
    assert made.rate == {"rare": 0.4, "race": None}.get(kind, 1.0)


def test_no_half_written_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").write_text("mine")
    with pytest.raises(InputError, match="holds something"):
        lab.create(tmp_path / "full", seed=1)
    with pytest.raises(InputError, match="kind must be one of null, uaf"):
        lab.create(tmp_path / "new", seed=1, kind="oops")
    with pytest.raises(InputError, match="rate must be"):
        lab.create(tmp_path / "new", seed=1, kind="rare", rate=1.5)
    with pytest.raises(InputError, match="60 commits or more"):
        lab.create(tmp_path / "new", seed=1, commits=12)
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match="No space left"):
        lab.create(tmp_path / "new", seed=1, commits=60)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full"]


def test_every_patch_fits_the_lab_kernel() -> None:
    """All that is written by hand has its anchors in the kernel as it is shipped."""
    tree = lab.read_kernel(KERNEL)[0]
    culprits = [planting for pool in bugs.CULPRITS.values() for planting in pool]
    for planting in [*culprits, *bugs.FOREIGN, *bugs.WRONG_TURNS, *bugs.NO_BUILD, *bugs.NO_BOOT]:
        changed = {**tree, **apply_patch(tree, planting.patch).files}
        if planting.mending:
            assert apply_patch(changed, planting.mending).files
    for patch in ADDITIONS:
        tree.update(apply_patch(tree, patch).files)


def test_a_patch_that_does_not_fit_says_so() -> None:
    patch = Patch("pipe", "do it", "", (Change("fs/pipe.c", "no such line", ""),))
    with pytest.raises(AnchorError, match=r"'no such line' once in fs/pipe\.c, found it 0 times"):
        apply_patch(lab.read_kernel(KERNEL)[0], patch)


@pytest.mark.parametrize("editor", dict.fromkeys(edits.EDITS))
def test_every_edit_finds_work_in_the_lab_kernel(editor: edits.Editor) -> None:
    tree = lab.read_kernel(KERNEL)[0]
    for patch in ADDITIONS:
        tree.update(apply_patch(tree, patch).files)
    found = [edit for path in tree if path.endswith(".c") for edit in [editor(Dice("test"), tree, path)] if edit]
    assert found
    assert all(edit.files != {path: tree[path] for path in edit.files} and edit.subject and edit.body for edit in found)


def test_dice_are_fair() -> None:
    dice = Dice("test")
    draws = [dice.integer(2, 4) for _ in range(3000)]
    assert set(draws) == {2, 3, 4} and all(900 < draws.count(k) < 1100 for k in (2, 3, 4))
