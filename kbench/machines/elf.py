"""What an executable says of itself, as far as a guest has to know. Pure; read `read_program`."""

from __future__ import annotations

import struct
from dataclasses import dataclass

PT_INTERP = 3  # names the dynamic linker: a static program has no such header


@dataclass(frozen=True, slots=True)
class Program:
    """An ELF executable."""

    machine: int  # e_machine: 62 for x86_64, 183 for aarch64
    static: bool  # runs without a dynamic linker


def read_program(content: bytes) -> Program | None:
    """Return what the ELF headers of `content` say, None when it is no ELF file or is cut short."""
    if content[:4] != b"\x7fELF" or len(content) < 64:
        return None
    wide, order = content[4] == 2, "<" if content[5] == 1 else ">"
    machine = struct.unpack_from(f"{order}H", content, 18)[0]
    start = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", content, 32 if wide else 28)[0]
    size, count = struct.unpack_from(f"{order}HH", content, 54 if wide else 42)
    try:
        kinds = [struct.unpack_from(f"{order}I", content, start + i * size)[0] for i in range(count)]
    except struct.error:
        return None
    return Program(machine, PT_INTERP not in kinds)
