"""The wandb collector: exports as lines, as an array and as a table, and what is wrong with one."""

from __future__ import annotations

import ast
import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tracker_rows import collected

from collectors import wandb
from collectors.wandb import Wandb
from rdspend.errors import BadRecord, SourceUnavailable
from rdspend.schema import Location
from rdspend.tracking import Keys

FIXTURES = Path(__file__).parent / "fixtures" / "wandb"
Row = dict[str, Any]


def exported(run_id: str = "a", **more: Any) -> Row:
    return {"id": run_id, "created_at": "2026-10-01T08:00:00Z", **more}


def lines(path: Path, runs: Sequence[Row]) -> Path:
    path.write_text("".join(json.dumps(run) + "\n" for run in runs))
    return path


def rows_of(path: Path, **options: Any) -> dict[str, list[Row]]:
    return collected(Wandb(path=Location(path), **options))


def one(folder: Path, run: Row, **options: Any) -> Row:
    (row,) = rows_of(lines(folder / "runs.jsonl", [run]), **options)["tracked_runs"]
    return row


def artifacts(found: dict[str, list[Row]]) -> set[tuple[str, str, str, str]]:
    return {(row["run_id"], row["direction"], row["kind"], row["uri"]) for row in found["artifacts"]}


# --- the export that the manual page writes ---------------------------------------------------------------------------


def test_the_export_of_the_manual_page_is_read() -> None:
    found = rows_of(FIXTURES / "runs.jsonl", cluster="h100")
    expected = json.loads((FIXTURES / "expected.json").read_text())
    for row in (*found["tracked_runs"], *found["artifacts"]):
        assert row.pop("origin_file") == str(FIXTURES / "runs.jsonl")
    assert found["tracked_runs"] == expected["tracked_runs"]
    assert sorted(found["artifacts"], key=str) == sorted(expected["artifacts"], key=str)
    assert [(note["kind"], note["rows"]) for note in found["notes"]] == [("run_without_job", 1), ("artifact_of_other_type", 2)]


def test_the_script_of_the_manual_page_is_python() -> None:
    page = (wandb.__doc__ or "").partition("    import json, wandb\n")[2].partition("\nNeeded are")[0]
    script = "\n".join(line.removeprefix("    ") for line in page.splitlines())
    names = {node.value for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Constant)}
    assert {"id", "created_at", "heartbeat_at", "metadata", "config"} <= names


def test_lines_an_array_a_table_and_gzip_of_the_same_runs_are_the_same(tmp_path: Path) -> None:
    runs = [json.loads(line) for line in (FIXTURES / "runs.jsonl").read_text().splitlines() if line]
    (tmp_path / "array.json").write_text(json.dumps(runs, indent=1))
    (tmp_path / "runs.jsonl.gz").write_bytes(gzip.compress((FIXTURES / "runs.jsonl").read_bytes()))
    table(tmp_path / "runs.csv", [{k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in r.items()} for r in runs])
    forms = [rows_of(path) for path in (FIXTURES / "runs.jsonl", *sorted(tmp_path.iterdir()))]
    for form in forms:
        for row in (*form["tracked_runs"], *form["artifacts"]):
            del row["origin_file"]
    assert len(forms) == 4
    for form in forms[1:]:
        assert form["tracked_runs"] == forms[0]["tracked_runs"]
        assert artifacts(form) == artifacts(forms[0])


def table(path: Path, runs: Sequence[Row]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(name for run in runs for name in run)))
        writer.writeheader()
        writer.writerows(runs)
    return path


