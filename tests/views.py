"""A realistic bisection for the tests of the views: flaky, with a build failure, and with texts that try to break out."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from pathlib import Path

from kbench.records import BisectionView, Outcome, Run, Step, Verdict

N_COMMITS = 300
CULPRIT = 171
ATTACK = '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 1"> </script><!-- \u2028 ]]>'
TITLE = "KASAN: use-after-free Read in pipe_read"
CONSOLE = """[    0.000000] Lab kernel version 1.3 (gcc 12.2.0)
[    0.012000] heap: 8 MiB, red zones on, quarantine 256 KiB
{boot}[    0.214000] \x1b[32minit\x1b[0m: running reproducer {attack}
[    0.215000] pipe\u202eevil\u202c: read 4096 at ffff8880003fe000\x07\x00
[    0.217331] ==================================================================
[    0.217402] BUG: KASAN: use-after-free in pipe_read+0x1f4/0x2a0
[    0.217460] Read of size 8 at addr ffff88800041c2b0 by task repro/41
[    0.217533] Call Trace:
[    0.217560]  pipe_read+0x1f4/0x2a0
[    0.217590]  vfs_read+0x5c/0x110
[    0.217611]  sys_read+0x40/0x80
[    0.217650] Freed by task 40:
[    0.217671]  kfree+0x20/0x40
[    0.217702]  pipe_release+0x88/0xa0
[    0.217741] ==================================================================
[    0.217790] Kernel panic - not syncing: panic_on_warn set
"""
SUBJECTS = (
    "pipe: take the lock before the buffer is read", "heap: quarantine freed objects in a ring", "sched: yield on a full pipe",
    "Documentation: say what a slot is", "ramfs: keep the inode until the last close", "Merge branch 'topic/pipes'",
    "irq: count spurious interrupts", "Makefile: pass -fno-stack-protector", "vfs: let read return short counts",
)  # fmt: skip


def commit(position: int) -> str:
    """Return the hash of the commit at a position of the made-up history."""
    return hashlib.sha1(f"commit {position}".encode()).hexdigest()


def subject(position: int) -> str:
    """Return its subject."""
    return "pipe: free the ring when the last reader leaves" if position == CULPRIT else SUBJECTS[position % len(SUBJECTS)]


TEXT = f"""commit {commit(CULPRIT)}
Author: A <a@b.c>
Date:   Mon Jan 1 00:00:00 2024

    {subject(CULPRIT)}

    {ATTACK}

 kernel/pipe.c | 3 +-
"""

# stage, position, planned runs, share that crashes, span that is left after the step (None: not known yet)
_PLAN: tuple[tuple[str, int, int, float, tuple[int, int] | None], ...] = (
    ("original", 299, 20, 0.6, None),
    ("release v1.2", 220, 10, 0.5, None),
    ("release v1.1", 120, 10, 0.0, (121, 220)),
    ("bisect", 170, 10, 0.0, (171, 220)),
    ("bisect", 195, 10, 0.5, (171, 195)),
    ("bisect", 183, 0, 0.0, (171, 195)),  # does not build
    ("bisect", 181, 10, 0.35, (171, 181)),
    ("bisect", 175, 10, 0.45, (171, 175)),
    ("bisect", 172, 10, 0.55, (171, 172)),
    ("bisect", 171, 10, 0.4, (171, 171)),
    ("parent", 170, 20, 0.0, (171, 171)),
)


def make_view(folder: Path, *, steps: int | None = None, running: bool = False) -> BisectionView:
    """Return the bisection after a number of steps (None: finished), its consoles written below `folder`."""
    rng = random.Random(7)
    folder.mkdir(parents=True, exist_ok=True)
    done = [_step(folder, rng, plan) for plan in _PLAN]
    finished = steps is None
    shown = done if steps is None else done[:steps]
    if running:
        last = shown[-1]
        shown = [*shown[:-1], replace(last, verdict=None, runs=last.runs[: len(last.runs) // 2], candidates_left=None, spans=())]
    return BisectionView(
        name="pipe-uaf", kind="cause", strategy="syzkaller", n_commits=N_COMMITS, steps=tuple(shown),
        tags=(("v1.0", 20), ("v1.1", 120), ("v1.2", 220), ("v1.3-rc1", 224)),
        outcome="culprit" if finished else None, culprit=commit(CULPRIT) if finished else None,
        culprit_subject=subject(CULPRIT) if finished else "",
        culprit_text=TEXT if finished else "",
        confidence=0.973 if finished else None,
        candidates=((commit(171), 0.973), (commit(172), 0.021), (commit(173), 0.006)) if finished else (),
        noop=False if finished else None, crash_report=CONSOLE.format(boot="", attack=ATTACK).split("\n", 4)[4],
        build_s=sum(step.build_s for step in shown), test_s=sum(step.test_s for step in shown),
    )  # fmt: skip


def _step(folder: Path, rng: random.Random, plan: tuple[str, int, int, float, tuple[int, int] | None]) -> Step:
    stage, position, planned, share, span = plan
    runs = tuple(_run(folder / f"{len(stage)}-{position}-{number}.log", rng, share) for number in range(planned))
    crashed = sum(run.outcome is Outcome.CRASHED for run in runs)
    verdict = Verdict.SKIP if not runs else Verdict.BAD if crashed else Verdict.GOOD
    return Step(
        commit=commit(position), subject=subject(position) + (f" {ATTACK}" if position == 175 else ""), stage=stage,
        verdict=verdict,
        runs=runs, planned_runs=planned, position=position, candidates_left=span[1] - span[0] + 1 if span else None,
        spans=(span,) if span else (), signature=hashlib.sha256(str(position).encode()).hexdigest() if runs else None,
        build_s=0.0 if stage == "parent" else 2.4 + rng.random(), test_s=0.5 * planned + rng.random(),
        failure="" if runs else f"kernel/pipe.c:88:9: error: 'ring' undeclared {ATTACK}", cached=stage == "parent",
    )  # fmt: skip


def _run(path: Path, rng: random.Random, share: float) -> Run:
    draw = rng.random()
    outcome = Outcome.INFRA if draw > 0.985 else Outcome.CRASHED if draw < share else Outcome.OK
    title = {Outcome.CRASHED: TITLE if rng.random() < 0.85 else "WARNING in pipe_poll", Outcome.INFRA: "lost the machine"}
    boot = "".join(f"[    0.1{index:05d}] probe device {index}\n" for index in range(400))
    whole = CONSOLE.format(boot=boot, attack=ATTACK)
    path.write_text(whole if outcome is Outcome.CRASHED else whole.split("[    0.217331]")[0], encoding="utf-8")
    return Run(outcome, title.get(outcome, ""), boot_s=0.4, elapsed_s=0.7 + rng.random(), console=path)


def foreign_view(folder: Path) -> BisectionView:
    """Return a bisection as a foreign log tells it: no positions, only how many candidates are left."""
    view = make_view(folder)
    left = iter((6793, 3413, 3413, 901, 120, 4, 1))
    steps = tuple(
        replace(step, position=None, spans=(), candidates_left=next(left, 1) if step.stage == "bisect" else None)
        for step in view.steps
    )
    return replace(view, steps=steps, tags=(), n_commits=0)
