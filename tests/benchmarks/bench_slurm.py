"""Own work of the slurm collector beside sacct's own time, and rows read for each finished job, on a real Slurm.

python tests/benchmarks/bench_slurm.py [jobs]

Starts Slurm, runs a few jobs, and clones one of them in the accounting database, ended evenly over one day.
Needs root, since it starts its own Slurm. Nothing is replayed: sacct and the collector ask the same slurmdbd.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import duckdb
from servers.slurm.cluster import Cluster, running_cluster

from collectors.slurm import FINAL_STATES, Slurm
from rdspend.schema import Window

DAY = datetime(2026, 1, 15, tzinfo=UTC)
STEP = timedelta(minutes=5)


def clone(cluster: Cluster, jobs: int) -> None:
    """Make `jobs` finished jobs of DAY out of a real one; the comment of 1 in 100 has a newline."""
    options = ["--account=infra", "--gres=gpu:2", "--chdir=/", "--output=/dev/null", "--job-name=pretrain-7b-ablation"]
    cluster.run("sbatch", "--wait", *options, "--comment=run_id=r-0001 purpose=exploration", "--wrap", "sleep 2")
    columns = cluster.sql(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'slurm_acct_db' "
        "AND table_name = 'lab_job_table' AND column_name <> 'job_db_inx' ORDER BY ordinal_position"
    ).split()
    end = f"({int(DAY.timestamp())} + s.seq * 86400 DIV {jobs + 1})"
    changed = {
        "id_job": "1000000 + s.seq",
        "time_submit": f"{end} - 700",
        "time_eligible": f"{end} - 700",
        "time_start": f"{end} - 600",
        "time_end": end,
        "nodelist": "concat('node', 1 + s.seq % 4)",
        "derived_es": "IF(s.seq % 100 = 0, 'first line\\nsecond line', j.derived_es)",
    }
    values = ", ".join(changed.get(column, f"j.`{column}`") for column in columns)
    names = ", ".join(f"`{column}`" for column in columns)
    done = "id_job = 1 AND time_end > 0"
    while cluster.sql(f"SELECT count(*) FROM lab_job_table WHERE {done} AND nodelist <> ''").strip() != "1":
        time.sleep(0.5)
    time.sleep(6)  # the start record comes up to 5 s late
    cluster.sql(
        f"INSERT INTO lab_job_table ({names}) SELECT {values} FROM lab_job_table j, seq_1_to_{jobs} s WHERE j.id_job = 1"
    )


def sacct_seconds(slurm: Slurm, to: Path, window: Window) -> tuple[float, float]:
    """Wall-clock and CPU seconds of sacct alone, without slurmdbd's, with the question that the collector asks."""
    fields = ",".join([*slurm._fields(), "JobIDRaw"])
    start, end = (f"uts{int(t.timestamp())}" for t in (window.start, window.end))
    asked = ("-a", "-D", "-X", "-s", FINAL_STATES, "-S", start, "-E", end)
    began, cpu = time.perf_counter(), os.times()
    slurm._run("sacct", *asked, "-P", "-n", "--noconvert", "--delimiter=\x1fabc", "-o", fields, to=to)
    now = os.times()
    return time.perf_counter() - began, now.children_user + now.children_system - cpu.children_user - cpu.children_system


def own_seconds(slurm: Slurm, folder: Path, window: Window) -> tuple[float, float, int]:
    """CPU seconds of this process over all threads, without those of commands; wall-clock seconds of all; jobs."""
    cpu, wall, jobs = time.process_time(), time.perf_counter(), 0
    for delivery in slurm.collect(window):
        path = folder / f"{delivery.table}.parquet"
        delivery.rows.write_parquet(str(path))  # type: ignore[attr-defined]
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    jobs = duckdb.read_parquet(str(folder / "jobs.parquet")).aggregate("count(*)").fetchall()[0][0]
    return cpu, wall, jobs


def rows_of_a_day(slurm: Slurm, folder: Path) -> tuple[int, int]:
    """Rows that a day of 5-minute windows reads, overlaps included, and how many of them came in several lines."""
    fields, rows, broken = slurm._fields(), 0, 0
    for n in range(int(timedelta(days=1) / STEP)):
        start = int((DAY + n * STEP).timestamp()) - slurm.settle_seconds
        records = slurm._sacct(fields, FINAL_STATES, start, int((DAY + (n + 1) * STEP).timestamp()), folder / "part")
        rows, broken = rows + records.count, broken + len(records.others)
    return rows, broken


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with running_cluster() as cluster, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clone(cluster, jobs)
        slurm = Slurm("lab", slurm_conf=str(cluster.slurm_conf))  # type: ignore[arg-type]
        day = Window(DAY, DAY + timedelta(days=1))
        rounds = []
        for _ in range(3):
            sacct, sacct_cpu = sacct_seconds(slurm, folder / "alone", day)
            cpu, wall, seen = own_seconds(slurm, folder, day)
            assert seen == jobs, f"{seen} of {jobs} jobs"
            rounds.append((cpu / sacct, sacct, sacct_cpu, cpu, wall))
        ratio, sacct, sacct_cpu, cpu, wall = sorted(rounds)[1]
        read, broken = rows_of_a_day(slurm, folder)
        print(
            json.dumps(
                {
                    "jobs": jobs,
                    "sacct_megabytes": round((folder / "alone").stat().st_size / 1e6, 1),
                    "sacct_seconds": round(sacct, 2),
                    "sacct_cpu_seconds": round(sacct_cpu, 2),
                    "own_cpu_seconds": round(cpu, 2),
                    "collect_wall_seconds": round(wall, 2),
                    "own_work_to_sacct": round(ratio, 2),
                    "rows_read_per_finished_job": round(read / jobs, 4),
                    "records_broken_by_newlines": broken,
                }
            )
        )


if __name__ == "__main__":
    main()
