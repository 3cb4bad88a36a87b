"""Views of a bisection: the rows they draw, and what untrusted text becomes in them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbench import notebook, syzbot
from kbench.errors import CaseError, InputError, KbenchError
from kbench.records import BisectionView, Outcome, Run, Step, Verdict
from kbench.text import CONSOLE_CHARS, clean, clean_line, crash_at, excerpt
from kbench.widgets import assets, consoles, figures, page, payload, rows, tables
from kbench.widgets.export import DrawWidgets
from kbench.widgets.live import LiveView
from tests import views

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> BisectionView:
    return views.make_view(tmp_path_factory.mktemp("view"))


class Seen(HTMLParser):
    """The elements, attribute names and scripts a browser would find in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.scripts:
            self.scripts[-1] += data


# --- text ------------------------------------------------------------------------------------------------------------


@given(st.text())
def test_clean_leaves_nothing_that_hides(text: str) -> None:
    cleaned = clean(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", cleaned)
    assert clean(cleaned) == cleaned
    cleaned.encode("utf-8")


def test_clean_keeps_letters_and_shows_the_rest() -> None:
    assert clean("\x1b[1;31mBUG\x1b[0m a\rb\x08\u202ec\r\n\tд 漢") == "BUG a␍b␈\\u202ec\n\tд 漢"
    assert clean(b"\xff\x1b]0;title\x07ok") == "�ok"


@pytest.mark.timeout(120)
def test_clean_is_linear() -> None:
    for text in ("\x1b[" * 300_000, "\x1b]" + "x" * 600_000, "\x1b" * 600_000, "\x1b[" + "0;" * 300_000):
        assert len(clean(text)) <= 10 * len(text)


def test_excerpt_keeps_the_crash_of_a_long_console() -> None:
    text = "boot\n" * 20_000 + "x BUG: KASAN: bad\nCall Trace:\n" + "after\n" * 20_000
    shown, crash = excerpt(text)
    assert shown[crash:].startswith("x BUG: KASAN: bad\nCall Trace:")
    assert len(shown) < CONSOLE_CHARS + 200
    assert "characters before this" in shown
    assert "characters after this" in shown


def test_excerpt_keeps_the_end_where_nothing_crashed() -> None:
    shown, crash = excerpt("boot\n" * 20_000 + "VFS: Unable to mount root fs")
    assert crash == -1
    assert shown.endswith("VFS: Unable to mount root fs")
    assert crash_at("all is well\n") == -1


def test_line_is_one_line() -> None:
    assert clean_line("a\n\tb" + "c" * 900) == "a b" + "c" * 196 + "…"


# --- rows ------------------------------------------------------------------------------------------------------------


def test_search_rows_tell_every_step(view: BisectionView) -> None:
    found = rows.search_rows(view)
    assert [row["verdict"] for row in found] == ["bad", "bad", "good", "good", "bad", "skip", "bad", "bad", "bad", "bad", "good"]
    assert [row["left"] for row in found] == [None, None, 100, 50, 25, 25, 11, 5, 2, 1, 1]
    assert [row["commit"] for row in found if row["culprit"]] == [view.culprit]
    for row, step in zip(found, view.steps, strict=True):
        assert len(row["outcomes"]) == len(row["runs"]) == len(step.runs)
        assert row["outcomes"].count("c") == row["crashed"] == step.counts[Outcome.CRASHED]


def test_rate_rows_count_each_run_once(view: BisectionView) -> None:
    """The parent was tested in two steps: one row, both steps' runs; runs that a step lists again do not count again."""
    found = {row["commit"]: row for row in rows.rate_rows(view)}
    assert len(found) == len(view.steps) - 1
    assert found[views.commit(170)]["runs"] == 30
    again = replace(view, steps=(*view.steps, view.steps[-1]))
    assert rows.rate_rows(again) == list(found.values())


def test_rates_are_of_runs_that_reached_the_reproducer() -> None:
    runs = (Run(Outcome.CRASHED, "x"), Run(Outcome.OK), Run(Outcome.INFRA, "i"), Run(Outcome.BOOT_FAILED, "b"))
    step = Step("a" * 40, "s", "bisect", Verdict.BAD, runs)
    [row] = rows.rate_rows(BisectionView("n", "cause", "git", 3, (step,)))
    assert (row["crashed"], row["total"], row["runs"], row["rate"]) == (1, 2, 4, 0.5)
    [row] = rows.rate_rows(BisectionView("n", "cause", "git", 3, (replace(step, runs=runs[2:]),)))
    assert (row["total"], row["rate"], row["low"], row["high"]) == (0, None, 0.0, 1.0)


def test_payload_is_plain_json(view: BisectionView) -> None:
    for picture in payload.PICTURES:
        values = payload.of(picture, view)
        assert json.loads(json.dumps(values, allow_nan=False)) == values
        assert tuple(values) == payload.NAMES


def test_console_shown_is_of_the_first_crashed_run(view: BisectionView) -> None:
    shown = consoles.of_steps(view.steps)
    for step, console in zip(view.steps, shown, strict=True):
        crashed = [index for index, run in enumerate(step.runs) if run.outcome is Outcome.CRASHED]
        assert console["run"] == (crashed[0] if crashed else 0 if step.runs else None)
        assert ("BUG: KASAN" in console["text"]) == bool(crashed)
    assert "undeclared" in shown[5]["text"]  # of the revision that does not build: why


def test_console_of_a_gigabyte_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "console"
    with path.open("wb") as file:  # sparse: no gigabyte is written
        file.write(b"first\n")
        file.truncate(1 << 30)
        file.seek(0, 2)
        file.write(b"\nKernel panic - not syncing: end\n")
    text = consoles.read_console(path)
    assert len(text) < 1 << 20
    assert text.startswith(b"first\n")
    assert text.endswith(b"end\n")


def test_missing_console_says_so(tmp_path: Path) -> None:
    step = Step("a" * 40, "s", "bisect", Verdict.BAD, (Run(Outcome.CRASHED, "x", console=tmp_path / "gone.log"),))
    assert "not readable" in consoles.of_steps([step])[0]["text"]


@pytest.mark.parametrize(
    ("outcome", "words"),
    [("inconclusive", "not be told apart"), ("not reproduced", "did not crash"), ("budget spent", "budget"), ("odd", "odd")],
)
def test_answer_says_why_there_is_none(view: BisectionView, outcome: str, words: str) -> None:
    assert words in rows.answer(replace(view, outcome=outcome, culprit=None))


def test_answer_names_the_culprit(view: BisectionView) -> None:
    assert rows.answer(view) == f"{views.commit(171)[:12]} “{views.subject(171)}” is the first bad commit, 97.3% sure"
    assert "commit that fixed it, > 99.9% sure" in rows.answer(replace(view, kind="fix", confidence=0.9999))


def test_extent_is_the_range_not_the_whole_history() -> None:
    step = Step("a" * 40, "s", "original", None, (), position=900_000)
    assert rows.extent(BisectionView("n", "cause", "git", 300, (step,))) == [899_701, 900_001]
    assert rows.extent(BisectionView("n", "cause", "git", 300, (replace(step, position=None),))) is None


# --- the page --------------------------------------------------------------------------------------------------------


def test_report_keeps_hostile_text_inert(view: BisectionView) -> None:
    hostile = replace(view, name=views.ATTACK, culprit_subject=views.ATTACK, strategy=views.ATTACK)
    text = page.html_report(hostile, log_text=views.ATTACK, facts={views.ATTACK: views.ATTACK})
    seen = Seen(text)
    assert seen.tags.count("script") == 3  # the data of two pictures, and the module
    assert "img" not in seen.tags
    assert not {name for name in seen.attributes if name.startswith("on")} | ({"src", "href", "style"} & seen.attributes)
    assert "\u202e" not in text
    assert [json.loads(script)["picture"] for script in seen.scripts[:2]] == ["search", "rates"]


def test_report_policy_names_the_module_it_carries(view: BisectionView) -> None:
    text = page.html_report(view, log_text="")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "unsafe" not in policy[1]
    assert text.count(f'<script type="module">{assets.page_module()}</script>') == 1


def test_report_tells_all_without_javascript(view: BisectionView) -> None:
    text = re.sub(r"<script.*?</script>", "", page.html_report(view, log_text="the log"), flags=re.DOTALL)
    for step in view.steps:
        assert text.count(f"<code>{step.commit[:12]}</code>") >= 1
    for words in ("is the first bad commit", "the log", "Call Trace", "kernel/pipe.c | 3 +-", "in 10 builds"):
        assert words in text


def test_what_was_not_run_or_not_reached_is_told(view: BisectionView) -> None:
    """A kernel tested already lends its runs and they count once; whether clean runs got there is said with how it was seen."""
    twin = replace(view.steps[4], commit=views.commit(199), same_as=view.steps[4].commit, notes=(f"gcc-11 {views.ATTACK}",))
    missed = replace(view.steps[3], reached=False, reach=f"pipe_read was never entered {views.ATTACK}")
    with_more = replace(view, steps=(*view.steps, twin, missed), n_kernels=53, recipients=("Al <al@example.org>",))
    assert rows.n_runs(with_more) == rows.n_runs(view) + len(missed.runs)
    *_, lent, last = rows.search_rows(with_more)
    assert (lent["same_as"], lent["reached"], last["reached"]) == (view.steps[4].commit, "", "no")
    assert rows.reached(replace(missed, reached=None)) == "not known"
    text = re.sub(r"<script.*?</script>", "", page.html_report(with_more, log_text=""), flags=re.DOTALL)
    for words in (
        "300 commits, 53 kernels",
        f"same kernel as {view.steps[4].commit[:12]}: ",
        "pipe_read was never entered &lt;script&gt;",
        "gcc-11 &lt;script&gt;",
        "Al &lt;al@example.org&gt;",
        ">no</td>",
    ):
        assert words in text, words
    assert "<script>window" not in text


def test_export_draws_what_a_widget_holds_once() -> None:
    """Also where a notebook, which anybody may have written, says that widgets hold each other."""
    values = {"_anywidget_id": "kbench.widgets.belief.BeliefWidget", "picture": "belief", "size": 2, "words": views.ATTACK}
    buffers = [{"path": ["belief"], "encoding": "base64", "data": "AAAAPwAAAD8="}]
    state = {
        "box": {"state": {"children": ["IPY_MODEL_inner", "IPY_MODEL_belief", "IPY_MODEL_gone"]}},
        "inner": {"state": {"children": ["IPY_MODEL_box", "IPY_MODEL_belief"]}},
        "belief": {"state": values, "buffers": buffers},
        "other": {"state": {**values, "_anywidget_id": "somebody.Else"}},
    }
    view = "application/vnd.jupyter.widget-view+json"
    outputs = [{"data": {view: {"model_id": name}, "text/plain": "as it was"}} for name in ("box", "other")]
    saved = {"application/vnd.jupyter.widget-state+json": {"state": state}}
    made = nbformat.from_dict({"cells": [{"outputs": outputs}], "metadata": {"widgets": saved}})
    changed, _ = DrawWidgets().preprocess(made, {})
    ours, foreign = (output.data for output in changed.cells[0].outputs)
    assert foreign == {"text/plain": "as it was"}
    [script] = Seen(ours["text/html"]).scripts
    assert json.loads(script)["belief"] == {"base64": "AAAAPwAAAD8="}
    assert json.loads(script)["words"] == views.ATTACK


def test_report_of_nothing_yet(view: BisectionView) -> None:
    text = page.html_report(BisectionView("empty", "cause", "git", 0, ()), log_text="")
    assert "Searching: 0 revisions tested" in text
    assert "first bad commit" in page.summary_html(view)


@given(st.text())
def test_data_script_ends_only_at_its_end(text: str) -> None:
    element = assets.data_script("x", {"text": text})
    assert element.count("<") == 2
    assert json.loads(element[element.index(">") + 1 : element.rindex("<")])["text"] == text


# --- tables and figures ----------------------------------------------------------------------------------------------


def test_flakiness_table(view: BisectionView) -> None:
    table = tables.flakiness_table(view)
    assert list(table.columns) == ["revision", "subject", "verdict", "runs", "crashed", "rate", "low", "high", "titles"]
    assert table.runs.sum() == sum(len(step.runs) for step in view.steps)
    assert table[table.verdict == "skip"].rate.isna().all()
    assert ((table.low <= table.rate) & (table.rate <= table.high))[table.rate.notna()].all()
    assert tables.flakiness_table(replace(view, steps=())).empty


@pytest.mark.parametrize("draw", [figures.search_figure, figures.rates_figure, figures.costs_figure])
def test_figures_draw_whatever_there_is(tmp_path: Path, draw: object, view: BisectionView) -> None:
    """Also a foreign log, the first moment, and subjects that matplotlib would take for formulas."""
    steps = tuple(replace(step, subject="$a_{$", stage="$^$") for step in view.steps)
    formula = replace(view, culprit_subject=r"cost $\frac{1$ x", steps=steps)
    for number, shown in enumerate((view, views.foreign_view(tmp_path), formula, replace(view, steps=(), outcome=None))):
        path = tmp_path / f"{number}.svg"
        draw(shown).savefig(path)  # type: ignore[operator]
        assert path.stat().st_size > 3000


def test_widgets_import_nothing_heavy() -> None:
    code = (
        "import sys, kbench.widgets, kbench.flakiness, kbench.notebook, kbench.widgets.live, kbench.widgets.page;"
        "print([m for m in ('IPython', 'ipywidgets', 'matplotlib', 'pandas', 'scipy', 'papermill') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=NOTEBOOKS.parent)
    assert done.stdout.strip() == "[]"


def test_live_view_outside_of_jupyter_shows_nothing(view: BisectionView, capsys: pytest.CaptureFixture[str]) -> None:
    live = LiveView(view)
    live.update(view)
    assert not live.shown
    assert capsys.readouterr().out == ""


SEED_LOGS = sorted((NOTEBOOKS.parents[1] / "shared" / "seeds").glob("*.txt"))


@pytest.mark.skipif(not SEED_LOGS, reason="no shared logs beside the checkout")
def test_views_of_somebody_elses_log(tmp_path: Path) -> None:
    """A syzbot log knows no positions and no times of single tests: every view draws what there is."""
    log_text = SEED_LOGS[0].read_text()
    foreign = syzbot.view(syzbot.read_log(log_text))
    text = page.html_report(foreign, log_text=log_text)
    assert "is the first bad commit" in text
    assert rows.extent(foreign) is None
    for draw in (figures.search_figure, figures.rates_figure, figures.costs_figure):
        draw(foreign).savefig(tmp_path / "figure.png")
    assert len(tables.flakiness_table(foreign)) == len(foreign.steps)


# --- notebooks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebook_is_stripped_and_calls_kbench(path: Path) -> None:
    import papermill

    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert cells[0]["cell_type"] == "markdown"
    assert cells[1]["metadata"]["tags"] == ["parameters"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert not any(re.search(r"^\s*def ", "".join(cell["source"]), re.MULTILINE) for cell in code)
    for line in cells[1]["source"]:
        assert re.fullmatch(r"[a-z_]+: [a-z]+ = [^|=]+  # [^|=]+", line.rstrip("\n")), line
    assert len(papermill.inspect_notebook(str(path))) == len(cells[1]["source"])


def write_notebook(path: Path, code: str, parameters: str = "x: int = 1  # count, of it") -> Path:
    cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell(code)]
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec}), path)
    return path


