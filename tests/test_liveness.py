"""Liveness: a clean run counts only if the reproducer got to the code that crashes."""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from kbench import liveness
from kbench.crash import CrashReport
from kbench.liveness import (
    Liveness,
    Reference,
    breakpoints,
    calls_failing,
    functions_gone,
    options_off,
    probe,
    read_calls,
)
from kbench.records import BuildSpec, KernelImage, MachineSpec, Target
from kbench.symbols import Function, SymbolTable
from tests.conftest import base_kernel

REPRODUCER = """
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
    unsigned long context = 0;
    int ends[2];
    syscall(SYS_io_setup, 4, &context);
    syscall(SYS_mq_open, "queue", 0102, 0600, 0);
    pipe(ends);
    return write(ends[1], "x", 1) != 1;
}
"""


def crashed_in(*functions: str, title: str = "WARNING in {}") -> CrashReport:
    """A report with a stack, innermost first."""
    frames = "".join(f" {name}+0x1/0x2\n" for name in functions)
    return CrashReport(title.format(functions[0]), frame=functions[0], report=f"WARNING: x\nCall Trace:\n{frames}")


def table(*names: str) -> SymbolTable:
    """A kernel with these functions, one after the other."""
    functions = {name: (Function(name, 16 * i, 16, 16),) for i, name in enumerate(names)}
    return SymbolTable("EM_X86_64", functions, functions)


@pytest.mark.parametrize(
    ("title", "before", "now", "needs", "off"),
    [
        ("KASAN: use-after-free Read in f", "KASAN", "", (), ("KASAN",)),
        ("KASAN: use-after-free Read in f", "KASAN", "KASAN", (), ()),
        ("KASAN: use-after-free Read in f", "", "", (), ()),  # the title lies, or the config does: no sign
        ("BUG: soft lockup in f", "SOFTLOCKUP_DETECTOR", "LOCKUP_DETECTOR", (), ()),  # renamed in v4.13
        ("possible deadlock in f", "PROVE_LOCKING AIO", "AIO", (), ("PROVE_LOCKING",)),
        ("WARNING in f", "BUG AIO", "BUG", ("AIO", "EPOLL"), ("AIO",)),  # EPOLL was never on: it crashes without
        ("WARNING in f", "BUG AIO", "AIO", ("AIO",), ("BUG",)),
        ("nothing anybody knows", "AIO", "", (), ()),
    ],
)
def test_options_that_are_off(title: str, before: str, now: str, needs: tuple[str, ...], off: tuple[str, ...]) -> None:
    configs = ["\n".join(f"CONFIG_{name}=y" for name in names.split()) + "\n# CONFIG_ZZ is not set\n" for names in (now, before)]
    assert options_off(*configs, title=title, needs=needs) == off


def test_what_a_reproducer_says_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "repro.c"
    kernel = KernelImage(path, None, "0" * 64, Target("t", BuildSpec((), "k"), MachineSpec(("{image}",))))
    path.write_text(
        "// needs: CONFIG_AIO CONFIG_EPOLL\nint main(void) {}\n/* needs: CONFIG_NET, CONFIG_UNIX */\n//needs CONFIG_NO\n"
    )
    assert Reference(kernel, crashed_in("f"), path).needs == ("AIO", "EPOLL", "NET", "UNIX")
    path.write_bytes(b"\xff# needs:" + b" CONFIG_A" * 100_000)
    assert Reference(kernel, crashed_in("f"), path).needs == ()
    assert Reference(kernel, crashed_in("f"), tmp_path / "nosuch").needs == ()
    assert Reference(kernel, crashed_in("f"), None).needs == ()


def test_functions_that_are_gone() -> None:
    """All of the innermost have to be; one alone may have come with the regression."""
    assert functions_gone({"vfs_write"}, ["io_submit_one", "aio_write", "lookup_ioctx", "vfs_write"]).reached is False
    assert functions_gone({"pipe_write"}, ["pipe_check", "pipe_write"]).reached is None
    assert functions_gone({"pipe_write"}, ["pipe_check"]) == Liveness(None, "this kernel has no pipe_check")
    assert functions_gone({"pipe_check"}, ["pipe_check"]) == Liveness(None, "")


ENOSYS, EINVAL, EAGAIN = errno.ENOSYS, errno.EINVAL, errno.EAGAIN


@pytest.mark.parametrize(
    ("now", "before", "reached"),
    [
        ({(206, ENOSYS): 1}, {(206, 0): 1}, False),
        ({(206, ENOSYS): 1, (206, 0): 1}, {(206, 0): 2}, None),  # it works, if not always
        ({(206, EAGAIN): 9}, {(206, 0): 9}, None),  # by chance
        ({(206, EINVAL): 9}, {(206, 0): 1, (206, EINVAL): 8}, None),  # as it did there
        ({(206, ENOSYS): 1}, {(206, ENOSYS): 1}, None),
        ({(431, EINVAL): 1, (3, 0): 1}, {(431, 0): 1, (3, 0): 1}, None),  # the check that the regression took out
        ({(430, EINVAL): 1, (3, 0): 1}, {(430, 0): 1, (431, 0): 1, (3, 0): 1}, False),  # it gave up there
        ({}, {(206, 0): 1}, None),
        ({(435, ENOSYS): 1}, {(435, 0): 1}, None),  # clone3: the C library takes clone
        ({(334, ENOSYS): 1}, {(334, 0): 1}, None),  # rseq, on this architecture
        ({(206, 4095): 1, (1, -1): 3}, {(206, 0): 1}, None),  # no errno anybody knows
    ],
)
def test_calls_that_fail(now: Counter[tuple[int, int]], before: Counter[tuple[int, int]], reached: bool | None) -> None:
    assert calls_failing(now, before, "EM_X86_64").reached is reached


