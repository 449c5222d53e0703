"""Families: what folds away, what stays, and that a family is of one purpose."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from rdspend.families import FAMILY
from rdspend.lab import Size, write_month
from rdspend.predicate import check, projection


def family(name: str | None, command: str | None = None, work_dir: str | None = None, user: str | None = "u7") -> str | None:
    row = "SELECT ? AS name, ? AS command, ? AS work_dir, CAST(NULL AS VARCHAR) AS image, ? AS user"
    found: str | None = duckdb.execute(f"SELECT {FAMILY} FROM ({row})", [name, command, work_dir, user]).fetchall()[0][0]
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("abl-7b-code-lr3e-4", "abl-13b-code-lr1e-5"),
        ("eval_step2000", "eval_step120000"),
        ("run-2026-10-03_12:45", "run-2026-11-30_01:00"),
        ("train-3f9a1b2c", "train-00e1d2ab"),
        ("sweep-x7f9q", "sweep-p2m4k"),
        ("EvalMMLU", "eval-mmlu"),
        ("job.0.5.dropout", "job.0.1.dropout"),
        ("評測_第3回", "評測_第12回"),
        ("обучение-7", "Обучение-8"),
    ],
)
def test_numbers_dates_hashes_and_spelling_fold_away(one: str, other: str) -> None:
    assert family(one) == family(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("abl-7b-code", "abl-7b-math"),
        ("train-main", "train-ablation"),
        ("预训练_7b", "微调_7b"),
        ("eval-gsm8k", "eval-mbpp"),
    ],
)
def test_words_stay(one: str, other: str) -> None:
    assert family(one) != family(other)


def test_what_runs_tells_jobs_of_one_name_apart() -> None:
    assert family("olive", "python eval.py --tasks mmlu") != family("olive", "torchrun train.py")
    assert family("olive", "python -m olive.eval") != family("olive", "python -m olive.train")


def test_the_users_own_name_is_no_part_of_the_name() -> None:
    assert family("ann.mix_code", user="ann") == family("bob.mix_code", user="bob")


def test_a_name_that_says_nothing_falls_back_to_the_folder_and_the_person() -> None:
    one, other = family(None, "bash run.sh", "/home/ann/w"), family("wrap", "bash run.sh", "/home/bob/w", user="bob")
    assert one == "run · home ann w · by u7"
    assert other is not None and other != one


def test_a_job_of_which_nothing_is_known_has_no_family() -> None:
    assert family(None, None, None) is None
    assert family("---", None, None, None) is None


def test_predicates_read_the_family() -> None:
    predicate = check("family LIKE 'abl#b%' OR family = 'x'", "rules.toml")
    jobs = (
        "SELECT 'abl-7b-code' AS name, CAST(NULL AS VARCHAR) AS command, CAST(NULL AS VARCHAR) AS work_dir,"
        " CAST(NULL AS VARCHAR) AS image, 'ann' AS user"
    )
    query = f"SELECT {predicate.sql} FROM (SELECT {projection(predicate.reads)} FROM ({jobs}))"
    assert duckdb.execute(query).fetchall() == [(True,)]


@pytest.mark.parametrize("habits", ["habits", "habits_rhein", "habits_east"])
def test_families_of_an_organisation_are_few_and_of_one_purpose(habits: str, tmp_path: Path) -> None:
    write_month(tmp_path, Size(jobs=1500, nodes=24, seed=5, habits=habits))
    of = f"read_csv('{tmp_path}/jobs.csv', all_varchar = true, header = true)"
    few, purity = duckdb.execute(f"""
        WITH job AS (
            SELECT {FAMILY} AS family, activity,
                epoch(CAST(end_time AS TIMESTAMP) - CAST(start_time AS TIMESTAMP)) * CAST(gpus AS INT) AS t
            FROM (SELECT *, CAST(NULL AS VARCHAR) AS image FROM {of})
            JOIN read_csv('{tmp_path}/truth.csv', all_varchar = true, header = true) USING (job_id)
            WHERE end_time IS NOT NULL AND start_time IS NOT NULL
        ), cell AS (SELECT family, activity, sum(t) AS t FROM job GROUP BY family, activity)
        SELECT count(DISTINCT family), sum(most) / sum(whole)
        FROM (SELECT family, max(t) AS most, sum(t) AS whole FROM cell GROUP BY family)
    """).fetchall()[0]
    assert few < 250
    assert purity > 0.97
