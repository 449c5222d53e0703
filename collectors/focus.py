"""Cost and usage bills in FOCUS 1.0 to 1.4, and in the providers' own forms of it: CSV, Parquet, JSON; gzipped or not.

    [collectors.focus]
    path = "bills"                 # a file, a folder (read with all below it), a glob, or s3://bucket/key-prefix-or-glob
    assume_utc = true              # only for bills whose times carry no zone and are UTC, as FOCUS demands
    date_format = "%m/%d/%y"       # only for bills with days of this form for times; they begin at midnight UTC
    rate_card = "prices.toml"      # only for usage without costs (CoreWeave): what a unit costs, and what the invoice says
    [collectors.focus.s3]          # for s3:// only, each optional; credentials come from boto3's usual chain
    endpoint_url = "https://s3.example.org"
    region = "eu-central-1"
    profile = "billing"            # and role_arn, external_id, requester_pays, parallel: docs/configuration.md

Permission: to read the files; on S3 `s3:ListBucket` on the bucket and `s3:GetObject` on the objects (and `kms:Decrypt`
where they are encrypted with a key of yours). Objects are copied to a temporary folder first, so it needs their size.

A row belongs to the month of its BillingPeriodStart: a correction of an old charge period is billed in the new month and used
in the old one. Columns are found by FOCUS's names, in any case. Empty text and the words `NULL` and `null` are null. A
category that FOCUS closes (ChargeCategory, ...) takes FOCUS's own spelling. Costs are exact up to 18 decimals, and rounded
half to even to 9; what rounding took is a note. A double counts as its shortest decimal text. Files under a folder
`BILLING_PERIOD=YYYY-MM` (the layout of AWS Data Exports) are read only for that month. A JSON file is a list of objects or has
one a line; files whose names end in `manifest.json` are no bills.

Whose form a file is in is told by its columns; `focus_columns/` has one data file a form, and
`rdspend/bills/focus_versions/` one a version of FOCUS:

- AWS: FOCUS with AWS columns. Azure: the capacity reservation comes from x_SkuDetails, commitment ids in lower case.
- Azure actual and amortized cost exports: the actual one says what is billed, the amortized one what commitments' use is worth.
  Both belong into one path: the lines that both have are counted once, and must cost the same. An actual export alone is
  taken as it is, with a note; an amortized one alone is refused, for nothing says what was billed. Lines of commitments tell
  which is which, in the file or in other files of its export, and else `amortized` in a name; two exports with the same lines
  that nothing tells apart are refused. Runs of one export whose spans share a day are refused.
- Google Cloud's usage cost export (BigQuery to Parquet or JSON): each credit is a line of its own, with the origin
  `file#credits/1`, so a line and its credits add to what is paid; one without an amount is refused. Commitment fees stay where
  they are billed: nothing in the export says which use they cover. Google Cloud's FOCUS view and export are net of credits.
- Oracle's names of before 1.0. Nebius and CoreWeave write FOCUS 1.2: Nebius' commitments are adjustments, CoreWeave gives no
  costs: see rdspend/bills/usage.py for the prices and invoices in `rate_card`. Its lines of instances are of the pool
  `cluster id/SKU` (by capacity plan: `SKU`), which nodes can have as their `pool`; storage and addresses have no resource.
  The API's pages are read as they come, in the order of their names; a last one that names a next one is refused.

One month of one account in two forms (Azure's FOCUS and cost exports, Google's two exports), in two types of files (CSV and
Parquet), or in CoreWeave's two views is refused with both names. Files of one type are taken as parts of one bill.

What it can't see: whether an export is finished (export whole files, or move them in place when they are whole); columns
that no form knows (they are noted and left out); rows that a provider will still restate; which jobs a provider's own
allocation (Allocated*) means: an allocated file is a bill like any other, and its origin file beside it is refused.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from rdspend.bills.agreements import Entry
from rdspend.bills.column import decimal_parts, exact_of, may_round, nanos_of, spelled, tags_of, text_of, time_of
from rdspend.bills.dialect import Dialect, View, tell, view
from rdspend.bills.files import JSON_SUFFIXES, SUFFIXES, File, find, readable, refuse_copies, sound
from rdspend.bills.focus_spec import VERSIONS, focus_name
from rdspend.bills.layout import Layout, inspect_csv, inspect_json, inspect_parquet, read_csv, read_json, read_parquet
from rdspend.bills.scratch import scratch
from rdspend.bills.store import S3, Store, split
from rdspend.bills.usage import Prices, brought_to, priced, zeros
from rdspend.border import literal, month, refuse
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
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

COLUMNS = Path(__file__).with_name("focus_columns")

SPAN = f"FOCUS {min(VERSIONS)} to {max(VERSIONS)}"

FOCUS = Dialect.load(COLUMNS / "focus.toml")
DIALECTS = tuple(
    replace(dialect, renamed={**FOCUS.renamed, **dialect.renamed})
    for dialect in (Dialect.load(p) for p in sorted(COLUMNS.glob("*.toml")) if p.stem != "focus")
)

# Files of these too; what an export says about itself is no bill.
BILLS = (*SUFFIXES, *JSON_SUFFIXES)
MANIFEST = re.compile(r"manifest\.json(\.gz)?$", re.IGNORECASE)

# Columns of FOCUS that say more than the ledger keeps: noted, not unknown.
LEFT = {
    "HostProviderName": "the ledger keeps who made the service available",
    "AllocatedMethodDetails": "the ledger keeps the method's id",
    "AllocatedResourceId": "jobs take money through their placements, not by the provider's allocation",
    "AllocatedResourceName": "jobs take money through their placements, not by the provider's allocation",
    "AllocatedTags": "jobs take money through their placements, not by the provider's allocation",
}

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

# Azure writes a month to date into a folder of its own at every run.
AZURE_RUN = re.compile(r"(?P<export>^|.*/)(?P<span>\d{8}-\d{8})/(?:(?P<run>[^/]+)/)?")

THREADS = min(os.cpu_count() or 1, 4)
SHARED_ROWS = 200_000

# The tags of so many rows, of so many of the largest files, are parsed ahead, to so many distinct ones a file.
SAMPLED_ROWS, SAMPLED_PARTS, KNOWN_TAGS = 50_000, 4, 20_000

TYPES = {c.name: c.type for c in CHARGES.columns}
NULLABLE = {c.name for c in CHARGES.columns if c.null is not None}


# Columns of charges that a bill gives, and the two that are only checked.
TAKEN = tuple(c for c in CHARGES.names if c not in ("source", "billing_period", "origin_file", "origin_row", "basis"))
READ = {focus_name(c).lower(): c for c in (*TAKEN, "billing_period_start", "billing_period_end") if c != "line_type"}
LEFT_OUT = sorted({c for columns in VERSIONS.values() for c in columns if c.lower() not in READ})
KNOWN = {**{key: focus_name(c) for key, c in READ.items()}, **{name.lower(): name for name in LEFT_OUT}}

# What is asked of a view: columns of charges by their names in FOCUS; SkuPriceDetails has the instance type for prices.
WANTED = {**READ, "linetype": "line_type"}


@dataclass(frozen=True)
class Focus:
    """Reads FOCUS bills from files or S3."""

    path: Location
    assume_utc: bool = False
    date_format: str | None = None
    rate_card: Location | None = None
    s3: S3 = field(default_factory=S3)

    def __post_init__(self) -> None:
        form, day = self.date_format, datetime(2026, 10, 31)
        try:
            ours = form is None or datetime.strptime(day.strftime(form), form) == day
        except ValueError:
            ours = False
        if not ours:
            raise ValueError(f"date_format = {form!r}: expected a form that says year, month and day, such as '%m/%d/%y'")

    def collect(self, window: Window) -> Iterator[Delivery]:
        """Yield one delivery of charges for each billing month of the window that the files have rows of.

        Files without any row give an empty delivery for each month: the bill says that there is nothing. Raises
        SourceUnavailable when there is no file or it can't be read, BadRecord for what is wrong inside one; rows are
        checked while the delivery is run, by `rdspend.border.refuse`.
        """
        prices = Prices.read(str(self.rate_card)) if self.rate_card else None
        with (
            readable(str(self.path)),
            scratch("focus") as folder,
            duckdb.connect() as connection,
        ):
            _prepare(connection, str(folder))
            files = self._files(window.months, folder)
            refuse_copies(files)
            _refuse_runs(files)
            bill = Bill.open(connection, files, self.assume_utc, self.date_format, prices)
            for billing_month in window.months:
                if bill.has(billing_month):
                    yield bill.deliver(billing_month)
                elif prices and prices.invoice(billing_month):
                    (entry, *_) = prices.invoice(billing_month)
                    raise ConfigError(f"{entry.words}: an invoice of {billing_month}, of which {self.path} has no usage")

    def _files(self, months: Sequence[str], folder: Path) -> tuple[File, ...]:
        if not self.path.startswith("s3://"):
            return tuple(File(str(p), p) for p in _wanted(find(self.path), months, self.path))
        bucket, key = split(self.path)
        store = Store(bucket, self.s3.client(self.path))
        keys = _wanted(store.find(key), months, self.path)
        copies = store.fetch_all(keys, folder / "s3")
        return tuple(File(f"s3://{bucket}/{k}", copy, f"{folder}/s3/") for k, copy in zip(keys, copies, strict=True))


# --- files ------------------------------------------------------------------------------------------------------------


def _wanted(found: Iterable[str], months: Sequence[str], path: str) -> list[Any]:
    """Bill files that may have rows of the months; SourceUnavailable when there is no bill file at all."""
    bills = [f for f in found if f.lower().endswith(BILLS) and not MANIFEST.search(f)]
    if not bills:
        raise SourceUnavailable(f"{path}: no bill found, expected a file, folder or glob with {', '.join(BILLS)} files")
    folders = {f: BILLING_PERIOD_FOLDER.search(f) for f in bills}
    wanted = [f for f, folder in folders.items() if folder is None or folder[1] in months]
    return wanted if path.startswith("s3://") else [Path(f) for f in wanted]


def _refuse_runs(files: Iterable[File]) -> None:
    """Every run of an Azure export has all of its span: two of them, or two spans with a day in both, would count twice."""
    seen: dict[tuple[str, str], tuple[str | None, str]] = {}
    for file in files:
        run = AZURE_RUN.match(file.name)
        if run:
            first, name = seen.setdefault((run["export"], run["span"]), (run["run"], file.name))
            if first != run["run"]:
                raise BadRecord(
                    f"is of another run than {name}: each run of an Azure export has the whole month to date, so they would "
                    "count twice; keep the newest, or let the export overwrite its files",
                    file.name,
                )
    last: dict[str, tuple[str, str]] = {}
    for (export, span), (_, name) in sorted(seen.items()):
        since, until = span.split("-")
        before = last.get(export)
        if before and since <= before[0]:
            raise BadRecord(
                f"is of the days {span}, some of which {before[1]} has too: they would count twice; keep one of the two spans",
                name,
            )
        last[export] = (until, name)


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
    second_currency: str | None


def _check_columns(layout: Layout, seen: View, file: File, dialect: Dialect) -> None:
    """Required columns are there, once, and of a type that can be meant."""
    line = None if file.is_parquet or file.is_json else 1
    written = [name for name, *_ in layout.columns]
    lower = [name.lower() for name in written]
    for name in lower:
        if name in KNOWN and lower.count(name) > 1:
            raise BadRecord(f"column {KNOWN[name]} stands there {lower.count(name)} times, expected once", file.name, line)
    strangers = {name.lower(): name for name in written if name.lower() not in KNOWN}
    for required in REQUIRED:
        if seen.find(required) is None:
            close = difflib.get_close_matches(required.lower(), strangers, n=1, cutoff=0.7)
            hint = f"; found {strangers[close[0]]!r}: did you mean {required!r}?" if close else ""
            if required in REQUIRED[:2] and seen.find("ConsumedQuantity"):
                hint = "; it has quantities: for usage without costs set rate_card"
            found = f"{len(written)} columns" if len(written) > 1 else f"one column, {written}, so maybe not commas between"
            expected = SPAN if dialect is FOCUS else dialect.title
            raise BadRecord(f"no column {required} in {found}, expected {expected}{hint}", file.name, line)
    for focus, column in WANTED.items():
        kind = (seen.find(focus) or ("", "VARCHAR"))[1]
        accepted = _accepted(column)
        if not kind.startswith(accepted) or (kind.endswith("]") and accepted != ("",)):
            name = focus_name(column)
            raise BadRecord(f"column {name} is of type {kind}, expected {' or '.join(accepted[-2:])}", file.name)


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
        "enable_progress_bar = false",
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
    """Files of one layout, read as one table. A text file stands alone: its rows are counted."""

    files: tuple[File, ...]
    layout: Layout
    view: View
    dialect: Dialect
    utc: bool

    @property
    def raw(self) -> dict[str, str]:
        """Columns of charges that the files give, and the type they have there."""
        found = ((column, self.view.find(focus)) for focus, column in WANTED.items())
        return {column: name[1] for column, name in found if name}

    def rows(self, one_line: bool = False, counted: bool = True, also: Mapping[str, str] | None = None) -> str:
        """SELECT of the columns as they stand in the file, by our names, and where each row stands.

        `one_line`: every row of the text file is one line, so row n stands on line n + 1. Rows of a text file that are
        not counted are read by all threads. `also`: further columns, as SQL over the file's.
        """
        found = ((column, self.view.find(focus)) for focus, column in WANTED.items())
        raw = ", ".join(f"{name[0]} AS {column}" for column, name in found if name)
        passed = "".join(f", {sql} AS {name}" for name, sql in {**self.view.passed, **(also or {})}.items())
        if self.files[0].is_parquet:
            root = self.files[0].root
            file = f"'s3://' || substr(rdspend_file, {len(root) + 1})" if root else "rdspend_file"
            row = line = "file_row_number + 1"
            source = read_parquet(self.files)
        else:
            read = read_json if self.files[0].is_json else read_csv
            file, row, line = (
                literal(self.files[0].name),
                "rdspend_row",
                "rdspend_row + 1" if one_line else "CAST(NULL AS BIGINT)",
            )
            number = "row_number() OVER ()" if counted else "CAST(NULL AS BIGINT)"
            source = f"(SELECT *, {number} AS rdspend_row FROM {read(self.files[0], self.layout)})"
        return (
            f"SELECT {raw}{passed}, {file} AS origin_file, {row} AS origin_row, {line} AS origin_line "
            f"FROM {self.view.source(source)}"
        )

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
        second = text_of("pricing_currency", raw["pricing_currency"]) if "pricing_currency" in raw else "NULL"
        start, end = (time_of(c, raw[c], self.utc) for c in ("billing_period_start", "billing_period_end"))
        return f"""
            SELECT origin_file, CAST(billing_period_start AS VARCHAR), {month(start)}, rows, billing_currency,
                   rounded_rows, billed, effective, second,
                   CASE WHEN {start} IS NULL THEN 'billing_period_start'
                        WHEN COALESCE({end} <= {start}, true) THEN 'billing_period_end' END
            FROM (
                SELECT origin_file, billing_period_start, billing_period_end, billing_currency, COUNT(*) AS rows,
                       COUNT(*) FILTER (WHERE {billed} <> 0 OR {effective} <> 0) AS rounded_rows,
                       COALESCE(SUM({billed}), 0) AS billed, COALESCE(SUM({effective}), 0) AS effective,
                       string_agg(DISTINCT NULLIF({second}, billing_currency), ', ') AS second
                FROM (SELECT *{rests} FROM (SELECT *{parts} FROM ({self.rows(counted=False)})))
                GROUP BY origin_file, billing_period_start, billing_period_end, billing_currency
            )
            ORDER BY ALL"""

    def charges(self, billing_month: str, starts: Sequence[str], one_line: bool, share: tuple[int, int | None] | None) -> str:
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
        if share:
            chosen.append(f"origin_row > {share[0]}" + (f" AND origin_row <= {share[1]}" if share[1] else ""))
        where = f"WHERE {' AND '.join(chosen)}" if chosen else ""
        taken = ", ".join(f"{_finished(c, raw[c], self.view) if c in raw else _nothing(c)} AS {c}" for c in TAKEN)
        passed = self.view.passed
        credit = "CASE WHEN rdspend_n > 0 THEN origin_file || '#' || rdspend_entries || '/' || rdspend_n ELSE origin_file END"
        file = credit.replace("rdspend_entries", literal(self.dialect.each)) if "rdspend_n" in passed else "origin_file"
        basis = "CASE WHEN rdspend_priced THEN 'estimated' ELSE 'billed' END" if "rdspend_priced" in passed else "'billed'"
        return (
            f"SELECT {literal(billing_month)} AS billing_period, {file} AS origin_file, origin_row, {basis} AS basis, {taken} "
            f"FROM (SELECT *, {parts} FROM ({self.rows(one_line)}) {where}) AS bill"
            + (
                f" LEFT JOIN ({_known(self.view)}) AS known ON bill.tags = known.known_text"
                if raw.get("tags") == "VARCHAR"
                else ""
            )
        )

    def _parts(self, column: str, kind: str) -> dict[str, str]:
        """What is worked out before a column of charges is, by prefix: each expression is written once."""
        if column.endswith("_nanos"):
            return decimal_parts(column, kind)
        return {"time": time_of(column, kind, self.utc)} if TYPES.get(column) == "timestamp" else {}


# One column, as SQL. `kind` is DuckDB's name of the type the file gives it. ----------------------------------------------


def _refuse(column: str, expected: str) -> str:
    return refuse("origin_file", "origin_row", focus_name(column), column, expected, "origin_line")


ZONED = (
    "a time with a zone such as 2026-10-01T00:00:00Z; where times without one are UTC set assume_utc = true, "
    "where days are written for times set date_format"
)


def _finished(column: str, kind: str, seen: View) -> str:
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
            value, expected = f"COALESCE({known}{_tags(kind, seen)})", "a JSON object of tags, every key once"
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


def _tags(kind: str, seen: View) -> str:
    if not seen.tags:
        return tags_of("tags", kind)
    pairs = f"({seen.tags})"
    once = f"len(list_distinct(list_transform({pairs}, lambda t: t[1]))) = len({pairs})"
    return f"CASE WHEN {once} THEN map_from_entries({pairs}) END"


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
    prices: Prices | None
    paired: Mapping[str, tuple[str, str, str, int]]
    zero: frozenset[str] = frozenset()

    @classmethod
    def open(
        cls,
        connection: duckdb.DuckDBPyConnection,
        files: Sequence[File],
        assume_utc: bool,
        date_format: str | None,
        prices: Prices | None,
    ) -> Bill:
        if prices:
            prices.load(connection)
        alike: dict[object, tuple[list[File], Layout, Dialect]] = {}
        paged: list[tuple[File, str | None]] = []
        for file in files:
            layout = _inspect(connection, file)
            dialect = tell(DIALECTS, layout) or FOCUS
            layout = dialect.retyped(layout) if file.is_json else layout
            if layout.is_paged and not layout.columns:  # a page without lines, which is an answer
                layout = replace(layout, columns=tuple((name, name, "VARCHAR") for name in REQUIRED))
            paged += [(file, layout.next_page)] if layout.is_paged else []
            together = file.is_parquet and not dialect.pair and not prices
            alike.setdefault(layout if together else file, ([], layout, dialect))[0].append(file)
        _refuse_unfinished(paged)
        parts, zero = [], set()
        for some, layout, dialect in alike.values():
            with sound(some[0]):  # a column of another type than its form has
                seen = view(connection, layout, dialect, _wanted_columns(dialect, prices))
            utc = assume_utc or seen.utc
            if date_format:
                seen = _dated(seen, date_format)
            if prices and _is_zero(connection, Part(tuple(some), layout, seen, dialect, utc)):
                zero.add(some[0].name)
            if prices:
                seen = priced(seen, utc, some[0].name in zero)
            _check_columns(layout, seen, some[0], dialect)
            parts.append(Part(tuple(some), layout, seen, dialect, utc))
        told, notes, amortized = _pair(connection, parts)
        if prices:
            _refuse_unpriced(connection, told, prices)
        spans = tuple(span for part in told for span in _spans(connection, part))
        _refuse_forms(connection, told, spans, amortized)
        _refuse_views(connection, told)
        _know_tags(connection, told)
        return cls(connection, tuple(told), spans, prices, notes, frozenset(zero))

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
        rows = " UNION ALL ".join(f"({select})" for select in selects)
        invoices = self.prices.invoice(billing_month) if self.prices else ()
        _refuse_unmatched(self.connection, rows, invoices, parts[0].files[0])
        relation = self.connection.sql(brought_to(rows, invoices))
        return Delivery("charges", relation, {"billing_period": billing_month}, notes=self._notes(parts, billing_month))

    def _narrow(self, part: Part, mine: set[str]) -> Part:
        return replace(part, files=tuple(f for f in part.files if f.name in mine or not self.spans))

    def _starts(self, part: Part, billing_month: str) -> list[str]:
        names = {f.name for f in part.files}
        spans = [s for s in self.spans if s.file in names]
        if all(s.month == billing_month for s in spans):
            return []
        return sorted({s.start for s in spans if s.month == billing_month})

    def _rows(self, part: Part) -> int:
        names = {f.name for f in part.files}
        return sum(s.rows for s in self.spans if s.file in names)

    def _shares(self, part: Part) -> Sequence[tuple[int, int | None] | None]:
        """Counting the rows of a text file takes one thread: in a large one each thread counts all and works on its share.

        The last share has no end: a view may leave rows out, so there may be more in the file than were seen in it.
        """
        rows = self._rows(part)
        if part.files[0].is_parquet or rows < SHARED_ROWS:
            return (None,)
        ends = [rows * n // THREADS for n in range(THREADS)]
        return list(zip(ends, [*ends[1:], None], strict=True))

    def _notes(self, parts: Sequence[Part], billing_month: str) -> list[tuple[str, str, str, int]]:
        spans = [s for s in self.spans if s.month == billing_month]
        rows = {p: sum(s.rows for s in spans if s.file in {f.name for f in p.files}) for p in parts}
        paired = [self.paired[billing_month]] if billing_month in self.paired else []
        zero = [
            ("zero_costs", s.file, f"every cost in it is 0: taken as usage without costs, priced in {s.currency}", s.rows)
            for s in spans
            if s.file in self.zero
        ]
        return [*_column_notes(rows), *_rounding_notes(spans), *_currency_notes(spans), *self._empty_notes(), *paired, *zero]

    def _empty_notes(self) -> list[tuple[str, str, str, int]]:
        full = {s.file for s in self.spans}
        names = sorted(f.name for part in self.parts for f in part.files if f.name not in full)
        return [("empty_file", name, "it has a header and no row", 0) for name in names]


def _inspect(connection: duckdb.DuckDBPyConnection, file: File) -> Layout:
    if file.is_parquet:
        return inspect_parquet(connection, file)
    return inspect_json(connection, file) if file.is_json else inspect_csv(file)


def _wanted_columns(dialect: Dialect, prices: Prices | None) -> list[str]:
    """Names in FOCUS that are asked of a file. The line's type has none: only a dialect can say which column it is."""
    typed = "LineType" in {**dialect.renamed, **dialect.worked_out}
    return [*(KNOWN[name] for name in READ), *(["LineType"] if typed else []), *(["SkuPriceDetails"] if prices else [])]


