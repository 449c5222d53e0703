"""Which families are alike, and what answers about some of them say of the others.

A unit is the jobs of one family and one person. Units are vectors: the features of rdspend.purpose of one of its jobs, rare
ones more, and the person. How much the person counts grows with how little the words say: a name that most people use, or
none at all, speaks only through who gave it. What a unit was for is, before anybody answered, what the model of words says; of
opaque units what their person's other units are. Answers pull it: ridge regression of the answered questions on what was
expected of them, over similarity. An answer may be wrong (ERRS): one that contradicts what is expected of the family and
what families like it were answered stays in doubt, until it is given again.

Numpy only, nothing drawn at random; 10,000 units in a few seconds, memory does not grow beyond that.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rdspend.families import FAMILY
from rdspend.purpose import BUCKETS, SHAPE, TEXT, Model, features, judge
from rdspend.schema import ACTIVITIES

Floats = NDArray[np.float64]
Single = NDArray[np.float32]
Ints = NDArray[np.int64]

MOST_UNITS: Final = 10_000
"""Units are looked at from the largest; the others are left to other taggers."""

ERRS: Final = 0.05
"""How often an answer is taken to be wrong."""

MIXED: Final = "mixed"
"""The answer "of several purposes: ask me person by person"."""

LEAST_ALIKE: Final = 0.1
"""Less alike is not alike: then nothing follows from an answer."""

_WIDTH, _PEOPLE = 512, 64
_PENALTY = 0.3
_NAMED, _OPAQUE = 0.2, 0.8
_SAID_BY_MANY, _SAID_BY_MOST, _SEVERAL = 0.25, 0.60, 6
_SPLIT = 0.4
_MAY_BE_FINAL = 0.45
_LEAST, _MOST = 0.005, 0.995
_SETTLED = 0.05
_FINAL, _EXPLORATION = ACTIVITIES.index("final_training"), ACTIVITIES.index("exploration")


def gathered(jobs: Any, amount: str, family: str = FAMILY) -> Any:
    """Relation of family, user, said, shape, jobs, amount: a row for each of the largest units, largest first.

    jobs    relation of the columns of JOBS
    amount  SQL of what a job weighs
    family  SQL of its family
    """
    job = jobs.project(f"*, coalesce({family}, '') AS its_family, coalesce(\"user\", '') AS whose, {amount} AS weighs")
    return job.query(
        "weighed_job",
        f"SELECT u.family, u.whose, {TEXT} AS said, {SHAPE} AS shape, u.jobs, u.amount FROM weighed_job"
        " JOIN (SELECT its_family AS family, whose, count(*) AS jobs, sum(weighs) AS amount,"
        "  max({'weighs': weighs, 'job_key': job_key}).job_key AS job_key FROM weighed_job GROUP BY ALL"
        f"  ORDER BY amount DESC, family, whose LIMIT {MOST_UNITS}) AS u USING (job_key)"
        " ORDER BY u.amount DESC, u.family, u.whose",
    )


MOST_ASKED: Final = 400
"""Questions of the most doubtful money are compared; nobody answers more."""


@dataclass(frozen=True)
class Question:
    """A family to ask about, or one person's jobs of it (`user`; "": everybody's)."""

    family: str
    user: str = ""


@dataclass(frozen=True)
class Units:
    """The units of an organisation, in rows.

    weights  how much each counts, sum 1
    vectors  of length 1
    expected units x ACTIVITIES: how likely each is before anybody answered
    opaque   how little the words say, in [0, 1]
    """

    families: Sequence[str]
    users: Sequence[str]
    weights: Floats
    vectors: Single
    expected: Floats
    opaque: Floats
    rows: Mapping[str, Ints]
    split: frozenset[str]

    def members(self, question: Question) -> Ints:
        """Rows that a question is about."""
        rows = self.rows.get(question.family, np.empty(0, np.int64))
        return rows if not question.user else np.array([row for row in rows if self.users[row] == question.user], np.int64)

    def questions(self, mixed: frozenset[str] = frozenset()) -> list[Question]:
        """What may be asked: each family; the people of one that says nothing, or is known to be mixed."""
        asked = []
        for family, rows in self.rows.items():
            by_person = len(rows) > 1 and (family in self.split or family in mixed)
            asked += [Question(family, self.users[row]) for row in rows] if by_person else [Question(family)]
        return asked

    def centre(self, rows: Ints, values: Any) -> Floats:
        """Mean of the rows by weight."""
        return np.asarray(np.average(values[rows], axis=0, weights=self.weights[rows] + 1e-12))


def units(rows: Sequence[tuple[str, str, str, str, int, Any]], model: Model) -> Units:
    """The units of rows of `gathered`."""
    families, users = [row[0] for row in rows], [row[1] for row in rows]
    weights = np.array([max(0.0, float(row[5])) + 1e-9 for row in rows])
    weights /= max(weights.sum(), 1e-300)
    texts = [(row[2], row[3]) for row in rows]
    by_family: dict[str, list[int]] = {}
    for number, family in enumerate(families):
        by_family.setdefault(family, []).append(number)
    opaque = _opacity(families, users, by_family)
    expected = _expected(texts, model)
    expected = _by_person(expected, users, weights, opaque)
    return Units(
        families,
        users,
        weights,
        _vectors(texts, families, users, opaque),
        _with_candidates(expected, weights),
        opaque,
        {family: np.array(members) for family, members in by_family.items()},
        frozenset(family for family, members in by_family.items() if opaque[members[0]] > _SPLIT),
    )


def _opacity(families: Sequence[str], users: Sequence[str], by_family: Mapping[str, Sequence[int]]) -> Floats:
    """How little the words say: nothing where the family itself had to name the person, less the more people use them."""
    people = max(1, len(set(users)))
    share = np.array([len(by_family[f]) / people if len(by_family[f]) >= _SEVERAL else 0.0 for f in families])
    wide = np.clip((share - _SAID_BY_MANY) / (_SAID_BY_MOST - _SAID_BY_MANY), 0, 1)
    nothing = [not family or family.endswith(f" by {user}") for family, user in zip(families, users, strict=True)]
    return np.where(nothing, 1.0, wide)


def _expected(texts: Sequence[tuple[str, str]], model: Model) -> Floats:
    """What the model of words says; what has no activity says nothing."""
    said = judge(texts, model)
    out = np.zeros((len(texts), len(ACTIVITIES)))
    for number, activity in enumerate(model.activities):
        if activity is not None:
            out[:, ACTIVITIES.index(activity)] += said[f"p{number}"].to_numpy(float)
    return out


def _by_person(expected: Floats, users: Sequence[str], weights: Floats, opaque: Floats) -> Floats:
    """Opaque units are as their person's others are; of a person who has none, as everybody's."""
    # The root, so that one long run does not speak for all a person does.
    sure = np.sqrt(weights) * (1 - opaque)
    everyone = (expected * sure[:, None]).sum(axis=0) + 1e-9
    everyone /= everyone.sum()
    by_user = {user: number for number, user in enumerate(dict.fromkeys(users))}
    numbers = np.array([by_user[user] for user in users], np.int64)
    theirs = np.zeros((len(by_user), expected.shape[1]))
    np.add.at(theirs, numbers, expected * sure[:, None])
    theirs += np.sqrt(weights).sum() / max(1, len(weights)) * everyone
    theirs /= theirs.sum(axis=1, keepdims=True)
    return np.asarray(expected * (1 - opaque)[:, None] + (_OPAQUE * theirs[numbers]) * opaque[:, None])


def _with_candidates(expected: Floats, weights: Floats) -> Floats:
    """Exploration that may have been final: nearly half of it for the largest unit, less for smaller ones."""
    out = expected.copy()
    final = expected[:, _EXPLORATION] * _MAY_BE_FINAL * weights / max(weights.max(initial=0.0), 1e-300)
    out[:, _EXPLORATION] -= final
    out[:, _FINAL] += final
    return out


def _vectors(texts: Sequence[tuple[str, str]], families: Sequence[str], users: Sequence[str], opaque: Floats) -> Single:
    said = [features(text, shape) for text, shape in texts]
    seen: dict[str, Ints] = {}
    for family, (found, _) in zip(families, said, strict=True):
        seen.setdefault(family, found)
    often = np.ones(BUCKETS)
    for found in seen.values():
        often[np.unique(found)] += 1
    rare = np.sqrt(np.maximum(0.0, np.log((len(seen) + 2) / often) / np.log(len(seen) + 2)))
    out = np.zeros((len(texts), _WIDTH + _PEOPLE), np.float32)
    for row, (found, counts) in enumerate(said):
        signed = counts * rare[found] * np.where(found >> 9 & 1, 1.0, -1.0)
        out[row, :_WIDTH] = np.bincount(found & (_WIDTH - 1), signed, _WIDTH)
    out[:, :_WIDTH] /= np.maximum(np.linalg.norm(out[:, :_WIDTH], axis=1, keepdims=True), 1e-9)
    person = _NAMED + (_OPAQUE - _NAMED) * opaque
    people = np.zeros((len(texts), _PEOPLE), np.float32)
    for row, user in enumerate(users):
        digest = zlib.crc32(user.encode())
        # Two places of many, so that few people share both.
        people[row, digest % _PEOPLE] += 1
        people[row, digest // _PEOPLE % _PEOPLE] += 1
    people /= np.maximum(np.linalg.norm(people, axis=1, keepdims=True), 1e-9)
    out[:, :_WIDTH] *= np.sqrt(1 - person)[:, None]
    out[:, _WIDTH:] = people * np.sqrt(person)[:, None]
    return out


# --- what answers say -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What somebody said of a question: an activity, or MIXED."""

    question: Question
    activity: str


