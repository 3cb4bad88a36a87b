"""Did the clean runs of a kernel enter the code that crashes? Read `Liveness`, then `probe`.

Half of all wrong answers of bisections call a revision good where the reproducer no longer got to the bug. Each source is a
function of its own that answers yes, no or not known; they are asked in this order, and the first yes or no counts:

1. `options`: an option the crash is seen by, or the reproducer says it needs, is off here: no. It outweighs code that was
   entered: without its detector a crash is not seen, wherever the reproducer goes.
2. `entered`: breakpoints on the functions of the crash's stack, in one extra run: one was entered: yes; none was: no.
   The innermost three count whoever entered them; those further out only if nothing before the reproducer did. So where a
   check turns the reproducer away one call earlier, as before the regression, it got there: that kernel is good.
3. `functions`: the innermost functions of the stack are not compiled in here, two or more, all of them: no. One alone is no
   sign: a regression brings functions along, and the kernels before it are truly good.
4. `calls`: in one extra run the guest tells what system calls come to. A call that works on the original kernel always
   fails here, as calls fail that a kernel does not have: no. As checks fail (EINVAL and the like): no, when another call that
   worked fails or is missing as well; alone it may be the very check whose lack is the bug, and that kernel is good.
"""

from __future__ import annotations

import errno
import re
import tempfile
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from kbench import crash
from kbench.crash import CrashReport
from kbench.crash.detectors import DETECTORS
from kbench.crash.frames import base_name, pointer_of, trace
from kbench.crash.functions import DISPATCHERS, GENERIC
from kbench.crash.symbolise import places
from kbench.errors import InputError, LostMachineError
from kbench.hold import current
from kbench.machines import accelerator, initramfs, run
from kbench.machines.entered import Breakpoints, can_watch, watch_functions
from kbench.records import KernelImage, Outcome, Run
from kbench.runs import each_run
from kbench.symbols import SymbolTable, symbol_table

MAX_INNERMOST = 3  # functions of the stack; those further out serve other callers too
MAX_OUTER = 9
MAX_HARDWARE = 2, 1  # the same where the processor itself has four breakpoints in all: under KVM
MAX_CONSOLE = 4 << 20  # bytes read of a console


@dataclass(frozen=True, slots=True)
class Liveness:
    """Whether clean runs say something about the bug."""

    reached: bool | None  # None: not known
    why: str  # how that was seen, or why it is not known


# How a call fails that this kernel, or this config, does not have. Not among them: what chance brings (EAGAIN, EINTR, …).
LACKING = frozenset(
    {
        *(errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY, errno.ENODEV, errno.ENXIO, errno.ENOENT, errno.ENOTDIR),
        *(errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EPFNOSUPPORT, errno.ENOPROTOOPT),
        *(errno.EPROTOTYPE, 524),  # ENOTSUPP
    }
)
# How one fails that lacks a flag or a right, or that a check turns away: the check may be what the regression took out.
REFUSED = frozenset({errno.EINVAL, errno.EPERM, errno.EACCES, errno.EBADF, errno.ENOTSOCK, errno.ENOEXEC})

# System calls by which a C library finds out what a kernel can do, and goes on without: new ones have one number everywhere,
# the others one by architecture. Source: include/uapi/asm-generic/unistd.h, arch/x86/entry/syscalls/syscall_64.tbl.
LIBRARY_CALLS = frozenset({435, 436, 439})  # clone3, close_range, faccessat2
LIBRARY_CALLS_OF: Mapping[str, frozenset[int]] = {
    # arch_prctl, set_tid_address, set_robust_list, prlimit64, getrandom, statx, rseq
    "EM_X86_64": frozenset({158, 218, 273, 302, 318, 332, 334}),
    "EM_AARCH64": frozenset({96, 99, 261, 278, 291, 293}),
}

