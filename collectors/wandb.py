r"""Runs of Weights & Biases, out of a file that its API was exported to: what they were, read and wrote.

Reads files; needs read permission on them, nothing else: no wandb package, no network.

    [collectors.wandb]
    path = "runs.jsonl"          # .jsonl, .ndjson, .json (an array) or .csv, gzipped or not; file, folder or glob
    cluster = "h100"             # the jobs that runs name are on this cluster, unless a run says another

    [collectors.wandb.keys]      # keys of config and arguments that name jobs, checkpoints and data, where yours differ
    checkpoints_read = ["resume_from", "start_from"]

The export is one JSON object a run, with the names of the API's `Run`; this writes it (`pip install wandb`, in an environment
of its own):

    import json, wandb
    for run in wandb.Api().runs("ENTITY/PROJECT", per_page=1000):
        artifacts = {
            f"{how}_artifacts": [{"name": a.qualified_name, "type": a.type, "created_at": a.created_at} for a in listed()]
            for how, listed in (("used", run.used_artifacts), ("logged", run.logged_artifacts))
        }
        print(json.dumps({
            "id": run.id, "name": run.name, "entity": run.entity, "project": run.project, "state": run.state,
            "user": run.user.username, "group": run.group, "job_type": run.job_type, "tags": run.tags,
            "created_at": run.created_at, "heartbeat_at": run.heartbeat_at, "config": run.config,
            "summary": {"_runtime": run.summary.get("_runtime")}, "metadata": run.metadata, **artifacts,
        }, default=str))

Needed are `id` and `created_at`; `createdAt`, `heartbeatAt`, `jobType` and `displayName` are taken too. A time without a zone
is UTC, as W&B writes it. A run that has ended ends at `ended_at`, or where that is not told at its last `heartbeat_at`, or
after `summary._runtime` seconds. A CSV has the same names as its header, `config`, `metadata` and `tags` as JSON; every other
column (`config.lr` as `lr`) is a label under its own name, as in the table that the web page exports, whose ID column has to
be shown.

Labels are the config, flattened (`optimizer.lr`), and `group`, `job_type`, `tags`, `sweep`, `program`, `host`, `slurm.job_id`
and the other variables of Slurm in the metadata, and `args.NAME` of the command line. Artifacts are paths that they name, and
those that runs used and logged: types with `model`, `data`, `checkpoint` or `ckpt` in their name; the rest is counted in a
finding.

Cannot see runs that were not exported: what a new export no longer has is forgotten. Nor history, system metrics, and which
run resumed which when it says nothing of it.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, ClassVar, NoReturn, cast

import duckdb

from rdspend import border, sheet, tracking
from rdspend.bills.files import JSON_SUFFIXES, File, find, plain, readable, sound, whole_gzip
from rdspend.bills.scratch import scratch
from rdspend.border import identifier, literal
from rdspend.errors import BadRecord, SourceUnavailable
from rdspend.schema import Delivery, Location, Window
from rdspend.tracking import Keys

SUFFIXES = (*JSON_SUFFIXES, ".csv", ".csv.gz")
CHUNK_BYTES = 1 << 20
ROWS_AT_ONCE = 1_000
SEEN = "id VARCHAR, experiment VARCHAR, file VARCHAR, row BIGINT"

# Ours: the names that exports have, best first, compared without capitals and blanks.
NAMES = {
    "id": ("id", "run_id"),
    "name": ("display_name", "displayname", "name"),
    "entity": ("entity",),
    "project": ("project", "project_name"),
    "state": ("state",),
    "person": ("user", "username"),
    "team": ("group",),
    "job_type": ("job_type", "jobtype"),
    "tags": ("tags",),
    "sweep": ("sweep", "sweep_name", "sweepname"),
    "created_at": ("created_at", "createdat", "created"),
    "heartbeat_at": ("heartbeat_at", "heartbeatat"),
    "ended_at": ("ended_at", "endedat", "finished_at", "finishedat", "end_time"),
    "runtime": ("runtime", "_runtime"),
    "config": ("config",),
    "summary": ("summary",),
    "metadata": ("metadata",),
    "used": ("used_artifacts",),
    "logged": ("logged_artifacts",),
}
# Where the API's own spelling differs by more than capitals.
CAMELS = {
    "name": ("displayName",),
    "job_type": ("jobType",),
    "sweep": ("sweepName",),
    "created_at": ("createdAt",),
    "heartbeat_at": ("heartbeatAt",),
    "ended_at": ("endedAt", "finishedAt"),
}
PATHS_OF = {ours: tuple(f"$.{name}" for name in (*names, *CAMELS.get(ours, ()))) for ours, names in NAMES.items()}
PATHS = tuple(dict.fromkeys(("$.user.username", "$.user.name", *(path for paths in PATHS_OF.values() for path in paths))))
OBJECTS = ("config", "summary", "metadata")
LISTS = ("used", "logged")


@dataclass(frozen=True)
class Wandb:
    """`path`: exported runs."""

    of_releases: ClassVar[bool] = True

    path: Location
    cluster: str | None = None
    keys: Keys = field(default_factory=Keys)

    def collect(self, window: Window) -> Iterator[Delivery]:
        """All runs of the files, whatever the window. Raises SourceUnavailable and BadRecord, with file and line."""
        with readable(str(self.path)):
            files = find(str(self.path))
        if not files:
            raise SourceUnavailable(f"{self.path}: no such file; that there are no runs is said by `[]`")
        with scratch("wandb") as folder, duckdb.connect() as connection:
            tracking.prepare(connection, str(folder))
            connection.execute(f"CREATE TABLE seen ({SEEN})")
            connection.execute("CREATE TABLE other (type VARCHAR)")
            for file in files:
                _read(connection, file)
            _refuse_twice(connection)
            notes = list(_notes(connection, str(self.path)))
            for delivery in tracking.deliver(connection, self.keys, self.cluster, str(self.path)):
                if delivery.table == "artifacts":
                    yield Delivery("artifacts", delivery.rows, notes=notes)
                else:
                    yield delivery


# --- files ------------------------------------------------------------------------------------------------------------


def _read(connection: duckdb.DuckDBPyConnection, file: str) -> None:
    """Appends the records of a file to `run`, `logged` and `other`. The first that can't be read is refused with its line."""
    if not file.lower().endswith(SUFFIXES):
        raise BadRecord(f"not a {', '.join(SUFFIXES)} file; name the right ones by a glob", file)
    if file.lower().endswith((".csv", ".csv.gz")):
        landed = sheet.land(connection, "landed", file)
        refuse, row, source = landed.refuse, "rdspend_row", "landed"
        values = _of_table({name: f"rdspend_{place}" for place, name in enumerate(landed.header)})
    else:
        records = Records(file)
        records.land(connection)
        # One look at a record for all of it: each look takes memory of its own.
        connection.execute(f"CREATE VIEW found AS SELECT row, json_extract_string(json, {list(PATHS)}) AS found FROM landed")
        refuse, row, source, values = records.refuse, "row", "found", _of_json()
    columns = ", ".join(f"CAST({value} AS VARCHAR) AS {identifier(name)}" for name, value in values.items())
    rows = connection.execute("SELECT count(*) FROM landed").fetchall()[0][0]
    for first in range(0, rows, ROWS_AT_ONCE):
        some = f"{row} > {first} AND {row} <= {first + ROWS_AT_ONCE}"
        origin = f"{literal(file)} AS file, {row} AS row"
        connection.execute(f"CREATE OR REPLACE TABLE raw AS SELECT {origin}, {columns} FROM {source} WHERE {some}")
        for number, name, found, expected in connection.execute(_problems()).fetchall():
            refuse(number, f"{name}: found {'nothing' if found is None else repr(found[:80])}; expected {expected}")
        seen = "SELECT id, concat_ws('/', entity, project) AS experiment, file, row FROM raw"
        connection.execute(f"INSERT INTO seen BY NAME {seen}")
        connection.execute(f"INSERT INTO run BY NAME {RUNS}")
        connection.execute(f"INSERT INTO logged BY NAME SELECT * EXCLUDE (type) FROM ({USED}) WHERE kind IS NOT NULL")
        connection.execute(f"INSERT INTO other SELECT type FROM ({USED}) WHERE kind IS NULL")
    connection.execute("DROP VIEW IF EXISTS found")
    connection.execute("DROP TABLE landed")


