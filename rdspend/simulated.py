"""Simulated months, to see how often the 90 % interval of a share covers what is true.

A month is an organisation's jobs with their true purpose, drawn anew: some families are not there, every family costs more or
less than it did, some are labelled (and some labels are wrong), a release may have claimed the final runs, and for a part of
the month there are estimates whose error nobody knows yet. The answers are those of the model that ships; the interval is made
as a breakdown makes it. Covered is a share when what is true lies in its interval, ends included.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from rdspend import evaluation, learning, sets
from rdspend.draws import MODEL, PART, PERSON, REVIEW_RIGHT, TRAINING, draw, final_chances, open_rows, shares
from rdspend.families import FAMILY
from rdspend.purpose import SHAPE, TEXT, WORK, Model, judge
from rdspend.schema import ACTIVITIES, GPU_PARTS

MONTHS: Final = 200
DENOMINATOR: Final = ("exploration", "data_generation", "evaluation", "final_training", "unclassified")
SHARES: Final = DENOMINATOR[:4]
STAGE_UNKNOWN, IN_TRAINING = 1, 2

THERE: Final = 0.7
COST_SPREAD: Final = 0.8
MOST_REVIEWED: Final = 6
CLAIMED: Final = 0.5
ESTIMATE_ERROR: Final = 0.05
UNIT: Final = 1e6


@dataclass(frozen=True)
class Coverage:
    """How many of the intervals cover the truth: of all shares that are not certain, and of each; and how wide they are."""

    months: int
    interval_coverage: float
    by_share: dict[str, float]
    width: dict[str, float]


FITTED: Final = ("lab-quartz", "lab-rhein")
"""Habits of the lab that `draws.TILT` was fitted to, with every second owner; the others are what intervals are tried on."""

LEAST_JOBS: Final = 8


def tried(labs: Mapping[str, pd.DataFrame], owners: Mapping[str, pd.DataFrame], fitted: bool = False) -> list[pd.DataFrame]:
    """Organisations to draw months from, those of the lab and owners in turn."""
    made = [each for name, each in sorted(labs.items()) if name.startswith(FITTED) == fitted]
    real = [owners[name] for name in sorted(owners)][0 if fitted else 1 :: 2]
    return [each for pair in zip(itertools.cycle(made), real, strict=False) for each in pair]


def organisation(labelled: sets.Labelled, model: Model, precision: float = 0.95) -> pd.DataFrame:
    """A set's jobs by family, answer and truth: hours, confidence, chances; what a month is drawn from."""
    rows = labelled.jobs.project(f"job_key, {TEXT} AS said, {SHAPE} AS shape, {FAMILY} AS family, gpu_hours").df()
    truth = pd.DataFrame.from_dict(labelled.labels, orient="index", columns=["work", "truth", "stage_true", "held"])
    frame = rows.merge(truth, left_on="job_key", right_index=True)
    frame = frame[frame.truth.notna()].sort_values("job_key", kind="stable").reset_index(drop=True)
    texts = frame[["said", "shape"]].drop_duplicates().reset_index(drop=True)
    said = judge(list(zip(texts.said, texts["shape"], strict=True)), model)
    limit = model.threshold(precision)
    answers = pd.concat([texts, said[["activity", "confidence", "stage", "stage_confidence", "told"]]], axis=1)
    answers.loc[answers.confidence < limit, "activity"] = None
    answers.loc[answers.activity.isna() | (answers.stage_confidence < limit), "stage"] = None
    return grouped(frame.merge(answers, on=["said", "shape"]))


def grouped(frame: pd.DataFrame) -> pd.DataFrame:
    """Jobs with columns family, truth, gpu_hours, activity, confidence, stage, told as rows of a month to draw from."""
    told = np.array([_chances(text) for text in frame.told], float).reshape(len(frame), len(ACTIVITIES))
    index = {name: number for number, name in enumerate(ACTIVITIES)}
    whole = pd.DataFrame(
        {
            "family": frame.family.fillna("no words"),
            "truth": frame.truth.map(index),
            "answer": frame.activity.map(index).fillna(-1).astype(int),
            "training": np.where(frame.stage.isin(TRAINING), IN_TRAINING, np.where(frame.stage.isna(), STAGE_UNKNOWN, 0)),
            "hours": np.maximum(frame.gpu_hours.to_numpy(float), 0) + 1e-6,
            "confidence": frame.confidence.to_numpy(float),
            **{f"told{i}": told[:, i] for i in range(len(ACTIVITIES))},
        }
    )
    averaged = ["confidence", *(f"told{i}" for i in range(len(ACTIVITIES)))]
    whole[averaged] = whole[averaged].mul(whole.hours, axis=0)
    sums = whole.groupby(["family", "answer", "training", "truth"], as_index=False).sum()
    sums[averaged] = sums[averaged].div(sums.hours, axis=0)
    return sums


