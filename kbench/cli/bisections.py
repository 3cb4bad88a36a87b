"""`kbench bisect`, `report`, `replay`: searches of real kernels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kbench.cli.output import FILE, FOLDER, json_option, print_json, print_table, say
from kbench.errors import InputError

if TYPE_CHECKING:
    from kbench.primitives import BisectionReport


def _of_a_case(command: Any) -> Any:
    """Add what says which bisection of which case is meant."""
    for option in (
        click.option(
            "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a key of the case; may be repeated."
        ),
        click.option("--output", type=FOLDER, help="Folder for all that is kept; CASE.kbench beside CASE.toml by default."),
        click.option("--strategy", default="", help="git or syzkaller; the case's own by default."),
        click.argument("case", type=FILE),
    ):
        command = option(command)
    return command


@click.command()
@_of_a_case
@json_option
def bisect(case: Path, strategy: str, output: Path | None, settings: tuple[str, ...], *, as_json: bool) -> int:
    """Bisect CASE to its end, or go on where its journal stands."""
    from kbench import primitives

    found = primitives.bisect(case, output=output, **({"strategy": strategy} | _settings(settings)))
    return _print_bisection(found, as_json=as_json)


@click.command()
@_of_a_case
@json_option
def report(case: Path, strategy: str, output: Path | None, settings: tuple[str, ...], *, as_json: bool) -> int:
    """Write the report of CASE again from its journal, ended or not; nothing is built or run."""
    from kbench import primitives

    found = primitives.report(case, output=output, **({"strategy": strategy} | _settings(settings)))
    return _print_bisection(found, as_json=as_json)


@click.command()
@click.argument("log", type=FILE)
@click.option("--output", type=FOLDER, help="Write the pictures and the page here.")
@json_option
def replay(log: Path, output: Path | None, *, as_json: bool) -> int:
    """Read a bisection LOG, kbench's or syzbot's, show its steps and draw them."""
    from kbench.replay import replay_log, replay_rows, replay_summary

    found = replay_log(log)
    files = found.draw(output) if output else []
    if as_json:
        print_json(found.to_json() | {"files": files})
    else:
        print_table(("stage", "revision", "verdict", "runs", "left", "titles"), replay_rows(found.view))
        say(replay_summary(found.view))
        for path in files:
            say(f"drawn: {path}")
    return 0


def _print_bisection(found: BisectionReport, *, as_json: bool) -> int:
    """Print a bisection, ended or not, and return the exit code it comes to."""
    result = found.result
    if as_json:
        files = {"report": found.report_path, "log": found.log_path, "journal": found.journal_path}
        print_json((result.to_json() if result else {"outcome": None, "culprit": None}) | files)
    else:
        say(found.log(), nl=False)
        say(f"\n{found!r}\nreport: {found.report_path}\njournal: {found.journal_path}", err=True)
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
