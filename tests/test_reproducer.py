"""The reproducer language is checked before a machine is started, and errors say where."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbench.errors import ReproducerError
from kbench.reproducer import CALLS, check

LABKERNEL = Path(__file__).parents[1] / "data" / "labkernel"

GOOD = {
    "a call": "ps()",
    "comments, blanks and carriage returns": '# hello\r\n\r\n  fd = open("/tmp/a", 1)  # make it\r\n',
    "numbers": "sleep(0x10)\nsleep(-1)\nsleep(- 1)",
    "strings": r'print("a # \"b\" \\ \n", 1)',
    "two results": "r, w = pipe()\nwrite(w, buf, 4)",
    "blocks": "repeat 3 {\n  for 20 ticks {\n    thread {\n      yield()\n    }\n  }\n}\nwait()",
    "the most statements": "ps()\n" * 8192,
    "the most variables": "".join(f"v{i} = ticks()\n" for i in range(63)),
    "the most open blocks": "repeat 1 {\n" * 8 + "}\n" * 8,
}
BAD = {
    "": "expected a statement",
    "# nothing": "expected a statement",
    "ps": r"line 1: expected '\(', saw the end of the line",
    "ps()\n\nread(fd, buf, 1)": "line 3: expected a variable that has a value, saw 'fd'",
    "opne()": "line 1: expected one of the calls .*, saw 'opne'",
    "ps() ps()": "line 1: expected the end of the line, saw 'ps'",
    "x = 3": "line 1: expected a call, saw '3'",
    "a, = pipe()": "line 1: expected a name, saw '='",
    "a, b pipe()": "line 1: expected '=', saw 'pipe'",
    "sleep(1": "line 1: expected ',' or '\\)', saw the end of the line",
    "sleep(1,)": "line 1: expected an argument",
    "sleep(1, 2, 3, 4, 5)": "line 1: expected four arguments at most",
    "sleep(12abc)": "line 1: expected an argument, saw '12abc\\)'",
    'open("/tmp/a, 1)': "line 1: expected an argument",
    "a_name_of_16_char = ps()": "line 1: expected a call, a block or '}'",
    "repeat {\n}": "line 1: expected a number",
    "for 3 {\n}": "line 1: expected 'ticks'",
    "thread {\nps()": "line 1: expected '}' for this block, saw the end of the text",
    "ps()\n}": "line 2: expected a call, a block or '}', saw '}'",
    "ps()\n" * 8192 + "ps()": "line 8193: expected at most 8192 statements",
    "".join(f"v{i} = ticks()\n" for i in range(64)): "line 64: expected at most 64 variables",
    "repeat 1 {\n" * 9: "line 9: expected at most 8 open blocks",
    "ps()\n\0": "line 2: expected text, saw a zero byte",
    "\x0cps()": "line 1: expected a call",
    "#" * 65537: "expected at most 65536 bytes, got 65537",
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_good_texts_pass(text: str) -> None:
    """Nothing is returned and nothing raised."""
    check(text)


@pytest.mark.parametrize(("text", "message"), BAD.items(), ids=[f"{text[:20]!r}" for text in BAD])
def test_bad_texts_name_the_line(text: str, message: str) -> None:
    """Where it is, what was expected, what was seen."""
    with pytest.raises(ReproducerError, match=f"^reproducer: {message}" if message.startswith("expected") else message):
        check(text)


def test_new_calls_can_be_allowed() -> None:
    """A kernel that has learnt a call is tested with it."""
    check("fork()", calls=[*CALLS, "fork"])


def test_calls_are_those_of_the_kernel() -> None:
    """The list here, the kernel's and its user program's are one."""
    kernel = re.findall(r"X\((\w+)\)", (LABKERNEL / "include" / "syscalls.h").read_text())
    builtins = re.search(r"call_names\[\] = \{([^\n]*)", (LABKERNEL / "user" / "repro.c").read_text())
    assert builtins
    assert sorted(CALLS) == sorted({*kernel, *re.findall(r'"(\w+)"', builtins[1])})


def test_kernels_own_test_passes() -> None:
    """The basic test is written in the language."""
    check((LABKERNEL / "user" / "basic.test").read_text())


@given(st.text(alphabet=st.sampled_from('abr01x_"\\#(){},=- \t\r\n\f\0é') | st.characters(), max_size=200))
def test_any_text_passes_or_is_refused(text: str) -> None:
    """Nothing but ReproducerError, whatever comes in."""
    try:
        check(text)
    except ReproducerError as error:
        assert str(error).startswith("reproducer: ")
