"""Somebody's bisection log, read and drawn. Read `replay_log`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbench import syzbot
from kbench.errors import InputError, LogError
from kbench.host import storage
from kbench.records import BisectionView
from kbench.text import clean_line

#: No bisection log is longer; the longest known has a megabyte.
MAX_LOG_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Replay:
    """A log that was read."""

    text: str
    view: BisectionView

    def to_json(self) -> dict[str, Any]:
        """Return the answer and the steps as JSON values."""
        seen = self.view
        steps = [
            {
                "stage": step.stage,
                "commit": step.commit,
                "subject": step.subject,
                "verdict": step.verdict.value if step.verdict else None,
                "runs": {outcome.value: n for outcome, n in step.counts.items()},
                "titles": dict(step.titles),
                "left": step.candidates_left,
            }
            for step in seen.steps
        ]
        return {
            "kind": seen.kind,
            "outcome": seen.outcome,
            "culprit": seen.culprit,
            "culprit_subject": seen.culprit_subject,
            "build_s": seen.build_s,
            "test_s": seen.test_s,
            "steps": steps,
        }

    def draw(self, folder: Path) -> list[Path]:
        """Draw the search, the rates and the costs, and the page with all of it; return the files."""
        from kbench.widgets.figures import costs_figure, rates_figure, search_figure
        from kbench.widgets.page import html_report

        with storage("replay", folder):
            folder.mkdir(parents=True, exist_ok=True)
            files = []
            for name, figure in (("search", search_figure), ("rates", rates_figure), ("costs", costs_figure)):
                files.append(folder / f"{name}.svg")
                figure(self.view).savefig(files[-1])
            files.append(folder / "replay.html")
            files[-1].write_text(html_report(self.view, log_text=self.text), encoding="utf-8", errors="replace")
        return files


def replay_log(path: Path) -> Replay:
    """Read a bisection log, kbench's or syzbot's.

    Raises
    ------
    InputError
        No such file, or no bisection log.
    """
    try:
        if path.stat().st_size > MAX_LOG_BYTES:
            raise LogError(f"replay: expected a log below {MAX_LOG_BYTES} bytes, {path} is larger; give a bisection log")
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise InputError(f"replay: expected a log at {path}, {(error.strerror or str(error)).lower()}; check the path") from error
    return Replay(text, syzbot.view(syzbot.read_log(text)))


def replay_rows(view: BisectionView) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield a table row a step: stage, revision, verdict, runs, commits left, titles."""
    for step in view.steps:
        runs = ", ".join(f"{n} {outcome.value}" for outcome, n in step.counts.most_common()) or clean_line(step.failure)[:60]
        left = "" if step.candidates_left is None else str(step.candidates_left)
        titles = ", ".join(clean_line(title) for title in step.titles)
        yield step.stage, step.commit[:12], step.verdict.value if step.verdict else "", runs, left, titles[:80]


def replay_summary(view: BisectionView) -> str:
    """Return the answer in one line."""
    answer = (
        f"{view.culprit[:12]} {clean_line(view.culprit_subject)}"
        if view.culprit
        else f"{len(view.candidates)} candidates"
        if view.candidates
        else ""
    )
    return (
        f"{view.kind}: {view.outcome} {answer}; {len(view.steps)} revisions, build {view.build_s:.0f} s, test {view.test_s:.0f} s"
    )
