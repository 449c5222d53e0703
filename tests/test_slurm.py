"""The slurm collector on recorded answers of Slurm 22.05 and 24.11, and on answers that can't be read."""

from __future__ import annotations

import os
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.slurm import (
    Node,
    Slurm,
    Span,
    parse_gres,
    parse_instances,
    parse_nodes,
    pool_notes,
    split_records,
    with_history,
)
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.schema import GPU_PARTS, JOBS, NODES, PLACEMENTS, Window

CAPTURES = Path(__file__).with_name("fixtures") / "slurm"
PAST = Window(datetime(2026, 11, 22, 11, tzinfo=UTC), datetime(2026, 11, 22, 12, tzinfo=UTC))
VERSIONS = ("22.05", "24.11")

# Stands in for all commands: answers from a folder, with the separator it is asked for, and notes the question.
REPLAY = r"""#!/bin/sh
from={answers}
name=$(basename "$0")
echo "$name $*" >>{log}
mark=$(printf '\037')
for argument in "$@"; do case $argument in --delimiter=*) mark=${{argument#--delimiter=}};; esac; done
case "$name $*" in
  "sacct --helpformat") cat "$from/sacct-helpformat.txt";;
  "sacct "*"-s R,S "*) sed "s/\x1f/$mark/g" "$from/sacct-running.txt";;
  "sacct "*) sed "s/\x1f/$mark/g" "$from/sacct-finished.txt";;
  "scontrol show config") cat "$from/scontrol-config.txt";;
  "scontrol -o show node") cat "$from/scontrol-nodes.txt";;
  "sdiag ") cat "$from/sdiag.txt";;
  "sacctmgr "*) cat "$from/sacctmgr-instances.txt";;
  *) echo "not recorded: $name $*" >&2; exit 64;;
esac
"""


