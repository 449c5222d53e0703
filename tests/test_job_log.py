"""job_log: every record of a foreign log comes out in the ledger's types, or stops the log by file and line."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors.job_log import WORDS, JobLog
from rdspend.errors import BadRecord, ConfigError, RdspendError, SourceUnavailable
from rdspend.schema import GPU_PARTS, JOBS, NODES, OUTCOMES, PLACEMENTS, TABLES, Location, Window

FIXTURES = Path(__file__).parent / "fixtures" / "job_log"
OCTOBER = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
HEADER = "job_id,user,account,name,submit_time,start_time,end_time,state,nodes,gpus,gpu_type,activity"
GOOD = "1,ada,vision,x,2026-10-01T00:00:00Z,2026-10-01T01:00:00Z,2026-10-01T02:00:00Z,COMPLETED,n1,8,h100,"

Rows = list[dict[str, Any]]


def collect(path: Path | str, *, window: Window = OCTOBER, **options: Any) -> dict[str, Rows]:
    """Rows by table, times as epoch microseconds; findings under `notes`."""
    log = JobLog(options.pop("cluster", "c1"), Location(path), **options)
    found: dict[str, Rows] = {}
    for delivery in log.collect(window):
        relation: Any = delivery.rows
        columns = {column.name: column for column in TABLES[delivery.table].columns}
        assert set(relation.columns) <= set(columns) - {"source"}
        assert {name for name, column in columns.items() if column.null is None} - {"source"} <= set(relation.columns)
        assert (dict(delivery.scope), delivery.complete, delivery.open_complete) == ({"cluster": "c1"}, True, True)
        times = [name for name in relation.columns if columns[name].type == "timestamp"]
        rows = relation.project("* REPLACE (" + ", ".join(f"epoch_us({t}) AS {t}" for t in times) + ")").fetchall()
        found[delivery.table] = [dict(zip(relation.columns, row, strict=True)) for row in rows]
        found[delivery.table].sort(key=lambda row: str(row.get("origin_file") or row["job_key"]))
        found[delivery.table].sort(key=lambda row: (row.get("origin_row", 0), row.get("node", "")))
        found.setdefault("notes", []).extend({"kind": n[0], "detail": n[2], "rows": n[3]} for n in delivery.notes)
    return found


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 10**6)


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "jobs.csv"


def write(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_the_default_header_needs_no_mapping() -> None:
    found = collect(FIXTURES / "jobs.csv", nodes=Location(FIXTURES / "nodes.csv"))
    assert [(job["job_id"], job["end_day"], job["outcome"]) for job in found["jobs"]] == [
        ("101", "2026-10-03", "completed"),
        ("102", "2026-10-02", "cancelled"),
        ("103", "2026-10-05", "timeout"),
        ("104", "open", "running"),
        ("105", "open", "running"),
        ("106", "2026-10-06", "cancelled"),
        ("109", "2026-10-07", "failed"),
    ]
    assert found["jobs"][0] == dict.fromkeys(set(JOBS.names) - {"source", "script"} | {"script"}) | {
        "job_key": "c1/101/1790812800",
        "cluster": "c1",
        "end_day": "2026-10-03",
        "origin_file": str(FIXTURES / "jobs.csv"),
        "origin_row": 1,
        "job_id": "101",
        "user": "ada",
        "account": "vision",
        "name": "pretrain, 7b",
        "labels": {"activity": "final_training", "Team": "core"},
        "submit_time": at("2026-10-01T00:00:00Z"),
        "start_time": at("2026-10-01T01:00:00Z"),
        "end_time": at("2026-10-03T01:00:00Z"),
        "outcome": "completed",
        "gpu_parts": 16 * GPU_PARTS,
        "gpu_type": "h100",
        "node_count": 2,
    }
    assert found["jobs"][1]["labels"] is None
    assert (found["jobs"][1]["name"], found["jobs"][1]["start_time"]) == ("line\nbreak", at("2026-10-02T00:00:00Z"))
    assert found["jobs"][1]["end_time"] == at("2026-10-02T06:30:00.500000Z")


def test_gpus_are_spread_over_nodes_to_the_last_part() -> None:
    found = collect(FIXTURES / "jobs.csv", nodes=Location(FIXTURES / "nodes.csv"))
    parts = [(p["job_key"].split("/")[1], p["node"], p["gpu_parts"]) for p in found["placements"]]
    assert sorted(parts) == [
        ("101", "n1", 8 * GPU_PARTS),
        ("101", "n2", 8 * GPU_PARTS),
        ("102", "n3", 26880),
        ("102", "n4", 26880),
        ("102", "n5", 26880),
        ("103", "n3", 10080),
        ("104", "n1", GPU_PARTS),
        ("104", "n2", GPU_PARTS),
        ("109", "n5", 0),
    ]
    spans = {(p["start_time"], p["end_time"], p["end_day"]) for p in found["placements"] if "/104/" in p["job_key"]}
    assert spans == {(at("2026-10-31T00:00:00Z"), None, "open")}


def test_the_nodes_file_comes_out_row_by_row() -> None:
    found = collect(FIXTURES / "jobs.csv", nodes=Location(FIXTURES / "nodes.csv"))
    rows = {(node["node"], node["resource_id"]): node for node in found["nodes"]}
    assert list(rows) == [("n1", "i-1"), ("n2", "i-2"), ("n3", "i-3a"), ("n3", "i-3b"), ("n4", None), ("n5", "i-5")]
    assert rows["n1", "i-1"] == dict.fromkeys(set(NODES.names)) | {
        "cluster": "c1",
        "node": "n1",
        "resource_id": "i-1",
        "gpu_parts": 8 * GPU_PARTS,
        "gpu_type": "h100",
        "cpus": 192,
        "memory_mib": 2048 * 1024,
        "instance_type": "p5.48xlarge",
        "queue": "train,debug",
        "origin_file": str(FIXTURES / "nodes.csv"),
        "origin_row": 1,
    }
    assert (rows["n3", "i-3a"]["start_time"], rows["n3", "i-3a"]["end_time"]) == (None, at("2026-10-02T00:00:00Z"))
    assert (rows["n4", None]["pool"], rows["n4", None]["memory_mib"]) == ("block-7", 512)
    assert rows["n5", "i-5"]["gpu_parts"] is None


def test_a_job_outside_the_time_of_its_node_is_shown_and_one_over_two_spans_is_not(jobs: Path) -> None:
    found = collect(FIXTURES / "jobs.csv", nodes=Location(FIXTURES / "nodes.csv"))
    assert found["notes"] == [
        {
            "kind": "job_outside_node",
            "detail": "1 placements lie outside the time that their node was there; "
            f"first job '102' at {FIXTURES / 'jobs.csv'}:3",
            "rows": 1,
        }
    ]
    write(jobs, GOOD.replace("n1", "n3").replace("2026-10-01T02", "2026-10-09T02"))
    assert collect(jobs, nodes=Location(FIXTURES / "nodes.csv"))["notes"] == []


def test_the_kalos_trace_is_read_by_a_mapping_alone() -> None:
    found = collect(
        FIXTURES / "kalos.csv",
        window=Window(datetime(2023, 5, 1, tzinfo=UTC), datetime(2023, 9, 1, tzinfo=UTC)),
        columns={
            "gpus": "gpu_workers * gpu_per_worker",
            "start_time": "to_timestamp(1682899200 + arrival_time)",
            "end_time": "to_timestamp(1682899200 + arrival_time + num_iteration / 2)",
            "stage": "CASE WHEN profiled_network = 1000 THEN 'pretraining' END",
        },
    )
    hour = 3600 * 10**6 * GPU_PARTS
    gpu_hours = [Fraction(job["gpu_parts"] * (job["end_time"] - job["start_time"]), hour) for job in found["jobs"]]
    pretraining = sum(h for h, job in zip(gpu_hours, found["jobs"], strict=True) if "stage" in job["labels"])
    assert len(found["jobs"]) == len(found["placements"]) == 319
    assert round(sum(gpu_hours)) == 456_843
    assert round(100 * pretraining / sum(gpu_hours), 1) == Fraction("96.1")
    placed = sum(Fraction(p["gpu_parts"] * (p["end_time"] - p["start_time"]), hour) for p in found["placements"])
    assert placed == sum(gpu_hours)
    assert [(n["node"], n["gpu_parts"], n["resource_id"]) for n in found["nodes"]] == [("c1-gpu", None, None)]
    assert found["jobs"][0]["labels"]["tensorsizes"] == "10.0"


def test_a_log_without_nodes_lands_on_one_pool_node_a_gpu_type(jobs: Path) -> None:
    a100 = GOOD.replace("1,ada", "2,ada").replace(",n1,8,h100", ",,3,a100")
    cpu = GOOD.replace("1,ada", "3,ada").replace(",n1,8,h100", ",(null),0,")
    found = collect(write(jobs, GOOD.replace("n1", "  "), a100, cpu))
    nodes = [(n["node"], n["gpu_type"], n["gpu_parts"], n["resource_id"], n["start_time"]) for n in found["nodes"]]
    assert sorted(nodes) == [("c1-a100", "a100", None, None, None), ("c1-h100", "h100", None, None, None)]
    placed = [(p["node"], p["gpu_parts"] // GPU_PARTS) for p in found["placements"]]
    assert sorted(placed) == [("c1-a100", 3), ("c1-h100", 8)]
    assert [(note["kind"], note["rows"]) for note in found["notes"]] == [("job_without_node", 1)]


def test_a_job_without_nodes_lands_on_the_pool_node_beside_a_nodes_file(jobs: Path) -> None:
    log = write(jobs, GOOD, GOOD.replace("1,ada", "2,ada").replace("n1", ""))
    found = collect(log, nodes=Location(FIXTURES / "nodes.csv"))
    assert sorted(n["node"] for n in found["nodes"]) == ["c1-h100", "n1", "n2", "n3", "n3", "n4", "n5"]
    assert sorted(p["node"] for p in found["placements"]) == ["c1-h100", "n1"]


def test_a_pool_node_may_stand_in_the_nodes_file(jobs: Path, tmp_path: Path) -> None:
    nodes = write(tmp_path / "nodes.csv", "c1-h100,64,block-1", header="node,gpus,pool")
    found = collect(write(jobs, GOOD.replace("n1", "")), nodes=Location(nodes))
    assert [(n["node"], n["gpu_parts"], n["pool"]) for n in found["nodes"]] == [("c1-h100", 64 * GPU_PARTS, "block-1")]


def test_named_nodes_without_a_nodes_file_are_delivered_with_unknown_capacity(jobs: Path) -> None:
    other = GOOD.replace("1,ada", "2,ada").replace("n1,8,h100", "n[1-2],8,a100")
    found = collect(write(jobs, GOOD, other))
    nodes = [(n["node"], n["resource_id"], n["gpu_type"], n["gpu_parts"], n["origin_row"]) for n in found["nodes"]]
    assert sorted(nodes) == [("n1", "n1", None, None, 1), ("n2", "n2", "a100", None, 2)]


@pytest.mark.parametrize(
    ("start", "end", "seen"),
    [
        ("2026-09-30T22:00:00Z", "2026-09-30T23:59:59.999999Z", False),
        ("2026-09-30T22:00:00Z", "2026-10-01T00:00:00Z", True),
        ("2026-10-01T00:00:00Z", "2026-10-01T00:00:00Z", True),
        ("2026-09-01T00:00:00Z", "2026-12-01T00:00:00Z", True),
        ("2026-10-31T23:59:59.999999Z", "2026-11-01T00:00:01Z", True),
        ("2026-11-01T00:00:00Z", "2026-11-01T00:00:01Z", False),
        ("2026-11-01T00:00:00Z", "", True),
        ("", "2026-10-20T00:00:00Z", True),
        ("", "2026-11-20T00:00:00Z", True),
        ("", "", True),
    ],
)
def test_jobs_that_overlap_the_window_ended_in_it_or_are_open_are_delivered(
    jobs: Path, start: str, end: str, seen: bool
) -> None:
    write(jobs, f"1,2026-09-01T00:00:00Z,{start},{end},1", header="job_id,submit_time,start_time,end_time,gpus")
    found = collect(jobs)
    assert len(found["jobs"]) == seen
    assert len(found["placements"]) == (seen and start != "" and start != end)


def test_nodes_are_delivered_whole_whatever_the_window(jobs: Path) -> None:
    earlier = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 2, 1, tzinfo=UTC))
    found = collect(write(jobs, GOOD), window=earlier)
    assert (found["jobs"], found["placements"]) == ([], [])
    assert [n["node"] for n in found["nodes"]] == ["n1"]


def test_a_header_alone_says_that_nothing_ran(jobs: Path) -> None:
    assert collect(write(jobs)) == {"nodes": [], "jobs": [], "placements": [], "notes": []}


@pytest.mark.parametrize("word", [word for words in WORDS.values() for word in words.split()])
def test_every_word_for_a_state_has_an_outcome(jobs: Path, word: str) -> None:
    outcome = next(outcome for outcome, words in WORDS.items() if word in words.split())
    row = GOOD.replace("COMPLETED", word.upper().replace("_", " "))
    row = row.replace("2026-10-01T02:00:00Z", "") if outcome == "running" else row
    assert collect(write(jobs, row))["jobs"][0]["outcome"] == outcome
    assert set(WORDS) == set(OUTCOMES)


@pytest.mark.parametrize(
    ("state", "end", "outcome"),
    [
        ("", "2026-10-01T02:00:00Z", "completed"),
        ("", "", "running"),
        ("Stopped", "2026-10-01T02:00:00Z", "cancelled"),
        ("STOPPED", "", "running"),
        ("COMPLETING", "2026-10-01T02:00:00Z", "completed"),
        ("COMPLETING", "", "running"),
    ],
)
def test_a_state_that_depends_on_the_end_is_read_with_it(jobs: Path, state: str, end: str, outcome: str) -> None:
    write(jobs, GOOD.replace("COMPLETED", state).replace("2026-10-01T02:00:00Z", end))
    assert collect(jobs)["jobs"][0]["outcome"] == outcome


def test_optional_columns_are_read_by_their_names(jobs: Path) -> None:
    header = "JOB_ID,start_time,end_time,gpus,project,queue,qos,command,image,work_dir,cpus,memory_gib,exit_code,Comment,nodes"
    row = '7,2026-10-01T01:00:00Z,2026-10-01T02:00:00Z,2,p,q,hi,"srun x",img,/w,65,1.5,137:9,purpose=eval,a b'
    found = collect(write(jobs, row + ",4", header=header + ",requested_gpus"))
    job = found["jobs"][0]
    assert job["job_key"] == "c1/7/1790816400"
    assert [job[name] for name in ("project", "queue", "qos", "command", "image", "work_dir")] == [
        "p",
        "q",
        "hi",
        "srun x",
        "img",
        "/w",
    ]
    assert (job["cpus"], job["memory_mib"], job["exit_code"], job["requested_gpu_parts"]) == (65, 1536, 137, 4 * GPU_PARTS)
    assert job["labels"] == {"comment": "purpose=eval"}
    assert [(p["node"], p["cpus"], p["memory_mib"]) for p in found["placements"]] == [("a", 33, 768), ("b", 32, 768)]


# --- the mapping ------------------------------------------------------------------------------------------------------


def test_a_renamed_column_keeps_its_text_and_is_no_label(jobs: Path) -> None:
    header = "id,from,to,GPU count,007,Owner"
    write(jobs, "007,2026-10-01T01:00:00Z,2026-10-01T02:00:00Z,2,1,ada", header=header)
    columns = {"job_id": "id", "start_time": "from", "end_time": "to", "gpus": "gpu COUNT", "labels.team": "Owner"}
    job = collect(jobs, columns=columns)["jobs"][0]
    assert (job["job_id"], job["gpu_parts"]) == ("007", 2 * GPU_PARTS)
    assert job["labels"] == {"007": "1", "team": "ada"}


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ("workers * each", 16 * GPU_PARTS),
        ("workers / 4", GPU_PARTS // 2),
        ("CASE WHEN kind = 'x' THEN workers ELSE 0 END -- a remark", 2 * GPU_PARTS),
        ("coalesce(empty, 3)", 3 * GPU_PARTS),
        ("CAST(regexp_extract(tres, 'gpu=([0-9]+)', 1) AS INTEGER)", 4 * GPU_PARTS),
        ('greatest("workers", 1) + try_cast(kind AS INTEGER) IS NULL::INTEGER', GPU_PARTS),
        ("length(padded)", 3 * GPU_PARTS),
        ("if(workers BETWEEN 1 AND 3 AND kind IN ('x', 'y'), 1, 2)", GPU_PARTS),
    ],
)
def test_an_expression_reads_numbers_as_numbers_and_text_as_text(jobs: Path, gpus: str, expected: int) -> None:
    header = "job_id,start_time,end_time,workers,each,kind,empty,tres,padded"
    write(jobs, "1,2026-10-01T01:00:00Z,2026-10-01T02:00:00Z,2,8.0,x,,cpu=2|gpu=4,007", header=header)
    assert collect(jobs, columns={"gpus": gpus})["jobs"][0]["gpu_parts"] == expected


def test_a_whole_number_in_an_expression_is_exact(jobs: Path) -> None:
    columns = {"job_id": "'run-' || number || '-' || kind"}
    write(jobs, "9007199254740993,2,2026-10-01T01:00:00Z,,1", header="number,kind,start_time,end_time,gpus")
    assert collect(jobs, columns=columns)["jobs"][0]["job_id"] == "run-9007199254740993-2"


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("gpu_workrs", "unknown column 'gpu_workrs'; the file has job_id, user, account"),
        ("gpuss * 2", "unknown column 'gpuss'; the file has job_id, user, account, name, submit_time, start_time, "),
        ("gpuss * 2", "did you mean 'gpus'?"),
        ("(SELECT 8)", "it holds a subquery"),
        ("gpus IN (SELECT 8)", "it holds a subquery"),
        ("gpus FROM read_csv('/etc/passwd')", "it is more than one value"),
        ("gpus, 1", "it is more than one value"),
        ("gpus; DROP TABLE log", "it can't be read: Only SELECT"),
        ("gpus; SELECT 1", "it is more than one value"),
        ("gpus AS x", "it is more than one value"),
        ("DISTINCT gpus", "it is more than one value"),
        ("gpus WHERE true", "it is more than one value"),
        ("gpus LIMIT 1", "it is more than one value"),
        ("8 UNION SELECT 9", "it is more than one value"),
        ("*", "it holds a star"),
        ("COLUMNS('g.*')", "it holds a star"),
        ("sum(gpus)", "function 'sum' is not allowed"),
        ("sum(gpus) OVER ()", "it holds a window"),
        ("random()", "function 'random' is not allowed"),
        ("now()", "function 'now' is not allowed"),
        ("getenv('HOME')", "function 'getenv' is not allowed"),
        ("read_text('/etc/passwd')", "function 'read_text' is not allowed"),
        ("tirm(gpus)", "did you mean 'trim'?"),
        ("list_transform(string_split(gpus, ','), lambda x: x)", "it holds a lambda"),
        ("$1", "it holds a parameter"),
        ("log.gpus", "unknown column 'log.gpus'"),
        ("gpus +", "it can't be read: "),
        ("", "it can't be read: "),
        ("gpus) , (1", "it can't be read: "),
        ("name * 2", "'name' is text because of 'x' at "),
        ("CAST(gpus AS no_such_type)", "CAST(gpus AS no_such_type)"),
    ],
)
def test_an_expression_that_is_not_one_value_of_one_row_is_refused(jobs: Path, expression: str, message: str) -> None:
    pattern = "^" + re.escape("collectors.job_log.columns.gpus: ") + "(?s:.*)" + re.escape(message)
    with pytest.raises(ConfigError, match=pattern):
        collect(write(jobs, GOOD), columns={"gpus": expression})


@pytest.mark.parametrize("line", [2, 3, 9])
def test_a_value_an_expression_fails_on_is_named_by_line(jobs: Path, line: int) -> None:
    rows = [GOOD.replace("1,ada", f"{i},ada").replace(",n1,8,", ",n1,8 gpus,") for i in range(2, 12)]
    rows[line - 2] = rows[line - 2].replace("8 gpus", "many")
    with pytest.raises(BadRecord, match=re.escape(f"{jobs}:{line}: collectors.job_log.columns.gpus: ")):
        collect(write(jobs, *rows), columns={"gpus": "CAST(split_part(gpus, ' ', 1) AS INTEGER)"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cluster": "a/b"}, "collectors.job_log.cluster: found 'a/b'"),
        ({"separator": ""}, "collectors.job_log.separator: found ''"),
        ({"columns": {"gpuss": "gpus"}}, "collectors.job_log.columns.gpuss: unknown column; did you mean 'gpus'?"),
        ({"columns": {"team": "x"}}, 'a label is written "labels.team"'),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_read(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match="(?i)" + re.escape(message)):
        collect("nowhere.csv", **options)


# --- bad records ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1,ada", ",ada", "job_id: found nothing, expected an id"),
        ("T01:00:00Z", "T01:00:00", "start_time: found '2026-10-01T01:00:00', expected a time with a zone"),
        ("T00:00:00Z", "", "submit_time: found '2026-10-01', expected a time with a zone"),
        ("2026-10-01T02:00:00Z", "2026-02-30T02:00:00Z", "end_time: found '2026-02-30T02:00:00Z', expected a time"),
        ("2026-10-01T02:00:00Z", "1790816400", "end_time: found '1790816400', expected a time with a zone"),
        ("2026-10-01T02:00:00Z", "1790816400", "seconds are mapped by to_timestamp"),
        ("2026-10-01T02:00:00Z", "Unknown", "end_time: found 'Unknown', expected a time with a zone"),
        ("2026-10-01T02:00:00Z", "infinity", "end_time: found 'infinity'"),
        ("2026-10-01T01:00:00Z", "1970-01-01T00:00:00Z", "start_time: found '1970-01-01T00:00:00Z', expected a time after"),
        ("2026-10-01T02:00:00Z", "9999-12-31T23:59:59Z", "end_time: found '9999-12-31T23:59:59Z', expected a time after"),
        ("T02:00:00Z", "T00:59:59Z", "end_time: found '2026-10-01T00:59:59Z', expected a time that is not before start"),
        ("COMPLETED", "COMPLET", "state: found 'COMPLET', expected one of COMPLETED, "),
        ("COMPLETED", "RUNNING", "state: found 'RUNNING', expected the state of a job that has ended"),
        ("2026-10-01T02:00:00Z", "", "end_time: found nothing, expected a time, as the state says that the job has ended"),
        ("2026-10-01T01:00:00Z", "", "start_time: found nothing, expected a time, as the state says that the job has run"),
        (",8,", ",,", "gpus: found nothing, expected a number; 0 for a job without GPUs"),
        (",8,", ",-1,", "gpus: found '-1', expected a number from 0 to 10,000,000"),
        (",8,", ",eight,", "gpus: found 'eight', expected a number from 0"),
        (",8,", ",NaN,", "gpus: found 'NaN', expected a number from 0"),
        (",8,", ",inf,", "gpus: found 'inf', expected a number from 0"),
        (",8,", ",1e30,", "gpus: found '1e30', expected a number from 0"),
        (",8,", ",10000001,", "gpus: found '10000001', expected a number from 0"),
        (",8,", ",0.123,", "gpus: found '0.123', expected whole GPUs or halves"),
        (",n1,", ",n[1-,", "nodes: found 'n[1-', expected a host list: a '[' has no ']'"),
        (",n1,", ",n[3-1],", "nodes: found 'n[3-1]', expected a host list: range '3-1' runs backward"),
        (",n1,", ',",",', "nodes: found ',', expected a name in it"),
        ("COMPLETED,n1", "COMPLETED", "can't read the record: Expected Number of Columns: 12 Found: 11"),
        ("1,ada", '1,"ada', "can't read the record: Value with unterminated quote found"),
    ],
)
def test_a_bad_record_is_named_by_file_and_line(jobs: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    write(jobs, GOOD.replace("1,ada", "0,ada"), GOOD.replace(old, new, 1))
    with pytest.raises(BadRecord, match="^" + re.escape(f"{jobs}:3: ") + ".*" + re.escape(message)) as caught:
        collect(jobs)
    assert (caught.value.file, caught.value.line) == (str(jobs), 3)


@pytest.mark.parametrize(("column", "value"), [("cpus", "1.5"), ("cpus", "-1"), ("memory_gib", "x"), ("exit_code", "9.9")])
def test_a_bad_optional_number_is_named_too(jobs: Path, column: str, value: str) -> None:
    with pytest.raises(BadRecord, match=re.escape(f"{jobs}:2: {column}: found {value!r}, expected a ")):
        collect(write(jobs, GOOD + f",{value}", header=f"{HEADER},{column}"))


def test_the_line_of_a_record_counts_line_breaks_in_texts_and_blank_lines(jobs: Path) -> None:
    broken = GOOD.replace(",x,", ',"two\r\nlines\n\nand ""more""",').replace("1,ada", "9,ada")
    write(jobs, broken, "", GOOD, GOOD.replace("1,ada", "2,ada").replace(",8,", ",x,"))
    with pytest.raises(BadRecord, match=re.escape(f"{jobs}:8: gpus")):
        collect(jobs)


