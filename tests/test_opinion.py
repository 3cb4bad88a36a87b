"""A second opinion on real bisections: verdicts weighed again, culprits judged, collections of logs and their tables."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import lzma
import sqlite3
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kbench import syzbot
from kbench.cli import cli
from kbench.errors import InputError, JournalError, LogError
from kbench.opinion import Answer, Logistic, Opinions, judge, rejudge
from kbench.opinion.traits import commit_traits, search_traits
from kbench.records import Outcome, Run, Verdict
from kbench.resources import data_dir
from kbench.study import archive
from kbench.study.archive import Found, parse, read_files
from kbench.study.collection import import_logs, read_rows
from kbench.study.replayed import read_truth
from kbench.study.table import tables, true_name

REAL = Path(__file__).parents[1].parent / "shared" / "syzbot"
A, B, C, D, E, F = (digit * 40 for digit in "abcdef")
SIGNATURE = "0123456789abcdef" * 4
OK, OWN = Run(Outcome.OK), Run(Outcome.CRASHED, "KASAN: use-after-free Read in pipe_read")
OTHER = Run(Outcome.CRASHED, "BUG: sleeping function called from invalid context in lock_sock_nested")
REPORT = "BUG: KASAN: use-after-free in pipe_read+0x12/0x80 fs/pipe.c:120\nCall Trace:\n pipe_read+0x12/0x80 fs/pipe.c:120\n"
DIFFSTAT = (
    "Author: A <a@example.org>\nDate:   Mon Jan 4 10:00:00 2021 +0000\n\n    {subject}\n\n {file} | 12 +++++----\n 1 file changed"
)


def make_log(
    *,
    at_culprit: list[Run] | None = None,
    subject: str = "pipe: add a queue of readers",
    file: str = "fs/pipe.c",
    merge: bool = False,
    same: bool = False,
    kind: str = "cause",
) -> syzbot.BisectionLog:
    """A bisection of one release that names the middle one of its three revisions."""
    crashed, clean = (syzbot.git_verdict(kind, crashed=flag) for flag in (True, False))
    text = DIFFSTAT.format(subject=subject, file=file)
    return syzbot.compose(
        kind=kind,
        start=A,
        ends=(A, B),
        tests=[
            syzbot.tested(A, "original", [OWN] * 10),
            syzbot.tested(B, "release v5.9" if kind == "cause" else "head", [OK] * 10),
            syzbot.tested(C, "bisect", [OWN] * 10, verdict=crashed, revisions_left=400, steps_left=9, subject="x"),
            syzbot.tested(D, "bisect", [OK] * 10, verdict=clean, revisions_left=200, steps_left=8, subject="y"),
            syzbot.tested(E, "bisect", at_culprit or [OWN] * 10, verdict=crashed, revisions_left=100, steps_left=7, subject="z"),
            syzbot.tested(F, "bisect", [OK] * 10, verdict=clean, revisions_left=0, steps_left=0, subject="w"),
        ],
        culprit=(E, subject),
        culprit_text=f"Merge: 1a2b 3c4d\n{text}" if merge else text,
        culprit_signature=SIGNATURE,
        parent_signature=SIGNATURE if same else SIGNATURE[::-1],
        crash_title=OWN.title,
        report=REPORT,
    )


def test_a_plain_answer_is_believed() -> None:
    """The bug's own title all along, a clean first release, a culprit that touches the file of the trace."""
    judgement = judge(make_log())
    assert judgement.p_correct > 0.8
    assert "100% of its files are in the crash's trace" in {reason.words for reason in judgement.reasons if reason.weight > 0}
    assert [abs(reason.weight) for reason in judgement.reasons] == sorted(
        (abs(reason.weight) for reason in judgement.reasons), reverse=True
    )
    assert str(judgement).startswith(f"{judgement.p_correct:.0%}: ")


def test_one_crash_of_another_bug_is_doubted() -> None:
    """A verdict that rests on one crash, under a title that gets in everybody's way."""
    log = make_log(at_culprit=[OTHER] + [OK] * 9)
    doubted = next(one for one in rejudge(log) if one.tested.step.commit == E)
    believed = next(one for one in rejudge(log) if one.tested.step.commit == C)
    assert doubted.p_bug is not None and believed.p_bug is not None
    assert doubted.p_bug < 0.5
    assert believed.p_bug > 0.95
    assert judge(log).p_correct < 0.2 < judge(make_log()).p_correct


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"merge": True}, "merge"),
        ({"subject": "Linux 5.10-rc1"}, "release"),
        ({"same": True}, "same kernel"),
    ],
)
def test_some_culprits_are_never_right(change: dict[str, Any], words: str) -> None:
    """No merge, no release and no noop was ever the true culprit."""
    judgement = judge(make_log(**change))
    assert judgement.p_correct < 0.02 and words in judgement.reasons[0].words


