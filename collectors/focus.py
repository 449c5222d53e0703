"""Cost and usage bills in the FOCUS format, versions 1.0, 1.1 and 1.2: CSV, gzipped CSV and Parquet.

    [collectors.focus]
    path = "bills"                 # a file, a folder (read with all below it), a glob, or s3://bucket/key-prefix-or-glob
    assume_utc = true              # only for bills whose times carry no zone and are UTC, as FOCUS demands
    # for s3:// only, each optional; credentials come from boto3's usual chain
    endpoint_url = "https://s3.example.org"
    region = "eu-central-1"
    profile = "billing"

Permission: to read the files; on S3 `s3:ListBucket` on the bucket and `s3:GetObject` on the objects (and `kms:Decrypt`
where they are encrypted with a key of yours). Objects are copied to a temporary folder first, so it needs their size.

A row belongs to the month of its BillingPeriodStart. Columns are found by FOCUS's names, in any case. Empty text and the
word `NULL` are null. A category that FOCUS closes (ChargeCategory, ...) takes FOCUS's own spelling. Costs are exact up
to 18 decimals, and rounded half to even to 9; what rounding took is a note. A double counts as its shortest decimal text.
Files under a folder `BILLING_PERIOD=YYYY-MM` (the layout of AWS Data Exports) are read only for that month.

What it can't see: whether an export is finished (export whole files, or move them in place when they are whole); columns
that FOCUS does not have (they are noted and left out); rows that a provider will still restate.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import fnmatch
import glob
import gzip
import hashlib
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from rdspend.border import bad_record, exact, identifier, instant, literal, month, nanos, refuse
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.schema import CHARGES, Delivery, Location, Window

SUFFIXES = (".csv", ".csv.gz", ".parquet")

REQUIRED = (
    "BilledCost",
    "EffectiveCost",
    "BillingCurrency",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ChargeCategory",
)

# A bill without one of these is read; that it is missing is noted.
EXPECTED = (
    "BillingAccountId",
    "ContractedCost",
    "InvoiceIssuerName",
    "ListCost",
    "ProviderName",
    "ResourceId",
    "ServiceCategory",
    "ServiceName",
)

# FOCUS 1.0 to 1.2 has these, the charges table has not.
LEFT_OUT = (
    "BillingAccountType",
    "CommitmentDiscountCategory",
    "CommitmentDiscountName",
    "CommitmentDiscountQuantity",
    "CommitmentDiscountType",
    "CommitmentDiscountUnit",
    "ContractedUnitPrice",
    "ListUnitPrice",
    "PricingCurrency",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice",
    "RegionName",
    "SkuMeter",
    "SkuPriceDetails",
    "SubAccountType",
)

# Closed lists that the engine reads: another word is refused. The other closed lists only take FOCUS's spelling.
CLOSED = {
    "charge_category": ("Usage", "Purchase", "Tax", "Credit", "Adjustment"),
    "charge_class": ("Correction",),
    "commitment_discount_status": ("Used", "Unused"),
    "capacity_reservation_status": ("Used", "Unused"),
}
SPELLED = {
    "charge_frequency": ("One-Time", "Recurring", "Usage-Based"),
    "pricing_category": ("Standard", "Dynamic", "Committed", "Other"),
}

NUMBERS: tuple[str, ...] = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "DECIMAL", "FLOAT", "DOUBLE", "VARCHAR"),
)

BILLING_PERIOD_FOLDER = re.compile(r"(?:^|/)billing_period=(\d{4}-\d{2})/", re.IGNORECASE)

CHUNK_BYTES = 1 << 20

# The largest cost of a line, in whole units of the currency, that surely fits into nanos.
MOST = 9_000_000_000

THREADS = min(os.cpu_count() or 1, 4)
SHARED_ROWS = 200_000

# The tags of so many rows, of so many of the largest files, are parsed ahead, to so many distinct ones a file.
SAMPLED_ROWS, SAMPLED_PARTS, KNOWN_TAGS = 50_000, 4, 20_000

TYPES = {c.name: c.type for c in CHARGES.columns}
NULLABLE = {c.name for c in CHARGES.columns if c.null is not None}


def focus_name(column: str) -> str:
    """The FOCUS name of a column of charges: `billed_cost_nanos` is BilledCost."""
    return "".join(part.capitalize() for part in column.removesuffix("_nanos").split("_"))


# Columns of charges that a bill gives, and the two that are only checked.
TAKEN = tuple(c for c in CHARGES.names if c not in ("source", "billing_period", "origin_file", "origin_row", "basis"))
READ = {focus_name(c).lower(): c for c in (*TAKEN, "billing_period_start", "billing_period_end")}
KNOWN = {**{key: focus_name(c) for key, c in READ.items()}, **{name.lower(): name for name in LEFT_OUT}}


@dataclass(frozen=True)
class Focus:
    """Reads FOCUS bills from files or S3."""

    path: Location
    assume_utc: bool = False
    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None

    def collect(self, window: Window) -> Iterator[Delivery]:
        """Yield one delivery of charges for each billing month of the window that the files have rows of.

        Files without any row give an empty delivery for each month: the bill says that there is nothing. Raises
        SourceUnavailable when there is no file or it can't be read, BadRecord for what is wrong inside one; rows are
        checked while the delivery is run, by `rdspend.border.refuse`.
        """
        with (
            _readable(str(self.path)),
            tempfile.TemporaryDirectory(prefix="rdspend-focus-") as scratch,
            duckdb.connect() as connection,
        ):
            _prepare(connection, scratch)
            files = self._files(window.months, Path(scratch))
            _refuse_copies(files)
            bill = Bill.open(connection, files, self.assume_utc)
            for billing_month in window.months:
                if bill.has(billing_month):
                    yield bill.deliver(billing_month)

    def _files(self, months: Sequence[str], scratch: Path) -> tuple[File, ...]:
        if not self.path.startswith("s3://"):
            return tuple(File(str(p), p) for p in _wanted(_find(self.path), months, self.path))
        bucket, _, key = self.path.removeprefix("s3://").partition("/")
        if not bucket:
            raise ConfigError(f"path: found {str(self.path)!r}, expected s3://bucket/key, prefix or glob")
        store = Store(bucket, self._client())
        folder = scratch / "s3"
        return tuple(
            File(f"s3://{bucket}/{found}", store.fetch(found, folder), f"{folder}/")
            for found in _wanted(store.find(key), months, self.path)
        )

    def _client(self) -> Any:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        try:
            session = boto3.session.Session(profile_name=self.profile, region_name=self.region)
            retries = Config(retries={"mode": "standard", "max_attempts": 3})
            return session.client("s3", endpoint_url=self.endpoint_url, config=retries)
        except (BotoCoreError, ValueError) as error:
            raise SourceUnavailable(f"{self.path}: can't set up S3: {error}") from error


# --- files ------------------------------------------------------------------------------------------------------------


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
    def is_gzip(self) -> bool:
        return self.name.lower().endswith(".gz")


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """What the operating system refuses is an unavailable source, not a bad record."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise SourceUnavailable(
            f"{where}: can't be read: {error.strerror or error}; check that it exists, its permissions and the free space "
            f"of {tempfile.gettempdir()}"
        ) from error


