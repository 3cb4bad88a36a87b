"""`kbench pack`, `unpack`, `git-log`, `mail`, `table`: a bisection in the forms others take."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kbench.cli.output import FILE, FOLDER, json_option, print_json, say
from kbench.errors import InputError

_OUTPUT = click.option("--output", type=FOLDER, help="The bisection's folder; CASE.kbench beside CASE.toml by default.")
_STRATEGY = click.option("--strategy", default="", help="The bisection's strategy; the case's own by default.")


@click.command()
@click.argument("case", type=FILE)
@_OUTPUT
@_STRATEGY
@click.option("-o", "--file", type=FILE, required=True, help="The file to write.")
@json_option
def pack(case: Path, output: Path | None, strategy: str, file: Path, *, as_json: bool) -> int:
    """Write the bisection of CASE, ended or not, into one file for another machine."""
    from kbench import primitives

    primitives.report(case, output=output, strategy=strategy).pack(file)
    if as_json:
        print_json({"file": file, "bytes": file.stat().st_size})
    else:
        say(f"{file}: {file.stat().st_size:,} bytes")
    return 0


@click.command()
@click.argument("file", type=FILE)
@click.option("-o", "--output", type=FOLDER, help="A new folder for it; FILE without its ending by default.")
@json_option
def unpack(file: Path, output: Path | None, *, as_json: bool) -> int:
    """Open a bisection that was packed in FILE and show it; nothing in it is run."""
    from kbench.exchange.archive import unpack as unpack_file

    found = unpack_file(file, output or file.with_suffix(".unpacked"))
    page = found.write()
    if as_json:
        view = found.view
        print_json({"outcome": view.outcome, "culprit": view.culprit, "confidence": view.confidence, "report": page})
    else:
        say(found.log(), nl=False)
        say(f"report: {page}", err=True)
    return 0


@click.command("git-log")
@click.argument("source", type=FILE)
@_OUTPUT
@_STRATEGY
@click.option(
    "--read", is_flag=True, help="SOURCE is what `git bisect log` printed: print the ends of a case that goes on there."
)
def git_log(source: Path, output: Path | None, strategy: str, *, read: bool) -> int:
    """Print the bisection of the case SOURCE for `git bisect replay`."""
    from kbench import primitives
    from kbench.exchange.gitlog import read_git_log

    if read:
        if not source.is_file():
            raise InputError(f"git log: expected a file at {source}, found none; give what `git bisect log` prints")
        keys = read_git_log(source.read_text(encoding="utf-8", errors="replace")).keys()
        say("\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items()))  # such text is JSON and TOML
    else:
        say(primitives.report(source, output=output, strategy=strategy).git_log(), nl=False)
    return 0


@click.command()
@click.argument("case", type=FILE)
@_OUTPUT
@_STRATEGY
def mail(case: Path, output: Path | None, strategy: str) -> int:
    """Print the bisection of CASE as a mail, its headers first."""
    from kbench import primitives

    click.echo(bytes(primitives.report(case, output=output, strategy=strategy).mail()).replace(b"\r\n", b"\n"), nl=False)
    return 0


@click.command()
@click.argument("case", type=FILE)
@_OUTPUT
@_STRATEGY
@click.option("--of", type=click.Choice(["revisions", "runs", "candidates"]), default="revisions", show_default=True)
@click.option("-o", "--file", type=FILE, required=True, help="The file to write, .csv or .parquet.")
def table(case: Path, output: Path | None, strategy: str, of: str, file: Path) -> int:
    """Write a tidy table of the bisection of CASE."""
    from kbench import primitives
    from kbench.exchange.tabulate import table as make_table
    from kbench.exchange.tabulate import write_table

    write_table(make_table(primitives.report(case, output=output, strategy=strategy).view, of), file)
    return 0
