"""The command line. Each command calls one function of the package and prints what it returns.

Exit codes: 0 done; 1 the job ran and did not conclude; 2 the input was wrong; 3 this machine lacks something.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kbench import __version__
from kbench.errors import InputError, KbenchError

if TYPE_CHECKING:
    from kbench.primitives import BisectionReport

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path)


def _json_option(command: Any) -> Any:
    """Add --json; errors then come as JSON as well, on standard output."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    @wraps(command)
    def wrapped(*args: Any, as_json: bool, **kwargs: Any) -> Any:
        try:
            return command(*args, as_json=as_json, **kwargs)
        except KbenchError as error:
            if as_json:
                _print_json({"error": str(error), "exit_code": error.exit_code})
            raise

    return wrapped


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console = Console()
    Console(width=None if console.is_terminal else 200).print(table)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="kbench")
def cli() -> None:
    """Find the commit that broke (or fixed) a kernel, and say how sure that is."""


@cli.command()
@_json_option
def doctor(*, as_json: bool) -> int:
    """Look at what this machine has for kbench, and say what to install."""
    from kbench.doctor import examine

    checks = examine()
    if as_json:
        _print_json([asdict(check) for check in checks])
    else:
        marks = {(True, True): "ok", (True, False): "ok", (False, True): "MISSING", (False, False): "better"}
        _print_table(("", "what", "found", "to do"), ((marks[c.ok, c.needed], c.name, c.found, c.advice) for c in checks))
    return 0 if all(check.ok for check in checks if check.needed) else 3


@cli.group()
def lab() -> None:
    """Histories with a known culprit, to learn on and to measure with."""


@lab.command("create")
@click.argument("directory", type=_FOLDER)
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same history, to the hash.")
@click.option("--kind", default="uaf", show_default=True, help="What the culprit breaks: null, uaf, race, warning, hang or rare.")
@click.option("--commits", default=300, show_default=True, help="Length of the history.")
@click.option("--rate", default=0.3, show_default=True, help="Reproduction rate, for kind rare.")
@_json_option
def lab_create(directory: Path, seed: int, kind: str, commits: int, rate: float, *, as_json: bool) -> int:
    """Make a git repository of the lab kernel with a planted culprit in DIRECTORY, with a case and the truth beside it."""
    from kbench.lab import create

    made = create(directory, seed=seed, kind=kind, commits=commits, rate=rate)
    if as_json:
        _print_json(asdict(made))
    else:
        click.echo(f"{directory}/repo: {commits} commits of the lab kernel, a planted {kind}\nnext: kbench bisect {made.case}")
    return 0


@lab.command("demo")
@click.argument("directory", type=_FOLDER, default=Path("out/demo"))
@click.option("--seed", default=1, show_default=True)
@click.option("--kind", default="uaf", show_default=True, help="See `kbench lab create`.")
@_json_option
def lab_demo(directory: Path, seed: int, kind: str, *, as_json: bool) -> int:
    """A whole bisection of the lab kernel by the notebook through papermill, told step by step."""
    from kbench.demo import run_demo

    return run_demo(
        directory, seed=seed, kind=kind, say=(lambda _: None) if as_json else click.echo, show=_print_json if as_json else None
    )


@cli.command()
@click.argument("source")
@click.option("--config", type=_FILE, help="The kernel's config; the target's default otherwise.")
@click.option("--target", default="lab", show_default=True, help="Kind of kernel.")
@click.option("--case", type=_FILE, help="Take kind of kernel and config from this case instead.")
@_json_option
def build(source: str, config: Path | None, target: str, case: Path | None, *, as_json: bool) -> int:
    """Build SOURCE, which is REPOSITORY@REVISION or a folder."""
    from kbench import primitives

    kernel = primitives.build(source, **_kind(config, target, case))
    if as_json:
        _print_json(asdict(kernel) | {"target": kernel.target.name})
    else:
        made = "from the store" if kernel.cached else f"built in {kernel.build_s:.1f} s"
        click.echo(f"{kernel.path}\nkernel signature: {kernel.signature}\n{made}, {len(kernel.files or ())} source files went in")
    return 0


