"""`kbench judge`: how far to trust the answer of a bisection, by its log."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kbench.cli.output import FILE, json_option, print_json, say
from kbench.errors import InputError, KbenchError
from kbench.text import clean_line

if TYPE_CHECKING:
    from kbench.opinion import Judgement
    from kbench.syzbot import BisectionLog

_REASONS = 6  # printed of one log


@click.command()
@click.argument("logs", nargs=-1, required=True, type=FILE)
@json_option
def judge(logs: tuple[Path, ...], *, as_json: bool) -> int:
    """Tell how likely the culprit a bisection log names is the true one, and why.

    LOGS are files, archives of them or folders; those most likely wrong come first.
    """
    from kbench import opinion
    from kbench.progress import Progress
    from kbench.study.archive import parse, read_files

    judged, failed = [], {}
    with Progress("judge", enabled=not as_json) as progress:
        for found in read_files(logs):
            progress.show(found.name)
            try:
                log = parse(found)
                judged.append((found.name, log, opinion.judge(log)))
            except KbenchError as error:
                failed[found.name] = str(error)
    if not judged and not failed:
        raise InputError(f"judge: expected logs in {', '.join(map(str, logs))}, found no file; name a folder that has some")
    judged.sort(key=lambda one: one[2].p_correct)
    if as_json:
        rows = [_row(*one) for one in judged]
        print_json({"judged": rows, "failed": failed})
    elif len(judged) == 1:
        _print(*judged[0])
    else:
        for name, log, judgement in judged:
            say(f"{judgement.p_correct:4.0%}  {name}  {_named(log)}  ({_first_reason(judgement)})")
    if not as_json:
        for name, reason in failed.items():
            say(f"{name}: {reason}", err=True)
    return 0 if judged else 2


def _row(name: str, log: BisectionLog, judgement: Judgement) -> dict[str, Any]:
    from kbench.opinion import doubt
    from kbench.syzbot import damage

    revisions = [
        {
            "commit": one.tested.step.commit,
            "stage": one.tested.step.stage,
            "crashing": one.tested.crashing,
            "p_bug": one.p_bug,
            "p_right": one.p_right,
            "doubt": doubt(one),
        }
        for one in judgement.revisions
    ]
    return {
        "log": name,
        "culprit": log.culprit[0] if log.culprit else None,
        "subject": log.culprit[1] if log.culprit else None,
        "p_correct": judgement.p_correct,
        "reasons": [asdict(reason) for reason in judgement.reasons],
        "revisions": revisions,
        "damage": damage(log),
    }


def _print(name: str, log: BisectionLog, judgement: Judgement) -> None:
    from kbench.opinion import doubt
    from kbench.syzbot import damage

    say(f"{name}: {_named(log)}\nP(it is the culprit) = {judgement.p_correct:.0%}")
    for reason in judgement.reasons[:_REASONS]:
        say(f"  {reason.weight:+.2f}  {reason.words}")
    for one in judgement.revisions:
        if words := doubt(one):
            where = f"{one.tested.step.commit[:12]} ({one.tested.step.stage})"
            click.echo(clean_line(f"doubtful: {where}, {one.p_right:.0%} right: {words}", 600))
    for words in damage(log):
        say(f"damaged: {words}")


def _first_reason(judgement: Judgement) -> str:
    return judgement.reasons[0].words if judgement.reasons else "nothing speaks for or against it"


def _named(log: BisectionLog) -> str:
    return f"{log.culprit[0][:12]} {clean_line(log.culprit[1])}" if log.culprit else f"a list of {len(log.candidates)} commits"
