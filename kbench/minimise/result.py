"""What a minimisation came to, and how it reads. Pure; read `MinimisedConfig` first."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kbench.flakiness import Rate
from kbench.minimise.options import Setting
from kbench.records import Verdict
from kbench.search.ddmin import Keep

#: Names in one line of the table.
MAX_NAMES = 12


@dataclass(frozen=True, slots=True)
class ConfigTest:
    """One config that was tried."""

    kept: frozenset[Setting]  # where it differs from the baseline; as asked for when it did not build
    verdict: Verdict  # BAD: it still crashes; GOOD: not, or too rarely; SKIP: that cannot be said
    crashed: int = 0  # runs that ended with the bug's crash
    clean: int = 0
    useless: int = 0  # runs that say nothing: no boot, another crash, a machine that broke
    signature: str = ""
    failure: str = ""  # the build's first error
    cached: bool = False  # the kernel was there already
    n_runs: int = 0  # of its own; 0: it is the kernel of an earlier test, and these are its figures


@dataclass(frozen=True, slots=True)
class KeptOption:
    """An option that stays, and why: the runs of the config nearest to the result that does not have it."""

    setting: Setting
    why: str  # a value of `Keep`
    crashed: int = 0
    runs: int = 0  # 0: there is no such config
    others: int = 0  # options of the result that it does not have either


@dataclass(frozen=True, slots=True)
class MinimisedConfig:
    """What is known of the smallest config, at the end or at any moment before."""

    name: str  # of the case
    commit: str  # 40 hex digits
    config: str  # the whole .config of the smallest kernel that is known to crash
    kept: tuple[KeptOption, ...]  # where it differs from the baseline
    dropped: tuple[Setting, ...]
    complete: bool  # nothing is left to try; else the budget was spent, or it is still running
    before: Rate  # of crashes with the case's config
    after: Rate
    tests: tuple[ConfigTest, ...]  # in their order, the case's config first
    builds: int  # kernels that were needed: the case's, the baseline's and those tried
    build_s: float  # wall clock until they were there
    test_s: float  # wall clock of the runs
    path: Path | None = None  # where the config was written

    @property
    def runs(self) -> int:
        """Runs of all tests."""
        return sum(test.n_runs for test in self.tests)

    @property
    def untested(self) -> tuple[Setting, ...]:
        """Options that stay because the budget was spent before they were tried."""
        return tuple(option.setting for option in self.kept if option.why == Keep.UNTESTED.value)

    def headline(self) -> str:
        """One line: how many options stay, the crash rates, the costs."""
        return (
            f"{self.name}: {len(self.kept)} of {len(self.kept) + len(self.dropped)} options stay; crash rate {self.before} with "
            f"all, {self.after} now; {self.builds} kernels in {self.build_s:.0f} s, {self.runs} runs in {self.test_s:.0f} s"
        )

    def rows(self) -> list[tuple[str, str, str]]:
        """Return one line an option that stays: the option, why, what runs without it showed."""
        return [(str(option.setting), option.why, _evidence(option)) for option in self.kept]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values: what `--json` prints. The config itself is in `path`."""
        names = ("name", "commit", "complete", "builds", "runs", "build_s", "test_s")
        return {name: getattr(self, name) for name in names} | {
            "kept": [{**one.setting._asdict(), "why": one.why, "crashed": one.crashed, "runs": one.runs} for one in self.kept],
            "dropped": [one._asdict() for one in self.dropped],
            "before": asdict(self.before),
            "after": asdict(self.after),
            "path": str(self.path) if self.path else None,
        }

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
        lines = [f"  {option:{widths[0]}}  {why:{widths[1]}}  {seen}".rstrip() for option, why, seen in rows]
        return "\n".join([self.headline(), *lines, *self._footer()])

    def _repr_html_(self) -> str:
        rows = "".join("<tr>" + "".join(f"<td>{_escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows())
        heads = "<tr><th>option</th><th>stays because</th><th>without it</th></tr>"
        footer = "".join(f"<p>{_escape(line)}</p>" for line in self._footer())
        return f"<p>{_escape(self.headline())}</p><table><thead>{heads}</thead>{rows}</table>{footer}"

    def _footer(self) -> list[str]:
        lines = [f"dropped: {_names(self.dropped)}"]
        if not self.complete and self.untested:
            lines.append(f"not tried: {_names(self.untested)}; raise builds to try them")
        elif not self.complete:
            lines.append("not every option was tried alone; raise builds to be sure of them")
        return lines


def _evidence(option: KeptOption) -> str:
    if not option.runs:
        return ""
    others = f", without {option.others} others too" if option.others else ""
    return f"{option.crashed} of {option.runs} runs crash{others}"


def _names(options: Iterable[Setting]) -> str:
    names = list(map(str, options))
    return (", ".join(names[:MAX_NAMES]) or "none") + (f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else "")


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
