"""Every line a bisection log can hold, as one table: read and printed from the same template. Read `FORMS` first.

A template is literal text with fields in braces. Reading finds the literals from left to right and checks the fields
between them, so the time is linear in the line and printing a line that was read gives the same line. What fits no
template (the output of git and make, commit messages, the rest of a verdict that spans lines) is the form "text".

The forms and the dates they were in use: every format string of syzkaller's pkg/bisect/bisect.go from 2018 on.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

# What a field may hold; `text` may be anything. Each is matched against the whole field, without nested repeats.
FIELDS = {
    "text": None,
    "hash": re.compile(r"[0-9a-f]{40}"),
    "hex": re.compile(r"[0-9a-f]*"),
    "word": re.compile(r"[^ \t\r\n]+"),  # a tag's name may hold what Unicode calls a space
    "int": re.compile(r"[0-9]{1,18}"),
    "number": re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?"),
    "duration": re.compile(r"(?:[0-9]{1,18}(?:\.[0-9]{1,18})?(?:h|ms|m|s|µs|us|ns)){1,9}"),
    "verdict": re.compile(r"good|bad|skip"),
    "end": re.compile(r"good|bad"),
    "newness": re.compile(r"bad|new"),
    "toolchain": re.compile(r"gcc|clang|"),
    "s": re.compile(r"s?"),
}

FORMS = {
    # The head of the log.
    "host": "{word} starts bisection {text}",  # since 2022-07
    "cause": "bisecting cause commit starting from {word}",
    "fix": "bisecting fixing commit since {word}",
    "cause, 2018": "searching for guilty commit starting from {word}",
    "fix, 2018": "searching for fixing commit since {word}",
    "syzkaller": "building syzkaller on {text}",
    "fetch": "fetch other tags and check if the commit is present",
    "fetch failed": "fetch failed with {text}",
    "rewritten": "rewritten commit {hash} reidentified by title '{text}'",
    "original": "ensuring issue is reproducible on original commit {word}",
    # Smaller configs, before the search: 2020-04 to 2020-10, since 2020-11, and sanitizers since 2023-06.
    "config start": "# start config bisection",
    "config step": "# config-bisect{text}",
    "config done": "# configuration already minimized",
    "config changes": "# found config option changes {text}",
    "config folder": "# using {text} as config bisect directory",
    "config result": "# testing with generated{text}",
    "base config fails": "testing baseline config failed{text}",
    "base config unusable": "unable to test using baseline config, keep original config",
    "base config crashes, 2020": "crash reproduces with baseline config",
    "minimizing fails": "minimizing config failed{text}",
    "minimizing fails, 2020": "Minimizing config failed{text}",
    "minimized": "testing with generated minimized config{text}",
    "minimization": "kconfig minimization: {text}",
    "base config crashes": "base config crashes",
    "full config crashes": "only full config crashes",
    "half": "trying half: {text}",
    "half crashed": "half crashed{text}",
    "both halves clean": "both halves did not crash",
    "configs": "resulting configs: {text}",
    "chunks": "split chunk{text}",
    "chunk": "testing without sub-chunk {text}",
    "chunk dropped": "the chunk can be dropped{text}",
    "chunk whole": "no way to further split{text}",
    "chunk untested": "no need to test this chunk{text}",
    "suspects": "minimized to {int} configs{text}",
    "predicate limit": "we have reached the limit on predicate{text}",
    "bad Kconfig": "config minimization failed due to bad Kconfig {text}",
    "original config": "proceeding with the original config",
    "sanitizers": "check whether we can drop unnecessary instrumentation",
    "sanitizers off": "disabling configs for {text}",
    "sanitizers needless": "the bug reproduces without the instrumentation",
    "sanitizers kept": "there was nothing we could disable; skip",
    # Which revision comes next, and why.
    "picked": "picked [{text}] out of {int} release tags",
    "release": "testing release {word}",
    "head": "testing current HEAD {hash}",
    "merge bases": "determining the merge base between {word} and {word}",
    "merge base": "{hash}/{text} is a merge base, check if it has the bug",
    "merge base only": "{hash}/{text} is a merge base",
    "merge base clean": "reproducer does not crash the merge base, so there's no known bad commit",
    "reach": "determine whether the revision contains the guilty commit",
    "reached": "revision {hash} crashed and is reachable",
    "reach by merge base": "checking the merge base {text}",
    "reach by test": "no existing result, test the revision",
    "not reached": "the bug was not introduced yet; pretend that kernel crashed",
    "parent": "parent commit {hash} wasn't tested",
    # One test.
    "test with": "testing commit {hash} with {text}",  # until 2021-07
    "test": "testing commit {hash} {toolchain}",
    "test plain": "testing commit {hash}",  # 2021-07 to 2022-07
    "compiler": "compiler: {text}",
    "signature": "kernel signature: {hex}",
    "signature, 2019": "kernel signature:   {hex}",  # three spaces, 2019-11 to 2019-12
    "previous signature": "previous signature: {hex}",
    "failed": "failed: {text}",
    "build failed": "failed building {hash}: {text}",
    "repro failed": "repro testing failure: {text}",
    "build failed, 2018": "kernel build failed: {text}",
    "all runs": "all runs: {text}",
    "run, 2018": "try #{int}: {text}",
    "run": "run #{int}: {text}",
    "representative": "representative crash: {text}, types: [{text}]",
    "false negative": "false negative chance: {number}",
    "undetermined": "unable to determine the verdict: {int} good runs (wanted {int}), for bad wanted {int} in total, got {int}",
    "too many errors": "too many neither good nor bad results, skipping this commit",
    "flaky, 2020": "reproducer seems to be flaky",
    # Git's own lines, and the commands that made it print them.
    "bisect start": "# git bisect start {word} {word}",
    "bisect": "# git bisect {verdict} {hash}",
    "left": "Bisecting: {int} revision{s} left to test after this (roughly {int} step{s})",
    "left, merge base": "Bisecting: a merge base must be tested",
    "merge base fixed": "This means the bug has been fixed between {text}",
    "merge base skipped": "Warning: the merge base between {text}",
    "merge base skipped, later": "warning: the merge base between {text}",
    "checked out": "[{hash}] {text}",
    "previous head": "Previous HEAD position was {hex} {text}",
    "head now": "HEAD is now at {hex} {text}",
    "first": "{hash} is the first {newness} commit",
    "skips left": "There are only 'skip'ped commits left to test.",
    "any of": "The first {newness} commit could be any of:",
    "stuck": "We cannot bisect more!",
    "hash": "{hash}",
    # What came of it.
    "no release": "failed to detect release: {text}",
    "no noop": "failed to detect noop change: {text}",
    "error probability": "accumulated error probability: {number}",
    "culprit signature": "culprit signature: {hex}",
    "parent signature": "parent  signature: {hex}",
    "flaky flag": "Reproducer flagged being flaky",
    "flaky": "reproducer is flaky ({number} repro chance estimate)",
    "costs": "revisions tested: {int}, total time: {duration} (build: {duration}, test: {duration})",
    "error": "error: {text}",
    "culprit": "first {end} commit: {hash} {text}",
    "inconclusive": "bisection is inconclusive, the first {end} commit could be any of:",
    "older": "the crash already happened on the oldest tested release",
    "older, 2023": "oldest tested release already had the bug or it had kernel test errors",
    "unfixed, 2018": "the crash is still unfixed",
    "unfixed": "the crash still happens on HEAD",
    "unfixed, 2023": "crash still not fixed on HEAD or HEAD had kernel test errors",
    "unfixed, trees": "crash still not fixed or there were kernel test errors",
    "unfixed, oldest": "crash still not fixed/happens on the oldest tested release",
    "head failed": "HEAD had kernel build, boot or test errors",
    "message": "commit msg: {text}",
    "cc": "cc: [{text}]",  # until 2020-07
    "recipients": "recipients (to): [{text}]",
    "copies": "recipients (cc): [{text}]",
    "crash": "crash: {text}",  # the report follows, to the end of the log
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log: its form, and what its fields hold, as printed."""

    form: str  # a key of FORMS, or "text"
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The line as printed, without its end."""
        if self.form == "text":
            return self.values[0]
        literals, _ = _TEMPLATES[self.form]
        return literals[0] + "".join(value + literal for value, literal in zip(self.values, literals[1:], strict=True))


_Template = tuple[tuple[str, ...], tuple[str, ...]]  # literals around the fields, and the fields


def _template(pattern: str) -> _Template:
    pieces = re.split(r"\{(\w+)\}", pattern)
    return tuple(pieces[::2]), tuple(pieces[1::2])


_TEMPLATES: dict[str, _Template] = {form: _template(pattern) for form, pattern in FORMS.items()}

# Forms by the first letters of their lines; those that begin with a field are tried on every line.
_KEY_LENGTH = 4
_BY_KEY: dict[str, list[str]] = defaultdict(list)
for _form, (_literals, _fields) in _TEMPLATES.items():
    _BY_KEY[_literals[0][:_KEY_LENGTH]].append(_form)


def _read_fields(text: str, template: _Template) -> tuple[str, ...] | None:
    literals, fields = template
    if not text.startswith(literals[0]) or not text.endswith(literals[-1]):
        return None
    at, end, values = len(literals[0]), len(text) - len(literals[-1]), []
    for number, name in enumerate(fields, start=1):
        until = end if number == len(fields) else text.find(literals[number], at, end)
        if until < at:
            return None
        value, pattern = text[at:until], FIELDS[name]
        if pattern is not None and not pattern.fullmatch(value):
            return None
        values.append(value)
        at = until + len(literals[number])
    return tuple(values) if fields or len(text) == len(literals[0]) else None


def read_line(text: str) -> Line:
    """Tell which form a line has; str() of the answer is the line again."""
    if text and not text[0].isspace():
        for key in ("", text[:1], text[:_KEY_LENGTH]):
            for form in _BY_KEY.get(key, ()):
                values = _read_fields(text, _TEMPLATES[form])
                if values is not None:
                    return Line(form, values)
    return Line("text", (text,))


def foreign(text: str) -> list[Line]:
    """Lines of somebody else's text, none of which can be taken for a line of the log: such a line is indented."""
    lines = (read_line(line) for line in text.replace("\r", "").split("\n"))
    return [line if line.form == "text" else Line("text", (f" {line}",)) for line in lines]
