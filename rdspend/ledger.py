"""The ledger: Delta tables in a folder, one writer at a time, every snapshot pinned by a run.

Data commits come first; then one append to `runs` names the version of every table. Readers follow the newest run, or an older
one (`as_of`), and need no lock. A kill in between leaves versions that nobody reads: the next writer puts every table back to
what the newest run names before it starts.

A delivery names its scope and replaces exactly that; nothing is ever added to what is there. Delta itself makes no fsync, so
after every commit data files, log entry and folders are synced here. Nothing is vacuumed: versions stay readable.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import stat
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deltalake import CommitProperties, DeltaTable, Field, Schema
from deltalake.exceptions import DeltaError
from deltalake.schema import MapType, PrimitiveType
from deltalake.transaction import AddAction, RemoveAction

from rdspend.border import identifier, literal
from rdspend.engine import DUCKDB_TYPES, Engine, delivered_errors, empty_select, mapped_errors
from rdspend.errors import BadRecord, ConfigError, ConservationError, LedgerLocked, LedgerUnwritable, SourceUnavailable
from rdspend.schema import NAME, RUNS, TABLES, Table, Type, Window

DELTA_TYPES: Mapping[Type, PrimitiveType | MapType] = {
    "string": PrimitiveType("string"),
    "int64": PrimitiveType("long"),
    "float64": PrimitiveType("double"),
    "bool": PrimitiveType("boolean"),
    "timestamp": PrimitiveType("timestamp"),
    "map": MapType(PrimitiveType("string"), PrimitiveType("string"), value_contains_null=True),
}

# A hundred years: Delta's defaults delete history after 7 and 30 days, and history is what a report is reproduced from.
CONFIGURATION = {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
    "delta.enableExpiredLogCleanup": "false",
}

ROW_GROUP_ROWS = 122_880


@dataclass(frozen=True)
class Run:
    """One row of the runs table."""

    run: int
    stages: str
    period: str
    outcome: str
    pending: tuple[str, ...]
    versions: Mapping[str, int]
    started_at: float
    ended_at: float
    config_digest: str = ""
    code_version: str = ""


@dataclass(frozen=True)
class DataFile:
    path: str
    partition: Mapping[str, str]
    rows: int


@dataclass(frozen=True)
class Landed:
    """What one commit put down."""

    rows: int
    version: int
    files: tuple[str, ...]


class Snapshot:
    """The tables as one run left them. Immutable; reading needs no lock."""

    def __init__(self, root: Path, run: Run | None, known: dict[tuple[str, int], list[DataFile]] | None = None) -> None:
        self.root = root
        self.run = run
        self._known = {} if known is None else known

    @property
    def versions(self) -> Mapping[str, int]:
        return self.run.versions if self.run else {}

    @property
    def name(self) -> str:
        return f"run-{self.run.run}" if self.run else "empty"

    def files(self, table: str) -> list[DataFile]:
        """The live files of a table in this snapshot."""
        version = self.versions.get(table)
        if version is None:
            return []
        if (table, version) not in self._known:
            self._known[table, version] = live_files(DeltaTable(str(self.root / table), version=version))
        return self._known[table, version]

    def partitions(self, table: str, column: str) -> tuple[str, ...]:
        return tuple(sorted({f.partition[column] for f in self.files(table)}))

    def select(self, table: str, keep: Callable[[Mapping[str, str]], bool] = lambda _: True) -> str:
        """SQL that reads a table's rows, of the partitions to keep only."""
        return select_files(self.root, TABLES[table], [f.path for f in self.files(table) if keep(f.partition)])

    def view(
        self, engine: Engine, table: str, keep: Callable[[Mapping[str, str]], bool] = lambda _: True, name: str | None = None
    ) -> None:
        """The same as a view of the engine, named as the table unless said otherwise."""
        engine.execute(f"CREATE OR REPLACE TEMP VIEW {identifier(name or table)} AS {self.select(table, keep)}")


def select_files(root: Path, table: Table, paths: Sequence[str]) -> str:
    if not paths:
        return empty_select(table)
    names = ", ".join(literal(str(root / table.name / p)) for p in paths)
    hive = ""
    if table.partition:
        types = ", ".join(f"{identifier(c)}: VARCHAR" for c in table.partition)
        hive = f", hive_partitioning = true, hive_types = {{{types}}}"
    columns = ", ".join(identifier(c) for c in table.names)
    # Files of an earlier rdspend lack the columns that came later: the empty rows have all of them.
    read = f"SELECT * FROM read_parquet([{names}], union_by_name = true{hive})"
    return f"SELECT {columns} FROM ({empty_select(table)} UNION ALL BY NAME {read})"


