"""How often a reproducer crashes, and what follows from it. Pure; read `rate` first, then `compare` and `interleaved`.

Counts are crashes and runs, in this order; as text `41:60`. Nothing here knows commits, titles or searches.
"""

from kbench.flakiness.comparison import Comparison, compare
from kbench.flakiness.proof import Interleaved, interleaved
from kbench.flakiness.rates import CleanRuns, Rate, clean_runs, rate, runs_for_width
from kbench.flakiness.sample_size import Power, power, runs_for_power
from kbench.flakiness.sequential import OperatingPoint, SequentialTest
from kbench.flakiness.variation import Drift, Overdispersion, drift, overdispersion

__all__ = [
    "CleanRuns",
    "Comparison",
    "Drift",
    "Interleaved",
    "OperatingPoint",
    "Overdispersion",
    "Power",
    "Rate",
    "SequentialTest",
    "clean_runs",
    "compare",
    "drift",
    "interleaved",
    "overdispersion",
    "power",
    "rate",
    "runs_for_power",
    "runs_for_width",
]
