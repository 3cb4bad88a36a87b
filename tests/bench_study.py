"""The figures behind what kbench claims of its searches, in simulated worlds: `python -m tests.bench_study [TRIALS]`.

Prints what was measured and, beside it, what is wanted. Nothing here is asserted by a test.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from kbench.search import Costs
from kbench.study import WORLDS, Score, Trial, WorldSpec, calibrate, run_trials, score, world_spec
from kbench.study.draw import draw_world

STRATEGIES = ("git", "syzkaller", "bayes")
WIDE = 10
#: By rate: hours of bayes one after the other, with ten runs at once, and its share of right answers.
WANTED = {1.0: (1.45, 1.35, 0.99), 0.5: (2.10, 1.50, 0.96), 0.1: (5.60, 1.95, 0.95)}


def measure(spec: WorldSpec, trials: int, *, strategies: Sequence[str] = STRATEGIES, width: int = 1) -> dict[str, list[Trial]]:
    """Trials by strategy, on the same worlds."""
    found = run_trials(strategies, spec, trials=trials, costs=Costs(width=width))
    return {name: [trial for trial in found if trial.strategy == name] for name in strategies}


def line(what: str, found: Score, wanted: str = "") -> None:
    """One row: accuracy, cost, calibration."""
    calibration = found.calibration
    claims = f"said {calibration.said:.3f} was {calibration.right:.3f}" if calibration.n else "claimed nothing"
    print(
        f"{what:<34} right {found.right:6.1%} wrong {found.wrong:6.1%} none {found.none:6.1%}  builds {found.builds:5.1f} "
        f"runs {found.runs:5.0f}  hours {found.hours:5.2f} / {found.hours_wide:5.2f}  {claims}{wanted}",
        flush=True,
    )


def bench_kernel(trials: int) -> list[Trial]:
    """The range shaped like Linux, at three rates: each width searched on its own; returns what bayes did."""
    print(f"\n1002 candidates, no false alarms: hours one after the other / {WIDE} runs at once")
    told: list[Trial] = []
    for rate, (serially, widely, right) in WANTED.items():
        spec = replace(WORLDS["kernel"], rate=rate)
        serial, wide = measure(spec, trials), measure(spec, trials, width=WIDE)
        told += serial["bayes"] + wide["bayes"]
        for name in STRATEGIES:
            one, many = score(serial[name], width=1), score(wide[name], width=WIDE)
            wanted = f"  (wanted: {serially:.2f} / {widely:.2f} at {right:.0%})" if name == "bayes" else ""
            hours = f"{one.hours:5.2f} / {many.hours_wide:5.2f}"
            print(f"p = {rate:<4} {name:<12} {hours}  at {one.right:6.1%} / {many.right:6.1%}{wanted}", flush=True)
    return told


def bench_noisy(trials: int) -> list[Trial]:
    """False alarms, skips and noops."""
    print(f"\n{WORLDS['noisy'].about}, p = 0.5")
    found = measure(WORLDS["noisy"], trials)
    for name, done in found.items():
        one = score(done, width=1)
        line(name, one, "  (wanted: right 93%)" if name == "bayes" else "")
        if one.n_lists:
            wanted = "  (wanted: 95%)" if name == "bayes" else ""
            print(f"{'':<34} {one.n_lists} inconclusive, {one.listed:.0f} commits: {one.lists_hold:.0%} hold the culprit{wanted}")
    return found["bayes"]


def bench_syzbot(trials: int) -> None:
    """Worlds like the real bisections."""
    print("\nlike syzbot's bisections (really: right 34%, wrong 41%, none 25%; failures 11 / 61 / 27% by stage)")
    found = measure(world_spec("syzbot"), trials, strategies=("syzkaller-2019", *STRATEGIES))
    scores = {name: score(done, width=1) for name, done in found.items()}
    for name, one in scores.items():
        stages = " / ".join(f"{one.failed.get(stage, 0):.0%}" for stage in "ABC")
        line(name, one, f"  failures {stages}")
    can = {trial for trial in range(trials) if draw_world(world_spec("syzbot"), 0, trial).findable}
    named = {name: sum(trial.answer == "right" and trial.number in can for trial in done) for name, done in found.items()}
    of_them = ", ".join(f"{name} {n / max(len(can), 1):.0%}" for name, n in named.items())
    print(f"the culprit shows itself in {len(can) / trials:.0%} of these worlds; of them named: {of_them}")
    ours, theirs = scores["bayes"], scores["syzkaller"]
    print(
        f"bayes to syzkaller: right {_ratio(ours.right, theirs.right)} (wanted: 1.15 at least), wrong "
        f"{_ratio(ours.wrong, theirs.wrong)} (0.35 at most), hours {_ratio(ours.hours, theirs.hours)} (1.2 at most)"
    )
    bench_calibration("bayes there, wanted within 0.05", found["bayes"])


def bench_trace(trials: int) -> None:
    """The crash's trace as a prior, and what it costs where it misleads."""
    print("\na prior from the crash's trace, p = 0.5")
    for name, wanted in (("trace", "0.80"), ("misleading", "1.10")):
        given, kept = (
            score(measure(spec, trials, strategies=("bayes",))["bayes"], width=1)
            for spec in (WORLDS[name], replace(WORLDS[name], hands_prior=False))
        )
        line(f"{name}, prior handed over", given)
        line(f"{name}, none", kept)
        print(f"builds with it: {_ratio(given.builds, kept.builds)} of those without (wanted: {wanted} at most)")


def bench_calibration(what: str, trials: Sequence[Trial]) -> None:
    """A reliability diagram in words."""
    found = calibrate(trials)
    coverage = f"{found.coverage_90:.1%}" if found.coverage_90 is not None else "nothing"
    print(f"calibration, {what}: Brier {found.brier:.3f}, log loss {found.log_loss:.3f}, 90% set holds {coverage}")
    for band in found.bands:
        claims = f"{band.n:5} answers, said {band.said:.3f}, right {band.right:.3f} ± {band.error:.3f}"
        print(f"  {band.low:.3f} to {band.high:.3f}: {claims}")


def _ratio(ours: float, theirs: float) -> str:
    return f"{ours / theirs:.2f}" if theirs else "no ratio"


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{trials} worlds of each kind")
    told = bench_kernel(trials)
    told += bench_noisy(trials)
    bench_calibration("bayes in all of the above, wanted within 0.02 from 0.8 up", told)
    bench_trace(trials)
    bench_syzbot(trials)


if __name__ == "__main__":
    main()
