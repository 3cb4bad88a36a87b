"""The symbol table and the debug information of a kernel image. Read `symbol_table`, then `locate` and `symbolised`.

Functions are found by the name, the offset and the size a kernel prints for them (`f+0x12/0x34`); file and line come from
binutils' addr2line, one process for a whole report. Which program fits an image of another architecture is data.
"""

from __future__ import annotations

import contextlib
import functools
import os
import posixpath
import re
import struct
import subprocess
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kbench.crash.frames import base_name
from kbench.crash.symbolise import Location, Place, named, places, rendered
from kbench.errors import InputError, MachineLacksError
from kbench.host import require
from kbench.records import KernelImage

#: addr2line by the machine of the ELF header, tried after the host's own.
ADDR2LINE: Mapping[str, str] = {
    "EM_AARCH64": "aarch64-linux-gnu-addr2line",
    "EM_ARM": "arm-linux-gnueabi-addr2line",
    "EM_X86_64": "x86_64-linux-gnu-addr2line",
    "EM_386": "i686-linux-gnu-addr2line",
    "EM_RISCV": "riscv64-linux-gnu-addr2line",
}
TIMEOUT_S = 120.0  # for one report; the tables of a distribution's kernel take seconds to read
MAX_PLACES = 2000  # of one report that are looked up
MAX_INLINED = 64  # frames of one address; deeper nesting is no compiler's work