def test_a_merge_is_known_by_its_subject() -> None:
    """Where git's own answer is not in the log, and its parents are not told."""
    cut = make_log(subject="Merge tag 'net-next-5.10' of git://example.org/net-next")
    assert not cut.culprit_is_merge and "merge" in judge(cut).reasons[0].words
    assert judge(make_log(subject="mm: Merge two loops")).p_correct > 0.1


def test_files_elsewhere_count_against_it() -> None:
    """A culprit that touches another part of the kernel is less likely the true one."""
    elsewhere = judge(make_log(subject="ath9k: tidy up", file="drivers/net/wireless/ath/ath9k/main.c"))
    assert elsewhere.p_correct < judge(make_log()).p_correct - 0.1
    documented = judge(make_log(subject="docs: tidy up", file="Documentation/x.rst"))
    assert documented.p_correct < elsewhere.p_correct + 0.05


def test_what_cannot_be_judged_is_refused() -> None:
    """A fix bisection, and one without an answer; the verdicts of both can be weighed again."""
    fix = make_log(kind="fix")
    with pytest.raises(InputError, match="fix bisection"):
        judge(fix)
    assert [one.tested.crashing for one in rejudge(fix)] == [True, False, True, False, True, False]
    none = syzbot.compose(kind="cause", start=A, tests=[syzbot.tested(A, "original", [OK])], outcome="not reproduced")
    with pytest.raises(InputError, match=r"not reproduced|wasn't reproduced"):
        judge(none)
    assert rejudge(syzbot.compose(kind="cause", start=A, tests=[])) == ()


def test_untestable_revisions_say_nothing() -> None:
    """A skip has no probability and moves none."""
    log = make_log()
    skip = syzbot.tested(F, "bisect", [Run(Outcome.BOOT_FAILED, "x")] * 10, verdict=Verdict.SKIP, subject="w")
    lines = syzbot.compose(kind="cause", start=A, ends=(A, B), tests=[*log.tests[:4], skip])
    without = syzbot.compose(kind="cause", start=A, ends=(A, B), tests=list(log.tests[:4]))
    *others, last = rejudge(lines)
    assert last.p_shows is None and last.p_bug is None
    assert [one.p_shows for one in others] == [one.p_shows for one in rejudge(without)]


def test_a_logistic_model_is_what_it_says() -> None:
    """By hand, and a missing value is named."""
    model = Logistic(0.5, {"x": (2.0, 1.0, 4.0)})
    assert model.weights({"x": 3.0}) == {"x": 1.0} and model.log_odds({"x": 3.0}) == 1.5
    with pytest.raises(InputError, match="'x'"):
        model.log_odds({})
    opinions = Opinions(model, Answer(model, model), 0.01, {"WARNING in f": 2, "WARNING in g": 5})
    assert opinions.notoriety("WARNING in f") == 2 and opinions.notoriety("WARNING in f", without=["WARNING in f"]) == 0
    assert opinions.notoriety("WARNING in g", without=["WARNING in g"]) == 4 and not opinions.notoriety("WARNING in h")


def test_an_answer_is_a_product() -> None:
    """Both must have gone well, each weight is what its value changes, and the far ends are no error."""
    alarms, misses = Logistic(1.0, {"x": (2.0, 1.0, 4.0)}), Logistic(0.5, {"x": (1.0, 1.0, 4.0), "y": (-3.0, 0.0, 1.0)})
    values = {"x": 3.0, "y": 0.5}
    p = 1 / (1 + np.exp(-2.0)) / (1 + np.exp(0.5))
    assert Answer(alarms, misses).log_odds(values) == pytest.approx(np.log(p / (1 - p)))
    answer = Answer(alarms, misses, slope=2.0, shift=-0.1)
    assert answer.log_odds(values) == pytest.approx(2 * np.log(p / (1 - p)) - 0.1)
    for name, average in (("x", 1.0), ("y", 0.0)):
        change = answer.log_odds(values) - answer.log_odds(values | {name: average})
        assert answer.weights(values)[name] == pytest.approx(change)
    assert Answer(Logistic(-2000.0, {}), Logistic(5.0, {})).log_odds({}) == pytest.approx(-2000, abs=0.1)
    assert Answer(Logistic(900.0, {}), Logistic(900.0, {})).log_odds({}) == pytest.approx(900 - np.log(2))


