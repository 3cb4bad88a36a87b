"""What a machine showed becomes an outcome here and nowhere else. Real machines are in test_bisection_qemu."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kbench.errors import InputError, ReproducerError
from kbench.judge import judge
from kbench.machines import Ending, MachineRun
from kbench.records import MachineSpec, Outcome, Run
from kbench.runs import RunSet, repro

SPEC = MachineSpec(("qemu-system-i386",), booted="^up", done="^done")
CONSOLES = Path(__file__).parent / "data" / "console"


def shown(ending: Ending, text: str = "", detail: str = "why") -> MachineRun:
    return MachineRun(ending=ending, detail=detail, booted=True, boot_s=0.1, elapsed_s=0.2, text=text, console=None, argv=())


@pytest.mark.parametrize(
    ("ending", "with_done", "without_done"),
    [
        (Ending.DONE, (Outcome.OK, ""), (Outcome.OK, "")),
        (Ending.SHUTDOWN, (Outcome.CRASHED, "lost connection to test machine"), (Outcome.OK, "")),
        (Ending.SILENT, (Outcome.CRASHED, "no output from test machine"), (Outcome.OK, "")),
        (Ending.TIMED_OUT, (Outcome.CRASHED, "test machine timed out"), (Outcome.OK, "")),
        (Ending.RESET, (Outcome.CRASHED, "unexpected kernel reboot"), (Outcome.CRASHED, "unexpected kernel reboot")),
        (Ending.NOT_BOOTED, (Outcome.BOOT_FAILED, "why"), (Outcome.BOOT_FAILED, "why")),
        (Ending.TEST_FAILED, (Outcome.TEST_FAILED, "why"), (Outcome.TEST_FAILED, "why")),
    ],
)
def test_endings(ending: Ending, with_done: tuple[Outcome, str], without_done: tuple[Outcome, str]) -> None:
    assert judge(shown(ending), SPEC) == with_done
    assert judge(shown(ending), replace(SPEC, done=None)) == without_done


def test_every_ending_has_an_outcome() -> None:
    for ending in Ending:
        if ending is not Ending.LOST:
            assert judge(shown(ending, "BUG: x\n"), SPEC)[0] is not Outcome.INFRA


def test_titles() -> None:
    console = (CONSOLES / "lab-lkdtm-null.txt").read_text() if (CONSOLES / "lab-lkdtm-null.txt").exists() else ""
    spec = replace(SPEC, crashed=r"^!! (?P<title>.*)")
    assert judge(shown(Ending.CRASHED, "hello\n!! the sky fell at 0xdeadbeef\n"), spec)[1] == "the sky fell at ADDR"
    assert judge(shown(Ending.CRASHED, "hello\nPANIC now\n"), replace(SPEC, crashed="^PANIC.*"))[1] == "PANIC now"
    assert judge(shown(Ending.PANICKED, "nothing", "guest panicked"), SPEC)[1] == "guest panicked"
    if console:
        assert "in " in judge(shown(Ending.CRASHED, console), SPEC)[1]


def test_boot_failure_names_its_crash() -> None:
    text = "Kernel panic - not syncing: VFS: Unable to mount root fs\n"
    assert judge(shown(Ending.NOT_BOOTED, text), SPEC) == (Outcome.BOOT_FAILED, "kernel panic: VFS: Unable to mount root fs")


def test_not_booting_can_be_the_bug() -> None:
    spec = replace(SPEC, boot_failure="crash")
    assert judge(shown(Ending.NOT_BOOTED, "noise 17"), spec) == (Outcome.CRASHED, "boot failed")


def test_linux_words_can_be_switched_off() -> None:
    spec = replace(SPEC, linux_crashes=False, crashed="^oh no.*")
    assert (
        judge(shown(Ending.CRASHED, "WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2\noh no, it broke\n"), spec)[1] == "oh no, it broke"
    )


def test_run_set_says_what_happened() -> None:
    runs = RunSet((Run(Outcome.OK),) * 13 + (Run(Outcome.CRASHED, "WARNING in <f>"),) * 7 + (Run(Outcome.INFRA, "lost"),))
    assert (runs.rate.k, runs.rate.n) == (7, 20), "what broke by itself says nothing"
    assert str(runs.rate) == "0.35 [0.18, 0.57] 95%"
    assert "13 OK, 7 crashed: WARNING in <f>, 1 infra problem: lost" in str(runs)
    assert "<f>" not in runs._repr_html_()


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 run or more"):
        repro(None, runs=0)  # type: ignore[arg-type]  # not looked at
    with pytest.raises(ReproducerError, match="gone"):
        repro(None, tmp_path / "gone")  # type: ignore[arg-type]