def _find(path: str) -> list[str]:
    """The files at a path, folder or glob, sorted."""
    found = [path] if Path(path).exists() else glob.glob(path, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    files = (below for f in found for below in (Path(f).rglob("*") if Path(f).is_dir() else [Path(f)]))
    return sorted({str(f) for f in files if not f.is_dir()})


def _wanted(found: Iterable[str], months: Sequence[str], path: str) -> list[Any]:
    """Bill files that may have rows of the months; SourceUnavailable when there is no bill file at all."""
    bills = [f for f in found if f.lower().endswith(SUFFIXES)]
    if not bills:
        raise SourceUnavailable(f"{path}: no bill found, expected a file, folder or glob with {', '.join(SUFFIXES)} files")
    folders = {f: BILLING_PERIOD_FOLDER.search(f) for f in bills}
    wanted = [f for f, folder in folders.items() if folder is None or folder[1] in months]
    return wanted if path.startswith("s3://") else [Path(f) for f in wanted]


def _refuse_copies(files: Sequence[File]) -> None:
    """The same content twice would count twice. Only files of one size are compared."""
    by_size: dict[int, list[File]] = {}
    for file in files:
        by_size.setdefault(file.local.stat().st_size, []).append(file)
    seen: dict[str, File] = {}
    for file in (f for alike in by_size.values() if len(alike) > 1 for f in alike):
        with file.local.open("rb") as stream:
            first = seen.setdefault(hashlib.file_digest(stream, "sha256").hexdigest(), file)
        if first is not file:
            raise BadRecord(f"has the same content as {first.name}, expected every bill once: remove one", file.name)


@dataclass(frozen=True)
class Store:
    """A bucket. Every refusal of S3 is a SourceUnavailable that says what to do."""

    bucket: str
    client: Any

    def find(self, key: str) -> list[str]:
        """Keys of the object, below the folder, or matching the glob."""
        if key.lower().endswith(SUFFIXES) and not glob.has_magic(key) and self._exists(key):
            return [key]
        stem = re.split(r"[*?\[]", key)[0] if glob.has_magic(key) else key and key.rstrip("/") + "/"
        with self._answers(f"s3://{self.bucket}/{stem}", f"s3:ListBucket on arn:aws:s3:::{self.bucket}"):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=stem)
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return sorted(k for k in keys if not k.endswith("/") and (not glob.has_magic(key) or fnmatch.fnmatchcase(k, key)))

    def fetch(self, key: str, folder: Path) -> Path:
        """Copy an object below the folder, in pieces."""
        if any(part in ("", ".", "..") for part in key.split("/")):
            raise BadRecord("a key with an empty part, `.` or `..` can't be copied to a file", f"s3://{self.bucket}/{key}")
        target = folder / self.bucket / key
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._answers(f"s3://{self.bucket}/{key}", f"s3:GetObject on arn:aws:s3:::{self.bucket}/{key}"):
            answer = self.client.get_object(Bucket=self.bucket, Key=key)
            with target.open("wb") as out, answer["Body"] as body:
                shutil.copyfileobj(body, out, CHUNK_BYTES)
        if target.stat().st_size != answer["ContentLength"]:
            raise SourceUnavailable(f"s3://{self.bucket}/{key}: the download ended early; try again")
        return target

    def _exists(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        with self._answers(f"s3://{self.bucket}/{key}", f"s3:GetObject on arn:aws:s3:::{self.bucket}/{key}"):
            try:
                self.client.head_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    return False
                raise
        return True

    @contextmanager
    def _answers(self, address: str, permission: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            if code == "NoSuchBucket":
                say = f"there is no bucket {self.bucket!r}; check path, region and endpoint_url"
            elif code in ("NoSuchKey", "404"):
                say = "there is no such object; check path"
            elif code in ("AccessDenied", "403", "Forbidden"):
                say = f"S3 denied it; allow {permission} (and kms:Decrypt where your own key encrypts it)"
            elif code in ("SlowDown", "TooManyRequests", "RequestLimitExceeded") or "hrottl" in code or status == 503:
                say = "S3 is throttling; it is asked again at the next collect"
            else:
                say = f"S3 answered {code}: {error.response['Error'].get('Message', '')}"
            raise SourceUnavailable(f"{address}: {say}") from error
        except BotoCoreError as error:
            raise SourceUnavailable(f"{address}: {error}") from error


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """The columns of a file, each as written, as named in SQL, and its type; and the lines of a text file."""

    columns: tuple[tuple[str, str, str], ...]
    lines: int = 0

    def find(self, focus: str) -> tuple[str, str] | None:
        return next(((name, kind) for written, name, kind in self.columns if written.lower() == focus.lower()), None)


@dataclass(frozen=True)
class Span:
    """Rows of one file with one billing period and currency, and what rounding to nanos takes from their costs."""

    file: str
    start: str
    month: str
    rows: int
    currency: str
    rounded_rows: int
    billed_rest: Decimal
    effective_rest: Decimal


def _inspect_csv(file: File) -> Layout:
    """Read all bytes once: a whole gzip, UTF-8, how many lines. The columns are c0, c1, ... in SQL."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    newlines, last, head = 0, b"", ""
    with _whole_gzip(file), gzip.open(file.local) if file.is_gzip else file.local.open("rb") as stream:
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
        raise BadRecord(f"the file is empty, expected a header with {', '.join(REQUIRED[:3])}, ...", file.name, 1)
    if decoder.getstate()[0]:
        raise BadRecord("found half a UTF-8 character at the end, expected a whole file", file.name, newlines + 1)
    columns = tuple((written, f"c{i}", "VARCHAR") for i, written in enumerate(_header(head, file)))
    return Layout(columns, newlines + (not last.endswith(b"\n")))


@contextmanager
def _whole_gzip(file: File) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadRecord(f"not a whole gzip file ({error}); fetch it again", file.name) from error


def _header(text: str, file: File) -> list[str]:
    try:
        return next(csv.reader(text.removeprefix("\ufeff").splitlines(), strict=True), [])
    except csv.Error as error:
        raise BadRecord(f"the header can't be read: {error}", file.name, 1) from error


def _inspect_parquet(connection: duckdb.DuckDBPyConnection, file: File) -> Layout:
    if file.local.stat().st_size == 0:
        raise BadRecord("the file is empty, expected Parquet", file.name)
    with _sound(file):
        rows = connection.execute(f"DESCRIBE SELECT * FROM {_read_parquet([file])}").fetchall()
    added = ("rdspend_file", "file_row_number")
    return Layout(tuple((name, identifier(name), kind) for name, kind, *_ in rows if name not in added))


@contextmanager
def _sound(file: File) -> Iterator[None]:
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


def _check_columns(layout: Layout, file: File) -> None:
    """Required columns are there, under FOCUS's names, once."""
    line = None if file.is_parquet else 1
    written = [name for name, *_ in layout.columns]
    lower = [name.lower() for name in written]
    for name in lower:
        if name in KNOWN and lower.count(name) > 1:
            raise BadRecord(f"column {KNOWN[name]} stands there {lower.count(name)} times, expected once", file.name, line)
    strangers = {name.lower(): name for name in written if name.lower() not in KNOWN}
    for required in REQUIRED:
        if required.lower() not in lower:
            close = difflib.get_close_matches(required.lower(), strangers, n=1, cutoff=0.7)
            hint = f"; found {strangers[close[0]]!r}: did you mean {required!r}?" if close else ""
            found = f"{len(written)} columns" if len(written) > 1 else f"one column, {written}, so maybe not commas between"
            raise BadRecord(f"no column {required} in {found}, expected FOCUS 1.0 to 1.2{hint}", file.name, line)
    for focus, column in READ.items():
        kind = (layout.find(focus) or ("", "VARCHAR"))[1]
        accepted = _accepted(column)
        if not kind.startswith(accepted) or (kind.endswith("]") and accepted != ("",)):
            raise BadRecord(f"column {KNOWN[focus]} is of type {kind}, expected {' or '.join(accepted[-2:])}", file.name)


def _accepted(column: str) -> tuple[str, ...]:
    """Types of a Parquet column that can be taken; the empty one takes all."""
    kind = TYPES.get(column, "timestamp")
    if kind in ("int64", "float64"):
        return NUMBERS
    return {"timestamp": ("DATE", "VARCHAR", "TIMESTAMP"), "map": ("STRUCT", "JSON", "VARCHAR", "MAP")}.get(kind, ("",))


# --- SQL --------------------------------------------------------------------------------------------------------------


def _prepare(connection: duckdb.DuckDBPyConnection, scratch: str) -> None:
    for setting in (
        "TimeZone = 'UTC'",
        "memory_limit = '512MB'",
        f"threads = {THREADS}",
        f"temp_directory = {literal(scratch + '/duckdb')}",
        # Rows carry their number; keeping their order as well would hold back whole row groups in memory.
        "preserve_insertion_order = false",
        # The bill streams past the known tags, however small its unknown size is guessed: never the other way round.
        "disabled_optimizers = 'join_order,build_side_probe_side'",
    ):
        connection.execute(f"SET {setting}")


def _plain(path: Path) -> str:
    """A path as DuckDB takes it: one file, whatever characters are in its name."""
    return literal(re.sub(r"([*?\[])", r"[\1]", str(path)))


def _read_csv(file: File, layout: Layout) -> str:
    columns = ", ".join(f"'{name}': 'VARCHAR'" for _, name, _ in layout.columns)
    return (
        f"read_csv({_plain(file.local)}, auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', "
        f"nullstr = ['', 'NULL'], hive_partitioning = false, columns = {{{columns}}}, "
        f"compression = '{'gzip' if file.is_gzip else 'none'}')"
    )


def _read_parquet(files: Sequence[File]) -> str:
    paths = ", ".join(_plain(f.local) for f in files)
    return (
        f"read_parquet([{paths}], filename = 'rdspend_file', file_row_number = true, hive_partitioning = false, "
        "binary_as_string = true)"
    )


@dataclass(frozen=True)
class Part:
    """Files of one layout, read as one table. A CSV stands alone: its rows are counted."""

    files: tuple[File, ...]
    layout: Layout
    assume_utc: bool

    @property
    def raw(self) -> dict[str, str]:
        """Columns of charges that the files give, and the type they have there."""
        found = ((column, self.layout.find(focus)) for focus, column in READ.items())
        return {column: name[1] for column, name in found if name}

    def rows(self, one_line: bool = False, counted: bool = True) -> str:
        """SELECT of the columns as they stand in the file, by our names, and where each row stands.

        `one_line`: every row of the text file is one line, so row n stands on line n + 1. Rows of a text file that are
        not counted are read by all threads.
        """
        found = ((column, self.layout.find(focus)) for focus, column in READ.items())
        raw = ", ".join(f"{name[0]} AS {column}" for column, name in found if name)
        if self.files[0].is_parquet:
            root = self.files[0].root
            file = f"'s3://' || substr(rdspend_file, {len(root) + 1})" if root else "rdspend_file"
            row = line = "file_row_number + 1"
            source = _read_parquet(self.files)
        else:
            file, row, line = literal(self.files[0].name), "row", "row + 1" if one_line else "CAST(NULL AS BIGINT)"
            number = "row_number() OVER ()" if counted else "CAST(NULL AS BIGINT)"
            source = f"(SELECT *, {number} AS row FROM {_read_csv(self.files[0], self.layout)})"
        return f"SELECT {raw}, {file} AS origin_file, {row} AS origin_row, {line} AS origin_line FROM {source}"

    def spans(self) -> str:
        """SELECT of a Span's fields and, last, the BillingPeriod column that can't be read."""
        raw = self.raw
        money = [(c, _may_round(c, raw[c])) for c in ("billed_cost_nanos", "effective_cost_nanos")]
        parts = "".join(
            f", CASE WHEN {may} THEN {expression} END AS {name}_{c}"
            for c, may in money
            for name, expression in _decimal_parts(c, raw[c]).items()
        )
        rests = "".join(
            f", CASE WHEN {may} THEN {_exact(c, raw[c])} - CAST({_whole(c, raw[c])} AS DECIMAL(28, 0)) * 0.000000001 END "
            f"AS rest_{c}"
            for c, may in money
        )
        billed, effective = (f"rest_{c}" for c, _ in money)
        start, end = (_time(c, raw[c], self.assume_utc) for c in ("billing_period_start", "billing_period_end"))
        return f"""
            SELECT origin_file, CAST(billing_period_start AS VARCHAR), {month(start)}, rows, billing_currency,
                   rounded_rows, billed, effective,
                   CASE WHEN {start} IS NULL THEN 'billing_period_start'
                        WHEN COALESCE({end} <= {start}, true) THEN 'billing_period_end' END
            FROM (
                SELECT origin_file, billing_period_start, billing_period_end, billing_currency, COUNT(*) AS rows,
                       COUNT(*) FILTER (WHERE {billed} <> 0 OR {effective} <> 0) AS rounded_rows,
                       COALESCE(SUM({billed}), 0) AS billed, COALESCE(SUM({effective}), 0) AS effective
                FROM (SELECT *{rests} FROM (SELECT *{parts} FROM ({self.rows(counted=False)})))
                GROUP BY origin_file, billing_period_start, billing_period_end, billing_currency
            )
            ORDER BY ALL"""

    def charges(self, billing_month: str, starts: Sequence[str], one_line: bool, share: tuple[int, int] | None) -> str:
        """SELECT of charges of one month; checks and parses in one pass.

        `starts`: the texts of BillingPeriodStart that mean this month; none: every row is of it. `share`: only rows after
        the first number, to the second.
        """
        raw = self.raw
        parts = ", ".join(
            f"{expression} AS {name}_{column}"
            for column, kind in raw.items()
            for name, expression in self._parts(column, kind).items()
        )
        chosen = [f"CAST(billing_period_start AS VARCHAR) IN ({', '.join(map(literal, starts))})"] if starts else []
        chosen += [f"origin_row > {share[0]} AND origin_row <= {share[1]}"] if share else []
        where = f"WHERE {' AND '.join(chosen)}" if chosen else ""
        taken = ", ".join(f"{_finished(c, raw[c]) if c in raw else _nothing(c)} AS {c}" for c in TAKEN)
        return (
            f"SELECT {literal(billing_month)} AS billing_period, origin_file, origin_row, 'billed' AS basis, {taken} "
            f"FROM (SELECT *, {parts} FROM ({self.rows(one_line)}) {where}) AS bill"
            + (" LEFT JOIN known_tags ON bill.tags = known_tags.known_text" if raw.get("tags") == "VARCHAR" else "")
        )

    def _parts(self, column: str, kind: str) -> dict[str, str]:
        """What is worked out before a column of charges is, by prefix: each expression is written once."""
        if column.endswith("_nanos"):
            return _decimal_parts(column, kind)
        return {"time": _time(column, kind, self.assume_utc)} if TYPES.get(column) == "timestamp" else {}


# One column, as SQL. `kind` is DuckDB's name of the type the file gives it. ----------------------------------------------


def _time(column: str, kind: str, assume_utc: bool) -> str:
    """TIMESTAMPTZ, null where the time has no zone and none is assumed."""
    if kind.startswith("TIMESTAMP WITH"):
        return column
    if kind.startswith(("TIMESTAMP", "DATE")):
        return f"CAST(CAST({column} AS TIMESTAMP) AS TIMESTAMPTZ)" if assume_utc else "CAST(NULL AS TIMESTAMPTZ)"
    # Nearly every time ends in Z: asking that first takes a third of the time of the whole pattern.
    zoned = f"CASE WHEN suffix({column}, 'Z') AND strlen({column}) BETWEEN 17 AND 30 THEN TRY_CAST({column} AS TIMESTAMPTZ) "
    zoned += f"ELSE {instant(column)} END"
    with_zone = f"({column} || 'Z')"
    return f"COALESCE({zoned}, {instant(with_zone)})" if assume_utc else zoned


def _short_double(column: str) -> str:
    """True where a double is the nearest one to a decimal with nine places, of 15 digits at most: so it is that decimal.

    Also true where it is less than the 18th place shows.
    """
    return f"(abs({column}) < 1000000 AND (round({column} * 1e9) / 1e9 = {column} OR abs({column}) < 1e-18))"


def _decimal_parts(column: str, kind: str) -> dict[str, str]:
    """A number as whole `digits` and decimal `places` in 64 bits; null where it needs more, or has an exponent."""
    text = column if kind == "VARCHAR" else f"CAST({column} AS VARCHAR)"
    plain = f"CASE WHEN regexp_full_match({text}, '-?(\\d+(\\.\\d*)?|\\.\\d+)') THEN {text} END"
    parts = {
        "digits": f"TRY_CAST(replace({plain}, '.', '') AS BIGINT)",
        "places": f"CASE WHEN contains({text}, '.') THEN strlen({text}) - instr({text}, '.') ELSE 0 END",
    }
    if kind in ("DOUBLE", "FLOAT"):
        short = _short_double(column)
        shorts = {"digits": f"CAST(round({column} * 1e9) AS BIGINT)", "places": "9"}
        return {name: f"CASE WHEN {short} THEN {shorts[name]} ELSE {parts[name]} END" for name in parts}
    if kind != "VARCHAR":
        parts["digits"], parts["places"] = f"TRY_CAST(replace({text}, '.', '') AS BIGINT)", str(_scale(kind))
    return parts


def _scale(kind: str) -> int:
    """Decimal places of an exact type."""
    decimal = re.fullmatch(r"DECIMAL\(\d+,(\d+)\)", kind)
    return int(decimal[1]) if decimal else 0


def _exact(column: str, kind: str) -> str:
    return exact(column if kind == "VARCHAR" else f"CAST({column} AS VARCHAR)")


def _may_round(column: str, kind: str) -> str:
    """False where a number surely has nine decimals at most; cheap."""
    if kind in ("DOUBLE", "FLOAT"):
        return f"NOT {_short_double(column)}"
    if kind == "VARCHAR":
        return f"(strlen({column}) - instr({column}, '.') > 9 OR contains({column}, 'e') OR contains({column}, 'E'))"
    return "true" if _scale(kind) > 9 else "false"


def _whole(column: str, kind: str) -> str:
    """Nanos in BIGINT, rounded half to even, from digits and places; null where it is no number or none that fits.

    Whole numbers of 64 bits do for nearly every cost, at a tenth of the price of wide decimals.
    """
    digits, places = f"digits_{column}", f"places_{column}"
    ten = "[" + ", ".join(str(10**n) for n in range(10)) + "]"
    most, cut = f"{MOST} * {ten}[{places} + 1]", f"{ten}[{places} - 8]"
    quotient, rest = f"({digits} // {cut})", f"({digits} % {cut})"
    up = f"(2 * abs({rest}) > {cut} OR (2 * abs({rest}) = {cut} AND {quotient} % 2 <> 0))"
    wide = f"lambda d: CASE WHEN d BETWEEN -{MOST} AND {MOST} THEN {nanos('d')} END"
    return f"""CASE
        WHEN {places} <= 9 AND {digits} BETWEEN -{most} AND {most} THEN {digits} * {ten}[10 - {places}]
        WHEN {places} BETWEEN 10 AND 18 AND {digits} IS NOT NULL
            THEN {quotient} + CASE WHEN {up} THEN CAST(sign({digits}) AS BIGINT) ELSE 0 END
        ELSE list_transform([{_exact(column, kind)}], {wide})[1] END"""


def _text(column: str, kind: str) -> str:
    """Text; empty and `NULL` are null (in a CSV the reader has seen to it)."""
    return f"CASE WHEN {column} NOT IN ('', 'NULL') THEN {column} END" if kind == "VARCHAR" else f"CAST({column} AS VARCHAR)"


def _tags(column: str, kind: str) -> str:
    if kind.startswith("MAP"):
        return f"CAST({column} AS MAP(VARCHAR, VARCHAR))"
    if kind.startswith("STRUCT"):
        # A struct has every key on every row: those without a value are no tags of this row.
        entries = f"map_entries(CAST(to_json({column}) AS MAP(VARCHAR, VARCHAR)))"
        return f"map_from_entries(list_filter({entries}, lambda entry: entry.value IS NOT NULL))"
    # DuckDB 1.5 makes a map of a key that stands there twice, 2.0 does not.
    keys = f"json_keys(TRY_CAST({column} AS JSON))"
    once = f"len({keys}) = len(list_distinct({keys}))"
    return f"CASE WHEN {once} THEN TRY_CAST(TRY_CAST({column} AS JSON) AS MAP(VARCHAR, VARCHAR)) END"


def _spelled(text: str, words: Sequence[str], otherwise: str) -> str:
    """FOCUS's spelling of a word in any case."""
    whens = " ".join(f"WHEN {literal(w)} THEN {literal(w)}" for w in words)
    loose = " ".join(f"WHEN {literal(w.lower())} THEN {literal(w)}" for w in words)
    return f"CASE {text} {whens} ELSE CASE lower({text}) {loose} ELSE {otherwise} END END"


def _refuse(column: str, expected: str) -> str:
    return refuse("origin_file", "origin_row", focus_name(column), column, expected, "origin_line")


ZONED = "a time with a zone such as 2026-10-01T00:00:00Z; where times without one are UTC set assume_utc = true"


def _finished(column: str, kind: str) -> str:
    """A column of charges, in its type; what can't be read stops the query."""
    match TYPES[column]:
        case "int64":
            value, expected = _whole(column, kind), "a plain decimal number below 9e9 such as -1234.5678"
        case "float64":
            number = f"TRY_CAST({column} AS DOUBLE)"
            value, expected = f"CASE WHEN isfinite({number}) THEN {number} END", "a number"
        case "timestamp":
            value, expected = f"time_{column}", ZONED
        case "map":
            known = "known_map, " if kind == "VARCHAR" else ""
            value, expected = f"COALESCE({known}{_tags(column, kind)})", "a JSON object of tags, every key once"
        case _:
            return _finished_text(column, _text(column, kind))
    value = f"COALESCE({value}, {_refuse(column, expected)})"
    if column == "charge_period_end":
        late = _refuse(column, "an end that is not before ChargePeriodStart")
        value = f"CASE WHEN time_charge_period_end < time_charge_period_start THEN {late} ELSE {value} END"
    if column in NULLABLE:
        absent = f"{column} IS NULL" if kind != "VARCHAR" else f"{_text(column, kind)} IS NULL"
        return f"CASE WHEN {absent} THEN NULL ELSE {value} END"
    return value


def _finished_text(column: str, text: str) -> str:
    if column in CLOSED:
        words = CLOSED[column]
        refused = _refuse(column, " or ".join(words))
        otherwise = f"CASE WHEN {text} IS NOT NULL THEN {refused} END" if column in NULLABLE else refused
        return _spelled(text, words, otherwise)
    if column in SPELLED:
        return _spelled(text, SPELLED[column], text)
    if column == "billing_currency":
        refused = _refuse(column, "a currency code of ISO 4217 such as USD")
        return f"CASE WHEN regexp_full_match({text}, '[A-Z]{{3}}') THEN {text} ELSE {refused} END"
    return text


def _nothing(column: str) -> str:
    types = {"int64": "BIGINT", "float64": "DOUBLE", "map": "MAP(VARCHAR, VARCHAR)"}
    return f"CAST(NULL AS {types.get(TYPES[column], 'VARCHAR')})"


# --- the whole bill ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bill:
    """All files, and what each has of which month."""

    connection: duckdb.DuckDBPyConnection
    parts: tuple[Part, ...]
    spans: tuple[Span, ...]

    @classmethod
    def open(cls, connection: duckdb.DuckDBPyConnection, files: Sequence[File], assume_utc: bool) -> Bill:
        alike: dict[object, tuple[list[File], Layout]] = {}
        for file in files:
            layout = _inspect_parquet(connection, file) if file.is_parquet else _inspect_csv(file)
            _check_columns(layout, file)
            alike.setdefault(layout if file.is_parquet else file, ([], layout))[0].append(file)
        parts = tuple(Part(tuple(some), layout, assume_utc) for some, layout in alike.values())
        spans = tuple(span for part in parts for span in _spans(connection, part))
        _know_tags(connection, parts)
        return cls(connection, parts, spans)

    def has(self, billing_month: str) -> bool:
        """There are rows of it; or no rows at all, which is an answer for every month."""
        return bool(self.parts) and (not self.spans or any(s.month == billing_month for s in self.spans))

    def deliver(self, billing_month: str) -> Delivery:
        mine = {s.file for s in self.spans if s.month == billing_month}
        parts = [p for p in (self._narrow(part, mine) for part in self.parts) if p.files]
        selects = [
            p.charges(billing_month, self._starts(p, billing_month), p.layout.lines == 1 + self._rows(p), share)
            for p in parts
            for share in self._shares(p)
        ]
        relation = self.connection.sql(" UNION ALL ".join(f"({select})" for select in selects))
        return Delivery("charges", relation, {"billing_period": billing_month}, notes=self._notes(parts, billing_month))

    def _narrow(self, part: Part, mine: set[str]) -> Part:
        return Part(tuple(f for f in part.files if f.name in mine or not self.spans), part.layout, part.assume_utc)

    def _starts(self, part: Part, billing_month: str) -> list[str]:
        names = {f.name for f in part.files}
        spans = [s for s in self.spans if s.file in names]
        if all(s.month == billing_month for s in spans):
            return []
        return sorted({s.start for s in spans if s.month == billing_month})

    def _rows(self, part: Part) -> int:
        names = {f.name for f in part.files}
        return sum(s.rows for s in self.spans if s.file in names)

    def _shares(self, part: Part) -> Sequence[tuple[int, int] | None]:
        """Counting the rows of a text file takes one thread: in a large one each thread counts all and works on its share."""
        rows = self._rows(part)
        if part.files[0].is_parquet or rows < SHARED_ROWS:
            return (None,)
        return [(rows * n // THREADS, rows * (n + 1) // THREADS) for n in range(THREADS)]

    def _notes(self, parts: Sequence[Part], billing_month: str) -> list[tuple[str, str, str, int]]:
        spans = [s for s in self.spans if s.month == billing_month]
        rows = {p: sum(s.rows for s in spans if s.file in {f.name for f in p.files}) for p in parts}
        return [*_column_notes(rows), *_rounding_notes(spans), *self._empty_notes()]

    def _empty_notes(self) -> list[tuple[str, str, str, int]]:
        full = {s.file for s in self.spans}
        names = sorted(f.name for part in self.parts for f in part.files if f.name not in full)
        return [("empty_file", name, "it has a header and no row", 0) for name in names]


def _know_tags(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> None:
    """Parse the tags of some rows once: bills repeat them, and a join costs a tenth of parsing them again."""
    connection.execute("CREATE TEMP TABLE known_tags (known_text VARCHAR, known_map MAP(VARCHAR, VARCHAR))")
    texts = [part for part in parts if part.raw.get("tags") == "VARCHAR"]
    largest = sorted(texts, key=lambda part: -max(f.local.stat().st_size for f in part.files))
    for part in largest[:SAMPLED_PARTS]:
        some = f"SELECT tags FROM ({part.rows(counted=False)}) LIMIT {SAMPLED_ROWS}"
        with _sound(part.files[0]):
            connection.execute(
                f"INSERT INTO known_tags SELECT tags, {_tags('tags', 'VARCHAR')} FROM (SELECT DISTINCT tags FROM ({some})) "
                f"WHERE tags NOT IN (SELECT known_text FROM known_tags) LIMIT {KNOWN_TAGS}"
            )


def _column_notes(rows: dict[Part, int]) -> list[tuple[str, str, str, int]]:
    unknown: dict[str, int] = {}
    missing: dict[str, int] = {}
    for part, count in rows.items():
        written = [name for name, *_ in part.layout.columns]
        for name in (n for n in written if n.lower() not in KNOWN):
            unknown[name] = unknown.get(name, 0) + count
        for focus in (f for f in EXPECTED if f.lower() not in {n.lower() for n in written}):
            missing[focus] = missing.get(focus, 0) + count
    return [
        *(("unknown_column", n, "FOCUS 1.0 to 1.2 has no such column: left out", c) for n, c in sorted(unknown.items())),
        *(("missing_column", n, "the bill does not give it: taken as null", c) for n, c in sorted(missing.items())),
    ]


def _rounding_notes(spans: Sequence[Span]) -> list[tuple[str, str, str, int]]:
    return [
        (
            "rounding",
            s.file,
            f"exact sum minus sum of whole nanos in {s.currency}: billed {s.billed_rest:f}, effective {s.effective_rest:f}",
            s.rounded_rows,
        )
        for s in spans
        if s.rounded_rows
    ]


def _spans(connection: duckdb.DuckDBPyConnection, part: Part) -> Iterator[Span]:
    """What the files of a part hold, by billing period; a BadRecord where a billing period can't be read."""
    with _sound(part.files[0]):
        found = connection.execute(part.spans()).fetchall()
    one_line = part.layout.lines == 1 + sum(fields[3] for fields in found)
    for *fields, bad in found:
        span = Span(*fields)
        if bad is not None:
            raise _bad_period(connection, part, span, bad, one_line)
        folder = BILLING_PERIOD_FOLDER.search(span.file)
        if folder and folder[1] != span.month:
            raise BadRecord(f"{span.rows} rows are of billing period {span.month}, their folder says {folder[1]}", span.file)
        yield span


def _bad_period(connection: duckdb.DuckDBPyConnection, part: Part, span: Span, column: str, one_line: bool) -> BadRecord:
    """The first row of a span whose billing period can't be read."""
    start, end = (_time(c, part.raw[c], part.assume_utc) for c in ("billing_period_start", "billing_period_end"))
    is_bad = f"{start} IS NULL" if column == "billing_period_start" else f"COALESCE({end} <= {start}, true)"
    found = connection.execute(
        f"SELECT origin_row, origin_line, CAST({column} AS VARCHAR), {end} IS NULL FROM ({part.rows(one_line)}) "
        f"WHERE origin_file = {literal(span.file)} AND {is_bad} ORDER BY origin_row LIMIT 1"
    ).fetchall()
    row, line, text, unread = found[0]
    expected = ZONED if unread or column == "billing_period_start" else "an end after BillingPeriodStart"
    shown = "nothing" if text is None else repr(text[:80])
    return BadRecord(f"row {row}: {focus_name(column)}: found {shown}, expected {expected}", span.file, line)
