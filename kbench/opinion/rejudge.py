"""The verdicts of a log weighed again, as probabilities. Read `rejudge` first.

The evidence model weighs all runs of a log together. What that cannot know (which titles are in everybody's way, how far back
a walk went wrong) comes from a logistic model on top.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from kbench.evidence import similarity
from kbench.evidence.titles import SAME_FUNCTION, SAME_KIND
from kbench.opinion.course import Tested, course
from kbench.opinion.model import Opinions, logistic
from kbench.opinion.posterior import own_titles, weigh_line
from kbench.records import Outcome
from kbench.syzbot import BisectionLog

# Parts of the names of functions that say nothing about where in the kernel they are.
_COMMON = re.compile(
    "read|write|free|alloc|get|put|init|release|destroy|add|remove|corrupted|work|timer|create|open|close|net|dev|device|register|"
    "unregister|lock|the|set|del|sock|fill|super|check|list|ioctl|sys|page|start|stop|bug|skb"
)


@dataclass(frozen=True, slots=True)
class Rejudged:
    """A tested revision and what its runs say, in the light of all others."""

    tested: Tested
    p_shows: float | None  # P(the bug is there and shows | all runs of the log); None: no run told anything
    log_odds: float | None  # log P(its own runs | the bug shows) / P(its own runs | it does not)
    features: dict[str, float]  # of a crashing one
    p_bug: float | None  # P(the bug is there), of a revision that was taken for crashing; else None

    @property
    def p_right(self) -> float | None:
        """P(its verdict is right); None: it has none, or no run told anything."""
        if self.p_shows is None or self.tested.crashing is None:
            return None
        if not self.tested.crashing:
            return 1 - self.p_shows
        return self.p_shows if self.p_bug is None else self.p_bug


def rejudge(log: BisectionLog, opinions: Opinions | None = None, *, own: frozenset[str] = frozenset()) -> tuple[Rejudged, ...]:
    """Weigh every verdict of a log again, in order.

    Parameters
    ----------
    log : BisectionLog
    opinions : Opinions, optional
        The fitted numbers; the shipped ones by default.
    own : frozenset of str
        Foreign titles of this very log that were counted among the notorious; for the fit.
    """
    opinions = opinions or Opinions.default()
    tested = course(log)
    titles = own_titles(tested)
    line = weigh_line(tested, titles)
    shows, odds = line.shows, line.odds
    found = []
    for one in tested:
        row = line.row(one)
        if row is None:
            found.append(Rejudged(one, None, None, {}, None))
            continue
        features = _features(one, titles, shows[row], odds[row], opinions, own) if one.crashing and one.age else {}
        p_bug = logistic(opinions.crash.log_odds(features)) if features and opinions.crash.terms else None
        found.append(Rejudged(one, float(shows[row]), float(odds[row]), features, p_bug))
    return tuple(found)


def _features(
    one: Tested, titles: frozenset[str], shows: float, odds: float, opinions: Opinions, own: frozenset[str]
) -> dict[str, float]:
    seen = one.step.titles
    crashed, clean = seen.total(), one.step.counts[Outcome.OK]
    foreign = not titles & seen.keys()
    alike = max((similarity(title, titles) for title in seen), default=0.0)
    others = [opinions.notoriety(title, without=own) for title in seen] if foreign else [0]
    stems = frozenset().union(*map(_stems, titles))
    walked = not one.of_search
    p = min(max(shows, 1e-4), 1 - 1e-4)
    values = {
        "odds of its runs": min(max(odds, -8.0), 4.0),
        "evidence": math.log(p / (1 - p)),
        "own title": not foreign,
        "same function": alike >= SAME_FUNCTION,
        "same kind": SAME_KIND <= alike < SAME_FUNCTION,
        "same part": foreign and any(stems & _stems(title) for title in seen),
        "notorious": math.log1p(max(others)),
        "all notorious": math.log1p(min(others)),
        "one crash": crashed == 1 and clean > 1,
        "share": crashed / (crashed + clean),
        "foreign, first release": foreign and walked and one.depth == 1,
        "foreign, search": foreign and one.of_search,
        "foreign, later release": foreign and walked and one.depth > 2,
        "notorious, later release": math.log1p(max(others)) * (walked and one.depth > 1),
        "search": one.of_search,
        "depth": min(one.depth, 12) * walked,
    }
    return {name: float(value) for name, value in values.items()}


def _stems(title: str) -> frozenset[str]:
    function = title.rpartition(" in ")[2].rpartition("/")[2] if " in " in title else ""
    return frozenset(word for word in re.findall(r"[^\W_]{3,}", function) if not _COMMON.fullmatch(word))
