"""The bisection log as text: what is read comes back byte for byte, what is built is read as what it was built from."""

from __future__ import annotations

import csv
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbench import syzbot
from kbench.errors import LogError
from kbench.records import Outcome, Run, Verdict
from kbench.syzbot.forms import FORMS, foreign, read_line

SHARED = Path(__file__).parents[1].parent / "shared"
A, B, C, D, E, F = (digit * 40 for digit in "abcdef")
SIGNATURE = "0123456789abcdef" * 4
OK, CRASH = Run(Outcome.OK), Run(Outcome.CRASHED, "KASAN: use-after-free Read in pipe_read")

# In the form of 2021: no host, a compiler in the line of the test, a verdict over two lines, a build that failed.
OLD_LOG = f"""\
bisecting cause commit starting from {A}
building syzkaller on {B}
testing commit {A} with gcc (GCC) 10.2.1 20210110
kernel signature: {SIGNATURE}
all runs: crashed: WARNING in f
testing release v5.9
testing commit {B} with gcc (GCC) 8.4.1 20200928
kernel signature: {SIGNATURE}
run #0: boot failed: can't ssh into the instance
ssh: connect to host 192.0.2.1 port 22: timed out\r
run #1: OK
run #2: OK
run #3: OK
# git bisect start {A} {B}
Bisecting: 1 revision left to test after this (roughly 1 step)
[{C}] net: change number 1
testing commit {C} with gcc (GCC) 8.4.1 20200928
drivers/net/tun.c:12:3: error: implicit declaration of function 'g'
# git bisect skip {C}
Bisecting: 0 revisions left to test after this (roughly 0 steps)
[{D}] net: change number 2
testing commit {D} with gcc (GCC) 8.4.1 20200928
kernel signature: {SIGNATURE}
all runs: OK
# git bisect good {D}
There are only 'skip'ped commits left to test.
The first bad commit could be any of:
{C}
{A}
We cannot bisect more!
revisions tested: 4, total time: 1h2m3.5s (build: 40m0.25s, test: 22m3.25s)
bisection is inconclusive, the first bad commit could be any of:
{C}
{A}
"""


def cause_log() -> syzbot.BisectionLog:
    """A cause bisection of today, every part of it present."""
    return syzbot.compose(
        kind="cause",
        start=A,
        host="lab",
        started="2026-01-31 10:02:14.693799013 +0000 UTC m=+15.579080667",
        syzkaller=F,
        release_tags=["v1.1", "v1.0"],
        n_release_tags=3,
        ends=(A, C),
        tests=[
            syzbot.tested(A, "original", [CRASH] * 20, fold=True, toolchain="gcc", compiler="gcc 12.2", signature=SIGNATURE,
                          representative=CRASH.title, types=("KASAN", "WARNING")),
            syzbot.tested(B, "release v1.1", [OK, CRASH], undetermined=(1, 5, 5, 2)),
            syzbot.tested(C, "release v1.0", [OK, OK], signature=SIGNATURE, false_negative_chance=0.25),
            syzbot.tested(D, "bisect", failure="kernel/sched.c:3: error: no such thing\nmake: *** [Makefile:3] Error 1",
                          verdict=Verdict.SKIP, revisions_left=2, steps_left=2, subject="sched: tidy up"),
            syzbot.tested(E, "bisect", [OK, Run(Outcome.BOOT_FAILED, "no init"), CRASH], verdict=Verdict.BAD,
                          revisions_left=1, steps_left=1, subject="pipe: wake up readers"),
            syzbot.tested(F, "parent", signature=SIGNATURE),
        ],
        culprit=(E, "pipe: wake up readers"),
        culprit_text=f"commit {E}\nAuthor: A <a@example.org>\n\n    pipe: wake up readers\n\n kernel/pipe.c | 2 +-",
        error_probability=0.07,
        culprit_signature=SIGNATURE,
        parent_signature=SIGNATURE[::-1],
        repro_chance=0.45,
        total_s=15374.959531657,
        build_s=0.758279707,
        recipients=["a@example.org"],
        crash_title=CRASH.title,
        report="BUG: KASAN: use-after-free in pipe_read+0x12/0x80\nerror: not a line of the log\n",
    )  # fmt: skip


