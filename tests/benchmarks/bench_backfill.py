"""Backfill of 24 months x 1,000 series into blocks: reach 30 s. And what a dashboard's question then takes: reach 200 ms.

bench_backfill.py [SERIES] [QUERY]      QUERY: no, to leave a Prometheus out

SERIES is the number of cost series a month; each has a series of GPU time beside it. The ledger is 24 published months of a
bill with a job for each series. Needs promtool and prometheus (tests/servers/install).
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from histories import MONTHS, Server, published, serving
from measuring import machine, workplace
from organisations import CONFIG, JOBS_HEADER, NODES, NODES_HEADER, two_days, write_bill

from rdspend.ledger import Ledger

REACH_SECONDS, REACH_MS = 30, 200
QUESTIONS = (
    "billing_period_category:rdspend_cost_usd:sum",
    "sum by (category) (billing_period_category:rdspend_cost_usd:sum)",
    'rdspend_share_ratio{category="final_training"}',
)
WITHOUT_RULES = "sum by (billing_period, category) (rdspend_cost_usd)"


def write_lab(folder: Path, series: int) -> Path:
    """As many jobs of one minute a month as there are to be series, each of a team of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    write_bill(folder, [line for month in MONTHS for line in two_days("98.32", month)])
    jobs = (
        f"{m}{n},u,team-{n},eval-{n},{month}-01T00:00:00Z,{month}-01T{n // 60 % 24:02d}:{n % 60:02d}:00Z,"
        f"{month}-02T{n // 60 % 24:02d}:{n % 60:02d}:30Z,COMPLETED,n{n % 2 + 1},1,H100,exploration"
        for m, month in enumerate(MONTHS, 1)
        for n in range(series)
    )
    (folder / "jobs.csv").write_text("\n".join([JOBS_HEADER, *jobs]) + "\n")
    (folder / "nodes.csv").write_text("\n".join([NODES_HEADER, *NODES]) + "\n")
    (folder / "labels.csv").write_text("cluster,job_id,activity,stage,who\n")
    (folder / "rules.toml").write_text("")
    config = folder / "rdspend.toml"
    config.write_text(CONFIG.replace('[taggers.rule]\npath = "rules.toml"\n', ""))
    return config


def ask(server: Server, question: str) -> float:
    """Median milliseconds of a question over two years, a point a day."""
    taken = []
    for _ in range(6):
        started = time.perf_counter()
        assert server.over(question)
        taken.append((time.perf_counter() - started) * 1000)
    return median(taken[1:])


def processor_seconds() -> float:
    """Of all processes that were waited for, promtool's among them."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    series = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    folder = workplace() / f"backfill-{series}"
    print(f"backfill, {machine()}")
    if not Ledger(folder / "ledger").exists:
        started = time.perf_counter()
        published(write_lab(folder, series), MONTHS)
        print(f"{len(MONTHS)} months of {series:,} jobs published in {time.perf_counter() - started:.0f} s", flush=True)
    command = [str(Path(sys.executable).parent / "rdspend"), "--config", str(folder / "rdspend.toml"), "backfill"]
    for form in ("openmetrics", "blocks"):
        out = folder / form
        shutil.rmtree(out, ignore_errors=True)
        words = ["--from", MONTHS[0], "--to", MONTHS[-1], "--format", form, "--out", str(out)]
        started, processor = time.perf_counter(), processor_seconds()
        done = subprocess.run([*command, *words], stdout=subprocess.PIPE, text=True, check=True)
        seconds, processor = time.perf_counter() - started, processor_seconds() - processor
        written = sum(int(line.split("  ")[1].split()[0].replace(",", "")) for line in done.stdout.splitlines())
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
        print(f"{form}: {len(MONTHS)} months, {written:,} series, {size:.0f} MB", end=": ")
        print(f"{seconds:.1f} s (reach {REACH_SECONDS}), {processor:.1f} s of processor", flush=True)
    if sys.argv[2:] == ["no"]:
        return
    running = folder / "prometheus"
    shutil.rmtree(running, ignore_errors=True)
    with serving(running, folder / "blocks") as server:
        for question in QUESTIONS:
            print(f"{ask(server, question):.0f} ms (reach {REACH_MS}): {question}", flush=True)
        print(f"{ask(server, WITHOUT_RULES):.0f} ms without a recorded sum: {WITHOUT_RULES}")


if __name__ == "__main__":
    main()
