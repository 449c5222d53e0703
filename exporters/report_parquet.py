"""The cells of a breakdown as a Parquet file: what the CSV has, with money as decimals. DuckDB writes it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb

from exporters.report_page import refuse_open
from rdspend.border import literal
from rdspend.schema import Breakdown

COLUMNS = {
    "period": "VARCHAR",
    "policy": "VARCHAR",
    "currency": "VARCHAR",
    "revision": "BIGINT",
    "state": "VARCHAR",
    "snapshot": "VARCHAR",
    "synthetic": "BOOLEAN",
    "category": "VARCHAR",
    "stage": "VARCHAR",
    "team": "VARCHAR",
    "cluster": "VARCHAR",
    "basis": "VARCHAR",
    "cost": "DECIMAL(38, 9)",
    "billed_cost": "DECIMAL(38, 9)",
    "gpu_seconds": "DECIMAL(38, 6)",
}
"""Columns of the file and their types: first those of the report, then those of the cell."""

OF_REPORT = 7


def to_parquet(breakdown: Breakdown) -> bytes:
    """One row a cell, in the order of the report; the cost sums to its total."""
    b = breakdown
    refuse_open(b)
    head = (b.period, b.policy.name, b.currency, b.revision, b.state, b.snapshot, b.synthetic)
    names = list(COLUMNS)
    cells = names[OF_REPORT:]
    lists: Sequence[list[str]] = [[f"{getattr(cell, name)}" for cell in b.cells] for name in cells]
    said = ", ".join(f"CAST(? AS {COLUMNS[name]}) AS {name}" for name in names[:OF_REPORT])
    each = ", ".join(f"CAST(unnest(CAST(? AS VARCHAR[])) AS {COLUMNS[name]}) AS {name}" for name in cells)
    with tempfile.TemporaryDirectory(prefix="rdspend-report-") as folder, duckdb.connect() as connection:
        path = Path(folder) / "report.parquet"
        connection.execute("SET threads = 1")
        connection.execute("SET preserve_insertion_order = true")
        connection.execute(
            f"COPY (SELECT {said}, {each}) TO {literal(str(path))} (FORMAT parquet, COMPRESSION zstd)", [*head, *lists]
        )
        return path.read_bytes()
