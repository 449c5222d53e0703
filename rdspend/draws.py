"""Draws of what money nobody is sure of was for: a 90 % interval of every share, without a share of its own in any figure.

One family goes one way in one draw: errors inside a family go together, since its jobs got their answer from the same words.
Answers of a model go wrong together in one more way: an organisation's habits are not those it learned from, so in each draw
all its chances of an activity are tilted by one factor. How far is measured on owners that it had not seen (`TILT`).

All of it is exact: amounts and chances are whole numbers, every family has its own stream of random numbers that only its
text begins, and no sum depends on its order. So the same figures give the same interval on every machine, and an answer about
one family moves no other.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rdspend.schema import ACTIVITIES, BUCKETS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DRAWS: Final = 2_000
LOW: Final = 0.05
PART: Final = 10**6
"""Chances are whole parts of this."""

ONE_BY_ONE: Final = 1_000
"""So many families are drawn one by one, the largest; of the rest, what they add up to."""

TILT: Final = 0.5
"""Standard deviation of the logarithm of the factor by which an organisation's habits tilt a model's chances of an activity.

That of 0, 0.25, 0.5, ... under which nearest to 90 % of the shares are covered in simulated months of half of the owners of the
headers and half of the lab's naming habits (rdspend.simulated.FITTED); the other halves are what it is tried on.
"""

STATED_INTENT: Final = 0.6
LARGEST: Final = 0.4
UNKNOWN: Final = 0.5
"""Chance that training was of a run that a release will claim: where its words say so; at most, of any other; of what nobody
knows at all. Of any other training it is the family's part of its team's training, for final runs are few and large; none where
words say otherwise."""

EXPLORATION, FINAL = ACTIVITIES.index("exploration"), ACTIVITIES.index("final_training")
WORK: Final = [number for number in range(len(ACTIVITIES)) if number != FINAL]
TRAINING: Final = ("pretraining", "midtraining", "finetuning", "reinforcement_learning")

PERSON, MODEL = 1, 2
"""Who said so: people and releases; models. 0 is anybody else: rules."""

REVIEW_RIGHT: Final = 0.95
"""How often a person who looks at a family for a minute is right."""

LARGE: Final = (3, 10)
"""The largest training of a team is a candidate from this part of the team's training on."""

_PRICED = (*ACTIVITIES, *BUCKETS)
_GRID = 2**16
_AT_ONCE = 32
_ERRORS_SEED = 0
_TILT_SEED = 1
_REST_SEED = 10


@dataclass(frozen=True)
class Unsure:
    """Money or GPU time that taggers are not sure of, a row for each family and answer.

    family      whose rows go together
    amount      whole units, below zero for credits; `estimated` is the part of it that no bill has shown
    activity    index of the answer in ACTIVITIES, -1: none
    confidence  of the answer, in parts of a million; 0 where there is none
    told        rows x ACTIVITIES, the chances that a model tells, in parts of a million: none told is all 0
    model       whether a model gave the answer, or nobody did
    final       chance that, if it was training, it was final, in parts of a million
    """

    family: Sequence[str]
    amount: Ints
    estimated: Ints
    activity: Ints
    confidence: Ints
    told: Ints
    model: Bools
    final: Ints


