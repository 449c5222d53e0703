"""The columns of a bill file, and the table function of DuckDB that reads it, row numbers included."""

from __future__ import annotations

import codecs
import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from rdspend.bills.files import CHUNK_BYTES, File, plain, sound, whole_gzip
from rdspend.border import identifier, literal
from rdspend.errors import BadRecord


@dataclass(frozen=True)
class Layout:
    """The columns of a file, each as written, as named in SQL, and its type; and the lines of a text file.

    `is_paged`: a JSON file of pages as an API gives them, lines in `data`; `next_page`: where its last page says there is more.
    """

    columns: tuple[tuple[str, str, str], ...]
    lines: int = 0
    is_paged: bool = False
    next_page: str | None = None

    def find(self, focus: str) -> tuple[str, str] | None:
        return next(((name, kind) for written, name, kind in self.columns if written.lower() == focus.lower()), None)


def inspect_csv(file: File) -> Layout:
    """Read all bytes once: a whole gzip, UTF-8, how many lines. The columns are c0, c1, ... in SQL."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    newlines, last, head = 0, b"", ""
    with whole_gzip(file), gzip.open(file.local) if file.is_gzip else file.local.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            try:
                # Nearly every chunk is ASCII, and asking that is ten times faster than decoding.
                if not last or decoder.getstate()[0] or not chunk.isascii():
                    text = decoder.decode(chunk)
                    head = head or text
            except UnicodeDecodeError as error:
                line = newlines + error.object[: error.start].count(b"\n") + 1
                raise BadRecord("found text that is not UTF-8, expected a bill in UTF-8", file.name, line) from error
            newlines, last = newlines + chunk.count(b"\n"), chunk
    if not last:
        raise BadRecord("the file is empty, expected a header with the names of the columns", file.name, 1)
    if decoder.getstate()[0]:
        raise BadRecord("found half a UTF-8 character at the end, expected a whole file", file.name, newlines + 1)
    columns = tuple((written, f"c{i}", "VARCHAR") for i, written in enumerate(_header(head, file)))
    return Layout(columns, newlines + (not last.endswith(b"\n")))


def _header(text: str, file: File) -> list[str]:
    try:
        return next(csv.reader(text.removeprefix("\ufeff").splitlines(), strict=True), [])
    except csv.Error as error:
        raise BadRecord(f"the header can't be read: {error}", file.name, 1) from error


def inspect_parquet(connection: duckdb.DuckDBPyConnection, file: File) -> Layout:
    if file.local.stat().st_size == 0:
        raise BadRecord("the file is empty, expected Parquet", file.name)
    with sound(file):
        rows = connection.execute(f"DESCRIBE SELECT * FROM {read_parquet([file])}").fetchall()
    added = ("rdspend_file", "file_row_number")
    return Layout(tuple((name, identifier(name), kind) for name, kind, *_ in rows if name not in added))


def read_csv(file: File, layout: Layout) -> str:
    columns = ", ".join(f"'{name}': 'VARCHAR'" for _, name, _ in layout.columns)
    return (
        f"read_csv({plain(file.local)}, auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', "
        f"nullstr = ['', 'NULL', 'null'], hive_partitioning = false, columns = {{{columns}}}, "
        f"compression = '{'gzip' if file.is_gzip else 'none'}')"
    )


def read_parquet(files: Sequence[File]) -> str:
    paths = ", ".join(plain(f.local) for f in files)
    return (
        f"read_parquet([{paths}], filename = 'rdspend_file', file_row_number = true, hive_partitioning = false, "
        "binary_as_string = true)"
    )


def inspect_json(connection: duckdb.DuckDBPyConnection, file: File) -> Layout:
    """All keys of all objects, one a line or in one list. Every column is text until somebody says its type."""
    with sound(file), whole_gzip(file):
        objects = f"read_json_objects({plain(file.local)}, {_json_options(file)})"
        found = connection.execute(
            "SELECT bool_and(COALESCE(json_type(json, '$.data') = 'ARRAY', false)), "
            f"count(*) FILTER (WHERE json_type(json) <> 'OBJECT') FROM {objects}"
        ).fetchall()
        is_paged, next_page = bool(found[0][0]), None
        if is_paged:
            numbered = f"SELECT json, row_number() OVER () AS page FROM {objects}"
            token = "NULLIF(json_extract_string(json, '$.next_page_token'), '')"
            next_page = connection.execute(f"SELECT {token} FROM ({numbered}) ORDER BY page DESC LIMIT 1").fetchall()[0][0]
            objects = f"(SELECT unnest(CAST(json -> '$.data' AS JSON[])) AS json FROM {objects})"
            found = connection.execute(
                f"SELECT true, count(*) FILTER (WHERE json_type(json) <> 'OBJECT') FROM {objects}"
            ).fetchall()
        rows = connection.execute(f"SELECT DISTINCT unnest(json_keys(json)) AS key FROM {objects} ORDER BY key").fetchall()
    if found[0][1]:
        raise BadRecord("found something that is no object, expected a list of objects, or one object a line", file.name)
    columns = tuple((name, identifier(name), "VARCHAR") for (name,) in rows)
    return Layout(columns, is_paged=is_paged, next_page=next_page)


def read_json(file: File, layout: Layout) -> str:
    if layout.is_paged:
        data = "STRUCT(" + ", ".join(f"{name} {kind}" for _, name, kind in layout.columns) + ")[]"
        read = f"read_json({plain(file.local)}, {_json_options(file)}, columns = {{'data': {literal(data)}}})"
        return f"(SELECT unnest(data, max_depth := 2) FROM {read})"
    columns = ", ".join(f"{literal(written)}: {literal(kind)}" for written, _, kind in layout.columns)
    return f"read_json({plain(file.local)}, {_json_options(file)}, columns = {{{columns}}})"


def _json_options(file: File) -> str:
    return f"format = 'auto', hive_partitioning = false, compression = '{'gzip' if file.is_gzip else 'uncompressed'}'"
