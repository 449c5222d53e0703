"""Landing an AWS cost and usage report as zstd Parquet, against DuckDB's own COPY of the same columns, in the same run.

bench_land_cur.py [lines]       CUR 2.0 Parquet, and a tenth of the lines as legacy Parquet and gzipped CSV
bench_land_cur.py replace [lines]   a month into a ledger, then its restatement in its place, with a reader that never stops

`floor` copies the columns that are landed as DuckDB reads them; `land` is the collector's delivery, manifest, effective cost,
checks and exact money included, run as the ledger runs it. Each is a process of its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from measuring import machine, measured, serve, workplace

from collectors.aws_cur import AwsCur
from rdspend.bills.cur_bill import END, MONEY, NUMBERS, PERIOD, START, TAG_PREFIX, TAGS, TEXTS
from rdspend.bills.cur_export import snake
from rdspend.config import load
from rdspend.engine import Engine
from rdspend.lab.cur import EXPORT, write_cur
from rdspend.ledger import Ledger
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline
from rdspend.schema import Location, Window

OCTOBER = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
ZSTD = "(FORMAT parquet, COMPRESSION zstd)"
SHAPES = (("2.0", "parquet", 1), ("legacy", "parquet", 10), ("2.0", "csv.gz", 10), ("legacy", "csv.gz", 10))


def make(shape: str, form: str, lines: int, version: int = 1) -> Path:
    folder = workplace() / f"cur-{shape}-{form}-{lines}-{version}"
    if not (folder / "expected.json").exists():
        write_cur(folder, lines=lines, shape=shape, form=form, pods=lines // 20, version=version)  # type: ignore[arg-type]
    return folder


def floor(folder: str, out: str) -> int:
    """DuckDB's own COPY of the columns that a landing takes."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    files = [str(p) for p in sorted(Path(folder, EXPORT).rglob(f"{EXPORT}-0*"))]
    source = "read_parquet(?)" if files[0].endswith("parquet") else "read_csv(?, all_varchar = true)"
    given = [name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM {source}", [files]).fetchall()]
    taken = {*TEXTS, *MONEY, *NUMBERS, PERIOD, START, END, TAGS}
    columns = ", ".join(f'"{name}"' for name in given if snake(name) in taken or snake(name).startswith(TAG_PREFIX))
    return int(connection.execute(f"COPY (SELECT {columns} FROM {source}) TO '{out}' {ZSTD}", [files]).fetchall()[0][0])


def land(folder: str, out: str) -> dict[str, str]:
    """What was landed: lines, billed and effective in nanos."""
    with closing(AwsCur(Location(str(Path(folder) / EXPORT)), bedrock="", sagemaker="").collect(OCTOBER)) as deliveries:
        for delivery in deliveries:
            delivery.rows().query("rows", f"COPY rows TO '{out}' {ZSTD}")  # type: ignore[operator, union-attr]
    found = duckdb.sql(f"SELECT count(*), sum(billed_cost_nanos), sum(effective_cost_nanos) FROM '{out}'").fetchall()[0]
    return dict(zip(("lines", "unblended", "effective"), map(str, found), strict=True))


def compare(lines: int) -> None:
    print(f"{'':16} {'lines':>10} {'floor s':>8} {'land s':>8} {'ratio':>6} {'cpu ratio':>9} {'peak MB':>8} {'lines/s':>9}")
    for shape, form, part in SHAPES:
        count = lines // part
        folder, out = make(shape, form, count), workplace() / "landed.parquet"
        base, ours = measured(__file__, "floor", folder, out), measured(__file__, "land", folder, out)
        expected = json.loads((folder / "expected.json").read_text())
        assert ours.answer["lines"] == expected["lines"], (ours.answer, expected)
        for side in ("unblended", "effective"):
            off = abs(int(ours.answer[side]) - int(expected[side].replace(".", "")[:-1]))
            assert off <= count, (side, ours.answer, expected)  # a nano a line, from rounding to nanos
        print(
            f"{shape + ' ' + form:16} {count:10} {base.seconds:8.2f} {ours.seconds:8.2f} {ours.seconds / base.seconds:6.2f} "
            f"{ours.processor_seconds / base.processor_seconds:9.2f} {ours.peak_mb:8.0f} {count / ours.seconds:9.0f}"
        )


# --- a restatement ------------------------------------------------------------------------------------------------------


def collect(folder: str) -> float:
    started = time.perf_counter()
    config = load(Path(folder) / "rdspend.toml")
    outcome = Pipeline(config, clock=lambda: 1_793_500_000.0).run(parse_period("2026-10"), ["collect"])
    assert not outcome.failures, outcome.failures
    return time.perf_counter() - started


def ask(folder: str, until: str) -> dict[str, Any]:
    """Ask the ledger for the month's total until a file appears; every answer has to be one of both revisions' totals."""
    ledger, totals, slowest, asked = Ledger(Path(folder) / "ledger"), set(), 0.0, 0
    while not Path(until).exists():
        started = time.perf_counter()
        with Engine(threads=1) as engine:
            ledger.snapshot().view(engine, "charges")
            totals.add(str(engine.value("SELECT sum(billed_cost_nanos) FROM charges")))
        slowest, asked = max(slowest, time.perf_counter() - started), asked + 1
        time.sleep(1)
    return {"totals": sorted(totals), "slowest": slowest, "asked": asked}


def replace(lines: int) -> None:
    folder = workplace() / "cur-replace"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    seconds = []
    reader: subprocess.Popen[str] | None = None
    for version in (1, 2):
        bill = make("2.0", "parquet", lines, version)
        (folder / "bill").unlink(missing_ok=True)
        (folder / "bill").symlink_to(bill / EXPORT)
        (folder / "rdspend.toml").write_text('ledger = "ledger"\n[collectors.aws_cur]\npath = "bill"\n')
        if version == 2:
            command = [sys.executable, __file__, "--work", "ask", str(folder), str(folder / "done")]
            reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        work = measured(__file__, "collect", folder)
        seconds.append(work.answer)
        print(f"revision {version}: {work.answer:.1f} s, {work.peak_mb:.0f} MB")
    (folder / "done").touch()
    assert reader is not None and reader.stdout is not None
    answer = json.loads(reader.stdout.read().splitlines()[-1])["answer"]
    print(f"replacing / first load: {seconds[1] / seconds[0]:.2f}")
    slowest, totals = answer["slowest"], len(answer["totals"])
    print(f"readers meanwhile: {answer['asked']} answers, slowest {slowest:.2f} s, totals seen {totals}")
    assert len(answer["totals"]) <= 2 and "None" not in answer["totals"]
    shutil.rmtree(folder)


def main() -> None:
    print(machine())
    words = sys.argv[1:]
    if words[:1] == ["replace"]:
        replace(int(words[1]) if len(words) > 1 else 10_000_000)
    else:
        compare(int(words[0]) if words else 1_000_000)


if __name__ == "__main__" and not serve({"floor": floor, "land": land, "collect": collect, "ask": ask}):
    main()