def fix_log() -> syzbot.BisectionLog:
    """A fix bisection of today: a clean run is "bad"."""
    return syzbot.compose(
        kind="fix",
        start=A,
        tests=[
            syzbot.tested(A, "original", [CRASH, OK]),
            syzbot.tested(B, "head", [OK, OK]),
            syzbot.tested(C, "bisect", [OK, OK], verdict=syzbot.git_verdict("fix", crashed=False), subject="x",
                          revisions_left=0, steps_left=1),
            syzbot.tested(D, "bisect", [CRASH, OK], verdict=syzbot.git_verdict("fix", crashed=True), subject="y",
                          revisions_left=0, steps_left=0),
        ],
        ends=(B, A),
        culprit=(C, "x"),
        total_s=61.5,
    )  # fmt: skip


@pytest.mark.parametrize("build", [cause_log, fix_log])
def test_a_log_built_from_scratch_is_read_as_it_was_built(build: object) -> None:
    """Reading what was rendered gives an equal log, and rendering that the same text."""
    log = build()  # type: ignore[operator]  # one of the two functions above
    text = syzbot.render(log)
    assert syzbot.read_log(text) == log
    assert syzbot.render(syzbot.read_log(text)) == text
    assert all(read_line(str(line)) == line for line in log.lines)


def test_cause_log_says_what_went_in() -> None:
    """Every field of a cause log is there again after reading."""
    log = syzbot.read_log(syzbot.render(cause_log()))
    assert (log.kind, log.start, log.host, log.syzkaller, log.range) == ("cause", A, "lab", F, (A, C))
    assert log.release_tags == ("v1.1", "v1.0")
    assert [test.stage for test in log.tests] == ["original", "release v1.1", "release v1.0", "bisect", "bisect", "parent"]
    assert [test.verdict for test in log.tests] == [None, None, None, Verdict.SKIP, Verdict.BAD, None]
    original, release, good, unbuilt, bad, parent = log.tests
    assert original.all_runs and original.runs == (CRASH,) and original.types == ("KASAN", "WARNING")
    assert (original.toolchain, original.compiler, original.signature) == ("gcc", "gcc 12.2", SIGNATURE)
    assert release.undetermined == (1, 5, 5, 2) and good.false_negative_chance == 0.25
    assert unbuilt.failure.startswith("kernel/sched.c:3: error") and not unbuilt.runs
    assert bad.runs == (OK, Run(Outcome.BOOT_FAILED, "no init"), CRASH)
    assert (bad.subject, bad.revisions_left, bad.steps_left) == ("pipe: wake up readers", 1, 1)
    assert not parent.runs and parent.signature == SIGNATURE
    assert log.outcome == "culprit" and log.culprit == (E, "pipe: wake up readers") and log.candidates == (E,)
    assert "kernel/pipe.c | 2 +-" in log.culprit_text
    assert log.culprit_files == {"kernel/pipe.c"} and not log.culprit_is_merge
    assert (log.culprit_signature, log.parent_signature) == (SIGNATURE, SIGNATURE[::-1])
    assert (log.error_probability, log.repro_chance) == (0.07, 0.45)
    assert log.costs == syzbot.LogCosts(6, "4h16m14.959531657s", "758.279707ms", "0s")
    assert (log.costs.total_s, log.costs.build_s) == (15374.959531657, 0.758279707)
    assert (log.recipients, log.copies) == (("a@example.org",), ())
    assert log.crash_title == CRASH.title and log.report.startswith("BUG: KASAN") and not log.error


