"""The second opinion from real bisections: `python -m kbench.study.fit_opinion FOLDER` writes data/judge.json. Read `fit` first.

Needs scikit-learn (the extra "fit"); what uses the numbers does not. Two logistic models, one on top of the other: was a
crash on the way the bug's, and is the named culprit the true one. `measured` is by cross-validation over bugs: the inner
model too is fitted without the bug in question.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kbench.errors import InputError
from kbench.opinion.course import course
from kbench.opinion.judgement import crash_odds
from kbench.opinion.model import Logistic, Opinions, logistic
from kbench.opinion.posterior import own_titles
from kbench.opinion.rejudge import Rejudged, rejudge
from kbench.opinion.traits import never_right, traits, verdict_traits
from kbench.resources import data_dir
from kbench.study.fit import SOURCE
from kbench.study.replayed import read_logs, read_truth
from kbench.syzbot import BisectionLog

FOLDS, INNER_FOLDS = 10, 5
_CRASH_C, _CULPRIT_C = 0.1, 0.015  # inverse strength of the ridge, on standardised values
_NOTHING = Logistic(0.0, {})

FloatArray = NDArray[np.float64]
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """A bisection with a known truth."""

    log: BisectionLog
    revisions: tuple[Rejudged, ...]
    labels: tuple[bool | None, ...]  # of each crash on the way: was it the bug? None: not known
    correct: bool | None  # the answer; None: it gave none
    traits: dict[str, float]  # but those of the verdicts; empty without an answer


def read_known(folder: Path) -> tuple[list[Known], dict[str, int]]:
    """Return the bisections of a folder whose truth is known, and the notorious titles of all; errors as `read_logs`."""
    logs, truth = dict(read_logs(folder)), read_truth(folder)
    foreign = {name: _foreign(log) for name, log in logs.items()}
    counts = Counter(title for titles in foreign.values() for title in titles)
    notorious = {title: n for title, n in counts.most_common() if n > 1}
    opinions = Opinions(_NOTHING, _NOTHING, 0.0, notorious)
    known = []
    for name, row in sorted(truth.items()):
        revisions = rejudge(logs[name], opinions, own=foreign[name])
        answer = {"correct": True, "incorrect": False}.get(row["result_catergory"])
        values = {} if answer is None else traits(logs[name], revisions)
        known.append(Known(logs[name], revisions, _labels(revisions, row["wrong_commit"]), answer, values))
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


def fit_culprit(known: Sequence[Known], odds: Sequence[Sequence[float]]) -> Logistic:
    """Fit P(the named culprit is the true one), of those that are of no hopeless kind.

    A strong ridge ranks best and is too timid: its log odds are stretched to fit those of bugs it was not fitted to (Platt 1999,
    Probabilistic outputs for support vector machines).
    """
    pairs = [(each, log_odds) for each, log_odds in zip(known, odds, strict=True) if _is_open(each)]
    values = [each.traits | verdict_traits(log_odds) for each, log_odds in pairs]
    truth = [bool(each.correct) for each, _ in pairs]
    slope, shift = _stretch(values, truth)
    model = _fit(values, truth, _CULPRIT_C)
    terms = {name: (round(w * slope, 4), mean, scale) for name, (w, mean, scale) in model.terms.items()}
    return Logistic(round(model.intercept * slope + shift, 4), terms)


def _stretch(values: Sequence[dict[str, float]], truth: Sequence[bool]) -> tuple[float, float]:
    # Slope and shift of the log odds, on bugs the ridge was not fitted to.
    from sklearn.linear_model import LogisticRegression

    log_odds = np.zeros(len(values))
    for test in _folds(len(values), FOLDS, np.random.default_rng(0)):
        held = set(test.tolist())
        others = [place for place in range(len(values)) if place not in held]
        model = _fit([values[place] for place in others], [truth[place] for place in others], _CULPRIT_C)
        for place in held:
            log_odds[place] = model.log_odds(values[place])
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
    return crash_odds(each.revisions, Opinions(model, _NOTHING, 0.0, {}))


def _folds(n: int, folds: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    return list(np.array_split(rng.permutation(n), folds))


def fit(known: Sequence[Known], notorious: dict[str, int], *, repeats: int = 5) -> Figures:
    """Return what data/judge.json holds: both models, fitted to all, and how well they do on bugs they were not fitted to."""
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
        "culprit": _model(culprit),
        "notorious": notorious,
    }


def _model(model: Logistic) -> Figures:
    return {"intercept": model.intercept, "terms": {name: list(term) for name, term in model.terms.items()}}


def measure(known: Sequence[Known], p_never: float, *, repeats: int) -> Figures:
    """Return how well both models do on bugs they were not fitted to, means over so many splits."""
    culprits, crashes = [], []
    for seed in range(repeats):
        p, p_crash = _predict(known, p_never, np.random.default_rng(seed))
        culprits.append(_score_culprits(np.array([p[i] for i in p]), np.array([bool(known[i].correct) for i in p])))
        labels = [label for each in known for label in each.labels]
        told = [(value, label) for value, label in zip(p_crash, labels, strict=True) if label is not None]
        crashes.append(_score_crashes(*map(np.array, zip(*told, strict=True))))
    return {"repeats": repeats, "folds": FOLDS, "culprit": _mean(culprits), "crash": _mean(crashes)}


def measure_halves(known: Sequence[Known], p_never: float, *, repeats: int) -> Figures:
    """Return how well the culprits of one half of the bugs are judged by what was chosen and fitted on the other, as means."""
    scores = []
    for seed in range(repeats):
        rng = np.random.default_rng(100 + seed)
        ours, theirs = ([known[place] for place in half] for half in _folds(len(known), 2, rng))
        crash, culprit = fit_crash(ours), fit_culprit(ours, _out_of_fold(ours, INNER_FOLDS, rng))
        answers = [each for each in theirs if each.correct is not None]
        p = np.array([_p_correct(each, _odds(each, crash), culprit, p_never) for each in answers])
        scores.append(_score_culprits(p, np.array([bool(each.correct) for each in answers])))
    return {"repeats": repeats, **_mean(scores)}


def _p_correct(each: Known, odds: Sequence[float], culprit: Logistic, p_never: float) -> float:
    return logistic(culprit.log_odds(each.traits | verdict_traits(odds))) if _is_open(each) else p_never


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


def _score_culprits(p: FloatArray, truth: NDArray[np.bool_]) -> Figures:
    order = np.argsort(-p, kind="stable")
    right = np.cumsum(truth[order])
    at = int(np.searchsorted(right, 0.8 * truth.sum()))
    return {
        "n": len(p),
        "auc": _auc(p, truth),
        "brier": float(np.mean((p - truth) ** 2)),
        "log_loss": _log_loss(p, truth),
        "precision_at_recall_80": float(right[at] / (at + 1)),
        "said_by_fifth": [float(p[part].mean()) for part in np.array_split(order[::-1], 5)],
        "was_by_fifth": [float(truth[part].mean()) for part in np.array_split(order[::-1], 5)],
    }


def _score_crashes(p: FloatArray, truth: NDArray[np.bool_]) -> Figures:
    least = float(np.quantile(p[truth], 0.04))
    order = np.argsort(p, kind="stable")
    return {
        "n": len(p),
        "n_false": int((~truth).sum()),
        "auc": _auc(p, truth),
        "log_loss": _log_loss(p, truth),
        "log_loss_base": _log_loss(np.full(len(p), truth.mean()), truth),
        "threshold": least,
        "kept": float((p[truth] >= least).mean()),
        "let_through": float((p[~truth] >= least).mean()),
        "said_by_fifth": [float(p[part].mean()) for part in np.array_split(order, 5)],
        "was_by_fifth": [float(truth[part].mean()) for part in np.array_split(order, 5)],
    }


def _auc(p: FloatArray, truth: NDArray[np.bool_]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, p))


def _log_loss(p: FloatArray, truth: NDArray[np.bool_]) -> float:
    p = p.clip(1e-9, 1 - 1e-9)
    return float(-np.mean(np.where(truth, np.log(p), np.log1p(-p))))


def _mean(scores: Sequence[Figures]) -> Figures:
    return {name: np.round(np.mean([score[name] for score in scores], axis=0), 4).tolist() for name in scores[0]}


def main(words: Sequence[str]) -> None:
    """Read the folder named, write data/judge.json."""
    if len(words) != 1:
        raise InputError("study: expected one folder with logs.tar.xz and truth.csv; name it")
    figures = fit(*read_known(Path(words[0])))
    (data_dir() / "judge.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(figures["measured"], indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