def test_what_a_log_says_of_itself_is_a_trait() -> None:
    """A flaky reproducer, another compiler, crashes of other bugs, and a culprit that brings the very file of the crash."""
    plain = make_log()
    text = syzbot.render(make_log(at_culprit=[OTHER] * 10))
    text = text.replace(" 1 file changed", " 1 file changed\n create mode 100644 fs/pipe.c")
    text = text.replace("revisions tested:", "reproducer is flaky (0.40 repro chance estimate)\nrevisions tested:")
    for commit, compiler in ((A, "gcc 10"), (B, "gcc 8")):
        text = text.replace(f"testing commit {commit} \n", f"testing commit {commit} \ncompiler: {compiler}\n")
    log = syzbot.read_log(text)
    names = ["compiler changed", "called flaky", "crashes under its own title"]
    assert [search_traits(plain, rejudge(plain))[name] for name in names] == [0, 0, 1]
    assert [search_traits(log, rejudge(log))[name] for name in names] == [1, 1, pytest.approx(11 / 21)]
    assert [commit_traits(each, rejudge(each))["creates the guilty file"] for each in (plain, log)] == [0, 1]


def test_fitted_numbers_do_what_they_should() -> None:
    """On bugs they were not fitted to: the figures written down with them."""
    measured = json.loads((data_dir() / "judge.json").read_text())["measured"]
    culprit, crash = measured["culprit"], measured["crash"]
    assert culprit["auc"] >= 0.90 and culprit["brier"] <= 0.125 and culprit["precision_at_recall_80"] >= 0.83
    assert np.allclose(culprit["said_by_fifth"], culprit["was_by_fifth"], atol=0.05)
    halves = measured["halves"]  # chosen and fitted on half of the bugs, judged on the other
    assert halves["auc"] >= 0.90 and halves["brier"] <= 0.125 and halves["precision_at_recall_80"] > 0.80
    assert np.allclose(halves["said_by_fifth"], halves["was_by_fifth"], atol=0.05)
    assert crash["kept"] >= 0.96 and crash["let_through"] <= 0.20 and crash["log_loss"] < 0.5 * crash["log_loss_base"]