def _dated(seen: View, form: str) -> View:
    """A view whose texts of this form, where there should be times, are midnights in UTC."""
    made = {}
    for focus in ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd"):
        sql, kind = seen.find(focus) or ("", "")
        if kind == "VARCHAR":
            day = f"strftime(TRY_STRPTIME(trim({sql}), {literal(form)}), '%Y-%m-%dT00:00:00Z')"
            made[focus] = (f"COALESCE({day}, {sql})", kind)
    return seen.put(**made)


def _refuse_unpriced(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part], prices: Prices) -> None:
    """A line without cost and without price would be free."""
    for part in parts:
        also = {"details": (part.view.find("SkuPriceDetails") or ("CAST(NULL AS VARCHAR)",))[0]}
        sku = "sku_id" if part.view.find("SkuId") else "NULL"
        with sound(part.files[0]):
            found = connection.execute(
                f"SELECT origin_file, origin_row, {sku}, rdspend_unit, "
                "json_extract_string(TRY_CAST(details AS JSON), '$.InstanceType') "
                f"FROM ({part.rows(also=also)}) WHERE rdspend_priced AND rdspend_price IS NULL ORDER BY ALL LIMIT 1"
            ).fetchall()
        for file, row, sku_id, unit, instance in found:
            raise BadRecord(
                f"row {row}: found {sku_id!r} in {unit!r}"
                + (f" on {instance!r}" if instance else "")
                + " without a cost, expected "
                f"a price for it in {prices.file}: [[price]] with sku{' or instance_type' if instance else ''}, unit and price",
                file,
            )


