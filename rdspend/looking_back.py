"""What a breakdown is set against: the months before it, the period before it, its own last revision, all as published."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from rdspend.engine import Engine
from rdspend.period import Period, preceding
from rdspend.schema import MONTHS_BEFORE, Breakdown, Past


def with_past(engine: Engine, made: Breakdown, period: Period) -> Breakdown:
    """A breakdown just made, with its revision, and what was published before it. Wants the view `publications`."""
    before = preceding(period)
    months = engine.rows(
        "SELECT arg_max(figures, run) FROM publications WHERE policy = $policy AND currency = $currency "
        "AND length(period) = 7 AND period NOT LIKE '%Q%' AND period <= $last AND period <> $period "
        "GROUP BY period ORDER BY period DESC LIMIT $most",
        {**_named(made), "last": period.months[-1], "period": made.period, "most": MONTHS_BEFORE},
    )
    other = engine.rows(
        "SELECT arg_max(figures, run) FROM publications WHERE policy = $policy AND currency = $currency AND period = $period "
        "AND revision < $revision GROUP BY revision ORDER BY revision DESC LIMIT 1",
        {**_named(made), "period": made.period, "revision": made.revision},
    )
    alike = engine.rows(
        "SELECT arg_max(figures, run) FROM publications WHERE policy = $policy AND currency = $currency AND period = $period "
        "GROUP BY period",
        {**_named(made), "period": before.text if before else ""},
    )
    return replace(
        made,
        months_before=tuple(_past(figures) for (figures,) in reversed(months)),
        period_before=_past(alike[0][0]) if alike else None,
        revision_before=_past(other[0][0]) if other else None,
    )


def _named(made: Breakdown) -> dict[str, str]:
    return {"policy": made.policy.name, "currency": made.currency}


def _past(figures: str) -> Past:
    return msgspec.json.decode(figures, type=Past)