@pytest.mark.parametrize(
    ("tail", "files", "merge"),
    [
        (":100644 100644 1a2b 3c4d M\tfs/pipe.c\n:000000 100644 0000 5e6f A\tfs/new.c", {"fs/pipe.c", "fs/new.c"}, False),
        (" fs/pipe.c   | 12 ++--\n data/a.bin | Bin 0 -> 12 bytes\n 2 files changed", {"fs/pipe.c", "data/a.bin"}, False),
        ("", set(), True),
    ],
)
def test_files_and_parents_of_the_culprit(tail: str, files: set[str], *, merge: bool) -> None:
    """In the form of either git, and none in a merge; a message is indented, so none of it can pose as a file."""
    text = syzbot.render(cause_log()).replace("Author:", f"{'Merge: 1a2b 3c4d' * merge}\nAuthor:")
    text = text.replace("pipe: wake up readers\n\n kernel/pipe.c | 2 +-", f"pipe: Merge: x\n     fs/not.c | 2 +-\n\n{tail}")
    log = syzbot.read_log(text)
    assert "fs/not.c" in log.culprit_text
    assert (log.culprit_files, log.culprit_is_merge) == (files, merge)


def test_a_fix_log_has_the_words_of_git() -> None:
    """In a fix log a clean run is bad for git, and the culprit the first good commit."""
    text = syzbot.render(fix_log())
    assert f"# git bisect bad {C}\n" in text and f"first good commit: {C} x\n" in text
    view = syzbot.view(syzbot.read_log(text))
    assert view.kind == "fix"
    assert [step.verdict for step in view.steps] == [Verdict.GOOD, Verdict.BAD, Verdict.BAD, Verdict.GOOD]


def test_old_log_comes_back_and_is_understood() -> None:
    """A log of 2021: verdicts over several lines, a build failure without a mark, a skip list."""
    log = syzbot.read_log(OLD_LOG)
    assert syzbot.render(log) == OLD_LOG
    assert log.outcome == "inconclusive" and log.candidates == (C, A) and log.culprit is None
    boot = Run(Outcome.BOOT_FAILED, "can't ssh into the instance\nssh: connect to host 192.0.2.1 port 22: timed out")
    assert log.tests[1].runs == (boot, OK, OK, OK)
    assert log.tests[2].failure == "drivers/net/tun.c:12:3: error: implicit declaration of function 'g'"
    assert log.tests[0].compiler == "gcc (GCC) 10.2.1 20210110"
    assert log.costs is not None and log.costs.total_s == 3723.5


def test_steps_expand_all_runs_and_count_candidates() -> None:
    """All runs are as many as elsewhere in the log; candidates follow from what git has left."""
    steps = syzbot.steps(syzbot.read_log(OLD_LOG))
    assert [len(step.runs) for step in steps] == [10, 4, 0, 4]
    assert [step.verdict for step in steps] == [Verdict.BAD, Verdict.GOOD, Verdict.SKIP, Verdict.GOOD]
    assert [step.candidates_left for step in steps] == [None, 3, 2, 2]
    assert [step.stage for step in steps] == ["original", "release v5.9", "bisect", "bisect"]
    assert steps[0].titles == {"WARNING in f": 10}


def test_view_of_a_log() -> None:
    """The view holds the answer, its confidence and whether the change was a noop."""
    view = syzbot.view(cause_log())
    assert (view.outcome, view.culprit, view.culprit_subject) == ("culprit", E, "pipe: wake up readers")
    assert view.confidence == pytest.approx(0.93) and view.candidates == ((E, view.confidence),)
    assert view.noop is False and view.n_commits == 5 and view.build_s == 0.758279707
    assert syzbot.view(syzbot.read_log(OLD_LOG)).candidates == ((C, 0.5), (A, 0.5))


