"""What can go wrong, as one tree. Read `KbenchError` first.

    KbenchError                  exit 1
    ├── InputError               exit 2  the caller's input is wrong
    │   ├── CaseError                    a case file, or a key in it
    │   ├── RevisionError                a revision, tag or range git does not have
    │   ├── ReproducerError              a reproducer that does not parse
    │   ├── SearchError                  ends that enclose no commit, an unknown strategy
    │   └── LogError                     a text that is not a bisection log
    ├── JournalError             exit 2  the journal is another case's, damaged, or in use
    ├── MachineLacksError        exit 3  this machine lacks a program; says what to install
    ├── StorageError             exit 3  no room, or no permission, where results are kept
    ├── BuildError               exit 1  this revision does not build; an answer, not an accident
    ├── StoppedError             exit 1  a person ended the work; nothing is lost
    └── LostMachineError         exit 1  a machine broke; says nothing about the kernel

A message reads `<stage>: <expected>, <seen>; <next step>`, with the values, without a full stop.
"""

from __future__ import annotations

from typing import Any, ClassVar


class KbenchError(Exception):
    """Root of all errors kbench raises on purpose; evidence rides as attributes.

    Parameters
    ----------
    message : str
        `<stage>: <expected>, <seen>; <next step>`.
    **evidence
        Whatever helps to understand it (`console=`, `argv=`, `partial=`); read it as attributes.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, **evidence: Any) -> None:
        super().__init__(message)
        self.evidence = evidence

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["evidence"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} carries no {name!r}") from None


class InputError(KbenchError):
    """The caller's input is wrong; nothing was started and nothing is half-written."""

    exit_code = 2


class CaseError(InputError):
    """A case file cannot be read, or a key in it is unknown or has a wrong value."""


class RevisionError(InputError):
    """Git has no such revision, tag or range."""


class ReproducerError(InputError):
    """The reproducer does not parse."""


class SearchError(InputError):
    """The ends given to a search enclose nothing, or the strategy is unknown."""


class LogError(InputError):
    """The text is not a bisection log."""


class JournalError(KbenchError):
    """The journal belongs to another case, is damaged, or another bisection is writing it."""

    exit_code = 2


class MachineLacksError(KbenchError):
    """This machine lacks a program; the message names the package that has it."""

    exit_code = 3


class StorageError(KbenchError):
    """No room, or no permission, where results are kept."""

    exit_code = 3


class BuildError(KbenchError):
    """This revision does not build: an observation for the driver. Carries `.log` and `.file`."""


class StoppedError(KbenchError):
    """A person ended a bisection; nothing is lost."""


class HeldError(KbenchError):
    """Work was left because somebody paused or stopped it: do it again when it goes on."""


class LostMachineError(KbenchError):
    """A machine broke while it was used. Retried, then INFRA; never a crash."""
