"""Runs of experiment trackers: which of their parameters and tags name a job, a checkpoint or data, and their rows.

A collector fills the tables `run` and `logged`, in the tracker's words; `deliver` makes the rows of the ledger from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from rdspend.border import literal
from rdspend.schema import Delivery

RUN = """
    origin_file VARCHAR, origin_row BIGINT, run_id VARCHAR, parent_run_id VARCHAR, name VARCHAR, experiment VARCHAR,
    "user" VARCHAR, start_time TIMESTAMPTZ, end_time TIMESTAMPTZ, status VARCHAR, labels MAP(VARCHAR, VARCHAR)
"""
LOGGED = """
    origin_file VARCHAR, origin_row BIGINT, run_id VARCHAR, direction VARCHAR, kind VARCHAR, uri VARCHAR, "at" TIMESTAMPTZ
"""

# Values of a parameter for a path that are none: nothing, a switch, a number, and words for "find it yourself".
NO_PATHS = r"|none|null|nil|nan|n/a|true|false|yes|no|auto|latest|last|best|scratch|-?[0-9.]+"


@dataclass(frozen=True)
class Keys:
    """`[collectors.NAME.keys]`: names of parameters and tags, the first that a run has a value for counts.

    A name stands for itself and for the end of a longer one behind `.`, `/` or `:`, without capitals: `resume_from` is also
    `trainer.Resume_From`.

    job_id                the scheduler's id of the job; an array's id and a task's make `ARRAY_TASK`
    cluster               the cluster of that job
    checkpoints_read      paths of what a run starts from; all of these names count
    checkpoints_written   paths of what it leaves
    datasets_read         names or paths of data that it takes
    datasets_written      names or paths of data that it makes
    """

    job_id: tuple[str, ...] = ("slurm_job_id", "slurm_jobid", "slurm.job_id", "job_id", "jobid")
    cluster: tuple[str, ...] = ("slurm_cluster_name", "slurm.cluster_name", "cluster", "cluster_name")
    checkpoints_read: tuple[str, ...] = (
        *(
            "resume_from",
            "resume_from_checkpoint",
            "resume_path",
            "resume_checkpoint",
            "load",
            "load_path",
            "load_dir",
            "load_from",
        ),
        *("load_checkpoint", "load_checkpoint_path", "init_from", "init_checkpoint", "init_ckpt"),
        *(
            "pretrained_checkpoint",
            "pretrained_model_name_or_path",
            "model_name_or_path",
            "base_model",
            "checkpoint",
            "checkpoint_path",
            "ckpt_path",
        ),
    )
    checkpoints_written: tuple[str, ...] = (
        *("output_dir", "save", "save_dir", "save_path", "save_folder", "checkpoint_dir", "ckpt_dir", "save_checkpoint_path"),
    )
    datasets_read: tuple[str, ...] = ("dataset", "dataset_name", "dataset_path", "train_dataset", "train_data", "data_path")
    datasets_written: tuple[str, ...] = ("output_dataset", "dataset_output", "dataset_out", "push_to_hub_dataset")

    def __post_init__(self) -> None:
        for names in (*self.single.values(), *self.many.values()):
            if any(not name.strip() for name in names):
                raise ValueError("keys: found an empty name; expected names of parameters or tags")

    @property
    def single(self) -> dict[str, tuple[str, ...]]:
        arrays = {"array_job_id": ("slurm_array_job_id", "slurm.array_job_id"), "array_task_id": TASK}
        return {"job_id": self.job_id, "cluster": self.cluster, **arrays}

    @property
    def many(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """Names by direction and kind."""
        return {
            ("read", "checkpoint"): self.checkpoints_read,
            ("write", "checkpoint"): self.checkpoints_written,
            ("read", "dataset"): self.datasets_read,
            ("write", "dataset"): self.datasets_written,
        }


TASK = ("slurm_array_task_id", "slurm.array_task_id")


def prepare(connection: duckdb.DuckDBPyConnection, spill: str) -> None:
    """Settings that keep memory the same whatever the number of runs, and the two empty tables."""
    limits = ("memory_limit = '256MB'", "threads = 2", f"temp_directory = {literal(spill)}")
    for setting in ("TimeZone = 'UTC'", "enable_progress_bar = false", *limits):
        connection.execute(f"SET {setting}")
    connection.execute(f"CREATE TABLE run ({RUN})")
    connection.execute(f"CREATE TABLE logged ({LOGGED})")


def deliver(connection: duckdb.DuckDBPyConnection, keys: Keys, cluster: str | None, subject: str) -> Iterator[Delivery]:
    """Rows of TRACKED_RUNS and ARTIFACTS of all runs in `run`. `cluster`: of jobs whose run does not say it."""
    connection.execute(f"CREATE OR REPLACE TABLE spoken AS {_spoken(keys)}")
    connection.execute(f"CREATE OR REPLACE VIEW tracked AS {_tracked(cluster)}")
    yield Delivery("tracked_runs", connection.sql("SELECT * FROM tracked"), notes=list(_notes(connection, subject)))
    yield Delivery("artifacts", connection.sql(ARTIFACTS))


def _spoken(keys: Keys) -> str:
    """One row for each parameter or tag of a run that `keys` name, best first by `rank`."""
    meant = [(what, "", rank, name) for what, names in keys.single.items() for rank, name in enumerate(names)]
    meant += [(direction, kind, 0, name) for (direction, kind), names in keys.many.items() for name in names]
    values = ", ".join(f"({literal(w)}, {literal(k)}, {rank}, {literal(n.lower())})" for w, k, rank, n in meant)
    names = "|".join(sorted({re.escape(name.lower()) for *_, name in meant}, key=len, reverse=True))
    return rf"""
        WITH pair AS (
            SELECT run_id, origin_file, origin_row, lower(entry.key) AS key, trim(entry.value) AS value
            FROM (SELECT run_id, origin_file, origin_row, unnest(map_entries(labels)) AS entry FROM run)
        ), named AS (
            SELECT *, regexp_extract(key, {literal(f"(?:^|[./:])({names})$")}, 1) AS tail FROM pair WHERE value <> ''
        )
        SELECT run_id, origin_file, origin_row, what, kind, value, rank * 2 + CAST(key <> name AS INTEGER) AS rank
        FROM named JOIN (VALUES {values}) AS meant(what, kind, rank, name) ON tail = name OR ends_with(tail, '.' || name)
        WHERE tail <> ''
    """


def _first(what: str, value: str = "value") -> str:
    return f"arg_min({value}, (rank, value)) FILTER (what = {literal(what)})"


def _tracked(cluster: str | None) -> str:
    # A table's reader makes 101 of an id 101.0, and a step is of its job.
    plain = r"regexp_replace(value, '^([0-9]+)\.[0-9]+$', '\1')"
    return f"""
        SELECT run.* EXCLUDE (labels), said.job_id, labels,
            COALESCE(said.cluster, CASE WHEN said.job_id IS NOT NULL THEN {literal(cluster)} END) AS cluster
        FROM run LEFT JOIN (
            SELECT run_id, cluster, CASE WHEN array_job_id IS NOT NULL AND array_task_id IS NOT NULL
                THEN array_job_id || '_' || array_task_id ELSE job_id END AS job_id
            FROM (
                SELECT run_id, {_first("cluster")} AS cluster, {_first("job_id", plain)} AS job_id,
                    {_first("array_job_id", plain)} AS array_job_id, {_first("array_task_id", plain)} AS array_task_id
                FROM spoken GROUP BY run_id
            )
        ) AS said USING (run_id)
    """


# A parameter may hold several paths, as JSON or as Python prints a list.
ARTIFACTS = f"""
    WITH written AS (
        SELECT *, CASE WHEN json_valid(value) THEN value WHEN json_valid(quoted) THEN quoted END AS list
        FROM (SELECT *, replace(value, '''', '"') AS quoted FROM spoken WHERE kind <> '')
    ), named AS (
        SELECT origin_file, origin_row, run_id, what AS direction, kind,
            unnest(CASE WHEN starts_with(value, '[') AND json_type(list) = 'ARRAY'
                THEN list_transform(CAST(list AS JSON[]), lambda each: each ->> '$') ELSE [value] END) AS uri
        FROM written
    )
    SELECT any_value(origin_file) AS origin_file, any_value(origin_row) AS origin_row, run_id, direction, kind, uri, "at"
    FROM (
        SELECT * REPLACE (CASE WHEN starts_with(uri, 'models:/') THEN 'model' ELSE kind END AS kind),
            CAST(NULL AS TIMESTAMPTZ) AS "at"
        FROM named WHERE uri IS NOT NULL AND NOT regexp_full_match(lower(trim(uri)), {literal(NO_PATHS)})
        UNION ALL BY NAME
        SELECT * FROM logged WHERE uri <> ''
    )
    GROUP BY run_id, direction, kind, uri, "at"
"""


def _notes(connection: duckdb.DuckDBPyConnection, subject: str) -> Iterator[tuple[str, str, str, int]]:
    runs, without, first = connection.execute(
        "SELECT count(*), count(*) FILTER (job_id IS NULL), min(run_id) FILTER (job_id IS NULL) FROM tracked"
    ).fetchall()[0]
    if without:
        words = f"{without:,} of {runs:,} runs name no job of the scheduler: see `keys`; the first is {first!r}"
        yield "run_without_job", subject, words, without
    backward, first = connection.execute("SELECT count(*), min(run_id) FROM run WHERE end_time < start_time").fetchall()[0]
    if backward:
        words = f"{backward:,} runs end before they start: both times are kept as the tracker has them; the first is {first!r}"
        yield "run_ends_before_start", subject, words, backward
