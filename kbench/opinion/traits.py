"""What of a log tells right culprits from wrong ones, as numbers with names. Read `search_traits` first."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile

from kbench.crash.guilty import guilty_file, trace_files
from kbench.evidence import similarity
from kbench.opinion.posterior import own_titles
from kbench.opinion.rejudge import Rejudged
from kbench.records import Outcome
from kbench.syzbot import BisectionLog

# Files that no kernel of the machines these logs are from is built from.
_NOT_BUILT = re.compile(r"(?:Documentation|tools|scripts|samples)/|MAINTAINERS|arch/(?!x86)|.*\.(?:rst|txt|dtsi?|yaml)$")
_CONFIG = re.compile(r"(?:.*/)?(?:Kconfig|Makefile)")
_ADDS = re.compile(r"\b(?:add|introduce|implement|support|allow|enable|new|convert|use|switch|move)", re.IGNORECASE)
_RELEASE = re.compile(r"Linux v?\d")
_MERGE = re.compile(r"Merge \S")  # a log without git's own answer does not tell the parents
_FUNCTION = re.compile(r"\b([a-z_][a-z_0-9]{5,80})\+0x")
_CREATED = re.compile(r"^ create mode \d{6} (\S+)$", re.MULTILINE)
_INSERTED = re.compile(r"(\d{1,9}) insertion")
_DELETED = re.compile(r"(\d{1,9}) deletion")
_WORD = re.compile(r"[a-z0-9]{3,}")
_SAYS_NOTHING = re.compile(
    "fix|fixes|the|for|and|add|use|with|from|not|remove|bug|into|when|after|null|update|support|make|allow|move|set|new|only|this|"
    "that|all|free|kernel|warning|kasan|net|linux|read|write|general|protection|fault|info|task|hung"
)
_TAIL, _MAX_ODDS = 3, 6.0  # equal verdicts that are no surprise at the end of a search; where the odds of a verdict are cut off


def never_right(log: BisectionLog) -> str:
    """Return why the named commit cannot be the culprit, in words; "" when nothing says so."""
    if log.culprit and (log.culprit_is_merge or _MERGE.match(log.culprit[1])):
        return "it is a merge"
    if log.culprit and _RELEASE.match(log.culprit[1]):
        return "it only names a release"
    if log.culprit_signature and log.culprit_signature == log.parent_signature:
        return "it makes the same kernel as its parent"
    return ""


def search_traits(log: BisectionLog, revisions: Sequence[Rejudged]) -> dict[str, float]:
    """Return the traits of a search that names a culprit, or a list: what it met on its way."""
    changed = len({test.compiler for test in log.tests if test.compiler}) > 1
    flaky = any(line.form.startswith("flaky") for line in log.lines)
    told = {"compiler changed": changed, "called flaky": flaky}
    return _floats({**_of_course(revisions), **_of_crashes(log, revisions, _own(revisions)), **told})


def commit_traits(log: BisectionLog, revisions: Sequence[Rejudged]) -> dict[str, float]:
    """Return the traits of the named commit, next to the crash it is to explain."""
    own = _own(revisions)
    vague = any(word in title for title in own for word in ("corrupted", "no output", "stall", "hung"))
    return _floats({"vague title": vague, **_of_commit(log, own)})


def verdict_traits(odds: Sequence[float]) -> dict[str, float]:
    """Return the traits that rest on the log odds that the bug was there, of each revision that was taken for crashing."""
    cut = [max(min(value, _MAX_ODDS), -_MAX_ODDS) for value in odds] or [_MAX_ODDS]
    return {
        "weakest verdict": min(*cut, 4.0),
        "all verdicts": -sum(math.log1p(math.exp(-value)) for value in cut),
        "verdict on the culprit": min(cut[-1], 4.0),
    }


def _own(revisions: Sequence[Rejudged]) -> frozenset[str]:
    return own_titles([one.tested for one in revisions])


def _floats(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def _of_course(revisions: Sequence[Rejudged]) -> dict[str, float]:
    told = [one.tested for one in revisions if one.tested.crashing is not None]
    search = [one.tested for one in revisions if one.tested.of_search]
    answered = [one for one in search if one.crashing is not None]
    walk = [one.tested for one in revisions if one.tested.step.stage.startswith("release")]
    depth = max((one.tested.depth for one in revisions), default=0)
    tail = list(takewhile(lambda one: one.crashing, reversed(answered)))
    oldest = max((one.age for one in told if one.crashing), default=0.0)
    return {
        "first release clean": depth <= 1,
        "releases walked": math.log(max(depth, 1)),
        "many releases walked": depth > 5,
        "crashes in a row at the end": max(len(tail) - _TAIL, 0),
        "age of the culprit": math.log1p(oldest / 1000),
        "skips in the search": math.log1p(sum(one.crashing is None for one in search)),
        "skips in the walk": math.log1p(sum(one.crashing is None for one in walk)),
        "agreement": _agreement(revisions, oldest),
    }


def _agreement(revisions: Sequence[Rejudged], oldest: float) -> float:
    # Log odds that the evidence model puts the culprit where the log does: between the last that crashed and the next clean one.
    told = [(one.tested, one.p_shows) for one in revisions if one.tested.crashing is not None and one.p_shows is not None]
    bad = [p for one, p in told if one.crashing and one.age == oldest]
    clean = [(one.age, p) for one, p in told if not one.crashing and one.age >= oldest]
    p = (bad[-1] if bad else 1.0) - (min(clean)[1] if clean else 0.0)
    p = min(max(p, 1e-4), 1 - 1e-4)
    return math.log(p / (1 - p))


def _of_crashes(log: BisectionLog, revisions: Sequence[Rejudged], titles: Collection[str]) -> dict[str, float]:
    bad = [one.tested.step for one in revisions if one.tested.crashing and one.tested.step.stage != "original"]
    alike = [max((similarity(title, titles) for title in step.titles), default=0.0) for step in bad]
    shares = [step.titles.total() / max(step.titles.total() + step.counts[Outcome.OK], 1) for step in bad]
    named = log.culprit[0] if log.culprit else ""
    places = [place for place, step in enumerate(bad) if step.commit == named]
    original = revisions[0].tested.step if revisions else None
    at_culprit = alike[places[-1]] if places else 1.0 if original and original.commit == named else 0.7
    return {
        "a verdict of one crash": any(step.titles.total() == 1 and share < 0.3 for step, share in zip(bad, shares, strict=True)),
        "own title at the culprit": at_culprit == 1,
        "own function at the culprit": at_culprit >= 0.9,
        "rate at the culprit": shares[places[-1]] if places else 1.0,
        "least alike title": min(alike, default=1.0),
        "crashes under its own title": _share_own(revisions, titles),
    }


def _share_own(revisions: Sequence[Rejudged], titles: Collection[str]) -> float:
    # Of the crashes of the search; one more, under its own title, stands for what no crash can say.
    seen = [one.tested.step.titles for one in revisions if one.tested.crashing and one.tested.of_search]
    own = sum(n for counts in seen for title, n in counts.items() if title in titles)
    return (own + 1) / (sum(counts.total() for counts in seen) + 1)


def _of_commit(log: BisectionLog, own: Collection[str]) -> dict[str, float]:
    subject, text, files = (log.culprit or ("", ""))[1], log.culprit_text, log.culprit_files
    trace, guilty = trace_files(log.report), guilty_file(log.report)
    told = any("/" in file or "." in file for file in files)  # git of 2019 names top folders only
    folders = {file.rpartition("/")[0] for file in trace}
    touches = told and bool(files & trace)
    names = set(_WORD.findall(" ".join(trace).replace("_", " ")))
    title_words = _words(" ".join(title.rpartition(" in ")[2] for title in own).replace("_", " "))
    area = _words(subject.partition(":")[0]) if ":" in subject else set()
    functions = set(_FUNCTION.findall(log.report[:20_000]))
    mentioned = sum(1 for name in functions if name in text)
    inserted = _INSERTED.search(text)
    return {
        "touches a file of the trace": touches,
        "touches a folder of the trace only": told and not touches and any(file.rpartition("/")[0] in folders for file in files),
        "touches the guilty file": guilty in files,
        "creates the guilty file": bool(guilty) and guilty in _CREATED.findall(text),
        "top folder of the trace": not told and any(file.partition("/")[0] in files for file in trace),
        "other top folder": bool(files and trace) and not told and not any(file.partition("/")[0] in files for file in trace),
        "not built": bool(files) and all(_NOT_BUILT.match(file) for file in files),
        "changes what is built": any(_CONFIG.fullmatch(file) for file in files),
        "headers only": bool(files) and all(file.endswith(".h") for file in files),
        "subsystem of the trace": bool(area & (names | title_words)),
        "no subsystem": ":" not in subject,
        "functions of the trace": math.log1p(mentioned),
        "adds something": bool(_ADDS.search(subject)),
        "a revert": "revert" in subject.lower(),
        "a fix": bool(re.search(r"^\s+Fixes:", text, re.MULTILINE)),
        "creates files": "\n create mode" in text,
        "lines": math.log1p(int(inserted[1])) if inserted else 2.0,
        **_of_message(text),
        "share of its files": len(files & trace) / max(len(files), 1),
        "files of the trace": math.log1p(len(files & trace)),
    }


def _of_message(text: str) -> dict[str, float]:
    inserted, deleted = (int(found[1]) if (found := pattern.search(text)) else 0 for pattern in (_INSERTED, _DELETED))
    return {
        "lines more": math.log1p(max(inserted - deleted, 0)),
        "lines deleted": math.log1p(deleted),
        "reported": "Reported-by" in text,
    }


def _words(text: str) -> set[str]:
    return {word for word in _WORD.findall(text.lower()) if not _SAYS_NOTHING.fullmatch(word)}
