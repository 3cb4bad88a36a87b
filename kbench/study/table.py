"""The published analysis, of any collection of logs. Pure; read `tables` first.

After Gu, Zhang, Cao, Tan, Yang, How well industry-level cause bisection works in real-world, FSE Companion 2024.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

Row = Mapping[str, Any]
_DEPTHS = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 10), (11, 20), (21, 10**9))
_TITLES = ((1, 1), (2, 2), (3, 3), (4, 5), (6, 10), (11, 10**9))
_RATES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.999, 1.0)
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Table:
    """One table: a title, columns, rows of cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def tables(logs: Sequence[Row], tests: Sequence[Row], truth: Mapping[str, Row] | None = None) -> list[Table]:
    """Return all tables; those about accuracy need the truth, by name of the log.

    Parameters
    ----------
    logs, tests : sequences of rows
        As `read_rows` returns them.
    truth : mapping
        Rows of truth.csv; logs that are not named there count where no truth is needed.
    """
    of_log: dict[int, list[Row]] = {log["id"]: [] for log in logs}
    for test in tests:
        of_log[test["log"]].append(test)
    found = [_outcomes(logs), _skips(of_log), _costs(logs, of_log)]
    if truth:
        known = [(log, of_log[log["id"]], truth[name]) for log in logs if (name := true_name(log)) in truth]
        found += [_failures(known), *_accuracy(known)]
    return found


def true_name(log: Row) -> str:
    """Return the name of a log as tables of the truth have it: without folders and endings."""
    return str(log["name"]).rpartition("/")[2].partition(".")[0]


def _outcomes(logs: Sequence[Row]) -> Table:
    counts = Counter(log["outcome"] for log in logs)
    return Table("How they ended", ("outcome", "logs"), tuple(counts.most_common()))


def _failures(known: Sequence[tuple[Row, Sequence[Row], Row]]) -> Table:
    counts = Counter((row["result_catergory"], row["wrong_stage"].strip("/"), row["reason"].strip("/")) for _, _, row in known)
    rows = ((*key, counts[key]) for key in sorted(counts))
    return Table("Where and why they went wrong", ("answer", "stage", "reason", "logs"), tuple(rows))


def _accuracy(known: Sequence[tuple[Row, Sequence[Row], Row]]) -> list[Table]:
    answers = [(tests, row["result_catergory"] == "correct") for _, tests, row in known if row["result_catergory"] != "no output"]
    return [
        _share("Right, by releases walked", answers, lambda tests: _between(_walked(tests), _DEPTHS)),
        _share("Right, by share of crashes on the original commit", answers, _first_rate),
        _share("Right, by titles in the whole log", answers, lambda tests: _between(len(_titles(tests)), _TITLES)),
        _share("Right, by whether a verdict of the search rests on one crash", answers, _one_crash),
    ]


def _share(title: str, answers: Sequence[tuple[Sequence[Row], bool]], key: Callable[[Sequence[Row]], Hashable]) -> Table:
    right, all_ = Counter[Any](), Counter[Any]()
    for tests, correct in answers:
        name = key(tests)
        right[name] += correct
        all_[name] += 1
    rows = ((name[-1], right[name], all_[name], right[name] / all_[name]) for name in sorted(all_))
    return Table(title, ("", "right", "answers", "share"), tuple(rows))


def _walked(tests: Sequence[Row]) -> int:
    return sum(test["stage"].startswith("release") for test in tests)


def _titles(tests: Sequence[Row]) -> set[str]:
    return {title for test in tests for title in test["titles"]}


def _between(n: int, ranges: Sequence[tuple[int, int]]) -> tuple[int, str]:
    for low, high in ranges:
        if n <= high:
            return low, str(low) if low == high else f"{low} to {high}" if high < 10**9 else f"{low} and more"
    raise AssertionError(n)  # the last range has no end


def _first_rate(tests: Sequence[Row]) -> tuple[float, str]:
    first = next((test for test in tests if test["stage"] == "original"), None)
    told = first["crashed"] + first["clean"] if first else 0
    if not first or not told:
        return -1.0, "none told"
    share = first["crashed"] / told
    if share == 1:
        return 1.0, "all"
    low = max(edge for edge in _RATES if edge <= share)
    return low, f"from {low:g}"


def _one_crash(tests: Sequence[Row]) -> tuple[bool, str]:
    once = any(test["crashed"] == 1 and test["clean"] >= 5 for test in tests if test["stage"] == "bisect")
    return once, "one crash, five clean runs or more" if once else "no such verdict"


def _skips(of_log: Mapping[int, Sequence[Row]]) -> Table:
    searches = [[test["verdict"] == "skip" for test in tests if test["stage"] == "bisect"] for tests in of_log.values()]
    searches = [flags for flags in searches if flags]
    steps = [pair for flags in searches for pair in pairwise(flags)]
    rows = (
        ("tests in searches", sum(map(len, searches))),
        ("skipped", sum(map(sum, searches))),
        ("skipped first", _mean([flags[0] for flags in searches])),
        ("skipped after a skip", _mean([later for before, later in steps if before])),
        ("skipped after a verdict", _mean([later for before, later in steps if not before])),
        ("searches without a skip", _mean([not any(flags) for flags in searches])),
        ("searches with ten or more", _mean([sum(flags) >= 10 for flags in searches])),
    )
    return Table("Revisions that could not be tested", ("", ""), rows)


def _costs(logs: Sequence[Row], of_log: Mapping[int, Sequence[Row]]) -> Table:
    finished = [log for log in logs if log["outcome"] == "culprit"]
    measured = {
        "revisions tested": [log["revisions"] for log in finished],
        "verdicts in the search": [sum(test["stage"] == "bisect" for test in of_log[log["id"]]) for log in finished],
        "hours": [log["total_s"] / 3600 for log in finished],
        "hours building": [log["build_s"] / 3600 for log in finished],
        "hours testing": [log["test_s"] / 3600 for log in finished],
    }
    rows = ((name, float(np.mean(v)), *(float(q) for q in np.quantile(v, _QUANTILES))) for name, v in measured.items() if v)
    columns = ("of those that name a culprit", "mean", *(f"{q:.0%}" for q in _QUANTILES))
    return Table("What they cost", columns, tuple(rows))


def _mean(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0
