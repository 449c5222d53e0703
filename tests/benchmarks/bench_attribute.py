"""Attribute a bill to jobs: against "sum the same Parquet to node-hours" in the same run.

bench_attribute.py [LINES ...]       default 1,000,000 10,000,000 50,000,000; 10,000 nodes, 1,000,000 jobs
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

from measuring import machine, measured, serve, workplace

from rdspend.attribution import attribute
from rdspend.border import literal
from rdspend.engine import Engine, empty_select
from rdspend.lab.benchmark import write_benchmark
from rdspend.schema import CHARGES, RATES

MONTH, NOW = "2026-10", 1_793_491_200
NODES, JOBS, HOURS = 10_000, 1_000_000, 730


def views(engine: Engine, folder: Path) -> None:
    charges = literal(str(folder / "charges" / "*.parquet"))
    engine.execute(f"CREATE VIEW charges AS SELECT * FROM read_parquet({charges})")
    for table in ("nodes", "jobs", "placements"):
        engine.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet({literal(str(folder / f'{table}.parquet'))})")
    for table in (RATES, CHARGES):
        name = "other_charges" if table is CHARGES else table.name
        engine.execute(f"CREATE VIEW {name} AS {empty_select(table)}")


def floor(folder: str) -> dict[str, int]:
    """Both money columns of the bill, by resource and hour."""
    with tempfile.TemporaryDirectory() as spill, Engine(temp=Path(spill)) as engine:
        views(engine, Path(folder))
        engine.execute(
            "CREATE TEMP TABLE node_hour AS SELECT resource_id, epoch_us(charge_period_start) // 3600000000 AS h, "
            "sum(effective_cost_nanos) AS effective, sum(billed_cost_nanos) AS billed FROM charges GROUP BY ALL"
        )
        rows, effective = engine.rows("SELECT count(*), sum(effective) FROM node_hour")[0]
    return {"rows": int(rows), "effective": int(effective)}


def attributed(folder: str) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as spill, Engine(temp=Path(spill)) as engine:
        views(engine, Path(folder))
        attribute(engine, MONTH, NOW)
        rows, effective = engine.rows("SELECT count(*), sum(effective_cost_nanos) FROM attributions")[0]
    return {"rows": int(rows), "effective": int(effective)}


def prepared(lines: int) -> Path:
    folder = workplace() / f"attribute-{lines}"
    if not (folder / "charges").exists():
        # In a process of its own: a child's peak memory counts what its parent held.
        measured(__file__, "make", folder, lines)
    return folder


def make(folder: str, lines: str) -> None:
    # As many hours as the lines fill, so that small bills are short months and not thin ones.
    hours = min(HOURS, max(1, int(lines) // NODES))
    write_benchmark(Path(folder), nodes=NODES, jobs=JOBS * hours // HOURS, hours=hours, lines=int(lines))


def main() -> None:
    print(f"attribute, {machine()}")
    for lines in map(int, sys.argv[1:] or ("1000000", "10000000", "50000000")):
        folder = prepared(lines)
        pairs = [(measured(__file__, "attributed", folder), measured(__file__, "floor", folder)) for _ in range(3)]
        for ours, theirs in pairs:
            assert ours.answer["effective"] == theirs.answer["effective"]
        ratio = median(ours.seconds / theirs.seconds for ours, theirs in pairs)
        ours = sorted(pairs, key=lambda p: p[0].seconds)[1][0]
        theirs = sorted(pairs, key=lambda p: p[1].seconds)[1][1]
        print(
            f"{lines:>12,} lines: {ours.seconds:6.2f} s, {max(o.peak_mb for o, _ in pairs):6.0f} MB; "
            f"floor {theirs.seconds:6.2f} s, {theirs.peak_mb:6.0f} MB; ratio {ratio:.2f}",
            flush=True,
        )


if __name__ == "__main__" and not serve({"floor": floor, "attributed": attributed, "make": make}):
    main()
