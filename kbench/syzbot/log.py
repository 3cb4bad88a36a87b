"""A bisection log as records: what was printed, in order, and what it says. Read `BisectionLog` first.

The lines are the record; everything else (tests, culprit, outcome) is derived from them, so that nothing of a log is
lost and nothing is kept twice. Polarity: in a fix log a clean run means `# git bisect bad`, and verdicts here are git's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from kbench.errors import LogError
from kbench.syzbot.durations import seconds
from kbench.syzbot.forms import Line, read_line
from kbench.syzbot.revisions import Test, read_tests

# The kind stands on line 2 at the latest; a log somebody pasted may have a few lines before it.
_HEAD_LINES = 50
_STARTS = ("cause", "fix", "cause, 2018", "fix, 2018")

# How a log ends: the form of its last sentence, or how its error begins, and the outcome in the words of a search.
_ENDINGS = {
    "culprit": "culprit",
    "inconclusive": "inconclusive",
    "older": "older than range",
    "older, 2023": "older than range",
    "unfixed, 2018": "not in range",
    "unfixed": "not in range",
    "unfixed, 2023": "not in range",
    "unfixed, trees": "not in range",
    "unfixed, oldest": "not in range",
    "head failed": "inconclusive",
}
ERRORS = {
    "oldest tested release had kernel build, boot or test errors": "inconclusive",
    # Below: the last sentence of an outcome is the one `compose` prints; syzkaller has none for the last three.
    "the crash wasn't reproduced on the original commit": "not reproduced",
    "bisection is taking too long": "budget spent",
    "bisection is inconclusive": "inconclusive",
    "the culprit is not in the range": "not in range",
    "the culprit is older than the range": "older than range",
}

# Of a commit as git prints it: a line of a raw diff or of a diffstat, and the parents of a merge.
_CHANGED = re.compile(r"^(?::\d{6} \d{6} \S+ \S+ [A-Z]\d*\t(\S+)| (\S+) +\| +(?:\d|Bin).*)$", re.MULTILINE)
_MERGE = re.compile(r"^Merge: ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LogCosts:
    """What a bisection cost, with the durations as Go prints them."""

    revisions: int
    total: str
    build: str
    test: str

    @property
    def total_s(self) -> float:
        """Wall clock."""
        return seconds(self.total)

    @property
    def build_s(self) -> float:
        """Wall clock of the builds."""
        return seconds(self.build)

    @property
    def test_s(self) -> float:
        """Wall clock of the tests."""
        return seconds(self.test)


@dataclass(frozen=True)
class BisectionLog:
    """A bisection log. `read_log` makes one from text, `compose` from the parts of a bisection, `render` prints it."""

    lines: tuple[Line, ...]
    report: str = ""  # what follows the line "crash: TITLE", to the end
    cut: bool = False  # the last line has no end: the log was cut off there

    @cached_property
    def kind(self) -> str:
        """What is searched: "cause" or "fix"."""
        return self._start.form[:5].rstrip(",")

    @property
    def start(self) -> str:
        """The commit it starts from: 40 hex digits, except in logs of syzkaller's own tests."""
        return self._start.values[0]

    @property
    def host(self) -> str:
        """Who ran it; "" before 2022-07."""
        return self._value("host")

    @property
    def started(self) -> str:
        """When it started, as Go prints a time."""
        return self._value("host", 1)

    @property
    def syzkaller(self) -> str:
        """The commit of syzkaller."""
        return self._value("syzkaller")

    @property
    def release_tags(self) -> tuple[str, ...]:
        """The release tags picked for the walk back, newest first."""
        return tuple(self._value("picked").split())

    @property
    def range(self) -> tuple[str, str] | None:
        """The (bad, good) ends git was started with, as given: hashes or tags."""
        line = self._line("bisect start")
        return (line.values[0], line.values[1]) if line else None

    @cached_property
    def tests(self) -> tuple[Test, ...]:
        """Every tested revision, in order."""
        return read_tests(self.lines)

    @property
    def culprit(self) -> tuple[str, str] | None:
        """Hash and title of the commit the log names."""
        line = self._line("culprit", self._conclusion)
        return (line.values[1], line.values[2]) if line else None

    @cached_property
    def candidates(self) -> tuple[str, ...]:
        """The commits one of which is the culprit: that one, or the list of an inconclusive bisection."""
        if self.culprit:
            return (self.culprit[0],)
        if not self._line("inconclusive", self._conclusion):
            return ()
        return tuple(line.values[0] for line in self._conclusion if line.form == "hash")

    @cached_property
    def culprit_text(self) -> str:
        """Author, date, message and changed files of the culprit, as git prints them."""
        first = next((i for i, line in enumerate(self.lines) if line.form == "first"), None)
        return "" if first is None else _text_after(self.lines, first)

    @property
    def culprit_files(self) -> frozenset[str]:
        """Files the culprit changes, by its diffstat or raw diff; git cuts long names in a diffstat."""
        return frozenset(raw or stat for raw, stat in _CHANGED.findall(self.culprit_text))

    @property
    def culprit_is_merge(self) -> bool:
        """Whether the culprit has several parents."""
        return bool(_MERGE.search(self.culprit_text))

    @property
    def culprit_signature(self) -> str:
        """Signature of the kernel built from the culprit."""
        return self._value("culprit signature")

    @property
    def parent_signature(self) -> str:
        """Signature of the kernel built from the culprit's parent; the culprit's own: a noop change."""
        return self._value("parent signature")

    @property
    def error_probability(self) -> float | None:
        """Chance that a good verdict was wrong somewhere, as the log estimates it; None before 2023-07."""
        text = self._value("error probability")
        return float(text) if text else None

    @property
    def repro_chance(self) -> float | None:
        """Estimated reproduction rate, where the log calls the reproducer flaky."""
        text = self._value("flaky")
        return float(text) if text else None

    @property
    def costs(self) -> LogCosts | None:
        """Revisions tested and durations."""
        line = self._line("costs")
        return LogCosts(int(line.values[0]), *line.values[1:]) if line else None

    @property
    def recipients(self) -> tuple[str, ...]:
        """Mail addresses a report goes to."""
        return _addresses(self._value("recipients") or self._value("cc"))

    @property
    def copies(self) -> tuple[str, ...]:
        """Mail addresses that get a copy."""
        return _addresses(self._value("copies"))

    @property
    def crash_title(self) -> str:
        """Title of the crash whose report the log ends with."""
        line = self._line("crash", self._conclusion)
        return line.values[0] if line else ""

    @cached_property
    def error(self) -> str:
        """Why it ended without an answer."""
        index = next((i for i, line in enumerate(self._conclusion) if line.form == "error"), None)
        if index is None:
            return ""
        return "\n".join(filter(None, (self._conclusion[index].values[0], _text_after(self._conclusion, index))))

    @cached_property
    def outcome(self) -> str | None:
        """What came of it, in the words of a search; "error" when it broke, None when the log has no end."""
        if self.error:
            return next((outcome for text, outcome in ERRORS.items() if self.error.startswith(text)), "error")
        return next((_ENDINGS[line.form] for line in self._conclusion if line.form in _ENDINGS), None)

    @cached_property
    def _start(self) -> Line:
        for line in self.lines[:_HEAD_LINES]:
            if line.form in _STARTS:
                return line
        later = next((number for number, line in enumerate(self.lines, 1) if line.form in _STARTS), None)
        seen = f"found it in line {later}" if later else f"saw {str(self.lines[0] if self.lines else '')[:60]!r}"
        raise LogError(
            f"log: expected 'bisecting cause commit starting from' or 'bisecting fixing commit since' in the first "
            f"{_HEAD_LINES} lines, {seen}; {'cut away what comes before' if later else 'give a syzbot bisection log'}"
        )

    @cached_property
    def _conclusion(self) -> tuple[Line, ...]:
        # What follows the costs, which every bisection prints, also one that broke.
        last = max((i for i, line in enumerate(self.lines) if line.form == "costs"), default=len(self.lines))
        return self.lines[last:]

    @cached_property
    def _by_form(self) -> dict[str, Line]:
        return {line.form: line for line in self.lines}

    def _line(self, form: str, lines: Iterable[Line] | None = None) -> Line | None:
        if lines is None:
            return self._by_form.get(form)
        return next((line for line in lines if line.form == form), None)

    def _value(self, form: str, index: int = 0) -> str:
        line = self._line(form)
        return line.values[index] if line else ""


def read_log(text: str) -> BisectionLog:
    """Read a bisection log, of any date since 2018; a line it does not know is kept as text.

    Raises
    ------
    LogError
        If the text is no bisection log: no line says what is bisected.
    """
    lines: list[Line] = []
    ends = at = 0
    while at < len(text):
        end = text.find("\n", at)
        line = read_line(text[at:] if end < 0 else text[at:end])
        lines.append(line)
        at = len(text) if end < 0 else end + 1
        ends += line.form == "costs"
        if ends and line.form == "crash":
            break
    log = BisectionLog(tuple(lines), report=text[at:], cut=bool(text) and at == len(text) and not text.endswith("\n"))
    log._start  # noqa: B018 raises LogError
    return log


def render(log: BisectionLog) -> str:
    """Print a log; what `read_log` read comes back byte for byte."""
    text = "".join(f"{line}\n" for line in log.lines)
    return (text[:-1] if log.cut else text) + log.report


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(word.strip('"') for word in text.split())


def _text_after(lines: tuple[Line, ...], index: int) -> str:
    text = []
    for line in lines[index + 1 :]:
        if line.form != "text":
            break
        text.append(line.values[0])
    return "\n".join(text).strip("\n")
