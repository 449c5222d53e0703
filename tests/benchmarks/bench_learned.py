"""Time of families, of the learned tagger and of all taggers on a million jobs, and of learning from ten thousand labels.

python tests/benchmarks/bench_learned.py [jobs] [labels]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
from bench_tag import count, make_jobs, rules_of_every_kind, timed

from rdspend.families import FAMILY
from rdspend.learning import learn
from rdspend.schema import Location
from taggers.label import Label
from taggers.learned import Learned
from taggers.rule import Rule

WORD = "regexp_extract(name, '^[a-z]+')"
ACTIVITY = f"CASE WHEN {WORD} IN ('eval', 'mmlu') THEN 'evaluation' WHEN {WORD} IN ('tokenise', 'crawl') THEN 'data_generation'"
ACTIVITY += f" WHEN {WORD} = 'serve' THEN 'inference' WHEN {WORD} = 'train' THEN 'final_training' ELSE 'exploration' END"


def main(jobs: int = 1_000_000, labels: int = 10_000) -> None:
    connection = duckdb.connect()
    make_jobs(connection, jobs)
    work = connection.table("work")
    labelled = work.limit(labels).project(f"*, {ACTIVITY} AS activity, CAST(NULL AS VARCHAR) AS stage")
    with tempfile.TemporaryDirectory() as folder:
        rules, own = Path(folder) / "rules.toml", Path(folder) / "own"
        rules.write_text(rules_of_every_kind(100))
        taggers: tuple[Any, ...] = (Label(), Rule(path=Location(str(rules)), starter=True), Learned())
        runs: dict[str, Callable[[], Any]] = {
            "families": lambda: work.aggregate(f"count(DISTINCT {FAMILY})").fetchall()[0][0],
            "learned": lambda: count(Learned().tag(work)),
            "label, rule and learned": lambda: sum(count(tagger.tag(work)) for tagger in taggers),
            f"learn from {labels:,} labels": lambda: learn(labelled, own).name,
            "learned, own model": lambda: count(Learned(model=Location(str(own))).tag(work)),
        }
        for what, run in runs.items():
            wall, cpu, answer = timed(run)
            print(f"{what:28} {jobs:>9,} jobs {wall:7.2f} s, processor {cpu:7.2f} s, answer {answer}")


if __name__ == "__main__":
    main(*(int(argument.replace("_", "")) for argument in sys.argv[1:]))
