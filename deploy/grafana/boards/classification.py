"""Classification health: how much nobody could say the purpose of, who has it, and what records contradict."""

from __future__ import annotations

import panels as p
import queries as q
from board import Board, Row
from panels import ORANGE, Column, Query

from exporters.colours import COLOURS

NO_MONTH = "No published month in this time range"
UNCLASSIFIED = 'category="unclassified"'
LIMIT = 0.10  # of the alert RdspendUnclassifiedHigh
OUTCOMES = (
    Column("completed", colour="#009e73"),
    Column("failed", colour="#d55e00"),
    Column("cancelled", colour="#e69f00"),
    Column("timeout", colour="#cc79a7"),
    Column("preempted", colour="#56b4e9"),
    Column("running", colour="#0072b2"),
)
ENDS = (("low_", "lowest"), ("likely_low_", "likely from"), ("", "share"), ("likely_high_", "likely to"), ("high_", "highest"))

ABOUT = (
    "Unclassified is an answer, not a mistake: no label, rule or model could say what a job was for. It is money on page one, "
    "and it widens every share. `rdspend explain --period $month unclassified` lists its jobs, dearest first; `rdspend rules "
    "suggest` proposes rules from labels, `rdspend rules test` says in money what a rule would change ([changing rules]"
    "(${docs}/operations.md#changing-rules))."
)

BOARD = Board(
    "rdspend-classification",
    "rdspend: classification health",
    "How much nobody could say the purpose of, who has it, and what records contradict.",
    ("policy", "currency", "money", "month"),
    (
        Row("", 4, ((24, p.words("What unclassified means", ABOUT)),)),
        Row(
            "Months",
            9,
            (
                (
                    12,
                    p.lines(
                        "Unclassified part of the month",
                        "Part of the month's money in jobs that no tagger could classify. Dashed: where the alert begins.",
                        [
                            Query(q.highest("rdspend_unclassified_ratio", "", q.OF_CURRENCY), "unclassified"),
                            Query(f"0 * ({q.highest('rdspend_unclassified_ratio', '', q.OF_CURRENCY)}) + {LIMIT}", "limit"),
                        ],
                        p.RATIO,
                        NO_MONTH,
                        shape=[*p.joined("billing_period", 2), p.as_time("billing_period")],
                        columns=[
                            Column("Value #A", "unclassified", colour=COLOURS["unclassified"]),
                            Column(
                                "Value #B",
                                "limit of the alert",
                                colour=p.NEUTRAL,
                                more={
                                    "custom.lineStyle": {"fill": "dash", "dash": [10, 10]},
                                    "custom.showPoints": "never",
                                },
                            ),
                        ],
                        explain="rdspend explain --period ${__data.fields.billing_period:date:YYYY-MM} unclassified",
                    ),
                ),
                (
                    12,
                    p.bars(
                        "Findings by month",
                        "Rows of records that contradict something, by kind: nodes with more jobs than GPUs, tags that don't "
                        "fit, jobs that no bill pays. The report names them.",
                        Query(q.summed("rdspend_findings", "kind", q.OF_CURRENCY)),
                        p.SHORT,
                        "Nothing was found in any month",
                        p.matrix("billing_period", "kind", "month"),
                        columns=(),
                    ),
                ),
            ),
        ),
        Row(
            "$month",
            10,
            (
                (
                    12,
                    p.rows(
                        "How sure each share is",
                        "Lowest and highest hold whatever is not known; the likely range is the 90 % interval of what taggers "
                        "are unsure of, where it was drawn.",
                        [Query(q.highest(f"rdspend_share_{end}ratio", "category", q.OF_MONTH)) for end, _ in ENDS],
                        NO_MONTH,
                        p.joined("category", 5),
                        [
                            Column("category", "activity or bucket"),
                            *(Column(value, name) for value, (_, name) in zip(p.values(5), ENDS, strict=True)),
                        ],
                        unit=p.RATIO,
                        decimals=1,
                        explain="rdspend explain --period $month ${__data.fields.category}",
                    ),
                ),
                (
                    12,
                    p.rows(
                        "Unclassified money by team, $currency",
                        "The 50 teams with most money in jobs that nobody could classify.",
                        [Query(f"topk(50, {q.summed(q.COST, 'team cluster_name', f'{UNCLASSIFIED}, {q.THE_MONTH}')})")],
                        "None: every job of this month is classified",
                        [p.kept("team", "cluster_name", "Value"), p.descending("Value")],
                        [
                            Column("cluster_name", "cluster"),
                            Column("Value", "unclassified, $currency", colour=ORANGE),
                        ],
                        explain="rdspend explain --period $month unclassified",
                    ),
                ),
            ),
        ),
        Row(
            "",
            9,
            (
                (
                    16,
                    p.bars(
                        "How jobs ended, $month, $currency",
                        "Effective cost of jobs by what they were for and how they ended. Cancelled is no word for wasted: "
                        "most GPU time of language model clusters ends so.",
                        Query(q.summed("rdspend_outcome_cost_$money", "category outcome", q.THE_MONTH)),
                        p.SHORT,
                        "No jobs in this month",
                        p.matrix("category", "outcome"),
                        columns=OUTCOMES,
                        explain="rdspend explain --period $month ${__data.fields.category}",
                    ),
                ),
                (
                    8,
                    p.number(
                        "Could become a final run",
                        "Families of training that look like a final run and that no release has claimed.",
                        [Query(q.highest("rdspend_candidates", "", q.OF_MONTH))],
                        p.COUNT,
                        NO_MONTH,
                    ),
                ),
            ),
        ),
    ),
)