def test_the_table_of_the_web_page_is_read_and_its_other_columns_are_labels(tmp_path: Path) -> None:
    row = {"Name": "sft", "ID": "a", "State": "finished", "User": "ann", "Created": "2026-10-01T08:00:00.000Z"}
    row |= {"Runtime": "90"}
    row |= {
        "Job Type": "train",
        "Tags": "final, 7b",
        "slurm_job_id": "12.0",
        "lr": "1e-4",
        "empty": "",
        "config.trainer.load": "/c",
    }
    found = rows_of(table(tmp_path / "runs.csv", [row]))
    (run,) = found["tracked_runs"]
    assert (run["run_id"], run["name"], run["user"], run["job_id"]) == ("a", "sft", "ann", "12")
    assert run["end_time"] == "2026-10-01T08:01:30.000Z"
    assert run["labels"] == {
        "job_type": "train",
        "tags": "final, 7b",
        "slurm_job_id": "12.0",
        "lr": "1e-4",
        "trainer.load": "/c",
    }
    assert artifacts(found) == {("a", "read", "checkpoint", "/c")}


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "end"),
    [
        ({"state": "finished", "heartbeat_at": "2026-10-02T00:00:00"}, "2026-10-02T00:00:00.000Z"),
        ({"state": "running", "heartbeat_at": "2026-10-02T00:00:00"}, None),
        ({"state": "crashed", "summary": {"_runtime": 1.5}}, "2026-10-01T08:00:01.500Z"),
        ({"state": "finished", "summary": {"_wandb": {"runtime": 60}, "_runtime": 1}}, "2026-10-01T08:01:00.000Z"),
        ({"state": "finished", "ended_at": "2026-10-03T00:00:00+02:00", "heartbeat_at": "2026-10-04"}, None),
        ({"state": "finished"}, None),
    ],
)
def test_a_run_ends_where_it_says_at_its_last_heartbeat_or_after_its_run_time(
    said: Row, end: str | None, tmp_path: Path
) -> None:
    if said.get("heartbeat_at") == "2026-10-04":
        with pytest.raises(BadRecord, match=r"runs.jsonl:1: heartbeat_at: found '2026-10-04'"):
            one(tmp_path, exported(**said))
        said.pop("heartbeat_at")
        end = "2026-10-02T22:00:00.000Z"
    assert one(tmp_path, exported(**said))["end_time"] == end


def test_the_names_of_the_api_are_taken_in_their_own_spelling_too(tmp_path: Path) -> None:
    run = {"id": "a", "displayName": "n", "createdAt": "2026-10-01T08:00:00", "jobType": "eval", "user": {"username": "bo"}}
    row = one(tmp_path, {**run, "heartbeatAt": "2026-10-01T09:00:00.123", "sweepName": "s1"})
    assert (row["name"], row["user"], row["start_time"]) == ("n", "bo", "2026-10-01T08:00:00.000Z")
    assert (row["end_time"], row["labels"]) == ("2026-10-01T09:00:00.123Z", {"job_type": "eval", "sweep": "s1"})


def test_a_job_is_told_by_the_config_first_then_by_the_environment_of_slurm(tmp_path: Path) -> None:
    slurm = {"metadata": {"slurm": {"job_id": "5", "cluster_name": "b200"}}}
    assert one(tmp_path, exported(**slurm, config={"slurm_job_id": 7}))["job_id"] == "7"
    assert one(tmp_path, exported(**slurm))["job_id"] == "5"
    assert one(tmp_path, exported(**slurm), cluster="h100")["cluster"] == "b200"
    assert one(tmp_path, exported(metadata={"slurm": {"SLURM_JOB_ID": "6"}}))["job_id"] == "6"
    assert one(tmp_path, exported(config={"ticket": "9"}), keys=Keys(job_id=("ticket",)))["job_id"] == "9"


def test_arguments_of_the_command_line_are_labels(tmp_path: Path) -> None:
    args = ["train", "--lr=1e-4", "--resume-from", "/ckpt/a b", "--fp16", "-v", "--note=a=b\nc", "--shift", "-1", "--last"]
    row = one(tmp_path, exported(metadata={"args": args}))
    assert row["labels"] == {
        "args.lr": "1e-4",
        "args.resume_from": "/ckpt/a b",
        "args.fp16": "true",
        "args.v": "true",
        "args.note": "a=b\nc",
        "args.shift": "true",
        "args.last": "true",
    }


