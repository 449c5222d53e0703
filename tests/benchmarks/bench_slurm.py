"""Own work of the slurm collector beside sacct's own time, and rows read for each finished job, on a real Slurm.

python tests/benchmarks/bench_slurm.py [jobs]

Starts Slurm, runs a few jobs, and clones one of them in the accounting database, ended evenly over one day.
Needs root, since it starts its own Slurm. Nothing is replayed: sacct and the collector ask the same slurmdbd.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from servers.slurm.cluster import Cluster, running_cluster

from collectors.slurm import FINAL_STATES, Slurm
from rdspend.schema import Window

DAY = datetime(2026, 1, 15, tzinfo=UTC)
STEP = timedelta(minutes=5)


def clone(cluster: Cluster, jobs: int) -> None:
    """Make `jobs` finished jobs of DAY out of a real one: 1 of 100 with a newline in its comment."""
    cluster.run("sbatch", "--parsable", "--wait", "--account=infra", "--gres=gpu:2", "--chdir=/", "--output=/dev/null",
                "--job-name=pretrain-7b-ablation", "--comment=run_id=r-0001 purpose=exploration", "--wrap", "sleep 2")  # fmt: skip
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


def sacct_seconds(slurm: Slurm, to: Path, window: Window) -> float:
    """Wall-clock seconds of sacct alone, with the question that the collector asks."""
    fields = ",".join([*slurm._fields(), "JobIDRaw"])
    start, end = (f"uts{int(t.timestamp())}" for t in (window.start, window.end))
    asked = ("-a", "-D", "-X", "-s", FINAL_STATES, "-S", start, "-E", end)
    began = time.perf_counter()
    slurm._run("sacct", *asked, "-P", "-n", "--noconvert", "--delimiter=\x1fabc", "-o", fields, to=to)
    return time.perf_counter() - began


def own_seconds(slurm: Slurm, folder: Path, window: Window) -> tuple[float, float, int]:
    """CPU seconds of this process over all threads, without those of commands; wall-clock seconds of all; jobs."""
    cpu, wall, jobs = time.process_time(), time.perf_counter(), 0
    for delivery in slurm.collect(window):
        path = folder / f"{delivery.table}.parquet"
        delivery.rows.write_parquet(str(path))  # type: ignore[attr-defined]
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    import duckdb

    jobs = duckdb.read_parquet(str(folder / "jobs.parquet")).aggregate("count(*)").fetchall()[0][0]
    return cpu, wall, jobs


def rows_of_a_day(slurm: Slurm, folder: Path) -> int:
    """Rows that a day of 5-minute intervals reads; each asked again in full, the overlap of settle_seconds included."""
    fields, rows = slurm._fields(), 0
    for n in range(int(timedelta(days=1) / STEP)):
        start = int((DAY + n * STEP).timestamp()) - slurm.settle_seconds
        rows += slurm._sacct(fields, FINAL_STATES, start, int((DAY + (n + 1) * STEP).timestamp()), folder / "part").count
    return rows


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with running_cluster() as cluster, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clone(cluster, jobs)
        slurm = Slurm("lab", slurm_conf=str(cluster.slurm_conf))  # type: ignore[arg-type]
        day = Window(DAY, DAY + timedelta(days=1))
        rounds = []
        for _ in range(3):
            sacct = sacct_seconds(slurm, folder / "alone", day)
            cpu, wall, seen = own_seconds(slurm, folder, day)
            assert seen == jobs, f"{seen} of {jobs} jobs"
            rounds.append((cpu / sacct, sacct, cpu, wall))
        ratio, sacct, cpu, wall = sorted(rounds)[1]
        print(
            json.dumps(
                {
                    "jobs": jobs,
                    "sacct_megabytes": round((folder / "alone").stat().st_size / 1e6, 1),
                    "sacct_seconds": round(sacct, 2),
                    "own_cpu_seconds": round(cpu, 2),
                    "collect_wall_seconds": round(wall, 2),
                    "own_work_to_sacct": round(ratio, 2),
                    "rows_read_per_finished_job": round(rows_of_a_day(slurm, folder) / jobs, 4),
                }
            )
        )


if __name__ == "__main__":
    main()
