"""The second opinion from real bisections: `python -m kbench.study.fit_opinion FOLDER` writes data/judge.json. Read `fit` first.

Needs scikit-learn (the extra "fit"); what uses the numbers does not. Logistic models, one on top of the other: was a
crash on the way the bug's, and is the named culprit the true one. `measured` is by cross-validation over bugs: the inner
model too is fitted, and the strength of the ridges is chosen, without the bug in question.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbench.errors import InputError
from kbench.opinion.course import course
from kbench.opinion.judgement import crash_odds
from kbench.opinion.model import Answer, Logistic, Opinions, logistic
from kbench.opinion.posterior import own_titles
from kbench.opinion.rejudge import Rejudged, rejudge
from kbench.opinion.traits import commit_traits, never_right, search_traits, verdict_traits
from kbench.resources import data_dir
from kbench.study.fit import SOURCE
from kbench.study.opinion_scores import mean, score_crashes, score_culprits
from kbench.study.replayed import read_logs, read_truth
from kbench.syzbot import BisectionLog

FOLDS, INNER_FOLDS = 10, 5
_CRASH_C = 0.1  # inverse strength of the ridge, on standardised values
_START_C, _ROUNDS, _NEAR = 0.05, 15, 0.01  # of the search for the strength that fits best: where it starts and when it ends
_NOTHING = Logistic(0.0, {})

FloatArray = NDArray[np.float64]
Figures = dict[str, Any]
_Rows = tuple[list[dict[str, float]], list[bool]]  # values and what is to be told from them


@dataclass(frozen=True, slots=True)
class Known:
    """A bisection with a known truth."""

    log: BisectionLog
    revisions: tuple[Rejudged, ...]
    labels: tuple[bool | None, ...]  # of each crash on the way: was it the bug? None: not known
    correct: bool | None  # the answer; None: it gave none
    alarm: bool  # the first wrong verdict was a false alarm
    search: dict[str, float]  # traits of the search, but those of its verdicts; empty without an answer
    commit: dict[str, float]  # traits of the named commit


def read_known(folder: Path) -> tuple[list[Known], dict[str, int]]:
    """Return the bisections of a folder whose truth is known, and the notorious titles of all; errors as `read_logs`."""
    logs, truth = dict(read_logs(folder)), read_truth(folder)
    foreign = {name: _foreign(log) for name, log in logs.items()}
    counts = Counter(title for titles in foreign.values() for title in titles)
    notorious = {title: n for title, n in counts.most_common() if n > 1}
    opinions = Opinions(_NOTHING, Answer(_NOTHING, _NOTHING), 0.0, notorious)
    known = []
    for name, row in sorted(truth.items()):
        revisions = rejudge(logs[name], opinions, own=foreign[name])
        answer = {"correct": True, "incorrect": False}.get(row["result_catergory"])
        labels, alarm = _labels(revisions, row["wrong_commit"]), row["reason"].strip("/") == "T3"
        parts = ({} if answer is None else of(logs[name], revisions) for of in (search_traits, commit_traits))
        known.append(Known(logs[name], revisions, labels, answer, alarm, *parts))
    return known, notorious


def _foreign(log: BisectionLog) -> frozenset[str]:
    tested = course(log)
    return frozenset(title for one in tested[1:] for title in one.step.titles) - own_titles(tested)


def _labels(revisions: Sequence[Rejudged], wrong_commit: str) -> tuple[bool | None, ...]:
    # Verdicts are right before the first wrong one, and nobody knows after it.
    labels: list[bool | None] = []
    passed = False
    for one in revisions:
        wrong = not passed and one.tested.crashing is not None and one.tested.step.commit == wrong_commit
        if one.features:
            labels.append(None if passed else not wrong)
        passed |= wrong
    return tuple(labels)


def fit_crash(known: Sequence[Known]) -> Logistic:
    """Fit P(a revision that crashed has the bug)."""
    rows = [(one.features, label) for each in known for one, label in zip(_crashing(each), each.labels, strict=True)]
    return _fit([features for features, label in rows if label is not None], [y for _, y in rows if y is not None], _CRASH_C)


def fit_culprit(known: Sequence[Known], odds: Sequence[Sequence[float]]) -> Answer:
    """Fit P(the named culprit is the true one), of those that are of no hopeless kind.

    The log odds of the two models together are stretched to fit those of bugs they were not fitted to (Platt 1999,
    Probabilistic outputs for support vector machines).
    """
    cases = [_case(each, log_odds) for each, log_odds in zip(known, odds, strict=True) if _is_open(each)]
    (alarms, unseen_alarms), (misses, unseen_misses) = (_fit_unseen(cases, of) for of in (_of_alarms, _of_misses))
    unseen = [Answer(one, other) for one, other in zip(unseen_alarms, unseen_misses, strict=True)]
    log_odds = np.array([answer.log_odds(case.values) for answer, case in zip(unseen, cases, strict=True)])
    slope, shift = _stretch(log_odds, [case.correct for case in cases])
    return Answer(alarms, misses, round(slope, 4), round(shift, 4))


@dataclass(frozen=True, slots=True)
class _Case:
    # An answer to fit to.
    search: dict[str, float]
    values: dict[str, float]  # all traits
    correct: bool
    alarm: bool


def _case(each: Known, odds: Sequence[float]) -> _Case:
    search = each.search | verdict_traits(odds)
    return _Case(search, search | each.commit, bool(each.correct), each.alarm)


def _of_alarms(cases: Sequence[_Case]) -> _Rows:
    return [case.search for case in cases], [not case.alarm for case in cases]


def _of_misses(cases: Sequence[_Case]) -> _Rows:
    without = [case for case in cases if not case.alarm]
    return [case.values for case in without], [case.correct for case in without]


def _fit_unseen(cases: Sequence[_Case], of: Callable[[Sequence[_Case]], _Rows]) -> tuple[Logistic, list[Logistic]]:
    # A model fitted to all cases, and for each case one of the same ridge that was not fitted to it.
    c = _best_ridge(*of(cases))
    models: dict[int, Logistic] = {}
    for test in _folds(len(cases), FOLDS, np.random.default_rng(0)):
        held = set(test.tolist())
        model = _fit(*of([case for place, case in enumerate(cases) if place not in held]), c)
        models |= dict.fromkeys(held, model)
    return _fit(*of(cases), c), [models[place] for place in range(len(cases))]


def _best_ridge(values: Sequence[dict[str, float]], truth: Sequence[bool]) -> float:
    # Inverse strength under which the answers are most likely: MacKay 1992, The evidence framework applied to classification
    # networks. No case has to be held out for it.
    c = _START_C
    for _ in range(_ROUNDS):
        model = _fit(values, truth, c)
        terms = model.terms.items()
        x = np.array([[1.0, *((row[name] - middle) / scale for name, (_, middle, scale) in terms)] for row in values])
        weights = np.array([weight for _, (weight, _, _) in terms])
        p = 1 / (1 + np.exp(-(x @ np.array([model.intercept, *weights]))))
        ridge = np.diag([0.0, *np.full(len(weights), 1 / c)])
        spread = np.linalg.inv((x.T * (p * (1 - p))) @ x + ridge)
        known = len(weights) - np.trace(spread[1:, 1:]) / c
        c, before = float(weights @ weights / known), c
        if abs(np.log(c / before)) < _NEAR:
            break
    return c


def _stretch(log_odds: FloatArray, truth: Sequence[bool]) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression

    line = LogisticRegression(C=1e6).fit(log_odds[:, None], np.array(truth, dtype=int))
    return float(line.coef_[0, 0]), float(line.intercept_[0])


def _crashing(each: Known) -> list[Rejudged]:
    return [one for one in each.revisions if one.features]


def _is_open(each: Known) -> bool:
    return each.correct is not None and not never_right(each.log)


def _fit(values: Sequence[dict[str, float]], truth: Sequence[bool], c: float) -> Logistic:
    from sklearn.linear_model import LogisticRegression

    names = list(values[0])
    x = np.array([[row[name] for name in names] for row in values])
    means, scales = x.mean(axis=0), np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    model = LogisticRegression(C=c, max_iter=5000).fit((x - means) / scales, np.array(truth, dtype=int))
    weights = zip(names, model.coef_[0], means, scales, strict=True)
    terms = {name: (round(float(w), 4), round(float(m), 4), round(float(s), 4)) for name, w, m, s in weights}
    return Logistic(round(float(model.intercept_[0]), 4), terms)


def _out_of_fold(known: Sequence[Known], folds: int, rng: np.random.Generator) -> list[list[float]]:
    odds: list[list[float]] = [[] for _ in known]
    for test in _folds(len(known), folds, rng):
        held = set(test.tolist())
        model = fit_crash([each for place, each in enumerate(known) if place not in held])
        for place in held:
            odds[place] = _odds(known[place], model)
    return odds


def _odds(each: Known, model: Logistic) -> list[float]:
    return crash_odds(each.revisions, Opinions(model, Answer(_NOTHING, _NOTHING), 0.0, {}))


def _folds(n: int, folds: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    return list(np.array_split(rng.permutation(n), folds))


def fit(known: Sequence[Known], notorious: dict[str, int], *, repeats: int = 10) -> Figures:
    """Return what data/judge.json holds: the models, fitted to all, and how well they do on bugs they were not fitted to."""
    crash = fit_crash(known)
    culprit = fit_culprit(known, _out_of_fold(known, FOLDS, np.random.default_rng(0)))
    hopeless = [each for each in known if each.correct is not None and never_right(each.log)]
    p_never = (sum(bool(each.correct) for each in hopeless) + 0.5) / (len(hopeless) + 1)
    return {
        "source": SOURCE,
        "made_by": "kbench/study/fit_opinion.py",
        "measured": measure(known, p_never, repeats=repeats) | {"halves": measure_halves(known, p_never, repeats=2 * repeats)},
        "p_never": round(p_never, 4),
        "crash": _model(crash),
        "culprit": {
            "slope": culprit.slope,
            "shift": culprit.shift,
            "alarms": _model(culprit.alarms),
            "misses": _model(culprit.misses),
        },
        "notorious": notorious,
    }


def _model(model: Logistic) -> Figures:
    return {"intercept": model.intercept, "terms": {name: list(term) for name, term in model.terms.items()}}


def measure(known: Sequence[Known], p_never: float, *, repeats: int) -> Figures:
    """Return how well the models do on bugs they were not fitted to, means over so many splits."""
    culprits, crashes = [], []
    for seed in range(repeats):
        p, p_crash = _predict(known, p_never, np.random.default_rng(seed))
        culprits.append(score_culprits(np.array([p[i] for i in p]), np.array([bool(known[i].correct) for i in p])))
        labels = [label for each in known for label in each.labels]
        told = [(value, label) for value, label in zip(p_crash, labels, strict=True) if label is not None]
        crashes.append(score_crashes(*map(np.array, zip(*told, strict=True))))
    return {"repeats": repeats, "folds": FOLDS, "culprit": mean(culprits), "crash": mean(crashes)}


def measure_halves(known: Sequence[Known], p_never: float, *, repeats: int) -> Figures:
    """Return how well the culprits of one half of the bugs are judged by what was chosen and fitted on the other, as means."""
    scores = []
    for seed in range(repeats):
        rng = np.random.default_rng(100 + seed)
        ours, theirs = ([known[place] for place in half] for half in _folds(len(known), 2, rng))
        crash, culprit = fit_crash(ours), fit_culprit(ours, _out_of_fold(ours, INNER_FOLDS, rng))
        answers = [each for each in theirs if each.correct is not None]
        p = np.array([_p_correct(each, _odds(each, crash), culprit, p_never) for each in answers])
        scores.append(score_culprits(p, np.array([bool(each.correct) for each in answers])))
    return {"repeats": repeats, **mean(scores)}


def _p_correct(each: Known, odds: Sequence[float], culprit: Answer, p_never: float) -> float:
    return logistic(culprit.log_odds(_case(each, odds).values)) if _is_open(each) else p_never


def _predict(known: Sequence[Known], p_never: float, rng: np.random.Generator) -> tuple[dict[int, float], list[float]]:
    # P(correct) by place of those with an answer, and P(bug) of every crash on the way, each from models that never saw the bug.
    p: dict[int, float] = {}
    p_crash: list[list[float]] = [[] for _ in known]
    for test in _folds(len(known), FOLDS, rng):
        held = set(test.tolist())
        others = [each for place, each in enumerate(known) if place not in held]
        crash, culprit = fit_crash(others), fit_culprit(others, _out_of_fold(others, INNER_FOLDS, rng))
        for place in held:
            each = known[place]
            odds = _odds(each, crash)
            p_crash[place] = (1 / (1 + np.exp(-np.array(odds)))).tolist()
            if each.correct is not None:
                p[place] = _p_correct(each, odds, culprit, p_never)
    return dict(sorted(p.items())), [value for values in p_crash for value in values]


def main(words: Sequence[str]) -> None:
    """Read the folder named, write data/judge.json."""
    if len(words) != 1:
        raise InputError("study: expected one folder with logs.tar.xz and truth.csv; name it")
    figures = fit(*read_known(Path(words[0])))
    (data_dir() / "judge.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(figures["measured"], indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