def test_consoles_are_read_to_the_last_word() -> None:
    """Calls are told of when they are seen first and at the end; a crash leaves the first."""
    console = "[    1.0] kbench: syscall 206 0 1\r\n[    1.1] kbench: syscall 1 0 1\nx\n[    1.2] kbench: syscall 1 0 7\n"
    assert read_calls(console) == {(206, 0): 1, (1, 0): 7}
    assert read_calls("kbench: syscall 1\nkbench: syscall -1 0 1\nkbench: syscall 1 0 1x\n") is None
    assert read_calls("kbench: syscall " + "1" * 10**6) is None


def test_what_is_watched() -> None:
    """Functions that are there and have their name for themselves, innermost and further out; no entry points of calls."""
    kernel = table("pipe_write", "__x64_sys_write", "a", "b", "c", "d", "e")

    def watched(*stack: str, table: SymbolTable = kernel) -> list[list[str]]:
        return [list(found.values()) for found in breakpoints(table, stack, 3, 9)]

    assert watched("gone", "pipe_write", "__x64_sys_write") == [["pipe_write"], []]
    assert watched("a", "b", "c", "d", "e") == [["a", "b", "c"], ["d", "e"]]
    assert watched("gone", "gone too", "gone as well", "d") == [[], ["d"]]
    assert watched("__x64_sys_write") == [[], []]
    assert watched("__do_sys_mmap", "__do_fault", table=table("__do_fault", "__do_sys_mmap")) == [["__do_fault"], []]
    twice = SymbolTable("EM_X86_64", {}, {"a": (Function("a", 1, 1, 1), Function("a", 2, 1, 1))})
    assert watched("a", table=twice) == [[], []]
    parts = SymbolTable("EM_X86_64", {}, {"a": (Function("a", 1, 1, 1), Function("a.part.0", 2, 1, 1))})
    assert watched("a", table=parts) == [["a", "a"], []]
    assert [len(found) for found in breakpoints(kernel, ["a", "b", "c", "d", "e"], 2, 1)] == [2, 1]


def test_nothing_known_is_said_in_words(tmp_path: Path) -> None:
    """A target that tells nothing: no config, no symbols, no guest."""
    image = tmp_path / "kernel"
    image.write_text("no ELF file")
    kernel = KernelImage(image, None, "0" * 64, Target("t", BuildSpec((), "k"), MachineSpec(("{image}",))))
    seen = probe(kernel, Reference(kernel, crashed_in("f"), None))
    assert seen.reached is None
    assert seen.why.startswith("not known: no config is known; this target takes no breakpoints; no symbol table is known; ")


@pytest.fixture(scope="session")
def reproducer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reproducer") / "repro.c"
    path.write_text(REPRODUCER)
    return path


def look_at_pipes(kernel: KernelImage, reproducer: Path) -> None:
    """What is asked of each target: entered, not entered, and a function that only the original has."""
    assert probe(kernel, Reference(kernel, crashed_in("pipe_write"), reproducer)) == Liveness(True, "pipe_write was entered")
    assert probe(kernel, Reference(kernel, crashed_in("do_signalfd4"), reproducer)) == Liveness(
        False, "do_signalfd4 was not entered"
    )
    regression = Reference(kernel, crashed_in("pipe_write"), reproducer)
    regression.functions = ("pipe_write_helper_of_the_culprit", "pipe_write")
    assert probe(kernel, regression).reached is True
    # Turned away before the innermost three: nothing but the reproducer comes by aio's mmap, every program by do_exit.
    for outer, reached in (("aio_ring_mmap", True), ("do_exit", False)):
        turned_away = Reference(kernel, crashed_in("do_signalfd4"), reproducer)
        turned_away.functions = ("do_signalfd4", "signalfd_read_iter", "signalfd_poll", outer)
        assert probe(kernel, turned_away).reached is reached


@pytest.mark.linux
def test_reached_on_user_mode_linux(reproducer: Path) -> None:
    look_at_pipes(base_kernel("um"), reproducer)


@pytest.mark.linux
@pytest.mark.qemu
def test_reached_on_qemu(reproducer: Path) -> None:
    look_at_pipes(base_kernel("qemu-x86_64"), reproducer)


@pytest.mark.linux
@pytest.mark.qemu
@pytest.mark.aarch64
def test_reached_on_another_architecture(reproducer: Path) -> None:
    look_at_pipes(base_kernel("qemu-aarch64"), reproducer)


@pytest.mark.linux
def test_an_option_that_is_off_is_no_good_kernel(reproducer: Path, tmp_path: Path) -> None:
    """By what the reproducer says it needs, by the functions that are gone, and by the call that fails."""
    original, kernel = base_kernel("um"), base_kernel("um", "CONFIG_POSIX_MQUEUE=n\n")  # few files look at it
    declared = tmp_path / "declared.c"
    declared.write_text("// needs: CONFIG_POSIX_MQUEUE\n" + REPRODUCER)
    report = crashed_in("mqueue_poll_file", "mqueue_flush_file")
    assert probe(kernel, Reference(original, report, declared)) == Liveness(False, "needs CONFIG_POSIX_MQUEUE, off here")
    silent = Reference(original, report, reproducer)
    assert probe(kernel, silent) == Liveness(False, "this kernel has no mqueue_poll_file, mqueue_flush_file")
    assert liveness.calls(kernel, silent) == Liveness(False, "system call 240 fails with ENOSYS, on the original commit it works")
    assert liveness.calls(original, silent).reached is None
    lost = replace(kernel, path=tmp_path / "nosuch", symbols=kernel.symbols)
    assert liveness.calls(lost, silent).reached is None
