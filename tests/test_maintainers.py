"""Recipients: what the tree's own script says, and no more than that."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from kbench.errors import InputError
from kbench.maintainers import SCRIPT, maintainers

FOLDERS = ("Documentation", "arch", "include", "drivers", "fs", "init", "ipc", "kernel", "lib", "scripts")
FILES = ("fs/pipe.c", "mm/memory.c", "kernel/fork.c", "lib/kobject.c")


def small_tree(folder: Path, script: str) -> Path:
    """A tree with one file and a script of our own."""
    (folder / "scripts").mkdir(parents=True)
    (folder / "fs").mkdir()
    (folder / "fs" / "pipe.c").write_text("int pipe;\n")
    (folder / SCRIPT).write_text(script)
    return folder


@pytest.fixture(scope="session")
def linux_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script reads of a Linux tree, in a git repository of its own."""
    from kbench.lab.linux.source import base_repository

    base, tree = base_repository(), tmp_path_factory.mktemp("linux")
    wanted = ["MAINTAINERS", "COPYING", "CREDITS", "Kbuild", "Makefile", "README", SCRIPT, *FILES]
    archive = ["git", "-C", str(base.repository), "archive", base.commit, *wanted]
    packed = subprocess.run(archive, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(tree)], input=packed, check=True)
    for name in FOLDERS:
        (tree / name).mkdir(exist_ok=True)
    return tree


def by_hand(tree: Path, file: str) -> tuple[str, ...]:
    """As one types it, roles and all; the address ends where the role begins. Perl's order of equals is held still."""
    typed = f"cd '{tree}' && PERL_HASH_SEED=0 PERL_PERTURB_KEYS=0 perl scripts/get_maintainer.pl --git-min-percent=15 -f {file}"
    said = subprocess.run(["sh", "-c", typed], capture_output=True, text=True, check=True).stdout
    found = (re.match(r".*?<[^<>]+>|\S+@\S+", line) for line in said.splitlines())
    return tuple(match[0] for match in found if match)


@pytest.mark.linux
@pytest.mark.parametrize("file", FILES)
def test_the_same_as_by_hand(file: str, linux_tree: Path) -> None:
    """Without a history."""
    found = maintainers(linux_tree, file)
    assert found == by_hand(linux_tree, file)
    assert "linux-kernel@vger.kernel.org" in found


@pytest.mark.linux
def test_the_same_as_by_hand_with_a_history_in_a_worktree(linux_tree: Path, tmp_path: Path) -> None:
    """A file without maintainer goes to those who changed it."""
    repository, worktree = tmp_path / "repository", tmp_path / "worktree"
    subprocess.run(["cp", "-r", str(linux_tree), str(repository)], check=True)
    (repository / "orphan.c").write_text("int orphan;\n")
    for name in FOLDERS:
        (repository / name / ".keep").touch()
    git = ["git", "-C", str(repository), "-c", "user.name=Jane (of Doe)", "-c", "user.email=jane@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "all of it"], check=True)
    subprocess.run([*git, "worktree", "add", "-q", "--detach", str(worktree)], check=True)
    found = maintainers(worktree, "orphan.c")
    assert found == by_hand(worktree, "orphan.c")
    assert any("jane@example.org" in recipient for recipient in found)


def test_no_script_no_recipients(tmp_path: Path) -> None:
    small_tree(tmp_path, "")
    (tmp_path / SCRIPT).unlink()
    assert maintainers(tmp_path, "fs/pipe.c") == ()


def test_a_script_that_fails_says_nothing(tmp_path: Path) -> None:
    small_tree(tmp_path, 'print "half@example.org\\n"; exit 3;\n')
    assert maintainers(tmp_path, "fs/pipe.c") == ()


def test_the_script_gets_the_name_as_one_word(tmp_path: Path) -> None:
    """No shell, no standard input, in the tree."""
    small_tree(tmp_path, 'print join("|", @ARGV), "\\@x -e:", -e "fs/pipe.c", "\\n"; print <STDIN>; print "noise\\n";\n')
    (tmp_path / "fs" / "a $(touch x); b.c").touch()
    (said,) = maintainers(tmp_path, "fs/a $(touch x); b.c")
    assert said == "--no-rolestats|--git-min-percent=15|-f|fs/a $(touch x); b.c@x -e:1"
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "file",
    [
        "",
        "-f",
        "--help",
        "../outside.c",
        "fs/../../outside.c",
        "fs/link.c",
        "fs",
        "nosuch.c",
        "fs/pipe.c\n",
        "fs/\0",
        ".git/config",
    ],
)
def test_names_that_are_none_of_the_trees(file: str, tmp_path: Path) -> None:
    tree = small_tree(tmp_path / "tree", 'print "nobody@example.org\\n";\n')
    (tmp_path / "outside.c").touch()
    (tree / "fs" / "link.c").symlink_to(tmp_path / "outside.c")
    (tree / "-f").touch()
    (tree / "--help").touch()
    (tree / ".git").mkdir()
    (tree / ".git" / "config").touch()
    with pytest.raises(InputError, match="maintainers: expected a file of"):
        maintainers(tree, file)
