"""What runs say about the bug: as one verdict (`decide`), the way others do it. Read `Observation` first."""

from kbench.evidence.observation import Observation
from kbench.evidence.verdicts import GIT_RULE, SYZKALLER_RULE, RepresentativeCrash, VerdictRule, decide, representative_crash

__all__ = ["GIT_RULE", "SYZKALLER_RULE", "Observation", "RepresentativeCrash", "VerdictRule", "decide", "representative_crash"]
