"""Git repositories, real ones: revisions, histories, tags, text, worktrees."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbench.errors import InputError, MachineLacksError, RevisionError
from kbench.repository import Repository, parse_release_tag, pick_release_tags, sort_release_tags
from kbench.repository.command import GitCommand
from tests.fast_import import ENVIRONMENT, Commit, git, make_repository

TABLES = Path(__file__).parents[1].parent / "shared" / "corpus" / "bisect_tables_dev.json"
HOSTILE = (
    b"a \x1b[31mred\x07 <script> \xff\xfe 'quote' $(id)\n\nbody \x1b]0;x\x07\n\n"
    b"Signed-off-by: Bob <bob@example.org>\nCc: <list@example.org>\nReviewed-by: Ada <Ada@example.org>\n"
)


def cases(table: str) -> list[Any]:
    return (
        [pytest.param(c, id=c["name"]) for c in json.loads(TABLES.read_text())["tables"][table]["cases"]]
        if TABLES.exists()
        else []
    )


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, list[str]]:
    """0-1-2-3-5-6 with tags v1.0 at 1 and v2.0 at 3; 4 leaves at 1 and is merged by 5; 7 grows from 2 and is never merged."""
    path = tmp_path_factory.mktemp("forked") / "repo.git"
    parents = [[], [0], [1], [2], [1], [3, 4], [5], [2]]
    commits = [Commit(row, b"number %d\n" % i, {f"f{i}": b"%d\n" % i}) for i, row in enumerate(parents)]
    commits[5].files = {"f4": b"4\n", "f5": b"5\n"}  # the tree of a merge is its first parent's, and these
    names = make_repository(path, commits, {"v1.0": 1, "v2.0-rc1": 2, "v2.0": 3, "nightly": 6})
    git(path, "tag", "-a", "-m", "annotated", "v3.0", names[6])
    git(path, "tag", "v3.0-tree", names[6] + "^{tree}")
    git(path, "branch", "main", names[6])
    git(path, "symbolic-ref", "HEAD", "refs/heads/main")
    git(path, "update-ref", "refs/heads/master", names[6])
    git(path, "update-ref", "refs/heads/other", names[7])
    return Repository(path), names


def edges(repository: Repository, names: list[str], *arguments: Any, **keywords: Any) -> dict[int, list[int]]:
    """A history as parents by number of the commit."""
    history = repository.history(*arguments, **keywords)
    number = [names.index(name) for name in history.commits]
    return {number[i]: [number[parent] for parent in row] for i, row in enumerate(history.parents)}


# Opening.


def test_no_repository_is_an_input_error(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", ".")
    (tmp_path / "inside").mkdir()
    for path in (tmp_path / "missing", tmp_path / "inside"):  # the enclosing repository must not answer for a folder
        with pytest.raises(InputError, match="expected a repository at"):
            Repository(path)
    (tmp_path / "inside" / ".git").write_text("gitdir: /nowhere\n")
    with pytest.raises(InputError):
        Repository(tmp_path / "inside")


def test_a_missing_git_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineLacksError, match="apt install git"):
        Repository(tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="needs to give files to another user")
def test_another_users_repository_needs_the_users_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "theirs"
    (name,) = make_repository(path, [Commit()], bare=False)
    for file in (path, path / ".git"):
        os.chown(file, 12345, 12345)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"git config --global --add safe\.directory"):
        Repository(path)
    (tmp_path / ".gitconfig").write_text(f"[safe]\n\tdirectory = /elsewhere\n\tdirectory = {path}\n")
    assert Repository(path).resolve("HEAD") == name


def test_an_inherited_git_dir_is_not_looked_at(
    forked: tuple[Repository, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = make_repository(tmp_path / "other", [Commit()])
    monkeypatch.setenv("GIT_DIR", str(forked[0].path))
    assert Repository(tmp_path / "other").resolve("HEAD") == name


# Revisions and histories.


def test_resolve(forked: tuple[Repository, list[str]]) -> None:
    repository, names = forked
    assert [repository.resolve(name) for name in ("HEAD", "v2.0", "v3.0", names[4][:12], "main~1")] == [
        names[i] for i in (6, 3, 6, 4, 5)
    ]
    for wrong in ("", "-n1", "--help", "nothing", "v1.0..v2.0", "a\0b", "a\nb", "v3.0-tree", "0" * 40):
        with pytest.raises(RevisionError, match="names none"):
            repository.resolve(wrong)


def test_history_of_a_range_has_branches_forked_below_the_good_end(forked: tuple[Repository, list[str]]) -> None:
    repository, names = forked
    assert edges(repository, names, "main", ["v2.0"]) == {3: [], 4: [], 5: [3, 4], 6: [5]}
    assert edges(repository, names, "main", ["v2.0"], forks=True) == {1: [], 2: [1], 3: [2], 4: [1], 5: [3, 4], 6: [5]}
    assert edges(repository, names, "main", oldest="v1.0") == {1: [], 2: [1], 3: [2], 4: [1], 5: [3, 4], 6: [5]}
    assert edges(repository, names, "main") == {0: [], 1: [0], 2: [1], 3: [2], 4: [1], 5: [3, 4], 6: [5]}
    history = repository.history("main", good=["v2.0"])
    assert set(np.flatnonzero(history.candidates(3, [0]))) == {1, 2, 3}


def test_a_good_end_that_is_not_an_ancestor(forked: tuple[Repository, list[str]]) -> None:
    repository, names = forked
    with pytest.raises(RevisionError, match=f"their merge base is {names[2]}") as caught:
        repository.history("main", ["other"])
    assert caught.value.merge_base == names[2]
    with pytest.raises(RevisionError, match="swap the ends"):
        repository.history("v1.0", ["main"])
    with pytest.raises(RevisionError, match="both are"):
        repository.check_ancestors("main", ["v3.0"])
    found = edges(repository, names, "main", ["other"], forks=True)
    assert found[7] == [2] and found[3] == [2] and 6 in found
    history = repository.history("main", ["other"], forks=True)
    place = {names.index(name): i for i, name in enumerate(history.commits)}
    assert history.merge_bases(place[6], [place[7]]) == (place[2],)


def test_skewed_clocks_do_not_turn_the_history_around(tmp_path: Path) -> None:
    dates = [100, 500, 200, 300, 50, 700]
    parents = [[], [0], [1], [0], [3], [2, 4]]
    names = make_repository(tmp_path / "repo", [Commit(row, date=date) for row, date in zip(parents, dates)])
    history = Repository(tmp_path / "repo").history("master")
    assert sorted(history.commits) == sorted(names)
    by_name = {name: {history.commits[p] for p in row} for name, row in zip(history.commits, history.parents)}
    assert by_name == {names[i]: {names[p] for p in row} for i, row in enumerate(parents)}


def test_many_commits_take_a_few_calls_of_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = make_repository(tmp_path / "repo", [Commit([i - 1] if i else []) for i in range(3_000)])
    repository = Repository(tmp_path / "repo")
    calls: list[str] = []
    attempt = GitCommand.attempt

    def counted(git: GitCommand, *arguments: str, **keywords: Any) -> Any:
        calls.append(arguments[0])
        return attempt(git, *arguments, **keywords)

    monkeypatch.setattr(GitCommand, "attempt", counted)
    history = repository.history("master", good=[names[0]])
    assert list(history.commits) == names and history.parents[2_999] == (2_998,)
    assert len(repository.subjects(history.commits)) == 3_000
    assert len(calls) < 10


# Text.


def test_hostile_text_is_made_printable(tmp_path: Path) -> None:
    make_repository(tmp_path / "repo", [Commit(), Commit([0], HOSTILE, {'"new\\033\\nline"': b"x\n", "ü": b"y\n"})])
    repository = Repository(tmp_path / "repo")
    name = repository.resolve("HEAD")
    assert repository.subject("HEAD") == "a \ufffd[31mred\ufffd <script> \ufffd\ufffd 'quote' $(id)"
    assert repository.subjects([name, repository.resolve("HEAD~1")]) == {
        name: repository.subject(name),
        repository.resolve("HEAD~1"): "a commit",
    }
    assert repository.subjects([]) == {}
    for text in (repository.subject(name), repository.describe(name)):
        assert not any(ord(char) < 0x20 and char not in "\n\t" for char in text)
    assert repository.recipients("HEAD") == ("ada@example.org", "bob@example.org", "list@example.org")


def test_describe_reads_like_git_bisects_last_words(forked: tuple[Repository, list[str]]) -> None:
    repository, names = forked
    assert repository.describe(names[2]) == (
        f"commit {names[2]}\nAuthor: Ada <ada@example.org>\nDate:   Tue Nov 14 23:16:20 2023 +0100\n\n    number 2\n\n"
        " f2 | 1 +\n 1 file changed, 1 insertion(+)\n create mode 100644 f2\n"
    )
    assert f"Merge: {names[3][:7]} {names[4][:7]}\n" in repository.describe(names[5])


def test_trees(forked: tuple[Repository, list[str]]) -> None:
    repository, _ = forked
    assert repository.tree("v2.0") == git(repository.path, "rev-parse", "v2.0^{tree}").strip()


# Release tags.


def test_release_tags(forked: tuple[Repository, list[str]]) -> None:
    repository, names = forked
    assert repository.release_tags() == [("v3.0", names[6]), ("v2.0", names[3]), ("v1.0", names[1])]
    assert repository.release_tags(reachable_from="main") == [("v2.0", names[3]), ("v1.0", names[1])]
    assert [name for name, _ in repository.release_tags(reachable_from="main", include_own=True)] == ["v3.0", "v2.0", "v1.0"]
    assert [name for name, _ in repository.release_tags(include_rc=True)] == ["v3.0", "v2.0", "v2.0-rc1", "v1.0"]
    assert repository.release_tags("night*") == [("nightly", names[6])]
    assert repository.release_tags("none*") == []


def test_release_tags_as_names() -> None:
    assert parse_release_tag("v2.6.12") == (2, 6, -1, 12)
    assert parse_release_tag("v6.1-rc10") == (6, 1, 10, -1)
    assert not any(
        map(parse_release_tag, ["v1", "v1.", "v1.2.", "v1.2-rc", "v1.2foo", "xv1.2", "v1.2\n", "v٣.1", "v1." + "9" * 99])
    )
    assert sort_release_tags(["v4.9", "v4.10-rc2", "junk", "v4.10", "v4.9.3", "v4.10-rc10"], include_rc=True) == [
        "v4.10", "v4.10-rc10", "v4.10-rc2", "v4.9.3", "v4.9",
    ]  # fmt: skip
    patches = [f"v6.1.{i}" for i in range(6, 0, -1)]
    assert pick_release_tags([*patches, "v6.1", "v6.0"]) == ["v6.1.6", "v6.1.5", "v6.1.3", "v6.1", "v6.0"]
    assert pick_release_tags([f"v5.{i}" for i in range(5, -1, -1)]) == ["v5.5", "v5.4", "v5.3", "v5.1", "v5.0"]
    assert pick_release_tags([]) == []


@pytest.mark.parametrize("case", cases("release_tag_lists"))
def test_release_tag_lists_of_the_corpus(case: Any) -> None:
    assert sort_release_tags(case["input"]["tags"], case["input"]["include_rc"]) == case["expect"]


@pytest.mark.parametrize("case", cases("parse_release_tag"))
def test_release_tags_of_the_corpus(case: Any) -> None:
    assert list(parse_release_tag(case["input"]) or (-1, -1, -1, -1)) == case["expect"]


@pytest.mark.parametrize("case", cases("pick_release_tags"))
def test_picked_tags_of_the_corpus(case: Any) -> None:
    assert pick_release_tags(case["input"]) == case["expect"]


@pytest.mark.skipif(not TABLES.exists(), reason="needs the corpus")
def test_previous_release_tags_of_the_corpus(tmp_path: Path) -> None:
    operations = json.loads((TABLES.parent / "bisect_scenarios_dev.json").read_text())["history"]["operations"]
    made = [operation for operation in operations if operation["op"] == "commit"]
    titles = [operation["title"] for operation in made]
    commits = [
        Commit([titles.index(parent) for parent in operation["parents"]], operation["title"].encode()) for operation in made
    ]
    tags = {operation["name"]: titles.index(operation["at"]) for operation in operations if operation["op"] == "tag"}
    names = make_repository(tmp_path / "repo", commits, tags)
    repository = Repository(tmp_path / "repo")
    for case in json.loads(TABLES.read_text())["tables"]["previous_release_tags"]["cases"]:
        given = case["input"]
        if given["history"] != "bisect_scenarios":
            continue
        found = repository.release_tags(reachable_from=names[titles.index(given["commit"])], include_own=given["include_own"])
        assert [name for name, _ in found] == case["expect"], case["name"]


# Worktrees.


@pytest.fixture(params=[True, False], ids=["bare", "checkout"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Repository, list[str]]:
    """Three commits: a and b; a changed; b gone and an ignore file."""
    path = tmp_path / "repo"
    files: list[dict[str, bytes]] = [{"a": b"1\n", "d/b": b"1\r\n"}, {"a": b"2\n"}, {".gitignore": b"*.o\n"}]
    names = make_repository(
        path, [Commit([i - 1] if i else [], files=one) for i, one in enumerate(files)], bare=bool(request.param)
    )
    return Repository(path), names


def test_checkout_touches_only_what_differs(source: tuple[Repository, list[str]], tmp_path: Path) -> None:
    repository, names = source
    before = git(repository.path, "for-each-ref"), sorted(path.name for path in repository.path.iterdir())
    with repository.worktree(tmp_path / "trees" / "tree") as worktree:
        worktree.checkout(names[0])
        assert (worktree.path / "d" / "b").read_bytes() == b"1\r\n"
        untouched = (worktree.path / "d" / "b").stat().st_mtime_ns
        (worktree.path / "a").write_text("edited by a build")
        (worktree.path / "a.o").write_text("object")
        worktree.checkout(names[2])
        assert (worktree.path / "a").read_text() == "2\n"
        assert (worktree.path / "d" / "b").stat().st_mtime_ns == untouched
        assert (worktree.path / "a.o").exists()
        worktree.checkout(names[1], clean=True)
        assert not (worktree.path / "a.o").exists() and not (worktree.path / ".gitignore").exists()
        assert git(worktree.path, "status", "--porcelain") == ""
    assert not worktree.path.exists() and "tree" not in git(repository.path, "worktree", "list").split("\n", 1)[1]
    assert (git(repository.path, "for-each-ref"), sorted(path.name for path in repository.path.iterdir())) == before


def test_a_kept_worktree_is_used_again(source: tuple[Repository, list[str]], tmp_path: Path) -> None:
    repository, names = source
    with repository.worktree(tmp_path / "tree", keep=True) as worktree:
        worktree.checkout(names[0])
    untouched = (tmp_path / "tree" / "a").stat().st_mtime_ns
    with repository.worktree(tmp_path / "tree", keep=True) as worktree:
        worktree.checkout(names[0])
    assert (tmp_path / "tree" / "a").stat().st_mtime_ns == untouched


def admin(repository: Repository) -> Path:
    common = git(repository.path, "rev-parse", "--path-format=absolute", "--git-common-dir").strip()
    return next((Path(common) / "worktrees").iterdir())


@pytest.mark.parametrize(
    "damage", ["nothing", "index.lock", "locked", "folder gone", "entry gone", "HEAD empty", "folder gone and locked"]
)
def test_what_a_killed_process_left_is_repaired(source: tuple[Repository, list[str]], tmp_path: Path, damage: str) -> None:
    repository, names = source
    tree = tmp_path / "tree"
    with repository.worktree(tree, keep=True) as worktree:
        worktree.checkout(names[0])
    entry = admin(repository)
    if damage == "index.lock":
        (entry / "index.lock").touch()
    if "locked" in damage:
        (entry / "locked").write_text("initializing")
    if "folder gone" in damage:
        subprocess.run(["rm", "-r", str(tree)], check=True)
    if damage == "entry gone":
        subprocess.run(["rm", "-r", str(entry)], check=True)
    if damage == "HEAD empty":
        (entry / "HEAD").write_text("")
    with repository.worktree(tree) as worktree:
        worktree.checkout(names[1])
        assert (tree / "a").read_text() == "2\n"
    assert not tree.exists() and len(git(repository.path, "worktree", "list").splitlines()) == 1


def test_a_folder_of_somebody_else_is_refused(source: tuple[Repository, list[str]], tmp_path: Path) -> None:
    repository, _ = source
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.tex").write_text("years of work")
    (tmp_path / "link").symlink_to(taken)
    for path in (taken, tmp_path / "link", taken / "thesis.tex"):
        with pytest.raises(InputError, match="something else is there"), repository.worktree(path):
            pass
    assert (taken / "thesis.tex").read_text() == "years of work"
    with pytest.raises(InputError), repository.worktree(repository.path):
        pass
    assert repository.resolve("HEAD")


def test_hooks_filters_and_the_users_configuration_do_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "repo"
    names = make_repository(path, [Commit(files={"a": b"plain\n", ".gitattributes": b"a filter=shout\n"})], bare=False)
    git(path, "config", "filter.shout.smudge", "tr a-z A-Z")
    git(path, "config", "filter.shout.required", "true")
    hook = path / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    hook.chmod(0o755)
    (tmp_path / ".gitconfig").write_text("[core]\n\tautocrlf = true\n[log]\n\tdate = iso\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    repository = Repository(path)
    with repository.worktree(tmp_path / "tree") as worktree:
        worktree.checkout(names[0])
        assert (tmp_path / "tree" / "a").read_bytes() == b"plain\n"
    assert not (tmp_path / "hooked").exists()
    assert "Date:   Tue Nov 14" in repository.describe("HEAD")


def test_a_head_that_moves_or_is_unborn_does_not_matter(source: tuple[Repository, list[str]], tmp_path: Path) -> None:
    repository, names = source
    with repository.worktree(tmp_path / "tree") as worktree:
        worktree.checkout(names[2])
        git(repository.path, "symbolic-ref", "HEAD", "refs/heads/unborn")
        worktree.checkout(names[0])
        assert (tmp_path / "tree" / "a").read_text() == "1\n"
        with repository.worktree(tmp_path / "second") as second:
            second.checkout(names[1])
            assert (tmp_path / "second" / "a").read_text() == "2\n"
    with pytest.raises(RevisionError), repository.worktree(tmp_path / "tree") as worktree:
        worktree.checkout("0" * 40)


def test_submodules_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "repo"
    make_repository(path, [Commit(files={"a": b"1\n"})], bare=False)
    git(path, "checkout", "-q", "-f", "master")
    git(path, "update-index", "--add", "--cacheinfo", "160000," + "1" * 40 + ",sub")
    subprocess.run(["git", "commit", "-q", "-m", "submodule"], cwd=path, env=ENVIRONMENT, check=True)
    with Repository(path).worktree(tmp_path / "tree") as worktree:
        worktree.checkout("master", clean=True)
        assert list((tmp_path / "tree" / "sub").iterdir()) == []


def test_worktrees_of_the_user_are_left_alone(forked: tuple[Repository, list[str]], tmp_path: Path) -> None:
    """A worktree whose disk is not plugged in is missing, not dead."""
    repository, names = forked
    git(repository.path, "worktree", "add", "-q", "--detach", str(tmp_path / "usb"), names[0])
    (tmp_path / "usb").rename(tmp_path / "unplugged")
    with repository.worktree(tmp_path / "ours") as worktree:
        worktree.checkout(names[1])
    (tmp_path / "unplugged").rename(tmp_path / "usb")
    assert git(tmp_path / "usb", "rev-parse", "HEAD").strip() == names[0]


def test_outline_has_all_folders_and_few_files(tmp_path: Path) -> None:
    rows = [Commit(files={"a/b/c.c": b"1", "d/e [x].c": b"2", "MAINTAINERS": b"3"}), Commit([0], files={"f/g.c": b"4"})]
    commits = make_repository(tmp_path / "repo", rows)
    repository = Repository(tmp_path / "repo")
    with repository.worktree(tmp_path / "tree") as worktree:
        worktree.outline(commits[0], ["MAINTAINERS", "d/e [x].c", "none.c"])
        found = sorted(str(path.relative_to(worktree.path)) for path in worktree.path.rglob("*") if path.name != ".git")
        assert found == ["MAINTAINERS", "a", "a/b", "d", "d/e [x].c"]
        assert git(worktree.path, "rev-parse", "HEAD").strip() == commits[0]
        worktree.checkout(commits[1])
        assert (worktree.path / "f" / "g.c").read_text() == "4"
