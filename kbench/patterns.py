"""Regular expressions of a user's case, for lines a kernel printed. Read `LinePattern`.

A case may be anybody's, and so may a console. Python's own `re` searches for ever where a pattern like `(a+)+$` meets the line
it was made for. One repetition of a single character costs a line of `kbench.machines.console.LINE_LIMIT` bytes no more than
its square, and is left to `re`; anything that repeats more is searched with a limit of time.
"""

from __future__ import annotations

import re
import time
from typing import Protocol

from kbench.errors import CaseError

#: For all searches of one run; a pattern that was not made to take long needs some microseconds a line.
BUDGET_S = 5.0
_REPEATS = re.compile(r"[*+{]|(?<!\()\?")
_REPEATED_GROUP = re.compile(r"\)[*+{?]")


class Found(Protocol):
    """What was found, as `re.Match` tells it."""

    @property
    def string(self) -> str:
        """The line."""
        ...

    def __getitem__(self, group: str, /) -> str | None:
        """The text of a group."""
        ...


class LinePattern:
    """A regular expression in Python's form.

    Parameters
    ----------
    text : str
    name : str
        The key of the case it is, for messages.
    budget_s : float
        What all searches together may take.

    Raises
    ------
    CaseError
        It is no regular expression; from `search`: it takes too long.
    """

    def __init__(self, text: str, name: str, *, budget_s: float = BUDGET_S) -> None:
        self.text, self._name = text, name
        self._left_s = self._budget_s = budget_s
        try:
            self._plain = re.compile(text)
        except (re.error, OverflowError, RecursionError) as err:
            raise CaseError(f"case: expected a regular expression at {name!r}, {err} in {text[:200]!r}; correct it") from err
        self.groups = frozenset(self._plain.groupindex)
        self._bounded = None
        if len(_REPEATS.findall(text)) > 1 or _REPEATED_GROUP.search(text):
            import regex  # late: few cases need it

            try:
                self._bounded = regex.compile(text)
            except regex.error as err:
                raise CaseError(f"case: expected a regular expression at {name!r}, {err} in {text[:200]!r}; correct it") from err

    def search(self, line: str) -> Found | None:
        """Return the first place where a line matches."""
        if self._bounded is None:
            return self._plain.search(line)
        began = time.monotonic()
        try:
            return self._bounded.search(line, timeout=max(self._left_s, 0.001))
        except TimeoutError:
            raise CaseError(
                f"case: expected a pattern at {self._name!r} that is quickly looked for, {self.text[:200]!r} took more than "
                f"{self._budget_s:g} s; take repetitions out of repetitions"
            ) from None
        finally:
            self._left_s -= time.monotonic() - began
