"""A leash for a process group that another thread, or the end of this process, has to end. Read `Leash`."""

from __future__ import annotations

import subprocess
import threading

from kbench.host import require


class Leash:
    """Ends a process group: on `end`, and when this process dies, whatever of.

    A Jupyter kernel leads a process group of its own, with all it starts: Ctrl-C in a terminal does not reach it, and who is
    killed cannot end it. So a shell waits at a pipe of ours, and kills the group when the pipe closes.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._guard: subprocess.Popen[bytes] | None = None
        self.ended = False

    def hold(self, group: int) -> None:
        """Take a process group; one that comes after `end` ends at once."""
        # A session of its own: what stops this process by its group or terminal must not stop the guard first.
        argv = [require("sh", "notebook"), "-c", 'read -r _; kill -s KILL -- "-$0"', str(group)]
        with self._mutex:
            self._guard = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
            if self.ended:
                self._close()

    def end(self) -> None:
        """End what is held and what will be; from any thread, any number of times."""
        with self._mutex:
            self.ended = True
            self._close()

    def _close(self) -> None:
        if self._guard is not None:
            self._guard.communicate()
            self._guard = None
