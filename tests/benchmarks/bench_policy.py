"""The same month under all policies at once, as `rdspend policy compare` does it: a month of a million jobs.

bench_policy.py [JOBS]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from bench_report import __file__ as bench_report
from measuring import machine, measured, serve, workplace

from rdspend.config import load
from rdspend.ledger import Ledger
from rdspend.period import parse_period
from rdspend.reading import Reader


def compared(folder: str) -> dict[str, float]:
    """Six comparisons in one process; seconds of the last five, the median, and of the slowest."""
    reader = Reader(load(Path(folder) / "rdspend.toml"))
    taken = []
    for _ in range(6):
        started = time.perf_counter()
        found = reader.compare_policies(parse_period("2026-10"), None, None)
        taken.append(time.perf_counter() - started)
    return {"median": median(taken[1:]), "slowest": max(taken), "policies": len(found.sides)}


def main() -> None:
    jobs = sys.argv[1] if len(sys.argv) > 1 else "1000000"
    folder = workplace() / f"report-{jobs}"
    print(f"policy compare, {machine()}")
    if not Ledger(folder / "ledger").exists:
        measured(bench_report, "made", folder, jobs)
    run = measured(__file__, "compared", folder)
    print(
        f"{int(jobs):,} jobs, {run.answer['policies']} policies: {run.answer['median']:.2f} s, slowest "
        f"{run.answer['slowest']:.2f} s; peak {run.peak_mb:.0f} MB",
        flush=True,
    )
    command = [str(Path(sys.executable).parent / "rdspend"), "--config", str(folder / "rdspend.toml"), "policy", "compare"]
    started = time.perf_counter()
    subprocess.run([*command, "2026-10"], stdout=subprocess.DEVNULL, check=True)
    print(f"rdspend policy compare, process and all: {time.perf_counter() - started:.2f} s", flush=True)


if __name__ == "__main__" and not serve({"compared": compared}):
    main()