def live_files(delta: DeltaTable) -> list[DataFile]:
    actions = delta.get_add_actions(flatten=True)
    columns = {name: actions.column(name).to_pylist() for name in actions.schema.names}
    partitions = {name.removeprefix("partition."): values for name, values in columns.items() if name.startswith("partition.")}
    rows = columns.get("num_records", [0] * len(columns["path"]))
    return [
        DataFile(path, {name: str(values[i]) for name, values in partitions.items()}, int(rows[i] or 0))
        for i, path in enumerate(columns["path"])
    ]


class Ledger:
    """A folder of Delta tables."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def exists(self) -> bool:
        return DeltaTable.is_deltatable(str(self.root / RUNS.name))

    def runs(self) -> list[Run]:
        """All runs, oldest first."""
        if not self.exists:
            return []
        try:
            paths = [f.path for f in live_files(DeltaTable(str(self.root / RUNS.name)))]
        except (DeltaError, OSError) as error:
            raise SourceUnavailable(f"{self.root}: the ledger can't be read: {error}") from error
        with Engine(memory_limit="512MB", threads=1) as engine:
            rows = engine.rows(
                "SELECT run, stages, period, outcome, pending, versions, epoch(started_at), epoch(ended_at), config_digest, "
                "code_version "
                f"FROM ({select_files(self.root, RUNS, paths)}) ORDER BY run"
            )
        return [
            Run(run, stages, period, outcome, tuple(filter(None, pending.split(","))), json.loads(versions), *rest)
            for run, stages, period, outcome, pending, versions, *rest in rows
        ]

    def sizes(self) -> list[tuple[str, int, int]]:
        """Each table with its files and bytes on the disk: every version that is kept, and its log."""
        found = []
        for name in TABLES:
            sizes = [size for path in (self.root / name).rglob("*") if (size := _size(path)) is not None]
            if sizes:
                found.append((name, len(sizes), sum(sizes)))
        return found

    def snapshot(self, as_of: str | None = None, months: Sequence[str] = ()) -> Snapshot:
        """The newest run's tables, or those of `as_of`: a run (`12`, `run-12`).

        months  the newest run at or before it in which none of these waits to be attributed: what a report of them may show.
        """
        runs = self.runs()
        if as_of is not None:
            wanted = as_of.removeprefix("run-")
            if not wanted.isdigit() or not any(r.run == int(wanted) for r in runs):
                known = f"1 to {runs[-1].run}" if runs else "none yet"
                raise ConfigError(f"--as-of {as_of!r}: no such run; expected a run's number ({known})")
            runs = [r for r in runs if r.run <= int(wanted)]
        runs = [r for r in runs if not set(months) & set(r.pending)]
        return Snapshot(self.root, runs[-1] if runs else None)

    @contextmanager
    def writer(self) -> Iterator[Writer]:
        """The one writer. Raises LedgerLocked when another process is it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError(f"ledger {str(self.root)!r} can't be written: {error.strerror}") from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise ConfigError(
                        f"ledger {str(self.root)!r}: its file system can't lock files: {error.strerror}"
                    ) from error
                holder = os.pread(lock, 200, 0).decode("utf-8", "replace").strip() or "another process"
                raise LedgerLocked(
                    f"ledger {str(self.root)!r} is being written by {holder}; try again when it is done"
                ) from error
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            with Engine(memory_limit="512MB", threads=1) as footers:
                writer = Writer(self.root, self.runs(), footers)
                writer.put_back()
                yield writer
        finally:
            os.close(lock)


