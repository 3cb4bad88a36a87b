"""Figures for papers: every result draws itself, in inches, with units; SVG and PDF keep text and are the same each time."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter

from kbench import paper
from kbench.errors import InputError
from kbench.records import Outcome, Run
from kbench.runs import RunSet
from kbench.search import Costs
from kbench.study import WORLDS, compare
from kbench.study.preflight import preflight
from kbench.study.scores import Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ATTACK = "WARNING in <script>alert(1)</script> $\\frac$ \x1b[31m\u202e"
CRASH, OK = Run(Outcome.CRASHED, ATTACK), Run(Outcome.OK)
RUNS = RunSet((OK, CRASH, OK, Run(Outcome.INFRA, "lost the machine"), CRASH, Run(Outcome.BOOT_FAILED, "no init")) * 3)


@pytest.fixture(scope="module")
def scores() -> Scores:
    return compare(["git", "bayes"], replace(WORLDS["noisy"], commits=40), trials=6, jobs=1)


def drawn(scores: Scores) -> dict[str, Axes]:
    """One of each that a result can draw."""
    planned = preflight(30, (6, 20), costs=Costs(build=60.0, run=5.0, width=2), trials=12, jobs=1)
    figures = {f"runs-{what}": RUNS.plot(what, width_in=5) for what in ("rate", "outcomes")}
    figures |= {f"scores-{what}": scores.plot(what, width_in=5) for what in ("cost", "calibration", "answers")}
    return {**figures, "preflight": planned.plot(width_in=5)}


def test_every_result_draws_itself(scores: Scores, tmp_path: Path) -> None:
    """So wide, with labels that have a unit, no title, its text as text, the same file whenever it is drawn."""
    first, again = drawn(scores), drawn(scores)
    units = ("runs", "hours", "minutes", "share", "probability", "rate")
    for name, axes in first.items():
        figure: Any = axes.get_figure(root=True)
        assert (figure.get_figwidth(), figure.get_suptitle()) == (5, "")
        assert any(unit in axes.get_xlabel() for unit in units), name
        assert DisplayFormatter().format(axes)[0]["image/png"].startswith(b"\x89PNG"), "seen in a notebook"
        for ending in (".svg", ".pdf"):
            paper.save(axes, tmp_path / f"{name}{ending}")
            paper.save(again[name], tmp_path / f"again{ending}")
            assert (tmp_path / f"{name}{ending}").read_bytes() == (tmp_path / f"again{ending}").read_bytes(), name
        texts = {node.text for node in ET.parse(tmp_path / f"{name}.svg").iter("{http://www.w3.org/2000/svg}text")}
        assert axes.get_xlabel() in texts, name
        assert b"/FontFile2" in (tmp_path / f"{name}.pdf").read_bytes(), "TrueType: text can be found and copied"
    svg = (tmp_path / "runs-outcomes.svg").read_text()
    assert "crashed: WARNING in &lt;script&gt;alert(1)&lt;/script&gt; $\\frac$" in svg
    assert "<script" not in svg and "\x1b" not in svg and "\u202e" not in svg


def test_rate_is_drawn_run_by_run() -> None:
    """The line ends at the rate, the band at its interval; what says nothing changes neither."""
    axes = RUNS.plot()
    (line,) = axes.lines
    found = np.asarray(line.get_ydata(), dtype=float)
    assert found[-1] == RUNS.rate.estimate == 0.5 and found[2] == found[3] == pytest.approx(1 / 3)
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() >= 0 and RUNS.rate.low in band[:, 1] and RUNS.rate.high in band[:, 1]
    assert sum(len(marks.get_offsets()) for marks in axes.collections[1:]) == len(RUNS.runs)
    assert len(RunSet(()).plot("outcomes").patches) == 0, "no run, no bar"
    assert RunSet((OK,)).plot("rate").get_ylabel() == "crash rate of one run"


def test_wrong_wishes_are_said(scores: Scores, tmp_path: Path) -> None:
    for wish in (lambda: RUNS.plot("pie"), lambda: scores.plot("pie")):
        with pytest.raises(InputError, match=r"^plot: expected one of .*, seen 'pie'; choose among them$"):
            wish()
    with pytest.raises(InputError, match=r"3\.3 to 20 inches"):
        RUNS.plot(width_in=2)
    with pytest.raises(InputError, match=r"\.svg, \.pdf, \.png"):
        paper.save(RUNS.plot(), tmp_path / "a.gif")