def test_how_many_records_are_refused_is_said(jobs: Path) -> None:
    rows = [GOOD.replace("1,ada", f"{i},ada").replace(",8,", ",x,") for i in range(5)]
    with pytest.raises(BadRecord, match=r":2: gpus: .*\(4 more records are refused\)"):
        collect(write(jobs, *rows))


def test_a_job_that_is_there_twice_is_named_with_both_lines(jobs: Path) -> None:
    write(jobs, GOOD, GOOD.replace("1,ada", "2,ada"), GOOD.replace("T02:00:00Z", "T03:00:00Z"))
    with pytest.raises(BadRecord, match=re.escape(f"{jobs}:4: job '1'") + ".*" + re.escape(f"{jobs}:2 and {jobs}:4")):
        collect(jobs)


def test_the_same_job_id_at_another_submit_time_is_another_run(jobs: Path) -> None:
    write(jobs, GOOD, GOOD.replace("T00:00:00Z", "T00:00:01Z"))
    assert len(collect(jobs)["jobs"]) == 2


def test_a_file_that_repeats_another_is_named(jobs: Path, tmp_path: Path) -> None:
    write(jobs, GOOD, GOOD.replace("1,ada", "2,ada"))
    again = tmp_path / "jobs-again.csv.gz"
    again.write_bytes(gzip.compress(write(tmp_path / "x", GOOD).read_bytes()))
    (tmp_path / "x").unlink()
    with pytest.raises(BadRecord, match=re.escape(f"all jobs of {again} are in {jobs} too: remove {again}")):
        collect(tmp_path)


