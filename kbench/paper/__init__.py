"""Figures for papers, by matplotlib. What `.plot()` of a result gives, `save` writes; `style` says how all of them look."""

from __future__ import annotations

from kbench.paper.style import save

__all__ = ["save"]
