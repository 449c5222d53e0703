"""What follows from answers about families for families that are like them."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from reviewed import EVAL, MANY, file_of, jobs, tagged

from rdspend import kinship, purpose, reviews
from rdspend.config import authority
from taggers.likeness import Likeness


def test_an_answer_reaches_families_that_are_alike_and_names_the_one_it_came_from(tmp_path: Path) -> None:
    lines = [f"{EVAL},,evaluation,,ann,2026-11-22,,", "orca big · start,,final_training,,eve,2026-11-22,,"]
    found = tagged(Likeness(file_of(tmp_path, *lines), precision=0.6))
    assert "eval-mmlu-step100" not in found, "a family that was reviewed itself is left to `review`"
    assert found["eval-gsm8k-step100"]["activity"] == "evaluation"
    assert found["eval-gsm8k-step100"]["evidence"].startswith(f"like family '{EVAL}', 0.")
    assert "evaluation 0." in found["eval-gsm8k-step100"]["chances"]
    assert "gen-web-1" not in found, "nothing reviewed is like it"


def test_a_person_s_word_about_a_family_beats_rules_and_what_follows_from_it_does_not() -> None:
    assert authority("label") < authority("lineage") < authority("review") < authority("rule")
    assert authority("rule") < authority("likeness") < authority("learned") < authority("external")


def test_without_an_answer_nothing_follows(tmp_path: Path) -> None:
    assert tagged(Likeness(file_of(tmp_path))) == {}


def test_a_person_s_nameless_jobs_are_alike(tmp_path: Path) -> None:
    rows = [
        ("run", "./run.sh", "eve", 50.0),
        ("job", "bash go.sh", "eve", 40.0),
        ("job", "bash go.sh", "dan", 40.0),
        *MANY,
    ]
    with duckdb.connect() as connection:
        jobs(connection, rows)
        families = dict(connection.execute("SELECT job_key, family FROM job_family").fetchall())
    assert families["c/0/0"].endswith("by eve")
    path = file_of(tmp_path, f'"{families["c/0/0"]}",,data_generation,,eve,2026-11-22,,')
    with duckdb.connect() as connection:
        known = kinship.units(kinship.gathered(jobs(connection, rows), "1.0").fetchall(), purpose.load())
    seen = kinship.outlook(known, reviews.answers(reviews.read(path)))
    cover = dict(zip(zip(known.families, known.users, strict=True), seen.cover, strict=True))
    assert cover[families["c/1/0"], "eve"] > 0.4 > 0.3 > cover[families["c/2/0"], "dan"]


def test_the_taggers_answer_the_same_twice(tmp_path: Path) -> None:
    path = file_of(tmp_path, f"{EVAL},,evaluation,,ann,2026-11-22,,")
    assert tagged(Likeness(path, precision=0.6)) == tagged(Likeness(path, precision=0.6), MANY)


@pytest.mark.parametrize("precision", [0.0, 0.49, 1.0])
def test_a_precision_that_is_none_is_refused(precision: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected 0\.5 or more"):
        Likeness(file_of(tmp_path), precision=precision)


def test_a_higher_precision_answers_less(tmp_path: Path) -> None:
    path = file_of(tmp_path, f"{EVAL},,evaluation,,ann,2026-11-22,,")
    assert set(tagged(Likeness(path, precision=0.99))) < set(tagged(Likeness(path, precision=0.6)))


def test_one_wrong_answer_among_several_is_outvoted_by_those_like_it(tmp_path: Path) -> None:
    tasks = ("mmlu", "gsm", "arc", "bbh", "hella", "wino")
    rows = [(f"eval-{task}-step{n}", f"python -m harness --task {task}", "ann", 5.0) for task in tasks for n in (1, 2)]
    said = [f"eval {task} step#· harness,,evaluation,,ann,2026-11-22,," for task in tasks[:4]]
    slip = "eval hella step#· harness,,inference,,ann,2026-11-22,,"
    found = tagged(Likeness(file_of(tmp_path, *said, slip), precision=0.6), rows)
    assert found["eval-wino-step1"]["activity"] == "evaluation"
