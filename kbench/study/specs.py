"""Which worlds are drawn, as data. Read `WorldSpec` first; `WORLDS` names some."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any

from kbench.errors import InputError
from kbench.resources import data_dir
from kbench.search.suspects import SHARE


@dataclass(frozen=True, slots=True)
class Intruder:
    """Other bugs that the reproducer sets off, seen on revisions without the bug."""

    p: float  # of a world
    p_rare: float  # of those: rate uniform up to RARE, else Beta(a, b)
    a: float
    b: float


@dataclass(frozen=True, slots=True)
class Reality:
    """What real bisections are like; everything is P() of a world unless it says otherwise."""

    p_one: float  # rate of exactly 1, else Beta(rate_a, rate_b): low ones do not show on the original commit
    rate_a: float
    rate_b: float
    p_drift: float  # the rate is Beta(drift_a, drift_b) in a stretch
    drift_a: float
    drift_b: float
    depth: tuple[float, ...]  # entry k - 1: the k-th release back is the first without the bug; the last entry is "more"
    releases: tuple[int, ...]  # how many there are to walk back over, equally likely
    silent_release: tuple[float, ...]  # entry k - 1: P(silent on the k-th release back | it shows on those before), whole ones
    silent_range: float  # silent from the culprit on, for a part of the way
    changed_release: float  # of a release: going back, the bug shows with other titles from here on
    changed_range: float
    p_changed_function: float  # of a changed title: it has the function of the first
    p_changed_kind: float  # it has its kind only
    p_second_title: float  # the bug has two titles, and each shows
    intruder_release: Intruder  # on the first release without the bug
    intruder_range: Intruder  # begins between that and the next release
    p_again: float  # and on one more release back
    p_disguised: float  # of an intruder: it has a title of the bug
    p_intruder_kind: float  # of one that has not: its kind
    noise: float  # of a run: a crash that has nothing to do with anything
    untestable_release: float  # of a release: this one and all before cannot be tested
    untestable_range: tuple[float, ...]  # shares of a range that cannot be tested, equally likely
    p_untested: float  # of the original commit
    touching_missed: float  # where the bug falls silent, changes its title or its rate: such a commit touches the trace
    touching_alarm: float  # where an intruder begins
    sd_pace: float  # of the logarithm of how long builds and runs take


@dataclass(frozen=True, slots=True)
class WorldSpec:
    """A kind of worlds. A run is one of the reproducer on one revision.

    Raises
    ------
    InputError
        A number outside of its range.
    """

    name: str
    about: str
    commits: int = 1002  # candidates, or commits from release to release
    rate: float = 1.0  # reproduction rate, above 0
    first_runs: tuple[int, ...] = ()  # runs of the original commit told first and paid for, drawn; (): it is not told
    limit_h: float = 100.0  # a search that spent so many hours is stopped
    false_alarms: float = 0.0  # of a run: a crash with a foreign title
    skips: float = 0.0  # share of the commits that cannot be tested, in stretches
    noops: float = 0.0  # share of the commits, merges not counted, that make the same kernel as their parent
    touching: float = 0.0  # share of the commits that touch a file of the crash's trace
    p_touching: float = 0.0  # P(the culprit touches one)
    prior: float = 0.0  # belief that it does
    hands_prior: bool = True  # that belief is handed to the search, spread over those commits
    liveness: float = 0.0  # of a world: it is seen of each clean revision whether the reproducer gets to the code that crashes
    reality: Reality | None = None  # releases, no good end, and everything as in real bisections

    def __post_init__(self) -> None:
        for name, fine in (
            ("commits", self.commits >= 2),
            ("rate", 0 < self.rate <= 1),
            ("false_alarms", 0 <= self.false_alarms < 1),
            ("skips", 0 <= self.skips < 1),
            ("noops", 0 <= self.noops < 1),
            ("touching", 0 <= self.touching < 1),
            ("p_touching", 0 <= self.p_touching <= 1),
            ("prior", 0 <= self.prior < 1),
            # Real worlds have their own rates and skips.
            ("rate", self.reality is None or self.rate == 1),
            ("skips", self.reality is None or not self.skips),
        ):
            if not fine:
                raise InputError(f"study: {name} is out of range, got {getattr(self, name)}; see `kbench study --help`")


RARE = 0.15  # a rare intruder shows in fewer runs than this

# Some 14,000 commits of a release touch three files each, of 80,000: a file is touched every other release. Those in a trace are
# busier, ten times a release or so, and there are some ten of them.
_TOUCHING = 0.01
_TRACE: dict[str, Any] = {"rate": 0.5, "touching": _TOUCHING, "prior": SHARE}


def world_spec(name: str) -> WorldSpec:
    """Return the worlds of a name; "syzbot" and "syzbot-liveness" are made from data/priors.json.

    Raises
    ------
    InputError
        No such name.
    """
    if name == "syzbot":
        return syzbot_spec()
    if name == "syzbot-liveness":
        about = "like syzbot's, where it is seen of every clean revision whether the reproducer got there"
        return replace(syzbot_spec(), name=name, about=about, liveness=1.0)
    if name not in WORLDS:
        known = sorted([*WORLDS, "syzbot", "syzbot-liveness"])
        raise InputError(f"study: expected a world of {', '.join(known)}, seen {name!r}; choose among them")
    return WORLDS[name]


WORLDS: Mapping[str, WorldSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            WorldSpec("kernel", "a range shaped like Linux, uniform culprit, no false alarms"),
            WorldSpec(
                "noisy",
                "2% of the runs crash elsewhere, 10% of the commits cannot be tested, half make their parent's kernel",
                rate=0.5,
                first_runs=(10, 20),
                false_alarms=0.02,
                skips=0.1,
                noops=0.5,
            ),
            WorldSpec(
                "trace", "62% of the culprits touch a file of the crash's trace, 1% of the commits do", p_touching=0.62, **_TRACE
            ),
            WorldSpec("misleading", "no culprit touches a file of the crash's trace, 1% of the commits do", **_TRACE),
        )
    }
)


@cache
def syzbot_spec() -> WorldSpec:
    """Return worlds like the bisections of syzbot, 2019 to 2023.

    Releases are 1000 commits apart, not 14,000, to be fast: four steps fewer in the range. syzbot gives a bisection twelve
    hours since 2023-05; one less here, for those steps.
    """
    path = data_dir() / "priors.json"
    measured = json.loads(path.read_text(encoding="utf-8"))["measured"]
    return WorldSpec(
        "syzbot",
        "like syzbot's",
        commits=1000,
        first_runs=(10, 20),
        limit_h=11.0,
        touching=_TOUCHING,
        p_touching=measured["trace"]["p"],
        prior=SHARE,
        reality=_reality(measured),
    )


def _reality(measured: dict[str, Any]) -> Reality:
    rate, drift, title, silence = (measured[name] for name in ("rate", "drift", "own_title", "silence"))
    hidden, (first, *later) = silence["hidden"], silence["by_release"]
    release, bisect = (measured["intruder"][stage] for stage in "BC")
    return Reality(
        p_one=rate["p_one"],
        rate_a=rate["a"],
        rate_b=rate["b"],
        p_drift=drift["p"],
        drift_a=drift["a"],
        drift_b=drift["b"],
        depth=tuple(p if k < _RECENT else _OLD * p for k, p in enumerate(measured["depth"]["all"])),
        releases=tuple(measured["depth"]["releases"]),
        silent_release=(first / hidden["newest"], *(hidden["later"] * p for p in later)),
        silent_range=hidden["range"] * silence["p_range"],
        changed_release=title["p_changed_after_own"],
        changed_range=title["p_changed_bisect"],
        p_changed_function=title["p_function"],
        p_changed_kind=title["p_kind"] - title["p_function"],
        p_second_title=title["p_two"],
        intruder_release=Intruder(_INTRUSION * release["p"], release["p_once"], release["a"], release["b"]),
        intruder_range=Intruder(_P_INTRUDER, bisect["p_once"], bisect["a"], bisect["b"]),
        p_again=release["p_again"],
        p_disguised=measured["intruder"]["all"]["p_own"],
        p_intruder_kind=measured["intruder"]["all"]["p_kind"],
        noise=_P_NOISE,
        untestable_release=_DESERT * measured["skip"]["B"]["p_after_tested_known"],
        untestable_range=tuple(measured["skip"]["C"]["shares_known"]),
        p_untested=measured["not_reproduced"]["p_untested"],
        touching_missed=measured["trace"]["p_missed"],
        touching_alarm=measured["trace"]["p_alarm"],
        sd_pace=measured["times"]["build"]["sd"],
    )


# The logs tell what a bisection met, not what was there to be met. Like how much silence is hidden, these are chosen so that
# the policy of 2019 to 2023 fails as often as it did at each stage, by missed bugs and by false alarms. All but the last two
# are times the measured share.
_DESERT = 0.7
_INTRUSION = 1.0
_RECENT, _OLD = 12, 0.9  # _OLD for culprits older than so many releases, before all add up to 1
_P_INTRUDER = 0.35
_P_NOISE = 0.001
