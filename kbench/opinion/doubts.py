"""Which verdicts of a log are doubtful, and why, in words. Read `doubt` first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kbench.opinion.model import Opinions
from kbench.opinion.rejudge import Rejudged
from kbench.records import Outcome

#: A verdict less likely right than this is doubtful: of crashes on the way, 4% of those by the bug and 83% of the others.
DOUBTFUL = 0.9


def doubt(one: Rejudged, opinions: Opinions | None = None) -> str:
    """Return why a verdict is doubtful, in words; "" when it is not, or there is none.

    Parameters
    ----------
    one : Rejudged
    opinions : Opinions, optional
        The fitted numbers; the shipped ones by default.
    """
    if one.p_right is None or one.p_right >= DOUBTFUL:
        return ""
    words = _of_crashing(one, opinions or Opinions.default()) if one.tested.crashing else _of_clean(one)
    return ", ".join(words)


def most_doubtful(revisions: Sequence[Rejudged]) -> int | None:
    """Return the place of the verdict least likely right; None: there is none."""
    told = [(one.p_right, place) for place, one in enumerate(revisions) if one.p_right is not None]
    return min(told)[1] if told else None


def _of_crashing(one: Rejudged, opinions: Opinions) -> Iterator[str]:
    step = one.tested.step
    titles = step.titles
    title, _ = titles.most_common(1)[0]
    if one.features and not one.features["own title"]:
        yield f"another title: {title}"
        if others := max(opinions.notoriety(seen) for seen in titles):
            yield f"seen as another bug's in {others} bisections"
    runs = titles.total() + step.counts[Outcome.OK]
    if titles.total() == 1 and runs > 1:
        yield f"1 crash in {runs} runs"
    if one.p_shows is not None and one.p_shows < DOUBTFUL:
        yield "the other revisions speak against it"
    elif one.features.get("own title"):
        yield "found far back in the walk" if not one.tested.of_search else "of a kind that is often another bug's"


def _of_clean(one: Rejudged) -> Iterator[str]:
    runs = one.tested.step.counts[Outcome.OK]
    yield f"clean in {runs} run{'' if runs == 1 else 's'}, and the other revisions say that the bug shows here"