def _chances(told: str | None) -> list[float]:
    said = dict(zip((words := (told or "").split())[::2], map(float, words[1::2]), strict=True))
    return [said.get(activity, 0.0) for activity in ACTIVITIES]


def month(org: pd.DataFrame, seed: int, tilt: float | None = None) -> dict[str, tuple[float, float, float]]:
    """Truth and interval of each share of one simulated month; those that are certain are left out."""
    rng = np.random.Generator(np.random.PCG64(seed))
    families = org.family.unique()
    there = families[rng.random(len(families)) < THERE]
    cost = dict(zip(families, np.exp(rng.normal(0, COST_SPREAD, len(families))), strict=True))
    rows = org[org.family.isin(there)].copy()
    rows["money"] = rows.hours * rows.family.map(cost)
    rows["money"] *= 1e9 / max(rows.money.sum(), 1e-9)
    kind = np.full(len(rows), MODEL)
    if rng.random() < CLAIMED:
        claimed = rows.truth.to_numpy() == ACTIVITIES.index("final_training")
        rows.loc[claimed, "answer"], rows.loc[claimed, "confidence"] = ACTIVITIES.index("final_training"), 1.0
        kind[claimed] = PERSON
    kind = _reviewed(rows, kind, rng)
    estimated = rng.choice([0.0, 0.3, 1.0])
    # Two types of GPUs, each with an error of its own: a family's jobs run on one of them.
    of_type = dict(zip(families, rng.integers(0, 2, len(families)), strict=True))
    errors = rng.normal(0, ESTIMATE_ERROR, 2)[rows.family.map(of_type).to_numpy()]
    true = rows.money.to_numpy() * (1 + estimated * errors)
    by_truth = {name: float(true[rows.truth.to_numpy() == i].sum()) for i, name in enumerate(ACTIVITIES)}
    whole = sum(by_truth[name] for name in SHARES)
    found = _interval(rows, kind, estimated, tilt)
    return {
        name: (by_truth[name] / whole, low, high)
        for name, (low, high) in found.items()
        if whole > 0 and round(high - low, 6) > 0
    }


def _reviewed(rows: pd.DataFrame, kind: Any, rng: Any) -> Any:
    """A person said of some of the largest families what they were; one in twenty times that is wrong."""
    largest = rows.groupby("family").money.sum().sort_values(ascending=False, kind="stable").index[: 2 * MOST_REVIEWED]
    for family in largest[: int(rng.integers(0, MOST_REVIEWED + 1))]:
        here = (rows.family == family).to_numpy() & (kind != PERSON)
        if here.any():
            meant = rows[here].groupby("truth").money.sum().idxmax()
            said = meant if rng.random() < REVIEW_RIGHT else rng.integers(0, len(ACTIVITIES))
            rows.loc[here, "answer"], rows.loc[here, "confidence"] = said, REVIEW_RIGHT
            kind = np.where(here, PERSON, kind)
    return kind


def _interval(rows: pd.DataFrame, kind: Any, estimated: float, tilt: float | None) -> dict[str, tuple[float, float]]:
    amount = (rows.money * UNIT).round().to_numpy().astype(np.int64)
    table: dict[str, Any] = {
        "family": rows.family.to_numpy(),
        "team": np.full(len(rows), ""),
        "answer": rows.answer.to_numpy().astype(np.int64),
        "kind": kind,
        "training": rows.training.to_numpy(),
        "size": (rows.hours * 1000).round().to_numpy().astype(np.int64),
        "amount": amount,
        "estimated": (amount * estimated).astype(np.int64),
        "confidence": (rows.confidence * PART).round().to_numpy().astype(np.int64),
        **{f"told{i}": (rows[f"told{i}"] * PART).round().to_numpy().astype(np.int64) for i in range(len(ACTIVITIES))},
    }
    final, _ = final_chances(table)
    chosen, unsure = open_rows(table, final)
    rest = np.setdiff1d(np.arange(len(rows)), chosen)
    names = [*ACTIVITIES, "unclassified"]
    fixed = {
        name: (int(amount[here].sum()), int(table["estimated"][here].sum()))
        for i, name in enumerate(names)
        for here in [rest[table["answer"][rest] == (i if i < len(ACTIVITIES) else -1)]]
    }
    error = ESTIMATE_ERROR if estimated else 0.0
    return shares(draw(unsure, error, tilt), fixed, ACTIVITIES, DENOMINATOR, error)