def test_a_start_before_the_submit_is_shown_and_kept(jobs: Path) -> None:
    found = collect(write(jobs, GOOD.replace("T00:00:00Z", "T01:00:01Z")))
    assert len(found["placements"]) == 1
    assert found["notes"] == [
        {
            "kind": "start_before_submit",
            "detail": f"1 jobs start before they were submitted; first job '1' at {jobs}:2",
            "rows": 1,
        }
    ]


# --- nodes ------------------------------------------------------------------------------------------------------------

NODE_HEADER = "node,resource_id,gpus,gpu_type,cpus,memory_gib,start_time,end_time"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["n1,i,8,h100,,,,2026-02-01T00:00:00Z", "n1,j,8,h100,,,2026-01-31T23:59:59Z,"], "{nodes}:3: node 'n1' is there"),
        (["n1,i,8,h100,,,2026-01-01T00:00:00Z,", "n2,,,,,,,", "n1,i,8,h100,,,,"], "{nodes}:2: node 'n1' is there"),
        (["n1,i,8,h100,,,2026-01-01T00:00:00Z,", "n2,,,,,,,", "n1,i,8,h100,,,,"], "as in {nodes}:4; end one span"),
        (["n1,i,8,h100,,,2026-02-01T00:00:00Z,2026-02-01T00:00:00Z"], "{nodes}:2: end_time: found '2026-02-01T00:00:00Z'"),
        (["n1,i,8,h100,,,2026-02-01T00:00:00,"], "{nodes}:2: start_time: found '2026-02-01T00:00:00', expected a time with"),
        (["n1,i,-8,h100,,,,"], "{nodes}:2: gpus: found '-8', expected a number from 0"),
        (["n1,i,8,h100,many,,,"], "{nodes}:2: cpus: found 'many'"),
        ([",i,8,h100,,,,"], "{nodes}:2: node: found nothing, expected a name"),
        (["n[1-2],i,8,h100,,,,"], "{nodes}:2: node: found 'n[1-2]', expected one name"),
        (["n1x,i,8,h100,,,,"], "{jobs}:2: nodes: job '1' ran on 'n1', which is not in {nodes}; did you mean 'n1x'?"),
        ([], "{jobs}:2: nodes: job '1' ran on 'n1', which is not in {nodes}"),
    ],
)
def test_a_bad_nodes_file_is_named_by_line(jobs: Path, tmp_path: Path, rows: list[str], message: str) -> None:
    nodes = write(tmp_path / "nodes.csv", *rows, header=NODE_HEADER)
    with pytest.raises(BadRecord, match=re.escape(message.format(nodes=nodes, jobs=jobs))):
        collect(write(jobs, GOOD), nodes=Location(nodes))


