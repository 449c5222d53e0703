"""Export a month to FOCUS: against DuckDB's own COPY of the same output in the same run.

bench_focus_export.py [LINES ...]       default 10,000,000; 1,600 nodes, one job for every sixty lines
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
from rdspend.focus_export import export_focus
from rdspend.lab.benchmark import write_benchmark
from rdspend.ledger import Ledger
from rdspend.period import parse_period
from rdspend.policy import load_policy
from rdspend.schema import ATTRIBUTIONS, CHARGES, JOBS, NODES, PLACEMENTS, RATES

MONTH, NOW = "2026-10", 1_793_491_200
NODES_EACH, LINES_PER_HOUR, HOURS = 1_600, 8, 730


def make(folder: str, lines: str) -> None:
    """A ledger with an attributed month, and nothing else."""
    hours = min(HOURS, max(1, int(lines) // (NODES_EACH * LINES_PER_HOUR)))
    source = Path(folder) / "source"
    write_benchmark(source, nodes=NODES_EACH, jobs=max(NODES_EACH, int(lines) // 60), hours=hours, lines=int(lines))
    with tempfile.TemporaryDirectory() as spill, Engine("2GB", temp=Path(spill)) as engine:
        for table in (CHARGES, JOBS, PLACEMENTS, NODES):
            files = source / "charges" / "*.parquet" if table is CHARGES else source / f"{table.name}.parquet"
            engine.execute(f"CREATE VIEW {table.name} AS SELECT * FROM read_parquet({literal(str(files))})")
        for name, table in (("rates", RATES), ("other_charges", CHARGES)):
            engine.execute(f"CREATE VIEW {name} AS {empty_select(table)}")
        attribute(engine, MONTH, NOW)
        with Ledger(Path(folder) / "ledger").writer() as writer:
            bill = {"source": "synthetic", "billing_period": MONTH}
            writer.replace(CHARGES, engine.connection.sql(f"SELECT * EXCLUDE ({', '.join(bill)}) FROM charges"), bill)
            for table in (JOBS, PLACEMENTS, NODES, ATTRIBUTIONS):
                writer.replace(table, engine.connection.sql(f"SELECT * FROM {table.name}"), {}, drop=lambda _: True)
            writer.finish(
                engine,
                stages=("collect", "attribute"),
                period=MONTH,
                started_at=float(NOW),
                ended_at=float(NOW),
                outcome="ok",
                config_digest="",
                code_version="",
            )


def exported(folder: str) -> dict[str, int]:
    period = parse_period(MONTH)
    snapshot = Ledger(Path(folder) / "ledger").snapshot()
    with tempfile.TemporaryDirectory() as spill, Engine(temp=Path(spill)) as engine:
        out, policy = Path(folder) / "export", load_policy("epoch")
        done = export_focus(engine, snapshot, {MONTH: snapshot}, period, out, policy=policy, as_billed=True)
    return {"rows": done.rows, "bytes": sum(p.stat().st_size for p in done.folder.iterdir())}


def floor(folder: str) -> dict[str, int]:
    """The same rows once more, read from Parquet and written to Parquet."""
    copy = Path(folder) / "copy.parquet"
    with tempfile.TemporaryDirectory() as spill, Engine(temp=Path(spill)) as engine:
        files = literal(str(Path(folder) / "export" / "*.parquet"))
        engine.execute(f"COPY (SELECT * FROM read_parquet({files})) TO {literal(str(copy))} (FORMAT parquet, COMPRESSION zstd)")
        rows = engine.value(f"SELECT count(*) FROM read_parquet({literal(str(copy))})")
    size = copy.stat().st_size
    copy.unlink()
    return {"rows": int(rows), "bytes": size}


def main() -> None:
    print(f"FOCUS export, {machine()}")
    for lines in map(int, sys.argv[1:] or ("10000000",)):
        folder = workplace() / f"focus-export-{lines}"
        if not (folder / "ledger" / "runs").exists():
            measured(__file__, "make", folder, lines)
        pairs = [(measured(__file__, "exported", folder), measured(__file__, "floor", folder)) for _ in range(3)]
        for ours, theirs in pairs:
            assert ours.answer["rows"] == theirs.answer["rows"]
        ratio = median(ours.seconds / theirs.seconds for ours, theirs in pairs)
        work = median(ours.processor_seconds / theirs.processor_seconds for ours, theirs in pairs)
        ours, theirs = sorted(pairs, key=lambda p: p[0].seconds)[1]
        print(
            f"{lines:>12,} lines, {ours.answer['rows']:,} rows: {ours.seconds:6.2f} s, "
            f"{max(o.peak_mb for o, _ in pairs):6.0f} MB; "
            f"floor {theirs.seconds:6.2f} s, {theirs.peak_mb:6.0f} MB; ratio {ratio:.2f} (of processor time {work:.2f})",
            flush=True,
        )


if __name__ == "__main__" and not serve({"make": make, "exported": exported, "floor": floor}):
    main()
