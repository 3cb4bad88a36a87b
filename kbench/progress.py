"""A progress bar on long work: appears after a second, silent when the output is not a terminal. Read `Progress`."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Any

#: Work that ends sooner shows nothing.
PATIENCE_S = 1.0


class Progress:
    """A bar (or a spinner without a total) on standard error, in a with block.

    Parameters
    ----------
    what : str
        What is being done.
    total : int, optional
        Steps there will be; without it only the text moves.
    enabled : bool
        False shows nothing, e.g. because a live view is there already.
    """

    def __init__(self, what: str, *, total: int | None = None, enabled: bool = True) -> None:
        self._what, self._total, self._done = what, total, 0
        self._lock = threading.Lock()
        self._text = ""
        self._ended = False
        self._bar: Any = None
        self._task: Any = None
        self._timer = threading.Timer(PATIENCE_S, self._open) if enabled and sys.stderr.isatty() else None

    def __enter__(self) -> Progress:
        if self._timer:
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._timer:
            self._timer.cancel()
        with self._lock:
            self._ended = True  # a bar that is just being opened must not appear any more
            if self._bar is not None:
                self._bar.stop()

    def step(self) -> None:
        """One more of the total is done."""
        self._done += 1
        self._draw()

    def show(self, text: str) -> None:
        """Show what is being done now."""
        self._text = f"{self._what}: {text}"
        self._draw()

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        with self._lock:
            if self._ended:
                return
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self._text or self._what, total=self._total)
            self._bar.start()

    def _draw(self) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.update(self._task, description=self._text or self._what, completed=self._done)
