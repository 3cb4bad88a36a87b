"""The records every floor speaks in. Read `Run`, `KernelImage` and `Step` first.

Frozen, without behaviour beyond what follows from their own fields; nothing here opens a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path


class Outcome(Enum):
    """What one run showed. A machine that broke shows nothing about the kernel: INFRA, never CRASHED."""

    OK = "OK"
    CRASHED = "crashed"
    BOOT_FAILED = "boot failed"
    TEST_FAILED = "basic kernel testing failed"
    INFRA = "infra problem"


class Verdict(Enum):
    """What all runs of a revision come to, in git's words."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the reproducer on one freshly booted kernel."""

    outcome: Outcome
    title: str = ""  # crash title, normalised, or the reason of a failure; "" for OK
    boot_s: float = 0.0  # wall clock until user space
    elapsed_s: float = 0.0  # wall clock of the whole run, boot included
    console: Path | None = None  # serial console, as printed (head and tail when it was long)

    def __str__(self) -> str:
        """The run as a syzbot log prints it, `crashed: TITLE`."""
        return self.outcome.value if self.outcome is Outcome.OK else f"{self.outcome.value}: {self.title}"


def count_outcomes(runs: Iterable[Run]) -> Counter[Outcome]:
    """Return the number of runs by outcome."""
    return Counter(run.outcome for run in runs)


def count_titles(runs: Iterable[Run]) -> Counter[str]:
    """Return the number of crashed runs by title."""
    return Counter(run.title for run in runs if run.outcome is Outcome.CRASHED)


