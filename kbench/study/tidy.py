"""Results of studies as tidy tables: a row a thing, shares from 0 to 1, units in the columns' names. Read `scores_table` first.

`kbench.exchange.tabulate.write_table` writes them to CSV and Parquet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from kbench.study.scores import Score
from kbench.study.table import Row, Table
from kbench.study.trials import Trial
from kbench.text import clean_line

if TYPE_CHECKING:
    import pandas as pd

_NESTED = ("calibration", "failed")


def scores_table(scores: Sequence[Score]) -> pd.DataFrame:
    """Return one row a strategy; what is said of its calibration is in columns that begin with `calibration_`."""
    import pandas as pd  # `import kbench` must stay light

    rows = []
    for one in map(asdict, scores):
        calibration = {f"calibration_{name}": value for name, value in one["calibration"].items() if name != "bands"}
        failed = {f"failed_{stage}": one["failed"].get(stage, 0.0) for stage in "ABC"}
        rows.append({name: value for name, value in one.items() if name not in _NESTED} | failed | calibration)
    return pd.DataFrame(rows)


def trials_table(trials: Sequence[Trial]) -> pd.DataFrame:
    """Return one row a search; `number` is its world's, the same for each strategy."""
    import pandas as pd

    return pd.DataFrame(map(asdict, trials))


def analysis_table(tables: Sequence[Table]) -> pd.DataFrame:
    """Return one row a number of the published analysis: `table`, `row`, `column`, `value`."""
    import pandas as pd

    rows = [
        {"table": one.title, "row": " / ".join(clean_line(cell) for cell in row if isinstance(cell, str)),
         "column": column or "value", "value": float(cell)}
        for one in tables
        for row in one.rows
        for column, cell in zip(one.columns, row, strict=True)
        if not isinstance(cell, str)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["table", "row", "column", "value"])


def logs_table(logs: Sequence[Row]) -> pd.DataFrame:
    """Return one row a log of a collection, as `read_rows` gives them."""
    import pandas as pd

    return pd.DataFrame([_plain(log) for log in logs]).drop(columns="id", errors="ignore")


def tests_table(logs: Sequence[Row], tests: Sequence[Row]) -> pd.DataFrame:
    """Return one row a tested revision of a collection; `log` is the log's name, `titles` those of its crashes."""
    import pandas as pd

    names = {log["id"]: log["name"] for log in logs}
    rows = [
        {**test, "log": names[test["log"]], "titles": "; ".join(f"{n}x {title}" for title, n in test["titles"].items())}
        for test in tests
    ]
    return pd.DataFrame([_plain(row) for row in rows])


def _plain(row: Row) -> dict[str, object]:
    # Names and titles are a log's: nothing in them steers a terminal or hides in a table.
    return {name: clean_line(value, 1000) if isinstance(value, str) else value for name, value in row.items()}
