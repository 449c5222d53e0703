"""The mlflow collector against a real MLflow: what MLflow's own client logged is what lands in the ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scraping import free_port
from tracker_rows import collected

from collectors.mlflow import Mlflow
from rdspend.errors import ConfigError, SourceUnavailable
from rdspend.ledger import Ledger
from rdspend.schema import TABLES

pytestmark = pytest.mark.server

START = Path(__file__).parent / "mlflow" / "start-mlflow"
CLIENT = Path(__file__).resolve().parents[2] / ".venv-mlflow" / "bin" / "python"

# Runs in MLflow's own environment and prints the ids that it was given.
LOGGING = """
import json, sys
import mlflow, pandas
from mlflow.tracking import MlflowClient
mlflow.set_tracking_uri(sys.argv[1])
client, ids = MlflowClient(), {}
mlflow.set_experiment("pretrain")
web = mlflow.data.from_pandas(pandas.DataFrame({"a": [1]}), source="s3://corpora/web-v3.parquet", name="web-v3")
with mlflow.start_run(run_name="base", tags={"slurm_job_id": "101", "mlflow.user": "ann"}) as run:
    ids["base"] = run.info.run_id
    mlflow.log_params({"output_dir": "/ckpt/base", "lr": "3e-4", "resume_from": "None"})
    mlflow.log_input(web, context="training")
    mlflow.log_metric("loss", 1.5, step=3)
    with mlflow.start_run(run_name="warm-up", nested=True) as child:
        ids["warm-up"] = child.info.run_id
mlflow.set_experiment("post-train")
with mlflow.start_run(run_name="sft") as run:
    ids["sft"] = run.info.run_id
    mlflow.log_params({"job_id": "102", "trainer.init_from": "/ckpt/base/step-1000"})
try:
    with mlflow.start_run(run_name="dpo", tags={"SLURM_ARRAY_JOB_ID": "200", "SLURM_ARRAY_TASK_ID": "4"}) as run:
        ids["dpo"] = run.info.run_id
        raise ValueError("loss is nan")
except ValueError:
    pass
client.delete_run(ids["dpo"])
client.create_run("0", start_time=1_790_841_600_000, run_name="old")
for name, run in (("astra-7b", "base"), ("astra-7b", "sft"), ("other", "base")):
    try:
        client.create_registered_model(name)
    except mlflow.MlflowException:
        pass
    source = client.get_run(ids[run]).info.artifact_uri + "/model"
    client.create_model_version(name, source, ids[run], tags={"license": "apache-2.0"} if run == "sft" else {})
client.set_registered_model_alias("astra-7b", "released", "2")
client.set_registered_model_alias("other", "released", "1")
for number in range(30):
    client.create_run("0", run_name=f"many-{number}")
