"""Bill files: finding them, telling copies apart, and saying what is wrong with one."""

from __future__ import annotations

import glob
import gzip
import hashlib
import re
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from rdspend.border import bad_record, literal
from rdspend.errors import BadRecord, SourceUnavailable

SUFFIXES = (".csv", ".csv.gz", ".parquet")
JSON_SUFFIXES = tuple(suffix + gzipped for suffix in (".json", ".jsonl", ".ndjson") for gzipped in ("", ".gz"))


CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class File:
    """One file of the bill. `name` is its origin; a copy of an object lies at `local`, `root` before `bucket/key`."""

    name: str
    local: Path
    root: str = ""

    @property
    def is_parquet(self) -> bool:
        return self.name.lower().endswith(".parquet")

    @property
    def is_json(self) -> bool:
        return self.name.lower().endswith(JSON_SUFFIXES)

    @property
    def suffix(self) -> str:
        """Its type, gzipped or not: a bill that comes in several files comes in files of one."""
        found = next((s for s in (*SUFFIXES, *JSON_SUFFIXES) if self.name.lower().endswith(s)), "")
        return found.removesuffix(".gz")

    @property
    def is_gzip(self) -> bool:
        return self.name.lower().endswith(".gz")


@contextmanager
def readable(path: str) -> Iterator[None]:
    """What the operating system refuses is an unavailable source, not a bad record."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise SourceUnavailable(
            f"{where}: can't be read: {error.strerror or error}; check that it exists, its permissions and the free space "
            f"of {tempfile.gettempdir()}"
        ) from error


def find(path: str) -> list[str]:
    """The files at a path, folder or glob, sorted."""
    found = [path] if Path(path).exists() else glob.glob(path, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    files = (below for f in found for below in (Path(f).rglob("*") if Path(f).is_dir() else [Path(f)]))
    return sorted({str(f) for f in files if not f.is_dir()})


def refuse_copies(files: Sequence[File]) -> None:
    """The same content twice would count twice, also gzipped and unpacked side by side. Only files of one size are compared."""
    names = {file.name for file in files}
    for file in files:
        if file.is_gzip and file.name[:-3] in names:
            raise BadRecord(
                f"stands beside {file.name[:-3]}, its content unpacked; they would count twice: remove one", file.name
            )
    by_size: dict[int, list[File]] = {}
    for file in files:
        by_size.setdefault(file.local.stat().st_size, []).append(file)
    seen: dict[str, File] = {}
    for file in (f for alike in by_size.values() if len(alike) > 1 for f in alike):
        with file.local.open("rb") as stream:
            first = seen.setdefault(hashlib.file_digest(stream, "sha256").hexdigest(), file)
        if first is not file:
            raise BadRecord(f"has the same content as {first.name}, expected every bill once: remove one", file.name)


@contextmanager
def whole_gzip(file: File) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadRecord(f"not a whole gzip file ({error}); fetch it again", file.name) from error


@contextmanager
def sound(file: File) -> Iterator[None]:
    """What DuckDB can't read in a bill is a bad record, unless it was the machine that failed."""
    try:
        yield
    except (duckdb.OutOfMemoryException, duckdb.InterruptException):
        raise
    except duckdb.Error as error:
        if "No space left" in str(error) or "max_temp_directory_size" in str(error):
            raise SourceUnavailable(f"{file.name}: no space left in {tempfile.gettempdir()}") from error
        raise bad_record(error) or _unreadable(error, file) from error


def _unreadable(error: duckdb.Error, file: File) -> BadRecord:
    text = str(error).partition("Possible ")[0].strip()
    line = re.search(r"CSV Error on Line: (\d+)\s*", text)
    words = " ".join(text[line.end() :].split() if line else text.split())
    return BadRecord(f"can't be read: {words[:300]}", file.name, int(line[1]) if line else None)


def plain(path: Path) -> str:
    """A path as DuckDB takes it: one file, whatever characters are in its name."""
    return literal(re.sub(r"([*?\[])", r"[\1]", str(path)))
