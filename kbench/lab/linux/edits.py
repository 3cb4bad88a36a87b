"""Small changes to Linux's own files that change nothing about its behaviour. Read `source_edit` first.

Made from the text as it stands, as in `kbench.lab.edits`: what a comment says is read off the code. A file that offers
nothing gives None, and another one is drawn.
"""

from __future__ import annotations

import re
from collections import Counter

from kbench.lab.edits import area_of, endless_loop, functions, say_context, say_errors
from kbench.lab.graph import Dice
from kbench.lab.linux.places import HEADERS
from kbench.lab.patch import Edit, Files

_MAX_BYTES = 80_000  # above: generated tables and the like
_WORDY = {
    "in order to": "to",
    "make use of": "use",
    "prior to": "before",
    "as well as": "and",
    "due to the fact that": "because",
    "is able to": "can",
    "are able to": "can",
    "it is possible to": "one can",
    "at the moment": "now",
    "a number of": "several",
    "for the purpose of": "for",
    "by means of": "by",
    "has to be": "must be",
    "have to be": "must be",
    "takes care of": "handles",
    "needs to be": "must be",
    "need to be": "must be",
}
_PHRASE = re.compile(rf"\b(?:{'|'.join(_WORDY)})\b")
_ERROR_PATH = re.compile(r"^(\t+)if \((?!.*(?:un)?likely)([^()\n]*(?:\([^()\n]*\)[^()\n]*)*)\)\n(\t+return -E)", re.M)
_COMMENT_LINE = re.compile(r"^[ \t]+\* [A-Za-z][^/{}();=\"#]*$", re.M)  # prose in the middle of a comment
_GUARD_END = re.compile(r"^#endif\b.*\n?\Z", re.M)


def source_edit(dice: Dice, text: str, path: str) -> Edit | None:
    """Change a C file; half of the changes are seen in the object file, the others in comments only."""
    if len(text) > _MAX_BYTES:
        return None
    editor = dice.pick(
        (say_errors, _say_caller, say_context, _reword_comment, _unlikely, _unlikely, _count, _count, endless_loop)
    )
    return editor(dice, {path: text}, path)


def comment_edit(dice: Dice, text: str, path: str) -> Edit | None:
    """Change comments of a C file, or the prose of a document."""
    if len(text) > _MAX_BYTES:
        return None
    if path.endswith(".rst"):
        return _reword(dice, text, path, [(0, len(text))])
    return dice.pick((say_errors, _say_caller, say_context, _reword_comment))(dice, {path: text}, path)


def header_edit(dice: Dice, text: str, path: str) -> Edit | None:
    """Add a macro to a header that everything includes, or a comment."""
    end = _GUARD_END.search(text)
    if end is None:
        return None
    name, value = HEADERS[path]
    bare = name.partition("(")[0]
    if dice.chance(0.5) or re.search(rf"\b{bare}\b", text):
        added = f"/* Most of the kernel includes this file: think twice before it includes another one. */\n\n{end[0]}"
        return Edit(area_of(path), "a word of warning", "Build times have grown again.", {path: text[: end.start()] + added})
    body = "There are several places that spell it out; they follow when this is in."
    added = f"#define {name}\t{value}\n\n{end[0]}"
    return Edit(area_of(path), f"add {bare}()", body, {path: text[: end.start()] + added})


def _say_caller(dice: Dice, files: Files, path: str) -> Edit | None:
    # As in the lab kernel's edits, with the words of the file counted once: the files are larger here.
    text = files[path]
    n_seen = Counter(re.findall(r"\w+", text))
    once = [f for f in functions(text) if f.head.startswith("static") and n_seen[f.name] == 2]
    once = [f for f in once if text[: f.start].endswith("\n\n")]
    if not once:
        return None
    f = dice.pick(once)
    callers = [g.name for g in functions(text) if f"{f.name}(" in g.body]
    if len(callers) != 1:
        return None
    changed = f"{text[: f.start]}/* Only for {callers[0]}(). */\n{text[f.start :]}"
    body = "It is not meant for others; say so before somebody exports it."
    return Edit(area_of(path), f"note who calls {f.name}()", body, {path: changed})


def _reword_comment(dice: Dice, files: Files, path: str) -> Edit | None:
    text = files[path]
    return _reword(dice, text, path, [line.span() for line in _COMMENT_LINE.finditer(text)])


def _reword(dice: Dice, text: str, path: str, places: list[tuple[int, int]]) -> Edit | None:
    # One wordy phrase within the places gives way to a short one.
    found = [(match.span(), match[0]) for start, end in places for match in _PHRASE.finditer(text, start, end)]
    if not found:
        return None
    (start, end), old = dice.pick(found)
    new = _WORDY[old]
    subject = f"say '{new}' instead of '{old}'"
    return Edit(area_of(path), subject, "Shorter, and means the same.", {path: text[:start] + new + text[end:]})


def _unlikely(dice: Dice, files: Files, path: str) -> Edit | None:
    text = files[path]
    found = [f for f in functions(text) if _ERROR_PATH.search(f.body)]
    if not found:
        return None
    f = dice.pick(found)
    new = _ERROR_PATH.sub(r"\1if (unlikely(\2))\n\3", f.body)
    body = f"The compiler moves the error paths of {f.name}() out of the way."
    changed = text[: f.open] + new + text[f.open + len(f.body) :]
    return Edit(area_of(path), f"errors are unlikely in {f.name}()", body, {path: changed})


def _count(dice: Dice, files: Files, path: str) -> Edit | None:
    # A function that begins with a statement can count its calls there; the counter stands right before it, under the same #if.
    text = files[path]
    plain = re.compile(r"\t(?:if \(|return\b|[a-z_]+\(|[a-z_]+->)")
    found = [f for f in functions(text) if plain.match(f.body) and text[: f.start].endswith("\n\n")]
    found = [f for f in found if f.head.startswith("static int") and "__init" not in f.head]
    if not found:
        return None
    f = dice.pick(found)
    counter = f"nr_{f.name}"
    declared = f"static unsigned long {counter};\t/* calls since boot, for the debugger */\n\n"
    counted = text[: f.start] + declared + text[f.start : f.open] + f"\t{counter}++;\n" + text[f.open :]
    body = f"Wanted while looking at how often {f.name}() is called."
    return Edit(area_of(path), f"count calls of {f.name}()", body, {path: counted})