@pytest.mark.parametrize("kind", ["cause", "fix"])
@pytest.mark.parametrize("outcome", ["not reproduced", "older than range", "not in range", "budget spent", "inconclusive"])
def test_every_outcome_is_read_as_it_was_given(kind: str, outcome: str) -> None:
    """Each outcome of a search has its sentence in the log."""
    log = syzbot.compose(kind=kind, start=A, tests=[syzbot.tested(A, "original", [OK])], outcome=outcome)
    assert syzbot.read_log(syzbot.render(log)).outcome == outcome


def test_errors_over_several_lines() -> None:
    """What broke a bisection is kept whole; it is no outcome of a search."""
    log = syzbot.compose(kind="cause", start=A, tests=[], error="kernel clean failed: make\nmake: no rule\nerror: 2")
    read = syzbot.read_log(syzbot.render(log))
    assert read.outcome == "error" and read.error == "kernel clean failed: make\nmake: no rule\n error: 2"


@pytest.mark.parametrize("text", ["", "hello\n", "\x00" * 100, "testing commit " + A, "\n" * 1000 + OLD_LOG])
def test_other_text_is_refused(text: str) -> None:
    """A text that does not say what is bisected is no log, and the error says so."""
    with pytest.raises(LogError, match="bisecting cause commit"):
        syzbot.read_log(text)


def test_a_cut_log_is_read() -> None:
    """A log cut anywhere after its head is read, and printed as it was."""
    text = syzbot.render(cause_log())
    for end in range(text.index(A) + 40, len(text), 7):
        assert syzbot.render(syzbot.read_log(text[:end])) == text[:end]
    assert syzbot.read_log(text[: text.index("revisions tested")]).outcome is None


def test_bad_parts_are_refused() -> None:
    """What would be read as something else is not printed."""
    with pytest.raises(LogError, match="kind"):
        syzbot.compose(kind="culprit", start=A, tests=[])
    with pytest.raises(LogError, match="checked out"):
        syzbot.compose(
            kind="cause",
            start=A,
            ends=(A, B),
            tests=[
                syzbot.tested("HEAD", "bisect", subject="x"),
            ],
        )
    with pytest.raises(LogError, match="checked out"):
        syzbot.compose(kind="cause", start=A, ends=(A, B), tests=[syzbot.tested(C, "bisect", subject=f"x\n# git bisect bad {C}")])


def test_text_of_a_build_cannot_pose_as_a_verdict() -> None:
    """The output of a build that looks like the log's own lines stays the output of a build."""
    failure = f"# git bisect bad {C}\nrun #0: OK\nrevisions tested: 1, total time: 0s (build: 0s, test: 0s)"
    log = syzbot.compose(kind="cause", start=A, ends=(A, B), tests=[syzbot.tested(C, "bisect", failure=failure)])
    (test,) = syzbot.read_log(syzbot.render(log)).tests
    assert test.verdict is None and not test.runs
    assert [line.strip() for line in test.failure.split("\n")] == failure.split("\n")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0.0), ("1ns", 1e-9), ("1.5µs", 1.5e-6), ("758.279707ms", 0.758279707), ("1s", 1.0), ("1m0s", 60.0),
     ("2h30m40.146s", 9040.146), ("4h16m14.959531657s", 15374.959531657), ("1h0m0.5s", 3600.5)],
)  # fmt: skip
def test_durations_as_go_prints_them(text: str, seconds: float) -> None:
    """Both directions."""
    assert syzbot.go_duration(seconds) == text
    assert syzbot.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "s", "1h ", "-1s", "1x", "1.s", "9" * 5000 + "s"])
def test_no_duration(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(LogError, match="duration"):
        syzbot.seconds(text)


@given(st.integers(0, 10**15))
def test_durations_come_back(nanoseconds: int) -> None:
    """Below some eleven days a duration survives a float to the nanosecond."""
    text = syzbot.go_duration(nanoseconds / 10**9)
    assert syzbot.seconds(text) == pytest.approx(nanoseconds / 10**9, abs=1e-9)
    assert syzbot.go_duration(syzbot.seconds(text)) == text


@pytest.mark.parametrize(("candidates", "steps"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 2), (13587, 13), (100, 6)])
def test_steps_git_announces(candidates: int, steps: int) -> None:
    """As git rounds: 13 steps for the 13587 commits of the range between v5.4 and a commit before v5.5."""
    assert syzbot.git_steps(candidates) == steps