@pytest.fixture
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Own Jupyter folders, and a user's kernelspec "python3" that is another Python, without kbench."""
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS.parent))
    spec = tmp_path / "JUPYTER_DATA_DIR" / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = ["/nonexistent/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "other", "language": "python"}))
    return tmp_path


LEAVE = """
import sys, pathlib
from tests import views
from kbench.notebook import leave_result
leave_result({{"culprit": views.make_view(pathlib.Path({folder!r})).culprit}}, python=sys.executable, x=x)
"""


def test_execute_returns_the_result_of_this_interpreter(isolated: Path) -> None:
    from nbformat.sign import NotebookNotary

    source = write_notebook(isolated / "in.ipynb", LEAVE.format(folder=str(isolated / "c")))
    before, output = source.read_bytes(), isolated / "out.ipynb"
    result = notebook.execute(source, output, {"x": 7}, timeout_s=120)
    assert (result["x"], result["python"], result["culprit"]) == (7, sys.executable, views.commit(171))
    assert source.read_bytes() == before
    executed = nbformat.read(output, as_version=4)
    assert NotebookNotary().check_signature(executed)
    assert "without encryption" not in output.read_text()


def test_execute_refuses_an_unknown_parameter(tmp_path: Path) -> None:
    source = write_notebook(tmp_path / "in.ipynb", "pass", "x: int = 1  # a\ny: str = ''  # b")
    with pytest.raises(InputError, match=r"unknown parameter z of in\.ipynb; it has x, y"):
        notebook.execute(source, tmp_path / "out.ipynb", {"z": 1})
    assert not (tmp_path / "out.ipynb").exists()


@pytest.mark.parametrize("content", [None, "{", "[]", '{"a": 1}'])
def test_execute_refuses_what_is_no_notebook(tmp_path: Path, content: str | None) -> None:
    source = tmp_path / "in.ipynb"
    if content is not None:
        source.write_text(content)
    with pytest.raises(InputError, match="notebook: expected a"):
        notebook.execute(source, tmp_path / "out.ipynb", {})


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("from kbench.errors import CaseError\nraise CaseError('case: no such key')", CaseError, "^case: no such key$"),
        ("1 / 0", KbenchError, "ZeroDivisionError"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", KbenchError, "it died"),
        ("import time\ntime.sleep(60)", KbenchError, "end in 4 s"),
        ("pass", KbenchError, "expected a result"),
    ],
)
def test_execute_fails_as_its_notebook_does(isolated: Path, code: str, error: type[KbenchError], words: str) -> None:
    source = write_notebook(isolated / "in.ipynb", code)
    with pytest.raises(error, match=words) as caught:
        notebook.execute(source, isolated / "out.ipynb", {}, timeout_s=4)
    assert caught.value.output == isolated / "out.ipynb"
