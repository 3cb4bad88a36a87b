"""`kbench doctor`: what this machine has for kbench, and how well it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

import click

from kbench.cli.output import json_option, print_json

if TYPE_CHECKING:
    from rich.text import Text

    from kbench.doctor import Check
    from kbench.speed import Estimate, Speed

    Row = tuple[Text, str, Text]

_MARKS = {True: ("✔", "green"), False: ("✘", "bold red"), None: ("○", "yellow")}


@click.command()
@click.option("--bench", is_flag=True, help="Measure build, boot and run, and say how long a bisection of Linux takes here.")
@json_option
def doctor(*, bench: bool, as_json: bool) -> int:
    """Look at what this machine has for kbench, and say what to install; exit code 3 when it cannot do without."""
    from kbench.doctor import examine, install_line

    checks = examine()
    ready = all(check.ok for check in checks if check.needed)
    line = install_line(checks)
    measured = _measure() if bench and ready else None
    if as_json:
        speed = measured and {**asdict(measured[0]), "linux": asdict(measured[1])}
        print_json({"ready": ready, "install": line, "checks": [asdict(check) for check in checks], "speed": speed})
    else:
        _print(checks, line, measured)
    return 0 if ready else 3


def _measure() -> tuple[Speed, Estimate]:
    from kbench.progress import Progress
    from kbench.speed import bisection_of_linux, measure

    with Progress("measuring") as progress:
        speed = measure(progress.show)
    return speed, bisection_of_linux(speed)


def _print(checks: Sequence[Check], line: str, measured: tuple[Speed, Estimate] | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)

    def show(rows: list[Row], title: str) -> None:
        if not console.is_terminal:  # a line each, for grep
            click.echo("\n".join(["", title, *(f"{mark} {name:<22} {text}".rstrip() for mark, name, text in rows)]))
            return
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, min_width=22)
        table.add_column(overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(Text(f"\n{title}", style="bold"))
        console.print(table)

    for group, members in groupby(checks, key=lambda check: check.group):
        show([_row(check) for check in members], group)
    if measured is not None:
        show(_speed_rows(*measured), "how fast")
    missing = [check.name for check in checks if check.needed and not check.ok]
    verdict = f"kbench cannot work without {', '.join(missing)}" if missing else "everything that is needed is there"
    console.print(Text(f"\n{verdict}", style="bold red" if missing else "bold green"), soft_wrap=True)
    if line:
        console.print(Text(f"{'install' if missing else 'to do more, install'}:  {line}"), soft_wrap=True)


def _row(check: Check) -> Row:
    from rich.text import Text

    mark, style = _MARKS[check.ok or (False if check.needed else None)]
    found = Text(check.found)
    if not check.ok:
        found.append(f"  → {check.advice}", style=style)
    return Text(mark, style=style), check.name, found


def _speed_rows(speed: Speed, linux: Estimate) -> list[Row]:
    from rich.text import Text

    from kbench.speed import words

    told = {
        "build": f"the lab kernel in {words(speed.build_s)}, {words(speed.build_cpu_s)} of compiling on {speed.cores} cores",
        "boot": f"in {words(speed.boot_s)}, {'with KVM' if speed.accelerator == 'kvm' else 'emulated'}",
        "run": f"{words(speed.run_s)} each, {speed.cores} at once: {speed.runs_per_s:.1f} a second",
        "a bisection of Linux": f"{linux}",
        "": linux.rests_on,
    }
    return [(Text("·"), name, Text(text, style="bold" if text == str(linux) else "")) for name, text in told.items()]
