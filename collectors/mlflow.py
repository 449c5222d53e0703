"""Runs of an MLflow tracking server, what they read and wrote, and the releases of its model registry, over its REST API.

Asks `/api/2.0/mlflow/` for experiments, runs and registered models; needs permission to read them, nothing else, and no mlflow
package.

    [collectors.mlflow]
    base_url = "https://mlflow.example.com"
    key_env = "MLFLOW_TRACKING_TOKEN"  # optional: the environment variable that holds the token, or
    key_file = "/etc/rdspend/mlflow"   # a file that holds it; with neither, nothing is sent
    username = "rdspend"               # optional: then the key is this user's password
    cluster = "h100"                   # the jobs that runs name are on this cluster, unless a run says another
    experiments = ["pretrain*"]        # only these experiments; all when left out
    releases = ["astra-*"]             # registered models whose marked versions are releases

    [collectors.mlflow.keys]           # parameters and tags that name jobs, checkpoints and data, where yours differ
    job_id = ["slurm_job_id"]

Delivered are tracked runs (deleted ones too: the money is spent all the same), and artifacts: checkpoints that parameters name,
datasets of a run's inputs by source and by name, its folder of artifacts as the server writes it, models that it logged or
took, and versions of registered models. A version is a release when one of its aliases, its stage or the name of one of its
tags is in `release_marks`, its model in `releases`, and its status READY. Its lineage is its run, or its source where it names
none. Tags of a version say the rest: `released_at` (a date; the time it was registered when left out), `withdrawn_at`,
`license`, `published_at` (where).

A tag stays in `labels` under its own name, as `tags.NAME` where a parameter has that name; `mlflow.log-model.history` is left
out, and a deleted run has `lifecycle_stage`.

A collect reads all runs since `since`, page by page and in the same memory whatever their number: the server can't say which
ones changed, and what is delivered replaces what was. So the daemon asks it with the bills, not every interval. While it does
not answer, what was known stays.

Cannot see metrics, what is in an artifact, runs that are purged, and where an alias was before: a release that loses its mark
to a newer version is a release no more. Use a tag, which stays, or an alias for each version (`released-*`).
"""

from __future__ import annotations

import base64
import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Any, ClassVar

import duckdb
import msgspec

from rdspend import tracking
from rdspend.asking import Answer, Server, check_address, read_key
from rdspend.bills.scratch import scratch
from rdspend.border import bad_record, literal, refuse
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.schema import Delivery, Location, Window
from rdspend.tracking import Keys

NEEDS = "a token or password that may read experiments, runs and registered models"
REFUSED = f"the key is missing, wrong, or has no right to read this; it has to be {NEEDS}: see key_env, key_file and username"

API = "/api/2.0/mlflow"
MOST_PAGES = 100_000
EXPERIMENTS_AT_ONCE = 200
MODELS_PAGE = 200
"""What a page of registered models may have: each brings its latest versions along."""


