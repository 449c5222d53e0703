"""The mlflow collector against a server that answers as MLflow 3 does: pages, faults, and very many runs."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tracker_rows import OCTOBER, collected

from collectors.mlflow import Mlflow
from rdspend.asking import TRIES
from rdspend.config import load
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.schema import Location
from rdspend.tracking import Keys

START = 1_790_841_600_000  # 2026-10-01T08:00:00Z


def pairs(**values: str) -> list[dict[str, str]]:
    return [{"key": key.replace("__", "."), "value": value} for key, value in values.items()]


def run(
    run_id: str, *, params: Any = (), tags: Any = (), inputs: Any = None, outputs: Any = None, **info: Any
) -> dict[str, Any]:
    known = {
        "run_id": run_id,
        "run_uuid": run_id,
        "run_name": run_id,
        "experiment_id": "1",
        "user_id": "root",
        "status": "FINISHED",
    }
    times = {"start_time": START, "end_time": START + 3_600_000, "lifecycle_stage": "active"}
    uri = f"mlflow-artifacts:/1/{run_id}/artifacts"
    return {
        "info": {**known, **times, "artifact_uri": uri, **info},
        "data": {"metrics": [{"key": "loss", "value": 1.5, "step": 3}], "params": list(params), "tags": list(tags)},
        "inputs": inputs or {},
        "outputs": outputs or {},
    }


def version(name: str, number: str, **more: Any) -> dict[str, Any]:
    known = {"creation_timestamp": START, "last_updated_timestamp": START, "current_stage": "None", "status": "READY"}
    return {"name": name, "version": number, **known, "source": f"s3://models/{name}/{number}", "run_id": "a", **more}


@dataclass
class Server:
    """What a tracking server holds. `faults`: (status, body, headers) answered first, one a request."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    experiments: dict[str, str] = field(default_factory=lambda: {"1": "pretrain"})
    models: list[dict[str, Any]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    authorization: str | None = None
    faults: deque[Any] = field(default_factory=deque)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    made: int = 0

    def page(self, path: str, question: dict[str, Any]) -> tuple[int, Any]:
        name = path.removeprefix("/api/2.0/mlflow/")
        rows: Any = {
            "experiments/search": [{"experiment_id": i, "name": n} for i, n in self.experiments.items()],
            "registered-models/search": self.models,
            "model-versions/search": self.versions,
            "runs/search": [
                r for r in self.runs if r.get("info", {}).get("experiment_id") in question.get("experiment_ids", [])
            ],
        }.get(name)
        if rows is None:
            return 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": f"no {name}"}
        first, size = int(question.get("page_token") or 0), int(question["max_results"])
        if name == "runs/search" and self.made:
            rows, total = [run(f"r{n}", params=PARAMS) for n in range(first, min(first + size, self.made))], self.made
        else:
            rows, total = rows[first : first + size], len(rows)
        field_ = name.removesuffix("/search").replace("-", "_")
        more = {"next_page_token": str(first + size)} if first + size < total else {}
        return 200, {**({field_: rows} if rows else {}), **more}


PARAMS = pairs(output_dir="/ckpt/x", slurm_job_id="17", **{f"hyper_parameter_{n}": "0.000123" for n in range(20)})


@contextmanager
def served(server: Server) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 2**16

        def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body, indent=2).encode()
            self.send_response(status)
            for name, value in {"content-length": str(len(data)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def serve(self, question: dict[str, Any]) -> None:
            path = urlsplit(self.path).path
            server.asked.append((path, question))
            if server.faults and (fault := server.faults.popleft()) is not None:
                return self.answer(*fault)
            if self.headers.get("authorization") != server.authorization:
                return self.answer(401, {"message": f"You are not authenticated: {self.headers.get('authorization')}"})
            return self.answer(*server.page(path, question))

        def do_GET(self) -> None:
            self.serve({name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()})

        def do_POST(self) -> None:
            self.serve(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def rows_of(server: Server, **options: Any) -> dict[str, list[dict[str, Any]]]:
    with served(server) as address:
        return collected(Mlflow(base_url=address, **options))


def one(server: Server, **options: Any) -> dict[str, Any]:
    (row,) = rows_of(server, **options)["tracked_runs"]
    return row


def artifacts(found: dict[str, list[dict[str, Any]]]) -> set[tuple[str, str, str, str]]:
    return {(r["run_id"], r["direction"], r["kind"], r["uri"]) for r in found["artifacts"]}


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_run_is_a_row_with_its_job_its_user_and_the_address_where_a_person_sees_it() -> None:
    tags = pairs(slurm_job_id="101", mlflow__user="ann", mlflow__parentRunId="p")
    with served(Server([run("a", params=pairs(lr="3e-4"), tags=tags)])) as address:
        (row,) = collected(Mlflow(base_url=address + "/", cluster="h100"))["tracked_runs"]
    assert row == {
        "origin_file": f"{address}/#/experiments/1/runs/a",
        "origin_row": 1,
        "run_id": "a",
        "parent_run_id": "p",
        "name": "a",
        "experiment": "pretrain",
        "user": "ann",
        "cluster": "h100",
        "job_id": "101",
        "start_time": "2026-10-01T08:00:00.000Z",
        "end_time": "2026-10-01T09:00:00.000Z",
        "status": "FINISHED",
        "labels": {"lr": "3e-4", "slurm_job_id": "101", "mlflow.user": "ann", "mlflow.parentRunId": "p"},
    }


@pytest.mark.parametrize(
    ("labels", "job"),
    [
        ({"SLURM_JOB_ID": "7"}, "7"),
        ({"env.SLURM_JOB_ID": "7"}, "7"),
        ({"job_id": "8", "slurm_job_id": "9"}, "9"),
        ({"slurm_job_id": " ", "job_id": "8"}, "8"),
        ({"slurm_job_id": "7.0"}, "7"),
        ({"slurm_job_id": "77", "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "7"}, "70_7"),
        ({"not_job_id": "7", "job_id_of_parent": "6"}, None),
    ],
)
def test_the_job_is_the_one_that_the_first_key_names(labels: dict[str, str], job: str | None) -> None:
    for where in ({"params": pairs(**labels)}, {"tags": pairs(**labels)}):
        assert one(Server([run("a", **where)]))["job_id"] == job


def test_keys_of_the_organisation_take_the_place_of_ours() -> None:
    server = Server([run("a", params=pairs(job_id="8", ticket="7", start_from="/ckpt/1", output_dir="/out"))])
    found = rows_of(server, keys=Keys(job_id=("ticket",), checkpoints_read=("start_from",)))
    assert found["tracked_runs"][0]["job_id"] == "7"
    assert {("a", "read", "checkpoint", "/ckpt/1"), ("a", "write", "checkpoint", "/out")} < artifacts(found)


def test_a_run_says_its_cluster_itself_and_one_without_a_job_has_none() -> None:
    server = Server(
        [
            run("a", tags=pairs(slurm_job_id="1", cluster="b200")),
            run("b", tags=pairs(slurm_job_id="2")),
            run("c"),
        ]
    )
    found = rows_of(server, cluster="h100")
    assert {row["run_id"]: row["cluster"] for row in found["tracked_runs"]} == {"a": "b200", "b": "h100", "c": None}
    (note,) = found["notes"]
    assert (note["kind"], note["rows"]) == ("run_without_job", 1)
    assert "1 of 3" in note["detail"]


def test_a_running_run_has_no_end_and_a_deleted_one_says_so() -> None:
    server = Server([run("a", status="RUNNING", end_time=0), run("b", lifecycle_stage="deleted")])
    a, b = sorted(rows_of(server)["tracked_runs"], key=lambda row: row["run_id"])
    assert (a["end_time"], a["status"], a["labels"]) == (None, "RUNNING", None)
    assert b["labels"] == {"lifecycle_stage": "deleted"}
    assert server.asked[1][1]["run_view_type"] == "ALL"


def test_a_tag_with_the_name_of_a_parameter_is_kept_beside_it() -> None:
    row = one(Server([run("a", params=pairs(team="x"), tags=pairs(team="y", other="z"))]))
    assert row["labels"] == {"team": "x", "tags.team": "y", "other": "z"}


def test_the_history_of_logged_models_is_no_label() -> None:
    tags = [{"key": "mlflow.log-model.history", "value": "[{}]" * 100}, *pairs(a="b")]
    assert one(Server([run("a", tags=tags)]))["labels"] == {"a": "b"}


def test_a_run_that_ends_before_it_starts_is_kept_and_found() -> None:
    found = rows_of(Server([run("a", tags=pairs(job_id="1"), end_time=START - 1)]))
    assert [note["kind"] for note in found["notes"]] == ["run_ends_before_start"]
    assert found["tracked_runs"][0]["end_time"] == "2026-10-01T07:59:59.999Z"


# --- what runs read and wrote -----------------------------------------------------------------------------------------


def test_parameters_name_checkpoints_and_data_but_switches_and_numbers_are_no_paths() -> None:
    given = pairs(
        trainer__Resume_From="/ckpt/base/step-9",
        output_dir="/ckpt/sft",
        init_from="None",
        load="true",
        resume_from_checkpoint="latest",
        checkpoint="1000",
        dataset="['web-v3', \"code's\"]",
        data_path='["/data/a", "/data/b"]',
        base_model="models:/astra/3",
        dataset_out="s3://gen/1",
    )
    found = artifacts(rows_of(Server([run("a", params=given, artifact_uri="")])))
    assert found == {
        ("a", "read", "checkpoint", "/ckpt/base/step-9"),
        ("a", "write", "checkpoint", "/ckpt/sft"),
        ("a", "read", "dataset", "['web-v3', \"code's\"]"),
        ("a", "read", "dataset", "/data/a"),
        ("a", "read", "dataset", "/data/b"),
        ("a", "read", "model", "models:/astra/3"),
        ("a", "write", "dataset", "s3://gen/1"),
    }


def test_a_list_as_python_prints_it_is_several_paths() -> None:
    found = artifacts(rows_of(Server([run("a", params=pairs(load="['/a', '/b']"), artifact_uri="")])))
    assert found == {("a", "read", "checkpoint", "/a"), ("a", "read", "checkpoint", "/b")}


def test_datasets_are_named_by_source_and_by_name_and_one_that_nobody_named_has_none() -> None:
    inputs = {
        "dataset_inputs": [
            {"dataset": {"name": "web-v3", "source": '{"uri": "s3://corpora/web-v3.parquet"}'}},
            {"dataset": {"name": "dataset", "source": '{"path": "org/name", "split": "train"}'}},
            {"dataset": {"name": "dataset", "source": '{"tags": {"mlflow.source.name": "x.py"}}'}},
            {"dataset": {"name": "plain", "source": "/data/plain.bin"}},
        ],
        "model_inputs": [{"model_id": "m-1"}],
    }
    outputs = {"model_outputs": [{"model_id": "m-2", "step": 0}]}
    assert artifacts(rows_of(Server([run("a", inputs=inputs, outputs=outputs)]))) == {
        ("a", "read", "dataset", "web-v3"),
        ("a", "read", "dataset", "s3://corpora/web-v3.parquet"),
        ("a", "read", "dataset", "org/name"),
        ("a", "read", "dataset", "plain"),
        ("a", "read", "dataset", "/data/plain.bin"),
        ("a", "read", "model", "models:/m-1"),
        ("a", "write", "model", "models:/m-2"),
        ("a", "write", "checkpoint", "mlflow-artifacts:/1/a/artifacts"),
    }


# --- the registry -----------------------------------------------------------------------------------------------------


def registry() -> Server:
    """One version released by alias, one by stage, one by tag, and three that are not."""
    return Server(
        models=[
            {"name": "astra-7b", "aliases": [{"alias": "Released", "version": "2"}, {"alias": "best", "version": "1"}]},
            {"name": "astra-70b"},
            {"name": "other", "aliases": [{"alias": "released", "version": "1"}]},
        ],
        versions=[
            version("astra-7b", "1"),
            version("astra-7b", "2", run_id="b", tags=pairs(license="apache-2.0", released_at="2026-10-20")),
            version("astra-7b", "3", tags=pairs(released="yes"), status="FAILED_REGISTRATION"),
            version(
                "astra-70b", "1", current_stage="Production", run_id="", tags=pairs(withdrawn_at="2026-11-01T00:00:00+02:00")
            ),
            version("astra-70b", "2", tags=pairs(released="", published_at="hub/astra")),
            version("other", "1"),
        ],
    )


def test_a_version_with_a_mark_is_a_release_that_names_its_run() -> None:
    found = {row["release"]: row for row in rows_of(registry(), releases=("astra-*",))["releases"]}
    assert set(found) == {"astra-7b 2", "astra-70b 1", "astra-70b 2"}
    two = found["astra-7b 2"]
    assert (two["model"], two["version"], two["licence"]) == ("astra-7b", "2", "apache-2.0")
    assert (two["released_at"], two["withdrawn_at"]) == ("2026-10-20T00:00:00.000Z", None)
    claim = {"kind": "run", "of": ["b"], "at": two["origin_file"], "role": "run"}
    assert json.loads(two["lineage"]) == [claim]
    assert two["origin_file"].endswith("/#/models/astra-7b/versions/2")
    assert found["astra-70b 2"]["published_at"] == "hub/astra"


def test_a_version_without_a_run_names_its_source_and_was_released_when_it_was_registered() -> None:
    found = {row["release"]: row for row in rows_of(registry(), releases=("astra-*",))["releases"]}
    (claim,) = json.loads(found["astra-70b 1"]["lineage"])
    assert (claim["kind"], claim["of"]) == ("checkpoint", ["s3://models/astra-70b/1"])
    assert found["astra-70b 1"]["released_at"] == "2026-10-01T08:00:00.000Z"
    assert found["astra-70b 1"]["withdrawn_at"] == "2026-10-31T22:00:00.000Z"


def test_a_version_with_neither_run_nor_source_names_itself() -> None:
    server = registry()
    server.versions[1] |= {"run_id": "", "source": ""}
    (two,) = rows_of(server, releases=("astra-7b",))["releases"]
    (claim,) = json.loads(two["lineage"])
    assert (claim["kind"], claim["of"]) == ("model", ["astra-7b/2"])


def test_without_the_option_there_are_no_releases_and_what_was_one_is_none_any_more() -> None:
    assert rows_of(registry())["releases"] == []


def test_a_pattern_that_finds_no_release_is_a_finding() -> None:
    notes = rows_of(registry(), releases=("astra-*", "astar-*", "other"), release_marks=("champion",))["notes"]
    assert [(n["kind"], n["subject"]) for n in notes] == [("release_not_marked", p) for p in ("astra-*", "astar-*", "other")]
    assert "2 registered models match" in notes[0]["detail"]
    assert "0 registered models match" in notes[1]["detail"]


def test_a_version_of_a_model_is_written_by_its_run_under_its_name_and_its_place() -> None:
    found = [r for r in rows_of(registry())["artifacts"] if r["run_id"] == "b"]
    assert {(r["direction"], r["kind"], r["uri"], r["at"]) for r in found} == {
        ("write", "model", "models:/astra-7b/2", "2026-10-01T08:00:00.000Z"),
        ("write", "model", "s3://models/astra-7b/2", "2026-10-01T08:00:00.000Z"),
    }


@pytest.mark.parametrize("said", ["soon", "2026-13-01", "2026-10-01 08:00:00"])
def test_a_day_of_release_that_is_none_is_refused_by_its_place(said: str) -> None:
    server = registry()
    server.versions[1]["tags"] = pairs(released_at=said)
    with pytest.raises(BadRecord, match=rf"/#/models/astra-7b/versions/2: .*released_at: found '{said}'"):
        rows_of(server, releases=("astra-*",))


def test_a_server_without_a_registry_is_asked_for_none() -> None:
    server = Server([run("a")])
    rows_of(server, registry=False)
    assert not [path for path, _ in server.asked if "model" in path]


# --- pages ------------------------------------------------------------------------------------------------------------


def test_every_page_is_read_and_a_run_that_moved_to_a_later_one_counts_once() -> None:
    server = Server([run(f"r{n}") for n in range(5)])
    server.runs.append(run("r1", status="KILLED"))
    found = rows_of(server, page_size=2)["tracked_runs"]
    assert len(found) == 5
    assert {row["run_id"]: row["status"] for row in found} == {f"r{n}": "KILLED" if n == 1 else "FINISHED" for n in range(5)}
    assert [q.get("page_token") for path, q in server.asked if path.endswith("runs/search")] == [None, "2", "4"]


def test_a_page_without_runs_and_with_a_token_is_not_the_last() -> None:
    server = Server([run("a")])
    server.faults.extend([None, (200, {"next_page_token": "0"})])
    assert len(rows_of(server)["tracked_runs"]) == 1


def test_many_experiments_are_asked_for_some_at_a_time_and_names_choose_among_them() -> None:
    server = Server([run("a", experiment_id="7")], experiments={str(n): f"exp-{n}" for n in range(450)})
    assert one(server)["experiment"] == "exp-7"
    assert [len(q["experiment_ids"]) for path, q in server.asked if path.endswith("runs/search")] == [200, 200, 50]
    server.asked.clear()
    assert rows_of(server, experiments=("exp-44?",))["tracked_runs"] == []
    assert len(server.asked[1][1]["experiment_ids"]) == 10


def test_a_name_that_no_experiment_has_is_an_error_that_shows_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"experiments: 'pretain'.*it has pretrain"):
        rows_of(Server(), experiments=("pretain",))


def test_runs_before_the_first_day_are_not_asked_for() -> None:
    server = Server()
    rows_of(server, since="2026-10-01")
    assert server.asked[1][1]["filter"] == "attributes.start_time >= 1790812800000"


def test_an_empty_server_is_an_answer() -> None:
    found = rows_of(Server(experiments={}))
    assert found == {"notes": [], "tracked_runs": [], "artifacts": [], "releases": []}


MEASURED = """
import re, sys
from pathlib import Path
from datetime import UTC, datetime
from collectors.mlflow import Mlflow
from rdspend.schema import Window
window = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
counts = [int(d.rows.aggregate("count(*)").fetchall()[0][0]) for d in Mlflow(base_url=sys.argv[1]).collect(window)]
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]  # ru_maxrss knows the parent's, too
print(*counts, int(peak) // 1024)
"""


def measured(runs: int) -> list[int]:
    """Runs, artifacts, releases, and the most MiB that the collecting process took."""
    with served(Server(made=runs)) as address:
        done = subprocess.run(
            [sys.executable, "-P", "-c", MEASURED, address], capture_output=True, text=True, check=True, timeout=500
        )
    return [int(word) for word in done.stdout.split()]


@pytest.mark.scale
def test_a_hundred_thousand_runs_are_read_in_the_memory_of_ten_thousand() -> None:
    few, many = measured(10_000), measured(100_000)
    assert (few[:2], many[:2]) == ([10_000, 20_000], [100_000, 200_000])
    assert many[3] < 600
    assert many[3] < few[3] + 256


# --- a server that is not well ----------------------------------------------------------------------------------------


def test_a_server_that_is_down_is_unavailable() -> None:
    with served(Server()) as address:
        pass
    with pytest.raises(SourceUnavailable, match=rf"{address}/api/2.0/mlflow/experiments/search.*4 times"):
        collected(Mlflow(base_url=address))


def test_a_server_that_stumbles_is_asked_again() -> None:
    server = Server([run("a")])
    server.faults.extend([(503, b"", {"retry-after": "0"}), None, (429, b"", {"retry-after": "0"})])
    assert len(rows_of(server)["tracked_runs"]) == 1


def test_one_that_lies_down_half_way_delivers_nothing() -> None:
    server = Server([run(f"r{n}") for n in range(4)])
    server.faults.extend([None, None, *[(500, {"message": "disk is full"}, {"retry-after": "0"})] * TRIES])
    delivered = []
    with served(server) as address, pytest.raises(SourceUnavailable, match=r"it answered 500 \(disk is full\), 4 times"):
        delivered.extend(Mlflow(base_url=address, page_size=2).collect(OCTOBER))
    assert delivered == []


def test_a_token_that_leads_back_is_not_followed_for_ever() -> None:
    server = Server([run("a")])
    server.faults.extend([None, *[(200, {"runs": [run("a")], "next_page_token": "x"})] * 2])
    with pytest.raises(SourceUnavailable, match="leads back"):
        rows_of(server)


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b'{"experiments": [{', b'{"experiments": {"a": 1}}', b"[]"])
def test_what_is_no_page_of_mlflow_is_unavailable_and_says_what_to_check(body: bytes) -> None:
    server = Server(faults=deque([(200, body)]))
    with pytest.raises(SourceUnavailable, match="is base_url that of an MLflow server"):
        rows_of(server)


def test_a_wrong_address_says_what_the_server_said() -> None:
    with (
        served(Server()) as address,
        pytest.raises(SourceUnavailable, match=r"404 \(no /x/api/2.0/mlflow/experiments/search\)"),
    ):
        collected(Mlflow(base_url=f"{address}/x"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"start_time": "yesterday"}, r"runs/a: start_time: found 'yesterday', expected milliseconds"),
        ({"start_time": -5}, r"start_time: found '-5'"),
        ({"run_id": "", "run_uuid": ""}, r"run_id: found ''"),
    ],
)
def test_a_run_that_can_not_be_read_is_refused_and_not_left_out(change: dict[str, Any], words: str) -> None:
    broken = run("a")
    broken["info"] |= change
    with pytest.raises(BadRecord, match=words):
        rows_of(Server([run("b"), broken]))


