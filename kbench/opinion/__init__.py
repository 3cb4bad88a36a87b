"""A second opinion on a bisection somebody else ran, from its log alone. Read `judge` first.

Pure. `judge` tells how likely the named culprit is the true one, and why; `rejudge` weighs each verdict of the log again,
`doubt` says why one is doubtful; `posterior` is where the runs put the bug instead, also if a verdict is wrong.
The numbers are fitted to real bisections: data/judge.json has them with their source, kbench/study/fit_opinion.py made it.
"""

from kbench.opinion.course import Tested, course
from kbench.opinion.doubts import DOUBTFUL, doubt, most_doubtful
from kbench.opinion.judgement import Judgement, Reason, judge
from kbench.opinion.model import Answer, Logistic, Opinions
from kbench.opinion.posterior import Posterior, posterior
from kbench.opinion.rejudge import Rejudged, rejudge

__all__ = [
    "DOUBTFUL",
    "Answer",
    "Judgement",
    "Logistic",
    "Opinions",
    "Posterior",
    "Reason",
    "Rejudged",
    "Tested",
    "course",
    "doubt",
    "judge",
    "most_doubtful",
    "posterior",
    "rejudge",
]