_NEEDS = re.compile(r"^\s{0,40}(?://|#|\*|/\*)\s{0,8}needs:((?:\s{1,8}CONFIG_[A-Z0-9_a-z]{1,80},?){1,40})", re.MULTILINE)
_SYSCALL = re.compile(r"kbench: syscall ([0-9]{1,9}) ([0-9]{1,5}) ([0-9]{1,18})\s*$", re.MULTILINE)
_SYSCALL_ENTRY = re.compile(r"__(?:x64|ia32|arm64|riscv|s390x?|se|do)_(?:compat_)?sys_|_*(?:compat_)?(?:sys|SyS|SYSC)_")


class Reference:
    """The crash as the original kernel shows it; made once, for all revisions of a bisection.

    Parameters
    ----------
    kernel : KernelImage
        On which it crashes.
    report : CrashReport
        `kbench.crash.parse` of a console of its.
    reproducer : Path or None
        What was run.
    """

    def __init__(self, kernel: KernelImage, report: CrashReport, reproducer: Path | None) -> None:
        self.kernel, self.report, self.reproducer = kernel, report, reproducer

    @cached_property
    def functions(self) -> tuple[str, ...]:
        """The functions of the stack that this kernel's symbol table has, innermost first, without generic ones."""
        lines = self.report.report.split("\n")
        there = _table(self.kernel)
        frames = [*pointer_of(lines), *trace(lines)] or [place.function for place in places(self.report.report)]
        names = map(base_name, [self.report.frame, *frames])
        telling = (name for name in names if name and not GENERIC.match(name) and not DISPATCHERS.match(name))
        return tuple(name for name in dict.fromkeys(telling) if there is None or name in there.entries)

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The options the reproducer says it needs: `// needs: CONFIG_AIO CONFIG_EPOLL`, or after `#`."""
        if self.reproducer is None:
            return ()
        try:
            text = self.reproducer.read_bytes()[: 1 << 20].decode("utf-8", "replace")
        except OSError:
            return ()
        return tuple(dict.fromkeys(re.findall(r"CONFIG_(\w+)", " ".join(_NEEDS.findall(text)))))

    @cached_property
    def calls(self) -> Counter[tuple[int, int]] | None:
        """What the reproducer's system calls come to on this kernel, by (number, errno); None: the guest does not tell."""
        return traced(self.kernel, self.reproducer)[1]


def probe(kernel: KernelImage, reference: Reference) -> Liveness:
    """Say whether clean runs of `kernel` entered the code that crashes on the original one.

    May start up to two machines. Never raises for what the kernel does; a machine that broke leaves it not known.

    Raises
    ------
    StorageError, MachineLacksError
        As for any run.
    """
    answers = []
    for source in (options, entered, functions, calls):
        answer = source(kernel, reference)
        if answer.reached is not None:
            return answer
        answers.append(answer.why)
    return Liveness(None, "not known: " + "; ".join(filter(None, answers)))


def options(kernel: KernelImage, reference: Reference) -> Liveness:
    """Look for needed options that are on in the original kernel's config and off in this one's."""
    before, now = _config(reference.kernel), _config(kernel)
    if before is None or now is None:
        return Liveness(None, "no config is known")
    off = options_off(now, before, title=reference.report.title, needs=reference.needs)
    return Liveness(False, f"needs {' and '.join(f'CONFIG_{name}' for name in off)}, off here") if off else Liveness(None, "")


def options_off(now: str, before: str, *, title: str, needs: Sequence[str]) -> tuple[str, ...]:
    """Name the options, on in the config `before`, without which the crash cannot be seen, that are off `now` (pure)."""
    on, was_on = options_on(now), options_on(before)
    detectors = next((names for begin, names in DETECTORS if title.startswith(begin)), ())
    had = [name for name in detectors if name in was_on]
    lost = [had[0]] if had and not any(name in on for name in detectors) else []
    return tuple(dict.fromkeys([*lost, *(name for name in needs if name in was_on and name not in on)]))


