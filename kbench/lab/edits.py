"""Small changes to the kernel's own code that change nothing about its behaviour. Read `EDITS` first.

Every edit is made from the text as it stands, so it keeps applying when the lab kernel changes: it looks for functions,
locals, arrays, error returns, and makes of them what people do to such code between two releases. What it says in a
comment or a message is read off the code, so it is true. An edit that finds nothing to do returns None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from kbench.lab.graph import Dice
from kbench.lab.patch import Edit, Files

Editor = Callable[[Dice, Files, str], Edit | None]


@dataclass(frozen=True, slots=True)
class Function:
    """A function definition in kernel style: its name at the left margin, its closing brace too."""

    name: str
    head: str  # "static int put(struct buffer *out, char c)"
    body: str  # between the braces, ending in a newline
    start: int  # offset of the head in the file
    open: int  # offset of the body


_FUNCTION = re.compile(
    r"^(?P<head>[a-z][\w \*]*?\b(?P<name>\w+)\([^;{}()]*(?:\([^()]*\)[^;{}()]*)*\))[ \n]\{\n(?P<body>(?:[^}\n].*\n|\n)*)\}\n",
    re.M,
)
_LOCAL = re.compile(
    r"\t(?!return|goto|else|break)(?:const |static |struct |enum |volatile )*[a-z]\w+ \*?\w[^;()]*(?:= [^;]*)?;(?:\t+/\*.*\*/)?\n"
)
_ERROR_PATH = re.compile(r"\bif \((?!unlikely)([^()\n]*(?:\([^()\n]*\)[^()\n]*)*)\)(\s+return -E)")

_HAS_PRINTK = re.compile(r'^#include "(kernel|mm|sched|fs)\.h"', re.M)  # the last three include the first
_ONE_LINE_IF = re.compile(r"^(\t+)if (\([^()\n]*(?:\([^()\n]*\)[^()\n]*)*\)) ((?:return|break|continue)\b[^;\n]*;)$", re.M)


@lru_cache(maxsize=512)
def functions(text: str) -> tuple[Function, ...]:
    """The functions a C file defines, in order."""
    return tuple(
        Function(found["name"], found["head"], found["body"], found.start("head"), found.start("body"))
        for found in _FUNCTION.finditer(text)
    )


def area_of(path: str) -> str:
    """The prefix of a subject for a file: "pipe" for fs/pipe.c, "x86/trap" for arch/x86/trap.c."""
    parts = PurePosixPath(path)
    return f"{parts.parts[1]}/{parts.stem}" if parts.parts[0] == "arch" and len(parts.parts) > 2 else parts.stem


def _splice(files: Files, path: str, at: int, insertion: str, *, remove: int = 0) -> Files:
    text = files[path]
    return {path: text[:at] + insertion + text[at + remove :]}


def _statements(body: str) -> int:
    # Offset of the first line that declares nothing.
    at = 0
    while found := _LOCAL.match(body, at):
        at = found.end()
    return at + (body[at : at + 1] == "\n") if at else 0


def _uncommented(files: Files, path: str) -> list[Function]:
    text = files[path]
    return [f for f in functions(text) if text[: f.start].endswith("\n\n")]


def _comment(dice: Dice, files: Files, path: str, facts: Iterator[tuple[Function, str, str]], body: str) -> Edit | None:
    told = list(facts)
    if not told:
        return None
    function, comment, subject = dice.pick(told)
    return Edit(area_of(path), subject, body, _splice(files, path, function.start, f"/* {comment} */\n"))


def say_errors(dice: Dice, files: Files, path: str) -> Edit | None:
    """A comment with the errors a function returns."""

    def facts() -> Iterator[tuple[Function, str, str]]:
        for f in _uncommented(files, path):
            errors = sorted(set(re.findall(r"\breturn -(E[A-Z]+);", f.body)))
            if errors:
                yield f, f"Can fail with {', '.join('-' + e for e in errors)}.", f"say how {f.name}() fails"

    return _comment(dice, files, path, facts(), "Callers had to read the code to know which errors to expect.")


def say_caller(dice: Dice, files: Files, path: str) -> Edit | None:
    """A comment with the one caller of a static function."""

    def facts() -> Iterator[tuple[Function, str, str]]:
        for f in _uncommented(files, path):
            callers = {g.name for g in functions(files[path]) if re.search(rf"\b{f.name}\(", g.body)}
            if f.head.startswith("static") and len(callers) == 1 and len(re.findall(rf"\b{f.name}\b", files[path])) == 2:
                yield f, f"Only for {callers.pop()}().", f"note who calls {f.name}()"

    return _comment(dice, files, path, facts(), "It is not meant for others; say so before somebody exports it.")


def say_context(dice: Dice, files: Files, path: str) -> Edit | None:
    """A comment with the context a function needs or makes."""
    contexts = (
        (r"\b(mutex_lock|sleep_on|schedule_timeout)\(", "May sleep.", "note that {}() may sleep"),
        (r"\b(irq_save|guard_irq)\(", "Turns interrupts off by itself.", "{}() handles interrupts by itself, say so"),
        (r"\b(kmalloc|kzalloc)\(", "Allocates from the heap.", "note that {}() allocates"),
        (r"\baccess_ok\(", "Checks the user's pointer.", "note that {}() checks its pointer"),
    )

    def facts() -> Iterator[tuple[Function, str, str]]:
        for f in _uncommented(files, path):
            for pattern, comment, subject in contexts:
                if re.search(pattern, f.body):
                    yield f, comment, subject.format(f.name)

    return _comment(dice, files, path, facts(), "This was asked twice in review.")


def rename_static(dice: Dice, files: Files, path: str) -> Edit | None:
    """A static function gets the name of its file in front."""
    stem = PurePosixPath(path).stem
    everything = "".join(files.values())
    names = [f.name for f in functions(files[path]) if f.head.startswith("static") and not f.name.startswith((stem[:3], "_"))]
    free = [n for n in names if not re.search(rf"\b{stem}_{n}\b", everything) and not re.search(rf"\.\s*{n}\b", files[path])]
    if not free:
        return None
    old = dice.pick(free)
    text = re.sub(rf"\b{old}\b(?!\"|\.h)", f"{stem}_{old}", files[path])
    body = f"A bare {old}() in a call trace does not tell where it comes from. No functional change."
    return Edit(area_of(path), f"rename {old}() to {stem}_{old}()", body, {path: text})


def name_array_size(dice: Dice, files: Files, path: str) -> Edit | None:
    """The size of a static array gets a name."""
    text = files[path]
    found = [m for m in re.finditer(r"^static [\w ]+? (\w+)\[(\d{2,})\]", text, re.M) if f"{m[1].upper()}_SIZE" not in text]
    first_line = text.find("\n\n", text.find("#include"))
    if not found or first_line < 0:
        return None
    array = dice.pick(found)
    name = f"{array[1].upper()}_SIZE"
    text = text[: array.start(2)] + name + text[array.end(2) :]
    text = text[: first_line + 2] + f"#define {name} {array[2]}\n" + text[first_line + 2 :]
    return Edit(area_of(path), f"give the size of {array[1]}[] a name", "No functional change.", {path: text})


def assert_power_of_two(dice: Dice, files: Files, path: str) -> Edit | None:
    """A constant that is a power of two is asserted to stay one."""
    text = files[path]
    found = [
        m
        for m in re.finditer(r"^#define (\w+) (\d+)\b.*\n(?!#define|_Static)", text, re.M)
        if int(m[2]) > 2 and int(m[2]) & (int(m[2]) - 1) == 0
    ]
    used = [m for m in found if len(re.findall(rf"\b{m[1]}\b", text)) > 1]  # else it may be about to go, or half renamed
    found = [m for m in used if f"({m[1]} & ({m[1]} - 1))" not in text]
    if not found:
        return None
    constant = dice.pick(found)
    line = f'_Static_assert(({constant[1]} & ({constant[1]} - 1)) == 0, "{constant[1]} is a power of two");\n'
    body = f"Divisions by {constant[1]} are shifts as long as it is a power of two; do not let that go unnoticed."
    return Edit(area_of(path), f"{constant[1]} has to stay a power of two", body, _splice(files, path, constant.end(), line))


def unlikely_errors(dice: Dice, files: Files, path: str) -> Edit | None:
    """The error paths of one function become unlikely()."""
    if "#define unlikely(" not in files["include/types.h"]:
        return None
    found = [f for f in functions(files[path]) if _ERROR_PATH.search(f.body)]
    if not found:
        return None
    function = dice.pick(found)
    new = _ERROR_PATH.sub(r"if (unlikely(\1))\2", function.body)
    reason = dice.pick(("Errors are rare.", "Keep the common path straight."))
    body = f"{reason} The compiler moves the error path of {function.name}() out of the way."
    subject = f"errors are unlikely in {function.name}()"
    return Edit(area_of(path), subject, body, _splice(files, path, function.open, new, remove=len(function.body)))


def debug_message(dice: Dice, files: Files, path: str) -> Edit | None:
    """A message that is compiled in with CONFIG_DEBUG only."""
    if "#define pr_debug(" not in files["include/kernel.h"] or not _HAS_PRINTK.search(files[path]):
        return None
    found = [f for f in functions(files[path]) if "pr_debug(" not in f.body and not re.search(r"printk|console|put", f.name)]
    if not found:
        return None
    f = dice.pick(found)
    argument = re.search(r"[(,] ?(u32|int) (\w+)[,)]", f.head)
    values = f", {argument[2]}" if argument else ""
    shown = f" {argument[2]} %{'d' if argument[1] == 'int' else 'u'}" if argument else ""
    line = f'\tpr_debug("%s:{shown or " entered"}\\n", __func__{values});\n'
    body = f"Helps to follow {f.name}() with CONFIG_DEBUG=y; compiled out otherwise."
    return Edit(area_of(path), f"debug message in {f.name}()", body, _splice(files, path, f.open + _statements(f.body), line))


def one_statement_a_line(dice: Dice, files: Files, path: str) -> Edit | None:
    """What an if governs gets a line of its own, throughout one function."""
    found = [f for f in functions(files[path]) if _ONE_LINE_IF.search(f.body)]
    if not found:
        return None
    f = dice.pick(found)
    new = _ONE_LINE_IF.sub(r"\1if \2\n\1\t\3", f.body)
    body = "A debugger stops at lines, not at statements. No functional change."
    return Edit(area_of(path), f"one statement a line in {f.name}()", body, _splice(files, path, f.open, new, remove=len(f.body)))


def endless_loop(dice: Dice, files: Files, path: str) -> Edit | None:
    """for (;;) becomes while (true), or back."""
    forms = ("for (;;)", "while (true)")
    found = [(f, a, b) for f in functions(files[path]) for a, b in (forms, forms[::-1]) if f.body.count(a) == 1]
    if not found:
        return None
    f, old, new = dice.pick(found)
    new_body = f.body.replace(old, new)
    files = _splice(files, path, f.open, new_body, remove=len(f.body))
    return Edit(
        area_of(path), f"{new} in {f.name}()", "The same code to the compiler, and the form used in the rest of the file.", files
    )


def count_calls(dice: Dice, files: Files, path: str) -> Edit | None:
    """A counter of calls, to be looked at with a debugger."""
    found = [
        f for f in functions(files[path]) if f.head.startswith(("int sys_", "static int")) and f"nr_{f.name}" not in files[path]
    ]
    if not found:
        return None
    f = dice.pick(found)
    text = files[path]
    at = f.open + _statements(f.body)
    text = text[:at] + f"\tnr_{f.name}++;\n" + text[at:]
    comment = text.rfind("\n\n", 0, f.start) + 2
    text = text[:comment] + f"static u32 nr_{f.name};\t/* calls since boot, for the debugger */\n\n" + text[comment:]
    return Edit(
        area_of(path), f"count calls of {f.name}()", f"Wanted while looking at who calls {f.name}() how often.", {path: text}
    )


def boot_message(dice: Dice, files: Files, path: str) -> Edit | None:
    """An initcall says that it was run."""
    text = files[path]
    names = re.findall(r"^INITCALL\((\w+)\);", text, re.M)
    found = [f for f in functions(text) if f.name in names and "printk(" not in f.body]
    if not found or not _HAS_PRINTK.search(text):
        return None
    f = dice.pick(found)
    files = _splice(files, path, f.open + len(f.body), f'\tprintk("{area_of(path)}: ready\\n");\n')
    return Edit(area_of(path), "say so when ready", "The boot log did not tell which parts had come up.", files)


EDITS: tuple[Editor, ...] = (
    *(
        say_errors,
        say_caller,
        say_context,
        name_array_size,
        assert_power_of_two,
        unlikely_errors,
        one_statement_a_line,
        endless_loop,
        count_calls,
    )
    * 2,
    boot_message,
    rename_static,
    debug_message,
)


def credit(dice: Dice, files: Files, path: str) -> Edit | None:
    """A line under the file's first comment: somebody who worked on it. What is left when nothing else is."""
    text = files[path]
    end = text.find("*/\n")
    tester = dice.pick(("Teo", "Ruth", "Piet", "Anja", "Mei", "Farah", "Dana", "Oisin"))
    line = f"/* Read with care by {tester}, {dice.integer(1, 12)}/{dice.integer(2021, 2023)}. */\n"
    if not text.startswith("/*") or line in text:
        return None
    return Edit(area_of(path), f"note that {tester} has read it", "No code is touched.", _splice(files, path, end + 3, line))
