"""The report of a closed month of a million jobs: as published, and made afresh.

bench_report.py [JOBS]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from measuring import machine, measured, serve, workplace

from rdspend.config import load
from rdspend.ledger import Ledger
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline

CONFIG = """\
ledger = "ledger"
synthetic = true
[collectors.focus]
path = "bill.parquet"
[collectors.job_log]
cluster = "syn-lab"
path = "jobs.csv"
nodes = "nodes.csv"
[taggers.label]
path = "labels.csv"
[taggers.rule]
path = "rules.toml"
"""


def made(folder: str, jobs: str) -> dict[str, float]:
    """The lab, and one run over it: seconds of each stage."""
    nodes = max(64, int(jobs) // 300)
    words = ["--jobs", jobs, "--nodes", str(nodes), "--format", "parquet"]
    subprocess.run([sys.executable, "-P", "-m", "rdspend.lab", folder, *words], check=True, stdout=subprocess.DEVNULL)
    (Path(folder) / "rdspend.toml").write_text(CONFIG)
    return Pipeline(load(Path(folder) / "rdspend.toml")).run(parse_period("2026-10")).seconds


def main() -> None:
    jobs = sys.argv[1] if len(sys.argv) > 1 else "1000000"
    folder = workplace() / f"report-{jobs}"
    print(f"report, {machine()}")
    if not Ledger(folder / "ledger").exists:
        run = measured(__file__, "made", folder, jobs)
        stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in run.answer.items())
        print(f"{int(jobs):,} jobs: {stages}; peak {run.peak_mb:.0f} MB", flush=True)
    command = [str(Path(sys.executable).parent / "rdspend"), "--config", str(folder / "rdspend.toml"), "report"]
    for label, period in (("as published", "2026-10"), ("made afresh", "2026-Q4")):
        taken = []
        for _ in range(6):
            started = time.perf_counter()
            subprocess.run([*command, "--period", period, "--format", "json"], stdout=subprocess.DEVNULL, check=True)
            taken.append(time.perf_counter() - started)
        print(f"report {label}: {median(taken[1:]):.2f} s", flush=True)


if __name__ == "__main__" and not serve({"made": made}):
    main()
