"""Jobs by hand with their families, answers about them, and what a tagger makes of both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from rdspend.engine import empty_select
from rdspend.families import FAMILY
from rdspend.schema import GPU_PARTS, JOBS, Location

HEAD = "family,user,activity,stage,who,when,saw,note\n"
EVAL = "eval mmlu step#· harness"


def jobs(connection: Any, rows: Sequence[tuple[str, str, str, float]]) -> Any:
    """Ended jobs of (name, command, user, GPU-hours), with the families that the tag stage files."""
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"CREATE OR REPLACE TABLE job AS {empty_select(JOBS)}")
    for number, (name, command, user, hours) in enumerate(rows):
        connection.execute(
            'INSERT INTO job (job_key, name, command, "user", gpu_parts, submit_time, start_time, end_time) VALUES'
            " (?, ?, ?, ?, ?, to_timestamp(0), to_timestamp(0), to_timestamp(?))",
            [f"c/{number}/0", name or None, command or None, user or None, GPU_PARTS, hours * 3600],
        )
    connection.execute(f"CREATE OR REPLACE TABLE job_family AS SELECT job_key, {FAMILY} AS family FROM job")
    return connection.table("job")


MANY = [
    ("eval-mmlu-step100", "python -m harness --task mmlu", "ann", 10.0),
    ("eval-mmlu-step200", "python -m harness --task mmlu", "bob", 20.0),
    ("eval-gsm8k-step100", "python -m harness --task gsm8k", "bob", 5.0),
    ("orca-big", "sbatch start.sbatch orca.yaml", "eve", 900.0),
    ("orca-small", "sbatch start.sbatch orca.yaml", "eve", 50.0),
    ("gen-web-1", "python gen/synth.py --shard 1", "dan", 60.0),
]


def tagged(tagger: Any, rows: Sequence[tuple[str, str, str, float]] = MANY) -> dict[str, dict[str, Any]]:
    """Answers by the name of the job."""
    with duckdb.connect() as connection:
        found = tagger.tag(jobs(connection, rows))
        names = [column[0] for column in found.description]
        answers = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        return {rows[int(each["job_key"].split("/")[1])][0]: each for each in answers}


def file_of(folder: Path, *lines: str) -> Location:
    path = folder / "reviews.csv"
    path.write_text(HEAD + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return Location(str(path))
