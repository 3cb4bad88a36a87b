"""A bisection watched while it runs, in a notebook; elsewhere it does nothing. Read `LiveView` first."""

from __future__ import annotations

import sys
import threading
import time
from contextvars import copy_context
from typing import TYPE_CHECKING

from kbench.records import BisectionView

if TYPE_CHECKING:
    from kbench.widgets.widget import BisectionWidget

INTERVAL_S = 0.1  # between two updates; a browser draws no faster than people look


def in_notebook() -> bool:
    """Tell whether this code runs in a Jupyter kernel, without importing IPython to find out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class LiveView:
    """Shows the search and the rates below the running cell; `update` with every change of the view."""

    def __init__(self, view: BisectionView) -> None:
        self._pictures: Pictures | None = None
        if in_notebook():
            from IPython.display import display  # loaded already: this is a notebook

            self._pictures = Pictures(view)
            display(*self._pictures.widgets)  # type: ignore[no-untyped-call]  # IPython has no types

    @property
    def shown(self) -> bool:
        """Whether somebody can see it: it was made in a notebook."""
        return self._pictures is not None

    def update(self, view: BisectionView) -> None:
        """Show `view`, now or within `INTERVAL_S`."""
        if self._pictures is not None:
            self._pictures.update(view)


class Pictures:
    """The widgets of a running bisection.

    Updates closer than `INTERVAL_S` are merged; the last one is always sent, if need be by a timer.
    """

    def __init__(self, view: BisectionView) -> None:
        from kbench.widgets.widget import RatesWidget, SearchWidget

        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._latest = view
        self._sent_s = time.monotonic()
        self.widgets: tuple[BisectionWidget, ...] = (SearchWidget(view), RatesWidget(view))

    def update(self, view: BisectionView) -> None:
        """Show `view`, now or within `INTERVAL_S`."""
        with self._lock:
            self._latest = view
            wait_s = self._sent_s + INTERVAL_S - time.monotonic()
            if wait_s <= 0 or view.outcome is not None:
                self._send()
            elif self._timer is None:
                # The context holds the cell's message: without it a front end cannot tell which cell an update is of.
                self._timer = threading.Timer(wait_s, copy_context().run, (self._send_late,))
                self._timer.daemon = True
                self._timer.start()

    def _send_late(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._send()

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for widget in self.widgets:
            widget.update(self._latest)
        self._sent_s = time.monotonic()