@pytest.mark.parametrize(
    ("header", "message"),
    [("nod,gpus", "unknown column 'nod'; did you mean 'node'?"), ("gpus,pool", "no column 'node'; the file has gpus, pool")],
)
def test_a_nodes_file_with_a_wrong_header_is_refused(jobs: Path, tmp_path: Path, header: str, message: str) -> None:
    nodes = write(tmp_path / "nodes.csv", header=header)
    with pytest.raises(BadRecord, match=re.escape(f"{nodes}:1: {message}")):
        collect(write(jobs, GOOD), nodes=Location(nodes))


def test_a_node_that_is_another_resource_from_a_day_on_is_fine(jobs: Path, tmp_path: Path) -> None:
    rows = ["n1,j,8,h100,,,2026-02-01T00:00:00Z,", "n1,i,8,h100,,,,2026-02-01T00:00:00Z"]
    nodes = write(tmp_path / "nodes.csv", *rows, header=NODE_HEADER)
    assert len(collect(write(jobs, GOOD), nodes=Location(nodes))["nodes"]) == 2


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"", None, "the file is empty; expected a header"),
        (b"\n\n", 1, "found an empty line, expected a header"),
        (b"job_id,,gpus\n", 1, "column 2 of the header has no name"),
        (b"job_id,gpus,GPUs\n", 1, "columns 2 and 3 are both called 'GPUs'"),
        (b"job_id,rdspend_row\n", 1, "column 'rdspend_row': names that begin with 'rdspend_' are taken"),
        (b"job_id,start_time,stop,gpus\n", 1, "no column 'end_time'; the file has job_id, start_time, stop, gpus; "),
        (b"job_id,start_time,end_tme,gpus\n", 1, "did you mean 'end_tme'? Write end_time = "),
        (b"job_id|start_time|end_time|gpus\n", 1, "or set `separator`"),
        (b'job_id,"start_time\n', 1, "can't read the header"),
        (HEADER.encode("utf-16"), 1, "not UTF-8 at byte 1"),
        (HEADER.encode("utf-16-le"), 1, "has no name that can be read"),
        (b"\xfc" + HEADER.encode(), 1, "not UTF-8 at byte 1"),
        ((HEADER + "\n" + GOOD.replace("ada", "Müller")).encode("latin-1"), 2, "can't read the record: Invalid unicode"),
        (gzip.compress(HEADER.encode(), mtime=0), 1, "not UTF-8"),
    ],
)
def test_a_broken_file_is_refused_by_name(jobs: Path, content: bytes, line: int | None, message: str) -> None:
    jobs.write_bytes(content)
    with pytest.raises(BadRecord, match=re.escape(str(jobs)) + ".*" + re.escape(message)) as caught:
        collect(jobs)
    assert (caught.value.file, caught.value.line) == (str(jobs), line)


