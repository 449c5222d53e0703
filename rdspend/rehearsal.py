"""A made-up reviewer answers the review queue of a labelled set: how much is right after so many answers.

The reviewer says of each question what most of its GPU time was for, final training included; `mixed` where that is less than
nine tenths and several people are in it. One that errs says another activity now and then, and not the same when asked again.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rdspend import kinship, sets
from rdspend.families import FAMILY
from rdspend.kinship import Answer, Candidate, Outlook
from rdspend.purpose import Model
from rdspend.schema import ACTIVITIES

Floats = NDArray[np.float64]

ANSWERS: Final = (0, 5, 10, 20)
REVIEWERS: Final = 3
"""So many reviewers who err are tried."""

PURE: Final = 0.9
PRECISION: Final = 0.9
BINS: Final = 10


@dataclass(frozen=True)
class Rehearsed:
    """After 0, 5, 10 and 20 answers. right: part of GPU-hours whose likeliest activity is true. Of what is at least PRECISION
    sure, answered is its part and right_answered how much of it is right; calibration_error is over all GPU-hours."""

    right: tuple[float, ...]
    answered: tuple[float, ...]
    right_answered: tuple[float, ...]
    calibration_error: tuple[float, ...]


def rehearse(labelled: sets.Labelled, model: Model) -> tuple[Rehearsed, tuple[Rehearsed, ...]] | None:
    """What comes of a reviewer who never errs, and of several who err one time in twenty.

    None: the set does not say what every job was for.
    """
    truth = {job: activity for job, (_, activity, _, _) in labelled.labels.items()}
    if any(activity is None for activity in truth.values()):
        return None
    hours = "greatest(0.0, gpu_hours)"
    known = kinship.units(kinship.gathered(labelled.jobs, hours).fetchall(), model)
    row_of = {unit: row for row, unit in enumerate(zip(known.families, known.users, strict=True))}
    spent = np.zeros((len(row_of), len(ACTIVITIES)))
    for job, family, user, amount in labelled.jobs.project(
        f"job_key, coalesce({FAMILY}, '') AS family, coalesce(\"user\", '') AS whose, {hours} AS hours"
    ).fetchall():
        activity = truth[job]
        if activity is not None and (family, user) in row_of:
            spent[row_of[family, user], ACTIVITIES.index(activity)] += amount
    spent /= max(spent.sum(), 1e-300)
    return _tried(known, spent, None), tuple(_tried(known, spent, number) for number in range(REVIEWERS))


def _tried(known: kinship.Units, spent: Floats, erring: int | None) -> Rehearsed:
    given: list[Answer] = []
    found = []
    for number in range(max(ANSWERS) + 1):
        seen = kinship.outlook(known, given)
        if number in ANSWERS:
            found.append(_measured(seen, spent))
        asked = kinship.queue(known, seen, spent.sum(axis=1), kinship.mixed(given), 1)
        if asked:
            given.append(Answer(asked[0].question, _answer(asked[0], spent, erring, given)))
    return Rehearsed(*(tuple(column) for column in zip(*found, strict=True)))


def _answer(asked: Candidate, spent: Floats, erring: int | None, given: Sequence[Answer]) -> str:
    held = spent[asked.rows].sum(axis=0)
    true = int(held.argmax())
    if not asked.question.user and len(asked.rows) > 1 and held[true] < PURE * held.sum():
        return kinship.MIXED
    again = sum(answer.question == asked.question for answer in given)
    dice = zlib.crc32(f"{erring} {again} {asked.question.family} {asked.question.user}".encode())
    if erring is None or dice % 1000 >= kinship.ERRS * 1000:
        return ACTIVITIES[true]
    others = [activity for number, activity in enumerate(ACTIVITIES) if number != true]
    return others[dice // 1000 % len(others)]


def _measured(seen: Outlook, spent: Floats) -> tuple[float, float, float, float]:
    hours = spent.sum(axis=1)
    right = spent[np.arange(len(spent)), seen.chances.argmax(axis=1)]
    sure = 1 - seen.doubt >= PRECISION
    answered = float(hours[sure].sum())
    return (
        round(float(right.sum()), 4),
        round(answered, 4),
        round(float(right[sure].sum()) / max(answered, 1e-300), 4),
        round(_calibration_error(1 - seen.doubt, right, hours), 4),
    )


def _calibration_error(confidence: Any, right: Floats, hours: Floats) -> float:
    """Mean distance of confidence and truth over parts of the scale, weighed by GPU-hours."""
    part = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(
        sum(abs((confidence * hours)[part == p].sum() - right[part == p].sum()) for p in range(BINS)) / max(hours.sum(), 1e-300)
    )
