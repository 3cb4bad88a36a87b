"""`kbench lab`: histories with a known culprit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kbench.cli.output import FOLDER, json_option, print_json
from kbench.errors import InputError

if TYPE_CHECKING:
    from kbench.lab import Lab

#: By kernel: the kind and the number of commits when none is given, and the notebook that bisects it.
_DEFAULTS = {"lab": ("uaf", 300, "bisect"), "linux": ("pipe-flags", 120, "linux")}


def _lab_options(command: Any) -> Any:
    """Add what says which lab to make."""
    for option in (
        click.option("--rate", type=float, help="Reproduction rate, for kind rare of the lab kernel; 0.3 by default."),
        click.option("--target", help="What the Linux lab is built for: um or qemu-x86_64; um by default."),
        click.option("--source", type=click.Path(path_type=Path), help="Linux tree, tar or REPOSITORY@REVISION; Debian's."),
        click.option("--commits", type=int, help="Length of the history; 300, or 120 of Linux, by default."),
        click.option("--kind", default="", help="What the culprit breaks; `kbench lab kinds` lists them."),
        click.option("--seed", default=1, show_default=True, help="The same seed gives the same history, to the hash."),
        click.option("--kernel", type=click.Choice(list(_DEFAULTS)), default="lab", show_default=True, help="Whose history."),
    ):
        command = option(command)
    return command


@click.group()
def lab() -> None:
    """Histories with a known culprit, to learn on and to measure with."""


@lab.command("kinds")
@json_option
def lab_kinds(*, as_json: bool) -> int:
    """List what can be planted, for the lab kernel and for Linux."""
    from kbench.lab import KINDS
    from kbench.lab.linux import KINDS as LINUX_KINDS

    kinds = {"lab": list(KINDS), "linux": list(LINUX_KINDS)}
    if as_json:
        print_json(kinds)
    else:
        for kernel, names in kinds.items():
            click.echo(f"{kernel}: {', '.join(names)}")
    return 0


@lab.command("create")
@click.argument("directory", type=FOLDER)
@_lab_options
@json_option
def lab_create(directory: Path, *, as_json: bool, **options: Any) -> int:
    """Make a git repository with a planted culprit in DIRECTORY, with a case and the truth beside it."""
    made = _maker(**options)(directory)
    if as_json:
        print_json(asdict(made))
    else:
        click.echo(f"{made.repository}: a history with a planted {made.kind}\nnext: kbench bisect {made.case}")
    return 0


@lab.command("demo")
@click.argument("directory", type=FOLDER, default=Path("out/demo"))
@_lab_options
@json_option
def lab_demo(directory: Path, *, as_json: bool, **options: Any) -> int:
    """A whole bisection of such a history by a notebook through papermill, told step by step."""
    from kbench.demo import run_demo

    return run_demo(
        directory,
        make_lab=_maker(**options),
        notebook=_DEFAULTS[options["kernel"]][2],
        say=(lambda _: None) if as_json else click.echo,
        show=print_json if as_json else None,
    )


def _maker(*, kernel: str, seed: int, kind: str, commits: int | None, **more: Any) -> Callable[[Path], Lab]:
    """Return what makes the lab the options describe."""
    known = {"lab": ("rate",), "linux": ("source", "target")}[kernel]
    given = {name: value for name, value in more.items() if value is not None}
    if foreign := sorted(set(given) - set(known)):
        raise InputError(f"lab: expected options of --kernel {kernel}, got --{foreign[0]}; leave it out")
    default_kind, default_commits, _ = _DEFAULTS[kernel]
    chosen: dict[str, Any] = {"seed": seed, "kind": kind or default_kind, "commits": commits or default_commits, **given}
    if kernel == "lab":
        from kbench.lab import create

        return partial(create, **chosen)
    from kbench.lab.linux import create_linux

    return partial(create_linux, **chosen)
