"""How a run ends, judged from its console lines, what the machine tells and the clock. Read `Ending`, then `Watch`.

Pure: the time is an argument. A crash is noticed here only to know when to stop reading; its title is made by `kbench.crash`.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from enum import Enum
from typing import Any

from kbench.patterns import LinePattern
from kbench.records import MachineSpec

# Lines with which Linux, and kernels that print as it does, begin a report of a crash.
CRASH_LINE = (
    r"\bBUG: |\bWARNING: |\bKernel panic - not syncing|general protection fault|\bkernel BUG at |\bOops\b"
    r"|\bINFO: task .{1,80} blocked for more than|\bINFO: task hung\b|\bINFO: rcu\w* .{0,40}(?:detected|self-detected) stall"
    r"|\bsoft lockup\b|[Uu]nable to handle kernel|divide error: |stack segment: |invalid opcode: |\bUBSAN: |\bKASAN: |\bKCSAN: "
)

# Each of them is in any line CRASH_LINE finds something in. Looking for these first takes a tenth of the time, and a boot
# prints a hundred lines that hold none.
CRASH_HINTS = (
    *("BUG", "WARNING: ", "panic", "fault", "Oops", "blocked for", "hung", "stall", "lockup", "nable to handle", "error: "),
    *("segment: ", "opcode: ", "SAN: "),
)

QUIET_S = 0.2  # no output for so long after the line that ends a run: the report is complete
DONE_QUIET_S = 0.1  # the same after a plain end; a guest that powers off ends the run earlier
SETTLE_S = 1.0  # at most this long is read on


class Ending(Enum):
    """How a run ended. When several hold, the one that says most about the kernel counts: it stands further up.

    A crash, a panic and any other end before the guest was up is NOT_BOOTED, with what it was in the detail.
    """

    LOST = "lost"  # the machine broke: raised as LostMachineError, never returned
    CRASHED = "crashed"  # a line of a crash on the console
    PANICKED = "panicked"  # the guest said so through pvpanic, or the kernel's own process died of a fault
    TEST_FAILED = "test failed"  # the pattern of a failed basic test
    DONE = "done"  # the pattern that ends the reproducer; whatever the guest did then
    NOT_BOOTED = "not booted"  # it ended in another way before it was up
    RESET = "reset"  # a triple fault, or a reboot
    SHUTDOWN = "shutdown"  # the guest powered off, or left through isa-debug-exit
    SILENT = "silent"  # no output for silence_s
    TIMED_OUT = "timed out"  # the run took timeout_s


# Endings of QEMU's own telling, by the reason of its SHUTDOWN event.
SHUTDOWN_REASONS = {
    "guest-shutdown": (Ending.SHUTDOWN, "guest powered off"),
    "guest-reset": (Ending.RESET, "guest reset: triple fault or reboot"),
    "guest-panic": (Ending.PANICKED, "guest panicked"),
}
MARKS = {
    "crash line": Ending.CRASHED,
    "crashed": Ending.CRASHED,
    "test_failed": Ending.TEST_FAILED,
    "done": Ending.DONE,
}
# Of a kernel that is a process of the host, User-Mode Linux. It tells by a line what an emulator tells by an event; and it
# may be the host that broke: no room left for the guest's memory (SIGBUS), or a process of the machine killed from outside.
PROCESS_RESTARTS = re.compile(r"\breboot: Restarting system")
HOST_BROKE = re.compile(
    r"Kernel mode signal 7\b|Kernel mode bus error|\b(?:wait_stub_done|userspace) ?[-:] .{0,60}\b(?:failed|stopped with signal)"
    # set by a program of the guest's own on its return from a signal: registers that no processor takes
    r"(?!, errno = (?:5|22)\b)"
    r"|start_userspace : .{0,60}\bfailed|^[Uu]nable to (?:map|create) "
)
OWN_FAULTS = frozenset(map(int, (signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP)))
RANK = [Ending.CRASHED, Ending.PANICKED, Ending.TEST_FAILED, Ending.DONE]


def patterns(spec: MachineSpec) -> dict[str, LinePattern]:
    """Compile the patterns of `spec` by the names of their fields; raise CaseError for what is no pattern."""
    texts = {"booted": spec.booted, "done": spec.done, "test_failed": spec.test_failed, "crashed": spec.crashed}
    return {name: LinePattern(text, name) for name, text in texts.items() if text is not None}


class Watch:
    """What one run has shown so far, and what follows from it. Tell it everything, then `look`."""

    def __init__(
        self,
        spec: MachineSpec,
        *,
        crash_pattern: str = CRASH_LINE,
        debug_exit: bool = False,
        process: bool = False,  # the kernel is a process of the host
        now: float,
    ) -> None:
        self._spec, self._debug_exit, self._process = spec, debug_exit, process
        self._host_broke = ""  # the line that says so
        self._patterns = patterns(spec)
        self._crash = re.compile(crash_pattern)
        self._started = self._last_output = now
        self._last_line = ""
        self._seen: dict[Ending, str] = {}  # with the line or the event that showed it
        self._settled = float("inf")  # when reading on ends
        self._marked = float("inf")
        self._over = False  # nothing more will come
        self.booted_at: float | None = None

    def output(self, now: float) -> None:
        """Bytes came."""
        self._last_output = now
        if self._spec.booted is None and self.booted_at is None:
            self.booted_at = now

    def line(self, text: str, now: float) -> bool:
        """A line came, or the begin of one; return whether there is now something to look at."""
        self._last_line = text
        news = self.booted_at is None and self._matches("booted", text)
        if news:
            self.booted_at = now
        for name, ending in MARKS.items():
            if ending not in self._seen and self._matches(name, text):
                self._see(ending, text, now)
                news = True
        return self._process_line(text, now) or news

    def _process_line(self, text: str, now: float) -> bool:
        """Look at a line for what only a kernel that is a process has to say that way."""
        if not self._process:
            return False
        if PROCESS_RESTARTS.search(text):
            self._see(*SHUTDOWN_REASONS["guest-reset"], now)
        elif HOST_BROKE.search(text):
            self._host_broke = self._host_broke or text
            self._see(Ending.LOST, f"host trouble: {text[:200]}", now)
        else:
            return False
        return True

    def event(self, name: str, data: Mapping[str, Any], now: float) -> None:
        """QEMU told something over QMP."""
        if name == "GUEST_PANICKED":
            self._see(Ending.PANICKED, "guest panicked", now)
        elif name == "STOP":  # before a panic's shutdown, and alone when KVM cannot go on
            self._see(Ending.LOST, "QEMU stopped the guest by itself", now)
        else:
            reason = str(data.get("reason"))
            self._see(*SHUTDOWN_REASONS.get(reason, (Ending.LOST, f"QEMU ended: {reason}")), now)
            self._over = True

    def exited(self, exit_code: int, now: float) -> None:
        """The process ended, and everything it printed and told is known."""
        told = any(ending is not Ending.LOST for ending in self._seen)
        if not told and self._debug_exit and exit_code > 0 and exit_code % 2:
            self._see(Ending.SHUTDOWN, f"guest left with exit code {exit_code}", now)
        elif not told and self._process and exit_code == 0:
            self._see(*SHUTDOWN_REASONS["guest-shutdown"], now)
        elif not told and self._process and -exit_code in OWN_FAULTS:
            self._see(Ending.PANICKED, f"kernel process died of {signal.Signals(-exit_code).name}", now)
        elif not told:
            self._see(Ending.LOST, f"{'it' if self._process else 'QEMU'} ended with {_exit_words(exit_code)}", now)
        self._over = True

    @property
    def deadline(self) -> float:
        """When to look again if nothing happens before."""
        spec = self._spec
        boot = self._started + spec.boot_timeout_s if self.booted_at is None else float("inf")
        limits = [boot, self._last_output + spec.silence_s, self._started + spec.timeout_s]
        return min(*limits, *([self._quiet_at] if self._seen else []))

    @property
    def _quiet_at(self) -> float:
        quiet = DONE_QUIET_S if set(self._seen) <= {Ending.DONE, Ending.TEST_FAILED} else QUIET_S
        return min(max(self._last_output, self._marked) + quiet, self._settled)

    def look(self, now: float) -> tuple[Ending, str] | None:
        """Return how the run ended and by what that was seen; None: it goes on."""
        spec = self._spec
        if self._seen:
            return self._judge() if self._over or now >= self._quiet_at else None
        last = f"last line {self._last_line[:120]!r}"
        if now >= self._started + spec.timeout_s:
            return self._ended(Ending.TIMED_OUT, f"still running after {spec.timeout_s:g} s, {last}")
        if now >= self._last_output + spec.silence_s:
            return self._ended(Ending.SILENT, f"no output for {spec.silence_s:g} s, {last}")
        if self.booted_at is None and now >= self._started + spec.boot_timeout_s:
            return Ending.NOT_BOOTED, f"not up after {spec.boot_timeout_s:g} s, {last}"
        return None

    def _judge(self) -> tuple[Ending, str]:
        if self._host_broke:
            return Ending.LOST, self._seen[Ending.LOST]
        for ending in RANK:
            if ending in self._seen:
                telling = ending in (Ending.TEST_FAILED, Ending.DONE)
                return (ending, self._seen[ending]) if telling else self._ended(ending, self._seen[ending])
        ending = next((ending for ending in self._seen if ending is not Ending.LOST), Ending.LOST)
        return (ending, self._seen[ending]) if ending is Ending.LOST else self._ended(ending, self._seen[ending])

    def _ended(self, ending: Ending, detail: str) -> tuple[Ending, str]:
        return (ending, detail) if self.booted_at is not None else (Ending.NOT_BOOTED, f"not up yet: {detail}")

    def _see(self, ending: Ending, detail: str, now: float) -> None:
        self._seen.setdefault(ending, detail)
        if self._marked > now:
            self._marked, self._settled = now, now + SETTLE_S

    def _matches(self, name: str, text: str) -> bool:
        if name == "crash line":
            hinted = self._crash.pattern != CRASH_LINE or any(hint in text for hint in CRASH_HINTS)
            return hinted and self._crash.search(text) is not None
        pattern = self._patterns.get(name)
        return pattern is not None and pattern.search(text) is not None


def _exit_words(exit_code: int) -> str:
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