@dataclass(frozen=True)
class Mlflow:
    """`since`: runs that started before this day are not asked for."""

    of_releases: ClassVar[bool] = True

    base_url: str
    key_env: str | None = None
    key_file: Location | None = None
    username: str | None = None
    cluster: str | None = None
    experiments: tuple[str, ...] = ()
    since: str | None = None
    registry: bool = True
    releases: tuple[str, ...] = ()
    release_marks: tuple[str, ...] = ("released", "released-*", "production")
    keys: Keys = field(default_factory=Keys)
    page_size: int = 1000
    timeout_seconds: float = 60.0

    def __post_init__(self) -> None:
        check_address(self.base_url, with_key=self.has_key)
        if self.username is not None and not self.has_key:
            raise ValueError("username: found without a password; expected key_env or key_file, which says it")
        if self.since is not None:
            _day("since", self.since)
        if not 1 <= self.page_size <= 50_000:
            raise ValueError(f"page_size: found {self.page_size}; expected 1 to 50000, which is MLflow's most")
        if not 0 < self.timeout_seconds <= 3600:
            raise ValueError(f"timeout_seconds: found {self.timeout_seconds:g}; expected more than 0, at most an hour")
        if self.releases and not self.registry:
            raise ValueError("releases: found with registry = false; releases come from the registry")

    @property
    def has_key(self) -> bool:
        return self.key_env is not None or self.key_file is not None

    def collect(self, window: Window) -> Iterator[Delivery]:
        """All runs, artifacts and releases, whatever the window.

        Raises SourceUnavailable, BadRecord; ConfigError for the key and for a name that no experiment has.
        """
        server = self._server()
        with scratch("mlflow") as folder, duckdb.connect() as connection:
            tracking.prepare(connection, str(folder))
            with _sound(self.base_url):
                self._read_runs(server, connection, folder)
                self._read_registry(server, connection, folder)
            yield from tracking.deliver(connection, self.keys, self.cluster, self.base_url)
            yield Delivery("releases", connection.table("release"), notes=list(self._unmatched(connection)))

    def _server(self) -> Server:
        headers: dict[str, str] = {}
        secrets: list[str] = []
        if self.has_key:
            key = read_key(self.key_env or "", self.key_file, NEEDS)
            secrets = [key]
            if self.username is None:
                headers["authorization"] = f"Bearer {key}"
            else:
                secrets.append(base64.b64encode(f"{self.username}:{key}".encode()).decode())
                headers["authorization"] = f"Basic {secrets[1]}"
        return Server(self.base_url, headers, secrets, REFUSED, self.timeout_seconds)

    # --- runs ---------------------------------------------------------------------------------------------------------

    def _read_runs(self, server: Server, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        question: dict[str, object] = {"max_results": 1000, "view_type": "ALL"}
        _fetch(server, "/experiments/search", question, "experiments", folder / "experiments")
        connection.execute(f"CREATE TABLE experiment AS {_experiments(folder / 'experiments')}")
        asked = {"run_view_type": "ALL", "max_results": self.page_size, "order_by": ["attributes.start_time ASC"]}
        if self.since is not None:
            asked["filter"] = f"attributes.start_time >= {int(_day('since', self.since).timestamp() * 1000)}"
        (folder / "runs").touch()
        for ids in self._experiments(connection):
            _fetch(server, "/runs/search", {**asked, "experiment_ids": ids}, "runs", folder / "runs")
        connection.execute(f"CREATE TABLE raw AS {_raw_runs(folder / 'runs')}")
        (folder / "runs").unlink()
        # One that moved to a later page while they were read is there twice: its later form counts.
        connection.execute("DELETE FROM raw WHERE row NOT IN (SELECT max(row) FROM raw GROUP BY run_id)")
        connection.execute(f"INSERT INTO run BY NAME {_runs(self.base_url)}")
        connection.execute(f"INSERT INTO logged BY NAME {_logged(self.base_url)}")
        connection.execute("DROP TABLE raw")

    def _experiments(self, connection: duckdb.DuckDBPyConnection) -> Iterator[list[str]]:
        """Ids of the experiments to ask for, some at a time."""
        names: dict[str, str] = dict(connection.execute("SELECT experiment_id, name FROM experiment ORDER BY ALL").fetchall())
        for pattern in self.experiments:
            if not any(fnmatch.fnmatchcase(name, pattern) for name in names.values()):
                known = ", ".join(sorted(names.values())[:20]) or "none"
                raise ConfigError(f"experiments: {pattern!r}: {self.base_url} has no such experiment; it has {known}")
        ids = [i for i, n in names.items() if not self.experiments or any(fnmatch.fnmatchcase(n, p) for p in self.experiments)]
        for first in range(0, len(ids), EXPERIMENTS_AT_ONCE):
            yield ids[first : first + EXPERIMENTS_AT_ONCE]

    # --- the registry -------------------------------------------------------------------------------------------------

    def _read_registry(self, server: Server, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        for name in ("registered_models", "model_versions"):
            (folder / name).touch()
        if self.registry:
            question = {"max_results": MODELS_PAGE}
            _fetch(server, "/registered-models/search", question, "registered_models", folder / "registered_models")
            _fetch(server, "/model-versions/search", {"max_results": 1000}, "model_versions", folder / "model_versions")
        connection.execute(f"CREATE TABLE version AS {_versions(self.base_url, folder)}")
        connection.execute(f"INSERT INTO logged BY NAME {_version_artifacts()}")
        connection.execute(f"CREATE TABLE release AS {_releases(self.releases, self.release_marks)}")

    def _unmatched(self, connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, str, str, int]]:
        """Patterns of `releases` that no release came from: a release that is not there looks like money of nobody."""
        for pattern in self.releases:
            models, releases = connection.execute(
                f"SELECT (SELECT count(DISTINCT name) FROM version WHERE name GLOB {literal(pattern)}), "
                f"(SELECT count(*) FROM release WHERE model GLOB {literal(pattern)})"
            ).fetchall()[0]
            if not releases:
                marks = ", ".join(self.release_marks)
                words = f"{models} registered models match, and none has a version with an alias, stage or tag like {marks}"
                yield "release_not_marked", pattern, words, 1


def _day(key: str, text: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{key}: found {text!r}; expected a day such as 2026-10-01") from error
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


# --- pages ------------------------------------------------------------------------------------------------------------


def _fetch(server: Server, path: str, question: Mapping[str, Any], field_: str, file: Path) -> None:
    """Appends the entries of all pages to a file, a line each; only one page is in memory."""
    seen: set[str] = set()
    more: dict[str, str] = {}
    with file.open("ab") as stream:
        for _ in range(MOST_PAGES):
            answer = _ask(server, path, {**question, **more})
            token = _append(answer, field_, stream)
            if not token:
                return
            if token in seen:
                raise SourceUnavailable(f"{answer.address}: next_page_token leads back to a page already read; none is taken")
            seen.add(token)
            more = {"page_token": token}
    raise SourceUnavailable(f"{server.base_url}{API}{path}: says after {MOST_PAGES:,} pages that there is more; none is taken")


def _ask(server: Server, path: str, question: Mapping[str, Any]) -> Answer:
    if path == "/runs/search":
        return server.search(API + path, question)
    return server.get(API + path, question)


def _append(answer: Answer, field_: str, stream: IO[bytes]) -> str:
    """The token of the next page, empty where this was the last."""
    # A line break stands only between values in JSON, so that this makes each entry one line and changes none.
    body = answer.body.replace(b"\n", b" ").replace(b"\r", b" ")
    try:
        page = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        token = msgspec.json.decode(page.get("next_page_token", b'""'), type=str | None) or ""
        entries = msgspec.json.decode(page.get(field_, b"[]"), type=list[msgspec.Raw])
    except msgspec.DecodeError as error:
        words = f"is no whole page of JSON with {field_}: {str(error)[:200]}; is base_url that of an MLflow server?"
        raise SourceUnavailable(f"{answer.address}: {words}") from error
    for entry in entries:
        stream.write(entry)
        stream.write(b"\n")
    return token


@contextmanager
def _sound(base_url: str) -> Iterator[None]:
    """What DuckDB can't read in what the server sent is a bad record; when the machine failed, the source is unavailable."""
    try:
        yield
    except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
        words = " ".join(str(error).split())[:300]
        raise bad_record(error) or BadRecord(f"can't be read as MLflow's answer: {words}", base_url) from error
    except duckdb.IOException as error:
        raise SourceUnavailable(f"{base_url}: its pages can't be read back: {str(error).strip()[:300]}") from error
    except OSError as error:
        raise SourceUnavailable(f"{base_url}: its pages can't be kept: {error.strerror or error}") from error


# --- from pages to tables ---------------------------------------------------------------------------------------------

PAIRS = "STRUCT(key VARCHAR, value VARCHAR)[]"
INFO = (
    *("run_id", "run_uuid", "run_name", "experiment_id", "user_id", "status", "start_time", "end_time", "artifact_uri"),
    "lifecycle_stage",
)
RUN_COLUMNS = {
    "info": f"STRUCT({', '.join(f'{name} VARCHAR' for name in INFO)})",
    "data": f"STRUCT(params {PAIRS}, tags {PAIRS})",
    "inputs": f"STRUCT(dataset_inputs STRUCT(tags {PAIRS}, dataset STRUCT(name VARCHAR, source VARCHAR))[], "
    "model_inputs STRUCT(model_id VARCHAR)[])",
    "outputs": "STRUCT(model_outputs STRUCT(model_id VARCHAR)[])",
}
VERSION_COLUMNS = {
    **dict.fromkeys(("name", "version", "creation_timestamp", "current_stage", "source", "run_id", "status"), "VARCHAR"),
    "tags": PAIRS,
}


def _lines(file: Path, columns: Mapping[str, str]) -> str:
    fields = ", ".join(f"{name}: {literal(kind)}" for name, kind in columns.items())
    return f"read_json({literal(str(file))}, format = 'newline_delimited', columns = {{{fields}}})"


def _experiments(file: Path) -> str:
    columns = {"experiment_id": "VARCHAR", "name": "VARCHAR"}
    return f"SELECT experiment_id, any_value(name) AS name FROM {_lines(file, columns)} GROUP BY experiment_id"


def _raw_runs(file: Path) -> str:
    """Runs in the order in which they came."""
    return f"""
        SELECT row_number() OVER () AS row, info, COALESCE(info.run_id, info.run_uuid) AS run_id, data.params AS params,
            list_filter(COALESCE(data.tags, []), lambda tag: tag.key <> 'mlflow.log-model.history') AS tags,
            inputs.dataset_inputs AS datasets, inputs.model_inputs AS models_read, outputs.model_outputs AS models_written
        FROM {_lines(file, RUN_COLUMNS)}
    """


def _instant(value: str, what: str, origin: str) -> str:
    """Milliseconds as text to TIMESTAMPTZ; nothing and 0 are not known."""
    number = f"TRY_CAST({value} AS BIGINT)"
    bad = refuse(origin, "NULL", what, value, "milliseconds since 1970")
    return f"""CASE WHEN {value} IS NULL OR {number} = 0 THEN NULL
        WHEN {number} BETWEEN 1 AND 253402300799999 THEN timezone('UTC', epoch_ms({number})) ELSE {bad} END"""


def _place(base_url: str) -> str:
    """Where a person sees the run."""
    return f"{literal(base_url.rstrip('/') + '/#/experiments/')} || info.experiment_id || '/runs/' || run_id"


def _runs(base_url: str) -> str:
    place = _place(base_url)
    known = "list_transform(params, lambda pair: pair.key)"
    tags = f"""list_transform(tags, lambda tag: {{
        'key': CASE WHEN list_contains({known}, tag.key) THEN 'tags.' || tag.key ELSE tag.key END, 'value': tag.value}})"""
    gone = "CASE WHEN info.lifecycle_stage = 'deleted' THEN [{'key': 'lifecycle_stage', 'value': 'deleted'}] END"
    entries = f"list_concat(params, {tags}, {gone})"
    return f"""
        SELECT {place} AS origin_file, 1 AS origin_row,
            COALESCE(NULLIF(run_id, ''), {refuse(literal(base_url), "row", "run_id", "run_id", "an id")}) AS run_id,
            {_tag("mlflow.parentRunId")} AS parent_run_id,
            COALESCE(NULLIF(info.run_name, ''), {_tag("mlflow.runName")}) AS name,
            COALESCE(experiment.name, info.experiment_id) AS experiment,
            COALESCE({_tag("mlflow.user")}, NULLIF(info.user_id, '')) AS "user",
            {_instant("info.start_time", "start_time", place)} AS start_time,
            {_instant("info.end_time", "end_time", place)} AS end_time,
            NULLIF(info.status, '') AS status,
            CASE WHEN len({entries}) > 0 THEN map_from_entries({entries}) END AS labels
        FROM raw LEFT JOIN experiment ON experiment.experiment_id = info.experiment_id
    """


def _tag(name: str) -> str:
    return f"NULLIF(list_filter(tags, lambda tag: tag.key = {literal(name)})[1].value, '')"


# Where data lies, by the kinds of source that MLflow writes; one made in code has no place of its own.
SOURCES = ("uri", "url", "path", "delta_table_name", "table_name")


def _logged(base_url: str) -> str:
    """Datasets, the folder of artifacts, and models that a run logged or took."""
    source = " , ".join(f"entry.dataset.source ->> '$.{name}'" for name in SOURCES)
    # `dataset` is what MLflow calls one that nobody named.
    dataset = f"""unnest([CASE WHEN json_valid(entry.dataset.source) THEN COALESCE({source}) ELSE entry.dataset.source END,
        NULLIF(entry.dataset.name, 'dataset')])"""
    parts = [
        ("read", "dataset", dataset, "unnest(datasets)"),
        ("write", "checkpoint", "entry", "info.artifact_uri"),
        ("write", "model", "'models:/' || entry.model_id", "unnest(models_written)"),
        ("read", "model", "'models:/' || entry.model_id", "unnest(models_read)"),
    ]
    return " UNION ALL ".join(
        f"""SELECT {_place(base_url)} AS origin_file, 1 AS origin_row, run_id,
            {literal(direction)} AS direction, {literal(kind)} AS kind, {uri} AS uri, CAST(NULL AS TIMESTAMPTZ) AS "at"
            FROM (SELECT run_id, info, {entries} AS entry FROM raw)"""
        for direction, kind, uri, entries in parts
    )


def _versions(base_url: str, folder: Path) -> str:
    """One row a version of a registered model, with `marks`: its aliases, its stage and the names of its tags."""
    place = f"{literal(base_url.rstrip('/') + '/#/models/')} || version.name || '/versions/' || version.version"
    models = _lines(folder / "registered_models", {"name": "VARCHAR", "aliases": "STRUCT(alias VARCHAR, version VARCHAR)[]"})
    return f"""
        SELECT {place} AS origin_file, name, version, NULLIF(source, '') AS source, NULLIF(run_id, '') AS run_id, status, tags,
            {_instant("creation_timestamp", "creation_timestamp", place)} AS created,
            list_transform(list_concat(aliases, [current_stage], list_transform(tags, lambda tag: tag.key)),
                lambda mark: lower(mark)) AS marks
        FROM (
            SELECT DISTINCT ON (name, version) * REPLACE (COALESCE(tags, []) AS tags)
            FROM {_lines(folder / "model_versions", VERSION_COLUMNS)}
        ) AS version LEFT JOIN (
            SELECT name, version, list(alias) AS aliases FROM (
                SELECT name, unnest(aliases, recursive := true) FROM (SELECT DISTINCT ON (name) name, aliases FROM {models})
            ) GROUP BY name, version
        ) AS named USING (name, version)
    """


def _version_artifacts() -> str:
    """A version as its run's, by its own name and by the place of its files."""
    return """
        SELECT origin_file, 1 AS origin_row, run_id, 'write' AS direction, 'model' AS kind,
            unnest(['models:/' || name || '/' || version, source]) AS uri, created AS "at"
        FROM version
    """


def _releases(patterns: Sequence[str], marks: Sequence[str]) -> str:
    wanted = " OR ".join(f"name GLOB {literal(pattern)}" for pattern in patterns) or "false"
    marked = " OR ".join(f"mark GLOB {literal(mark.lower())}" for mark in marks) or "false"
    of = """CASE WHEN run_id IS NOT NULL THEN {'kind': 'run', 'of': [run_id]}
        WHEN source IS NOT NULL THEN {'kind': 'checkpoint', 'of': [source]}
        ELSE {'kind': 'model', 'of': [name || '/' || version]} END"""
    return f"""
        SELECT origin_file, 1 AS origin_row, name || ' ' || version AS release, name AS model, version,
            COALESCE({_tag("license")}, {_tag("licence")}) AS licence, {_tag("published_at")} AS published_at,
            COALESCE({_time("released_at")}, created) AS released_at, {_time("withdrawn_at")} AS withdrawn_at,
            CAST(to_json([struct_insert({of}, "at" := origin_file, role := 'run')]) AS VARCHAR) AS lineage
        FROM version
        WHERE ({wanted}) AND status = 'READY' AND len(list_filter(marks, lambda mark: {marked})) > 0
    """


def _time(tag: str) -> str:
    value = f"trim({_tag(tag)})"
    day = rf"regexp_full_match({value}, '\d{{4}}-\d{{2}}-\d{{2}}')"
    zoned = rf"regexp_full_match({value}, '.*([Zz]|[-+]\d{{2}}(:?\d{{2}})?)')"
    bad = refuse("origin_file", "NULL", f"tag {tag}", value, "a date such as 2026-10-01, or a time with a zone")
    return f"""CASE WHEN {value} IS NULL THEN NULL ELSE COALESCE(
        TRY_CAST(CASE WHEN {day} THEN {value} || ' 00:00:00+00' WHEN {zoned} THEN {value} END AS TIMESTAMPTZ), {bad}) END"""
