"""What was seen of one commit, as counts of runs. Read `Observation`."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kbench.errors import SearchError

_COUNTS = ("passed", "boot_failed", "test_failed", "infra")


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one commit; the counts are of single runs.

    Raises
    ------
    SearchError
        A count below 0, or a `skip` that is none of "build", "boot", "test".
    """

    commit: int  # index in the history
    passed: int = 0
    crashes: Mapping[str, int] = field(default_factory=dict)  # runs by crash title; "" is a crash nobody named
    boot_failed: int = 0
    test_failed: int = 0
    infra: int = 0  # runs that could not be carried out: they say nothing about the kernel
    skip: str | None = None  # why the revision as a whole could not be tested
    signature: str | None = None  # of the kernel; equal signatures are one kernel
    reached: bool | None = None  # did the clean runs enter the code that crashes? None: not known
    lent: bool = False  # the runs are those of another commit with this signature: nothing new

    def __post_init__(self) -> None:
        crashes = {title: operator.index(count) for title, count in self.crashes.items() if count}
        object.__setattr__(self, "commit", operator.index(self.commit))
        object.__setattr__(self, "crashes", crashes)
        for name in _COUNTS:
            object.__setattr__(self, name, operator.index(getattr(self, name)))
        lowest = min(*(getattr(self, name) for name in _COUNTS), *crashes.values(), 0)
        if lowest < 0:
            raise SearchError(
                f"observation: counts of runs are 0 or more, got {lowest} for commit {self.commit}; count the runs again"
            )
        if self.skip not in (None, "build", "boot", "test"):
            raise SearchError(
                f'observation: skip is None, "build", "boot" or "test", got {self.skip!r}; name the stage that failed'
            )

    @property
    def crashed(self) -> int:
        """Runs that crashed, whatever the title."""
        return sum(self.crashes.values())

    @property
    def total(self) -> int:
        """All runs, those that could not be carried out included."""
        return self.crashed + sum(getattr(self, name) for name in _COUNTS)

    @property
    def share(self) -> float | None:
        """Crashed runs among those that crashed or ran clean; None when there are none."""
        told = self.crashed + self.passed
        return self.crashed / told if told else None

    def merged(self, later: Observation) -> Observation:
        """Both observations of one commit as one: runs add up, the later one's other words hold where it has any."""
        summed = {name: getattr(self, name) + getattr(later, name) for name in _COUNTS}
        return replace(
            later,
            crashes=Counter(self.crashes) + Counter(later.crashes),
            skip=later.skip if later.skip is not None or later.total > later.infra else self.skip,
            signature=later.signature or self.signature,
            reached=later.reached if later.reached is not None else self.reached,
            lent=self.lent and later.lent,
            **summed,
        )
