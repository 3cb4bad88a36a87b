"""What lasts as long as a process: it goes with it, and after a kill with the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

USES = "from kbench.scratch import process_folder; print(process_folder(), flush=True); "


def test_it_goes_with_its_process_or_with_the_next(tmp_path: Path) -> None:
    def start(then: str) -> tuple[subprocess.Popen[str], Path]:
        environment = os.environ | {"TMPDIR": str(tmp_path)}
        pipe = subprocess.PIPE
        process = subprocess.Popen([sys.executable, "-c", USES + then], stdin=pipe, stdout=pipe, text=True, env=environment)
        assert process.stdout
        return process, Path(process.stdout.readline().strip())

    alive, kept = start("input()")
    victim, left = start("input()")
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert left.is_dir()
    fork, gone = start("import os, sys; (pid := os.fork()) or sys.exit(); os.wait(); print(process_folder().is_dir())")
    assert fork.communicate()[0] == "True\n"
    assert [*tmp_path.iterdir()] == [kept], (left, gone)
    alive.communicate("\n")
    assert not [*tmp_path.iterdir()]
