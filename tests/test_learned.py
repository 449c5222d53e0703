"""The learned tagger: what it may say, when it keeps silent, why, and that its file is what it was."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner
from reviewed import MANY
from reviewed import jobs as named

from rdspend import learning, purpose
from rdspend.cli import main
from rdspend.engine import Engine, empty_select
from rdspend.errors import ConfigError
from rdspend.lab import Size, write_month
from rdspend.ledger import Ledger
from rdspend.schema import ACTIVITIES, GPU_PARTS, JOBS, STAGES, Location
from taggers.learned import Learned


def jobs(*rows: dict[str, Any]) -> Any:
    """Relation with the columns of JOBS, on a connection of its own."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"CREATE TABLE jobs AS {empty_select(JOBS)}")
    for number, row in enumerate(rows, start=1):
        whole = {"job_key": f"c/{number}/0", "gpu_parts": 8 * GPU_PARTS, "node_count": 1, "outcome": "running"} | row
        names = ", ".join(f'"{name}"' for name in whole)
        connection.execute(f"INSERT INTO jobs ({names}) VALUES ({', '.join('?' * len(whole))})", list(whole.values()))
    return connection.table("jobs")


def answers(*rows: dict[str, Any], tagger: Learned | None = None) -> dict[str, tuple[Any, ...]]:
    said = (tagger or Learned()).tag(jobs(*rows)).project("job_key, activity, stage, confidence, evidence, version").fetchall()
    return {row[0]: row[1:] for row in said}


CLEAR = (
    ({"name": "lm-eval-mmlu", "command": "python -m lm_eval --tasks mmlu"}, "evaluation", "evaluation"),
    ({"name": "tokenize_web", "command": "python tokenize_corpus.py --corpus web"}, "data_generation", "data"),
    ({"name": "pretrain-7b", "command": "sbatch scripts/pretrain_7b.sbatch"}, "exploration", "pretraining"),
    ({"name": "chat-endpoint", "command": "vllm serve model --port 8000"}, "inference", "serving"),
    ({"name": "评测_mmlu", "command": "python 评测.py"}, "evaluation", "evaluation"),
)


@pytest.mark.parametrize(("row", "activity", "stage"), CLEAR)
def test_work_that_says_what_it_is_gets_its_kind_and_stage(row: dict[str, Any], activity: str, stage: str) -> None:
    (said,) = answers(row, tagger=Learned(precision=0.9)).values()
    assert said[0] == activity
    assert said[1] in (stage, None)


@pytest.mark.parametrize("name", ["final-run", "main-release-70b", "quartz-70b-main-final_training", "release train v1"])
def test_the_model_that_ships_never_says_final_training(name: str) -> None:
    assert "final_training" not in {*purpose.load().activities, *purpose.WORK.values()}
    for said in answers({"name": name, "command": "sbatch pretrain_final.sbatch", "gpu_parts": 4096 * GPU_PARTS}).values():
        assert said[0] != "final_training"


@pytest.mark.parametrize("row", [{}, {"name": "qzxv"}, {"name": "x", "command": "./a"}, {"name": "1234"}, {"name": "ζ"}])
def test_it_keeps_silent_where_it_is_lost(row: dict[str, Any]) -> None:
    assert all(said[0] is None for said in answers(row, tagger=Learned(precision=0.97)).values())


def test_what_an_earlier_tagger_left_on_the_connection_does_not_stand_in_for_the_model() -> None:
    """DuckDB 1.5 keeps the view `answers` that the pipeline makes of each tagger's."""
    with duckdb.connect() as connection:
        seen = named(connection, MANY)
        connection.execute("CREATE TEMP VIEW answers AS SELECT 1 AS x")
        assert len(Learned().tag(seen).fetchall()) == len(MANY)


def test_many_gpus_alone_are_not_called_training() -> None:
    assert answers({"gpu_parts": 1024 * GPU_PARTS, "node_count": 128}) == {}


def test_where_it_abstains_it_tells_chances_and_no_answer() -> None:
    def said(row: dict[str, Any], precision: float) -> tuple[Any, ...]:
        columns = "activity, stage, chances, confidence"
        (found,) = Learned(precision=precision).tag(jobs(row)).project(columns).fetchall()
        return tuple(found)

    row = {"name": "foo-web", "command": "./go"}
    activity, stage, chances, _ = said(row, 0.99)
    assert (activity, stage) == (None, None)
    words = chances.split()
    values = [float(value) for value in words[1::2]]
    assert set(words[::2]) <= set(ACTIVITIES) - {"final_training"}
    assert values == sorted(values, reverse=True)
    assert 0.5 < sum(values) <= 1.02
    clear = said({"name": "lm-eval-mmlu", "command": "python -m lm_eval --tasks mmlu"}, 0.9)
    assert clear[2].startswith(f"evaluation {clear[3]:.2f}")


def test_an_answer_names_the_words_and_the_model_that_made_it() -> None:
    (said,) = answers({"name": "lm-eval-mmlu", "command": "python -m lm_eval --tasks mmlu"}).values()
    assert "evaluation, by 'eval'" in said[3] or "'eval'" in said[3]
    assert said[4] == purpose.load().version
    assert said[4] in said[3]


