"""How fast crashes are parsed and symbolised: prints what was measured.

`python -m tests.bench_crash [IMAGE]`; an image with debug information compares addr2line and pyelftools.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from kbench import crash
from kbench.symbols import symbol_table

CORPUS = Path(__file__).parents[2] / "shared" / "corpus" / "linux_reports_dev.jsonl.gz"
CLEAN = "[   12.345678][  T123] usb 1-1: new high-speed USB device number 2 using dummy_hcd\n[   12.500000] random: init done\n"
WARNING = ("[    1.000000] WARNING: CPU: 0 PID: 7 at fs/a.c:5 f+0x1/0x2\n[    1.000000] Call Trace:\n"
           "[    1.000000]  f+0x1/0x2\n[    1.000000]  vfs_write+0x5/0x6\n")  # fmt: skip
WORST = {
    "a log without a crash": CLEAN,
    "one endless line": "a harmless word, then BUG and INFO: lockdep is turned off. ",
    "one endless line of crashes": "BUG: ",
    "crashes in a row": WARNING,
    "crashes of many tasks": "",
    "harmless lines": "INFO: lockdep is turned off.\n",
    "boots": "[    1.000000] Booting the kernel.\n",
}


def seconds(work: Callable[[], object]) -> float:
    """Processor time."""
    started = time.process_time()
    work()
    return time.process_time() - started


def grown(name: str, size: int) -> str:
    """A log of this many bytes."""
    if name == "crashes of many tasks":
        return "".join(WARNING.replace("] ", f"][{f'T{i}':>6}] ") for i in range(size // 200))
    return WORST[name] * (size // len(WORST[name]))


def worst_cases() -> Iterator[str]:
    """Time by size: what is linear takes ten times as long for ten times as much."""
    for name in WORST:
        logs = grown(name, 200_000), grown(name, 2_000_000)
        small, large = (seconds(partial(crash.parse_all, log)) for log in logs)
        yield f"{name}: 2 MB in {large:.2f} s, {large / max(small, 1e-4):.1f} times what 0.2 MB takes"


def corpus() -> Iterator[str]:
    """The conformance data and clean text, in MB/s."""
    clean = CLEAN * (100_000_000 // len(CLEAN))
    yield f"100 MB without a crash: {100 / seconds(lambda: crash.parse(clean)):.0f} MB/s"
    if CORPUS.exists():
        with gzip.open(CORPUS, "rt") as lines:
            logs = [case["log"] for case in map(json.loads, lines) if case["log"] is not None]
        took = min(seconds(lambda: [crash.parse(log) for log in logs]) for _ in range(5))
        yield f"conformance data: {sum(map(len, logs)) / 1e6 / took:.1f} MB/s"


def symbolising(image: Path) -> Iterator[str]:
    """One addr2line for a whole report against pyelftools, on the same addresses."""
    import subprocess

    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    entries = [one for some in symbol_table(image).entries.values() for one in some if one.size > 16][::500][:40]
    asked = [one.address + one.size // 2 for one in entries]
    text = "".join(f"{address:#x}\n" for address in asked)
    started = time.perf_counter()
    subprocess.run(["addr2line", "-afi", "-e", str(image)], input=text, text=True, capture_output=True, check=True)
    binutils = time.perf_counter() - started
    started = time.perf_counter()
    with image.open("rb") as file:
        try:
            dwarf = ELFFile(file).get_dwarf_info()
        except ELFError as err:
            yield f"{len(asked)} places: addr2line {binutils:.2f} s; pyelftools cannot read them: {err}"
            return
        ranges = dwarf.get_aranges()
        for address in asked:
            offset = ranges.cu_offset_at_addr(address) if ranges else None
            program = dwarf.line_program_for_CU(dwarf.get_CU_at(offset)) if offset is not None else None
            if program:
                states = (entry.state for entry in program.get_entries() if entry.state)
                max((state.address for state in states if state.address <= address), default=0)
    python = time.perf_counter() - started
    ratio = f"{python / binutils:.1f} times as long"
    yield f"{len(asked)} places: addr2line {binutils:.2f} s, pyelftools (lines only) {python:.2f} s: {ratio}"


if __name__ == "__main__":
    for line in (*corpus(), *worst_cases(), *(symbolising(Path(sys.argv[1])) if re.search(r"\w", "".join(sys.argv[1:])) else ())):
        print(line, flush=True)
