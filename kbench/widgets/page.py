"""One bisection as one self-contained HTML page: works from a disk, offline, and on paper. Read `html_report` first.

Every string of a kernel, a log or a commit goes through `_text` or `assets.data_script`; the page's policy forbids all
network and every script and style but its own, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Mapping

from kbench.flakiness import rate
from kbench.records import BisectionView, Outcome, Step
from kbench.text import clean, clean_line, excerpt
from kbench.widgets import assets, payload, rows

_REPORT_CHARS = 64 * 1024  # of a crash report or a commit's text
_LOG_CHARS = 1024 * 1024

_HEADINGS = ("", "revision", "subject", "stage", "verdict", "runs", "crash rate", "reached", "left", "build s", "test s")


def html_report(view: BisectionView, *, log_text: str, facts: Mapping[str, str] | None = None) -> str:
    """Return the report of a bisection as an HTML page.

    Parameters
    ----------
    view : BisectionView
        What is reported; consoles are read from the paths its runs name.
    log_text : str
        The bisection log.
    facts : mapping, optional
        What else to say of the case, name to value, as text: repository, reproducer, compiler, machine.
    """
    style, module = assets.style("bisection.css", "page.css"), assets.page_module()
    body = "\n".join(part for part in _sections(view, log_text, facts or {}) if part)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(style, module)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{_line(view.name)}: {_text(rows.answer(view))}</title>
<style>{style}</style>
</head>
<body>
{body}
<script type="module">{module}</script>
</body>
</html>
"""


def summary_html(view: BisectionView) -> str:
    """Return a bisection's answer and main facts as a piece of HTML that neither runs nor loads anything."""
    return f"<div><strong>{_text(rows.answer(view))}</strong>\n{_facts(view, {})}</div>"