def _refuse_unmatched(connection: duckdb.DuckDBPyConnection, rows: str, invoices: Sequence[Entry], file: File) -> None:
    """An invoice in a currency in which no usage is priced would be left out without a word."""
    if not invoices:
        return
    priced_in = f"SELECT billing_currency, sum(billed_cost_nanos) FROM ({rows}) WHERE basis = 'estimated' GROUP BY ALL"
    with sound(file):
        found = dict(connection.execute(priced_in).fetchall())
    for entry in invoices:
        if (found.get(entry["currency"]) or 0) <= 0:
            raise ConfigError(
                f"{entry.words}: an invoice in {entry['currency']} of {entry['billing_period']}, where no usage without a cost "
                f"has a price in {entry['currency']} that adds up to more than 0; check its currency, or take it out"
            )


# --- one bill, once ---------------------------------------------------------------------------------------------------


def _refuse_unfinished(pages: Iterable[tuple[File, str | None]]) -> None:
    """Pages of an API lie in one folder, in the order of their names; the last one names no next one."""
    last: dict[str, tuple[list[str | int], File, str | None]] = {}
    for file, token in pages:
        order = [int(piece) if piece.isdigit() else piece for piece in re.split(r"(\d+)", file.name)]
        folder = file.name.rpartition("/")[0]
        last[folder] = max(last.get(folder, (order, file, token)), (order, file, token), key=lambda entry: entry[0])
    for _, file, token in last.values():
        if token:
            raise BadRecord(
                f"the last page here names a next one (next_page_token = {token[:80]!r}), so it is not the whole bill; "
                "fetch the pages up to one without it, and name them in their order",
                file.name,
            )


