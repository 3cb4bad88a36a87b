"""One bisection: ask, build, boot, repro, tell, until there is an answer. Read `Bisection` first.

The driver decides nothing about commits (the search does) and nothing about runs (evidence does). It asks, has the
answer made, writes it to the journal before the next question, and keeps what views need. Started again on the same
journal it takes what is written for answered and goes on with the first thing that is missing.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kbench.bisection.case import Case
from kbench.bisection.laboratory import Laboratory, LocalLaboratory
from kbench.bisection.plan import Plan, make_plan
from kbench.bisection.result import BisectionResult, observation
from kbench.errors import BuildError, JournalError, RevisionError
from kbench.host import storage
from kbench.journal import FILE_NAME, Entry, Journal, read_journal
from kbench.kernels import Store
from kbench.records import KernelImage, Step, Verdict
from kbench.repository import Repository
from kbench.search import Search

#: Outcomes that follow from an end that is not what the case says; the other ends need no check then.
ENDS_REFUTED = ("not reproduced", "older than range", "not in range")
#: An end whose runs could not be carried out is asked for so often.
END_TRIES = 3
#: A search names so many candidates in a result; the rest is in `search.result`.
MAX_CANDIDATES = 100


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
        self.n_candidates = self.plan.n_candidates
        self.steps: list[Step] = []
        self.result: BisectionResult | None = None
        self.started = ""
        self.search = self._new_search()
        self._on_change = on_change or (lambda _: None)
        self._laboratory = laboratory or LocalLaboratory(
            self.repository,
            self.plan.target,
            config=None if self.plan.config is None else self.plan.config.decode(errors="replace"),
            reproducer=None if self.plan.reproducer is None else self.output / "reproducer",
            store=store,
            jobs=jobs,
        )
        self._builds: dict[str, dict[str, Any]] = {}  # by commit, as journalled
        self._kernels: dict[str, KernelImage] = {}
        self._number = 0  # of the next question
        self.parent: str | None = None  # the culprit's first parent, once there is a culprit that has one

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
                case_inputs=self.plan.case_inputs(),
                case_name=self.case.name,
                key=self.plan.key(),
                inputs=self.plan.settings(),
                started=started,
            ) as journal:
                self.started = journal.started
                self._keep_reproducer()
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
        started, entries = read_journal(
            self.output, case_inputs=self.plan.case_inputs(), case_name=self.case.name, key=self.plan.key()
        )
        self.started = started
        written = iter(entries)
        try:
            noop = self._answer_all(None, written)
        except _NotWrittenError:
            return None
        self.result = self._conclude(noop)
        return self.result

    def _keep_reproducer(self) -> None:
        """Put the reproducer beside the journal: the user's own file may change while machines still need this one."""
        if self.plan.reproducer is not None:
            path = self.output / "reproducer"
            with storage("journal", self.output):
                if not path.is_file() or path.read_bytes() != self.plan.reproducer:
                    path.write_bytes(self.plan.reproducer)

    def _answer_all(self, journal: Journal | None, written: Iterator[Entry]) -> bool | None:
        """Ask until there is an answer; return whether culprit and parent are one kernel."""
        for commit, runs, stage in self._questions():
            name = self.plan.hash(commit)
            self._tell(self._answer(journal, next(written, None), name, runs, stage, position=commit))
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
        for commit, stage in self.plan.ends:
            for _ in range(END_TRIES):
                if self._spent() or self.search.result.outcome in ENDS_REFUTED or self.search.verdict(commit) is not None:
                    break
                yield commit, self.case.runs or self.search.runs(commit), stage
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

    def _answer(
        self, journal: Journal | None, entry: Entry | None, name: str, runs: int, stage: str, *, position: int | None
    ) -> _Answer:
        """Make the answer to one question, as far as the journal does not have it; without one to write, only what is there."""
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
        subject = self._subjects.get(name) or self.repository.subject(name)
        blank = Step(name, subject, stage, None, tuple(run for _, run in entry.done), runs, position=position)
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
        found = self.search.result
        if found.culprit is None:
            return None
        culprit = self.plan.hash(found.culprit)
        try:
            self.parent = parent = self.repository.resolve(f"{culprit}^")  # it may lie outside of the range
        except RevisionError:
            return None  # a root commit, or the end of a shallow clone
        if parent not in self._builds:
            inside = [index for index in self.plan.history.parents[found.culprit] if self.plan.hash(index) == parent]
            self._answer(journal, entry, parent, 0, "parent", position=inside[0] if inside else None)
        mine, its = (self._builds.get(name, {}).get("signature") for name in (culprit, parent))
        return None if mine is None or its is None else mine == its

    def _conclude(self, noop: bool | None) -> BisectionResult:
        found = self.search.result
        culprit = None if found.culprit is None else self.plan.hash(found.culprit)
        clean = [step.stage for step in self.steps if step.stage.startswith("release ") and step.verdict is Verdict.GOOD]
        return BisectionResult(
            outcome=found.outcome or "budget spent",
            culprit=culprit,
            culprit_subject=self._subjects[culprit] if culprit else "",
            confidence=found.confidence if culprit else None,
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