def _policy(style: str, module: str) -> str:
    return (
        f"default-src 'none'; script-src '{_digest(module)}'; style-src '{_digest(style)}'; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _sections(view: BisectionView, log_text: str, facts: Mapping[str, str]) -> Iterable[str]:
    yield _header(view, facts)
    yield _section("The search", _picture("search", view) + "<noscript><p>The table below has the same revisions.</p></noscript>")
    yield _section("Crash rates", _picture("rates", view))
    yield _section("Tested revisions", _revisions(view))
    yield _section("Notes", _notes(view))
    yield _section("Other candidates" if view.culprit else "Candidates", _candidates(view))
    yield _section("The culprit", _pre(view.culprit_text, _REPORT_CHARS))
    yield _section("The crash", _pre(view.crash_report, _REPORT_CHARS))
    yield _section("Costs", _costs(view))
    yield _section("Bisection log", _pre(log_text, _LOG_CHARS))


def _text(text: str) -> str:
    return html.escape(clean(text), quote=True)


def _line(text: str, limit: int = 200) -> str:
    return html.escape(clean_line(text, limit), quote=True)


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{content}\n</section>" if content else ""


def _pre(text: str, limit: int) -> str:
    return f"<pre>{html.escape(excerpt(clean(text), limit)[0], quote=True)}</pre>" if text.strip() else ""


def _picture(picture: str, view: BisectionView) -> str:
    return assets.placeholder(f"kbench-{picture}", payload.of(picture, view))


def _header(view: BisectionView, facts: Mapping[str, str]) -> str:
    return f"""<header>
<p class="over">{_line(view.kind)} bisection of {_line(view.name)}</p>
<h1>{_text(rows.answer(view))}</h1>
{_facts(view, facts)}
</header>"""


def _facts(view: BisectionView, facts: Mapping[str, str]) -> str:
    known = {
        "outcome": view.outcome or "still running",
        "confidence": "" if view.confidence is None else rows.percent(view.confidence),
        "culprit": view.culprit or "",
        "same kernel as parent": _NOOP[view.noop] if view.culprit else "",
        "closing proof": rows.proof(view),
        "strategy": view.strategy,
        "range": rows.candidates(view),
        "tested": f"{len(view.steps)} revisions, {rows.n_runs(view)} runs",
        "recipients": ", ".join(view.recipients),
        **facts,
    }
    items = "\n".join(f"<dt>{_line(name, 60)}</dt><dd>{_line(value, 2000)}</dd>" for name, value in known.items() if value)
    return f'<dl class="facts">\n{items}\n</dl>'


_NOOP = {
    True: "yes: the commit does not change what is compiled, so it can hardly be the culprit",
    False: "no: the commit changes the kernel",
    None: "not compared",
}


def _revisions(view: BisectionView) -> str:
    heads = "".join(f"<th{_NUMERIC if name in _NUMBERS else ''}>{name}</th>" for name in _HEADINGS)
    lines = "\n".join(_revision(number, step, view) for number, step in enumerate(view.steps, 1))
    table = f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{lines}\n</tbody></table>"
    return f'<div class="wide">{table}</div>' if lines else ""


def _notes(view: BisectionView) -> str:
    # Of each kernel what its neighbours in the table do not say as well, and why clean runs count or not.
    noted: dict[str, list[str]] = {}
    for step in view.steps:
        for note in (*step.notes, *([f"clean runs: {step.reach}"] if step.reach else [])):
            noted.setdefault(note, []).append(step.commit[:12])
    lines = "\n".join(
        f"<li>{_line(note, 600)} <code>{_line(', '.join(dict.fromkeys(commits)), 400)}</code></li>"
        for note, commits in noted.items()
    )
    return f"<ul>\n{lines}\n</ul>" if lines else ""


_NUMERIC = ' class="number"'
_NUMBERS = ("", "left", "build s", "test s")


def _revision(number: int, step: Step, view: BisectionView) -> str:
    culprit = ' class="culprit"' if step.commit == view.culprit else ""
    verdict = step.verdict.value if step.verdict else "not decided"
    left = "" if step.candidates_left is None else step.candidates_left
    crashed, reached = step.counts[Outcome.CRASHED], step.counts[Outcome.CRASHED] + step.counts[Outcome.OK]
    return (
        f"<tr{culprit}><td{_NUMERIC}>{number}</td><td><code>{_line(step.commit[:12])}</code></td>"
        f'<td class="text">{_line(step.subject)}</td><td>{_line(step.stage, 60)}</td>'
        f'<td class="{verdict.replace(" ", "-")}">{verdict}</td><td class="text">{_outcomes(step)}</td>'
        f'<td class="rate">{rate(crashed, reached) if reached else ""}</td>'
        f'<td title="{_line(step.reach, 400)}">{rows.reached(step)}</td><td{_NUMERIC}>{left}</td>'
        f"<td{_NUMERIC}>{'cached' if step.cached else f'{step.build_s:.1f}'}</td><td{_NUMERIC}>{step.test_s:.1f}</td></tr>"
    )


def _outcomes(step: Step) -> str:
    counted: dict[str, int] = {}
    for run in step.runs:
        counted[str(run)] = counted.get(str(run), 0) + 1
    same = f"same kernel as {step.same_as[:12]}: " if step.same_as else ""
    return same + ", ".join(f"{times}× {_line(outcome)}" for outcome, times in counted.items()) or _line(step.failure, 400)


def _candidates(view: BisectionView) -> str:
    others = [(commit, share) for commit, share in view.candidates if commit != view.culprit][:10]
    lines = "\n".join(
        f"<tr><td><code>{_line(commit[:12])}</code></td><td{_NUMERIC}>{rows.percent(share)}</td></tr>" for commit, share in others
    )
    heads = f"<thead><tr><th>commit</th><th{_NUMERIC}>probability</th></tr></thead>"
    more = len(view.candidates) - len(others) - (view.culprit is not None)
    note = f'<p class="note">and {more} more</p>' if more > 0 else ""
    return f"<table>{heads}<tbody>\n{lines}\n</tbody></table>{note}" if others else ""


def _costs(view: BisectionView) -> str:
    total = view.build_s + view.test_s
    if total <= 0:
        return ""
    built = sum(not step.cached and step.build_s > 0 for step in view.steps)
    build = 1000 * view.build_s / total
    return f"""<svg class="costs" viewBox="0 0 1000 18" preserveAspectRatio="none" role="img" aria-label="build against test">
<rect class="build" width="{build:.1f}" height="18"/>
<rect class="test" x="{build:.1f}" width="{1000 - build:.1f}" height="18"/>
</svg>
<p class="legend"><span class="build">■</span> {view.build_s:.1f} s in {built} builds
<span class="test">■</span> {view.test_s:.1f} s in {rows.n_runs(view)} runs</p>"""