def chances(unsure: Unsure) -> Ints:
    """Rows x ACTIVITIES in parts of a million: the answer by its confidence, the rest as told; what is not told is any work.

    Final training is never among what is not told: it is a part of training, by `final`.
    """
    rows, answered = np.arange(len(unsure.amount)), unsure.activity >= 0
    out = unsure.told.copy()
    out[:, WORK] += ((PART - np.minimum(out.sum(axis=1), PART)) // len(WORK))[:, None]
    given = rows[answered], unsure.activity[answered]
    out[given] = 0
    rest = out[answered]
    empty = rest.sum(axis=1) == 0
    rest[np.ix_(empty, WORK)] = 1
    rest[np.arange(len(rest)), given[1]] = 0
    open_ = PART - unsure.confidence[answered]
    out[answered] = rest * open_[:, None] // np.maximum(rest.sum(axis=1), 1)[:, None]
    out[given] = unsure.confidence[answered]
    moved = out[:, EXPLORATION] * unsure.final // PART
    out[:, EXPLORATION] -= moved
    out[:, FINAL] += moved
    return out


def draw(unsure: Unsure, error: float = 0.0, tilt: float | None = None) -> Floats:
    """DRAWS x ACTIVITIES: what each takes of the rows. `error`: one standard deviation of what is estimated, as a fraction."""
    wide = TILT if tilt is None else tilt
    likely = chances(unsure)
    size = np.abs(unsure.amount)
    order = np.argsort(-size, kind="stable")
    # A family that is one of the largest by any of its rows is drawn as a whole.
    kept = dict.fromkeys(unsure.family[row] for row in order[: ONE_BY_ONE * 2])
    largest = set(list(kept)[:ONE_BY_ONE])
    alone = np.array([family in largest for family in unsure.family], bool)
    factors = _errors(error)
    out = np.zeros((DRAWS, len(ACTIVITIES)))
    for model in (False, True):
        habits = _tilted(wide if model else 0.0)
        here = np.flatnonzero(alone & (unsure.model == model))
        for first in range(0, len(here), _AT_ONCE):
            _add(out, unsure, likely, here[first : first + _AT_ONCE], habits, factors)
        rest = np.flatnonzero(~alone & (unsure.model == model))
        _add_small(out, unsure, likely, rest, habits, factors)
    return out


def _add(out: Floats, unsure: Unsure, likely: Ints, rows: Ints, habits: Floats, factors: Floats) -> None:
    """Each row goes where its family's random number falls among its tilted chances."""
    random = np.stack([_uniform(zlib.crc32(unsure.family[row].encode())) for row in rows])
    weights = likely[rows].astype(float)
    # Whole numbers below 2**53 throughout: exact, whatever the order of the sum.
    at = random * (weights @ habits.T)
    upto = np.zeros_like(at)
    sure, estimated = ((unsure.amount - unsure.estimated)[rows].astype(float), unsure.estimated[rows].astype(float))
    before, before_estimated = np.zeros(DRAWS), np.zeros(DRAWS)
    for activity in range(len(ACTIVITIES)):
        upto += weights[:, activity, None] * habits[None, :, activity]
        below = (at < upto).astype(float)
        now, now_estimated = sure @ below, estimated @ below if estimated.any() else before_estimated
        out[:, activity] += (now - before) + (now_estimated - before_estimated) * factors[:, activity]
        before, before_estimated = now, now_estimated


def _add_small(out: Floats, unsure: Unsure, likely: Ints, rows: Ints, habits: Floats, factors: Floats) -> None:
    """Of very many small families each activity takes its part, by blocks of one answer; what varies is nearly normal."""
    for answer in np.unique(unsure.activity[rows]):
        block = rows[unsure.activity[rows] == answer]
        size = np.abs(unsure.amount[block]).astype(float)
        mean = np.rint((size[:, None] * likely[block]).sum(axis=0) / max(1.0, size.sum()))
        parts = mean * habits
        parts /= np.maximum(parts.sum(axis=1, keepdims=True), 1)
        whole, estimated = float(unsure.amount[block].sum()), float(unsure.estimated[block].sum())
        # Of n families that go one way each: covariance diag(p) - p p', for amounts times the sum of their squares.
        roots = np.sqrt(parts)
        noise = roots * _normal(_REST_SEED + int(answer), len(ACTIVITIES))
        noise -= parts * noise.sum(axis=1, keepdims=True)
        out += parts * (whole - estimated + estimated * factors[:, : len(ACTIVITIES)]) + noise * _length(unsure.amount[block])


def _length(amounts: Ints) -> float:
    """Root of the sum of squares, in whole numbers."""
    return float(math.isqrt(sum(each * each for each in amounts.tolist())))


def _uniform(seed: int) -> Floats:
    """DRAWS numbers of a stream in [0, 1), in steps that keep products exact enough to be the same everywhere."""
    raw = np.random.PCG64(seed).random_raw(DRAWS) >> np.uint64(40)
    return np.asarray((raw.astype(float) + 0.5) / 2**24)


def _normal(seed: int, columns: int) -> Floats:
    """DRAWS x columns of nearly normal numbers: sums of twelve, so that no machine's logarithm has a say."""
    raw = np.random.PCG64(seed).random_raw(DRAWS * columns * 12) >> np.uint64(32)
    return np.asarray(raw.astype(float).reshape(DRAWS, columns, 12).sum(axis=2) / 2**32 - 6)


def _errors(by: float) -> Floats:
    """DRAWS x _PRICED of factors on what is estimated.

    One error of all prices would leave every share as it is, and kinds of work run on GPUs of other types only in part: so half
    of the variance is shared, and half each one's own.
    """
    random = _normal(_ERRORS_SEED, len(_PRICED) + 1)
    return np.asarray(1 + (random[:, 1:] + random[:, :1]) * (by / math.sqrt(2)))


def _tilted(by: float) -> Floats:
    """DRAWS x ACTIVITIES of factors, whole numbers."""
    if not by:
        return np.full((DRAWS, len(ACTIVITIES)), float(_GRID))
    return np.asarray(np.maximum(1.0, np.rint(np.exp(_normal(_TILT_SEED, len(ACTIVITIES)) * by) * _GRID)))


def shares(
    drawn: Floats,
    fixed: Mapping[str, tuple[int, int]],
    says: Sequence[str],
    denominator: Sequence[str],
    error: float = 0.0,
) -> dict[str, tuple[float, float]]:
    """5th and 95th percentile of the share of each activity of the denominator.

    fixed  of each activity and bucket, what does not go anywhere, and the part of that which is estimated
    says   what the policy counts each of ACTIVITIES as
    """
    factors = _errors(error)
    held = {name: (sure - estimated) + estimated * factors[:, _PRICED.index(name)] for name, (sure, estimated) in fixed.items()}
    for number, category in enumerate(says):
        held[category] = held.get(category, 0.0) + drawn[:, number]
    whole = sum((held[name] for name in denominator if name in held), np.zeros(DRAWS))
    # Where all that is open went outside the denominator nothing may be left of it, and there is no share.
    left = whole > 0
    count = int(left.sum())
    if count < DRAWS // 2:
        return {}
    at = [int(count * LOW), count - 1 - int(count * LOW)]
    out = {}
    for name in ACTIVITIES:
        if name in denominator:
            share = np.sort(np.broadcast_to(held.get(name, 0.0), (DRAWS,))[left] / whole[left])
            out[name] = float(share[at[0]]), float(share[at[1]])
    return out


# --- what could still become final ------------------------------------------------------------------------------------

_SAYS_SO = re.compile(r"\b(?:final|release[ds]?|flagship|official|hero)\b")
_NAME_SAYS_SO = re.compile(r"\b(?:main|prod|production)\b")
_VERSIONED = re.compile(r"^[^\W\d_]+\s*#(?:\.#)?\s*[bmt]\s+(?:v\s*#|base|instruct|chat|think\w*)\b")
# What people write on work that is not to be published. `exp`, `run` and `test` are not here: final runs carry them too.
_OTHERWISE = re.compile(
    r"\b(?:abl\w*|\w*ablation\w*|sweeps?|scaling|ladder|hparams?|debug|dbg|smoke|toy|dummy|sanity|proxy|profil\w*)\b"
)


def intent(family: str) -> str:
    """Why the words of a family say that a final run was meant; empty: they do not."""
    name = family.split("·")[0]
    if _OTHERWISE.search(family):
        return ""
    for pattern, text in ((_SAYS_SO, family), (_NAME_SAYS_SO, name)):
        found = pattern.search(text)
        if found:
            return f"says {found[0]!r}"
    found = _VERSIONED.search(name.strip())
    return f"named as a model and its version, {found[0]!r}" if found else ""


def meant_otherwise(family: str) -> bool:
    """Whether the words of a family say that it was no final run."""
    return bool(_OTHERWISE.search(family))


def final_chances(rows: Mapping[str, Any]) -> tuple[Ints, dict[int, str]]:
    """Chance of each row to be final if it was training, and why for those rows of exploration that are candidates.

    rows  arrays by name: family, team, answer (index in ACTIVITIES, -1: none), kind, training (2: its stage is one of training,
          1: its stage is not known), size (GPU time), told0, told1, ... in parts of a million
    """
    answer, kind, size = rows["answer"], rows["kind"], rows["size"]
    exploring = answer == ACTIVITIES.index("exploration")
    # Nobody answered, but a model thinks of training: it is open already, so no candidate, and may be final all the same.
    guessed = (answer < 0) & (rows[f"told{ACTIVITIES.index('exploration')}"] * 2 > PART)
    training = (exploring & (rows["training"] > 0)) | guessed
    spoken = {f for f, by, a in zip(rows["family"], kind, answer, strict=True) if by == PERSON and a not in (-1, FINAL)}
    free = np.array([f not in spoken for f in rows["family"]], bool) & training & (kind != PERSON)
    of_team: dict[str, int] = {}
    of_family: dict[tuple[str, str], int] = {}
    for number in np.flatnonzero(training | (answer == FINAL)):
        team, family, held = rows["team"][number], rows["family"][number], int(size[number])
        of_team[team] = of_team.get(team, 0) + held
        of_family[team, family] = of_family.get((team, family), 0) + held
    most: dict[str, int] = {}
    for (team, _), held in of_family.items():
        most[team] = max(most.get(team, 0), held)
    told = np.stack([rows[f"told{i}"] for i in range(len(ACTIVITIES))]).sum(axis=0)
    final = np.where((answer < 0) & (told == 0), round(UNKNOWN * PART), 0)
    why: dict[int, str] = {}
    reasons: dict[tuple[str, str], tuple[str, float]] = {}
    for number in np.flatnonzero(free):
        team, family = str(rows["team"][number]), str(rows["family"][number])
        if (team, family) not in reasons:
            held = of_family.get((team, family), 0)
            reasons[team, family] = _reason(family, team, held, of_team.get(team, 0), held == most.get(team))
        said, chance = reasons[team, family]
        # Exploration of a stage that nobody knows may be a notebook: only words make it a candidate.
        if rows["training"][number] == 1 and exploring[number] and not said.startswith(("says", "named")):
            said = ""
        final[number] = round(chance * PART)
        if said and exploring[number]:
            why[int(number)] = said
    return final, why


def _reason(family: str, team: str, held: int, of: int, largest: bool) -> tuple[str, float]:
    """Why training may have been final, empty where nothing speaks for it, and how likely that is."""
    said = intent(family)
    if said:
        return said, STATED_INTENT
    if held <= 0 or meant_otherwise(family):
        return "", 0.0
    chance = min(LARGEST, held / of)
    if largest and held * LARGE[1] >= of * LARGE[0]:
        whose = f"of {team!r}" if team else "of all that name no team"
        return f"largest training {whose}, {held * 100 // of} % of its GPU time", chance
    return "", chance


def open_rows(rows: Mapping[str, Any], final: Ints) -> tuple[Ints, Unsure]:
    """Those rows that may have been for something else, and what is known of them. Columns as of `final_chances`, and amount,
    estimated, confidence in parts of a million."""
    answer, kind, confidence = rows["answer"], rows["kind"], rows["confidence"]
    certain = (kind == PERSON) & (confidence >= PART)
    chosen = np.flatnonzero((answer < 0) | (~certain & ((confidence < PART) | (final > 0))))
    return chosen, Unsure(
        family=[str(rows["family"][row]) for row in chosen],
        amount=rows["amount"][chosen].astype(np.int64),
        estimated=rows["estimated"][chosen].astype(np.int64),
        activity=answer[chosen],
        confidence=confidence[chosen],
        told=np.stack([rows[f"told{i}"][chosen] for i in range(len(ACTIVITIES))], axis=1),
        model=(kind[chosen] == MODEL) | (answer[chosen] < 0),
        final=final[chosen],
    )
