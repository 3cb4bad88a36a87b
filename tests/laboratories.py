"""A laboratory that answers from a table, for what is not about machines: order, journal, resuming, reports."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kbench.bisection.laboratory import CrashFindings
from kbench.errors import BuildError
from kbench.liveness import Liveness
from kbench.records import BuildSpec, KernelImage, MachineSpec, Outcome, Run, Target

TARGET = Target("table", BuildSpec((("true",),), "kernel"), MachineSpec(("qemu-system-i386",)))
OK, CRASH = Run(Outcome.OK), Run(Outcome.CRASHED, "WARNING in frob")


class Killed(BaseException):
    """The process is gone, as far as the driver can tell."""


@dataclass
class TableLaboratory:
    """Says of each commit what all its runs show; may be killed after so many runs."""

    shows: Callable[[str, int], Run | None]  # (commit, number of the run); None: does not build
    signature: Callable[[str], str] = lambda commit: hashlib.sha256(commit.encode()).hexdigest()
    files: Callable[[str], tuple[str, ...] | None] = lambda commit: None
    reached: Callable[[str], bool | None] = lambda commit: None
    kill_after: int = 10**9  # runs
    kill_at_build: int = 10**9
    ran: list[tuple[str, int]] = field(default_factory=list)
    built: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    probed: list[str] = field(default_factory=list)
    expected: list[list[tuple[str, int]]] = field(default_factory=list)

    @property
    def width(self) -> int:
        return 2

    def check(self) -> None:
        """Nothing is missing."""

    def expect(self, asked: Sequence[tuple[str, int]]) -> None:
        self.expected.append(list(asked))

    def build(self, commit: str) -> KernelImage:
        if len(self.built) >= self.kill_at_build:
            raise Killed
        self.built.append(commit)
        if self.shows(commit, 0) is None:
            raise BuildError("fs/pipe.c:7:1: error: 'tail' undeclared", log="...", file="fs/pipe.c", timed_out=False)
        return KernelImage(Path("kernel"), None, self.signature(commit), TARGET, commit, self.files(commit), "gcc 12")

    def configure(self, config: str | None) -> None:
        """A table knows no configs."""

    def run(self, kernel: KernelImage, numbers: Sequence[int], console: Callable[[int], Path]) -> Iterator[tuple[int, Run]]:
        for number in reversed(numbers):  # runs need not end in their order
            if len(self.ran) >= self.kill_after:
                raise Killed
            assert kernel.commit
            run = self.shows(kernel.commit, number)
            assert run
            path = console(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("hello\n")
            self.ran.append((kernel.commit, number))
            yield number, Run(run.outcome, run.title, 0.1, 0.2, path)

    def explain(self, kernel: KernelImage, crashed: Run) -> CrashFindings:
        self.explained.append(str(kernel.commit))
        return CrashFindings(f"{crashed.title} at fs/pipe.c:7", ("Pat <pat@example.org>",))

    def liveness(self, kernel: KernelImage, original: KernelImage, crashed: Run) -> Liveness:
        assert kernel.commit and original.commit and crashed.outcome is Outcome.CRASHED
        self.probed.append(kernel.commit)
        return Liveness(self.reached(kernel.commit), "as the table says")

    def close(self) -> None:
        """Nothing is held."""