def owners(precision: float = 0.95) -> dict[str, pd.DataFrame]:
    """Owners of the headers as organisations, each judged by models that never saw it."""
    labelled = sets.read(sets.HERE / evaluation.MADE_FROM)
    frame = labelled.jobs.project(f"job_key, {TEXT} AS said, {SHAPE} AS shape, {FAMILY} AS family, gpu_parts").df()
    truth = pd.DataFrame.from_dict(labelled.labels, orient="index", columns=["kind", "activity_true", "stage_true", "held"])
    frame = frame.merge(truth, left_on="job_key", right_index=True).sort_values("job_key", kind="stable").reset_index(drop=True)
    texts = list(zip(frame.said, frame["shape"], strict=True))
    said = learning.cross_fitted(texts, frame.kind, frame.stage_true, frame.held, precision)
    # Whether its training was final nobody can know of a header: it is exploration here, and its stage is none of training.
    whole = frame.assign(
        truth=frame.kind.map(WORK),
        gpu_hours=(frame.gpu_parts.fillna(0) / GPU_PARTS).clip(lower=1),
        activity=said.activity.where(said.answered, None),
        confidence=said.confidence,
        told=said.told,
        stage="other",
    )
    whole = whole[whole.truth.notna()]
    return {str(owner): grouped(rows) for owner, rows in whole.groupby("held") if len(rows) >= LEAST_JOBS}


def months(model: Model, precision: float = 0.95, say: Callable[[str], object] = lambda _: None) -> Coverage:
    """How often 90 % intervals cover the truth in simulated months of organisations that nothing was fitted to."""
    say("simulated months")
    with evaluation.organisations(say) as labs:
        found = {folder.name: organisation(sets.read(folder), model, precision) for folder in labs}
    return coverage(tried(found, owners(precision)))


def words(found: Coverage) -> str:
    """What was found, in a sentence."""
    each = ", ".join(f"{name} {share:.3f} ({found.width[name]:.3f} wide)" for name, share in found.by_share.items())
    return f"{found.months} simulated months: 90 % intervals cover {found.interval_coverage:.3f} of what is true; {each}"


def gates(found: Coverage, file: Path = evaluation.GATES) -> list[evaluation.Missed]:
    """The gates of simulated months that are not reached."""
    wanted = tomllib.loads(file.read_text(encoding="utf-8")).get(evaluation.MONTHS, {}).get("interval_coverage", {})
    value = found.interval_coverage
    return [
        evaluation.Missed(evaluation.MONTHS, "interval_coverage", value, f"at {word} {bound}")
        for word, bound in wanted.items()
        if (value < bound if word == "least" else value > bound)
    ]


def coverage(organisations: Sequence[pd.DataFrame], months: int = MONTHS, tilt: float | None = None) -> Coverage:
    """How often intervals cover the truth, over months of organisations in turn."""
    hits: dict[str, list[bool]] = {name: [] for name in SHARES}
    widths: dict[str, list[float]] = {name: [] for name in SHARES}
    for number in range(months):
        for name, (true, low, high) in month(organisations[number % len(organisations)], number, tilt).items():
            # As they are published: in millionths.
            hits[name].append(round(low, 6) - 1e-6 <= true <= round(high, 6) + 1e-6)
            widths[name].append(high - low)
    every = [hit for each in hits.values() for hit in each]
    return Coverage(
        months,
        round(float(np.mean(every)), 4) if every else 1.0,
        {name: round(float(np.mean(each)), 4) for name, each in hits.items() if each},
        {name: round(float(np.mean(each)), 4) for name, each in widths.items() if each},
    )
