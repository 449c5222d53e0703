"""The HTML report of a published month of a million jobs, as the command line hands it out, and the other forms beside it.

bench_report_html.py [JOBS]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from bench_report import made
from measuring import machine, measured, serve, workplace

from rdspend.config import load
from rdspend.ledger import Ledger
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline


def published(folder: str) -> dict[str, float]:
    """The month published once more by this rdspend: seconds."""
    return Pipeline(load(Path(folder) / "rdspend.toml")).run(parse_period("2026-10"), ["tag", "attribute", "publish"]).seconds


def main() -> None:
    jobs = sys.argv[1] if len(sys.argv) > 1 else "1000000"
    folder = workplace() / f"report-{jobs}"
    print(f"report, {machine()}")
    if not Ledger(folder / "ledger").exists:
        measured(__file__, "made", folder, jobs)
    else:
        measured(__file__, "published", folder)
    command = [str(Path(sys.executable).parent / "rdspend"), "--config", str(folder / "rdspend.toml"), "report"]
    for form in ("html", "json", "xlsx", "parquet", "eml"):
        taken, size = [], 0
        for _ in range(6):
            started = time.perf_counter()
            page = subprocess.run(
                [*command, "--period", "2026-10", "--format", form], stdout=subprocess.PIPE, check=True
            ).stdout
            taken.append(time.perf_counter() - started)
            size = len(page)
        print(f"report of {int(jobs):,} jobs, {form}: {median(taken[1:]):.2f} s, {size / 1000:,.0f} kB", flush=True)


if __name__ == "__main__" and not serve({"made": made, "published": published}):
    main()
