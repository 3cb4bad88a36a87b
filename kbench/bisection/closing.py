"""What is done with a culprit: real builds of it and its parents, the closing proof, the result. Read `Closing.confirm` first.

Folding commits into kernels rests on what the builds so far have told. Here that is checked where it decides: the parent of
a culprit must be the kernel that was tested in its place. What the runs in turns come to is said in `kbench.bisection.proof`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kbench.bisection.answers import Answers
from kbench.bisection.ask import KernelSearch
from kbench.bisection.plan import Plan
from kbench.bisection.proof import Proof, shown_where_it_is
from kbench.bisection.result import BisectionResult, shown_by
from kbench.errors import RevisionError
from kbench.flakiness.proof import Role
from kbench.records import Step, Verdict
from kbench.repository import Repository
from kbench.search import SearchResult

#: A search names so many candidates in a result; the rest is in `search.result`.
MAX_CANDIDATES = 100


class Closing:
    """Checks a culprit and draws the conclusion.

    Parameters
    ----------
    plan, repository, search, answers
        Of the bisection.
    build : callable
        Builds a culprit or a parent (hash), if that was not done yet, as a step of stage "parent".
    test : callable
        Builds and runs a commit (position) as such a step, and tells the search.
    prove : callable
        Builds a commit (hash), runs it so often as a step of a stage, and tells the search if it is in the history.
    revert : callable
        Returns the newer end with a commit (hash) undone, as a commit; None where that does not work.
    ended : callable
        Whether a budget of the case is spent.
    """

    def __init__(
        self,
        plan: Plan,
        repository: Repository,
        search: KernelSearch,
        answers: Answers,
        *,
        build: Callable[[str], None],
        test: Callable[[int], None],
        prove: Callable[[str, int, str], Step],
        revert: Callable[[str], str | None],
        ended: Callable[[], bool],
    ) -> None:
        self._plan, self._repository, self._search, self._answers = plan, repository, search, answers
        self._build, self._test, self._prove, self._revert, self._ended = build, test, prove, revert, ended
        self._proofs: dict[str, Proof] = {}  # by culprit
        self.parent: str | None = None  # the culprit's first parent, once there is a culprit that has one
        self.noop: bool | None = None  # culprit and its only parent are one kernel; None: not compared
        self.lost = ""  # the commit whose runs could not be carried out, if that ended the bisection
        self.reopened: list[str] = []  # what was found wrong on the way, for the reader

    def confirm(self) -> bool:
        """Build the culprit's parents and tell whether it stands; False: the search has to go on."""
        culprit = self._search.result.culprit
        self.parent, self.noop = None, None
        if culprit is None:
            return True
        for parent in self._plan.history.parents[culprit]:
            self._check_fold(parent)
        if self._search.result.culprit != culprit:
            return False
        name = self._plan.hash(culprit)
        try:
            self.parent = self._repository.resolve(f"{name}^")  # it may lie outside of the range
        except RevisionError:
            return True  # a root commit, or the end of a shallow clone
        self._build(self.parent)
        self._build(name)  # a search may name what follows from other commits
        mine, its = self._signature(name), self._signature(self.parent)
        merge = len(self._repository.parents(name)) > 1  # it may well be the kernel of one of them
        self.noop = None if mine is None or its is None else mine == its and not merge
        if self._plan.proof != 0 and self._search.result.culprit == culprit:
            self._run_in_turns(culprit, self.parent)
        return self._search.result.culprit == culprit

    def _run_in_turns(self, position: int, parent: str) -> None:
        """Carry out the closing proof of a culprit, until it is done or the culprit does not stand."""
        culprit = self._plan.hash(position)
        proof = self._proofs.get(culprit)
        if proof is None:
            titles, seen = shown_where_it_is(self._answers.steps, culprit)
            proof = Proof(seen, titles, runs=self._plan.proof, kind=self._plan.case.kind)
            self._proofs[culprit] = proof
        proof.notes = list(self._unprovable(culprit, parent))
        kernels: dict[Role, str] = {} if proof.notes else {"parent": parent, "culprit": culprit}
        if kernels and (reverted := self._reverted(proof, culprit)):
            kernels["reverted"] = reverted
        while kernels and not proof.done:
            for role, commit in list(kernels.items()):
                if self._ended():
                    proof.notes.append("cut short, a budget is spent")
                    return
                if not (runs := proof.ask(role)):
                    continue
                step = self._prove(commit, runs, f"proof {role}")
                proof.tell(role, runs, step.runs)
                if step.position is None:  # nobody else says what it is
                    self._answers.change(verdict=proof.verdict(step.runs))
                if role == "parent":
                    proof.parent_told = step.position is not None
                if self._search.result.culprit != position:
                    self.reopened.append(f"the closing proof spoke against {culprit[:12]}: {proof}")
                    return
                if not proof.counts(role)[1]:
                    proof.notes.append(f"no run of {role} tells anything{f', {step.failure}' if step.failure else ''}")
                    if role != "reverted":
                        return
                    del kernels[role]

    def _unprovable(self, culprit: str, parent: str) -> Iterator[str]:
        """Yield why runs in turns can show nothing, if that is so."""
        signatures = [self._signature(commit) for commit in (culprit, parent)]
        for role, signature in zip(("culprit", "parent"), signatures):
            if signature is None:
                yield f"none, {role} does not build"
        if signatures[0] == signatures[1] is not None:
            yield "none, culprit and parent are one kernel"

    def _reverted(self, proof: Proof, culprit: str) -> str | None:
        """Return the newer end with the culprit undone; None where that does not work, and for a fix: nothing is to be undone."""
        if self._plan.fix:
            return None
        if culprit == self._plan.hash(self._plan.bad):
            proof.notes.append("the culprit is the newer end: reverted, it is its parent")
            return None
        why = "the culprit does not revert cleanly on top of the newer end"
        try:
            reverted = self._revert(culprit)
        except RevisionError as error:
            reverted, why = None, f"the culprit was not reverted: {error}"
        if reverted is None:
            proof.notes.append(why)
        return reverted

    def _check_fold(self, commit: int) -> None:
        """Compare a commit with the one tested in its place; set them apart when they are two kernels after all.

        What follows from other revisions was not tested in its place either: then the commit itself is.
        """
        tested = self._search.kernel_of(commit)
        if tested == commit:
            return
        names = self._plan.hash(commit), self._plan.hash(tested)
        if names[1] not in self._answers.builds:
            self._test(commit)
            return
        self._build(names[0])
        mine, its = map(self._signature, names)
        if mine is None or its is None or mine == its:
            return
        self._search.settle()
        if self._search.kernel_of(commit) == tested:  # the files of neither build tell why
            self._search.learn(self._repository.differing(names[1], names[0]))
            self._search.settle()
        self.reopened.append(f"{names[0][:12]} was taken for the kernel of {names[1][:12]} and is not; the two were told apart")

    def _signature(self, commit: str) -> str | None:
        signature: str | None = self._answers.builds.get(commit, {}).get("signature")
        return signature

    def conclude(self) -> BisectionResult:
        """Return what the bisection came to."""
        plan, answers, found = self._plan, self._answers, self._search.result
        culprit = None if found.culprit is None else plan.hash(found.culprit)
        clean = [step.stage for step in answers.steps if step.stage.startswith("release ") and step.verdict is Verdict.GOOD]
        builds, outcome = answers.all_builds, found.outcome or ("inconclusive" if self.lost else "budget spent")
        error = self._error(outcome)
        end = None if error else self._end(outcome)
        shown = None if plan.fix and culprit else end or culprit
        told = [step for step in reversed(answers.steps) if step.commit == shown and step.stage != "merge base"]
        proof = self._proofs.get(culprit) if culprit else None
        confidence = proof.weighed(found.confidence) if proof else found.confidence
        proved = proof.summary if proof else None
        return BisectionResult(
            outcome=outcome,
            culprit=culprit,
            culprit_subject=self._repository.subject(culprit) if culprit else "",
            confidence=confidence if culprit else None,
            candidates=tuple(self._candidates(found, confidence)),
            n_candidates=len(found.candidates),
            n_commits=self._search.n_commits,
            n_kernels=self._search.n_kernels,
            noop=self.noop,
            release=clean[-1].removeprefix("release ") if clean else "",
            builds=len(builds),
            cached=sum(build["cached"] for build in builds),
            runs=answers.n_runs,
            build_s=sum(step.build_s for step in answers.steps),
            test_s=sum(step.test_s for step in answers.steps),
            recipients=answers.recipients,
            notes=tuple(dict.fromkeys([*self._notes(), *(proof.doubts() if proof else ())])),
            culprit_release=self._repository.release_at(culprit, plan.case.tags) if culprit else "",
            crash=next(filter(None, map(shown_by, told)), ""),
            end=end,
            error=error,
            proof=str(proof or ""),
            proof_p=proved.p_value if proved else None,
        )

    def _candidates(self, found: SearchResult, confidence: float) -> Iterator[tuple[str, float]]:
        """Yield candidates with their probabilities; what the closing proof took from the others the culprit has."""
        others = (1 - confidence) / (1 - found.confidence) if found.confidence < 1 else 1.0
        own = confidence / found.confidence if found.confidence else 1.0
        for commit, p in found.candidates[:MAX_CANDIDATES]:
            share = 1.0 if found.culprit is None else own if commit == found.culprit else others
            yield self._plan.hash(commit), float(p * share)

    def _end(self, outcome: str) -> str | None:
        """Return the end that left nothing to search."""
        tested = [step for step in self._answers.steps if step.stage != "parent" and not step.stage.startswith("proof ")]
        if outcome == "older than range":
            releases = [step for step in tested if step.stage.startswith("release ") and step.position is not None]
            return min(releases, key=lambda step: step.position or 0).commit if releases else None
        stopped = outcome in ("not in range", "inconclusive") and tested and tested[-1].stage in ("head", "merge base")
        return tested[-1].commit if stopped else None

    def _error(self, outcome: str) -> str:
        """Return why there is no answer, when that is neither the bug's nor the range's doing."""
        if self.lost:
            return f"unable to determine the verdict because of infra errors: most runs of {self.lost} could not be carried out"
        tags, steps = self._plan.tags, self._answers.steps
        oldest = self._plan.hash(tags[-1][1]) if tags else None
        failed = any(step.commit == oldest and step.verdict is Verdict.SKIP for step in steps)
        if outcome == "inconclusive" and failed and not any(step.stage == "bisect" for step in steps):
            return "oldest tested release had kernel build, boot or test errors"
        return ""

    def _notes(self) -> Iterator[str]:
        """Yield what a reader should know: of the original kernel, of the ends, of revisions that missed the bug's code."""
        steps = self._answers.steps
        yield from (note for step in steps if step.stage == "original" for note in step.notes)
        missed = [step for step in steps if step.reached is False]
        for step in missed:
            if step.position in self._plan.good:
                yield f"{step.stage} is taken for good as the case says, but its clean runs say nothing: {step.reach}"
        if others := [step.commit[:12] for step in missed if step.position not in self._plan.good]:
            yield f"clean runs that did not get to the code that crashes: {', '.join(dict.fromkeys(others))}"
        yield from self.reopened