def test_no_answer_is_certain_and_confidence_follows_precision() -> None:
    row = {"name": "lm-eval-mmlu", "command": "python -m lm_eval --tasks mmlu"}
    for said in answers(row).values():
        assert 0.5 < said[2] < 1
    many = [{"name": f"{a}-{b}"} for a in ("eval", "run", "data", "train", "foo") for b in ("x", "web", "sft", "serve")]
    told = [answers(*many, tagger=Learned(precision=p)).values() for p in (0.8, 0.95, 0.99)]
    counts = [sum(said[0] is not None or said[1] is not None for said in each) for each in told]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_an_answer_is_the_same_while_the_job_runs_and_when_it_failed() -> None:
    row = {"name": "pretrain-7b", "command": "sbatch scripts/pretrain_7b.sbatch"}
    ended = row | {
        "outcome": "failed",
        "start_time": "2026-10-01T00:00:00Z",
        "end_time": "2026-10-09T00:00:00Z",
        "exit_code": 1,
    }
    running, failed = answers(row), answers(ended)
    assert running == failed


def test_labels_in_a_jobs_own_text_are_not_read() -> None:
    row = {"name": "pretrain-7b", "command": "sbatch scripts/pretrain_7b.sbatch"}
    assert answers(row) == answers(row | {"labels": {"comment": "purpose=evaluation", "activity": "evaluation"}})


def test_every_job_has_a_family_and_chances_that_sum_to_one() -> None:
    model = purpose.load()
    rows = purpose.judged(jobs({"name": "a"}, {"name": "eval-7b"}, {}), model).project("job_key, family, chances").fetchall()
    assert [row[1] for row in rows if row[0] != "c/3/0"] == ["a", "eval#b"] or len(rows) == 3
    for _, _, chances in rows:
        assert len(chances) == len(model.work.labels)
        assert sum(chances) == pytest.approx(1)


# --- the file ---------------------------------------------------------------------------------------------------------


def copied(to: Path) -> Path:
    for suffix in (".npz", ".json"):
        shutil.copy(purpose.SHIPPED.with_suffix(suffix), to / f"model{suffix}")
    return to / "model"


