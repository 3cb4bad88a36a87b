"""A hand on work that goes on in another thread: paused, let go on, stopped. Read `Hold` first.

What waits for a process or a machine asks `current` for the hold of its thread and hears of a pause at once. Nobody has to
hand it down: builds and runs know nothing of bisections.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from kbench.errors import StoppedError


class Hold:
    """Work starts nothing while this is paused; used from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._paused_at: float | None = None
        self._paused_s = 0.0
        self._stopped = False
        self._listeners: list[Callable[[], None]] = []

    @property
    def paused(self) -> bool:
        """Whether nothing is started and what can be kept is frozen."""
        return self._paused_at is not None

    @property
    def stopped(self) -> bool:
        """Whether the work is to end."""
        return self._stopped

    @property
    def interrupted(self) -> bool:
        """Whether what runs is to be left: paused or stopped."""
        return self.paused or self.stopped

    @property
    def paused_s(self) -> float:
        """Seconds it was paused, until now."""
        with self._changed:
            return self._paused_s + (0.0 if self._paused_at is None else time.monotonic() - self._paused_at)

    def pause(self) -> None:
        """Have nothing more started until `resume`."""
        with self._changed:
            if self._paused_at is None and not self._stopped:
                self._paused_at = time.monotonic()
                self._tell()

    def resume(self) -> None:
        """Go on."""
        with self._changed:
            self._paused_s = self.paused_s
            self._paused_at = None
            self._tell()

    def stop(self) -> None:
        """End the work; what waits raises StoppedError."""
        with self._changed:
            self._stopped = True
            self.resume()

    def wait(self) -> None:
        """Return once nothing is paused; StoppedError when the work is to end."""
        with self._changed:
            self._changed.wait_for(lambda: not self.paused)
            if self._stopped:
                raise StoppedError("bisection: stopped by hand; start it again to go on")

    @contextlib.contextmanager
    def heard(self, listener: Callable[[], None]) -> Iterator[None]:
        """Have `listener` called after every change, from whatever thread made it; at once if there is something to hear."""
        with self._changed:
            self._listeners.append(listener)
            if self.interrupted:
                listener()
        try:
            yield
        finally:
            with self._changed:
                self._listeners.remove(listener)

    def _tell(self) -> None:
        self._changed.notify_all()
        for listener in tuple(self._listeners):
            listener()


_current: ContextVar[Hold | None] = ContextVar("hold", default=None)


def current() -> Hold:
    """Return the hold that this thread works under; one that nobody has a hand on, if there is none."""
    return _current.get() or Hold()


@contextlib.contextmanager
def under(hold: Hold) -> Iterator[None]:
    """Work under a hold, in this thread."""
    token = _current.set(hold)
    try:
        yield
    finally:
        _current.reset(token)