def test_logs_are_found_wherever_they_are(tmp_path: Path) -> None:
    """Plain, packed, in an archive, in a folder; one log each."""
    text = syzbot.render(make_log()).encode()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.txt").write_bytes(text)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(text))
    (tmp_path / "c.txt.xz").write_bytes(lzma.compress(text))
    with tarfile.open(tmp_path / "d.tar.xz", "w:xz") as tar:
        tar.add(tmp_path / "below" / "a.txt", "inside/d.txt")
    found = list(read_files([tmp_path]))
    assert [one.name for one in found] == ["b.txt.gz", "below/a.txt", "c.txt.xz", "inside/d.txt"]
    assert all(parse(one) == make_log() for one in found)
    with pytest.raises(InputError, match="gone"):
        list(read_files([tmp_path / "gone"]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"<!DOCTYPE html>\n<html>", "HTML page"),
        (b"Dear all,\n" * 60 + b"bisecting cause commit starting from " + A.encode(), "found it in line 61"),
        (b"\x7fELF\x00\x01\x02", "bisecting cause commit"),
        (gzip.compress(b"x" * 10_000)[:-20], "end-of-stream|get it again"),
        (lzma.compress(bytes(range(256)) * 100)[:-40], "get it again"),
        (b"x" * 2000, "more than"),
        (b"\0" * 2000, "more than"),  # to tarfile an archive without end
    ],
    ids=["empty", "blank", "html", "mail", "binary", "cut gzip", "cut xz", "too long", "zeros"],
)
def test_bad_files_are_one_clear_line(content: bytes, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each says what was wrong, and what is good beside it is read."""
    if len(content) == 2000:
        monkeypatch.setattr(archive, "MAX_BYTES", 1999)
        found = next(read_files([_written(tmp_path / "long.txt", content)]))
        with pytest.raises(LogError, match=words):
            parse(found)
        return
    _written(tmp_path / "bad.txt", content)
    _written(tmp_path / "good.txt", syzbot.render(make_log()).encode())
    bad, good = read_files([tmp_path])
    with pytest.raises(LogError, match=words) as caught:
        parse(bad)
    assert "\n" not in str(caught.value)
    assert parse(good) == make_log()


def test_a_mail_with_a_log_inside_is_read() -> None:
    """A few lines before the head do no harm."""
    text = "Hello,\n\nsyzbot has bisected this:\n" + syzbot.render(make_log())
    assert parse(Found("mail.txt", text.encode())).culprit == make_log().culprit


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_import_is_incremental_and_counts(tmp_path: Path) -> None:
    """What is there is passed over, what changed is read again, what failed is named with the reason."""
    logs, folder = tmp_path / "logs", tmp_path / "study"
    logs.mkdir()
    _written(logs / "a.txt", syzbot.render(make_log()).encode())
    _written(logs / "b.txt", b"no log")
    first = import_logs([logs], folder)
    assert (first.new, first.known, list(first.failed)) == (1, 0, ["b.txt"]) and "bisecting cause" in first.failed["b.txt"]
    again = import_logs([logs], folder)
    assert (again.new, again.known, list(again.failed)) == (0, 1, ["b.txt"])
    _written(logs / "b.txt", syzbot.render(make_log(merge=True)).encode())
    repaired = import_logs([logs], folder)
    assert (repaired.new, repaired.known, repaired.failed) == (1, 1, {})
    assert (inside := import_logs([logs], logs)).new == 2 and not import_logs([logs], logs).failed | inside.failed
    rows, tests = read_rows(folder)
    assert [row["name"] for row in rows] == ["a.txt", "b.txt"] and rows[0]["p_correct"] > rows[1]["p_correct"]
    assert [test["crashed"] for test in tests] == [10, 0, 10, 0, 10, 0] * 2
    assert tests[0]["titles"] == {OWN.title: 10}
    with pytest.raises(InputError, match="import"):
        read_rows(tmp_path / "gone")


_IMPORT = """
import os, resource, signal, sys
from pathlib import Path
from kbench.study.collection import import_logs

def stop(name):
    if name == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if int(sys.argv[4]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
import_logs([Path(sys.argv[1])], Path(sys.argv[2]), show=stop)
"""


def test_a_killed_import_goes_on_where_it_was(tmp_path: Path) -> None:
    """Killed, then out of room: what was read is whole and is not read again; logs of one name in two folders are two."""
    logs, folder = tmp_path / "logs", tmp_path / "study"
    for number in range(12):
        (logs / f"{number:02}").mkdir(parents=True)
        _written(logs / f"{number:02}" / "bisect.txt", syzbot.render(make_log(subject=f"pipe: change {number}")).encode())

    def run(stop: str, room: int) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", _IMPORT, str(logs), str(folder), stop, str(room)]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    assert run("05/bisect.txt", 0).returncode == -9
    assert len(read_rows(folder)[0]) == 5
    full = run("", (folder / "logs.sqlite").stat().st_size)
    assert "StorageError: study: expected to use" in full.stderr
    kept = len(read_rows(folder)[0])
    done = import_logs([logs], folder)
    assert (done.new, done.known, done.failed) == (12 - kept, kept, {})
    assert len(read_rows(folder)[1]) == 12 * 6


def test_a_collection_of_another_format_is_left_alone(tmp_path: Path) -> None:
    """It says so instead of reading what it does not know."""
    import_logs([_written(tmp_path / "a.txt", syzbot.render(make_log()).encode())], tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "logs.sqlite")) as database, database:
        database.execute("UPDATE collection SET format = 99")
    with pytest.raises(JournalError, match="saw 99"):
        read_rows(tmp_path)


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Judge one, judge many, import, print the tables."""
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    _written(good, syzbot.render(make_log()).encode())
    _written(bad, syzbot.render(make_log(at_culprit=[OTHER] + [OK] * 9)).encode())
    assert cli.main(["judge", str(bad)], standalone_mode=False) == 0
    shown = capsys.readouterr().out
    assert "P(it is the culprit) = " in shown and f"doubtful: {E[:12]} (bisect)" in shown
    assert cli.main(["judge", str(tmp_path)], standalone_mode=False) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["bad.txt", "good.txt"]
    assert cli.main(["judge", str(tmp_path), "--json"], standalone_mode=False) == 0
    judged = json.loads(capsys.readouterr().out)["judged"]
    assert [row["culprit"] for row in judged] == [E, E] and judged[0]["reasons"][0]["weight"]
    assert cli.main(["study", "import", str(tmp_path), "--output", str(tmp_path / "s")], standalone_mode=False) == 0
    assert "2 new, 0 known, 0 failed" in capsys.readouterr().out
    assert cli.main(["study", "table", str(tmp_path / "s")], standalone_mode=False) == 0
    assert "How they ended" in capsys.readouterr().out


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All real logs, imported."""
    if not REAL.is_dir():
        pytest.skip("the logs of real bisections are not here")
    folder = tmp_path_factory.mktemp("collection")
    done = import_logs([REAL / "logs.tar.xz"], folder)
    assert (done.new, done.known, done.failed) == (1178, 0, {})
    return read_rows(folder)


_OF_ALL = {
    "skipped first": 0.113,
    "skipped after a skip": 0.69,
    "skipped after a verdict": 0.106,
    "searches without a skip": 0.65,
    "searches with ten or more": 0.119,
}


def test_tables_are_those_published(collection: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    """Equal to what the published rows say: counted once from the logs, once from the tables beside them."""
    truth = read_truth(REAL)
    found = {table.title: table.rows for table in tables(*collection, truth)}
    with (REAL / "bisections.csv").open(newline="") as file:
        rows = {row["file"].removesuffix(".txt"): row for row in csv.DictReader(file)}
    published = Counter(row["outcome"] for row in rows.values())
    ours = dict(found["How they ended"])
    assert ours["culprit"] == published["single"] and ours["older than range"] == published["oldest"]
    failures = Counter(
        (row["result_catergory"], row["wrong_stage"].strip("/"), row["reason"].strip("/")) for row in truth.values()
    )
    assert {row[:3]: row[3] for row in found["Where and why they went wrong"]} == failures
    answers = [
        (rows[name], row["result_catergory"] == "correct")
        for name, row in truth.items()
        if row["result_catergory"] != "no output"
    ]
    for n in (1, 2, 3):
        flags = [right for row, right in answers if int(row["n_stageB"]) == n]
        assert found["Right, by releases walked"][n - 1][1:3] == (sum(flags), len(flags))
    once = [right for row, right in answers if int(row["one_crash_bad"])]
    assert found["Right, by whether a verdict of the search rests on one crash"][1][1:3] == (sum(once), len(once))
    one_title = [right for row, right in answers if int(row["distinct_titles"]) == 1]
    assert found["Right, by titles in the whole log"][0][1:3] == (sum(one_title), len(one_title))
    # Where a bisection broke off git was told nothing of the last revision.
    ended = {log["id"]: log for log in collection[0] if rows[true_name(log)]["outcome"] != "error"}
    skipped = tables(list(ended.values()), [test for test in collection[1] if test["log"] in ended])[1]
    assert dict(skipped.rows)["skipped"] == sum(int(row["n_skip"] or 0) for row in rows.values() if row["outcome"] != "error")
    rates = {row[0]: row[1:3] for row in found["Right, by share of crashes on the original commit"]}
    always = [right for row, right in answers if row["stageA_rate"] and float(row["stageA_rate"]) == 1]
    assert rates["all"] == (sum(always), len(always))
    # What is known of 2308 bisections, of which these are about half.
    shares = dict(found["Revisions that could not be tested"])
    for name, share in _OF_ALL.items():
        assert shares[name] == pytest.approx(share, abs=0.02), name
    medians = {row[0]: row[4] for row in found["What they cost"]}
    wanted = {"revisions tested": 17, "verdicts in the search": 14, "hours": 4.39, "hours building": 1.87, "hours testing": 2.44}
    assert medians == pytest.approx(wanted, rel=0.04)
    single = [row for row in rows.values() if row["outcome"] == "single"]
    costs = {row[0]: row[1] for row in found["What they cost"]}
    assert costs["hours"] == pytest.approx(np.mean([float(row["total_s"]) for row in single]) / 3600, rel=1e-4)
    assert costs["revisions tested"] == pytest.approx(np.mean([int(row["revs"]) for row in single]))


def test_judgements_separate_real_answers(collection: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    """As shipped, on the logs they were fitted to: nothing of the chain from text to probability is broken."""
    truth = read_truth(REAL)
    judged = {true_name(row): row["p_correct"] for row in collection[0]}
    known = [(judged[name], row["result_catergory"] == "correct") for name, row in truth.items() if judged[name] is not None]
    right, wrong = (np.array([p for p, flag in known if flag is which]) for which in (True, False))
    assert len(known) > 400
    assert (right[:, None] > wrong[None, :]).mean() > 0.90
    assert np.mean([(p - flag) ** 2 for p, flag in known]) < 0.125
