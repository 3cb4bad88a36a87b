"""What every command shares: --json, tables, the types of arguments."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from kbench.errors import KbenchError
from kbench.text import clean

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path)


def json_option(command: Any) -> Any:
    """Add --json; errors then come as JSON as well, on standard output."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    @wraps(command)
    def wrapped(*args: Any, as_json: bool, **kwargs: Any) -> Any:
        try:
            return command(*args, as_json=as_json, **kwargs)
        except KbenchError as error:
            if as_json:
                print_json({"error": str(error), "exit_code": error.exit_code})
            raise

    return wrapped


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print what a kernel, a log or a commit may have had a hand in: a terminal is shown it, and not steered by it."""
    stream = sys.stderr if err else sys.stdout
    click.echo(clean(text) if stream.isatty() else text, err=err, nl=nl)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(clean(str(cell))) for cell in row))
    console = Console()
    Console(width=None if console.is_terminal else 200).print(table)
