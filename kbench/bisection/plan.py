"""From a case to the question a search is asked: the range, its ends and its release tags. Read `make_plan` first."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kbench.bisection.case import Case
from kbench.errors import CaseError, RevisionError
from kbench.history import History
from kbench.records import Target
from kbench.repository import Repository, pick_release_tags


@dataclass(frozen=True, slots=True)
class Plan:
    """The range of one bisection. Indices are positions in `history`."""

    case: Case
    target: Target
    history: History
    original: int  # the commit that has to crash
    bad: int  # the newest end: what git calls bad
    good: tuple[int, ...]  # the oldest ends; empty: walk back over `tags`
    tags: tuple[tuple[str, int], ...]  # releases to walk back over, newest first
    n_tags: int  # releases these were picked from
    reproducer: bytes | None  # content of the case's files, as they were when the plan was made
    config: bytes | None
    rewritten: str = ""  # the subject by which `bad` was found again

    @property
    def fix(self) -> bool:
        """Whether the commit that fixed the bug is sought."""
        return self.case.kind == "fix"

    @property
    def relevance(self) -> bool:
        """Whether commits that cannot change the kernel are folded into their parents.

        By default where objects are kept from build to build: both take a build that knows what each object depends on.
        """
        wanted = self.case.relevance
        return not self.target.build.clean if wanted is None else wanted

    @property
    def liveness(self) -> bool:
        """Whether clean runs are asked if they got to the code that crashes.

        Not by default in a fix bisection: a fix is often what keeps a reproducer from getting there.
        """
        wanted = self.case.liveness
        return self.target.guest is not None and not self.fix if wanted is None else wanted

    @property
    def bases(self) -> tuple[int, ...]:
        """Where the tree of the original commit left that of the fix; () when it is one tree."""
        crosses = self.fix and not self.history.is_ancestor(self.original, self.bad)
        return self.history.merge_bases(self.bad, [self.original]) if crosses else ()

    @property
    def lend(self) -> bool:
        """Whether a kernel that was tested as another commit is not run again: syzkaller runs it."""
        wanted = self.case.lend
        return self.case.strategy != "syzkaller" if wanted is None else wanted

    @property
    def proof(self) -> int | None:
        """Runs of each kernel of the closing proof; 0: none. None: what the rate asks for, the default of "bayes"."""
        return 0 if self.case.proof is None and self.case.strategy != "bayes" else self.case.proof

    @property
    def ends(self) -> list[tuple[int, str]]:
        """The given ends as (commit, stage), in the order they are checked."""
        if self.fix:
            return [(self.original, "original"), *((base, "merge base") for base in self.bases), (self.bad, "head")]
        if self.case.strategy == "bayes":  # asks for a good end itself, when it is worth a build
            return [(self.original, "original")]
        return [(self.original, "original"), *((good, f"release {name}") for good, name in zip(self.good, self.case.good_ends))]

    @property
    def n_candidates(self) -> int:
        """Commits in the range at the start."""
        ends = self.good or [index for _, index in self.tags[-1:]]
        return int(self.history.candidates(self.bad, ends).sum())

    def stage(self, commit: int, stage: str) -> str:
        """Return what a commit is tested as: the search's word ("" for one asked beside others), with the name of a release."""
        names = {index: name for name, index in self.tags} | dict(zip(self.good, self.case.good_ends))
        stage = stage or ("release" if commit in names else "bisect")
        return f"release {names[commit]}" if stage in ("release", "end") else stage

    def hash(self, commit: int) -> str:
        """Return the 40 hex digits of a commit."""
        return str(self.history.commits[commit])

    def case_inputs(self) -> dict[str, Any]:
        """Return what makes this case itself, wherever its folder lies: a journal with other inputs is another case's."""
        return {
            "kind": self.case.kind,
            "bad": self.hash(self.bad),
            "good": sorted(map(self.hash, self.good)),
            "reproducer": None if self.reproducer is None else hashlib.sha256(self.reproducer).hexdigest(),
            "config": None if self.config is None else hashlib.sha256(self.config).hexdigest(),
        }

    def settings(self) -> dict[str, Any]:
        """Return what makes a bisection of this case another one; patience (time limits) and speed (KVM, jobs) do not."""
        build, machine = self.target.build, self.target.machine
        rootfs = Path(machine.rootfs)
        return {
            "strategy": self.case.strategy,
            "confidence": self.case.confidence,
            "runs": self.case.runs,
            "tags": [[name, self.hash(index)] for name, index in self.tags],
            "build": [build.commands, build.image, build.symbols, build.config, build.clean, sorted(build.env.items())],
            "machine": [machine.argv, machine.cmdline, machine.memory_mib, machine.boot_failure, machine.linux_crashes],
            "patterns": [machine.booted, machine.done, machine.crashed, machine.test_failed],
            "linux": [build.linux and build.linux.arch, build.compiler, build.backports, build.host_access],
            "guest": [machine.snapshot, machine.repro_s, [rootfs.name, rootfs.stat().st_size] if machine.rootfs else None],
            "relevance": self.relevance,
            "liveness": self.liveness,
            "lend": self.lend,
            "proof": self.proof,
            **({"at once": self.case.at_once} if self.case.at_once > 1 else {}),
        }

    def key(self) -> str:
        """Return the key of the bisection within its case."""
        return hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode()).hexdigest()