def script(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


class Recorded:
    """A folder of commands that answer from a folder of answers."""

    def __init__(self, folder: Path, version: str) -> None:
        self.answers, self.bin, self.log = folder / "answers", folder / "bin", folder / "log"
        self.bin.mkdir()
        self.answers.mkdir()
        for answer in (CAPTURES / version).iterdir():
            (self.answers / answer.name).write_bytes(answer.read_bytes())
        for name in ("sacct", "scontrol", "sdiag", "sacctmgr"):
            script(self.bin, name, REPLAY.format(answers=self.answers, log=self.log))

    def change(self, answer: str, old: str, new: str) -> None:
        path = self.answers / f"{answer}.txt"
        text = path.read_bytes()
        assert old.encode() in text
        path.write_bytes(text.replace(old.encode(), new.encode(), 1))

    def collect(self, window: Window = PAST, **options: Any) -> dict[str, list[dict[str, Any]]]:
        return collect(Slurm("lab", bin_dir=str(self.bin), **options), window)  # type: ignore[arg-type]

    def jobs(self) -> dict[str, dict[str, Any]]:
        return {job["job_key"]: job for job in self.collect()["jobs"]}


def collect(collector: Slurm, window: Window) -> dict[str, list[dict[str, Any]]]:
    """Every delivery as rows, times as epoch seconds."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for delivery in collector.collect(window):
        rows: Any = delivery.rows
        columns = [
            f'CAST(epoch("{name}") AS BIGINT) AS "{name}"' if name.endswith("_time") else f'"{name}"' for name in rows.columns
        ]
        tables[delivery.table] = [
            dict(zip(rows.columns, row, strict=True)) for row in rows.project(", ".join(columns)).fetchall()
        ]
    return tables


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path, "24.11")


@pytest.fixture(params=VERSIONS)
def each_version(tmp_path: Path, request: pytest.FixtureRequest) -> Recorded:
    return Recorded(tmp_path, request.param)


# --- what recorded jobs come out as ---

# Written by hand from the records: key, then outcome, start, end, exit code, GPUs, GPU type, CPUs, MiB, nodes.
BY_HAND = {
    "22.05": {
        "lab/1/1795348203": ("timeout", 1795348204, 1795348292, 0, 1, "h100", 1, 1000, 1),
        "lab/4/1795348203": ("completed", 1795348204, 1795348208, 0, 24, "h100", 192, 192000, 3),
        "lab/7/1795348203": ("completed", 1795348204, 1795348205, 0, 0, None, 4, 2048, 1),
        "lab/12/1795348203": ("failed", 1795348207, 1795348207, 139, 1, "h100", 1, 1000, 1),
        "lab/15_6/1795348203": ("completed", 1795348211, 1795348217, 0, 1, "h100", 1, 1000, 1),
        "lab/17+1/1795348203": ("completed", 1795348210, 1795348212, 0, 1, "h100", 2, 2000, 1),
        "lab/19/1795348203": ("preempted", 1795348210, 1795348211, 99, 1, "h100", 1, 1000, 1),
        "lab/19/1795348211": ("preempted", 1795348332, 1795348333, 99, 1, "h100", 1, 1000, 1),
        "lab/19/1795348333": ("completed", 1795348454, 1795348455, 0, 1, "h100", 1, 1000, 1),
        "lab/21/1795348203": ("preempted", 1795348204, 1795348205, 0, 8, "a100", 1, 1000, 1),
        "lab/26/1795348205": ("cancelled", 1795348210, 1795348210, 0, 1, "h100", 1, 1000, 1),
        "lab/27/1795348205": ("cancelled", None, 1795348210, 0, 0, None, 0, 0, 0),
        "lab/33/1795348205": ("failed", 1795348210, 1795348212, 0, 1, "h100", 1, 1000, 1),
        "lab/24_1/1795348205": ("running", 1795348208, None, None, 2, "a100", 1, 1000, 1),
        "lab/32/1795348205": ("running", 1795348210, None, None, 1, "h100", 1, 1000, 1),
    },
    "24.11": {
        "lab/1/1795348269": ("timeout", 1795348269, 1795348345, 0, 1, "h100", 1, 1000, 1),
        "lab/2/1795348269": ("timeout", None, 1795348375, 1, 0, None, 0, 0, 0),
        "lab/4/1795348269": ("completed", 1795348269, 1795348274, 0, 24, "h100", 192, 192000, 3),
        "lab/7/1795348269": ("completed", 1795348269, 1795348271, 0, 0, None, 4, 2048, 1),
        "lab/12/1795348269": ("failed", 1795348271, 1795348271, 139, 1, "h100", 1, 1000, 1),
        "lab/14/1795348269": ("failed", 1795348271, 1795348271, 127, 1, "h100", 1, 1000, 1),
        "lab/15_6/1795348269": ("completed", 1795348275, 1795348281, 0, 1, "h100", 1, 1000, 1),
        "lab/17+0/1795348269": ("completed", 1795348275, 1795348278, 0, 4, "h100", 1, 1000, 1),
        "lab/17+1/1795348269": ("completed", 1795348275, 1795348278, 0, 1, "h100", 2, 2000, 1),
        "lab/19/1795348269": ("preempted", 1795348275, 1795348276, 99, 1, "h100", 1, 1000, 1),
        "lab/19/1795348276": ("preempted", 1795348397, 1795348398, 99, 1, "h100", 1, 1000, 1),
        "lab/19/1795348398": ("completed", 1795348519, 1795348520, 0, 1, "h100", 1, 1000, 1),
        "lab/21/1795348269": ("preempted", 1795348269, 1795348271, 0, 8, "a100", 1, 1000, 1),
        "lab/25/1795348270": ("cancelled", 1795348275, 1795348275, 0, 1, "h100", 1, 1000, 1),
        "lab/27/1795348270": ("cancelled", None, 1795348275, 0, 0, None, 0, 0, 0),
        "lab/33/1795348271": ("failed", 1795348275, 1795348277, 1, 1, "h100", 1, 1000, 1),
        "lab/23/1795348270": ("running", 1795348275, None, None, 2, "h100", 1, 1000, 1),
        "lab/32/1795348271": ("running", 1795348275, None, None, 1, "h100", 1, 1000, 1),
    },
}


@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_jobs_come_out_as_a_person_reads_them(tmp_path: Path, version: str) -> None:
    jobs = Recorded(tmp_path, version).jobs()
    for key, expected in BY_HAND[version].items():
        job = jobs[key]
        assert job["gpu_parts"] % GPU_PARTS == 0
        found = (job["outcome"], job["start_time"], job["end_time"], job["exit_code"], job["gpu_parts"] // GPU_PARTS)
        assert (*found, job["gpu_type"], job["cpus"], job["memory_mib"], job["node_count"]) == expected, key


def test_every_record_is_one_job(each_version: Recorded) -> None:
    # 41 and 4 lines; one comment, printed twice since the submit line has it too, breaks its record into three lines.
    jobs = each_version.collect()["jobs"]
    lines = sum(len((each_version.answers / f"sacct-{name}.txt").read_bytes().splitlines()) for name in ("finished", "running"))
    assert len(jobs) == lines - 2
    assert len({job["job_key"] for job in jobs}) == len(jobs)


def test_a_name_with_pipes_and_a_comment_with_a_newline_stay_whole(each_version: Recorded) -> None:
    (job,) = [job for job in each_version.collect()["jobs"] if job["job_id"] == "8"]
    assert job["name"] == "name with | pipe, `quotes` & ünïcode"
    assert job["labels"] == {"comment": "a|b \"c\" 'd' é\ttab, new\nline", "wckey": "llm-7b"}
    assert job["command"].endswith("--comment=a|b \"c\" 'd' é\ttab, new\nline")
    assert job["origin_row"] == [j["job_id"] for j in sorted_by_origin(each_version)].index("8") + 1


def sorted_by_origin(recorded: Recorded) -> list[dict[str, Any]]:
    finished = [job for job in recorded.collect()["jobs"] if job["end_time"]]
    assert sorted(job["origin_row"] for job in finished) == list(range(1, len(finished) + 1))
    return sorted(finished, key=lambda job: int(job["origin_row"]))


def test_all_columns_of_one_job(recorded: Recorded) -> None:
    (job,) = [job for job in recorded.collect()["jobs"] if job["job_id"] == "3"]
    assert job == {
        "job_key": "lab/3/1795348269",
        "cluster": "lab",
        "end_day": "2026-11-22",
        "origin_file": f"sacct -a -D -X -s BF,CA,CD,DL,F,NF,OOM,PR,RQ,RS,RV,TO -S uts{at(11) - 10} -E uts{at(12)}",
        "origin_row": 3,
        "job_id": "3",
        "array_job_id": None,
        "user": "trainer",
        "account": "pretrain",
        "queue": "gpu",
        "qos": "normal",
        "name": "train-ok",
        "command": "sbatch --parsable --uid=trainer --job-name=train-ok --output=/srv/lab/jobout/%x-%A_%a.out "
        "--gres=gpu:h100:2 -c 8 --mem=64G --time=30 --wckey=llm-7b "
        '--comment={"run_id":"r-0001","team":"pretrain","project":"llm-7b"}',
        "image": None,
        "work_dir": "/srv/lab/jobout",
        "labels": {
            "comment": '{"run_id":"r-0001","team":"pretrain","project":"llm-7b"}',
            "admin_comment": "purpose=final_training",
            "wckey": "llm-7b",
        },
        "submit_time": 1795348269,
        "start_time": 1795348269,
        "end_time": 1795348271,
        "outcome": "completed",
        "exit_code": 0,
        "requested_gpu_parts": 2 * GPU_PARTS,
        "gpu_parts": 2 * GPU_PARTS,
        "gpu_type": "h100",
        "cpus": 8,
        "memory_mib": 65536,
        "node_count": 1,
    }


def at(hour: int) -> int:
    return int(datetime(2026, 11, 22, hour, tzinfo=UTC).timestamp())


def test_what_the_outcome_does_not_say_stands_in_the_labels(recorded: Recorded) -> None:
    labels = {(job["job_id"], job["submit_time"]): job["labels"] or {} for job in recorded.collect()["jobs"]}
    assert labels["33", 1795348271]["state"] == "NODE_FAIL"
    assert labels["26", 1795348270]["state"] == "CANCELLED by 1003"
    assert labels["19", 1795348398]["restarts"] == "2"
    assert labels["15_4", 1795348269]["job_id_raw"] == "41"
    assert labels["17+1", 1795348269] | {"comment": ""} == {
        "comment": "",
        "wckey": "llm-7b",
        "job_id_raw": "18",
        "het_job_id": "17",
    }
    assert "state" not in labels["3", 1795348269]


def test_an_array_task_names_its_array_and_a_star_is_not_a_wckey(each_version: Recorded) -> None:
    jobs = {job["job_id"]: job for job in each_version.collect()["jobs"]}
    assert jobs["15_4"]["array_job_id"] == "15"
    assert jobs["17+1"]["array_job_id"] is None
    assert jobs["7"]["labels"] is None


def test_placements_share_a_job_evenly_over_its_nodes(each_version: Recorded) -> None:
    tables = each_version.collect()
    (job,) = [job for job in tables["jobs"] if job["job_id"] == "4"]
    placed = {row["node"]: row for row in tables["placements"] if row["job_key"] == job["job_key"]}
    assert sorted(placed) == ["node2", "node3", "node4"]
    assert {(row["gpu_parts"], row["cpus"], row["memory_mib"]) for row in placed.values()} == {(8 * GPU_PARTS, 64, 64000)}


def test_placements_add_up_to_their_jobs(each_version: Recorded) -> None:
    tables = each_version.collect()
    held: dict[str, int] = {}
    for row in tables["placements"]:
        held[row["job_key"]] = held.get(row["job_key"], 0) + row["gpu_parts"]
    lasting = {j["job_key"]: j["gpu_parts"] for j in tables["jobs"] if j["start_time"] not in (None, j["end_time"])}
    assert held == lasting


def test_gpus_that_do_not_divide_are_spread_in_exact_parts(recorded: Recorded) -> None:
    recorded.change("sacct-finished", "gres/gpu:h100=24,gres/gpu=24,mem=192000M", "gres/gpu=25,mem=192001M")
    tables = recorded.collect()
    placed = [row for row in tables["placements"] if row["job_key"] == "lab/4/1795348269"]
    assert sorted(row["gpu_parts"] for row in placed) == [25 * GPU_PARTS // 3] * 3
    assert [row["memory_mib"] for row in sorted(placed, key=lambda row: str(row["node"]))] == [64001, 64000, 64000]
    assert sum(row["cpus"] for row in placed) == 192


def test_columns_are_those_of_the_schema(each_version: Recorded) -> None:
    for table, rows in each_version.collect().items():
        declared = {"jobs": JOBS, "placements": PLACEMENTS, "nodes": NODES}[table]
        for row in rows:
            assert set(row) <= set(declared.names)
            full = {name: row.get(name) for name in declared.names} | {"source": "slurm"}
            assert [c.name for c in declared.columns if c.null is None and full[c.name] is None] == []


def test_a_job_that_still_waits_is_no_job_yet(recorded: Recorded) -> None:
    recorded.change(
        "sacct-running",
        "\x1fRUNNING\x1f0:0\x1f1795348270\x1f1795348275\x1fUnknown\x1fgpu",
        "\x1fPENDING\x1f0:0\x1f1795348270\x1fUnknown\x1fUnknown\x1fgpu",
    )
    assert "lab/23/1795348270" not in recorded.jobs()


def test_a_run_that_both_calls_name_has_ended(recorded: Recorded) -> None:
    running = (recorded.answers / "sacct-running.txt").read_text().splitlines(keepends=True)
    ended = running[0].replace("\x1fRUNNING\x1f", "\x1fCOMPLETED\x1f").replace("\x1fUnknown\x1f", "\x1f1795349000\x1f")
    with (recorded.answers / "sacct-finished.txt").open("a") as file:
        file.write(ended)
    job = recorded.jobs()["lab/23/1795348270"]
    assert (job["outcome"], job["end_time"]) == ("completed", 1795349000)


def test_running_jobs_are_asked_again_when_records_had_to_be_waited_for(recorded: Recorded) -> None:
    seen = recorded.answers / "seen"
    script(recorded.bin, "sdiag", f"#!/bin/sh\n[ -e {seen} ] && n=0 || n=3\n>{seen}\necho DBD Agent queue size: $n\n")
    recorded.collect()
    assert recorded.log.read_text().count("-s R,S") == 2


def test_a_cancelled_job_never_started_whatever_its_start_says(recorded: Recorded) -> None:
    recorded.change("sacct-finished", "\x1f1795348270\x1fNone\x1f1795348275", "\x1f1795348270\x1f1795348275\x1f1795348275")
    job = recorded.jobs()["lab/27/1795348270"]
    assert (job["start_time"], job["gpu_parts"], job["outcome"]) == (None, 0, "cancelled")


# --- what is asked ---


def test_a_past_window_asks_for_its_end_and_leaves_open_jobs_of_later(recorded: Recorded) -> None:
    deliveries = {d.table: (d.complete, d.open_complete, d.scope) for d in recorded_slurm(recorded).collect(PAST)}
    assert deliveries["jobs"] == (True, False, {"cluster": "lab"})
    asked = recorded.log.read_text()
    assert f"-s R,S -S uts{at(12)} -E uts{at(12) + 1}" in asked
    assert asked.count("sacct -a") == 2


def recorded_slurm(recorded: Recorded) -> Slurm:
    return Slurm("lab", bin_dir=str(recorded.bin))  # type: ignore[arg-type]


def test_windows_of_a_daemon_read_on_where_the_last_one_stopped(recorded: Recorded) -> None:
    now = datetime.now(UTC)
    for end in (now - timedelta(minutes=5), now):
        (jobs, *_) = recorded_slurm(recorded).collect(Window(end - timedelta(minutes=5), end))
    assert (jobs.complete, jobs.open_complete) == (True, True)
    asked = [line for line in recorded.log.read_text().splitlines() if "-s BF" in line]
    (first, second) = (line.partition(" -S uts")[2].split()[:3:2] for line in asked)
    assert int(first[1].removeprefix("uts")) - 10 == int(second[0])
    assert now.timestamp() - 11 <= int(second[1].removeprefix("uts")) <= datetime.now(UTC).timestamp() - 10


def test_a_window_that_ends_in_the_future_is_not_complete(recorded: Recorded) -> None:
    now = datetime.now(UTC)
    (jobs, *_) = recorded_slurm(recorded).collect(Window(now - timedelta(days=1), now + timedelta(days=1)))
    assert (jobs.complete, jobs.open_complete) == (False, True)


def test_a_window_in_the_future_is_not_an_empty_one(recorded: Recorded) -> None:
    now = datetime.now(UTC)
    with pytest.raises(SourceUnavailable, match="clock"):
        list(recorded_slurm(recorded).collect(Window(now + timedelta(hours=1), now + timedelta(hours=2))))


def test_no_jobs_is_an_answer(recorded: Recorded) -> None:
    (recorded.answers / "sacct-finished.txt").write_bytes(b"")
    (recorded.answers / "sacct-running.txt").write_bytes(b"")
    tables = recorded.collect()
    assert (tables["jobs"], tables["placements"], len(tables["nodes"])) == ([], [], 5)


def test_older_versions_are_not_asked_for_fields_they_lack(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path, "22.05")
    recorded.collect()
    asked = recorded.log.read_text()
    assert "SubmitLine" in asked and "Extra" not in asked and "Restarts" not in asked


def test_every_call_has_a_separator_of_its_own(recorded: Recorded) -> None:
    recorded.collect()
    marks = [word for word in recorded.log.read_text().split(" ") if word.startswith("--delimiter=\x1f")]
    assert len(marks) == len(set(marks)) == 2


def test_variables_of_the_caller_do_not_change_the_question(recorded: Recorded, tmp_path: Path) -> None:
    seen = tmp_path / "environment"
    script(recorded.bin, "sdiag", f"#!/bin/sh\nenv >{seen}\necho 'DBD Agent queue size: 0'\n")
    os.environ["SLURM_CLUSTERS"] = "other"
    try:
        recorded.collect(slurm_conf="/etc/other/slurm.conf")
    finally:
        del os.environ["SLURM_CLUSTERS"]
    environment = seen.read_text().splitlines()
    assert "SLURM_CONF=/etc/other/slurm.conf" in environment
    assert "SLURM_TIME_FORMAT=%s" in environment
    assert not [line for line in environment if line.startswith("SLURM_CLUSTERS")]


# --- what is refused ---


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\x1fTIMEOUT\x1f", "\x1fVANISHED\x1f", "State VANISHED is not known"),
        ("\x1f1795348269\x1f1795348269\x1f1795348345", "\x1fUnknown\x1f1795348269\x1f1795348345", "Submit Unknown"),
        ("\x1f1795348269\x1f1795348345", "\x1f2026-11-22T11:00:00\x1f1795348345", "Start 2026-11-22T11:00:00"),
        ("\x1f1795348269\x1f1795348345", "\x1f1795348269\x1fsoon", "End soon"),
        ("\x1f1795348269\x1f1795348345", "\x1f1795348269\x1f1795348268", "before it starts"),
        ("\x1f1795348269\x1f1795348345", "\x1f1795348269\x1fUnknown", "does not go with End Unknown"),
        ("\x1f0:0\x1f", "\x1fzero\x1f", "ExitCode zero"),
        ("gres/gpu=1,", "gres/gpu=-1,", "is not like cpu=8"),
        ("\x1fnode1\x1f", "\x1fnode[1-\x1f", "NodeList"),
        ("\x1f1\n", "\x1f2\n", "job id first and last|comes back"),
        ("1\x1f1\x1ftimeout", "x\x1f1\x1ftimeout", "comes back|first and last"),
    ],
)
def test_a_record_that_can_not_be_read_is_named(recorded: Recorded, old: str, new: str, message: str) -> None:
    recorded.change("sacct-finished", old, new)
    with pytest.raises(BadRecord, match=message) as caught:
        recorded.collect()
    assert caught.value.file is not None and caught.value.file.startswith("sacct -a -D -X -s BF,")
    assert caught.value.line == 1


def test_the_same_run_twice_is_refused(recorded: Recorded) -> None:
    path = recorded.answers / "sacct-finished.txt"
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(BadRecord, match="stand in an earlier record"):
        recorded.collect()


def test_a_record_with_a_field_too_many_is_refused(recorded: Recorded) -> None:
    recorded.change("sacct-finished", "\x1ftimeout\x1f", "\x1ftime\x1fout\x1f")
    with pytest.raises(BadRecord, match="expected 27 fields"):
        recorded.collect()


def test_a_comment_can_not_imitate_a_record(recorded: Recorded) -> None:
    # A recorded bare unit separator stands for the collector's own; these are the job's, made after those.
    forged = "x\x1e3\n999\x1e999\x1eforged"
    recorded.change("sacct-finished", "purpose=final_training", forged)
    text = (
        (recorded.bin / "sacct")
        .read_text()
        .replace('/$mark/g" "$from/sacct-finished', '/$mark/g; s/\\x1e/\\x1f/g" "$from/sacct-finished')
    )
    script(recorded.bin, "sacct", text)
    jobs = recorded.jobs()
    assert jobs["lab/3/1795348269"]["labels"]["admin_comment"] == forged.replace("\x1e", "\x1f")
    assert not [key for key in jobs if key.startswith("lab/999")]


def test_an_answer_that_stops_within_a_record_is_not_an_answer(recorded: Recorded) -> None:
    path = recorded.answers / "sacct-finished.txt"
    text = path.read_bytes()
    path.write_bytes(text[: text.index(b"new\nline") + 4])
    with pytest.raises(SourceUnavailable, match="stops in the middle of record 8"):
        recorded.collect()
    path.write_bytes(text[:-3])
    with pytest.raises(SourceUnavailable, match="stops in the middle"):
        recorded.collect()


def test_a_failed_command_is_not_an_empty_answer(recorded: Recorded) -> None:
    script(
        recorded.bin,
        "sacct",
        "#!/bin/sh\n[ $1 = --helpformat ] && exec cat "
        + str(recorded.answers / "sacct-helpformat.txt")
        + "\necho 'Connection refused' >&2\nexit 1\n",
    )
    with pytest.raises(SourceUnavailable, match="`sacct` ended with status 1 and said: Connection refused"):
        recorded.collect()


def test_a_command_that_hangs_is_left_after_the_time_out(recorded: Recorded) -> None:
    script(recorded.bin, "sdiag", "#!/bin/sh\nexec sleep 30\n")
    began = time.monotonic()
    with pytest.raises(SourceUnavailable, match=r"`sdiag` gave no answer within timeout_seconds = 0\.5"):
        recorded.collect(timeout_seconds=0.5)
    assert time.monotonic() - began < 5


def test_a_missing_command_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no command `sacct` in bin_dir .*set bin_dir"):
        list(Slurm("lab", bin_dir=str(tmp_path)).collect(PAST))  # type: ignore[arg-type]


def test_accounting_that_lags_behind_is_not_collected(recorded: Recorded) -> None:
    recorded.change("sdiag", "DBD Agent queue size: 0", "DBD Agent queue size: 17")
    with pytest.raises(SourceUnavailable, match="17 accounting records"):
        recorded.collect(settle_seconds=0)


def test_an_sdiag_without_the_queue_is_not_a_queue_of_none(recorded: Recorded) -> None:
    recorded.change("sdiag", "DBD Agent queue size: 0", "")
    with pytest.raises(SourceUnavailable, match="DBD Agent queue size"):
        recorded.collect()


def test_a_cluster_that_does_not_record_its_gpus_is_refused(recorded: Recorded) -> None:
    recorded.change("scontrol-config", "gres/gpu,gres/gpu:a100,gres/gpu:h100,", "")
    with pytest.raises(ConfigError, match="add gres/gpu to it"):
        recorded.collect()


@pytest.mark.parametrize("cluster", ["", "a b", "a/b", "-x"])
def test_a_cluster_name_has_to_be_a_name(cluster: str) -> None:
    with pytest.raises(ValueError, match="cluster"):
        Slurm(cluster)


# --- nodes ---


def test_nodes_have_what_slurm_says(each_version: Recorded) -> None:
    nodes = {node["node"]: node for node in each_version.collect()["nodes"]}
    assert sorted(nodes) == ["node1", "node2", "node3", "node4", "node5"]
    assert {name: node["gpu_type"] for name, node in nodes.items()}["node5"] == "a100"
    assert nodes["node1"] | {"resource_id": None, "instance_type": None} == {
        "cluster": "lab",
        "node": "node1",
        "resource_id": None,
        "start_time": None,
        "end_time": None,
        "gpu_parts": 8 * GPU_PARTS,
        "gpu_type": "h100",
        "cpus": 64,
        "memory_mib": 1000000,
        "instance_type": None,
        "queue": "gpu,all",
        "pool": None,
        "origin_file": "scontrol -o show node",
        "origin_row": 1,
    }


def test_a_node_is_the_instance_that_it_says(recorded: Recorded) -> None:
    nodes = {node["node"]: node for node in recorded.collect()["nodes"]}
    assert (nodes["node1"]["resource_id"], nodes["node1"]["instance_type"]) == ("i-00000000000000001", "p5.48xlarge")


def test_a_bill_may_name_nodes_as_slurm_does(each_version: Recorded) -> None:
    nodes = each_version.collect(resource_id="node_name")["nodes"]
    assert {(node["node"], node["resource_id"]) for node in nodes} == {(f"node{n}", f"node{n}") for n in range(1, 6)}


def test_the_nodes_of_a_partition_share_the_pool_that_is_configured_for_it(each_version: Recorded) -> None:
    pooled = {node["node"]: node["pool"] for node in each_version.collect(pools={"all": "cr-1"})["nodes"]}
    assert set(pooled.values()) == {"cr-1"}
    some = {node["node"]: node["pool"] for node in each_version.collect(pools={"gpu": "cr-1"})["nodes"]}
    assert some["node1"] == "cr-1"
    assert {name for name, pool in some.items() if pool is None} == {
        node["node"] for node in each_version.collect()["nodes"] if "gpu" not in node["queue"].split(",")
    }


def test_a_node_in_two_pools_is_refused(each_version: Recorded) -> None:
    with pytest.raises(ConfigError, match="node 'node1' is in partitions gpu,all and so in the pools cr-1 and cr-2"):
        each_version.collect(pools={"gpu": "cr-1", "all": "cr-2"})


def test_a_pool_of_a_partition_without_nodes_is_noted(each_version: Recorded) -> None:
    assert pool_notes(parse_nodes((CAPTURES / "22.05" / "scontrol-nodes.txt").read_text(), "gpu"), {"h200": "cr-1"}) == [
        ("unknown_partition", "h200", "no node is in it, so none is in the pool 'cr-1'", 0)
    ]


def test_a_node_was_each_instance_of_its_history_and_then_the_one_it_is(recorded: Recorded) -> None:
    (recorded.answers / "sacctmgr-instances.txt").write_text(
        "lab24|node1|100|200|i-old|p4d.24xlarge\n"
        "lab24|node1|200|300|i-new|p5.48xlarge\n"
        "other|node1|100|Unknown|i-other|p5.48xlarge\n"
        "lab24|node1|250|250||\n"
        "lab24|gone|100|400|i-gone|p5.48xlarge\n"
        "lab24|node2|100|Unknown|i-2|p5.48xlarge\n"
    )
    spans = {}
    for node in recorded.collect()["nodes"]:
        spans.setdefault(node["node"], []).append((node["start_time"], node["end_time"], node["resource_id"]))
    assert spans["node1"] == [(100, 200, "i-old"), (200, 300, "i-new"), (300, None, "i-00000000000000001")]
    assert spans["node2"] == [(100, None, "i-2")]
    assert spans["gone"] == [(100, 400, "i-gone")]
    assert spans["node3"] == [(None, None, "i-00000000000000003")]


def test_a_node_that_is_gone_has_no_known_capacity() -> None:
    (node,) = with_history([], [Span("gone", 100, 400, "i-gone", None, 1)])
    assert (node.gpus, node.cpus) == (None, None)


def test_a_node_can_not_be_two_instances_at_once() -> None:
    with pytest.raises(BadRecord, match="node1 is i-2 from 150, but still i-1 until 200"):
        with_history([], [Span("node1", 100, 200, "i-1", None, 1), Span("node1", 150, None, "i-2", None, 2)])


def test_events_of_one_instance_are_one_span() -> None:
    history = [
        Span("n", 100, 200, "i-1", None, 1),
        Span("n", 200, 300, "i-1", None, 2),
        Span("n", 250, None, "i-1", None, 3),
    ]
    assert [(node.start, node.end) for node in with_history([Node("n", 1)], history)] == [(100, None)]


@pytest.mark.parametrize("line", ["lab|n|100|200|i-1", "lab|n|soon|200|i-1|t", "lab|n|100|later|i-1|t", "lab|n|200|100|i-1|t"])
def test_an_instance_that_can_not_be_read_is_named(line: str) -> None:
    with pytest.raises(BadRecord, match="sacctmgr show instance:1"):
        parse_instances(line, "lab")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(null)", (0, None)),
        ("gpu:8", (8, None)),
        ("gpu:h100:8", (8, "h100")),
        ("gpu:h100:8(S:0-1)", (8, "h100")),
        ("gpu:h100:8(S:0,1),nic:2", (8, "h100")),
        ("gpu:a100:4(S:0),gpu:v100:2(S:1)", (6, None)),
        ("gpu:1g.10gb:7", (7, "1g.10gb")),
        ("craynetwork:4", (0, None)),
        ("gpu", (1, None)),
        ("gpu:h100", (1, "h100")),
    ],
)
def test_gres_counts_the_gpus_of_a_node(text: str, expected: tuple[int, str | None]) -> None:
    assert parse_gres(text, "gpu") == expected


def test_a_reason_can_not_change_a_node() -> None:
    text = (CAPTURES / "22.05" / "scontrol-nodes.txt").read_text()
    changed = text.replace("Reason=swap", "Reason=Gres=gpu:b200:99\nRealMemory=1 swap", 1)
    assert changed != text
    assert parse_nodes(changed, "gpu") == parse_nodes(text, "gpu")


@pytest.mark.parametrize(
    "old_new",
    [
        ("CPUTot=64", "CPUTot=many"),
        ("Gres=gpu:h100:8", "Gres=gpu::"),
        ("NodeName=node2", "NodeName=node1"),
        ("NodeName=node1", "Nodename=node1"),
    ],
)
def test_a_node_that_can_not_be_read_is_refused(old_new: tuple[str, str]) -> None:
    text = (CAPTURES / "22.05" / "scontrol-nodes.txt").read_text()
    with pytest.raises(BadRecord, match="scontrol -o show node"):
        parse_nodes(text.replace(*old_new, 1), "gpu")


# --- records out of text ---

MARK = "\x1fabc"
TEXTS = st.text(st.sampled_from("ab|\t\n\r\x00\x1fé\\'\",#"), max_size=12).map(str.encode) | st.binary(max_size=8)


def written(records: list[tuple[int, bytes, bytes]]) -> list[bytes]:
    mark = MARK.encode()
    return [mark.join((b"%d" % job, one, two, b"%d" % job)) + b"\n" for job, one, two in records]


def read(path: Path, text: bytes) -> list[list[str]]:
    """All records, as the bulk reader and the list of the others hold them."""
    path.write_bytes(text)
    records = split_records(path, MARK, 4, "sacct")
    lines = records.path.read_bytes().split(b"\n")[:-1]
    assert len(lines) == records.count
    return [records.others.get(n) or line.decode().split(MARK) for n, line in enumerate(lines, 1)]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 99), TEXTS, TEXTS), max_size=6), st.data())
def test_a_text_that_is_cut_gives_a_part_of_its_records_or_none(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[int, bytes, bytes]], data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut"
    pieces = written(records)
    whole = [[field.decode(errors="backslashreplace") for field in piece[:-1].split(MARK.encode())] for piece in pieces]
    assert read(path, b"".join(pieces)) == whole
    length = data.draw(st.integers(0, sum(map(len, pieces))))
    boundaries = [sum(map(len, pieces[:n])) for n in range(len(pieces) + 1)]
    if length in boundaries:
        assert read(path, b"".join(pieces)[:length]) == whole[: boundaries.index(length)]
    else:
        with pytest.raises(SourceUnavailable):
            read(path, b"".join(pieces)[:length])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([b"1", b"2", MARK.encode(), b"\n", b"\x1f", b"a", b"\xff", b"\r"]), max_size=30))
def test_any_bytes_are_read_in_full_or_refused(tmp_path_factory: pytest.TempPathFactory, tokens: list[bytes]) -> None:
    text = b"".join(tokens)
    try:
        records = read(tmp_path_factory.getbasetemp() / "any", text)
    except (BadRecord, SourceUnavailable):
        return
    again = "".join(MARK.join(fields) + "\n" for fields in records)
    assert again == text.decode(errors="backslashreplace")


def test_record_numbers_hold_over_many_lines_with_broken_ones_between(recorded: Recorded) -> None:
    path = recorded.answers / "sacct-finished.txt"
    first = path.read_text().splitlines()[0].split("\x1f")
    lines = []
    for n in range(1, 60_001):
        fields = [str(n), str(n), *first[2:-1], str(n)]
        fields[19] = f"one\ntwo {n}" if n % 997 == 0 else "carriage\rreturn" if n % 1009 == 0 else ""
        lines.append("\x1f".join(fields) + "\n")
    path.write_text("".join(lines), newline="")
    jobs = [job for job in recorded.collect()["jobs"] if job["end_time"]]
    assert len(jobs) == 60_000
    assert all(job["job_id"] == str(job["origin_row"]) for job in jobs)
    comments = {int(job["job_id"]): (job["labels"] or {}).get("comment") for job in jobs}
    assert comments[997 * 3] == f"one\ntwo {997 * 3}"
    assert comments[1009] == "carriage\rreturn"
