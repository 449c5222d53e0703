"""The review queue: what it asks, what an answer settles, and what the taggers `review` and `likeness` make of answers."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner, Result
from reviewed import EVAL, HEAD, MANY, file_of, jobs, tagged

from rdspend import conversing, evaluation, kinship, purpose, rehearsal, reviewing, reviews, sets
from rdspend.cli import main
from rdspend.config import load
from rdspend.errors import BadRecord, ConfigError
from rdspend.kinship import MIXED, Answer, Question
from rdspend.lab import Size, write_month
from rdspend.period import parse_period
from rdspend.pipeline import STAGES, Pipeline
from rdspend.reading import Reader
from rdspend.schema import ACTIVITIES, Location
from taggers.review import Review


def test_an_answer_holds_for_all_jobs_of_the_family_and_says_who_gave_it(tmp_path: Path) -> None:
    path = file_of(tmp_path, f"{EVAL},,evaluation,evaluation,ann,2026-11-22T18:00:00Z,,")
    found = tagged(Review(path))
    assert set(found) == {"eval-mmlu-step100", "eval-mmlu-step200"}
    answer = found["eval-mmlu-step200"]
    assert (answer["activity"], answer["stage"], answer["confidence"]) == ("evaluation", "evaluation", 1.0)
    assert answer["evidence"] == f"family '{EVAL}' is evaluation (evaluation), says ann on 2026-11-22"


def test_a_word_about_one_person_s_jobs_comes_before_that_about_everybody_s(tmp_path: Path) -> None:
    path = file_of(
        tmp_path,
        f"{EVAL},,evaluation,,ann,2026-11-22,,",
        f"{EVAL},bob,exploration,,bob,2026-11-21,,",
    )
    found = tagged(Review(path))
    assert {name: each["activity"] for name, each in found.items()} == {
        "eval-mmlu-step100": "evaluation",
        "eval-mmlu-step200": "exploration",
    }


def test_answers_that_contradict_each_other_are_kept_shown_and_none_wins(tmp_path: Path) -> None:
    one = f"{EVAL},,evaluation,,ann,2026-11-20,,"
    path = file_of(tmp_path, one, f"{EVAL},,exploration,,bob,2026-11-22,,")
    assert tagged(Review(path)) == {}
    with duckdb.connect() as connection:
        conflict, every = Review(path).check(jobs(connection, MANY))
    assert conflict.kind == "conflict"
    assert "evaluation by ann on 2026-11-20 (line 2), and exploration by bob on 2026-11-22 (line 3)" in conflict.detail
    assert (every.kind, every.matched, every.won) == ("ok", 1, 0)


def test_what_was_said_of_a_family_that_is_no_more_is_listed(tmp_path: Path) -> None:
    of_eve = f"{EVAL},eve,evaluation,,ann,2026-11-20,,"
    path = file_of(tmp_path, f"{EVAL},,evaluation,,ann,2026-11-20,,", "eval mmlu,,evaluation,,ann,2026-11-20,,", of_eve)
    with duckdb.connect() as connection:
        *lost, every = Review(path).check(jobs(connection, MANY))
    assert [(each.kind, each.detail) for each in lost] == [
        ("unmatched", "family 'eval mmlu' (line 3): no job is of it"),
        ("unmatched", f"family '{EVAL}' of eve (line 4): no job is of it"),
    ]
    assert every.kind == "ok"


def test_what_was_said_most_counts_not_what_was_said_last(tmp_path: Path) -> None:
    path = file_of(
        tmp_path,
        f"{EVAL},,evaluation,,ann,2026-11-20,,",
        f"{EVAL},,evaluation,,eve,2026-11-21,,",
        f"{EVAL},,exploration,,bob,2026-11-22,,",
    )
    answer = tagged(Review(path))["eval-mmlu-step100"]
    assert answer["activity"] == "evaluation"
    assert answer["evidence"].endswith("says ann on 2026-11-20, and 1 more; bob said exploration")


def test_mixed_answers_nothing(tmp_path: Path) -> None:
    assert tagged(Review(file_of(tmp_path, f"{EVAL},,mixed,,ann,2026-11-22,,"))) == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x,,evaluating,,ann,2026-11-22,,", "activity: unknown word 'evaluating'; did you mean 'evaluation'?"),
        ("x,,evaluation,evals,ann,2026-11-22,,", "stage: unknown word 'evals'"),
        ("x,,,,ann,2026-11-22,,", "says nothing"),
        ("x,,evaluation,,,2026-11-22,,", "who is empty"),
        ("x,,evaluation,,ann,yesterday,,", "when: found 'yesterday'"),
        ("x,,evaluation,,ann,2026-11-22T10:00:00,,", "without a zone"),
        ("x,ann,mixed,,ann,2026-11-22,,", "one person's jobs"),
        ("x,,evaluation", "found 3 cells, expected 8"),
        ('x,,"evaluation', "not CSV"),
    ],
)
def test_a_line_that_is_no_answer_is_refused_by_file_and_line(line: str, said: str, tmp_path: Path) -> None:
    path = file_of(tmp_path, f"{EVAL},,evaluation,,ann,2026-11-22,,", line)
    with pytest.raises(BadRecord) as raised:
        reviews.read(path)
    assert said in str(raised.value)
    assert str(raised.value).startswith(f"{path}:3")


def test_a_file_that_is_not_there_is_not_no_answers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file; `rdspend review` writes it"):
        tagged(Review(Location(str(tmp_path / "reviews.csv"))))


def test_an_unknown_column_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text("family,acitvity,who,when\n")
    with pytest.raises(BadRecord, match="did you mean 'activity'"):
        reviews.read(path)


def test_an_answer_is_appended_and_taken_back_byte_for_byte(tmp_path: Path) -> None:
    path = Path(file_of(tmp_path, f'{EVAL},,evaluation,,ann,2026-11-22,,"two\nlines"'))
    before = path.read_bytes()
    given = reviews.Review("a, b", "bob", "exploration", "", "bob", "2026-11-22T10:00:00Z", 'saw "it"', "")
    written = reviews.append(path, given)
    assert reviews.read(path)[-1] == written == replace(given, line=4)
    assert path.read_bytes().startswith(before)
    reviews.take_back(path, written)
    assert path.read_bytes() == before
    with pytest.raises(ConfigError, match="not its last line any more"):
        reviews.take_back(path, written)


@pytest.mark.parametrize(
    "before",
    [
        f'{HEAD}{EVAL},,evaluation,,ann,2026-11-22,,"one\rtwo"\n',
        "\ufeff" + f"{HEAD}{EVAL},,evaluation,,ann,2026-11-22,,\n".replace("\n", "\r\n"),
        f"\n\n{HEAD}",
    ],
    ids=["a lone carriage return", "a byte order mark", "blank lines"],
)
def test_an_answer_is_taken_back_whatever_ends_the_lines_before_it(before: str, tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_bytes(before.encode())
    reviews.take_back(path, reviews.append(path, reviews.Review("x", "", "exploration", "", "bob", "2026-11-22")))
    assert path.read_bytes() == before.encode()


def test_two_reviewers_at_once_lose_no_answer_and_each_gets_the_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"

    def answer(who: str) -> int:
        kept = 0
        for number in range(40):
            written = reviews.append(path, reviews.Review(f"f{number}", "", "exploration", "", who, "2026-11-22"))
            assert (written.who, written.family) == (who, f"f{number}")
            try:
                if number % 3 == 0:
                    reviews.take_back(path, written)
                    continue
            except ConfigError:
                pass
            kept += 1
        return kept

    with ThreadPoolExecutor(2) as both:
        kept = sum(both.map(answer, ("ann", "bob")))
    assert len(reviews.read(path)) == kept


def test_an_answer_that_the_file_could_not_be_read_with_is_not_written(tmp_path: Path) -> None:
    path = Path(file_of(tmp_path))
    with pytest.raises(ValueError, match="NUL"):
        reviews.append(path, reviews.Review("x", "", "exploration", "", "bob", "2026-11-22", note="a\0b"))
    assert reviews.read(path) == ()


# --- the made-up reviewer ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rhein(tmp_path_factory: pytest.TempPathFactory) -> sets.Labelled:
    with evaluation.organisations(seeds=[7]) as folders:
        (folder,) = [each for each in folders if "rhein" in each.name]
        return sets.read(folder)


def test_ten_answers_set_95_percent_right_and_an_erring_reviewer_does_not_break_it(rhein: sets.Labelled) -> None:
    reviewed = rehearsal.rehearse(rhein, purpose.load())
    assert reviewed is not None
    sure, erring = reviewed
    at = rehearsal.ANSWERS.index
    assert sure.right[at(0)] < 0.75
    assert sure.right[at(10)] >= 0.95
    assert sure.right[at(20)] >= 0.99
    assert sure.right_answered[at(10)] >= 0.99
    assert min(each.right[at(20)] for each in erring) >= 0.95


@cache
def orca(answers: tuple[Answer, ...]) -> tuple[kinship.Units, kinship.Outlook]:
    with duckdb.connect() as connection:
        hours = "gpu_parts * epoch(end_time)"
        known = kinship.units(kinship.gathered(jobs(connection, MANY), hours).fetchall(), purpose.load())
    return known, kinship.outlook(known, answers)


def test_the_largest_open_question_is_asked_first_and_not_again_once_it_is_beyond_doubt() -> None:
    final = Answer(Question("orca big · start"), "final_training")
    known, seen = orca(())
    amounts = known.weights
    assert kinship.queue(known, seen, amounts, frozenset(), 1)[0].question == final.question
    _, seen = orca((final, final, final))
    assert final.question not in [each.question for each in kinship.queue(known, seen, amounts, frozenset(), 9)]


def test_an_answer_that_families_alike_contradict_is_asked_for_again() -> None:
    slip = Answer(Question(EVAL), "inference")
    known, seen = orca((slip,))
    rows = known.members(slip.question)
    assert seen.doubt[rows].min() > 0.05
    assert slip.question in [each.question for each in kinship.queue(known, seen, known.weights, frozenset(), 9)]
    good = Answer(Question(EVAL), "evaluation")
    assert orca((good,))[1].doubt[rows].max() < 0.01
    assert orca((slip, good, good))[1].chances[rows].argmax(axis=1).tolist() == [ACTIVITIES.index("evaluation")] * len(rows)


def test_a_family_said_to_be_mixed_is_asked_about_person_by_person() -> None:
    known, _ = orca(())
    whole = Question(EVAL)
    assert whole in known.questions()
    apart = known.questions(kinship.mixed([Answer(whole, MIXED)]))
    assert whole not in apart
    assert {Question(EVAL, "ann"), Question(EVAL, "bob")} <= set(apart)


@pytest.mark.parametrize("rows", [[], MANY[:1], [("", "", "", 0.0)], [("x", "", "", -1.0)]])
def test_no_job_one_job_and_jobs_without_words_or_time_make_a_queue(rows: list[tuple[str, str, str, float]]) -> None:
    with duckdb.connect() as connection:
        gathered = kinship.gathered(jobs(connection, rows), "gpu_parts * epoch(end_time)").fetchall()
    known = kinship.units(gathered, purpose.load())
    seen = kinship.outlook(known, [])
    assert len(kinship.queue(known, seen, known.weights, frozenset(), 5)) <= len(rows)
    assert np.isfinite(seen.chances).all()


# --- the queue of a ledger --------------------------------------------------------------------------------------------

PERIOD = "2026-10"
CONFIG = """\
ledger = "ledger"
synthetic = true

