"""Tables for a notebook. Read `flakiness_table` first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kbench.records import BisectionView
from kbench.widgets.rows import rate_rows

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("revision", "subject", "verdict", "runs", "crashed", "rate", "low", "high", "titles")


def flakiness_table(view: BisectionView) -> pd.DataFrame:
    """Return one line a tested revision: how often it crashed, the 95% interval of its rate, and with which titles.

    `runs` counts all runs, `rate` is of those that reached the reproducer; it is NaN where none did.
    """
    import pandas as pd  # `import kbench` must stay light

    lines = [
        {
            **{name: row[name] for name in ("subject", "runs", "crashed", "rate", "low", "high")},
            "revision": row["commit"][:12],
            "verdict": row["verdict"] or "",
            "titles": "; ".join(f"{times}x {title}" for title, times in row["titles"]),
        }
        for row in rate_rows(view)
    ]
    return pd.DataFrame(lines, columns=list(_COLUMNS)).astype({"rate": float, "low": float, "high": float})