_ANCHOR = ("start_kernel", "init/main.c")  # where the prefix of all paths is read off
_FUNCTION_TYPES = (0, 2)  # STT_NOTYPE (assembler), STT_FUNC
_WEAK = 2  # STB_WEAK
_PLAIN = re.compile(r"[A-Za-z_][\w.$]*")
_TOP = re.compile(
    r"/((?:arch|block|certs|crypto|drivers|fs|include|init|io_uring|ipc|kernel|lib|mm|net|rust|samples|security|sound|virt)/.*)"
)


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a kernel, as its ELF symbol table has it."""

    name: str  # with what the compiler added: `.cold`, `.isra.0`, …
    address: int
    size: int  # bytes of the function itself
    extent: int  # bytes to the next symbol, padding included: the size the kernel prints
    weak: bool = False  # stands in for one that was not compiled: a system call this kernel does not have


@dataclass(frozen=True, slots=True)
class SymbolTable:
    """The functions of one image."""

    machine: str  # of the ELF header, "EM_X86_64"
    functions: Mapping[str, tuple[Function, ...]]  # by name; several when static functions share it
    entries: Mapping[str, tuple[Function, ...]]  # of those that are really there, by their names in the source

    def find(self, name: str, size: int | None = None) -> Function | None:
        """The function of this name, and of this printed size when several share it; None: none, or which is not clear."""
        fitting = [one for one in self.functions.get(name, ()) if size is None or one.size <= size <= one.extent]
        return fitting[0] if len({one.address for one in fitting}) == 1 else None

    def name(self, address: int) -> str:
        """The place of an address as a kernel prints it, `f+0x12/0x34`; "" when it is in no function."""
        around = [one for some in self.entries.values() for one in some if one.address <= address < one.address + one.size]
        if not around:
            return ""
        outermost = min(around, key=lambda one: one.address)  # labels inside of a function are symbols too
        return f"{outermost.name}+{address - outermost.address:#x}/{outermost.extent:#x}"


def symbol_table(elf: Path) -> SymbolTable:
    """Read the symbol table of an ELF file; read once as long as the file stays the same.

    Raises
    ------
    InputError
        No such file, no ELF file, or one without symbols.
    """
    try:
        seen = elf.stat()
        return _read(elf.resolve(), seen.st_mtime_ns, seen.st_size)
    except OSError as err:
        raise InputError(f"symbols: expected an ELF file at {elf}, {err.strerror}; build the kernel again") from err


@functools.lru_cache(maxsize=16)
def _read(path: Path, mtime_ns: int, size: int) -> SymbolTable:
    del mtime_ns, size  # make the key of the cache
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            table = elf.get_section_by_name(".symtab")
            if table is None:
                raise InputError(f"symbols: expected a symbol table in {path}, found none; build without stripping")
            names = elf.get_section(table["sh_link"]).data()
            code = {i for i, section in enumerate(elf.iter_sections()) if section["sh_flags"] & 4}  # SHF_EXECINSTR
            entries = list(_entries(table.data(), elf.elfclass, elf.little_endian))
            machine = str(elf["e_machine"])
    except (ELFError, struct.error, UnicodeDecodeError, ValueError, KeyError) as err:
        raise InputError(f"symbols: expected an ELF file at {path}, {str(err)[:200]!r}; build the kernel again") from err
    return _table(
        machine, [(entry, _name(names, entry[0])) for entry in entries if entry[1] & 15 in _FUNCTION_TYPES and entry[2] in code]
    )


def _entries(data: bytes, elfclass: int, little: bool) -> Iterable[tuple[int, int, int, int, int]]:
    # Offset of the name, type and binding, section, value, size. pyelftools would take seconds for all of them.
    order = "<" if little else ">"
    if elfclass == 64:
        for name, info, _, section, value, size in struct.iter_unpack(order + "IBBHQQ", data):
            yield name, info, section, value, size
    else:
        for name, value, size, info, _, section in struct.iter_unpack(order + "IIIBBH", data):
            yield name, info, section, value, size


def _name(names: bytes, offset: int) -> str:
    return names[offset : names.find(b"\0", offset)].decode("ascii", "replace")


def _table(machine: str, entries: list[tuple[tuple[int, int, int, int, int], str]]) -> SymbolTable:
    plain = [(entry, name) for entry, name in entries if _PLAIN.fullmatch(name)]
    addresses = sorted({entry[3] for entry, _ in plain})
    found: dict[str, list[Function]] = {}
    for (_, info, _, address, size), name in plain:
        after = bisect_right(addresses, address)
        extent = addresses[after] - address if after < len(addresses) else size
        found.setdefault(name, []).append(Function(name, address, size or extent, max(size, extent), info >> 4 == _WEAK))
    there: dict[str, list[Function]] = {}
    for name, functions in found.items():
        there.setdefault(base_name(name), []).extend(one for one in functions if not one.weak and ".cold" not in name)
    whole = {name: tuple(functions) for name, functions in found.items()}
    return SymbolTable(machine, whole, {name: tuple(functions) for name, functions in there.items() if functions})


def locate(kernel: KernelImage, asked: Sequence[Place]) -> list[tuple[Location, ...]]:
    """Return where each place is in the source, innermost inlined function first; () where that is not known.

    Paths are relative to the source tree. Without an image with debug information, or a program that reads it, all are ().
    """
    elf = kernel.symbols or kernel.path
    try:
        table = symbol_table(elf)
    except InputError:
        return [()] * len(asked)
    addresses = [_address(table, place) for place in asked[:MAX_PLACES]]
    anchor = next(iter(table.functions.get(_ANCHOR[0], ())), None)
    wanted = sorted({address for address in addresses if address is not None} | ({anchor.address} if anchor else set()))
    seen = _addr2line(elf, table.machine, wanted) if wanted else {}
    tops = _prefix(seen.get(anchor.address, ())) if anchor else ""
    files = frozenset(kernel.files or ())
    found: list[tuple[Location, ...]] = []
    for address in addresses:
        raw = seen.get(address, ()) if address is not None else ()
        found.append(tuple(Location(one.function, _relative(one.file, tops, files), one.line) for one in raw))
    return found + [()] * (len(asked) - len(found))


def symbolised(report: str, kernel: KernelImage) -> str:
    """A crash report with file and line after each function, and the functions inlined there on lines of their own before it.

    ` f+0x12/0x34` becomes ` inlined mm/a.c:12 [inline]` and ` f+0x12/0x34 mm/a.c:34`. What cannot be told stays as it is.
    """
    with contextlib.suppress(InputError):  # no symbols, no names
        report = named(report, symbol_table(kernel.symbols or kernel.path).name)
    asked = list(dict.fromkeys(places(report)))
    found = dict(zip(asked, locate(kernel, asked), strict=True)) if asked else {}
    return rendered(report, {place: where for place, where in found.items() if where})


def _address(table: SymbolTable, place: Place) -> int | None:
    function = table.find(place.function, place.size)
    if function is None or place.offset > function.extent:
        return None
    return function.address + place.offset - (1 if place.returns and place.offset else 0)


def _addr2line(elf: Path, machine: str, addresses: Sequence[int]) -> dict[int, tuple[Location, ...]]:
    # One process for all; the host's own program knows many formats, but not on every host.
    for program in ("addr2line", ADDR2LINE.get(machine, "")):
        try:
            argv = [require(program, "symbols"), "-afi", "-e", str(elf.resolve())] if program else []
        except MachineLacksError:
            continue
        asked = "".join(f"{address:#x}\n" for address in addresses)
        if argv and (answer := _ask(argv, asked)):
            return _parse(answer)
    return {}


def _ask(argv: Sequence[str], asked: str) -> str:
    try:
        done = subprocess.run(
            argv, input=asked.encode(), capture_output=True, timeout=TIMEOUT_S, check=False, env={**os.environ, "LC_ALL": "C"}
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def _parse(answer: str) -> dict[int, tuple[Location, ...]]:
    # `0xADDRESS`, then pairs of lines `function` and `file:line`, innermost first.
    found: dict[int, tuple[Location, ...]] = {}
    lines = iter(answer.splitlines())
    address = -1
    where: list[Location] = []
    for line in lines:
        if re.fullmatch(r"0x[0-9a-f]{1,16}", line):
            address, where = int(line, 16), []
            continue
        file, _, number = next(lines, "").partition(" (discriminator")[0].rpartition(":")
        if line != "??" and file not in ("", "??") and number.isdecimal() and len(where) < MAX_INLINED:
            where.append(Location(line, posixpath.normpath(file), int(number)))
            found[address] = tuple(where)
    return found


def _prefix(where: Sequence[Location]) -> str:
    file = where[-1].file if where else ""
    return file.removesuffix(_ANCHOR[1]) if file.endswith("/" + _ANCHOR[1]) else ""


def _relative(file: str, prefix: str, files: frozenset[str]) -> str:
    # Relative to the source tree, whatever the compiler was told; a file that was generated lies in the build folder.
    if prefix and file.startswith(prefix):
        return file[len(prefix) :]
    if not file.startswith(("/", "../")):
        return file
    parts = file.strip("/").split("/")
    known = next((tail for i in range(len(parts)) if (tail := "/".join(parts[i:])) in files), None)
    top = _TOP.search(file)
    return known or (top[1] if top else parts[-1])