def make_plan(case: Case, repository: Repository) -> Plan:
    """Check a case against its repository and return its plan; nothing is built or written.

    Raises
    ------
    InputError
        A revision git does not have, a good end that is not an ancestor, no release tag to walk back to, a bad file.
    """
    target = _with_backports(case.resolve(), repository)
    case.check_runs()
    files = case.check_reproducer(), case.read("config")
    ends = [repository.resolve(name) for name in case.good_ends]
    if case.kind == "fix":
        return _fix_plan(case, target, repository, ends, files)
    if case.cross_tree:
        raise CaseError(
            "case: expected `cross_tree` in a fix bisection, this one seeks a cause; leave it out, or set kind = 'fix'"
        )
    crashing, rewritten = _crashing(case, repository)
    tags, n_tags = ([], 0) if ends else _release_tags(case, repository, crashing)
    oldest = tags[-1][1] if tags else None
    history = repository.history(crashing, good=ends, oldest=oldest)
    index = {commit: i for i, commit in enumerate(history.commits)}
    bad = index[crashing]
    return Plan(
        case,
        target,
        history,
        bad,
        bad,
        tuple(index[end] for end in ends),
        tuple((name, index[commit]) for name, commit in tags),
        n_tags,
        *files,
        rewritten,
    )


def _crashing(case: Case, repository: Repository, tip: str = "") -> tuple[str, str]:
    """Return the commit the bug was found on, and its subject if it was found again by that.

    A tree that is rebased loses commits and keeps their subjects. In a fix bisection the commit has to be in the history of
    `tip`; in a cause bisection it has to be there, and is looked for in that of HEAD.
    """
    missing, subject = None, case.bad_subject
    try:
        crashing = repository.resolve(case.bad)
        if not tip or case.cross_tree or repository.is_ancestor(crashing, tip):
            return crashing, ""
        subject = subject or repository.subject(crashing)
    except RevisionError as error:
        if not subject:
            raise
        missing = error
    found = repository.find_subject(subject, tip or "HEAD")
    if found:
        return found, subject
    if missing:
        raise RevisionError(f"{missing}; nor is there a commit with the subject {subject[:100]!r}") from missing
    return crashing, ""


def _with_backports(target: Target, repository: Repository) -> Target:
    if not target.build.backports:
        return target
    return replace(target, build=replace(target.build, backports=tuple(map(repository.resolve, target.build.backports))))


def _fix_plan(
    case: Case, target: Target, repository: Repository, ends: list[str], files: tuple[bytes | None, bytes | None]
) -> Plan:
    if len(ends) > 1:
        raise CaseError(f"case: expected one `good` in a fix bisection, the revision that is fixed, got {len(ends)}; leave one")
    fixed = ends[0] if ends else repository.resolve("HEAD")
    crashing, rewritten = _crashing(case, repository, fixed)
    base = repository.merge_base(crashing, fixed) if case.cross_tree else None
    if base in (None, crashing, fixed):
        try:
            repository.check_ancestors(fixed, [crashing])
        except RevisionError as error:
            base = error.evidence.get("merge_base")
            advice = "" if base in (None, fixed) else "; when `bad` is of another tree, set cross_tree = true"
            raise RevisionError(f"{error}{advice}", merge_base=base) from error
    history = repository.history(fixed, good=[crashing], forks=True)  # reaches to where branches forked: was the bug there yet?
    index = {commit: i for i, commit in enumerate(history.commits)}
    return Plan(case, target, history, index[crashing], index[fixed], (index[crashing],), (), 0, *files, rewritten)


def _release_tags(case: Case, repository: Repository, bad: str) -> tuple[list[tuple[str, str]], int]:
    tags = [tag for tag in repository.release_tags(case.tags, reachable_from=bad) if tag[1] != bad]
    names = [name for name, _ in tags]
    if case.oldest:
        if case.oldest not in names:
            raise RevisionError(
                f"case: expected `oldest` among the releases before {case.bad}, {case.oldest!r} is not; known: {', '.join(names)}"
            )
        tags = tags[: names.index(case.oldest) + 1]
    if not tags:
        raise RevisionError(
            f"case: expected release tags {case.tags!r} before {case.bad}, found none; give `good`, or other `tags`"
        )
    n_tags = len(tags)
    if case.strategy == "syzkaller":
        picked = set(pick_release_tags([name for name, _ in tags]))
        tags = [tag for tag in tags if tag[0] in picked]
    return tags, n_tags
