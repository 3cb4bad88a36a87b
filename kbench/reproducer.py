"""The reproducer language of the lab kernel: checks a text before any machine is started. Read `check` first.

The grammar is in data/labkernel/README.md, its interpreter in data/labkernel/user/repro.c; this module accepts what that
one accepts, and carries nothing out.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from kbench.errors import ReproducerError

MAX_BYTES = 65536
MAX_STATEMENTS = 8192
MAX_VARIABLES = 64  # `buf` is one of them
MAX_DEPTH = 8
MAX_ARGUMENTS = 4

# What a reproducer can call: the kernel's system calls (include/syscalls.h) and the interpreter's own.
CALLS = (
    *("exit", "getpid", "clone", "wait", "yield", "sleep", "ticks", "ps", "uname", "poweroff", "reboot", "bootdata"),
    *("open", "close", "read", "write", "dup", "unlink", "rename", "ls", "pipe", "lkdtm"),
    *("print", "expect", "help"),
)
BLOCKS = ("repeat", "for", "thread")

_TOKEN = re.compile(
    r"""[ \t\r]*(?:
        (?P<string>"(?:[^"\\\n]|\\[^\n])*")
      | (?P<number>-?[ \t]*(?:0x[0-9a-fA-F]{1,13}|[0-9]{1,15})(?![A-Za-z0-9_]))
      | (?P<name>[A-Za-z_][A-Za-z0-9_]{0,14}(?![A-Za-z0-9_]))
      | (?P<comment>\#.*)
      | (?P<mark>[(){},=])
      | (?P<other>[^ \t\r].{0,19})
    )""",
    re.VERBOSE,
)


@dataclass
class _Line:
    """The tokens of one line, taken from the left."""

    number: int
    tokens: list[tuple[str, str]]  # kind, text

    def fail(self, expected: str) -> ReproducerError:
        seen = repr(self.tokens[0][1][:20]) if self.tokens else "the end of the line"
        return ReproducerError(f"reproducer: line {self.number}: expected {expected}, saw {seen}; mend the line")

    def take(self, kind: str, text: str | None = None) -> str | None:
        """The next token if it is of this kind (and text), else None."""
        if self.tokens and self.tokens[0][0] == kind and text in (None, self.tokens[0][1]):
            return self.tokens.pop(0)[1]
        return None

    def want(self, kind: str, expected: str, text: str | None = None) -> str:
        """The next token, which must be of this kind (and text)."""
        taken = self.take(kind, text)
        if taken is None:
            raise self.fail(expected)
        return taken


@dataclass
class _Program:
    """What the lines so far have brought."""

    calls: Collection[str]
    variables: set[str] = field(default_factory=lambda: {"buf"})
    n_statements: int = 0
    open_lines: list[int] = field(default_factory=list)


def check(text: str, calls: Collection[str] = CALLS) -> None:
    """Check that a reproducer can be run.

    Parameters
    ----------
    text : str
        The reproducer.
    calls
        Names it may call; more than `CALLS` for a kernel that has learnt new ones.

    Raises
    ------
    ReproducerError
        With the line, what was expected there and what was seen; or when the text is larger than 64 KiB or has a zero byte.
    """
    size = len(text.encode("utf-8", "replace"))
    if size > MAX_BYTES:
        raise ReproducerError(f"reproducer: expected at most {MAX_BYTES} bytes, got {size}; make it shorter")
    if "\0" in text:
        number = text[: text.index("\0")].count("\n") + 1
        raise ReproducerError(f"reproducer: line {number}: expected text, saw a zero byte; is this a binary file?")
    program = _Program(calls)
    for number, line in enumerate(text.split("\n"), start=1):
        _check_line(program, _Line(number, _tokens(line)))
    if program.open_lines:
        opened = program.open_lines[-1]
        raise ReproducerError(f"reproducer: line {opened}: expected '}}' for this block, saw the end of the text; close it")
    if program.n_statements == 0:
        raise ReproducerError("reproducer: expected a statement, saw only comments and empty lines; write one call a line")


def _tokens(line: str) -> list[tuple[str, str]]:
    kinds = ((match.lastgroup or "other", match) for match in _TOKEN.finditer(line))
    return [(kind, match[kind]) for kind, match in kinds if kind != "comment"]


def _check_line(program: _Program, line: _Line) -> None:
    if not line.tokens:
        return
    if program.open_lines and line.take("mark", "}"):
        program.open_lines.pop()
    else:
        _check_statement(program, line)
        program.n_statements += 1
        if program.n_statements > MAX_STATEMENTS:
            raise line.fail(f"at most {MAX_STATEMENTS} statements")
    if line.tokens:
        raise line.fail("the end of the line")


def _check_statement(program: _Program, line: _Line) -> None:
    name = line.want("name", "a call, a block or '}'")
    if name in BLOCKS:
        _check_block(program, line, name)
        return
    results = []
    if line.take("mark", ","):
        results = [name, line.want("name", "a name")]
        line.want("mark", "'='", "=")
    elif line.take("mark", "="):
        results = [name]
    if results:
        program.variables.update(results)
        if len(program.variables) > MAX_VARIABLES:
            raise line.fail(f"at most {MAX_VARIABLES} variables")
        name = line.want("name", "a call")
    if name not in program.calls:
        line.tokens.insert(0, ("name", name))
        raise line.fail("one of the calls that data/labkernel/README.md lists")
    _check_arguments(program, line)


def _check_block(program: _Program, line: _Line, name: str) -> None:
    if name != "thread":
        line.want("number", "a number")
    if name == "for":
        line.want("name", "'ticks'", "ticks")
    line.want("mark", "'{'", "{")
    if len(program.open_lines) == MAX_DEPTH:
        raise line.fail(f"at most {MAX_DEPTH} open blocks")
    program.open_lines.append(line.number)


def _check_arguments(program: _Program, line: _Line) -> None:
    line.want("mark", "'('", "(")
    if line.take("mark", ")"):
        return
    for _ in range(MAX_ARGUMENTS):
        if line.tokens and line.tokens[0][0] == "name" and line.tokens[0][1] not in program.variables:
            raise line.fail("a variable that has a value")
        if not (line.take("string") or line.take("number") or line.take("name")):
            raise line.fail("an argument")
        if not line.take("mark", ","):
            line.want("mark", "',' or ')'", ")")
            return
    raise line.fail("four arguments at most")