def test_git_left() -> None:
    """Plural as git has it."""
    assert syzbot.git_left(1, 1) == "Bisecting: 1 revision left to test after this (roughly 1 step)"
    assert syzbot.git_left(0, 0) == "Bisecting: 0 revisions left to test after this (roughly 0 steps)"


TITLES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=30).map(str.strip)
HASHES = st.text("0123456789abcdef", min_size=40, max_size=40)
OUTCOMES = st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.OK])
RUNS = st.one_of(st.just(OK), st.builds(Run, OUTCOMES, TITLES))
TESTS = st.builds(
    lambda commit, runs, fold, fields: syzbot.tested(commit, "bisect", runs, fold=fold, **fields),
    HASHES, st.lists(RUNS, min_size=1, max_size=4), st.booleans(),
    st.fixed_dictionaries({}, optional={
        "verdict": st.sampled_from(Verdict), "subject": TITLES, "toolchain": st.sampled_from(["gcc", "clang"]),
        "signature": HASHES, "failure": TITLES, "false_negative_chance": st.integers(0, 1000).map(lambda n: n / 1000),
        "undetermined": st.tuples(*[st.integers(0, 20)] * 4),
    }),
)  # fmt: skip


@given(st.lists(TESTS, max_size=5, unique_by=lambda test: test.commit), st.sampled_from(["cause", "fix"]), HASHES)
def test_generated_logs_are_read_as_they_were_built(tests: list[syzbot.Test], kind: str, start: str) -> None:
    """read(render(x)) == x, the tests with all their fields."""
    log = syzbot.compose(kind=kind, start=start, tests=tests, ends=(start, F))
    read = syzbot.read_log(syzbot.render(log))
    assert read == log
    assert read.tests == tuple(tests)


LINES = st.one_of(
    st.sampled_from((OLD_LOG + syzbot.render(cause_log()) + syzbot.render(fix_log())).split("\n")),
    st.sampled_from([pattern.replace("{hash}", A).replace("{int}", "7") for pattern in FORMS.values()]),
    st.text(max_size=60),
)


@given(st.lists(LINES, max_size=40), st.booleans())
def test_mutated_logs_come_back(lines: list[str], newline: bool) -> None:
    """render(read(text)) == text, whatever lines follow the head, and every view can be drawn."""
    text = "\n".join([f"bisecting fixing commit since {A}", *lines]) + "\n" * newline
    log = syzbot.read_log(text)
    assert syzbot.render(log) == text
    syzbot.view(log)


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    """Any text is a log or a LogError."""
    try:
        log = syzbot.read_log(text)
    except LogError:
        return
    assert syzbot.render(log) == text


@given(st.text())
def test_foreign_text_is_never_a_line_of_the_log(text: str) -> None:
    """What others printed is text when read back."""
    assert all(read_line(str(line)).form == "text" for line in foreign(text))


@pytest.mark.parametrize(
    "line",
    ["testing release " + "v" * 10**6, "representative crash: " + ", types: [" * 10**5, "revisions tested: " + "1" * 10**6,
     "1h" * 10**6, "picked [" + "] out of 1" * 10**5],
)  # fmt: skip
@pytest.mark.timeout(120)
def test_long_lines_are_read(line: str) -> None:
    """A megabyte in one line is read at once, whatever it resembles."""
    text = f"bisecting cause commit starting from {A}\n{line}\n"
    assert syzbot.render(syzbot.read_log(text)) == text


def test_signature_of_2019_is_read() -> None:
    """For three weeks it was printed with three spaces."""
    (test,) = syzbot.read_log(f"bisecting cause commit starting from {A}\ntesting commit {A}\nkernel signature:   {B}\n").tests
    assert test.signature == B


