"""Case, ask, build, boot, repro, tell, journal, report. Read `Bisection` first."""

from kbench.bisection.case import Case, load_case, make_case
from kbench.bisection.driver import Bisection
from kbench.bisection.result import BisectionResult

__all__ = ["Bisection", "BisectionResult", "Case", "load_case", "make_case"]
