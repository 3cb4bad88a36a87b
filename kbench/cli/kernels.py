"""`kbench build`, `boot`, `repro`, `minimise`: one revision at a time."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from kbench.cli.output import FILE, FOLDER, json_option, print_json, say


@click.command()
@click.argument("source")
@click.option("--config", type=FILE, help="The kernel's config; the target's default otherwise.")
@click.option("--target", default="lab", show_default=True, help="Kind of kernel.")
@click.option("--case", type=FILE, help="Take kind of kernel and config from this case instead.")
@json_option
def build(source: str, config: Path | None, target: str, case: Path | None, *, as_json: bool) -> int:
    """Build SOURCE, which is REPOSITORY@REVISION or a folder."""
    from kbench import primitives

    kernel = primitives.build(source, **_kind(config, target, case))
    if as_json:
        print_json(asdict(kernel) | {"target": kernel.target.name})
    else:
        made = "from the store" if kernel.cached else f"built in {kernel.build_s:.1f} s"
        click.echo(f"{kernel.path}\nkernel signature: {kernel.signature}\n{made}, {len(kernel.files or ())} source files went in")
    return 0


@click.command()
@click.argument("source")
@click.option("--config", type=FILE, help="The kernel's config.")
@click.option("--target", default="lab", show_default=True, help="Kind of kernel.")
@click.option("--case", type=FILE, help="Take kind of kernel and config from this case instead.")
@click.option(
    "--run", "commands", multiple=True, metavar="COMMAND", help="Type this in the machine and print the answer; may be repeated."
)
@json_option
def boot(source: str, config: Path | None, target: str, case: Path | None, commands: tuple[str, ...], *, as_json: bool) -> int:
    """Build SOURCE, boot it, run commands in it."""
    from kbench import primitives

    kernel = primitives.build(source, **_kind(config, target, case))
    with primitives.boot(kernel) as machine:
        answers = [(command, machine.run(command)) for command in commands]
        if as_json:
            print_json(
                {
                    "boot_s": machine.boot_s,
                    "signature": kernel.signature,
                    "answers": [{"command": c, "stdout": a.stdout} for c, a in answers],
                }
            )
        else:
            click.echo(f"booted in {machine.boot_s:.2f} s")
            for command, answer in answers:
                say(f"> {command}\n{answer.stdout}")
    return 0


@click.command()
@click.argument("source")
@click.argument("reproducer", type=FILE)
@click.option("--runs", default=10, show_default=True, help="Fresh machines to run it on.")
@click.option("--config", type=FILE, help="The kernel's config.")
@click.option("--target", default="lab", show_default=True, help="Kind of kernel.")
@click.option("--case", type=FILE, help="Take kind of kernel and config from this case instead.")
@click.option("--consoles", type=FOLDER, help="Keep the serial consoles here.")
@click.option("--snapshot-effect", is_flag=True, help="Compare the crash rate from a saved machine with that of cold ones.")
@json_option
def repro(
    source: str,
    reproducer: Path,
    runs: int,
    config: Path | None,
    target: str,
    case: Path | None,
    consoles: Path | None,
    snapshot_effect: bool,
    *,
    as_json: bool,
) -> int:
    """Build SOURCE and run REPRODUCER on it, each time on a fresh machine."""
    from kbench import primitives

    kernel = primitives.build(source, **_kind(config, target, case))
    if snapshot_effect:
        from kbench.runs import snapshot_effect as measure

        effect = measure(kernel, reproducer, runs)
        if as_json:
            print_json(asdict(effect))
        else:
            say(f"saved against cold: {effect}")
        return 0
    with tempfile.TemporaryDirectory(prefix="kbench-consoles-") as passing:
        found = primitives.repro(kernel, reproducer, runs=runs, consoles=consoles or Path(passing))
    if as_json:
        rate = found.rate
        print_json(
            {
                "runs": [
                    {
                        "outcome": run.outcome.value,
                        "title": run.title,
                        "elapsed_s": run.elapsed_s,
                        "console": run.console if consoles else None,
                    }
                    for run in found.runs
                ],
                "rate": {"estimate": rate.estimate if rate.n else None, "low": rate.low, "high": rate.high},
            }
        )
    else:
        for number, run in enumerate(found.runs):
            say(f"run #{number}: {run}")
        say(f"rate {found.rate}")
    return 0


@click.command()
@click.argument("case", type=FILE)
@click.option("--baseline", default="", help="Config to go back to: a file, or the name of one kbench ships; the target's base.")
@click.option("--builds", default=30, show_default=True, help="Kernels to build at most.")
@click.option("--runs", default=5, show_default=True, help="Runs of each, more while chance could explain what was seen.")
@click.option("--output", type=FOLDER, help="Folder for config.min and the consoles; CASE.kbench beside CASE.toml by default.")
@json_option
def minimise(case: Path, baseline: str, builds: int, runs: int, output: Path | None, *, as_json: bool) -> int:
    """Find the smallest config, between a baseline and CASE's own, on which CASE's `bad` still crashes."""
    from kbench.minimise import minimise as run_minimise
    from kbench.progress import Progress

    with Progress(f"minimising the config of {case}") as progress:
        found = run_minimise(
            case, baseline=baseline, builds=builds, runs=runs, output=output, on_change=lambda now: progress.show(now.headline())
        )
    if as_json:
        print_json(found.to_json())
    else:
        say(f"{found}\nconfig: {found.path}")
    return 0


def _kind(config: Path | None, target: str, case: Path | None) -> dict[str, Any]:
    """Return what a kernel is built with: as named, or as a case has it."""
    if case is None:
        return {"config": config, "target": target}
    from kbench.bisection import load_case

    found = load_case(case)
    return {"config": config or [found.located(name) for name in found.configs] or None, "target": found.resolve()}