class Writer:
    """Lands deliveries. Made by `Ledger.writer`, under the lock."""

    def __init__(self, root: Path, runs: Sequence[Run], footers: Engine) -> None:
        self.root = root
        self._footers = footers
        self._known: dict[tuple[str, int], list[DataFile]] = {}
        self.last = runs[-1] if runs else None
        self.run = self.last.run + 1 if self.last else 1
        self.versions: dict[str, int] = dict(self.last.versions) if self.last else {}
        self.pending: set[str] = set(self.last.pending) if self.last else set()

    def put_back(self) -> None:
        """Undo what a killed run left behind: every table returns to the version that the newest run names."""
        for staged in self.root.glob("*/.staged-*"):
            _remove_tree(staged)
        for name in TABLES:
            path = self.root / name
            if name == RUNS.name or not DeltaTable.is_deltatable(str(path)):
                continue
            delta = DeltaTable(str(path))
            pinned = self.versions.get(name)
            if pinned is None:
                if delta.version() > 0:
                    delta.restore(0)
                    self._sync(name, delta.version())
                self.versions.pop(name, None)
            elif delta.version() != pinned and _paths(delta) != _paths(DeltaTable(str(path), version=pinned)):
                delta.restore(pinned)
                self.versions[name] = delta.version()
                self._sync(name, delta.version())

    def roll_back(self, versions: Mapping[str, int]) -> None:
        """Take back all commits since `versions` was copied from here: a source that failed half way leaves nothing."""
        for name in [n for n, v in self.versions.items() if v != versions.get(n)]:
            delta = DeltaTable(str(self.root / name))
            delta.restore(versions.get(name, 0))
            self._sync(name, delta.version())
            self.versions[name] = delta.version()

    def snapshot(self) -> Snapshot:
        """The tables as they stand now, in this unfinished run."""
        run = Run(self.run, "", "", "ok", (), dict(self.versions), 0.0, 0.0)
        return Snapshot(self.root, run, self._known)

    # --- landing ------------------------------------------------------------------------------------------------------

    def replace(
        self, table: Table, relation: Any, scope: Mapping[str, str], *, drop: Callable[[Mapping[str, str]], bool] | None = None
    ) -> Landed:
        """Put the rows of a DuckDB relation in the place of the scope's.

        The scope gives every partition column a value, or the relation carries the missing ones itself and `drop` says which
        partitions go. The relation is run once, straight into zstd Parquet.
        """
        for column, value in scope.items():
            if not NAME.fullmatch(value):
                raise ConfigError(f"{table.name}.{column}: found {value!r}; expected letters, digits, '_', '.' or '-'")
        carried = [c for c in table.partition if c not in scope]
        checked = _cast(relation, table, leave_out=tuple(scope))
        delta = self._open(table)
        folder = self.root / table.name
        staged = folder / f".staged-{uuid.uuid4().hex}"
        try:
            if carried:
                files = self._copy_partitioned(checked, table, staged, scope, carried)
            else:
                files = self._copy(checked, table, staged, scope)
            gone = drop or (lambda partition: all(partition[c] == v for c, v in scope.items()))
            with disk_errors(self.root):
                return self._commit(table, delta, files, gone)
        finally:
            _remove_tree(staged)

    def append(self, table: Table, relation: Any) -> Landed:
        """Add rows to a table that only grows."""
        return self.replace(table, relation, {}, drop=lambda _: False)

    def drop(self, table: Table, gone: Callable[[Mapping[str, str]], bool]) -> None:
        """Take partitions out."""
        if any(gone(f.partition) for f in self.snapshot().files(table.name)):
            self._commit(table, self._open(table), [], gone)

    def _open(self, table: Table) -> DeltaTable:
        path = self.root / table.name
        if not DeltaTable.is_deltatable(str(path)):
            fields = [Field(c.name, DELTA_TYPES[c.type], nullable=c.null is not None) for c in table.columns]
            DeltaTable.create(str(path), schema=Schema(fields), partition_by=list(table.partition), configuration=CONFIGURATION)
            self._sync(table.name, 0)
        delta = DeltaTable(str(path))
        there = {field.name for field in delta.schema().fields}
        missing = [Field(c.name, DELTA_TYPES[c.type], nullable=True) for c in table.columns if c.name not in there]
        if missing:
            delta.alter.add_columns(missing)
            delta = DeltaTable(str(path))
            self._sync(table.name, delta.version())
        return delta

    def _copy(self, relation: Any, table: Table, staged: Path, scope: Mapping[str, str]) -> list[_Staged]:
        staged.mkdir(parents=True)
        name = f"{uuid.uuid4().hex}.parquet"
        with disk_errors(self.root), delivered_errors(table.name):
            relation.write_parquet(str(staged / name), compression="zstd", row_group_size=ROW_GROUP_ROWS)
        found = _staged(self._footers, staged / name, scope, table)
        return [found] if found.rows else []

    def _copy_partitioned(
        self, relation: Any, table: Table, staged: Path, scope: Mapping[str, str], carried: list[str]
    ) -> list[_Staged]:
        with disk_errors(self.root), delivered_errors(table.name):
            relation.write_parquet(
                str(staged), compression="zstd", partition_by=carried, row_group_size=ROW_GROUP_ROWS, overwrite=True
            )
        files = []
        for path in sorted(staged.rglob("*.parquet")):
            values = dict(part.split("=", 1) for part in path.relative_to(staged).parts[:-1])
            for column, value in values.items():
                if not NAME.fullmatch(value):
                    raise ConfigError(f"{table.name}.{column}: found {value!r}; expected letters, digits, '_', '.' or '-'")
            files.append(_staged(self._footers, path, {**scope, **values}, table))
        return files

    def _commit(
        self, table: Table, delta: DeltaTable, staged: Sequence[_Staged], gone: Callable[[Mapping[str, str]], bool]
    ) -> Landed:
        """Move staged files in, commit adds and removes together, check what the table then holds, sync."""
        folder = self.root / table.name
        before = live_files(delta)
        removed = [f for f in before if gone(f.partition)]
        now = int(time.time() * 1000)
        adds: list[AddAction | RemoveAction] = []
        placed: list[str] = []
        for file in staged:
            partition = {c: file.partition[c] for c in table.partition}
            relative = "/".join([*(f"{c}={v}" for c, v in partition.items()), f"{uuid.uuid4().hex}.parquet"])
            target = folder / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            _fsync(file.path)
            file.path.rename(target)
            placed.append(relative)
            size = target.stat().st_size
            stats = json.dumps({"numRecords": file.rows})
            adds.append(AddAction(relative, size, partition, now, True, stats))
        actions = adds + [RemoveAction(f.path, True, now, partition_values=dict(f.partition)) for f in removed]
        if actions:
            delta.create_write_transaction(
                actions,
                mode="append",
                schema=delta.schema(),
                partition_by=list(table.partition),
                commit_properties=CommitProperties(custom_metadata={"rdspend.run": str(self.run)}),
            )
        after = DeltaTable(str(folder))
        there = live_files(after)
        expected = ({f.path for f in before} - {f.path for f in removed}) | set(placed)
        if {f.path for f in there} != expected:
            raise ConservationError(
                f"{table.name}: the ledger holds {len(there)} files after a commit that should leave {len(expected)}; "
                "nothing of this run will be read"
            )
        self._sync(table.name, after.version(), placed)
        self.versions[table.name] = after.version()
        self._known[table.name, after.version()] = there
        return Landed(sum(f.rows for f in staged), after.version(), tuple(placed))

    def _sync(self, table: str, version: int, placed: Iterable[str] = ()) -> None:
        folder = self.root / table
        folders = {folder, folder / "_delta_log", self.root}
        for relative in placed:
            path = folder / relative
            while path.parent != folder:
                path = path.parent
                folders.add(path)
        for name in (f"{version:020d}.json", f"{version:020d}.checkpoint.parquet", "_last_checkpoint"):
            entry = folder / "_delta_log" / name
            if entry.exists():
                _fsync(entry)
        for each in folders:
            _fsync(each)

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def replace_jobs(
        self,
        engine: Engine,
        jobs: Any,
        placements: Any | None,
        *,
        cluster: str,
        source: str,
        window: Window,
        open_complete: bool,
    ) -> int:
        """Put jobs and their placements, relations of the engine, in the place of what the same source said before.

        Gone are earlier rows of the same job_key, earlier jobs of the source that ended inside the window and, if
        open_complete, earlier open jobs of it. A job whose end changed leaves the day it was filed under.
        """
        start, end = (literal(t.isoformat()) for t in (window.start, window.end))
        for name in ("incoming_jobs", "incoming_placements"):
            engine.execute(f"DROP TABLE IF EXISTS {name}")
        _cast(jobs, TABLES["jobs"], leave_out=("cluster",)).create("incoming_jobs")
        none = f"SELECT * EXCLUDE (cluster) FROM ({empty_select(TABLES['placements'])})"
        placed = engine.connection.sql(none) if placements is None else placements
        _cast(placed, TABLES["placements"], leave_out=("cluster",)).create("incoming_placements")
        _refuse_repeated_jobs(engine)
        before = self.snapshot()

        def ours(partition: Mapping[str, str]) -> bool:
            return partition["cluster"] == cluster

        engine.execute(f"CREATE OR REPLACE TEMP VIEW filed AS {before.select('jobs', ours)}")
        still = f"OR (end_time IS NULL AND source = {literal(source)})" if open_complete else ""
        engine.execute(
            "CREATE OR REPLACE TEMP TABLE replaced AS SELECT job_key, end_day FROM filed WHERE "
            "job_key IN (SELECT job_key FROM incoming_jobs) "
            f"OR (source = {literal(source)} AND end_time >= TIMESTAMPTZ {start} AND end_time < TIMESTAMPTZ {end}) {still}"
        )
        days = {
            day
            for (day,) in engine.rows("SELECT DISTINCT end_day FROM replaced UNION SELECT DISTINCT end_day FROM incoming_jobs")
        }

        def touched(partition: Mapping[str, str]) -> bool:
            return partition["cluster"] == cluster and partition["end_day"] in days

        rows = int(engine.value("SELECT count(*) FROM incoming_jobs"))
        if not days:
            return 0
        for table, incoming in (("jobs", "incoming_jobs"), ("placements", "incoming_placements")):
            kept = f"SELECT * EXCLUDE (cluster) FROM ({before.select(table, touched)}) ANTI JOIN replaced USING (job_key)"
            merged = engine.connection.sql(f"SELECT * FROM {incoming} UNION ALL BY NAME {kept}")
            self.replace(TABLES[table], merged, {"cluster": cluster}, drop=touched)
        for name in ("incoming_jobs", "incoming_placements", "replaced"):
            engine.execute(f"DROP TABLE {name}")
        return rows

    # --- the end of a run ---------------------------------------------------------------------------------------------

    def finish(
        self,
        engine: Engine,
        *,
        stages: Sequence[str],
        period: str,
        started_at: float,
        ended_at: float,
        outcome: str,
        config_digest: str,
        code_version: str,
    ) -> Run:
        """Pin the tables as they stand. From here on readers see this run."""
        words = (self.run, ",".join(stages), period, outcome, tuple(sorted(self.pending)), dict(self.versions))
        run = Run(*words, started_at, ended_at, config_digest, code_version)
        versions = json.dumps(run.versions, sort_keys=True)
        told = (run.run, run.stages, period, started_at, ended_at, outcome, ",".join(run.pending), versions)
        self.append(RUNS, engine.made("run_row", [(*told, config_digest, code_version)]))
        return run


