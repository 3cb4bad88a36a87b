"""What is answered: one question at a time, from the journal as far as it goes, then by builds and runs. Read `Answers` first.

Everything that decides a later question is on disk before the answer is told: the files of each kernel, its twin, its runs,
and what was found out about them.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from kbench.bisection.ask import KernelSearch
from kbench.bisection.control import MARKS, Control
from kbench.bisection.laboratory import Laboratory
from kbench.bisection.result import first_crash
from kbench.errors import BuildError, HeldError, JournalError
from kbench.hold import under
from kbench.journal import Entry, Journal
from kbench.records import KernelImage, Outcome, Run, Step

P = ParamSpec("P")
T = TypeVar("T")


class NotWrittenError(Exception):
    """A journal that is only read has come to its end."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question."""

    commit: str  # 40 hex digits
    subject: str
    runs: int  # 0: build only
    stage: str
    position: int | None  # in the history, if it is there
    ends_early: bool = False  # a run that shows the bug ends the others


@dataclass(frozen=True, slots=True)
class Record:
    """Where answers come from and go to."""

    journal: Journal | None  # None: only read
    written: deque[Entry]  # what it has that was not asked again yet


class Answers:
    """Makes the answers of one bisection and keeps them as steps.

    Parameters
    ----------
    laboratory : Laboratory
    search : KernelSearch
        Is told the files of every kernel.
    output : Path
        The case directory.
    liveness : bool
        Ask whether clean runs got to the code that crashes.
    lend : bool
        A kernel that was tested as another commit is not run again.
    on_change : callable
        Called after every change of `steps`.
    control : Control
        Whoever pauses or stops.
    """

    def __init__(
        self,
        laboratory: Laboratory,
        search: KernelSearch,
        output: Path,
        *,
        liveness: bool,
        lend: bool,
        on_change: Callable[[], None],
        control: Control,
    ) -> None:
        self.steps: list[Step] = []
        self.config: str | None = None  # what kernels are built with now; None: the case's own
        self.since = 0  # the first of `steps` that shows the bug with it
        self.report = ""  # of the first crash, with file and line
        self.recipients: tuple[str, ...] = ()
        self._laboratory, self._search, self._output = laboratory, search, output
        self._liveness, self._lend, self._on_change, self._control = liveness, lend, on_change, control
        self._builds: dict[str | None, dict[str, dict[str, Any]]] = {}  # by config and commit, as journalled
        self._kernels: dict[tuple[str | None, str], KernelImage] = {}
        self._number = 0  # of the next question

    @property
    def builds(self) -> dict[str, dict[str, Any]]:
        """Builds with the config of now, by commit, as journalled."""
        return self._builds.setdefault(self.config, {})

    @property
    def all_builds(self) -> list[dict[str, Any]]:
        """Builds with whatever config."""
        return [build for builds in self._builds.values() for build in builds.values()]

    def configure(self, config: str | None) -> None:
        """Build with this config from now on."""
        if config != self.config:
            self._laboratory.configure(config)
            self.config = config

    @property
    def n_runs(self) -> int:
        """Runs that were carried out: a kernel that was tested already lends its own."""
        return sum(len(step.runs) for step in self.steps if step.same_as is None)

    @property
    def seconds(self) -> float:
        """Wall clock spent on builds and runs."""
        return sum(step.build_s + step.test_s for step in self.steps)

    def answer(self, asked: Asked, record: Record) -> Step:
        """Answer a question, as far as the journal does not; the step is the last of `steps`.

        Raises
        ------
        NotWrittenError
            The journal is only read and does not have the whole answer; the step shows what it has.
        JournalError
            The journal has another question in this place.
        """
        if record.journal is not None and not record.written:
            self._control.wait()
        entry = self._entry(asked, record)
        runs = tuple(run for _, run in entry.done)
        step = Step(asked.commit, asked.subject, asked.stage, None, runs, asked.runs, asked.position, test_s=entry.test_s)
        self.steps.append(step)
        if asked.stage in MARKS:
            if record.journal is not None and not entry.complete:
                record.journal.complete(entry.id)
            self.change(reach="as somebody said who knows")
            return self.steps[-1]
        build = dict(entry.build) if entry.build else None
        if build is None:
            if record.journal is None:
                raise NotWrittenError
            self._on_change()
            build = self._build(asked)
            record.journal.built(entry.id, build)
        else:
            self._search.learn(build["files"])
        self.builds.setdefault(asked.commit, build)
        self._show_build(build)
        if record.journal is None and not entry.complete:
            raise NotWrittenError
        if record.journal is not None and not entry.complete:
            if not build["error"] and not build["same_as"]:
                self._run_missing(record.journal, entry, ends_early=asked.ends_early)
                entry = self._look_closer(record.journal, entry)
            record.journal.complete(entry.id)
        self._show_findings(entry)
        return self.steps[-1]

    def assume(self, step: Step) -> None:
        """Note a commit that counts as answered without a test."""
        self.steps.append(replace(step, reach="not tested: the bug was not introduced yet"))
        self._on_change()

    def change(self, **changes: Any) -> None:
        """Put what became known into the last step."""
        self.steps[-1] = replace(self.steps[-1], **changes)
        self._on_change()

    def _entry(self, asked: Asked, record: Record) -> Entry:
        """Return the journal's entry of a question, a new one when it has none."""
        entry, number = record.written.popleft() if record.written else None, self._number
        if entry is None:
            if record.journal is None:
                raise NotWrittenError
            entry_id = record.journal.ask(number, asked.commit, asked.runs, asked.stage)
            entry = Entry(entry_id, number, asked.commit, asked.runs, asked.stage, None, None, 0.0, False, ())
        elif (entry.commit, entry.runs, entry.stage) != (asked.commit, asked.runs, asked.stage):
            raise JournalError(
                f"journal: expected question {number} to be {asked.stage} {asked.commit[:12]} with {asked.runs} runs, "
                f"{self._output} has {entry.stage} {entry.commit[:12]} with {entry.runs}; "
                "it was written by another version, give another --output"
            )
        self._number += 1
        return entry

    def _build(self, asked: Asked) -> dict[str, Any]:
        """Build a commit and return what the journal keeps of it."""
        started = time.monotonic()
        paused_s = self._control.paused_s
        try:
            kernel = self._kernels[self.config, asked.commit] = self._again(self._laboratory.build, asked.commit)
        except BuildError as error:
            file = error.evidence.get("file", "")
            return {
                "error": str(error),
                "file": file,
                "log": str(error.evidence.get("log", ""))[-4000:],
                "signature": None,
                "compiler": "",
                "cached": bool(error.evidence.get("cached", False)),
                "build_s": self._since(started, paused_s),
                "files": self._search.learn([file] if file else []),  # what broke the build was about to go in
                "notes": [],
                "same_as": None,
            }
        twin = self._twin(asked, kernel.signature)
        return {
            "error": "",
            "file": "",
            "log": "",
            "signature": kernel.signature,
            "compiler": kernel.compiler,
            "cached": kernel.cached,
            "build_s": self._since(started, paused_s),
            "files": self._search.learn(kernel.files),
            "notes": list(kernel.notes),
            "same_as": twin.commit if twin else None,
        }

    def _twin(self, asked: Asked, signature: str) -> Step | None:
        """Return the step that has tested this very kernel as another commit, if its runs said something and are lent."""
        if not self._lend or asked.stage.startswith("proof "):  # runs in turns are each kernel's own
            return None
        for step in self.steps[:-1]:
            same = step.signature == signature and step.commit != asked.commit and step.same_as is None
            if asked.runs and same and step.verdict is not None and any(run.outcome is not Outcome.INFRA for run in step.runs):
                return step
        return None

    def _show_build(self, build: dict[str, Any]) -> None:
        """Put a build into the last step, with the runs of its twin."""
        known = {name: build[name] for name in ("signature", "build_s", "cached", "compiler", "same_as")}
        if build["same_as"]:
            twins = [step for step in self.steps if step.commit == build["same_as"] and step.verdict is not None]
            known |= {name: getattr(twins[-1], name) for name in ("runs", "reached", "reach")}
        self.change(**known, failure=build["error"], notes=tuple(build["notes"]))

    def _kernel(self, commit: str) -> KernelImage:
        if (self.config, commit) not in self._kernels:
            self._kernels[self.config, commit] = self._again(self._laboratory.build, commit)
        return self._kernels[self.config, commit]

    def _again(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Have something done, and done again when a pause came between."""
        while True:
            self._control.wait()
            with contextlib.suppress(HeldError), under(self._control):
                return work(*arguments, **named)

    def _since(self, started: float, paused_s: float) -> float:
        """Return the seconds since then, less those of a pause."""
        return time.monotonic() - started - (self._control.paused_s - paused_s)

    def _run_missing(self, journal: Journal, entry: Entry, *, ends_early: bool) -> None:
        """Run what the journal does not have yet; each run is on disk before the next one is looked at.

        Runs that may end early go in waves, as many at a time as the laboratory carries out side by side.
        """
        done = dict(entry.done)
        missing = [number for number in range(entry.runs) if number not in done]
        size = self._laboratory.width if ends_early else max(len(missing), 1)
        while missing and not (ends_early and any(self._shows_bug(run) for run in done.values())):
            self._control.wait()
            kernel = self._kernel(entry.commit)
            last = time.monotonic()
            with contextlib.suppress(HeldError), under(self._control):
                for number, run in self._laboratory.run(kernel, missing[:size], lambda n: self._console(entry, n)):
                    done[number] = run
                    now = time.monotonic()
                    journal.ran(entry.id, number, run, now - last)
                    seconds, last = now - last, now
                    self.change(runs=tuple(done[n] for n in sorted(done)), test_s=self.steps[-1].test_s + seconds)
            missing = [number for number in range(entry.runs) if number not in done]

    def _shows_bug(self, run: Run) -> bool:
        titles = {title for step in self.steps if step.stage == "original" for title in step.titles if title}
        return run.outcome is Outcome.CRASHED and (not titles or run.title in titles)

    def _look_closer(self, journal: Journal, entry: Entry) -> Entry:
        """Find out what needs the kernel and is kept: where the first crash was, and whether clean runs got there."""
        step, started, paused_s = self.steps[-1], time.monotonic(), self._control.paused_s
        if entry.findings is not None:
            return entry
        shown = first_crash(self.steps[self.since :])
        if shown is not None and shown[0] is step:
            found = self._again(self._laboratory.explain, self._kernel(step.commit), shown[1])
            findings: dict[str, Any] = {"report": found.report, "recipients": found.recipients}
        elif self._liveness and shown is not None and step.counts[Outcome.OK] and not step.titles:
            original, crashed = shown
            seen = self._again(self._laboratory.liveness, self._kernel(step.commit), self._kernel(original.commit), crashed)
            findings = {"reached": seen.reached, "reach": seen.why, "seconds": self._since(started, paused_s)}
        else:
            return entry
        journal.found(entry.id, findings)
        return replace(entry, findings=findings)

    def _show_findings(self, entry: Entry) -> None:
        found = entry.findings or {}
        if "report" in found:
            self.report, self.recipients = found["report"], tuple(found["recipients"])
        if "reached" in found:
            test_s = self.steps[-1].test_s + found["seconds"]
            self.change(reached=found["reached"], reach=found["reach"], test_s=test_s)

    def _console(self, entry: Entry, number: int) -> Path:
        return self._output / "consoles" / f"{entry.id:03d}-{entry.commit[:12]}" / f"run-{number:02d}.txt"
