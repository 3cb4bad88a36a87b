"""Faults, one at a time, against whole bisections of the lab kernel: what is killed, fills up, lies, is damaged or goes away.

A start meets the fault and comes to the right answer, or says in one line what is wrong; the next one goes on to the right
answer. Nothing is told twice, and of neither is anything left. `FAULTS` is the matrix; a cluster's faults are in test_dask.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kbench.journal import FILE_NAME
from kbench.lab import create
from kbench.leases import removing
from tests.test_machines_qemu import CFLAGS, LDFLAGS, SOURCE

pytestmark = [pytest.mark.faults, pytest.mark.qemu, pytest.mark.timeout(180)]

HOUR_S = 3600
#: What a scene leaves in its case directory.
KEPT = {"bisection.log", "report.html", "result.json", "reproducer", "consoles", FILE_NAME, f"{FILE_NAME}.lock"}

# Instead of the program of its name: goes wrong so many times, then is that program.
GOES_WRONG = """#!/bin/sh
case " $* " in *" {when} "*)
    for time in $(seq {times}); do
        if mkdir "$0.$time" 2>/dev/null; then
            {misdeed}
        fi
    done
esac
exec {program} "$@"
"""
# A machine with another kernel: the guest of test_machines_qemu.py, which does what its command line says.
ANOTHER_GUEST = """before=
            for word; do
                shift
                case $before in
                    -kernel) word={image} ;;
                    -append) word='{words}' ;;
                    -M) word=pc ;;
                esac
                before=$word
                set -- "$@" "$word"
            done
            exec {program} "$@" """
# Loaded before the C library: a second after its start, a process sees the clock set back by an hour.
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *when)
{
	static int (*real)(clockid_t, struct timespec *);
	static long start;
	struct timespec now;
	int failed;
	if (!real)
		real = dlsym(RTLD_NEXT, "clock_gettime");
	real(CLOCK_MONOTONIC, &now);
	start = start ? start : now.tv_sec;
	failed = real(clock, when);
	if (!failed && clock == CLOCK_REALTIME && now.tv_sec > start)
		when->tv_sec -= 3600;
	return failed;
}
time_t time(time_t *when)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return when ? *when = now.tv_sec : now.tv_sec;
}
int gettimeofday(struct timeval *when, void *zone)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	when->tv_sec = now.tv_sec;
	when->tv_usec = now.tv_nsec / 1000;
	return 0;
}
"""


