"""A second opinion on a bisection somebody else ran, from its log alone. Read `judge` first.

Pure. `judge` tells how likely the named culprit is the true one, and why; `rejudge` weighs each verdict of the log again.
The numbers are fitted to real bisections: data/judge.json has them with their source, kbench/study/fit_opinion.py made it.
"""

from kbench.opinion.course import Tested, course
from kbench.opinion.judgement import Judgement, Reason, judge
from kbench.opinion.model import Logistic, Opinions
from kbench.opinion.rejudge import Rejudged, rejudge

__all__ = ["Judgement", "Logistic", "Opinions", "Reason", "Rejudged", "Tested", "course", "judge", "rejudge"]
