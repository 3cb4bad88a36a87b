"""`kbench study`: strategies against each other on simulated histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kbench.cli.output import FILE, FOLDER, json_option, print_json, print_table

if TYPE_CHECKING:
    from kbench.study import Score


_FILE = click.option("-o", "--file", type=FILE, help="Write a tidy table there, .csv or .parquet, as well.")


@click.group(invoke_without_command=True)
@click.pass_context
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
@_FILE
@click.option("--of", type=click.Choice(["scores", "trials"]), default="scores", show_default=True, help="What FILE gets.")
@json_option
def study(
    context: click.Context,
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
    file: Path | None,
    of: str,
    *,
    as_json: bool,
) -> int:
    """Run many simulated bisections against a known truth: how often right, how often wrong, at what cost.

    The subcommands are about real ones: read logs into a collection, and print its tables.
    """
    if context.invoked_subcommand:
        return 0
    from kbench.exchange.tabulate import check_name, write_table
    from kbench.search import Costs
    from kbench.study import run_trials, score_all, world_spec
    from kbench.study.tidy import scores_table, trials_table

    if file:
        check_name(file)
    changes: dict[str, Any] = {"commits": commits, "rate": rate, "skips": skips}
    spec = replace(world_spec(world), **{name: value for name, value in changes.items() if value is not None})
    names = [name.strip() for name in strategies.split(",")]
    found = run_trials(names, spec, trials=trials, seed=seed, confidence=confidence, costs=Costs(width=width), jobs=jobs)
    scores = score_all(found, width=width)
    if file:
        write_table(scores_table(scores) if of == "scores" else trials_table(found), file)
    if as_json:
        print_json([asdict(score) for score in scores])
    else:
        click.echo(f"{trials} worlds: {spec.about}\n")
        _print(scores)
    return 0


@study.command("import")
@click.argument("paths", nargs=-1, required=True, type=FILE)
@click.option("--output", default=Path("study"), show_default=True, type=FOLDER, help="Folder of the collection.")
@json_option
def import_(paths: tuple[Path, ...], output: Path, *, as_json: bool) -> int:
    """Read bisection logs (files, archives, folders) into a collection; those it has are passed over."""
    from kbench.progress import Progress
    from kbench.study.collection import import_logs

    with Progress("read", enabled=not as_json) as progress:
        done = import_logs(paths, output, show=progress.show)
    if as_json:
        print_json(asdict(done))
    else:
        click.echo(f"{done.new} new, {done.known} known, {len(done.failed)} failed; in {output}")
        for name, reason in done.failed.items():
            click.echo(f"{name}: {reason}")
    return 1 if done.failed else 0


@study.command("table")
@click.argument("folder", default=Path("study"), type=FOLDER)
@click.option("--truth", type=FILE, help="CSV with the true culprits: cause_bisect_log, result_catergory, wrong_stage, reason.")
@_FILE
@click.option(
    "--of", type=click.Choice(["analysis", "logs", "tests"]), default="analysis", show_default=True, help="What FILE gets."
)
@json_option
def table(folder: Path, truth: Path | None, file: Path | None, of: str, *, as_json: bool) -> int:
    """Print the published analysis of a collection: outcomes, failures, accuracy, skips, costs."""
    from kbench.exchange.tabulate import write_table
    from kbench.study.collection import read_rows
    from kbench.study.replayed import read_truth
    from kbench.study.table import tables
    from kbench.study.tidy import analysis_table, logs_table, tests_table

    logs, tests = read_rows(folder)
    found = tables(logs, tests, read_truth(truth) if truth else None)
    if file:
        chosen = {"analysis": analysis_table(found), "logs": logs_table(logs), "tests": tests_table(logs, tests)}
        write_table(chosen[of], file)
    if as_json:
        print_json([asdict(one) for one in found])
        return 0
    for one in found:
        click.echo(one.title)
        print_table(one.columns, ([f"{cell:.3g}" if isinstance(cell, float) else cell for cell in row] for row in one.rows))
        click.echo()
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
