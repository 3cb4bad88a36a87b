"""The tested revisions of a log: each its runs, its signature and git's verdict. Read `Test` first."""

from __future__ import annotations

from dataclasses import dataclass

from kbench.records import Outcome, Run, Verdict
from kbench.syzbot.forms import Line

# A verdict of a run, by what it begins with. "failed" and "ignore" say nothing about the kernel.
VERDICTS = (
    ("crashed: ", Outcome.CRASHED),
    ("kernel crashed: ", Outcome.CRASHED),  # 2018
    ("boot failed: ", Outcome.BOOT_FAILED),
    ("basic kernel testing failed: ", Outcome.TEST_FAILED),
    ("infra problem: ", Outcome.INFRA),
    ("failed: ", Outcome.INFRA),  # until 2023-05
    ("ignore: ", Outcome.INFRA),  # since 2023-07
)

_TEST = ("test with", "test", "test plain")
_STAGES = {"original", "release", "head", "merge base", "reach by test", "parent"}
_IN_TEST = {
    "text", "compiler", "signature", "signature, 2019", "previous signature", "failed", "build failed", "repro failed",
    "build failed, 2018",
    "all runs", "run", "run, 2018", "representative", "false negative", "undetermined", "too many errors", "flaky, 2020",
}  # fmt: skip
_QUESTION = {"reach", "reached", "reach by merge base", "not reached"}
_FAILURES = {"failed", "repro failed", "build failed, 2018"}


@dataclass(frozen=True, slots=True)
class Test:
    """One tested revision. Times and consoles of the runs are not in a log."""

    __test__ = False  # not a class of tests, whatever pytest thinks of its name

    commit: str  # 40 hex digits
    stage: str  # "original", "config", "release v5.4", "head", "merge base", "bisect" or "parent"
    runs: tuple[Run, ...] = ()
    all_runs: bool = False  # runs holds one run; all of them, nobody says how many, were like it
    verdict: Verdict | None = None  # git's; None when git was not told
    subject: str = ""  # first line of the commit's message, when git printed it
    toolchain: str = ""  # "gcc", "clang"
    compiler: str = ""
    signature: str = ""  # hex digits
    failure: str = ""  # the output of a build that failed, or why the test as a whole did
    representative: str = ""  # the crash title that stands for all
    types: tuple[str, ...] = ()  # crash types, the representative's first
    false_negative_chance: float | None = None  # printed for a good one, three digits
    undetermined: tuple[int, int, int, int] | None = None  # good runs, wanted; wanted for bad in total, got
    revisions_left: int | None = None  # git: left to test after this one
    steps_left: int | None = None  # git: roughly
    asked: bool = False  # a fix bisection asked first if the bug was there yet; the next three say how that was answered
    contains: str = ""  # a crashing revision it contains
    merge_bases: tuple[str, ...] = ()  # of it and the original commit
    assumed: bool = False  # older than the bug: counted as crashing, without a test


def read_run(text: str) -> Run:
    """Read a verdict of a run, such as "crashed: TITLE"; one that no version of syzkaller prints is INFRA."""
    if text.rstrip() == "OK":
        return Run(Outcome.OK)
    outcome, title = next(((o, text[len(p) :]) for p, o in VERDICTS if text.startswith(p)), (Outcome.INFRA, text))
    return Run(outcome, title.replace("\r", "").strip())


@dataclass
class _Block:
    """The lines of one test, and what git says about it before and after."""

    commit: str
    stage: str
    lines: list[Line]
    left: Line | None = None
    verdict: Verdict | None = None
    question: tuple[Line, ...] = ()  # was the bug there yet?


def read_tests(lines: tuple[Line, ...]) -> tuple[Test, ...]:
    """Every tested revision of a log, in order."""
    subjects = {line.values[0]: line.values[1] for line in lines if line.form == "checked out"}
    subjects.update((line.values[0], line.values[1]) for line in lines if line.form == "merge base")
    subjects.update((line.values[1], line.values[2]) for line in lines if line.form == "culprit")
    return tuple(_read_test(block, subjects.get(block.commit, "")) for block in _blocks(lines))


