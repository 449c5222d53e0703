"""The split: one page for who asks what the money went to, how sure that is, and what others have published."""

from __future__ import annotations

from collections.abc import Iterator

import panels as p
import queries as q
from board import Board, Row
from panels import Column, Query

from exporters.colours import COLOURS
from rdspend.policy import available, load_policy
from rdspend.public_figures import beside
from rdspend.schema import PublicFigure

FINAL = 'category="final_training"'
ENDS = (("low_", "lowest"), ("", "share"), ("high_", "highest"))
NO_MONTH = "No published month in this time range: choose a longer one, or backfill"
NO_RULES = "No recorded sums: load deploy/prometheus/rules.yml with the code of this currency"
BAND = {"custom.fillBelowTo": "lowest possible", "custom.fillOpacity": 20}
DASHES = ([10, 10], [4, 6], [16, 6], [2, 8])


def _comparable() -> Iterator[tuple[str, PublicFigure]]:
    """Public figures that mean the same as a share under a policy that ships, and that policy."""
    for name in sorted(available()):
        for figure in beside(load_policy(name)):
            if not figure.left_out:
                yield name, figure


PUBLIC = tuple(_comparable())


def _share_queries() -> Iterator[Query]:
    """The share with its bounds, then a level line for each public figure, which is there under its policy only."""
    for end, name in ENDS:
        yield Query(q.highest(f"rdspend_share_{end}ratio", "", f"{FINAL}, {q.OF_MONTHS}"), name)
    for policy, figure in PUBLIC:
        share = q.highest("rdspend_share_ratio", "", f'{FINAL}, policy="{policy}", {q.OF_MONTHS}')
        yield Query(f"0 * ({share}) + {figure.share}", figure.name)


SHARES = tuple(_share_queries())


def _share_columns() -> Iterator[Column]:
    low, share, high, *public = p.values(len(SHARES))
    blue, thin = COLOURS["final_training"], {"custom.lineWidth": 1, "custom.showPoints": "never"}
    yield Column(low, "lowest possible", colour=blue, more=thin)
    yield Column(share, "share of final training", colour=blue, more={"custom.lineWidth": 3})
    yield Column(high, "highest possible", colour=blue, more=thin | BAND)
    for place, (column, (policy, figure)) in enumerate(zip(public, PUBLIC, strict=True)):
        dashed = {"custom.lineStyle": {"fill": "dash", "dash": DASHES[place % len(DASHES)]}, "custom.showPoints": "never"}
        yield Column(column, f"{figure.name}, {figure.year} (policy {policy})", colour=p.NEUTRAL, more=dashed)


def _published() -> str:
    listed = "\n".join(
        f"- **{figure.name}**: {figure.share:.1%}, {figure.year}: {figure.what}. Beside the policy `{policy}` only. "
        f"[{figure.source}]({figure.url})"
        for policy, figure in PUBLIC
    )
    return (
        "Dashed lines above are shares that were published, drawn only where boundary and unit are those of the chosen "
        f"policy. They are of other organisations and other years, and most are estimates from outside.\n\n{listed}\n\n"
        "All known figures, and why the others can't stand here: `rdspend report --period $month`."
    )


ABOUT = (
    "Under the policy **$policy**, 100 % is: **$denominator**. Shares are of `$unit`.\n\n*Lowest* and *highest* say what a "
    "share would be if everything that is not known went the other way, or this way: the truth lies between. Idle, shared and "
    "unclassified money is shown and hidden in no activity.\n\nFrom any figure to its jobs and bill rows: `rdspend explain "
    "--period $month final_training` ([how](${docs}/dashboards.md#from-a-figure-to-its-jobs))."
)
STATES = ("open", "preliminary", "closed", "corrected")

