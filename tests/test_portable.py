"""A bisection as one file, as mail, as tables and as figures for papers."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from kbench import paper
from kbench.bisection import Bisection
from kbench.bisection.case import load_case
from kbench.cli import cli
from kbench.errors import InputError, MachineLacksError
from kbench.exchange.archive import unpack
from kbench.exchange.mail import mail_report
from kbench.exchange.tabulate import table, write_table
from kbench.lab import create
from kbench.primitives import BisectionReport
from kbench.records import BisectionView
from kbench.study import world_spec
from kbench.study.collection import import_logs
from kbench.study.example import write_logs
from kbench.widgets import figures
from tests import views
from tests.laboratories import CRASH, OK, TableLaboratory


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> BisectionView:
    return views.make_view(tmp_path_factory.mktemp("view"))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> BisectionReport:
    """A bisection with its journal and consoles, answered from a table."""
    folder = tmp_path_factory.mktemp("lab") / "play"
    create(folder, seed=3, kind="uaf", commits=60)
    culprit = json.loads((folder / "truth.json").read_text())["culprit"]
    newer = ["git", "-C", str(folder / "repo"), "rev-list", f"{culprit}..HEAD", "--ancestry-path"]
    bad = {culprit, *subprocess.run(newer, capture_output=True, text=True, check=True).stdout.split()}
    laboratory = TableLaboratory(lambda commit, number: CRASH if commit in bad else OK)
    bisection = Bisection(load_case(folder, strategy="git", liveness=False), laboratory=laboratory)
    bisection.run()
    return BisectionReport(bisection)


@pytest.fixture(scope="module")
def packed(report: BisectionReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report.pack(tmp_path_factory.mktemp("packed") / "play.kbz")


def test_packed_opens_elsewhere(report: BisectionReport, packed: Path, tmp_path: Path) -> None:
    found = unpack(packed, tmp_path / "there")
    assert found.log() == report.log()
    assert replace(found.view, steps=()) == replace(report.view, steps=())
    for there, here in zip(found.view.steps, report.view.steps, strict=True):
        assert replace(there, runs=()) == replace(here, runs=())
        assert [str(run) for run in there.runs] == [str(run) for run in here.runs]
        assert all(run.console and run.console.read_text() == "hello\n" for run in there.runs)
    assert report.view.culprit and report.view.culprit in found.write().read_text()
    assert report.pack(tmp_path / "again.kbz").read_bytes() == packed.read_bytes()
    done = CliRunner().invoke(cli, ["unpack", str(packed), "-o", str(tmp_path / "command"), "--json"])
    assert json.loads(done.stdout)["culprit"] == report.view.culprit
    with pytest.raises(InputError, match="is there; give another"):
        unpack(packed, tmp_path / "there")


def _rewritten(packed: Path, path: Path, change: str) -> Path:
    """A copy of an archive with one thing wrong."""
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            content = old.read(member)
            if change == "checksum" and member.filename == "bisection.log":
                content += b"x"
            if change == "missing" and member.filename == "bisection.log":
                continue
            new.writestr(zipfile.ZipInfo(member.filename), content)
        if change in ("../out", "/tmp/kbench-out", "a/../../out", "unlisted"):
            new.writestr(change, b"x")
        if change == "link":
            link = zipfile.ZipInfo("consoles/link")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            new.writestr(link, "/etc/passwd")
        if change == "bomb":
            for number in range(5):
                new.writestr(f"bomb{number}", b"")
                new.infolist()[-1].file_size = 1 << 30
    if change == "cut":
        path.write_bytes(packed.read_bytes()[:-400])
    if change == "flipped":
        content = bytearray(packed.read_bytes())
        content[len(content) // 3] ^= 0xFF
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "change",
    ["checksum", "missing", "../out", "/tmp/kbench-out", "a/../../out", "unlisted", "link", "bomb", "cut", "flipped"],
)
def test_hostile_archive_is_one_line(packed: Path, tmp_path: Path, change: str) -> None:
    bad = _rewritten(packed, tmp_path / "bad.kbz", change)
    with pytest.raises(InputError, match=r"^unpack: expected a packed bisection, .* is damaged \(.*\); pack it again$") as raised:
        unpack(bad, tmp_path / "new" / "there")
    assert "\n" not in str(raised.value)
    assert list((tmp_path / "new").iterdir()) == []


def test_mail_holds_together(view: BisectionView) -> None:
    """72 columns, and nothing of a commit or a recipient becomes a header."""
    nasty = replace(
        view,
        culprit_subject="pipe: free it\r\nBcc: all@example.org\r\n\r\nFrom me",
        name="play\nX-Evil: 1",
        recipients=("Pat <pat@example.org>", "x\r\nBcc: evil@example.org", '"Ö, B" <b@example.org>', "nobody"),
        proof="parent 0:12, culprit 9:12",
        proof_p=0.001,
    )
    mail = bytes(mail_report(nasty, reproduce="From here\n.\n-- \nint main;\n"))
    read = message_from_bytes(mail, policy=policy.default)
    assert not {"bcc", "x-evil"} & set(map(str.lower, read.keys()))
    assert [address.addr_spec for address in read["To"].addresses] == ["pat@example.org", "b@example.org"]
    body = read.get_content()
    assert f'Fixes: {views.commit(views.CULPRIT)[:12]} ("pipe: free it' in body
    assert "parent 0:12, culprit 9:12, p 0.001" in " ".join(body.split())
    assert all(len(line) <= 72 or line.startswith("Fixes: ") for line in body.splitlines())
    assert not any(line.startswith(("From ", ".", "-- ", "Bcc")) for line in body.splitlines())


def test_tables_are_tidy(view: BisectionView, tmp_path: Path) -> None:
    runs = table(view, "runs")
    assert len(runs) == sum(len(step.runs) for step in view.steps)
    for of in ("revisions", "runs", "candidates"):
        write_table(table(view, of), tmp_path / f"{of}.csv")
        assert list(pd.read_csv(tmp_path / f"{of}.csv").columns) == list(table(view, of).columns)
    revisions = pd.read_csv(tmp_path / "revisions.csv")
    assert revisions["n_crashed"].sum() == (runs["outcome"] == "crashed").sum()
    write_table(pd.DataFrame({"title": ["=cmd()"]}), tmp_path / "formula.csv")
    assert (tmp_path / "formula.csv").read_text() == "title\n'=cmd()\n"
    with pytest.raises(InputError, match=r"named \.csv or \.parquet"):
        write_table(runs, tmp_path / "runs.xls")


def test_parquet_needs_its_extra(view: BisectionView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MachineLacksError, match=r"install kbench\[parquet\]"):
        write_table(table(view), tmp_path / "revisions.parquet")


def test_parquet_reads_back(view: BisectionView, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    write_table(table(view), tmp_path / "revisions.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "revisions.parquet"), table(view), check_dtype=False)


def test_figures_for_papers(view: BisectionView, tmp_path: Path) -> None:
    for what in ("search", "rates", "costs"):
        axes = figures.plot(view, what, width_in=6.5)
        figure = axes.get_figure(root=True)
        assert figure is not None
        assert figure.get_figwidth() == 6.5
        assert axes.get_xlabel()
    for ending in (".svg", ".pdf"):
        for name in ("a", "b"):
            drawn = figures.plot(view, "costs").get_figure(root=True)
            assert drawn is not None
            paper.save(drawn, tmp_path / f"{name}{ending}")
        assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
    with pytest.raises(InputError, match="expected one of search, rates, costs"):
        figures.plot(view, "pie")


def test_studies_leave_tidy_tables(tmp_path: Path) -> None:
    """From the command line: a row a strategy, a search, a log, a tested revision, a number; CSV and Parquet say the same."""
    few = ["--strategies", "git,syzkaller", "--trials", "3", "--commits", "40", "--jobs", "1"]
    found = {}
    for of, ending in (("scores", ".csv"), ("trials", ".csv"), ("trials", ".parquet")):
        file = tmp_path / f"{of}{ending}"
        done = CliRunner().invoke(cli, ["study", *few, "--of", of, "--file", str(file)])
        assert done.exit_code == 0, done.output
        found[file.name] = pd.read_csv(file, keep_default_na=False) if ending == ".csv" else pd.read_parquet(file)
    scores, trials = found["scores.csv"], found["trials.csv"]
    assert list(scores["strategy"]) == ["git", "syzkaller"] and len(trials) == 6
    assert list(scores["right"]) == list((trials["answer"] == "right").groupby(trials["strategy"]).mean())
    assert scores["calibration_said"].between(0, 1).all()
    pd.testing.assert_frame_equal(trials, found["trials.parquet"], check_dtype=False)
    wrong = CliRunner().invoke(cli, ["study", *few, "--file", "scores.xls"])
    assert isinstance(wrong.exception, InputError) and wrong.output == ""

    write_logs(tmp_path / "logs", 4, spec=replace(world_spec("syzbot"), commits=60))
    import_logs([tmp_path / "logs"], tmp_path / "kept")
    for of in ("analysis", "logs", "tests"):
        done = CliRunner().invoke(cli, ["study", "table", str(tmp_path / "kept"), "--of", of, "-o", str(tmp_path / f"{of}.csv")])
        assert done.exit_code == 0, done.output
        found[of] = pd.read_csv(tmp_path / f"{of}.csv")
    assert len(found["logs"]) == 4 and set(found["tests"]["log"]) == set(found["logs"]["name"])
    told = found["analysis"].set_index(["table", "row", "column"])["value"]
    assert told["How they ended"].sum() == 4
    assert told["Revisions that could not be tested", "tests in searches", "value"] == (found["tests"]["stage"] == "bisect").sum()