print(json.dumps(ids))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of an MLflow server, and the ids of its runs by name."""
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    subprocess.run([START, "start", folder, str(port)], check=True, timeout=600)
    try:
        address = f"http://127.0.0.1:{port}"
        done = subprocess.run([CLIENT, "-c", LOGGING, address], capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        ids = next(line for line in done.stdout.splitlines() if line.startswith("{"))
        yield address, json.loads(ids)
    finally:
        subprocess.run([START, "stop", folder], check=True, timeout=60)


@pytest.fixture(scope="module")
def found(server: tuple[str, dict[str, str]]) -> dict[str, list[dict[str, Any]]]:
    return collected(Mlflow(base_url=server[0], cluster="h100", releases=("astra-*",), page_size=7))


def by_name(found: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in found["tracked_runs"]}


def test_every_run_is_there_once_whatever_the_page_nested_and_deleted_ones_too(server: Any, found: Any) -> None:
    _, ids = server
    rows = by_name(found)
    assert set(rows) == {*ids, "old", *(f"many-{n}" for n in range(30))}
    assert len(found["tracked_runs"]) == len(rows)
    assert {name: rows[name]["run_id"] for name in ids} == ids
    assert rows["warm-up"]["parent_run_id"] == ids["base"]
    assert (rows["dpo"]["status"], rows["dpo"]["labels"]["lifecycle_stage"]) == ("FAILED", "deleted")


def test_runs_name_their_job_their_user_and_their_experiment(found: Any) -> None:
    rows = by_name(found)
    assert {name: row["job_id"] for name, row in rows.items() if row["job_id"]} == {"base": "101", "sft": "102", "dpo": "200_4"}
    assert (rows["base"]["user"], rows["base"]["experiment"], rows["sft"]["experiment"]) == ("ann", "pretrain", "post-train")
    assert (rows["base"]["cluster"], rows["warm-up"]["cluster"]) == ("h100", None)
    assert rows["base"]["labels"]["lr"] == "3e-4"
    assert (rows["old"]["start_time"], rows["old"]["end_time"]) == ("2026-10-01T08:00:00.000Z", None)
    assert rows["base"]["start_time"] <= rows["base"]["end_time"]


def test_what_runs_read_and_wrote_is_there(server: Any, found: Any) -> None:
    _, ids = server
    rows = {(r["run_id"], r["direction"], r["kind"], r["uri"]) for r in found["artifacts"]}
    assert {
        (ids["base"], "write", "checkpoint", "/ckpt/base"),
        (ids["base"], "read", "dataset", "web-v3"),
        (ids["base"], "read", "dataset", "s3://corpora/web-v3.parquet"),
        (ids["sft"], "read", "checkpoint", "/ckpt/base/step-1000"),
        (ids["sft"], "write", "model", "models:/astra-7b/2"),
        (ids["base"], "write", "model", "models:/other/1"),
    } <= rows
    assert [uri for run, direction, _, uri in rows if run == ids["base"] and direction == "read" and "None" in uri] == []
    assert any(run == ids["sft"] and uri.endswith(f"/{ids['sft']}/artifacts") for run, *_, uri in rows)


def test_the_version_with_the_alias_is_the_release_and_names_its_run(server: Any, found: Any) -> None:
    _, ids = server
    (release,) = found["releases"]
    assert (release["release"], release["licence"]) == ("astra-7b 2", "apache-2.0")
    assert release["released_at"] is not None
    (claim,) = json.loads(release["lineage"])
    assert (claim["kind"], claim["of"], claim["role"]) == ("run", [ids["sft"]], "run")


def test_runs_of_some_experiments_and_since_a_day_only(server: Any) -> None:
    address, _ = server
    of_one = by_name(collected(Mlflow(base_url=address, experiments=("post-*",))))
    assert set(of_one) == {"sft", "dpo"}
    later = by_name(collected(Mlflow(base_url=address, experiments=("Default",), since="2026-10-02")))
    assert "old" not in later
    with pytest.raises(ConfigError, match="it has Default, post-train, pretrain"):
        collected(Mlflow(base_url=address, experiments=("postrain",)))


def collect(folder: Path, address: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "rdspend.toml").write_text("\n".join([f'[collectors.mlflow]\nbase_url = "{address}"', *options, ""]))
    return subprocess.run(
        [sys.executable, "-P", "-m", "rdspend", "--config", folder / "rdspend.toml", "collect", "--period", "2026-10"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def landed(folder: Path, table: str, columns: str) -> list[tuple[Any, ...]]:
    import duckdb

    assert table in TABLES
    with duckdb.connect() as connection:
        return connection.execute(f"SELECT {columns} FROM ({Ledger(folder / 'ledger').snapshot().select(table)})").fetchall()


def test_it_lands_in_the_ledger_and_stays_when_the_server_is_down(server: Any, tmp_path: Path) -> None:
    address, ids = server
    options = ('releases = ["astra-*"]', 'cluster = "h100"')
    done = collect(tmp_path, address, *options)
    assert done.returncode == 0, done.stderr
    jobs = [("101",), ("102",), ("200_4",)]
    assert sorted(landed(tmp_path, "tracked_runs", "job_id"), key=str)[:3] == jobs
    assert landed(tmp_path, "releases", "source, release") == [("mlflow", "astra-7b 2")]
    assert (ids["base"], "read", "web-v3") in landed(tmp_path, "artifacts", "run_id, direction, uri")
    runs = len(landed(tmp_path, "tracked_runs", "run_id"))
    down = collect(tmp_path, f"http://127.0.0.1:{free_port()}", *options)
    assert down.returncode == SourceUnavailable.exit_code
    assert len(landed(tmp_path, "tracked_runs", "run_id")) == runs == 35
