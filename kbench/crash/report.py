"""What is known of a crash from its console. Read `CrashReport`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CrashReport:
    """One crash of a console log."""

    title: str  # normalised, as syzbot would call it
    alt_titles: tuple[str, ...] = ()  # two crashes that share a title of any sort are one bug
    type: str = ""  # "KASAN-USE-AFTER-FREE-READ", "WARNING", …; "" when untyped
    frame: str = ""  # the function to blame
    corrupted: str = ""  # why it is not to be trusted: cut off, mixed up with another one, …; "" when it is
    suppressed: bool = False  # the program under test had no memory: not worth a report
    panicked: bool = False  # the kernel panicked, now or later
    executor: str = ""  # the test process, "proc=P, id=N"
    report: str = ""  # the text, console prefixes and guesses of the unwinder taken off
    start: int = 0  # offset of the line that says it, in the console
    end: int = 0  # offset behind the last line of the report

    @property
    def alt(self) -> tuple[str, ...]:
        """The alternative titles, under the name the conformance data has for them."""
        return self.alt_titles
