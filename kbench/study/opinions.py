"""A second opinion on a folder of logs: which of its answers to trust, and how well such opinions held. Read `collect` first."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kbench.errors import InputError
from kbench.opinion import Reason, judge
from kbench.resources import data_dir
from kbench.study.archive import parse, read_files
from kbench.study.collection import Imported, import_logs, read_rows
from kbench.study.replayed import read_truth
from kbench.study.scores import Band
from kbench.study.table import Row, Table, tables, true_name
from kbench.syzbot import BisectionLog

TRUTH = "truth.csv"  # beside the logs, when it is there


@dataclass(frozen=True, slots=True)
class Ranked:
    """An answer, and what is thought of it."""

    name: str  # of the log
    culprit: str  # hash; "" when it named a list
    subject: str
    p_correct: float
    reason: str  # what moves that most
    right: bool | None  # the truth; None: not known


@dataclass(frozen=True, slots=True)
class Collected:
    """Logs that were read and judged."""

    source: Path  # a log, an archive or a folder
    imported: Imported
    logs: Sequence[Row]
    tests: Sequence[Row]
    truth: Mapping[str, Row]

    def tables(self) -> list[Table]:
        """Return the published analysis, of these logs."""
        return tables(self.logs, self.tests, self.truth)

    def ranking(self) -> list[Ranked]:
        """Return the answers, most likely wrong first."""
        ranked = [self._ranked(log) for log in self.logs if log["p_correct"] is not None]
        return sorted(ranked, key=lambda one: one.p_correct)

    def reliability(self) -> tuple[Band, ...]:
        """Return what was said and what was right, by fifths, of the answers with a known truth; () when there are none."""
        known = [(one.p_correct, one.right) for one in self.ranking() if one.right is not None]
        return fifths([p for p, _ in known], [right for _, right in known])

    def log(self, name: str = "") -> tuple[str, BisectionLog]:
        """Return a log and its name: the one most likely wrong when none is named, or else the first.

        Raises
        ------
        InputError
            No log of that name, or none at all.
        """
        ranked = self.ranking()
        wanted = name or (ranked[0].name if ranked else self.logs[0]["name"] if self.logs else "")
        for found in read_files([self.source]):
            if wanted and found.name == wanted:
                return wanted, parse(found)
        first = next(iter(self.imported.failed.values()), "no file")
        raise InputError(f"study: expected a log {wanted!r} in {self.source}, found none ({first}); name one of the ranking")

    def _ranked(self, log: Row) -> Ranked:
        row = self.truth.get(true_name(log), {})
        reasons = json.loads(log["reasons"])
        right = {"correct": True, "incorrect": False}.get(row.get("result_catergory", ""))
        return Ranked(log["name"], log["culprit"], log["subject"], log["p_correct"], reasons[0][0] if reasons else "", right)


def collect(
    source: Path, folder: Path, *, truth: Path | None = None, show: Callable[[str], None] = lambda name: None
) -> Collected:
    """Read and judge logs.

    Parameters
    ----------
    source : Path
        A log, an archive of logs or a folder of them.
    folder : Path
        Each source has a collection of its own below it; what is there already is not read again.
    truth : Path, optional
        A table like the published one; truth.csv beside the logs when it is there.
    show : callable
        Told the name of each file before it is read.

    Raises
    ------
    InputError, JournalError, StorageError
        As `import_logs` and `read_truth` do.
    """
    own = folder / f"{source.name}-{hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:8]}"
    imported = import_logs([source], own, show=show)
    imported.failed.pop(TRUTH, None)
    beside = source / TRUTH if source.is_dir() else source.parent / TRUTH
    truth = truth or (beside if beside.is_file() else None)
    return Collected(source, imported, *read_rows(own), read_truth(truth) if truth else {})


@dataclass(frozen=True, slots=True)
class Said:
    """What is thought of the answer of one log."""

    words: str
    p_correct: float | None  # None: it cannot be judged, `words` say why
    reasons: tuple[Reason, ...] = ()


def opinion(log: BisectionLog) -> Said:
    """Judge a log, or say why that cannot be done: its path can be looked at all the same."""
    try:
        judgement = judge(log)
    except InputError as error:
        return Said(str(error), None)
    subject = log.culprit[1] if log.culprit else f"one of {len(log.candidates)} commits"
    named = f"{log.candidates[0][:12]} {subject}" if log.culprit else subject
    return Said(f"{named}: right with probability {judgement.p_correct:.0%}", judgement.p_correct, judgement.reasons)


def fifths(said: Sequence[float], right: Sequence[bool]) -> tuple[Band, ...]:
    """Return one band for each fifth of the answers, least sure first; () when there are none."""
    p, truth = np.array(said, dtype=np.float64), np.array(right, dtype=np.float64)
    parts = np.array_split(np.argsort(p, kind="stable"), min(5, len(p))) if len(p) else []
    return tuple(_band(p[part], float(truth[part].mean())) for part in parts)


def measured() -> tuple[Band, ...]:
    """Return how well `judge` did on real bisections, by fifths, each on bugs that it was not fitted to."""
    numbers: dict[str, Any] = json.loads((data_dir() / "judge.json").read_text(encoding="utf-8"))["measured"]["culprit"]
    n = int(numbers["n"])
    parts = zip(np.array_split(np.arange(n), 5), numbers["said_by_fifth"], numbers["was_by_fifth"], strict=True)
    return tuple(_band(np.full(len(part), said), was) for part, said, was in parts)


def _band(said: np.ndarray, right: float) -> Band:
    error = math.sqrt(float((said * (1 - said)).sum())) / len(said)
    return Band(float(said.min()), float(said.max()), len(said), float(said.mean()), right, error)
