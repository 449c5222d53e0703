"""Time of a dry run of rules on a million jobs of a ledger, of `rules check`, and of proposing rules from their labels.

python tests/benchmarks/bench_rules.py [jobs] [rules]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench_tag import WORDS, make_jobs, rules_of_every_kind

from rdspend.config import load
from rdspend.engine import Engine
from rdspend.ledger import Ledger
from rdspend.reading import Reader
from rdspend.schema import TABLES, Location
from rdspend.suggestion import suggest
from rdspend.trial import dry_run
from taggers.rule import Rule

MONTH = "2026-10"


def write_ledger(folder: Path, jobs: int, rules: Path) -> None:
    """A month of jobs with money and GPU time, tagged by the rules, and one in a hundred labelled."""
    ledger = Ledger(folder / "ledger")
    with ledger.writer() as writer, Engine() as engine:
        make_jobs(engine.connection, jobs)
        work = engine.connection.table("work")
        seconds = "CAST(epoch(end_time) - epoch(start_time) AS BIGINT)"
        parts = {
            "jobs": (work.project("* EXCLUDE (cluster, end_day)"), {"cluster": "c1", "end_day": f"{MONTH}-01"}),
            "attributions": (
                work.project(
                    "'USD' AS billing_currency, 'billed' AS basis, strftime(end_time, '%Y-%m-%d') AS day, 'node' AS route, "
                    f"cluster, job_key, gpu_parts * {seconds} AS effective_cost_nanos, gpu_parts AS billed_cost_nanos"
                ),
                {"source": "aws", "billing_period": MONTH},
            ),
            "occupancy": (
                work.project(f"strftime(end_time, '%Y-%m-%d') AS day, job_key, gpu_parts * {seconds} AS gpu_part_seconds"),
                {"cluster": "c1", "month": MONTH},
            ),
        }
        for name, (rows, scope) in parts.items():
            writer.replace(TABLES[name], rows, scope)
        truth = f"CASE WHEN regexp_matches(name, '^({'|'.join(WORDS[:6])})') THEN 'exploration' ELSE 'evaluation' END"
        said = work.filter("hash(job_key) % 100 = 0").project(
            f"job_key, {truth} AS activity, 1.0 AS confidence, 'e' AS evidence, 'v' AS version"
        )
        writer.replace(TABLES["tags"], said, {"tagger": "label", "end_month": MONTH})
        tagged = Rule(path=Location(rules)).tag(work)
        writer.replace(TABLES["tags"], tagged, {"tagger": "rule", "end_month": MONTH})
        writer.finish(
            engine,
            stages=("collect", "tag", "attribute"),
            period=MONTH,
            started_at=0.0,
            ended_at=1.0,
            outcome="ok",
            config_digest="",
            code_version="",
        )


def main(jobs: int = 1_000_000, rules: int = 50) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rules.toml").write_text(rules_of_every_kind(rules))
        (folder / "new.toml").write_text(rules_of_every_kind(rules + 3).replace("'r0'", "'other'"))
        family = "\n[[rule]]\nname = 'family'\nwhen = \"family LIKE 'train llama%'\"\nactivity = 'evaluation'\n"
        (folder / "family.toml").write_text(rules_of_every_kind(rules) + family)
        (folder / "rdspend.toml").write_text('ledger = "ledger"\n[taggers.rule]\npath = "rules.toml"\n')
        write_ledger(folder, jobs, folder / "rules.toml")
        config = load(folder / "rdspend.toml")
        works: dict[str, Callable[[], object]] = {
            f"rules test, {rules + 3} rules": lambda: dry_run(config, folder / "new.toml", None, None, None).moved.jobs,
            f"rules test, {rules} and one of a family": lambda: (
                dry_run(config, folder / "family.toml", None, None, None).moved.jobs
            ),
            f"rules check, {rules} rules": lambda: Reader(config).check_rules()[1],
            f"rules suggest, {jobs // 100} labels": lambda: len(suggest(config, None, None, 0.95).proposals),
        }
        for what, work in works.items():
            wall, cpu = time.perf_counter(), time.process_time()
            answer = work()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            print(f"{what:36} {jobs:>9,} jobs {wall:7.2f} s, processor {cpu:7.2f} s, answer {answer}", flush=True)


if __name__ == "__main__":
    main(*(int(argument.replace("_", "")) for argument in sys.argv[1:]))
