"""`git bisect log`, out and in, with the real git."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from kbench.cli import cli
from kbench.errors import LogError
from kbench.exchange.gitlog import git_log, read_git_log
from kbench.records import BisectionView, Step, Verdict


def git(repo: Path, *words: str) -> str:
    config = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    return subprocess.run(["git", *config, *words], cwd=repo, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("repo")
    git(folder, "init", "--quiet")
    for number in range(9):
        git(folder, "commit", "--quiet", "--allow-empty", "-m", f"change {number}")
    return folder, git(folder, "rev-list", "--reverse", "HEAD").split()


def view(commits: list[str], kind: str, verdicts: dict[int, Verdict], culprit: int | None) -> BisectionView:
    steps = tuple(Step(commits[at], f"change {at}\ngit bisect reset", "bisect", verdict, ()) for at, verdict in verdicts.items())
    name = None if culprit is None else commits[culprit]
    return BisectionView("case", kind, "bayes", len(commits), steps, culprit=name, outcome="culprit" if name else None)


def older(commits: list[str]) -> Callable[[str, str], bool]:
    return lambda a, b: commits.index(a) <= commits.index(b)


GOOD, BAD, SKIP = Verdict.GOOD, Verdict.BAD, Verdict.SKIP


@pytest.mark.parametrize(
    ("kind", "verdicts", "culprit"),
    [
        ("cause", {8: BAD, 0: GOOD, 4: BAD, 5: SKIP, 1: GOOD, 3: BAD}, None),
        # A clean revision after the culprit: kbench bears it, git would stop.
        ("cause", {8: BAD, 0: GOOD, 6: GOOD, 5: BAD, 4: GOOD}, 5),
        ("fix", {0: BAD, 8: GOOD, 4: BAD, 6: GOOD, 5: GOOD}, 5),
    ],
)
def test_git_replays_it_and_it_reads_back(
    repo: tuple[Path, list[str]], tmp_path: Path, kind: str, verdicts: dict[int, Verdict], culprit: int | None
) -> None:
    folder, commits = repo
    text = git_log(view(commits, kind, verdicts, culprit), older(commits))
    (tmp_path / "log").write_text(text)
    said = git(folder, "bisect", "replay", str(tmp_path / "log"))
    told = git(folder, "bisect", "log")
    git(folder, "bisect", "reset")
    if culprit is not None:
        assert f"{commits[culprit]} is the first {'fixed' if kind == 'fix' else 'bad'} commit" in said.splitlines()
    assert read_git_log(told) == read_git_log(text)
    found = read_git_log(text)
    assert found.kind == kind
    assert all(found.of(verdicts[at]).count(commits[at]) == 1 for at in verdicts if not (at == 6 and kind == "cause"))
    observed = found.observations(commits.index, "BUG")
    assert [bool(o.crashes) for o in observed] == [verdict is BAD for _, verdict in found.verdicts]


def test_keys_go_on_where_git_stood(repo: tuple[Path, list[str]]) -> None:
    folder, commits = repo
    git(folder, "bisect", "start", commits[8], commits[0])
    git(folder, "bisect", "bad", commits[6])
    git(folder, "bisect", "skip", commits[3])
    found = read_git_log(git(folder, "bisect", "log"))
    git(folder, "bisect", "reset")
    assert found.keys() == {"bad": commits[6], "good": [commits[0]]}
    assert found.of(SKIP) == [commits[3]]


@pytest.mark.parametrize(
    "text",
    ["", "rm -rf /", "git bisect bad --upload-pack=x", "git bisect bad 'a;b'", "git bisect frob abc", "git bisect bad 'open"],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(LogError, match=r"^git log: expected"):
        read_git_log(text)


def test_a_reverted_culprit_is_not_told(repo: tuple[Path, list[str]]) -> None:
    commits = repo[1]
    steps = tuple(
        Step(commit, "s", f"proof {role}", GOOD, ()) for commit, role in ((commits[0], "parent"), ("f" * 40, "reverted"))
    )
    assert read_git_log(git_log(BisectionView("case", "cause", "bayes", 9, steps))).of(GOOD) == [commits[0]]


def test_command_prints_a_case(repo: tuple[Path, list[str]], tmp_path: Path) -> None:
    commits = repo[1]
    (tmp_path / "log").write_text(f"git bisect start\ngit bisect bad {commits[8]}\ngit bisect good {commits[0]}\n")
    done = CliRunner().invoke(cli, ["git-log", "--read", str(tmp_path / "log")])
    assert tomllib.loads(done.output) == {"bad": commits[8], "good": [commits[0]]}
