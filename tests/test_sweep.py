"""Sweeps: real notebooks through papermill, side by side, interrupted and resumed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kbench.errors import InputError
from kbench.lab import create
from kbench.sweep import read_plan, results, run_sweep

PARAMETERS = (
    'x: int = 1  # count, multiplied\nname: str = ""  # text\nfolder: str = ""  # folder\nnames: list[str] = []\nplain = 0.5'
)
BODY = """\
import pathlib, time
from kbench.notebook import leave_result
if name == "slow":
    pathlib.Path(folder, "began").touch()
    time.sleep(600)
if name == "fails":
    raise ValueError("it <b>broke</b>")
if name == "dies":
    import os
    os._exit(1)
leave_result({"square": x * x, "deep": {"name": name}, "cwd": str(pathlib.Path.cwd())})"""
PICTURE = """\
from matplotlib.figure import Figure
figure = Figure()
figure.add_subplot().plot([1, 2])
%matplotlib inline
figure"""


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    cells: list[dict[str, Any]] = [{"source": text, "metadata": {}, "cell_type": "code", "execution_count": None, "outputs": []}
             for text in (PARAMETERS, PICTURE, BODY)]  # fmt: skip
    cells[0]["metadata"] = {"tags": ["parameters"]}
    made = {
        "cells": cells,
        "metadata": {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python"}},
        "nbformat": 4,
        "nbformat_minor": 4,
    }
    (tmp_path / "squares.ipynb").write_text(json.dumps(made))
    return tmp_path / "squares.ipynb"


def sweep_file(folder: Path, text: str) -> Path:
    path = folder / "sweep.toml"
    path.write_text(f'notebook = "squares.ipynb"\n{text}')
    return path


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "kbench", "sweep", *map(str, words)]


def test_a_grid_is_run_once_and_read_as_one_table(notebook: Path) -> None:
    """Failures are kept with their notebook and do not stop the others; a second start runs nothing but what is new."""
    path = sweep_file(notebook.parent, '[grid]\nx = [2, 3]\nname = ["fails", "<script>alert(1)</script>"]\n')
    plan = read_plan(path, jobs=3)
    records = run_sweep(plan)
    assert [record.status for record in records] == ["failed", "done"] * 2
    table = results(plan.folder)
    assert list(table["square"].dropna()) == [4, 9], "parameters are not mixed"
    assert list(table["parameters.x"]) == [2, 2, 3, 3]
    assert set(table["cwd"].dropna()) == {str(notebook.parent)}
    assert set(table[table.status == "done"]["deep.name"]) == {"<script>alert(1)</script>"}
    assert "ValueError" in next(record for record in records if record.error).error
    assert all(row.notebook.is_file() for row in plan.rows)
    page = (plan.folder / "index.html").read_text()
    assert "<script" not in page
    assert "<b>" not in page
    assert page.count('<img alt="first picture') == 4
    assert "2 done, 2 failed" in page
    before = {row.id: row.notebook.stat().st_mtime_ns for row in plan.rows}
    assert run_sweep(plan) == records
    assert {row.id: row.notebook.stat().st_mtime_ns for row in plan.rows} == before
    more = read_plan(sweep_file(notebook.parent, '[grid]\nx = [2, 4]\nname = ["<script>alert(1)</script>"]\n'))
    assert [record.result["square"] for record in run_sweep(more)] == [4, 16]
    assert more.rows[0].notebook.stat().st_mtime_ns == before[more.rows[0].id], "was run by the first sweep"


def test_a_dead_kernel_is_a_failure_and_can_be_tried_again(notebook: Path) -> None:
    plan = read_plan(sweep_file(notebook.parent, '[parameters]\nname = "dies"\n'))
    (record,) = run_sweep(plan)
    assert (record.status, "died" in record.error) == ("failed", True)
    assert run_sweep(plan) == [record], "not run again"
    (again,) = run_sweep(plan, retry=True)
    assert (again.status, again.seconds == record.seconds) == ("failed", False)


def test_killed_or_interrupted_it_goes_on(notebook: Path, tmp_path: Path) -> None:
    """What had ended is not run again; no kernel is left."""
    path = sweep_file(tmp_path, '[parameters]\nfolder = "{folder}"\n[[runs]]\nname = "a"\n[[runs]]\nname = "slow"\n')
    plan = read_plan(path)
    quick, slow = plan.rows
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        (slow.folder / "began").unlink(missing_ok=True)
        process = subprocess.Popen(command(path, "--jobs", 2), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        while not (slow.folder / "began").exists() or not (quick.folder / "run.json").exists():
            assert process.poll() is None
            time.sleep(0.1)
        if number == signal.SIGINT:
            busy = subprocess.run(command(path), capture_output=True, text=True, check=False)
            assert (busy.returncode, "in use by another sweep" in busy.stderr) == (2, True)
        process.send_signal(number)
        process.communicate()
        assert process.returncode == code
        assert results(plan.folder)["status"].tolist() == ["done", "open"]
        assert gone(slow.folder), "the kernel ends with the sweep"


def gone(folder: Path) -> bool:
    """Whether no kernel works in a folder any more, within the seconds in which it sees that its parent is gone."""
    mark = str(folder).encode()
    for _ in range(200):
        if not any(mark in environment(pid) for pid in Path("/proc").iterdir() if pid.name.isdigit()):
            return True
        time.sleep(0.1)
    return False


def environment(pid: Path) -> bytes:
    try:
        return (pid / "environ").read_bytes() + (pid / "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[parameters]\ny = 1\n", "unknown parameter y"),
        ('[parameters]\nx = "1"\n', "x of squares.ipynb takes int"),
        ("[parameters]\nx = true\n", "x of squares.ipynb takes int"),
        ("[grid]\nx = [1, 1]\n", "two have {'x': 1}"),
        ("[grid]\nx = []\n", "x has none"),
        ("[grid]\nx = [1]\n[[runs]]\nx = 2\n", "x is in [grid] and in [[runs]]"),
        (f"[grid]\nx = {list(range(1000))}\nname = {[str(n) for n in range(1000)]}\n", "at most 100000 runs"),
        ("[grids]\nx = [1]\n", "unknown field"),
        ("jobs = -1\n", "jobs must be 1 or more"),
        ("timeout_s = 0\n", "timeout_s must be above 0"),
        ("timeout_s = inf\n", "timeout_s must be above 0"),
        ("[parameters]\nnames = 'a'\n", "names of squares.ipynb takes list"),
        ("[parameters]\nplain = 'a'\n", "plain of squares.ipynb takes float"),
        ("x =", "in TOML"),
        ("[parameters]\nname = 1979-05-27\n", "must be texts, numbers"),
    ],
)
def test_wrong_files_are_told_before_anything_runs(notebook: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_plan(sweep_file(notebook.parent, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_of_others_is_left_alone(notebook: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        run_sweep(read_plan(sweep_file(tmp_path, ""), output=tmp_path / "mine"))
    assert (tmp_path / "mine" / "index.html").read_text() == "mine"


def test_missing_notebook_and_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"squares\.ipynb"):
        read_plan(sweep_file(tmp_path, ""))
    with pytest.raises(InputError, match="expected a sweep in"):
        results(tmp_path)


@pytest.mark.qemu
def test_bisections_of_the_lab_kernel(tmp_path: Path) -> None:
    """A shipped notebook by name, from the command line: both strategies find the planted culprit."""
    lab = create(tmp_path / "lab", seed=4, kind="null", commits=80)
    path = tmp_path / "both.toml"
    path.write_text(
        'notebook = "bisect"\n[parameters]\ncase = "lab/case.toml"\noutput = "{folder}/bisection"\njobs = 1\n'
        '[grid]\nstrategy = ["bayes", "git"]\n'
    )
    listed = subprocess.run(command(path, "--dry-run", "--json"), capture_output=True, text=True, check=True)
    assert [row["strategy"] for row in json.loads(listed.stdout)] == ["bayes", "git"]
    done = subprocess.run(command(path, "--json"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    records: list[dict[str, Any]] = json.loads(done.stdout)
    assert [record["result"]["culprit"] for record in records] == [lab.culprit] * 2
    assert all(Path(record["result"]["journal"]).is_file() for record in records)
