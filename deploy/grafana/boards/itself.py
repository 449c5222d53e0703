"""rdspend itself: whether it runs, what its sources said, what asking them cost, and how large its ledger is."""

from __future__ import annotations

import panels as p
from board import Board, Row
from panels import GREEN, ORANGE, Column, Query

DOWN = "Nothing was scraped: is the daemon up?"
UP = p.named({"1": ("answered", GREEN), "0": ("did not answer", ORANGE)})
OK = p.named({"1": ("good", GREEN), "0": ("failed", ORANGE)})
SYNTHETIC = p.named({"1": ("made-up data", ORANGE), "0": ("real", GREEN)})

STAGES = (
    Column("collect", colour="#0072b2"),
    Column("tag", colour="#009e73"),
    Column("attribute", colour="#e69f00"),
    Column("publish", colour="#cc79a7"),
)

HEADLINES = (
    (
        4,
        p.number(
            "Last run",
            "Good when it saw every source and published.",
            [Query("min(rdspend_last_run_ok)")],
            "none",
            DOWN,
            mappings=OK,
        ),
    ),
    (
        5,
        p.number(
            "Age of the figures",
            "Since the last good run ended; every figure is that old. The alert waits for 6 hours.",
            [Query("time() - max(rdspend_last_success_timestamp_seconds)")],
            p.SECONDS,
            DOWN,
            steps=((None, "text"), (6 * 3600, ORANGE)),
        ),
    ),
    (
        5,
        p.number(
            "Sources that did not answer",
            "What they said before is kept; their months stay open.",
            [Query("count(rdspend_source_up == 0) or 0 * count(rdspend_source_up)")],
            p.COUNT,
            DOWN,
            steps=((None, "text"), (1, ORANGE)),
        ),
    ),
    (
        5,
        p.number(
            "Data",
            "Made-up data is marked by every exporter.",
            [Query("max(rdspend_synthetic_data)")],
            "none",
            DOWN,
            mappings=SYNTHETIC,
        ),
    ),
    (
        5,
        p.number(
            "Version",
            "Version of rdspend.",
            [Query("max by (version) (rdspend_build_info)", "{{version}}")],
            "none",
            DOWN,
            as_name=True,
        ),
    ),
)

SOURCES = p.rows(
    "Sources",
    "What each source did the last time that it was asked. `rdspend status`",
    [
        Query("min by (source) (rdspend_source_up)"),
        Query("time() - max by (source) (rdspend_source_last_success_timestamp_seconds)"),
        Query("max by (source) (rdspend_source_duration_seconds)"),
        Query("max by (source) (rdspend_source_rows)"),
        Query("max by (source) (rdspend_source_requests_total)"),
        Query("max by (source) (rdspend_source_own_cost_usd_total)"),
    ],
    DOWN,
    p.joined("source", 6),
    [
        Column("Value #A", "last time", "none", 0, more={"mappings": UP}),
        Column("Value #B", "complete ago", p.SECONDS, 0),
        Column("Value #C", "took", p.SECONDS, 1),
        Column("Value #D", "rows", p.COUNT, 0),
        Column("Value #E", "paid requests", p.COUNT, 0),
        Column("Value #F", "asking cost, USD", p.MONEY, 2),
    ],
)

BOARD = Board(
    "rdspend-itself",
    "rdspend: itself",
    "Whether rdspend runs, what its sources said, what asking them cost, and how large its ledger is.",
    (),
    (
        Row("", 5, HEADLINES),
        Row("", 9, ((24, SOURCES),)),
        Row(
            "",
            8,
            (
                (
                    12,
                    p.lines(
                        "Time of each stage",
                        "How long each stage of the last run took.",
                        [Query("max by (run_stage) (rdspend_stage_duration_seconds)", "{{run_stage}}", live=True)],
                        p.SECONDS,
                        DOWN,
                        columns=STAGES,
                    ),
                ),
                (
                    12,
                    p.lines(
                        "Time of each source",
                        "How long each source took the last time.",
                        [Query("max by (source) (rdspend_source_duration_seconds)", "{{source}}", live=True)],
                        p.SECONDS,
                        DOWN,
                    ),
                ),
            ),
        ),
        Row(
            "Ledger and page",
            8,
            (
                (
                    12,
                    p.lines(
                        "Size of the ledger",
                        "Bytes of each table on its disk, every version that is kept: nothing is deleted by itself.",
                        [Query("max by (table) (rdspend_ledger_size_bytes)", "{{table}}", live=True)],
                        p.BYTES,
                        DOWN,
                    ),
                ),
                (
                    6,
                    p.number(
                        "Folded and left out",
                        "Teams that the breakdown adds up, series that were folded so that sums stay, and series that are not "
                        "there.",
                        [
                            Query("sum(rdspend_folded_teams)", "teams added up"),
                            Query("sum(rdspend_folded_series)", "series folded"),
                            Query("sum(rdspend_left_out_series)", "series left out"),
                        ],
                        p.COUNT,
                        DOWN,
                    ),
                ),
                (
                    6,
                    p.number(
                        "Pushes not taken in a day",
                        "Times that the receiver of a pushing exporter did not take what was sent.",
                        [Query("sum(increase(rdspend_export_failures_total[1d]))")],
                        p.COUNT,
                        "No exporter pushes",
                        decimals=0,
                        steps=((None, "text"), (1, ORANGE)),
                    ),
                ),
            ),
        ),
    ),
    since="now-7d",
)
