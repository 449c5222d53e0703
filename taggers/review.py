"""Says what the jobs of a family were for because a person looked at the family and said so.

Reads       `path`: a CSV with the columns family,user,activity,stage,who,when,saw,note, which `rdspend review` appends
            to; lines may be written by hand
            family     as `rdspend review` and the column `family` of rules show it
            user       only this person's jobs of the family; empty: everybody's. A word about one person comes first
            activity   exploration, data_generation, evaluation, final_training, inference; `mixed`: of several purposes, which
                       answers nothing and has the queue ask person by person; empty: the stage only
            stage      of the pipeline; may be empty
            who, when  who said so, and when; both are needed
            saw, note  what they had in front of them, and why
Several     answers about one family are all kept: what was said most often counts. Where two were said as often neither does,
            and `rdspend rules check` shows both with their lines. The newest does not win by being the newest
Needs       to read that file
Can't see   other families: what follows for those that are alike is `likeness`, which yields to rules

    [taggers.review]
    path = "reviews.csv"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import pandas as pd

from rdspend import reviews
from rdspend.border import literal
from rdspend.kinship import MIXED
from rdspend.predicate import COLUMNS
from rdspend.schema import Location

CONFLICT = "?"


@dataclass(frozen=True)
class ReviewFinding:
    """What `rdspend rules check` says of reviews, with the attributes of a rule's finding.

    kind  conflict: answers about one family contradict each other. unmatched: no job is of the family
    """

    rule: str
    kind: Literal["conflict", "unmatched", "ok"]
    matched: int
    won: int
    gpu_hours: Decimal
    detail: str


@dataclass(frozen=True)
class Review:
    """Answers with what people said of families, at confidence 1."""

    path: Location

    def tag(self, jobs: Any) -> Any:
        """One row for each job whose family, or whose person's part of it, somebody spoke of. Raises ConfigError, BadRecord."""
        given = reviews.read(self.path)
        spoken = _table(reviews.verdicts(given))  # noqa: F841 - DuckDB finds it by its name
        return jobs.query(
            "seen",
            f"""
            SELECT * FROM (
                SELECT s.job_key,
                    nullif(coalesce(nullif(p.activity, ''), nullif(e.activity, '')), '{CONFLICT}') AS activity,
                    nullif(coalesce(nullif(p.stage, ''), nullif(e.stage, '')), '{CONFLICT}') AS stage,
                    CAST(1 AS DOUBLE) AS confidence,
                    coalesce(p.evidence, e.evidence) AS evidence,
                    {literal(reviews.digest(given))} AS version
                FROM seen AS s LEFT JOIN job_family AS f USING (job_key)
                LEFT JOIN spoken AS p ON p.family = coalesce(f.family, '') AND p.whose = s."user" AND p.whose <> ''
                LEFT JOIN spoken AS e ON e.family = coalesce(f.family, '') AND e.whose = ''
            ) WHERE activity IS NOT NULL OR stage IS NOT NULL
            """,
        )

    def check(self, jobs: Any) -> tuple[ReviewFinding, ...]:
        """Families whose answers contradict each other, and what was said of."""
        found = reviews.verdicts(reviews.read(self.path))
        clashes = [verdict for verdict in found if verdict.conflict]
        counted = f"{len(found):,} families or parts of them spoken of, {len(clashes):,} in contradiction"
        every = ReviewFinding("reviews", "ok", len(found), len(found) - len(clashes), Decimal(0), counted)
        conflicts = tuple(ReviewFinding("reviews", "conflict", 0, 0, Decimal(0), each.conflict) for each in clashes)
        return (*conflicts, *_unmatched(jobs, found), every)


def _unmatched(jobs: Any, found: Sequence[reviews.Verdict]) -> tuple[ReviewFinding, ...]:
    """What was said of families, or of people's parts of them, that no job given is of: a name that changed, or a slip."""
    spoken = _table(found)  # noqa: F841 - DuckDB finds it by its name
    filed = jobs.project(f"coalesce({COLUMNS['family'].sql}, '') AS family, \"user\" AS whose")
    left = filed.query(
        "filed",
        "SELECT family, whose FROM spoken AS s WHERE NOT EXISTS"
        " (SELECT 1 FROM filed AS f WHERE f.family = s.family AND (s.whose = '' OR f.whose = s.whose)) ORDER BY ALL",
    ).fetchall()
    said = {(each.question.family, each.question.user): each.reviews[0] for each in found}
    return tuple(
        ReviewFinding("reviews", "unmatched", 0, 0, Decimal(0), f"{said[key].whose} (line {said[key].line}): no job is of it")
        for key in left
    )


def _table(found: Sequence[reviews.Verdict]) -> pd.DataFrame:
    rows = [
        (
            verdict.question.family,
            verdict.question.user,
            CONFLICT if verdict.activity is None else "" if verdict.activity == MIXED else verdict.activity,
            CONFLICT if verdict.stage is None else verdict.stage,
            _evidence(verdict),
        )
        for verdict in found
    ]
    return pd.DataFrame(rows, columns=["family", "whose", "activity", "stage", "evidence"], dtype="str")


def _evidence(verdict: reviews.Verdict) -> str:
    agree = [r for r in verdict.reviews if r.activity == verdict.activity and (verdict.activity or r.stage == verdict.stage)]
    first = (agree or list(verdict.reviews))[0]
    text = f"{first.whose} is {first.said}, says {first.who} on {first.when[:10]}"
    if len(agree) > 1:
        text += f", and {len(agree) - 1} more"
    others = [r for r in verdict.reviews if r not in agree]
    return text + (f"; {others[0].who} said {others[0].said}" if others else "")
