"""Histories of real Linux: the source as a repository, the commits on top of it, and what is planted among them."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest

from kbench.errors import InputError, MachineLacksError
from kbench.lab.graph import Dice, draw_history, lawful
from kbench.lab.linux import KINDS, Shares, create_linux
from kbench.lab.linux.compose import plantings_at
from kbench.lab.linux.culprits import CULPRITS
from kbench.lab.linux.edits import comment_edit, header_edit, source_edit
from kbench.lab.linux.places import COMPILED, HEADERS, noise
from kbench.lab.linux.plantings import FOREIGN, NO_BOOT, NO_BUILD, SILENT, WRONG_TURNS
from kbench.lab.linux.source import Base, base_repository, find_source
from kbench.lab.linux.tree import BaseTree
from kbench.lab.patch import Patch, apply_patch
from kbench.lab.record import Lab

MAKEFILE = "# SPDX-License-Identifier: GPL-2.0\nVERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 117\nEXTRAVERSION =\n"


def git(repository: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(repository), *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree that could be Linux's, with the sorts of entries a tar file has, and an empty cache."""
    monkeypatch.setenv("KBENCH_CACHE", str(tmp_path / "cache"))
    tree = tmp_path / "linux-6.12"
    (tree / "scripts").mkdir(parents=True)
    (tree / "Makefile").write_text(MAKEFILE)
    (tree / "scripts/run.sh").write_text("#!/bin/sh\n")
    (tree / "scripts/run.sh").chmod(0o755)
    (tree / "scripts/again").symlink_to("run.sh")
    (tree / "latin").write_bytes(b"caf\xe9 \x00\n")
    return tree


@pytest.fixture(scope="module")
def base() -> Base:
    try:
        find_source()
    except MachineLacksError as error:
        pytest.skip(str(error))
    return base_repository()


