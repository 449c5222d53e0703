"""Jobs from a job log that someone exported: any CSV or Parquet file, by a mapping of its columns.

Reads local files; needs read permission on them, nothing else. One header line, UTF-8, one row a job:

    [collectors.job_log]
    cluster = "c1"
    path = "jobs.csv"             # .csv, .csv.gz or .parquet; a file, a folder (all files in it) or a glob
    nodes = "nodes.csv"           # optional: node, resource_id, gpus, gpu_type, cpus, memory_gib, start_time, end_time,
                                  # pool, instance_type, queue
    separator = ","               # of the CSV

    [collectors.job_log.columns]  # ours = "theirs", or a SQL expression over theirs; only where names differ
    user = "Owner"
    gpus = "workers * gpus_per_worker"
    start_time = "to_timestamp(1682899200 + arrival_seconds)"
    stage = "CASE WHEN kind = 7 THEN 'pretraining' END"

Needed: `job_id`, `start_time`, `end_time`, `gpus`. Used when there: `submit_time` (otherwise the start), `state`,
`nodes`, `node_count`, `gpu_type`, `requested_gpus`, `cpus`, `memory_gib`, `exit_code`, `user`, `account`, `project`,
`queue`, `qos`, `name`, `command`, `script`, `image`, `work_dir`, `array_job_id`, `resource_id`. Every other column is
a label under its own name: `activity`, `stage`, `who`, `comment` and so on; a mapped one as `"labels.team" = "Team"`.
Capitals don't matter.

Times are ISO 8601 with a zone. An empty `end_time`: the job still runs; an empty `start_time`: it never started.
`gpus`, `cpus` and `memory_gib` are the job's total, spread evenly over `nodes`, a host list (`n[1-3,7]`) or names with
blanks between. A job that names no node is put on one pool node for each GPU type, `<cluster>-<gpu_type>`, whose
capacity is not known, so that its idle is not known either; without GPUs it can take no money and is counted in the
findings.

In an expression a column whose every value is a plain number is a number, any other is text; a column taken over
unchanged keeps its text exactly. An expression makes one value of one row, with functions that have no effects.

Cannot see what the log does not say: jobs left out, time that a job waited inside its span, GPUs that it held but did
not count. The log has to hold all jobs of the time it is asked for, and all that named the nodes of earlier months:
what a new version of the log no longer holds is forgotten for that time. One bad record stops the whole log.
"""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any, NoReturn

import duckdb

from rdspend import border, expression, sheet
from rdspend.border import identifier, literal
from rdspend.errors import ConfigError
from rdspend.hostlist import expand
from rdspend.schema import NAME, Delivery, Location, Window
from rdspend.sheet import Sheet

TEXT_NAMES = "user account project queue qos name command script image work_dir gpu_type array_job_id resource_id"
TEXTS = tuple(TEXT_NAMES.split())
TIMES = ("submit_time", "start_time", "end_time")
WHOLES = ("cpus", "node_count")
NUMBERS = ("gpus", "requested_gpus", "memory_gib", *WHOLES)
FIELDS = ("job_id", *TIMES, "state", "nodes", "exit_code", *NUMBERS, *TEXTS)
NEEDED = ("job_id", "start_time", "end_time", "gpus")
LABELS = ("activity", "stage", "who", "comment", "admin_comment", "wckey", "extra")

NODE_TEXTS = ("node", "resource_id", "pool", "gpu_type", "instance_type", "queue")
NODE_FIELDS = (*NODE_TEXTS, "gpus", "cpus", "memory_gib", "start_time", "end_time")

# Slurm's words, and those that other schedulers and platforms export. Compared in lower case, `-` and blank as `_`.
WORDS = {
    "completed": "completed complete succeeded success successful done finished passed pass",
    "failed": "failed failure fail error node_fail boot_fail launch_failed out_of_memory oom",
    "cancelled": "cancelled canceled aborted killed revoked deleted",
    "timeout": "timeout timed_out deadline",
    "preempted": "preempted requeued evicted interrupted",
    "running": "running pending suspended configuring resizing signaling stage_out queued waiting submitted starting "
    "in_progress inprogress active",
}
# SageMaker's `Stopped` has ended, Slurm's holds its nodes; a completing job may have its end already.
BY_END = {"stopped": "cancelled", "stopping": "cancelled", "completing": "completed"}

