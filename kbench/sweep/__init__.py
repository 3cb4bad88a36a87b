"""One notebook, many parameters: run them side by side, resume, and gather what they found. Read `run_sweep` first."""

from __future__ import annotations

from kbench.sweep.plan import Plan, Row, read_plan
from kbench.sweep.records import Record, results
from kbench.sweep.running import run_sweep

__all__ = ["Plan", "Record", "Row", "read_plan", "results", "run_sweep"]