@dataclass
class Scene:
    """A lab, an empty case directory, a cache and a folder for temporary files of its own, for one fault."""

    folder: Path
    mark: str  # in the environment of all that is started here
    settings: tuple[str, ...]  # of the case

    def __post_init__(self) -> None:
        self.lab, self.output, self.cache = (self.folder / name for name in ("lab", "out", "cache"))
        self.repository, self.journal = self.lab / "repo", self.output / FILE_NAME
        self.programs, self.temporary = self.folder / "bin", self.folder / "tmp"
        self.environment = os.environ | {
            "KBENCH_CACHE": str(self.cache),
            "KBENCH_FAULT": self.mark,
            "TMPDIR": str(self.temporary),
            "PATH": f"{self.programs}:{os.environ['PATH']}",
        }
        for place in (self.programs, self.temporary, self.cache):
            place.mkdir(exist_ok=True)

    def words(self, *more: str) -> list[str]:
        settings = [word for pair in (*self.settings, *more) for word in ("--set", pair)]
        case = str(self.lab / "case.toml")
        return [sys.executable, "-m", "kbench", "bisect", case, "--json", "--output", str(self.output), *settings]

    def start(self, *more: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(self.words(*more), stdout=pipe, stderr=pipe, text=True, env=self.environment)

    def processes(self, name: str = "") -> list[int]:
        """What was started here and still runs, by whoever is alive or dead by now, with a name in its command line."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                ours = f"KBENCH_FAULT={self.mark}".encode() in (process / "environ").read_bytes().split(b"\0")
                program = (process / "cmdline").read_bytes().partition(b"\0")[0].decode(errors="replace")
                if ours and name in program:
                    found.append(int(process.name))
        return found

    def wait_for(self, holds: Callable[[], object], limit_s: float = 60.0) -> None:
        end = time.monotonic() + limit_s
        while not holds():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.01)

    def ended(self) -> None:
        """All that was started here is gone, at once or a moment after whoever started it."""
        self.wait_for(lambda: not self.processes(), 5.0)

    def answered(self) -> int:
        """Questions the journal has the answers of."""
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)) as db:
                return int(db.execute("SELECT COUNT(*) FROM experiments WHERE complete").fetchone()[0])
        except sqlite3.OperationalError:  # not there yet
            return 0

    def told(self) -> list[tuple[str, int, str]]:
        """What was asked, in order; each run of it was made once."""
        with contextlib.closing(sqlite3.connect(self.journal)) as db:
            asked = db.execute("SELECT id, commit_id, runs, stage FROM experiments ORDER BY number").fetchall()
            runs = Counter(experiment for (experiment,) in db.execute("SELECT experiment FROM runs"))
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert all(runs[number] in (0, wanted) for number, _, wanted, _ in asked)
        return [(commit, wanted, stage) for _, commit, wanted, stage in asked]

    def kill_midway(self) -> None:
        """Start, and kill -9 once two questions are answered."""
        with self.start() as process:
            self.wait_for(lambda: self.answered() >= 2 or process.poll() is not None)
            process.kill()
            process.communicate()
        self.ended()

    def slots(self) -> list[Path]:
        return sorted((self.cache / "slots").glob("*/[0-9]*"))


@dataclass(frozen=True)
class Fault:
    """One row of the matrix. Without a code the fault is to be borne: the first start comes to the right answer."""

    name: str
    program: str = ""  # goes wrong
    misdeed: str = ""  # what it does then, in the shell
    times: int = 1
    midway: bool = False  # met by a second start, after a first one that was killed
    before: Callable[[Scene], object] | None = None
    act: Callable[[Scene, subprocess.Popen[str]], object] | None = None  # while it runs
    mend: Callable[[Scene], object] | None = None
    settings: tuple[str, ...] = ()
    warm: bool = True  # the kernels are in the store
    code: int = 0
    says: str = ""  # pattern of the one line; of the log, where it came to an end that is no answer: 1
    differs: bool = False  # what is asked may differ from an undisturbed bisection's


def killed(name: str, scene: Scene, process: subprocess.Popen[str]) -> None:
    """kill -9 of kbench itself, as soon as a program runs."""
    scene.wait_for(lambda: scene.processes(name) or process.poll() is not None)
    process.kill()


def without_machines(scene: Scene, process: subprocess.Popen[str]) -> None:
    """kill -9 of each of the first machines."""
    gone: set[int] = set()
    while len(gone) < 2 and process.poll() is None:
        for machine in {*scene.processes("qemu-system")} - gone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(machine, signal.SIGKILL)
            gone.add(machine)


def at_the_compiler(act: Callable[[Scene], object], scene: Scene, process: subprocess.Popen[str]) -> None:
    scene.wait_for(lambda: scene.processes("cc1") or process.poll() is not None)
    act(scene)


def small(place: str, size: str, scene: Scene) -> None:
    """Mount a small disk in the scene, and what lies below it on a large one."""
    target = scene.folder / place
    target.mkdir(exist_ok=True, parents=True)
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", target], check=False).returncode:
        pytest.skip("a small disk needs root, and mount to be allowed")


def small_journal(scene: Scene) -> None:
    small("out", "64k", scene)
    small("out/consoles", "50m", scene)


def room(scene: Scene) -> None:
    for place in mounts(scene.folder):
        subprocess.run(["mount", "-o", "remount,size=200m", place], check=True)


def mounts(below: Path) -> list[str]:
    """Mount points below a folder, the innermost first."""
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return sorted((place for place in places if place.startswith(str(below))), reverse=True)


def cut(path: Path, share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))


def cut_journal(suffix: str, share: float, scene: Scene) -> None:
    if not suffix:  # else SQLite makes the file anew from its log
        with contextlib.closing(sqlite3.connect(scene.journal)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    cut(Path(f"{scene.journal}{suffix}"), share)


def journal_away(scene: Scene) -> None:
    for path in scene.output.glob(f"{FILE_NAME}*"):
        path.unlink()


def spoiled(scene: Scene) -> None:
    """A byte of each kernel is another one, and each second entry is cut off."""
    for path in (scene.cache / "objects").iterdir():
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x10
        path.chmod(0o755)
        path.write_bytes(data)
    for path in sorted((scene.cache / "builds").iterdir())[::2]:
        path.chmod(0o755)
        cut(path, 0.5)


def from_the_future(scene: Scene) -> None:
    """As the clock set back by an hour between two starts leaves it: what was built is newer than what will be checked out."""
    for slot in scene.slots():
        for path in slot.rglob("*"):
            when = path.lstat().st_mtime + HOUR_S
            os.utime(path, (when, when), follow_symlinks=False)


def another_clock(scene: Scene) -> None:
    source, library = scene.folder / "clock.c", scene.folder / "clock.so"
    source.write_text(CLOCK)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    scene.environment["LD_PRELOAD"] = str(library)


def without_worktree(scene: Scene) -> None:
    for slot in scene.slots():
        shutil.rmtree(slot / "tree")


def without_entry(scene: Scene) -> None:
    shutil.rmtree(scene.repository / ".git" / "worktrees")


def moved(scene: Scene) -> None:
    scene.repository.rename(scene.lab / "elsewhere")


def moved_back(scene: Scene) -> None:
    (scene.lab / "elsewhere").rename(scene.repository)


def machine(name: str, words: str, **more: Any) -> Fault:
    """A machine that does what it should not, once."""
    return Fault(f"machine {name}", program="qemu-system-i386", misdeed=ANOTHER_GUEST.replace("{words}", words), **more)


STUBBORN = "trap '' TERM INT HUP; sleep 900 & sleep 900; exit 1"
FAULTS = [
    Fault("kbench killed while it builds", act=partial(killed, "cc1"), warm=False, code=-9),
    Fault("kbench killed while machines run", act=partial(killed, "qemu-system"), code=-9),
    Fault("kbench killed by the second time", midway=True, act=partial(killed, "qemu-system"), code=-9),
    Fault("QEMU killed", act=without_machines),
    Fault("QEMU always killed", "qemu-system-i386", "kill -KILL $$", times=18, code=1, says="infra problem"),
    Fault("disk full at build", before=partial(small, "cache", "300k"), mend=room, warm=False, code=3, says="disk|No space|room"),
    Fault("disk full at console", before=partial(small, "out/consoles", "8k"), mend=room, code=3, says="No space left"),
    Fault("disk full at journal", before=small_journal, mend=room, code=3, says="journal: .*full"),
    Fault("compiler hangs", "gcc", STUBBORN, warm=False, settings=("build_timeout_s=10",), differs=True),
    Fault("compiler dies", "gcc", "kill -SEGV $$", warm=False, differs=True),
    Fault("compiler killed for memory", "gcc", "kill -KILL $$", warm=False, code=3, says="build: expected memory"),
    Fault("machine stops answering", "qemu-system-i386", "kill -STOP $$", settings=("boot_timeout_s=3",)),
    machine("hangs", "say:init:_started hang", settings=("silence_s=3",)),
    machine("floods its console", "say:init:_started flood:4000 loop", settings=("timeout_s=8",)),
    machine("floods from the start", "loop", settings=("boot_timeout_s=3",)),
    machine("resets for ever", "reset"),
    machine("lies about being done", "say:init:_started say:repro:_done"),
    machine("is done and floods", "say:init:_started say:repro:_done loop"),
    Fault("clock set back while it runs", before=another_clock, warm=False),
    Fault("clock set back between two starts", midway=True, before=from_the_future, warm=False),
    Fault("corrupt artefacts", midway=True, before=spoiled),
    Fault("journal cut off", midway=True, before=partial(cut_journal, "", 0.4), mend=journal_away, code=2, says="journal: "),
    Fault("journal empty", midway=True, before=partial(cut_journal, "", 0.0)),
    Fault("journal's log cut off", midway=True, before=partial(cut_journal, "-wal", 0.6)),
    Fault("worktree removed between two starts", midway=True, before=without_worktree, warm=False),
    Fault(
        "worktree removed while it builds", act=partial(at_the_compiler, without_worktree), warm=False, code=3, says="worktree"
    ),
    Fault("worktree's entry removed", midway=True, before=without_entry, warm=False),
    Fault("repository moved", midway=True, before=moved, mend=moved_back, code=2, says="git: expected a repository"),
    Fault(
        "repository moved while it builds", act=partial(at_the_compiler, moved), mend=moved_back, warm=False, code=2, says="git: "
    ),
]


@dataclass(frozen=True)
class World:
    """What the scenes begin with."""

    folder: Path
    culprit: str
    settings: tuple[str, ...]
    told: list[tuple[str, int, str]]  # by a bisection nothing happens to


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A lab whose kernels are built, and what an undisturbed bisection asks."""
    folder = tmp_path_factory.mktemp("world")
    create(folder / "lab", seed=3, kind="uaf", commits=60)
    culprit = json.loads((folder / "lab" / "truth.json").read_text())["culprit"]
    git = ["git", "-C", str(folder / "lab" / "repo")]
    good = subprocess.run([*git, "describe", "--tags", "--abbrev=0", f"{culprit}^"], capture_output=True, text=True, check=True)
    later = subprocess.run([*git, "tag", "--contains", culprit, "--sort=v:refname"], capture_output=True, text=True, check=True)
    settings = ("strategy=git", "runs=2", f"good={good.stdout.strip()}", f"bad={later.stdout.split()[0]}")
    scene = Scene(folder, "world", settings)
    process = scene.start()
    out, err = process.communicate()
    assert (process.returncode, json.loads(out or "{}").get("culprit")) == (0, culprit), err
    return World(folder, culprit, settings, scene.told())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guest that obeys its command line."""
    image = tmp_path_factory.mktemp("tinyguest") / "tiny.elf"
    subprocess.run(["gcc", *CFLAGS, *LDFLAGS, str(SOURCE), "-o", str(image)], check=True)
    return image


@pytest.fixture
def scene(world: World, tmp_path: Path) -> Iterator[Scene]:
    """A scene of its own; nothing of it is left but what a case directory and a cache have."""
    shutil.copytree(world.folder / "lab", tmp_path / "lab", symlinks=True)
    shutil.rmtree(tmp_path / "lab" / "repo" / ".git" / "worktrees", ignore_errors=True)
    made = Scene(tmp_path, str(tmp_path), world.settings)
    try:
        yield made
    finally:
        for process in made.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        for place in mounts(tmp_path):
            subprocess.run(["umount", "-l", place], check=False)


def nothing_left(scene: Scene, mounted: list[str]) -> None:
    """No process, mount, worktree or temporary file but those of the cache's build slots."""
    scene.ended()
    assert mounts(scene.folder) == mounted
    listed = subprocess.run(
        ["git", "-C", scene.repository, "worktree", "list", "--porcelain"], capture_output=True, text=True, check=True
    ).stdout
    trees = re.findall(r"^worktree (.*)$", listed, re.MULTILINE)
    assert set(trees) <= {str(scene.repository), *(str(slot / "tree") for slot in scene.slots())}
    assert "prunable" not in listed
    assert not [*scene.temporary.iterdir()]
    assert {path.name for path in scene.output.iterdir()} <= KEPT
    for slot in scene.slots():
        assert not (slot / "interrupted").exists()
    with removing(scene.cache) as used:
        assert not used
    assert not [*scene.cache.glob("*/.new-*"), *scene.cache.glob("leases/*")]


def right(scene: Scene, world: World, code: int, out: str, err: str) -> None:
    assert (code, json.loads(out or "{}").get("culprit")) == (0, world.culprit), err


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_fault(world: World, scene: Scene, tiny: Path, fault: Fault) -> None:
    if fault.warm:
        for name in ("builds", "objects"):
            shutil.copytree(world.folder / "cache" / name, scene.cache / name)
    if fault.midway:
        scene.kill_midway()
    if fault.before:
        fault.before(scene)
    if fault.program:
        program = shutil.which(fault.program)
        misdeed = fault.misdeed.replace("{image}", str(tiny)).replace("{program}", str(program))
        when = "-initrd" if fault.program.startswith("qemu") else "-c"
        wrong = scene.programs / fault.program
        wrong.write_text(GOES_WRONG.format(program=program, when=when, times=fault.times, misdeed=misdeed))
        wrong.chmod(0o755)
    mounted = mounts(scene.folder)
    process = scene.start(*fault.settings)
    if fault.act:
        fault.act(scene, process)
    out, err = process.communicate()
    if fault.program:
        assert len([*scene.programs.glob(f"{fault.program}.*")]) == fault.times, "it never went wrong"
    if fault.code == 0:
        right(scene, world, process.returncode, out, err)
    else:
        assert process.returncode == fault.code, err
        if fault.code == 1:  # it came to an end, and its log says how
            assert re.search(fault.says, (scene.output / "bisection.log").read_text())
        elif fault.code > 1:
            assert (err.count("\n"), bool(re.search(fault.says, err))) == (1, True), err
    scene.ended()
    if fault.mend:
        fault.mend(scene)
    process = scene.start(*fault.settings)
    out, err = process.communicate()
    right(scene, world, process.returncode, out, err)
    told = scene.told()
    assert fault.differs or told == world.told
    nothing_left(scene, mounted)


def test_the_kernel_of_a_notebook_is_killed(world: World, scene: Scene) -> None:
    """kill -9 of the process a notebook's cells run in."""
    from jupyter_client.manager import KernelManager

    settings = dict(pair.split("=") for pair in world.settings) | {"runs": 2}
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=scene.environment, cwd=str(scene.folder))
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        arguments = f"{str(scene.lab / 'case.toml')!r}, output={str(scene.output)!r}, **{settings}"
        client.execute(f"import kbench; kbench.bisect({arguments})")
        scene.wait_for(lambda: scene.answered() and scene.processes("qemu-system"))
        [kernel] = scene.processes("python")
        os.kill(kernel, signal.SIGKILL)
        scene.wait_for(lambda: not manager.is_alive())
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    scene.ended()
    process = scene.start()
    out, err = process.communicate()
    right(scene, world, process.returncode, out, err)
    assert scene.told() == world.told
    nothing_left(scene, [])