@dataclass(frozen=True)
class _Staged:
    path: Path
    partition: Mapping[str, str]
    rows: int


def _staged(engine: Engine, path: Path, partition: Mapping[str, str], table: Table) -> _Staged:
    """Rows of a staged file from its own footer, and no null where the schema says never."""
    file = literal(str(path))
    rows = engine.value(f"SELECT num_rows FROM parquet_file_metadata({file})")
    nulls = dict(
        engine.rows(
            "SELECT path_in_schema, CAST(sum(COALESCE(stats_null_count, 0)) AS BIGINT) "
            f"FROM parquet_metadata({file}) GROUP BY ALL"
        )
    )
    for column in table.columns:
        if column.null is None and nulls.get(column.name):
            raise BadRecord(
                f"{table.name}.{column.name}: found no value in {nulls[column.name]} rows; "
                f"expected one in every row ({column.doc})"
            )
    return _Staged(path, partition, int(rows))


def _cast(relation: Any, table: Table, leave_out: Sequence[str] = ()) -> Any:
    """The relation with the table's columns, in its order and types. Missing nullable ones are null; others are refused."""
    given = list(relation.columns)
    known = {c.name for c in table.columns}
    unknown = [name for name in given if name not in known]
    if unknown:
        raise BadRecord(f"{table.name}: found the column {unknown[0]!r}; expected {', '.join(table.names)}")
    projected = []
    for column in table.columns:
        if column.name in leave_out:
            continue
        name = identifier(column.name)
        if column.name in given:
            projected.append(f"CAST({name} AS {DUCKDB_TYPES[column.type]}) AS {name}")
        elif column.null is not None:
            projected.append(f"CAST(NULL AS {DUCKDB_TYPES[column.type]}) AS {name}")
        else:
            raise BadRecord(f"{table.name}: the column {column.name!r} is missing ({column.doc})")
    with mapped_errors():
        return relation.project(", ".join(projected))


def _refuse_repeated_jobs(engine: Engine) -> None:
    twice = engine.rows(
        "SELECT job_key, min(origin_file), min(origin_row), max(origin_row) FROM incoming_jobs "
        "GROUP BY job_key HAVING count(*) > 1 ORDER BY job_key LIMIT 1"
    )
    if twice:
        key, file, first, last = twice[0]
        raise BadRecord(f"job {key!r} is there twice, in rows {first} and {last}; expected one row a run", file)


def _paths(delta: DeltaTable) -> set[str]:
    return {f.path for f in live_files(delta)}


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _size(path: Path) -> int | None:
    """Bytes of a file; None of a folder, and of what a writer took away meanwhile."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _remove_tree(folder: Path) -> None:
    if not folder.exists():
        return
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """A full disk is not a bad record and not a missing source: say so, and that nothing was lost."""
    try:
        yield
    except Exception as error:
        text = str(error)
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left" in text or "disk quota" in text.lower():
            raise LedgerUnwritable(
                f"{path}: the disk is full; nothing of this run is kept, free space and run again"
            ) from error
        raise
