"""Tables for a notebook. Read `flakiness_table` and `revisions_table` first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kbench.records import BisectionView, Outcome
from kbench.text import clean_line
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


def revisions_table(view: BisectionView) -> pd.DataFrame:
    """Return one line a tested revision, in the order of the search: what came of its build, its runs and its liveness.

    `runs` that another revision of the same kernel has made are told by `same kernel as`; `reached` is empty where it was not
    asked or is not known, and `how` says why.
    """
    import pandas as pd  # `import kbench` must stay light

    reached = {True: "yes", False: "no", None: ""}
    lines = [
        {
            "stage": clean_line(step.stage, 60),
            "revision": step.commit[:12],
            "subject": clean_line(step.subject),
            "verdict": step.verdict.value if step.verdict else "",
            "crashed": f"{step.counts[Outcome.CRASHED]} of {len(step.runs)}",
            "reached": reached[step.reached],
            "how": clean_line(step.reach),
            "same kernel as": (step.same_as or "")[:12],
            "build s": round(step.build_s, 1),
            "failure": clean_line(step.failure, 400),
            "notes": clean_line("; ".join(step.notes), 400),
        }
        for step in view.steps
    ]
    return pd.DataFrame(lines)
