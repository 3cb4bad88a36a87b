"""The two widgets, `SearchWidget` and `RatesWidget`: they carry rows to the drawing code. Read `BisectionWidget.update` first.

All state is in synced traits, so a saved notebook shows them without a kernel, consoles included.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import anywidget
import traitlets

from kbench.records import BisectionView
from kbench.text import clean_line
from kbench.widgets import assets, payload, rows


class BisectionWidget(anywidget.AnyWidget):
    """One picture of a bisection. `update` shows a later moment of it."""

    _esm = assets.MODULE
    _css = assets.STYLE
    picture = traitlets.Unicode().tag(sync=True)
    head = traitlets.Dict().tag(sync=True)
    rows: Any = traitlets.List().tag(sync=True)
    consoles: Any = traitlets.List().tag(sync=True)

    def __init__(self, view: BisectionView) -> None:
        self._view = view
        super().__init__(**payload.of(self.picture_name, view))

    picture_name = ""

    def update(self, view: BisectionView) -> None:
        """Show `view`; the browser draws it at its next frame, also while a cell runs."""
        self._view = view
        with self.hold_sync():
            for name, value in payload.of(self.picture_name, view).items():
                self.set_trait(name, value)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Add a still picture of a finished bisection, for viewers that do not run a notebook's code."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        data["text/plain"] = f"{clean_line(self._view.name)}: {self.picture_name}, live where the notebook is trusted"
        if self._view.outcome is not None:
            data["text/plain"] = rows.answer(self._view)
            data["image/png"] = base64.b64encode(self._still()).decode("ascii")
        return data, metadata

    def _still(self) -> bytes:
        from kbench.widgets import figures  # matplotlib, only for a still picture

        figure = figures.search_figure(self._view) if self.picture_name == "search" else figures.rates_figure(self._view)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=96)
        return file.getvalue()


class SearchWidget(BisectionWidget):
    """The search: every tested revision over the history, the candidates that are left, consoles on a click."""

    picture_name = "search"


class RatesWidget(BisectionWidget):
    """The crash rate of every tested revision, with its interval."""

    picture_name = "rates"
