"""One bisection: ask, build, boot, repro, tell, until there is an answer. Read `Bisection` first.

The driver decides nothing about commits (the search does) and nothing about runs (evidence does). It asks, has the
answer made, writes it to the journal before the next question, and keeps what views need. Started again on the same
journal it takes what is written for answered and goes on with the first thing that is missing.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kbench.bisection.case import Case
from kbench.bisection.laboratory import Laboratory, LocalLaboratory
from kbench.bisection.plan import Plan, make_plan
from kbench.errors import BuildError, JournalError
from kbench.journal import FILE_NAME, Entry, Journal, read_journal
from kbench.kernels import Store
from kbench.records import KernelImage, Outcome, Run, Step, Verdict
from kbench.repository import Repository
from kbench.search import Observation, Search

#: Outcomes that follow from an end that is not what the case says; the other ends need no check then.
ENDS_REFUTED = ("not reproduced", "older than range", "not in range")
#: A search names so many candidates in a result; the rest is in `search.result()`.
MAX_CANDIDATES = 100


@dataclass(frozen=True, slots=True)
class BisectionResult:
    """What a bisection came to. `to_json` is what `--json` prints."""

    outcome: str  # "culprit", "inconclusive", "not reproduced", "older than range", "not in range", "budget spent"
    culprit: str | None  # 40 hex digits
    culprit_subject: str
    confidence: float | None
    candidates: tuple[tuple[str, float], ...]  # (commit, probability), most probable first, 100 at most
    n_candidates: int
    noop: bool | None  # culprit and parent are one kernel; None: not compared
    release: str  # the newest release that does not have the bug, "" when none was walked to
    builds: int  # revisions built or tried to
    cached: int  # of those, kernels that were there already
    runs: int
    build_s: float
    test_s: float

    @property
    def seconds(self) -> float:
        """Wall clock spent on builds and runs."""
        return self.build_s + self.test_s

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        values = asdict(self)
        values["candidates"] = [{"commit": commit, "probability": p} for commit, p in self.candidates]
        return values | {"seconds": self.seconds}


class _NotWrittenError(Exception):
    """A journal that is only read has come to its end."""


@dataclass(slots=True)
class _Answer:
    """The step of one experiment while it is answered, and what the journal knows of its build."""

    step: Step
    build: dict[str, Any] | None = None


class Bisection:
    """A case, a search and a journal; `run` brings them together.

    Parameters
    ----------
    case : Case
    output : Path, optional
        The case directory for journal, consoles and report; by default `CASE.kbench` beside `CASE.toml`.
    laboratory : Laboratory, optional
        Who builds and runs; this machine by default.
    on_change : callable, optional
        Called with this object after every change: a run ended, an answer was told.
    """

    def __init__(
        self,
        case: Case,
        *,
        output: Path | None = None,
        laboratory: Laboratory | None = None,
        on_change: Callable[[Bisection], None] | None = None,
        jobs: int | None = None,
        store: Store | None = None,
    ) -> None:
        self.case = case
        self.output = (output or case.folder / f"{case.stem}.kbench").absolute()
        self.repository = Repository(case.path(case.repository))
        self.plan: Plan = make_plan(case, self.repository)
        self._subjects = self.repository.subjects(map(str, self.plan.history.commits))
        self.steps: list[Step] = []
        self.result: BisectionResult | None = None
        self.started = ""
        self.search = self._new_search()
        self._on_change = on_change or (lambda _: None)
        self._laboratory = laboratory or LocalLaboratory(
            self.repository,
            self.plan.target,
            config=(case.read("config") or b"").decode(errors="replace") if case.config else None,
            reproducer=case.path(case.reproducer).absolute() if case.reproducer else None,
            store=store,
            jobs=jobs,
        )
        self._builds: dict[str, dict[str, Any]] = {}  # by commit, as journalled
        self._kernels: dict[str, KernelImage] = {}
        self._number = 0  # of the next question

    @property
    def journal_path(self) -> Path:
        """Where the journal is."""
        return self.output / FILE_NAME

    def run(self) -> BisectionResult:
        """Bisect to the end, from wherever the journal stands, and return the result.

        Raises
        ------
        JournalError
            The journal is another case's or in use; nothing was changed.
        StorageError, MachineLacksError
            This machine cannot go on; start again when it can, nothing is lost.
        """
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        try:
            self._laboratory.check()
            with Journal.open(
                self.output,
                case_key=self.plan.case_key(),
                case_name=self.case.name,
                key=self.plan.key(),
                inputs=self.plan.settings(),
                started=started,
            ) as journal:
                self.started = journal.started
                self.result = self._conclude(self._answer_all(journal, iter(journal.entries())))
                journal.finish(self.result.to_json())
        finally:
            self._laboratory.close()
        self._on_change(self)
        return self.result

    def read(self) -> BisectionResult | None:
        """Take what the journal has, ended or not, without building, running or writing anything.

        Returns the result, None while the bisection has not ended.

        Raises
        ------
        JournalError
            There is none of this bisection.
        """
        started, entries = read_journal(self.output, case_key=self.plan.case_key(), case_name=self.case.name, key=self.plan.key())
        self.started = started
        written = iter(entries)
        try:
            noop = self._answer_all(None, written)
        except _NotWrittenError:
            return None
        self.result = self._conclude(noop)
        return self.result

    def _answer_all(self, journal: Journal | None, written: Iterator[Entry]) -> bool | None:
        """Ask until there is an answer; return whether culprit and parent are one kernel."""
        for commit, runs, stage in self._questions():
            self._tell(self._answer(journal, next(written, None), commit, runs, stage))
        return self._check_noop(journal, next(written, None))

    def _new_search(self) -> Search:
        plan = self.plan
        return Search(
            plan.history,
            bad=plan.bad,
            good=list(plan.good),
            tags=[index for _, index in plan.tags],
            strategy=self.case.strategy,
            confidence=self.case.confidence,
            fix=plan.fix,
        )

    def _questions(self) -> Iterator[tuple[int, int, str]]:
        """Yield (commit, runs, stage): the given ends first, then what the search asks."""
        for commit, runs, stage in self.plan.ends:
            if self.search.result().outcome not in ENDS_REFUTED:
                yield commit, self.case.runs or runs, stage
        while not self._spent() and (experiments := self.search.ask()):
            for experiment in experiments:
                yield experiment.commit, self.case.runs or experiment.runs, self.plan.stage(experiment.commit, self.search.stage)

    def _spent(self) -> bool:
        """Whether a budget of the case is spent."""
        limits = (
            (self.case.max_builds, len(self._builds)),
            (self.case.max_runs, sum(len(step.runs) for step in self.steps)),
            (self.case.max_seconds, sum(step.build_s + step.test_s for step in self.steps)),
        )
        return any(limit is not None and spent >= limit for limit, spent in limits)

    def _answer(self, journal: Journal | None, entry: Entry | None, commit: int, runs: int, stage: str) -> _Answer:
        """Make the answer to one question, as far as the journal does not have it; without one to write, only what is there."""
        name = self.plan.hash(commit)
        if entry is None:
            if journal is None:
                raise _NotWrittenError
            entry = Entry(journal.ask(self._number, name, runs, stage), self._number, name, runs, stage, None, 0.0, False, ())
        elif (entry.commit, entry.runs, entry.stage) != (name, runs, stage):
            raise JournalError(
                f"journal: expected question {self._number} to be {stage} {name[:12]} with {runs} runs, "
                f"{self.journal_path} has {entry.stage} {entry.commit[:12]} with {entry.runs}; "
                "it was written by another version, give another --output"
            )
        self._number += 1
        blank = Step(name, self._subjects[name], stage, None, tuple(run for _, run in entry.done), runs, position=commit)
        answer = _Answer(replace(blank, test_s=entry.test_s), dict(entry.build) if entry.build else None)
        self.steps.append(answer.step)
        if journal is None and not entry.complete:
            if answer.build is not None:
                self._show(answer)
            raise _NotWrittenError
        if answer.build is None:
            assert journal is not None  # entries without a build are not complete
            self._on_change(self)
            answer.build = self._build(name)
            journal.built(entry.id, answer.build)
        self._builds.setdefault(name, answer.build)
        self._show(answer)
        if journal is not None and not entry.complete:
            if not answer.build["error"]:
                self._run_missing(journal, entry, answer)
            journal.complete(entry.id)
        return answer

    def _show(self, answer: _Answer, **changes: Any) -> None:
        """Put what is known of an answer into its step."""
        build = answer.build or {}
        answer.step = replace(
            answer.step,
            **{name: build[name] for name in ("signature", "build_s", "cached", "compiler")},
            failure=build["error"],
            **changes,
        )
        self.steps[-1] = answer.step
        self._on_change(self)

    def _build(self, commit: str) -> dict[str, Any]:
        """Build a commit and return what the journal keeps of it."""
        started = time.monotonic()
        try:
            kernel = self._kernels[commit] = self._laboratory.build(commit)
        except BuildError as error:
            return {
                "error": str(error),
                "file": error.evidence.get("file", ""),
                "log": str(error.evidence.get("log", ""))[-4000:],
                "signature": None,
                "compiler": "",
                "cached": bool(error.evidence.get("cached", False)),
                "build_s": time.monotonic() - started,
            }
        return {
            "error": "",
            "file": "",
            "log": "",
            "signature": kernel.signature,
            "compiler": kernel.compiler,
            "cached": kernel.cached,
            "build_s": time.monotonic() - started,
        }

    def _run_missing(self, journal: Journal, entry: Entry, answer: _Answer) -> None:
        """Run what the journal does not have yet; each run is on disk before the next one is looked at."""
        kernel = self._kernels.get(entry.commit) or self._laboratory.build(entry.commit)
        done = dict(entry.done)
        missing = [number for number in range(entry.runs) if number not in done]
        last = time.monotonic()
        for number, run in self._laboratory.run(kernel, missing, lambda n: self._console(entry, n)):
            done[number] = run
            now = time.monotonic()
            journal.ran(entry.id, number, run, now - last)
            answer.step = replace(answer.step, test_s=answer.step.test_s + now - last)
            last = now
            self._show(answer, runs=tuple(done[n] for n in sorted(done)))

    def _console(self, entry: Entry, number: int) -> Path:
        return self.output / "consoles" / f"{entry.id:03d}-{entry.commit[:12]}" / f"run-{number:02d}.txt"

    def _tell(self, answer: _Answer) -> None:
        """Tell the search an answer and note in its step what that left."""
        step = answer.step
        commit = step.position
        assert commit is not None  # steps of a real history have one
        self.search.tell(observation(commit, step))
        remaining = self.search.remaining
        self.steps[-1] = replace(
            step,
            verdict=self.search.verdict(commit),
            candidates_left=int(remaining.sum()),
            spans=self.plan.history.spans(remaining),
        )
        self._on_change(self)

    def _check_noop(self, journal: Journal | None, entry: Entry | None) -> bool | None:
        """Compare the culprit's signature with its parent's; the parent is built when it was not tested."""
        found = self.search.result()
        if found.culprit is None or not (parents := self.plan.history.parents[found.culprit]):
            return None
        culprit, parent = self.plan.hash(found.culprit), self.plan.hash(parents[0])
        if parent not in self._builds:
            self._answer(journal, entry, parents[0], 0, "parent")
        mine, its = (self._builds.get(name, {}).get("signature") for name in (culprit, parent))
        return None if mine is None or its is None else mine == its

    def _conclude(self, noop: bool | None) -> BisectionResult:
        found = self.search.result()
        culprit = None if found.culprit is None else self.plan.hash(found.culprit)
        clean = [step.stage for step in self.steps if step.stage.startswith("release ") and step.verdict is Verdict.GOOD]
        return BisectionResult(
            outcome=found.outcome or "budget spent",
            culprit=culprit,
            culprit_subject=self._subjects[culprit] if culprit else "",
            confidence=found.confidence,
            candidates=tuple((self.plan.hash(commit), float(p)) for commit, p in found.candidates[:MAX_CANDIDATES]),
            n_candidates=len(found.candidates),
            noop=noop,
            release=clean[-1].removeprefix("release ") if clean else "",
            builds=len(self._builds),
            cached=sum(build["cached"] for build in self._builds.values()),
            runs=sum(len(step.runs) for step in self.steps),
            build_s=sum(step.build_s for step in self.steps),
            test_s=sum(step.test_s for step in self.steps),
        )


def observation(commit: int, step: Step) -> Observation:
    """Return what a tested revision says, as a search is told it (pure)."""
    counts = step.counts
    return Observation(
        commit,
        passed=counts[Outcome.OK],
        crashes=dict(step.titles),
        boot_failed=counts[Outcome.BOOT_FAILED],
        test_failed=counts[Outcome.TEST_FAILED],
        infra=counts[Outcome.INFRA],
        skip="build" if step.failure else None,
        signature=step.signature,
    )


def representative_crash(steps: list[Step]) -> Run | None:
    """Return a crashed run that shows the bug: of the first revision that crashed, of its most frequent title."""
    for step in steps:
        if step.titles:
            title = step.titles.most_common(1)[0][0]
            return next(run for run in step.runs if run.outcome is Outcome.CRASHED and run.title == title)
    return None
