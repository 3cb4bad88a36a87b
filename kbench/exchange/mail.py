"""A report that can be mailed as it is: plain text of 72 columns with its headers. Read `mail_report`. Pure."""

from __future__ import annotations

import textwrap
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr

from kbench.records import BisectionView, Outcome, Step
from kbench.text import clean, clean_line
from kbench.widgets import rows

WIDTH = 72
#: Lines of the crash report that go into a mail.
MAX_REPORT_LINES = 60


def mail_report(view: BisectionView, *, reproduce: str = "", sender: str = "") -> EmailMessage:
    """Return the answer of a bisection as a mail; `bytes(message)` is what `git send-email` or a mailer takes.

    Parameters
    ----------
    view : BisectionView
        Ended or not.
    reproduce : str
        How to see it again, e.g. the reproducer; after the text, as it is but for what hides or reorders characters.
    sender : str
        For the From header; left out when empty.
    """
    message = EmailMessage(policy=SMTP.clone(max_line_length=78))
    message["Subject"] = _subject(view)
    if people := list(filter(None, map(_address, view.recipients))):
        message["To"] = people
    if found := _address(sender):
        message["From"] = found
    # 8bit keeps every line as written: quoted-printable would break a Fixes line that is copied from the source.
    message.set_content(report_text(view, reproduce=reproduce), cte="8bit")
    return message


def report_text(view: BisectionView, *, reproduce: str = "") -> str:
    """Return the text of the mail: the answer, how sure, rates with their 95% intervals, the proof, how to reproduce."""
    parts = [_fill(f"kbench bisected {clean_line(view.name)}: {rows.answer(view)}.")]
    if view.culprit:
        what = "Fixed by" if view.kind == "fix" else "Fixes"
        parts.append(f'{what}: {view.culprit[:12]} ("{clean_line(view.culprit_subject)}")')
    parts.append(_sure(view))
    parts.append(
        "Crashes by revision, with the 95% interval of the crash rate:\n\n" + "\n".join(map(_rate, rows.rate_rows(view)))
    )
    if crashes := _titles(view):
        parts.append("Seen as:\n\n" + "\n".join(crashes))
    if view.crash_report:
        report = [line.rstrip() for line in clean(view.crash_report).splitlines()]
        left_out = [f"[{len(report) - MAX_REPORT_LINES} lines left out]"] if len(report) > MAX_REPORT_LINES else []
        parts.append("Crash report:\n\n" + _quoted("\n".join([*report[:MAX_REPORT_LINES], *left_out])))
    if reproduce:
        parts.append("How to reproduce:\n\n" + _quoted(clean(reproduce)))
    return "\n\n".join(filter(None, parts)) + "\n"


def _subject(view: BisectionView) -> str:
    crash = next((step.titles.most_common(1)[0][0] for step in view.steps if step.titles), "")
    word = "fixed by" if view.kind == "fix" else "caused by"
    found = f"{word} {view.culprit[:12]}" if view.culprit else (view.outcome or "not ended")
    return f"[bisected] {clean_line(crash or view.name, 120)}: {clean_line(found, 60)}"


def _address(text: str) -> Address | None:
    """Return a recipient as a header may hold it; None for what is no address."""
    name, address = parseaddr(clean_line(text.split("\n", 1)[0]))
    try:
        return Address(clean_line(name), addr_spec=address) if address else None
    except (ValueError, IndexError, HeaderParseError):
        return None


def _sure(view: BisectionView) -> str:
    told = []
    if view.confidence is not None:
        told.append(f"How sure: {rows.percent(view.confidence)}.")
    if view.proof:
        told.append(f"Closing proof, runs that show the bug: {rows.proof(view)}.")
    if view.noop:
        told.append("Culprit and parent make the same kernel: do not believe it.")
    others = [f"{commit[:12]} {rows.percent(p)}" for commit, p in view.candidates[:5] if commit != view.culprit]
    if others:
        told.append(f"{'Otherwise' if view.culprit else 'Candidates'}: {', '.join(others)}.")
    told.append(f"{rows.candidates(view) or 'Range not known'}; build {view.build_s:.0f} s, test {view.test_s:.0f} s.")
    return _fill(" ".join(told))


def _rate(row: rows.Row) -> str:
    counts = f"{row['crashed']}/{row['total']}"
    interval = f"{row['rate']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" if row["total"] else "no run"
    line = f"{row['commit'][:12]} {row['verdict'] or '-':<4} {counts:>7} {interval:<18} {row['subject']}"
    return "  " + line[: WIDTH - 2].rstrip()


def _titles(view: BisectionView) -> list[str]:
    steps: dict[str, Step] = {step.commit: step for step in view.steps if step.counts[Outcome.CRASHED]}
    return [f"  {clean_line(title, WIDTH - 2)}" for title in dict.fromkeys(t for step in steps.values() for t in step.titles)][
        :10
    ]


def _fill(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=True, break_on_hyphens=False)


def _quoted(text: str) -> str:
    # Indented: no line can be taken for a signature mark, a patch or an mbox "From ".
    return "\n".join(
        part for line in text.splitlines() for part in textwrap.wrap(line, WIDTH - 2, initial_indent="  ", subsequent_indent="  ",
        drop_whitespace=False, replace_whitespace=False) or [""]
    )  # fmt: skip