def options_on(config: str) -> frozenset[str]:
    """The options of a .config that are y or m, without CONFIG_."""
    return frozenset(re.findall(r"^CONFIG_(\w{1,200})=[ym]$", config, re.MULTILINE))


def functions(kernel: KernelImage, reference: Reference) -> Liveness:
    """Look whether the functions of the crash's stack are in this kernel."""
    table = _table(kernel)
    if table is None or _table(reference.kernel) is None:
        return Liveness(None, "no symbol table is known")
    if not reference.functions:
        return Liveness(None, "the crash names no function of its own")
    return functions_gone(table.entries, reference.functions)


def functions_gone(names: Container[str], stack: Sequence[str]) -> Liveness:
    """Judge by the names of a kernel's functions and the original's stack (pure).

    One function alone may have come with the regression, and a compiler may inline one: two or more have to be gone.
    """
    innermost = stack[:MAX_INNERMOST]
    gone = [name for name in innermost if name not in names]
    if len(gone) == len(innermost) and len(gone) > 1:
        return Liveness(False, f"this kernel has no {', '.join(gone)}")
    return Liveness(None, f"this kernel has no {', '.join(gone)}" if gone else "")


def entered(kernel: KernelImage, reference: Reference) -> Liveness:
    """Run the reproducer once more on a machine that can be stopped, with breakpoints on the functions of the crash's stack.

    Entry points of system calls are left out: that a call was made does not mean that it got anywhere.
    """
    table = _table(kernel)
    if table is None or kernel.target.guest is None or not can_watch(kernel, table.machine):
        return Liveness(None, "this target takes no breakpoints")
    begin, end = _entry_point(table, "setsid"), _entry_point(table, "reboot")
    how = accelerator(kernel.target.machine)
    innermost, outer = breakpoints(table, reference.functions, *(MAX_HARDWARE if how == "kvm" else (MAX_INNERMOST, MAX_OUTER)))
    watched = innermost | outer
    if not watched or not begin or not end:
        return Liveness(None, "no function to watch" if begin and end else "no place to watch from")
    debugged = with_words(kernel, "nokaslr")
    handed_in = initramfs(kernel.target, reference.reproducer)
    stops = Breakpoints(begin, tuple(innermost), tuple(outer), end)
    try:
        seen = run(watch_functions(debugged, handed_in, stops, machine=table.machine, accelerator=how), hold=current())
    except LostMachineError as lost:
        return Liveness(None, str(lost))
    if seen.address in watched:
        return Liveness(True, f"{watched[seen.address]} was entered")
    if _shows(crash.parse(seen.text), reference.report):
        return Liveness(True, "crashed in one more run")
    if seen.address not in end:
        return Liveness(None, "the run under a debugger did not come to its end")
    if not innermost:
        return Liveness(None, "what is here of the stack is entered by any program, or was not entered")
    names = list(dict.fromkeys(innermost.values()))
    return Liveness(False, f"{' and '.join(names)} {'were' if len(names) > 1 else 'was'} not entered")


def breakpoints(
    table: SymbolTable, stack: Sequence[str], n_innermost: int, n_outer: int
) -> tuple[dict[int, str], dict[int, str]]:
    """The addresses to watch, with their names: of the innermost functions of a stack, and of those further out (pure).

    Only functions that share their names with no other.
    """
    found: tuple[dict[int, str], dict[int, str]] = {}, {}
    for i, name in enumerate(stack):
        variants = table.entries.get(name, ())
        alone = len({one.name for one in variants}) == len({one.address for one in variants})
        if alone and not _SYSCALL_ENTRY.match(name):
            found[i >= MAX_INNERMOST].update({one.address: name for one in variants})
    return dict(list(found[0].items())[:n_innermost]), dict(list(found[1].items())[:n_outer])


def _entry_point(table: SymbolTable, call: str) -> list[int]:
    """Where a system call enters the kernel: as the releases and the architectures name it."""
    names = (f"{prefix}{call}" for prefix in ("__x64_sys_", "__arm64_sys_", "__riscv_sys_", "sys_", "SyS_"))
    return next(([one.address for one in table.entries[name]] for name in names if name in table.entries), [])


