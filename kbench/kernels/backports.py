"""Fixes of builds and boots, cherry-picked into a worktree before it is built. One effect: git. Read `Backports` first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from kbench.errors import RevisionError
from kbench.kernels.releases import Backport
from kbench.repository.command import GitCommand

_MISSING = "missing"


class Backports:
    """Those of a repository that are known, and those a case names.

    Parameters
    ----------
    repository : Path
    known : iterable of Backport
        Left out where the repository does not have them.
    named : iterable of str
        Revisions that the case wants.

    Raises
    ------
    RevisionError
        The repository does not have one that the case names.
    """

    def __init__(self, repository: Path, known: Iterable[Backport], named: Iterable[str]) -> None:
        self._git = GitCommand(repository)
        wanted = [*known, *(Backport(name) for name in dict.fromkeys(named))]
        names = "".join(f"{backport.fix}^{{commit}}\n" for backport in wanted)
        listed = self._git.text("cat-file", "--batch-check", stdin=names.encode()).splitlines() if wanted else []
        self._there: list[Backport] = []
        for backport, line in zip(wanted, listed, strict=True):
            found = not line.endswith(_MISSING)
            if not found and not backport.title:
                raise RevisionError(
                    f"backports: expected a commit of {repository}, {backport.fix[:100]!r} names none; fetch it, or leave it out"
                )
            if found:
                fix = line.split()[0]
                title = backport.title or self._git.text("show", "-s", "--format=%s", fix, "--").strip()
                self._there.append(Backport(fix, title, backport.guilty))

    def file(self, commit: str, path: str) -> str:
        """Return the text of a file of a commit, "" when it has none of that name."""
        status, text, _ = self._git.attempt("cat-file", "blob", f"{commit}:{path}")
        return "" if status else text.decode("utf-8", "replace")

    def missing(self, commit: str) -> list[Backport]:
        """Return those that a commit lacks: neither the fix nor one of its title is contained, what it mends is."""
        return [backport for backport in self._there if self._lacks(commit, backport)]

    def _lacks(self, commit: str, backport: Backport) -> bool:
        if self._contains(commit, backport.fix) or (backport.guilty and not self._contains(commit, backport.guilty)):
            return False
        # Only what the fix itself does not contain: a stable branch that took it over. The whole history would take minutes.
        options = ("--fixed-strings", f"--grep={backport.title}", "--format=%s", "--no-show-signature")
        return backport.title not in self._git.text("log", *options, f"{backport.fix}..{commit}", "--").splitlines()

    def _contains(self, commit: str, other: str) -> bool:
        return self._git.attempt("merge-base", "--is-ancestor", other, commit)[0] == 0

    def apply(self, tree: Path, commit: str, backports: Sequence[Backport]) -> list[str]:
        """Put fixes on top of a commit that is checked out in a worktree; the next checkout takes them away again.

        One that conflicts is left out. Returns a note for each.
        """
        notes: list[str] = []
        applied: list[Backport] = []
        for backport in backports:
            shown = f'backport: {backport.fix[:12]} ("{backport.title}")'
            if self._pick(tree, backport):
                applied.append(backport)
                notes.append(f"{shown} was applied")
                continue
            self._git.attempt("cherry-pick", "--quit", cwd=tree)
            self._git.run("reset", "--hard", "--quiet", commit, "--", cwd=tree)
            for earlier in applied:
                self._pick(tree, earlier)
            notes.append(f"{shown} conflicts here and was left out")
        return notes

    def _pick(self, tree: Path, backport: Backport) -> bool:
        return self._git.attempt("cherry-pick", "--no-commit", backport.fix, cwd=tree)[0] == 0
