"""`kbench preflight`: what a bisection would cost, from the first runs."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import click

from kbench.cli.output import FILE, json_option, print_json


@click.command()
@click.argument("case", type=FILE)
@click.option("--runs", default=20, show_default=True, help="Runs of the reproducer on the original commit.")
@click.option("--strategies", default="bayes,syzkaller,git", show_default=True, help="Which to simulate.")
@click.option("--trials", default=40, show_default=True, help="Simulated bisections; fewer of long ranges.")
@click.option("--build-seconds", type=click.FloatRange(min=0), help="What a build takes; by default as long as this one.")
@click.option("--seed", default=0, show_default=True)
@json_option
def preflight(
    case: Path, runs: int, strategies: str, trials: int, build_seconds: float | None, seed: int, *, as_json: bool
) -> int:
    """Build and run CASE's original commit; say what each strategy would cost and how likely it would be right."""
    from kbench.bisection import load_case
    from kbench.study.original import run_original
    from kbench.study.preflight import check_simulation
    from kbench.study.preflight import preflight as simulate

    names = check_simulation([name.strip() for name in strategies.split(",")], trials)
    found = load_case(case)
    first = run_original(found, runs=runs)
    costs = first.costs if build_seconds is None else replace(first.costs, build=build_seconds)
    planned = simulate(
        first.candidates,
        first.seen,
        costs=costs,
        confidence=found.confidence,
        strategies=names,
        releases=first.releases,
        trials=trials,
        seed=seed,
    )
    if as_json:
        effect = first.snapshot_effect and asdict(first.snapshot_effect)
        print_json(
            planned.to_json() | {"commit": first.commit, "build_measured": first.build_measured, "snapshot_effect": effect}
        )
    else:
        click.echo(str(planned))
        if first.snapshot_effect:
            click.echo(f"- from saved machines it crashes in {first.snapshot_effect} (those against cold ones)")
        if build_seconds is None and not first.build_measured:
            click.echo("- builds were not measured, the kernel was there already: give --build-seconds")
    return 0 if planned.seen.k else 1
