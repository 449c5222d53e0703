"""The difference of two revisions of a bill: a few nodes restated, and every line restated.

bench_diff.py [LINES]       default 10,000,000; 10,000 nodes and 1,000,000 jobs at that size

Three revisions go through the whole pipeline into a ledger first, which takes some minutes and is kept for the next time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
from measuring import machine, measured, serve, workplace

from rdspend.border import literal
from rdspend.config import Config, Plugin, load
from rdspend.lab.benchmark import CLUSTER, write_benchmark
from rdspend.ledger import Ledger
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline
from rdspend.reading import Reader
from rdspend.schema import Delivery, Window

PERIOD = parse_period("2026-10")
AFTER = 1_795_000_000
NODES, JOBS, HOURS, LINES = 10_000, 1_000_000, 730, 10_000_000
REACH_SECONDS = 20.0

# A later bill takes a hundredth off: of each hundredth node, of every line.
RESTATED = (
    "effective_cost_nanos",
    "CASE WHEN hash(resource_id) % 100 = 0 THEN effective_cost_nanos * 99 // 100 ELSE effective_cost_nanos END",
    "effective_cost_nanos * 98 // 100",
)


@dataclass(frozen=True)
class Generated:
    """Delivers what `write_benchmark` wrote, with another effective cost."""

    folder: Path
    cost: str

    def collect(self, window: Window) -> Iterator[Delivery]:
        yield Delivery("nodes", self.read("nodes", "cluster"), {"cluster": CLUSTER})
        yield Delivery("jobs", self.read("jobs", "cluster, source"), {"cluster": CLUSTER})
        yield Delivery("placements", self.read("placements", "cluster"), {"cluster": CLUSTER})
        bill = self.read("charges/*", "source, billing_period", f"REPLACE ({self.cost} AS effective_cost_nanos)")
        yield Delivery("charges", bill, {"billing_period": PERIOD.text})

    def read(self, name: str, left_out: str, changed: str = "") -> duckdb.DuckDBPyRelation:
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'; SET memory_limit = '1GB'; SET preserve_insertion_order = false")
        files = literal(str(self.folder / f"{name}.parquet"))
        return connection.sql(f"SELECT * EXCLUDE ({left_out}) {changed} FROM read_parquet({files})")


def configured(folder: Path, cost: str = RESTATED[0]) -> Config:
    file = folder / "rdspend.toml"
    file.write_text('ledger = "ledger"\nsynthetic = true\n')
    config = load(file)
    object.__setattr__(config, "collectors", (Plugin("collectors", "synthetic", Generated(folder, cost)),))
    return config


def make(folder: str, lines: str) -> None:
    size = int(lines)
    hours = min(HOURS, max(1, size // NODES))
    write_benchmark(Path(folder), nodes=NODES, jobs=JOBS * hours // HOURS, hours=hours, lines=size)
    for cost in RESTATED:
        Pipeline(configured(Path(folder), cost), clock=lambda: AFTER).run(PERIOD)


def difference(folder: str, before: str, after: str) -> dict[str, str | int]:
    found = Reader(configured(Path(folder))).diff(PERIOD, before, after, None, 20)
    return {"difference": str(found.whole.difference), "looked_at": found.rows_looked_at, "moved": found.rows_moved}


def main() -> None:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else LINES
    folder = workplace() / f"diff-{lines}"
    print(f"diff, {machine()}")
    if len(Ledger(folder / "ledger").runs()) < len(RESTATED):
        measured(__file__, "make", folder, lines)
    for label, before, after in (("a node in a hundred", 1, 2), ("every line", 2, 3)):
        runs = sorted((measured(__file__, "difference", folder, before, after) for _ in range(3)), key=lambda run: run.seconds)
        took = runs[1]
        print(
            f"{lines:,} lines against {lines:,}, restated: {label}: {took.seconds:.1f} s, "
            f"{max(run.peak_mb for run in runs):.0f} MB; difference {took.answer['difference']}, "
            f"{took.answer['looked_at']:,} of {took.answer['moved']:,} rows looked at; "
            f"to be reached {REACH_SECONDS:.0f} s: {'yes' if took.seconds <= REACH_SECONDS else 'NO'}",
            flush=True,
        )


if __name__ == "__main__" and not serve({"make": make, "difference": difference}):
    main()