@dataclass(frozen=True)
class Records:
    """A file of JSON: an object a line, or an array of objects."""

    file: str

    def land(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Table `landed`: row from 1, and json."""
        lines = not self.file.lower().endswith((".json", ".json.gz"))
        form = "newline_delimited" if lines else "auto"
        source = f"read_json_objects({plain(Path(self.file))}, format = '{form}')"
        file = File(self.file, Path(self.file))
        # DuckDB 1.5 takes a truncated gzip for a short one, and an empty file for no runs.
        with readable(self.file), whole_gzip(file), self._open() as stream:
            empty = True
            while chunk := stream.read(CHUNK_BYTES):
                empty = empty and not chunk.strip()
        if empty:
            raise BadRecord(
                "is empty; expected an object a line, or an array: that there are no runs is said by `[]`", self.file
            )
        try:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE landed AS SELECT row_number() OVER () AS row, json FROM {source}")
        except duckdb.InvalidInputException as error:
            self._refuse_malformed(str(error))
        with sound(file):
            bad = connection.execute(
                "SELECT row, left(json, 60) FROM landed WHERE json_type(json) <> 'OBJECT' LIMIT 1"
            ).fetchall()
        for row, shown in bad:
            self.refuse(row, f"found {shown!r}; expected an object, a run")

    def refuse(self, row: int, message: str) -> NoReturn:
        raise BadRecord(message, self.file, self._line(row))

    def _open(self) -> IO[bytes]:
        return cast(IO[bytes], gzip.open(self.file) if self.file.lower().endswith(".gz") else Path(self.file).open("rb"))

    def _texts(self) -> Iterator[tuple[int, str]]:
        """Each record's first line and text: lines that are not blank, or what stands in the array."""
        with self._open() as stream:
            text = stream.read().decode("utf-8", "replace")
        if not text.lstrip("\ufeff \t\r\n").startswith("["):
            yield from ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
            return
        place = text.index("[") + 1
        while match := re.compile(r"[\s,]*(?=[^\s,\]])").match(text, place):
            try:
                _, end = json.JSONDecoder().raw_decode(text, match.end())
            except ValueError:
                end = len(text)
            yield text.count("\n", 0, match.end()) + 1, text[match.end() : end]
            place = end

    def _line(self, row: int) -> int | None:
        """Only a hint for a person is looked for here; the record itself was read."""
        return next((line for number, (line, _) in enumerate(self._texts(), 1) if number == row), None)

    def _refuse_malformed(self, words: str) -> NoReturn:
        for line, text in self._texts():
            try:
                json.loads(text)
            except (ValueError, RecursionError) as error:
                raise BadRecord(f"is no whole JSON: {error}", self.file, line) from None
        raise BadRecord(f"can't be read: {' '.join(words.split())[:300]}", self.file)


def _of_json() -> dict[str, str]:
    """Our columns out of the texts `found` at PATHS; objects and lists are JSON."""
    places = {path: f"NULLIF(found[{place}], '')" for place, path in enumerate(PATHS, 1)}
    values = {ours: f"COALESCE({', '.join(places[path] for path in paths)})" for ours, paths in PATHS_OF.items()}
    user = places["$.user"]
    values["person"] = f"COALESCE({places['$.user.username']}, {places['$.user.name']}, "
    values["person"] += f"CASE WHEN NOT starts_with({user}, '{{') THEN {user} END, {places['$.username']})"
    return {**values, "rest": "NULL"}


def _of_table(columns: Mapping[str, str]) -> dict[str, str]:
    """The same out of columns of text; those without a meaning of ours go into `rest`."""
    by_name = {name.strip().lower().replace(" ", "_"): column for name, column in columns.items()}
    values = {
        ours: f"COALESCE({', '.join([*(by_name[name] for name in names if name in by_name), 'NULL'])})"
        for ours, names in NAMES.items()
    }
    known = {name for names in NAMES.values() for name in names}
    others = [
        (n, c) for n, c in columns.items() if n.strip().lower().replace(" ", "_") not in known and not n.startswith("summary.")
    ]
    pairs = ", ".join(f"{literal(name.strip().removeprefix('config.'))}, {column}" for name, column in others)
    return {**values, "rest": f"json_object({pairs})"}


def _problems() -> str:
    """The first record that can't be read, what of it, and why."""
    checks = [("id", "id IS NULL", "an id: W&B shows it as the ID column, and at the end of a run's address")]
    checks += [
        (
            name,
            f"{name} IS NOT NULL AND (NOT json_valid({name}) OR json_type({name}) NOT IN ('{kind}', 'NULL'))",
            f"{words} as JSON",
        )
        for names, kind, words in ((OBJECTS, "OBJECT", "an object"), (LISTS, "ARRAY", "a list of objects with name and type"))
        for name in names
    ]
    checks += [
        (name, f"json_valid({name}) AND {UNNAMED.format(name)}", "a list of objects with name and type") for name in LISTS
    ]
    checks += [
        (name, f"{name} IS NOT NULL AND {_instant(name)} IS NULL", "a time, ISO 8601 such as 2026-10-01T08:00:00Z")
        for name in ("created_at", "heartbeat_at", "ended_at")
    ]
    checks.append(("created_at", "created_at IS NULL", "a time"))
    cases = " ".join(
        f"WHEN {wrong} THEN {{'name': {literal(name)}, 'found': {name}, 'expected': {literal(expected)}}}"
        for name, wrong, expected in checks
    )
    return f"""
        SELECT row, problem.name, problem.found, problem.expected FROM (SELECT row, CASE {cases} END AS problem FROM raw)
        WHERE problem IS NOT NULL ORDER BY row LIMIT 1
    """


def _refuse_twice(connection: duckdb.DuckDBPyConnection) -> None:
    found = connection.execute("""
        SELECT id, count(DISTINCT experiment), min(place).file, min(place).row, max(place).file, max(place).row
        FROM (SELECT id, experiment, {'file': file, 'row': row} AS place FROM seen)
        GROUP BY id HAVING count(*) > 1 ORDER BY id LIMIT 1
    """).fetchall()
    for run_id, projects, file, row, other, other_row in found:
        fix = "keep one" if projects == 1 else "give one project a [collectors.wandb.NAME] of its own"
        raise BadRecord(f"run {run_id!r} is record {row} of {file} and record {other_row} here; {fix}", other)


# --- from text to the ledger's types ----------------------------------------------------------------------------------

UNNAMED = """len(list_filter(CAST(CASE WHEN json_type({0}) = 'ARRAY' THEN {0} END AS JSON[]), lambda each:
    json_type(each) <> 'OBJECT' OR COALESCE(each ->> '$.name', '') = '' OR COALESCE(each ->> '$.type', '') = '')) > 0"""
GOING = ("running", "pending", "preempting")


def _instant(text: str) -> str:
    """W&B's times are of UTC, with a zone or without."""
    zoned = border.instant(text)
    plain = rf"CASE WHEN regexp_full_match({text}, '\d{{4}}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?') THEN {text} || 'Z' END"
    return f"COALESCE({zoned}, TRY_CAST({plain} AS TIMESTAMPTZ))"


LASTED = "TRY_CAST(COALESCE(summary ->> '$._wandb.runtime', summary ->> '$._runtime', runtime) AS DECIMAL(18, 6))"
LAST = f"{_instant('created_at')} + to_microseconds(CAST({LASTED} * 1000000 AS BIGINT))"
END = f"""CASE WHEN {_instant("ended_at")} IS NOT NULL THEN {_instant("ended_at")}
    WHEN lower(state) IN ({", ".join(map(literal, GOING))}) THEN NULL
    ELSE COALESCE({_instant("heartbeat_at")}, {LAST}) END"""

# Every key of an object or of objects in it, `optimizer.lr`, with its value as text; a list is one value.
KEYS = r"""
    SELECT record, regexp_replace(regexp_replace(tree.fullkey[3:], '\\?"', '', 'g'), '^_wandb\..*$', '') AS key,
        CASE WHEN tree.type = 'VARCHAR' THEN tree.atom ->> '$' ELSE CAST(tree.value AS VARCHAR) END AS value
    FROM (SELECT rowid AS record, CAST({0} AS JSON) AS object FROM raw WHERE {0} IS NOT NULL) AS given,
        json_tree(given.object) AS tree
    WHERE tree.type NOT IN ('OBJECT', 'NULL') AND NOT contains(tree.path, '[') AND tree.path IS NOT NULL
        AND NOT regexp_matches(tree.fullkey, '\[[0-9]+\]$')
"""

# --flag value and --flag=value of the command line; a flag without a value is `true`.
ARGUMENTS = r"""
    SELECT record, 'args.' || replace(regexp_extract(word, '^--?([^=]+)', 1), '-', '_') AS key,
        CASE WHEN contains(word, '=') THEN regexp_extract(word, '=(.*)$', 1, 's')
            WHEN next IS NULL OR starts_with(next, '-') THEN 'true' ELSE next END AS value
    FROM (
        SELECT record, args[place] AS word, args[place + 1] AS next FROM (
            SELECT record, args, unnest(range(1, len(args) + 1)) AS place FROM (
                SELECT rowid AS record, CAST(metadata -> '$.args' AS VARCHAR[]) AS args FROM raw
                WHERE json_type(metadata -> '$.args') = 'ARRAY'
            )
        )
    ) WHERE regexp_matches(word, '^--?[A-Za-z]')
"""

# The API's list as the web page shows it: `final, 7b`.
LISTED = "array_to_string(CAST(tags AS VARCHAR[]), ', ')"
TAGS = f"CASE WHEN json_valid(tags) AND json_type(tags) = 'ARRAY' THEN {LISTED} ELSE tags END"
OWN = {
    "group": "team",
    "job_type": "job_type",
    "tags": TAGS,
    "sweep": "sweep",
    **{name: f"metadata ->> '$.{name}'" for name in ("program", "host")},
}

# The config first: what it says itself stays.
LABELS = f"""
    SELECT record, map_from_entries(list({{'key': key, 'value': value}} ORDER BY key)) AS labels FROM (
        SELECT record, key, arg_min(value, (place, value)) AS value FROM (
            SELECT 1 AS place, * FROM ({KEYS.format("config")})
            UNION ALL SELECT 2, * FROM ({KEYS.format("rest")})
            UNION ALL SELECT 3, record, 'slurm.' || lower(regexp_replace(key, '^(SLURM|slurm)_', '')), value
                FROM ({KEYS.format("(metadata -> '$.slurm')")})
            UNION ALL SELECT 4, * FROM ({ARGUMENTS})
            {" ".join(f"UNION ALL SELECT 5, rowid, {literal(key)}, {value} FROM raw" for key, value in OWN.items())}
        ) WHERE key <> '' AND value <> '' GROUP BY record, key
    ) GROUP BY record
"""

RUNS = f"""
    SELECT file AS origin_file, row AS origin_row, id AS run_id, name, concat_ws('/', entity, project) AS experiment,
        person AS "user", {_instant("created_at")} AS start_time, {END} AS end_time, state AS status, labels
    FROM (SELECT rowid AS record, * FROM raw) LEFT JOIN ({LABELS}) USING (record)
"""

USED = " UNION ALL ".join(
    f"""
    SELECT file AS origin_file, row AS origin_row, id AS run_id, {literal(direction)} AS direction,
        artifact ->> '$.name' AS uri, {_instant("(artifact ->> '$.created_at')")} AS "at", artifact ->> '$.type' AS type,
        CASE WHEN regexp_matches(lower(artifact ->> '$.type'), 'checkpoint|ckpt') THEN 'checkpoint'
            WHEN contains(lower(artifact ->> '$.type'), 'model') THEN 'model'
            WHEN contains(lower(artifact ->> '$.type'), 'data') THEN 'dataset' END AS kind
    FROM (SELECT file, row, id, unnest(CAST({name} AS JSON[])) AS artifact FROM raw WHERE json_type({name}) = 'ARRAY')"""
    for name, direction in (("used", "read"), ("logged", "write"))
)


def _notes(connection: duckdb.DuckDBPyConnection, subject: str) -> Iterator[tuple[str, str, str, int]]:
    others, types = connection.execute(
        "SELECT count(*), array_to_string(list_sort(list(DISTINCT type))[:10], ', ') FROM other"
    ).fetchall()[0]
    if others:
        words = f"{others:,} artifacts are neither checkpoints nor models nor data and are left out: they are of type {types}"
        yield "artifact_of_other_type", subject, words, others
