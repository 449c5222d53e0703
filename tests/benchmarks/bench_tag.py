"""Time of tagging a million jobs with a hundred rules, and with labels in their comments.

python tests/benchmarks/bench_tag.py [jobs] [rules]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from rdspend.schema import Location
from taggers.label import Label
from taggers.rule import Rule

WORDS = ["train", "ablat", "eval", "mmlu", "tokenise", "sft", "dpo", "grpo", "debug", "sweep", "serve", "crawl"]


def make_jobs(connection: duckdb.DuckDBPyConnection, count: int) -> None:
    """A table `work` with the columns of JOBS; the same rows for the same count."""
    words = "[" + ", ".join(f"'{w}'" for w in WORDS) + "]"
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"""
        CREATE TABLE work AS
        SELECT 'c1/' || i || '/' || (1790000000 + i) AS job_key, 'c1' AS cluster, '2026-10-01' AS end_day,
               'slurm' AS source, 'sacct' AS origin_file, i AS origin_row, CAST(i AS VARCHAR) AS job_id,
               CASE WHEN h % 7 = 0 THEN 'a' || i // 10 END AS array_job_id, CAST(NULL AS VARCHAR) AS resource_id,
               'user' || h % 300 AS user, 'team' || h % 20 AS account, CAST(NULL AS VARCHAR) AS project,
               'gpu' AS queue, 'normal' AS qos,
               ({words})[1 + h % 12] || '-llama-' || (h >> 8) % 900 || 'b-' || ({words})[1 + (h >> 16) % 12] AS name,
               'sbatch scripts/' || ({words})[1 + (h >> 24) % 12] || '/run_' || (h >> 32) % 5000 || '.sh' AS command,
               CAST(NULL AS VARCHAR) AS script, CAST(NULL AS VARCHAR) AS image, '/scratch/u' || h % 300 AS work_dir,
               CASE WHEN h % 10 = 0 THEN map(['comment'], ['run 12, purpose=eval; stage=data'])
                    WHEN h % 10 < 5 THEN map(['comment', 'wckey'], ['nightly run of the usual kind', '*'])
               END AS labels,
               to_timestamp(1790000000 + i) AS submit_time, to_timestamp(1790000600 + i) AS start_time,
               to_timestamp(1790004200 + i + h % 90000) AS end_time,
               'completed' AS outcome, CAST(0 AS BIGINT) AS exit_code,
               CAST(20160 * 8 AS BIGINT) AS requested_gpu_parts, CAST(20160 * (1 + h % 64) AS BIGINT) AS gpu_parts,
               'H100' AS gpu_type, CAST(96 AS BIGINT) AS cpus, CAST(1024 AS BIGINT) AS memory_mib,
               CAST(1 + h % 8 AS BIGINT) AS node_count
        FROM (SELECT i, CAST(hash(i) >> 1 AS BIGINT) AS h FROM range({count}) AS r(i))
    """)


def rules_of_every_kind(count: int) -> str:
    """Rules as people write them; few of them are true of the same jobs."""
    shapes = [
        "name ILIKE '%{word}-llama-{i}b%' AND gpus >= 4",
        "regexp_matches(text, '{word}.*run_{i}\\d*') AND NOT is_array",
        "account = 'team{i}' AND hours > 24 AND contains(name, '{word}')",
        "starts_with(name, '{word}') AND nodes BETWEEN 2 AND 4 AND labels['comment'] ILIKE '%kind {i}%'",
    ]
    whens = [shapes[i % 4].format(word=WORDS[i % 12], i=i) for i in range(count)]
    return "\n".join(f"[[rule]]\nname = 'r{i}'\nwhen = '''{w}'''\nactivity = 'exploration'" for i, w in enumerate(whens))


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall seconds, processor seconds of all threads, and the answer."""
    wall, cpu = time.perf_counter(), time.process_time()
    answer = work()
    return time.perf_counter() - wall, time.process_time() - cpu, answer


def count(tagged: Any) -> int:
    """Number of tags, with every column made."""
    rows: int = tagged.aggregate("count(*), count(activity), max(stage), max(confidence), max(evidence)").fetchall()[0][0]
    return rows


def main(jobs: int = 1_000_000, rules: int = 100) -> None:
    connection = duckdb.connect()
    make_jobs(connection, jobs)
    work = connection.table("work")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rules.toml"
        file.write_text(rules_of_every_kind(rules))
        rule = Rule(path=Location(file))
        runs: dict[str, Callable[[], Any]] = {
            f"{rules} rules, first match wins": lambda: count(rule.tag(work)),
            "starter rules": lambda: count(Rule().tag(work)),
            "labels in comments": lambda: count(Label().tag(work)),
            f"rules check, {rules} rules": lambda: rule.check(work)[-1].won,
        }
        for what, run in runs.items():
            wall, cpu, answer = timed(run)
            print(f"{what:28} {jobs:>9,} jobs {wall:7.2f} s, processor {cpu:7.2f} s, answer {answer:,}")


if __name__ == "__main__":
    main(*(int(argument.replace("_", "")) for argument in sys.argv[1:]))
