"""Tables of studies and second opinions, for a notebook. Read `ranking_table` and `scores_table` first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kbench.opinion import Posterior, Reason, Rejudged, doubt
from kbench.records import Outcome
from kbench.text import clean_line

if TYPE_CHECKING:
    import pandas as pd

    from kbench.study import Score
    from kbench.study.frontier import Point
    from kbench.study.opinions import Ranked
    from kbench.study.table import Table

_TRUTH = {True: "right", False: "wrong", None: ""}


def ranking_table(ranking: Sequence[Ranked]) -> pd.DataFrame:
    """Return one line an answer, most likely wrong first; `truth` is empty where it is not known."""
    import pandas as pd  # `import kbench` must stay light

    lines = [
        {
            "log": clean_line(one.name, 80),
            "P(correct)": one.p_correct,
            "culprit": one.culprit[:12] or "a list",
            "subject": clean_line(one.subject, 80),
            "because": clean_line(one.reason),
            "truth": _TRUTH[one.right],
        }
        for one in ranking
    ]
    return pd.DataFrame(lines, columns=["log", "P(correct)", "culprit", "subject", "because", "truth"]).round(3)


def reasons_table(reasons: Sequence[Reason]) -> pd.DataFrame:
    """Return one line a reason: what it adds to the log odds of an average answer; 0.7 doubles the odds."""
    import pandas as pd

    return pd.DataFrame([{"weight": round(one.weight, 2), "reason": clean_line(one.words)} for one in reasons])


def verdicts_table(revisions: Sequence[Rejudged]) -> pd.DataFrame:
    """Return one line a tested revision: its runs, the verdict it got, and how likely that is right."""
    import pandas as pd

    took = {True: "crashes", False: "clean", None: "not testable"}
    lines = [
        {
            "stage": clean_line(one.tested.step.stage, 60),
            "revision": one.tested.step.commit[:12],
            "crashed": one.tested.step.counts[Outcome.CRASHED],
            "clean": one.tested.step.counts[Outcome.OK],
            "titles": clean_line("; ".join(f"{n}x {title}" for title, n in one.tested.step.titles.most_common(4))),
            "taken for": took[one.tested.crashing],
            "P(right)": one.p_right,
            "doubtful because": clean_line(doubt(one)),
        }
        for one in revisions
    ]
    return pd.DataFrame(lines).round(3).rename_axis("step")


def posterior_table(posterior: Posterior, turned: Posterior, *, least: float = 0.01) -> pd.DataFrame:
    """Return where the bug may begin, most likely first: by all runs, and if one verdict is wrong."""
    import pandas as pd

    names = ["", *(f"{clean_line(one.step.stage, 60)} {one.step.commit[:12]}" for one in posterior.revisions), ""]
    lines = [
        {"after": older or "older than all", "up to": newer or "nowhere", "by all runs": p, "if it is wrong": q,
         "the log's answer": "yes" if place == posterior.named else ""}
        for place, (older, newer, p, q) in enumerate(zip(names, names[1:], posterior.p, turned.p, strict=False))
        if max(p, q) >= least or place == posterior.named
    ]  # fmt: skip
    return pd.DataFrame(lines).sort_values("by all runs", ascending=False, kind="stable", ignore_index=True).round(3)


def scores_table(scores: Mapping[str, Sequence[Score]]) -> pd.DataFrame:
    """Return one line a strategy and kind of worlds: shares in percent, costs a search, what it said of itself."""
    import pandas as pd

    lines = [
        {
            "worlds": world,
            "strategy": one.strategy,
            "searches": one.trials,
            "right %": 100 * one.right,
            "± %": 100 * one.right_error,
            "wrong %": 100 * one.wrong,
            "no answer %": 100 * one.none,
            "builds": one.builds,
            "runs": one.runs,
            "hours": one.hours,
            "said": one.calibration.said,
            "was": one.calibration.right,
            "Brier": one.calibration.brier,
            "90% set holds": one.calibration.coverage_90,
        }
        for world, of_world in scores.items()
        for one in of_world
    ]
    return pd.DataFrame(lines).round(2)


def failures_table(scores: Mapping[str, Sequence[Score]]) -> pd.DataFrame:
    """Return one line a strategy and kind of worlds: where its failures began, in percent of them, and its lists."""
    import pandas as pd

    stages = {"A": "original commit %", "B": "releases %", "C": "range %"}
    lines = [
        {"worlds": world, "strategy": one.strategy, "failures": round((1 - one.right) * one.trials)}
        | {name: 100 * one.failed.get(stage, 0.0) for stage, name in stages.items()}
        | {"lists": one.n_lists, "commits listed": one.listed, "of them hold the culprit": one.lists_hold}
        for world, of_world in scores.items()
        for one in of_world
    ]
    return pd.DataFrame(lines).round(2)


def frontier_table(points: Mapping[str, Sequence[Point]]) -> pd.DataFrame:
    """Return one line a strategy and setting, by kind of worlds; "of the bound": its hours over the least that are possible."""
    import pandas as pd

    lines = [
        {
            "worlds": world,
            "strategy": point.strategy,
            "confidence": "" if point.confidence is None else f"{point.confidence:g}",
            "right %": 100 * point.score.right,
            "± %": 100 * point.score.right_error,
            "wrong %": 100 * point.score.wrong,
            "builds": point.score.builds,
            "runs": point.score.runs,
            "hours": point.score.hours,
            "of the bound": point.score.hours / point.least_hours if point.least_hours else None,
        }
        for world, of_world in points.items()
        for point in of_world
    ]
    return pd.DataFrame(lines).round(2)


def frame(table: Table) -> pd.DataFrame:
    """Return a table of a study for showing, under its title."""
    import pandas as pd

    rows = [[clean_line(cell) if isinstance(cell, str) else cell for cell in row] for row in table.rows]
    shown = pd.DataFrame(rows, columns=_distinct(table.columns)).round(3)
    return shown.rename_axis(columns=table.title)


def _distinct(columns: Sequence[str]) -> list[str]:
    # Some columns have no name, and a frame wants each once.
    return [name or " " * (place + 1) for place, name in enumerate(columns)]