def _shows(report: CrashReport | None, wanted: CrashReport) -> bool:
    titles = {wanted.title, *wanted.alt_titles}
    return report is not None and not titles.isdisjoint({report.title, *report.alt_titles})


def calls(kernel: KernelImage, reference: Reference) -> Liveness:
    """Run the reproducer once more, its system calls counted, and compare with the original kernel."""
    if reference.reproducer is None or kernel.target.guest is None:
        return Liveness(None, "the guest does not tell of system calls")
    if reference.calls is None:
        return Liveness(None, "system calls on the original kernel are not known")
    once, seen = traced(kernel, reference.reproducer)
    if once.outcome is Outcome.CRASHED and once.title in (reference.report.title, *reference.report.alt_titles):
        return Liveness(True, "crashed in one more run")
    if seen is None:
        return Liveness(None, f"system calls are not known: {once}")
    table = _table(kernel)
    return calls_failing(seen, reference.calls, table.machine if table else "")


def calls_failing(now: Mapping[tuple[int, int], int], before: Mapping[tuple[int, int], int], machine: str = "") -> Liveness:
    """Judge by what the calls came to here and on the original kernel, by (number, errno) (pure).

    A call that had worked and now always fails counts, unless it fails by chance, the C library gets by without it, or it is
    refused and all others go as before.
    """
    tried = LIBRARY_CALLS | LIBRARY_CALLS_OF.get(machine, frozenset())
    worked = {number for (number, error), n in before.items() if error == 0 and n} - tried
    lost = worked - {number for (number, error), n in now.items() if error == 0 and n}
    telling = LACKING | REFUSED if len(lost) > 1 else LACKING
    for (number, error), n in sorted(now.items()):
        if n and error in telling and number in lost and not before.get((number, error)):
            how = errno.errorcode.get(error, error)
            return Liveness(False, f"system call {number} fails with {how}, on the original commit it works")
    return Liveness(None, "its system calls end as on the original commit")


def traced(kernel: KernelImage, reproducer: Path | None) -> tuple[Run, Counter[tuple[int, int]] | None]:
    """Run the reproducer once with its system calls counted by the guest."""
    with tempfile.TemporaryDirectory(prefix="kbench-liveness-") as folder:
        console = Path(folder) / "console.txt"
        runs = each_run(with_words(kernel, "kbench.trace"), [0], reproducer=reproducer, console=lambda _: console, jobs=1)
        ((_, once),) = runs
        text = console.read_bytes()[:MAX_CONSOLE].decode("utf-8", "replace") if console.is_file() else ""
    return replace(once, console=None), read_calls(text)


def read_calls(console: str) -> Counter[tuple[int, int]] | None:
    """The system calls a guest counted, by (number, errno); None when it tells of none (pure).

    It tells of each twice, when it is seen first and at the end, so that something is known of a run that crashes.
    """
    counted: Counter[tuple[int, int]] = Counter()
    for number, error, n in _SYSCALL.findall(console.replace("\r", "")):
        counted[int(number), int(error)] = int(n)
    return counted or None


def with_words(kernel: KernelImage, *words: str) -> KernelImage:
    """The kernel with more words on its command line; booted for this one run, not taken from a saved machine."""
    machine = kernel.target.machine
    cmdline = " ".join(filter(None, [machine.cmdline, *words]))
    return replace(kernel, target=replace(kernel.target, machine=replace(machine, cmdline=cmdline, snapshot=False)))


def _config(kernel: KernelImage) -> str | None:
    try:
        return kernel.config.read_text("utf-8", "replace") if kernel.config else None
    except OSError:
        return None


def _table(kernel: KernelImage) -> SymbolTable | None:
    try:
        return symbol_table(kernel.symbols or kernel.path)
    except InputError:
        return None
