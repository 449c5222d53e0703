"""Makes models of rdspend.purpose: the one that ships, and an organisation's own from its labels.

Ridge regression on the answers as +1 and -1, owners (families, in one's own model) weighted by the root of their size so that
one with many alike rows does not decide. Leaving a whole owner out is exact and costs one inverse: with A = K + penalty, its
held-out scores are `target - inverse(A)[own block]^-1 (inverse(A) target)`. Sharpness and confidence are fitted to those
held-out scores only. Needs scikit-learn: the extra `learned`.

    python -m rdspend.learning        # makes the model that ships anew, from rdspend/sets/headers and rdspend/model/seeds.toml
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rdspend import sets
from rdspend.errors import ConfigError
from rdspend.families import FAMILY
from rdspend.purpose import (
    BUCKETS,
    OWN_TEXT,
    SHAPE,
    SHIPPED,
    TEXT,
    WORK,
    Floats,
    Head,
    Ints,
    Model,
    features,
    load,
    told,
    write,
)
from rdspend.schema import ACTIVITIES, STAGES

PENALTY: Final = 1.0
BIAS: Final = 0.3
SEED_WEIGHT: Final = 1.0
OWNER_POWER: Final = 0.5
EXACT_UP_TO: Final = 3_000
FOLDS: Final = 5
PRECISIONS: Final = (0.8, 0.9, 0.95, 0.97, 0.98, 0.99)
LEAST_LABELS: Final = 20
MOST_CONFIDENT: Final = 0.995
"""No answer about work that somebody else named is surer than this."""


def needed() -> tuple[Any, Any, Any]:
    """scipy.sparse, Ridge and IsotonicRegression, or a ConfigError that says what to install."""
    try:
        from scipy import sparse
        from sklearn.isotonic import IsotonicRegression
        from sklearn.linear_model import Ridge
    except ImportError as error:
        raise ConfigError(f"learning needs scikit-learn ({error}); install it with `pip install 'rdspend[learned]'`") from None
    return sparse, Ridge, IsotonicRegression


@dataclass(frozen=True)
class Examples:
    """What to learn from: distinct texts in rows.

    groups   whose rows are held out together
    weights  how much a row counts in fitting
    money    how much it counts in thresholds: GPU-hours, or GPUs
    """

    texts: Sequence[tuple[str, str]]
    groups: Sequence[str]
    weights: Floats
    money: Floats


def matrix(texts: Sequence[tuple[str, str]]) -> Any:
    """Sparse texts x (BUCKETS + 1); the last column is the bias."""
    sparse, _, _ = needed()
    rows = [features(text, shape) for text, shape in texts]
    starts = np.cumsum([0, *(len(found) + 1 for found, _ in rows)])
    columns = np.concatenate([np.append(found, BUCKETS) for found, _ in rows])
    values = np.concatenate([np.append(counts, BIAS**0.5) for _, counts in rows])
    return sparse.csr_matrix((values, columns, starts), shape=(len(rows), BUCKETS + 1))


def targets(answers: Sequence[str | None], labels: Sequence[str]) -> Floats:
    """+1 for the answer, less for the others so that a row sums to 0; a row without answer is all 0."""
    out = np.zeros((len(answers), len(labels)))
    for row, answer in enumerate(answers):
        if answer is not None:
            out[row] = -1 / max(1, len(labels) - 1)
            out[row, labels.index(answer)] = 1
    return out


def fit(seen: Any, wanted: Floats, weights: Floats) -> Floats:
    """Weights of the features, (BUCKETS + 1) x answers."""
    if seen.shape[0] <= EXACT_UP_TO:
        inverse = np.linalg.inv(_gram(seen) + np.diag(PENALTY / weights))
        return np.asarray(seen.T @ (inverse @ wanted))
    _, ridge, _ = needed()
    return np.asarray(ridge(PENALTY, fit_intercept=False, solver="sparse_cg", tol=1e-4).fit(seen, wanted, weights).coef_.T)


def held_out(seen: Any, wanted: Floats, weights: Floats, groups: Sequence[str]) -> Floats:
    """Scores of each row by a model that saw none of its group."""
    members = _members(groups)
    out = np.zeros_like(wanted)
    if seen.shape[0] <= EXACT_UP_TO:
        inverse = np.linalg.inv(_gram(seen) + np.diag(PENALTY / weights))
        solved = inverse @ wanted
        for rows in members:
            out[rows] = wanted[rows] - np.linalg.solve(inverse[np.ix_(rows, rows)], solved[rows])
        return out
    for fold in range(FOLDS):
        test = np.sort(np.concatenate([rows for number, rows in enumerate(members) if number % FOLDS == fold]))
        train = np.setdiff1d(np.arange(len(wanted)), test)
        out[test] = seen[test] @ fit(seen[train], wanted[train], weights[train])
    return out


def _gram(seen: Any) -> Floats:
    return np.asarray((seen @ seen.T).toarray())


def _members(groups: Sequence[str]) -> list[Ints]:
    by_group: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        by_group.setdefault(group, []).append(row)
    return [np.array(rows) for _, rows in sorted(by_group.items())]


def balanced(groups: Sequence[str]) -> Floats:
    """Weight of each row: groups count by the root of their size; 1 in the mean."""
    counts = {group: groups.count(group) for group in set(groups)}
    weights = np.array([counts[group] ** -OWNER_POWER for group in groups])
    return np.asarray(weights / weights.mean())


def sharpen(scores: Floats, right: Ints, weights: Floats) -> float:
    """The factor that makes chances of scores: the one under which the known answers are likeliest."""
    tried = np.exp(np.linspace(np.log(0.5), np.log(20), 60))

    def loss(by: float) -> float:
        logits = scores * by
        logits = logits - logits.max(axis=1, keepdims=True)
        said = logits[np.arange(len(right)), right] - np.log(np.exp(logits).sum(axis=1))
        return float(-(said * weights).sum())

    return float(min(tried, key=loss))


def calibrate(likeliest: Floats, right: NDArray[np.bool_], weights: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """How often an answer of such a chance was right, never falling: knots of a line between 12 equal parts of the weight."""
    _, _, isotonic = needed()
    order = np.argsort(likeliest, kind="stable")
    parts = np.array_split(order, min(12, max(1, len(order) // 20)))
    raw = [float(np.average(likeliest[part], weights=weights[part])) for part in parts]
    # Two made-up answers a part, one right and one wrong: few examples make no certainty.
    hits = [float((right[p] * weights[p]).sum() + 1) / float(weights[p].sum() + 2) for p in parts]
    smooth = isotonic(y_min=0, y_max=MOST_CONFIDENT).fit(raw, hits, sample_weight=[float(weights[p].sum()) for p in parts])
    return tuple(raw), tuple(float(v) for v in smooth.predict(raw))


def thresholds(confidence: Floats, right: NDArray[np.bool_], money: Floats) -> dict[str, float]:
    """For each stated precision the least confidence from which on answers were right for so much of the money."""
    order = np.argsort(-confidence, kind="stable")
    spent = np.cumsum(money[order])
    share = np.cumsum((money * right)[order]) / np.maximum(spent, 1e-12)
    # Only where the next is less sure: equals are answered together or not at all.
    last = np.append(confidence[order][:-1] > confidence[order][1:], True)
    out = {}
    for wanted in PRECISIONS:
        good = np.flatnonzero((share >= wanted) & last)
        out[str(wanted)] = round(float(confidence[order][good[-1]]), 6) if len(good) else 1.0
    return out


def heads(
    found: Examples,
    work: Sequence[str | None],
    stage: Sequence[str | None],
    labels: tuple[str, ...],
    activities: tuple[str | None, ...],
    base: Mapping[str, Floats] | None = None,
    tried: NDArray[np.bool_] | None = None,
    otherwise: Mapping[str, Head] | None = None,
) -> tuple[dict[str, Head], dict[str, float], dict[str, Any]]:
    """Both heads, the thresholds, and what was measured on rows that `tried` marks, held out by group.

    base       weights to start from: what is learned is the difference
    otherwise  heads to keep where too few rows say anything
    """
    seen = matrix(found.texts)
    made: dict[str, Head] = {}
    measured: dict[str, Any] = {}
    limits: dict[str, float] = {}
    for name, answers, words in (("work", work, labels), ("stage", stage, STAGES)):
        known = np.array([answer is not None for answer in answers])
        if otherwise and name in otherwise and known.sum() < LEAST_LABELS:
            made[name] = otherwise[name]
            continue
        wanted = targets(answers, words)
        start = np.zeros((BUCKETS + 1, len(words))) if base is None else base[name]
        offset = np.asarray(seen @ start)
        groups = [group for group, k in zip(found.groups, known, strict=True) if k]
        rest, weights = wanted[known] - offset[known], found.weights[known]
        scores = held_out(seen[known], rest, weights, groups) + offset[known]
        learned = start + fit(seen[known], rest, weights)
        right = np.array([words.index(answer) for answer in answers if answer is not None])
        use = np.ones(len(right), bool) if tried is None else tried[known]
        sharp = sharpen(scores[use], right[use], weights[use])
        head = Head(
            tuple(words), learned[:BUCKETS].astype(np.float32), learned[BUCKETS] * BIAS**0.5, sharp, (0.0, 1.0), (0.0, 1.0)
        )
        chances = head.chances(scores[use].copy())
        meaning = activities if name == "work" else words
        summed, values = _by_meaning(chances, meaning)
        hit = np.array([values[c] == meaning[r] for c, r in zip(summed.argmax(axis=1), right[use], strict=True)])
        raw, often = calibrate(summed.max(axis=1), hit, weights[use])
        made[name] = Head(head.labels, head.weights, head.bias, sharp, raw, often)
        confidence = made[name].confidence(summed.max(axis=1))
        money = found.money[known][use]
        if name == "work":
            by_money, by_jobs = thresholds(confidence, hit, money), thresholds(confidence, hit, weights[use])
            # Money alone would let "many GPUs means training" answer for everything.
            limits = {wanted: max(limit, by_jobs[wanted]) for wanted, limit in by_money.items()}
        kinds = chances.argmax(axis=1) == right[use]
        measured[name] = {
            "examples": int(use.sum()),
            "held_out_accuracy": round(float(kinds.mean()), 4),
            "held_out_accuracy_mean_over_groups": round(
                _mean_over(kinds, [g for g, u in zip(groups, use, strict=True) if u]), 4
            ),
        }
    return made, limits, measured


def _by_meaning(chances: Floats, meaning: Sequence[str | None]) -> tuple[Floats, list[str | None]]:
    values = list(dict.fromkeys(meaning))
    return np.stack([chances[:, [i for i, m in enumerate(meaning) if m == v]].sum(axis=1) for v in values], axis=1), values


def _mean_over(right: NDArray[np.bool_], groups: Sequence[str]) -> float:
    return float(np.mean([right[rows].mean() for rows in _members(groups)]))


# --- the model that ships ---------------------------------------------------------------------------------------------


def seeds() -> list[tuple[str, str]]:
    """Kind of work and a word that speaks of it."""
    tree = tomllib.loads((SHIPPED.parent / "seeds.toml").read_text(encoding="utf-8"))
    return [(kind, word) for kind, text in tree.items() for word in text.split()]


def public_examples(without: Sequence[str] = ()) -> tuple[Examples, list[str | None], list[str | None], NDArray[np.bool_]]:
    """Headers and seed words, with their work and stage; `without`: owners to leave out. The mask marks the headers."""
    labelled = sets.read(sets.HERE / "headers")
    rows = labelled.jobs.project(f"job_key, {TEXT} AS said, {SHAPE} AS shape, gpu_parts").fetchall()
    rows = [row for row in rows if labelled.labels[row[0]][3] not in without]
    truth = [labelled.labels[row[0]] for row in rows]
    owners = [held for *_, held in truth]
    words = seeds()
    blank = TEXT_OF_SEED
    texts = [(said, shape) for _, said, shape, _ in rows] + [(blank.format(word), "") for _, word in words]
    weights = np.concatenate([balanced(owners), np.full(len(words), SEED_WEIGHT)])
    money = np.array([max(1.0, (parts or 0) / 20160) ** 0.5 for *_, parts in rows] + [0.0] * len(words))
    work = [work for work, *_ in truth] + [kind for kind, _ in words]
    stage = [stage for _, _, stage, _ in truth] + [_seed_stage(kind) for kind, _ in words]
    groups = owners + [f"seed {number}" for number in range(len(words))]
    mask = np.arange(len(texts)) < len(rows)
    return Examples(texts, groups, weights, money * np.concatenate([balanced(owners), np.zeros(len(words))])), work, stage, mask


TEXT_OF_SEED: Final = "{}" + "\x1f" * (TEXT.count("\x1f"))


def _seed_stage(kind: str) -> str | None:
    return {"data": "data", "evaluation": "evaluation", "serving": "serving", "upkeep": "other", "interactive": "other"}.get(
        kind
    )


def make_public(file: Path = SHIPPED, without: Sequence[str] = ()) -> Path:
    """Write the model that ships; the same rows and seeds give the same model."""
    found, work, stage, mask = public_examples(without)
    labels = tuple(WORK)
    made, limits, measured = heads(found, work, stage, labels, tuple(WORK.values()), tried=mask)
    card = {
        "own": False,
        "activities": list(WORK.values()),
        "thresholds": limits,
        "data": "rdspend/sets/headers: headers of open repositories, each under Apache-2.0, MIT, BSD or CC0 (README.md there"
        " has every repository, its licence and copyright line); rdspend/model/seeds.toml: words of the field, our own",
        "says": "the kind of work and the stage. Never final_training: a training run that no release claims is exploration",
        "limits": "published scripts of 52 owners, tidier than a live queue; labels come in part from the file names that the"
        " model reads; interactive work is known from seed words only; mostly English and Japanese teams",
        "held_out_by_owner": measured,
    }
    return write(file, made, card)


def cross_fitted(texts: Any, work: Any, stage: Any, owners: Any, precision: float) -> pd.DataFrame:
    """What models that never saw an owner say of the owner's jobs: columns of `purpose.judge`, told too, and answered.

    Sharpness, confidence and threshold come from the owners of the other folds.
    """
    words = seeds()
    owners = list(owners)
    every = [*texts, *((TEXT_OF_SEED.format(word), "") for _, word in words)]
    weights = np.concatenate([balanced(owners), np.full(len(words), SEED_WEIGHT)])
    groups = owners + [f"seed {number}" for number in range(len(words))]
    seen, count, labels = matrix(every), len(owners), tuple(WORK)
    scores = held_out(seen, targets([*work, *(kind for kind, _ in words)], labels), weights, groups)[:count]
    steps = [*(None if pd.isna(s) else s for s in stage), *(_seed_stage(kind) for kind, _ in words)]
    step_scores = held_out(seen, targets(steps, STAGES), weights, groups)[:count]
    right = np.array([labels.index(w) for w in work])
    meaning = tuple(WORK.values())
    fold = np.zeros(count, int)
    for number, rows in enumerate(_members(owners)):
        fold[rows] = number % FOLDS
    out = pd.DataFrame({"work": np.array(labels, object)[scores.argmax(axis=1)]})
    out["stage"] = np.array(STAGES, object)[step_scores.argmax(axis=1)]
    out["activity"], out["confidence"], out["answered"], out["told"] = None, 0.0, False, None
    names, silent = tuple(a or "" for a in dict.fromkeys(meaning)), np.zeros(count, bool)
    for number in range(FOLDS):
        test, train = fold == number, fold != number
        sharp = sharpen(scores[train], right[train], weights[:count][train])
        summed, values = _by_meaning(_softmax(scores * sharp), meaning)
        said = [values[c] for c in summed.argmax(axis=1)]
        hit = np.array([a == meaning[r] for a, r in zip(said, right, strict=True)])
        raw, often = calibrate(summed[train].max(axis=1), hit[train], weights[:count][train])
        sure = np.interp(summed.max(axis=1), raw, often)
        limits = thresholds(sure[train], hit[train], weights[:count][train])
        limit = next((v for k, v in limits.items() if float(k) >= precision), 1.0)
        out.loc[test, "confidence"] = sure[test]
        out.loc[test, "told"] = np.array(told(names, summed, sure, silent), object)[test]
        out.loc[test, "activity"] = np.array(said, object)[test]
        out.loc[test, "answered"] = [
            a is not None and c >= limit for a, c in zip(np.array(said, object)[test], sure[test], strict=True)
        ]
    return out


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


# --- one's own --------------------------------------------------------------------------------------------------------


def learn(jobs: Any, file: Path, base: Model | None = None) -> Path:
    """Write a model made from labelled jobs, starting from the one that ships.

    jobs  relation of the columns of JOBS, and activity, stage: what somebody said of each; null: nothing

    Jobs of a family are held out together. Raises ConfigError when there is too little to learn from.
    """
    hours = "gpu_parts * greatest(0, coalesce(epoch_us(end_time) - epoch_us(start_time), 0)) / 72576000000000.0"
    rows = (
        jobs.project(f"{OWN_TEXT} AS said, {SHAPE} AS shape, {FAMILY} AS family, activity, stage, {hours} AS hours")
        .aggregate("said, shape, any_value(family), activity, stage, count(*), sum(hours)", "said, shape, activity, stage")
        .order("said, shape, activity, stage")
        .fetchall()
    )
    answers = sorted({row[3] for row in rows if row[3]})
    families = [row[2] or "" for row in rows]
    labelled = sum(row[5] for row in rows)
    if labelled < LEAST_LABELS or len(answers) < 2 or len(set(families)) < FOLDS:
        raise ConfigError(
            f"{labelled} labelled jobs of {len(set(families))} families say {', '.join(answers) or 'no activity'}; learning"
            f" needs at least {LEAST_LABELS} jobs, {FOLDS} families and two activities: label more"
        )
    base = base or load()
    counts = np.array([row[5] for row in rows], float)
    money = np.array([row[6] or 0.0 for row in rows]) + 1e-6
    found = Examples([(row[0], row[1]) for row in rows], families, np.minimum(counts, 20.0) ** 0.5, money)
    start = {"work": _as_activities(base), "stage": _stacked(base.stage)}
    made, limits, measured = heads(
        found, [r[3] for r in rows], [r[4] for r in rows], ACTIVITIES, ACTIVITIES, start, otherwise={"stage": base.stage}
    )
    card = {
        "own": True,
        "activities": list(ACTIVITIES),
        "thresholds": limits,
        "data": f"{labelled} labelled jobs of {len(set(families))} families of this organisation, on top of {base.version}",
        "says": f"{', '.join(answers)}: what the labels say, final_training only where they say it",
        "limits": "knows the teams whose labels it has seen; held out by family, so a new team may be judged less well",
        "held_out_by_family": measured,
    }
    return write(file, made, card)


def _stacked(head: Head) -> Floats:
    return np.concatenate([head.weights.astype(float), head.bias[None] / BIAS**0.5])


def _as_activities(base: Model) -> Floats:
    """The base's weights for each activity: the mean of its kinds of work, and nothing for what it can't say."""
    whole = _stacked(base.work)
    columns = []
    for activity in ACTIVITIES:
        kinds = [i for i, said in enumerate(base.activities) if said == activity]
        columns.append(whole[:, kinds].sum(axis=1) if kinds else np.zeros(len(whole)))
    return np.stack(columns, axis=1)


if __name__ == "__main__":
    print(make_public())  # noqa: T201
