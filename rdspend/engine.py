"""The engine: DuckDB, with its SQL in files. The only module of the core that knows DuckDB's API beyond passing Arrow.

Statements live in `rdspend/sql/NAME.sql`, one a file. `{word}` in them is replaced by SQL of ours (never by text from outside),
`$word` is bound as a value.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb

from rdspend.border import bad_record, identifier
from rdspend.errors import BadRecord, RdspendError, SourceUnavailable
from rdspend.schema import ArrowStream, Table, Type
from rdspend.tracing import span

DUCKDB_TYPES: Mapping[Type, str] = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "map": "MAP(VARCHAR, VARCHAR)",
}

# The least at which every size measured succeeds; the process takes up to 200 MB more.
MEMORY_LIMIT = "512MB"


@functools.cache
def statement(name: str) -> str:
    """The text of one SQL file."""
    return (resources.files("rdspend") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


class Engine:
    """One DuckDB connection with limits, in UTC.

    temp is where it may spill; without one it keeps to memory. `interrupt()` may be called from another thread.
    """

    def __init__(
        self, memory_limit: str = MEMORY_LIMIT, threads: int | None = None, temp: Path | None = None, connection: Any = None
    ) -> None:
        self.connection: Any = connection or duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        if connection is None:
            self.connection.execute(f"SET memory_limit = '{memory_limit}'")
            # In a notebook without ipywidgets DuckDB has no bar to show, and refuses to be told so.
            with suppress(duckdb.InvalidInputException):
                self.connection.execute("SET enable_progress_bar = false")
            if threads is not None:
                self.connection.execute(f"SET threads = {int(threads)}")
            if temp is not None:
                self.connection.execute("SET temp_directory = ?", [str(temp)])

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def interrupt(self) -> None:
        self.connection.interrupt()

    def run(self, name: str, parameters: Mapping[str, Any] | None = None, **words: object) -> None:
        """Run one SQL file. Parameters that it does not name are left out."""
        with mapped_errors(), span(f"query {name}"):
            self._execute(name, parameters, words)

    def read(self, name: str, parameters: Mapping[str, Any] | None = None, **words: object) -> list[tuple[Any, ...]]:
        """All rows of the query of one SQL file, for small answers."""
        with mapped_errors(), span(f"query {name}"):
            return list(self._execute(name, parameters, words).fetchall())

    def records(self, name: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The same with column names."""
        with mapped_errors(), span(f"query {name}"):
            cursor = self._execute(name, parameters, {})
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def made(self, name: str, rows: Sequence[Sequence[Any]]) -> Any:
        """A relation of rows in Python, each put into the one-row query of a SQL file; there are few of them."""
        text = " UNION ALL ".join([statement(name)] * len(rows))
        with mapped_errors():
            return self.connection.sql(text, params=[value for row in rows for value in row])

    def _execute(self, name: str, parameters: Mapping[str, Any] | None, words: Mapping[str, object]) -> Any:
        text = statement(name)
        for word, value in words.items():
            text = text.replace("{" + word + "}", str(value))
        named = set(re.findall(r"\$([a-z_]+)", text))
        bound = {k: v for k, v in (parameters or {}).items() if k in named}
        return self.connection.execute(text, bound) if bound else self.connection.execute(text)

    def rows(self, sql: str, parameters: Iterable[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query, for small answers."""
        with mapped_errors():
            cursor = self.connection.execute(sql, parameters) if parameters else self.connection.execute(sql)
            return list(cursor.fetchall())

    def columns(self, sql: str) -> dict[str, Any]:
        """All columns of a query as arrays of numpy, where there are too many rows for Python."""
        with mapped_errors():
            return dict(self.connection.execute(sql).fetchnumpy())

    def value(self, sql: str, parameters: Iterable[Any] | Mapping[str, Any] = ()) -> Any:
        """The single value of a query."""
        return self.rows(sql, parameters)[0][0]

    def execute(self, sql: str) -> None:
        with mapped_errors():
            self.connection.execute(sql)

    def adopt(self, name: str, rows: ArrowStream) -> None:
        """Arrow rows of anybody, a relation of another connection too, as a temp table of ours."""
        stream = _Stream(rows)
        with mapped_errors():
            self.connection.register("adopted", stream)
            try:
                self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {identifier(name)} AS SELECT * FROM adopted")
            finally:
                self.connection.unregister("adopted")


@dataclass(frozen=True)
class _Stream:
    """Hides what the rows are, so that DuckDB takes them as the Arrow stream they export."""

    rows: ArrowStream

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.rows.__arrow_c_stream__(requested_schema)


def relation(rows: ArrowStream) -> Any:
    """Arrow rows as a DuckDB relation: one that is one already stays on its own connection, and keeps its parallel scan."""
    if isinstance(rows, duckdb.DuckDBPyRelation):
        return rows
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
    Engine(connection=connection).adopt("delivered", rows)
    return connection.table("delivered")


def empty_select(table: Table) -> str:
    columns = ", ".join(f"CAST(NULL AS {DUCKDB_TYPES[c.type]}) AS {identifier(c.name)}" for c in table.columns)
    return f"SELECT {columns} WHERE false"


@contextmanager
def mapped_errors() -> Iterator[None]:
    """DuckDB's errors at the border: a refused record becomes BadRecord, an unreadable file SourceUnavailable."""
    try:
        yield
    except duckdb.Error as error:
        refused = bad_record(error)
        if refused is not None:
            raise refused from error
        if isinstance(error, duckdb.InterruptException):
            raise Interrupted("interrupted") from error
        if isinstance(error, duckdb.IOException):
            raise SourceUnavailable(str(error).strip()) from error
        raise


@contextmanager
def delivered_errors(table: str) -> Iterator[None]:
    """The same while somebody's rows are read to their end: what DuckDB can't read in them is a bad record."""
    try:
        with mapped_errors():
            yield
    except (duckdb.OutOfMemoryException, duckdb.InternalException):
        raise
    except duckdb.Error as error:
        raise BadRecord(f"{table}: the delivered rows can't be read: {str(error).strip()}") from error


class Interrupted(RdspendError):
    """Asked to stop in the middle of a statement; nothing was published."""

    exit_code = 130
