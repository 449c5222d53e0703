"""Cost and usage bills in the FOCUS format, versions 1.0, 1.1 and 1.2: CSV, gzipped CSV and Parquet.

    [collectors.focus]
    path = "bills"                 # a file, a folder (read with all below it), a glob, or s3://bucket/key-prefix-or-glob
    assume_utc = true              # only for bills whose times carry no zone and are UTC, as FOCUS demands
    [collectors.focus.s3]          # for s3:// only, each optional; credentials come from boto3's usual chain
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

import difflib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from rdspend.bills.column import decimal_parts, exact_of, may_round, nanos_of, spelled, tags_of, text_of, time_of
from rdspend.bills.files import SUFFIXES, File, find, readable, refuse_copies, sound
from rdspend.bills.layout import Layout, inspect_csv, inspect_parquet, read_csv, read_parquet
from rdspend.bills.store import S3, Store, split
from rdspend.border import literal, month, refuse
from rdspend.errors import BadRecord, SourceUnavailable
from rdspend.schema import CHARGES, Delivery, Location, Window

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
    s3: S3 = field(default_factory=S3)

    def collect(self, window: Window) -> Iterator[Delivery]:
        """Yield one delivery of charges for each billing month of the window that the files have rows of.

        Files without any row give an empty delivery for each month: the bill says that there is nothing. Raises
        SourceUnavailable when there is no file or it can't be read, BadRecord for what is wrong inside one; rows are
        checked while the delivery is run, by `rdspend.border.refuse`.
        """
        with (
            readable(str(self.path)),
            tempfile.TemporaryDirectory(prefix="rdspend-focus-") as scratch,
            duckdb.connect() as connection,
        ):
            _prepare(connection, scratch)
            files = self._files(window.months, Path(scratch))
            refuse_copies(files)
            bill = Bill.open(connection, files, self.assume_utc)
            for billing_month in window.months:
                if bill.has(billing_month):
                    yield bill.deliver(billing_month)

    def _files(self, months: Sequence[str], scratch: Path) -> tuple[File, ...]:
        if not self.path.startswith("s3://"):
            return tuple(File(str(p), p) for p in _wanted(find(self.path), months, self.path))
        bucket, key = split(self.path)
        store = Store(bucket, self.s3.client(self.path))
        folder = scratch / "s3"
        return tuple(
            File(f"s3://{bucket}/{found}", store.fetch(found, folder), f"{folder}/")
            for found in _wanted(store.find(key), months, self.path)
        )


# --- files ------------------------------------------------------------------------------------------------------------


def _wanted(found: Iterable[str], months: Sequence[str], path: str) -> list[Any]:
    """Bill files that may have rows of the months; SourceUnavailable when there is no bill file at all."""
    bills = [f for f in found if f.lower().endswith(SUFFIXES)]
    if not bills:
        raise SourceUnavailable(f"{path}: no bill found, expected a file, folder or glob with {', '.join(SUFFIXES)} files")
    folders = {f: BILLING_PERIOD_FOLDER.search(f) for f in bills}
    wanted = [f for f, folder in folders.items() if folder is None or folder[1] in months]
    return wanted if path.startswith("s3://") else [Path(f) for f in wanted]


# --- reading ----------------------------------------------------------------------------------------------------------


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
            source = read_parquet(self.files)
        else:
            file, row, line = literal(self.files[0].name), "row", "row + 1" if one_line else "CAST(NULL AS BIGINT)"
            number = "row_number() OVER ()" if counted else "CAST(NULL AS BIGINT)"
            source = f"(SELECT *, {number} AS row FROM {read_csv(self.files[0], self.layout)})"
        return f"SELECT {raw}, {file} AS origin_file, {row} AS origin_row, {line} AS origin_line FROM {source}"

    def spans(self) -> str:
        """SELECT of a Span's fields and, last, the BillingPeriod column that can't be read."""
        raw = self.raw
        money = [(c, may_round(c, raw[c])) for c in ("billed_cost_nanos", "effective_cost_nanos")]
        parts = "".join(
            f", CASE WHEN {may} THEN {expression} END AS {name}_{c}"
            for c, may in money
            for name, expression in decimal_parts(c, raw[c]).items()
        )
        rests = "".join(
            f", CASE WHEN {may} THEN {exact_of(c, raw[c])} - CAST({nanos_of(c, raw[c])} AS DECIMAL(28, 0)) * 0.000000001 END "
            f"AS rest_{c}"
            for c, may in money
        )
        billed, effective = (f"rest_{c}" for c, _ in money)
        start, end = (time_of(c, raw[c], self.assume_utc) for c in ("billing_period_start", "billing_period_end"))
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
            return decimal_parts(column, kind)
        return {"time": time_of(column, kind, self.assume_utc)} if TYPES.get(column) == "timestamp" else {}


# One column, as SQL. `kind` is DuckDB's name of the type the file gives it. ----------------------------------------------


def _refuse(column: str, expected: str) -> str:
    return refuse("origin_file", "origin_row", focus_name(column), column, expected, "origin_line")


ZONED = "a time with a zone such as 2026-10-01T00:00:00Z; where times without one are UTC set assume_utc = true"


def _finished(column: str, kind: str) -> str:
    """A column of charges, in its type; what can't be read stops the query."""
    match TYPES[column]:
        case "int64":
            value, expected = nanos_of(column, kind), "a plain decimal number below 9e9 such as -1234.5678"
        case "float64":
            number = f"TRY_CAST({column} AS DOUBLE)"
            value, expected = f"CASE WHEN isfinite({number}) THEN {number} END", "a number"
        case "timestamp":
            value, expected = f"time_{column}", ZONED
        case "map":
            known = "known_map, " if kind == "VARCHAR" else ""
            value, expected = f"COALESCE({known}{tags_of(column, kind)})", "a JSON object of tags, every key once"
        case _:
            return _finished_text(column, text_of(column, kind))
    value = f"COALESCE({value}, {_refuse(column, expected)})"
    if column == "charge_period_end":
        late = _refuse(column, "an end that is not before ChargePeriodStart")
        value = f"CASE WHEN time_charge_period_end < time_charge_period_start THEN {late} ELSE {value} END"
    if column in NULLABLE:
        absent = f"{column} IS NULL" if kind != "VARCHAR" else f"{text_of(column, kind)} IS NULL"
        return f"CASE WHEN {absent} THEN NULL ELSE {value} END"
    return value


