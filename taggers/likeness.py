"""Says what jobs were for because people said so of families that are like theirs.

Reads       the reviews file of `review`; of jobs what `learned` reads, and who ran them. Where names say nothing the
            person does: opaque jobs are taken to be like the person's others, and like each other
Says        an activity, with the chances of the others and the reviewed family that is most alike. A wrong answer among many is
            outvoted by those like it; a family that was reviewed itself is left to `review`
Abstains    below `precision`, and where no reviewed family is alike at all: there `learned` may still answer
Needs       nothing but the file: no network, and no model beyond the one that comes with rdspend
Can't see   stages, money, releases. Ranks after rules, for nobody spoke of these families. Only the 10,000 largest families and
            people are compared

    [taggers.likeness]
    path = "reviews.csv"        # that of [taggers.review]
    precision = 0.9             # answers only where the likeliest activity is at least so likely
    model = "own-model"         # what is expected before anybody answers; left out: the model that comes with rdspend
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rdspend import kinship, reviews
from rdspend.border import literal
from rdspend.purpose import SHIPPED, load
from rdspend.schema import ACTIVITIES, Location

# A job that still runs counts as much as it will have done by a fraction: its answer has to be the one it has when it ended.
SIZE = "coalesce(gpu_parts, 0) * greatest(0, coalesce(epoch_us(end_time) - epoch_us(start_time), 0)) / 3.6e9 + 1e-3"


@dataclass(frozen=True)
class Likeness:
    """Answers for families that are like reviewed ones."""

    path: Location
    precision: float = 0.9
    model: Location | None = None

    def __post_init__(self) -> None:
        if not 0.5 <= self.precision < 1:
            raise ValueError(f"precision: found {self.precision}; expected 0.5 or more, and less than 1")

    def tag(self, jobs: Any) -> Any:
        """One row for each job of a family that is enough like reviewed ones. Raises ConfigError and BadRecord."""
        given = reviews.read(self.path)
        model = load(SHIPPED if self.model is None else Path(self.model))
        filed = jobs.query("seen", "SELECT seen.*, f.family AS filed FROM seen LEFT JOIN job_family AS f USING (job_key)")
        known = kinship.units(kinship.gathered(filed, SIZE, "filed").fetchall() if given else (), model)
        told = _told(known, kinship.outlook(known, reviews.answers(given)), self.precision)  # noqa: F841 - found by its name
        version = f"{reviews.digest(given)} {model.version} {self.precision}"
        return jobs.query(
            "seen",
            f"SELECT seen.job_key, t.activity, t.chances, t.confidence, t.evidence, {literal(version)} AS version"
            " FROM seen LEFT JOIN job_family AS f USING (job_key) JOIN told AS t ON t.family = coalesce(f.family, '')"
            " AND t.whose = coalesce(seen.\"user\", '')",
        )


def _told(known: kinship.Units, seen: kinship.Outlook, precision: float) -> pd.DataFrame:
    """A row for each unit that an answer is given for."""
    rows: list[Sequence[Any]] = []
    for row in map(int, np.flatnonzero(kinship.answerable(seen, precision))):
        like = seen.asked[seen.nearest[row]]
        whose = f" of {like.user}" if like.user else ""
        rows.append(
            (
                known.families[row],
                known.users[row],
                ACTIVITIES[int(seen.chances[row].argmax())],
                kinship.spelled(seen.chances[row]),
                round(float(seen.chances[row].max()), 4),
                f"like family {like.family!r}{whose}, {seen.cover[row]:.2f} alike, which was reviewed",
            )
        )
    frame = pd.DataFrame(rows, columns=["family", "whose", "activity", "chances", "confidence", "evidence"])
    return frame.astype({"confidence": float, **dict.fromkeys(("family", "whose", "activity", "chances", "evidence"), "str")})
