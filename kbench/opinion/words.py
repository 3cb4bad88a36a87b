"""The traits of a log in words. Read `say` first."""

from __future__ import annotations

import math

# Of a trait that is there or not: both ways to say it.
_YES_NO = {
    "first release clean": ("the first release walked to was clean", "the first release walked to crashed"),
    "many releases walked": ("more than five releases were walked", "five releases or fewer were walked"),
    "a verdict of one crash": ("a verdict rests on a single crash", "no verdict rests on a single crash"),
    "own title at the culprit": ("the culprit crashes as the bug does", "the culprit crashes under another title"),
    "own function at the culprit": ("the culprit crashes in the bug's function", "the culprit crashes in another function"),
    "vague title": ("the bug's title is vague", "the bug's title names a function"),
    "touches a file of the trace": ("it touches a file of the crash's trace", "it touches no file of the crash's trace"),
    "touches a folder of the trace only": (
        "it touches a folder of the trace, and no file",
        "it touches a file of the trace or no folder",
    ),
    "touches the guilty file": ("it touches the file the crash points at", "it leaves the file the crash points at alone"),
    "top folder of the trace": ("it touches a top folder of the trace", "its files are told, or lie elsewhere"),
    "other top folder": ("it touches other top folders than the trace", "it touches a top folder of the trace"),
    "not built": ("it touches nothing that is built", "it touches what is built"),
    "changes what is built": ("it changes a Kconfig or a Makefile", "it changes no Kconfig and no Makefile"),
    "headers only": ("it touches headers only", "it touches more than headers"),
    "subsystem of the trace": ("its subsystem is the trace's", "its subsystem is not the trace's"),
    "no subsystem": ("its subject names no subsystem", "its subject names a subsystem"),
    "adds something": ("its subject says that it adds something", "its subject does not say that it adds something"),
    "a revert": ("it is a revert", "it is no revert"),
    "a fix": ("it is a fix itself", "it fixes nothing"),
    "creates files": ("it creates files", "it creates no file"),
    "reported": ("it answers a report", "it answers no report"),
    "compiler changed": ("more than one compiler built the kernels", "one compiler built all kernels"),
    "called flaky": ("the log calls its reproducer flaky", "the log does not call its reproducer flaky"),
    "creates the guilty file": ("it creates the file the crash points at", "the file the crash points at was there before it"),
}


def say(name: str, value: float) -> str:
    """Return a trait in words."""
    if name in _YES_NO:
        return _YES_NO[name][not value]
    match name:
        case "releases walked":
            return f"{_count(math.exp(value), 'release')} walked"
        case "crashes in a row at the end":
            return (
                f"the search ends with {value + 3:.0f} crashes in a row"
                if value
                else "the search does not end with crashes in a row"
            )
        case "age of the culprit":
            thousands = round(math.expm1(value))
            return f"it is {f'{thousands} thousand' if thousands else 'a few hundred'} commits older than the crash, or fewer"
        case "skips in the search" | "skips in the walk":
            return f"{_count(math.expm1(value), 'revision')} skipped in the {name.rpartition(' ')[2]}"
        case "rate at the culprit":
            return f"{value:.0%} of the runs crash at the culprit"
        case "crashes under its own title":
            return f"{value:.0%} of the crashes in the search have the bug's own title"
        case "least alike title":
            return "all crashes on the way look like the bug" if value > 0.8 else "some crash on the way looks like another bug's"
        case "functions of the trace":
            return f"its message and diffstat name {_count(math.expm1(value), 'function')} of the trace"
        case "lines":
            return f"it adds {math.expm1(value):.0f} lines"
        case "lines more":
            return f"it leaves {math.expm1(value):.0f} lines more than there were"
        case "lines deleted":
            return f"it deletes {math.expm1(value):.0f} lines"
        case "share of its files":
            return f"{value:.0%} of its files are in the crash's trace"
        case "files of the trace":
            return f"it touches {_count(math.expm1(value), 'file')} of the crash's trace"
    p = 1 / (1 + math.exp(-value)) if name != "all verdicts" else math.exp(value)
    return f"{_CHANCES[name]}: {p:.0%}"


_CHANCES = {
    "agreement": "chance that the runs put the culprit where the log does",
    "weakest verdict": "chance that the most doubtful crash was the bug",
    "all verdicts": "chance that all crashes were the bug",
    "verdict on the culprit": "chance that the last crash was the bug",
}


def _count(n: float, noun: str) -> str:
    return f"{n:.0f} {noun}{'' if round(n) == 1 else 's'}"