def many(count: int) -> bytes:
    rows = (GOOD.replace("1,ada", f"{i},{i * 7919 % 10007}", 1) for i in range(count))
    return "\n".join([HEADER, *rows, ""]).encode()


@pytest.mark.parametrize("keep", [5, 0.5, -1, -9])
def test_a_truncated_gzip_is_not_a_short_log(tmp_path: Path, keep: float) -> None:
    whole = gzip.compress(many(5000))
    path = tmp_path / "jobs.csv.gz"
    path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(BadRecord, match=re.escape(str(path)) + "(?i:.*gzip)"):
        collect(path)
    path.write_bytes(whole)
    assert len(collect(path)["jobs"]) == 5000


def test_a_damaged_gzip_is_not_a_log(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(many(5000)))
    whole[len(whole) // 2] ^= 0xFF
    path = tmp_path / "jobs.csv.gz"
    path.write_bytes(whole)
    with pytest.raises(BadRecord, match=re.escape(str(path))):
        collect(path)


def parquet(path: Path, select: str) -> Path:
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
    return path


PARQUET = (
    "SELECT i AS job_id, TIMESTAMPTZ '2026-10-01 01:00:00+00' + INTERVAL 1 HOUR * i AS start_time, "
    "TIMESTAMPTZ '2026-10-03 01:00:00+00' AS end_time, i / 2 AS gpus, ['n1', 'n2'] AS nodes, 7 AS tries FROM range(9) AS r(i)"
)


def test_parquet_is_read_with_its_own_types(tmp_path: Path) -> None:
    found = collect(parquet(tmp_path / "jobs.parquet", PARQUET))
    job = found["jobs"][3]
    assert (job["job_id"], job["gpu_parts"], job["start_time"]) == ("3", 30240, at("2026-10-01T04:00:00Z"))
    assert (job["origin_row"], job["labels"], job["node_count"]) == (4, {"tries": "7"}, 2)
    assert len(found["placements"]) == 18


def test_a_bad_record_of_a_parquet_file_is_named_by_row(tmp_path: Path) -> None:
    path = parquet(tmp_path / "jobs.parquet", PARQUET.replace("i / 2", "2 - i"))
    with pytest.raises(BadRecord, match=re.escape(f"{path}: row 4: gpus: found '-1', expected") + ".*5 more"):
        collect(path)


def test_a_parquet_time_without_a_zone_needs_a_mapping(tmp_path: Path) -> None:
    path = parquet(tmp_path / "jobs.parquet", PARQUET.replace("TIMESTAMPTZ '2026-10-03 01:00:00+00'", "TIMESTAMP '2026-10-03'"))
    with pytest.raises(BadRecord, match="row 1: end_time: found '2026-10-03 00:00:00', expected a time with a zone"):
        collect(path)
    found = collect(path, columns={"end_time": "timezone('Europe/Berlin', CAST(end_time AS TIMESTAMP))"})
    assert found["jobs"][0]["end_time"] == at("2026-10-02T22:00:00Z")


@pytest.mark.parametrize("keep", [0, 3, 0.5, -1])
def test_a_truncated_parquet_is_refused(tmp_path: Path, keep: float) -> None:
    path = parquet(tmp_path / "jobs.parquet", PARQUET)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(BadRecord, match=re.escape(str(path))):
        collect(path)


def test_a_folder_and_a_glob_are_all_their_files(tmp_path: Path) -> None:
    folder = tmp_path / "logs[1]"
    folder.mkdir()
    write(folder / "2026-09*.csv", GOOD)
    (folder / "2026-10.csv.gz").write_bytes(gzip.compress(many(3).replace(b"\n0,", b"\n100,").replace(b"\n1,", b"\n101,")))
    parquet(folder / "2026-11.parquet", PARQUET.replace("i AS job_id", "200 + i AS job_id"))
    (folder / ".hidden").write_text("no log")
    found = collect(folder)
    assert len(found["jobs"]) == 13
    assert {Path(job["origin_file"]).name for job in found["jobs"]} == {
        "2026-09*.csv",
        "2026-10.csv.gz",
        "2026-11.parquet",
    }
    assert len(collect(f"{tmp_path}/*/*.parquet")["jobs"]) == 9
    (folder / "notes.txt").write_text("about")
    with pytest.raises(ConfigError, match=re.escape("notes.txt: not a .csv, .csv.gz, .parquet file")):
        collect(folder)


def test_files_of_a_folder_may_have_different_columns(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", GOOD)
    write(tmp_path / "b.csv", "2026-10-09T00:00:00Z,4,2,2026-10-09T01:00:00Z", header="start_time,gpus,job_id,end_time")
    found = collect(tmp_path)
    assert [(job["job_id"], job["user"]) for job in found["jobs"]] == [("1", "ada"), ("2", None)]


@pytest.mark.parametrize("name", ["missing.csv", "*.csv", "empty", "jobs.txt/below.csv", "loop.csv"])
def test_a_missing_file_is_not_an_empty_log(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "jobs.txt").write_text("x")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    path = tmp_path / ("none" if name == "*.csv" else "") / name
    with pytest.raises(SourceUnavailable, match=re.escape(str(path))):
        collect(path)


def test_a_missing_nodes_file_is_not_a_log_without_nodes(jobs: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match=r"nodes\.csv: no such file"):
        collect(write(jobs, GOOD), nodes=Location(tmp_path / "nodes.csv"))


def test_another_separator_and_windows_line_ends_are_read(jobs: Path) -> None:
    text = f"\ufeff{HEADER}\r\n{GOOD}\r\n".replace(",", "|")
    jobs.write_bytes(text.encode())
    assert len(collect(jobs, separator="|")["jobs"]) == 1


def test_a_log_of_many_jobs_keeps_its_order_and_its_lines(jobs: Path) -> None:
    jobs.write_bytes(many(60_000))
    rows = [(job["job_id"], job["origin_row"]) for job in collect(jobs)["jobs"]]
    assert sorted(rows, key=lambda row: row[1]) == [(str(i), i + 1) for i in range(60_000)]


# --- anything at all --------------------------------------------------------------------------------------------------

FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

SECONDS = st.integers(0, 60 * 24 * 3600)
START = datetime(2026, 9, 15, tzinfo=UTC)
LISTS = st.sampled_from(["", "n1", "n[1-3]", "a b", "n[1-7],n9", "g[01-02]x[0-1]"])
HOSTS = {"": 1, "n1": 1, "n[1-3]": 3, "a b": 2, "n[1-7],n9": 8, "g[01-02]x[0-1]": 4}
GPUS = st.sampled_from([Fraction(n, d) for n in (0, 1, 3, 8) for d in (1, 2, 3, 7, 10, 64)])
RECORD = st.tuples(SECONDS, SECONDS, st.booleans(), LISTS, GPUS, st.text(max_size=8))


@FUZZ
@given(st.lists(RECORD, max_size=12))
def test_no_gpu_part_is_created_or_lost(tmp_path: Path, records: list[tuple[int, int, bool, str, Fraction, str]]) -> None:
    lines, expected = [], []
    for number, (since, length, runs, nodes, gpus, name) in enumerate(records):
        start, end = START + timedelta(seconds=since), START + timedelta(seconds=since + length)
        text = '"' + name.replace('"', '""').replace("\0", "").replace("\r", "") + '"'
        decimal = f"{gpus.numerator * 10**12 // gpus.denominator:013d}"
        stop = "" if runs else end.isoformat()
        lines.append(f'{number},{start.isoformat()},{stop},"{nodes}",{decimal[:-12]}.{decimal[-12:]},{text}')
        inside = runs or (end >= OCTOBER.start and (start < OCTOBER.end or end < OCTOBER.end))
        if inside:
            parts = gpus * GPU_PARTS
            assert parts.denominator == 1
            expected.append((str(number), int(parts), HOSTS[nodes], runs or length > 0, nodes != "" or parts > 0))
    path = tmp_path / "jobs.csv"
    path.write_bytes("\n".join(["job_id,start_time,end_time,nodes,gpus,name", *lines, ""]).encode("utf-8", "replace"))
    found = collect(path)
    assert sorted((job["job_id"], job["gpu_parts"]) for job in found["jobs"]) == sorted(e[:2] for e in expected)
    placed: dict[str, list[int]] = {}
    for placement in found["placements"]:
        assert set(placement) == set(PLACEMENTS.names)
        placed.setdefault(placement["job_key"].split("/")[1], []).append(placement["gpu_parts"])
    assert {job: sum(parts) for job, parts in placed.items()} == {e[0]: e[1] for e in expected if e[3] and e[4]}
    assert all(max(parts) - min(parts) <= 1 for parts in placed.values())
    assert all(len(placed[e[0]]) == e[2] for e in expected if e[3] and e[4])
    names = {node["node"] for node in found["nodes"]}
    assert {placement["node"] for placement in found["placements"]} <= names


CELLS = st.sampled_from(
    ["", "1", "-1", "0.5", "1e400", "x", '"', '"a""b"', "2026-10-01T00:00:00Z", "2026-10-01", "n[1-2]", "n[", "RUNNING", "\0"]
)


@FUZZ
@given(
    st.lists(st.sampled_from(HEADER.split(",")), min_size=1, max_size=6, unique=True),
    st.lists(st.lists(CELLS, max_size=12), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_table_is_read_or_refused_by_name(tmp_path: Path, extra: list[str], rows: list[list[str]], end: str) -> None:
    path = tmp_path / "jobs.csv"
    header = list(dict.fromkeys(["job_id", "start_time", "end_time", "gpus", *extra]))
    path.write_text(end.join([",".join(header), *(",".join(row[: len(header)]) for row in rows), ""]), newline="")
    try:
        found = collect(path)
    except RdspendError as error:
        assert str(path) in str(error)
        assert not isinstance(error, SourceUnavailable)
        return
    assert len(found["jobs"]) <= len(rows)


@FUZZ
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_by_name(tmp_path: Path, content: bytes) -> None:
    for name, prefix in (("jobs.csv", HEADER.encode() + b"\n"), ("jobs.csv.gz", b""), ("jobs.parquet", b"PAR1")):
        path = tmp_path / name
        path.write_bytes(prefix + content)
        try:
            collect(path)
        except RdspendError as error:
            assert str(path) in str(error)


WORDS_OF_SQL = """
    gpus nodes ( ) , ; + * / 1 'x' SELECT FROM read_text sum lower coalesce CASE WHEN THEN END -- /* */ [ ] :: AS OVER
"""
WORD = st.sampled_from(WORDS_OF_SQL.split())


@FUZZ
@given(st.lists(WORD, max_size=8).map(" ".join))
def test_any_expression_is_a_value_or_refused(tmp_path: Path, expression: str) -> None:
    path = write(tmp_path / "jobs.csv", GOOD)
    try:
        collect(path, columns={"gpus": expression})
    except (ConfigError, BadRecord) as error:
        assert "gpus" in str(error)