def test_a_model_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    file = copied(tmp_path)
    purpose.load(file)
    packed = bytearray(file.with_suffix(".npz").read_bytes())
    packed[len(packed) // 2] ^= 1
    file.with_suffix(".npz").write_bytes(packed)
    with pytest.raises(ConfigError, match=r"model\.npz: changed since it was written"):
        Learned(model=Location(str(file))).tag(jobs({}))


def test_a_card_that_was_edited_is_refused(tmp_path: Path) -> None:
    file = copied(tmp_path)
    card = json.loads(file.with_suffix(".json").read_text())
    card["thresholds"]["0.95"] = 0.1
    file.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(ConfigError, match=r"model\.json: changed since it was written"):
        purpose.load(file)


def test_a_model_of_another_version_is_refused(tmp_path: Path) -> None:
    file = copied(tmp_path)
    card = json.loads(file.with_suffix(".json").read_text())
    file.with_suffix(".json").write_text(json.dumps(card | {"format": 0}))
    with pytest.raises(ConfigError, match="found format 0, expected 1"):
        purpose.load(file)


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_a_file_that_is_no_model_is_refused(text: str, tmp_path: Path) -> None:
    file = copied(tmp_path)
    file.with_suffix(".json").write_text(text)
    with pytest.raises(ConfigError):
        purpose.load(file)


def test_a_model_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rdspend learn"):
        Learned(model=Location(str(tmp_path / "none"))).tag(jobs({}))


def test_the_shipped_model_is_what_its_script_makes(tmp_path: Path) -> None:
    made = learning.make_public(tmp_path / "again")
    again, shipped = (purpose.load(file.with_suffix("")) for file in (made, purpose.SHIPPED))
    texts = [(learning.TEXT_OF_SEED.format(word), "g3 n0") for _, word in learning.seeds()[::7]]
    one, other = purpose.judge(texts, again), purpose.judge(texts, shipped)
    assert (one.activity.fillna("") == other.activity.fillna("")).all()
    # Linear algebra differs in the last digits from machine to machine; the answers may not.
    assert (one.confidence - other.confidence).abs().max() < 0.02
    assert again.thresholds.keys() == shipped.thresholds.keys()


def test_a_model_is_made_the_same_twice(tmp_path: Path) -> None:
    one, other = learning.make_public(tmp_path / "a"), learning.make_public(tmp_path / "b")
    assert one.read_bytes() == other.read_bytes()
    assert one.with_suffix(".npz").read_bytes() == other.with_suffix(".npz").read_bytes()


def test_tagging_works_without_scikit_learn_and_learning_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['sklearn'] = None; sys.modules['sklearn.linear_model'] = None; sys.modules['scipy'] = None\n"
        "from rdspend import learning, purpose\n"
        "print(len(purpose.judge([(learning.TEXT_OF_SEED.format('mmlu eval'), 'g3 n0')], purpose.load())))\n"
        "learning.needed()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "1\n"
    assert "pip install 'rdspend[learned]'" in done.stderr


# --- one's own --------------------------------------------------------------------------------------------------------


def labelled(count: int, seed: int = 1) -> Any:
    """Jobs of an organisation with words of its own: `kiln` is final training, `sieve` is data, `gauge` evaluation."""
    drawn = random.Random(seed)
    kinds = (
        ("kiln", "final_training", "pretraining"),
        ("kindling", "exploration", "pretraining"),
        ("sieve", "data_generation", "data"),
        ("gauge", "evaluation", "evaluation"),
    )
    relation = jobs(
        *(
            {
                "name": f"{kind[0]}-{drawn.choice('abcdefgh')}{drawn.choice('xyzw')}-{number}",
                "labels": {"activity": kind[1], "stage": kind[2]},
                "start_time": "2026-10-01T00:00:00Z",
                "end_time": "2026-10-01T04:00:00Z",
            }
            for number in range(count)
            for kind in [drawn.choice(kinds)]
        )
    )
    return relation.project("*, map_extract_value(labels, 'activity') AS activity, map_extract_value(labels, 'stage') AS stage")


def test_a_model_of_ones_own_says_what_its_labels_taught_and_only_then_final_training(tmp_path: Path) -> None:
    learning.learn(labelled(400), tmp_path / "own")
    own = Learned(model=Location(str(tmp_path / "own")), precision=0.9)
    rows = [{"name": name} for name in ("kiln-new-900", "kindling-new-901", "sieve-new-902", "gauge-new-903")]
    said = answers(*rows, tagger=own)
    assert [said[f"c/{n}/0"][0] for n in (1, 2, 3, 4)] == ["final_training", "exploration", "data_generation", "evaluation"]
    assert all(answer[3].startswith("own model") for answer in said.values())
    assert all(answer[0] != "final_training" for answer in answers(*rows).values())


def test_labels_without_a_stage_keep_the_stages_of_the_model_that_ships(tmp_path: Path) -> None:
    learning.learn(labelled(200).project("* EXCLUDE (stage), CAST(NULL AS VARCHAR) AS stage"), tmp_path / "own")
    assert purpose.load(tmp_path / "own").stage.labels == STAGES


def test_held_out_scores_do_not_know_their_own_group_also_where_there_are_many() -> None:
    count = learning.EXACT_UP_TO + 10
    seen = learning.matrix([(learning.TEXT_OF_SEED.format("abcdefg"[i % 7] * 4), "") for i in range(count)])
    wanted = learning.targets([("exploration", "evaluation")[i % 7 > 3] for i in range(count)], ACTIVITIES)
    groups = ["abcdefg"[i % 7] for i in range(count)]
    alone = learning.held_out(seen, wanted, np.ones(count), groups)
    mixed = learning.held_out(seen, wanted, np.ones(count), [str(i % 50) for i in range(count)])
    assert (mixed.argmax(axis=1) == wanted.argmax(axis=1)).all()
    assert not (alone.argmax(axis=1) == wanted.argmax(axis=1)).all()


def test_learning_twice_gives_the_same_model(tmp_path: Path) -> None:
    one, other = (learning.learn(labelled(200), tmp_path / name) for name in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()


def test_too_few_labels_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs at least 20 jobs"):
        learning.learn(labelled(10), tmp_path / "own")


def test_labels_of_one_activity_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two activities"):
        learning.learn(labelled(200).filter("activity = 'evaluation'"), tmp_path / "own")


LEDGER = """\
ledger = "ledger"
[collectors.job_log]
cluster = "syn-lab"
path = "jobs.csv"
[taggers.label]
path = "labels.csv"
[taggers.learned]
"""


def test_the_command_learns_from_the_ledgers_labels_and_the_tagger_takes_its_file(tmp_path: Path) -> None:
    write_month(tmp_path, Size(jobs=3000, nodes=40, seed=7))
    config = tmp_path / "rdspend.toml"
    config.write_text(LEDGER)

    def run(*words: str) -> Any:
        return CliRunner().invoke(main, ["--config", str(config), *words])

    empty = run("learn", str(tmp_path / "own"))
    assert (empty.exit_code, "rdspend collect" in empty.output) == (2, True)
    for stage in ("collect", "tag"):
        assert run(stage, "--period", "2026-10").exit_code == 0
    done = run("learn", str(tmp_path / "own"))
    assert done.exit_code == 0, done.output
    config.write_text(LEDGER + 'model = "own"\n')
    assert run("tag", "--period", "2026-10").exit_code == 0
    snapshot = Ledger(tmp_path / "ledger").snapshot()
    with Engine() as engine:
        snapshot.view(engine, "tags")
        said = engine.rows("SELECT DISTINCT version FROM tags WHERE tagger = 'learned'")
    assert said == [(purpose.load(tmp_path / "own").version,)]


def test_all_answers_are_words_of_the_glossary() -> None:
    model = purpose.load()
    assert set(model.activities) - {None} <= set(ACTIVITIES)
    assert model.stage.labels == STAGES