def _blocks(lines: tuple[Line, ...]) -> list[_Block]:
    blocks: list[_Block] = []
    stage, usual, inside = "original", "config", False
    left: Line | None = None
    question: list[Line] = []
    for line in lines:
        if line.form in _TEST:
            if stage == "merge base" and usual == "bisect":  # in answer to the question about the revision that comes next
                blocks.append(_Block(line.values[0], stage, [line]))
            else:
                blocks.append(_Block(line.values[0], stage, [line], left, question=tuple(question)))
                left, question = None, []
            stage, inside = usual, True
            continue
        inside = inside and line.form in _IN_TEST
        if inside:
            blocks[-1].lines.append(line)
        elif line.form in _STAGES:
            stage = _stage_name(line)
        elif line.form in _QUESTION:
            question.append(line)
        elif line.form == "bisect start":
            stage = usual = "bisect"
        elif line.form == "left":
            left, question = line, []
        elif line.form == "bisect":
            _judge(blocks, line, left, question)
            left, question = None, []
        elif line.form == "costs":
            break
    return blocks


def _stage_name(line: Line) -> str:
    if line.form == "release":
        return f"release {line.values[0]}"
    return "merge base" if line.form == "reach by test" else line.form


def _judge(blocks: list[_Block], line: Line, left: Line | None, question: list[Line]) -> None:
    verdict, commit = Verdict(line.values[0]), line.values[1]
    block = next((block for block in reversed(blocks) if block.commit == commit and block.stage == "bisect"), None)
    if block is None or block.verdict is not None:
        # A fix bisection met a revision older than the bug, and told git without a test of its own.
        block = _Block(commit, "bisect", [], left, question=tuple(question))
        blocks.append(block)
    block.verdict = verdict


def _read_test(block: _Block, subject: str) -> Test:
    # Later lines of a form win, as when a kernel was built twice.
    values = {line.form: line.values for line in block.lines}
    runs, failure = _read_runs(block.lines[1:])
    representative = values.get("representative", ("", ""))
    chance, undetermined = values.get("false negative"), values.get("undetermined")
    left = block.left
    return Test(
        commit=block.commit,
        stage=block.stage,
        runs=runs,
        all_runs="all runs" in values,
        verdict=block.verdict,
        subject=subject,
        toolchain=values.get("test", ("", ""))[1],
        compiler=(values.get("compiler") or values.get("test with", ("",))[-1:])[0],
        signature=(values.get("signature") or values.get("signature, 2019") or ("",))[-1],
        failure=failure,
        representative=representative[0],
        types=tuple(representative[1].split()),
        false_negative_chance=float(chance[0]) if chance else None,
        undetermined=_four(undetermined) if undetermined else None,
        revisions_left=int(left.values[0]) if left else None,
        steps_left=int(left.values[2]) if left else None,
        asked=bool(block.question),
        contains=next((line.values[0] for line in block.question if line.form == "reached"), ""),
        merge_bases=tuple(line.values[0] for line in block.question if line.form == "reach by merge base"),
        assumed=any(line.form == "not reached" for line in block.question),
    )


def _four(values: tuple[str, ...]) -> tuple[int, int, int, int]:
    a, b, c, d = map(int, values)
    return a, b, c, d


def _read_runs(lines: list[Line]) -> tuple[tuple[Run, ...], str]:
    # A verdict can span lines; text that follows no verdict is what the compiler or make said.
    verdicts: list[list[str]] = []
    failure: list[str] = []
    for line in lines:
        if line.form in ("run", "run, 2018", "all runs"):
            verdicts.append([line.values[-1]])
        elif line.form == "text":
            (verdicts[-1] if verdicts else failure).append(line.values[0])
        elif line.form in _FAILURES:
            failure.append(line.values[-1])
        elif line.form == "build failed" and not failure:
            failure.append(line.values[1])
    return tuple(read_run("\n".join(text)) for text in verdicts), "\n".join(failure).strip("\n")
