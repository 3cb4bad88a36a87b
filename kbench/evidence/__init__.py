"""What runs say about the bug: as likelihoods (`weigh`), or as one verdict, the way others do it (`decide`).

Read `Observation` first.
"""

from kbench.evidence.likelihood import P_NOT_THERE_YET, P_STAYS, Evidence, log_clean, log_masked, weigh
from kbench.evidence.observation import Observation
from kbench.evidence.priors import Priors
from kbench.evidence.titles import similarity
from kbench.evidence.verdicts import GIT_RULE, SYZKALLER_RULE, RepresentativeCrash, VerdictRule, decide, representative_crash

__all__ = [
    "GIT_RULE",
    "P_NOT_THERE_YET",
    "P_STAYS",
    "SYZKALLER_RULE",
    "Evidence",
    "Observation",
    "Priors",
    "RepresentativeCrash",
    "VerdictRule",
    "decide",
    "log_clean",
    "log_masked",
    "representative_crash",
    "similarity",
    "weigh",
]
