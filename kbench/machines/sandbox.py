"""Does a QEMU lock itself in? Read `sandbox`. One effect: it is asked, once a program and process."""

from __future__ import annotations

import functools
import shutil
import subprocess

#: After its start QEMU has no more business with any of these (qemu(1), -sandbox).
OPTIONS = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
ASK_S = 10.0


@functools.cache
def sandbox(program: str) -> tuple[str, ...]:
    """Return the options that lock a QEMU in; none for a QEMU, or a host, that cannot."""
    path = shutil.which(program)
    if path is None:
        return ()
    # The list of processors is printed once the filter stands.
    argv = [path, *OPTIONS, "-machine", "none", "-display", "none", "-cpu", "help"]
    try:
        ended = subprocess.run(argv, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=ASK_S)
    except subprocess.TimeoutExpired:
        return ()
    return OPTIONS if ended.returncode == 0 else ()
