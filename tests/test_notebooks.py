"""The notebooks that teach, as their readers run them: whole, on real machines, each to a result that is right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kbench import bisect
from kbench.errors import InputError
from kbench.lab import create
from kbench.notebook import execute
from kbench.resources import notebooks_dir
from kbench.widgets.what_if import recorded

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(300)]


def test_start_here_finds_the_planted_culprit(tmp_path: Path) -> None:
    """The culprit is the planted one, and the lesson before it says what its words say."""
    output = tmp_path / "executed.ipynb"
    result = execute(notebooks_dir() / "00_start_here.ipynb", output, {"commits": 120, "folder": tmp_path / "lab"}, timeout_s=120)
    assert result["right"] and result["culprit"] == result["planted"]
    assert Path(result["report"]).is_file()
    cells = {cell["id"]: cell["outputs"] for cell in json.loads(output.read_text())["cells"] if cell["cell_type"] == "code"}
    told = [eval("".join(cells[name][0]["data"]["text/plain"])) for name in ("three", "ten")]
    below = [sum(p for commit, p in one.items() if commit <= 7) for one in told]
    assert 0.05 < below[0] < 0.5 and below[1] < below[0] / 2
    assert output.stat().st_size < 2 << 20


def test_flakiness_measures_the_planted_rate(tmp_path: Path) -> None:
    """The interval is that of the counts, the culprit differs from its parent, and a clean verdict takes what the rate says."""
    output = tmp_path / "executed.ipynb"
    parameters = {"rate": 0.9, "runs": 8, "folder": tmp_path / "lab"}
    result = execute(notebooks_dir() / "flakiness.ipynb", output, parameters, timeout_s=120)
    assert result["low"] < result["rate"] <= result["high"] and result["rate"] > 0.5
    assert result["p_parent"] < 0.01 and result["clean_runs"] >= 2
    assert all(runs == 8 and crashed for crashed, runs in result["counts"]) and len(result["counts"]) >= 3
    assert output.stat().st_size < 2 << 20


def test_what_if_moves_belief_and_question(tmp_path: Path) -> None:
    """Each change gives another line and a still picture; a rarer bug asks for more runs; clean runs overrule a suspicion."""
    output = tmp_path / "executed.ipynb"
    result = execute(notebooks_dir() / "what_if.ipynb", output, {}, timeout_s=120)
    lines = result["lines"]
    assert len(set(lines.values())) == len(lines) == 6
    assert lines["as it was"].endswith("runs: 1") and not lines["rare"].endswith("runs: 1")
    assert "commit 36," in lines["suspect"] and result["p_suspect"] < 0.2
    outputs = [out for cell in json.loads(output.read_text())["cells"] for out in cell.get("outputs", [])]
    assert sum("image/png" in out.get("data", {}) for out in outputs) == 6
    assert output.stat().st_size < 2 << 20


def test_what_if_of_a_recorded_bisection(tmp_path: Path) -> None:
    """It starts where that ended, and turns its observations over; the journal is only read."""
    lab = create(tmp_path / "lab", seed=6, kind="uaf", commits=60)
    ran = bisect(lab.case)
    assert ran.result is not None and ran.result.culprit == lab.culprit
    folder, before = ran.journal_path.parent, ran.journal_path.read_bytes()
    what_if = recorded(folder)
    told = {step.commit for step in ran.view.steps if step.position is not None}
    assert len(what_if.children[0].children) == len(told)
    assert what_if.words.startswith(f"Most likely: {lab.culprit[:12]} ") and what_if.words.endswith("ended: culprit")
    np.testing.assert_allclose(what_if.belief.max(), max(p for _, p in ran.view.candidates), atol=0.02)
    for row, controls in enumerate(what_if.children[0].children):
        if controls.children[-1].value.startswith(lab.culprit[:12]):
            what_if.change(row, crashed=0, passed=20)
    assert lab.culprit[:12] not in what_if.words
    result = execute(notebooks_dir() / "what_if.ipynb", tmp_path / "executed.ipynb", {"recorded": folder}, timeout_s=120)
    assert lab.culprit[:12] in result["lines"]["as it was"] != result["lines"]["suspect"]
    assert ran.journal_path.read_bytes() == before
    with pytest.raises(InputError, match="beside it"):
        recorded(tmp_path)


@pytest.mark.parametrize(
    ("answers", "checked"),
    [
        (
            {"player": "search", "clean_runs": 5, "halvings": 3},
            {"clean_runs": "right", "halvings": "not right", "culprit": "right"},
        ),
        ({"culprit": "0"}, {"clean_runs": "not answered yet", "halvings": "not answered yet", "culprit": "not right"}),
    ],
    ids=["search", "you"],
)
def test_exercises_check_themselves(tmp_path: Path, answers: dict[str, object], checked: dict[str, str]) -> None:
    """Right and wrong answers are told apart, none is told as such; the search finds the culprit when it plays."""
    parameters = {**answers, "commits": 60, "folder": tmp_path / "lab"}
    result = execute(notebooks_dir() / "student_lab.ipynb", tmp_path / "executed.ipynb", parameters, timeout_s=120)
    assert {name: said.partition(":")[0] for name, said in result["checked"].items()} == checked
    assert 3 <= result["search_builds"] < 20
