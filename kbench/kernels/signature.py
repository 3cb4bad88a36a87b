"""What a kernel image says about itself: its signature and its architecture (pure: bytes in, text out)."""

from __future__ import annotations

import hashlib
import io

ELF_MAGIC = b"\x7fELF"


def signature(image: bytes) -> str:
    """Return 64 hex digits over what a machine loads of an image; equal signatures are one kernel.

    Of an ELF file: name, address, size and content of every allocated section that is not a note, so that neither debug
    information nor a build id (both know the folder of the build) matters. A stripped ELF file gives its loaded segments.
    Anything else (a boot sector, a compressed kernel) is hashed whole.

    Parameters
    ----------
    image : bytes
        The file, whole.
    """
    if not image.startswith(ELF_MAGIC):
        return hashlib.sha256(image).hexdigest()
    from elftools.common.exceptions import ELFError

    try:
        return _loaded(image)
    except (ELFError, ValueError, KeyError, OverflowError, UnicodeDecodeError):
        return hashlib.sha256(image).hexdigest()  # a damaged ELF file is just bytes


def _loaded(image: bytes) -> str:
    from elftools.elf.constants import SH_FLAGS
    from elftools.elf.elffile import ELFFile

    elf = ELFFile(io.BytesIO(image))
    digest = hashlib.sha256(f"{elf['e_machine']} {elf['e_entry']:#x}\n".encode())
    parts = 0
    for section in elf.iter_sections():
        if not section["sh_flags"] & SH_FLAGS.SHF_ALLOC or section["sh_type"] == "SHT_NOTE":
            continue
        digest.update(f"{section.name} {section['sh_addr']:#x} {section['sh_size']}\n".encode())
        if section["sh_type"] != "SHT_NOBITS":
            digest.update(section.data())
        parts += 1
    if not parts:
        for segment in elf.iter_segments("PT_LOAD"):
            digest.update(f"{segment['p_vaddr']:#x} {segment['p_memsz']}\n".encode())
            digest.update(segment.data())
    return digest.hexdigest()
