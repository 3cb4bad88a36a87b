"""The cache: what goes first, what stays, and what real processes that build, prune and die leave of it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kbench.bisection import site
from kbench.errors import InputError, StorageError
from kbench.host import cache_dir
from kbench.kernels import Store, cache
from kbench.kernels.cache import parse_size, prune, survey
from kbench.leases import removing
from kbench.records import KernelImage
from tests.fast_import import git
from tests.test_kernels import PLAIN, Source

HOUR = 3600.0
NOBODY = 65534


def age(path: Path, hours: float) -> None:
    then = time.time() - hours * HOUR
    os.utime(path, (then, then))


def image_of(path: Path) -> str:
    return str(json.loads(path.read_text())["image"]) if path.suffix == ".json" else ""


def kinds(root: Path) -> list[str]:
    return [item.kind for item in survey(root) if item.kind != "other"]


@pytest.mark.parametrize(
    ("text", "size"), [("20G", 20 << 30), (" 1.5 KiB ", 1536), ("7", 7), ("5%", 50), ("2tb", 2 << 40), ("100 B", 100)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text, 1000) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1e9", "5 %%", "9" * 99, "1.G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="20G"):
        parse_size(text, 1000)


def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    source = Source(tmp_path)
    root = source.store.root
    old, new, same = (source.build(number) for number in (0, 2, 3))  # the last two are the same kernel: one file
    assert new.path == same.path
    for path in (*(root / "builds").iterdir(), *(root / "objects").iterdir(), *root.glob("slots/*/*/lock")):
        age(path, 9 if old.path.name in (path.name, image_of(path)) else 5)
    source.store = Store(root)  # whoever found something has let go
    total = sum(item.size for item in survey(root))
    assert prune(root, total).removed == 0, "within the limit nothing goes"
    assert prune(root, total - 1).removed == 1
    assert not old.path.exists()
    assert new.path.exists()
    assert prune(root, 0, grace_s=6 * HOUR).removed == 0, "used a moment ago"

    assert prune(root, 0).in_use == 0
    assert kinds(root) == []
    assert not list((root / "objects").iterdir())
    assert "slots" not in git(tmp_path / "repo", "worktree", "list"), "git knows of no worktree that is gone"
    again = source.build(0)
    assert (again.cached, again.path.read_text()) == (False, "head\nbody 0\n")


def test_what_is_used_stays(tmp_path: Path) -> None:
    source = Source(tmp_path)
    root = source.store.root
    kernel = source.build(0)
    with removing(root) as used:
        assert f"objects/{kernel.path.name}" in used
    with source.store.slot(f"revisions of {(tmp_path / 'repo').resolve()}") as slot:
        pruned = prune(root, 0, grace_s=0)
        assert kernel.path.exists()
        assert (slot.tree / "Makefile").exists()
        assert (pruned.removed, pruned.in_use) == (0, 2)
    (root / "objects" / ".new-old").touch()
    age(root / "objects" / ".new-old", 2)
    (root / "objects" / ".new-now").touch()
    del source
    assert prune(root, 0, grace_s=0).in_use == 0
    assert [path.name for path in (root / "objects").iterdir()] == [".new-now"], "somebody may be writing it"


def test_a_build_sees_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(tmp_path)
    kernel = source.build(0)
    for path in (kernel.path, *(source.store.root / "builds").iterdir()):
        age(path, 2)
    age(source.store.root / "looked.lock", 2)
    source.store = Store(source.store.root)
    monkeypatch.setenv(cache.SIZE_VARIABLE, "1K")
    source.build(1)
    assert not kernel.path.exists()
    monkeypatch.setenv(cache.SIZE_VARIABLE, "much")
    with pytest.raises(InputError, match=cache.SIZE_VARIABLE):
        source.build(2)


BUILDER = """
import sys, time
from pathlib import Path
from kbench.kernels import Builder, Store
from kbench.repository import Repository
from tests.test_kernels import PLAIN
repository, root, *commits = sys.argv[1:]
end = time.monotonic() + 3
n = 0
while time.monotonic() < end or n < 3:
    store = Store(Path(root))
    with Builder(Repository(repository), PLAIN, config=None, store=store) as builder:
        for commit in commits:
            kernel = builder.build(commit)
            text = kernel.path.read_text()
            time.sleep(0.01)
            assert kernel.path.read_text() == text, "it went away while it was used"
            n += 1
"""
PRUNER = """
import sys
from pathlib import Path
from kbench.kernels.cache import prune
while True:
    prune(Path(sys.argv[1]), 0, grace_s=0)