def test_lines_between_tests_are_none_of_a_build() -> None:
    """A smaller config is searched for after a test, and what that prints is not the output of the compiler."""
    text = f"bisecting cause commit starting from {A}\ntesting commit {A} gcc\nkconfig minimization: base=1\nhalf crashed\n"
    (test,) = syzbot.read_log(text).tests
    assert not test.failure and not test.runs


def test_runs_of_2018_are_read() -> None:
    """Before runs were folded each was a try."""
    head = f"searching for guilty commit starting from {A}\ntesting commit {A}\n"
    text = f"{head}try #0: kernel crashed: WARNING in f\ntry #1: OK\n"
    (test,) = syzbot.read_log(text).tests
    assert test.runs == (Run(Outcome.CRASHED, "WARNING in f"), OK)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text, []),
        (lambda text: text[: text.index("revisions tested")], ["ends before its conclusion"]),
        (lambda text: text[: text.index("roughly 1 step")], ["is cut off", "ends before its conclusion"]),
        (lambda text: text.replace("run #1: OK\n", ""), ["run 1 was expected, run 2 follows"]),
        (lambda text: text + text, ["another log begins in line"]),
        (lambda text: text.replace("run #1", "\x00\x01\ufffd#1"), ["no text", "run 1 was expected"]),
        (lambda text: text.replace(f"testing commit {D}", "testing com"), ["no test of it is there"]),
    ],
    ids=["whole", "no end", "cut", "a run lost", "twice", "binary", "a test lost"],
)  # fmt: skip
def test_damage_is_told(change: Callable[[str], str], words: list[str]) -> None:
    """What can be read is read, and what is missing is said."""
    text = change(OLD_LOG)
    log = syzbot.read_log(text)
    assert syzbot.render(log) == text and log.tests
    found = syzbot.damage(log)
    assert len(found) == len(words) and all(part in said for part, said in zip(words, found, strict=True)), found


@pytest.mark.skipif(not SHARED.is_dir(), reason="the forms of real logs are not here")
def test_every_form_of_real_logs_is_known() -> None:
    """Each line form that was ever printed fits a template; what git prints of a commit stays text."""
    blank = {"text": "x", "hash": A, "hex": "ab", "word": A, "int": "1", "number": "0.5", "duration": "1s", "verdict": "bad",
             "end": "bad", "newness": "bad", "toolchain": "gcc", "s": "s"}  # fmt: skip
    samples = [re.sub(r"\{(\w+)\}", lambda field: blank[field[1]], pattern) for pattern in FORMS.values()]
    with (SHARED / "syzbot" / "log_line_forms.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    text = {"blank", "g_commit", "g_author", "g_date", "g_merge", "g_raw", "g_stat"}
    missing = [row["name"] for row in rows if not any(re.match(row["regex"], sample) for sample in samples)]
    assert set(missing) == text


def shared_logs() -> Iterator[tuple[str, str]]:
    """Name and text of every log in the shared folder."""
    for seed in sorted((SHARED / "seeds").glob("*.txt")):
        yield seed.name, seed.read_bytes().decode()
    for archive in sorted((SHARED / "syzbot").glob("*.tar.xz")):
        with tarfile.open(archive) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.name.endswith(".txt") else None
                text = content.read().decode() if content else ""
                if "starts bisection" in text or text.startswith("bisecting"):
                    yield member.name, text


@pytest.mark.skipif(not SHARED.is_dir(), reason="the logs of real bisections are not here")
def test_real_logs_come_back() -> None:
    """Every published log, and every log in today's format, byte for byte."""
    n = 0
    for name, text in shared_logs():
        log = syzbot.read_log(text)
        assert syzbot.render(log) == text, name
        assert not syzbot.damage(log), name
        view = syzbot.view(log)
        assert view.steps or view.outcome == "error", name
        assert log.costs is not None and view.outcome is not None, name
        n += 1
    assert n > 1000
