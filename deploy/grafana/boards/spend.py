"""Where 80 % goes: the few groups that hold most of a month's money, and what runs right now."""

from __future__ import annotations

import panels as p
import queries as q
from board import Board, Row
from panels import Column, Query

OF_THE_MONTH = f'billing_period="$month", {q.CHOSEN}'
NONE = "No money of the month in this time range, or none of these teams and clusters"

ABOUT = (
    "Each table goes from the dearest group down; the money above the line where *running share* passes 80 % is where most of "
    "$month went. Idle, shared and bill-idle money are groups like others: they have no team.\n\nPrometheus holds activities, "
    "teams and clusters. For projects, users and families of jobs ask the ledger: `rdspend top $month --by project,user` "
    "([how](${docs}/operations.md#where-most-of-the-spend-goes))."
)


def pareto(title: str, by: str, described: str, explain: str) -> object:
    """A table of groups, dearest first, with what they and all dearer ones are of the total."""
    labels = by.split()
    money = q.summed(q.COST, by, OF_THE_MONTH)
    whole = q.summed(q.COST, "", OF_THE_MONTH)
    return p.rows(
        title,
        f"{described} Of all money of the chosen teams and clusters. `{explain}`",
        [Query(f"topk(50, {money})"), Query(f"topk(50, ({money}) / on (billing_period) group_left () ({whole}))")],
        NONE,
        p.paired(labels),
        [
            *(Column(label, label.replace("_name", "")) for label in labels),
            Column("Value #A", "cost, $currency"),
            Column("Value #B", "share", p.RATIO, 1, more=p.GAUGE),
            Column(p.RUNNING, "running share", p.RATIO, 1, more=p.UP_TO_80),
        ],
        explain="Explain these groups",
    )


NOW_MONEY = "rdspend_burn_${money}_per_hour"

BOARD = Board(
    "rdspend-spend",
    "rdspend: where 80 % goes",
    "The few activities, teams and clusters that hold most of a month's money, and what runs right now.",
    ("policy", "currency", "money", "month", "team", "cluster"),
    (
        Row("", 5, ((24, p.words("How to read this", ABOUT)),)),
        Row(
            "$month",
            9,
            (
                (
                    8,
                    p.rows(
                        "How few hold 80 % of $month",
                        "Smallest number of groups that holds 80 % of the month's total, and how many groups there are, by the "
                        "report's groupings: all teams and clusters. `rdspend top $month`",
                        [
                            Query(q.highest("rdspend_pareto_needed", "grouping", q.OF_A_MONTH)),
                            Query(q.highest("rdspend_pareto_groups", "grouping", q.OF_A_MONTH)),
                        ],
                        "No groupings: a month that was published by an older version has none",
                        p.joined("grouping", 2),
                        [
                            Column("grouping", "by"),
                            Column("Value #A", "groups that hold 80 %"),
                            Column("Value #B", "groups there are"),
                        ],
                        unit=p.COUNT,
                        decimals=0,
                    ),
                ),
                (8, pareto("By activity", "category", "Activities and buckets.", "rdspend top $month --by activity")),
                (
                    8,
                    pareto("By cluster", "cluster_name", "Clusters; shared money has none.", "rdspend top $month --by cluster"),
                ),
            ),
        ),
        Row(
            "",
            12,
            (
                (10, pareto("By team", "team", "The 50 dearest teams.", "rdspend top $month --by team")),
                (
                    14,
                    pareto(
                        "By team and activity",
                        "team category",
                        "The 50 dearest crossings.",
                        "rdspend top $month --by activity,team",
                    ),
                ),
            ),
        ),
        Row(
            "Right now",
            9,
            (
                (
                    12,
                    p.lines(
                        "What an hour costs by activity, $currency",
                        "Running jobs and idle nodes by the rate card: estimated, never billed. As rdspend saw them at its "
                        "last run.",
                        [Query(f"sum by (category) ({NOW_MONEY}{{{q.CHOSEN}}})", "{{category}}", live=True)],
                        p.SHORT,
                        "No rate card, or nothing runs: see docs/metrics.md, Burn",
                        columns=p.CATEGORIES,
                    ),
                ),
                (
                    12,
                    p.lines(
                        "GPUs by activity",
                        "GPUs that jobs hold, and idle ones where the capacity of all nodes is known.",
                        [Query(f"sum by (category) (rdspend_burn_gpus{{{q.CHOSEN}}})", "{{category}}", live=True)],
                        p.SHORT,
                        "No scheduler has told of running jobs",
                        columns=p.CATEGORIES,
                    ),
                ),
            ),
        ),
    ),
)
