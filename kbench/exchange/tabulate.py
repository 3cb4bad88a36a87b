"""Tidy tables of a bisection, to CSV and Parquet. Read `table` and `write_table`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kbench.errors import InputError, MachineLacksError
from kbench.host import storage
from kbench.records import BisectionView
from kbench.text import clean_line
from kbench.widgets.rows import search_rows

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("revisions", "runs", "candidates")
_COLUMNS = {
    "revisions": (
        "step", "commit", "subject", "stage", "verdict", "position", "candidates_left", "n_runs", "n_crashed", "n_decided",
        "build_s", "test_s", "cached", "same_as", "reached", "signature", "failure",
    ),
    "runs": ("step", "commit", "run", "outcome", "title", "boot_s", "elapsed_s", "console"),
    "candidates": ("rank", "commit", "probability"),
}  # fmt: skip


def table(view: BisectionView, of: str = "revisions") -> pd.DataFrame:
    """Return one row a tested revision, a run or a candidate left; seconds in columns that end in `_s`.

    Raises
    ------
    InputError
        No such table.
    """
    import pandas as pd  # `import kbench` must stay light

    if of not in TABLES:
        raise InputError(f"table: expected one of {', '.join(TABLES)}, seen {of!r}; choose among them")
    rows = {"revisions": _revisions, "runs": _runs, "candidates": _candidates}[of](view)
    found = pd.DataFrame(rows, columns=list(_COLUMNS[of]))
    return found.astype({"position": "Int64", "candidates_left": "Int64"}) if of == "revisions" else found


def write_table(found: pd.DataFrame, path: Path) -> None:
    """Write a table, of `table`, a sweep's `results` or a study, as the file's name says: `.csv` or `.parquet`.

    In a CSV file, text that a spreadsheet would take for a formula begins with an apostrophe.

    Raises
    ------
    InputError
        Another ending.
    MachineLacksError
        Parquet without pyarrow.
    """
    check_name(path)
    with storage("table", path.parent):
        if path.suffix == ".csv":
            found.map(_no_formula).to_csv(path, index=False, lineterminator="\n")
        else:
            found.to_parquet(path, engine="pyarrow", index=False)


def check_name(path: Path) -> None:
    """Raise what `write_table` would for this name, before hours of work are lost to it."""
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"table: expected a file named .csv or .parquet, seen {path.name!r}; name it so")
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise MachineLacksError("table: expected pyarrow for Parquet, found none; install kbench[parquet], or write .csv")


def _no_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


def _revisions(view: BisectionView) -> list[dict[str, Any]]:
    renamed = {"step": "index", "candidates_left": "left", "n_crashed": "crashed", "n_decided": "total"}
    return [
        {name: row[renamed.get(name, name)] for name in _COLUMNS["revisions"] if name != "n_runs"} | {"n_runs": len(row["runs"])}
        for row in search_rows(view)
    ]


def _runs(view: BisectionView) -> list[dict[str, Any]]:
    return [
        {
            "step": index,
            "commit": step.commit,
            "run": number,
            "outcome": run.outcome.value,
            "title": clean_line(run.title),
            "boot_s": run.boot_s,
            "elapsed_s": run.elapsed_s,
            "console": run.console.name if run.console else "",
        }
        for index, step in enumerate(view.steps)
        for number, run in enumerate(step.runs)
    ]


def _candidates(view: BisectionView) -> list[dict[str, Any]]:
    return [{"rank": rank, "commit": commit, "probability": p} for rank, (commit, p) in enumerate(view.candidates, 1)]