def _is_zero(connection: duckdb.DuckDBPyConnection, part: Part) -> bool:
    """The costs of a file are all 0: it has none."""
    with sound(part.files[0]):
        found = connection.execute(
            f"SELECT bool_or(rdspend_zero), bool_or(rdspend_cost) FROM ({part.rows(counted=False, also=zeros(part.view))})"
        ).fetchall()
    return bool(found[0][0]) and not found[0][1]


def _refuse_forms(
    connection: duckdb.DuckDBPyConnection, parts: Sequence[Part], spans: Sequence[Span], amortized: frozenset[str]
) -> None:
    """A month of an account in two forms of its provider, or in two types of files, would count twice."""
    part_of = {file.name: part for part in parts for file in part.files}
    suffixes = {file.name: file.suffix for part in parts for file in part.files}
    forms: dict[tuple[str, str, str], dict[tuple[str, str], set[str]]] = {}
    for span in spans:
        part = part_of.get(span.file)
        if part and span.file not in amortized:
            bill = (part.dialect.bill or part.dialect.name, span.month, span.currency)
            forms.setdefault(bill, {}).setdefault((part.dialect.name, suffixes[span.file]), set()).add(span.file)
    for (_, billing_month, currency), files in forms.items():
        if len(files) < 2:
            continue
        accounts: dict[tuple[str, str], dict[str | None, str]] = {}
        for form, names in files.items():
            for part in {id(part_of[name]): part_of[name] for name in sorted(names)}.values():
                for account, name in _accounts(connection, part, names, billing_month, currency):
                    accounts.setdefault(form, {}).setdefault(account, name)
        (first, mine), *others = sorted(accounts.items())
        for other, theirs in others:
            for account, name in theirs.items():
                # An account that a form does not say may be any.
                found = next((n for a, n in mine.items() if a == account or a is None or account is None), None)
                if found:
                    raise BadRecord(
                        f"has charges of {billing_month} in {currency} of account {account!r}, and so has {found}, in "
                        f"another form ({' '.join(first)}, {' '.join(other)}): they would count twice; keep one of them, or "
                        "read different bills by a [collectors.focus.NAME] each",
                        name,
                    )