def test_a_config_is_flattened_and_two_ways_to_one_name_do_not_break_it(tmp_path: Path) -> None:
    config = {"a": {"b": {"c": None, "d": [1, {"e": 2}]}, "f.g": True}, "a.f.g": "x", 'q"u': "é", "_wandb": {"t": 1}, "z": ""}
    assert one(tmp_path, exported(config=config))["labels"] == {"a.b.d": '[1,{"e":2}]', "a.f.g": "true", "qu": "é"}


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": ""}, "id: found nothing; expected an id"),
        ({"created_at": None}, "created_at: found nothing; expected a time"),
        ({"created_at": "yesterday"}, "created_at: found 'yesterday'; expected a time, ISO 8601"),
        ({"config": "{'lr': 1}"}, r"config: found \"\{'lr': 1\}\"; expected an object as JSON"),
        ({"config": [1]}, "config: found '.1.'; expected an object"),
        ({"used_artifacts": ["web:v3"]}, "used: found .* expected a list of objects with name and type"),
        ({"logged_artifacts": [{"name": "x"}]}, "logged: found .* expected a list of objects with name and type"),
        ({"logged_artifacts": {"name": "x", "type": "model"}}, "logged: found .* expected a list"),
    ],
)
@pytest.mark.parametrize("form", ["runs.jsonl", "runs.json", "runs.csv"])
def test_a_record_that_can_not_be_read_is_refused_by_file_and_line(change: Row, words: str, form: str, tmp_path: Path) -> None:
    path, bad = tmp_path / form, exported("b") | change
    runs = [exported("a", name="two\nlines"), bad, exported("c")]
    if form == "runs.jsonl":
        path.write_text("\n".join(["", json.dumps(runs[0]), "", *map(json.dumps, runs[1:])]))
        line = 4
    elif form == "runs.json":
        path.write_text("[\n" + ",\n\n".join(map(json.dumps, runs)) + "\n]")
        line = 4
    else:
        flat = [{k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in run.items()} for run in runs]
        table(path, [{"name": "", **dict.fromkeys(change, ""), **run} for run in flat])
        line = 4
    with pytest.raises(BadRecord, match=rf"^{path}:{line}: {words}"):
        rows_of(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"id": "a", "created_at": "2026-10-01T08:00:00Z"}\n\n{"id": \n{"id": "b"}\n', ":3: is no whole JSON"),
        ('{"id": "a"} {"id": "b"}\n', ":1: is no whole JSON"),
        ("[1]\n", ":1: found .*; expected an object, a run"),
        ("", ": is empty"),
        (" \n\n", ": is empty"),
    ],
)
def test_lines_that_are_no_records_are_refused_by_their_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").write_text(text)
    with pytest.raises(BadRecord, match=f"runs.jsonl{words}"):
        rows_of(tmp_path / "runs.jsonl")


def test_an_array_that_breaks_off_is_refused_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "runs.json").write_text('[\n{"id": "a", "created_at": "2026-10-01"},\n{"id": "b", "crea')
    with pytest.raises(BadRecord, match=r"runs.json:3: is no whole JSON"):
        rows_of(tmp_path / "runs.json")


def test_a_gzip_that_breaks_off_is_refused_and_is_not_a_short_one(tmp_path: Path) -> None:
    whole = gzip.compress("".join(json.dumps(exported(f"r{n}")) + "\n" for n in range(2000)).encode())
    (tmp_path / "runs.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadRecord, match="not a whole gzip file"):
        rows_of(tmp_path / "runs.jsonl.gz")


def test_a_run_that_is_there_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    lines(tmp_path / "1.jsonl", [exported("a", project="x"), exported("b")])
    lines(tmp_path / "2.jsonl", [exported("c"), exported("a", project="x")])
    with pytest.raises(BadRecord, match=rf"2.jsonl: run 'a' is record 1 of {tmp_path}/1.jsonl and record 2 here; keep one"):
        rows_of(tmp_path)
    lines(tmp_path / "2.jsonl", [exported("a", project="y")])
    with pytest.raises(BadRecord, match=r"give one project a \[collectors.wandb.NAME\] of its own"):
        rows_of(tmp_path)


def test_a_missing_file_is_unavailable_and_no_runs_are_an_answer(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="no such file"):
        rows_of(tmp_path / "runs.jsonl")
    (tmp_path / "runs.json").write_text("[]")
    assert rows_of(tmp_path / "runs.json") == {"notes": [], "tracked_runs": [], "artifacts": []}


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs.txt").write_text("{}")
    with pytest.raises(BadRecord, match=r"runs.txt: not a \.json"):
        rows_of(tmp_path)