# What sacct prints where no node is known yet.
NO_NODES = ("", "None assigned", "(null)")

MAX_GPUS = 10_000_000
MAX_COUNT = 1_000_000_000

WHOLE_NUMBER = "-?(0|[1-9][0-9]{0,17})"
PLAIN_NUMBER = rf"{WHOLE_NUMBER}(\.[0-9]+)?([eE][-+]?[0-9]{{1,2}})?"

# One GPU type, one pool node: it stands for all nodes of a cluster that its job log does not name.
POOL = "cluster || '-' || COALESCE(gpu_type, 'gpu')"


@dataclass(frozen=True)
class JobLog:
    """`columns`: ours = theirs, or an expression over theirs."""

    cluster: str
    path: Location
    nodes: Location | None = None
    columns: dict[str, str] = field(default_factory=dict)
    separator: str = ","

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.cluster):
            _refuse("cluster", f"found {self.cluster!r}, expected letters, digits, '_', '.' and '-'")
        if len(self.separator) != 1 or self.separator in '"\r\n':
            _refuse("separator", f"found {self.separator!r}, expected one character such as ',', ';', '|' or '\\t'")
        for ours in self.columns:
            if ours not in FIELDS + LABELS and not re.fullmatch(r"labels\..+", ours):
                near = difflib.get_close_matches(ours, FIELDS + LABELS, 1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                _refuse(f"columns.{ours}", f'unknown column; {hint}A label is written "labels.{ours}" = "..."')

    def collect(self, window: Window) -> Iterator[Delivery]:
        """The nodes of the cluster, then jobs that overlap the window, ended in it or are open, and their placements.

        The whole log is read and checked first. Raises BadRecord, ConfigError for the mapping, SourceUnavailable.
        """
        scope = {"cluster": self.cluster}
        with tempfile.TemporaryDirectory(prefix="rdspend-") as spill, duckdb.connect() as connection:
            for setting in (
                "TimeZone = 'UTC'",
                "enable_progress_bar = false",
                "memory_limit = '512MB'",
                f"temp_directory = {literal(spill)}",
            ):
                connection.execute(f"SET {setting}")
            log = _Log(connection, self)
            log.read_jobs()
            log.read_nodes()
            log.read_host_lists()
            notes = log.findings(window)
            yield Delivery("nodes", connection.sql(log.nodes_sql()), scope)
            yield Delivery("jobs", connection.sql(_jobs_sql(window)), scope, notes=notes)
            yield Delivery("placements", connection.sql(_placements_sql(window)), scope)


def _refuse(key: str, message: str) -> NoReturn:
    raise ConfigError(f"collectors.job_log.{key}: {message}")


# --- the mapping ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mapping:
    """How the columns of one sheet become ours; places count from 0."""

    bare: dict[str, int]  # ours -> place of theirs
    expressions: dict[str, str]
    used: list[int]  # places of the columns that expressions name
    labels: dict[str, int]  # label -> place, of the columns that nobody asked for

    def values(self) -> dict[str, str]:
        """Ours -> SQL over the sheet, as text."""
        values = {ours: f"rdspend_{place}" for ours, place in self.bare.items()}
        return values | {ours: f"NULLIF(CAST(({sql}\n) AS VARCHAR), '')" for ours, sql in self.expressions.items()}


def _map(log: Sheet, columns: Mapping[str, str]) -> _Mapping:
    places = {name.lower(): place for place, name in enumerate(log.header)}
    bare = {ours: places[theirs.lower()] for ours, theirs in columns.items() if theirs.lower() in places}
    expressions = {ours: text for ours, text in columns.items() if ours not in bare}
    used = [place for ours, text in expressions.items() for place in _places(log, ours, text, places)]
    bare |= {ours: places[ours] for ours in FIELDS if ours in places and ours not in columns}
    for name in NEEDED:
        if name not in bare and name not in expressions:
            _refuse_without(log, name)
    rest = {name: place for place, name in enumerate(log.header) if place not in bare.values()}
    labels = {name.lower() if name.lower() in LABELS else name: place for name, place in rest.items()}
    return _Mapping(bare, expressions, sorted(set(used)), labels)


def _places(log: Sheet, ours: str, text: str, places: Mapping[str, int]) -> Iterator[int]:
    """The places of the columns that an expression names."""
    try:
        names = expression.columns(text)
    except ValueError as error:
        _refuse(f"columns.{ours}", f"{text!r}: {error}")
    for name in names:
        if name.lower() not in places:
            near = difflib.get_close_matches(name.lower(), places, 1)
            hint = f"; did you mean {log.header[places[near[0]]]!r}?" if near else ""
            has = sheet.listed(log.header)
            _refuse(f"columns.{ours}", f"unknown column {name!r}; the file has {has}{hint} ({log.file})")
        yield places[name.lower()]


def _refuse_without(log: Sheet, name: str) -> NoReturn:
    near = difflib.get_close_matches(name, [theirs.lower() for theirs in log.header], 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    advice = f'Write {name} = "..." under [collectors.job_log.columns]'
    advice += "" if len(log.header) > 1 else ", or set `separator`"
    log.refuse_header(f"no column {name!r}; the file has {sheet.listed(log.header)}; {hint}{advice}")


# --- the log in DuckDB ------------------------------------------------------------------------------------------------


class _Log:
    """One reading of the log: tables `job`, `node` and `host` on one connection, checked and in the ledger's types."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, config: JobLog) -> None:
        self.connection, self.config, self.sheets = connection, config, dict[str, Sheet]()

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, list(parameters)).fetchall()

    def land(self, file: str, separator: str = ",") -> Sheet:
        self.sheets[file] = sheet.land(self.connection, "raw", file, separator)
        return self.sheets[file]

    def refuse_problems(self, table: str) -> None:
        for file, row, column, found, expected, count in self.query(
            f"SELECT file, row, problem.place, problem.found, problem.expected, count(*) OVER () FROM {table} "
            "WHERE problem IS NOT NULL ORDER BY file, row LIMIT 1"
        ):
            more = f" ({count - 1:,} more records are refused)" if count > 1 else ""
            said = "nothing" if found is None else repr(found[:80])
            self.sheets[file].refuse(row, f"{column}: found {said}, expected {expected}{more}")

    # Jobs.

    def read_jobs(self) -> None:
        """Table `job`: the columns of JOBS, and nodes (the host list), file, row, problem. Every record of the log."""
        land = "CREATE TEMP TABLE job AS"
        for file in sheet.find(self.config.path):
            mapped = self._mapped_sql(self.land(file, self.config.separator))
            self.query(f"{land} {_job_sql(self.config.cluster, mapped)}")
            land = "INSERT INTO job BY NAME"
        self.query("DROP TABLE raw")
        self.refuse_problems("job")
        self._refuse_duplicates()

    def _mapped_sql(self, log: Sheet) -> str:
        """Table `raw` in; our columns out, as text or null, with file, row and labels."""
        mapping = _map(log, self.config.columns)
        source = f"(SELECT *{self._typed(log, mapping)} FROM raw)"
        for ours, text in mapping.expressions.items():
            self._try(log, ours, text, source, mapping)
        values = mapping.values()
        fields = ", ".join(f"CAST({values.get(name, 'NULL')} AS VARCHAR) AS {identifier(name)}" for name in FIELDS)
        labels = {name: f"rdspend_{place}" for name, place in mapping.labels.items()}
        labels |= {name.removeprefix("labels."): value for name, value in values.items() if name not in FIELDS}
        place = f"{literal(log.file)} AS file, rdspend_row AS row"
        return f"SELECT {place}, {fields}, {_map_sql(labels)} AS labels FROM {source}"

    def _typed(self, log: Sheet, mapping: _Mapping) -> str:
        """The columns that expressions name, under their names: as numbers where every value is one."""
        columns = ""
        for place in mapping.used:
            whole, plain, count = self.query(
                f"SELECT bool_and(regexp_full_match(rdspend_{place}, '{WHOLE_NUMBER}')), "
                f"bool_and(regexp_full_match(rdspend_{place}, '{PLAIN_NUMBER}')), count(rdspend_{place}) FROM raw"
            )[0]
            kind = "BIGINT" if whole else "DOUBLE" if plain else "VARCHAR"
            value = f"CAST(rdspend_{place} AS {kind})" if count else "NULL"
            columns += f", {value} AS {identifier(log.header[place])}"
        return columns

    def _try(self, log: Sheet, ours: str, text: str, source: str, mapping: _Mapping) -> None:
        """Binds an expression (ConfigError), then runs it: a value it can't work with is a BadRecord."""
        value = f"SELECT max(hash(CAST(({text}\n) AS VARCHAR))) FROM {source} WHERE rdspend_row"
        try:
            self.query(f"EXPLAIN {value} > 0")
        except duckdb.Error as error:
            reason = str(error).splitlines()[0] + "".join(self._first_texts(log, mapping))
            _refuse(f"columns.{ours}", f"{text!r}: {reason} ({log.file})")
        try:
            self.query(f"{value} > 0")
        except duckdb.Error as error:
            row = self._first_failing(value)
            log.refuse(row, f"collectors.job_log.columns.{ours}: {text!r}: {str(error).splitlines()[0]}")

    def _first_texts(self, log: Sheet, mapping: _Mapping) -> Iterator[str]:
        """For each column that is text, the first value that makes it so."""
        for place in mapping.used:
            for value, row in self.query(
                f"SELECT rdspend_{place}, rdspend_row FROM raw "
                f"WHERE NOT regexp_full_match(rdspend_{place}, '{PLAIN_NUMBER}') ORDER BY rdspend_row LIMIT 1"
            ):
                yield f"; {log.header[place]!r} is text because of {value[:40]!r} at {log.place(row)}"

    def _first_failing(self, value: str) -> int:
        """The first row that an expression fails on, by halving: DuckDB does not say which it was."""
        first, last = 1, int(self.query("SELECT count(*) FROM raw")[0][0])
        while first < last:
            middle = (first + last) // 2
            try:
                self.query(f"{value} BETWEEN {first} AND {middle}")
                first = middle + 1
            except duckdb.Error:
                last = middle
        return first

    def _refuse_duplicates(self) -> None:
        twice = "SELECT hash(job_key) FROM job GROUP BY 1 HAVING count(*) > 1"
        for job_id, files, rows in self.query(
            "SELECT any_value(job_id), list(file ORDER BY file, row)[:2], list(row ORDER BY file, row)[:2] FROM job "
            f"WHERE hash(job_key) IN ({twice}) GROUP BY job_key HAVING count(*) > 1 ORDER BY 2, 3 LIMIT 1"
        ):
            places = " and ".join(self.sheets[file].place(row) for file, row in zip(files, rows, strict=True))
            message = f"job {job_id!r} with the same submit time is there twice: {places}"
            for one, other in permutations(files) if files[0] != files[1] else ():
                jobs = "SELECT job_key FROM job WHERE file ="
                if not self.query(f"{jobs} $1 AND job_key NOT IN ({jobs} $2) LIMIT 1", [one, other]):
                    message += f"; all jobs of {one} are in {other} too: remove {one}"
                    break
            self.sheets[files[1]].refuse(rows[1], message)

    # Nodes.

    def read_nodes(self) -> None:
        """Table `node`: the nodes file in the columns of NODES, and file, row, problem; without one, nothing."""
        self.query(f"CREATE TEMP TABLE node AS {_node_sql('', 0, {})} LIMIT 0")
        for file in sheet.find(self.config.nodes) if self.config.nodes is not None else ():
            nodes = self.land(file)
            places = {name.lower(): place for place, name in enumerate(nodes.header)}
            for name in places:
                if name not in NODE_FIELDS:
                    near = difflib.get_close_matches(name, NODE_FIELDS, 1)
                    hint = f"did you mean {near[0]!r}?" if near else f"expected some of {', '.join(NODE_FIELDS)}"
                    nodes.refuse_header(f"unknown column {name!r}; {hint}")
            if "node" not in places:
                nodes.refuse_header(f"no column 'node'; the file has {sheet.listed(nodes.header)}")
            self.query(f"INSERT INTO node BY NAME {_node_sql(file, 1, places)}")
        self.refuse_problems("node")
        for name, file, row, earlier_file, earlier_row in self.query(OVERLAP_SQL):
            earlier = self.sheets[earlier_file].place(earlier_row)
            message = f"node {name!r} is there at the same time as in {earlier}; end one span where the next begins"
            self.sheets[file].refuse(row, message)

    # Placements.

    def read_host_lists(self) -> None:
        """Table `host`: for each host list of the log its names, and how many they are."""
        self.query("CREATE TEMP TABLE host (nodes VARCHAR, hosts BIGINT, position BIGINT, node VARCHAR)")
        first = "min({'file': file, 'row': row})"
        texts = self.query(f"SELECT nodes, {first} FROM job WHERE nodes IS NOT NULL GROUP BY nodes ORDER BY 2")
        names = [self._expand(text, place["file"], place["row"]) for text, place in texts]
        self.query(
            "INSERT INTO host SELECT nodes, len(names), unnest(range(1, len(names) + 1)), unnest(names) FROM "
            "(SELECT nodes, string_split(names, ',') AS names FROM (SELECT unnest($1) AS nodes, unnest($2) AS names))",
            [[text for text, _ in texts], names],
        )
        if self.config.nodes is not None:
            self._refuse_unknown_nodes()

    def _expand(self, text: str, file: str, row: int) -> str:
        try:
            names = expand(text)
        except ValueError as error:
            self.sheets[file].refuse(row, f"nodes: found {text[:80]!r}, expected a host list: {error}")
        if not names:
            self.sheets[file].refuse(row, f"nodes: found {text[:80]!r}, expected a name in it")
        return ",".join(names)

    def _refuse_unknown_nodes(self) -> None:
        for file, row, job_id, node in self.query(
            "SELECT file, row, job_id, node FROM job JOIN host USING (nodes) "
            "WHERE node NOT IN (SELECT node FROM node) ORDER BY file, row, position LIMIT 1"
        ):
            known = [name for (name,) in self.query("SELECT DISTINCT node FROM node ORDER BY node LIMIT 10000")]
            near = difflib.get_close_matches(node, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            message = f"nodes: job {job_id!r} ran on {node!r}, which is not in {self.config.nodes}{hint}"
            self.sheets[file].refuse(row, message)

    # Deliveries.

    def nodes_sql(self) -> str:
        """The nodes file; names in the log, where there is none; and pool nodes for jobs that name none."""
        cluster = literal(self.config.cluster)
        columns = "* EXCLUDE (file, row, problem), file AS origin_file, row AS origin_row"
        return f"""
            SELECT {cluster} AS cluster, {columns} FROM node
            UNION ALL BY NAME
            SELECT {cluster} AS cluster, * FROM ({HEARD_SQL}) WHERE node NOT IN (SELECT node FROM node)
        """

    def findings(self, window: Window) -> list[tuple[str, str, str, int]]:
        """What a person should know about the jobs of this window."""
        early, lost = "start_time < submit_time", "nodes IS NULL AND gpu_parts = 0 AND start_time IS NOT NULL"
        jobs = f"SELECT file, row, job_id FROM job WHERE {_in(window)} AND"
        found = [
            ("start_before_submit", "jobs start before they were submitted", f"{jobs} {early}"),
            ("job_without_node", "jobs without GPUs name no node: no money can reach them", f"{jobs} {lost}"),
        ]
        if self.config.nodes is not None:
            words = "placements lie outside the time that their node was there"
            found.append(("job_outside_node", words, _outside_sql(window)))
        return [note for kind, words, sql in found for note in self._note(kind, words, sql)]

    def _note(self, kind: str, words: str, sql: str) -> Iterator[tuple[str, str, str, int]]:
        first = "min({'file': file, 'row': row, 'job_id': job_id})"
        count, place = self.query(f"SELECT count(*), {first} FROM ({sql})")[0]
        if count:
            where = f"first job {place['job_id']!r} at {self.sheets[place['file']].place(place['row'])}"
            yield kind, self.config.cluster, f"{count:,} {words}; {where}", count


# --- from text to the ledger's types ----------------------------------------------------------------------------------

Check = tuple[str, str, str]
"""A column, when its text is wrong (SQL), and what was expected."""


def _problem(checks: Iterable[Check]) -> str:
    """The first check that a record fails, as a struct; null when it fails none."""
    cases = " ".join(
        f"WHEN {wrong} THEN {{'place': '{column}', 'found': {identifier(column)}, 'expected': {literal(expected)}}}"
        for column, wrong, expected in checks
    )
    return f"CASE {cases} END"


def _time_checks(column: str) -> Iterator[Check]:
    zone = "a time with a zone, ISO 8601 such as 2026-10-01T08:00:00Z or 2026-10-01 10:00:00+02:00"
    seconds = f"{zone}; seconds are mapped by to_timestamp(...)"
    wrong = f"{column} IS NOT NULL AND {column}_at IS NULL"
    yield column, f"{wrong} AND regexp_full_match({column}, '[-+.0-9eE]*')", seconds
    yield column, wrong, zone
    # A zero that stands for "not known" would make a job run for half a century.
    early = f"{column}_at <= TIMESTAMPTZ '1970-01-01 00:00:00+00'"
    late = f"{column}_at >= TIMESTAMPTZ '9999-01-01 00:00:00+00'"
    yield column, f"{early} OR {late}", "a time after 1970-01-01T00:00:00Z and before 9999, or an empty cell for none"


def _number_checks(column: str) -> Iterator[Check]:
    number = f"{column}_number"
    most = MAX_GPUS if "gpus" in column else MAX_COUNT
    wrong = f"{column} IS NOT NULL AND {number} IS NULL OR NOT {number} BETWEEN 0 AND {most}"
    yield column, wrong, f"a number from 0 to {most:,}"
    if "gpus" in column:
        parts = "whole GPUs or halves to tenths, sevenths, 12ths, 16ths, 20ths, 32nds or 64ths of one"
        yield column, f"{column} IS NOT NULL AND {column}_parts IS NULL", parts
    elif column in WHOLES:
        yield column, f"{number} <> TRUNC({number})", "a whole number"


def _job_checks() -> Iterator[Check]:
    yield "job_id", "job_id IS NULL", "an id"
    for column in TIMES:
        yield from _time_checks(column)
    yield "submit_time", "submit_time_at IS NULL", "a time, or one in start_time"
    known = " ".join((*WORDS.values(), *BY_END)).upper().replace(" ", ", ")
    yield "state", "outcome IS NULL", f"one of {known}; map others by a CASE expression"
    yield "end_time", "end_time_at < start_time_at", "a time that is not before start_time"
    never = "start_time_at IS NULL AND end_time_at < submit_time_at"
    yield "end_time", never, "a time that is not before submit_time"
    yield "end_time", "outcome <> 'running' AND end_time_at IS NULL", "a time, as the state says that the job has ended"
    yield (
        "state",
        "outcome = 'running' AND end_time_at IS NOT NULL",
        "the state of a job that has ended, as end_time says",
    )
    started = "start_time_at IS NULL AND (word = 'running' OR outcome IN ('completed', 'timeout', 'preempted'))"
    yield "start_time", started, "a time, as the state says that the job has run"
    yield "gpus", "gpus IS NULL AND start_time_at IS NOT NULL", "a number; 0 for a job without GPUs"
    for column in NUMBERS:
        yield from _number_checks(column)
    yield "exit_code", "exit_code IS NOT NULL AND exit_code_number IS NULL", "a whole number, or code:signal"


def _node_checks() -> Iterator[Check]:
    yield "node", "node IS NULL OR trim(node) = ''", "a name"
    yield "node", r"regexp_matches(node, '[\[\],\s]')", "one name without blanks, commas and brackets"
    for column in ("start_time", "end_time"):
        yield from _time_checks(column)
    yield "end_time", "end_time_at <= start_time_at", "a time after start_time"
    for column in ("gpus", "cpus", "memory_gib"):
        yield from _number_checks(column)


def _parsed(times: Iterable[str], numbers: Iterable[str]) -> str:
    """Columns `x_at` of times and `x_number` of numbers; null where the text is not one."""
    columns = [f"{border.instant(name)} AS {name}_at" for name in times]
    columns += [f"{border.exact(name)} AS {name}_number" for name in numbers]
    return ", ".join(columns)


def _parts(gpus: str) -> str:
    """Column `x_parts`: GPU parts of a number in range; the border's arithmetic would overflow beyond."""
    number = f"{gpus}_number"
    return f"CASE WHEN {number} BETWEEN 0 AND {MAX_GPUS} THEN {border.gpu_parts(number)} END AS {gpus}_parts"


def _whole(number: str, factor: int = 1) -> str:
    scaled = f"ROUND(CAST({number} AS DECIMAL(28, 9)) * {factor})"
    return f"CASE WHEN {number} BETWEEN 0 AND {MAX_COUNT} THEN CAST({scaled} AS BIGINT) END"


def _word_sql() -> str:
    """The state as one word in lower case, with `_` for blanks.

    sacct writes `CANCELLED by 1000`, and cuts words to `CANCELLED+` and `OUT_OF_ME+` where its column is narrow.
    """
    word = "replace(replace(lower(trim(state)), '-', '_'), ' ', '_')"
    word = f"CASE WHEN starts_with({word}, 'cancelled_by_') THEN 'cancelled' ELSE rtrim({word}, '+') END"
    return f"NULLIF(CASE {word} WHEN 'out_of_me' THEN 'out_of_memory' ELSE {word} END, '')"


def _outcome_sql() -> str:
    """The outcome a word stands for; without a word by the times; null for an unknown word."""
    ended = "CASE WHEN end_time_at IS NULL THEN 'running'"
    cases = f"WHEN word IS NULL THEN {ended} WHEN start_time_at IS NULL THEN 'cancelled' ELSE 'completed' END"
    for word, outcome in BY_END.items():
        cases += f" WHEN word = '{word}' THEN {ended} ELSE '{outcome}' END"
    for outcome, words in WORDS.items():
        cases += f" WHEN word IN ({', '.join(map(literal, words.split()))}) THEN '{outcome}'"
    return f"CASE {cases} END"


def _job_sql(cluster: str, mapped: str) -> str:
    """One row a record in, its columns as text; the columns of JOBS out, and nodes, file, row, problem."""
    digits = r"regexp_full_match(exit_code, '-?\d{1,9}(:\d+)?')"
    return rf"""
        WITH parsed AS (
            SELECT *, {_parsed(TIMES, NUMBERS)}, {_word_sql()} AS word,
                CASE WHEN trim(nodes) NOT IN ({", ".join(map(literal, NO_NODES))}) THEN trim(nodes) END AS hosts,
                CASE WHEN {digits} THEN CAST(regexp_extract(exit_code, '^-?\d+') AS BIGINT) END AS exit_code_number
            FROM ({mapped})
        ), timed AS (
            SELECT * REPLACE (
                    CASE WHEN submit_time IS NULL THEN start_time_at ELSE submit_time_at END AS submit_time_at),
                {_outcome_sql()} AS outcome, {_parts("gpus")}, {_parts("requested_gpus")}
            FROM parsed
        )
        SELECT {literal(cluster)} AS cluster, file, row, job_id, {", ".join(map(identifier, TEXTS))}, labels, outcome,
            {border.job_key(literal(cluster), "job_id", "submit_time_at")} AS job_key,
            {border.end_day("end_time_at")} AS end_day,
            submit_time_at AS submit_time, start_time_at AS start_time, end_time_at AS end_time,
            exit_code_number AS exit_code, requested_gpus_parts AS requested_gpu_parts,
            COALESCE(gpus_parts, 0) AS gpu_parts, {_whole("cpus_number")} AS cpus,
            {_whole("memory_gib_number", 1024)} AS memory_mib, {_whole("node_count_number")} AS node_count,
            hosts AS nodes, {_problem(_job_checks())} AS problem
        FROM timed
    """


def _node_sql(file: str, rows: int, places: Mapping[str, int]) -> str:
    """Table `raw` of a nodes file in (none of it when rows is 0); the columns of NODES out, and file, row, problem."""
    values = ", ".join(
        f"{f'rdspend_{places[name]}' if name in places else 'CAST(NULL AS VARCHAR)'} AS {name}" for name in NODE_FIELDS
    )
    source = "FROM raw" if rows else ""
    row = "rdspend_row" if rows else "CAST(0 AS BIGINT)"
    return f"""
        SELECT file, row, node, resource_id, pool, start_time_at AS start_time, end_time_at AS end_time,
            gpus_parts AS gpu_parts, gpu_type, {_whole("cpus_number")} AS cpus,
            {_whole("memory_gib_number", 1024)} AS memory_mib, instance_type, queue,
            {_problem(_node_checks())} AS problem
        FROM (
            SELECT *, {_parts("gpus")} FROM (
                SELECT *, {_parsed(("start_time", "end_time"), ("gpus", "cpus", "memory_gib"))}
                FROM (SELECT {literal(file)} AS file, {row} AS row, {values} {source})
            )
        )
    """


def _map_sql(labels: Mapping[str, str]) -> str:
    """Those labels that have a value, or null."""
    if not labels:
        return "CAST(NULL AS MAP(VARCHAR, VARCHAR))"
    entries = ", ".join(f"{{'key': {literal(name)}, 'value': {value}}}" for name, value in labels.items())
    given = f"list_filter([{entries}], lambda entry: entry.value IS NOT NULL)"
    return f"CASE WHEN len({given}) > 0 THEN map_from_entries({given}) END"


# --- deliveries -------------------------------------------------------------------------------------------------------

# Spans of nodes that begin before an earlier one of the same node has ended; an empty time is for ever.
OVERLAP_SQL = """
    SELECT node, file, row, earlier.file, earlier.row FROM (
        SELECT *, lag({'file': file, 'row': row}) OVER spans AS earlier,
            lag(COALESCE(end_time, 'infinity')) OVER spans > COALESCE(start_time, '-infinity') AS taken
        FROM node WINDOW spans AS (PARTITION BY node ORDER BY COALESCE(start_time, '-infinity'), file, row)
    ) WHERE taken ORDER BY file, row LIMIT 1
"""

# One row for each node that jobs name, and for each pool of those that name none.
HEARD_SQL = f"""
    SELECT node, max(resource_id) AS resource_id, min(place).file AS origin_file, min(place).row AS origin_row,
        CASE WHEN count(DISTINCT gpu_type) = 1 THEN min(gpu_type) END AS gpu_type
    FROM (
        SELECT host.node, host.node AS resource_id, gpu_type, {{'file': file, 'row': row}} AS place
        FROM job JOIN host USING (nodes)
        UNION ALL
        SELECT {POOL}, NULL, gpu_type, {{'file': file, 'row': row}} FROM job
        WHERE nodes IS NULL AND gpu_parts > 0 AND start_time IS NOT NULL
    ) GROUP BY node
"""


def _instant(window_edge: object) -> str:
    return f"TIMESTAMPTZ {literal(str(window_edge))}"


def _in(window: Window) -> str:
    """Jobs that are open, ended in the window, or overlap it."""
    start, end = _instant(window.start), _instant(window.end)
    return f"(end_time IS NULL OR (end_time >= {start} AND COALESCE(start_time, submit_time) < {end}))"


def _jobs_sql(window: Window) -> str:
    return f"""
        SELECT * EXCLUDE (nodes, file, row, problem, hosts) REPLACE (COALESCE(hosts, node_count) AS node_count),
            file AS origin_file, row AS origin_row
        FROM (SELECT job.*, hosts FROM job LEFT JOIN host ON host.nodes = job.nodes AND position = 1)
        WHERE {_in(window)}
    """


def _spread(column: str) -> str:
    """A node's part of the job's total: even, what is left over one by one to the first nodes."""
    return f"{column} // hosts + CASE WHEN position <= {column} % hosts THEN 1 ELSE 0 END AS {column}"


def _placements_sql(window: Window) -> str:
    """One row for each node of each job that has run; a job of no length takes nothing and has none."""
    return f"""
        SELECT job_key, cluster, end_day, node, start_time, end_time,
            {_spread("gpu_parts")}, {_spread("cpus")}, {_spread("memory_mib")}
        FROM (
            SELECT job.*, COALESCE(host.node, {POOL}) AS node, COALESCE(host.hosts, 1) AS hosts,
                COALESCE(host.position, 1) AS position
            FROM job LEFT JOIN host ON host.nodes = job.nodes
            WHERE start_time IS NOT NULL AND (end_time IS NULL OR end_time > start_time)
                AND (job.nodes IS NOT NULL OR gpu_parts > 0) AND {_in(window)}
        )
    """


def _outside_sql(window: Window) -> str:
    """Placements of the window that the spans of their node don't cover; an open end reaches to the window's."""
    return f"""
        SELECT any_value(file) AS file, any_value(row) AS row, any_value(job_id) AS job_id
        FROM (
            SELECT job.file, job.row, job_id, job_key, host.node, epoch_us(start_time) AS since,
                epoch_us(COALESCE(end_time, GREATEST(start_time, {_instant(window.end)}))) AS until
            FROM job JOIN host USING (nodes) WHERE start_time IS NOT NULL AND {_in(window)}
        ) AS placed JOIN (
            SELECT node, epoch_us(start_time) AS node_since, epoch_us(end_time) AS node_until FROM node
        ) AS span USING (node)
        GROUP BY job_key, node
        HAVING any_value(until - since) > sum(GREATEST(0,
            LEAST(until, COALESCE(node_until, until)) - GREATEST(since, COALESCE(node_since, since))))
    """
