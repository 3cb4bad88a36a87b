"""`kbench sweep`: one notebook over many parameters."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import click

from kbench.cli.output import FILE, FOLDER, json_option, print_json, print_table


@click.command()
@click.argument("sweep", type=FILE)
@click.option("--output", type=FOLDER, help="Folder of the runs; SWEEP.sweep beside the file by default.")
@click.option("--jobs", type=click.IntRange(1), help="Runs side by side; the usable cores by default.")
@click.option("--retry", is_flag=True, help="Run those that failed once more.")
@click.option("--dry-run", is_flag=True, help="Check the file and list the runs.")
@json_option
def sweep(sweep: Path, output: Path | None, jobs: int | None, retry: bool, dry_run: bool, *, as_json: bool) -> int:
    """Run a notebook over a grid or list of parameters, side by side; started again, it goes on.

    \b
    notebook = "bisect"                 # one of kbench's, or a path
    [parameters]                        # of every run
    case = "play/case.toml"             # paths are relative to this file
    output = "{folder}"                 # {folder}: the run's own
    [grid]                              # every combination is run
    strategy = ["bayes", "git"]
    [[runs]]                            # and each of it with every row
    overrides = {runs = 5}

    It writes index.html, the executed notebooks, and what kbench.sweep.results(FOLDER) reads as one table.
    """
    from dataclasses import asdict

    from kbench.progress import Progress
    from kbench.sweep import Record, read_plan, run_sweep
    from kbench.sweep.index import PAGE

    plan = read_plan(sweep, output=output, jobs=jobs)
    if dry_run:
        _list([{"run": row.id, **row.varied} for row in plan.rows], as_json)
        return 0
    with Progress("sweep", total=len(plan.rows), enabled=not as_json) as progress:
        ended: list[Record] = []

        def show(record: Record) -> None:
            ended.append(record)
            seconds = sum(one.seconds for one in ended) / len(ended) * (len(plan.rows) - len(ended)) / plan.jobs
            done = f"{len(ended)} of {len(plan.rows)}, about {timedelta(seconds=round(seconds))} left"
            progress.step()
            progress.show(done)
            if not sys.stderr.isatty():
                click.echo(f"{record.id} {record.status}; {done}", err=True)

        records = run_sweep(plan, retry=retry, show=show)
    failed = [record for record in records if record.status == "failed"]
    if as_json:
        print_json([asdict(record) for record in records])
    else:
        click.echo(f"{len(records) - len(failed)} done, {len(failed)} failed; see {plan.folder / PAGE}")
        for record in failed:
            click.echo(f"{record.id}: {record.error}")
    return 1 if failed else 0


def _list(rows: list[dict[str, object]], as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    columns = list(dict.fromkeys(name for row in rows for name in row))
    print_table(columns, ([row.get(name, "") for name in columns] for row in rows))
