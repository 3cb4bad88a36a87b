"""Symbols and debug information: functions found as a kernel prints them, reports with file and line."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from kbench import crash
from kbench.crash.symbolise import Location, Place, places, rendered
from kbench.errors import InputError
from kbench.records import BuildSpec, KernelImage, MachineSpec, Target
from kbench.symbols import locate, symbol_table, symbolised

TARGET = Target("test", BuildSpec((), "kernel"), MachineSpec(("{image}",)))
SOURCES = {
    "init/main.c": "int frob(int); int twice(int);\nint start_kernel(int a) { return frob(a) + twice(a); }\n"
    "int main(int n, char **v) { return start_kernel(n); }\n",
    "fs/frob.c": """#include "../include/linux/inlined.h"
static __attribute__((noinline)) int helper(int a) { volatile int b = a; return b + 1; }
__attribute__((noinline)) int frob(int a)
{
    a = outer(a);
    return helper(a) * 3;
}
""",
    "fs/pipe.c": """
static __attribute__((noinline)) int helper(int a) { volatile int b = a * 7; volatile int c = b + 3; return b * c + a; }
__attribute__((noinline)) int twice(int a) { return helper(a) * 2; }
""",
    "include/linux/inlined.h": """static inline __attribute__((always_inline)) int inner(int a)
{
    __asm__ volatile("nop; ud2_here: nop" ::: "memory");
    return a + 5;
}
static inline __attribute__((always_inline)) int outer(int a)
{
    return inner(a) + 1;
}
""",
}


def build(folder: Path, compiler: str = "gcc", *flags: str) -> KernelImage:
    """A program with a kernel's folders, compiled with absolute paths as `make O=` does."""
    for name, text in SOURCES.items():
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tree" / name).write_text(text)
    files = [str(folder / "tree" / name) for name in SOURCES if name.endswith(".c")]
    image = folder / "vmlinux"
    subprocess.run([compiler, *(flags or ("-g",)), "-O2", "-static", "-o", str(image), *files], check=True, cwd=folder)
    return KernelImage(image, image, "0" * 64, TARGET)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> KernelImage:
    return build(tmp_path_factory.mktemp("symbols"))


def at_nop(kernel: KernelImage) -> tuple[str, int, int]:
    """Function, offset and size of the instruction in the innermost inlined function."""
    assert kernel.symbols
    table = symbol_table(kernel.symbols)
    (frob,) = table.functions["frob"]
    names = subprocess.run(["nm", str(kernel.symbols)], capture_output=True, text=True, check=True).stdout.splitlines()
    address = next(int(line.split()[0], 16) for line in names if line.endswith(" ud2_here"))
    return "frob", address - frob.address, frob.size


@pytest.mark.parametrize("compiler", ["gcc", pytest.param("aarch64-linux-gnu-gcc", marks=pytest.mark.linux)])
def test_inlined_functions_come_first_and_paths_are_the_trees(compiler: str, tmp_path: Path) -> None:
    """Also for an image of another architecture."""
    kernel = build(tmp_path, compiler)
    function, offset, size = at_nop(kernel)
    ((inner, outer, frob),) = locate(kernel, [Place(function, offset, size, returns=False)])
    assert inner == Location("inner", "include/linux/inlined.h", 3)
    assert outer == Location("outer", "include/linux/inlined.h", 8)
    assert frob == Location("frob", "fs/frob.c", 5)


def test_return_addresses_belong_to_the_call_before_them(kernel: KernelImage) -> None:
    function, offset, size = at_nop(kernel)
    assert symbol_table(kernel.symbols or kernel.path).functions["start_kernel"]
    exact, after = locate(kernel, [Place(function, offset, size, returns=returns) for returns in (False, True)])
    past, before = locate(kernel, [Place(function, end, size, returns=end == size) for end in (size + 0x100, size)])
    assert exact[0] == after[0] == Location("inner", "include/linux/inlined.h", 3)
    assert past == ()
    assert before[-1].file == "fs/frob.c"  # a call that never returns ends a function; the next one is not meant


def test_namesakes_are_told_apart_by_size(kernel: KernelImage) -> None:
    assert kernel.symbols
    table = symbol_table(kernel.symbols)
    first, second = table.functions["helper"]
    assert first.size != second.size
    assert table.find("helper") is None
    found = locate(kernel, [Place("helper", 1, one.size, returns=True) for one in (first, second)])
    assert {where[-1].file for where in found} == {"fs/frob.c", "fs/pipe.c"}


def test_a_report_is_symbolised_and_keeps_its_title(kernel: KernelImage) -> None:
    function, offset, size = at_nop(kernel)
    frame = f"{function}+{offset:#x}/{size:#x}"
    report = (
        f"general protection fault: 0000 [#1] SMP\nRIP: 0010:{frame}\nCode: 0f 0b\nCall Trace:\n"
        f" [<ffffffff81234567>] ? nosuch+0x1/0x2\n [<0000000060012345>] start_kernel+0x1/0x99999 [module]\n"
        f" {frame}\n"
    )
    text = symbolised(report, kernel)
    assert text.splitlines()[1:4] == [
        "RIP: 0010:inner include/linux/inlined.h:3 [inline]",
        "RIP: 0010:outer include/linux/inlined.h:8 [inline]",
        f"RIP: 0010:{frame} fs/frob.c:5",
    ]
    assert text.splitlines()[4:8] == report.splitlines()[2:6]
    assert text.splitlines()[-1] == f" {frame} fs/frob.c:5"
    assert crash.guilty_file(text) == "fs/frob.c"
    assert symbolised(text, kernel) == text
    parsed, plain = crash.parse(text), crash.parse(report)
    assert parsed
    assert plain
    assert plain.frame == "frob"
    assert parsed.title == plain.title  # what is inlined does not change it