HEADLINES = (
    (
        9,
        p.number(
            "Share of final training, $month",
            "Part of what the policy counts as 100 % that went to final runs of released models, and the ends of what that "
            "part can be. Denominator: $denominator. `rdspend explain --period $month final_training`",
            [Query(q.highest(f"rdspend_share_{end}ratio", "", f"{FINAL}, {q.OF_MONTH}"), name) for end, name in ENDS],
            p.RATIO,
            "No share: the month has nothing in 100 %",
            decimals=1,
        ),
    ),
    (
        5,
        p.number(
            "Spend of $month, $currency",
            "Effective cost of everything: the total of the month's report, to the cent.",
            [Query(q.summed(q.COST_BY_CATEGORY, "", q.THE_MONTH))],
            p.MONEY,
            NO_RULES,
            decimals=2,
        ),
    ),
    (
        5,
        p.number(
            "Estimated part of $month",
            "Part of the month's money that no bill has confirmed yet: it comes from a rate card.",
            [
                Query(
                    f"sum(({q.summed(q.COST_BY_BASIS, 'basis', q.THE_MONTH)}) and on (basis) "
                    f'label_replace(vector(1), "basis", "estimated", "", "")) / '
                    f"sum({q.summed(q.COST_BY_BASIS, 'basis', q.THE_MONTH)})"
                )
            ],
            p.RATIO,
            "None: all of it is billed",
            decimals=1,
        ),
    ),
    (
        5,
        p.number(
            "State of $month",
            "Open while it runs, preliminary until somebody closes it, closed, or corrected when the bill changed after that.",
            [Query(f"({q.highest('rdspend_period_state', 'state', q.OF_MONTH)}) == 1", "{{state}}")],
            "none",
            NO_MONTH,
            as_name=True,
        ),
    ),
)

SPLIT = p.rows(
    "The split of $month",
    "Every activity and bucket: money, GPU-hours, share with the ends of what it can be. A share is empty outside of 100 %. "
    "Denominator: $denominator. `rdspend explain --period $month ACTIVITY`",
    [
        Query(q.summed(q.COST_BY_CATEGORY, "category", q.THE_MONTH)),
        Query(f"({q.summed(q.GPU_SECONDS_BY_CATEGORY, 'category', q.OF_A_MONTH)}) / 3600"),
        *(Query(q.highest(f"rdspend_share_{end}ratio", "category", q.OF_MONTH)) for end, _ in ENDS),
    ],
    NO_RULES,
    p.joined("category", 5),
    [
        Column("category", "activity or bucket"),
        Column("Value #A", "cost, $currency"),
        Column("Value #B", "GPU-hours"),
        Column("Value #C", "lowest", p.RATIO, 1),
        Column("Value #D", "share", p.RATIO, 1),
        Column("Value #E", "highest", p.RATIO, 1),
    ],
    explain="rdspend explain --period $month ${__data.fields.category}",
)

BOARD = Board(
    "rdspend-split",
    "rdspend: the split",
    "What the compute money went to, how sure that is, and what others have published.",
    ("policy", "currency", "money", "month", "denominator", "unit"),
    (
        Row("", 6, ((24, p.words("What 100 % is", ABOUT)),)),
        Row("", 5, HEADLINES),
        Row(
            "Months",
            11,
            (
                (
                    12,
                    p.lines(
                        "Share of final training by month",
                        "Share with the ends of what it can be, a point a month; dashed, what was published of others "
                        "by the same boundary and unit. Denominator: $denominator.",
                        SHARES,
                        p.RATIO,
                        NO_MONTH,
                        shape=[*p.joined("billing_period", len(SHARES)), p.as_time("billing_period")],
                        columns=list(_share_columns()),
                        explain="rdspend explain --period ${__data.fields.billing_period:date:YYYY-MM} final_training",
                    ),
                ),
                (
                    12,
                    p.bars(
                        "Money by activity and month, $currency",
                        "Effective cost of each month: the stack is the month's total, to the cent. Grey is money that no job "
                        "took.",
                        Query(q.summed(q.COST_BY_CATEGORY, "category")),
                        p.SHORT,
                        NO_RULES,
                        p.matrix("billing_period", "category", "month"),
                        explain="rdspend explain --period ${__data.fields.month} ${__field.name}",
                    ),
                ),
            ),
        ),
        Row("", 11, ((14, SPLIT), (10, p.words("Public figures", _published())))),
    ),
)
