"""Releases: what each published model cost, with the work that did not end up in it."""

from __future__ import annotations

import panels as p
import queries as q
from board import Board, Row
from panels import Column, Query

COST = "rdspend_release_cost_$money"
NONE = "No release claims jobs in this time range: see docs/configuration.md, collectors.release"

ABOUT = (
    "A release is a published model; its lineage says which runs it descends from, what was tried and given up, and which data "
    "and evaluations were made for it. Money of jobs that several releases claim is cut by their weights, so the sums stay "
    "sums. What a role counts as is the policy's (**$policy**). A release that is registered later changes past months: its "
    "change is shown as a change, by `rdspend diff`."
)

BOARD = Board(
    "rdspend-releases",
    "rdspend: releases",
    "What each published model cost, with the work that did not end up in it.",
    ("policy", "currency", "money", "month"),
    (
        Row("", 4, ((24, p.words("What a release's money is", ABOUT)),)),
        Row(
            "All months in the time range",
            10,
            (
                (
                    12,
                    p.bars(
                        "What each release cost, $currency",
                        "Effective cost of all jobs that a release claims, in all months of the time range, by what the policy "
                        "counts them as.",
                        Query(f"sum by (release, category) ({q.summed(COST, 'release category', q.OF_MONTHS)})"),
                        p.SHORT,
                        NONE,
                        p.matrix("release", "category"),
                        horizontal=True,
                        explain="rdspend release cost ${__data.fields.release}",
                    ),
                ),
                (
                    12,
                    p.bars(
                        "Money that releases claim, by month, $currency",
                        "Effective cost of jobs that any release claims, by what the policy counts them as.",
                        Query(q.summed(COST, "category", q.OF_MONTHS)),
                        p.SHORT,
                        NONE,
                        p.matrix("billing_period", "category", "month"),
                        explain="rdspend explain --period ${__data.fields.month} ${__field.name}",
                    ),
                ),
            ),
        ),
        Row(
            "",
            9,
            (
                (
                    24,
                    p.rows(
                        "By role, all months in the time range, $currency",
                        "What the jobs were to the release: `run` are those that the published weights descend from, `lost` "
                        "what was rolled back, `failed`, `sweep` and `sibling` what was tried beside them.",
                        [Query(f"sum by (release, role) ({q.summed(COST, 'release role', q.OF_MONTHS)})")],
                        NONE,
                        p.matrix("release", "role"),
                        [Column("release")],
                        explain="rdspend release cost ${__data.fields.release}",
                    ),
                ),
            ),
        ),
        Row(
            "$month",
            6,
            (
                (
                    8,
                    p.number(
                        "Claimed part of $month",
                        "Part of all money of the month that some release claims.",
                        [
                            Query(
                                f"({q.summed(COST, '', q.OF_MONTH)}) / on (billing_period) "
                                f"({q.summed(q.COST_BY_CATEGORY, '', q.THE_MONTH)})"
                            )
                        ],
                        p.RATIO,
                        "No release claims jobs of this month",
                        decimals=1,
                    ),
                ),
                (
                    8,
                    p.number(
                        "Families that could become a release",
                        "Training that looks like a final run and that no release has claimed: it stands in the upper end of "
                        "final training's share. The report names them.",
                        [Query(q.highest("rdspend_candidates", "", q.OF_MONTH))],
                        p.COUNT,
                        "No published month in this time range",
                    ),
                ),
                (
                    8,
                    p.number(
                        "Their cost, $currency",
                        "Effective cost of that training in the month.",
                        [Query(q.highest("rdspend_candidate_cost_$money", "", q.OF_MONTH))],
                        p.MONEY,
                        "None looks like a final run",
                        decimals=2,
                    ),
                ),
            ),
        ),
    ),
)