@dataclass(frozen=True)
class Outlook:
    """What is to be expected of each unit after the answers. Arrays have a row for each unit.

    chances     units x ACTIVITIES, sum 1 or, where nothing is known of some of it, less
    cover       similarity to the nearest answered question, in [0, 1]; 1 of what was answered itself
    nearest     that question, by its number in `asked`; -1: nothing was answered
    doubt       how likely the likeliest activity is wrong
    answered    1 where somebody answered for the unit itself
    """

    asked: Sequence[Question]
    chances: Floats
    cover: Floats
    nearest: Ints
    doubt: Floats
    answered: NDArray[np.bool_]


def outlook(known: Units, answers: Sequence[Answer]) -> Outlook:
    """What the answers say of every unit: of their own, and of those like them."""
    given = _by_question(known, answers)
    if not given:
        chances = _as_chances(known.expected)
        none = np.zeros(len(chances))
        return Outlook((), chances, none, np.full(len(chances), -1), _doubt(chances), none.astype(bool))
    asked = list(given)
    members = [known.members(question) for question in asked]
    centres = _unit_length(np.stack([known.centre(rows, known.vectors) for rows in members]))
    before = np.stack([known.centre(rows, known.expected) for rows in members])
    near = _similarity(known.vectors, centres)
    among = _similarity(centres, centres)
    inverse = np.linalg.inv(among + _PENALTY * np.eye(len(asked)))
    said = np.stack([_likelihood(words) for words in given.values()])
    wanted = 2 * said / said.sum(axis=1, keepdims=True) - 1
    pulled = inverse @ (wanted - (2 * before - 1))
    # What the others say of each question, as if it had not been answered itself (leaving one out is exact).
    alone = _as_chances((wanted - pulled / np.diag(inverse)[:, None] + 1) / 2)
    believed = alone * said
    believed /= believed.sum(axis=1, keepdims=True)
    pulled = inverse @ (2 * believed - 2 * before)
    chances = _as_chances(known.expected + near @ pulled / 2)
    cover, nearest = near.max(axis=1), near.argmax(axis=1)
    answered = np.zeros(len(chances), bool)
    # Those about one person last: they say more of their jobs than what was said of all.
    for number in sorted(range(len(asked)), key=lambda n: bool(asked[n].user)):
        rows = members[number]
        chances[rows], cover[rows], nearest[rows], answered[rows] = believed[number], 1.0, number, True
    return Outlook(asked, chances, cover, nearest, _doubt(chances), answered)


