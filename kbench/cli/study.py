"""`kbench study`: strategies against each other on simulated histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from kbench.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from kbench.study import Score


@click.command()
@click.option(
    "--world",
    default="kernel",
    show_default=True,
    help="Kind of worlds: kernel, noisy, trace, misleading, syzbot or syzbot-liveness.",
)
@click.option("--strategies", default="git,syzkaller,bayes", show_default=True, help="Which to compare, on the same worlds.")
@click.option("--trials", default=50, show_default=True, help="Worlds drawn.")
@click.option("--commits", type=int, help="Candidates in each; the kind's own by default.")
@click.option("--rate", type=float, help="Reproduction rate of the bug; the kind's own by default.")
@click.option("--skips", type=float, help="Share of commits that cannot be tested; the kind's own by default.")
@click.option("--confidence", default=0.95, show_default=True, help="When bayes stops.")
@click.option("--width", default=1, show_default=True, help="Runs that go on at once.")
@click.option("--seed", default=0, show_default=True)
@click.option("--jobs", type=int, help="Processes; all cores by default.")
@json_option
def study(
    world: str,
    strategies: str,
    trials: int,
    commits: int | None,
    rate: float | None,
    skips: float | None,
    confidence: float,
    width: int,
    seed: int,
    jobs: int | None,
    *,
    as_json: bool,
) -> int:
    """Run many simulated bisections against a known truth: how often right, how often wrong, at what cost."""
    from kbench.search import Costs
    from kbench.study import compare, world_spec

    changes: dict[str, Any] = {"commits": commits, "rate": rate, "skips": skips}
    spec = replace(world_spec(world), **{name: value for name, value in changes.items() if value is not None})
    names = [name.strip() for name in strategies.split(",")]
    scores = compare(names, spec, trials=trials, seed=seed, confidence=confidence, costs=Costs(width=width), jobs=jobs)
    if as_json:
        print_json([asdict(score) for score in scores])
    else:
        click.echo(f"{trials} worlds: {spec.about}\n")
        _print(scores)
    return 0


def _print(scores: Sequence[Score]) -> None:
    wide = f"hours, {scores[0].width} at once"
    print_table(
        ("strategy", "right", "wrong", "none", "builds", "runs", "hours", wide, "said", "was", "Brier"),
        (
            (
                s.strategy,
                f"{s.right:.1%} ± {s.right_error:.1%}",
                f"{s.wrong:.1%}",
                f"{s.none:.1%}",
                f"{s.builds:.1f}",
                f"{s.runs:.0f}",
                f"{s.hours:.2f}",
                f"{s.hours_wide:.2f}",
                f"{s.calibration.said:.2f}",
                f"{s.calibration.right:.2f}",
                f"{s.calibration.brier:.3f}",
            )
            for s in scores
        ),
    )
    click.echo()
    for line in _reading(scores):
        click.echo(line)


def _reading(scores: Sequence[Score]) -> list[str]:
    best = max(scores, key=lambda s: (s.right - s.wrong, -s.hours_wide))
    lines = [
        "right: named the culprit, or a list of ten at most that holds it; said and was: mean confidence of what was claimed, "
        "and the share of it that was true.",
        f"{best.strategy} is ahead: {best.right:.0%} right and {best.wrong:.0%} wrong, in {best.hours_wide:.2f} hours.",
    ]
    for s in scores:
        if s.failed:
            began = ", ".join(f"{share:.0%} {_STAGES[stage]}" for stage, share in s.failed.items() if share)
            lines.append(f"{s.strategy}: its failures began {began}.")
        if s.n_lists:
            lines.append(
                f"{s.strategy}: {s.n_lists} inconclusive ends, {s.listed:.0f} commits each; {s.lists_hold:.0%} hold the culprit."
            )
    return lines


_STAGES = {"A": "on the original commit", "B": "in the walk over releases", "C": "in the range"}
