"""Case, ask, build, boot, repro, tell, journal, report. Read `Bisection` first."""

from kbench.bisection.case import Case, load_case, make_case
from kbench.bisection.driver import Bisection, BisectionResult

__all__ = ["Bisection", "BisectionResult", "Case", "load_case", "make_case"]