def _finished_text(column: str, text: str) -> str:
    if column in CLOSED:
        words = CLOSED[column]
        refused = _refuse(column, " or ".join(words))
        otherwise = f"CASE WHEN {text} IS NOT NULL THEN {refused} END" if column in NULLABLE else refused
        return spelled(text, words, otherwise)
    if column in SPELLED:
        return spelled(text, SPELLED[column], text)
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
            layout = inspect_parquet(connection, file) if file.is_parquet else inspect_csv(file)
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
        with sound(part.files[0]):
            connection.execute(
                f"INSERT INTO known_tags SELECT tags, {tags_of('tags', 'VARCHAR')} FROM (SELECT DISTINCT tags FROM ({some})) "
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
    with sound(part.files[0]):
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
    start, end = (time_of(c, part.raw[c], part.assume_utc) for c in ("billing_period_start", "billing_period_end"))
    is_bad = f"{start} IS NULL" if column == "billing_period_start" else f"COALESCE({end} <= {start}, true)"
    found = connection.execute(
        f"SELECT origin_row, origin_line, CAST({column} AS VARCHAR), {end} IS NULL FROM ({part.rows(one_line)}) "
        f"WHERE origin_file = {literal(span.file)} AND {is_bad} ORDER BY origin_row LIMIT 1"
    ).fetchall()
    row, line, text, unread = found[0]
    expected = ZONED if unread or column == "billing_period_start" else "an end after BillingPeriodStart"
    shown = "nothing" if text is None else repr(text[:80])
    return BadRecord(f"row {row}: {focus_name(column)}: found {shown}, expected {expected}", span.file, line)
