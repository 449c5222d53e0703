"""Which columns of charges each source fills, from the footers of the ledger's files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
from ledgers import charge, finding, write_ledger

from rdspend.config import load
from rdspend.period import parse_period
from rdspend.reading import Reader
from rdspend.schema import CHARGES


def rdspend(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "rdspend", "--config", str(config), *words], capture_output=True, text=True, check=False
    )


def columns(config: Path, *words: str) -> list[dict[str, Any]]:
    done = rdspend(config, "columns", "--period", "2026-10", "--format", "json", *words)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["sources"]
    return found


LINES = [
    charge("1", resource_id="i-1", tags={"team": "a"}),
    charge("2", resource_id="i-2", tags={}),
    charge("3", service_name="S3"),
    charge("4", source="gcp"),
    charge("5", month="2026-11"),
]
NOTES = [
    finding("renamed_column", "cost", "read as BilledCost", 3),
    finding("unknown_column", "x_thing", "left out", 2),
    finding("missing_column", "ListCost", "taken as null", 3),
    finding("rounding", "bill.csv", "billed 0.1", 3),
    finding("unknown_column", "other", "left out", 1, source="gcp"),
]


def test_rows_with_and_without_a_value_are_counted_by_source_and_month(tmp_path: Path) -> None:
    aws, gcp = columns(write_ledger(tmp_path, LINES, findings=NOTES))
    assert [(each["source"], each["month"], each["rows"]) for each in (aws, gcp)] == [
        ("aws", "2026-10", 3),
        ("gcp", "2026-10", 1),
    ]
    assert [c["column"] for c in aws["columns"]] == list(CHARGES.names)
    by_name = {c["column"]: (c["state"], c["present"], c["null"]) for c in aws["columns"]}
    assert by_name["source"] == by_name["billed_cost_nanos"] == ("present", 3, 0)
    assert by_name["resource_id"] == ("partly", 2, 1)
    assert by_name["service_name"] == ("partly", 1, 2)
    assert by_name["invoice_id"] == ("null", 0, 3)


def test_a_line_without_a_tag_has_no_tags(tmp_path: Path) -> None:
    (aws, _) = columns(write_ledger(tmp_path, LINES))
    assert next((c["present"], c["null"]) for c in aws["columns"] if c["column"] == "tags") == (1, 2)


def test_what_the_bill_names_otherwise_comes_from_its_collector(tmp_path: Path) -> None:
    aws, gcp = columns(write_ledger(tmp_path, LINES, findings=NOTES))
    assert aws["renamed"] == [{"column": "cost", "detail": "read as BilledCost", "rows": 3}]
    assert aws["unknown"] == [{"column": "x_thing", "detail": "left out", "rows": 2}]
    assert aws["missing"] == [{"column": "ListCost", "detail": "taken as null", "rows": 3}]
    assert [note["column"] for note in gcp["unknown"]] == ["other"]


def test_the_footers_say_what_a_scan_counts(tmp_path: Path) -> None:
    config = write_ledger(tmp_path, LINES)
    (each, *_), _ = Reader(load(config)).columns(parse_period("2026-11"))
    files = str(tmp_path / "ledger" / "charges" / "source=aws" / "billing_period=2026-11" / "*.parquet")
    for column in each.columns:
        if column.column not in (*CHARGES.partition, "tags"):
            [(count,)] = duckdb.sql(f"SELECT count({column.column}) FROM read_parquet('{files}')").fetchall()
            assert (column.column, column.present) == (column.column, count)


def test_a_column_that_files_of_an_earlier_version_lack_is_null_in_them(tmp_path: Path) -> None:
    config = write_ledger(tmp_path, [charge("1", line_type="Usage")])
    (file,) = (tmp_path / "ledger" / "charges").rglob("*.parquet")
    rows = duckdb.sql(f"SELECT * EXCLUDE (line_type) FROM read_parquet('{file}', hive_partitioning = false)")
    rows.write_parquet(str(tmp_path / "earlier.parquet"))
    (tmp_path / "earlier.parquet").replace(file)
    (aws,) = columns(config)
    assert next(c for c in aws["columns"] if c["column"] == "line_type") == {
        "column": "line_type",
        "state": "null",
        "present": 0,
        "null": 1,
    }


def test_the_terminal_shows_the_same_and_obeys_no_name(tmp_path: Path) -> None:
    noted = [finding("unknown_column", "x\x1b[31m", "left out", 2)]
    shown = rdspend(write_ledger(tmp_path, LINES, findings=noted), "columns", "--period", "2026-10").stdout
    assert "aws 2026-10: 3 rows" in shown
    assert "x\\x1b[31m" in shown
    assert "\x1b" not in shown


def test_a_period_without_charges_says_so(tmp_path: Path) -> None:
    config = write_ledger(tmp_path, LINES)
    assert "no charges" in rdspend(config, "columns", "--period", "2025-01").stdout
