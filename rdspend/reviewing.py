"""The review queue: which families a person should look at, and what their answers settle.

The families of a period are asked about in the order in which an answer takes most doubt away: its own and that of families
like it (rdspend.kinship). Each answer is appended to the reviews file at once. What it changes is worked out from the sums of
families under the policy, with the bounds and intervals of the report (rdspend.doubt): the figures that `rdspend tag` and
`rdspend publish` would give. Writes nothing to the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from rdspend import kinship, reviews
from rdspend.breakdown import gpu_hours, ranking
from rdspend.closing import money
from rdspend.config import Config, authority
from rdspend.doubt import Amounts, Bounds, doubt, relative_error
from rdspend.engine import Engine, mapped_errors
from rdspend.errors import ConfigError
from rdspend.estimates import interval, known_errors
from rdspend.kinship import Question
from rdspend.period import Period
from rdspend.policy import category, chosen
from rdspend.purpose import SHIPPED, load
from rdspend.reading import Reader
from rdspend.schema import ACTIVITIES, BUCKETS, Policy

EXAMPLES: Final = 5
DEFAULT_PRECISION: Final = 0.9
ZERO: Final = Decimal(0)


@dataclass(frozen=True)
class Now:
    """What counts for a part of a family now. `by`: the tagger; "": nobody."""

    activity: str
    by: str
    confidence: float
    part: float


@dataclass(frozen=True)
class Item:
    """One question of the queue.

    cost, gpu_hours  of the period
    part             of all jobs' amount, in the policy's unit
    settles          of all jobs' amount, how much doubt an answer is expected to take away, here and of families like it
    alike            families that would follow, and how much alike
    expected         how likely each activity is taken to be before the answer
    said             what was answered before
    """

    number: int
    question: Question
    jobs: int
    cost: Decimal
    gpu_hours: Decimal
    part: float
    settles: float
    people: int
    names: tuple[str, ...]
    commands: tuple[str, ...]
    folders: tuple[str, ...]
    users: tuple[str, ...]
    now: tuple[Now, ...]
    expected: Mapping[str, float]
    alike: tuple[tuple[str, float], ...] = ()
    said: tuple[str, ...] = ()

    @property
    def saw(self) -> str:
        """What a person had in front of them, for the file."""
        shown = "; ".join(self.names[:3] or self.commands[:3])
        return f"{self.jobs:,} jobs, {self.gpu_hours:,.1f} GPU-hours: {shown}"[:300]


@dataclass(frozen=True)
class Figures:
    """Shares by activity with their bounds, as the report would have them. `unclassified` is its part of 100 %."""

    shares: Mapping[str, Decimal]
    bounds: Mapping[str, Bounds]
    unclassified: Decimal
    unit: str
    words: str


def place(config: Config) -> Path:
    """The reviews file of the configuration. Raises ConfigError where there is none."""
    for tagger in config.taggers:
        if tagger.name.split(".")[0] == "review":
            return Path(tagger.instance.path)
    raise ConfigError(
        f'{config.file}: taggers.review: nothing says where answers are kept; add [taggers.review] with path = "reviews.csv",'
        " and [taggers.likeness] with the same path for families that are alike"
    )


@dataclass
class Review:
    """The queue of one period and currency, with the answers so far. Close its engine after use."""

    engine: Engine
    file: Path
    policy: Policy
    currency: str
    known: kinship.Units
    amounts: np.ndarray[Any, Any]
    precision: float
    like: bool
    fixed: Mapping[str, Decimal]
    error: Decimal | None
    given: tuple[reviews.Review, ...] = ()
    skipped: set[Question] = field(default_factory=set)

    # --- the queue ----------------------------------------------------------------------------------------------------

    def queue(self, most: int = 20) -> list[Item]:
        """The questions to ask, best first; none that was skipped."""
        answered = reviews.answers(self.given)
        seen = kinship.outlook(self.known, answered)
        found = kinship.queue(self.known, seen, self.amounts, kinship.mixed(answered), most + len(self.skipped))
        wanted = [each for each in found if each.question not in self.skipped][:most]
        return self._items(wanted, seen)

    def _items(self, wanted: Sequence[kinship.Candidate], seen: kinship.Outlook) -> list[Item]:
        if not wanted:
            return []
        asked = pd.DataFrame(
            [(number, each.question.family, each.question.user) for number, each in enumerate(wanted)],
            columns=["number", "family", "whose"],
        ).astype({"family": "str", "whose": "str"})
        with mapped_errors():
            self.engine.connection.register("asked", asked)
            self.engine.execute(
                "CREATE OR REPLACE TEMP TABLE wanted AS SELECT number, CAST(family AS VARCHAR) AS family,"
                " CAST(whose AS VARCHAR) AS whose FROM asked"
            )
            self.engine.connection.unregister("asked")
        now: dict[int, list[tuple[str, str, float, float]]] = {}
        for number, activity, tagger, amount, confidence in self.engine.read("review_now"):
            now.setdefault(number, []).append((activity, tagger, float(amount), float(confidence or 0)))
        whole = max(float(self.engine.value("SELECT sum(weighs) FROM review_piece") or 0), 1e-300)
        items = []
        for number, jobs, effective, parts, people, examples in self.engine.read("review_seen"):
            each = wanted[number]
            own = sum(amount for _, _, amount, _ in now[number]) or 1e-300
            chances = self.known.centre(each.rows, seen.chances)
            items.append(
                Item(
                    number=number + 1,
                    question=each.question,
                    jobs=jobs,
                    cost=money(int(effective)),
                    gpu_hours=gpu_hours(int(parts)),
                    part=round(own / whole, 6),
                    settles=round(each.settles, 6),
                    people=people,
                    names=_first(example["name"] for example in examples),
                    commands=_first(example["command"] for example in examples),
                    folders=_first(example["folder"] for example in examples),
                    users=_first(example["whose"] for example in examples),
                    now=tuple(Now(a, t, round(c, 2), round(amount / own, 4)) for a, t, amount, c in now[number]),
                    expected={name: round(float(p), 3) for name, p in zip(ACTIVITIES, chances, strict=True)},
                    alike=self._alike(each, seen),
                    said=tuple(f"{r.said}, says {r.who} on {r.when[:10]}" for r in self.given if r.question == each.question),
                )
            )
        return items

    def _alike(self, asked: kinship.Candidate, seen: kinship.Outlook) -> tuple[tuple[str, float], ...]:
        near = kinship.alike(self.known, asked.rows) * ~seen.answered
        near[self.known.rows[asked.question.family]] = 0
        order = np.argsort(-near * self.amounts, kind="stable")
        found = {
            self.known.families[int(row)]: round(float(near[row]), 2) for row in order[:50] if near[row] >= kinship.LEAST_ALIKE
        }
        return tuple(list(found.items())[:EXAMPLES])

    # --- answers ------------------------------------------------------------------------------------------------------

    def refuse(self, review: reviews.Review) -> None:
        """Raises ConfigError for an answer that is none, or about a family that is not there."""
        members = self.known.members(review.question)
        if not len(members):
            raise ConfigError(
                f"{review.whose}: no jobs of it in this period; `rdspend review --format json` names those there are"
            )
        try:
            said = reviews.checked(review).activity
        except ValueError as error:
            raise ConfigError(f"{review.whose}: {error}") from None
        if said == kinship.MIXED and len(members) < 2:
            raise ConfigError(
                f"{review.whose}: all its jobs are of one person, so there is nobody to ask person by person; skip it"
            )

    def answer(self, review: reviews.Review) -> reviews.Review:
        """Append one answer to the file. Raises ConfigError as `refuse` does."""
        self.refuse(review)
        written = reviews.append(self.file, review)
        self.given = (*self.given, written)
        return written

    def undo(self, review: reviews.Review) -> None:
        """Take the last answer out of the file again."""
        reviews.take_back(self.file, review)
        self.given = self.given[:-1]

    # --- what they settle ---------------------------------------------------------------------------------------------

    def figures(self) -> Figures:
        """The shares, were the answers so far in the ledger."""
        answered = self._answered()
        with mapped_errors():
            self.engine.connection.register("told", answered)
            self.engine.execute(
                "CREATE OR REPLACE TEMP TABLE answered AS SELECT CAST(family AS VARCHAR) AS family,"
                " CAST(whose AS VARCHAR) AS whose, CAST(activity AS VARCHAR) AS activity, CAST(tagger AS VARCHAR) AS tagger,"
                " confidence, CAST(chances AS VARCHAR) AS chances, yields_to FROM told"
            )
            self.engine.connection.unregister("told")
        self.engine.run("review_money", category=category(self.policy))
        for name, columns in (
            ("job_money", "* EXCLUDE (tagger, confidence, chances, family)"),
            ("families", "job_key, family"),
        ):
            self.engine.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT {columns} FROM review_money")
        self.engine.execute(
            "CREATE OR REPLACE TEMP TABLE tags AS SELECT job_key, tagger, nullif(activity, 'unclassified') AS activity,"
            " nullif(stage, '') AS stage, chances, confidence FROM review_money WHERE tagger <> '' OR chances IS NOT NULL"
        )
        amounts = self._amounts()
        rank = ranking(t for (t,) in self.engine.rows("SELECT DISTINCT tagger FROM tags"))
        found = doubt(self.engine, self.policy, self.currency, amounts, rank)
        whole = amounts.denominator or Decimal(1)
        shares = {a: amounts.by_category[a] / whole for a in ACTIVITIES if a in self.policy.denominator}
        unit = "GPU-hours" if self.policy.unit == "gpu_hours" else self.currency
        return Figures(shares, found.bounds, amounts.by_category["unclassified"] / whole, unit, found.words)

    def _answered(self) -> pd.DataFrame:
        """What counts of each unit because of the answers, as the taggers `review` and `likeness` would have it."""
        rows: list[tuple[str, str, str, str, float, str | None, int]] = []
        seen = kinship.outlook(self.known, reviews.answers(self.given))
        if self.like:
            for row in map(int, np.flatnonzero(kinship.answerable(seen, self.precision))):
                chances = seen.chances[row]
                sure = round(float(chances.max()), 4)
                activity = ACTIVITIES[int(chances.argmax())]
                said = (activity, "likeness", sure, kinship.spelled(chances), authority("likeness"))
                rows.append((self.known.families[row], self.known.users[row], *said))
        own: dict[int, str | None] = {}
        # Those about one person last: they come first.
        for verdict in sorted(reviews.verdicts(self.given), key=lambda v: bool(v.question.user)):
            if verdict.activity not in ("", kinship.MIXED):
                own |= dict.fromkeys(map(int, self.known.members(verdict.question)), verdict.activity)
        for unit, word in own.items():
            if word is not None:
                rows.append((self.known.families[unit], self.known.users[unit], word, "review", 1.0, None, authority("review")))
        columns = ["family", "whose", "activity", "tagger", "confidence", "chances", "yields_to"]
        texts = dict.fromkeys(("family", "whose", "activity", "tagger", "chances"), "str")
        return pd.DataFrame(rows, columns=columns).astype({**texts, "confidence": float, "yields_to": int})

    def _amounts(self) -> Amounts:
        by_gpu_hours = self.policy.unit == "gpu_hours"
        column = "gpu_part_seconds" if by_gpu_hours else "effective"
        found = dict.fromkeys((*ACTIVITIES, *BUCKETS), ZERO) | dict(self.fixed)
        estimated = dict.fromkeys((*ACTIVITIES, *BUCKETS), ZERO)
        for name, whole, guessed in self.engine.rows(
            f"SELECT category, CAST(sum({column}) AS HUGEINT),"
            " CAST(sum(CASE WHEN basis IN ('estimated', 'mixed') THEN effective ELSE 0 END) AS HUGEINT)"
            " FROM review_money GROUP BY category ORDER BY category"
        ):
            found[name] = found[name] + (gpu_hours(int(whole)) if by_gpu_hours else money(int(whole)))
            estimated[name] = money(int(guessed))
        denominator = sum((found[name] for name in self.policy.denominator), ZERO)
        return Amounts(found, estimated, denominator, self.error)


def _first(texts: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(list(dict.fromkeys(text for text in texts if text))[:EXAMPLES])


def begin(config: Config, period: Period, currency: str | None = None, file: Path | None = None) -> Review:
    """The queue of a period of the ledger, with the answers that the file has; the file may not be there yet."""
    file = file or place(config)
    given = reviews.read(file) if file.exists() else ()
    policy = chosen(config)
    # What tags of the ledger have from the file as it was then must not stay when the file says otherwise.
    engine, of = Reader(config).jobs(period, currency, without=("review", "likeness"))
    try:
        return _begin(config, engine, of, policy, file, given)
    except BaseException:
        engine.connection.close()
        raise


def _begin(
    config: Config, engine: Engine, currency: str, policy: Policy, file: Path, given: tuple[reviews.Review, ...]
) -> Review:
    like = next((t.instance for t in config.taggers if t.name.split(".")[0] == "likeness"), None)
    model = load(SHIPPED if like is None or like.model is None else Path(like.model))
    by_gpu_hours = policy.unit == "gpu_hours" or not engine.value("SELECT COALESCE(sum(effective), 0) <> 0 FROM job_money")
    amount = "m.gpu_part_seconds" if by_gpu_hours else "m.effective"
    taggers = [t for (t,) in engine.rows("SELECT DISTINCT tagger FROM tags ORDER BY 1")]
    engine.run("review_job", rank=ranking(taggers), amount=amount)
    engine.run("review_piece", authority=_authorities(taggers))
    fixed = {
        name: gpu_hours(int(parts)) if policy.unit == "gpu_hours" else money(int(effective))
        for name, effective, parts in engine.rows(
            "SELECT category, CAST(sum(effective) AS HUGEINT), CAST(sum(gpu_part_seconds) AS HUGEINT) FROM cell"
            " WHERE category IN ('idle', 'bill_idle', 'shared') GROUP BY category"
        )
    }
    total = money(int(engine.value("SELECT COALESCE(sum(effective), 0) FROM cell")))
    ends = interval(engine, currency, total, known_errors(engine, currency))
    guessed = money(int(engine.value("SELECT COALESCE(sum(effective), 0) FROM cell WHERE basis IN ('estimated', 'mixed')")))
    error = relative_error(None if ends is None else ends[1] - total, guessed)
    weighed = engine.connection.sql(
        "SELECT j.*, r.weighs AS amount_of_it, r.family AS family_of_it FROM jobs AS j"
        " JOIN (SELECT job_key, any_value(family) AS family, sum(weighs) AS weighs FROM review_job GROUP BY job_key) AS r"
        " USING (job_key)"
    )
    with mapped_errors():
        known = kinship.units(kinship.gathered(weighed, "amount_of_it", "family_of_it").fetchall(), model)
    amounts = _open_amounts(engine, known)
    # From here on these names stand for the pieces as the answers have them.
    for kind, name in (("VIEW", "tags"), ("VIEW", "families"), ("TABLE", "job_money")):
        engine.execute(f"DROP {kind} {name}")
    return Review(
        engine=engine,
        file=file,
        policy=policy,
        currency=currency,
        known=known,
        amounts=amounts,
        precision=DEFAULT_PRECISION if like is None else like.precision,
        like=like is not None,
        fixed=fixed,
        error=error,
        given=given,
    )


def _authorities(taggers: Sequence[str]) -> str:
    cases = " ".join(f"WHEN tagger = '{tagger}' THEN {authority(tagger)}" for tagger in taggers)
    return f"CASE {cases} ELSE 99 END" if cases else "99"


def _open_amounts(engine: Engine, known: kinship.Units) -> np.ndarray[Any, Any]:
    """Of each unit the part of all jobs' amount that no label and no release settled; of rules, what their doubt leaves."""
    rows = engine.rows(
        f"SELECT family, whose, sum(weighs * CASE WHEN kind_rank < {authority('review')} THEN 0"
        f" WHEN kind_rank = {authority('rule')} THEN 1 - confidence ELSE 1 END), sum(weighs) FROM review_piece GROUP BY ALL"
    )
    whole = max(sum(max(0.0, float(row[3])) for row in rows), 1e-300)
    open_ = {(family, whose): max(0.0, float(amount)) / whole for family, whose, amount, _ in rows}
    return np.array([open_.get(unit, 0.0) for unit in zip(known.families, known.users, strict=True)])
