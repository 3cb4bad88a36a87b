"""The Bayesian search against syzkaller's rules on labs of the lab kernel, cold builds each: `make bench-lab` (some ten minutes).

What is compared is the same lab on the same machine, one after the other; the closing proof is counted apart.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
from pathlib import Path

import kbench
from kbench.bisection import Bisection, load_case
from kbench.host import usable_cores
from kbench.kernels import Store
from kbench.lab import create
from tests.bench import say

LABS = [(kind, seed) for seed in (1, 2, 3, 4) for kind in ("null", "uaf", "warning", "race", "rare")]


def halving(bisection: Bisection, kernels: int) -> float:
    """Seconds of a search that halves its range with each revision and one run: nothing beats it where no commit is suspect."""
    first, *steps = (step for step in bisection.steps if step.build_s and step.runs and not step.stage.startswith("proof"))
    build = statistics.mean(step.build_s for step in steps)
    run = statistics.mean(step.test_s / len(step.runs) for step in steps)
    return first.build_s + first.test_s + math.log2(max(kernels, 2)) * (build + run)


def main() -> None:
    labs = LABS[: int(sys.argv[1])] if len(sys.argv) > 1 else LABS
    right: dict[str, int] = {"bayes": 0, "syzkaller": 0}
    ratios, proofs, bounds = list[float](), list[float](), list[float]()
    for number, (kind, seed) in enumerate(labs):
        with tempfile.TemporaryDirectory(prefix="kbench-bench-") as name:
            folder, spent = Path(name), dict[str, float]()
            lab = create(folder / "lab", seed=seed, kind=kind)
            for strategy in sorted(right, reverse=number % 2 == 1):  # what runs first warms up what both need
                case = load_case(lab.case, strategy=strategy)
                bisection = Bisection(case, output=folder / strategy, store=Store(folder / f"store-{strategy}"))
                result = bisection.run()
                right[strategy] += result.culprit == lab.culprit
                proof = sum(step.build_s + step.test_s for step in bisection.steps if step.stage.startswith("proof"))
                spent[strategy] = result.seconds - proof
                if strategy == "bayes":
                    proofs.append(proof / result.seconds)
                    ideal = halving(bisection, result.n_kernels or 2)
                figures = f"{result.builds} builds, {result.runs} runs, {spent[strategy]:.0f} s, confidence {result.confidence}"
                print(f"  {kind} {seed} {strategy}: {result.outcome}, {result.culprit == lab.culprit}, {figures}", flush=True)
            ratios.append(spent["bayes"] / spent["syzkaller"])
            bounds.append(ideal / spent["syzkaller"])
    say("right, bayes / syzkaller", f"{right['bayes']} / {right['syzkaller']} of {len(labs)}  (wanted: 19 of 20)")
    say(
        "cost, bayes / syzkaller",
        f"median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}  (wanted: 0.5)",
    )
    say("  of a search that halves each time, one run a revision", f"median {statistics.median(bounds):.2f}")
    say("  share of the closing proof", f"{statistics.median(proofs):.2f} of the whole")


if __name__ == "__main__":
    print(f"kbench {kbench.__version__}, {usable_cores()} cores")
    main()
