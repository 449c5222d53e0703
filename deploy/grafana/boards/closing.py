"""Closing and coverage: whether months add up, are complete, met their invoices, and what is still estimated."""

from __future__ import annotations

import panels as p
import queries as q
from board import Board, Row
from panels import GREEN, ORANGE, Column, Query

NO_MONTH = "No published month in this time range"
SEEN = p.named({"1": ("all of it", GREEN), "0": ("not all of it", ORANGE)})
BASES = (
    Column("billed", colour="#0072b2"),
    Column("mixed", colour="#56b4e9"),
    Column("estimated", colour="#e69f00"),
    Column("unpriced", colour="#d55e00"),
)

ABOUT = (
    "For every source, billing month and currency the sum of what jobs and buckets took is the sum of the bill's charges, to "
    "the last digit: a month that breaks this is never published. `rdspend closing --period $month` prints the whole way from "
    "effective to billed cost and to each invoice; `rdspend diff $month` says what moved a month since its last revision "
    "([closing a month](${docs}/operations.md#closing-a-month))."
)

MONTHS = p.rows(
    "Months",
    "Each month of the time range: its total as the report has it, what it was closed with, what changed after that, and which "
    "parts of it nobody has billed or classified. `rdspend diff MONTH`",
    [
        Query(q.summed(q.COST_BY_CATEGORY, "")),
        Query(q.highest("rdspend_closed_$money", "", q.OF_MONTHS)),
        Query(q.highest("rdspend_correction_$money", "", q.OF_MONTHS)),
        Query(q.highest("rdspend_period_revision", "", q.OF_MONTHS)),
        Query(q.highest("rdspend_unclassified_ratio", "", q.OF_CURRENCY)),
        Query(q.highest("rdspend_estimate_low_$money", "", q.OF_CURRENCY)),
        Query(q.highest("rdspend_estimate_high_$money", "", q.OF_CURRENCY)),
    ],
    NO_MONTH,
    p.joined("billing_period", 7),
    [
        Column("billing_period", "month"),
        Column("Value #A", "total, $currency"),
        Column("Value #B", "closed with"),
        Column("Value #C", "corrected by"),
        Column("Value #D", "revision", decimals=0),
        Column("Value #E", "unclassified", p.RATIO, 1),
        Column("Value #F", "total at least"),
        Column("Value #G", "total at most"),
    ],
    explain="rdspend diff ${__data.fields.billing_period}",
)

BOARD = Board(
    "rdspend-closing",
    "rdspend: closing and coverage",
    "Whether months add up, are complete, met their invoices, and what is still estimated.",
    ("policy", "currency", "money", "month"),
    (
        Row("", 4, ((24, p.words("What closing means", ABOUT)),)),
        Row(
            "",
            5,
            (
                (
                    8,
                    p.number(
                        "Charges less attributions, all months, $currency",
                        "Largest difference, without sign, of any source and month in the time range. Anything but 0 is a "
                        "defect of rdspend: it must never be published.",
                        [Query(f"max(abs({q.highest('rdspend_closing_difference_$money', 'source basis')}))")],
                        p.MONEY,
                        "No closed source in this time range",
                        decimals=9,
                        steps=((None, GREEN), (1e-9, ORANGE)),
                    ),
                ),
                (
                    8,
                    p.number(
                        "Sources that have not shown all of $month",
                        "Sources without which the month may be too small. An open month never is complete.",
                        [Query(f"count(({q.highest('rdspend_coverage_complete', 'source', q.OF_A_MONTH)}) == 0)")],
                        p.COUNT,
                        "None: every source has shown all of it",
                    ),
                ),
                (
                    8,
                    p.number(
                        "Invoices that differ, all months",
                        "Invoices that the bill's lines do not add up to, by more than rounding. `rdspend closing` names them.",
                        [Query(f"sum({q.highest('rdspend_invoices_differing', 'source', q.OF_CURRENCY)})")],
                        p.COUNT,
                        "No invoices are stated",
                        steps=((None, "text"), (1, ORANGE)),
                    ),
                ),
            ),
        ),
        Row("", 10, ((24, MONTHS),)),
        Row(
            "",
            9,
            (
                (
                    12,
                    p.bars(
                        "Money by basis and month, $currency",
                        "Billed money is from a bill; estimated money from a rate card until the bill is there. The stack is "
                        "the month's total.",
                        Query(q.summed(q.COST_BY_BASIS, "basis", 'basis!=""')),
                        p.SHORT,
                        "No recorded sums: load deploy/prometheus/rules.yml with the code of this currency",
                        p.matrix("billing_period", "basis", "month"),
                        columns=BASES,
                    ),
                ),
                (
                    12,
                    p.rows(
                        "What sources have shown",
                        "1 where a source has shown all of a month, 0 where it has not: then the month's total may be too "
                        "small. `rdspend status`",
                        [Query(q.highest("rdspend_coverage_complete", "source", q.OF_CURRENCY))],
                        NO_MONTH,
                        p.matrix("billing_period", "source", "month"),
                        [Column("month")],
                        unit="none",
                        decimals=0,
                        mappings=SEEN,
                    ),
                ),
            ),
        ),
        Row(
            "",
            8,
            (
                (
                    12,
                    p.rows(
                        "Invoices against the bill",
                        "What invoices of a source state and the bill does not explain, summed without signs, and how many "
                        "invoices that is. `rdspend closing --period MONTH`",
                        [
                            Query(q.highest("rdspend_invoice_difference_$money", "source")),
                            Query(q.highest("rdspend_invoices_differing", "source", q.OF_CURRENCY)),
                        ],
                        "No invoices are stated: see docs/configuration.md, collectors.invoices",
                        p.paired(["billing_period", "source"], running=False),
                        [
                            Column("billing_period", "month"),
                            Column("Value #A", "difference, $currency"),
                            Column("Value #B", "invoices", decimals=0),
                        ],
                        explain="rdspend closing --period ${__data.fields.billing_period}",
                    ),
                ),
                (
                    12,
                    p.rows(
                        "Estimates against the bill",
                        "(bill - estimate) / estimate of node hours that had both, by GPU type: the median, the 90th "
                        "percentile without sign, and of both sums.",
                        [Query(f"avg by (gpu_type, stat) ({q.newest('rdspend_estimate_error_ratio', 'gpu_type stat')})")],
                        "No node hour has had both an estimate and a bill",
                        p.matrix("gpu_type", "stat", "GPU type"),
                        [Column("GPU type")],
                        unit=p.RATIO,
                        decimals=1,
                    ),
                ),
            ),
        ),
    ),
)
