"""A bisection in the background: paused, marked, given more runs, stopped and gone on with; real machines."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import kbench
import kbench.running
from kbench.bisection import Bisection, load_case
from kbench.bisection.control import Control
from kbench.errors import InputError, StoppedError
from kbench.lab import Lab, create
from kbench.records import Verdict

pytestmark = pytest.mark.qemu


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return create(tmp_path_factory.mktemp("labs") / "null", seed=6, kind="null", commits=100)


def stages(folder: Path, lab: Lab) -> list[str]:
    """Of the questions in a journal, read without running anything."""
    bisection = Bisection(load_case(lab.case), output=folder)
    bisection.read()
    return [step.stage for step in bisection.steps]


def test_paused_stopped_and_gone_on_with(lab: Lab, tmp_path: Path) -> None:
    """While it is paused no run starts; what a person said is in the journal and told again by the next start."""
    running = kbench.start(lab.case, output=tmp_path)
    while not running.view.steps:
        time.sleep(0.01)
    running.pause()
    assert running.state == "paused"
    before = settled(running)
    time.sleep(1.0)
    assert settled(running) == before, "nothing runs"
    running.mark(lab.culprit, "bad")
    running.more("main", 3)
    running.resume()
    while "more runs" not in [step.stage for step in running.view.steps]:
        assert running.state == "running"
        time.sleep(0.05)
    running.stop()
    with pytest.raises(StoppedError, match="start it again"):
        running.wait(60)
    assert running.state == "stopped"
    report = kbench.start(lab.case, output=tmp_path).wait(120)
    assert report.result is not None
    assert report.result.culprit == lab.culprit
    assert {"marked bad", "more runs"} <= set(stages(tmp_path, lab))
    assert report.log_path.is_file()
    marked = next(step for step in report.view.steps if step.stage == "marked bad")
    assert (marked.commit, marked.verdict, marked.runs) == (lab.culprit, Verdict.BAD, ())


def settled(running: kbench.running.RunningBisection) -> int:
    """How many runs there are once a pause has taken effect."""
    count = -1
    while count != (count := sum(len(step.runs) for step in running.view.steps)):
        time.sleep(0.5)
    return count


def test_a_wrong_mark_is_believed_as_far_as_it_goes(lab: Lab, tmp_path: Path) -> None:
    """A person who knows better changes the answer; the outcome follows what was said."""
    parent = Bisection(load_case(lab.case), output=tmp_path / "x").repository.resolve(f"{lab.culprit}~1")
    running = kbench.start(lab.case, output=tmp_path / "marked", proof=0)
    running.mark(parent, "bad")
    report = running.wait(120)
    assert report.result is not None
    assert report.result.culprit != lab.culprit


def test_revisions_that_are_none_and_wrong_orders(lab: Lab, tmp_path: Path) -> None:
    running = kbench.start(lab.case, output=tmp_path)
    running.pause()
    with pytest.raises(InputError):
        running.mark("no-such-revision", "bad")
    with pytest.raises(InputError, match="marked ugly"):
        running.mark("main", "ugly")
    with pytest.raises(InputError, match="1 run or more"):
        running.more("main", 0)
    with pytest.raises(TimeoutError):
        running.wait(0.1)
    running.stop()
    with pytest.raises(StoppedError):
        running.wait(60)


def test_errors_come_out_of_wait(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "kbench.sqlite").write_text("not a journal")
    running = kbench.start(lab.case, output=tmp_path)
    with pytest.raises(kbench.errors.KbenchError, match="journal"):
        running.wait(60)
    assert running.state == "failed"


def test_the_dashboard_says_what_goes_on(lab: Lab, tmp_path: Path) -> None:
    """Buttons do what they say; hostile words in a field are answered in a label, as text."""
    running = kbench.start(lab.case, output=tmp_path)
    board = running.dashboard()
    pause, stop, state = board.children[0].children
    revision, verdict, mark, _, more = board.children[1].children
    pause.click()
    assert (running.state, pause.description) == ("paused", "Resume")
    assert state.value.startswith("Paused")
    revision.value = "<script>alert(1)</script>"
    mark.click()
    assert "expected" in board.children[3].value
    revision.value, verdict.value = lab.culprit, "bad"
    mark.click()
    assert "taken for bad" in board.children[3].value
    more.click()
    assert "10 times more" in board.children[3].value
    pause.click()
    report = running.wait(120)
    assert report.result is not None
    assert report.result.culprit == lab.culprit
    assert state.value.startswith("Ended")
    assert all(button.disabled for button in (pause, stop, mark, more))
    assert "Most likely: " + lab.culprit[:12] in board.children[4].words
    assert board.children[5].rows, "the search is drawn"


def test_a_stopped_control_starts_nothing(tmp_path: Path, lab: Lab) -> None:
    control = Control()
    control.stop()
    bisection = Bisection(load_case(lab.case), output=tmp_path, control=control)
    with pytest.raises(StoppedError):
        bisection.run()
    assert bisection.steps == []
