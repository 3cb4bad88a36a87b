"""Fuzzing the crash parser, for `make fuzz`: it never raises, never hangs, and finds the same crash again in its region."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kbench import crash
from kbench.crash.kinds import KINDS, MARKERS

CONSOLES = sorted((Path(__file__).parent / "data" / "console").glob("*.txt"))
LINES = [line for path in CONSOLES for line in path.read_bytes().decode(errors="replace").split("\n")[-120:]]
WORDS = """\
Call Trace:
 a+0x1/0x2
 ? b+0x1/0x2
[<ffffffff81000000>] (f) from [<c0000000>] (g+0x1/0x2)
RIP: 0010:c+0x1/0x2
Read of size 4
is trying to acquire lock
at: b+0x1/0x2
backtrace:
stack backtrace:
page last allocated
NMI backtrace for cpu 1
Rebooting in 1 seconds
---[ end Kernel panic
panicked at a.rs:1
 _RNvB_1a+0x1/0x2
 should_fail+0x1/0x2
which became HARDIRQ-irq-unsafe at:
Comm: syz.1.2 .
serialport: VM disconnected.
""".splitlines()
STAMPS = ["", "[    1.234567] ", "[    1.234567][   T12] ", "[    1.234568][    C0] ", "<6>[    2.000000] ", "\r", "\x1b[1m"]

PREFIXES = st.sampled_from(STAMPS)
TEXTS = st.one_of(
    st.sampled_from(LINES), st.sampled_from(MARKERS), st.sampled_from(WORDS), st.text(max_size=60),
    *(st.from_regex(kind.pattern) for kind in KINDS[::4]),
)  # fmt: skip
LOGS = st.lists(st.tuples(PREFIXES, TEXTS).map("".join), max_size=60).map("\n".join)
RUNS = settings(max_examples=1000, deadline=5000, suppress_health_check=list(HealthCheck))


@RUNS
@given(LOGS)
def test_regions(console: str) -> None:
    """From its start a crash is found again at its start, and in its region alone."""
    found = crash.parse_all(console)
    assert crash.parse(console) == (found[0] if found else None)
    for one in found[:1]:
        assert 0 <= one.start < one.end <= len(console)
        again, alone = crash.parse(console[one.start :]), crash.parse(console[one.start : one.end])
        assert again is not None and (again.title, again.start) == (one.title, 0)
        assert alone is not None and (alone.title, alone.start) == (one.title, 0)
        assert all(" " <= char <= "~" for char in one.title)


@RUNS
@given(st.binary(max_size=3000))
def test_bytes(content: bytes) -> None:
    """Whatever comes down a serial line."""
    for console in (content.decode(errors="replace"), "BUG: KASAN: " + content.decode(errors="surrogateescape")):
        for one in crash.parse_all(console):
            assert 0.0 <= crash.same_bug(one, one) <= 1.0
            crash.guilty_file(one.report)


@pytest.mark.parametrize("path", CONSOLES, ids=lambda path: path.stem)
@settings(max_examples=60, deadline=5000, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_consoles(path: Path, data: st.DataObject) -> None:
    """A console of the lab that was cut, doubled or mixed up."""
    console = path.read_bytes().decode(errors="replace")
    start, end = sorted((data.draw(st.integers(0, len(console))), data.draw(st.integers(0, len(console)))))
    for damaged in (console[:start] + console[end:], console[start:end], console[start:] + console[:end]):
        found = crash.parse(damaged)
        if found is not None:
            again = crash.parse(damaged[found.start :])
            assert again is not None and (again.title, again.start) == (found.title, 0)