@dataclass(frozen=True, slots=True)
class LinuxSpec:
    """What is to be known of an architecture to configure and build a Linux tree for it."""

    arch: str  # make's ARCH
    source_archs: tuple[str, ...]  # folders below arch/ whose files go in: ("um", "x86") for User-Mode Linux
    base: str  # the config kbench ships for it: data/linux/BASE.config
    cross: str = ""  # make's CROSS_COMPILE, and the prefix of the compilers looked for
    refused: tuple[str, ...] = ()  # options that let a guest at the host: off unless the case says `host_access = true`


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """How a source tree becomes a kernel image. Placeholders: {source_tree} {build_dir} {config} {jobs}."""

    commands: tuple[tuple[str, ...], ...]  # argv of each command, run in the source tree, without a shell
    image: str  # what QEMU loads: a path below build_dir, else below the source tree
    symbols: str | None = None  # ELF file with the symbol table; None: the image itself
    config: str | None = None  # where the case's config goes, below build_dir
    clean: bool = True  # remove what git does not track first; False: objects are kept from build to build
    env: Mapping[str, str] = field(default_factory=dict)  # added to the environment
    timeout_s: float = 3600.0
    linux: LinuxSpec | None = None  # a Linux tree: configured, fixed up and compared as such
    compiler: str = ""  # by name ("gcc-11"), or "": what fits the release, of those on this machine
    backports: tuple[str, ...] = ()  # fixes cherry-picked before each build, besides those known to be needed
    host_access: bool = False  # User-Mode Linux may have the host's network and files


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """How an image is started and how its console is read. Placeholders: {image} {reproducer} {cmdline}."""

    argv: tuple[str, ...]  # QEMU and its options; console, display, QMP, network and accelerator are added
    booted: str | None = None  # pattern of the line that says user space is there; None: any output
    done: str | None = None  # pattern of the line that says the reproducer ended; None: runs to the time limit
    crashed: str | None = None  # pattern of a crash, besides those kbench knows; a group `title` names it
    test_failed: str | None = None  # pattern of a failed basic test, before the reproducer starts
    cmdline: str = ""  # the kernel's
    prompt: str | None = None  # pattern the guest prints when it waits for a command; None: takes none
    boot_timeout_s: float = 60.0
    silence_s: float = 60.0  # no output for so long is a hang
    timeout_s: float = 300.0  # wall clock of a whole run
    memory_mib: int = 64
    kvm: bool = True  # may use KVM, once it has been seen to run a guest
    linux_crashes: bool = True  # lines that begin a crash report in Linux's form are crashes
    boot_failure: str = "skip"  # a kernel that does not boot cannot be tested; "crash": not booting is the bug
    repro_s: float = 0.0  # the guest itself ends a reproducer after so long, as clean; 0: it is left to end
    rootfs: str = ""  # a disk image, never written to, to run the reproducer in; "": the guest kbench makes
    snapshot: bool = False  # boot once, then start each run from the saved machine


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """The user space kbench makes for a target: an init, a busybox, and the reproducer, compiled for it."""

    compiler: str = "gcc"  # makes static programs that the guest runs
    emulated: bool = False  # another architecture than the host's: the host cannot run them


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of kernel: how it is built and how it runs. All there is to know of an architecture."""

    name: str
    build: BuildSpec
    machine: MachineSpec
    guest: GuestSpec | None = None  # None: the reproducer goes to the kernel as it is


@dataclass(frozen=True, slots=True)
class KernelImage:
    """A built kernel."""

    path: Path  # what the machine loads
    symbols: Path | None  # ELF file with symbols, None if there is none
    signature: str  # 64 hex digits over what is loaded; equal signatures are one kernel
    target: Target
    commit: str | None = None  # 40 hex digits; None when built from a plain folder
    files: tuple[str, ...] | None = None  # source files that went in, relative to the tree; None: the build does not tell
    compiler: str = ""  # first line of the compiler's --version
    build_s: float = 0.0  # wall clock of the build; 0 when it was there already
    cached: bool = False
    config: Path | None = None  # the final .config
    notes: tuple[str, ...] = ()  # what a user should know: an option that did not stay set, a compiler that stood in, …


@dataclass(frozen=True, slots=True)
class Step:
    """One tested revision of a bisection, as every view shows it."""

    commit: str  # 40 hex digits
    subject: str  # first line of the commit's message
    stage: (
        str  # "original", "release v1.0", "head", "merge base", "bisect", "parent", "proof culprit", "more runs" or "marked bad"
    )
    verdict: Verdict | None  # None: built only, or still running
    runs: tuple[Run, ...]
    planned_runs: int = 0  # runs asked for; more than len(runs) while it is running
    position: int | None = None  # index in the history, oldest 0; None when the graph is not known
    candidates_left: int | None = None  # commits that can still be the culprit, after this step
    spans: tuple[tuple[int, int], ...] = ()  # those, as ranges of positions, both ends included
    signature: str | None = None
    build_s: float = 0.0
    test_s: float = 0.0  # wall clock, runs side by side count once
    failure: str = ""  # why the revision as a whole could not be tested: the build's first error, …
    cached: bool = False  # the kernel was there already
    compiler: str = ""  # first line of its --version
    same_as: str | None = None  # the commit that was tested already and is the same kernel: `runs` are its
    reached: bool | None = None  # did the clean runs enter the code that crashes? None: not known
    reach: str = ""  # how that was seen, or why it is not known
    notes: tuple[str, ...] = ()  # of the kernel

    @property
    def counts(self) -> Counter[Outcome]:
        """Runs by outcome."""
        return count_outcomes(self.runs)

    @property
    def titles(self) -> Counter[str]:
        """Crashed runs by title."""
        return count_titles(self.runs)


@dataclass(frozen=True, slots=True)
class BisectionView:
    """One bisection at one moment: all that a widget, a plot, a page or a table needs. Never more than a view."""

    name: str
    kind: str  # "cause" or "fix"
    strategy: str
    n_commits: int  # commits in the range at the start; 0 when not known
    steps: tuple[Step, ...]
    tags: tuple[tuple[str, int], ...] = ()  # release name, position
    outcome: str | None = None  # None while it runs; else "culprit", "inconclusive", …
    culprit: str | None = None
    culprit_subject: str = ""
    culprit_text: str = ""  # author, date, message and changed files, as git prints them
    confidence: float | None = None
    candidates: tuple[tuple[str, float], ...] = ()  # commit, probability; most probable first, 100 at most
    noop: bool | None = None  # culprit and parent have one signature; None: not compared
    crash_report: str = ""
    build_s: float = 0.0
    test_s: float = 0.0
    n_kernels: int | None = None  # different kernels the commits of the range can make, as far as known; None: not told apart
    recipients: tuple[str, ...] = ()  # of a report, by the tree's own get_maintainer.pl
    proof: str = ""  # runs of the closing proof that show the bug: "parent 0:12, culprit 9:12, reverted 0:12"
    proof_p: float | None = None  # P(counts so far apart | the culprit shows it as often as the others)