"""


@pytest.mark.timeout(120)
def test_two_prune_beside_two_builds_and_are_killed(tmp_path: Path) -> None:
    """Whoever is killed, and whenever: no build fails, nothing in use goes, and the store is sound."""
    source = Source(tmp_path)
    root, dice = source.store.root, random.Random(8)
    python = [sys.executable, "-c"]
    builders = [
        subprocess.Popen([*python, BUILDER, str(tmp_path / "repo"), str(root), *commits], stderr=subprocess.PIPE)
        for commits in (source.commits, source.commits[::-1])
    ]
    pruners, kills = [subprocess.Popen([*python, PRUNER, str(root)]) for _ in range(2)], 0
    try:
        while any(builder.poll() is None for builder in builders):
            time.sleep(dice.uniform(0.3, 0.6))
            victim = pruners.pop(0)
            assert victim.poll() is None, "pruning does not fail"
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            kills += 1
            pruners.append(subprocess.Popen([*python, PRUNER, str(root)]))
    finally:
        for process in (*pruners, *builders):
            process.kill()
    errors = [builder.communicate()[1].decode() for builder in builders]
    for pruner in pruners:
        pruner.wait()
    assert [builder.returncode for builder in builders] == [0, 0], errors
    assert kills > 3
    for number in range(len(source.commits)):
        kernel = source.build(number, PLAIN)
        assert kernel.path.read_text().startswith("head")
    del kernel
    source.store = Store(root)
    prune(root, 0, grace_s=0)
    assert kinds(root) == []
    assert not list(root.rglob(".gone-*"))
    with removing(root) as used:
        assert not used
    assert not list((root / "leases").iterdir()), "who was killed holds nothing"


def test_a_workers_mirror_goes_when_no_task_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And comes again when one does, also below a build slot that was made with the one before."""
    source, root = Source(tmp_path), tmp_path / "worker"
    monkeypatch.setenv("KBENCH_CACHE", str(root))
    one, other = source.commits[0], source.commits[2]
    where = site.Site(str(tmp_path / "shared"), str(source.repository.path), "", PLAIN, None, None)
    assert isinstance(site.build(where, one), KernelImage)
    assert "mirrors" in kinds(root)
    with site.at_work(where) as here:
        here.fetch(one)
        prune(root, 0, grace_s=0)
        assert kinds(root) == ["mirrors"]
        prune(root, 0)
    prune(root, 0, grace_s=0)
    assert kinds(root) == []
    for commit in (one, other):
        assert isinstance(site.build(where, commit), KernelImage)
        shutil.rmtree(root / "mirrors")


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(tmp_path)
    source.build(0)
    monkeypatch.setenv("KBENCH_CACHE", str(source.store.root))
    monkeypatch.setenv(cache.SIZE_VARIABLE, "2G")

    def kbench(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "kbench", "cache", *words], capture_output=True, text=True, check=False)

    shown = kbench()
    assert shown.returncode == 0, shown.stderr
    assert "build slots" in shown.stdout
    assert "of 2.0 GiB" in shown.stdout
    found = json.loads(kbench("--clear", "--json").stdout)
    assert (found["limit"], found["pruned"]["in_use"]) == (2 << 30, 1), "the kernel is ours, the slot nobody's"
    assert [kind["kind"] for kind in found["kinds"]] == ["kernels", "other"]
    du = subprocess.run(["du", "-s", "-B1", source.store.root], capture_output=True, text=True, check=True)
    assert found["size"] == sum(kind["size"] for kind in found["kinds"]) == int(du.stdout.split()[0])
    assert kbench("--clear", "--prune").returncode == 2
    assert kbench("--size", "lots").returncode == 2


def test_a_cache_that_others_write_to_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs and kernels in it are run: whoever made the folder first, below /tmp for one, does not choose them."""
    new, shared = tmp_path / "new" / "cache", tmp_path / "shared"
    monkeypatch.setenv("KBENCH_CACHE", str(new))
    assert cache_dir().stat().st_mode & 0o777 == 0o700
    shared.mkdir()
    monkeypatch.setenv("KBENCH_CACHE", str(shared))
    shared.chmod(0o1777)
    Store()
    if os.geteuid():
        return
    for owner, mode, member in ((NOBODY, 0o755, 0), (NOBODY, 0o700, 0), (0, 0o1777, NOBODY)):
        shared.chmod(mode)
        os.chown(shared, owner, owner)
        os.chown(shared / "objects", member, member)
        for root in (None, shared):
            with pytest.raises(StorageError, match="nobody else writes to"):
                Store(root)