[collectors.focus]
path = "month/bill.csv"

[collectors.job_log]
cluster = "syn-lab"
path = "month/jobs.csv"
nodes = "month/nodes.csv"

[taggers.label]
path = "labels.csv"

[taggers.rule]
path = "rules.toml"

[taggers.learned]

[exporters.report]
folder = "reports"
"""
RULES = """\
[[rule]]
name = "not so, and more than what follows from answers"
when = "family LIKE 'chat lora%' OR family LIKE 'auswertung%' OR family LIKE 'synthese%'"
activity = "inference"
"""
REVIEWED = """
[taggers.review]
path = "reviews.csv"

[taggers.likeness]
path = "reviews.csv"
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up organisation, tagged and published without any review; its configuration names the reviews."""
    folder = tmp_path_factory.mktemp("lab")
    write_month(folder / "month", Size(month=PERIOD, jobs=1500, nodes=24, seed=7, habits="habits_rhein"))
    config = folder / "rdspend.toml"
    config.write_text(CONFIG)
    (folder / "rules.toml").write_text(RULES)
    with (folder / "month" / "jobs.csv").open(newline="") as file:
        named = [row["job_id"] for row in csv.DictReader(file) if row["name"].startswith("Vortraining")]
    labels = [f"syn-lab,{job},inference,," for job in named]
    (folder / "labels.csv").write_text("\n".join(["cluster,job_id,activity,stage,who", *labels[: len(labels) // 2], ""]))
    Pipeline(load(config)).run(parse_period(PERIOD), STAGES)
    config.write_text(CONFIG + REVIEWED)
    return config


def review(config: Path, *options: str, keys: str = "") -> Result:
    return CliRunner().invoke(
        main, ["--config", str(config), "review", "--period", PERIOD, *options], input=keys, catch_exceptions=False
    )


def opened(config: Path) -> reviewing.Review:
    return reviewing.begin(load(config), parse_period(PERIOD))


@pytest.fixture
def fresh(lab: Path) -> Path:
    (lab.parent / "reviews.csv").unlink(missing_ok=True)
    return lab


def truth_of(config: Path) -> dict[str, str]:
    with (config.parent / "month" / "truth.csv").open(newline="") as file:
        return {row["job_id"]: row["activity"] for row in csv.DictReader(file)}


def answered(queue: reviewing.Review, truth: dict[str, str], most: int) -> list[reviewing.Figures]:
    """The figures before and after each answer of somebody who knows."""
    by = conversing.Told("ann", lambda: datetime(2026, 11, 22, tzinfo=UTC))
    figures = [queue.figures()]
    for _ in range(most):
        items = queue.queue(1)
        if items:
            asked = items[0].question
            hours: dict[str, float] = {}
            for job, family, whose, weighs in queue.engine.rows("SELECT job_key, family, whose, weighs FROM review_job"):
                if family == asked.family and asked.user in ("", whose):
                    activity = truth[job.split("/")[1]]
                    hours[activity] = hours.get(activity, 0.0) + weighs
            queue.answer(by.said(asked, max(hours, key=lambda name: hours[name]), ""))
        figures.append(queue.figures())
    return figures


def test_bounds_before_and_after_5_10_and_20_answers(fresh: Path) -> None:
    with (queue := opened(fresh)).engine:
        figures = answered(queue, truth_of(fresh), 20)
    ends = [figures[number].bounds["final_training"] for number in (0, 5, 10, 20)]
    wide = [each.high - each.low for each in ends]
    likely = [(each.likely_high or 0) - (each.likely_low or 0) for each in ends]
    assert figures[0].shares["final_training"] == 0
    assert wide == sorted(wide, reverse=True)
    assert likely == sorted(likely, reverse=True)
    assert wide[3] < wide[0] / 4
    assert likely[3] < likely[0] / 4


def test_the_figures_after_the_answers_are_those_of_the_ledger_tagged_with_them(fresh: Path, tmp_path: Path) -> None:
    with (queue := opened(fresh)).engine:
        figures = answered(queue, truth_of(fresh), 8)
    config = load(fresh)
    copied = replace(config, ledger=tmp_path / "ledger")
    Pipeline(copied).run(parse_period(PERIOD), STAGES)
    (published,) = Reader(copied).breakdowns(parse_period(PERIOD), None)
    for line in published.lines:
        if line.share is not None:
            assert abs(line.share - figures[-1].shares[line.name]) < 0.002, line.name


def test_answers_that_the_ledger_was_tagged_with_are_gone_when_the_file_is(fresh: Path, tmp_path: Path) -> None:
    with (queue := opened(fresh)).engine:
        figures = answered(queue, truth_of(fresh), 4)
    config = replace(load(fresh), ledger=tmp_path / "ledger")
    Pipeline(config).run(parse_period(PERIOD), STAGES)
    (fresh.parent / "reviews.csv").unlink()
    with (queue := reviewing.begin(config, parse_period(PERIOD))).engine:
        assert queue.figures().shares == figures[0].shares != figures[-1].shares


def test_before_any_answer_the_figures_are_those_of_the_report(fresh: Path) -> None:
    (published,) = Reader(load(fresh)).breakdowns(parse_period(PERIOD), None)
    with (queue := opened(fresh)).engine:
        figures = queue.figures()
    for line in published.lines:
        if line.share is not None:
            ends = figures.bounds[line.name]
            assert abs(line.share - figures.shares[line.name]) < 0.000001
            assert (ends.low, ends.high) == (line.share_low, line.share_high)


def test_a_conversation_by_keys(fresh: Path) -> None:
    done = review(fresh, "--who", "ann", keys="w?st1fu\nvq")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].startswith("now    final training 0.0%, bounds 0.0% to ")
    assert any(line.startswith("expected ") for line in lines)
    assert "skipped" in lines
    assert "stage pretraining; now the activity" in lines
    assert "written: final_training (pretraining)" in lines
    assert any(line.startswith("taken back: ") for line in lines)
    (kept,) = reviews.read(fresh.parent / "reviews.csv")
    assert (kept.activity, kept.stage, kept.who) == ("evaluation", "", "ann")
    assert "GPU-hours: " in kept.saw
    assert lines[-1].startswith("1 answers in ")


def test_a_conversation_ends_with_its_input(fresh: Path) -> None:
    assert review(fresh, "--who", "ann", keys="").exit_code == 0
    assert not (fresh.parent / "reviews.csv").exists()


def test_the_queue_goes_to_a_sheet_and_comes_back_filled(fresh: Path, tmp_path: Path) -> None:
    sheet, filled = tmp_path / "queue.csv", tmp_path / "filled.csv"
    assert review(fresh, "--csv", str(sheet), "--limit", "6").exit_code == 0
    with sheet.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    again = CliRunner().invoke(main, ["--config", str(fresh), "review", "--period", PERIOD, "--csv", str(sheet)])
    assert (again.exit_code, "can't be written: File exists" in again.output) == (2, True)
    for number, row in enumerate(rows):
        row["activity"] = ("exploration", "", "Data-Generation")[number % 3]
    with filled.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    done = review(fresh, "--who", "ann", "--answers", str(filled))
    assert done.exit_code == 0, done.output
    kept = reviews.read(fresh.parent / "reviews.csv")
    assert [(r.family, r.user) for r in kept] == [(r["family"], r["user"]) for r in rows if r["activity"]]
    assert {r.activity for r in kept} == {"exploration", "data_generation"}


@pytest.mark.parametrize(
    ("activity", "family", "said"),
    [("evalution", None, "did you mean 'evaluation'"), ("evaluation", "gone", "no jobs of it in this period")],
)
def test_of_a_sheet_with_one_wrong_line_nothing_is_written_and_the_line_is_named(
    activity: str, family: str | None, said: str, fresh: Path, tmp_path: Path
) -> None:
    sheet = tmp_path / "queue.csv"
    assert review(fresh, "--csv", str(sheet), "--limit", "3").exit_code == 0
    with sheet.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows[0]["activity"], rows[2]["activity"], rows[2]["family"] = "exploration", activity, family or rows[2]["family"]
    with sheet.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    done = CliRunner().invoke(main, ["--config", str(fresh), "review", "--period", PERIOD, "--answers", str(sheet)])
    assert done.exit_code == 2
    assert f"{sheet}:4: " in done.output
    assert said in done.output
    assert not (fresh.parent / "reviews.csv").exists()


def test_a_sheet_that_is_not_csv_is_refused_by_file_and_line(tmp_path: Path) -> None:
    (sheet := tmp_path / "queue.csv").write_text('family,activity\nx,exploration\n"y,evaluation\n')
    with pytest.raises(BadRecord, match=r"queue\.csv:3: not CSV"):
        conversing.read_filled(sheet)


def test_one_person_s_family_is_not_mixed_person_by_person(fresh: Path) -> None:
    with (queue := opened(fresh)).engine:
        (alone, *_) = [each for each, rows in queue.known.rows.items() if len(rows) == 1]
        said = conversing.Told("ann", lambda: datetime(2026, 11, 22, tzinfo=UTC)).said(Question(alone), MIXED, "")
        with pytest.raises(ConfigError, match="of one person"):
            queue.answer(said)
    assert not (fresh.parent / "reviews.csv").exists()


def test_json_gives_the_queue_and_takes_answers(fresh: Path) -> None:
    told = json.loads(review(fresh, "--format", "json", "--limit", "3").stdout)
    first = told["queue"][0]
    assert {"family", "jobs", "gpu_hours", "now", "settles", "names"} <= set(first)
    answer = json.dumps({"family": first["family"], "user": first["user"], "activity": "exploration"})
    after = json.loads(review(fresh, "--who", "ann", "--answer", answer, "--format", "json").stdout)
    assert after["answers"] == 1
    assert first["family"] not in [each["family"] for each in after["queue"]] or after["queue"][0]["said"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"family": "no such", "activity": "evaluation"}', "no jobs of it in this period"),
        ('{"family": "los", "activity": "evals"}', "unknown word 'evals'"),
        ('{"familiy": "los", "activity": "evaluation"}', "expected texts: family and activity"),
        ("{", "not JSON"),
    ],
)
def test_an_answer_that_is_none_is_refused_and_not_written(answer: str, said: str, fresh: Path) -> None:
    done = CliRunner().invoke(main, ["--config", str(fresh), "review", "--period", PERIOD, "--who", "ann", "--answer", answer])
    assert done.exit_code == 2
    assert said in done.output
    assert not (fresh.parent / "reviews.csv").exists()


def test_without_a_reviews_file_in_the_configuration_the_command_says_what_to_add(fresh: Path, tmp_path: Path) -> None:
    bare = tmp_path / "rdspend.toml"
    bare.write_text(CONFIG.replace('"ledger"', f'"{fresh.parent / "ledger"}"'))
    done = CliRunner().invoke(main, ["--config", str(bare), "review", "--period", PERIOD])
    assert done.exit_code == 2
    assert "add [taggers.review]" in done.output


def test_names_from_elsewhere_can_t_command_the_terminal() -> None:
    item = reviewing.Item(
        *(1, Question("evil"), 1, 1, 1, 0.1, 0.1, 1),  # type: ignore[arg-type]
        *(("\x1b[2Jboo",), ("=cmd()",), (), ("eve",), (), {}),
    )
    said: list[str] = []

    class Queue:
        currency = "USD"

        def figures(self) -> reviewing.Figures:
            return reviewing.Figures({}, {}, 0, "USD", "")  # type: ignore[arg-type]

        def queue(self, most: int) -> list[reviewing.Item]:
            return [item]

    conversing.converse(Queue(), conversing.Told("ann", lambda: datetime.now(UTC)), lambda: "q", said.append, 1)  # type: ignore[arg-type]
    assert not any("\x1b" in line for line in said)
    assert any("\\x1b[2Jboo" in line for line in said)
    assert "'=cmd()" in conversing.as_csv([item])