def _accounts(
    connection: duckdb.DuckDBPyConnection, part: Part, names: Iterable[str], billing_month: str, currency: str
) -> list[tuple[str | None, str]]:
    """The accounts of a month in some files of a part, each with a file: the last word of an id that is a path."""
    own = part.dialect.sql(part.dialect.account, part.layout) if part.dialect.account else None
    column = own or part.view.find("BillingAccountId") or ("NULL",)
    account = f"NULLIF(lower(regexp_extract(CAST({column[0]} AS VARCHAR), '[^/]*$')), '')"
    start = time_of("billing_period_start", part.raw["billing_period_start"], part.utc)
    with sound(part.files[0]):
        return connection.execute(
            f"SELECT rdspend_account, min(origin_file) FROM ({part.rows(counted=False, also={'rdspend_account': account})}) "
            f"WHERE origin_file IN ({', '.join(map(literal, sorted(names)))}) AND {month(start)} = {literal(billing_month)} "
            f"AND billing_currency IS NOT DISTINCT FROM {literal(currency)} GROUP BY ALL ORDER BY ALL"
        ).fetchall()


def _refuse_views(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> None:
    """Lines of one SKU and month in two views of a bill: each of them has all of it."""
    seen: dict[tuple[str, str | None], tuple[str, str]] = {}
    for part in (p for p in parts if p.dialect.views):
        rules = {name: part.dialect.sql(text, part.layout) for name, text in part.dialect.views.items()}
        case = "CASE " + " ".join(f"WHEN {rule[0]} THEN {literal(name)}" for name, rule in rules.items() if rule) + " END"
        start = time_of("billing_period_start", part.raw["billing_period_start"], part.utc)
        also = {"rdspend_view": case, "rdspend_sku": (part.view.find("SkuId") or ("NULL",))[0]}
        with sound(part.files[0]):
            found = connection.execute(
                f"SELECT {month(start)}, rdspend_sku, rdspend_view, min(origin_file) "
                f"FROM ({part.rows(counted=False, also=also)}) WHERE rdspend_view IS NOT NULL GROUP BY ALL ORDER BY ALL"
            ).fetchall()
        for billing_month, sku, name, file in found:
            first, other = seen.setdefault((billing_month, sku), (name, file))
            if first != name:
                raise BadRecord(
                    f"has usage of {sku} in {billing_month} by {name}, and {other} has it by {first}: each has all of "
                    "it, so they would count twice; keep one of the two",
                    file,
                )


# --- actual and amortized costs ---------------------------------------------------------------------------------------


def _pair(
    connection: duckdb.DuckDBPyConnection, parts: Sequence[Part]
) -> tuple[list[Part], dict[str, tuple[str, str, str, int]], frozenset[str]]:
    """Actual exports keep what is billed, amortized ones what the use of commitments is worth; nothing is in both.

    Also the notes of months, and the names of amortized files.
    """
    roles = _roles([_said(connection, part) for part in parts if part.dialect.pair])
    amortized: dict[tuple[str, str], tuple[Decimal, str]] = {}
    actual: dict[tuple[str, str], tuple[Decimal, str, int]] = {}
    for said, role in roles:
        for billing_month, currency, both, _, rows in said.months:
            key, name = (billing_month, currency), said.name
            if role.is_amortized:
                amortized[key] = (amortized.get(key, (Decimal(0),))[0] + both, name)
            else:
                before = actual.get(key, (Decimal(0), name, 0))
                actual[key] = (before[0] + both, name, before[2] + rows)
    for (billing_month, currency), (both, name) in sorted(amortized.items()):
        if (billing_month, currency) not in actual:
            raise BadRecord(
                f"has amortized costs of {billing_month} in {currency}, and no actual export is there to say what was billed",
                name,
            )
        other, other_name, _ = actual[billing_month, currency]
        if both != other:
            raise BadRecord(
                f"lines of {billing_month} without a commitment cost {both:f} {currency} here and {other:f} in {other_name}, "
                "expected the same: export both for the same days and the same scope",
                name,
            )
    notes = {
        billing_month: ("not_amortized", name, "no amortized export beside it: what commitments cost is taken as billed", rows)
        for (billing_month, currency), (_, name, rows) in sorted(actual.items())
        if rows and (billing_month, currency) not in amortized
    }
    months = sorted({m for m, _ in amortized})
    taken = {id(said.part): _in_its_role(said.part, role.is_amortized, months) for said, role in roles}
    names = frozenset(said.name for said, role in roles if role.is_amortized)
    return [taken.get(id(part), part) for part in parts], notes, names


@dataclass(frozen=True)
class Said:
    """What the lines of one file say of its role: only an actual export has purchases, only an amortized one shares of them.

    months: month, currency, sum and rows of lines without a commitment, rows of lines with one.
    """

    part: Part
    is_actual: bool
    is_amortized: bool
    months: tuple[tuple[str, str, Decimal, int, int], ...]

    @property
    def name(self) -> str:
        return self.part.files[0].name

    @property
    def strong(self) -> bool | None:
        return self.is_amortized if self.is_actual or self.is_amortized else None

    @property
    def weak(self) -> bool | None:
        """Use of commitments that costs nothing: an amortized export gives it a cost."""
        return False if any(committed for *_, committed in self.months) else None


@dataclass(frozen=True)
class Role:
    """Which of the two a file is, and whether lines or names say so."""

    is_amortized: bool
    is_sure: bool


def _said(connection: duckdb.DuckDBPyConnection, part: Part) -> Said:
    says = {name: _rule(part, name) for name in ("commitment", "actual", "amortized")}
    raw = part.raw
    start = time_of("billing_period_start", raw["billing_period_start"], part.utc)
    cost = exact_of("billed_cost_nanos", raw["billed_cost_nanos"])
    (file,) = part.files
    with sound(file):
        found = connection.execute(
            f"SELECT {month(start)}, billing_currency, COALESCE(SUM({cost}) FILTER (WHERE NOT says_commitment), 0), "
            "COUNT(*) FILTER (WHERE NOT says_commitment), COUNT(*) FILTER (WHERE says_commitment), "
            "bool_or(says_actual), bool_or(says_amortized) "
            f"FROM ({part.rows(counted=False, also={f'says_{n}': f'COALESCE({sql}, false)' for n, sql in says.items()})}) "
            f"WHERE {start} IS NOT NULL AND billing_currency IS NOT NULL GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    is_actual, is_amortized = any(row[5] for row in found), any(row[6] for row in found)
    if is_actual and is_amortized:
        raise BadRecord(
            "has what was bought of commitments and what their use is worth: actual and amortized costs in one file would "
            "count twice; export them into a file each",
            file.name,
        )
    return Said(part, is_actual, is_amortized, tuple(row[:5] for row in found))


def _roles(files: Sequence[Said]) -> list[tuple[Said, Role]]:
    """The role of each file: by its lines, its own name, the lines of other files of its export, its path.

    BadRecord where two exports have the same lines and nothing says which is which: both would be taken as billed.
    """
    folders = {said.name.rpartition("/")[0] for said in files}
    exports: dict[str, list[Said]] = {}
    for said in files:
        run = AZURE_RUN.match(said.name)
        # One folder with all of them says nothing: its files are exports of their own.
        export = run["export"] if run else said.name.rpartition("/")[0] if len(folders) > 1 else said.name
        exports.setdefault(export, []).append(said)
    roles: list[tuple[Said, Role]] = []
    seen: dict[tuple[Any, ...], tuple[bool, str]] = {}
    for path, export in exports.items():
        told = {said.strong for said in export} - {None}
        others = told.pop() if len(told) == 1 else None
        mine = [(said, _role(said, path, others)) for said in export]
        roles += mine
        for (is_amortized, *same), is_sure, name in _sums(mine):
            first = seen.setdefault((is_amortized, *same), (is_sure, name))
            if first[1] != name and not (first[0] and is_sure):
                billing_month, currency, total, rows = same
                raise BadRecord(
                    f"has {rows} lines of {billing_month} without a commitment that cost {total:f} {currency}, as {first[1]} "
                    "has, and nothing says which of the two is the amortized export: they would count twice; put 'amortized' "
                    "into the name of its folder or file, and 'actual' into the other's; or take one out",
                    name,
                )
    return roles


def _role(said: Said, export: str, others: bool | None) -> Role:
    path, _, own = said.name.lower().rpartition("/")
    is_named_actual = "actual" in own or "actual" in export.lower().rstrip("/").rpartition("/")[2]
    answers = (
        (said.strong, True),
        (True if "amortized" in own else None, True),
        (others, True),
        (said.weak, False),
        (True if "amortized" in path else None, True),
    )
    return next((Role(answer, is_sure) for answer, is_sure in answers if answer is not None), Role(False, is_named_actual))


def _sums(export: Sequence[tuple[Said, Role]]) -> Iterator[tuple[tuple[Any, ...], bool, str]]:
    """Role, month, currency, sum and rows of the lines without a commitment of one export; whether its role is sure; a file."""
    sums: dict[tuple[bool, str, str], tuple[Decimal, int, bool, str]] = {}
    for said, role in export:
        for billing_month, currency, total, rows, _ in said.months:
            key = (role.is_amortized, billing_month, currency)
            before = sums.get(key, (Decimal(0), 0, True, said.name))
            sums[key] = (before[0] + total, before[1] + rows, before[2] and role.is_sure, before[3])
    for key, (total, rows, is_sure, name) in sums.items():
        if total:
            yield (*key, total, rows), is_sure, name


def _rule(part: Part, name: str) -> str:
    found = part.dialect.sql(part.dialect.pair[name], part.layout)
    return found[0] if found else "false"


def _in_its_role(part: Part, is_amortized: bool, months: Sequence[str]) -> Part:
    commitment, doubled = _rule(part, "commitment"), _rule(part, "doubled")
    cost, (start, start_kind) = part.view.columns["billedcost"][0], part.view.columns["billingperiodstart"]
    covered = f"COALESCE({month(time_of(start, start_kind, part.utc))} IN ({', '.join(map(literal, months)) or 'NULL'}), false)"
    if is_amortized:
        seen = part.view.put(BilledCost=("'0'", "VARCHAR"))
        return replace(part, view=replace(seen, around=f"(SELECT * FROM {seen.around} WHERE {commitment})"))
    spread = f"CASE WHEN {commitment} AND {covered} THEN '0' ELSE CAST({cost} AS VARCHAR) END"
    seen = part.view.put(EffectiveCost=(spread, "VARCHAR"))
    return replace(
        part, view=replace(seen, around=f"(SELECT * FROM {seen.around} WHERE NOT COALESCE({doubled} AND {covered}, false))")
    )


def _know_tags(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> None:
    """Parse the tags of some rows once: bills repeat them, and a join costs a tenth of parsing them again."""
    connection.execute("CREATE TEMP TABLE known_tags (known_form VARCHAR, known_text VARCHAR, known_map MAP(VARCHAR, VARCHAR))")
    texts = [part for part in parts if part.raw.get("tags") == "VARCHAR"]
    largest = sorted(texts, key=lambda part: -max(f.local.stat().st_size for f in part.files))
    for part in largest[:SAMPLED_PARTS]:
        some = f"SELECT tags FROM ({part.rows(counted=False)}) LIMIT {SAMPLED_ROWS}"
        with sound(part.files[0]):
            connection.execute(
                f"INSERT INTO known_tags SELECT {literal(part.view.tags)}, tags, {_tags('VARCHAR', part.view)} "
                f"FROM (SELECT DISTINCT tags FROM ({some}) WHERE tags IS NOT NULL) "
                f"WHERE tags NOT IN (SELECT known_text FROM ({_known(part.view)})) LIMIT {KNOWN_TAGS}"
            )


def _known(seen: View) -> str:
    """Texts of tags parsed ahead as this view parses them: the same text may say something else in another form."""
    return f"SELECT known_text, known_map FROM known_tags WHERE known_form = {literal(seen.tags)}"


def _column_notes(rows: dict[Part, int]) -> list[tuple[str, str, str, int]]:
    """What became of the columns as written: taken under another name, left out, or not known; and what is missing."""
    noted: dict[tuple[str, str, str], int] = {}

    def note(kind: str, subject: str, detail: str, count: int) -> None:
        noted[kind, subject, detail] = noted.get((kind, subject, detail), 0) + count

    for part, count in rows.items():
        written = [name for name, *_ in part.layout.columns]
        taken = {name for names in part.view.sources.values() for name in names}
        own = {name for name in taken if name.lower() in WANTED}
        for name in sorted(taken - own):
            uses = sorted(focus for focus, names in part.view.sources.items() if name in names)
            note("renamed_column", name, f"taken as {', '.join(uses).replace('LineType', 'the type of the line')}", count)
        leaves = {name.lower() for name in part.dialect.leaves}
        for name in (n for n in written if n not in taken and n.lower() not in KNOWN and n.lower() not in leaves):
            note("unknown_column", name, f"{_form(part.dialect)} has no such column: left out", count)
        for name in (n for n in written if n in LEFT):
            note("left_out_column", name, f"{LEFT[name]}: left out", count)
        for focus in (f for f in EXPECTED if part.view.find(f) is None):
            note("missing_column", focus, "the bill does not give it: taken as null", count)
    return [(*key, count) for key, count in sorted(noted.items())]


def _form(dialect: Dialect) -> str:
    return SPAN if dialect is FOCUS else f"{SPAN} and {dialect.title}"


def _currency_notes(spans: Sequence[Span]) -> list[tuple[str, str, str, int]]:
    billed = sorted({s.currency for s in spans if s.currency})
    several = [
        (
            "several_currencies",
            ", ".join(billed),
            "this month has lines in each: kept apart, never added",
            sum(s.rows for s in spans),
        )
    ]
    return [
        *(several if len(billed) > 1 else ()),
        *(
            (
                "second_currency",
                s.file,
                f"billed in {s.currency}, priced in {s.second_currency}: both kept, never added",
                s.rows,
            )
            for s in spans
            if s.second_currency
        ),
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
    start, end = (time_of(c, part.raw[c], part.utc) for c in ("billing_period_start", "billing_period_end"))
    is_bad = f"{start} IS NULL" if column == "billing_period_start" else f"COALESCE({end} <= {start}, true)"
    found = connection.execute(
        f"SELECT origin_row, origin_line, CAST({column} AS VARCHAR), {end} IS NULL FROM ({part.rows(one_line)}) "
        f"WHERE origin_file = {literal(span.file)} AND {is_bad} ORDER BY origin_row LIMIT 1"
    ).fetchall()
    row, line, text, unread = found[0]
    expected = ZONED if unread or column == "billing_period_start" else "an end after BillingPeriodStart"
    shown = "nothing" if text is None else repr(text[:80])
    return BadRecord(f"row {row}: {focus_name(column)}: found {shown}, expected {expected}", span.file, line)
