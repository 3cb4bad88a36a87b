"""`git bisect log`, written and read. Read `git_log` and `read_git_log`. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kbench.bisection.result import marked
from kbench.errors import LogError
from kbench.records import BisectionView, Step, Verdict
from kbench.search import Observation
from kbench.text import clean_line

#: No log of `git bisect` is longer: a line a tested revision.
MAX_LOG_CHARS = 16 << 20
# Git's words by kind: what the newer and what the older end shows. A fix turns them round.
_TERMS = {"cause": ("bad", "good"), "fix": ("fixed", "broken")}
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REVISION = re.compile(r"[A-Za-z0-9_][\w./^~@{}+-]{0,199}")


@dataclass(frozen=True, slots=True)
class GitLog:
    """What a `git bisect log` says, in kbench's verdicts: `bad` crashes, also where git was told so with other words."""

    kind: str  # "cause", or "fix" where the newer end is the one that does not crash
    verdicts: tuple[tuple[str, Verdict], ...]  # (revision as written, verdict), in the log's order

    def of(self, verdict: Verdict) -> list[str]:
        """Return the revisions with a verdict, each once, in the log's order."""
        return list(dict.fromkeys(revision for revision, said in self.verdicts if said is verdict))

    def keys(self) -> dict[str, Any]:
        """Return the keys of a case that starts where this bisection stands: the last word on the newer end.

        Raises
        ------
        LogError
            The log names no revision that crashes, or none that does not.
        """
        bad, good = self.of(Verdict.BAD), self.of(Verdict.GOOD)
        if not bad or not good:
            raise LogError(
                f"git log: expected a good and a bad revision, seen {len(good)} good and {len(bad)} bad; tell git the other end"
            )
        if self.kind == "fix":
            return {"kind": "fix", "bad": bad[-1], "good": good[-1]}
        return {"bad": bad[-1], "good": good}

    def observations(self, index: Callable[[str], int], title: str = "") -> list[Observation]:
        """Return what a search is told: each verdict as a person's mark; `index` finds a revision in the history."""
        return [marked(index(revision), f"marked {verdict.value}", title) for revision, verdict in self.verdicts]


def git_log(view: BisectionView, is_ancestor: Callable[[str, str], bool] | None = None) -> str:
    """Return the verdicts of a bisection as a file that `git bisect replay` takes.

    Parameters
    ----------
    view : BisectionView
        Ended or not.
    is_ancestor : callable, optional
        (older, newer) -> bool, of commits. kbench bears contradictions, git does not: what lies on the wrong side of what was
        said of others, or of the culprit, is then left as a comment.
    """
    new, old = _TERMS[view.kind]
    terms = "" if view.kind == "cause" else f" '--term-new={new}' '--term-old={old}'"
    lines = [f"git bisect start{terms}"]
    verdicts = _verdicts(view)
    for step in verdicts:
        assert step.verdict is not None
        word = "skip" if step.verdict is Verdict.SKIP else new if _is_new(step, view.kind) else old
        lines.append(f"# {word}: [{step.commit}] {clean_line(step.subject)}")
        refuted = is_ancestor is not None and _refuted(step, verdicts, view, is_ancestor)
        lines.append(
            f"# not told, other revisions say otherwise: {step.commit}" if refuted else f"git bisect {word} {step.commit}"
        )
    if view.culprit:
        lines.append(f"# first {new} commit: [{view.culprit}] {clean_line(view.culprit_subject)}")
    return "\n".join(lines) + "\n"


def _verdicts(view: BisectionView) -> list[Step]:
    # The last verdict on a commit stands; a reverted culprit is not in the history.
    last = {step.commit: step for step in view.steps if step.verdict and step.stage != "proof reverted"}
    return [step for step in last.values() if _HASH.fullmatch(step.commit)]


def _is_new(step: Step, kind: str) -> bool:
    return (step.verdict is Verdict.BAD) == (kind == "cause")


def _refuted(step: Step, verdicts: list[Step], view: BisectionView, is_ancestor: Callable[[str, str], bool]) -> bool:
    """Whether git would stop at it: an old end that contains a new one, or what the culprit's place says otherwise."""
    if step.verdict is Verdict.SKIP:
        return False
    if view.culprit:
        return is_ancestor(view.culprit, step.commit) != _is_new(step, view.kind)
    news = (other.commit for other in verdicts if other.verdict is not Verdict.SKIP and _is_new(other, view.kind))
    return not _is_new(step, view.kind) and any(is_ancestor(commit, step.commit) for commit in news)


def read_git_log(text: str) -> GitLog:
    """Read what `git bisect log` printed.

    Raises
    ------
    LogError
        A line is none of git's, names what cannot be a revision, or there is no verdict in it.
    """
    if len(text) > MAX_LOG_CHARS:
        raise LogError(f"git log: expected {MAX_LOG_CHARS} characters at most, seen {len(text)}; give a git bisect log")
    terms = {"bad": Verdict.BAD, "new": Verdict.BAD, "good": Verdict.GOOD, "old": Verdict.GOOD, "skip": Verdict.SKIP}
    kind, found = "cause", []
    for number, words in _commands(text):
        command, *arguments = words
        if command == "start":
            kind, terms = _started(arguments, terms)
            arguments = arguments[: arguments.index("--")] if "--" in arguments else arguments
            ends = [word for word in arguments if not word.startswith("--")]
            newer = Verdict.GOOD if kind == "fix" else Verdict.BAD
            older = Verdict.BAD if kind == "fix" else Verdict.GOOD
            said = [(end, older if index else newer) for index, end in enumerate(ends)]
        elif command in terms:
            said = [(revision, terms[command]) for revision in arguments]
        else:
            raise LogError(f"git log: expected a term of git bisect in line {number}, seen {command[:40]!r}; give its own log")
        for revision, _ in said:
            if not _REVISION.fullmatch(revision):
                raise LogError(f"git log: expected a revision in line {number}, seen {revision[:40]!r}; give git's own log")
        found += said
    if not found:
        raise LogError("git log: expected verdicts, seen none; give what `git bisect log` prints")
    return GitLog(kind, tuple(found))


def _commands(text: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            words = shlex.split(line)
        except ValueError:
            words = []
        if words[:2] != ["git", "bisect"] or len(words) < 3:
            raise LogError(
                f"git log: expected `git bisect …` in line {number}, seen {line[:40]!r}; give what git bisect log prints"
            )
        yield number, words[2:]


def _started(arguments: list[str], terms: dict[str, Verdict]) -> tuple[str, dict[str, Verdict]]:
    """Return kind and terms as `git bisect start` sets them; git's own words for a newer end that works tell a fix."""
    chosen = dict(word[2:].split("=", 1) for word in arguments if word.startswith("--term-") and "=" in word)
    new, old = chosen.get("term-new", chosen.get("term-bad")), chosen.get("term-old", chosen.get("term-good"))
    fix = new in ("fixed", "good") or old in ("broken", "bad", "unfixed")
    newer, older = (Verdict.GOOD, Verdict.BAD) if fix else (Verdict.BAD, Verdict.GOOD)
    return "fix" if fix else "cause", terms | ({new: newer} if new else {}) | ({old: older} if old else {})
