"""Registering releases: working out the jobs behind them, tagging past months anew, publishing twelve months afresh.

bench_release.py [JOBS]      over all twelve months, 1,000,000 when left out
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from measuring import machine, measured, serve, workplace

from rdspend.config import load
from rdspend.engine import Engine
from rdspend.ledger import Ledger
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline

MONTHS = [f"2025-{number:02d}" for number in range(1, 13)]
CONFIG = """\
ledger = "ledger"
synthetic = true
[collectors.focus]
path = "bills/*.parquet"
[collectors.job_log]
cluster = "syn-lab"
path = "jobs/*.csv"
nodes = "nodes.csv"
[collectors.release]
path = "releases"
[taggers.lineage]
[taggers.rule]
path = "rules.toml"
"""


def made(folder: str, jobs: str) -> float:
    """Twelve months of the lab, each run and published; seconds of the last."""
    root = Path(folder)
    for name in ("bills", "jobs", "releases"):
        (root / name).mkdir(parents=True, exist_ok=True)
    share = int(jobs) // len(MONTHS)
    for month in MONTHS:
        words = ["--jobs", str(share), "--nodes", str(max(64, share // 300)), "--month", month]
        command = [sys.executable, "-P", "-m", "rdspend.lab", folder, *words, "--format", "parquet"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (root / "bill.parquet").rename(root / "bills" / f"{month}.parquet")
        (root / "jobs.csv").rename(root / "jobs" / f"{month}.csv")
    (root / "rdspend.toml").write_text(CONFIG)
    config = load(root / "rdspend.toml")
    seconds = 0.0
    done = Pipeline(config).run(parse_period("2025"), ["collect", "tag", "attribute"])
    if done.failures:
        raise SystemExit(f"not made: {done.failures[0].error}")
    for month in MONTHS:
        seconds = Pipeline(config).run(parse_period(month), ["publish"]).seconds["publish"]
    return seconds


def register(folder: str) -> dict[str, Any]:
    """Twelve releases at once, each of the five largest jobs of a month and of a sweep by name."""
    config = load(Path(folder) / "rdspend.toml")
    with Engine() as engine:
        Ledger(config.ledger).snapshot().view(engine, "jobs")
        largest = engine.rows(
            "SELECT left(end_day, 7), list(job_key ORDER BY gpu_parts * epoch(end_time - start_time) DESC)[:5] FROM jobs "
            "WHERE end_day <> 'open' GROUP BY 1 ORDER BY 1"
        )
    for month, keys in largest:
        named = ", ".join(f'"{key}"' for key in keys)
        text = f'model = "m-{month}"\nreleased_at = 2026-03-01\n[[claim]]\njob = [{named}]\n'
        text += f'[[claim]]\njobs = "*abl*"\nsince = {month}-10\nuntil = {month}-11\nrole = "exploration"\n'
        (Path(folder) / "releases" / f"{month}.toml").write_text(text)
    return update(folder)


def update(folder: str) -> dict[str, Any]:
    outcome = Pipeline(load(Path(folder) / "rdspend.toml")).update_releases()
    return {"jobs": outcome.jobs, "months": len(outcome.moved), "releases": outcome.resolved.releases}


def take_back(folder: str) -> dict[str, Any]:
    for file in (Path(folder) / "releases").iterdir():
        file.unlink()
    return update(folder)


def main() -> None:
    jobs = sys.argv[1] if len(sys.argv) > 1 else "1000000"
    folder = workplace() / f"release-{jobs}"
    print(f"release, {machine()}")
    if not Ledger(folder / "ledger").exists:
        run = measured(__file__, "made", folder, jobs)
        print(f"{int(jobs):,} jobs: made in {run.seconds:.0f} s, a month published in {run.answer:.1f} s", flush=True)
    for label, work in (
        ("registered, all texts read", "register"),
        ("taken back", "take_back"),
        ("registered again", "register"),
        ("nothing new", "update"),
    ):
        run = measured(__file__, work, folder)
        print(
            f"{label}: {run.answer['releases']} releases, {run.answer['jobs']:,} jobs tagged anew, {run.answer['months']} "
            f"months afresh: {run.seconds:.1f} s ({run.processor_seconds:.1f} s of processors), peak {run.peak_mb:.0f} MB",
            flush=True,
        )
    measured(__file__, "take_back", folder)


if __name__ == "__main__" and not serve({"made": made, "register": register, "update": update, "take_back": take_back}):
    main()