@pytest.fixture(scope="module")
def made(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return create_linux(tmp_path_factory.mktemp("labs") / "one", seed=1, kind="pipe-flags", commits=120)


def test_same_files_same_commit(small: Path, tmp_path: Path) -> None:
    """A folder, a tar file and a revision of a repository are one source if their files are the same."""
    packed = tmp_path / "linux.tar.xz"
    with tarfile.open(packed, "w:xz") as tar:
        tar.add(small, "linux-6.12")
    commit = base_repository(small).commit
    assert base_repository(packed).commit == commit
    git(small, "init", "--quiet", "--initial-branch=main")
    git(small, "add", "--all")
    git(small, "-c", "user.name=A", "-c", "user.email=a@b", "commit", "--quiet", "-m", "1")
    assert base_repository(small).commit == base_repository(f"{small}@main").commit == commit
    listed = git(base_repository(packed).repository, "ls-tree", "-r", "main")
    assert re.findall(r"^(\d+) .*\t(.*)$", listed, re.M) == [
        ("100644", "Makefile"),
        ("100644", "latin"),
        ("120000", "scripts/again"),
        ("100755", "scripts/run.sh"),
    ]


def test_source_is_made_ready_once(small: Path) -> None:
    made = base_repository(small)
    before = made.repository.stat().st_ino
    assert base_repository(small) == made and made.repository.stat().st_ino == before
    (small / "Makefile").write_text(MAKEFILE.replace("117", "118"))
    assert base_repository(small).commit != made.commit


def test_killed_import_is_no_source(small: Path) -> None:
    made = base_repository(small)
    made.repository.rename(made.repository.with_suffix(".partial"))
    (made.repository.with_suffix(".partial") / "HEAD").unlink()
    assert base_repository(small) == made
    assert not made.repository.with_suffix(".partial").exists()


def test_what_is_no_source(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (small / ".config").write_text("")
    with pytest.raises(InputError, match="mrproper"):
        base_repository(small)
    (small / ".config").unlink()
    (small / "Makefile").write_text("all:\n")
    with pytest.raises(InputError, match="no VERSION"):
        base_repository(small)
    with pytest.raises(InputError, match="expected a source tree"):
        base_repository(tmp_path / "nowhere")
    (tmp_path / "torn.tar.xz").write_bytes(b"\xfd7zXZ\x00 torn")
    with pytest.raises(InputError, match="tar file"):
        base_repository(tmp_path / "torn.tar.xz")
    assert not [path for path in (tmp_path / "cache/sources").iterdir() if path.suffix != ".lock"]
    monkeypatch.setenv("KBENCH_LINUX_SOURCE", str(small))
    assert find_source() == small


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="kind must be one of"):
        create_linux(tmp_path / "lab", seed=1, kind="uaf")
    with pytest.raises(InputError, match="target 'lab'"):
        create_linux(tmp_path / "lab", seed=1, target="lab")
    with pytest.raises(InputError, match="silent stretches are known for"):
        create_linux(tmp_path / "lab", seed=1, kind="pipe-close", silent=True)
    (tmp_path / "full").touch()
    with pytest.raises(InputError, match="empty folder"):
        create_linux(tmp_path, seed=1)


@pytest.mark.parametrize("kind", KINDS)
def test_reproducer_compiles_and_says_what_it_needs(kind: str, tmp_path: Path) -> None:
    source = tmp_path / "repro.c"
    text = CULPRITS[kind].reproducer
    source.write_text(text)
    argv = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-pthread", "-o", str(tmp_path / "repro"), str(source)]
    subprocess.run(argv, check=True)
    needs = re.findall(r"^// needs: (.*)$", text, re.M)
    assert all(re.fullmatch(r"CONFIG_\w+", word) for line in needs for word in line.split())
    options = re.findall(r"^(CONFIG_\w+)=y$", CULPRITS[kind].config, re.M)
    assert set(options) <= {word for line in needs for word in line.split()}


def test_noise_is_compiled_by_nobody() -> None:
    assert not noise([*COMPILED, *HEADERS, "Makefile", "drivers/usb/Kconfig", "arch/x86/kernel/smp.c", "arch/arm64/mm/mmu.c"])
    kept = ("Documentation/mm/slab.rst", "drivers/usb/core/hub.c", "arch/mips/kernel/time.c", "sound/soc/soc-core.c")
    assert noise(kept) == kept


def test_edits_of_a_file() -> None:
    """Each is made of the text it sees; the counter stands under the same #if as its function."""
    text = (
        "#include <linux/errno.h>\n\n#if A\nint a;\n\n#else\n"
        "static int put(int n)\n{\n\tif (n > 3)\n\t\treturn -EINVAL;\n\treturn use(n);\n}\n\n"
        "static int use(int n)\n{\n\tif (n)\n\t\treturn -EIO;\n\tfor (;;)\n\t\tmutex_lock(&m);\n}\n#endif\n"
    )
    edits = [source_edit(Dice(f"edit {i}"), text, "fs/a.c") for i in range(200)]
    subjects = {edit.subject for edit in edits if edit}
    assert {"count calls of use()", "errors are unlikely in put()", "while (true) in use()", "note who calls use()"} <= subjects
    assert "count calls of put()" not in subjects
    for edit in filter(None, edits):
        changed = edit.files["fs/a.c"]
        assert changed != text and changed.count("{") == changed.count("}")
    comments = [comment_edit(Dice(f"comment {i}"), text, "fs/a.c") for i in range(50)]
    stripped = {re.sub(r"/\*.*?\*/\n", "", edit.files["fs/a.c"]) for edit in comments if edit}
    assert stripped == {text}
    page = comment_edit(Dice("page"), "In order to boot, press a key in order to go on.\n", "Documentation/a.rst")
    assert page is not None and page.files["Documentation/a.rst"] == "In order to boot, press a key to go on.\n"


@pytest.mark.linux
def test_everything_planted_finds_its_place(base: Base) -> None:
    """In the source as it is: every culprit, every stretch, and a silent stretch on top of its culprit; all can be mended."""
    with BaseTree(base) as tree:

        def applied(*patches: Patch) -> dict[str, str]:
            files = {change.path: tree.read(change.path) for patch in patches for change in patch.changes}
            for patch in patches:
                files |= apply_patch(files, patch).files
            return files

        for planting in (*NO_BUILD, *NO_BOOT, *FOREIGN, *WRONG_TURNS, *SILENT.values()):
            assert planting.mending is not None
            assert applied(planting.patch) != applied(planting.patch, planting.mending)
            assert all(text == tree.read(path) for path, text in applied(planting.patch, planting.mending).items())
        for kind, culprit in CULPRITS.items():
            assert all(text != tree.read(path) for path, text in applied(culprit.patch).items())
            if kind in SILENT:
                applied(culprit.patch, SILENT[kind].patch)


@pytest.mark.linux
def test_edits_of_the_source(base: Base) -> None:
    """There is enough to edit for long histories, and every edit leaves what it does not mean alone."""
    with BaseTree(base) as tree:
        here = set(tree.paths)
        assert len(here & set(COMPILED)) > 200 and len(here & HEADERS.keys()) >= 10 and len(noise(tree.paths)) > 10_000
        dice, n_edits = Dice("edits"), 0
        for path in [path for path in COMPILED if path in here][::4]:
            edit = source_edit(dice, tree.read(path), path)
            n_edits += edit is not None
        assert n_edits > 20
        for path in here & HEADERS.keys():
            added = header_edit(dice, tree.read(path), path)
            assert added is not None and added.files[path].rstrip().split("\n")[-1].startswith("#endif")


@pytest.mark.linux
def test_same_seed_same_hashes_and_no_second_import(
    made: Lab, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the user's git configuration nor the environment gets in; the source is not made ready again."""
    monkeypatch.setenv("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    before = base.repository.stat().st_ino
    again = create_linux(tmp_path / "again", seed=1, kind="pipe-flags", commits=120)
    other = create_linux(tmp_path / "other", seed=2, kind="pipe-flags", commits=120)
    assert base.repository.stat().st_ino == before
    assert again.truth.read_text() == made.truth.read_text() != other.truth.read_text()


@pytest.mark.linux
def test_repository_stands_alone(made: Lab) -> None:
    """It outlives the cache: no alternates, no remote; and it is one history, from the source on."""
    git(made.repository, "fsck", "--connectivity-only", "--strict")
    assert not (made.repository / "objects/info/alternates").exists()
    assert git(made.repository, "remote") == ""
    assert git(made.repository, "rev-list", "--count", "main") == "120\n"
    truth = json.loads(made.truth.read_text())
    assert git(made.repository, "rev-list", "--max-parents=0", "main").split() == [truth["base"]]
    assert git(made.repository, "tag", "--sort=version:refname").split() == list(made.tags)
    first = re.fullmatch(r"v(\d+)\.(\d+)\.(\d+)", made.tags[0])
    assert first is not None
    makefile = git(made.repository, "show", f"{made.tags[0]}:Makefile")
    assert f"PATCHLEVEL = {first[2]}\nSUBLEVEL = {first[3]}\n" in makefile


@pytest.mark.linux
def test_truth_is_what_the_repository_holds(made: Lab) -> None:
    truth = json.loads(made.truth.read_text())
    patch = CULPRITS["pipe-flags"].patch
    shown = git(made.repository, "show", "--format=%s", "--name-only", made.culprit).split("\n")
    assert shown[0] == f"{patch.area}: {patch.subject}" and {c.path for c in patch.changes} == set(shown[2:-1])
    for stretch in truth["stretches"]:
        assert git(made.repository, "merge-base", "--is-ancestor", stretch["first"], stretch["last"]) == ""
    case = tomllib.loads(made.case.read_text())
    assert case["target"] == "um" and (made.directory / case["reproducer"]).is_file()
    assert (made.directory / tomllib.loads(made.fix_case.read_text())["reproducer"]).is_file()


@pytest.mark.linux
def test_most_commits_touch_nothing_that_is_compiled(base: Base, tmp_path: Path) -> None:
    lab = create_linux(tmp_path / "lab", seed=3, kind="aio-mremap", commits=500)
    touching = json.loads(lab.truth.read_text())["touching"]
    assert touching["headers"] == 5
    assert 0.07 * 500 <= touching["headers"] + touching["compiled"] <= 0.1 * 500
    quiet = create_linux(tmp_path / "quiet", seed=3, kind="aio-mremap", commits=120, shares=Shares(compiled=0, headers=0))
    assert json.loads(quiet.truth.read_text())["touching"]["headers"] == 0
    log = git(lab.repository, "log", "--no-merges", "--format=", "--name-only", f"{base.commit}..main").split()
    planted = {c.path for p in (*NO_BUILD, *NO_BOOT, *FOREIGN, *WRONG_TURNS) for c in p.patch.changes} | {"fs/aio.c", "Makefile"}
    ordinary = [path for path in log if path not in planted]
    assert len(ordinary) > 400
    assert len(ordinary) == len(set(ordinary))  # so that no merge has a conflict


@pytest.mark.linux
@pytest.mark.parametrize("kind", ["tee-merge", "unix-oob"])
def test_silent_stretch_has_the_bug(kind: str, base: Base, tmp_path: Path) -> None:
    lab = create_linux(tmp_path / "lab", seed=5, kind=kind, commits=150, silent=True)
    stretch = lab.stretches[-1]
    assert stretch["kind"] == "silent"
    assert git(lab.repository, "merge-base", "--is-ancestor", lab.culprit, stretch["first"]) == ""
    change = SILENT[kind].patch.changes[0]
    assert change.new in git(lab.repository, "show", f"{stretch['last']}:{change.path}")
    assert change.new not in git(lab.repository, "show", f"main:{change.path}")


@pytest.mark.parametrize("seed", range(4))
def test_planted_commits_are_all_different(seed: int) -> None:
    history = draw_history(Dice(f"linux {seed}"), 150)
    assert lawful(history)
    planted = plantings_at(history, CULPRITS["tee-merge"].patch, (NO_BUILD[0], NO_BOOT[0], FOREIGN[0]), WRONG_TURNS[0])
    assert len(planted) == 9 and planted[history.culprit] is CULPRITS["tee-merge"].patch


def test_nothing_planted_shares_a_file() -> None:
    """A stretch may be there while the culprit comes; only the silent one lives where the culprit does."""
    pools = (NO_BUILD, NO_BOOT, FOREIGN, WRONG_TURNS)
    paths = [frozenset().union(*(one.paths for one in pool)) for pool in pools]
    paths.append(frozenset(change.path for culprit in CULPRITS.values() for change in culprit.patch.changes))
    assert sum(len(some) for some in paths) == len(frozenset().union(*paths))


def test_source_without_the_place_is_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"finds no place in this source|no more; ask for fewer"):
        create_linux(tmp_path / "lab", source=small, seed=1, commits=60)
    assert not (tmp_path / "lab").exists()


def test_kinds_enough() -> None:
    """Six that crash in every run and two that are flaky by nature, each from a fix of its own."""
    assert sum(culprit.rate == 1 for culprit in CULPRITS.values()) >= 6
    assert sum(culprit.rate is None for culprit in CULPRITS.values()) >= 2
    assert len({culprit.fix for culprit in CULPRITS.values()}) == len(CULPRITS)
    assert all(re.fullmatch(r"[0-9a-f]{12}", culprit.fix) for culprit in CULPRITS.values())
