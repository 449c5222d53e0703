"""The slurm collector against a real Slurm: what it delivers is what Slurm's own JSON and scontrol say."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from servers.slurm.cluster import Cluster, running_cluster

from collectors.slurm import Slurm
from rdspend.errors import SourceUnavailable
from rdspend.schema import GPU_PARTS, Window

pytestmark = pytest.mark.server

STRANGE_NAME = "unit\x1fseparator"
STRANGE_COMMENT = "1\x1f2\n3\x1f4\r5 | 6"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as cluster:
        cluster.submit()
        cluster.run(
            "sbatch", "--uid=trainer", f"--job-name={STRANGE_NAME}", f"--comment={STRANGE_COMMENT}",
            "--chdir=/", "--output=/dev/null", "--gres=gpu:1", "--wrap", "sleep 1",
        )  # fmt: skip
        until(cluster, lambda: STRANGE_NAME not in cluster.run("squeue", "-h", "-o", "%j"), "the last job")
        time.sleep(Slurm("lab").settle_seconds)
        yield cluster


def until(cluster: Cluster, done: Any, what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"{what} took more than {seconds} s"
        time.sleep(0.2)


def collector(cluster: Cluster, **options: Any) -> Slurm:
    return Slurm("lab", slurm_conf=str(cluster.slurm_conf), **options)  # type: ignore[arg-type]


def last_hour() -> Window:
    now = datetime.now(UTC)
    return Window(now - timedelta(hours=1), now)


def collect(slurm: Slurm, window: Window) -> dict[str, list[dict[str, Any]]]:
    tables = {}
    for delivery in slurm.collect(window):
        rows: Any = delivery.rows
        columns = [
            f'CAST(epoch("{name}") AS BIGINT) AS "{name}"' if name.endswith("_time") else f'"{name}"' for name in rows.columns
        ]
        tables[delivery.table] = [
            dict(zip(rows.columns, row, strict=True)) for row in rows.project(", ".join(columns)).fetchall()
        ]
    return tables


def truth(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """What `sacct --json` says of every run that started, by our key."""
    text = cluster.run("sacct", "-a", "-D", "-S", "now-2hours", "-E", "now+1hours", "--json")
    runs = {}
    for job in json.loads(text)["jobs"]:
        held = {(tres["type"], tres["name"]): tres["count"] for tres in job["tres"]["allocated"]}
        job_id = str(job["job_id"])
        if job["array"]["task_id"] is not None:
            job_id = f"{job['array']['job_id']}_{job['array']['task_id']}"
        if job["het"]["job_offset"] is not None:
            job_id = f"{job['het']['job_id']}+{job['het']['job_offset']}"
        if job["state"]["current"] != "PENDING" and job["time"]["start"]:
            runs[f"lab/{job_id}/{job['time']['submission']}"] = {
                "user": job["association"]["user"],
                "account": job["account"],
                "queue": job["partition"],
                "name": job["name"],
                "comment": job["comment"]["job"] or None,
                "wckey": job["wckey"]["wckey"] or None,
                "start_time": job["time"]["start"],
                "end_time": job["time"]["end"] or None,
                "gpus": held.get(("gres", "gpu"), 0),
                "cpus": held["cpu", None],
                "memory_mib": held["mem", None],
                "hosts": cluster.run("scontrol", "show", "hostnames", job["nodes"]).split(),
            }
    return runs


def test_jobs_and_placements_are_those_of_slurms_own_json(cluster: Cluster) -> None:
    tables = collect(collector(cluster), last_hour())
    hosts: dict[str, list[str]] = {}
    for row in tables["placements"]:
        hosts.setdefault(row["job_key"], []).append(row["node"])
    started = {job["job_key"]: job for job in tables["jobs"] if job["start_time"] is not None}
    expected = truth(cluster)
    assert set(started) ^ set(expected) == set()
    assert len(started) > 35
    for key, run in expected.items():
        job, labels = started[key], started[key]["labels"] or {}
        for column in ("user", "account", "queue", "name", "start_time", "end_time", "cpus", "memory_mib"):
            assert job[column] == run[column], (key, column)
        assert job["gpu_parts"] == run["gpus"] * GPU_PARTS, key
        assert (labels.get("comment"), labels.get("wckey")) == (run["comment"], run["wckey"]), key
        assert job["node_count"] == len(run["hosts"]), key
        lasted = run["end_time"] is None or run["end_time"] > run["start_time"]
        assert sorted(hosts.get(key, [])) == (sorted(run["hosts"]) if lasted else []), key


def test_states_of_a_real_slurm_become_outcomes(cluster: Cluster) -> None:
    jobs = collect(collector(cluster), last_hour())["jobs"]
    found: dict[str, set[str]] = {}
    for job in jobs:
        found.setdefault(job["name"], set()).add(job["outcome"])
    assert found["train-ok"] == {"completed"}
    assert found["fail-exit3"] == found["fail-signal"] == found["node-fail"] == {"failed"}
    assert found["cancel-running"] == found["cancel-self"] == found["cancel-pending"] == {"cancelled"}
    assert found["running-1"] == found["suspended"] == {"running"}
    assert found["sweep"] == {"completed", "failed"}
    assert "preempted" in found["preempted"] and "preempted" in found["requeue-exit"]
    codes = {job["name"]: job["exit_code"] for job in jobs}
    assert (codes["fail-exit3"], codes["fail-signal"], codes["no-such-program"]) == (3, 128 + signal.SIGSEGV, 127)


def test_strange_text_of_a_job_stays_in_its_job(cluster: Cluster) -> None:
    jobs = collect(collector(cluster), last_hour())["jobs"]
    (strange,) = [job for job in jobs if job["name"] == STRANGE_NAME]
    assert strange["labels"]["comment"] == STRANGE_COMMENT
    (pipes,) = [job for job in jobs if job["name"].startswith("name with")]
    assert pipes["labels"]["comment"] == "a|b \"c\" 'd' é\ttab, new\nline"


def test_a_window_between_start_and_end_of_a_job_sees_it_with_its_true_end(cluster: Cluster) -> None:
    jobs = {job["job_key"]: job for job in collect(collector(cluster), last_hour())["jobs"]}
    (job,) = [
        job for job in jobs.values() if job["job_id"] == "15_6" or (job["name"] == "sweep" and job["job_id"].endswith("_6"))
    ]
    inside = datetime.fromtimestamp(job["start_time"] + 2, UTC)
    tables = collect(collector(cluster, settle_seconds=0), Window(inside, inside + timedelta(seconds=2)))
    seen = {row["job_key"]: row for row in tables["jobs"]}
    assert seen[job["job_key"]]["end_time"] == job["end_time"]
    running_then = {
        key
        for key, row in jobs.items()
        if row["start_time"] is not None
        and row["start_time"] <= inside.timestamp() + 2
        and (row["end_time"] is None or row["end_time"] >= inside.timestamp())
        and row["start_time"] != row["end_time"]
    }
    assert running_then <= set(seen)
    assert len(seen) < len(jobs)


def test_short_windows_read_each_finished_job_once(cluster: Cluster) -> None:
    jobs = [job for job in collect(collector(cluster), last_hour())["jobs"] if job["end_time"]]
    first, last = min(j["end_time"] for j in jobs), max(j["end_time"] for j in jobs)
    read: list[str] = []
    step = timedelta(seconds=(last - first) // 3 + 1)
    start = datetime.fromtimestamp(first, UTC)
    for n in range(4):
        window = Window(start + n * step, start + (n + 1) * step)
        ended = [j for j in collect(collector(cluster, settle_seconds=0), window)["jobs"] if j["end_time"]]
        read += [j["job_key"] for j in ended if window.start.timestamp() <= j["end_time"] < window.end.timestamp()]
    assert sorted(read) == sorted(job["job_key"] for job in jobs)


def test_nodes_are_those_of_scontrol(cluster: Cluster) -> None:
    nodes = {node["node"]: node for node in collect(collector(cluster), last_hour())["nodes"]}
    expected = cluster.run("sinfo", "-N", "-h", "-o", "%N|%c|%m|%G").split()
    for line in set(expected):
        name, cpus, memory, gres = line.split("|")
        node = nodes[name]
        assert (node["cpus"], node["memory_mib"]) == (int(cpus), int(memory))
        assert gres.startswith(f"gpu:{node['gpu_type']}:{node['gpu_parts'] // GPU_PARTS}")
    assert len(nodes) == len(set(expected)) == 5


def test_a_hung_slurmdbd_is_left_after_our_own_time_out(cluster: Cluster) -> None:
    cluster.signal("slurmdbd", signal.SIGSTOP)
    began = time.monotonic()
    try:
        with pytest.raises(SourceUnavailable, match="timeout_seconds = 2"):
            collect(collector(cluster, timeout_seconds=2), last_hour())
    finally:
        cluster.signal("slurmdbd", signal.SIGCONT)
    assert time.monotonic() - began < 10
    assert collect(collector(cluster), last_hour())["jobs"]


def test_a_job_that_ends_while_slurmdbd_is_away_is_never_lost(cluster: Cluster) -> None:
    (job,) = [job for job in collect(collector(cluster), last_hour())["jobs"] if job["name"] == "running-1"]
    cluster.signal("slurmdbd", signal.SIGTERM)
    pid = cluster.folder / "pid" / "slurmdbd.pid"
    until(cluster, lambda: not pid.exists() or "rc=1" in ping(cluster), "the end of slurmdbd")
    began = time.monotonic()
    with pytest.raises(SourceUnavailable, match="`sacct` ended with status 1"):
        collect(collector(cluster), last_hour())
    assert time.monotonic() - began < 10
    cluster.run("scancel", job["job_id"])
    until(cluster, lambda: job["job_id"] not in cluster.run("squeue", "-h", "-o", "%A").split(), "the end of the job")
    pid.unlink(missing_ok=True)
    cluster.start()
    # From here on an answer must have the end of the job; until slurmctld has handed it over there is none.
    answers = 0
    end = time.monotonic() + 60
    while not answers:
        assert time.monotonic() < end, "slurmctld never handed its records over"
        try:
            jobs = {j["job_key"]: j for j in collect(collector(cluster, settle_seconds=1), last_hour())["jobs"]}
        except SourceUnavailable:
            time.sleep(0.5)
        else:
            assert jobs[job["job_key"]]["outcome"] == "cancelled"
            answers += 1


def ping(cluster: Cluster) -> str:
    return cluster.run("bash", "-c", "sacctmgr -n list cluster >/dev/null 2>&1; echo rc=$?")