def test_runs_of_another_shape_are_refused() -> None:
    broken = run("a")
    broken["data"]["params"] = {"lr": 1}
    with pytest.raises(BadRecord, match="can't be read as MLflow's answer"):
        rows_of(Server([broken]))


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_token_is_sent_and_is_in_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("secret-token\n")
    server = Server([run("a")], authorization="Bearer secret-token")
    assert len(rows_of(server, key_file=Location(tmp_path / "token"))["tracked_runs"]) == 1
    monkeypatch.setenv("TRACKING", "wrong-token")
    with pytest.raises(SourceUnavailable, match="401: the key is missing, wrong") as caught:
        rows_of(server, key_env="TRACKING")
    assert "wrong-token" not in str(caught.value)
    with pytest.raises(SourceUnavailable, match="401"):
        rows_of(server)


def test_a_user_and_a_password_are_sent_and_neither_is_repeated_in_a_message(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pass")
    words = base64.b64encode(b"rdspend:pass").decode()
    server = Server([run("a")], authorization=f"Basic {words}")
    options = {"username": "rdspend", "key_file": Location(tmp_path / "password")}
    assert len(rows_of(server, **options)["tracked_runs"]) == 1
    server.faults.append((400, {"message": f"bad header: Basic {words}"}))
    with pytest.raises(SourceUnavailable, match=r"bad header: Basic \[key\]"):
        rows_of(server, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ('base_url = "http://mlflow.example.com"\nkey_env = "K"', "a key is sent over https only"),
        ('base_url = "mlflow.example.com"', "expected an address like"),
        ('base_url = "ftp://mlflow.example.com"', "expected an address of https or http"),
        ('base_url = "http://m"\nusername = "u"', "found without a password"),
        ('base_url = "http://m"\nsince = "October"', "since: found 'October'"),
        ('base_url = "http://m"\npage_size = 60000', "1 to 50000"),
        ('base_url = "http://m"\ntimeout_seconds = 0', "timeout_seconds"),
        ('base_url = "http://m"\nreleases = ["a"]\nregistry = false', "releases come from the registry"),
        ('base_url = "http://m"\n[collectors.mlflow.keys]\njob_id = [""]', "keys: found an empty name"),
        ('base_url = "http://m"\n[collectors.mlflow.keys]\njobid = ["a"]', "did you mean 'job_id'"),
    ],
)
def test_options_that_can_not_be_are_refused(options: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "rdspend.toml").write_text(f"[collectors.mlflow]\n{options}\n")
    with pytest.raises(ConfigError, match=words):
        load(tmp_path / "rdspend.toml")


def test_plain_http_is_fine_where_no_key_is_sent() -> None:
    assert Mlflow(base_url="http://mlflow.internal:5000").cluster is None
