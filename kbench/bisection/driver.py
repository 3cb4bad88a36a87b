"""One bisection: ask, build, boot, repro, tell, until there is an answer. Read `Bisection` first.

The driver decides nothing about commits (the search does) and nothing about runs (evidence does). It asks, has the
answer made, writes it to the journal before the next question, and keeps what views need. Started again on the same
journal it takes what is written for answered and goes on with the first thing that is missing.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kbench.bisection.answers import Answers, Asked, NotWrittenError, Record
from kbench.bisection.ask import KernelSearch
from kbench.bisection.case import Case
from kbench.bisection.closing import Closing
from kbench.bisection.configs import ConfigTests, Minimise
from kbench.bisection.control import BY_HAND, MARKS, Control
from kbench.bisection.laboratory import Laboratory, laboratory_of
from kbench.bisection.plan import Plan, make_plan
from kbench.bisection.result import BisectionResult, costs, first_crash, marked, observation
from kbench.crash.guilty import trace_files, trace_functions
from kbench.errors import RevisionError
from kbench.evidence.priors import FloatArray
from kbench.history import Mask
from kbench.host import storage
from kbench.journal import FILE_NAME, Journal, read_journal
from kbench.kernels import Store
from kbench.records import Step, Verdict
from kbench.relevance import Relevance, decides
from kbench.repository import Repository
from kbench.search import Observation

#: Outcomes that follow from an end that is not what the case says, or that nobody can tell; the others need no check then.
ENDS_REFUTED = ("not reproduced", "older than range", "not in range", "inconclusive")
#: An end whose runs could not be carried out is asked for so often.
END_TRIES = 3


class Bisection:
    """A case, a search and a journal; `run` brings them together.

    Parameters
    ----------
    case : Case
    output : Path, optional
        The case directory for journal, consoles and report; by default `CASE.kbench` beside `CASE.toml`.
    laboratory : Laboratory, optional
        Who builds and runs; by default this machine, or the cluster the case names.
    on_change : callable, optional
        Called with this object after every change: a run ended, an answer was told.
    minimise : callable, optional
        Chooses, once the bug was seen, the config to go on with; see `kbench.bisection.configs.Minimise`.
    cluster : optional
        A cluster or client of Dask, instead of the address of the case.
    control : Control, optional
        With which somebody pauses, stops, marks revisions and has more runs made.
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
        minimise: Minimise | None = None,
        cluster: Any = None,
        control: Control | None = None,
    ) -> None:
        self.case = case
        self.output = (output or case.folder / f"{case.stem}.kbench").absolute()
        self.repository = Repository(case.path(case.repository))
        self.plan: Plan = make_plan(case, self.repository)
        self._subjects = self.repository.subjects(map(str, self.plan.history.commits))
        self._positions = {commit: index for index, commit in enumerate(self.plan.history.commits)}
        self.result: BisectionResult | None = None
        self.started = ""
        self.search = KernelSearch(self.plan, self._read_changes if self.plan.relevance else None, self._read_mentions)
        self.control = control or Control()
        self._on_change = on_change or (lambda _: None)
        self._laboratory = laboratory or laboratory_of(
            self.plan, self.repository, self.output, store=store, jobs=jobs, cluster=cluster
        )
        self.answers = Answers(
            self._laboratory,
            self.search,
            self.output,
            liveness=self.plan.liveness,
            lend=self.plan.lend,
            on_change=lambda: self._on_change(self),
            control=self.control,
        )
        self._record = Record(None, deque())
        self._minimise = minimise
        self._assumed: set[int] = set()  # noted as steps
        self._closing = Closing(
            self.plan,
            self.repository,
            self.search,
            self.answers,
            build=self._build,
            test=self._test_parent,
            prove=self._prove,
            revert=self._revert,
            ended=self._ended,
        )

    @property
    def steps(self) -> list[Step]:
        """What was tested so far, in order."""
        return self.answers.steps

    @property
    def belief(self) -> FloatArray:
        """P(culprit) of every commit of the history, as far as the search believes in any; shape (n,)."""
        belief = np.zeros(len(self.plan.history))
        for commit, p in self.search.result.candidates:
            belief[commit] = p
        return belief

    def position(self, commit: str) -> int | None:
        """Where a commit (40 hex digits) is in the history; None when it is not there."""
        return self._positions.get(commit)

    @property
    def parent(self) -> str | None:
        """The culprit's first parent, once there is a culprit that has one."""
        return self._closing.parent

    @property
    def config(self) -> str | None:
        """The config that kernels are built with; None: the case's own, as it was given."""
        return self.answers.config

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
                self._record = Record(journal, deque(journal.entries()))
                self.result = self._answer_all()
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
        self._record = Record(None, deque(entries))
        try:
            self.result = self._answer_all()
        except NotWrittenError:
            return None
        return self.result

    def _keep_reproducer(self) -> None:
        """Put the reproducer beside the journal: the user's own file may change while machines still need this one."""
        if self.plan.reproducer is not None:
            path = self.output / "reproducer"
            with storage("journal", self.output):
                if not path.is_file() or path.read_bytes() != self.plan.reproducer:
                    path.write_bytes(self.plan.reproducer)

    def _answer_all(self) -> BisectionResult:
        """Ask until there is an answer that stands, and return it."""
        while True:
            for commit, runs, stage, ends_early in self._questions():
                asked = replace(self._asked(self.plan.hash(commit), runs, stage, commit), ends_early=ends_early)
                self._tell(self.answers.answer(asked, self._record))
            if self._closing.lost or self._closing.confirm():
                return self._closing.conclude()

    def _questions(self) -> Iterator[tuple[int, int, str, bool]]:
        """Yield (commit, runs, stage, whether a crash ends the runs): the given ends first, then what the search asks."""
        for commit, stage in self.plan.ends:
            for _ in range(END_TRIES):
                if self._ended() or self.search.result.outcome in ENDS_REFUTED or self.search.verdict(commit) is not None:
                    break
                yield commit, self.case.runs or self.search.runs(commit), stage, False
            if stage == "original" and self._minimise and self.search.verdict(commit) is Verdict.BAD:
                self._choose_config()
        while not self._ended():
            yield from self._by_hand()
            experiments = self.search.ask(self.case.at_once)
            if not experiments:
                break
            asked = [(one.commit, self.case.runs or one.at_most or one.runs, bool(one.at_most)) for one in experiments]
            self._laboratory.expect([(self.plan.hash(commit), runs) for commit, runs, _ in asked])
            stage = self.search.stage  # of the first
            for commit, runs, ends_early in asked:
                if self.search.stage and not self._ended():  # the one before may have settled it
                    yield commit, runs, self.plan.stage(commit, stage), ends_early
                stage = ""

    def _by_hand(self) -> Iterator[tuple[int, int, str, bool]]:
        """Yield what a person ordered at this point, as the journal has it and then as it comes."""
        written = self._record.written
        while True:
            if written:
                if written[0].stage not in BY_HAND:
                    return
                yield self._positions[written[0].commit], written[0].runs, written[0].stage, False
            elif self._record.journal is not None and (order := self.control.next_order()):
                yield order.commit, order.runs, order.stage, False
            else:
                return

    def _ended(self) -> bool:
        """Whether a budget of the case is spent, or machines are lost that the strategy does not go on without."""
        limits = (
            (self.case.max_builds, len(self.answers.all_builds)),
            (self.case.max_runs, self.answers.n_runs),
            (self.case.max_seconds, self.answers.seconds),
        )
        return bool(self._closing.lost) or any(limit is not None and spent >= limit for limit, spent in limits)

    def _asked(self, name: str, runs: int, stage: str, position: int | None) -> Asked:
        return Asked(name, self._subjects.get(name) or self.repository.subject(name), runs, stage, position)

    def _tell(self, step: Step) -> None:
        """Tell the search an answer and note in its step what that left."""
        commit = step.position
        assert commit is not None  # steps of a real history have one
        if step.stage == "original":
            report = self.answers.report
            self.search.expect(costs(step), trace_files(report), trace_functions(report))
        self.search.tell(self._observation(commit, step))
        assumed = [(older, left) for older, left in self.search.assumed if older not in self._assumed]
        after = [*(left for _, left in assumed), self.search.remaining]  # of the answer, then of each assumption
        self.answers.change(verdict=self.search.verdict(commit), **self._left(after[0]))
        for (older, _), left in zip(assumed, after[1:], strict=True):
            self._assumed.add(older)
            name = self.plan.hash(older)
            self.answers.assume(Step(name, self._subjects[name], "bisect", Verdict.BAD, (), position=older, **self._left(left)))
        if self.case.strategy == "syzkaller" and self.search.lost(commit):
            self._closing.lost = step.commit

    def _observation(self, commit: int, step: Step) -> Observation:
        shown = first_crash(self.steps)
        return marked(commit, step.stage, shown[1].title if shown else "") if step.stage in MARKS else observation(commit, step)

    def _left(self, remaining: Mask) -> dict[str, Any]:
        return {"candidates_left": int(remaining.sum()), "spans": self.plan.history.spans(remaining)}

    def _choose_config(self) -> None:
        """Have a config chosen that shows the bug, and search with that; the original commit is what it was there."""
        minimise, self._minimise = self._minimise, None
        assert minimise is not None  # the caller looked
        commit = self.plan.original
        runs = self.case.runs or self.search.runs(commit)
        name = self.plan.hash(commit)
        own = None if self.plan.config is None else self.plan.config.decode(errors="replace")
        tests = ConfigTests(
            self.answers, own, lambda stage: self.answers.answer(self._asked(name, runs, stage, commit), self._record)
        )
        chosen = tests.chosen(minimise(own, tests.test))
        if chosen is not None:
            self.search.restart(observation(commit, chosen))

    def _build(self, name: str) -> None:
        """Build a commit the culprit is compared with, unless it was built already."""
        if name not in self.answers.builds:
            self.answers.answer(self._asked(name, 0, "parent", self._positions.get(name)), self._record)

    def _test_parent(self, commit: int) -> None:
        """Build and run a parent of the culprit, and tell the search."""
        runs = self.case.runs or self.search.runs(commit)
        self._tell(self.answers.answer(self._asked(self.plan.hash(commit), runs, "parent", commit), self._record))

    def _prove(self, name: str, runs: int, stage: str) -> Step:
        """Build and run a commit for the closing proof, and tell the search if it knows it; return the step."""
        step = self.answers.answer(self._asked(name, runs, stage, self._positions.get(name)), self._record)
        if step.position is not None:
            self._tell(step)
        return self.steps[-1]

    def _revert(self, commit: str) -> str | None:
        """Return the newer end with a commit undone; while a journal is only read nothing is written to the repository."""
        found = self.repository.reverted(commit, self.plan.hash(self.plan.bad), keep=self._record.journal is not None)
        if found is not None:
            self._subjects[found] = f'Revert "{self._subjects[commit]}"'
        return found

    def _read_changes(self, within: Mask) -> Relevance:
        """Read what the commits of a range changed."""
        plan, linux = self.plan, self.plan.target.build.linux
        names = [plan.hash(commit) for commit in np.flatnonzero(within).tolist() if plan.history.parents[commit]]
        deciding = decides
        if linux is not None:
            from kbench.kernels.linux import decides as linux_decides

            deciding = functools.partial(linux_decides, source_archs=linux.source_archs)
        newest = self.repository.paths(plan.hash(plan.bad))
        return Relevance(plan.history, dict(self.repository.changes(names)), newest, deciding)

    def _read_mentions(self, commits: Mask, files: Collection[str], functions: Collection[str]) -> Mask:
        """Read which of the commits change one of some functions, or what names one, in some files.

        None where that cannot be read: in a partial clone it may take objects that were never fetched.
        """
        names = [self.plan.hash(commit) for commit in np.flatnonzero(commits).tolist()]
        mask = np.zeros(len(commits), dtype=np.bool_)
        with contextlib.suppress(RevisionError):
            mask[[self._positions[name] for name in self.repository.mentioning(names, files, functions)]] = True
        return mask