@cli.command()
@click.argument("source")
@click.option("--config", type=_FILE, help="The kernel's config.")
@click.option("--target", default="lab", show_default=True, help="Kind of kernel.")
@click.option("--case", type=_FILE, help="Take kind of kernel and config from this case instead.")
@click.option(
    "--run", "commands", multiple=True, metavar="COMMAND", help="Type this in the machine and print the answer; may be repeated."
)
@_json_option
def boot(source: str, config: Path | None, target: str, case: Path | None, commands: tuple[str, ...], *, as_json: bool) -> int:
    """Build SOURCE, boot it, run commands in it."""
    from kbench import primitives

    kernel = primitives.build(source, **_kind(config, target, case))
    with primitives.boot(kernel) as machine:
        answers = [(command, machine.run(command)) for command in commands]
        if as_json:
            _print_json(
                {
                    "boot_s": machine.boot_s,
                    "signature": kernel.signature,
                    "answers": [{"command": c, "stdout": a.stdout} for c, a in answers],
                }
            )
        else:
            click.echo(f"booted in {machine.boot_s:.2f} s")
            for command, answer in answers:
                click.echo(f"> {command}\n{answer.stdout}")
    return 0


@cli.command()
@click.argument("source")
@click.argument("reproducer", type=_FILE)
@click.option("--runs", default=10, show_default=True, help="Fresh machines to run it on.")
@click.option("--config", type=_FILE, help="The kernel's config.")
@click.option("--target", default="lab", show_default=True, help="Kind of kernel.")
@click.option("--case", type=_FILE, help="Take kind of kernel and config from this case instead.")
@click.option("--consoles", type=_FOLDER, help="Keep the serial consoles here.")
@_json_option
def repro(
    source: str,
    reproducer: Path,
    runs: int,
    config: Path | None,
    target: str,
    case: Path | None,
    consoles: Path | None,
    *,
    as_json: bool,
) -> int:
    """Build SOURCE and run REPRODUCER on it, each time on a fresh machine."""
    from kbench import primitives

    kernel = primitives.build(source, **_kind(config, target, case))
    with tempfile.TemporaryDirectory(prefix="kbench-consoles-") as passing:
        found = primitives.repro(kernel, reproducer, runs=runs, consoles=consoles or Path(passing))
    if as_json:
        rate = found.rate
        _print_json(
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
            click.echo(f"run #{number}: {run}")
        click.echo(f"rate {found.rate}")
    return 0


@cli.command()
@click.argument("case", type=_FILE)
@click.option("--strategy", default="", help="git or syzkaller; the case's own by default.")
@click.option("--output", type=_FOLDER, help="Folder for journal, consoles and report; CASE.kbench beside CASE.toml by default.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a key of the case; may be repeated.")
@_json_option
def bisect(case: Path, strategy: str, output: Path | None, settings: tuple[str, ...], *, as_json: bool) -> int:
    """Bisect CASE to its end, or go on where its journal stands."""
    from kbench import primitives

    found = primitives.bisect(case, output=output, **({"strategy": strategy} | _settings(settings)))
    return _print_bisection(found, as_json=as_json)


@cli.command()
@click.argument("case", type=_FILE)
@click.option("--strategy", default="", help="As given to `kbench bisect`.")
@click.option("--output", type=_FOLDER, help="As given to `kbench bisect`.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="As given to `kbench bisect`.")
@_json_option
def report(case: Path, strategy: str, output: Path | None, settings: tuple[str, ...], *, as_json: bool) -> int:
    """Write the report of CASE again from its journal, ended or not; nothing is built or run."""
    from kbench import primitives

    found = primitives.report(case, output=output, **({"strategy": strategy} | _settings(settings)))
    return _print_bisection(found, as_json=as_json)


@cli.command()
@click.argument("log", type=_FILE)
@click.option("--output", type=_FOLDER, help="Write the pictures and the page here.")
@_json_option
def replay(log: Path, output: Path | None, *, as_json: bool) -> int:
    """Read a bisection LOG, kbench's or syzbot's, show its steps and draw them."""
    from kbench.replay import replay_log, replay_rows, replay_summary

    found = replay_log(log)
    files = found.draw(output) if output else []
    if as_json:
        _print_json(found.to_json() | {"files": files})
    else:
        _print_table(("stage", "revision", "verdict", "runs", "left", "titles"), replay_rows(found.view))
        click.echo(replay_summary(found.view))
        for path in files:
            click.echo(f"drawn: {path}")
    return 0


@cli.command()
@click.option("--strategies", default="git,syzkaller", show_default=True, help="Which strategies to compare, on the same worlds.")
@click.option("--trials", default=50, show_default=True, help="Worlds drawn.")
@click.option("--commits", default=300, show_default=True, help="Candidates in each.")
@click.option("--rate", default=1.0, show_default=True, help="Reproduction rate of the bug.")
@click.option("--skips", default=0.0, show_default=True, help="Share of commits that cannot be tested.")
@click.option("--seed", default=0, show_default=True)
@_json_option
def study(strategies: str, trials: int, commits: int, rate: float, skips: float, seed: int, *, as_json: bool) -> int:
    """Run many simulated bisections against a known truth: how often right, how often wrong, at what cost."""
    from kbench.study import compare

    scores = compare(strategies.split(","), trials=trials, commits=commits, rate=rate, skips=skips, seed=seed)
    if as_json:
        _print_json([asdict(score) for score in scores])
    else:
        _print_table(
            ("strategy", "right", "wrong", "none", "builds", "runs", "hours"),
            (
                (
                    s.strategy,
                    f"{s.right:.1%}",
                    f"{s.wrong:.1%}",
                    f"{s.none:.1%}",
                    f"{s.builds:.1f}",
                    f"{s.runs:.0f}",
                    f"{s.hours:.2f}",
                )
                for s in scores
            ),
        )
    return 0


def _kind(config: Path | None, target: str, case: Path | None) -> dict[str, Any]:
    """Return what a kernel is built with: as named, or as a case has it."""
    if case is None:
        return {"config": config, "target": target}
    from kbench.bisection import load_case

    found = load_case(case)
    return {"config": config or (found.path(found.config) if found.config else None), "target": found.resolve()}


def _print_bisection(found: BisectionReport, *, as_json: bool) -> int:
    """Print a bisection, ended or not, and return the exit code it comes to."""
    result = found.result
    if as_json:
        files = {"report": found.report_path, "log": found.log_path, "journal": found.journal_path}
        _print_json((result.to_json() if result else {"outcome": None, "culprit": None}) | files)
    else:
        click.echo(found.log(), nl=False)
        click.echo(f"\n{found!r}\nreport: {found.report_path}\njournal: {found.journal_path}", err=True)
    return 0 if result and result.outcome == "culprit" else 1


def _settings(pairs: Iterable[str]) -> dict[str, Any]:
    """Read KEY=VALUE pairs; a value is TOML where it parses as such and the key does not take text, else text."""
    import tomllib

    from kbench.bisection.case import KEYS, make_case

    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals:
            raise InputError(f"--set: expected KEY=VALUE, got {pair!r}; add the value")
        try:
            parsed = tomllib.loads(f"v = {value}")["v"]
        except tomllib.TOMLDecodeError:
            parsed = value
        # An abbreviated hash may look like a number.
        takes_text = "str" in str(KEYS.get(key, "")) or "_Words" in str(KEYS.get(key, ""))
        settings[key] = value if takes_text and isinstance(parsed, int | float | bool) else parsed
    if settings:
        make_case({"repository": "", "bad": ""} | settings, folder=Path(), where="--set")
    return settings


def main() -> None:
    """Run the command line; the process's exit code says how it went."""
    try:
        code = cli.main(standalone_mode=False)
    except KbenchError as error:
        click.echo(f"kbench: {error}", err=True)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("kbench: stopped; start it again to go on", err=True)
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    except OSError as error:
        click.echo(f"kbench: output: expected to write it, {error.strerror or error}; free some room", err=True)
        code = 3
    sys.exit(code or 0)
