"""Views of one bisection: widgets, pages, figures and tables. Every one draws `records.BisectionView` and decides nothing.

The names below are imported when they are first used, so that importing this package loads no Jupyter and no matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kbench.text import clean as clean

if TYPE_CHECKING:
    from kbench.widgets.belief import BeliefWidget as BeliefWidget
    from kbench.widgets.belief import belief_figure as belief_figure
    from kbench.widgets.dashboard import Dashboard as Dashboard
    from kbench.widgets.export import export_html as export_html
    from kbench.widgets.figures import costs_figure as costs_figure
    from kbench.widgets.figures import rates_figure as rates_figure
    from kbench.widgets.figures import search_figure as search_figure
    from kbench.widgets.live import LiveView as LiveView
    from kbench.widgets.page import html_report as html_report
    from kbench.widgets.tables import flakiness_table as flakiness_table
    from kbench.widgets.tables import revisions_table as revisions_table
    from kbench.widgets.widget import RatesWidget as RatesWidget
    from kbench.widgets.widget import SearchWidget as SearchWidget

_HOMES = {
    "SearchWidget": "widget",
    "RatesWidget": "widget",
    "LiveView": "live",
    "BeliefWidget": "belief",
    "belief_figure": "belief",
    "Dashboard": "dashboard",
    "html_report": "page",
    "export_html": "export",
    "search_figure": "figures",
    "rates_figure": "figures",
    "costs_figure": "figures",
    "flakiness_table": "tables",
    "revisions_table": "tables",
}
__all__ = list(_HOMES)  # the table above is the list


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
