"""Labelled sets: folders of jobs whose purpose is known, to try models on and to make the one that ships.

set.toml      title, truth (how it is known), and hold_out: the column that a model may not have seen: owner, month, ...
jobs.csv      job_id, and any of name, command, script, image, work_dir, user, account, project, queue, qos; gpus, nodes,
              is_array, gpu_hours, cost; and the columns to hold out by
labels.csv    job_id, and any of work (a kind of work), activity, stage; empty: not known
README.md     where it is from, its licence, what it can't say
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from rdspend.border import identifier, literal
from rdspend.errors import BadRecord, ConfigError
from rdspend.purpose import WORK
from rdspend.schema import ACTIVITIES, GPU_PARTS, STAGES

HERE: Final = Path(__file__).parent
TEXTS: Final = ("name", "command", "script", "image", "work_dir", "user", "account", "project", "queue", "qos")
KEYS: Final = ("title", "truth", "hold_out")


@dataclass(frozen=True)
class Labelled:
    """One set, opened.

    jobs    relation of the columns of JOBS that a model reads, and gpu_hours, cost (1.0 where the set has none)
    labels  job_key to work, activity, stage, held: None where not known; `held` is what to hold out by
    """

    name: str
    title: str
    truth: str
    jobs: Any
    labels: dict[str, tuple[str | None, str | None, str | None, str]]


def shipped() -> list[Path]:
    """Folders of the sets that are part of rdspend."""
    return sorted(path.parent for path in HERE.glob("*/set.toml"))


def read(folder: Path) -> Labelled:
    """Open a set. Raises ConfigError and BadRecord that name the file."""
    said = _said(folder / "set.toml")
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for table in ("jobs", "labels"):
        file = folder / f"{table}.csv"
        if not file.is_file():
            raise ConfigError(f"{file}: there is no such file; a set has set.toml, jobs.csv and labels.csv")
        try:
            connection.execute(
                f"CREATE TABLE {table} AS SELECT * FROM read_csv({literal(str(file))}, all_varchar = true, header = true,"
                " delim = ',', quote = '\"', escape = '\"', nullstr = '', strict_mode = true, new_line = '\\n')"
            )
        except duckdb.Error as error:
            raise BadRecord(f"not CSV: {str(error).splitlines()[0]}", str(file)) from None
    columns = _columns(connection, "jobs")
    for wanted in ("job_id", said["hold_out"]):
        if wanted not in columns:
            raise ConfigError(f"{folder / 'jobs.csv'}: no column '{wanted}'; found {', '.join(columns)}")
    jobs = connection.sql(_select(columns))
    return Labelled(folder.name, said["title"], said["truth"], jobs, _labels(connection, folder, columns, said["hold_out"]))


def _said(file: Path) -> dict[str, str]:
    try:
        said = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{file}: can't be read: {error.strerror or error}; a set has set.toml, jobs.csv and labels.csv"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from None
    if set(said) != set(KEYS) or not all(isinstance(value, str) for value in said.values()):
        raise ConfigError(f"{file}: found keys {', '.join(said)}; expected the texts {', '.join(KEYS)}")
    return said


def _columns(connection: Any, table: str) -> list[str]:
    return [row[0] for row in connection.execute(f"DESCRIBE {table}").fetchall()]


def _select(columns: list[str]) -> str:
    def number(name: str, otherwise: str) -> str:
        return f"coalesce(CAST({identifier(name)} AS DOUBLE), {otherwise})" if name in columns else otherwise

    texts = ", ".join(f"{identifier(c) if c in columns else 'CAST(NULL AS VARCHAR)'} AS {identifier(c)}" for c in TEXTS)
    array = "CASE WHEN is_array = 'true' THEN job_id END" if "is_array" in columns else "CAST(NULL AS VARCHAR)"
    gpus = "CAST(gpus AS DOUBLE)" if "gpus" in columns else "CAST(NULL AS DOUBLE)"
    nodes = "CAST(nodes AS BIGINT)" if "nodes" in columns else "CAST(NULL AS BIGINT)"
    return f"""
        SELECT job_id AS job_key, {texts}, {array} AS array_job_id, CAST({gpus} * {GPU_PARTS} AS BIGINT) AS gpu_parts,
            CAST(NULL AS BIGINT) AS requested_gpu_parts, {nodes} AS node_count,
            {number("gpu_hours", "1.0")} AS gpu_hours, {number("cost", number("gpu_hours", "1.0"))} AS cost
        FROM jobs
    """


def _labels(
    connection: Any, folder: Path, columns: list[str], hold_out: str
) -> dict[str, tuple[str | None, str | None, str | None, str]]:
    found = _columns(connection, "labels")
    wanted = ", ".join(f"l.{identifier(c)}" if c in found else "NULL" for c in ("work", "activity", "stage"))
    rows = connection.execute(
        f"SELECT j.job_id, {wanted}, coalesce(j.{identifier(hold_out)}, '') FROM jobs AS j JOIN labels AS l USING (job_id)"
    ).fetchall()
    count = connection.execute("SELECT count(*) FROM labels").fetchall()[0][0]
    if count != len(rows) or len({row[0] for row in rows}) != len(rows):
        raise BadRecord(f"{count} labels, {len(rows)} of them of a job; expected one label a job", str(folder / "labels.csv"))
    for job, *answers, _ in rows:
        for kind, word, known in zip(("work", "activity", "stage"), answers, (WORK, ACTIVITIES, STAGES), strict=True):
            if word is not None and word not in known:
                raise BadRecord(f"job {job!r}: {kind}: found {word!r}, expected {', '.join(known)}", str(folder / "labels.csv"))
    return {job: (work, activity, stage, held) for job, work, activity, stage, held in rows}
