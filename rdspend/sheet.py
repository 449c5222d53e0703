"""CSV and Parquet files that someone exported, landed in DuckDB as text, with the line that each record stands on.

Nothing is guessed: UTF-8, one header line, a separator that the caller names, quotes as in RFC 4180. A record that does
not fit stops the landing by file and line; so does a file that is cut off.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn, cast

import duckdb

from rdspend.border import identifier, literal
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable

SUFFIXES = (".csv", ".csv.gz", ".parquet")

FAULTS = re.compile("Expected Number of Columns: .*|Value with unterminated quote found|Invalid unicode|.*GZIP.*")


def find(path: str) -> list[str]:
    """The files that a path names, in order, at least one: a file, all files of a folder, or those a glob matches."""
    if "://" in path:
        raise ConfigError(f"{path}: only local files can be read here; copy it to a folder first")
    try:
        if Path(path).is_dir():
            found = sorted(str(entry) for entry in Path(path).iterdir() if entry.name[0] not in "._")
        elif Path(path).exists():
            return [path]
        else:
            anchor = Path(path).anchor
            matches = Path(anchor).glob(path.removeprefix(anchor))
            return sorted(str(match) for match in matches if not match.is_dir()) or _missing(path)
    except (ValueError, NotImplementedError) as error:
        raise ConfigError(f"{path}: not a path or glob: {error}") from error
    except OSError as error:
        raise SourceUnavailable(f"{path}: can't look for files: {error.strerror}") from error
    for name in found:
        if not name.lower().endswith(SUFFIXES) or Path(name).is_dir():
            raise ConfigError(f"{name}: not a {', '.join(SUFFIXES)} file; name the right ones by a glob: {path}/*.csv")
    return found or _missing(path)


def _missing(path: str) -> NoReturn:
    raise SourceUnavailable(f"{path}: no such file; that nothing happened is said by a file with only its header")


@dataclass(frozen=True)
class Sheet:
    """One landed file. `header_line` is None for Parquet, which has no lines."""

    file: str
    header: tuple[str, ...]
    header_line: int | None
    separator: str

    def place(self, row: int) -> str:
        """Where record `row` (from 1) stands, for a message."""
        return f"{self.file} row {row}" if self.header_line is None else f"{self.file}:{self.line(row)}"

    def refuse(self, row: int, message: str) -> NoReturn:
        if self.header_line is None:
            raise BadRecord(f"row {row}: {message}", self.file)
        raise BadRecord(message, self.file, self.line(row))

    def refuse_header(self, message: str) -> NoReturn:
        raise BadRecord(message, self.file, self.header_line)

    def line(self, row: int) -> int:
        """The line on which a record begins: not row + 1 when texts hold line breaks or lines are blank."""
        try:
            with _open(self.file) as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
                reader, begin, seen = csv.reader(text, delimiter=self.separator), 1, -1
                for record in reader:
                    seen += bool(record)
                    if seen == row:
                        return begin
                    begin = reader.line_num + 1
        except (csv.Error, OSError, ValueError):
            # Only a hint for a person is looked for here; the record itself was read.
            return row + 1
        return row + 1


def land(connection: duckdb.DuckDBPyConnection, table: str, file: str, separator: str = ",") -> Sheet:
    """Table `table`: rdspend_row from 1, and rdspend_0, rdspend_1, ... the columns as text; an empty one is null."""
    try:
        _refuse_broken(file)
        sheet, source, values = (_parquet if _is_parquet(file) else _csv)(connection, file, separator)
        columns = ", ".join(f"NULLIF({value}, '') AS rdspend_{place}" for place, value in enumerate(values))
        rows = f"SELECT row_number() OVER () AS rdspend_row, {columns} FROM {source}"
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {rows}")
    except OSError as error:
        raise SourceUnavailable(f"{file}: can't read it: {error.strerror}") from error
    except duckdb.Error as error:
        raise _unreadable(error, file) from error
    return sheet


def _refuse_broken(file: str) -> None:
    """Opens the file and reads a gzip to its end: DuckDB 1.5 takes a truncated one for a short one, without a word."""
    try:
        with _open(file) as stream:
            while file.lower().endswith(".gz") and stream.read(1 << 20):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadRecord(f"not a whole gzip file: {error}; copy it again", file) from error


Source = tuple[Sheet, str, list[str]]


def _parquet(connection: duckdb.DuckDBPyConnection, file: str, separator: str) -> Source:
    source = f"read_parquet({literal(file)})"
    columns = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    sheet = Sheet(file, tuple(column[0] for column in columns), None, separator)
    _check(sheet)
    return sheet, source, [_text(identifier(column[0]), column[1]) for column in columns]


def _text(column: str, kind: str) -> str:
    """A Parquet column as text; a list of texts with blanks between them."""
    return f"array_to_string({column}, ' ')" if kind == "VARCHAR[]" else f"CAST({column} AS VARCHAR)"


def _csv(connection: duckdb.DuckDBPyConnection, file: str, separator: str) -> Source:
    sheet = Sheet(file, tuple(_header(file, separator)), 1, separator)
    _check(sheet)
    names = [f"rdspend_{place}" for place in range(len(sheet.header))]
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
    options = "auto_detect = false, header = true, strict_mode = true, quote = '\"', escape = '\"'"
    source = f"read_csv({literal(file)}, {options}, delim = {literal(separator)}, columns = {{{columns}}})"
    return sheet, source, names


def _header(file: str, separator: str) -> list[str]:
    try:
        with _open(file) as stream:
            line = stream.readline(1 << 20).decode("utf-8-sig")
        header = next(csv.reader([line], delimiter=separator, strict=True), [])
    except UnicodeDecodeError as error:
        raise BadRecord(f"not UTF-8 at byte {error.start + 1}; save it as UTF-8", file, 1) from error
    except csv.Error as error:
        raise BadRecord(f"can't read the header: {error}", file, 1) from error
    if not line:
        raise BadRecord("the file is empty; expected a header, also when there are no records", file)
    return header


def _check(sheet: Sheet) -> None:
    if not sheet.header:
        sheet.refuse_header("found an empty line, expected a header")
    for number, name in enumerate(sheet.header, 1):
        if not name.strip() or "\0" in name:
            sheet.refuse_header(f"column {number} of the header has no name that can be read: {name!r}")
        if name.lower().startswith("rdspend_"):
            sheet.refuse_header(f"column {name!r}: names that begin with 'rdspend_' are taken; rename it")
        earlier = [other.lower() for other in sheet.header[: number - 1]]
        if name.lower() in earlier:
            sheet.refuse_header(f"columns {earlier.index(name.lower()) + 1} and {number} are both called {name!r}")


def _unreadable(error: duckdb.Error, file: str) -> Exception:
    """DuckDB's words about a file as an error of ours."""
    text = str(error)
    fault = FAULTS.search(text)
    what = fault[0] if fault else text.splitlines()[0]
    line = re.search(r"CSV Error on Line: (\d+)", text)
    if line:
        return BadRecord(f"can't read the record: {what}", file, int(line[1]))
    if isinstance(error, duckdb.IOException) and not fault:
        return SourceUnavailable(f"{file}: {what}")
    return BadRecord(f"can't read the file: {what}; is it whole?", file)


def _is_parquet(file: str) -> bool:
    return file.lower().endswith((".parquet", ".pq"))


def _open(file: str) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(file) if file.lower().endswith(".gz") else Path(file).open("rb"))


def listed(names: Sequence[str]) -> str:
    """Names of columns for a message, not too many."""
    return ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")