def mixed(answers: Sequence[Answer]) -> frozenset[str]:
    """Families that somebody said are of several purposes."""
    return frozenset(answer.question.family for answer in answers if answer.activity == MIXED)


def _by_question(known: Units, answers: Sequence[Answer]) -> dict[Question, list[str]]:
    given: dict[Question, list[str]] = {}
    for answer in answers:
        if answer.activity != MIXED and len(known.members(answer.question)):
            given.setdefault(answer.question, []).append(answer.activity)
    return given


def _likelihood(words: Sequence[str]) -> Floats:
    """How likely these answers are, were each activity the truth."""
    out = np.ones(len(ACTIVITIES))
    for word in words:
        out *= np.where(np.arange(len(ACTIVITIES)) == ACTIVITIES.index(word), 1 - ERRS, ERRS / (len(ACTIVITIES) - 1))
    return out


def _as_chances(scores: Floats) -> Floats:
    kept = np.clip(scores, _LEAST, 1)
    total = kept.sum(axis=1, keepdims=True)
    return np.asarray(kept / np.maximum(total, 1.0))


def _doubt(chances: Floats) -> Floats:
    return np.asarray(1 - np.minimum(chances.max(axis=1), _MOST))


def _similarity(some: Any, others: Any) -> Floats:
    """Squared cosine, 0 where it is negative: a little alike is hardly alike."""
    return np.asarray(np.clip(some @ others.T.astype(some.dtype), 0, 1) ** 2, float)


