"""The evaluation: its sets, its figures, and that a worse model does not land."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from rdspend import evaluation, purpose, sets
from rdspend.cli import main
from rdspend.errors import BadRecord, ConfigError


@cache
def scored(name: str) -> evaluation.Score:
    return evaluation.score(sets.read(sets.HERE / name), purpose.load(), 0.95)


@pytest.fixture(scope="module")
def labs() -> Iterator[list[evaluation.Score]]:
    with evaluation.organisations(seeds=[7]) as folders:
        yield [evaluation.score(sets.read(folder), purpose.load(), 0.95) for folder in folders]


def test_the_shipped_model_passes_the_gates(labs: list[evaluation.Score]) -> None:
    scores = [scored(folder.name) for folder in sets.shipped()] + labs
    assert evaluation.gates(scores) == []


def test_a_gate_is_missed_by_a_worse_model() -> None:
    worse = dataclasses.replace(scored("headers"), kind_accuracy_mean_over_held_out=0.8, calibration_error=0.2)
    missed = {gate.metric for gate in evaluation.gates([worse])}
    assert missed == {"kind_accuracy_mean_over_held_out", "calibration_error"}


def test_every_gate_of_the_file_bites() -> None:
    text = evaluation.GATES.read_text()
    assert len(re.findall(r"least|most", text.split("\n\n", 1)[1])) >= 6
    awful = {
        field.name: 0.0 if "coverage" not in field.name else 1.0
        for field in dataclasses.fields(evaluation.Score)
        if field.name not in ("name", "title", "f1", "baselines")
    } | {"calibration_error": 1.0, "sure_and_wrong_jobs": 99}
    names = ("headers", "hard", "kalos", "lab-x-1")
    scores = [evaluation.Score(name=name, title="", **awful) for name in names]  # type: ignore[arg-type]
    assert {gate.name for gate in evaluation.gates(scores)} == {"headers", "hard", "kalos", "labs"}


def test_a_model_without_sense_of_words_fails_the_gates(tmp_path: Path) -> None:
    model = purpose.load()
    blind = dataclasses.replace(model, work=dataclasses.replace(model.work, weights=-model.work.weights))
    scores = [evaluation.score(sets.read(sets.HERE / name), blind, 0.95) for name in ("hard", "kalos")]
    assert evaluation.gates(scores) != [] or scores[0].right_of_gpu_hours < 0.5


def test_headers_are_judged_by_models_that_never_saw_the_owner() -> None:
    held_out, seen = (
        scored("headers"),
        evaluation.score(dataclasses.replace(sets.read(sets.HERE / "headers"), name="copy"), purpose.load(), 0.95),
    )
    assert held_out.kind_accuracy < seen.kind_accuracy - 0.03
    assert held_out.kind_accuracy_mean_over_held_out >= 0.875
    assert held_out.held_out == 52


def test_the_model_beats_the_simple_rules_on_headers() -> None:
    score = scored("headers")
    assert all(score.right_of_gpu_hours > simple["right_of_gpu_hours"] + 0.1 for simple in score.baselines.values())


def test_where_there_is_only_shape_nothing_is_answered() -> None:
    assert scored("kalos").coverage_of_gpu_hours == 0
    assert scored("kalos").right_of_gpu_hours_answered is None


def test_organisations_of_other_habits_are_mostly_right_where_answered(labs: list[evaluation.Score]) -> None:
    for score in labs:
        assert score.right_of_gpu_hours_answered is not None
        assert score.right_of_gpu_hours_answered >= 0.97
        assert score.coverage_of_gpu_hours >= 0.5


# --- sets -------------------------------------------------------------------------------------------------------------


def write_set(folder: Path, **files: str) -> Path:
    texts = {
        "set.toml": 'title = "t"\ntruth = "x"\nhold_out = "owner"\n',
        "jobs.csv": "job_id,owner,name,gpus,gpu_hours\n1,a,lm-eval-mmlu,8,10\n2,b,train,8,30\n",
        "labels.csv": "job_id,work\n1,evaluation\n2,training\n",
    }
    for name, text in (texts | {k.replace("_", "."): v for k, v in files.items()}).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_set_of_ones_own_is_scored(tmp_path: Path) -> None:
    (score,) = evaluation.evaluate([write_set(tmp_path)])
    assert (score.jobs, score.held_out) == (2, 2)
    assert score.kind_accuracy == 1.0


def test_families_to_ask_about_are_counted_by_money(tmp_path: Path) -> None:
    jobs = "job_id,owner,name,gpus,gpu_hours\n" + "".join(f"{n},a,qzx{chr(97 + n)}vv,0,{10 if n else 990}\n" for n in range(10))
    labels = "job_id,work\n" + "".join(f"{n},serving\n" for n in range(10))
    (score,) = evaluation.evaluate([write_set(tmp_path, jobs_csv=jobs, labels_csv=labels)])
    assert score.right_of_money < 0.5
    assert score.labels_needed_95 is not None
    assert score.labels_needed_99 is not None
    assert 1 <= score.labels_needed_95 <= score.labels_needed_99 <= score.families == 10


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"set_toml": "title = 1"}, "set.toml: found keys title"),
        ({"set_toml": "="}, "set.toml: not TOML"),
        ({"set_toml": 'title = "t"\ntruth = "x"\nhold_out = "team"\n'}, "no column 'team'"),
        ({"labels_csv": "job_id,work\n1,trainig\n2,training\n"}, "found 'trainig', expected data"),
        ({"labels_csv": "job_id,work\n1,training\n1,data\n"}, "one label a job"),
        ({"labels_csv": "job_id,work\n1,training\n9,data\n"}, "one label a job"),
    ],
)
def test_a_set_with_a_mistake_is_refused(files: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, BadRecord), match=message):
        sets.read(write_set(tmp_path, **files))


def test_what_trains_the_model_has_its_licences_beside_it() -> None:
    text = (sets.HERE / "headers" / "README.md").read_text(encoding="utf-8")
    assert (sets.HERE / "headers" / "NOTICE").is_file()
    owners = {held for *_, held in sets.read(sets.HERE / "headers").labels.values()}
    assert all(f"| {owner}/" in text for owner in owners)
    assert "rdspend/sets/headers" in purpose.load().card["data"]


# --- report -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["terminal", "md", "html", "json"])
def test_a_report_says_set_model_and_baselines(form: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["eval", str(write_set(tmp_path)), "--form", form])
    assert done.exit_code == 0, done.output
    assert tmp_path.name in done.output
    assert "GPU count" in done.output


def test_two_versions_are_compared(tmp_path: Path) -> None:
    write_set(tmp_path)
    former = json.loads(CliRunner().invoke(main, ["eval", str(tmp_path), "--form", "json"]).output)
    former["scores"][0]["kind_accuracy"] = 0.5
    (tmp_path / "former.json").write_text(json.dumps(former))
    done = CliRunner().invoke(main, ["eval", str(tmp_path), "--against", str(tmp_path / "former.json")])
    assert "1.000 (+0.5)" in done.output


def test_a_missed_gate_ends_with_one_and_says_which(tmp_path: Path) -> None:
    write_set(tmp_path)
    gates = tmp_path / "gates.toml"
    gates.write_text(f'["{tmp_path.name}"]\njobs = {{ least = 3 }}\n')
    done = CliRunner().invoke(main, ["eval", str(tmp_path), "--gates", str(gates)])
    assert done.exit_code == 1
    assert "jobs is 2.000, the gate is at least 3" in done.output


@pytest.mark.parametrize("text", ["[headers]\nacuracy = { least = 1 }", "[headers]\njobs = 3", "["])
def test_a_gate_nobody_knows_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "gates.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"gates\.toml"):
        evaluation.gates([scored("hard")], tmp_path / "gates.toml")