def test_where_user_mode_linux_faulted_is_named(kernel: KernelImage) -> None:
    """Its panic tells an address alone."""
    assert kernel.symbols
    function, offset, size = at_nop(kernel)
    (frob,) = symbol_table(kernel.symbols).functions[function]
    line = f"Kernel panic - not syncing: Kernel mode fault at addr 0x10, ip {frob.address + offset:#x}"
    *inlined, last = symbolised(line, kernel).split("\n")
    assert last == f"{line} frob+{offset:#x}/{frob.extent:#x} fs/frob.c:5"
    assert size <= frob.extent
    assert [text.removeprefix(f"{line} ") for text in inlined] == [
        "inner include/linux/inlined.h:3 [inline]",
        "outer include/linux/inlined.h:8 [inline]",
    ]
    nowhere = "Kernel panic - not syncing: Kernel mode fault at addr 0x10, ip 0x0"
    assert symbolised(nowhere, kernel) == nowhere


def test_form_of_the_eras() -> None:
    """Frames with addresses, guesses and suffixes; a headline takes the place that its own file and line confirm."""
    here = (Location("cow_user_page", "fs/frob.c", 2223), Location("wp_page_copy", "fs/frob.c", 2393))
    before = (Location("kunmap", "include/linux/highmem.h", 102), Location("wp_page_copy", "fs/frob.c", 2393))
    line = "WARNING: CPU: 0 PID: 9026 at fs/frob.c:2223 wp_page_copy+0xd66/0x10d0"
    exact, after = places(line)
    assert (exact.returns, after.returns) == (False, True)
    assert rendered(line, {exact: here, after: before}).splitlines() == [
        "WARNING: CPU: 0 PID: 9026 at fs/frob.c:2223 cow_user_page fs/frob.c:2223 [inline]",
        f"{line} fs/frob.c:2393",
    ]
    assert "highmem" in rendered(line.replace("2223", "7"), {exact: here, after: before})
    for text in (
        " [<60012345>] ? f.isra.0+0x12/0x34",
        "[<ffffffff81234567>] f.cold+0x12/0x34",
        " f.part.3+0x12/0x34",
        "lr : f+0x12/0x34",
    ):
        (place,) = places(text)
        assert (place.offset, place.size, place.returns) == (0x12, 0x34, True)
        assert rendered(text, {place: (Location("f", "fs/a.c", 3),)}) == f"{text} fs/a.c:3"
    assert [place.returns for place in places("pc : f+0x1/0x2\nEIP: f+0x1/0x2\nRIP: 0033:f+0x1/0x2")] == [False] * 3


@pytest.mark.parametrize(
    "line",
    [
        "--exe=/etc/passwd+0x1/0x2", " -e+0x1/0x2", " f g+0x/0x2", " f+0x1/0x2 [nf_tables]", " f+0xfffffffff/0x1", "+0x1/0x2",
        " f\0+0x1/0x2", " " + "f" * 5000 + "+0x1/0x2",
    ],
)  # fmt: skip
def test_lines_that_lie(line: str, kernel: KernelImage) -> None:
    assert symbolised(line, kernel) == line


def test_a_hundred_thousand_frames_end(kernel: KernelImage) -> None:
    function, offset, size = at_nop(kernel)
    frames = [f" f{i}+0x1/0x2" for i in range(100_000)]
    frames[1000] = frames[-1] = f"RIP: 0010:{function}+{offset:#x}/{size:#x}"
    report = "\n".join(frames)
    text = symbolised(report, kernel).splitlines()
    assert text[-1] == frames[-1]  # beyond what is looked at
    assert len(text) == 100_000 + 2


def test_without_debug_information_nothing_changes(tmp_path: Path) -> None:
    kernel = build(tmp_path, "gcc", "-g0")
    function, offset, size = at_nop(kernel)
    report = f"RIP: 0010:{function}+{offset:#x}/{size:#x}\n"
    assert symbolised(report, kernel) == report
    for broken in (b"", b"\x7fELF\x02\x01\x01" + b"\xff" * 200, b"#!/bin/sh\n"):
        (tmp_path / "broken").write_bytes(broken)
        assert symbolised(report, replace(kernel, symbols=tmp_path / "broken")) == report
        with pytest.raises(InputError):
            symbol_table(tmp_path / "broken")
    assert symbolised(report, replace(kernel, symbols=tmp_path / "nosuch")) == report


def test_a_new_file_is_read_anew(tmp_path: Path) -> None:
    kernel = build(tmp_path)
    assert kernel.symbols
    assert symbol_table(kernel.symbols) is symbol_table(kernel.symbols)
    assert "frob" in symbol_table(kernel.symbols).entries
    subprocess.run(["strip", str(kernel.symbols)], check=True)
    with pytest.raises(InputError):
        symbol_table(kernel.symbols)


def test_patterns_are_linear() -> None:
    """What takes quadratic time takes minutes here; a test that ends is the assertion."""
    for text in ("a" * 2000, "a+0x1/" * 333, " " * 2000, "a.b" * 600, "RIP: " * 400, "WARNING: at " + "x" * 1900):
        assert list(places("\n".join([text] * 3000))) is not None