def _unit_length(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))


# --- what to ask ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """A question, the rows it is about, and how much doubt its answer would take away: of `open` money, by similarity."""

    question: Question
    rows: Ints
    settles: float


def queue(known: Units, seen: Outlook, amounts: Floats, families_mixed: frozenset[str], most: int) -> list[Candidate]:
    """The questions to ask, best first: each time the one that covers most doubtful money not yet like an answered one.

    amounts  of each unit, what is not settled by anybody of more authority
    """
    asked = known.questions(families_mixed)
    members = [known.members(question) for question in asked]
    # An answer that is beyond doubt is not asked for again.
    weighed = np.where(seen.answered & (seen.doubt < _SETTLED), 0.0, amounts * seen.doubt)
    worth = np.array([weighed[rows].sum() for rows in members])
    chosen = np.argsort(-worth, kind="stable")[:MOST_ASKED]
    if not len(chosen):
        return []
    members = [members[number] for number in chosen]
    centres = _unit_length(np.stack([known.centre(rows, known.vectors) for rows in members])).astype(np.float32)
    near = (np.clip(centres @ known.vectors.T, 0, 1) ** 2).astype(np.float32)
    for number, rows in enumerate(members):
        near[number, rows] = 1
    cover = np.where(seen.answered, 0.0, seen.cover).astype(np.float32)
    out: list[Candidate] = []
    left = set(range(len(members)))
    while left and len(out) < most:
        numbers = sorted(left)
        gains = np.maximum(near[numbers] - cover, 0) @ weighed.astype(np.float32)
        best = numbers[int(gains.argmax())]
        gain = float(gains.max())
        if gain <= 0:
            break
        out.append(Candidate(asked[chosen[best]], members[best], gain))
        cover = np.maximum(cover, near[best])
        left.remove(best)
    return out


def answerable(seen: Outlook, precision: float) -> NDArray[np.bool_]:
    """Units that an answer may be given for because of others: likely enough, like a reviewed one, not reviewed themselves."""
    return (1 - seen.doubt >= precision) & (seen.cover >= LEAST_ALIKE) & ~seen.answered


def spelled(chances: Floats) -> str:
    """Chances as the column `chances` of TAGS has them."""
    return " ".join(f"{name} {chance:.2f}" for name, chance in zip(ACTIVITIES, chances, strict=True))


def alike(known: Units, rows: Ints) -> Floats:
    """How like each unit is to a question about these rows, in [0, 1]."""
    centre = _unit_length(known.centre(rows, known.vectors)[None, :])
    return _similarity(known.vectors, centre)[:, 0]
